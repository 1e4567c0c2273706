//! Terminating instances, and deleting what belongs to them: what is refused and what stays; the final image; how few requests it takes; and what is
//! undone when something fails in the middle. Every call failing once is in `faults.rs`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::deleting::{Said, described, leak, lock, planned, references, reported};
use crate::support::ec2::{Machine, World, writes};
use crate::support::http::{Request, Server};
use crate::support::proxy::Proxy;
use crate::support::{Output, directory, proxy, report, xml};

fn left(instances: &[&str], volumes: &[&str], images: &[&str], snapshots: &[&str]) -> Value {
    json!({"Instances": instances, "Volumes": volumes, "Images": images, "Snapshots": snapshots})
}

fn protect(world: &World, instance: &str) {
    for attribute in ["DisableApiTermination.Value", "DisableApiStop.Value"] {
        world.ec2("ModifyInstanceAttribute", &[("InstanceId", instance), (attribute, "true")]);
    }
}

/// Whether an instance is protected against being terminated, and against being stopped.
fn protections(world: &World, instance: &str) -> [bool; 2] {
    ["disableApiTermination", "disableApiStop"].map(|attribute| {
        let answer = world.ec2("DescribeInstanceAttribute", &[("InstanceId", instance), ("Attribute", attribute)]);
        answer.contains("<value>true</value>")
    })
}

/// Refuses each request of an operation that names a thing, whatever else it names: EC2 refuses a whole request for one.
fn refusing(proxy: Proxy, operation: &'static str, id: &str, code: &'static str) -> Proxy {
    let id = id.to_owned();
    let names = move |request: &Request| request.text().split('&').any(|pair| pair.split_once('=').is_some_and(|(_, value)| value == id));
    proxy.rule(operation, move |_, request| names(request).then(|| proxy::error(request, 400, code)))
}

/// Runs a line as `reported` does, and interrupts it when it has asked for an operation, and looked at what comes of it.
fn interrupted_after(operation: &str, world: &World, server: &Server, line: &str) -> (Output, Said) {
    let folder = directory();
    let running = world.aaws_via(server, format!("ec2 {line} --report report.jsonl")).within(folder.path()).start();
    server.wait_for(operation, 1);
    server.wait_for("DescribeInstances", server.count("DescribeInstances") + 1);
    running.signal("INT");
    let output = running.wait();
    (output, Said(report(&folder)))
}

/// An instance, and a volume of data beside its own.
fn instance_with_data() -> (World, Machine, String) {
    let world = World::new();
    let machine = world.instance(&[]);
    let data = world.volume(&[]);
    world.attach(&data, &machine.id, "/dev/sdf");
    (world, machine, data)
}

// --- Instances: what is refused, and what a plan says ---

#[test]
fn protected_instances_and_those_of_groups_are_refused() {
    let world = World::new();
    let (protected, grouped, plain) = (world.instance(&[]), world.instance(&[]), world.instance(&[]));
    world.ec2("ModifyInstanceAttribute", &[("InstanceId", &protected.id), ("DisableApiTermination.Value", "true")]);
    world.tag(&grouped.id, "aws:autoscaling:groupName", "web");
    let line = format!("ec2 delete_instances --instance_ids {} {} {}", protected.id, grouped.id, plain.id);
    // Plan and run judge alike.
    let plan = world.aaws(format!("{line} --dry_run")).run().exits(3).json();
    let status: Vec<_> = plan.as_array().expect("a plan").iter().map(|p| p["status"].as_str().unwrap_or_default()).collect();
    assert_eq!(status, ["failed", "failed", "planned"]);
    let output = world.aaws(&line).run().exits(3).logs("`web`").logs("disable_protections");
    assert_eq!(output.json(), left(&[&protected.id, &grouped.id], &[], &[], &[]));
    assert_eq!(world.instance_state(&plain.id).as_deref(), Some("terminated"));
    assert_eq!(world.instance_state(&protected.id).as_deref(), Some("running"));
    assert_eq!(world.aaws(format!("{line} --disable_protections --auto_scaling")).run().ok().json(), left(&[], &[], &[], &[]));
}

#[test]
fn a_plan_of_instances_says_what_stays_with_those_that_stay() {
    let world = World::new();
    let (protected, free) = (world.instance(&[]), world.instance(&[]));
    let (kept, gone) = (world.volume(&[]), world.volume(&[]));
    world.attach(&kept, &protected.id, "/dev/sdf");
    world.attach(&gone, &free.id, "/dev/sdf");
    let (kept_snapshot, gone_snapshot) = (world.snapshot(&kept), world.snapshot(&gone));
    let (kept_image, gone_image) = (world.image(&protected.id), world.image(&free.id));
    protect(&world, &protected.id);
    let server = world.proxy().start();
    let line = format!("delete_instances --instance_ids {} {} --include volume image snapshot", protected.id, free.id);
    let plan = planned(&world, &server, &line, 3);
    assert_eq!(plan.code(&protected.id), "Protected");
    for id in [&kept, &protected.root, &kept_snapshot, &kept_image] {
        assert_eq!(plan.status(id), "skipped", "{:?}", plan.of(id));
        assert!(plan.why(id).contains(&protected.id), "{:?}", plan.of(id));
    }
    for id in [&free.id, &free.root, &gone, &gone_snapshot, &gone_image] {
        assert_eq!(plan.status(id), "planned", "{:?}", plan.of(id));
    }

    let (output, said) = reported(&world, &server, &line);
    output.exits(3);
    said.is_what_became_of(&plan);
    assert_eq!(world.images(), [kept_image]);
    assert!(world.snapshots().contains(&kept_snapshot) && !world.snapshots().contains(&gone_snapshot));
    assert_eq!((world.volume_state(&kept).as_deref(), world.volume_state(&gone)), (Some("in-use"), None));
    assert_eq!(protections(&world, &protected.id), [true, true]);
}

