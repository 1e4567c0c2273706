//! Outputs that are lists, item by item.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Poll_, Poll, Waker};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream, StreamExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::engine::action::{Output, Reply, to_value};
use crate::engine::context::Context;
use crate::engine::host::Progress;
use crate::model::error::{Error, Result};

/// So many items of a producer wait to be read.
const ROOM: usize = 64;

/// It is said of so many items at once how far a run is: to say it takes longer than most items do.
const SAID: u64 = 100;

/// A list that is produced while it is read: memory does not grow with it.
pub struct Listing<T> {
    items: BoxStream<'static, Result<T>>,
}

/// Where a producer of a [`Listing`] puts its items.
pub struct Out<T> {
    queue: Arc<Queue<T>>,
}

impl<T> Out<T> {
    /// Waits until the reader has room. Once the reader is gone the producer ends with an error that nobody sees.
    pub async fn send(&mut self, item: T) -> Result<()> {
        let mut item = Some(item);
        poll_fn(|cx| {
            let mut state = self.queue.state();
            if state.reader_is_gone {
                return Poll::Ready(Err(Error::Interrupted));
            }
            if state.items.len() >= ROOM {
                state.producer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            state.items.extend(item.take());
            let reader = state.reader.take();
            drop(state);
            wake(reader);
            Poll::Ready(Ok(()))
        })
        .await
    }
}

/// Not while the queue is held: who is woken may look at it.
fn wake(waiting: Option<Waker>) {
    if let Some(waker) = waiting {
        waker.wake();
    }
}

impl<T> Drop for Out<T> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.is_whole = true;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }
}

/// What was sent and is not read. It is read all at once: a channel that hands over one item at a time takes more than most items do.
struct Queue<T>(Mutex<QueueState<T>>);

struct QueueState<T> {
    items: VecDeque<T>,
    /// Waits for items, or for their end.
    reader: Option<Waker>,
    /// Waits for room.
    producer: Option<Waker>,
    reader_is_gone: bool,
    /// No more will come.
    is_whole: bool,
}

impl<T> Queue<T> {
    fn new() -> Self {
        let items = VecDeque::with_capacity(ROOM);
        Queue(Mutex::new(QueueState { items, reader: None, producer: None, reader_is_gone: false, is_whole: false }))
    }

    fn state(&self) -> MutexGuard<'_, QueueState<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exchanges what is there for what was read to its end.
    fn swap(&self, read: &mut VecDeque<T>) {
        let mut state = self.state();
        std::mem::swap(&mut state.items, read);
        let producer = state.producer.take();
        drop(state);
        wake(producer);
    }
}

impl<T: Send + 'static> Listing<T> {
    /// A list made by a future that sends its items; it runs only as fast as it is read, and ends when the run is stopped.
    pub fn produce<F, P>(cx: &Context, producer: F) -> Self
    where
        F: FnOnce(Context, Out<T>) -> P,
        P: Future<Output = Result<()>> + Send + 'static,
    {
        let queue = Arc::new(Queue::new());
        let producer = producer(cx.clone(), Out { queue: Arc::clone(&queue) }).boxed();
        Listing::of(cx, Produced { queue, read: VecDeque::with_capacity(ROOM), producer: Some(producer), failed: None })
    }

    /// A list from a stream that only looks, [`crate::paged`] say; it ends with its first error, and when the run is stopped.
    pub fn of(cx: &Context, items: impl Stream<Item = Result<T>> + Send + 'static) -> Self {
        let cancellation = cx.cancellation().clone();
        let over = async move { cancellation.cancelled().await }.boxed();
        Listing { items: Looked { items: Some(Box::pin(items)), over, cx: cx.clone(), unsaid: 0 }.boxed() }
    }

    /// Its rows, as they are produced.
    pub fn items(self) -> BoxStream<'static, Result<T>> {
        self.items
    }

    /// A list from any stream, of what is being changed say: it is read to its end.
    pub fn from_stream(items: impl Stream<Item = Result<T>> + Send + 'static) -> Self {
        Listing { items: items.boxed() }
    }
}

/// A stream up to its first error, or to the end of the run.
struct Looked<S> {
    /// None at its end: who looks on after an error asks in vain, as nothing behind it is printed as a whole list.
    items: Option<Pin<Box<S>>>,
    over: BoxFuture<'static, ()>,
    cx: Context,
    /// Items that were given out since it was last said how far the run is.
    unsaid: u64,
}

impl<S> Looked<S> {
    fn say(&mut self) {
        if self.unsaid > 0 {
            self.cx.progress(Progress::Advanced(std::mem::take(&mut self.unsaid)));
        }
    }
}

