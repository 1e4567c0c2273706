//! The actions on S3 servers that nobody here wrote: what a store takes, and what it does not know, which must not be told as done.

use std::collections::BTreeSet;
use std::fs;

use md5::{Digest, Md5};
use serde_json::json;

use super::uploading::noise;
use super::{PLAIN_EXAMPLE, PREFIX_EXAMPLE};
use crate::support::fake_s3::VastBucket;
use crate::support::proxy::Proxy;
use crate::support::stores::{self, Store};
use crate::support::{directory, report};

/// Keys that both servers take as they are. s3rver keeps each as a file of its name.
const ODD_KEYS: [&str; 21] = [
    "#fragment",
    "$&,:=@;",
    "%2B",
    "-dash",
    "100%",
    "?query=1&more",
    "@at",
    "[]{}|^`~",
    "a b",
    "carriage\rreturn",
    "folder/",
    "folder/in it/a b",
    "new\nline",
    "plus+plus",
    "quote'\"<&>",
    "semi;colon\\backslash",
    "tab\tinside",
    "~tilde*",
    "e\u{301}",
    "é/日本",
    "🦀",
];

/// Keys that only Garage takes as they are.
const ODDER_KEYS: [&str; 11] = [
    " leading space",
    "trailing space ",
    "\tindented",
    "\u{1}start of heading",
    "unit separator\u{1f}",
    "..",
    "./x",
    "a/../b",
    "a//b",
    "\u{feff}mark",
    "\u{fffe}\u{ffff}",
];

/// A test of each of these names for each server.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        on_both!(on garage: $($test),*);
        on_both!(on s3rver: $($test),*);
    };
    (on $server:ident: $($test:ident),*) => {
        mod $server {
            $(
                #[test]
                fn $test() {
                    if let Some(store) = crate::support::stores::$server() {
                        super::$test(store);
                    }
                }
            )*
        }
    };
}

on_both!(
    the_examples_of_the_seed_page_work,
    more_keys_than_two_pages_go_through_the_pipe,
    odd_keys_make_the_round_trip,
    a_bucket_that_does_not_exist_ends_the_run,
    a_key_pair_that_nobody_has_ends_the_run,
    files_arrive_whole_in_one_request_and_in_parts,
    what_exists_is_kept_on_request,
    versions_that_are_not_kept_are_not_told_as_deleted,
    a_key_that_is_not_there_is_seen_when_it_is_asked_for,
    buckets_are_listed,
);

fn the_examples_of_the_seed_page_work(store: &Store) {
    store.make_bucket("example-bucket");
    for example in [PLAIN_EXAMPLE, PREFIX_EXAMPLE] {
        store.put("example-bucket", ["examples/object1", "examples/object2", "examples/object3", "object1"]);
        let output = store.shell(example).run().ok();
        assert_eq!(output.stdout.trim(), "[]", "{output}");
        assert_eq!(store.keys("example-bucket"), ["examples/object3", "object1"]);
    }
    // By the flag, which wins over the environment.
    store.put("example-bucket", ["examples/object1"]);
    let flag = format!("{PLAIN_EXAMPLE} --endpoint_url {}", store.url());
    assert_eq!(store.shell(flag).endpoint("http://127.0.0.1:1").run().ok().json(), json!([]));
    assert_eq!(store.keys("example-bucket"), ["examples/object3", "object1"]);
}

fn more_keys_than_two_pages_go_through_the_pipe(store: &Store) {
    let bucket = store.bucket();
    let keys: Vec<String> = (0..2300).map(VastBucket::key).collect();
    store.put(&bucket, keys.iter().map(String::as_str));
    assert_eq!(store.keys(&bucket), keys);
    let directory = directory();
    let delete = format!("aaws s3 delete_objects --bucket {bucket} --objects - --report report.jsonl");
    let pipe = format!("aaws s3 discover_objects --bucket {bucket} | {delete}");
    assert_eq!(store.shell(pipe).within(directory.path()).run().ok().json(), json!([]));
    assert_eq!(store.keys(&bucket), [""; 0]);
    let lines = report(&directory);
    let done: BTreeSet<_> = lines.iter().filter(|line| line["status"] == "done").filter_map(|line| line["item"].as_str()).collect();
    assert_eq!((lines.len(), done.len()), (2300, 2300));
}

