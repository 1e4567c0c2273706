//! Results on standard output, in the format asked for, and nothing else there.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use futures::{FutureExt, StreamExt};
use serde_json::Value;

use crate::engine::action::Reply;
use crate::engine::progress::Progress;
use crate::model::cancellation::{CancelReason, Cancellation};
use crate::model::error::{Error, Result};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Indented on a terminal, one line in a pipe.
    Json,
    /// One item a line.
    Jsonl,
    /// For people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// YAML.
    Yaml,
    /// Values only, one item a line, tabs between the values of one.
    Text,
}

impl Format {
    /// All, by name.
    pub const ALL: &[(&str, Format, &str)] = &[
        ("json", Format::Json, "indented on a terminal, one line in a pipe"),
        ("jsonl", Format::Jsonl, "one item a line"),
        ("table", Format::Table, "for people"),
        ("csv", Format::Csv, "comma-separated values with a header"),
        ("yaml", Format::Yaml, "YAML"),
        ("text", Format::Text, "values only, tabs between them"),
    ];

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, ..)| *n == name).map(|(_, format, _)| *format)
    }
}

/// The longest query that is taken, in bytes.
const LONGEST_QUERY: usize = 8192;

/// The most brackets and prefix operators of a query.
const DEEPEST_QUERY: usize = 256;

/// Writes one reply.
pub struct Printer<'a> {
    format: Format,
    query: Option<jmespath::Expression<'static>>,
    out: Box<dyn Write + Send + 'a>,
    indent: bool,
    /// On a terminal, control characters in names must not reach it.
    terminal: bool,
    written: u64,
    /// Rows of the formats that need to see all of them first.
    rows: Vec<Value>,
    closed: bool,
    /// No format and no query was asked for: text is not made a JSON string.
    as_it_stands: bool,
}

impl<'a> Printer<'a> {
    /// To `out`, which is a terminal or not.
    pub fn new(format: Option<Format>, query: Option<&str>, out: impl Write + Send + 'a, terminal: bool) -> Result<Self> {
        let query = query.map(compile).transpose()?;
        let out = Box::new(io::BufWriter::with_capacity(1 << 16, out));
        let as_it_stands = format.is_none() && query.is_none();
        let format = format.unwrap_or(Format::Json);
        Ok(Printer { as_it_stands, format, query, out, indent: terminal, terminal, written: 0, rows: Vec::new(), closed: false })
    }

    /// Writes all of a reply. An error in the middle leaves what was written whole: JSON lists are closed.
    pub async fn print(&mut self, reply: Reply, changes: bool, stop: &Cancellation, progress: &Progress) -> Result<()> {
        let failed = match reply {
            Reply::Items(items) if self.query.is_none() => self.stream(items, changes, stop, progress).await.err(),
            Reply::Items(_) => {
                // A query sees the whole; only then is a list held in memory.
                let value = reply.into_value().await?;
                if let Some(e) = stop.error().filter(|_| !changes) {
                    // Half a list would give an answer that looks right.
                    return Err(e);
                }
                let wrong = self.query.as_ref().and_then(|query| search(query, &value).err());
                if let Some(e) = wrong.filter(|_| changes) {
                    // What was changed was changed: what failed of it must not be lost to a slip in the query.
                    self.query = None;
                    self.value(value)?;
                    return Err(e);
                }
                return self.value(value);
            }
            Reply::Value(value) => return self.value(value),
            Reply::Text(text) if self.as_it_stands => {
                self.write(&text)?;
                return self.flush();
            }
            Reply::Text(text) => return self.value(Value::String(text)),
        };
        if let Some(e) = failed {
            if self.written > 0 && !self.closed {
                self.end_list()?;
            }
            return Err(e);
        }
        self.end_list()
    }

