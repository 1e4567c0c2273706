//! How a volume was before it was changed, and how it becomes so again, but for its size.

use std::fmt;

use aaws::{Code, Context, ErrorContext, Failure, Outcome, Result, Step, async_trait, left_alone};
use aws_sdk_ec2::types::{Volume, VolumeModificationState, VolumeType};
use serde::{Deserialize, Serialize};

use super::super::{lookup, tags};
use super::{Delta, has_iops, modifications};

/// A volume was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VolumeStep {
    volume: String,
    was: Shape,
    /// What was asked of EC2; what is not said it chose.
    now: Shape,
    /// The size that it has now, where it grew.
    grown: Option<i32>,
}

/// What of a volume can be changed back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shape {
    kind: Option<String>,
    iops: Option<i32>,
    throughput: Option<i32>,
}

impl Shape {
    /// Of a volume as it is shown: what its type lets choose.
    fn of(volume: &Volume) -> Self {
        let kind = volume.volume_type();
        Shape {
            kind: kind.map(|kind| kind.as_str().to_owned()),
            iops: volume.iops().filter(|_| kind.is_some_and(has_iops)),
            throughput: volume.throughput().filter(|_| kind == Some(&VolumeType::Gp3)),
        }
    }

    /// Whether a volume has all that is said here.
    fn is_of(&self, other: &Shape) -> bool {
        fn same<T: PartialEq>(said: Option<&T>, seen: Option<&T>) -> bool {
            said.is_none() || said == seen
        }
        same(self.kind.as_ref(), other.kind.as_ref())
            && same(self.iops.as_ref(), other.iops.as_ref())
            && same(self.throughput.as_ref(), other.throughput.as_ref())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iops = self.iops.map(|iops| format!("{iops} IOPS"));
        let throughput = self.throughput.map(|throughput| format!("{throughput} MiB/s"));
        f.write_str(&[self.kind.clone(), iops, throughput].into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

impl VolumeStep {
    /// Of a volume, and what is asked of EC2 for it; none where that cannot be taken back.
    pub fn of(volume: &Volume, delta: &Delta) -> Option<Self> {
        let now = Shape { kind: delta.kind.as_ref().map(|kind| kind.as_str().to_owned()), iops: delta.iops, throughput: delta.throughput };
        let step = VolumeStep { volume: volume.volume_id()?.to_owned(), was: Shape::of(volume), now, grown: delta.size };
        (step.now != Shape::default()).then_some(step)
    }
}

impl fmt::Display for VolumeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "change {} from {} to {}", self.volume, self.was, self.now)
    }
}

#[async_trait]
impl Step for VolumeStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let kind = self.was.kind.as_deref().map(VolumeType::from);
        let request = ec2.modify_volume().volume_id(&self.volume).set_volume_type(kind);
        let request = request.set_iops(self.was.iops).set_throughput(self.was.throughput).send();
        request.await.context(|| format!("change the volume `{}` back to {}", self.volume, self.was)).map(drop)
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let Some(volume) = lookup::one::<Volume>(&ec2, &self.volume).await? else {
            return Ok(Some(left_alone("it is gone")));
        };
        if let Some(kept) = tags::protection(cx, volume.tags()) {
            return Ok(Some(kept));
        }
        let change = modifications(&ec2, std::slice::from_ref(&self.volume)).await?.remove(&self.volume);
        // A volume is shown as it was until its change is in effect.
        if let Some(state @ (VolumeModificationState::Modifying | VolumeModificationState::Optimizing)) =
            change.as_ref().and_then(|change| change.modification_state())
        {
            let why = format!("a change of it is {state}: EC2 takes no other one until it is completed");
            return Ok(Some(Outcome::Failed(Failure::permanent("IncorrectModificationState", why))));
        }
        let is = Shape::of(&volume);
        Ok(if is == self.was {
            Some(Outcome::Unchanged(format!("it is {is} as before")))
        } else if self.now.is_of(&is) {
            None
        } else {
            Some(left_alone(format!("it was changed since: it is {is}, and the run made it {}", self.now)))
        })
    }

    async fn revert(&self, cx: &Context) -> Result<Outcome> {
        self.undo(cx).await?;
        let told = format!("it becomes {} again", self.was);
        Ok(match self.grown {
            Some(size) => Outcome::skipped_as(Code::Irreversible, format!("{told}; its size stays {size} GiB: a volume cannot shrink")),
            None => Outcome::Done((), Some(told)),
        })
    }

    fn inverse(&self) -> Option<Self> {
        Some(VolumeStep { volume: self.volume.clone(), was: self.now_in_full()?, now: self.was.clone(), grown: None })
    }
}

impl VolumeStep {
    /// What the run made of it, where all of that is known: EC2 chose the rest.
    fn now_in_full(&self) -> Option<Shape> {
        let kind = self.now.kind.as_ref().or(self.was.kind.as_ref())?;
        let kind_of = VolumeType::from(kind.as_str());
        let iops = self.now.iops.or(self.was.iops.filter(|_| self.now.kind.is_none()));
        let throughput = self.now.throughput.or(self.was.throughput.filter(|_| self.now.kind.is_none()));
        let known = (iops.is_some() || !has_iops(&kind_of)) && (throughput.is_some() || kind_of != VolumeType::Gp3);
        known.then(|| Shape { kind: Some(kind.clone()), iops, throughput })
    }
}
