//! Requests fail, and then the world is looked at: whatever failed, each item has one outcome, what is said to be done is done, and nothing is done of which
//! nobody is told.
//!
//! Faults that pass: in one run each request fails once, in one of several ways, and in the next run in another of them. Whatever is sent again after that is
//! answered. Faults that last: from one request on all are denied, once for each request that the action makes, or for a dozen of them.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::aaws::Output;
use crate::support::cases::{Case, Place, Takes, changes, each};
use crate::support::directory;
use crate::support::http::{self, Request, Response, Server};
use crate::support::proxy;

/// In how many runs each request of an action fails in a way that passes.
const TURNS: usize = 3;

/// From how many requests of an action on all are denied, at most. Those that make more of them are walked one by one in `ec2/faults.rs`.
const MOST_LASTING: usize = 12;

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is refused, because there are too many of them.
    Throttled,
    /// It is refused: the service has an error of its own.
    Broken,
    /// The connection breaks before it is carried out.
    Dropped,
    /// It is carried out, and the connection breaks before its answer.
    Lost,
    /// It is carried out, and the connection breaks in the middle of its answer.
    CutOff,
}

const FAULTS: [Fault; 5] = [Fault::Throttled, Fault::Lost, Fault::Broken, Fault::CutOff, Fault::Dropped];

/// Which requests of a run fail.
#[derive(Debug, Clone, Copy)]
enum Plan {
    None,
    /// Each once, and the first of them in this way.
    Each(usize),
    /// This one, from 1, and all after it, because they are denied.
    From(usize),
}

/// Words by which the message of a failure owns that something was done all the same, or may have been.
const OWNS: [&str; 14] = [
    "accepted",
    "all the same",
    "asked for",
    "begun",
    "cannot be looked at",
    "cannot be seen",
    "could not be looked at",
    "could not undo",
    "goes on",
    "is deleted",
    "may have been",
    "not known",
    "not seen",
    "was told",
];

/// Codes that say so.
const OWNING: [&str; 6] = ["NoAnswer", "NotAwaited", "NotComplete", "TimedOut", "Unknown", "Unreachable"];

/// An item's outcome.
pub struct ReportLine {
    pub item: String,
    pub status: String,
    pub code: String,
    pub message: String,
}

impl ReportLine {
    pub fn is_so(&self) -> bool {
        matches!(self.status.as_str(), "done" | "unchanged")
    }

    /// Whether it says that something may have come of it.
    fn owns(&self) -> bool {
        self.status == "failed" && (OWNING.contains(&self.code.as_str()) || OWNS.iter().any(|words| self.message.contains(words)))
    }
}

/// What came of a run.
struct Ended {
    /// How many requests failed, and whether a change was carried out whose answer did not come.
    faults: usize,
    lost_a_change: bool,
    /// All requests that came.
    requests: usize,
    /// Whether all items are said to be done.
    is_done: bool,
}

/// What an action came through.
struct Row {
    action: &'static str,
    passing: usize,
    survived: usize,
    lasting: usize,
}

/// Tries all of a service, and prints how many requests failed.
#[track_caller]
pub fn every<P: Place>(cases: &[Case<P>]) {
    let rows = each(cases, |case| case.action.to_owned(), walk);
    println!("{:<38}{:>8}{:>9}{:>8}", "faults of", "passing", "survived", "lasting");
    for Row { action, passing, survived, lasting } in &rows {
        println!("{action:<38}{passing:>8}{survived:>9}{lasting:>8}");
    }
    let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    let (passing, survived, lasting) = (sum(|row| row.passing), sum(|row| row.survived), sum(|row| row.lasting));
    println!(
        "{passing} requests failed once, and {survived} of them in runs that came to their end all the same; {lasting} failed for good"
    );
    assert!(survived * 10 >= passing * 9, "most faults that pass are survived: {survived} of {passing}");
}

fn walk<P: Place>(case: &Case<P>) -> Row {
    let healthy = run(case, Plan::None);
    assert!(healthy.is_done, "it does not work at all");
    assert!(healthy.requests >= 2, "it makes {} requests only", healthy.requests);
    let mut row = Row { action: case.action, passing: 0, survived: 0, lasting: 0 };
    for turn in 0..TURNS {
        let ended = run(case, Plan::Each(turn * 2));
        assert!(ended.faults >= 2, "only {} requests failed, and there are {}", ended.faults, healthy.requests);
        assert!(ended.is_done || ended.lost_a_change, "nothing but faults that pass, and no change was lost: yet not all is done");
        row.passing += ended.faults;
        row.survived += if ended.is_done { ended.faults } else { 0 };
    }
    for first in (1..=healthy.requests).step_by(healthy.requests.div_ceil(MOST_LASTING)) {
        run(case, Plan::From(first));
        row.lasting += 1;
    }
    row
}

