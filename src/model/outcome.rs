//! What became of one item.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::code::Code;
use crate::model::error::{Error, is_transient};
use crate::model::target::Target;

/// What became of one item, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Changed as asked.
    Done,
    /// Already so: nothing had to be done.
    Unchanged,
    /// Left alone on purpose, with the reason.
    Skipped,
    /// Tried and not done.
    Failed,
    /// Would be changed (dry run).
    Planned,
}

impl Status {
    /// As written in reports.
    pub fn word(self) -> &'static str {
        match self {
            Status::Done => "done",
            Status::Unchanged => "unchanged",
            Status::Skipped => "skipped",
            Status::Failed => "failed",
            Status::Planned => "planned",
        }
    }
}

/// What an action says became of an item.
#[derive(Debug, Clone)]
pub enum Outcome<D = ()> {
    /// Changed as asked; what came of it, and what is worth knowing.
    Done(D, Option<String>),
    /// Already so, with the reason.
    Unchanged(String),
    /// Left alone on purpose.
    Skipped(Skip),
    /// Tried and not done.
    Failed(Failure),
}

/// Why an item was left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// A word for programs, where there is one.
    pub code: Option<Code>,
    /// The reason.
    pub why: String,
}

/// Why an item was not done.
#[derive(Debug, Clone)]
pub struct Failure {
    /// AWS's error code, or one of ours ([`Code`]).
    pub code: String,
    /// What AWS said.
    pub message: String,
    /// What was done before it failed, and stays.
    pub done: Vec<String>,
    /// Whether trying this item again a little later may help.
    pub transient: bool,
    /// The error that every other item would meet too, such as expired credentials: the run ends with it. What was done and undone is still said
    /// item by item.
    pub fatal: Option<Arc<Error>>,
}

impl Failure {
    /// What an answer of AWS says about one item; the code decides whether it is tried again.
    pub fn from_code(code: impl Into<String>, message: impl Into<String>) -> Self {
        let code = code.into();
        Failure { transient: is_transient(&code), ..Failure::permanent(code, message) }
    }

    /// Not worth another try.
    pub fn permanent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Failure { code: code.into(), message: message.into(), done: Vec::new(), transient: false, fatal: None }
    }

    /// There is nothing of this name: `it is none of the volumes of this account in this region`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Failure::permanent(Code::NotFound, message)
    }

    /// The same with more to say, when there is more.
    pub fn with_note(mut self, more: &str) -> Self {
        if !more.is_empty() {
            self.message = format!("{}; {more}", self.message);
        }
        self
    }

    /// The same, after something was done that stays.
    pub fn after(mut self, done: impl IntoIterator<Item = String>) -> Self {
        self.done.extend(done);
        self
    }

    /// All of it in one line.
    fn into_message(self) -> String {
        match self.done.is_empty() {
            true => self.message,
            false => format!("{}; done before that: {}", self.message, self.done.join(", ")),
        }
    }
}

/// A request that failed as a whole was already tried again where it was sent.
impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let failure = match error {
            Error::Aws(e) | Error::ForAll(e) => {
                let id = e.request_id.as_ref().map(|id| format!(" (request id {id})")).unwrap_or_default();
                Failure::permanent(&e.code, format!("{}{id}", e.message))
            }
            other => Failure::permanent(other.code().unwrap_or(Code::Failed.as_str()), other.to_string()),
        };
        Failure { fatal: error.to_fatal().map(Arc::new), ..failure }
    }
}

impl<D> Outcome<D> {
    /// Changed, with nothing more to say.
    pub fn done(value: D) -> Self {
        Outcome::Done(value, None)
    }

    /// Left alone for a reason that is not the user's own: exit code 3.
    pub fn skipped(why: impl Into<String>) -> Self {
        Outcome::Skipped(Skip { code: None, why: why.into() })
    }

    /// Left alone, with a word for programs.
    pub fn skipped_as(code: Code, why: impl Into<String>) -> Self {
        Outcome::Skipped(Skip { code: Some(code), why: why.into() })
    }

