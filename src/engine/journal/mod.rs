//! What a run writes down of what it does, so that another process can say what was done, undo it, or finish it.
//!
//! A journal is a file of JSON lines, each with a number and a checksum (`format`). What is about to be sent is on the disk before it is sent, what came of it
//! follows (`writer`). It is read whole, and believed only whole: an altered line, or one of a newer format, is an error; only a last line that a killed
//! process left half written is borne (`reader`). Where journals are kept, what they are called, and when they go is `store`'s.

mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod reader;
mod remainder;
mod store;
mod writer;

pub use format::{Became, FORMAT, Fate, Header, IntentId, JournalResult, StepId};
pub use reader::{Ended, Past, PastItem, PastStep};
pub use remainder::Remainder;
pub use store::{Store, new_id};
pub use writer::Writer;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::input::Input;
use crate::model::error::{Error, Result};
use crate::model::outcome::Status;
use crate::model::target::Target;

/// A step that is about to be taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepNote {
    /// The action that takes it: `ec2/encrypt_volume`.
    pub action: String,
    /// The item that it is part of.
    pub item: String,
    /// What would be undone, in words.
    pub says: String,
    /// What undoes it: [`crate::Entry::undo`] takes it.
    pub step: Value,
    /// Whether it is one of several of its item, which are undone when a later one fails: an item that was left half way is undone before it is begun again.
    #[serde(default)]
    pub unwinds: bool,
}

/// Where steps are noted, and what comes of items.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Notes steps, and gives the number of each, in their order. They are durable when this returns: the requests are sent after that.
    async fn note(&self, notes: Vec<StepNote>) -> Result<Vec<StepId>>;

    /// The steps are not to be undone any more.
    fn retract(&self, _steps: &[StepId], _fate: Fate) -> Result<()> {
        Ok(())
    }

    /// Keeps what is needed of an input to finish the run in another process; `schema` tells what of it is secret, and not kept.
    fn take_input(&self, _input: &mut Input, _schema: &Value) -> Result<()> {
        Ok(())
    }

    /// Whether the journal knows already where the run goes on.
    fn is_placed(&self) -> bool {
        true
    }

    /// Where the run goes on, and where its requests go. Said once, before anything is sent.
    fn place(&self, _target: &Target, _endpoint: &str) -> Result<()> {
        Ok(())
    }

    /// These items are about to be sent, in one request. That is durable when this returns, with the number by which it is known.
    async fn intend(&self, _items: Vec<String>) -> Result<IntentId> {
        Ok(0)
    }

    /// What came of items that were sent.
    fn record_results(&self, _results: Vec<JournalResult>) -> Result<()> {
        Ok(())
    }

    /// Whether [`Journal::settle_alike`] is understood.
    fn settles_alike(&self) -> bool {
        false
    }

    /// All items of one intent came to the same: its number, and what became of each of them.
    fn settle_alike(&self, _intent: IntentId, _became: Became) -> Result<()> {
        Ok(())
    }

    /// Whether an item was brought to its end by the process that this run goes on from.
    fn was_settled(&self, _item: &str) -> bool {
        false
    }

    /// Whether an item was begun by the process that this run goes on from, and nobody heard what came of it.
    fn was_begun(&self, _item: &str) -> bool {
        false
    }

    /// Whether steps of such an item were noted that are undone before it is begun again.
    fn unwinds_first(&self, _item: &str) -> bool {
        false
    }

    /// Whether this run goes on from another process.
    fn resumes(&self) -> bool {
        false
    }

    /// The run has come to its end. `complete` when it was not cut short.
    fn end(&self, _counts: &BTreeMap<Status, u64>, _error: Option<&Error>, _complete: bool) -> Result<()> {
        Ok(())
    }
}
