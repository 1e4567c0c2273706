//! The one path of every action that changes items: items in, batches, outcomes out.
//!
//! An action says which items, how to do one batch, and what undoes a step. Bounded concurrency, batch size, retry per item, progress, dry run,
//! confirmation, report and interruption are done here, the same for all.

mod steps;

pub use steps::{Steps, Undo};

use std::iter;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::ready;
use futures::stream::{self, BoxStream, StreamExt};
use futures::{FutureExt, Stream};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use crate::engine::action::{Output, Reply, to_value};
use crate::engine::context::Context;
use crate::engine::prompt::Question;
use crate::model::error::{Error, Result};
use crate::model::meta::Effect;
use crate::model::outcome::{Failure, Outcome, Record, Status};

/// How often one item is tried in all, when AWS says that it may work a little later.
const TRIES: u32 = 5;

/// The wait before the second try; it doubles from there, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How many items that are not started are named in one piece of work.
const LEFT_AT_ONCE: usize = 1000;

/// How many items the person asked is shown by name.
const SHOWN: usize = 20;

/// How an action changes items, a batch at a time.
#[async_trait]
pub trait Change: Send + Sync + 'static {
    /// One thing that is changed.
    type Item: Send + Sync + 'static;
    /// What comes of one that was changed; `()` when there is nothing to say.
    type Done: Send + 'static;

    /// The item's identity in reports and outputs, the same in every run.
    fn id(&self, item: &Self::Item) -> String;

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
    settled: BoxStream<'static, Result<ItemResult<D>>>,
    /// Whether they only would be.
    planned: bool,
}

impl Context {
    /// Changes items. Asks first where that is due; a dry run lists them instead.
    pub async fn change<C: Change>(
        &self,
        items: impl Stream<Item = Result<C::Item>> + Send + 'static,
        change: C,
    ) -> Result<Changed<C::Done>> {
        let change = Arc::new(change);
        let mut items = items.boxed();
        if let (total, Some(most)) = items.size_hint()
            && total == most
        {
            self.progress().set_total(total as u64);
        }
        if self.dry_run() {
            return Ok(Changed { settled: plan(self.clone(), items, change), planned: true });
        }
        if self.meta().effect == Effect::Delete && self.run().ask.asks() {
            items = self.confirmed(items, &*change).await?;
        }
        let halt = Halt::default();
        let work = batches(self.clone(), items, Arc::clone(&change), halt.clone());
        let cx = self.clone();
        let settled = work
            .map(move |work| settle(cx.clone(), Arc::clone(&change), work, halt.clone()))
            .buffered(self.concurrency())
            .flat_map(stream::iter);
        Ok(Changed { settled: error_last(settled), planned: false })
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
        if first.is_empty() {
            return Ok(items);
        }
        let total = if first.len() < SHOWN { Some(first.len() as u64) } else { total };
        let shown = first.iter().filter(|i| change.precheck(i).is_none()).map(|i| change.id(i)).collect();
        let question = Question { summary: change.summary(), items: shown, total };
        let agreed = tokio::select! {
            agreed = self.run().ask.confirm(question) => agreed?,
            () = self.cancellation().cancelled() => return Err(self.cancellation().error().unwrap_or(Error::Interrupted)),
        };
        if !agreed {
            return Err(Error::Declined);
        }
        Ok(stream::iter(first.into_iter().map(Ok)).chain(items).boxed())
    }
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
            if let Some(precheck) = change.precheck(&item) {
                let fatal = precheck.fatal();
                return iter::once(finish(&cx, &*change, &item, precheck)).chain(fatal.map(Err)).collect();
            }
            let record = Record { item: change.id(&item), status: Status::Planned, code: None, message: change.plan(&item) };
            let settled = cx.record(&record).map(|()| ItemResult { record, done: None });
            cx.progress().add(1);
            vec![settled]
        })
        .flat_map(stream::iter)
        .boxed()
}

/// The first error, behind all that is settled: whoever stops at it must not drop what is in flight, half way through its steps.
fn error_last<T: Send + 'static>(settled: impl Stream<Item = Result<T>> + Send + 'static) -> BoxStream<'static, Result<T>> {
    let state = (settled.boxed(), None);
    let next = |(mut settled, mut error): (BoxStream<'static, Result<T>>, Option<Error>)| async move {
        loop {
            match settled.next().await {
                Some(Ok(one)) => return Some((Ok(one), (settled, error))),
                Some(Err(e)) => drop(error.get_or_insert(e)),
                None => return error.take().map(|e| (Err(e), (settled, None))),
            }
        }
    };
    stream::unfold(state, next).boxed()
}

