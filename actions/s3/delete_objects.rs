use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use aaws::{
    AccountId, Action, Call, Change, Context, Effect, Error, ErrorContext, Example, FailedItems, Failure, Grant, Items, Meta, Outcome,
    Result, Rule, When, async_trait,
};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{Delete, EncodingType, ObjectIdentifier};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::Deserialize;

use super::bucket::{Bucket, BucketName, CREATE_SESSION, Decoder, Key, join};

/// The most keys that one DeleteObjects takes (S3 API reference).
const BATCH: usize = 1000;

/// The most bytes of keys in one request; S3 refuses bodies much above a megabyte.
const BATCH_BYTES: usize = 1_000_000;

/// What a key adds to a request beside itself: `<Object><Key></Key><VersionId>…</VersionId></Object>`.
const KEY_OVERHEAD: usize = 100;

/// Delete objects from an S3 bucket.
///
/// Keys are deleted 1,000 a request, many requests at once. S3 answers for each key: those that fail are printed, whole, in the order given,
/// and keys that S3 asks to try again later are tried again, up to five times in all. A key that does not exist counts as deleted, as S3 has
/// it, unless `check` asks first.
///
/// On a versioned bucket a plain delete adds a *delete marker*: the object is hidden, its data stays and is billed. `all_versions` removes
/// every version and marker of the keys for good.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteObjects {
    /// Name of the S3 bucket to delete objects from.
    bucket: BucketName,
    /// Objects to delete: their keys, relative to `prefix` when that is given. An empty list deletes nothing.
    objects: Items<Key>,
    /// Put before each key, with one slash between. It selects nothing by itself.
    prefix: Option<String>,
    /// Delete every version and delete marker of the keys, for good.
    #[serde(default)]
    all_versions: bool,
    /// Delete this version of the one key given, for good. A marker's version brings the object back.
    version_id: Option<String>,
    /// Ask whether each key exists before it is deleted, and report those that do not as unchanged. One more request per key.
    #[serde(default)]
    check: bool,
    /// Delete versions that Object Lock protects in governance mode. Compliance mode and legal holds cannot be bypassed.
    #[serde(default)]
    bypass_governance_retention: bool,
    /// Serial number and digits of the MFA device, separated by a space, for versions in a bucket with MFA Delete.
    mfa: Option<String>,
    /// Agree to pay for the requests, for a bucket that makes requesters pay.
    #[serde(default)]
    request_payer: bool,
    /// Fail unless the bucket belongs to this account.
    expected_bucket_owner: Option<AccountId>,
}

const OBJECTS: &[&str] = &["arn:${Partition}:s3:::${bucket}/${prefix/}${objects}"];
const VERSIONED: &[&str] = &["all_versions", "version_id"];

const GRANTS: &[Grant] = &[
    Grant::new("s3:DeleteObject", OBJECTS).when(When::Without(VERSIONED)),
    Grant::new("s3:DeleteObjectVersion", OBJECTS).when(When::With(VERSIONED)),
    Grant::new("s3:BypassGovernanceRetention", OBJECTS).when(When::With(&["bypass_governance_retention"])),
];

#[async_trait]
impl Action for DeleteObjects {
    const META: Meta = Meta {
        path: "s3/delete_objects",
        effect: Effect::Delete,
        calls: &[
            Call::write("s3:DeleteObjects", GRANTS),
            Call::write("s3:DeleteObject", GRANTS).when(When::Rare("a key holds characters that XML 1.0 cannot carry")),
            Call::read("s3:ListObjectVersions", &[Grant::new("s3:ListBucketVersions", &["arn:${Partition}:s3:::${bucket}"])])
                .when(When::With(&["all_versions"])),
            Call::read(
                "s3:HeadObject",
                &[
                    Grant::new("s3:GetObject", OBJECTS),
                    // Without it S3 answers 403 for a key that does not exist.
                    Grant::new("s3:ListBucket", &["arn:${Partition}:s3:::${bucket}"]),
                ],
            )
            .when(When::With(&["check"])),
            CREATE_SESSION,
        ],
        rules: &[Rule::AtMostOne(&["all_versions", "version_id", "check"])],
        examples: &[
            Example {
                title: "Delete `examples/object1` and `examples/object2` from `example-bucket`",
                input: r#"{"bucket": "example-bucket", "objects": ["examples/object1", "examples/object2"]}"#,
                output: "[]",
                given: &["examples/object1", "examples/object2"],
            },
            Example {
                title: "Delete `object1` and `object2` using prefix `examples` from `example-bucket`",
                input: r#"{"bucket": "example-bucket", "prefix": "examples", "objects": ["object1", "object2"]}"#,
                output: "[]",
                given: &["examples/object1", "examples/object2"],
            },
        ],
        notes: &[
            "A key that does not exist is deleted without complaint: S3 does not tell the two apart. `--check` does.",
            "On a versioned bucket the report names each delete marker that was added.",
            "Keys with control characters go one by one, because the XML of a batch cannot carry them.",
            "Names from `discover_objects --name_only` are not keys: with `prefix` they may name another object.",
            "MFA Delete refuses a whole request that holds versions and no `mfa`. Directory buckets keep no versions.",
        ],
    };

