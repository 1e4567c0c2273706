//! Changing and deleting volumes: what is asked of EC2, in which order, and what is told of each volume.

use serde_json::json;

use crate::support::aaws::Running;
use crate::support::ec2::{World, writes};
use crate::support::http::{self, Request};
use crate::support::{Response, directory, told, xml};

/// The values of a list of a request, `Filter.1.Value`.
fn values(request: &Request, list: &str) -> Vec<String> {
    let pairs: Vec<(String, String)> =
        request.text().split('&').filter_map(|p| p.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    pairs.into_iter().filter(|(n, _)| n.strip_prefix(list).is_some_and(|rest| rest.starts_with('.'))).map(|(_, v)| v).collect()
}

/// A member of a volume as EC2 tells it.
fn of(world: &World, volume: &str, member: &str) -> Option<String> {
    xml::texts(&world.describe_volume(volume), member).into_iter().next()
}

/// An answer of `DescribeVolumesModifications`: volume, state, size and when it began.
fn modifications(of: &[(&str, &str, &str, &str)]) -> String {
    let item = |(volume, state, size, since): &(&str, &str, &str, &str)| {
        format!(
            "<item><volumeId>{volume}</volumeId><modificationState>{state}</modificationState><targetSize>{size}</targetSize>\
             <startTime>{since}</startTime><progress>7</progress><statusMessage>no room left</statusMessage></item>"
        )
    };
    let items: String = of.iter().map(item).collect();
    format!(
        "<DescribeVolumesModificationsResponse><volumeModificationSet>{items}</volumeModificationSet></DescribeVolumesModificationsResponse>"
    )
}

/// Answers of `DescribeSnapshots` in which the snapshots of one volume are in another state; of all volumes when it is empty.
fn snapshots_of(volume: &str, state: &'static str, xml: String) -> String {
    let of = |item: &str| volume.is_empty() || item.contains(volume);
    xml.split_inclusive("</item>")
        .map(|item| if of(item) { item.replace("<status>completed", &format!("<status>{state}")) } else { item.to_owned() })
        .collect()
}

fn interrupt(running: &Running) {
    running.signal("INT");
}

// --- Changing ---

#[test]
fn each_volume_given_has_an_outcome_and_the_accepted_ones_are_printed_in_order() {
    let world = World::new();
    let (a, b, c) = (world.volume(&[]), world.volume(&[("Size", "20")]), world.volume(&[]));
    let folder = directory();
    let server = world.proxy().start();
    let line = format!("ec2 modify_volumes --size 20 --volume_ids {c} vol-0000000000000bad {b} {a} {c} --report report.jsonl");
    let output = world.aaws_via(&server, line).within(folder.path()).run().exits(3);
    assert_eq!(output.json(), json!([c, a]));
    let told = told(&folder);
    let mut status: Vec<_> = told.iter().map(|(id, status, _)| (id.as_str(), status.as_str())).collect();
    let mut expected = [(&*c, "done"), ("vol-0000000000000bad", "failed"), (&*b, "unchanged"), (&*a, "done"), (&*c, "unchanged")];
    // A report has its lines in the order in which items are settled.
    status.sort_unstable();
    expected.sort_unstable();
    assert_eq!(status, expected);
    // Accepted is not done: the message says how far it is.
    let done: Vec<_> = told.iter().filter(|(_, status, _)| status == "done").collect();
    assert!(done.iter().all(|(_, _, said)| said.contains("20 GiB") && said.contains("completed (100%)")), "{told:?}");
    assert_eq!(server.count("ModifyVolume"), 2);
    assert_eq!([&a, &b, &c].map(|v| of(&world, v, "size")), [(); 3].map(|()| Some("20".to_owned())));
}

#[test]
fn one_volume_that_is_refused_sinks_no_other() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let server = world.proxy().fail("ModifyVolume", 1, 400, "VolumeModificationRateExceeded").start();
    let line = format!("ec2 modify_volumes --size 20 --volume_ids {a} {b} --concurrency 1");
    let output = world.aaws_via(&server, line).run().exits(3).logs("VolumeModificationRateExceeded");
    assert_eq!(output.json(), json!([b]));
    assert_eq!((of(&world, &a, "size"), of(&world, &b, "size")), (Some("8".into()), Some("20".into())));
}

