//! Snapshots and images that were made, and how they are taken away again.

use std::fmt;

use aaws::{Context, Error, OnCancel, Outcome, Result, Step, When, async_trait};
use aws_sdk_ec2::types::{Image, Snapshot};
use serde::{Deserialize, Serialize};

use super::{lookup, related, snapshots};

/// When what was made is taken away again.
pub const UNDONE: When = When::Rare("the run is undone by `aaws undo`");

/// A thing that was made.
#[derive(Debug, Serialize, Deserialize)]
pub enum MadeStep {
    /// A snapshot of a volume.
    Snapshot { of: String, id: String },
    /// An image of an instance.
    Image { of: String, id: String },
}

impl fmt::Display for MadeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MadeStep::Snapshot { of, id } => write!(f, "take the snapshot {id} of {of}"),
            MadeStep::Image { of, id } => write!(f, "make the image {id} of {of}"),
        }
    }
}

#[async_trait]
impl Step for MadeStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        match self {
            MadeStep::Snapshot { id, .. } => snapshots::delete(&ec2, id).await.map(drop),
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
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let (id, is_there) = match self {
            MadeStep::Snapshot { id, .. } => (id, lookup::one::<Snapshot>(&ec2, id).await?.is_some()),
            MadeStep::Image { id, .. } => (id, lookup::one::<Image>(&ec2, id).await?.is_some()),
        };
        Ok((!is_there).then(|| Outcome::Unchanged(format!("{id} is gone already"))))
    }

    async fn revert(&self, cx: &Context) -> Result<Outcome> {
        self.undo(cx).await?;
        let (MadeStep::Snapshot { id, .. } | MadeStep::Image { id, .. }) = self;
        Ok(Outcome::Done((), Some(format!("{id} was deleted"))))
    }

    fn undoing_disrupts(&self) -> bool {
        true
    }
}

fn must(id: &str, outcome: Outcome) -> Result<()> {
    match outcome {
        Outcome::Failed(failure) => Err(Error::Failed(format!("{id} is left over: {}: {}", failure.code, failure.message))),
        _ => Ok(()),
    }
}
