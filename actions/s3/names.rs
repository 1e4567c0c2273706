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

aaws::text_type! {
    /// The value of a header: printable ASCII, as S3 keeps it.
    #[derive(Default)]
    pub struct HeaderText { "type": "string", "minLength": 1, "pattern": "^[!-~]([ -~]*[!-~])?$" } |text| {
        let fits = !text.is_empty() && text.bytes().all(is_printable) && text.trim() == text;
        if fits { Ok(()) } else { Err(format!("`{}` is not the value of a header: they are printable ASCII, without spaces around", text.escape_debug())) }
    }
}

aaws::text_type! {
    /// One item of an object's own metadata: `NAME=VALUE`, split at the first `=`.
    #[derive(Default)]
    pub struct MetadataItem { "type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+=([!-~]([ -~]*[!-~])?)?$" } |item| {
        match item.split_once('=') {
            Some((name, value)) if !name.is_empty() && name.bytes().all(is_of_token) && value.bytes().all(is_printable) && value.trim() == value => Ok(()),
            _ => Err(format!("`{}` is not NAME=VALUE, where both are sent in a header: printable ASCII, and no space in the name", item.escape_debug())),
        }
    }
}

impl MetadataItem {
    /// The name, in lower case as S3 has it, and the value.
    pub fn into_pair(self) -> (String, String) {
        let text = String::from(self);
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        (name.to_ascii_lowercase(), value.to_owned())
    }
}

fn is_printable(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic()
}

/// Whether it may be in the name of a header (RFC 9110, 5.6.2).
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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
    fn metadata_is_what_a_header_holds() {
        let pair = |text: &str| MetadataItem::try_from(text).map(MetadataItem::into_pair);
        assert_eq!(pair("Made-By=a = b"), Ok(("made-by".to_owned(), "a = b".to_owned())));
        assert_eq!(pair("empty="), Ok(("empty".to_owned(), String::new())));
        for text in ["", "a", "=b", "a b=c", "a=\u{e9}", "a=b\nc", "a= b", "\u{e9}=b"] {
            assert!(pair(text).is_err(), "{text}");
        }
        assert!(HeaderText::try_from("no-store, max-age=1").is_ok());
        assert!(HeaderText::try_from("").is_err() && HeaderText::try_from(" a").is_err() && HeaderText::try_from("a\r\nb").is_err());
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
