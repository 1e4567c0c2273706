use std::collections::BTreeMap;

use aaws::{
    AccountId, Action, Call, Context, Effect, Error, Example, Glob, Grant, Listing, Meta, Moment, Out, Output, Reply, Result, Rule, When,
    async_trait,
};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use futures::future;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::bucket::{Bucket, CREATE_SESSION};
use super::listing::{self, Fields, Kind, ListEntry, VersionOf, Wanted};
use super::names::{BucketName, Key, NonEmpty, Prefix};
use super::selection::{Selection, StorageClass};
use super::size::Size;
use super::walk::{self, Order, Purpose, Walk};

/// List the objects of an S3 bucket.
///
/// Prints the keys in the order of their UTF-8 bytes; memory does not grow with the bucket. A large bucket is listed from several places at once, as
/// many as `--concurrency` allows, for up to a quarter more requests than there are pages of 1,000, or five more. Only current versions are listed; what
/// a delete marker hides is not. With `versions` every version and delete marker is, of each key the newest first.
///
/// All inputs that select have to be fulfilled. `delete_objects --matching` takes the same ones, with `under` for `prefix`, and deletes what is listed
/// here. What `details` and `versions` print may be given to `delete_objects` as it is: it then deletes just these objects, or versions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverObjects {
    /// Name of the S3 bucket to list.
    pub bucket: BucketName,
    /// Only keys that begin with this. It is taken as it stands: no slash is added.
    pub prefix: Option<Prefix>,
    /// Only keys that match one of these patterns, whole: `*` is any text, slashes too, `?` one character, `[a-z]` one of these, `{a,b}` one of these
    /// texts.
    pub include: Option<Vec<Glob>>,
    /// No keys that match one of these patterns, whole. It wins over `include`, whatever the order.
    pub exclude: Option<Vec<Glob>>,
    /// Only objects last modified before this instant. It is not included.
    pub modified_before: Option<Moment>,
    /// Only objects last modified at or after this instant.
    pub modified_after: Option<Moment>,
    /// Only objects of more bytes than this: `500`, `10MiB`, `1GB`.
    pub larger_than: Option<Size>,
    /// Only objects of fewer bytes than this: `500`, `10MiB`, `1GB`.
    pub smaller_than: Option<Size>,
    /// Only objects of these storage classes, such as `STANDARD` or `GLACIER`. An empty list is no object.
    pub storage_class: Option<Vec<StorageClass>>,
    /// List every version and delete marker.
    #[serde(default)]
    pub versions: bool,
    /// Of the versions and delete markers only those that are not the latest.
    #[serde(default)]
    pub noncurrent: bool,
    /// Of the versions and delete markers only the delete markers.
    #[serde(default)]
    pub delete_markers: bool,
    /// Print in place of all keys that go on alike behind the prefix, up to this text, what they begin with: with `/` folders. These are selected by
    /// `include` and `exclude` alone, and are no keys: do not delete by them.
    pub delimiter: Option<NonEmpty>,
    /// Print how many objects there are, and how many bytes they have, in all and of each storage class.
    #[serde(default)]
    pub summary: bool,
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

/// The objects, or with `summary` how much they are.
pub enum Discovered {
    /// What was selected, as it is listed.
    Rows(Listing<ObjectRow>),
    /// How much that is.
    Summary(Summary),
}

impl Discovered {
    /// The rows, as they are listed. A summary has none.
    pub fn items(self) -> BoxStream<'static, Result<ObjectRow>> {
        match self {
            Discovered::Rows(listing) => listing.items(),
            Discovered::Summary(_) => Box::pin(futures::stream::empty()),
        }
    }
}

impl Output for Discovered {
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let rows = <Listing<ObjectRow> as Output>::schema(generator);
        let summary = generator.subschema_for::<Summary>();
        json_schema!({ "anyOf": [rows, summary] })
    }

    fn into_reply(self) -> Result<Reply> {
        match self {
            Discovered::Rows(listing) => listing.into_reply(),
            Discovered::Summary(summary) => summary.into_reply(),
        }
    }
}

/// An object: its key, or with `details` what S3's listing says of it; with `versions` a version or delete marker.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ObjectRow {
    /// The key, or with `name_only` what follows its last slash; with `delimiter` also what keys begin with.
    Key(String),
    /// The object.
    Details(Details),
    /// A version or delete marker.
    Version(VersionDetails),
    /// With `delimiter` and `details`: all keys that begin alike.
    Folder(Folder),
}

/// What S3's listing says of an object.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Details {
    /// The key.
    key: String,
    /// Bytes.
    #[schemars(extend("x-unit" = "bytes"))]
    size: u64,
    /// When it was last modified, RFC 3339 in UTC.
    last_modified: Option<String>,
    /// Such as `STANDARD` or `GLACIER`.
    storage_class: Option<String>,
    /// The entity tag, with its quotes, as S3 gives it.
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

