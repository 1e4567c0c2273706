use aws_sdk_ec2::types::Volume;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::actions::ec2::lookup::Resource;

/// What EC2 tells of a volume.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeDetails {
    /// Id of the volume.
    pub volume_id: String,
    /// Value of its tag `Name`.
    pub name: Option<String>,
    /// Its state: `available` when it is attached to nothing, `in-use` and so on.
    pub state: Option<String>,
    /// Its size in GiB.
    #[schemars(extend("x-unit" = "GiB"))]
    pub size: Option<i32>,
    /// Its type: `gp3`.
    pub volume_type: Option<String>,
    /// Whole days since it was made.
    #[schemars(extend("x-unit" = "days"))]
    pub age_days: Option<i64>,
    /// Whether it is encrypted.
    pub encrypted: Option<bool>,
    /// What it is attached to, each as `i-0123456789abcdef0:/dev/sdf`.
    pub attachments: Vec<String>,
    /// I/O operations a second that it is made for; null for types that have none of their own.
    pub iops: Option<i32>,
    /// Throughput that it is made for, in MiB a second; null for types that have none of their own.
    #[schemars(extend("x-unit" = "MiB/s"))]
    pub throughput: Option<i32>,
    /// When it was made. RFC 3339 in UTC.
    pub create_time: Option<String>,
    /// When it was attached to what it is attached to now, RFC 3339 in UTC; the last time of several. EC2 keeps no time of what it was attached to before.
    pub attach_time: Option<String>,
    /// ARN of the KMS key that it is encrypted with.
    pub kms_key_id: Option<String>,
    /// Snapshot that it was made from.
    pub snapshot_id: Option<String>,
    /// Availability zone that it is in.
    pub availability_zone: Option<String>,
    /// Its tags, each as `Key=Value`, in the order of their keys.
    pub tags: Vec<String>,
}

impl VolumeDetails {
    /// Of a volume as EC2 lists it.
    pub fn of(volume: &Volume, now: Timestamp) -> Self {
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let attached = volume.attachments().iter();
        let last = volume.attachments().iter().filter_map(|a| a.attach_time()).max_by_key(|time| time.as_nanos());
        VolumeDetails {
            volume_id: volume.id().to_owned(),
            name: super::name(volume.tags()),
            state: text(volume.state().map(|s| s.as_str())),
            size: volume.size(),
            volume_type: text(volume.volume_type().map(|t| t.as_str())),
            iops: volume.iops(),
            throughput: volume.throughput(),
            attachments: attached
                .map(|a| format!("{}:{}", a.instance_id().unwrap_or("no instance"), a.device().unwrap_or("no device")))
                .collect(),
            attach_time: super::text(last),
            create_time: super::text(volume.create_time()),
            age_days: super::days(volume.create_time().and_then(super::instant), now),
            encrypted: volume.encrypted(),
            kms_key_id: text(volume.kms_key_id()),
            snapshot_id: text(volume.snapshot_id()),
            availability_zone: text(volume.availability_zone()),
            tags: super::pairs(volume.tags()),
        }
    }
}
