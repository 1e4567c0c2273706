use std::net::Ipv6Addr;

use aaws::{Action, Age, Context, Effect, Example, Glob, Items, Listing, Meta, Out, Result, Row, async_trait};
use aws_sdk_ec2::types::{Filter, Instance};
use futures::TryStreamExt;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::addresses;
use super::details::{self, InstanceDetails};
use super::lookup::{self, DESCRIBE_INSTANCES, Resource};
use super::selecting::{self, Common};
use super::tags::Wanted;

/// List instances by state, tags, name, type, age, operating system or public address.
///
/// All filters have to match. With `invert` the instances are listed that do *not* match all others: still only those that have one of `states`, and
/// only those of `instance_ids` when these are given. The ids are printed as EC2 lists them, or in the order of `instance_ids`. Ids that do not exist
/// are reported as failed, and the rest is answered all the same.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverInstances {
    /// States to keep. An empty list is no instance.
    #[serde(default = "alive")]
    pub states: Vec<State>,
    /// Tags that instances have to have, all of them: `Key` with any value, or `Key=Value`; `Key=` is the empty value. An empty list is no instance.
    pub tags: Option<Vec<Wanted>>,
    /// Tags of which instances must have none: `Key` with any value, or `Key=Value`. An empty list is no instance.
    pub missing_tags: Option<Vec<Wanted>>,
    /// Pattern of the tag `Name`: `web-*`. Instances without that tag have no name.
    pub name: Option<Glob>,
    /// Instance types, or patterns of them: `t3.*`. An empty list is no instance.
    pub types: Option<Vec<Glob>>,
    /// Only instances that were launched, or started last, longer ago than this.
    pub older_than: Option<Age>,
    /// Only these instances. An empty list is no instance.
    pub instance_ids: Option<Items<String>>,
    /// List the instances of these states and ids that do not match the other filters. When there are no others, that is none.
    #[serde(default)]
    pub invert: bool,
    /// Operating system. macOS is neither.
    pub os: Option<Os>,
    /// Only instances with a public IPv4 or IPv6 address on any of their interfaces.
    #[serde(default)]
    pub public: bool,
    /// Print of each instance what EC2 tells of it, rather than its id alone.
    #[serde(default)]
    pub details: bool,
}

/// Nothing given: all instances that are there to stay.
impl Default for DiscoverInstances {
    fn default() -> Self {
        DiscoverInstances {
            states: alive(),
            tags: None,
            missing_tags: None,
            name: None,
            types: None,
            older_than: None,
            instance_ids: None,
            invert: false,
            os: None,
            public: false,
            details: false,
        }
    }
}

/// A state of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Pending,
    Running,
    ShuttingDown,
    Terminated,
    Stopping,
    Stopped,
}

impl State {
    /// As EC2 writes it.
    fn word(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Running => "running",
            State::ShuttingDown => "shutting-down",
            State::Terminated => "terminated",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
        }
    }
}

/// All that are there to stay.
fn alive() -> Vec<State> {
    vec![State::Running, State::Stopped, State::Pending, State::Stopping]
}

/// A family of operating systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Os {
    Linux,
    Windows,
}

