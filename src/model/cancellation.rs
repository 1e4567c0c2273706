//! Cancellation of a run, seen by everything that would start new work.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Why a run ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// `--timeout` ran out.
    TimedOut,
    /// Nobody reads the output any more.
    OutputClosed,
    /// The report cannot be written: going on would leave no trace.
    ReportBroken,
}

/// Shared by all who take part in a run. The first reason stands.
#[derive(Debug, Clone, Default)]
pub struct Cancellation {
    token: CancellationToken,
    reason: Arc<OnceLock<(CancelReason, Instant)>>,
}

impl Cancellation {
    /// Asks everyone to start nothing new.
    pub fn cancel(&self, reason: CancelReason) {
        let _ = self.reason.set((reason, Instant::now()));
        self.token.cancel();
    }

    /// Why the run ends early, if it does.
    pub fn reason(&self) -> Option<CancelReason> {
        self.reason.get().map(|(reason, _)| *reason)
    }

    /// How long ago the run was cancelled.
    pub fn since(&self) -> Option<Duration> {
        self.reason.get().map(|(_, asked)| asked.elapsed())
    }

    /// Whether to start nothing new.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until asked.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// Sleeps, but not past the cancellation; `false` when cancelled.
    pub async fn sleep(&self, length: Duration) -> bool {
        tokio::select! {
            () = crate::model::clock::sleep(length) => true,
            () = self.cancelled() => false,
        }
    }
}
