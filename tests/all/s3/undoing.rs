//! What `aaws undo` does for objects, of runs that were asked to keep a journal: delete markers are taken away, and objects that were new.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::uploading::noise;
use crate::support::aaws::Aaws;
use crate::support::proxy::Proxy;
use crate::support::{Bucket, Output, aaws, directory, moto};

/// Somebody with this state directory.
fn by(state: &TempDir, line: &str) -> Aaws {
    aaws(line).env("XDG_STATE_HOME", state.path())
}

/// Item, status and code of each row, sorted: objects are worked on side by side.
fn outcomes(output: &Output) -> Vec<(String, String, String)> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let rows = output.json();
    let rows = rows.as_array().expect("a list of items");
    let mut outcomes: Vec<_> = rows.iter().map(|row| (text(row, "item"), text(row, "status"), text(row, "code"))).collect();
    outcomes.sort();
    outcomes
}

/// The same, as it should be.
fn expected(outcomes: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    outcomes.iter().map(|(item, status, code)| ((*item).to_owned(), (*status).to_owned(), (*code).to_owned())).collect()
}

// --- Delete markers ---

/// A versioned bucket with two versions of each of these keys, which are then deleted in a run with a journal.
fn deleted(state: &TempDir, keys: &[&str]) -> Bucket {
    let bucket = Bucket::versioned();
    for key in keys {
        bucket.put(key, "one");
        bucket.put(key, "two");
    }
    by(state, &format!("s3 delete_objects --bucket {bucket} --objects - --journal")).stdin(keys.join("\n")).run().ok();
    assert_eq!(bucket.keys(), [""; 0]);
    bucket
}

#[test]
fn what_a_deletion_hid_is_there_again() {
    let keys = ["a", "b/c d", "\u{e9}"];
    let state = directory();
    let bucket = deleted(&state, &keys);
    let versions = bucket.versions();

    let planned = by(&state, "undo --dry_run").run().ok();
    assert_eq!(outcomes(&planned), expected(&keys.map(|key| (key, "planned", ""))));
    assert_eq!(bucket.delete_markers(), 3, "a dry run changes nothing");
    let undone = by(&state, "undo").run().ok();
    assert_eq!(outcomes(&undone), expected(&keys.map(|key| (key, "done", ""))));
    assert_eq!((bucket.keys(), bucket.versions(), bucket.delete_markers()), (keys.map(str::to_owned).to_vec(), versions, 0));
    assert_eq!(bucket.get("b/c d").text(), "two");
    by(&state, "undo").run().exits(2).logs("no run that could be undone");
}

#[test]
fn markers_that_somebody_wrote_over_or_took_away_are_left_alone() {
    let state = directory();
    let bucket = deleted(&state, &["gone", "hidden", "written"]);
    bucket.put("written", "anew");
    aaws(format!("s3 delete_objects --bucket {bucket} --objects gone --delete_markers")).run().ok();

    let undone = by(&state, "undo").run().exits(3).logs("an object was written over its delete marker since");
    assert_eq!(outcomes(&undone), expected(&[("gone", "unchanged", ""), ("hidden", "done", ""), ("written", "skipped", "Changed")]));
    assert_eq!(bucket.keys(), ["gone", "hidden", "written"]);
    assert_eq!((bucket.get("written").text(), bucket.delete_markers()), ("anew".to_owned(), 1));
}

#[test]
fn a_marker_below_another_one_goes_and_it_is_said_that_the_object_stays_hidden() {
    let state = directory();
    let bucket = deleted(&state, &["k"]);
    // Somebody deletes it once more.
    bucket.delete("k");
    let undone = by(&state, "undo").run().ok();
    assert!(undone.stdout.contains("another one is there"), "{undone}");
    assert_eq!((bucket.keys().len(), bucket.delete_markers()), (0, 1));
}

