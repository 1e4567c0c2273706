//! Lists from files and standard input: JSON array, JSON Lines or plain lines, told apart by content.
//!
//! What is read goes to a temporary file item by item, so that all of it is checked before anything is sent, in memory that does not grow.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use serde::de::{DeserializeOwned, Deserializer as _, SeqAccess, Visitor};
use serde_json::Value;
use tempfile::SpooledTempFile;

use crate::model::error::{Error, Result};

/// Below this many bytes a list stays in memory.
const IN_MEMORY: usize = 1 << 20;

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
        self.open(field)?.read_to_end(&mut bytes).map_err(|e| Error::field(field, format!("`{field}`: cannot read {self}: {e}")))?;
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

/// A list in a temporary file, one JSON value a line.
pub struct Spool {
    field: String,
    file: SpooledTempFile,
    len: u64,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spool({} items of `{}`)", self.len, self.field)
    }
}

impl Spool {
    /// An empty list for a field.
    pub fn new(field: impl Into<String>) -> Self {
        Spool { field: field.into(), file: SpooledTempFile::new(IN_MEMORY), len: 0 }
    }

    /// How many items it holds.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds one item.
    pub fn push(&mut self, value: &Value) -> Result<()> {
        let mut line = value.to_string();
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(|e| Error::io("keep the list in a temporary file", e))?;
        self.len += 1;
        Ok(())
    }

    /// Adds all that a source holds.
    pub fn fill(&mut self, source: &Source, elements: Elements) -> Result<()> {
        let reader = source.open(&self.field)?;
        self.read_from(reader, elements).map_err(|problem| match problem {
            Problem::Ours(e) => e,
            Problem::Theirs(what) => Error::field(&self.field, format!("`{}`: {source}: {what}", self.field)),
        })
    }

    fn read_from(&mut self, mut reader: impl Read, elements: Elements) -> Result<(), Problem> {
        let mut start = Vec::new();
        reader.by_ref().take(PEEK).read_to_end(&mut start)?;
        if start.starts_with(BOM) {
            start.drain(..BOM.len());
        }
        let form = Form::of(&start, elements);
        let reader = BufReader::with_capacity(1 << 16, Cursor::new(start).chain(reader));
        match form {
            Form::Arrays => self.read_arrays(reader),
            Form::Yaml => self.read_yaml(reader),
            Form::Lines(end) => self.read_lines(reader, elements, end),
            Form::ForPeople => Err(Problem::Theirs(
                "is what --output csv or table printed, which is for people: use another format; a name that is `value` is written in quotes"
                    .into(),
            )),
        }
    }

    /// JSON arrays; more than one after another is what `cat` makes of two files.
    fn read_arrays(&mut self, mut reader: impl BufRead) -> Result<(), Problem> {
        struct Elements<'a>(&'a mut Spool);

        impl<'de> Visitor<'de> for Elements<'_> {
            type Value = Option<Error>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut failed = None;
                while let Some(value) = seq.next_element::<Value>()? {
                    if failed.is_none() {
                        failed = self.0.push(&value).err();
                    }
                }
                Ok(failed)
            }
        }

        while skip_space(&mut reader)? {
            let mut json = serde_json::Deserializer::from_reader(&mut reader);
            match json.deserialize_seq(Elements(self)) {
                Ok(None) => {}
                Ok(Some(ours)) => return Err(Problem::Ours(ours)),
                Err(e) => return Err(Problem::Theirs(format!("not a whole JSON array: {e}"))),
            }
        }
        Ok(())
    }

    /// A YAML list, as `--output yaml` writes it: each element begins with a dash in the first column.
    fn read_yaml(&mut self, mut reader: impl BufRead) -> Result<(), Problem> {
        let (mut element, mut bytes) = (String::new(), Vec::new());
        let mut number: u64 = 0;
        loop {
            let more = read_part(&mut reader, b'\n', &mut bytes)?;
            number += u64::from(more);
            let line = std::str::from_utf8(&bytes).map_err(|_| Problem::Theirs(format!("line {number} is not UTF-8")))?;
            let begins = line.starts_with("- ") || line.trim_end() == "-";
            if (begins || !more) && !element.is_empty() {
                let list: Vec<Value> = serde_yaml_ng::from_str(&element)
                    .map_err(|e| Problem::Theirs(format!("the YAML before line {number} cannot be read: {e}")))?;
                list.iter().try_for_each(|value| self.push(value)).map_err(Problem::Ours)?;
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
            self.push(&value).map_err(Problem::Ours)?;
        }
        Ok(())
    }

    /// Whether every item is a `T`; the message names the first that is not.
    pub(super) fn check<T: DeserializeOwned>(&mut self) -> Result<(), String> {
        self.file.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
        for (index, line) in BufReader::new(&mut self.file).lines().enumerate() {
            let line = line.map_err(|e| e.to_string())?;
            serde_json::from_str::<T>(&line).map_err(|e| {
                // The position is one of our own lines: of no use to who wrote the list.
                let text = e.to_string();
                let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(m, _)| m);
                format!("item {}: {message}", index + 1)
            })?;
        }
        Ok(())
    }

    /// The items again, from the first.
    pub(super) fn read<T: DeserializeOwned>(mut self) -> SpoolItems<T> {
        let rewound = self.file.seek(SeekFrom::Start(0));
        SpoolItems { lines: BufReader::new(self.file), left: self.len, failed: rewound.err(), of: std::marker::PhantomData }
    }

    /// All of it in memory, for lists that are short by nature.
    pub fn into_values(self) -> Result<Vec<Value>> {
        self.read().collect()
    }
}

