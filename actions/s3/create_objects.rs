use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use aaws::{
    AccountId, Action, Call, Code, Context, Effect, Error, Example, FailedItems, Failure, Glob, Grant, Items, LocalPath, Meta, PathOrText,
    Result, Reversible, Rule, When, async_trait,
};
use aws_sdk_s3::types::ServerSideEncryption;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{Body, Content};
use super::bucket::{Bucket, CREATE_SESSION, HEAD_BUCKET, Place, UNDONE};
use super::folder::{Folders, LocalFile};
use super::names::{BucketName, HeaderText, Key, MetadataItem, NonEmpty, Prefix, join};
use super::selection::Selection;
use super::upload_step::UploadStep;
use super::uploads::{Create, How, There, Upload};

/// Create objects in an S3 bucket from files or text.
///
/// Each object has a key and a body. The body of `--object KEY BODY` that names a file is uploaded as that file, any other is the text itself;
/// `body_as` says which is meant, for all or, in `BodyAs`, for one. A body that comes as data (JSON, a list that is read) is always text: data never
/// names files of this machine. Files are streamed, large ones in parts that are removed again when one of them fails. The content type is guessed
/// from the extension. The keys that were not created are printed, whole, in the order given.
///
/// `--object KEY -` uploads standard input, however long it is: it is sent in parts as it comes. `--from FOLDER` uploads all files below a folder, or
/// those that `include` and `exclude` select; their keys are their paths below it. What it cannot read, or name, fails and is listed like any other
/// object: unreadable files and folders, links to folders, which are not followed, and names that are not UTF-8 text.
///
/// An object that is there already is replaced, unless `no_overwrite` is given. On a terminal what exists is shown, and asked about, before it is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateObjects {
    /// Name of the S3 bucket to create objects in.
    pub bucket: BucketName,
    /// Objects to create. An empty list creates nothing.
    pub objects: Option<Items<NewObject>>,
    /// Files, and folders whose files, to create objects from, each with its path below the folder for a key, or its name alone. Only a flag names
    /// them, never JSON.
    pub from: Option<Vec<LocalPath>>,
    /// With `from`: only files whose path below the folder matches one of these patterns, whole: `*` is any text, slashes too, `?` one character,
    /// `[a-z]` one of these, `{a,b}` one of these texts.
    pub include: Option<Vec<Glob>>,
    /// With `from`: no files whose path below the folder matches one of these patterns, whole. It wins over `include`, whatever the order.
    pub exclude: Option<Vec<Glob>>,
    /// Put before each key, with a slash between unless it ends in one.
    pub prefix: Option<Prefix>,
    /// What the bodies are, unless an object says otherwise.
    #[serde(default)]
    pub body_as: BodyAs,
    /// Fail for keys that exist already, rather than replace them.
    #[serde(default)]
    pub no_overwrite: bool,
    /// Encrypt with this, rather than as the bucket does by default.
    pub sse: Option<Encryption>,
    /// KMS key to encrypt with: id, ARN or alias.
    pub sse_kms_key_id: Option<NonEmpty>,
    /// Storage class, such as `STANDARD_IA`; `STANDARD` by default.
    pub storage_class: Option<NonEmpty>,
    /// Metadata of your own, `NAME=VALUE`, for all objects. Names are stored in lower case.
    pub metadata: Option<Vec<MetadataItem>>,
    /// How long caches may keep the objects, such as `max-age=3600`.
    pub cache_control: Option<HeaderText>,
    /// How the bodies are encoded, such as `gzip`. They are uploaded as they are.
    pub content_encoding: Option<HeaderText>,
    /// Agree to pay for the requests, for a bucket that makes requesters pay.
    #[serde(default)]
    pub request_payer: bool,
    /// Fail unless the bucket belongs to this account.
    pub expected_bucket_owner: Option<AccountId>,
}

/// An object to create.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct NewObject {
    /// Its key, relative to `prefix` when that is given.
    #[serde(alias = "key")]
    pub key: Key,
    /// Text; as the flag's value also the path of a file, or `-` for standard input.
    #[serde(alias = "body")]
    #[schemars(extend("x-aaws-may-be-empty" = true))]
    pub body: PathOrText,
    /// What the body is.
    #[serde(alias = "body_as")]
    pub body_as: Option<BodyAs>,
    /// Its content type, rather than the one guessed.
    #[serde(alias = "content_type")]
    pub content_type: Option<NonEmpty>,
}