/// Set when going on is pointless: nothing new is started.
#[derive(Clone, Default)]
struct Halt(Arc<Mutex<Option<String>>>);

impl Halt {
    fn set(&self, why: &Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.to_string());
    }

    fn why(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is to be done with some items.
enum Work<I> {
    Apply(Vec<I>),
    /// Not started, and why; with the error when the items that follow could not be had.
    Leave(Vec<I>, String, Option<Error>),
}

/// Groups items into batches, and stops when the run is cancelled.
fn batches<C: Change>(
    cx: Context,
    items: BoxStream<'static, Result<C::Item>>,
    change: Arc<C>,
    halt: Halt,
) -> impl Stream<Item = Work<C::Item>> + Send {
    let items: BoxStream<'static, Result<C::Item>> = items.fuse().boxed();
    stream::unfold((items, None::<C::Item>), move |(mut items, mut held)| {
        let (cx, change, halt) = (cx.clone(), Arc::clone(&change), halt.clone());
        async move {
            if let Some(why) = not_started(&cx, &halt) {
                // What is in hand is named as not started; what would have to be waited for is not.
                let (mut left, mut error): (Vec<_>, _) = (held.take().into_iter().collect(), None);
                while left.len() < LEFT_AT_ONCE && error.is_none() {
                    match items.next().now_or_never() {
                        Some(Some(Ok(item))) => left.push(item),
                        Some(Some(Err(e))) => error = Some(e),
                        Some(None) | None => break,
                    }
                }
                let nothing = left.is_empty() && error.is_none();
                return (!nothing).then_some((Work::Leave(left, why, error), (items, None)));
            }
            let mut batch: Vec<C::Item> = Vec::new();
            let mut weight = 0;
            loop {
                let item = match held.take() {
                    Some(item) => Some(Ok(item)),
                    None => tokio::select! {
                        item = items.next() => item,
                        () = cx.cancellation().cancelled() => {
                            let why = not_started(&cx, &halt).unwrap_or_default();
                            return Some((Work::Leave(batch, why, None), (items, None)));
                        }
                    },
                };
                let item = match item {
                    Some(Ok(item)) => item,
                    Some(Err(e)) => {
                        // What was gathered so far was not sent: it stays untouched, and is named so.
                        halt.set(&e);
                        let why = not_started(&cx, &halt).unwrap_or_default();
                        return Some((Work::Leave(batch, why, Some(e)), (items, None)));
                    }
                    None if batch.is_empty() => return None,
                    None => return Some((Work::Apply(batch), (items, None))),
                };
                let heavier = weight + change.weight(&item);
                if !batch.is_empty() && (change.alone(&item) || heavier > change.max_weight()) {
                    return Some((Work::Apply(batch), (items, Some(item))));
                }
                let last = change.alone(&item) || batch.len() + 1 >= change.batch();
                weight = heavier;
                batch.push(item);
                if last {
                    return Some((Work::Apply(batch), (items, None)));
                }
            }
        }
    })
}

fn not_started(cx: &Context, halt: &Halt) -> Option<String> {
    if cx.cancellation().is_cancelled() {
        Some("not started: the run was stopped".into())
    } else {
        halt.why().map(|w| format!("not started: {w}"))
    }
}

/// Does one piece of work; each of its items comes back exactly once, in order.
async fn settle<C: Change>(cx: Context, change: Arc<C>, work: Work<C::Item>, halt: Halt) -> Vec<Result<ItemResult<C::Done>>> {
    match work {
        Work::Apply(items) => apply(&cx, &*change, items, &halt).await,
        Work::Leave(items, why, error) => {
            let left = items.iter().map(|item| finish(&cx, &*change, item, Outcome::Skipped(why.clone())));
            left.chain(error.map(Err)).collect()
        }
    }
}

/// Applies a batch, and its transient failures again and again, as long as that makes sense.
async fn apply<C: Change>(cx: &Context, change: &C, items: Vec<C::Item>, halt: &Halt) -> Vec<Result<ItemResult<C::Done>>> {
    let mut settled: Vec<Option<Result<ItemResult<C::Done>>>> = Vec::new();
    settled.resize_with(items.len(), || None);
    let mut fatal = None;
    let mut end = |item: &C::Item, outcome: Outcome<C::Done>, settled: &mut Option<Result<ItemResult<C::Done>>>| {
        if let Some(e) = outcome.fatal() {
            halt.set(&e);
            fatal.get_or_insert(e);
        }
        *settled = Some(finish(cx, change, item, outcome));
    };
    let (mut places, mut pending) = (Vec::new(), Vec::new());
    for (place, item) in items.into_iter().enumerate() {
        match change.precheck(&item) {
            Some(precheck) => end(&item, precheck, &mut settled[place]),
            None => {
                places.push(place);
                pending.push(item);
            }
        }
    }
    for attempt in 1..=TRIES {
        if pending.is_empty() {
            break;
        }
        let outcomes = match change.apply(cx, &pending).await {
            Ok(outcomes) => outcomes,
            Err(e) => {
                let failure = Failure::from(&e);
                pending.iter().map(|_| Outcome::Failed(failure.clone())).collect()
            }
        };
        // An item that the answer does not mention is not known to be done.
        let unanswered = std::iter::repeat_with(|| Outcome::Failed(Failure::permanent("NoAnswer", "the answer does not mention it")));
        let mut again = (Vec::new(), Vec::new());
        for ((place, item), outcome) in places.into_iter().zip(pending).zip(outcomes.into_iter().chain(unanswered)) {
            match outcome {
                Outcome::Failed(f) if f.transient && attempt < TRIES && halt.why().is_none() && !cx.cancellation().is_cancelled() => {
                    tracing::debug!("`{}`: {}: {}; will be tried again", change.id(&item), f.code, f.message);
                    again.0.push(place);
                    again.1.push((item, f));
                }
                outcome => end(&item, outcome, &mut settled[place]),
            }
        }
        if !again.0.is_empty() && (halt.why().is_some() || !cx.cancellation().sleep(wait_before(attempt)).await) {
            for (place, (item, failure)) in again.0.into_iter().zip(again.1) {
                end(&item, Outcome::Failed(failure), &mut settled[place]);
            }
            break;
        }
        places = again.0;
        pending = again.1.into_iter().map(|(item, _)| item).collect();
    }
    settled.into_iter().flatten().chain(fatal.map(Err)).collect()
}

/// Doubling, with up to half of it taken off at random so that workers do not come back all at once.
fn wait_before(attempt: u32) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_WAIT);
    full.mul_f64(0.5 + fastrand::f64() / 2.0)
}

