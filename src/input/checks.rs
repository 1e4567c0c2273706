//! What an action's schema says of values beyond their types: which are secret, which may be empty, and what is missing.

use schemars::Schema;
use serde_json::Value;

/// In a schema: an empty string is a value here, as of an object's body. Elsewhere it is a slip, such as a variable of the shell that is not set.
const MAY_BE_EMPTY: &str = "x-aaws-may-be-empty";

/// Says in the schema that strings are not empty, but for those that may be and those that are chosen from a list.
pub fn forbid_empty(schema: &mut Schema) {
    let Some(members) = schema.as_object_mut() else { return };
    let text = match members.get("type") {
        Some(Value::String(one)) => one == "string",
        Some(Value::Array(many)) => many.iter().any(|t| t == "string"),
        _ => false,
    };
    let said = ["minLength", "enum", "const", MAY_BE_EMPTY].iter().any(|key| members.contains_key(*key));
    if text && !said {
        members.insert("minLength".to_owned(), 1.into());
    }
}

/// Whether a value of this schema holds a secret, or may.
pub(super) fn has_secret(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.get("format").is_some_and(|f| f == "password") || members.values().any(has_secret),
        Value::Array(items) => items.iter().any(has_secret),
        _ => false,
    }
}

/// Whether the elements of this list's schema are strings and nothing else.
pub(super) fn holds_text(list: &Value) -> bool {
    list.get("items").is_some_and(|of| of_kind(of, "string").is_some() && of_kind(of, "object").is_none())
}

/// The schema of a list, where that is what this schema takes.
pub(super) fn list(schema: &Value) -> Option<&Value> {
    of_kind(schema, "array")
}

/// The names of the inputs that have to be given.
pub(super) fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The schema of a member; some members may be written in either case: `UserName`, `user_name`.
pub(super) fn member<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let properties = schema.get("properties")?.as_object()?;
    let folded = |name: &str| name.replace('_', "").to_ascii_lowercase();
    properties.get(name).or_else(|| properties.iter().find(|(key, _)| folded(key) == folded(name)).map(|(_, schema)| schema))
}

/// Whether this schema takes strings, and an empty one is none that it takes.
pub(super) fn forbids_empty(schema: &Value) -> bool {
    let limited = |text: &Value| text.get("minLength").and_then(Value::as_u64).is_some_and(|least| least > 0);
    schema.get(MAY_BE_EMPTY).is_none() && of_kind(schema, "string").is_some_and(|text| text.get(MAY_BE_EMPTY).is_none() && limited(text))
}

/// Finds the empty strings where there must be none; `path` is the place of the value.
pub(super) fn find_empty(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.is_empty() && forbids_empty(schema) => found.push(path.to_owned()),
        Value::Array(items) => {
            let Some(of) = of_kind(schema, "array").and_then(|list| list.get("items")) else { return };
            let odd = |item: &Value| item.as_str().is_none_or(str::is_empty);
            for (index, item) in items.iter().enumerate().filter(|(_, item)| odd(item)) {
                find_empty(of, item, &format!("{path}[{index}]"), found);
            }
        }
        Value::Object(members) => {
            let Some(object) = of_kind(schema, "object") else { return };
            for (name, value) in members {
                if let Some(of) = member(object, name) {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    find_empty(of, value, &path, found);
                }
            }
        }
        _ => {}
    }
}

/// The schema itself, or the alternative in it, that takes values of a JSON type.
pub(super) fn of_kind<'a>(schema: &'a Value, kind: &str) -> Option<&'a Value> {
    let takes = match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(many)) => many.iter().any(|t| t == kind),
        _ => false,
    };
    if takes {
        return Some(schema);
    }
    let alternatives = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(*key)?.as_array())?;
    alternatives.iter().find_map(|alternative| of_kind(alternative, kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn empty_strings_are_found_wherever_they_are() {
        let text = json!({"type": ["string", "null"], "minLength": 1});
        let body = json!({"type": "string", MAY_BE_EMPTY: true});
        let schema = json!({"type": "object", "properties": {
            "bucket": text,
            "keys": {"anyOf": [{"type": "array", "items": text}, {"type": "null"}]},
            "objects": {"type": "array", "items": {"type": "object", "properties": {"Key": text, "Body": body}}},
        }});
        let value = json!({
            "bucket": "", "keys": ["a", "", null], "objects": [{"Key": "k", "Body": ""}, {"key": "", "Other": ""}], "unknown": "",
        });
        let mut found = Vec::new();
        find_empty(&schema, &value, "", &mut found);
        assert_eq!(found, ["bucket", "keys[1]", "objects[1].key"]);
    }

    #[test]
    fn strings_are_not_empty_unless_the_schema_says_so() {
        let limit = |schema: Value| {
            let mut schema = Schema::try_from(schema).expect("a schema");
            forbid_empty(&mut schema);
            schema.to_value().get("minLength").cloned()
        };
        assert_eq!(limit(json!({"type": ["string", "null"]})), Some(json!(1)));
        assert_eq!(limit(json!({"type": "string", MAY_BE_EMPTY: true})), None);
        assert_eq!(limit(json!({"type": "string", "enum": ["a", ""]})), None);
        assert_eq!(limit(json!({"type": "integer"})), None);
    }

    #[test]
    fn a_secret_is_seen_however_deep() {
        assert!(has_secret(&json!({"properties": {"users": {"items": {"properties": {"Password": {"format": "password"}}}}}})));
        assert!(!has_secret(&json!({"properties": {"password": {"type": "string"}}})));
    }
}
