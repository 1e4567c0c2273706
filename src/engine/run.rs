//! One run: what all its items and targets share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::aws::network::Network;
use crate::engine::guards::Guards;
use crate::engine::host::Host;
use crate::engine::journal::Journal;
use crate::engine::plan::RunPlan;
use crate::engine::report::Report;
use crate::input::Age;
use crate::model::cancellation::Cancellation;
use crate::model::error::{Error, Result};
use crate::model::outcome::Status;

/// How many requests of a run are in flight at once unless told otherwise.
const CONCURRENCY: usize = 16;

/// More than this serves nobody: connections, memory and the other users of the account pay for it.
const MAX_CONCURRENCY: usize = 256;

/// How many requests of a run may be in flight at once, all services together: 1 to 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "usize")]
pub struct Concurrency(usize);

impl Concurrency {
    /// The number.
    pub fn get(self) -> usize {
        self.0
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Concurrency(CONCURRENCY)
    }
}

impl TryFrom<usize> for Concurrency {
    type Error = Error;

    fn try_from(number: usize) -> Result<Self> {
        if (1..=MAX_CONCURRENCY).contains(&number) {
            return Ok(Concurrency(number));
        }
        Err(Error::field("concurrency", format!("`concurrency` takes a whole number from 1 to {MAX_CONCURRENCY}, not `{number}`")))
    }
}

/// How a run goes about its work: the same from every front end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// How many requests may be in flight.
    pub concurrency: Concurrency,
    /// After this long nothing new is started.
    pub timeout: Option<Age>,
    /// Send no write, and say what would be changed.
    pub dry_run: bool,
    /// Where items are written down as they are settled.
    pub report: Option<std::path::PathBuf>,
    /// Of a listing: to find something is no success.
    pub fail_on_findings: bool,
    /// Of a listing: the file of an earlier run; what it holds is not listed again.
    pub baseline: Option<std::path::PathBuf>,
    /// Whether what makes the next run faster may be kept in the user's cache directory, and is used from there. Nothing but speed depends on it.
    pub cache: bool,
    /// What it may change, and whether somebody has to agree.
    pub guards: Guards,
}

/// What all items of a run share.
pub struct Run {
    pub options: RunOptions,
    /// The run's clock.
    pub now: Timestamp,
    /// Every age in the input is counted from here: from now, or from when the plan was made that it applies, or the run was begun that it finishes.
    pub begun: Timestamp,
    pub host: Arc<dyn Host>,
    pub report: Option<Report>,
    pub journal: Option<Arc<dyn Journal>>,
    /// The plan that it writes, or applies.
    pub plan: RunPlan,
    pub cancellation: Cancellation,
    pub network: Network,
    pub tally: Tally,
    /// One for each item that is being worked on. An item that only waits has given its own back.
    pub slots: Arc<Semaphore>,
    /// What was said of the run, for what comes later.
    pub marks: Mutex<BTreeSet<&'static str>>,
}

impl Run {
    /// A run that begins now.
    pub fn new(
        options: RunOptions,
        host: Arc<dyn Host>,
        report: Option<Report>,
        journal: Option<Arc<dyn Journal>>,
        cancellation: Cancellation,
    ) -> Self {
        let concurrency = options.concurrency.get();
        let now = Timestamp::now();
        Run {
            now,
            begun: now,
            network: Network::new(concurrency, cancellation.clone()),
            slots: Arc::new(Semaphore::new(concurrency)),
            tally: Tally::default(),
            marks: Mutex::default(),
            plan: RunPlan::None,
            options,
            host,
            report,
            journal,
            cancellation,
        }
    }
}

/// How many items came to what.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

/// What is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items by what became of them.
    pub items: BTreeMap<Status, u64>,
    /// Of the skipped ones, those that a guard of the user's own kept, or that were planned to be left: they are as asked.
    pub kept: u64,
    /// Of the skipped ones, those that were never begun because the run ended.
    pub not_started: u64,
}

impl Tally {
    /// A copy of the counts.
    pub fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Counts {
    /// How many items have this status.
    pub fn of(&self, status: Status) -> u64 {
        self.items.get(&status).copied().unwrap_or_default()
    }

    /// Whether all that was asked for is so.
    pub fn is_success(&self) -> bool {
        self.of(Status::Failed) == 0 && self.of(Status::Skipped) == self.kept
    }
}
