//! Making images of instances.

use aaws::{Context, Error, ErrorContext, Result};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Image, ResourceType, Tag, TagSpecification};
use futures::TryStreamExt;
use jiff::Timestamp;

use super::lookup::{self, Resource};
use super::once;

/// A name that no other image of the account has: the instance, the time, and chance. 3 to 128 characters (EC2 API reference, CreateImage).
pub fn new_name(instance: &str) -> String {
    format!("aaws-{instance}-{}-{:08x}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"), fastrand::u32(..))
}

/// Begins an image of an instance, tagged with its snapshots in the same call, and gives its id. Nobody else makes up its name, by which it is found
/// when the answer is lost.
pub async fn begin(
    cx: &Context,
    ec2: &Client,
    instance: &str,
    name: &str,
    description: String,
    no_reboot: bool,
    tags: Vec<Tag>,
) -> Result<String> {
    // None rather than an empty list, which EC2 refuses.
    let tags = (!tags.is_empty()).then(|| {
        let of = |kind| TagSpecification::builder().resource_type(kind).set_tags(Some(tags.clone())).build();
        vec![of(ResourceType::Image), of(ResourceType::Snapshot)]
    });
    let request = ec2.create_image().instance_id(instance).name(name).description(description).no_reboot(no_reboot);
    let request = request.set_tag_specifications(tags);
    let send = || async {
        let answer = request.clone().customize().config_override(once::config()).send().await;
        let made = answer.context(|| format!("make an image of the instance `{instance}`"))?;
        made.image_id.ok_or_else(|| Error::Failed(format!("EC2 began an image of `{instance}` without naming it")))
    };
    let look = || async {
        let mut named = Image::list(ec2, vec![lookup::filter("name", [name])]);
        Ok(named.try_next().await?.map(|image| image.id().to_owned()))
    };
    once::create_once(cx, &format!("named `{name}`"), send, look).await
}
