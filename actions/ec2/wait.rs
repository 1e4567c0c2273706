//! Waiting for volumes, snapshots, images and instances. None has a ceiling but `--timeout`; states that nothing comes after end the wait at once.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aaws::{Backoff, OnCancel, Policy, poll_until};
use aaws::{Code, Context, Error, Failure, Result};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    Image, ImageState, Instance, InstanceStateName, Snapshot, SnapshotState, StateReason, Volume, VolumeAttachmentState, VolumeState,
};

use super::coalesce::Describer;
use super::lookup::{self, Resource};

/// How many looks in a row may miss what was made a moment ago: EC2 shows new things with a delay ("Eventual consistency", EC2 API reference).
pub const UNSEEN: u32 = 8;

/// The same where what is shown is most likely so.
const FEW: u32 = 2;

/// How often something is looked for whose request may not have been carried out at all.
pub const LOOKS: u32 = 4;

/// The rhythm of looks that are shared: one request is for all that are waited for, so it may come more often than that of [`Backoff::poll`].
const SHARED: Policy = Policy { first: Duration::from_millis(500), longest: Duration::from_secs(5), factor: 1.5, jitter: 0.0 };

/// Looks for what EC2 may show only later, because the answer that would have told was lost; what the last look brings, when none brings it.
pub async fn poll_until_visible<T, P>(look: impl Fn() -> P, is_there: impl Fn(&T) -> bool) -> Result<T>
where
    P: Future<Output = Result<T>>,
{
    let mut backoff = Backoff::poll();
    for _ in 1..LOOKS {
        let seen = look().await?;
        if is_there(&seen) {
            return Ok(seen);
        }
        backoff.pause().await;
    }
    look().await
}

/// Whether an error says nothing but that something cannot be looked at.
pub fn is_unseen(error: &Error) -> bool {
    matches!(error, Error::Aws(_)) && !error.is_fatal()
}

/// What a look says.
pub enum PollState {
    /// It is as it should be.
    Ready,
    /// It is on its way: its state, for the message of a wait that ends.
    Pending(String),
    /// It will never be: why.
    Failed(String),
}

/// How many looks in a row have missed something that is to be shown, or is still shown as it was before.
#[derive(Default)]
pub struct Misses(AtomicU32);

impl Misses {
    /// A look that missed it: it may be shown later, but for as many looks as `most`; `gone` says why it is then taken for gone.
    fn missed(&self, most: u32, gone: impl FnOnce() -> String) -> PollState {
        if self.0.fetch_add(1, Ordering::Relaxed) < most { PollState::Pending("not shown yet".into()) } else { PollState::Failed(gone()) }
    }

    /// A look that did not: what was missed before counts no more.
    fn seen(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// What a look says of a thing, when `state` is what it says of one that is shown, and of one that is not shown why it never will be.
    pub fn judged<T>(&self, thing: Option<&T>, state: PollState) -> PollState {
        match (thing, state) {
            (None, PollState::Failed(why)) => self.missed(UNSEEN, || why),
            (_, state) => {
                self.seen();
                state
            }
        }
    }
}

/// Waits for one thing to be as `judge` wants it; `None` is a thing that EC2 does not show. A wait that ends with the run is an error that says so.
pub async fn for_one<T: Resource>(
    cx: &Context,
    ec2: &Client,
    id: &str,
    on_cancel: OnCancel,
    judge: impl Fn(Option<&T>) -> PollState + Send + Sync,
) -> Result<()> {
    let watched = Watched::new(id, on_cancel);
    let (judge, state) = (&judge, &watched);
    let seen = poll_until(cx, on_cancel, move || async move { Ok(state.settled(cx, judge(lookup::one::<T>(ec2, id).await?.as_ref()))) });
    watched.ended(seen.await?)
}

/// The same, with looks that all share who wait for things of this kind: however many they are, a look at them is one request.
pub async fn for_one_of<T: Resource + Clone>(
    cx: &Context,
    looks: &Describer<T>,
    id: &str,
    on_cancel: OnCancel,
    judge: impl Fn(Option<&T>) -> PollState + Send + Sync,
) -> Result<()> {
    let watched = Watched::new(id, on_cancel);
    let mut backoff = Backoff::with(SHARED);
    loop {
        // Others are worked on meanwhile, and share the look.
        cx.release_slot();
        match backoff.attempt(looks.get(id)).await {
            Ok(seen) => {
                let settled = seen.and_then(|seen| watched.settled(cx, judge(seen.as_ref())));
                if settled.is_some() {
                    return watched.ended(settled);
                }
            }
            // The run was cancelled before the look was sent.
            Err(e) if on_cancel == OnCancel::Stop && e.code() == Some(Code::NotSent.as_str()) => return watched.ended(None),
            Err(e) => return Err(e),
        }
        match on_cancel {
            OnCancel::Stop if !backoff.wait(cx).await => return watched.ended(None),
            OnCancel::Stop => {}
            OnCancel::KeepGoing => backoff.pause().await,
        }
    }
}

/// A thing that is waited for, and the state that it was last seen in.
struct Watched<'a> {
    id: &'a str,
    on_cancel: OnCancel,
    last: Mutex<String>,
}

