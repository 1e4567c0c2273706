use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aaws::{
    Action, Call, Context, Dependency, Effect, Error, ErrorContext, Example, Failure, Grant, Items, Meta, OrPlan, Outcome, Result, Status,
    Step, Steps, Undo, When, async_trait,
};
use aaws::{OnCancel, poll_until};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    AttributeBooleanValue, DeviceType, Image, Instance, InstanceAttributeName, InstanceLifecycleType, InstanceStateName, Snapshot, Volume,
    VolumeState,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::addresses::{self, Owner};
use super::lookup::{self, DESCRIBE_IMAGES, DESCRIBE_INSTANCES, DESCRIBE_SNAPSHOTS, DESCRIBE_VOLUMES, Lookup, LookupResult, Resource};
use super::related::{self, DESCRIBE_IMAGE_REFERENCES, DESCRIBE_LOCKED_SNAPSHOTS};
use super::{delete_images, images, snapshots, tags, volumes, wait};

/// How often a volume that goes with its instance is looked at before it is deleted like any other.
const GOING: u32 = 8;

/// How often something is looked at, a second apart, when EC2 may show only later what a request did: the answer to it was lost, say.
const DOUBTS: u32 = 4;

/// Tags that say what launched an instance, and may launch another: the tag, and what its value is.
const LAUNCHERS: &[(&str, &str)] = &[
    ("aws:ec2:fleet-id", "the EC2 Fleet"),
    ("aws:ec2spot:fleet-request-id", "the Spot Fleet request"),
    ("aws:elasticmapreduce:job-flow-id", "the EMR cluster"),
    ("aws:cloudformation:stack-name", "the CloudFormation stack"),
    ("eks:nodegroup-name", "the EKS node group"),
    ("elasticbeanstalk:environment-name", "the Elastic Beanstalk environment"),
    ("karpenter.sh/nodepool", "the Karpenter node pool"),
];

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
/// images and snapshots. Volumes that go with their instance are unchanged. Images that others use, snapshots behind images that stay, and what AWS
/// Backup or Kubernetes keeps, are kept.
///
/// What is still there, because it failed or was skipped for a reason, is printed by kind; the log and the report say why.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteInstances {
    /// Instances to terminate. An empty list terminates nothing.
    instance_ids: Items<String>,
    /// What to delete with them. An empty list is nothing.
    #[serde(default)]
    include: Vec<Related>,
    /// Make an image of each instance before it is terminated, and keep that.
    #[serde(default)]
    final_image: bool,
    /// Lift protection against being terminated or stopped; either keeps an instance from being terminated.
    #[serde(default)]
    disable_protections: bool,
    /// Terminate also instances of Auto Scaling groups, which replace them.
    #[serde(default)]
    auto_scaling: bool,
}

/// What belongs to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Related {
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
    instances: Vec<String>,
    /// Volumes that were not deleted.
    volumes: Vec<String>,
    /// Images that were not deregistered.
    images: Vec<String>,
    /// Snapshots that were not deleted.
    snapshots: Vec<String>,
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
            Call::read("ec2:DescribeInstanceAttribute", &[Grant::new("ec2:DescribeInstanceAttribute", INSTANCES)]),
            DESCRIBE_VOLUMES.when(When::With(&["include"])),
            DESCRIBE_IMAGES.when(WITH_EITHER),
            DESCRIBE_SNAPSHOTS.when(WITH_EITHER),
            DESCRIBE_LOCKED_SNAPSHOTS.when(When::With(&["include"])),
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
            "With `include` images that launch templates, parameters or recipes name, or that are shared, are kept, and so are their snapshots: `delete_images` has \
             flags for those.",
            "Volumes that Kubernetes made for a claim, that are attached to an instance that stays, or that another service manages, are kept, and so are \
             their snapshots.",
            "The final image and its snapshots are never among what `include` deletes. Where it cannot be told whether an instance is being terminated, \
             because EC2 broke off without an answer, its final image stays, too.",
            "Termination that was begun cannot be undone. When the wait for it ends early, it goes on, and what `include` names is kept.",
        ],
    };

    type Output = OrPlan<Left>;

    async fn run(self, cx: &Context) -> Result<OrPlan<Left>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let options = TerminateOptions { final_image: self.final_image, lift: self.disable_protections, auto_scaling: self.auto_scaling };
        let lookup = lookup::look_up::<Instance>(cx, &ec2, self.instance_ids).await?;
        let machines = lookup::cancellable(cx, machines(cx, &ec2, lookup, &options)).await?;
        let doomed: Vec<&Instance> = machines.iter().filter_map(|m| m.found.as_deref()).collect();
        let mut dependents = lookup::cancellable(cx, dependents(cx, &ec2, &doomed, &self.include)).await?;

        let going: BTreeSet<String> = machines.iter().filter(|m| m.found.is_some() && m.precheck.is_none()).map(|m| m.id.clone()).collect();
        // Known now, so that a dry run and the person asked are told it, too.
        stay_with_what_stays(&mut dependents, &going);
        let kinds: HashMap<String, DependentKind> = dependents.iter().map(|d| (d.id.clone(), d.kind)).collect();
        let targets = machines.into_iter().map(|m| Target::Machine(Box::new(m))).chain(dependents.into_iter().map(Target::Dependent));
        let targets: Vec<Result<Target>> = targets.map(Ok).collect();
        let settled = cx.change_in_steps(stream::iter(targets), Terminate { ec2, options }).await?.results();
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

