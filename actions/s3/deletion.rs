//! How objects are deleted: a thousand a request, with what S3 says of each, and one by one where that does not do.

mod answer;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aaws::{Change, Code, Context, Error, Failure, Outcome, Result, async_trait, is_throttling};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{Delete, DeletedObject, ObjectIdentifier};
use futures::future::{self, BoxFuture};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::bucket::{Bucket, Place, explain};
use super::lookups::{Lookups, Target, changed};
use super::markers::AddedMarker;
use answer::{Answered, ReadAnswer};

/// The most keys that one DeleteObjects takes (S3 API reference).
const BATCH: usize = 1000;

/// The most bytes of keys in one request; S3 refuses bodies much above a megabyte.
const BATCH_BYTES: usize = 1_000_000;

/// What a key adds to a request beside itself: `<Object><Key></Key><VersionId>…</VersionId></Object>`.
const KEY_OVERHEAD: usize = 100;

/// What an ETag adds to a request: `<ETag>&quot;…&quot;</ETag>`.
const ETAG_OVERHEAD: usize = 80;

/// Codes by which a whole request is refused because of one of its keys (S3 API reference, error responses).
const BLAMES_A_KEY: &[&str] = &["KeyTooLongError", "MalformedXML"];

/// Codes by which a store says that it has no such operation, or does not know something in the request.
const NOT_KNOWN: &[&str] = &["NotImplemented", "MethodNotAllowed"];

/// How the targets of one run are deleted.
pub struct Deletion {
    pub bucket: Bucket,
    /// The same, for another process.
    pub place: Place,
    pub lookups: Lookups,
    /// What is asked: "delete from the bucket `b`".
    pub summary: String,
    /// Delete what Object Lock protects in governance mode.
    pub bypass: bool,
    /// Serial number and digits of the MFA device.
    pub mfa: Option<String>,
    pub ignore_not_found: bool,
    /// How many things were listed by now that are not selected.
    pub passed_over: Arc<AtomicU64>,
    pub findings: Findings,
}

/// What was found out of the bucket and its store on the way.
#[derive(Default)]
pub struct Findings {
    told_of_markers: AtomicBool,
    /// The store knows no DeleteObjects.
    one_by_one: AtomicBool,
    /// The store knows no ETag in a DeleteObjects.
    no_conditions: AtomicBool,
}

/// What became of a target, with the version id of the delete marker that was added to it.
type KeyOutcome = Outcome<Option<String>>;

/// What S3 answered of one target.
enum Answer<'a> {
    Deleted(&'a DeletedObject),
    Failed(Failure),
}

#[async_trait]
impl Change for Deletion {
    type Item = Target;
    type Done = ();

    fn id(&self, target: &Target) -> String {
        target.id()
    }

    fn kind(&self, target: &Target) -> Option<&'static str> {
        target.kind
    }

    fn summary(&self) -> String {
        self.summary.clone()
    }

    fn precheck(&self, target: &Target) -> Option<Outcome> {
        target.precheck.as_deref().cloned()
    }

    fn plan(&self, target: &Target) -> Option<String> {
        let still = if target.etag.is_some() { "if it is still the object that was listed: " } else { "" };
        Some(match (&target.version, target.kind) {
            (Some(version), kind) => format!("{} {version} would be gone for good", kind.unwrap_or("version")),
            (None, _) => format!("{still}on a versioned bucket a delete marker would hide it, and its data would stay"),
        })
    }

    fn passed_over(&self) -> u64 {
        self.passed_over.load(Ordering::Relaxed)
    }

    fn state(&self, target: &Target) -> Option<Value> {
        let etag = target.listed.as_ref().or(target.etag.as_ref())?;
        Some(json!({ "ETag": etag }))
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn weight(&self, target: &Target) -> usize {
        let escapes = target.key.bytes().filter(|b| matches!(b, b'<' | b'>' | b'&' | b'"' | b'\'')).count() * 5;
        target.key.len() + escapes + KEY_OVERHEAD + target.etag.as_ref().map_or(0, |etag| etag.len() + ETAG_OVERHEAD)
    }

    fn max_weight(&self) -> usize {
        BATCH_BYTES
    }

    fn alone(&self, target: &Target) -> bool {
        !xml_carries(&target.key)
    }

    async fn apply(&self, cx: &Context, targets: &[Target]) -> Result<Vec<Outcome>> {
        let told = match targets {
            [one] if self.alone(one) => vec![self.delete_one(one).await],
            _ => self.delete_distinct(cx, targets).await,
        };
        if told.iter().any(|outcome| matches!(outcome, Outcome::Failed(failure) if failure.fatal.is_some())) {
            self.lookups.end();
        }
        self.note_markers(cx, targets, &told).await;
        Ok(told.into_iter().map(|outcome| outcome.map(drop)).collect())
    }
}

