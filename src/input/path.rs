//! `PathOrText`: text that may name a local file when a person typed it, and never when it came as data; `LocalPath`: what names nothing but local files.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

/// Text, or the path of a local file. Which of them it may be is decided by where it comes from: data that somebody else wrote (a JSON list, a pipe,
/// `--input`) must not be able to name a file of this machine, the value of a flag may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathOrText {
    /// Text, whatever files there are. What comes as data is always this.
    Text(String),
    /// The path of a file where there is one of that name, otherwise text: the value of a flag. A dash alone may stand for standard input: no other
    /// flag of the command reads it then.
    Either(String),
}

/// What the members begin with that say of a value that it was typed.
const MARK: &str = "$aaws_typed_";

/// The member of an object that says that its value was typed. It is another in every process, so that no data can hold it.
static TYPED: LazyLock<String> = LazyLock::new(|| {
    let random = || RandomState::new().hash_one(0_u8);
    format!("{MARK}{:016x}{:016x}", random(), random())
});

impl PathOrText {
    /// The value of a flag as the JSON that becomes [`PathOrText::Either`].
    pub(crate) fn typed(value: String) -> Value {
        Value::Object(Map::from_iter([(TYPED.clone(), Value::String(value))]))
    }
}

/// Whether an object stands for what was typed.
pub(super) fn is_typed(object: &Map<String, Value>) -> bool {
    object.len() == 1 && object.contains_key(TYPED.as_str())
}

/// Whether a value was typed in some process, or holds what was.
pub(crate) fn was_typed(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(member, value)| member.starts_with(MARK) || was_typed(value)),
        Value::Array(items) => items.iter().any(was_typed),
        _ => false,
    }
}

/// The member of an object that says the same in what is kept for another process. It is read from nowhere but a plan whose paths somebody allows.
const KEPT: &str = "$aaws_path";

/// Makes what was typed in a value known to another process.
pub(super) fn keep_typed(value: &mut Value) {
    rename(value, &TYPED, KEPT);
}

/// The reverse; whether there was anything.
pub(super) fn type_kept(value: &mut Value) -> bool {
    rename(value, KEPT, &TYPED)
}

/// Gives another name to the member of each object that has this member alone; whether there was one.
fn rename(value: &mut Value, from: &str, to: &str) -> bool {
    match value {
        Value::Object(members) if members.len() == 1 && members.contains_key(from) => {
            if let Some(path) = members.remove(from) {
                members.insert(to.to_owned(), path);
            }
            true
        }
        // All of them, and not up to the first.
        Value::Object(members) => members.values_mut().filter_map(|member| rename(member, from, to).then_some(())).count() > 0,
        Value::Array(items) => items.iter_mut().filter_map(|item| rename(item, from, to).then_some(())).count() > 0,
        _ => false,
    }
}

impl Default for PathOrText {
    fn default() -> Self {
        PathOrText::Text(String::new())
    }
}

impl From<&str> for PathOrText {
    fn from(text: &str) -> Self {
        PathOrText::Text(text.to_owned())
    }
}

impl From<String> for PathOrText {
    fn from(text: String) -> Self {
        PathOrText::Text(text)
    }
}

impl<'de> Deserialize<'de> for PathOrText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PathOrTextVisitor;

        impl<'de> Visitor<'de> for PathOrTextVisitor {
            type Value = PathOrText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PathOrText, E> {
                Ok(text.into())
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<PathOrText, E> {
                Ok(text.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PathOrText, A::Error> {
                match map.next_entry::<String, String>() {
                    Ok(Some((member, value))) if member == *TYPED => Ok(PathOrText::Either(value)),
                    _ => Err(de::Error::invalid_type(de::Unexpected::Map, &"a string")),
                }
            }
        }

        deserializer.deserialize_any(PathOrTextVisitor)
    }
}

impl JsonSchema for PathOrText {
    fn schema_name() -> Cow<'static, str> {
        "PathOrText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-aaws-path": true })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// The path of a local file or folder: as an input only the value of a flag, because data that somebody else wrote must not name files of this
/// machine. A program makes one of any path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPath(String);

impl LocalPath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for LocalPath {
    fn from(path: &str) -> Self {
        LocalPath(path.to_owned())
    }
}

impl From<String> for LocalPath {
    fn from(path: String) -> Self {
        LocalPath(path)
    }
}

impl<'de> Deserialize<'de> for LocalPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match PathOrText::deserialize(deserializer)? {
            PathOrText::Either(path) if path.is_empty() => Err(de::Error::custom("the path is empty")),
            PathOrText::Either(path) => Ok(LocalPath(path)),
            PathOrText::Text(_) => {
                Err(de::Error::custom("it came as data, which never names files of this machine: give it as the value of a flag"))
            }
        }
    }
}

impl JsonSchema for LocalPath {
    fn schema_name() -> Cow<'static, str> {
        "LocalPath".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        PathOrText::json_schema(generator)
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_is_text_and_a_flag_may_name_a_file() {
        let read = |value: Value| serde_json::from_value::<PathOrText>(value);
        assert_eq!(read(json!("/etc/passwd")).expect("text"), PathOrText::Text("/etc/passwd".into()));
        assert_eq!(read(PathOrText::typed("a.txt".into())).expect("a path"), PathOrText::Either("a.txt".into()));
        for forged in [json!({"$aaws_typed": "/etc/passwd"}), json!({}), json!(["/etc/passwd"]), json!({"File": "/etc/passwd"})] {
            assert!(read(forged).is_err());
        }
    }

    #[test]
    fn a_local_path_is_never_data() {
        let read = |value: Value| serde_json::from_value::<LocalPath>(value);
        assert_eq!(read(PathOrText::typed("folder".into())).expect("a path"), LocalPath::from("folder"));
        assert!(read(json!("folder")).is_err_and(|e| e.to_string().contains("came as data")));
        assert!(read(PathOrText::typed(String::new())).is_err_and(|e| e.to_string().contains("empty")));
        assert!(read(json!({"$aaws_path": "folder"})).is_err());
    }

    #[test]
    fn what_was_typed_can_be_kept_for_another_process() {
        let typed = json!({"Key": "k", "Body": PathOrText::typed("a.txt".into())});
        let mut value = typed.clone();
        keep_typed(&mut value);
        assert_eq!(value, json!({"Key": "k", "Body": {"$aaws_path": "a.txt"}}));
        assert!(serde_json::from_value::<PathOrText>(value["Body"].clone()).is_err(), "as it is kept it names no file");
        assert!(type_kept(&mut value) && value == typed);
        assert!(!type_kept(&mut json!({"Body": "a.txt"})));
    }
}
