//! Creating snapshots and images, copying and sharing snapshots: what was made is always named, however it ends; with which key it is
//! encrypted; and how many copies are pending at once.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::aaws::Aaws;
use crate::support::ec2::{World, writes};
use crate::support::http::{self, Request};
use crate::support::proxy::error;
use crate::support::{Response, Server, aaws, directory, report, xml};

const OTHER: &str = "111122223333";

/// The ids that were made, in the order in which EC2 made them; filled by a rewrite.
#[derive(Clone, Default)]
struct MadeIds(Arc<Mutex<Vec<String>>>);

impl MadeIds {
    /// Notes what an answer says was made, and gives the answer back.
    fn note(&self, answer: String) -> String {
        let id = xml::texts(&answer, "snapshotId").into_iter().next().expect("an id");
        self.0.lock().expect("no test panics with it").push(id);
        answer
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().expect("no test panics with it").clone()
    }
}

/// A list of snapshots in which those that are meant have another state.
fn with_state(list: &str, state: &str, is_meant: impl Fn(&str) -> bool) -> String {
    let changed = |item: &str| item.replace("<status>completed</status>", &format!("<status>{state}</status>"));
    list.split_inclusive("</item>").map(|item| if is_meant(item) { changed(item) } else { item.to_owned() }).collect()
}

/// An enabled key of the account in another region.
fn key_in(world: &World, region: &str) -> String {
    let scope = format!("{}/20260101/{region}/kms/aws4_request", world.account.access_key);
    let request = Request::new("POST", "/", b"{}")
        .with_header("Authorization", &format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"))
        .with_header("X-Amz-Date", "20260101T000000Z")
        .with_header("X-Amz-Security-Token", &world.account.token)
        .with_header("Content-Type", "application/x-amz-json-1.1")
        .with_header("X-Amz-Target", "TrentService.CreateKey");
    let made: Value = serde_json::from_slice(&http::send(world.account.endpoint, &request).expect("moto answers").body).expect("JSON");
    made["KeyMetadata"]["KeyId"].as_str().expect("an id").to_owned()
}

/// The report's line on an item.
fn line_of<'a>(lines: &'a [Value], item: &str) -> &'a Value {
    lines.iter().find(|line| line["item"] == item).unwrap_or_else(|| panic!("{item} is not in {lines:?}"))
}

// --- Creating snapshots ---

#[test]
fn a_snapshot_that_ends_in_an_error_loses_no_other() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    world.tag(&a, "Env", "prod");
    world.tag(&a, "aws:x", "y");
    let bad = b.clone();
    let server = world.proxy().rewrite("DescribeSnapshots", move |_, list| with_state(&list, "error", |item| item.contains(&bad))).start();
    let output = world.aaws_via(&server, format!("ec2 create_snapshots --volume_ids {a} {b} --details")).run().exits(3);
    let rows = output.json();
    assert_eq!((&rows[0]["Status"], &rows[1]["Status"]), (&json!("done"), &json!("failed")));
    assert!(rows[1]["Id"].as_str().is_some_and(|id| id.starts_with("snap-")), "the one that failed is in hand, too: {rows}");
    let tags = world.tags(rows[0]["Id"].as_str().unwrap_or_default());
    assert_eq!(tags, [("Env".to_owned(), "prod".to_owned()), ("Name".to_owned(), format!("source:{a}"))]);
}

#[test]
fn a_wait_that_ends_names_what_was_begun() {
    let world = World::new();
    let volume = world.volume(&[]);
    let server = world.proxy().rewrite("DescribeSnapshots", |_, xml| xml.replace("<status>completed", "<status>pending")).start();
    let output = world.aaws_via(&server, format!("ec2 create_snapshots --volume_ids {volume} --timeout 4s")).run().exits(1);
    assert!(output.stderr.contains(&world.snapshots()[0]), "{output}");
    // Who does not want to wait has the id at once.
    let output = world.aaws_via(&server, format!("ec2 create_snapshots --volume_ids {volume} --no_wait")).run().ok();
    assert!(world.snapshots().contains(&output.json()[0].as_str().unwrap_or_default().to_owned()), "{output}");
}

#[test]
fn snapshots_are_all_begun_before_one_is_awaited_and_awaited_over_all_pages() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    world.tag(&a, "Name", "database");
    let made = MadeIds::default();
    let (noted, seen) = (made.clone(), made.clone());
    let server = world
        .proxy()
        .rewrite("CreateSnapshot", move |_, answer| noted.note(answer))
        .rule("DescribeSnapshots", move |_, request| {
            let second = request.parameter("NextToken").is_some();
            let item = format!("<item><snapshotId>{}</snapshotId><status>completed</status></item>", seen.all()[usize::from(second)]);
            let token = if second { "" } else { "<nextToken>more</nextToken>" };
            let answer = format!("<DescribeSnapshotsResponse><snapshotSet>{item}</snapshotSet>{token}</DescribeSnapshotsResponse>");
            Some(Response::xml(200, answer))
        })
        .start();
    let output = world.aaws_via(&server, format!("ec2 create_snapshots --volume_ids {a} {b} --details")).run().ok();
    // The journal says in which account it can be undone.
    let asked = ["DescribeVolumes", "GetCallerIdentity", "CreateSnapshot", "CreateSnapshot", "DescribeSnapshots", "DescribeSnapshots"];
    assert_eq!(server.operations(), asked);
    let of_a = output.json()[0]["Id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(world.tags(&of_a), [("Name".to_owned(), format!("source:{a}"))], "the volume's own name gives way");
}

