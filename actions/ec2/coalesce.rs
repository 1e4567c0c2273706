//! Single ids that go to EC2 together: whoever has one awaits its answer, and those that come within a moment share a request.
//!
//! So items stay items, each with its own steps and its own outcome, and yet 64 instances that are waited for cost one DescribeInstances a look.
//! A coalescer is made once a run, of the client of the run's context: what settles a run that was cancelled needs one of its own.

use std::collections::HashMap;
use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aaws::{Code, Error, ErrorContext, Result};
use aws_sdk_ec2::Client;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;

use super::lookup::{self, Resource};

/// How long a request that changes something waits for others to join it: what it begins takes seconds at least.
const ACTING: Duration = Duration::from_millis(100);

/// The same for a look. What is looked at changes in seconds: N things that began at N moments cost at most five looks a second.
const LOOKING: Duration = Duration::from_millis(200);

/// The most instances that are told something in one request (EC2 API reference, TerminateInstances: "we recommend that you do not specify more than
/// 1000 instances"; the same page for StopInstances and StartInstances names no other limit).
const MOST_INSTANCES: usize = 1000;

/// What became of each id of a request. An id that is not among them was not answered.
pub type Answers<T> = HashMap<String, Result<T>>;

/// Makes one request.
type Request<T> = Box<dyn Fn(Vec<String>) -> BoxFuture<'static, Answers<T>> + Send + Sync>;

/// Gathers ids that come within a moment, and sends them in as few requests as their number allows. Clones share the requests.
#[derive(Clone)]
pub struct Coalescer<T>(Arc<Inner<T>>);

struct Inner<T> {
    most: usize,
    window: Duration,
    send: Request<T>,
    waiting: Mutex<Vec<Waiter<T>>>,
}

struct Waiter<T> {
    id: String,
    answer: oneshot::Sender<Result<T>>,
}

impl<T: Clone + Send + 'static> Coalescer<T> {
    /// `send` makes one request, for `most` ids at the most.
    pub fn new<F>(most: usize, window: Duration, send: impl Fn(Vec<String>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answers<T>> + Send + 'static,
    {
        let send: Request<T> = Box::new(move |ids| send(ids).boxed());
        Coalescer(Arc::new(Inner { most, window, send, waiting: Mutex::new(Vec::new()) }))
    }

    /// The answer for one id. An error of a request that was for many is everybody's.
    pub async fn get(&self, id: &str) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut waiting = self.0.waiting();
            waiting.push(Waiter { id: id.to_owned(), answer });
            waiting.len() == 1
        };
        if is_first {
            // A task of its own: whoever came first may stop waiting, and the others go on.
            tokio::spawn(Arc::clone(&self.0).flush());
        }
        answered.await.unwrap_or_else(|_| Err(Error::Failed(format!("the answer does not mention `{id}`"))))
    }
}

impl<T> Inner<T> {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiter<T>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Send + 'static> Inner<T> {
    async fn flush(self: Arc<Self>) {
        aaws::clock::sleep(self.window).await;
        let taken = mem::take(&mut *self.waiting());
        let mut ids: Vec<String> = Vec::new();
        let mut waiting: HashMap<String, Vec<oneshot::Sender<Result<T>>>> = HashMap::new();
        for Waiter { id, answer } in taken {
            let answers = waiting.entry(id.clone()).or_default();
            if answers.is_empty() {
                ids.push(id);
            }
            answers.push(answer);
        }
        let mut requests: FuturesUnordered<_> = ids.chunks(self.most).map(|some| (self.send)(some.to_vec())).collect();
        while let Some(answers) = requests.next().await {
            for (id, answer) in answers {
                for waiter in waiting.remove(&id).unwrap_or_default() {
                    // Who stopped waiting needs no answer.
                    let _ = waiter.send(copy(&answer));
                }
            }
        }
    }
}

fn copy<T: Clone>(answer: &Result<T>) -> Result<T> {
    match answer {
        Ok(value) => Ok(value.clone()),
        Err(e) => Err(again(e)),
    }
}

/// The same error once more: of one request it is said of many items.
fn again(error: &Error) -> Error {
    match error {
        Error::Aws(e) => Error::Aws(e.clone()),
        other => other.to_fatal().unwrap_or_else(|| Error::Failed(other.to_string())),
    }
}

