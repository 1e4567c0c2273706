//! Outputs that are lists, item by item.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poll_, Poll};

use futures::channel::mpsc;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use futures::{FutureExt, SinkExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::engine::action::{Output, Reply, to_value};
use crate::engine::context::Context;
use crate::engine::host::Progress;
use crate::model::error::{Error, Result};

/// A list that is produced while it is read: memory does not grow with it.
pub struct Listing<T> {
    items: BoxStream<'static, Result<T>>,
}

/// Where a producer of a [`Listing`] puts its items.
pub struct Out<T> {
    sender: mpsc::Sender<T>,
}

impl<T> Out<T> {
    /// Waits until the reader has room. Once the reader is gone the producer ends with an error that nobody sees.
    pub async fn send(&mut self, item: T) -> Result<()> {
        self.sender.send(item).await.map_err(|_| Error::Interrupted)
    }
}

impl<T: Send + 'static> Listing<T> {
    /// A list made by a future that sends its items; it runs only as fast as it is read, and ends when the run is stopped.
    pub fn produce<F, P>(cx: &Context, producer: F) -> Self
    where
        F: FnOnce(Context, Out<T>) -> P,
        P: Future<Output = Result<()>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(64);
        let producer = producer(cx.clone(), Out { sender }).boxed();
        Listing::of(cx, Produced { receiver, producer: Some(producer), failed: None })
    }

    /// A list from a stream that only looks, [`crate::paged`] say; it ends with its first error, and when the run is stopped.
    pub fn of(cx: &Context, items: impl Stream<Item = Result<T>> + Send + 'static) -> Self {
        let cancellation = cx.cancellation().clone();
        let shown = cx.clone();
        let items = items.inspect(move |_| shown.progress(Progress::Advanced(1)));
        // Who looks on after an error asks in vain: nothing behind it is printed as a whole list.
        let until_error = stream::unfold(Some(items.boxed()), |items| async move {
            let mut items = items?;
            let item = items.next().await?;
            let rest = item.is_ok().then_some(items);
            Some((item, rest))
        });
        Listing { items: until_error.take_until(async move { cancellation.cancelled().await }).boxed() }
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

/// Drives the producer and yields what it sends; its error comes last.
struct Produced<T> {
    receiver: mpsc::Receiver<T>,
    producer: Option<Pin<Box<dyn Future<Output = Result<()>> + Send>>>,
    failed: Option<Error>,
}

impl<T> Stream for Produced<T> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Option<Result<T>>> {
        let this = self.get_mut();
        // What was sent is given out before more is asked for: the producer, and all that it waits for, is not looked at for each item.
        if let Poll::Ready(Some(item)) = this.receiver.poll_next_unpin(cx) {
            return Poll::Ready(Some(Ok(item)));
        }
        if let Some(producer) = &mut this.producer
            && let Poll::Ready(ended) = producer.as_mut().poll(cx)
        {
            this.producer = None;
            this.failed = ended.err();
        }
        match this.receiver.poll_next_unpin(cx) {
            Poll::Ready(Some(item)) => Poll::Ready(Some(Ok(item))),
            // The sender went with the producer: what it had to say of its end comes now.
            Poll::Ready(None) if this.producer.is_none() => Poll::Ready(this.failed.take().map(Err)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
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