/// What a body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyAs {
    /// A file when a flag names one that is there, standard input when it is `-`, otherwise text.
    #[default]
    Auto,
    /// The path of a file, or `-`, given by a flag; it fails when there is none.
    File,
    /// Text, also when there is a file of that name.
    Text,
}

/// Server-side encryption.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub enum Encryption {
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

impl From<Encryption> for ServerSideEncryption {
    fn from(sse: Encryption) -> Self {
        match sse {
            Encryption::Aes256 => ServerSideEncryption::Aes256,
            Encryption::Kms => ServerSideEncryption::AwsKms,
            Encryption::KmsDsse => ServerSideEncryption::AwsKmsDsse,
        }
    }
}

const OBJECTS: &[&str] = &["arn:${Partition}:s3:::${bucket}/${prefix/}${objects.Key}"];
const LARGE: When = When::Likely("a file is of 16 MiB or more, or standard input of more than 8 MiB");

/// The most bytes that metadata may have, names and values together (S3 user guide, user-defined object metadata).
const METADATA: usize = 2 << 10;

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
                .when(When::Likely("the upload of a file of 16 MiB or more, or of standard input of more than 8 MiB, fails")),
            Call::read(
                "s3:HeadObject",
                &[
                    Grant::new("s3:GetObject", OBJECTS).when(When::With(&["no_overwrite"])),
                    Grant::new("s3:GetObject", OBJECTS)
                        .when(When::Rare("somebody at a terminal is asked before an object is replaced, or an answer was lost on the way")),
                    Grant::new("s3:GetObject", OBJECTS)
                        .when(When::Rare("the run keeps a journal (`--journal`), or is undone by `aaws undo`")),
                    Grant::new("s3:GetObject", OBJECTS).when(When::Rare("it is a dry run, or a plan is applied")),
                ],
            ),
            Call::write("s3:DeleteObject", &[Grant::new("s3:DeleteObject", OBJECTS), Grant::new("s3:DeleteObjectVersion", OBJECTS)])
                .when(UNDONE),
            HEAD_BUCKET.when(When::Rare("it is a dry run")),
            CREATE_SESSION,
        ],
        rules: &[
            Rule::AtLeastOne(&["objects", "from"]),
            Rule::AtMostOne(&["objects", "from"]),
            Rule::Requires("include", "from"),
            Rule::Requires("exclude", "from"),
            Rule::Requires("sse_kms_key_id", "sse"),
        ],
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
            Example {
                title: "Create `index.html` in `example-bucket` with metadata, to be kept by caches for an hour",
                input: r#"{"bucket": "example-bucket", "objects": [{"Key": "index.html", "Body": "<p>Hello</p>"}], "metadata": ["release=42"], "cache_control": "max-age=3600"}"#,
                output: "[]",
                given: &[],
            },
        ],
        notes: &[
            "A mistyped path is text. Such a body is warned of; with `--body_as file` it fails. What exists and is no regular file, or may not be read, fails.",
            "Of a folder, files that are links are followed, wherever they lead; folders that are links fail, unless `exclude` matches their path with a slash behind it. \
             Folders that are empty leave nothing.",
            "Standard input is sent in parts of 8 MiB, which grow behind every 500th, so that the 10,000 parts of an upload hold 6 TiB and more. At most 256 MiB of it are in \
             memory, of parts that are larger than that one. A store that wants all parts alike takes 4 GiB. What ends early is taken for all there is: whether the program \
             that writes it failed cannot be seen.",
            "An answer that is lost on the way does not count against an object: with `no_overwrite`, and for large files, it is looked at what is there.",
            "A store that is not S3 may replace what exists all the same: at a custom endpoint `no_overwrite` looks for each key first.",
            "A key that is given twice is created once: the second fails, because which of the two would last is chance.",
            "The SDK does not send a key of nothing but white space: such an object fails.",
            "With `--journal` it is looked whether each key is new, with one more request for each (none with `no_overwrite`). Without the permissions `s3:GetObject` and \
             `s3:ListBucket` that cannot be seen: such an object is uploaded, and `aaws undo` leaves it.",
            "A dry run and a plan look at what there is of each key, with one more request for each: an object that somebody stored or changed since the plan was made \
             is left alone. Without the permissions `s3:GetObject` and `s3:ListBucket` that cannot be seen, and is not compared.",
            "A body that begins with a dash is given as `--input` or in a file.",
            "AbortMultipartUpload removes the parts of an upload that failed; parts that it cannot remove are billed until a lifecycle rule does.",
        ],
    };

    const BINDS: &'static [&'static str] =
        &["the size of its body", "when the file of it was changed", "the ETag of the object that has its key, or that there is none"];
    const REVERSIBLE: Reversible = Reversible::Partly(
        "Of a run with `--journal`, `aaws undo` deletes the objects that were new, while they are still those that were stored. An object that replaced another one is left, \
         and listed.",
    );
    const KEEPS_JOURNAL: bool = false;

    type Output = FailedItems;

    async fn run(self, cx: &Context) -> Result<FailedItems> {
        let metadata = self.metadata.map(metadata_of).transpose()?;
        let given =
            Given::new(self.objects, self.from, Selection { include: self.include, exclude: self.exclude, ..Selection::default() })?;
        let bucket = Bucket::new(cx, &self.bucket, self.expected_bucket_owner.as_ref(), self.request_payer)?;
        if cx.dry_run() && !given.is_empty() {
            bucket.look().await?;
        }
        let (prefix, body_as) = (self.prefix, self.body_as);
        // Eight bytes for each key that was seen: the only thing here that grows with the list.
        let (hasher, mut seen) = (RandomState::new(), HashSet::new());
        let uploads = given.stream().map_ok(move |new| {
            let key = join(prefix.as_ref(), new.key());
            let twice = !seen.insert(hasher.hash_one(&key));
            new.into_upload(key, body_as, twice)
        });
        let mut uploads = uploads.boxed();
        if !self.no_overwrite && !cx.dry_run() && cx.can_ask() {
            uploads = agreed(cx, &bucket, uploads).await?;
        }
        if cx.foresees() {
            uploads = looked_at(cx, &bucket, uploads);
        }
        let how = How {
            no_overwrite: self.no_overwrite,
            sse: self.sse.map(ServerSideEncryption::from),
            kms_key: self.sse_kms_key_id.map(String::from),
            storage_class: self.storage_class.map(|class| class.as_str().into()),
            metadata,
            cache_control: self.cache_control.map(String::from),
            content_encoding: self.content_encoding.map(String::from),
        };
        let place = Place { bucket: self.bucket, owner: self.expected_bucket_owner, requester_pays: self.request_payer };
        Ok(cx.change_in_steps(uploads, Create { bucket, place, how }).await?.failed())
    }
}

