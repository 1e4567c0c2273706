//! The S3 actions, end to end: on moto, on the sandbox, and on servers that answer what neither of them would.

use std::fs;
use std::time::Duration;

use base64::Engine;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::fake_s3::{self, VastBucket, VersionedBucket, delete_result, keys_of, listing};
use crate::support::proxy::Proxy;
use crate::support::{Bucket, Output, Response, Server, aaws, directory, moto, report, shell};

/// The examples of the page that the project was made from, character for character.
const PLAIN_EXAMPLE: &str = "aaws s3 delete_objects --bucket example-bucket --objects examples/object1 examples/object2";
const PREFIX_EXAMPLE: &str = "aaws s3 delete_objects --bucket example-bucket --prefix examples --objects object1 object2";

/// Keys of every awkward form that S3 allows (S7).
const AWKWARD_KEYS: [&str; 27] = [
    "\u{1}start of heading",
    "\tindented",
    " leading space",
    "#fragment",
    "..",
    "./x",
    "/",
    "//",
    "/slash",
    "100%",
    "?query=1&more",
    "@at",
    "a",
    "a/",
    "a/../b",
    "a//b",
    "carriage\rreturn",
    "new\nline",
    "plus+plus",
    "quote'\"<&>",
    "semi;colon\\backslash",
    "trailing space ",
    "unit separator\u{1f}",
    "é/日本",
    "x\u{85}\u{2028}",
    "\u{fffe}\u{ffff}",
    "🦀",
];

/// What the first bucket of a sandbox holds.
fn sandbox_keys(sandbox: &TempDir) -> Value {
    aaws("s3 discover_objects --bucket example-bucket").sandbox(sandbox.path()).run().ok().json()
}

/// A run of `delete_objects` on a server that knows only what the test scripted.
fn delete_on(server: &Server, objects: &str) -> Output {
    aaws(format!("s3 delete_objects --bucket b --objects {objects}")).endpoint(&server.url).run()
}

// --- The seed page ---

#[test]
fn the_examples_of_the_seed_page_work_on_moto() {
    let (_turn, bucket) = Bucket::of_the_examples();
    for example in [PLAIN_EXAMPLE, PREFIX_EXAMPLE] {
        for key in ["examples/object1", "examples/object2", "examples/object3", "object1"] {
            bucket.put(key, "text");
        }
        let output = shell(example).run().ok();
        assert_eq!(output.stdout.trim(), "[]", "{output}");
        assert_eq!(bucket.keys(), ["examples/object3", "object1"]);
    }
}

#[test]
fn the_examples_of_the_seed_page_work_on_a_new_sandbox() {
    for example in [PLAIN_EXAMPLE, PREFIX_EXAMPLE] {
        let sandbox = directory();
        let before = sandbox_keys(&sandbox);
        let output = shell(example).sandbox(sandbox.path()).run().ok();
        assert_eq!(output.stdout.trim(), "[]", "{output}");
        let mut expected = before.as_array().expect("a list").clone();
        expected.retain(|key| key != "examples/object1" && key != "examples/object2");
        assert_eq!(before.as_array().unwrap().len(), expected.len() + 2, "the sandbox began with both objects");
        assert_eq!(sandbox_keys(&sandbox), Value::from(expected));
    }
}

// --- Create, discover, delete ---

#[test]
fn what_is_discovered_can_be_piped_into_delete() {
    let bucket = Bucket::with(["keep.txt", "logs.txt", "logs/2024/a.txt", "logs/2024/b c.txt", "logs/2025/ü.txt"]);
    let line = format!("aaws s3 discover_objects --bucket {bucket} --prefix logs/ | aaws s3 delete_objects --bucket {bucket} --objects -");
    assert_eq!(shell(line).run().ok().json(), json!([]));
    assert_eq!(bucket.keys(), ["keep.txt", "logs.txt"]);
}

