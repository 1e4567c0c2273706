//! Listings that come in pages: one guard against those that never end, or end too soon.

use std::collections::HashSet;
use std::future::Future;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::model::error::{Error, Result};

/// One page of a listing, and where the next begins.
#[derive(Debug)]
pub struct Page<T, K> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the listing goes on.
    pub next: Next<K>,
}

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<K> {
    /// That was all.
    End,
    /// At this token, or marker.
    At(K),
    /// The service says that there is more, and not where: half a listing must not pass for a whole one.
    Unknown,
}

impl<K> Next<K> {
    /// Of a service that gives a token exactly when there is more.
    pub fn token(token: Option<K>) -> Self {
        token.map_or(Next::End, Next::At)
    }

    /// Of a service that says apart whether there is more.
    pub fn truncated(truncated: Option<bool>, token: Option<K>) -> Self {
        match (truncated, token) {
            (Some(false), _) | (None, None) => Next::End,
            // Who only says where there is more, says that there is.
            (Some(true) | None, Some(token)) => Next::At(token),
            (Some(true), None) => Next::Unknown,
        }
    }
}

impl Next<String> {
    /// An empty token is none: some services end so.
    pub fn nonempty(token: Option<String>) -> Self {
        Next::token(token.filter(|token| !token.is_empty()))
    }
}

/// The pages of a listing, one after another as they are read. `page` asks for the page that begins at a token; the first has none. A token that comes
/// again is an error, and so is a listing that goes on nobody knows where: `what` says which, "the volumes".
pub fn pages<T, K, F>(what: impl Into<String>, page: impl FnMut(Option<K>) -> F + Send) -> impl Stream<Item = Result<Vec<T>>> + Send
where
    T: Send,
    K: Hash + Clone + Send,
    F: Future<Output = Result<Page<T, K>>> + Send,
{
    let state = (page, Tokens::of(what.into()), Next::Unknown, true);
    stream::try_unfold(state, |(mut page, mut tokens, next, first)| async move {
        let token = match next {
            _ if first => None,
            next => match tokens.take(next)? {
                Some(token) => Some(token),
                None => return Ok(None),
            },
        };
        let Page { items, next } = page(token).await?;
        Ok::<_, Error>(Some((items, (page, tokens, next, false))))
    })
}

/// The elements of all pages, one after another.
pub fn paged<T, K, F>(what: impl Into<String>, page: impl FnMut(Option<K>) -> F + Send) -> impl Stream<Item = Result<T>> + Send
where
    T: Send,
    K: Hash + Clone + Send,
    F: Future<Output = Result<Page<T, K>>> + Send,
{
    pages(what, page).map_ok(|items| stream::iter(items).map(Ok)).try_flatten()
}

/// Says where the next page begins as soon as that is known: while its own page is still being read. Cheap to clone.
#[derive(Debug)]
pub struct Early<K>(Arc<Mutex<Option<oneshot::Sender<K>>>>);

impl<K> Clone for Early<K> {
    fn clone(&self) -> Self {
        Early(Arc::clone(&self.0))
    }
}

impl<K> Early<K> {
    fn new() -> (Self, oneshot::Receiver<K>) {
        let (to, from) = oneshot::channel();
        (Early(Arc::new(Mutex::new(Some(to)))), from)
    }

    /// Only the first word counts, and only as a guess: the page that begins there is asked for, and thrown away unless this one says the same in the end.
    pub fn say(&self, token: K) {
        if let Some(to) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Nobody listens any more where the page is read already.
            let _ = to.send(token);
        }
    }
}

/// The elements of all pages as [`paged`] gives them, with one page on its way while the one before it is read and gone through: it is asked for as soon as
/// it is known where it begins, and read on a task of its own. So reading takes no time beside the requests; who stops within a page has one request too many.
pub fn paged_ahead<T, K, F>(
    what: impl Into<String>,
    page: impl FnMut(Option<K>, Early<K>) -> F + Send,
) -> impl Stream<Item = Result<T>> + Send
where
    T: Send + 'static,
    K: Hash + Eq + Clone + Send + 'static,
    F: Future<Output = Result<Page<T, K>>> + Send + 'static,
{
    pages_ahead(what.into(), page).map_ok(|items| stream::iter(items).map(Ok)).try_flatten()
}

fn pages_ahead<T, K, F>(what: String, page: impl FnMut(Option<K>, Early<K>) -> F + Send) -> impl Stream<Item = Result<Vec<T>>> + Send
where
    T: Send + 'static,
    K: Hash + Eq + Clone + Send + 'static,
    F: Future<Output = Result<Page<T, K>>> + Send + 'static,
{
    let state = (Ahead { page, tokens: Tokens::of(what), asked: None }, Next::Unknown, true);
    stream::try_unfold(state, |(mut ahead, next, first)| async move {
        let token = match next {
            _ if first => None,
            next => match ahead.tokens.take(next)? {
                Some(token) => Some(token),
                None => return Ok(None),
            },
        };
        let Page { items, next } = ahead.read(token).await?;
        Ok::<_, Error>(Some((items, (ahead, next, false))))
    })
}

