//! How each step is undone: looked at anew, because the answer of the last call may have been lost, and tried where it cannot be looked at. EC2 keeps
//! what is tried from doing harm: it attaches nothing to a device that is not free, and deletes nothing that is attached.

use std::sync::atomic::{AtomicU32, Ordering};

use aaws::{Backoff, Context, Error, OnCancel, Outcome, Result, Step, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    AttachmentStatus, Instance, InstanceBlockDeviceMapping, InstanceStateName, Volume, VolumeAttachment, VolumeAttachmentState, VolumeState,
};

use super::super::wait::{LOOKS, PollState, is_unseen};
use super::super::{lookup, restart, snapshots, volumes, wait};
use super::steps::{
    SwapStep, all_of, ask_to_attach, ask_to_detach, attach, delete_on_termination, detach, is_occupied, made_from, marked, start, stop,
};
use super::{Attachment, revert};

/// Said of a run in which an original could not be attached again: then no further device is emptied for one.
const STUCK: &str = "an original could not be attached again";

/// Said of a run in which a device may be empty: then the instance is not started.
const EMPTY: &str = "a device may be empty";

/// How often an original is attached whose volumes cannot be looked at: for two minutes, because one that is being detached has to be free first.
const UNSEEN_TRIES: u32 = 12;

/// How often something else is asked for again that EC2 refuses because of a state that passes.
const TRIES: u32 = 8;

#[async_trait]
impl Step for SwapStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let ec2 = &aaws::client!(cx, aws_sdk_ec2);
        match self {
            SwapStep::Stop { instance, devices } => start_again(cx, ec2, instance, devices).await,
            SwapStep::Start { instance } => is_not_started(cx, ec2, instance).await,
            SwapStep::Snapshot { volume, mark, snapshot: None } => {
                for id in wait::poll_until_visible(|| marked(ec2, volume, mark), |ids| !ids.is_empty()).await? {
                    snapshots::delete(ec2, &id).await?;
                }
                Ok(())
            }
            SwapStep::Snapshot { volume, mark, snapshot: Some(id) } => {
                for id in all_of(ec2, id, volume, mark).await {
                    snapshots::delete(ec2, &id).await?;
                }
                Ok(())
            }
            SwapStep::Volume { snapshot, copy, .. } => {
                let made = match copy {
                    Some(id) => vec![id.clone()],
                    None => wait::poll_until_visible(|| made_from(ec2, snapshot), |ids| !ids.is_empty()).await?,
                };
                for id in made {
                    delete_copy(cx, ec2, &id).await?;
                }
                Ok(())
            }
            SwapStep::Replace { original, copy, at } => put_back(cx, ec2, original, copy, at).await,
        }
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        revert::look(cx, &aaws::client!(cx, aws_sdk_ec2), self).await
    }

    async fn revert(&self, cx: &Context) -> Result<Outcome> {
        revert::revert(cx, &aaws::client!(cx, aws_sdk_ec2), self).await
    }

    fn undoing_disrupts(&self) -> bool {
        matches!(self, SwapStep::Stop { .. } | SwapStep::Start { .. } | SwapStep::Replace { .. })
    }
}

/// Makes sure that an instance that was to be started with the copies has not started, or has come to a stop by itself. One that runs has
/// written to them, so they stay.
async fn is_not_started(cx: &Context, ec2: &Client, instance: &str) -> Result<()> {
    let judge = |seen: Option<&Instance>| match seen.and_then(|i| i.state()).and_then(|s| s.name()) {
        Some(InstanceStateName::Stopped) => PollState::Ready,
        Some(state @ (InstanceStateName::Pending | InstanceStateName::Stopping)) => PollState::Pending(state.as_str().to_owned()),
        _ => PollState::Failed(format!("the instance `{instance}` runs with the copies, which hold what it has written since: they stay")),
    };
    wait::for_one::<Instance>(cx, ec2, instance, OnCancel::KeepGoing, judge).await?;
    // It may be shown as it was before the start. One that was never started is stopped already, which EC2 takes for an answer.
    stop(cx, ec2, instance, OnCancel::KeepGoing).await
}

