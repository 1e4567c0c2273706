//! How long it takes to list a large bucket: from several places at once, one page after another, and with `s5cmd` where it is installed.
//!
//! `cargo bench --bench wide --no-default-features --features s3 [-- SHAPE] [--keys N] [--latency MS] [--runs N]`. Times are medians of alternating
//! runs, shown and not judged. It fails when a list is short, takes more requests than it may, or holds more memory.

// The tests use more of their support than this does.
#![allow(dead_code)]

#[path = "all/support/http.rs"]
mod http;
#[path = "all/support/key_space.rs"]
mod key_space;
#[path = "all/support/xml.rs"]
mod xml;

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use key_space::{KeySpace, SHAPES, Ways, names};

const PROGRAM: &str = env!("CARGO_BIN_EXE_aaws");

/// The most memory that a list may hold at any time.
const MOST_MEMORY_KIB: i64 = 64 * 1024;

/// The ways to list that are compared.
const WAYS: [&[&str]; 4] = [
    &["aaws", "s3", "discover_objects", "--bucket", "b", "--output", "jsonl"],
    &["aaws", "s3", "discover_objects", "--bucket", "b", "--output", "jsonl", "--unordered"],
    &["aaws", "s3", "discover_objects", "--bucket", "b", "--output", "jsonl", "--concurrency", "1"],
    &["s5cmd", "ls", "s3://b/*"],
];

/// What a run took.
struct Took {
    wall: Duration,
    cpu: Duration,
    peak_kib: i64,
    lines: usize,
    requests: usize,
}

/// Waits for a child and asks the system what it used; the standard library does not tell.
fn wait(child: &Child) -> io::Result<(Duration, i64, bool)> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: `rusage` is plain data that zeroes are valid for; both pointers live through the call.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid, &raw mut status, 0, &raw mut usage), usage)
    };
    if waited != pid {
        return Err(io::Error::last_os_error());
    }
    let time = |t: libc::timeval| Duration::from_secs(t.tv_sec.unsigned_abs()) + Duration::from_micros(t.tv_usec.unsigned_abs());
    Ok((time(usage.ru_utime) + time(usage.ru_stime), usage.ru_maxrss, status == 0))
}

/// None when the program is not there.
fn run(words: &[&str], bucket: &KeySpace) -> io::Result<Option<Took>> {
    let Some((name, arguments)) = words.split_first() else { return Ok(None) };
    let home = tempfile::tempdir()?;
    let mut command = Command::new(if *name == "aaws" { PROGRAM } else { name });
    command
        .args(arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", home.path())
        .envs([("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")])
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs([("AWS_ENDPOINT_URL", &bucket.server.url), ("S3_ENDPOINT_URL", &bucket.server.url)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let before = bucket.requests();
    let began = Instant::now();
    let mut child = match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        child => child?,
    };
    let mut lines = 0;
    if let Some(output) = child.stdout.take() {
        let mut reader = BufReader::with_capacity(1 << 16, output);
        loop {
            let chunk = reader.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            lines += chunk.iter().filter(|byte| **byte == b'\n').count();
            let length = chunk.len();
            reader.consume(length);
        }
    }
    let (cpu, peak_kib, success) = wait(&child)?;
    let wall = began.elapsed();
    if !success {
        return Err(io::Error::other(format!("{words:?} failed")));
    }
    Ok(Some(Took { wall, cpu, peak_kib, lines, requests: bucket.requests() - before }))
}

/// A number behind a flag of the command line.
fn flag(words: &[String], name: &str, default: usize) -> usize {
    let value = words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    value.and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` asks for a list of tests, of which there are none.
    if words.iter().any(|word| word == "--list" || word == "--test") {
        return Ok(());
    }
    let (count, runs) = (flag(&words, "--keys", 1_000_000), flag(&words, "--runs", 3).max(1));
    let latency = Duration::from_millis(flag(&words, "--latency", 20) as u64);
    let is_value = |at: usize| at > 0 && ["--keys", "--latency", "--runs"].contains(&words[at - 1].as_str());
    let name = words.iter().enumerate().find(|(at, word)| !word.starts_with("--") && !is_value(*at)).map(|(_, word)| word.as_str());
    println!("{count} keys, {latency:?} an answer, medians of {runs} runs");
    for shape in SHAPES.into_iter().filter(|shape| name.is_none_or(|name| shape.contains(name))) {
        let bucket = KeySpace::new(names(shape, count), Ways::S3, latency);
        println!("{shape}: {} pages", bucket.pages());
        let mut took: Vec<Vec<Took>> = WAYS.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            for (way, took) in WAYS.iter().zip(&mut took) {
                took.extend(run(way, &bucket)?);
            }
        }
        for (way, took) in WAYS.iter().zip(&mut took) {
            show(way, took, &bucket);
        }
    }
    Ok(())
}

fn show(way: &[&str], took: &mut [Took], bucket: &KeySpace) {
    let line = way.join(" ");
    took.sort_by_key(|took| took.wall);
    let Some(median) = took.get(took.len() / 2) else { return println!("  {line:<74} is not installed") };
    let requests = took.iter().map(|took| took.requests).max().unwrap_or_default();
    let peak = took.iter().map(|took| took.peak_kib).max().unwrap_or_default();
    println!(
        "  {line:<74} {:>8.2?}, processor {:>8.2?}, at most {requests} requests, {:.1} MiB",
        median.wall,
        median.cpu,
        peak as f64 / 1024.0
    );
    if way.first() == Some(&"aaws") {
        assert!(took.iter().all(|took| took.lines == bucket.keys.len()), "{line}: keys are missing, or there twice");
        assert!(requests * 4 <= bucket.pages().max(20) * 5, "{line}: {requests} requests for {} pages", bucket.pages());
        assert!(peak < MOST_MEMORY_KIB, "{line}: it held {peak} KiB");
    }
}
