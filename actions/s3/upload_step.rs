//! What an upload leaves that can be taken away again: parts of what is not complete, and an object where there was none.

use std::fmt;

use aaws::{Context, Error, Outcome, Result, Skip, Step, async_trait, left_alone};
use aws_sdk_s3::error::SdkError;
use serde::{Deserialize, Serialize};

use super::bucket::{Bucket, Place, explain};
use super::lookups::is_same;

/// The version that S3 names where a bucket has stopped to keep versions: whatever is written next takes its place (S3 user guide, versioning).
const NULL_VERSION: &str = "null";

/// A step of an upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum UploadStep {
    /// A multipart upload was begun: it is aborted.
    Parts(MultipartUpload),
    /// An object was stored where there was none: it is deleted, while it is still this one.
    Object(StoredObject),
}

/// A multipart upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MultipartUpload {
    /// Where.
    pub place: Place,
    /// The key of the object to be.
    pub key: String,
    /// What S3 knows the upload by.
    pub upload_id: String,
}

/// An object as it was stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredObject {
    /// Where.
    pub place: Place,
    /// Its key.
    pub key: String,
    /// Its entity tag.
    pub etag: String,
    /// Its version, where the bucket keeps versions.
    pub version: Option<String>,
}

impl fmt::Display for MultipartUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the multipart upload {} of `{}`", self.upload_id, self.key)
    }
}

impl fmt::Display for UploadStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UploadStep::Parts(upload) => upload.fmt(f),
            UploadStep::Object(object) => write!(f, "create `{}`", object.key.escape_debug()),
        }
    }
}

impl MultipartUpload {
    async fn abort(&self, cx: &Context) -> Result<()> {
        let bucket = self.place.open(cx)?;
        let answer = bucket.send(|s3| {
            let request = s3.abort_multipart_upload().bucket(&bucket.name).key(&self.key).upload_id(&self.upload_id);
            request.set_request_payer(bucket.payer.clone()).set_expected_bucket_owner(bucket.owner.clone()).send()
        });
        match answer.await {
            // It was aborted before, or was completed after all.
            Err(SdkError::ServiceError(e)) if e.err().is_no_such_upload() => Ok(()),
            answer => explain(answer, || format!("abort {self}")).map(drop),
        }
    }
}

impl StoredObject {
    /// What there is to say when it is not there any more, or another object is in its place.
    async fn look(&self, bucket: &Bucket) -> Result<Option<Outcome>> {
        let Some(seen) = bucket.head(&self.key).await? else { return Ok(Some(gone())) };
        let is_other_version = matches!((&self.version, seen.version_id()), (Some(stored), Some(now)) if stored != now);
        let is_it = is_same(&self.etag, seen.e_tag()) && !is_other_version;
        Ok((!is_it).then(overwritten))
    }

    /// Deletes it while it is still this one, which S3 looks at too.
    async fn remove(&self, cx: &Context) -> Result<Outcome> {
        let bucket = self.place.open(cx)?;
        if let Some(outcome) = self.look(&bucket).await? {
            return Ok(outcome);
        }
        // A version is this object and no other, and leaves no delete marker behind.
        let version = self.version.clone().filter(|version| version != NULL_VERSION);
        let etag = version.is_none().then(|| self.etag.clone());
        let answer = bucket.send(|s3| {
            let request = s3.delete_object().bucket(&bucket.name).key(&self.key).set_version_id(version.clone()).set_if_match(etag.clone());
            request.set_request_payer(bucket.payer.clone()).set_expected_bucket_owner(bucket.owner.clone()).send()
        });
        match explain(answer.await, || format!("delete `{}` from the bucket `{}`", self.key.escape_debug(), bucket.name)) {
            Err(e) if e.code() == Some("PreconditionFailed") => Ok(overwritten()),
            Err(e) if e.code() == Some("NoSuchKey") => Ok(gone()),
            answer => answer.map(|_| Outcome::Done((), Some("it was deleted".into()))),
        }
    }
}

fn gone() -> Outcome {
    Outcome::Unchanged("it is gone already".into())
}

fn overwritten() -> Outcome {
    left_alone("it was written anew since")
}

#[async_trait]
impl Step for UploadStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        match self {
            UploadStep::Parts(upload) => upload.abort(cx).await,
            UploadStep::Object(object) => match object.remove(cx).await? {
                Outcome::Skipped(Skip { why, .. }) => Err(Error::Failed(why)),
                _ => Ok(()),
            },
        }
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        match self {
            UploadStep::Parts(_) => Ok(None),
            UploadStep::Object(object) => object.look(&object.place.open(cx)?).await,
        }
    }

    async fn revert(&self, cx: &Context) -> Result<Outcome> {
        match self {
            UploadStep::Parts(upload) => upload.abort(cx).await.map(Outcome::done),
            UploadStep::Object(object) => object.remove(cx).await,
        }
    }

    fn undoing_disrupts(&self) -> bool {
        matches!(self, UploadStep::Object(_))
    }
}
