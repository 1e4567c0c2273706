use std::collections::HashMap;

use aaws::{Action, Call, Change, Context, Effect, Example, Failure, Grant, Items, LeftItems, Meta, Outcome, Result, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Volume, VolumeState};
use futures::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::Deserialize;

use super::lookup::{self, DESCRIBE_SNAPSHOTS, DESCRIBE_VOLUMES, Lookup, LookupResult};
use super::snapshots::{self, CREATE_SNAPSHOT, WITH_SNAPSHOT};
use super::{related, volumes};

/// How many volumes' snapshots are awaited together.
const BATCH: usize = 200;

/// Delete detached EBS volumes.
///
/// With `snapshot` each volume gets a snapshot first, which is awaited: a volume whose snapshot cannot be taken, or does not complete, stays.
/// Volumes that are attached are skipped with a reason, and never detached. The ids of the volumes that are still there, because they failed or
/// were skipped, are printed in the order given; the log and the report say why. An id that does not exist is unchanged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteVolumes {
    /// Volumes to delete. An empty list deletes nothing.
    volume_ids: Items<String>,
    /// Take a snapshot of each volume first, and await it.
    #[serde(default)]
    snapshot: bool,
    /// Delete also volumes that Kubernetes made for a claim, by their tags.
    #[serde(default)]
    kubernetes: bool,
}

const VOLUMES: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:volume/${volume_ids}"];

#[async_trait]
impl Action for DeleteVolumes {
    const META: Meta = Meta {
        path: "ec2/delete_volumes",
        effect: Effect::Delete,
        calls: &[
            DESCRIBE_VOLUMES,
            CREATE_SNAPSHOT.when(WITH_SNAPSHOT),
            DESCRIBE_SNAPSHOTS.when(WITH_SNAPSHOT),
            Call::write("ec2:DeleteVolume", &[Grant::new("ec2:DeleteVolume", VOLUMES)]),
        ],
        rules: &[],
        examples: &[
            Example {
                title: "Delete a volume",
                input: r#"{"volume_ids": ["vol-0123456789abcdef0"]}"#,
                output: "[]",
                given: &["volume vol-0123456789abcdef0"],
            },
            Example {
                title: "Delete two volumes, each after a snapshot; the second is attached, and stays",
                input: r#"{"volume_ids": ["vol-0123456789abcdef0", "vol-0fedcba9876543210"], "snapshot": true}"#,
                output: r#"["vol-0fedcba9876543210"]"#,
                given: &[
                    "volume vol-0123456789abcdef0",
                    "instance i-0123456789abcdef0",
                    "volume vol-0fedcba9876543210 on i-0123456789abcdef0",
                ],
            },
        ],
        notes: &[
            "Without a rule of the Recycle Bin for volumes, deletion is final.",
            "A snapshot that was taken stays when its volume cannot be deleted after all; the message of that item names it.",
            "Snapshots of large volumes take hours: the wait has no limit but `--timeout`. Volumes whose snapshots are not complete then stay, and the snapshots go on.",
            "Volumes that Kubernetes made for a claim are skipped unless `kubernetes` is given: a claim would find its data gone.",
        ],
    };

    type Output = LeftItems;

    async fn run(self, cx: &Context) -> Result<LeftItems> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<Volume>(cx, &ec2, self.volume_ids).await?;
        let delete = DeleteDetached { ec2, snapshot: self.snapshot, kubernetes: self.kubernetes };
        Ok(cx.change(stream::iter(lookup.into_iter().map(Ok)), delete).await?.left())
    }
}

aaws::register!(DeleteVolumes);

struct DeleteDetached {
    ec2: Client,
    snapshot: bool,
    kubernetes: bool,
}

#[async_trait]
impl Change for DeleteDetached {
    type Item = Lookup<Volume>;
    type Done = ();

    fn id(&self, volume: &Lookup<Volume>) -> String {
        volume.id.clone()
    }

    fn summary(&self) -> String {
        if self.snapshot { "delete, each after a snapshot of it".into() } else { "delete for good".into() }
    }

    fn plan(&self, _: &Lookup<Volume>) -> Option<String> {
        Some(
            if self.snapshot { "it would be deleted when a snapshot of it is complete" } else { "it would be deleted, without a snapshot" }
                .into(),
        )
    }

    fn precheck(&self, volume: &Lookup<Volume>) -> Option<Outcome> {
        let volume = match &volume.result {
            LookupResult::Found(volume) => volume,
            LookupResult::NotFound => return Some(Outcome::Unchanged("it does not exist".into())),
            LookupResult::Duplicate => return Some(Outcome::Unchanged("duplicate id".into())),
        };
        let attached = volume.attachments().iter().filter_map(|a| a.instance_id()).collect::<Vec<_>>();
        match volume.state() {
            Some(VolumeState::Available | VolumeState::Error) => {}
            Some(VolumeState::Deleting | VolumeState::Deleted) => return Some(Outcome::Unchanged("it is being deleted already".into())),
            Some(VolumeState::InUse) => return Some(Outcome::skipped(format!("it is in use, attached to {}", attached.join(", ")))),
            state => return Some(Outcome::skipped(format!("it is {}", state.map_or("in no known state", VolumeState::as_str)))),
        }
        let claimed = related::kept_by_kubernetes(volume.tags()).filter(|_| !self.kubernetes);
        claimed.map(|why| Outcome::skipped(format!("{why}, or give `kubernetes`")))
    }

    fn batch(&self) -> usize {
        if self.snapshot { BATCH } else { 1 }
    }

    async fn apply(&self, cx: &Context, volumes: &[Lookup<Volume>]) -> Result<Vec<Outcome>> {
        let saved = self.save(cx, volumes).await;
        let delete = volumes.iter().map(|volume| self.delete(cx, &volume.id, saved.get(&volume.id)));
        Ok(stream::iter(delete.collect::<Vec<_>>()).buffered(cx.concurrency()).collect().await)
    }
}

impl DeleteDetached {
    /// The complete snapshot of each volume, or why there is none; nothing when none is wanted.
    async fn save(&self, cx: &Context, volumes: &[Lookup<Volume>]) -> HashMap<String, Result<String, Failure>> {
        if !self.snapshot {
            return HashMap::new();
        }
        snapshots::take(cx, &self.ec2, volumes.iter().map(|v| v.id.as_str()), "before it was deleted").await
    }

    /// Deletes a volume, unless it lacks the snapshot that it should have.
    async fn delete(&self, cx: &Context, id: &str, saved: Option<&Result<String, Failure>>) -> Outcome {
        let kept = match saved {
            Some(Err(failure)) => return Outcome::Failed(failure.clone()),
            Some(Ok(snapshot)) => Some(format!("its snapshot is {snapshot}")),
            None => None,
        };
        // Snapshots take long: who stopped the run meanwhile does not want anything deleted after them.
        if let Some(kept) = kept.as_ref().filter(|_| cx.cancellation().is_cancelled()) {
            return Outcome::skipped(format!("not deleted: the run was stopped; {kept}"));
        }
        match volumes::delete(&self.ec2, id).await {
            Ok(true) => Outcome::Done((), kept),
            Ok(false) => Outcome::Unchanged("it does not exist any more".into()),
            Err(e) => Outcome::Failed(Failure::from(&e).with_note(kept.as_deref().unwrap_or_default())),
        }
    }
}