fn finish<C: Change>(cx: &Context, change: &C, item: &C::Item, outcome: Outcome<C::Done>) -> Result<ItemResult<C::Done>> {
    let status = outcome.status();
    let (code, message, done) = match outcome {
        Outcome::Done(done, note) => (None, note, Some(done)),
        Outcome::Unchanged(why) | Outcome::Skipped(why) => (None, Some(why), None),
        Outcome::Failed(failure) => (Some(failure.code), Some(failure.message), None),
    };
    let record = Record { item: change.id(item), status, code, message };
    cx.record(&record)?;
    cx.progress().add(1);
    Ok(ItemResult { record, done })
}

impl<D: Send + 'static> Changed<D> {
    /// The output that lists the items that failed, by their ids: `[]` when all went well. A dry run lists what would be changed, and what fails
    /// already, with the reasons.
    pub fn failed(self) -> FailedItems {
        FailedItems(self.rows(|s| (s.record.status == Status::Failed).then(|| Ok(Value::String(s.record.item)))))
    }

    /// The output that lists the items that are as they were though they should not be: those that failed, and those that were skipped with a
    /// reason. `[]` when nothing was left. A dry run lists what would be changed, and what would be left, with the reasons.
    pub fn left(self) -> LeftItems {
        LeftItems(self.rows(|s| matches!(s.record.status, Status::Failed | Status::Skipped).then(|| Ok(Value::String(s.record.item)))))
    }

    /// The output that lists what came of the items that were changed. A dry run lists what would be changed.
    pub fn done(self) -> DoneItems<D>
    where
        D: Serialize,
    {
        DoneItems(self.rows(|s| s.done.map(|d| to_value(&d))), PhantomData)
    }

    /// The rows of an output; of a dry run all are records.
    fn rows(self, row: fn(ItemResult<D>) -> Option<Result<Value>>) -> BoxStream<'static, Result<Value>> {
        let planned = self.planned;
        let rows = self.settled.filter_map(move |settled| {
            ready(match settled {
                Ok(s) if planned => {
                    let record = s.record.to_value();
                    let is_listed = s.record.status == Status::Planned || row(s).is_some();
                    is_listed.then_some(Ok(record))
                }
                Ok(s) => row(s),
                Err(e) => Some(Err(e)),
            })
        });
        rows.boxed()
    }

    /// The settled items themselves, for an action that makes its own output of them.
    pub fn results(self) -> BoxStream<'static, Result<ItemResult<D>>> {
        self.settled
    }
}

