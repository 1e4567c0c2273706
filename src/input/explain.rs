//! Messages of serde as sentences that name the field, and without what must not be repeated.

use serde_json::Value;

use crate::model::error::InputError;

/// What is said instead of a message that would repeat a value that may be secret.
const NOT_REPEATED: &str = "it is none of the values that this takes, and is not repeated here because it may hold a secret";

/// Serde's message as a sentence that names the field.
pub(super) fn explain(path: &str, message: &str) -> InputError {
    let quoted = message.split('`').nth(1).map(str::to_owned);
    // "objects[2]" when a member of that item is missing or unknown, "." for the input itself.
    let inside = |name: &str| if path == "." { name.to_owned() } else { format!("{path}.{name}") };
    // The path may or may not end in the member itself.
    let at = |name: &str| if path.rsplit('.').next() == Some(name) { path.to_owned() } else { inside(name) };
    let (field, message) = match quoted {
        Some(name) if message.starts_with("missing field") => {
            let field = inside(&name);
            let message = format!("`{field}` is required");
            (field, message)
        }
        Some(name) if message.starts_with("unknown field") => {
            let field = at(&name);
            let message = match message.split_once(", ") {
                Some((_, expected)) => format!("there is no `{field}`: {expected}"),
                None => format!("there is no `{field}`"),
            };
            (field, message)
        }
        Some(name) if message.starts_with("duplicate field") => {
            let field = at(&name);
            let message = format!("`{field}` is given twice, under two names");
            (field, message)
        }
        _ => (path.to_owned(), format!("`{path}`: {}", in_words(message))),
    };
    InputError::field(field, message)
}

/// A message about a value that holds a secret, or may: it says what is expected, and not what was given.
pub(super) fn quiet(message: &str, value: &Value) -> String {
    if ["missing field", "unknown field", "duplicate field"].iter().any(|kind| message.starts_with(kind)) {
        return message.to_owned();
    }
    if ["invalid type: ", "invalid value: ", "unknown variant "].iter().any(|kind| message.starts_with(kind)) {
        // What was given may hold these words, too: the last are serde's.
        let expected = message.rsplit_once(", expected ").map(|(_, expected)| format!("what was given does not fit, expected {expected}"));
        return expected.unwrap_or_else(|| NOT_REPEATED.to_owned());
    }
    let (mut message, mut given) = (message.to_owned(), Vec::new());
    scalars(value, &mut given);
    for text in &given {
        for shown in [text.clone(), text.escape_debug().to_string()] {
            message = message.replace(&format!("`{shown}`"), "what was given");
        }
    }
    let repeats = |text: &String| message.contains(text.as_str()) || message.contains(&text.escape_debug().to_string());
    if given.iter().any(repeats) { NOT_REPEATED.to_owned() } else { message }
}

/// All that stands in a value, as text.
fn scalars(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => found.push(text.clone()),
        Value::Number(number) => found.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| scalars(item, found)),
        Value::Object(members) => members.values().for_each(|value| scalars(value, found)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Rust's names of types mean nothing to who typed the value.
fn in_words(message: &str) -> String {
    let Some((said, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a nonzero u8" | "a nonzero u16" | "a nonzero u32" | "a nonzero u64" => "a whole number from 1",
        "a map" => "an object",
        "a sequence" => "a list",
        name if name.starts_with("struct ") => "an object",
        other => other,
    };
    format!("{said}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_may_be_secret_is_not_repeated() {
        let secret = "hunter2, expected \"x";
        let shown = [
            format!("invalid type: string {secret:?}, expected struct ConsoleUser"),
            format!("unknown variant `{secret}`, expected `a` or `b`"),
            format!("`{secret}` is not a length of time"),
            format!("{secret} is odd"),
            format!("`{}` is not a region", secret.escape_debug()),
        ];
        for message in shown {
            for value in [json!(secret), json!({"users": [{"Password": secret}]})] {
                let said = explain("users[0]", &quiet(&message, &value));
                assert!(!said.message.contains("hunter2"), "{said}");
                assert_eq!(said.field.as_deref(), Some("users[0]"));
            }
        }
        let said = explain("users[0]", &quiet("invalid type: string \"x\", expected struct ConsoleUser", &json!("x")));
        assert_eq!(said.message, "`users[0]`: what was given does not fit, expected an object");
        assert_eq!(quiet("missing field `UserName`", &json!({"UserName": 1})), "missing field `UserName`");
    }
}
