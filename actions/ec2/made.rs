//! Snapshots, copies of them, and images that were made, and how they are taken away again.

use std::fmt;

use aaws::{Code, Context, Error, OnCancel, Outcome, Result, Step, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{Builder, Region};
use aws_sdk_ec2::types::{Image, Snapshot};
use serde::{Deserialize, Serialize};

use super::{lookup, related, snapshots, tags};

/// When what was made is taken away again.
pub const UNDONE: When = When::Rare("the run is undone by `aaws undo`");

/// A thing that was made.
#[derive(Debug, Serialize, Deserialize)]
pub enum MadeStep {
    /// A snapshot of a volume.
    Snapshot { of: String, id: String },
    /// An image of an instance.
    Image { of: String, id: String },
    /// A copy of a snapshot, in a region that may be another one.
    Copy { of: String, id: String, region: String },
}

impl MadeStep {
    /// What was made.
    fn id(&self) -> &str {
        match self {
            MadeStep::Snapshot { id, .. } | MadeStep::Image { id, .. } | MadeStep::Copy { id, .. } => id,
        }
    }

    /// For the region that it is in.
    fn client(&self, cx: &Context) -> Client {
        let region = match self {
            MadeStep::Copy { region, .. } => region.as_str(),
            MadeStep::Snapshot { .. } | MadeStep::Image { .. } => cx.region(),
        };
        let region = Region::new(region.to_owned());
        aaws::client!(cx, aws_sdk_ec2, |config: Builder| config.region(region))
    }
}

impl fmt::Display for MadeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MadeStep::Snapshot { of, id } => write!(f, "take the snapshot {id} of {of}"),
            MadeStep::Image { of, id } => write!(f, "make the image {id} of {of}"),
            MadeStep::Copy { of, id, region } => write!(f, "make the copy {id} of {of} in {region}"),
        }
    }
}

#[async_trait]
impl Step for MadeStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let ec2 = self.client(cx);
        match self {
            MadeStep::Snapshot { id, .. } | MadeStep::Copy { id, .. } => snapshots::delete(&ec2, id).await.map(drop),
            MadeStep::Image { id, .. } => {
                // What is behind it is known by it only.
                let image = lookup::one::<Image>(&ec2, id).await?;
                let behind: Vec<String> = image.iter().flat_map(related::behind).map(str::to_owned).collect();
                must(id, related::deregister(&ec2, id).await)?;
                for snapshot in behind {
                    must(&snapshot, related::delete_freed_snapshot(cx, &ec2, &snapshot, OnCancel::KeepGoing).await)?;
                }
                Ok(())
            }
        }
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let ec2 = self.client(cx);
        let gone = || Some(Outcome::Unchanged(format!("{} is gone already", self.id())));
        match self {
            MadeStep::Snapshot { id, .. } | MadeStep::Copy { id, .. } => match lookup::one::<Snapshot>(&ec2, id).await? {
                Some(snapshot) => Ok(tags::protection(cx, snapshot.tags())),
                None => Ok(gone()),
            },
            MadeStep::Image { id, .. } => match lookup::one::<Image>(&ec2, id).await? {
                Some(image) => protection(cx, &ec2, &image).await,
                None => Ok(gone()),
            },
        }
    }

    async fn revert(&self, cx: &Context) -> Result<Outcome> {
        self.undo(cx).await?;
        Ok(Outcome::Done((), Some(format!("{} was deleted", self.id()))))
    }

    fn undoing_disrupts(&self) -> bool {
        true
    }
}

/// What keeps an image: a tag of it, or of a snapshot behind it, which would go with it.
pub async fn protection(cx: &Context, ec2: &Client, image: &Image) -> Result<Option<Outcome>> {
    if let Some(kept) = tags::protection(cx, image.tags()) {
        return Ok(Some(kept));
    }
    let behind: Vec<String> = related::behind(image).map(str::to_owned).collect();
    let snapshots = lookup::by_id::<Snapshot>(ec2, &behind, &[]).await?;
    let protected = snapshots.iter().find_map(|(id, snapshot)| Some((id, cx.protection(&tags::pairs(snapshot.tags()))?)));
    Ok(protected.map(|(id, why)| Outcome::skipped_as(Code::Protected, format!("its snapshot {id} would go with it: {why}"))))
}

fn must(id: &str, outcome: Outcome) -> Result<()> {
    match outcome {
        Outcome::Failed(failure) => Err(Error::Failed(format!("{id} is left over: {}: {}", failure.code, failure.message))),
        _ => Ok(()),
    }
}
