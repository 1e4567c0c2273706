//! Listing a bucket wider than one chain of tokens: the space of keys is cut, and each part walked by itself. Objects, and versions.
//!
//! - `space`: keys as numbers, and which text lies so far ahead;
//! - `gap`, `plan`: what is known, what is not, and which page is asked for next. No network, no clock: a machine that is told of answers;
//! - `kept`: what one list has learned for the next, in the user's cache directory;
//! - `drive`: tasks and the stream;
//! - here: what others use, and the request itself.

mod drive;
mod gap;
mod kept;
mod plan;
mod space;

use std::hash::Hash;
use std::sync::Arc;

use aaws::{Cache, Context, Result};
use futures::stream::Stream;

use super::bucket::Bucket;
use super::listing::{Fields, ListEntry, Marker, Wanted, read_objects, read_versions};
use drive::{Keep, drive, pace};
use kept::KeptCut;
use plan::{Losses, PageRequest, Plan, Shape};

/// The most requests of one list at once, whatever `--concurrency` allows.
const WIDEST: usize = 64;

/// The most that S3 lists at once (S3 API reference, ListObjectsV2 and ListObjectVersions): keys, or versions and delete markers together.
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
    /// What is read of each object, or version, beside its key.
    pub fields: Fields,
    /// What becomes of what is listed.
    pub purpose: Purpose,
}

impl Walk {
    fn shape(&self, cx: &Context, what: &str, repeats: bool) -> Shape {
        Shape {
            what: format!("the {what} of the bucket `{}`", self.bucket.name),
            prefix: self.prefix.clone().unwrap_or_default(),
            start_after: self.start_after.clone(),
            order: self.order,
            strict: cx.custom_endpoint("s3"),
            // Directory buckets list in no order, and start nowhere but at a token (S3 API reference, ListObjectsV2).
            width: if self.bucket.is_directory() { 1 } else { cx.concurrency().min(WIDEST) },
            page: PAGE,
            losses: match self.purpose {
                Purpose::Listing => Losses::FEW,
                Purpose::Deletion => Losses::MORE,
            },
            repeats,
        }
    }

    /// Where cuts are kept of this list. None where there are to be none, and where it is walked by tokens alone.
    fn cache(&self, cx: &Context, what: &str) -> Option<Cache> {
        if self.bucket.is_directory() || cx.concurrency() == 1 {
            return None;
        }
        let (owner, prefix) = (self.bucket.owner.as_deref().unwrap_or_default(), self.prefix.as_deref().unwrap_or_default());
        cx.cache("cuts", &[what, &self.bucket.name, owner, prefix])
    }

    /// The plan of this list, with what an earlier one has learned, and what is done with what it learns. Part of a list says nothing of the whole.
    fn plan<T: Keyed, K: Clone + Eq + Hash>(&self, cx: &Context, what: &str, repeats: bool) -> (Plan<T, K>, Option<Keep>) {
        let plan = Plan::new(self.shape(cx, what, repeats));
        let Some(cache) = self.cache(cx, what) else { return (plan, None) };
        let prefix = self.prefix.clone().unwrap_or_default();
        let plan = plan.starting(kept::read(&cache, &prefix));
        if self.purpose == Purpose::Deletion || self.start_after.is_some() {
            return (plan, None);
        }
        let keep: Keep = Box::new(move |cuts: Vec<KeptCut>| kept::write(&cache, &prefix, &cuts));
        (plan.learning(), Some(keep))
    }

    fn wanted(&self, start_after: Option<String>) -> Arc<Wanted> {
        Arc::new(Wanted { prefix: self.prefix.clone(), start_after, delimiter: None, fields: self.fields })
    }
}

/// What a list is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is shown, and may be listed again: what is learned of it is kept for that.
    Listing,
    /// What is listed is deleted, or is to be once somebody agrees. There is no next list that is like this one, and many requests wait for it, which are
    /// worth a few that are lost.
    Deletion,
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

/// What has a key.
pub trait Keyed {
    /// The key, decoded.
    fn key(&self) -> &str;
}

impl Keyed for ListEntry {
    fn key(&self) -> &str {
        &self.key
    }
}

/// The objects of a bucket, a page or less at a time, as wide as `--concurrency` allows. Requests are sent while it is read, and end with it. A
/// listing that cannot be read to its end is an error, never short.
pub fn objects(cx: &Context, walk: Walk) -> impl Stream<Item = Result<Vec<ListEntry>>> + Send + use<> {
    let (plan, keep) = walk.plan(cx, "objects", false);
    drive(plan, keep, pace, move |ask: PageRequest| read_objects(walk.bucket.clone(), walk.wanted(ask.start_after), ask.token))
}

/// Every version and delete marker of a bucket, in the same way: by key, and of each key the newest first. A cut is a key, and all that comes of it lies
/// before the cut; so what comes of one key is read one page after another, by key and version id.
pub fn versions(cx: &Context, walk: Walk) -> impl Stream<Item = Result<Vec<ListEntry>>> + Send + use<> {
    let (plan, keep) = walk.plan(cx, "versions", true);
    drive(plan, keep, pace, move |ask: PageRequest<Marker>| read_versions(walk.bucket.clone(), walk.wanted(ask.start_after), ask.token))
}

#[cfg(test)]
mod tests;
