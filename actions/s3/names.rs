//! Names of buckets, keys, versions and prefixes: text that must hold something.

aaws::text_type! {
    /// A bucket's name, an access point's alias or ARN.
    #[derive(Default)]
    pub struct BucketName { "type": "string", "minLength": 1 } |name| {
        let odd = |c: char| c.is_whitespace() || c.is_control();
        match name {
            "" => Err("the bucket's name is empty".into()),
            name if name.contains(odd) || (name.contains('/') && !name.starts_with("arn:")) => Err(format!("`{name}` is not the name of a bucket")),
            _ => Ok(()),
        }
    }
}

aaws::text_type! {
    /// An object's key: any text but none.
    #[derive(Default)]
    pub struct Key { "type": "string", "minLength": 1 } |key| nonempty(key, "an object's key")
}

aaws::text_type! {
    /// The id of one version of an object.
    #[derive(Default)]
    pub struct VersionId { "type": "string", "minLength": 1 } |id| nonempty(id, "the version's id")
}

aaws::text_type! {
    /// What keys begin with. An empty one would be no prefix at all: a variable that is not set, say.
    #[derive(Default)]
    pub struct Prefix { "type": "string", "minLength": 1 } |prefix| nonempty(prefix, "the prefix")
}

aaws::text_type! {
    /// Text that must hold something.
    #[derive(Default)]
    pub struct NonEmpty { "type": "string", "minLength": 1 } |text| nonempty(text, "the text")
}

/// An empty string is what a variable that is not set leaves: taken for "none given", it would name something else than was meant.
fn nonempty(text: &str, what: &str) -> Result<(), String> {
    if text.is_empty() { Err(format!("{what} is empty")) } else { Ok(()) }
}

/// A prefix put before a key, with a slash between them unless the prefix ends in one.
pub fn join(prefix: Option<&Prefix>, key: &str) -> String {
    match prefix.map_or("", Prefix::as_str) {
        "" => key.to_owned(),
        prefix if prefix.ends_with('/') => format!("{prefix}{key}"),
        prefix => format!("{prefix}/{key}"),
    }
}

/// What a key looks like that was hardly meant as it stands. S3 takes every text for a key, so it may be meant all the same.
pub fn slip(key: &str) -> Option<&'static str> {
    let line = key.trim();
    if key.starts_with("s3://") {
        Some("a URL is not a key: a key is what follows the bucket's name and a slash")
    } else if line.starts_with('"') && (line.ends_with("\",") || line.ends_with('"')) && line.len() > 1 {
        Some("it looks like a line of a JSON array: give the array as a whole, or JSON strings one a line")
    } else if matches!(line, "[" | "]" | "],") {
        Some("it looks like the end of a JSON array: give the array as a whole")
    } else if key.contains('*') {
        Some("S3 knows no wildcards: `discover_objects --prefix` lists what begins alike")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_means_what_is_written() {
        let joined = |prefix: &str, key| join(Prefix::try_from(prefix).ok().as_ref(), key);
        assert_eq!(joined("logs", "a"), "logs/a");
        assert_eq!(joined("logs/", "a"), "logs/a");
        assert_eq!(joined("logs//", "a"), "logs//a");
        assert_eq!(joined("logs", "/a"), "logs//a");
        assert_eq!(joined("/", "a"), "/a");
        assert_eq!(joined("", "a"), "a");
        assert_eq!(join(None, "a"), "a");
    }

    #[test]
    fn what_is_empty_is_no_name() {
        assert_eq!(VersionId::try_from("").unwrap_err(), "the version's id is empty");
        assert!(Prefix::try_from("").is_err() && Key::try_from("").is_err() && BucketName::try_from("").is_err());
    }

    #[test]
    fn slips_are_told_from_keys() {
        for key in ["logs/*", "s3://bucket/key", "\"a\",", "  \"a\"", "[", "]"] {
            assert!(slip(key).is_some(), "{key}");
        }
        for key in ["logs/a", "a,", "\"", "a\"b\"", "[1] report.pdf", "100%", "s3/a"] {
            assert!(slip(key).is_none(), "{key}");
        }
    }
}
