//! Plans: what a dry run showed, written down with what it saw of each item, and what is applied of it later.
//!
//! A plan is a file of JSON Lines: a [`Header`]; a line for each item, those that would be left alone too ([`ItemLine`]); and at the end how many items
//! there are, with the SHA-256 of all lines before ([`End`]). Lists of the input are in the lines of the items, an element in each. Secrets are nowhere in it.
//! Knows of files and lines only: what they say of an item is compared in [`crate::engine::change`].

mod applied;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod read;
mod write;

pub use read::{PlanRules, Planned};
pub use write::PlanWriter;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::aws::endpoint;
use crate::aws::session::Session;
use crate::input::{Age, Input};
use crate::model::error::{Error, Result};
use crate::model::meta::Meta;
use crate::model::outcome::Record;
use crate::model::target::{AccountId, Region};

/// The format of plans. A program refuses one that is newer than itself.
const FORMAT: u64 = 1;

/// What a request has to do with a plan.
#[derive(Debug, Clone, Default)]
pub enum PlanMode {
    /// Nothing.
    #[default]
    None,
    /// It is a dry run that writes one.
    Write(NewPlan),
    /// It does what one says, to what is still as it was.
    Apply(Arc<Planned>),
}

/// A plan to be written.
#[derive(Debug, Clone)]
pub struct NewPlan {
    /// Where. There must be nothing there.
    pub file: PathBuf,
    /// How long it holds.
    pub expires: Age,
}

/// The same, of a run.
pub enum RunPlan {
    /// The run has no plan.
    None,
    /// It writes one.
    Writing(Box<PlanWriter>),
    /// It applies one.
    Applying(Arc<Planned>),
}

/// The first line of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`]
    pub format: u64,
    /// `aaws 0.1.0`
    pub tool: String,
    /// `s3/delete_objects`
    pub action: String,
    /// The input, but for secrets. Lists that may be long are empty here, and their elements in the lines that follow.
    pub input: Map<String, Value>,
    /// Where it was made, and where alone it can be applied.
    pub targets: Vec<PlanTarget>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends to hold.
    pub expires: Timestamp,
}

/// An account and a region, and where requests for them go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTarget {
    /// The account's twelve digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// The region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// `aws`, scheme and host of another endpoint, or `sandbox` and its folder. Earlier programs said it only where no account was known, and no folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// A line of a plan: an item, what would become of it, what it was like, and what of the input stands on this line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ItemLine {
    /// What a dry run says of it.
    #[serde(flatten)]
    pub record: Record,
    /// What it must still be like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
    /// The next element of each list of the input.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub input: Map<String, Value>,
}

/// Elements of lists for which no item is left, on a line of their own.
#[derive(Debug, Serialize)]
struct RestLine {
    input: Map<String, Value>,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    items: u64,
    sha256: String,
}

impl PlanMode {
    /// For a run that begins. A plan that cannot be written is told before anything is sent.
    pub fn begin(self) -> Result<RunPlan> {
        Ok(match self {
            PlanMode::None => RunPlan::None,
            PlanMode::Write(new) => RunPlan::Writing(Box::new(PlanWriter::create(new)?)),
            PlanMode::Apply(planned) => RunPlan::Applying(planned),
        })
    }
}

impl RunPlan {
    /// The clock by which dates of the input are read: those of a plan are what they were when it was made.
    pub fn clock(&self, now: Timestamp) -> Timestamp {
        match self {
            RunPlan::Applying(planned) => planned.header().created,
            RunPlan::None | RunPlan::Writing(_) => now,
        }
    }

    /// Takes from an input what a plan that is written will hold of it.
    pub fn keep(&self, schema: impl FnOnce() -> Value, input: &mut Input) -> Result<()> {
        match self {
            RunPlan::Writing(plan) => plan.keep(&schema(), input),
            RunPlan::None | RunPlan::Applying(_) => Ok(()),
        }
    }

    /// The run knows where it is: a plan that is written begins, one that is applied must be of this place.
    pub async fn meet(&self, meta: &Meta, session: &Session, now: Timestamp) -> Result<()> {
        let action = meta.path;
        match self {
            RunPlan::None => Ok(()),
            RunPlan::Writing(plan) => {
                plan.open()?;
                plan.begin(action, PlanTarget::of(session, meta.service()).await, now)
            }
            RunPlan::Applying(planned) if planned.header().action == action => {
                planned.check_target(&PlanTarget::of(session, meta.service()).await)
            }
            RunPlan::Applying(planned) => Err(Error::Refused(format!("the plan is of `{}`, not of `{action}`", planned.header().action))),
        }
    }

    /// The run came to its end. A plan that is written is put in its place if it is `whole`; half of a plan is none.
    pub fn finish(&self, whole: bool) -> Result<()> {
        match self {
            RunPlan::Writing(plan) if whole => plan.finish().inspect_err(|_| plan.discard()),
            RunPlan::Writing(plan) => {
                plan.discard();
                Ok(())
            }
            RunPlan::None | RunPlan::Applying(_) => Ok(()),
        }
    }
}

impl PlanTarget {
    async fn of(session: &Session, service: &str) -> Self {
        let account = session.account().await.cloned();
        PlanTarget { account, region: session.region().cloned(), endpoint: Some(session.destination(service)) }
    }

    /// Where requests go, as far as it is said: what knew of no account and no endpoint was on AWS.
    fn destination(&self) -> Option<&str> {
        self.endpoint.as_deref().or(self.account.is_none().then_some(endpoint::AWS))
    }

    /// For people.
    fn place(&self) -> String {
        match (&self.account, &self.endpoint) {
            (Some(account), _) => format!("the account {account}"),
            (None, Some(there)) if there != endpoint::AWS => endpoint::in_words(there),
            (None, _) => "an account that is not known".to_owned(),
        }
    }
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
