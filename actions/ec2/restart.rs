//! Starting an instance again that was stopped for something that did not come about, in a run that was cancelled, too. What cannot be looked at is tried.

use std::future::Future;

use aaws::{Backoff, Context, OnCancel, Result};
use aws_sdk_ec2::types::{Instance, InstanceStateName};

use super::coalesce::{Describer, Orders};
use super::wait;

/// How often an instance is told to start that EC2 does not take for stopped yet, when it cannot be looked at. With the waits between them, for about
/// ten minutes: stopping one may take that long.
const START_TRIES: u32 = 30;

/// Starts an instance, and waits until it runs, as far as that can be seen. `start` asks for it once, and `is` waits until the instance is in a state;
/// one that is stopping is awaited first.
pub async fn start_again<S, W>(instance: &str, is_stopping: bool, start: impl Fn() -> S, is: impl Fn(InstanceStateName) -> W) -> Result<()>
where
    S: Future<Output = Result<()>>,
    W: Future<Output = Result<()>>,
{
    if is_stopping {
        stopped(instance, is(InstanceStateName::Stopped)).await?;
    }
    // Asked for even if it seems to run: it may be shown as it was before the stop. One that runs is none the worse for it.
    let mut backoff = Backoff::poll();
    let mut tries = 1;
    while let Err(e) = start().await {
        // It is on its way down.
        if e.code() != Some("IncorrectInstanceState") || tries == START_TRIES {
            return Err(e);
        }
        tries += 1;
        backoff.pause().await;
        stopped(instance, is(InstanceStateName::Stopped)).await?;
    }
    match is(InstanceStateName::Running).await {
        Err(e) if wait::is_unseen(&e) => {
            tracing::warn!("`{instance}` was started, and whether it runs cannot be seen: {e}");
            Ok(())
        }
        running => running,
    }
}

/// The same with looks and starts that are shared.
pub async fn start_again_of(cx: &Context, looks: &Describer<Instance>, starts: &Orders, instance: &str) -> Result<()> {
    let is_stopping = match looks.get(instance).await {
        Ok(seen) => seen.as_ref().and_then(|i| i.state()).and_then(|s| s.name()) == Some(&InstanceStateName::Stopping),
        Err(e) if e.is_fatal() => return Err(e),
        Err(e) => {
            tracing::warn!("`{instance}` is started again without a look at it: {e}");
            false
        }
    };
    let is = |state| wait::instance_of(cx, looks, instance, state, OnCancel::KeepGoing);
    start_again(instance, is_stopping, || starts.get(instance), is).await
}

/// Waits until an instance is stopped, as far as that can be seen.
async fn stopped(instance: &str, awaited: impl Future<Output = Result<()>>) -> Result<()> {
    match awaited.await {
        Err(e) if wait::is_unseen(&e) => {
            tracing::debug!("`{instance}` cannot be looked at: {e}");
            Ok(())
        }
        stopped => stopped,
    }
}
