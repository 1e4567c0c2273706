use std::collections::HashSet;

use aaws::{Action, Age, Check, Context, Effect, Example, Glob, Items, Listing, Meta, Moment, Out, Result, Row, Rule, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Image, Snapshot, Volume};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::details::{self, SnapshotDetails};
use super::listing::listing;
use super::lookup::{self, DESCRIBE_IMAGES, DESCRIBE_SNAPSHOTS, DESCRIBE_VOLUMES, Resource, Shareable};
use super::related::{self, DESCRIBE_SNAPSHOT_ATTRIBUTE};
use super::selecting::{self, Common};
use super::tags::Wanted;

/// List the EBS snapshots of the account, or of another owner, with filters.
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
    /// Whose snapshots to list rather than the account's own: an account id, or `amazon`. Only those that this account may use.
    pub owner: Option<String>,
    /// Tags that snapshots have to have, all of them: `Key` with any value, or `Key=Value`; `Key=` is the empty value. An empty list is no snapshot.
    pub tags: Option<Vec<Wanted>>,
    /// Tags of which snapshots must have none: `Key` with any value, or `Key=Value`. An empty list is no snapshot.
    pub missing_tags: Option<Vec<Wanted>>,
    /// Pattern of the tag `Name`: `data-*`. Snapshots without that tag have no name.
    pub name: Option<Glob>,
    /// States to keep. An empty list is no snapshot.
    pub states: Option<Vec<State>>,
    /// Only snapshots of volumes of more than so many GiB.
    pub larger_than: Option<u32>,
    /// Only snapshots of volumes of less than so many GiB.
    pub smaller_than: Option<u32>,
    /// Only snapshots whose volume is gone, and that are behind no image of the account. Copies are of a volume that AWS makes up, which is none.
    #[serde(default)]
    pub orphaned: bool,
    /// Only snapshots that are shared with other accounts, or with everyone. Takes a request for each snapshot that the rest leaves.
    #[serde(default)]
    pub shared: bool,
    /// Only snapshots that are shared with everyone.
    #[serde(default)]
    pub public: bool,
    /// Only snapshots that are encrypted.
    #[serde(default)]
    pub encrypted: bool,
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
    /// Only snapshots begun longer ago than this.
    pub older_than: Option<Age>,
    /// Print of each snapshot what EC2 tells of it, rather than its id alone.
    #[serde(default)]
    pub details: bool,
}

/// A state of snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Pending,
    Completed,
    Error,
    Recoverable,
    Recovering,
}

impl State {
    /// As EC2 writes it.
    fn word(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Completed => "completed",
            State::Error => "error",
            State::Recoverable => "recoverable",
            State::Recovering => "recovering",
        }
    }
}

/// What keeps a snapshot from being an orphan.
struct Kin {
    volumes: HashSet<String>,
    /// Snapshots behind images of the account.
    behind: HashSet<String>,
}

#[async_trait]
impl Action for DiscoverSnapshots {
    const META: Meta = Meta {
        path: "ec2/discover_snapshots",
        effect: Effect::Read,
        calls: &[
            DESCRIBE_SNAPSHOTS,
            DESCRIBE_VOLUMES.when(When::With(&["orphaned"])),
            DESCRIBE_IMAGES.when(When::With(&["orphaned"])),
            DESCRIBE_SNAPSHOT_ATTRIBUTE.when(When::With(&["shared"])),
        ],
        rules: &[
            Rule::AtMostOne(&["volume_ids", "snapshot_ids", "owner"]),
            Rule::AtMostOne(&["owner", "orphaned"]),
            Rule::AtMostOne(&["owner", "shared"]),
            Rule::AtMostOne(&["owner", "public"]),
            Rule::AtMostOne(&["encrypted", "unencrypted"]),
        ],
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
            Example {
                title: "List the snapshots that are left of what is gone, but for those that are to be kept",
                input: r#"{"orphaned": true, "missing_tags": ["Keep"]}"#,
                output: "[]",
                given: &["volume vol-0123456789abcdef0", "snapshot snap-0123456789abcdef0 of vol-0123456789abcdef0"],
            },
        ],
        notes: &[
            "Snapshots in the archive tier are listed too, and so are those that images use or that are shared: `delete_snapshots` looks at that.",
            "A copy of a snapshot names a volume that AWS makes up: `volume_ids` finds the original only, and with `orphaned` a copy that is behind no image is listed.",
            "With `orphaned` all volumes and all images of the account are listed once, disabled images included. Images of other accounts, which a snapshot may be \
             shared with, have snapshots of their own.",
            "Whom a snapshot is shared with EC2 tells of one at a time: one of which it does not is reported as failed.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["SnapshotId"];

    const OVERVIEW: &'static [Check] = &[
        Check {
            title: "Snapshots that are not encrypted",
            input: r#"{"unencrypted": true, "details": true}"#,
            since: Some("StartTime"),
            mend: None,
        },
        Check {
            title: "Snapshots that are shared with everyone",
            input: r#"{"public": true, "details": true}"#,
            since: Some("StartTime"),
            mend: None,
        },
    ];