impl<'a> Watched<'a> {
    fn new(id: &'a str, on_cancel: OnCancel) -> Self {
        Watched { id, on_cancel, last: Mutex::new("not seen yet".into()) }
    }

    /// What a look says of it, when that ends the wait.
    fn settled(&self, cx: &Context, state: PollState) -> Option<Result<()>> {
        let id = self.id;
        match state {
            PollState::Ready => Some(Ok(())),
            PollState::Failed(why) => Some(Err(Error::Failed(why))),
            PollState::Pending(state) => {
                match self.on_cancel {
                    OnCancel::KeepGoing if cx.cancellation().is_cancelled() => {
                        tracing::warn!("`{id}` is {state}, and is waited for; stop again to leave it so")
                    }
                    _ => tracing::debug!("`{id}` is {state}"),
                }
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = state;
                None
            }
        }
    }

    fn ended(&self, settled: Option<Result<()>>) -> Result<()> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        settled.unwrap_or_else(|| Err(Error::Failed(format!("the run was stopped while `{}` was {last}", self.id))))
    }
}

/// Waits until a volume is attached to nothing and can be used.
pub async fn volume_available(cx: &Context, ec2: &Client, id: &str, on_cancel: OnCancel) -> Result<()> {
    let misses = Misses::default();
    for_one::<Volume>(cx, ec2, id, on_cancel, |volume| {
        let state = match volume.map(|v| v.state()) {
            Some(Some(VolumeState::Available)) => PollState::Ready,
            Some(Some(state @ (VolumeState::Error | VolumeState::Deleting | VolumeState::Deleted))) => PollState::Failed(format!(
                "the volume `{id}` is in the state `{state}`: when it is new, its KMS key is missing, disabled or not allowed for this"
            )),
            Some(state) => PollState::Pending(state.map_or("without a state", VolumeState::as_str).to_owned()),
            None => PollState::Failed(format!(
                "the volume `{id}` has disappeared: when it is new, its KMS key is missing, disabled or not allowed for this"
            )),
        };
        misses.judged(volume, state)
    })
    .await
}

/// Waits until a volume is attached to the instance, and nothing of it is under way any more.
pub async fn volume_attached(cx: &Context, ec2: &Client, id: &str, instance: &str, on_cancel: OnCancel) -> Result<()> {
    let misses = Misses::default();
    for_one::<Volume>(cx, ec2, id, on_cancel, |volume| {
        let Some(volume) = volume else { return PollState::Failed(format!("the volume `{id}` is gone")) };
        let attachment = volume.attachments().iter().find(|a| a.instance_id() == Some(instance));
        let pending = match attachment.and_then(|a| a.state()) {
            Some(VolumeAttachmentState::Attached) => return PollState::Ready,
            Some(state) => state.as_str(),
            // EC2 shows it with a delay, or takes it back without an error.
            None if volume.state() == Some(&VolumeState::Available) => {
                return misses.missed(UNSEEN, || {
                    format!("EC2 did not attach the volume `{id}` to the instance `{instance}`: its KMS key may not be allowed for this")
                });
            }
            None => volume.state().map_or("without a state", VolumeState::as_str),
        };
        misses.seen();
        PollState::Pending(pending.to_owned())
    })
    .await
}

/// Waits until an instance is in the state that is wanted.
pub async fn instance_is(cx: &Context, ec2: &Client, id: &str, wanted: InstanceStateName, on_cancel: OnCancel) -> Result<()> {
    for_one::<Instance>(cx, ec2, id, on_cancel, judge_instance(id, wanted, None)).await
}

/// The same, with looks that are shared.
pub async fn instance_of(
    cx: &Context,
    looks: &Describer<Instance>,
    id: &str,
    wanted: InstanceStateName,
    on_cancel: OnCancel,
) -> Result<()> {
    for_one_of(cx, looks, id, on_cancel, judge_instance(id, wanted, None)).await
}

