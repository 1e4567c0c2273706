//! Deleting volumes, snapshots, images, instances and security groups: what is in use stays, and says so.

use serde_json::json;

use crate::support::ec2::{World, writes};
use crate::support::{Response, directory, report};

fn left(instances: &[&str], volumes: &[&str], images: &[&str], snapshots: &[&str]) -> serde_json::Value {
    json!({"Instances": instances, "Volumes": volumes, "Images": images, "Snapshots": snapshots})
}

// --- Volumes ---

#[test]
fn a_volume_in_use_is_skipped_with_a_reason_and_printed() {
    let world = World::new();
    let (used, free, folder) = (world.volume(&[]), world.volume(&[]), directory());
    let machine = world.instance(&[]);
    world.attach(&used, &machine.id, "/dev/sdf");
    let line = format!("ec2 delete_volumes --volume_ids {used} vol-0000000000000bad {free} --report report.jsonl");
    let output = world.aaws(line).within(folder.path()).run().ok();
    assert_eq!(output.json(), json!([used]), "what is still there is printed: [] would look like success");
    let lines = report(&folder);
    let status: Vec<_> = lines.iter().map(|l| l["status"].as_str().unwrap_or_default()).collect();
    assert_eq!(status, ["skipped", "unchanged", "done"]);
    assert!(lines[0]["message"].as_str().is_some_and(|m| m.contains(&machine.id)), "{lines:?}");
    assert_eq!(world.volume_state(&free), None);
}

#[test]
fn a_volume_whose_snapshot_fails_stays() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let server = world.proxy().fail("CreateSnapshot", 1, 400, "SnapshotCreationPerVolumeRateExceeded").start();
    let line = format!("ec2 delete_volumes --snapshot --volume_ids {a} {b} --concurrency 1");
    let output = world.aaws_via(&server, line).run().exits(3).logs("SnapshotCreationPerVolumeRateExceeded");
    assert_eq!(output.json(), json!([a]));
    assert_eq!((world.volume_state(&a).as_deref(), world.volume_state(&b)), (Some("available"), None));

    // One that ends in an error is no snapshot.
    let server = world.proxy().rewrite("DescribeSnapshots", |_, xml| xml.replace("completed", "error")).start();
    let output = world.aaws_via(&server, format!("ec2 delete_volumes --snapshot --volume_ids {a}")).run().exits(3).logs("snap-");
    assert_eq!(output.json(), json!([a]));
    assert_eq!(world.volume_state(&a).as_deref(), Some("available"));
}

#[test]
fn volumes_of_kubernetes_are_left_unless_that_is_meant() {
    let world = World::new();
    let volume = world.volume(&[]);
    world.tag(&volume, "kubernetes.io/created-for/pvc/name", "data");
    assert_eq!(world.aaws(format!("ec2 delete_volumes --volume_ids {volume}")).run().ok().json(), json!([volume]));
    assert_eq!(world.aaws(format!("ec2 delete_volumes --volume_ids {volume} --kubernetes")).run().ok().json(), json!([]));
    assert_eq!(world.volume_state(&volume), None);
}

#[test]
fn the_published_chain_without_detached_volumes_deletes_nothing() {
    let world = World::new();
    let machine = world.instance(&[]);
    world.snapshot(&machine.root);
    let chain =
        "aaws ec2 discover_volumes --detached | aaws ec2 discover_snapshots --volume_ids - | aaws ec2 delete_snapshots --snapshot_ids -";
    let before = world.snapshots();
    assert_eq!(world.shell(chain).run().ok().json(), json!([]));
    assert_eq!(world.snapshots(), before);
    // With one, its snapshots go, and no others.
    let snapshot = world.snapshot(&world.volume(&[]));
    assert_eq!(world.shell(chain).run().ok().json(), json!([]));
    assert!(!world.snapshots().contains(&snapshot));
    assert_eq!(world.snapshots(), before);
}

// --- Snapshots and images ---

