//! The lines of a journal.
//!
//! A line is one JSON object: `{"seq":n,"kind":…, …,"crc":"xxxxxxxx"}` and a line feed. `seq` counts from 0 without gaps. `crc` is the CRC-32C (Castagnoli, as in
//! RFC 3720) of the line's bytes without the member `crc` and the comma before it, and without the line feed; eight lower-case hexadecimal digits.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::guards::Guards;
use crate::model::outcome::{Outcome, Status};
use crate::model::target::{AccountId, Target};

/// The format that this program writes, and the newest that it reads: 2 has [`Line::Alike`]. What was begun in an older one is gone on with in that.
pub const FORMAT: u32 = 2;

/// The first format in which items that came to the same are settled by one line.
pub(super) const WITH_ALIKE: u32 = 2;

/// What stands before the checksum, and the length of it.
const CRC: &str = ",\"crc\":\"";
const CRC_DIGITS: usize = 8;

/// The number of the line by which a step is known.
pub type StepId = u64;

/// The number of the line by which a request is known: that which says that it is about to be sent.
pub type IntentId = u64;

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// The first one.
    Run(Box<Header>),
    /// Elements of an input that is a list; the first line of a list may have none.
    Todo {
        /// The input.
        field: String,
        /// Whether it came from a file or a stream, and may be longer than memory.
        spooled: bool,
        /// The elements, without secrets.
        elements: Vec<Value>,
    },
    /// All of the input is in the lines before: its lists, too.
    Ready,
    /// Where the run goes on: before anything is sent.
    Target {
        /// What is known of it.
        target: Target,
        /// Where its requests go: `aws`, scheme and host of another endpoint, or `sandbox` and its folder. Programs that did not check it did not say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
    },
    /// Another process goes on with the run.
    Resumed {
        /// When.
        time: Timestamp,
        /// As it was typed, without secrets.
        command: String,
    },
    /// These items are about to be sent in one request.
    Intent {
        /// When.
        time: Timestamp,
        /// By their identities.
        items: Vec<String>,
    },
    /// A step is about to be taken; the number of the line is its own.
    Step {
        /// The item that it is part of.
        item: String,
        /// What would be undone, in words.
        says: String,
        /// What undoes it.
        step: Value,
        /// See [`super::StepNote::unwinds`].
        #[serde(default)]
        unwinds: bool,
    },
    /// Steps that are not to be undone any more.
    Gone {
        /// Their numbers.
        steps: Vec<StepId>,
        /// Why.
        fate: Fate,
    },
    /// What came of items that were sent.
    Results {
        /// Each with its outcome.
        results: Vec<JournalResult>,
    },
    /// All items of one request came to the same.
    Alike {
        /// The number of the line that named them, a [`Line::Intent`].
        intent: IntentId,
        /// What became of each.
        became: Became,
    },
    /// The run was undone.
    Undone {
        /// By the run with this id.
        by: String,
    },
    /// The run came to its end by itself.
    End {
        /// When.
        time: Timestamp,
        /// Items by what became of them.
        counts: BTreeMap<Status, u64>,
        /// The error that it ended with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Whether it was not cut short: nothing is left to be resumed.
        complete: bool,
    },
}

/// The head of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`]
    pub format: u32,
    /// `aaws 0.1.0`
    pub tool: String,
    /// The run's own id, by which journals are sorted.
    pub id: String,
    /// `s3/delete_objects`
    pub action: String,
    /// The input, without secrets, and without lists: those follow.
    pub input: Map<String, Value>,
    /// Who ran it, as the machine knows them.
    pub user: String,
    /// The name of the machine.
    pub host: String,
    /// When it began.
    pub time: Timestamp,
    /// As it was typed, without secrets.
    pub command: String,
    /// The run that this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// The SHA-256 of the plan that it applied: then the input alone does not say what it was to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What it was let do.
    #[serde(default)]
    pub guards: Guards,
    /// The account that it was bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
}

/// Why a step is not to be undone any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It was undone.
    Undone,
    /// It was never carried out, or another step says more of it.
    Dropped,
    /// There is no way back behind it.
    Final,
}

