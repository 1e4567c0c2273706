use std::collections::HashMap;

use aaws::{Action, Call, ChangeOne, Context, Effect, Example, Grant, Items, LeftItems, Meta, Outcome, Result, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Snapshot;
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::lookup::{self, DESCRIBE_IMAGES, DESCRIBE_SNAPSHOTS, Lookup, Resource};
use super::related::{self, DESCRIBE_LOCKED_SNAPSHOTS, Locks, Overrides, Users};
use super::seen::{self, States, WithState};
use super::{states, tags};

/// Delete EBS snapshots.
///
/// Looked at first are the images of the account, disabled ones included, locks, and whom the snapshots are shared with: a snapshot that is behind an
/// image, locked, shared, or kept by AWS Backup or Data Lifecycle Manager is skipped with that reason. Where that cannot be looked at the snapshot
/// stays, and fails as `Unchecked`. The ids of the snapshots that are still there, because they failed or were skipped, are printed in the order
/// given; the log and the report say why.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteSnapshots {
    /// Snapshots to delete: ids, or what `discover_snapshots` prints of them with `details`, which are left alone when they are in another state by now.
    /// An empty list deletes nothing.
    pub snapshot_ids: Items<WithState<Snapshot>>,
    /// Delete snapshots even if they are shared with other accounts, or with everyone.
    #[serde(default)]
    pub shared: bool,
    /// Delete snapshots even if Data Lifecycle Manager keeps them.
    #[serde(default)]
    pub lifecycle_manager: bool,
    /// Go on though the images of the account, locks, or whom a snapshot is shared with could not be looked at.
    #[serde(default)]
    pub unchecked: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
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
            Call::read(
                "ec2:DescribeSnapshotAttribute",
                &[Grant::new("ec2:DescribeSnapshotAttribute", &["arn:${Partition}:ec2:${Region}::snapshot/${snapshot_ids}"])],
            )
            .when(When::Without(&["shared"])),
            Call::write(
                "ec2:DeleteSnapshot",
                &[Grant::new("ec2:DeleteSnapshot", &["arn:${Partition}:ec2:${Region}::snapshot/${snapshot_ids}"])],
            ),
        ],
        rules: &[],
        examples: &[Example {
            title: "Delete two snapshots, of which one may be gone already",
            input: r#"{"snapshot_ids": ["snap-0123456789abcdef0", "snap-00000000000000000"], "ignore_not_found": true}"#,
            output: "[]",
            given: &["snapshot snap-0123456789abcdef0"],
        }],
        notes: &[
            "Without a rule of the Recycle Bin for snapshots, deletion is final. With one, the Recycle Bin says until when each can be recovered.",
            "Fast snapshot restore of a snapshot ends with it, and with that what it costs.",
            "Only images of this account are looked at: an account that a snapshot is shared with has copies of its own, or loses it.",
            "With `unchecked` EC2 still refuses by itself to delete what is locked or behind an image, and that fails. What is shared goes.",
            "Archived snapshots are deleted like any other; the least time of the archive is billed all the same.",
        ],
    };

    const BINDS: &'static [&'static str] = states::SNAPSHOT;

    type Output = LeftItems;

    async fn run(self, cx: &Context) -> Result<LeftItems> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let (ids, seen) = seen::parted(self.snapshot_ids).await?;
        let lookup = lookup::look_up::<Snapshot>(cx, &ec2, ids.into()).await?;
        let there: Vec<String> = lookup.iter().filter_map(|s| s.result.found()).map(|s| s.id().to_owned()).collect();
        let (users, locks) =
            lookup::cancellable(cx, async { futures::try_join!(related::users(&ec2, &there), related::locks(&ec2, &there)) }).await?;
        let overrides =
            Overrides { shared: self.shared, lifecycle_manager: self.lifecycle_manager, unchecked: self.unchecked, ..Overrides::default() };
        let mut delete = Delete { ec2, users, locks, seen, overrides, ignore_not_found: self.ignore_not_found, shared: HashMap::new() };
        if cx.dry_run() {
            let going: Vec<&str> = lookup.iter().filter(|s| delete.precheck(s).is_none()).map(|s| s.id.as_str()).collect();
            delete.shared = lookup::cancellable(cx, related::shared_prechecks(cx, &delete.ec2, &going, overrides)).await?;
        }
        Ok(cx.change_each(stream::iter(lookup.into_iter().map(Ok)), delete).await?.left())
    }
}

aaws::register!(DeleteSnapshots);

struct Delete {
    ec2: Client,
    users: Users,
    locks: Locks,
    /// What was seen of them when they were listed.
    seen: States,
    overrides: Overrides,
    ignore_not_found: bool,
    /// Of a dry run, why snapshots that are shared stay. Otherwise each is asked of just before it is deleted: that takes a request for each.
    shared: HashMap<String, Outcome>,
}

#[async_trait]
impl ChangeOne for Delete {
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

    fn tags(&self, lookup: &Lookup<Snapshot>) -> Option<Vec<(String, String)>> {
        lookup.result.found().map(|s| tags::pairs(s.tags()))
    }

    fn precheck(&self, lookup: &Lookup<Snapshot>) -> Option<Outcome> {
        let Some(snapshot) = lookup.result.found() else { return lookup.result.unknown(self.ignore_not_found) };
        if let Some(changed) = self.seen.changed(snapshot) {
            return Some(changed);
        }
        if let Some(outcome) = related::snapshot_precheck(snapshot, &self.locks, self.overrides) {
            return Some(outcome);
        }
        let images: Vec<&str> = self.users.of(&lookup.id).map(String::as_str).collect();
        if !images.is_empty() {
            return Some(Outcome::skipped(format!("it is behind {}: delete that first", images.join(", "))));
        }
        self.users.unknown(self.overrides).or_else(|| self.shared.get(&lookup.id).cloned())
    }

    fn state(&self, snapshot: &Lookup<Snapshot>) -> Option<Value> {
        snapshot.result.found().map(states::snapshot)
    }

    async fn apply(&self, _: &Context, snapshot: &Lookup<Snapshot>) -> Result<Outcome> {
        match related::share_precheck(&self.ec2, &snapshot.id, self.overrides).await? {
            None => Ok(related::delete_snapshot(&self.ec2, &snapshot.id).await),
            Some(shared) => Ok(shared),
        }
    }
}