    async fn stream(
        &mut self,
        mut items: futures::stream::BoxStream<'static, Result<Value>>,
        changes: bool,
        stop: &Cancellation,
        progress: &Progress,
    ) -> Result<()> {
        let mut failed = None;
        loop {
            let item = match items.next().now_or_never() {
                Some(item) => item,
                None => {
                    // Nothing is ready: whoever reads gets what there is, rather than wait until 64 KiB are full.
                    if let Err(e) = self.flush() {
                        failed = failed.or(Some(e));
                        self.closed = true;
                    }
                    items.next().await
                }
            };
            let Some(item) = item else { break };
            match item {
                Ok(value) if !self.closed => {
                    if let Err(e) = progress.aside(|| self.item(value)) {
                        failed = failed.or(Some(e));
                        self.closed = true;
                    }
                }
                Ok(_) => {}
                // The first error counts; what is in flight is still settled.
                Err(e) => failed = failed.or(Some(e)),
            }
            // Nobody reads any more; a change that has begun is still brought to its end.
            if self.closed && !changes {
                stop.cancel(CancelReason::OutputClosed);
                break;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Writes one whole value; a list is written item by item.
    pub fn value(&mut self, value: Value) -> Result<()> {
        let value = match &self.query {
            Some(query) => search(query, &value)?,
            None => value,
        };
        match value {
            Value::Array(items) => {
                for item in items {
                    self.item(item)?;
                }
                self.end_list()
            }
            value => self.single(&value),
        }
    }

    fn item(&mut self, value: Value) -> Result<()> {
        let first = self.written == 0;
        self.written += 1;
        match self.format {
            Format::Json => {
                let text = self.json(&value);
                let (start, text) = match (self.indent, first) {
                    (true, true) => ("[\n  ", text.replace('\n', "\n  ")),
                    (true, false) => (",\n  ", text.replace('\n', "\n  ")),
                    (false, true) => ("[", text),
                    (false, false) => (",", text),
                };
                self.write(start)?;
                self.write(&text)
            }
            Format::Jsonl => {
                let line = value.to_string();
                self.write(&line)?;
                self.write("\n")
            }
            Format::Yaml => {
                let text = yaml(&Value::Array(vec![value]))?;
                self.write(&text)
            }
            Format::Text => {
                let line = self.text_line(&value);
                self.write(&line)
            }
            Format::Table | Format::Csv => {
                self.rows.push(value);
                Ok(())
            }
        }
    }

    fn end_list(&mut self) -> Result<()> {
        match self.format {
            Format::Json if self.written == 0 => self.write("[]\n")?,
            Format::Json if self.indent => self.write("\n]\n")?,
            Format::Json => self.write("]\n")?,
            Format::Yaml if self.written == 0 => self.write("[]\n")?,
            Format::Table => self.table()?,
            Format::Csv => self.csv()?,
            Format::Jsonl | Format::Yaml | Format::Text => {}
        }
        self.flush()
    }

    fn single(&mut self, value: &Value) -> Result<()> {
        match self.format {
            Format::Json => {
                let text = self.json(value);
                self.write(&text)?;
                self.write("\n")?;
            }
            Format::Jsonl => {
                let line = value.to_string();
                self.write(&line)?;
                self.write("\n")?;
            }
            Format::Yaml => {
                let text = yaml(value)?;
                self.write(&text)?;
            }
            Format::Text => {
                let line = self.text_line(value);
                self.write(&line)?;
            }
            Format::Table | Format::Csv => {
                self.rows.push(value.clone());
                if self.format == Format::Table { self.table()? } else { self.csv()? }
            }
        }
        self.flush()
    }

    fn json(&self, value: &Value) -> String {
        if self.indent { format!("{value:#}") } else { value.to_string() }
    }

    fn text_line(&self, value: &Value) -> String {
        let cells: Vec<_> = match value {
            Value::Object(members) => members.values().map(|v| self.cell(v)).collect(),
            Value::Array(items) => items.iter().map(|v| self.cell(v)).collect(),
            other => vec![self.cell(other)],
        };
        cells.join("\t") + "\n"
    }

    /// One value in a cell: strings bare, the rest as JSON.
    fn cell(&self, value: &Value) -> String {
        match value {
            Value::Null => String::new(),
            Value::String(text) if self.terminal => printable(text),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// Names of the columns, in the order in which rows first have them; rows that are no objects have one, `value`.
    fn columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        for row in &self.rows {
            match row {
                Value::Object(members) => {
                    let new: Vec<_> = members.keys().filter(|k| !columns.contains(k)).cloned().collect();
                    columns.extend(new);
                }
                _ if !columns.iter().any(|c| c == "value") => columns.push("value".into()),
                _ => {}
            }
        }
        columns
    }

    fn cells(&self, columns: &[String], row: &Value) -> Vec<String> {
        match row {
            Value::Object(members) => columns.iter().map(|c| members.get(c).map(|v| self.cell(v)).unwrap_or_default()).collect(),
            other => columns.iter().map(|c| if c == "value" { self.cell(other) } else { String::new() }).collect(),
        }
    }

    fn table(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let columns = self.columns();
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(&columns);
        for row in &self.rows {
            table.add_row(self.cells(&columns, row).iter().map(|c| printable(c)));
        }
        let lines: Vec<_> = table.lines().map(|l| l.trim_end().to_owned()).collect();
        self.write(&(lines.join("\n") + "\n"))
    }

    fn csv(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let columns = self.columns();
        let broken = |e: csv::Error| Error::io("write CSV", io::Error::other(e));
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&columns).map_err(broken)?;
        for row in &self.rows {
            writer.write_record(self.cells(&columns, row)).map_err(broken)?;
        }
        let bytes = writer.into_inner().map_err(|e| Error::io("write CSV", io::Error::other(e.to_string())))?;
        self.write(&String::from_utf8_lossy(&bytes))
    }

    fn write(&mut self, text: &str) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let written = self.out.write_all(text.as_bytes());
        self.ignore_broken_pipe(written)
    }

    fn flush(&mut self) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.ignore_broken_pipe(flushed)
    }

    /// A reader that went away, as `head` does, is no error.
    fn ignore_broken_pipe(&mut self, result: io::Result<()>) -> Result<()> {
        match result {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other.map_err(|e| Error::io("write to standard output", e)),
        }
    }
}

/// Control characters as escapes: a key may hold any of them, and a terminal obeys.
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

fn yaml(value: &Value) -> Result<String> {
    serde_yaml_ng::to_string(value).map_err(|e| Error::Failed(format!("the output cannot be written as YAML: {e}")))
}

/// Checked before anything runs.
fn compile(query: &str) -> Result<jmespath::Expression<'static>> {
    // The parser recurses: what is nested very deep would end the process.
    let nests = query.bytes().filter(|b| b"[({!&".contains(b)).count();
    if query.len() > LONGEST_QUERY || nests > DEEPEST_QUERY {
        return Err(Error::field("query", "`query` is longer, or nested deeper, than any real one"));
    }
    jmespath::compile(query).map_err(|e| {
        let text = e.to_string();
        Error::field("query", format!("`query` is not JMESPath: {}", text.lines().next().unwrap_or_default()))
    })
}