aaws::register!(CreateObjects, undo = UploadStep);

/// What is to be created.
enum Given {
    Objects(Items<NewObject>),
    Files(Folders),
}

impl Given {
    /// An error where both or neither are given, or a file or folder is not there.
    fn new(objects: Option<Items<NewObject>>, from: Option<Vec<LocalPath>>, selection: Selection) -> Result<Self> {
        match (objects, from) {
            (Some(_), Some(_)) => Err(Error::field("from", "give only one of `objects` or `from`")),
            (None, None) => Err(Error::field("objects", "give at least one of `objects` or `from`")),
            (Some(_), None) if selection.include.is_some() || selection.exclude.is_some() => {
                Err(Error::field("from", "`include` and `exclude` go only with `from`, which is not given"))
            }
            (Some(objects), None) => Ok(Given::Objects(objects)),
            (None, Some(from)) => Folders::new(from, selection.checked()?).map(Given::Files),
        }
    }

    /// Whether it is an empty list. What folders hold is not known yet.
    fn is_empty(&self) -> bool {
        matches!(self, Given::Objects(objects) if objects.is_empty())
    }

    fn stream(self) -> BoxStream<'static, Result<New>> {
        match self {
            Given::Objects(objects) => objects.stream().map_ok(New::Object).boxed(),
            Given::Files(folders) => folders.stream().map_ok(New::File).boxed(),
        }
    }
}

/// An object to create, as it was given or found.
enum New {
    Object(NewObject),
    File(LocalFile),
}

impl New {
    /// Its key, but for the prefix.
    fn key(&self) -> &str {
        match self {
            New::Object(object) => object.key.as_str(),
            New::File(found) => &found.name,
        }
    }

