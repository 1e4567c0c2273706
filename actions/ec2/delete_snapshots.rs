use std::collections::{BTreeMap, BTreeSet, HashMap};

use aaws::{Action, Call, Change, Context, Effect, Example, Grant, Items, LeftItems, Meta, Outcome, Result, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Snapshot;
use futures::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::Deserialize;

use super::lookup::{self, DESCRIBE_IMAGES, DESCRIBE_SNAPSHOTS, Lookup, LookupResult, Resource};
use super::related::{self, DESCRIBE_LOCKED_SNAPSHOTS};

/// Delete EBS snapshots.
///
/// Looked at first are the images of the account, disabled ones included, locks, and AWS Backup: a snapshot that is behind an image, locked, or kept
/// by AWS Backup is skipped with that reason. The ids of the snapshots that are still there, because they failed or were skipped, are printed in
/// the order given; the log and the report say why. An id that does not exist is unchanged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteSnapshots {
    /// Snapshots to delete. An empty list deletes nothing.
    snapshot_ids: Items<String>,
}

#[async_trait]
impl Action for DeleteSnapshots {
    const META: Meta = Meta {
        path: "ec2/delete_snapshots",
        effect: Effect::Delete,
        calls: &[
            DESCRIBE_SNAPSHOTS,
            DESCRIBE_IMAGES,
            DESCRIBE_LOCKED_SNAPSHOTS,
            Call::write(
                "ec2:DeleteSnapshot",
                &[Grant::new("ec2:DeleteSnapshot", &["arn:${Partition}:ec2:${Region}::snapshot/${snapshot_ids}"])],
            ),
        ],
        rules: &[],
        examples: &[Example {
            title: "Delete a snapshot; one of an id that does not exist is no failure",
            input: r#"{"snapshot_ids": ["snap-0123456789abcdef0", "snap-00000000000000000"]}"#,
            output: "[]",
            given: &["snapshot snap-0123456789abcdef0"],
        }],
        notes: &[
            "Without a rule of the Recycle Bin for snapshots, deletion is final. With one, the Recycle Bin says until when each can be recovered.",
            "Fast snapshot restore of a snapshot ends with it, and with that what it costs.",
            "Only images of this account are looked at: an account that a snapshot is shared with has copies of its own, or loses it.",
            "Where locks may not be listed, EC2 refuses to delete a locked snapshot by itself, and it fails.",
            "Archived snapshots are deleted like any other; the least time of the archive is billed all the same.",
        ],
    };

    type Output = LeftItems;

    async fn run(self, cx: &Context) -> Result<LeftItems> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<Snapshot>(cx, &ec2, self.snapshot_ids).await?;
        let there: Vec<String> = lookup.iter().filter_map(|s| s.result.found()).map(|s| s.id().to_owned()).collect();
        let (users, locks) =
            lookup::cancellable(cx, async { futures::try_join!(related::users(&ec2, &there), related::locks(&ec2, &there)) }).await?;
        let delete = Delete { ec2, users, locks };
        Ok(cx.change(stream::iter(lookup.into_iter().map(Ok)), delete).await?.left())
    }
}

aaws::register!(DeleteSnapshots);

struct Delete {
    ec2: Client,
    users: BTreeMap<String, BTreeSet<String>>,
    locks: HashMap<String, String>,
}

#[async_trait]
impl Change for Delete {
    type Item = Lookup<Snapshot>;
    type Done = ();

    fn id(&self, snapshot: &Lookup<Snapshot>) -> String {
        snapshot.id.clone()
    }

    fn summary(&self) -> String {
        "delete for good".into()
    }

    fn plan(&self, snapshot: &Lookup<Snapshot>) -> Option<String> {
        let snapshot = snapshot.result.found()?;
        let begun = snapshot.start_time().map(|t| format!(", of {t}")).unwrap_or_default();
        Some(format!("the snapshot of {}{begun} would be deleted", snapshot.volume_id().unwrap_or("an unknown volume")))
    }

    fn precheck(&self, lookup: &Lookup<Snapshot>) -> Option<Outcome> {
        let snapshot = match &lookup.result {
            LookupResult::Found(snapshot) => snapshot,
            LookupResult::NotFound => return Some(Outcome::Unchanged("it does not exist".into())),
            LookupResult::Duplicate => return Some(Outcome::Unchanged("duplicate id".into())),
        };
        if let Some(why) = related::kept(snapshot) {
            return Some(Outcome::skipped(why));
        }
        if let Some(why) = self.locks.get(&lookup.id) {
            return Some(Outcome::skipped(why.clone()));
        }
        let images = self.users.get(&lookup.id)?;
        let images: Vec<_> = images.iter().map(String::as_str).collect();
        Some(Outcome::skipped(format!("it is behind {}: delete that first", images.join(", "))))
    }

    async fn apply(&self, cx: &Context, snapshots: &[Lookup<Snapshot>]) -> Result<Vec<Outcome>> {
        let delete = snapshots.iter().map(|s| related::delete_snapshot(&self.ec2, &s.id));
        Ok(stream::iter(delete.collect::<Vec<_>>()).buffered(cx.concurrency()).collect().await)
    }
}
