//! What is looked at before anything is done: the instances, their protections, and what belongs to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aaws::{Code, Context, ErrorContext, Outcome, Result};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{AttributeBooleanValue, Image, Instance, InstanceAttributeName, InstanceStateName, Snapshot, Volume};
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};

use super::Related;
use super::plan::{Dependent, DependentKind, Machine, Options, refusal};
use crate::actions::ec2::lookup::{self, Lookup, LookupResult, Resource};
use crate::actions::ec2::related::Overrides;
use crate::actions::ec2::seen::States;
use crate::actions::ec2::{delete_images, references, related, tags};

/// Looks at the instances: their states, and whether they are protected where that has to be known. A plain run learns it from EC2's refusal, which takes
/// no request for each instance; a dry run has to say it, what is lifted has to be restored, and what is protected is not stopped for an image.
pub async fn machines(cx: &Context, ec2: &Client, lookup: Vec<Lookup<Instance>>, seen: &States, options: Options) -> Result<Vec<Machine>> {
    let asks = cx.dry_run() || options.lift || options.final_image;
    let looked = lookup.into_iter().map(|lookup| machine(ec2, lookup, options, asks));
    let mut machines: Vec<Machine> = stream::iter(looked.collect::<Vec<_>>()).buffered(cx.concurrency()).try_collect().await?;
    for machine in &mut machines {
        let protected = machine.found.as_deref().and_then(|instance| tags::protection(cx, instance.tags()));
        let changed = machine.found.as_deref().and_then(|instance| seen.changed(instance));
        machine.precheck = protected.or(changed).or(machine.precheck.take());
    }
    Ok(machines)
}

