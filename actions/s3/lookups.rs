//! What is looked up of keys before anything is deleted: whether an object is there and still the one that was listed, and which versions it has.

use std::sync::Arc;

use aaws::{Code, Context, Error, Failure, Outcome, Result};
use tokio_util::sync::CancellationToken;

use super::bucket::Bucket;
use super::listing::{self, Kind, ListEntry, NULL_VERSION};
use super::selection::Selection;

/// One thing to delete.
#[derive(Debug, Clone)]
pub struct Target {
    /// The object's key.
    pub key: String,
    /// The version that is meant; none is what the key stands for now.
    pub version: Option<String>,
    /// The entity tag that it must still have. Only of what has no version.
    pub etag: Option<String>,
    /// The entity tag that a listing shows: a plan is bound to it, and S3 does not look at it. Only of what has no version.
    pub listed: Option<String>,
    /// What the version is, where that was looked up.
    pub kind: Option<&'static str>,
    /// Its bytes, where they are known.
    pub size: u64,
    /// What is already clear: it is not there, is another one by now, or could not be looked at. Of most nothing is, and all are handed on often.
    pub precheck: Option<Box<Outcome>>,
}

impl Target {
    /// An object as it is now, or a version of it.
    pub fn of(key: String, version: Option<String>) -> Self {
        Target { key, version, etag: None, listed: None, kind: None, size: 0, precheck: None }
    }

    /// What a listing found: a version exactly, an object as it will be then.
    pub fn found(found: ListEntry) -> Self {
        let (version, kind) = match found.kind {
            Kind::Version(version) => (Some(version.id), Some("version")),
            Kind::DeleteMarker(version) => (Some(version.id), Some("delete marker")),
            Kind::Object | Kind::Folder => (None, None),
        };
        // A version never becomes another one.
        let listed = found.etag.filter(|_| version.is_none());
        Target { kind, listed, size: found.size.unwrap_or_default(), ..Target::of(found.key, version) }
    }

    /// What it is called in reports and plans.
    pub fn id(&self) -> String {
        match &self.version {
            Some(version) => format!("{}?versionId={version}", self.key),
            None => self.key.clone(),
        }
    }

    fn settled(key: String, outcome: Outcome) -> Self {
        Target { precheck: Some(Box::new(outcome)), ..Target::of(key, None) }
    }
}

/// What became of an object that must be the one that was listed, and is not.
pub fn changed<D>() -> Outcome<D> {
    Outcome::skipped_as(Code::Changed, "it is not the object that was listed: its ETag is another one by now")
}

/// Looks things up until the run ends: from then on each key is one that was not looked at, so that it is named in the report, and never changed.
/// Cheap to clone.
#[derive(Clone)]
pub struct Lookups {
    cx: Context,
    bucket: Bucket,
    ignore_not_found: bool,
    ended: CancellationToken,
}

impl Lookups {
    /// In a bucket.
    pub fn new(cx: &Context, bucket: &Bucket, ignore_not_found: bool) -> Self {
        Lookups { cx: cx.clone(), bucket: bucket.clone(), ignore_not_found, ended: CancellationToken::new() }
    }

    /// Whatever follows would meet the same error.
    pub fn end(&self) {
        self.ended.cancel();
    }

    /// The object, with the outcome that it does not exist, is another one by now, or cannot be seen. What is meant by its version is not looked at.
    pub async fn object(self, target: Target) -> Result<Target> {
        if target.version.is_some() { self.meant(target).await } else { self.looked_at(target).await }
    }

    async fn looked_at(self, target: Target) -> Result<Target> {
        let found = tokio::select! {
            biased;
            () = self.over() => return Ok(not_looked_at(target.key)),
            found = self.precheck(&target) => found,
        };
        Ok(Target { precheck: found.map(Box::new), ..target })
    }

