use aaws::{
    Action, ChangeOne, Context, DoneItems, Effect, Error, ErrorContext, Example, Failure, Items, Meta, Outcome, Result, Reversible, Rule,
    When, async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{DeviceType, Instance, InstanceAttributeName, InstanceLifecycleType};
use futures::stream::{self, StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::addresses;
use super::coalesce::StopOptions;
use super::lookup::{self, DESCRIBE_INSTANCES, Lookup};
use super::made::UNDONE;
use super::power::{self, IS_PROTECTED, PowerStep, START, STOP, Switch};
use super::{ids, tags};

/// Stop instances that run.
///
/// Each is awaited until it is stopped, unless `no_wait` is given. An instance that is stopped already is unchanged; one that is still being started is
/// stopped as soon as it runs.
///
/// Instances that cannot be stopped fail, and the others are stopped all the same: those whose root is an instance store, Spot Instances of a one-time
/// request, those that are protected against being stopped or managed by an AWS service, and, unless `auto_scaling` is given, those of an Auto Scaling
/// group, which would terminate and replace them.
///
/// The ids of the instances that were stopped are printed in the order given.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopInstances {
    /// Instances to stop. An empty list stops nothing.
    pub instance_ids: Items<String>,
    /// Keep what is in memory, of instances that were launched for that. EC2 shuts down one that cannot hibernate after all.
    #[serde(default)]
    pub hibernate: bool,
    /// Switch off an instance that does not shut down by itself in time, also one that is being stopped already. Its file systems have to be checked then.
    #[serde(default)]
    pub force: bool,
    /// Stop also instances of Auto Scaling groups, which replace instances that stop unless they are in standby.
    #[serde(default)]
    pub auto_scaling: bool,
    /// Do not wait until the instances are stopped.
    #[serde(default)]
    pub no_wait: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

#[async_trait]
impl Action for StopInstances {
    const META: Meta = Meta {
        path: "ec2/stop_instances",
        effect: Effect::Disrupt,
        calls: &[DESCRIBE_INSTANCES, IS_PROTECTED.when(When::Likely("it is a dry run, or a plan is applied")), STOP, START.when(UNDONE)],
        rules: &[Rule::AtMostOne(&["hibernate", "force"])],
        examples: &[
            Example {
                title: "Stop an instance, and wait until it is stopped",
                input: r#"{"instance_ids": ["i-0123456789abcdef0"]}"#,
                output: r#"["i-0123456789abcdef0"]"#,
                given: &["instance i-0123456789abcdef0"],
            },
            Example {
                title: "Stop two instances, of which one is stopped already, and do not wait for the other",
                input: r#"{"instance_ids": ["i-0123456789abcdef0", "i-0fedcba9876543210"], "no_wait": true}"#,
                output: r#"["i-0fedcba9876543210"]"#,
                given: &["instance i-0123456789abcdef0 stopped", "instance i-0fedcba9876543210"],
            },
        ],
        notes: &[
            "A public address that is not elastic is given back, and another one comes with the next start: the plan and the outcome name it. Private and elastic \
             addresses stay.",
            "What is on instance store volumes is lost. Volumes of EBS, and elastic addresses, go on being billed.",
            "Protection against being stopped is told by a dry run and by EC2's refusal; it is never lifted here.",
            "Up to a thousand instances are stopped in one request. What EC2 has against one of them is not held against the others.",
            "An instance of an Auto Scaling group counts as unhealthy once it is stopped: put it in standby first, and give `auto_scaling`.",
            "Stopping may take many minutes while an operating system shuts down. The wait has no limit but `--timeout`; when it ends, the stop goes on.",
        ],
    };

    const BINDS: &'static [&'static str] = power::BINDS;
    const REVERSIBLE: Reversible = Reversible::Yes(
        "`aaws undo` starts the instances that the run stopped, and no others. A public address that is not elastic, and what was on instance store volumes, does not \
         come back.",
    );

    type Output = DoneItems<String>;

    async fn run(self, cx: &Context) -> Result<DoneItems<String>> {
        let ids = ids::checked("instance_ids", "i-", self.instance_ids).await?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let options = StopOptions { hibernate: self.hibernate, force: self.force };
        let stop = Stop {
            switch: Switch::stop(&ec2, options, !self.no_wait),
            options,
            auto_scaling: self.auto_scaling,
            ignore_not_found: self.ignore_not_found,
        };
        let lookup = lookup::look_up::<Instance>(cx, &ec2, ids.into()).await?;
        let items = lookup::cancellable(cx, stop.items(cx, &ec2, lookup)).await?;
        Ok(cx.change_each(stream::iter(items.into_iter().map(Ok)), stop).await?.done())
    }
}

aaws::register!(StopInstances, undo = PowerStep);

/// Whether an instance is protected against being stopped. DescribeInstances does not tell it, and a plain run learns it from EC2's refusal, which takes no
/// request for each instance.
enum Protection {
    NotAsked,
    Is(bool),
    /// It could not be asked: why.
    Unknown(String),
}

struct Item {
    lookup: Lookup<Instance>,
    protection: Protection,
}

impl Item {
    fn found(&self) -> Option<&Instance> {
        self.lookup.result.found()
    }
}

struct Stop {
    switch: Switch,
    options: StopOptions,
    auto_scaling: bool,
    ignore_not_found: bool,
}

impl Stop {
    /// The items, looked at as closely as what they are for takes.
    async fn items(&self, cx: &Context, ec2: &Client, lookup: Vec<Lookup<Instance>>) -> Result<Vec<Item>> {
        let looked = lookup.into_iter().map(|lookup| async move {
            let goes = lookup.result.found().is_some_and(|instance| self.unstoppable(instance).is_none() && !self.stays(instance));
            let protection = if goes && cx.foresees() { protection(ec2, &lookup.id).await? } else { Protection::NotAsked };
            Ok::<_, Error>(Item { lookup, protection })
        });
        stream::iter(looked.collect::<Vec<_>>()).buffered(cx.concurrency()).try_collect().await
    }

    /// Whether an instance is told nothing.
    fn stays(&self, instance: &Instance) -> bool {
        self.switch.is_going_already(instance) || self.switch.settled(instance).is_some()
    }

    /// Why an instance that runs is not to be stopped, as far as EC2 shows it.
    fn unstoppable(&self, instance: &Instance) -> Option<Failure> {
        if let Some(group) = tags::value(instance.tags(), tags::AUTO_SCALING_GROUP).filter(|_| !self.auto_scaling) {
            let why = format!(
                "it belongs to the Auto Scaling group `{group}`, which terminates and replaces it when it stops: put it in standby, and give `auto_scaling`"
            );
            return Some(Failure::permanent("AutoScaling", why));
        }
        if instance.root_device_type() == Some(&DeviceType::InstanceStore) {
            return Some(Failure::permanent("Unsupported", "its root is an instance store: it can only run, or be terminated"));
        }
        let can_hibernate = instance.hibernation_options().and_then(|options| options.configured()) == Some(true);
        if self.options.hibernate && !can_hibernate {
            let why = "it was not launched so that it can hibernate: stop it without `hibernate`";
            return Some(Failure::permanent("UnsupportedHibernationConfiguration", why));
        }
        power::managed(instance, "stop")
    }
}

async fn protection(ec2: &Client, id: &str) -> Result<Protection> {
    let request = ec2.describe_instance_attribute().instance_id(id).attribute(InstanceAttributeName::DisableApiStop).send();
    match request.await.context(|| format!("ask whether the instance `{id}` may be stopped")) {
        Ok(answer) => Ok(Protection::Is(answer.disable_api_stop().and_then(|set| set.value()).unwrap_or_default())),
        Err(e) if e.is_fatal() => Err(e),
        // EC2 itself keeps what is protected from being stopped.
        Err(e) => Ok(Protection::Unknown(e.to_string())),
    }
}

#[async_trait]
impl ChangeOne for Stop {
    type Item = Item;
    type Done = String;

    fn id(&self, item: &Item) -> String {
        item.lookup.id.clone()
    }

    fn summary(&self) -> String {
        if self.options.hibernate { "hibernate".into() } else { "stop".into() }
    }

    fn plan(&self, item: &Item) -> Option<String> {
        let instance = item.found()?;
        if self.switch.is_going_already(instance) {
            return Some("it is being stopped already, and would be awaited".into());
        }
        let would = match self.options {
            StopOptions { hibernate: true, .. } => "it would be hibernated",
            StopOptions { force: true, .. } => "it would be stopped, by force if it does not shut down by itself",
            StopOptions { .. } => "it would be stopped",
        };
        let mut parts = vec![would.to_owned()];
        parts.extend(addresses::lost_by_a_stop(instance));
        if let Some(group) = tags::value(instance.tags(), tags::AUTO_SCALING_GROUP) {
            parts.push(format!("unless it is in standby, the Auto Scaling group `{group}` terminates and replaces it"));
        }
        if instance.instance_lifecycle() == Some(&InstanceLifecycleType::Spot) {
            parts.push("it is a Spot Instance, which EC2 stops only if its request is persistent".into());
        }
        if let Protection::Unknown(why) = &item.protection {
            parts.push(format!("whether it is protected against that could not be looked at: {why}"));
        }
        Some(parts.join("; "))
    }

    fn tags(&self, item: &Item) -> Option<Vec<(String, String)>> {
        item.found().map(|instance| tags::pairs(instance.tags()))
    }

    fn precheck(&self, item: &Item) -> Option<Outcome<String>> {
        let Some(instance) = item.found() else { return item.lookup.result.unknown(self.ignore_not_found) };
        if self.stays(instance) {
            return self.switch.settled(instance);
        }
        let protected = || matches!(item.protection, Protection::Is(true)).then(power::protected);
        self.unstoppable(instance).or_else(protected).map(Outcome::Failed)
    }

    fn state(&self, item: &Item) -> Option<Value> {
        item.found().map(power::state)
    }

    async fn apply(&self, cx: &Context, item: &Item) -> Result<Outcome<String>> {
        match item.found() {
            Some(instance) => self.switch.apply(cx, &item.lookup.id, instance, addresses::lost_by_a_stop(instance)).await,
            None => Ok(Outcome::not_found(self.ignore_not_found, lookup::none_of::<Instance>())),
        }
    }
}
