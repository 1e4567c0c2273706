//! Lists from files and standard input: JSON arrays, JSON Lines, YAML, plain lines or names between NUL characters, told apart by content.
//!
//! What is read goes to a [`Spool`] item by item, so that all of it is checked before anything is sent, in memory that does not grow.

#[cfg(any(test, fuzzing))]
pub mod fuzz;

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::Value;

use super::json::{self, Strict};
use super::naming::{Naming, may_be_header};
use super::spool::Spool;
use crate::model::error::{Error, Result};

/// The most bytes of a text that is read whole. Lists that are longer than that are better given to the flag of the list.
const LONGEST_TEXT: u64 = 256 << 20;

/// How much of the start is looked at to tell the formats apart.
const PEEK: u64 = 4096;

/// Some programs of Windows begin UTF-8 text with it.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// Where a list comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `-`
    Stdin,
    /// `@file`, relative to where the command runs.
    File(PathBuf),
}

impl Source {
    /// `-` and `@file` are sources, anything else is a value.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('@') {
            _ if text == "-" => Some(Source::Stdin),
            Some(path) if !path.starts_with('@') => Some(Source::File(path.into())),
            _ => None,
        }
    }

    /// Opens it for reading from the start.
    pub fn open(&self, field: &str) -> Result<Box<dyn Read>> {
        match self {
            Source::Stdin => Ok(Box::new(io::stdin().lock())),
            Source::File(path) => match File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(e) => Err(Error::field(field, format!("`{field}`: cannot read the file `{}`: {e}", path.display()))),
            },
        }
    }

    /// The whole text of it.
    pub fn read_to_string(&self, field: &str) -> Result<String> {
        let mut bytes = Vec::new();
        let mut text = self.open(field)?.take(LONGEST_TEXT + 1);
        text.read_to_end(&mut bytes).map_err(|e| Error::field(field, format!("`{field}`: cannot read {self}: {e}")))?;
        if bytes.len() as u64 > LONGEST_TEXT {
            return Err(Error::field(field, format!("`{field}`: {self} has more than {} MiB", LONGEST_TEXT >> 20)));
        }
        if bytes.starts_with(BOM) {
            bytes.drain(..BOM.len());
        }
        String::from_utf8(bytes).map_err(|_| Error::field(field, format!("`{field}`: {self} is not UTF-8 text")))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Stdin => f.write_str("standard input"),
            Source::File(path) => write!(f, "the file `{}`", path.display()),
        }
    }
}

/// What the elements of a list are, which decides what a line may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elements {
    /// Strings: a line is one, as it stands or as a JSON string.
    Text,
    /// Anything else: a line is JSON.
    Json,
}

impl Spool {
    /// Adds all that a source holds.
    pub fn fill(&mut self, source: &Source, elements: Elements) -> Result<()> {
        let reader = source.open(self.field())?;
        let read = self.read_from(reader, elements).and_then(|()| self.keep().map_err(Problem::Ours));
        read.map_err(|problem| match problem {
            Problem::Ours(e) => e,
            Problem::Theirs(what) => Error::field(self.field(), format!("`{}`: {source}: {what}", self.field())),
        })
    }

    fn read_from(&mut self, mut reader: impl Read, elements: Elements) -> Result<(), Problem> {
        let mut start = Vec::new();
        reader.by_ref().take(PEEK).read_to_end(&mut start)?;
        if start.starts_with(BOM) {
            start.drain(..BOM.len());
        }
        let form = Form::of(&start, elements, &self.naming);
        let reader = BufReader::with_capacity(1 << 16, Cursor::new(start).chain(reader));
        match form {
            Form::Json => self.read_json(reader, elements),
            Form::Yaml => self.read_yaml(reader, elements),
            Form::Lines(end) => self.read_lines(reader, elements, end),
            Form::ForPeople => Err(Problem::Theirs(
                "is what --output csv or table printed, or text with several members in a line: use json, jsonl or yaml; a name that looks like that goes in quotes"
                    .into(),
            )),
        }
    }

