//! JSON: an array that is written while its rows come, and JSON Lines.

use serde_json::Value;

use super::{Writer, escape};
use crate::model::error::Result;

/// One array, indented on a terminal.
pub(super) struct Json {
    terminal: bool,
    begun: bool,
}

impl Json {
    pub fn new(terminal: bool) -> Self {
        Json { terminal, begun: false }
    }

    fn text(&self, value: &Value) -> String {
        if self.terminal { escape::json(&format!("{value:#}")) } else { value.to_string() }
    }
}

impl Writer for Json {
    fn row(&mut self, value: Value) -> Result<String> {
        let first = !std::mem::replace(&mut self.begun, true);
        let text = self.text(&value);
        Ok(match (self.terminal, first) {
            (true, true) => format!("[\n  {}", text.replace('\n', "\n  ")),
            (true, false) => format!(",\n  {}", text.replace('\n', "\n  ")),
            (false, true) => format!("[{text}"),
            (false, false) => format!(",{text}"),
        })
    }

    fn end(&mut self) -> Result<String> {
        Ok(match (self.begun, self.terminal) {
            (false, _) => "[]\n",
            (true, true) => "\n]\n",
            (true, false) => "]\n",
        }
        .to_owned())
    }

    fn single(&mut self, value: Value) -> Result<String> {
        Ok(self.text(&value) + "\n")
    }
}

/// A row a line.
pub(super) struct Jsonl {
    pub terminal: bool,
}

impl Writer for Jsonl {
    fn row(&mut self, value: Value) -> Result<String> {
        let line = value.to_string();
        Ok(if self.terminal { escape::json(&line) } else { line } + "\n")
    }

    fn end(&mut self) -> Result<String> {
        Ok(String::new())
    }

    fn single(&mut self, value: Value) -> Result<String> {
        self.row(value)
    }
}