    fn into_upload(self, key: String, all_as: BodyAs, twice: bool) -> Upload {
        let (body, content_type) = match self {
            _ if twice => (Err(Failure::permanent(Code::Duplicate, "the key is given more than once")), None),
            New::Object(object) => (Body::of(&key, object.body, object.body_as.unwrap_or(all_as)), object.content_type.map(String::from)),
            New::File(found) => (found.file.and_then(Body::of_file), None),
        };
        let guess = |name: &str| mime_guess::from_path(name).first_raw().map(str::to_owned);
        let content_type = content_type.or_else(|| guess(&key)).or_else(|| match &body {
            Ok(Body::Known(Content::File { path, .. })) => guess(&path.to_string_lossy()),
            Ok(Body::Known(Content::Text(_))) => Some("text/plain; charset=utf-8".into()),
            _ => None,
        });
        Upload { key, content_type: content_type.unwrap_or_else(|| "application/octet-stream".into()), body, there: None }
    }
}

/// Metadata by name; an error where S3 would not take it, or would keep one of two values.
fn metadata_of(items: Vec<MetadataItem>) -> Result<HashMap<String, String>> {
    let (mut all, mut bytes) = (HashMap::new(), 0);
    for (name, value) in items.into_iter().map(MetadataItem::into_pair) {
        bytes += name.len() + value.len();
        if all.contains_key(&name) {
            return Err(Error::field("metadata", format!("`metadata` has `{name}` more than once; upper and lower case are the same")));
        }
        all.insert(name, value);
    }
    match bytes {
        0..=METADATA => Ok(all),
        _ => Err(Error::field("metadata", format!("`metadata` has {bytes} bytes, names and values together; S3 takes {METADATA}"))),
    }
}

/// The uploads, once somebody agreed that objects which exist are replaced. All of them are looked at before anything is changed.
async fn agreed(cx: &Context, bucket: &Bucket, uploads: BoxStream<'static, Result<Upload>>) -> Result<BoxStream<'static, Result<Upload>>> {
    let asker = bucket.clone();
    let looked = uploads.map_ok(move |upload| with_object(asker.clone(), upload)).try_buffered(cx.concurrency());
    let looked = tokio::select! {
        looked = looked.try_collect::<Vec<_>>() => looked?,
        () = cx.cancellation().cancelled() => return Err(cx.cancellation().error().unwrap_or(Error::Interrupted)),
    };
    let there: Vec<String> = looked.iter().filter_map(|(_, there)| there.clone()).collect();
    if !there.is_empty() {
        cx.confirm(format!("replace what is in the bucket `{}`", bucket.name), there).await?;
    }
    Ok(stream::iter(looked.into_iter().map(|(upload, _)| Ok(upload))).boxed())
}

/// Each with what is at its key now, many at once. How many they are stays known.
fn looked_at(cx: &Context, bucket: &Bucket, uploads: BoxStream<'static, Result<Upload>>) -> BoxStream<'static, Result<Upload>> {
    let bucket = bucket.clone();
    let look = move |upload: Result<Upload>| {
        let bucket = bucket.clone();
        async move {
            let upload = upload?;
            let there = if upload.body.is_ok() { Some(at_key(&bucket, &upload.key).await?) } else { None };
            Ok::<_, Error>(Upload { there, ..upload })
        }
    };
    uploads.map(look).buffered(cx.concurrency()).boxed()
}

/// What is at a key. What cannot be seen keeps no plan from being made.
async fn at_key(bucket: &Bucket, key: &str) -> Result<There> {
    match bucket.head(key).await {
        Ok(None) => Ok(There::Nothing),
        Ok(Some(head)) => Ok(head.e_tag.map_or(There::Unknown, There::Object)),
        Err(e) if e.is_fatal() => Err(e),
        Err(e) => {
            tracing::debug!("{e}; a plan is not bound to it");
            Ok(There::Unknown)
        }
    }
}

/// An upload, and the name of the object that is there already. One that cannot be seen may be.
async fn with_object(bucket: Bucket, upload: Upload) -> Result<(Upload, Option<String>)> {
    if upload.body.is_err() {
        return Ok((upload, None));
    }
    let there = match bucket.head(&upload.key).await {
        Ok(None) => None,
        Ok(Some(_)) => Some(upload.key.clone()),
        Err(e) if e.is_fatal() => return Err(e),
        Err(e) => Some(format!("{} (if it is there: {})", upload.key, e.code().unwrap_or("not known"))),
    };
    Ok((upload, there))
}