/// What S3's listing says of a version, or of a delete marker, which has neither size nor ETag nor storage class.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct VersionDetails {
    /// The key.
    key: String,
    /// Whether it is what the key stands for now.
    is_latest: bool,
    /// Whether it is a delete marker: it hides the versions that are older.
    delete_marker: bool,
    /// Bytes.
    #[schemars(extend("x-unit" = "bytes"))]
    size: Option<u64>,
    /// When it was made, RFC 3339 in UTC.
    last_modified: Option<String>,
    /// Such as `STANDARD` or `GLACIER`.
    storage_class: Option<String>,
    /// The version's id; `null` is the id of what was written without versioning.
    version_id: String,
    /// The entity tag, with its quotes, as S3 gives it.
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

/// All keys that begin alike.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Folder {
    /// What they begin with, up to and with the delimiter.
    prefix: String,
}

/// How much was selected.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    /// How many objects; with `versions`, how many versions.
    pub objects: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// With `versions`: how many delete markers, which are not among the objects.
    pub delete_markers: u64,
    /// The same of each storage class, in the order of their names.
    pub storage_classes: Vec<ClassSummary>,
}

/// How much of what was selected is of one storage class.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ClassSummary {
    /// Such as `STANDARD` or `GLACIER`.
    pub storage_class: String,
    /// How many objects, or versions.
    pub objects: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

const BUCKET: &[&str] = &["arn:${Partition}:s3:::${bucket}"];

#[async_trait]
impl Action for DiscoverObjects {
    const META: Meta = Meta {
        path: "s3/discover_objects",
        effect: Effect::Read,
        calls: &[
            Call::read("s3:ListObjectsV2", &[Grant::new("s3:ListBucket", BUCKET).condition("StringLike", "s3:prefix", "${prefix}*")])
                .when(When::Without(&["versions"])),
            Call::read(
                "s3:ListObjectVersions",
                &[Grant::new("s3:ListBucketVersions", BUCKET).condition("StringLike", "s3:prefix", "${prefix}*")],
            )
            .when(When::With(&["versions"])),
            CREATE_SESSION,
        ],
        rules: &[
            Rule::AtMostOne(&["name_only", "details", "summary"]),
            Rule::AtMostOne(&["name_only", "versions"]),
            Rule::AtMostOne(&["delimiter", "versions"]),
            Rule::AtMostOne(&["delimiter", "summary"]),
            Rule::AtMostOne(&["noncurrent", "delete_markers"]),
            Rule::Requires("noncurrent", "versions"),
            Rule::Requires("delete_markers", "versions"),
        ],
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
            Example {
                title: "List the text files under `logs/` that are smaller than 10 MiB, but for those whose names begin with `b`",
                input: r#"{"bucket": "example-bucket", "prefix": "logs/", "include": ["*.txt"], "exclude": ["*/b*"], "smaller_than": "10MiB"}"#,
                output: r#"["logs/2024/a.txt"]"#,
                given: &["logs/2024/a.txt", "logs/2024/b.txt"],
            },
            Example {
                title: "List the folders in `logs/`",
                input: r#"{"bucket": "example-bucket", "prefix": "logs/", "delimiter": "/"}"#,
                output: r#"["logs/2024/"]"#,
                given: &["logs/2024/a.txt", "logs/2024/b.txt"],
            },
            Example {
                title: "Tell how much under `logs/` was not modified for a year",
                input: r#"{"bucket": "example-bucket", "prefix": "logs/", "modified_before": "365d", "summary": true}"#,
                output: r#"{"Objects": 0, "Bytes": 0, "DeleteMarkers": 0, "StorageClasses": []}"#,
                given: &["logs/2024/a.txt"],
            },
            Example {
                title: "List the delete markers under `logs/`, in a bucket that keeps versions",
                input: r#"{"bucket": "example-bucket", "prefix": "logs/", "versions": true, "delete_markers": true}"#,
                output: "[]",
                given: &["logs/2024/a.txt"],
            },
        ],
        notes: &[
            "Dates are instants in UTC; `modified_after` includes its instant and `modified_before` does not, as in all actions. Sizes are limits that are not included.",
            "What S3 does not say of something fulfils nothing that is asked of it: a delete marker has no size and no storage class.",
            "`summary` reads the whole listing before it prints. The parts of uploads that are not completed are in no listing, and are billed.",
            "Directory buckets list in no order, take no `start_after`, and only a prefix that ends in a slash. They keep no versions.",
        ],
    };
    // With `delimiter` there are rows of what keys begin with.
    const IDENTITY: &'static [&'static str] = &["Key", "VersionId", "Prefix"];

    type Output = Discovered;

    async fn run(self, cx: &Context) -> Result<Discovered> {
        let bucket = Bucket::new(cx, &self.bucket, self.expected_bucket_owner.as_ref(), self.request_payer)?;
        let of_versions = self.versions || self.noncurrent || self.delete_markers;
        if bucket.is_directory() && of_versions {
            return Err(Error::field("bucket", format!("`bucket`: `{}` is a directory bucket, which keeps no versions", self.bucket)));
        }
        let selection = Selection {
            include: self.include,
            exclude: self.exclude,
            modified_before: self.modified_before,
            modified_after: self.modified_after,
            larger_than: self.larger_than,
            smaller_than: self.smaller_than,
            storage_class: self.storage_class,
            noncurrent: self.noncurrent,
            delete_markers: self.delete_markers,
        };
        let selection = selection.checked()?;
        let (prefix, start_after) = (self.prefix.map(String::from), self.start_after.map(String::from));
        // A sum has no order.
        let order = if self.unordered || self.summary { Order::Any } else { Order::Keys };
        let fields = selection.fields().and(shown(self.details, self.summary));
        let pages = match self.delimiter.map(String::from) {
            // Of versions all is printed.
            _ if of_versions => {
                walk::versions(cx, Walk { bucket, prefix, start_after, order, fields: Fields::ALL, purpose: Purpose::Listing }).boxed()
            }
            Some(delimiter) => listing::folders(bucket, Wanted { prefix, start_after, delimiter: Some(delimiter), fields }),
            None => walk::objects(cx, Walk { bucket, prefix, start_after, order, fields, purpose: Purpose::Listing }).boxed(),
        };
        if self.summary {
            return Ok(Discovered::Summary(summarize(pages, &selection).await?));
        }
        let form = Form { name_only: self.name_only, details: self.details };
        Ok(Discovered::Rows(Listing::produce(cx, |_, out| list(pages, selection, form, out))))
    }
}

