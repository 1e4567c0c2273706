//! The one path of every action that changes items: items in, batches, outcomes out.
//!
//! An action says which items, how to do one batch, and what undoes a step. How many are worked on, batch size, retry per item, what waits for what,
//! progress, dry run, confirmation, report and cancellation are done here, the same for all.

/// What a [`Change`] that is made of [`ChangeOne`] or [`Steps`] says of its items: what the one inside says.
macro_rules! as_inner {
    () => {
        fn id(&self, item: &Self::Item) -> String {
            self.0.id(item)
        }

        fn name(&self, item: &Self::Item) -> Option<String> {
            self.0.name(item)
        }

        fn kind(&self, item: &Self::Item) -> Option<&'static str> {
            self.0.kind(item)
        }

        fn summary(&self) -> String {
            self.0.summary()
        }

        fn plan(&self, item: &Self::Item) -> Option<String> {
            self.0.plan(item)
        }

        fn precheck(&self, item: &Self::Item) -> Option<Outcome<Self::Done>> {
            self.0.precheck(item)
        }

        fn after(&self, item: &Self::Item) -> Vec<Dependency> {
            self.0.after(item)
        }

        fn is_ordered(&self) -> bool {
            self.0.is_ordered()
        }

        fn disrupts(&self) -> bool {
            self.0.disrupts()
        }
    };
}

mod batch;
mod dependencies;
mod journaled;
mod one;
mod outputs;
mod steps;

pub use dependencies::Dependency;
pub use one::ChangeOne;
pub use outputs::{DoneItems, FailedItems, LeftItems, OrPlan};
pub use steps::{Step, Steps, Undo, left_alone};

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;

use crate::aws::backoff::Delays;
use crate::engine::context::Context;
use crate::engine::host::{Consent, Progress, Question};
use crate::model::code::Code;
use crate::model::error::{Error, Result, is_throttling};
use crate::model::meta::Effect;
use crate::model::outcome::{Failure, Outcome, Record, Status};
use batch::{Halt, Work, batches};
use dependencies::Recorded;

/// How often one item is tried in all, when AWS says that it may work a little later. Throttling does not count.
const TRIES: u32 = 5;

/// How many items the person asked is shown by name.
const SHOWN: usize = 20;

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

    /// Whether somebody has to agree, for an action whose effect is [`Effect::Disrupt`]: not every use of it disrupts.
    fn disrupts(&self) -> bool {
        true
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
            return Ok(Changed { results: plan(self.clone(), items, change), planned: true });
        }
        if asks(self.meta().effect, &*change) {
            items = self.agreed(items, &*change).await?;
        }
        let halt = Halt::default();
        let recorded = Recorded::new(change.is_ordered());
        let work = batches(self.clone(), items, Arc::clone(&change), halt.clone());
        let cx = self.clone();
        let under_way = if change.batch() == 1 { WAITING.max(self.concurrency()) } else { self.concurrency() };
        let results = work
            .map(move |work| finish_work(cx.clone(), Arc::clone(&change), work, halt.clone(), recorded.clone()))
            .buffered(under_way)
            .flat_map(stream::iter);
        Ok(Changed { results: error_last(results), planned: false })
    }

    /// The items, once somebody agreed, or nobody had to.
    async fn agreed<C: Change>(
        &self,
        items: BoxStream<'static, Result<C::Item>>,
        change: &C,
    ) -> Result<BoxStream<'static, Result<C::Item>>> {
        match self.host().consent() {
            Consent::Ask => self.confirmed(items, change).await,
            Consent::NotNeeded => Ok(items),
            Consent::Given(by) => {
                let place = self.place().await;
                let account = place.account.as_deref().unwrap_or("not known");
                tracing::info!("not asked, because of {by}: {} (account {account}, region {})", change.summary(), place.region);
                Ok(items)
            }
            Consent::Impossible(why) => Err(Error::Refused(format!("{why}: --yes agrees to {}", change.summary()))),
        }
    }

    /// Shows the first items, asks, and gives all of them back.
    async fn confirmed<C: Change>(
        &self,
        mut items: BoxStream<'static, Result<C::Item>>,
        change: &C,
    ) -> Result<BoxStream<'static, Result<C::Item>>> {
        let total = match items.size_hint() {
            (least, Some(most)) if least == most => Some(most as u64),
            _ => None,
        };
        let mut first = Vec::new();
        while first.len() < SHOWN {
            match items.next().await {
                Some(item) => first.push(item?),
                None => break,
            }
        }
        let shown: Vec<String> = first.iter().filter(|i| change.precheck(i).is_none()).map(|i| name(change, i)).collect();
        // What needs no work needs no answer either.
        if shown.is_empty() && first.len() < SHOWN {
            return Ok(stream::iter(first.into_iter().map(Ok)).chain(items).boxed());
        }
        let total = if first.len() < SHOWN { Some(first.len() as u64) } else { total };
        self.ask(change.summary(), shown, total).await?;
        Ok(stream::iter(first.into_iter().map(Ok)).chain(items).boxed())
    }

    /// Whether somebody is there to be asked. For what an effect does not say by itself: that an action which creates would replace something.
    pub fn can_ask(&self) -> bool {
        self.host().consent() == Consent::Ask
    }

    /// Asks whether to go on with what is done to these items; an error when the answer is no. Only where [`Context::can_ask`].
    pub async fn confirm(&self, summary: impl Into<String>, mut items: Vec<String>) -> Result<()> {
        let total = items.len() as u64;
        items.truncate(SHOWN);
        self.ask(summary.into(), items, Some(total)).await
    }

    async fn ask(&self, summary: String, items: Vec<String>, total: Option<u64>) -> Result<()> {
        let question = Question { summary, items, total, place: self.place().await };
        let agreed = tokio::select! {
            agreed = self.host().confirm(question) => agreed?,
            () = self.cancellation().cancelled() => return Err(self.cancellation().error().unwrap_or(Error::Interrupted)),
        };
        if agreed { Ok(()) } else { Err(Error::Declined) }
    }
}

