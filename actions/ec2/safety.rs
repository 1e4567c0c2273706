//! Safety snapshots: taken of each volume before it is changed or deleted, and awaited together.

use aaws::{Code, Context, Failure, Result};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Snapshot;

use super::together::Together;
use super::{lookup, snapshots, wait};

/// The safety snapshots of a run.
pub struct SafetySnapshots {
    ec2: Client,
    looks: Together<Snapshot>,
}

impl SafetySnapshots {
    pub fn new(ec2: Client) -> Self {
        SafetySnapshots { ec2, looks: Together::default() }
    }

    /// The complete snapshot of a volume, or why there is none. One that was begun and did not complete is named, and stays.
    pub async fn take(&self, cx: &Context, volume: &str, when: &str) -> Result<String, Failure> {
        if cx.cancellation().is_cancelled() {
            return Err(Failure::permanent(Code::NotStarted, "no snapshot was taken: the run was stopped"));
        }
        let begun = snapshots::begin(cx, &self.ec2, volume, format!("{volume} as it was {when}, taken by aaws"), Vec::new()).await;
        let id = begun.map_err(|e| Failure::from(&e))?;
        let look = |ids: Vec<String>| async move { lookup::by_id::<Snapshot>(&self.ec2, &ids, &[]).await };
        let awaited = self.looks.wait(cx, &id, look, |snapshot| wait::judge_snapshot(snapshot, &id)).await;
        match awaited {
            Ok(()) => Ok(id),
            Err(why) => Err(Failure { message: format!("its snapshot {id} is not complete: {}", why.message), ..why }),
        }
    }
}