#[test]
fn changes_under_way_and_smaller_sizes_fail_before_they_are_asked_for() {
    let world = World::new();
    let volume = world.volume(&[("Size", "20")]);
    let change = format!("<item><volumeId>{volume}</volumeId><modificationState>optimizing</modificationState></item>");
    let answer = format!(
        "<DescribeVolumesModificationsResponse><volumeModificationSet>{change}</volumeModificationSet></DescribeVolumesModificationsResponse>"
    );
    let server = world.proxy().rule("DescribeVolumesModifications", move |_, _| Some(Response::xml(200, answer.clone()))).start();
    world.aaws_via(&server, format!("ec2 modify_volumes --size 30 --volume_ids {volume}")).run().exits(3).logs("optimizing");
    world.aaws_via(&server, format!("ec2 modify_volumes --size 10 --volume_ids {volume}")).run().exits(3).logs("only grow");
    assert_eq!(writes(&server), [""; 0]);
    world.aaws(format!("ec2 modify_volumes --volume_ids {volume}")).run().exits(2).logs("at least one");
}

#[test]
fn ids_are_looked_up_two_hundred_at_a_time_and_on_every_page() {
    let world = World::new();
    let ids: Vec<String> = (0..201).map(|n| format!("vol-{n:017x}")).collect();
    let server = world.proxy().start();
    let input = json!({"volume_ids": ids, "size": 20}).to_string();
    let output = world.aaws_via(&server, "ec2 modify_volumes --input").arg(input).run().exits(3);
    assert_eq!(output.json(), json!([]));
    let asked = server.requests("DescribeVolumes");
    assert_eq!(asked.iter().map(|r| values(r, "Filter.1.Value").len()).collect::<Vec<_>>(), [200, 1]);
    // Where there is no volume there is no change of it, and a filter without values would be all of them.
    assert_eq!(server.count("DescribeVolumesModifications"), 0);

    // The second page of the changes says that one goes on.
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let second = modifications(&[(&b, "modifying", "20", "2026-01-01T00:00:00Z")]);
    let first = modifications(&[]).replace("</DescribeV", "<nextToken>more</nextToken></DescribeV");
    let server = world
        .proxy()
        .rule("DescribeVolumesModifications", move |_, request| {
            let page = if request.text().contains("NextToken=more") { &second } else { &first };
            Some(Response::xml(200, page.clone()))
        })
        .start();
    let output = world.aaws_via(&server, format!("ec2 modify_volumes --size 20 --volume_ids {a} {b}")).run().exits(3).logs("modifying");
    assert_eq!(output.json(), json!([a]));
    assert_eq!((server.count("DescribeVolumesModifications"), server.count("ModifyVolume")), (2, 1));
}

#[test]
fn safety_snapshots_are_taken_of_all_awaited_together_and_named() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let folder = directory();
    let server = world.proxy().rewrite("DescribeSnapshots", |n, xml| if n < 3 { snapshots_of("", "pending", xml) } else { xml }).start();
    let line = format!("ec2 modify_volumes --snapshot --size 20 --volume_ids {a} {b} --report report.jsonl");
    world.aaws_via(&server, line).within(folder.path()).run().ok();
    assert_eq!(writes(&server), ["CreateSnapshot", "CreateSnapshot", "ModifyVolume", "ModifyVolume"]);
    assert!((3..=4).contains(&server.count("DescribeSnapshots")), "one look for both: {:?}", server.operations());
    let operations = server.operations();
    let looked = operations.iter().rposition(|o| o == "DescribeSnapshots");
    assert!(looked < operations.iter().position(|o| o == "ModifyVolume"), "{operations:?}");
    let told = told(&folder);
    for snapshot in world.snapshots() {
        assert!(told.iter().any(|(_, _, message)| message.contains(&snapshot)), "{snapshot} is not named: {told:?}");
        let of_volume = |volume: &String| world.tags(&snapshot).contains(&("Name".to_owned(), format!("source:{volume}")));
        assert!(of_volume(&a) || of_volume(&b), "{:?}", world.tags(&snapshot));
    }
    assert_eq!(world.snapshots().len(), 2);
}

