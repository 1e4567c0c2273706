//! What listings tell of a thing with `details`, and what becomes of that where it goes on to: an action that deletes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::ec2::{World, writes};
use crate::support::{Response, Server, aaws, directory, outcomes, report};

/// A listing, the member that names a thing, and the lists that read it.
const LISTINGS: [(&str, &str, &str); 6] = [
    ("discover_instances", "InstanceId", "delete_instances --instance_ids"),
    ("discover_no_ssm_instances", "InstanceId", "delete_instances --instance_ids"),
    ("discover_volumes", "VolumeId", "delete_volumes --volume_ids"),
    ("discover_snapshots", "SnapshotId", "delete_snapshots --snapshot_ids"),
    ("discover_images", "ImageId", "delete_images --image_ids"),
    ("discover_unused_security_groups", "GroupId", "delete_security_groups --security_group_ids"),
];

const TAGS: &str = "discover_tags --resource_types volume instance --tags Env --missing";

/// Several of each, with and without what may be told of them.
fn several() -> World {
    let world = World::new();
    let (one, _) = (world.instance(&[]), world.instance(&[]));
    let (attached, secret) = (world.volume(&[]), world.volume(&[("Encrypted", "true")]));
    world.attach(&attached, &one.id, "/dev/sdf");
    world.volume(&[]);
    for volume in [&attached, &secret] {
        world.snapshot(volume);
    }
    world.image(&one.id);
    world.group("one");
    world.group("two");
    world.tag(&attached, "Name", "data");
    world.tag(&attached, "Env", "a=b c");
    world.tag(&one.id, "Name", "web-1");
    world
}

fn rows(output: &Value) -> &[Value] {
    output.as_array().expect("a list")
}

#[test]
fn rows_with_details_fit_the_schema_and_are_those_that_are_printed_without() {
    let world = several();
    let all = LISTINGS.iter().map(|(listing, member, _)| (*listing, *member)).chain([(TAGS, "ResourceId")]);
    for (listing, member) in all {
        let plain = world.aaws(format!("ec2 {listing}")).run().ok().json();
        let told = world.aaws(format!("ec2 {listing} --details")).run().ok().json();
        assert!(rows(&plain).len() > 1 || member == "ImageId", "{listing}: {plain}");
        let named: Vec<Value> = rows(&told).iter().map(|row| row[member].clone()).collect();
        assert_eq!(json!(named), plain, "{listing}");
        let action = listing.split(' ').next().expect("an action");
        let entry = ::aaws::catalog::registry::find(&format!("ec2/{action}")).expect("an action");
        let schema = ::aaws::catalog::manifest::Manifest::of(entry).output;
        let valid = jsonschema::validator_for(&schema).expect("a schema");
        let problems: Vec<String> = valid.iter_errors(&told).map(|e| e.to_string()).collect();
        assert_eq!(problems, [""; 0], "{listing}: {told}");
        // All have the same members in the same order, so that they are the columns of one table; what is not known is null.
        let members = |row: &Value| row.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        let columns: BTreeSet<Vec<String>> = rows(&told).iter().map(members).collect();
        assert_eq!(columns.len(), 1, "{listing}: {columns:?}");
        assert_eq!(columns.first().and_then(|columns| columns.first()).map(String::as_str), Some(member), "{listing}");
        for row in rows(&told) {
            let flat = |value: &Value| match value {
                Value::Array(values) => values.iter().all(Value::is_string),
                value => !value.is_object(),
            };
            assert!(row.as_object().is_some_and(|row| row.values().all(flat)), "{listing}: {row}");
        }
    }
}

#[test]
fn details_cost_no_request() {
    let world = several();
    for listing in LISTINGS.iter().map(|(listing, ..)| *listing).chain([TAGS]) {
        let asked = |line: String| {
            let server = world.proxy().start();
            world.aaws_via(&server, line).run().ok();
            let mut operations = server.operations();
            operations.sort();
            operations
        };
        assert_eq!(asked(format!("ec2 {listing} --details")), asked(format!("ec2 {listing}")), "{listing}");
    }
}

#[test]
fn what_is_told_goes_into_the_list_of_the_counterpart() {
    let world = several();
    for (listing, member, list) in LISTINGS {
        for format in ["json", "jsonl", "yaml"] {
            let printed = world.aaws(format!("ec2 {listing} --details --output {format}")).run().ok().stdout;
            let wanted = world.aaws(format!("ec2 {listing} --details")).run().ok().json();
            let wanted: BTreeSet<&str> = rows(&wanted).iter().map(|row| row[member].as_str().expect("an id")).collect();
            let server = world.proxy().start();
            let run = world.aaws_via(&server, format!("ec2 {list} - --dry_run")).stdin(printed).run();
            let planned = run.json();
            let items: BTreeSet<&str> = outcomes(&planned).into_iter().map(|(item, _)| item).collect();
            assert_eq!(items, wanted, "{listing} as {format}: {run}");
            assert_eq!(writes(&server), [""; 0], "{run}");
        }
    }
    let printed = world.aaws(format!("ec2 {TAGS} --details")).run().ok().stdout;
    let line = "ec2 modify_tags --tags Env=prod --create --dry_run --resource_ids -";
    assert_eq!(outcomes(&world.aaws(line).stdin(&printed).run().ok().json()).len(), printed.matches("\"ResourceId\"").count());
}