#[test]
fn the_person_asked_sees_the_instance_and_all_that_goes() {
    let (world, machine, data) = instance_with_data();
    let line = format!("ec2 delete_instances --instance_ids {} --include volume", machine.id);
    let shown = world.aaws(&line).on_terminal("n").exits(4);
    assert!(shown.stdout.contains(&machine.id) && shown.stdout.contains(&data), "{shown}");
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    world.aaws(&line).on_terminal("y").ok();
    assert_eq!(world.volume_state(&data), None);
}

#[test]
fn the_person_asked_sees_each_thing_once_and_not_what_stays() {
    let world = World::new();
    let machine = world.instance(&[]);
    let (data, claimed) = (world.volume(&[]), world.volume(&[]));
    world.attach(&data, &machine.id, "/dev/sdf");
    world.attach(&claimed, &machine.id, "/dev/sdg");
    world.tag(&claimed, "kubernetes.io/created-for/pvc/name", "data");
    let (snapshot, image) = (world.snapshot(&data), world.image(&machine.id));
    let line = format!("ec2 delete_instances --instance_ids {} --include volume image snapshot", machine.id);
    let shown = world.aaws(&line).on_terminal("n").exits(4);
    for id in [&machine.id, &machine.root, &data, &snapshot, &image] {
        assert_eq!(shown.stdout.matches(id.as_str()).count(), 1, "{id}: {shown}");
    }
    assert!(!shown.stdout.contains(&claimed), "{shown}");
    assert_eq!(shown.stdout.matches("[y/N]").count(), 1, "{shown}");
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    assert_eq!((world.images(), world.volume_state(&data).as_deref()), (vec![image], Some("in-use")));
}

#[test]
fn what_comes_back_or_goes_on_being_billed_is_told() {
    let world = World::new();
    let (plain, fleet, spot) = (world.instance(&[]), world.instance(&[]), world.instance(&[("InstanceMarketOptions.MarketType", "spot")]));
    world.tag(&fleet.id, "aws:ec2:fleet-id", "fleet-1");
    let made = world.ec2("AllocateAddress", &[("Domain", "vpc")]);
    let address = xml::texts(&made, "publicIp").remove(0);
    let allocation = xml::texts(&made, "allocationId").remove(0);
    world.ec2("AssociateAddress", &[("InstanceId", &fleet.id), ("AllocationId", &allocation)]);
    let server = world.proxy().start();
    let line = format!("delete_instances --instance_ids {} {} {}", plain.id, fleet.id, spot.id);
    let plan = planned(&world, &server, &line, 0);
    assert!(plan.why(&fleet.id).contains("fleet-1") && plan.why(&fleet.id).contains(&address), "{:?}", plan.0);
    assert!(plan.why(&spot.id).contains("Spot"), "{:?}", plan.0);
    assert!(!plan.why(&plain.id).contains("elastic") && !plan.why(&plain.id).contains("another"), "{:?}", plan.0);
    world.aaws_via(&server, format!("ec2 {line}")).run().ok().logs(&address).logs("fleet-1");
    // Nobody released it, and nothing is stopped that is only terminated.
    assert_eq!(writes(&server), ["TerminateInstances"]);

    // An elastic address of a second private one, and what else may launch another.
    let machine = world.instance(&[]);
    world.tag(&machine.id, "eks:nodegroup-name", "workers");
    let elastic = "<association><ipOwnerId>123456789012</ipOwnerId><publicIp>198.51.100.7</publicIp></association>";
    let second =
        format!("<item><primary>false</primary><privateIpAddress>10.0.0.9</privateIpAddress>{elastic}</item></privateIpAddressesSet>");
    let server = world.proxy().rewrite("DescribeInstances", move |_, xml| xml.replace("</privateIpAddressesSet>", &second)).start();
    let plan = planned(&world, &server, &format!("delete_instances --instance_ids {} --final_image", machine.id), 0);
    let why = plan.why(&machine.id);
    assert!(["198.51.100.7", "`workers`", "is another one after the stop"].iter().all(|told| why.contains(told)), "{why}");
}

