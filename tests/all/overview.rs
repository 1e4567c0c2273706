//! What there is to look after, and the commands that are shown for it.

use serde_json::{Value, json};

use crate::support::ec2::World;

/// What is said of a check.
fn check<'a>(rows: &'a Value, title: &str) -> &'a Value {
    let mut rows = rows.as_array().expect("a list of checks").iter();
    rows.find(|row| row["check"] == title).unwrap_or_else(|| panic!("nothing is said of: {title}"))
}

#[test]
fn the_commands_that_are_shown_go_where_was_looked() {
    let world = World::new();
    let volume = world.volume(&[]);
    let rows = world.aaws("overview ec2 --region us-east-1").env("AWS_REGION", "eu-west-1").run().json();
    let said = check(&rows, "Volumes that are attached to nothing");
    let command = |member: &str| said[member].as_str().unwrap_or_else(|| panic!("no {member}: {said}")).to_owned();
    let shown = world.shell(command("show")).env("AWS_REGION", "eu-west-1").run().ok().json();
    assert_eq!(shown[0]["VolumeId"], volume.as_str());
    world.shell(command("mend")).env("AWS_REGION", "eu-west-1").run().ok();
    assert_eq!((world.volumes().len(), world.snapshots().len()), (0, 1));
}

#[test]
fn what_an_action_finds_as_a_whole_is_counted_too() {
    let world = World::new();
    let group = world.group("unused");
    let title = "Security groups that nothing uses";
    let rows = world.aaws("overview ec2").run().json();
    let said = check(&rows, title);
    assert_eq!((&said["count"], &said["problem"]), (&json!(1), &json!(null)), "{said}");
    let mend = said["mend"].as_str().unwrap_or_else(|| panic!("nothing mends it: {said}"));
    world.shell(mend).run().ok();
    assert!(!world.groups().contains(&group));

    let server = world.proxy().refuse("DescribeLaunchTemplateVersions", 403, "UnauthorizedOperation").start();
    let rows = world.aaws_via(&server, "overview ec2").run().exits(3).json();
    assert!(check(&rows, title)["problem"].as_str().is_some_and(|why| why.contains("could not be looked at")), "{rows}");
}