#[test]
fn snapshots_behind_images_locked_or_of_aws_backup_are_skipped() {
    let world = World::new();
    let machine = world.instance(&[]);
    let volume = world.volume(&[]);
    let before = world.snapshots();
    let image = world.image(&machine.id);
    let behind = world.snapshots().into_iter().find(|s| !before.contains(s)).expect("the image's snapshot");
    let (locked, backed_up, free) = (world.snapshot(&volume), world.snapshot(&volume), world.snapshot(&volume));
    world.tag(&backed_up, "aws:backup:source-resource", "x");
    // A disabled image uses its snapshots as any other.
    world.ec2("DisableImage", &[("ImageId", &image)]);
    let lock = format!("<item><snapshotId>{locked}</snapshotId><lockState>governance</lockState></item>");
    let answer = format!("<DescribeLockedSnapshotsResponse><snapshotSet>{lock}</snapshotSet></DescribeLockedSnapshotsResponse>");
    let server = world.proxy().rule("DescribeLockedSnapshots", move |_, _| Some(Response::xml(200, answer.clone()))).start();
    let line = format!("ec2 delete_snapshots --snapshot_ids {behind} {locked} {backed_up} {free}");
    let output = world.aaws_via(&server, line).run().ok().logs(&image).logs("locked").logs("delete_backups");
    assert_eq!(output.json(), json!([behind, locked, backed_up]));
    assert_eq!(writes(&server), ["DeleteSnapshot"]);
    assert!(!world.snapshots().contains(&free));
}

#[test]
fn an_image_that_stays_keeps_its_snapshots() {
    let world = World::new();
    let (a, b) = (world.image(&world.instance(&[]).id), world.image(&world.instance(&[]).id));
    let snapshots = world.snapshots();
    let body = format!("ImageId={a}");
    let server = world.proxy().refuse_with("DeregisterImage", Box::leak(body.into_boxed_str()), 400, "OperationNotPermitted").start();
    let output = world.aaws_via(&server, format!("ec2 delete_images --image_ids {a} {b} --include_snapshots")).run().exits(3);
    let left = output.json();
    assert_eq!(left[0], json!(a));
    assert_eq!(world.images(), [a]);
    // Of two snapshots one is left: that of the image that stayed, and it is printed.
    assert_eq!((world.snapshots().len(), snapshots.len()), (1, 2));
    assert_eq!(left[1], json!(world.snapshots()[0]));
}

