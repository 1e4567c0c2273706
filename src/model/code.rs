//! Error codes of our own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Our own error codes: what no answer of AWS says. Where AWS has a code, its code stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Code {
    /// It is not what it was when it was listed or planned.
    Changed,
    /// It is given more than once, and only one of them can be meant.
    Duplicate,
    /// One of the items of one request that could not be told apart any further.
    Failed,
    /// The run was cancelled.
    Interrupted,
    /// There is no way back from what was done with it.
    Irreversible,
    /// What was made or begun did not come to its end.
    NotComplete,
    /// It was begun, and was not waited for to its end.
    NotAwaited,
    /// There is nothing of this name in this account and region.
    NotFound,
    /// The answer says nothing of it.
    NoAnswer,
    /// The request never left this machine.
    NotSent,
    /// The run ended before it.
    NotStarted,
    /// A guard of the user's own keeps it.
    Protected,
    /// A guard of this program stopped it.
    Refused,
    /// No answer came in time.
    TimedOut,
    /// Whether it was done is not known.
    Unknown,
    /// The answer is none of this API.
    UnreadableAnswer,
    /// A local file could not be read.
    UnreadableFile,
    /// No connection.
    Unreachable,
    /// What it takes to be safe could not be looked at.
    Unchecked,
}

impl Code {
    /// As written in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Changed => "Changed",
            Code::Duplicate => "Duplicate",
            Code::Failed => "Failed",
            Code::Interrupted => "Interrupted",
            Code::Irreversible => "Irreversible",
            Code::NotComplete => "NotComplete",
            Code::NotAwaited => "NotAwaited",
            Code::NotFound => "NotFound",
            Code::NoAnswer => "NoAnswer",
            Code::NotSent => "NotSent",
            Code::NotStarted => "NotStarted",
            Code::Protected => "Protected",
            Code::Refused => "Refused",
            Code::TimedOut => "TimedOut",
            Code::Unknown => "Unknown",
            Code::UnreadableAnswer => "UnreadableAnswer",
            Code::UnreadableFile => "UnreadableFile",
            Code::Unreachable => "Unreachable",
            Code::Unchecked => "Unchecked",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Code> for String {
    fn from(code: Code) -> String {
        code.as_str().to_owned()
    }
}
