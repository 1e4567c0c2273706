//! The S3 API on top of the [`Store`]: turns requests into its calls, and what it gives into answers.
//!
//! What the sandbox has no use for is accepted and ignored: encryption, request payer, expected owner, access lists.
//! Conditions that it does not know are refused: a request must never change more than it was meant to.

use futures::stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use s3s::dto::{self, ETag, ETagCondition, StreamingBlob, Timestamp};
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom};
use tokio_util::io::ReaderStream;

use super::store::{Attributes, BodyError, Listing, MAX_KEY_BYTES, Page, Part, Put, Store};

mod convert;

use convert::*;

/// The version that an object has in a bucket without versioning.
const NULL_VERSION: &str = "null";

/// The most entries that a page of a listing has, and the most keys that one request deletes.
const PAGE: usize = 1000;

/// The most parts that an upload has.
const MAX_PARTS: i32 = 10_000;

/// What S3 calls an object whose media type nobody said.
const UNKNOWN_TYPE: &str = "binary/octet-stream";

/// How much of an object is read at a time, in bytes.
const CHUNK: usize = 64 * 1024;

/// The region that the sandbox says its buckets are in.
const REGION: &str = "us-east-1";

/// The bytes that `encoding-type=url` writes otherwise than as they are. The space is not among them: it becomes `+`.
const LISTED_ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/').remove(b' ');

/// The S3 service of the sandbox.
#[derive(Debug)]
pub struct Sandbox {
    store: Store,
}

impl Sandbox {
    /// The service that keeps everything in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    async fn list(&self, bucket: &str, listing: Listing) -> S3Result<Page> {
        Ok(self.store.bucket(bucket).await?.list(listing).await?)
    }
}

#[async_trait::async_trait]
impl S3 for Sandbox {
    async fn create_bucket(&self, req: S3Request<dto::CreateBucketInput>) -> S3Result<S3Response<dto::CreateBucketOutput>> {
        let bucket = req.input.bucket;
        self.store.create_bucket(&bucket, Vec::new()).await?;
        Ok(S3Response::new(dto::CreateBucketOutput { location: Some(format!("/{bucket}")) }))
    }

