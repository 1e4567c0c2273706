//! The input of an action on its way from a front end to the typed struct: lists longer than memory, dates, patterns, secrets, and reading them. Knows
//! the model only.

mod glob;
mod items;
mod moment;
mod path;
mod secret;
mod source;

pub use glob::Glob;
pub use items::Items;
pub use moment::{Age, Moment};
pub use path::PathOrText;
pub use secret::Secret;
pub use source::{CSV_HEADER, Elements, Source, Spool, line_is_exact};

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::model::error::{Error, InputError, Result};
use crate::model::rules::Rule;

/// An input before it has its type: JSON, and lists that are too long for memory beside it.
#[derive(Debug, Default)]
pub struct Input {
    /// Everything that is small.
    pub value: Map<String, Value>,
    /// Lists read from files and streams, by field.
    pub spools: BTreeMap<String, Spool>,
}

impl From<Map<String, Value>> for Input {
    fn from(value: Map<String, Value>) -> Self {
        Input { value, spools: BTreeMap::new() }
    }
}

impl Input {
    /// From JSON text; anything but an object is an error.
    pub fn from_json(text: &str) -> Result<Self> {
        match serde_json::from_str(text) {
            Ok(Value::Object(value)) => Ok(value.into()),
            Ok(other) => Err(Error::input(format!("the input must be a JSON object, not {}", kind(&other)))),
            Err(e) => Err(Error::input(format!("the input is not JSON: {e}"))),
        }
    }
}

/// Checks the rules and gives the input its type. Ages are as they are at `now`.
pub fn parse<T: DeserializeOwned>(rules: &[Rule], input: Input, now: Timestamp) -> Result<T> {
    let Input { mut value, spools } = input;
    for field in spools.keys() {
        value.insert(field.clone(), items::placeholder(field));
    }
    for rule in rules {
        rule.check(&value)?;
    }
    let typed = items::with_spools(spools, || moment::at(now, || serde_path_to_error::deserialize(Value::Object(value))));
    typed.map_err(|e| {
        let path = e.path().to_string();
        explain(&path, &e.into_inner().to_string())
    })
}

/// Serde's message as a sentence that names the field.
fn explain(path: &str, message: &str) -> Error {
    let quoted = message.split('`').nth(1).map(str::to_owned);
    // "objects[2]" when a member of that item is missing or unknown, "." for the input itself.
    let inside = |name: &str| if path == "." { name.to_owned() } else { format!("{path}.{name}") };
    let (field, message) = match quoted {
        Some(name) if message.starts_with("missing field") => {
            let field = inside(&name);
            let message = format!("`{field}` is required");
            (field, message)
        }
        Some(name) if message.starts_with("unknown field") => {
            // The path may or may not end in the unknown field itself.
            let field = if path.rsplit('.').next() == Some(name.as_str()) { path.to_owned() } else { inside(&name) };
            let message = match message.split_once(", ") {
                Some((_, expected)) => format!("there is no `{field}`: {expected}"),
                None => format!("there is no `{field}`"),
            };
            (field, message)
        }
        _ => (path.to_owned(), format!("`{path}`: {}", in_words(message))),
    };
    Error::Input(InputError { field: Some(field), message, hint: None })
}

/// Rust's names of number types mean nothing to who typed the number.
fn in_words(message: &str) -> String {
    let Some((said, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a nonzero u8" | "a nonzero u16" | "a nonzero u32" | "a nonzero u64" => "a whole number from 1",
        other => other,
    };
    format!("{said}, expected {expected}")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
