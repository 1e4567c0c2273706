//! HTTP/1.1, as little of it as the tests' servers and clients need: blocking, on loopback, one thread a connection.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::xml;

/// Header names and values in the order they came.
pub type Headers = Vec<(String, String)>;

/// Headers that belong to one connection and are written anew for the next one.
const PER_CONNECTION: [&str; 5] = ["connection", "content-length", "expect", "transfer-encoding", CUT_OFF];

/// Says of a reply, to the server alone, how much of its body is sent before the connection breaks.
const CUT_OFF: &str = "x-cut-off";

/// The API operations that change nothing; every other one counts as a write.
const READS: [&str; 13] = [
    "GetBucketAcl",
    "GetBucketEncryption",
    "GetBucketPolicyStatus",
    "GetBucketVersioning",
    "GetCallerIdentity",
    "GetMetricData",
    "GetPublicAccessBlock",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjectVersions",
    "ListObjectsV2",
];

#[derive(Clone)]
pub struct Request {
    pub method: String,
    /// Path and query, still percent-encoded.
    pub target: String,
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, target: &str, body: &[u8]) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: body.to_vec() }
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A query parameter, decoded; a parameter without a value is the empty string.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| xml::percent_decode(value))
        })
    }

    /// A parameter of a request of the query protocol (EC2, IAM, STS), decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let form = self.text();
        let value = form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        Some(xml::percent_decode(&value.replace('+', " ")))
    }

    /// The name of the AWS operation that this request is, told from what each protocol puts on the wire.
    pub fn operation(&self) -> String {
        if let Some(target) = self.header("x-amz-target") {
            return target.rsplit('.').next().unwrap_or(target).to_owned();
        }
        if self.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
            let form = self.text();
            if let Some(action) = form.split('&').find_map(|pair| pair.strip_prefix("Action=")) {
                return action.to_owned();
            }
        }
        if self.header("smithy-protocol").is_some() {
            return self.target.rsplit('/').next().unwrap_or(&self.target).to_owned();
        }
        self.rest_operation().unwrap_or_else(|| self.s3_operation()).to_owned()
    }

    /// The operations that the program asks of services whose operations are paths.
    fn rest_operation(&self) -> Option<&'static str> {
        let path = self.target.split('?').next().unwrap_or_default();
        match (self.signed_service()?, path.trim_end_matches('/')) {
            ("batch", "/v1/describecomputeenvironments") => Some("DescribeComputeEnvironments"),
            ("es", "/2021-01-01/domain") => Some("ListDomainNames"),
            ("es", "/2021-01-01/opensearch/domain-info") => Some("DescribeDomains"),
            ("kafka", "/api/v2/clusters") => Some("ListClustersV2"),
            ("lambda", "/2015-03-31/functions") => Some("ListFunctions"),
            _ => None,
        }
    }

    fn s3_operation(&self) -> &'static str {
        let path = self.target.split('?').next().unwrap_or_default().trim_start_matches('/');
        let names_object = path.split_once('/').is_some_and(|(_, key)| !key.is_empty());
        let has = |name| self.query(name).is_some();
        match (self.method.as_str(), names_object) {
            ("GET", _) if path.is_empty() => "ListBuckets",
            ("GET", false) if has("acl") => "GetBucketAcl",
            ("GET", false) if has("encryption") => "GetBucketEncryption",
            ("GET", false) if has("policyStatus") => "GetBucketPolicyStatus",
            ("GET", false) if has("publicAccessBlock") => "GetPublicAccessBlock",
            ("GET", false) if has("versioning") => "GetBucketVersioning",
            ("GET", false) if has("versions") => "ListObjectVersions",
            ("GET", false) if has("uploads") => "ListMultipartUploads",
            ("GET", false) if has("list-type") => "ListObjectsV2",
            ("GET", false) => "ListObjects",
            ("HEAD", false) => "HeadBucket",
            ("POST", false) if has("delete") => "DeleteObjects",
            ("GET", true) => "GetObject",
            ("HEAD", true) => "HeadObject",
            ("PUT", true) if has("partNumber") => "UploadPart",
            ("PUT", true) => "PutObject",
            ("POST", true) if has("uploads") => "CreateMultipartUpload",
            ("POST", true) if has("uploadId") => "CompleteMultipartUpload",
            ("DELETE", true) if has("uploadId") => "AbortMultipartUpload",
            ("DELETE", true) => "DeleteObject",
            _ => "Unknown",
        }
    }

    /// The region that the request was signed for, which is the region the program settled on.
    pub fn signed_region(&self) -> Option<&str> {
        let (_, scope) = self.header("authorization")?.split_once("Credential=")?;
        scope.split('/').nth(2)
    }

    /// The service that the request was signed for.
    pub fn signed_service(&self) -> Option<&str> {
        let (_, scope) = self.header("authorization")?.split_once("Credential=")?;
        scope.split('/').nth(3)
    }
}

