//! What a journal costs, and what it is worth: the time of a deletion with and without one, and deletions that are killed at any moment and finished.
//!
//! `cargo bench --bench journal --no-default-features --features s3`. It fails when a journal costs more than it may, or when a deletion that was killed
//! and resumed has left a key, or has deleted one again whose answer was heard.

// The tests use more of their support than this does.
#![allow(dead_code)]

#[path = "all/support/fake_s3.rs"]
mod fake_s3;
#[path = "all/support/http.rs"]
mod http;
#[path = "all/support/xml.rs"]
mod xml;

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fake_s3::{VastBucket, delete_result, keys_of};
use http::{Response, Server};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_aaws");

/// How many keys are deleted to see what a journal costs, and how often. S3 takes some milliseconds for a request.
const KEYS: usize = 100_000;
const RUNS: usize = 5;
const ANSWERS_AFTER: Duration = Duration::from_millis(20);

/// The most time that a deletion with a journal may take, in times of one without.
const MOST: f64 = 1.3;

/// How many keys are deleted by each run that is killed, how many such runs there are, and how many requests are in flight.
const KILLED_KEYS: usize = 5000;
const POINTS: usize = 50;
const IN_FLIGHT: usize = 2;
const BATCH: usize = 1000;

fn main() -> io::Result<()> {
    // `cargo test --benches` asks for a list of tests, of which there are none.
    if std::env::args().any(|a| a == "--list" || a == "--test") {
        return Ok(());
    }
    cost()?;
    kills()
}

fn aaws(endpoint: &str, home: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().stdin(Stdio::null());
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_ENDPOINT_URL", endpoint),
    ] {
        command.env(name, value);
    }
    command.env("XDG_STATE_HOME", home);
    command
}

/// A deletion of so many keys, which are in a file.
fn delete(endpoint: &str, home: &Path, keys: usize) -> io::Result<Command> {
    let list = home.join("keys");
    fs::write(&list, (0..keys).map(|number| VastBucket::key(number) + "\n").collect::<String>())?;
    let mut command = aaws(endpoint, home);
    command.args(["s3", "delete_objects", "--bucket", "b", "--yes", "--objects", &format!("@{}", list.display())]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

/// Alternating runs, so that a busy machine meets both.
fn cost() -> io::Result<()> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        for (flag, times) in [("--no_journal", &mut without), ("--journal", &mut with)] {
            let bucket = VastBucket::new(KEYS, ANSWERS_AFTER);
            let home = tempfile::tempdir()?;
            let mut command = delete(&bucket.server.url, home.path(), KEYS)?;
            let began = Instant::now();
            let status = command.arg(flag).status()?;
            times.push(began.elapsed());
            assert!(status.success() && bucket.deleted() == KEYS, "the deletion with {flag} works");
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (without, with) = (median(&mut without), median(&mut with));
    let factor = with.as_secs_f64() / without.as_secs_f64();
    println!("{KEYS} keys deleted in {without:.2?}, and with a journal in {with:.2?}: {factor:.2} times that");
    assert!(factor <= MOST, "a journal costs more than {MOST} times the time without");
    Ok(())
}

/// How often each key was deleted.
type Times = Arc<Mutex<Vec<u8>>>;

fn counting() -> (Server, Times) {
    let times: Times = Arc::new(Mutex::new(vec![0; KILLED_KEYS]));
    let state = Arc::clone(&times);
    let server = Server::start(move |operation, _, request| match operation {
        "DeleteObjects" => {
            let keys = keys_of(&request);
            // Before and after it is carried out there is time to be killed in.
            thread::sleep(Duration::from_millis(3));
            for number in keys.iter().filter_map(|key| key.strip_prefix("key-")?.parse::<usize>().ok()) {
                state.lock().unwrap()[number] += 1;
            }
            thread::sleep(Duration::from_millis(3));
            delete_result(&keys.iter().map(|key| (key.as_str(), None)).collect::<Vec<_>>())
        }
        _ => Response::error(501, "NotImplemented"),
    });
    (server, times)
}

/// Kills a deletion at moments that are drawn by lot, the same in every run of this program as far as the machine is as fast.
fn kills() -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(0x5eed);
    let journaled = |server: &Server, home: &Path| -> io::Result<Command> {
        let mut command = delete(&server.url, home, KILLED_KEYS)?;
        command.args(["--concurrency", &IN_FLIGHT.to_string(), "--journal"]);
        Ok(command)
    };
    let whole = {
        let ((server, _), home) = (counting(), tempfile::tempdir()?);
        let mut command = journaled(&server, home.path())?;
        let began = Instant::now();
        assert!(command.status()?.success(), "a deletion that nobody kills works");
        began.elapsed()
    };
    let (mut not_begun, mut half, mut whole_already, mut again) = (0, 0, 0, 0);
    for _ in 0..POINTS {
        let ((server, times), home) = (counting(), tempfile::tempdir()?);
        let mut child = journaled(&server, home.path())?.spawn()?;
        thread::sleep(whole.mul_f64(random.f64()));
        child.kill()?;
        child.wait()?;
        // A request that is under way reaches its end all the same.
        thread::sleep(Duration::from_millis(20));
        let log = aaws(&server.url, home.path()).arg("log").output()?;
        let runs: Vec<Value> = serde_json::from_slice(&log.stdout)?;
        let Some(run) = runs.first() else {
            assert!(times.lock().unwrap().iter().all(|times| *times == 0), "without a journal nothing was sent");
            not_begun += 1;
            continue;
        };
        let (id, state) = (run["id"].as_str().unwrap_or_default(), run["state"].as_str().unwrap_or_default());
        match state {
            "unfinished" => half += 1,
            "finished" => whole_already += 1,
            other => panic!("a run that was killed is {other}: {run}"),
        }
        let resumed = aaws(&server.url, home.path()).args(["resume", id]).output()?;
        let told = String::from_utf8_lossy(&resumed.stderr);
        if resumed.status.code() == Some(4) && told.contains("before it sent anything") {
            assert!(times.lock().unwrap().iter().all(|times| *times == 0), "nothing was sent");
            (not_begun, half) = (not_begun + 1, half - 1);
            continue;
        }
        assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
        let times = times.lock().unwrap();
        let twice = times.iter().filter(|times| **times == 2).count();
        assert!(times.iter().all(|times| (1..=2).contains(times)), "each key is deleted, and none more than twice");
        assert!(twice <= IN_FLIGHT * BATCH, "only those are deleted again whose answer nobody heard, and not {twice}");
        again += twice;
    }
    println!(
        "a deletion of {KILLED_KEYS} keys killed at {POINTS} moments: {not_begun} before it began, {half} half way and then finished, {whole_already} at its \
         end; {again} keys in all were deleted once more, because nobody heard their answers"
    );
    Ok(())
}
