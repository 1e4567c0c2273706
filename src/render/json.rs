//! JSON: an array that is written while its rows come, and JSON Lines.

use serde_json::Value;

use super::{Writer, escape};
use crate::model::error::{Error, Result};

/// One array, indented on a terminal.
pub(super) struct Json {
    terminal: bool,
    begun: bool,
    /// On a terminal, a row whose line is not whole before it is known whether a comma ends it: what else is drawn there is drawn between lines.
    held: Option<String>,
}

impl Json {
    pub fn new(terminal: bool) -> Self {
        Json { terminal, begun: false, held: None }
    }

    fn text(&self, value: &Value) -> Result<String> {
        if self.terminal { Ok(escape::json(&format!("{value:#}"))) } else { written(value) }
    }
}

/// On one line, as [`Value`]'s `Display` has it, without the formatter between.
fn written(value: &Value) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::Failed(format!("the output cannot be written as JSON: {e}")))
}

impl Writer for Json {
    fn row(&mut self, value: Value) -> Result<String> {
        let first = !std::mem::replace(&mut self.begun, true);
        let mut text = self.text(&value)?;
        if !self.terminal {
            text.insert(0, if first { '[' } else { ',' });
            return Ok(text);
        }
        let before = self.held.replace(format!("  {}", text.replace('\n', "\n  ")));
        Ok(before.map_or_else(|| "[\n".to_owned(), |row| row + ",\n"))
    }

    fn end(&mut self) -> Result<String> {
        Ok(match (self.begun, self.held.take()) {
            (false, _) => "[]\n".to_owned(),
            (true, Some(row)) => row + "\n]\n",
            (true, None) => "]\n".to_owned(),
        })
    }

    fn single(&mut self, value: Value) -> Result<String> {
        Ok(self.text(&value)? + "\n")
    }
}

/// A row a line.
pub(super) struct Jsonl {
    pub terminal: bool,
}

impl Writer for Jsonl {
    fn row(&mut self, value: Value) -> Result<String> {
        let line = written(&value)?;
        Ok(if self.terminal { escape::json(&line) } else { line } + "\n")
    }

    fn end(&mut self) -> Result<String> {
        Ok(String::new())
    }

    fn single(&mut self, value: Value) -> Result<String> {
        self.row(value)
    }
}
