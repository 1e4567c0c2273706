//! How much faster reading many things at once is than one after another, with the latency of a real service, and how many calls it takes.
//!
//! `cargo bench --bench latency`. It fails when reading at once is less than ten times as fast.

// The tests use more of their support than this does.
#![allow(dead_code)]

#[path = "all/support/http.rs"]
mod http;
#[path = "all/support/xml.rs"]
mod xml;

use std::collections::BTreeMap;
use std::io;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use http::{Response, Server};

const PROGRAM: &str = env!("CARGO_BIN_EXE_aaws");

/// How many users there are; each has a password and two keys.
const USERS: usize = 300;

/// Users of one page, so that paging is part of it.
const PAGE: usize = 100;

/// What every answer waits for.
const LATENCY: Duration = Duration::from_millis(20);

/// The least that reading at once has to gain over one call after another.
const LEAST_GAIN: f64 = 10.0;

/// An IAM with many users, none of whom ever used anything.
fn iam() -> Server {
    Server::start(|operation, _, request| {
        thread::sleep(LATENCY);
        let form = request.text();
        let value = |name: &str| form.split('&').find_map(|p| p.strip_prefix(&format!("{name}="))).unwrap_or_default().to_owned();
        let user = value("UserName");
        let result = match operation {
            "ListUsers" => {
                let start: usize = value("Marker").parse().unwrap_or(0);
                let end = (start + PAGE).min(USERS);
                let member = |n: usize| {
                    format!(
                        "<member><Path>/</Path><UserName>user-{n}</UserName><UserId>AIDA{n:012}</UserId>\
                         <Arn>arn:aws:iam::123456789012:user/user-{n}</Arn><CreateDate>2020-01-01T00:00:00Z</CreateDate></member>"
                    )
                };
                let members: String = (start..end).map(member).collect();
                let next = if end < USERS {
                    format!("<IsTruncated>true</IsTruncated><Marker>{end}</Marker>")
                } else {
                    "<IsTruncated>false</IsTruncated>".into()
                };
                format!("<Users>{members}</Users>{next}")
            }
            "ListAccessKeys" => {
                let member = |n: usize| {
                    format!(
                        "<member><UserName>{user}</UserName><AccessKeyId>AKIA{n}{user}</AccessKeyId><Status>Active</Status>\
                         <CreateDate>2020-01-01T00:00:00Z</CreateDate></member>"
                    )
                };
                format!("<AccessKeyMetadata>{}{}</AccessKeyMetadata><IsTruncated>false</IsTruncated>", member(1), member(2))
            }
            "GetAccessKeyLastUsed" => {
                "<UserName>u</UserName><AccessKeyLastUsed><ServiceName>N/A</ServiceName><Region>N/A</Region></AccessKeyLastUsed>".to_owned()
            }
            other => panic!("{other} is not expected"),
        };
        Response::xml(200, format!("<{operation}Response><{operation}Result>{result}</{operation}Result></{operation}Response>"))
    })
}

/// Runs the program against a new IAM: how long it took, and how often each operation was called.
fn timed(concurrency: usize) -> io::Result<(Duration, BTreeMap<String, usize>)> {
    let server = iam();
    let began = Instant::now();
    let output = Command::new(PROGRAM)
        .args([
            "iam",
            "discover_unused_access_keys",
            "--source",
            "live",
            "--threshold_days",
            "90",
            "--query",
            "length(@)",
            "--concurrency",
            &concurrency.to_string(),
        ])
        .env_clear()
        .envs([("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")])
        .env("AWS_ENDPOINT_URL", &server.url)
        .output()?;
    let took = began.elapsed();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), (2 * USERS).to_string(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut calls = BTreeMap::new();
    server.operations().into_iter().for_each(|operation| *calls.entry(operation).or_default() += 1);
    Ok((took, calls))
}

fn main() -> io::Result<()> {
    // `cargo test --benches` asks for a list of tests, of which there are none.
    if std::env::args().any(|a| a == "--list" || a == "--test") {
        return Ok(());
    }
    let (one_by_one, _) = timed(1)?;
    let (at_once, calls) = timed(16)?;
    let gain = one_by_one.as_secs_f64() / at_once.as_secs_f64();
    println!("iam discover_unused_access_keys, {USERS} users with two keys, {LATENCY:?} a call");
    println!("  one call after another {one_by_one:.2?}, 16 at once (the default) {at_once:.2?}: {gain:.1} times as fast");
    println!("  {} calls: {calls:?}", calls.values().sum::<usize>());
    assert!(gain >= LEAST_GAIN, "less than {LEAST_GAIN} times as fast");
    Ok(())
}
