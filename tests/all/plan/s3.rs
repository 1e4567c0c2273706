//! Plans of S3: versions, bodies, and lists that are long.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use super::{expected, outcomes, plan};
use crate::support::fake_s3::VastBucket;
use crate::support::proxy::Proxy;
use crate::support::{Bucket, aaws, directory, moto};

#[test]
fn a_plan_is_what_a_dry_run_prints_and_more() {
    let bucket = Bucket::with(["p/a", "p/b"]);
    let folder = directory();
    let proxy = Proxy::to(moto::endpoint()).start();
    let line = format!("s3 delete_objects --bucket {bucket} --prefix p --objects b a");
    let dry = aaws(format!("{line} --dry_run")).endpoint(&proxy.url).run().ok();
    let planned = aaws(format!("{line} --plan plan.jsonl")).endpoint(&proxy.url).within(folder.path()).run().ok();
    assert_eq!(planned.stdout, dry.stdout);
    assert_eq!(proxy.writes(), [""; 0]);

    let lines = plan(&folder);
    assert_eq!(lines[0]["format"], 1);
    assert_eq!(lines[0]["tool"], format!("aaws {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(lines[0]["input"], json!({"bucket": bucket.to_string(), "prefix": "p", "objects": []}));
    assert_eq!((&lines[1]["item"], &lines[1]["input"]), (&json!("p/b"), &json!({"objects": ["b"]})));
    assert_eq!((&lines[2]["item"], &lines[2]["status"]), (&json!("p/a"), &json!("planned")));
    assert_eq!(lines[3]["items"], 2);
    let mode = fs::metadata(folder.path().join("plan.jsonl")).expect("the plan").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    aaws("apply plan.jsonl").within(folder.path()).run().ok();
    assert_eq!(bucket.keys(), [""; 0]);
}

#[test]
fn versions_that_came_since_are_left_alone_and_named() {
    let bucket = Bucket::versioned();
    bucket.put("k", "one");
    bucket.put("k", "two");
    let folder = directory();
    let line = format!("s3 delete_objects --bucket {bucket} --objects k --all_versions --plan plan.jsonl");
    aaws(line).within(folder.path()).run().ok();
    bucket.put("k", "three");
    let new = bucket.versions().remove(0);
    aaws("apply plan.jsonl --report report.jsonl").within(folder.path()).run().ok().logs("the plan does not know").logs(&new);
    assert_eq!(bucket.versions(), [new]);
    assert_eq!(outcomes(&folder).len(), 2, "what is new is no outcome");
}

#[test]
fn versions_that_are_gone_are_as_they_were_to_become() {
    let bucket = Bucket::versioned();
    ["a", "b"].iter().for_each(|key| bucket.put(key, "text"));
    let folder = directory();
    let line = format!("s3 delete_objects --bucket {bucket} --objects a b --all_versions --plan plan.jsonl");
    aaws(line).within(folder.path()).run().ok();
    let gone = plan(&folder)[1]["item"].as_str().expect("an item").to_owned();
    let (_, version) = gone.split_once("?versionId=").expect("a version");
    aaws(format!("s3 delete_objects --bucket {bucket} --objects a --version_id {version}")).run().ok();
    // The key has no version any more, which is what is selected of it now: that is nothing of the plan.
    aaws("apply plan.jsonl --report report.jsonl").within(folder.path()).run().ok();
    assert!(outcomes(&folder).contains(&expected(&[(&gone, "unchanged", "")])[0]), "{:?}", outcomes(&folder));
    assert_eq!(bucket.versions(), [""; 0]);
}

#[test]
fn lists_from_a_pipe_are_in_the_plan_whatever_became_of_their_items() {
    let vast = VastBucket::new(3000, Duration::ZERO);
    let keys: Vec<String> = (0..3000).map(VastBucket::key).collect();
    let folder = directory();
    let run = |line: &str, stdin: String| aaws(line).endpoint(&vast.server.url).within(folder.path()).stdin(stdin).run();
    run("s3 delete_objects --bucket b --objects - --plan plan.jsonl --silent", keys.join("\n")).ok();
    let lines = plan(&folder);
    assert_eq!(lines.len(), 3002);
    let last = lines.last().expect("the last line");
    assert_eq!(last["items"], 3000);
    run("apply plan.jsonl --report report.jsonl --silent", String::new()).ok();
    let done: Vec<String> = outcomes(&folder).into_iter().map(|(item, ..)| item).collect();
    let mut sorted = keys;
    sorted.sort_unstable();
    assert_eq!(done, sorted);
}

#[test]
fn an_empty_list_is_planned_as_one() {
    let folder = directory();
    aaws("s3 delete_objects --bucket b --objects --plan plan.jsonl").within(folder.path()).run().ok();
    assert_eq!(plan(&folder)[0]["input"]["objects"], json!([]));
    assert_eq!(aaws("apply plan.jsonl").within(folder.path()).run().ok().json(), json!([]));
}

#[test]
fn files_are_read_where_somebody_allows_it_and_while_they_are_the_same() {
    let bucket = Bucket::new();
    let folder = directory();
    let path = folder.path().join("notes.txt");
    fs::write(&path, "to do").expect("a file");
    let line = |plan: &str| format!("s3 create_objects --bucket {bucket} --object a notes.txt --object b text --plan {plan}");
    let run = |line: String| aaws(line).within(folder.path()).run();
    run(line("plan.jsonl")).ok();
    run("apply plan.jsonl".into()).exits(4).silent().logs("--local_files");
    assert_eq!(bucket.keys(), [""; 0]);
    run("apply plan.jsonl --local_files".into()).ok();
    assert_eq!(bucket.get("a").text(), "to do");

    run(line("later.jsonl")).ok();
    fs::write(&path, "to do, and more").expect("a file");
    run("apply later.jsonl --local_files --report report.jsonl".into()).exits(3);
    assert_eq!(outcomes(&folder), expected(&[("a", "skipped", "Changed"), ("b", "done", "")]));
    assert_eq!(bucket.get("a").text(), "to do");
}

#[test]
fn an_object_that_somebody_stored_since_is_not_replaced() {
    let bucket = Bucket::with(["old"]);
    let folder = directory();
    let line = format!("s3 create_objects --bucket {bucket} --object old mine --object new mine --object free mine --plan plan.jsonl");
    aaws(line).within(folder.path()).run().ok();
    assert_eq!(bucket.keys(), ["old"]);
    ["old", "new"].iter().for_each(|key| bucket.put(key, "theirs"));
    aaws("apply plan.jsonl --local_files --report report.jsonl").within(folder.path()).run().exits(3);
    assert_eq!(outcomes(&folder), expected(&[("free", "done", ""), ("new", "skipped", "Changed"), ("old", "skipped", "Changed")]));
    assert_eq!(["old", "new", "free"].map(|key| bucket.get(key).text()), ["theirs", "theirs", "mine"]);
}

#[test]
fn a_run_that_fails_leaves_no_plan() {
    let folder = directory();
    aaws("s3 delete_objects --bucket no-such-bucket --objects a --plan plan.jsonl").within(folder.path()).run().exits(1);
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[test]
fn an_object_that_was_overwritten_since_is_left_alone() {
    let bucket = Bucket::with(["p/a", "p/b"]);
    let folder = directory();
    let line = format!("s3 delete_objects --bucket {bucket} --matching --under p/ --plan plan.jsonl");
    aaws(line).within(folder.path()).run().ok();
    assert!(plan(&folder)[1]["state"]["ETag"].is_string(), "{:?}", plan(&folder));
    bucket.put("p/b", "something else by now");
    aaws("apply plan.jsonl --report report.jsonl").within(folder.path()).run().exits(3).logs("`ETag` was");
    assert_eq!(outcomes(&folder), expected(&[("p/a", "done", ""), ("p/b", "skipped", "Changed")]));
    assert_eq!(bucket.keys(), ["p/b"]);
}

#[test]
fn an_object_that_is_not_selected_any_more_is_not_taken_for_gone() {
    let bucket = Bucket::new();
    ["p/a", "p/b", "p/c"].iter().for_each(|key| bucket.put(key, "text"));
    let folder = directory();
    let line = format!("s3 delete_objects --bucket {bucket} --matching --under p/ --smaller_than 10 --plan plan.jsonl");
    aaws(line).within(folder.path()).run().ok();
    bucket.put("p/b", "a text that is longer than those that were meant");
    bucket.put("p/d", "and one that never was meant");
    bucket.delete("p/c");
    aaws("apply plan.jsonl --report report.jsonl").within(folder.path()).run().exits(3);
    assert_eq!(outcomes(&folder), expected(&[("p/a", "done", ""), ("p/b", "skipped", "Changed"), ("p/c", "unchanged", "")]));
    assert_eq!(bucket.keys(), ["p/b", "p/d"]);
}

#[test]
fn a_part_of_all_is_a_part_of_what_was_listed() {
    let bucket = Bucket::with(["p/a.log", "p/b.txt", "p/c.txt", "p/d.txt"]);
    let line = format!("s3 delete_objects --bucket {bucket} --matching --under p/ --include *.log");
    aaws(format!("{line} --max_percent 24")).run().exits(4);
    assert_eq!(bucket.keys().len(), 4);
    aaws(format!("{line} --max_percent 25")).run().ok();
    assert_eq!(bucket.keys(), ["p/b.txt", "p/c.txt", "p/d.txt"]);
}

#[test]
fn a_plan_needs_a_name() {
    let folder = directory();
    aaws("s3 delete_objects --bucket b --objects a --plan").arg("").within(folder.path()).run().exits(2).silent().logs("`plan`");
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[test]
fn what_changes_nothing_has_no_plan() {
    aaws("s3 discover_objects --bucket b --plan plan.jsonl").run().exits(2).logs("--plan");
    aaws("s3 delete_objects --bucket b --objects a --expires 1h").run().exits(2).logs("--plan");
}
