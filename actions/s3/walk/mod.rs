//! Listing a bucket wider than one chain of tokens: the space of keys is cut, and each part walked by itself.
//!
//! - `space`: keys as numbers, and which text lies so far ahead;
//! - `gap`, `plan`: what is known, what is not, and which page is asked for next. No network, no time: a machine that is told of answers;
//! - `drive`: tasks and the stream;
//! - here: what others use, and the request itself.

mod drive;
mod gap;
mod plan;
mod space;

use aaws::{Context, Next, Page, Result};
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{EncodingType, Object, ObjectStorageClass};
use futures::stream::Stream;

use super::bucket::{Bucket, Decoder, explain};
use drive::drive;
use plan::{Ask, Plan, Shape};

/// The most requests of one list at once, whatever `--concurrency` allows.
const WIDEST: usize = 64;

/// The most keys that ListObjectsV2 gives at once (S3 API reference, ListObjectsV2).
const PAGE: usize = 1000;

/// What to list.
pub struct Walk {
    /// Where.
    pub bucket: Bucket,
    /// Only keys that begin with this.
    pub prefix: Option<String>,
    /// Only keys behind this one, in the order of their UTF-8 bytes.
    pub start_after: Option<String>,
    /// In which order they are wanted.
    pub order: Order,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// That of the keys' UTF-8 bytes, as S3 lists them. Directory buckets, and some stores, have none: then as they list.
    #[default]
    Keys,
    /// As pages come.
    Any,
}

/// An object as a listing has it.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its key, decoded.
    pub key: String,
    /// Bytes.
    pub size: i64,
    /// When it was last modified; S3 says it of every object.
    pub modified: Option<DateTime>,
    /// The entity tag, with its quotes.
    pub etag: Option<String>,
    /// The storage class; stores that know none leave it out.
    pub class: Option<ObjectStorageClass>,
}

/// What has a key.
pub trait Keyed {
    /// The key, decoded.
    fn key(&self) -> &str;
}

impl Keyed for Found {
    fn key(&self) -> &str {
        &self.key
    }
}

/// The objects of a bucket, a page or less at a time, as wide as `--concurrency` allows. Requests are sent while it is read, and end with it. A
/// listing that cannot be read to its end is an error, never short.
pub fn objects(cx: &Context, walk: Walk) -> impl Stream<Item = Result<Vec<Found>>> + Send + use<> {
    let Walk { bucket, prefix, start_after, order } = walk;
    let shape = Shape {
        what: format!("the objects of the bucket `{}`", bucket.name),
        prefix: prefix.clone().unwrap_or_default(),
        start_after,
        order,
        // Directory buckets list in no order, and start nowhere but at a token (S3 API reference, ListObjectsV2).
        width: if bucket.is_directory() { 1 } else { cx.concurrency().min(WIDEST) },
        page: PAGE,
    };
    drive(Plan::new(shape), move |ask| page(bucket.clone(), prefix.clone(), ask))
}

/// One page.
async fn page(bucket: Bucket, prefix: Option<String>, ask: Ask) -> Result<Page<Found, String>> {
    let answer = bucket.send(|s3| {
        let request = s3.list_objects_v2().bucket(&bucket.name).encoding_type(EncodingType::Url);
        let request = request.set_prefix(prefix.clone()).set_start_after(ask.start_after.clone());
        let request = request.set_continuation_token(ask.token.clone()).set_request_payer(bucket.payer.clone());
        request.set_expected_bucket_owner(bucket.owner.clone()).send()
    });
    let mut answer = explain(answer.await, || format!("list the objects of the bucket `{}`", bucket.name))?;
    let decode = Decoder::of(answer.encoding_type());
    let token = answer.next_continuation_token.take().filter(|token| !token.is_empty());
    let next = Next::truncated(answer.is_truncated, token);
    let items = answer.contents.take().unwrap_or_default().into_iter().map(|object| found(object, decode)).collect();
    Ok(Page { items, next })
}

fn found(object: Object, decode: Decoder) -> Found {
    Found {
        key: decode.text(object.key.as_deref().unwrap_or_default()),
        size: object.size.unwrap_or_default(),
        modified: object.last_modified,
        etag: object.e_tag,
        class: object.storage_class,
    }
}

#[cfg(test)]
mod tests;
