//! Selecting with one vocabulary: the flags of the listings select what a filter over their details would.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::deleting::references;
use crate::support::ec2::World;
use crate::support::http::Request;
use crate::support::{Response, Server, directory, report, xml};

/// A flag, and whether a row with details is meant by it.
type Flag = (&'static str, fn(&Value) -> bool);

/// A listing, its list of ids, and flags of it.
struct Case {
    action: &'static str,
    member: &'static str,
    ids: &'static str,
    flags: &'static [Flag],
}

fn tag<'a>(row: &'a Value, key: &str) -> Option<&'a str> {
    let tags = row["Tags"].as_array().expect("a list of tags").iter().filter_map(Value::as_str);
    tags.filter_map(|tag| tag.split_once('=')).find(|(k, _)| *k == key).map(|(_, value)| value)
}

fn is(row: &Value, member: &str, words: &[&str]) -> bool {
    row[member].as_str().is_some_and(|is| words.contains(&is))
}

fn number(row: &Value, member: &str) -> i64 {
    row[member].as_i64().unwrap_or_else(|| panic!("no {member} in {row}"))
}

fn named(row: &Value, of: impl Fn(&str) -> bool) -> bool {
    row["Name"].as_str().is_some_and(of)
}

/// What all listings have.
const COMMON: &[Flag] = &[
    ("--tags Env", |row| tag(row, "Env").is_some()),
    ("--tags Env=prod", |row| tag(row, "Env") == Some("prod")),
    ("--tags Env Owner=", |row| tag(row, "Env").is_some() && tag(row, "Owner") == Some("")),
    ("--tags Env=*", |row| tag(row, "Env") == Some("*")),
    ("--tags Env=prod Env=test", |_| false),
    ("--missing_tags Owner", |row| tag(row, "Owner").is_none()),
    ("--missing_tags Env=prod Owner=me", |row| tag(row, "Env") != Some("prod") && tag(row, "Owner") != Some("me")),
    ("--name web-*", |row| named(row, |name| name.starts_with("web-"))),
    ("--name {web,db}-[12]", |row| named(row, |name| ["web-1", "web-2", "db-1", "db-2"].contains(&name))),
    ("--older_than 365d", |row| number(row, "AgeDays") >= 365),
    ("--older_than 50w", |row| number(row, "AgeDays") >= 350),
];

const VOLUMES: Case = Case {
    action: "discover_volumes",
    member: "VolumeId",
    ids: "volume_ids",
    flags: &[
        ("--larger_than 8", |row| number(row, "Size") > 8),
        ("--smaller_than 16", |row| number(row, "Size") < 16),
        ("--encrypted", |row| row["Encrypted"] == true),
        ("--unencrypted", |row| row["Encrypted"] == false),
        ("--detached", |row| is(row, "State", &["available"])),
        ("--states in-use error", |row| is(row, "State", &["in-use", "error"])),
        ("--types gp3", |row| is(row, "VolumeType", &["gp3"])),
        ("--types gp2 st1", |row| is(row, "VolumeType", &["gp2", "st1"])),
    ],
};

const SNAPSHOTS: Case = Case {
    action: "discover_snapshots",
    member: "SnapshotId",
    ids: "snapshot_ids",
    flags: &[
        ("--larger_than 8", |row| number(row, "VolumeSize") > 8),
        ("--smaller_than 16", |row| number(row, "VolumeSize") < 16),
        ("--encrypted", |row| row["Encrypted"] == true),
        ("--unencrypted", |row| row["Encrypted"] == false),
        ("--states completed", |row| is(row, "State", &["completed"])),
        ("--states pending", |row| is(row, "State", &["pending"])),
        ("--created_before 365d", |row| number(row, "AgeDays") >= 365),
    ],
};

const IMAGES: Case = Case {
    action: "discover_images",
    member: "ImageId",
    ids: "image_ids",
    flags: &[
        ("--larger_than 8", |row| number(row, "VolumeSize") > 8),
        ("--smaller_than 16", |row| number(row, "VolumeSize") < 16),
        ("--encrypted", |row| row["Encrypted"] == true),
        ("--unencrypted", |row| row["Encrypted"] == false),
        ("--states available", |row| is(row, "State", &["available"])),
        ("--states disabled failed", |row| is(row, "State", &["disabled", "failed"])),
        ("--public", |row| row["Public"] == true),
    ],
};