/// What became of an item that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalResult {
    /// Its identity.
    pub item: String,
    /// What became of it.
    pub status: Status,
    /// AWS's error code, or one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What is worth knowing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The same of many items, without their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Became {
    /// What became of each.
    pub status: Status,
    /// AWS's error code, or one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What is worth knowing of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Became {
    /// What an outcome says.
    pub fn from_outcome<D>(outcome: &Outcome<D>) -> Self {
        let (code, message) = match outcome {
            Outcome::Done(_, note) => (None, note.clone()),
            Outcome::Unchanged(why) => (None, Some(why.clone())),
            Outcome::Skipped(skip) => (skip.code.map(String::from), Some(skip.why.clone())),
            Outcome::Failed(failure) => (Some(failure.code.clone()), Some(failure.message.clone())),
        };
        Became { status: outcome.status(), code, message }
    }

    /// The same of one of them.
    pub fn of(self, item: String) -> JournalResult {
        let Became { status, code, message } = self;
        JournalResult { item, status, code, message }
    }
}

impl JournalResult {
    /// Of an outcome.
    pub fn of<D>(item: String, outcome: &Outcome<D>) -> Self {
        Became::from_outcome(outcome).of(item)
    }

    /// Whether the item is as it was asked for.
    pub fn is_as_asked(&self) -> bool {
        matches!(self.status, Status::Done | Status::Unchanged)
    }
}

/// A line with its number, as it is written.
#[derive(Serialize)]
struct Numbered<'a> {
    seq: u64,
    #[serde(flatten)]
    line: &'a Line,
}

/// Appends the bytes of a line, line feed and all.
pub(super) fn encode(seq: u64, line: &Line, bytes: &mut Vec<u8>) -> serde_json::Result<()> {
    let start = bytes.len();
    serde_json::to_writer(&mut *bytes, &Numbered { seq, line })?;
    seal(bytes, start);
    Ok(())
}

/// The same of a [`Line::Todo`] whose elements are JSON already, with commas between them: of millions, reading and writing each would be much of the work.
pub(super) fn encode_todo(seq: u64, field: &str, spooled: bool, elements: &str, bytes: &mut Vec<u8>) -> serde_json::Result<()> {
    let start = bytes.len();
    bytes.extend_from_slice(format!("{{\"seq\":{seq},\"kind\":\"todo\",\"field\":").as_bytes());
    serde_json::to_writer(&mut *bytes, field)?;
    bytes.extend_from_slice(format!(",\"spooled\":{spooled},\"elements\":[").as_bytes());
    bytes.extend_from_slice(elements.as_bytes());
    bytes.extend_from_slice(b"]}");
    seal(bytes, start);
    Ok(())
}

/// Puts the checksum into an object that begins here and ends the bytes, and a line feed behind it.
fn seal(bytes: &mut Vec<u8>, start: usize) {
    let crc = crc_fast::crc32_iscsi(bytes.get(start..).unwrap_or_default());
    // Its brace.
    bytes.pop();
    bytes.extend_from_slice(format!("{CRC}{crc:08x}\"}}\n").as_bytes());
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is not as it was written.
    Altered,
    /// It is as it was written, and this program does not know it.
    Unknown(String),
}

