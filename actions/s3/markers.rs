//! Delete markers that a deletion added, and how they are taken away again.

use std::fmt;

use aaws::{Context, Outcome, Result, Step, async_trait, left_alone};
use serde::{Deserialize, Serialize};

use super::bucket::{Bucket, Place, explain};
use super::listing::{self, ListEntry};

/// A delete marker that was added to a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AddedMarker {
    /// Where.
    pub place: Place,
    /// The key that it hides.
    pub key: String,
    /// Its version id.
    pub marker: String,
}

impl fmt::Display for AddedMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "add the delete marker {} to `{}`", self.marker, self.key.escape_debug())
    }
}

/// How a key with an added marker is now.
enum MarkerState {
    /// The marker is not there any more.
    Gone,
    /// An object was written over it.
    Overwritten,
    /// It is there, and so may be others that hide the object as well.
    Hidden { by_others: bool },
}

impl AddedMarker {
    async fn seen(&self, bucket: &Bucket) -> Result<MarkerState> {
        let entries = listing::entries(bucket, &self.key).await?;
        let is_ours = |found: &ListEntry| found.version().is_some_and(|version| version.id == self.marker);
        if !entries.iter().any(is_ours) {
            return Ok(MarkerState::Gone);
        }
        let is_latest = |found: &&ListEntry| found.version().is_some_and(|version| version.latest);
        if entries.iter().find(is_latest).is_some_and(|latest| !latest.is_delete_marker()) {
            return Ok(MarkerState::Overwritten);
        }
        let by_others = entries.iter().any(|found| found.is_delete_marker() && !is_ours(found));
        Ok(MarkerState::Hidden { by_others })
    }

    /// Takes it away, if it is there and no object was written over it.
    async fn remove(&self, cx: &Context) -> Result<Outcome> {
        let bucket = self.place.open(cx)?;
        let by_others = match self.seen(&bucket).await? {
            MarkerState::Gone => return Ok(gone()),
            MarkerState::Overwritten => return Ok(overwritten()),
            MarkerState::Hidden { by_others } => by_others,
        };
        let answer = bucket.send(|s3| {
            let request = s3.delete_object().bucket(&bucket.name).key(&self.key).version_id(&self.marker);
            request.set_request_payer(bucket.payer.clone()).set_expected_bucket_owner(bucket.owner.clone()).send()
        });
        let what = || format!("take the delete marker {} from `{}` in the bucket `{}`", self.marker, self.key.escape_debug(), bucket.name);
        explain(answer.await, what)?;
        let more = if by_others { "; another one is there, which may hide it still" } else { "" };
        Ok(Outcome::Done((), Some(format!("the delete marker {} is gone{more}", self.marker))))
    }
}

fn gone() -> Outcome {
    Outcome::Unchanged("its delete marker is gone already".into())
}

fn overwritten() -> Outcome {
    left_alone("an object was written over its delete marker since")
}

#[async_trait]
impl Step for AddedMarker {
    async fn undo(&self, cx: &Context) -> Result<()> {
        self.remove(cx).await.map(drop)
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        Ok(match self.seen(&self.place.open(cx)?).await? {
            MarkerState::Gone => Some(gone()),
            MarkerState::Overwritten => Some(overwritten()),
            MarkerState::Hidden { .. } => None,
        })
    }

    async fn revert(&self, cx: &Context) -> Result<Outcome> {
        self.remove(cx).await
    }
}
