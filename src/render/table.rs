//! Tables for people, and the rows of the formats that have to see all of them first.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::{Writer, printable};
use crate::input::CSV_HEADER;
use crate::model::error::Result;

/// The fewest columns of a terminal that a table is fitted into.
const NARROWEST: u16 = 20;

#[derive(Default)]
pub(super) struct Rows {
    rows: Vec<Value>,
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
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(columns.iter().map(|c| printable(c)));
        for row in &self.rows {
            table.add_row(cells(&columns, row).iter().map(|value| printable(&cell(value))));
        }
        // Some terminals say that they have no columns, and none shows a table in so few.
        if table.width().is_some_and(|columns| columns < NARROWEST) {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        let lines: Vec<_> = table.lines().map(|l| l.trim_end().to_owned()).collect();
        Ok(lines.join("\n") + "\n")
    }

    fn single(&mut self, value: Value) -> Result<String> {
        self.rows.push(value);
        self.end()
    }
}

/// Names of the columns, in the order in which rows first have them; rows that are no objects have one, `value`.
pub(super) fn columns(rows: &[Value]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for row in rows {
        match row {
            Value::Object(members) => {
                let new: Vec<_> = members.keys().filter(|k| !columns.contains(k)).cloned().collect();
                columns.extend(new);
            }
            _ if !columns.iter().any(|c| c == CSV_HEADER) => columns.push(CSV_HEADER.into()),
            _ => {}
        }
    }
    columns
}

/// The values of a row, one for each column.
pub(super) fn cells<'a>(columns: &[String], row: &'a Value) -> Vec<&'a Value> {
    match row {
        Value::Object(members) => columns.iter().map(|c| members.get(c).unwrap_or(&Value::Null)).collect(),
        other => columns.iter().map(|c| if c == CSV_HEADER { other } else { &Value::Null }).collect(),
    }
}

/// Strings bare, the rest as JSON.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