#[test]
fn repeated_and_terminated_instances_are_unchanged_and_unknown_ones_are_not() {
    let world = World::new();
    let (gone, machine) = (world.instance(&[]), world.instance(&[]));
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone.id)]);
    let server = world.proxy().start();
    let line = format!("delete_instances --instance_ids i-0000000000000bad {} {} {} --include volume", gone.id, machine.id, machine.id);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.exits(3).json(), left(&["i-0000000000000bad"], &[], &[], &[]));
    assert_eq!(said.statuses(), ["done", "failed", "unchanged", "unchanged", "unchanged"], "{:?}", said.0);
    assert_eq!((said.code("i-0000000000000bad"), writes(&server)), ("NotFound", vec!["TerminateInstances".to_owned()]));
    let output = world.aaws("ec2 delete_instances --instance_ids i-0000000000000bad --ignore_not_found").run().ok();
    assert_eq!(output.json(), left(&[], &[], &[], &[]));
    world.aaws("ec2 delete_instances --instance_ids").arg("").run().exits(2).silent();
    assert_eq!(world.aaws("ec2 delete_instances --dry_run --instance_ids").run().ok().json(), json!([]));
}

#[test]
fn an_instance_whose_protections_cannot_be_read_is_not_terminated_and_the_others_are() {
    let world = World::new();
    let (hidden, free) = (world.instance(&[]), world.instance(&[]));
    let body = leak(format!("InstanceId={}", hidden.id));
    let server = world.proxy().refuse_with("DescribeInstanceAttribute", body, 403, "UnauthorizedOperation").start();
    let line = format!("delete_instances --instance_ids {} {} --include volume --disable_protections", hidden.id, free.id);
    let plan = planned(&world, &server, &line, 3);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.exits(3).json(), left(&[&hidden.id], &[&hidden.root], &[], &[]));
    assert_eq!(said.code(&hidden.id), "Unchecked");
    assert_eq!(world.instance_state(&hidden.id).as_deref(), Some("running"));
    assert_eq!(world.instance_state(&free.id).as_deref(), Some("terminated"));
    world.aaws_via(&server, format!("ec2 {line} --unchecked")).run().ok();
    assert_eq!(world.instance_state(&hidden.id).as_deref(), Some("terminated"));
}

#[test]
fn instances_that_a_service_manages_or_that_a_group_would_replace_are_refused() {
    let world = World::new();
    let managed = "<operator><managed>true</managed><principal>eks.amazonaws.com</principal></operator><instanceState>";
    let machine = world.instance(&[]);
    let server = world.proxy().rewrite("DescribeInstances", move |_, xml| xml.replace("<instanceState>", managed)).start();
    let line = format!("ec2 delete_instances --instance_ids {} --disable_protections --auto_scaling", machine.id);
    let output = world.aaws_via(&server, &line).run().exits(3).logs("eks.amazonaws.com");
    assert_eq!(output.json(), left(&[&machine.id], &[], &[], &[]));
    // Such instances are shown even where the account hides them.
    assert!(server.requests("DescribeInstances")[0].text().contains("IncludeManagedResources=true"));
    assert_eq!(writes(&server), [""; 0]);

    // A group terminates what is stopped: there would be no image of it.
    world.tag(&machine.id, "aws:autoscaling:groupName", "web");
    let server = world.proxy().start();
    world.aaws_via(&server, format!("{line} --final_image")).run().exits(3).logs("`web`");
    assert_eq!(writes(&server), [""; 0]);
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    world.stop(&machine.id);
    world.aaws_via(&server, format!("{line} --final_image")).run().ok();
    assert_eq!(writes(&server), ["CreateImage", "TerminateInstances"]);
}

// --- Instances: what belongs to them ---

#[test]
fn volumes_that_go_with_their_instance_are_unchanged() {
    let world = World::new();
    let (machine, folder) = (world.instance(&[]), directory());
    let line = format!("ec2 delete_instances --instance_ids {} --include volume --report report.jsonl", machine.id);
    let output = world.aaws(line).within(folder.path()).run().ok();
    assert_eq!(output.json(), left(&[], &[], &[], &[]));
    let of = |id: &str| report(&folder).into_iter().find(|l| l["item"] == id).map(|l| l["status"].clone());
    assert_eq!((of(&machine.id), of(&machine.root)), (Some(json!("done")), Some(json!("unchanged"))));
}

