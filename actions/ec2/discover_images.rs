use std::collections::HashSet;

use aaws::{
    Action, Age, Call, Check, Context, Effect, Example, Glob, Grant, Items, Listing, Meta, Moment, Out, Result, Row, Rule, When,
    async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Image};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::details::{ImageDetails, images};
use super::listing::listing;
use super::lookup::{self, DESCRIBE_IMAGES, Resource, Shareable};
use super::references::{self, DESCRIBE_IMAGE_REFERENCES};
use super::related;
use super::selecting::{self, Common};
use super::tags::Wanted;

/// List the images (AMIs) of the account, or of another owner, with filters.
///
/// All filters have to match. The ids are printed as EC2 lists them, or in the order of `image_ids`. Disabled and deprecated images are listed like
/// any other. Ids that do not exist are reported as failed, and the rest is answered all the same.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverImages {
    /// Only these images. An empty list is no image.
    pub image_ids: Option<Items<String>>,
    /// Whose images to list rather than the account's own: an account id, `amazon` or `aws-marketplace`. Only those that this account may launch.
    pub owner: Option<String>,
    /// Tags that images have to have, all of them: `Key` with any value, or `Key=Value`; `Key=` is the empty value. An empty list is no image.
    pub tags: Option<Vec<Wanted>>,
    /// Tags of which images must have none: `Key` with any value, or `Key=Value`. An empty list is no image.
    pub missing_tags: Option<Vec<Wanted>>,
    /// Pattern of the image's name, which is not its tag `Name`: `web-*`.
    pub name: Option<Glob>,
    /// States to keep. An empty list is no image.
    pub states: Option<Vec<State>>,
    /// Only images whose volumes are of more than so many GiB together.
    pub larger_than: Option<u32>,
    /// Only images whose volumes are of less than so many GiB together.
    pub smaller_than: Option<u32>,
    /// Only images of which all snapshots are encrypted.
    #[serde(default)]
    pub encrypted: bool,
    /// Only images of which a snapshot is not encrypted.
    #[serde(default)]
    pub unencrypted: bool,
    /// Only images that nothing uses: no instance, launch template, launch configuration, parameter or recipe of the account.
    #[serde(default)]
    pub unused: bool,
    /// Only images that something uses.
    #[serde(default)]
    pub in_use: bool,
    /// Only images that are shared with other accounts, organizations, or with everyone. Takes a request for each image that the rest leaves.
    #[serde(default)]
    pub shared: bool,
    /// Only images that are shared with everyone.
    #[serde(default)]
    pub public: bool,
    /// Leave out images that AWS Backup keeps, by their tags or their description.
    #[serde(default)]
    pub exclude_aws_backup: bool,
    /// Only images created before this.
    pub created_before: Option<Moment>,
    /// Only images created at or after this.
    pub created_after: Option<Moment>,
    /// Only images created longer ago than this.
    pub older_than: Option<Age>,
    /// Print of each image what EC2 tells of it, rather than its id alone.
    #[serde(default)]
    pub details: bool,
}

/// A state of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Pending,
    Available,
    Disabled,
    Invalid,
    Transient,
    Failed,
    Error,
}

impl State {
    /// As EC2 writes it.
    fn word(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Available => "available",
            State::Disabled => "disabled",
            State::Invalid => "invalid",
            State::Transient => "transient",
            State::Failed => "failed",
            State::Error => "error",
        }
    }
}

/// The most launch configurations of one page (Auto Scaling API reference, DescribeLaunchConfigurations, `MaxRecords`).
const CONFIGURATIONS: i32 = 100;

const BY_USE: When = When::With(&["unused", "in_use"]);

