//! A bucket that answers as S3 does where moto does not: with dates, sizes and classes of one's own, and with ETags that are compared before an object is
//! deleted.

use std::sync::{Arc, Mutex};

use super::http::{Request, Response, Server};
use super::xml;

/// A version, or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub key: String,
    pub version: String,
    pub marker: bool,
    pub size: u64,
    /// As S3 writes it: `2024-01-01T00:00:00.000Z`.
    pub modified: String,
    pub class: String,
    /// Without its quotes.
    pub etag: String,
}

impl Stored {
    /// An object of long ago.
    pub fn new(key: &str, size: u64) -> Self {
        let (version, etag) = (format!("v-{key}"), format!("etag-of-{key}"));
        let (modified, class) = ("2024-01-01T00:00:00.000Z".to_owned(), "STANDARD".to_owned());
        Self { key: key.to_owned(), version, marker: false, size, modified, class, etag }
    }

    pub fn modified(self, date: &str) -> Self {
        Self { modified: format!("{date}T00:00:00.000Z"), ..self }
    }

    pub fn class(self, class: &str) -> Self {
        Self { class: class.to_owned(), ..self }
    }

    pub fn version(self, version: &str) -> Self {
        Self { version: version.to_owned(), ..self }
    }

    pub fn marker(key: &str, version: &str) -> Self {
        Self { marker: true, version: version.to_owned(), ..Self::new(key, 0) }
    }
}

pub struct FakeBucket {
    pub server: Server,
    /// All that is in it, by key, and of each key the newest first.
    state: Arc<Mutex<Vec<Stored>>>,
}

impl FakeBucket {
    /// A bucket that keeps no versions, listed `page` keys at a time.
    pub fn new(objects: Vec<Stored>, page: usize) -> Self {
        Self::start(objects, page, false)
    }

    /// One that does. Of each key the newest version is given first.
    pub fn versioned(objects: Vec<Stored>, page: usize) -> Self {
        Self::start(objects, page, true)
    }

    fn start(mut objects: Vec<Stored>, page: usize, versioned: bool) -> Self {
        // Stable: what is first of a key stays so.
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        let state = Arc::new(Mutex::new(objects));
        let shared = Arc::clone(&state);
        let server = Server::start(move |operation, _, request| {
            let mut state = shared.lock().unwrap();
            match operation {
                "ListObjectsV2" => list(&state, &request, page),
                "ListObjectVersions" => list_versions(&state, &request, page),
                "DeleteObjects" => delete(&mut state, &request, versioned),
                "HeadObject" => head(&state, &request),
                _ => Response::error(501, "NotImplemented"),
            }
        });
        Self { server, state }
    }

    /// Writes an object anew: it has another ETag from then on.
    pub fn overwrite(&self, key: &str) {
        for stored in self.state.lock().unwrap().iter_mut().filter(|stored| stored.key == key) {
            stored.etag = format!("another-of-{key}");
        }
    }

    /// What objects there are now.
    pub fn keys(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        current(&state).map(|stored| stored.key.clone()).collect()
    }

    /// Every version and delete marker, as `key version`.
    pub fn versions(&self) -> Vec<String> {
        self.state.lock().unwrap().iter().map(|stored| format!("{} {}", stored.key, stored.version)).collect()
    }
}

fn is_latest(state: &[Stored], index: usize) -> bool {
    index == 0 || state[index - 1].key != state[index].key
}

/// The objects that there are: the newest of each key, unless a marker hides it.
fn current(state: &[Stored]) -> impl Iterator<Item = &Stored> {
    state.iter().enumerate().filter(move |(index, stored)| is_latest(state, *index) && !stored.marker).map(|(_, stored)| stored)
}

/// What a listing says of an object beside its key.
fn described(stored: &Stored) -> String {
    format!(
        "<LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag><Size>{}</Size><StorageClass>{}</StorageClass>",
        stored.modified, stored.etag, stored.size, stored.class
    )
}

fn list(state: &[Stored], request: &Request, page: usize) -> Response {
    let prefix = request.query("prefix").unwrap_or_default();
    let after = request.query("continuation-token").or_else(|| request.query("start-after"));
    let delimiter = request.query("delimiter");
    // Keys and folders, each once, in order.
    let mut rows: Vec<(String, Option<&Stored>)> = Vec::new();
    for stored in current(state).filter(|stored| stored.key.starts_with(&prefix)) {
        let end = |delimiter: &String| Some(prefix.len() + stored.key[prefix.len()..].find(delimiter.as_str())? + delimiter.len());
        let row = match delimiter.as_ref().and_then(end) {
            Some(end) => (stored.key[..end].to_owned(), None),
            None => (stored.key.clone(), Some(stored)),
        };
        if rows.last().is_none_or(|last| last.0 != row.0) {
            rows.push(row);
        }
    }
    rows.retain(|(name, _)| after.as_ref().is_none_or(|after| name > after));
    let more = rows.len() > page;
    rows.truncate(page);
    let found: String = rows
        .iter()
        .map(|(name, object)| match object {
            Some(stored) => format!("<Contents><Key>{}</Key>{}</Contents>", xml::form_encode(name), described(stored)),
            None => format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", xml::form_encode(name)),
        })
        .collect();
    let next = match rows.last() {
        Some((last, _)) if more => {
            format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>", xml::escape(last))
        }
        _ => "<IsTruncated>false</IsTruncated>".to_owned(),
    };
    Response::xml(200, format!("<ListBucketResult><EncodingType>url</EncodingType>{next}{found}</ListBucketResult>"))
}

