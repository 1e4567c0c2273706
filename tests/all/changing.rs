//! Changing things: dry runs, questions, reports, interruptions.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake_s3::{VastBucket, delete_result, keys_of};
use crate::support::proxy::Proxy;
use crate::support::{Bucket, Output, Response, Server, aaws, directory, moto, outcomes, report, shell};

// --- Dry runs ---

#[test]
fn a_dry_run_of_delete_lists_every_key_and_writes_nothing() {
    let bucket = Bucket::with(["p/a", "p/b", "p/c"]);
    let proxy = Proxy::to(moto::endpoint()).start();
    let run = aaws(format!("s3 delete_objects --bucket {bucket} --prefix p --objects c a --dry_run")).endpoint(&proxy.url).run().ok();
    assert_eq!(outcomes(&run.json()), [("p/c", "planned"), ("p/a", "planned")]);
    assert_eq!(proxy.writes(), [""; 0]);
    assert_eq!(bucket.keys(), ["p/a", "p/b", "p/c"]);
}

#[test]
fn a_dry_run_of_create_lists_every_key_and_writes_nothing() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).start();
    let directory = directory();
    fs::write(directory.path().join("film.mp4"), vec![7; 17 << 20]).unwrap();
    let line = format!("s3 create_objects --bucket {bucket} --prefix p --object a text --object film film.mp4 --dry_run");
    let run = aaws(line).endpoint(&proxy.url).within(directory.path()).run().ok();
    assert_eq!(outcomes(&run.json()), [("p/a", "planned"), ("p/film", "planned")]);
    assert_eq!(proxy.writes(), [""; 0]);
    assert_eq!(bucket.keys(), [""; 0]);
}

#[test]
fn a_dry_run_of_many_keys_lists_every_one() {
    let vast = VastBucket::new(2500, Duration::ZERO);
    let keys: Vec<String> = (0..2500).map(VastBucket::key).collect();
    let run = aaws("s3 delete_objects --bucket b --objects - --dry_run").endpoint(&vast.server.url).stdin(keys.join("\n")).run().ok();
    let planned = run.json();
    let expected: Vec<_> = keys.iter().map(|key| (key.as_str(), "planned")).collect();
    assert_eq!(outcomes(&planned), expected);
    assert_eq!(vast.server.writes(), [""; 0]);
}

#[test]
fn a_dry_run_of_all_versions_writes_nothing() {
    let bucket = Bucket::versioned();
    bucket.put("k", "one");
    bucket.put("k", "two");
    let proxy = Proxy::to(moto::endpoint()).start();
    let run = aaws(format!("s3 delete_objects --bucket {bucket} --objects k --all_versions --dry_run")).endpoint(&proxy.url).run().ok();
    let planned = run.json();
    let planned = outcomes(&planned);
    assert!(!planned.is_empty() && planned.iter().all(|(item, status)| item.starts_with('k') && *status == "planned"), "{planned:?}");
    assert_eq!(proxy.writes(), [""; 0]);
    assert_eq!(bucket.versions().len(), 2);
}

// --- Questions ---

#[test]
fn on_a_terminal_a_deletion_is_shown_and_asked_about() {
    let bucket = Bucket::with(["first-key", "second-key", "third-key"]);
    let line = format!("s3 delete_objects --bucket {bucket} --objects first-key second-key");

    for answer in ["n", "", "nonsense"] {
        let declined = aaws(&line).on_terminal(answer).exits(4);
        for word in ["first-key", "second-key", &bucket.to_string()] {
            assert!(declined.stdout.contains(word), "{word} is not shown in {declined}");
        }
        assert_eq!(bucket.keys(), ["first-key", "second-key", "third-key"], "after the answer {answer:?}");
    }

    let agreed = aaws(&line).on_terminal("y").ok();
    assert!(agreed.stdout.contains("[y/N] []"), "{agreed}");
    assert_eq!(bucket.keys(), ["third-key"]);
}

#[test]
fn on_a_terminal_a_declined_deletion_sends_no_write() {
    let bucket = Bucket::with(["a"]);
    let proxy = Proxy::to(moto::endpoint()).start();
    aaws(format!("s3 delete_objects --bucket {bucket} --objects a")).endpoint(&proxy.url).on_terminal("n").exits(4);
    assert_eq!(proxy.writes(), [""; 0]);
}

#[test]
fn the_answer_can_be_given_beforehand() {
    let bucket = Bucket::with(["a", "b", "c"]);
    let line = |key: &str| format!("s3 delete_objects --bucket {bucket} --objects {key}");
    aaws(line("a") + " --yes").on_terminal("n").ok();
    assert_eq!(bucket.keys(), ["b", "c"]);
    aaws(line("b")).env("AAWS_YES", "1").on_terminal("n").ok();
    assert_eq!(bucket.keys(), ["c"]);
}