#[test]
fn the_pipe_works_on_the_sandbox_which_both_ends_serve_at_once() {
    let sandbox = directory();
    let before = sandbox_keys(&sandbox);
    let line =
        "aaws s3 discover_objects --bucket example-bucket --prefix logs/ | aaws s3 delete_objects --bucket example-bucket --objects -";
    assert_eq!(shell(line).sandbox(sandbox.path()).run().ok().json(), json!([]));
    let mut expected = before.as_array().expect("a list").clone();
    expected.retain(|key| !key.as_str().unwrap().starts_with("logs/"));
    assert!(before.as_array().unwrap().len() > expected.len(), "the sandbox began with logs: {before}");
    assert_eq!(sandbox_keys(&sandbox), Value::from(expected));
}

#[test]
fn created_objects_hold_what_was_given() {
    let bucket = Bucket::new();
    let output = aaws(format!("s3 create_objects --bucket {bucket} --prefix notes/"))
        .args(["--object", "a.txt", "first note", "--object", "b.txt", "second note"])
        .run()
        .ok();
    assert_eq!(output.json(), json!([]));
    assert_eq!(bucket.keys(), ["notes/a.txt", "notes/b.txt"], "one slash between prefix and key");
    assert_eq!(bucket.get("notes/a.txt").text(), "first note");
    assert_eq!(bucket.get("notes/b.txt").text(), "second note");
}

#[test]
fn objects_can_be_given_as_json_lines() {
    let bucket = Bucket::new();
    let lines = "{\"Key\": \"a\", \"Body\": \"one\"}\n{\"Key\": \"b\", \"Body\": \"two\", \"ContentType\": \"text/csv\"}\n";
    aaws(format!("s3 create_objects --bucket {bucket} --objects -")).stdin(lines).run().ok();
    assert_eq!(bucket.get("a").text(), "one");
    assert_eq!(bucket.get("b").header("content-type"), Some("text/csv"));
}

#[test]
fn keys_of_every_form_make_the_round_trip_on_the_sandbox() {
    let sandbox = directory();
    let objects: Vec<Value> = AWKWARD_KEYS.iter().map(|key| json!({"Key": key, "Body": "text"})).collect();
    let created = aaws("s3 create_objects --bucket example-bucket --objects -")
        .sandbox(sandbox.path())
        .stdin(Value::from(objects).to_string())
        .run()
        .ok();
    assert_eq!(created.json(), json!([]));

    let listed = sandbox_keys(&sandbox);
    let mut new: Vec<&str> = listed.as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    let mut sorted = new.clone();
    sorted.sort_by_key(|key| key.as_bytes());
    assert_eq!(new, sorted, "keys are listed in the order of their bytes");
    new.retain(|key| AWKWARD_KEYS.contains(key));
    let mut expected = AWKWARD_KEYS.to_vec();
    expected.sort_by_key(|key| key.as_bytes());
    assert_eq!(new, expected);

    let pipe = "aaws s3 discover_objects --bucket example-bucket | aaws s3 delete_objects --bucket example-bucket --objects -";
    assert_eq!(shell(pipe).sandbox(sandbox.path()).run().ok().json(), json!([]));
    assert_eq!(sandbox_keys(&sandbox), json!([]));
}

#[test]
fn a_sandbox_keeps_its_objects_between_runs() {
    let (sandbox, other) = (directory(), directory());
    let flag = sandbox.path().to_str().expect("a path in UTF-8");
    let run = |line: &str| aaws(line).args(["--sandbox", flag]).sandbox(other.path()).run().ok();
    run("s3 create_objects --bucket example-bucket --object kept text");
    assert_eq!(run("s3 discover_objects --bucket example-bucket --prefix kept").json(), json!(["kept"]));
    assert!(fs::read_dir(other.path()).unwrap().next().is_none(), "the flag wins over the environment");
}

#[test]
fn the_default_sandbox_lives_in_the_users_data_directory() {
    let data = directory();
    let listed = aaws("s3 discover_objects --bucket example-bucket").sandbox("1".as_ref()).env("XDG_DATA_HOME", data.path()).run().ok();
    assert!(listed.json().as_array().unwrap().contains(&json!("examples/object1")), "{listed}");
    assert!(data.path().join("aaws/sandbox").is_dir());
}

// --- delete_objects ---

