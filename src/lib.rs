//! AWS day-2 operations as typed actions.
//!
//! An [`Action`] is a struct: its fields are the flags and the JSON keys, its doc comment is the page. One definition gives the command line,
//! JSON in and out, JSON Schema, the documentation page and the IAM permissions page. See `docs/writing-an-action.md`.

extern crate self as aaws;

pub mod action;
pub mod call;
pub mod change;
pub mod cli;
pub mod consent;
pub mod context;
pub mod docs;
pub mod error;
pub mod guard;
pub mod input;
pub mod listing;
pub mod manifest;
pub mod outcome;
pub mod output;
pub mod policy;
pub mod poll;
pub mod progress;
pub mod registry;
pub mod report;
pub mod rules;
pub mod sandbox;
pub mod schema;
pub mod session;
#[cfg(feature = "site")]
pub mod site;
pub mod stop;

#[path = "../actions/mod.rs"]
pub mod actions;

pub use action::{Action, Effect, Example, Meta, Output, Text};
pub use call::{Access, Call, Grant, When};
pub use change::{Change, Changed, DoneItems, FailedItems, LeftItems, Steps, Told, Undo};
pub use context::Context;
pub use error::{Doing, Error, Result};
pub use input::{Age, Items, Moment, Secret};
pub use listing::{Listing, Out};
pub use outcome::{Failure, Outcome, Record, Status};
pub use rules::Rule;

// What an action's file needs beside this crate, so that it can be written against `aaws` alone.
pub use async_trait::async_trait;
pub use futures;
pub use inventory;
pub use schemars;
pub use serde;
pub use serde_json;
