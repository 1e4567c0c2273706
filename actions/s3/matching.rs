//! What is deleted by selection: a listing that flows into the deletion, and what is said of it beforehand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aaws::{Context, Error, Outcome, Result};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::bucket::Bucket;
use super::listing::{Fields, ListEntry};
use super::lookups::Target;
use super::selection::Selection;
use super::size;
use super::walk::{self, Order, Purpose, Walk};

/// How many things are looked through before somebody is asked: what is known of them is part of the question, and they wait in memory for the
/// answer.
const PREVIEWED: usize = 10_000;

/// How many pages are read ahead of those that are being deleted, beside what the walk holds itself.
const AHEAD: usize = 8;

/// What is to be deleted, page by page as it is listed, and what is said to the person asked.
pub struct Matching {
    /// As pages come; in the order of the listing where somebody looks at them before, and of versions.
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
        let asks = cx.can_ask() && !cx.dry_run();
        // The question says how many bytes they have, and a plan is of these very objects; a version never becomes another one.
        let fields = selection.fields().and(Fields { size: asks, etag: cx.foresees() && !of_versions, ..Fields::default() });
        // What is deleted at once waits for nothing before it. A plan, a question, and what stands for one key are in order.
        let is_in_order = of_versions || cx.foresees() || cx.can_ask();
        let order = if is_in_order { Order::Keys } else { Order::Any };
        let purpose = if cx.dry_run() { Purpose::Listing } else { Purpose::Deletion };
        let walk = Walk { bucket: bucket.clone(), prefix: under, start_after: None, order, fields, purpose };
        let pages = match of_versions {
            true => walk::versions(cx, walk).boxed(),
            false => walk::objects(cx, walk).boxed(),
        };
        let passed_over = Arc::<AtomicU64>::default();
        let (applied, passed) = (cx.clone(), Arc::clone(&passed_over));
        let target = move |found: ListEntry| {
            let is_taken = selection.takes(&found);
            let target = Target::found(found);
            // What is there and not meant any more is told apart from what is gone.
            let is_left = !is_taken && applied.plan_has(&target.id());
            passed.fetch_add(u64::from(!is_taken && !is_left), Ordering::Relaxed);
            let precheck = is_left.then(|| Box::new(Outcome::skipped("it is not selected any more")));
            (is_taken || is_left).then_some(Target { precheck, ..target })
        };
        let pages = pages.map_ok(move |page: Vec<ListEntry>| page.into_iter().filter_map(&target).collect::<Vec<Target>>());
        let targets = read_ahead(pages.boxed()).map_ok(|page| stream::iter(page).map(Ok::<_, Error>)).try_flatten().boxed();
        let things = if of_versions { "versions and delete markers" } else { "objects" };
        if !asks {
            return Ok(Matching { targets, summary: format!("delete the {things} that match {place}"), passed_over });
        }
        let (targets, summary) = previewed(targets, things, &place).await?;
        Ok(Matching { targets, summary, passed_over })
    }
}

/// Reads pages on a task of its own, a few ahead, which ends with the stream: where it is read by whoever deletes as well, the next page is not asked for while
/// batches are made, or while as many are under way as may be.
fn read_ahead<T: Send + 'static>(mut pages: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
    let (to, from) = mpsc::channel(AHEAD);
    let mut reader = JoinSet::new();
    reader.spawn(async move {
        while let Some(page) = pages.next().await {
            if to.send(page).await.is_err() {
                return;
            }
        }
    });
    let next = |(mut from, mut reader): (mpsc::Receiver<Result<T>>, JoinSet<()>)| async move {
        if let Some(page) = from.recv().await {
            return Some((page, (from, reader)));
        }
        // A listing that broke off is not one that came to its end.
        let broken = reader.join_next().await?.err()?;
        Some((Err(Error::Failed(format!("listing the bucket failed: {broken}"))), (from, reader)))
    };
    stream::unfold((from, reader), next).boxed()
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn pages_are_read_while_nobody_takes_them_and_only_so_many() {
        let read = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&read);
        let pages = stream::iter(0..100).map(move |page| {
            counted.fetch_add(1, Ordering::Relaxed);
            if page == 99 { Err(Error::Failed("the answer broke off".into())) } else { Ok(page) }
        });
        let mut pages = read_ahead(pages.boxed());
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(read.load(Ordering::Relaxed), AHEAD + 1);
        for page in 0..99 {
            assert_eq!(pages.next().await.and_then(Result::ok), Some(page));
        }
        assert!(pages.next().await.is_some_and(|last| last.is_err()), "an error comes in its place");
        assert!(pages.next().await.is_none());
    }

    #[tokio::test]
    async fn a_reader_that_breaks_off_is_an_error_and_no_end() {
        let pages = stream::iter(0..3).map(|page| if page == 2 { panic!("a mistake of the test's making") } else { Ok(page) });
        let read: Vec<Result<i32>> = read_ahead(pages.boxed()).collect().await;
        assert!(matches!(read.as_slice(), [Ok(0), Ok(1), Err(_)]), "{read:?}");
    }
}
