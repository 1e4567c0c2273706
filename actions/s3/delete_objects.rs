use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use aaws::{
    AccountId, Action, Call, Context, Effect, Error, Example, FailedItems, Glob, Grant, Items, Meta, Moment, Result, Reversible, Rule,
    When, async_trait,
};
use futures::future::{self, BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, Fuse, FuturesOrdered, Stream, StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::Deserialize;

use super::bucket::{Bucket, CREATE_SESSION, HEAD_BUCKET, Place, UNDONE};
use super::deletion::{Deletion, Findings};
use super::lookups::{Lookups, Target};
use super::markers::AddedMarker;
use super::matching::Matching;
use super::names::{BucketName, NonEmpty, Prefix, VersionId, slip};
use super::object_id::ObjectId;
use super::selection::{Selection, StorageClass};
use super::size::Size;

/// How many keys that were hardly meant as they stand are shown.
const SLIPS_SHOWN: usize = 3;

/// Delete objects from an S3 bucket.
///
/// Keys are deleted 1,000 a request, many requests at once. S3 answers for each key: those that fail are printed, whole, in the order given. Keys
/// that S3 turns away because there are too many at once are sent again at the rate that it allows; those that meet another error that passes are
/// tried five times in all. A key that does not exist counts as deleted, as S3 has it, unless `check` asks first.
///
/// The objects are listed in `objects`, or selected: `matching` deletes all that is `under` a prefix and fulfils what `include`, `exclude`, dates, sizes
/// and classes ask, listed and deleted page by page in one run, from several places of a large bucket at once: what fails is printed as pages come. The
/// same inputs of `discover_objects`, with `prefix` for `under`, show what that is.
///
/// What `discover_objects` prints with `details` or `versions` may be given as it is. An object with a `VersionId` stands for this version alone. One
/// with an `ETag` is deleted only if it still has it: an object that was written anew since is left alone, `skipped` with the code `Changed`.
///
/// On a versioned bucket a plain delete adds a *delete marker*: the object is hidden, its data stays and is billed. `all_versions` removes
/// every version and marker of the keys for good, `noncurrent` what is not the latest, and `delete_markers` the markers alone, which brings the
/// objects back. Each version is an item of its own, `KEY?versionId=ID`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteObjects {
    /// Name of the S3 bucket to delete objects from.
    pub bucket: BucketName,
    /// Objects to delete: their keys, relative to `prefix` when that is given, or objects with `Key`, `VersionId` and `ETag` as `discover_objects` prints
    /// them. An empty list deletes nothing.
    pub objects: Option<Items<ObjectId>>,
    /// Put before each key, with a slash between unless it ends in one. It selects nothing by itself.
    pub prefix: Option<Prefix>,
    /// Delete all that is `under` a prefix, or in the `whole_bucket`, and is selected.
    #[serde(default)]
    pub matching: bool,
    /// With `matching`: only keys that begin with this. It is taken as it stands: no slash is added.
    pub under: Option<Prefix>,
    /// With `matching`: look through the whole bucket.
    #[serde(default)]
    pub whole_bucket: bool,
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
    /// Delete every version and delete marker of the keys, for good.
    #[serde(default)]
    pub all_versions: bool,
    /// Delete the versions and delete markers of the keys that are not the latest, for good.
    #[serde(default)]
    pub noncurrent: bool,
    /// Delete the delete markers of the keys and nothing else: what they hid is there again.
    #[serde(default)]
    pub delete_markers: bool,
    /// Delete this version of the one key given, for good. A marker's version brings the object back.
    pub version_id: Option<VersionId>,
    /// Delete an object that is given with its `ETag` only if it still has it.
    #[serde(default = "yes")]
    pub if_match: bool,
    /// Ask whether each key exists before it is deleted: one that does not is a failure. One more request per key.
    #[serde(default)]
    pub check: bool,
    /// Take a key that does not exist for unchanged rather than for a failure. Only `check`, an `ETag` and what looks for versions see that it does not.
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

fn yes() -> bool {
    true
}

impl Default for DeleteObjects {
    fn default() -> Self {
        DeleteObjects {
            bucket: BucketName::default(),
            objects: None,
            prefix: None,
            matching: false,
            under: None,
            whole_bucket: false,
            include: None,
            exclude: None,
            modified_before: None,
            modified_after: None,
            larger_than: None,
            smaller_than: None,
            storage_class: None,
            all_versions: false,
            noncurrent: false,
            delete_markers: false,
            version_id: None,
            if_match: yes(),
            check: false,
            ignore_not_found: false,
            bypass_governance_retention: false,
            mfa: None,
            request_payer: false,
            expected_bucket_owner: None,
        }
    }
}

const BUCKET: &[&str] = &["arn:${Partition}:s3:::${bucket}"];
const OBJECTS: &[&str] = &["arn:${Partition}:s3:::${bucket}/${prefix/}${objects}"];
const MATCHING: &[&str] = &["arn:${Partition}:s3:::${bucket}/${under}*"];
const WHATEVER: &[&str] = &["arn:${Partition}:s3:::${bucket}/*"];
const VERSIONED: &[&str] = &["all_versions", "noncurrent", "delete_markers", "version_id"];
const LISTS_VERSIONS: &[&str] = &["all_versions", "noncurrent", "delete_markers"];
const HAS_VERSION: When = When::Rare("an element of `objects` has a `VersionId`");
/// To compare an ETag takes the permission to read the object (S3 user guide, how to perform conditional deletes).
const HAS_ETAG: When = When::Rare("an element of `objects` has an `ETag`, which S3 compares");

const GRANTS: &[Grant] = &[
    Grant::new("s3:DeleteObject", OBJECTS).when(When::Without(VERSIONED)),
    Grant::new("s3:DeleteObjectVersion", OBJECTS).when(When::With(VERSIONED)),
    Grant::new("s3:DeleteObjectVersion", OBJECTS).when(HAS_VERSION),
    Grant::new("s3:GetObject", OBJECTS).when(HAS_ETAG),
    Grant::new("s3:BypassGovernanceRetention", OBJECTS).when(When::With(&["bypass_governance_retention"])),
];

const GRANTS_FOR_MATCHING: &[Grant] = &[
    Grant::new("s3:DeleteObject", MATCHING).when(When::Without(VERSIONED)),
    Grant::new("s3:DeleteObjectVersion", MATCHING).when(When::With(VERSIONED)),
    Grant::new("s3:BypassGovernanceRetention", MATCHING).when(When::With(&["bypass_governance_retention"])),
];

#[async_trait]
impl Action for DeleteObjects {
    const META: Meta = Meta {
        path: "s3/delete_objects",
        effect: Effect::Delete,
        calls: &[
            Call::write("s3:DeleteObjects", GRANTS).when(When::Without(&["matching"])),
            Call::write("s3:DeleteObjects", GRANTS_FOR_MATCHING).when(When::With(&["matching"])),
            Call::write("s3:DeleteObject", GRANTS)
                .when(When::Rare("a key holds characters that XML 1.0 cannot carry, or the store knows no DeleteObjects")),
            Call::read("s3:ListObjectsV2", &[Grant::new("s3:ListBucket", BUCKET).condition("StringLike", "s3:prefix", "${under}*")])
                .when(When::With(&["matching"])),
            Call::read(
                "s3:ListObjectVersions",
                &[
                    Grant::new("s3:ListBucketVersions", BUCKET)
                        .condition("StringLike", "s3:prefix", "${under}*")
                        .when(When::With(LISTS_VERSIONS)),
                    Grant::new("s3:ListBucketVersions", BUCKET).when(When::Rare("the endpoint is not one of AWS")),
                ],
            )
            .when(When::With(VERSIONED)),
            Call::read(
                "s3:HeadObject",
                // Without the second S3 answers 403 for a key that does not exist.
                &[Grant::new("s3:GetObject", OBJECTS), Grant::new("s3:ListBucket", BUCKET)],
            )
            .when(When::With(&["check"])),
            HEAD_BUCKET.when(When::Rare("`check` is given, or it is a dry run")),
            Call::read("s3:ListObjectVersions", &[Grant::new("s3:ListBucketVersions", BUCKET)]).when(UNDONE),
            Call::write("s3:DeleteObject", &[Grant::new("s3:DeleteObjectVersion", WHATEVER)]).when(UNDONE),
            CREATE_SESSION,
        ],
        rules: &[
            Rule::AtLeastOne(&["objects", "matching"]),
            Rule::AtMostOne(&["objects", "matching"]),
            Rule::AtMostOne(&["all_versions", "version_id", "check"]),
            Rule::AtMostOne(&["all_versions", "noncurrent", "delete_markers"]),
            Rule::AtMostOne(&["version_id", "noncurrent", "delete_markers"]),
            Rule::AtMostOne(&["check", "noncurrent", "delete_markers"]),
            Rule::AtMostOne(&["matching", "prefix"]),
            Rule::AtMostOne(&["matching", "version_id"]),
            Rule::AtMostOne(&["matching", "check"]),
            Rule::AtMostOne(&["under", "whole_bucket"]),
            Rule::Requires("under", "matching"),
            Rule::Requires("whole_bucket", "matching"),
            Rule::Requires("include", "matching"),
            Rule::Requires("exclude", "matching"),
            Rule::Requires("modified_before", "matching"),
            Rule::Requires("modified_after", "matching"),
            Rule::Requires("larger_than", "matching"),
            Rule::Requires("smaller_than", "matching"),
            Rule::Requires("storage_class", "matching"),
        ],
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
            Example {
                title: "Delete all text files under `logs/2024/` that are smaller than 10 MiB, but for `logs/2024/b.txt`",
                input: r#"{"bucket": "example-bucket", "matching": true, "under": "logs/2024/", "include": ["*.txt"], "exclude": ["*/b.txt"], "smaller_than": "10MiB"}"#,
                output: "[]",
                given: &["logs/2024/a.txt", "logs/2024/b.txt"],
            },
            Example {
                title: "Bring back all that was deleted under `logs/`, in a bucket that keeps versions",
                input: r#"{"bucket": "example-bucket", "matching": true, "under": "logs/", "delete_markers": true}"#,
                output: "[]",
                given: &[],
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
            "`matching` deletes what a key stands for when its page is deleted; what was written since the page was listed is deleted with it.",
            "ETags are compared by S3 while it deletes, in general purpose and directory buckets; without `s3:GetObject` it denies that. A store that says that it cannot compare them \
             deletes nothing that has one. A store that passes over them says nothing: there `--check` compares them before.",
        ],
    };

    const BINDS: &'static [&'static str] = &["the ETag of an object that is selected with `matching`, or given with one"];
    const REVERSIBLE: Reversible = Reversible::Partly(
        "Of a run with `--journal`, `aaws undo` takes away the delete markers that it added in a bucket that keeps versions, so that the objects are there again; one that was \
         written anew since is left alone. What was deleted from a bucket that keeps no versions, and a version that was deleted, is gone for good.",
    );
    const KEEPS_JOURNAL: bool = false;

    type Output = FailedItems;

    async fn run(self, cx: &Context) -> Result<FailedItems> {
        let bucket = Bucket::new(cx, &self.bucket, self.expected_bucket_owner.as_ref(), self.request_payer)?;
        self.refuse_contradictions(bucket.is_directory())?;
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
        let of_versions = self.all_versions || selection.is_of_versions();
        let lookups = Lookups::new(cx, &bucket, self.ignore_not_found);
        let Matching { targets, summary, passed_over } = match self.objects {
            Some(objects) => {
                // An answer that a key is not there is no different when the bucket is not, and a plan has none at all.
                if (self.check || cx.dry_run()) && !objects.is_empty() {
                    bucket.look().await?;
                }
                let given = Given { objects, prefix: self.prefix, version: self.version_id, if_match: self.if_match };
                let targets = match (of_versions, self.check) {
                    (true, _) => given.versions(cx, &lookups, selection),
                    (false, true) => given.checked(cx, &lookups),
                    (false, false) => given.meant(cx, &lookups),
                };
                Matching { targets, summary: format!("delete from the bucket `{}`", bucket.name), passed_over: Arc::default() }
            }
            None => Matching::new(cx, &bucket, self.under.map(String::from), of_versions, selection).await?,
        };
        let place = Place { bucket: self.bucket, owner: self.expected_bucket_owner, requester_pays: self.request_payer };
        let delete = Deletion {
            bucket,
            place,
            lookups,
            summary,
            bypass: self.bypass_governance_retention,
            mfa: self.mfa.map(String::from),
            ignore_not_found: self.ignore_not_found,
            passed_over,
            findings: Findings::default(),
        };
        Ok(cx.change(targets, delete).await?.failed())
    }
}