impl Deletion {
    /// Notes the delete markers that were added, those of one request together: nobody knows their ids before its answer.
    async fn note_markers(&self, cx: &Context, targets: &[Target], told: &[KeyOutcome]) {
        if !cx.keeps_journal() {
            return;
        }
        let added = |(target, outcome): (&Target, &KeyOutcome)| match outcome {
            Outcome::Done(Some(marker), _) => {
                Some(AddedMarker { place: self.place.clone(), key: target.key.clone(), marker: marker.clone() })
            }
            _ => None,
        };
        let added: Vec<AddedMarker> = targets.iter().zip(told).filter_map(added).collect();
        if added.is_empty() {
            return;
        }
        let notes: Vec<(&str, &AddedMarker)> = added.iter().map(|step| (step.key.as_str(), step)).collect();
        if let Err(e) = cx.note_all(&notes).await {
            // They are there all the same; nothing is sent behind them, because that could not be noted either.
            tracing::error!("{e}");
        }
    }

    /// An answer says of a key what became of it, and not of which mention of it: what is there twice goes in requests one after another.
    async fn delete_distinct(&self, cx: &Context, targets: &[Target]) -> Vec<KeyOutcome> {
        if are_distinct(targets) {
            return self.delete_batch(cx, targets).await;
        }
        let mut mentions: HashMap<(&str, Option<&str>), usize> = HashMap::new();
        let mut rounds: Vec<Vec<usize>> = Vec::new();
        for (place, target) in targets.iter().enumerate() {
            let mention = mentions.entry((target.key.as_str(), target.version.as_deref())).or_default();
            match rounds.get_mut(*mention) {
                Some(round) => round.push(place),
                None => rounds.push(vec![place]),
            }
            *mention += 1;
        }
        let mut told: Vec<Option<KeyOutcome>> = targets.iter().map(|_| None).collect();
        for round in rounds {
            let batch: Vec<Target> = round.iter().filter_map(|place| targets.get(*place)).cloned().collect();
            for (place, answer) in round.into_iter().zip(self.delete_batch(cx, &batch).await) {
                told.get_mut(place).map(|told| told.replace(answer));
            }
        }
        told.into_iter().map(|told| told.unwrap_or_else(unanswered)).collect()
    }