#[test]
fn a_volume_whose_snapshot_fails_is_not_changed() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let server = world.proxy().fail("CreateSnapshot", 1, 400, "SnapshotLimitExceeded").start();
    let line = format!("ec2 modify_volumes --snapshot --size 20 --volume_ids {a} {b} --concurrency 1");
    let output = world.aaws_via(&server, line).run().exits(3).logs("SnapshotLimitExceeded");
    assert_eq!(output.json(), json!([b]));
    assert_eq!((of(&world, &a, "size"), of(&world, &b, "size")), (Some("8".into()), Some("20".into())));
}

#[test]
fn a_snapshot_that_ends_in_an_error_blocks_only_its_volume_and_is_named() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let bad = a.clone();
    let server = world.proxy().rewrite("DescribeSnapshots", move |_, xml| snapshots_of(&bad, "error", xml)).start();
    let line = format!("ec2 modify_volumes --snapshot --size 20 --volume_ids {a} {b}");
    let output = world.aaws_via(&server, line).run().exits(3).logs("snap-");
    assert_eq!(output.json(), json!([b]));
    assert_eq!((of(&world, &a, "size"), of(&world, &b, "size")), (Some("8".into()), Some("20".into())));
}

#[test]
fn who_stops_the_run_while_snapshots_are_taken_gets_nothing_changed() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let server = world.proxy().rewrite("DescribeSnapshots", |_, xml| snapshots_of("", "pending", xml)).start();
    let running = world.aaws_via(&server, format!("ec2 modify_volumes --snapshot --size 20 --volume_ids {a} {b}")).start();
    server.wait_for("CreateSnapshot", 2);
    server.wait_for("DescribeSnapshots", 2);
    interrupt(&running);
    let output = running.wait().exits(130);
    assert_eq!(output.json(), json!([]));
    assert_eq!(server.count("ModifyVolume"), 0);
    world.snapshots().iter().for_each(|s| assert!(output.stderr.contains(s), "{s} is not named: {output}"));
}

#[test]
fn a_wait_ends_when_the_change_is_in_effect_and_says_so() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let folder = directory();
    let server = world
        .proxy()
        .rewrite("DescribeVolumesModifications", |n, xml| {
            let state = if n < 4 { "modifying" } else { "optimizing" };
            if n == 1 { xml } else { xml.replace("<modificationState>completed", &format!("<modificationState>{state}")) }
        })
        .start();
    let line = format!("ec2 modify_volumes --size 20 --wait --volume_ids {a} {b} --report report.jsonl");
    let output = world.aaws_via(&server, line).within(folder.path()).run().ok();
    assert_eq!(output.json(), json!([a, b]));
    // Once before, then three looks at both; the first of them may be before the second change.
    let looks = server.requests("DescribeVolumesModifications");
    assert!((4..=5).contains(&looks.len()), "{:?}", server.operations());
    let mut both = values(&looks[2], "Filter.1.Value");
    both.sort();
    let mut wanted = [a.clone(), b.clone()];
    wanted.sort();
    assert_eq!(both, wanted);
    for (_, status, message) in told(&folder) {
        assert!(status == "done" && message.contains("optimizing"), "{status}: {message}");
    }
}

