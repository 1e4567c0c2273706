//! Grouping items into batches, and noticing when nothing more is to be begun.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{BoxStream, Stream, StreamExt};

use super::Change;
use crate::engine::context::Context;
use crate::model::error::{Error, Result};

/// How many items that are not started are named in one piece of work.
const LEFT_AT_ONCE: usize = 1000;

/// How long an item is waited for once nothing more is to be begun. One that was being looked up needs a moment to hear that.
const LEFT_WITHIN: Duration = Duration::from_millis(500);

/// Set when going on is pointless: nothing new is started.
#[derive(Clone, Default)]
pub(super) struct Halt(Arc<Mutex<Option<String>>>);

impl Halt {
    pub fn set(&self, why: &Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.to_string());
    }

    pub fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Why nothing new is to be started, if so.
    pub fn why(&self, cx: &Context) -> Option<String> {
        if cx.cancellation().is_cancelled() {
            return Some("not started: the run was stopped".into());
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|why| format!("not started: {why}"))
    }
}

/// What is to be done with some items.
pub(super) enum Work<I> {
    Apply(Vec<I>),
    /// Not started, and why; with the error when the items that follow could not be had.
    Leave(Vec<I>, String, Option<Error>),
}

/// Gathers items into batches.
struct Batcher<C: Change> {
    cx: Context,
    change: Arc<C>,
    halt: Halt,
    items: BoxStream<'static, Result<C::Item>>,
    /// Read, and too much for the batch before it.
    next: Option<C::Item>,
}

/// The pieces of work that the items make.
pub(super) fn batches<C: Change>(
    cx: Context,
    items: BoxStream<'static, Result<C::Item>>,
    change: Arc<C>,
    halt: Halt,
) -> impl Stream<Item = Work<C::Item>> + Send {
    let batcher = Batcher { cx, change, halt, items: items.fuse().boxed(), next: None };
    futures::stream::unfold((batcher, false), |(mut batcher, begun)| async move {
        // Where items are at hand, the batches before this one are sent first: else none was before all that may be under way are gathered.
        if begun && batcher.change.batch() > 1 {
            tokio::task::yield_now().await;
        }
        batcher.work().await.map(|work| (work, (batcher, true)))
    })
}

impl<C: Change> Batcher<C> {
    async fn work(&mut self) -> Option<Work<C::Item>> {
        match self.halt.why(&self.cx) {
            Some(why) => self.leave(why).await,
            None => self.gather().await,
        }
    }

    /// What is in hand is named as not started; what would have to be waited for any longer is not.
    async fn leave(&mut self, why: String) -> Option<Work<C::Item>> {
        let mut left: Vec<_> = self.next.take().into_iter().collect();
        let mut error = None;
        while left.len() < LEFT_AT_ONCE && error.is_none() {
            // Most are at hand: a clock for each would be most of the work.
            let item = match self.items.next().now_or_never() {
                Some(item) => item,
                None => tokio::time::timeout(LEFT_WITHIN, self.items.next()).await.ok().flatten(),
            };
            match item {
                Some(Ok(item)) => left.push(item),
                Some(Err(e)) => error = Some(e),
                None => break,
            }
        }
        (!left.is_empty() || error.is_some()).then_some(Work::Leave(left, why, error))
    }

    async fn gather(&mut self) -> Option<Work<C::Item>> {
        let (mut batch, mut weight) = (Vec::new(), 0);
        loop {
            let item = match self.next.take() {
                Some(item) => Some(Ok(item)),
                // What is at hand is taken: to wait for the end of the run beside each item costs more than most items do. Each batch looks for it, too.
                None => tokio::select! {
                    biased;
                    item = self.items.next() => item,
                    () = self.cx.cancellation().cancelled() => return Some(self.not_sent(batch, None)),
                },
            };
            let item = match item {
                Some(Ok(item)) => item,
                // What was gathered so far was not sent: it stays untouched, and is named so.
                Some(Err(e)) => {
                    self.halt.set(&e);
                    return Some(self.not_sent(batch, Some(e)));
                }
                None => return (!batch.is_empty()).then_some(Work::Apply(batch)),
            };
            let heavier = weight + self.change.weight(&item);
            let alone = self.change.alone(&item);
            if !batch.is_empty() && (alone || heavier > self.change.max_weight()) {
                self.next = Some(item);
                return Some(Work::Apply(batch));
            }
            weight = heavier;
            batch.push(item);
            if alone || batch.len() >= self.change.batch() {
                return Some(Work::Apply(batch));
            }
        }
    }

    fn not_sent(&self, batch: Vec<C::Item>, error: Option<Error>) -> Work<C::Item> {
        Work::Leave(batch, self.halt.why(&self.cx).unwrap_or_default(), error)
    }
}