/// Looks at single things, many in one request; `None` is a thing that EC2 does not show.
pub type Describer<T> = Coalescer<Option<T>>;

/// For the polls of one run.
pub fn describer<T: Resource + Clone>(ec2: &Client) -> Describer<T> {
    let ec2 = ec2.clone();
    Coalescer::new(lookup::MOST_VALUES, LOOKING, move |ids: Vec<String>| {
        let ec2 = ec2.clone();
        async move {
            let seen = lookup::by_id::<T>(&ec2, &ids, &[]).await;
            let answers: Answers<Option<T>> = match seen {
                Ok(mut seen) => ids.into_iter().map(|id| (id.clone(), Ok(seen.remove(&id)))).collect(),
                Err(e) => ids.into_iter().map(|id| (id, Err(again(&e)))).collect(),
            };
            answers
        }
    })
}

/// What is told to instances, each by itself, many in one request.
pub type Orders = Coalescer<()>;

/// Terminates instances.
pub fn terminations(ec2: &Client) -> Orders {
    orders(ec2, |ec2, ids| async move {
        let request = ec2.terminate_instances().set_instance_ids(Some(ids.clone())).send();
        request.await.context(|| format!("terminate {}", instances(&ids))).map(drop)
    })
}

/// How instances are stopped, beside the usual way.
#[derive(Debug, Clone, Copy, Default)]
pub struct StopOptions {
    /// Their memory is kept on their root volumes.
    pub hibernate: bool,
    /// They are switched off when they do not shut down by themselves.
    pub force: bool,
}

/// Stops instances.
pub fn stops(ec2: &Client) -> Orders {
    stops_with(ec2, StopOptions::default())
}

/// Stops instances in a way of their own.
pub fn stops_with(ec2: &Client, options: StopOptions) -> Orders {
    let StopOptions { hibernate, force } = options;
    orders(ec2, move |ec2, ids| async move {
        let request = ec2.stop_instances().set_instance_ids(Some(ids.clone()));
        let request = request.set_hibernate(hibernate.then_some(true)).set_force(force.then_some(true)).send();
        request.await.context(|| format!("stop {}", instances(&ids))).map(drop)
    })
}

/// Starts instances.
pub fn starts(ec2: &Client) -> Orders {
    orders(ec2, |ec2, ids| async move {
        let request = ec2.start_instances().set_instance_ids(Some(ids.clone())).send();
        request.await.context(|| format!("start {}", instances(&ids))).map(drop)
    })
}

fn orders<F>(ec2: &Client, send: impl Fn(Client, Vec<String>) -> F + Copy + Send + Sync + 'static) -> Orders
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let ec2 = ec2.clone();
    Coalescer::new(MOST_INSTANCES, ACTING, move |ids: Vec<String>| {
        let ec2 = ec2.clone();
        async move { split(ids, move |some| send(ec2.clone(), some)).await }
    })
}

fn instances(ids: &[String]) -> String {
    match ids {
        [id] => format!("the instance `{id}`"),
        ids => format!("{} instances", ids.len()),
    }
}

/// Sends ids together, and again without those that EC2 has something against: it refuses a whole request for one that does not exist, or is protected.
/// Which they are its message tells, or else the halves do. What was done of a request that was refused (TerminateInstances ends the instances of the
/// other Availability Zones) bears to be asked for again.
pub async fn split<F>(ids: Vec<String>, send: impl Fn(Vec<String>) -> F) -> Answers<()>
where
    F: Future<Output = Result<()>>,
{
    let mut answers = Answers::new();
    let mut batches = vec![ids];
    while let Some(batch) = batches.pop() {
        let Err(e) = send(batch.clone()).await else {
            answers.extend(batch.into_iter().map(|id| (id, Ok(()))));
            continue;
        };
        if batch.len() <= 1 || concerns_all(&e) {
            answers.extend(batch.into_iter().map(|id| (id, Err(again(&e)))));
            continue;
        }
        let (named, mut others): (Vec<String>, Vec<String>) = batch.into_iter().partition(|id| is_named(&e, id));
        if named.is_empty() {
            let half = others.split_off(others.len() / 2);
            batches.extend([half, others]);
        } else {
            answers.extend(named.into_iter().map(|id| (id, Err(again(&e)))));
            batches.extend((!others.is_empty()).then_some(others));
        }
    }
    answers
}

