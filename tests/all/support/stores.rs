//! S3 servers that nobody here wrote: Garage, and s3rver. Each is started on first use, on free loopback ports, and ends with the test binary.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{self, Request, Response};
use super::tools::{from_npm, is_there, left_out};
use super::{Aaws, aaws, directory, shell};

/// Set where the tests on these servers must run (`.ci/run`), rather than be left out when a server is not there.
const REQUIRED: &str = "AAWS_S3_SERVERS";

/// The version of Garage that `.ci/run` builds, as its folder says it.
const GARAGE_FOLDER: &str = "garage-2.5.0";

/// Garage's first key pair: it takes only ids and secrets of this form.
const GARAGE_KEY: [&str; 2] = ["GK0123456789abcdef01234567", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"];

/// No server takes nearly this long to begin.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs a server until its own standard input closes, as it does when the test binary ends, however that ends; then nothing is left of it. A terminal's
/// Ctrl-C reaches it too, and must not end it before it has ended the server.
const UNTIL_WE_END: &str = r#"trap '' INT HUP TERM
"$@" </dev/null >"$DIRECTORY/log" 2>&1 & server=$!
cat >/dev/null
kill -KILL "$server"
rm -rf "$DIRECTORY""#;

/// A server, its credentials, and what it is asked for buckets.
pub struct Store {
    url: String,
    key: [&'static str; 2],
    region: &'static str,
    kind: Kind,
    /// Holds the standard input of the shell around it open.
    _server: Child,
    /// Removed by that shell: what is static is never dropped.
    _directory: TempDir,
}

enum Kind {
    /// Buckets are made by its administration API, at this address with this token.
    Garage { admin: String, token: String },
    /// It takes requests without a signature, too.
    S3rver,
}

/// A server that is under way, or why it cannot be.
type Installed = Result<Store, String>;

/// Garage, or `None` on a machine without it, which is said in a line. Where it is required, that is a failure.
pub fn garage() -> Option<&'static Store> {
    static GARAGE: OnceLock<Installed> = OnceLock::new();
    or_left_out(GARAGE.get_or_init(|| {
        let program = garage_program();
        if is_there(&program) { Ok(start_garage(&program)) } else { Err(format!("there is no {}: .ci/run builds it", program.display())) }
    }))
}

/// s3rver, or `None` on a machine that cannot run it, which is said in a line. Where it is required, that is a failure.
pub fn s3rver() -> Option<&'static Store> {
    static S3RVER: OnceLock<Installed> = OnceLock::new();
    or_left_out(S3RVER.get_or_init(|| match ["node", "npm"].into_iter().find(|program| !is_there(program)) {
        None => Ok(start_s3rver()),
        Some(missing) => Err(format!("there is no {missing} on this machine (Debian: apt-get install nodejs npm)")),
    }))
}

fn or_left_out(found: &Installed) -> Option<&Store> {
    found.as_ref().map_err(|why| left_out(REQUIRED, why)).ok()
}

/// Where `.ci/run` puts it: outside of the clone, once for a machine.
fn garage_program() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|cache| cache.is_absolute());
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("aaws-tests").join(GARAGE_FOLDER).join("bin/garage")
}

/// A server under way, that nobody has spoken to yet.
struct Started {
    server: Child,
    directory: TempDir,
}

impl Started {
    /// Runs a command line with some variables, its files in a directory.
    fn run(directory: TempDir, line: &[&str], variables: &[(&str, &str)]) -> Self {
        let server = Command::new("sh")
            .args(["-c", UNTIL_WE_END, "sh"])
            .args(line)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DIRECTORY", directory.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        Self { server, directory }
    }