/// Deletes a copy that is attached to nothing; one that is being made is awaited, because EC2 deletes none of those.
async fn delete_copy(cx: &Context, ec2: &Client, id: &str) -> Result<()> {
    let looked = AtomicU32::new(1);
    let seen = wait::for_one::<Volume>(cx, ec2, id, OnCancel::KeepGoing, |volume| match volume.and_then(|v| v.state()) {
        Some(state @ VolumeState::Creating) => PollState::Pending(state.as_str().to_owned()),
        Some(VolumeState::InUse) => PollState::Failed(format!("the volume `{id}` is attached")),
        // It may be shown only later.
        None if looked.fetch_add(1, Ordering::Relaxed) < LOOKS => PollState::Pending("not shown yet".into()),
        _ => PollState::Ready,
    });
    let unseen = match seen.await {
        Ok(()) => false,
        Err(e) if is_unseen(&e) => true,
        Err(e) => return Err(e),
    };
    let mut backoff = Backoff::poll();
    let mut tries = 1;
    loop {
        match volumes::delete(ec2, id).await {
            // It may still be on its way: being made, or being detached.
            Err(e) if unseen && tries < TRIES && matches!(e.code(), Some("IncorrectState" | "VolumeInUse")) => backoff.pause().await,
            deleted => return deleted.map(drop),
        }
        tries += 1;
    }
}

/// The original where it was, whatever was done so far.
pub(super) async fn put_back(cx: &Context, ec2: &Client, original: &str, copy: &str, at: &Attachment) -> Result<()> {
    if cx.is_marked(STUCK) {
        return Err(Error::Failed("its copy stays, because another original could not be attached again".into()));
    }
    let why = match lookup::one::<Instance>(ec2, &at.instance).await {
        Ok(seen) => match state_of(seen.as_ref()) {
            Some(InstanceStateName::Stopped) => match exchange(cx, ec2, original, copy, at).await {
                Ok(()) => return Ok(()),
                Err(e) if cx.is_marked(STUCK) || e.is_fatal() => return Err(e),
                Err(e) => e,
            },
            // It may run with the copies, when it could not be stopped: what it writes to them is nowhere else.
            state => {
                let state = state.map_or("in no known state", InstanceStateName::as_str);
                Error::Failed(format!("the instance `{}` is {state}: no volume is taken from under it", at.instance))
            }
        },
        Err(e) if e.is_fatal() => return Err(e),
        Err(e) => e,
    };
    try_back(cx, ec2, original, copy, at, why).await
}

/// Takes the copy away and attaches the original, as far as each is not so already: the instance is stopped, and all is looked at.
async fn exchange(cx: &Context, ec2: &Client, original: &str, copy: &str, at: &Attachment) -> Result<()> {
    let attached = |volume: &Volume| {
        let here = |a: &&VolumeAttachment| a.instance_id() == Some(at.instance.as_str());
        volume.attachments().iter().find(here).cloned().filter(|a| a.state() != Some(&VolumeAttachmentState::Detached))
    };
    if let Some(volume) = lookup::one::<Volume>(ec2, copy).await?
        && let Some(a) = attached(&volume)
    {
        if a.state() != Some(&VolumeAttachmentState::Detaching) {
            detach(ec2, copy, at).await?;
        }
        wait::volume_available(cx, ec2, copy, OnCancel::KeepGoing).await?;
    }
    let volume = lookup::one::<Volume>(ec2, original).await?;
    let volume = volume.ok_or_else(|| Error::Failed(format!("the volume `{original}` cannot be seen")))?;
    let there = match attached(&volume) {
        Some(a) if a.state() == Some(&VolumeAttachmentState::Detaching) => None,
        other => other,
    };
    let goes = match there {
        Some(a) => {
            wait::volume_attached(cx, ec2, original, &at.instance, OnCancel::KeepGoing).await?;
            a.delete_on_termination().unwrap_or_default()
        }
        None => {
            wait::volume_available(cx, ec2, original, OnCancel::KeepGoing).await?;
            if let Err(e) = attach(ec2, original, at).await {
                cx.mark(STUCK);
                // The copy holds the same: better that than an empty device.
                let copied = attach(ec2, copy, at).await;
                if copied.is_err() {
                    cx.mark(EMPTY);
                }
                tracing::warn!("{copy} is {} of {}", if copied.is_ok() { "back at a device" } else { "not back at a device" }, at.instance);
                return Err(e);
            }
            wait::volume_attached(cx, ec2, original, &at.instance, OnCancel::KeepGoing).await?;
            false
        }
    };
    if goes == at.delete_on_termination { Ok(()) } else { delete_on_termination(ec2, at).await }
}

