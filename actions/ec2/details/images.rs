use aws_sdk_ec2::types::Image;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::actions::ec2::lookup::Resource;
use crate::actions::ec2::related;

/// What EC2 tells of an image.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImageDetails {
    /// Id of the image.
    pub image_id: String,
    /// Its name, which is not its tag `Name`.
    pub name: Option<String>,
    /// Its state: `available`, `disabled` and so on.
    pub state: Option<String>,
    /// Whether it is shared with everyone.
    pub public: Option<bool>,
    /// Whole days since it was made.
    #[schemars(extend("x-unit" = "days"))]
    pub age_days: Option<i64>,
    /// Size of all volumes that it makes of its snapshots, in GiB.
    #[schemars(extend("x-unit" = "GiB"))]
    pub volume_size: Option<i64>,
    /// Whether all its snapshots are encrypted; null when it has none.
    pub encrypted: Option<bool>,
    /// When it was used last to launch an instance, RFC 3339 in UTC, a day behind. Null when it never was, or EC2 does not tell.
    pub last_launched_time: Option<String>,
    /// When it was made. RFC 3339 in UTC.
    pub creation_date: Option<String>,
    /// From when on it is deprecated, RFC 3339 in UTC.
    pub deprecation_time: Option<String>,
    /// Account that it belongs to.
    pub owner_id: Option<String>,
    /// Its architecture: `x86_64`, `arm64`.
    pub architecture: Option<String>,
    /// Its operating system, as it is billed: `Linux/UNIX`, `Windows`.
    pub platform_details: Option<String>,
    /// Snapshot that its root volume is made from.
    pub root_snapshot_id: Option<String>,
    /// Its snapshots.
    pub snapshot_ids: Vec<String>,
    /// Instance that it was made of, which may be gone.
    pub source_instance_id: Option<String>,
    /// Image that it is a copy of.
    pub source_image_id: Option<String>,
    /// Whether it is protected against being deregistered: `enabled`, `disabled` and so on.
    pub deregistration_protection: Option<String>,
    /// What it was described as.
    pub description: Option<String>,
    /// Its tags, each as `Key=Value`, in the order of their keys.
    pub tags: Vec<String>,
}

impl ImageDetails {
    /// Of an image as EC2 lists it.
    pub fn of(image: &Image, now: Timestamp) -> Self {
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        ImageDetails {
            image_id: image.id().to_owned(),
            name: text(image.name()),
            state: text(image.state().map(|s| s.as_str())),
            public: image.public(),
            creation_date: date(image.creation_date()),
            age_days: super::days(created(image), now),
            last_launched_time: date(image.last_launched_time()),
            deprecation_time: date(image.deprecation_time()),
            volume_size: size(image),
            encrypted: is_encrypted(image),
            owner_id: text(image.owner_id()),
            architecture: text(image.architecture().map(|a| a.as_str())),
            platform_details: text(image.platform_details()),
            root_snapshot_id: root_snapshot(image),
            snapshot_ids: related::behind(image).map(str::to_owned).collect(),
            source_instance_id: text(image.source_instance_id()),
            source_image_id: text(image.source_image_id()),
            deregistration_protection: text(image.deregistration_protection()),
            description: text(image.description()),
            tags: super::pairs(image.tags()),
        }
    }
}

/// When an image was made; none where that cannot be read.
pub fn created(image: &Image) -> Option<Timestamp> {
    image.creation_date().and_then(|date| date.parse().ok())
}

/// The size of all volumes that an image makes of its snapshots, in GiB; none for one without snapshots.
pub fn size(image: &Image) -> Option<i64> {
    let mut sizes = image.block_device_mappings().iter().filter_map(|m| m.ebs()).filter_map(|e| e.volume_size()).map(i64::from).peekable();
    sizes.peek().is_some().then(|| sizes.sum())
}

/// Whether all snapshots of an image are encrypted; none for one without snapshots, or where EC2 does not say it of each.
pub fn is_encrypted(image: &Image) -> Option<bool> {
    let disks: Vec<_> = image.block_device_mappings().iter().filter_map(|m| m.ebs()).collect();
    if disks.is_empty() {
        return None;
    }
    let encrypted: Option<Vec<bool>> = disks.iter().map(|e| e.encrypted()).collect();
    match encrypted {
        Some(all) => Some(all.into_iter().all(|encrypted| encrypted)),
        None => disks.iter().any(|e| e.encrypted() == Some(false)).then_some(false),
    }
}

/// A date as every other is printed; EC2 gives those of images as text.
fn date(text: Option<&str>) -> Option<String> {
    let text = text.filter(|text| !text.is_empty())?;
    Some(text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), |time| time.to_string()))
}

/// The snapshot at an image's root device.
fn root_snapshot(image: &Image) -> Option<String> {
    let device = image.root_device_name()?;
    let mapping = image.block_device_mappings().iter().find(|m| m.device_name() == Some(device))?;
    mapping.ebs()?.snapshot_id().map(str::to_owned)
}