#[test]
fn a_thousand_keys_a_request() {
    let vast = VastBucket::new(2500, Duration::ZERO);
    let line = "aaws s3 discover_objects --bucket b | aaws s3 delete_objects --bucket b --objects -";
    assert_eq!(shell(line).endpoint(&vast.server.url).run().ok().json(), json!([]));
    assert_eq!(vast.deleted(), 2500);
    assert_eq!(vast.server.count("ListObjectsV2"), 3);
    assert_eq!(vast.server.count("DeleteObjects"), 3);
    assert_eq!(vast.server.operations().len(), 6, "no other request is made");
}

#[test]
fn one_key_more_than_a_request_holds_on_moto() {
    let bucket = Bucket::new();
    for number in 0..1001 {
        bucket.put(&format!("k{number:04}"), "");
    }
    let proxy = Proxy::to(moto::endpoint()).start();
    let line = format!("aaws s3 discover_objects --bucket {bucket} | aaws s3 delete_objects --bucket {bucket} --objects -");
    assert_eq!(shell(line).endpoint(&proxy.url).run().ok().json(), json!([]));
    assert_eq!(bucket.keys(), [""; 0]);
    assert_eq!((proxy.count("ListObjectsV2"), proxy.count("DeleteObjects")), (2, 2));
}

#[test]
fn long_keys_fill_a_request_before_a_thousand_of_them_do() {
    // 1,000 keys of 1,024 characters that XML writes as five bytes each are more than 5 MB.
    let keys: Vec<String> = (0..1000).map(|number| format!("{number:04}{}", "&".repeat(1020))).collect();
    let server =
        Server::start(|_, _, request| delete_result(&keys_of(&request).iter().map(|key| (key.as_str(), None)).collect::<Vec<_>>()));
    let output = aaws("s3 delete_objects --bucket b --objects -").endpoint(&server.url).stdin(keys.join("\n")).run().ok();
    assert_eq!(output.json(), json!([]));
    let requests = server.requests("DeleteObjects");
    let sizes: Vec<usize> = requests.iter().map(|request| request.body.len()).collect();
    assert!(sizes.iter().all(|&size| size < 3 << 19), "each request stays near a megabyte: {sizes:?}");
    let mut sent: Vec<String> = requests.iter().flat_map(keys_of).collect();
    sent.sort();
    assert_eq!(sent, keys);
}

#[test]
fn a_key_that_is_denied_comes_back_whole() {
    let server = fake_s3::scripted([("DeleteObjects", vec![delete_result(&[("pp/abc", Some("AccessDenied"))])])]);
    let directory = directory();
    let output = aaws("s3 delete_objects --bucket b --prefix pp --objects abc --report report.jsonl")
        .endpoint(&server.url)
        .within(directory.path())
        .run()
        .exits(3)
        .logs("AccessDenied")
        .logs("pp/abc");
    assert_eq!(output.json(), json!(["pp/abc"]));
    let lines = report(&directory);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["item"], "pp/abc");
    assert_eq!(lines[0]["status"], "failed");
    assert_eq!(lines[0]["code"], "AccessDenied");
    assert_eq!(lines[0]["message"], "AccessDenied by the test");
}

#[test]
fn one_denied_key_does_not_sink_the_others() {
    let bucket = Bucket::with(["pp/abc", "pp/b", "pp/c"]);
    bucket.deny("s3:DeleteObject", "pp/abc");
    let output = aaws(format!("s3 delete_objects --bucket {bucket} --prefix pp/ --objects b abc c")).run().exits(3);
    assert_eq!(output.json(), json!(["pp/abc"]));
    assert_eq!(bucket.keys(), ["pp/abc"]);
}

#[test]
fn failed_keys_come_back_in_the_order_they_were_given() {
    let denied = Some("AccessDenied");
    let server = fake_s3::scripted([("DeleteObjects", vec![delete_result(&[("a", denied), ("b", None), ("c", denied), ("d", denied)])])]);
    assert_eq!(delete_on(&server, "d b a c").exits(3).json(), json!(["d", "a", "c"]));
}

#[test]
fn a_key_that_the_reply_does_not_mention_does_not_count_as_deleted() {
    let server = fake_s3::scripted([("DeleteObjects", vec![delete_result(&[("a", None)])])]);
    assert_eq!(delete_on(&server, "a b").exits(3).json(), json!(["b"]));
}

