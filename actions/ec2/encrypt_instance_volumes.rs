use aaws::{Action, Context, Effect, Example, Meta, OrPlan, Result, Reversible, async_trait};
use aws_sdk_ec2::types::{Instance, Volume};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Deserialize;

use super::ids;
use super::lookup::{self, Resource};
use super::swap::{self, Job, Options};

/// Replace all volumes of an instance by encrypted copies of them.
///
/// Volumes that are encrypted already are left alone, unless `re_encrypt` is given. The others are replaced together, as `encrypt_volume` does it
/// with one: the instance is stopped once, all snapshots are taken and awaited, all copies are made and awaited, and only then is one volume after
/// the other swapped. The instance is started, if it ran before.
///
/// When a step fails, all are undone: every original volume is attached where it was, the instance runs if it ran, copies and snapshots are deleted.
/// What could not be undone is named, with its id. The original volumes are never deleted; they and their copies get tags that name each other. The id
/// of the instance is printed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncryptInstanceVolumes {
    /// Instance whose volumes to replace.
    pub instance_id: String,
    /// KMS key of the new volumes: its id, ARN or alias (`alias/…`). It has to be in the same region.
    pub kms_key_id: String,
    /// Replace also volumes that are encrypted already, but for those with this key.
    #[serde(default)]
    pub re_encrypt: bool,
    /// Stop the instance even if it belongs to an Auto Scaling group, which replaces instances that stop unless they are in standby.
    #[serde(default)]
    pub auto_scaling: bool,
    /// Load the data of the copies from their snapshots at this rate, in MiB/s, from 100 to 300, which is billed. Otherwise they are loaded as they are
    /// read.
    pub volume_initialization_rate: Option<u32>,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

#[async_trait]
impl Action for EncryptInstanceVolumes {
    const META: Meta = Meta {
        path: "ec2/encrypt_instance_volumes",
        effect: Effect::Disrupt,
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

    const BINDS: &'static [&'static str] = swap::BINDS;
    const REVERSIBLE: Reversible = swap::REVERSIBLE;

    type Output = OrPlan<Option<String>>;

    async fn run(self, cx: &Context) -> Result<OrPlan<Option<String>>> {
        ids::check("instance_id", "i-", &self.instance_id)?;
        let options = self.options();
        options.check()?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let id = self.instance_id;
        let (instance, volumes) = lookup::cancellable(cx, async {
            let Some(instance) = lookup::one::<Instance>(&ec2, &id).await? else { return Ok((None, Vec::new())) };
            let volumes = Volume::list(&ec2, vec![lookup::filter("attachment.instance-id", [&id])]).try_collect::<Vec<_>>().await?;
            Ok((Some(instance), volumes))
        })
        .await?;
        let job = match &instance {
            None => Job::not_found::<Instance>(id.clone(), self.ignore_not_found),
            Some(instance) => match swap::has_none_to_replace(instance) {
                Some(why) => Job::refused(id.clone(), why),
                None => Job::of(cx, &ec2, id.clone(), "all volumes of it are", volumes, &options).await?,
            },
        };
        let copied = swap::replace(cx, ec2, &options, job).await?;
        Ok(copied.map(|copied| copied.filter(|_| instance.is_some()).map(|_| id)))
    }
}

aaws::register!(EncryptInstanceVolumes, undo = swap::SwapStep);

impl EncryptInstanceVolumes {
    fn options(&self) -> Options {
        Options {
            key: self.kms_key_id.clone(),
            re_encrypt: self.re_encrypt,
            auto_scaling: self.auto_scaling,
            initialization_rate: self.volume_initialization_rate,
        }
    }
}