    /// Adds an element that was read as JSON or YAML, where it is an object what that stands for.
    fn add(&mut self, value: Value, elements: Elements, place: impl FnOnce(u64) -> String) -> Result<(), Problem> {
        let value = match value {
            Value::Object(object) if elements == Elements::Text => {
                let place = place(self.len() + 1);
                self.naming.element(object).map_err(|what| Problem::Theirs(format!("{place} {what}")))?
            }
            value => value,
        };
        self.push(&value).map_err(Problem::Ours)
    }

    /// JSON arrays; more than one after another is what `cat` makes of two files. Objects between them are elements, too.
    fn read_json(&mut self, mut reader: impl BufRead, elements: Elements) -> Result<(), Problem> {
        struct Array<'a> {
            spool: &'a mut Spool,
            elements: Elements,
            taken: &'a Cell<u64>,
        }

        impl<'de> Visitor<'de> for Array<'_> {
            type Value = Option<Problem>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut failed = None;
                while let Some(Strict(value)) = seq.next_element()? {
                    self.taken.set(0);
                    if failed.is_none() {
                        failed = self.spool.add(value, self.elements, |number| format!("item {number}")).err();
                    }
                }
                Ok(failed)
            }
        }

        let taken = Cell::new(0);
        while let Some(first) = skip_space(&mut reader)? {
            let mut json = serde_json::Deserializer::from_reader(Limited { reader: &mut reader, taken: &taken });
            let read = match first {
                b'[' => json.deserialize_seq(Array { spool: self, elements, taken: &taken }),
                b'{' => {
                    Strict::deserialize(&mut json).map(|Strict(value)| self.add(value, elements, |number| format!("item {number}")).err())
                }
                _ => return Err(Problem::Theirs("has something behind a JSON array that is neither an array nor an object".into())),
            };
            match read {
                Ok(None) => taken.set(0),
                Ok(Some(problem)) => return Err(problem),
                Err(_) if taken.get() > LONGEST_ELEMENT => return Err(Problem::Theirs(too_long())),
                Err(e) if e.is_data() => return Err(Problem::Theirs(format!("item {} {}", self.len() + 1, json::predicate(&e)))),
                Err(e) if e.is_io() => return Err(Problem::Theirs(format!("cannot be read: {e}"))),
                Err(e) => return Err(Problem::Theirs(format!("not a whole JSON array: {e}"))),
            }
        }
        Ok(())
    }

    /// A YAML list, as `--output yaml` writes it: each element begins with a dash in the first column.
    fn read_yaml(&mut self, mut reader: impl BufRead, elements: Elements) -> Result<(), Problem> {
        let (mut element, mut bytes) = (String::new(), Vec::new());
        let mut number: u64 = 0;
        loop {
            let more = read_part(&mut reader, b'\n', &mut bytes)?;
            number += u64::from(more);
            let line = std::str::from_utf8(&bytes).map_err(|_| Problem::Theirs(format!("line {number} is not UTF-8")))?;
            let begins = line.starts_with("- ") || line.trim_end() == "-";
            if (begins || !more) && !element.is_empty() {
                let list: Vec<Strict> = serde_yaml_ng::from_str(&element)
                    .map_err(|e| Problem::Theirs(format!("the YAML before line {number} cannot be read: {e}")))?;
                for Strict(value) in list {
                    self.add(value, elements, |number| format!("item {number}"))?;
                }
                element.clear();
            }
            if !more {
                return Ok(());
            }
            if element.is_empty() && !begins && !line.trim().is_empty() && line.trim_end() != "---" {
                return Err(Problem::Theirs(format!("line {number} is no element of the YAML list that it began as")));
            }
            if begins || !element.is_empty() {
                element.push_str(line);
            }
            if element.len() as u64 > LONGEST_ELEMENT {
                return Err(Problem::Theirs(too_long()));
            }
        }
    }

    /// A line an element; or what stands between NUL characters, as `find -print0` separates names.
    fn read_lines(&mut self, mut reader: impl BufRead, elements: Elements, end: u8) -> Result<(), Problem> {
        let mut bytes = Vec::new();
        for number in 1_u64.. {
            if !read_part(&mut reader, end, &mut bytes)? {
                break;
            }
            let line = std::str::from_utf8(&bytes).map_err(|_| Problem::Theirs(format!("line {number} is not UTF-8")))?;
            let line = line.strip_suffix(char::from(end)).unwrap_or(line);
            if end == 0 {
                if !line.is_empty() {
                    self.push(&Value::String(line.to_owned())).map_err(Problem::Ours)?;
                }
                continue;
            }
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.trim().is_empty() {
                continue;
            }
            let value = line_value(line, elements).map_err(|what| Problem::Theirs(format!("line {number} {what}")))?;
            self.add(value, elements, |_| format!("line {number}"))?;
        }
        Ok(())
    }
}

