//! What became of one item.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::model::error::{Error, is_transient};

/// What became of one item, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, schemars::JsonSchema)]
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
    /// Left alone on purpose, with the reason.
    Skipped(String),
    /// Tried and not done.
    Failed(Failure),
}

/// Why an item was not done.
#[derive(Debug, Clone)]
pub struct Failure {
    /// AWS's error code, or one of ours.
    pub code: String,
    /// What AWS said.
    pub message: String,
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
        Failure { code: code.into(), message: message.into(), transient: false, fatal: None }
    }

    /// The same with more to say, when there is more.
    pub fn with_note(mut self, more: &str) -> Self {
        if !more.is_empty() {
            self.message = format!("{}; {more}", self.message);
        }
        self
    }
}

/// A request that failed as a whole was already tried again by the SDK.
impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let failure = match error {
            Error::Aws(e) => {
                let id = e.request_id.as_ref().map(|id| format!(" (request id {id})")).unwrap_or_default();
                Failure::permanent(&e.code, format!("{}{id}", e.message))
            }
            other => Failure::permanent(other.code().unwrap_or("Failed"), other.to_string()),
        };
        Failure { fatal: error.to_fatal().map(Arc::new), ..failure }
    }
}

impl<D> Outcome<D> {
    /// Changed, with nothing more to say.
    pub fn done(value: D) -> Self {
        Outcome::Done(value, None)
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
}

/// The outcome of one item as data: a line of the report, an entry of a plan.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Record {
    /// The item's identity: a key, an id, a name.
    pub item: String,
    /// What became of it.
    pub status: Status,
    /// AWS's error code, or one of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What is worth knowing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Record {
    /// As JSON; it holds nothing that JSON lacks.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
