use aaws::{
    Action, Call, Context, Effect, ErrorContext, Example, Glob, Grant, Listing, Meta, Next, Page, Region, Result, async_trait, paged,
};
use aws_sdk_s3::config::{Builder, Region as SdkRegion};
use aws_sdk_s3::primitives::DateTimeFormat;
use aws_sdk_s3::types::Bucket;
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::Prefix;

/// The most buckets on one page. S3 would take 10,000; a page of these is a hundred kilobytes.
const PAGE: i32 = 1000;

/// List the buckets of the account.
///
/// Prints the names of the general purpose buckets, of all regions unless one is given, in the order of their UTF-8 bytes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverBuckets {
    /// Only buckets whose names begin with this.
    pub prefix: Option<Prefix>,
    /// Only buckets whose names match this pattern, whole: `*` is any text, `?` one character, `[a-z]` one of these, `{a,b}` one of these texts.
    pub name: Option<Glob>,
    /// Only buckets in this region.
    pub bucket_region: Option<Region>,
    /// Print of each bucket its name, its region and when it was created.
    #[serde(default)]
    pub details: bool,
}

/// A bucket: its name, or with `details` what S3 says of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum BucketRow {
    /// The name.
    Name(String),
    /// The bucket.
    Details(BucketDetails),
}

/// What S3 says of a bucket.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct BucketDetails {
    /// Its name.
    pub name: String,
    /// Where it is; stores that are not S3 may not say so.
    pub bucket_region: Option<String>,
    /// When it was created, or last changed its policy, RFC 3339 in UTC.
    pub creation_date: Option<String>,
}

#[async_trait]
impl Action for DiscoverBuckets {
    const META: Meta = Meta {
        path: "s3/discover_buckets",
        effect: Effect::Read,
        calls: &[Call::read("s3:ListBuckets", &[Grant::new("s3:ListAllMyBuckets", &["*"])])],
        rules: &[],
        examples: &[Example {
            title: "List the buckets whose names begin with `example-` and end with `-bucket`",
            input: r#"{"prefix": "example-", "name": "*-bucket"}"#,
            output: r#"["example-bucket"]"#,
            given: &[],
        }],
        notes: &[
            "Directory buckets (S3 Express One Zone) are not listed: S3 has a call of its own for them.",
            "S3 gives no more than the names, regions and dates: sizes are in S3 Storage Lens and CloudWatch.",
        ],
    };

    type Output = Listing<BucketRow>;

    async fn run(self, cx: &Context) -> Result<Listing<BucketRow>> {
        // S3 lists the buckets of one region only where that region is asked.
        let there = self.bucket_region.as_ref().map_or(cx.region(), Region::as_str).to_owned();
        let s3 = aaws::client!(cx, aws_sdk_s3, |config: Builder| config.region(SdkRegion::new(there)));
        let (prefix, region) = (self.prefix.clone().map(String::from), self.bucket_region.clone().map(String::from));
        let buckets = paged("the buckets", move |token| {
            let request = s3.list_buckets().max_buckets(PAGE).set_prefix(prefix.clone()).set_bucket_region(region.clone());
            let request = request.set_continuation_token(token);
            async move {
                let answer = request.send().await.context(|| "list the buckets")?;
                Ok(Page { next: Next::nonempty(answer.continuation_token), items: answer.buckets.unwrap_or_default() })
            }
        });
        Ok(Listing::of(cx, buckets.try_filter_map(move |bucket| std::future::ready(Ok(self.row(bucket))))))
    }
}

aaws::register!(DiscoverBuckets);

impl DiscoverBuckets {
    /// None for a bucket that is not asked for: stores that are not S3 may not know how to select.
    fn row(&self, bucket: Bucket) -> Option<BucketRow> {
        let name = bucket.name?;
        let elsewhere = |region: &Region| bucket.bucket_region.as_deref().is_some_and(|there| there != region.as_str());
        let wanted = self.prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix.as_str()))
            && self.name.as_ref().is_none_or(|pattern| pattern.matches(&name))
            && !self.bucket_region.as_ref().is_some_and(elsewhere);
        wanted.then(|| match self.details {
            false => BucketRow::Name(name),
            true => BucketRow::Details(BucketDetails {
                name,
                bucket_region: bucket.bucket_region,
                creation_date: bucket.creation_date.and_then(|date| date.fmt(DateTimeFormat::DateTime).ok()),
            }),
        })
    }
}
