//! The journal of a run, and what `aaws log` says of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::aaws::Aaws;
use crate::support::fake_s3::VastBucket;
use crate::support::{Server, aaws, directory};

/// A deletion of so many keys of a bucket on a server, by somebody with this state directory.
fn delete(state: &TempDir, server: &Server, keys: usize) -> Aaws {
    let list: String = (0..keys).map(|n| VastBucket::key(n) + "\n").collect();
    by(state, "s3 delete_objects --bucket b --objects -").endpoint(&server.url).stdin(list)
}

fn by(state: &TempDir, line: &str) -> Aaws {
    aaws(line).env("XDG_STATE_HOME", state.path())
}

fn log(state: &TempDir) -> Vec<Value> {
    let rows = by(state, "log").endpoint("http://127.0.0.1:1").run().ok().json();
    rows.as_array().expect("a list of runs").clone()
}

fn journals(state: &TempDir) -> Vec<PathBuf> {
    let folder = state.path().join("aaws/journal");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).map(|all| all.flatten().map(|file| file.path()).collect()).unwrap_or_default();
    files.sort();
    files
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_deletion_is_in_the_log_when_it_was_asked_to_keep_a_journal() {
    let (state, bucket) = (directory(), VastBucket::new(2500, Duration::ZERO));
    delete(&state, &bucket.server, 0).run().ok();
    assert_eq!(journals(&state), Vec::<PathBuf>::new(), "nobody asked for a journal");
    delete(&state, &bucket.server, 2500).arg("--journal").run().ok();

    let runs = log(&state);
    let [run] = runs.as_slice() else { panic!("{runs:?}") };
    assert_eq!(run["action"], "s3/delete_objects");
    assert_eq!((&run["state"], &run["undone"], &run["counts"]), (&json!("finished"), &json!(false), &json!({"done": 2500})));
    assert_eq!(run["targets"], json!([{"account": null, "region": "us-east-1"}]));
    assert_eq!(run["command"], "aaws s3 delete_objects --bucket b --objects - --journal");

    let id = run["id"].as_str().expect("an id");
    let items = by(&state, &format!("log {id}")).run().ok().json();
    assert_eq!(items.as_array().map(Vec::len), Some(2500));
    assert_eq!(items[0], json!({"item": "key-0000000", "status": "done", "code": null, "message": null, "steps": []}));
    by(&state, "log 20260101T000000000-abcdef").run().exits(2).silent().logs("there is no run");

    let files = journals(&state);
    assert_eq!((files.len(), mode(&files[0]), mode(&state.path().join("aaws/journal"))), (1, 0o600, 0o700));
    // Each request is noted before it is sent, all its items in one line.
    let lines = fs::read_to_string(&files[0]).expect("the journal");
    let kinds: Vec<Value> = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["kind"].clone()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "intent").count(), 3);
    assert_eq!((kinds.first(), kinds.last()), (Some(&json!("run")), Some(&json!("end"))));
}

#[test]
fn a_journal_elsewhere_is_in_the_log_all_the_same() {
    let (state, bucket) = (directory(), VastBucket::new(10, Duration::ZERO));
    let file = state.path().join("mine.jsonl");
    delete(&state, &bucket.server, 10).arg("--journal").arg(&file).run().ok();
    assert_eq!(mode(&file), 0o600);
    let runs = log(&state);
    assert_eq!((runs.len(), &runs[0]["journal"]), (1, &json!(file)));
    // A journal that is there is somebody's.
    let again = delete(&state, &bucket.server, 10).arg("--journal").arg(&file).run().exits(2);
    again.silent().logs("mine.jsonl");
    // By its file a run is found, too.
    let items = by(&state, "log").arg(&file).run().ok().json();
    assert_eq!(items.as_array().map(Vec::len), Some(10));
}

#[test]
fn keys_that_are_deleted_together_are_settled_by_one_line() {
    let (state, bucket) = (directory(), VastBucket::new(2500, Duration::ZERO));
    let file = state.path().join("mine.jsonl");
    delete(&state, &bucket.server, 2500).arg("--journal").arg(&file).run().ok();
    let text = fs::read_to_string(&file).expect("the journal");
    let of = |kind: &str| text.lines().filter(|line| line.contains(&format!("\"kind\":\"{kind}\""))).count();
    assert_eq!((of("intent"), of("alike"), of("results")), (3, 3, 0));
    let items = by(&state, "log").arg(&file).run().ok().json();
    let items = items.as_array().expect("the items");
    assert_eq!((items.len(), items.iter().filter(|item| item["status"] == "done").count()), (2500, 2500));
    // The list is written as it was read.
    let todo: Vec<Value> =
        text.lines().filter(|line| line.contains("\"kind\":\"todo\"")).map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let keys: Vec<&str> = todo.iter().flat_map(|line| line["elements"].as_array().expect("a list")).filter_map(Value::as_str).collect();
    assert_eq!(keys, (0..2500).map(VastBucket::key).collect::<Vec<_>>());
}

#[test]
fn what_sends_nothing_leaves_no_journal() {
    let (state, bucket) = (directory(), VastBucket::new(10, Duration::ZERO));
    delete(&state, &bucket.server, 0).arg("--journal").run().ok();
    by(&state, "s3 delete_objects --bucket b --objects a --version_id x --check --journal").endpoint(&bucket.server.url).run().exits(2);
    assert_eq!(log(&state), Vec::<Value>::new());
    assert_eq!(bucket.deleted(), 0);
}

#[test]
fn what_cannot_be_written_down_is_not_sent() {
    let (state, bucket) = (directory(), VastBucket::new(10, Duration::ZERO));
    fs::write(state.path().join("aaws"), "in the way").expect("a file where the folder would be");
    delete(&state, &bucket.server, 10).arg("--journal").run().exits(1).silent().logs("--no_journal");
    assert_eq!(bucket.server.operations(), [""; 0]);
}

#[test]
fn a_journal_is_believed_whole_or_not_at_all() {
    let (state, bucket) = (directory(), VastBucket::new(10, Duration::ZERO));
    let file = state.path().join("run.jsonl");
    delete(&state, &bucket.server, 10).arg("--journal").arg(&file).run().ok();
    let whole = fs::read_to_string(&file).expect("the journal");
    for (altered, says) in [
        (whole.replacen("key-0000003", "key-0000009", 1), "was altered"),
        (whole.replacen("\"format\":2", "\"format\":3", 1), "written by a newer"),
        (whole.replacen("\"seq\":2", "\"seq\":3", 1), "was altered"),
    ] {
        assert_ne!(altered, whole);
        fs::write(&file, altered).expect("the journal is altered");
        for command in ["log", "undo", "resume"] {
            by(&state, command).arg(&file).endpoint(&bucket.server.url).run().exits(1).silent().logs(says);
        }
    }
    // What a process that was killed left half written is borne.
    fs::write(&file, &whole[..whole.len() - 9]).expect("the journal is cut");
    by(&state, "log").arg(&file).run().ok();
}

#[test]
fn a_run_that_notes_no_steps_cannot_be_undone() {
    let (state, bucket) = (directory(), VastBucket::new(10, Duration::ZERO));
    delete(&state, &bucket.server, 10).arg("--journal").run().ok();
    let before = bucket.server.count("DeleteObjects");
    by(&state, "undo").endpoint(&bucket.server.url).run().exits(4).silent().logs("nothing of the run");
    assert_eq!(bucket.server.count("DeleteObjects"), before);
}
