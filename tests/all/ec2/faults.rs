//! Every call of every action of several steps fails once, each time in a new world; then the world is looked at.
//!
//! Whatever fails: no device is left empty, an instance runs if it ran, nothing is gone whose safety step failed, what was made for nothing is gone
//! again or named, and what is printed is so. A call fails in two ways: it is refused before it is carried out, or it is carried out and its answer is
//! an error. Neither passes, so that nothing is tried again; answers that are lost on the way are in `encrypting.rs` and
//! `volumes.rs`.
//!
//! Then every read is denied from one call on, and then all reads are: what cannot be looked at any more is put back as far as it can be tried. No device
//! is left empty, and none has another volume deleted with its instance than before.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use crate::support::aaws::Output;
use crate::support::ec2::{World, is_write, writes};
use crate::support::http::{self, Server};
use crate::support::{directory, proxy};

/// How many worlds there are at a time.
const AT_A_TIME: usize = 8;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is refused, and nothing happens.
    Refused,
    /// It is carried out, and its answer is an error.
    Lost,
    /// It is a look, and denied from then on.
    Denied,
    /// It is a look, and all looks are denied from then on.
    Blind,
}

/// What is run, and what there was before.
struct Before {
    line: String,
    /// What the line names: each of them has to have an outcome.
    items: Vec<String>,
    /// The instance that all of it is about.
    instance: Option<String>,
    state: Option<String>,
    devices: Vec<(String, String, bool)>,
    volumes: Vec<String>,
    snapshots: Vec<String>,
    images: Vec<String>,
}

impl Before {
    fn of(world: &World, line: String, items: &[&str], instance: Option<&str>) -> Self {
        Before {
            line,
            items: items.iter().map(|&i| i.to_owned()).collect(),
            instance: instance.map(str::to_owned),
            state: instance.and_then(|i| world.instance_state(i)),
            devices: instance.map(|i| world.attached(i)).unwrap_or_default(),
            volumes: world.volumes(),
            snapshots: world.snapshots(),
            images: world.images(),
        }
    }
}

/// What a run left.
struct After<'a> {
    world: &'a World,
    before: &'a Before,
    output: &'a Output,
    /// The operations that change something, in their order, the one that failed among them.
    writes: Vec<String>,
    report: String,
    /// The operation that failed, and how.
    failed: Option<(String, Fault)>,
}

