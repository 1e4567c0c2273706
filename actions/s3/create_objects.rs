use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;

use aaws::{
    AccountId, Action, Call, Context, Effect, Error, ErrorContext, Example, FailedItems, Failure, Grant, Items, Meta, Outcome, Result,
    Rule, Step, Steps, Undo, When, async_trait,
};
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures::stream::{self, StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bucket::{Bucket, BucketName, CREATE_SESSION, Key, join};

const MIB: u64 = 1 << 20;

/// Files of this many bytes and more go in parts. One PutObject takes 5 GiB at most, but a part that fails is cheaper to send again.
const MULTIPART: u64 = 16 * MIB;

/// The least size of a part; S3 takes none below 5 MiB but the last.
const PART: u64 = 8 * MIB;

/// The most parts that one upload may have (S3 user guide, multipart upload limits).
const MOST_PARTS: u64 = 10_000;

/// Parts of one file under way at once; files go side by side as well.
const PARTS_AT_ONCE: usize = 4;

/// Create objects in an S3 bucket from files or text.
///
/// Each object has a key and a body. A body that names a file is uploaded as that file, any other is the text itself; `body_as` says which is
/// meant, for all or, in `BodyAs`, for one. Files are streamed, large ones in parts that are removed again when one of them fails. The content
/// type is guessed from the extension. The keys that were not created are printed, whole, in the order given.
///
/// An object that is there already is replaced, unless `no_overwrite` is given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateObjects {
    /// Name of the S3 bucket to create objects in.
    bucket: BucketName,
    /// Objects to create. An empty list creates nothing.
    objects: Items<NewObject>,
    /// Put before each key, with one slash between.
    prefix: Option<String>,
    /// What the bodies are, unless an object says otherwise.
    #[serde(default)]
    body_as: BodyAs,
    /// Fail for keys that exist already, rather than replace them.
    #[serde(default)]
    no_overwrite: bool,
    /// Encrypt with this, rather than as the bucket does by default.
    sse: Option<Encryption>,
    /// KMS key to encrypt with: id, ARN or alias.
    sse_kms_key_id: Option<String>,
    /// Storage class, such as `STANDARD_IA`; `STANDARD` by default.
    storage_class: Option<String>,
    /// Agree to pay for the requests, for a bucket that makes requesters pay.
    #[serde(default)]
    request_payer: bool,
    /// Fail unless the bucket belongs to this account.
    expected_bucket_owner: Option<AccountId>,
}

/// An object to create.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct NewObject {
    /// Its key, relative to `prefix` when that is given.
    #[serde(alias = "key")]
    key: Key,
    /// The path of a file, or text.
    #[serde(alias = "body")]
    #[schemars(extend("x-aaws-may-be-empty" = true))]
    body: String,
    /// What the body is.
    #[serde(alias = "body_as")]
    body_as: Option<BodyAs>,
    /// Its content type, rather than the one guessed.
    #[serde(alias = "content_type")]
    content_type: Option<String>,
}

/// What a body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum BodyAs {
    /// A file when there is one of that name, otherwise text.
    #[default]
    Auto,
    /// The path of a file; it fails when there is none.
    File,
    /// Text, also when there is a file of that name.
    Text,
}

/// Server-side encryption.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
enum Encryption {
    /// With keys that S3 manages.
    #[serde(rename = "AES256")]
    Aes256,
    /// With a KMS key.
    #[serde(rename = "aws:kms")]
    Kms,
    /// Twice, with a KMS key.
    #[serde(rename = "aws:kms:dsse")]
    KmsDsse,
}

const OBJECTS: &[&str] = &["arn:${Partition}:s3:::${bucket}/${prefix/}${objects.Key}"];
const LARGE: When = When::Likely("a file is of 16 MiB or more");
const KMS: When = When::With(&["sse_kms_key_id"]);
const KMS_BY_DEFAULT: When = When::Rare("the bucket encrypts by default with a customer managed KMS key");
const KMS_KEYS: &[&str] = &["arn:${Partition}:kms:${Region}:${Account}:key/*"];
const PUT: &[Grant] = &[
    Grant::new("s3:PutObject", OBJECTS),
    Grant::new("kms:GenerateDataKey", KMS_KEYS).when(KMS),
    Grant::new("kms:GenerateDataKey", KMS_KEYS).when(KMS_BY_DEFAULT),
];
const UPLOAD_PART: &[Grant] = &[
    Grant::new("s3:PutObject", OBJECTS),
    Grant::new("kms:Decrypt", KMS_KEYS).when(KMS),
    Grant::new("kms:Decrypt", KMS_KEYS).when(KMS_BY_DEFAULT),
];

