//! Deleting snapshots, images and instances: what is in use stays, and says so; a plan says it beforehand; and what is left when something
//! fails in the middle. Every call failing once is in `faults.rs`, volumes are in `volumes.rs`, and security groups in `groups.rs`.

use serde_json::{Value, json};

use crate::support::ec2::{World, writes};
use crate::support::http::{self, Request, Server};
use crate::support::{Output, Response, directory, proxy, report, xml};

fn left(instances: &[&str], volumes: &[&str], images: &[&str], snapshots: &[&str]) -> Value {
    json!({"Instances": instances, "Volumes": volumes, "Images": images, "Snapshots": snapshots})
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// What is said of each item, in a plan or in a report.
struct Said(Vec<Value>);

impl Said {
    #[track_caller]
    fn plan(output: &Output) -> Self {
        Self(output.json().as_array().cloned().expect("a plan is a list"))
    }

    #[track_caller]
    fn of(&self, id: &str) -> &Value {
        self.0.iter().find(|said| said["item"] == id).unwrap_or_else(|| panic!("nothing is said of {id}: {:?}", self.0))
    }

    #[track_caller]
    fn status(&self, id: &str) -> &str {
        self.of(id)["status"].as_str().unwrap_or_default()
    }

    #[track_caller]
    fn code(&self, id: &str) -> &str {
        self.of(id)["code"].as_str().unwrap_or_default()
    }

    #[track_caller]
    fn why(&self, id: &str) -> &str {
        self.of(id)["message"].as_str().unwrap_or_default()
    }

    /// In the order of the words: a report has its lines in the order in which items are settled.
    fn statuses(&self) -> Vec<&str> {
        let mut statuses: Vec<&str> = self.0.iter().map(|said| said["status"].as_str().unwrap_or_default()).collect();
        statuses.sort_unstable();
        statuses
    }

    /// What was planned was done, and of all else the plan said what the run says.
    #[track_caller]
    fn is_what_became_of(&self, plan: &Said) {
        assert_eq!(self.0.len(), plan.0.len());
        for planned in &plan.0 {
            let id = planned["item"].as_str().unwrap_or_default();
            match planned["status"].as_str().unwrap_or_default() {
                "planned" => assert!(["done", "unchanged"].contains(&self.status(id)), "{id} was planned, and {}", self.of(id)),
                status => assert_eq!(self.status(id), status, "{id}: {planned}, and then {}", self.of(id)),
            }
        }
    }
}

/// Runs a line of EC2 through a server; its output, and what its report says.
fn reported(world: &World, server: &Server, line: &str) -> (Output, Said) {
    let folder = directory();
    let output = world.aaws_via(server, format!("ec2 {line} --report report.jsonl")).within(folder.path()).run();
    let said = Said(report(&folder));
    (output, said)
}

/// The same as a dry run, which must write nothing.
#[track_caller]
fn planned(world: &World, server: &Server, line: &str, code: i32) -> Said {
    let before = writes(server);
    let output = world.aaws_via(server, format!("ec2 {line} --dry_run")).run().exits(code);
    assert_eq!(writes(server), before, "{output}");
    Said::plan(&output)
}

/// A new snapshot, described so.
fn described(world: &World, volume: &str, description: &str) -> String {
    let made = world.ec2("CreateSnapshot", &[("VolumeId", volume), ("Description", description)]);
    xml::texts(&made, "snapshotId").remove(0)
}

/// An image of an instance of its own, and the snapshot behind it.
fn image(world: &World) -> (String, String) {
    let before = world.snapshots();
    let image = world.image(&world.instance(&[]).id);
    (image, world.snapshots().into_iter().find(|s| !before.contains(s)).expect("the image's snapshot"))
}

/// An image that is registered with a snapshot.
fn registered(world: &World, snapshot: &str) -> String {
    let parameters = [
        ("Name", "registered"),
        ("RootDeviceName", "/dev/sda1"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sda1"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot),
    ];
    xml::texts(&world.ec2("RegisterImage", &parameters), "imageId").remove(0)
}

/// An answer of DescribeImageReferences: of which image, the kind of what refers to it, its ARN.
fn references(of: &[(&str, &str, &str)], more: bool) -> Response {
    let item = |(image, kind, arn): &(&str, &str, &str)| {
        let arn = if arn.is_empty() { String::new() } else { format!("<arn>{arn}</arn>") };
        format!("<item><imageId>{image}</imageId><resourceType>{kind}</resourceType>{arn}</item>")
    };
    let items: String = of.iter().map(item).collect();
    let token = if more { "<nextToken>more</nextToken>" } else { "" };
    Response::xml(
        200,
        format!("<DescribeImageReferencesResponse><imageReferenceSet>{items}</imageReferenceSet>{token}</DescribeImageReferencesResponse>"),
    )
}

/// An answer of DescribeLockedSnapshots.
fn lock(snapshot: &str, state: &str, more: bool) -> Response {
    let token = if more { "<nextToken>more</nextToken>" } else { "" };
    Response::xml(
        200,
        format!(
            "<DescribeLockedSnapshotsResponse><snapshotSet><item><snapshotId>{snapshot}</snapshotId><lockState>{state}</lockState>\
             <lockExpiresOn>2031-01-01T00:00:00Z</lockExpiresOn></item></snapshotSet>{token}</DescribeLockedSnapshotsResponse>"
        ),
    )
}

fn is_second_page(request: &Request) -> bool {
    request.text().contains("NextToken=more")
}

/// A world in which the requests of an operation are carried out, and their answers get lost.
fn losing(world: &World, operation: &'static str) -> Server {
    let mended = world.proxy().start();
    Server::start(move |name, _, request| {
        let reply = http::send(&mended.url, &request).expect("the world answers");
        if name == operation { proxy::error(&request, 500, "InternalError") } else { reply }
    })
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

// --- Snapshots ---

/// The clean-up that the original's manual shows: it deleted all snapshots where no volume was detached.
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

#[test]
fn snapshots_behind_images_locked_or_of_aws_backup_are_skipped() {
    let world = World::new();
    let (image, behind) = image(&world);
    let volume = world.volume(&[]);
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
fn snapshots_that_only_their_description_gives_to_aws_backup_are_skipped() {
    let world = World::new();
    let snapshot = described(&world, &world.volume(&[]), "This snapshot is created by the AWS Backup service.");
    let server = world.proxy().start();
    let output = world.aaws_via(&server, format!("ec2 delete_snapshots --snapshot_ids {snapshot}")).run().ok().logs("delete_backups");
    assert_eq!(output.json(), json!([snapshot]));
    assert_eq!(writes(&server), [""; 0]);
}

#[test]
fn locks_of_all_pages_count_and_expired_ones_do_not() {
    let world = World::new();
    let volume = world.volume(&[]);
    let (free, locked) = (world.snapshot(&volume), world.snapshot(&volume));
    let (expired, holds) = (free.clone(), locked.clone());
    let server = world
        .proxy()
        .rule("DescribeLockedSnapshots", move |_, request| {
            Some(if is_second_page(request) { lock(&holds, "compliance", false) } else { lock(&expired, "expired", true) })
        })
        .start();
    let line = format!("delete_snapshots --snapshot_ids {free} {locked}");
    let plan = planned(&world, &server, &line, 0);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.ok().json(), json!([locked]));
    assert!(said.why(&locked).contains("compliance") && said.why(&locked).contains("2031"), "{:?}", said.0);
    said.is_what_became_of(&plan);
    assert_eq!(world.snapshots(), [locked]);
}

#[test]
fn where_locks_may_not_be_listed_ec2_is_left_to_refuse() {
    for (status, code) in [(403, "UnauthorizedOperation"), (400, "InvalidAction"), (400, "InvalidSnapshot.NotFound")] {
        let world = World::new();
        let (a, b) = (world.snapshot(&world.volume(&[])), world.snapshot(&world.volume(&[])));
        let server = world
            .proxy()
            .refuse("DescribeLockedSnapshots", status, code)
            .refuse_with("DeleteSnapshot", leak(format!("SnapshotId={a}")), 400, "SnapshotLocked")
            .start();
        let output = world.aaws_via(&server, format!("ec2 delete_snapshots --snapshot_ids {a} {b}")).run().exits(3).logs("SnapshotLocked");
        assert_eq!(output.json(), json!([a]), "{code}");
        assert_eq!(world.snapshots(), [a], "{code}");
    }
}

#[test]
fn every_snapshot_given_has_an_outcome_of_its_own() {
    let world = World::new();
    let (a, b) = (world.snapshot(&world.volume(&[])), world.snapshot(&world.volume(&[])));
    let server = world.proxy().refuse_with("DeleteSnapshot", leak(format!("SnapshotId={a}")), 400, "InvalidSnapshot.InUse").start();
    let line = format!("delete_snapshots --snapshot_ids {a} snap-0000000000000bad {b} {b}");
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.exits(3).json(), json!([a]));
    assert_eq!(said.statuses(), ["done", "failed", "unchanged", "unchanged"]);
    assert_eq!(said.code(&a), "InvalidSnapshot.InUse");
    assert_eq!(server.count("DeleteSnapshot"), 2);
}

// --- Images ---

#[test]
fn images_that_others_use_are_skipped_unless_that_is_meant() {
    let world = World::new();
    let (named, shared) = (world.image(&world.instance(&[]).id), world.image(&world.instance(&[]).id));
    world.ec2("ModifyImageAttribute", &[("ImageId", &shared), ("LaunchPermission.Add.1.UserId", "111122223333")]);
    let of = named.clone();
    let server = world
        .proxy()
        .rule("DescribeImageReferences", move |_, _| {
            Some(references(&[(&of, "ec2:LaunchTemplate", "arn:aws:ec2:us-east-1:1:launch-template/lt-1")], false))
        })
        .start();
    let line = format!("ec2 delete_images --image_ids {named} {shared}");
    let output = world.aaws_via(&server, &line).run().ok().logs("launch-template/lt-1").logs("111122223333");
    assert_eq!(output.json(), json!([named, shared]));
    assert_eq!(writes(&server), [""; 0]);
    assert_eq!(world.aaws_via(&server, format!("{line} --referenced --shared")).run().ok().json(), json!([]));
}

#[test]
fn an_image_that_stays_keeps_its_snapshots() {
    let world = World::new();
    let (a, b) = (world.image(&world.instance(&[]).id), world.image(&world.instance(&[]).id));
    let snapshots = world.snapshots();
    let body = format!("ImageId={a}");
    let server = world.proxy().refuse_with("DeregisterImage", leak(body), 400, "OperationNotPermitted").start();
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
    let (a, snapshot) = image(&world);
    let b = registered(&world, &snapshot);
    let output = world.aaws(format!("ec2 delete_images --image_ids {a} --include_snapshots")).run().ok();
    assert_eq!(output.json(), json!([snapshot]));
    assert_eq!(world.snapshots(), [snapshot]);
    // With the other image it goes.
    assert_eq!(world.aaws(format!("ec2 delete_images --image_ids {b} --include_snapshots")).run().ok().json(), json!([]));
    assert_eq!(world.snapshots(), [""; 0]);
}

#[test]
fn a_plan_of_images_says_which_snapshots_stay_and_why() {
    let world = World::new();
    let (named, behind_named) = image(&world);
    let (free, shared) = image(&world);
    let other = registered(&world, &shared);
    let of = named.clone();
    let server = world
        .proxy()
        .rule("DescribeImageReferences", move |_, _| {
            Some(references(&[(&of, "ec2:LaunchTemplate", "arn:aws:ec2:us-east-1:1:lt/lt-1")], false))
        })
        .start();
    let line = format!("delete_images --image_ids {named} {free} --include_snapshots");
    let plan = planned(&world, &server, &line, 0);
    assert_eq!([&named, &free, &behind_named, &shared].map(|id| plan.status(id)), ["skipped", "planned", "skipped", "skipped"]);
    assert!(plan.why(&named).contains("lt-1"), "{:?}", plan.0);
    assert!(plan.why(&behind_named).contains(&named) && plan.why(&shared).contains(&other), "{:?}", plan.0);

    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.ok().json(), json!([named, behind_named, shared]));
    assert_eq!(writes(&server), ["DeregisterImage"]);
}

#[test]
fn a_snapshot_that_could_not_be_deleted_is_in_the_result() {
    let world = World::new();
    let (image, snapshot) = image(&world);
    let server = world.proxy().refuse("DeleteSnapshot", 403, "UnauthorizedOperation").start();
    let (output, said) = reported(&world, &server, &format!("delete_images --image_ids {image} --include_snapshots"));
    assert_eq!(output.exits(3).json(), json!([snapshot]));
    assert_eq!((said.status(&image), said.code(&snapshot)), ("done", "UnauthorizedOperation"));
    assert_eq!(world.images(), [""; 0]);
}

#[test]
fn a_locked_snapshot_is_kept_and_so_said_before() {
    let world = World::new();
    let (image, snapshot) = image(&world);
    let locked = snapshot.clone();
    let server = world.proxy().rule("DescribeLockedSnapshots", move |_, _| Some(lock(&locked, "governance", false))).start();
    let line = format!("delete_images --image_ids {image} --include_snapshots");
    let plan = planned(&world, &server, &line, 0);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.ok().json(), json!([snapshot]));
    assert_eq!((said.status(&image), said.status(&snapshot)), ("done", "skipped"));
    assert_eq!(world.snapshots(), [snapshot]);
}

