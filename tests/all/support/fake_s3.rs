//! Servers that stand in for S3 where moto cannot: to answer exactly this, or to hold very much.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::http::{Request, Response, Server};
use super::xml;

/// Answers each operation with the replies written for it, one after another; the last one repeats.
pub fn scripted<const N: usize>(script: [(&'static str, Vec<Response>); N]) -> Server {
    let script: HashMap<_, _> = script.into_iter().collect();
    Server::start(move |operation, n, _| match script.get(operation) {
        Some(replies) => replies[n.min(replies.len()) - 1].clone(),
        None => Response::error(501, "NotImplemented"),
    })
}

/// A reply to DeleteObjects: what became of each key; `None` is deleted, `Some` is an error code.
pub fn delete_result(keys: &[(&str, Option<&str>)]) -> Response {
    let outcomes: String = keys
        .iter()
        .map(|(key, code)| (xml::escape(key), code))
        .map(|(key, code)| match code {
            None => format!("<Deleted><Key>{key}</Key></Deleted>"),
            Some(code) => format!("<Error><Key>{key}</Key><Code>{code}</Code><Message>{code} by the test</Message></Error>"),
        })
        .collect();
    Response::xml(200, format!("<DeleteResult>{outcomes}</DeleteResult>"))
}

/// A page of ListObjectsV2: keys as they stand in the reply, with when they were modified, and where the next page begins.
pub fn listing(objects: &[(&str, &str)], next: Option<&str>) -> Response {
    let contents: String = objects
        .iter()
        .map(|(key, modified)| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><ETag>&quot;e&quot;</ETag>\
                 <Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
            )
        })
        .collect();
    let next = match next {
        Some(token) => format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"),
        None => "<IsTruncated>false</IsTruncated>".to_owned(),
    };
    Response::xml(200, format!("<ListBucketResult><Name>b</Name><EncodingType>url</EncodingType>{next}{contents}</ListBucketResult>"))
}

/// The keys that a DeleteObjects request names.
pub fn keys_of(request: &Request) -> Vec<String> {
    xml::texts(&request.text(), "Key")
}

/// A bucket of any number of generated keys, of which it keeps no more than how often each was deleted.
pub struct VastBucket {
    pub server: Server,
    deletions: Arc<Mutex<Vec<u8>>>,
}

impl VastBucket {
    /// `size` keys, listed 1,000 a page, from a token or behind a key; a DeleteObjects takes `delay`.
    pub fn new(size: usize, delay: Duration) -> Self {
        let deletions = Arc::new(Mutex::new(vec![0; size]));
        let state = Arc::clone(&deletions);
        let server = Server::start(move |operation, _, request| match operation {
            "ListObjectsV2" => Self::page(size, &request),
            "DeleteObjects" => {
                thread::sleep(delay);
                let keys = keys_of(&request);
                let mut deletions = state.lock().unwrap();
                for key in &keys {
                    let number: usize = key.strip_prefix("key-").and_then(|number| number.parse().ok()).expect("a key of this bucket");
                    deletions[number] += 1;
                }
                delete_result(&keys.iter().map(|key| (key.as_str(), None)).collect::<Vec<_>>())
            }
            _ => Response::error(501, "NotImplemented"),
        });
        Self { server, deletions }
    }

    /// A page of so many keys, those too that were deleted.
    pub fn page(size: usize, request: &Request) -> Response {
        let start = match (request.query("continuation-token"), request.query("start-after")) {
            (Some(token), _) => token.parse().unwrap(),
            (None, Some(after)) => Self::behind(&after, size),
            (None, None) => 0,
        };
        let end = size.min(start + 1000);
        let keys: Vec<String> = (start..end).map(Self::key).collect();
        let page: Vec<_> = keys.iter().map(|key| (key.as_str(), "2024-01-01T00:00:00.000Z")).collect();
        listing(&page, (end < size).then(|| end.to_string()).as_deref())
    }

    pub fn key(number: usize) -> String {
        format!("key-{number:07}")
    }

    /// How many of the keys are not behind this text.
    pub fn behind(after: &str, size: usize) -> usize {
        let (mut known, mut end) = (0, size);
        while known < end {
            let middle = known + (end - known) / 2;
            if Self::key(middle).as_str() <= after { known = middle + 1 } else { end = middle }
        }
        known
    }