#[test]
fn a_snapshot_that_several_images_share_is_kept_while_one_of_them_stays() {
    let world = World::new();
    let a = world.image(&world.instance(&[]).id);
    let snapshot = world.snapshots()[0].clone();
    let mapping = [("Name", "shares"), ("RootDeviceName", "/dev/sda1"), ("BlockDeviceMapping.1.DeviceName", "/dev/sda1")];
    let parameters: Vec<_> = mapping.into_iter().chain([("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot.as_str())]).collect();
    world.ec2("RegisterImage", &parameters);
    let output = world.aaws(format!("ec2 delete_images --image_ids {a} --include_snapshots")).run().ok();
    assert_eq!(output.json(), json!([snapshot]));
    assert_eq!(world.snapshots(), [snapshot]);
    // With the other image it goes.
    let b = world.images()[0].clone();
    assert_eq!(world.aaws(format!("ec2 delete_images --image_ids {b} --include_snapshots")).run().ok().json(), json!([]));
    assert_eq!(world.snapshots(), [""; 0]);
}

#[test]
fn images_that_others_use_are_skipped_unless_that_is_meant() {
    let world = World::new();
    let (named, shared) = (world.image(&world.instance(&[]).id), world.image(&world.instance(&[]).id));
    world.ec2("ModifyImageAttribute", &[("ImageId", &shared), ("LaunchPermission.Add.1.UserId", "111122223333")]);
    let reference = format!(
        "<item><imageId>{named}</imageId><resourceType>ec2:LaunchTemplate</resourceType><arn>arn:aws:ec2:us-east-1:1:launch-template/lt-1</arn></item>"
    );
    let answer =
        format!("<DescribeImageReferencesResponse><imageReferenceSet>{reference}</imageReferenceSet></DescribeImageReferencesResponse>");
    let server = world.proxy().rule("DescribeImageReferences", move |_, _| Some(Response::xml(200, answer.clone()))).start();
    let line = format!("ec2 delete_images --image_ids {named} {shared}");
    let output = world.aaws_via(&server, &line).run().ok().logs("launch-template/lt-1").logs("111122223333");
    assert_eq!(output.json(), json!([named, shared]));
    assert_eq!(writes(&server), [""; 0]);
    assert_eq!(world.aaws_via(&server, format!("{line} --referenced --shared")).run().ok().json(), json!([]));
}

// --- Instances ---

#[test]
fn what_belongs_to_an_instance_that_stays_stays_too() {
    let world = World::new();
    let (stays, goes) = (world.instance(&[]), world.instance(&[]));
    let (kept, gone) = (world.volume(&[]), world.volume(&[]));
    world.attach(&kept, &stays.id, "/dev/sdf");
    world.attach(&gone, &goes.id, "/dev/sdf");
    let (kept_snapshot, gone_snapshot) = (world.snapshot(&kept), world.snapshot(&gone));
    let (kept_image, gone_image) = (world.image(&stays.id), world.image(&goes.id));
    let body = format!("InstanceId.1={}", stays.id);
    let server = world.proxy().refuse_with("TerminateInstances", Box::leak(body.into_boxed_str()), 400, "UnsupportedOperation").start();
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
    assert!(!world.images().contains(&gone_image));
}

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
fn an_instance_without_its_image_runs_on_with_its_protections() {
    let world = World::new();
    let machine = world.instance(&[]);
    world.ec2("ModifyInstanceAttribute", &[("InstanceId", &machine.id), ("DisableApiTermination.Value", "true")]);
    world.ec2("ModifyInstanceAttribute", &[("InstanceId", &machine.id), ("DisableApiStop.Value", "true")]);
    let line = format!("ec2 delete_instances --instance_ids {} --final_image --disable_protections", machine.id);
    let protections = |world: &World| {
        ["disableApiTermination", "disableApiStop"].map(|attribute| {
            world.ec2("DescribeInstanceAttribute", &[("InstanceId", &machine.id), ("Attribute", attribute)]).contains("<value>true</value>")
        })
    };
    for (operation, code) in [("CreateImage", "InternalError"), ("TerminateInstances", "UnsupportedOperation")] {
        let server = world.proxy().refuse(operation, 400, code).start();
        let output = world.aaws_via(&server, &line).run().exits(3).logs(code).logs("undone");
        assert_eq!(output.json(), left(&[&machine.id], &[], &[], &[]));
        assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"), "{operation}");
        assert_eq!(protections(&world), [true, true], "{operation}");
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
fn nothing_is_stopped_that_is_only_terminated() {
    let world = World::new();
    let machine = world.instance(&[]);
    let server = world.proxy().start();
    world.aaws_via(&server, format!("ec2 delete_instances --instance_ids {}", machine.id)).run().ok();
    assert_eq!(writes(&server), ["TerminateInstances"]);
}

#[test]
fn the_person_asked_sees_the_instance_and_all_that_goes() {
    let world = World::new();
    let machine = world.instance(&[]);
    let data = world.volume(&[]);
    world.attach(&data, &machine.id, "/dev/sdf");
    let line = format!("ec2 delete_instances --instance_ids {} --include volume", machine.id);
    let shown = world.aaws(&line).on_terminal("n").exits(4);
    assert!(shown.stdout.contains(&machine.id) && shown.stdout.contains(&data), "{shown}");
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    world.aaws(&line).on_terminal("y").ok();
    assert_eq!(world.volume_state(&data), None);
}

// --- Security groups ---

/// A rule of one group that admits another.
fn admit(world: &World, group: &str, other: &str) {
    let rule = [
        ("GroupId", group),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "443"),
        ("IpPermissions.1.ToPort", "443"),
        ("IpPermissions.1.Groups.1.GroupId", other),
    ];
    world.ec2("AuthorizeSecurityGroupIngress", &rule);
}

#[test]
fn groups_are_deleted_in_the_order_of_their_rules() {
    let world = World::new();
    let (a, b, c) = (world.group("a"), world.group("b"), world.group("c"));
    // b names a, c names b: a can only be last. A group may name itself.
    admit(&world, &b, &a);
    admit(&world, &c, &b);
    admit(&world, &a, &a);
    let server = world.proxy().start();
    assert_eq!(
        world.aaws_via(&server, format!("ec2 delete_security_groups --security_group_ids {a} {b} {c}")).run().ok().json(),
        json!([])
    );
    assert_eq!(world.groups(), [""; 0]);
    assert_eq!(writes(&server), ["DeleteSecurityGroup"; 3], "no rule had to be taken away, and nothing was tried twice");
}

#[test]
fn groups_that_name_each_other_lose_only_those_rules() {
    let world = World::new();
    let (a, b) = (world.group("a"), world.group("b"));
    admit(&world, &a, &b);
    admit(&world, &b, &a);
    let server = world.proxy().start();
    assert_eq!(world.aaws_via(&server, format!("ec2 delete_security_groups --security_group_ids {a} {b}")).run().ok().json(), json!([]));
    assert_eq!(world.groups(), [""; 0]);
    assert_eq!(server.count("RevokeSecurityGroupIngress"), 1);
}

#[test]
fn rules_of_a_circle_are_put_back_when_its_group_stays() {
    let world = World::new();
    let (a, b) = (world.group("a"), world.group("b"));
    admit(&world, &a, &b);
    admit(&world, &b, &a);
    let rules =
        |world: &World| world.ec2("DescribeSecurityGroups", &[("Filter.1.Name", "ip-permission.group-id"), ("Filter.1.Value.1", &a)]);
    let before = rules(&world);
    let server = world.proxy().refuse("DeleteSecurityGroup", 403, "UnauthorizedOperation").start();
    let line = format!("ec2 delete_security_groups --security_group_ids {a} {b}");
    let output = world.aaws_via(&server, line).run().exits(3).logs("undone");
    assert_eq!(output.json(), json!([a, b]));
    assert_eq!(server.count("AuthorizeSecurityGroupIngress"), 1);
    let count = |xml: &str| xml.matches(&a).count();
    assert_eq!(count(&rules(&world)), count(&before));
}

#[test]
fn groups_in_use_fail_with_what_uses_them_and_default_groups_are_skipped() {
    let world = World::new();
    let (on, named, namer) = (world.group("on"), world.group("named"), world.group("namer"));
    world.instance(&[("SecurityGroupId.1", &on)]);
    admit(&world, &namer, &named);
    let all = world.ec2("DescribeSecurityGroups", &[("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "default")]);
    let default = crate::support::xml::texts(&all, "groupId").remove(0);
    let server = world.proxy().start();
    let line = format!("ec2 delete_security_groups --security_group_ids {on} {named} {default}");
    let output = world.aaws_via(&server, line).run().exits(3).logs("eni-").logs(&namer).logs("default group");
    let mut printed: Vec<_> = output.json().as_array().expect("a list").iter().map(|g| g.as_str().unwrap_or_default().to_owned()).collect();
    printed.sort();
    let mut wanted = vec![on, named, default];
    wanted.sort();
    assert_eq!(printed, wanted);
    assert_eq!(writes(&server), [""; 0], "it is known beforehand");
}

#[test]
fn interfaces_that_linger_are_waited_for() {
    let world = World::new();
    let group = world.group("slow");
    let server = world
        .proxy()
        .rule("DeleteSecurityGroup", |n, request| (n < 3).then(|| crate::support::proxy::error(request, 400, "DependencyViolation")))
        .start();
    let line = format!("ec2 delete_security_groups --security_group_ids {group}");
    world.aaws_via(&server, &line).run().exits(3).logs("DependencyViolation");
    assert_eq!(world.aaws_via(&server, format!("{line} --wait")).run().ok().json(), json!([]));
    assert_eq!(world.groups(), [""; 0]);
}
