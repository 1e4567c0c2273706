//! Every call of every action of several steps fails once, each time in a new world; then the world is looked at.
//!
//! Whatever fails: no device is left empty, an instance runs if it ran, nothing is gone whose safety step failed, and what was made for nothing is
//! gone again, or named. A call fails in two ways: refused before it is carried out, or carried out and its answer lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::aaws::Output;
use crate::support::ec2::World;
use crate::support::http::{self, Server};
use crate::support::{directory, proxy};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is refused, and nothing happens.
    Refused,
    /// It is carried out, and its answer is an error.
    Lost,
}

/// What there was before a run.
struct Before {
    line: String,
    instance: Option<String>,
    state: Option<String>,
    devices: Vec<(String, String, bool)>,
    volumes: Vec<String>,
    snapshots: Vec<String>,
    images: Vec<String>,
}

/// What a run left.
struct After<'a> {
    world: &'a World,
    before: &'a Before,
    output: &'a Output,
    /// Standard error and the report: where things have to be named.
    told: String,
    which: String,
}

impl Before {
    fn of(world: &World, line: String, instance: Option<&str>) -> Self {
        Before {
            line,
            instance: instance.map(str::to_owned),
            state: instance.and_then(|i| world.instance_state(i)),
            devices: instance.map(|i| world.attached(i)).unwrap_or_default(),
            volumes: world.volumes(),
            snapshots: world.snapshots(),
            images: world.images(),
        }
    }
}

impl After<'_> {
    #[track_caller]
    fn must(&self, holds: bool, what: &str) {
        assert!(holds, "{what}, when {} failed: {}\n{}", self.which, self.output, self.told);
    }

    /// Everything new is either part of what was asked for and done, or named.
    #[track_caller]
    fn leftovers_are_named(&self) {
        let new = |now: Vec<String>, before: &[String]| now.into_iter().filter(|id| !before.contains(id)).collect::<BTreeSet<_>>();
        let mut made = new(self.world.volumes(), &self.before.volumes);
        made.extend(new(self.world.snapshots(), &self.before.snapshots));
        made.extend(new(self.world.images(), &self.before.images));
        // A copy in the place of an original is no leftover, and a snapshot of an image that is kept goes by the image's name.
        let attached = self.before.instance.as_deref().map(|i| self.world.attached(i)).unwrap_or_default();
        made.retain(|id| !attached.iter().any(|(_, volume, _)| volume == id) && !self.is_behind_a_named_image(id));
        for id in made {
            self.must(self.told.contains(&id) || self.output.stdout.contains(&id), &format!("{id} is left over and not named"));
        }
    }

    fn is_behind_a_named_image(&self, snapshot: &str) -> bool {
        let images = self.world.ec2("DescribeImages", &[("Owner.1", "self")]);
        let of = crate::support::xml::elements(&images, "imagesSet").concat();
        of.split("<imageId>").skip(1).any(|image| {
            let id = image.split('<').next().unwrap_or_default();
            image.contains(snapshot) && (self.told.contains(id) || self.before.images.iter().any(|i| i == id))
        })
    }

    /// The instance has all its devices, and is as it was.
    #[track_caller]
    fn instance_is_whole(&self) {
        let Some(instance) = &self.before.instance else { return };
        self.must(self.world.instance_state(instance) == self.before.state, "the instance's state is another");
        let now = self.world.attached(instance);
        let shape = |devices: &[(String, String, bool)]| devices.iter().map(|(d, _, gone)| (d.clone(), *gone)).collect::<Vec<_>>();
        self.must(shape(&now) == shape(&self.before.devices), &format!("the devices are {now:?}"));
        if self.output.code != Some(0) {
            self.must(now == self.before.devices, &format!("the originals are not back: {now:?}"));
        }
    }

    /// No original volume is ever deleted.
    #[track_caller]
    fn originals_are_there(&self) {
        let now = self.world.volumes();
        self.before.volumes.iter().for_each(|v| self.must(now.contains(v), &format!("{v} is gone")));
    }
}

/// A world of its own for each run, and the line to run in it.
type Make = fn(&World) -> Before;

/// Runs an action once for each of its calls, with that call failing, and looks at what is left.
fn walk(name: &str, fault: Fault, least: usize, make: Make, check: fn(&After<'_>)) {
    let calls = run(make, None, fault, &|after| {
        after.must(after.output.code == Some(0), "it does not work at all");
        check(after);
    });
    assert!(calls >= least, "{name} makes {calls} calls only: the walk shows nothing");
    let next = AtomicUsize::new(1);
    let failed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth > calls {
                        return;
                    }
                    run(make, Some(nth), fault, &|after| {
                        failed.fetch_add(usize::from(after.output.code != Some(0)), Ordering::Relaxed);
                        check(after);
                    });
                }
            });
        }
    });
    println!("{name}, {fault:?}: {calls} calls, each failed once; {} of these runs failed", failed.into_inner());
}

