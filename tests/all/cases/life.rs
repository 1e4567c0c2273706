//! What a run has to live with that is no fault of a request: it is asked to end, its credentials expire, the clock of its machine is wrong. Then the world is
//! looked at, and what is left is done or undone by another process.
//!
//! Each action is run four times: by a clock that is three hours slow, with credentials that are turned down from its first change on and can be had anew,
//! which it has to come through; asked to end while its first change is under way, and then undone, or finished where there is no way back; asked twice while its
//! last one is, and then finished; with credentials that are turned down in the middle of its changes, of which there are no others, and then finished with
//! good ones.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use aaws::catalog::registry;
use aaws::{Effect, Reversible};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::faults::{ReportLine, is_true, pass, told};
use crate::support::aaws::{Aaws, Output};
use crate::support::cases::{Case, Place, Takes, changes, each};
use crate::support::directory;
use crate::support::http::{Request, Response, Server};
use crate::support::proxy;

/// No run takes nearly as long to come to a request.
const PATIENCE: Duration = Duration::from_secs(20);

/// By how much the clock of AWS is ahead.
const AHEAD: SignedDuration = SignedDuration::from_hours(3);

/// How old a request may be.
const TOLERATED: SignedDuration = SignedDuration::from_mins(5);

/// The token that is turned down after a while, and that of the credentials that are given in their place.
const TOKENS: [&str; 2] = ["the-first", "the-second"];

/// The journal of a run.
const JOURNAL: &str = "journal.jsonl";

/// What is undone, and looks as if it were not: the encrypted copy is kept, and a rule that is put back has another id.
const LOOKS_DONE: [&str; 2] = ["ec2/encrypt_volume", "ec2/revoke_security_group_rules"];