#[test]
fn keys_that_fail_for_now_are_tried_again_alone() {
    for code in ["InternalError", "SlowDown", "ServiceUnavailable"] {
        let server = fake_s3::scripted([(
            "DeleteObjects",
            vec![delete_result(&[("a", None), ("b", Some(code)), ("c", None)]), delete_result(&[("b", None)])],
        )]);
        let output = delete_on(&server, "a b c").ok();
        assert_eq!(output.json(), json!([]), "after {code}");
        let requests = server.requests("DeleteObjects");
        assert_eq!(requests.iter().map(keys_of).collect::<Vec<_>>(), [vec!["a", "b", "c"], vec!["b"]], "after {code}");
    }
}

#[test]
fn keys_that_fail_for_good_are_not_tried_again() {
    for code in ["AccessDenied", "InvalidArgument"] {
        let server = fake_s3::scripted([("DeleteObjects", vec![delete_result(&[("a", Some(code)), ("b", None)])])]);
        assert_eq!(delete_on(&server, "a b").exits(3).logs(code).json(), json!(["a"]));
        assert_eq!(server.count("DeleteObjects"), 1, "after {code}");
    }
}

#[test]
fn a_key_that_goes_on_failing_is_given_up_after_five_tries() {
    let server = fake_s3::scripted([("DeleteObjects", vec![delete_result(&[("a", Some("SlowDown"))])])]);
    assert_eq!(delete_on(&server, "a").exits(3).logs("SlowDown").json(), json!(["a"]));
    assert_eq!(server.count("DeleteObjects"), 5);
}

#[test]
fn an_error_as_the_root_of_a_200_is_an_error() {
    let passing = fake_s3::scripted([("DeleteObjects", vec![Response::error(200, "InternalError"), delete_result(&[("a", None)])])]);
    assert_eq!(delete_on(&passing, "a").ok().json(), json!([]));
    assert_eq!(passing.count("DeleteObjects"), 2, "one that passes is tried again");

    let lasting = fake_s3::scripted([("DeleteObjects", vec![Response::error(200, "AccessDenied")])]);
    assert_eq!(delete_on(&lasting, "a b").exits(3).logs("AccessDenied").json(), json!(["a", "b"]));
}

#[test]
fn a_throttled_request_is_sent_again() {
    let bucket = Bucket::with(["a", "b"]);
    let proxy = Proxy::to(moto::endpoint()).fail("ListObjectsV2", 1, 503, "SlowDown").fail("DeleteObjects", 1, 503, "SlowDown").start();
    let line = format!("aaws s3 discover_objects --bucket {bucket} | aaws s3 delete_objects --bucket {bucket} --objects -");
    shell(line).endpoint(&proxy.url).run().ok();
    assert_eq!(bucket.keys(), [""; 0]);
    assert_eq!((proxy.count("ListObjectsV2"), proxy.count("DeleteObjects")), (2, 2));
}

#[test]
fn a_request_that_is_denied_as_a_whole_fails_its_keys_by_their_full_names() {
    let server = fake_s3::scripted([("DeleteObjects", vec![Response::error(403, "AccessDenied")])]);
    let output = aaws("s3 delete_objects --bucket b --prefix pp --objects x y").endpoint(&server.url).run();
    assert_eq!(output.exits(3).logs("AccessDenied").logs("REQ-AccessDenied").json(), json!(["pp/x", "pp/y"]));
}

#[test]
fn keys_that_xml_cannot_carry_go_one_by_one() {
    let odd = ["bell\u{7}", "cr\r", "noncharacter\u{fffe}"];
    let bucket = Bucket::with(["plain", "tab\tkept", odd[0], odd[1], odd[2], "other"]);
    let proxy = Proxy::to(moto::endpoint()).start();
    let keys = json!(["plain", odd[0], odd[1], "tab\tkept", odd[2]]).to_string();
    let run = aaws(format!("s3 delete_objects --bucket {bucket} --objects -")).endpoint(&proxy.url).stdin(keys).run().ok();
    assert_eq!(run.json(), json!([]));
    assert_eq!(bucket.keys(), ["other"]);
    let mut batched: Vec<_> = proxy.requests("DeleteObjects").iter().flat_map(keys_of).collect();
    batched.sort();
    assert_eq!(batched, ["plain", "tab\tkept"]);
    assert_eq!(proxy.count("DeleteObject"), odd.len());
}

