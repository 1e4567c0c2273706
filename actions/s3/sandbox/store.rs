//! Buckets, objects and multipart uploads, kept in files. Knows nothing of HTTP.
//!
//! ```text
//! DIR/<bucket>/data/<name of key>               the bytes of an object; its time of change is the object's
//! DIR/<bucket>/meta/<name of key>               its ETag, headers, user metadata, storage class (JSON)
//! DIR/<bucket>/uploads/<upload id>/<number>     the parts of a multipart upload, beside `upload.json`
//! DIR/<bucket>/tmp/                             what is being written
//! ```
//!
//! Everything is written to a temporary file first and then renamed, so that a reader sees an object whole or not at
//! all, in this process and in others that use the same folder: `discover | delete` is two of them. Data is renamed
//! before metadata; whoever looks in between sees an object without an ETag.
//!
//! Keys become file names by percent-encoding (see [`encode`]), so a key needs not be a path: `a` and `a/b` live side
//! by side, and `..` is a name like any other.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use md5::{Digest as _, Md5};
use s3s::path::check_bucket_name;
use tempfile::{NamedTempFile, TempPath};
use tokio::io::AsyncWriteExt as _;

mod files;
mod types;

use super::super::body::hex;
use files::*;
pub use types::*;

const DATA: &str = "data";
const META: &str = "meta";
const UPLOADS: &str = "uploads";
const TEMP: &str = "tmp";
const UPLOAD_INFO: &str = "upload.json";

/// The longest file name that a key is given, in bytes; most file systems take 255. Longer names go on in a folder.
const NAME_BYTES: usize = 200;

/// The longest key that S3 allows, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;