#[test]
fn what_a_person_decides_by_is_told_as_ec2_names_it() {
    let world = World::new();
    let machine = world.instance(&[]);
    let volume = world.volume(&[("Size", "12")]);
    world.attach(&volume, &machine.id, "/dev/sdf");
    world.tag(&volume, "Name", "data");
    world.tag(&volume, "Env", "a=b c");
    world.tag(&machine.id, "aws:autoscaling:groupName", "fleet");
    let told = world.aaws(format!("ec2 discover_volumes --details --volume_ids {volume}")).run().ok().json();
    let told = &told[0];
    assert_eq!(told["Name"], "data");
    assert_eq!((&told["State"], &told["Size"], &told["VolumeType"]), (&json!("in-use"), &json!(12), &json!("gp3")));
    assert_eq!(told["Attachments"], json!([format!("{}:/dev/sdf", machine.id)]));
    assert_eq!(told["Tags"], json!(["Env=a=b c", "Name=data"]));
    assert_eq!((&told["AgeDays"], &told["Encrypted"]), (&json!(0), &json!(false)));
    let told = world.aaws("ec2 discover_instances --details").run().ok().json();
    let told = &told[0];
    assert_eq!((&told["Name"], &told["State"], &told["InstanceType"]), (&Value::Null, &json!("running"), &json!("t3.micro")));
    assert_eq!(told["AutoScalingGroupName"], "fleet");
    assert!(told["LaunchTime"].as_str().is_some_and(|time| time.ends_with('Z')), "{told}");
    let image = world.image(&machine.id);
    let told = world.aaws("ec2 discover_images --details").run().ok().json();
    let told = &told[0];
    assert_eq!((&told["ImageId"], &told["State"], &told["Public"]), (&json!(image), &json!("available"), &json!(false)));
    assert_eq!(told["SnapshotIds"].as_array().map(Vec::len), Some(2), "{told}");
    assert_eq!(told["LastLaunchedTime"], Value::Null);
}

// --- What was seen, and is so no more ---

#[test]
fn a_volume_that_was_available_when_it_was_listed_and_is_in_use_now_has_changed() {
    let world = World::new();
    let machine = world.instance(&[]);
    let (taken, free) = (world.volume(&[]), world.volume(&[]));
    let printed = world.aaws("ec2 discover_volumes --detached --details").run().ok().stdout;
    world.attach(&taken, &machine.id, "/dev/sdf");
    for dry in ["--dry_run", ""] {
        let directory = directory();
        let run = world.aaws(format!("ec2 delete_volumes --volume_ids - --report report.jsonl {dry}")).within(directory.path());
        run.stdin(&printed).run().exits(3);
        let told = report(&directory);
        let of = |id: &str| told.iter().find(|line| line["item"] == id).map(|line| (line["status"].clone(), line["code"].clone()));
        assert_eq!(of(&taken), Some((json!("skipped"), json!("Changed"))), "{told:?}");
        let why = "it was available when it was listed, and is in-use now";
        assert!(told.iter().any(|line| line["message"] == why), "{told:?}");
        let done = if dry.is_empty() { "done" } else { "planned" };
        assert_eq!(of(&free), Some((json!(done), Value::Null)), "{told:?}");
    }
    assert_eq!((world.volume_state(&taken).as_deref(), world.volume_state(&free)), (Some("in-use"), None));
}

#[test]
fn what_names_a_thing_and_tells_the_state_of_another_says_nothing_of_its_state() {
    let world = World::new();
    let volume = world.volume(&[]);
    world.snapshot(&volume);
    let printed = world.aaws("ec2 discover_snapshots --details").run().ok().stdout;
    assert!(printed.contains("completed") && printed.contains(&volume), "{printed}");
    assert_eq!(world.aaws("ec2 delete_volumes --volume_ids -").stdin(printed).run().ok().json(), json!([]));
    assert_eq!(world.volume_state(&volume), None);
}

