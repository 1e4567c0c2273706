//! A proxy in front of an endpoint, so that a test can count the requests, spoil them, hold them up, or change what is answered.

use std::thread;
use std::time::Duration;

use super::http::{self, Request, Response, Server};

/// Looks at a request before it is passed on: may change it, or answer it in the endpoint's place.
type Rule = Box<dyn Fn(usize, &mut Request) -> Option<Response> + Send + Sync>;

/// Changes the text of the endpoint's answer.
type Rewrite = Box<dyn Fn(usize, String) -> String + Send + Sync>;

pub struct Proxy {
    endpoint: String,
    rules: Vec<(&'static str, Rule)>,
    rewrites: Vec<(&'static str, Rewrite)>,
}

impl Proxy {
    pub fn to(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), rules: Vec::new(), rewrites: Vec::new() }
    }

    /// Applies `rule(n, request)` to the requests of one operation, where `n` counts them from 1.
    pub fn rule(mut self, operation: &'static str, rule: impl Fn(usize, &mut Request) -> Option<Response> + Send + Sync + 'static) -> Self {
        self.rules.push((operation, Box::new(rule)));
        self
    }

    /// Gives `rewrite(n, text)` in place of what the endpoint answers to the `n`th request of one operation: dates of long ago, say.
    pub fn rewrite(mut self, operation: &'static str, rewrite: impl Fn(usize, String) -> String + Send + Sync + 'static) -> Self {
        self.rewrites.push((operation, Box::new(rewrite)));
        self
    }

    /// Answers the `nth` request of an operation with an error, without passing it on.
    pub fn fail(self, operation: &'static str, nth: usize, status: u16, code: &'static str) -> Self {
        self.rule(operation, move |n, request| (n == nth).then(|| error(request, status, code)))
    }

    /// Answers every request of an operation with an error, without passing it on.
    pub fn refuse(self, operation: &'static str, status: u16, code: &'static str) -> Self {
        self.rule(operation, move |_, request| Some(error(request, status, code)))
    }

    /// The same, for requests whose body or target holds a text: `UserName=bob`.
    pub fn refuse_with(self, operation: &'static str, text: &'static str, status: u16, code: &'static str) -> Self {
        self.rule(operation, move |_, request| {
            let concerned = request.target.contains(text) || request.text().split('&').any(|pair| pair == text);
            concerned.then(|| error(request, status, code))
        })
    }

    /// Carries out the first request of an operation, and gives this answer in the place of the endpoint's.
    pub fn answering(self, operation: &'static str, answer: fn(&Request) -> Response) -> Self {
        let endpoint = self.endpoint.clone();
        self.rule(operation, move |n, request| {
            (n == 1).then(|| {
                http::send(&endpoint, request).expect("it is carried out");
                answer(request)
            })
        })
    }

    /// Carries out the first request of an operation, and breaks the connection before its answer.
    pub fn losing(self, operation: &'static str) -> Self {
        self.answering(operation, |_| Response::dropped())
    }

    /// Carries out every request of an operation, and answers each with an error that does not say so.
    pub fn losing_every(self, operation: &'static str) -> Self {
        let endpoint = self.endpoint.clone();
        self.rule(operation, move |_, request| {
            http::send(&endpoint, request).expect("it is carried out");
            Some(error(request, 500, "InternalError"))
        })
    }

    /// Makes every request of an operation take at least this long.
    pub fn delay(self, operation: &'static str, delay: Duration) -> Self {
        self.rule(operation, move |_, _| {
            thread::sleep(delay);
            None
        })
    }

    pub fn start(self) -> Server {
        Server::start(move |operation, n, mut request| {
            let rules = self.rules.iter().filter(|(name, _)| *name == operation);
            for (_, rule) in rules {
                if let Some(reply) = rule(n, &mut request) {
                    return reply;
                }
            }
            let mut reply = http::send(&self.endpoint, &request)
                .unwrap_or_else(|error| Response::xml(502, format!("<Error><Code>BadGateway</Code><Message>{error}</Message></Error>")));
            for (_, rewrite) in self.rewrites.iter().filter(|(name, _)| *name == operation) {
                reply.body = rewrite(n, reply.text()).into_bytes();
            }
            reply
        })
    }
}

/// An error as the protocol of the request has it: S3's, EC2's, the query protocol's or that of JSON.
pub fn error(request: &Request, status: u16, code: &str) -> Response {
    let form = request.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let rest_json = matches!(request.signed_service(), Some("backup" | "batch" | "es" | "kafka" | "lambda"));
    let json = rest_json || request.header("content-type").is_some_and(|kind| kind.contains("json"));
    let message = format!("{code} by the test");
    let mut reply = match (form, json) {
        (true, _) if request.signed_service() == Some("ec2") => Response::xml(
            status,
            format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
                 <RequestID>REQ-{code}</RequestID></Response>"
            ),
        ),
        (true, _) => Response::xml(
            status,
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                 <RequestId>REQ-{code}</RequestId></ErrorResponse>"
            ),
        ),
        (_, true) => Response { status, headers: Vec::new(), body: format!(r#"{{"__type":"{code}","message":"{message}"}}"#).into_bytes() },
        _ => return Response::error(status, code),
    };
    reply.headers.push(("x-amzn-requestid".to_owned(), format!("REQ-{code}")));
    if json {
        reply.headers.push(("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()));
        reply.headers.push(("x-amzn-errortype".to_owned(), code.to_owned()));
    }
    reply
}
