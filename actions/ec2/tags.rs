//! Tags: those of a thing that may be copied, and those that an action asks for.

use std::fmt;

use aaws::{Code, Context, Outcome};
use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};

/// Keys that begin so are AWS's: they can be neither set nor removed, in whatever case (EC2 user guide, "Tag restrictions").
const RESERVED: &str = "aws:";

/// The tag that Auto Scaling puts on its instances.
pub const AUTO_SCALING_GROUP: &str = "aws:autoscaling:groupName";

/// Tags that say by their key that AWS Backup keeps the thing.
const AWS_BACKUP: &str = "aws:backup";

/// How the keys of the tags begin that Data Lifecycle Manager puts on what it makes (EBS user guide, "How Amazon Data Lifecycle Manager works").
const LIFECYCLE_MANAGER: &str = "aws:dlm:";

/// Whether a key says that Data Lifecycle Manager keeps the thing.
pub fn is_of_lifecycle_manager(key: &str) -> bool {
    key.starts_with(LIFECYCLE_MANAGER)
}

/// Whether a key is AWS's own.
pub fn is_reserved(key: &str) -> bool {
    key.get(..RESERVED.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED))
}

/// Whether AWS Backup keeps the thing with these tags.
pub fn of_aws_backup(tags: &[Tag]) -> bool {
    tags.iter().any(|t| t.key().is_some_and(|k| k.starts_with(AWS_BACKUP)))
}

/// The value of a tag.
pub fn value<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|t| t.key() == Some(key)).and_then(Tag::value)
}

/// Tags as the engine has them.
pub fn pairs(tags: &[Tag]) -> Vec<(String, String)> {
    tags.iter().filter_map(|t| Some((t.key()?.to_owned(), t.value().unwrap_or_default().to_owned()))).collect()
}

/// What becomes of a thing that one of its tags protects. For what has to be known before the engine asks: what else stays because of it.
pub fn protection<D>(cx: &Context, tags: &[Tag]) -> Option<Outcome<D>> {
    cx.protection(&pairs(tags)).map(|why| Outcome::skipped_as(Code::Protected, why))
}

/// Whether that is what became of it.
pub fn is_protected<D>(outcome: Option<&Outcome<D>>) -> bool {
    matches!(outcome, Some(Outcome::Skipped(skip)) if skip.code == Some(Code::Protected))
}

/// The tags that another thing may get too: all but AWS's own.
pub fn own(tags: &[Tag]) -> Vec<Tag> {
    tags.iter().filter(|t| t.key().is_some_and(|k| !is_reserved(k))).cloned().collect()
}

/// A tag.
pub fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// Tags for the call that creates a thing; none rather than an empty list, which EC2 refuses.
pub fn for_new(kind: ResourceType, tags: Vec<Tag>) -> Option<Vec<TagSpecification>> {
    (!tags.is_empty()).then(|| vec![TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()])
}

/// A tag as inputs have it: `Key` or `Key=Value`, told apart at the first `=`. `Key=` is the empty value, which is not any value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The key, in its very case.
    pub key: String,
    /// The value; `None` for any.
    pub value: Option<String>,
}

impl Wanted {
    /// Reads `Key` or `Key=Value`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value.to_owned())));
        if key.is_empty() {
            return Err(format!("`{text}` names no tag: give Key or Key=Value"));
        }
        Ok(Wanted { key: key.to_owned(), value })
    }

    /// Whether one of these tags is meant.
    pub fn is_in(&self, tags: &[Tag]) -> bool {
        let same = |t: &Tag| t.key() == Some(&self.key) && self.value.as_deref().is_none_or(|v| t.value().unwrap_or_default() == v);
        tags.iter().any(same)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.key),
            None => f.write_str(&self.key),
        }
    }
}

impl TryFrom<String> for Wanted {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Wanted::parse(&text)
    }
}

impl TryFrom<&str> for Wanted {
    type Error = String;

    fn try_from(text: &str) -> Result<Self, String> {
        Wanted::parse(text)
    }
}

impl<'de> serde::Deserialize<'de> for Wanted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Wanted::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Wanted {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Tag".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[^=]" })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_split_at_the_first_equals_sign() {
        let wanted = |text: &str| Wanted::parse(text).map(|w| (w.key, w.value));
        assert_eq!(wanted("Env"), Ok(("Env".into(), None)));
        assert_eq!(wanted("Env="), Ok(("Env".into(), Some(String::new()))));
        assert_eq!(wanted("url=https://x?a=b"), Ok(("url".into(), Some("https://x?a=b".into()))));
        assert!(wanted("=prod").is_err());
    }

    #[test]
    fn an_empty_value_is_not_any_value() {
        let tags = [tag("Env", "prod"), tag("Owner", "")];
        let is_in = |text: &str| Wanted::parse(text).expect("a tag").is_in(&tags);
        assert!(is_in("Env") && is_in("Env=prod") && is_in("Owner="));
        assert!(!is_in("Env=") && !is_in("env") && !is_in("Owner=me"));
    }

    #[test]
    fn tags_of_aws_are_not_copied() {
        let tags = [tag("aws:autoscaling:groupName", "g"), tag("AWS:x", "y"), tag("aaws:kept", "1"), tag("Env", "prod")];
        let keys: Vec<_> = own(&tags).iter().filter_map(|t| t.key().map(str::to_owned)).collect();
        assert_eq!(keys, ["aaws:kept", "Env"]);
        assert!(of_aws_backup(&[tag("aws:backup:source-resource", "x")]) && !of_aws_backup(&tags));
    }
}