#[derive(Default)]
struct TerminateOptions {
    final_image: bool,
    lift: bool,
    auto_scaling: bool,
}

/// An instance to terminate.
struct Machine {
    id: String,
    /// None when there is no such instance, or duplicate id.
    found: Option<Box<Instance>>,
    ran: bool,
    /// Whether it was being stopped.
    stopping: bool,
    /// Whether it is protected against being terminated.
    protected: bool,
    /// Whether it is protected against being stopped.
    stop_protected: bool,
    precheck: Option<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DependentKind {
    Volume,
    Image,
    Snapshot,
}

/// Something that goes when its instances are gone.
struct Dependent {
    kind: DependentKind,
    id: String,
    /// The instances that have to be terminated before.
    owners: BTreeSet<String>,
    /// The images that have to be deregistered before: those that a snapshot is behind.
    images: BTreeSet<String>,
    /// Whether a volume is deleted by EC2 itself, with its instance.
    goes_with: bool,
    /// What becomes of it whatever becomes of them.
    precheck: Option<Outcome>,
}

impl Dependent {
    /// Why it stays when all stays but these instances and images.
    fn stays_with(&self, instances: &BTreeSet<String>, images: &BTreeSet<String>) -> Option<String> {
        if self.owners.is_empty() {
            return Some("kept: EC2 does not tell which instance it belongs to".into());
        }
        if let Some(owner) = self.owners.iter().find(|owner| !instances.contains(*owner)) {
            return Some(format!("kept: {owner} is not terminated"));
        }
        self.images.iter().find(|image| !images.contains(*image)).map(|image| format!("kept: it is behind {image}, which stays"))
    }
}

/// What goes with something that stays, stays. Images come before their snapshots.
fn stay_with_what_stays(dependents: &mut [Dependent], instances: &BTreeSet<String>) {
    let mut images = BTreeSet::new();
    for dependent in dependents {
        if dependent.precheck.is_none() {
            dependent.precheck = dependent.stays_with(instances, &images).map(Outcome::skipped);
        }
        if dependent.kind == DependentKind::Image && dependent.precheck.is_none() {
            images.insert(dependent.id.clone());
        }
    }
}

enum Target {
    Machine(Box<Machine>),
    Dependent(Dependent),
}

/// Looks at the instances: their states, and whether they are protected.
async fn machines(cx: &Context, ec2: &Client, lookup: Vec<Lookup<Instance>>, options: &TerminateOptions) -> Result<Vec<Machine>> {
    let looked = lookup.into_iter().map(|lookup| machine(ec2, lookup, options));
    stream::iter(looked.collect::<Vec<_>>()).buffered(cx.concurrency()).try_collect().await
}

async fn machine(ec2: &Client, lookup: Lookup<Instance>, options: &TerminateOptions) -> Result<Machine> {
    let Lookup { id, result } = lookup;
    let without = |id, why: &str| {
        let precheck = Some(Outcome::Unchanged(why.to_owned()));
        Ok(Machine { id, found: None, ran: false, stopping: false, protected: false, stop_protected: false, precheck })
    };
    let instance = match result {
        LookupResult::Found(instance) => instance,
        LookupResult::NotFound => return without(id, "it does not exist"),
        LookupResult::Duplicate => return without(id, "duplicate id"),
    };
    let state = instance.state().and_then(|s| s.name()).cloned();
    if matches!(state, Some(InstanceStateName::Terminated | InstanceStateName::ShuttingDown)) {
        return without(id, "it is terminated already");
    }
    let ran = matches!(state, Some(InstanceStateName::Running | InstanceStateName::Pending));
    let stopping = state == Some(InstanceStateName::Stopping);
    let (protected, stop_protected, precheck) = match protections(ec2, &id).await {
        Ok((termination, stop)) => (termination, stop, refusal(&instance, options, ran, termination, stop)),
        Err(e) if e.is_fatal() => return Err(e),
        // Nothing is terminated of which it is not known whether it is protected; the others are.
        Err(e) => (false, false, Some(Failure::from(&e))),
    };
    Ok(Machine { id, found: Some(instance), ran, stopping, protected, stop_protected, precheck: precheck.map(Outcome::Failed) })
}

/// Whether an instance is protected against being terminated, and against being stopped. The second keeps it from being terminated, too (EC2 user
/// guide, "Enable stop protection").
async fn protections(ec2: &Client, instance: &str) -> Result<(bool, bool)> {
    let termination = is_set(ec2, instance, InstanceAttributeName::DisableApiTermination).await?;
    let stop = is_set(ec2, instance, InstanceAttributeName::DisableApiStop).await?;
    Ok((termination, stop))
}

/// DescribeInstances does not tell of protections.
async fn is_set(ec2: &Client, instance: &str, attribute: InstanceAttributeName) -> Result<bool> {
    let request = ec2.describe_instance_attribute().instance_id(instance).attribute(attribute).send();
    let answer = request.await.context(|| format!("ask whether the instance `{instance}` is protected"))?;
    let value = answer.disable_api_termination().or(answer.disable_api_stop());
    Ok(value.and_then(AttributeBooleanValue::value).unwrap_or_default())
}

/// Why an instance is not to be terminated.
fn refusal(instance: &Instance, options: &TerminateOptions, ran: bool, protected: bool, stop_protected: bool) -> Option<Failure> {
    if let Some(group) = tags::value(instance.tags(), tags::AUTO_SCALING_GROUP) {
        if !options.auto_scaling {
            let why =
                format!("it belongs to the Auto Scaling group `{group}`, which launches another: give `auto_scaling` if that is meant");
            return Some(Failure::permanent("AutoScaling", why));
        }
        // A stopped instance counts as unhealthy, and the group terminates it, perhaps before there is an image.
        if options.final_image && ran {
            let why =
                format!("the Auto Scaling group `{group}` terminates it as soon as it is stopped for the final image: detach it first");
            return Some(Failure::permanent("AutoScaling", why));
        }
    }
    if instance.operator().and_then(|o| o.managed()) == Some(true) {
        let who = instance.operator().and_then(|o| o.principal()).unwrap_or("an AWS service");
        return Some(Failure::permanent("Managed", format!("it is managed by {who}: delete it there")));
    }
    if protected && !options.lift {
        return Some(Failure::permanent("Protected", "it is protected against being terminated: give `disable_protections` to lift that"));
    }
    if stop_protected && !options.lift {
        let why = "it is protected against being stopped, and so against being terminated: give `disable_protections` to lift that";
        return Some(Failure::permanent("Protected", why));
    }
    if options.final_image && instance.root_device_type() == Some(&DeviceType::InstanceStore) {
        let why = "its root is an instance store: no image of it can be made, so it is not terminated";
        return Some(Failure::permanent("Unsupported", why));
    }
    None
}

/// What belongs to the instances, each thing once.
async fn dependents(cx: &Context, ec2: &Client, instances: &[&Instance], include: &[Related]) -> Result<Vec<Dependent>> {
    let wants = |related| include.contains(&related);
    let ids: Vec<String> = instances.iter().map(|i| i.id().to_owned()).collect();
    let mut found = Vec::new();
    let needed = wants(Related::Volume) || wants(Related::Snapshot);
    let volumes = if needed { attached(ec2, instances, &ids).await? } else { BTreeMap::new() };
    if wants(Related::Volume) {
        found.extend(volumes.iter().map(|(id, volume)| volume.dependent(id)));
    }
    let mut behind = BTreeMap::new();
    if wants(Related::Image) {
        let images: Vec<Image> = lookup::with_values(ec2, "source-instance-id", &ids, &[]).try_collect().await?;
        let images: Vec<&Image> = images.iter().collect();
        let uses = related::uses(cx, ec2, &images).await?;
        for image in &images {
            let owners = image.source_instance_id().map(str::to_owned).into_iter().collect();
            let uses = uses.get(image.id()).cloned().unwrap_or_default();
            let precheck = related::image_precheck(image, &uses, false, false);
            let id = image.id().to_owned();
            found.push(Dependent { kind: DependentKind::Image, id, owners, images: BTreeSet::new(), goes_with: false, precheck });
        }
        let owner: HashMap<&str, &str> = images.iter().filter_map(|i| Some((i.id(), i.source_instance_id()?))).collect();
        for snapshot in delete_images::snapshots_behind(ec2, &images).await? {
            let owners = snapshot.images.iter().filter_map(|i| owner.get(i.as_str())).map(|i| (*i).to_owned()).collect();
            let delete_images::Behind { id, images, precheck } = snapshot;
            behind.insert(id.clone(), Dependent { kind: DependentKind::Snapshot, id, owners, images, goes_with: false, precheck });
        }
    }
    if wants(Related::Snapshot) {
        for snapshot in snapshots_of(ec2, &volumes).await? {
            match behind.get_mut(&snapshot.id) {
                Some(known) => {
                    known.owners.extend(snapshot.owners);
                    known.precheck = known.precheck.take().or(snapshot.precheck);
                }
                None => drop(behind.insert(snapshot.id.clone(), snapshot)),
            }
        }
    }
    found.extend(behind.into_values());
    Ok(found)
}

/// A volume that is attached to some of the instances.
struct Attached {
    /// All instances that it is attached to.
    hosts: BTreeSet<String>,
    /// Whether EC2 deletes it with its instance.
    goes_with: bool,
    /// Why it stays though these instances go.
    kept: Option<String>,
}

impl Attached {
    fn dependent(&self, id: &str) -> Dependent {
        let precheck = self.kept.clone().map(Outcome::skipped);
        let (id, owners) = (id.to_owned(), self.hosts.clone());
        Dependent { kind: DependentKind::Volume, id, owners, images: BTreeSet::new(), goes_with: self.goes_with, precheck }
    }
}

/// The volumes attached to the instances, by their ids.
async fn attached(ec2: &Client, instances: &[&Instance], ids: &[String]) -> Result<BTreeMap<String, Attached>> {
    let volumes: Vec<Volume> = lookup::with_values(ec2, "attachment.instance-id", ids, &[]).try_collect().await?;
    let attached = |volume: Volume| {
        let id = volume.id().to_owned();
        let hosts: BTreeSet<String> = volume.attachments().iter().filter_map(|a| a.instance_id()).map(str::to_owned).collect();
        let goes_with = instances.iter().any(|i| goes_with(i, &id));
        let kept = volume_kept(&volume, &hosts, ids, goes_with);
        (id, Attached { hosts, goes_with, kept })
    };
    Ok(volumes.into_iter().map(attached).collect())
}

/// Why a volume is not to be deleted with its instances. What goes with its instance is EC2's to delete, whatever it is.
fn volume_kept(volume: &Volume, hosts: &BTreeSet<String>, ids: &[String], goes_with: bool) -> Option<String> {
    let strangers: Vec<_> = hosts.iter().filter(|h| !ids.contains(h)).map(String::as_str).collect();
    if !strangers.is_empty() {
        return Some(format!("it is also attached to {}", strangers.join(", ")));
    }
    if goes_with {
        return None;
    }
    if let Some(operator) = volume.operator().filter(|o| o.managed() == Some(true)) {
        return Some(format!("it is managed by {}: delete it there", operator.principal().unwrap_or("an AWS service")));
    }
    related::kept_by_kubernetes(volume.tags())
}

/// Whether EC2 deletes a volume with its instance.
fn goes_with(instance: &Instance, volume: &str) -> bool {
    let ebs = instance.block_device_mappings().iter().filter_map(|m| m.ebs());
    ebs.filter(|e| e.volume_id() == Some(volume)).any(|e| e.delete_on_termination() == Some(true))
}

/// The snapshots that were taken of these volumes.
async fn snapshots_of(ec2: &Client, volumes: &BTreeMap<String, Attached>) -> Result<Vec<Dependent>> {
    let of: Vec<String> = volumes.keys().cloned().collect();
    let taken: Vec<Snapshot> = lookup::with_values(ec2, "volume-id", &of, &[]).try_collect().await?;
    let ids: Vec<String> = taken.iter().map(|s| s.id().to_owned()).collect();
    let (users, locks) = futures::try_join!(related::users(ec2, &ids), related::locks(ec2, &ids))?;
    let snapshot = |snapshot: Snapshot| {
        let id = snapshot.id().to_owned();
        let volume = snapshot.volume_id().and_then(|v| volumes.get(v));
        // Who still needs a volume needs its snapshots.
        let needed = volume.and_then(|v| v.kept.as_deref()).map(|why| format!("kept, as its volume is: {why}"));
        let kept = related::kept(&snapshot)
            .or_else(|| locks.get(&id).cloned())
            .or_else(|| related::kept_by_kubernetes(snapshot.tags()))
            .or(needed);
        let owners = volume.map(|v| v.hosts.clone()).unwrap_or_default();
        let images = users.get(&id).cloned().unwrap_or_default();
        Dependent { kind: DependentKind::Snapshot, id, owners, images, goes_with: false, precheck: kept.map(Outcome::skipped) }
    };
    Ok(taken.into_iter().map(snapshot).collect())
}

/// Something that was done to an instance before it was terminated.
#[derive(Debug, Serialize, Deserialize)]
enum TerminateStep {
    /// A protection was lifted.
    Lift { instance: String, protection: Protection },
    /// A running instance was stopped.
    Stop { instance: String },
    /// An image was, or may have been, made; without its id it is found by its name.
    Image { instance: String, name: String, image: Option<String> },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Protection {
    Termination,
    Stop,
}

impl fmt::Display for TerminateStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TerminateStep::Lift { instance, protection: Protection::Termination } => {
                write!(f, "lift the protection of {instance} against being terminated")
            }
            TerminateStep::Lift { instance, protection: Protection::Stop } => {
                write!(f, "lift the protection of {instance} against being stopped")
            }
            TerminateStep::Stop { instance } => write!(f, "stop {instance}"),
            TerminateStep::Image { instance, image: Some(image), .. } => write!(f, "make the image {image} of {instance}"),
            TerminateStep::Image { instance, name, image: None } => write!(f, "make an image of {instance} (named {name})"),
        }
    }
}

