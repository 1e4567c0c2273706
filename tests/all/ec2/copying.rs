//! Making snapshots and images, copying and sharing them, and tagging: what was made is always named.

use serde_json::{Value, json};

use crate::support::ec2::{World, writes};
use crate::support::xml;

// --- Snapshots and images ---

#[test]
fn a_snapshot_that_ends_in_an_error_loses_no_other() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    world.tag(&a, "Env", "prod");
    world.tag(&a, "aws:x", "y");
    let bad = b.clone();
    let server = world
        .proxy()
        .rewrite("DescribeSnapshots", move |_, xml| {
            xml.split_inclusive("</item>")
                .map(|i| if i.contains(&bad) { i.replace("<status>completed", "<status>error") } else { i.to_owned() })
                .collect()
        })
        .start();
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
    let output = world.aaws_via(&server, format!("ec2 create_snapshots --volume_ids {volume} --timeout 1s")).run().exits(1);
    assert!(output.stderr.contains(&world.snapshots()[0]), "{output}");
    // Who does not want to wait has the id at once.
    let output = world.aaws_via(&server, format!("ec2 create_snapshots --volume_ids {volume} --no_wait")).run().ok();
    assert!(world.snapshots().contains(&output.json()[0].as_str().unwrap_or_default().to_owned()), "{output}");
}

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
fn an_image_that_fails_is_told_with_its_reason() {
    let world = World::new();
    let machine = world.instance(&[]);
    let server = world
        .proxy()
        .rewrite("DescribeImages", |_, xml| {
            xml.replace(
                "<imageState>available</imageState>",
                "<imageState>failed</imageState><stateReason><message>no space</message></stateReason>",
            )
        })
        .start();
    let output =
        world.aaws_via(&server, format!("ec2 create_images --instance_ids {}", machine.id)).run().exits(3).logs("no space").logs("ami-");
    assert_eq!(output.json(), json!([]));
}

// --- Copies ---

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
    let server = world
        .proxy()
        .rule("DescribeSnapshots", |n, request| (n > 1).then(|| crate::support::proxy::error(request, 403, "UnauthorizedOperation")))
        .start();
    let line = format!("ec2 copy_snapshots --snapshot_ids {snapshot} --target_region us-west-2 --details");
    let output = world.aaws_via(&server, line).run().exits(3);
    assert!(output.json()[0]["Id"].as_str().is_some_and(|id| id.starts_with("snap-")), "{output}");
}

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

// --- Sharing ---

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
    assert_eq!(writes(&server), [""; 0], "it is so already");
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

// --- Tags ---

#[test]
fn an_empty_list_of_tags_is_never_sent() {
    let world = World::new();
    let volume = world.volume(&[]);
    world.tag(&volume, "Env", "prod");
    let server = world.proxy().start();
    for wish in ["create", "delete"] {
        let input = format!(r#"{{"resource_ids": ["{volume}"], "tags": [], "{wish}": true}}"#);
        world.aaws_via(&server, "ec2 modify_tags --input").arg(input).run().exits(2).silent().logs("`tags`");
    }
    for tags in ["aws:x=y --create", "Env --create --delete", "Env", "Env=a Env=b --create"] {
        world.aaws_via(&server, format!("ec2 modify_tags --resource_ids {volume} --tags {tags}")).run().exits(2).silent();
    }
    assert_eq!(server.operations(), [""; 0]);
    assert_eq!(world.tags(&volume).len(), 1);
}

#[test]
fn one_bad_id_among_many_costs_few_calls() {
    let world = World::new();
    let volumes: Vec<String> = (0..40).map(|_| world.volume(&[])).collect();
    let server = world.proxy().start();
    let line = format!("ec2 modify_tags --resource_ids {} vol-0000000000000bad --tags Env=prod --create", volumes.join(" "));
    let output = world.aaws_via(&server, line).run().exits(3);
    assert_eq!(output.json(), json!(["vol-0000000000000bad"]));
    assert!(volumes.iter().all(|v| world.tags(v) == [("Env".to_owned(), "prod".to_owned())]));
    assert!(server.count("CreateTags") <= 3, "{}", server.count("CreateTags"));
    // An answer that names nobody: halves of halves.
    let server = world
        .proxy()
        .rule("CreateTags", |_, request| request.text().contains("0bad").then(|| crate::support::proxy::error(request, 400, "InvalidID")))
        .start();
    let line = format!("ec2 modify_tags --resource_ids {} vol-0000000000000bad --tags Env=test --create", volumes.join(" "));
    assert_eq!(world.aaws_via(&server, line).run().exits(3).json(), json!(["vol-0000000000000bad"]));
    assert!(volumes.iter().all(|v| world.tags(v) == [("Env".to_owned(), "test".to_owned())]));
    assert!(server.count("CreateTags") <= 14, "{}", server.count("CreateTags"));
}

#[test]
fn tags_are_removed_only_where_they_are_as_said() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    world.tag(&a, "Env", "test");
    world.tag(&b, "Env", "prod");
    let line = format!("ec2 modify_tags --resource_ids {a} {b} --tags");
    let output = world.aaws(format!("{line} Env=test --delete")).run().ok().logs("1 unchanged");
    assert_eq!(output.json(), json!([]));
    assert_eq!((world.tags(&a).len(), world.tags(&b).len()), (0, 1), "another value is not removed, and not taken for done");
    world.aaws(format!("{line} Env --delete")).run().ok();
    assert_eq!(world.tags(&b).len(), 0);
}

#[test]
fn each_resource_gets_its_own_id() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let line = format!("ec2 modify_tags --resource_ids {a} {b} --dynamic_tags --tags");
    world.aaws(format!("{line} Name=data-{{resource_id}} {{resource_id}} --create")).run().ok();
    assert_eq!(world.tags(&a), [("Name".to_owned(), format!("data-{a}")), (a.clone(), String::new())]);
    // A key alone is no error half way.
    world.aaws(format!("{line} {{resource_id}} --delete")).run().ok();
    assert_eq!(world.tags(&b), [("Name".to_owned(), format!("data-{b}"))]);
}