#[async_trait]
impl Action for DiscoverInstances {
    const META: Meta = Meta {
        path: "ec2/discover_instances",
        effect: Effect::Read,
        calls: &[DESCRIBE_INSTANCES],
        rules: &[],
        examples: &[
            Example {
                title: "List the running Linux instances of production",
                input: r#"{"states": ["running"], "os": "linux", "tags": ["Env=prod"]}"#,
                output: r#"["i-0123456789abcdef0"]"#,
                given: &["instance i-0123456789abcdef0 Env=prod", "instance i-0fedcba9876543210"],
            },
            Example {
                title: "List the instances that have no owner",
                input: r#"{"tags": ["Owner"], "invert": true}"#,
                output: r#"["i-0fedcba9876543210"]"#,
                given: &["instance i-0123456789abcdef0 Owner=me", "instance i-0fedcba9876543210"],
            },
            Example {
                title: "List the instances of the family `t3` that are called after the web, and lack an owner",
                input: r#"{"types": ["t3.*"], "name": "web-*", "missing_tags": ["Owner"]}"#,
                output: r#"["i-0123456789abcdef0"]"#,
                given: &["instance i-0123456789abcdef0 Name=web-1", "instance i-0fedcba9876543210 Name=db-1"],
            },
        ],
        notes: &[
            "EC2 shows terminated instances for about an hour.",
            "IPv6 addresses can be reached from everywhere that routes and groups allow: they count as public, but for unique local ones (`fd…`).",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["InstanceId"];

    type Output = Listing<Row<InstanceDetails>>;

    async fn run(self, cx: &Context) -> Result<Listing<Row<InstanceDetails>>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverInstances);

impl DiscoverInstances {
    async fn list(mut self, cx: &Context, mut out: Out<Row<InstanceDetails>>) -> Result<()> {
        let now = cx.now();
        // A filter without a value must not be sent, and nothing has no state. No tags, from a variable that is empty say, must not be any tags.
        if self.states.is_empty() || self.types.as_ref().is_some_and(Vec::is_empty) || self.common(now).is_nothing() {
            return Ok(());
        }
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        if let Some(ids) = self.instance_ids.take() {
            for instance in lookup::given::<Instance>(cx, &ec2, ids).await? {
                if self.has_state(&instance) && self.matches(&instance, now) {
                    let row = self.row(&instance, now);
                    out.send(row).await?;
                }
            }
            return Ok(());
        }
        let mut instances = Instance::list(&ec2, self.filters(now));
        while let Some(instance) = instances.try_next().await? {
            if self.matches(&instance, now) {
                let row = self.row(&instance, now);
                out.send(row).await?;
            }
        }
        Ok(())
    }

    fn row(&self, instance: &Instance, now: Timestamp) -> Row<InstanceDetails> {
        Row::of(self.details, instance.id(), || InstanceDetails::of(instance, now))
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

    /// What is inverted is not asked for: EC2 has no filter for what does not match.
    fn filters(&self, now: Timestamp) -> Vec<Filter> {
        let mut filters = vec![lookup::filter("instance-state-name", self.states.iter().map(|s| s.word()))];
        if self.invert {
            return filters;
        }
        filters.extend(self.common(now).filters());
        if let Some(types) = &self.types
            && types.len() <= lookup::MOST_VALUES
            && types.iter().all(|t| selecting::is_plain(t.as_str()))
        {
            filters.push(lookup::filter("instance-type", types.iter().map(Glob::as_str)));
        }
        filters
    }

    fn has_state(&self, instance: &Instance) -> bool {
        let state = instance.state().and_then(|s| s.name()).map(|n| n.as_str());
        self.states.iter().any(|s| Some(s.word()) == state)
    }

    /// What EC2 cannot be asked for in one filter, or not so that it can be inverted, is judged here.
    fn matches(&self, instance: &Instance, now: Timestamp) -> bool {
        let launched = instance.launch_time().and_then(details::instant);
        let of_type = |types: &Vec<Glob>| instance.instance_type().is_some_and(|is| types.iter().any(|t| t.matches(is.as_str())));
        let all = self.common(now).is_met_by_tags(instance.tags(), launched)
            && self.types.as_ref().is_none_or(of_type)
            && self.os.is_none_or(|os| self::os(instance) == Some(os))
            && (!self.public || is_public(instance));
        all != self.invert
    }
}

/// EC2 marks Windows only, by its platform (in lower case, unlike its own model). Whatever is not marked is a Linux, be it Red Hat, SUSE or
/// Ubuntu Pro, but for macOS: that runs on Mac instances, whose types begin so, and nothing else runs on them (EC2 user guide, "Amazon EC2 Mac
/// instances").
fn os(instance: &Instance) -> Option<Os> {
    if instance.platform().is_some_and(|p| p.as_str().eq_ignore_ascii_case("windows")) {
        return Some(Os::Windows);
    }
    let mac = instance.instance_type().is_some_and(|t| t.as_str().starts_with("mac"));
    (!mac).then_some(Os::Linux)
}

/// The addresses that EC2 tells of an instance itself are those of its first interface only.
fn is_public(instance: &Instance) -> bool {
    let mut sixes = instance.network_interfaces().iter().flat_map(|n| n.ipv6_addresses()).filter_map(|a| a.ipv6_address());
    instance.public_ip_address().is_some_and(|ip| !ip.is_empty())
        || instance.ipv6_address().is_some_and(is_global)
        || !addresses::public(instance).is_empty()
        || sixes.any(is_global)
}

/// All IPv6 addresses but those that are private by themselves (RFC 4193).
fn is_global(address: &str) -> bool {
    address.parse().is_ok_and(|address: Ipv6Addr| !address.is_unique_local())
}
