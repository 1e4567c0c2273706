//! Exact deletion: what a listing printed is deleted as it was then, or left alone.

use serde_json::json;

use crate::support::fake_bucket::{FakeBucket, Stored};
use crate::support::fake_s3::{delete_result, keys_of};
use crate::support::proxy::Proxy;
use crate::support::{Bucket, Response, Server, aaws, directory, moto, report, shell, xml};

fn three() -> FakeBucket {
    FakeBucket::new(["a", "b", "c"].into_iter().map(|key| Stored::new(key, 1)).collect(), 10)
}

/// The answer to HEAD of an object with this ETag.
fn with_etag(etag: &str) -> Response {
    Response { status: 200, headers: vec![("etag".to_owned(), format!("\"{etag}\""))], body: Vec::new() }
}

/// What `discover_objects` prints with these flags.
fn listed(bucket: &FakeBucket, flags: &str) -> String {
    aaws(format!("s3 discover_objects --bucket b {flags}")).endpoint(&bucket.server.url).run().ok().stdout
}

#[test]
fn an_object_that_was_written_anew_since_it_was_listed_is_left_alone() {
    let bucket = three();
    let details = listed(&bucket, "--details");
    bucket.overwrite("b");
    let directory = directory();
    let run = aaws("s3 delete_objects --bucket b --objects - --report report.jsonl").endpoint(&bucket.server.url);
    let run = run.within(directory.path()).stdin(details).run().exits(3);
    assert_eq!(run.json(), json!([]), "it did not fail");
    assert_eq!(bucket.keys(), ["b"]);
    let lines = report(&directory);
    let of = |item: &str| lines.iter().find(|line| line["item"] == item).unwrap_or_else(|| panic!("no {item} in {lines:?}"));
    assert_eq!((&of("b")["status"], &of("b")["code"]), (&json!("skipped"), &json!("Changed")));
    assert_eq!(of("a")["status"], "done");
}

#[test]
fn the_condition_is_in_the_request_and_can_be_left_out() {
    let bucket = three();
    let details = listed(&bucket, "--details");
    bucket.overwrite("b");
    let run = aaws("s3 delete_objects --bucket b --objects - --if_match=false").endpoint(&bucket.server.url);
    run.stdin(&details).run().ok();
    assert_eq!(bucket.keys(), [""; 0]);
    assert!(!bucket.server.requests("DeleteObjects")[0].text().contains("ETag"));

    let bucket = three();
    let piped = "aaws s3 discover_objects --bucket b --details --output yaml | aaws s3 delete_objects --bucket b --objects -";
    shell(piped).endpoint(&bucket.server.url).run().ok();
    assert_eq!(bucket.keys(), [""; 0]);
    let sent = bucket.server.requests("DeleteObjects")[0].text();
    assert_eq!(xml::texts(&sent, "ETag"), ["\"etag-of-a\"", "\"etag-of-b\"", "\"etag-of-c\""]);
}

#[test]
fn an_object_that_is_gone_since_is_not_found() {
    let bucket = three();
    let details = listed(&bucket, "--details");
    aaws("s3 delete_objects --bucket b --objects c").endpoint(&bucket.server.url).run().ok();
    let run = |flags: &str| {
        let run = aaws(format!("s3 delete_objects --bucket b --objects - {flags}")).endpoint(&bucket.server.url);
        run.stdin(&details).run()
    };
    assert_eq!(run("").exits(3).logs("NotFound").json(), json!(["c"]));
    assert_eq!(run("--ignore_not_found").ok().json(), json!([]));
}

#[test]
fn a_conflict_with_another_writer_is_tried_again() {
    let server = Server::start(|operation, n, _| match (operation, n) {
        ("DeleteObjects", 1) => delete_result(&[("a", Some("ConditionalRequestConflict"))]),
        _ => delete_result(&[("a", Some("PreconditionFailed"))]),
    });
    let run = aaws("s3 delete_objects --bucket b --objects -").endpoint(&server.url).stdin("{\"Key\":\"a\",\"ETag\":\"e\"}\n").run();
    assert_eq!(run.exits(3).json(), json!([]));
    assert_eq!(server.count("DeleteObjects"), 2);
}

