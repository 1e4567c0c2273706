//! Front ends: each turns its own form of a request into an invocation of the engine, and shows what comes of it.

pub mod cli;
