//! Waiting for what AWS does in the background, which takes seconds or hours: looks with longer and longer waits between them, and no ceiling but
//! `--timeout`.

use std::future::Future;
use std::time::Duration;

use crate::engine::context::Context;
use crate::model::error::{Error, Result};

/// The wait before the second look: what ends at once should not be waited for.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait between two looks: a job of hours is not worth more requests.
const LONGEST: Duration = Duration::from_secs(30);

/// How many looks in a row may fail for reasons that pass, throttling not counted, before that counts as an answer. With the waits between them
/// and the SDK's own retries this is more than a quarter of an hour.
const MOST_FAILED: u32 = 30;

/// Whether a wait ends with the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCancel {
    /// When the run is to end, so does the wait.
    Stop,
    /// What is waited for decides how something is left behind, an undo say: it is waited for in a run that was stopped, too.
    KeepGoing,
}

/// Looks until there is something to say; `None` when the run was stopped before. The first look is at once.
pub async fn poll_until<T, P>(cx: &Context, on_cancel: OnCancel, mut look: impl FnMut() -> P + Send) -> Result<Option<T>>
where
    P: Future<Output = Result<Option<T>>> + Send,
{
    let mut backoff = Backoff::new();
    loop {
        if let Some(Some(seen)) = backoff.attempt(look()).await? {
            return Ok(Some(seen));
        }
        match on_cancel {
            OnCancel::Stop if !backoff.wait(cx).await => return Ok(None),
            OnCancel::Stop => {}
            OnCancel::KeepGoing => backoff.pause().await,
        }
    }
}

/// The rhythm of looking again and again: half as long again each time.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    failed: u32,
}

impl Backoff {
    /// Before the first look.
    #[allow(clippy::new_without_default, reason = "a rhythm that has a default length would hide when it begins")]
    pub fn new() -> Self {
        Backoff { next: FIRST, failed: 0 }
    }

    /// Waits for the next look; `false` when the run is to end.
    pub async fn wait(&mut self, cx: &Context) -> bool {
        let wait = self.lengthen();
        cx.cancellation().sleep(wait).await
    }

    /// Waits for the next look, whether or not the run is to end.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.lengthen()).await;
    }

    fn lengthen(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.mul_f64(1.5).min(LONGEST);
        wait
    }

    /// One look: none when it failed for a reason that passes, so that the next one may tell.
    pub async fn attempt<T>(&mut self, look: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        match look.await {
            Ok(seen) => {
                self.failed = 0;
                Ok(Some(seen))
            }
            Err(e) if is_throttled(&e) => {
                tracing::debug!("{e}; will be looked at again");
                Ok(None)
            }
            Err(e) if passes(&e) && self.failed < MOST_FAILED => {
                self.failed += 1;
                tracing::debug!("{e}; will be looked at again");
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

fn is_throttled(error: &Error) -> bool {
    error.code().is_some_and(crate::model::error::is_throttling)
}

fn passes(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        crate::model::error::is_transient(code) || matches!(code, "ServiceUnavailableException" | "Unreachable" | "TimedOut")
    })
}