    type Output = FailedItems;

    async fn run(self, cx: &Context) -> Result<FailedItems> {
        if self.version_id.is_some() && self.objects.len() != 1 {
            return Err(Error::field("version_id", "`version_id` names a version of one object: give exactly one in `objects`"));
        }
        let bucket = Bucket::new(cx, &self.bucket, self.expected_bucket_owner.as_ref(), self.request_payer)?;
        if bucket.is_directory() && (self.all_versions || self.version_id.is_some()) {
            return Err(Error::field("bucket", format!("`bucket`: `{}` is a directory bucket, which keeps no versions", self.bucket)));
        }
        let keys = self.objects.stream().map_ok(move |key| join(self.prefix.as_deref(), key.as_str()));
        let targets: BoxStream<'static, Result<Target>> = if self.all_versions {
            let lister = bucket.clone();
            let found = keys.map_ok(move |key| versions(lister.clone(), key)).try_buffered(cx.concurrency());
            found.map_ok(|targets| stream::iter(targets.into_iter().map(Ok))).try_flatten().boxed()
        } else {
            let version = self.version_id.clone();
            keys.map_ok(move |key| Target { key, version: version.clone(), precheck: None }).boxed()
        };
        let targets = if self.check {
            let asker = bucket.clone();
            targets.map_ok(move |target| checked(asker.clone(), target)).try_buffered(cx.concurrency()).boxed()
        } else {
            targets
        };
        let delete =
            DeleteTargets { bucket, bypass: self.bypass_governance_retention, mfa: self.mfa, told_of_markers: AtomicBool::new(false) };
        Ok(cx.change(targets, delete).await?.failed())
    }
}

aaws::register!(DeleteObjects);

/// One thing to delete.
struct Target {
    key: String,
    version: Option<String>,
    /// What is already clear: it is not there, or could not be looked at.
    precheck: Option<Outcome>,
}

struct DeleteTargets {
    bucket: Bucket,
    bypass: bool,
    mfa: Option<String>,
    told_of_markers: AtomicBool,
}

#[async_trait]
impl Change for DeleteTargets {
    type Item = Target;
    type Done = ();

    fn id(&self, target: &Target) -> String {
        target.key.clone()
    }

    fn summary(&self) -> String {
        format!("delete from the bucket `{}`", self.bucket.name)
    }

    fn precheck(&self, target: &Target) -> Option<Outcome> {
        target.precheck.clone()
    }

