use std::collections::{BTreeMap, BTreeSet, HashMap};

use aaws::{
    Action, Call, ChangeOne, Code, Context, Dependency, Effect, Example, Grant, Items, LeftItems, Meta, OnCancel, Outcome, Result, When,
    async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Image, Snapshot};
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::lookup::{self, DESCRIBE_IMAGES, DESCRIBE_SNAPSHOTS, Lookup, Resource};
use super::references::{self, DESCRIBE_IMAGE_REFERENCES, Uses};
use super::related::{self, DESCRIBE_LOCKED_SNAPSHOTS, DESCRIBE_SNAPSHOT_ATTRIBUTE, Overrides};
use super::seen::{self, WithState};
use super::{states, tags};

/// Deregister images (AMIs), and delete the snapshots behind them if asked.
///
/// Looked at first is what would break: an image that launch templates, Systems Manager parameters or Image Builder recipes name, that is shared with
/// others, protected, or kept by AWS Backup or Data Lifecycle Manager is skipped with that reason. Where that cannot be looked at the image stays, and
/// fails as `Unchecked`. With `include_snapshots` each snapshot behind the images is deleted when the images are deregistered; one that is also behind
/// an image that stays, or that is locked or shared, is kept. Every image and every snapshot has an outcome of its own.
///
/// The ids of the images and snapshots that are still there, because they failed or were skipped, are printed, images first; the log and the report
/// say why.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteImages {
    /// Images to deregister: ids, or what `discover_images` prints of them with `details`, which are left alone when they are in another state by now. An
    /// empty list deregisters nothing.
    pub image_ids: Items<WithState<Image>>,
    /// Delete the snapshots behind the images too.
    #[serde(default)]
    pub include_snapshots: bool,
    /// Deregister images even if launch templates, parameters or recipes name them.
    #[serde(default)]
    pub referenced: bool,
    /// Deregister images, and delete their snapshots, even if they are shared with other accounts, or with everyone.
    #[serde(default)]
    pub shared: bool,
    /// Deregister images, and delete their snapshots, even if Data Lifecycle Manager keeps them.
    #[serde(default)]
    pub lifecycle_manager: bool,
    /// Go on though what uses an image or its snapshots, whom they are shared with, or locks could not be looked at.
    #[serde(default)]
    pub unchecked: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

const WITH_SNAPSHOTS: When = When::With(&["include_snapshots"]);

#[async_trait]
impl Action for DeleteImages {
    const META: Meta = Meta {
        path: "ec2/delete_images",
        effect: Effect::Delete,
        calls: &[
            DESCRIBE_IMAGES,
            DESCRIBE_IMAGE_REFERENCES,
            Call::read(
                "ec2:DescribeImageAttribute",
                &[Grant::new("ec2:DescribeImageAttribute", &["arn:${Partition}:ec2:${Region}::image/${image_ids}"])],
            ),
            DESCRIBE_SNAPSHOTS.when(WITH_SNAPSHOTS),
            DESCRIBE_LOCKED_SNAPSHOTS.when(WITH_SNAPSHOTS),
            DESCRIBE_SNAPSHOT_ATTRIBUTE.when(WITH_SNAPSHOTS),
            Call::write(
                "ec2:DeregisterImage",
                &[Grant::new("ec2:DeregisterImage", &["arn:${Partition}:ec2:${Region}::image/${image_ids}"])],
            ),
            Call::write("ec2:DeleteSnapshot", &[Grant::new("ec2:DeleteSnapshot", &[super::snapshots::SNAPSHOTS])]).when(WITH_SNAPSHOTS),
        ],
        rules: &[],
        examples: &[
            Example {
                title: "Deregister an image, and keep its snapshots",
                input: r#"{"image_ids": ["ami-0123456789abcdef0"]}"#,
                output: "[]",
                given: &["image ami-0123456789abcdef0"],
            },
            Example {
                title: "Deregister an image and delete the snapshots behind it",
                input: r#"{"image_ids": ["ami-0123456789abcdef0"], "include_snapshots": true}"#,
                output: "[]",
                given: &["image ami-0123456789abcdef0"],
            },
        ],
        notes: &[
            "Instances that were launched from an image do without it, and do not keep it.",
            "Snapshots are deleted one by one, and not with the image in one call, so that each has an outcome of its own.",
            "Without rules of the Recycle Bin, deregistering images and deleting snapshots is final.",
            "Protection against being deregistered is never lifted, and for a day after it was lifted EC2 goes on refusing, if it was set so.",
            "Finding what names an image takes permissions of EC2, Systems Manager and Image Builder, which EC2 uses in the caller's name: the policy has them. All \
             versions of launch templates are searched.",
            "EC2 goes on taking a snapshot for in use for a while after its image is deregistered: that is waited for, up to two minutes.",
            "References from other accounts, which the image is shared with, are not seen: that is why `shared` is asked for.",
        ],
    };

