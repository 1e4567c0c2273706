//! Taking snapshots, and taking away those that are not wanted any more.

use aaws::{Call, Context, Error, ErrorContext, Grant, Result, When};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{ResourceType, Snapshot, Tag};
use futures::TryStreamExt;

use super::lookup::{self, Resource};
use super::{once, tags};

/// Snapshots that do not exist yet, or whose ids no input tells.
pub const SNAPSHOTS: &str = "arn:${Partition}:ec2:${Region}::snapshot/*";

/// Taking snapshots of the volumes of the input `volume_ids`, tagged in the same call.
pub const CREATE_SNAPSHOT: Call = Call::write(
    "ec2:CreateSnapshot",
    &[
        Grant::new("ec2:CreateSnapshot", &["arn:${Partition}:ec2:${Region}:${Account}:volume/${volume_ids}", SNAPSHOTS]),
        Grant::new("ec2:CreateTags", &[SNAPSHOTS]).condition("StringEquals", "ec2:CreateAction", "CreateSnapshot"),
    ],
);

/// With an option that asks for snapshots.
pub const WITH_SNAPSHOT: When = When::With(&["snapshot"]);

/// Begins a snapshot of a volume, named after it and with these tags beside, and gives its id. When the answer is lost it is found by its description.
pub async fn begin(cx: &Context, ec2: &Client, volume: &str, description: String, more: Vec<Tag>) -> Result<String> {
    let named = more.into_iter().filter(|t| t.key() != Some("Name")).chain([tags::tag("Name", &format!("source:{volume}"))]);
    let description = format!("{description} ({})", once::token());
    let request = ec2.create_snapshot().volume_id(volume).description(&description);
    let request = request.set_tag_specifications(tags::for_new(ResourceType::Snapshot, named.collect()));
    let send = || async {
        let answer = request.clone().customize().config_override(once::config()).send().await;
        let id = answer.context(|| format!("take a snapshot of the volume `{volume}`"))?.snapshot_id;
        id.ok_or_else(|| Error::Failed(format!("EC2 began a snapshot of `{volume}` without naming it")))
    };
    once::create_once(cx, &format!("described as `{description}`"), send, || described(ec2, &description)).await
}

/// The id of the snapshot of this description.
pub async fn described(ec2: &Client, description: &str) -> Result<Option<String>> {
    let mut described = Snapshot::list(ec2, vec![lookup::filter("description", [description])]);
    Ok(described.try_next().await?.map(|snapshot| snapshot.id().to_owned()))
}

/// Deletes a snapshot, and says whether there was one: one that is not there any more is no error.
pub async fn delete(ec2: &Client, id: &str) -> Result<bool> {
    match ec2.delete_snapshot().snapshot_id(id).send().await.context(|| format!("delete the snapshot `{id}`")) {
        Err(e) if e.code() == Some("InvalidSnapshot.NotFound") => Ok(false),
        answer => answer.map(|_| true),
    }
}
