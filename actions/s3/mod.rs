//! S3: what its actions share.

mod bucket;
pub mod create_objects;
pub mod delete_objects;
pub mod discover_objects;
mod sandbox;

pub use bucket::{BucketName, Key};
pub use create_objects::CreateObjects;
pub use delete_objects::DeleteObjects;
pub use discover_objects::DiscoverObjects;
