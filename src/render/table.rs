//! Tables for people, laid out by their first rows, and what other formats of rows have in common with them.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde_json::Value;

use super::fit::{Candidate, Fit, SHORTEST_NAME, cut, fitted, heading, narrowed, width};
use super::shape::Column;
use super::units::readable;
use super::{Writer, printable};
use crate::input::CSV_HEADER;
use crate::model::error::Result;

/// The fewest columns of a terminal that a table is fitted into.
const NARROWEST: u16 = 20;

/// The most characters of a cell, but for those of the first column and of columns that were chosen.
const LONGEST: u16 = 48;

/// From how many rows on a value that all of them have is said once, where not all columns fit beside each other. What a few rows share may be chance.
const ALIKE: usize = 4;

/// The most characters of an id: `eipassoc-` and 17 digits. What is longer and looks like one is a name that a program made.
const LONGEST_ID: u16 = 26;

/// The most characters of a value that is said so.
const SAID: u16 = 32;

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
    /// The rows are what a query makes: it chooses, and they need not be of one kind.
    pub queried: bool,
}

#[derive(Default)]
pub(super) struct Rows {
    /// A person sees them.
    terminal: bool,
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
    /// How wide the terminal is that the table is fitted into: what is too long for it is cut or wrapped. Otherwise a column grows.
    room: Option<u16>,
    /// Which columns are of numbers.
    numbers: Vec<bool>,
    /// Whether their names are on two lines.
    two_lines: bool,
    /// Columns that are left out because all rows have the same value there, with that.
    alike: Vec<(String, String)>,
    /// Columns for which there was no room.
    left: Vec<String>,
    /// Columns that have values only behind the rows that the table was laid out by.
    late: Vec<String>,
}

impl Laid {
    /// Gives a table these widths.
    fn constrain(&self, table: &mut Table) {
        for (at, width) in self.widths.iter().enumerate() {
            if let Some(column) = table.column_mut(at) {
                // A blank on each side.
                column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width.saturating_add(2))));
            }
        }
    }

    /// Gives columns that need more in later rows what room there is. The name of the thing makes room for them, as it goes on in the next line.
    fn widen(&mut self, needed: &[u16]) {
        let wanted = self.widths.iter().zip(needed).map(|(width, needed)| *width.max(needed)).collect();
        let mut least = self.widths.clone();
        if let Some(name) = least.first_mut() {
            *name = (*name).min(SHORTEST_NAME);
        }
        self.widths = narrowed(wanted, &least, self.room);
    }
}

impl Rows {
    /// Laid out for a person, where that is asked for.
    pub(super) fn new(terminal: bool, layout: Option<Layout>) -> Self {
        Rows { terminal, layout, ..Rows::default() }
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
        if !laid.alike.is_empty() {
            let alike: Vec<_> = laid.alike.iter().map(|(name, value)| format!("{} {value}", printable(name))).collect();
            text.push_str(&format!(", each with {}", alike.join(", ")));
        }
        let named = |columns: &[String]| columns.iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ");
        if !laid.left.is_empty() {
            text.push_str(&format!("; no room for {}", named(&laid.left)));
        }
        if !laid.late.is_empty() {
            text.push_str(&format!("; only rows behind the first {LAID_OUT} have {}", named(&laid.late)));
        }
        if !laid.left.is_empty() || !laid.late.is_empty() {
            text.push_str(if self.is_queried() { ": --query chooses" } else { ": --columns chooses" });
        }
        Ok(text + "\n")
    }

