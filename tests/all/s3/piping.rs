//! `create_objects --object KEY -`: standard input, in one request and in parts, and what becomes of it when something fails.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::uploading::noise;
use crate::support::proxy::Proxy;
use crate::support::{Bucket, Response, aaws, directory, moto, outcomes, report, shell};

const PART: usize = 8 << 20;

/// A pipe in a directory, with an end to write to: it does not end before that is dropped.
fn pipe(directory: &TempDir) -> File {
    let path = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    // Open for both, because one that is opened to write only waits for a reader.
    OpenOptions::new().read(true).write(true).open(path).expect("a pipe")
}

/// Writes to it, and keeps it open as long as what is given back lives.
fn write(mut pipe: File, content: Vec<u8>) -> JoinHandle<io::Result<File>> {
    thread::spawn(move || pipe.write_all(&content).map(|()| pipe))
}

#[test]
fn what_is_short_goes_up_in_one_request_and_is_as_good_as_a_file() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).start();
    let put = |key: &str, content: &[u8]| {
        let line = format!("s3 create_objects --bucket {bucket} --object {key} -");
        let run = aaws(line).endpoint(&proxy.url).stdin(content).run().ok();
        assert_eq!(run.json(), json!([]));
        assert!(bucket.get(key).body == content, "{key} holds what was piped");
    };
    put("note.html", b"<p>text</p>");
    put("empty", b"");
    put("binary", &noise(100_000));
    put("part", &noise(PART));
    assert_eq!(proxy.operations(), ["PutObject"; 4]);
    assert!(bucket.get("note.html").header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert_eq!(bucket.get("binary").header("content-type"), Some("application/octet-stream"));
}

#[test]
fn what_is_long_goes_up_in_parts_as_it_comes() {
    let bucket = Bucket::new();
    let content = noise((2 * PART) + (4 << 20));
    for (key, length, parts) in [("long", content.len(), 3), ("even", 2 * PART, 2), ("one-more", PART + 1, 2)] {
        let proxy = Proxy::to(moto::endpoint()).start();
        let line = format!("s3 create_objects --bucket {bucket} --object {key} - --report report.jsonl");
        let directory = directory();
        aaws(line).endpoint(&proxy.url).within(directory.path()).stdin(&content[..length]).run().ok();
        assert!(bucket.get(key).body == content[..length], "{key} holds what was piped");
        assert_eq!((proxy.count("UploadPart"), proxy.count("CompleteMultipartUpload"), proxy.count("PutObject")), (parts, 1, 0));
        assert_eq!(report(&directory)[0]["message"], json!(format!("from standard input, {length} bytes")));
    }
    assert_eq!(bucket.open_uploads(), 0);
}

#[test]
fn a_part_whose_answer_is_lost_is_sent_again_as_it_was() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).losing("UploadPart").losing("CompleteMultipartUpload").start();
    let content = noise(20 << 20);
    let line = format!("s3 create_objects --bucket {bucket} --object film -");
    assert_eq!(aaws(line).endpoint(&proxy.url).stdin(&content).run().ok().json(), json!([]));
    assert_eq!(proxy.count("UploadPart"), 4);
    assert!(bucket.get("film").body == content, "the object holds what was piped");

    let proxy = Proxy::to(moto::endpoint()).rule("PutObject", |n, _| (n == 1).then(Response::dropped)).start();
    let line = format!("s3 create_objects --bucket {bucket} --object note -");
    aaws(line).endpoint(&proxy.url).stdin("text").run().ok();
    assert_eq!((bucket.get("note").text(), proxy.count("PutObject")), ("text".to_owned(), 2));
}

#[test]
fn an_upload_of_which_a_part_fails_is_aborted_though_more_may_come() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).fail("UploadPart", 2, 403, "AccessDenied").start();
    let directory = directory();
    let writer = pipe(&directory);
    let line = format!("exec aaws s3 create_objects --bucket {bucket} --object film - --object note text < pipe");
    let running = shell(line).endpoint(&proxy.url).within(directory.path()).start();
    let _open = write(writer, noise(20 << 20));
    // The pipe is still open: nobody waits for its end.
    let run = running.wait().exits(3).logs("AccessDenied");
    assert_eq!(run.json(), json!(["film"]));
    assert_eq!((proxy.count("AbortMultipartUpload"), proxy.count("CompleteMultipartUpload")), (1, 0));
    assert_eq!((bucket.open_uploads(), bucket.keys()), (0, vec!["note".to_owned()]));
}