#[test]
fn a_change_that_fails_in_the_background_is_a_failure_with_ec2s_reason() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let bad = a.clone();
    let server = world
        .proxy()
        .rewrite("DescribeVolumesModifications", move |_, xml| {
            let failed = "<modificationState>failed</modificationState><statusMessage>no room left</statusMessage>";
            let of = |item: &str| {
                if item.contains(&bad) { item.replace("<modificationState>completed</modificationState>", failed) } else { item.to_owned() }
            };
            xml.split_inclusive("</item>").map(of).collect()
        })
        .start();
    let line = format!("ec2 modify_volumes --size 20 --wait --volume_ids {a} {b}");
    let output = world.aaws_via(&server, &line).run().exits(3).logs("no room left");
    assert_eq!(output.json(), json!([b]));
    // Without waiting nobody knows of it yet, and it was accepted.
    let c = world.volume(&[]);
    assert_eq!(world.aaws_via(&server, format!("ec2 modify_volumes --size 20 --volume_ids {c}")).run().ok().json(), json!([c]));
}

#[test]
fn the_change_before_is_not_taken_for_the_one_that_is_waited_for() {
    let world = World::new();
    let volume = world.volume(&[]);
    let stale = modifications(&[(&volume, "completed", "8", "2020-01-01T00:00:00Z")]);
    let server = world.proxy().rule("DescribeVolumesModifications", move |n, _| (n < 4).then(|| Response::xml(200, stale.clone()))).start();
    let line = format!("ec2 modify_volumes --size 20 --wait --volume_ids {volume}");
    assert_eq!(world.aaws_via(&server, line).run().ok().json(), json!([volume]));
    assert_eq!(server.count("DescribeVolumesModifications"), 4, "it looks until EC2 shows the new one");
}

#[test]
fn a_wait_that_runs_out_names_the_volume_and_how_far_it_is() {
    let world = World::new();
    let volume = world.volume(&[]);
    let server = world
        .proxy()
        .rewrite("DescribeVolumesModifications", |_, xml| {
            let xml = xml.replace("<modificationState>completed", "<modificationState>modifying");
            xml.replace("<progress>100", "<progress>42")
        })
        .start();
    let folder = directory();
    let line = format!("ec2 modify_volumes --size 20 --wait --volume_ids {volume} --timeout 4s --report report.jsonl");
    world.aaws_via(&server, line).within(folder.path()).run().exits(1);
    let told = told(&folder);
    assert_eq!((told[0].0.as_str(), told[0].1.as_str()), (volume.as_str(), "failed"));
    assert!(told[0].2.contains("modifying") && told[0].2.contains("42%"), "{told:?}");
}

#[test]
fn volumes_that_wait_hold_up_no_other_and_are_looked_at_together() {
    let world = World::new();
    let volumes: Vec<String> = (0..12).map(|_| world.volume(&[])).collect();
    // None is in effect before all are asked for.
    let server = world
        .proxy()
        .rewrite("DescribeVolumesModifications", |_, xml| {
            let all = xml.matches("<volumeId>").count() == 12;
            if all { xml } else { xml.replace("<modificationState>completed", "<modificationState>modifying") }
        })
        .start();
    let line = format!("ec2 modify_volumes --size 20 --wait --concurrency 2 --volume_ids {}", volumes.join(" "));
    assert_eq!(world.aaws_via(&server, line).run().ok().json(), json!(volumes));
    assert_eq!(server.count("ModifyVolume"), 12);
    let last = server.requests("DescribeVolumesModifications").pop().expect("a look");
    assert_eq!(values(&last, "Filter.1.Value").len(), 12, "one look for all");
    assert_eq!(last.parameter("IncludeManagedResources").as_deref(), Some("true"));
}

#[test]
fn a_volume_is_deleted_when_its_own_snapshot_is_complete_whatever_becomes_of_others() {
    let world = World::new();
    let (quick, slow) = (world.volume(&[]), world.volume(&[]));
    let pending = slow.clone();
    let server = world.proxy().rewrite("DescribeSnapshots", move |_, xml| snapshots_of(&pending, "pending", xml)).start();
    let running = world.aaws_via(&server, format!("ec2 delete_volumes --snapshot --volume_ids {slow} {quick}")).start();
    server.wait_for("DeleteVolume", 1);
    interrupt(&running);
    let output = running.wait().exits(130);
    assert_eq!(output.json(), json!([slow]));
    assert_eq!((world.volume_state(&quick), world.volume_state(&slow).as_deref()), (None, Some("available")));
}