aaws::register!(DeleteObjects, undo = AddedMarker);

impl DeleteObjects {
    /// What the rules cannot say, or do not say to whoever writes the input in Rust.
    fn refuse_contradictions(&self, directory: bool) -> Result<()> {
        let keeps_versions = self.all_versions || self.noncurrent || self.delete_markers || self.version_id.is_some();
        if directory && keeps_versions {
            return Err(Error::field("bucket", format!("`bucket`: `{}` is a directory bucket, which keeps no versions", self.bucket)));
        }
        match &self.objects {
            Some(_) if self.matching => Err(Error::field("matching", "give only one of `objects` or `matching`")),
            Some(objects) if self.version_id.is_some() && objects.len() != 1 => {
                Err(Error::field("version_id", "`version_id` names a version of one object: give exactly one in `objects`"))
            }
            Some(_) if self.selects() => Err(Error::field("matching", "what selects goes only with `matching`, and not with `objects`")),
            None if !self.matching => Err(Error::field("objects", "give at least one of `objects` or `matching`")),
            None if self.under.is_none() && !self.whole_bucket => {
                let message = "`matching` deletes all that it finds: give `under` with what the keys begin with, or `whole_bucket`";
                Err(Error::field("under", message))
            }
            None if self.under.is_some() && self.whole_bucket => {
                Err(Error::field("whole_bucket", "give only one of `under` or `whole_bucket`"))
            }
            _ => Ok(()),
        }
    }

