//! Steps that one process noted, undone by another: as data, with nothing else to go by; and runs, undone by `aaws undo`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use ::aaws::catalog::registry;
use ::aaws::{
    Connection, Input, Journal, Keys, Request, Result, Secret, SessionOptions, StepId, StepNote, Unattended, async_trait, execute,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::aaws::Aaws;
use crate::support::account::Account;
use crate::support::ec2::World;
use crate::support::trap::{Moment, Trap};
use crate::support::{Output, directory};

/// Where the other process finds what it is to undo. Without it the test that is the other process has nothing to do.
const TO_UNDO: &str = "AAWS_TEST_TO_UNDO";

/// Keeps the notes of a run. At a step whose words begin so, the run stands still for ever, as if its process had been killed before the request was sent.
#[derive(Default)]
struct Notes {
    notes: Mutex<Vec<StepNote>>,
    dies_at: &'static str,
    dead: Notify,
}

#[async_trait]
impl Journal for Notes {
    async fn note(&self, notes: Vec<StepNote>) -> Result<Vec<StepId>> {
        let dies = !self.dies_at.is_empty() && notes.iter().any(|note| note.says.starts_with(self.dies_at));
        let ids = vec![0; notes.len()];
        self.notes.lock().unwrap().extend(notes);
        if dies {
            self.dead.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(ids)
    }
}

fn target(account: &Account, endpoint: &str) -> SessionOptions {
    let secret = |text: &str| Secret::new(text);
    SessionOptions {
        region: "us-east-1".parse().ok(),
        endpoint_url: Some(endpoint.to_owned()),
        keys: Some(Keys {
            access_key: account.access_key.clone(),
            secret_key: secret(&account.secret_key),
            session_token: Some(secret(&account.token)),
        }),
        ..SessionOptions::default()
    }
}

/// Runs an action in this process, to its end or to the step at which it dies, and gives what it noted.
fn run_until(account: &Account, endpoint: &str, path: &str, input: &Value, dies_at: &'static str) -> Vec<StepNote> {
    let notes = Arc::new(Notes { dies_at, ..Notes::default() });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let entry = registry::find(path).expect("an action");
        let mut request = Request::new(entry, Input::from_json(&input.to_string()).expect("an input"));
        request.target = target(account, endpoint);
        request.journal = Some(Arc::clone(&notes) as Arc<dyn Journal>);
        let whole = async {
            let mut execution = execute(request, Arc::new(Unattended)).await;
            let collected = execution.rows().collect().await;
            assert!(collected.error.is_none(), "{:?}", collected.error);
            assert!(dies_at.is_empty(), "it came to its end without {dies_at}");
        };
        tokio::select! {
            () = whole => {}
            () = notes.dead.notified() => {}
        }
    });
    // What hangs is dropped here, in the middle of its step.
    runtime.shutdown_background();
    std::mem::take(&mut *notes.notes.lock().unwrap())
}

/// Has another process undo the steps, from the last to the first.
fn undo_elsewhere(account: &Account, endpoint: &str, notes: &[StepNote]) {
    let folder = directory();
    let file = folder.path().join("steps.json");
    let keys = [&account.access_key, &account.secret_key, &account.token];
    fs::write(&file, json!({ "endpoint": endpoint, "keys": keys, "notes": notes }).to_string()).expect("the steps");
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "undo::as_the_other_process", "--nocapture"])
        .env(TO_UNDO, &file)
        .env("AAWS_CLOCK_RATE", "20")
        .output()
        .expect("the other process");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn as_the_other_process() {
    let Some(file) = std::env::var_os(TO_UNDO) else { return };
    let read: Value = serde_json::from_str(&fs::read_to_string(Path::new(&file)).expect("the steps")).expect("JSON");
    let notes: Vec<StepNote> = serde_json::from_value(read["notes"].clone()).expect("notes that can be read back");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let keys = &read["keys"];
    let account =
        Account { id: String::new(), access_key: text(&keys[0]), secret_key: text(&keys[1]), token: text(&keys[2]), endpoint: "" };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let connection = Connection::open(target(&account, &text(&read["endpoint"]))).await.expect("a connection");
        for note in notes.iter().rev() {
            let entry = registry::find(&note.action).expect("the action that noted it");
            connection.undo(entry, note.step.clone()).await.unwrap_or_else(|e| panic!("{}: {e}", note.says));
        }
    });
}

#[test]
fn a_swap_of_a_process_that_died_is_undone_by_another() {
    let world = World::new();
    let machine = world.instance(&[]);
    let data = world.volume(&[("Iops", "4000"), ("Throughput", "300")]);
    world.attach(&data, &machine.id, "/dev/sdf");
    let (before, endpoint) = (world.attached(&machine.id), world.proxy().start());
    let input = json!({ "volume_id": data, "kms_key_id": world.key() });
    // The copy is attached in the original's place; the instance was to be started with it.
    let notes = run_until(&world.account, &endpoint.url, "ec2/encrypt_volume", &input, "start ");
    assert_ne!(world.attached(&machine.id), before, "the copy is in the original's place");
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("stopped"));

    undo_elsewhere(&world.account, &endpoint.url, &notes);
    assert_eq!(world.attached(&machine.id), before, "the original is where it was");
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    assert_eq!(world.snapshots(), [""; 0]);
    let mut originals = vec![machine.root, data];
    originals.sort();
    assert_eq!(world.volumes(), originals, "no copy is left over");
}

