//! `create_objects`: files and text, parts, and answers that are lost.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use serde_json::json;

use crate::support::proxy::Proxy;
use crate::support::{Bucket, Response, Server, aaws, directory, fake_s3, moto, report};

/// Bytes that no part boundary repeats.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

#[test]
fn a_large_file_goes_up_in_parts_with_its_content_type() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).start();
    let directory = directory();
    let content = noise(20 << 20);
    fs::write(directory.path().join("film.mp4"), &content).unwrap();
    aaws(format!("s3 create_objects --bucket {bucket} --object film film.mp4")).endpoint(&proxy.url).within(directory.path()).run().ok();
    let stored = bucket.get("film");
    assert!(stored.body == content, "the object holds the file's bytes");
    assert_eq!(stored.header("content-type"), Some("video/mp4"));
    assert_eq!((proxy.count("PutObject"), proxy.count("CreateMultipartUpload"), proxy.count("CompleteMultipartUpload")), (0, 1, 1));
    assert!(proxy.count("UploadPart") >= 2, "{:?}", proxy.operations());
    assert_eq!(bucket.open_uploads(), 0);
}

#[test]
fn a_small_file_goes_up_in_one_request_with_its_content_type() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).start();
    let directory = directory();
    fs::write(directory.path().join("page.html"), "<p>text</p>").unwrap();
    aaws(format!("s3 create_objects --bucket {bucket} --object page page.html")).endpoint(&proxy.url).within(directory.path()).run().ok();
    assert_eq!(bucket.get("page").text(), "<p>text</p>");
    assert!(bucket.get("page").header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert_eq!(proxy.operations(), ["PutObject"]);
}

#[test]
fn an_upload_of_which_a_part_fails_is_aborted() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).fail("UploadPart", 2, 403, "AccessDenied").start();
    let directory = directory();
    fs::write(directory.path().join("film.mp4"), noise(20 << 20)).unwrap();
    let output = aaws(format!("s3 create_objects --bucket {bucket} --object film film.mp4 --object note text"))
        .endpoint(&proxy.url)
        .within(directory.path())
        .run()
        .exits(3)
        .logs("AccessDenied");
    assert_eq!(output.json(), json!(["film"]));
    assert_eq!((proxy.count("AbortMultipartUpload"), proxy.count("CompleteMultipartUpload")), (1, 0));
    assert_eq!(bucket.open_uploads(), 0);
    assert_eq!(bucket.keys(), ["note"]);
}

#[test]
fn a_body_is_a_file_where_one_has_that_name_and_text_otherwise() {
    let bucket = Bucket::new();
    let directory = directory();
    fs::write(directory.path().join("note.txt"), "from the file").unwrap();
    aaws(format!("s3 create_objects --bucket {bucket} --object file note.txt --object text nothing.txt"))
        .within(directory.path())
        .run()
        .ok();
    assert_eq!(bucket.get("file").text(), "from the file");
    assert_eq!(bucket.get("text").text(), "nothing.txt");
}

#[test]
fn a_body_can_be_said_to_be_text() {
    let bucket = Bucket::new();
    let directory = directory();
    fs::write(directory.path().join("note.txt"), "from the file").unwrap();
    aaws(format!("s3 create_objects --bucket {bucket} --body_as text --object all note.txt")).within(directory.path()).run().ok();
    aaws(format!("s3 create_objects --bucket {bucket} --object one note.txt text text/csv")).within(directory.path()).run().ok();
    assert_eq!(bucket.get("all").text(), "note.txt");
    assert_eq!(bucket.get("one").text(), "note.txt");
    assert_eq!(bucket.get("one").header("content-type"), Some("text/csv"));
}

#[test]
fn a_file_that_is_missing_fails_and_the_others_go_on() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).start();
    let directory = directory();
    fs::write(directory.path().join("note.txt"), "from the file").unwrap();
    let output = aaws(format!("s3 create_objects --bucket {bucket} --prefix p --body_as file"))
        .args(["--object", "mistyped", "nte.txt", "--object", "right", "note.txt"])
        .endpoint(&proxy.url)
        .within(directory.path())
        .run()
        .exits(3)
        .logs("nte.txt");
    assert_eq!(output.json(), json!(["p/mistyped"]));
    assert_eq!(bucket.keys(), ["p/right"]);
    assert_eq!(proxy.operations(), ["PutObject"]);
}

#[test]
fn an_existing_object_is_kept_on_request() {
    let bucket = Bucket::with(["old"]);
    let line = format!("s3 create_objects --bucket {bucket} --object old changed --object new text");
    let output = aaws(format!("{line} --no_overwrite")).run().exits(3).logs("PreconditionFailed");
    assert_eq!(output.json(), json!(["old"]));
    assert_eq!(bucket.get("old").text(), "old");
    assert_eq!(bucket.get("new").text(), "text");
    aaws(line).run().ok();
    assert_eq!(bucket.get("old").text(), "changed", "without it, it is replaced");
}

