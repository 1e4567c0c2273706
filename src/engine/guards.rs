//! Guards that a user sets for what a run may change: how much of it, and what it leaves alone.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::input::{Age, Moment};

/// The tag that protects a thing in every run, whatever its value.
const PROTECT: &str = "aaws:protect";

/// The tag that does so until the date that is its value is past.
const PROTECT_UNTIL: &str = "aaws:protect_until";

/// What protects in every run, for people.
pub const ALWAYS_PROTECT: [&str; 2] = [PROTECT, PROTECT_UNTIL];

/// What a user lets a run do: the same from every front end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guards {
    /// A run in which more items than this would be changed is refused before the first write.
    pub max_items: Option<u64>,
    /// So is one in which more than this part of what was looked at would be.
    pub max_percent: Option<Percent>,
    /// Things with one of these tags are left alone, beside those with `aaws:protect`, and with `aaws:protect_until` and a date that is not past.
    pub protect_tags: Vec<ProtectTag>,
    /// What somebody at a terminal would be asked about is refused where nobody is, unless it was agreed to beforehand.
    pub require_yes: bool,
}

impl Guards {
    /// These and others: of two limits the stricter one, and whatever one of them protects.
    #[must_use]
    pub fn and(mut self, others: &Guards) -> Self {
        self.max_items = stricter(self.max_items, others.max_items);
        self.max_percent = stricter(self.max_percent, others.max_percent);
        let more = others.protect_tags.iter().filter(|tag| !self.protect_tags.contains(tag)).cloned().collect::<Vec<_>>();
        self.protect_tags.extend(more);
        self.require_yes |= others.require_yes;
        self
    }

    /// Why a thing with these tags is left alone, at this time.
    pub fn protection(&self, tags: &[(String, String)], now: Timestamp) -> Option<String> {
        tags.iter().find_map(|(key, value)| {
            if key == PROTECT {
                return Some(format!("its tag `{PROTECT}` protects it"));
            }
            let own = self.protect_tags.iter().find(|tag| tag.is(key, value));
            own.map(|tag| format!("its tag `{tag}` protects it, by `protect_tag`"))
                .or_else(|| if key == PROTECT_UNTIL { protection_until(value, now) } else { None })
        })
    }
}

/// The smaller of two limits; what is no limit allows all.
fn stricter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

/// Why a thing is left alone whose tag has a date. What is no date was meant to protect all the same.
fn protection_until(value: &str, now: Timestamp) -> Option<String> {
    let value = value.trim();
    match end_of(value) {
        Some(end) if end <= now => None,
        Some(_) => Some(format!("its tag `{PROTECT_UNTIL}` protects it until {value}")),
        None => Some(format!("its tag `{PROTECT_UNTIL}` protects it, though its value is no date: `{value}`")),
    }
}

/// When a date is past: a day when it is over, in UTC. An age is no date: it would be past whenever it is read.
fn end_of(date: &str) -> Option<Timestamp> {
    if date.parse::<Age>().is_ok() {
        return None;
    }
    if let Ok(instant) = date.parse::<Timestamp>() {
        return Some(instant);
    }
    let begin = date.parse::<Moment>().ok()?.timestamp();
    begin.checked_add(SignedDuration::from_hours(24)).ok()
}

/// A part of all, in whole percent: 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Percent(u64);

impl Percent {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Percent {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        if number <= 100 { Ok(Percent(number)) } else { Err(format!("`{number}` is no whole number from 0 to 100")) }
    }
}

impl From<Percent> for u64 {
    fn from(percent: Percent) -> u64 {
        percent.0
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: u64 = text.parse().map_err(|_| format!("`{text}` is no whole number from 0 to 100"))?;
        number.try_into()
    }
}

/// A tag that protects what has it: `KEY`, whatever its value, or `KEY=VALUE`, split at the first `=`. `KEY=` is the empty value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProtectTag {
    key: String,
    value: Option<String>,
}

impl ProtectTag {
    fn is(&self, key: &str, value: &str) -> bool {
        self.key == key && self.value.as_deref().is_none_or(|wanted| wanted == value)
    }
}

