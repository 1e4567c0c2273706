use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use aaws::{
    AccountId, Action, Call, Change, Code, Context, Effect, Error, Example, FailedItems, Failure, Grant, Items, Meta, Outcome, Result,
    Rule, When, async_trait, is_throttling,
};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::future::{self, BoxFuture};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::Deserialize;

use super::bucket::{Bucket, CREATE_SESSION, HEAD_BUCKET, explain};
use super::lookups::{Lookups, Target};
use super::names::{BucketName, Key, NonEmpty, Prefix, VersionId, join, slip};

/// The most keys that one DeleteObjects takes (S3 API reference).
const BATCH: usize = 1000;

/// The most bytes of keys in one request; S3 refuses bodies much above a megabyte.
const BATCH_BYTES: usize = 1_000_000;

/// What a key adds to a request beside itself: `<Object><Key></Key><VersionId>…</VersionId></Object>`.
const KEY_OVERHEAD: usize = 100;

/// Codes by which a whole request is refused because of one of its keys (S3 API reference, error responses).
const BLAMES_A_KEY: &[&str] = &["KeyTooLongError", "MalformedXML"];

/// How many keys that were hardly meant as they stand are shown.
const SLIPS_SHOWN: usize = 3;

/// Delete objects from an S3 bucket.
///
/// Keys are deleted 1,000 a request, many requests at once. S3 answers for each key: those that fail are printed, whole, in the order given. Keys
/// that S3 turns away because there are too many at once are sent again at the rate that it allows; those that meet another error that passes are
/// tried five times in all. A key that does not exist counts as deleted, as S3 has it, unless `check` asks first.
///
/// On a versioned bucket a plain delete adds a *delete marker*: the object is hidden, its data stays and is billed. `all_versions` removes
/// every version and marker of the keys for good. Each version is an item of its own, `KEY?versionId=ID`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteObjects {
    /// Name of the S3 bucket to delete objects from.
    pub bucket: BucketName,
    /// Objects to delete: their keys, relative to `prefix` when that is given. An empty list deletes nothing.
    pub objects: Items<Key>,
    /// Put before each key, with a slash between unless it ends in one. It selects nothing by itself.
    pub prefix: Option<Prefix>,
    /// Delete every version and delete marker of the keys, for good.
    #[serde(default)]
    pub all_versions: bool,
    /// Delete this version of the one key given, for good. A marker's version brings the object back.
    pub version_id: Option<VersionId>,
    /// Ask whether each key exists before it is deleted: one that does not is a failure. One more request per key.
    #[serde(default)]
    pub check: bool,
    /// Take a key that does not exist for unchanged rather than for a failure. Only `check` and `all_versions` see that it does not.
    #[serde(default)]
    pub ignore_not_found: bool,
    /// Delete versions that Object Lock protects in governance mode. Compliance mode and legal holds cannot be bypassed.
    #[serde(default)]
    pub bypass_governance_retention: bool,
    /// Serial number and digits of the MFA device, separated by a space, for versions in a bucket with MFA Delete.
    pub mfa: Option<NonEmpty>,
    /// Agree to pay for the requests, for a bucket that makes requesters pay.
    #[serde(default)]
    pub request_payer: bool,
    /// Fail unless the bucket belongs to this account.
    pub expected_bucket_owner: Option<AccountId>,
}