#[test]
fn off_a_terminal_nothing_is_asked() {
    let bucket = Bucket::with(["a", "b"]);
    aaws(format!("s3 delete_objects --bucket {bucket} --objects a")).stdin("n\n").run().ok();
    assert_eq!(bucket.keys(), ["b"]);
}

#[test]
fn what_deletes_nothing_is_not_asked_about() {
    let bucket = Bucket::with(["a"]);
    aaws(format!("s3 create_objects --bucket {bucket} --object b text")).on_terminal("n").ok();
    aaws(format!("s3 discover_objects --bucket {bucket}")).on_terminal("n").ok();
    aaws(format!("s3 delete_objects --bucket {bucket} --objects a --dry_run")).on_terminal("n").ok();
    aaws(format!("s3 delete_objects --bucket {bucket} --objects")).on_terminal("n").ok();
    assert_eq!(bucket.keys(), ["a", "b"]);
}

// --- Reports ---

#[test]
fn a_report_has_a_line_for_every_item() {
    let bucket = Bucket::with(["a", "b"]);
    bucket.deny("s3:DeleteObject", "b");
    let proxy = Proxy::to(moto::endpoint()).start();
    let directory = directory();
    let line = format!("s3 delete_objects --bucket {bucket} --objects a b --report report.jsonl");
    aaws(line).endpoint(&proxy.url).within(directory.path()).run().exits(3);

    let mut lines = report(&directory);
    lines.sort_by_key(|line| line["item"].to_string());
    assert_eq!(lines.len(), 2);
    for line in &lines {
        let members: Vec<&String> = line.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["time", "account", "region", "service", "action", "item", "status", "code", "message"]);
        let time = line["time"].as_str().expect("a time");
        assert!(time.starts_with("20") && time.contains('T') && time.ends_with('Z'), "{time} is not RFC 3339 in UTC");
        assert_eq!((&line["account"], &line["region"]), (&json!("123456789012"), &json!("us-east-1")));
        assert_eq!((&line["service"], &line["action"]), (&json!("s3"), &json!("delete_objects")));
    }
    assert_eq!((&lines[0]["item"], &lines[0]["status"], &lines[0]["code"]), (&json!("a"), &json!("done"), &Value::Null));
    assert_eq!((&lines[1]["item"], &lines[1]["status"], &lines[1]["code"]), (&json!("b"), &json!("failed"), &json!("AccessDenied")));
    assert_eq!(proxy.count("GetCallerIdentity"), 1, "the account is asked for once");
}

#[test]
fn the_account_is_asked_for_only_where_a_report_needs_it() {
    let bucket = Bucket::with(["a"]);
    let proxy = Proxy::to(moto::endpoint()).start();
    aaws(format!("s3 delete_objects --bucket {bucket} --objects a")).endpoint(&proxy.url).run().ok();
    assert_eq!(proxy.operations(), ["DeleteObjects"]);
}

#[test]
fn a_store_without_sts_works_and_its_account_is_unknown() {
    let bucket = Bucket::with(["a"]);
    let proxy = Proxy::to(moto::endpoint()).refuse("GetCallerIdentity", 400, "InvalidRequest").start();
    let directory = directory();
    let line = format!("s3 delete_objects --bucket {bucket} --objects a --report report.jsonl");
    aaws(line).endpoint(&proxy.url).within(directory.path()).run().ok();
    let lines = report(&directory);
    assert_eq!((&lines[0]["item"], &lines[0]["status"], &lines[0]["account"]), (&json!("a"), &json!("done"), &Value::Null));
    assert_eq!(bucket.keys(), [""; 0]);
}

