//! How a swap is undone by `aaws undo`, when the copies may have been in use for days: the instance is stopped, the originals take their places again, and
//! the copies are kept, because what was written since is on them.

use aaws::{Context, ErrorContext, OnCancel, Outcome, Result, left_alone};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Instance, InstanceStateName, Snapshot, Tag, Volume, VolumeState};

use super::super::{lookup, tags};
use super::steps::{SwapStep, made_from, marked, stop};
use super::undo::{at_device, put_back, start_again, state_of};
use super::{Attachment, COPY_TAG};

/// Whether all is still as a step left it, and nothing of it is protected.
pub async fn look(cx: &Context, ec2: &Client, step: &SwapStep) -> Result<Option<Outcome>> {
    match step {
        // Undoing the start stops it, so that it has to be started in the end; one that is gone cannot be.
        SwapStep::Stop { instance, .. } => {
            let seen = lookup::one::<Instance>(ec2, instance).await?;
            Ok(match state_of(seen.as_ref()) {
                None | Some(InstanceStateName::Terminated | InstanceStateName::ShuttingDown) => Some(gone(instance)),
                Some(_) => protection(cx, seen.as_ref()),
            })
        }
        SwapStep::Start { instance } => {
            let seen = lookup::one::<Instance>(ec2, instance).await?;
            Ok(match state_of(seen.as_ref()) {
                Some(InstanceStateName::Running) => protection(cx, seen.as_ref()),
                None | Some(InstanceStateName::Terminated | InstanceStateName::ShuttingDown) => Some(gone(instance)),
                Some(state) => Some(left_alone(format!("the instance {instance} is {state}, and the run left it running"))),
            })
        }
        SwapStep::Snapshot { snapshot: Some(id), .. } => Ok(match lookup::one::<Snapshot>(ec2, id).await? {
            Some(snapshot) => tags::protection(cx, snapshot.tags()),
            None => Some(no_snapshot()),
        }),
        SwapStep::Snapshot { volume, mark, snapshot: None } => {
            let is_there = !marked(ec2, volume, mark).await?.is_empty();
            Ok((!is_there).then(no_snapshot))
        }
        SwapStep::Volume { snapshot, copy: None, .. } => {
            let made = made_from(ec2, snapshot).await?;
            Ok(made.is_empty().then(|| Outcome::Unchanged("no copy was made".into())))
        }
        SwapStep::Volume { .. } => Ok(None),
        SwapStep::Replace { original, copy, at } => replaced(cx, ec2, original, copy, at).await,
    }
}

fn no_snapshot() -> Outcome {
    Outcome::Unchanged("its snapshot is gone already".into())
}

/// Why nothing is taken from an instance: a tag protects it.
fn protection(cx: &Context, instance: Option<&Instance>) -> Option<Outcome> {
    tags::protection(cx, instance?.tags())
}

fn gone(instance: &str) -> Outcome {
    left_alone(format!("the instance {instance} is gone"))
}

/// Whether the copy is in the original's place, and the original is there to take it again.
async fn replaced(cx: &Context, ec2: &Client, original: &str, copy: &str, at: &Attachment) -> Result<Option<Outcome>> {
    let Some(instance) = lookup::one::<Instance>(ec2, &at.instance).await? else { return Ok(Some(gone(&at.instance))) };
    match at_device(&instance, &at.device) {
        Some(volume) if volume == original => {
            return Ok(Some(Outcome::Unchanged(format!("{original} is {} of {} as before", at.device, at.instance))));
        }
        Some(volume) if volume == copy => {}
        other => {
            let is = other.map_or_else(|| "nothing".to_owned(), |volume| format!("the volume {volume}"));
            return Ok(Some(left_alone(format!("{is} is {} of {}, where the run left {copy}", at.device, at.instance))));
        }
    }
    if let Some(kept) = tags::protection(cx, instance.tags()) {
        return Ok(Some(kept));
    }
    let seen = lookup::by_id::<Volume>(ec2, &[original.to_owned(), copy.to_owned()], &[]).await?;
    if let Some(kept) = seen.values().find_map(|volume| tags::protection(cx, volume.tags())) {
        return Ok(Some(kept));
    }
    Ok(match seen.get(original).and_then(|volume| volume.state()) {
        Some(VolumeState::Available) => None,
        Some(state) => Some(left_alone(format!("the original {original} is {state}, and the run left it detached"))),
        None => Some(left_alone(format!("the original {original} is gone"))),
    })
}

/// Undoes a step, and deletes no copy.
pub async fn revert(cx: &Context, ec2: &Client, step: &SwapStep) -> Result<Outcome> {
    let done = |note: String| Ok(Outcome::Done((), Some(note)));
    match step {
        SwapStep::Start { instance } => {
            stop(cx, ec2, instance, OnCancel::KeepGoing).await?;
            done(format!("{instance} was stopped"))
        }
        SwapStep::Replace { original, copy, at } => {
            put_back(cx, ec2, original, copy, at).await?;
            done(format!("{original} is {} of {} again", at.device, at.instance))
        }
        SwapStep::Volume { of, snapshot, copy } => {
            let copies = match copy {
                Some(id) => vec![id.clone()],
                None => made_from(ec2, snapshot).await?,
            };
            for copy in &copies {
                name_no_more(ec2, of, copy).await?;
            }
            done(format!("the copy {} is kept, detached: what was written to it since is there", copies.join(", ")))
        }
        SwapStep::Stop { instance, devices } => {
            start_again(cx, ec2, instance, devices).await?;
            done(format!("{instance} was started"))
        }
        SwapStep::Snapshot { .. } => {
            use aaws::Step;
            step.undo(cx).await?;
            done("its snapshot was deleted".into())
        }
    }
}

/// Takes from an original the tag that names its copy, if it still names that one.
async fn name_no_more(ec2: &Client, original: &str, copy: &str) -> Result<()> {
    let seen = lookup::one::<Volume>(ec2, original).await?;
    if seen.is_none_or(|volume| tags::value(volume.tags(), COPY_TAG) != Some(copy)) {
        return Ok(());
    }
    let request = ec2.delete_tags().resources(original).tags(Tag::builder().key(COPY_TAG).value(copy).build());
    request.send().await.context(|| format!("take the tag {COPY_TAG} from the volume `{original}`")).map(drop)
}