impl FromStr for ProtectTag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value.to_owned())));
        if key.is_empty() {
            return Err(format!("`{text}` names no tag: give KEY or KEY=VALUE"));
        }
        Ok(ProtectTag { key: key.to_owned(), value })
    }
}

impl TryFrom<String> for ProtectTag {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ProtectTag> for String {
    fn from(tag: ProtectTag) -> String {
        tag.to_string()
    }
}

impl fmt::Display for ProtectTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.key),
            None => f.write_str(&self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protects(own: &[&str], key: &str, value: &str) -> bool {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().expect("an instant");
        let protect_tags = own.iter().map(|tag| tag.parse().expect("a tag")).collect();
        let guards = Guards { protect_tags, ..Guards::default() };
        guards.protection(&[("Name".into(), "x".into()), (key.into(), value.into())], now).is_some()
    }

    #[test]
    fn a_date_protects_until_it_is_past() {
        for until in ["2026-11-24", "2026/11/24", " 2026-11-24 ", "2026-11-23", "2026-11-23T12:00:01Z", "9999-12-31"] {
            assert!(protects(&[], PROTECT_UNTIL, until), "{until}");
        }
        for past in ["2026-11-22", "2026/11/22", "2026-11-23T12:00:00Z", "2026-11-23T13:00:00+02:00"] {
            assert!(!protects(&[], PROTECT_UNTIL, past), "{past}");
        }
    }

    #[test]
    fn what_is_no_date_protects() {
        for no_date in ["", "soon", "2026-13-01", "30d", "0s", "23.11.2026", "true"] {
            assert!(protects(&[], PROTECT_UNTIL, no_date), "{no_date}");
        }
    }

    #[test]
    fn tags_of_the_users_own_add_to_those_that_always_protect() {
        assert!(protects(&[], PROTECT, "") && protects(&["Env=prod"], PROTECT, "false"));
        assert!(protects(&["Env=prod"], "Env", "prod") && protects(&["Env"], "Env", "test") && protects(&["Env="], "Env", ""));
        assert!(!protects(&["Env=prod"], "Env", "test") && !protects(&["Env"], "env", "prod") && !protects(&["Env="], "Env", "prod"));
        assert!(protects(&["a=b=c"], "a", "b=c"));
        assert!("=x".parse::<ProtectTag>().is_err() && "".parse::<ProtectTag>().is_err());
    }

    #[test]
    fn of_two_sets_of_guards_the_stricter_limits_hold_and_all_tags() {
        let tag = |text: &str| text.parse::<ProtectTag>().expect("a tag");
        let percent = |number: u64| Percent::try_from(number).ok();
        let before = Guards { max_items: Some(5), max_percent: percent(20), protect_tags: vec![tag("Env=prod")], require_yes: true };
        let now =
            Guards { max_items: Some(9), max_percent: percent(10), protect_tags: vec![tag("Keep"), tag("Env=prod")], require_yes: false };
        let both =
            Guards { max_items: Some(5), max_percent: percent(10), protect_tags: vec![tag("Keep"), tag("Env=prod")], require_yes: true };
        assert_eq!(now.and(&before), both);
        assert_eq!(Guards::default().and(&before), before);
        assert_eq!(before.clone().and(&Guards::default()), before);
    }

    #[test]
    fn guards_are_read_as_they_are_written() {
        let guards = Guards {
            max_items: Some(5),
            max_percent: Percent::try_from(20).ok(),
            protect_tags: vec!["Env=prod".parse().expect("a tag")],
            require_yes: true,
        };
        let written = serde_json::to_value(&guards).expect("JSON");
        assert_eq!(written, serde_json::json!({"max_items": 5, "max_percent": 20, "protect_tags": ["Env=prod"], "require_yes": true}));
        assert_eq!(serde_json::from_value::<Guards>(written).ok(), Some(guards));
        assert!(serde_json::from_str::<Guards>(r#"{"max_percent": 101}"#).is_err());
        assert!("101".parse::<Percent>().is_err() && "-1".parse::<Percent>().is_err() && "100".parse::<Percent>().is_ok());
    }
}
