//! What listings tell of a thing with `details`: what a person decides by, under the names that EC2's API has for it. All of it comes with the
//! listing itself, so that asking for it costs no request.

pub mod images;
mod instances;
mod snapshots;
mod tagged;
mod volumes;

pub use images::ImageDetails;
pub use instances::InstanceDetails;
pub use snapshots::SnapshotDetails;
pub use tagged::TaggedDetails;
pub use volumes::VolumeDetails;

use aws_sdk_ec2::types::Tag;
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use super::tags;

/// The value of the tag `Name`.
pub fn name(tags: &[Tag]) -> Option<String> {
    tags::value(tags, "Name").filter(|name| !name.is_empty()).map(str::to_owned)
}

/// An instant of the API; none for one that no calendar reaches.
pub fn instant(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

/// An instant as it is printed: RFC 3339 in UTC.
pub fn text(time: Option<&DateTime>) -> Option<String> {
    instant(time?).map(|time| time.to_string())
}

/// The whole days from an instant to `now`.
pub fn days(from: Option<Timestamp>, now: Timestamp) -> Option<i64> {
    Some(now.duration_since(from?).as_hours() / 24)
}

/// Tags, each as `Key=Value`, in the order of their keys.
pub fn pairs(tags: &[Tag]) -> Vec<String> {
    let mut pairs: Vec<String> = tags::pairs(tags).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort_unstable();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_whole_days() {
        let now: Timestamp = "2026-03-03T12:00:00Z".parse().expect("an instant");
        let age = |from: &str| days(from.parse().ok(), now);
        assert_eq!(age("2026-03-01T12:00:00Z"), Some(2));
        assert_eq!(age("2026-03-01T12:00:01Z"), Some(1));
        assert_eq!(age("2026-03-03T12:00:00Z"), Some(0));
        assert_eq!(days(None, now), None);
    }

    #[test]
    fn instants_are_printed_to_the_fraction_that_they_have() {
        assert_eq!(text(Some(&DateTime::from_secs(1_700_000_000))).as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(text(Some(&DateTime::from_millis(1_700_000_000_500))).as_deref(), Some("2023-11-14T22:13:20.5Z"));
        assert_eq!(text(Some(&DateTime::from_secs(i64::MAX))), None);
    }
}
