//! "Longer ago than N days": one meaning for every action.

use std::borrow::Cow;

use aws_sdk_iam::primitives::{DateTime, DateTimeFormat};
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The sentence for the pages.
pub const STRICTLY: &str = "`threshold_days` means one thing in all actions: strictly more than N whole days of 24 hours before the run began. \
     What is exactly N days old is not reported, and with 0 only what is at least one whole day old is.";

/// Nanoseconds of a day.
const DAY: i128 = 86_400 * 1_000_000_000;

/// A number of whole days, from 0. What it is compared with must be older than that: more whole days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct ThresholdDays(u32);

impl ThresholdDays {
    /// Whether an instant lies more whole days back than this.
    pub fn passed(self, now: Timestamp, since: &DateTime) -> bool {
        age_days(now, since) > i64::from(self.0)
    }
}

impl TryFrom<i64> for ThresholdDays {
    type Error = String;

    fn try_from(days: i64) -> Result<Self, String> {
        u32::try_from(days).map(ThresholdDays).map_err(|_| format!("{days} is not a number of days: give a whole number from 0"))
    }
}

impl From<ThresholdDays> for i64 {
    fn from(days: ThresholdDays) -> i64 {
        days.0.into()
    }
}

impl JsonSchema for ThresholdDays {
    fn schema_name() -> Cow<'static, str> {
        "ThresholdDays".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// The whole days from an instant to the beginning of the run; 0 for one that a clock ahead of ours puts in the future.
pub fn age_days(now: Timestamp, since: &DateTime) -> i64 {
    age_days_at(now.as_nanosecond(), since)
}

fn age_days_at(now: i128, since: &DateTime) -> i64 {
    i64::try_from(now.saturating_sub(since.as_nanos()).div_euclid(DAY)).unwrap_or(i64::MAX).max(0)
}

/// RFC 3339 in UTC, as outputs have it.
pub fn text(date: &DateTime) -> Option<String> {
    date.fmt(DateTimeFormat::DateTime).ok()
}

/// The later of two instants, either of which may be missing.
pub fn later(one: Option<&DateTime>, other: Option<&DateTime>) -> Option<DateTime> {
    one.into_iter().chain(other).max_by_key(|date| date.as_nanos()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_days_are_counted() {
        let since = DateTime::from_secs(1_000_000);
        let after = |seconds: i128| age_days_at((1_000_000 + seconds) * 1_000_000_000, &since);
        assert_eq!([after(-5), after(0), after(86_399), after(86_400), after(172_799), after(172_800)], [0, 0, 0, 1, 1, 2]);
        assert_eq!(age_days_at(0, &DateTime::from_secs(i64::MAX)), 0);
    }

    #[test]
    fn the_threshold_itself_is_not_passed() {
        let now = Timestamp::now();
        let days_ago = |n: i64| DateTime::from_secs(now.as_second() - n * 86_400 - 3600);
        let threshold = ThresholdDays(30);
        assert!(!threshold.passed(now, &days_ago(30)));
        assert!(threshold.passed(now, &days_ago(31)));
        assert!(ThresholdDays::try_from(-1).is_err_and(|e| e.contains("from 0")));
    }
}
