use std::pin::pin;

use aaws::{AccountId, Action, Call, Context, Effect, Example, Grant, Listing, Meta, Moment, Out, Result, Rule, async_trait};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use futures::{TryStreamExt, future};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bucket::{Bucket, CREATE_SESSION};
use super::names::{BucketName, Key, Prefix};
use super::walk::{self, Found, Order, Walk};

/// List the objects of an S3 bucket.
///
/// Prints the keys in the order of their UTF-8 bytes; memory does not grow with the bucket. A large bucket is listed from several places at once, as
/// many as `--concurrency` allows, for up to a quarter more requests than there are pages of 1,000 keys. Only current versions are listed; what a
/// delete marker hides is not.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverObjects {
    /// Name of the S3 bucket to list.
    pub bucket: BucketName,
    /// Only keys that begin with this. It is taken as it stands: no slash is added.
    pub prefix: Option<Prefix>,
    /// Only objects last modified before this instant. It is not included.
    pub modified_before: Option<Moment>,
    /// Only objects last modified at or after this instant.
    pub modified_after: Option<Moment>,
    /// Print only what follows the last slash of each key. Such names may repeat, and are no keys: do not delete by them.
    #[serde(default)]
    pub name_only: bool,
    /// Print key, size, date, ETag and storage class of each object.
    #[serde(default)]
    pub details: bool,
    /// Only keys after this one, in the order of their UTF-8 bytes.
    pub start_after: Option<Key>,
    /// Print keys in no order, as pages come: none waits for those before it, which may be faster.
    #[serde(default)]
    pub unordered: bool,
    /// Agree to pay for the requests, for a bucket that makes requesters pay.
    #[serde(default)]
    pub request_payer: bool,
    /// Fail unless the bucket belongs to this account.
    pub expected_bucket_owner: Option<AccountId>,
}

/// An object: its key, or with `details` what S3's listing says of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ObjectRow {
    /// The key, or with `name_only` what follows its last slash.
    Key(String),
    /// The object.
    Details(Details),
}

/// What S3's listing says of an object.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Details {
    /// The key.
    key: String,
    /// Bytes.
    size: i64,
    /// When it was last modified, RFC 3339 in UTC.
    last_modified: Option<String>,
    /// The entity tag, with its quotes, as S3 gives it.
    #[serde(rename = "ETag")]
    etag: Option<String>,
    /// Such as `STANDARD` or `GLACIER`.
    storage_class: Option<String>,
}

#[async_trait]
impl Action for DiscoverObjects {
    const META: Meta = Meta {
        path: "s3/discover_objects",
        effect: Effect::Read,
        calls: &[
            Call::read(
                "s3:ListObjectsV2",
                &[Grant::new("s3:ListBucket", &["arn:${Partition}:s3:::${bucket}"]).condition("StringLike", "s3:prefix", "${prefix}*")],
            ),
            CREATE_SESSION,
        ],
        rules: &[Rule::AtMostOne(&["name_only", "details"])],
        examples: &[
            Example {
                title: "List the objects of `example-bucket` whose keys begin with `logs/2024/`",
                input: r#"{"bucket": "example-bucket", "prefix": "logs/2024/"}"#,
                output: r#"["logs/2024/a.txt", "logs/2024/b.txt"]"#,
                given: &["logs/2024/a.txt", "logs/2024/b.txt"],
            },
            Example {
                title: "List what in `example-bucket` under `logs/` was not modified for a year",
                input: r#"{"bucket": "example-bucket", "prefix": "logs/", "modified_before": "365d"}"#,
                output: "[]",
                given: &["logs/2024/a.txt"],
            },
        ],
        notes: &[
            "Dates are instants in UTC; `modified_after` includes its instant and `modified_before` does not, as in all actions.",
            "Directory buckets list in no order, take no `start_after`, and only a prefix that ends in a slash.",
        ],
    };

    type Output = Listing<ObjectRow>;

    async fn run(self, cx: &Context) -> Result<Listing<ObjectRow>> {
        let bucket = Bucket::new(cx, &self.bucket, self.expected_bucket_owner.as_ref(), self.request_payer)?;
        Ok(Listing::produce(cx, |cx, out| self.list(cx, bucket, out)))
    }
}

aaws::register!(DiscoverObjects);

impl DiscoverObjects {
    /// Goes on listing while the last page is read.
    async fn list(self, cx: Context, bucket: Bucket, mut out: Out<ObjectRow>) -> Result<()> {
        let walk = Walk {
            bucket,
            prefix: self.prefix.clone().map(String::from),
            start_after: self.start_after.clone().map(String::from),
            order: if self.unordered { Order::Any } else { Order::Keys },
        };
        let mut pages = pin!(walk::objects(&cx, walk));
        let mut page = pages.try_next().await?;
        while let Some(objects) = page {
            let (next, sent) = future::join(pages.try_next(), self.send(objects, &mut out)).await;
            sent?;
            page = next?;
        }
        Ok(())
    }

    async fn send(&self, objects: Vec<Found>, out: &mut Out<ObjectRow>) -> Result<()> {
        for object in objects {
            if self.in_time(object.modified.as_ref()) {
                out.send(self.row(object)).await?;
            }
        }
        Ok(())
    }

    fn in_time(&self, modified: Option<&DateTime>) -> bool {
        // S3 gives a date for every object; one without is not known to be in any span of time.
        let Some(modified) = modified else { return self.modified_after.is_none() && self.modified_before.is_none() };
        let modified = modified.as_nanos();
        let at = |moment: Moment| moment.timestamp().as_nanosecond();
        self.modified_after.is_none_or(|after| modified >= at(after)) && self.modified_before.is_none_or(|before| modified < at(before))
    }

    fn row(&self, object: Found) -> ObjectRow {
        if self.details {
            return ObjectRow::Details(Details {
                key: object.key,
                size: object.size,
                last_modified: object.modified.and_then(|date| date.fmt(DateTimeFormat::DateTime).ok()),
                etag: object.etag,
                storage_class: object.class.map(|class| class.as_str().to_owned()),
            });
        }
        ObjectRow::Key(if self.name_only { name(&object.key).to_owned() } else { object.key })
    }
}

/// What follows the last slash; of a folder's marker (`a/b/`), the folder's name.
fn name(key: &str) -> &str {
    let end = key.trim_end_matches('/').len();
    let start = key[..end].rfind('/').map_or(0, |slash| slash + 1);
    &key[start..]
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_are_never_empty() {
        assert_eq!(name("a/b/c.txt"), "c.txt");
        assert_eq!(name("c.txt"), "c.txt");
        assert_eq!(name("a/b/"), "b/");
        assert_eq!(name("//"), "//");
    }
}
