use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use aaws::{Action, Call, Change, Context, Effect, Example, Grant, Items, LeftItems, Meta, Outcome, Result, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Image, Snapshot};
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;

use super::find::{self, DESCRIBE_IMAGES, DESCRIBE_SNAPSHOTS, Found, Sought, Thing};
use super::related::{self, DESCRIBE_IMAGE_REFERENCES, Fates, Uses};

/// Deregister images (AMIs), and delete the snapshots behind them if asked.
///
/// Looked at first is what would break: an image that launch templates, Systems Manager parameters or Image Builder recipes name, that is shared with
/// others, protected, or kept by AWS Backup is skipped with that reason. With `include_snapshots` each snapshot behind the images is deleted when the
/// images are deregistered; one that is also behind an image that stays is kept. Every image and every snapshot has an outcome of its own.
///
/// The ids of the images and snapshots that are still there, because they failed or were skipped, are printed, images first; the log and the report
/// say why. An id that does not exist is unchanged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteImages {
    /// Images to deregister. An empty list deregisters nothing.
    image_ids: Items<String>,
    /// Delete the snapshots behind the images too.
    #[serde(default)]
    include_snapshots: bool,
    /// Deregister images even if launch templates, parameters or recipes name them.
    #[serde(default)]
    referenced: bool,
    /// Deregister images even if they are shared with other accounts, or with everyone.
    #[serde(default)]
    shared: bool,
}

const THERE: When = When::If("an image exists");
const WITH_SNAPSHOTS: When = When::With(&["include_snapshots"]);

#[async_trait]
impl Action for DeleteImages {
    const META: Meta = Meta {
        path: "ec2/delete_images",
        effect: Effect::Delete,
        calls: &[
            DESCRIBE_IMAGES,
            DESCRIBE_IMAGE_REFERENCES.when(THERE),
            Call::read(
                "ec2:DescribeImageAttribute",
                &[Grant::new("ec2:DescribeImageAttribute", &["arn:${Partition}:ec2:${Region}::image/${image_ids}"])],
            )
            .when(THERE),
            DESCRIBE_SNAPSHOTS.when(WITH_SNAPSHOTS),
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
            "Without rules of the Recycle Bin, deregistering images and deleting snapshots is final.",
            "Protection against being deregistered is never lifted, and for a day after it was lifted EC2 goes on refusing, if it was set so.",
            "Where references may not be looked up, a warning says so, and only what EC2 itself refuses is kept.",
            "References from other accounts, which the image is shared with, are not seen: that is why `shared` is asked for.",
        ],
    };

    type Output = LeftItems;

    async fn run(self, cx: &Context) -> Result<LeftItems> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let sought = find::seek::<Image>(cx, &ec2, self.image_ids).await?;
        let there: Vec<&Image> = sought.iter().filter_map(|s| s.found.there()).collect();
        let uses = find::unless_stopped(cx, related::uses(cx, &ec2, &there)).await?;
        let mut snapshots = Vec::new();
        if self.include_snapshots {
            snapshots = find::unless_stopped(cx, snapshots_behind(&ec2, &there)).await?;
        }
        let fates = Fates::of(there.iter().map(|i| i.id().to_owned()));
        let rules = Rules { referenced: self.referenced, shared: self.shared };
        let images = sought.into_iter().map(|sought| {
            let verdict = rules.verdict(&sought, &uses);
            if let (Some(verdict), Some(_)) = (&verdict, sought.found.there()) {
                fates.settle(&sought.id, related::is_gone(verdict));
            }
            let instances = uses.get(&sought.id).map_or(0, |u| u.instances);
            Target::Image { id: sought.id, instances, verdict }
        });
        let targets: Vec<_> = images.collect::<Vec<_>>().into_iter().chain(snapshots.into_iter().map(Target::Snapshot)).collect();
        let remove = Remove { ec2, fates: Arc::new(fates) };
        Ok(cx.change(stream::iter(targets.into_iter().map(Ok)), remove).await?.left())
    }
}

aaws::register!(DeleteImages);

/// What a person has to mean.
struct Rules {
    referenced: bool,
    shared: bool,
}

impl Rules {
    fn verdict(&self, sought: &Sought<Image>, uses: &HashMap<String, Uses>) -> Option<Outcome> {
        match &sought.found {
            Found::There(image) => {
                let uses = uses.get(&sought.id).cloned().unwrap_or_default();
                related::image_kept(image, &uses, self.referenced, self.shared).map(Outcome::Skipped)
            }
            Found::Missing => Some(Outcome::Unchanged("it does not exist".into())),
            Found::Repeated => Some(Outcome::Unchanged("it was given before".into())),
        }
    }
}

/// A snapshot behind images.
pub(super) struct Behind {
    pub id: String,
    /// The images that have to be gone before it.
    pub images: BTreeSet<String>,
    /// Why it stays whatever becomes of them.
    pub kept: Option<String>,
}

/// The snapshots behind these images, each once, with all images of the account that it is behind.
pub(super) async fn snapshots_behind(ec2: &Client, images: &[&Image]) -> Result<Vec<Behind>> {
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
    let (users, known) = futures::try_join!(related::users(ec2, &order), find::by_id::<Snapshot>(ec2, &order, &[]))?;
    let behind = |id: String| {
        let mut images = seen.remove(&id).unwrap_or_default();
        images.extend(users.get(&id).into_iter().flatten().cloned());
        let kept = known.get(&id).and_then(related::kept);
        Behind { id, images, kept }
    };
    Ok(order.into_iter().map(behind).collect())
}

enum Target {
    Image { id: String, instances: usize, verdict: Option<Outcome> },
    Snapshot(Behind),
}

struct Remove {
    ec2: Client,
    fates: Arc<Fates>,
}

#[async_trait]
impl Change for Remove {
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
            Target::Image { instances: 0, .. } => "it would be deregistered".into(),
            Target::Image { instances, .. } => format!("it would be deregistered; {instances} instances were launched from it, and go on"),
            Target::Snapshot(s) => {
                let images: Vec<_> = s.images.iter().map(String::as_str).collect();
                format!("it would be deleted when {} is deregistered", images.join(", "))
            }
        })
    }

    fn verdict(&self, target: &Target) -> Option<Outcome> {
        match target {
            Target::Image { verdict, .. } => verdict.clone(),
            Target::Snapshot(s) => s.kept.clone().map(Outcome::Skipped),
        }
    }

    async fn apply(&self, cx: &Context, targets: &[Target]) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(targets.len());
        for target in targets {
            outcomes.push(match target {
                Target::Image { id, .. } => {
                    let outcome = related::deregister(&self.ec2, id).await;
                    self.fates.settle(id, outcome.as_ref().is_ok_and(related::is_gone));
                    outcome?
                }
                // Images stand before their snapshots, so what is waited for is under way, or done.
                Target::Snapshot(s) => match self.fates.gone(cx, &s.images).await {
                    Ok(()) => related::delete_snapshot(&self.ec2, &s.id).await?,
                    Err(image) => Outcome::Skipped(format!("kept: it is behind {image}, which was not deregistered")),
                },
            });
        }
        Ok(outcomes)
    }
}
