//! How what was done before an instance was to be terminated is undone, in a run that was cancelled, too. What cannot be looked at is tried, but that
//! no image is removed unless its instance is seen to stay.

use std::collections::BTreeSet;

use aaws::{Context, Error, OnCancel, Outcome, Result, left_alone};
use aws_sdk_ec2::types::{Image, Instance, InstanceStateName, Snapshot};
use futures::TryStreamExt;

use super::steps::{Terminate, TerminateStep};
use crate::actions::ec2::lookup::{self, Resource};
use crate::actions::ec2::{made, related, restart, wait};

/// What an instance is that goes, or is gone; nothing of one that stays.
fn going(seen: Option<&Instance>) -> Option<&str> {
    match seen.map(|instance| instance.state().and_then(|state| state.name())) {
        None => Some("gone"),
        Some(Some(state @ (InstanceStateName::ShuttingDown | InstanceStateName::Terminated))) => Some(state.as_str()),
        Some(_) => None,
    }
}

impl Terminate {
    /// An error unless an instance is there to stay: what is left of another one is not removed.
    pub(super) async fn stays(&self, instance: &str) -> Result<()> {
        match going(self.instances.get(instance).await?.as_ref()) {
            Some(is) => Err(Error::Failed(format!("the instance `{instance}` is {is}, and its image is all that is left of it"))),
            None => Ok(()),
        }
    }

    /// An error unless an instance stays that may have been told to terminate; EC2 may show that only later.
    pub(super) async fn is_not_terminated(&self, instance: &str) -> Result<()> {
        let look = || self.instances.get(instance);
        match going(wait::poll_until_visible(look, |seen| going(seen.as_ref()).is_some()).await?.as_ref()) {
            Some(is) => Err(Error::Failed(format!("the instance `{instance}` is {is}, and cannot be brought back"))),
            None => Ok(()),
        }
    }

    /// For `aaws undo`: nothing is undone of an instance that goes or is gone, and no image is removed that somebody protects.
    pub(super) async fn look(&self, cx: &Context, step: &TerminateStep) -> Result<Option<Outcome>> {
        let instance = step.instance();
        if let Some(is) = going(self.instances.get(instance).await?.as_ref()) {
            return Ok(Some(left_alone(format!(
                "the instance {instance} is {is}: what was done before is not undone, and its image stays"
            ))));
        }
        let TerminateStep::Image { image: Some(image), .. } = step else { return Ok(None) };
        let image = lookup::one::<Image>(&self.ec2, image).await?;
        match image {
            Some(image) => made::protection(cx, &self.ec2, &image).await,
            None => Ok(None),
        }
    }

    /// Starts an instance that was stopped, and waits until it runs.
    pub(super) async fn start_again(&self, cx: &Context, id: &str) -> Result<()> {
        restart::start_again_of(cx, &self.instances, &self.starts, id).await
    }

    /// Removes an image that was made for nothing, with its snapshots: all that can be, and the first that cannot is the error.
    pub(super) async fn remove_image(&self, cx: &Context, instance: &str, name: &str, image: Option<&str>) -> Result<()> {
        let mut removed = Ok(());
        let found = match self.made(name, image).await {
            Ok(found) => found,
            // What its id alone is enough for is done all the same.
            Err(e) if image.is_some() => {
                removed = Err(e);
                None
            }
            Err(e) => return Err(e),
        };
        let snapshots: BTreeSet<String> = found.iter().flat_map(related::behind).map(str::to_owned).collect();
        // One whose id is known is deregistered even if EC2 does not show it yet.
        let ids: BTreeSet<String> = found.iter().map(|i| i.id().to_owned()).chain(image.map(str::to_owned)).collect();
        for id in ids {
            let mut snapshots = snapshots.clone();
            match self.begun_for(instance, &id).await {
                Ok(more) => snapshots.extend(more),
                Err(e) => removed = removed.and(Err(e)),
            }
            must(&id, related::deregister(&self.ec2, &id).await)?;
            for snapshot in snapshots {
                let gone = must(&snapshot, related::delete_freed_snapshot(cx, &self.ec2, &snapshot, OnCancel::KeepGoing).await);
                removed = removed.and(gone);
            }
        }
        removed
    }

    /// The image of an id or a name, looked for as often as EC2 may need to show what was made a moment ago. By name there is one at most.
    async fn made(&self, name: &str, image: Option<&str>) -> Result<Option<Image>> {
        let filter = image.map_or_else(|| lookup::filter("name", [name]), |id| lookup::filter("image-id", [id]));
        let look = || async { Image::list(&self.ec2, vec![filter.clone()]).try_next().await };
        wait::poll_until_visible(look, Option::is_some).await
    }

    /// The snapshots that EC2 began for an image. Until the image is available it need not name them itself, but each is described by it (seen in the
    /// descriptions that CreateImage writes).
    async fn begun_for(&self, instance: &str, image: &str) -> Result<Vec<String>> {
        let described = lookup::filter("description", [format!("Created by CreateImage({instance}) for {image}*")]);
        Snapshot::list(&self.ec2, vec![described]).map_ok(|s| s.id().to_owned()).try_collect().await
    }
}

fn must(id: &str, outcome: Outcome) -> Result<()> {
    match outcome {
        Outcome::Failed(failure) => Err(Error::Failed(format!("{id} is left over: {}: {}", failure.code, failure.message))),
        _ => Ok(()),
    }
}