#[test]
fn a_snapshot_that_comes_too_soon_is_tried_again_and_one_that_is_denied_is_not() {
    let world = World::new();
    let (good, bad) = (world.volume(&[]), world.volume(&[]));
    let server = world.proxy().fail("CreateSnapshot", 1, 400, "SnapshotCreationPerVolumeRateExceeded").start();
    let output = world.aaws_via(&server, format!("ec2 create_snapshots --volume_ids {good}")).run().ok();
    assert_eq!((server.count("CreateSnapshot"), output.json()), (2, json!(world.snapshots())));

    let denied = format!("VolumeId={bad}");
    let rule = move |_, request: &mut Request| request.text().contains(&denied).then(|| error(request, 403, "UnauthorizedOperation"));
    let server = world.proxy().rule("CreateSnapshot", rule).start();
    let output = world.aaws_via(&server, format!("ec2 create_snapshots --volume_ids {bad} {good} --details")).run().exits(3);
    let rows = output.json();
    assert_eq!(rows[0], json!({"SourceId": bad, "Status": "failed", "Code": "UnauthorizedOperation", "Message": rows[0]["Message"]}));
    assert_eq!((&rows[1]["SourceId"], &rows[1]["Status"]), (&json!(good), &json!("done")));
    assert_eq!(server.count("CreateSnapshot"), 2);
}

#[test]
fn credentials_that_are_no_good_end_the_run() {
    let world = World::new();
    let volumes: Vec<String> = (0..3).map(|_| world.volume(&[])).collect();
    let server = world.proxy().refuse("CreateSnapshot", 400, "ExpiredToken").start();
    world.aaws_via(&server, format!("ec2 create_snapshots --volume_ids {}", volumes.join(" "))).run().exits(5);
    assert_eq!(world.snapshots(), [""; 0]);
}

// --- Creating images ---

#[test]
fn images_have_the_tags_of_their_instances_and_need_none() {
    let world = World::new();
    let (tagged, plain) = (world.instance(&[]), world.instance(&[]));
    world.tag(&tagged.id, "Env", "prod");
    world.tag(&tagged.id, "aws:autoscaling:groupName", "web");
    let server = world.proxy().start();
    let output = world.aaws_via(&server, format!("ec2 create_images --instance_ids {} {}", tagged.id, plain.id)).run().ok();
    let images = output.json();
    let tags = |id: &Value| world.tags(id.as_str().unwrap_or_default());
    assert_eq!((tags(&images[0]), tags(&images[1])), (vec![("Env".to_owned(), "prod".to_owned())], vec![]));
    // The snapshots behind it, too.
    assert!(world.snapshots().iter().any(|s| world.tags(s) == [("Env".to_owned(), "prod".to_owned())]));
    let sent = server.requests("CreateImage");
    assert!(sent.iter().all(|r| r.text().contains("NoReboot=true")));
    let names: std::collections::HashSet<String> =
        sent.iter().map(|r| r.text().split('&').find(|p| p.starts_with("Name=")).unwrap_or_default().to_owned()).collect();
    assert_eq!(names.len(), 2, "names are unlike each other");
}

#[test]
fn a_plan_says_what_becomes_of_the_instance() {
    let world = World::new();
    let (runs, stopped) = (world.instance(&[]), world.instance(&[]));
    world.stop(&stopped.id);
    let line = format!("ec2 create_images --instance_ids {} {}", runs.id, stopped.id);
    let plan = world.aaws(format!("{line} --dry_run")).run().ok().json();
    let says = |at: usize, word: &str| plan[at]["message"].as_str().is_some_and(|m| m.contains(word));
    assert!(says(0, "crash-consistent") && !says(1, "crash-consistent") && says(1, "stopped"), "{plan}");
    let server = world.proxy().start();
    let plan = world.aaws_via(&server, format!("{line} --reboot --dry_run")).run().ok().json();
    assert!(plan[0]["message"].as_str().is_some_and(|m| m.contains("rebooted")), "{plan}");
    world.aaws_via(&server, format!("{line} --reboot")).run().ok();
    let sent = server.requests("CreateImage");
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|r| r.parameter("NoReboot").as_deref() == Some("false")));
    assert!(sent.iter().filter_map(|r| r.parameter("Name")).all(|name| (3..=128).contains(&name.len())));
}

