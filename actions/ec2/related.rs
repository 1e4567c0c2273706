//! Images and snapshots that go with something else, and what protects them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use aaws::{Call, Context, Error, ErrorContext, Failure, Grant, Outcome, Result};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Image, ImageAttributeName, ImageReference, ImageReferenceResourceType, Snapshot, Tag};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::lookup::{self, Resource};
use super::{snapshots, tags};

/// How AWS Backup describes the snapshots and images that it makes; not all of them have its tags.
const BACKUP_DESCRIPTIONS: &[&str] =
    &["This snapshot is created by the AWS Backup service", "This image is created by the AWS Backup service"];

/// Tags of volumes and snapshots that Kubernetes made for a claim, and will look for (Kubernetes' AWS EBS CSI driver and its predecessor).
const KUBERNETES: &[&str] = &["kubernetes.io/created-for/pvc/name", "kubernetes.io/created-for/pv/name", "ebs.csi.aws.com/cluster"];

/// Codes by which EC2, or what stands in for it, says that it does not know an operation.
pub const UNKNOWN_OPERATION: &[&str] =
    &["InvalidAction", "UnknownOperationException", "UnsupportedOperation", "HTTP500", "UnreadableAnswer"];

pub const DESCRIBE_IMAGE_REFERENCES: Call = Call::read("ec2:DescribeImageReferences", &[Grant::new("ec2:DescribeImageReferences", &["*"])]);

pub const DESCRIBE_LOCKED_SNAPSHOTS: Call = Call::read("ec2:DescribeLockedSnapshots", &[Grant::new("ec2:DescribeLockedSnapshots", &["*"])]);

/// The EBS snapshots behind an image.
pub fn behind(image: &Image) -> impl Iterator<Item = &str> {
    image.block_device_mappings().iter().filter_map(|m| m.ebs().and_then(|e| e.snapshot_id()))
}

/// Which images of the account are behind these snapshots, disabled ones included. All images are listed once: an account has far fewer of them than
/// it has snapshots.
pub async fn users(ec2: &Client, snapshots: &[String]) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    if snapshots.is_empty() {
        return Ok(users);
    }
    let asked: HashSet<&str> = snapshots.iter().map(String::as_str).collect();
    let mut images = Image::list(ec2, Vec::new());
    while let Some(image) = images.try_next().await? {
        for snapshot in behind(&image).filter(|s| asked.contains(s)) {
            users.entry(snapshot.to_owned()).or_default().insert(image.id().to_owned());
        }
    }
    Ok(users)
}

/// Why a snapshot is not to be deleted, whoever asks.
pub fn kept(snapshot: &Snapshot) -> Option<String> {
    kept_by_backup(snapshot.tags(), snapshot.description())
}

/// Why a thing with these tags and this description is left to AWS Backup.
pub fn kept_by_backup(tags: &[Tag], description: Option<&str>) -> Option<String> {
    let described = description.is_some_and(|d| BACKUP_DESCRIPTIONS.iter().any(|begin| d.starts_with(*begin)));
    let why = "AWS Backup keeps it: delete its recovery point, with `aaws backup delete_backups`";
    (described || tags::of_aws_backup(tags)).then(|| why.to_owned())
}

/// Why a thing with these tags is left to Kubernetes.
pub fn kept_by_kubernetes(tags: &[Tag]) -> Option<String> {
    let (key, value) = KUBERNETES.iter().find_map(|key| Some((*key, tags::value(tags, key)?)))?;
    Some(format!("Kubernetes made it (`{key}`: `{value}`): delete the claim instead"))
}

/// The locks on snapshots, by their ids. EC2 refuses to delete what is locked anyway: where the locks cannot be listed, nothing is lost but the reason.
pub async fn locks(ec2: &Client, ids: &[String]) -> Result<HashMap<String, String>> {
    let mut locks = HashMap::new();
    for some in ids.chunks(lookup::MOST_VALUES) {
        let mut token = None;
        loop {
            let request = ec2.describe_locked_snapshots().set_snapshot_ids(Some(some.to_vec()));
            let answer = match request.set_next_token(token).send().await.context(|| "list the locks of snapshots") {
                Ok(answer) => answer,
                Err(e) if is_not_to_be_had(&e) => {
                    tracing::debug!("{e}; EC2 refuses to delete a locked snapshot by itself");
                    return Ok(locks);
                }
                // One that went in the meantime keeps EC2 from telling of the others.
                Err(e) if e.code() == Some("InvalidSnapshot.NotFound") => {
                    tracing::debug!("{e}; EC2 refuses to delete a locked snapshot by itself");
                    break;
                }
                Err(e) => return Err(e),
            };
            for lock in answer.snapshots() {
                let state = lock.lock_state().map_or("locked", |s| s.as_str());
                // An expired lock locks nothing.
                if let Some(id) = lock.snapshot_id().filter(|_| state != "expired") {
                    let until = lock.lock_expires_on().map(|d| format!(", until {d}")).unwrap_or_default();
                    locks.insert(id.to_owned(), format!("it is locked ({state}{until})"));
                }
            }
            token = answer.next_token.filter(|t| !t.is_empty());
            if token.is_none() {
                break;
            }
        }
    }
    Ok(locks)
}