#[test]
fn tags_that_one_process_changed_are_put_back_by_another() {
    let world = World::new();
    let (one, other) = (world.volume(&[]), world.volume(&[]));
    world.tag(&one, "Env", "prod");
    world.tag(&one, "Owner", "alice");
    let before = [world.tags(&one), world.tags(&other)];
    let endpoint = world.proxy().start();
    let input = json!({ "resource_ids": [one, other], "tags": ["Env=test", "Team=blue"], "create": true });
    let notes = run_until(&world.account, &endpoint.url, "ec2/modify_tags", &input, "");
    assert_ne!([world.tags(&one), world.tags(&other)], before);

    undo_elsewhere(&world.account, &endpoint.url, &notes);
    assert_eq!([world.tags(&one), world.tags(&other)], before);
}

// --- Through the program: `aaws undo` in a new process ---

/// A world, and the state directory of whoever runs the program in it.
struct Desk {
    world: World,
    state: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Desk { world: World::new(), state: directory() }
    }

    fn aaws(&self, line: &str) -> Aaws {
        self.world.aaws(line).env("XDG_STATE_HOME", self.state.path())
    }

    /// What the program says of its runs, the newest first.
    fn log(&self) -> Vec<Value> {
        let rows = self.aaws("log").run().ok().json();
        rows.as_array().expect("a list of runs").clone()
    }

    fn volume_of_type(&self, kind: &str) -> String {
        self.world.volume(&[("VolumeType", kind), ("Size", "500")])
    }
}

/// What became of each item, as the program prints it.
fn outcomes(output: &Output) -> Vec<(String, String, String)> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let rows = output.json();
    let rows = rows.as_array().expect("a list of items");
    rows.iter().map(|row| (text(row, "item"), text(row, "status"), text(row, "code"))).collect()
}

fn outcome(item: &str, status: &str, code: &str) -> (String, String, String) {
    (item.to_owned(), status.to_owned(), code.to_owned())
}

#[test]
fn tags_are_as_they_were_but_for_those_that_somebody_changed_since() {
    let desk = Desk::new();
    let world = &desk.world;
    let (mine, theirs) = (world.volume(&[]), world.volume(&[]));
    world.tag(&mine, "Env", "prod");
    world.tag(&theirs, "Env", "prod");
    let before = world.tags(&mine);
    let line = format!("ec2 modify_tags --resource_ids {mine} {theirs} --tags Env=test Team=blue --create");
    desk.aaws(&line).run().ok();
    world.tag(&theirs, "Env", "their own");

    let planned = desk.aaws("undo --dry_run").run().exits(3);
    assert_eq!(outcomes(&planned), [outcome(&theirs, "skipped", "Changed"), outcome(&mine, "planned", "")]);
    assert_ne!(world.tags(&mine), before, "a dry run changes nothing");

    let undone = desk.aaws("undo").run().exits(3).logs("`Env` was changed since");
    assert_eq!(outcomes(&undone), [outcome(&theirs, "skipped", "Changed"), outcome(&mine, "done", "")]);
    assert_eq!(world.tags(&mine), before);
    assert!(world.tags(&theirs).contains(&("Env".to_owned(), "their own".to_owned())), "{:?}", world.tags(&theirs));

    // Both are runs; of the first something is left to be undone, and the undo can be undone itself.
    let log = desk.log();
    let [undo, run] = log.as_slice() else { panic!("{log:?}") };
    assert_eq!((run["undone"].as_bool(), &undo["undoes"]), (Some(false), &run["id"]));
    let id = undo["id"].as_str().unwrap_or_default();
    desk.aaws(&format!("undo {id}")).run().ok();
    assert!(world.tags(&mine).contains(&("Team".to_owned(), "blue".to_owned())));
    // What was left alone can be undone once it is again as the run left it; what was undone is not undone twice.
    assert_eq!(outcomes(&desk.aaws("undo").run().exits(3)), [outcome(&theirs, "skipped", "Changed")]);
    world.tag(&theirs, "Env", "test");
    assert_eq!(outcomes(&desk.aaws("undo").run().ok()), [outcome(&theirs, "done", "")]);
    assert!(world.tags(&theirs).contains(&("Env".to_owned(), "prod".to_owned())), "{:?}", world.tags(&theirs));
    // There is nothing left that is no undo, and not undone yet.
    desk.aaws("undo").run().exits(2).logs("no run that could be undone");
}

#[test]
fn tags_that_ec2_refused_and_somebody_else_set_later_stay() {
    let desk = Desk::new();
    let world = &desk.world;
    let volume = world.volume(&[]);
    let line = format!("ec2 modify_tags --resource_ids {volume} --tags Env=prod --create");
    let server = world.proxy().refuse("CreateTags", 403, "UnauthorizedOperation").start();
    desk.aaws(&line).endpoint(&server.url).run().exits(3);
    world.tag(&volume, "Env", "prod");
    assert_eq!(desk.aaws("undo").run().ok().json(), json!([]));
    assert_eq!(world.tags(&volume), [("Env".to_owned(), "prod".to_owned())], "what the run did not set is not taken away");
}

