//! Waiting for what AWS does in the background, which takes seconds or hours: with longer and longer waits between the looks, and no ceiling but
//! `--timeout`.

use std::future::Future;
use std::time::Duration;

use crate::aws::backoff::{Delays, Policy};
use crate::engine::context::Context;
use crate::model::clock;
use crate::model::error::{Error, Result, is_throttling, is_transient};

/// How many looks in a row may fail for reasons that pass, throttling not counted, before that counts as an answer. With the waits between them
/// and the retries of each this is more than a quarter of an hour.
const MAX_FAILED: u32 = 30;

/// What a wait does when the run is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCancel {
    /// It ends with the run.
    Stop,
    /// What is waited for decides how something is left behind, an undo say: it is waited for in a run that was cancelled, too.
    KeepGoing,
}

/// Looks until there is something to say; `None` when the run was cancelled before. The first look is at once. An item that is waited for so takes no
/// slot: another is begun meanwhile.
pub async fn poll_until<T, P>(cx: &Context, on_cancel: OnCancel, mut look: impl FnMut() -> P + Send) -> Result<Option<T>>
where
    P: Future<Output = Result<Option<T>>> + Send,
{
    let mut backoff = Backoff::poll();
    loop {
        if let Some(Some(seen)) = backoff.attempt(look()).await? {
            return Ok(Some(seen));
        }
        cx.release_slot();
        match on_cancel {
            OnCancel::Stop if !backoff.wait(cx).await => return Ok(None),
            OnCancel::Stop => {}
            OnCancel::KeepGoing => backoff.pause().await,
        }
    }
}

/// The rhythm of looking again and again.
#[derive(Debug)]
pub struct Backoff(Delays);

impl Backoff {
    /// For the state of something that changes in the background; before the first look.
    pub fn poll() -> Self {
        Backoff(Delays::poll())
    }

    /// With waits of another policy.
    pub fn with(policy: Policy) -> Self {
        Backoff(Delays::with(policy))
    }

    /// Waits for the next look; `false` when the run is cancelled.
    pub async fn wait(&mut self, cx: &Context) -> bool {
        let wait: Duration = self.0.next_wait();
        cx.cancellation().sleep(wait).await
    }

    /// Waits for the next look, whether or not the run is cancelled.
    pub async fn pause(&mut self) {
        clock::sleep(self.0.next_wait()).await;
    }

    /// One look: none when it failed for a reason that passes, so that the next one may tell.
    pub async fn attempt<T>(&mut self, look: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        match look.await {
            Ok(seen) => {
                self.0.succeeded();
                Ok(Some(seen))
            }
            Err(e) if e.code().is_some_and(is_throttling) => {
                tracing::debug!("{e}; will be looked at again");
                Ok(None)
            }
            Err(e) if passes(&e) && self.0.failed() <= MAX_FAILED => {
                tracing::debug!("{e}; will be looked at again");
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

fn passes(error: &Error) -> bool {
    let codes = ["ServiceUnavailableException", "Unreachable", "TimedOut"];
    error.code().is_some_and(|code| is_transient(code) || codes.contains(&code))
}