    /// Whether anything is given that only a listing can tell.
    fn selects(&self) -> bool {
        self.under.is_some()
            || self.whole_bucket
            || self.include.is_some()
            || self.exclude.is_some()
            || self.modified_before.is_some()
            || self.modified_after.is_some()
            || self.larger_than.is_some()
            || self.smaller_than.is_some()
            || self.storage_class.is_some()
    }
}

/// Each looked up, many at once, but for what `passes`.
fn looked_up<F>(
    targets: BoxStream<'static, Result<Target>>,
    cx: &Context,
    passes: fn(&Target) -> bool,
    look: impl Fn(Target) -> F + Send + 'static,
) -> BoxStream<'static, Result<Target>>
where
    F: Future<Output = Result<Target>> + Send + 'static,
{
    let look = Box::new(move |target: Target| look(target).boxed());
    LookedUp { targets: targets.fuse(), passes, look, looking: FuturesOrdered::new(), width: cx.concurrency() }.boxed()
}

/// Targets in order, of which some are looked up and the others pass by: of millions of keys, a future for each would be much of the work. How many they
/// are stays known.
struct LookedUp {
    targets: Fuse<BoxStream<'static, Result<Target>>>,
    passes: fn(&Target) -> bool,
    look: Box<dyn Fn(Target) -> BoxFuture<'static, Result<Target>> + Send>,
    /// With what passes behind the first that is looked up.
    looking: FuturesOrdered<BoxFuture<'static, Result<Target>>>,
    width: usize,
}

