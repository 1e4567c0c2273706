//! Filters and pages, as strict as EC2 is with them.

use std::collections::HashSet;

use super::super::super::http::Response;
use super::super::super::wire::{Form, Node, refusal};
use super::Answer;

/// The most values that one filter takes (EC2 user guide, "Filter resources"; EC2 API reference, "Error codes": FilterLimitExceeded).
const MOST_FILTER_VALUES: usize = 200;

/// How many things a page may be asked to hold (EC2 API reference, the parameter MaxResults of DescribeInstances, DescribeSnapshots, DescribeTags and
/// DescribeVolumes).
const PAGE: std::ops::RangeInclusive<usize> = 5..=1000;

/// Something that can be listed.
pub trait Listed {
    /// What it is listed after; unlike that of all others of its kind.
    fn cursor(&self) -> String;

    /// The values of a property that can be filtered on; none when there is no such filter.
    fn property(&self, filter: &str) -> Option<Vec<String>>;

    fn node(&self) -> Node;
}

/// A filter that a request names.
struct Filter {
    name: String,
    exact: HashSet<String>,
    patterns: Vec<String>,
}

impl Filter {
    fn of(form: &Form) -> Result<Vec<Self>, Response> {
        let filter = |part: Form| {
            let values = part.list("Value");
            if values.len() > MOST_FILTER_VALUES {
                let message = format!("The maximum number of filter values specified on a single call is {MOST_FILTER_VALUES}");
                return Err(refusal("FilterLimitExceeded", message));
            }
            let (patterns, exact): (Vec<_>, Vec<_>) = values.into_iter().partition(|value| value.contains(['*', '?']));
            Ok(Filter { name: part.get("Name").unwrap_or_default().to_owned(), exact: exact.into_iter().collect(), patterns })
        };
        form.parts("Filter").into_iter().map(filter).collect()
    }

    fn takes(&self, value: &str) -> bool {
        self.exact.contains(value) || self.patterns.iter().any(|pattern| fits(pattern.as_bytes(), value.as_bytes()))
    }
}

/// Whether a text is one that a pattern stands for: `*` is any characters, `?` is one.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((b'*', after)), _) => (0..=text.len()).any(|skip| fits(after, &text[skip..])),
        (Some((b'?', after)), Some((_, rest))) => fits(after, rest),
        (Some((one, after)), Some((other, rest))) => one == other && fits(after, rest),
        (Some(_), None) => false,
    }
}

/// The page that a request asks for, in the element `set`, of the things in the order of their cursors.
pub fn page<T: Listed>(operation: &str, form: &Form, set: &str, things: impl Iterator<Item = T>) -> Answer {
    let filters = Filter::of(form)?;
    let most = match form.get("MaxResults").map(|most| most.parse::<usize>().unwrap_or(0)) {
        Some(most) if !PAGE.contains(&most) => {
            let message = format!("Value ( {most} ) for parameter maxResults is invalid. Expecting a value from 5 to 1000.");
            return Err(refusal("InvalidParameterValue", message));
        }
        most => most.unwrap_or(usize::MAX),
    };
    let after = form.get("NextToken").filter(|token| !token.is_empty());
    let mut members = Node::new(set);
    let (mut count, mut last, mut next) = (0, String::new(), None);
    for thing in things {
        let cursor = thing.cursor();
        if after.is_some_and(|after| cursor.as_str() <= after) || !is_wanted(&filters, &thing)? {
            continue;
        }
        if count == most {
            next = Some(last);
            break;
        }
        members.push(thing.node());
        count += 1;
        last = cursor;
    }
    let mut answer = Node::answer(operation);
    answer.push(members);
    if let Some(token) = next {
        answer.set("nextToken", &token);
    }
    Ok(answer)
}

fn is_wanted(filters: &[Filter], thing: &impl Listed) -> Result<bool, Response> {
    for filter in filters {
        let Some(values) = thing.property(&filter.name) else {
            return Err(refusal("InvalidParameterValue", format!("The filter '{}' is invalid", filter.name)));
        };
        if !values.iter().any(|value| filter.takes(value)) {
            return Ok(false);
        }
    }
    Ok(true)
}
