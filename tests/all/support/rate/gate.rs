//! Which requests a service takes, and which it turns away.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A limit as a token bucket: how many tokens it holds, and how many come back a second.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub burst: f64,
    pub rate: f64,
}

impl Limit {
    pub const fn new(burst: f64, rate: f64) -> Self {
        Self { burst, rate }
    }

    /// The seconds that so many tokens take at least, from a full bucket on.
    pub fn optimum(self, tokens: usize) -> f64 {
        ((tokens as f64 - self.burst) / self.rate).max(0.0)
    }
}

/// A limit, and how much of it is left. It begins full.
pub struct Bucket {
    limit: Limit,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub fn full(limit: Limit) -> Self {
        Self { limit, tokens: limit.burst, filled: Instant::now() }
    }

    /// Takes up to so many whole tokens, and says how many there were. Who gets none has not made the wait for the next one longer.
    pub fn take(&mut self, wanted: usize) -> usize {
        let now = Instant::now();
        let new = now.duration_since(self.filled).as_secs_f64() * self.limit.rate;
        self.filled = now;
        self.tokens = (self.tokens + new).min(self.limit.burst);
        let taken = wanted.min(self.tokens as usize);
        self.tokens -= taken as f64;
        taken
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Admitted,
    /// It came too soon.
    Throttled,
    /// It is turned away as if it had come too soon, whenever it came: no client can do better.
    Imposed,
}

/// Decides about requests by the names of their operations, in the order they come.
pub struct Gate(Box<dyn Fn(&str) -> Admission + Send + Sync>);

impl Gate {
    /// Takes everything.
    pub fn open() -> Self {
        Self(Box::new(|_| Admission::Admitted))
    }

    /// One bucket for all operations.
    pub fn one(limit: Limit) -> Self {
        let bucket = Mutex::new(Bucket::full(limit));
        Self(Box::new(move |_| if bucket.lock().unwrap().take(1) == 1 { Admission::Admitted } else { Admission::Throttled }))
    }

    /// A bucket for each operation.
    pub fn each(limit_of: fn(&str) -> Limit) -> Self {
        let buckets: Mutex<HashMap<String, Bucket>> = Mutex::default();
        Self(Box::new(move |operation| {
            let mut buckets = buckets.lock().unwrap();
            let bucket = buckets.entry(operation.to_owned()).or_insert_with(|| Bucket::full(limit_of(operation)));
            if bucket.take(1) == 1 { Admission::Admitted } else { Admission::Throttled }
        }))
    }

    /// Turns these requests of one operation away, counted from 1, and takes everything else.
    pub fn span(operation: &'static str, span: RangeInclusive<usize>) -> Self {
        let count = AtomicUsize::new(0);
        Self(Box::new(move |name| {
            let nth = if name == operation { count.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
            if span.contains(&nth) { Admission::Imposed } else { Admission::Admitted }
        }))
    }

    /// Never takes what `turned_away` names.
    pub fn shut(turned_away: fn(&str) -> bool) -> Self {
        Self(Box::new(move |operation| if turned_away(operation) { Admission::Imposed } else { Admission::Admitted }))
    }

    /// Turns every `nth` request away beside.
    pub fn and_every(self, nth: usize) -> Self {
        self.and_those(move |number| number.is_multiple_of(nth))
    }

    /// Turns these requests away beside, counted from 1.
    pub fn and_span(self, span: RangeInclusive<usize>) -> Self {
        self.and_those(move |number| span.contains(&number))
    }

    fn and_those(self, turned_away: impl Fn(usize) -> bool + Send + Sync + 'static) -> Self {
        let count = AtomicUsize::new(0);
        Self(Box::new(move |operation| {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            if turned_away(number) { Admission::Imposed } else { self.admit(operation) }
        }))
    }

    pub fn admit(&self, operation: &str) -> Admission {
        (self.0)(operation)
    }
}
