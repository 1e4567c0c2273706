//! What uses images: asked before they are deregistered, because EC2 does not mind.

use std::collections::{HashMap, HashSet};

use aaws::{Call, Context, Error, ErrorContext, Failure, Grant, Next, Outcome, Page, Result, paged};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    Image, ImageAttributeName, ImageReference, ImageReferenceOptionName, ImageReferenceResourceType, ResourceTypeOption,
    ResourceTypeRequest,
};
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};

use super::lookup::Resource;
use super::related::{self, Overrides};

/// The most images that one DescribeImageReferences takes (EC2 API reference, DescribeImageReferences).
const MOST_IMAGES: usize = 10;

/// How many versions of each launch template are searched: the most that EC2 takes, which is as many as a template may have. Unless told it searches the
/// ten newest (EC2 API reference, ResourceTypeOption).
const VERSIONS: &str = "10000";

/// What EC2 looks at for it, it looks at in the caller's name (EC2 user guide, "Identify your resources referencing selected AMIs").
pub const DESCRIBE_IMAGE_REFERENCES: Call = Call::read(
    "ec2:DescribeImageReferences",
    &[
        Grant::new("ec2:DescribeImageReferences", &["*"]),
        Grant::new("ec2:DescribeInstances", &["*"]),
        Grant::new("ec2:DescribeLaunchTemplates", &["*"]),
        Grant::new("ec2:DescribeLaunchTemplateVersions", &["*"]),
        Grant::new("ssm:DescribeParameters", &["*"]),
        Grant::new("ssm:GetParameters", &["arn:${Partition}:ssm:${Region}:${Account}:parameter/*"]),
        Grant::new("imagebuilder:ListImageRecipes", &["*"]),
        Grant::new("imagebuilder:ListContainerRecipes", &["*"]),
        Grant::new("imagebuilder:GetContainerRecipe", &["arn:${Partition}:imagebuilder:${Region}:${Account}:container-recipe/*"]),
    ],
);

/// What an image's removal would break, asked before it.
#[derive(Debug, Default, Clone)]
pub struct Uses {
    /// Launch templates, parameters and recipes that name it.
    named_by: Vec<String>,
    /// Why EC2 did not tell what names it.
    unknown_names: Option<Failure>,
    /// Instances that were launched from it, which do without it.
    pub instances: usize,
    /// Whom it is shared with.
    shared_with: Vec<String>,
    /// Why EC2 did not tell whom it is shared with.
    unknown_shares: Option<Failure>,
}

/// What uses images, by their ids. What cannot be told of one image keeps only that one.
pub async fn uses(cx: &Context, ec2: &Client, images: &[&Image]) -> Result<HashMap<String, Uses>> {
    let mut uses: HashMap<String, Uses> = images.iter().map(|i| (i.id().to_owned(), Uses::default())).collect();
    let ids: Vec<String> = images.iter().map(|i| i.id().to_owned()).collect();
    let named = ids.chunks(MOST_IMAGES).map(|some| referring(ec2, some)).collect::<Vec<_>>();
    let mut named = stream::iter(named).buffered(cx.concurrency());
    while let Some((references, unknown)) = named.try_next().await? {
        references.iter().for_each(|reference| note(reference, &mut uses));
        for (id, failure) in unknown {
            uses.entry(id).or_default().unknown_names = Some(failure);
        }
    }
    let shared = images.iter().map(|image| async move { (image.id().to_owned(), shared_with(ec2, image).await) });
    let shared: Vec<_> = stream::iter(shared.collect::<Vec<_>>()).buffered(cx.concurrency()).collect().await;
    for (id, with) in shared {
        let of = uses.entry(id).or_default();
        match with {
            Ok(with) => of.shared_with = with,
            Err(e) if e.is_fatal() => return Err(e),
            Err(e) => of.unknown_shares = Some(related::unchecked(&e)),
        }
    }
    Ok(uses)
}

/// What refers to a few images, and of which of them EC2 did not tell, with the reason.
async fn referring(ec2: &Client, ids: &[String]) -> Result<(Vec<ImageReference>, Vec<(String, Failure)>)> {
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    let mut batches = vec![ids.to_vec()];
    while let Some(batch) = batches.pop() {
        match references(ec2, &batch).await {
            Ok(references) => found.extend(references),
            Err(e) if e.is_fatal() => return Err(e),
            // One image of which EC2 does not tell keeps it from telling of the others.
            Err(e) if blames_an_image(&e) && batch.len() > 1 => batches.extend(batch.into_iter().map(|id| vec![id])),
            Err(e) => unknown.extend(batch.into_iter().map(|id| (id, related::unchecked(&e)))),
        }
    }
    Ok((found, unknown))
}

/// All that refers to these images, page by page.
async fn references(ec2: &Client, ids: &[String]) -> Result<Vec<ImageReference>> {
    let depth = ResourceTypeOption::builder().option_name(ImageReferenceOptionName::VersionDepth).option_values(VERSIONS).build();
    let templates =
        ResourceTypeRequest::builder().resource_type(ImageReferenceResourceType::Ec2LaunchTemplate).resource_type_options(depth);
    // All kinds, and of launch templates all versions.
    let request = ec2.describe_image_references().set_image_ids(Some(ids.to_vec())).include_all_resource_types(true);
    let request = request.resource_types(templates.build());
    let listed = paged("what refers to the images", move |token: Option<String>| {
        let request = request.clone().set_next_token(token);
        async move {
            let answer = request.send().await.context(|| "ask what refers to the images")?;
            Ok::<_, Error>(Page { next: Next::nonempty(answer.next_token), items: answer.image_references.unwrap_or_default() })
        }
    });
    listed.try_collect().await
}