impl<T, S: Stream<Item = Result<T>>> Stream for Looked<S> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Option<Result<T>>> {
        let this = self.get_mut();
        let Some(items) = &mut this.items else { return Poll::Ready(None) };
        if this.cx.cancellation().reason().is_some() {
            this.items = None;
            this.say();
            return Poll::Ready(None);
        }
        let next = items.as_mut().poll_next(cx);
        match &next {
            Poll::Ready(Some(item)) => {
                this.unsaid += 1;
                if item.is_err() {
                    this.items = None;
                }
                if this.unsaid >= SAID || item.is_err() {
                    this.say();
                }
                next
            }
            Poll::Ready(None) => {
                this.items = None;
                this.say();
                next
            }
            Poll::Pending => {
                this.say();
                let is_over = this.over.poll_unpin(cx).is_ready();
                if is_over {
                    this.items = None;
                    return Poll::Ready(None);
                }
                next
            }
        }
    }
}

/// Drives the producer and yields what it sends; its error comes last.
struct Produced<T> {
    queue: Arc<Queue<T>>,
    /// Taken from the queue, to be given out.
    read: VecDeque<T>,
    producer: Option<BoxFuture<'static, Result<()>>>,
    failed: Option<Error>,
}

impl<T> Produced<T> {
    fn take(&mut self) -> Option<T> {
        if self.read.is_empty() {
            self.queue.swap(&mut self.read);
        }
        self.read.pop_front()
    }
}

// Nothing in it is pinned: the producer is boxed.
impl<T> Unpin for Produced<T> {}

impl<T> Stream for Produced<T> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Option<Result<T>>> {
        let this = self.get_mut();
        // What was sent is given out before more is asked for: the producer, and all that it waits for, is not looked at for each item.
        if let Some(item) = this.take() {
            return Poll::Ready(Some(Ok(item)));
        }
        if let Some(producer) = &mut this.producer
            && let Poll::Ready(ended) = producer.as_mut().poll(cx)
        {
            this.producer = None;
            this.failed = ended.err();
        }
        if let Some(item) = this.take() {
            return Poll::Ready(Some(Ok(item)));
        }
        let mut state = this.queue.state();
        match () {
            // Somebody else sent it meanwhile.
            () if !state.items.is_empty() => {
                drop(state);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            // What the producer had to say of its end comes now.
            () if state.is_whole && this.producer.is_none() => Poll::Ready(this.failed.take().map(Err)),
            () => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Produced<T> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.reader_is_gone = true;
        let producer = state.producer.take();
        drop(state);
        wake(producer);
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> Output for Listing<T> {
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": generator.subschema_for::<T>() })
    }

    fn into_reply(self) -> Result<Reply> {
        Ok(Reply::Items(self.items.map(|item| to_value(&item?)).boxed()))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use futures::stream::TryStreamExt;
    use tokio::sync::oneshot;

    use super::*;

    fn produced<P>(producer: impl FnOnce(Out<usize>) -> P) -> Produced<usize>
    where
        P: Future<Output = Result<()>> + Send + 'static,
    {
        let queue = Arc::new(Queue::new());
        let producer = producer(Out { queue: Arc::clone(&queue) }).boxed();
        Produced { queue, read: VecDeque::new(), producer: Some(producer), failed: None }
    }

    async fn send_all(mut out: Out<usize>, count: usize) -> Result<()> {
        for item in 0..count {
            out.send(item).await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn all_that_is_sent_is_read_in_order_and_then_the_error() {
        for count in [0, 1, ROOM - 1, ROOM, ROOM + 1, 10 * ROOM + 7] {
            let items: Vec<Result<usize>> = produced(|out| async move {
                send_all(out, count).await?;
                Err(Error::NoRegion)
            })
            .collect()
            .await;
            assert!(matches!(items.last(), Some(Err(Error::NoRegion))), "{count}");
            let numbers: Vec<usize> = items.into_iter().flatten().collect();
            assert_eq!(numbers, (0..count).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_task_of_its_own_may_send_and_go_on_when_the_producer_has_ended() {
        let list = produced(|out| async move {
            tokio::spawn(send_all(out, 1000));
            Ok(())
        });
        assert_eq!(list.try_collect::<Vec<_>>().await.ok(), Some((0..1000).collect::<Vec<_>>()));
    }

    #[tokio::test]
    async fn several_may_wait_for_room_in_one_producer() {
        let list = produced(|out| async move {
            let out = tokio::sync::Mutex::new(out);
            let send = |item| {
                let out = &out;
                async move { out.lock().await.send(item).await }
            };
            stream::iter(0..500).map(send).buffer_unordered(16).try_collect().await
        });
        assert_eq!(list.try_collect::<Vec<_>>().await.map(|items| items.len()).ok(), Some(500));
    }

    #[tokio::test]
    async fn no_more_is_produced_than_there_is_room_for_and_nothing_once_the_reader_is_gone() {
        let (ended, end) = oneshot::channel();
        let mut list = produced(|mut out| async move {
            tokio::spawn(async move {
                let mut sent = 0;
                while out.send(sent).await.is_ok() {
                    sent += 1;
                }
                ended.send(sent)
            });
            Ok(())
        });
        assert!(matches!(list.next().await, Some(Ok(0))));
        drop(list);
        let sent = end.await.expect("the task ends");
        assert!((1..=2 * ROOM).contains(&sent), "{sent}");
    }
}
