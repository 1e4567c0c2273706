use std::future::ready;
use std::sync::Arc;

use aaws::{
    Action, Call, Check, Context, Effect, ErrorContext, Example, Glob, Grant, Listing, Meta, Next, Page, Region, Result, Row, async_trait,
    paged,
};
use aws_sdk_s3::config::{Builder, Region as SdkRegion};
use aws_sdk_s3::primitives::DateTimeFormat;
use aws_sdk_s3::types::Bucket as Listed;
use futures::{StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bucket::Bucket;
use super::bucket_settings::{self, BucketSettings};
use super::bucket_size::{self, BucketSize};
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
    /// Only buckets whose policy or access list lets everyone in, and whose public access block does not keep them out. Each bucket is asked.
    #[serde(default)]
    pub public: bool,
    /// Print of each bucket its name, its region and when it was created, rather than its name alone.
    #[serde(default)]
    pub details: bool,
    /// The same, and whether it is public, how it is encrypted and whether it keeps versions. Each bucket is asked, up to five times.
    #[serde(default)]
    pub settings: bool,
    /// The same as with `details`, and how large it is and how many objects are in it, on the newest day that CloudWatch knows of. CloudWatch is asked for
    /// 15 figures of each bucket, and bills each.
    #[serde(default)]
    pub size: bool,
}

/// What S3 and CloudWatch say of a bucket.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct BucketDetails {
    /// Its name.
    pub name: String,
    /// Where it is; stores that are not S3 may not say so.
    pub bucket_region: Option<String>,
    /// When it was created, or last changed its policy, RFC 3339 in UTC.
    pub creation_date: Option<String>,
    /// What it says itself.
    #[serde(flatten)]
    pub settings: Option<BucketSettings>,
    /// What CloudWatch says of it.
    #[serde(flatten)]
    pub size: Option<BucketSize>,
}

#[async_trait]
impl Action for DiscoverBuckets {
    const META: Meta = Meta {
        path: "s3/discover_buckets",
        effect: Effect::Read,
        calls: &[
            Call::read("s3:ListBuckets", &[Grant::new("s3:ListAllMyBuckets", &["*"])]),
            bucket_settings::BLOCK,
            bucket_settings::POLICY,
            bucket_settings::ACL,
            bucket_settings::ENCRYPTION,
            bucket_settings::VERSIONING,
            bucket_size::METRICS,
        ],
        rules: &[],
        examples: &[
            Example {
                title: "List the buckets whose names begin with `example-` and end with `-bucket`",
                input: r#"{"prefix": "example-", "name": "*-bucket"}"#,
                output: r#"["example-bucket"]"#,
                given: &[],
            },
            Example {
                title: "List those of them that are public",
                input: r#"{"prefix": "example-", "name": "*-bucket", "public": true}"#,
                output: "[]",
                given: &[],
            },
            Example {
                title: "See how `example-bucket` is set",
                input: r#"{"name": "example-bucket", "settings": true}"#,
                output: r#"[{"Name": "example-bucket", "BucketRegion": "us-east-1", "CreationDate": "2024-01-31T08:00:00Z", "IsPublic": false, "PublicAccessBlocked": true, "SSEAlgorithm": "AES256", "KMSMasterKeyID": null, "Versioning": "Unversioned", "MFADelete": "Disabled"}]"#,
                given: &[],
            },
            Example {
                title: "See how large `example-bucket` is",
                input: r#"{"name": "example-bucket", "size": true}"#,
                output: r#"[{"Name": "example-bucket", "BucketRegion": "us-east-1", "CreationDate": "2024-01-31T08:00:00Z", "BucketSizeBytes": 52428800, "NumberOfObjects": 1200, "MeasuredOn": "2024-01-31T00:00:00Z"}]"#,
                given: &[],
            },
        ],
        notes: &[
            "Directory buckets (S3 Express One Zone) are not listed: S3 has a call of its own for them.",
            "How large a bucket is S3 tells CloudWatch once a day, up to two days late: there is nothing of a new bucket yet, and nothing of an empty one. Versions \
             that are not current and the parts of incomplete uploads are counted; what S3 bills beyond that for archived and small objects is not.",
            "Where CloudWatch may not be asked, or does not say all, the figures are null; the run says so, once for each region, and exits with 3.",
            "What a bucket may not be asked is null, it is not listed as public, and the run says so and exits with 3.",
            "The public access block of the account is not looked at, nor are access points and the access lists of single objects: the first may keep out whom a \
             bucket lets in, the others may let in whom it does not.",
        ],
    };
    const IDENTITY: &'static [&'static str] = &["Name"];
    const OVERVIEW: &'static [Check] = &[Check {
        title: "Buckets that are public",
        input: r#"{"public": true, "details": true}"#,
        since: Some("CreationDate"),
        mend: None,
    }];

    type Output = Listing<Row<BucketDetails>>;

    async fn run(self, cx: &Context) -> Result<Listing<Row<BucketDetails>>> {
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
        // As many buckets are asked at once as the run has room for, and printed in the order in which they are listed.
        let (is_detailed, is_measured) = (self.details || self.settings || self.size, self.size);
        let (asked, context) = (Arc::new(self), cx.clone());
        let rows = buckets.map(move |bucket| {
            let (asked, cx) = (Arc::clone(&asked), context.clone());
            async move { asked.row(&cx, bucket?).await }
        });
        let rows = rows.buffered(cx.concurrency()).try_filter_map(|row| ready(Ok(row)));
        let rows = if is_measured {
            bucket_size::added(cx, rows, |row| (row.name.as_str(), row.bucket_region.as_deref()), |row, size| row.size = Some(size))
        } else {
            rows.boxed()
        };
        Ok(Listing::of(cx, rows.map_ok(move |row| Row::of(is_detailed, row.name.clone(), || row))))
    }
}

aaws::register!(DiscoverBuckets);

impl DiscoverBuckets {
    /// None for a bucket that is not asked for: stores that are not S3 may not know how to select.
    async fn row(&self, cx: &Context, bucket: Listed) -> Result<Option<BucketDetails>> {
        let Some(name) = bucket.name else { return Ok(None) };
        let elsewhere = |region: &Region| bucket.bucket_region.as_deref().is_some_and(|there| there != region.as_str());
        let is_wanted = self.prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix.as_str()))
            && self.name.as_ref().is_none_or(|pattern| pattern.matches(&name))
            && !self.bucket_region.as_ref().is_some_and(elsewhere);
        if !is_wanted {
            return Ok(None);
        }
        let mut settings = None;
        if self.public || self.settings {
            let there = Bucket::listed(cx, &name, bucket.bucket_region.as_deref());
            settings = Some(BucketSettings::look(cx, &there, self.settings).await?);
        }
        if self.public && settings.as_ref().and_then(|settings| settings.is_public) != Some(true) {
            return Ok(None);
        }
        Ok(Some(BucketDetails {
            name,
            bucket_region: bucket.bucket_region,
            creation_date: bucket.creation_date.and_then(|date| date.fmt(DateTimeFormat::DateTime).ok()),
            settings: settings.filter(|_| self.settings),
            size: None,
        }))
    }
}
