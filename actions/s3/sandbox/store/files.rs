//! Files and their names: keys as paths, and what the system said.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::{percent_decode_str, percent_encode_byte};
use serde::{Deserialize, Serialize};

use super::types::{Result, StoreError};
use super::{MAX_KEY_BYTES, NAME_BYTES};

/// The file name of a key, before it is split.
///
/// Bytes other than ASCII letters, digits, `-`, `_` and `.` are percent-encoded. So is a `.` that would begin a name,
/// here or where a long name is split: no name is hidden, and none is `.` or `..`.
pub(super) fn encode(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for byte in key.bytes() {
        let plain = match byte {
            b'.' => !name.len().is_multiple_of(NAME_BYTES),
            b'-' | b'_' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(percent_encode_byte(byte));
        }
    }
    name
}

/// The key that has this file name; none if [`encode`] would not have given it, as with files that others put there.
pub(super) fn decode(name: &str) -> Option<String> {
    let key = percent_decode_str(name).decode_utf8().ok()?.into_owned();
    (encode(&key) == name).then_some(key)
}

/// Where the file of a key is under `base`.
///
/// A long name is split. The folders that it then goes through end in `+`, which [`encode`] never yields: the file of
/// one key is never the folder of another.
pub(super) fn key_path(base: PathBuf, key: &str) -> Result<PathBuf> {
    check_key(key)?;
    let name = encode(key);
    let mut path = base;
    let mut rest = name.as_str();
    while rest.len() > NAME_BYTES {
        let (folder, tail) = rest.split_at(NAME_BYTES);
        path.push(format!("{folder}+"));
        if let Ok(facts) = fs::symlink_metadata(&path) {
            refuse_link(&path, &facts)?;
        }
        rest = tail;
    }
    path.push(rest);
    Ok(path)
}

pub(super) fn check_key(key: &str) -> Result<()> {
    match key.len() {
        0 => Err(StoreError::EmptyKey),
        1..=MAX_KEY_BYTES => Ok(()),
        bytes => Err(StoreError::KeyTooLong(bytes)),
    }
}

/// Visits all keys whose files are under `dir`, in no order. `begun` is the part of their names that led here.
pub(super) fn walk(dir: &Path, begun: &str, visit: &mut impl FnMut(String)) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|error| io_error(dir, error))? {
        let entry = entry.map_err(|error| io_error(dir, error))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let kind = entry.file_type().map_err(|error| io_error(dir, error))?;
        // What a link leads to is not the sandbox's.
        if kind.is_symlink() {
            continue;
        }
        let is_dir = kind.is_dir();
        match name.strip_suffix('+') {
            Some(folder) if is_dir => walk(&entry.path(), &format!("{begun}{folder}"), visit)?,
            None if !is_dir => {
                if let Some(key) = decode(&format!("{begun}{name}")) {
                    visit(key);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Runs work on files where it may block.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

pub(super) fn create_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(|error| io_error(parent, error)),
        None => Ok(()),
    }
}

pub(super) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, error)),
        _ => Ok(()),
    }
}

pub(super) fn to_json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| io_error(path, error.into()))
}

/// Reads a JSON file, if it is there.
pub(super) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    let json = match fs::read(path) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(path, error)),
    };
    serde_json::from_slice(&json).map(Some).map_err(|error| io_error(path, error.into()))
}

/// A delete must not leave the sandbox's folder by a link that somebody put there.
pub(super) fn refuse_link(path: &Path, facts: &fs::Metadata) -> Result<()> {
    if facts.is_symlink() { Err(StoreError::Link(path.to_owned())) } else { Ok(()) }
}

pub(super) fn io_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { path: path.to_owned(), source }
}

/// The error that `missing` gives when there is nothing at `path`, and else what the system said.
pub(super) fn or_missing(path: &Path, error: io::Error, missing: impl FnOnce() -> StoreError) -> StoreError {
    if error.kind() == io::ErrorKind::NotFound { missing() } else { io_error(path, error) }
}

pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}