/// See [`Changed::failed`].
pub struct FailedItems(BoxStream<'static, Result<Value>>);

impl Output for FailedItems {
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "description": "The items that failed, in the order given; empty when all went well.", "items": { "type": "string" } })
    }

    fn into_reply(self) -> Result<Reply> {
        Ok(Reply::Items(self.0))
    }
}

/// See [`Changed::left`].
pub struct LeftItems(BoxStream<'static, Result<Value>>);

impl Output for LeftItems {
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "description": "The items that are still there, because they failed or were skipped for a reason, in the order of the work; empty when none is.", "items": { "type": "string" } })
    }

    fn into_reply(self) -> Result<Reply> {
        Ok(Reply::Items(self.0))
    }
}

/// See [`Changed::done`].
pub struct DoneItems<D>(BoxStream<'static, Result<Value>>, PhantomData<fn() -> D>);

impl<D: JsonSchema + 'static> Output for DoneItems<D> {
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "description": "What came of the items that were changed, in the order given.", "items": generator.subschema_for::<D>() })
    }

    fn into_reply(self) -> Result<Reply> {
        Ok(Reply::Items(self.0))
    }
}

/// One value as the output of a change: the value, or in a dry run the plan.
pub enum OrPlan<T> {
    /// What came of it.
    Done(T),
    /// What would be done.
    Planned(Vec<Record>),
}

impl<T> OrPlan<T> {
    /// Another value of what came of it.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> OrPlan<U> {
        match self {
            OrPlan::Done(value) => OrPlan::Done(to(value)),
            OrPlan::Planned(records) => OrPlan::Planned(records),
        }
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> Output for OrPlan<T> {
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }

