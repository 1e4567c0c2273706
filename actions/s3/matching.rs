//! What is deleted by selection: a listing that flows into the deletion, and what is said of it beforehand.

use std::future::ready;

use aaws::{Context, Error, Result};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::bucket::Bucket;
use super::listing::{self, Fields};
use super::lookups::Target;
use super::selection::Selection;
use super::size;
use super::walk::{self, Order, Walk};

/// How many things are looked through before somebody is asked: what is known of them is part of the question, and they wait in memory for the
/// answer.
const PREVIEWED: usize = 10_000;

/// What is to be deleted, page by page as it is listed, and what is said to the person asked.
pub struct Matching {
    /// In the order of the listing.
    pub targets: BoxStream<'static, Result<Target>>,
    /// "delete 42 objects, 1.2 MiB, under `logs/` from the bucket `b`"
    pub summary: String,
}

impl Matching {
    /// All that is selected under a prefix, or in the whole bucket: objects as they are now, or versions and delete markers.
    pub async fn new(cx: &Context, bucket: &Bucket, under: Option<String>, of_versions: bool, selection: Selection) -> Result<Self> {
        let place = match &under {
            Some(prefix) => format!("under `{}` from the bucket `{}`", prefix.escape_debug(), bucket.name),
            None => format!("from the whole bucket `{}`", bucket.name),
        };
        let pages = match of_versions {
            true => listing::versions(bucket.clone(), under, None),
            false => {
                // The question says how many bytes they have.
                let fields = selection.fields().and(Fields { size: true, ..Fields::default() });
                walk::objects(cx, Walk { bucket: bucket.clone(), prefix: under, start_after: None, order: Order::Keys, fields }).boxed()
            }
        };
        let found = pages.map_ok(|page| stream::iter(page).map(Ok::<_, Error>)).try_flatten();
        let targets = found.try_filter(move |found| ready(selection.takes(found))).map_ok(Target::found).boxed();
        let things = if of_versions { "versions and delete markers" } else { "objects" };
        if cx.dry_run() || !cx.can_ask() {
            return Ok(Matching { targets, summary: format!("delete the {things} that match {place}") });
        }
        previewed(targets, things, &place).await
    }
}

/// Reads the first of them for what the question says.
async fn previewed(mut targets: BoxStream<'static, Result<Target>>, things: &str, place: &str) -> Result<Matching> {
    let (mut first, mut bytes, mut is_all) = (Vec::new(), 0_u64, false);
    while first.len() < PREVIEWED && !is_all {
        match targets.try_next().await? {
            Some(target) => {
                bytes = bytes.saturating_add(target.size);
                first.push(target);
            }
            None => is_all = true,
        }
    }
    let (count, bytes) = (first.len(), size::in_words(bytes));
    let first = stream::iter(first.into_iter().map(Ok));
    Ok(match is_all {
        true => Matching { targets: first.boxed(), summary: format!("delete {count} {things}, {bytes}, {place}") },
        false => Matching {
            targets: first.chain(targets).boxed(),
            summary: format!("delete {things}, {count} of them or more, the first {count} of {bytes}, {place}"),
        },
    })
}