/// Whether somebody has to agree: what is taken away may not come back, and what is disrupted is missed.
fn asks<C: Change>(effect: Effect, change: &C) -> bool {
    match effect {
        Effect::Delete => true,
        Effect::Disrupt => change.disrupts(),
        Effect::Local | Effect::Read | Effect::Create | Effect::Modify => false,
    }
}

fn name<C: Change>(change: &C, item: &C::Item) -> String {
    change.name(item).unwrap_or_else(|| change.id(item))
}

/// A dry run: each item that would be changed.
fn plan<C: Change>(
    cx: Context,
    items: BoxStream<'static, Result<C::Item>>,
    change: Arc<C>,
) -> BoxStream<'static, Result<ItemResult<C::Done>>> {
    let cancellation = cx.cancellation().clone();
    items
        .take_until(async move { cancellation.cancelled().await })
        .map(move |item| {
            let item = match item {
                Ok(item) => item,
                Err(e) => return vec![Err(e)],
            };
            if let Some(outcome) = change.precheck(&item) {
                let fatal = outcome.fatal();
                return std::iter::once(Ok(record(&cx, &*change, &item, outcome))).chain(fatal.map(Err)).collect();
            }
            let planned = Record { message: change.plan(&item), ..named(&*change, &item, Record::new(change.id(&item), Status::Planned)) };
            cx.record(&planned);
            cx.progress(Progress::Advanced(1));
            vec![Ok(ItemResult { record: planned, done: None })]
        })
        .flat_map(stream::iter)
        .boxed()
}

/// The first error, behind all that is settled: whoever stops at it must not drop what is in flight, half way through its steps.
fn error_last<T: Send + 'static>(results: impl Stream<Item = Result<T>> + Send + 'static) -> BoxStream<'static, Result<T>> {
    let state = (results.boxed(), None);
    let next = |(mut results, mut error): (BoxStream<'static, Result<T>>, Option<Error>)| async move {
        loop {
            match results.next().await {
                Some(Ok(one)) => return Some((Ok(one), (results, error))),
                Some(Err(e)) => drop(error.get_or_insert(e)),
                None => return error.take().map(|e| (Err(e), (results, None))),
            }
        }
    };
    stream::unfold(state, next).boxed()
}

/// Does one piece of work; each of its items comes back exactly once, in order.
async fn finish_work<C: Change>(
    cx: Context,
    change: Arc<C>,
    work: Work<C::Item>,
    halt: Halt,
    recorded: Recorded,
) -> Vec<Result<ItemResult<C::Done>>> {
    match work {
        Work::Apply(items) => {
            let mut batch = Batch { cx, change, halt, recorded, results: Vec::new(), fatal: None };
            batch.apply(items).await;
            batch.results.sort_by_key(|(place, _)| *place);
            batch.results.into_iter().map(|(_, result)| Ok(result)).chain(batch.fatal.map(Err)).collect()
        }
        Work::Leave(items, why, error) => {
            let left = items.iter().map(|item| {
                let result = record(&cx, &*change, item, Outcome::skipped_as(Code::NotStarted, why.clone()));
                recorded.note(&result.record);
                Ok(result)
            });
            left.chain(error.map(Err)).collect()
        }
    }
}

/// An item that has no outcome yet, and its place in the batch.
struct Pending<I> {
    place: usize,
    item: I,
}

/// One batch on its way.
struct Batch<C: Change> {
    cx: Context,
    change: Arc<C>,
    halt: Halt,
    recorded: Recorded,
    results: Vec<(usize, ItemResult<C::Done>)>,
    fatal: Option<Error>,
}

impl<C: Change> Batch<C> {
    fn end(&mut self, pending: &Pending<C::Item>, outcome: Outcome<C::Done>) {
        if let Some(e) = outcome.fatal() {
            self.halt.set(&e);
            self.fatal.get_or_insert(e);
        }
        let result = record(&self.cx, &*self.change, &pending.item, outcome);
        self.recorded.note(&result.record);
        self.results.push((pending.place, result));
    }

