use std::collections::{BTreeSet, HashMap};

use aaws::{Action, Call, Context, Effect, Example, Grant, Items, Meta, OrPlan, Result, Status, When, async_trait};
use aws_sdk_ec2::types::Instance;
use futures::stream::{self, TryStreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lookup::{self, DESCRIBE_IMAGES, DESCRIBE_INSTANCES, DESCRIBE_SNAPSHOTS, DESCRIBE_VOLUMES};
use super::references::DESCRIBE_IMAGE_REFERENCES;
use super::related::{DESCRIBE_LOCKED_SNAPSHOTS, DESCRIBE_SNAPSHOT_ATTRIBUTE, Overrides};
use super::seen::{self, WithState};
use super::{snapshots, tags};

mod plan;
mod steps;
mod survey;
mod undo;

use plan::{DependentKind, Options, Target};
use steps::{Terminate, TerminateStep};

/// Terminate instances, and delete what belongs to them if asked.
///
/// Each instance goes through these steps, and everything is looked at before the first:
///
/// 1. with `disable_protections` its protections against being stopped and terminated are lifted. They are restored when the instance cannot be
///    terminated after all;
/// 2. with `final_image` it is stopped, an image of it is made, and awaited. When that fails it is started again, if it ran, and stays;
/// 3. it is terminated, and that is awaited. When it is refused, the final image and its snapshots are removed again, and the instance runs if it ran.
///
/// What `include` names is deleted only when its instances are terminated: an instance that could not be imaged or terminated keeps its volumes,
/// images and snapshots. Volumes that go with their instance are unchanged. Images that others use, snapshots behind images that stay, what is shared with
/// other accounts, and what AWS Backup, Data Lifecycle Manager or Kubernetes keeps, are kept; so is what cannot be looked at, which fails as `Unchecked`.
///
/// What is still there, because it failed or was skipped for a reason, is printed by kind; the log and the report say why.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteInstances {
    /// Instances to terminate: ids, or what `discover_instances` prints of them with `details`, which are left alone when they are in another state by
    /// now. An empty list terminates nothing.
    pub instance_ids: Items<WithState<Instance>>,
    /// What to delete with them. An empty list is nothing.
    #[serde(default)]
    pub include: Vec<Related>,
    /// Make an image of each instance before it is terminated, and keep that.
    #[serde(default)]
    pub final_image: bool,
    /// Lift protection against being terminated or stopped; either keeps an instance from being terminated.
    #[serde(default)]
    pub disable_protections: bool,
    /// Terminate also instances of Auto Scaling groups, which replace them.
    #[serde(default)]
    pub auto_scaling: bool,
    /// Go on though what protects an instance, uses an image, locks a snapshot, or whom those are shared with could not be looked at.
    #[serde(default)]
    pub unchecked: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

/// What belongs to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Related {
    /// The volumes that are attached to it.
    Volume,
    /// The images of the account that were made of it, with their snapshots.
    Image,
    /// The snapshots of the account that were taken of its volumes.
    Snapshot,
}

/// What is still there.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Left {
    /// Instances that were not terminated.
    pub instances: Vec<String>,
    /// Volumes that were not deleted.
    pub volumes: Vec<String>,
    /// Images that were not deregistered.
    pub images: Vec<String>,
    /// Snapshots that were not deleted.
    pub snapshots: Vec<String>,
}

const INSTANCES: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:instance/${instance_ids}"];
const ANY_IMAGE: &str = "arn:${Partition}:ec2:${Region}::image/*";
const WITH_IMAGE: When = When::With(&["final_image"]);
const WITH_EITHER: When = When::With(&["final_image", "include"]);

