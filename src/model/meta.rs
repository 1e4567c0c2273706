//! What is known of an action without running it.

use serde::Serialize;

use crate::model::call::Call;
use crate::model::rules::Rule;

/// What is known of an action without running it.
#[derive(Debug, Clone, Copy)]
pub struct Meta {
    /// `s3/delete_objects`: also where its file and its pages are.
    pub path: &'static str,
    /// What it does to the account.
    pub effect: Effect,
    /// Every API operation that it may make; others are refused while it runs.
    pub calls: &'static [Call],
    /// What a type cannot say of the inputs.
    pub rules: &'static [Rule],
    /// Run by the tests, shown in help and pages.
    pub examples: &'static [Example],
    /// Limits of the service, and what surprises.
    pub notes: &'static [&'static str],
}

impl Meta {
    /// `s3`
    pub fn service(&self) -> &'static str {
        self.path.split_once('/').map_or(self.path, |(service, _)| service)
    }

    /// `delete_objects`
    pub fn name(&self) -> &'static str {
        self.path.split_once('/').map_or(self.path, |(_, name)| name)
    }
}

/// What an action does to the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Needs no AWS at all.
    Local,
    /// Looks only.
    Read,
    /// Adds something.
    Create,
    /// Changes what is there.
    Modify,
    /// Changes what is there so that it is missed meanwhile, or cannot come back: a machine is stopped, a password destroyed. Asks first on a terminal.
    Disrupt,
    /// Takes away what may not come back: asks first on a terminal.
    Delete,
}

impl Effect {
    /// As written in pages and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Effect::Local => "local",
            Effect::Read => "read",
            Effect::Create => "create",
            Effect::Modify => "modify",
            Effect::Disrupt => "disrupt",
            Effect::Delete => "delete",
        }
    }

    /// Whether it changes anything in the account.
    pub fn changes(self) -> bool {
        matches!(self, Effect::Create | Effect::Modify | Effect::Disrupt | Effect::Delete)
    }
}

/// What of an action can be undone by `aaws undo`, in sentences; an empty one says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "reversible", content = "what", rename_all = "snake_case")]
pub enum Reversible {
    /// All that it changes.
    Yes(&'static str),
    /// Some of it: which.
    Partly(&'static str),
    /// Nothing.
    No(&'static str),
}

impl Reversible {
    /// As written in pages.
    pub fn word(self) -> &'static str {
        match self {
            Reversible::Yes(_) => "yes",
            Reversible::Partly(_) => "partly",
            Reversible::No(_) => "no",
        }
    }

    /// What of it, as far as there is something to say.
    pub fn what(self) -> &'static str {
        match self {
            Reversible::Yes(what) | Reversible::Partly(what) | Reversible::No(what) => what,
        }
    }
}

/// One use of an action: run by the tests, shown in help and pages.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// A sentence without its full stop: "Delete `a` and `b` from `example-bucket`".
    pub title: &'static str,
    /// The input, as a JSON object.
    pub input: &'static str,
    /// What it prints, as JSON.
    pub output: &'static str,
    /// What has to be there before, named as the service names it (for S3: keys in `example-bucket`).
    pub given: &'static [&'static str],
}

/// A question about the account and region that `aaws overview` asks by an action that lists: how many things does it find, and since when are they there?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is counted: "Volumes that are attached to nothing".
    pub title: &'static str,
    /// The input of the action, as a JSON object.
    pub input: &'static str,
    /// The member of a row that says since when it is so, RFC 3339; the earliest is shown. The input has to ask for rows that have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<&'static str>,
    /// What would mend all that is listed, as it stands behind the pipe: "ec2 delete_volumes --volume_ids -". None where some of what is listed may well be
    /// in use, or be meant so: whoever copies the command chooses nothing any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<&'static str>,
}