#[test]
fn tags_that_were_set_though_no_answer_says_so_are_taken_away() {
    let desk = Desk::new();
    let world = &desk.world;
    let volume = world.volume(&[]);
    let line = format!("ec2 modify_tags --resource_ids {volume} --tags Env=prod --create");
    let server = world.proxy().losing_every("CreateTags").start();
    desk.aaws(&line).endpoint(&server.url).run().exits(3);
    assert_eq!(world.tags(&volume).len(), 1, "it was carried out");
    assert_eq!(outcomes(&desk.aaws("undo").run().ok()), [outcome(&volume, "done", "")]);
    assert!(world.tags(&volume).is_empty(), "{:?}", world.tags(&volume));
}

#[test]
fn a_run_of_which_nothing_is_left_to_be_undone_does_not_stand_in_the_way() {
    let desk = Desk::new();
    let (first, second) = (desk.world.volume(&[]), desk.world.volume(&[]));
    for volume in [&first, &second] {
        desk.aaws(&format!("ec2 modify_tags --resource_ids {volume} --tags Env=test --create")).run().ok();
    }
    // As if the second had been killed before it began anything.
    let id = desk.log()[0]["id"].as_str().expect("an id").to_owned();
    let file = desk.state.path().join(format!("aaws/journal/{id}.jsonl"));
    let text = fs::read_to_string(&file).expect("the journal");
    let begun = |line: &&str| ["intent", "step"].iter().any(|kind| line.contains(&format!("\"kind\":\"{kind}\"")));
    let before: String = text.lines().take_while(|line| !begun(line)).map(|line| format!("{line}\n")).collect();
    fs::write(file, before).expect("it is cut");

    assert_eq!(desk.aaws("undo").run().ok().logs("nothing is left to be undone").json(), json!([]));
    assert_eq!(outcomes(&desk.aaws("undo").run().ok()), [outcome(&first, "done", "")]);
    assert!(desk.world.tags(&first).is_empty(), "{:?}", desk.world.tags(&first));
}

#[test]
fn a_journal_that_is_missing_is_named_and_how_to_go_on() {
    let desk = Desk::new();
    let (first, second) = (desk.world.volume(&[]), desk.world.volume(&[]));
    let tag = |volume: &str, more: &str| {
        desk.aaws(&format!("ec2 modify_tags --resource_ids {volume} --tags Env=test --create {more}")).run().ok();
    };
    tag(&first, "");
    let id = desk.log()[0]["id"].as_str().expect("an id").to_owned();
    let file = desk.state.path().join("mine.jsonl");
    tag(&second, &format!("--journal {}", file.display()));
    fs::remove_file(&file).expect("it goes");
    desk.aaws("undo").run().exits(1).silent().logs("mine.jsonl").logs("give an id");
    assert_eq!(outcomes(&desk.aaws(&format!("undo {id}")).run().ok()), [outcome(&first, "done", "")]);
}

#[test]
fn snapshots_are_shared_as_before() {
    let desk = Desk::new();
    let snapshot = desk.world.snapshot(&desk.world.volume(&[]));
    let line = format!("ec2 share_snapshots --snapshot_ids {snapshot} --target_account 111122223333");
    desk.aaws(&line).run().ok();
    let undone = desk.aaws("undo").run().ok();
    assert_eq!(outcomes(&undone), [outcome(&snapshot, "done", "")]);
    // It can be shared anew, because it is shared no more.
    assert_eq!(desk.aaws(&line).run().ok().json(), json!([snapshot]));
    // Somebody took it away meanwhile: then there is nothing to undo.
    desk.aaws(&format!("{line} --unshare --no_journal")).run().ok();
    assert_eq!(outcomes(&desk.aaws("undo").run().ok()), [outcome(&snapshot, "unchanged", "")]);
}

#[test]
fn volumes_get_their_type_back() {
    let desk = Desk::new();
    let (mine, theirs) = (desk.volume_of_type("st1"), desk.volume_of_type("st1"));
    desk.aaws(&format!("ec2 modify_volumes --volume_ids {mine} {theirs} --type sc1")).run().ok();
    desk.aaws(&format!("ec2 modify_volumes --volume_ids {theirs} --type gp2 --no_journal")).run().ok();
    let undone = desk.aaws("undo").run().exits(3);
    assert_eq!(outcomes(&undone), [outcome(&theirs, "skipped", "Changed"), outcome(&mine, "done", "")]);
    assert!(desk.world.describe_volume(&mine).contains("<volumeType>st1</volumeType>"));
    assert!(desk.world.describe_volume(&theirs).contains("<volumeType>gp2</volumeType>"));
}

#[test]
fn a_volume_that_grew_stays_as_it_is_and_nothing_is_sent() {
    let desk = Desk::new();
    let volume = desk.world.volume(&[]);
    let server = desk.world.proxy().start();
    desk.aaws(&format!("ec2 modify_volumes --volume_ids {volume} --size 20")).run().ok();
    let refused = desk.aaws("undo").endpoint(&server.url).run().exits(4).silent();
    refused.logs("nothing of the run");
    assert_eq!(server.count("ModifyVolume"), 0);
}