#[test]
fn what_belongs_to_an_instance_that_stays_stays_too() {
    let world = World::new();
    let (stays, goes) = (world.instance(&[]), world.instance(&[]));
    let (kept, gone) = (world.volume(&[]), world.volume(&[]));
    world.attach(&kept, &stays.id, "/dev/sdf");
    world.attach(&gone, &goes.id, "/dev/sdf");
    let (kept_snapshot, gone_snapshot) = (world.snapshot(&kept), world.snapshot(&gone));
    let (kept_image, _) = (world.image(&stays.id), world.image(&goes.id));
    let server = refusing(world.proxy(), "TerminateInstances", &stays.id, "UnsupportedOperation").start();
    let line = format!("ec2 delete_instances --instance_ids {} {} --include volume image snapshot", stays.id, goes.id);
    let output = world.aaws_via(&server, line).run().exits(3).logs("was not terminated");
    let printed = output.json();
    assert_eq!(printed["Instances"], json!([stays.id]));
    assert_eq!(printed["Images"], json!([kept_image]));
    assert!(printed["Volumes"].as_array().is_some_and(|v| v.contains(&json!(kept)) && v.contains(&json!(stays.root)) && v.len() == 2));
    assert_eq!(world.instance_state(&stays.id).as_deref(), Some("running"));
    assert_eq!(world.instance_state(&goes.id).as_deref(), Some("terminated"));
    assert_eq!(world.volume_state(&kept).as_deref(), Some("in-use"));
    assert_eq!(world.volume_state(&gone), None);
    assert_eq!(world.images(), [kept_image]);
    assert!(world.snapshots().contains(&kept_snapshot) && !world.snapshots().contains(&gone_snapshot));
}

#[test]
fn volumes_of_kubernetes_stay_with_their_snapshots() {
    let world = World::new();
    let machine = world.instance(&[]);
    let (claimed, plain) = (world.volume(&[]), world.volume(&[]));
    world.attach(&claimed, &machine.id, "/dev/sdf");
    world.attach(&plain, &machine.id, "/dev/sdg");
    world.tag(&claimed, "kubernetes.io/created-for/pvc/name", "data");
    let (kept, gone) = (world.snapshot(&claimed), world.snapshot(&plain));
    let server = world.proxy().start();
    let line = format!("delete_instances --instance_ids {} --include volume snapshot", machine.id);
    let plan = planned(&world, &server, &line, 3);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.exits(3).json(), left(&[], &[&claimed], &[], &[&kept]));
    assert!(said.why(&claimed).contains("pvc"), "{:?}", said.0);
    assert_eq!((world.volume_state(&claimed).as_deref(), world.volume_state(&plain)), (Some("available"), None));
    assert!(world.snapshots().contains(&kept) && !world.snapshots().contains(&gone));
}

#[test]
fn a_volume_that_another_instance_has_too_stays_with_its_snapshots() {
    let world = World::new();
    let (machine, stranger) = (world.instance(&[]), world.instance(&[]));
    let data = world.volume(&[]);
    world.attach(&data, &machine.id, "/dev/sdf");
    let snapshot = world.snapshot(&data);
    let also = format!("<attachmentSet><item><instanceId>{}</instanceId><status>attached</status></item>", stranger.id);
    let server = world.proxy().rewrite("DescribeVolumes", move |_, xml| xml.replace("<attachmentSet>", &also)).start();
    let line = format!("delete_instances --instance_ids {} --include volume snapshot", machine.id);
    let plan = planned(&world, &server, &line, 3);
    assert_eq!((plan.status(&data), plan.status(&snapshot)), ("skipped", "skipped"));
    let (output, said) = reported(&world, &server, &line);
    output.exits(3);
    said.is_what_became_of(&plan);
    assert!(said.why(&data).contains(&stranger.id) && said.why(&snapshot).contains(&stranger.id), "{:?}", said.0);
    assert_eq!(writes(&server), ["TerminateInstances"]);
    assert_eq!(world.volume_state(&data).as_deref(), Some("available"));
}

#[test]
fn a_volume_of_several_instances_goes_only_when_all_of_them_are_gone() {
    let world = World::new();
    let (goes, stays) = (world.instance(&[]), world.instance(&[]));
    let data = world.volume(&[]);
    world.attach(&data, &goes.id, "/dev/sdf");
    let snapshot = world.snapshot(&data);
    let also = format!("<attachmentSet><item><instanceId>{}</instanceId><status>attached</status></item>", stays.id);
    let proxy = world.proxy().rewrite("DescribeVolumes", move |_, xml| xml.replace("<attachmentSet>", &also));
    let server = refusing(proxy, "TerminateInstances", &stays.id, "UnsupportedOperation").start();
    let line = format!("delete_instances --instance_ids {} {} --include volume snapshot", goes.id, stays.id);
    let (output, said) = reported(&world, &server, &line);
    output.exits(3);
    assert_eq!(world.instance_state(&goes.id).as_deref(), Some("terminated"));
    for id in [&data, &snapshot] {
        assert_eq!(said.status(id), "skipped", "{:?}", said.of(id));
        assert!(said.why(id).contains(&stays.id), "{:?}", said.of(id));
    }
    assert_eq!((server.count("DeleteVolume"), server.count("DeleteSnapshot")), (0, 0));
    assert!(world.volume_state(&data).is_some());
}

