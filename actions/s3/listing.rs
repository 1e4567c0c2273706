//! What a bucket holds, page by page, with names as they are: the one place where S3's listings of objects and versions are read.
//!
//! - `answer`: where the SDK's reader is replaced by our own, or kept from answers that are torn;
//! - `reader`: our own, of the XML of ListObjectsV2 and ListObjectVersions, and what else reads XML by;
//! - here: what others use, and the requests.

mod answer;
pub mod reader;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aaws::{Error, Next, Page, Result, pages};
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::EncodingType;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::bucket::{Bucket, explain};
use answer::ReadListing;
pub use answer::{OnlyWhole, take_out};
use reader::{Listed, Of};

/// The version that an object has where versions are not kept (S3 user guide, versioning).
pub const NULL_VERSION: &str = "null";

/// The storage class that is meant where none is said (S3 API reference, `x-amz-storage-class`).
const STANDARD: &str = "STANDARD";

/// What is read of each object, or version, beside its key. All else is left where it is: reading takes time, and what is read is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields {
    /// [`ListEntry::size`]
    pub size: bool,
    /// [`ListEntry::modified`]
    pub modified: bool,
    /// [`ListEntry::etag`]
    pub etag: bool,
    /// [`ListEntry::class`]
    pub class: bool,
}

impl Fields {
    /// All that a listing says.
    pub const ALL: Fields = Fields { size: true, modified: true, etag: true, class: true };

    /// These and those.
    pub fn and(self, other: Fields) -> Fields {
        Fields {
            size: self.size || other.size,
            modified: self.modified || other.modified,
            etag: self.etag || other.etag,
            class: self.class || other.class,
        }
    }
}

/// What a listing says of one thing in a bucket. Of objects only those [`Fields`] are known that were asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ListEntry {
    /// The key; of a folder what its keys begin with, up to and with the delimiter.
    pub key: String,
    /// What it is.
    pub kind: Kind,
    /// Bytes. Delete markers and folders have none.
    pub size: Option<u64>,
    /// When it was last modified.
    pub modified: Option<DateTime>,
    /// The entity tag, with its quotes, as S3 gives it.
    pub etag: Option<String>,
    /// The storage class, as S3 gives it.
    pub class: Option<String>,
}

/// What there is in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An object as it is now.
    Object,
    /// A version of an object.
    Version(VersionOf),
    /// A delete marker, which hides the versions below it.
    DeleteMarker(VersionOf),
    /// All keys that begin alike.
    Folder,
}

/// Which version of its key something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionOf {
    /// Its id.
    pub id: String,
    /// Whether it is what the key stands for now.
    pub latest: bool,
}

impl ListEntry {
    /// Which version it is, of what is listed by versions.
    pub fn version(&self) -> Option<&VersionOf> {
        match &self.kind {
            Kind::Version(version) | Kind::DeleteMarker(version) => Some(version),
            Kind::Object | Kind::Folder => None,
        }
    }

    /// Whether it is a delete marker.
    pub fn is_delete_marker(&self) -> bool {
        matches!(self.kind, Kind::DeleteMarker(_))
    }

    /// The storage class of what has one.
    pub fn storage_class(&self) -> Option<&str> {
        match self.kind {
            Kind::Object | Kind::Version(_) => Some(self.class.as_deref().unwrap_or(STANDARD)),
            Kind::DeleteMarker(_) | Kind::Folder => None,
        }
    }

    fn folder(prefix: String) -> Self {
        ListEntry { key: prefix, kind: Kind::Folder, size: None, modified: None, etag: None, class: None }
    }
}

fn nonempty(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn version_of(id: Option<&str>, latest: Option<bool>) -> VersionOf {
    VersionOf { id: nonempty(id).unwrap_or_else(|| NULL_VERSION.to_owned()), latest: latest.unwrap_or_default() }
}

/// The part of a bucket that is asked for.
pub struct Wanted {
    /// What keys begin with.
    pub prefix: Option<String>,
    /// Only keys behind this one.
    pub start_after: Option<String>,
    /// What ends the name of a folder.
    pub delimiter: Option<String>,
    /// What is read of each object.
    pub fields: Fields,
}

impl Wanted {
    /// A store that does not know of prefixes lists all, and all of it is not what was asked for.
    fn has(&self, found: &ListEntry) -> bool {
        self.prefix.as_deref().is_none_or(|prefix| found.key.starts_with(prefix))
    }

    /// "the versions under `logs/` of the bucket `b`"
    pub fn words(&self, what: &str, bucket: &Bucket) -> String {
        let under = self.prefix.as_ref().map(|prefix| format!(" under `{}`", prefix.escape_debug())).unwrap_or_default();
        format!("the {what}{under} of the bucket `{}`", bucket.name)
    }
}

/// The objects of a bucket as they are now, whose keys begin with a prefix and come behind another, with one [`Kind::Folder`] in place of all keys
/// that go on alike behind the prefix, up to a delimiter; a page at a time, in the order of their UTF-8 bytes. A listing that S3 does not bring to its
/// end is an error. (All objects are listed by [`super::walk`].)
pub fn folders(bucket: Bucket, wanted: Wanted) -> BoxStream<'static, Result<Vec<ListEntry>>> {
    let wanted = Arc::new(wanted);
    pages(wanted.words("objects", &bucket), move |token| page(read_objects(bucket.clone(), Arc::clone(&wanted), token))).boxed()
}

