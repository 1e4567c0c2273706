//! Which object is to be deleted: its key, or more than that.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::listing::NULL_VERSION;
use super::lookups::Target;
use super::names::{Key, Prefix, VersionId, join};

/// An object: its key, or as `discover_objects` prints it with `details` or `versions`, an object with `Key`, and where they are known `VersionId` and
/// `ETag`. Other members, and those that are null, say nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectId {
    /// Its key.
    pub key: Key,
    /// The version that is meant, and no other.
    pub version_id: Option<VersionId>,
    /// The entity tag that the object had when it was listed, as S3 gave it.
    pub etag: Option<String>,
}

impl ObjectId {
    /// What is to be deleted for it. Where a version says exactly what is meant, the ETag says nothing more; `null` is what was written last without
    /// versions, and says nothing exactly.
    pub(super) fn target(self, prefix: Option<&Prefix>, if_match: bool) -> Target {
        let version = self.version_id.map(String::from);
        let etag = self.etag.filter(|_| if_match && version.as_deref().is_none_or(|version| version == NULL_VERSION));
        Target { etag, ..Target::of(join(prefix, self.key.as_str()), version) }
    }
}

impl From<Key> for ObjectId {
    fn from(key: Key) -> Self {
        ObjectId { key, version_id: None, etag: None }
    }
}

impl TryFrom<&str> for ObjectId {
    type Error = String;

    fn try_from(key: &str) -> Result<Self, String> {
        Key::try_from(key).map(ObjectId::from)
    }
}

impl TryFrom<String> for ObjectId {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        Key::try_from(key).map(ObjectId::from)
    }
}

/// The members that are read.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Members {
    key: Option<Key>,
    version_id: Option<VersionId>,
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

struct ObjectIdVisitor;

impl<'de> Visitor<'de> for ObjectIdVisitor {
    type Value = ObjectId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key, or an object with the member `Key`")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<ObjectId, E> {
        ObjectId::try_from(key).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ObjectId, A::Error> {
        let Members { key, version_id, etag } = Members::deserialize(MapAccessDeserializer::new(map))?;
        let key = key.ok_or_else(|| de::Error::custom("an object without a member `Key` that says which one is meant"))?;
        Ok(ObjectId { key, version_id, etag: etag.filter(|etag| !etag.is_empty()) })
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectIdVisitor)
    }
}

impl JsonSchema for ObjectId {
    fn schema_name() -> Cow<'static, str> {
        "ObjectId".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (key, named) = (generator.subschema_for::<Key>(), generator.subschema_for::<Key>());
        json_schema!({
            // A string first: that is what flags and lines of a list are.
            "anyOf": [
                key,
                {
                    "type": "object",
                    "required": ["Key"],
                    "properties": {
                        "Key": named,
                        "VersionId": { "type": ["string", "null"], "description": "Delete this version, and no other." },
                        "ETag": { "type": ["string", "null"], "description": "Delete the object only if it still has this entity tag." },
                    },
                },
            ],
            "x-aaws-names": ["Key"],
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn target(value: Value) -> Result<(String, Option<String>, Option<String>), String> {
        let object = serde_json::from_value::<ObjectId>(value).map_err(|e| e.to_string())?;
        let target = object.target(None, true);
        Ok((target.key, target.version, target.etag))
    }

    #[test]
    fn a_version_says_more_than_an_etag_and_an_etag_more_than_a_key() {
        let owned = |text: &str| Some(text.to_owned());
        assert_eq!(target(json!("k")), Ok(("k".into(), None, None)));
        assert_eq!(target(json!({"Key": "k", "Size": 3, "ETag": "\"e\""})), Ok(("k".into(), None, owned("\"e\""))));
        assert_eq!(target(json!({"Key": "k", "VersionId": "v", "ETag": "\"e\""})), Ok(("k".into(), owned("v"), None)));
        assert_eq!(target(json!({"Key": "k", "VersionId": null, "ETag": null})), Ok(("k".into(), None, None)));
    }

    #[test]
    fn what_names_no_object_is_an_error() {
        assert!(target(json!({"ETag": "e"})).is_err_and(|e| e.contains("without a member `Key`")));
        assert!(target(json!("")).is_err_and(|e| e.contains("is empty")));
        assert!(target(json!(["k"])).is_err() && target(json!(7)).is_err() && target(json!({"Key": 7})).is_err());
    }

    #[test]
    fn a_condition_that_is_not_wanted_is_left_out() {
        let object = ObjectId { etag: Some("e".into()), ..ObjectId::try_from("k").expect("a key") };
        let prefix = Prefix::try_from("p").ok();
        let target = object.target(prefix.as_ref(), false);
        assert_eq!((target.key.as_str(), target.etag), ("p/k", None));
    }
}