impl After<'_> {
    #[track_caller]
    fn must(&self, holds: bool, what: &str) {
        assert!(holds, "{what}, with {:?} failing: {}\n--- report\n{}", self.failed, self.output, self.report);
    }

    fn succeeded(&self) -> bool {
        self.output.code == Some(0)
    }

    /// Whether the person is told of something: on standard error, or in the report.
    fn is_told(&self, id: &str) -> bool {
        self.output.stderr.contains(id) || self.report.contains(id)
    }

    /// What holds whatever was run: the exit code is one of three, what is printed is JSON, every item has one outcome, and a run that fails as a whole
    /// has changed nothing.
    #[track_caller]
    fn is_orderly(&self) {
        self.must(matches!(self.output.code, Some(0 | 1 | 3)), "the exit code is none of those that this can have");
        let json = serde_json::from_str::<Value>(&self.output.stdout).is_ok();
        self.must(json || self.output.stdout.is_empty(), "what is printed is no JSON");
        if self.output.code == Some(1) {
            self.must(self.writes.is_empty(), "it failed as a whole, and yet it has changed something");
            return;
        }
        let lines = self.report.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let told: Vec<String> = lines.filter_map(|line| line["item"].as_str().map(str::to_owned)).collect();
        for item in &self.before.items {
            let times = told.iter().filter(|t| *t == item).count();
            self.must(times == 1, &format!("{item} has {times} outcomes"));
        }
    }

    /// What was made and is not in use is told of. Not of what nobody can know: EC2 tells the ids of some things in the answer alone, which was lost.
    #[track_caller]
    fn leftovers_are_told(&self, nameless: &[&str]) {
        let new = |now: Vec<String>, before: &[String]| now.into_iter().filter(|id| !before.contains(id)).collect::<BTreeSet<_>>();
        let mut made = new(self.world.volumes(), &self.before.volumes);
        made.extend(new(self.world.snapshots(), &self.before.snapshots));
        made.extend(new(self.world.images(), &self.before.images));
        // A copy in the place of an original is no leftover, and a snapshot behind an image that is told of goes by its name.
        let attached = self.before.instance.as_deref().map(|i| self.world.attached(i)).unwrap_or_default();
        made.retain(|id| !attached.iter().any(|(_, volume, _)| volume == id) && !self.is_behind_an_image_told_of(id));
        made.retain(|id| !self.is_told(id) && !self.output.stdout.contains(id.as_str()));
        let unknowable = matches!(&self.failed, Some((operation, Fault::Lost)) if nameless.contains(&operation.as_str()));
        self.must(made.len() <= usize::from(unknowable), &format!("{made:?} is left over and nobody is told"));
    }

    fn is_behind_an_image_told_of(&self, snapshot: &str) -> bool {
        let images = self.world.ec2("DescribeImages", &[("Owner.1", "self")]);
        images.split("<imageId>").skip(1).any(|image| {
            let id = image.split('<').next().unwrap_or_default();
            image.contains(snapshot) && (self.is_told(id) || self.before.images.iter().any(|i| i == id))
        })
    }

    /// The instance has all its devices, and is as it was: with the copies when the run succeeded, and otherwise with the originals.
    #[track_caller]
    fn instance_is_whole(&self) {
        let Some(instance) = &self.before.instance else { return };
        self.must(self.world.instance_state(instance) == self.before.state, "the instance is in another state");
        let now = self.world.attached(instance);
        let shape = |devices: &[(String, String, bool)]| devices.iter().map(|(d, _, goes)| (d.clone(), *goes)).collect::<Vec<_>>();
        self.must(shape(&now) == shape(&self.before.devices), &format!("the devices are {now:?}, and were {:?}", self.before.devices));
        if !self.succeeded() {
            self.must(now == self.before.devices, &format!("the originals are not back: {now:?}, and were {:?}", self.before.devices));
        }
    }

    /// Whatever could not be looked at any more: the instance is as it was, each device has a volume, which goes with it as before, and no original is gone.
    #[track_caller]
    fn no_device_is_empty(&self) {
        let now = self.world.volumes();
        self.before.volumes.iter().for_each(|v| self.must(now.contains(v), &format!("{v} is gone")));
        let Some(instance) = &self.before.instance else { return };
        let has = self.world.attached(instance);
        let shape = |devices: &[(String, String, bool)]| devices.iter().map(|(d, _, goes)| (d.clone(), *goes)).collect::<Vec<_>>();
        self.must(shape(&has) == shape(&self.before.devices), &format!("the devices are {has:?}, and were {:?}", self.before.devices));
        self.must(self.world.instance_state(instance) == self.before.state, "the instance is in another state");
    }

    /// Whether there is a complete snapshot of a volume that there was not before.
    fn is_saved(&self, volume: &str) -> bool {
        let found = self.world.ec2("DescribeSnapshots", &[("Filter.1.Name", "volume-id"), ("Filter.1.Value.1", volume)]);
        found.split("<snapshotId>").skip(1).any(|snapshot| {
            let id = snapshot.split('<').next().unwrap_or_default();
            snapshot.contains("<status>completed</status>") && !self.before.snapshots.iter().any(|s| s == id)
        })
    }
}

/// Makes what is there before a run, and the line to run.
type Make = fn(&World) -> Before;

