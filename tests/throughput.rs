//! Figures for the things that must not grow: memory of a large listing and deletion through a pipe, what an interrupted deletion says and how long it
//! takes to end, and the time that help takes.
//!
//! `cargo bench --bench throughput --no-default-features --features s3`. It fails when a bound is broken; times are shown, not judged,
//! except the end of the interrupted deletion, and the processor time of `aaws --help`.

// The tests use more of their support than this does.
#![allow(dead_code)]

#[path = "all/support/fake_s3.rs"]
mod fake_s3;
#[path = "all/support/http.rs"]
mod http;
#[path = "all/support/xml.rs"]
mod xml;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fake_s3::{VastBucket, delete_result, keys_of};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_aaws");

/// How many keys go through the pipe.
const KEYS: usize = 200_000;

/// The most memory that either process may hold at any time.
const MOST_MEMORY_KIB: i64 = 64 * 1024;

/// How many keys are to be deleted when the deletion is interrupted.
const MANY_KEYS: usize = 1_000_000;

/// The most lines that an interrupted deletion says.
const MOST_LINES: usize = 50;

/// The longest from the last answer of the service to the end of an interrupted deletion. Most of it is the report, of those that were not started.
const LONGEST_END: Duration = Duration::from_secs(2);

/// The most processor time that `aaws --help` may take.
const MOST_HELP: Duration = Duration::from_millis(10);

/// What the system says of a process that ended.
struct Used {
    peak_kib: i64,
    cpu: Duration,
    success: bool,
}

/// Waits for a child and asks the system what it used; the standard library does not tell.
fn wait(child: Child) -> io::Result<Used> {
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
    Ok(Used { peak_kib: usage.ru_maxrss, cpu: time(usage.ru_utime) + time(usage.ru_stime), success: status == 0 })
}

fn aaws(endpoint: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear();
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_ENDPOINT_URL", endpoint),
    ] {
        command.env(name, value);
    }
    command
}

fn main() -> io::Result<()> {
    // `cargo test --benches` asks for a list of tests, of which there are none.
    if std::env::args().any(|a| a == "--list" || a == "--test") {
        return Ok(());
    }
    pipe()?;
    interrupt()?;
    help()
}

/// `aaws s3 discover_objects | aaws s3 delete_objects --objects -`
fn pipe() -> io::Result<()> {
    let bucket = VastBucket::new(KEYS, Duration::ZERO);
    let began = Instant::now();
    let mut list = aaws(&bucket.server.url).args(["s3", "discover_objects", "--bucket", "b"]).stdout(Stdio::piped()).spawn()?;
    let keys = list.stdout.take().map_or(Stdio::null(), Stdio::from);
    let delete = aaws(&bucket.server.url)
        .args(["s3", "delete_objects", "--bucket", "b", "--objects", "-", "--yes"])
        .stdin(keys)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let (list, delete) = (wait(list)?, wait(delete)?);
    let took = began.elapsed();
    println!("{KEYS} keys listed and deleted through a pipe in {took:.2?} ({} requests)", bucket.server.operations().len());
    for (name, used) in [("discover_objects", &list), ("delete_objects", &delete)] {
        println!("  {name:16} peak memory {:.1} MiB, processor time {:.2?}", used.peak_kib as f64 / 1024.0, used.cpu);
        assert!(used.success, "{name} failed");
        assert!(used.peak_kib < MOST_MEMORY_KIB, "{name} held more than {MOST_MEMORY_KIB} KiB");
    }
    assert_eq!(bucket.deleted(), KEYS, "every key is deleted");
    Ok(())
}

/// A deletion of a million keys that is interrupted while requests are in flight.
fn interrupt() -> io::Result<()> {
    let answered = Arc::new(Mutex::new(Instant::now()));
    let last = Arc::clone(&answered);
    let server = http::Server::start(move |_, n, request| {
        if n > 20 {
            // Long enough for the signal to come in between.
            thread::sleep(Duration::from_millis(500));
        }
        let keys = keys_of(&request);
        let answer = delete_result(&keys.iter().map(|key| (key.as_str(), None)).collect::<Vec<_>>());
        *last.lock().unwrap() = Instant::now();
        answer
    });
    let home = tempfile::tempdir()?;
    let (keys, report, log) = (home.path().join("keys"), home.path().join("report.jsonl"), home.path().join("log"));
    fs::write(&keys, (0..MANY_KEYS).map(|number| VastBucket::key(number) + "\n").collect::<String>())?;
    let mut delete = aaws(&server.url)
        .args(["s3", "delete_objects", "--bucket", "b", "--yes", "--objects", &format!("@{}", keys.display()), "--report"])
        .arg(&report)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()?;
    server.wait_for("DeleteObjects", 21);
    let pid = i32::try_from(delete.id()).map_err(io::Error::other)?;
    // SAFETY: a signal to a child that was not waited for yet, so that the id is still its own.
    if unsafe { libc::kill(pid, libc::SIGINT) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let status = delete.wait()?;
    let took = answered.lock().unwrap().elapsed();
    let said = fs::read_to_string(&log)?;

    let (mut items, mut done, mut lines) = (HashSet::new(), 0, 0);
    for line in BufReader::new(File::open(&report)?).lines() {
        let line: Value = serde_json::from_str(&line?)?;
        done += usize::from(line["status"] == "done");
        lines += 1;
        items.insert(line["item"].as_str().unwrap_or_default().to_owned());
    }
    println!("{MANY_KEYS} keys, interrupted after {done}: at an end {took:.2?} after the last answer, with {} lines", said.lines().count());
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.lines().count() <= MOST_LINES, "it says more than {MOST_LINES} lines");
    assert_eq!((items.len(), lines), (MANY_KEYS, MANY_KEYS), "the report has each key, once");
    assert_eq!(done, 1000 * server.count("DeleteObjects"), "what was begun is settled, and nothing else is done");
    assert!(took < LONGEST_END, "it ends {took:?} after the last answer");
    Ok(())
}

/// The median of many runs: one may meet a busy machine.
fn help() -> io::Result<()> {
    let mut times = Vec::new();
    for _ in 0..21 {
        times.push(wait(aaws("http://127.0.0.1:1").arg("--help").stdout(Stdio::null()).spawn()?)?.cpu);
    }
    times.sort();
    println!("aaws --help: median processor time {:.2?}", times[10]);
    assert!(times[10] < MOST_HELP, "aaws --help takes {MOST_HELP:?} or more");
    Ok(())
}
