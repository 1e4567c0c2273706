//! `delete_objects`: batches, what S3 says of each key, and what ends a run.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use md5::{Digest, Md5};
use serde_json::json;

use crate::support::fake_s3::{self, VastBucket, delete_result, keys_of};
use crate::support::proxy::Proxy;
use crate::support::{Bucket, Output, Response, Server, aaws, directory, moto, report, shell};

/// A run of `delete_objects` on a server that knows only what the test scripted.
fn delete_on(server: &Server, objects: &str) -> Output {
    aaws(format!("s3 delete_objects --bucket b --objects {objects}")).endpoint(&server.url).run()
}

#[test]
fn a_thousand_keys_a_request() {
    let vast = VastBucket::new(2500, Duration::ZERO);
    let line = "aaws s3 discover_objects --bucket b | aaws s3 delete_objects --bucket b --objects -";
    assert_eq!(shell(line).endpoint(&vast.server.url).run().ok().json(), json!([]));
    assert_eq!(vast.deleted(), 2500);
    let (listed, deleted) = (vast.server.count("ListObjectsV2"), vast.server.count("DeleteObjects"));
    assert!((3..=4).contains(&listed), "{listed} requests for three pages: the third is looked for in two places");
    assert_eq!(deleted, 3);
    assert_eq!(vast.server.operations().len(), listed + deleted, "no other request is made");
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
    let server = fake_s3::scripted([("DeleteObjects", vec![delete_result(&[("a", Some("InternalError"))])])]);
    assert_eq!(delete_on(&server, "a").exits(3).logs("InternalError").json(), json!(["a"]));
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
fn an_answer_that_is_torn_tells_of_no_key() {
    // What is there of the key `abc` is another one, of which it would be said behind it that it was not deleted.
    let whole = delete_result(&[("abc", None), ("a", Some("AccessDenied"))]);
    let torn = Response::xml(200, whole.text().split_once("bc<").expect("the first key").0);
    let healed = fake_s3::scripted([("DeleteObjects", vec![torn.clone(), whole])]);
    assert_eq!(delete_on(&healed, "a abc").exits(3).logs("AccessDenied").json(), json!(["a"]));
    assert_eq!(healed.count("DeleteObjects"), 2);

    let broken = fake_s3::scripted([("DeleteObjects", vec![torn])]);
    let run = delete_on(&broken, "a abc").exits(3).logs("UnreadableAnswer").logs("it ends in the middle");
    assert_eq!(run.json(), json!(["a", "abc"]));
}

#[test]
fn an_answer_that_is_no_xml_tells_of_no_key() {
    // A store that writes keys as they are: read up to `<`, the first is the second.
    let unescaped = "<DeleteResult><Deleted><Key>a<b</Key></Deleted>\
                     <Error><Key>a</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>";
    let server = fake_s3::scripted([("DeleteObjects", vec![Response::xml(200, unescaped)])]);
    let output = aaws("s3 delete_objects --bucket b --objects -").stdin("a<b\na\n").endpoint(&server.url).run().exits(3);
    assert_eq!(output.logs("UnreadableAnswer").json(), json!(["a<b", "a"]));
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
    let run = |more: &str, code| {
        let line = format!("s3 delete_objects --bucket {bucket} --check {more} --report report.jsonl --objects here not-here");
        aaws(line).arg("also here").endpoint(&proxy.url).within(directory.path()).run().exits(code).json()
    };
    // A dry run asks as well, and plans nothing for what is not there.
    let planned: Vec<_> = run("--dry_run --ignore_not_found", 0).as_array().expect("a plan").iter().map(|p| p["item"].clone()).collect();
    assert_eq!(planned, [json!("here"), json!("also here")]);
    assert_eq!(run("", 3), json!(["not-here"]));
    let mut outcomes: Vec<_> = report(&directory).iter().map(|l| format!("{} {} {}", l["item"], l["status"], l["code"])).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, [r#""also here" "done" null"#, r#""here" "done" null"#, r#""not-here" "failed" "NotFound""#]);
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

// --- What stores answer ---

#[test]
fn a_store_that_names_the_version_it_deleted_is_understood() {
    // Garage does so for plain deletes; the objects are gone.
    let reply = "<DeleteResult><Deleted><Key>a</Key><VersionId>v1</VersionId><DeleteMarkerVersionId>v1</DeleteMarkerVersionId></Deleted>\
                 <Deleted><Key>b</Key><VersionId>v2</VersionId></Deleted>\
                 <Error><Key>c</Key><VersionId>v3</VersionId><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>";
    let server = fake_s3::scripted([("DeleteObjects", vec![Response::xml(200, reply)])]);
    let run = delete_on(&server, "a b c").exits(3);
    assert_eq!(run.json(), json!(["c"]));
    assert!(!run.stderr.contains("delete marker"), "{run}");
}

#[test]
fn a_store_without_multi_object_delete_is_asked_for_one_object_at_a_time() {
    let server = Server::start(|operation, _, request| match operation {
        "DeleteObject" if request.target.contains("/denied") => Response::error(403, "AccessDenied"),
        "DeleteObject" => Response { status: 204, headers: Vec::new(), body: Vec::new() },
        _ => Response::error(501, "NotImplemented"),
    });
    assert_eq!(delete_on(&server, "a denied c").exits(3).json(), json!(["denied"]));
    assert_eq!((server.count("DeleteObjects"), server.count("DeleteObject")), (1, 3));
}

#[test]
fn one_key_that_a_request_cannot_carry_does_not_sink_the_others() {
    let server = Server::start(|operation, _, request| {
        let keys = keys_of(&request);
        match operation {
            "DeleteObjects" if keys.iter().any(|key| key == "odd") => Response::error(400, "MalformedXML"),
            "DeleteObjects" => delete_result(&keys.iter().map(|key| (key.as_str(), None)).collect::<Vec<_>>()),
            _ => Response::error(400, "InvalidURI"),
        }
    });
    let keys: Vec<String> = (0..999).map(|n| format!("key-{n}")).chain(["odd".to_owned()]).collect();
    let run = aaws("s3 delete_objects --bucket b --objects -").endpoint(&server.url).stdin(keys.join("\n")).run().exits(3);
    assert_eq!(run.json(), json!(["odd"]));
    assert!(server.count("DeleteObjects") < 25, "halves of halves: {}", server.count("DeleteObjects"));
    assert_eq!(server.count("DeleteObject"), 1);
}

// --- What every key would meet ---

#[test]
fn a_bucket_that_does_not_exist_ends_the_run_and_is_said_once() {
    let keys: String = (0..20_000).map(|n| VastBucket::key(n) + "\n").collect();
    let server = fake_s3::scripted([("DeleteObjects", vec![Response::error(404, "NoSuchBucket")])]);
    let directory = directory();
    let line = "s3 delete_objects --bucket no-such-bucket --objects - --concurrency 2 --report report.jsonl";
    let run = aaws(line).endpoint(&server.url).within(directory.path()).stdin(keys).run();
    let run = run.exits(1).logs("NoSuchBucket").logs("`no-such-bucket`");
    assert!(run.stderr.lines().count() < 20, "{run}");
    let mut items: Vec<_> = report(&directory).iter().map(|line| line["item"].to_string()).collect();
    items.sort_unstable();
    items.dedup();
    assert_eq!(items.len(), 20_000, "each key is in the report");
}

#[test]
fn what_ends_the_run_is_an_error_of_the_bucket() {
    for code in ["NoSuchBucket", "AllAccessDisabled"] {
        let server = fake_s3::scripted([("DeleteObjects", vec![Response::error(403, code)])]);
        delete_on(&server, "a b").exits(1).logs(code).logs("`b`");
    }
    // No request is any good with these credentials, or this clock.
    for code in ["ExpiredToken", "RequestTimeTooSkewed"] {
        let server = fake_s3::scripted([("DeleteObjects", vec![Response::error(403, code)])]);
        delete_on(&server, "a b").exits(5).logs(code);
    }
    // Garage has no code of its own for them.
    for words in ["Forbidden: Invalid signature", "Forbidden: No such key: AKIATEST"] {
        let answer = format!("<Error><Code>AccessDenied</Code><Message>{words}</Message></Error>");
        let server = fake_s3::scripted([("DeleteObjects", vec![Response::xml(403, answer)])]);
        let run = delete_on(&server, "a b").exits(5).logs(words);
        assert!(run.logs("credentials were turned down").stderr.contains("1 not started"), "said of one key, and not of each");
    }
}

#[test]
fn a_look_and_a_plan_see_that_the_bucket_does_not_exist() {
    for flag in ["--check", "--dry_run", "--check --dry_run", "--all_versions"] {
        let line = format!("s3 delete_objects --bucket no-such-bucket --objects a {flag}");
        aaws(line).run().exits(1).logs("NoSuchBucket").logs("`no-such-bucket`");
    }
    aaws("s3 create_objects --bucket no-such-bucket --object a text --dry_run").run().exits(1).logs("NoSuchBucket");
}

// --- What is given ---

#[test]
fn an_empty_string_is_no_version_key_or_prefix() {
    let server = Server::start(|_, _, _| Response::error(500, "NotExpected"));
    for flag in ["version_id", "prefix", "mfa"] {
        let run = aaws(format!("s3 delete_objects --bucket b --objects a --{flag}")).arg("").endpoint(&server.url).run().exits(2);
        run.silent().logs(&format!("`{flag}`"));
    }
    aaws("s3 delete_objects --bucket b --objects").arg("").endpoint(&server.url).run().exits(2).logs("objects");
    aaws("s3 delete_objects --bucket b --objects a").arg("").endpoint(&server.url).run().exits(2).logs("objects");
    aaws("s3 discover_objects --bucket b --prefix").arg("").endpoint(&server.url).run().exits(2).logs("`prefix`");
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn a_prefix_means_what_is_written() {
    let bucket = Bucket::new();
    for (prefix, key) in [("/", "/a"), ("logs//", "logs//a"), ("logs/", "logs/a"), ("logs", "logs/a")] {
        let planned = aaws(format!("s3 delete_objects --bucket {bucket} --prefix {prefix} --objects a --dry_run")).run().ok().json();
        assert_eq!(planned[0]["item"], key, "{prefix}");
    }
}

#[test]
fn a_key_that_was_hardly_meant_so_is_warned_of() {
    let bucket = Bucket::with(["logs/a"]);
    for (key, says) in [("logs/*", "wildcards"), ("s3://bucket/logs/a", "URL"), ("  \"logs/a\",", "JSON array")] {
        let run = aaws(format!("s3 delete_objects --bucket {bucket} --objects -")).stdin(key).run().ok();
        run.logs("warning").logs(says);
    }
    assert_eq!(bucket.keys(), ["logs/a"]);
}

// --- Rate ---

/// A bucket that deletes so many keys a second, and answers SlowDown for each of the others.
fn limited(rate: f64, burst: f64) -> Server {
    let state = Mutex::new((burst, Instant::now()));
    Server::start(move |_, _, request| {
        let mut state = state.lock().unwrap();
        let (tokens, filled) = &mut *state;
        *tokens = (*tokens + filled.elapsed().as_secs_f64() * rate).min(burst);
        *filled = Instant::now();
        let outcomes: Vec<(String, Option<&str>)> = keys_of(&request)
            .into_iter()
            .map(|key| {
                if *tokens < 1.0 {
                    return (key, Some("SlowDown"));
                }
                *tokens -= 1.0;
                (key, None)
            })
            .collect();
        delete_result(&outcomes.iter().map(|(key, code)| (key.as_str(), *code)).collect::<Vec<_>>())
    })
}

#[test]
fn keys_that_are_turned_away_for_their_rate_are_all_deleted_in_the_end() {
    let server = limited(2_000.0, 1_000.0);
    let keys: String = (0..8_000).map(|n| VastBucket::key(n) + "\n").collect();
    let run = aaws("s3 delete_objects --bucket b --objects -").endpoint(&server.url).stdin(keys).run().ok();
    assert_eq!(run.json(), json!([]));
}

#[test]
fn keys_that_are_turned_away_for_ever_are_tried_until_the_time_is_up() {
    let server = limited(0.0, 0.0);
    aaws("s3 delete_objects --bucket b --objects a --timeout 4s").endpoint(&server.url).run().exits(1).logs("timed out");
    assert!(server.count("DeleteObjects") > 5, "{}", server.count("DeleteObjects"));
}

// --- Interruptions ---

#[test]
fn keys_that_were_not_looked_up_yet_are_in_the_report_of_an_interrupted_run() {
    for flag in ["--check", "--all_versions"] {
        let server = Server::start(|operation, _, request| {
            std::thread::sleep(Duration::from_millis(20));
            match operation {
                "DeleteObjects" => delete_result(&keys_of(&request).iter().map(|key| (key.as_str(), None)).collect::<Vec<_>>()),
                "ListObjectVersions" => Response::xml(
                    200,
                    format!(
                        "<ListVersionsResult><IsTruncated>false</IsTruncated><Version><Key>{}</Key><VersionId>v1</VersionId></Version>\
                         </ListVersionsResult>",
                        request.query("prefix").unwrap_or_default()
                    ),
                ),
                _ => Response { status: 200, headers: Vec::new(), body: Vec::new() },
            }
        });
        let keys: String = (0..3_000).map(|n| VastBucket::key(n) + "\n").collect();
        let directory = directory();
        let line = format!("s3 delete_objects --bucket b --objects - {flag} --concurrency 4 --report report.jsonl");
        let running = aaws(line).endpoint(&server.url).within(directory.path()).stdin(keys).start();
        let looked = if flag == "--check" { "HeadObject" } else { "ListObjectVersions" };
        server.wait_for(looked, 20);
        running.signal("INT");
        running.wait().exits(130);
        let lines = report(&directory);
        let mut items: Vec<_> =
            lines.iter().filter_map(|line| line["item"].as_str()).map(|item| item.split('?').next().unwrap_or(item)).collect();
        assert_eq!(items.len(), 3_000, "{flag}: each key is in the report");
        items.sort_unstable();
        items.dedup();
        assert_eq!(items.len(), 3_000, "{flag}: none is there twice");
        assert!(server.count(looked) < 2_000, "SIGINT was not heard");
    }
}