#[test]
fn images_that_others_use_and_snapshots_of_aws_backup_outlive_their_instance() {
    let world = World::new();
    let machine = world.instance(&[]);
    let shared = world.image(&machine.id);
    let behind = world.snapshots();
    let golden = world.image(&machine.id);
    world.ec2("ModifyImageAttribute", &[("ImageId", &shared), ("LaunchPermission.Add.1.UserId", "111122223333")]);
    let backup = described(&world, &machine.root, "This snapshot is created by the AWS Backup service.");
    let (locked, free) = (world.snapshot(&machine.root), world.snapshot(&machine.root));
    let (named, held) = (golden.clone(), locked.clone());
    let server = world
        .proxy()
        .rule("DescribeImageReferences", move |_, _| Some(references(&[(&named, "imagebuilder:ImageRecipe", "arn:recipe")], false)))
        .rule("DescribeLockedSnapshots", move |_, _| Some(lock(&held, "governance", false)))
        .start();
    let line = format!("delete_instances --instance_ids {} --include image snapshot", machine.id);
    let plan = planned(&world, &server, &line, 3);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    let printed = output.exits(3).json();
    assert_eq!(printed["Instances"], json!([]));
    for image in [&shared, &golden] {
        assert!(printed["Images"].as_array().is_some_and(|i| i.contains(&json!(image))), "{printed}");
    }
    for snapshot in behind.iter().chain([&backup, &locked]) {
        assert!(printed["Snapshots"].as_array().is_some_and(|s| s.contains(&json!(snapshot))), "{snapshot}: {printed}");
    }
    assert_eq!(writes(&server), ["TerminateInstances", "DeleteSnapshot"], "only the snapshot that nothing holds");
    assert!(!world.snapshots().contains(&free));
    assert_eq!(world.images().len(), 2);
}

#[test]
fn volumes_are_deleted_when_they_are_free_however_long_that_takes() {
    let (world, machine, data) = instance_with_data();
    // A look beforehand; then it is still in use for some looks.
    let server = world
        .proxy()
        .rewrite("DescribeVolumes", |n, xml| {
            if (2..5).contains(&n) { xml.replace("<status>available</status>", "<status>in-use</status>") } else { xml }
        })
        .start();
    let (output, said) = reported(&world, &server, &format!("delete_instances --instance_ids {} --include volume", machine.id));
    assert_eq!(output.ok().json(), left(&[], &[], &[], &[]));
    assert_eq!((said.status(&data), said.status(&machine.root)), ("done", "unchanged"));
    assert!(server.count("DescribeVolumes") >= 5);
    assert_eq!(server.count("DeleteVolume"), 1);
    assert_eq!(world.volume_state(&data), None);
}

#[test]
fn a_volume_that_somebody_took_in_the_meantime_is_theirs() {
    let (world, machine, data) = instance_with_data();
    let server = world
        .proxy()
        .rewrite("DescribeVolumes", |n, xml| {
            let taken = "<status>in-use</status><attachmentSet><item><instanceId>i-0abc</instanceId><status>attached</status></item></attachmentSet>";
            match n {
                1 => xml,
                _ => xml.replace("attachmentSet", "formerSet").replace("<status>available</status>", taken),
            }
        })
        .start();
    let (output, said) = reported(&world, &server, &format!("delete_instances --instance_ids {} --include volume", machine.id));
    assert_eq!(output.exits(3).json(), left(&[], &[&data], &[], &[]));
    assert!(said.why(&data).contains("i-0abc"), "{:?}", said.0);
    assert_eq!(server.count("DeleteVolume"), 0);
}

// --- Instances: the final image ---

#[test]
fn the_final_image_is_made_of_a_stopped_instance_before_anything_is_deleted() {
    let (world, machine, _data) = instance_with_data();
    world.tag(&machine.id, "Env", "prod");
    world.tag(&machine.id, "aws:cloudformation:stack-name", "web");
    let server = world.proxy().start();
    let line = format!("delete_instances --instance_ids {} --final_image --include volume image snapshot", machine.id);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.ok().json(), left(&[], &[], &[], &[]));
    assert_eq!(writes(&server), ["StopInstances", "CreateImage", "TerminateInstances", "DeleteVolume"]);
    let images = world.images();
    assert_eq!(images.len(), 1, "it is not among the images that are deleted");
    assert!(said.why(&machine.id).contains(&images[0]), "{:?}", said.0);
    let tags = [("Env".to_owned(), "prod".to_owned())];
    assert_eq!(world.tags(&images[0]), tags);
    assert_eq!(world.snapshots().len(), 2, "nor are its snapshots");
    assert!(world.snapshots().iter().all(|s| world.tags(s) == tags));
}

#[test]
fn an_instance_without_its_image_runs_on_with_its_protections() {
    let world = World::new();
    let machine = world.instance(&[]);
    protect(&world, &machine.id);
    let line = format!("ec2 delete_instances --instance_ids {} --final_image --disable_protections", machine.id);
    for (operation, code) in [("CreateImage", "InternalError"), ("TerminateInstances", "UnsupportedOperation")] {
        let server = world.proxy().refuse(operation, 400, code).start();
        let output = world.aaws_via(&server, &line).run().exits(3).logs(code).logs("undone");
        assert_eq!(output.json(), left(&[&machine.id], &[], &[], &[]));
        assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"), "{operation}");
        assert_eq!(protections(&world, &machine.id), [true, true], "{operation}");
        assert_eq!((world.images(), world.snapshots()), (vec![], vec![]), "{operation}: the image is left over");
    }
    // An image that ends in a failure is no image.
    let server = world.proxy().rewrite("DescribeImages", |_, xml| xml.replace("<imageState>available", "<imageState>failed")).start();
    world.aaws_via(&server, &line).run().exits(3).logs("failed");
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    // It works, untagged as it is, when nothing fails; its image is named and kept.
    let output = world.aaws(&line).arg("--debug").run().ok();
    assert_eq!(world.images().len(), 1);
    assert!(output.stderr.contains(&world.images()[0]), "{output}");
}

