//! What an earlier process left of a run, for the one that goes on from it.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;

use super::format::{JournalResult, StepId};
use super::reader::Past;
use super::{Journal, StepNote};
use crate::model::error::Result;

/// What is left of an earlier run. By itself, where nothing is written down, it is the journal of a dry run of the rest.
#[derive(Debug)]
pub struct Remainder {
    /// The items that are as they were asked for.
    settled: HashSet<String>,
    /// Those that were begun, and of which nobody heard more; and whether steps of them were noted, which are undone first.
    begun: HashMap<String, bool>,
}

impl Remainder {
    /// Of what a journal says.
    pub fn of(past: &Past) -> Self {
        let settled = past.items.iter().filter(|item| item.result.as_ref().is_some_and(JournalResult::is_as_asked));
        let begun = past.items.iter().filter(|item| item.result.is_none());
        Remainder {
            settled: settled.map(|item| item.item.clone()).collect(),
            begun: begun.map(|item| (item.item.clone(), item.steps.iter().any(|step| step.unwinds))).collect(),
        }
    }
}

#[async_trait]
impl Journal for Remainder {
    async fn note(&self, notes: Vec<StepNote>) -> Result<Vec<StepId>> {
        Ok(vec![0; notes.len()])
    }

    fn was_settled(&self, item: &str) -> bool {
        self.settled.contains(item)
    }

    fn was_begun(&self, item: &str) -> bool {
        self.begun.contains_key(item)
    }

    fn unwinds_first(&self, item: &str) -> bool {
        self.begun.get(item) == Some(&true)
    }

    fn resumes(&self) -> bool {
        true
    }
}
