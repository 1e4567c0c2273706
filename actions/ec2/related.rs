//! Images and snapshots that go with something else, and what protects them. What uses images is in `references.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use aaws::{Backoff, Call, Code, Context, Error, ErrorContext, Failure, Grant, OnCancel, Outcome, Result};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Image, Snapshot, SnapshotAttributeName, Tag};
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};

use super::lookup::{self, Resource};
use super::{snapshots, tags};

/// How AWS Backup describes the snapshots and images that it makes; not all of them have its tags.
const BACKUP_DESCRIPTIONS: &[&str] =
    &["This snapshot is created by the AWS Backup service", "This image is created by the AWS Backup service"];

/// Tags of volumes and snapshots that Kubernetes made for a claim, and will look for (Kubernetes' AWS EBS CSI driver and its predecessor).
const KUBERNETES: &[&str] = &["kubernetes.io/created-for/pvc/name", "kubernetes.io/created-for/pv/name", "ebs.csi.aws.com/cluster"];

pub const DESCRIBE_LOCKED_SNAPSHOTS: Call = Call::read("ec2:DescribeLockedSnapshots", &[Grant::new("ec2:DescribeLockedSnapshots", &["*"])]);

/// Whom snapshots are shared with.
pub const DESCRIBE_SNAPSHOT_ATTRIBUTE: Call =
    Call::read("ec2:DescribeSnapshotAttribute", &[Grant::new("ec2:DescribeSnapshotAttribute", &[snapshots::SNAPSHOTS])]);

/// How often EC2 is asked to delete a snapshot that it takes for in use though its images are gone: it may do so for minutes. With the waits between
/// them, for two minutes.
const IN_USE_TRIES: u32 = 13;

/// What somebody means to be done though something speaks against it: the inputs of those names.
#[derive(Debug, Default, Clone, Copy)]
pub struct Overrides {
    /// Launch templates, parameters or recipes name it.
    pub referenced: bool,
    /// It is shared with other accounts.
    pub shared: bool,
    /// Data Lifecycle Manager keeps it.
    pub lifecycle_manager: bool,
    /// What it takes to be safe could not be looked at.
    pub unchecked: bool,
}

/// The failure of an item because a look that its safety takes could not be made.
pub fn unchecked(error: &Error) -> Failure {
    Failure::permanent(Code::Unchecked, format!("{error}: give `unchecked` to go on without knowing"))
}

/// The EBS snapshots behind an image.
pub fn behind(image: &Image) -> impl Iterator<Item = &str> {
    image.block_device_mappings().iter().filter_map(|m| m.ebs().and_then(|e| e.snapshot_id()))
}

/// Which images of the account are behind snapshots.
#[derive(Debug, Default)]
pub struct Users {
    images: BTreeMap<String, BTreeSet<String>>,
    /// Why the images could not be listed.
    unknown: Option<Failure>,
}

impl Users {
    /// The images that a snapshot is behind, as far as they are known.
    pub fn of(&self, snapshot: &str) -> impl Iterator<Item = &String> {
        self.images.get(snapshot).into_iter().flatten()
    }

    /// Why no snapshot may be deleted.
    pub fn unknown(&self, overrides: Overrides) -> Option<Outcome> {
        self.unknown.clone().filter(|_| !overrides.unchecked).map(Outcome::Failed)
    }
}

/// Which images of the account are behind these snapshots, disabled ones included. All images are listed once: an account has far fewer of them than
/// it has snapshots.
pub async fn users(ec2: &Client, snapshots: &[String]) -> Result<Users> {
    let mut users = Users::default();
    if snapshots.is_empty() {
        return Ok(users);
    }
    let asked: HashSet<&str> = snapshots.iter().map(String::as_str).collect();
    let mut images = Image::list(ec2, Vec::new());
    loop {
        match images.try_next().await {
            Ok(Some(image)) => {
                for snapshot in behind(&image).filter(|s| asked.contains(s)) {
                    users.images.entry(snapshot.to_owned()).or_default().insert(image.id().to_owned());
                }
            }
            Ok(None) => return Ok(users),
            Err(e) if e.is_fatal() => return Err(e),
            Err(e) => {
                users.unknown = Some(unchecked(&e));
                return Ok(users);
            }
        }
    }
}