/// What ends the reading of a list: the list, or our own temporary file.
enum Problem {
    Theirs(String),
    Ours(Error),
}

impl From<io::Error> for Problem {
    fn from(e: io::Error) -> Self {
        Problem::Theirs(format!("cannot be read: {e}"))
    }
}

/// How a list is written, told by its start.
enum Form {
    /// Arrays, or objects that take more than a line each.
    Json,
    Yaml,
    /// Elements that end with this byte.
    Lines(u8),
    /// A table, or CSV: what stands in it cannot be told from what it says of itself.
    ForPeople,
}

/// The header that CSV and tables have for values that are no objects.
pub const CSV_HEADER: &str = "value";

/// The longest element of a list: an object's key has 1,024 bytes, and what an element has beside it is no larger by far.
const LONGEST_ELEMENT: u64 = 16 << 20;

impl Form {
    fn of(start: &[u8], elements: Elements, naming: &Naming) -> Self {
        let line = start.split(|b| *b == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
        if is_array(start, elements) || line.trim_ascii() == b"{" {
            Form::Json
        } else if elements == Elements::Text && start.contains(&0) {
            Form::Lines(0)
        } else if line.starts_with(b"- ") || line.trim_ascii_end() == b"-" || line.trim_ascii_end() == b"---" {
            Form::Yaml
        } else if elements == Elements::Text && (is_header(line, naming) || is_row(line)) {
            Form::ForPeople
        } else {
            Form::Lines(b'\n')
        }
    }
}

/// Whether a line is the header of values that are no objects, or of the things that the list is of.
fn is_header(line: &[u8], naming: &Naming) -> bool {
    line.trim_ascii() == CSV_HEADER.as_bytes() || std::str::from_utf8(line).is_ok_and(|line| naming.is_header(line))
}

/// Whether a line is a row of the text format, which has a tab between its members: it names several things. A name with a tab is written in quotes.
fn is_row(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.contains(&b'\t') && !line.starts_with(b"\"")
}

/// Whether a line that holds nothing but this text is read as just this text, whatever stands around it. What writes lines quotes the others, as JSON.
pub fn line_is_exact(text: &str, elements: Elements) -> bool {
    let begins_otherwise = text.starts_with(['[', '{', '"', '\u{feff}'])
        || text.starts_with("- ")
        || matches!(text, "-" | "---" | CSV_HEADER)
        || may_be_header(text);
    elements == Elements::Text && !text.is_empty() && text.trim() == text && !begins_otherwise && !text.contains(['\n', '\r', '\t', '\0'])
}

/// Reads up to and with the next `end`; `false` at the end of all. What has none is not read into memory without limit.
fn read_part(reader: &mut impl BufRead, end: u8, bytes: &mut Vec<u8>) -> Result<bool, Problem> {
    bytes.clear();
    let read = reader.by_ref().take(LONGEST_ELEMENT).read_until(end, bytes)?;
    if read as u64 == LONGEST_ELEMENT && !bytes.ends_with(&[end]) {
        return Err(Problem::Theirs(too_long()));
    }
    Ok(read > 0)
}

fn too_long() -> String {
    format!("has an element of more than {} MiB", LONGEST_ELEMENT >> 20)
}

/// JSON of which no element takes more than memory has for it. What is taken is counted from where it was last set to nothing.
struct Limited<'a, R> {
    reader: R,
    taken: &'a Cell<u64>,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.taken.set(self.taken.get() + read as u64);
        if self.taken.get() > LONGEST_ELEMENT { Err(io::Error::other(too_long())) } else { Ok(read) }
    }
}