const OBJECTS: &[&str] = &["arn:${Partition}:s3:::${bucket}/${prefix/}${objects}"];
const BUCKET: &[&str] = &["arn:${Partition}:s3:::${bucket}"];
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
            Call::write("s3:DeleteObject", GRANTS)
                .when(When::Rare("a key holds characters that XML 1.0 cannot carry, or the store knows no DeleteObjects")),
            Call::read(
                "s3:ListObjectVersions",
                &[
                    Grant::new("s3:ListBucketVersions", BUCKET).when(When::With(&["all_versions"])),
                    Grant::new("s3:ListBucketVersions", BUCKET).when(When::Rare("the endpoint is not one of AWS")),
                ],
            )
            .when(When::With(VERSIONED)),
            Call::read(
                "s3:HeadObject",
                &[
                    Grant::new("s3:GetObject", OBJECTS),
                    // Without it S3 answers 403 for a key that does not exist.
                    Grant::new("s3:ListBucket", BUCKET),
                ],
            )
            .when(When::With(&["check"])),
            HEAD_BUCKET.when(When::Rare("`check` is given, or it is a dry run")),
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
            "A bucket that does not exist ends the run, exit code 1; in a dry run and with `--check` it is looked for first.",
            "On a versioned bucket the report names each delete marker that was added.",
            "Keys with control characters go one by one, because the XML of a batch cannot carry them; so do all keys in a store without DeleteObjects.",
            "Names from `discover_objects --name_only` are not keys: with `prefix` they may name another object.",
            "A store that is not S3 may take a version for the object itself: at a custom endpoint `version_id` is looked for first.",
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
        // An answer that a key is not there is no different when the bucket is not, and a plan has none at all.
        if (self.check || cx.dry_run()) && !self.objects.is_empty() {
            bucket.look().await?;
        }
        let lookups = Lookups::new(cx, &bucket, self.ignore_not_found);
        let prefix = self.prefix;
        let mut slips = Slips::default();
        let keys = self.objects.stream().map_ok(move |key| {
            slips.look(key.as_str());
            join(prefix.as_ref(), key.as_str())
        });
        let looker = lookups.clone();
        let targets: BoxStream<'static, Result<Target>> = if self.all_versions {
            let found = keys.map_ok(move |key| looker.clone().versions(key)).try_buffered(cx.concurrency());
            found.map_ok(|targets| stream::iter(targets.into_iter().map(Ok))).try_flatten().boxed()
        } else if self.check {
            keys.map_ok(move |key| looker.clone().object(key)).try_buffered(cx.concurrency()).boxed()
        } else {
            match self.version_id.map(String::from) {
                // S3 never takes a version for the object itself; what else answers there may.
                Some(version) if cx.custom_endpoint("s3") => {
                    keys.map_ok(move |key| looker.clone().version(key, version.clone())).try_buffered(cx.concurrency()).boxed()
                }
                version => keys.map_ok(move |key| Target::of(key, version.clone())).boxed(),
            }
        };
        let delete = DeleteTargets {
            bucket,
            lookups,
            bypass: self.bypass_governance_retention,
            mfa: self.mfa.map(String::from),
            ignore_not_found: self.ignore_not_found,
            told_of_markers: AtomicBool::new(false),
            one_by_one: AtomicBool::new(false),
        };
        Ok(cx.change(targets, delete).await?.failed())
    }
}

aaws::register!(DeleteObjects);

/// Warns of the first keys that were hardly meant as they stand: S3 says of each that it was deleted.
#[derive(Default)]
struct Slips(usize);

impl Slips {
    fn look(&mut self, key: &str) {
        let Some(why) = slip(key).filter(|_| self.0 < SLIPS_SHOWN) else { return };
        self.0 += 1;
        tracing::warn!("the key `{key}` is taken as it stands; {why}");
    }
}

struct DeleteTargets {
    bucket: Bucket,
    lookups: Lookups,
    bypass: bool,
    mfa: Option<String>,
    ignore_not_found: bool,
    told_of_markers: AtomicBool,
    /// The store knows no DeleteObjects.
    one_by_one: AtomicBool,
}

#[async_trait]
impl Change for DeleteTargets {
    type Item = Target;
    type Done = ();

    fn id(&self, target: &Target) -> String {
        match &target.version {
            Some(version) => format!("{}?versionId={version}", target.key),
            None => target.key.clone(),
        }
    }

    fn kind(&self, target: &Target) -> Option<&'static str> {
        target.kind
    }

    fn summary(&self) -> String {
        format!("delete from the bucket `{}`", self.bucket.name)
    }

    fn precheck(&self, target: &Target) -> Option<Outcome> {
        target.precheck.clone()
    }

    fn plan(&self, target: &Target) -> Option<String> {
        Some(match (&target.version, target.kind) {
            (Some(version), kind) => format!("{} {version} would be gone for good", kind.unwrap_or("version")),
            (None, _) => "on a versioned bucket a delete marker would hide it, and its data would stay".into(),
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

    async fn apply(&self, cx: &Context, targets: &[Target]) -> Result<Vec<Outcome>> {
        let outcomes = match targets {
            [one] if self.alone(one) => vec![self.delete_one(one).await],
            _ => self.delete_batch(cx, targets).await,
        };
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(failure) if failure.fatal.is_some())) {
            self.lookups.end();
        }
        Ok(outcomes)
    }
}

