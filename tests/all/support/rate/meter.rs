//! What a server has seen: how many requests at once, what became of them, and when.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::super::http::Response;
use super::super::in_flight::InFlight;
use super::gate::Admission;

/// The share of throttled answers is that of a client that knows the limit by now. It gets a tenth of the time from the first throttled answer on to
/// learn it, within these bounds.
const LEARNING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Of fewer answers than this a share says nothing.
const ENOUGH: usize = 10;

/// Counts the requests of a server. Cheap to clone.
#[derive(Clone, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    in_flight: InFlight,
    answers: Mutex<Vec<Answer>>,
}

struct Answer {
    at: Instant,
    operation: String,
    load: Load,
}

/// How much of what a request asked for was done. A request counts once, but one that is answered key by key counts its keys.
#[derive(Clone, Copy, Default)]
pub struct Load {
    pub admitted: usize,
    pub throttled: usize,
    /// Turned away whatever the client did.
    pub imposed: usize,
}

impl From<Admission> for Load {
    fn from(admission: Admission) -> Self {
        match admission {
            Admission::Admitted => Load { admitted: 1, ..Load::default() },
            Admission::Throttled => Load { throttled: 1, ..Load::default() },
            Admission::Imposed => Load { imposed: 1, ..Load::default() },
        }
    }
}

impl Meter {
    /// Answers a request, which takes `latency` at least. It is in flight until then; the client cannot know before that it is over.
    pub fn serve<L: Into<Load>>(&self, operation: &str, latency: Duration, answer: impl FnOnce() -> (L, Response)) -> Response {
        let _in_flight = self.0.in_flight.enter();
        let (load, response) = answer();
        let answer = Answer { at: Instant::now(), operation: operation.to_owned(), load: load.into() };
        self.0.answers.lock().unwrap().push(answer);
        thread::sleep(latency);
        response
    }

    /// The most requests that were in flight at one moment.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.most()
    }

    /// How many requests came.
    pub fn calls(&self) -> usize {
        self.0.answers.lock().unwrap().len()
    }

    /// How many requests came of each operation.
    pub fn operations(&self) -> BTreeMap<String, usize> {
        let mut operations = BTreeMap::new();
        self.0.answers.lock().unwrap().iter().for_each(|answer| *operations.entry(answer.operation.clone()).or_default() += 1);
        operations
    }

    /// How much was taken from the buckets, and how much was turned away whatever the client did.
    pub fn admitted_and_imposed(&self) -> (usize, usize) {
        let answers = self.0.answers.lock().unwrap();
        (answers.iter().map(|a| a.load.admitted).sum(), answers.iter().map(|a| a.load.imposed).sum())
    }

    /// The share of what was throttled in steady state, of the operations that were throttled at all; none when there was too little of it.
    pub fn throttled_share(&self) -> Option<f64> {
        let answers = self.0.answers.lock().unwrap();
        let Some(first) = answers.iter().filter(|a| a.load.throttled > 0).map(|a| a.at).min() else { return Some(0.0) };
        let limited: HashSet<&str> = answers.iter().filter(|a| a.load.throttled > 0).map(|a| a.operation.as_str()).collect();
        let of_limited = || answers.iter().filter(|a| limited.contains(a.operation.as_str()));
        let last = of_limited().map(|a| a.at).max()?;
        let steady = first + ((last - first) / 10).clamp(LEARNING.0, LEARNING.1);
        let steady: Vec<Load> = of_limited().filter(|a| a.at >= steady).map(|a| a.load).collect();
        let throttled: usize = steady.iter().map(|l| l.throttled).sum();
        let all: usize = steady.iter().map(|l| l.throttled + l.admitted).sum();
        (steady.len() >= ENOUGH && all > 0).then(|| throttled as f64 / all as f64)
    }
}
