//! A bucket that lists any keys as S3 does: by prefix, behind a key or from a token, in the order of their UTF-8 bytes; and what stands in for S3 and
//! does not.

use std::collections::BTreeSet;
use std::sync::Arc;
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
    /// In no order, as directory buckets; what starts anywhere but at a token is refused.
    Unordered,
    /// As S3, but a list that began behind a key comes to no end: its second token leads to itself.
    Circle,
}

/// A bucket that can only be listed.
pub struct KeySpace {
    pub server: Server,
    /// In the order in which they are listed.
    pub keys: Arc<Vec<String>>,
}

impl KeySpace {
    /// Of these keys, each once. An answer takes `latency`.
    pub fn new(keys: impl IntoIterator<Item = String>, ways: Ways, latency: Duration) -> Self {
        let mut keys: Vec<String> = keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        if ways == Ways::Unordered {
            keys.sort_by_key(|key| key.bytes().rev().collect::<Vec<u8>>());
        }
        let keys = Arc::new(keys);
        let listed = Arc::clone(&keys);
        let server = Server::start(move |operation, _, request| {
            thread::sleep(latency);
            match operation {
                "ListObjectsV2" => list(&listed, &request, ways),
                // CreateSession, of a directory bucket.
                _ if request.query("session").is_some() => Response::xml(200, SESSION),
                _ => Response::error(501, "NotImplemented"),
            }
        });
        KeySpace { server, keys }
    }

    /// How many pages it takes to say them all.
    pub fn pages(&self) -> usize {
        self.keys.len().div_ceil(PAGE).max(1)
    }

    /// How many were asked for.
    pub fn requests(&self) -> usize {
        self.server.count("ListObjectsV2")
    }
}

fn list(keys: &[String], request: &Request, ways: Ways) -> Response {
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
        (None, Some(after)) if ways != Ways::IgnoresStart => keys.partition_point(|key| key <= after),
        (None, _) => 0,
    };
    let encoded = request.query("encoding-type").is_some();
    let encode = |text: &str| if encoded { xml::form_encode(text) } else { xml::escape(text) };
    let start = match ways {
        Ways::Unordered => start,
        _ => start.max(keys.partition_point(|key| *key < prefix)),
    };
    let mut wanted = keys.iter().enumerate().skip(start).filter(|(_, key)| key.starts_with(&prefix));
    let mut page = String::new();
    for (_, key) in wanted.by_ref().take(limit) {
        page += "<Contents><Key>";
        page += &encode(key);
        page += "</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>&quot;9a0364b9e99bb480dd25e1f0284c8555&quot;</ETag>\
                 <Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>";
    }
    let next = wanted.next().map(|(at, _)| match &token {
        Some(token) if token.starts_with("behind-") => token.clone(),
        None if ways == Ways::Circle && after.is_some() => format!("behind-{at}"),
        _ => format!("at-{at}"),
    });
    let next = match next {
        Some(token) => format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"),
        None => "<IsTruncated>false</IsTruncated>".to_owned(),
    };
    let started = after.map(|after| format!("<StartAfter>{}</StartAfter>", encode(&after))).unwrap_or_default();
    let encoding = if encoded { "<EncodingType>url</EncodingType>" } else { "" };
    Response::xml(200, format!("<ListBucketResult><Name>b</Name>{encoding}{started}{next}{page}</ListBucketResult>"))
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
