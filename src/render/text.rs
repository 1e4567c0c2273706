//! Text: values only, one row a line, tabs between the values of one. A list flag reads it back exactly.

use serde_json::Value;

use super::{Writer, escape};
use crate::input::{Elements, line_is_exact};
use crate::model::error::Result;

pub(super) struct Text {
    pub terminal: bool,
}

impl Text {
    /// One value: strings bare, as long as a reader takes them for what they are, and quoted as JSON otherwise; the rest as JSON.
    fn cell(&self, value: &Value) -> String {
        let json = || match self.terminal {
            true => escape::json(&value.to_string()),
            false => value.to_string(),
        };
        match value {
            Value::Null => String::new(),
            Value::String(text) if is_bare(text) => text.clone(),
            _ => json(),
        }
    }
}

/// Whether a line of nothing but this text is read as this text, on every screen.
fn is_bare(text: &str) -> bool {
    line_is_exact(text, Elements::Text) && !text.chars().any(escape::is_hostile)
}

impl Writer for Text {
    fn row(&mut self, value: Value) -> Result<String> {
        let cells: Vec<_> = match &value {
            Value::Object(members) => members.values().map(|v| self.cell(v)).collect(),
            Value::Array(items) => items.iter().map(|v| self.cell(v)).collect(),
            other => vec![self.cell(other)],
        };
        Ok(cells.join("\t") + "\n")
    }

    fn end(&mut self) -> Result<String> {
        Ok(String::new())
    }

    fn single(&mut self, value: Value) -> Result<String> {
        self.row(value)
    }
}