#[test]
fn who_would_reboot_an_instance_is_asked_and_nobody_else() {
    let world = World::new();
    let machine = world.instance(&[]);
    let server = world.proxy().start();
    let line = format!("ec2 create_images --instance_ids {}", machine.id);
    let asked = world.aaws_via(&server, format!("{line} --reboot")).on_terminal("n").exits(4);
    assert!(asked.stdout.contains("reboot") && asked.stdout.contains(&machine.id), "{asked}");
    assert_eq!(writes(&server), [""; 0]);
    let shown = world.aaws_via(&server, line).on_terminal("n").ok();
    assert!(!shown.stdout.contains("[y/N]"), "{shown}");
    assert_eq!(server.count("CreateImage"), 1);
}

#[test]
fn images_are_refused_where_ec2_makes_none() {
    let world = World::new();
    let gone = world.instance(&[]).id;
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone)]);
    let store = world.instance(&[]).id;
    for (id, on_store, code) in [(&gone, false, "IncorrectState"), (&store, true, "Unsupported")] {
        let rewrite = move |_, xml: String| if on_store { xml.replace(">ebs<", ">instance-store<") } else { xml };
        let server = world.proxy().rewrite("DescribeInstances", rewrite).start();
        for dry_run in ["", "--dry_run"] {
            let line = format!("ec2 create_images --instance_ids {id} {dry_run}");
            let output = world.aaws_via(&server, line).run().exits(3).logs(code).logs(id);
            assert_eq!(output.json(), json!([]));
        }
        assert_eq!(writes(&server), [""; 0]);
    }
}

#[test]
fn an_image_that_fails_is_told_with_its_reason() {
    let world = World::new();
    let machine = world.instance(&[]);
    for state in ["failed", "error", "invalid"] {
        let ended = format!("<imageState>{state}</imageState><stateReason><message>no space</message></stateReason>");
        let server =
            world.proxy().rewrite("DescribeImages", move |_, xml| xml.replace("<imageState>available</imageState>", &ended)).start();
        let line = format!("ec2 create_images --instance_ids {}", machine.id);
        let output = world.aaws_via(&server, line).run().exits(3).logs("no space").logs("ami-");
        assert_eq!(output.json(), json!([]), "{state}");
    }
}

#[test]
fn a_wait_for_images_that_ends_names_them() {
    let world = World::new();
    let machine = world.instance(&[]);
    let server = world.proxy().rewrite("DescribeImages", |_, xml| xml.replace(">available<", ">pending<")).start();
    let folder = directory();
    let line = format!("ec2 create_images --instance_ids {} --timeout 4s --report report.jsonl", machine.id);
    let output = world.aaws_via(&server, line).within(folder.path()).run().exits(1);
    assert_eq!(output.json(), json!([]));
    let message = line_of(&report(&folder), &machine.id)["message"].clone();
    assert!(message.as_str().is_some_and(|m| m.contains(&world.images()[0])), "{message}");
}

// --- Answers that are lost ---

#[test]
fn what_was_made_without_an_answer_is_found_and_not_made_again() {
    let world = World::new();
    let machine = world.instance(&[]);
    let before = world.snapshots();
    let line = format!("ec2 create_snapshots --volume_ids {}", machine.root);
    let server = world.proxy().losing("CreateSnapshot").start();
    let printed = world.aaws_via(&server, line).run().ok().json();
    let now: Vec<String> = world.snapshots().into_iter().filter(|s| !before.contains(s)).collect();
    assert_eq!((printed, server.count("CreateSnapshot"), now.len()), (json!(now), 1, 1));

    let line = format!("ec2 copy_snapshots --snapshot_ids {} --target_region us-east-1", now[0]);
    let server = world.proxy().losing("CopySnapshot").start();
    let printed = world.aaws_via(&server, line).run().ok().json();
    assert_eq!((server.count("CopySnapshot"), world.snapshots().len()), (1, before.len() + 2));
    assert!(world.snapshots().contains(&printed[0].as_str().unwrap_or_default().to_owned()), "{printed}");

    let server = world.proxy().losing("CreateImage").start();
    let printed = world.aaws_via(&server, format!("ec2 create_images --instance_ids {}", machine.id)).run().ok().json();
    assert_eq!((printed, server.count("CreateImage")), (json!(world.images()), 1));
    assert_eq!(world.images().len(), 1);
}

#[test]
fn what_may_have_been_made_is_named_by_what_it_is_found_by() {
    let world = World::new();
    let machine = world.instance(&[]);
    let server = world.proxy().losing("CreateSnapshot").refuse("DescribeSnapshots", 403, "UnauthorizedOperation").start();
    let line = format!("ec2 create_snapshots --volume_ids {}", machine.root);
    let output = world.aaws_via(&server, line).run().exits(3).logs("may be there all the same");
    let described = world.ec2("DescribeSnapshots", &[("SnapshotId.1", world.snapshots()[0].as_str())]);
    let description = xml::texts(&described, "description").remove(0);
    assert!(output.stderr.contains(&description), "{output}\n{description}");
}