#[test]
fn a_volume_that_grew_gets_the_rest_back_and_that_is_not_all() {
    let desk = Desk::new();
    let volume = desk.world.volume(&[("Size", "500"), ("Iops", "4000"), ("Throughput", "300")]);
    desk.aaws(&format!("ec2 modify_volumes --volume_ids {volume} --size 600 --iops 5000")).run().ok();
    let undone = desk.aaws("undo").run().exits(3).logs("its size stays 600 GiB");
    assert_eq!(outcomes(&undone), [outcome(&volume, "skipped", "Irreversible")]);
    let is = desk.world.describe_volume(&volume);
    assert!(is.contains("<size>600</size>") && is.contains("<iops>4000</iops>"), "{is}");
}

#[test]
fn what_somebody_protects_is_not_undone() {
    let desk = Desk::new();
    let world = &desk.world;
    let protect = |id: &str| world.tag(id, "aaws:protect", "");
    let (mine, theirs) = (desk.volume_of_type("st1"), desk.volume_of_type("st1"));
    let left = |item: &str, other: &str| [outcome(item, "skipped", "Protected"), outcome(other, "done", "")];

    let taken = desk.aaws(&format!("ec2 create_snapshots --volume_ids {mine} {theirs}")).run().ok().json();
    let kept = taken[1].as_str().expect("a snapshot");
    protect(kept);
    assert_eq!(outcomes(&desk.aaws("undo").run().ok()), left(&theirs, &mine));
    assert_eq!(world.snapshots(), [kept]);

    desk.aaws(&format!("ec2 modify_volumes --volume_ids {mine} {theirs} --type sc1")).run().ok();
    protect(&theirs);
    assert_eq!(outcomes(&desk.aaws("undo").run().ok()), left(&theirs, &mine));
    assert!(world.describe_volume(&theirs).contains("<volumeType>sc1</volumeType>"));

    // A snapshot is all that is kept of an image, so that the image stays for it.
    let machine = world.instance(&[]).id;
    desk.aaws(&format!("ec2 create_images --instance_ids {machine}")).run().ok();
    let behind: Vec<String> = world.snapshots().into_iter().filter(|id| id != kept).collect();
    behind.iter().for_each(|id| protect(id));
    let undone = desk.aaws("undo").run().ok();
    assert_eq!(outcomes(&undone), [outcome(&machine, "skipped", "Protected")]);
    assert_eq!((world.images().len(), world.snapshots().len()), (1, 1 + behind.len()));
}

fn revoke(rules: &[String]) -> String {
    format!("ec2 revoke_security_group_rules --security_group_rule_ids {}", rules.join(" "))
}