    const BINDS: &'static [&'static str] = &["of an image its state, name and date", "of a snapshot the images that it is behind"];

    type Output = LeftItems;

    async fn run(self, cx: &Context) -> Result<LeftItems> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let (ids, seen) = seen::parted(self.image_ids).await?;
        let lookup = lookup::look_up::<Image>(cx, &ec2, ids.into()).await?;
        let there: Vec<&Image> = lookup.iter().filter_map(|s| s.result.found()).collect();
        let uses = lookup::cancellable(cx, references::uses(cx, &ec2, &there)).await?;
        let overrides = Overrides {
            referenced: self.referenced,
            shared: self.shared,
            lifecycle_manager: self.lifecycle_manager,
            unchecked: self.unchecked,
        };
        let mut snapshots = Vec::new();
        if self.include_snapshots {
            snapshots = lookup::cancellable(cx, snapshots_behind(cx, &ec2, &there, overrides)).await?;
        }
        let precheck = |lookup: &Lookup<Image>| match lookup.result.found() {
            Some(image) => tags::protection(cx, image.tags())
                .or_else(|| seen.changed(image))
                .or_else(|| references::image_precheck(image, &uses.get(&lookup.id).cloned().unwrap_or_default(), overrides)),
            None => lookup.result.unknown(self.ignore_not_found),
        };
        let prechecks: Vec<Option<Outcome>> = lookup.iter().map(precheck).collect();
        let going = lookup.iter().zip(&prechecks).filter(|(s, precheck)| s.result.found().is_some() && precheck.is_none());
        let going: BTreeSet<String> = going.map(|(s, _)| s.id.clone()).collect();
        let protected = lookup.iter().zip(&prechecks).filter(|(_, precheck)| tags::is_protected(precheck.as_ref()));
        let protected: BTreeSet<String> = protected.map(|(s, _)| s.id.clone()).collect();
        // Known now, so that a dry run and the person asked are told it, too.
        snapshots.iter_mut().for_each(|s| s.stay_behind_what_stays(&going, &protected));
        let images = lookup.into_iter().zip(prechecks).map(|(lookup, precheck)| {
            let plan = lookup.result.found().map(|image| plan(image, &uses)).unwrap_or_default();
            let state = lookup.result.found().map(states::image);
            Target::Image { id: lookup.id, plan, precheck, state }
        });
        let targets: Vec<_> = images.chain(snapshots.into_iter().map(Target::Snapshot)).collect();
        let remove = Remove { ec2 };
        Ok(cx.change_each(stream::iter(targets.into_iter().map(Ok)), remove).await?.left())
    }
}

aaws::register!(DeleteImages);

/// What a dry run says of an image that would be deregistered.
fn plan(image: &Image, uses: &HashMap<String, Uses>) -> String {
    let mut parts = vec!["it would be deregistered".to_owned()];
    let instances = uses.get(image.id()).map_or(0, |u| u.instances);
    if instances > 0 {
        parts.push(format!("instances that were launched from it, and go on: {instances}"));
    }
    parts.extend(image.last_launched_time().map(|time| format!("it was last launched at {time}")));
    parts.extend(image.deprecation_time().map(|time| format!("it is deprecated from {time} on")));
    parts.join("; ")
}

/// A snapshot behind images.
pub(super) struct Behind {
    pub id: String,
    /// The images that have to be gone before it.
    pub images: BTreeSet<String>,
    /// What becomes of it whatever becomes of them.
    pub precheck: Option<Outcome>,
}