    fn log(&self) -> String {
        fs::read(self.directory.path().join("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Waits until there is an answer to a question.
    fn until<T>(&self, mut question: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(answer) = question(self) {
                return Some(answer);
            }
            if Instant::now() > end {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A port that is free now, below those that connections are given (`ip_local_port_range`): none of the tests' many takes it meanwhile.
fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// One node that has all there is, and a key pair.
fn start_garage(program: &Path) -> Store {
    let directory = directory();
    let (s3, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let token = format!("{:032x}", fastrand::u128(..));
    let secret = format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..));
    let files = directory.path().display();
    let config = format!(
        r#"
metadata_dir = "{files}/meta"
data_dir = "{files}/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:0"
rpc_public_addr = "127.0.0.1:0"
rpc_secret = "{secret}"

[s3_api]
api_bind_addr = "{s3}"
s3_region = "garage"

[admin]
api_bind_addr = "{admin}"
admin_token = "{token}"
"#
    );
    let file = directory.path().join("garage.toml");
    fs::write(&file, config).expect("a temporary directory");
    let (program, file) = (program.to_str().expect("a path in UTF-8"), file.to_str().expect("a path in UTF-8"));
    let line = [program, "-c", file, "server", "--single-node", "--default-access-key"];
    let variables = [("GARAGE_DEFAULT_ACCESS_KEY", GARAGE_KEY[0]), ("GARAGE_DEFAULT_SECRET_KEY", GARAGE_KEY[1]), ("RUST_LOG", "warn")];
    let started = Started::run(directory, &line, &variables);
    let (url, admin) = (format!("http://{s3}"), format!("http://{admin}"));
    // Only this one knows the token.
    let health = authorized(Request::new("GET", "/v2/GetClusterHealth", b""), &token);
    let healthy = |_: &Started| http::send(&admin, &health).ok().filter(|reply| reply.status == 200);
    let listens = |_: &Started| http::send(&url, &Request::new("GET", "/", b"")).ok();
    assert!(started.until(healthy).is_some() && started.until(listens).is_some(), "Garage does not begin:\n{}", started.log());
    let Started { server, directory } = started;
    Store { url, key: GARAGE_KEY, region: "garage", kind: Kind::Garage { admin, token }, _server: server, _directory: directory }
}

fn start_s3rver() -> Store {
    let directory = directory();
    let program = from_npm("s3rver").join("node_modules/s3rver/bin/s3rver.js");
    let files = directory.path().join("data");
    let (program, files) = (program.to_str().expect("a path in UTF-8"), files.to_str().expect("a path in UTF-8"));
    // It writes its listings' tokens with DES, which OpenSSL 3 has among the old ciphers only.
    let line = ["node", "--openssl-legacy-provider", program, "--directory", files, "--address", "127.0.0.1", "--port", "0"];
    let line = [line.as_slice(), &["--no-vhost-buckets", "--silent"]].concat();
    let started = Started::run(directory, &line, &[]);
    // "S3rver listening on 127.0.0.1:34567"
    let says = |started: &Started| {
        let log = started.log();
        let line = log.lines().find(|line| line.starts_with("S3rver listening on "))?;
        line.rsplit(' ').next().map(str::to_owned)
    };
    let Some(address) = started.until(says) else { panic!("s3rver does not begin:\n{}", started.log()) };
    let Started { server, directory } = started;
    let (url, key) = (format!("http://{address}"), ["S3RVER", "S3RVER"]);
    Store { url, key, region: "us-east-1", kind: Kind::S3rver, _server: server, _directory: directory }
}

fn authorized(request: Request, token: &str) -> Request {
    request.with_header("Authorization", &format!("Bearer {token}"))
}

impl Store {
    pub fn is_garage(&self) -> bool {
        matches!(self.kind, Kind::Garage { .. })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// `aaws` with the arguments of a line, on this server.
    pub fn aaws(&self, line: impl AsRef<str>) -> Aaws {
        self.on(aaws(line))
    }

    /// A line for the shell, in which `aaws` is the program under test, on this server.
    pub fn shell(&self, line: impl AsRef<str>) -> Aaws {
        self.on(shell(line))
    }

    fn on(&self, run: Aaws) -> Aaws {
        let [id, secret] = self.key;
        run.endpoint(&self.url).env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_REGION", self.region)
    }

    /// A bucket that no other test knows of: its name.
    pub fn bucket(&self) -> String {
        static MADE: AtomicUsize = AtomicUsize::new(1);
        let name = format!("bucket-{}", MADE.fetch_add(1, Ordering::Relaxed));
        self.make_bucket(&name);
        name
    }

    /// A new bucket of this name.
    pub fn make_bucket(&self, name: &str) {
        let reply = match &self.kind {
            Kind::Garage { admin, token } => {
                let allow = json!({"read": true, "write": true, "owner": true});
                let bucket = json!({"localAlias": {"accessKeyId": self.key[0], "alias": name, "allow": allow}});
                let request = Request::new("POST", "/v2/CreateBucket", bucket.to_string().as_bytes());
                send(admin, &authorized(request.with_header("Content-Type", "application/json"), token))
            }
            Kind::S3rver => send(&self.url, &Request::new("PUT", &format!("/{name}"), b"")),
        };
        assert_eq!(reply.status, 200, "the bucket {name}: {}", reply.text());
    }

    /// What the server lists of a bucket, in the order of its own.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let listed = self.aaws(format!("s3 discover_objects --bucket {bucket}")).run().ok().json();
        serde_json::from_value(listed).expect("a list of keys")
    }

    /// Size and ETag of an object, as the server lists them.
    pub fn object(&self, bucket: &str, key: &str) -> (u64, String) {
        let listed = self.aaws(format!("s3 discover_objects --bucket {bucket} --details --prefix {key}")).run().ok().json();
        let object = listed.as_array().and_then(|objects| objects.iter().find(|object| object["Key"] == key));
        let object = object.unwrap_or_else(|| panic!("no `{key}` in {listed}"));
        let tag = object["ETag"].as_str().map(|tag| tag.trim_matches('"').to_owned());
        (object["Size"].as_u64().expect("a size"), tag.expect("an ETag"))
    }

    /// Creates objects whose bodies are their keys.
    pub fn put<'a>(&self, bucket: &str, keys: impl IntoIterator<Item = &'a str>) {
        let objects: Vec<Value> = keys.into_iter().map(|key| json!({"Key": key, "Body": key})).collect();
        let run = self.aaws(format!("s3 create_objects --bucket {bucket} --objects -")).stdin(Value::from(objects).to_string()).run();
        assert_eq!(run.ok().json(), json!([]));
    }
}

fn send(url: &str, request: &Request) -> Response {
    http::send(url, request).expect("the server answers")
}
