//! What there is to know of an action that changes something, to try it in a world: how to make what it changes, how to see that it was changed, and what
//! others can do to it meanwhile. `cases/` has one for each action, and tries them all in the same ways.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::aaws::Aaws;
use super::http::{Request, Server};
use super::xml;

/// How many cases are tried at a time.
const AT_A_TIME: usize = 8;

/// A world that actions change: an account, a bucket, a vault.
pub trait Place: Sized + Sync + 'static {
    /// The service's error code for somebody who may not.
    const DENIED: &'static str;
    /// The same for somebody who asks too often.
    const THROTTLED: &'static str;

    /// One that nobody else knows.
    fn fresh() -> Self;

    /// Where it is reached.
    fn url(&self) -> String;

    /// `aaws` with the arguments of a line, which asks this server in front of the place.
    fn aaws(&self, server: &Server, line: &str) -> Aaws;
}

/// An action, and what it changes.
pub struct Case<P> {
    /// `ec2/delete_volumes`
    pub action: &'static str,
    /// Makes things for it to change, each by a number of its own in the place, and gives their ids: as they are in the report.
    pub make: fn(&P, Range<usize>) -> Vec<String>,
    /// The line that changes these.
    pub line: fn(&P, &[String]) -> String,
    /// Whether one is as it is to become.
    pub is_done: fn(&P, &str) -> bool,
    /// What a line takes of them.
    pub takes: Takes,
    /// What makes one another one than was planned.
    pub change: Then<P>,
    /// What takes one away.
    pub remove: Then<P>,
}

/// What a line takes of what was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// One.
    One,
    /// As many as there are.
    Many,
    /// All that was made: the parts of one thing, which the action lists. Of a part that it could not list it says nothing.
    Parts,
}

/// What happens to a thing between a plan and its application.
pub enum Then<P> {
    /// Somebody does this, and so this becomes of it: status and code.
    Done(fn(&P, &str), Ended),
    /// AWS answers otherwise from then on. No stand-in for AWS does it, so its answers are changed.
    Shown(fn(&str, &str) -> String, Ended),
    /// Nothing, for this reason.
    Never(&'static str),
}

/// Status and code of an outcome.
pub type Ended = (&'static str, &'static str);

/// It is another one than was planned, and is left alone.
pub const CHANGED: Ended = ("skipped", "Changed");
/// It is as it was to become.
pub const SO_ALREADY: Ended = ("unchanged", "");
/// It is not there any more, and that is not what was asked for.
pub const MISSING: Ended = ("failed", "NotFound");

impl<P> Then<P> {
    pub fn ended(&self) -> Option<Ended> {
        match self {
            Then::Done(_, ended) | Then::Shown(_, ended) => Some(*ended),
            Then::Never(_) => None,
        }
    }
}

impl<P> Case<P> {
    /// The ids by the lines that they go into.
    pub fn lines(&self, ids: &[String]) -> Vec<Vec<String>> {
        match self.takes {
            Takes::One => ids.iter().map(|id| vec![id.clone()]).collect(),
            Takes::Many | Takes::Parts => vec![ids.to_vec()],
        }
    }
}

/// Whether an operation changes something. What is not known for a look is taken for a change.
pub fn changes(operation: &str) -> bool {
    !["Describe", "Get", "Head", "List"].iter().any(|look| operation.starts_with(look))
}

/// Whether a request names a thing: in its address, its body, or the region that it is for.
pub fn names(request: &Request, id: &str) -> bool {
    // Of an upload the key is in the path, and the id somewhere behind it.
    let id = id.rsplit("?uploadId=").next().unwrap_or(id);
    let body = request.text();
    request.signed_region() == Some(id)
        || xml::percent_decode(&request.target).contains(id)
        || body.contains(id)
        || xml::percent_decode(&body.replace('+', " ")).contains(id)
}

/// Does the same with each of these, several at a time, and gives what came of it. All that go wrong are told together.
#[track_caller]
pub fn each<T: Sync, R: Send>(all: &[T], name: fn(&T) -> String, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let (done, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = all.get(at) else { break };
                    match catch_unwind(AssertUnwindSafe(|| work(one))) {
                        Ok(came) => done.lock().unwrap().push((at, came)),
                        Err(why) => {
                            let why = why.downcast_ref::<String>().cloned().or_else(|| why.downcast_ref::<&str>().map(|w| (*w).to_owned()));
                            failed.lock().unwrap().push(format!("{}: {}", name(one), why.unwrap_or_default()));
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} went wrong:\n{}", failed.len(), all.len(), failed.join("\n\n"));
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, came)| came).collect()
}
