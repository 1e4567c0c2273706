//! A headless Chromium, driven over WebDriver (W3C recommendation) as a person would use it.

use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::directory;
use super::http::{self, Request};
use super::tools::{from_npm, is_there, left_out};

/// No step of a test takes nearly this long.
const LIMIT: Duration = Duration::from_secs(20);

/// Set where the browser tests must run (`.ci/run`), rather than be left out when there is no browser.
const REQUIRED: &str = "AAWS_BROWSER_TESTS";

pub struct Browser {
    driver: Child,
    url: String,
    session: String,
    /// Where it keeps its profile, and nothing of another run.
    _profile: TempDir,
}

/// Chromium and its driver, or `None` on a machine without them, which is said in a line. Where they are required, that is a failure.
pub fn browser() -> Option<Browser> {
    let found = ["chromium", "chromedriver", "node", "npm"].into_iter().find(|program| !is_there(program));
    let Some(missing) = found else { return Some(Browser::start()) };
    left_out(REQUIRED, &format!("there is no {missing} on this machine (Debian: apt-get install chromium chromium-driver nodejs npm)"));
    None
}

/// The tools that judge pages.
pub fn tools() -> PathBuf {
    from_npm("web")
}

/// A driver, its port, and what it goes on saying.
fn driver() -> Option<(Child, u16, Lines<BufReader<ChildStdout>>)> {
    let mut driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn().expect("chromedriver runs");
    let mut lines = BufReader::new(driver.stdout.take().expect("stdout is piped")).lines();
    // "ChromeDriver was started successfully on port 34567."
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("successfully on port ")?;
        port.trim_end_matches('.').parse::<u16>().ok()
    });
    match port {
        Some(port) => Some((driver, port, lines)),
        None => {
            driver.wait().expect("chromedriver ends");
            None
        }
    }
}

impl Browser {
    fn start() -> Self {
        // The port that it picks for IPv6 may be taken for IPv4, by one of the many connections of the other tests: then it ends.
        let (driver, port, lines) = (0..10).find_map(|_| driver()).expect("chromedriver says its port");
        let url = format!("http://127.0.0.1:{port}");
        // What it says later must go somewhere.
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let profile = directory();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1280,900",
        ];
        let arguments: Vec<String> =
            arguments.iter().map(|a| (*a).to_owned()).chain([format!("--user-data-dir={}", profile.path().display())]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": binary(), "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let mut browser = Browser { driver, url, session: String::new(), _profile: profile };
        // A browser that starts for the first time on a busy machine may take longer than the driver waits for it: then it is there the next time.
        let session = (0..3).find_map(|_| browser.answer("POST", "/session", &wanted).map_err(|why| eprintln!("{why}")).ok());
        browser.session = session.as_ref().and_then(|s| s["sessionId"].as_str()).expect("chromium starts").to_owned();
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.answer(method, path, body).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The driver's answer, or what it says went wrong.
    fn answer(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let request = Request::new(method, path, body.as_bytes()).with_header("Content-Type", "application/json");
        let reply = http::send(&self.url, &request).expect("chromedriver answers");
        let answer: Value = serde_json::from_str(&reply.text()).unwrap_or_else(|e| panic!("{e}: {}", reply.text()));
        if reply.status == 200 { Ok(answer["value"].clone()) } else { Err(format!("{method} {path}: {}", answer["value"]["message"])) }
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, &format!("/session/{}{path}", self.session), body)
    }

    /// Goes to a page and waits until it is there with all that belongs to it: on a busy machine the driver is back before that.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.go(url);
        self.until(&format!("location.href === {} && document.readyState === 'complete'", json!(url)));
    }

    /// Goes to a page; all that can be done where scripts are off.
    pub fn go(&self, url: &str) {
        self.command("POST", "/url", &json!({ "url": url }));
    }

    /// Runs a function's body on the page, and gives what it returns; a promise is waited for.
    pub fn run(&self, script: &str) -> Value {
        let script = format!("const done = arguments[0]; (async () => {{ {script} }})().then(done, (e) => done('failed: ' + e));");
        self.command("POST", "/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true on the page.
    #[track_caller]
    pub fn until(&self, what: &str) {
        let end = Instant::now() + LIMIT;
        while self.run(&format!("return Boolean({what});")) != json!(true) {
            assert!(Instant::now() < end, "never on {}: {what}", self.run("return location.href;"));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until an expression has a value on the page: what was done may show a moment later.
    #[track_caller]
    pub fn becomes(&self, what: &str, wanted: &Value) {
        let end = Instant::now() + LIMIT;
        loop {
            let is = self.run(&format!("return {what};"));
            if is == *wanted {
                return;
            }
            assert!(Instant::now() < end, "on {}, {what} is {is} and not {wanted}", self.run("return location.href;"));
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn element(&self, selector: &str) -> String {
        let found = self.command("POST", "/element", &json!({"using": "css selector", "value": selector}));
        let id = found.as_object().and_then(|o| o.values().next()).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("no element {selector}")).to_owned()
    }

    pub fn click(&self, selector: &str) {
        self.command("POST", &format!("/element/{}/click", self.element(selector)), &json!({}));
    }

    pub fn type_into(&self, selector: &str, text: &str) {
        self.command("POST", &format!("/element/{}/value", self.element(selector)), &json!({ "text": text }));
    }

    /// Presses one key where the focus is: `/`, or a key of WebDriver's table such as `\u{e014}` (arrow right).
    pub fn press(&self, key: &str) {
        let actions = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        self.command("POST", "/actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// One command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// What the console has said since the last time this was asked.
    pub fn console(&self) -> Vec<String> {
        self.log("browser").iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The addresses of all requests since the last time this was asked.
    pub fn requests(&self) -> Vec<String> {
        let url = |entry: &Value| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            (message["method"] == "Network.requestWillBeSent").then(|| message["params"]["request"]["url"].as_str().map(str::to_owned))?
        };
        self.log("performance").iter().filter_map(url).collect()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        self.command("POST", "/se/log", &json!({ "type": kind })).as_array().cloned().unwrap_or_default()
    }
}

/// Where Chromium is; Debian's driver looks for a Chrome otherwise.
fn binary() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|p| p.join("chromium")).find(|p| p.exists());
    found.expect("chromium is on the path").display().to_string()
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // It ends its browser with the session; a test that failed must not fail again here.
            let request = Request::new("DELETE", &format!("/session/{}", self.session), b"");
            let _ = http::send(&self.url, &request);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
