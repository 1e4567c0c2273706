//! `discover_objects`: pages, names and dates.

use serde_json::{Value, json};

use crate::support::fake_s3::{self, listing};
use crate::support::{Bucket, Response, Server, aaws};

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
fn an_answer_that_cannot_be_read_is_said_to_be_so() {
    // s3rver writes control characters into its XML as they are, and answers some paths in plain text.
    let page = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>bell\u{7}</Key></Contents></ListBucketResult>";
    let server = fake_s3::scripted([("ListObjectsV2", vec![Response::xml(200, page)])]);
    aaws("s3 discover_objects --bucket b").endpoint(&server.url).run().exits(1).logs("UnreadableAnswer").logs("HTTP 200");
    let server = fake_s3::scripted([("ListObjectsV2", vec![Response::xml(404, "Not Found")])]);
    aaws("s3 discover_objects --bucket b").endpoint(&server.url).run().exits(1).logs("NotFound: HTTP 404").logs(": Not Found");
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

#[test]
fn a_token_that_comes_again_is_an_error() {
    let page = listing(&[("a", "2024-01-01T00:00:00.000Z")], Some("again"));
    let server = fake_s3::scripted([("ListObjectsV2", vec![page])]);
    aaws("s3 discover_objects --bucket b").endpoint(&server.url).run().exits(1).logs("where it was before").logs("`b`");
    assert_eq!(server.count("ListObjectsV2"), 2);
}

#[test]
fn a_listing_that_goes_on_without_saying_where_is_an_error() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a</Key></Contents></ListBucketResult>";
    let server = fake_s3::scripted([("ListObjectsV2", vec![Response::xml(200, page)])]);
    aaws("s3 discover_objects --bucket b").endpoint(&server.url).run().exits(1).logs("without saying where");
}

#[test]
fn the_second_page_is_asked_for_while_the_first_is_not_read_yet() {
    // A page of them is far more than a pipe holds.
    let keys: Vec<String> = (0..2000).map(|n| format!("{n:04}-{}", "k".repeat(1000))).collect();
    let held = keys.clone();
    let server = Server::start(move |_, _, request| {
        let after = request.query("continuation-token").or_else(|| request.query("start-after")).unwrap_or_default();
        let prefix = request.query("prefix").unwrap_or_default();
        let mut wanted = held.iter().map(String::as_str).filter(|key| *key > after.as_str() && key.starts_with(&prefix));
        let page: Vec<_> = wanted.by_ref().take(1000).map(|key| (key, "2024-01-01T00:00:00.000Z")).collect();
        let more = wanted.next().is_some();
        listing(&page, page.last().map(|(key, _)| *key).filter(|_| more))
    });
    let unread = aaws("s3 discover_objects --bucket b").endpoint(&server.url).start_unread();
    server.wait_for("ListObjectsV2", 2);
    assert_eq!(unread.read().wait().ok().json(), json!(keys));
}

#[test]
fn a_region_that_a_server_names_is_taken_only_if_it_is_one() {
    let away = |status: u16, code: &'static str, region: &'static str| {
        Server::start(move |_, n, _| {
            if n > 1 {
                return listing(&[("a", "2024-01-01T00:00:00.000Z")], None);
            }
            let mut answer = Response::error(status, code);
            answer.headers.push(("x-amz-bucket-region".to_owned(), region.to_owned()));
            answer
        })
    };
    // The answers by which S3 sends a request to another region (S3 API reference, error responses).
    for (status, code) in [(301, "PermanentRedirect"), (307, "TemporaryRedirect"), (400, "AuthorizationHeaderMalformed")] {
        let real = away(status, code, "eu-west-1");
        assert_eq!(aaws("s3 discover_objects --bucket b").endpoint(&real.url).run().ok().json(), json!(["a"]), "{status}");
        assert_eq!(real.requests("ListObjectsV2")[1].signed_region(), Some("eu-west-1"), "{status}");
        for wrong in ["@127.0.0.1:1/#", "EU-WEST-1", ""] {
            let hostile = away(status, code, wrong);
            aaws("s3 discover_objects --bucket b").endpoint(&hostile.url).run().exits(1).logs(code);
            assert_eq!(hostile.count("ListObjectsV2"), 1, "{status} {wrong}");
        }
    }
}
