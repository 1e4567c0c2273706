//! Taking snapshots, and taking away those that are not wanted any more.

use std::collections::HashMap;

use aaws::poll::Looks;
use aaws::{Call, Context, Doing, Error, Failure, Grant, Result, When};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{ResourceType, Tag};
use futures::stream::{self, StreamExt};

use super::{tags, wait};

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

/// EC2's code for a volume of which a snapshot was begun less than 15 seconds ago (EC2 API reference, error codes), and how often that is met before it
/// is an answer: with the waits between, for half a minute.
const TOO_SOON: &str = "SnapshotCreationPerVolumeRateExceeded";
const TRIES: u32 = 9;

/// With an option that asks for snapshots.
pub const WITH_SNAPSHOT: When = When::With(&["snapshot"]);

/// The name of a snapshot of a volume.
fn name_for(volume: &str) -> String {
    format!("source:{volume}")
}

/// Begins a snapshot of a volume, named after it and with these tags beside, and gives its id. A volume of which one was begun a moment ago is tried
/// again until it may be.
pub async fn begin(cx: &Context, ec2: &Client, volume: &str, description: String, more: Vec<Tag>) -> Result<String> {
    let named = more.into_iter().filter(|t| t.key() != Some("Name")).chain([tags::tag("Name", &name_for(volume))]);
    let request = ec2.create_snapshot().volume_id(volume).description(description);
    let request = request.set_tag_specifications(tags::for_new(ResourceType::Snapshot, named.collect()));
    let mut looks = Looks::new();
    let mut tried = 1;
    loop {
        match request.clone().send().await.doing(|| format!("take a snapshot of the volume `{volume}`")) {
            Err(e) if e.code() == Some(TOO_SOON) && tried < TRIES && looks.wait(cx).await => {
                tracing::debug!("{e}; will be tried again");
                tried += 1;
            }
            answer => {
                let id = answer?.snapshot_id;
                return id.ok_or_else(|| Error::Failed(format!("EC2 began a snapshot of `{volume}` without naming it")));
            }
        }
    }
}

/// Deletes a snapshot, and says whether there was one: one that is not there any more is no error.
pub async fn delete(ec2: &Client, id: &str) -> Result<bool> {
    match ec2.delete_snapshot().snapshot_id(id).send().await.doing(|| format!("delete the snapshot `{id}`")) {
        Err(e) if e.code() == Some("InvalidSnapshot.NotFound") => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// Takes a snapshot of each volume and awaits them together: for each volume its complete snapshot, or why there is none. What was begun and did
/// not complete is named, and stays.
pub async fn take<'a>(
    cx: &Context,
    ec2: &Client,
    volumes: impl Iterator<Item = &'a str>,
    when: &str,
) -> HashMap<String, Result<String, Failure>> {
    let begun = volumes.map(|volume| async move {
        if cx.stop().is_asked() {
            return (volume.to_owned(), Err(Failure::last("NotStarted", "no snapshot was taken: the run was stopped")));
        }
        let begun = begin(cx, ec2, volume, format!("{volume} as it was {when}, taken by aaws"), Vec::new()).await;
        // Without an answer nobody knows its id: it is found by its name.
        let told = |e: &Error| {
            if e.is_unclear() { format!("a snapshot named `{}` may have been begun all the same", name_for(volume)) } else { String::new() }
        };
        (volume.to_owned(), begun.map_err(|e| Failure::from(&e).and(&told(&e))))
    });
    let begun: Vec<_> = stream::iter(begun.collect::<Vec<_>>()).buffered(cx.concurrency()).collect().await;
    let ids: Vec<String> = begun.iter().filter_map(|(_, b)| b.as_ref().ok().cloned()).collect();
    let mut awaited = wait::snapshots(cx, ec2, &ids).await;
    let mut complete = |snapshot: String| match awaited.remove(&snapshot) {
        Some(Err(why)) => Err(Failure::last("SnapshotIncomplete", format!("its snapshot {snapshot} is not complete: {why}"))),
        _ => Ok(snapshot),
    };
    begun.into_iter().map(|(volume, begun)| (volume, begun.and_then(&mut complete))).collect()
}
