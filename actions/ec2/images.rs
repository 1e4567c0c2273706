//! Making images of instances.

use aaws::{Doing, Error, Result};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use jiff::Timestamp;

/// A name that no other image of the account has: the instance, the time, and chance. 3 to 128 characters (EC2 API reference, CreateImage).
pub fn new_name(instance: &str) -> String {
    format!("aaws-{instance}-{}-{:08x}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"), fastrand::u32(..))
}

/// Begins an image of an instance, tagged with its snapshots in the same call, and gives its id.
pub async fn begin(ec2: &Client, instance: &str, name: &str, description: String, no_reboot: bool, tags: Vec<Tag>) -> Result<String> {
    // None rather than an empty list, which EC2 refuses.
    let tags = (!tags.is_empty()).then(|| {
        let of = |kind| TagSpecification::builder().resource_type(kind).set_tags(Some(tags.clone())).build();
        vec![of(ResourceType::Image), of(ResourceType::Snapshot)]
    });
    let request = ec2.create_image().instance_id(instance).name(name).description(description).no_reboot(no_reboot);
    let made = request.set_tag_specifications(tags).send().await.doing(|| format!("make an image of the instance `{instance}`"))?;
    made.image_id.ok_or_else(|| Error::Failed(format!("EC2 began an image of `{instance}` without naming it")))
}