#[async_trait]
impl Action for CreateObjects {
    const META: Meta = Meta {
        path: "s3/create_objects",
        effect: Effect::Create,
        calls: &[
            Call::write("s3:PutObject", PUT),
            Call::write("s3:CreateMultipartUpload", PUT).when(LARGE),
            Call::write("s3:UploadPart", UPLOAD_PART).when(LARGE),
            Call::write("s3:CompleteMultipartUpload", PUT).when(LARGE),
            Call::write("s3:AbortMultipartUpload", &[Grant::new("s3:AbortMultipartUpload", OBJECTS)])
                .when(When::Likely("the upload of a file of 16 MiB or more fails")),
            CREATE_SESSION,
        ],
        rules: &[Rule::Requires("sse_kms_key_id", "sse")],
        examples: &[
            Example {
                title: "Create `examples/object1` and `examples/object2` in `example-bucket`",
                input: r#"{"bucket": "example-bucket", "objects": [{"Key": "examples/object1", "Body": "one"}, {"Key": "examples/object2", "Body": "two"}]}"#,
                output: "[]",
                given: &[],
            },
            Example {
                title: "Create `reports/2024/a.csv` in `example-bucket` unless it exists",
                input: r#"{"bucket": "example-bucket", "prefix": "reports/2024", "objects": [{"Key": "a.csv", "Body": "day,total"}], "no_overwrite": true}"#,
                output: "[]",
                given: &[],
            },
        ],
        notes: &[
            "A mistyped path is text. Such a body is warned of; with `--body_as file` it fails.",
            "A key that is given twice is created once: the second fails, because which of the two would last is chance.",
            "The SDK does not send a key of nothing but white space: such an object fails.",
            "A body that begins with a dash is given as `--input` or in a file.",
            "AbortMultipartUpload removes the parts of an upload that failed; parts that it cannot remove are billed until a lifecycle rule does.",
        ],
    };

    type Output = FailedItems;

    async fn run(self, cx: &Context) -> Result<FailedItems> {
        let bucket = Bucket::new(cx, &self.bucket, self.expected_bucket_owner.as_ref(), self.request_payer)?;
        let (prefix, body_as) = (self.prefix, self.body_as);
        // Eight bytes for each key that was seen: the only thing here that grows with the list.
        let (hasher, mut seen) = (RandomState::new(), HashSet::new());
        let uploads = self.objects.stream().map_ok(move |object| {
            let key = join(prefix.as_deref(), object.key.as_str());
            let twice = !seen.insert(hasher.hash_one(&key));
            Upload::of(key, object, body_as, twice)
        });
        let how = How { no_overwrite: self.no_overwrite, sse: self.sse, kms_key: self.sse_kms_key_id, storage_class: self.storage_class };
        let place = MultipartUpload {
            bucket: self.bucket,
            owner: self.expected_bucket_owner,
            requester_pays: self.request_payer,
            key: String::new(),
            upload_id: String::new(),
        };
        Ok(cx.change_in_steps(uploads, Create { bucket, how, place }).await?.failed())
    }
}

aaws::register!(CreateObjects, undo = MultipartUpload);

/// One object to upload, its body looked at.
struct Upload {
    key: String,
    content_type: String,
    body: Result<Body, Failure>,
}

enum Body {
    File { path: PathBuf, length: u64 },
    Text(String),
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::File { path, length } => write!(f, "from the file `{}`, {length} bytes", path.display()),
            Body::Text(text) => write!(f, "from text, {} bytes", text.len()),
        }
    }
}

impl Upload {
    fn of(key: String, object: NewObject, all_as: BodyAs, twice: bool) -> Self {
        let body = if twice {
            Err(Failure::permanent("DuplicateKey", "the key is given more than once"))
        } else {
            Body::of(&key, object.body, object.body_as.unwrap_or(all_as))
        };
        let guess = |name: &str| mime_guess::from_path(name).first_raw().map(str::to_owned);
        let content_type = object.content_type.or_else(|| guess(&key)).or_else(|| match &body {
            Ok(Body::File { path, .. }) => guess(&path.to_string_lossy()),
            Ok(Body::Text(_)) => Some("text/plain; charset=utf-8".into()),
            Err(_) => None,
        });
        Upload { key, content_type: content_type.unwrap_or_else(|| "application/octet-stream".into()), body }
    }
}

