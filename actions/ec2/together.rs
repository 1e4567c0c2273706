//! Waiting for many things that are worked on one by one: one of those who wait looks for all of them, with one request for up to 200.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aaws::{Backoff, Code, Context, Error, Failure, Result};
use tokio::sync::{Notify, watch};

use super::wait::{Misses, PollState};

/// What a look brought.
enum Look<T> {
    /// Nobody has looked yet.
    Not,
    /// The things of these ids that there are.
    Taken { asked: HashSet<String>, things: HashMap<String, T> },
    /// They cannot be looked at.
    Failed { why: String, fatal: Option<Arc<Error>> },
}

/// The looks at all things of one kind that a run waits for.
pub struct Together<T> {
    waiting: Mutex<HashSet<String>>,
    looks: watch::Sender<Arc<Look<T>>>,
    /// Held by the one that looks, on behalf of all.
    rhythm: tokio::sync::Mutex<Rhythm>,
    joined: Notify,
}

struct Rhythm {
    backoff: Backoff,
    /// Whether there was a look, so that the next has to wait.
    is_begun: bool,
}

impl<T> Default for Together<T> {
    fn default() -> Self {
        Together {
            waiting: Mutex::default(),
            looks: watch::Sender::new(Arc::new(Look::Not)),
            rhythm: tokio::sync::Mutex::new(Rhythm { backoff: Backoff::poll(), is_begun: false }),
            joined: Notify::new(),
        }
    }
}

impl<T: Send + Sync> Together<T> {
    /// Waits for one thing; no other may wait for the same. `look` looks for the things of some ids, the same for all who wait; `judge` says of this one how
    /// far it is, and of one that is not shown why it will never be. Why it is not as it should be is also that the run was cancelled, or that it cannot
    /// be looked at. It holds no slot meanwhile.
    pub async fn wait<P>(
        &self,
        cx: &Context,
        id: &str,
        look: impl Fn(Vec<String>) -> P + Send + Sync,
        judge: impl Fn(Option<&T>) -> PollState + Send + Sync,
    ) -> Result<(), Failure>
    where
        P: Future<Output = Result<HashMap<String, T>>> + Send,
    {
        let mut looks = self.looks.subscribe();
        let _place = self.join(id);
        cx.release_slot();
        let mut one = One { id, judge, misses: Misses::default(), state: "not ready".to_owned() };
        loop {
            let mut rhythm = tokio::select! {
                biased;
                // What another saw comes first: it may have been all that this one waits for.
                _ = looks.changed() => {
                    let look = Arc::clone(&looks.borrow_and_update());
                    match one.judge(&look) {
                        Some(end) => return end,
                        None => continue,
                    }
                }
                rhythm = self.rhythm.lock() => rhythm,
            };
            loop {
                if !self.pause(cx, &mut rhythm).await {
                    return Err(one.cancelled());
                }
                let ids: Vec<String> = self.waiting().iter().cloned().collect();
                rhythm.is_begun = true;
                let seen = match rhythm.backoff.attempt(look(ids.clone())).await {
                    Ok(Some(things)) => Look::Taken { asked: ids.into_iter().collect(), things },
                    Ok(None) => continue,
                    Err(e) => Look::Failed { why: format!("cannot be looked at, and goes on: {e}"), fatal: Failure::from(&e).fatal },
                };
                let seen = Arc::new(seen);
                self.looks.send_replace(Arc::clone(&seen));
                if let Some(end) = one.judge(&seen) {
                    return end;
                }
            }
        }
    }

    /// Waits for the next look; `false` when the run is cancelled.
    async fn pause(&self, cx: &Context, rhythm: &mut Rhythm) -> bool {
        if !rhythm.is_begun {
            return true;
        }
        tokio::select! {
            going_on = rhythm.backoff.wait(cx) => return going_on,
            () = self.joined.notified() => {}
        }
        // What was begun a moment ago may be ready soon.
        rhythm.backoff = Backoff::poll();
        rhythm.backoff.wait(cx).await
    }

    fn join<'a>(&'a self, id: &'a str) -> Place<'a, T> {
        self.waiting().insert(id.to_owned());
        self.joined.notify_one();
        Place { of: self, id }
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of one who waits, among those that are looked for, until it is dropped.
struct Place<'a, T> {
    of: &'a Together<T>,
    id: &'a str,
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.of.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(self.id);
    }
}

/// One who waits.
struct One<'a, J> {
    id: &'a str,
    judge: J,
    misses: Misses,
    /// How it was seen the last time.
    state: String,
}

impl<J> One<'_, J> {
    /// What a look says of it; nothing when it is not settled yet, or was not looked for.
    fn judge<T>(&mut self, look: &Look<T>) -> Option<Result<(), Failure>>
    where
        J: Fn(Option<&T>) -> PollState,
    {
        let things = match look {
            Look::Taken { asked, things } if asked.contains(self.id) => things,
            Look::Taken { .. } | Look::Not => return None,
            Look::Failed { why, fatal } => {
                return Some(Err(Failure { fatal: fatal.clone(), ..Failure::permanent(Code::NotComplete, why.clone()) }));
            }
        };
        let thing = things.get(self.id);
        match self.misses.judged(thing, (self.judge)(thing)) {
            PollState::Ready => Some(Ok(())),
            PollState::Failed(why) => Some(Err(Failure::permanent(Code::NotComplete, why))),
            PollState::Pending(state) => {
                self.state = state;
                None
            }
        }
    }

    fn cancelled(&self) -> Failure {
        Failure::permanent(Code::NotComplete, format!("the run was stopped while it was {}; it goes on", self.state))
    }
}

#[cfg(test)]
mod tests {
    use super::super::wait::UNSEEN;
    use super::*;

    #[test]
    fn a_thing_is_given_up_when_it_is_missed_many_times_in_a_row_and_not_in_all() {
        let judge = |thing: Option<&bool>| match thing {
            Some(_) => PollState::Pending("pending".into()),
            None => PollState::Failed("gone".into()),
        };
        let mut one = One { id: "a", judge, misses: Misses::default(), state: String::new() };
        let look = |there: bool| Look::Taken {
            asked: HashSet::from(["a".to_owned()]),
            things: there.then(|| ("a".to_owned(), true)).into_iter().collect(),
        };
        for _ in 0..3 {
            (0..UNSEEN).for_each(|_| assert!(one.judge(&look(false)).is_none()));
            assert!(one.judge(&look(true)).is_none());
        }
        (0..UNSEEN).for_each(|_| assert!(one.judge(&look(false)).is_none()));
        assert!(one.judge(&look(false)).is_some_and(|end| end.is_err()));
    }
}
