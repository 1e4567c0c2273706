use std::collections::HashSet;

use aaws::{Action, Context, Effect, Example, Items, Listing, Meta, Out, Result, Rule, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance, Volume, VolumeState};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lookup::{self, DESCRIBE_INSTANCES, DESCRIBE_VOLUMES, Resource};

/// List EBS volumes, with filters.
///
/// All filters have to match. The ids are printed as EC2 lists them, or in the order of `volume_ids`. Ids that do not exist are reported as
/// failed, and the rest is answered all the same.
///
/// Whether a volume is a root volume is told per instance: it is the volume at that instance's own root device.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverVolumes {
    /// Only volumes attached to these instances. An empty list is no volume.
    pub instance_ids: Option<Items<String>>,
    /// Only these volumes. An empty list is no volume.
    pub volume_ids: Option<Items<String>>,
    /// Only volumes that are not encrypted.
    #[serde(default)]
    pub unencrypted: bool,
    /// Only volumes that are attached to nothing.
    #[serde(default)]
    pub detached: bool,
    /// Only volumes of these types. An empty list is no volume.
    pub types: Option<Vec<Type>>,
    /// Only root volumes of instances.
    #[serde(default)]
    pub root: bool,
}

/// A type of volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    Gp2,
    Gp3,
    Io1,
    Io2,
    St1,
    Sc1,
    Standard,
}

impl Type {
    /// As EC2 writes it.
    pub fn word(self) -> &'static str {
        match self {
            Type::Gp2 => "gp2",
            Type::Gp3 => "gp3",
            Type::Io1 => "io1",
            Type::Io2 => "io2",
            Type::St1 => "st1",
            Type::Sc1 => "sc1",
            Type::Standard => "standard",
        }
    }
}

#[async_trait]
impl Action for DiscoverVolumes {
    const META: Meta = Meta {
        path: "ec2/discover_volumes",
        effect: Effect::Read,
        calls: &[DESCRIBE_VOLUMES, DESCRIBE_INSTANCES.when(When::With(&["root", "instance_ids"]))],
        rules: &[Rule::AtMostOne(&["instance_ids", "volume_ids"]), Rule::AtMostOne(&["root", "detached"])],
        examples: &[
            Example {
                title: "List the volumes that are attached to nothing",
                input: r#"{"detached": true}"#,
                output: r#"["vol-0123456789abcdef0"]"#,
                given: &["instance i-0123456789abcdef0", "volume vol-0123456789abcdef0"],
            },
            Example {
                title: "List the root volume of an instance, unless it is encrypted",
                input: r#"{"instance_ids": ["i-0123456789abcdef0"], "root": true, "unencrypted": true}"#,
                output: r#"["vol-0123456789abcdef0"]"#,
                given: &["instance i-0123456789abcdef0 root vol-0123456789abcdef0"],
            },
        ],
        notes: &[
            "A volume in the state `error` is neither attached nor detached: `detached` leaves it out.",
            "A volume that is attached to several instances is printed once.",
        ],
    };

    type Output = Listing<String>;

    async fn run(self, cx: &Context) -> Result<Listing<String>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverVolumes);

impl DiscoverVolumes {
    async fn list(mut self, cx: &Context, mut out: Out<String>) -> Result<()> {
        // A filter without a value must not be sent, and nothing is of no type.
        if self.types.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let filters = self.filters();
        if let Some(ids) = self.volume_ids.take() {
            let roots = if self.root { Some(roots(&ec2).await?) } else { None };
            for volume in lookup::given::<Volume>(cx, &ec2, ids).await? {
                let is_root = roots.as_ref().is_none_or(|r| r.contains(volume.id()));
                if is_root && self.matches(&volume) {
                    out.send(volume.id().to_owned()).await?;
                }
            }
            return Ok(());
        }
        let Some(ids) = self.instance_ids else {
            let roots = if self.root { Some(roots(&ec2).await?) } else { None };
            let mut volumes = Volume::list(&ec2, filters);
            while let Some(volume) = volumes.try_next().await? {
                if roots.as_ref().is_none_or(|r| r.contains(volume.id())) {
                    out.send(volume.id().to_owned()).await?;
                }
            }
            return Ok(());
        };
        let instances = lookup::given::<Instance>(cx, &ec2, ids).await?;
        let roots = self.root.then(|| instances.iter().filter_map(root).collect::<HashSet<_>>());
        let ids: Vec<_> = instances.iter().map(|i| i.id().to_owned()).collect();
        let mut seen = HashSet::new();
        let mut volumes = Box::pin(lookup::with_values::<Volume>(&ec2, "attachment.instance-id", &ids, &filters));
        while let Some(volume) = volumes.try_next().await? {
            if roots.as_ref().is_none_or(|r| r.contains(volume.id())) && seen.insert(volume.id().to_owned()) {
                out.send(volume.id().to_owned()).await?;
            }
        }
        Ok(())
    }

    fn filters(&self) -> Vec<Filter> {
        let mut filters = Vec::new();
        if self.unencrypted {
            filters.push(lookup::filter("encrypted", ["false"]));
        }
        if self.detached {
            filters.push(lookup::filter("status", ["available"]));
        }
        if let Some(types) = &self.types {
            filters.push(lookup::filter("volume-type", types.iter().map(|t| t.word())));
        }
        filters
    }

    /// The same as the filters, for volumes that were looked up by their ids: those that do not match exist all the same.
    fn matches(&self, volume: &Volume) -> bool {
        let of_type = |types: &Vec<Type>| types.iter().any(|t| volume.volume_type().is_some_and(|v| v.as_str() == t.word()));
        (!self.unencrypted || volume.encrypted() == Some(false))
            && (!self.detached || volume.state() == Some(&VolumeState::Available))
            && self.types.as_ref().is_none_or(of_type)
    }
}

/// The root volumes of all instances.
async fn roots(ec2: &Client) -> Result<HashSet<String>> {
    let instances = Instance::list(ec2, Vec::new());
    instances.try_filter_map(|i| async move { Ok(root(&i)) }).try_collect().await
}

/// The volume at an instance's root device.
fn root(instance: &Instance) -> Option<String> {
    let device = instance.root_device_name()?;
    let mapping = instance.block_device_mappings().iter().find(|m| m.device_name() == Some(device))?;
    mapping.ebs()?.volume_id().map(str::to_owned)
}