/// Why a snapshot is left to AWS Backup.
pub fn kept(snapshot: &Snapshot) -> Option<String> {
    kept_by_backup(snapshot.tags(), snapshot.description())
}

/// Why a thing with these tags and this description is left to AWS Backup.
pub fn kept_by_backup(tags: &[Tag], description: Option<&str>) -> Option<String> {
    let described = description.is_some_and(|d| BACKUP_DESCRIPTIONS.iter().any(|begin| d.starts_with(*begin)));
    let why = "AWS Backup keeps it: delete its recovery point, with `aaws backup delete_backups`";
    (described || tags::of_aws_backup(tags)).then(|| why.to_owned())
}

/// Why a thing with these tags is left to Data Lifecycle Manager.
pub fn kept_by_lifecycle_manager(tags: &[Tag]) -> Option<String> {
    let tag = tags.iter().find(|t| t.key().is_some_and(tags::is_of_lifecycle_manager))?;
    let (key, value) = (tag.key().unwrap_or_default(), tag.value().unwrap_or_default());
    Some(format!(
        "Data Lifecycle Manager keeps it, and deletes it in its time (`{key}`: `{value}`): give `lifecycle_manager` if that is meant"
    ))
}

/// Why a thing with these tags is left to Kubernetes.
pub fn kept_by_kubernetes(tags: &[Tag]) -> Option<String> {
    let (key, value) = KUBERNETES.iter().find_map(|key| Some((*key, tags::value(tags, key)?)))?;
    Some(format!("Kubernetes made it (`{key}`: `{value}`): delete the claim instead"))
}

/// What is known of the locks on snapshots.
#[derive(Debug, Default)]
pub struct Locks {
    /// Of the locked ones, what is said of the lock.
    held: HashMap<String, String>,
    /// Why it is not known whether a snapshot is locked.
    unknown: HashMap<String, Failure>,
}

/// The locks on snapshots, by their ids.
pub async fn locks(ec2: &Client, ids: &[String]) -> Result<Locks> {
    let mut locks = Locks::default();
    let mut batches: Vec<Vec<String>> = ids.chunks(lookup::MOST_VALUES).map(<[String]>::to_vec).collect();
    while let Some(mut batch) = batches.pop() {
        match locked(ec2, &batch).await {
            Ok(held) => locks.held.extend(held),
            Err(e) if e.is_fatal() => return Err(e),
            // One that went in the meantime keeps EC2 from telling of the others; of itself there is no lock to tell.
            Err(e) if e.code() == Some("InvalidSnapshot.NotFound") => {
                if batch.len() > 1 {
                    let half = batch.split_off(batch.len() / 2);
                    batches.extend([batch, half]);
                }
            }
            Err(e) => locks.unknown.extend(batch.into_iter().map(|id| (id, unchecked(&e)))),
        }
    }
    Ok(locks)
}

async fn locked(ec2: &Client, ids: &[String]) -> Result<HashMap<String, String>> {
    let request = ec2.describe_locked_snapshots().set_snapshot_ids(Some(ids.to_vec()));
    let listed = aaws::paged("the locks of snapshots", move |token: Option<String>| {
        let request = request.clone().set_next_token(token);
        async move {
            let answer = request.send().await.context(|| "list the locks of snapshots")?;
            Ok::<_, Error>(aaws::Page { next: aaws::Next::nonempty(answer.next_token), items: answer.snapshots.unwrap_or_default() })
        }
    });
    let mut listed = Box::pin(listed);
    let mut held = HashMap::new();
    while let Some(lock) = listed.try_next().await? {
        let state = lock.lock_state().map_or("locked", |s| s.as_str());
        // An expired lock locks nothing.
        if let Some(id) = lock.snapshot_id().filter(|_| state != "expired") {
            let until = lock.lock_expires_on().map(|d| format!(", until {d}")).unwrap_or_default();
            held.insert(id.to_owned(), format!("it is locked ({state}{until})"));
        }
    }
    Ok(held)
}