#[test]
fn rules_that_were_revoked_are_back_with_their_descriptions_and_tags() {
    let desk = Desk::new();
    let world = &desk.world;
    let (group, other) = (world.group("a"), world.group("b"));
    let ssh = [
        ("GroupId", group.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "22"),
        ("IpPermissions.1.ToPort", "22"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
        ("IpPermissions.1.IpRanges.1.Description", "for the office"),
        ("TagSpecification.1.ResourceType", "security-group-rule"),
        ("TagSpecification.1.Tag.1.Key", "Owner"),
        ("TagSpecification.1.Tag.1.Value", "payments"),
    ];
    world.ec2("AuthorizeSecurityGroupIngress", &ssh);
    let named = [("GroupId", group.as_str()), ("IpPermissions.1.IpProtocol", "-1"), ("IpPermissions.1.Groups.1.GroupId", other.as_str())];
    world.ec2("AuthorizeSecurityGroupIngress", &named);
    // The third is the outbound rule that each group begins with.
    let (before, ids) = (world.describe_rules(&group), world.rules(&group));
    desk.aaws(&revoke(&ids)).run().ok();
    assert_eq!(world.rules(&group), [""; 0]);

    let undone = desk.aaws("undo").run().ok();
    assert!(outcomes(&undone).len() == 3 && outcomes(&undone).iter().all(|(_, status, _)| status == "done"), "{undone}");
    assert_eq!(world.describe_rules(&group), before);
    // Undone in its turn, which closes what was open again.
    let undo = desk.log()[0]["id"].as_str().expect("an id").to_owned();
    desk.aaws(&format!("undo {undo}")).run().ok();
    assert_eq!(world.rules(&group), [""; 0]);
}

#[test]
fn a_rule_that_somebody_added_again_stays_and_one_of_a_group_that_is_gone_does_not_come_back() {
    let desk = Desk::new();
    let world = &desk.world;
    let (group, gone, kept) = (world.group("a"), world.group("b"), world.group("c"));
    let rules = [&group, &gone, &kept].map(|group| world.rule(group, "22", "0.0.0.0/0"));
    desk.aaws(&revoke(&rules)).run().ok();
    let added = world.rule(&group, "22", "0.0.0.0/0");
    world.ec2("DeleteSecurityGroup", &[("GroupId", &gone)]);
    world.tag(&kept, "aaws:protect", "");
    let undone = desk.aaws("undo").run().exits(3);
    let expected =
        [outcome(&rules[2], "skipped", "Protected"), outcome(&rules[1], "skipped", "Irreversible"), outcome(&rules[0], "unchanged", "")];
    assert_eq!(outcomes(&undone), expected);
    assert!(world.rules(&group).contains(&added));
}

#[test]
fn a_rule_is_put_back_though_nobody_heard_that_it_was_revoked() {
    let desk = Desk::new();
    let world = &desk.world;
    let group = world.group("a");
    let before = world.describe_rules(&group);
    let rules = ["22", "80"].map(|port| world.rule(&group, port, "0.0.0.0/0"));
    let open = world.describe_rules(&group);
    let server = world.proxy().losing("RevokeSecurityGroupIngress").start();
    desk.aaws(&revoke(&rules)).endpoint(&server.url).run().ok();
    assert_eq!(world.describe_rules(&group), before);
    desk.aaws("undo").run().ok();
    assert_eq!(world.describe_rules(&group), open);
}

#[test]
fn a_rule_that_was_not_revoked_after_all_and_was_by_somebody_else_later_does_not_come_back() {
    let desk = Desk::new();
    let world = &desk.world;
    let group = world.group("a");
    let before = world.rules(&group);
    let rule = world.rule(&group, "22", "0.0.0.0/0");
    let server = world.proxy().refuse("RevokeSecurityGroupIngress", 403, "UnauthorizedOperation").start();
    desk.aaws(&revoke(std::slice::from_ref(&rule))).endpoint(&server.url).run().exits(3);
    world.ec2("RevokeSecurityGroupIngress", &[("GroupId", &group), ("SecurityGroupRuleId.1", &rule)]);
    assert_eq!(desk.aaws("undo").run().ok().json(), json!([]));
    assert_eq!(world.rules(&group), before, "what nobody wants open is not opened");
}

#[test]
fn a_rule_is_put_back_without_its_tags_rather_than_not_at_all() {
    let desk = Desk::new();
    let world = &desk.world;
    let group = world.group("a");
    let rules = [world.rule(&group, "22", "0.0.0.0/0")];
    let open = world.describe_rules(&group);
    world.tag(&rules[0], "Owner", "payments");
    desk.aaws(&revoke(&rules)).run().ok();
    let rule = |_: usize, request: &mut crate::support::http::Request| {
        request.text().contains("TagSpecification").then(|| crate::support::proxy::error(request, 403, "UnauthorizedOperation"))
    };
    let server = world.proxy().rule("AuthorizeSecurityGroupIngress", rule).start();
    desk.aaws("undo").endpoint(&server.url).run().exits(3).logs("without its tags");
    assert_eq!(world.describe_rules(&group), open);
}

#[test]
fn default_encryption_is_set_as_it_was() {
    let desk = Desk::new();
    let key = desk.world.key();
    let setting = || desk.aaws("ec2 discover_default_ebs_encryption").run().ok().json();
    let before = setting();
    desk.aaws(&format!("ec2 modify_default_ebs_encryption --enable --change_kms_key --kms_key_id {key}")).run().ok();
    assert_ne!(setting(), before);
    desk.aaws("undo").run().ok();
    assert_eq!(setting(), before);
}

#[test]
fn snapshots_that_were_made_are_deleted_and_somebody_is_asked_first() {
    let desk = Desk::new();
    let (one, other) = (desk.world.volume(&[]), desk.world.volume(&[]));
    desk.aaws(&format!("ec2 create_snapshots --volume_ids {one} {other}")).run().ok();
    assert_eq!(desk.world.snapshots().len(), 2);
    desk.aaws("undo").on_terminal("n").exits(4);
    assert_eq!(desk.world.snapshots().len(), 2);
    desk.aaws("undo").on_terminal("y").exits(0);
    assert_eq!(desk.world.snapshots(), [""; 0]);
}

#[test]
fn a_default_key_that_somebody_set_since_is_left_alone() {
    let desk = Desk::new();
    let set = |key: &str, more: &str| {
        let line = format!("ec2 modify_default_ebs_encryption --enable --change_kms_key --kms_key_id {key} {more}");
        desk.aaws(&line).run().ok();
    };
    set(&desk.world.key(), "");
    set(&desk.world.key(), "--no_journal");
    let theirs = desk.aaws("ec2 discover_default_ebs_encryption").run().ok().json();
    let undone = desk.aaws("undo").run().exits(3).logs("the default key was changed since");
    assert_eq!(outcomes(&undone), [outcome("us-east-1", "skipped", "Changed")]);
    assert_eq!(desk.aaws("ec2 discover_default_ebs_encryption").run().ok().json(), theirs);
}

#[test]
fn images_that_were_made_go_with_their_snapshots() {
    let desk = Desk::new();
    let world = &desk.world;
    let (mine, theirs) = (world.instance(&[]), world.instance(&[]));
    let made = desk.aaws(&format!("ec2 create_images --instance_ids {} {}", mine.id, theirs.id)).run().ok().json();
    let images: Vec<&str> = made.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let [image, gone] = images[..] else { panic!("{made}") };
    desk.aaws("undo").on_terminal("n").exits(4);
    assert_eq!((world.images().len(), world.snapshots().len()), (2, 2));

    // Somebody is faster with one of them, and keeps what is behind it.
    world.ec2("DeregisterImage", &[("ImageId", gone)]);
    let undone = desk.aaws("undo").run().ok();
    assert_eq!(outcomes(&undone), [outcome(&theirs.id, "unchanged", ""), outcome(&mine.id, "done", "")]);
    assert!(undone.stdout.contains(image), "{undone}");
    assert_eq!(world.images(), [""; 0]);
    assert_eq!(world.snapshots().len(), 1);
}

#[test]
fn copies_of_snapshots_are_deleted_in_their_own_region() {
    let desk = Desk::new();
    let world = &desk.world;
    let (one, other) = (world.snapshot(&world.volume(&[])), world.snapshot(&world.volume(&[])));
    let before = world.snapshots();
    let made = desk.aaws(&format!("ec2 copy_snapshots --snapshot_ids {one} {other} --target_region us-west-2")).run().ok().json();
    let there = || desk.aaws("ec2 discover_snapshots --region us-west-2").run().ok().json();
    assert_eq!(there().as_array().map(Vec::len), Some(2));
    let gone = made[1].as_str().expect("a copy");
    desk.aaws(&format!("ec2 delete_snapshots --snapshot_ids {gone} --region us-west-2 --no_journal")).run().ok();

    let undone = desk.aaws("undo").run().ok();
    assert_eq!(outcomes(&undone), [outcome(&other, "unchanged", ""), outcome(&one, "done", "")]);
    assert_eq!(there(), json!([]));
    assert_eq!(world.snapshots(), before, "the originals are nobody's copies");
}

/// Two groups whose rules name each other; the rules have tags.
fn circle(world: &World) -> (String, String) {
    let (one, other) = (world.group("one"), world.group("other"));
    for (group, named) in [(&one, &other), (&other, &one)] {
        let rule = [
            ("GroupId", group.as_str()),
            ("IpPermissions.1.IpProtocol", "-1"),
            ("IpPermissions.1.Groups.1.GroupId", named.as_str()),
            ("TagSpecification.1.ResourceType", "security-group-rule"),
            ("TagSpecification.1.Tag.1.Key", "Owner"),
            ("TagSpecification.1.Tag.1.Value", "payments"),
        ];
        world.ec2("AuthorizeSecurityGroupIngress", &rule);
    }
    (one, other)
}

#[test]
fn a_rule_that_a_killed_run_took_away_is_put_back() {
    let desk = Desk::new();
    let world = &desk.world;
    let (one, other) = circle(world);
    let line = format!("ec2 delete_security_groups --security_group_ids {one} {other}");
    let tagged_rules = || world.ec2("DescribeSecurityGroupRules", &[]).matches("payments").count();
    assert_eq!(tagged_rules(), 2);
    // Its rule is gone, and the group that it names is still there.
    let trap = Trap::new(&world.proxy().start().url, 1, Moment::Before, |operation| operation == "DeleteSecurityGroup");
    trap.kill(world.aaws_via(&trap.server, &line).env("XDG_STATE_HOME", desk.state.path()).start());
    assert_eq!(tagged_rules(), 1);

    desk.aaws("undo").run().ok();
    assert_eq!((tagged_rules(), world.groups().len()), (2, 2));
    // What was deleted to the end has no way back.
    desk.aaws(&line).run().ok();
    desk.aaws("undo").run().exits(4).silent().logs("nothing of the run");
}

#[test]
fn a_rule_that_somebody_put_back_since_is_left_as_it_is() {
    let desk = Desk::new();
    let world = &desk.world;
    let (one, other) = circle(world);
    let line = format!("ec2 delete_security_groups --security_group_ids {one} {other}");
    let trap = Trap::new(&world.proxy().start().url, 1, Moment::Before, |operation| operation == "DeleteSecurityGroup");
    trap.kill(world.aaws_via(&trap.server, &line).env("XDG_STATE_HOME", desk.state.path()).start());
    let revoked = trap.server.requests("RevokeSecurityGroupIngress");
    let parameter = |name: &str| revoked[0].parameter(name).expect("it is in the request");
    let (group, named) = (parameter("GroupId"), parameter("IpPermissions.1.Groups.1.GroupId"));
    let rule = [("GroupId", group.as_str()), ("IpPermissions.1.IpProtocol", "-1"), ("IpPermissions.1.Groups.1.GroupId", named.as_str())];
    world.ec2("AuthorizeSecurityGroupIngress", &rule);

    let server = world.proxy().start();
    let undone = desk.aaws("undo").endpoint(&server.url).run().ok();
    assert_eq!(outcomes(&undone), [outcome(&named, "unchanged", "")]);
    assert_eq!(crate::support::ec2::writes(&server), [""; 0]);
}

#[test]
fn a_swap_is_undone_and_its_copies_are_kept() {
    let desk = Desk::new();
    let world = &desk.world;
    let machine = world.instance(&[]);
    let (before, tags) = (world.attached(&machine.id), world.tags(&machine.root));
    desk.aaws(&format!("ec2 encrypt_instance_volumes --instance_id {} --kms_key_id {}", machine.id, world.key())).run().ok();
    let swapped = world.attached(&machine.id);
    assert_ne!(swapped, before);

    let undone = desk.aaws("undo").run().ok();
    assert!(undone.stdout.contains("is kept, detached"), "{undone}");
    assert_eq!(world.attached(&machine.id), before);
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    assert_eq!(world.tags(&machine.root), tags);
    let copy = &swapped[0].1;
    assert_eq!(world.volume_state(copy).as_deref(), Some("available"), "what was written since is there");
}

#[test]
fn a_swap_whose_copy_was_moved_since_is_left_alone() {
    let desk = Desk::new();
    let world = &desk.world;
    let machine = world.instance(&[]);
    world.stop(&machine.id);
    let line = format!("ec2 encrypt_volume --volume_id {} --kms_key_id {}", machine.root, world.key());
    let copy = desk.aaws(&line).run().ok().json().as_str().expect("the copy").to_owned();
    world.ec2("DetachVolume", &[("VolumeId", &copy), ("InstanceId", &machine.id)]);
    let server = world.proxy().start();
    let undone = desk.aaws("undo").endpoint(&server.url).run().exits(3);
    assert_eq!(outcomes(&undone), [outcome(&machine.root, "skipped", "Changed")]);
    assert_eq!(crate::support::ec2::writes(&server), [""; 0]);
}

#[test]
fn what_a_killed_run_never_heard_of_is_unknown_and_all_else_is_undone() {
    let desk = Desk::new();
    let (one, other) = (desk.world.volume(&[]), desk.world.volume(&[]));
    desk.aaws(&format!("ec2 modify_tags --resource_ids {one} {other} --tags Env=test --create")).run().ok();
    // As if it had been killed when the step of the first was noted, and not that of the second.
    let id = desk.log()[0]["id"].as_str().expect("an id").to_owned();
    let file = desk.state.path().join(format!("aaws/journal/{id}.jsonl"));
    let text = fs::read_to_string(&file).expect("the journal");
    let first_step = text.lines().position(|line| line.contains("\"kind\":\"step\"")).expect("a step");
    fs::write(&file, text.lines().take(first_step + 1).map(|line| format!("{line}\n")).collect::<String>()).expect("it is cut");

    let undone = desk.aaws("undo").run().exits(3).logs("cannot be undone");
    assert_eq!(outcomes(&undone), [outcome(&other, "skipped", "Unknown"), outcome(&one, "done", "")]);
    assert!(undone.stdout.contains("what became of it is not known"), "{undone}");
    assert!(desk.world.tags(&one).is_empty() && desk.world.tags(&other).len() == 1);
    // Nobody will ever know more of it: the run does not stand in the way of the next one.
    desk.aaws("undo").run().exits(2).logs("no run that could be undone");
}

#[test]
fn a_run_on_one_endpoint_is_not_undone_on_another() {
    let desk = Desk::new();
    let volume = desk.world.volume(&[]);
    desk.aaws(&format!("ec2 modify_tags --resource_ids {volume} --tags Env=test --create")).run().ok();
    let elsewhere = desk.aaws("undo").endpoint("https://ec2.example.invalid").run().exits(4).silent();
    elsewhere.logs("and this would be on `https://ec2.example.invalid`");
    assert_eq!(desk.world.tags(&volume).len(), 1);
}

#[test]
fn a_run_of_another_account_is_not_undone() {
    let (desk, stranger) = (Desk::new(), World::new());
    let volume = desk.world.volume(&[]);
    desk.aaws(&format!("ec2 modify_tags --resource_ids {volume} --tags Env=test --create")).run().ok();
    let refused = stranger.aaws("undo").env("XDG_STATE_HOME", desk.state.path()).run().exits(4).silent();
    refused.logs("these credentials are of the account");
    desk.aaws("undo --region eu-west-1").run().exits(4).silent().logs("would be in eu-west-1");
    assert_eq!(desk.world.tags(&volume).len(), 1);
    // In its own account and region it still can be.
    desk.aaws("undo").run().ok();
    assert_eq!(desk.world.tags(&volume), []);
}

#[test]
#[cfg(feature = "iam")]
fn access_keys_have_the_status_that_they_had() {
    let desk = Desk::new();
    let account = &desk.world.account;
    account.iam("CreateUser", &[("UserName", "alice")]);
    let made = account.iam("CreateAccessKey", &[("UserName", "alice")]);
    let key = crate::support::xml::texts(&made, "AccessKeyId").remove(0);
    let aaws = |line: &str| account.aaws(line).env("XDG_STATE_HOME", desk.state.path());
    let status = || crate::support::xml::texts(&account.iam("ListAccessKeys", &[("UserName", "alice")]), "Status");
    aaws(&format!("iam modify_access_keys --key {key} alice --disable")).run().ok();
    assert_eq!(status(), ["Inactive"]);
    let undone = aaws("undo").run().ok();
    assert_eq!(outcomes(&undone), [outcome(&key, "done", "")]);
    assert_eq!(status(), ["Active"]);

    // Somebody deleted it meanwhile.
    aaws(&format!("iam modify_access_keys --key {key} alice --disable")).run().ok();
    account.iam("DeleteAccessKey", &[("UserName", "alice"), ("AccessKeyId", &key)]);
    assert_eq!(outcomes(&aaws("undo").run().exits(3)), [outcome(&key, "skipped", "Changed")]);
}

#[test]
#[cfg(feature = "iam")]
fn a_quarantine_is_lifted_but_for_the_password() {
    let desk = Desk::new();
    let account = &desk.world.account;
    account.iam("CreateUser", &[("UserName", "alice")]);
    account.iam("CreateAccessKey", &[("UserName", "alice")]);
    account.iam("CreateLoginProfile", &[("UserName", "alice"), ("Password", "a-Very-l0ng-one")]);
    let aaws = |line: &str| account.aaws(line).env("XDG_STATE_HOME", desk.state.path());
    let keeps = "--keep_service_credentials --keep_ssh_keys --keep_signing_certificates";
    aaws(&format!("iam quarantine_user --user alice {keeps}")).run().ok();
    aaws("undo").run().exits(3).logs("cannot be brought back");
    let listed = |action: &str, name: &str| crate::support::xml::texts(&account.iam(action, &[("UserName", "alice")]), name);
    assert_eq!(listed("ListAccessKeys", "Status"), ["Active"]);
    assert_eq!(listed("ListUserPolicies", "member"), [""; 0]);
}

#[test]
#[cfg(feature = "iam")]
fn what_somebody_changed_of_a_quarantine_is_left_alone() {
    const DENY_ALL: &str = "aaws-quarantine-deny-all";
    let desk = Desk::new();
    let account = &desk.world.account;
    account.iam("CreateUser", &[("UserName", "alice")]);
    account.iam("CreateAccessKey", &[("UserName", "alice")]);
    let aaws = |line: &str| account.aaws(line).env("XDG_STATE_HOME", desk.state.path());
    let keeps = "--keep_service_credentials --keep_ssh_keys --keep_signing_certificates";
    aaws(&format!("iam quarantine_user --user alice {keeps}")).run().ok();
    let theirs = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}"#;
    account.iam("PutUserPolicy", &[("UserName", "alice"), ("PolicyName", DENY_ALL), ("PolicyDocument", theirs)]);

    let undone = aaws("undo").run().exits(3).logs("was changed since");
    let left: Vec<_> = outcomes(&undone).into_iter().filter(|(_, status, _)| status == "skipped").collect();
    assert_eq!(left, [outcome("alice: deny", "skipped", "Changed")], "{undone}");
    let listed = |action: &str, name: &str| crate::support::xml::texts(&account.iam(action, &[("UserName", "alice")]), name);
    assert_eq!(listed("ListAccessKeys", "Status"), ["Active"]);
    assert_eq!(listed("ListUserPolicies", "member"), [DENY_ALL]);
}

