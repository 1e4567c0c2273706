//! What holds for every journal.

use std::io::Write;

use tempfile::NamedTempFile;

use super::format::{FORMAT, Line, decode, encode};
use super::reader::Past;
use crate::input::Spool;
use crate::model::error::{Error, Result};
use crate::mutations;

/// How many mutations are made of a journal.
const MUTANTS: u64 = 3;

/// Reads bytes as a journal, and makes one of those of their lines that are lines of one, with numbers and checksums. That is read as it was written, and
/// when it is altered, only as far as it is whole: half a line behind the others is borne, and anything else refused.
pub fn journal(data: &[u8]) -> bool {
    let as_it_is = read(data).inspect_err(is_told).is_ok();
    let lines: Vec<Line> = data.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let whole = write(&lines);
    let is_one = matches!(lines.first(), Some(Line::Run(header)) if header.format <= FORMAT);
    let (past, spooled) = match read(&whole) {
        Ok(read) => read,
        Err(e) => {
            assert!(!is_one, "{e}");
            return as_it_is;
        }
    };
    assert!(is_one && !past.torn && past.lines == lines.len() as u64 && past.whole == whole.len() as u64);
    assert!(matches!(lines.first(), Some(Line::Run(header)) if **header == past.header));
    let elements = lines.iter().map(|line| match line {
        Line::Todo { spooled: true, elements, .. } => elements.len() as u64,
        _ => 0,
    });
    assert!(spooled.is_none_or(|spooled| spooled == elements.sum::<u64>()), "all of a list is read again");
    for seed in 0..MUTANTS {
        let text = mutations::one(&whole, seed);
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let is_only_cut = end > 0 && whole.starts_with(&text[..end]);
        match read(&text) {
            Ok((past, _)) => {
                assert!(is_only_cut && past.torn == (end < text.len()), "it is believed: {:?}", String::from_utf8_lossy(&text))
            }
            Err(e) => {
                assert!(!is_only_cut, "{e}: {:?}", String::from_utf8_lossy(&text));
                is_told(&e);
            }
        }
    }
    true
}

/// Lines as they are written, each of which is read as it was.
fn write(lines: &[Line]) -> Vec<u8> {
    let mut whole = Vec::new();
    for (seq, line) in (0..).zip(lines) {
        let start = whole.len();
        encode(seq, line, &mut whole).unwrap_or_else(|e| panic!("{e}"));
        let text = whole.get(start..).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.strip_suffix('\n'));
        assert_eq!(text.map(|text| decode(text, seq)), Some(Ok(line.clone())));
    }
    whole
}

/// What a journal says, and how many elements the lists of its input have: unknown where values of flags are in it, which are not read again.
fn read(text: &[u8]) -> Result<(Past, Option<u64>)> {
    let mut file = NamedTempFile::new().unwrap_or_else(|e| panic!("{e}"));
    file.write_all(text).unwrap_or_else(|e| panic!("{e}"));
    let past = Past::read(file.path())?;
    let elements = match past.input() {
        Ok(input) => Some(input.spools.values().map(Spool::len).sum()),
        Err(Error::Refused(_)) => None,
        Err(e) => return Err(e),
    };
    Ok((past, elements))
}

/// It is no failure of the machine, and said in one line.
fn is_told(error: &Error) {
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
    assert_eq!(error.to_string().trim().lines().count(), 1, "{error}");
}