    /// All of them in one request, if S3 takes them so.
    fn delete_batch<'a>(&'a self, cx: &'a Context, targets: &'a [Target]) -> BoxFuture<'a, Vec<KeyOutcome>> {
        Box::pin(async move {
            let conditional = targets.iter().any(|target| target.etag.is_some());
            if conditional && self.knows_no_conditions() {
                return self.delete_unconditional(cx, targets).await;
            }
            if self.findings.one_by_one.load(Ordering::Relaxed) {
                return self.delete_each(cx, targets).await;
            }
            let error = match self.send_batch(cx, targets).await {
                Ok(outcomes) => return outcomes,
                Err(error) => error,
            };
            let says = |codes: &[&str]| error.code().is_some_and(|code| codes.contains(&code));
            match targets {
                // Whether it is the operation or the ETags that it does not know, a request without them tells.
                _ if conditional && says(NOT_KNOWN) => {
                    if !self.findings.no_conditions.swap(true, Ordering::Relaxed) {
                        tracing::warn!("the store cannot compare ETags when it deletes: what has one is left alone");
                    }
                    self.delete_unconditional(cx, targets).await
                }
                _ if says(NOT_KNOWN) => {
                    if !self.findings.one_by_one.swap(true, Ordering::Relaxed) {
                        tracing::info!("the store knows no DeleteObjects: objects are deleted one by one");
                    }
                    self.delete_each(cx, targets).await
                }
                // It may go in a URL where it does not in a body.
                [one] if says(BLAMES_A_KEY) => vec![self.delete_one(one).await],
                // One key must not sink the others: halves of halves find it.
                [_, _, ..] if says(BLAMES_A_KEY) => {
                    let (left, right) = targets.split_at(targets.len() / 2);
                    let (mut left, right) = future::join(self.delete_batch(cx, left), self.delete_batch(cx, right)).await;
                    left.extend(right);
                    left
                }
                _ => all_alike(&error, targets.len()),
            }
        })
    }

    /// A store without DeleteObjects is not trusted to look at a condition that it may take for a header like any other.
    fn knows_no_conditions(&self) -> bool {
        self.findings.no_conditions.load(Ordering::Relaxed) || self.findings.one_by_one.load(Ordering::Relaxed)
    }

    /// Leaves those that have a condition alone, and deletes the others.
    async fn delete_unconditional(&self, cx: &Context, targets: &[Target]) -> Vec<KeyOutcome> {
        let plain: Vec<Target> = targets.iter().filter(|target| target.etag.is_none()).cloned().collect();
        let deleted = if plain.is_empty() { Vec::new() } else { self.delete_batch(cx, &plain).await };
        let mut deleted = deleted.into_iter();
        let outcome = |target: &Target| match target.etag {
            Some(_) => condition_not_known(),
            None => deleted.next().unwrap_or_else(unanswered),
        };
        targets.iter().map(outcome).collect()
    }

    async fn delete_each(&self, cx: &Context, targets: &[Target]) -> Vec<KeyOutcome> {
        let deletions: Vec<_> = targets.iter().map(|target| self.delete_one(target)).collect();
        stream::iter(deletions).buffered(cx.concurrency()).collect().await
    }

    async fn send_batch(&self, cx: &Context, targets: &[Target]) -> Result<Vec<KeyOutcome>> {
        let attempted = || format!("delete {} objects from the bucket `{}`", targets.len(), self.bucket.name);
        let identifier = |t: &Target| {
            let identifier = ObjectIdentifier::builder().key(&t.key).set_version_id(t.version.clone());
            identifier.set_e_tag(t.etag.clone()).build()
        };
        let objects = targets.iter().map(identifier).collect::<Result<Vec<_>, _>>();
        let delete = objects.and_then(|o| Delete::builder().set_objects(Some(o)).build());
        let delete = delete.map_err(|e| Error::Failed(format!("cannot {}: {e}", attempted())))?;
        let reading = ReadAnswer::default();
        let (bucket, bypass, mfa, read) = (self.bucket.clone(), self.bypass, self.mfa.clone(), reading.clone());
        let answer = aside(async move {
            let answer = bucket.send(|s3| {
                let request = s3.delete_objects().bucket(&bucket.name).delete(delete.clone());
                let request = request.set_bypass_governance_retention(bypass.then_some(true)).set_mfa(mfa.clone());
                let request = request.set_request_payer(bucket.payer.clone()).set_expected_bucket_owner(bucket.owner.clone());
                request.customize().interceptor(read.clone()).send()
            });
            answer.await
        });
        let answer = match answer.await? {
            // S3 may answer 200 and say in the body that the whole request failed: then each key did, and may be tried again.
            Err(SdkError::ResponseError(e)) if let Some(failure) = e.raw().body().bytes().and_then(root_error) => {
                if is_throttling(&failure.code) {
                    self.throttled(cx, targets.len());
                }
                return Ok(targets.iter().map(|target| self.failed(target, failure.clone())).collect());
            }
            answer => explain(answer, attempted)?,
        };
        // Mostly each is answered in its place.
        let in_place = |(target, deleted): (&Target, &DeletedObject)| {
            deleted.key() == Some(target.key.as_str()) && deleted.version_id() == target.version.as_deref()
        };
        let Answered { deleted, errors } = reading.take().unwrap_or_else(|| answer.into());
        if errors.is_empty() && deleted.len() == targets.len() && targets.iter().zip(&deleted).all(in_place) {
            return Ok(targets.iter().zip(&deleted).map(|(target, deleted)| self.answered(target, deleted)).collect());
        }
        // A key is in `Deleted` or in `Errors`, in any order; a reply with errors only has no `Deleted` at all. Where no version was asked for, a store
        // may name one all the same (Garage: the one that is gone), so that only the key tells which target it is.
        let versions: HashSet<(&str, &str)> = targets.iter().filter_map(|t| Some((t.key.as_str(), t.version.as_deref()?))).collect();
        let mut answers: HashMap<(&str, Option<&str>), Answer<'_>> = HashMap::new();
        for deleted in &deleted {
            let key = deleted.key().unwrap_or_default();
            let version = deleted.version_id().filter(|version| versions.contains(&(key, *version)));
            answers.insert((key, version), Answer::Deleted(deleted));
        }
        let mut throttled = 0;
        for error in &errors {
            let (key, code) = (error.key().unwrap_or_default(), error.code().unwrap_or("Unknown"));
            throttled += usize::from(is_throttling(code));
            let version = error.version_id().filter(|version| versions.contains(&(key, *version)));
            answers.insert((key, version), Answer::Failed(failure(code, error.message().unwrap_or_default())));
        }
        if throttled > 0 {
            self.throttled(cx, throttled);
        }
        let outcome = |target: &Target| {
            let key = target.key.as_str();
            let exact = answers.get(&(key, target.version.as_deref()));
            match exact.or_else(|| answers.get(&(key, None))) {
                Some(Answer::Deleted(deleted)) => self.answered(target, deleted),
                Some(Answer::Failed(failure)) => self.failed(target, failure.clone()),
                None => unanswered(),
            }
        };
        Ok(targets.iter().map(outcome).collect())
    }

    /// Tells the limiter of keys that were turned away in a request that was not.
    fn throttled(&self, cx: &Context, keys: usize) {
        cx.throttled_items("s3:DeleteObjects", &self.bucket.name, u32::try_from(keys).unwrap_or(u32::MAX));
    }

    async fn delete_one(&self, target: &Target) -> KeyOutcome {
        if target.etag.is_some() && self.knows_no_conditions() {
            return condition_not_known();
        }
        let answer = self.bucket.send(|s3| {
            let request = s3.delete_object().bucket(&self.bucket.name).key(&target.key).set_version_id(target.version.clone());
            let request = request.set_if_match(target.etag.clone());
            let request = request.set_bypass_governance_retention(self.bypass.then_some(true)).set_mfa(self.mfa.clone());
            request.set_request_payer(self.bucket.payer.clone()).set_expected_bucket_owner(self.bucket.owner.clone()).send()
        });
        match explain(answer.await, || format!("delete `{}` from the bucket `{}`", target.key.escape_debug(), self.bucket.name)) {
            Ok(done) => {
                let marker = done.version_id().filter(|_| done.delete_marker() == Some(true));
                self.deleted(done.delete_marker(), marker, target.version.as_deref())
            }
            Err(error) => self.failed(target, Failure::from(&error)),
        }
    }

    /// What S3 says of one item. It takes what is not there for deleted, unless it has to compare an ETag; other stores do not.
    fn failed(&self, target: &Target, failure: Failure) -> KeyOutcome {
        match failure.code.as_str() {
            "PreconditionFailed" if target.etag.is_some() => changed(),
            "NotImplemented" if target.etag.is_some() => condition_not_known(),
            // Somebody wrote or deleted the object at the same moment: the next answer tells which object it is now.
            "ConditionalRequestConflict" => Outcome::Failed(Failure { transient: true, ..failure }),
            "NoSuchKey" | "NoSuchVersion" if self.ignore_not_found => Outcome::Unchanged(failure.message),
            _ => Outcome::Failed(failure),
        }
    }

    /// What S3 says that it did with one item of a batch.
    fn answered(&self, target: &Target, deleted: &DeletedObject) -> KeyOutcome {
        let marker = deleted.delete_marker_version_id().filter(|_| deleted.version_id().is_none());
        self.deleted(deleted.delete_marker(), marker, target.version.as_deref())
    }

    /// What S3 did when it deleted.
    fn deleted(&self, marker: Option<bool>, marker_version: Option<&str>, version: Option<&str>) -> KeyOutcome {
        let marked = marker == Some(true);
        let note = match version {
            Some(version) if marked => Some(format!("the delete marker {version} is gone")),
            Some(version) => Some(format!("version {version} is gone")),
            None if marked || marker_version.is_some() => {
                if !self.findings.told_of_markers.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "the bucket `{}` is versioned: a delete marker hides each object, its data stays and is billed; --all_versions removes it",
                        self.bucket.name
                    );
                }
                Some(format!("a delete marker was added ({}): it is hidden, its data stays", marker_version.unwrap_or("no version")))
            }
            None => None,
        };
        let added = marker_version.filter(|_| version.is_none()).map(str::to_owned);
        Outcome::Done(added, note)
    }
}