/// The same of an instance that was seen before it was told: a reason that it had then, of an earlier start say, is none of what comes now.
pub async fn instance_told(
    cx: &Context,
    looks: &Describer<Instance>,
    before: &Instance,
    wanted: InstanceStateName,
    on_cancel: OnCancel,
) -> Result<()> {
    let id = before.id();
    for_one_of(cx, looks, id, on_cancel, judge_instance(id, wanted, before.state_reason())).await
}

/// What the looks at an instance say, one after another; `before` is why it was in its state when it was not told anything yet.
fn judge_instance(
    id: &str,
    wanted: InstanceStateName,
    before: Option<&StateReason>,
) -> impl Fn(Option<&Instance>) -> PollState + Send + Sync {
    let misses = Misses::default();
    let was_stopping = AtomicBool::new(false);
    move |instance: Option<&Instance>| {
        let state = instance.and_then(|i| i.state()).and_then(|s| s.name());
        match state {
            Some(state) if *state == wanted => PollState::Ready,
            // Terminated instances are shown for an hour or so.
            None if wanted == InstanceStateName::Terminated => PollState::Ready,
            None => PollState::Failed(format!("the instance `{id}` is gone")),
            Some(state @ (InstanceStateName::ShuttingDown | InstanceStateName::Terminated)) if wanted != InstanceStateName::Terminated => {
                PollState::Failed(format!("the instance `{id}` is {state}"))
            }
            // EC2 takes a start back when it has no capacity, or when a KMS key is not allowed to it, and says why. With the reason of the stop, or none,
            // it may be how the instance was before the start ("Eventual consistency", EC2 API reference).
            Some(state @ InstanceStateName::Stopped) if wanted == InstanceStateName::Running => {
                let reason = instance.and_then(|i| i.state_reason());
                let told = || {
                    let why = reason.and_then(|r| r.message()).filter(|m| !m.is_empty()).unwrap_or("EC2 gave no reason");
                    format!("the instance `{id}` did not start and is {state}: {why}")
                };
                // A reason may be that of an earlier start, but not for long; one that was there before may be so for as long as anything else.
                let says_why = reason.and_then(|r| r.code()).is_some_and(|c| !c.is_empty() && !c.starts_with("Client.UserInitiated"));
                misses.missed(if says_why && reason != before { FEW } else { UNSEEN }, told)
            }
            // A look that is behind may show it so once more; one that stays so was started by somebody else, and nothing stops it any more.
            Some(state @ (InstanceStateName::Pending | InstanceStateName::Running))
                if wanted == InstanceStateName::Stopped && was_stopping.load(Ordering::Relaxed) =>
            {
                misses.missed(UNSEEN, || format!("the instance `{id}` was stopping, and is {state} again"))
            }
            Some(state) => {
                if *state == InstanceStateName::Stopping {
                    was_stopping.store(true, Ordering::Relaxed);
                }
                misses.seen();
                PollState::Pending(state.as_str().to_owned())
            }
        }
    }
}

/// What became of each of many that were waited for.
pub type Awaited = HashMap<String, Result<(), Unready>>;

/// Why something is not as it was waited for.
#[derive(Debug, Clone)]
pub struct Unready {
    why: String,
    /// The error that the run has to end with, when it cannot be looked at for a reason that holds for all.
    fatal: Option<Arc<Error>>,
}

impl Unready {
    fn because(why: impl Into<String>) -> Self {
        Unready { why: why.into(), fatal: None }
    }

    /// As the failure of an item; `told` stands before the reason.
    pub fn failure(self, code: &str, told: &str) -> Failure {
        Failure { fatal: self.fatal, ..Failure::permanent(code, format!("{told}: {}", self.why)) }
    }

    /// As an error; `told` stands before the reason.
    pub fn error(self, told: &str) -> Error {
        match self.fatal.and_then(|fatal| fatal.to_fatal()) {
            Some(fatal) => fatal,
            None => Error::Failed(format!("{told}: {}", self.why)),
        }
    }
}