fn odd_keys_make_the_round_trip(store: &Store) {
    let odder: &[&str] = if store.is_garage() { &ODDER_KEYS } else { &[] };
    let keys: Vec<&str> = ODD_KEYS.iter().chain(odder).copied().collect();
    let expected: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    for format in ["json", "jsonl", "text", "yaml"] {
        let bucket = store.bucket();
        store.put(&bucket, keys.iter().copied());
        assert_eq!(store.keys(&bucket).into_iter().collect::<BTreeSet<_>>(), expected);
        let list = format!("aaws s3 discover_objects --bucket {bucket} --output {format}");
        let run = store.shell(format!("{list} | aaws s3 delete_objects --bucket {bucket} --objects -")).run().ok();
        assert_eq!(run.json(), json!([]), "through {format}");
        assert_eq!(store.keys(&bucket), [""; 0], "through {format}");
    }
}

fn a_bucket_that_does_not_exist_ends_the_run(store: &Store) {
    let directory = directory();
    fs::write(directory.path().join("film.mp4"), noise(20 << 20)).unwrap();
    for line in [
        "discover_objects --bucket no-such-bucket",
        "delete_objects --bucket no-such-bucket --objects a b",
        "delete_objects --bucket no-such-bucket --objects a b --dry_run",
        "delete_objects --bucket no-such-bucket --objects a b --check",
        "delete_objects --bucket no-such-bucket --objects a b --all_versions",
        "create_objects --bucket no-such-bucket --object a text",
        "create_objects --bucket no-such-bucket --object a text --dry_run",
        "create_objects --bucket no-such-bucket --object film film.mp4",
        "delete_incomplete_uploads --bucket no-such-bucket",
    ] {
        let run = store.aaws(format!("s3 {line}")).within(directory.path()).run().exits(1);
        run.logs("NoSuchBucket").logs("`no-such-bucket`");
    }
}

fn a_key_pair_that_nobody_has_ends_the_run(store: &Store) {
    let bucket = store.bucket();
    store.put(&bucket, ["a", "b"]);
    for line in turned_down(&bucket) {
        let run = store.aaws(line).env("AWS_ACCESS_KEY_ID", "GKffffffffffffffffffffffff").run().exits(5);
        run.logs("the credentials were turned down");
    }
    assert_eq!(store.keys(&bucket), ["a", "b"]);
}

/// A line of each action that works with good credentials.
fn turned_down(bucket: &str) -> [String; 4] {
    [
        "s3 discover_buckets".to_owned(),
        format!("s3 discover_objects --bucket {bucket}"),
        format!("s3 create_objects --bucket {bucket} --object a text --object c text"),
        format!("s3 delete_objects --bucket {bucket} --objects a b"),
    ]
}

#[test]
fn a_wrong_secret_ends_the_run_on_garage() {
    // s3rver looks at no signature of version 4.
    let Some(store) = stores::garage() else { return };
    let bucket = store.bucket();
    store.put(&bucket, ["a", "b"]);
    for line in turned_down(&bucket) {
        let run = store.aaws(line).env("AWS_SECRET_ACCESS_KEY", "wrong").run().exits(5);
        let run = run.logs("Invalid signature").logs("the credentials were turned down");
        assert!(run.stderr.lines().count() < 6, "it is said once: {run}");
    }
    assert_eq!(store.keys(&bucket), ["a", "b"]);
    assert_eq!(store.object(&bucket, "a").0, 1);
}

