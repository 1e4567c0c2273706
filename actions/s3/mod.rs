//! S3: what its actions share.
//!
//! What has to be there for an example (`given`) is written in this small vocabulary; all of it is in the bucket `example-bucket`, which is always
//! there:
//!
//! - `logs/a.txt` is an object of this key;
//! - `upload logs/a.txt` is a multipart upload to this key that was begun years ago and is not completed.

mod body;
mod bucket;
mod bucket_settings;
mod bucket_size;
pub mod create_objects;
pub mod delete_incomplete_uploads;
pub mod delete_objects;
mod deletion;
pub mod discover_buckets;
pub mod discover_objects;
mod folder;
mod listing;
mod lookups;
mod lost_answers;
mod markers;
mod matching;
mod names;
mod object_id;
mod sandbox;
mod selection;
mod size;
mod stdin;
mod upload_step;
mod uploads;
mod walk;

pub use bucket_settings::BucketSettings;
pub use bucket_size::BucketSize;
pub use create_objects::CreateObjects;
pub use delete_incomplete_uploads::DeleteIncompleteUploads;
pub use delete_objects::DeleteObjects;
pub use discover_buckets::DiscoverBuckets;
pub use discover_objects::DiscoverObjects;
pub use names::{BucketName, HeaderText, Key, MetadataItem, NonEmpty, Prefix, VersionId};
pub use object_id::ObjectId;
pub use selection::StorageClass;
pub use size::Size;