aaws::register!(DiscoverObjects);

/// What has to be known of objects to print them.
fn shown(details: bool, summary: bool) -> Fields {
    match (details, summary) {
        (true, _) => Fields::ALL,
        (_, true) => Fields { size: true, class: true, ..Fields::default() },
        _ => Fields::default(),
    }
}

/// Asks for the next page while the last one is read.
async fn list(
    mut pages: BoxStream<'static, Result<Vec<ListEntry>>>,
    selection: Selection,
    form: Form,
    mut out: Out<ObjectRow>,
) -> Result<()> {
    let mut page = pages.try_next().await?;
    while let Some(found) = page {
        let (next, sent) = future::join(pages.try_next(), send(found, &selection, form, &mut out)).await;
        sent?;
        page = next?;
    }
    Ok(())
}

async fn send(page: Vec<ListEntry>, selection: &Selection, form: Form, out: &mut Out<ObjectRow>) -> Result<()> {
    for found in page {
        if selection.takes(&found) {
            out.send(form.row(found)).await?;
        }
    }
    Ok(())
}

/// Counts what is selected. Half a listing is an error, and no smaller sum.
async fn summarize(mut pages: BoxStream<'static, Result<Vec<ListEntry>>>, selection: &Selection) -> Result<Summary> {
    let (mut delete_markers, mut classes) = (0_u64, BTreeMap::<String, (u64, u64)>::new());
    while let Some(page) = pages.try_next().await? {
        for found in page.iter().filter(|found| selection.takes(found)) {
            delete_markers += u64::from(found.is_delete_marker());
            let Some(class) = found.storage_class() else { continue };
            let size = found.size.unwrap_or_default();
            if let Some((objects, bytes)) = classes.get_mut(class) {
                *objects += 1;
                *bytes = bytes.saturating_add(size);
            } else {
                classes.insert(class.to_owned(), (1, size));
            }
        }
    }
    let class = |(storage_class, (objects, bytes))| ClassSummary { storage_class, objects, bytes };
    let storage_classes: Vec<ClassSummary> = classes.into_iter().map(class).collect();
    let objects = storage_classes.iter().map(|class| class.objects).sum();
    let bytes = storage_classes.iter().fold(0_u64, |sum, class| sum.saturating_add(class.bytes));
    Ok(Summary { objects, bytes, delete_markers, storage_classes })
}

/// How objects are printed.
#[derive(Clone, Copy)]
struct Form {
    name_only: bool,
    details: bool,
}

impl Form {
    fn row(self, found: ListEntry) -> ObjectRow {
        let delete_marker = found.is_delete_marker();
        match found.kind {
            Kind::Version(VersionOf { id, latest }) | Kind::DeleteMarker(VersionOf { id, latest }) => ObjectRow::Version(VersionDetails {
                key: found.key,
                version_id: id,
                is_latest: latest,
                delete_marker,
                size: found.size,
                last_modified: date(found.modified),
                etag: found.etag,
                storage_class: found.class,
            }),
            Kind::Folder if self.details => ObjectRow::Folder(Folder { prefix: found.key }),
            Kind::Object if self.details => ObjectRow::Details(Details {
                key: found.key,
                size: found.size.unwrap_or_default(),
                last_modified: date(found.modified),
                etag: found.etag,
                storage_class: found.class,
            }),
            Kind::Object | Kind::Folder if self.name_only => ObjectRow::Key(name(&found.key).to_owned()),
            Kind::Object | Kind::Folder => ObjectRow::Key(found.key),
        }
    }
}

fn date(modified: Option<DateTime>) -> Option<String> {
    modified.and_then(|date| date.fmt(DateTimeFormat::DateTime).ok())
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