    async fn head_bucket(&self, req: S3Request<dto::HeadBucketInput>) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        self.store.bucket(&req.input.bucket).await?;
        Ok(S3Response::new(dto::HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..Default::default() }))
    }

    async fn list_buckets(&self, req: S3Request<dto::ListBucketsInput>) -> S3Result<S3Response<dto::ListBucketsOutput>> {
        let prefix = req.input.prefix.unwrap_or_default();
        let buckets = self.store.buckets().await?.into_iter().filter(|(name, _)| name.starts_with(&prefix));
        let buckets = buckets.map(|(name, created)| dto::Bucket {
            bucket_region: None,
            creation_date: Some(Timestamp::from(created)),
            name: Some(name),
        });
        Ok(S3Response::new(dto::ListBucketsOutput { buckets: Some(buckets.collect()), ..Default::default() }))
    }

    async fn get_bucket_location(&self, req: S3Request<dto::GetBucketLocationInput>) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
        self.store.bucket(&req.input.bucket).await?;
        // No location is how S3 says us-east-1.
        Ok(S3Response::new(dto::GetBucketLocationOutput { location_constraint: None }))
    }

    async fn put_object(&self, req: S3Request<dto::PutObjectInput>) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let input = req.input;
        refuse_condition(input.if_match.as_ref())?;
        let put = Put {
            attributes: Attributes {
                cache_control: input.cache_control,
                content_encoding: input.content_encoding,
                ..attributes(input.content_type, input.metadata, input.storage_class)
            },
            md5: content_md5(input.content_md5.as_deref())?,
            no_overwrite: no_overwrite(input.if_none_match.as_ref())?,
        };
        let bucket = self.store.bucket(&input.bucket).await?;
        let meta = match input.body {
            Some(body) => bucket.put(&input.key, put, body).await?,
            None => bucket.put(&input.key, put, stream::empty::<Result<_, BodyError>>()).await?,
        };
        Ok(S3Response::new(dto::PutObjectOutput { e_tag: etag(meta.etag), ..Default::default() }))
    }

    async fn get_object(&self, req: S3Request<dto::GetObjectInput>) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let input = req.input;
        refuse_condition(input.if_match.as_ref().or(input.if_none_match.as_ref()))?;
        check_version(input.version_id.as_deref())?;
        let (object, mut file) = self.store.bucket(&input.bucket).await?.open(&input.key).await?;
        let (span, content_range) = match input.range {
            None => (0..object.size, None),
            Some(range) => {
                let span = range.check(object.size)?;
                let text = content_range(&span, object.size)?;
                (span, Some(text))
            }
        };
        file.seek(SeekFrom::Start(span.start)).await.map_err(S3Error::internal_error)?;
        let length = span.end - span.start;
        let body = ReaderStream::with_capacity(file.take(length), CHUNK);
        Ok(S3Response::new(dto::GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::wrap(body)),
            content_length: i64::try_from(length).ok(),
            content_range,
            content_type: Some(content_type(&object)),
            cache_control: object.meta.attributes.cache_control.clone(),
            content_encoding: object.meta.attributes.content_encoding.clone(),
            e_tag: etag(object.meta.etag),
            last_modified: Some(Timestamp::from(object.modified)),
            metadata: metadata(&object.meta.attributes),
            storage_class: object.meta.attributes.storage_class.map(dto::StorageClass::from),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<dto::HeadObjectInput>) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        let input = req.input;
        refuse_condition(input.if_match.as_ref().or(input.if_none_match.as_ref()))?;
        check_version(input.version_id.as_deref())?;
        let object = self.store.bucket(&input.bucket).await?.head(&input.key).await?;
        Ok(S3Response::new(dto::HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: size(&object),
            content_type: Some(content_type(&object)),
            cache_control: object.meta.attributes.cache_control.clone(),
            content_encoding: object.meta.attributes.content_encoding.clone(),
            e_tag: etag(object.meta.etag),
            last_modified: Some(Timestamp::from(object.modified)),
            metadata: metadata(&object.meta.attributes),
            storage_class: object.meta.attributes.storage_class.map(dto::StorageClass::from),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, req: S3Request<dto::DeleteObjectInput>) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        let input = req.input;
        check_version(input.version_id.as_deref())?;
        let etag = match &input.if_match {
            Some(ETagCondition::ETag(etag)) => Some(etag.value()),
            any => {
                refuse_condition(any.as_ref())?;
                None
            }
        };
        self.store.bucket(&input.bucket).await?.remove(&input.key, etag).await?;
        Ok(S3Response::new(dto::DeleteObjectOutput { version_id: input.version_id, ..Default::default() }))
    }

    async fn delete_objects(&self, req: S3Request<dto::DeleteObjectsInput>) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
        let input = req.input;
        let bucket = self.store.bucket(&input.bucket).await?;
        if input.delete.objects.is_empty() || input.delete.objects.len() > PAGE {
            return Err(s3_error!(MalformedXML, "Between 1 and 1000 keys can be deleted at once."));
        }
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let removed: S3Result<()> = match check_version(object.version_id.as_deref()) {
                Ok(()) => bucket.remove(&object.key, object.e_tag.as_ref().map(ETag::value)).await.map_err(S3Error::from),
                refused => refused,
            };
            match removed {
                Ok(()) => deleted.push(dto::DeletedObject { key: Some(object.key), version_id: object.version_id, ..Default::default() }),
                Err(error) => errors.push(dto::Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: error.message().map(str::to_owned),
                    version_id: object.version_id,
                }),
            }
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        Ok(S3Response::new(dto::DeleteObjectsOutput {
            deleted: (!quiet && !deleted.is_empty()).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..Default::default()
        }))
    }

    async fn list_objects(&self, req: S3Request<dto::ListObjectsInput>) -> S3Result<S3Response<dto::ListObjectsOutput>> {
        let input = req.input;
        let names = Names::asked(input.encoding_type.as_ref())?;
        let limit = page_size(input.max_keys)?;
        let prefix = input.prefix.unwrap_or_default();
        let listing = Listing { prefix: prefix.clone(), delimiter: input.delimiter.clone(), after: input.marker.clone(), limit };
        let page = self.list(&input.bucket, listing).await?;
        // S3 gives the marker only with a delimiter; without one, it is the last key of the page.
        let next_marker = page.next.as_deref().filter(|_| input.delimiter.is_some()).map(|next| names.write(next));
        Ok(S3Response::new(dto::ListObjectsOutput {
            is_truncated: Some(page.next.is_some()),
            contents: Some(page.objects.into_iter().map(|object| listed(names, object)).collect()),
            common_prefixes: Some(common_prefixes(names, &page.prefixes)),
            delimiter: input.delimiter.map(|delimiter| names.write(&delimiter)),
            encoding_type: input.encoding_type,
            marker: Some(names.write(&input.marker.unwrap_or_default())),
            max_keys: i32::try_from(limit).ok(),
            name: Some(input.bucket),
            next_marker,
            prefix: Some(names.write(&prefix)),
            ..Default::default()
        }))
    }

    async fn list_objects_v2(&self, req: S3Request<dto::ListObjectsV2Input>) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        let input = req.input;
        let names = Names::asked(input.encoding_type.as_ref())?;
        let limit = page_size(input.max_keys)?;
        let prefix = input.prefix.unwrap_or_default();
        let after = match &input.continuation_token {
            Some(token) => Some(read_token(token)?),
            None => input.start_after.clone(),
        };
        let listing = Listing { prefix: prefix.clone(), delimiter: input.delimiter.clone(), after, limit };
        let page = self.list(&input.bucket, listing).await?;
        Ok(S3Response::new(dto::ListObjectsV2Output {
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_deref().map(write_token),
            key_count: i32::try_from(page.objects.len() + page.prefixes.len()).ok(),
            contents: Some(page.objects.into_iter().map(|object| listed(names, object)).collect()),
            common_prefixes: Some(common_prefixes(names, &page.prefixes)),
            continuation_token: input.continuation_token,
            delimiter: input.delimiter.map(|delimiter| names.write(&delimiter)),
            encoding_type: input.encoding_type,
            max_keys: i32::try_from(limit).ok(),
            name: Some(input.bucket),
            prefix: Some(names.write(&prefix)),
            start_after: input.start_after.map(|start| names.write(&start)),
            ..Default::default()
        }))
    }

    async fn list_object_versions(
        &self,
        req: S3Request<dto::ListObjectVersionsInput>,
    ) -> S3Result<S3Response<dto::ListObjectVersionsOutput>> {
        let input = req.input;
        let names = Names::asked(input.encoding_type.as_ref())?;
        let limit = page_size(input.max_keys)?;
        let prefix = input.prefix.unwrap_or_default();
        if input.version_id_marker.is_some() && input.key_marker.is_none() {
            return Err(s3_error!(InvalidArgument, "A version-id marker cannot be specified without a key marker."));
        }
        // Every key has one version, so whatever the version marker says, the key marker's versions are listed already.
        let listing = Listing { prefix: prefix.clone(), delimiter: input.delimiter.clone(), after: input.key_marker.clone(), limit };
        let page = self.list(&input.bucket, listing).await?;
        Ok(S3Response::new(dto::ListObjectVersionsOutput {
            is_truncated: Some(page.next.is_some()),
            next_key_marker: page.next.as_deref().map(|next| names.write(next)),
            next_version_id_marker: page.next.as_ref().map(|_| NULL_VERSION.to_owned()),
            versions: Some(page.objects.into_iter().map(|object| listed_version(names, object)).collect()),
            common_prefixes: Some(common_prefixes(names, &page.prefixes)),
            delimiter: input.delimiter.map(|delimiter| names.write(&delimiter)),
            encoding_type: input.encoding_type,
            key_marker: Some(names.write(&input.key_marker.unwrap_or_default())),
            max_keys: i32::try_from(limit).ok(),
            name: Some(input.bucket),
            prefix: Some(names.write(&prefix)),
            version_id_marker: input.version_id_marker,
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<dto::CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
        let input = req.input;
        let attributes = Attributes {
            cache_control: input.cache_control,
            content_encoding: input.content_encoding,
            ..attributes(input.content_type, input.metadata, input.storage_class)
        };
        let id = self.store.bucket(&input.bucket).await?.create_upload(&input.key, attributes).await?;
        Ok(S3Response::new(dto::CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<dto::UploadPartInput>) -> S3Result<S3Response<dto::UploadPartOutput>> {
        let input = req.input;
        if !(1..=MAX_PARTS).contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"));
        }
        let md5 = content_md5(input.content_md5.as_deref())?;
        let bucket = self.store.bucket(&input.bucket).await?;
        let (id, key, number) = (&input.upload_id, &input.key, input.part_number);
        let part = match input.body {
            Some(body) => bucket.put_part(id, key, number, md5, body).await?,
            None => bucket.put_part(id, key, number, md5, stream::empty::<Result<_, BodyError>>()).await?,
        };
        Ok(S3Response::new(dto::UploadPartOutput { e_tag: etag(part), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
        let input = req.input;
        refuse_condition(input.if_match.as_ref())?;
        let no_overwrite = no_overwrite(input.if_none_match.as_ref())?;
        let mut parts = Vec::new();
        for part in input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default() {
            let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML, "A part has no number."))?;
            parts.push(Part { number, etag: part.e_tag.map(ETag::into_value) });
        }
        if parts.is_empty() {
            return Err(s3_error!(MalformedXML, "You must specify at least one part"));
        }
        let bucket = self.store.bucket(&input.bucket).await?;
        let meta = bucket.complete_upload(&input.upload_id, &input.key, parts, no_overwrite).await?;
        Ok(S3Response::new(dto::CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: etag(meta.etag),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<dto::AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
        let input = req.input;
        self.store.bucket(&input.bucket).await?.abort_upload(&input.upload_id, &input.key).await?;
        Ok(S3Response::new(dto::AbortMultipartUploadOutput::default()))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<dto::ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
        let input = req.input;
        let names = Names::asked(input.encoding_type.as_ref())?;
        let prefix = input.prefix.unwrap_or_default();
        // One page holds all: nobody leaves thousands of uploads behind in a sandbox.
        let uploads = self.store.bucket(&input.bucket).await?.uploads(&prefix).await?;
        let uploads = uploads.into_iter().map(|upload| dto::MultipartUpload {
            initiated: Some(Timestamp::from(upload.begun)),
            key: Some(names.write(&upload.key)),
            upload_id: Some(upload.id),
            ..Default::default()
        });
        Ok(S3Response::new(dto::ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            encoding_type: input.encoding_type,
            is_truncated: Some(false),
            prefix: Some(names.write(&prefix)),
            uploads: Some(uploads.collect()),
            ..Default::default()
        }))
    }
}
