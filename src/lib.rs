//! AWS day-2 operations as typed actions.
//!
//! An [`Action`] is a struct: its fields are the flags and the JSON keys, its doc comment is the page. One definition gives the command line,
//! JSON in and out, JSON Schema, the documentation page and the IAM permissions page. See `docs/writing-an-action.md`.

extern crate self as aaws;

mod aws;
pub mod catalog;
pub mod docs;
mod engine;
mod front;
mod input;
mod model;
mod render;
#[cfg(feature = "site")]
pub mod site;

#[path = "../actions/mod.rs"]
pub mod actions;

pub use aws::error::ErrorContext;
pub use aws::sandbox::{Sandbox, TourStep};
pub use aws::session::{Keys, MfaPrompt, Session, SessionOptions, is_role, no_role};
pub use engine::action::{Action, Output, Reply, Text};
pub use engine::change::{Change, Changed, DoneItems, FailedItems, ItemResult, LeftItems, OrPlan, Steps, Undo};
pub use engine::context::{Context, Run, Tally};
pub use engine::entry::{Entry, Ready};
pub use engine::listing::{Listing, Out};
pub use engine::poll::{Backoff, OnCancel, poll_until};
pub use engine::progress::Progress;
pub use engine::prompt::{NoPrompt, Prompt, Question};
pub use front::cli;
pub use input::{Age, Input, Items, Moment, Secret, now};
pub use model::call::{Access, Call, Grant, Refused, When};
pub use model::cancellation::{CancelReason, Cancellation};
pub use model::error::{AwsError, Error, InputError, Result, is_throttling, is_transient};
pub use model::meta::{Effect, Example, Meta};
pub use model::outcome::{Failure, Outcome, Record, Status};
pub use model::rules::Rule;
pub use model::target::partition;

// What an action's file needs beside this crate, so that it can be written against `aaws` alone.
pub use async_trait::async_trait;
pub use futures;
pub use inventory;
pub use schemars;
pub use serde;
pub use serde_json;
