//! A list that was read, one JSON value a line: in memory while it is short, then in a temporary file.

use std::fmt;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::SpooledTempFile;

use super::naming::Naming;
use super::{checks, explain};
use crate::model::error::{Error, Result};

/// Below this many bytes a list stays in memory.
const IN_MEMORY: usize = 1 << 20;

/// So many bytes are written to the file at once.
const TOGETHER: usize = 64 << 10;

/// The most bytes of a list that holds secrets: they are written to no file, and memory has an end. IAM has 5,000 users by default.
const LONGEST_SECRET: u64 = 64 << 20;

/// A list, one JSON value a line.
pub struct Spool {
    field: String,
    file: SpooledTempFile,
    /// Whole lines that are not in the file yet.
    held: Vec<u8>,
    len: u64,
    bytes: u64,
    /// It holds secrets: it stays in memory, and no message repeats what it holds.
    secret: bool,
    /// What objects stand for, where the elements are strings.
    pub(super) naming: Naming,
    /// JSON Schema of an element, once it is known.
    element: Value,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spool({} items of `{}`)", self.len, self.field)
    }
}

impl Spool {
    /// An empty list for a field.
    pub fn new(field: impl Into<String>) -> Self {
        let naming = Naming::default();
        let file = SpooledTempFile::new(IN_MEMORY);
        Spool { field: field.into(), file, held: Vec::new(), len: 0, bytes: 0, secret: false, naming, element: Value::Null }
    }

    /// An empty list for a field whose elements hold secrets.
    pub fn of_secrets(field: impl Into<String>) -> Self {
        Spool { file: SpooledTempFile::new(usize::MAX), secret: true, ..Spool::new(field) }
    }

    /// The same, where objects may stand for strings.
    pub fn with_naming(self, naming: Naming) -> Self {
        Spool { naming, ..self }
    }

    /// The input that it is for.
    pub(super) fn field(&self) -> &str {
        &self.field
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
        let before = self.held.len();
        serde_json::to_writer(&mut self.held, value).map_err(|e| Error::io("keep the list in a temporary file", e.into()))?;
        self.held.push(b'\n');
        self.bytes += (self.held.len() - before) as u64;
        if self.secret && self.bytes > LONGEST_SECRET {
            let message =
                format!("`{}` holds secrets, and so is kept in memory only: it may have {} MiB", self.field, LONGEST_SECRET >> 20);
            return Err(Error::field(&self.field, message));
        }
        self.len += 1;
        if self.held.len() < TOGETHER { Ok(()) } else { self.keep() }
    }

    /// Sees to it that all lines are in the file: where it cannot be written, that is no fault of the list.
    pub(super) fn keep(&mut self) -> Result<()> {
        self.write_held().map_err(|e| Error::io("keep the list in a temporary file", e))
    }

    fn write_held(&mut self) -> io::Result<()> {
        self.file.write_all(&self.held)?;
        self.held.clear();
        Ok(())
    }

    /// To the first line, with all lines in the file.
    fn rewind(&mut self) -> io::Result<()> {
        self.write_held()?;
        self.file.seek(SeekFrom::Start(0)).map(drop)
    }

    /// The same items once more, in the same order.
    pub(super) fn copy(&mut self) -> Result<Self> {
        let kept = |e| Error::io("keep the list in a temporary file", e);
        let mut copy = if self.secret { Spool::of_secrets(self.field.as_str()) } else { Spool::new(self.field.as_str()) };
        self.rewind().map_err(kept)?;
        io::copy(&mut self.file, &mut copy.file).map_err(kept)?;
        (copy.len, copy.bytes) = (self.len, self.bytes);
        Ok(copy)
    }

    /// Makes known what the action's schema says of it, for [`Spool::check`]. With `secret`, no message repeats what it holds.
    pub(super) fn describe(&mut self, element: Value, secret: bool) {
        self.element = element;
        self.secret |= secret;
    }

