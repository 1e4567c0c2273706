//! Tables for people, laid out by their first rows, and what other formats of rows have in common with them.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
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

/// How many rows a table is laid out by: they are held in memory, and those behind them get the same columns.
const LAID_OUT: usize = 1000;

/// How many of the rows behind them are printed at a time.
const BLOCK: usize = 100;

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
    /// Those that are not printed yet.
    rows: Vec<Value>,
    /// How many there were.
    count: usize,
    layout: Option<Layout>,
    /// Once the first of them are printed.
    laid: Option<Laid>,
}

/// How a table goes on behind the rows that it was laid out by.
struct Laid {
    columns: Vec<String>,
    /// In characters, without the blanks beside.
    widths: Vec<u16>,
    /// The table is fitted into a terminal: a cell that is longer is cut or wrapped. Otherwise its column grows.
    fitted: bool,
    /// Which columns are of numbers.
    numbers: Vec<bool>,
    /// Columns for which there was no room.
    left: Vec<String>,
    /// Columns that have values only behind the rows that the table was laid out by.
    late: Vec<String>,
}

impl Laid {
    /// Gives a table these widths; where it is not fitted, they are the least.
    fn constrain(&self, table: &mut Table) {
        for (at, width) in self.widths.iter().enumerate() {
            // A blank on each side.
            let width = Width::Fixed(width.saturating_add(2));
            let constraint = if self.fitted { ColumnConstraint::Absolute(width) } else { ColumnConstraint::LowerBoundary(width) };
            if let Some(column) = table.column_mut(at) {
                column.set_constraint(constraint);
            }
        }
    }
}

impl Rows {
    /// Laid out for a person, where that is asked for.
    pub(super) fn new(layout: Option<Layout>) -> Self {
        Rows { layout, ..Rows::default() }
    }
}

impl Writer for Rows {
    fn row(&mut self, value: Value) -> Result<String> {
        let most = if self.laid.is_none() { LAID_OUT } else { BLOCK };
        let text = if self.rows.len() == most { self.block(true) } else { String::new() };
        self.rows.push(value);
        self.count += 1;
        Ok(text)
    }

    fn end(&mut self) -> Result<String> {
        if self.count == 0 {
            return Ok(if self.layout.is_some() { "0 rows\n".into() } else { String::new() });
        }
        let mut text = self.block(false);
        let (Some(_), Some(laid)) = (&self.layout, &self.laid) else { return Ok(text) };
        let rows = self.count;
        text.push_str(&format!("{rows} row{}", if rows == 1 { "" } else { "s" }));
        let named = |columns: &[String]| columns.iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ");
        if !laid.left.is_empty() {
            text.push_str(&format!("; no room for {}", named(&laid.left)));
        }
        if !laid.late.is_empty() {
            text.push_str(&format!("; only rows behind the first {LAID_OUT} have {}", named(&laid.late)));
        }
        if !laid.left.is_empty() || !laid.late.is_empty() {
            text.push_str(": --columns chooses");
        }
        Ok(text + "\n")
    }

    fn single(&mut self, value: Value) -> Result<String> {
        let text = self.row(value)?;
        Ok(text + &self.end()?)
    }
}

impl Rows {
    /// The rows that are held, of which none is held any more; whether more come.
    fn block(&mut self, more: bool) -> String {
        let (laid, text) = match self.laid.take() {
            None => self.first(more),
            Some(laid) => self.next(laid),
        };
        self.laid = Some(laid);
        self.rows.clear();
        text
    }

    /// The first rows, by which those behind them are laid out.
    fn first(&self, more: bool) -> (Laid, String) {
        let (mut columns, mut left) = (columns(&self.rows), Vec::new());
        let is_for_people = self.layout.is_some();
        if self.layout.as_ref().is_some_and(|layout| !layout.chosen) {
            let all = self.table(&columns, true, &self.numbers(&columns), None);
            let room = all.width().filter(|width| *width >= NARROWEST);
            let widths = all.column_max_content_widths();
            (columns, left) = fitting(columns, &widths, |column| self.has_values(column), room);
        }
        let numbers = self.numbers(&columns);
        let mut table = self.table(&columns, true, &numbers, None);
        let room = table.width().filter(|width| is_for_people && *width >= NARROWEST);
        let widths = narrowed(table.column_max_content_widths(), room);
        let laid = Laid { columns, widths, fitted: room.is_some(), numbers, left, late: Vec::new() };
        if more && laid.fitted {
            laid.constrain(&mut table);
        }
        let text = lines(&table);
        (laid, text)
    }

    /// Rows behind those.
    fn next(&self, mut laid: Laid) -> (Laid, String) {
        let is_known = |column: &String| [&laid.columns, &laid.left, &laid.late].into_iter().any(|known| known.contains(column));
        let new: Vec<String> = columns(&self.rows).into_iter().filter(|column| !is_known(column)).collect();
        let mut header = false;
        if self.layout.is_some() {
            laid.late.extend(new.into_iter().filter(|column| self.has_values(column)));
        } else if !new.is_empty() {
            // Nothing of what goes into a pipe is left out: the table begins anew.
            header = true;
            laid.columns.extend(new);
            laid.widths.resize(laid.columns.len(), 1);
            laid.numbers.resize(laid.columns.len(), false);
        }
        let mut table = self.table(&laid.columns, header, &laid.numbers, Some(&laid));
        laid.constrain(&mut table);
        if !laid.fitted {
            let grown = table.column_max_content_widths();
            laid.widths.iter_mut().zip(grown).for_each(|(width, grown)| *width = (*width).max(grown));
        }
        let text = lines(&table);
        (laid, text)
    }