#[async_trait]
impl Action for DiscoverImages {
    const META: Meta = Meta {
        path: "ec2/discover_images",
        effect: Effect::Read,
        calls: &[
            DESCRIBE_IMAGES,
            DESCRIBE_IMAGE_REFERENCES.when(BY_USE),
            Call::read("autoscaling:DescribeLaunchConfigurations", &[Grant::new("autoscaling:DescribeLaunchConfigurations", &["*"])])
                .when(BY_USE),
            Call::read(
                "ec2:DescribeImageAttribute",
                &[Grant::new("ec2:DescribeImageAttribute", &["arn:${Partition}:ec2:${Region}::image/*"])],
            )
            .when(When::With(&["shared"])),
        ],
        rules: &[
            Rule::AtMostOne(&["image_ids", "owner"]),
            Rule::AtMostOne(&["owner", "shared"]),
            Rule::AtMostOne(&["unused", "in_use"]),
            Rule::AtMostOne(&["encrypted", "unencrypted"]),
        ],
        examples: &[
            Example {
                title: "List all images of the account",
                input: "{}",
                output: r#"["ami-0123456789abcdef0"]"#,
                given: &["image ami-0123456789abcdef0"],
            },
            Example {
                title: "List the images older than a year that AWS Backup does not keep",
                input: r#"{"exclude_aws_backup": true, "created_before": "365d"}"#,
                output: "[]",
                given: &["image ami-0123456789abcdef0"],
            },
            Example {
                title: "List the images that nothing uses",
                input: r#"{"unused": true}"#,
                output: r#"["ami-0123456789abcdef0"]"#,
                given: &["image ami-0123456789abcdef0"],
            },
        ],
        notes: &[
            "An account's setting of allowed images hides no image of its own.",
            "An instance goes on when the image that it was launched from is deregistered; such an image is not listed any more.",
            "EC2 tells what uses images ten at a time, and looks at all versions of launch templates; launch configurations are listed by Auto Scaling. What other \
             accounts do with an image that is shared with them is not seen. An image of which EC2 does not tell is neither used nor unused, and reported as failed.",
            "When an image was last used is told with `details`; EC2 is a day behind with it, and knows nothing of the time before 2017.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["ImageId"];

    const OVERVIEW: &'static [Check] = &[Check {
        title: "Images that are shared with everyone",
        input: r#"{"public": true, "details": true}"#,
        since: Some("CreationDate"),
        mend: None,
    }];

    type Output = Listing<Row<ImageDetails>>;

    async fn run(self, cx: &Context) -> Result<Listing<Row<ImageDetails>>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverImages);