const INSTANCES: Case = Case {
    action: "discover_instances",
    member: "InstanceId",
    ids: "instance_ids",
    flags: &[
        ("--types t3.micro", |row| is(row, "InstanceType", &["t3.micro"])),
        ("--types t3.* m?.large", |row| is(row, "InstanceType", &["t3.micro", "t3.large", "m5.large"])),
        ("--states stopped", |row| is(row, "State", &["stopped"])),
        ("--states running pending", |row| is(row, "State", &["running", "pending"])),
    ],
};

// --- Random worlds ---

/// Tags at random.
fn tags(random: &mut fastrand::Rng, world: &World, id: &str) {
    let mut tag = |key: &str, values: &[&str]| {
        let value = values[random.usize(..values.len())];
        if value != "-" {
            world.tag(id, key, value);
        }
    };
    tag("Env", &["-", "prod", "prod", "test", "*"]);
    tag("Owner", &["-", "-", "me", ""]);
    tag("Name", &["-", "web-1", "web-2", "web-x", "db-1"]);
}

fn one_of<'a>(random: &mut fastrand::Rng, of: &[&'a str]) -> &'a str {
    of[random.usize(..of.len())]
}

/// Some 50 things.
fn random_world(random: &mut fastrand::Rng) -> World {
    let world = World::new();
    let mut machines = Vec::new();
    for number in 0..8 {
        let machine = world.instance(&[("InstanceType", one_of(random, &["t3.micro", "t3.large", "m5.large", "c5.xlarge"]))]);
        tags(random, &world, &machine.id);
        if number < 3 {
            let image = world.image(&machine.id);
            tags(random, &world, &image);
            if random.bool() {
                world.ec2("ModifyImageAttribute", &[("ImageId", &image), ("LaunchPermission.Add.1.Group", "all")]);
            }
        }
        if random.bool() {
            world.stop(&machine.id);
        }
        machines.push(machine.id);
    }
    for number in 0..14 {
        let size = one_of(random, &["4", "8", "12", "16", "40"]);
        let kind = one_of(random, &["gp2", "gp3", "gp3"]);
        let mut parameters = vec![("Size", size), ("VolumeType", kind)];
        if random.bool() {
            parameters.push(("Encrypted", "true"));
        }
        let volume = world.volume(&parameters);
        tags(random, &world, &volume);
        if random.bool() {
            tags(random, &world, &world.snapshot(&volume));
        }
        if number < machines.len() && random.bool() {
            world.attach(&volume, &machines[number], "/dev/sdf");
        }
    }
    world
}

/// An answer in which things are as old as the characters of their ids say: moto makes all of them now.
fn aged(answer: &str, id: &str, time: &str) -> String {
    let (open, close) = (format!("<{time}>"), format!("</{time}>"));
    let (mut aged, mut rest) = (String::new(), answer);
    while let Some((before, after)) = rest.split_once(&open) {
        let (now, behind) = after.split_once(&close).expect("an element ends");
        let named = xml::texts(before, id).pop().unwrap_or_default();
        let time = match named.bytes().map(usize::from).sum::<usize>() % 3 {
            0 => "2020-01-01T00:00:00.000Z",
            1 => "2024-06-01T12:00:00.000Z",
            _ => now,
        };
        aged += &format!("{before}{open}{time}{close}");
        rest = behind;
    }
    aged + rest
}

/// The world, with things of several ages.
fn of_ages(world: &World) -> Server {
    world
        .proxy()
        .rewrite("DescribeVolumes", |_, xml| aged(&xml, "volumeId", "createTime"))
        .rewrite("DescribeSnapshots", |_, xml| aged(&xml, "snapshotId", "startTime"))
        .rewrite("DescribeImages", |_, xml| aged(&xml, "imageId", "creationDate"))
        .rewrite("DescribeInstances", |_, xml| aged(&xml, "instanceId", "launchTime"))
        .start()
}

fn ids(rows: &Value) -> Vec<String> {
    serde_json::from_value(rows.clone()).expect("a list of ids")
}