    type Output = Listing<Row<SnapshotDetails>>;

    async fn run(self, cx: &Context) -> Result<Listing<Row<SnapshotDetails>>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverSnapshots);

impl DiscoverSnapshots {
    async fn list(mut self, cx: &Context, mut out: Out<Row<SnapshotDetails>>) -> Result<()> {
        let now = cx.now();
        // A filter without a value must not be sent, and nothing has no state.
        if self.states.as_ref().is_some_and(Vec::is_empty) || self.common(now).is_nothing() {
            return Ok(());
        }
        let ids = self.snapshot_ids.take();
        let volumes = self.volume_ids.take();
        if ids.as_ref().is_some_and(Items::is_empty) || volumes.as_ref().is_some_and(Items::is_empty) {
            return Ok(());
        }
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        // The account's own that everyone may restore, where other ones are listed.
        let of_everyone: Option<HashSet<String>> = if self.public && (ids.is_some() || volumes.is_some()) {
            Some(public(&ec2, Vec::new()).map_ok(|snapshot| snapshot.id().to_owned()).try_collect().await?)
        } else {
            None
        };
        let volumes: Option<Vec<String>> = match volumes {
            Some(volumes) => Some(volumes.stream().try_collect().await?),
            None => None,
        };
        let filters = self.filters(now);
        let mut found: BoxStream<'_, Result<Snapshot>> = match (ids, &volumes) {
            (Some(ids), _) => stream::iter(lookup::given::<Snapshot>(cx, &ec2, ids).await?.into_iter().map(Ok)).boxed(),
            (None, Some(volumes)) => lookup::with_values::<Snapshot>(&ec2, "volume-id", volumes, &filters).boxed(),
            (None, None) if self.public => public(&ec2, filters.clone()),
            (None, None) => Snapshot::list_of(self.owner.as_deref().unwrap_or("self"), &ec2, filters.clone()),
        };
        // A filter takes wildcards: `vol-*` would be the snapshots of all volumes.
        let of: Option<HashSet<&str>> = volumes.as_ref().map(|volumes| volumes.iter().map(String::as_str).collect());
        let (mut seen, mut candidates) = (HashSet::new(), Vec::new());
        while let Some(snapshot) = found.try_next().await? {
            let is_of_these = of.as_ref().is_none_or(|of| snapshot.volume_id().is_some_and(|volume| of.contains(volume)));
            let is_public = of_everyone.as_ref().is_none_or(|public| public.contains(snapshot.id()));
            if !is_of_these || !is_public || !self.matches(&snapshot, now) {
                continue;
            }
            if of.is_some() && !seen.insert(snapshot.id().to_owned()) {
                continue;
            }
            if self.orphaned || self.shared {
                candidates.push(snapshot);
            } else {
                let row = self.row(&snapshot, now);
                out.send(row).await?;
            }
        }
        // Volumes and images are listed behind the snapshots. The other way round, a volume that is made behind its listing, and a snapshot of it, would
        // make an orphan of a snapshot whose volume is there, and so would a new image. This way each snapshot is older than the look at its kin: its volume
        // is listed unless it is gone by then, and an image of it if it is there by then. A snapshot that is made meanwhile is not listed, which harms
        // nothing; an image that is made behind all of this is seen by `delete_snapshots`, which looks again.
        if self.orphaned && !candidates.is_empty() {
            let kin = kin(&ec2).await?;
            candidates.retain(|snapshot| kin.is_orphan(snapshot));
        }
        if !self.shared {
            for snapshot in &candidates {
                let row = self.row(snapshot, now);
                out.send(row).await?;
            }
            return Ok(());
        }
        let asked: Vec<_> = candidates.into_iter().map(|snapshot| with_shares(ec2.clone(), snapshot)).collect();
        let mut asked = stream::iter(asked).buffered(cx.concurrency());
        while let Some((snapshot, with)) = asked.next().await {
            match with {
                Ok(with) if with.is_empty() => {}
                Ok(_) => {
                    let row = self.row(&snapshot, now);
                    out.send(row).await?;
                }
                Err(e) if e.is_fatal() => return Err(e),
                Err(e) => cx.record_failure(snapshot.id(), &e),
            }
        }
        Ok(())
    }

    fn row(&self, snapshot: &Snapshot, now: Timestamp) -> Row<SnapshotDetails> {
        Row::of(self.details, snapshot.id(), || SnapshotDetails::of(snapshot, now))
    }

    fn common(&self, now: Timestamp) -> Common<'_> {
        Common {
            tags: self.tags.as_deref(),
            missing_tags: self.missing_tags.as_deref(),
            name: self.name.as_ref(),
            older_than: self.older_than,
            now,
        }
    }

    fn filters(&self, now: Timestamp) -> Vec<Filter> {
        let mut filters: Vec<Filter> = selecting::encryption_filter(self.encrypted, self.unencrypted).into_iter().collect();
        if let Some(states) = &self.states {
            filters.push(lookup::filter("status", states.iter().map(|s| s.word())));
        }
        filters.extend(self.common(now).filters());
        filters
    }

    fn matches(&self, snapshot: &Snapshot, now: Timestamp) -> bool {
        let begun = snapshot.start_time().and_then(details::instant);
        let in_state = |states: &Vec<State>| states.iter().any(|s| snapshot.state().is_some_and(|is| is.as_str() == s.word()));
        self.common(now).is_met_by_tags(snapshot.tags(), begun)
            && selecting::is_as_encrypted(self.encrypted, self.unencrypted, snapshot.encrypted())
            && selecting::is_between(self.larger_than, self.smaller_than, snapshot.volume_size().map(i64::from))
            && self.states.as_ref().is_none_or(in_state)
            && !(self.exclude_aws_backup && related::kept(snapshot).is_some())
            && self.created_before.is_none_or(|before| begun.is_some_and(|b| b < before.timestamp()))
            && self.created_after.is_none_or(|after| begun.is_some_and(|b| b >= after.timestamp()))
    }
}