/// One run in a new world, in which nothing may be untrue.
fn run<P: Place>(case: &Case<P>, plan: Plan) -> Ended {
    let place = P::fresh();
    let ids = (case.make)(&place, 0..if case.takes == Takes::Many { 2 } else { 1 });
    let line = (case.line)(&place, &ids);
    let url = place.url();
    let spoiled = Arc::new(Spoiled::default());
    let server = {
        let spoiled = Arc::clone(&spoiled);
        Server::start(move |operation, _, request| spoiled.answer::<P>(plan, &url, operation, &request))
    };
    let folder = directory();
    // One after another, so that the same request is the same each time.
    let line = format!("{line} --concurrency 1 --report report.jsonl");
    let output = place.aaws(&server, &line).within(folder.path()).run();
    let report = fs::read_to_string(folder.path().join("report.jsonl")).unwrap_or_default();
    let told = told(&report);
    let all = format!("{plan:?}: {output}\n--- report\n{report}");
    assert!(matches!(output.code, Some(0 | 1 | 3 | 5)), "the exit code is none of those that this can have: {all}");
    is_true(case, &place, &ids, &output, &told, &all);
    Ended {
        faults: spoiled.faults.load(Ordering::Relaxed),
        lost_a_change: spoiled.lost.load(Ordering::Relaxed) > 0,
        requests: server.operations().len(),
        is_done: output.code == Some(0) && told.len() == ids.len() && told.iter().all(ReportLine::is_so),
    }
}

/// What a run says holds in the world.
pub fn is_true<P: Place>(case: &Case<P>, place: &P, ids: &[String], output: &Output, told: &[ReportLine], all: &str) {
    assert!(output.stdout.is_empty() || serde_json::from_str::<Value>(&output.stdout).is_ok(), "what is printed is no JSON: {all}");
    let failed_as_a_whole = !matches!(output.code, Some(0 | 3));
    for id in ids {
        let is_done = (case.is_done)(place, id);
        let outcomes: Vec<&ReportLine> = told.iter().filter(|told| told.item == *id).collect();
        let [outcome] = outcomes[..] else {
            let may_have_none = failed_as_a_whole || (case.takes == Takes::Parts && output.code != Some(0));
            assert!(may_have_none && outcomes.is_empty(), "{id} has {} outcomes: {all}", outcomes.len());
            assert!(!is_done, "it says nothing of {id}, which is done: {all}");
            continue;
        };
        assert!(is_done || !outcome.is_so(), "{id} is said to be {}, and is not: {all}", outcome.status);
        assert!(!is_done || outcome.is_so() || outcome.owns(), "{id} is done, and nobody is told: {all}");
    }
    assert!(output.code != Some(0) || told.iter().all(ReportLine::is_so), "it says that all went well: {all}");
}

/// The outcomes of a report.
pub fn told(report: &str) -> Vec<ReportLine> {
    let lines = report.lines().map(|line| serde_json::from_str::<Value>(line).expect("each line of a report is JSON"));
    let text = |line: &Value, member: &str| line[member].as_str().unwrap_or_default().to_owned();
    lines
        .map(|line| ReportLine {
            item: text(&line, "item"),
            status: text(&line, "status"),
            code: text(&line, "code"),
            message: text(&line, "message"),
        })
        .collect()
}

/// What was spoiled of a run's requests.
#[derive(Default)]
struct Spoiled {
    /// The requests that came, by all that is in them: one that is sent again is known by it.
    seen: Mutex<HashSet<(String, String, Vec<u8>)>>,
    came: AtomicUsize,
    faults: AtomicUsize,
    lost: AtomicUsize,
}

impl Spoiled {
    fn answer<P: Place>(&self, plan: Plan, url: &str, operation: &str, request: &Request) -> Response {
        let came = self.came.fetch_add(1, Ordering::Relaxed) + 1;
        match plan {
            Plan::From(first) if came >= first => {
                self.faults.fetch_add(1, Ordering::Relaxed);
                proxy::error(request, 403, P::DENIED)
            }
            Plan::Each(first) => match self.number(operation, request) {
                Some(number) => {
                    self.faults.fetch_add(1, Ordering::Relaxed);
                    self.spoil::<P>(FAULTS[(first + number) % FAULTS.len()], url, operation, request)
                }
                None => pass(url, request),
            },
            Plan::None | Plan::From(_) => pass(url, request),
        }
    }

    /// Which request it is, unless it came before.
    fn number(&self, operation: &str, request: &Request) -> Option<usize> {
        let mut seen = self.seen.lock().unwrap();
        let number = seen.len();
        seen.insert((operation.to_owned(), request.target.clone(), request.body.clone())).then_some(number)
    }

    fn spoil<P: Place>(&self, fault: Fault, url: &str, operation: &str, request: &Request) -> Response {
        match fault {
            Fault::Throttled => proxy::error(request, 503, P::THROTTLED),
            Fault::Broken => proxy::error(request, 500, "InternalError"),
            Fault::Dropped => Response::dropped(),
            Fault::Lost | Fault::CutOff => {
                self.lost.fetch_add(usize::from(changes(operation)), Ordering::Relaxed);
                let reply = pass(url, request);
                match reply.body.len() {
                    length @ 2.. if fault == Fault::CutOff => reply.cut_off(length / 2),
                    _ => Response::dropped(),
                }
            }
        }
    }
}

/// As the place answers.
pub fn pass(url: &str, request: &Request) -> Response {
    http::send(url, request).expect("the place answers")
}