    fn into_reply(self) -> Result<Reply> {
        match self {
            OrPlan::Done(value) => value.into_reply(),
            OrPlan::Planned(records) => records.into_reply(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;

    use super::*;
    use crate::aws::session::{MfaPrompt, Session};
    use crate::engine::context::{Run, Tally};
    use crate::engine::progress::Progress;
    use crate::engine::prompt::NoPrompt;
    use crate::model::cancellation::{CancelReason, Cancellation};
    use crate::model::meta::Meta;

    static META: Meta = Meta { path: "test/change", effect: Effect::Modify, calls: &[], rules: &[], examples: &[], notes: &[] };

    struct Nobody;

    #[async_trait]
    impl MfaPrompt for Nobody {
        async fn token(&self, _: &str) -> Result<String> {
            Err(Error::Declined)
        }
    }

    fn context(concurrency: usize) -> Context {
        let run = Run {
            dry_run: false,
            concurrency,
            ask: Box::new(NoPrompt),
            mfa: Box::new(Nobody),
            report: None,
            progress: Progress::new(false),
            cancellation: Cancellation::default(),
            tally: Tally::default(),
        };
        Context::new(&META, Session::local(), Arc::new(run))
    }

    /// Half way through its steps when another item meets an error that ends the run.
    struct Slow(Arc<AtomicU32>);

    #[async_trait]
    impl Change for Slow {
        type Item = &'static str;
        type Done = ();

        fn id(&self, item: &&'static str) -> String {
            (*item).to_owned()
        }

        fn summary(&self) -> String {
            "take time".into()
        }

        async fn apply(&self, _: &Context, items: &[&'static str]) -> Result<Vec<Outcome>> {
            if items.contains(&"fatal") {
                return Err(Error::NoRegion);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(items.iter().map(|_| Outcome::done(())).collect())
        }
    }

    #[tokio::test]
    async fn what_is_in_flight_is_settled_before_the_error_that_ends_the_run() {
        let finished = Arc::default();
        let items = stream::iter(["fatal", "slow"].map(Ok));
        let changed = context(2).change(items, Slow(Arc::clone(&finished))).await.unwrap_or_else(|e| panic!("{e}"));
        let settled: Result<Vec<_>> = futures::TryStreamExt::try_collect(changed.results()).await;
        assert!(matches!(settled, Err(Error::NoRegion)));
        assert_eq!(finished.load(Ordering::Relaxed), 1, "it was not dropped half way");
    }

    /// Fails odd numbers, a multiple of ten twice before it works, and everything at 666.
    #[derive(Default)]
    struct Numbers {
        tries: AtomicU32,
        batches: Arc<Mutex<Vec<Vec<u32>>>>,
    }

    #[async_trait]
    impl Change for Numbers {
        type Item = u32;
        type Done = ();

        fn id(&self, item: &u32) -> String {
            item.to_string()
        }

        fn summary(&self) -> String {
            "change numbers".into()
        }

        fn precheck(&self, item: &u32) -> Option<Outcome> {
            (*item == 0).then(|| Outcome::Skipped("protected".into()))
        }

        fn batch(&self) -> usize {
            4
        }

        fn alone(&self, item: &u32) -> bool {
            *item == 7
        }

        async fn apply(&self, _: &Context, items: &[u32]) -> Result<Vec<Outcome>> {
            self.batches.lock().unwrap_or_else(PoisonError::into_inner).push(items.to_vec());
            if items.contains(&666) {
                return Err(Error::Credentials { message: "expired".into() });
            }
            let again = self.tries.fetch_add(1, Ordering::Relaxed) < 2;
            let outcome = |item: &u32| match item {
                n if n % 10 == 0 && again => Outcome::Failed(Failure::from_code("SlowDown", "later")),
                n if n % 2 == 1 => Outcome::Failed(Failure::from_code("AccessDenied", "no")),
                _ => Outcome::done(()),
            };
            // The answer forgets the last item of a batch with a 99 in it.
            let answered = if items.contains(&99) { items.len() - 1 } else { items.len() };
            Ok(items[..answered].iter().map(outcome).collect())
        }
    }

    async fn settled(cx: &Context, items: Vec<u32>, numbers: Numbers) -> Vec<(String, Status, Option<String>)> {
        let changed = cx.change(stream::iter(items.into_iter().map(Ok)), numbers).await.unwrap_or_else(|e| panic!("{e}"));
        let all: Vec<_> = changed.results().collect().await;
        all.into_iter().flatten().map(|s| (s.record.item, s.record.status, s.record.code)).collect()
    }

    #[tokio::test]
    async fn every_item_comes_back_once_and_in_order() {
        let batches = Arc::default();
        let numbers = Numbers { batches: Arc::clone(&batches), tries: AtomicU32::new(9) };
        let items = vec![2, 4, 5, 0, 7, 8, 3, 6, 12, 14, 99, 16];
        let all = settled(&context(3), items.clone(), numbers).await;
        assert_eq!(all.iter().map(|s| s.0.parse().unwrap_or(1)).collect::<Vec<u32>>(), items);
        let of = |item: &str| all.iter().find(|s| s.0 == item).map(|s| (s.1, s.2.as_deref()));
        assert_eq!(of("5"), Some((Status::Failed, Some("AccessDenied"))));
        assert_eq!(of("0"), Some((Status::Skipped, None)));
        assert_eq!(of("16"), Some((Status::Failed, Some("NoAnswer"))));
        let mut batches = batches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        batches.sort();
        assert_eq!(batches, [vec![2, 4, 5], vec![7], vec![8, 3, 6, 12], vec![14, 99, 16]]);
    }

    #[tokio::test]
    async fn only_what_may_work_later_is_tried_again() {
        let batches = Arc::default();
        let numbers = Numbers { batches: Arc::clone(&batches), tries: AtomicU32::new(0) };
        let all = settled(&context(1), vec![10, 1, 2], numbers).await;
        assert_eq!(all.iter().map(|s| s.1).collect::<Vec<_>>(), [Status::Done, Status::Failed, Status::Done]);
        assert_eq!(*batches.lock().unwrap_or_else(PoisonError::into_inner), [vec![10, 1, 2], vec![10], vec![10]]);
    }

    #[tokio::test]
    async fn an_error_that_the_next_call_would_meet_too_ends_the_work() {
        let cx = context(1);
        let items = stream::iter([666, 2, 4, 6, 8, 12].map(Ok));
        let changed = cx.change(items, Numbers::default()).await.unwrap_or_else(|e| panic!("{e}"));
        let all: Vec<_> = changed.results().collect().await;
        assert_eq!(cx.run().tally.count(Status::Failed), 4, "the batch that met it");
        assert_eq!(cx.run().tally.count(Status::Skipped), 2, "what was not started");
        assert_eq!(all.iter().filter(|s| s.is_err()).count(), 1);
    }

    #[tokio::test]
    async fn items_that_cannot_be_had_are_an_error_and_what_was_not_sent_is_named() {
        for before in [0, 1, 6] {
            let cx = context(2);
            let broken = || Err(Error::Failed("the listing broke off".into()));
            let items = stream::iter((0..before).map(|n| Ok(2 * n + 2)).chain([broken(), Ok(4), broken()]));
            let changed = cx.change(items, Numbers::default()).await.unwrap_or_else(|e| panic!("{e}"));
            let all: Vec<_> = changed.results().collect().await;
            let told = all.iter().any(|s| matches!(s, Err(e) if e.to_string() == "the listing broke off"));
            assert!(told, "after {before} items");
            // Whole batches that were complete before are done; everything else is named as not started.
            let whole = u64::from(before / 4 * 4);
            assert_eq!(cx.run().tally.count(Status::Done), whole, "after {before} items");
            assert_eq!(cx.run().tally.count(Status::Skipped), u64::from(before) - whole + 1, "after {before} items");
        }
    }

    #[tokio::test]
    async fn a_stopped_run_starts_nothing_and_names_what_it_left() {
        let cx = context(1);
        cx.cancellation().cancel(CancelReason::Interrupted);
        let batches = Arc::default();
        let all = settled(&cx, (1..2500).collect(), Numbers { batches: Arc::clone(&batches), tries: AtomicU32::new(9) }).await;
        assert_eq!(all.len(), 2499);
        assert!(all.iter().all(|s| s.1 == Status::Skipped));
        assert!(batches.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
    }

    /// Opens three doors; the one that is locked makes it fail.
    struct Doors {
        locked: &'static str,
        stuck: &'static str,
        closed: Arc<Mutex<Vec<String>>>,
    }

    #[async_trait]
    impl Steps for Doors {
        type Item = String;
        type Done = Value;
        type Step = String;

        fn id(&self, item: &String) -> String {
            item.clone()
        }

        fn summary(&self) -> String {
            "open doors".into()
        }

        async fn run(&self, _: &Context, item: &String, undo: &mut Undo<String>) -> Result<Outcome<Value>> {
            for door in ["a", "b", "c"] {
                if door == self.locked {
                    return Ok(Outcome::Failed(Failure::permanent("Locked", door)));
                }
                undo.push(format!("open {door}"));
            }
            Ok(Outcome::done(json!(item)))
        }

        async fn undo(&self, _: &Context, step: &String) -> Result<()> {
            self.closed.lock().unwrap_or_else(PoisonError::into_inner).push(step.clone());
            if step.ends_with(self.stuck) { Err(Error::Failed("stuck".into())) } else { Ok(()) }
        }
    }

    async fn open(locked: &'static str, stuck: &'static str) -> (Record, Option<Value>, Vec<String>) {
        let cx = context(1);
        let closed = Arc::default();
        let items = stream::iter([Ok("house".to_owned())]);
        let changed = cx.change_in_steps(items, Doors { locked, stuck, closed: Arc::clone(&closed) }).await;
        let mut all: Vec<_> = changed.unwrap_or_else(|e| panic!("{e}")).results().collect().await;
        let settled = all.remove(0).unwrap_or_else(|e| panic!("{e}"));
        let closed = closed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (settled.record, settled.done, closed)
    }

    #[tokio::test]
    async fn steps_are_undone_from_the_last_to_the_first_and_said() {
        let (record, done, closed) = open("c", "none").await;
        assert_eq!((record.status, done), (Status::Failed, None));
        assert_eq!(closed, ["open b", "open a"]);
        assert_eq!(record.message.as_deref(), Some("c; undone: open b; undone: open a"));

        let (record, _, closed) = open("c", "b").await;
        assert_eq!(closed, ["open b", "open a"], "a step that cannot be undone does not keep the others from it");
        assert_eq!(record.message.as_deref(), Some("c; could not undo: open b (stuck); undone: open a"));

        let (record, done, closed) = open("none", "none").await;
        assert_eq!((record.status, done), (Status::Done, Some(json!("house"))));
        assert_eq!(closed, [""; 0]);
    }
}
