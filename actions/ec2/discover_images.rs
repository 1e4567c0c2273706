use aaws::{Action, Context, Effect, Example, Items, Listing, Meta, Moment, Out, Result, async_trait};
use aws_sdk_ec2::types::{Filter, Image};
use futures::TryStreamExt;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use super::lookup::{self, DESCRIBE_IMAGES, Resource};
use super::related;

/// List the images (AMIs) of the account, with filters.
///
/// All filters have to match. The ids are printed as EC2 lists them, or in the order of `image_ids`. Disabled and deprecated images are listed like
/// any other. Ids that do not exist are reported as failed, and the rest is answered all the same.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverImages {
    /// Only these images. An empty list is no image.
    pub image_ids: Option<Items<String>>,
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
}

#[async_trait]
impl Action for DiscoverImages {
    const META: Meta = Meta {
        path: "ec2/discover_images",
        effect: Effect::Read,
        calls: &[DESCRIBE_IMAGES],
        rules: &[],
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
        ],
        notes: &[
            "An account's setting of allowed images hides no image of its own.",
            "An instance goes on when the image that it was launched from is deregistered; such an image is not listed any more.",
        ],
    };

    type Output = Listing<String>;

    async fn run(self, cx: &Context) -> Result<Listing<String>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverImages);

impl DiscoverImages {
    async fn list(mut self, cx: &Context, mut out: Out<String>) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        if let Some(ids) = self.image_ids.take() {
            for image in lookup::given::<Image>(cx, &ec2, ids).await? {
                if self.matches(&image) {
                    out.send(image.id().to_owned()).await?;
                }
            }
            return Ok(());
        }
        let mut images = Image::list(&ec2, self.filters());
        while let Some(image) = images.try_next().await? {
            if self.matches(&image) {
                out.send(image.id().to_owned()).await?;
            }
        }
        Ok(())
    }

    fn filters(&self) -> Vec<Filter> {
        if self.public { vec![lookup::filter("is-public", ["true"])] } else { Vec::new() }
    }

    fn matches(&self, image: &Image) -> bool {
        // A date that cannot be read is neither before nor after anything.
        let created = image.creation_date().and_then(|d| d.parse::<Timestamp>().ok());
        (!self.public || image.public() == Some(true))
            && !(self.exclude_aws_backup && related::kept_by_backup(image.tags(), image.description()).is_some())
            && self.created_before.is_none_or(|before| created.is_some_and(|c| c < before.timestamp()))
            && self.created_after.is_none_or(|after| created.is_some_and(|c| c >= after.timestamp()))
    }
}