#[test]
fn storage_class_and_encryption_reach_the_api() {
    let server = fake_s3::scripted([("PutObject", vec![Response::xml(200, "")])]);
    aaws("s3 create_objects --bucket b --object k text --storage_class STANDARD_IA --sse aws:kms --sse_kms_key_id key-1")
        .args(["--request_payer", "--expected_bucket_owner", "123456789012"])
        .endpoint(&server.url)
        .run()
        .ok();
    let request = server.requests("PutObject").remove(0);
    assert_eq!(request.header("x-amz-storage-class"), Some("STANDARD_IA"));
    assert_eq!(request.header("x-amz-server-side-encryption"), Some("aws:kms"));
    assert_eq!(request.header("x-amz-server-side-encryption-aws-kms-key-id"), Some("key-1"));
    assert_eq!(request.header("x-amz-request-payer"), Some("requester"));
    assert_eq!(request.header("x-amz-expected-bucket-owner"), Some("123456789012"));
}

// --- What a body may be ---

#[test]
fn data_never_names_a_file_of_this_machine() {
    let bucket = Bucket::new();
    let directory = directory();
    fs::write(directory.path().join("secret.txt"), "from the file").unwrap();
    let object = r#"{"Key": "KEY", "Body": "secret.txt"}"#;
    let run = |line: &str| aaws(format!("s3 create_objects --bucket {bucket} {line}")).within(directory.path());
    run("--objects -").stdin(object.replace("KEY", "piped")).run().ok();
    run("--objects").arg(object.replace("KEY", "typed as JSON")).run().ok();
    run("--input").arg(format!(r#"{{"objects": [{}]}}"#, object.replace("KEY", "input"))).run().ok();
    fs::write(directory.path().join("list.json"), format!("[{}]", object.replace("KEY", "a list in a file"))).unwrap();
    run("--objects @list.json").run().ok();
    fs::write(directory.path().join("input.json"), format!(r#"{{"objects": [{}]}}"#, object.replace("KEY", "an input in a file"))).unwrap();
    run("--input @input.json").run().ok();
    for key in ["piped", "typed as JSON", "input", "a list in a file", "an input in a file"] {
        assert_eq!(bucket.get(key).text(), "secret.txt", "{key}");
    }
    let claims = r#"{"Key": "claims", "Body": "secret.txt", "BodyAs": "file"}"#;
    run("--objects -").stdin(claims).run().exits(3).logs("came as data");
    run("--body_as file --objects -").stdin(object).run().exits(3).logs("came as data");
    let forged = r#"{"Key": "forged", "Body": {"$aaws_typed": "secret.txt"}}"#;
    run("--objects -").stdin(forged).run().exits(2);
    run("").args(["--object", "flag", "secret.txt"]).run().ok();
    assert_eq!(bucket.get("flag").text(), "from the file");
}

#[test]
fn what_exists_and_is_no_file_is_not_taken_for_text() {
    let bucket = Bucket::new();
    let directory = directory();
    fs::create_dir(directory.path().join("folder")).unwrap();
    symlink("nowhere", directory.path().join("dangling")).unwrap();
    for path in ["folder", "dangling", "/dev/null"] {
        let run = aaws(format!("s3 create_objects --bucket {bucket} --object k {path}")).within(directory.path()).run();
        assert_eq!(run.exits(3).logs("UnreadableFile").logs(path).json(), json!(["k"]));
    }
    aaws(format!("s3 create_objects --bucket {bucket} --body_as text --object k folder")).within(directory.path()).run().ok();
    let long = "word ".repeat(200);
    aaws(format!("s3 create_objects --bucket {bucket} --object long")).arg(&long).run().ok();
    assert_eq!((bucket.get("k").text(), bucket.get("long").text()), ("folder".to_owned(), long));
}

#[test]
fn what_cannot_be_read_or_has_no_length_fails_and_is_not_waited_for() {
    let bucket = Bucket::new();
    let directory = directory();
    let made = Command::new("mkfifo").arg(directory.path().join("pipe")).status();
    assert!(made.expect("mkfifo runs").success());
    let secret = directory.path().join("secret");
    fs::write(&secret, "text").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    // Nothing is closed to root.
    let paths = if File::open(&secret).is_err() { vec!["pipe", "secret"] } else { vec!["pipe"] };
    for path in paths {
        let run = aaws(format!("s3 create_objects --bucket {bucket} --object k {path}")).within(directory.path()).run();
        assert_eq!(run.exits(3).logs("UnreadableFile").logs(path).json(), json!(["k"]));
    }
    assert_eq!(bucket.keys(), [""; 0]);
}

#[test]
fn a_bucket_that_does_not_exist_ends_the_run_at_the_first_object() {
    let server = fake_s3::scripted([("PutObject", vec![Response::error(404, "NoSuchBucket")])]);
    let line = "s3 create_objects --bucket no-such-bucket --concurrency 1 --object a x --object b x --object c x";
    let run = aaws(line).endpoint(&server.url).run().exits(1).logs("NoSuchBucket").logs("`no-such-bucket`").logs("2 not started");
    assert_eq!(server.count("PutObject"), 1);
    let of_items = run.stderr.lines().filter(|line| ["`a`", "`b`", "`c`"].iter().any(|key| line.starts_with(&format!("error: {key}"))));
    assert_eq!(of_items.count(), 1, "{run}");
}

// --- Replacing ---

#[test]
fn a_store_that_knows_no_conditions_replaces_nothing_either() {
    // Garage and s3rver do not look at If-None-Match.
    let store = |head: Response| fake_s3::scripted([("HeadObject", vec![head]), ("PutObject", vec![Response::xml(200, "")])]);
    let directory = directory();
    fs::write(directory.path().join("film.mp4"), noise(20 << 20)).unwrap();
    let run = |server: &Server, body: &str| {
        let line = format!("s3 create_objects --bucket b --no_overwrite --object k {body}");
        aaws(line).endpoint(&server.url).within(directory.path()).run()
    };
    for body in ["text", "film.mp4"] {
        let there = store(Response::xml(200, ""));
        assert_eq!(run(&there, body).exits(3).logs("PreconditionFailed").json(), json!(["k"]));
        assert_eq!(there.writes(), [""; 0]);
        // What cannot be looked at may be there.
        let denied = store(Response::error(403, "AccessDenied"));
        assert_eq!(run(&denied, body).exits(3).logs("AccessDenied").json(), json!(["k"]));
        assert_eq!(denied.writes(), [""; 0]);
    }
    let absent = store(Response::error(404, "NoSuchKey"));
    assert_eq!(run(&absent, "text").ok().json(), json!([]));
    assert_eq!(absent.requests("PutObject")[0].header("if-none-match"), Some("*"), "the condition is sent all the same");
}

#[test]
fn on_a_terminal_an_existing_object_is_not_replaced_unasked() {
    let bucket = Bucket::with(["old"]);
    let proxy = Proxy::to(moto::endpoint()).start();
    let line = format!("s3 create_objects --bucket {bucket} --object old changed --object new text");
    let asked = aaws(&line).endpoint(&proxy.url).on_terminal("n").exits(4);
    assert!(asked.stdout.contains("replace") && asked.stdout.contains("old") && !asked.stdout.contains("  new"), "{asked}");
    assert_eq!(proxy.writes(), [""; 0]);
    aaws(format!("{line} --no_overwrite")).endpoint(&proxy.url).on_terminal("n").exits(3);
    assert_eq!(bucket.get("old").text(), "old");
    aaws(&line).on_terminal("y").ok();
    assert_eq!(bucket.get("old").text(), "changed");
}

// --- Parts and the end of a run ---

#[test]
fn an_interrupted_upload_begins_no_new_part_and_is_aborted() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).delay("UploadPart", Duration::from_millis(500)).start();
    let directory = directory();
    fs::write(directory.path().join("film.mp4"), vec![7; 80 << 20]).unwrap();
    let line = format!("s3 create_objects --bucket {bucket} --object film film.mp4 --report report.jsonl");
    let running = aaws(line).endpoint(&proxy.url).within(directory.path()).start();
    proxy.wait_for("UploadPart", 1);
    running.signal("INT");
    running.wait().exits(130);
    assert!(proxy.count("UploadPart") < 10, "{:?}", proxy.operations());
    assert_eq!((proxy.count("AbortMultipartUpload"), proxy.count("CompleteMultipartUpload")), (1, 0));
    assert_eq!(bucket.open_uploads(), 0);
    let lines = report(&directory);
    assert_eq!((&lines[0]["item"], &lines[0]["status"], &lines[0]["code"]), (&json!("film"), &json!("failed"), &json!("Interrupted")));
}

#[test]
fn an_upload_whose_time_is_over_begins_no_new_part_and_is_aborted() {
    let bucket = Bucket::new();
    // Ten parts, four at a time, take longer than the run may.
    let proxy = Proxy::to(moto::endpoint()).delay("UploadPart", Duration::from_millis(2_000)).start();
    let directory = directory();
    fs::write(directory.path().join("film.mp4"), vec![7; 80 << 20]).unwrap();
    let line = format!("s3 create_objects --bucket {bucket} --object film film.mp4 --timeout 4s");
    let run = aaws(line).endpoint(&proxy.url).within(directory.path()).run().exits(1).logs("timed out");
    assert!(proxy.count("UploadPart") < 10, "{run}");
    assert_eq!((proxy.count("AbortMultipartUpload"), proxy.count("CompleteMultipartUpload")), (1, 0));
    assert_eq!(bucket.open_uploads(), 0);
}

#[test]
fn an_upload_that_is_ended_at_once_is_named_all_the_same() {
    let bucket = Bucket::new();
    // No part is answered before the run is over.
    let (over, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let proxy = Proxy::to(moto::endpoint()).rule("UploadPart", move |_, _| {
        let _ = wait.lock().unwrap().recv();
        None
    });
    let proxy = proxy.start();
    let directory = directory();
    fs::write(directory.path().join("film.mp4"), noise(20 << 20)).unwrap();
    let line = format!("s3 create_objects --bucket {bucket} --object film film.mp4");
    let running = aaws(line).endpoint(&proxy.url).within(directory.path()).start();
    proxy.wait_for("UploadPart", 1);
    running.signal("INT");
    running.logged("Ctrl-C again");
    running.signal("INT");
    let run = running.wait().exits(130);
    let upload = proxy.requests("UploadPart")[0].query("uploadId").expect("the upload's id");
    assert!(run.stderr.contains(&upload), "{upload} is not in {run}");
    assert_eq!((proxy.count("AbortMultipartUpload"), proxy.count("CompleteMultipartUpload")), (0, 0));
    drop(over);
}

#[test]
fn parts_that_stay_are_named_by_their_upload() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).refuse("UploadPart", 403, "AccessDenied").refuse("AbortMultipartUpload", 403, "AccessDenied");
    let proxy = proxy.start();
    let directory = directory();
    fs::write(directory.path().join("film.mp4"), noise(20 << 20)).unwrap();
    let line = format!("s3 create_objects --bucket {bucket} --object film film.mp4 --report report.jsonl");
    aaws(line).endpoint(&proxy.url).within(directory.path()).run().exits(3);
    let upload = proxy.requests("AbortMultipartUpload")[0].query("uploadId").expect("the upload's id");
    let message = report(&directory)[0]["message"].to_string();
    assert!(message.contains("could not undo") && message.contains(&upload), "{message}");
}

// --- Lost answers ---

#[test]
fn an_object_whose_answer_was_lost_does_not_stand_in_its_own_way() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).losing("PutObject").start();
    let line = format!("s3 create_objects --bucket {bucket} --no_overwrite --object k text");
    assert_eq!(aaws(line).endpoint(&proxy.url).run().ok().json(), json!([]));
    // At an endpoint of its own the key is looked for before, too.
    assert_eq!((proxy.count("PutObject"), proxy.count("HeadObject")), (2, 2));
    assert_eq!(bucket.get("k").text(), "text");
}

