//! `encrypt_instance_volumes` is killed at each of its writes, before it is carried out and after it was; then another process finishes the run, and the
//! world is looked at.
//!
//! Whenever it is killed: the journal says that the run did not come to its end, and once it is resumed no device is empty, all volumes are encrypted, each
//! device is deleted with its instance as before, the instance runs, the originals are there, and no copy is left over. A snapshot that is left over is
//! named by the run's log.
//!
//! `delete_instances` is killed while it terminates an instance: then its final image is all that is left of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::aaws::Aaws;
use crate::support::ec2::{World, is_write, writes};
use crate::support::http::{self, Response, Server};
use crate::support::trap::{Moment, Trap};
use crate::support::{directory, proxy};

/// How many worlds there are at a time.
const AT_A_TIME: usize = 8;

/// No run takes nearly as long to come to a request.
const LIMIT: Duration = Duration::from_secs(60);

/// A running instance with a root volume and a data volume that goes with it, both without encryption.
struct Case {
    world: World,
    state: tempfile::TempDir,
    instance: String,
    line: String,
    devices: Vec<(String, String, bool)>,
    originals: Vec<String>,
}

impl Case {
    fn new() -> Self {
        let world = World::new();
        let machine = world.instance(&[]);
        let data = world.volume(&[("Iops", "4000"), ("Throughput", "300")]);
        world.attach(&data, &machine.id, "/dev/sdf");
        let mapping = [("BlockDeviceMapping.1.DeviceName", "/dev/sdf"), ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true")];
        world.ec2("ModifyInstanceAttribute", &[("InstanceId", machine.id.as_str()), mapping[0], mapping[1]]);
        let line = format!("ec2 encrypt_instance_volumes --instance_id {} --kms_key_id {}", machine.id, world.key());
        let (devices, originals) = (world.attached(&machine.id), world.volumes());
        Case { state: directory(), instance: machine.id, line, devices, originals, world }
    }

    fn own(&self, run: Aaws) -> Aaws {
        run.env("XDG_STATE_HOME", self.state.path())
    }

    /// The one run that there is.
    fn logged(&self) -> Value {
        let runs = self.own(self.world.aaws("log")).run().ok().json();
        assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");
        runs[0].clone()
    }

    /// All is done, and nothing is left over that nobody is told of.
    fn is_encrypted(&self, told: &str, when: &str) {
        let now = self.world.attached(&self.instance);
        let shape = |devices: &[(String, String, bool)]| devices.iter().map(|(d, _, goes)| (d.clone(), *goes)).collect::<Vec<_>>();
        assert_eq!(shape(&now), shape(&self.devices), "{when}: devices, and whether their volumes go with the instance");
        for (device, volume, _) in &now {
            let is_encrypted = self.world.describe_volume(volume).contains("<encrypted>true</encrypted>");
            assert!(is_encrypted, "{when}: {volume} at {device} is not encrypted");
        }
        assert_eq!(self.world.instance_state(&self.instance).as_deref(), Some("running"), "{when}");
        let mut kept: Vec<String> = self.originals.iter().cloned().chain(now.into_iter().map(|(_, volume, _)| volume)).collect();
        kept.sort();
        assert_eq!(self.world.volumes(), kept, "{when}: the originals and the copies in their places, each once");
        for snapshot in self.world.snapshots() {
            assert!(told.contains(&snapshot), "{when}: {snapshot} is left over, and the log does not say so: {told}");
        }
    }
}

/// The writes of a run that nothing happens to.
fn healthy() -> Vec<String> {
    let case = Case::new();
    let server = case.world.proxy().start();
    case.own(case.world.aaws_via(&server, &case.line)).run().ok();
    case.is_encrypted("", "never killed");
    writes(&server)
}

/// Kills a run at one of its writes, and has another process finish it.
fn killed_at(nth: usize, operation: &str, moment: Moment) {
    let when = format!("killed {moment:?} write {nth}, {operation}");
    let case = Case::new();
    let trap = Trap::new(&case.world.proxy().start().url, nth, moment, is_write);
    trap.kill(case.own(case.world.aaws_via(&trap.server, &case.line)).start());
    let run = case.logged();
    assert_eq!(run["state"], "unfinished", "{when}");
    let id = run["id"].as_str().expect("an id");

    let resumed = case.own(case.world.aaws(format!("resume {id}"))).run();
    assert_eq!(resumed.code, Some(0), "{when}: {resumed}");
    let told = case.own(case.world.aaws(format!("log {id}"))).run().ok();
    case.is_encrypted(&told.stdout, &when);
    assert_eq!(case.logged()["state"], "finished", "{when}");
}

#[test]
fn an_encryption_that_is_killed_anywhere_is_finished() {
    let writes = healthy();
    assert!(writes.len() >= 14, "it makes {} writes only: {writes:?}", writes.len());
    let points: Vec<(usize, Moment)> = (1..=writes.len()).flat_map(|nth| [(nth, Moment::Before), (nth, Moment::After)]).collect();
    let (next, survived) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(&(nth, moment)) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    killed_at(nth, &writes[nth - 1], moment);
                    survived.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    println!("killed at {} points, finished {} times", points.len(), survived.into_inner());
}

/// Kills a run that terminates an instance after a final image of it, while it is terminated; gives the world, the state directory, the instance and the run.
fn killed_terminating(moment: Moment) -> (World, tempfile::TempDir, String, String) {
    let (world, state) = (World::new(), directory());
    let instance = world.instance(&[]).id;
    let line = format!("ec2 delete_instances --instance_ids {instance} --final_image");
    let trap = Trap::new(&world.proxy().start().url, 1, moment, |operation| operation == "TerminateInstances");
    trap.kill(world.aaws_via(&trap.server, &line).env("XDG_STATE_HOME", state.path()).start());
    let runs = world.aaws("log").env("XDG_STATE_HOME", state.path()).run().ok().json();
    let id = runs[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(world.images().len(), 1, "{moment:?}");
    (world, state, instance, id)
}

#[test]
fn the_final_image_of_an_instance_that_is_terminated_is_never_deleted() {
    let (world, state, instance, id) = killed_terminating(Moment::After);
    let had = (world.images(), world.snapshots());
    let undone = world.aaws(format!("undo {id}")).env("XDG_STATE_HOME", state.path()).run().exits(3).logs("its image stays").json();
    assert_eq!((&undone[0]["item"], &undone[0]["code"]), (&Value::from(instance), &Value::from("Changed")));
    assert_eq!((world.images(), world.snapshots()), had);

    // A run that goes on has nothing left to do, and makes no other image.
    let (world, state, _, id) = killed_terminating(Moment::After);
    let had = (world.images(), world.snapshots());
    world.aaws(format!("resume {id}")).env("XDG_STATE_HOME", state.path()).run().ok().logs("goes on from where it was left");
    assert_eq!((world.images(), world.snapshots()), had);
}

#[test]
fn an_instance_that_was_not_terminated_yet_is_imaged_anew() {
    let (world, state, instance, id) = killed_terminating(Moment::Before);
    let before = world.images();
    world.aaws(format!("resume {id}")).env("XDG_STATE_HOME", state.path()).run().ok();
    assert_eq!(world.instance_state(&instance).as_deref(), Some("terminated"));
    let after = world.images();
    assert_eq!((after.len(), world.snapshots().len()), (1, 1));
    assert_ne!(after, before, "the first one is from before the instance ran again");

    let (world, state, instance, id) = killed_terminating(Moment::Before);
    world.aaws(format!("undo {id}")).env("XDG_STATE_HOME", state.path()).run().ok();
    assert_eq!(world.instance_state(&instance).as_deref(), Some("running"));
    assert_eq!((world.images(), world.snapshots()), (vec![], vec![]));
}

#[test]
fn what_was_left_half_way_is_undone_only_when_the_guards_allow_it() {
    let case = Case::new();
    let trap = Trap::new(&case.world.proxy().start().url, 1, Moment::Before, |operation| operation == "DetachVolume");
    trap.kill(case.own(case.world.aaws_via(&trap.server, &case.line)).start());
    let run = case.logged();
    let id = run["id"].as_str().expect("an id");

    let server = case.world.proxy().start();
    let resume = |more: &str| case.own(case.world.aaws_via(&server, format!("resume {id} {more}")));
    resume("--max_items 0").run().exits(4).silent().logs("max_items");
    resume("--require_yes").run().exits(4).silent().logs("require_yes");
    resume("--dry_run").run().logs("this would be undone first");
    resume("").on_terminal("n").exits(4);
    assert_eq!(writes(&server), [""; 0], "nothing was sent");
    resume("").run().ok();
    let told = case.own(case.world.aaws(format!("log {id}"))).run().ok();
    case.is_encrypted(&told.stdout, "killed before it detached a volume");
}

/// A session of a role as STS gives it, with keys that are good in the world.
fn role(key: &str, token: &str) -> Response {
    let credentials = format!(
        "<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>{token}</SessionToken>\
         <Expiration>2099-01-01T00:00:00Z</Expiration>"
    );
    let result = format!("<AssumeRoleResult><Credentials>{credentials}</Credentials></AssumeRoleResult>");
    Response::xml(200, format!("<AssumeRoleResponse>{result}</AssumeRoleResponse>"))
}

#[test]
fn what_is_undone_after_an_interruption_is_so_by_a_role_that_is_assumed_again() {
    let case = Case::new();
    let (url, key) = (case.world.proxy().start().url, case.world.account.access_key.clone());
    let ((came, reached), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
    let (released, has_expired) = (Mutex::new(released), AtomicBool::new(false));
    let server = Server::start(move |operation, n, mut request| {
        if operation == "AssumeRole" {
            return role(&key, if n == 1 { "first" } else { "second" });
        }
        if has_expired.load(Ordering::SeqCst) && request.header("x-amz-security-token") == Some("first") {
            return proxy::error(&request, 400, "RequestExpired");
        }
        if operation == "AttachVolume" && n == 1 {
            let _ = came.send(());
            let _ = released.lock().unwrap().recv_timeout(LIMIT);
            has_expired.store(true, Ordering::SeqCst);
            return proxy::error(&request, 403, "UnauthorizedOperation");
        }
        // The world knows of no such token.
        request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("x-amz-security-token"));
        http::send(&url, &request).expect("the world answers")
    });
    let line = format!("{} --role_arn arn:aws:iam::{}:role/encrypter", case.line, case.world.account.id);
    let running = case.own(case.world.aaws_via(&server, line)).start();
    reached.recv_timeout(LIMIT).expect("a copy is attached");
    running.signal("INT");
    running.logged("interrupted: finishing");
    release.send(()).expect("the request is held");
    let output = running.wait().exits(130).logs("undone: ");
    assert!(!output.stderr.contains("could not undo"), "{output}");
    assert_eq!(case.world.attached(&case.instance), case.devices, "{output}");
    assert_eq!(case.world.instance_state(&case.instance).as_deref(), Some("running"), "{output}");
    assert_eq!(server.count("AssumeRole"), 2, "{output}");
}
