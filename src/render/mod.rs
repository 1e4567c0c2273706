//! Results on standard output, in the format asked for, and nothing else there; one file per format. Knows what a reply is, and no action.

mod csv;
mod escape;
mod fit;
mod json;
mod query;
mod shape;
mod table;
mod text;
mod units;
mod yaml;

use std::io::{self, Write};

use futures::{FutureExt, StreamExt};
use serde_json::Value;

use crate::engine::action::{Collected, Reply};
use crate::model::cancellation::{CancelReason, Cancellation};
use crate::model::error::{Error, Result};
pub use escape::{json as printable_json, printable};
use query::Query;
pub use shape::{Column, Shape, Wanted};
pub use table::Layout;

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

    /// What writes it, to a terminal or not.
    fn writer(self, terminal: bool, layout: Option<Layout>) -> Box<dyn Writer> {
        match self {
            Format::Json => Box::new(json::Json::new(terminal)),
            Format::Jsonl => Box::new(json::Jsonl { terminal }),
            Format::Table => Box::new(table::Rows::new(terminal, layout)),
            Format::Csv => Box::new(csv::Rows::new(terminal)),
            Format::Yaml => Box::<yaml::Yaml>::default(),
            Format::Text => Box::new(text::Text { terminal }),
        }
    }
}

/// Writes one format: a list row by row, or one value.
trait Writer: Send {
    /// The next row of a list.
    fn row(&mut self, value: Value) -> Result<String>;
    /// What stands behind the last row; of a list without rows, all of it.
    fn end(&mut self) -> Result<String>;
    /// A value that is no list.
    fn single(&mut self, value: Value) -> Result<String>;
}

/// Writes while something else that is drawn on the terminal is away.
pub type Aside<'a> = &'a (dyn Fn(&mut dyn FnMut()) + Send + Sync);

/// Writes with that.
fn apart(aside: Aside<'_>, write: impl FnOnce() -> Result<()>) -> Result<()> {
    let (mut write, mut written) = (Some(write), Ok(()));
    aside(&mut || {
        if let Some(write) = write.take() {
            written = write();
        }
    });
    written
}

/// So many bytes are written at once: what a pipe holds (Linux, pipe(7)).
const FULL: usize = 1 << 16;

/// Writes one reply.
pub struct Printer<'a> {
    writer: Box<dyn Writer>,
    query: Option<Query>,
    out: Box<dyn Write + Send + 'a>,
    written: bool,
    /// What is not written yet: much at once, as it takes what is drawn beside it away each time.
    pending: String,
    closed: bool,
    /// No format and no query was asked for: text is not made a JSON string.
    as_it_stands: bool,
}

impl<'a> Printer<'a> {
    /// To `out`, which is a terminal or not.
    pub fn new(format: Option<Format>, query: Option<&str>, out: impl Write + Send + 'a, terminal: bool) -> Result<Self> {
        Self::laid_out(format, query, out, terminal, None)
    }

    /// The same, where tables have a layout.
    pub fn laid_out(
        format: Option<Format>,
        query: Option<&str>,
        out: impl Write + Send + 'a,
        terminal: bool,
        layout: Option<Layout>,
    ) -> Result<Self> {
        let query = query.map(Query::compile).transpose()?;
        let as_it_stands = format.is_none() && query.is_none();
        let writer = format.unwrap_or(Format::Json).writer(terminal, layout);
        Ok(Printer { writer, query, out: Box::new(out), written: false, pending: String::new(), closed: false, as_it_stands })
    }