fn search(query: &jmespath::Expression<'static>, value: &Value) -> Result<Value> {
    let found =
        query.search(value).map_err(|e| Error::Failed(format!("`query` does not fit the result: {}", e.to_string().replace('\n', " "))))?;
    crate::engine::action::to_value(&found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn print(format: Format, query: Option<&str>, terminal: bool, value: Value) -> String {
        let mut bytes = Vec::new();
        Printer::new(Some(format), query, &mut bytes, terminal).expect("a query").value(value).expect("written");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn json_is_one_line_in_a_pipe_and_indented_on_a_terminal() {
        assert_eq!(print(Format::Json, None, false, json!(["a", {"b": 1}])), "[\"a\",{\"b\":1}]\n");
        assert_eq!(print(Format::Json, None, true, json!(["a", {"b": 1}])), "[\n  \"a\",\n  {\n    \"b\": 1\n  }\n]\n");
        assert_eq!(print(Format::Json, None, true, json!([])), "[]\n");
        assert_eq!(print(Format::Json, None, false, json!(null)), "null\n");
    }

    #[test]
    fn rows_may_differ_in_their_members() {
        let rows = json!([{"a": 1}, {"a": "x,y", "b": [2]}, "z"]);
        assert_eq!(print(Format::Csv, None, false, rows.clone()), "a,b,value\n1,,\n\"x,y\",[2],\n,,z\n");
        assert_eq!(print(Format::Text, None, false, rows), "1\nx,y\t[2]\nz\n");
        assert_eq!(print(Format::Yaml, None, false, json!([{"a": 1}, "z"])), "- a: 1\n- z\n");
    }

    #[test]
    fn a_query_sees_the_whole() {
        assert_eq!(print(Format::Json, Some("length(@)"), false, json!(["a", "b"])), "2\n");
        assert!(Printer::new(None, Some("[["), Vec::new(), false).is_err());
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(print(Format::Text, None, true, json!(["a\u{1b}[31m"])), "a\\u{1b}[31m\n");
        assert_eq!(print(Format::Text, None, false, json!(["a\u{1b}"])), "a\u{1b}\n");
    }
}
