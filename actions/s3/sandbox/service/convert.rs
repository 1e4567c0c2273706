//! What requests say as the store takes it, and what the store gives as S3 says it.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::utf8_percent_encode;
use s3s::dto::{self, ETag, ETagCondition, EncodingType};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::super::store::{Attributes, Object, StoreError};
use super::*;

/// How the names in a listing are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Names {
    /// As they are. Some cannot be read from XML then.
    Plain,
    /// As `encoding-type=url` asks: percent-encoded, but with `/` as it is and `+` for a space.
    Url,
}

impl Names {
    pub(super) fn asked(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some(EncodingType::URL) => Ok(Self::Url),
            Some(_) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    pub(super) fn write(self, name: &str) -> String {
        match self {
            Self::Plain => name.to_owned(),
            Self::Url => utf8_percent_encode(name, LISTED_ENCODED).to_string().replace(' ', "+"),
        }
    }
}

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NoSuchBucket(_) => S3ErrorCode::NoSuchBucket,
            StoreError::BucketExists(_) => S3ErrorCode::BucketAlreadyOwnedByYou,
            StoreError::InvalidBucketName(_) => S3ErrorCode::InvalidBucketName,
            StoreError::NoSuchKey(_) => S3ErrorCode::NoSuchKey,
            StoreError::ObjectExists(_) | StoreError::EtagMismatch(_) => S3ErrorCode::PreconditionFailed,
            StoreError::Link(_) => S3ErrorCode::AccessDenied,
            StoreError::EmptyKey => S3ErrorCode::UserKeyMustBeSpecified,
            StoreError::KeyTooLong(_) => S3ErrorCode::KeyTooLongError,
            StoreError::BadDigest => S3ErrorCode::BadDigest,
            StoreError::NoSuchUpload(_) => S3ErrorCode::NoSuchUpload,
            StoreError::InvalidPart(_) => S3ErrorCode::InvalidPart,
            StoreError::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            StoreError::PartTooSmall(_) => S3ErrorCode::EntityTooSmall,
            StoreError::Body(_) => S3ErrorCode::IncompleteBody,
            StoreError::Io { .. } | StoreError::Task(_) => S3ErrorCode::InternalError,
        };
        let mut answer = S3Error::with_message(code, error.to_string());
        answer.set_source(Box::new(error));
        answer
    }
}

pub(super) fn attributes(
    content_type: Option<String>,
    metadata: Option<dto::Metadata>,
    storage_class: Option<dto::StorageClass>,
) -> Attributes {
    Attributes {
        content_type,
        cache_control: None,
        content_encoding: None,
        metadata: metadata.unwrap_or_default().into_iter().collect(),
        storage_class: storage_class.map(|class| class.as_str().to_owned()),
    }
}

/// The MD5 in a Content-MD5 header.
pub(super) fn content_md5(header: Option<&str>) -> S3Result<Option<[u8; 16]>> {
    let Some(header) = header else {
        return Ok(None);
    };
    let digest = STANDARD.decode(header).ok().and_then(|digest| <[u8; 16]>::try_from(digest).ok());
    match digest {
        Some(digest) => Ok(Some(digest)),
        None => Err(s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid.")),
    }
}

/// Whether If-None-Match says that an object must not be overwritten.
pub(super) fn no_overwrite(condition: Option<&ETagCondition>) -> S3Result<bool> {
    match condition {
        None => Ok(false),
        Some(ETagCondition::Any) => Ok(true),
        some => refuse_condition(some).map(|()| false),
    }
}

pub(super) fn refuse_condition(condition: Option<&ETagCondition>) -> S3Result<()> {
    match condition {
        None => Ok(()),
        Some(_) => Err(s3_error!(NotImplemented, "The sandbox does not know this condition.")),
    }
}

/// Accepts the one version that objects of the sandbox have.
pub(super) fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some(NULL_VERSION) => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "The specified version does not exist.")),
    }
}

/// How many entries to list: what was asked, and at most [`PAGE`].
pub(super) fn page_size(max_keys: Option<i32>) -> S3Result<usize> {
    match max_keys.map(usize::try_from) {
        None => Ok(PAGE),
        Some(Ok(asked)) => Ok(asked.min(PAGE)),
        Some(Err(_)) => Err(s3_error!(InvalidArgument, "max-keys must not be negative")),
    }
}

/// The continuation token that leads to what comes after `last`.
pub(super) fn write_token(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

/// What comes last on the page that gave this token.
pub(super) fn read_token(token: &str) -> S3Result<String> {
    // Nothing that is longer than a key can come from the sandbox.
    let last = URL_SAFE_NO_PAD.decode(token).ok().and_then(|last| String::from_utf8(last).ok());
    match last {
        Some(last) if last.len() <= MAX_KEY_BYTES => Ok(last),
        _ => Err(s3_error!(InvalidArgument, "The continuation token provided is incorrect")),
    }
}

/// The Content-Range header of a part of an object that has `size` bytes.
pub(super) fn content_range(span: &Range<u64>, size: u64) -> S3Result<String> {
    // The end of an empty object is asked for: there is no last byte to name.
    if span.is_empty() {
        return Err(s3_error!(InvalidRange));
    }
    Ok(format!("bytes {}-{}/{size}", span.start, span.end - 1))
}

pub(super) fn content_type(object: &Object) -> String {
    object.meta.attributes.content_type.clone().unwrap_or_else(|| UNKNOWN_TYPE.to_owned())
}

pub(super) fn metadata(attributes: &Attributes) -> Option<dto::Metadata> {
    (!attributes.metadata.is_empty()).then(|| attributes.metadata.clone().into_iter().collect())
}

/// An ETag, unless it is not known.
pub(super) fn etag(value: String) -> Option<ETag> {
    (!value.is_empty()).then_some(ETag::Strong(value))
}

pub(super) fn size(object: &Object) -> Option<i64> {
    i64::try_from(object.size).ok()
}

pub(super) fn storage_class(object: &Object) -> String {
    object.meta.attributes.storage_class.clone().unwrap_or_else(|| dto::StorageClass::STANDARD.to_owned())
}

pub(super) fn listed(names: Names, object: Object) -> dto::Object {
    dto::Object {
        key: Some(names.write(&object.key)),
        last_modified: Some(Timestamp::from(object.modified)),
        size: size(&object),
        storage_class: Some(dto::ObjectStorageClass::from(storage_class(&object))),
        e_tag: etag(object.meta.etag),
        ..Default::default()
    }
}

pub(super) fn listed_version(names: Names, object: Object) -> dto::ObjectVersion {
    dto::ObjectVersion {
        is_latest: Some(true),
        key: Some(names.write(&object.key)),
        last_modified: Some(Timestamp::from(object.modified)),
        size: size(&object),
        storage_class: Some(dto::ObjectVersionStorageClass::from(storage_class(&object))),
        version_id: Some(NULL_VERSION.to_owned()),
        e_tag: etag(object.meta.etag),
        ..Default::default()
    }
}

pub(super) fn common_prefixes(names: Names, prefixes: &[String]) -> Vec<dto::CommonPrefix> {
    prefixes.iter().map(|prefix| dto::CommonPrefix { prefix: Some(names.write(prefix)) }).collect()
}