#[test]
fn a_version_that_was_deleted_is_named_before_the_markers_are_taken_away() {
    let state = directory();
    let bucket = Bucket::versioned();
    bucket.put("k", "one");
    bucket.put("l", "one");
    let version = bucket.versions().remove(0);
    let objects = format!(r#"[{{"Key": "k", "VersionId": "{version}"}}, {{"Key": "l"}}]"#);
    by(&state, &format!("s3 delete_objects --bucket {bucket} --objects - --journal")).stdin(objects).run().ok();
    let gone = format!("k?versionId={version}");
    let undone = by(&state, "undo").run().exits(3).logs("1 of the items").logs(&gone);
    assert_eq!(outcomes(&undone), expected(&[(gone.as_str(), "skipped", "Irreversible"), ("l", "done", "")]));
    assert_eq!(bucket.keys(), ["l"]);
}

// --- Objects that were new ---

#[test]
fn objects_that_were_new_go_and_those_that_replaced_others_stay() {
    let state = directory();
    let bucket = Bucket::with(["old"]);
    let objects = "--object deleted text --object new text --object old other --object written text";
    by(&state, &format!("s3 create_objects --bucket {bucket} {objects} --journal")).run().ok();
    bucket.put("written", "anew");
    bucket.delete("deleted");

    by(&state, "undo").on_terminal("n").exits(4);
    assert_eq!(bucket.keys(), ["new", "old", "written"]);
    let undone = by(&state, "undo").run().exits(3).logs("cannot be undone: old").logs("it was written anew since");
    let told = [("deleted", "unchanged", ""), ("new", "done", ""), ("old", "skipped", "Irreversible"), ("written", "skipped", "Changed")];
    assert_eq!(outcomes(&undone), expected(&told));
    assert_eq!(bucket.keys(), ["old", "written"]);
    assert_eq!((bucket.get("old").text(), bucket.get("written").text()), ("other".to_owned(), "anew".to_owned()));
}

#[test]
fn a_new_object_leaves_no_version_and_no_marker_behind() {
    let state = directory();
    let bucket = Bucket::versioned();
    bucket.put("other", "text");
    let before = bucket.versions();
    // With this S3 itself says that it is new, and it need not be looked for.
    by(&state, &format!("s3 create_objects --bucket {bucket} --object k text --no_overwrite --journal")).run().ok();
    assert_eq!(bucket.versions().len(), 2);
    by(&state, "undo").run().ok();
    assert_eq!((bucket.versions(), bucket.delete_markers()), (before, 0));
}

#[test]
fn a_large_object_that_was_new_goes_too() {
    let (state, here) = (directory(), directory());
    let bucket = Bucket::new();
    fs::write(here.path().join("film.mp4"), noise(20 << 20)).expect("a file");
    by(&state, &format!("s3 create_objects --bucket {bucket} --object film film.mp4 --journal")).within(here.path()).run().ok();
    assert_eq!(bucket.keys(), ["film"]);
    by(&state, "undo").run().ok();
    assert_eq!((bucket.keys().len(), bucket.open_uploads()), (0, 0));
}

#[test]
fn it_is_looked_for_what_is_new_only_where_somebody_can_undo_it() {
    let state = directory();
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).start();
    let line = format!("s3 create_objects --bucket {bucket} --object k text");
    by(&state, &line).endpoint(&proxy.url).run().ok();
    assert_eq!((proxy.count("HeadObject"), proxy.count("PutObject")), (0, 1));
    by(&state, "undo").run().exits(2).logs("no run that could be undone");

    // Where that is denied it is not known, and the object stays.
    let denied = Proxy::to(moto::endpoint()).refuse("HeadObject", 403, "AccessDenied").start();
    by(&state, &format!("{line}2 --journal").replace("--object k ", "--object l ")).endpoint(&denied.url).run().ok();
    by(&state, "undo").run().exits(4).silent().logs("nothing of the run");
    assert_eq!(bucket.keys(), ["k", "l"]);
}
