//! A plan is written, the world changes, the plan is applied: touched is what was planned and is as it was, and nothing else. What is touched is seen on
//! the wire (no request that changes something names another thing) and in the world.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::cases::{Case, Ended, MISSING, Place, Then, changes, each, names};
use crate::support::directory;
use crate::support::http::{self, Request, Server};

/// What an action's plan came to, in numbers of things.
struct Row {
    action: &'static str,
    /// Planned.
    planned: usize,
    /// Named by a request that changes something, when the plan was applied.
    touched: usize,
    /// Those that somebody changed meanwhile, and those that somebody took away.
    changed: usize,
    gone: usize,
    /// Those that somebody added.
    new: usize,
}

/// Tries all of a service, and prints a table of them.
#[track_caller]
pub fn every<P: Place>(cases: &[Case<P>]) {
    let rows = each(cases, |case| case.action.to_owned(), plan_and_apply);
    println!("{:<38}{:>8}{:>9}{:>9}{:>6}{:>5}", "action", "planned", "touched", "changed", "gone", "new");
    for Row { action, planned, touched, changed, gone, new } in rows {
        println!("{action:<38}{planned:>8}{touched:>9}{changed:>9}{gone:>6}{new:>5}");
    }
}

/// How answers are changed from some time on, and of what.
type Shown = Arc<Mutex<Vec<(fn(&str, &str) -> String, String)>>>;

fn plan_and_apply<P: Place>(case: &Case<P>) -> Row {
    let place = P::fresh();
    let folder = directory();
    let shown = Shown::default();
    let server = before(&place, &shown);
    let ids = (case.make)(&place, 0..4);

    let lines = case.lines(&ids);
    for (n, some) in lines.iter().enumerate() {
        let line = format!("{} --plan plan-{n}.jsonl", (case.line)(&place, some));
        place.aaws(&server, &line).within(folder.path()).run().ok();
    }
    let planned = planned(&folder, lines.len());
    assert_eq!(planned, ids.iter().cloned().collect::<BTreeSet<_>>(), "these are planned");
    let written: Vec<String> = server.operations().into_iter().filter(|operation| changes(operation)).collect();
    assert_eq!(written, [""; 0], "a plan is a dry run");

    let (changed, gone) = (&ids[2], &ids[3]);
    happen(&place, &case.change, changed, &shown);
    happen(&place, &case.remove, gone, &shown);
    let new = (case.make)(&place, 4..5).remove(0);

    let asked = server.operations().len();
    let mut outcomes = BTreeMap::<String, Vec<(String, String)>>::new();
    for n in 0..lines.len() {
        let output = place.aaws(&server, &format!("apply plan-{n}.jsonl --report report-{n}.jsonl")).within(folder.path()).run();
        let report = report(&folder, n);
        let is_short = report.iter().any(|(_, status, _)| status == "skipped" || status == "failed");
        assert_eq!(output.code, Some(if is_short { 3 } else { 0 }), "{output}\n--- report\n{report:?}");
        report.into_iter().for_each(|(item, status, code)| outcomes.entry(item).or_default().push((status, code)));
    }

    let same: BTreeSet<&String> = ids.iter().filter(|id| ended(case, &ids, id).is_none()).collect();
    let mut expected = BTreeMap::new();
    for id in &ids {
        let (status, code) = ended(case, &ids, id).unwrap_or(("done", ""));
        expected.insert(id.clone(), vec![(status.to_owned(), code.to_owned())]);
    }
    assert_eq!(outcomes, expected, "status and code of each, once");

    let all: Vec<&String> = ids.iter().chain([&new]).collect();
    let writes: Vec<Request> =
        server.log().into_iter().skip(asked).filter(|(operation, _)| changes(operation)).map(|(_, request)| request).collect();
    // An action that looks at nothing of a thing but its tags cannot know that it is gone; AWS says so, and nothing is there to be touched.
    let could_be = all.iter().copied().filter(|id| ended(case, &ids, id) != Some(MISSING));
    let touched: BTreeSet<&String> = could_be.filter(|id| writes.iter().any(|request| names(request, id))).collect();
    assert_eq!(touched, same, "these are named by requests that change something");
    for id in &same {
        assert!((case.is_done)(&place, id), "{id} is said to be done, and is not");
    }
    // What is as it was to become is so by somebody else's hand, and what is gone cannot be looked at.
    if ended(case, &ids, changed).is_some_and(|(status, _)| status != "unchanged") {
        assert!(!(case.is_done)(&place, changed), "{changed} was left alone, and yet it is done");
    }
    assert!(!(case.is_done)(&place, &new), "{new} is in no plan, and yet it is done");

    let happened = |then: &Then<P>| usize::from(then.ended().is_some());
    Row {
        action: case.action,
        planned: planned.len(),
        touched: touched.len(),
        changed: happened(&case.change),
        gone: happened(&case.remove),
        new: 1,
    }
}

/// In front of a place, what answers as somebody changed it.
fn before<P: Place>(place: &P, shown: &Shown) -> Server {
    let (url, shown) = (place.url(), Arc::clone(shown));
    Server::start(move |operation, _, request| {
        let mut reply = http::send(&url, &request).expect("the place answers");
        let shown = shown.lock().unwrap();
        if !changes(operation) && !shown.is_empty() {
            let text = shown.iter().fold(reply.text(), |text, (show, id)| show(&text, id));
            reply.body = text.into_bytes();
        }
        reply
    })
}

fn happen<P: Place>(place: &P, then: &Then<P>, id: &str, shown: &Shown) {
    match then {
        Then::Done(act, _) => act(place, id),
        Then::Shown(show, _) => shown.lock().unwrap().push((*show, id.to_owned())),
        Then::Never(why) => println!("nothing happens to {id}: {why}"),
    }
}

/// What is to become of one to which something happened.
fn ended<P>(case: &Case<P>, ids: &[String], id: &str) -> Option<Ended> {
    match ids.iter().position(|other| other == id) {
        Some(2) => case.change.ended(),
        Some(3) => case.remove.ended(),
        _ => None,
    }
}

/// The lines of a file, which has none if it is not there.
fn lines(folder: &TempDir, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn text(line: &Value, member: &str) -> String {
    line[member].as_str().unwrap_or_default().to_owned()
}

/// The items that these plans would change.
fn planned(folder: &TempDir, plans: usize) -> BTreeSet<String> {
    let lines = (0..plans).flat_map(|n| lines(folder, &format!("plan-{n}.jsonl")));
    lines.filter(|line| line["status"] == "planned").map(|line| text(&line, "item")).collect()
}

/// Item, status and code of each line of a report.
fn report(folder: &TempDir, n: usize) -> Vec<(String, String, String)> {
    let lines = lines(folder, &format!("report-{n}.jsonl"));
    lines.iter().map(|line| (text(line, "item"), text(line, "status"), text(line, "code"))).collect()
}