/// A list of strings may hold keys that begin with `[`, so a number or a word behind the bracket makes no array there.
fn is_array(start: &[u8], elements: Elements) -> bool {
    let mut bytes = start.iter().filter(|b| !b.is_ascii_whitespace());
    bytes.next() == Some(&b'[')
        && match bytes.next() {
            None | Some(b'"' | b']' | b'{' | b'[') => true,
            Some(_) => elements == Elements::Json,
        }
}

/// One line of a list as a value.
fn line_value(line: &str, elements: Elements) -> Result<Value, String> {
    match (elements, json::read(line)) {
        (Elements::Json, read) => read,
        // A line of somebody's JSON Lines, not a name that happens to look like it: quoted, it would be a string.
        (Elements::Text, Ok(value @ (Value::String(_) | Value::Object(_)))) => Ok(value),
        (Elements::Text, Ok(Value::Array(_))) => Err("is a JSON array where a string is expected".into()),
        (Elements::Text, Err(what)) if json::is_twice(&what) => Err(what),
        (Elements::Text, _) => Ok(Value::String(line.to_owned())),
    }
}

/// Goes to what is no space, and gives it.
fn skip_space(reader: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let space = buffer.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let next = buffer.get(space).copied();
        reader.consume(space);
        if next.is_some() {
            return Ok(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, elements: Elements) -> Result<Vec<Value>, String> {
        let mut spool = Spool::new("objects").with_naming(Naming::of("objects", &Value::Null));
        match spool.read_from(text.as_bytes(), elements) {
            Ok(()) => Ok(spool.into_values().expect("a fresh spool reads back")),
            Err(Problem::Theirs(what)) => Err(what),
            Err(Problem::Ours(e)) => Err(e.to_string()),
        }
    }

    fn strings(text: &str) -> Vec<String> {
        let values = read(text, Elements::Text).expect("a list");
        values.into_iter().map(|v| v.as_str().expect("a string").to_owned()).collect()
    }

    #[test]
    fn three_formats_are_told_apart_by_content() {
        assert_eq!(strings(r#"["a","b c"]"#), ["a", "b c"]);
        assert_eq!(strings(" [\n \"a\" ,\n \"b\"\n]\n"), ["a", "b"]);
        assert_eq!(strings("\"a\"\n\"b\\nc\"\n"), ["a", "b\nc"]);
        assert_eq!(strings("a\r\n b \n\nc"), ["a", " b ", "c"]);
        assert_eq!(strings("[]"), [""; 0]);
        assert_eq!(strings(""), [""; 0]);
        assert_eq!(strings("[\"a\"]\n[\"b\"]"), ["a", "b"]);
        assert_eq!(strings("\u{feff}a"), ["a"]);
        assert_eq!(strings("a b\0c\nd\0"), ["a b", "c\nd"]);
        assert_eq!(strings("- a\n- \"b c\"\n- 'd'\n"), ["a", "b c", "d"]);
    }

    #[test]
    fn what_was_printed_for_people_is_refused() {
        assert!(read("value\na\n", Elements::Text).is_err_and(|e| e.contains("--output csv")));
        assert_eq!(strings("\"value\"\na"), ["value", "a"]);
        for printed in ["Key,Size\na,1\n", "Size,Key,ETag\n1,a,e\n", " Key   Size \n a     1\n", "item,status,message\na,planned,\n"] {
            assert!(read(printed, Elements::Text).is_err_and(|e| e.contains("--output csv")), "{printed}");
        }
        assert_eq!(strings("\"Key,Size\"\na"), ["Key,Size", "a"]);
        // A name by itself is a name, and so is what no list of objects has for a header.
        assert_eq!(strings("Key\nSize\n"), ["Key", "Size"]);
        assert_eq!(strings("Size,ETag\na\nKey,Size\n"), ["Size,ETag", "a", "Key,Size"]);
    }

    #[test]
    fn plain_lines_may_look_like_json() {
        assert_eq!(strings("[1] report.pdf\n{x}\n\"half\n123\ntrue\nnull"), ["[1] report.pdf", "{x}", "\"half", "123", "true", "null"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(read("a\n{\"Key\":1}", Elements::Text).is_err_and(|e| e.starts_with("line 2 is an object without a member ")));
        assert_eq!(read("a\n[\"b\"]", Elements::Text), Err("line 2 is a JSON array where a string is expected".into()));
        assert!(read("[\"a\",", Elements::Text).is_err_and(|e| e.contains("not a whole JSON array")));
        assert!(read("{\"a\":1}\nx", Elements::Json).is_err_and(|e| e.contains("line 2 is not JSON")));
        let mut spool = Spool::new("objects");
        assert!(matches!(spool.read_from(&b"ok\n\xff\n"[..], Elements::Text), Err(Problem::Theirs(w)) if w == "line 2 is not UTF-8"));
    }

    #[test]
    fn objects_stand_for_the_names_they_hold() {
        for text in [
            "[{\"Key\":\"a\",\"Size\":1},\"b\"]",
            "{\"Key\":\"a\",\"Size\":1}\nb\n",
            "{\n  \"Key\": \"a\"\n}\n{\n  \"Key\": \"b\"\n}\n",
            "- Key: a\n  Size: 1\n- b\n",
        ] {
            assert_eq!(strings(text), ["a", "b"], "{text}");
        }
        assert!(read("[\"a\",{\"Size\":1}]", Elements::Text).is_err_and(|e| e.starts_with("item 2 is an object without")));
    }

    #[test]
    fn a_member_that_stands_twice_is_named() {
        for (text, place) in [
            ("[\"a\",{\"Key\":\"a\",\"Key\":\"b\"}]", "item 2"),
            ("{\"Key\":\"a\",\"Key\":\"b\"}", "line 1"),
            ("{\n\"Key\":\"a\",\"Key\":\"b\"}", "item 1"),
            ("- Key: a\n  Key: b\n", "the YAML"),
        ] {
            for elements in [Elements::Text, Elements::Json] {
                assert!(read(text, elements).is_err_and(|e| e.starts_with(place) && e.contains("has the member `Key` twice")), "{text}");
            }
        }
    }

    #[test]
    fn an_element_without_end_does_not_fill_the_memory() {
        for start in ["[\"", "{\n\"Key\":\"", "- \"", "x"] {
            let endless = Cursor::new(start).chain(io::repeat(b'x'));
            let read = Spool::new("objects").read_from(endless, Elements::Text);
            assert!(matches!(read, Err(Problem::Theirs(what)) if what.contains("more than 16 MiB")), "{start}");
        }
    }

    #[test]
    fn sources_and_values() {
        assert_eq!(Source::parse("-"), Some(Source::Stdin));
        assert_eq!(Source::parse("@a.txt"), Some(Source::File("a.txt".into())));
        assert_eq!(Source::parse("@@a"), None);
        assert_eq!(Source::parse("a@b"), None);
    }
}