#[test]
fn a_volume_that_becomes_gp3_keeps_its_performance() {
    let world = World::new();
    let volume = world.volume(&[("VolumeType", "gp2"), ("Size", "2000")]);
    let server = world.proxy().start();
    world.aaws_via(&server, format!("ec2 modify_volumes --type gp3 --volume_ids {volume}")).run().ok();
    let sent = server.requests("ModifyVolume")[0].text();
    assert!(sent.contains("Iops=6000") && sent.contains("Throughput=250"), "{sent}");
    let line = format!("ec2 modify_volumes --throughput 500 --iops 7000 --volume_ids {volume} --wait");
    world.aaws(&line).run().ok();
    assert_eq!(of(&world, &volume, "throughput").as_deref(), Some("500"));
    // It is so now, and that is no change.
    let server = world.proxy().start();
    assert_eq!(world.aaws_via(&server, &line).run().ok().json(), json!([]));
    assert_eq!(writes(&server), [""; 0]);
}

#[test]
fn provisioned_performance_is_kept_and_types_without_it_are_not_told_any() {
    let world = World::new();
    let server = world.proxy().start();
    let ask = |volume: &str, kind: &str| {
        world.aaws_via(&server, format!("ec2 modify_volumes --type {kind} --volume_ids {volume}")).run().ok();
        let request = server.requests("ModifyVolume").pop().expect("a request");
        (request.parameter("VolumeType"), request.parameter("Iops"), request.parameter("Throughput"))
    };
    let some = |kind: &str, iops: Option<&str>, throughput: Option<&str>| {
        (Some(kind.to_owned()), iops.map(str::to_owned), throughput.map(str::to_owned))
    };
    let io2 = world.volume(&[("VolumeType", "io2"), ("Size", "100"), ("Iops", "4000")]);
    assert_eq!(ask(&io2, "gp3"), some("gp3", Some("4000"), Some("1000")));
    let gp3 = world.volume(&[("Size", "500"), ("Iops", "4000"), ("Throughput", "300")]);
    assert_eq!(ask(&gp3, "io2"), some("io2", Some("4000"), None));
    for kind in ["gp2", "st1", "sc1", "standard"] {
        let gp3 = world.volume(&[("Size", "500"), ("Iops", "4000"), ("Throughput", "300")]);
        assert_eq!(ask(&gp3, kind), some(kind, None, None));
    }
}

#[test]
fn iops_and_throughput_that_a_type_does_not_have_are_refused_and_not_dropped() {
    let world = World::new();
    let (gp2, gp3) = (world.volume(&[("VolumeType", "gp2")]), world.volume(&[]));
    let server = world.proxy().start();
    // Known from the input alone.
    for more in ["--type st1 --iops 4000", "--type gp2 --iops 4000", "--type io2 --throughput 200"] {
        world.aaws_via(&server, format!("ec2 modify_volumes {more} --volume_ids {gp3}")).run().exits(2).silent();
    }
    assert_eq!(server.operations(), [""; 0]);
    // Known from the volume; the others are changed.
    let output = world.aaws_via(&server, format!("ec2 modify_volumes --iops 4000 --volume_ids {gp2} {gp3}")).run().exits(3).logs("gp2");
    assert_eq!(output.json(), json!([gp3]));
    assert_eq!(of(&world, &gp3, "iops").as_deref(), Some("4000"));
    assert_eq!(server.count("ModifyVolume"), 1);
}