#[test]
fn ids_and_objects_stand_in_one_list_and_one_that_is_gone_is_not_found() {
    let world = World::new();
    let (plain, told) = (world.volume(&[]), world.volume(&[]));
    let gone = json!({"VolumeId": "vol-0000000000000bad0", "State": "available"});
    let list = json!([plain, {"VolumeId": told, "State": "available", "Size": 8}, gone, {"VolumeId": plain, "State": "in-use"}]);
    let input = json!({ "volume_ids": list }).to_string();
    let directory = directory();
    let run = world.aaws("ec2 delete_volumes --report report.jsonl --input").arg(input).within(directory.path()).run().exits(3);
    // Given twice, it was seen in a state that it is not in.
    assert_eq!(run.json(), json!([plain, "vol-0000000000000bad0"]));
    let codes: Vec<_> = report(&directory).iter().map(|line| line["code"].clone()).collect();
    assert!(codes.contains(&json!("Changed")) && codes.contains(&json!("NotFound")), "{codes:?}");
    let server = world.proxy().start();
    for wrong in [json!([{"SnapshotId": "snap-0123456789abcdef0"}]), json!([{"VolumeId": "i-0123456789abcdef0"}])] {
        let input = json!({ "volume_ids": wrong }).to_string();
        world.aaws_via(&server, "ec2 delete_volumes --input").arg(input).run().exits(2).logs("volume_ids").silent();
    }
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn instances_images_and_snapshots_that_are_not_what_they_were_stay() {
    let world = World::new();
    let machine = world.instance(&[]);
    let image = world.image(&machine.id);
    let snapshot = world.snapshot(&world.volume(&[]));
    let instances = world.aaws("ec2 discover_instances --details").run().ok().stdout;
    let images = world.aaws("ec2 discover_images --details").run().ok().stdout;
    world.stop(&machine.id);
    world.ec2("DisableImage", &[("ImageId", &image)]);
    let run = world.aaws("ec2 delete_instances --instance_ids -").stdin(instances).run().exits(3).logs("is stopped now");
    assert_eq!(run.json()["Instances"], json!([machine.id]));
    let run = world.aaws("ec2 delete_images --image_ids -").stdin(images).run().exits(3).logs("is disabled now");
    assert_eq!(run.json(), json!([image]));
    let seen = json!([{"SnapshotId": snapshot, "State": "pending"}]).to_string();
    let run = world.aaws("ec2 delete_snapshots --snapshot_ids -").stdin(seen).run().exits(3).logs("is completed now");
    assert_eq!(run.json(), json!([snapshot]));
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("stopped"));
    assert_eq!(world.images(), [image]);
}

/// A listing of so many volumes, 500 a page; none behind the first `free` pages is told before it is released. Those behind the first thousand have long names.
fn many_volumes(count: usize, free: usize) -> (Server, Arc<AtomicBool>) {
    let released = Arc::new(AtomicBool::new(false));
    let release = Arc::clone(&released);
    let server = Server::start(move |operation, page, _| {
        if operation != "DescribeVolumes" {
            return Response::error(501, "NotImplemented");
        }
        for _ in 0..3000 {
            if page <= free || release.load(Ordering::SeqCst) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let item = |n: usize| {
            let name = if n < 1000 { "data" } else { "a name that is longer than those before" };
            let tag = format!("<tagSet><item><key>Name</key><value>{name}</value></item></tagSet>");
            format!("<item><volumeId>vol-{n:08x}</volumeId><size>8</size><status>available</status>{tag}</item>")
        };
        let (from, to) = ((page - 1) * 500, count.min(page * 500));
        let items: String = (from..to).map(item).collect();
        let next = if to < count { format!("<nextToken>{to}</nextToken>") } else { String::new() };
        Response::xml(200, format!("<DescribeVolumesResponse><volumeSet>{items}</volumeSet>{next}</DescribeVolumesResponse>"))
    });
    (server, released)
}

#[test]
fn ids_alone_are_a_table_without_a_head_on_a_terminal() {
    let (server, _) = many_volumes(2, 1);
    let shown = aaws("ec2 discover_volumes --details=false --output table")
        .endpoint(&server.url)
        .on_terminal_with(&["--columns", "100", "--stderr", "/dev/null"], "")
        .stdout;
    let lines: Vec<&str> = shown.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, [" vol-00000000", " vol-00000001", "2 rows"], "{shown}");
}

#[test]
fn a_long_table_is_printed_while_it_is_listed() {
    let (server, release) = many_volumes(1700, 3);
    let run = aaws("ec2 discover_volumes --output table").endpoint(&server.url).start();
    // By the first thousand it is laid out, and they are not held until the last one is known.
    run.has_printed("vol-", 1000);
    release.store(true, Ordering::SeqCst);
    let shown = run.wait().ok().stdout;
    assert_eq!((shown.lines().count(), shown.lines().nth(1700)), (1701, Some(" vol-000006a3")));
}

#[test]
fn rows_behind_the_first_thousand_have_the_room_that_is_left() {
    let (server, _) = many_volumes(1700, 4);
    let shown = aaws("ec2 discover_volumes --output table")
        .endpoint(&server.url)
        .on_terminal_with(&["--columns", "100", "--stderr", "/dev/null"], "")
        .stdout;
    let lines: Vec<&str> = shown.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let of =
        |n: usize| lines.iter().find(|line| line.contains(&format!("vol-{n:08x}"))).copied().unwrap_or_else(|| panic!("no {n}: {shown}"));
    assert!(of(0).contains("data") && of(1600).contains("a name that is longer than"), "{} and {}", of(0), of(1600));
    // Where the column begins that is behind the names: it makes room for them, and is in one place from there on.
    let place = |n: usize| of(n).chars().count() - of(n).split_once("available").map_or(0, |(_, rest)| rest.chars().count());
    assert!(place(1600) > place(0) && (1601..1700).all(|n| place(n) == place(1600)), "{} and {}", of(0), of(1600));
    assert!(
        lines.iter().all(|line| line.chars().count() <= 100) && lines.last().is_some_and(|line| line.starts_with("1700 rows")),
        "{shown}"
    );
}