impl DeleteTargets {
    /// All of them in one request, if S3 takes them so.
    fn delete_batch<'a>(&'a self, cx: &'a Context, targets: &'a [Target]) -> BoxFuture<'a, Vec<Outcome>> {
        Box::pin(async move {
            if self.one_by_one.load(Ordering::Relaxed) {
                return self.delete_each(cx, targets).await;
            }
            let error = match self.send_batch(cx, targets).await {
                Ok(outcomes) => return outcomes,
                Err(error) => error,
            };
            let blames_a_key = error.code().is_some_and(|code| BLAMES_A_KEY.contains(&code));
            match targets {
                _ if matches!(error.code(), Some("NotImplemented" | "MethodNotAllowed")) => {
                    if !self.one_by_one.swap(true, Ordering::Relaxed) {
                        tracing::info!("the store knows no DeleteObjects: objects are deleted one by one");
                    }
                    self.delete_each(cx, targets).await
                }
                // It may go in a URL where it does not in a body.
                [one] if blames_a_key => vec![self.delete_one(one).await],
                // One key must not sink the others: halves of halves find it.
                [_, _, ..] if blames_a_key => {
                    let (left, right) = targets.split_at(targets.len() / 2);
                    let (mut left, right) = future::join(self.delete_batch(cx, left), self.delete_batch(cx, right)).await;
                    left.extend(right);
                    left
                }
                _ => all_alike(&error, targets.len()),
            }
        })
    }

    async fn delete_each(&self, cx: &Context, targets: &[Target]) -> Vec<Outcome> {
        let deletions: Vec<_> = targets.iter().map(|target| self.delete_one(target)).collect();
        stream::iter(deletions).buffered(cx.concurrency()).collect().await
    }

    async fn send_batch(&self, cx: &Context, targets: &[Target]) -> Result<Vec<Outcome>> {
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
                if is_throttling(&failure.code) {
                    self.throttled(cx, targets.len());
                }
                return Ok(targets.iter().map(|_| Outcome::Failed(failure.clone())).collect());
            }
            answer => explain(answer, attempted)?,
        };
        // A key is in `Deleted` or in `Errors`, in any order; a reply with errors only has no `Deleted` at all. Where no version was asked for, a store
        // may name one all the same (Garage: the one that is gone), so that only the key tells which target it is.
        let versioned = targets.iter().any(|t| t.version.is_some());
        let mut outcomes: HashMap<(&str, Option<&str>), Outcome> = HashMap::new();
        for deleted in answer.deleted() {
            let version = deleted.version_id().filter(|_| versioned);
            let marker = deleted.delete_marker_version_id().filter(|_| deleted.version_id().is_none());
            let outcome = self.deleted(deleted.delete_marker(), marker, version);
            outcomes.insert((deleted.key().unwrap_or_default(), version), outcome);
        }
        let mut throttled = 0;
        for error in answer.errors() {
            let code = error.code().unwrap_or("Unknown");
            throttled += usize::from(is_throttling(code));
            let outcome = self.failed(failure(code, error.message().unwrap_or_default()));
            outcomes.insert((error.key().unwrap_or_default(), error.version_id().filter(|_| versioned)), outcome);
        }
        if throttled > 0 {
            self.throttled(cx, throttled);
        }
        let unanswered = || Outcome::Failed(Failure::permanent(Code::NoAnswer, "S3's answer does not mention this key"));
        let outcome = |t: &Target| {
            let exact = outcomes.get(&(t.key.as_str(), t.version.as_deref()));
            exact.or_else(|| outcomes.get(&(t.key.as_str(), None))).cloned().unwrap_or_else(unanswered)
        };
        Ok(targets.iter().map(outcome).collect())
    }

    /// Tells the limiter of keys that were turned away in a request that was not.
    fn throttled(&self, cx: &Context, keys: usize) {
        cx.throttled_items("s3:DeleteObjects", &self.bucket.name, u32::try_from(keys).unwrap_or(u32::MAX));
    }

    async fn delete_one(&self, target: &Target) -> Outcome {
        let answer = self.bucket.send(|s3| {
            let request = s3.delete_object().bucket(&self.bucket.name).key(&target.key).set_version_id(target.version.clone());
            let request = request.set_bypass_governance_retention(self.bypass.then_some(true)).set_mfa(self.mfa.clone());
            request.set_request_payer(self.bucket.payer.clone()).set_expected_bucket_owner(self.bucket.owner.clone()).send()
        });
        match explain(answer.await, || format!("delete `{}` from the bucket `{}`", target.key.escape_debug(), self.bucket.name)) {
            Ok(done) => {
                let marker = done.version_id().filter(|_| done.delete_marker() == Some(true));
                self.deleted(done.delete_marker(), marker, target.version.as_deref())
            }
            Err(error) => self.failed(Failure::from(&error)),
        }
    }

    /// What S3 says of one item. It takes what is not there for deleted; other stores do not.
    fn failed(&self, failure: Failure) -> Outcome {
        match failure.code.as_str() {
            "NoSuchKey" | "NoSuchVersion" if self.ignore_not_found => Outcome::Unchanged(failure.message),
            _ => Outcome::Failed(failure),
        }
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

/// What the error of a whole request comes to for each of its items. One that ends the run is said of one of them: nothing was done with the others.
fn all_alike(error: &Error, items: usize) -> Vec<Outcome> {
    let failed = Outcome::Failed(Failure::from(error));
    let others = if error.is_fatal() { Outcome::skipped_as(Code::NotStarted, format!("not started: {error}")) } else { failed.clone() };
    std::iter::once(failed).chain(std::iter::repeat_n(others, items.saturating_sub(1))).collect()
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