#[test]
fn a_snapshot_that_is_not_the_accounts_own_is_not_touched() {
    let world = World::new();
    let (image, _) = image(&world);
    let none = "<DescribeSnapshotsResponse><snapshotSet/></DescribeSnapshotsResponse>";
    let server = world.proxy().rule("DescribeSnapshots", move |_, _| Some(Response::xml(200, none))).start();
    let output = world.aaws_via(&server, format!("ec2 delete_images --image_ids {image} --include_snapshots")).run().ok();
    assert_eq!(output.json(), json!([]));
    assert_eq!(writes(&server), ["DeregisterImage"]);
}

#[test]
fn references_of_all_pages_count_but_instances_keep_no_image() {
    let world = World::new();
    let ((used, _), (named, _), (nameless, _)) = (image(&world), image(&world), image(&world));
    let (a, b, c) = (used.clone(), named.clone(), nameless.clone());
    let server = world
        .proxy()
        .rule("DescribeImageReferences", move |_, request| {
            Some(if is_second_page(request) {
                // One has no ARN, and is of a kind that is not known yet.
                references(&[(&b, "ssm:Parameter", "arn:aws:ssm:us-east-1:1:parameter/golden"), (&c, "new:Kind", "")], false)
            } else {
                references(&[(&a, "ec2:Instance", "arn:aws:ec2:us-east-1:1:instance/i-1"), (&a, "ec2:Instance", "")], true)
            })
        })
        .start();
    let line = format!("delete_images --image_ids {used} {named} {nameless}");
    let plan = planned(&world, &server, &line, 0);
    assert!(plan.why(&used).contains("go on: 2"), "{:?}", plan.0);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.ok().json(), json!([named, nameless]));
    assert!(said.why(&named).contains("parameter/golden") && said.why(&nameless).contains("new:Kind"), "{:?}", said.0);
}

