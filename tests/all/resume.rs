//! Runs that were killed half way, and are finished by another process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::aaws::Aaws;
use crate::support::cases::each;
use crate::support::fake_s3::{VastBucket, delete_result, keys_of};
use crate::support::trap::{Moment, Trap};
use crate::support::{Response, Server, aaws, directory, http, report};

/// A bucket that deletes what it is asked to, and counts how often it deletes each key.
struct Counting {
    server: Server,
    deleted: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Counting {
    fn new() -> Self {
        let deleted = Arc::<Mutex<BTreeMap<String, usize>>>::default();
        let state = Arc::clone(&deleted);
        let server = Server::start(move |operation, _, request| match operation {
            "DeleteObjects" => {
                let keys = keys_of(&request);
                let mut deleted = state.lock().unwrap();
                keys.iter().for_each(|key| *deleted.entry(key.clone()).or_default() += 1);
                delete_result(&keys.iter().map(|key| (key.as_str(), None)).collect::<Vec<_>>())
            }
            "ListObjectsV2" => VastBucket::page(LISTED, &request),
            "GetCallerIdentity" => identity(),
            _ => Response::error(501, "NotImplemented"),
        });
        Counting { server, deleted }
    }

    /// In front of it, what holds the request with this number.
    fn trap(&self, number: usize, moment: Moment) -> Trap {
        Trap::new(&self.server.url, number, moment, |operation| operation == "DeleteObjects")
    }

    fn times(&self) -> Vec<usize> {
        self.deleted.lock().unwrap().values().copied().collect()
    }
}

/// So many keys are listed, those too that were deleted.
const LISTED: usize = 9000;

/// A server that tells accounts may be behind another port the next time.
fn identity() -> Response {
    let account = "<Arn>arn:aws:iam::123456789012:user/tester</Arn><UserId>AIDATESTER</UserId><Account>123456789012</Account>";
    let result = format!("<GetCallerIdentityResult>{account}</GetCallerIdentityResult>");
    Response::xml(200, format!("<GetCallerIdentityResponse>{result}</GetCallerIdentityResponse>"))
}

fn by(state: &TempDir, server: &Server, line: &str) -> Aaws {
    aaws(line).env("XDG_STATE_HOME", state.path()).endpoint(&server.url)
}

fn keys(many: usize) -> String {
    (0..many).map(|n| format!("key-{n:05}\n")).collect()
}

/// The newest run.
fn newest(state: &TempDir, bucket: &Counting) -> Value {
    by(state, &bucket.server, "log").run().ok().json()[0].clone()
}

/// Kills a deletion of 5,000 keys with a journal at its request with this number, and gives the id of its run.
fn killed(state: &TempDir, bucket: &Counting, number: usize, moment: Moment) -> String {
    let trap = bucket.trap(number, moment);
    let line = "s3 delete_objects --bucket b --prefix p --objects - --concurrency 1 --journal";
    trap.kill(by(state, &trap.server, line).stdin(keys(5000)).start());
    let run = newest(state, bucket);
    assert_eq!(run["state"], "unfinished");
    run["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_deletion_that_was_killed_is_finished_and_nothing_is_deleted_twice() {
    let (state, bucket) = (directory(), Counting::new());
    let id = killed(&state, &bucket, 3, Moment::Before);
    assert_eq!(bucket.times().len(), 2000);

    let here = directory();
    let resumed = by(&state, &bucket.server, &format!("resume {id} --report report.jsonl")).within(here.path()).run().ok();
    assert_eq!(resumed.json(), json!([]));
    assert_eq!(bucket.times(), vec![1; 5000]);
    assert!(bucket.deleted.lock().unwrap().keys().all(|key| key.starts_with("p/")), "the prefix was the run's own");
    assert_eq!(report(&here).len(), 3000, "the report is of the rest");

    let sent = bucket.server.count("DeleteObjects");
    by(&state, &bucket.server, &format!("resume {id}")).run().ok().logs("nothing is left to be done");
    assert_eq!(bucket.server.count("DeleteObjects"), sent);
    let runs = by(&state, &bucket.server, "log").run().ok().json();
    assert_eq!(
        (runs.as_array().map(Vec::len), &runs[0]["state"], &runs[0]["counts"]),
        (Some(1), &json!("finished"), &json!({"done": 5000}))
    );
}

#[test]
fn a_deletion_that_is_killed_at_any_of_its_requests_is_finished() {
    const REQUESTS: usize = 5;
    let mut survived = 0;
    for (number, moment) in (1..=REQUESTS).flat_map(|number| [(number, Moment::Before), (number, Moment::After)]) {
        let when = format!("killed {moment:?} request {number}");
        let (state, bucket) = (directory(), Counting::new());
        let id = killed(&state, &bucket, number, moment);
        let done = newest(&state, &bucket)["counts"]["done"].as_u64().unwrap_or_default();
        assert_eq!(done, 1000 * (number as u64 - 1), "{when}: what was answered is known to be done, and no more");

        by(&state, &bucket.server, &format!("resume {id}")).run().ok();
        let times = bucket.times();
        assert_eq!(times.len(), 5000, "{when}: all are deleted");
        // Of those whose answer nobody heard it is not known, and to delete them once more does no harm; all others go once.
        let twice = if moment == Moment::After { 1000 } else { 0 };
        let count = |so_often: usize| times.iter().filter(|times| **times == so_often).count();
        assert_eq!((count(1), count(2)), (5000 - twice, twice), "{when}");
        let run = newest(&state, &bucket);
        assert_eq!((&run["state"], &run["counts"]), (&json!("finished"), &json!({"done": 5000})), "{when}");
        survived += 1;
    }
    println!("a deletion of 5,000 keys was killed at {survived} points, and finished each time");
}

#[test]
fn a_deletion_of_what_is_listed_that_is_killed_is_finished_in_whatever_order_it_went() {
    for (number, moment) in [(1, Moment::Before), (3, Moment::After), (6, Moment::Before), (9, Moment::After)] {
        let when = format!("killed {moment:?} request {number}");
        let (state, bucket) = (directory(), Counting::new());
        let trap = bucket.trap(number, moment);
        let line = "s3 delete_objects --bucket b --matching --whole_bucket --concurrency 4 --journal";
        trap.kill(by(&state, &trap.server, line).start());
        let run = newest(&state, &bucket);
        assert_eq!(run["state"], "unfinished", "{when}");
        let id = run["id"].as_str().expect("an id");
        let items = by(&state, &bucket.server, &format!("log {id}")).run().ok().json();
        let items = items.as_array().expect("the items");
        let done = items.iter().filter(|item| item["status"] == "done");
        let settled: BTreeSet<&str> = done.map(|item| item["item"].as_str().expect("a key")).collect();
        assert!(settled.len().is_multiple_of(1000) && settled.len() < LISTED, "{when}: {} are done", settled.len());
        assert!(items.len() <= settled.len() + 4000, "{when}: no more than four requests were under way");
        {
            let deleted = bucket.deleted.lock().unwrap();
            assert!(settled.iter().all(|key| deleted.contains_key(*key)), "{when}: it says of one that it was deleted");
        }

        by(&state, &bucket.server, &format!("resume {id}")).run().ok();
        let deleted = bucket.deleted.lock().unwrap().clone();
        assert_eq!(deleted.len(), LISTED, "{when}: all are deleted");
        assert!(settled.iter().all(|key| deleted[*key] == 1), "{when}: what was settled is not deleted again");
        let run = newest(&state, &bucket);
        assert_eq!((&run["state"], &run["counts"]), (&json!("finished"), &json!({"done": LISTED})), "{when}");
    }
}

/// A point in a run: so many of its deletions have come to the bucket, and so much time has passed since.
type Point = (usize, Duration);

/// So many points, by chance. The seed of an earlier time can be given again.
fn points_by_chance(many: usize) -> Vec<Point> {
    let given = std::env::var("AAWS_TEST_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seed = given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64)) | 1;
    println!("the points are those of AAWS_TEST_SEED={seed}");
    let mut state = seed;
    // Xorshift (Marsaglia 2003).
    let mut below = |most: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % most
    };
    let mut point = || {
        let requests = below(6) as usize;
        // Before the first one is sent, the program starts, and reads what it is given.
        let within = if requests == 0 { 400_000 } else { 12_000 };
        (requests, Duration::from_micros(below(within)))
    };
    (0..many).map(|_| point()).collect()
}

/// What became of a run that was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    /// Before it sent anything that changes something: it was run again.
    Unbegun,
    /// Half way: another process finished it.
    Half,
    /// It had come to its end.
    TooLate,
}

/// Kills a deletion of 5,000 keys, finishes it, and looks at the bucket.
fn killed_and_finished(&(requests, after): &Point) -> Killed {
    const LINE: &str = "s3 delete_objects --bucket b --prefix p --objects - --concurrency 2 --journal";
    let (state, bucket) = (directory(), Counting::new());
    let inner = bucket.server.url.clone();
    // A bucket that takes its time, so that answers come while others are awaited.
    let slow = Server::start(move |_, _, request| {
        thread::sleep(Duration::from_millis(4));
        let reply = http::send(&inner, &request).expect("the bucket answers");
        thread::sleep(Duration::from_millis(4));
        reply
    });
    let running = by(&state, &slow, LINE).stdin(keys(5000)).start();
    slow.wait_for("DeleteObjects", requests);
    thread::sleep(after);
    running.signal("KILL");
    let output = running.wait();
    // What was sent is carried out, though nobody awaits it any more.
    thread::sleep(Duration::from_millis(50));
    while bucket.server.count("DeleteObjects") < slow.count("DeleteObjects") {
        thread::sleep(Duration::from_millis(5));
    }

    let run = newest(&state, &bucket);
    let known = run["counts"]["done"].as_u64().unwrap_or_default() as usize;
    let before = bucket.times();
    assert!(known <= before.len(), "the journal knows of {known}, and {} are deleted: {output}", before.len());
    let killed = match &run["state"] {
        Value::Null => Killed::Unbegun,
        other if *other == "finished" => Killed::TooLate,
        other => {
            assert_eq!(*other, "unfinished", "{run}");
            let id = run["id"].as_str().expect("an id");
            let resumed = by(&state, &bucket.server, &format!("resume {id}")).run();
            match resumed.code {
                Some(0) => Killed::Half,
                // Its input is not in the journal, or nothing that it was to be sent to.
                Some(1 | 4) => Killed::Unbegun,
                _ => panic!("{resumed}"),
            }
        }
    };
    if killed == Killed::Unbegun {
        assert_eq!(before, [0; 0], "nothing was deleted: {output}");
        by(&state, &bucket.server, LINE).stdin(keys(5000)).run().ok();
    }
    let times = bucket.times();
    assert_eq!(times.len(), 5000, "all are deleted");
    let twice = times.iter().filter(|times| **times == 2).count();
    assert!(times.iter().all(|times| *times <= 2), "none is deleted more than twice");
    assert!(twice <= before.len() - known, "{twice} were deleted twice, and of {known} it was known that they are: {output}");
    assert_eq!(newest(&state, &bucket)["state"], "finished");
    killed
}

#[test]
fn a_deletion_that_is_killed_at_points_by_chance_is_finished() {
    let points = points_by_chance(50);
    let came = each(&points, |point| format!("killed at {point:?}"), killed_and_finished);
    let count = |killed: Killed| came.iter().filter(|came| **came == killed).count();
    let (unbegun, half, late) = (count(Killed::Unbegun), count(Killed::Half), count(Killed::TooLate));
    println!(
        "a deletion of 5,000 keys was killed at 50 points: {unbegun} before it began, {half} half way, {late} too late; all were finished"
    );
    assert!(half >= 15, "only {half} were killed half way");
}

#[test]
fn an_upload_of_what_flags_named_is_not_gone_on_with() {
    let state = directory();
    for line in ["--object k text", "--from ."] {
        let server = Server::start(|operation, _, _| match operation {
            "HeadObject" => Response { status: 404, headers: Vec::new(), body: Vec::new() },
            _ => Response::error(501, "NotImplemented"),
        });
        let here = directory();
        fs::write(here.path().join("k"), "text").expect("a file");
        let trap = Trap::new(&server.url, 1, Moment::Before, |operation| operation == "PutObject");
        trap.kill(by(&state, &trap.server, &format!("s3 create_objects --bucket b {line} --journal")).within(here.path()).start());
        let log = by(&state, &server, "log").run().ok().json();
        let id = log[0]["id"].as_str().expect("an id").to_owned();
        by(&state, &server, &format!("resume {id}")).run().exits(4).logs("run what is left of it anew");
        assert_eq!(server.count("PutObject"), 0, "{line}");
    }
}

#[test]
fn the_rest_of_a_run_can_be_seen_before_it_is_done() {
    let (state, bucket) = (directory(), Counting::new());
    let id = killed(&state, &bucket, 5, Moment::Before);
    let server = Server::start(|operation, _, _| match operation {
        "HeadBucket" => Response::xml(200, ""),
        "GetCallerIdentity" => identity(),
        _ => Response::error(501, "NotImplemented"),
    });
    let planned = by(&state, &server, &format!("resume {id} --dry_run")).run().ok().json();
    let items: Vec<&str> = planned.as_array().expect("a list").iter().filter_map(|row| row["item"].as_str()).collect();
    assert_eq!((items.len(), items.first()), (1000, Some(&"p/key-04000")));
    assert_eq!(server.count("DeleteObjects"), 0);
}

#[test]
fn a_journal_that_ends_in_half_a_line_is_gone_on_with() {
    let (state, bucket) = (directory(), Counting::new());
    let id = killed(&state, &bucket, 2, Moment::Before);
    let file = state.path().join(format!("aaws/journal/{id}.jsonl"));
    let mut text = fs::read(&file).expect("the journal");
    text.extend_from_slice(b"{\"seq\":99,\"kind\":\"inte");
    fs::write(&file, text).expect("half a line");
    by(&state, &bucket.server, &format!("resume {id}")).run().ok();
    assert_eq!(bucket.times(), vec![1; 5000]);
}

#[test]
fn a_run_on_one_endpoint_is_not_finished_on_another() {
    let (state, bucket) = (directory(), Counting::new());
    let id = killed(&state, &bucket, 2, Moment::Before);
    let sent = bucket.server.count("DeleteObjects");
    for command in ["resume", "undo"] {
        let elsewhere = by(&state, &bucket.server, &format!("{command} {id}")).endpoint("https://s3.example.invalid");
        elsewhere.run().exits(4).silent().logs("and this would be on `https://s3.example.invalid`");
        let sandbox = directory();
        let elsewhere = aaws(format!("{command} {id}")).env("XDG_STATE_HOME", state.path()).sandbox(sandbox.path());
        elsewhere.run().exits(4).silent().logs("and this would be on the sandbox in");
    }
    assert_eq!(bucket.server.count("DeleteObjects"), sent);
}

#[test]
fn of_a_run_that_was_killed_it_is_said_what_nobody_knows() {
    let (state, bucket) = (directory(), Counting::new());
    let id = killed(&state, &bucket, 2, Moment::Before);
    let undone = by(&state, &bucket.server, &format!("undo {id}")).run().exits(4).silent();
    undone.logs("nothing of the run").logs("is not known, because it was killed");
}

#[test]
fn a_run_that_is_under_way_is_not_resumed() {
    let (state, bucket) = (directory(), Counting::new());
    let trap = bucket.trap(1, Moment::Before);
    let line = "s3 delete_objects --bucket b --objects - --concurrency 1 --journal";
    let running = by(&state, &trap.server, line).stdin(keys(10)).start();
    trap.server.wait_for("DeleteObjects", 1);
    let run = newest(&state, &bucket);
    assert_eq!(run["state"], "running");
    let id = run["id"].as_str().expect("an id");
    for command in ["resume", "undo"] {
        by(&state, &bucket.server, &format!("{command} {id}")).run().exits(4).silent().logs("under way");
    }
    trap.kill(running);
    assert_eq!(newest(&state, &bucket)["state"], "unfinished");
}

/// A journal, cut before its first line of this kind.
fn cut_before(state: &TempDir, id: &str, kind: &str) {
    let file = state.path().join(format!("aaws/journal/{id}.jsonl"));
    let text = fs::read_to_string(&file).expect("the journal");
    let kind = format!("\"kind\":\"{kind}\"");
    let kept: String = text.lines().take_while(|line| !line.contains(&kind)).map(|line| format!("{line}\n")).collect();
    assert!(kept.len() < text.len(), "it has such a line");
    fs::write(file, kept).expect("it is cut");
}

#[test]
fn a_journal_without_the_whole_input_or_of_a_run_that_sent_nothing_is_not_gone_on_with() {
    for (kind, code, says) in [("ready", 1, "does not have the whole input"), ("target", 4, "killed before it sent anything")] {
        let (state, bucket) = (directory(), Counting::new());
        let id = killed(&state, &bucket, 1, Moment::Before);
        cut_before(&state, &id, kind);
        by(&state, &bucket.server, &format!("resume {id}")).run().exits(code).silent().logs(says);
        assert_eq!(bucket.times(), [0; 0], "{kind}: nothing is deleted");
    }
}

#[test]
fn what_the_journal_has_of_the_input_is_not_given_anew() {
    let (state, bucket) = (directory(), Counting::new());
    let id = killed(&state, &bucket, 2, Moment::Before);
    let resume = by(&state, &bucket.server, &format!("resume {id} --input")).arg(r#"{"bucket": "other"}"#);
    resume.run().exits(2).silent().logs("only secrets are given anew");
    assert_eq!(bucket.times().len(), 1000, "nothing more is deleted");
}

#[test]
fn the_guards_of_a_run_hold_for_the_process_that_finishes_it() {
    let (state, bucket) = (directory(), Counting::new());
    let trap = bucket.trap(2, Moment::Before);
    let line = "s3 delete_objects --bucket b --objects - --concurrency 1 --journal --max_items 5000";
    trap.kill(by(&state, &trap.server, line).stdin(keys(5000)).start());
    let id = newest(&state, &bucket)["id"].as_str().expect("an id").to_owned();
    let journal = fs::read_to_string(state.path().join(format!("aaws/journal/{id}.jsonl"))).expect("the journal");
    assert!(journal.contains(r#""max_items":5000"#));
    // Of both limits the stricter one holds.
    by(&state, &bucket.server, &format!("resume {id} --max_items 3999")).run().exits(4).logs("max_items");
    assert_eq!(bucket.times().len(), 1000);
    by(&state, &bucket.server, &format!("resume {id} --max_items 9999")).run().ok();
    assert_eq!(bucket.times(), vec![1; 5000]);
}