/// Runs an action once for each of its calls, with that call failing, and looks at what is left. It has to make at least this many calls: a walk of
/// none would show nothing.
#[track_caller]
fn walk(name: &str, least: usize, make: Make, check: fn(&After<'_>)) {
    for fault in [Fault::Refused, Fault::Lost] {
        let calls = healthy(make, fault, check);
        assert!(calls.len() >= least, "{name} makes {} calls only", calls.len());
        let failing = run_all(&(1..=calls.len()).collect::<Vec<_>>(), make, fault, check);
        println!("walked {} calls of {name} ({fault:?}), {failing} failing runs", calls.len());
        // Some answers can be done without, and some that were lost are found out.
        let share = if fault == Fault::Refused { 2 } else { 3 };
        assert!(failing * share >= calls.len(), "{name} ({fault:?}): of {} failures only {failing} mattered", calls.len());
    }
}

/// The same once for each look, which is denied from there on.
#[track_caller]
fn walk_unseen(name: &str, make: Make, check: fn(&After<'_>)) {
    for fault in [Fault::Denied, Fault::Blind] {
        let calls = healthy(make, fault, check);
        let looks: Vec<usize> = (1..=calls.len()).filter(|&nth| !is_write(&calls[nth - 1])).collect();
        assert!(looks.len() >= 2, "{name} looks {} times only", looks.len());
        let failing = run_all(&looks, make, fault, check);
        println!("walked {} looks of {name}, denied from there on ({fault:?}): {failing} failing runs", looks.len());
        assert!(failing * 3 >= looks.len(), "{name} ({fault:?}): of {} denials only {failing} mattered", looks.len());
    }
}

/// A run without a fault, and the operations that it asked for.
fn healthy(make: Make, fault: Fault, check: fn(&After<'_>)) -> Vec<String> {
    run(make, None, fault, &|after| {
        after.must(after.succeeded(), "it does not work at all");
        after.is_orderly();
        check(after);
    })
}

/// A run for each of these calls, and how many of them did not succeed.
fn run_all(calls: &[usize], make: Make, fault: Fault, check: fn(&After<'_>)) -> usize {
    let (next, failing) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(&nth) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(make, Some(nth), fault, &|after| {
                        failing.fetch_add(usize::from(!after.succeeded()), Ordering::Relaxed);
                        after.is_orderly();
                        check(after);
                    });
                }
            });
        }
    });
    failing.into_inner()
}

/// One run, with one call failing or none, and the operations that it asked for.
fn run(make: Make, nth: Option<usize>, fault: Fault, check: &dyn Fn(&After<'_>)) -> Vec<String> {
    let world = World::new();
    let before = make(&world);
    let inner = world.proxy().start().url;
    // How many calls were made, and what is denied from now on.
    let state = Mutex::new((0, None::<String>));
    let server = Server::start(move |operation, _, request| {
        let fails = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 += 1;
            let is_it = Some(state.0) == nth;
            match fault {
                Fault::Refused | Fault::Lost => is_it,
                Fault::Denied => {
                    if is_it {
                        state.1 = Some(operation.to_owned());
                    }
                    state.1.as_deref() == Some(operation) && !is_write(operation)
                }
                Fault::Blind => nth.is_some_and(|nth| state.0 >= nth) && !is_write(operation),
            }
        };
        if fails && fault != Fault::Lost {
            return proxy::error(&request, 403, "UnauthorizedOperation");
        }
        let reply = http::send(&inner, &request).expect("the world answers");
        if fails { proxy::error(&request, 403, "UnauthorizedOperation") } else { reply }
    });
    let folder = directory();
    // One after another, so that the same call is the same each time.
    let line = format!("{} --concurrency 1 --report report.jsonl", before.line);
    let output = world.aaws_via(&server, line).within(folder.path()).run();
    let report = std::fs::read_to_string(folder.path().join("report.jsonl")).unwrap_or_default();
    let failed = nth.and_then(|n| server.operations().get(n - 1).cloned()).map(|operation| (operation, fault));
    check(&After { world: &world, before: &before, output: &output, writes: writes(&server), report, failed });
    server.operations()
}

// --- Encryption ---