/// Whether a question that can be left unanswered was not answered because it may not be asked, or is not known.
fn is_not_to_be_had(error: &Error) -> bool {
    error.code().is_some_and(|code| UNKNOWN_OPERATION.contains(&code) || matches!(code, "UnauthorizedOperation" | "AccessDenied"))
}

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

/// What uses images, by their ids. Where references may not be looked up at all, that is said once; what cannot be told of one image keeps only that
/// one.
pub async fn uses(cx: &Context, ec2: &Client, images: &[&Image]) -> Result<HashMap<String, Uses>> {
    let mut uses: HashMap<String, Uses> = images.iter().map(|i| (i.id().to_owned(), Uses::default())).collect();
    let ids: Vec<String> = images.iter().map(|i| i.id().to_owned()).collect();
    add_references(ec2, &ids, &mut uses).await?;
    let shared = images.iter().map(|image| async move { (image.id().to_owned(), shared_with(ec2, image).await) });
    let shared: Vec<_> = stream::iter(shared.collect::<Vec<_>>()).buffered(cx.concurrency()).collect().await;
    for (id, with) in shared {
        let of = uses.entry(id).or_default();
        match with {
            Ok(with) => of.shared_with = with,
            Err(e) if e.is_fatal() => return Err(e),
            Err(e) => of.unknown_shares = Some(Failure::from(&e)),
        }
    }
    Ok(uses)
}

async fn add_references(ec2: &Client, ids: &[String], uses: &mut HashMap<String, Uses>) -> Result<()> {
    for some in ids.chunks(lookup::MOST_VALUES) {
        match references(ec2, some).await {
            Ok(found) => found.iter().for_each(|reference| note(reference, uses)),
            Err(e) if may_not_be_asked(&e) => {
                tracing::warn!("whether launch templates, parameters or recipes name the images is not known: {e}");
                return Ok(());
            }
            // One image of which EC2 does not tell keeps it from telling of the others.
            Err(e) if blames_an_image(&e) => {
                for id in some {
                    match references(ec2, std::slice::from_ref(id)).await {
                        Ok(found) => found.iter().for_each(|reference| note(reference, uses)),
                        Err(e) if blames_an_image(&e) => uses.entry(id.clone()).or_default().unknown_names = Some(Failure::from(&e)),
                        Err(e) => return Err(e),
                    }
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// All that refers to these images, page by page.
async fn references(ec2: &Client, ids: &[String]) -> Result<Vec<ImageReference>> {
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let request = ec2.describe_image_references().set_image_ids(Some(ids.to_vec())).include_all_resource_types(true);
        let answer = request.set_next_token(token).send().await.context(|| "ask what refers to the images")?;
        found.extend(answer.image_references().iter().cloned());
        token = answer.next_token.filter(|t| !t.is_empty());
        if token.is_none() {
            return Ok(found);
        }
    }
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

/// Whether the references of images may not be asked for, or EC2 says that it does not know the question. An answer that is none, such as a 500
/// without a code, says neither: what could break is then not known, and nothing is deregistered.
fn may_not_be_asked(error: &Error) -> bool {
    is_not_to_be_had(error) && !matches!(error.code(), Some("HTTP500" | "UnreadableAnswer"))
}

/// Whether EC2 has something against an image that was asked for, and so did not answer for any of them.
fn blames_an_image(error: &Error) -> bool {
    error.code().is_some_and(|code| code.starts_with("InvalidAMIID"))
}

/// The accounts, groups and organizations that may launch an image.
async fn shared_with(ec2: &Client, image: &Image) -> Result<Vec<String>> {
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

/// Why an image is not to be deregistered, unless the person means it: skipped for a reason, or failed where the reasons could not be looked up.
pub fn image_precheck(image: &Image, uses: &Uses, referenced: bool, shared: bool) -> Option<Outcome> {
    if let Some(why) = kept_by_backup(image.tags(), image.description()) {
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
        let with = uses.shared_with.join(", ");
        return Some(Outcome::skipped(format!("it is shared with {with}: give `shared` if that is meant")));
    }
    // What is not known is not taken for nothing.
    let unknown = uses.unknown_names.as_ref().filter(|_| !referenced).or(uses.unknown_shares.as_ref().filter(|_| !shared));
    unknown.cloned().map(Outcome::Failed)
}

/// Deregisters an image. One that is not there any more is unchanged.
pub async fn deregister(ec2: &Client, id: &str) -> Outcome {
    match ec2.deregister_image().image_id(id).send().await.context(|| format!("deregister the image `{id}`")) {
        Ok(_) => Outcome::done(()),
        Err(e) if matches!(e.code(), Some("InvalidAMIID.NotFound" | "InvalidAMIID.Unavailable")) => {
            Outcome::Unchanged("it does not exist any more".into())
        }
        Err(e) => Outcome::Failed(Failure::from(&e)),
    }
}

/// Deletes a snapshot. One that is not there any more is unchanged.
pub async fn delete_snapshot(ec2: &Client, id: &str) -> Outcome {
    match snapshots::delete(ec2, id).await {
        Ok(true) => Outcome::done(()),
        Ok(false) => Outcome::Unchanged("it does not exist any more".into()),
        Err(e) => Outcome::Failed(Failure::from(&e)),
    }
}