#[test]
fn a_change_whose_answer_was_lost_is_known_all_the_same() {
    let world = World::new();
    let volume = world.volume(&[]);
    // The request is carried out and its answer lost; sent again, it is refused: the volume is being changed already.
    let server = world.proxy().losing("ModifyVolume").refuse("ModifyVolume", 400, "IncorrectModificationState").start();
    let output = world.aaws_via(&server, format!("ec2 modify_volumes --size 20 --volume_ids {volume}")).run().ok();
    assert_eq!(output.json(), json!([volume]));
    assert_eq!(of(&world, &volume, "size").as_deref(), Some("20"));
    // An error without a change behind it is an error.
    let other = world.volume(&[]);
    let server = world.proxy().refuse("ModifyVolume", 400, "IncorrectModificationState").start();
    world.aaws_via(&server, format!("ec2 modify_volumes --size 20 --volume_ids {other}")).run().exits(3).logs("IncorrectModificationState");
}

#[test]
fn credentials_that_expire_end_the_run() {
    let world = World::new();
    let volumes: Vec<String> = (0..3).map(|_| world.volume(&[])).collect();
    for (line, operation) in [("modify_volumes --size 20", "ModifyVolume"), ("delete_volumes", "DeleteVolume")] {
        let server = world.proxy().refuse(operation, 400, "ExpiredToken").start();
        let line = format!("ec2 {line} --volume_ids {} --concurrency 1", volumes.join(" "));
        world.aaws_via(&server, line).run().exits(5).logs("ExpiredToken");
        assert_eq!(server.count(operation), 1, "the next one would meet it too");
    }
}

#[test]
fn a_volume_that_is_going_or_coming_is_neither_saved_nor_changed() {
    let world = World::new();
    let volume = world.volume(&[]);
    for state in ["creating", "deleting", "error"] {
        let server =
            world.proxy().rewrite("DescribeVolumes", move |_, xml| xml.replace("<status>available", &format!("<status>{state}"))).start();
        world
            .aaws_via(&server, format!("ec2 modify_volumes --snapshot --size 20 --volume_ids {volume}"))
            .run()
            .exits(3)
            .logs(&format!("it is {state}"));
        assert_eq!(writes(&server), [""; 0]);
    }
}

#[test]
fn a_plan_says_what_would_be_asked_for() {
    let world = World::new();
    let volume = world.volume(&[("VolumeType", "gp2"), ("Size", "2000")]);
    let server = world.proxy().start();
    let line = format!("ec2 modify_volumes --type gp3 --size 3000 --snapshot --volume_ids {volume} --dry_run");
    let plan = world.aaws_via(&server, line).run().ok().json();
    let message = plan[0]["message"].as_str().unwrap_or_default();
    for part in ["gp3", "3000 GiB", "9000 IOPS", "250 MiB/s", "snapshot"] {
        assert!(message.contains(part), "no {part} in {message}");
    }
    assert_eq!(writes(&server), [""; 0]);
}

// --- Deleting ---

#[test]
fn a_volume_in_use_is_skipped_with_a_reason_and_printed() {
    let world = World::new();
    let (used, free, folder) = (world.volume(&[]), world.volume(&[]), directory());
    let machine = world.instance(&[]);
    world.attach(&used, &machine.id, "/dev/sdf");
    let line = format!("ec2 delete_volumes --volume_ids {used} vol-0000000000000bad {free} --report report.jsonl");
    let output = world.aaws(line).within(folder.path()).run().exits(3);
    assert_eq!(output.json(), json!([used, "vol-0000000000000bad"]), "what is still there is printed: [] would look like success");
    let told = told(&folder);
    let of = |id: &str| told.iter().find(|(item, ..)| item == id).map(|(_, status, message)| (status.as_str(), message.as_str()));
    assert!(of(&used).is_some_and(|(status, message)| status == "skipped" && message.contains(&machine.id)), "{told:?}");
    assert_eq!(of("vol-0000000000000bad").map(|(status, _)| status), Some("failed"));
    assert_eq!(of(&free).map(|(status, _)| status), Some("done"));
    assert_eq!(world.volume_state(&free), None);
    // Being skipped is reason enough: here nothing fails.
    world.aaws(format!("ec2 delete_volumes --volume_ids {used}")).run().exits(3);
}

