//! The one path of every action that changes items: items in, batches, outcomes out.
//!
//! An action says which items, how to do one batch, and what undoes a step. How many are worked on, batch size, retry per item, what waits for what,
//! progress, dry run, confirmation, report and cancellation are done here, the same for all.

#[macro_use]
mod inner;
mod batch;
mod consent;
mod dependencies;
mod journaled;
mod limits;
mod one;
mod outputs;
mod planned;
mod steps;
mod work;

pub use dependencies::Dependency;
pub use journaled::Noted;
pub use one::ChangeOne;
pub use outputs::{DoneItems, FailedItems, LeftItems, OrPlan};
pub use planned::close_plan;
pub use steps::{Step, Steps, Undo, left_alone};

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use async_trait::async_trait;
use futures::stream::{BoxStream, Stream, StreamExt};

use crate::engine::context::Context;
use crate::engine::host::Progress;
use crate::model::code::Code;
use crate::model::error::{Error, Result};
use crate::model::outcome::{Outcome, Record};
use batch::{Halt, batches};
use consent::asks;
use dependencies::Recorded;
use work::finish_work;

/// How many single items may be under way when most of them only wait: for the end of what AWS does in the background, or for one another. Those that
/// are worked on are as many as the run's concurrency.
const WAITING: usize = 1024;

/// How an action changes items, a batch at a time.
#[async_trait]
pub trait Change: Send + Sync + 'static {
    /// One thing that is changed.
    type Item: Send + Sync + 'static;
    /// What comes of one that was changed; `()` when there is nothing to say.
    type Done: Send + 'static;

    /// The item's identity in reports and outputs: unique in a run, and the same in the next.
    fn id(&self, item: &Self::Item) -> String;

    /// What it is called where that is not its identity.
    fn name(&self, _item: &Self::Item) -> Option<String> {
        None
    }

    /// What it is, where the action has items of several kinds: `volume`.
    fn kind(&self, _item: &Self::Item) -> Option<&'static str> {
        None
    }

    /// What will happen, for the person asked: "delete from the bucket `b`".
    fn summary(&self) -> String;

    /// What a dry run says of an item beyond its name.
    fn plan(&self, _item: &Self::Item) -> Option<String> {
        None
    }

    /// What became of an item that needs no work, because it is already so, protected, or could not be looked at. Asked in a dry run too.
    fn precheck(&self, _item: &Self::Item) -> Option<Outcome<Self::Done>> {
        None
    }

    /// What has to be gone before the item is begun. Items come in an order in which nothing waits for what comes behind it.
    fn after(&self, _item: &Self::Item) -> Vec<Dependency> {
        Vec::new()
    }

    /// Whether items wait for one another at all: what became of each is then kept until the run ends.
    fn is_ordered(&self) -> bool {
        false
    }

    /// Whether somebody has to agree, for an action whose effect is [`crate::Effect::Disrupt`]: not every use of it disrupts.
    fn disrupts(&self) -> bool {
        true
    }

    /// The tags that the item has, where they are at hand: what one of them protects is skipped ([`Code::Protected`]). Where what stays decides what becomes
    /// of others, that has to be known earlier: see [`Context::protection`].
    fn tags(&self, _item: &Self::Item) -> Option<Vec<(String, String)>> {
        None
    }

    /// How many things were listed and passed over by now, because they are none of the items: they were looked at too, which is what `max_percent` is of.
    fn passed_over(&self) -> u64 {
        0
    }

    /// Whether `max_items` and `max_percent` hold for its items. Not where they are parts of one thing, of which a part would be worse than all.
    fn is_limited(&self) -> bool {
        true
    }

    /// What identifies the state that a plan binds an item to, where selection has it at hand: only what matters to the change, or harmless changes stop
    /// the plan. A plan is applied to an item only while all of it is equal.
    fn state(&self, _item: &Self::Item) -> Option<serde_json::Value> {
        None
    }

    /// Whether what is asked for is not so while any item is left out: one that a plan lacks is then skipped, and not only named in the log.
    fn wants_all(&self) -> bool {
        false
    }

    /// The most items in one batch.
    fn batch(&self) -> usize {
        1
    }

    /// What an item weighs against [`Change::max_weight`], say in bytes of request.
    fn weight(&self, _item: &Self::Item) -> usize {
        0
    }

    /// The most that the items of one batch weigh together; a heavier item goes alone.
    fn max_weight(&self) -> usize {
        usize::MAX
    }

    /// Whether an item cannot share a batch with others.
    fn alone(&self, _item: &Self::Item) -> bool {
        false
    }

    /// Does one batch, and says what became of each item, in their order. An error stands for all of them.
    async fn apply(&self, cx: &Context, items: &[Self::Item]) -> Result<Vec<Outcome<Self::Done>>>;
}

