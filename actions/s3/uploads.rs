//! How one object is uploaded: in one request or in parts, and what is looked at when an answer is lost on the way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aaws::{Code, Context, Error, Failure, Outcome, Result, Steps, Undo, async_trait};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption, StorageClass};
use futures::stream::{self, StreamExt};
use md5::{Digest, Md5};
use tokio::sync::Notify;

use super::body::{Body, Content, hex};
use super::bucket::{Bucket, Place, explain};
use super::lost_answers::LostAnswers;
use super::stdin::{self, Begun, Next, Reader};
use super::upload_step::{MultipartUpload, StoredObject, UploadStep};

const MIB: u64 = 1 << 20;

/// Files of this many bytes and more go in parts. One PutObject takes 5 GiB at most, but a part that fails is cheaper to send again.
const MULTIPART: u64 = 16 * MIB;

/// The least size of a part; S3 takes none below 5 MiB but the last.
const PART: u64 = 8 * MIB;

/// The most parts that one upload may have (S3 user guide, multipart upload limits).
const MOST_PARTS: u64 = 10_000;

/// Parts of one file under way at once; files go side by side as well.
const PARTS_AT_ONCE: usize = 4;

/// S3's code for a condition that does not hold: with `If-None-Match: *`, that the key exists.
const PRECONDITION_FAILED: &str = "PreconditionFailed";

/// The bytes of an MD5.
const MD5_BYTES: usize = 16;

/// One object to upload, its body looked at.
pub struct Upload {
    /// Its key.
    pub key: String,
    /// Its content type.
    pub content_type: String,
    /// Its body, or why it has none.
    pub body: Result<Body, Failure>,
    /// What is at its key now, where that was looked at: a plan is bound to it.
    pub there: Option<There>,
}

/// What is at a key.
pub enum There {
    /// No object.
    Nothing,
    /// An object with this entity tag.
    Object(String),
    /// That could not be seen.
    Unknown,
}

impl There {
    /// For a plan.
    fn state(&self) -> &str {
        match self {
            There::Nothing => "none",
            There::Object(etag) => etag,
            There::Unknown => "not known",
        }
    }
}

/// How objects are stored.
pub struct How {
    /// Fail where an object exists.
    pub no_overwrite: bool,
    /// Encryption other than the bucket's default.
    pub sse: Option<ServerSideEncryption>,
    /// The KMS key to encrypt with.
    pub kms_key: Option<String>,
    /// Storage class other than the default.
    pub storage_class: Option<StorageClass>,
    /// Metadata of the user's own, by name.
    pub metadata: Option<HashMap<String, String>>,
    /// How long caches may keep it.
    pub cache_control: Option<String>,
    /// How its bytes are encoded.
    pub content_encoding: Option<String>,
}

impl How {
    /// S3 then refuses when the key exists, whoever is first.
    fn if_none_match(&self) -> Option<String> {
        self.no_overwrite.then(|| "*".to_owned())
    }
}

/// Creates objects.
pub struct Create {
    /// The bucket to create them in.
    pub bucket: Bucket,
    /// The same, for another process.
    pub place: Place,
    /// How they are stored.
    pub how: How,
}

/// What S3 says of an object that it stored.
struct Stored {
    /// How many bytes it has.
    size: u64,
    etag: Option<String>,
    version: Option<String>,
}

/// What is sent in parts.
enum Source<'a> {
    /// A file, read part by part where each is sent.
    File(&'a Content),
    /// Standard input, read as it comes.
    Read(Reader),
}

/// Parts that were all sent.
struct Parts {
    parts: Vec<CompletedPart>,
    /// How many bytes they have.
    size: u64,
}

/// What came of sending an object: it is stored, or what became of it instead.
type Sent = Result<Stored, Outcome>;

#[async_trait]
impl Steps for Create {
    type Item = Upload;
    type Done = ();
    type Step = UploadStep;

    fn id(&self, upload: &Upload) -> String {
        upload.key.clone()
    }

    fn summary(&self) -> String {
        format!("create in the bucket `{}`", self.bucket.name)
    }

