//! AWS day-2 operations as typed actions.
//!
//! An [`Action`] is a struct: its fields are the flags and the JSON keys, its doc comment is the page. One definition gives the command line,
//! JSON in and out, JSON Schema, the documentation page and the IAM permissions page. See `docs/writing-an-action.md`.

#![forbid(unsafe_code)]
// The futures of the SDK nest deep, and so do those of an action that goes through several of them.
#![recursion_limit = "256"]

extern crate self as aaws;

mod aws;
pub mod catalog;
pub mod docs;
mod engine;
mod front;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod input;
mod model;
#[cfg(any(test, fuzzing))]
mod mutations;
mod render;
#[cfg(feature = "site")]
pub mod site;

#[path = "../actions/mod.rs"]
pub mod actions;

pub use aws::backoff::Policy;
pub use aws::error::ErrorContext;
pub use aws::guard::Weight;
pub use aws::options::{Keys, SessionOptions};
pub use aws::sandbox::{Sandbox, TourStep};
pub use aws::session::Session;
pub use engine::action::{Action, Collected, Output, Reply, Row, Text};
pub use engine::cache::Cache;
pub use engine::change::{
    Change, ChangeOne, Changed, Dependency, DoneItems, FailedItems, ItemResult, LeftItems, Noted, OrPlan, Step, Steps, Undo, left_alone,
};
pub use engine::context::Context;
pub use engine::entry::{Entry, Ready};
pub use engine::execute::{Connection, Execution, Request, Summary, execute};
pub use engine::findings::FindingCounts;
pub use engine::guards::{Guards, Percent, ProtectTag};
pub use engine::host::{Consent, Host, Place, Progress, Question, Unattended};
pub use engine::journal::{Became, Ended, Fate, Header, IntentId, Journal, JournalResult, Past, PastItem, PastStep, StepId, StepNote};
pub use engine::listing::{Listing, Out};
pub use engine::overview::{Answer, overview};
pub use engine::paging::{Early, Next, Page, paged, paged_ahead, pages};
pub use engine::plan::{NewPlan, PlanMode, PlanRules, Planned};
pub use engine::poll::{Backoff, OnCancel, poll_until};
pub use engine::run::{Concurrency, Counts, RunOptions};
pub use engine::undoing::Again;
pub use front::cli;
pub use input::{Age, Glob, Input, Items, LocalPath, Moment, PathOrText, Secret};
pub use model::call::{Access, Call, Grant, Refused, When};
pub use model::cancellation::{CancelReason, Cancellation};
pub use model::clock;
pub use model::code::Code;
pub use model::error::{AwsError, Error, InputError, Result, is_throttling, is_transient};
pub use model::meta::{Check, Effect, Example, Meta, Reversible};
pub use model::outcome::{Failure, Outcome, Record, Skip, Status};
pub use model::rules::Rule;
pub use model::target::{AccountId, Region, RoleArn, SessionName, Target, partition};

/// For this crate's macros.
#[doc(hidden)]
pub mod __private {
    pub use crate::aws::guard::ThrottlingClassifier;
    pub use crate::engine::entry::{HasDefault, NoDefault};

    /// What [`crate::client!`] makes a client of, with the guard in it.
    pub fn sdk_config(cx: &crate::Context) -> &aws_types::SdkConfig {
        cx.sdk_config()
    }

    /// The SDK's own quota of retries, out of the way: ours is the run's.
    pub fn retry_partition() -> aws_smithy_runtime::client::retries::RetryPartition {
        crate::aws::network::Network::retry_partition()
    }
}

// What an action's file needs beside this crate, so that it can be written against `aaws` alone.
pub use async_trait::async_trait;
pub use futures;
pub use inventory;
pub use schemars;
pub use serde;
pub use serde_json;
