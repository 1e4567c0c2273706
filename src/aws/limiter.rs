//! Learns the rate that each service allows, and holds requests back to it.
//!
//! AWS limits requests with token buckets, mostly one for each account, region and operation. A [`Limiter`] keeps its own bucket for each
//! [`Key`], from the documented figures ([`KNOWN`]) where there are any, and otherwise without a limit until the first request is throttled.
//! From there the rate follows the answers: down together when one is throttled, and up again when none is. All requests of a run ask the
//! same limiter, each attempt for itself, where it is sent.

mod known;
mod rate;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub use known::{KNOWN, Known};
use rate::Rate;

/// For how long a key counts as throttled after the last throttle.
const THROTTLED_LATELY: Duration = Duration::from_secs(10);

/// What shares one limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The account's id.
    pub account: String,
    /// `eu-west-1`
    pub region: String,
    /// As the SDK's metadata names it, lowercase and alphanumeric: `ec2`.
    pub service: String,
    /// The operation: `DeleteSnapshot`.
    pub kind: String,
    /// What the service limits apart within the account, such as an S3 bucket; otherwise empty.
    pub scope: String,
    /// Whether AWS itself answers: what is documented of its limits says nothing of a store or a server that answers in its place.
    pub documented: bool,
}

/// What the service made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was counted and dealt with, an error such as `NotFound` included.
    Accepted,
    /// It was turned away for its rate.
    Throttled,
    /// Neither is known: no answer came, or a server error.
    Other,
}

/// Leave to send one request now. Goes back to [`Limiter::answered`]; dropping it is fine when no answer came.
#[derive(Debug)]
#[must_use = "a permit is leave to send one request now"]
pub struct Permit {
    sent: Instant,
    epoch: u64,
    weight: u32,
}

/// What happened under a limiter so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests accepted.
    pub accepted: u64,
    /// Requests throttled.
    pub throttled: u64,
    /// Requests neither accepted nor throttled.
    pub other: u64,
    /// Items throttled in requests that were accepted.
    pub throttled_items: u64,
    /// How long requests were held back, added up.
    pub waited: Duration,
}

/// Holds requests back to the rate that each service allows. Clones share what they learn.
#[derive(Debug, Clone)]
pub struct Limiter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    known: &'static [Known],
    entries: Mutex<HashMap<Key, Arc<Entry>>>,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Entry {
    rate: Mutex<Rate>,
    /// Held by the request that is next; tokio's mutex is first come, first served, and a waiter that is dropped leaves the queue.
    next: tokio::sync::Mutex<()>,
    /// Wakes the request that is next when there is no limit any more.
    lifted: Notify,
}

impl Limiter {
    /// A limiter that starts from these documented buckets; the first that matches a key is used.
    pub fn new(known: &'static [Known]) -> Self {
        Limiter { inner: Arc::new(Inner { known, entries: Mutex::default(), counts: Mutex::default() }) }
    }

    /// Waits until `weight` tokens may be spent on this key: 1 for most requests, the number of keys for S3's DeleteObjects. First come, first
    /// served. Nothing is spent when the future is dropped.
    pub async fn acquire(&self, key: &Key, weight: u32) -> Permit {
        let entry = self.entry(key);
        let asked = Instant::now();
        let _next = entry.next.lock().await;
        let mut waited = Instant::now() > asked;
        loop {
            let now = Instant::now();
            let wait = {
                let mut rate = lock(&entry.rate);
                match rate.take(now, weight, waited) {
                    Ok(()) => {
                        lock(&self.inner.counts).waited += now - asked;
                        return Permit { sent: now, epoch: rate.epoch(), weight };
                    }
                    Err(wait) => wait,
                }
            };
            waited = true;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = entry.lifted.notified() => {}
            }
        }
    }

    /// Learns from the answer to one request.
    pub fn answered(&self, key: &Key, permit: Permit, answer: Answer) {
        let entry = self.entry(key);
        let now = Instant::now();
        let mut rate = lock(&entry.rate);
        let mut counts = lock(&self.inner.counts);
        rate.round_trip(now - permit.sent);
        match answer {
            Answer::Accepted => {
                counts.accepted += 1;
                if rate.accepted(now, permit.weight) {
                    entry.lifted.notify_one();
                }
            }
            Answer::Throttled => {
                counts.throttled += 1;
                rate.throttled(now, permit.epoch);
            }
            Answer::Other => counts.other += 1,
        }
    }

    /// Learns that `weight` items were throttled in a request that was otherwise accepted, and that [`Limiter::answered`] was told so: `SlowDown`
    /// for single keys of S3's DeleteObjects.
    pub fn throttled_items(&self, key: &Key, weight: u32) {
        let entry = self.entry(key);
        let mut rate = lock(&entry.rate);
        lock(&self.inner.counts).throttled_items += u64::from(weight);
        rate.throttled_items(Instant::now(), weight);
    }

    /// The keys that were throttled in the last ten seconds, the latest first, with the tokens per second that they now go at.
    pub fn throttled(&self) -> Vec<(Key, f64)> {
        let now = Instant::now();
        let mut lately: Vec<_> = lock(&self.inner.entries)
            .iter()
            .filter_map(|(key, entry)| {
                let rate = lock(&entry.rate);
                let at = rate.throttled_at().filter(|at| now - *at <= THROTTLED_LATELY)?;
                Some((at, key.clone(), rate.per_second(now)))
            })
            .collect();
        lately.sort_by(|(a, ..), (b, ..)| b.cmp(a));
        lately.into_iter().map(|(_, key, rate)| (key, rate)).collect()
    }

    /// What happened so far, all keys together.
    pub fn counts(&self) -> Counts {
        *lock(&self.inner.counts)
    }

    fn entry(&self, key: &Key) -> Arc<Entry> {
        let mut entries = lock(&self.inner.entries);
        if let Some(entry) = entries.get(key) {
            return Arc::clone(entry);
        }
        let known = if key.documented { known::find(self.inner.known, &key.service, &key.kind) } else { None };
        let entry = Arc::new(Entry {
            rate: Mutex::new(Rate::new(known, Instant::now())),
            next: tokio::sync::Mutex::default(),
            lifted: Notify::new(),
        });
        entries.insert(key.clone(), Arc::clone(&entry));
        entry
    }
}

/// What is behind these locks is whole between any two statements, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