/// Iterator over a spool's items; its size hint is exact.
pub(super) struct SpoolItems<T> {
    lines: BufReader<SpooledTempFile>,
    left: u64,
    failed: Option<io::Error>,
    of: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Iterator for SpoolItems<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if let Some(e) = self.failed.take() {
            self.left = 0;
            return Some(Err(broken_spool(e)));
        }
        self.left = self.left.checked_sub(1)?;
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).and_then(|_| serde_json::from_str(&line).map_err(io::Error::from));
        Some(read.map_err(broken_spool))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

/// An item of a spool that was checked and cannot be read again: the temporary file broke.
fn broken_spool(source: io::Error) -> Error {
    Error::io("read the list again from its temporary file", source)
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
    Arrays,
    Yaml,
    /// Elements that end with this byte.
    Lines(u8),
    /// A table, or values with a header: what stands in it cannot be told from what it says of itself.
    ForPeople,
}

/// The header that CSV and tables have for values that are no objects.
pub const CSV_HEADER: &str = "value";

/// The longest element of a list: an object's key has 1,024 bytes, and what an element has beside it is no larger by far.
const LONGEST_ELEMENT: u64 = 16 << 20;

impl Form {
    fn of(start: &[u8], elements: Elements) -> Self {
        let line = start.split(|b| *b == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
        if is_array(start, elements) {
            Form::Arrays
        } else if elements == Elements::Text && start.contains(&0) {
            Form::Lines(0)
        } else if line.starts_with(b"- ") || line.trim_ascii_end() == b"-" || line.trim_ascii_end() == b"---" {
            Form::Yaml
        } else if elements == Elements::Text && line.trim_ascii() == CSV_HEADER.as_bytes() {
            Form::ForPeople
        } else {
            Form::Lines(b'\n')
        }
    }
}

/// Whether a line that holds nothing but this text is read as just this text, whatever stands around it. What writes lines quotes the others, as JSON.
pub fn line_is_exact(text: &str, elements: Elements) -> bool {
    let begins_otherwise =
        text.starts_with(['[', '{', '"', '\u{feff}']) || text.starts_with("- ") || matches!(text, "-" | "---" | CSV_HEADER);
    elements == Elements::Text && !text.is_empty() && text.trim() == text && !begins_otherwise && !text.contains(['\n', '\r', '\0'])
}

/// Reads up to and with the next `end`; `false` at the end of all. What has none is not read into memory without limit.
fn read_part(reader: &mut impl BufRead, end: u8, bytes: &mut Vec<u8>) -> Result<bool, Problem> {
    bytes.clear();
    let read = reader.by_ref().take(LONGEST_ELEMENT).read_until(end, bytes)?;
    if read as u64 == LONGEST_ELEMENT && !bytes.ends_with(&[end]) {
        return Err(Problem::Theirs(format!("has an element of more than {} MiB", LONGEST_ELEMENT >> 20)));
    }
    Ok(read > 0)
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
    match elements {
        Elements::Json => serde_json::from_str(line).map_err(|e| format!("is not JSON: {e}")),
        Elements::Text => match serde_json::from_str(line) {
            Ok(Value::String(text)) => Ok(Value::String(text)),
            // A line of somebody's JSON Lines, not a name that happens to look like it: quoted, it would be a string.
            Ok(Value::Object(_)) => Err("is a JSON object where a string is expected".into()),
            Ok(Value::Array(_)) => Err("is a JSON array where a string is expected".into()),
            _ => Ok(Value::String(line.to_owned())),
        },
    }
}

/// Whether anything but space is left.
fn skip_space(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        let space = buffer.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let more = space < buffer.len();
        reader.consume(space);
        if more {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, elements: Elements) -> Result<Vec<Value>, String> {
        let mut spool = Spool::new("objects");
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
    }

    #[test]
    fn plain_lines_may_look_like_json() {
        assert_eq!(strings("[1] report.pdf\n{x}\n\"half\n123\ntrue\nnull"), ["[1] report.pdf", "{x}", "\"half", "123", "true", "null"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(read("a\n{\"Key\":1}", Elements::Text), Err("line 2 is a JSON object where a string is expected".into()));
        assert_eq!(read("a\n[\"b\"]", Elements::Text), Err("line 2 is a JSON array where a string is expected".into()));
        assert!(read("[\"a\",", Elements::Text).is_err_and(|e| e.contains("not a whole JSON array")));
        assert!(read("{\"a\":1}\nx", Elements::Json).is_err_and(|e| e.contains("line 2 is not JSON")));
        let mut spool = Spool::new("objects");
        assert!(matches!(spool.read_from(&b"ok\n\xff\n"[..], Elements::Text), Err(Problem::Theirs(w)) if w == "line 2 is not UTF-8"));
    }

    #[test]
    fn sources_and_values() {
        assert_eq!(Source::parse("-"), Some(Source::Stdin));
        assert_eq!(Source::parse("@a.txt"), Some(Source::File("a.txt".into())));
        assert_eq!(Source::parse("@@a"), None);
        assert_eq!(Source::parse("a@b"), None);
    }
}