fn head(state: &[Stored], request: &Request) -> Response {
    let path = request.target.split('?').next().unwrap_or_default();
    let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
    match current(state).find(|stored| xml::form_encode(&stored.key) == key) {
        Some(stored) => Response { status: 200, headers: vec![("etag".into(), format!("\"{}\"", stored.etag))], body: Vec::new() },
        None => Response { status: 404, headers: Vec::new(), body: Vec::new() },
    }
}

fn list_versions(state: &[Stored], request: &Request, page: usize) -> Response {
    let prefix = request.query("prefix").unwrap_or_default();
    let (key, version) = (request.query("key-marker"), request.query("version-id-marker"));
    // The page begins behind the version that both markers name, or behind all of the key.
    let start = match (&key, &version) {
        (None, _) => 0,
        (Some(key), None) => state.partition_point(|stored| stored.key <= *key),
        (Some(key), Some(version)) => {
            let marked = state.iter().position(|stored| stored.key == *key && stored.version == *version);
            marked.map_or_else(|| state.partition_point(|stored| stored.key < *key), |at| at + 1)
        }
    };
    let wanted: Vec<usize> = (start..state.len()).filter(|index| state[*index].key.starts_with(&prefix)).collect();
    let found: String = wanted
        .iter()
        .take(page)
        .map(|index| {
            let stored = &state[*index];
            let (key, latest) = (xml::form_encode(&stored.key), is_latest(state, *index));
            let named = format!("<Key>{key}</Key><VersionId>{}</VersionId><IsLatest>{latest}</IsLatest>", stored.version);
            match stored.marker {
                true => format!("<DeleteMarker>{named}<LastModified>{}</LastModified></DeleteMarker>", stored.modified),
                false => format!("<Version>{named}{}</Version>", described(stored)),
            }
        })
        .collect();
    let next = match wanted.get(..page).and_then(<[usize]>::last) {
        Some(last) if wanted.len() > page => format!(
            "<IsTruncated>true</IsTruncated><NextKeyMarker>{}</NextKeyMarker><NextVersionIdMarker>{}</NextVersionIdMarker>",
            xml::form_encode(&state[*last].key),
            state[*last].version
        ),
        _ => "<IsTruncated>false</IsTruncated>".to_owned(),
    };
    Response::xml(200, format!("<ListVersionsResult><EncodingType>url</EncodingType>{next}{found}</ListVersionsResult>"))
}

fn delete(state: &mut Vec<Stored>, request: &Request, versioned: bool) -> Response {
    let mut outcomes = String::new();
    for object in xml::elements(&request.text(), "Object") {
        let text = |name: &str| xml::texts(object, name).pop();
        let key = text("Key").expect("an object has a key");
        let escaped = xml::escape(&key);
        let now = state.iter().position(|stored| stored.key == key);
        let error = |code: &str| format!("<Error><Key>{escaped}</Key><Code>{code}</Code><Message>{code} by the test</Message></Error>");
        outcomes += &match (text("VersionId"), text("ETag"), now) {
            (Some(version), _, _) => {
                state.retain(|stored| stored.key != key || stored.version != version);
                format!("<Deleted><Key>{escaped}</Key><VersionId>{version}</VersionId></Deleted>")
            }
            (None, Some(_), None) => error("NoSuchKey"),
            (None, Some(_), Some(index)) if state[index].marker => error("NoSuchKey"),
            (None, Some(etag), Some(index)) if etag.trim_matches('"') != state[index].etag => error("PreconditionFailed"),
            (None, _, now) if versioned => {
                let marker = Stored::marker(&key, &format!("marker-{}", state.len()));
                let at = now.unwrap_or_else(|| state.partition_point(|stored| stored.key < key));
                let said = format!(
                    "<Deleted><Key>{escaped}</Key><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>{}</DeleteMarkerVersionId></Deleted>",
                    marker.version
                );
                state.insert(at, marker);
                said
            }
            (None, _, _) => {
                state.retain(|stored| stored.key != key);
                format!("<Deleted><Key>{escaped}</Key></Deleted>")
            }
        };
    }
    Response::xml(200, format!("<DeleteResult>{outcomes}</DeleteResult>"))
}
