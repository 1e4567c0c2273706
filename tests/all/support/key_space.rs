//! A bucket that lists any keys, and versions of them, as S3 does: by prefix, behind a key or from a token, in the order of their UTF-8 bytes; and what
//! stands in for S3 and does not.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::http::{Request, Response, Server};
use super::xml;

/// The most keys, or versions and delete markers, of a page (S3 API reference, ListObjectsV2 and ListObjectVersions).
const PAGE: usize = 1000;

/// The answer to CreateSession.
const SESSION: &str = "<CreateSessionResult><Credentials><AccessKeyId>AKIASESSION</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
                       <SessionToken>token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>";

/// How a store lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// As S3 does.
    S3,
    /// From the beginning, whatever `start-after` says, or a key marker without a version id.
    IgnoresStart,
    /// What starts behind a key is refused.
    RefusesStart,
    /// In no order, as directory buckets; what starts anywhere but at a token is refused.
    Unordered,
    /// As S3, but a list that began behind a key comes to no end: its second token leads to itself.
    Circle,
}

/// A version or a delete marker of a key.
struct Version {
    /// The place of the key among the others.
    at: usize,
    id: String,
    is_marker: bool,
    is_latest: bool,
}

/// A bucket that can be listed, and deleted from: it keeps how often each key, or version, was deleted, and lists it all the same.
pub struct KeySpace {
    pub server: Server,
    /// In the order in which they are listed.
    pub keys: Arc<Vec<String>>,
    state: Arc<State>,
}

struct State {
    keys: Arc<Vec<String>>,
    /// In the order in which they are listed: of each key the newest first. None where versions are not kept.
    versions: Vec<Version>,
    ways: Ways,
    /// The keys as they stand in an answer, percent-encoded or as XML has them: written once, so that a page is mostly copied.
    encoded: OnceLock<Written>,
    escaped: OnceLock<Written>,
    deletions: Vec<AtomicUsize>,
}

/// Texts, one after another.
struct Written {
    text: String,
    ends: Vec<usize>,
}

impl Written {
    fn new(keys: &[String], write: fn(&str) -> String) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::with_capacity(keys.len()));
        for key in keys {
            text += &write(key);
            ends.push(text.len());
        }
        Written { text, ends }
    }

    fn get(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[at]]
    }
}

impl KeySpace {
    /// Of these keys, each once. An answer takes `latency`.
    pub fn new(keys: impl IntoIterator<Item = String>, ways: Ways, latency: Duration) -> Self {
        Self::spoiled(keys, ways, latency, |_, answer| answer)
    }

    /// The same, but for what becomes of its answers on their way.
    pub fn spoiled(
        keys: impl IntoIterator<Item = String>,
        ways: Ways,
        latency: Duration,
        spoil: impl Fn(&Request, Response) -> Response + Send + Sync + 'static,
    ) -> Self {
        let mut keys: Vec<String> = keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        if ways == Ways::Unordered {
            keys.sort_by_key(|key| key.bytes().rev().collect::<Vec<u8>>());
        }
        Self::start(keys, Vec::new(), ways, latency, spoil)
    }

    /// Of these keys, of each as many versions and delete markers as `count` says of its place. A key may have none, and is not listed then.
    pub fn versioned(keys: impl IntoIterator<Item = String>, count: impl Fn(usize) -> usize, ways: Ways, latency: Duration) -> Self {
        let keys: Vec<String> = keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        // Ids are opaque, and in no order.
        let version =
            |at: usize, newer: usize| Version { at, id: mixed((at << 20) + newer), is_marker: newer % 3 == 1, is_latest: newer == 0 };
        let versions = (0..keys.len()).flat_map(|at| (0..count(at)).map(move |newer| version(at, newer))).collect();
        Self::start(keys, versions, ways, latency, |_, answer| answer)
    }

