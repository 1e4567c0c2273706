//! moto, a stand-in for AWS: one server for the whole test binary, and a second one for half of the accounts of EC2, made and started on first use.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::http::{self, Request, Response};
use super::xml;

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/requirements.txt");
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/all/support/moto_server.py");

/// The image of Linux that the tests launch. moto would make hundreds more for each account, which takes longer than most tests.
const AMIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/moto_amis.json");

/// moto asks for no true signature, but takes a request without any for a stranger's.
const SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

struct Moto {
    url: String,
    /// Holds the server's standard input open; when the test binary ends, however it ends, the server sees it close.
    _server: Child,
}

/// The endpoint of the moto server of this test binary.
pub fn endpoint() -> &'static str {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    &MOTO.get_or_init(start).url
}

/// That endpoint and the one of a second server, by turns, for an account that is asked nowhere else. Python runs one request at a time, however many
/// processors there are, and the tests of EC2 send most of them.
pub fn endpoint_by_turns() -> &'static str {
    static SECOND: OnceLock<Moto> = OnceLock::new();
    static TURN: AtomicUsize = AtomicUsize::new(0);
    if TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { &SECOND.get_or_init(start).url } else { endpoint() }
}

fn start() -> Moto {
    let mut server = Command::new(python())
        .arg(SERVER)
        .env("MOTO_AMIS_PATH", AMIS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the virtualenv's python runs");
    let mut port = String::new();
    let stdout = server.stdout.take().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut port).expect("moto prints its port");
    let port: u16 = port.trim().parse().expect("moto prints its port; what went wrong is above");
    let url = format!("http://127.0.0.1:{port}");
    http::keep_connections(&url);
    // The first request loads moto's S3, which takes it a while; later ones must not pay for that.
    let reply = http::send(&url, &signed(Request::new("GET", "/", b""))).expect("moto answers");
    assert_eq!(reply.status, 200, "moto lists its buckets: {}", reply.text());
    Moto { url, _server: server }
}

/// The python of a virtualenv under `target/` that holds exactly what `tests/requirements.txt` names.
///
/// Made by whichever test binary comes first, under a lock, and kept until the requirements change.
pub(super) fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    let venv = target.join("moto-venv");
    let python = venv.join("bin/python");
    let stamp = venv.join("complete");
    let lock = File::create(target.join("moto-venv.lock")).expect("the target directory is writable");
    lock.lock().expect("a lock on the virtualenv");

    let wanted = fs::read_to_string(REQUIREMENTS).expect("tests/requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == wanted) {
        return python;
    }
    if venv.exists() {
        fs::remove_dir_all(&venv).expect("a stale virtualenv can be removed");
    }
    must(Command::new("python3").args(["-m", "venv"]).arg(&venv), "the tests need python3 (3.11 or newer) with its venv module");
    must(
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS]),
        "the tests need pip to install tests/requirements.txt with python3 (3.11 or newer), from PyPI or a mirror of it",
    );
    fs::write(&stamp, wanted).expect("the virtualenv is writable");
    python
}

