//! S3: what its actions share.

mod body;
mod bucket;
pub mod create_objects;
pub mod delete_objects;
pub mod discover_objects;
mod lookups;
mod names;
mod sandbox;
mod uploads;

pub use create_objects::CreateObjects;
pub use delete_objects::DeleteObjects;
pub use discover_objects::DiscoverObjects;
pub use names::{BucketName, Key, NonEmpty, Prefix, VersionId};