    fn plan(&self, upload: &Upload) -> Option<String> {
        let body = upload.body.as_ref().ok()?;
        Some(format!("{body}, as {}", upload.content_type))
    }

    fn precheck(&self, upload: &Upload) -> Option<Outcome> {
        upload.body.as_ref().err().cloned().map(Outcome::Failed)
    }

    fn state(&self, upload: &Upload) -> Option<serde_json::Value> {
        let mut state = upload.body.as_ref().ok().map(Body::state)?;
        if let (Some(members), Some(there)) = (state.as_object_mut(), &upload.there) {
            members.insert("object".to_owned(), there.state().into());
        }
        Some(state)
    }

    async fn run(&self, cx: &Context, upload: &Upload, undo: &mut Undo<UploadStep>) -> Result<Outcome> {
        let body = match &upload.body {
            Ok(body) => body,
            Err(failure) => return Ok(Outcome::Failed(failure.clone())),
        };
        // Storing is refused by S3 where the key exists; what else answers there may replace the object (Garage 2.5 and s3rver 3.7 do).
        if self.how.no_overwrite && cx.custom_endpoint("s3") && self.bucket.head(&upload.key).await?.is_some() {
            return Ok(Outcome::Failed(Failure::permanent(PRECONDITION_FAILED, "an object of this key exists, and is kept")));
        }
        let is_new = self.is_new(cx, &upload.key).await?;
        let sent = match body {
            Body::Known(file @ Content::File { .. }) if file.size() >= MULTIPART => {
                self.put_parts(cx, upload, Source::File(file), undo).await?
            }
            Body::Known(content) => self.put(upload, content).await?,
            Body::Stdin => self.put_stdin(cx, upload, undo).await?,
        };
        match sent {
            Ok(stored) => {
                let said = match body {
                    Body::Known(content) => content.to_string(),
                    Body::Stdin => format!("{body}, {} bytes", stored.size),
                };
                if is_new {
                    self.note_stored(cx, &upload.key, stored).await;
                }
                Ok(Outcome::Done((), Some(said)))
            }
            Err(outcome) => Ok(outcome),
        }
    }
}

impl Create {
    fn creating(&self, key: &str) -> String {
        format!("create `{key}` in the bucket `{}`", self.bucket.name)
    }

    /// Whether there is surely nothing before: that matters to whoever undoes the run, and is looked at only where somebody can.
    async fn is_new(&self, cx: &Context, key: &str) -> Result<bool> {
        if !cx.keeps_journal() {
            return Ok(false);
        }
        // Then S3 stores nothing but what is new.
        if self.how.no_overwrite {
            return Ok(true);
        }
        match self.bucket.head(key).await {
            Ok(seen) => Ok(seen.is_none()),
            Err(e) if e.is_fatal() => Err(e),
            Err(e) => {
                tracing::debug!("{e}; whether it is new is not known, and undoing the run would leave it");
                Ok(false)
            }
        }
    }

    /// Notes an object that is new. Its ETag and version are known only now.
    async fn note_stored(&self, cx: &Context, key: &str, stored: Stored) {
        let Some(etag) = stored.etag else { return };
        let object = StoredObject { place: self.place.clone(), key: key.to_owned(), etag, version: stored.version };
        if let Err(e) = cx.note_made(key, &UploadStep::Object(object)).await {
            // It is stored all the same; nothing is sent behind it, because that could not be noted either.
            tracing::error!("{e}");
        }
    }

    /// Standard input: in one request where it is short, otherwise in parts.
    async fn put_stdin(&self, cx: &Context, upload: &Upload, undo: &mut Undo<UploadStep>) -> Result<Sent> {
        match stdin::begin(cx).await? {
            Begun::Whole(bytes) => self.put(upload, &Content::Read(bytes)).await,
            Begun::Long(reader) => self.put_parts(cx, upload, Source::Read(reader), undo).await,
            Begun::Stopped => {
                let why = "the run was stopped before it was known how long standard input is";
                Ok(Err(Outcome::Failed(Failure::permanent(Code::Interrupted, why))))
            }
        }
    }