/// A running instance with a data volume that goes with it.
fn machine(world: &World) -> (String, String) {
    let machine = world.instance(&[]);
    let data = world.volume(&[("Iops", "4000"), ("Throughput", "300")]);
    world.attach(&data, &machine.id, "/dev/sdf");
    let mapping = [("BlockDeviceMapping.1.DeviceName", "/dev/sdf"), ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true")];
    world.ec2("ModifyInstanceAttribute", &[("InstanceId", machine.id.as_str()), mapping[0], mapping[1]]);
    (machine.id, data)
}

/// The instance is whole, the originals are there, and copies are in their places only when all went well.
fn swapped(after: &After<'_>) {
    after.instance_is_whole();
    let now = after.world.volumes();
    after.before.volumes.iter().for_each(|v| after.must(now.contains(v), &format!("{v} is gone")));
    if after.succeeded() {
        let copies = now.iter().filter(|v| !after.before.volumes.contains(v));
        let encrypted = copies.filter(|v| after.world.describe_volume(v).contains("<encrypted>true</encrypted>")).count();
        after.must(encrypted > 0, "it says that all went well, and there is no encrypted copy");
    } else {
        after.must(now == after.before.volumes, "a copy is left over");
    }
    after.leftovers_are_told(&[]);
}

/// No device is empty, and what is left over is told of.
fn standing(after: &After<'_>) {
    after.no_device_is_empty();
    after.leftovers_are_told(&[]);
}

#[test]
fn encrypt_volume_on_a_running_instance() {
    fn make(world: &World) -> Before {
        let (instance, data) = machine(world);
        let line = format!("ec2 encrypt_volume --volume_id {data} --kms_key_id {}", world.key());
        Before::of(world, line, &[&data], Some(&instance))
    }
    walk("encrypt_volume of a volume in use", 17, make, swapped);
    walk_unseen("encrypt_volume of a volume in use", make, standing);
}

#[test]
fn encrypt_volume_on_a_stopped_instance() {
    fn make(world: &World) -> Before {
        let (instance, data) = machine(world);
        world.stop(&instance);
        let line = format!("ec2 encrypt_volume --volume_id {data} --kms_key_id {}", world.key());
        Before::of(world, line, &[&data], Some(&instance))
    }
    walk("encrypt_volume of a volume of a stopped instance", 12, make, swapped);
    walk_unseen("encrypt_volume of a volume of a stopped instance", make, standing);
}

#[test]
fn encrypt_volume_that_is_attached_to_nothing() {
    fn make(world: &World) -> Before {
        let volume = world.volume(&[]);
        let line = format!("ec2 encrypt_volume --volume_id {volume} --kms_key_id {}", world.key());
        Before::of(world, line, &[&volume], None)
    }
    walk("encrypt_volume of a detached volume", 7, make, swapped);
    walk_unseen("encrypt_volume of a detached volume", make, standing);
}

#[test]
fn encrypt_all_volumes_of_an_instance() {
    fn make(world: &World) -> Before {
        let (instance, _) = machine(world);
        let line = format!("ec2 encrypt_instance_volumes --instance_id {instance} --kms_key_id {}", world.key());
        Before::of(world, line, &[&instance], Some(&instance))
    }
    walk("encrypt_instance_volumes", 27, make, swapped);
    walk_unseen("encrypt_instance_volumes", make, standing);
}

// --- Deleting, changing, copying ---

/// The answer to these tells the id of what was made, and nothing else does.
const NAMELESS: &[&str] = &["CreateSnapshot", "CopySnapshot"];

#[test]
fn delete_volumes_after_snapshots() {
    fn make(world: &World) -> Before {
        let (a, b) = (world.volume(&[]), world.volume(&[]));
        Before::of(world, format!("ec2 delete_volumes --snapshot --volume_ids {a} {b}"), &[&a, &b], None)
    }
    fn check(after: &After<'_>) {
        let now = after.world.volumes();
        for volume in &after.before.volumes {
            let there = now.contains(volume);
            after.must(there || after.is_saved(volume), &format!("{volume} is gone without a snapshot"));
            // A run that fails as a whole prints nothing. What could not be seen to be gone is printed all the same.
            let printed = after.output.stdout.contains(volume.as_str()) || after.output.code == Some(1);
            after.must(printed || !there, &format!("{volume} is still there, and not printed"));
        }
        after.must(!after.succeeded() || now.is_empty(), "it says that all went well, and a volume is still there");
        after.leftovers_are_told(NAMELESS);
    }
    walk("delete_volumes --snapshot", 6, make, check);
    walk_unseen("delete_volumes --snapshot", make, check);
}

#[test]
fn delete_instances_after_images_with_all_that_belongs_to_them() {
    fn make(world: &World) -> Before {
        let machine = world.instance(&[]);
        let data = world.volume(&[]);
        world.attach(&data, &machine.id, "/dev/sdf");
        world.snapshot(&data);
        world.image(&machine.id);
        let line = format!("ec2 delete_instances --instance_ids {} --final_image --include volume image snapshot", machine.id);
        Before::of(world, line, &[&machine.id], Some(&machine.id))
    }
    fn check(after: &After<'_>) {
        let (world, before) = (after.world, after.before);
        let instance = before.instance.as_deref().unwrap_or_default();
        let (volumes, snapshots, images) = (world.volumes(), world.snapshots(), world.images());
        if world.instance_state(instance).as_deref() == Some("terminated") {
            let of = world.ec2("DescribeImages", &[("Filter.1.Name", "source-instance-id"), ("Filter.1.Value.1", instance)]);
            let made = images.iter().filter(|i| !before.images.contains(i)).any(|i| of.contains(i.as_str()));
            after.must(made, "the instance is gone without an image");
        } else {
            after.must(!after.succeeded(), "it says that all went well, and the instance is still there");
            after.instance_is_whole();
            for (had, has) in [(&before.volumes, &volumes), (&before.snapshots, &snapshots), (&before.images, &images)] {
                had.iter().for_each(|id| after.must(has.contains(id), &format!("{id} is gone, and its instance is not")));
            }
        }
        // What is still there is printed, unless the run failed as a whole.
        for (had, has) in [(&before.volumes, &volumes), (&before.snapshots, &snapshots), (&before.images, &images)] {
            let left = had.iter().filter(|id| has.contains(id) && !after.output.stdout.contains(id.as_str()));
            let left: Vec<_> = left.collect();
            after.must(left.is_empty() || after.output.code == Some(1), &format!("{left:?} is still there, and not printed"));
        }
        after.leftovers_are_told(&[]);
    }
    walk("delete_instances --final_image --include volume image snapshot", 20, make, check);
    walk_unseen("delete_instances --final_image --include volume image snapshot", make, |after| {
        let instance = after.before.instance.as_deref().unwrap_or_default();
        if after.world.instance_state(instance).as_deref() != Some("terminated") {
            after.no_device_is_empty();
        }
    });
}

#[test]
fn modify_volumes_after_snapshots() {
    fn make(world: &World) -> Before {
        let gp2 = [("VolumeType", "gp2"), ("Size", "500")];
        let (a, b) = (world.volume(&gp2), world.volume(&gp2));
        Before::of(world, format!("ec2 modify_volumes --snapshot --type gp3 --volume_ids {a} {b}"), &[&a, &b], None)
    }
    fn check(after: &After<'_>) {
        for volume in &after.before.volumes {
            let said = after.world.describe_volume(volume);
            let changed = said.contains("<volumeType>gp3</volumeType>");
            after.must(!changed || said.contains("<throughput>250</throughput>"), &format!("{volume} has lost performance"));
            after.must(!changed || after.is_saved(volume), &format!("{volume} was changed without a snapshot"));
            // A change whose answer was lost is found out.
            let printed = after.output.stdout.contains(volume.as_str());
            after.must(printed == changed, &format!("{volume}: printed is {printed}, and changed is {changed}"));
            after.must(changed || !after.succeeded(), &format!("it says that all went well, and {volume} is as it was"));
        }
        after.leftovers_are_told(NAMELESS);
    }
    walk("modify_volumes --snapshot --type gp3", 7, make, check);
    walk_unseen("modify_volumes --snapshot --type gp3", make, check);
}

#[test]
fn copy_snapshots_to_another_region() {
    fn make(world: &World) -> Before {
        let (a, b) = (world.snapshot(&world.volume(&[])), world.snapshot(&world.volume(&[])));
        Before::of(world, format!("ec2 copy_snapshots --target_region us-west-2 --snapshot_ids {a} {b} --details"), &[&a, &b], None)
    }
    fn check(after: &After<'_>) {
        let there = after.world.aaws("ec2 discover_snapshots --region us-west-2").run().ok().json();
        let copies: Vec<String> = there.as_array().into_iter().flatten().filter_map(|c| c.as_str().map(str::to_owned)).collect();
        let nameless = copies.iter().filter(|c| !after.is_told(c) && !after.output.stdout.contains(c.as_str())).count();
        let unknowable = matches!(&after.failed, Some((operation, Fault::Lost)) if NAMELESS.contains(&operation.as_str()));
        after.must(nameless <= usize::from(unknowable), &format!("of {copies:?} nobody is told"));
        after.must(after.world.snapshots() == after.before.snapshots, "the originals are not as they were");
        after.must(!after.succeeded() || copies.len() == 2, "it says that all went well, and there are not two copies");
    }
    walk("copy_snapshots --target_region us-west-2", 5, make, check);
    walk_unseen("copy_snapshots --target_region us-west-2", make, check);
}

// --- Starting, stopping, metadata options ---

/// The instance is in the state that is printed of it: what goes on after all is neither printed nor taken back.
fn switched(after: &After<'_>, to: &str) {
    let instance = after.before.instance.as_deref().unwrap_or_default();
    let is = after.world.instance_state(instance);
    let is_there = is.as_deref() == Some(to);
    after.must(is_there || is == after.before.state, &format!("the instance is {is:?}"));
    after.must(is_there || !after.output.stdout.contains(instance), &format!("the instance is printed, and is {is:?}"));
    after.must(!after.succeeded() || is_there, &format!("it says that all went well, and the instance is {is:?}"));
    let asked = after.writes.iter().filter(|name| *name != "StopInstances" && *name != "StartInstances").count();
    after.must(asked == 0 && after.writes.len() <= 1, "it is told more than once");
}

#[test]
fn stop_instances_that_run() {
    fn make(world: &World) -> Before {
        let id = world.instance(&[]).id;
        Before::of(world, format!("ec2 stop_instances --instance_ids {id}"), &[&id], Some(&id))
    }
    walk("stop_instances", 3, make, |after| switched(after, "stopped"));
    walk_unseen("stop_instances", make, |after| switched(after, "stopped"));
}

#[test]
fn start_instances_that_are_stopped() {
    fn make(world: &World) -> Before {
        let id = world.instance(&[]).id;
        world.stop(&id);
        Before::of(world, format!("ec2 start_instances --instance_ids {id}"), &[&id], Some(&id))
    }
    walk("start_instances", 3, make, |after| switched(after, "running"));
    walk_unseen("start_instances", make, |after| switched(after, "running"));
}

#[test]
fn modify_metadata_options_of_an_instance_that_runs_and_one_that_does_not() {
    fn make(world: &World) -> Before {
        let (a, b) = (world.instance(&[]).id, world.instance(&[]).id);
        world.stop(&b);
        Before::of(world, format!("ec2 modify_metadata_options --instance_ids {a} {b}"), &[&a, &b], None)
    }
    fn check(after: &After<'_>) {
        for instance in &after.before.items {
            let said = after.world.ec2("DescribeInstances", &[("InstanceId.1", instance)]);
            let required = said.contains("<httpTokens>required</httpTokens>");
            after.must(required || !after.output.stdout.contains(instance), &format!("{instance} is printed, and needs no token"));
            after.must(required || !after.succeeded(), &format!("it says that all went well, and {instance} needs no token"));
            let rest = ["<httpPutResponseHopLimit>1<", "<httpEndpoint>enabled<", "<instanceMetadataTags>disabled<"];
            after.must(rest.iter().all(|option| said.contains(option)), &format!("{instance} has other options, too: {said}"));
        }
    }
    walk("modify_metadata_options", 4, make, check);
    walk_unseen("modify_metadata_options", make, check);
}

// --- Security groups ---

/// Whether a rule of a group names another.
fn names(world: &World, group: &str, other: &str) -> bool {
    let filters = [
        ("Filter.1.Name", "group-id"),
        ("Filter.1.Value.1", group),
        ("Filter.2.Name", "ip-permission.group-id"),
        ("Filter.2.Value.1", other),
    ];
    world.ec2("DescribeSecurityGroups", &filters).contains(group)
}

#[test]
fn delete_security_groups_that_name_each_other() {
    fn make(world: &World) -> Before {
        let (a, b) = (world.group("a"), world.group("b"));
        for (group, other) in [(&a, &b), (&b, &a)] {
            let rule = [
                ("GroupId", group.as_str()),
                ("IpPermissions.1.IpProtocol", "-1"),
                ("IpPermissions.1.Groups.1.GroupId", other.as_str()),
                ("TagSpecification.1.ResourceType", "security-group-rule"),
                ("TagSpecification.1.Tag.1.Key", "Owner"),
                ("TagSpecification.1.Tag.1.Value", "payments"),
            ];
            world.ec2("AuthorizeSecurityGroupIngress", &rule);
        }
        Before::of(world, format!("ec2 delete_security_groups --security_group_ids {a} {b}"), &[&a, &b], None)
    }
    fn check(after: &After<'_>) {
        let (world, items) = (after.world, &after.before.items);
        let there = world.groups();
        after.must(!after.succeeded() || there.is_empty(), "it says that all went well, and a group is still there");
        for group in &there {
            let printed = after.output.stdout.contains(group.as_str()) || after.output.code == Some(1);
            after.must(printed, &format!("{group} is still there, and not printed"));
        }
        if there.len() == 2 {
            after.must(names(world, &items[0], &items[1]) && names(world, &items[1], &items[0]), "a rule is not back");
            let tags = world.ec2("DescribeSecurityGroupRules", &[]).matches("payments").count();
            after.must(tags == 2, &format!("{tags} rules have their tag"));
        }
    }
    walk("delete_security_groups", 7, make, check);
    walk_unseen("delete_security_groups", make, check);
}

// --- Addresses and network interfaces ---

#[test]
fn release_addresses_that_nothing_uses() {
    fn make(world: &World) -> Before {
        let (a, b) = (world.address(), world.address());
        Before::of(world, format!("ec2 release_addresses --allocation_ids {a} {b}"), &[&a, &b], None)
    }
    fn check(after: &After<'_>) {
        what_is_left_is_printed(after, &after.world.addresses());
    }
    walk("release_addresses", 3, make, check);
}

#[test]
fn delete_interfaces_that_are_attached_to_nothing() {
    fn make(world: &World) -> Before {
        let (a, b) = (world.interface(&[]), world.interface(&[]));
        Before::of(world, format!("ec2 delete_interfaces --network_interface_ids {a} {b}"), &[&a, &b], None)
    }
    fn check(after: &After<'_>) {
        what_is_left_is_printed(after, &after.world.interfaces());
    }
    walk("delete_interfaces", 3, make, check);
}

fn what_is_left_is_printed(after: &After<'_>, there: &[String]) {
    for item in after.before.items.iter().filter(|item| there.contains(item)) {
        after.must(!after.succeeded(), &format!("it says that all went well, and {item} is still there"));
        let printed = after.output.stdout.contains(item.as_str()) || after.output.code == Some(1);
        after.must(printed, &format!("{item} is still there, and not printed"));
    }
}