struct Terminate {
    ec2: Client,
    options: TerminateOptions,
}

#[async_trait]
impl Steps for Terminate {
    type Item = Target;
    type Done = ();
    type Step = TerminateStep;

    fn id(&self, target: &Target) -> String {
        match target {
            Target::Machine(machine) => machine.id.clone(),
            Target::Dependent(dependent) => dependent.id.clone(),
        }
    }

    fn summary(&self) -> String {
        if self.options.final_image {
            "terminate, each after an image of it, and delete for good".into()
        } else {
            "terminate, and delete for good".into()
        }
    }

    fn plan(&self, target: &Target) -> Option<String> {
        Some(match target {
            Target::Machine(machine) => machine.plan(&self.options),
            Target::Dependent(d) if d.goes_with => format!("it goes with {}", list(&d.owners)),
            Target::Dependent(d) => format!("it would be deleted when {} is terminated", list(&d.owners)),
        })
    }

    fn precheck(&self, target: &Target) -> Option<Outcome> {
        match target {
            Target::Machine(machine) => machine.precheck.clone(),
            Target::Dependent(dependent) => dependent.precheck.clone(),
        }
    }

    fn kind(&self, target: &Target) -> Option<&'static str> {
        Some(match target {
            Target::Machine(_) => "instance",
            Target::Dependent(d) => d.kind.name(),
        })
    }

    fn is_ordered(&self) -> bool {
        true
    }

    /// Instances stand before what goes with them, and images before their snapshots.
    fn after(&self, target: &Target) -> Vec<Dependency> {
        let Target::Dependent(dependent) = target else { return Vec::new() };
        let owner = |id: &String| Dependency::or_skip(id, format!("kept: {id} was not terminated"));
        let image = |id: &String| Dependency::or_skip(id, format!("kept: it is behind {id}, which is still there"));
        dependent.owners.iter().map(owner).chain(dependent.images.iter().map(image)).collect()
    }

    async fn run(&self, cx: &Context, target: &Target, undo: &mut Undo<TerminateStep>) -> Result<Outcome> {
        match target {
            Target::Machine(machine) => self.terminate(cx, machine, undo).await,
            Target::Dependent(dependent) => self.delete(cx, dependent).await,
        }
    }
}