/// What happens to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// AWS has another clock, and from the first change on turns the first token down.
    Mendable,
    /// From this change on, from 1, no credentials are good.
    Expired(usize),
    /// A signal comes while this change is under way, and its answer comes behind it.
    Signal(usize, &'static str),
    /// Two signals come when this change is carried out, and its answer never comes.
    Signals(usize, &'static str),
}

/// What an action came through.
struct Row {
    action: &'static str,
    /// Requests that were signed again, and went through.
    mended: usize,
    /// Runs that ended early, those that another process undid or finished, and items that were being made, of which it cannot know whether they were.
    ended: usize,
    undone: usize,
    finished: usize,
    unknown: usize,
}

/// Tries all of a service, and prints how often.
#[track_caller]
pub fn every<P: Place>(cases: &[Case<P>]) {
    let rows = each(cases, |case| case.action.to_owned(), walk);
    println!("{:<38}{:>8}{:>7}{:>8}{:>10}{:>9}", "a run of", "mended", "ended", "undone", "finished", "unknown");
    for Row { action, mended, ended, undone, finished, unknown } in &rows {
        println!("{action:<38}{mended:>8}{ended:>7}{undone:>8}{finished:>10}{unknown:>9}");
    }
    let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    let (mended, ended) = (sum(|row| row.mended), sum(|row| row.ended));
    let (undone, finished) = (sum(|row| row.undone), sum(|row| row.finished));
    println!(
        "{mended} requests were signed again and went through; {ended} runs ended early, {undone} were undone and {finished} finished"
    );
}

fn walk<P: Place>(case: &Case<P>) -> Row {
    let mut row = Row { action: case.action, mended: 0, ended: 0, undone: 0, finished: 0, unknown: 0 };
    let changes = mended(case, &mut row);
    // One signal is as good as another.
    let signals = if case.action.len().is_multiple_of(2) { ["INT", "TERM"] } else { ["TERM", "INT"] };
    asked_to_end(case, Trouble::Signal(1, signals[0]), &mut row);
    asked_to_end(case, Trouble::Signals(changes, signals[1]), &mut row);
    expired(case, changes / 2 + 1, &mut row);
    row
}

/// A run that comes to its end all the same. Gives how many changes it makes.
fn mended<P: Place>(case: &Case<P>, row: &mut Row) -> usize {
    let scene = Scene::new(case, Trouble::Mendable);
    let run = scene.line(case, "");
    let key = run.value("AWS_ACCESS_KEY_ID").expect("a key");
    let given = Server::start(move |_, n, _| {
        let (token, expires) = (TOKENS[usize::from(n > 1)], Timestamp::now() + SignedDuration::from_hours(1));
        let body = format!(r#"{{"AccessKeyId":"{key}","SecretAccessKey":"secret","Token":"{token}","Expiration":"{expires}"}}"#);
        Response { status: 200, headers: vec![("Content-Type".into(), "application/json".into())], body: body.into_bytes() }
    });
    let run = run.without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY").without("AWS_SESSION_TOKEN");
    let output = run.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/credentials", given.url)).run();
    let (told, all) = scene.told(&output);
    is_true(case, &scene.place, &scene.ids, &output, &told, &all);
    assert!(output.code == Some(0) && told.len() == scene.ids.len() && told.iter().all(ReportLine::is_so), "it could go on: {all}");
    let front = &scene.front;
    let (by_clock, by_token) = (front.by_clock.load(Ordering::Relaxed), front.by_token.load(Ordering::Relaxed));
    assert!(by_clock > 0 && by_token > 0, "nothing was turned down: {by_clock} times for the clock, {by_token} for the token: {all}");
    assert_eq!(given.operations().len(), 2, "others are asked for once: {all}");
    row.mended += by_clock + by_token;
    front.changes.load(Ordering::Relaxed)
}

/// A run that gets a signal, or two.
fn asked_to_end<P: Place>(case: &Case<P>, trouble: Trouble, row: &mut Row) {
    let scene = Scene::new(case, trouble);
    let (Trouble::Signal(at, signal) | Trouble::Signals(at, signal)) = trouble else { panic!("there is no signal in {trouble:?}") };
    let is_twice = matches!(trouble, Trouble::Signals(..));
    let running = scene.line(case, &format!("--journal {JOURNAL}")).start();
    if scene.reached.recv_timeout(PATIENCE).is_err() {
        // Items that come at the same time are sent together: then there are fewer changes than the time before.
        assert!(at > 1, "the run does not come to its first change");
        scene.front.release();
        running.wait();
        return asked_to_end(case, if is_twice { Trouble::Signals(1, signal) } else { Trouble::Signal(1, signal) }, row);
    }
    running.signal(signal);
    running.logged("interrupted: finishing");
    if is_twice {
        running.signal(signal);
    } else {
        scene.front.release();
    }
    let output = running.wait();
    scene.front.release();
    row.ended += 1;
    let (told, all) = scene.told(&output);
    assert_eq!(output.code, Some(130), "{all}");
    if is_twice {
        // What was under way is in no report: the journal has it.
        for told in told.iter().filter(|told| told.is_so()) {
            assert!((case.is_done)(&scene.place, &told.item), "{} is said to be {}, and is not: {all}", told.item, told.status);
        }
    } else {
        is_true(case, &scene.place, &scene.ids, &output, &told, &all);
        let is_told = |id: &String| told.iter().any(|told| told.item == *id);
        assert!(case.takes == Takes::Parts || scene.ids.iter().all(is_told), "not every item is in the report: {all}");
    }
    let entry = registry::find(case.action).expect("a registered action");
    if !is_twice && entry.is_reversible() && !matches!(entry.reversible, Reversible::No(_)) {
        scene.undo(case, &all);
        row.undone += 1;
    } else {
        row.unknown += scene.finish(case, &all, is_twice && entry.meta.effect == Effect::Create);
        row.finished += 1;
    }
}

/// A run whose credentials are turned down from one of its changes on.
fn expired<P: Place>(case: &Case<P>, from: usize, row: &mut Row) {
    let scene = Scene::new(case, Trouble::Expired(from));
    let output = scene.line(case, &format!("--journal {JOURNAL}")).run();
    if from > 1 && scene.front.by_token.load(Ordering::Relaxed) == 0 {
        // There were fewer changes than the time before.
        return expired(case, 1, row);
    }
    let (told, all) = scene.told(&output);
    if output.code == Some(0) {
        // All was done but for what is cleared away behind it, which is told.
        assert!(told.iter().all(|told| told.is_so() && told.message.contains("Expired")), "{all}");
        return is_true(case, &scene.place, &scene.ids, &output, &told, &all);
    }
    row.ended += 1;
    assert_eq!(output.code, Some(5), "{all}");
    assert!(output.stderr.contains("credentials have expired") && output.stderr.contains("sign in again"), "it says what to do: {all}");
    is_true(case, &scene.place, &scene.ids, &output, &told, &all);
    scene.finish(case, &all, false);
    row.finished += 1;
}

/// A new world, and what a run there has to live with.
struct Scene<P> {
    trouble: Trouble,
    place: P,
    ids: Vec<String>,
    front: Arc<Front>,
    server: Server,
    /// News of the change during which there are signals.
    reached: Receiver<()>,
    folder: TempDir,
}

impl<P: Place> Scene<P> {
    fn new(case: &Case<P>, trouble: Trouble) -> Self {
        let place = P::fresh();
        let ids = (case.make)(&place, 0..if case.takes == Takes::Many { 2 } else { 1 });
        let (came, reached) = mpsc::channel();
        let front = Arc::new(Front::new(place.url(), trouble, came));
        let of_server = Arc::clone(&front);
        let server = Server::start(move |operation, _, request| of_server.answer(operation, request));
        Scene { trouble, place, ids, front, server, reached, folder: directory() }
    }

    /// The action, one request after another.
    fn line(&self, case: &Case<P>, more: &str) -> Aaws {
        let line = (case.line)(&self.place, &self.ids);
        self.aaws(&format!("{line} --concurrency 1 --report report.jsonl {more}"))
    }

    fn aaws(&self, line: &str) -> Aaws {
        self.place.aaws(&self.server, line).within(self.folder.path())
    }

    /// What a run said, and all that there is to say of it.
    fn told(&self, output: &Output) -> (Vec<ReportLine>, String) {
        let report = fs::read_to_string(self.folder.path().join("report.jsonl")).unwrap_or_default();
        (told(&report), format!("{:?}: {output}\n--- report\n{report}", self.trouble))
    }

    /// What is done about the run when the trouble is over.
    fn after(&self, doing: &str, before: &str) -> (Output, Vec<ReportLine>, String) {
        self.front.is_over.store(true, Ordering::Relaxed);
        let _ = fs::remove_file(self.folder.path().join("report.jsonl"));
        let output = self.aaws(&format!("{doing} {JOURNAL} --report report.jsonl")).run();
        let (told, all) = self.told(&output);
        (output, told, format!("{before}\n\n=== and then\n{all}"))
    }

    /// The rest is done, and nothing is left half way. Of what was being made, and `may_be_there`, it is said that it is not known; gives how many those are.
    fn finish(&self, case: &Case<P>, before: &str, may_be_there: bool) -> usize {
        let (output, told, all) = self.after("resume", before);
        let unknown: Vec<&ReportLine> =
            told.iter().filter(|told| may_be_there && told.status == "failed" && told.code == "Unknown").collect();
        assert_eq!(output.code, Some(if unknown.is_empty() { 0 } else { 3 }), "the run is finished: {all}");
        assert!(told.iter().filter(|told| told.code != "Unknown").all(ReportLine::is_so), "the run is finished: {all}");
        for id in &self.ids {
            let is_known = unknown.iter().all(|told| told.item != *id);
            assert!(!is_known || (case.is_done)(&self.place, id), "{id} is not done: {all}");
        }
        unknown.len()
    }

    /// All is as it was before, but for what has no way back.
    fn undo(&self, case: &Case<P>, before: &str) {
        let (output, told, all) = self.after("undo", before);
        assert!(matches!(output.code, Some(0 | 3 | 4)), "the run is undone: {all}");
        for id in &self.ids {
            let is_done = (case.is_done)(&self.place, id);
            let outcome = told.iter().find(|told| told.item == *id);
            let looks_done = LOOKS_DONE.contains(&case.action) && outcome.is_some_and(ReportLine::is_so);
            assert!(
                !is_done || looks_done || output.code == Some(4) || outcome.is_some_and(|told| !told.is_so()),
                "{id} is as the run left it: {all}"
            );
        }
        assert!(output.code != Some(0) || told.iter().all(ReportLine::is_so), "it says that all went well: {all}");
    }
}

/// What stands between a run and the world.
struct Front {
    url: String,
    trouble: Trouble,
    is_over: AtomicBool,
    /// How many requests that change something were answered by the world.
    changes: AtomicUsize,
    /// How many requests were turned down, for their clock and for their token.
    by_clock: AtomicUsize,
    by_token: AtomicUsize,
    came: Sender<()>,
    is_released: (Mutex<bool>, Condvar),
}

impl Front {
    fn new(url: String, trouble: Trouble, came: Sender<()>) -> Self {
        let (is_over, count) = (AtomicBool::new(false), || AtomicUsize::new(0));
        let (changes, by_clock, by_token) = (count(), count(), count());
        Front { url, trouble, is_over, changes, by_clock, by_token, came, is_released: (Mutex::new(false), Condvar::new()) }
    }

    fn answer(&self, operation: &str, mut request: Request) -> Response {
        if self.is_over.load(Ordering::Relaxed) {
            return pass(&self.url, &request);
        }
        let is_change = changes(operation);
        let changed = self.changes.load(Ordering::Relaxed) + usize::from(is_change);
        let mut reply = match self.trouble {
            Trouble::Mendable => {
                let refused = self.refused(&request, changed > 0);
                refused.unwrap_or_else(|| {
                    // The world knows of no such token.
                    request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("x-amz-security-token"));
                    self.carry_out(&request, is_change)
                })
            }
            Trouble::Expired(from) if changed >= from => {
                self.by_token.fetch_add(1, Ordering::Relaxed);
                expired_token(&request)
            }
            Trouble::Signal(at, _) if is_change && changed == at => {
                self.hold();
                self.carry_out(&request, is_change)
            }
            Trouble::Signals(at, _) if is_change && changed == at => {
                let reply = self.carry_out(&request, is_change);
                self.hold();
                reply
            }
            Trouble::Expired(_) | Trouble::Signal(..) | Trouble::Signals(..) => self.carry_out(&request, is_change),
        };
        if self.trouble == Trouble::Mendable {
            let date = (Timestamp::now() + AHEAD).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            reply.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
            reply.headers.push(("Date".to_owned(), date));
        }
        reply
    }

    fn carry_out(&self, request: &Request, is_change: bool) -> Response {
        self.changes.fetch_add(usize::from(is_change), Ordering::Relaxed);
        pass(&self.url, request)
    }

    /// Turns down what is signed by another clock, or by a token that has expired.
    fn refused(&self, request: &Request, has_expired: bool) -> Option<Response> {
        let signed = request.header("x-amz-date").expect("a signed request");
        let signed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", signed).and_then(|time| time.to_zoned(TimeZone::UTC));
        let off = (Timestamp::now() + AHEAD).duration_since(signed.expect("a time").timestamp());
        if off.abs() > TOLERATED {
            self.by_clock.fetch_add(1, Ordering::Relaxed);
            let (status, code) = match request.signed_service() {
                Some("ec2") => (400, "RequestExpired"),
                Some("s3") => (403, "RequestTimeTooSkewed"),
                Some("backup" | "kms") => (403, "InvalidSignatureException"),
                _ => (403, "SignatureDoesNotMatch"),
            };
            return Some(proxy::error(request, status, code));
        }
        if has_expired && request.header("x-amz-security-token") == Some(TOKENS[0]) {
            self.by_token.fetch_add(1, Ordering::Relaxed);
            return Some(expired_token(request));
        }
        None
    }

    /// Says that the request came, and holds it.
    fn hold(&self) {
        let _ = self.came.send(());
        drop(self.is_released.1.wait_while(self.is_released.0.lock().unwrap(), |is_released| !*is_released).unwrap());
    }

    fn release(&self) {
        *self.is_released.0.lock().unwrap() = true;
        self.is_released.1.notify_all();
    }
}

/// How each service says that a token has expired.
fn expired_token(request: &Request) -> Response {
    let (status, code) = match request.signed_service() {
        Some("ec2") => (400, "RequestExpired"),
        Some("backup" | "kms") => (403, "ExpiredTokenException"),
        Some("s3") => (400, "ExpiredToken"),
        _ => (403, "ExpiredToken"),
    };
    proxy::error(request, status, code)
}
