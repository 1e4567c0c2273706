//! What is deleted by selection: a listing that flows into the deletion, and what is said of it beforehand.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aaws::{Context, Error, Outcome, Result};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::bucket::Bucket;
use super::listing::Fields;
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
    /// How many things were listed by now that are not selected.
    pub passed_over: Arc<AtomicU64>,
}

impl Matching {
    /// All that is selected under a prefix, or in the whole bucket: objects as they are now, or versions and delete markers.
    pub async fn new(cx: &Context, bucket: &Bucket, under: Option<String>, of_versions: bool, selection: Selection) -> Result<Self> {
        let place = match &under {
            Some(prefix) => format!("under `{}` from the bucket `{}`", prefix.escape_debug(), bucket.name),
            None => format!("from the whole bucket `{}`", bucket.name),
        };
        // The question says how many bytes they have, and a plan is of these very objects; a version never becomes another one.
        let fields = selection.fields().and(Fields { size: true, etag: cx.foresees() && !of_versions, ..Fields::default() });
        let walk = Walk { bucket: bucket.clone(), prefix: under, start_after: None, order: Order::Keys, fields, learns: cx.dry_run() };
        let pages = match of_versions {
            true => walk::versions(cx, walk).boxed(),
            false => walk::objects(cx, walk).boxed(),
        };
        let found = pages.map_ok(|page| stream::iter(page).map(Ok::<_, Error>)).try_flatten();
        let passed_over = Arc::<AtomicU64>::default();
        let (applied, passed) = (cx.clone(), Arc::clone(&passed_over));
        let targets = found.try_filter_map(move |found| {
            let is_taken = selection.takes(&found);
            let target = Target::found(found);
            // What is there and not meant any more is told apart from what is gone.
            let is_left = !is_taken && applied.plan_has(&target.id());
            passed.fetch_add(u64::from(!is_taken && !is_left), Ordering::Relaxed);
            let precheck = is_left.then(|| Outcome::skipped("it is not selected any more"));
            ready(Ok((is_taken || is_left).then_some(Target { precheck, ..target })))
        });
        let targets = targets.boxed();
        let things = if of_versions { "versions and delete markers" } else { "objects" };
        if cx.dry_run() || !cx.can_ask() {
            return Ok(Matching { targets, summary: format!("delete the {things} that match {place}"), passed_over });
        }
        let (targets, summary) = previewed(targets, things, &place).await?;
        Ok(Matching { targets, summary, passed_over })
    }
}

/// What is to be deleted, and the question about it, for which the first of them are read.
async fn previewed(
    mut targets: BoxStream<'static, Result<Target>>,
    things: &str,
    place: &str,
) -> Result<(BoxStream<'static, Result<Target>>, String)> {
    let (mut first, mut count, mut bytes, mut is_all) = (Vec::new(), 0_u64, 0_u64, false);
    while first.len() < PREVIEWED && !is_all {
        match targets.try_next().await? {
            Some(target) => {
                if target.precheck.is_none() {
                    count += 1;
                    bytes = bytes.saturating_add(target.size);
                }
                first.push(target);
            }
            None => is_all = true,
        }
    }
    let bytes = size::in_words(bytes);
    let first = stream::iter(first.into_iter().map(Ok));
    Ok(match is_all {
        true => (first.boxed(), format!("delete {count} {things}, {bytes}, {place}")),
        false => {
            let summary = format!("delete {things}, {count} of them or more, the first {count} of {bytes}, {place}");
            (first.chain(targets).boxed(), summary)
        }
    })
}