#[async_trait]
impl Action for DeleteInstances {
    const META: Meta = Meta {
        path: "ec2/delete_instances",
        effect: Effect::Delete,
        calls: &[
            DESCRIBE_INSTANCES,
            Call::read("ec2:DescribeInstanceAttribute", &[Grant::new("ec2:DescribeInstanceAttribute", INSTANCES)])
                .when(When::Likely("`disable_protections` or `final_image` is given, or for a dry run")),
            DESCRIBE_VOLUMES.when(When::With(&["include"])),
            DESCRIBE_IMAGES.when(WITH_EITHER),
            DESCRIBE_SNAPSHOTS.when(WITH_EITHER),
            DESCRIBE_LOCKED_SNAPSHOTS.when(When::With(&["include"])),
            DESCRIBE_SNAPSHOT_ATTRIBUTE.when(When::With(&["include"])),
            DESCRIBE_IMAGE_REFERENCES.when(When::Is("include", "image")),
            Call::read("ec2:DescribeImageAttribute", &[Grant::new("ec2:DescribeImageAttribute", &[ANY_IMAGE])])
                .when(When::Is("include", "image")),
            Call::write("ec2:ModifyInstanceAttribute", &[Grant::new("ec2:ModifyInstanceAttribute", INSTANCES)])
                .when(When::With(&["disable_protections"])),
            Call::write("ec2:StopInstances", &[Grant::new("ec2:StopInstances", INSTANCES)]).when(WITH_IMAGE),
            Call::write(
                "ec2:CreateImage",
                &[
                    Grant::new("ec2:CreateImage", &[INSTANCE, ANY_IMAGE, snapshots::SNAPSHOTS]),
                    Grant::new("ec2:CreateTags", &[ANY_IMAGE, snapshots::SNAPSHOTS]).condition(
                        "StringEquals",
                        "ec2:CreateAction",
                        "CreateImage",
                    ),
                ],
            )
            .when(WITH_IMAGE),
            Call::write(
                "ec2:StartInstances",
                &[
                    Grant::new("ec2:StartInstances", INSTANCES),
                    // EBS attaches such volumes in the caller's name (EBS user guide, "Amazon EBS encryption requirements").
                    Grant::new("kms:CreateGrant", &["arn:${Partition}:kms:${Region}:${Account}:key/*"])
                        .when(When::Rare("a volume of the instance is encrypted with a customer managed key"))
                        .condition("Bool", "kms:GrantIsForAWSResource", "true"),
                ],
            )
            .when(WITH_IMAGE),
            Call::write("ec2:TerminateInstances", &[Grant::new("ec2:TerminateInstances", INSTANCES)]),
            Call::write("ec2:DeleteVolume", &[Grant::new("ec2:DeleteVolume", &["arn:${Partition}:ec2:${Region}:${Account}:volume/*"])])
                .when(When::Is("include", "volume")),
            Call::write("ec2:DeregisterImage", &[Grant::new("ec2:DeregisterImage", &[ANY_IMAGE])]).when(WITH_EITHER),
            Call::write("ec2:DeleteSnapshot", &[Grant::new("ec2:DeleteSnapshot", &[snapshots::SNAPSHOTS])]).when(WITH_EITHER),
        ],
        rules: &[],
        examples: &[
            Example {
                title: "Terminate an instance",
                input: r#"{"instance_ids": ["i-0123456789abcdef0"]}"#,
                output: r#"{"Instances": [], "Volumes": [], "Images": [], "Snapshots": []}"#,
                given: &["instance i-0123456789abcdef0"],
            },
            Example {
                title: "Make a final image of an instance, terminate it, and delete its volumes",
                input: r#"{"instance_ids": ["i-0123456789abcdef0"], "final_image": true, "include": ["volume"]}"#,
                output: r#"{"Instances": [], "Volumes": [], "Images": [], "Snapshots": []}"#,
                given: &["instance i-0123456789abcdef0", "volume vol-0123456789abcdef0 on i-0123456789abcdef0"],
            },
        ],
        notes: &[
            "Nothing is stopped unless `final_image` asks for it: stopping loses what is on instance store volumes, and a public address that is not elastic.",
            "An instance of an Auto Scaling group is refused unless `auto_scaling` is given: the group launches another one. With `final_image` one that runs is \
             refused all the same, because its group terminates it as soon as it is stopped: detach it from the group first.",
            "A persistent Spot request, a fleet, or a service such as EMR or EKS launches another instance: the plan and the log name it. End that first.",
            "Elastic addresses are not released, and are billed on their own: the log names them.",
            "With `include` images that launch templates, parameters or recipes name, what is shared, and what Data Lifecycle Manager made is kept: `delete_images` and \
             `delete_snapshots` have flags for those.",
            "Up to a thousand instances are terminated in one request. What EC2 has against one of them, such as a protection, is not held against the others.",
            "Volumes that Kubernetes made for a claim, that are attached to an instance that stays, or that another service manages, are kept, and so are \
             their snapshots.",
            "The final image and its snapshots are never among what `include` deletes. Where it cannot be told whether an instance is being terminated, \
             because EC2 broke off without an answer, its final image stays, too.",
            "A tag that protects a volume which goes with its instance protects the instance too, where `include` names volumes: without it they are not looked \
             at. Protect the instance.",
            "Termination that was begun cannot be undone. When the wait for it ends early, it goes on, and what `include` names is kept.",
        ],
    };