/// A page that was asked for. Nobody reads on when it is dropped.
struct Asked<T, K> {
    token: Option<K>,
    early: oneshot::Receiver<K>,
    task: JoinSet<Result<Page<T, K>>>,
}

/// A listing of which at most one page is asked for before it is wanted.
struct Ahead<P, T, K> {
    page: P,
    tokens: Tokens,
    asked: Option<Asked<T, K>>,
}

impl<P, T, K, F> Ahead<P, T, K>
where
    P: FnMut(Option<K>, Early<K>) -> F,
    T: Send + 'static,
    K: Hash + Eq + Clone + Send + 'static,
    F: Future<Output = Result<Page<T, K>>> + Send + 'static,
{
    fn ask(&mut self, token: Option<K>) -> Asked<T, K> {
        let (early, from) = Early::new();
        let mut task = JoinSet::new();
        task.spawn((self.page)(token.clone(), early));
        Asked { token, early: from, task }
    }

    /// The page at this token, and the next one asked for.
    async fn read(&mut self, token: Option<K>) -> Result<Page<T, K>> {
        let mut asked = match self.asked.take() {
            Some(asked) if asked.token == token => asked,
            _ => self.ask(token),
        };
        let mut said = false;
        let read = loop {
            tokio::select! {
                biased;
                Ok(next) = &mut asked.early, if !said => {
                    said = true;
                    self.ask_ahead(next);
                }
                read = asked.task.join_next() => break read,
            }
        };
        let broken = |e: &dyn std::fmt::Display| Error::Failed(format!("the listing of {} failed: {e}", self.tokens.what));
        let page = read.ok_or_else(|| broken(&"it was not begun"))?.map_err(|e| broken(&e))??;
        match &page.next {
            Next::At(next) if self.asked.as_ref().is_some_and(|asked| asked.token.as_ref() == Some(next)) => {}
            Next::At(next) => self.ask_ahead(next.clone()),
            Next::End | Next::Unknown => self.asked = None,
        }
        Ok(page)
    }

    /// Where a listing was before it ends, with an error, once it is read so far.
    fn ask_ahead(&mut self, next: K) {
        self.asked = None;
        if !self.tokens.has(&next) {
            self.asked = Some(self.ask(Some(next)));
        }
    }
}

/// The tokens of a listing that came.
struct Tokens {
    what: String,
    hasher: RandomState,
    /// Hashes of them, a few bytes for each page: all that grows with the listing.
    seen: HashSet<u64>,
}

impl Tokens {
    fn of(what: String) -> Self {
        Tokens { what, hasher: RandomState::new(), seen: HashSet::new() }
    }

    fn has(&self, token: &impl Hash) -> bool {
        self.seen.contains(&self.hasher.hash_one(token))
    }

    /// The token at which a listing goes on, for the first time; none at its end.
    fn take<K: Hash>(&mut self, next: Next<K>) -> Result<Option<K>> {
        match next {
            Next::End => Ok(None),
            Next::Unknown => Err(self.broken("without saying where")),
            Next::At(token) if self.seen.insert(self.hasher.hash_one(&token)) => Ok(Some(token)),
            Next::At(_) => Err(self.broken("where it was before")),
        }
    }

    fn broken(&self, how: &str) -> Error {
        Error::Failed(format!("the listing of {} goes on {how}: it cannot be read to its end", self.what))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::time::{sleep, timeout};

    use super::*;

    async fn read(tokens: Vec<Next<&'static str>>) -> Vec<Result<u32, String>> {
        let mut tokens = tokens.into_iter();
        let mut number = 0;
        let listing = paged("things", move |_: Option<&'static str>| {
            number += 1;
            let next = tokens.next().unwrap_or(Next::End);
            async move { Ok(Page { items: vec![number], next }) }
        });
        listing.map_err(|e| e.to_string()).collect().await
    }

    #[tokio::test]
    async fn a_listing_ends_or_is_an_error() {
        assert_eq!(read(vec![Next::At("a"), Next::At("b"), Next::End]).await, [Ok(1), Ok(2), Ok(3)]);
        let again = read(vec![Next::At("a"), Next::At("b"), Next::At("a")]).await;
        assert!(again.last().is_some_and(|e| e.as_ref().is_err_and(|e| e.contains("where it was before"))), "{again:?}");
        let lost = read(vec![Next::truncated(Some(true), None)]).await;
        assert!(lost.last().is_some_and(|e| e.as_ref().is_err_and(|e| e.contains("without saying where"))), "{lost:?}");
        assert_eq!(Next::nonempty(Some(String::new())), Next::End);
        assert_eq!((Next::truncated(None, Some(1)), Next::truncated(None, None::<u8>)), (Next::At(1), Next::End));
    }

    /// A listing read ahead, and what was asked for so far, 0 for the first page.
    struct Asking {
        asked: watch::Sender<Vec<u32>>,
    }