async fn machine(ec2: &Client, lookup: Lookup<Instance>, options: Options, asks: bool) -> Result<Machine> {
    let Lookup { id, result } = lookup;
    let unknown = result.unknown(options.ignore_not_found);
    let without =
        |id, precheck| Ok(Machine { id, found: None, ran: false, stopping: false, protected: false, stop_protected: false, precheck });
    let instance = match result {
        LookupResult::Found(instance) => instance,
        LookupResult::NotFound | LookupResult::Duplicate => return without(id, unknown),
    };
    let state = instance.state().and_then(|s| s.name()).cloned();
    if matches!(state, Some(InstanceStateName::Terminated | InstanceStateName::ShuttingDown)) {
        return without(id, Some(Outcome::Unchanged("it is terminated already".into())));
    }
    let ran = matches!(state, Some(InstanceStateName::Running | InstanceStateName::Pending));
    let stopping = state == Some(InstanceStateName::Stopping);
    let protections = if asks { protections(ec2, &id).await } else { Ok((false, false)) };
    let (protected, stop_protected, precheck) = match protections {
        Ok((termination, stop)) => (termination, stop, refusal(&instance, options, ran, termination, stop)),
        Err(e) if e.is_fatal() => return Err(e),
        Err(_) if options.overrides.unchecked => (false, false, refusal(&instance, options, ran, false, false)),
        // Nothing is terminated of which it is not known whether it is protected; the others are.
        Err(e) => (false, false, Some(related::unchecked(&e))),
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

/// What belongs to the instances, each thing once.
pub async fn dependents(
    cx: &Context,
    ec2: &Client,
    instances: &[&Instance],
    include: &[Related],
    overrides: Overrides,
) -> Result<Vec<Dependent>> {
    let wants = |related| include.contains(&related);
    let ids: Vec<String> = instances.iter().map(|i| i.id().to_owned()).collect();
    let mut found = Vec::new();
    let needed = wants(Related::Volume) || wants(Related::Snapshot);
    let volumes = if needed { attached(cx, ec2, instances, &ids).await? } else { BTreeMap::new() };
    if wants(Related::Volume) {
        found.extend(volumes.iter().map(|(id, volume)| volume.dependent(id)));
    }
    let mut behind = BTreeMap::new();
    if wants(Related::Image) {
        let images: Vec<Image> = lookup::with_values(ec2, "source-instance-id", &ids, &[]).try_collect().await?;
        let images: Vec<&Image> = images.iter().collect();
        let uses = references::uses(cx, ec2, &images).await?;
        for image in &images {
            let owners = image.source_instance_id().map(str::to_owned).into_iter().collect();
            let uses = uses.get(image.id()).cloned().unwrap_or_default();
            let precheck = tags::protection(cx, image.tags()).or_else(|| references::image_precheck(image, &uses, overrides));
            let id = image.id().to_owned();
            found.push(Dependent { kind: DependentKind::Image, id, owners, images: BTreeSet::new(), goes_with: false, precheck });
        }
        let owner: HashMap<&str, &str> = images.iter().filter_map(|i| Some((i.id(), i.source_instance_id()?))).collect();
        for snapshot in delete_images::snapshots_behind(cx, ec2, &images, overrides).await? {
            let owners = snapshot.images.iter().filter_map(|i| owner.get(i.as_str())).map(|i| (*i).to_owned()).collect();
            let delete_images::Behind { id, images, precheck } = snapshot;
            behind.insert(id.clone(), Dependent { kind: DependentKind::Snapshot, id, owners, images, goes_with: false, precheck });
        }
    }
    if wants(Related::Snapshot) {
        for snapshot in snapshots_of(cx, ec2, &volumes, overrides).await? {
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
    /// The same, of one that its tags protect.
    protected: Option<Outcome>,
}

impl Attached {
    fn dependent(&self, id: &str) -> Dependent {
        let precheck = self.protected.clone().or_else(|| self.kept.clone().map(Outcome::skipped));
        let (id, owners) = (id.to_owned(), self.hosts.clone());
        Dependent { kind: DependentKind::Volume, id, owners, images: BTreeSet::new(), goes_with: self.goes_with, precheck }
    }
}

/// The volumes attached to the instances, by their ids.
async fn attached(cx: &Context, ec2: &Client, instances: &[&Instance], ids: &[String]) -> Result<BTreeMap<String, Attached>> {
    let volumes: Vec<Volume> = lookup::with_values(ec2, "attachment.instance-id", ids, &[]).try_collect().await?;
    let attached = |volume: Volume| {
        let id = volume.id().to_owned();
        let hosts: BTreeSet<String> = volume.attachments().iter().filter_map(|a| a.instance_id()).map(str::to_owned).collect();
        let goes_with = instances.iter().any(|i| goes_with(i, &id));
        let kept = volume_kept(&volume, &hosts, ids, goes_with);
        let protected = tags::protection(cx, volume.tags());
        (id, Attached { hosts, goes_with, kept, protected })
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
async fn snapshots_of(cx: &Context, ec2: &Client, volumes: &BTreeMap<String, Attached>, overrides: Overrides) -> Result<Vec<Dependent>> {
    let of: Vec<String> = volumes.keys().cloned().collect();
    let taken: Vec<Snapshot> = lookup::with_values(ec2, "volume-id", &of, &[]).try_collect().await?;
    let ids: Vec<String> = taken.iter().map(|s| s.id().to_owned()).collect();
    let (users, locks) = futures::try_join!(related::users(ec2, &ids), related::locks(ec2, &ids))?;
    let snapshot = |snapshot: Snapshot| {
        let id = snapshot.id().to_owned();
        let volume = snapshot.volume_id().and_then(|v| volumes.get(v));
        let protected = || {
            let with_volume = || volume.filter(|v| v.protected.is_some()).map(|_| "kept, as its volume is protected");
            tags::protection(cx, snapshot.tags()).or_else(|| with_volume().map(|why| Outcome::skipped_as(Code::Protected, why)))
        };
        // Who still needs a volume needs its snapshots.
        let needed = || volume.and_then(|v| v.kept.as_deref()).map(|why| format!("kept, as its volume is: {why}"));
        let kept = || related::kept_by_kubernetes(snapshot.tags()).or_else(needed).map(Outcome::skipped);
        let kept = || related::snapshot_precheck(&snapshot, &locks, overrides).or_else(kept).or_else(|| users.unknown(overrides));
        let precheck = protected().or_else(kept);
        let owners = volume.map(|v| v.hosts.clone()).unwrap_or_default();
        let images = users.of(&id).cloned().collect();
        Dependent { kind: DependentKind::Snapshot, id, owners, images, goes_with: false, precheck }
    };
    let mut snapshots: Vec<Dependent> = taken.into_iter().map(snapshot).collect();
    let going: Vec<&str> = snapshots.iter().filter(|s| s.precheck.is_none()).map(|s| s.id.as_str()).collect();
    let mut shared = related::shared_prechecks(cx, ec2, &going, overrides).await?;
    snapshots.iter_mut().for_each(|s| s.precheck = s.precheck.take().or_else(|| shared.remove(&s.id)));
    Ok(snapshots)
}
