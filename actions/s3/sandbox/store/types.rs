//! What goes into the store and comes out of it, and why it did not do as asked.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Why reading a body from its sender failed.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

pub(super) type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No bucket has this name.
    #[error("The bucket {0:?} does not exist.")]
    NoSuchBucket(String),
    /// A bucket has this name already.
    #[error("The bucket {0:?} exists already.")]
    BucketExists(String),
    /// No bucket can have this name.
    #[error("{0:?} is not a valid name of a bucket.")]
    InvalidBucketName(String),
    /// The bucket holds no object with this key.
    #[error("The key {0:?} does not exist.")]
    NoSuchKey(String),
    /// The bucket holds an object with this key, and it must not be overwritten.
    #[error("There is an object with the key {0:?} already.")]
    ObjectExists(String),
    /// The object is not the one that the caller means.
    #[error("The object with the key {0:?} has another ETag.")]
    EtagMismatch(String),
    /// An object must have a key.
    #[error("The key is empty.")]
    EmptyKey,
    /// Keys have at most [`MAX_KEY_BYTES`].
    #[error("The key has {0} bytes; 1024 are allowed.")]
    KeyTooLong(usize),
    /// The body is not the one whose MD5 was given.
    #[error("The MD5 that was given does not match the content.")]
    BadDigest,
    /// There is no such multipart upload, or it is of another key.
    #[error("The upload {0:?} does not exist. It may have been aborted or completed.")]
    NoSuchUpload(String),
    /// The part was never uploaded, or not with the ETag that was given.
    #[error("Part {0} was not found, or its ETag is another one.")]
    InvalidPart(i32),
    /// Parts must be given in ascending order of their numbers.
    #[error("The parts are not in ascending order.")]
    InvalidPartOrder,
    /// Every part but the last must hold [`MIN_PART_BYTES`].
    #[error("Part {0} is too small; only the last part may have less than 5 MiB.")]
    PartTooSmall(i32),
    /// The sender broke off, or sent what it had not signed.
    #[error("The body could not be read.")]
    Body(#[source] BodyError),
    /// A link stands where a folder of the store has to be: what is behind it is not the sandbox's.
    #[error("{}: this is a link, and may lead out of the sandbox.", .0.display())]
    Link(PathBuf),
    /// The file system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A task that worked on files did not come to its end.
    #[error("The work on files was broken off.")]
    Task(#[from] tokio::task::JoinError),
}

/// What a client says about an object beside its key and its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// The media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// How long it may be kept by caches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// How its bytes are encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// User metadata (`x-amz-meta-…`), without that prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The storage class, if one was given. The store keeps every class alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

/// What the store keeps about an object beside its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The ETag, without quotes. Empty when it is not known.
    #[serde(default)]
    pub etag: String,
    /// What the client said.
    #[serde(flatten)]
    pub attributes: Attributes,
}

/// An object, without its bytes.
#[derive(Debug, Clone)]
pub struct Object {
    /// The key.
    pub key: String,
    /// How many bytes the object has.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// What is known beside that.
    pub meta: Meta,
}

/// How an object is to be put.
#[derive(Debug, Default)]
pub struct Put {
    /// What to keep about the object.
    pub attributes: Attributes,
    /// The MD5 that the body must have.
    pub md5: Option<[u8; 16]>,
    /// Whether an object that is there already makes this fail.
    pub no_overwrite: bool,
}

/// Which entries of a bucket to list.
#[derive(Debug, Default)]
pub struct Listing {
    /// What keys must begin with.
    pub prefix: String,
    /// Keys that have this after the prefix are listed as one common prefix, which ends with it.
    pub delimiter: Option<String>,
    /// The entry (key or common prefix) that the listing goes on after.
    pub after: Option<String>,
    /// How many entries to list at most.
    pub limit: usize,
}

/// A page of a listing, in the order of the UTF-8 bytes of keys.
#[derive(Debug)]
pub struct Page {
    /// The objects.
    pub objects: Vec<Object>,
    /// The common prefixes.
    pub prefixes: Vec<String>,
    /// The last entry of this page, if there are more: the next page begins after it.
    pub next: Option<String>,
}

/// A part of a multipart upload, as the client names it when it completes the upload.
#[derive(Debug)]
pub struct Part {
    /// The number of the part.
    pub number: i32,
    /// The ETag that the client got for it.
    pub etag: Option<String>,
}

/// A multipart upload that is neither completed nor aborted.
#[derive(Debug)]
pub struct PendingUpload {
    /// The upload id.
    pub id: String,
    /// The key of the object to be.
    pub key: String,
    /// When the upload was begun.
    pub begun: SystemTime,
}

/// What is kept about a multipart upload beside its parts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UploadInfo {
    pub key: String,
    #[serde(flatten)]
    pub attributes: Attributes,
}
