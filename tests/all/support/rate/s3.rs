//! A bucket of S3 that holds back deletions: whole requests, or keys within a request.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use super::super::http::{Request, Response, Server};
use super::super::xml;
use super::gate::{Admission, Bucket, Gate, Limit};
use super::meter::{Load, Meter};
use super::{LATENCY, identity, throttled};

/// The most keys that one DeleteObjects takes (S3 API reference, DeleteObjects).
const MOST_KEYS: usize = 1000;

/// A bucket of S3.
pub struct S3 {
    pub server: Server,
    pub meter: Meter,
    left: Arc<Mutex<HashSet<String>>>,
}

/// What S3 holds back.
pub enum Held {
    /// Requests.
    Requests(Gate),
    /// Keys, with a bucket of tokens for each prefix; those beyond it are answered one by one in a request that succeeds.
    Keys(Limit),
}

impl S3 {
    /// With these objects.
    pub fn start(keys: &[String], held: Held) -> Self {
        let left = Arc::new(Mutex::new(keys.iter().cloned().collect::<HashSet<_>>()));
        let meter = Meter::default();
        let (state, counted) = (Arc::clone(&left), meter.clone());
        let prefixes: Mutex<HashMap<String, Bucket>> = Mutex::default();
        let server = Server::start(move |operation, _, request| {
            if operation == "GetCallerIdentity" {
                return identity();
            }
            counted.serve(operation, LATENCY, || match &held {
                Held::Requests(gate) => match gate.admit(operation) {
                    Admission::Admitted => (Load::from(Admission::Admitted), answer(operation, &request, &state, |_| true)),
                    admission => (Load::from(admission), throttled(&request)),
                },
                Held::Keys(limit) => {
                    let mut load = Load::default();
                    let reply = answer(operation, &request, &state, |key| {
                        let prefix = key.rsplit_once('/').map_or("", |(prefix, _)| prefix);
                        let mut prefixes = prefixes.lock().unwrap();
                        let bucket = prefixes.entry(prefix.to_owned()).or_insert_with(|| Bucket::full(*limit));
                        let admitted = bucket.take(1) == 1;
                        *if admitted { &mut load.admitted } else { &mut load.throttled } += 1;
                        admitted
                    });
                    (load, reply)
                }
            })
        });
        Self { server, meter, left }
    }

    /// How many objects are still there.
    pub fn left(&self) -> usize {
        self.left.lock().unwrap().len()
    }
}

fn answer(operation: &str, request: &Request, left: &Mutex<HashSet<String>>, mut admits: impl FnMut(&str) -> bool) -> Response {
    let path = request.target.split('?').next().unwrap_or_default().trim_start_matches('/');
    let key = path.split_once('/').map(|(_, key)| xml::percent_decode(key)).unwrap_or_default();
    match operation {
        "DeleteObjects" => {
            let body = request.text();
            let keys = xml::texts(&body, "Key");
            if keys.len() > MOST_KEYS {
                return Response::error(400, "MalformedXML");
            }
            let quiet = xml::texts(&body, "Quiet").iter().any(|quiet| quiet == "true");
            let mut outcomes = String::new();
            for key in keys {
                let name = xml::escape(&key);
                if !admits(&key) {
                    let message = "Please reduce your request rate.";
                    let _ = write!(outcomes, "<Error><Key>{name}</Key><Code>SlowDown</Code><Message>{message}</Message></Error>");
                    continue;
                }
                left.lock().unwrap().remove(&key);
                if !quiet {
                    let _ = write!(outcomes, "<Deleted><Key>{name}</Key></Deleted>");
                }
            }
            Response::xml(200, format!("<DeleteResult>{outcomes}</DeleteResult>"))
        }
        "DeleteObject" if admits(&key) => {
            left.lock().unwrap().remove(&key);
            Response { status: 204, headers: Vec::new(), body: Vec::new() }
        }
        "DeleteObject" => throttled(request),
        "HeadObject" if left.lock().unwrap().contains(&key) => {
            let headers = [("Content-Length", "1"), ("ETag", "\"e\""), ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")];
            Response { status: 200, headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(), body: Vec::new() }
        }
        "HeadObject" => Response { status: 404, headers: Vec::new(), body: Vec::new() },
        "PutObject" => {
            left.lock().unwrap().insert(key);
            Response { status: 200, headers: vec![("ETag".to_owned(), "\"e\"".to_owned())], body: Vec::new() }
        }
        "HeadBucket" => Response { status: 200, headers: Vec::new(), body: Vec::new() },
        "GetBucketVersioning" => Response::xml(200, "<VersioningConfiguration/>"),
        _ => Response::error(501, "NotImplemented"),
    }
}