#[derive(Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Response {
    /// The status of a reply that is not sent: the connection is closed instead.
    pub const DROPPED: u16 = 0;

    /// A connection that breaks before there is an answer.
    pub fn dropped() -> Self {
        Self { status: Self::DROPPED, headers: Vec::new(), body: Vec::new() }
    }

    /// The same, but that the connection breaks when so many bytes of the body are sent.
    #[allow(dead_code, reason = "for the tests of listings: not all that include this file break them off")]
    pub fn cut_off(mut self, sent: usize) -> Self {
        self.headers.push((CUT_OFF.to_owned(), sent.to_string()));
        self
    }

    pub fn xml(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: vec![("Content-Type".to_owned(), "application/xml".to_owned())], body: body.into().into_bytes() }
    }

    /// An S3 error as S3 writes it, request id and all.
    pub fn error(status: u16, code: &str) -> Self {
        let mut reply = Self::xml(
            status,
            format!("<Error><Code>{code}</Code><Message>{code} by the test</Message><RequestId>REQ-{code}</RequestId></Error>"),
        );
        reply.headers.push(("x-amz-request-id".to_owned(), format!("REQ-{code}")));
        reply
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What a server was asked, each request with its operation, and the news of another.
#[derive(Default)]
struct Received {
    requests: Mutex<Vec<(String, Request)>>,
    another: Condvar,
}

/// A server on loopback that remembers what it was asked. It serves until the test binary ends.
pub struct Server {
    pub url: String,
    seen: Arc<Received>,
}

impl Server {
    /// Serves `answer(operation, n, request)`, where `n` counts the requests of that operation from 1.
    pub fn start(answer: impl Fn(&str, usize, Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let url = format!("http://{}", listener.local_addr().expect("the listener's address"));
        let seen = Arc::<Received>::default();
        let server = Self { url, seen: Arc::clone(&seen) };
        let state = Arc::new((answer, seen, Mutex::new(HashMap::<String, usize>::new())));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    let (answer, seen, counts) = &*state;
                    // A client that goes away in the middle is that test's business, not the server's.
                    let _ = serve(&stream, |request| {
                        let operation = request.operation();
                        let n = {
                            let mut counts = counts.lock().unwrap();
                            let n = counts.entry(operation.clone()).or_default();
                            *n += 1;
                            *n
                        };
                        seen.requests.lock().unwrap().push((operation.clone(), request.clone()));
                        seen.another.notify_all();
                        answer(&operation, n, request)
                    });
                });
            }
        });
        server
    }

    /// The requests of one operation, in the order they came.
    pub fn requests(&self, operation: &str) -> Vec<Request> {
        let seen = self.seen.requests.lock().unwrap();
        seen.iter().filter(|(name, _)| name == operation).map(|(_, request)| request.clone()).collect()
    }

    /// Every request with its operation, in the order they came.
    #[allow(dead_code, reason = "for the benchmark of the groups, which includes this file")]
    pub fn log(&self) -> Vec<(String, Request)> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Forgets what it was asked.
    #[allow(dead_code, reason = "for the benchmarks, which include this file")]
    pub fn forget(&self) {
        self.seen.requests.lock().unwrap().clear();
    }

    pub fn count(&self, operation: &str) -> usize {
        self.operations().iter().filter(|name| *name == operation).count()
    }

    /// Waits until an operation was asked for so many times.
    #[allow(dead_code, reason = "for the benchmarks, which include this file")]
    pub fn wait_for(&self, operation: &str, times: usize) {
        let is_short = |seen: &mut Vec<(String, Request)>| seen.iter().filter(|(name, _)| name == operation).count() < times;
        let requests = self.seen.requests.lock().unwrap();
        let (requests, waited) = self.seen.another.wait_timeout_while(requests, Duration::from_secs(30), is_short).unwrap();
        drop(requests);
        assert!(!waited.timed_out(), "{operation} was not called {times} times, but {:?}", self.operations());
    }

    /// Every operation asked for, in the order it came.
    pub fn operations(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    /// The operations asked for that change something, or that the tests do not know to be reads.
    pub fn writes(&self) -> Vec<String> {
        let mut operations = self.operations();
        operations.retain(|name| !READS.contains(&name.as_str()));
        operations
    }
}

/// The open connections to servers that keep them, which answer whatever comes, and outlive all tests.
static KEPT: Mutex<BTreeMap<String, Vec<TcpStream>>> = Mutex::new(BTreeMap::new());

/// Keeps connections to `base` for the next request.
pub fn keep_connections(base: &str) {
    KEPT.lock().unwrap().entry(address(base).to_owned()).or_default();
}

fn address(base: &str) -> &str {
    base.strip_prefix("http://").unwrap_or(base).trim_end_matches('/')
}

