use aaws::{Action, Context, Effect, Example, Meta, OrPlan, Result, Reversible, async_trait};
use aws_sdk_ec2::types::Volume;
use schemars::JsonSchema;
use serde::Deserialize;

use super::swap::{self, Job, Options};
use super::{ids, lookup};

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
/// deleted. What could not be undone is named, with its id. The original volume is never deleted; it and the copy get tags that name each other. The id
/// of the copy is printed; of a volume that needs none, its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncryptVolume {
    /// Volume to replace.
    pub volume_id: String,
    /// KMS key of the new volume: its id, ARN or alias (`alias/…`). It has to be in the same region.
    pub kms_key_id: String,
    /// Replace the volume even if it is encrypted already, unless with this key.
    #[serde(default)]
    pub re_encrypt: bool,
    /// Stop an instance even if it belongs to an Auto Scaling group, which replaces instances that stop unless they are in standby.
    #[serde(default)]
    pub auto_scaling: bool,
    /// Load the data of the copy from its snapshot at this rate, in MiB/s, from 100 to 300, which is billed. Otherwise it is loaded as it is read.
    pub volume_initialization_rate: Option<u32>,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

#[async_trait]
impl Action for EncryptVolume {
    const META: Meta = Meta {
        path: "ec2/encrypt_volume",
        effect: Effect::Disrupt,
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

    const BINDS: &'static [&'static str] = swap::BINDS;
    const REVERSIBLE: Reversible = swap::REVERSIBLE;

    type Output = OrPlan<Option<String>>;

    async fn run(self, cx: &Context) -> Result<OrPlan<Option<String>>> {
        ids::check("volume_id", "vol-", &self.volume_id)?;
        let options = self.options();
        options.check()?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let id = self.volume_id;
        let volume = lookup::cancellable(cx, lookup::one::<Volume>(&ec2, &id)).await?;
        let exists = volume.is_some();
        let job = match volume {
            Some(volume) => Job::of(cx, &ec2, id.clone(), "it is", vec![volume], &options).await?,
            None => Job::not_found::<Volume>(id.clone(), self.ignore_not_found),
        };
        let copied = swap::replace(cx, ec2, &options, job).await?;
        Ok(copied.map(|copied| copied.filter(|_| exists).map(|c| c.into_iter().next().map_or(id, |c| c.copy))))
    }
}

aaws::register!(EncryptVolume, undo = swap::SwapStep);

impl EncryptVolume {
    fn options(&self) -> Options {
        Options {
            key: self.kms_key_id.clone(),
            re_encrypt: self.re_encrypt,
            auto_scaling: self.auto_scaling,
            initialization_rate: self.volume_initialization_rate,
        }
    }
}