#[test]
fn what_ec2_has_too_much_of_is_tried_again() {
    let world = World::new();
    let volume = world.volume(&[]);
    let server = world.proxy().fail("CreateSnapshot", 1, 400, "ConcurrentSnapshotLimitExceeded").start();
    world.aaws_via(&server, format!("ec2 create_snapshots --volume_ids {volume}")).run().ok();
    assert_eq!(server.count("CreateSnapshot"), 2);
    let server = world.proxy().fail("CopySnapshot", 1, 400, "ResourceLimitExceeded").start();
    let line = format!("ec2 copy_snapshots --snapshot_ids {} --target_region us-east-1", world.snapshots()[0]);
    world.aaws_via(&server, line).run().ok();
    assert_eq!(server.count("CopySnapshot"), 2);
}

// --- Copying: what is copied, and with which key ---

#[test]
fn copies_are_encrypted_with_the_default_key_or_one_of_the_target_region() {
    let world = World::new();
    let snapshot = world.snapshot(&world.volume(&[]));
    world.tag(&snapshot, "Env", "prod");
    let server = world.proxy().start();
    let line = format!("ec2 copy_snapshots --snapshot_ids {snapshot} --target_region us-west-2");
    world.aaws_via(&server, format!("{line} --encrypt --copy_tags")).run().ok();
    let sent = server.requests("CopySnapshot")[0].text();
    assert!(sent.contains("Encrypted=true") && !sent.contains("KmsKeyId") && sent.contains("Tag.1.Key=Env"), "{sent}");
    assert_eq!(server.requests("CopySnapshot")[0].signed_region(), Some("us-west-2"));
    assert!(!sent.contains("PresignedUrl"), "what is not encrypted needs none");
    // A key of the region that the copy leaves is of no use.
    world.aaws(format!("{line} --encrypt --kms_key_id {}", world.key())).run().exits(1).silent();
    world.aaws(format!("{line} --kms_key_id k")).run().exits(2).logs("encrypt");
    world.aaws(format!("{line} --pending_limit 0")).run().exits(2).logs("pending_limit");
    world.aaws(format!("ec2 copy_snapshots --snapshot_ids {snapshot}")).run().exits(2).logs("target_region");
    world.aaws("ec2 copy_snapshots --target_region us-west-2").run().exits(2).logs("snapshot_ids");
    // AWS's own tags are not ours to give, and an empty list of tags is refused.
    let managed = world.snapshot(&world.volume(&[]));
    world.tag(&managed, "aws:cloudformation:stack-name", "web");
    let server = world.proxy().start();
    world.aaws_via(&server, format!("ec2 copy_snapshots --snapshot_ids {managed} --target_region us-west-2 --copy_tags")).run().ok();
    assert!(!server.requests("CopySnapshot")[0].text().contains("TagSpecification"));
}

