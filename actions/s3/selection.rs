//! Which objects are meant: the same words for all actions that look through a bucket.
//!
//! The actions have these inputs by the same names and with the same meaning: `include`, `exclude`, `modified_before`, `modified_after`, `larger_than`,
//! `smaller_than`, `storage_class`, and of versions `noncurrent` and `delete_markers`. All that are given have to be fulfilled, and what is not
//! known of something (the size of a delete marker, the date of a folder) fulfils none. A list that is given and empty is fulfilled by nothing, but
//! that no exclusion excludes nothing.
//!
//! `include` and `exclude` are two lists: JSON has no order between them, so none is read into the command line. Exclusion wins, wherever it stands.

use aaws::{Error, Glob, Moment, Result};
use aws_sdk_s3::primitives::DateTime;

use super::listing::{Fields, ListEntry};
use super::size::Size;

aaws::text_type! {
    /// A storage class as S3 writes it: `STANDARD`, `GLACIER`, `INTELLIGENT_TIERING`.
    #[derive(Default)]
    pub struct StorageClass { "type": "string", "pattern": "^[A-Z][A-Z0-9_-]*$" } |class| {
        let fits = class.starts_with(|c: char| c.is_ascii_uppercase())
            && class.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
        if fits { Ok(()) } else { Err(format!("`{}` is not a storage class: they are written like STANDARD or DEEP_ARCHIVE", class.escape_debug())) }
    }
}

/// What is asked of an object. By default nothing: all are taken.
#[derive(Debug, Default)]
pub struct Selection {
    /// One of these has to match the whole key.
    pub include: Option<Vec<Glob>>,
    /// None of these may match the whole key.
    pub exclude: Option<Vec<Glob>>,
    /// Modified before this instant.
    pub modified_before: Option<Moment>,
    /// Modified at or after this instant.
    pub modified_after: Option<Moment>,
    /// Larger than this, and not just as large.
    pub larger_than: Option<Size>,
    /// Smaller than this, and not just as large.
    pub smaller_than: Option<Size>,
    /// Of one of these storage classes.
    pub storage_class: Option<Vec<StorageClass>>,
    /// A version or delete marker that is not the latest of its key.
    pub noncurrent: bool,
    /// A delete marker.
    pub delete_markers: bool,
}

impl Selection {
    /// The same, or an error where it can select nothing although that was hardly meant.
    pub fn checked(self) -> Result<Self> {
        let excludes_all = self.exclude.iter().flatten().any(|pattern| pattern.as_str() == "*");
        if excludes_all && self.include.is_some() {
            let message =
                "`exclude` has the pattern `*`, and exclusion wins, so that nothing would be left: `include` alone selects what matches it";
            return Err(Error::field("exclude", message));
        }
        Ok(self)
    }

    /// Whether only versions can fulfil it.
    pub fn is_of_versions(&self) -> bool {
        self.noncurrent || self.delete_markers
    }

    /// What has to be known of an object to tell whether it is meant.
    pub fn fields(&self) -> Fields {
        Fields {
            size: self.larger_than.is_some() || self.smaller_than.is_some(),
            modified: self.modified_after.is_some() || self.modified_before.is_some(),
            etag: false,
            class: self.storage_class.is_some(),
        }
    }

    /// Whether this is one of those that are meant. Its [`Selection::fields`] have to be known.
    pub fn takes(&self, found: &ListEntry) -> bool {
        self.takes_version(found)
            && self.takes_size(found.size)
            && self.takes_date(found.modified)
            && self.takes_class(found.storage_class())
            && self.takes_key(&found.key)
    }

    fn takes_version(&self, found: &ListEntry) -> bool {
        let noncurrent = || found.version().is_some_and(|version| !version.latest);
        (!self.noncurrent || noncurrent()) && (!self.delete_markers || found.is_delete_marker())
    }

    fn takes_size(&self, size: Option<u64>) -> bool {
        let Some(size) = size else { return self.larger_than.is_none() && self.smaller_than.is_none() };
        self.larger_than.is_none_or(|limit| size > limit.bytes()) && self.smaller_than.is_none_or(|limit| size < limit.bytes())
    }

    fn takes_date(&self, modified: Option<DateTime>) -> bool {
        let Some(modified) = modified else { return self.modified_after.is_none() && self.modified_before.is_none() };
        self.modified_after.is_none_or(|after| after <= modified) && self.modified_before.is_none_or(|before| before > modified)
    }

    fn takes_class(&self, class: Option<&str>) -> bool {
        let Some(wanted) = &self.storage_class else { return true };
        class.is_some_and(|class| wanted.iter().any(|one| one.as_str() == class))
    }

    /// Whether its patterns take this key.
    pub fn takes_key(&self, key: &str) -> bool {
        let any = |patterns: &[Glob]| patterns.iter().any(|pattern| pattern.matches(key));
        self.include.as_deref().is_none_or(any) && !self.excludes(key)
    }

