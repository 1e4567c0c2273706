use aaws::{Action, Context, Effect, Example, Meta, OrPlan, Result, async_trait};
use aws_sdk_ec2::types::Volume;
use schemars::JsonSchema;
use serde::Deserialize;

use super::lookup;
use super::swap::{self, Job};

/// Replace a volume by an encrypted copy of it.
///
/// Everything that could go wrong half way is looked at first: the key, the volume's attachments, whether its instance may be stopped. Then:
///
/// 1. the instance, if the volume is attached to one that runs, is stopped, so that nothing is written while the copy is made;
/// 2. a snapshot of the volume is taken, and awaited;
/// 3. an encrypted volume of the same type, size, IOPS, throughput, zone and tags is made from it, and awaited;
/// 4. the volume is detached, and the copy attached as the same device, deleted with the instance if the original would have been;
/// 5. the instance is started, if it ran before;
/// 6. the snapshot is deleted.
///
/// When a step fails, all are undone: the original volume is attached where it was, the instance runs if it ran, the copy and the snapshot are
/// deleted. What could not be undone is named, with its id. The original volume is never deleted. The id of the copy is printed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncryptVolume {
    /// Volume to replace.
    volume_id: String,
    /// KMS key of the new volume: its id, ARN or alias (`alias/…`). It has to be in the same region.
    kms_key_id: String,
    /// Replace the volume even if it is encrypted already, by one that is encrypted with this key.
    #[serde(default)]
    re_encrypt: bool,
    /// Stop an instance even if it belongs to an Auto Scaling group, which replaces instances that stop unless they are in standby.
    #[serde(default)]
    auto_scaling: bool,
}

#[async_trait]
impl Action for EncryptVolume {
    const META: Meta = Meta {
        path: "ec2/encrypt_volume",
        effect: Effect::Modify,
        calls: swap::calls!(
            "arn:${Partition}:ec2:${Region}:${Account}:volume/${volume_id}",
            "arn:${Partition}:ec2:${Region}:${Account}:instance/*",
            lookup::DESCRIBE_INSTANCES.when(swap::ATTACHED)
        ),
        rules: &[],
        examples: &[Example {
            title: "Replace a volume by a copy that is encrypted with a key of yours",
            input: r#"{"volume_id": "vol-0123456789abcdef0", "kms_key_id": "1234abcd-12ab-34cd-56ef-1234567890ab"}"#,
            output: r#""vol-0fedcba9876543210""#,
            given: &["key 1234abcd-12ab-34cd-56ef-1234567890ab", "volume vol-0123456789abcdef0"],
        }],
        notes: swap::NOTES,
    };

    type Output = OrPlan<Option<String>>;

    async fn run(self, cx: &Context) -> Result<OrPlan<Option<String>>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let id = self.volume_id;
        let volume = lookup::cancellable(cx, lookup::one::<Volume>(&ec2, &id)).await?.ok_or_else(|| lookup::missing::<Volume>(&id))?;
        let job = if volume.encrypted() == Some(true) && !self.re_encrypt {
            Job::unchanged(id.clone(), "it is encrypted already")
        } else {
            Job::survey(cx, &ec2, id.clone(), vec![volume], self.auto_scaling).await?
        };
        let copied = swap::replace(cx, ec2, &self.kms_key_id, job).await?;
        Ok(copied.map(|copied| copied.map(|c| c.into_iter().next().map_or(id, |c| c.copy))))
    }
}

aaws::register!(EncryptVolume);
