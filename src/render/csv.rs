//! Comma-separated values, for spreadsheets.

use std::io;

use serde_json::Value;

use super::table::{cell, cells, columns};
use super::{Writer, printable};
use crate::model::error::{Error, Result};

pub(super) struct Rows {
    rows: Vec<Value>,
    terminal: bool,
}

impl Rows {
    pub fn new(terminal: bool) -> Self {
        Rows { rows: Vec::new(), terminal }
    }

    /// A cell that no spreadsheet takes for a formula: names are what somebody else chose (OWASP, "CSV Injection").
    fn inert(&self, value: &Value) -> String {
        match value {
            Value::String(text) => self.text(text),
            // Numbers are no formulas.
            _ => cell(value),
        }
    }

    fn text(&self, text: &str) -> String {
        let quote = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        let text = format!("{quote}{text}");
        if self.terminal { printable(&text) } else { text }
    }
}

impl Writer for Rows {
    fn row(&mut self, value: Value) -> Result<String> {
        self.rows.push(value);
        Ok(String::new())
    }

    fn end(&mut self) -> Result<String> {
        if self.rows.is_empty() {
            return Ok(String::new());
        }
        let columns = columns(&self.rows);
        let broken = |e: csv::Error| Error::io("write CSV", io::Error::other(e));
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(columns.iter().map(|column| self.text(column))).map_err(broken)?;
        for row in &self.rows {
            writer.write_record(cells(&columns, row).into_iter().map(|value| self.inert(value))).map_err(broken)?;
        }
        let bytes = writer.into_inner().map_err(|e| Error::io("write CSV", io::Error::other(e.to_string())))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn single(&mut self, value: Value) -> Result<String> {
        self.rows.push(value);
        self.end()
    }
}