    async fn put(&self, upload: &Upload, body: &Content) -> Result<Sent> {
        // A body can be sent once; sent away to another region, the request is made again from what the file still holds.
        let again = body.part(0, body.size()).await?.into_inner();
        let lost = LostAnswers::default();
        let answer = self.bucket.send(|s3| {
            let body = again.try_clone().unwrap_or_else(SdkBody::taken);
            let request =
                s3.put_object().bucket(&self.bucket.name).key(&upload.key).body(ByteStream::new(body)).content_type(&upload.content_type);
            let request = request.set_if_none_match(self.how.if_none_match()).set_server_side_encryption(self.how.sse.clone());
            let request = request.set_ssekms_key_id(self.how.kms_key.clone()).set_storage_class(self.how.storage_class.clone());
            let request = request.set_metadata(self.how.metadata.clone()).set_cache_control(self.how.cache_control.clone());
            let request = request.set_content_encoding(self.how.content_encoding.clone());
            let request = request.set_request_payer(self.bucket.payer.clone()).set_expected_bucket_owner(self.bucket.owner.clone());
            request.customize().interceptor(lost.clone()).send()
        });
        match explain(answer.await, || self.creating(&upload.key)) {
            Ok(done) => Ok(Ok(Stored { size: body.size(), etag: done.e_tag, version: done.version_id })),
            // What is in the way may be what an attempt before stored, whose answer was lost.
            Err(error) if lost.any() && error.code() == Some(PRECONDITION_FAILED) => {
                let etag = body.md5().await?;
                self.judge(upload, body.size(), Some(etag), error).await
            }
            Err(error) => Err(error),
        }
    }

    async fn put_parts(&self, cx: &Context, upload: &Upload, source: Source<'_>, undo: &mut Undo<UploadStep>) -> Result<Sent> {
        let answer = self.bucket.send(|s3| {
            let request = s3.create_multipart_upload().bucket(&self.bucket.name).key(&upload.key).content_type(&upload.content_type);
            let request = request.set_server_side_encryption(self.how.sse.clone()).set_ssekms_key_id(self.how.kms_key.clone());
            let request = request.set_storage_class(self.how.storage_class.clone()).set_request_payer(self.bucket.payer.clone());
            let request = request.set_metadata(self.how.metadata.clone()).set_cache_control(self.how.cache_control.clone());
            let request = request.set_content_encoding(self.how.content_encoding.clone());
            request.set_expected_bucket_owner(self.bucket.owner.clone()).send()
        });
        let begun = explain(answer.await, || self.creating(&upload.key))?;
        let Some(upload_id) = begun.upload_id else {
            return Err(Error::Failed(format!("cannot {}: S3 began the upload without an id", self.creating(&upload.key))));
        };
        let begun = MultipartUpload { place: self.place.clone(), key: upload.key.clone(), upload_id };
        undo.note(UploadStep::Parts(begun.clone())).await?;
        // Whatever ends this process, even at once: its parts are billed until somebody aborts it.
        tracing::info!("began {begun}");
        let sent = match source {
            Source::File(file) => self.send_parts(cx, upload, file, &begun.upload_id).await?,
            Source::Read(reader) => self.send_read(cx, upload, reader, &begun.upload_id).await?,
        };
        let Some(Parts { parts, size }) = sent else { return Ok(Err(stopped(&begun))) };
        let etag = etag_of_parts(&parts);
        let whole = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let lost = LostAnswers::default();
        let answer = self.bucket.send(|s3| {
            let request = s3.complete_multipart_upload().bucket(&self.bucket.name).key(&upload.key).upload_id(&begun.upload_id);
            let request = request.multipart_upload(whole.clone()).set_if_none_match(self.how.if_none_match());
            let request = request.set_request_payer(self.bucket.payer.clone()).set_expected_bucket_owner(self.bucket.owner.clone());
            request.customize().interceptor(lost.clone()).send()
        });
        let error = match explain(answer.await, || self.creating(&upload.key)) {
            Ok(done) => {
                undo.clear();
                return Ok(Ok(Stored { size, etag: done.e_tag, version: done.version_id }));
            }
            Err(error) => error,
        };
        // Completed twice, an upload is not there any more, or its own object is in the way.
        let second = lost.any() && matches!(error.code(), Some("NoSuchUpload" | PRECONDITION_FAILED));
        if second || error.is_ambiguous() {
            let judged = self.judge(upload, size, etag, error).await?;
            if judged.is_ok() {
                undo.clear();
            }
            return Ok(judged);
        }
        if is_unsent(&error) && cx.cancellation().is_cancelled() {
            return Ok(Err(stopped(&begun)));
        }
        Err(error)
    }