impl Behind {
    /// It stays when an image stays that it is behind: all but these do, and some of those because they are protected.
    fn stay_behind_what_stays(&mut self, going: &BTreeSet<String>, protected: &BTreeSet<String>) {
        if self.precheck.is_some() {
            return;
        }
        if let Some(image) = self.images.iter().find(|image| protected.contains(*image)) {
            self.precheck = Some(Outcome::skipped_as(Code::Protected, format!("kept: it is behind {image}, which is protected")));
        } else if let Some(image) = self.images.iter().find(|image| !going.contains(*image)) {
            self.precheck = Some(Outcome::skipped(format!("kept: it is also behind {image}, which stays")));
        }
    }
}

/// The snapshots behind these images, each once, with all images of the account that it is behind.
pub(super) async fn snapshots_behind(cx: &Context, ec2: &Client, images: &[&Image], overrides: Overrides) -> Result<Vec<Behind>> {
    let mut order = Vec::new();
    let mut seen = BTreeMap::<String, BTreeSet<String>>::new();
    for image in images {
        for snapshot in related::behind(image) {
            if !seen.contains_key(snapshot) {
                order.push(snapshot.to_owned());
            }
            seen.entry(snapshot.to_owned()).or_default().insert(image.id().to_owned());
        }
    }
    let (users, known) = futures::try_join!(related::users(ec2, &order), lookup::by_id::<Snapshot>(ec2, &order, &[]))?;
    let there: Vec<String> = order.iter().filter(|id| known.contains_key(id.as_str())).cloned().collect();
    let locks = related::locks(ec2, &there).await?;
    let behind = |id: String| {
        let mut images = seen.remove(&id).unwrap_or_default();
        images.extend(users.of(&id).cloned());
        let precheck = match known.get(&id) {
            Some(snapshot) => tags::protection(cx, snapshot.tags())
                .or_else(|| related::snapshot_precheck(snapshot, &locks, overrides))
                .or_else(|| users.unknown(overrides)),
            // It is gone, or somebody else's, and then not for us to delete.
            None => Some(Outcome::Unchanged("it is none of the snapshots of this account".into())),
        };
        Behind { id, images, precheck }
    };
    let mut behind: Vec<Behind> = order.into_iter().map(behind).collect();
    let going: Vec<&str> = behind.iter().filter(|s| s.precheck.is_none()).map(|s| s.id.as_str()).collect();
    let mut shared = related::shared_prechecks(cx, ec2, &going, overrides).await?;
    behind.iter_mut().for_each(|s| s.precheck = s.precheck.take().or_else(|| shared.remove(&s.id)));
    Ok(behind)
}

enum Target {
    Image { id: String, plan: String, precheck: Option<Outcome>, state: Option<Value> },
    Snapshot(Behind),
}

struct Remove {
    ec2: Client,
}

#[async_trait]
impl ChangeOne for Remove {
    type Item = Target;
    type Done = ();

    fn id(&self, target: &Target) -> String {
        match target {
            Target::Image { id, .. } | Target::Snapshot(Behind { id, .. }) => id.clone(),
        }
    }

    fn summary(&self) -> String {
        "deregister, or delete for good".into()
    }

    fn plan(&self, target: &Target) -> Option<String> {
        Some(match target {
            Target::Image { plan, .. } => plan.clone(),
            Target::Snapshot(s) => {
                let images: Vec<_> = s.images.iter().map(String::as_str).collect();
                format!("it would be deleted when {} is deregistered", images.join(", "))
            }
        })
    }

    fn precheck(&self, target: &Target) -> Option<Outcome> {
        match target {
            Target::Image { precheck, .. } | Target::Snapshot(Behind { precheck, .. }) => precheck.clone(),
        }
    }

    fn state(&self, target: &Target) -> Option<Value> {
        match target {
            Target::Image { state, .. } => state.clone(),
            Target::Snapshot(snapshot) => Some(json!({ "images": snapshot.images })),
        }
    }

    fn is_ordered(&self) -> bool {
        true
    }

    fn after(&self, target: &Target) -> Vec<Dependency> {
        let Target::Snapshot(snapshot) = target else { return Vec::new() };
        let kept = |image: &String| Dependency::or_skip(image, format!("kept: it is behind {image}, which was not deregistered"));
        snapshot.images.iter().map(kept).collect()
    }

    async fn apply(&self, cx: &Context, target: &Target) -> Result<Outcome> {
        match target {
            Target::Image { id, .. } => Ok(related::deregister(&self.ec2, id).await),
            Target::Snapshot(s) => Ok(related::delete_freed_snapshot(cx, &self.ec2, &s.id, OnCancel::Stop).await),
        }
    }
}