/// Puts the original back though not all can be looked at, for the reason that is given. The copy is taken away only where the instance is seen to be
/// stopped with it; the original is attached in any case, which fails where the device is not free.
async fn try_back(cx: &Context, ec2: &Client, original: &str, copy: &str, at: &Attachment, why: Error) -> Result<()> {
    tracing::warn!("{why}; it is tried all the same to have {original} at {} of {}", at.device, at.instance);
    let mut backoff = Backoff::poll();
    let (mut asked, mut shown) = (false, 0);
    for _ in 0..UNSEEN_TRIES {
        // An instance shows what is at its devices, too.
        let seen = lookup::one::<Instance>(ec2, &at.instance).await.ok().flatten();
        let is_stopped = state_of(seen.as_ref()) == Some(&InstanceStateName::Stopped);
        let there = seen.as_ref().and_then(|instance| at_device(instance, &at.device));
        if there == Some(copy) {
            if !is_stopped {
                return Err(why);
            }
            asked = asked || ask_to_detach(ec2, copy, at).await.is_ok();
        }
        if ask_to_attach(ec2, original, at).await.is_ok() {
            return goes_as_before(ec2, at).await;
        }
        // What is shown may be of a moment ago, so once is not enough.
        shown = if there == Some(original) { shown + 1 } else { 0 };
        if shown == 2 {
            return goes_as_before(ec2, at).await;
        }
        backoff.pause().await;
    }
    cx.mark(STUCK);
    // The copy holds the same: better that than an empty device.
    match ask_to_attach(ec2, copy, at).await {
        Err(e) if !is_occupied(&e) && e.code() != Some("VolumeInUse") => cx.mark(EMPTY),
        _ => {}
    }
    // Whichever of the two is there.
    if let Err(e) = goes_as_before(ec2, at).await {
        tracing::warn!("{e}");
    }
    Err(why)
}

/// Has the volume at a device deleted with its instance if the original was. One that was attached a moment ago is not, and may not be known yet.
async fn goes_as_before(ec2: &Client, at: &Attachment) -> Result<()> {
    if !at.delete_on_termination {
        return Ok(());
    }
    let mut backoff = Backoff::poll();
    let mut tries = 1;
    loop {
        match delete_on_termination(ec2, at).await {
            Err(e) if tries < TRIES && !e.is_fatal() => tracing::debug!("{e}; will be tried again"),
            said => return said,
        }
        tries += 1;
        backoff.pause().await;
    }
}

pub(super) fn state_of(instance: Option<&Instance>) -> Option<&InstanceStateName> {
    instance.and_then(|i| i.state()).and_then(|s| s.name())
}

/// What is at a device; one that is being detached is as good as gone.
fn stays(mapping: &&InstanceBlockDeviceMapping) -> bool {
    let gone = [AttachmentStatus::Detaching, AttachmentStatus::Detached];
    !mapping.ebs().and_then(|e| e.status()).is_some_and(|status| gone.contains(status))
}

pub(super) fn at_device<'a>(instance: &'a Instance, device: &str) -> Option<&'a str> {
    let mapping = instance.block_device_mappings().iter().filter(stays).find(|m| m.device_name() == Some(device))?;
    mapping.ebs()?.volume_id()
}

/// The instance, when all of these devices have a volume.
async fn whole(ec2: &Client, instance: &str, devices: &[String]) -> Result<Instance> {
    let mut backoff = Backoff::poll();
    let mut looked = 1;
    loop {
        let seen = lookup::one::<Instance>(ec2, instance).await?;
        let seen = seen.ok_or_else(|| Error::Failed(format!("the instance `{instance}` cannot be seen")))?;
        match devices.iter().find(|device| at_device(&seen, device).is_none()) {
            None => return Ok(seen),
            // What was attached a moment ago may be shown only later.
            Some(_) if looked < LOOKS => backoff.pause().await,
            Some(empty) => return Err(Error::Failed(format!("it is not started again, because its device `{empty}` is empty"))),
        }
        looked += 1;
    }
}

/// Starts the instance, but not without its volumes.
pub(super) async fn start_again(cx: &Context, ec2: &Client, instance: &str, devices: &[String]) -> Result<()> {
    let is_stopping = match whole(ec2, instance, devices).await {
        Ok(seen) => state_of(Some(&seen)) == Some(&InstanceStateName::Stopping),
        Err(e) if is_unseen(&e) && !cx.is_marked(EMPTY) => {
            tracing::warn!("{e}; it is tried all the same to start {instance}");
            false
        }
        Err(e) => return Err(e),
    };
    let is = |state| wait::instance_is(cx, ec2, instance, state, OnCancel::KeepGoing);
    restart::start_again(instance, is_stopping, || start(ec2, instance), is).await
}