    /// Writes all of a reply. An error in the middle leaves what was written whole: lists are closed.
    pub async fn print(&mut self, reply: Reply, changes: bool, cancellation: &Cancellation, aside: Aside<'_>) -> Result<()> {
        match reply {
            Reply::Items(items) if self.query.is_none() => {
                let failed = self.stream(items, changes, cancellation, aside).await;
                // An output that did not come about is nothing at all, not an empty list.
                if (failed.is_ok() || self.written) && !self.closed {
                    apart(aside, || {
                        let end = self.writer.end()?;
                        self.pending.push_str(&end);
                        self.flush()
                    })?;
                }
                failed
            }
            Reply::Items(_) => {
                let collected = reply.collect().await;
                apart(aside, || self.queried(collected, changes, cancellation))
            }
            Reply::Value(value) => apart(aside, || self.value(value)),
            Reply::Text(text) if self.as_it_stands => apart(aside, || {
                self.pending.push_str(&text);
                self.flush()
            }),
            Reply::Text(text) => apart(aside, || self.value(Value::String(text))),
        }
    }

    /// A query sees the whole; only then is a list held in memory.
    fn queried(&mut self, Collected { value, error }: Collected, changes: bool, cancellation: &Cancellation) -> Result<()> {
        let nothing = value.as_array().is_some_and(Vec::is_empty);
        let error = error.or_else(|| cancellation.error().filter(|_| !changes));
        if let Some(error) = error {
            // Half a list would give an answer that looks right. What was changed was changed, and is said.
            if changes && !nothing {
                self.query = None;
                self.value(value)?;
            }
            return Err(error);
        }
        let wrong = self.query.as_ref().and_then(|query| query.search(&value).err());
        if let Some(wrong) = wrong.filter(|_| changes) {
            // What failed of it must not be lost to a slip in the query.
            self.query = None;
            self.value(value)?;
            return Err(wrong);
        }
        self.value(value)
    }

