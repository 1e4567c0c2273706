use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aaws::{
    AccountId, Action, Age, Call, ChangeOne, Context, Effect, Example, FailedItems, Grant, Meta, Next, Outcome, Page, Result, async_trait,
    paged,
};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{EncodingType, MultipartUpload};
use futures::{Stream, TryStreamExt};
use schemars::JsonSchema;
use serde::Deserialize;

use super::bucket::{Bucket, CREATE_SESSION, Decoder, explain};
use super::listing::OnlyWhole;
use super::names::{BucketName, Prefix};

/// Delete multipart uploads that were begun and never completed.
///
/// The parts of such an upload are in no listing of objects, cannot be read, and are billed until the upload is completed or aborted. Uploads that
/// are younger than `older_than` are left alone: they may be under way. The uploads that could not be deleted are printed, each as
/// `KEY?uploadId=ID`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteIncompleteUploads {
    /// Name of the S3 bucket to delete uploads from.
    pub bucket: BucketName,
    /// Only uploads of keys that begin with this. It is taken as it stands: no slash is added.
    pub prefix: Option<Prefix>,
    /// Only uploads that were begun longer ago than this.
    #[serde(default = "week")]
    pub older_than: Age,
    /// Agree to pay for the requests, for a bucket that makes requesters pay.
    #[serde(default)]
    pub request_payer: bool,
    /// Fail unless the bucket belongs to this account.
    pub expected_bucket_owner: Option<AccountId>,
}

fn week() -> Age {
    Age::days(7)
}

impl Default for DeleteIncompleteUploads {
    fn default() -> Self {
        let bucket = BucketName::default();
        DeleteIncompleteUploads { bucket, prefix: None, older_than: week(), request_payer: false, expected_bucket_owner: None }
    }
}

#[async_trait]
impl Action for DeleteIncompleteUploads {
    const META: Meta = Meta {
        path: "s3/delete_incomplete_uploads",
        effect: Effect::Delete,
        calls: &[
            Call::read("s3:ListMultipartUploads", &[Grant::new("s3:ListBucketMultipartUploads", &["arn:${Partition}:s3:::${bucket}"])]),
            Call::write(
                "s3:AbortMultipartUpload",
                &[Grant::new("s3:AbortMultipartUpload", &["arn:${Partition}:s3:::${bucket}/${prefix}*"])],
            ),
            CREATE_SESSION,
        ],
        rules: &[],
        examples: &[Example {
            title: "Delete what was begun a month ago in `example-bucket`, and is not completed yet",
            input: r#"{"bucket": "example-bucket", "older_than": "30d"}"#,
            output: "[]",
            given: &["upload backups/disk.img"],
        }],
        notes: &[
            "A part that is being sent while its upload is aborted may be stored all the same: run it again when nothing is uploading any more.",
            "A lifecycle rule, AbortIncompleteMultipartUpload, does the same every day.",
            "In a directory bucket `prefix` has to end in a slash.",
        ],
    };

    type Output = FailedItems;

    async fn run(self, cx: &Context) -> Result<FailedItems> {
        let bucket = Bucket::new(cx, &self.bucket, self.expected_bucket_owner.as_ref(), self.request_payer)?;
        let begun_before = self.older_than.before(cx.begun());
        let uploads = uploads(bucket.clone(), self.prefix.map(String::from));
        let young = Arc::<AtomicU64>::default();
        let passed_over = Arc::clone(&young);
        // One whose date is not known is not known to be old.
        let old = uploads.try_filter(move |upload| {
            let is_old = upload.initiated.is_some_and(|begun| begun_before > begun);
            passed_over.fetch_add(u64::from(!is_old), Ordering::Relaxed);
            std::future::ready(is_old)
        });
        Ok(cx.change_each(old, Abort { bucket, young }).await?.failed())
    }
}

aaws::register!(DeleteIncompleteUploads);

/// An upload that is not completed.
struct Upload {
    key: String,
    id: String,
    initiated: Option<DateTime>,
}

/// The uploads of a bucket as they are read, by key and then by when they were begun.
fn uploads(bucket: Bucket, prefix: Option<String>) -> impl Stream<Item = Result<Upload>> + Send + 'static {
    paged("the uploads", move |marker: Option<(String, Option<String>)>| {
        let (bucket, prefix) = (bucket.clone(), prefix.clone());
        async move {
            let (key_marker, id_marker) = marker.map_or((None, None), |(key, id)| (Some(key), id));
            let answer = bucket.send(|s3| {
                let request = s3.list_multipart_uploads().bucket(&bucket.name).encoding_type(EncodingType::Url).set_prefix(prefix.clone());
                let request = request.set_key_marker(key_marker.clone()).set_upload_id_marker(id_marker.clone());
                let request = request.set_request_payer(bucket.payer.clone()).set_expected_bucket_owner(bucket.owner.clone());
                request.customize().interceptor(OnlyWhole).send()
            });
            let answer = explain(answer.await, || format!("list the uploads to the bucket `{}`", bucket.name))?;
            let decode = Decoder::of(answer.encoding_type());
            // Both markers, or the rest of a key's uploads would be left out.
            let marker = answer.next_key_marker().map(|key| (decode.text(key), answer.next_upload_id_marker().map(str::to_owned)));
            let upload = |upload: &MultipartUpload| {
                Some(Upload { key: decode.text(upload.key()?), id: upload.upload_id()?.to_owned(), initiated: upload.initiated().copied() })
            };
            // A store that does not know of prefixes lists all, and all of it is not what was asked for.
            let asked = |upload: &Upload| prefix.as_deref().is_none_or(|prefix| upload.key.starts_with(prefix));
            let items = answer.uploads().iter().filter_map(upload).filter(asked).collect();
            Ok(Page { items, next: Next::truncated(answer.is_truncated(), marker) })
        }
    })
}

struct Abort {
    bucket: Bucket,
    /// How many uploads were listed by now that are not old.
    young: Arc<AtomicU64>,
}

#[async_trait]
impl ChangeOne for Abort {
    type Item = Upload;
    type Done = ();

    fn id(&self, upload: &Upload) -> String {
        format!("{}?uploadId={}", upload.key, upload.id)
    }

    fn summary(&self) -> String {
        format!("delete incomplete uploads from the bucket `{}`", self.bucket.name)
    }

    fn passed_over(&self) -> u64 {
        self.young.load(Ordering::Relaxed)
    }

    fn plan(&self, upload: &Upload) -> Option<String> {
        let begun = upload.initiated?.fmt(DateTimeFormat::DateTime).ok()?;
        Some(format!("begun {begun}; its size is not known: S3 does not say it"))
    }

    async fn apply(&self, _: &Context, upload: &Upload) -> Result<Outcome> {
        let bucket = &self.bucket;
        let answer = bucket.send(|s3| {
            let request = s3.abort_multipart_upload().bucket(&bucket.name).key(&upload.key).upload_id(&upload.id);
            request.set_request_payer(bucket.payer.clone()).set_expected_bucket_owner(bucket.owner.clone()).send()
        });
        match explain(answer.await, || format!("delete an upload of `{}`", upload.key.escape_debug())) {
            Err(e) if e.code() == Some("NoSuchUpload") => Ok(Outcome::Unchanged("it was completed or aborted meanwhile".into())),
            answer => answer.map(|_| Outcome::done(())),
        }
    }
}
