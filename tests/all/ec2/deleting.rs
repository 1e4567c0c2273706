//! Deleting snapshots and images: what is in use stays, and says so; a plan says it beforehand; and what cannot be looked at stays, too. Instances are
//! in `terminating.rs`, volumes in `volumes.rs`, and security groups in `groups.rs`.

use serde_json::{Value, json};

use crate::support::ec2::{World, writes};
use crate::support::http::{Request, Server};
use crate::support::{Output, Response, aaws, directory, proxy, report, xml};

pub(super) fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// What is said of each item, in a plan or in a report.
pub(super) struct Said(pub(super) Vec<Value>);

impl Said {
    #[track_caller]
    pub(super) fn plan(output: &Output) -> Self {
        Self(output.json().as_array().cloned().expect("a plan is a list"))
    }

    #[track_caller]
    pub(super) fn of(&self, id: &str) -> &Value {
        self.0.iter().find(|said| said["item"] == id).unwrap_or_else(|| panic!("nothing is said of {id}: {:?}", self.0))
    }

    #[track_caller]
    pub(super) fn status(&self, id: &str) -> &str {
        self.of(id)["status"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn code(&self, id: &str) -> &str {
        self.of(id)["code"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn why(&self, id: &str) -> &str {
        self.of(id)["message"].as_str().unwrap_or_default()
    }

    /// In the order of the words: a report has its lines in the order in which items are settled.
    pub(super) fn statuses(&self) -> Vec<&str> {
        let mut statuses: Vec<&str> = self.0.iter().map(|said| said["status"].as_str().unwrap_or_default()).collect();
        statuses.sort_unstable();
        statuses
    }

    /// What was planned was done, and of all else the plan said what the run says.
    #[track_caller]
    pub(super) fn is_what_became_of(&self, plan: &Said) {
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
pub(super) fn reported(world: &World, server: &Server, line: &str) -> (Output, Said) {
    let folder = directory();
    let output = world.aaws_via(server, format!("ec2 {line} --report report.jsonl")).within(folder.path()).run();
    let said = Said(report(&folder));
    (output, said)
}

/// The same as a dry run, which must write nothing.
#[track_caller]
pub(super) fn planned(world: &World, server: &Server, line: &str, code: i32) -> Said {
    let before = writes(server);
    let output = world.aaws_via(server, format!("ec2 {line} --dry_run")).run().exits(code);
    assert_eq!(writes(server), before, "{output}");
    Said::plan(&output)
}

/// A new snapshot, described so.
pub(super) fn described(world: &World, volume: &str, description: &str) -> String {
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
pub(super) fn references(of: &[(&str, &str, &str)], more: bool) -> Response {
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
pub(super) fn lock(snapshot: &str, state: &str, more: bool) -> Response {
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
    let output = world.aaws_via(&server, line).run().exits(3).logs(&image).logs("locked").logs("delete_backups");
    assert_eq!(output.json(), json!([behind, locked, backed_up]));
    assert_eq!(writes(&server), ["DeleteSnapshot"]);
    assert!(!world.snapshots().contains(&free));
}

#[test]
fn snapshots_that_only_their_description_gives_to_aws_backup_are_skipped() {
    let world = World::new();
    let snapshot = described(&world, &world.volume(&[]), "This snapshot is created by the AWS Backup service.");
    let server = world.proxy().start();
    let output = world.aaws_via(&server, format!("ec2 delete_snapshots --snapshot_ids {snapshot}")).run().exits(3).logs("delete_backups");
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
    let plan = planned(&world, &server, &line, 3);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.exits(3).json(), json!([locked]));
    assert!(said.why(&locked).contains("compliance") && said.why(&locked).contains("2031"), "{:?}", said.0);
    said.is_what_became_of(&plan);
    assert_eq!(world.snapshots(), [locked]);
}

#[test]
fn snapshots_whose_locks_may_not_be_listed_stay_unless_that_is_taken_on() {
    for (status, code) in [(403, "UnauthorizedOperation"), (400, "InvalidAction")] {
        let world = World::new();
        let (a, b) = (world.snapshot(&world.volume(&[])), world.snapshot(&world.volume(&[])));
        let server = world
            .proxy()
            .refuse("DescribeLockedSnapshots", status, code)
            .refuse_with("DeleteSnapshot", leak(format!("SnapshotId={a}")), 400, "SnapshotLocked")
            .start();
        let line = format!("delete_snapshots --snapshot_ids {a} {b}");
        let plan = planned(&world, &server, &line, 3);
        let (output, said) = reported(&world, &server, &line);
        said.is_what_became_of(&plan);
        assert_eq!(output.exits(3).json(), json!([a, b]), "{code}");
        assert_eq!((said.code(&a), server.count("DeleteSnapshot")), ("Unchecked", 0), "{code}");
        assert!(said.why(&a).contains(code) && said.why(&a).contains("`unchecked`"), "{:?}", said.0);
        // EC2 refuses by itself to delete what is locked.
        let output = world.aaws_via(&server, format!("ec2 {line} --unchecked")).run().exits(3).logs("SnapshotLocked");
        assert_eq!(output.json(), json!([a]), "{code}");
        assert_eq!(world.snapshots(), [a], "{code}");
    }
}

#[test]
fn one_snapshot_that_is_gone_does_not_hide_the_locks_of_the_others() {
    let world = World::new();
    let volume = world.volume(&[]);
    let snapshots: Vec<String> = (0..5).map(|_| world.snapshot(&volume)).collect();
    let (gone, locked) = (snapshots[1].clone(), snapshots[3].clone());
    let server = world
        .proxy()
        .rule("DescribeLockedSnapshots", move |_, request| {
            Some(match request.text() {
                ids if ids.contains(&gone) => proxy::error(request, 400, "InvalidSnapshot.NotFound"),
                ids if ids.contains(&locked) => lock(&locked, "compliance", false),
                _ => Response::xml(200, "<DescribeLockedSnapshotsResponse><snapshotSet/></DescribeLockedSnapshotsResponse>"),
            })
        })
        .start();
    let output = world.aaws_via(&server, format!("ec2 delete_snapshots --snapshot_ids {}", snapshots.join(" "))).run().exits(3);
    assert_eq!(output.json(), json!([snapshots[3]]));
    assert_eq!(world.snapshots(), [snapshots[3].as_str()]);
}

#[test]
fn snapshots_that_are_shared_or_of_data_lifecycle_manager_stay_unless_that_is_meant() {
    let world = World::new();
    let volume = world.volume(&[]);
    let (shared, public, managed) = (world.snapshot(&volume), world.snapshot(&volume), world.snapshot(&volume));
    let permission = [("Attribute", "createVolumePermission"), ("OperationType", "add")];
    world.ec2("ModifySnapshotAttribute", &[("SnapshotId", &shared), permission[0], permission[1], ("UserId.1", "111122223333")]);
    world.ec2("ModifySnapshotAttribute", &[("SnapshotId", &public), permission[0], permission[1], ("UserGroup.1", "all")]);
    world.tag(&managed, "aws:dlm:lifecycle-policy-id", "policy-1");
    let server = world.proxy().start();
    let line = format!("delete_snapshots --snapshot_ids {shared} {public} {managed}");
    let plan = planned(&world, &server, &line, 3);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.exits(3).json(), json!([shared, public, managed]));
    assert!(said.why(&shared).contains("111122223333") && said.why(&public).contains("everyone"), "{:?}", said.0);
    assert!(said.why(&managed).contains("policy-1"), "{:?}", said.0);
    assert_eq!(writes(&server), [""; 0]);
    let output = world.aaws_via(&server, format!("ec2 {line} --shared")).run().exits(3);
    assert_eq!(output.json(), json!([managed]));
    world.aaws_via(&server, format!("ec2 {line} --lifecycle_manager --ignore_not_found")).run().ok();
    assert_eq!(world.snapshots(), [""; 0]);
}

#[test]
fn snapshots_of_which_it_is_not_known_who_uses_them_stay() {
    for operation in ["DescribeImages", "DescribeSnapshotAttribute"] {
        let world = World::new();
        let (_, behind) = image(&world);
        let free = world.snapshot(&world.volume(&[]));
        let server = world.proxy().refuse(operation, 403, "UnauthorizedOperation").start();
        let line = format!("delete_snapshots --snapshot_ids {free}");
        let plan = planned(&world, &server, &line, 3);
        let (output, said) = reported(&world, &server, &line);
        said.is_what_became_of(&plan);
        assert_eq!(output.exits(3).json(), json!([free]), "{operation}");
        assert_eq!((said.code(&free), server.count("DeleteSnapshot")), ("Unchecked", 0), "{operation}");
        world.aaws_via(&server, format!("ec2 {line} --unchecked")).run().ok();
        assert_eq!(world.snapshots(), [behind], "{operation}");
    }
}

#[test]
fn an_id_that_does_not_exist_is_no_success_unless_it_need_not_be_there() {
    let world = World::new();
    for (line, id) in [("delete_snapshots --snapshot_ids", "snap-0000000000000bad"), ("delete_images --image_ids", "ami-0000000000000bad")]
    {
        let output = world.aaws(format!("ec2 {line} {id}")).run().exits(3).logs("NotFound");
        assert_eq!(output.json(), json!([id]));
        assert_eq!(world.aaws(format!("ec2 {line} {id} --ignore_not_found")).run().ok().json(), json!([]));
        // A variable that is not set names nothing, and is not taken for "nothing to do".
        let server = world.proxy().start();
        world.aaws_via(&server, format!("ec2 {line}")).arg("").run().exits(2).silent();
        assert_eq!(server.operations(), [""; 0]);
    }
}

#[test]
fn every_snapshot_given_has_an_outcome_of_its_own() {
    let world = World::new();
    let (a, b) = (world.snapshot(&world.volume(&[])), world.snapshot(&world.volume(&[])));
    let server = world.proxy().refuse_with("DeleteSnapshot", leak(format!("SnapshotId={a}")), 400, "InvalidSnapshot.InUse").start();
    let line = format!("delete_snapshots --snapshot_ids {a} snap-0000000000000bad {b} {b}");
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.exits(3).json(), json!([a, "snap-0000000000000bad"]));
    assert_eq!(said.statuses(), ["done", "failed", "failed", "unchanged"]);
    assert_eq!((said.code(&a), said.code("snap-0000000000000bad")), ("InvalidSnapshot.InUse", "NotFound"));
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
    let output = world.aaws_via(&server, &line).run().exits(3).logs("launch-template/lt-1").logs("111122223333");
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
    let output = world.aaws(format!("ec2 delete_images --image_ids {a} --include_snapshots")).run().exits(3);
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
    let plan = planned(&world, &server, &line, 3);
    assert_eq!([&named, &free, &behind_named, &shared].map(|id| plan.status(id)), ["skipped", "planned", "skipped", "skipped"]);
    assert!(plan.why(&named).contains("lt-1"), "{:?}", plan.0);
    assert!(plan.why(&behind_named).contains(&named) && plan.why(&shared).contains(&other), "{:?}", plan.0);

    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.exits(3).json(), json!([named, behind_named, shared]));
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
    let plan = planned(&world, &server, &line, 3);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.exits(3).json(), json!([snapshot]));
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
    let plan = planned(&world, &server, &line, 3);
    assert!(plan.why(&used).contains("go on: 2"), "{:?}", plan.0);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.exits(3).json(), json!([named, nameless]));
    assert!(said.why(&named).contains("parameter/golden") && said.why(&nameless).contains("new:Kind"), "{:?}", said.0);
}

#[test]
fn images_whose_references_may_not_be_asked_for_stay_unless_that_is_taken_on() {
    for (status, code) in [(403, "UnauthorizedOperation"), (400, "InvalidAction")] {
        let world = World::new();
        let ((a, _), (b, _)) = (image(&world), image(&world));
        let server = world.proxy().refuse("DescribeImageReferences", status, code).start();
        let line = format!("delete_images --image_ids {a} {b}");
        let plan = planned(&world, &server, &line, 3);
        let (output, said) = reported(&world, &server, &line);
        said.is_what_became_of(&plan);
        assert_eq!(output.exits(3).json(), json!([a, b]));
        assert_eq!((said.code(&a), said.code(&b)), ("Unchecked", "Unchecked"));
        assert!(said.why(&a).contains(code), "{:?}", said.0);
        assert_eq!(writes(&server), [""; 0], "{code}");
        assert_eq!(world.aaws_via(&server, format!("ec2 {line} --unchecked")).run().ok().json(), json!([]));
    }
}

#[test]
fn what_refers_to_images_is_asked_of_ten_at_a_time_and_in_all_versions_of_launch_templates() {
    let world = World::new();
    let instance = world.instance(&[]).id;
    let images: Vec<String> = (0..11).map(|_| world.image(&instance)).collect();
    let server = world.proxy().start();
    let output = world.aaws_via(&server, format!("ec2 delete_images --image_ids {}", images.join(" "))).run().ok();
    assert_eq!(output.json(), json!([]));
    let asked = server.requests("DescribeImageReferences");
    assert_eq!(asked.len(), 2);
    for request in asked {
        let text = request.text();
        assert!(text.contains("IncludeAllResourceTypes=true"), "{text}");
        assert!(text.contains("OptionName=version-depth") && text.contains("OptionValue.1=10000"), "{text}");
    }
}

#[test]
fn the_policy_has_what_ec2_needs_to_find_what_refers_to_an_image() {
    let policy = aaws("permissions ec2 delete_images").stranger().run().ok().stdout;
    for action in [
        "ec2:DescribeImageReferences",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeLaunchTemplateVersions",
        "ssm:DescribeParameters",
        "ssm:GetParameters",
        "imagebuilder:ListImageRecipes",
        "imagebuilder:ListContainerRecipes",
        "imagebuilder:GetContainerRecipe",
    ] {
        assert!(policy.contains(&format!("\"{action}\"")), "no {action} in {policy}");
    }
}

#[test]
fn images_of_data_lifecycle_manager_stay_unless_that_is_meant() {
    let world = World::new();
    let (image, snapshot) = image(&world);
    world.tag(&image, "aws:dlm:lifecycle-policy-id", "policy-1");
    world.tag(&snapshot, "aws:dlm:lifecycle-policy-id", "policy-1");
    let line = format!("ec2 delete_images --image_ids {image} --include_snapshots");
    let output = world.aaws(&line).run().exits(3).logs("policy-1");
    assert_eq!(output.json(), json!([image, snapshot]));
    assert_eq!(world.aaws(format!("{line} --lifecycle_manager")).run().ok().json(), json!([]));
    assert_eq!(world.snapshots(), [""; 0]);
}

#[test]
fn a_snapshot_behind_an_image_that_is_shared_by_itself_stays() {
    let world = World::new();
    let (image, snapshot) = image(&world);
    let permission = [("Attribute", "createVolumePermission"), ("OperationType", "add")];
    world.ec2("ModifySnapshotAttribute", &[("SnapshotId", &snapshot), permission[0], permission[1], ("UserId.1", "111122223333")]);
    let server = world.proxy().start();
    let line = format!("delete_images --image_ids {image} --include_snapshots");
    let plan = planned(&world, &server, &line, 3);
    assert_eq!((plan.status(&image), plan.status(&snapshot)), ("planned", "skipped"));
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.exits(3).json(), json!([snapshot]));
    assert_eq!(world.snapshots(), [snapshot]);
}

#[test]
fn a_snapshot_that_ec2_still_takes_for_in_use_is_deleted_a_little_later() {
    let world = World::new();
    let (image, _) = image(&world);
    let server =
        world.proxy().rule("DeleteSnapshot", |n, request| (n <= 3).then(|| proxy::error(request, 400, "InvalidSnapshot.InUse"))).start();
    let output = world.aaws_via(&server, format!("ec2 delete_images --image_ids {image} --include_snapshots")).run().ok();
    assert_eq!(output.json(), json!([]));
    assert_eq!((server.count("DeleteSnapshot"), world.snapshots()), (4, vec![]));
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
    world.aaws_via(&server, format!("ec2 delete_images --image_ids {image}")).run().exits(3).logs("Unchecked");
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
    assert_eq!((plan.code(&a), plan.status(&b)), ("Unchecked", "planned"));
    assert!(plan.why(&a).contains("UnauthorizedOperation"), "{:?}", plan.0);
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
    assert_eq!((said.code(&a), said.status(&c)), ("Unchecked", "done"));
    assert!(said.why(&a).contains("InvalidAMIID.Unavailable"), "{:?}", said.0);
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
        let output = world.aaws_via(&server, &line).run().exits(3).logs(state);
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
    assert_eq!(output.exits(3).json(), json!([public, backup, behind_public, behind_backup]));
    assert!(said.why(&public).contains("everyone") && said.why(&backup).contains("delete_backups"), "{:?}", said.0);
    assert_eq!(writes(&server), [""; 0]);
    // What AWS Backup keeps it keeps, whatever is meant.
    let output = world.aaws_via(&server, format!("ec2 {line} --shared --referenced")).run().exits(3);
    assert_eq!(output.json(), json!([backup, behind_backup]));
    assert_eq!(world.images(), [backup]);
}