/// Whether an error says nothing of single ids: nothing was sent, or it is not known what was done.
fn concerns_all(error: &Error) -> bool {
    error.is_fatal() || error.is_ambiguous() || error.code() == Some(Code::NotSent.as_str())
}

/// Whether EC2 names an id in its message: "The instance 'i-1' may not be terminated".
pub fn is_named(error: &Error, id: &str) -> bool {
    let Error::Aws(error) = error else { return false };
    let message = error.message.as_str();
    let goes_on = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-');
    message.match_indices(id).any(|(at, _)| {
        let (before, after) = (message[..at].chars().next_back(), message[at + id.len()..].chars().next());
        !goes_on(before) && !goes_on(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aaws::AwsError;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn refusal(code: &str, message: &str) -> Error {
        let (code, message) = (code.to_owned(), message.to_owned());
        Error::Aws(Box::new(AwsError { attempted: "stop".into(), code, message, request_id: None, status: Some(400) }))
    }

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("i-{n}")).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_together_goes_together_and_each_has_its_own_answer() {
        static SENT: AtomicUsize = AtomicUsize::new(0);
        let doubled = Coalescer::new(3, ACTING, |ids: Vec<String>| {
            SENT.fetch_add(1, Ordering::SeqCst);
            async move { ids.into_iter().map(|id| (id.clone(), Ok(format!("{id}{id}")))).collect::<Answers<String>>() }
        });
        let ask = |id: &'static str| {
            let doubled = doubled.clone();
            async move { doubled.get(id).await.ok() }
        };
        let answers = futures::future::join_all(["a", "b", "a", "c", "d"].map(ask)).await;
        assert_eq!(answers.into_iter().flatten().collect::<Vec<_>>(), ["aa", "bb", "aa", "cc", "dd"]);
        // Four ids, three a request.
        assert_eq!(SENT.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_keeps_nobody() {
        let echo =
            Coalescer::new(10, ACTING, |ids: Vec<String>| async move { ids.into_iter().map(|id| (id, Ok(()))).collect::<Answers<()>>() });
        let first = echo.clone();
        let stopped = tokio::spawn(async move { first.get("a").await });
        tokio::task::yield_now().await;
        stopped.abort();
        assert!(echo.get("b").await.is_ok());
    }

    #[tokio::test]
    async fn one_bad_id_is_split_off_whether_or_not_it_is_named() {
        for message in ["The instance 'i-37' may not be terminated.", ""] {
            let sent = AtomicUsize::new(0);
            let answers = split(ids(64), |some| {
                sent.fetch_add(1, Ordering::SeqCst);
                let bad = some.contains(&"i-37".to_owned());
                async move { if bad { Err(refusal("OperationNotPermitted", message)) } else { Ok(()) } }
            })
            .await;
            let failed: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_err()).map(|(id, _)| id.as_str()).collect();
            assert_eq!((answers.len(), failed), (64, vec!["i-37"]), "{message}");
            let most = if message.is_empty() { 13 } else { 2 };
            assert!(sent.load(Ordering::SeqCst) <= most, "{message}: {sent:?}");
        }
    }

    #[tokio::test]
    async fn what_says_nothing_of_single_ids_is_not_sent_again() {
        let sent = AtomicUsize::new(0);
        let answers = split(ids(8), |_| {
            sent.fetch_add(1, Ordering::SeqCst);
            async { Err(refusal("ExpiredToken", "")) }
        })
        .await;
        assert_eq!((sent.load(Ordering::SeqCst), answers.values().filter(|a| a.is_err()).count()), (1, 8));
    }

    #[test]
    fn an_id_is_not_named_by_a_longer_one() {
        let error = refusal("InvalidInstanceID.NotFound", "The instance IDs 'i-12, i-2' do not exist");
        assert!(is_named(&error, "i-12") && is_named(&error, "i-2") && !is_named(&error, "i-1"));
    }
}
