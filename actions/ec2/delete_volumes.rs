use aaws::{Action, Call, ChangeOne, Context, Effect, Example, Failure, Grant, Items, LeftItems, Meta, Outcome, Result, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Volume, VolumeState};
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::lookup::{self, DESCRIBE_SNAPSHOTS, DESCRIBE_VOLUMES, Lookup};
use super::safety::SafetySnapshots;
use super::seen::{self, States, WithState};
use super::snapshots::{CREATE_SNAPSHOT, WITH_SNAPSHOT};
use super::{ids, related, states, tags, volumes};

/// Delete detached EBS volumes.
///
/// With `snapshot` each volume gets a snapshot first, which is awaited: a volume whose snapshot cannot be taken, or does not complete, stays.
/// Volumes that are attached are skipped with a reason, and never detached. The ids of the volumes that are still there, because they failed or
/// were skipped, are printed in the order given; the log and the report say why.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteVolumes {
    /// Volumes to delete: ids, or what `discover_volumes` prints of them with `details`, which are left alone when they are in another state by now. An
    /// empty list deletes nothing.
    pub volume_ids: Items<WithState<Volume>>,
    /// Take a snapshot of each volume first, and await it.
    #[serde(default)]
    pub snapshot: bool,
    /// Delete also volumes that Kubernetes made for a claim, by their tags.
    #[serde(default)]
    pub kubernetes: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
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
                title: "Delete two volumes, each after a snapshot; it is no matter if one is gone already",
                input: r#"{"volume_ids": ["vol-0123456789abcdef0", "vol-0fedcba9876543210"], "snapshot": true, "ignore_not_found": true}"#,
                output: "[]",
                given: &["volume vol-0123456789abcdef0"],
            },
        ],
        notes: &[
            "Without a rule of the Recycle Bin for volumes, deletion is final.",
            "A snapshot that was taken stays when its volume cannot be deleted after all; the message of that item names it.",
            "Snapshots of large volumes take hours: the wait has no limit but `--timeout`. Volumes whose snapshots are not complete then stay, and the snapshots go on.",
            "Each volume is deleted when its own snapshot is complete, and waits for no other.",
            "What `discover_volumes --details` prints goes into `volume_ids` as it is: a volume that was `available` then and is in use now is skipped, as `Changed`.",
            "Volumes that Kubernetes made for a claim are skipped unless `kubernetes` is given: a claim would find its data gone.",
        ],
    };

    const BINDS: &'static [&'static str] = states::VOLUME;

    type Output = LeftItems;

    async fn run(self, cx: &Context) -> Result<LeftItems> {
        let (ids, seen) = seen::parted(self.volume_ids).await?;
        let ids = ids::all("volume_ids", "vol-", ids)?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<Volume>(cx, &ec2, ids.into()).await?;
        let saved = self.snapshot.then(|| SafetySnapshots::new(ec2.clone()));
        let delete = DeleteDetached { ec2, saved, seen, kubernetes: self.kubernetes, ignore_not_found: self.ignore_not_found };
        Ok(cx.change_each(stream::iter(lookup.into_iter().map(Ok)), delete).await?.left())
    }
}

aaws::register!(DeleteVolumes);

struct DeleteDetached {
    ec2: Client,
    /// Those that are taken first, when that is wanted.
    saved: Option<SafetySnapshots>,
    /// What was seen of them when they were listed.
    seen: States,
    kubernetes: bool,
    ignore_not_found: bool,
}

#[async_trait]
impl ChangeOne for DeleteDetached {
    type Item = Lookup<Volume>;
    type Done = ();

    fn id(&self, volume: &Lookup<Volume>) -> String {
        volume.id.clone()
    }

    fn summary(&self) -> String {
        if self.saved.is_some() { "delete, each after a snapshot of it".into() } else { "delete for good".into() }
    }

    fn plan(&self, _: &Lookup<Volume>) -> Option<String> {
        Some(
            if self.saved.is_some() {
                "it would be deleted when a snapshot of it is complete"
            } else {
                "it would be deleted, without a snapshot"
            }
            .into(),
        )
    }

    fn tags(&self, volume: &Lookup<Volume>) -> Option<Vec<(String, String)>> {
        volume.result.found().map(|v| tags::pairs(v.tags()))
    }

    fn precheck(&self, lookup: &Lookup<Volume>) -> Option<Outcome> {
        let Some(volume) = lookup.result.found() else { return lookup.result.unknown(self.ignore_not_found) };
        let is_going = matches!(volume.state(), Some(VolumeState::Deleting | VolumeState::Deleted));
        if let Some(changed) = self.seen.changed(volume).filter(|_| !is_going) {
            return Some(changed);
        }
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

    fn state(&self, volume: &Lookup<Volume>) -> Option<Value> {
        volume.result.found().map(states::volume)
    }

    async fn apply(&self, cx: &Context, volume: &Lookup<Volume>) -> Result<Outcome> {
        Ok(self.delete(cx, &volume.id).await)
    }
}

impl DeleteDetached {
    /// Deletes a volume, unless it lacks the snapshot that it should have.
    async fn delete(&self, cx: &Context, id: &str) -> Outcome {
        let kept = match &self.saved {
            None => None,
            Some(saved) => match saved.take(cx, id, "before it was deleted").await {
                Ok(snapshot) => Some(format!("its snapshot is {snapshot}")),
                Err(failure) => return Outcome::Failed(failure),
            },
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