    fn single(&mut self, value: Value) -> Result<String> {
        if self.terminal
            && let Value::Object(members) = &value
        {
            // One thing is read from top to bottom.
            let names: Vec<String> = members.keys().map(|name| printable(name)).collect();
            let longest = names.iter().map(|name| width(name)).max().unwrap_or_default();
            let line = |(name, (member, value)): (&String, (&String, &Value))| {
                let blank = " ".repeat(usize::from(longest - width(name)) + 2);
                format!(" {name}{blank}{}", self.readable(value, member)).trim_end().to_owned() + "\n"
            };
            return Ok(names.iter().zip(members).map(line).collect());
        }
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
        let mut columns = columns(&self.rows);
        let is_for_people = self.layout.is_some();
        if self.layout.as_ref().is_none_or(|layout| layout.chosen) {
            let numbers = self.numbers(&columns);
            let mut table = self.table(&columns, true, &numbers, None);
            let room = table.width().filter(|width| is_for_people && *width >= NARROWEST);
            let widths = narrowed(table.column_max_content_widths(), &[], room);
            let (two_lines, alike, left, late) = (false, Vec::new(), Vec::new(), Vec::new());
            let laid = Laid { columns, widths, room, numbers, two_lines, alike, left, late };
            if more && laid.room.is_some() {
                laid.constrain(&mut table);
            }
            let text = lines(&table);
            return (laid, text);
        }
        // In the order of the row with the most members, whichever of them the first rows lack.
        let fullest = self.rows.iter().max_by_key(|row| row.as_object().map_or(0, |members| members.len()));
        let place = |name: &String| fullest.and_then(Value::as_object).and_then(|members| members.keys().position(|member| member == name));
        columns.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
        let (all, room) = self.candidates(columns);
        let needed = all.iter().map(|column| u32::from(width(&column.name).max(column.values)) + 2).sum::<u32>();
        let (mut all, mut alike) = (all, Vec::new());
        // Of rows that are still to come it is not known what they have.
        if !more && self.rows.len() >= ALIKE && room.is_some_and(|room| needed > u32::from(room)) {
            let first = all.first().map(|column| column.name.clone());
            all.retain(|column| {
                let shared = self.shared(&column.name).filter(|_| column.values <= SAID && Some(&column.name) != first.as_ref());
                alike.extend(shared.map(|value| (column.name.clone(), said(self.text(value, &column.name)))));
                shared.is_none()
            });
        }
        let Fit { columns, widths, left, two_lines } = fitted(&all, room);
        let numbers = self.numbers(&columns);
        let laid = Laid { columns, widths, room, numbers, two_lines, alike, left, late: Vec::new() };
        let mut table = self.table(&laid.columns, true, &laid.numbers, Some(&laid));
        if laid.room.is_some() {
            laid.constrain(&mut table);
        }
        let text = lines(&table);
        (laid, text)
    }

    /// The columns that a table may have, which are the first one and those with values, and how much room there is.
    fn candidates(&self, columns: Vec<String>) -> (Vec<Candidate>, Option<u16>) {
        let numbers = self.numbers(&columns);
        let all = self.table(&columns, false, &numbers, None);
        let room = all.width().filter(|width| *width >= NARROWEST);
        let widths = all.column_max_content_widths();
        let candidate = |(at, name): (usize, String)| Candidate {
            values: widths.get(at).copied().unwrap_or_default(),
            is_text: numbers.get(at) != Some(&true) && self.rows.iter().filter_map(|row| row.get(&name)).any(begins_with_sense),
            id: self.rows.iter().filter_map(|row| row.get(&name)).map(id_width).max().unwrap_or_default(),
            name,
        };
        let first = columns.first().cloned().unwrap_or_default();
        let is_shown = |(at, column): &(usize, String)| *at == 0 || self.has_values(column) && !self.is_named(column, &first);
        let with_values = columns.into_iter().enumerate().filter(is_shown);
        (with_values.map(candidate).collect(), room)
    }

    /// The value that all rows have in a column, if it is one.
    fn shared(&self, column: &str) -> Option<&Value> {
        let first = self.rows.first()?.get(column)?;
        self.rows.iter().all(|row| row.get(column) == Some(first)).then_some(first)
    }