    /// Whether every item is a `T`, and none is empty where it must not be; the message names the first that is not so.
    pub(super) fn check<T: DeserializeOwned>(&mut self) -> Result<(), String> {
        self.rewind().map_err(|e| e.to_string())?;
        let secret = self.secret;
        let (mut lines, mut read, mut number) = (BufReader::with_capacity(TOGETHER, &mut self.file), String::new(), 0_u64);
        loop {
            read.clear();
            if lines.read_line(&mut read).map_err(|e| e.to_string())? == 0 {
                return Ok(());
            }
            let line = read.trim_end_matches('\n');
            number += 1;
            if let Some(path) = empty_part(&self.element, line) {
                return Err(if path.is_empty() { format!("item {number} is empty") } else { format!("item {number}: `{path}` is empty") });
            }
            serde_json::from_str::<T>(line).map_err(|e| {
                // The position is one of our own lines: of no use to who wrote the list.
                let text = e.to_string();
                let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(m, _)| m);
                match serde_json::from_str(line) {
                    Ok(value) if secret => format!("item {number}: {}", explain::quiet(message, &value)),
                    _ => format!("item {number}: {message}"),
                }
            })?;
        }
    }

    /// Shows the items as they are, from the first, and leaves them where they are: each as JSON, which is not read.
    pub(super) fn look(&mut self, mut show: impl FnMut(&str) -> Result<()>) -> Result<()> {
        self.rewind().map_err(broken_spool)?;
        let (mut lines, mut read, mut shown) = (BufReader::with_capacity(TOGETHER, &mut self.file), String::new(), 0);
        while lines.read_line(&mut read).map_err(broken_spool)? > 0 {
            let Some(element) = read.strip_suffix('\n') else { break };
            show(element)?;
            shown += 1;
            read.clear();
        }
        // As no element is read, nothing else would tell that the file has lost some, or half of one.
        if shown == self.len { Ok(()) } else { Err(broken_spool(io::ErrorKind::UnexpectedEof.into())) }
    }

    /// The items again, from the first.
    pub(super) fn read<T: DeserializeOwned>(mut self) -> SpoolItems<T> {
        let rewound = self.rewind();
        let lines = BufReader::with_capacity(TOGETHER, self.file);
        SpoolItems { lines, line: String::new(), left: self.len, failed: rewound.err(), of: std::marker::PhantomData }
    }

    /// All of it in memory, for lists that are short by nature.
    pub fn into_values(self) -> Result<Vec<Value>> {
        self.read().collect()
    }
}

/// Where a line holds an empty string that must not be empty: the path in it, or nothing for the whole.
fn empty_part(element: &Value, line: &str) -> Option<String> {
    if line == "\"\"" {
        return checks::forbids_empty(element).then(String::new);
    }
    // Most lists hold strings, and are long: only what has parts is looked through.
    if !line.starts_with(['{', '[']) || !line.contains("\"\"") {
        return None;
    }
    let (value, mut found) = (serde_json::from_str(line).unwrap_or_default(), Vec::new());
    checks::find_empty(element, &value, "", &mut found);
    found.into_iter().next()
}

/// Iterator over a spool's items; its size hint is exact.
pub(super) struct SpoolItems<T> {
    lines: BufReader<SpooledTempFile>,
    /// The last one that was read.
    line: String,
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
        self.line.clear();
        let read = self.lines.read_line(&mut self.line).and_then(|_| serde_json::from_str(&self.line).map_err(io::Error::from));
        Some(read.map_err(broken_spool))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

/// An item of a spool that was checked and cannot be read again: the temporary file broke.
pub(super) fn broken_spool(source: io::Error) -> Error {
    Error::io("read the list again from its temporary file", source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_its_file_has_lost_is_not_passed_over() {
        let line = "\"key-0\"\n".len() as u64;
        for (left, is_whole) in [(3 * line, true), (3 * line - 1, false), (2 * line, false), (line + 3, false), (0, false)] {
            let mut spool = Spool::new("objects");
            (0..3).for_each(|n| spool.push(&Value::from(format!("key-{n}"))).expect("it is kept"));
            spool.keep().expect("it is kept");
            spool.file.set_len(left).expect("a file");
            let mut shown = Vec::new();
            let looked = spool.look(|element| {
                shown.push(element.to_owned());
                Ok(())
            });
            assert_eq!(looked.is_ok(), is_whole, "{left} bytes: {shown:?}");
            assert!(shown.iter().enumerate().all(|(n, element)| *element == format!("\"key-{n}\"")), "{shown:?}");
        }
    }
}
