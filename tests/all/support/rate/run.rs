//! Runs of the program, and what they left behind.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_aaws");

/// The requests under way at once unless `--concurrency` says otherwise.
pub const CONCURRENCY: usize = 16;

/// A run that is being put together.
pub struct Aaws {
    command: Command,
    /// The home directory, where lists, the report and the output go.
    home: TempDir,
}

/// What a run left behind.
pub struct Run {
    pub wall: Duration,
    /// None when it was killed, because it did not end.
    pub exit: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// The report's items with their statuses, in the order in which they were settled.
    pub settled: Vec<(String, String)>,
}

impl Aaws {
    /// An action that changes something, with the arguments of a line, split at spaces.
    pub fn change(endpoint: &str, line: &str) -> io::Result<Self> {
        let mut aaws = Self::new(endpoint, line)?;
        let report = aaws.home.path().join("report.jsonl");
        aaws.command.arg("--yes").arg("--report").arg(report);
        Ok(aaws)
    }

    /// An action that looks; it prints one item a line.
    pub fn look(endpoint: &str, line: &str) -> io::Result<Self> {
        let mut aaws = Self::new(endpoint, line)?;
        aaws.command.args(["--output", "jsonl"]);
        Ok(aaws)
    }

    fn new(endpoint: &str, line: &str) -> io::Result<Self> {
        let home = tempfile::tempdir()?;
        let mut command = Command::new(PROGRAM);
        command
            .args(line.split_whitespace())
            .env_clear()
            .env("HOME", home.path())
            .envs([("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")])
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL", endpoint)
            .current_dir(home.path());
        Ok(Self { command, home })
    }

    /// Adds a list from a file: a name or a JSON object a line.
    pub fn list(mut self, flag: &str, items: &[String]) -> io::Result<Self> {
        fs::write(self.home.path().join(flag), items.join("\n"))?;
        self.command.arg(format!("--{flag}")).arg(format!("@{flag}"));
        Ok(self)
    }

    /// Runs it, and kills it when it does not end within `patience`.
    pub fn run(mut self, patience: Duration) -> io::Result<Run> {
        let at = |name: &str| self.home.path().join(name);
        self.command.stdin(Stdio::null()).stdout(File::create(at("stdout"))?).stderr(File::create(at("stderr"))?);
        let began = Instant::now();
        let mut child = self.command.spawn()?;
        let exit = loop {
            if let Some(status) = child.try_wait()? {
                break status.code();
            }
            if began.elapsed() > patience {
                child.kill()?;
                child.wait()?;
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let wall = began.elapsed();
        let text = |name: &str| fs::read(at(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        // A run that does not come about leaves no report.
        let settled = text("report.jsonl").unwrap_or_default().lines().map(settled).collect();
        Ok(Run { wall, exit, stdout: text("stdout")?, stderr: text("stderr")?, settled })
    }
}

/// The item and the status of a line of a report; a line that is none counts as an item that nobody gave.
fn settled(line: &str) -> (String, String) {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    (text("item"), text("status"))
}

impl Run {
    /// How many of the items that were given are not said to be as asked.
    pub fn failed(&self, given: &[String]) -> usize {
        let as_asked = |(_, status): &&(String, String)| matches!(status.as_str(), "done" | "unchanged");
        let well: HashSet<&str> = self.settled.iter().filter(as_asked).map(|(item, _)| item.as_str()).collect();
        given.iter().filter(|item| !well.contains(item.as_str())).count()
    }

    /// How many items are not in the report exactly once: those given, and those that nobody gave.
    pub fn not_once(&self, given: &[String]) -> usize {
        let mut times: HashMap<&str, usize> = given.iter().map(|item| (item.as_str(), 0)).collect();
        let mut strange = 0;
        for (item, _) in &self.settled {
            match times.get_mut(item.as_str()) {
                Some(times) => *times += 1,
                None => strange += 1,
            }
        }
        times.values().filter(|times| **times != 1).count() + strange
    }

    /// How many different items were printed.
    pub fn printed(&self) -> usize {
        self.stdout.lines().collect::<HashSet<_>>().len()
    }
}