/// Whether each is there once. What was listed is in order, or made of a few pages that are: then this is hardly more than a look.
fn are_distinct(targets: &[Target]) -> bool {
    let mut named: Vec<(&str, Option<&str>)> = targets.iter().map(|target| (target.key.as_str(), target.version.as_deref())).collect();
    // This sort makes use of parts that are in order already.
    named.sort();
    named.is_sorted_by(|a, b| a < b)
}

/// Does something on a task of its own, which ends with whoever waits for it. A thousand keys are written, signed and read in a request: where all batches
/// are polled, they would take turns at that.
async fn aside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let mut tasks = JoinSet::new();
    tasks.spawn(work);
    let done = tasks.join_next().await.transpose();
    let done = done.map_err(|e| Error::Failed(format!("the request broke off: {e}")))?;
    done.ok_or_else(|| Error::Failed("the request was not sent: this is a mistake of this program".into()))
}

/// An answer that leaves a key out does not say that it was deleted.
fn unanswered() -> KeyOutcome {
    Outcome::Failed(Failure::permanent(Code::NoAnswer, "S3's answer does not mention this key"))
}

/// What a condition comes to where it would not be looked at: it is not left out.
fn condition_not_known() -> KeyOutcome {
    let message = "the store cannot compare ETags when it deletes, so that it was not deleted; \
                   --if_match=false deletes what is there now, whatever it is";
    Outcome::Failed(Failure::permanent("NotImplemented", message))
}

