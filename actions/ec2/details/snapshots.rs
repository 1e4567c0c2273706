use aws_sdk_ec2::types::Snapshot;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::actions::ec2::lookup::Resource;

/// What EC2 tells of a snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SnapshotDetails {
    /// Id of the snapshot.
    pub snapshot_id: String,
    /// Value of its tag `Name`.
    pub name: Option<String>,
    /// Its state: `completed`, `pending` and so on.
    pub state: Option<String>,
    /// Size of the volume that it was taken of, in GiB. What it is billed for is less.
    #[schemars(extend("x-unit" = "GiB"))]
    pub volume_size: Option<i32>,
    /// Whole days since it was begun.
    #[schemars(extend("x-unit" = "days"))]
    pub age_days: Option<i64>,
    /// Whether it is encrypted.
    pub encrypted: Option<bool>,
    /// Volume that it was taken of, which may be gone; of a copy one that AWS makes up.
    pub volume_id: Option<String>,
    /// When it was begun. RFC 3339 in UTC.
    pub start_time: Option<String>,
    /// What it was described as.
    pub description: Option<String>,
    /// Size of all blocks that it holds, in bytes, also those that it shares with earlier snapshots; null where EC2 does not tell.
    #[schemars(extend("x-unit" = "bytes"))]
    pub full_snapshot_size_in_bytes: Option<i64>,
    /// ARN of the KMS key that it is encrypted with.
    pub kms_key_id: Option<String>,
    /// Where it is kept: `standard` or `archive`.
    pub storage_tier: Option<String>,
    /// How much of it is done: `100%`.
    pub progress: Option<String>,
    /// Its tags, each as `Key=Value`, in the order of their keys.
    pub tags: Vec<String>,
}

impl SnapshotDetails {
    /// Of a snapshot as EC2 lists it.
    pub fn of(snapshot: &Snapshot, now: Timestamp) -> Self {
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        SnapshotDetails {
            snapshot_id: snapshot.id().to_owned(),
            name: super::name(snapshot.tags()),
            state: text(snapshot.state().map(|s| s.as_str())),
            volume_size: snapshot.volume_size(),
            full_snapshot_size_in_bytes: snapshot.full_snapshot_size_in_bytes(),
            volume_id: text(snapshot.volume_id()),
            start_time: super::text(snapshot.start_time()),
            age_days: super::days(snapshot.start_time().and_then(super::instant), now),
            encrypted: snapshot.encrypted(),
            kms_key_id: text(snapshot.kms_key_id()),
            storage_tier: text(snapshot.storage_tier().map(|t| t.as_str())),
            progress: text(snapshot.progress()),
            description: text(snapshot.description()),
            tags: super::pairs(snapshot.tags()),
        }
    }
}