/// One run, and how many calls it made.
fn run(make: Make, nth: Option<usize>, fault: Fault, check: &dyn Fn(&After<'_>)) -> usize {
    let world = World::new();
    let before = make(&world);
    let mended = world.proxy().start();
    let count = Arc::new(AtomicUsize::new(0));
    let made = Arc::clone(&count);
    let inner = mended.url.clone();
    let server = Server::start(move |_, _, request| {
        let fails = Some(made.fetch_add(1, Ordering::SeqCst) + 1) == nth;
        if fails && fault == Fault::Refused {
            return proxy::error(&request, 403, "UnauthorizedOperation");
        }
        let reply = http::send(&inner, &request).expect("the world answers");
        if fails { proxy::error(&request, 403, "UnauthorizedOperation") } else { reply }
    });
    let folder = directory();
    let line = format!("{} --concurrency 1 --report report.jsonl", before.line);
    let output = world.aaws_via(&server, line).within(folder.path()).run();
    let report = std::fs::read_to_string(folder.path().join("report.jsonl")).unwrap_or_default();
    let which = nth.map_or("nothing".to_owned(), |n| format!("call {n} ({})", server.operations().get(n - 1).cloned().unwrap_or_default()));
    check(&After { world: &world, before: &before, told: format!("{}{report}", output.stderr), output: &output, which });
    count.load(Ordering::SeqCst)
}

/// A running instance with a data volume that is deleted with it.
fn machine(world: &World) -> (String, String, String) {
    let machine = world.instance(&[]);
    let data = world.volume(&[("VolumeType", "gp3"), ("Iops", "4000"), ("Throughput", "300")]);
    world.attach(&data, &machine.id, "/dev/sdf");
    world.ec2(
        "ModifyInstanceAttribute",
        &[
            ("InstanceId", &machine.id),
            ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
            ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ],
    );
    (machine.id, machine.root, data)
}

fn swapped(after: &After<'_>) {
    after.instance_is_whole();
    after.originals_are_there();
    after.leftovers_are_named();
}

fn encrypt_on_a_running_instance(world: &World) -> Before {
    let (instance, _, data) = machine(world);
    Before::of(world, format!("ec2 encrypt_volume --volume_id {data} --kms_key_id {}", world.key()), Some(&instance))
}

fn encrypt_on_a_stopped_instance(world: &World) -> Before {
    let (instance, _, data) = machine(world);
    world.stop(&instance);
    Before::of(world, format!("ec2 encrypt_volume --volume_id {data} --kms_key_id {}", world.key()), Some(&instance))
}

fn encrypt_detached(world: &World) -> Before {
    let volume = world.volume(&[]);
    Before::of(world, format!("ec2 encrypt_volume --volume_id {volume} --kms_key_id {}", world.key()), None)
}

fn encrypt_all_of_an_instance(world: &World) -> Before {
    let (instance, ..) = machine(world);
    Before::of(world, format!("ec2 encrypt_instance_volumes --instance_id {instance} --kms_key_id {}", world.key()), Some(&instance))
}

#[test]
fn encrypt_volume_on_a_running_instance() {
    walk("encrypt_volume, running", Fault::Refused, 15, encrypt_on_a_running_instance, swapped);
    walk("encrypt_volume, running", Fault::Lost, 15, encrypt_on_a_running_instance, swapped);
}

#[test]
fn encrypt_volume_on_a_stopped_instance() {
    walk("encrypt_volume, stopped", Fault::Refused, 12, encrypt_on_a_stopped_instance, swapped);
    walk("encrypt_volume, stopped", Fault::Lost, 12, encrypt_on_a_stopped_instance, swapped);
}

#[test]
fn encrypt_volume_that_is_detached() {
    walk("encrypt_volume, detached", Fault::Refused, 6, encrypt_detached, swapped);
    walk("encrypt_volume, detached", Fault::Lost, 6, encrypt_detached, swapped);
}

#[test]
fn encrypt_all_volumes_of_an_instance() {
    walk("encrypt_instance_volumes", Fault::Refused, 25, encrypt_all_of_an_instance, swapped);
    walk("encrypt_instance_volumes", Fault::Lost, 25, encrypt_all_of_an_instance, swapped);
}

#[test]
fn delete_volumes_after_snapshots() {
    fn make(world: &World) -> Before {
        let (a, b) = (world.volume(&[]), world.volume(&[]));
        Before::of(world, format!("ec2 delete_volumes --snapshot --volume_ids {a} {b}"), None)
    }
    fn check(after: &After<'_>) {
        let now = after.world.volumes();
        for volume in &after.before.volumes {
            let snapshots = after.world.ec2("DescribeSnapshots", &[("Filter.1.Name", "volume-id"), ("Filter.1.Value.1", volume)]);
            let saved = snapshots.contains("<status>completed</status>");
            after.must(now.contains(volume) || saved, &format!("{volume} is gone without a snapshot"));
            // An action that fails as a whole prints nothing.
            let printed = after.output.stdout.contains(volume.as_str()) || after.output.stdout.is_empty();
            after.must(printed || !now.contains(volume), &format!("{volume} is still there and not printed"));
        }
        after.leftovers_are_named();
    }
    walk("delete_volumes --snapshot", Fault::Refused, 6, make, check);
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
        Before::of(world, line, Some(&machine.id))
    }
    fn check(after: &After<'_>) {
        let (world, before) = (after.world, after.before);
        let instance = before.instance.as_deref().expect("an instance");
        let (volumes, snapshots, images) = (world.volumes(), world.snapshots(), world.images());
        if world.instance_state(instance).as_deref() == Some("terminated") {
            let of = world.ec2("DescribeImages", &[("Filter.1.Name", "source-instance-id"), ("Filter.1.Value.1", instance)]);
            let made = images.iter().filter(|i| !before.images.contains(i)).any(|i| of.contains(i.as_str()));
            after.must(made, "the instance is gone without an image");
        } else {
            after.instance_is_whole();
            before.volumes.iter().for_each(|v| after.must(volumes.contains(v), &format!("{v} is gone, and its instance is not")));
            before.snapshots.iter().for_each(|s| after.must(snapshots.contains(s), &format!("{s} is gone, and its instance is not")));
            before.images.iter().for_each(|i| after.must(images.contains(i), &format!("{i} is gone, and its instance is not")));
        }
        after.leftovers_are_named();
    }
    walk("delete_instances --final_image --include volume image snapshot", Fault::Refused, 20, make, check);
    walk("delete_instances --final_image --include volume image snapshot", Fault::Lost, 20, make, check);
}

