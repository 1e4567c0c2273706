//! The program under test, run as its users run it, in an environment that holds nothing of the machine's own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::moto;

const PROGRAM: &str = env!("CARGO_BIN_EXE_aaws");
/// Of an authority that signs nothing.
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/authority.pem");
const ON_TERMINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/all/support/on_terminal.py");

/// No run takes nearly this long; one that does hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A run of the program that is being put together.
pub struct Aaws {
    command: Vec<OsString>,
    env: BTreeMap<String, OsString>,
    stdin: Option<Vec<u8>>,
    /// The moto server that it talks to where it has no endpoint: the first one.
    moto: Option<&'static str>,
    /// The home directory, and where the command runs unless told otherwise.
    home: TempDir,
    directory: Option<OsString>,
}

/// `aaws` with the arguments of a line, split at spaces, talking to moto.
pub fn aaws(line: impl AsRef<str>) -> Aaws {
    let mut command = vec![OsString::from(PROGRAM)];
    command.extend(line.as_ref().split_whitespace().map(OsString::from));
    Aaws::new(command)
}

/// A line for the shell, in which `aaws` is the program under test, talking to moto.
pub fn shell(line: impl AsRef<str>) -> Aaws {
    Aaws::new(vec!["sh".into(), "-c".into(), line.as_ref().into()])
}

/// A temporary directory of the test's own, removed when it is dropped.
pub fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// The lines of the report `report.jsonl` in a directory.
pub fn report(directory: &TempDir) -> Vec<Value> {
    let text = fs::read_to_string(directory.path().join("report.jsonl")).expect("the report");
    text.lines().map(|line| serde_json::from_str(line).expect("each line of a report is JSON")).collect()
}

/// Item, status and message of each line of that report.
pub fn told(directory: &TempDir) -> Vec<(String, String, String)> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    report(directory).iter().map(|line| (text(line, "item"), text(line, "status"), text(line, "message"))).collect()
}

/// Item and status of each outcome in a list of them.
pub fn outcomes(list: &Value) -> Vec<(&str, &str)> {
    let outcomes = list.as_array().expect("a list of outcomes").iter();
    outcomes.map(|outcome| (outcome["item"].as_str().expect("an item"), outcome["status"].as_str().expect("a status"))).collect()
}

/// A program in a session of its own: no terminal of whoever runs the tests, and a pipe of several programs can be ended as one group.
#[cfg(target_os = "linux")]
fn in_session_of_its_own(program: &OsString) -> Command {
    // By a program of util-linux, which then is that program: what is done between fork and exec makes the kernel copy the tables of all this process's
    // memory for each start. So does looking for a program that is no path, where its own PATH is another.
    static SETSID: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).map(|folder| folder.join("setsid"));
        places.find(|place| place.is_file()).expect("setsid, of util-linux")
    });
    let mut command = Command::new(&*SETSID);
    command.arg(program);
    command
}

#[cfg(not(target_os = "linux"))]
fn in_session_of_its_own(program: &OsString) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    // SAFETY: setsid is async-signal-safe, and nothing else is done between fork and exec.
    unsafe {
        command.pre_exec(|| if libc::setsid() < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) });
    }
    command
}