impl Body {
    fn of(key: &str, body: String, body_as: BodyAs) -> Result<Self, Failure> {
        if body_as == BodyAs::Text {
            return Ok(Body::Text(body));
        }
        let failed = |why: &str| Failure::permanent("NoSuchFile", format!("cannot read the file `{body}`: {why}"));
        match std::fs::metadata(&body) {
            Ok(file) if file.is_file() => Ok(Body::File { path: body.into(), length: file.len() }),
            Ok(_) if body_as == BodyAs::File => Err(failed("it is not a file")),
            Err(e) if body_as == BodyAs::File => Err(failed(&e.to_string())),
            _ => {
                if looks_like_a_path(&body) {
                    tracing::warn!(
                        "`{key}`: there is no file `{body}`: its name is uploaded as text; --body_as file or text says what is meant"
                    );
                }
                Ok(Body::Text(body))
            }
        }
    }
}

/// Text is rarely one word with a slash, or with something like an extension.
fn looks_like_a_path(body: &str) -> bool {
    let extension = body
        .rsplit_once('.')
        .is_some_and(|(stem, e)| !stem.is_empty() && (1..=5).contains(&e.len()) && e.chars().all(char::is_alphanumeric));
    !body.contains(char::is_whitespace) && (body.contains(['/', '\\']) || extension)
}

/// How objects are stored.
struct How {
    no_overwrite: bool,
    sse: Option<Encryption>,
    kms_key: Option<String>,
    storage_class: Option<String>,
}

impl How {
    fn sse(&self) -> Option<aws_sdk_s3::types::ServerSideEncryption> {
        use aws_sdk_s3::types::ServerSideEncryption as Sse;
        self.sse.map(|sse| match sse {
            Encryption::Aes256 => Sse::Aes256,
            Encryption::Kms => Sse::AwsKms,
            Encryption::KmsDsse => Sse::AwsKmsDsse,
        })
    }

    /// S3 then refuses when the key exists, whoever is first.
    fn if_none_match(&self) -> Option<String> {
        self.no_overwrite.then(|| "*".to_owned())
    }

    fn storage_class(&self) -> Option<aws_sdk_s3::types::StorageClass> {
        self.storage_class.as_deref().map(Into::into)
    }
}

struct Create {
    bucket: Bucket,
    /// What is the same of each multipart upload in it.
    place: MultipartUpload,
    how: How,
}

/// What has to be undone when an upload fails.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MultipartUpload {
    bucket: BucketName,
    owner: Option<AccountId>,
    requester_pays: bool,
    key: String,
    upload_id: String,
}

impl fmt::Display for MultipartUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the multipart upload {} of `{}`", self.upload_id, self.key)
    }
}

#[async_trait]
impl Steps for Create {
    type Item = Upload;
    type Done = ();
    type Step = MultipartUpload;

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

    async fn run(&self, _: &Context, upload: &Upload, undo: &mut Undo<MultipartUpload>) -> Result<Outcome> {
        match &upload.body {
            Err(failure) => return Ok(Outcome::Failed(failure.clone())),
            Ok(Body::File { path, length }) if *length >= MULTIPART => self.put_parts(upload, path, *length, undo).await?,
            Ok(Body::File { path, length }) => {
                let read = |e| Error::Failed(format!("cannot read the file `{}`: {e}", path.display()));
                let body = ByteStream::read_from().path(path).length(Length::Exact(*length)).build().await.map_err(read)?;
                self.put(upload, body).await?;
            }
            Ok(Body::Text(text)) => self.put(upload, ByteStream::from(text.clone().into_bytes())).await?,
        }
        Ok(Outcome::Done((), upload.body.as_ref().ok().map(ToString::to_string)))
    }
}

#[async_trait]
impl Step for MultipartUpload {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let bucket = Bucket::new(cx, &self.bucket, self.owner.as_ref(), self.requester_pays)?;
        let answer = bucket.send(|s3| {
            let request = s3.abort_multipart_upload().bucket(&bucket.name).key(&self.key).upload_id(&self.upload_id);
            request.set_request_payer(bucket.payer.clone()).set_expected_bucket_owner(bucket.owner.clone()).send()
        });
        answer.await.context(|| format!("abort {self}")).map(drop)
    }
}

