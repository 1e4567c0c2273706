//! What needs no AWS.

pub mod get_date;

pub use get_date::GetDate;