#[async_trait]
impl Step for TerminateStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let terminate = Terminate { ec2: aaws::client!(cx, aws_sdk_ec2), options: TerminateOptions::default() };
        match self {
            TerminateStep::Lift { instance, protection } => terminate.protect(instance, *protection, true).await,
            TerminateStep::Stop { instance } => terminate.start_again(cx, instance).await,
            TerminateStep::Image { instance, name, image } => terminate.remove_image(instance, name, image.as_deref()).await,
        }
    }
}

impl DependentKind {
    fn name(self) -> &'static str {
        match self {
            DependentKind::Volume => "volume",
            DependentKind::Image => "image",
            DependentKind::Snapshot => "snapshot",
        }
    }
}

fn list(ids: &BTreeSet<String>) -> String {
    ids.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

impl Machine {
    fn plan(&self, options: &TerminateOptions) -> String {
        let mut parts = Vec::new();
        if options.final_image {
            parts.push(if self.ran { "it would be stopped, and an image of it made" } else { "an image of it would be made" }.to_owned());
            parts.extend(self.found.as_deref().filter(|_| self.ran).and_then(addresses::lost_by_a_stop));
        }
        if self.protected || self.stop_protected {
            parts.push("its protection would be lifted".into());
        }
        parts.push("it would be terminated".into());
        parts.extend(self.found.as_deref().map(warnings).unwrap_or_default());
        parts.join("; ")
    }
}

/// What stays, or comes back, when the instance is gone.
fn warnings(instance: &Instance) -> Vec<String> {
    let mut warnings = Vec::new();
    if instance.instance_lifecycle() == Some(&InstanceLifecycleType::Spot) {
        let request = instance.spot_instance_request_id().unwrap_or("unknown");
        warnings.push(format!("it is a Spot Instance (of the request {request}): a persistent request launches another"));
    }
    let launchers = LAUNCHERS.iter().filter_map(|(tag, what)| Some((what, tags::value(instance.tags(), tag)?)));
    warnings.extend(launchers.map(|(what, id)| format!("{what} `{id}` launched it, and may launch another")));
    let elastic = addresses::public(instance).into_iter().filter(|(_, owner)| *owner == Owner::Account);
    warnings.extend(elastic.map(|(ip, _)| format!("the elastic address {ip} is not released, and goes on being billed")));
    warnings
}

impl Terminate {
    async fn terminate(&self, cx: &Context, machine: &Machine, undo: &mut Undo<TerminateStep>) -> Result<Outcome> {
        let id = &machine.id;
        machine.found.as_deref().map(warnings).unwrap_or_default().iter().for_each(|w| tracing::warn!("`{id}`: {w}"));
        if machine.stop_protected {
            undo.note(TerminateStep::Lift { instance: id.clone(), protection: Protection::Stop }).await?;
            self.protect(id, Protection::Stop, false).await?;
        }
        let mut image = None;
        if self.options.final_image {
            image = Some(self.image(cx, machine, undo).await?);
        }
        if machine.protected {
            undo.note(TerminateStep::Lift { instance: id.clone(), protection: Protection::Termination }).await?;
            self.protect(id, Protection::Termination, false).await?;
        }
        let kept = image.map(|image| format!("its final image is {image}"));
        let request = self.ec2.terminate_instances().instance_ids(id).send();
        if let Err(e) = request.await.context(|| format!("terminate the instance `{id}`")) {
            match self.doubt(&e, id).await {
                Doubt::Refused => return Err(e),
                Doubt::Going => {}
                Doubt::Unknown(why) => {
                    // It may yet go: then its image is all that is left of it, and stays. All else is put back.
                    undo.clear();
                    for step in self.changed(machine) {
                        undo.note(step).await?;
                    }
                    return Ok(failed("Unknown", format!("{e}; {why}"), kept));
                }
            }
        }
        // It cannot be brought back from here on.
        undo.clear();
        if let Err(e) = wait::instance_is(cx, &self.ec2, id, InstanceStateName::Terminated, OnCancel::Stop).await {
            return Ok(failed("NotAwaited", format!("its termination was begun and goes on: {e}"), kept));
        }
        Ok(Outcome::Done((), kept))
    }

    /// What was done to an instance before it was to be terminated, but for its image.
    fn changed(&self, machine: &Machine) -> Vec<TerminateStep> {
        let lift = |protection| TerminateStep::Lift { instance: machine.id.clone(), protection };
        let mut steps = Vec::new();
        if machine.stop_protected {
            steps.push(lift(Protection::Stop));
        }
        if self.options.final_image && machine.ran {
            steps.push(TerminateStep::Stop { instance: machine.id.clone() });
        }
        if machine.protected {
            steps.push(lift(Protection::Termination));
        }
        steps
    }

    /// What became of a request to terminate that was answered with an error: the answer may have been lost.
    async fn doubt(&self, error: &Error, id: &str) -> Doubt {
        let refused = !error.is_ambiguous();
        for look in 0..if refused { 1 } else { DOUBTS } {
            if look > 0 {
                aaws::clock::sleep(Duration::from_secs(1)).await;
            }
            let seen = match lookup::one::<Instance>(&self.ec2, id).await {
                Ok(seen) => seen,
                // It was clearly refused, and an error of a look makes no doubt of that.
                Err(_) if refused => return Doubt::Refused,
                Err(e) => return Doubt::Unknown(format!("whether it is terminated cannot be seen: {e}")),
            };
            let state = seen.as_ref().and_then(|i| i.state()).and_then(|s| s.name());
            if matches!(state, None | Some(InstanceStateName::ShuttingDown | InstanceStateName::Terminated)) {
                return Doubt::Going;
            }
        }
        if refused { Doubt::Refused } else { Doubt::Unknown("it is still there, and may be terminated a little later".into()) }
    }

    /// Makes an image of an instance that is stopped for it, and awaits it.
    async fn image(&self, cx: &Context, machine: &Machine, undo: &mut Undo<TerminateStep>) -> Result<String> {
        let (id, ec2) = (&machine.id, &self.ec2);
        if machine.ran {
            undo.note(TerminateStep::Stop { instance: id.clone() }).await?;
            ec2.stop_instances().instance_ids(id).send().await.context(|| format!("stop the instance `{id}`"))?;
        }
        if machine.ran || machine.stopping {
            wait::instance_is(cx, ec2, id, InstanceStateName::Stopped, OnCancel::Stop).await?;
        }
        let name = images::new_name(id);
        let step = |image| TerminateStep::Image { instance: id.clone(), name: name.clone(), image };
        undo.note(step(None)).await?;
        let tags = machine.found.as_deref().map(|i| tags::own(i.tags())).unwrap_or_default();
        let description = format!("{id} as it was before it was terminated, made by aaws");
        let image = images::begin(cx, ec2, id, &name, description, true, tags).await?;
        undo.forget_last();
        undo.note(step(Some(image.clone()))).await?;
        match wait::images(cx, ec2, std::slice::from_ref(&image)).await.remove(&image) {
            Some(Err(why)) => Err(why.error("its final image is not available")),
            _ => Ok(image),
        }
    }

    async fn protect(&self, instance: &str, protection: Protection, on: bool) -> Result<()> {
        let value = AttributeBooleanValue::builder().value(on).build();
        let request = self.ec2.modify_instance_attribute().instance_id(instance);
        let (request, what) = match protection {
            Protection::Termination => (request.disable_api_termination(value), "terminated"),
            Protection::Stop => (request.disable_api_stop(value), "stopped"),
        };
        let attempted =
            || format!("{} the protection of the instance `{instance}` against being {what}", if on { "restore" } else { "lift" });
        request.send().await.context(attempted).map(drop)
    }

    async fn start_again(&self, cx: &Context, id: &str) -> Result<()> {
        let seen = lookup::one::<Instance>(&self.ec2, id).await?;
        let state = seen.as_ref().and_then(|i| i.state()).and_then(|s| s.name());
        if state == Some(&InstanceStateName::Stopping) {
            wait::instance_is(cx, &self.ec2, id, InstanceStateName::Stopped, OnCancel::KeepGoing).await?;
        }
        if !matches!(state, Some(InstanceStateName::Running | InstanceStateName::Pending)) {
            let request = self.ec2.start_instances().instance_ids(id).send();
            request.await.context(|| format!("start the instance `{id}`"))?;
        }
        wait::instance_is(cx, &self.ec2, id, InstanceStateName::Running, OnCancel::KeepGoing).await
    }

    /// Removes an image that was made for nothing, with its snapshots: all that can be, and the first that cannot is the error.
    async fn remove_image(&self, instance: &str, name: &str, image: Option<&str>) -> Result<()> {
        let mut removed = Ok(());
        let found = match self.made(name, image).await {
            Ok(found) => found,
            // What its id alone is enough for is done all the same.
            Err(e) if image.is_some() => {
                removed = Err(e);
                None
            }
            Err(e) => return Err(e),
        };
        let snapshots: BTreeSet<String> = found.iter().flat_map(related::behind).map(str::to_owned).collect();
        // One whose id is known is deregistered even if EC2 does not show it yet.
        let ids: BTreeSet<String> = found.iter().map(|i| i.id().to_owned()).chain(image.map(str::to_owned)).collect();
        for id in ids {
            let mut snapshots = snapshots.clone();
            match self.begun_for(instance, &id).await {
                Ok(more) => snapshots.extend(more),
                Err(e) => removed = removed.and(Err(e)),
            }
            must(&id, related::deregister(&self.ec2, &id).await)?;
            for snapshot in snapshots {
                let gone = must(&snapshot, related::delete_snapshot(&self.ec2, &snapshot).await);
                removed = removed.and(gone);
            }
        }
        removed
    }

    /// The image of an id or a name, looked for as often as EC2 may need to show what was made a moment ago. By name there is one at most.
    async fn made(&self, name: &str, image: Option<&str>) -> Result<Option<Image>> {
        let filter = image.map_or_else(|| lookup::filter("name", [name]), |id| lookup::filter("image-id", [id]));
        for look in 0..DOUBTS {
            if look > 0 {
                aaws::clock::sleep(Duration::from_secs(1)).await;
            }
            if let Some(made) = Image::list(&self.ec2, vec![filter.clone()]).try_next().await? {
                return Ok(Some(made));
            }
        }
        Ok(None)
    }

    /// The snapshots that EC2 began for an image. Until the image is available it need not name them itself, but each is described by it (seen in the
    /// descriptions that CreateImage writes).
    async fn begun_for(&self, instance: &str, image: &str) -> Result<Vec<String>> {
        let described = lookup::filter("description", [format!("Created by CreateImage({instance}) for {image}*")]);
        Snapshot::list(&self.ec2, vec![described]).map_ok(|s| s.id().to_owned()).try_collect().await
    }

    async fn delete(&self, cx: &Context, dependent: &Dependent) -> Result<Outcome> {
        match dependent.kind {
            DependentKind::Image => Ok(related::deregister(&self.ec2, &dependent.id).await),
            DependentKind::Snapshot => Ok(related::delete_snapshot(&self.ec2, &dependent.id).await),
            DependentKind::Volume => self.delete_volume(cx, dependent).await,
        }
    }

    async fn delete_volume(&self, cx: &Context, volume: &Dependent) -> Result<Outcome> {
        let (ec2, id) = (&self.ec2, volume.id.as_str());
        let looks = AtomicU32::new(0);
        let looks = &looks;
        // It is let go, or deleted, a while after its instance is terminated.
        let free = poll_until(cx, OnCancel::Stop, move || async move {
            let look = looks.fetch_add(1, Ordering::Relaxed);
            Ok(match lookup::one::<Volume>(ec2, id).await? {
                None => Some(Free::Gone),
                Some(v) => match v.state() {
                    Some(VolumeState::Deleting | VolumeState::Deleted) => Some(Free::Gone),
                    Some(VolumeState::Available | VolumeState::Error) if !volume.goes_with || look >= GOING => Some(Free::Now),
                    // Somebody took it as soon as it was free.
                    _ => v.attachments().iter().filter_map(|a| a.instance_id()).find(|i| !volume.owners.contains(*i)).map(Free::at),
                },
            })
        });
        match free.await? {
            None => return Ok(failed("NotAwaited", "it is still in use: the run was stopped".into(), None)),
            Some(Free::Gone) if volume.goes_with => return Ok(Outcome::Unchanged("it went with its instance".into())),
            Some(Free::Gone) => return Ok(Outcome::Unchanged("it does not exist any more".into())),
            Some(Free::At(instance)) => return Ok(Outcome::skipped(format!("kept: it is attached to {instance} now"))),
            Some(Free::Now) => {}
        }
        Ok(match volumes::delete(ec2, id).await? {
            true => Outcome::done(()),
            false => Outcome::Unchanged("it does not exist any more".into()),
        })
    }
}

/// Whether a volume of an instance that is terminated can be deleted.
enum Free {
    /// It is not there any more.
    Gone,
    Now,
    /// It is attached to another instance.
    At(String),
}

impl Free {
    fn at(instance: &str) -> Self {
        Free::At(instance.to_owned())
    }
}

/// What is known of a request that was answered with an error.
enum Doubt {
    Refused,
    Going,
    Unknown(String),
}

fn failed(code: &str, message: String, kept: Option<String>) -> Outcome {
    Outcome::Failed(Failure::permanent(code, kept.into_iter().fold(message, |message, kept| format!("{message}; {kept}"))))
}

fn must(id: &str, outcome: Outcome) -> Result<()> {
    match outcome {
        Outcome::Failed(failure) => Err(Error::Failed(format!("{id} is left over: {}: {}", failure.code, failure.message))),
        _ => Ok(()),
    }
}