impl Create {
    fn creating(&self, key: &str) -> String {
        format!("create `{key}` in the bucket `{}`", self.bucket.name)
    }

    async fn put(&self, upload: &Upload, body: ByteStream) -> Result<()> {
        // A body can be sent once; sent away to another region, the request is made again from what the file still holds.
        let again = body.into_inner();
        let answer = self.bucket.send(|s3| {
            let body = again.try_clone().unwrap_or_else(aws_sdk_s3::primitives::SdkBody::taken);
            let request =
                s3.put_object().bucket(&self.bucket.name).key(&upload.key).body(ByteStream::new(body)).content_type(&upload.content_type);
            let request = request.set_if_none_match(self.how.if_none_match()).set_server_side_encryption(self.how.sse());
            let request = request.set_ssekms_key_id(self.how.kms_key.clone()).set_storage_class(self.how.storage_class());
            request.set_request_payer(self.bucket.payer.clone()).set_expected_bucket_owner(self.bucket.owner.clone()).send()
        });
        answer.await.context(|| self.creating(&upload.key)).map(drop)
    }

    async fn put_parts(&self, upload: &Upload, path: &PathBuf, length: u64, undo: &mut Undo<MultipartUpload>) -> Result<()> {
        let answer = self.bucket.send(|s3| {
            let request = s3.create_multipart_upload().bucket(&self.bucket.name).key(&upload.key).content_type(&upload.content_type);
            let request = request.set_server_side_encryption(self.how.sse()).set_ssekms_key_id(self.how.kms_key.clone());
            let request = request.set_storage_class(self.how.storage_class()).set_request_payer(self.bucket.payer.clone());
            request.set_expected_bucket_owner(self.bucket.owner.clone()).send()
        });
        let begun = answer.await.context(|| self.creating(&upload.key))?;
        let Some(upload_id) = begun.upload_id else {
            return Err(Error::Failed(format!("cannot {}: S3 began the upload without an id", self.creating(&upload.key))));
        };
        undo.note(MultipartUpload { key: upload.key.clone(), upload_id: upload_id.clone(), ..self.place.clone() }).await?;
        let size = part_size(length);
        let parts = (0..length.div_ceil(size)).map(|index| {
            let offset = index * size;
            // A part's number fits: there are at most ten thousand.
            let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
            self.put_part(upload, &upload_id, path, number, offset, size.min(length - offset))
        });
        let parts: Vec<CompletedPart> = stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await?;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let answer = self.bucket.send(|s3| {
            let request = s3.complete_multipart_upload().bucket(&self.bucket.name).key(&upload.key).upload_id(&upload_id);
            let request = request.multipart_upload(parts.clone()).set_if_none_match(self.how.if_none_match());
            request.set_request_payer(self.bucket.payer.clone()).set_expected_bucket_owner(self.bucket.owner.clone()).send()
        });
        answer.await.context(|| self.creating(&upload.key)).map(drop)
    }

    async fn put_part(&self, upload: &Upload, id: &str, path: &PathBuf, number: i32, offset: u64, length: u64) -> Result<CompletedPart> {
        let read = |e| Error::Failed(format!("cannot read the file `{}`: {e}", path.display()));
        let body =
            ByteStream::read_from().path(path).offset(offset).length(Length::Exact(length)).build().await.map_err(read)?.into_inner();
        let answer = self.bucket.send(|s3| {
            let body = body.try_clone().unwrap_or_else(aws_sdk_s3::primitives::SdkBody::taken);
            let request = s3.upload_part().bucket(&self.bucket.name).key(&upload.key).upload_id(id).part_number(number);
            let request = request.body(ByteStream::new(body)).set_request_payer(self.bucket.payer.clone());
            request.set_expected_bucket_owner(self.bucket.owner.clone()).send()
        });
        let sent = answer.await.context(|| format!("send part {number} of `{}` to the bucket `{}`", upload.key, self.bucket.name))?;
        // With a checksum other than the default, the completing request has to repeat it; the ETag is always asked for.
        let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).set_checksum_crc32(sent.checksum_crc32);
        Ok(part.build())
    }
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
    fn what_looks_like_a_path() {
        for path in ["a.csv", "./a", "/tmp/x", "reports/a", "C:\\a"] {
            assert!(looks_like_a_path(path), "{path}");
        }
        for text in ["one", "hello world.", "day,total", "1.", "a b/c", "the end.txt is near"] {
            assert!(!looks_like_a_path(text), "{text}");
        }
    }
}
