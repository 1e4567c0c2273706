//! The tests drive the built program over real sockets, as its users do.

#[cfg(feature = "backup")]
mod backup;
#[cfg(all(feature = "s3", feature = "site"))]
mod browser;
#[cfg(any(feature = "backup", feature = "ec2", feature = "iam", feature = "s3"))]
mod cases;
#[cfg(feature = "s3")]
mod changing;
#[cfg(feature = "s3")]
mod cli;
#[cfg(feature = "cloudtrail")]
mod cloudtrail;
#[cfg(feature = "s3")]
mod completions;
#[cfg(feature = "s3")]
mod consent;
#[cfg(feature = "s3")]
mod delete_incomplete_uploads;
#[cfg(feature = "s3")]
mod discover_buckets;
mod doctor;
#[cfg(feature = "ec2")]
mod ec2;
mod examples;
mod execute;
#[cfg(feature = "general")]
mod general;
#[cfg(feature = "s3")]
mod guard;
#[cfg(feature = "s3")]
mod guards;
mod guides;
#[cfg(feature = "s3")]
mod hostile;
#[cfg(feature = "iam")]
mod iam;
#[cfg(feature = "iam")]
mod iam_modify;
#[cfg(feature = "iam")]
mod iam_paths;
#[cfg(feature = "iam")]
mod iam_revoke;
#[cfg(feature = "s3")]
mod journal;
#[cfg(feature = "s3")]
mod listings;
mod man;
#[cfg(all(feature = "ec2", feature = "iam", feature = "site"))]
mod overview;
#[cfg(all(feature = "backup", feature = "cloudtrail", feature = "ec2", feature = "iam", feature = "s3", feature = "site"))]
mod packages;
#[cfg(feature = "s3")]
mod pipes;
#[cfg(any(feature = "ec2", feature = "iam", feature = "s3"))]
mod plan;
mod readme;
mod registry;
#[cfg(feature = "s3")]
mod resume;
mod rooms;
mod round_trip;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "s3")]
mod session;
#[cfg(feature = "s3")]
mod settings;
#[cfg(feature = "site")]
mod site;
#[cfg(feature = "sts")]
mod sts;
mod support;
#[cfg(feature = "s3")]
mod typed;
#[cfg(feature = "ec2")]
mod undo;