/// The least that every part of a multipart upload but the last must hold, in bytes.
pub const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// A folder of buckets.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store under `root`, which may be missing until the first bucket is created.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether nothing is there yet: the folder is missing, or empty but for hidden files.
    pub async fn is_new(&self) -> Result<bool> {
        let root = self.root.clone();
        blocking(move || {
            let entries = match fs::read_dir(&root) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
                Err(error) => return Err(io_error(&root, error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| io_error(&root, error))?;
                if !is_hidden(&entry.file_name()) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    /// The names of all buckets, in order, and when each was created.
    pub async fn buckets(&self) -> Result<Vec<(String, SystemTime)>> {
        let root = self.root.clone();
        blocking(move || {
            let mut buckets = Vec::new();
            for entry in fs::read_dir(&root).map_err(|error| io_error(&root, error))? {
                let entry = entry.map_err(|error| io_error(&root, error))?;
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let path = entry.path();
                if check_bucket_name(&name) && path.join(DATA).is_dir() {
                    let created = fs::metadata(&path).and_then(|facts| facts.modified()).map_err(|error| io_error(&path, error))?;
                    buckets.push((name, created));
                }
            }
            buckets.sort();
            Ok(buckets)
        })
        .await
    }

    /// The bucket with this name.
    pub async fn bucket(&self, name: &str) -> Result<Bucket> {
        let dir = self.bucket_dir(name)?;
        let name = name.to_owned();
        blocking(move || {
            let data = dir.join(DATA);
            for folder in [dir.clone(), dir.join(META), dir.join(UPLOADS), dir.join(TEMP)] {
                if let Ok(facts) = fs::symlink_metadata(&folder) {
                    refuse_link(&folder, &facts)?;
                }
            }
            let facts = fs::symlink_metadata(&data).map_err(|error| or_missing(&data, error, || StoreError::NoSuchBucket(name)))?;
            refuse_link(&data, &facts)?;
            Ok(Bucket { dir })
        })
        .await
    }

    /// Creates a bucket that holds `objects`, given as key and text.
    ///
    /// It appears with all of them at once, whoever else works in the same folder: it is made ready under a hidden name
    /// and then renamed.
    pub async fn create_bucket(&self, name: &str, objects: Vec<(String, String)>) -> Result<()> {
        let target = self.bucket_dir(name)?;
        let root = self.root.clone();
        let staged = blocking(move || {
            fs::create_dir_all(&root).map_err(|error| io_error(&root, error))?;
            let staged = tempfile::Builder::new().prefix(".new-").tempdir_in(&root).map_err(|error| io_error(&root, error))?;
            for part in [DATA, META, UPLOADS, TEMP] {
                let path = staged.path().join(part);
                fs::create_dir(&path).map_err(|error| io_error(&path, error))?;
            }
            Ok(staged)
        })
        .await?;

        let bucket = Bucket { dir: staged.path().to_owned() };
        for (key, text) in objects {
            bucket.put(&key, Put::default(), stream::iter([Ok(Bytes::from(text))])).await?;
        }

        let renamed = tokio::fs::rename(staged.path(), &target).await;
        match renamed {
            Ok(()) => {
                // It has moved: there is nothing left to remove.
                let _ = staged.keep();
                Ok(())
            }
            Err(_) if target.join(DATA).is_dir() => Err(StoreError::BucketExists(name.to_owned())),
            Err(error) => Err(io_error(&target, error)),
        }
    }

    fn bucket_dir(&self, name: &str) -> Result<PathBuf> {
        if check_bucket_name(name) { Ok(self.root.join(name)) } else { Err(StoreError::InvalidBucketName(name.to_owned())) }
    }
}

/// A bucket that exists.
#[derive(Debug, Clone)]
pub struct Bucket {
    dir: PathBuf,
}

impl Bucket {
    /// Puts an object, and returns what is now kept about it.
    pub async fn put<S>(&self, key: &str, put: Put, body: S) -> Result<Meta>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
    {
        let (temp, md5) = self.spool(body, put.md5).await?;
        let meta = Meta { etag: hex(&md5), attributes: put.attributes };
        let (bucket, key) = (self.clone(), key.to_owned());
        blocking(move || {
            bucket.publish(&key, temp, &meta, put.no_overwrite)?;
            Ok(meta)
        })
        .await
    }

    /// What is known about an object.
    pub async fn head(&self, key: &str) -> Result<Object> {
        let (bucket, key) = (self.clone(), key.to_owned());
        blocking(move || bucket.find(&key)?.ok_or(StoreError::NoSuchKey(key))).await
    }

    /// An object and its bytes.
    pub async fn open(&self, key: &str) -> Result<(Object, tokio::fs::File)> {
        let (bucket, key) = (self.clone(), key.to_owned());
        let (object, file) = blocking(move || {
            let path = bucket.data_path(&key)?;
            if let Ok(facts) = fs::symlink_metadata(&path) {
                refuse_link(&path, &facts)?;
            }
            let file = fs::File::open(&path).map_err(|error| or_missing(&path, error, || StoreError::NoSuchKey(key.clone())))?;
            // Asked of the open file, so that size and bytes agree even if the object is replaced meanwhile.
            let facts = file.metadata().map_err(|error| io_error(&path, error))?;
            Ok((bucket.describe(key, &facts)?, file))
        })
        .await?;
        Ok((object, tokio::fs::File::from_std(file)))
    }

    /// Removes an object; a key that is not there is removed already.
    ///
    /// With `etag`, the object must be there and have it.
    pub async fn remove(&self, key: &str, etag: Option<&str>) -> Result<()> {
        let (bucket, key, etag) = (self.clone(), key.to_owned(), etag.map(str::to_owned));
        blocking(move || {
            if let Some(etag) = etag {
                match bucket.find(&key)? {
                    Some(object) if object.meta.etag == etag => {}
                    Some(_) => return Err(StoreError::EtagMismatch(key)),
                    None => return Err(StoreError::NoSuchKey(key)),
                }
            }
            // Folders of long names stay: another process may be about to write into them.
            remove_file(&bucket.data_path(&key)?)?;
            remove_file(&bucket.meta_path(&key)?)
        })
        .await
    }

    /// Lists a page of the bucket.
    ///
    /// Walks the whole bucket for every page, but never holds more than a page in memory.
    pub async fn list(&self, listing: Listing) -> Result<Page> {
        let bucket = self.clone();
        blocking(move || {
            let Listing { prefix, delimiter, after, limit } = listing;
            let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());

            // The first `limit` entries so far, and one more that tells whether there is another page. The value is
            // whether the entry is a common prefix. A key never equals one: it would be part of it.
            let mut entries: BTreeMap<String, bool> = BTreeMap::new();
            walk(&bucket.dir.join(DATA), "", &mut |key: String| {
                if !key.starts_with(&prefix) || after.as_ref().is_some_and(|after| key <= *after) {
                    return;
                }
                let group = delimiter.as_ref().and_then(|delimiter| {
                    let at = key[prefix.len()..].find(delimiter.as_str())?;
                    Some(key[..prefix.len() + at + delimiter.len()].to_owned())
                });
                // Keys sort after the common prefix that they are part of; it was listed on the page before.
                if group.is_some() && group == after {
                    return;
                }
                match group {
                    Some(group) => entries.insert(group, true),
                    None => entries.insert(key, false),
                };
                if entries.len() > limit + 1 {
                    entries.pop_last();
                }
            })?;

            let mut page = Page { objects: Vec::new(), prefixes: Vec::new(), next: None };
            if entries.len() > limit {
                entries.pop_last();
                page.next = entries.last_key_value().map(|(entry, _)| entry.clone());
            }
            for (entry, is_prefix) in entries {
                if is_prefix {
                    page.prefixes.push(entry);
                } else if let Some(object) = bucket.find(&entry)? {
                    page.objects.push(object);
                }
            }
            Ok(page)
        })
        .await
    }

    /// Begins a multipart upload, and returns its id.
    pub async fn create_upload(&self, key: &str, attributes: Attributes) -> Result<String> {
        check_key(key)?;
        let info = UploadInfo { key: key.to_owned(), attributes };
        let uploads = self.dir.join(UPLOADS);
        blocking(move || {
            // The name of a temporary folder is what an upload id has to be: unique and hard to guess.
            let dir = tempfile::Builder::new().prefix("").rand_bytes(32).tempdir_in(&uploads).map_err(|error| io_error(&uploads, error))?;
            let path = dir.path().join(UPLOAD_INFO);
            fs::write(&path, to_json(&path, &info)?).map_err(|error| io_error(&path, error))?;
            let dir = dir.keep();
            Ok(dir.file_name().unwrap_or_default().to_string_lossy().into_owned())
        })
        .await
    }

    /// Stores a part of a multipart upload, and returns its ETag. A part with the same number is replaced.
    pub async fn put_part<S>(&self, id: &str, key: &str, number: i32, md5: Option<[u8; 16]>, body: S) -> Result<String>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
    {
        let (temp, md5) = self.spool(body, md5).await?;
        let (bucket, id, key) = (self.clone(), id.to_owned(), key.to_owned());
        blocking(move || {
            let (dir, _) = bucket.upload(&id, &key)?;
            let path = dir.join(number.to_string());
            temp.persist(&path).map_err(|failed| or_missing(&path, failed.error, || StoreError::NoSuchUpload(id)))?;
            Ok(hex(&md5))
        })
        .await
    }

    /// Makes the parts of an upload one object, and returns what is now kept about it.
    pub async fn complete_upload(&self, id: &str, key: &str, parts: Vec<Part>, no_overwrite: bool) -> Result<Meta> {
        let (bucket, id, key) = (self.clone(), id.to_owned(), key.to_owned());
        blocking(move || {
            let (dir, info) = bucket.upload(&id, &key)?;
            if !parts.is_sorted_by(|a, b| a.number < b.number) {
                return Err(StoreError::InvalidPartOrder);
            }
            let (temp, etag) = bucket.join_parts(&dir, &parts)?;
            let meta = Meta { etag, attributes: info.attributes };
            bucket.publish(&key, temp, &meta, no_overwrite)?;
            fs::remove_dir_all(&dir).map_err(|error| io_error(&dir, error))?;
            Ok(meta)
        })
        .await
    }

    /// Gives up an upload and its parts.
    pub async fn abort_upload(&self, id: &str, key: &str) -> Result<()> {
        let (bucket, id, key) = (self.clone(), id.to_owned(), key.to_owned());
        blocking(move || {
            let (dir, _) = bucket.upload(&id, &key)?;
            fs::remove_dir_all(&dir).map_err(|error| io_error(&dir, error))
        })
        .await
    }

    /// The uploads that are neither completed nor aborted and whose keys begin with `prefix`, in order of their keys.
    pub async fn uploads(&self, prefix: &str) -> Result<Vec<PendingUpload>> {
        let (uploads, prefix) = (self.dir.join(UPLOADS), prefix.to_owned());
        blocking(move || {
            let mut pending = Vec::new();
            for entry in fs::read_dir(&uploads).map_err(|error| io_error(&uploads, error))? {
                let entry = entry.map_err(|error| io_error(&uploads, error))?;
                let path = entry.path().join(UPLOAD_INFO);
                // One that ends at this moment is not pending any more.
                let Some(info) = read_json::<UploadInfo>(&path)? else {
                    continue;
                };
                let Ok(facts) = fs::metadata(&path) else {
                    continue;
                };
                if info.key.starts_with(&prefix) {
                    let id = entry.file_name().to_string_lossy().into_owned();
                    let begun = facts.modified().map_err(|error| io_error(&path, error))?;
                    pending.push(PendingUpload { id, key: info.key, begun });
                }
            }
            pending.sort_by(|a, b| (&a.key, &a.begun).cmp(&(&b.key, &b.begun)));
            Ok(pending)
        })
        .await
    }

    fn data_path(&self, key: &str) -> Result<PathBuf> {
        key_path(self.dir.join(DATA), key)
    }

    fn meta_path(&self, key: &str) -> Result<PathBuf> {
        key_path(self.dir.join(META), key)
    }

    /// A new file in this bucket's folder of temporary files: renaming never crosses file systems.
    fn temp_file(&self) -> Result<NamedTempFile> {
        let dir = self.dir.join(TEMP);
        NamedTempFile::new_in(&dir).map_err(|error| io_error(&dir, error))
    }

    /// Writes a body to a temporary file, chunk by chunk, and returns its MD5. It must be `expected`, if that is given.
    async fn spool<S>(&self, mut body: S, expected: Option<[u8; 16]>) -> Result<(TempPath, [u8; 16])>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
    {
        let bucket = self.clone();
        let (file, path) = blocking(move || bucket.temp_file()).await?.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let mut md5 = Md5::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(StoreError::Body)?;
            md5.update(&chunk);
            file.write_all(&chunk).await.map_err(|error| io_error(&path, error))?;
        }
        // Tokio writes in the background: without this, the last write may come after the rename, or fail unseen.
        file.flush().await.map_err(|error| io_error(&path, error))?;
        let md5: [u8; 16] = md5.finalize().into();
        if expected.is_some_and(|expected| expected != md5) {
            return Err(StoreError::BadDigest);
        }
        Ok((path, md5))
    }

    /// Makes a temporary file the object with this key.
    fn publish(&self, key: &str, temp: TempPath, meta: &Meta, no_overwrite: bool) -> Result<()> {
        let data = self.data_path(key)?;
        create_parent(&data)?;
        let moved = if no_overwrite { temp.persist_noclobber(&data) } else { temp.persist(&data) };
        moved.map_err(|failed| match failed.error.kind() {
            io::ErrorKind::AlreadyExists if no_overwrite => StoreError::ObjectExists(key.to_owned()),
            _ => io_error(&data, failed.error),
        })?;

        let path = self.meta_path(key)?;
        create_parent(&path)?;
        let mut file = self.temp_file()?;
        file.write_all(&to_json(&path, meta)?).map_err(|error| io_error(&path, error))?;
        file.persist(&path).map_err(|failed| io_error(&path, failed.error))?;
        Ok(())
    }

    /// The object with this key, if there is one.
    fn find(&self, key: &str) -> Result<Option<Object>> {
        let path = self.data_path(key)?;
        match fs::symlink_metadata(&path) {
            Ok(facts) => {
                refuse_link(&path, &facts)?;
                self.describe(key.to_owned(), &facts).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(&path, error)),
        }
    }

    fn describe(&self, key: String, facts: &fs::Metadata) -> Result<Object> {
        let path = self.meta_path(&key)?;
        let modified = facts.modified().map_err(|error| io_error(&path, error))?;
        let meta = read_json::<Meta>(&path)?.unwrap_or_default();
        Ok(Object { key, size: facts.len(), modified, meta })
    }

    /// The folder of an upload that is neither completed nor aborted, and what it is of.
    fn upload(&self, id: &str, key: &str) -> Result<(PathBuf, UploadInfo)> {
        // The id comes from outside: it must not lead anywhere else.
        let plausible = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if plausible {
            let dir = self.dir.join(UPLOADS).join(id);
            if let Some(info) = read_json::<UploadInfo>(&dir.join(UPLOAD_INFO))?
                && info.key == key
            {
                return Ok((dir, info));
            }
        }
        Err(StoreError::NoSuchUpload(id.to_owned()))
    }

    /// Writes the parts one after the other to a temporary file, and returns the ETag of the whole: the MD5 of the MD5s
    /// of the parts, and how many there are.
    fn join_parts(&self, dir: &Path, parts: &[Part]) -> Result<(TempPath, String)> {
        let mut whole = self.temp_file()?;
        let mut md5_of_md5s = Md5::new();
        let mut buffer = vec![0; 256 * 1024];
        for (index, part) in parts.iter().enumerate() {
            let path = dir.join(part.number.to_string());
            let mut file = fs::File::open(&path).map_err(|error| or_missing(&path, error, || StoreError::InvalidPart(part.number)))?;
            let mut md5 = Md5::new();
            let mut size = 0;
            loop {
                let read = file.read(&mut buffer).map_err(|error| io_error(&path, error))?;
                if read == 0 {
                    break;
                }
                md5.update(&buffer[..read]);
                whole.write_all(&buffer[..read]).map_err(|error| io_error(whole.path(), error))?;
                size += read as u64;
            }
            let md5: [u8; 16] = md5.finalize().into();
            if part.etag.as_ref().is_some_and(|etag| *etag != hex(&md5)) {
                return Err(StoreError::InvalidPart(part.number));
            }
            if size < MIN_PART_BYTES && index + 1 < parts.len() {
                return Err(StoreError::PartTooSmall(part.number));
            }
            md5_of_md5s.update(md5);
        }
        let etag = format!("{}-{}", hex(&md5_of_md5s.finalize()), parts.len());
        Ok((whole.into_temp_path(), etag))
    }
}

#[cfg(test)]
mod tests;
