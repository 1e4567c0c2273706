//! What the tests stand on: the program under test, and the servers it talks to.

// With some services only, what the tests of the others use is left over.
#![cfg_attr(
    not(all(
        feature = "backup",
        feature = "cloudtrail",
        feature = "ec2",
        feature = "general",
        feature = "iam",
        feature = "s3",
        feature = "sts"
    )),
    allow(dead_code, unused_imports)
)]

pub mod aaws;
pub mod account;
#[cfg(all(feature = "s3", feature = "site"))]
pub mod browser;
pub mod cases;
#[cfg(feature = "s3")]
pub mod cbor;
#[cfg(feature = "ec2")]
pub mod ec2;
#[cfg(feature = "backup")]
pub mod fake_backup;
pub mod fake_bucket;
#[cfg(feature = "cloudtrail")]
pub mod fake_cloudtrail;
#[cfg(feature = "s3")]
pub mod fake_cloudwatch;
#[cfg(feature = "iam")]
pub mod fake_iam;
pub mod fake_s3;
#[cfg(feature = "ec2")]
pub mod fake_services;
pub mod http;
pub mod in_flight;
#[cfg(feature = "s3")]
pub mod key_space;
pub mod moto;
pub mod proxy;
#[cfg(feature = "s3")]
pub mod stores;
pub mod tls;
pub mod tools;
pub mod trap;
pub mod xml;

pub use aaws::{Aaws, Output, aaws, directory, outcomes, report, shell, told};
pub use account::Account;
pub use http::{Response, Server};
pub use moto::Bucket;