#[test]
fn a_batch_of_nothing_but_odd_keys_sends_no_empty_request() {
    let bucket = Bucket::with(["bell\u{7}"]);
    let proxy = Proxy::to(moto::endpoint()).start();
    let run = aaws(format!("s3 delete_objects --bucket {bucket} --objects -")).endpoint(&proxy.url);
    run.stdin("\"bell\\u0007\"\n").run().ok();
    assert_eq!(proxy.operations(), ["DeleteObject"]);
    assert_eq!(bucket.keys(), [""; 0]);
}

#[test]
fn an_empty_list_deletes_nothing_and_sends_nothing() {
    let server = fake_s3::scripted([]);
    let run = |line: &str| aaws(line).endpoint(&server.url);
    let runs = [
        run("s3 delete_objects --bucket b --objects"),
        run("s3 delete_objects --bucket b --objects -"),
        run("s3 delete_objects --bucket b --objects -").stdin("[]\n"),
        run("s3 delete_objects --bucket b --input").arg(r#"{"objects": []}"#),
        run("s3 delete_objects --bucket b --all_versions --objects"),
        run("s3 create_objects --bucket b --objects []"),
    ];
    for run in runs {
        assert_eq!(run.run().ok().json(), json!([]));
    }
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn a_key_given_twice_is_no_failure() {
    // S3 may name a key once that was sent twice.
    let server = fake_s3::scripted([("DeleteObjects", vec![delete_result(&[("a", None), ("b", None)])])]);
    assert_eq!(delete_on(&server, "a b a").ok().json(), json!([]));

    let bucket = Bucket::with(["a", "b", "c"]);
    assert_eq!(aaws(format!("s3 delete_objects --bucket {bucket} --objects a a b --objects a")).run().ok().json(), json!([]));
    assert_eq!(bucket.keys(), ["c"]);
}

#[test]
fn a_key_that_does_not_exist_is_deleted_all_the_same() {
    let bucket = Bucket::with(["a"]);
    assert_eq!(aaws(format!("s3 delete_objects --bucket {bucket} --objects a never-there")).run().ok().json(), json!([]));
    assert_eq!(bucket.keys(), [""; 0]);
}

#[test]
fn keys_can_be_asked_for_before_they_are_deleted() {
    let bucket = Bucket::with(["here", "also here", "kept"]);
    let proxy = Proxy::to(moto::endpoint()).start();
    let directory = directory();
    let run = |more: &str| {
        let line = format!("s3 delete_objects --bucket {bucket} --check {more} --report report.jsonl --objects here not-here");
        aaws(line).arg("also here").endpoint(&proxy.url).within(directory.path()).run().ok().json()
    };
    // A dry run asks as well, and plans nothing for what is not there.
    let planned: Vec<_> = run("--dry_run").as_array().expect("a plan").iter().map(|p| p["item"].clone()).collect();
    assert_eq!(planned, [json!("here"), json!("also here")]);
    std::fs::remove_file(directory.path().join("report.jsonl")).expect("the report of the dry run");
    assert_eq!(run(""), json!([]));
    let mut outcomes: Vec<_> = report(&directory).iter().map(|l| format!("{} {}", l["item"], l["status"])).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, [r#""also here" "done""#, r#""here" "done""#, r#""not-here" "unchanged""#]);
    assert_eq!(bucket.keys(), ["kept"]);
    assert_eq!(proxy.count("HeadObject"), 6);
    assert_eq!(proxy.requests("DeleteObjects").iter().flat_map(keys_of).collect::<Vec<_>>(), ["here", "also here"]);
}

#[test]
fn flags_of_the_api_reach_the_api() {
    let server = fake_s3::scripted([("DeleteObjects", vec![delete_result(&[("a", None)])])]);
    aaws("s3 delete_objects --bucket b --objects a --bypass_governance_retention --request_payer")
        .args(["--expected_bucket_owner", "123456789012"])
        .endpoint(&server.url)
        .run()
        .ok();
    let request = server.requests("DeleteObjects").remove(0);
    assert_eq!(request.header("x-amz-bypass-governance-retention"), Some("true"));
    assert_eq!(request.header("x-amz-request-payer"), Some("requester"));
    assert_eq!(request.header("x-amz-expected-bucket-owner"), Some("123456789012"));
}

#[test]
fn custom_endpoints_get_path_style_and_a_checksum() {
    let server = fake_s3::scripted([("DeleteObjects", vec![delete_result(&[("a", None)])])]);
    delete_on(&server, "a").ok();
    let request = server.requests("DeleteObjects").remove(0);
    assert!(request.target.starts_with("/b?") || request.target.starts_with("/b/?"), "{}", request.target);
    let checksums = ["content-md5", "x-amz-checksum-crc32", "x-amz-checksum-crc64nvme", "x-amz-checksum-sha256"];
    assert!(checksums.iter().any(|name| request.header(name).is_some()), "{:?}", request.headers);
}

// --- Versions ---

#[test]
fn a_custom_endpoint_gets_the_md5_of_the_body_and_bodies_as_they_are() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).start();
    aaws(format!("s3 create_objects --bucket {bucket} --object a text")).endpoint(&proxy.url).run().ok();
    let put = &proxy.requests("PutObject")[0];
    assert_eq!(put.text(), "text", "no chunks with checksums behind them");
    assert_eq!(put.header("content-encoding"), None);

    aaws(format!("s3 delete_objects --bucket {bucket} --objects a")).endpoint(&proxy.url).run().ok();
    let delete = &proxy.requests("DeleteObjects")[0];
    let digest = base64::engine::general_purpose::STANDARD.encode(Md5::digest(&delete.body));
    assert_eq!(delete.header("content-md5"), Some(digest.as_str()));
}

#[test]
fn an_endpoint_for_s3_alone_is_custom_too() {
    let server = fake_s3::scripted([("ListObjectsV2", vec![fake_s3::listing(&[], None)])]);
    let run = aaws("s3 discover_objects --bucket my-bucket").endpoint("http://127.0.0.1:1").env("AWS_ENDPOINT_URL_S3", &server.url);
    run.run().ok();
    let request = &server.requests("ListObjectsV2")[0];
    assert!(request.target.starts_with("/my-bucket"), "the bucket is in the path: {}", request.target);
}

#[test]
fn directory_buckets_have_no_versions() {
    let server = Server::start(|_, _, _| Response::error(500, "NotExpected"));
    for flag in ["--all_versions", "--version_id v"] {
        let line = format!("s3 delete_objects --bucket b--use1-az4--x-s3 --objects a {flag}");
        let run = aaws(line).endpoint(&server.url).run().exits(2);
        assert!(run.stderr.contains("directory bucket"), "{run}");
    }
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn a_plain_delete_on_a_versioned_bucket_says_that_it_only_hides() {
    let bucket = Bucket::versioned();
    bucket.put("k", "one");
    bucket.put("k", "two");
    let directory = directory();
    let run = aaws(format!("s3 delete_objects --bucket {bucket} --objects k --report report.jsonl")).within(directory.path());
    run.run().ok().logs("delete marker");
    assert_eq!((bucket.versions().len(), bucket.delete_markers()), (2, 1));
    let lines = report(&directory);
    assert_eq!(lines[0]["status"], "done");
    assert!(lines[0]["message"].as_str().is_some_and(|message| message.contains("delete marker")), "{lines:?}");
}

#[test]
fn a_version_can_be_deleted_by_its_id() {
    let bucket = Bucket::versioned();
    bucket.put("k", "one");
    bucket.put("k", "two");
    let versions = bucket.versions();
    let line = format!("s3 delete_objects --bucket {bucket} --objects k --version_id {}", versions[1]);
    assert_eq!(aaws(line).run().ok().json(), json!([]));
    assert_eq!(bucket.versions(), versions[..1]);
    assert_eq!(bucket.delete_markers(), 0);
}

#[test]
fn all_versions_of_a_key_can_be_deleted() {
    let bucket = Bucket::versioned();
    for key in ["k", "k2"] {
        bucket.put(key, "one");
        bucket.put(key, "two");
    }
    aaws(format!("s3 delete_objects --bucket {bucket} --objects k")).run().ok();
    let run = aaws(format!("s3 delete_objects --bucket {bucket} --objects k --all_versions"));
    assert_eq!(run.run().ok().json(), json!([]));
    assert_eq!((bucket.versions().len(), bucket.delete_markers()), (2, 0), "the other key keeps its versions");
    assert_eq!(bucket.keys(), ["k2"]);
}

#[test]
fn versions_are_paged_by_key_and_version_id() {
    // Keys that begin with the one that is meant share its pages, and must be left alone.
    let bucket = VersionedBucket::new(&[("a", 2, 0), ("k", 7, 2), ("k+ +k", 5, 1), ("k/below", 2, 1), ("k2", 3, 0)], 4);
    let run = aaws("s3 delete_objects --bucket b --all_versions --objects -").endpoint(&bucket.server.url);
    assert_eq!(run.stdin("k\nk+ +k\n").run().ok().json(), json!([]));
    let left = bucket.left();
    let keys: Vec<&str> = left.iter().map(|version| version.split(' ').next().unwrap()).collect();
    assert_eq!(keys, ["a", "a", "k/below", "k/below", "k/below", "k2", "k2", "k2"]);
}

#[test]
fn more_versions_than_a_request_holds_are_split() {
    let bucket = VersionedBucket::new(&[("k", 2300, 50), ("k2", 1, 0)], 1000);
    let run = aaws("s3 delete_objects --bucket b --all_versions --objects k").endpoint(&bucket.server.url);
    assert_eq!(run.run().ok().json(), json!([]));
    assert_eq!(bucket.left(), ["k2 v00000"]);
    let sizes: Vec<usize> = bucket.server.requests("DeleteObjects").iter().map(|request| keys_of(request).len()).collect();
    assert!(sizes.iter().all(|&size| size <= 1000), "at most 1,000 versions a request: {sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 2350);
}

#[test]
fn versions_that_cannot_be_listed_leave_the_key_alone() {
    let server = fake_s3::scripted([("ListObjectVersions", vec![Response::error(403, "AccessDenied")])]);
    let run = aaws("s3 delete_objects --bucket b --all_versions --objects k").endpoint(&server.url).run().exits(3);
    assert_eq!(run.logs("AccessDenied").json(), json!(["k"]));
    assert_eq!(server.writes(), [""; 0]);
}

// --- create_objects ---

/// Bytes that no part boundary repeats.
fn noise(length: usize) -> Vec<u8> {
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

// --- discover_objects ---

#[test]
fn keys_are_listed_url_encoded_and_decoded_where_a_plus_is_a_space() {
    let page = listing(
        &[("a%2Bb", "2024-01-01T00:00:00.000Z"), ("a+b", "2024-01-01T00:00:00.000Z"), ("%01%C3%A9", "2024-01-01T00:00:00.000Z")],
        None,
    );
    let server = fake_s3::scripted([("ListObjectsV2", vec![page])]);
    let output = aaws("s3 discover_objects --bucket b").endpoint(&server.url).run().ok();
    assert_eq!(output.json(), json!(["a+b", "a b", "\u{1}é"]));
    assert_eq!(server.requests("ListObjectsV2")[0].query("encoding-type").as_deref(), Some("url"));
}

#[test]
fn a_prefix_is_taken_as_it_is() {
    let bucket = Bucket::with(["a", "logs", "logs/1", "logs2"]);
    let discover = |prefix: &str| aaws(format!("s3 discover_objects --bucket {bucket} --prefix {prefix}")).run().ok().json();
    assert_eq!(discover("logs"), json!(["logs", "logs/1", "logs2"]));
    assert_eq!(discover("logs/"), json!(["logs/1"]));
    assert_eq!(discover("nothing"), json!([]));
}

#[test]
fn names_can_be_had_without_their_folders() {
    let bucket = Bucket::with(["logs/2024/a.txt", "logs/b.txt", "c.txt"]);
    let output = aaws(format!("s3 discover_objects --bucket {bucket} --name_only")).run().ok();
    assert_eq!(output.json(), json!(["c.txt", "a.txt", "b.txt"]));
}

#[test]
fn details_tell_size_date_and_class() {
    let bucket = Bucket::with(["a", "bcd"]);
    let details = aaws(format!("s3 discover_objects --bucket {bucket} --details")).run().ok().json();
    let objects = details.as_array().expect("a list");
    assert_eq!(objects.len(), 2);
    assert_eq!((&objects[1]["Key"], &objects[1]["Size"]), (&json!("bcd"), &json!(3)));
    assert_eq!(objects[1]["StorageClass"], "STANDARD");
    assert!(objects[1]["ETag"].as_str().is_some_and(|tag| !tag.is_empty()), "{details}");
    assert!(objects[1]["LastModified"].as_str().is_some_and(|date| date.ends_with('Z')), "{details}");
}

#[test]
fn a_range_of_dates_holds_its_start_and_not_its_end() {
    let objects = [
        ("before", "2024-01-01T23:59:59.000Z"),
        ("start", "2024-01-02T00:00:00.000Z"),
        ("within", "2024-01-02T12:00:00.000Z"),
        ("end", "2024-01-03T00:00:00.000Z"),
    ];
    let server = fake_s3::scripted([("ListObjectsV2", vec![listing(&objects, None)])]);
    let discover = |range: &str| aaws(format!("s3 discover_objects --bucket b {range}")).endpoint(&server.url).run().ok().json();
    for day in [
        "--modified_after 2024/01/02 --modified_before 2024/01/03",
        "--modified_after 2024-01-02 --modified_before 2024-01-03",
        "--modified_after 2024-01-02T00:00:00Z --modified_before 2024-01-03T01:00:00+01:00",
    ] {
        assert_eq!(discover(day), json!(["start", "within"]), "{day}");
    }
    assert_eq!(discover("--modified_before 2024-01-02"), json!(["before"]));
    assert_eq!(discover("--modified_after 2024-01-03"), json!(["end"]));
    assert_eq!(discover("--modified_after 2024-01-03 --modified_before 2024-01-02"), json!([]));
}

#[test]
fn an_age_counts_back_from_now() {
    let bucket = Bucket::with(["new"]);
    let discover = |range: &str| aaws(format!("s3 discover_objects --bucket {bucket} {range}")).run().ok().json();
    assert_eq!(discover("--modified_after 12h"), json!(["new"]));
    assert_eq!(discover("--modified_before 30d"), json!([]));
}

#[test]
fn an_empty_bucket_holds_nothing() {
    let bucket = Bucket::new();
    let output = aaws(format!("s3 discover_objects --bucket {bucket}")).run().ok();
    assert_eq!(output.stdout.trim(), "[]");
}

#[test]
fn a_bucket_that_does_not_exist_is_an_error_that_names_it() {
    let output = aaws("s3 discover_objects --bucket no-such-bucket").run().exits(1).logs("NoSuchBucket").logs("no-such-bucket");
    assert!(output.stdout.is_empty() || output.json() == json!([]), "{output}");
}

#[test]
fn a_bucket_that_is_denied_is_an_error_that_says_what_to_do() {
    let server = fake_s3::scripted([("ListObjectsV2", vec![Response::error(403, "AccessDenied")])]);
    let output = aaws("s3 discover_objects --bucket b").endpoint(&server.url).run().exits(1);
    let output = output.logs("AccessDenied").logs("REQ-AccessDenied").logs("`b`").logs("aaws permissions s3 discover_objects");
    assert!(output.stdout.is_empty() || output.json() == json!([]), "{output}");
    assert_eq!(server.count("ListObjectsV2"), 1, "what is denied is not tried again");
}

#[test]
fn a_listing_that_breaks_off_leaves_nothing_or_json() {
    let first = listing(&[("a", "2024-01-01T00:00:00.000Z")], Some("more"));
    let server = fake_s3::scripted([("ListObjectsV2", vec![first, Response::error(403, "AccessDenied")])]);
    for format in ["json", "jsonl"] {
        let run = aaws(format!("s3 discover_objects --bucket b --output {format}")).endpoint(&server.url).run();
        let output = run.exits(1).logs("AccessDenied");
        if format == "json" && !output.stdout.is_empty() {
            output.json();
        }
        for line in output.stdout.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {output}"));
        }
    }
}
