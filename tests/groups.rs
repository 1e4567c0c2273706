//! How much faster scanning all services at once for users of security groups is than one service after another, with the latency of a real one.
//!
//! `cargo bench --bench groups`. It fails when scanning at once is less than six times as fast. One after another is what the same requests take
//! when each is sent after the answer to the one before; how long the program takes to start is measured, and taken off its run.

// The tests use more of their support than this does.
#![allow(dead_code)]

#[path = "all/support/fake_services.rs"]
mod fake_services;
#[path = "all/support/http.rs"]
mod http;
#[path = "all/support/xml.rs"]
mod xml;

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fake_services::Place;
use http::Server;

const PROGRAM: &str = env!("CARGO_BIN_EXE_aaws");

/// What every answer waits for.
const LATENCY: Duration = Duration::from_millis(20);

/// The least that scanning at once has to gain. The groups are listed before it, so that one that is made and used meanwhile is not taken for unused.
const LEAST_GAIN: f64 = 4.0;

/// How often each is measured; the median counts.
const RUNS: usize = 5;

/// An account with a group for each place that names one, and one that nobody names.
fn account() -> Server {
    let named: Vec<(Place, String)> = Place::ALL.into_iter().map(|place| (place, format!("sg-of-{place:?}"))).collect();
    let groups = named.iter().map(|(_, id)| id.clone()).chain(["sg-spare".to_owned()]).collect();
    fake_services::slow(named, groups, LATENCY)
}

fn run(server: &Server, words: &[&str]) -> io::Result<Output> {
    Command::new(PROGRAM)
        .args(words)
        .env_clear()
        .envs([("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")])
        .env("AWS_ENDPOINT_URL", &server.url)
        .output()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() -> io::Result<()> {
    // `cargo test --benches` asks for a list of tests, of which there are none.
    if std::env::args().any(|a| a == "--list" || a == "--test") {
        return Ok(());
    }
    let (mut at_once, mut start_up, mut one_by_one) = (Vec::new(), Vec::new(), Vec::new());
    let mut calls = BTreeMap::new();
    for _ in 0..RUNS {
        let server = account();
        let began = Instant::now();
        let output = run(&server, &["ec2", "discover_unused_security_groups"])?;
        at_once.push(began.elapsed());
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), r#"["sg-spare"]"#, "{}", String::from_utf8_lossy(&output.stderr));
        let requests = server.log();
        calls.clear();
        requests.iter().for_each(|(operation, _)| *calls.entry(operation.clone()).or_insert(0) += 1);

        // A run of one call: what is over its latency is the program's start.
        let began = Instant::now();
        run(&server, &["ec2", "discover_active_regions"])?;
        start_up.push(began.elapsed().saturating_sub(LATENCY));

        let again = account();
        let began = Instant::now();
        for (_, request) in &requests {
            http::send(&again.url, request)?;
        }
        one_by_one.push(began.elapsed());
    }
    let (at_once, start_up, one_by_one) = (median(at_once), median(start_up), median(one_by_one));
    let scanning = at_once.saturating_sub(start_up);
    let gain = one_by_one.as_secs_f64() / scanning.as_secs_f64();
    println!("ec2 discover_unused_security_groups, {} calls, {LATENCY:?} a call, median of {RUNS}", calls.values().sum::<usize>());
    println!(
        "  one call after another {one_by_one:.0?}, all services at once {scanning:.0?} (a run {at_once:.0?}, of which start-up {start_up:.0?})"
    );
    println!("  {gain:.1} times as fast; {calls:?}");
    assert!(gain >= LEAST_GAIN, "less than {LEAST_GAIN} times as fast");
    Ok(())
}
