//! What EC2 would refuse of tags, and the places in them for the id of the resource.

use std::collections::HashSet;

use super::super::tags::{self, Wanted};

/// The longest key and value, in characters (EC2 user guide, "Tag restrictions").
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;

/// What stands for the id of each resource.
const PLACE: &str = "{resource_id}";

/// What keeps these tags from being set or removed.
pub(super) fn flaw(wanted: &[Wanted]) -> Option<String> {
    misnamed(wanted).or_else(|| too_long(wanted))
}

/// The same but for how long they are.
pub(super) fn misnamed(wanted: &[Wanted]) -> Option<String> {
    let mut keys = HashSet::new();
    wanted.iter().find_map(|tag| {
        if tags::is_reserved(&tag.key) {
            Some(format!("`{}` begins with `aws:`, and such keys are AWS's own", tag.key))
        } else if !keys.insert(tag.key.as_str()) {
            Some(format!("the key `{}` is there twice", tag.key))
        } else {
            None
        }
    })
}

fn too_long(wanted: &[Wanted]) -> Option<String> {
    wanted.iter().find_map(|tag| {
        if tag.key.chars().count() > LONGEST_KEY {
            Some(format!("the key `{}` is longer than {LONGEST_KEY} characters", tag.key))
        } else if tag.value.as_ref().is_some_and(|v| v.chars().count() > LONGEST_VALUE) {
            Some(format!("the value of `{}` is longer than {LONGEST_VALUE} characters", tag.key))
        } else {
            None
        }
    })
}

/// Whether a tag has a place for the id of its resource.
pub(super) fn has_place(tag: &Wanted) -> bool {
    tag.key.contains(PLACE) || tag.value.as_ref().is_some_and(|v| v.contains(PLACE))
}

/// A tag with the resource's id in its places.
pub(super) fn of_resource(tag: &Wanted, id: &str) -> Wanted {
    Wanted { key: tag.key.replace(PLACE, id), value: tag.value.as_ref().map(|v| v.replace(PLACE, id)) }
}