    fn start(
        keys: Vec<String>,
        versions: Vec<Version>,
        ways: Ways,
        latency: Duration,
        spoil: impl Fn(&Request, Response) -> Response + Send + Sync + 'static,
    ) -> Self {
        let keys = Arc::new(keys);
        let things = if versions.is_empty() { keys.len() } else { versions.len() };
        let deletions = (0..things).map(|_| AtomicUsize::new(0)).collect();
        let (encoded, escaped) = (OnceLock::new(), OnceLock::new());
        let state = Arc::new(State { keys: Arc::clone(&keys), versions, ways, encoded, escaped, deletions });
        let answering = Arc::clone(&state);
        let server = Server::start(move |operation, _, request| {
            thread::sleep(latency);
            let answer = match operation {
                "ListObjectsV2" => answering.list(&request),
                "ListObjectVersions" => answering.list_versions(&request),
                "DeleteObjects" => answering.delete(&request),
                "HeadBucket" => Response::xml(200, ""),
                // CreateSession, of a directory bucket.
                _ if request.query("session").is_some() => Response::xml(200, SESSION),
                _ => Response::error(501, "NotImplemented"),
            };
            spoil(&request, answer)
        });
        KeySpace { server, keys, state }
    }

    /// The keys and ids of all versions, in the order in which they are listed.
    pub fn versions(&self) -> Vec<(String, String)> {
        self.state.versions.iter().map(|version| (self.keys[version.at].clone(), version.id.clone())).collect()
    }

    /// How many keys there are, or versions where they are kept.
    pub fn things(&self) -> usize {
        self.state.deletions.len()
    }

    /// How many pages it takes to say them all.
    pub fn pages(&self) -> usize {
        self.things().div_ceil(PAGE).max(1)
    }

    /// How many were asked for.
    pub fn requests(&self) -> usize {
        self.server.count("ListObjectsV2") + self.server.count("ListObjectVersions")
    }

    /// Writes down now what is otherwise written with the first page.
    #[allow(dead_code, reason = "for the benchmark, which includes this file")]
    pub fn prepare(&self) {
        self.state.written(true);
        self.state.written(false);
    }

    /// How many keys, or versions, were deleted since this was last asked; none may have been deleted twice.
    pub fn take_deleted(&self) -> usize {
        let times: Vec<usize> = self.state.deletions.iter().map(|times| times.swap(0, Ordering::Relaxed)).collect();
        assert!(times.iter().all(|times| *times <= 1), "one was deleted twice");
        times.iter().sum()
    }
}

impl State {
    fn written(&self, encoded: bool) -> &Written {
        match encoded {
            true => self.encoded.get_or_init(|| Written::new(&self.keys, xml::form_encode)),
            false => self.escaped.get_or_init(|| Written::new(&self.keys, xml::escape)),
        }
    }

