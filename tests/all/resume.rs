//! Runs that were killed half way, and are finished by another process.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::aaws::Aaws;
use crate::support::fake_s3::{delete_result, keys_of};
use crate::support::{Response, Server, aaws, directory, report};

/// A bucket that deletes what it is asked to, but for the request with this number: that is not answered until it is let go, and deletes nothing.
struct Stuck {
    server: Server,
    /// How often each key was deleted.
    deleted: Arc<Mutex<BTreeMap<String, usize>>>,
    let_go: Arc<(Mutex<bool>, Condvar)>,
}

impl Stuck {
    fn at(number: usize) -> Self {
        let (deleted, let_go) = (Arc::<Mutex<BTreeMap<String, usize>>>::default(), Arc::<(Mutex<bool>, Condvar)>::default());
        let (state, gate) = (Arc::clone(&deleted), Arc::clone(&let_go));
        let server = Server::start(move |operation, n, request| match operation {
            "DeleteObjects" if n == number => {
                let open = gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open).unwrap();
                drop(open);
                Response::dropped()
            }
            "DeleteObjects" => {
                let keys = keys_of(&request);
                let mut deleted = state.lock().unwrap();
                keys.iter().for_each(|key| *deleted.entry(key.clone()).or_default() += 1);
                delete_result(&keys.iter().map(|key| (key.as_str(), None)).collect::<Vec<_>>())
            }
            _ => Response::error(501, "NotImplemented"),
        });
        Stuck { server, deleted, let_go }
    }

    /// Lets the request go whose process is dead.
    fn let_go(&self) {
        *self.let_go.0.lock().unwrap() = true;
        self.let_go.1.notify_all();
    }

    fn times(&self) -> Vec<usize> {
        self.deleted.lock().unwrap().values().copied().collect()
    }
}

fn by(state: &TempDir, server: &Server, line: &str) -> Aaws {
    aaws(line).env("XDG_STATE_HOME", state.path()).endpoint(&server.url)
}

fn keys(many: usize) -> String {
    (0..many).map(|n| format!("key-{n:05}\n")).collect()
}

/// Kills a deletion of 5,000 keys with a journal while its request with this number is under way, and gives the id of its run.
fn killed(state: &TempDir, bucket: &Stuck, number: usize) -> String {
    let line = "s3 delete_objects --bucket b --prefix p --objects - --concurrency 1 --journal";
    let running = by(state, &bucket.server, line).stdin(keys(5000)).start();
    bucket.server.wait_for("DeleteObjects", number);
    running.signal("KILL");
    assert_eq!(running.wait().code, None, "it was killed");
    bucket.let_go();
    let runs = by(state, &bucket.server, "log").run().ok().json();
    assert_eq!(runs[0]["state"], "unfinished");
    runs[0]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_deletion_that_was_killed_is_finished_and_nothing_is_deleted_twice() {
    let (state, bucket) = (directory(), Stuck::at(3));
    let id = killed(&state, &bucket, 3);
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
fn the_rest_of_a_run_can_be_seen_before_it_is_done() {
    let (state, bucket) = (directory(), Stuck::at(5));
    let id = killed(&state, &bucket, 5);
    let server = Server::start(|operation, _, _| match operation {
        "HeadBucket" => Response::xml(200, ""),
        _ => Response::error(501, "NotImplemented"),
    });
    let planned = by(&state, &server, &format!("resume {id} --dry_run")).run().ok().json();
    let items: Vec<&str> = planned.as_array().expect("a list").iter().filter_map(|row| row["item"].as_str()).collect();
    assert_eq!((items.len(), items.first()), (1000, Some(&"p/key-04000")));
    assert_eq!(server.count("DeleteObjects"), 0);
}

#[test]
fn a_journal_that_ends_in_half_a_line_is_gone_on_with() {
    let (state, bucket) = (directory(), Stuck::at(2));
    let id = killed(&state, &bucket, 2);
    let file = state.path().join(format!("aaws/journal/{id}.jsonl"));
    let mut text = fs::read(&file).expect("the journal");
    text.extend_from_slice(b"{\"seq\":99,\"kind\":\"inte");
    fs::write(&file, text).expect("half a line");
    by(&state, &bucket.server, &format!("resume {id}")).run().ok();
    assert_eq!(bucket.times(), vec![1; 5000]);
}

#[test]
fn a_run_that_is_under_way_is_not_resumed() {
    let (state, bucket) = (directory(), Stuck::at(1));
    let line = "s3 delete_objects --bucket b --objects - --concurrency 1 --journal";
    let running = by(&state, &bucket.server, line).stdin(keys(10)).start();
    bucket.server.wait_for("DeleteObjects", 1);
    let runs = by(&state, &bucket.server, "log").run().ok().json();
    assert_eq!(runs[0]["state"], "running");
    let id = runs[0]["id"].as_str().expect("an id");
    for command in ["resume", "undo"] {
        by(&state, &bucket.server, &format!("{command} {id}")).run().exits(4).silent().logs("under way");
    }
    running.signal("KILL");
    bucket.let_go();
    running.wait();
    assert_eq!(by(&state, &bucket.server, "log").run().ok().json()[0]["state"], Value::from("unfinished"));
}
