//! Guards that a user sets: how much a run may change, what it leaves alone, whose account it is, and that somebody has to agree.

use serde_json::json;

use crate::support::aaws::Aaws;
use crate::support::proxy::Proxy;
use crate::support::{Bucket, Server, aaws, directory, moto, report};

/// A bucket with these keys, and what stands in front of it and counts.
fn bucket(keys: &[&'static str]) -> (Bucket, Server) {
    (Bucket::with(keys.iter().copied()), Proxy::to(moto::endpoint()).start())
}

fn delete(bucket: &Bucket, server: &Server, rest: &str) -> Aaws {
    aaws(format!("s3 delete_objects --bucket {bucket} {rest}")).endpoint(&server.url)
}

// --- How much ---

#[test]
fn more_objects_than_allowed_are_refused_before_anything_is_sent() {
    let (bucket, server) = bucket(&["a", "b", "c"]);
    delete(&bucket, &server, "--objects a b c --max_items 2").run().exits(4).silent().logs("more than 2 items").logs("max_items");
    delete(&bucket, &server, "--objects - --max_items 2").stdin("a\nb\nc\n").run().exits(4).silent();
    assert_eq!(server.operations(), [""; 0]);
    let plan = delete(&bucket, &server, "--objects a b c --max_items 2 --dry_run").run().ok().logs("a run would be refused");
    assert_eq!(plan.json().as_array().map(Vec::len), Some(3));
    assert_eq!(server.writes(), [""; 0]);
    assert_eq!(delete(&bucket, &server, "--objects a b c --max_items 3").run().ok().json(), json!([]));
    assert_eq!(bucket.keys(), [""; 0]);
}

#[test]
fn what_is_not_changed_counts_as_looked_at_only() {
    let (bucket, server) = bucket(&["a", "b"]);
    let line = "--check --ignore_not_found --objects a b c d";
    delete(&bucket, &server, &format!("{line} --max_items 1")).run().exits(4).silent();
    delete(&bucket, &server, &format!("{line} --max_percent 49")).run().exits(4).silent().logs("2 of 4 items").logs("max_percent");
    assert_eq!(server.writes(), [""; 0]);
    delete(&bucket, &server, &format!("{line} --max_percent 49 --dry_run")).run().ok().logs("a run would be refused: 2 of 4");
    assert_eq!(server.writes(), [""; 0]);
    delete(&bucket, &server, &format!("{line} --max_items 2 --max_percent 50")).run().ok();
    assert_eq!(bucket.keys(), [""; 0]);
    // Nothing of nothing is no part of it.
    delete(&bucket, &server, "--objects --max_percent 0 --max_items 0").run().ok();
}

#[test]
fn a_limit_that_is_none_is_refused() {
    for wrong in ["--max_items few", "--max_items 1.5", "--max_percent 101", "--max_percent half", "--protect_tag =x", "--account 12"] {
        let (flag, _) = wrong.split_once(' ').expect("a flag and a value");
        let line = format!("s3 delete_objects --bucket b --objects a {wrong}");
        aaws(line).endpoint("http://127.0.0.1:9").run().exits(2).silent().logs(flag.trim_start_matches('-'));
    }
}

#[test]
fn a_refused_run_leaves_an_earlier_report_as_it_is() {
    let (bucket, server) = bucket(&["a", "b"]);
    let folder = directory();
    delete(&bucket, &server, "--objects a --report report.jsonl").within(folder.path()).run().ok();
    delete(&bucket, &server, "--objects a b --max_items 1 --report report.jsonl").within(folder.path()).run().exits(4);
    assert_eq!(report(&folder).iter().map(|line| line["item"].clone()).collect::<Vec<_>>(), [json!("a")]);
}

// --- Whose account ---

#[test]
fn credentials_of_another_account_are_refused_when_one_is_meant() {
    let server = Proxy::to(moto::endpoint()).start();
    // Those of the tests are of moto's own account.
    for line in ["s3 discover_buckets", "s3 delete_objects --bucket b --objects a"] {
        let refused = aaws(format!("{line} --account 999999999999")).endpoint(&server.url).run().exits(4).silent();
        refused.logs("of the account 123456789012").logs("999999999999 only");
    }
    assert_eq!(server.operations(), ["GetCallerIdentity", "GetCallerIdentity"]);
    let server = Proxy::to(moto::endpoint()).start();
    aaws("s3 discover_buckets --account 123456789012 --output jsonl").endpoint(&server.url).run().ok();
    assert_eq!(server.count("GetCallerIdentity"), 1);
}

#[test]
fn an_account_that_nobody_tells_is_not_the_one_that_is_meant() {
    let server = Proxy::to(moto::endpoint()).refuse("GetCallerIdentity", 403, "AccessDenied").start();
    let line = "s3 discover_buckets --account 123456789012";
    aaws(line).endpoint(&server.url).run().exits(4).silent().logs("STS does not say");
    assert_eq!(server.count("ListBuckets"), 0);
    // A sandbox is of no account, and reaches none.
    aaws("s3 discover_objects --bucket example-bucket --account 123456789012").sandbox(directory().path()).run().ok();
}

#[test]
fn the_account_of_a_role_is_known_by_its_arn() {
    let server = Proxy::to(moto::endpoint()).start();
    let line = "s3 discover_buckets --role_arn arn:aws:iam::222222222222:role/x --account";
    aaws(line).arg("111111111111").endpoint(&server.url).run().exits(4).logs("222222222222");
    aaws(line).arg("222222222222").endpoint(&server.url).run().ok();
    assert_eq!(server.count("GetCallerIdentity"), 0);
}

// --- Somebody has to agree ---

#[test]
fn what_would_be_asked_is_refused_where_nobody_is_when_somebody_has_to_agree() {
    let (bucket, server) = bucket(&["a", "b", "c"]);
    delete(&bucket, &server, "--objects a --require_yes").run().exits(4).silent().logs("require_yes").logs("--yes agrees to delete");
    assert_eq!(server.operations(), [""; 0]);
    delete(&bucket, &server, "--objects a --require_yes --dry_run").run().ok();
    delete(&bucket, &server, "--objects a --require_yes --yes").run().ok().logs("--yes");
    delete(&bucket, &server, "--objects b --require_yes").env("AAWS_YES", "1").run().ok();
    assert_eq!(bucket.keys(), ["c"]);
    // What needs no work needs no answer.
    delete(&bucket, &server, "--objects --require_yes").run().ok();
    // Who is there is asked as ever.
    delete(&bucket, &server, "--objects c --require_yes").on_terminal("n").exits(4);
    assert_eq!(bucket.keys(), ["c"]);
    delete(&bucket, &server, "--objects c --require_yes").on_terminal("y").ok();
    assert_eq!(bucket.keys(), [""; 0]);
}

#[test]
fn objects_are_not_replaced_where_somebody_has_to_agree_and_nobody_is() {
    let (bucket, server) = bucket(&["there"]);
    let create = |rest: &str| aaws(format!("s3 create_objects --bucket {bucket} {rest} --require_yes")).endpoint(&server.url);
    create("--object new text --object there text").run().exits(4).silent().logs("replace");
    assert_eq!(bucket.keys(), ["there"]);
    create("--object new text").run().ok();
    create("--object there text --yes").run().ok();
    assert_eq!(bucket.get("there").text(), "text");
}

// --- On EC2 ---

#[cfg(feature = "ec2")]
mod ec2 {
    use serde_json::Value;

    use super::*;
    use crate::support::ec2::{World, writes};

    const LATER: &str = "2999-01-01";
    const EARLIER: &str = "2020-01-01";

    /// Kinds of things that can be deleted, with the flag that names them: how to make one, one that there is not, and those that there are.
    type Kind = (&'static str, fn(&World) -> String, &'static str, fn(&World, &str) -> bool);

    const KINDS: [Kind; 5] = [
        (
            "delete_volumes --volume_ids",
            |world| world.volume(&[]),
            "vol-00000000000000000",
            |world, id| world.volumes().contains(&id.to_owned()),
        ),
        (
            "delete_snapshots --snapshot_ids",
            |world| world.snapshot(&world.volume(&[])),
            "snap-00000000000000000",
            |world, id| world.snapshots().contains(&id.to_owned()),
        ),
        (
            "delete_instances --instance_ids",
            |world| world.instance(&[]).id,
            "i-00000000000000000",
            |world, id| world.instance_state(id).as_deref() == Some("running"),
        ),
        (
            "release_addresses --allocation_ids",
            |world| world.address(),
            "eipalloc-00000000000000000",
            |world, id| world.addresses().contains(&id.to_owned()),
        ),
        (
            "delete_interfaces --network_interface_ids",
            |world| world.interface(&[]),
            "eni-00000000000000000",
            |world, id| world.interfaces().contains(&id.to_owned()),
        ),
    ];

    /// What the report of a run says of an item.
    fn said<'a>(report: &'a [Value], id: &str) -> &'a Value {
        report.iter().find(|line| line["item"] == id).unwrap_or_else(|| panic!("nothing is said of {id}: {report:?}"))
    }

    /// Runs a line, and gives what it printed and its report.
    fn run(world: &World, server: &Server, line: &str, code: i32) -> (Value, Vec<Value>) {
        let folder = directory();
        let output = world.aaws_via(server, format!("ec2 {line} --report report.jsonl")).within(folder.path()).run().exits(code);
        (output.json(), report(&folder))
    }

    #[test]
    fn more_things_than_allowed_are_refused_before_the_first_write() {
        for (line, make, _, is_there) in KINDS {
            let world = World::new();
            let things = [make(&world), make(&world), make(&world)];
            let server = world.proxy().start();
            let line = format!("ec2 {line} {}", things.join(" "));
            let run = |flags: &str| world.aaws_via(&server, format!("{line} {flags}")).run();
            run("--max_items 2").exits(4).silent().logs("more than 2 items");
            run("--max_items 2 --dry_run").ok().logs("a run would be refused");
            run("--max_percent 99").exits(4).silent().logs("3 of 3 items");
            assert_eq!(writes(&server), [""; 0], "{line}");
            run("--max_items 3 --max_percent 100").ok();
            assert!(things.iter().all(|id| !is_there(&world, id)), "{line}");
        }
    }

    #[test]
    fn ids_of_nothing_count_as_looked_at() {
        for (line, make, nothing, is_there) in KINDS {
            let world = World::new();
            let thing = make(&world);
            let server = world.proxy().start();
            let run = |flags: &str| world.aaws_via(&server, format!("ec2 {line} {thing} {nothing} --ignore_not_found {flags}")).run();
            run("--max_percent 49").exits(4).silent().logs("1 of 2 items");
            run("--max_items 0").exits(4).silent();
            assert_eq!(writes(&server), [""; 0], "{line}");
            run("--max_percent 50 --max_items 1").ok();
            assert!(!is_there(&world, &thing), "{line}");
        }
    }

    #[test]
    fn what_a_tag_protects_is_left_alone_and_is_no_failure() {
        for (line, make, _, is_there) in KINDS {
            let world = World::new();
            let tags = [
                ("aaws:protect", "false", true),
                ("aaws:protect_until", LATER, true),
                ("aaws:protect_until", "soon", true),
                ("Env", "prod", true),
                ("Owner", "whoever", true),
                ("aaws:protect_until", EARLIER, false),
                ("Env", "test", false),
            ];
            let things = tags.map(|(key, value, is_kept)| {
                let id = make(&world);
                world.tag(&id, key, value);
                (id, is_kept)
            });
            let server = world.proxy().start();
            let ids: Vec<&str> = things.iter().map(|(id, _)| id.as_str()).collect();
            let line = format!("{line} {} --protect_tag Env=prod --protect_tag Owner", ids.join(" "));
            let plan = world.aaws_via(&server, format!("ec2 {line} --dry_run")).run().ok().json();
            assert_eq!(writes(&server), [""; 0], "{line}");
            // What is kept is not changed, and counts as looked at.
            let limits = "--max_items 2 --max_percent 29";
            let (_, settled) = run(&world, &server, &format!("{line} {limits}"), 0);
            for (id, is_kept) in &things {
                let (planned, became) = (said(plan.as_array().expect("a plan"), id), said(&settled, id));
                if *is_kept {
                    assert_eq!((&planned["status"], &planned["code"]), (&json!("skipped"), &json!("Protected")), "{planned}");
                    assert_eq!((&became["status"], &became["code"]), (&json!("skipped"), &json!("Protected")), "{became}");
                } else {
                    assert_eq!((&planned["status"], &became["status"]), (&json!("planned"), &json!("done")), "{planned} {became}");
                }
                assert_eq!(is_there(&world, id), *is_kept, "{line}: {id}");
            }
        }
    }

    #[test]
    fn what_goes_with_a_protected_instance_is_kept_with_it() {
        let world = World::new();
        let machine = world.instance(&[]);
        let data = world.volume(&[]);
        world.attach(&data, &machine.id, "/dev/sdf");
        let snapshot = world.snapshot(&data);
        world.tag(&machine.id, "aaws:protect", "");
        let server = world.proxy().start();
        let line = format!("delete_instances --instance_ids {} --include volume --include snapshot", machine.id);
        let plan = world.aaws_via(&server, format!("ec2 {line} --dry_run")).run().ok().json();
        let (_, settled) = run(&world, &server, &line, 0);
        assert_eq!(writes(&server), [""; 0]);
        for id in [&machine.id, &data, &snapshot] {
            assert_eq!(said(plan.as_array().expect("a plan"), id)["code"], "Protected", "{plan}");
            assert_eq!(said(&settled, id)["code"], "Protected", "{settled:?}");
        }
    }

    #[test]
    fn an_instance_that_would_take_a_protected_volume_with_it_is_kept() {
        let world = World::new();
        let (kept, gone) = (world.instance(&[]), world.instance(&[]));
        let data = world.volume(&[]);
        world.attach(&data, &gone.id, "/dev/sdf");
        assert!(world.attached(&kept.id).iter().any(|(_, volume, goes_with)| *volume == kept.root && *goes_with));
        world.tag(&kept.root, "aaws:protect", "");
        world.tag(&data, "aaws:protect", "");
        let server = world.proxy().start();
        let line = format!("delete_instances --instance_ids {} {} --include volume", kept.id, gone.id);
        let (left, settled) = run(&world, &server, &line, 0);
        assert_eq!(left["Instances"], json!([kept.id]));
        assert_eq!(said(&settled, &kept.id)["code"], "Protected");
        assert_eq!(world.instance_state(&kept.id).as_deref(), Some("running"));
        // That of the other does not go with it, and stays alone.
        assert_eq!(said(&settled, &data)["code"], "Protected");
        assert!(world.volumes().contains(&data) && world.volumes().contains(&kept.root));
    }

    #[test]
    fn the_snapshots_behind_a_protected_image_are_kept() {
        let world = World::new();
        let image = world.image(&world.instance(&[]).id);
        world.tag(&image, "aaws:protect", "");
        let before = world.snapshots();
        let server = world.proxy().start();
        let (_, settled) = run(&world, &server, &format!("delete_images --image_ids {image} --include_snapshots"), 0);
        assert!(settled.len() > 1 && settled.iter().all(|line| line["code"] == "Protected"), "{settled:?}");
        assert_eq!(writes(&server), [""; 0]);
        assert_eq!(world.snapshots(), before);
    }

    #[test]
    fn no_rule_of_a_protected_group_is_taken_away() {
        let world = World::new();
        let (kept, other) = (world.group("kept"), world.group("other"));
        for (group, admitted) in [(&kept, &other), (&other, &kept)] {
            let rule = [
                ("GroupId", group.as_str()),
                ("IpPermissions.1.IpProtocol", "-1"),
                ("IpPermissions.1.Groups.1.GroupId", admitted.as_str()),
            ];
            world.ec2("AuthorizeSecurityGroupIngress", &rule);
        }
        world.tag(&kept, "aaws:protect", "");
        let server = world.proxy().start();
        // The other one is asked for and stays, which is not as asked.
        let (_, settled) = run(&world, &server, &format!("delete_security_groups --security_group_ids {kept} {other}"), 3);
        assert_eq!(said(&settled, &kept)["code"], "Protected");
        assert_eq!(said(&settled, &other)["code"], "DependencyViolation");
        assert_eq!(writes(&server), [""; 0]);
    }

    #[test]
    fn protected_things_are_not_modified_either() {
        let world = World::new();
        let volume = world.volume(&[]);
        let snapshot = world.snapshot(&volume);
        let (key, machine) = (world.key(), world.instance(&[]).id);
        for id in [&volume, &snapshot, &machine] {
            world.tag(id, "aaws:protect", "");
        }
        let server = world.proxy().start();
        for line in [
            format!("stop_instances --instance_ids {machine}"),
            format!("modify_metadata_options --instance_ids {machine}"),
            format!("modify_volumes --volume_ids {volume} --size 9"),
            format!("share_snapshots --snapshot_ids {snapshot} --target_account 111122223333"),
            format!("encrypt_volume --volume_id {volume} --kms_key_id {key}"),
        ] {
            let (_, settled) = run(&world, &server, &line, 0);
            assert!(matches!(settled.as_slice(), [one] if one["code"] == "Protected"), "{line}: {settled:?}");
        }
        assert_eq!(writes(&server), [""; 0]);
        // A copy takes nothing from it, and protection ends as it began.
        world.aaws(format!("ec2 create_snapshots --volume_ids {volume}")).run().ok();
        world.aaws(format!("ec2 modify_tags --resource_ids {volume} --tags aaws:protect --delete")).run().ok();
        world.aaws(format!("ec2 delete_volumes --volume_ids {volume}")).run().ok();
        assert!(!world.volumes().contains(&volume));
    }
}