    fn list(&self, request: &Request) -> Response {
        let (keys, ways) = (&self.keys, self.ways);
        let (token, after) = (request.query("continuation-token"), request.query("start-after"));
        if ways == Ways::Unordered && token.is_none() && after.is_some() {
            return Response::error(400, "InvalidRequest");
        }
        let prefix = request.query("prefix").unwrap_or_default();
        let limit = request.query("max-keys").and_then(|most| most.parse().ok()).unwrap_or(PAGE).min(PAGE);
        let start = match (&token, &after) {
            // A token is opaque: here the place of the key that it leads to.
            (Some(token), _) => match token.split_once('-').and_then(|(_, at)| at.parse().ok()) {
                Some(at) => at,
                None => return Response::error(400, "InvalidArgument"),
            },
            (None, Some(_)) if ways == Ways::RefusesStart => return Response::error(400, "InvalidArgument"),
            (None, Some(after)) if ways != Ways::IgnoresStart => keys.partition_point(|key| key <= after),
            (None, _) => 0,
        };
        let start = match ways {
            Ways::Unordered => start,
            _ => start.max(keys.partition_point(|key| *key < prefix)),
        };
        let encoded = request.query("encoding-type").is_some();
        let written = self.written(encoded);
        let mut wanted = (start..keys.len()).filter(|at| keys[*at].starts_with(&prefix));
        let mut page = String::with_capacity(limit * 256);
        for at in wanted.by_ref().take(limit) {
            page += "<Contents><Key>";
            page += written.get(at);
            page += "</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>&quot;9a0364b9e99bb480dd25e1f0284c8555&quot;</ETag>\
                     <Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>";
        }
        let next = wanted.next().map(|at| match &token {
            Some(token) if token.starts_with("behind-") => token.clone(),
            None if ways == Ways::Circle && after.is_some() => format!("behind-{at}"),
            _ => format!("at-{at}"),
        });
        let next = match next {
            Some(token) => format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"),
            None => "<IsTruncated>false</IsTruncated>".to_owned(),
        };
        let encode = if encoded { xml::form_encode } else { xml::escape };
        let started = after.map(|after| format!("<StartAfter>{}</StartAfter>", encode(&after))).unwrap_or_default();
        let encoding = if encoded { "<EncodingType>url</EncodingType>" } else { "" };
        Response::xml(200, format!("<ListBucketResult><Name>b</Name>{encoding}{started}{next}{page}</ListBucketResult>"))
    }

    /// A page of versions and delete markers: it may end within a key, and says with key and version id where the next one begins. A key marker alone is
    /// behind all that comes of this key.
    fn list_versions(&self, request: &Request) -> Response {
        let (versions, ways) = (&self.versions, self.ways);
        let key = |version: &Version| self.keys[version.at].as_str();
        let prefix = request.query("prefix").unwrap_or_default();
        let limit = request.query("max-keys").and_then(|most| most.parse().ok()).unwrap_or(PAGE).min(PAGE);
        let (key_marker, id_marker) = (request.query("key-marker"), request.query("version-id-marker"));
        let start = match (&key_marker, &id_marker) {
            (None, None) => 0,
            (None, Some(_)) => return Response::error(400, "InvalidArgument"),
            (Some(marker), Some(id)) => match self.version(marker, id) {
                Some(place) => place + 1,
                None => return Response::error(400, "InvalidArgument"),
            },
            (Some(_), None) if ways == Ways::RefusesStart => return Response::error(400, "InvalidArgument"),
            (Some(_), None) if ways == Ways::IgnoresStart => 0,
            (Some(marker), None) => versions.partition_point(|version| key(version) <= marker.as_str()),
        };
        let start = start.max(versions.partition_point(|version| key(version) < prefix.as_str()));
        let encoded = request.query("encoding-type").is_some();
        let written = self.written(encoded);
        let mut wanted = versions[start..].iter().take_while(|version| key(version).starts_with(&prefix));
        let (mut page, mut last) = (String::with_capacity(limit * 384), None);
        for version in wanted.by_ref().take(limit) {
            let kind = if version.is_marker { "DeleteMarker" } else { "Version" };
            let content = match version.is_marker {
                true => "",
                false => "<ETag>&quot;9a0364b9e99bb480dd25e1f0284c8555&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass>",
            };
            for part in ["<", kind, "><Key>", written.get(version.at), "</Key><VersionId>", version.id.as_str(), "</VersionId><IsLatest>"] {
                page += part;
            }
            page += if version.is_latest { "true" } else { "false" };
            for part in ["</IsLatest><LastModified>2024-01-01T00:00:00.000Z</LastModified>", content, "</", kind, ">"] {
                page += part;
            }
            last = Some(version);
        }
        let next = match last.filter(|_| wanted.next().is_some()) {
            Some(last) => format!(
                "<IsTruncated>true</IsTruncated><NextKeyMarker>{}</NextKeyMarker><NextVersionIdMarker>{}</NextVersionIdMarker>",
                written.get(last.at),
                last.id
            ),
            None => "<IsTruncated>false</IsTruncated>".to_owned(),
        };
        let encode = if encoded { xml::form_encode } else { xml::escape };
        let marker = format!(
            "<KeyMarker>{}</KeyMarker><VersionIdMarker>{}</VersionIdMarker>",
            encode(&key_marker.unwrap_or_default()),
            id_marker.unwrap_or_default()
        );
        let encoding = if encoded { "<EncodingType>url</EncodingType>" } else { "" };
        Response::xml(200, format!("<ListVersionsResult><Name>b</Name>{encoding}{marker}{next}{page}</ListVersionsResult>"))
    }