/// Sends one request to `base`, on a connection of its own unless connections to it are kept.
pub fn send(base: &str, request: &Request) -> io::Result<Response> {
    let address = address(base);
    let kept = KEPT.lock().unwrap().get_mut(address).map(Vec::pop);
    let is_kept = kept.is_some();
    let stream = match kept.flatten() {
        Some(stream) => stream,
        None => TcpStream::connect(address)?,
    };
    stream.set_nodelay(true)?;
    let response = exchange(&stream, address, is_kept, request)?;
    let is_closed = response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if !is_closed && let Some(kept) = KEPT.lock().unwrap().get_mut(address) {
        kept.push(stream);
    }
    Ok(response)
}

fn exchange(stream: &TcpStream, address: &str, is_kept: bool, request: &Request) -> io::Result<Response> {
    let mut stream = stream;
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    if request.header("host").is_none() {
        head += &format!("Host: {address}\r\n");
    }
    push_headers(&mut head, &request.headers);
    let connection = if is_kept { "" } else { "Connection: close\r\n" };
    head += &format!("Content-Length: {}\r\n{connection}\r\n", request.body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&request.body)?;

    let mut reader = BufReader::new(stream);
    let (line, headers) = read_head(&mut reader)?.ok_or_else(|| io::Error::other("no reply"))?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {line}")))?;
    let mut body = Vec::new();
    if request.method != "HEAD" && status != 204 && status != 304 {
        match length_of(&headers)? {
            Some(length) => {
                body.resize(length, 0);
                reader.read_exact(&mut body)?;
            }
            None if is_chunked(&headers) => body = read_chunks(&mut reader)?,
            None => {
                reader.read_to_end(&mut body)?;
            }
        }
    }
    Ok(Response { status, headers, body })
}

/// Answers the requests of one connection until the client closes it.
fn serve(stream: &TcpStream, mut answer: impl FnMut(Request) -> Response) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some((line, headers)) = read_head(&mut reader)? {
        if find_header(&headers, "expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = if is_chunked(&headers) {
            read_chunks(&mut reader)?
        } else {
            let mut body = vec![0; length_of(&headers)?.unwrap_or(0)];
            reader.read_exact(&mut body)?;
            body
        };
        let mut parts = line.split(' ');
        let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
            return Err(io::Error::other(format!("not a request line: {line}")));
        };
        let (method, target) = (method.to_owned(), target.to_owned());
        let is_head = method == "HEAD";
        let reply = answer(Request { method, target, headers, body });
        if reply.status == Response::DROPPED {
            return Ok(());
        }

        let mut head = format!("HTTP/1.1 {} Reply\r\n", reply.status);
        push_headers(&mut head, &reply.headers);
        if reply.status != 204 && reply.status != 304 {
            // The length that HEAD tells is that of the body it leaves out.
            let told = if is_head { length_of(&reply.headers)? } else { None };
            head += &format!("Content-Length: {}\r\n", told.unwrap_or(reply.body.len()));
        }
        head += "\r\n";
        writer.write_all(head.as_bytes())?;
        if !is_head && reply.status != 204 && reply.status != 304 {
            let cut_off = find_header(&reply.headers, CUT_OFF).and_then(|sent| sent.parse().ok());
            let sent = cut_off.and_then(|sent: usize| reply.body.get(..sent));
            writer.write_all(sent.unwrap_or(&reply.body))?;
            if sent.is_some() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads a start line and the headers below it; `None` when the peer has closed.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(String, Headers)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let start = line.trim_end().to_owned();
    let mut headers = Headers::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let field = line.trim_end();
        if field.is_empty() {
            return Ok(Some((start, headers)));
        }
        if let Some((name, value)) = field.split_once(':') {
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        if size == 0 {
            break;
        }
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..])?;
        reader.read_line(&mut String::new())?;
    }
    // Trailers, then the empty line that ends the message.
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && !line.trim_end().is_empty() {
        line.clear();
    }
    Ok(body)
}

fn push_headers(head: &mut String, headers: &Headers) {
    for (name, value) in headers {
        if !PER_CONNECTION.contains(&name.to_ascii_lowercase().as_str()) {
            *head += &format!("{name}: {value}\r\n");
        }
    }
}

fn find_header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn length_of(headers: &Headers) -> io::Result<Option<usize>> {
    find_header(headers, "content-length").map(|value| value.parse().map_err(io::Error::other)).transpose()
}

fn is_chunked(headers: &Headers) -> bool {
    find_header(headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
}

#[test]
fn a_connection_that_its_server_closes_is_not_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    let url = format!("http://{}", listener.local_addr().expect("the listener's address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = read_head(&mut BufReader::new(&stream));
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na");
        }
    });
    keep_connections(&url);
    for _ in 0..3 {
        assert_eq!(send(&url, &Request::new("GET", "/", b"")).expect("an answer").text(), "a");
    }
}
