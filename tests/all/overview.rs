//! What there is to look after, and the commands that are shown for it.

use serde_json::Value;

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
