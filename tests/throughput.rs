//! Figures for the things that must not grow: memory of a large listing and deletion through a pipe, and the time that help takes.
//!
//! `cargo bench --bench throughput --no-default-features --features s3`. It fails when a bound is broken; times are shown, not judged,
//! except the processor time of `aaws --help`.

// The tests use more of their support than this does.
#![allow(dead_code)]

#[path = "all/support/fake_s3.rs"]
mod fake_s3;
#[path = "all/support/http.rs"]
mod http;
#[path = "all/support/xml.rs"]
mod xml;

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fake_s3::VastBucket;

const PROGRAM: &str = env!("CARGO_BIN_EXE_aaws");

/// How many keys go through the pipe.
const KEYS: usize = 200_000;

/// The most memory that either process may hold at any time.
const MOST_MEMORY_KIB: i64 = 64 * 1024;

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