#[test]
fn a_report_tells_of_created_objects_and_of_plans() {
    let bucket = Bucket::new();
    let directory = directory();
    let line = format!("s3 create_objects --bucket {bucket} --prefix p --object a text --report report.jsonl");
    let statuses = |line: &str| {
        aaws(line).within(directory.path()).run().ok();
        report(&directory).iter().map(|line| (line["item"].clone(), line["status"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&format!("{line} --dry_run")), [(json!("p/a"), json!("planned"))]);
    assert_eq!(statuses(&line), [(json!("p/a"), json!("done"))]);
}

#[test]
fn a_report_is_for_its_owner_alone() {
    let bucket = Bucket::with(["a", "b"]);
    let directory = directory();
    let file = directory.path().join("report.jsonl");
    let mode = || fs::metadata(&file).expect("the report").permissions().mode() & 0o777;
    aaws(format!("s3 delete_objects --bucket {bucket} --objects a --report report.jsonl")).within(directory.path()).run().ok();
    assert_eq!(mode(), 0o600);
    // One that was there, too, and what was in it is gone.
    fs::write(&file, "an earlier report, longer than this one will ever be: ".repeat(100)).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    aaws(format!("s3 delete_objects --bucket {bucket} --objects b --report report.jsonl")).within(directory.path()).run().ok();
    assert_eq!((mode(), report(&directory).len()), (0o600, 1));
}

#[test]
fn a_report_is_not_written_through_a_link() {
    let bucket = Bucket::with(["a"]);
    let proxy = Proxy::to(moto::endpoint()).start();
    let directory = directory();
    fs::write(directory.path().join("target"), "precious").unwrap();
    for target in ["target", "nowhere"] {
        let link = directory.path().join("report.jsonl");
        symlink(target, &link).unwrap();
        let line = format!("s3 delete_objects --bucket {bucket} --objects a --report report.jsonl");
        aaws(line).endpoint(&proxy.url).within(directory.path()).run().exits(2).silent().logs("`report`").logs("link");
        fs::remove_file(link).unwrap();
    }
    assert_eq!(fs::read_to_string(directory.path().join("target")).unwrap(), "precious");
    assert!(!directory.path().join("nowhere").exists());
    assert_eq!(proxy.operations(), [""; 0]);
}

#[test]
fn a_report_that_cannot_be_written_stops_the_run_before_it_starts() {
    let bucket = Bucket::with(["a"]);
    let run = aaws(format!("s3 delete_objects --bucket {bucket} --objects a --report nowhere/report.jsonl")).run();
    assert_ne!(run.code, Some(0), "{run}");
    assert_eq!(bucket.keys(), ["a"]);
    run.silent().logs("nowhere/report.jsonl");
}

// --- Interruptions ---

#[test]
fn an_interrupted_deletion_settles_what_is_in_flight_and_starts_nothing_new() {
    for signal in ["INT", "TERM", "HUP"] {
        // Thirty requests one after another take far longer than the signal needs to be heard.
        let vast = VastBucket::new(30_000, Duration::from_millis(200));
        let keys: Vec<String> = (0..30_000).map(VastBucket::key).collect();
        let directory = directory();
        let running = aaws("s3 delete_objects --bucket b --objects - --concurrency 1 --report report.jsonl")
            .endpoint(&vast.server.url)
            .within(directory.path())
            .stdin(keys.join("\n"))
            .start();
        vast.server.wait_for("DeleteObjects", 2);
        running.signal(signal);
        let output = running.wait().exits(130);

        let requests = vast.server.count("DeleteObjects");
        assert!(requests < 30, "SIG{signal} was not heard");
        assert_eq!(vast.deleted(), requests * 1000, "what was begun is finished");
        let lines = report(&directory);
        let items: HashSet<&str> = lines.iter().map(|line| line["item"].as_str().expect("an item")).collect();
        assert_eq!(items.len(), lines.len(), "no item is reported twice");
        let done = lines.iter().filter(|line| line["status"] == "done").count();
        assert_eq!(done, vast.deleted(), "the report tells of every key that was deleted, and of no other");
        if !output.stdout.is_empty() {
            output.json();
        }
        // What was not started is counted, and named in the report alone.
        assert_eq!(lines.len(), 30_000);
        let output = output.logs("not started");
        assert!(output.stderr.lines().count() < 20, "{output}");
    }
}

#[test]
fn an_interrupted_listing_is_still_json() {
    // Most of a page.
    const READ: usize = 900;
    let vast = VastBucket::new(100_000, Duration::ZERO);
    let proxy = Proxy::to(&vast.server.url).delay("ListObjectsV2", Duration::from_millis(100)).start();
    let running = aaws("s3 discover_objects --bucket b").endpoint(&proxy.url).start();
    running.has_printed("key-", READ);
    running.signal("INT");
    let output = running.wait().exits(130);
    assert!(proxy.count("ListObjectsV2") < 100, "SIGINT was not heard");
    let printed = output.json().as_array().map_or(0, Vec::len);
    assert!(printed >= READ, "{printed} keys are left of {READ} that were printed");
}

// --- Results that cannot be written ---

/// Deletes 10,000 keys, of which each request's first fails, with a command line put behind `aaws`.
fn with_failures(rest: &str) -> (Output, Server, Vec<Value>) {
    let server = Server::start(|_, _, request| {
        let keys = keys_of(&request);
        let outcome = |(n, key)| (key, (n == 0).then_some("AccessDenied"));
        let outcomes: Vec<(&str, Option<&str>)> = keys.iter().map(String::as_str).enumerate().map(outcome).collect();
        delete_result(&outcomes)
    });
    let home = directory();
    let keys: String = (0..10_000).map(|n| VastBucket::key(n) + "\n").collect();
    let line = format!("aaws s3 delete_objects --bucket b --objects - --concurrency 4 --report report.jsonl {rest}");
    let run = shell(line).endpoint(&server.url).stdin(keys).within(home.path()).run();
    let lines = fs::read_to_string(home.path().join("report.jsonl")).unwrap_or_default();
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (run, server, lines)
}

#[test]
fn what_is_in_flight_is_settled_when_the_output_cannot_be_written() {
    let (run, server, lines) = with_failures(">/dev/full");
    run.exits(1).logs("standard output");
    let sent: usize = server.requests("DeleteObjects").iter().map(|r| keys_of(r).len()).sum();
    assert_eq!(lines.len(), sent, "every key that was sent is in the report");
}

#[test]
fn a_query_that_does_not_fit_does_not_lose_what_failed() {
    let (run, _, lines) = with_failures("--query 'abs([0])'");
    assert_eq!(run.exits(1).logs("`query`").json().as_array().map(Vec::len), Some(10));
    assert_eq!(lines.len(), 10_000);
}

#[test]
fn an_error_that_ends_the_run_does_not_lose_what_failed_to_a_query() {
    let server = Server::start(|_, n, request| {
        if n > 1 {
            return Response::error(403, "ExpiredToken");
        }
        let keys = keys_of(&request);
        let outcome = |(n, key)| (key, (n == 0).then_some("AccessDenied"));
        delete_result(&keys.iter().map(String::as_str).enumerate().map(outcome).collect::<Vec<_>>())
    });
    let keys: String = (0..5_000).map(|n| VastBucket::key(n) + "\n").collect();
    let line = "s3 delete_objects --bucket b --objects - --concurrency 1 --query []";
    let run = aaws(line).endpoint(&server.url).stdin(keys).run().exits(5).logs("ExpiredToken");
    // Of the request that was turned down one key stands for all: the others are as they were.
    assert_eq!(run.json(), json!([VastBucket::key(0), VastBucket::key(1_000)]));
    assert_eq!(server.count("DeleteObjects"), 2);
}

#[test]
fn nothing_new_is_begun_when_the_report_cannot_be_written() {
    let (run, server, _) = with_failures("--report /dev/full");
    assert!(run.exits(2).stderr.contains("report"), "a flag is given once");
    assert_eq!(server.count("DeleteObjects"), 0);

    let server = Server::start(|_, _, request| {
        let keys = keys_of(&request);
        delete_result(&keys.iter().map(|key| (key.as_str(), None)).collect::<Vec<_>>())
    });
    let keys: String = (0..50_000).map(|n| VastBucket::key(n) + "\n").collect();
    let run = aaws("s3 delete_objects --bucket b --objects - --concurrency 2 --report /dev/full").endpoint(&server.url).stdin(keys).run();
    run.exits(1).logs("report");
    assert!(server.count("DeleteObjects") < 50, "{}", server.count("DeleteObjects"));
}

#[test]
fn a_run_that_is_declined_leaves_an_earlier_report_alone() {
    let bucket = Bucket::with(["a"]);
    let home = directory();
    let file = home.path().join("report.jsonl");
    fs::write(&file, "precious\n").expect("an earlier report");
    let line = format!("s3 delete_objects --bucket {bucket} --objects a --report report.jsonl");
    aaws(&line).within(home.path()).on_terminal("n").exits(4);
    assert_eq!(fs::read_to_string(&file).expect("the report"), "precious\n");
    aaws(&line).within(home.path()).on_terminal("y").ok();
    assert!(!fs::read_to_string(&file).expect("the report").contains("precious"));
}

#[test]
fn a_run_that_is_ended_at_the_question_leaves_an_earlier_report_alone() {
    let bucket = Bucket::with(["a"]);
    let home = directory();
    let file = home.path().join("report.jsonl");
    for signal in ["INT", "TERM", "HUP"] {
        fs::write(&file, "precious\n").expect("an earlier report");
        let line = format!("s3 delete_objects --bucket {bucket} --objects a --report report.jsonl");
        aaws(line).within(home.path()).on_terminal_with(&["--signal", signal, "[y/N]"], "").exits(130);
        assert_eq!(fs::read_to_string(&file).expect("the report"), "precious\n", "SIG{signal}");
    }
    assert_eq!(bucket.keys(), ["a"]);
}

#[test]
fn half_a_list_answers_no_query() {
    let bucket = VastBucket::new(5_000, Duration::ZERO);
    // Its second page comes when the run is over.
    let (over, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let proxy = Proxy::to(&bucket.server.url).rule("ListObjectsV2", move |n, _| {
        if n > 1 {
            let _ = wait.lock().unwrap().recv();
        }
        None
    });
    let server = proxy.start();
    let run = aaws("s3 discover_objects --bucket b --timeout 2s --query length(@)").endpoint(&server.url).run();
    drop(over);
    run.exits(1).silent().logs("timed out");
    assert_eq!(server.count("ListObjectsV2"), 2, "one page was there, and the next was not");
}