impl Stream for LookedUp {
    type Item = Result<Target>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Target>>> {
        while self.looking.len() < self.width {
            let Poll::Ready(Some(target)) = self.targets.poll_next_unpin(cx) else { break };
            let known = match target {
                Ok(target) if !(self.passes)(&target) => {
                    let look = (self.look)(target);
                    self.looking.push_back(look);
                    continue;
                }
                known => known,
            };
            if self.looking.is_empty() {
                return Poll::Ready(Some(known));
            }
            self.looking.push_back(future::ready(known).boxed());
        }
        match self.looking.poll_next_unpin(cx) {
            Poll::Ready(None) if !self.targets.is_done() => Poll::Pending,
            next => next,
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let ((least, most), looking) = (self.targets.size_hint(), self.looking.len());
        (least.saturating_add(looking), most.and_then(|most| most.checked_add(looking)))
    }
}

/// The objects that were given, and how they are meant.
struct Given {
    objects: Items<ObjectId>,
    prefix: Option<Prefix>,
    version: Option<VersionId>,
    if_match: bool,
}

impl Given {
    /// As they stand.
    fn targets(self) -> BoxStream<'static, Result<Target>> {
        let Given { objects, prefix, version, if_match } = self;
        let version = version.map(String::from);
        let mut slips = Slips::default();
        let target = move |object: ObjectId| {
            slips.look(object.key.as_str());
            let target = object.target(prefix.as_ref(), if_match);
            match &version {
                Some(version) => Target { version: Some(version.clone()), etag: None, ..target },
                None => target,
            }
        };
        objects.stream().map_ok(target).boxed()
    }