#[test]
fn an_object_of_somebody_else_does_whatever_was_lost() {
    for there in ["longer than that", "twin"] {
        let bucket = Bucket::new();
        bucket.put("k", there);
        // It comes after it was looked for.
        let proxy = Proxy::to(moto::endpoint()).rule("PutObject", |n, _| (n == 1).then(Response::dropped));
        let proxy = proxy.rule("HeadObject", |n, _| (n == 1).then(|| Response::error(404, "NoSuchKey"))).start();
        let line = format!("s3 create_objects --bucket {bucket} --no_overwrite --object k text");
        aaws(line).endpoint(&proxy.url).run().exits(3).logs("PreconditionFailed");
        assert_eq!(bucket.get("k").text(), there);
    }
}

#[test]
fn a_completion_whose_answer_was_lost_counts() {
    let bucket = Bucket::new();
    // S3 knows no upload that was completed (API reference, errors of CompleteMultipartUpload); moto does.
    let proxy = Proxy::to(moto::endpoint()).losing("CompleteMultipartUpload");
    let proxy = proxy.fail("CompleteMultipartUpload", 2, 404, "NoSuchUpload").start();
    let directory = directory();
    let content = noise(20 << 20);
    fs::write(directory.path().join("film.mp4"), &content).unwrap();
    let line = format!("s3 create_objects --bucket {bucket} --object film film.mp4");
    assert_eq!(aaws(line).endpoint(&proxy.url).within(directory.path()).run().ok().json(), json!([]));
    assert_eq!(proxy.count("CompleteMultipartUpload"), 2);
    assert!(bucket.get("film").body == content, "the object holds the file's bytes");
}