fn files_arrive_whole_in_one_request_and_in_parts(store: &Store) {
    let bucket = store.bucket();
    let directory = directory();
    for (name, size, parts) in [("film12", 12 << 20, 1), ("film20", 20 << 20, 3)] {
        let content = noise(size);
        fs::write(directory.path().join(name), &content).unwrap();
        let proxy = Proxy::to(store.url()).start();
        let run = store.aaws(format!("s3 create_objects --bucket {bucket} --object {name} {name}")).endpoint(&proxy.url);
        assert_eq!(run.within(directory.path()).run().ok().json(), json!([]));
        assert_eq!(proxy.count(if parts == 1 { "PutObject" } else { "UploadPart" }), parts, "{:?}", proxy.operations());
        let (stored, tag) = store.object(&bucket, name);
        assert_eq!(stored, content.len() as u64, "{name}");
        // What the server took the digest of is what was sent. Of parts S3 and Garage take that of their digests, s3rver that of the whole.
        let digests: Vec<u8> = content.chunks(8 << 20).flat_map(|part| Md5::digest(part).to_vec()).collect();
        let (whole, of_parts) = (hex(&Md5::digest(&content)), format!("{}-{parts}", hex(&Md5::digest(digests))));
        assert!(tag == whole || (parts > 1 && tag == of_parts), "{name}: {tag} is neither {whole} nor {of_parts}");
    }
    assert_eq!(store.keys(&bucket), ["film12", "film20"]);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Neither of them looks at `If-None-Match`.
fn what_exists_is_kept_on_request(store: &Store) {
    let bucket = store.bucket();
    let directory = directory();
    fs::write(directory.path().join("film.mp4"), noise(20 << 20)).unwrap();
    store.put(&bucket, ["old"]);
    let before = store.object(&bucket, "old");
    for body in ["changed", "film.mp4"] {
        let line = format!("s3 create_objects --bucket {bucket} --no_overwrite --object old {body} --object new {body}");
        let run = store.aaws(line).within(directory.path()).run().exits(3).logs("PreconditionFailed");
        assert_eq!(run.json()[0], "old");
        assert_eq!(store.object(&bucket, "old"), before, "{body}");
    }
    assert_eq!(store.object(&bucket, "new").0, 7, "what did not exist is created, and then kept as well");
}

/// Neither of them keeps versions; asked to delete one, both delete the object.
fn versions_that_are_not_kept_are_not_told_as_deleted(store: &Store) {
    let bucket = store.bucket();
    store.put(&bucket, ["k", "k2"]);
    let code = if store.is_garage() { "NotImplemented" } else { "MethodNotAllowed" };
    for (flags, items) in [
        ("--objects k --version_id 0123", json!(["k?versionId=0123"])),
        ("--objects k k2 --all_versions", json!(["k", "k2"])),
        ("--objects k k2 --all_versions --ignore_not_found", json!(["k", "k2"])),
    ] {
        let run = store.aaws(format!("s3 delete_objects --bucket {bucket} {flags}")).run().exits(3).logs(code);
        assert_eq!(run.json(), items);
        assert_eq!(store.keys(&bucket), ["k", "k2"], "after {flags}");
    }
    let run = store.aaws(format!("s3 delete_objects --bucket {bucket} --objects k")).run().ok();
    assert!(!run.stderr.contains("delete marker"), "{run}");
    assert_eq!(store.keys(&bucket), ["k2"]);
}

fn a_key_that_is_not_there_is_seen_when_it_is_asked_for(store: &Store) {
    let bucket = store.bucket();
    store.put(&bucket, ["here", "kept"]);
    let run = store.aaws(format!("s3 delete_objects --bucket {bucket} --check --objects here not-here")).run().exits(3).logs("NotFound");
    assert_eq!(run.json(), json!(["not-here"]));
    assert_eq!(store.keys(&bucket), ["kept"]);
}

fn buckets_are_listed(store: &Store) {
    let bucket = store.bucket();
    let listed = store.aaws(format!("s3 discover_buckets --prefix {bucket}")).run().ok().json();
    assert!(listed.as_array().is_some_and(|names| names.contains(&json!(bucket))), "{listed}");
    assert_eq!(store.aaws(format!("s3 discover_buckets --name {bucket}")).run().ok().json(), json!([bucket]));
}

// --- What only one of them knows ---

#[test]
fn uploads_that_were_left_on_garage_are_deleted() {
    let Some(store) = stores::garage() else { return };
    let bucket = store.bucket();
    let directory = directory();
    fs::write(directory.path().join("film.mp4"), noise(20 << 20)).unwrap();
    // An upload that nobody completes, and nobody could abort.
    let proxy =
        Proxy::to(store.url()).refuse("UploadPart", 403, "AccessDenied").refuse("AbortMultipartUpload", 403, "AccessDenied").start();
    let upload = store.aaws(format!("s3 create_objects --bucket {bucket} --object films/one film.mp4")).within(directory.path());
    upload.endpoint(&proxy.url).run().exits(3);
    let begun = proxy.requests("AbortMultipartUpload")[0].query("uploadId").expect("the upload's id");

    let delete = |flags: &str| store.aaws(format!("s3 delete_incomplete_uploads --bucket {bucket} {flags}")).run().ok().json();
    assert_eq!(delete("--dry_run"), json!([]), "it is not a week old");
    assert_eq!(delete("--older_than 0s --prefix other/ --dry_run"), json!([]));
    assert_eq!(delete("--older_than 0s --dry_run")[0]["item"], json!(format!("films/one?uploadId={begun}")));
    assert_eq!(delete("--older_than 0s"), json!([]));
    assert_eq!(delete("--older_than 0s --dry_run"), json!([]), "it is gone");
}

#[test]
fn s3rver_cannot_say_which_uploads_were_left() {
    let Some(store) = stores::s3rver() else { return };
    let bucket = store.bucket();
    let run = store.aaws(format!("s3 delete_incomplete_uploads --bucket {bucket}")).run().exits(1);
    run.logs("cannot list the uploads").logs("NotImplemented");
}

#[test]
fn keys_that_s3rver_reads_otherwise_are_not_told_as_deleted() {
    let Some(store) = stores::s3rver() else { return };
    let bucket = store.bucket();
    // It takes white space off the keys of a request to delete.
    let keys = [" leading", "plain", "trailing "];
    store.put(&bucket, keys);
    let run = store.aaws(format!("s3 delete_objects --bucket {bucket} --objects -")).stdin(json!(keys).to_string()).run().exits(3);
    assert_eq!(run.logs("does not mention this key").json(), json!([" leading", "trailing "]));
    assert_eq!(store.keys(&bucket), [" leading", "trailing "]);

    // It has no object for an empty folder's name.
    let line = format!("s3 create_objects --bucket {bucket} --object /slash text");
    assert_eq!(store.aaws(line).run().exits(3).json(), json!(["/slash"]));

    // Its listing carries characters that XML cannot: such a listing cannot be read, and is not taken for an empty one.
    store.put(&bucket, ["bell\u{7}"]);
    store.aaws(format!("s3 discover_objects --bucket {bucket}")).run().exits(1).silent().logs("UnreadableAnswer");
    let delete = store.aaws(format!("s3 delete_objects --bucket {bucket} --objects -")).stdin(json!(["bell\u{7}"]).to_string());
    assert_eq!(delete.run().ok().json(), json!([]), "by its URL");
    assert_eq!(store.keys(&bucket), [" leading", "trailing "]);
}

#[test]
fn a_region_that_is_not_garages_is_told_with_the_right_one() {
    let Some(store) = stores::garage() else { return };
    let bucket = store.bucket();
    let run = store.aaws(format!("s3 discover_objects --bucket {bucket}")).env("AWS_REGION", "eu-west-1").run().exits(1);
    run.logs("AuthorizationHeaderMalformed").logs("garage");
}
