//! What is looked up of keys before anything is deleted: whether an object is there, and which versions it has.

use std::pin::pin;

use aaws::{Code, Context, Error, Failure, Next, Outcome, Page, Result, pages};
use aws_sdk_s3::types::EncodingType;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::bucket::{Bucket, Decoder, explain};

/// One thing to delete.
pub struct Target {
    /// The object's key.
    pub key: String,
    /// The version that is meant; none is what the key stands for now.
    pub version: Option<String>,
    /// What the version is, where that was looked up.
    pub kind: Option<&'static str>,
    /// What is already clear: it is not there, or could not be looked at.
    pub precheck: Option<Outcome>,
}

impl Target {
    /// An object as it is now, or a version of it.
    pub fn of(key: String, version: Option<String>) -> Self {
        Target { key, version, kind: None, precheck: None }
    }

    fn settled(key: String, outcome: Outcome) -> Self {
        Target { precheck: Some(outcome), ..Target::of(key, None) }
    }
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

    /// The object, with the outcome that it does not exist, or that this cannot be seen.
    pub async fn object(self, key: String) -> Result<Target> {
        let found = tokio::select! {
            biased;
            () = self.over() => return Ok(not_looked_at(key)),
            found = self.precheck(&key) => found,
        };
        Ok(Target { precheck: found, ..Target::of(key, None) })
    }

    /// Every version and delete marker of one key; when there is none, or they cannot be listed, that.
    pub async fn versions(self, key: String) -> Result<Vec<Target>> {
        let found = tokio::select! {
            biased;
            () = self.over() => return Ok(vec![not_looked_at(key)]),
            found = self.list_versions(&key) => found,
        };
        Ok(match found {
            Ok(versions) if versions.is_empty() => {
                vec![Target::settled(key, Outcome::not_found(self.ignore_not_found, "no version of it exists"))]
            }
            Ok(versions) => versions,
            Err(e) => vec![Target::settled(key, Outcome::Failed(self.failure(&e)))],
        })
    }

    /// The one version of a key that is meant, or the outcome that there is none, or that this cannot be seen. A store that keeps no versions may take
    /// the request to delete one for the object itself (Garage 2.5 and s3rver 3.7 do).
    pub async fn version(self, key: String, version: String) -> Result<Target> {
        let found = tokio::select! {
            biased;
            () = self.over() => return Ok(Target { version: Some(version), ..not_looked_at(key) }),
            found = self.list_versions(&key) => found,
        };
        let precheck = match found.map(|versions| versions.into_iter().find(|target| target.version.as_ref() == Some(&version))) {
            Ok(Some(target)) => return Ok(target),
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

    async fn precheck(&self, key: &str) -> Option<Outcome> {
        match self.bucket.head(key).await {
            Ok(Some(_)) => None,
            Ok(None) => Some(Outcome::not_found(self.ignore_not_found, "it does not exist")),
            Err(e) => Some(Outcome::Failed(self.failure(&e))),
        }
    }

    /// Other keys that begin with it come after it in the listing, so the first of them ends it.
    async fn list_versions(&self, key: &str) -> Result<Vec<Target>> {
        let what = format!("the versions of `{}` in the bucket `{}`", key.escape_debug(), self.bucket.name);
        let (bucket, key) = (self.bucket.clone(), key.to_owned());
        let mut pages = pin!(pages(what, move |marker| page_of_versions(bucket.clone(), key.clone(), marker)));
        let mut versions = Vec::new();
        while let Some(page) = pages.try_next().await? {
            versions.extend(page);
        }
        Ok(versions)
    }
}

/// Key and version id, where a page begins: both, or the rest of a key's versions would be left out.
type Marker = (String, Option<String>);

async fn page_of_versions(bucket: Bucket, key: String, marker: Option<Marker>) -> Result<Page<Target, Marker>> {
    let (key_marker, version_marker) = marker.map_or((None, None), |(key, version)| (Some(key), version));
    let answer = bucket.send(|s3| {
        let request = s3.list_object_versions().bucket(&bucket.name).prefix(&key).encoding_type(EncodingType::Url);
        let request = request.set_key_marker(key_marker.clone()).set_version_id_marker(version_marker.clone());
        request.set_request_payer(bucket.payer.clone()).set_expected_bucket_owner(bucket.owner.clone()).send()
    });
    let what = || format!("list the versions of `{}` in the bucket `{}`", key.escape_debug(), bucket.name);
    let answer = explain(answer.await, what)?;
    let decode = Decoder::of(answer.encoding_type());
    let versions = answer.versions().iter().map(|v| (v.key(), v.version_id(), "version"));
    let markers = answer.delete_markers().iter().map(|m| (m.key(), m.version_id(), "delete marker"));
    let (mut items, mut others) = (Vec::new(), false);
    for (name, version, kind) in versions.chain(markers) {
        if decode.text(name.unwrap_or_default()) == key {
            items.push(Target { kind: Some(kind), ..Target::of(key.clone(), version.map(str::to_owned)) });
        } else {
            others = true;
        }
    }
    let marker = answer.next_key_marker().map(|k| (decode.text(k), answer.next_version_id_marker().map(str::to_owned)));
    let next = if others { Next::End } else { Next::truncated(answer.is_truncated(), marker) };
    Ok(Page { items, next })
}

fn not_looked_at(key: String) -> Target {
    Target::settled(key, Outcome::skipped_as(Code::NotStarted, "not started: it was not looked up before the run ended"))
}