#[test]
fn volumes_of_kubernetes_are_left_unless_that_is_meant() {
    let world = World::new();
    let volume = world.volume(&[]);
    world.tag(&volume, "kubernetes.io/created-for/pvc/name", "data");
    assert_eq!(world.aaws(format!("ec2 delete_volumes --volume_ids {volume}")).run().exits(3).json(), json!([volume]));
    assert_eq!(world.aaws(format!("ec2 delete_volumes --volume_ids {volume} --kubernetes")).run().ok().json(), json!([]));
    assert_eq!(world.volume_state(&volume), None);
}

#[test]
fn a_volume_is_deleted_when_its_snapshot_is_complete_and_not_before() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let folder = directory();
    let server = world.proxy().rewrite("DescribeSnapshots", |n, xml| if n < 3 { snapshots_of("", "pending", xml) } else { xml }).start();
    let line = format!("ec2 delete_volumes --snapshot --volume_ids {a} {b} --report report.jsonl");
    assert_eq!(world.aaws_via(&server, line).within(folder.path()).run().ok().json(), json!([]));
    assert_eq!(writes(&server), ["CreateSnapshot", "CreateSnapshot", "DeleteVolume", "DeleteVolume"]);
    let operations = server.operations();
    assert!(operations.iter().rposition(|o| o == "DescribeSnapshots") < operations.iter().position(|o| o == "DeleteVolume"));
    assert!((3..=4).contains(&server.count("DescribeSnapshots")), "one look for both: {:?}", server.operations());
    let told = told(&folder);
    world.snapshots().iter().for_each(|s| assert!(told.iter().any(|(_, _, m)| m.contains(s)), "{s} is not named: {told:?}"));
    assert_eq!((world.volumes().len(), world.snapshots().len()), (0, 2));
}

#[test]
fn a_volume_whose_snapshot_fails_stays() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let server = world.proxy().fail("CreateSnapshot", 1, 400, "SnapshotLimitExceeded").start();
    let line = format!("ec2 delete_volumes --snapshot --volume_ids {a} {b} --concurrency 1");
    let output = world.aaws_via(&server, line).run().exits(3).logs("SnapshotLimitExceeded");
    assert_eq!(output.json(), json!([a]));
    assert_eq!((world.volume_state(&a).as_deref(), world.volume_state(&b)), (Some("available"), None));

    // One that ends in an error is no snapshot.
    let server = world.proxy().rewrite("DescribeSnapshots", |_, xml| xml.replace("completed", "error")).start();
    let output = world.aaws_via(&server, format!("ec2 delete_volumes --snapshot --volume_ids {a}")).run().exits(3).logs("snap-");
    assert_eq!(output.json(), json!([a]));
    assert_eq!(world.volume_state(&a).as_deref(), Some("available"));
}

#[test]
fn an_attach_that_slips_in_before_the_deletion_is_told_with_the_snapshot() {
    let world = World::new();
    let volume = world.volume(&[]);
    let machine = world.instance(&[]);
    // It is attached while its snapshot is awaited.
    let (inner, id, host) = (world.proxy().start().url, volume.clone(), machine.id.clone());
    let server = world
        .proxy()
        .rule("DeleteVolume", move |_, request| {
            let mut attach = request.clone();
            let form = format!("Action=AttachVolume&Version=2016-11-15&VolumeId={id}&InstanceId={host}&Device=/dev/sdf");
            attach.body = form.into_bytes();
            assert!(http::send(&inner, &attach).expect("it is attached").status < 300);
            None
        })
        .start();
    let output = world.aaws_via(&server, format!("ec2 delete_volumes --snapshot --volume_ids {volume}")).run().exits(3).logs("VolumeInUse");
    assert_eq!(output.json(), json!([volume]));
    assert_eq!(world.volume_state(&volume).as_deref(), Some("in-use"));
    assert!(output.stderr.contains(&world.snapshots()[0]), "{output}");
}