#[test]
fn an_instance_that_cannot_be_stopped_keeps_no_other() {
    let world = World::new();
    let (spot, plain) = (world.instance(&[]), world.instance(&[]));
    let server = refusing(world.proxy(), "StopInstances", &spot.id, "UnsupportedOperation").start();
    let line = format!("delete_instances --instance_ids {} {} --final_image", spot.id, plain.id);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.exits(3).json(), left(&[&spot.id], &[], &[], &[]));
    assert_eq!(said.code(&spot.id), "UnsupportedOperation");
    assert_eq!(world.instance_state(&spot.id).as_deref(), Some("running"));
    assert_eq!(world.instance_state(&plain.id).as_deref(), Some("terminated"));
    assert_eq!(world.images().len(), 1);
}

#[test]
fn protections_that_cannot_be_lifted_keep_the_instance() {
    let world = World::new();
    let machine = world.instance(&[]);
    protect(&world, &machine.id);
    let server = world.proxy().refuse("ModifyInstanceAttribute", 403, "UnauthorizedOperation").start();
    let line = format!("delete_instances --instance_ids {} --disable_protections --final_image --include volume", machine.id);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.exits(3).json(), left(&[&machine.id], &[&machine.root], &[], &[]));
    assert_eq!(said.code(&machine.id), "UnauthorizedOperation");
    assert_eq!((server.count("StopInstances"), server.count("TerminateInstances")), (0, 0));
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    assert_eq!(protections(&world, &machine.id), [true, true]);
}

#[test]
fn a_failed_image_leaves_no_snapshots_even_if_it_names_none() {
    let world = World::new();
    let machine = world.instance(&[]);
    let server = world
        .proxy()
        .rewrite("DescribeImages", |_, xml| xml.replace("<imageState>available", "<imageState>failed").replace("snapshotId>", "hiddenId>"))
        .start();
    let line = format!("ec2 delete_instances --instance_ids {} --final_image", machine.id);
    world.aaws_via(&server, line).run().exits(3).logs("undone");
    assert_eq!((world.images(), world.snapshots()), (vec![], vec![]));
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
}

#[test]
fn an_image_whose_answer_was_lost_is_found() {
    let world = World::new();
    let machine = world.instance(&[]);
    let server = world.proxy().losing_every("CreateImage").start();
    let line = format!("delete_instances --instance_ids {} --final_image --include volume", machine.id);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.ok().json(), left(&[], &[], &[], &[]));
    assert!(said.why(&machine.id).contains(&world.images()[0]), "{:?}", said.0);
    assert_eq!((server.count("CreateImage"), world.images().len()), (1, 1));
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("terminated"));
}

#[test]
fn a_termination_whose_answer_was_lost_is_a_termination() {
    let (world, machine, data) = instance_with_data();
    let server = world.proxy().losing_every("TerminateInstances").start();
    let line = format!("delete_instances --instance_ids {} --final_image --include volume", machine.id);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.ok().json(), left(&[], &[], &[], &[]));
    assert_eq!(world.images().len(), 1, "the image is all that is left of it");
    assert!(said.why(&machine.id).contains(&world.images()[0]), "{:?}", said.0);
    assert_eq!(world.volume_state(&data), None);
    assert_eq!(server.count("DeregisterImage"), 0);
}

#[test]
fn when_it_is_not_clear_whether_an_instance_goes_its_image_stays_and_all_else_is_put_back() {
    let (world, machine, data) = instance_with_data();
    protect(&world, &machine.id);
    let server = world.proxy().refuse("TerminateInstances", 500, "InternalError").start();
    let line = format!("delete_instances --instance_ids {} --final_image --disable_protections --include volume", machine.id);
    let (output, said) = reported(&world, &server, &line);
    let printed = output.exits(3).json();
    assert_eq!(printed["Instances"], json!([machine.id]));
    assert!(printed["Volumes"].as_array().is_some_and(|v| v.contains(&json!(data)) && v.contains(&json!(machine.root))), "{printed}");
    let images = world.images();
    assert_eq!(images.len(), 1, "{:?}", said.0);
    assert_eq!(said.code(&machine.id), "Unknown");
    assert!(said.why(&machine.id).contains(&images[0]) && said.why(&machine.id).contains("undone"), "{:?}", said.0);
    assert_eq!((server.count("DeregisterImage"), server.count("DeleteSnapshot"), server.count("DeleteVolume")), (0, 0, 0));
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    assert_eq!(protections(&world, &machine.id), [true, true]);
}