/// Why a snapshot is not to be deleted, unless that is meant: what is known without asking whom it is shared with.
pub fn snapshot_precheck(snapshot: &Snapshot, locks: &Locks, overrides: Overrides) -> Option<Outcome> {
    let lifecycle_manager = || kept_by_lifecycle_manager(snapshot.tags()).filter(|_| !overrides.lifecycle_manager);
    let kept = kept(snapshot).or_else(lifecycle_manager).or_else(|| locks.held.get(snapshot.id()).cloned());
    let unknown = || locks.unknown.get(snapshot.id()).filter(|_| !overrides.unchecked).cloned().map(Outcome::Failed);
    kept.map(Outcome::skipped).or_else(unknown)
}

/// Why these snapshots are not to be deleted, unless that is meant: whom they are shared with. Each takes a request of its own, so that of what stays
/// anyway it is not asked.
pub async fn shared_prechecks(cx: &Context, ec2: &Client, ids: &[&str], overrides: Overrides) -> Result<HashMap<String, Outcome>> {
    let asked = ids.iter().map(|id| async move { share_precheck(ec2, id, overrides).await.map(|outcome| ((*id).to_owned(), outcome)) });
    let known: Vec<(String, Option<Outcome>)> = stream::iter(asked.collect::<Vec<_>>()).buffered(cx.concurrency()).try_collect().await?;
    Ok(known.into_iter().filter_map(|(id, outcome)| Some((id, outcome?))).collect())
}

/// The same, of one snapshot.
pub async fn share_precheck(ec2: &Client, id: &str, overrides: Overrides) -> Result<Option<Outcome>> {
    if overrides.shared {
        return Ok(None);
    }
    let with = match shared_with(ec2, id).await {
        Ok(with) => with,
        Err(e) if e.is_fatal() => return Err(e),
        Err(_) if overrides.unchecked => return Ok(None),
        Err(e) => return Ok(Some(Outcome::Failed(unchecked(&e)))),
    };
    Ok((!with.is_empty()).then(|| Outcome::skipped(shared(&with))))
}

/// Whom a snapshot is shared with: accounts, and `everyone`.
pub async fn shared_with(ec2: &Client, id: &str) -> Result<Vec<String>> {
    let request = ec2.describe_snapshot_attribute().snapshot_id(id).attribute(SnapshotAttributeName::CreateVolumePermission);
    let answer = match request.send().await.context(|| format!("ask whom the snapshot `{id}` is shared with")) {
        Ok(answer) => answer,
        // It went in the meantime.
        Err(e) if e.code() == Some("InvalidSnapshot.NotFound") => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let with = |p: &aws_sdk_ec2::types::CreateVolumePermission| {
        // The one group that there is are all.
        p.user_id().map(str::to_owned).or(p.group().map(|_| "everyone".to_owned()))
    };
    Ok(answer.create_volume_permissions().iter().filter_map(with).collect())
}

/// What is said of what is shared with these.
pub fn shared(with: &[String]) -> String {
    format!("it is shared with {}: give `shared` if that is meant", with.join(", "))
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

/// Deletes a snapshot whose images were deregistered a moment ago. EC2 may go on taking it for theirs: that is waited for.
pub async fn delete_freed_snapshot(cx: &Context, ec2: &Client, id: &str, on_cancel: OnCancel) -> Outcome {
    let mut backoff = Backoff::poll();
    for _ in 1..IN_USE_TRIES {
        let in_use = match delete_snapshot(ec2, id).await {
            Outcome::Failed(failure) if failure.code == "InvalidSnapshot.InUse" => failure,
            outcome => return outcome,
        };
        tracing::debug!("`{id}`: {}; will be tried again", in_use.message);
        cx.release_slot();
        match on_cancel {
            OnCancel::Stop if !backoff.wait(cx).await => return Outcome::Failed(in_use),
            OnCancel::Stop => {}
            OnCancel::KeepGoing => backoff.pause().await,
        }
    }
    delete_snapshot(ec2, id).await
}