    /// All parts, or none when the run was stopped before. What is on its way when one fails, or when the run is stopped, is brought to its end, so
    /// that no part arrives after the upload was aborted.
    async fn send_parts(&self, cx: &Context, upload: &Upload, file: &Content, upload_id: &str) -> Result<Option<Parts>> {
        let (whole, size) = (file.size(), part_size(file.size()));
        let failed = AtomicBool::new(false);
        let stop = &failed;
        let parts = (0..whole.div_ceil(size)).map(move |index| async move {
            if stop.load(Ordering::Relaxed) || cx.cancellation().is_cancelled() {
                return Ok(None);
            }
            let offset = index * size;
            // A part's number fits: there are at most ten thousand.
            let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
            let part = match file.part(offset, size.min(whole - offset)).await {
                Ok(part) => self.send_part(cx, upload, upload_id, number, part.into_inner()).await,
                Err(error) => Err(error),
            };
            if part.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            part
        });
        let parts = all_parts(stream::iter(parts).buffered(PARTS_AT_ONCE).collect::<Vec<_>>().await)?;
        Ok(parts.map(|parts| Parts { parts, size: whole }))
    }

    /// The same of parts that are read one after another, while those before them are sent.
    async fn send_read(&self, cx: &Context, upload: &Upload, reader: Reader, upload_id: &str) -> Result<Option<Parts>> {
        let (failed, read) = (Notify::new(), AtomicU64::new(0));
        let (failed, read) = (&failed, &read);
        let parts = stream::unfold(Some(reader), move |reader| async move {
            let mut reader = reader?;
            let next = tokio::select! {
                biased;
                // Who waits for input must not wait when a part failed meanwhile.
                () = failed.notified() => Ok(Next::Stopped),
                next = reader.next(cx) => next,
            };
            match next {
                Ok(Next::Part(part)) => Some((Ok(Some(part)), Some(reader))),
                Ok(Next::Stopped) => Some((Ok(None), None)),
                Ok(Next::End) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed();
        let sent = parts.map(move |part: Result<Option<stdin::Part>>| async move {
            let Some(part) = part? else { return Ok(None) };
            read.fetch_add(part.bytes.len() as u64, Ordering::Relaxed);
            let sent = self.send_part(cx, upload, upload_id, part.number, SdkBody::from(part.bytes.clone())).await;
            if sent.is_err() {
                failed.notify_one();
            }
            sent
        });
        let parts = all_parts(sent.buffered(PARTS_AT_ONCE).collect::<Vec<_>>().await)?;
        Ok(parts.map(|parts| Parts { parts, size: read.load(Ordering::Relaxed) }))
    }

    /// One part, or none when the run was stopped before.
    async fn send_part(
        &self,
        cx: &Context,
        upload: &Upload,
        upload_id: &str,
        number: i32,
        again: SdkBody,
    ) -> Result<Option<CompletedPart>> {
        let answer = self.bucket.send(|s3| {
            let body = again.try_clone().unwrap_or_else(SdkBody::taken);
            let request = s3.upload_part().bucket(&self.bucket.name).key(&upload.key).upload_id(upload_id).part_number(number);
            let request = request.body(ByteStream::new(body)).set_request_payer(self.bucket.payer.clone());
            request.set_expected_bucket_owner(self.bucket.owner.clone()).send()
        });
        let what = || format!("send part {number} of `{}` to the bucket `{}`", upload.key, self.bucket.name);
        let sent = match explain(answer.await, what) {
            Err(error) if is_unsent(&error) && cx.cancellation().is_cancelled() => return Ok(None),
            answer => answer?,
        };
        // With a checksum other than the default, the completing request has to repeat it; the ETag is always asked for.
        let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).set_checksum_crc32(sent.checksum_crc32);
        Ok(Some(part.build()))
    }

    /// What an error stands for after an answer was lost: an object that holds what was sent was stored by this run.
    async fn judge(&self, upload: &Upload, size: u64, etag: Option<String>, error: Error) -> Result<Sent> {
        let bucket = &self.bucket;
        let why = match bucket.head(&upload.key).await {
            Ok(None) => return Err(error),
            Ok(Some(seen)) if seen.content_length() != i64::try_from(size).ok() => return Err(error),
            Ok(Some(seen)) if etag.is_some() && seen.e_tag().map(|tag| tag.trim_matches('"')) == etag.as_deref() => {
                return Ok(Ok(Stored { size, etag: seen.e_tag, version: seen.version_id }));
            }
            // Whose ETag is no digest of the content (S3 API reference, Object) may hold the same, or something else of this size.
            Ok(Some(seen))
                if etag.is_none() || bucket.is_directory() || seen.server_side_encryption().is_some_and(|sse| !is_plain(sse)) =>
            {
                "an object of this size is there, whose ETag does not tell what it holds".to_owned()
            }
            Ok(Some(_)) => return Err(error),
            Err(e) => e.to_string(),
        };
        let message = format!("the answer was lost, and whether it was stored is not known: {why} (then: {error})");
        Ok(Err(Outcome::Failed(Failure::permanent(Code::Unknown, message))))
    }
}

/// The run was stopped before all of it was sent; the parts that were are removed by undoing.
fn stopped(upload: &MultipartUpload) -> Outcome {
    tracing::warn!("aborting {upload}; if this process ends before that is done, its parts stay and are billed");
    Outcome::Failed(Failure::permanent(Code::Interrupted, "the run was stopped before all of its parts were sent"))
}

/// All of the parts, or none when the run was stopped before. Those behind one that failed were not begun; that one says why.
fn all_parts(sent: Vec<Result<Option<CompletedPart>>>) -> Result<Option<Vec<CompletedPart>>> {
    if sent.iter().any(Result::is_err) {
        return sent.into_iter().collect::<Result<Vec<_>>>().map(|_| None);
    }
    Ok(sent.into_iter().flatten().collect())
}

fn is_unsent(error: &Error) -> bool {
    error.code() == Some(Code::NotSent.as_str())
}

/// Whether the ETag of an object that is encrypted so is a digest of its content.
fn is_plain(sse: &ServerSideEncryption) -> bool {
    *sse == ServerSideEncryption::Aes256
}

/// The ETag of what these parts make: the MD5 of their MD5s, and how many there are. None where their ETags are no MD5s.
fn etag_of_parts(parts: &[CompletedPart]) -> Option<String> {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(unhex(part.e_tag()?.trim_matches('"'))?);
    }
    Some(format!("{}-{}", hex(&md5.finalize()), parts.len()))
}

/// The bytes of an MD5 in hexadecimal digits.
fn unhex(digits: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    if digits.len() == 2 * MD5_BYTES { (0..MD5_BYTES).map(|index| byte(2 * index)).collect() } else { None }
}

/// As small as S3's limit of parts lets it be, in whole MiB.
fn part_size(length: u64) -> u64 {
    length.div_ceil(MOST_PARTS).div_ceil(MIB).saturating_mul(MIB).max(PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_never_too_many() {
        assert_eq!(part_size(MULTIPART), PART);
        let large: u64 = 5 << 40;
        assert!(large.div_ceil(part_size(large)) <= MOST_PARTS);
    }

    #[test]
    fn the_etag_of_a_whole_is_made_of_those_of_its_parts() {
        let part = |tag: &str| CompletedPart::builder().e_tag(tag).build();
        let empty = "\"d41d8cd98f00b204e9800998ecf8427e\"";
        let md5 = hex(&Md5::digest(Md5::digest(b"")));
        assert_eq!(etag_of_parts(&[part(empty)]), Some(format!("{md5}-1")));
        assert_eq!(etag_of_parts(&[part(empty), part("not an md5")]), None);
    }
}
