//! The tests drive the built program over real sockets, as its users do.

#[cfg(feature = "s3")]
mod changing;
#[cfg(feature = "s3")]
mod cli;
mod examples;
#[cfg(feature = "s3")]
mod guard;
#[cfg(feature = "iam")]
mod iam;
mod readme;
mod registry;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "s3")]
mod session;
mod support;