    /// Rows behind those.
    fn next(&self, mut laid: Laid) -> (Laid, String) {
        let is_known = |column: &String| [&laid.columns, &laid.left, &laid.late].into_iter().any(|known| known.contains(column));
        let new: Vec<String> = columns(&self.rows).into_iter().filter(|column| !is_known(column)).collect();
        let mut header = false;
        if self.layout.is_some() {
            let first = laid.columns.first().cloned().unwrap_or_default();
            let is_chosen = self.layout.as_ref().is_some_and(|layout| layout.chosen);
            laid.late.extend(new.into_iter().filter(|column| self.has_values(column) && (is_chosen || !self.is_named(column, &first))));
        } else if !new.is_empty() {
            // Nothing of what goes into a pipe is left out: the table begins anew.
            header = true;
            laid.columns.extend(new);
            laid.widths.resize(laid.columns.len(), 1);
            laid.numbers.resize(laid.columns.len(), false);
        }
        let whole = self.table(&laid.columns, header, &laid.numbers, None);
        laid.widen(&whole.column_max_content_widths());
        let mut table = self.table(&laid.columns, header, &laid.numbers, Some(&laid));
        laid.constrain(&mut table);
        let text = lines(&table);
        (laid, text)
    }

    /// The rows that are held.
    fn table(&self, columns: &[String], header: bool, numbers: &[bool], laid: Option<&Laid>) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        let room = |at: usize| laid.filter(|laid| laid.room.is_some()).and_then(|laid| laid.widths.get(at)).copied().unwrap_or(LONGEST);
        if header && !self.is_of_names(columns) {
            let two_lines = laid.is_some_and(|laid| laid.two_lines);
            table.set_header(columns.iter().enumerate().map(|(at, name)| {
                let name = printable(name);
                // A column is as wide as its values, or as the longer line.
                if at > 0 && two_lines { heading(&name, room(at), true) } else { name }
            }));
        }
        let is_whole = |value: &Value, at: usize| match &self.layout {
            // What must not be cut: the name of the thing, a number, and what was chosen.
            Some(layout) => at == 0 || layout.chosen || value.is_number(),
            None => true,
        };
        for row in &self.rows {
            let cells = cells(columns, row).into_iter().zip(columns).enumerate();
            table.add_row(cells.map(|(at, (value, column))| {
                let value = if at == 0 { self.named(row, column).unwrap_or(value) } else { value };
                let text = self.text(value, column);
                if is_whole(value, at) { text } else { cut(text, room(at).min(LONGEST)) }
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

    /// Whether a person sees nothing but names, of volumes say: that they are values need not be said above them.
    fn is_of_names(&self, columns: &[String]) -> bool {
        self.layout.is_some() && matches!(columns, [one] if one == CSV_HEADER) && !self.rows.iter().any(Value::is_object)
    }

    /// Which columns of a table for people are of numbers.
    fn numbers(&self, columns: &[String]) -> Vec<bool> {
        let is_of_numbers = |column: &String| {
            let values = || self.rows.iter().filter_map(|row| row.get(column)).filter(|value| !value.is_null());
            self.layout.is_some() && values().next().is_some() && values().all(Value::is_number)
        };
        columns.iter().map(is_of_numbers).collect()
    }

    /// What a row is known by that has no member of the first column: by its own first member. Of what begins alike there is no key, but a prefix.
    fn named<'a>(&self, row: &'a Value, first: &str) -> Option<&'a Value> {
        self.layout.as_ref().filter(|layout| !layout.chosen && !layout.queried)?;
        let (name, value) = row.as_object().filter(|members| !members.contains_key(first))?.iter().next()?;
        (name != first).then_some(value)
    }

    /// Whether a column is only of such members, and stands in the first column already.
    fn is_named(&self, column: &str, first: &str) -> bool {
        let mut with_it = self.rows.iter().filter_map(|row| row.as_object()).filter(|members| members.contains_key(column)).peekable();
        !self.is_queried()
            && with_it.peek().is_some()
            && with_it.all(|members| !members.contains_key(first) && members.keys().next().is_some_and(|name| name == column))
    }

    fn is_queried(&self) -> bool {
        self.layout.as_ref().is_some_and(|layout| layout.queried)
    }

    fn has_values(&self, column: &str) -> bool {
        column == CSV_HEADER || self.rows.iter().any(|row| row.get(column).is_some_and(|value| !plain(value).is_empty()))
    }

    /// A value as it is shown, with nothing in it that a terminal obeys.
    fn text(&self, value: &Value, column: &str) -> String {
        if self.layout.is_some() { self.readable(value, column) } else { printable(&cell(value)) }
    }

    /// A value for a person.
    fn readable(&self, value: &Value, column: &str) -> String {
        let columns = self.layout.as_ref().map_or(&[][..], |layout| &layout.columns);
        let unit = columns.iter().find(|c| c.name == column).and_then(|c| c.unit);
        printable(&readable(value, unit).unwrap_or_else(|| plain(value)))
    }
}

/// A value in a sentence: in quotation marks where somebody who chose it could make it go on as the sentence does.
fn said(text: String) -> String {
    if text.contains([',', ';', '"']) { Value::String(text).to_string() } else { text }
}

/// Lines without what is blank at their ends.
fn lines(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
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

/// Whether the beginning of a value says something of it: not of an id, nor of JSON.
fn begins_with_sense(value: &Value) -> bool {
    match value {
        Value::String(text) => !is_id(text),
        Value::Array(items) if items.len() == 1 && items.iter().all(Value::is_string) => items.iter().all(begins_with_sense),
        Value::Array(_) | Value::Object(_) => !plain(value).starts_with(['[', '{']),
        _ => false,
    }
}

/// How much room an id takes that a value begins with, and a sign that more follows.
fn id_width(value: &Value) -> u16 {
    let (first, more) = match value {
        Value::Array(items) => (items.first(), items.len() > 1),
        value => (Some(value), false),
    };
    let id = first.and_then(Value::as_str).filter(|text| is_id(text)).map(|text| width(&printable(text)));
    let sign = if more { width(", …") } else { 0 };
    id.filter(|id| *id <= LONGEST_ID).map_or(0, |id| id + sign)
}

/// Whether a text is an id, or ends like one: with a long number of base 16, such as `vol-0123456789abcdef0` and `"d41d8cd98f00b204e9800998ecf8427e"`.
fn is_id(text: &str) -> bool {
    let last = text.trim_matches('"').rsplit('-').next().unwrap_or_default();
    last.len() >= 8 && last.bytes().all(|b| b.is_ascii_hexdigit()) && !text.contains(' ')
}

/// A value for a person: lists with commas, of things that have a name by that; what is made of members with the names of those that say something.
fn plain(value: &Value) -> String {
    let name = |item: &Value| item.get("Name").and_then(Value::as_str).map(str::to_owned);
    match value {
        Value::Array(items) if items.iter().all(Value::is_string) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Array(items) => match items.iter().map(name).collect::<Option<Vec<_>>>() {
            Some(names) => names.join(", "),
            None => cell(value),
        },
        Value::Object(members) => {
            let said = members.iter().map(|(name, value)| (name, plain(value))).filter(|(_, text)| !text.is_empty());
            said.map(|(name, text)| format!("{name} {text}")).collect::<Vec<_>>().join("; ")
        }
        value => cell(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What is printed of rows, each piece as it comes.
    fn printed(layout: Option<Layout>, rows: impl Iterator<Item = Value>) -> Vec<String> {
        let mut table = Rows::new(layout.is_some(), layout);
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
    fn what_all_rows_have_is_said_once_where_there_is_no_room_for_it() {
        let mut rows = Rows::new(true, Some(Layout::default()));
        rows.rows = (0..5).map(|n| json!({ "Id": n, "State": "available", "Name": "x".repeat(n) })).collect();
        assert_eq!(rows.shared("State"), Some(&json!("available")));
        assert_eq!((rows.shared("Name"), rows.shared("None")), (None, None));
    }

    #[test]
    fn ids_and_json_say_nothing_by_their_beginnings() {
        let id = "vol-0123456789abcdef0";
        for whole in
            [json!(id), json!([id]), json!("\"d41d8cd98f00b204e9800998ecf8427e\""), json!("1-5555-0123456789ab"), json!([{}]), json!(null)]
        {
            assert!(!begins_with_sense(&whole), "{whole}");
        }
        for text in
            [json!("data-logs-01"), json!("arn:aws:iam::123456789012:role/web"), json!([id, "vol-2"]), json!({ "a": "b" }), json!("日本語")]
        {
            assert!(begins_with_sense(&text), "{text}");
        }
    }

    #[test]
    fn an_id_that_a_list_begins_with_is_not_cut() {
        let mut rows = Rows::new(true, Some(Layout::default()));
        let ids = ["vol-0123456789abcdef0", "i-0123456789abcdef0"];
        rows.rows = vec![json!({ "UserName": "x".repeat(40), "Resources": ids, "EventName": "DetachVolume" })];
        let (all, _) = rows.candidates(columns(&rows.rows));
        let fit = fitted(&all, Some(66));
        let room = fit.widths.get(1).copied().unwrap_or_default();
        assert!(cut(plain(&json!(ids)), room).starts_with("vol-0123456789abcdef0, "), "{fit:?}");
    }

    #[test]
    fn a_row_without_the_name_of_the_others_is_known_by_its_own() {
        let rows = [json!({ "Prefix": "logs/" }), json!({ "Key": "a.txt", "Size": 3 })];
        let all = printed(Some(Layout::default()), rows.into_iter()).concat();
        assert_eq!(all, " Key    Size\n logs/\n a.txt     3\n2 rows\n");
        let folders = printed(Some(Layout::default()), [json!({ "Prefix": "logs/" })].into_iter()).concat();
        assert_eq!(folders, " Prefix\n logs/\n1 row\n");
    }

    #[test]
    fn names_alone_stand_below_nothing() {
        let names = || (1..=2).map(|n| json!(format!("vol-{n}")));
        for layout in [Layout::default(), Layout { queried: true, ..Layout::default() }] {
            assert_eq!(printed(Some(layout), names()).concat(), " vol-1\n vol-2\n2 rows\n");
        }
        // A member of that name is another thing, and whatever is read by a program has its column's name.
        assert_eq!(printed(Some(Layout::default()), [json!({ "value": 3 })].into_iter()).concat(), " value\n     3\n1 row\n");
        assert_eq!(printed(None, names()).concat(), " value\n vol-1\n vol-2\n");
    }

    #[test]
    fn what_a_query_makes_stands_below_its_own_names() {
        let rows = || [json!({ "a": 1 }), json!({ "b": 2 })].into_iter();
        let all = printed(Some(Layout { queried: true, ..Layout::default() }), rows()).concat();
        assert_eq!(all, " b  a\n    1\n 2\n2 rows\n");
    }

    #[test]
    fn columns_stand_in_the_order_of_the_fullest_row() {
        let rows = [json!({ "Id": 1, "Last": 2 }), json!({ "Id": 3, "Between": 4, "Last": 5 })];
        let all = printed(Some(Layout::default()), rows.into_iter()).concat();
        assert!(all.starts_with(" Id  Between  Last\n"), "{all}");
    }

    #[test]
    fn lists_and_what_has_members_are_shown_in_words() {
        assert_eq!(plain(&json!(["a", "b"])), "a, b");
        assert_eq!(plain(&json!([{ "Name": "PassRole", "Actions": ["iam:PassRole"] }, { "Name": "AddUser" }])), "PassRole, AddUser");
        assert_eq!(plain(&json!({ "Users": [], "Roles": ["worker", "web"], "Dry": false })), "Roles worker, web; Dry false");
        assert_eq!(plain(&json!([{ "Effect": "Allow" }])), r#"[{"Effect":"Allow"}]"#);
        assert_eq!(plain(&json!([])), "");
    }

    #[test]
    fn one_thing_is_read_from_top_to_bottom_on_a_terminal() {
        let thing = json!({ "Arn": "arn:aws:iam::1:user/a", "Account": "1", "Region": null, "When": "2026-01-31T10:20:30Z" });
        let shown = Rows::new(true, None).single(thing.clone()).expect("text");
        assert_eq!(shown, " Arn      arn:aws:iam::1:user/a\n Account  1\n Region\n When     2026-01-31 10:20\n");
        let piped = Rows::new(false, None).single(thing).expect("text");
        assert_eq!(piped.lines().count(), 2, "{piped}");
    }
}