    impl Asking {
        fn new() -> Self {
            Asking { asked: watch::Sender::new(Vec::new()) }
        }

        /// Pages of two items, each with the token of the next; `page` says when each is read, and what it says early.
        fn listing<P, F>(&self, last: u32, page: P) -> impl Stream<Item = Result<u32>> + Send + use<P, F>
        where
            P: Fn(u32, Early<u32>) -> F + Send + 'static,
            F: Future<Output = Result<()>> + Send + 'static,
        {
            let asked = self.asked.clone();
            paged_ahead("things", move |token: Option<u32>, early| {
                let number = token.unwrap_or_default();
                asked.send_modify(|asked| asked.push(number));
                let read = page(number, early);
                async move {
                    read.await?;
                    let next = Next::token((number < last).then_some(number + 1));
                    Ok(Page { items: vec![10 * number, 10 * number + 1], next })
                }
            })
        }

        fn so_far(&self) -> Vec<u32> {
            self.asked.borrow().clone()
        }
    }

    #[tokio::test]
    async fn the_next_page_is_asked_for_while_this_one_is_read() {
        let asking = Asking::new();
        let asked = asking.asked.clone();
        // None but the last is read before the next one was asked for.
        let listing = asking.listing(3, move |number, early| {
            let mut seen = asked.subscribe();
            async move {
                if number < 3 {
                    early.say(number + 1);
                    let waited = seen.wait_for(|asked| asked.contains(&(number + 1))).await;
                    waited.expect("there is a listing");
                }
                Ok(())
            }
        });
        let read: Vec<u32> = timeout(Duration::from_secs(10), listing.try_collect()).await.expect("it does not wait").expect("it is read");
        assert_eq!((read, asking.so_far()), (vec![0, 1, 10, 11, 20, 21, 30, 31], vec![0, 1, 2, 3]));
    }

    #[tokio::test]
    async fn no_more_than_one_page_is_asked_for_before_it_is_wanted() {
        let asking = Asking::new();
        let mut listing = Box::pin(asking.listing(9, |number, early| async move {
            early.say(number + 1);
            Ok(())
        }));
        for (read, asked) in [(0, 1), (1, 1), (10, 2), (11, 2)] {
            assert_eq!(listing.next().await.map(Result::ok), Some(Some(read)));
            // Whatever would be asked for by others is asked for by then.
            sleep(Duration::from_millis(20)).await;
            assert_eq!(asking.so_far(), (0..=asked).collect::<Vec<u32>>(), "behind {read}");
        }
    }

    #[tokio::test]
    async fn what_is_said_early_is_a_guess() {
        // A page that does not follow, one that was there before, and one behind the end.
        for wrong in [7, 0, 1] {
            let asking = Asking::new();
            let listing = asking.listing(2, move |number, early| async move {
                early.say(if number == 2 { 9 } else { wrong });
                sleep(Duration::from_millis(5)).await;
                Ok(())
            });
            let read: Vec<u32> = listing.try_collect().await.expect("it is read");
            assert_eq!(read, [0, 1, 10, 11, 20, 21], "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_error_ahead_comes_behind_what_is_before_it() {
        let listing = Asking::new().listing(9, |number, early| async move {
            early.say(number + 1);
            if number == 1 { Err(Error::Failed("no more".to_owned())) } else { Ok(()) }
        });
        let read: Vec<_> = listing.map_err(|e| e.to_string()).collect().await;
        assert_eq!(read, [Ok(0), Ok(1), Err("no more".to_owned())]);
    }

    #[tokio::test]
    async fn a_token_that_comes_again_is_an_error_ahead_too() {
        let mut asked = 0;
        let listing = paged_ahead("things", move |_: Option<u8>, early: Early<u8>| {
            asked += 1;
            let number = asked;
            async move {
                early.say(1);
                Ok(Page { items: vec![number], next: Next::At(1) })
            }
        });
        let read: Vec<_> = listing.map_err(|e| e.to_string()).collect().await;
        assert_eq!(read[..2], [Ok(1), Ok(2)]);
        assert!(matches!(&read[2..], [Err(e)] if e.contains("where it was before")), "{read:?}");
    }

    #[tokio::test]
    async fn nothing_is_read_on_when_nobody_reads() {
        let asking = Asking::new();
        let (guard, ended) = oneshot::channel::<()>();
        let guard = Mutex::new(Some(guard));
        let mut listing = Box::pin(asking.listing(9, move |number, early| {
            let guard = guard.lock().unwrap_or_else(PoisonError::into_inner).take_if(|_| number == 1);
            async move {
                early.say(number + 1);
                if number == 1 {
                    std::future::pending::<()>().await;
                }
                drop(guard);
                Ok(())
            }
        }));
        assert!(listing.next().await.is_some());
        drop(listing);
        let ended = timeout(Duration::from_secs(10), ended).await.expect("it ends");
        assert!(ended.is_err(), "its guard was dropped");
    }
}