#[test]
fn snapshots_that_are_not_complete_in_time_keep_their_volumes_and_lose_no_id() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let server = world.proxy().rewrite("DescribeSnapshots", |_, xml| snapshots_of("", "pending", xml)).start();
    let folder = directory();
    let line = format!("ec2 delete_volumes --snapshot --volume_ids {a} {b} --timeout 4s --report report.jsonl");
    world.aaws_via(&server, line).within(folder.path()).run().exits(1);
    let told = told(&folder);
    assert_eq!(told.iter().map(|(_, status, _)| status.as_str()).collect::<Vec<_>>(), ["failed", "failed"]);
    world.snapshots().iter().for_each(|s| assert!(told.iter().any(|(_, _, m)| m.contains(s)), "{s} is not named: {told:?}"));
    let mut both = vec![a, b];
    both.sort();
    assert_eq!(world.volumes(), both);
}

#[test]
fn who_stops_the_run_while_snapshots_are_taken_gets_nothing_deleted() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let server = world.proxy().rewrite("DescribeSnapshots", |_, xml| snapshots_of("", "pending", xml)).start();
    let running = world.aaws_via(&server, format!("ec2 delete_volumes --snapshot --volume_ids {a} {b}")).start();
    server.wait_for("CreateSnapshot", 2);
    server.wait_for("DescribeSnapshots", 2);
    interrupt(&running);
    let output = running.wait().exits(130);
    assert_eq!(output.json(), json!([a, b]), "both are still there");
    assert_eq!(server.count("DeleteVolume"), 0);
    world.snapshots().iter().for_each(|s| assert!(output.stderr.contains(s), "{s} is not named: {output}"));
}

#[test]
fn volumes_in_an_error_are_deleted_and_those_that_go_already_are_unchanged() {
    let world = World::new();
    let (broken, going, gone) = (world.volume(&[]), world.volume(&[]), world.volume(&[]));
    let (error, deleting) = (broken.clone(), going.clone());
    let server = world
        .proxy()
        .rewrite("DescribeVolumes", move |_, xml| {
            let other = |item: &str, id: &String, state: &str| {
                if item.contains(id.as_str()) { item.replace("<status>available", &format!("<status>{state}")) } else { item.to_owned() }
            };
            xml.split_inclusive("</item>").map(|item| other(&other(item, &error, "error"), &deleting, "deleting")).collect()
        })
        .refuse_with("DeleteVolume", Box::leak(format!("VolumeId={gone}").into_boxed_str()), 400, "InvalidVolume.NotFound")
        .start();
    let folder = directory();
    let line = format!("ec2 delete_volumes --volume_ids {broken} {going} {gone} --report report.jsonl");
    assert_eq!(world.aaws_via(&server, line).within(folder.path()).run().ok().json(), json!([]));
    let told = told(&folder);
    let status = |id: &str| told.iter().find(|(item, ..)| item == id).map(|(_, status, _)| status.as_str());
    assert_eq!([&broken, &going, &gone].map(|id| status(id)), [Some("done"), Some("unchanged"), Some("unchanged")]);
    assert_eq!(world.volume_state(&broken), None);
    assert_eq!(server.count("DeleteVolume"), 2);
}

#[test]
fn volumes_of_every_page_are_deleted() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let page = |id: &str, token: &str| {
        format!(
            "<DescribeVolumesResponse><volumeSet><item><volumeId>{id}</volumeId><status>available</status></item></volumeSet>{token}</DescribeVolumesResponse>"
        )
    };
    let pages = [page(&a, "<nextToken>more</nextToken>"), page(&b, "")];
    let server = world
        .proxy()
        .rule("DescribeVolumes", move |_, request| {
            let page = usize::from(request.text().contains("NextToken=more"));
            Some(Response::xml(200, pages[page].clone()))
        })
        .start();
    assert_eq!(world.aaws_via(&server, format!("ec2 delete_volumes --volume_ids {a} {b}")).run().ok().json(), json!([]));
    assert_eq!(world.volumes(), [""; 0]);
}
