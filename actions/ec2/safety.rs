//! Safety snapshots: taken of each volume before it is changed or deleted, and awaited together.

use aaws::{Code, Context, Failure, Result};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Snapshot, SnapshotState};

use super::together::Together;
use super::wait::PollState;
use super::{lookup, snapshots};

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
        let awaited = self.looks.wait(cx, &id, look, |snapshot| state(&id, snapshot)).await;
        match awaited {
            Ok(()) => Ok(id),
            Err(why) => Err(Failure { message: format!("its snapshot {id} is not complete: {}", why.message), ..why }),
        }
    }
}

fn state(id: &str, snapshot: Option<&Snapshot>) -> PollState {
    let Some(snapshot) = snapshot else { return PollState::Failed(format!("the snapshot `{id}` has disappeared")) };
    match snapshot.state() {
        Some(SnapshotState::Completed) => PollState::Ready,
        Some(SnapshotState::Error) => {
            let why = snapshot.state_message().unwrap_or("EC2 gave no reason");
            PollState::Failed(format!("the snapshot `{id}` ended in the state `error`: {why}"))
        }
        state => {
            let state = state.map_or("without a state", SnapshotState::as_str);
            PollState::Pending(format!("{state} ({})", snapshot.progress().unwrap_or("0%")))
        }
    }
}