    /// The versions and delete markers of one key that are selected; when there is none, or they cannot be listed, that. A version that is meant by its
    /// id is that one alone.
    pub async fn versions(self, target: Target, selection: Arc<Selection>) -> Result<Vec<Target>> {
        if target.version.is_some() && !selection.is_of_versions() {
            return Ok(vec![self.meant(target).await?]);
        }
        let Target { key, version, etag, .. } = target;
        let found = tokio::select! {
            biased;
            () = self.over() => return Ok(vec![not_looked_at(key)]),
            found = listing::entries(&self.bucket, &key) => found,
        };
        let found = match found {
            Ok(found) if found.is_empty() => {
                return Ok(vec![Target::settled(key, Outcome::not_found(self.ignore_not_found, "no version of it exists"))]);
            }
            // It is the object that was listed, with what is below it.
            Ok(found) if is_another(etag.as_deref(), latest(&found).and_then(|latest| latest.etag.as_deref())) => {
                return Ok(vec![Target::settled(key, changed())]);
            }
            Ok(found) => match version {
                Some(version) => {
                    let one: Vec<ListEntry> = found.into_iter().filter(|found| found.version().is_some_and(|v| v.id == version)).collect();
                    if one.is_empty() {
                        let outcome = Outcome::not_found(self.ignore_not_found, "no such version of it exists");
                        return Ok(vec![Target { version: Some(version), ..Target::settled(key, outcome) }]);
                    }
                    one
                }
                None => found,
            },
            Err(e) => return Ok(vec![Target::settled(key, Outcome::Failed(self.failure(&e)))]),
        };
        let targets: Vec<Target> = found.into_iter().filter(|found| selection.takes(found)).map(Target::found).collect();
        if targets.is_empty() {
            return Ok(vec![Target::settled(key, Outcome::Unchanged("it has versions, and none of those that were asked for".into()))]);
        }
        Ok(targets)
    }

    /// A thing as it is meant, looked at where S3 does not do that itself:
    ///
    /// - AWS never takes a version for the object itself; what else answers there may, so that the version is looked for first (Garage 2.5 and s3rver 3.7
    ///   delete the object).
    /// - The version `null` is whatever was written last without versions: its ETag says which.
    /// - Another store may pass over the condition on an ETag without a word (Garage 2.5 does).
    pub async fn meant(self, target: Target) -> Result<Target> {
        let elsewhere = self.cx.custom_endpoint("s3");
        let Some(version) = target.version.clone() else {
            return if elsewhere && target.etag.is_some() { self.looked_at(target).await } else { Ok(target) };
        };
        if !elsewhere && (version != NULL_VERSION || target.etag.is_none()) {
            return Ok(Target { etag: None, ..target });
        }
        let (key, etag) = (target.key, target.etag);
        let found = tokio::select! {
            biased;
            () = self.over() => return Ok(Target { version: Some(version), ..not_looked_at(key) }),
            found = listing::entries(&self.bucket, &key) => found,
        };
        let found = found.map(|found| found.into_iter().find(|found| found.version().is_some_and(|v| v.id == version)));
        let precheck = match found {
            Ok(Some(found)) if is_another(etag.as_deref(), found.etag.as_deref()) => changed(),
            Ok(Some(found)) => return Ok(Target::found(found)),
            Ok(None) => Outcome::not_found(self.ignore_not_found, "no such version of it exists"),
            Err(e) => Outcome::Failed(self.failure(&e)),
        };
        Ok(Target { version: Some(version), ..Target::settled(key, precheck) })
    }

    /// When nothing more is to be looked up.
    async fn over(&self) {
        tokio::select! {
            () = self.cx.cancellation().cancelled() => {}
            () = self.ended.cancelled() => {}
        }
    }

    fn failure(&self, error: &Error) -> Failure {
        if error.is_fatal() {
            self.end();
        }
        Failure::from(error)
    }

    async fn precheck(&self, target: &Target) -> Option<Outcome> {
        match self.bucket.head(&target.key).await {
            Ok(Some(head)) => is_another(target.etag.as_deref(), head.e_tag()).then(changed),
            Ok(None) => Some(Outcome::not_found(self.ignore_not_found, "it does not exist")),
            Err(e) => Some(Outcome::Failed(self.failure(&e))),
        }
    }
}

/// The version that a key stands for now.
fn latest(found: &[ListEntry]) -> Option<&ListEntry> {
    found.iter().find(|found| found.version().is_some_and(|version| version.latest))
}

/// Whether an object has another entity tag than it had.
fn is_another(listed: Option<&str>, now: Option<&str>) -> bool {
    listed.is_some_and(|listed| now.is_some() && !is_same(listed, now))
}

/// Whether an object surely has the entity tag that it had. Some stores write it without its quotes.
pub fn is_same(was: &str, now: Option<&str>) -> bool {
    now.is_some_and(|now| now.trim_matches('"') == was.trim_matches('"'))
}

fn not_looked_at(key: String) -> Target {
    Target::settled(key, Outcome::skipped_as(Code::NotStarted, "not started: it was not looked up before the run ended"))
}

#[cfg(test)]
mod tests {
    use super::is_another;

    #[test]
    fn an_etag_is_the_same_with_and_without_quotes() {
        assert!(!is_another(Some("\"a\""), Some("a")) && !is_another(Some("\"a\""), Some("\"a\"")));
        assert!(is_another(Some("\"a\""), Some("\"b\"")));
        assert!(!is_another(None, Some("b")) && !is_another(Some("a"), None), "what is not known differs from nothing");
    }
}