    /// Whether this key is excluded.
    pub fn excludes(&self, key: &str) -> bool {
        self.exclude.iter().flatten().any(|pattern| pattern.matches(key))
    }

    /// Whether all keys that begin with this are surely excluded: a pattern whose last sign is any text matches it.
    pub fn excludes_all_below(&self, folder: &str) -> bool {
        let ends_in_any = |pattern: &str| pattern.ends_with('*') && !pattern.ends_with("\\*");
        self.exclude.iter().flatten().any(|pattern| ends_in_any(pattern.as_str()) && pattern.matches(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::super::listing::{Kind, VersionOf};
    use super::*;

    fn globs(patterns: &[&str]) -> Option<Vec<Glob>> {
        Some(patterns.iter().map(|pattern| pattern.parse().expect("a pattern")).collect())
    }

    fn object(key: &str) -> ListEntry {
        let modified = Some(DateTime::from_secs(1_000));
        ListEntry { key: key.into(), kind: Kind::Object, size: Some(10), modified, etag: None, class: None }
    }

    fn marker(latest: bool) -> ListEntry {
        let kind = Kind::DeleteMarker(VersionOf { id: "v".into(), latest });
        ListEntry { kind, size: None, ..object("k") }
    }

    #[test]
    fn exclusion_wins_and_empty_lists_are_not_absent_ones() {
        let takes = |include, exclude, key: &str| Selection { include, exclude, ..Selection::default() }.takes(&object(key));
        assert!(takes(None, None, "a"));
        assert!(takes(globs(&["*.log", "b/*"]), None, "b/c") && !takes(globs(&["*.log"]), None, "b/c"));
        assert!(!takes(globs(&["*.log"]), globs(&["tmp/*"]), "tmp/a.log") && takes(globs(&["*.log"]), globs(&["tmp/*"]), "a.log"));
        assert!(!takes(globs(&[]), None, "a"), "no pattern matches nothing");
        assert!(takes(None, globs(&[]), "a"), "nothing is excluded");
    }

    #[test]
    fn a_folder_is_excluded_whole_where_all_below_it_is() {
        let below = |pattern, folder: &str| Selection { exclude: globs(&[pattern]), ..Selection::default() }.excludes_all_below(folder);
        assert!(below("tmp/*", "tmp/") && below("*/tmp/*", "a/tmp/") && below("tmp*", "tmp/"));
        assert!(!below("tmp/", "tmp/") && !below("tmp/*.log", "tmp/") && !below("tmp/\\*", "tmp/") && !below("tmp/a*", "tmp/"));
    }

    #[test]
    fn what_could_select_nothing_is_told_so() {
        let selection = |include| Selection { include, exclude: globs(&["a", "*"]), ..Selection::default() };
        assert!(selection(globs(&["*.log"])).checked().is_err_and(|e| e.to_string().contains("exclusion wins")));
        assert!(selection(None).checked().is_ok());
    }

    #[test]
    fn limits_are_strict_and_dates_half_open() {
        let of = |larger: Option<u64>, smaller: Option<u64>| {
            let (larger_than, smaller_than) = (larger.map(Size::of), smaller.map(Size::of));
            Selection { larger_than, smaller_than, ..Selection::default() }.takes(&object("k"))
        };
        assert!(of(Some(9), Some(11)) && !of(Some(10), None) && !of(None, Some(10)));
        let at = |seconds: &str| seconds.parse::<Moment>().ok();
        let between =
            |modified_after, modified_before| Selection { modified_after, modified_before, ..Selection::default() }.takes(&object("k"));
        let instant = "1970-01-01T00:16:40Z";
        assert!(between(at(instant), None) && !between(None, at(instant)) && between(None, at("1970-01-01T00:16:41Z")));
    }

    #[test]
    fn what_is_not_known_fulfils_nothing() {
        let larger = Selection { larger_than: Some(Size::of(0)), ..Selection::default() };
        assert!(larger.takes(&object("k")) && !larger.takes(&marker(true)));
        let class = |class: &str| Selection { storage_class: Some(vec![class.parse().expect("a class")]), ..Selection::default() };
        assert!(class("STANDARD").takes(&object("k")), "S3 says no class of what is of the first");
        assert!(!class("GLACIER").takes(&object("k")) && !class("STANDARD").takes(&marker(true)));
        assert!("standard".parse::<StorageClass>().is_err());
    }

    #[test]
    fn versions_are_told_apart() {
        let (noncurrent, delete_markers) =
            (Selection { noncurrent: true, ..Selection::default() }, Selection { delete_markers: true, ..Selection::default() });
        assert!(noncurrent.takes(&marker(false)) && !noncurrent.takes(&marker(true)) && !noncurrent.takes(&object("k")));
        assert!(delete_markers.takes(&marker(true)) && !delete_markers.takes(&object("k")));
    }
}
