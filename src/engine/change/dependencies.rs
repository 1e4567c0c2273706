//! Items that have to be gone before others are begun.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::engine::context::Context;
use crate::model::code::Code;
use crate::model::outcome::{Failure, Outcome, Record, Status};

/// What an item waits for, and what becomes of it otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The identity of an item that comes before it.
    pub on: String,
    /// What becomes of it when that one stays.
    pub otherwise: Otherwise,
}

/// What becomes of an item when one that it waits for stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// It is left alone: "kept: i-1 was not terminated".
    Skipped(String),
    /// It fails, with this code and message.
    Failed(String, String),
}

impl Dependency {
    /// It is left alone unless `on` goes.
    pub fn or_skip(on: impl Into<String>, why: impl Into<String>) -> Self {
        Dependency { on: on.into(), otherwise: Otherwise::Skipped(why.into()) }
    }

    /// It fails unless `on` goes.
    pub fn or_fail(on: impl Into<String>, code: impl Into<String>, why: impl Into<String>) -> Self {
        Dependency { on: on.into(), otherwise: Otherwise::Failed(code.into(), why.into()) }
    }
}

/// What became of the items so far, for those that wait for them.
#[derive(Clone)]
pub(super) struct Recorded {
    /// Whether anybody waits: a list of millions is not kept for nothing.
    kept: bool,
    /// Identities that came already: what became of a second mention is not what became of the item.
    begun: Arc<Mutex<HashSet<String>>>,
    items: Arc<Mutex<HashMap<String, watch::Sender<Option<bool>>>>>,
}

impl Recorded {
    pub fn new(kept: bool) -> Self {
        Recorded { kept, begun: Arc::default(), items: Arc::default() }
    }

    /// Whether no item of this identity came before. Items have to be asked about in their order.
    pub fn is_first(&self, item: impl FnOnce() -> String) -> bool {
        !self.kept || self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(item())
    }

    fn of(&self, item: &str) -> watch::Receiver<Option<bool>> {
        let mut all = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(item.to_owned()).or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    /// It is gone, or it stays.
    pub fn note(&self, record: &Record) {
        if !self.kept {
            return;
        }
        let gone = matches!(record.status, Status::Done | Status::Unchanged);
        let mut all = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(record.item.clone()).or_insert_with(|| watch::Sender::new(None)).send_replace(Some(gone));
    }

    /// Waits until all of these are gone. Why the item is left alone, when one stays, or is not known to be gone when the run ends.
    pub async fn wait<D>(&self, cx: &Context, dependencies: Vec<Dependency>) -> Option<Outcome<D>> {
        for Dependency { on, otherwise } in dependencies.into_iter().filter(|dependency| !cx.was_settled(&dependency.on)) {
            let mut state = self.of(&on);
            let known = |state: &watch::Receiver<Option<bool>>| *state.borrow() == Some(true);
            let gone = tokio::select! {
                biased;
                settled = state.wait_for(Option::is_some) => settled.is_ok_and(|gone| *gone == Some(true)),
                // What was settled before stands; nothing more is waited for.
                () = cx.cancellation().cancelled() => known(&self.of(&on)),
            };
            if !gone {
                return Some(match otherwise {
                    Otherwise::Skipped(why) if cx.cancellation().is_cancelled() => Outcome::skipped_as(Code::NotStarted, why),
                    Otherwise::Skipped(why) => Outcome::skipped(why),
                    Otherwise::Failed(code, why) => Outcome::Failed(Failure::permanent(code, why)),
                });
            }
        }
        None
    }
}