    async fn stream(
        &mut self,
        mut items: futures::stream::BoxStream<'static, Result<Value>>,
        changes: bool,
        cancellation: &Cancellation,
        aside: Aside<'_>,
    ) -> Result<()> {
        let mut failed = None;
        loop {
            let item = match items.next().now_or_never() {
                Some(item) => item,
                None => {
                    // Nothing is ready: whoever reads gets what there is.
                    failed = failed.or(self.give_out(aside));
                    items.next().await
                }
            };
            let Some(item) = item else { break };
            match item {
                Ok(value) if !self.closed => match self.row(value) {
                    Ok(()) if self.pending.len() >= FULL => failed = failed.or(self.give_out(aside)),
                    Ok(()) => {}
                    Err(e) => {
                        failed = failed.or(self.give_out(aside)).or(Some(e));
                        self.closed = true;
                    }
                },
                Ok(_) => {}
                // The first error counts; what is in flight is still settled.
                Err(e) => failed = failed.or(Some(e)),
            }
            // Nobody reads any more; a change that has begun is still brought to its end.
            if self.closed && !changes {
                cancellation.cancel(CancelReason::OutputClosed);
                break;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Writes what is held. An error is given back, and ends all writing.
    fn give_out(&mut self, aside: Aside<'_>) -> Option<Error> {
        if self.pending.is_empty() {
            return None;
        }
        let failed = apart(aside, || self.flush()).err();
        self.closed |= failed.is_some();
        failed
    }

    /// Writes one whole value; a list is written row by row.
    pub fn value(&mut self, value: Value) -> Result<()> {
        let value = match &self.query {
            Some(query) => query.search(&value)?,
            None => value,
        };
        match value {
            Value::Array(rows) => {
                for row in rows {
                    if let Err(e) = self.row(row) {
                        self.flush()?;
                        return Err(e);
                    }
                    if self.pending.len() >= FULL {
                        self.flush()?;
                    }
                }
                let end = self.writer.end()?;
                self.pending.push_str(&end);
            }
            value => {
                let text = self.writer.single(value)?;
                self.pending.push_str(&text);
            }
        }
        self.flush()
    }

    fn row(&mut self, value: Value) -> Result<()> {
        let text = self.writer.row(value)?;
        self.written = true;
        self.pending.push_str(&text);
        Ok(())
    }

    /// Writes what is held, unless nobody reads any more.
    fn flush(&mut self) -> Result<()> {
        let written = match self.closed {
            true => Ok(()),
            false => self.out.write_all(self.pending.as_bytes()).and_then(|()| self.out.flush()),
        };
        self.pending.clear();
        self.ignore_broken_pipe(written)
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
    fn cells_and_headers_are_no_formulas_and_do_nothing_to_a_terminal() {
        let rows = json!([{"=1+1": "=\u{1b}[31m", "a\u{9b}": "-2"}]);
        assert_eq!(print(Format::Csv, None, false, rows.clone()), "'=1+1,a\u{9b}\n'=\u{1b}[31m,'-2\n");
        let others = json!([{"+1": "@SUM(A1)", "@x": "+2"}, {"+1": "a+b@c", "@x": -3}]);
        assert_eq!(print(Format::Csv, None, false, others), "'+1,'@x\n'@SUM(A1),'+2\na+b@c,-3\n");
        for format in [Format::Csv, Format::Table] {
            let shown = print(format, None, true, rows.clone());
            assert!(!shown.contains(['\u{1b}', '\u{9b}']), "{shown:?}");
        }
    }

    /// All that a format of lists might take for something else, by itself and next to all the others.
    fn awkward() -> Vec<String> {
        let pieces = [
            "\"",
            "'",
            "[",
            "]",
            "{",
            "}",
            "[1]",
            "[\"x\"]",
            "{\"Key\":1}",
            "\n",
            "\r",
            "\t",
            "\0",
            "\u{1b}",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{202e}",
            "\u{feff}",
            "\u{fffe}",
            "\u{e0041}",
            " ",
            "\u{a0}",
            "- ",
            "-",
            "---",
            "...",
            "value",
            "Key,Size",
            "Key  Size",
            "item,status",
            "yes",
            "null",
            "~",
            "1e3",
            "12:30",
            ":",
            ": ",
            "#",
            ",",
            "\\",
            "\\n",
            "@",
            "&",
            "*",
            "!",
            "|",
            ">",
            "%",
            "`",
            "=",
            "/",
            "a",
            "日",
            "🦀",
        ];
        pieces.iter().flat_map(|one| pieces.iter().map(move |other| format!("{one}{other}")).chain([(*one).to_owned()])).collect()
    }

    #[test]
    fn a_list_flag_reads_back_exactly_what_was_printed() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |text: String| {
            let file = folder.path().join("list");
            std::fs::write(&file, &text).expect("written");
            let naming = crate::input::Naming::of("objects", &Value::Null);
            let mut spool = crate::input::Spool::new("objects").with_naming(naming);
            let filled = spool.fill(&crate::input::Source::File(file), crate::input::Elements::Text);
            filled.and_then(|()| spool.into_values()).map(Value::from).unwrap_or_else(|e| panic!("{e}: {text:?}"))
        };
        let names = awkward();
        for format in [Format::Json, Format::Jsonl, Format::Yaml, Format::Text] {
            for terminal in [false, true] {
                let all = json!(names);
                assert_eq!(read(print(format, None, terminal, all.clone())), all, "{format:?}");
            }
            // As the first of a list a name decides what the list is taken for.
            for name in &names {
                let list = json!([name, "last"]);
                assert_eq!(read(print(format, None, false, list.clone())), list, "{format:?}");
            }
        }
    }

    #[test]
    fn a_query_sees_the_whole() {
        assert_eq!(print(Format::Json, Some("length(@)"), false, json!(["a", "b"])), "2\n");
        assert!(Printer::new(None, Some("[["), Vec::new(), false).is_err());
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(print(Format::Text, None, true, json!(["a\u{1b}[31m"])), "\"a\\u001b[31m\"\n");
        assert_eq!(print(Format::Table, None, true, json!(["a\u{1b}[31m"])), " value\n a\\u{1b}[31m\n");
        assert_eq!(print(Format::Json, None, true, json!("a\u{9b}\u{202e}")), "\"a\\u009b\\u202e\"\n");
    }
}
