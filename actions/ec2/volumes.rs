//! Deleting volumes, and the changes that EC2 makes of them.

use std::collections::HashMap;

use aaws::{Error, ErrorContext, Next, Page, Result, paged};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::VolumeModification;
use futures::TryStreamExt;

use super::lookup;

/// Changes of one page, at most (EC2 API reference, DescribeVolumesModifications, `MaxResults`).
const PAGE: i32 = 500;

/// Deletes a volume, and says whether there was one: one that is not there any more is no error.
pub async fn delete(ec2: &Client, id: &str) -> Result<bool> {
    match ec2.delete_volume().volume_id(id).send().await.context(|| format!("delete the volume `{id}`")) {
        Err(e) if e.code() == Some("InvalidVolume.NotFound") => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// The latest change of each volume that was ever changed. Asked for by filter: EC2 refuses a request that names a volume that never was.
pub async fn modifications(ec2: &Client, ids: &[String]) -> Result<HashMap<String, VolumeModification>> {
    let mut latest: HashMap<String, VolumeModification> = HashMap::new();
    for some in ids.chunks(lookup::MOST_VALUES) {
        let page = |token: Option<String>| async move {
            // Those of volumes of services, too, where the account hides them.
            let request = ec2.describe_volumes_modifications().filters(lookup::filter("volume-id", some)).include_managed_resources(true);
            let request = request.max_results(PAGE).set_next_token(token).send();
            let answer = request.await.context(|| "list the changes of the volumes")?;
            Ok::<_, Error>(Page { items: answer.volumes_modifications.unwrap_or_default(), next: Next::nonempty(answer.next_token) })
        };
        let found: Vec<VolumeModification> = paged("the changes of the volumes", page).try_collect().await?;
        for change in found {
            let Some(id) = change.volume_id().map(str::to_owned) else { continue };
            if latest.get(&id).is_none_or(|known| since(known) <= since(&change)) {
                latest.insert(id, change);
            }
        }
    }
    Ok(latest)
}

/// When a change began, in seconds.
pub fn since(change: &VolumeModification) -> Option<i64> {
    change.start_time().map(|t| t.secs())
}
