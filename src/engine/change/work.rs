//! A piece of work on its way: tried, tried again, and settled.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::batch::{Halt, Work};
use super::dependencies::Recorded;
use super::planned::{self, Admission};
use super::{Change, ItemResult, journaled, name, record, record_quietly};
use crate::aws::backoff::Delays;
use crate::engine::context::Context;
use crate::engine::host::Progress;
use crate::model::code::Code;
use crate::model::error::{Error, Result, is_throttling};
use crate::model::outcome::{Failure, Outcome};

/// How often one item is tried in all, when AWS says that it may work a little later. Throttling does not count.
pub(super) const TRIES: u32 = 5;

/// Does one piece of work; each of its items comes back exactly once, in order.
pub(super) async fn finish_work<C: Change>(
    cx: Context,
    change: Arc<C>,
    work: Work<C::Item>,
    halt: Halt,
    recorded: Recorded,
) -> Vec<Result<ItemResult<C::Done>>> {
    match work {
        Work::Apply(items) => {
            let results = Vec::with_capacity(items.len());
            let mut batch = Batch { cx, change, halt, recorded, results, fatal: None, ended: 0 };
            batch.apply(items).await;
            batch.advance();
            batch.results.sort_by_key(|(place, _)| *place);
            batch.results.into_iter().map(|(_, result)| Ok(result)).chain(batch.fatal.map(Err)).collect()
        }
        Work::Leave(items, why, error) => {
            let left = items.iter().filter(|item| planned::is_known(&cx, &*change, item)).map(|item| {
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
    /// Items that ended since it was last said how far the run is.
    ended: u64,
}

impl<C: Change> Batch<C> {
    /// Says how far the run is: once for many items, as that locks a line, and looks at the clock.
    fn advance(&mut self) {
        let ended = std::mem::take(&mut self.ended);
        if ended > 0 {
            self.cx.progress(Progress::Advanced(ended));
        }
    }

    fn end(&mut self, pending: &Pending<C::Item>, outcome: Outcome<C::Done>) {
        if let Some(e) = outcome.fatal() {
            self.halt.set(&e);
            self.fatal.get_or_insert(e);
        }
        let result = record_quietly(&self.cx, &*self.change, &pending.item, outcome);
        self.ended += 1;
        self.recorded.note(&result.record);
        self.results.push((pending.place, result));
    }

    /// Ends those that need no work, or what they wait for stays; gives the others.
    async fn ready(&mut self, items: Vec<C::Item>) -> Vec<Pending<C::Item>> {
        let mut ready = Vec::with_capacity(items.len());
        for (place, item) in items.into_iter().enumerate() {
            let pending = Pending { place, item };
            let first = self.recorded.is_first(|| self.change.id(&pending.item));
            let outcome = match planned::admission(&self.cx, &*self.change, &pending.item) {
                Admission::Goes => self.recorded.wait(&self.cx, self.change.after(&pending.item)).await,
                Admission::Ends(outcome) => {
                    journaled::found(&self.cx, self.change.id(&pending.item), &outcome);
                    Some(outcome)
                }
                Admission::New => {
                    // What waits for it to be gone waits no longer.
                    let left = planned::leave(&self.cx, &*self.change, &pending.item);
                    if first {
                        self.recorded.note(&left);
                    }
                    continue;
                }
            };
            match outcome {
                // Those who wait for the item wait for its first mention.
                Some(outcome) if !first => self.results.push((place, record(&self.cx, &*self.change, &pending.item, outcome))),
                Some(outcome) => self.end(&pending, outcome),
                None => ready.push(pending),
            }
        }
        ready
    }

    /// Applies a batch, and its transient failures again and again, as long as that makes sense.
    async fn apply(&mut self, items: Vec<C::Item>) {
        let mut pending = self.ready(items).await;
        self.advance();
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
            self.advance();
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

/// A slot to work in: at once where there is one. None when nothing more is to be begun.
async fn slot(cx: &Context, halt: &Halt) -> Option<OwnedSemaphorePermit> {
    let slots = &cx.run().slots;
    if halt.why(cx).is_some() {
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
