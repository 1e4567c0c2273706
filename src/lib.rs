//! AWS day-2 operations as typed actions.
//!
//! An [`Action`] is a struct: its fields are the flags and the JSON keys, its doc comment is the page. One definition gives the command line,
//! JSON in and out, JSON Schema, the documentation page and the IAM permissions page. See `docs/writing-an-action.md`.

extern crate self as aaws;

pub mod aws;
pub mod catalog;
pub mod docs;
pub mod engine;
pub mod front;
pub mod input;
pub mod model;
pub mod render;
#[cfg(feature = "site")]
pub mod site;

#[path = "../actions/mod.rs"]
pub mod actions;

pub use aws::error::Doing;
pub use engine::action::{Action, Output, Text};
pub use engine::change::{Change, Changed, DoneItems, FailedItems, LeftItems, Steps, Told, Undo};
pub use engine::context::Context;
pub use engine::entry::Entry;
pub use engine::listing::{Listing, Out};
pub use front::cli;
pub use input::{Age, Items, Moment, Secret};
pub use model::call::{Access, Call, Grant, When};
pub use model::error::{Error, Result};
pub use model::meta::{Effect, Example, Meta};
pub use model::outcome::{Failure, Outcome, Record, Status};
pub use model::rules::Rule;

// What an action's file needs beside this crate, so that it can be written against `aaws` alone.
pub use async_trait::async_trait;
pub use futures;
pub use inventory;
pub use schemars;
pub use serde;
pub use serde_json;
