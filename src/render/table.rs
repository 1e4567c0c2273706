//! Tables for people, and the rows of the formats that have to see all of them first.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;

use super::shape::Column;
use super::units::readable;
use super::{Writer, printable};
use crate::input::CSV_HEADER;
use crate::model::error::Result;

/// The fewest columns of a terminal that a table is fitted into.
const NARROWEST: u16 = 20;

/// The most characters of a cell, but for those of the first column and of columns that were chosen.
const LONGEST: usize = 48;

/// How a listing is shown to a person at a terminal.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// The columns that there may be, and what they are counted in.
    pub columns: Vec<Column>,
    /// They were chosen: all of them are shown, however narrow that makes them.
    pub chosen: bool,
}

#[derive(Default)]
pub(super) struct Rows {
    rows: Vec<Value>,
    layout: Option<Layout>,
}

impl Rows {
    /// Laid out for a person, where that is asked for.
    pub(super) fn new(layout: Option<Layout>) -> Self {
        Rows { rows: Vec::new(), layout }
    }
}

impl Writer for Rows {
    fn row(&mut self, value: Value) -> Result<String> {
        self.rows.push(value);
        Ok(String::new())
    }

    fn end(&mut self) -> Result<String> {
        if self.rows.is_empty() {
            return Ok(if self.layout.is_some() { "0 rows\n".into() } else { String::new() });
        }
        let mut columns = columns(&self.rows);
        let Some(layout) = &self.layout else { return Ok(lines(&self.table(&columns))) };
        let mut left = Vec::new();
        if !layout.chosen {
            let all = self.table(&columns);
            let room = all.width().filter(|width| *width >= NARROWEST);
            let widths = all.column_max_content_widths();
            (columns, left) = fitting(columns, &widths, |column| self.has_values(column), room);
        }
        let rows = self.rows.len();
        let mut text = lines(&self.table(&columns)) + &format!("{rows} row{}", if rows == 1 { "" } else { "s" });
        if !left.is_empty() {
            text.push_str(&format!(
                "; no room for {}: --columns chooses",
                left.iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ")
            ));
        }
        Ok(text + "\n")
    }

    fn single(&mut self, value: Value) -> Result<String> {
        self.rows.push(value);
        self.end()
    }
}

impl Rows {
    fn table(&self, columns: &[String]) -> Table {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(columns.iter().map(|c| printable(c)));
        for row in &self.rows {
            let cells = cells(columns, row).into_iter().zip(columns).enumerate();
            table.add_row(cells.map(|(at, (value, column))| printable(&self.text(value, column, at == 0))));
        }
        for (at, column) in columns.iter().enumerate() {
            let values = || self.rows.iter().filter_map(|row| row.get(column)).filter(|value| !value.is_null());
            if self.layout.is_some()
                && values().next().is_some()
                && values().all(Value::is_number)
                && let Some(column) = table.column_mut(at)
            {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        // Some terminals say that they have no columns, and none shows a table in so few.
        if table.width().is_some_and(|columns| columns < NARROWEST) {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        table
    }

    fn has_values(&self, column: &str) -> bool {
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        column == CSV_HEADER || self.rows.iter().any(|row| row.get(column).is_some_and(|value| !is_empty(value)))
    }

    fn text(&self, value: &Value, column: &str, first: bool) -> String {
        let Some(layout) = &self.layout else { return cell(value) };
        let unit = layout.columns.iter().find(|c| c.name == column).and_then(|c| c.unit);
        let text = readable(value, unit).unwrap_or_else(|| match value {
            Value::Array(items) if items.iter().all(Value::is_string) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
            value => cell(value),
        });
        if first || layout.chosen || text.chars().count() <= LONGEST {
            return text;
        }
        text.chars().take(LONGEST - 1).chain(['…']).collect()
    }
}

/// Lines without what is blank at their ends.
fn lines(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Those of the columns that have values and fit beside each other, the first ones first; and the names of those with values that do not. The first is
/// always there. Behind one that is too wide a narrower one may still fit.
fn fitting(columns: Vec<String>, widths: &[u16], has_values: impl Fn(&str) -> bool, room: Option<u16>) -> (Vec<String>, Vec<String>) {
    let (mut kept, mut left, mut taken) = (Vec::new(), Vec::new(), 0_u32);
    for (at, column) in columns.into_iter().enumerate() {
        if at > 0 && !has_values(&column) {
            continue;
        }
        // A blank on each side.
        let width = u32::from(widths.get(at).copied().unwrap_or_default()) + 2;
        if kept.is_empty() || room.is_none_or(|room| taken + width <= u32::from(room)) {
            taken += width;
            kept.push(column);
        } else {
            left.push(column);
        }
    }
    (kept, left)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_with_values_take_the_room_that_there_is() {
        let fitted = |room: Option<u16>| {
            let columns = ["Id", "Empty", "Long", "Short"].map(str::to_owned).to_vec();
            fitting(columns, &[10, 5, 30, 5], |column| column != "Empty", room)
        };
        assert_eq!(fitted(None), (vec!["Id".into(), "Long".into(), "Short".into()], Vec::new()));
        assert_eq!(fitted(Some(51)), (vec!["Id".into(), "Long".into(), "Short".into()], Vec::new()));
        // What comes behind a column that is too wide is not lost with it.
        assert_eq!(fitted(Some(40)), (vec!["Id".into(), "Short".into()], vec!["Long".into()]));
        assert_eq!(fitted(Some(5)), (vec!["Id".into()], vec!["Long".into(), "Short".into()]));
    }
}