fn note(reference: &ImageReference, uses: &mut HashMap<String, Uses>) {
    let Some(id) = reference.image_id() else { return };
    let Some(of) = uses.get_mut(id) else { return };
    match reference.resource_type() {
        Some(ImageReferenceResourceType::Ec2Instance) => of.instances += 1,
        // What has no ARN, or is of a kind that is not known here, refers to it all the same.
        kind => {
            let named = reference.arn().or(kind.map(ImageReferenceResourceType::as_str));
            of.named_by.push(named.unwrap_or("something that EC2 does not name").to_owned());
        }
    }
}

/// Whether EC2 has something against an image that was asked for, and so did not answer for any of them.
fn blames_an_image(error: &Error) -> bool {
    error.code().is_some_and(|code| code.starts_with("InvalidAMIID"))
}

/// Which images something uses, instances too.
#[derive(Debug, Default)]
pub struct Used {
    /// Those that are used.
    pub ids: HashSet<String>,
    /// Those of which EC2 did not tell, and why.
    pub unknown: HashMap<String, Error>,
}

/// Which of these images something uses, as far as EC2 knows: launch configurations it does not look at.
pub async fn used(cx: &Context, ec2: &Client, ids: &[String]) -> Result<Used> {
    let mut used = Used::default();
    let asked = ids.chunks(MOST_IMAGES).map(|some| referred(ec2, some)).collect::<Vec<_>>();
    let mut asked = stream::iter(asked).buffered(cx.concurrency());
    while let Some(some) = asked.try_next().await? {
        used.ids.extend(some.ids);
        used.unknown.extend(some.unknown);
    }
    Ok(used)
}

async fn referred(ec2: &Client, ids: &[String]) -> Result<Used> {
    let mut used = Used::default();
    let mut batches = vec![ids.to_vec()];
    while let Some(batch) = batches.pop() {
        match references(ec2, &batch).await {
            Ok(found) => used.ids.extend(found.into_iter().filter_map(|reference| reference.image_id)),
            Err(e) if e.is_fatal() => return Err(e),
            // One image of which EC2 does not tell keeps it from telling of the others.
            Err(e) if blames_an_image(&e) && batch.len() > 1 => batches.extend(batch.into_iter().map(|id| vec![id])),
            Err(e) if blames_an_image(&e) => used.unknown.extend(batch.into_iter().next().map(|id| (id, e))),
            Err(e) => return Err(e),
        }
    }
    Ok(used)
}

/// The accounts, groups and organizations that may launch an image.
pub async fn shared_with(ec2: &Client, image: &Image) -> Result<Vec<String>> {
    if image.public() == Some(true) {
        return Ok(vec!["everyone".into()]);
    }
    let request = ec2.describe_image_attribute().image_id(image.id()).attribute(ImageAttributeName::LaunchPermission);
    let answer = match request.send().await.context(|| format!("ask whom the image `{}` is shared with", image.id())) {
        Ok(answer) => answer,
        // It went in the meantime, or never became available: nobody can launch it.
        Err(e) if matches!(e.code(), Some("InvalidAMIID.NotFound" | "InvalidAMIID.Unavailable")) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let with = |p: &aws_sdk_ec2::types::LaunchPermission| {
        let group = p.group().map(|g| g.as_str().to_owned());
        p.user_id().or(p.organization_arn()).or(p.organizational_unit_arn()).map(str::to_owned).or(group)
    };
    Ok(answer.launch_permissions().iter().filter_map(with).collect())
}

/// Why an image is not to be deregistered, unless that is meant: skipped for a reason, or failed where the reasons could not be looked up.
pub fn image_precheck(image: &Image, uses: &Uses, overrides: Overrides) -> Option<Outcome> {
    let Overrides { referenced, shared, lifecycle_manager, unchecked } = overrides;
    if let Some(why) = related::kept_by_backup(image.tags(), image.description()) {
        return Some(Outcome::skipped(why));
    }
    if let Some(why) = related::kept_by_lifecycle_manager(image.tags()).filter(|_| !lifecycle_manager) {
        return Some(Outcome::skipped(why));
    }
    if let Some(state) = image.deregistration_protection().filter(|p| p.starts_with("enabled") || p.starts_with("disabled after")) {
        return Some(Outcome::skipped(format!("it is protected against being deregistered ({state})")));
    }
    if !referenced && !uses.named_by.is_empty() {
        let names = uses.named_by.join(", ");
        return Some(Outcome::skipped(format!("it is named by {names}: change them first, or give `referenced`")));
    }
    if !shared && !uses.shared_with.is_empty() {
        return Some(Outcome::skipped(related::shared(&uses.shared_with)));
    }
    // What is not known is not taken for nothing.
    let unknown = uses.unknown_names.as_ref().filter(|_| !referenced).or(uses.unknown_shares.as_ref().filter(|_| !shared));
    unknown.filter(|_| !unchecked).cloned().map(Outcome::Failed)
}
