use aaws::{Action, ChangeOne, Context, DoneItems, Effect, Example, Items, Meta, Outcome, Result, Reversible, async_trait};
use aws_sdk_ec2::types::Instance;
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::lookup::{self, DESCRIBE_INSTANCES, Lookup};
use super::made::UNDONE;
use super::power::{self, PowerStep, START, STOP, Switch};
use super::{ids, tags};

/// Start instances that are stopped.
///
/// Each is awaited until it runs, unless `no_wait` is given. One that does not come to run, because there is no capacity for it or its KMS key cannot be
/// used, fails with what EC2 says. An instance that runs already is unchanged; one that is still being stopped is started as soon as it is stopped.
///
/// The ids of the instances that were started are printed in the order given.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartInstances {
    /// Instances to start. An empty list starts nothing.
    pub instance_ids: Items<String>,
    /// Do not wait until the instances run.
    #[serde(default)]
    pub no_wait: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

#[async_trait]
impl Action for StartInstances {
    const META: Meta = Meta {
        path: "ec2/start_instances",
        effect: Effect::Modify,
        calls: &[DESCRIBE_INSTANCES, START, STOP.when(UNDONE)],
        rules: &[],
        examples: &[
            Example {
                title: "Start an instance, and wait until it runs",
                input: r#"{"instance_ids": ["i-0123456789abcdef0"]}"#,
                output: r#"["i-0123456789abcdef0"]"#,
                given: &["instance i-0123456789abcdef0 stopped"],
            },
            Example {
                title: "Start two instances, of which one runs already, and do not wait for the other",
                input: r#"{"instance_ids": ["i-0123456789abcdef0", "i-0fedcba9876543210"], "no_wait": true}"#,
                output: r#"["i-0fedcba9876543210"]"#,
                given: &["instance i-0123456789abcdef0", "instance i-0fedcba9876543210 stopped"],
            },
        ],
        notes: &[
            "An instance that runs is billed, for a minute at least each time that it is started.",
            "An instance that has a public address which is not elastic gets another one with each start.",
            "`running` says that the instance was started, and not yet that its operating system is up: EC2's status checks take some minutes more.",
            "Up to a thousand instances are started in one request. What EC2 has against one of them is not held against the others.",
            "Where a volume is encrypted with a customer managed key, starting needs `kms:CreateGrant` on that key. Without it EC2 accepts the start, and stops the \
             instance again at once: the item then fails with EC2's reason.",
        ],
    };

    const BINDS: &'static [&'static str] = power::BINDS;
    const REVERSIBLE: Reversible = Reversible::Yes(
        "`aaws undo` stops the instances that the run started, and no others. What is on instance store volumes, and a public address that is not elastic, is lost then.",
    );

    type Output = DoneItems<String>;

    async fn run(self, cx: &Context) -> Result<DoneItems<String>> {
        let ids = ids::checked("instance_ids", "i-", self.instance_ids).await?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<Instance>(cx, &ec2, ids.into()).await?;
        let start = Start { switch: Switch::start(&ec2, !self.no_wait), ignore_not_found: self.ignore_not_found };
        Ok(cx.change_each(stream::iter(lookup.into_iter().map(Ok)), start).await?.done())
    }
}

aaws::register!(StartInstances, undo = PowerStep);

struct Start {
    switch: Switch,
    ignore_not_found: bool,
}

#[async_trait]
impl ChangeOne for Start {
    type Item = Lookup<Instance>;
    type Done = String;

    fn id(&self, lookup: &Lookup<Instance>) -> String {
        lookup.id.clone()
    }

    fn summary(&self) -> String {
        "start".into()
    }

    fn plan(&self, lookup: &Lookup<Instance>) -> Option<String> {
        let instance = lookup.result.found()?;
        Some(
            if self.switch.is_going_already(instance) {
                "it is being started already, and would be awaited"
            } else {
                "it would be started"
            }
            .into(),
        )
    }

    fn tags(&self, lookup: &Lookup<Instance>) -> Option<Vec<(String, String)>> {
        lookup.result.found().map(|instance| tags::pairs(instance.tags()))
    }

    fn precheck(&self, lookup: &Lookup<Instance>) -> Option<Outcome<String>> {
        let Some(instance) = lookup.result.found() else { return lookup.result.unknown(self.ignore_not_found) };
        self.switch.settled(instance).or_else(|| power::managed(instance, "start").map(Outcome::Failed))
    }

    fn state(&self, lookup: &Lookup<Instance>) -> Option<Value> {
        lookup.result.found().map(power::state)
    }

    async fn apply(&self, cx: &Context, lookup: &Lookup<Instance>) -> Result<Outcome<String>> {
        match lookup.result.found() {
            Some(instance) => self.switch.apply(cx, &lookup.id, instance, None).await,
            None => Ok(Outcome::not_found(self.ignore_not_found, lookup::none_of::<Instance>())),
        }
    }
}