#[test]
fn an_interrupted_upload_is_aborted_though_more_may_come() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).delay("UploadPart", Duration::from_millis(500)).start();
    let directory = directory();
    let writer = pipe(&directory);
    let line = format!("exec aaws s3 create_objects --bucket {bucket} --object film - --report report.jsonl < pipe");
    let running = shell(line).endpoint(&proxy.url).within(directory.path()).start();
    let _open = write(writer, noise(20 << 20));
    proxy.wait_for("UploadPart", 1);
    running.signal("INT");
    running.wait().exits(130);
    assert_eq!((proxy.count("AbortMultipartUpload"), proxy.count("CompleteMultipartUpload")), (1, 0));
    assert_eq!(bucket.open_uploads(), 0);
    let lines = report(&directory);
    assert_eq!((&lines[0]["item"], &lines[0]["status"], &lines[0]["code"]), (&json!("film"), &json!("failed"), &json!("Interrupted")));
}

#[test]
fn a_run_that_waits_for_input_can_be_ended() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).start();
    let directory = directory();
    let _writer = pipe(&directory);
    let line = format!("exec aaws s3 create_objects --bucket {bucket} --no_overwrite --object k - < pipe");
    let running = shell(line).endpoint(&proxy.url).within(directory.path()).start();
    proxy.wait_for("HeadObject", 1);
    running.signal("INT");
    running.wait().exits(130);
    assert_eq!((proxy.writes(), bucket.keys()), (Vec::new(), Vec::new()));
}

#[test]
fn an_existing_object_is_kept_on_request() {
    let bucket = Bucket::with(["old"]);
    let line = format!("s3 create_objects --bucket {bucket} --object old -");
    for content in ["text".as_bytes().to_vec(), noise(PART + 1)] {
        let run = aaws(format!("{line} --no_overwrite")).stdin(content).run().exits(3).logs("PreconditionFailed");
        assert_eq!(run.json(), json!(["old"]));
    }
    assert_eq!((bucket.get("old").text(), bucket.open_uploads()), ("old".to_owned(), 0));
    aaws(line).stdin("new").run().ok();
    assert_eq!(bucket.get("old").text(), "new");
}

#[test]
fn standard_input_is_read_by_one_flag_and_named_by_no_data() {
    let bucket = Bucket::new();
    let run = |line: &str| aaws(format!("s3 create_objects --bucket {bucket} {line}"));
    for line in ["--object a - --object b -", "--objects - --object b -"] {
        run(line).stdin(r#"{"Key": "c", "Body": "d"}"#).run().exits(2).silent().logs("standard input");
    }
    assert_eq!(bucket.keys(), [""; 0]);
    run("--objects -").stdin(r#"{"Key": "data", "Body": "-"}"#).run().ok();
    run("--input").arg(r#"{"objects": [{"Key": "json", "Body": "-"}]}"#).stdin("piped").run().ok();
    run("--body_as text --object text -").stdin("piped").run().ok();
    for key in ["data", "json", "text"] {
        assert_eq!(bucket.get(key).text(), "-", "{key}");
    }
    run("--body_as file --object file -").stdin("piped").run().ok();
    assert_eq!(bucket.get("file").text(), "piped");
}

#[test]
fn a_plan_does_not_read_it_and_what_applies_the_plan_does() {
    let bucket = Bucket::new();
    let directory = directory();
    let run = |line: &str, input: &str| aaws(line).within(directory.path()).stdin(input).run();
    let planned = run(&format!("s3 create_objects --bucket {bucket} --object k - --dry_run"), "early").ok().json();
    assert_eq!(outcomes(&planned), [("k", "planned")]);
    assert!(planned[0]["message"].as_str().is_some_and(|message| message.contains("from standard input")), "{planned}");
    run(&format!("s3 create_objects --bucket {bucket} --object k - --plan plan.jsonl"), "early").ok();
    assert_eq!(bucket.keys(), [""; 0]);
    run("apply plan.jsonl", "late").exits(4).logs("--local_files");
    run("apply plan.jsonl --local_files", "late").ok();
    assert_eq!(bucket.get("k").text(), "late");
}
