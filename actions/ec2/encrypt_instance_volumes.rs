use aaws::{Action, Context, Effect, Example, Meta, OrPlan, Result, async_trait};
use aws_sdk_ec2::types::{Instance, Volume};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Deserialize;

use super::lookup::{self, Resource};
use super::swap::{self, Job};

/// Replace all volumes of an instance by encrypted copies of them.
///
/// Volumes that are encrypted already are left alone, unless `re_encrypt` is given. The others are replaced together, as `encrypt_volume` does it
/// with one: the instance is stopped once, all snapshots are taken and awaited, all copies are made and awaited, and only then is one volume after
/// the other swapped. The instance is started, if it ran before.
///
/// When a step fails, all are undone: every original volume is attached where it was, the instance runs if it ran, copies and snapshots are deleted.
/// What could not be undone is named, with its id. The original volumes are never deleted. The id of the instance is printed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncryptInstanceVolumes {
    /// Instance whose volumes to replace.
    instance_id: String,
    /// KMS key of the new volumes: its id, ARN or alias (`alias/…`). It has to be in the same region.
    kms_key_id: String,
    /// Replace also volumes that are encrypted already, by ones that are encrypted with this key.
    #[serde(default)]
    re_encrypt: bool,
    /// Stop the instance even if it belongs to an Auto Scaling group, which replaces instances that stop unless they are in standby.
    #[serde(default)]
    auto_scaling: bool,
}

#[async_trait]
impl Action for EncryptInstanceVolumes {
    const META: Meta = Meta {
        path: "ec2/encrypt_instance_volumes",
        effect: Effect::Modify,
        calls: swap::calls!(
            "arn:${Partition}:ec2:${Region}:${Account}:volume/*",
            "arn:${Partition}:ec2:${Region}:${Account}:instance/${instance_id}",
            lookup::DESCRIBE_INSTANCES
        ),
        rules: &[],
        examples: &[Example {
            title: "Replace the volumes of an instance by copies that are encrypted with a key of yours",
            input: r#"{"instance_id": "i-0123456789abcdef0", "kms_key_id": "1234abcd-12ab-34cd-56ef-1234567890ab"}"#,
            output: r#""i-0123456789abcdef0""#,
            given: &["key 1234abcd-12ab-34cd-56ef-1234567890ab", "instance i-0123456789abcdef0"],
        }],
        notes: swap::NOTES,
    };

    type Output = OrPlan<Option<String>>;

    async fn run(self, cx: &Context) -> Result<OrPlan<Option<String>>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let id = self.instance_id;
        let (instance, volumes) = lookup::cancellable(cx, async {
            let instance = lookup::one::<Instance>(&ec2, &id).await?.ok_or_else(|| lookup::missing::<Instance>(&id))?;
            let volumes = Volume::list(&ec2, vec![lookup::filter("attachment.instance-id", [&id])]).try_collect::<Vec<_>>().await?;
            Ok((instance, volumes))
        })
        .await?;
        let open: Vec<_> = volumes.into_iter().filter(|v| self.re_encrypt || v.encrypted() != Some(true)).collect();
        let job = if let Some(why) = swap::has_none_to_replace(&instance) {
            Job::refused(id.clone(), why)
        } else if open.is_empty() {
            Job::unchanged(id.clone(), "it has no volume that is not encrypted already")
        } else {
            Job::survey(cx, &ec2, id.clone(), open, self.auto_scaling).await?
        };
        let copied = swap::replace(cx, ec2, &self.kms_key_id, job).await?;
        Ok(copied.map(|copied| copied.map(|_| id)))
    }
}

aaws::register!(EncryptInstanceVolumes);