impl Kin {
    fn is_orphan(&self, snapshot: &Snapshot) -> bool {
        let has_volume = snapshot.volume_id().is_some_and(|volume| self.volumes.contains(volume));
        !has_volume && !self.behind.contains(snapshot.id())
    }
}

/// All volumes, and all snapshots behind images.
async fn kin(ec2: &Client) -> Result<Kin> {
    let mut kin = Kin { volumes: HashSet::new(), behind: HashSet::new() };
    let mut volumes = Volume::list(ec2, Vec::new());
    while let Some(volume) = volumes.try_next().await? {
        kin.volumes.insert(volume.id().to_owned());
    }
    let mut images = Image::list(ec2, Vec::new());
    while let Some(image) = images.try_next().await? {
        kin.behind.extend(related::behind(&image).map(str::to_owned));
    }
    Ok(kin)
}

/// The account's snapshots that everyone may restore, and that match all filters.
fn public(ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Snapshot>> {
    // No filters at all rather than an empty list of them.
    let filters = (!filters.is_empty()).then_some(filters);
    let request = ec2.describe_snapshots().owner_ids("self").restorable_by_user_ids("all").set_filters(filters).max_results(lookup::PAGE);
    listing!(request, "snapshots that are shared with everyone", set_next_token, next_token, snapshots).boxed()
}

/// A snapshot, and whom it is shared with.
async fn with_shares(ec2: Client, snapshot: Snapshot) -> (Snapshot, Result<Vec<String>>) {
    let with = related::shared_with(&ec2, snapshot.id()).await;
    (snapshot, with)
}
