//! The tests drive the built program over real sockets, as its users do.

mod changing;
mod cli;
mod s3;
mod support;