/// An item and what became of it.
#[derive(Debug)]
pub struct ItemResult<D> {
    /// The outcome as data.
    pub record: Record,
    /// What came of it, when it was changed.
    pub done: Option<D>,
}

/// Items being changed: work happens as it is read, in the order of the items.
pub struct Changed<D> {
    results: BoxStream<'static, Result<ItemResult<D>>>,
    /// Whether they only would be.
    planned: bool,
}

impl<D> Changed<D> {
    /// The results themselves, for an action that makes its own output of them.
    pub fn results(self) -> BoxStream<'static, Result<ItemResult<D>>> {
        self.results
    }
}

impl Context {
    /// Changes items. Asks first where that is due; a dry run lists them instead.
    pub async fn change<C: Change>(
        &self,
        items: impl Stream<Item = Result<C::Item>> + Send + 'static,
        change: C,
    ) -> Result<Changed<C::Done>> {
        let change = Arc::new(change);
        let mut items = journaled::rest(self, items.boxed(), &change);
        if let (total, Some(most)) = items.size_hint()
            && total == most
        {
            self.progress(Progress::Total(total as u64));
        }
        if self.dry_run() {
            let planned = planned::plan(self.clone(), items, Arc::clone(&change));
            return Ok(Changed { results: limits::judged(self.clone(), change, planned), planned: true });
        }
        items = limits::within(self, items, &*change).await?;
        if asks(self.meta().effect, &*change) {
            items = self.agreed(items, &*change).await?;
        }
        planned::claim(self)?;
        let halt = Halt::default();
        let recorded = Recorded::new(change.is_ordered());
        let work = batches(self.clone(), items, Arc::clone(&change), halt.clone());
        let cx = self.clone();
        let under_way = if change.batch() == 1 { WAITING.max(self.concurrency()) } else { self.concurrency() };
        let results =
            work.map(move |work| finish_work(cx.clone(), Arc::clone(&change), work, halt.clone(), recorded.clone())).buffered(under_way);
        Ok(Changed { results: Results { work: results.boxed(), current: Vec::new().into_iter(), error: None }.boxed(), planned: false })
    }
}

/// What became of an item that is not begun: it needs no work, or a guard of the user's keeps it. What is so already is so, protected or not.
fn settled<C: Change>(cx: &Context, change: &C, item: &C::Item) -> Option<Outcome<C::Done>> {
    let outcome = change.precheck(item);
    if matches!(outcome, Some(Outcome::Unchanged(_))) {
        return outcome;
    }
    let kept = change.tags(item).and_then(|tags| cx.protection(&tags));
    kept.map(|why| Outcome::skipped_as(Code::Protected, why)).or(outcome)
}

fn name<C: Change>(change: &C, item: &C::Item) -> String {
    change.name(item).unwrap_or_else(|| change.id(item))
}

/// The results of pieces of work, one by one, and behind all of them the first error: whoever stops at it must not drop what is in flight, half way
/// through its steps.
struct Results<T> {
    work: BoxStream<'static, Vec<Result<T>>>,
    /// What is left of the piece that is given out.
    current: std::vec::IntoIter<Result<T>>,
    error: Option<Error>,
}

// Nothing in it is pinned: the stream is boxed.
impl<T> Unpin for Results<T> {}

impl<T> Stream for Results<T> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Result<T>>> {
        let this = self.get_mut();
        loop {
            match this.current.next() {
                Some(Ok(one)) => return Poll::Ready(Some(Ok(one))),
                Some(Err(e)) => drop(this.error.get_or_insert(e)),
                None => match ready!(this.work.poll_next_unpin(cx)) {
                    Some(more) => this.current = more.into_iter(),
                    None => return Poll::Ready(this.error.take().map(Err)),
                },
            }
        }
    }
}

fn named<C: Change>(change: &C, item: &C::Item, record: Record) -> Record {
    Record { name: change.name(item), kind: change.kind(item).map(str::to_owned), ..record }
}

fn record<C: Change>(cx: &Context, change: &C, item: &C::Item, outcome: Outcome<C::Done>) -> ItemResult<C::Done> {
    let result = record_quietly(cx, change, item, outcome);
    cx.progress(Progress::Advanced(1));
    result
}

/// The same for one of many: how far the run is by that is said of all of them at once.
fn record_quietly<C: Change>(cx: &Context, change: &C, item: &C::Item, outcome: Outcome<C::Done>) -> ItemResult<C::Done> {
    let (record, done) = outcome.into_record(change.id(item));
    let record = named(change, item, record);
    cx.record(&record);
    ItemResult { record, done }
}

#[cfg(test)]
mod tests;
