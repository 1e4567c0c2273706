use std::collections::HashSet;

use aaws::{Action, Age, Check, Context, Effect, Example, Glob, Items, Listing, Meta, Out, Result, Row, Rule, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance, Volume, VolumeState};
use futures::TryStreamExt;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::details::{self, VolumeDetails};
use super::lookup::{self, DESCRIBE_INSTANCES, DESCRIBE_VOLUMES, Resource};
use super::selecting::{self, Common};
use super::tags::Wanted;

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
    /// Tags that volumes have to have, all of them: `Key` with any value, or `Key=Value`; `Key=` is the empty value. An empty list is no volume.
    pub tags: Option<Vec<Wanted>>,
    /// Tags of which volumes must have none: `Key` with any value, or `Key=Value`. An empty list is no volume.
    pub missing_tags: Option<Vec<Wanted>>,
    /// Pattern of the tag `Name`: `data-*`. Volumes without that tag have no name.
    pub name: Option<Glob>,
    /// States to keep. An empty list is no volume.
    pub states: Option<Vec<State>>,
    /// Only volumes that were made longer ago than this.
    pub older_than: Option<Age>,
    /// Only volumes of more than so many GiB.
    pub larger_than: Option<u32>,
    /// Only volumes of less than so many GiB.
    pub smaller_than: Option<u32>,
    /// Only volumes that are encrypted.
    #[serde(default)]
    pub encrypted: bool,
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
    /// Print of each volume what EC2 tells of it, rather than its id alone.
    #[serde(default)]
    pub details: bool,
}

/// A state of volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Creating,
    Available,
    InUse,
    Deleting,
    Error,
}

impl State {
    /// As EC2 writes it.
    fn word(self) -> &'static str {
        match self {
            State::Creating => "creating",
            State::Available => "available",
            State::InUse => "in-use",
            State::Deleting => "deleting",
            State::Error => "error",
        }
    }
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
        rules: &[
            Rule::AtMostOne(&["instance_ids", "volume_ids"]),
            Rule::AtMostOne(&["root", "detached"]),
            Rule::AtMostOne(&["encrypted", "unencrypted"]),
        ],
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
            Example {
                title: "List the volumes of 100 GiB or more that are attached to nothing, and have no owner",
                input: r#"{"detached": true, "larger_than": 99, "missing_tags": ["Owner"]}"#,
                output: "[]",
                given: &["volume vol-0123456789abcdef0"],
            },
        ],
        notes: &[
            "A volume in the state `error` is neither attached nor detached: `detached` leaves it out.",
            "A volume that is attached to several instances is printed once.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["VolumeId"];

    const OVERVIEW: &'static [Check] = &[
        Check {
            title: "Volumes that are attached to nothing",
            input: r#"{"detached": true, "details": true}"#,
            since: Some("CreateTime"),
            mend: Some("ec2 delete_volumes --volume_ids - --snapshot"),
        },
        Check {
            title: "Volumes that are not encrypted",
            input: r#"{"unencrypted": true, "details": true}"#,
            since: Some("CreateTime"),
            mend: None,
        },
    ];

    type Output = Listing<Row<VolumeDetails>>;

    async fn run(self, cx: &Context) -> Result<Listing<Row<VolumeDetails>>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverVolumes);

impl DiscoverVolumes {
    async fn list(mut self, cx: &Context, mut out: Out<Row<VolumeDetails>>) -> Result<()> {
        let now = cx.now();
        // A filter without a value must not be sent, and nothing is of no type or state.
        let none = self.types.as_ref().is_some_and(Vec::is_empty) || self.states.as_ref().is_some_and(Vec::is_empty);
        if none || self.common(now).is_nothing() {
            return Ok(());
        }
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let filters = self.filters(now);
        if let Some(ids) = self.volume_ids.take() {
            let roots = if self.root { Some(roots(&ec2).await?) } else { None };
            for volume in lookup::given::<Volume>(cx, &ec2, ids).await? {
                let is_root = roots.as_ref().is_none_or(|r| r.contains(volume.id()));
                if is_root && self.matches(&volume, now) {
                    let row = self.row(&volume, now);
                    out.send(row).await?;
                }
            }
            return Ok(());
        }
        let Some(ids) = self.instance_ids.take() else {
            let roots = if self.root { Some(roots(&ec2).await?) } else { None };
            let mut volumes = Volume::list(&ec2, filters);
            while let Some(volume) = volumes.try_next().await? {
                if roots.as_ref().is_none_or(|r| r.contains(volume.id())) && self.matches(&volume, now) {
                    let row = self.row(&volume, now);
                    out.send(row).await?;
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
            let is_root = roots.as_ref().is_none_or(|r| r.contains(volume.id()));
            if is_root && self.matches(&volume, now) && seen.insert(volume.id().to_owned()) {
                let row = self.row(&volume, now);
                out.send(row).await?;
            }
        }
        Ok(())
    }

    fn row(&self, volume: &Volume, now: Timestamp) -> Row<VolumeDetails> {
        Row::of(self.details, volume.id(), || VolumeDetails::of(volume, now))
    }

    fn common(&self, now: Timestamp) -> Common<'_> {
        Common {
            tags: self.tags.as_deref(),
            missing_tags: self.missing_tags.as_deref(),
            name: self.name.as_ref(),
            older_than: self.older_than,
            now,
        }
    }

    fn filters(&self, now: Timestamp) -> Vec<Filter> {
        let mut filters: Vec<Filter> = selecting::encryption_filter(self.encrypted, self.unencrypted).into_iter().collect();
        if self.detached {
            filters.push(lookup::filter("status", ["available"]));
        } else if let Some(states) = &self.states {
            filters.push(lookup::filter("status", states.iter().map(|s| s.word())));
        }
        if let Some(types) = &self.types {
            filters.push(lookup::filter("volume-type", types.iter().map(|t| t.word())));
        }
        filters.extend(self.common(now).filters());
        filters
    }

    /// What EC2 has no filter for; and the same as the filters, for volumes that were looked up by their ids: those that do not match exist all the same.
    fn matches(&self, volume: &Volume, now: Timestamp) -> bool {
        let made = volume.create_time().and_then(details::instant);
        let in_state = |states: &Vec<State>| states.iter().any(|s| volume.state().is_some_and(|is| is.as_str() == s.word()));
        let of_type = |types: &Vec<Type>| types.iter().any(|t| volume.volume_type().is_some_and(|v| v.as_str() == t.word()));
        self.common(now).is_met_by_tags(volume.tags(), made)
            && selecting::is_as_encrypted(self.encrypted, self.unencrypted, volume.encrypted())
            && selecting::is_between(self.larger_than, self.smaller_than, volume.size().map(i64::from))
            && (!self.detached || volume.state() == Some(&VolumeState::Available))
            && self.states.as_ref().is_none_or(in_state)
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