impl DiscoverImages {
    async fn list(mut self, cx: &Context, mut out: Out<Row<ImageDetails>>) -> Result<()> {
        let now = cx.now();
        // A filter without a value must not be sent, and nothing has no state.
        if self.states.as_ref().is_some_and(Vec::is_empty) || self.common(now).is_nothing() {
            return Ok(());
        }
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let mut found: BoxStream<'_, Result<Image>> = match self.image_ids.take() {
            Some(ids) => stream::iter(lookup::given::<Image>(cx, &ec2, ids).await?.into_iter().map(Ok)).boxed(),
            None => Image::list_of(self.owner.as_deref().unwrap_or("self"), &ec2, self.filters(now)),
        };
        let asks = self.unused || self.in_use || self.shared;
        let mut candidates = Vec::new();
        while let Some(image) = found.try_next().await? {
            if !self.matches(&image, now) {
                continue;
            }
            if asks {
                candidates.push(image);
            } else {
                let row = self.row(&image, now);
                out.send(row).await?;
            }
        }
        // What uses images is looked at behind their listing: an image that is made meanwhile, with what uses it, is not listed, and none is taken for unused
        // by a look that is older than itself. What begins to use one behind that look is seen by `delete_images`, which looks again.
        if self.unused || self.in_use {
            candidates = self.by_use(cx, &ec2, candidates).await?;
        }
        if self.shared {
            candidates = only_shared(cx, &ec2, candidates).await?;
        }
        for image in candidates {
            let row = self.row(&image, now);
            out.send(row).await?;
        }
        Ok(())
    }

    fn row(&self, image: &Image, now: Timestamp) -> Row<ImageDetails> {
        Row::of(self.details, image.id(), || ImageDetails::of(image, now))
    }

    fn common(&self, now: Timestamp) -> Common<'_> {
        Common {
            tags: self.tags.as_deref(),
            missing_tags: self.missing_tags.as_deref(),
            name: self.name.as_ref(),
            older_than: self.older_than,
            now,
        }
    }

    fn filters(&self, now: Timestamp) -> Vec<Filter> {
        let mut filters = Vec::new();
        if self.public {
            filters.push(lookup::filter("is-public", ["true"]));
        }
        if let Some(states) = &self.states {
            filters.push(lookup::filter("state", states.iter().map(|s| s.word())));
        }
        if let Some(name) = self.name.as_ref().filter(|name| selecting::is_plain(name.as_str())) {
            filters.push(lookup::filter("name", [name.as_str()]));
        }
        filters.extend(self.common(now).filters());
        filters
    }

    fn matches(&self, image: &Image, now: Timestamp) -> bool {
        // A date that cannot be read is neither before nor after anything.
        let created = images::created(image);
        let in_state = |states: &Vec<State>| states.iter().any(|s| image.state().is_some_and(|is| is.as_str() == s.word()));
        self.common(now).is_met_by(image.tags(), image.name(), created)
            && selecting::is_as_encrypted(self.encrypted, self.unencrypted, images::is_encrypted(image))
            && selecting::is_between(self.larger_than, self.smaller_than, images::size(image))
            && self.states.as_ref().is_none_or(in_state)
            && (!self.public || image.public() == Some(true))
            && !(self.exclude_aws_backup && related::kept_by_backup(image.tags(), image.description()).is_some())
            && self.created_before.is_none_or(|before| created.is_some_and(|c| c < before.timestamp()))
            && self.created_after.is_none_or(|after| created.is_some_and(|c| c >= after.timestamp()))
    }

    /// Those that something uses, or that nothing uses. Of which that is not known is reported, and is neither.
    async fn by_use(&self, cx: &Context, ec2: &Client, mut images: Vec<Image>) -> Result<Vec<Image>> {
        if images.is_empty() {
            return Ok(images);
        }
        let ids: Vec<String> = images.iter().map(|image| image.id().to_owned()).collect();
        let (used, configured) = futures::try_join!(references::used(cx, ec2, &ids), in_configurations(cx))?;
        for (id, why) in &used.unknown {
            // One that a launch configuration names is used, whatever else is not known.
            if !configured.contains(id) && !used.ids.contains(id) {
                cx.record_failure(id, why);
            }
        }
        images.retain(|image| match used.ids.contains(image.id()) || configured.contains(image.id()) {
            true => self.in_use,
            false => self.unused && !used.unknown.contains_key(image.id()),
        });
        Ok(images)
    }
}

/// The images that launch configurations name.
async fn in_configurations(cx: &Context) -> Result<HashSet<String>> {
    let autoscaling = aaws::client!(cx, aws_sdk_autoscaling);
    let request = autoscaling.describe_launch_configurations().max_records(CONFIGURATIONS);
    let mut listed = listing!(request, "launch configurations", set_next_token, next_token, launch_configurations);
    let mut named = HashSet::new();
    while let Some(configuration) = listed.try_next().await? {
        named.extend(configuration.image_id().map(str::to_owned));
    }
    Ok(named)
}

/// Those that are shared with anybody. Of which that is not known is reported.
async fn only_shared(cx: &Context, ec2: &Client, images: Vec<Image>) -> Result<Vec<Image>> {
    let asked: Vec<_> = images.into_iter().map(|image| with_shares(ec2.clone(), image)).collect();
    let mut asked = stream::iter(asked).buffered(cx.concurrency());
    let mut shared = Vec::new();
    while let Some((image, with)) = asked.next().await {
        match with {
            Ok(with) if with.is_empty() => {}
            Ok(_) => shared.push(image),
            Err(e) if e.is_fatal() => return Err(e),
            Err(e) => cx.record_failure(image.id(), &e),
        }
    }
    Ok(shared)
}

/// An image, and whom it is shared with.
async fn with_shares(ec2: Client, image: Image) -> (Image, Result<Vec<String>>) {
    let with = references::shared_with(&ec2, &image).await;
    (image, with)
}
