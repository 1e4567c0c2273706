//! JSON text read strictly: a member that stands twice in one object is an error, because programs disagree on which of the two counts (RFC 8259,
//! section 4).

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads one JSON value. The error goes on after a name of what was read: "is not JSON: …", "has the member `Key` twice …".
pub fn read(text: &str) -> Result<Value, String> {
    serde_json::from_str::<Strict>(text).map(|strict| strict.0).map_err(|e| predicate(&e))
}

/// What is wrong with a text that was read as [`Strict`].
pub(super) fn predicate(error: &serde_json::Error) -> String {
    // Any value is taken: what is wrong with the data of one, then, is a member that is there twice.
    if error.is_data() { error.to_string() } else { format!("is not JSON: {error}") }
}

/// Whether that is what [`read`] says of a member that is there twice.
pub(super) fn is_twice(predicate: &str) -> bool {
    predicate.starts_with(TWICE)
}

/// How the sentence of a member that is there twice begins.
const TWICE: &str = "has the member ";

/// Any value whose objects have each member once.
#[derive(Debug)]
pub(super) struct Strict(pub Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(de::Error::custom(format_args!("{TWICE}`{name}` twice")));
            }
            let Strict(value) = map.next_value()?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_as_it_stands() {
        for text in
            ["null", "true", "-1", "18446744073709551615", "1.5", "\"a\\u0000\u{1f600}\"", "[1,[2,{}]]", "{\"b\":{\"a\":[]},\"a\":null}"]
        {
            assert_eq!(read(text).ok(), serde_json::from_str(text).ok(), "{text}");
        }
    }

    #[test]
    fn a_member_that_stands_twice_is_named() {
        for text in ["{\"a\":1,\"b\":2,\"a\":1}", "[{\"x\":{\"a\":1,\"a\":2}}]"] {
            assert!(read(text).is_err_and(|e| e.starts_with("has the member `a` twice")), "{text}");
        }
        assert!(read("{\"a\":1").is_err_and(|e| e.starts_with("is not JSON")));
        assert!(read("{} {}").is_err_and(|e| e.starts_with("is not JSON")));
    }
}
