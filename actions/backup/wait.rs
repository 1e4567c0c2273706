//! Waiting for AWS Backup, which takes seconds or hours.

use std::future::Future;
use std::time::Duration;

use aaws::{Context, Error, Result};

/// The wait before the second look: what ends at once should not be waited for.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait between two looks: a job of hours is not worth more requests.
const LONGEST: Duration = Duration::from_secs(30);

/// How many looks in a row may fail for reasons that pass, throttling not counted, before that counts as an answer. With the waits between them
/// and the SDK's own retries this is more than a quarter of an hour.
const MOST_FAILED: u32 = 30;

/// Codes that say nothing but "slower".
const THROTTLED: &[&str] = &[
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "RequestThrottledException",
];

/// The rhythm of looking again and again: half as long again each time.
#[derive(Debug)]
pub struct Looks {
    next: Duration,
    failed: u32,
}

impl Looks {
    /// Before the first look.
    pub fn new() -> Self {
        Looks { next: FIRST, failed: 0 }
    }

    /// Waits for the next look; `false` when the run is to end.
    pub async fn wait(&mut self, cx: &Context) -> bool {
        let wait = self.next;
        self.next = wait.mul_f64(1.5).min(LONGEST);
        cx.stop().sleep(wait).await
    }

    /// One look: none when it failed for a reason that passes, so that the next one may tell.
    pub async fn look<T>(&mut self, look: impl Future<Output = Result<T>>) -> Result<Option<T>> {
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
    error.code().is_some_and(|code| THROTTLED.contains(&code))
}

fn passes(error: &Error) -> bool {
    error
        .code()
        .is_some_and(|code| aaws::error::is_transient(code) || matches!(code, "ServiceUnavailableException" | "Unreachable" | "TimedOut"))
}
