use std::pin::pin;
use std::sync::Arc;

use aaws::{
    AccountId, Action, Call, Context, Effect, Error, Example, Grant, Listing, Meta, Moment, Next, Out, Page, Result, Rule, async_trait,
    pages,
};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{EncodingType, Object};
use futures::{TryStreamExt, future};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bucket::{Bucket, CREATE_SESSION, Decoder, explain};
use super::names::{BucketName, Key, Prefix};

/// List the objects of an S3 bucket.
///
/// Prints the keys in the order of their UTF-8 bytes, a page at a time as S3 gives them: memory does not grow with the bucket. Only current
/// versions are listed; what a delete marker hides is not.
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
        Ok(Listing::produce(cx, |_, out| self.list(bucket, out)))
    }
}

aaws::register!(DiscoverObjects);

impl DiscoverObjects {
    /// Asks for the next page while the last one is read.
    async fn list(self, bucket: Bucket, mut out: Out<ObjectRow>) -> Result<()> {
        let this = Arc::new(self);
        let (asker, what) = (Arc::clone(&this), format!("the objects of the bucket `{}`", bucket.name));
        let mut pages = pin!(pages(what, move |token| Arc::clone(&asker).page(bucket.clone(), token)));
        let mut page = pages.try_next().await?;
        while let Some(answers) = page {
            let (next, sent) = future::join(pages.try_next(), this.send(answers, &mut out)).await;
            sent?;
            page = next?;
        }
        Ok(())
    }

    async fn send(&self, answers: Vec<ListObjectsV2Output>, out: &mut Out<ObjectRow>) -> Result<()> {
        for answer in &answers {
            let decode = Decoder::of(answer.encoding_type());
            for object in answer.contents() {
                if self.in_time(object.last_modified()) {
                    out.send(self.found(object, decode)).await?;
                }
            }
        }
        Ok(())
    }

    /// One page, as S3 gave it. It is read on a thread of its own.
    async fn page(self: Arc<Self>, bucket: Bucket, token: Option<String>) -> Result<Page<ListObjectsV2Output, String>> {
        let answer = tokio::spawn(async move {
            let answer = bucket.send(|s3| {
                let request = s3.list_objects_v2().bucket(&bucket.name).encoding_type(EncodingType::Url);
                let request = request.set_prefix(self.prefix.clone().map(String::from));
                let request = request.set_start_after(self.start_after.clone().map(String::from));
                let request = request.set_continuation_token(token.clone()).set_request_payer(bucket.payer.clone());
                request.set_expected_bucket_owner(bucket.owner.clone()).send()
            });
            explain(answer.await, || format!("list the objects of the bucket `{}`", bucket.name))
        });
        let answer = answer.await.map_err(|e| Error::Failed(format!("listing the bucket failed: {e}")))??;
        let token = answer.next_continuation_token().filter(|token| !token.is_empty()).map(str::to_owned);
        let next = Next::truncated(answer.is_truncated(), token);
        Ok(Page { items: vec![answer], next })
    }

    fn in_time(&self, modified: Option<&DateTime>) -> bool {
        // S3 gives a date for every object; one without is not known to be in any span of time.
        let Some(modified) = modified else { return self.modified_after.is_none() && self.modified_before.is_none() };
        let modified = modified.as_nanos();
        let at = |moment: Moment| moment.timestamp().as_nanosecond();
        self.modified_after.is_none_or(|after| modified >= at(after)) && self.modified_before.is_none_or(|before| modified < at(before))
    }

    fn found(&self, object: &Object, decode: Decoder) -> ObjectRow {
        let key = decode.text(object.key().unwrap_or_default());
        if self.details {
            return ObjectRow::Details(Details {
                key,
                size: object.size().unwrap_or_default(),
                last_modified: object.last_modified().and_then(|d| d.fmt(DateTimeFormat::DateTime).ok()),
                etag: object.e_tag().map(str::to_owned),
                storage_class: object.storage_class().map(|c| c.as_str().to_owned()),
            });
        }
        ObjectRow::Key(if self.name_only { name(&key).to_owned() } else { key })
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
