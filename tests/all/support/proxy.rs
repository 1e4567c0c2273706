//! A proxy in front of an endpoint, so that a test can count the requests, spoil them, or hold them up.

use std::thread;
use std::time::Duration;

use super::http::{self, Request, Response, Server};

/// Looks at a request before it is passed on: may change it, or answer it in the endpoint's place.
type Rule = Box<dyn Fn(usize, &mut Request) -> Option<Response> + Send + Sync>;

pub struct Proxy {
    endpoint: String,
    rules: Vec<(&'static str, Rule)>,
}

impl Proxy {
    pub fn to(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), rules: Vec::new() }
    }

    /// Applies `rule(n, request)` to the requests of one operation, where `n` counts them from 1.
    pub fn rule(mut self, operation: &'static str, rule: impl Fn(usize, &mut Request) -> Option<Response> + Send + Sync + 'static) -> Self {
        self.rules.push((operation, Box::new(rule)));
        self
    }

    /// Answers the `nth` request of an operation with an error, without passing it on.
    pub fn fail(self, operation: &'static str, nth: usize, status: u16, code: &'static str) -> Self {
        self.rule(operation, move |n, _| (n == nth).then(|| Response::error(status, code)))
    }

    /// Answers every request of an operation with an error, without passing it on.
    pub fn refuse(self, operation: &'static str, status: u16, code: &'static str) -> Self {
        self.rule(operation, move |_, _| Some(Response::error(status, code)))
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
            http::send(&self.endpoint, &request)
                .unwrap_or_else(|error| Response::xml(502, format!("<Error><Code>BadGateway</Code><Message>{error}</Message></Error>")))
        })
    }
}