#[test]
fn references_that_may_not_be_asked_for_are_told_once() {
    for (status, code) in [(403, "UnauthorizedOperation"), (400, "InvalidAction")] {
        let world = World::new();
        let ((a, _), (b, _)) = (image(&world), image(&world));
        let server = world.proxy().refuse("DescribeImageReferences", status, code).start();
        let output = world.aaws_via(&server, format!("ec2 delete_images --image_ids {a} {b}")).run().ok();
        assert_eq!(output.json(), json!([]));
        assert_eq!(output.stderr.matches("name the images is not known").count(), 1, "{output}");
        assert!(output.stderr.contains(code), "{output}");
    }
}

#[test]
fn an_answer_that_is_none_deregisters_nothing() {
    let world = World::new();
    let (image, _) = image(&world);
    let server = world
        .proxy()
        .rule("DescribeImageReferences", |_, _| {
            Some(Response {
                status: 500,
                headers: vec![("Content-Type".into(), "text/html".into())],
                body: b"<!doctype html>Sorry".to_vec(),
            })
        })
        .start();
    world.aaws_via(&server, format!("ec2 delete_images --image_ids {image}")).run().exits(1);
    assert_eq!(writes(&server), [""; 0]);
    assert_eq!(world.images(), [image]);
}

#[test]
fn one_image_that_cannot_be_looked_at_keeps_no_other() {
    let world = World::new();
    let ((a, _), (b, _)) = (image(&world), image(&world));
    let line = format!("delete_images --image_ids {a} {b}");
    // Whom it is shared with.
    let permission = leak(format!("ImageId={a}"));
    let server = world.proxy().refuse_with("DescribeImageAttribute", permission, 403, "UnauthorizedOperation").start();
    let plan = planned(&world, &server, &line, 3);
    assert_eq!((plan.code(&a), plan.status(&b)), ("UnauthorizedOperation", "planned"));
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.exits(3).json(), json!([a]));
    assert_eq!(world.images(), [a.as_str()]);

    // What refers to it: EC2 then answers for none of those that it was asked for.
    let (c, _) = image(&world);
    let bad = a.clone();
    let server = world
        .proxy()
        .rule("DescribeImageReferences", move |_, request| {
            request.text().contains(&bad).then(|| proxy::error(request, 400, "InvalidAMIID.Unavailable"))
        })
        .start();
    let (output, said) = reported(&world, &server, &format!("delete_images --image_ids {a} {c}"));
    assert_eq!(output.exits(3).json(), json!([a]));
    assert_eq!((said.code(&a), said.status(&c)), ("InvalidAMIID.Unavailable", "done"));
    // Who means it gets it.
    assert_eq!(world.aaws_via(&server, format!("ec2 delete_images --image_ids {a} --referenced")).run().ok().json(), json!([]));
}