    fn plan(&self, target: &Target) -> Option<String> {
        Some(match &target.version {
            Some(version) => format!("version {version} would be gone for good"),
            None => "on a versioned bucket a delete marker would hide it, and its data would stay".into(),
        })
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn weight(&self, target: &Target) -> usize {
        let escapes = target.key.bytes().filter(|b| matches!(b, b'<' | b'>' | b'&' | b'"' | b'\'')).count() * 5;
        target.key.len() + escapes + KEY_OVERHEAD
    }

    fn max_weight(&self) -> usize {
        BATCH_BYTES
    }

    fn alone(&self, target: &Target) -> bool {
        !xml_carries(&target.key)
    }

    async fn apply(&self, _: &Context, targets: &[Target]) -> Result<Vec<Outcome>> {
        match targets {
            [one] if self.alone(one) => Ok(vec![self.delete_one(one).await?]),
            _ => self.delete_batch(targets).await,
        }
    }
}

impl DeleteTargets {
    async fn delete_batch(&self, targets: &[Target]) -> Result<Vec<Outcome>> {
        let attempted = || format!("delete {} objects from the bucket `{}`", targets.len(), self.bucket.name);
        let identifier = |t: &Target| ObjectIdentifier::builder().key(&t.key).set_version_id(t.version.clone()).build();
        let objects = targets.iter().map(identifier).collect::<Result<Vec<_>, _>>();
        let delete = objects.and_then(|o| Delete::builder().set_objects(Some(o)).build());
        let delete = delete.map_err(|e| Error::Failed(format!("cannot {}: {e}", attempted())))?;
        let answer = self.bucket.send(|s3| {
            let request = s3.delete_objects().bucket(&self.bucket.name).delete(delete.clone());
            let request = request.set_bypass_governance_retention(self.bypass.then_some(true)).set_mfa(self.mfa.clone());
            request.set_request_payer(self.bucket.payer.clone()).set_expected_bucket_owner(self.bucket.owner.clone()).send()
        });
        let answer = match answer.await {
            // S3 may answer 200 and say in the body that the whole request failed: then each key did, and may be tried again.
            Err(SdkError::ResponseError(e)) if let Some(failure) = e.raw().body().bytes().and_then(root_error) => {
                return Ok(targets.iter().map(|_| Outcome::Failed(failure.clone())).collect());
            }
            answer => answer.context(attempted)?,
        };
        // A key is in `Deleted` or in `Errors`, in any order; a reply with errors only has no `Deleted` at all.
        let mut outcomes: HashMap<(&str, Option<&str>), Outcome> = HashMap::new();
        for deleted in answer.deleted() {
            let outcome = self.deleted(deleted.delete_marker(), deleted.delete_marker_version_id(), deleted.version_id());
            outcomes.insert((deleted.key().unwrap_or_default(), deleted.version_id()), outcome);
        }
        for error in answer.errors() {
            let failure = failure(error.code().unwrap_or("Unknown"), error.message().unwrap_or_default());
            outcomes.insert((error.key().unwrap_or_default(), error.version_id()), Outcome::Failed(failure));
        }
        let unanswered = || Outcome::Failed(Failure::permanent("NoAnswer", "S3's answer does not mention this key"));
        let outcome = |t: &Target| {
            let exact = outcomes.get(&(t.key.as_str(), t.version.as_deref()));
            exact.or_else(|| outcomes.get(&(t.key.as_str(), None))).cloned().unwrap_or_else(unanswered)
        };
        Ok(targets.iter().map(outcome).collect())
    }

    /// For keys that the XML of a batch cannot carry.
    async fn delete_one(&self, target: &Target) -> Result<Outcome> {
        let answer = self.bucket.send(|s3| {
            let request = s3.delete_object().bucket(&self.bucket.name).key(&target.key).set_version_id(target.version.clone());
            let request = request.set_bypass_governance_retention(self.bypass.then_some(true)).set_mfa(self.mfa.clone());
            request.set_request_payer(self.bucket.payer.clone()).set_expected_bucket_owner(self.bucket.owner.clone()).send()
        });
        let done = answer.await.context(|| format!("delete `{}` from the bucket `{}`", target.key.escape_debug(), self.bucket.name))?;
        let marker = done.version_id().filter(|_| target.version.is_none());
        Ok(self.deleted(done.delete_marker(), marker, target.version.as_deref()))
    }

    /// What S3 did when it deleted.
    fn deleted(&self, marker: Option<bool>, marker_version: Option<&str>, version: Option<&str>) -> Outcome {
        let marked = marker == Some(true);
        let note = match version {
            Some(version) if marked => Some(format!("the delete marker {version} is gone")),
            Some(version) => Some(format!("version {version} is gone")),
            None if marked || marker_version.is_some() => {
                if !self.told_of_markers.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "the bucket `{}` is versioned: a delete marker hides each object, its data stays and is billed; --all_versions removes it",
                        self.bucket.name
                    );
                }
                Some(format!("a delete marker was added ({}): it is hidden, its data stays", marker_version.unwrap_or("no version")))
            }
            None => None,
        };
        Outcome::Done((), note)
    }
}

/// A target, with the outcome that it does not exist, or that this cannot be seen.
async fn checked(bucket: Bucket, target: Target) -> Result<Target> {
    let answer = bucket.send(|s3| {
        let request = s3.head_object().bucket(&bucket.name).key(&target.key);
        request.set_request_payer(bucket.payer.clone()).set_expected_bucket_owner(bucket.owner.clone()).send()
    });
    let precheck = match answer.await {
        Err(SdkError::ServiceError(e)) if e.err().is_not_found() => Some(Outcome::Unchanged("it does not exist".into())),
        answer => {
            let answer = answer.context(|| format!("ask whether `{}` is in the bucket `{}`", target.key, bucket.name));
            answer.err().map(|e| Outcome::Failed(Failure::from(&e)))
        }
    };
    Ok(Target { precheck, ..target })
}