#[test]
fn a_termination_that_is_no_longer_awaited_goes_on_and_undoes_nothing() {
    let (world, machine, data) = instance_with_data();
    let snapshot = world.snapshot(&data);
    let server =
        world.proxy().rewrite("DescribeInstances", |_, xml| xml.replace("<name>terminated</name>", "<name>shutting-down</name>")).start();
    let line = format!("delete_instances --instance_ids {} --final_image --include volume snapshot", machine.id);
    let (output, said) = interrupted_after("TerminateInstances", &world, &server, &line);
    output.exits(130);
    assert_eq!(said.code(&machine.id), "NotAwaited");
    let images = world.images();
    assert_eq!(images.len(), 1);
    assert!(said.why(&machine.id).contains(&images[0]), "{:?}", said.0);
    for id in [&data, &snapshot] {
        assert_eq!(said.status(id), "skipped", "{:?}", said.of(id));
    }
    assert_eq!(writes(&server), ["StopInstances", "CreateImage", "TerminateInstances"]);
    assert_eq!(world.volume_state(&data).as_deref(), Some("available"));
    assert!(world.snapshots().contains(&snapshot));
}

// --- Instances: how few requests it takes ---

#[test]
fn many_instances_are_looked_at_told_and_awaited_together() {
    const MANY: usize = 64;
    // Twenty seconds, at the rate at which waits pass here.
    const TAKES: Duration = Duration::from_millis(20_000 / 20);
    let world = World::new();
    let many = MANY.to_string();
    let image = [("ImageId", "ami-785db401"), ("InstanceType", "t3.micro"), ("MinCount", many.as_str()), ("MaxCount", many.as_str())];
    let ids = xml::texts(&world.ec2("RunInstances", &image), "instanceId");
    let ids: std::collections::BTreeSet<String> = ids.into_iter().collect();
    assert_eq!(ids.len(), MANY);
    let told: Arc<Mutex<Option<Instant>>> = Arc::default();
    let seen = Arc::clone(&told);
    let server = world
        .proxy()
        .rewrite("TerminateInstances", move |_, xml| {
            told.lock().expect("no test panics with it").get_or_insert_with(Instant::now);
            xml
        })
        .rewrite("DescribeInstances", move |_, xml| {
            let told = *seen.lock().expect("no test panics with it");
            let goes = told.is_some_and(|told| told.elapsed() < TAKES);
            if goes { xml.replace("<name>terminated</name>", "<name>shutting-down</name>") } else { xml }
        })
        .start();
    let line = format!("ec2 delete_instances --instance_ids {}", ids.into_iter().collect::<Vec<_>>().join(" "));
    assert_eq!(world.aaws_via(&server, line).run().ok().json(), left(&[], &[], &[], &[]));
    assert_eq!(server.count("DescribeInstanceAttribute"), 0);
    assert!(server.count("TerminateInstances") <= 3 && server.operations().len() < 30, "{:?}", server.operations());
}

#[test]
fn one_protected_instance_is_split_off_and_told_as_if_it_had_been_looked_at() {
    let world = World::new();
    let machines: Vec<String> = (0..5).map(|_| world.instance(&[]).id).collect();
    world.ec2("ModifyInstanceAttribute", &[("InstanceId", machines[2].as_str()), ("DisableApiTermination.Value", "true")]);
    let server = world.proxy().start();
    let (output, said) = reported(&world, &server, &format!("delete_instances --instance_ids {}", machines.join(" ")));
    assert_eq!(output.exits(3).json(), left(&[&machines[2]], &[], &[], &[]));
    assert_eq!(said.statuses(), ["done", "done", "done", "done", "failed"]);
    assert_eq!(said.code(&machines[2]), "Protected");
    assert!(said.why(&machines[2]).contains("disable_protections"), "{:?}", said.0);
    // All of them, and all but the one that EC2 named.
    assert!(server.count("TerminateInstances") <= 3, "{:?}", server.operations());
    assert_eq!(server.count("DescribeInstanceAttribute"), 0);
}

#[test]
fn an_instance_that_ec2_does_not_name_is_found_by_halves() {
    let world = World::new();
    let machines: Vec<String> = (0..4).map(|_| world.instance(&[]).id).collect();
    let server = refusing(world.proxy(), "TerminateInstances", &machines[3], "UnsupportedOperation").start();
    let (output, said) = reported(&world, &server, &format!("delete_instances --instance_ids {}", machines.join(" ")));
    assert_eq!(output.exits(3).json(), left(&[&machines[3]], &[], &[], &[]));
    assert_eq!(said.code(&machines[3]), "UnsupportedOperation");
    assert!(server.count("TerminateInstances") <= 6, "{:?}", server.operations());
}

