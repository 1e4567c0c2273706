//! The operations that change something.

use std::time::Instant;

use super::super::super::http::Response;
use super::super::super::wire::{Form, Node, refusal};
use super::Answer;
use super::reads::{change, element, instance_state, missing, unknown};
use super::state::{Change, State};

/// The most resources that one CreateTags or DeleteTags takes (EC2 API reference, CreateTags and DeleteTags).
const MOST_TAGGED: usize = 1000;

/// The most instances that one TerminateInstances takes (EC2 API reference, TerminateInstances: "up to 1000").
const MOST_INSTANCES: usize = 1000;

pub fn answer(operation: &str, form: &Form, state: &mut State) -> Answer {
    let value = |name: &str| form.get(name).unwrap_or_default().to_owned();
    match operation {
        "CreateSnapshot" => {
            let volume = value("VolumeId");
            if !state.volumes.contains_key(&volume) {
                return Err(missing("InvalidVolume.NotFound", &volume));
            }
            let id = state.take_snapshot(&volume, &value("Description"));
            for tag in form.clone().take_tags("snapshot") {
                let (key, value) = (tag.get("Key").unwrap_or_default(), tag.get("Value").unwrap_or_default());
                state.tags.entry(id.clone()).or_default().insert(key.to_owned(), value.to_owned());
            }
            let description = value("Description");
            let texts = [("snapshotId", &id), ("volumeId", &volume), ("description", &description)];
            let mut answer = Node::answer(operation);
            texts.iter().for_each(|(name, text)| answer.set(name, text));
            answer.set("status", "pending");
            Ok(answer)
        }
        "DeleteSnapshot" => match state.snapshots.remove(&value("SnapshotId")) {
            Some(_) => Ok(done(operation)),
            None => Err(missing("InvalidSnapshot.NotFound", &value("SnapshotId"))),
        },
        "DeleteVolume" => match state.volumes.remove(&value("VolumeId")) {
            Some(_) => Ok(done(operation)),
            None => Err(missing("InvalidVolume.NotFound", &value("VolumeId"))),
        },
        "ModifySnapshotAttribute" => modify_snapshot_attribute(operation, form, state),
        "ModifyVolume" => modify_volume(operation, form, state),
        "CreateTags" | "DeleteTags" => tag(operation, form, state),
        "TerminateInstances" => terminate_instances(operation, form, state),
        _ => Err(unknown(operation)),
    }
}

/// What most operations answer.
fn done(operation: &str) -> Node {
    let mut answer = Node::answer(operation);
    answer.set("return", "true");
    answer
}

/// Accounts are named in one of two ways.
fn modify_snapshot_attribute(operation: &str, form: &Form, state: &mut State) -> Answer {
    let id = form.get("SnapshotId").unwrap_or_default();
    let Some(snapshot) = state.snapshots.get_mut(id) else { return Err(missing("InvalidSnapshot.NotFound", id)) };
    let named = |list: &str| -> Vec<String> {
        form.parts(&format!("CreateVolumePermission.{list}")).iter().filter_map(|p| p.get("UserId").map(str::to_owned)).collect()
    };
    let (mut added, mut removed) = (named("Add"), named("Remove"));
    match form.get("OperationType") {
        Some("add") => added.extend(form.list("UserId")),
        Some("remove") => removed.extend(form.list("UserId")),
        _ => {}
    }
    snapshot.shared_with.extend(added);
    snapshot.shared_with.retain(|account| !removed.contains(account));
    Ok(done(operation))
}

fn modify_volume(operation: &str, form: &Form, state: &mut State) -> Answer {
    let id = form.get("VolumeId").unwrap_or_default();
    let Some(volume) = state.volumes.get_mut(id) else { return Err(missing("InvalidVolume.NotFound", id)) };
    if volume.change.is_some() {
        let message = format!("You've reached the maximum modification rate per volume limit. {id} is being modified already.");
        return Err(refusal("VolumeModificationRateExceeded", message));
    }
    let from = (volume.size, volume.kind.clone());
    if let Some(size) = form.get("Size").and_then(|size| size.parse().ok()) {
        volume.size = size;
    }
    if let Some(kind) = form.get("VolumeType") {
        kind.clone_into(&mut volume.kind);
    }
    volume.change = Some(Change { begun: Instant::now(), start_time: jiff::Timestamp::now().to_string(), from });
    let mut answer = Node::answer(operation);
    answer.push(change("volumeModification", id, volume));
    Ok(answer)
}

fn tag(operation: &str, form: &Form, state: &mut State) -> Answer {
    let ids = form.list("ResourceId");
    if ids.len() > MOST_TAGGED {
        return Err(refusal("InvalidParameterValue", format!("At most {MOST_TAGGED} resources can be specified")));
    }
    if let Some(id) = ids.iter().find(|id| !state.has(id)) {
        return Err(missing("InvalidID", id));
    }
    for id in ids {
        let tags = state.tags.entry(id).or_default();
        for tag in form.parts("Tag") {
            let key = tag.get("Key").unwrap_or_default();
            if operation == "CreateTags" {
                tags.insert(key.to_owned(), tag.get("Value").unwrap_or_default().to_owned());
            } else if tag.get("Value").is_none_or(|value| tags.get(key).is_some_and(|has| has == value)) {
                tags.remove(key);
            }
        }
    }
    Ok(done(operation))
}

fn terminate_instances(operation: &str, form: &Form, state: &mut State) -> Answer {
    let ids = form.list("InstanceId");
    if ids.len() > MOST_INSTANCES {
        return Err(refusal("InvalidParameterValue", format!("At most {MOST_INSTANCES} instances can be specified")));
    }
    if let Some(id) = ids.iter().find(|id| !state.instances.contains_key(*id)) {
        return Err(missing("InvalidInstanceID.NotFound", id));
    }
    if form.is("DryRun", "true") {
        return Err(Response { status: 412, ..refusal("DryRunOperation", "Request would have succeeded, but DryRun flag is set.") });
    }
    let mut instances = Node::new("instancesSet");
    for id in &ids {
        let Some(instance) = state.instances.get_mut(id) else { continue };
        let before = instance.state();
        instance.terminated.get_or_insert_with(Instant::now);
        let mut item = element("item", &[("instanceId", id)]);
        item.push(instance_state("currentState", instance.state()));
        item.push(instance_state("previousState", before));
        instances.push(item);
    }
    let mut answer = Node::answer(operation);
    answer.push(instances);
    Ok(answer)
}
