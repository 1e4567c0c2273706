use std::time::Duration;

use aaws::{Action, Age, Context, Effect, Error, Example, Meta, Result, Rule, async_trait};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;

/// A day of UTC, which has no other.
const DAY: u64 = 24 * 60 * 60;

/// Print now, or a time before or after it, in UTC.
///
/// Every format is one that the dates of other actions take. On a command line they take an age such as `30d` as it stands; this is for
/// programs that have to write the date down.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetDate {
    /// So many days from now.
    pub after: Option<u32>,
    /// So many days ago.
    pub before: Option<u32>,
    /// So long from now: a whole number and `s`, `m`, `h`, `d` or `w`.
    pub ahead: Option<Age>,
    /// So long ago: a whole number and `s`, `m`, `h`, `d` or `w`.
    pub ago: Option<Age>,
    /// How it is written.
    #[serde(default)]
    pub format: Format,
}

/// How a date is written.
#[derive(Debug, Clone, Copy, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `2024-01-31 08:00:00.000000+00:00`
    #[default]
    Datetime,
    /// The day alone, `2024/01/31`: as an input it means midnight.
    String,
    /// RFC 3339, `2024-01-31T08:00:00.000000Z`
    Iso,
}

#[async_trait]
impl Action for GetDate {
    const META: Meta = Meta {
        path: "general/get_date",
        effect: Effect::Local,
        calls: &[],
        rules: &[Rule::AtMostOne(&["after", "before", "ahead", "ago"])],
        examples: &[
            Example {
                title: "Print the day of a week ago",
                input: r#"{"before": 7, "format": "string"}"#,
                output: r#""2024/01/24""#,
                given: &[],
            },
            Example {
                title: "Print the time twelve hours from now, as RFC 3339",
                input: r#"{"ahead": "12h", "format": "iso"}"#,
                output: r#""2024-01-31T20:00:00.000000Z""#,
                given: &[],
            },
        ],
        notes: &["`--output text` prints it without quotes, for a shell.", "Days have 24 hours: UTC has no daylight saving time."],
    };

    type Output = String;

    async fn run(self, cx: &Context) -> Result<String> {
        let days = |n: u32| Duration::from_secs(u64::from(n) * DAY);
        let (field, length, back) = match (self.after, self.before, self.ahead, self.ago) {
            (Some(n), ..) => ("after", days(n), false),
            (_, Some(n), ..) => ("before", days(n), true),
            (_, _, Some(age), _) => ("ahead", age.duration(), false),
            (_, _, _, Some(age)) => ("ago", age.duration(), true),
            (None, None, None, None) => ("after", Duration::ZERO, false),
        };
        let now = cx.now();
        let moved =
            SignedDuration::try_from(length).and_then(|length| if back { now.checked_sub(length) } else { now.checked_add(length) });
        let at =
            moved.map_err(|_| Error::field(field, format!("`{field}`: that is out of range: dates go from the year -9999 to 9999")))?;
        Ok(self.format.write(at))
    }
}

aaws::register!(GetDate);

impl Format {
    fn write(self, at: Timestamp) -> String {
        match self {
            Format::Datetime => at.strftime("%Y-%m-%d %H:%M:%S.%6f+00:00").to_string(),
            Format::String => at.strftime("%Y/%m/%d").to_string(),
            Format::Iso => format!("{at:.6}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Format;
    use aaws::Moment;

    #[test]
    fn every_format_is_one_that_dates_are_read_in() {
        let at = "2024-01-31T08:00:00.25Z".parse::<jiff::Timestamp>().unwrap_or_default();
        assert_eq!(Format::Datetime.write(at), "2024-01-31 08:00:00.250000+00:00");
        assert_eq!(Format::String.write(at), "2024/01/31");
        assert_eq!(Format::Iso.write(at), "2024-01-31T08:00:00.250000Z");
        let read = |format: Format| format.write(at).parse::<Moment>().map(Moment::timestamp);
        assert_eq!(read(Format::Datetime), Ok(at));
        assert_eq!(read(Format::Iso), Ok(at));
        assert!(read(Format::String).is_ok());
    }
}
