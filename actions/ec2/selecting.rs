//! What all listings select by, under the same names: tags, name, age and size. What EC2 has a filter for is asked for; all of it is judged here too,
//! because ids that were given are looked up without those filters.

use aaws::{Age, Glob};
use aws_sdk_ec2::types::{Filter, Tag};
use jiff::Timestamp;

use super::lookup;
use super::tags::{self, Wanted};

/// The inputs that every listing has.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    /// Tags that things have to have, all of them.
    pub tags: Option<&'a [Wanted]>,
    /// Tags of which they must have none.
    pub missing_tags: Option<&'a [Wanted]>,
    /// What they have to be called.
    pub name: Option<&'a Glob>,
    /// The age that they have to be over.
    pub older_than: Option<Age>,
    /// The run's clock.
    pub now: Timestamp,
}

impl Common<'_> {
    /// Whether an empty list was given, of an empty variable say: that is nothing, and not everything.
    pub fn is_nothing(&self) -> bool {
        self.tags.is_some_and(<[_]>::is_empty) || self.missing_tags.is_some_and(<[_]>::is_empty)
    }

    /// Whether a thing that was made then is meant: its name is judged apart, where it is not that of its tag.
    pub fn is_met_by(&self, tags: &[Tag], name: Option<&str>, made: Option<Timestamp>) -> bool {
        self.tags.into_iter().flatten().all(|tag| tag.is_in(tags))
            && !self.missing_tags.into_iter().flatten().any(|tag| tag.is_in(tags))
            && self.name.is_none_or(|pattern| name.is_some_and(|name| pattern.matches(name)))
            && self.older_than.is_none_or(|age| made.is_some_and(|made| made < age.before(self.now).timestamp()))
    }

    /// The same of a thing whose name is its tag `Name`.
    pub fn is_met_by_tags(&self, tags: &[Tag], made: Option<Timestamp>) -> bool {
        self.is_met_by(tags, tags::value(tags, "Name"), made)
    }

    /// What EC2 can be asked for. Values with signs that mean something in a filter are left to be judged here, and so is a key that comes again: EC2
    /// does not say what two filters of one name are.
    pub fn filters(&self) -> Vec<Filter> {
        let mut filters: Vec<Filter> = Vec::new();
        for tag in self.tags.into_iter().flatten() {
            let (name, value) = match &tag.value {
                Some(value) => (format!("tag:{}", tag.key), value),
                None => ("tag-key".to_owned(), &tag.key),
            };
            let is_new = filters.iter().all(|filter| filter.name() != Some(name.as_str()));
            if is_new && is_plain(&tag.key) && is_plain(value) {
                filters.push(lookup::filter(&name, [value.as_str()]));
            }
        }
        filters
    }
}

/// Whether a text says in a filter what it says elsewhere: `*`, `?` and the backslash do not (EC2 user guide, "Filter resources").
pub fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || " -_.:/@=+".contains(c))
}

/// Whether a size lies between the two that were given, neither of which is meant.
pub fn is_between(larger_than: Option<u32>, smaller_than: Option<u32>, size: Option<i64>) -> bool {
    larger_than.is_none_or(|least| size.is_some_and(|size| size > i64::from(least)))
        && smaller_than.is_none_or(|most| size.is_some_and(|size| size < i64::from(most)))
}

/// Whether a thing is as `encrypted` and `unencrypted` ask for: of what is not known it is neither.
pub fn is_as_encrypted(encrypted: bool, unencrypted: bool, is: Option<bool>) -> bool {
    (!encrypted || is == Some(true)) && (!unencrypted || is == Some(false))
}

/// The filter that `encrypted` and `unencrypted` ask for.
pub fn encryption_filter(encrypted: bool, unencrypted: bool) -> Option<Filter> {
    (encrypted != unencrypted).then(|| lookup::filter("encrypted", [if encrypted { "true" } else { "false" }]))
}

#[cfg(test)]
mod tests {
    use super::super::tags::tag;
    use super::*;

    fn wanted(tags: &[&str]) -> Vec<Wanted> {
        tags.iter().map(|t| Wanted::parse(t).expect("a tag")).collect()
    }

    fn common<'a>(tags: &'a [Wanted], missing: &'a [Wanted]) -> Common<'a> {
        let now = "2026-03-03T00:00:00Z".parse().expect("an instant");
        Common { tags: Some(tags), missing_tags: Some(missing), name: None, older_than: None, now }
    }

    #[test]
    fn what_is_missing_is_missing_with_every_value_or_with_that_one() {
        let (env, owner) = (wanted(&["Env"]), wanted(&["Owner", "Stage=test"]));
        let common = common(&env, &owner);
        assert!(common.is_met_by_tags(&[tag("Env", "prod"), tag("Stage", "live")], None));
        assert!(!common.is_met_by_tags(&[tag("Env", "prod"), tag("Stage", "test")], None));
        assert!(!common.is_met_by_tags(&[tag("Env", "prod"), tag("Owner", "")], None));
        assert!(!common.is_met_by_tags(&[tag("Stage", "live")], None));
    }

    #[test]
    fn a_thing_of_exactly_that_age_is_not_older() {
        let none = Vec::new();
        let common = Common { older_than: Some(Age::days(1)), ..common(&none, &none) };
        let made = |text: &str| common.is_met_by(&[], None, text.parse().ok());
        assert!(made("2026-03-01T23:59:59Z") && !made("2026-03-02T00:00:00Z"));
        assert!(!made("no date"), "what has no date is not older than anything");
    }

    #[test]
    fn filters_hold_what_means_the_same_in_them() {
        let tags = wanted(&["Env=prod", "Env=test", "Owner", "Team", "a*b=c", "Path=/a?", "Empty="]);
        let filters = common(&tags, &[]).filters();
        let asked: Vec<_> = filters.iter().map(|f| (f.name().unwrap_or_default(), f.values().join(","))).collect();
        assert_eq!(asked, [("tag:Env", "prod".to_owned()), ("tag-key", "Owner".to_owned())]);
    }

    #[test]
    fn a_size_that_is_given_is_not_meant() {
        assert!(is_between(Some(8), Some(10), Some(9)));
        assert!(!is_between(Some(8), None, Some(8)) && !is_between(None, Some(10), Some(10)));
        assert!(is_between(None, None, None) && !is_between(Some(0), None, None));
    }
}