/// Runs a command that the tests cannot do without.
fn must(command: &mut Command, need: &str) {
    match command.output() {
        Err(error) => panic!("{need}: {error}"),
        Ok(output) if !output.status.success() => {
            panic!("{need}:\n{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        }
        Ok(_) => {}
    }
}

fn signed(request: Request) -> Request {
    request.with_header("Authorization", SIGNATURE).with_header("Content-Type", "application/octet-stream")
}

/// A bucket on moto that no other test knows of. Formats as its name.
pub struct Bucket {
    name: String,
}

impl Bucket {
    pub fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(1);
        Self::named(&format!("bucket-{}", MADE.fetch_add(1, Ordering::Relaxed)))
    }

    fn named(name: &str) -> Self {
        let bucket = Self { name: name.to_owned() };
        bucket.send("PUT", "", b"");
        bucket
    }

    /// The bucket that the examples name. They are many and it is one, so they take turns.
    pub fn of_the_examples() -> (MutexGuard<'static, ()>, Self) {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = Self::named("example-bucket");
        // As S3 makes all buckets, and moto does not: closed to everyone, and with its own keys.
        let settings = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
        let settings: String = settings.iter().map(|name| format!("<{name}>true</{name}>")).collect();
        let block = format!("<PublicAccessBlockConfiguration>{settings}</PublicAccessBlockConfiguration>");
        bucket.send("PUT", "?publicAccessBlock", block.as_bytes());
        let default = "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>";
        let encryption = format!("<ServerSideEncryptionConfiguration><Rule>{default}</Rule></ServerSideEncryptionConfiguration>");
        bucket.send("PUT", "?encryption", encryption.as_bytes());
        bucket.keys().iter().for_each(|key| bucket.delete(key));
        (turn, bucket)
    }

    pub fn versioned() -> Self {
        let bucket = Self::new();
        let configuration = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        bucket.send("PUT", "?versioning", configuration.as_bytes());
        bucket
    }

    /// A bucket holding these keys; each object's body is its key.
    pub fn with<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        let bucket = Self::new();
        for key in keys {
            bucket.put(key, key);
        }
        bucket
    }

    pub fn put(&self, key: &str, body: &str) {
        self.send("PUT", &format!("/{}", xml::percent_encode(key)), body.as_bytes());
    }

    pub fn get(&self, key: &str) -> Response {
        self.send("GET", &format!("/{}", xml::percent_encode(key)), b"")
    }

    pub fn delete(&self, key: &str) {
        self.send("DELETE", &format!("/{}", xml::percent_encode(key)), b"");
    }

    /// The keys in the bucket, in listing order.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        let mut target = "?list-type=2&encoding-type=url".to_owned();
        loop {
            let page = self.send("GET", &target, b"").text();
            keys.extend(xml::texts(&page, "Key").iter().map(|key| xml::percent_decode(key)));
            let Some(token) = xml::texts(&page, "NextContinuationToken").pop() else { return keys };
            target = format!("?list-type=2&encoding-type=url&continuation-token={token}");
        }
    }

    /// The ids of all versions of all keys, newest first within a key; delete markers are not among them.
    pub fn versions(&self) -> Vec<String> {
        let listing = self.send("GET", "?versions", b"").text();
        xml::elements(&listing, "Version").into_iter().flat_map(|version| xml::texts(version, "VersionId")).collect()
    }

    pub fn delete_markers(&self) -> usize {
        xml::elements(&self.send("GET", "?versions", b"").text(), "DeleteMarker").len()
    }

    /// The multipart uploads that were begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        xml::elements(&self.send("GET", "?uploads", b"").text(), "Upload").len()
    }

    /// Begins a multipart upload; moto says of each that it was begun in 2010.
    pub fn begin_upload(&self, key: &str) {
        self.send("POST", &format!("/{}?uploads", xml::percent_encode(key)), b"");
    }

    /// Those uploads, as `key?uploadId=id`.
    pub fn uploads(&self) -> Vec<String> {
        let listed = self.send("GET", "?uploads", b"").text();
        let upload =
            |upload: &str| format!("{}?uploadId={}", xml::texts(upload, "Key").remove(0), xml::texts(upload, "UploadId").remove(0));
        xml::elements(&listed, "Upload").into_iter().map(upload).collect()
    }

    pub fn abort_upload(&self, upload: &str) {
        let (key, id) = upload.rsplit_once("?uploadId=").expect("an upload");
        self.send("DELETE", &format!("/{}?uploadId={id}", xml::percent_encode(key)), b"");
    }

    pub fn abort_uploads(&self) {
        self.uploads().iter().for_each(|upload| self.abort_upload(upload));
    }

    /// Denies an IAM action on one key to everybody.
    pub fn deny(&self, action: &str, key: &str) {
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Deny","Principal":"*","Action":"{action}","Resource":"arn:aws:s3:::{self}/{key}"}}]}}"#
        );
        self.send("PUT", "?policy", policy.as_bytes());
    }

    fn send(&self, method: &str, rest: &str, body: &[u8]) -> Response {
        let request = signed(Request::new(method, &format!("/{}{rest}", self.name), body));
        let reply = http::send(endpoint(), &request).expect("moto answers");
        assert!(reply.status < 300, "{method} {rest} on {self}: {} {}", reply.status, reply.text());
        reply
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[test]
fn what_moto_does_not_know_is_an_error_of_the_server() {
    let ask = |action: &str| {
        let request = Request::new("POST", "/", format!("Action={action}&Version=2016-11-15").as_bytes());
        let request = request.with_header("Authorization", &SIGNATURE.replace("/s3/", "/ec2/"));
        let request = request.with_header("Content-Type", "application/x-www-form-urlencoded");
        http::send(endpoint(), &request).expect("moto answers").status
    };
    assert_eq!((ask("BeKind"), ask("DescribeRegions")), (500, 200));
}