    /// How many keys were deleted; none may have been deleted twice.
    pub fn deleted(&self) -> usize {
        let deletions = self.deletions.lock().unwrap();
        assert!(deletions.iter().all(|&times| times <= 1), "a key was deleted twice");
        deletions.iter().filter(|&&times| times == 1).count()
    }
}

/// A versioned bucket that pages as S3 does: by key *and* version id.
///
/// A page starts after the version that both markers name, whether or not it is still there. After a key marker alone it starts at the next key,
/// so that a reader who forgets the version id marker loses versions.
pub struct VersionedBucket {
    pub server: Server,
    versions: Versions,
}

/// Key and version id to whether it is a delete marker.
type Versions = Arc<Mutex<BTreeMap<(String, String), bool>>>;

impl VersionedBucket {
    /// For each key, so many versions with so many delete markers on top; listed `page` at a time.
    pub fn new(keys: &[(&str, usize, usize)], page: usize) -> Self {
        let mut versions = BTreeMap::new();
        for &(key, real, markers) in keys {
            for number in 0..real + markers {
                versions.insert((key.to_owned(), format!("v{number:05}")), number < markers);
            }
        }
        let versions = Arc::new(Mutex::new(versions));
        let state = Arc::clone(&versions);
        let server = Server::start(move |operation, _, request| match operation {
            "ListObjectVersions" => Self::page(&state.lock().unwrap(), &request, page),
            "DeleteObjects" => Self::delete(&mut state.lock().unwrap(), &request),
            _ => Response::error(501, "NotImplemented"),
        });
        Self { server, versions }
    }

    /// What is left, as `key version-id`.
    pub fn left(&self) -> Vec<String> {
        self.versions.lock().unwrap().keys().map(|(key, id)| format!("{key} {id}")).collect()
    }

    fn page(versions: &BTreeMap<(String, String), bool>, request: &Request, page: usize) -> Response {
        let encode = |text: &str| match request.query("encoding-type") {
            Some(_) => xml::form_encode(text),
            None => xml::escape(text),
        };
        let prefix = request.query("prefix").unwrap_or_default();
        let after = request.query("key-marker").map(|key| (key, request.query("version-id-marker")));
        let mut wanted = versions.iter().filter(|((key, id), _)| {
            key.starts_with(&prefix)
                && match &after {
                    None => true,
                    Some((marker, None)) => key > marker,
                    Some((marker, Some(version))) => (key, id) > (marker, version),
                }
        });
        let mut found = String::new();
        let mut last = None;
        for ((key, id), is_marker) in wanted.by_ref().take(page) {
            let kind = if *is_marker { "DeleteMarker" } else { "Version" };
            found +=
                &format!("<{kind}><Key>{}</Key><VersionId>{id}</VersionId><IsLatest>{}</IsLatest></{kind}>", encode(key), id == "v00000");
            last = Some((key, id));
        }
        let next = match (last, wanted.next()) {
            (Some((key, id)), Some(_)) => format!(
                "<IsTruncated>true</IsTruncated><NextKeyMarker>{}</NextKeyMarker><NextVersionIdMarker>{id}</NextVersionIdMarker>",
                encode(key)
            ),
            _ => "<IsTruncated>false</IsTruncated>".to_owned(),
        };
        // S3 says when names are encoded; a reader must not decode those of a store that left them as they are.
        let encoding = request.query("encoding-type").map(|_| "<EncodingType>url</EncodingType>").unwrap_or_default();
        Response::xml(200, format!("<ListVersionsResult>{encoding}{next}{found}</ListVersionsResult>"))
    }

    fn delete(versions: &mut BTreeMap<(String, String), bool>, request: &Request) -> Response {
        let mut outcomes = String::new();
        for object in xml::elements(&request.text(), "Object") {
            let (key, id) = (xml::texts(object, "Key").remove(0), xml::texts(object, "VersionId").remove(0));
            outcomes += &format!("<Deleted><Key>{}</Key><VersionId>{id}</VersionId></Deleted>", xml::escape(&key));
            versions.remove(&(key, id));
        }
        Response::xml(200, format!("<DeleteResult>{outcomes}</DeleteResult>"))
    }
}