/// What the error of a whole request comes to for each of its items. One that ends the run is said of one of them: nothing was done with the others.
fn all_alike(error: &Error, items: usize) -> Vec<KeyOutcome> {
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
    fn what_is_there_twice_is_found_in_whatever_order() {
        let targets = |of: &[(&str, Option<&str>)]| -> Vec<Target> {
            of.iter().map(|(key, version)| Target::of((*key).to_owned(), version.map(str::to_owned))).collect()
        };
        let all_distinct: [&[(&str, Option<&str>)]; 4] = [
            &[],
            &[("b", None)],
            &[("c", None), ("d", None), ("a", None), ("b", None)],
            &[("a", Some("2")), ("a", None), ("a", Some("1"))],
        ];
        for distinct in all_distinct {
            assert!(are_distinct(&targets(distinct)), "{distinct:?}");
        }
        let some_twice: [&[(&str, Option<&str>)]; 3] = [
            &[("a", None), ("a", None)],
            &[("b", None), ("c", None), ("a", None), ("b", None)],
            &[("a", Some("1")), ("b", None), ("a", Some("1"))],
        ];
        for twice in some_twice {
            assert!(!are_distinct(&targets(twice)), "{twice:?}");
        }
    }

    #[test]
    fn characters_that_xml_cannot_carry() {
        assert!(xml_carries("a\tb\nc d/\u{e9}\u{1f600}<&>"));
        for odd in ["\u{0}", "\u{1}", "\r", "\u{1f}", "\u{fffe}", "\u{ffff}"] {
            assert!(!xml_carries(odd), "{odd:?}");
        }
    }
}