#[test]
fn protected_images_are_skipped_and_the_protection_stays() {
    let world = World::new();
    let (image, snapshot) = image(&world);
    let line = format!("ec2 delete_images --image_ids {image} --include_snapshots --referenced --shared");
    for state in ["enabled", "enabled-with-cooldown", "disabled after 2031-01-01T00:00:00.000Z"] {
        let said = format!("<deregistrationProtection>{state}</deregistrationProtection><imageState>");
        let server = world.proxy().rewrite("DescribeImages", move |_, xml| xml.replace("<imageState>", &said)).start();
        let output = world.aaws_via(&server, &line).run().ok().logs(state);
        assert_eq!(output.json(), json!([image, snapshot]), "{state}");
        assert_eq!(writes(&server), [""; 0], "{state}");
    }
    let disabled = "<deregistrationProtection>disabled</deregistrationProtection><imageState>";
    let server = world.proxy().rewrite("DescribeImages", move |_, xml| xml.replace("<imageState>", disabled)).start();
    assert_eq!(world.aaws_via(&server, &line).run().ok().json(), json!([]));
}

#[test]
fn public_images_and_those_of_aws_backup_are_skipped_with_their_snapshots() {
    let world = World::new();
    let ((public, behind_public), (backup, behind_backup)) = (image(&world), image(&world));
    world.ec2("ModifyImageAttribute", &[("ImageId", &public), ("LaunchPermission.Add.1.Group", "all")]);
    world.tag(&backup, "aws:backup:source-resource", "x");
    let server = world.proxy().start();
    let line = format!("delete_images --image_ids {public} {backup} --include_snapshots");
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.ok().json(), json!([public, backup, behind_public, behind_backup]));
    assert!(said.why(&public).contains("everyone") && said.why(&backup).contains("delete_backups"), "{:?}", said.0);
    assert_eq!(writes(&server), [""; 0]);
    // What AWS Backup keeps it keeps, whatever is meant.
    let output = world.aaws_via(&server, format!("ec2 {line} --shared --referenced")).run().ok();
    assert_eq!(output.json(), json!([backup, behind_backup]));
    assert_eq!(world.images(), [backup]);
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
    assert_eq!(writes(&server), ["TerminateInstances"; 3]);

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
fn unknown_repeated_and_terminated_instances_are_unchanged() {
    let world = World::new();
    let (gone, machine) = (world.instance(&[]), world.instance(&[]));
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone.id)]);
    let server = world.proxy().start();
    let line = format!("delete_instances --instance_ids i-0000000000000bad {} {} {} --include volume", gone.id, machine.id, machine.id);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.ok().json(), left(&[], &[], &[], &[]));
    assert_eq!(said.statuses(), ["done", "unchanged", "unchanged", "unchanged", "unchanged"], "{:?}", said.0);
    // One instance a call: a batch fails as a whole.
    assert_eq!(writes(&server), ["TerminateInstances"]);
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
    assert_eq!(world.instance_state(&hidden.id).as_deref(), Some("running"));
    assert_eq!(world.instance_state(&free.id).as_deref(), Some("terminated"));
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
    let body = format!("InstanceId.1={}", stays.id);
    let server = world.proxy().refuse_with("TerminateInstances", leak(body), 400, "UnsupportedOperation").start();
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
    let plan = planned(&world, &server, &line, 0);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.ok().json(), left(&[], &[&claimed], &[], &[&kept]));
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
    let plan = planned(&world, &server, &line, 0);
    assert_eq!((plan.status(&data), plan.status(&snapshot)), ("skipped", "skipped"));
    let (output, said) = reported(&world, &server, &line);
    output.ok();
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
    let refused = leak(format!("InstanceId.1={}", stays.id));
    let server = world
        .proxy()
        .rewrite("DescribeVolumes", move |_, xml| xml.replace("<attachmentSet>", &also))
        .refuse_with("TerminateInstances", refused, 400, "UnsupportedOperation")
        .start();
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
    let plan = planned(&world, &server, &line, 0);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    let printed = output.ok().json();
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
    let world = World::new();
    let machine = world.instance(&[]);
    let data = world.volume(&[]);
    world.attach(&data, &machine.id, "/dev/sdf");
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
    let world = World::new();
    let machine = world.instance(&[]);
    let data = world.volume(&[]);
    world.attach(&data, &machine.id, "/dev/sdf");
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
    assert_eq!(output.ok().json(), left(&[], &[&data], &[], &[]));
    assert!(said.why(&data).contains("i-0abc"), "{:?}", said.0);
    assert_eq!(server.count("DeleteVolume"), 0);
}

