//! How long the whole documentation site takes to build, and whether it is the same each time.
//!
//! `cargo bench --bench site_build`. It fails when the median is a second or more.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_aaws");

/// How often it is built.
const RUNS: usize = 11;

/// What a person waits for without noticing.
const LIMIT: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    // `cargo test --benches` asks for a list of tests, of which there are none.
    if std::env::args().any(|a| a == "--list" || a == "--test") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut took = Vec::new();
    for run in 0..RUNS {
        let out = folder.path().join(run.to_string());
        let began = Instant::now();
        let status = Command::new(PROGRAM).args(["docs", "build", "--out"]).arg(&out).output()?;
        took.push(began.elapsed());
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    }
    took.sort();
    let (pages, bytes) = size(&folder.path().join("0"))?;
    println!("aaws docs build, {pages} pages, {bytes} bytes in all");
    println!("  median of {RUNS}: {:.3?} (from {:.3?} to {:.3?})", took[RUNS / 2], took[0], took[RUNS - 1]);
    assert!(took[RUNS / 2] < LIMIT, "a second or more");
    Ok(())
}

/// How many pages there are below a folder, and how many bytes in all files.
fn size(folder: &Path) -> io::Result<(usize, u64)> {
    let (mut pages, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            let (p, b) = size(&path)?;
            (pages, bytes) = (pages + p, bytes + b);
        } else {
            pages += usize::from(path.extension().is_some_and(|e| e == "html"));
            bytes += fs::metadata(&path)?.len();
        }
    }
    Ok((pages, bytes))
}