/// Waits for many at once, with one request a look for up to 200 of them. Every id comes back: ready, or with the reason why not, which is also
/// that the run was stopped or that it cannot be looked at.
pub async fn for_all<T, P>(
    cx: &Context,
    ids: &[String],
    look: impl Fn(Vec<String>) -> P,
    judge: impl Fn(Option<&T>, &str) -> PollState,
) -> Awaited
where
    P: Future<Output = Result<HashMap<String, T>>>,
{
    let mut awaited = Awaited::new();
    let mut misses: HashMap<String, Misses> = HashMap::new();
    let mut backoff = Backoff::poll();
    loop {
        let pending: Vec<String> = ids.iter().filter(|id| !awaited.contains_key(*id)).cloned().collect();
        if pending.is_empty() {
            return awaited;
        }
        let seen = match backoff.attempt(look(pending.clone())).await {
            Ok(seen) => seen,
            Err(e) => {
                let why = Unready { why: format!("cannot be looked at, and goes on: {e}"), fatal: Failure::from(&e).fatal };
                awaited.extend(pending.into_iter().map(|id| (id, Err(why.clone()))));
                return awaited;
            }
        };
        let mut states = HashMap::new();
        for id in seen.iter().flat_map(|_| &pending) {
            let thing = seen.as_ref().and_then(|seen| seen.get(id));
            match misses.entry(id.clone()).or_default().judged(thing, judge(thing, id)) {
                PollState::Ready => drop(awaited.insert(id.clone(), Ok(()))),
                PollState::Failed(why) => drop(awaited.insert(id.clone(), Err(Unready::because(why)))),
                PollState::Pending(state) => drop(states.insert(id.clone(), state)),
            }
        }
        cx.release_slot();
        if awaited.len() < ids.len() && !backoff.wait(cx).await {
            for id in pending {
                let state = states.remove(&id).unwrap_or_else(|| "not ready".into());
                awaited.entry(id).or_insert_with(|| Err(Unready::because(format!("the run was stopped while it was {state}; it goes on"))));
            }
            return awaited;
        }
    }
}

/// Waits until snapshots are complete.
pub async fn snapshots(cx: &Context, ec2: &Client, ids: &[String]) -> Awaited {
    let look = |ids: Vec<String>| async move { lookup::by_id::<Snapshot>(ec2, &ids, &[]).await };
    for_all(cx, ids, look, judge_snapshot).await
}

/// What a look says of a snapshot that is to be complete.
pub fn judge_snapshot(snapshot: Option<&Snapshot>, id: &str) -> PollState {
    match snapshot.map(|s| (s, s.state())) {
        Some((_, Some(SnapshotState::Completed))) => PollState::Ready,
        Some((s, Some(SnapshotState::Error))) => PollState::Failed(format!(
            "the snapshot `{id}` ended in the state `error`: {}",
            s.state_message().unwrap_or("EC2 gave no reason")
        )),
        Some((s, state)) => {
            PollState::Pending(format!("{} ({})", state.map_or("without a state", SnapshotState::as_str), s.progress().unwrap_or("0%")))
        }
        None => PollState::Failed(format!("the snapshot `{id}` has disappeared")),
    }
}

/// Waits until images are available.
pub async fn images(cx: &Context, ec2: &Client, ids: &[String]) -> Awaited {
    let look = |ids: Vec<String>| async move { lookup::by_id::<Image>(ec2, &ids, &[]).await };
    for_all(cx, ids, look, judge_image).await
}

/// Waits until an image is available, with looks that are shared.
pub async fn image_of(cx: &Context, looks: &Describer<Image>, id: &str, on_cancel: OnCancel) -> Result<()> {
    let misses = Misses::default();
    for_one_of(cx, looks, id, on_cancel, |image: Option<&Image>| misses.judged(image, judge_image(image, id))).await
}

fn judge_image(image: Option<&Image>, id: &str) -> PollState {
    match image.map(|i| (i, i.state())) {
        Some((_, Some(ImageState::Available))) => PollState::Ready,
        Some((i, Some(state @ (ImageState::Failed | ImageState::Error | ImageState::Invalid | ImageState::Deregistered)))) => {
            let why = i.state_reason().and_then(|r| r.message()).unwrap_or("EC2 gave no reason");
            PollState::Failed(format!("the image `{id}` ended in the state `{state}`: {why}"))
        }
        Some((_, state)) => PollState::Pending(state.map_or("without a state", ImageState::as_str).to_owned()),
        None => PollState::Failed(format!("the image `{id}` has disappeared")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_misses_in_a_row_take_a_thing_for_gone() {
        let misses = Misses::default();
        let missed = || misses.judged(None::<&u8>, PollState::Failed("gone".into()));
        (0..UNSEEN).for_each(|_| assert!(matches!(missed(), PollState::Pending(_))));
        let seen = misses.judged(Some(&0_u8), PollState::Pending("pending".into()));
        assert!(matches!(seen, PollState::Pending(state) if state == "pending"));
        (0..UNSEEN).for_each(|_| assert!(matches!(missed(), PollState::Pending(_))));
        assert!(matches!(missed(), PollState::Failed(why) if why == "gone"));
    }

    #[test]
    fn what_is_shown_and_will_never_be_ready_is_not_waited_for() {
        assert!(matches!(Misses::default().judged(Some(&0_u8), PollState::Failed("error".into())), PollState::Failed(_)));
    }
}