    /// As they stand, but for what has to be looked at first.
    fn meant(self, cx: &Context, lookups: &Lookups) -> BoxStream<'static, Result<Target>> {
        let lookups = lookups.clone();
        // A plain key is as it stands.
        let is_plain = |target: &Target| target.version.is_none() && target.etag.is_none();
        looked_up(self.targets(), cx, is_plain, move |target| lookups.clone().meant(target))
    }

    /// Each with whether it is there, and still the same.
    fn checked(self, cx: &Context, lookups: &Lookups) -> BoxStream<'static, Result<Target>> {
        let lookups = lookups.clone();
        looked_up(self.targets(), cx, |_| false, move |target| lookups.clone().object(target))
    }

    /// The versions of each that are selected.
    fn versions(self, cx: &Context, lookups: &Lookups, selection: Selection) -> BoxStream<'static, Result<Target>> {
        let (lookups, selection) = (lookups.clone(), Arc::new(selection));
        let found = self.targets().map_ok(move |target| lookups.clone().versions(target, Arc::clone(&selection)));
        let found = found.try_buffered(cx.concurrency());
        found.map_ok(|targets| stream::iter(targets.into_iter().map(Ok))).try_flatten().boxed()
    }
}

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_is_looked_up_and_what_passes_keep_their_order_and_their_number() {
        let mut rng = fastrand::Rng::with_seed(12);
        for _ in 0..50 {
            let count = rng.usize(..60);
            let given: Vec<(String, bool)> = (0..count).map(|n| (format!("k{n}"), rng.u8(..3) == 0)).collect();
            let target = |(key, is_plain): &(String, bool)| Target::of(key.clone(), (!is_plain).then(|| "v".to_owned()));
            let targets: Vec<Result<Target>> = given.iter().map(target).map(Ok).collect();
            let (at_once, waits) = (Arc::new(AtomicUsize::new(0)), std::sync::Mutex::new(rng.fork()));
            let look = {
                let at_once = Arc::clone(&at_once);
                move |target: Target| {
                    let (at_once, waits) = (Arc::clone(&at_once), waits.lock().expect("the lock").usize(..5));
                    async move {
                        assert!(at_once.fetch_add(1, Ordering::Relaxed) < 4, "more than four at once");
                        for _ in 0..waits {
                            tokio::task::yield_now().await;
                        }
                        at_once.fetch_sub(1, Ordering::Relaxed);
                        Ok::<_, Error>(Target { kind: Some("looked up"), ..target })
                    }
                    .boxed()
                }
            };
            let mut targets = LookedUp {
                targets: stream::iter(targets).boxed().fuse(),
                passes: |target| target.version.is_none(),
                look: Box::new(look),
                looking: FuturesOrdered::new(),
                width: 4,
            };
            for (place, (key, is_plain)) in given.iter().enumerate() {
                assert_eq!(targets.size_hint(), (count - place, Some(count - place)));
                let target = targets.try_next().await.expect("no error").expect("another one");
                assert_eq!((&target.key, target.kind.is_none()), (key, *is_plain));
            }
            assert!(targets.try_next().await.expect("no error").is_none());
        }
    }
}
