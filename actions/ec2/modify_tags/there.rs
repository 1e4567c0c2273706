//! Whether what has no tags is there at all: EC2 shows none of what does not exist, and says so only to whoever tags it.

use std::collections::HashSet;

use aaws::Result;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Address, Instance, NetworkInterface, SecurityGroup, Volume};
use futures::TryStreamExt;

use super::super::listing::listing;
use super::super::lookup::{self, Resource};

/// The kinds that are looked at, by what their ids begin with.
const KINDS: [&str; 7] = ["vol-", "i-", "snap-", "ami-", "sg-", "eni-", "eipalloc-"];

/// Those of the ids that stand for nothing. Of other kinds, and where nobody may look, that is not known.
pub(super) async fn missing(ec2: &Client, ids: &[&str]) -> Result<HashSet<String>> {
    let mut missing = HashSet::new();
    for kind in KINDS {
        let given: Vec<String> = ids.iter().filter(|id| id.starts_with(kind)).map(|id| (*id).to_owned()).collect();
        if given.is_empty() {
            continue;
        }
        let there = match kind {
            "vol-" => seen::<Volume>(ec2, &given).await,
            "i-" => seen::<Instance>(ec2, &given).await,
            "snap-" => snapshots(ec2, &given).await,
            "ami-" => images(ec2, &given).await,
            "sg-" => seen::<SecurityGroup>(ec2, &given).await,
            "eni-" => seen::<NetworkInterface>(ec2, &given).await,
            _ => seen::<Address>(ec2, &given).await,
        };
        match there {
            Ok(there) => missing.extend(given.into_iter().filter(|id| !there.contains(id))),
            Err(e) if e.is_fatal() => return Err(e),
            Err(e) => tracing::debug!("{e}; whether they are there is not known"),
        }
    }
    Ok(missing)
}

async fn seen<T: Resource>(ec2: &Client, ids: &[String]) -> Result<HashSet<String>> {
    Ok(lookup::by_id::<T>(ec2, ids, &[]).await?.into_keys().collect())
}

/// Of whatever owner: what others share can be tagged, too.
async fn snapshots(ec2: &Client, ids: &[String]) -> Result<HashSet<String>> {
    let mut there = HashSet::new();
    for some in ids.chunks(lookup::MOST_VALUES) {
        let request = ec2.describe_snapshots().filters(lookup::filter("snapshot-id", some)).max_results(lookup::PAGE);
        let mut listed = listing!(request, "snapshots", set_next_token, next_token, snapshots);
        while let Some(snapshot) = listed.try_next().await? {
            there.extend(snapshot.snapshot_id);
        }
    }
    Ok(there)
}

/// The same of images, disabled ones too.
async fn images(ec2: &Client, ids: &[String]) -> Result<HashSet<String>> {
    let mut there = HashSet::new();
    for some in ids.chunks(lookup::MOST_VALUES) {
        let request = ec2.describe_images().include_disabled(true).filters(lookup::filter("image-id", some)).max_results(lookup::PAGE);
        let mut listed = listing!(request, "images", set_next_token, next_token, images);
        while let Some(image) = listed.try_next().await? {
            there.extend(image.image_id);
        }
    }
    Ok(there)
}