#[test]
fn versions_that_were_listed_are_deleted_and_no_others() {
    let stored = || {
        let of = |key: &str| vec![Stored::new(key, 2).version("v2"), Stored::new(key, 1).version("v1")];
        FakeBucket::versioned([of("a"), of("b")].concat(), 3)
    };
    let bucket = stored();
    let pipe = "aaws s3 discover_objects --bucket b --versions --noncurrent | aaws s3 delete_objects --bucket b --objects -";
    shell(pipe).endpoint(&bucket.server.url).run().ok();
    assert_eq!(bucket.versions(), ["a v2", "b v2"]);

    // A version is exact, whatever else is asked: all versions are of those that are named by their keys alone.
    let bucket = stored();
    let run = aaws("s3 delete_objects --bucket b --objects - --all_versions").endpoint(&bucket.server.url);
    run.stdin("[{\"Key\":\"a\",\"VersionId\":\"v1\",\"ETag\":\"\\\"no\\\"\"},\"b\"]").run().ok();
    assert_eq!(bucket.versions(), ["a v2"]);
}

#[test]
fn what_was_deleted_is_brought_back_by_removing_the_markers() {
    let bucket = FakeBucket::versioned(["a", "b", "c"].into_iter().map(|key| Stored::new(key, 1)).collect(), 10);
    let delete = |flags: &str| aaws(format!("s3 delete_objects --bucket b {flags}")).endpoint(&bucket.server.url).run();
    delete("--objects a b").ok();
    assert_eq!(bucket.keys(), ["c"]);
    delete("--objects a --delete_markers").ok();
    assert_eq!(bucket.keys(), ["a", "c"]);
    delete("--matching --whole_bucket --delete_markers").ok();
    assert_eq!((bucket.keys(), bucket.versions().len()), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], 3));
    // What has no marker is as it was asked to be; what never was is a slip.
    delete("--objects a --delete_markers").ok();
    assert_eq!(delete("--objects never-there --delete_markers").exits(3).json(), json!(["never-there"]));
}

#[test]
fn noncurrent_versions_of_keys_can_be_deleted() {
    let bucket = Bucket::versioned();
    ["one", "two", "three"].into_iter().for_each(|body| bucket.put("k", body));
    let latest = bucket.versions().remove(0);
    aaws(format!("s3 delete_objects --bucket {bucket} --objects k --noncurrent")).run().ok();
    assert_eq!(bucket.versions(), [latest]);
}

#[test]
fn a_store_that_cannot_compare_deletes_nothing_that_has_a_condition() {
    let server = Server::start(|operation, _, request| match operation {
        "DeleteObjects" if request.text().contains("<ETag>") => Response::error(501, "NotImplemented"),
        "DeleteObjects" => delete_result(&keys_of(&request).iter().map(|key| (key.as_str(), None)).collect::<Vec<_>>()),
        "HeadObject" => with_etag("e"),
        _ => Response::error(500, "NotExpected"),
    });
    let objects = "[{\"Key\":\"a\",\"ETag\":\"\\\"e\\\"\"},\"b\",{\"Key\":\"c\",\"ETag\":\"\\\"e\\\"\"},\"d\"]";
    let run = aaws("s3 delete_objects --bucket b --objects -").endpoint(&server.url).stdin(objects).run().exits(3);
    assert_eq!(run.logs("cannot compare ETags").logs("--if_match=false").json(), json!(["a", "c"]));
    assert_eq!(server.requests("DeleteObjects").last().map(keys_of), Some(vec!["b".to_owned(), "d".to_owned()]));

    // One that knows no DeleteObjects at all is not asked for single objects in its place.
    let server = Server::start(|operation, _, _| match operation {
        "DeleteObject" => Response { status: 204, headers: Vec::new(), body: Vec::new() },
        "HeadObject" => with_etag("e"),
        _ => Response::error(501, "NotImplemented"),
    });
    let run = aaws("s3 delete_objects --bucket b --objects -").endpoint(&server.url).stdin(objects).run().exits(3);
    assert_eq!(run.json(), json!(["a", "c"]));
    assert_eq!(server.count("DeleteObject"), 2);
}

#[test]
fn a_key_that_goes_alone_takes_its_condition_with_it() {
    let server = Server::start(|operation, _, _| match operation {
        "DeleteObject" => Response::error(412, "PreconditionFailed"),
        "HeadObject" => with_etag("e"),
        _ => Response::error(500, "NotExpected"),
    });
    let object = "{\"Key\":\"bell\\u0007\",\"ETag\":\"\\\"e\\\"\"}\n";
    let run = aaws("s3 delete_objects --bucket b --objects -").endpoint(&server.url).stdin(object).run();
    assert_eq!(run.exits(3).json(), json!([]));
    assert_eq!(server.requests("DeleteObject")[0].header("if-match"), Some("\"e\""));
}