/// The versions and delete markers of one key. Other keys that begin with it come behind it in the listing, so that the first of them ends it.
pub async fn entries(bucket: &Bucket, key: &str) -> Result<Vec<ListEntry>> {
    let wanted = Arc::new(Wanted { prefix: Some(key.to_owned()), start_after: None, delimiter: None, fields: Fields::ALL });
    let (what, bucket) = (wanted.words("versions", bucket), bucket.clone());
    let mut pages = pages(what, move |marker| page(read_versions(bucket.clone(), Arc::clone(&wanted), marker))).boxed();
    let mut entries = Vec::new();
    while let Some(page) = pages.try_next().await? {
        let others = page.iter().any(|found| found.key != key);
        entries.extend(page.into_iter().filter(|found| found.key == key));
        if others {
            break;
        }
    }
    Ok(entries)
}

/// A page is read on a thread of its own: its XML takes longer than all that is done with it.
async fn page<K: Send + 'static>(read: impl Future<Output = Result<Page<ListEntry, K>>> + Send + 'static) -> Result<Page<ListEntry, K>> {
    tokio::spawn(read).await.map_err(|e| Error::Failed(format!("listing the bucket failed: {e}")))?
}

/// One page of objects, and of folders where a delimiter is asked for.
pub async fn read_objects(bucket: Bucket, wanted: Arc<Wanted>, token: Option<String>) -> Result<Page<ListEntry, String>> {
    let reading = ReadListing::new(Of::Objects, wanted.fields);
    let answer = bucket.send(|s3| {
        let request = s3.list_objects_v2().bucket(&bucket.name).encoding_type(EncodingType::Url);
        let request = request.set_prefix(wanted.prefix.clone()).set_start_after(wanted.start_after.clone());
        let request = request.set_delimiter(wanted.delimiter.clone()).set_continuation_token(token.clone());
        let request = request.set_request_payer(bucket.payer.clone()).set_expected_bucket_owner(bucket.owner.clone());
        request.customize().interceptor(reading.clone()).send()
    });
    explain(answer.await, || format!("list the objects of the bucket `{}`", bucket.name))?;
    let Listed { mut items, has_folders, truncated, token, .. } = taken(&reading, &bucket)?;
    items.retain(|found| wanted.has(found));
    // S3 lists them apart, each in order.
    if has_folders {
        items.sort_by(|a, b| a.key.cmp(&b.key));
    }
    Ok(Page { items, next: Next::truncated(truncated, token) })
}

fn taken(reading: &ReadListing, bucket: &Bucket) -> Result<Listed> {
    let unread = || Error::Failed(format!("a page of the bucket `{}` was not read: this is a mistake of this program", bucket.name));
    reading.take().ok_or_else(unread)
}

/// Key and version id, where a page begins: both, or the rest of a key's versions would be left out.
pub type Marker = (String, Option<String>);

/// One page of versions and delete markers; by key, and of each key the newest first. It begins behind a key with all that comes of it, or at a marker.
pub async fn read_versions(bucket: Bucket, wanted: Arc<Wanted>, marker: Option<Marker>) -> Result<Page<ListEntry, Marker>> {
    let (key, version) = marker.map_or_else(|| (wanted.start_after.clone(), None), |(key, version)| (Some(key), version));
    // Where a store lists versions and delete markers apart, their dates put them together.
    let reading = ReadListing::new(Of::Versions, wanted.fields.and(Fields { modified: true, ..Fields::default() }));
    let answer = bucket.send(|s3| {
        let request = s3.list_object_versions().bucket(&bucket.name).encoding_type(EncodingType::Url);
        let request = request.set_prefix(wanted.prefix.clone()).set_key_marker(key.clone()).set_version_id_marker(version.clone());
        let request = request.set_request_payer(bucket.payer.clone()).set_expected_bucket_owner(bucket.owner.clone());
        request.customize().interceptor(reading.clone()).send()
    });
    explain(answer.await, || format!("list {}", wanted.words("versions", &bucket)))?;
    let Listed { mut items, truncated, marker, .. } = taken(&reading, &bucket)?;
    items.retain(|found| wanted.has(found));
    put_together(&mut items);
    Ok(Page { items, next: Next::truncated(truncated, marker) })
}

/// S3 lists versions and delete markers together, by key and newest first, and that order is kept: dates do not tell it, as several may be of one second,
/// and an upload in parts has that of its beginning. Some stores list all versions first, each kind in order. What is in no order stays so, to be noticed.
fn put_together(items: &mut [ListEntry]) {
    let markers = items.partition_point(|found| !found.is_delete_marker());
    let is_by_key = |items: &[ListEntry]| items.is_sorted_by(|a, b| a.key <= b.key);
    let are_apart = items.is_sorted_by_key(ListEntry::is_delete_marker) && markers < items.len();
    let (versions, delete_markers) = items.split_at(markers);
    if !are_apart || !is_by_key(versions) || !is_by_key(delete_markers) {
        return;
    }
    let latest = |found: &ListEntry| found.version().is_some_and(|version| version.latest);
    items.sort_by(|a, b| {
        let by_age = || latest(b).cmp(&latest(a)).then_with(|| b.modified.cmp(&a.modified));
        a.key.cmp(&b.key).then_with(by_age)
    });
}