    /// Ends those that need no work, or what they wait for stays; gives the others.
    async fn ready(&mut self, items: Vec<C::Item>) -> Vec<Pending<C::Item>> {
        let mut ready = Vec::new();
        for (place, item) in items.into_iter().enumerate() {
            let pending = Pending { place, item };
            let mut outcome = self.change.precheck(&pending.item);
            if outcome.is_none() {
                outcome = self.recorded.wait(&self.cx, self.change.after(&pending.item)).await;
            }
            match outcome {
                Some(outcome) => self.end(&pending, outcome),
                None => ready.push(pending),
            }
        }
        ready
    }

    /// Applies a batch, and its transient failures again and again, as long as that makes sense.
    async fn apply(&mut self, items: Vec<C::Item>) {
        let mut pending = self.ready(items).await;
        if pending.is_empty() {
            return;
        }
        let Some(slot) = slot(&self.cx, &self.halt).await else {
            let why = self.halt.why(&self.cx).unwrap_or_default();
            pending.iter().for_each(|p| self.end(p, Outcome::skipped_as(Code::NotStarted, why.clone())));
            return;
        };
        let cx = self.cx.in_slot(slot);
        let mut delays = Delays::retry();
        let mut tries = 1;
        loop {
            let again = self.attempt(&cx, pending, tries < TRIES).await;
            if again.is_empty() {
                return;
            }
            // Items that were only turned away for now cost no try.
            if again.iter().any(|(_, failure)| !is_throttling(&failure.code)) {
                tries += 1;
            }
            if self.halt.is_set() || !cx.cancellation().sleep(delays.next_wait()).await {
                again.into_iter().for_each(|(p, failure)| self.end(&p, Outcome::Failed(failure)));
                return;
            }
            pending = again.into_iter().map(|(p, _)| p).collect();
        }
    }

    /// One try of all that are pending; those that are worth another come back, with what they failed for.
    async fn attempt(&mut self, cx: &Context, pending: Vec<Pending<C::Item>>, more: bool) -> Vec<(Pending<C::Item>, Failure)> {
        let (places, items): (Vec<usize>, Vec<C::Item>) = pending.into_iter().map(|p| (p.place, p.item)).unzip();
        let outcomes = match journaled::apply(cx, &*self.change, &items).await {
            Ok(outcomes) => outcomes,
            Err(e) => {
                let failure = Failure::from(&e);
                items.iter().map(|_| Outcome::Failed(failure.clone())).collect()
            }
        };
        // An item that the answer does not mention is not known to be done.
        let unanswered = std::iter::repeat_with(|| Outcome::Failed(Failure::permanent(Code::NoAnswer, "the answer does not mention it")));
        let mut again = Vec::new();
        for ((place, item), outcome) in places.into_iter().zip(items).zip(outcomes.into_iter().chain(unanswered)) {
            let pending = Pending { place, item };
            let worth = |f: &Failure| (f.transient && more) || (is_throttling(&f.code) && f.fatal.is_none());
            match outcome {
                Outcome::Failed(f) if worth(&f) && !self.halt.is_set() && !cx.cancellation().is_cancelled() => {
                    tracing::debug!("`{}`: {}: {}; will be tried again", name(&*self.change, &pending.item), f.code, f.message);
                    again.push((pending, f));
                }
                // It was still waiting to be sent when the run was cancelled.
                Outcome::Failed(f) if f.code == Code::NotSent.as_str() && cx.cancellation().is_cancelled() && f.done.is_empty() => {
                    let why = self.halt.why(cx).unwrap_or_default();
                    self.end(&pending, Outcome::skipped_as(Code::NotStarted, why));
                }
                outcome => self.end(&pending, outcome),
            }
        }
        again
    }
}

/// A slot to work in: at once where there is one. None when the run ended while one was waited for.
async fn slot(cx: &Context, halt: &Halt) -> Option<OwnedSemaphorePermit> {
    let slots = &cx.run().slots;
    if cx.cancellation().is_cancelled() {
        return None;
    }
    if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
        return Some(slot);
    }
    let slot = tokio::select! {
        slot = Arc::clone(slots).acquire_owned() => slot.ok(),
        () = cx.cancellation().cancelled() => None,
    };
    slot.filter(|_| halt.why(cx).is_none())
}

fn named<C: Change>(change: &C, item: &C::Item, record: Record) -> Record {
    Record { name: change.name(item), kind: change.kind(item).map(str::to_owned), ..record }
}

fn record<C: Change>(cx: &Context, change: &C, item: &C::Item, outcome: Outcome<C::Done>) -> ItemResult<C::Done> {
    let (record, done) = outcome.into_record(change.id(item));
    let record = named(change, item, record);
    cx.record(&record);
    cx.progress(Progress::Advanced(1));
    ItemResult { record, done }
}

#[cfg(test)]
mod tests;