/// Users whose console access is changed, behind a server that has the policy `IAMUserChangePassword`.
#[cfg(feature = "iam")]
struct Console {
    account: Account,
    server: crate::support::Server,
    state: tempfile::TempDir,
}

#[cfg(feature = "iam")]
impl Console {
    fn new(users: &[&str]) -> Self {
        let account = Account::fresh();
        users.iter().for_each(|user| drop(account.iam("CreateUser", &[("UserName", user)])));
        let server = crate::iam_modify::console(crate::iam_modify::plain(), &account);
        Console { account, server, state: directory() }
    }

    fn aaws(&self, line: &str) -> Aaws {
        let run = self.account.aaws(line).endpoint(&self.server.url).env("XDG_STATE_HOME", self.state.path());
        // One user after another, so that the journal has them in that order.
        run.env("NEW", "correct-horse").args(["--concurrency", "1"])
    }

    /// Whether a user has a password, and may change it.
    fn access(&self, user: &str) -> (bool, bool) {
        let policies = crate::iam_modify::attached(&self.account, user);
        (crate::iam_modify::has_password(&self.account, user), policies == ["IAMUserChangePassword"])
    }
}

#[test]
#[cfg(feature = "iam")]
fn console_passwords_that_were_created_are_deleted_again() {
    let console = Console::new(&["alice", "bob"]);
    console.aaws("iam modify_users_console_access --user alice env:NEW --user bob env:NEW --enable").run().ok();
    assert_eq!([console.access("alice"), console.access("bob")], [(true, true); 2]);
    // Somebody took bob's away meanwhile.
    console.aaws("iam modify_users_console_access --user bob --disable --no_journal").run().ok();

    console.aaws("undo").on_terminal("n").exits(4);
    assert_eq!(console.access("alice"), (true, true));
    let undone = console.aaws("undo").run().ok();
    assert_eq!(outcomes(&undone), [outcome("bob", "unchanged", ""), outcome("alice", "done", "")]);
    assert_eq!([console.access("alice"), console.access("bob")], [(false, false); 2]);
}

#[test]
#[cfg(feature = "iam")]
fn console_passwords_that_were_deleted_are_gone_and_it_is_said() {
    let console = Console::new(&["alice", "bob"]);
    console.aaws("iam modify_users_console_access --user alice env:NEW --user bob env:NEW --enable --no_journal").run().ok();
    console.aaws("iam modify_users_console_access --user alice --user bob --disable").run().ok();
    assert_eq!([console.access("alice"), console.access("bob")], [(false, false); 2]);
    // Somebody gave bob another one meanwhile, and nothing to change it with.
    console.account.iam("CreateLoginProfile", &[("UserName", "bob"), ("Password", "battery-staple")]);

    let undone = console.aaws("undo").run().exits(3).logs("was given a console password since").logs("gone for good");
    assert_eq!(outcomes(&undone), [outcome("bob", "skipped", "Changed"), outcome("alice", "skipped", "Irreversible")]);
    assert_eq!([console.access("alice"), console.access("bob")], [(false, true), (true, false)]);
}