/// Reads a line without its line feed, which has to be the one with this number.
pub(super) fn decode(text: &str, expected: u64) -> Result<Line, Flaw> {
    let checked = text.strip_suffix("\"}").and_then(|rest| {
        let (before, crc) = rest.split_at_checked(rest.len().checked_sub(CRC_DIGITS)?)?;
        let body = format!("{}}}", before.strip_suffix(CRC)?);
        (crc == format!("{:08x}", crc_fast::crc32_iscsi(body.as_bytes()))).then_some(body)
    });
    let body = checked.ok_or(Flaw::Altered)?;
    let mut object: Map<String, Value> = serde_json::from_str(&body).map_err(|_| Flaw::Altered)?;
    if object.remove("seq").and_then(|seq| seq.as_u64()) != Some(expected) {
        return Err(Flaw::Altered);
    }
    serde_json::from_value(Value::Object(object)).map_err(|e| Flaw::Unknown(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent() -> Line {
        Line::Intent { time: Timestamp::UNIX_EPOCH, items: vec!["a".into(), "é\"\n".into()] }
    }

    fn text(seq: u64, line: &Line) -> String {
        let mut bytes = Vec::new();
        encode(seq, line, &mut bytes).expect("JSON");
        String::from_utf8(bytes).expect("UTF-8").strip_suffix('\n').expect("a line").to_owned()
    }

    #[test]
    fn a_line_is_read_back_as_it_was_written() {
        let counts = BTreeMap::from([(Status::Done, 2), (Status::Failed, 1)]);
        let step = Value::from(vec![1, 2]);
        for (seq, line) in [
            intent(),
            Line::Todo { field: "objects".into(), spooled: true, elements: vec!["a".into()] },
            Line::Ready,
            Line::Step { item: "i".into(), says: "stop i".into(), step, unwinds: true },
            Line::Gone { steps: vec![1, 2], fate: Fate::Final },
            Line::Results { results: vec![JournalResult { item: "a".into(), status: Status::Skipped, code: None, message: None }] },
            Line::Alike { intent: 7, became: Became { status: Status::Done, code: None, message: None } },
            Line::Alike { intent: 7, became: Became { status: Status::Failed, code: Some("Denied".into()), message: Some("no".into()) } },
            Line::End { time: Timestamp::UNIX_EPOCH, counts, error: None, complete: true },
        ]
        .into_iter()
        .enumerate()
        {
            let seq = seq as u64;
            let written = text(seq, &line);
            assert!(written.starts_with(&format!("{{\"seq\":{seq},\"kind\":")), "{written}");
            assert_eq!(decode(&written, seq), Ok(line));
        }
    }

    #[test]
    fn a_line_of_a_program_that_did_not_say_the_endpoint_is_read() {
        let old = serde_json::from_str(r#"{"kind":"target","target":{"region":"eu-west-1"}}"#);
        assert!(matches!(old, Ok(Line::Target { endpoint: None, .. })), "{old:?}");
    }

    #[test]
    fn a_piece_of_a_list_is_the_same_line_whether_it_is_text_or_values() {
        for (field, elements) in [("objects", "\"a\",\"é\\\"\\n\",{\"Key\":\"k\",\"Size\":1}"), ("odd \"field\"", "")] {
            let values: Vec<Value> = serde_json::from_str(&format!("[{elements}]")).expect("a list");
            for spooled in [true, false] {
                let (mut bytes, mut expected) = (b"before\n".to_vec(), b"before\n".to_vec());
                encode_todo(12, field, spooled, elements, &mut bytes).expect("JSON");
                let line = Line::Todo { field: field.into(), spooled, elements: values.clone() };
                encode(12, &line, &mut expected).expect("JSON");
                assert_eq!(String::from_utf8(bytes), String::from_utf8(expected));
            }
        }
    }

    #[test]
    fn the_checksum_is_of_the_line_without_it() {
        // The check value of CRC-32C.
        assert_eq!(crc_fast::crc32_iscsi(b"123456789"), 0xe306_9283);
        let written = text(7, &intent());
        let (body, crc) = written.split_once(CRC).expect("a checksum");
        assert_eq!(crc, format!("{:08x}\"}}", crc_fast::crc32_iscsi(format!("{body}}}").as_bytes())));
    }

    #[test]
    fn a_line_that_was_altered_or_is_another_one_is_refused() {
        let written = text(7, &intent());
        assert_eq!(decode(&written, 8), Err(Flaw::Altered));
        for at in 0..written.len() {
            let mut bytes = written.clone().into_bytes();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            if let Ok(text) = String::from_utf8(bytes) {
                assert_eq!(decode(&text, 7), Err(Flaw::Altered), "{text}");
            }
        }
        for short in 0..written.len() {
            if let Some(text) = written.get(..short) {
                assert_eq!(decode(text, 7), Err(Flaw::Altered), "{text}");
            }
        }
    }
}