/// Every version and delete marker of one key. Other keys that begin with it come after it in the listing, so the first of them ends it.
async fn versions(bucket: Bucket, key: String) -> Result<Vec<Target>> {
    let precheck = |key: &str, outcome| Target { key: key.to_owned(), version: None, precheck: Some(outcome) };
    let mut targets = Vec::new();
    let (mut key_marker, mut version_marker) = (None::<String>, None::<String>);
    loop {
        let answer = bucket.send(|s3| {
            let request = s3.list_object_versions().bucket(&bucket.name).prefix(&key).encoding_type(EncodingType::Url);
            let request = request.set_key_marker(key_marker.clone()).set_version_id_marker(version_marker.clone());
            request.set_request_payer(bucket.payer.clone()).set_expected_bucket_owner(bucket.owner.clone()).send()
        });
        let page = match answer.await.context(|| format!("list the versions of `{key}` in the bucket `{}`", bucket.name)) {
            Ok(page) => page,
            Err(e) if e.is_fatal() => return Err(e),
            Err(e) => return Ok(vec![precheck(&key, Outcome::Failed(Failure::from(&e)))]),
        };
        let decode = Decoder::of(page.encoding_type());
        let versions = page.versions().iter().map(|v| (v.key(), v.version_id()));
        let markers = page.delete_markers().iter().map(|m| (m.key(), m.version_id()));
        let mut others = false;
        for (found, version) in versions.chain(markers) {
            if decode.text(found.unwrap_or_default()) == key {
                targets.push(Target { key: key.clone(), version: version.map(str::to_owned), precheck: None });
            } else {
                others = true;
            }
        }
        // Both markers, or the rest of a key's versions would be left out.
        key_marker = page.next_key_marker().map(|k| decode.text(k));
        version_marker = page.next_version_id_marker().map(str::to_owned);
        if others || page.is_truncated() != Some(true) || key_marker.is_none() {
            break;
        }
    }
    if targets.is_empty() {
        targets.push(precheck(&key, Outcome::Unchanged("no version of it exists".into())));
    }
    Ok(targets)
}

/// What S3 says of one key, with what helps where its own words do not.
fn failure(code: &str, message: &str) -> Failure {
    let more = if message.contains("Mfa Authentication") { " (give --mfa)" } else { "" };
    Failure::from_code(code, format!("{message}{more}"))
}

/// `<Error>` as the root of a 200: S3's code and message.
fn root_error(body: &[u8]) -> Option<Failure> {
    let text = std::str::from_utf8(body).ok()?;
    let inside = text.split_once("<Error>")?.1;
    let element = |name: &str| Some(inside.split_once(&format!("<{name}>"))?.1.split_once(&format!("</{name}>"))?.0.to_owned());
    let root = text.trim_start_matches(|c| c != '<').trim_start();
    let root = if root.starts_with("<?") { root.split_once("?>")?.1.trim_start() } else { root };
    root.starts_with("<Error>").then(|| failure(&element("Code").unwrap_or_default(), &element("Message").unwrap_or_default()))
}

/// Whether XML 1.0 can hold every character, and hold it so that it comes out the same.
fn xml_carries(key: &str) -> bool {
    key.chars().all(|c| matches!(c, '\t' | '\n' | ' '..) && !matches!(c, '\u{fffe}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_at_the_root_is_found_and_one_inside_is_not() {
        let root = br#"<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"#;
        let failure = root_error(root).expect("an error");
        assert_eq!((failure.code.as_str(), failure.transient), ("InternalError", true));
        assert!(root_error(b"<DeleteResult><Error><Code>SlowDown</Code></Error></DeleteResult>").is_none());
        assert!(root_error(b"<html>").is_none());
    }

    #[test]
    fn characters_that_xml_cannot_carry() {
        assert!(xml_carries("a\tb\nc d/\u{e9}\u{1f600}<&>"));
        for odd in ["\u{0}", "\u{1}", "\r", "\u{1f}", "\u{fffe}", "\u{ffff}"] {
            assert!(!xml_carries(odd), "{odd:?}");
        }
    }
}