#[test]
fn a_protected_instance_is_not_stopped_for_its_final_image() {
    let world = World::new();
    let machine = world.instance(&[]);
    world.ec2("ModifyInstanceAttribute", &[("InstanceId", &machine.id), ("DisableApiTermination.Value", "true")]);
    let server = world.proxy().start();
    world.aaws_via(&server, format!("ec2 delete_instances --instance_ids {} --final_image", machine.id)).run().exits(3).logs("Protected");
    assert_eq!(writes(&server), [""; 0]);
}

// --- Instances: what EC2 shows only later, and what cannot be looked at ---

#[test]
fn a_protection_that_was_lifted_and_is_still_seen_is_waited_for() {
    let world = World::new();
    let machine = world.instance(&[]);
    protect(&world, &machine.id);
    let still = |n: usize, request: &mut Request| (n <= 2).then(|| proxy::error(request, 400, "OperationNotPermitted"));
    let server = world.proxy().rule("StopInstances", still).rule("TerminateInstances", still).start();
    let line = format!("ec2 delete_instances --instance_ids {} --disable_protections --final_image", machine.id);
    assert_eq!(world.aaws_via(&server, line).run().ok().json(), left(&[], &[], &[], &[]));
    assert_eq!((server.count("StopInstances"), server.count("TerminateInstances"), server.count("StartInstances")), (3, 3, 0));
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("terminated"));
}

#[test]
fn an_instance_that_was_stopped_is_started_again_even_if_it_still_seems_to_run() {
    let world = World::new();
    let machine = world.instance(&[]);
    let server = world.proxy().rewrite("DescribeInstances", |_, xml| xml.replace("<name>stopped</name>", "<name>running</name>")).start();
    let line = format!("delete_instances --instance_ids {} --final_image", machine.id);
    let (output, said) = interrupted_after("StopInstances", &world, &server, &line);
    output.exits(130);
    assert!(said.why(&machine.id).contains("undone: stop"), "{:?}", said.0);
    assert_eq!(writes(&server), ["StopInstances", "StartInstances"]);
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
}

#[test]
fn an_instance_that_cannot_be_looked_at_any_more_is_started_again_all_the_same() {
    let world = World::new();
    let machine = world.instance(&[]);
    let server = world
        .proxy()
        .rule("DescribeInstances", |n, request| (n > 1).then(|| proxy::error(request, 403, "UnauthorizedOperation")))
        // It takes a while to stop.
        .rule("StartInstances", |n, request| (n <= 2).then(|| proxy::error(request, 400, "IncorrectInstanceState")))
        .start();
    let (output, said) = reported(&world, &server, &format!("delete_instances --instance_ids {} --final_image", machine.id));
    assert_eq!(output.exits(3).json(), left(&[&machine.id], &[], &[], &[]));
    assert!(said.why(&machine.id).contains("undone: stop"), "{:?}", said.0);
    assert_eq!(writes(&server), ["StopInstances", "StartInstances", "StartInstances", "StartInstances"]);
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
}

#[test]
fn the_snapshots_of_an_image_that_is_undone_go_when_ec2_lets_them() {
    let world = World::new();
    let machine = world.instance(&[]);
    let server = world
        .proxy()
        .refuse("TerminateInstances", 400, "UnsupportedOperation")
        .rule("DeleteSnapshot", |n, request| (n <= 2).then(|| proxy::error(request, 400, "InvalidSnapshot.InUse")))
        .start();
    let line = format!("ec2 delete_instances --instance_ids {} --final_image", machine.id);
    world.aaws_via(&server, line).run().exits(3).logs("undone: make the image");
    assert_eq!((world.images(), world.snapshots()), (vec![], vec![]));
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
}

#[test]
fn snapshots_that_are_shared_or_of_data_lifecycle_manager_outlive_their_instance() {
    let world = World::new();
    let machine = world.instance(&[]);
    let (shared, managed, free) = (world.snapshot(&machine.root), world.snapshot(&machine.root), world.snapshot(&machine.root));
    let permission = [("Attribute", "createVolumePermission"), ("OperationType", "add")];
    world.ec2("ModifySnapshotAttribute", &[("SnapshotId", &shared), permission[0], permission[1], ("UserId.1", "111122223333")]);
    world.tag(&managed, "aws:dlm:lifecycle-policy-id", "policy-1");
    let server = world.proxy().start();
    let line = format!("delete_instances --instance_ids {} --include snapshot", machine.id);
    let plan = planned(&world, &server, &line, 3);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    output.exits(3);
    assert_eq!([&shared, &managed, &free].map(|id| said.status(id)), ["skipped", "skipped", "done"]);
}

#[test]
fn images_whose_references_cannot_be_asked_for_outlive_their_instance_with_their_snapshots() {
    let world = World::new();
    let machine = world.instance(&[]);
    let image = world.image(&machine.id);
    let server = world.proxy().refuse("DescribeImageReferences", 403, "UnauthorizedOperation").start();
    let (output, said) = reported(&world, &server, &format!("delete_instances --instance_ids {} --include image", machine.id));
    output.exits(3);
    assert_eq!((said.status(&machine.id), said.code(&image)), ("done", "Unchecked"));
    assert_eq!((world.images(), world.snapshots().len()), (vec![image], 1));
}
