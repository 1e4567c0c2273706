use aaws::{Action, Call, Context, Effect, Example, Grant, Items, Listing, Meta, Outcome, Result, Reversible, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Volume;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::lookup::{self, DESCRIBE_SNAPSHOTS, DESCRIBE_VOLUMES, Lookup};
use super::made::{MadeStep, UNDONE};
use super::making::{self, Maker, Row};
use super::snapshots::{self, CREATE_SNAPSHOT};
use super::wait::{self, Awaited};
use super::{states, tags};

/// Take snapshots of EBS volumes, and await them.
///
/// All snapshots are begun, then awaited together. Each is named after its volume (`source:vol-…`) and gets the volume's own tags, in the call
/// that begins it. The ids of the complete ones are printed in the order of the volumes; with `details`, what came of each volume. A snapshot that
/// ends in an error is a failure of its volume, with EC2's reason.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSnapshots {
    /// Volumes to take snapshots of. An empty list is none.
    pub volume_ids: Items<String>,
    /// Print the ids as soon as the snapshots are begun, and do not await them.
    #[serde(default)]
    pub no_wait: bool,
    /// Print what came of each volume, with its snapshot, rather than the ids of the snapshots.
    #[serde(default)]
    pub details: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

#[async_trait]
impl Action for CreateSnapshots {
    const META: Meta = Meta {
        path: "ec2/create_snapshots",
        effect: Effect::Create,
        calls: &[
            DESCRIBE_VOLUMES,
            CREATE_SNAPSHOT,
            DESCRIBE_SNAPSHOTS.when(When::Likely("`no_wait` is not given, or an answer is lost")),
            Call::write("ec2:DeleteSnapshot", &[Grant::new("ec2:DeleteSnapshot", &[snapshots::SNAPSHOTS])]).when(UNDONE),
        ],
        rules: &[],
        examples: &[
            Example {
                title: "Take snapshots of two volumes",
                input: r#"{"volume_ids": ["vol-0123456789abcdef0", "vol-0fedcba9876543210"]}"#,
                output: r#"["snap-0123456789abcdef0", "snap-0fedcba9876543210"]"#,
                given: &["volume vol-0123456789abcdef0", "volume vol-0fedcba9876543210"],
            },
            Example {
                title: "Begin a snapshot, and tell which volume it is of",
                input: r#"{"volume_ids": ["vol-0123456789abcdef0"], "no_wait": true, "details": true}"#,
                output: r#"[{"SourceId": "vol-0123456789abcdef0", "Status": "done", "Id": "snap-0123456789abcdef0", "Message": "snap-0123456789abcdef0 was begun"}]"#,
                given: &["volume vol-0123456789abcdef0"],
            },
        ],
        notes: &[
            "The first snapshot of a large volume takes hours: the wait has no limit but `--timeout`. When it ends, the log, the report and `details` name every snapshot \
             that was begun; they go on.",
            "Each snapshot is taken by itself: those of several volumes of a running instance are not of one moment. `create_images` takes all of an instance at once.",
            "EC2 limits how many snapshots are under way and how often one is taken of a volume: what it refuses for that is tried again for a while.",
        ],
    };

    const BINDS: &'static [&'static str] = &["its size", "encryption", "KMS key"];
    const REVERSIBLE: Reversible = Reversible::Yes("`aaws undo` deletes the snapshots that were made.");

    type Output = Listing<Row>;

    async fn run(self, cx: &Context) -> Result<Listing<Row>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<Volume>(cx, &ec2, self.volume_ids).await?;
        making::make(cx, lookup, Take { ec2, wait: !self.no_wait, ignore_not_found: self.ignore_not_found }, self.details).await
    }
}

aaws::register!(CreateSnapshots, undo = MadeStep);

struct Take {
    ec2: Client,
    wait: bool,
    ignore_not_found: bool,
}

#[async_trait]
impl Maker for Take {
    type Source = Lookup<Volume>;

    fn id(&self, volume: &Lookup<Volume>) -> String {
        volume.id.clone()
    }

    fn summary(&self) -> String {
        "take a snapshot of".into()
    }

    fn plan(&self, _: &Lookup<Volume>) -> Option<String> {
        Some("a snapshot of it would be taken".into())
    }

    fn precheck(&self, volume: &Lookup<Volume>) -> Option<Outcome<String>> {
        volume.result.unknown(self.ignore_not_found)
    }

    fn state(&self, volume: &Lookup<Volume>) -> Option<Value> {
        volume.result.found().map(states::contents)
    }

    fn awaited(&self) -> bool {
        self.wait
    }

    fn step(&self, volume: &Lookup<Volume>, made: &str) -> Option<MadeStep> {
        Some(MadeStep::Snapshot { of: volume.id.clone(), id: made.to_owned() })
    }

    async fn begin(&self, cx: &Context, volume: &Lookup<Volume>) -> Result<String> {
        let own = volume.result.found().map(|v| tags::own(v.tags())).unwrap_or_default();
        snapshots::begin(cx, &self.ec2, &volume.id, format!("{}, taken by aaws", volume.id), own).await
    }

    async fn wait(&self, cx: &Context, made: &[String]) -> Awaited {
        wait::snapshots(cx, &self.ec2, made).await
    }
}
