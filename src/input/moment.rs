//! Dates and ages, as every action takes them.

use std::borrow::Cow;
use std::cell::Cell;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant: `YYYY/MM/DD` or `YYYY-MM-DD` (midnight UTC), RFC 3339, or an age such as `30d` or `12h`, which is that long before now.
///
/// `…_after` keeps what is at or after the instant, `…_before` what is before it: one day is `after` its date and `before` the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Timestamp);

/// A length of time: a whole number and `s`, `m`, `h`, `d` or `w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(Duration);

const DAY: u64 = 86_400;

thread_local! {
    /// The clock of the run whose input this thread is giving its type: serde has no other way to hand something to a `Deserialize`.
    static NOW: Cell<Option<Timestamp>> = const { Cell::new(None) };
}

/// Reads ages as they are at `now`: two ages of one run are measured from one instant, and two runs of one process each from its own.
pub(super) fn at<R>(now: Timestamp, parse: impl FnOnce() -> R) -> R {
    let before = NOW.replace(Some(now));
    let result = parse();
    NOW.set(before);
    result
}

impl Moment {
    /// The instant.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl From<Moment> for SystemTime {
    fn from(moment: Moment) -> Self {
        moment.0.into()
    }
}

impl From<SystemTime> for Moment {
    /// Instants that no calendar reaches are the nearest that one does.
    fn from(time: SystemTime) -> Self {
        let end = if time < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
        Moment(Timestamp::try_from(time).unwrap_or(end))
    }
}

impl From<Timestamp> for Moment {
    fn from(timestamp: Timestamp) -> Self {
        Moment(timestamp)
    }
}

impl PartialEq<aws_smithy_types::DateTime> for Moment {
    fn eq(&self, other: &aws_smithy_types::DateTime) -> bool {
        self.0.as_nanosecond() == other.as_nanos()
    }
}

/// Against the dates of the SDK.
impl PartialOrd<aws_smithy_types::DateTime> for Moment {
    fn partial_cmp(&self, other: &aws_smithy_types::DateTime) -> Option<std::cmp::Ordering> {
        Some(self.0.as_nanosecond().cmp(&other.as_nanos()))
    }
}

impl Age {
    /// So many days of 24 hours.
    pub const fn days(number: u64) -> Self {
        Age(Duration::from_secs(number.saturating_mul(DAY)))
    }

    /// The instant that long before another; where no calendar reaches it, the earliest there is.
    pub fn before(self, instant: Timestamp) -> Moment {
        let ago = SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX);
        Moment(instant.checked_sub(ago).unwrap_or(Timestamp::MIN))
    }

    /// As the standard library has it.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time: give a whole number and s, m, h, d or w, as in 90s or 30d");
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
        let seconds: u64 = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(wrong()),
        };
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(seconds).map(|s| Age(Duration::from_secs(s))).ok_or_else(wrong)
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(age) = text.parse::<Age>() {
            let ago = SignedDuration::try_from(age.0).ok().and_then(|ago| NOW.get().unwrap_or_else(Timestamp::now).checked_sub(ago).ok());
            return ago.map(Moment).ok_or_else(|| format!("`{text}` ago is out of range"));
        }
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Ok(Moment(timestamp));
        }
        date(text).and_then(|date| date.to_zoned(TimeZone::UTC).ok()).map(|midnight| Moment(midnight.timestamp())).ok_or_else(|| {
            format!("`{text}` is not a date: give YYYY-MM-DD, YYYY/MM/DD, RFC 3339 (2024-01-31T08:00:00Z) or an age (30d, 12h)")
        })
    }
}

/// `YYYY-MM-DD` or `YYYY/MM/DD`, whole.
fn date(text: &str) -> Option<Date> {
    let joint = if text.contains('/') { '/' } else { '-' };
    let mut parts = text.split(joint);
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
    if parts.next().is_some() || !digits(year, 4) || !digits(month, 2) || !digits(day, 2) {
        return None;
    }
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

impl TryFrom<&str> for Age {
    type Error = String;

    fn try_from(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<&str> for Moment {
    type Error = String;

    fn try_from(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-or-age" })
    }

    fn inline_schema() -> bool {
        true
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// As it is written: in the largest unit that it is a whole number of.
impl std::fmt::Display for Age {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs();
        let units = [(DAY, 'd'), (3_600, 'h'), (60, 'm')];
        let (length, unit) = units.into_iter().find(|(length, _)| seconds != 0 && seconds.is_multiple_of(*length)).unwrap_or((1, 's'));
        write!(f, "{}{unit}", seconds / length)
    }
}

/// For defaults, which a schema shows.
impl Serialize for Age {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// For defaults, which a schema shows.
impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Age {
    fn schema_name() -> Cow<'static, str> {
        "Age".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "age", "pattern": "^[0-9]+[smhdw]$" })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        text.parse::<Moment>().map_or_else(|e| e, |m| m.timestamp().to_string())
    }

    #[test]
    fn dates_are_midnight_utc() {
        assert_eq!(at("2024/01/31"), "2024-01-31T00:00:00Z");
        assert_eq!(at("2024-01-31"), "2024-01-31T00:00:00Z");
        assert_eq!(at("2024-01-31T10:00:00+02:00"), "2024-01-31T08:00:00Z");
        for wrong in ["2024-13-01", "2024-02-30", "24-01-01", "2024-01-31T10:00:00", "yesterday", "", "2024/01", "-1d", "1.5d", "d"] {
            assert!(at(wrong).contains("is not a date"), "{wrong}: {}", at(wrong));
        }
    }

    #[test]
    fn ages_are_measured_from_now() {
        let now: Timestamp = "2026-03-01T00:00:00Z".parse().expect("an instant");
        let day = super::at(now, || "1d".parse::<Moment>().expect("an age"));
        assert_eq!(now.duration_since(day.timestamp()), SignedDuration::from_hours(24));
        assert_eq!("2w".parse::<Age>().map(Age::duration), Ok(Duration::from_secs(14 * 86_400)));
        let written = |text: &str| text.parse::<Age>().map(|age| age.to_string());
        assert_eq!(["48h", "90m", "90s", "0d", "1w"].map(|a| written(a).expect("an age")), ["2d", "90m", "90s", "0s", "7d"]);
        assert_eq!(Age::days(2).to_string(), "2d");
        assert!("99999999999999999999d".parse::<Age>().is_err());
        assert!("9999999w".parse::<Moment>().is_err_and(|e| e.contains("out of range")));
    }
}
