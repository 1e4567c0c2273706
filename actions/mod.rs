//! The catalogue: one folder a service, one file an action. Nothing else knows an action's name.

#[cfg(feature = "backup")]
pub mod backup;
#[cfg(feature = "cloudtrail")]
pub mod cloudtrail;
#[cfg(feature = "ec2")]
pub mod ec2;
#[cfg(feature = "general")]
pub mod general;
#[cfg(feature = "iam")]
pub mod iam;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(feature = "sts")]
pub mod sts;