impl Aaws {
    fn new(command: Vec<OsString>) -> Self {
        let home = directory();
        let programs = Path::new(PROGRAM).parent().expect("the program's directory");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([programs.to_owned()].into_iter().chain(std::env::split_paths(&path)));
        let mut env = BTreeMap::new();
        env.insert("PATH".to_owned(), path.expect("a search path"));
        env.insert("HOME".to_owned(), home.path().into());
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            // Waits between attempts pass faster: what is tested is what comes of them.
            ("AAWS_CLOCK_RATE", "20"),
            // Nothing here is signed by an authority of the system, and reading a hundred of them takes a debug build longer than all else that it does.
            ("SSL_CERT_FILE", AUTHORITY),
        ] {
            env.insert(name.to_owned(), value.into());
        }
        Self { command, env, stdin: None, moto: None, home, directory: None }
    }

    /// Adds an argument as it is, spaces and all.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.command.push(argument.into());
        self
    }

    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.extend(arguments.into_iter().map(OsString::from));
        self
    }

    /// Adds an argument that need not be UTF-8.
    pub fn arg_bytes(self, argument: &[u8]) -> Self {
        self.arg(OsString::from_vec(argument.to_vec()))
    }

    /// Talks to this moto server where it has no other endpoint.
    pub fn moto(mut self, endpoint: &'static str) -> Self {
        self.moto = Some(endpoint);
        self
    }

    /// Talks to this endpoint instead of moto.
    pub fn endpoint(self, url: &str) -> Self {
        self.env("AWS_ENDPOINT_URL", url)
    }

    /// Runs on the sandbox in a directory, without credentials and region: it needs neither.
    pub fn sandbox(self, directory: &Path) -> Self {
        self.stranger().env("AAWS_SANDBOX", directory)
    }

    /// Has neither credentials nor a region.
    pub fn stranger(self) -> Self {
        self.without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY").without("AWS_REGION")
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves out a variable that is set by default.
    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// A variable of its environment, where it is set.
    pub fn value(&self, name: &str) -> Option<String> {
        self.env.get(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// Runs in this directory, which relative paths are relative to.
    pub fn within(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// What to give on standard input, which is empty otherwise.
    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = Some(bytes.as_ref().to_vec());
        self
    }

    /// Runs on a terminal, where a person types one line. The output then holds in `stdout` all that the person saw.
    pub fn on_terminal(self, answer: &str) -> Output {
        self.on_terminal_with(&[], answer)
    }

    /// The same, with options of `on_terminal.py`: streams that lead elsewhere, in the background, ended by a signal.
    pub fn on_terminal_with(mut self, options: &[&str], answer: &str) -> Output {
        let options = options.iter().map(OsString::from);
        let command: Vec<_> = ["python3", ON_TERMINAL].into_iter().map(OsString::from).chain(options).chain([answer.into()]).collect();
        self.command.splice(0..0, command);
        // A terminal says what it is; without it nothing is drawn over.
        self.env.entry("TERM".to_owned()).or_insert_with(|| "xterm".into());
        self.run()
    }

    pub fn run(self) -> Output {
        self.start().wait()
    }

    /// Starts it and lets it run.
    pub fn start(self) -> Running {
        self.start_unread().read()
    }

    /// Starts it, and reads nothing that it prints until told.
    pub fn start_unread(mut self) -> Unread {
        // A test that talks to nothing must not wait for moto.
        let talks = !self.env.contains_key("AWS_ENDPOINT_URL") && !self.env.contains_key("AAWS_SANDBOX");
        if talks {
            self.env.insert("AWS_ENDPOINT_URL".to_owned(), self.moto.unwrap_or_else(moto::endpoint).into());
        }
        let mut command = in_session_of_its_own(&self.command[0]);
        let mut child = command
            .args(&self.command[1..])
            .env_clear()
            .envs(&self.env)
            .current_dir(self.directory.as_deref().unwrap_or(self.home.path().as_os_str()))
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {:?}: {error}", self.command));
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), self.stdin) {
            // It may end without reading all that it is given.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = Capture::of(child.stderr.take().expect("stderr is piped"));
        Unread { line: format!("{:?}", self.command), child, stdout, stderr, home: self.home }
    }
}

/// A run under way whose output nobody reads: a pipe holds 64 KiB of it, and then it has to wait.
pub struct Unread {
    line: String,
    child: Child,
    stdout: ChildStdout,
    stderr: Capture,
    home: TempDir,
}

impl Unread {
    /// Reads what it prints from now on.
    pub fn read(self) -> Running {
        Running { line: self.line, child: self.child, stdout: Capture::of(self.stdout), stderr: self.stderr, _home: self.home }
    }
}

/// What a stream has carried so far.
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Capture {
    fn of(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut chunk = [0; 65536];
            while let Ok(length @ 1..) = stream.read(&mut chunk) {
                sink.lock().unwrap().extend_from_slice(&chunk[..length]);
            }
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn finish(self) -> String {
        self.reader.join().expect("the stream's reader");
        String::from_utf8(Arc::into_inner(self.bytes).expect("the reader has ended").into_inner().unwrap())
            .expect("the program writes UTF-8")
    }
}

/// A run under way.
pub struct Running {
    line: String,
    child: Child,
    stdout: Capture,
    stderr: Capture,
    _home: TempDir,
}

impl Running {
    /// Sends it a signal by name: `INT`, `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success(), "{} has ended before it got {name}", self.line);
    }

    /// Waits for the first line of its log.
    pub fn first_line(&self) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some((line, _)) = self.stderr.text().split_once('\n') {
                return line.to_owned();
            }
            assert!(Instant::now() < end, "{} says nothing", self.line);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has printed a text so many times.
    pub fn has_printed(&self, text: &str, times: usize) {
        let end = Instant::now() + LIMIT;
        while self.stdout.text().matches(text).count() < times {
            assert!(Instant::now() < end, "{} has not printed {text:?} {times} times", self.line);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until its log holds these words.
    pub fn logged(&self, words: &str) {
        let end = Instant::now() + LIMIT;
        while !self.stderr.text().contains(words) {
            assert!(Instant::now() < end, "{} does not say {words:?}, but {}", self.line, self.stderr.text());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has so many files and connections open.
    pub fn has_files_open(&self, number: usize) {
        let open = format!("/proc/{}/fd", self.child.id());
        let end = Instant::now() + LIMIT;
        while fs::read_dir(&open).map_or(0, Iterator::count) < number {
            assert!(Instant::now() < end, "{} has not {number} files open", self.line);
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait(mut self) -> Output {
        let end = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                break status;
            }
            if Instant::now() > end {
                let _ = Command::new("kill").args(["-s", "KILL", "--", &format!("-{}", self.child.id())]).status();
                let _ = self.child.wait();
                panic!(
                    "{} did not end within {LIMIT:?}\n--- stdout\n{}\n--- stderr\n{}",
                    self.line,
                    self.stdout.text(),
                    self.stderr.text()
                );
            }
            thread::sleep(Duration::from_millis(5));
        };
        Output { line: self.line, code: status.code(), stdout: self.stdout.finish(), stderr: self.stderr.finish() }
    }
}

/// What a run left behind.
pub struct Output {
    line: String,
    /// `None` when a signal killed it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "the exit code of {self}");
        self
    }

    /// The result: all of standard output, which must be one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }

    /// The log must hold these words, in whatever case.
    #[track_caller]
    pub fn logs(self, words: &str) -> Self {
        assert!(self.stderr.to_lowercase().contains(&words.to_lowercase()), "no {words:?} in the log of {self}");
        self
    }

    /// Nothing may be on standard output.
    #[track_caller]
    pub fn silent(self) -> Self {
        assert_eq!(self.stdout, "", "standard output of {self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, code, stdout, stderr } = self;
        write!(f, "{line}\n--- code {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}