#[test]
fn modify_volumes_after_snapshots() {
    fn make(world: &World) -> Before {
        let (a, b) = (world.volume(&[("VolumeType", "gp2"), ("Size", "500")]), world.volume(&[("VolumeType", "gp2"), ("Size", "500")]));
        Before::of(world, format!("ec2 modify_volumes --snapshot --type gp3 --volume_ids {a} {b}"), None)
    }
    fn check(after: &After<'_>) {
        for volume in &after.before.volumes {
            let changed = after.world.describe_volume(volume).contains("<volumeType>gp3</volumeType>");
            let snapshots = after.world.ec2("DescribeSnapshots", &[("Filter.1.Name", "volume-id"), ("Filter.1.Value.1", volume)]);
            after.must(!changed || snapshots.contains("<status>completed</status>"), &format!("{volume} was changed without a snapshot"));
            after.must(changed == after.output.stdout.contains(volume.as_str()), &format!("what is printed of {volume} is not so"));
        }
        after.leftovers_are_named();
    }
    walk("modify_volumes --snapshot", Fault::Refused, 6, make, check);
}

#[test]
fn copy_snapshots_to_another_region() {
    fn make(world: &World) -> Before {
        let (a, b) = (world.snapshot(&world.volume(&[])), world.snapshot(&world.volume(&[])));
        Before::of(world, format!("ec2 copy_snapshots --target_region us-west-2 --details --snapshot_ids {a} {b}"), None)
    }
    fn check(after: &After<'_>) {
        let list = after.world.aaws("ec2 discover_snapshots --region us-west-2").run().ok().json();
        let copies: Vec<_> = list.as_array().expect("a list").iter().filter_map(|c| c.as_str().map(str::to_owned)).collect();
        copies.iter().for_each(|c| {
            after.must(after.told.contains(c.as_str()) || after.output.stdout.contains(c.as_str()), &format!("{c} is not named"))
        });
        let now = after.world.snapshots();
        after.before.snapshots.iter().for_each(|s| after.must(now.contains(s), &format!("{s} is gone")));
        if after.output.code == Some(0) {
            after.must(copies.len() == 2, "it says that all went well, and there are not two copies");
        }
    }
    walk("copy_snapshots", Fault::Refused, 5, make, check);
}