#[test]
fn a_store_that_passes_over_conditions_is_asked_before() {
    // moto passes over ETags in a DeleteObjects, as Garage does.
    let bucket = Bucket::with(["a", "b"]);
    let details = aaws(format!("s3 discover_objects --bucket {bucket} --details")).run().ok().stdout;
    bucket.put("b", "anew");
    let proxy = Proxy::to(moto::endpoint()).start();
    let run = aaws(format!("s3 delete_objects --bucket {bucket} --objects -")).endpoint(&proxy.url).stdin(&details).run();
    assert_eq!(run.exits(3).json(), json!([]));
    assert_eq!(bucket.keys(), ["b"]);
    assert_eq!(proxy.requests("DeleteObjects").iter().flat_map(keys_of).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn the_sandbox_compares() {
    let sandbox = directory();
    let run = |line: &str| aaws(line).sandbox(sandbox.path());
    let details = run("s3 discover_objects --bucket example-bucket --prefix logs/2024/ --details").run().ok().stdout;
    run("s3 create_objects --bucket example-bucket --object logs/2024/b.txt anew").run().ok();
    let deleted = run("s3 delete_objects --bucket example-bucket --objects -").stdin(&details).run().exits(3);
    assert_eq!(deleted.json(), json!([]));
    let left = run("s3 discover_objects --bucket example-bucket --prefix logs/2024/").run().ok().json();
    assert_eq!(left, json!(["logs/2024/b.txt"]));
}

#[test]
fn permissions_for_objects_that_were_listed_are_for_their_keys() {
    let objects = "[{\"Key\":\"a\",\"ETag\":\"e\"},\"b\"]";
    let run = aaws("permissions s3 delete_objects --bucket b --objects -").stranger().stdin(objects).run().ok().json();
    assert_eq!(run["Statement"][0]["Resource"], json!(["arn:aws:s3:::b/a", "arn:aws:s3:::b/b"]));
}

#[test]
fn of_versions_that_were_listed_only_those_that_are_asked_for_are_deleted() {
    let stored = || {
        let of = |key: &str| vec![Stored::new(key, 2).version("v2"), Stored::new(key, 1).version("v1")];
        FakeBucket::versioned([vec![Stored::marker("a", "m")], of("a"), of("b")].concat(), 10)
    };
    for (flag, left) in [("--delete_markers", vec!["a v2", "a v1", "b v2", "b v1"]), ("--noncurrent", vec!["a m", "b v2"])] {
        let bucket = stored();
        let versions = listed(&bucket, "--versions");
        let run = aaws(format!("s3 delete_objects --bucket b --objects - {flag}")).endpoint(&bucket.server.url);
        run.stdin(versions).run().ok().logs("unchanged");
        assert_eq!(bucket.versions(), left, "{flag}");
    }
}

#[test]
fn the_version_null_is_the_object_that_was_listed_or_is_left() {
    let bucket = FakeBucket::versioned(vec![Stored::new("a", 1).version("null"), Stored::new("b", 1).version("null")], 10);
    let versions = listed(&bucket, "--versions");
    bucket.overwrite("a");
    aaws("s3 delete_objects --bucket b --objects -").endpoint(&bucket.server.url).stdin(versions).run().exits(3);
    assert_eq!(bucket.versions(), ["a null"]);
}

#[test]
fn all_versions_go_only_of_the_object_that_was_listed() {
    let bucket = FakeBucket::versioned(vec![Stored::new("a", 1).version("v1"), Stored::new("b", 1).version("v1")], 10);
    let details = listed(&bucket, "--details");
    bucket.overwrite("a");
    let run = aaws("s3 delete_objects --bucket b --objects - --all_versions").endpoint(&bucket.server.url);
    run.stdin(details).run().exits(3);
    assert_eq!(bucket.versions(), ["a v1"]);
}

#[test]
fn a_key_that_is_given_twice_is_told_of_twice() {
    let bucket = three();
    let objects = "[{\"Key\":\"a\",\"ETag\":\"\\\"no\\\"\"},{\"Key\":\"a\",\"ETag\":\"\\\"etag-of-a\\\"\"}]";
    let directory = directory();
    let run = aaws("s3 delete_objects --bucket b --objects - --report report.jsonl").endpoint(&bucket.server.url);
    run.within(directory.path()).stdin(objects).run().exits(3);
    assert_eq!(bucket.keys(), ["b", "c"]);
    let told: Vec<_> = report(&directory).iter().map(|line| line["status"].clone()).collect();
    assert_eq!(told, ["skipped", "done"]);
}
