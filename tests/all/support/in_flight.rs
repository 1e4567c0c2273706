//! How many requests a server has in flight at once: each from when all of it has come until its answer begins to be written. The client cannot know
//! before that it is over.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// The requests of one server, or of several that are counted together.
#[derive(Default)]
pub struct InFlight {
    counts: Mutex<Counts>,
    another: Condvar,
}

#[derive(Default)]
struct Counts {
    now: usize,
    most: usize,
}

/// A request that is in flight as long as this is there.
pub struct Entered<'a>(&'a InFlight);

impl InFlight {
    /// A request has come.
    pub fn enter(&self) -> Entered<'_> {
        let mut counts = self.counts.lock().unwrap();
        counts.now += 1;
        counts.most = counts.most.max(counts.now);
        self.another.notify_all();
        Entered(self)
    }

    /// The most that were in flight at one moment.
    pub fn most(&self) -> usize {
        self.counts.lock().unwrap().most
    }
}

impl Entered<'_> {
    /// Holds the request until so many have been in flight at once, or for so long at the most: those that would come beside it have time to come.
    pub fn hold(&self, wanted: usize, bound: Duration) {
        let counts = self.0.counts.lock().unwrap();
        drop(self.0.another.wait_timeout_while(counts, bound, |counts| counts.most < wanted).unwrap());
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.counts.lock().unwrap().now -= 1;
    }
}