#[test]
fn flags_select_what_a_filter_over_the_details_does() {
    let mut random = fastrand::Rng::with_seed(20_260_314);
    let world = random_world(&mut random);
    let server = of_ages(&world);
    for case in [VOLUMES, SNAPSHOTS, IMAGES, INSTANCES] {
        let told = world.aaws_via(&server, format!("ec2 {} --details", case.action)).run().ok().json();
        let told = told.as_array().expect("a list");
        let all: Vec<&str> = told.iter().map(|row| row[case.member].as_str().expect("an id")).collect();
        assert!(all.len() >= 3, "{}: {all:?}", case.action);
        let flags: Vec<Flag> = COMMON.iter().chain(case.flags).copied().collect();
        // Each flag by itself, and then some together.
        let single = (0..flags.len()).map(|one| vec![flags[one]]);
        let mut lines: Vec<Vec<Flag>> = single.collect();
        for _ in 0..8 {
            let mut some: Vec<Flag> = Vec::new();
            for _ in 0..random.usize(2..4) {
                let (flag, judge) = flags[random.usize(..flags.len())];
                let name = |flag: &str| flag.split(' ').next().unwrap_or_default().replace("--un", "--");
                if some.iter().all(|(other, _)| name(other) != name(flag)) {
                    some.push((flag, judge));
                }
            }
            lines.push(some);
        }
        for some in lines {
            let wanted: Vec<String> = told
                .iter()
                .filter(|row| some.iter().all(|(_, judge)| judge(row)))
                .map(|row| row[case.member].as_str().expect("an id").to_owned())
                .collect();
            let line = some.iter().map(|(flag, _)| *flag).collect::<Vec<_>>().join(" ");
            // Listed with filters, or looked up by id and judged.
            let given = if random.bool() { format!("--{} {}", case.ids, all.join(" ")) } else { String::new() };
            let run = world.aaws_via(&server, format!("ec2 {} {line} {given}", case.action)).run().ok();
            assert_eq!(ids(&run.json()), wanted, "{run}");
        }
    }
}

#[test]
fn what_ec2_has_a_filter_for_is_asked_of_ec2() {
    let world = World::new();
    let server = world.proxy().start();
    let lines: [(&str, &str, &[&str]); 6] = [
        (
            "discover_volumes --tags Env=prod Owner --states in-use --encrypted",
            "DescribeVolumes",
            &["tag%3AEnv", "tag-key", "status", "encrypted"],
        ),
        ("discover_snapshots --tags Env=prod --states completed", "DescribeSnapshots", &["tag%3AEnv", "status"]),
        (
            "discover_images --tags Env=prod --states available --public --name web",
            "DescribeImages",
            &["tag%3AEnv", "state", "is-public", "name"],
        ),
        (
            "discover_instances --tags Env=prod --types t3.micro",
            "DescribeInstances",
            &["tag%3AEnv", "instance-type", "instance-state-name"],
        ),
        // What would stand for more than it says, or cannot be inverted, is judged here.
        ("discover_volumes --tags Env=* --name web-*", "DescribeVolumes", &[]),
        ("discover_instances --tags Env=prod --types t3.micro --invert", "DescribeInstances", &["instance-state-name"]),
    ];
    for (line, operation, asked) in lines {
        let before = server.count(operation);
        world.aaws_via(&server, format!("ec2 {line}")).run().ok();
        let requests = server.requests(operation);
        assert_eq!(requests.len(), before + 1, "{line}");
        let sent = requests[before].text();
        let names: BTreeSet<&str> =
            sent.split('&').filter(|p| p.starts_with("Filter.")).filter_map(|p| p.split_once(".Name=")).map(|(_, n)| n).collect();
        assert_eq!(names, asked.iter().copied().collect::<BTreeSet<_>>(), "{line}: {sent}");
    }
}

#[test]
fn those_of_another_owner_are_listed_when_that_is_asked_for() {
    let world = World::new();
    let snapshot = world.snapshot(&world.volume(&[]));
    let server = world.proxy().start();
    for (action, operation) in [("discover_snapshots", "DescribeSnapshots"), ("discover_images", "DescribeImages")] {
        let run = world.aaws_via(&server, format!("ec2 {action} --owner 111122223333")).run().ok();
        assert!(!ids(&run.json()).contains(&snapshot), "{run}");
        assert!(server.requests(operation)[0].text().contains("Owner.1=111122223333"), "{action}");
        world.aaws_via(&server, format!("ec2 {action} --owner amazon --shared")).run().exits(2).logs("only one of").silent();
    }
}

