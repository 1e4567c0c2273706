//! The ground: data and what is true of it by itself. Knows nothing of the SDK's clients, of files, of actions' code, or of any front end.

pub mod call;
pub mod cancellation;
pub mod clock;
pub mod code;
pub mod error;
pub mod meta;
pub mod outcome;
pub mod rules;
pub mod target;
mod text;