#[test]
fn a_target_that_is_no_region_is_refused_and_nothing_is_sent() {
    let world = World::new();
    let snapshot = world.snapshot(&world.volume(&[("Encrypted", "true")]));
    let server = world.proxy().start();
    for wrong in ["@host/#", "US-EAST-1", "us-west-2.example.com", "us-west-2/"] {
        let line = format!("ec2 copy_snapshots --snapshot_ids {snapshot} --encrypt --kms_key_id k --target_region {wrong}");
        world.aaws_via(&server, line).run().exits(2).silent().logs("`target_region`");
    }
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn an_encrypted_snapshot_leaves_its_region_by_a_signed_address() {
    let world = World::new();
    let snapshot = world.snapshot(&world.volume(&[("Encrypted", "true")]));
    let server = world.proxy().start();
    world.aaws_via(&server, format!("ec2 copy_snapshots --snapshot_ids {snapshot} --target_region us-west-2")).run().ok();
    let sent = server.requests("CopySnapshot")[0].text();
    let address = sent.split('&').find_map(|p| p.strip_prefix("PresignedUrl=")).expect("an address");
    let address = xml::percent_decode(address);
    assert!(address.starts_with("https://ec2.us-east-1.amazonaws.com/?Action=CopySnapshot"), "{address}");
    let source = format!("SourceSnapshotId={snapshot}");
    for part in
        ["SourceRegion=us-east-1", "DestinationRegion=us-west-2", &source, "X-Amz-Signature=", "X-Amz-Expires=3600", "us-east-1%2Fec2"]
    {
        assert!(address.contains(part), "no {part} in {address}");
    }
    // Within the region there is nothing to fetch.
    let server = world.proxy().start();
    world.aaws_via(&server, format!("ec2 copy_snapshots --snapshot_ids {snapshot} --target_region us-east-1")).run().ok();
    assert!(!server.requests("CopySnapshot")[0].text().contains("PresignedUrl"));
}

#[test]
fn a_key_is_looked_for_where_the_copies_are() {
    let world = World::new();
    let (snapshot, key) = (world.snapshot(&world.volume(&[("Encrypted", "true")])), key_in(&world, "us-west-2"));
    let line = format!("ec2 copy_snapshots --snapshot_ids {snapshot} --target_region us-west-2");
    let server = world.proxy().start();
    world.aaws_via(&server, format!("{line} --encrypt --kms_key_id {key}")).run().ok();
    assert_eq!(server.requests("DescribeKey")[0].signed_region(), Some("us-west-2"));
    let sent = &server.requests("CopySnapshot")[0];
    let arn = format!("arn:aws:kms:us-west-2:{}:key/{key}", world.account.id);
    assert_eq!(sent.parameter("KmsKeyId"), Some(arn.clone()));
    assert_eq!(sent.parameter("DestinationRegion").as_deref(), Some("us-west-2"));
    // The address says the same as the request that it is sent with.
    let address = Request::new("GET", &sent.parameter("PresignedUrl").expect("an address"), b"");
    let said = |name: &str| address.query(name);
    assert_eq!((said("KmsKeyId"), said("Encrypted").as_deref()), (Some(arn), Some("true")));
    assert_eq!(said("X-Amz-Security-Token"), Some(world.account.token.clone()));
    assert_eq!(said("X-Amz-Signature").map(|s| s.len()), Some(64));

    let server = world.proxy().start();
    world.aaws_via(&server, &line).run().ok();
    let sent = &server.requests("CopySnapshot")[0];
    let address = Request::new("GET", &sent.parameter("PresignedUrl").expect("an address"), b"");
    assert_eq!((sent.parameter("Encrypted"), address.query("Encrypted"), address.query("KmsKeyId")), (None, None, None));
}

#[test]
fn the_policy_lets_the_key_be_looked_at_where_it_is() {
    let scope = format!("--region us-east-1 --account {OTHER} --target_region us-west-2 --encrypt --kms_key_id k");
    let policy = aaws(format!("permissions ec2 copy_snapshots {scope}")).stranger().run().ok().json();
    let statements = policy["Statement"].as_array().expect("statements");
    let looking = statements.iter().find(|s| s["Action"] == json!(["kms:DescribeKey"])).expect("a statement for the key");
    assert_eq!(looking["Resource"], json!([format!("arn:aws:kms:us-west-2:{OTHER}:key/*")]));
}

#[test]
fn a_key_that_cannot_encrypt_is_refused_before_anything_is_copied() {
    let world = World::new();
    let (snapshot, key) = (world.snapshot(&world.volume(&[])), world.key());
    let line = format!("ec2 copy_snapshots --snapshot_ids {snapshot} --target_region us-east-1 --encrypt --kms_key_id {key}");
    for (good, bad) in [("\"KeyState\":\"Enabled\"", "\"KeyState\":\"Disabled\""), ("\"SYMMETRIC_DEFAULT\"", "\"RSA_2048\"")] {
        let server = world.proxy().rewrite("DescribeKey", move |_, text| text.replace(good, bad)).start();
        world.aaws_via(&server, &line).run().exits(2).silent().logs("kms_key_id");
        assert_eq!(writes(&server), [""; 0]);
    }
    world.aaws(&line).run().ok();
}

#[test]
fn what_is_not_complete_is_not_copied() {
    let world = World::new();
    let volume = world.volume(&[]);
    let (whole, half) = (world.snapshot(&volume), world.snapshot(&volume));
    for state in ["pending", "error"] {
        let meant = half.clone();
        let server = world
            .proxy()
            .rewrite("DescribeSnapshots", move |n, list| if n == 1 { with_state(&list, state, |item| item.contains(&meant)) } else { list })
            .start();
        let line = format!("ec2 copy_snapshots --snapshot_ids {half} {whole} --target_region us-west-2");
        let output = world.aaws_via(&server, line).run().exits(3).logs("IncorrectState");
        assert_eq!(output.json().as_array().map(Vec::len), Some(1), "{output}");
        let sent: Vec<_> = server.requests("CopySnapshot").iter().filter_map(|r| r.parameter("SourceSnapshotId")).collect();
        assert_eq!(sent, [whole.as_str()]);
    }
}

#[test]
fn a_snapshot_of_another_account_can_be_copied() {
    let world = World::new();
    // moto has the snapshots of public images.
    let shared = world.ec2("DescribeSnapshots", &[("Filter.1.Name", "owner-id"), ("Filter.1.Value.1", "137112412989")]);
    let shared = xml::texts(&shared, "snapshotId").into_iter().next().expect("a public snapshot");
    assert!(!world.snapshots().contains(&shared));
    let output = world.aaws(format!("ec2 copy_snapshots --snapshot_ids {shared} --target_region us-west-2")).run().ok();
    let own = world.aaws("ec2 discover_snapshots --region us-west-2").run().ok().json();
    assert_eq!(output.json(), own, "the copy is the account's own");
}

#[test]
fn public_snapshots_are_not_searched_for_what_is_to_be_copied() {
    let world = World::new();
    let own = world.snapshot(&world.volume(&[]));
    let shared = world.ec2("DescribeSnapshots", &[("Filter.1.Name", "owner-id"), ("Filter.1.Value.1", "137112412989")]);
    let shared = xml::texts(&shared, "snapshotId").into_iter().next().expect("a public snapshot");
    let server = world.proxy().start();
    let line = format!("ec2 copy_snapshots --snapshot_ids {shared} snap-0000000000000bad {own} --target_region us-west-2 --no_wait");
    let output = world.aaws_via(&server, line).run().exits(3).logs("snap-0000000000000bad");
    assert_eq!(output.json().as_array().map(Vec::len), Some(2));
    // By owner, or by ids; one that does not exist is split off.
    let asked = server.requests("DescribeSnapshots");
    let is_narrow = |r: &Request| r.parameter("Owner.1").is_some() || r.parameter("SnapshotId.1").is_some();
    assert!(asked.len() <= 4 && asked.iter().all(is_narrow), "{:?}", asked.iter().map(Request::text).collect::<Vec<_>>());
}

#[test]
fn a_copy_that_ends_in_an_error_is_no_copy() {
    let world = World::new();
    let volume = world.volume(&[]);
    let (a, b) = (world.snapshot(&volume), world.snapshot(&volume));
    let server = world
        .proxy()
        .fail("CopySnapshot", 1, 400, "InvalidParameterValue")
        .rewrite("DescribeSnapshots", |n, xml| {
            let failed = "<status>error</status><statusMessage>the key may not be used</statusMessage>";
            if n > 1 { xml.replace("<status>completed</status>", failed) } else { xml }
        })
        .start();
    let line =
        format!("ec2 copy_snapshots --snapshot_ids {a} {b} snap-0000000000000bad --target_region us-west-2 --concurrency 1 --details");
    let output = world.aaws_via(&server, &line).run().exits(3).logs("the key may not be used");
    let status: Vec<_> = output.json().as_array().expect("rows").iter().map(|r| r["Status"].clone()).collect();
    assert_eq!(status, ["failed", "failed", "failed"], "it is told which originals have no copy");
    let plain = world.aaws_via(&server, line.replace(" --details", "")).run().exits(3);
    assert_eq!(plain.json(), json!([]));
}

#[test]
fn an_error_while_waiting_loses_no_id() {
    let world = World::new();
    let snapshot = world.snapshot(&world.volume(&[]));
    let server =
        world.proxy().rule("DescribeSnapshots", |n, request| (n > 1).then(|| error(request, 403, "UnauthorizedOperation"))).start();
    let line = format!("ec2 copy_snapshots --snapshot_ids {snapshot} --target_region us-west-2 --details");
    let output = world.aaws_via(&server, line).run().exits(3);
    assert!(output.json()[0]["Id"].as_str().is_some_and(|id| id.starts_with("snap-")), "{output}");
    // Nor does one while waiting for a place.
    let other = world.snapshot(&world.volume(&[]));
    let server =
        world.proxy().rule("DescribeSnapshots", |n, request| (n > 1).then(|| error(request, 403, "UnauthorizedOperation"))).start();
    let line = format!("ec2 copy_snapshots --snapshot_ids {snapshot} {other} --target_region us-west-2 --details --pending_limit 1");
    let output = world.aaws_via(&server, line).run().exits(3);
    assert!(output.json()[0]["Id"].as_str().is_some_and(|id| id.starts_with("snap-")), "{output}");
}

// --- Copying: places for copies that are pending ---

#[test]
fn no_more_copies_are_pending_than_the_limit_says() {
    let world = World::new();
    let volume = world.volume(&[]);
    let snapshots: Vec<String> = (0..4).map(|_| world.snapshot(&volume)).collect();
    // The first copy is pending for three looks; until it is complete no other is begun.
    let server = world
        .proxy()
        .rewrite("DescribeSnapshots", |n, xml| if (2..5).contains(&n) { xml.replace("<status>completed", "<status>pending") } else { xml })
        .start();
    let line = format!("ec2 copy_snapshots --snapshot_ids {} --target_region us-west-2 --pending_limit 1", snapshots.join(" "));
    let output = world.aaws_via(&server, line).run().ok();
    assert_eq!(output.json().as_array().map(Vec::len), Some(4));
    let operations = server.operations();
    let first = operations.iter().position(|o| o == "CopySnapshot").unwrap_or_default();
    let next = operations[first + 1..].iter().position(|o| o == "CopySnapshot").unwrap_or_default();
    assert_eq!(next, 4, "{operations:?}");
}

#[test]
fn a_slow_copy_holds_up_no_other() {
    let world = World::new();
    let volume = world.volume(&[]);
    let snapshots: Vec<String> = (0..5).map(|_| world.snapshot(&volume)).collect();
    let made = MadeIds::default();
    let (noted, seen) = (made.clone(), made.clone());
    // The first copy is pending until all others are begun.
    let server = world
        .proxy()
        .rewrite("CopySnapshot", move |_, answer| noted.note(answer))
        .rewrite("DescribeSnapshots", move |_, list| match seen.all().as_slice() {
            [first, rest @ ..] if rest.len() < 4 => with_state(&list, "pending", |item| item.contains(first.as_str())),
            _ => list,
        })
        .start();
    let line = format!("ec2 copy_snapshots --snapshot_ids {} --target_region us-west-2", snapshots.join(" "));
    let output = world.aaws_via(&server, format!("{line} --pending_limit 2 --concurrency 2 --timeout 40s --details")).run().ok();
    let rows = output.json();
    let sources: Vec<_> = rows.as_array().expect("rows").iter().map(|row| row["SourceId"].as_str().unwrap_or_default()).collect();
    assert_eq!(sources, snapshots, "in the order given");
    assert_eq!(made.all().len(), 5);
}

#[test]
fn a_copy_that_ends_in_an_error_makes_place_for_the_next() {
    let world = World::new();
    let volume = world.volume(&[]);
    let (a, b) = (world.snapshot(&volume), world.snapshot(&volume));
    let made = MadeIds::default();
    let (noted, seen) = (made.clone(), made.clone());
    let server = world
        .proxy()
        .rewrite("CopySnapshot", move |_, answer| noted.note(answer))
        .rewrite("DescribeSnapshots", move |_, list| match seen.all().first() {
            Some(first) => with_state(&list, "error", |item| item.contains(first.as_str())),
            None => list,
        })
        .start();
    let line = format!("ec2 copy_snapshots --snapshot_ids {a} {b} --target_region us-west-2 --pending_limit 1");
    let output = world.aaws_via(&server, line).run().exits(3).logs("error");
    assert_eq!(output.json(), json!([made.all()[1]]), "only what is complete");
    assert!(output.stderr.contains(&made.all()[0]), "the other is named: {output}");
}

#[test]
fn the_limit_holds_for_copies_that_are_not_awaited_too() {
    let world = World::new();
    let volume = world.volume(&[]);
    let snapshots: Vec<String> = (0..3).map(|_| world.snapshot(&volume)).collect();
    let line = format!("ec2 copy_snapshots --snapshot_ids {} --target_region us-west-2 --no_wait", snapshots.join(" "));
    let pending = || {
        let proxy = world.proxy();
        proxy.rewrite("DescribeSnapshots", |n, list| if n > 1 { with_state(&list, "pending", |_| true) } else { list }).start()
    };
    let server = pending();
    let folder = directory();
    let limited = format!("{line} --pending_limit 2 --timeout 5s --report report.jsonl");
    let output = world.aaws_via(&server, limited).within(folder.path()).run().exits(1);
    assert_eq!(server.count("CopySnapshot"), 2, "{output}");
    assert_eq!(output.json().as_array().map(Vec::len), Some(2), "what was begun is in hand");
    let reported = report(&folder);
    let last = reported.iter().find(|line| line["item"] == snapshots[2].as_str()).expect("it is in the report");
    assert_eq!((&last["status"], &last["code"]), (&json!("skipped"), &json!("NotStarted")));
    // Where there is place for all, nobody looks what becomes of them.
    let server = pending();
    world.aaws_via(&server, &line).run().ok();
    assert_eq!((server.count("CopySnapshot"), server.count("DescribeSnapshots")), (3, 1));
}

// --- Sharing ---

/// A snapshot that a key of the account's own encrypts, and one that is not encrypted.
fn locked_and_plain(world: &World) -> (String, String) {
    let key = world.key();
    let locked = world.volume(&[("Encrypted", "true"), ("KmsKeyId", &key)]);
    (world.snapshot(&locked), world.snapshot(&world.volume(&[])))
}

fn share(world: &World, server: &Server, line: &str) -> Aaws {
    world.aaws_via(server, format!("ec2 share_snapshots --target_account {OTHER} --snapshot_ids {line}"))
}

#[test]
fn sharing_is_checked_done_and_ended() {
    let world = World::new();
    let snapshot = world.snapshot(&world.volume(&[]));
    let line = format!("ec2 share_snapshots --snapshot_ids {snapshot} --target_account");
    for account in ["12345", "11112222333x", "1111222233334"] {
        world.aaws(format!("{line} {account}")).run().exits(2).logs("twelve digits");
    }
    let shared =
        |world: &World| world.ec2("DescribeSnapshotAttribute", &[("SnapshotId", &snapshot), ("Attribute", "createVolumePermission")]);
    assert_eq!(world.aaws(format!("{line} 111122223333")).run().ok().json(), json!([snapshot]));
    assert!(shared(&world).contains("111122223333"));
    let server = world.proxy().start();
    assert_eq!(world.aaws_via(&server, format!("{line} 111122223333")).run().ok().json(), json!([]));
    assert_eq!(writes(&server), [""; 0], "already in the requested state");
    assert_eq!(world.aaws(format!("{line} 111122223333 --unshare")).run().ok().json(), json!([snapshot]));
    assert!(!shared(&world).contains("111122223333"));
}

#[test]
fn what_the_aws_managed_key_encrypts_cannot_be_shared() {
    let world = World::new();
    let snapshot = world.snapshot(&world.volume(&[("Encrypted", "true")]));
    let server = world.proxy().rewrite("DescribeKey", |_, text| text.replace("\"CUSTOMER\"", "\"AWS\"")).start();
    let line = format!("ec2 share_snapshots --snapshot_ids {snapshot} --target_account 111122223333");
    world.aaws_via(&server, line).run().exits(3).logs("AWS managed key");
    assert_eq!(writes(&server), [""; 0]);
}

#[test]
fn a_key_that_cannot_be_looked_at_keeps_nobody_from_sharing_and_is_told() {
    for code in ["AccessDeniedException", "NotFoundException"] {
        let world = World::new();
        let (locked, plain) = locked_and_plain(&world);
        let server = world.proxy().refuse("DescribeKey", 400, code).start();
        let folder = directory();
        let line = format!("{locked} {plain} --report report.jsonl");
        let output = share(&world, &server, &line).within(folder.path()).run().ok();
        assert_eq!(output.json(), json!([locked, plain]));
        let lines = report(&folder);
        assert!(line_of(&lines, &locked)["message"].as_str().is_some_and(|m| m.contains("key")), "{lines:?}");
        assert_eq!(line_of(&lines, &plain)["message"], Value::Null);
    }
}

#[test]
fn one_snapshot_that_cannot_be_shared_sinks_no_other() {
    let world = World::new();
    let (locked, plain) = locked_and_plain(&world);
    let denied = format!("SnapshotId={locked}");
    let rule = move |_, request: &mut Request| request.text().contains(&denied).then(|| error(request, 403, "UnauthorizedOperation"));
    let server = world.proxy().rule("ModifySnapshotAttribute", rule).start();
    let output = share(&world, &server, &format!("{locked} {plain}")).run().exits(3).logs("UnauthorizedOperation").logs(&locked);
    assert_eq!(output.json(), json!([plain]));
    let sent = server.requests("ModifySnapshotAttribute");
    let sent = sent.iter().find(|r| r.text().contains(&plain)).expect("a request");
    assert_eq!(sent.parameter("OperationType").as_deref(), Some("add"));
    assert_eq!(sent.parameter("UserId.1").as_deref(), Some(OTHER));
}

#[test]
fn whom_snapshots_are_shared_with_is_asked_of_all_at_once() {
    let world = World::new();
    let volume = world.volume(&[]);
    let snapshots: Vec<String> = (0..3).map(|_| world.snapshot(&volume)).collect();
    share(&world, &world.proxy().start(), &snapshots[1]).run().ok();
    // Shared with another account, which is no matter.
    world.aaws(format!("ec2 share_snapshots --target_account 444455556666 --snapshot_ids {}", snapshots[2])).run().ok();
    let server = world.proxy().start();
    let output = share(&world, &server, &snapshots.join(" ")).run().ok();
    assert_eq!(output.json(), json!([snapshots[0], snapshots[2]]));
    assert_eq!((server.count("DescribeSnapshots"), server.count("DescribeSnapshotAttribute")), (2, 0));
    let asked = &server.requests("DescribeSnapshots")[1];
    assert_eq!((asked.parameter("RestorableBy.1").as_deref(), asked.parameter("Owner.1").as_deref()), (Some(OTHER), Some("self")));
}

#[test]
fn a_source_that_does_not_exist_is_no_success_unless_it_need_not_be_there() {
    let world = World::new();
    for line in [
        "share_snapshots --target_account 111122223333 --snapshot_ids snap-0000000000000bad",
        "copy_snapshots --target_region us-west-2 --snapshot_ids snap-0000000000000bad",
        "create_snapshots --volume_ids vol-0000000000000bad",
        "create_images --instance_ids i-0000000000000bad",
    ] {
        assert_eq!(world.aaws(format!("ec2 {line}")).run().exits(3).logs("NotFound").json(), json!([]), "{line}");
        assert_eq!(world.aaws(format!("ec2 {line} --ignore_not_found")).run().ok().json(), json!([]), "{line}");
        let (flags, _) = line.rsplit_once(' ').expect("an id");
        world.aaws(format!("ec2 {flags}")).arg("").run().exits(2).silent();
    }
}

#[test]
fn what_is_not_shared_need_not_be_taken_back() {
    let world = World::new();
    let (locked, _) = locked_and_plain(&world);
    let server = world.proxy().start();
    let output = share(&world, &server, &format!("{locked} --unshare")).run().ok().logs("unchanged");
    assert_eq!(output.json(), json!([]));
    assert_eq!((writes(&server), server.count("DescribeKey")), (Vec::new(), 0), "no key matters to that");
}