    /// The place of a version.
    fn version(&self, key: &str, id: &str) -> Option<usize> {
        let at = self.keys.binary_search_by(|known| known.as_str().cmp(key)).ok()?;
        let first = self.versions.partition_point(|version| version.at < at);
        let place = self.versions[first..].iter().take_while(|version| version.at == at).position(|version| version.id == id)?;
        Some(first + place)
    }

    /// What becomes of each version that is named. What is named by its key alone would get a delete marker, which nobody asks of this bucket.
    fn delete_versions(&self, body: &str) -> Response {
        let mut outcomes = String::new();
        for object in xml::elements(body, "Object") {
            let (key, id) = (xml::texts(object, "Key").concat(), xml::texts(object, "VersionId").concat());
            let name = format!("<Key>{}</Key><VersionId>{}</VersionId>", xml::escape(&key), xml::escape(&id));
            outcomes += &match self.version(&key, &id) {
                Some(place) => {
                    self.deletions[place].fetch_add(1, Ordering::Relaxed);
                    let marker = format!("<DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>{id}</DeleteMarkerVersionId>");
                    let marker = if self.versions[place].is_marker { marker.as_str() } else { "" };
                    format!("<Deleted>{name}{marker}</Deleted>")
                }
                None => format!("<Error>{name}<Code>NoSuchVersion</Code><Message>it is not there</Message></Error>"),
            };
        }
        Response::xml(200, format!("<DeleteResult>{outcomes}</DeleteResult>"))
    }

    fn delete(&self, request: &Request) -> Response {
        let body = request.text();
        if !self.versions.is_empty() {
            return self.delete_versions(&body);
        }
        let quiet = body.contains("<Quiet>true</Quiet>");
        let mut outcomes = String::new();
        for key in xml::texts(&body, "Key") {
            if let Ok(at) = self.keys.binary_search(&key) {
                self.deletions[at].fetch_add(1, Ordering::Relaxed);
            }
            if !quiet {
                outcomes += "<Deleted><Key>";
                outcomes += &xml::escape(&key);
                outcomes += "</Key></Deleted>";
            }
        }
        Response::xml(200, format!("<DeleteResult>{outcomes}</DeleteResult>"))
    }
}

/// A number as another one that looks like chance, and is the same in each run (splitmix64).
fn mixed(n: usize) -> String {
    let mut z = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("{:016x}", z ^ (z >> 31))
}

/// Four ways in which people name many things.
pub const SHAPES: [&str; 4] = ["flat numbers", "dates", "random names", "most below one prefix"];

/// So many names of a shape.
pub fn names(shape: &str, count: usize) -> Vec<String> {
    let days = (count / 365).max(1);
    let dated = |n: usize| {
        let (day, part) = (n / days, n % days);
        format!("logs/{}/{:02}/{:02}/part-{part:06}.gz", 2024 + day / 336, day / 28 % 12 + 1, day % 28 + 1)
    };
    let mostly = |n: usize| match n % 20 {
        0 => format!("archive/{n:08}"),
        1 => format!("tmp/{n:08}"),
        _ => format!("images/original/{n:09}.jpg"),
    };
    match shape {
        "flat numbers" => (0..count).map(|n| format!("key-{n:08}")).collect(),
        "dates" => (0..count).map(dated).collect(),
        "random names" => (0..count).map(mixed).collect(),
        _ => (0..count).map(mostly).collect(),
    }
}