    /// There is nothing of this name: a failure, because a typo and a wrong region look just so, unless that was said to be no matter
    /// (`ignore_not_found`).
    pub fn not_found(ignored: bool, message: impl Into<String>) -> Self {
        if ignored { Outcome::Unchanged(message.into()) } else { Outcome::Failed(Failure::not_found(message)) }
    }

    /// The same, with something else that came of it.
    pub fn map<E>(self, what: impl FnOnce(D) -> E) -> Outcome<E> {
        match self {
            Outcome::Done(done, note) => Outcome::Done(what(done), note),
            Outcome::Unchanged(why) => Outcome::Unchanged(why),
            Outcome::Skipped(skip) => Outcome::Skipped(skip),
            Outcome::Failed(failure) => Outcome::Failed(failure),
        }
    }

    /// The error that the run ends with because of this item.
    pub(crate) fn fatal(&self) -> Option<Error> {
        match self {
            Outcome::Failed(failure) => failure.fatal.as_ref()?.to_fatal(),
            _ => None,
        }
    }

    /// What it comes to in one word.
    pub fn status(&self) -> Status {
        match self {
            Outcome::Done(..) => Status::Done,
            Outcome::Unchanged(_) => Status::Unchanged,
            Outcome::Skipped(_) => Status::Skipped,
            Outcome::Failed(_) => Status::Failed,
        }
    }

    /// As data, with what came of it when it was done.
    pub(crate) fn into_record(self, item: impl Into<String>) -> (Record, Option<D>) {
        let record = Record::new(item, self.status());
        match self {
            Outcome::Done(done, note) => (Record { message: note, ..record }, Some(done)),
            Outcome::Unchanged(why) => (record.with_message(why), None),
            Outcome::Skipped(skip) => (Record { code: skip.code.map(String::from), ..record }.with_message(skip.why), None),
            Outcome::Failed(failure) => (record.with_code(failure.code.clone()).with_message(failure.into_message()), None),
        }
    }
}

/// The outcome of one item as data: a line of the report, an entry of a plan. It can be read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The item's identity, unique in a run and the same in the next: a key, an id, a name.
    pub item: String,
    /// What it is called where that is not its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is, where an action has items of several kinds: `volume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What became of it.
    pub status: Status,
    /// AWS's error code, or one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What is worth knowing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where it is; said in a record that stands by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Box<Target>>,
}

impl Record {
    /// With nothing but what became of it.
    pub fn new(item: impl Into<String>, status: Status) -> Self {
        Record { item: item.into(), name: None, kind: None, status, code: None, message: None, target: None }
    }

    /// With an error code.
    pub fn with_code(self, code: impl Into<String>) -> Self {
        Record { code: Some(code.into()), ..self }
    }

    /// With something to say.
    pub fn with_message(self, message: impl Into<String>) -> Self {
        Record { message: Some(message.into()), ..self }
    }

    /// What people know it by.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.item)
    }

    /// Whether it has this code of ours.
    pub fn is(&self, code: Code) -> bool {
        self.code.as_deref() == Some(code.as_str())
    }

    /// As JSON; it holds nothing that JSON lacks.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let target = Some(Box::new(Target { account: None, region: "eu-west-1".parse().ok() }));
        let record =
            Record { name: Some("root of i-1".into()), kind: Some("volume".into()), target, ..Record::new("vol-1", Status::Failed) };
        let record = record.with_code(Code::NotFound).with_message("it does not exist");
        let read = serde_json::from_value::<Record>(record.to_value());
        assert_eq!(read.ok(), Some(record));
    }

    #[test]
    fn what_was_done_before_a_failure_is_said() {
        let failure = Failure::permanent("AccessDenied", "no").after(["stopped i-1".to_owned()]);
        let (record, _) = Outcome::<()>::Failed(failure).into_record("i-1");
        assert_eq!(record.message.as_deref(), Some("no; done before that: stopped i-1"));
    }
}
