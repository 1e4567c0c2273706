use aaws::{Action, Call, Context, Effect, Example, Failure, Grant, Items, Listing, Meta, Outcome, Result, Reversible, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{DeviceType, Instance, InstanceStateName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::lookup::{self, DESCRIBE_IMAGES, DESCRIBE_INSTANCES, DESCRIBE_SNAPSHOTS, Lookup};
use super::made::{MadeStep, UNDONE};
use super::making::{self, Maker, Row};
use super::wait::{self, Awaited};
use super::{images, snapshots, states, tags};

/// Make images (AMIs) of instances, and await them.
///
/// All images are begun, then awaited together. Each has a name of its own, and it and its snapshots get the instance's own tags in the call that
/// begins it. The ids of the available ones are printed in the order of the instances; with `details`, what came of each instance. An image that
/// ends in an error is a failure of its instance, with EC2's reason.
///
/// Unless `reboot` is given, instances run on, and their images are what a power cut would leave: crash-consistent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateImages {
    /// Instances to make images of. An empty list is none.
    pub instance_ids: Items<String>,
    /// Let EC2 reboot each instance, so that its file systems are whole in the image.
    #[serde(default)]
    pub reboot: bool,
    /// Print the ids as soon as the images are begun, and do not await them.
    #[serde(default)]
    pub no_wait: bool,
    /// Print what came of each instance, with its image, rather than the ids of the images.
    #[serde(default)]
    pub details: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

const INSTANCE: &str = "arn:${Partition}:ec2:${Region}:${Account}:instance/${instance_ids}";
const IMAGE: &str = "arn:${Partition}:ec2:${Region}::image/*";

#[async_trait]
impl Action for CreateImages {
    const META: Meta = Meta {
        path: "ec2/create_images",
        effect: Effect::Disrupt,
        calls: &[
            DESCRIBE_INSTANCES,
            Call::write(
                "ec2:CreateImage",
                &[
                    Grant::new("ec2:CreateImage", &[INSTANCE, IMAGE, snapshots::SNAPSHOTS]),
                    Grant::new("ec2:CreateTags", &[IMAGE, snapshots::SNAPSHOTS]).condition(
                        "StringEquals",
                        "ec2:CreateAction",
                        "CreateImage",
                    ),
                ],
            ),
            DESCRIBE_IMAGES.when(When::Likely("`no_wait` is not given, or an answer is lost")),
            DESCRIBE_SNAPSHOTS.when(UNDONE),
            Call::write("ec2:DeregisterImage", &[Grant::new("ec2:DeregisterImage", &[IMAGE])]).when(UNDONE),
            Call::write("ec2:DeleteSnapshot", &[Grant::new("ec2:DeleteSnapshot", &[snapshots::SNAPSHOTS])]).when(UNDONE),
        ],
        rules: &[],
        examples: &[
            Example {
                title: "Make an image of an instance that runs on",
                input: r#"{"instance_ids": ["i-0123456789abcdef0"]}"#,
                output: r#"["ami-0123456789abcdef0"]"#,
                given: &["instance i-0123456789abcdef0"],
            },
            Example {
                title: "Make an image, with a reboot, and tell which instance it is of",
                input: r#"{"instance_ids": ["i-0123456789abcdef0"], "reboot": true, "details": true}"#,
                output: r#"[{"SourceId": "i-0123456789abcdef0", "Status": "done", "Id": "ami-0123456789abcdef0", "Message": "ami-0123456789abcdef0 is complete"}]"#,
                given: &["instance i-0123456789abcdef0"],
            },
        ],
        notes: &[
            "Images of large volumes take hours: the wait has no limit but `--timeout`. When it ends, the log, the report and `details` name every image that was begun; \
             they go on.",
            "With `reboot` what runs on the instances is interrupted, and on a terminal that is asked about. Without it nothing is disrupted, and nobody is asked.",
            "Instances whose root is an instance store, and terminated ones, fail: EC2 makes no images of those.",
            "Volumes on instance stores are not in the image.",
        ],
    };

    const BINDS: &'static [&'static str] = states::INSTANCE;
    const REVERSIBLE: Reversible = Reversible::Yes("`aaws undo` deregisters the images that were made, and deletes their snapshots.");

    type Output = Listing<Row>;

    async fn run(self, cx: &Context) -> Result<Listing<Row>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<Instance>(cx, &ec2, self.instance_ids).await?;
        let shoot = Shoot { ec2, reboot: self.reboot, wait: !self.no_wait, ignore_not_found: self.ignore_not_found };
        making::make(cx, lookup, shoot, self.details).await
    }
}

aaws::register!(CreateImages, undo = MadeStep);

struct Shoot {
    ec2: Client,
    reboot: bool,
    wait: bool,
    ignore_not_found: bool,
}

#[async_trait]
impl Maker for Shoot {
    type Source = Lookup<Instance>;

    fn id(&self, instance: &Lookup<Instance>) -> String {
        instance.id.clone()
    }

    fn summary(&self) -> String {
        if self.reboot { "reboot, and make an image of".into() } else { "make an image of".into() }
    }

    fn disrupts(&self) -> bool {
        self.reboot
    }

    fn plan(&self, lookup: &Lookup<Instance>) -> Option<String> {
        let state = lookup.result.found().and_then(|i| i.state()).and_then(|s| s.name());
        Some(
            match (state, self.reboot) {
                (Some(InstanceStateName::Stopped), _) => "an image of it would be made; it is stopped, and would stay so",
                (_, true) => "it would be rebooted, and an image of it made",
                (_, false) => "an image of it would be made while it runs on: crash-consistent",
            }
            .into(),
        )
    }

    fn tags(&self, lookup: &Lookup<Instance>) -> Option<Vec<(String, String)>> {
        lookup.result.found().filter(|_| self.reboot).map(|i| tags::pairs(i.tags()))
    }

    fn precheck(&self, lookup: &Lookup<Instance>) -> Option<Outcome<String>> {
        let failed = |code: &str, why: String| Some(Outcome::Failed(Failure::permanent(code, why)));
        let Some(instance) = lookup.result.found() else { return lookup.result.unknown(self.ignore_not_found) };
        if instance.root_device_type() == Some(&DeviceType::InstanceStore) {
            return failed("Unsupported", "its root is an instance store: EC2 makes no image of it".into());
        }
        match instance.state().and_then(|s| s.name()) {
            Some(state @ (InstanceStateName::ShuttingDown | InstanceStateName::Terminated)) => {
                failed("IncorrectState", format!("it is {state}"))
            }
            _ => None,
        }
    }

    fn state(&self, instance: &Lookup<Instance>) -> Option<Value> {
        instance.result.found().map(states::instance)
    }

    fn awaited(&self) -> bool {
        self.wait
    }

    fn step(&self, instance: &Lookup<Instance>, made: &str) -> Option<MadeStep> {
        Some(MadeStep::Image { of: instance.id.clone(), id: made.to_owned() })
    }

    async fn begin(&self, cx: &Context, instance: &Lookup<Instance>) -> Result<String> {
        let own = instance.result.found().map(|i| tags::own(i.tags())).unwrap_or_default();
        let name = images::new_name(&instance.id);
        let description = format!("{}, made by aaws", instance.id);
        images::begin(cx, &self.ec2, &instance.id, &name, description, !self.reboot, own).await
    }

    async fn wait(&self, cx: &Context, made: &[String]) -> Awaited {
        wait::images(cx, &self.ec2, made).await
    }
}