    const BINDS: &'static [&'static str] = &[
        "of an instance its state, its type, its volumes and their devices",
        "of what goes with it the instances and images that it belongs to",
    ];

    type Output = OrPlan<Left>;

    async fn run(self, cx: &Context) -> Result<OrPlan<Left>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let overrides = Overrides { unchecked: self.unchecked, ..Overrides::default() };
        let options = Options {
            final_image: self.final_image,
            lift: self.disable_protections,
            auto_scaling: self.auto_scaling,
            overrides,
            ignore_not_found: self.ignore_not_found,
        };
        let (ids, seen) = seen::parted(self.instance_ids).await?;
        let lookup = lookup::look_up::<Instance>(cx, &ec2, ids.into()).await?;
        let mut machines = lookup::cancellable(cx, survey::machines(cx, &ec2, lookup, &seen, options)).await?;
        let doomed: Vec<&Instance> = machines.iter().filter_map(|m| m.found.as_deref()).collect();
        let mut dependents = lookup::cancellable(cx, survey::dependents(cx, &ec2, &doomed, &self.include, overrides)).await?;

        plan::spare_for_their_volumes(&mut machines, &dependents);
        let going: BTreeSet<String> = machines.iter().filter(|m| m.found.is_some() && m.precheck.is_none()).map(|m| m.id.clone()).collect();
        // Known now, so that a dry run and the person asked are told it, too.
        let protected = machines.iter().filter(|m| tags::is_protected(m.precheck.as_ref())).map(|m| m.id.clone()).collect();
        plan::stay_with_what_stays(&mut dependents, &going, protected);
        let kinds: HashMap<String, DependentKind> = dependents.iter().map(|d| (d.id.clone(), d.kind)).collect();
        let targets = machines.into_iter().map(|m| Target::Machine(Box::new(m))).chain(dependents.into_iter().map(Target::Dependent));
        let targets: Vec<Result<Target>> = targets.map(Ok).collect();
        let settled = cx.change_in_steps(stream::iter(targets), Terminate::new(ec2, options)).await?.results();
        let records: Vec<_> = settled.map_ok(|s| s.record).try_collect().await?;
        if cx.dry_run() {
            return Ok(OrPlan::Planned(records));
        }
        let mut left = Left::default();
        for record in records.into_iter().filter(|r| matches!(r.status, Status::Failed | Status::Skipped)) {
            let list = match kinds.get(&record.item) {
                None => &mut left.instances,
                Some(DependentKind::Volume) => &mut left.volumes,
                Some(DependentKind::Image) => &mut left.images,
                Some(DependentKind::Snapshot) => &mut left.snapshots,
            };
            list.push(record.item);
        }
        Ok(OrPlan::Done(left))
    }
}

const INSTANCE: &str = "arn:${Partition}:ec2:${Region}:${Account}:instance/${instance_ids}";

aaws::register!(DeleteInstances, undo = TerminateStep);
