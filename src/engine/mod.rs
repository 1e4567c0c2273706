//! Runs actions: what an action is and sees, how items are changed, listed and waited for, and what is written down of it. Knows no service and no
//! front end: it is handed the actions, and whoever answers its questions.

pub mod action;
pub mod cache;
pub mod change;
pub mod context;
pub mod entry;
pub mod execute;
pub mod findings;
pub mod guards;
pub mod host;
pub mod journal;
pub mod listing;
pub mod overview;
pub mod paging;
pub mod plan;
pub mod poll;
pub mod report;
pub mod reversal;
pub mod run;
pub mod undoing;
