//! What a session asks once, for all that work in it.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

use crate::model::error::{Error, Result};

/// An answer, whatever its type.
type Answer = Arc<dyn Any + Send + Sync>;

/// What comes to an answer.
type PendingAnswer = BoxFuture<'static, Result<Answer, Arc<Error>>>;

/// Answers by their types and by what was asked. They are kept as long as this is.
#[derive(Default)]
pub struct Once(Mutex<HashMap<(TypeId, String), Entry>>);

enum Entry {
    /// Those who wait hold it: once all of them have gone, nobody asks.
    Asking(WeakShared<PendingAnswer>),
    Known(Answer),
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("answers", &self.entries().len()).finish()
    }
}

impl Once {
    /// The answer to `what`: what is known, what is being asked, or else what `ask` comes to. An error is everybody's who waited for it, and is not kept.
    pub async fn get<T, F>(&self, what: &str, ask: impl FnOnce() -> F) -> Result<Arc<T>>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let key = (TypeId::of::<T>(), what.to_owned());
        let asking = match self.find(&key) {
            EntryState::Known(answer) => return typed(answer),
            EntryState::Asking(asking) => asking,
            EntryState::Nothing(mut entries) => {
                let answer = ask().map(|answer| answer.map(|answer| Arc::new(answer) as Answer).map_err(Arc::new));
                let asking = answer.boxed().shared();
                if let Some(weak) = asking.downgrade() {
                    entries.insert(key.clone(), Entry::Asking(weak));
                }
                asking
            }
        };
        // It is held until the answer is known: somebody may ask in between.
        let answer = asking.clone().await.map_err(|error| error.again())?;
        self.entries().insert(key, Entry::Known(Arc::clone(&answer)));
        drop(asking);
        typed(answer)
    }

    fn find(&self, key: &(TypeId, String)) -> EntryState<'_> {
        let entries = self.entries();
        let asking = match entries.get(key) {
            Some(Entry::Known(answer)) => return EntryState::Known(Arc::clone(answer)),
            Some(Entry::Asking(weak)) => weak.upgrade(),
            None => None,
        };
        asking.map_or_else(|| EntryState::Nothing(entries), EntryState::Asking)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<(TypeId, String), Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is of an answer.
enum EntryState<'a> {
    Known(Answer),
    /// Whoever waits for it drives it: none waits for another who has stopped.
    Asking(Shared<PendingAnswer>),
    Nothing(MutexGuard<'a, HashMap<(TypeId, String), Entry>>),
}

fn typed<T: Send + Sync + 'static>(answer: Answer) -> Result<Arc<T>> {
    answer.downcast().map_err(|_| Error::Failed("an answer is not of the type that it is kept under".into()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::{pending, ready};
    use futures::poll;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn who_asks_meanwhile_waits_and_who_asks_later_knows() {
        let (once, asked) = (Once::default(), Arc::new(AtomicUsize::new(0)));
        let ask = || {
            let asked = Arc::clone(&asked);
            async move {
                asked.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
                Ok(7_u32)
            }
        };
        let (one, two) = futures::join!(once.get("a", ask), once.get("a", ask));
        let three = once.get("a", ask).await;
        for answer in [one, two, three] {
            assert_eq!(answer.ok().as_deref(), Some(&7));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // Of something else, or of another type under the same name, nothing is known.
        assert!(once.get("b", ask).await.is_ok());
        assert_eq!(once.get("a", || ready(Ok("x"))).await.ok().as_deref(), Some(&"x"));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_error_is_of_all_who_wait_and_is_not_kept() {
        let (once, asked) = (Once::default(), Arc::new(AtomicUsize::new(0)));
        let fail = || {
            let asked = Arc::clone(&asked);
            async move {
                asked.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
                Err::<u32, _>(Error::Failed("no".into()))
            }
        };
        let (one, two) = futures::join!(once.get("a", fail), once.get("a", fail));
        for error in [one.err(), two.err()] {
            assert_eq!(error.map(|error| error.to_string()).as_deref(), Some("no"));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(once.get("a", || ready(Ok(1_u32))).await.ok().as_deref(), Some(&1));
    }

    #[tokio::test]
    async fn who_goes_away_keeps_nobody_waiting() {
        let once = Once::default();
        let (open, opened) = tokio::sync::oneshot::channel::<u32>();
        let mut first = Box::pin(once.get("a", || async move { opened.await.map_err(|e| Error::Failed(e.to_string())) }));
        assert!(poll!(first.as_mut()).is_pending());
        // This one waits for the first, which is not looked at any more, and then is gone.
        let second = once.get("a", || ready(Ok(0_u32)));
        let _ = open.send(7);
        let answer = second.await;
        assert_eq!(answer.ok().as_deref(), Some(&7));
        drop(first);

        let mut gone = Box::pin(once.get("b", pending::<Result<u32>>));
        assert!(poll!(gone.as_mut()).is_pending());
        drop(gone);
        assert_eq!(once.get("b", || ready(Ok(1_u32))).await.ok().as_deref(), Some(&1), "it is asked anew");
    }
}
