use std::collections::HashSet;

use aaws::{Action, Context, Effect, Example, Items, Listing, Meta, Moment, Out, Result, Rule, async_trait};
use aws_sdk_ec2::types::{Filter, Snapshot};
use futures::TryStreamExt;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use super::lookup::{self, DESCRIBE_SNAPSHOTS, Resource};
use super::related;

/// List the EBS snapshots of the account, with filters.
///
/// All filters have to match. The ids are printed as EC2 lists them, or in the order of `snapshot_ids`. Snapshots of a volume are found when the
/// volume is gone, too. Ids of snapshots that do not exist are reported as failed, and the rest is answered all the same.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverSnapshots {
    /// Only snapshots of these volumes. An empty list is no snapshot.
    pub volume_ids: Option<Items<String>>,
    /// Only these snapshots. An empty list is no snapshot.
    pub snapshot_ids: Option<Items<String>>,
    /// Only snapshots that are not encrypted.
    #[serde(default)]
    pub unencrypted: bool,
    /// Leave out snapshots that AWS Backup keeps, by their tags or their description.
    #[serde(default)]
    pub exclude_aws_backup: bool,
    /// Only snapshots begun before this.
    pub created_before: Option<Moment>,
    /// Only snapshots begun at or after this.
    pub created_after: Option<Moment>,
}

#[async_trait]
impl Action for DiscoverSnapshots {
    const META: Meta = Meta {
        path: "ec2/discover_snapshots",
        effect: Effect::Read,
        calls: &[DESCRIBE_SNAPSHOTS],
        rules: &[Rule::AtMostOne(&["volume_ids", "snapshot_ids"])],
        examples: &[
            Example {
                title: "List the snapshots of a volume",
                input: r#"{"volume_ids": ["vol-0123456789abcdef0"]}"#,
                output: r#"["snap-0123456789abcdef0"]"#,
                given: &["volume vol-0123456789abcdef0", "snapshot snap-0123456789abcdef0 of vol-0123456789abcdef0"],
            },
            Example {
                title: "List the unencrypted snapshots older than a year that AWS Backup does not keep",
                input: r#"{"unencrypted": true, "exclude_aws_backup": true, "created_before": "365d"}"#,
                output: "[]",
                given: &["snapshot snap-0123456789abcdef0"],
            },
        ],
        notes: &[
            "Snapshots in the archive tier are listed too, and so are those that images use or that are shared: `delete_snapshots` looks at that.",
            "A copy of a snapshot names a volume that AWS makes up: `volume_ids` finds the original only.",
        ],
    };

    type Output = Listing<String>;

    async fn run(self, cx: &Context) -> Result<Listing<String>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverSnapshots);

impl DiscoverSnapshots {
    async fn list(mut self, cx: &Context, mut out: Out<String>) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        if let Some(ids) = self.snapshot_ids.take() {
            for snapshot in lookup::given::<Snapshot>(cx, &ec2, ids).await? {
                if self.matches(&snapshot) {
                    out.send(snapshot.id().to_owned()).await?;
                }
            }
            return Ok(());
        }
        let filters = self.filters();
        let Some(volumes) = self.volume_ids.take() else {
            let mut snapshots = Snapshot::list(&ec2, filters);
            while let Some(snapshot) = snapshots.try_next().await? {
                if self.matches(&snapshot) {
                    out.send(snapshot.id().to_owned()).await?;
                }
            }
            return Ok(());
        };
        let volumes: Vec<String> = volumes.stream().try_collect().await?;
        let wanted: HashSet<&str> = volumes.iter().map(String::as_str).collect();
        let mut seen = HashSet::new();
        let mut snapshots = Box::pin(lookup::with_values::<Snapshot>(&ec2, "volume-id", &volumes, &filters));
        while let Some(snapshot) = snapshots.try_next().await? {
            // A filter takes wildcards: `vol-*` would be the snapshots of all volumes.
            let is_of_these = snapshot.volume_id().is_some_and(|volume| wanted.contains(volume));
            if is_of_these && self.matches(&snapshot) && seen.insert(snapshot.id().to_owned()) {
                out.send(snapshot.id().to_owned()).await?;
            }
        }
        Ok(())
    }

    fn filters(&self) -> Vec<Filter> {
        if self.unencrypted { vec![lookup::filter("encrypted", ["false"])] } else { Vec::new() }
    }

    fn matches(&self, snapshot: &Snapshot) -> bool {
        let begun = snapshot.start_time().and_then(|t| Timestamp::new(t.secs(), i32::try_from(t.subsec_nanos()).ok()?).ok());
        (!self.unencrypted || snapshot.encrypted() == Some(false))
            && !(self.exclude_aws_backup && related::kept(snapshot).is_some())
            && self.created_before.is_none_or(|before| begun.is_some_and(|b| b < before.timestamp()))
            && self.created_after.is_none_or(|after| begun.is_some_and(|b| b >= after.timestamp()))
    }
}
