//! A bucket that lists any keys as S3 does: by prefix, behind a key or from a token, in the order of their UTF-8 bytes; and what stands in for S3 and
//! does not.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::http::{Request, Response, Server};
use super::xml;

/// The most keys of a page (S3 API reference, ListObjectsV2).
const PAGE: usize = 1000;

/// The answer to CreateSession.
const SESSION: &str = "<CreateSessionResult><Credentials><AccessKeyId>AKIASESSION</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
                       <SessionToken>token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>";

/// How a store lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// As S3 does.
    S3,
    /// From the beginning, whatever `start-after` says.
    IgnoresStart,
    /// What starts behind a key is refused.
    RefusesStart,
    /// In no order, as directory buckets; what starts anywhere but at a token is refused.
    Unordered,
    /// As S3, but a list that began behind a key comes to no end: its second token leads to itself.
    Circle,
}

/// A bucket that can be listed, and deleted from: it keeps how often each key was deleted, and lists it all the same.
pub struct KeySpace {
    pub server: Server,
    /// In the order in which they are listed.
    pub keys: Arc<Vec<String>>,
    state: Arc<State>,
}

struct State {
    keys: Arc<Vec<String>>,
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
        let keys = Arc::new(keys);
        let deletions = keys.iter().map(|_| AtomicUsize::new(0)).collect();
        let (encoded, escaped) = (OnceLock::new(), OnceLock::new());
        let state = Arc::new(State { keys: Arc::clone(&keys), ways, encoded, escaped, deletions });
        let answering = Arc::clone(&state);
        let server = Server::start(move |operation, _, request| {
            thread::sleep(latency);
            let answer = match operation {
                "ListObjectsV2" => answering.list(&request),
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

    /// How many pages it takes to say them all.
    pub fn pages(&self) -> usize {
        self.keys.len().div_ceil(PAGE).max(1)
    }

    /// How many were asked for.
    pub fn requests(&self) -> usize {
        self.server.count("ListObjectsV2")
    }

    /// Writes down now what is otherwise written with the first page.
    #[allow(dead_code, reason = "for the benchmark, which includes this file")]
    pub fn prepare(&self) {
        self.state.written(true);
        self.state.written(false);
    }

    /// How many keys were deleted since this was last asked; none may have been deleted twice.
    #[allow(dead_code, reason = "for the benchmark, which includes this file")]
    pub fn take_deleted(&self) -> usize {
        let times: Vec<usize> = self.state.deletions.iter().map(|times| times.swap(0, Ordering::Relaxed)).collect();
        assert!(times.iter().all(|times| *times <= 1), "a key was deleted twice");
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

    fn delete(&self, request: &Request) -> Response {
        let body = request.text();
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

/// Four ways in which people name many things.
pub const SHAPES: [&str; 4] = ["flat numbers", "dates", "random names", "most below one prefix"];

/// So many names of a shape.
pub fn names(shape: &str, count: usize) -> Vec<String> {
    let days = (count / 365).max(1);
    let dated = |n: usize| {
        let (day, part) = (n / days, n % days);
        format!("logs/{}/{:02}/{:02}/part-{part:06}.gz", 2024 + day / 336, day / 28 % 12 + 1, day % 28 + 1)
    };
    // A generator of our own: the names have to be the same in each run (splitmix64).
    let mixed = |n: usize| {
        let mut z = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        format!("{:016x}", z ^ (z >> 31))
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
