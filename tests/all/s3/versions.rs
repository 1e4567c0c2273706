//! `delete_objects` on buckets that keep versions.

use std::time::Duration;

use serde_json::json;

use crate::support::fake_s3::{self, VersionedBucket, keys_of};
use crate::support::http::Request;
use crate::support::key_space::{KeySpace, Ways, names};
use crate::support::{Bucket, Response, Server, aaws, directory, report};

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
fn a_version_is_looked_for_where_a_store_may_take_it_for_the_object() {
    // Garage and s3rver, which keep no versions, delete the object.
    for (status, code) in [(501, "NotImplemented"), (405, "MethodNotAllowed"), (403, "AccessDenied")] {
        let server = fake_s3::scripted([("ListObjectVersions", vec![Response::error(status, code)])]);
        let run = aaws("s3 delete_objects --bucket b --objects k --version_id v1").endpoint(&server.url).run().exits(3);
        assert_eq!(run.logs(code).json(), json!(["k?versionId=v1"]));
        assert_eq!(server.writes(), [""; 0]);
    }
    let bucket = Bucket::versioned();
    bucket.put("k", "one");
    let line = format!("s3 delete_objects --bucket {bucket} --objects k --version_id never-there");
    assert_eq!(aaws(&line).run().exits(3).logs("NotFound").json(), json!(["k?versionId=never-there"]));
    assert_eq!(aaws(line + " --ignore_not_found").run().ok().json(), json!([]));
    assert_eq!(bucket.versions().len(), 1);
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
fn whatever_versions_a_large_bucket_has_each_is_deleted_once() {
    // More than a page of one key, and none of some.
    let count = |at: usize| if at == 1000 { 1200 } else { at % 5 };
    let store = KeySpace::versioned(names("dates", 4000), count, Ways::S3, Duration::ZERO);
    let run = aaws("s3 delete_objects --bucket b --matching --whole_bucket --all_versions").endpoint(&store.server.url);
    assert_eq!(run.run().ok().json(), json!([]));
    assert_eq!(store.take_deleted(), store.things());
    let is_cut = |request: &Request| request.query("key-marker").is_some() && request.query("version-id-marker").is_none();
    assert!(store.server.requests("ListObjectVersions").iter().any(is_cut), "it is listed from several places");
    assert_eq!(store.server.count("DeleteObjects"), store.things().div_ceil(1000), "requests are full");

    let directory = directory();
    let line = "s3 delete_objects --bucket b --matching --under logs/2024/01/ --noncurrent --report report.jsonl";
    aaws(line).endpoint(&store.server.url).within(directory.path()).run().ok();
    let deleted: Vec<String> = report(&directory).iter().map(|line| line["item"].as_str().expect("an item").to_owned()).collect();
    let mut newest = String::new();
    let mut expected = store.versions();
    expected.retain(|(key, _)| key.starts_with("logs/2024/01/") && std::mem::replace(&mut newest, key.clone()) == *key);
    assert!(!expected.is_empty());
    assert_eq!(store.take_deleted(), expected.len());
    assert_eq!(deleted, expected.iter().map(|(key, id)| format!("{key}?versionId={id}")).collect::<Vec<_>>());
}

#[test]
fn versions_that_cannot_be_listed_leave_the_key_alone() {
    let server = fake_s3::scripted([("ListObjectVersions", vec![Response::error(403, "AccessDenied")])]);
    let run = aaws("s3 delete_objects --bucket b --all_versions --objects k").endpoint(&server.url).run().exits(3);
    assert_eq!(run.logs("AccessDenied").json(), json!(["k"]));
    assert_eq!(server.writes(), [""; 0]);
}

#[test]
fn each_version_is_an_item_of_its_own() {
    let deleted = "<DeleteResult><Deleted><Key>k</Key><VersionId>v1</VersionId></Deleted>\
                   <Error><Key>k</Key><VersionId>v2</VersionId><Code>AccessDenied</Code><Message>locked</Message></Error></DeleteResult>";
    let listed = "<ListVersionsResult><IsTruncated>false</IsTruncated><Version><Key>k</Key><VersionId>v1</VersionId></Version>\
                  <DeleteMarker><Key>k</Key><VersionId>v2</VersionId></DeleteMarker></ListVersionsResult>";
    let server =
        fake_s3::scripted([("ListObjectVersions", vec![Response::xml(200, listed)]), ("DeleteObjects", vec![Response::xml(200, deleted)])]);
    let directory = directory();
    let line = "s3 delete_objects --bucket b --all_versions --objects k --report report.jsonl";
    let run = aaws(line).endpoint(&server.url).within(directory.path()).run().exits(3).logs("`k?versionId=v2`");
    assert_eq!(run.json(), json!(["k?versionId=v2"]));
    let items: Vec<_> = report(&directory).iter().map(|line| (line["item"].clone(), line["status"].clone())).collect();
    assert_eq!(items, [(json!("k?versionId=v1"), json!("done")), (json!("k?versionId=v2"), json!("failed"))]);
    let planned = aaws("s3 delete_objects --bucket b --all_versions --objects k --dry_run").endpoint(&server.url).run().ok().json();
    let kinds: Vec<_> = planned.as_array().expect("a plan").iter().map(|row| row["kind"].clone()).collect();
    assert_eq!(kinds, [json!("version"), json!("delete marker")]);
}

#[test]
fn a_key_without_any_version_is_not_found() {
    let bucket = Bucket::versioned();
    let line = format!("s3 delete_objects --bucket {bucket} --all_versions --objects never-there");
    assert_eq!(aaws(&line).run().exits(3).logs("NotFound").json(), json!(["never-there"]));
    assert_eq!(aaws(line + " --ignore_not_found").run().ok().json(), json!([]));
}

#[test]
fn versions_that_are_listed_from_the_same_place_again_delete_nothing() {
    let page = "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>v1</NextVersionIdMarker>\
                <Version><Key>k</Key><VersionId>v1</VersionId></Version></ListVersionsResult>";
    let server = fake_s3::scripted([("ListObjectVersions", vec![Response::xml(200, page)])]);
    let run = aaws("s3 delete_objects --bucket b --all_versions --objects k").endpoint(&server.url).run().exits(3);
    assert_eq!(run.logs("where it was before").json(), json!(["k"]));
    assert_eq!(server.writes(), [""; 0]);
}
