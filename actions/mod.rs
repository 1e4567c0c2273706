//! The catalogue: one folder a service, one file an action. Nothing else knows an action's name.

#[cfg(feature = "s3")]
pub mod s3;
