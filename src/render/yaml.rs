//! YAML that readers of 1.1 and 1.2 understand alike: what could be anything but a string is quoted.

use std::fmt::Write;

use serde_json::Value;

use super::{Writer, escape};
use crate::model::error::Result;

/// Words that YAML 1.1 or 1.2 takes for something else than a string, in any case (yaml.org/type: bool, null, float, merge).
const WORDS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity"];

#[derive(Default)]
pub(super) struct Yaml {
    begun: bool,
}

impl Writer for Yaml {
    fn row(&mut self, value: Value) -> Result<String> {
        self.begun = true;
        let mut text = String::new();
        element(&mut text, &value, 0);
        Ok(text)
    }

    fn end(&mut self) -> Result<String> {
        Ok(if self.begun { String::new() } else { "[]\n".to_owned() })
    }

    fn single(&mut self, value: Value) -> Result<String> {
        let mut text = String::new();
        match &value {
            Value::Object(members) if !members.is_empty() => members.iter().for_each(|(name, value)| member(&mut text, name, value, 0)),
            other => text = scalar(other) + "\n",
        }
        Ok(text)
    }
}

/// `- value`, as deep as its list.
fn element(text: &mut String, value: &Value, depth: usize) {
    let mut inner = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().for_each(|(name, value)| member(&mut inner, name, value, depth + 1))
        }
        Value::Array(items) if !items.is_empty() => items.iter().for_each(|item| element(&mut inner, item, depth + 1)),
        other => inner = format!("{}{}\n", "  ".repeat(depth + 1), scalar(other)),
    }
    // The dash takes the place of the first line's own indentation.
    let indent = "  ".repeat(depth);
    text.push_str(&format!("{indent}- {}", inner.strip_prefix(&"  ".repeat(depth + 1)).unwrap_or(&inner)));
}

/// `name: value`, as deep as its object.
fn member(text: &mut String, name: &str, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    text.push_str(&format!("{indent}{}:", string(name)));
    match value {
        Value::Object(members) if !members.is_empty() => {
            text.push('\n');
            members.iter().for_each(|(name, value)| member(text, name, value, depth + 1));
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            items.iter().for_each(|item| element(text, item, depth));
        }
        other => text.push_str(&format!(" {}\n", scalar(other))),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        // Empty lists and objects, numbers, true, false and null are the same in JSON.
        other => other.to_string(),
    }
}

/// Bare only where no reader can take it for anything else: text that begins with a letter or a slash, is no word of YAML, and holds nothing that begins
/// something else (`: `, ` #`, brackets, quotes).
fn string(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./-:@+=, ".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let whole = begins && text.chars().all(plain) && !text.contains(": ") && !text.ends_with([':', ' ']);
    if whole && !WORDS.contains(&text.to_ascii_lowercase().as_str()) { text.to_owned() } else { quoted(text) }
}

/// Double-quoted, with the escapes that YAML has: unlike JSON it has one for every character, and none made of two.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            // Writing to a string does not fail.
            c if escape::is_hostile(c) || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_back_and_no_word_changes_its_kind() {
        let odd = [
            "yes",
            "No",
            "on",
            "off",
            "y",
            "1e3",
            "0x1F",
            "12:30",
            "~",
            "",
            " a ",
            "a: b",
            "# c",
            "- d",
            "\u{85}\u{2028}\u{1f600}",
            "a\"b\\",
            "=",
            "2024-01-31",
        ];
        let value = json!([{"a": odd, "b": {"yes": 1, "c d": [[], {}, [1, [2]]]}, "e": null}, "plain/key.txt"]);
        let mut yaml = Yaml::default();
        let text: String = value.as_array().into_iter().flatten().filter_map(|row| yaml.row(row.clone()).ok()).collect();
        assert_eq!(serde_yaml_ng::from_str::<Value>(&text).ok(), Some(value), "{text}");
        // The reader here is one of YAML 1.2: for one of 1.1 all of these are something else when they are bare.
        for word in ["yes", "No", "on", "off", "y", "1e3", "0x1F", "12:30", "~", "2024-01-31", "="] {
            assert!(text.contains(&format!("- \"{word}\"\n")), "{word}: {text}");
        }
        assert!(text.contains("- plain/key.txt\n"), "{text}");
    }
}