// --- Instances: the final image ---

#[test]
fn the_final_image_is_made_of_a_stopped_instance_before_anything_is_deleted() {
    let world = World::new();
    let machine = world.instance(&[]);
    let data = world.volume(&[]);
    world.attach(&data, &machine.id, "/dev/sdf");
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
    let body = leak(format!("InstanceId.1={}", spot.id));
    let server = world.proxy().refuse_with("StopInstances", body, 400, "UnsupportedOperation").start();
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
    let server = losing(&world, "CreateImage");
    let line = format!("delete_instances --instance_ids {} --final_image --include volume", machine.id);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.ok().json(), left(&[], &[], &[], &[]));
    assert!(said.why(&machine.id).contains(&world.images()[0]), "{:?}", said.0);
    assert_eq!((server.count("CreateImage"), world.images().len()), (1, 1));
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("terminated"));
}

#[test]
fn a_termination_whose_answer_was_lost_is_a_termination() {
    let world = World::new();
    let machine = world.instance(&[]);
    let data = world.volume(&[]);
    world.attach(&data, &machine.id, "/dev/sdf");
    let server = losing(&world, "TerminateInstances");
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
    let world = World::new();
    let machine = world.instance(&[]);
    let data = world.volume(&[]);
    world.attach(&data, &machine.id, "/dev/sdf");
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
    let world = World::new();
    let machine = world.instance(&[]);
    let data = world.volume(&[]);
    world.attach(&data, &machine.id, "/dev/sdf");
    let snapshot = world.snapshot(&data);
    let server =
        world.proxy().rewrite("DescribeInstances", |_, xml| xml.replace("<name>terminated</name>", "<name>shutting-down</name>")).start();
    let line = format!("delete_instances --instance_ids {} --final_image --include volume snapshot --timeout 6s", machine.id);
    let (output, said) = reported(&world, &server, &line);
    output.exits(1);
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