    /// The rows that are held.
    fn table(&self, columns: &[String], header: bool, numbers: &[bool], laid: Option<&Laid>) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if header {
            table.set_header(columns.iter().map(|c| printable(c)));
        }
        for row in &self.rows {
            let cells = cells(columns, row).into_iter().zip(columns).enumerate();
            table.add_row(cells.map(|(at, (value, column))| {
                let most = laid.filter(|laid| laid.fitted).and_then(|laid| laid.widths.get(at)).map_or(LONGEST, |w| usize::from(*w));
                printable(&self.text(value, column, at == 0, most.min(LONGEST)))
            }));
        }
        for (at, _) in numbers.iter().enumerate().filter(|(_, is_number)| **is_number) {
            if let Some(column) = table.column_mut(at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        // Some terminals say that they have no columns, and none shows a table in so few.
        if table.width().is_some_and(|columns| columns < NARROWEST) {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        table
    }

    /// Which columns of a table for people are of numbers.
    fn numbers(&self, columns: &[String]) -> Vec<bool> {
        let is_of_numbers = |column: &String| {
            let values = || self.rows.iter().filter_map(|row| row.get(column)).filter(|value| !value.is_null());
            self.layout.is_some() && values().next().is_some() && values().all(Value::is_number)
        };
        columns.iter().map(is_of_numbers).collect()
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

    /// A cell of `most` characters, but for what must not be cut: the name of the thing, a number, and what was chosen.
    fn text(&self, value: &Value, column: &str, first: bool, most: usize) -> String {
        let Some(layout) = &self.layout else { return cell(value) };
        let unit = layout.columns.iter().find(|c| c.name == column).and_then(|c| c.unit);
        let text = readable(value, unit).unwrap_or_else(|| match value {
            Value::Array(items) if items.iter().all(Value::is_string) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
            value => cell(value),
        });
        if first || layout.chosen || value.is_number() || text.chars().count() <= most {
            return text;
        }
        text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
    }
}

/// Widths that fit beside each other, the widest ones made narrower.
fn narrowed(mut widths: Vec<u16>, room: Option<u16>) -> Vec<u16> {
    let Some(room) = room else { return widths };
    // A blank on each side.
    let needed = |widths: &[u16]| widths.iter().map(|width| u32::from(*width) + 2).sum::<u32>();
    while needed(&widths) > u32::from(room)
        && let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > 1)
    {
        *widest -= 1;
    }
    widths
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
    use serde_json::json;

    /// What is printed of rows, each piece as it comes.
    fn printed(layout: Option<Layout>, rows: impl Iterator<Item = Value>) -> Vec<String> {
        let mut table = Rows::new(layout);
        let mut pieces: Vec<String> = rows.map(|row| table.row(row).expect("a piece")).collect();
        pieces.push(table.end().expect("the end"));
        pieces.into_iter().filter(|piece| !piece.is_empty()).collect()
    }

    #[test]
    fn rows_behind_the_first_are_printed_in_blocks_with_the_same_columns() {
        let row = |n: usize| json!({ "Id": format!("i-{n:04}"), "Size": n });
        let pieces = printed(None, (0..1250).map(row));
        let lines: Vec<usize> = pieces.iter().map(|piece| piece.lines().count()).collect();
        assert_eq!(lines, [1001, 100, 100, 50]);
        let all = pieces.concat();
        assert!(all.starts_with(" Id      Size\n i-0000  0\n") && all.ends_with("\n i-1249  1249\n"), "{all}");
        assert_eq!(printed(Some(Layout::default()), (0..1000).map(row)).len(), 1, "all of it lays out the table");
    }

    #[test]
    fn nothing_of_later_rows_is_lost_in_a_pipe() {
        let row = |n: usize| if n < 1100 { json!({ "Id": n }) } else { json!({ "Id": "a-longer-id", "More": "x y" }) };
        let all = printed(None, (0..1201).map(row)).concat();
        let later: Vec<&str> = all.lines().skip(1101).collect();
        assert_eq!((later[0], later[1], later.len()), (" Id           More", " a-longer-id  x y", 102));
    }

    #[test]
    fn columns_that_only_later_rows_have_are_named_to_people() {
        let row = |n: usize| json!({ "Id": format!("i-{n:04}"), "When": (n >= 1000).then_some("now") });
        let all = printed(Some(Layout::default()), (0..1001).map(row)).concat();
        assert!(all.ends_with(" i-1000\n1001 rows; only rows behind the first 1000 have When: --columns chooses\n"), "{all}");
    }

    #[test]
    fn widths_are_narrowed_to_the_room_that_there_is() {
        assert_eq!(narrowed(vec![10, 30, 5], Some(51)), [10, 30, 5]);
        assert_eq!(narrowed(vec![10, 30, 5], Some(31)), [10, 10, 5]);
        assert_eq!(narrowed(vec![10, 30], None), [10, 30]);
    }

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
