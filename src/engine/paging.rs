//! Listings that come in pages: one guard against those that never end, or end too soon.

use std::collections::HashSet;
use std::future::Future;
use std::hash::{BuildHasher, Hash, RandomState};

use futures::stream::{self, Stream, StreamExt, TryStreamExt};

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
    let state = Pages { what: what.into(), page, hasher: RandomState::new(), seen: HashSet::new() };
    stream::try_unfold((state, Next::Unknown, true), |(mut state, next, first)| async move {
        let token = match next {
            Next::At(token) => Some(token),
            _ if first => None,
            Next::End => return Ok(None),
            Next::Unknown => return Err(state.broken("without saying where")),
        };
        // A few bytes for each page: all that grows with the listing.
        if token.as_ref().is_some_and(|token| !state.seen.insert(state.hasher.hash_one(token))) {
            return Err(state.broken("where it was before"));
        }
        let Page { items, next } = (state.page)(token).await?;
        Ok(Some((items, (state, next, false))))
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

struct Pages<P> {
    what: String,
    page: P,
    hasher: RandomState,
    /// Hashes of the tokens that came.
    seen: HashSet<u64>,
}

impl<P> Pages<P> {
    fn broken(&self, how: &str) -> Error {
        Error::Failed(format!("the listing of {} goes on {how}: it cannot be read to its end", self.what))
    }
}

#[cfg(test)]
mod tests {
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
}