#[test]
fn an_empty_list_of_what_is_selected_by_is_nothing_and_asks_nothing() {
    let world = World::new();
    world.volume(&[]);
    let server = world.proxy().start();
    let listings: [(&str, &[&str]); 4] = [
        ("discover_volumes", &["tags", "missing_tags", "states", "types"]),
        ("discover_snapshots", &["tags", "missing_tags", "states"]),
        ("discover_images", &["tags", "missing_tags", "states"]),
        ("discover_instances", &["tags", "missing_tags", "states", "types"]),
    ];
    for (action, lists) in listings {
        for list in lists {
            let input = json!({ *list: [] }).to_string();
            assert_eq!(world.aaws_via(&server, format!("ec2 {action} --input")).arg(input).run().ok().json(), json!([]), "{action} {list}");
        }
    }
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn what_is_encrypted_and_what_is_not_are_not_asked_for_together() {
    let world = World::new();
    for action in ["discover_volumes", "discover_snapshots", "discover_images"] {
        world.aaws(format!("ec2 {action} --encrypted --unencrypted")).run().exits(2).logs("only one of").silent();
    }
    world.aaws("ec2 discover_images --unused --in_use").run().exits(2).logs("only one of").silent();
}

// --- What takes more than one listing ---

#[test]
fn an_orphan_has_neither_its_volume_nor_an_image() {
    let world = World::new();
    let machine = world.instance(&[]);
    let image = world.image(&machine.id);
    let (kept, gone) = (world.volume(&[]), world.volume(&[]));
    let (of_kept, of_gone) = (world.snapshot(&kept), world.snapshot(&gone));
    world.ec2("DeleteVolume", &[("VolumeId", &gone)]);
    // Its root volume goes with it; its snapshot is behind the image.
    world.ec2("TerminateInstances", &[("InstanceId.1", &machine.id)]);
    let behind = world.snapshots().into_iter().find(|id| *id != of_kept && *id != of_gone).expect("a snapshot behind the image");
    let found = |more: &str| ids(&world.aaws(format!("ec2 discover_snapshots --orphaned {more}")).run().ok().json());
    assert_eq!(found(""), [of_gone.as_str()]);
    assert_eq!(found(&format!("--snapshot_ids {of_kept} {behind} {of_gone}")), [of_gone.as_str()]);
    world.ec2("DeregisterImage", &[("ImageId", &image)]);
    let now: BTreeSet<String> = found("").into_iter().collect();
    assert!(now.contains(&of_gone) && !now.contains(&of_kept), "{now:?}");
}

#[test]
fn a_snapshot_of_a_volume_that_is_made_meanwhile_is_no_orphan() {
    let world = Arc::new(World::new());
    let gone = world.volume(&[]);
    let orphan = world.snapshot(&gone);
    world.ec2("DeleteVolume", &[("VolumeId", &gone)]);
    // Whatever is listed second, a volume and a snapshot of it are made before.
    let (listings, made) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let meanwhile = |world: &Arc<World>| {
        let (world, listings, made) = (Arc::clone(world), Arc::clone(&listings), Arc::clone(&made));
        move |_: usize, _: &mut Request| {
            if listings.fetch_add(1, Ordering::SeqCst) == 1 {
                world.snapshot(&world.volume(&[]));
                made.fetch_add(1, Ordering::SeqCst);
            }
            None::<Response>
        }
    };
    let server = world.proxy().rule("DescribeSnapshots", meanwhile(&world)).rule("DescribeVolumes", meanwhile(&world)).start();
    let run = world.aaws_via(&server, "ec2 discover_snapshots --orphaned").run().ok();
    assert_eq!((ids(&run.json()), made.load(Ordering::SeqCst)), (vec![orphan], 1), "{:?}", server.operations());
}

#[test]
fn snapshots_and_images_that_are_shared_are_told_from_those_that_are_public() {
    let world = World::new();
    let volume = world.volume(&[]);
    let (own, shared, public) = (world.snapshot(&volume), world.snapshot(&volume), world.snapshot(&volume));
    let permission = [("Attribute", "createVolumePermission"), ("OperationType", "add")];
    world.ec2("ModifySnapshotAttribute", &[("SnapshotId", &shared), permission[0], permission[1], ("UserId.1", "111122223333")]);
    world.ec2("ModifySnapshotAttribute", &[("SnapshotId", &public), permission[0], permission[1], ("UserGroup.1", "all")]);
    let found = |line: String| ids(&world.aaws(format!("ec2 {line}")).run().ok().json());
    let given = format!("--snapshot_ids {own} {public} {shared}");
    assert_eq!(found(format!("discover_snapshots --shared {given}")), [public.as_str(), shared.as_str()]);
    assert_eq!(found("discover_snapshots --public".into()), [public.as_str()]);
    assert_eq!(found(format!("discover_snapshots --public {given}")), [public.as_str()]);

    let machine = world.instance(&[]).id;
    let (own, shared, public) = (world.image(&machine), world.image(&machine), world.image(&machine));
    world.ec2("ModifyImageAttribute", &[("ImageId", &shared), ("LaunchPermission.Add.1.UserId", "111122223333")]);
    world.ec2("ModifyImageAttribute", &[("ImageId", &public), ("LaunchPermission.Add.1.Group", "all")]);
    assert_eq!(found(format!("discover_images --shared --image_ids {own} {public} {shared}")), [public, shared]);
}

#[test]
fn of_what_cannot_be_asked_whom_it_is_shared_with_is_a_failure_and_the_rest_is_answered() {
    let world = World::new();
    let volume = world.volume(&[]);
    let (shared, unknown) = (world.snapshot(&volume), world.snapshot(&volume));
    let permission = [("Attribute", "createVolumePermission"), ("OperationType", "add")];
    world.ec2("ModifySnapshotAttribute", &[("SnapshotId", &shared), permission[0], permission[1], ("UserId.1", "111122223333")]);
    let body: &'static str = Box::leak(format!("SnapshotId={unknown}").into_boxed_str());
    let server = world.proxy().refuse_with("DescribeSnapshotAttribute", body, 403, "UnauthorizedOperation").start();
    let directory = directory();
    let run = world.aaws_via(&server, "ec2 discover_snapshots --shared --report report.jsonl").within(directory.path()).run().exits(3);
    assert_eq!(run.json(), json!([shared]), "{run}");
    let told: Vec<_> = report(&directory).iter().map(|line| (line["item"].clone(), line["code"].clone())).collect();
    assert_eq!(told, [(json!(unknown), json!("UnauthorizedOperation"))]);
}

#[test]
fn an_image_is_in_use_by_what_names_it_anywhere() {
    let world = World::new();
    let machine = world.instance(&[]).id;
    let (free, launched, configured) = (world.image(&machine), world.image(&machine), world.image(&machine));
    let (of, by) = (launched.clone(), configured.clone());
    let configurations = move |image: &str| {
        let member = format!("<member><LaunchConfigurationName>a</LaunchConfigurationName><ImageId>{image}</ImageId></member>");
        let inner = format!("<LaunchConfigurations>{member}</LaunchConfigurations>");
        let result = format!("<DescribeLaunchConfigurationsResult>{inner}</DescribeLaunchConfigurationsResult>");
        Response::xml(200, format!("<DescribeLaunchConfigurationsResponse>{result}</DescribeLaunchConfigurationsResponse>"))
    };
    let server = world
        .proxy()
        .rule("DescribeImageReferences", move |_, _| {
            Some(references(&[(&of, "ec2:Instance", "arn:aws:ec2:us-east-1:1:instance/i-1")], false))
        })
        .rule("DescribeLaunchConfigurations", move |_, _| Some(configurations(&by)))
        .start();
    let given = format!("--image_ids {free} {launched} {configured}");
    let found = |flag: &str| ids(&world.aaws_via(&server, format!("ec2 discover_images {flag} {given}")).run().ok().json());
    assert_eq!(found("--unused"), [free.as_str()]);
    assert_eq!(found("--in_use"), [launched, configured]);
    // What is not known is not taken for unused.
    for operation in ["DescribeImageReferences", "DescribeLaunchConfigurations"] {
        let server = world.proxy().refuse(operation, 403, "UnauthorizedOperation").start();
        let run = world.aaws_via(&server, format!("ec2 discover_images --unused {given}")).run().exits(1).logs("UnauthorizedOperation");
        assert!(run.stdout.is_empty() || run.json() == json!([]), "{run}");
    }
}
