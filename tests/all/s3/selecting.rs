//! Selection: the same words list objects and delete them, and what is listed with them is what is deleted.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake_bucket::{FakeBucket, Stored};
use crate::support::fake_s3::{VastBucket, delete_result, keys_of, listing};
use crate::support::{Bucket, Output, Response, Server, aaws};

/// A bucket with an object for each kind of selection.
fn five() -> FakeBucket {
    let objects = vec![
        Stored::new("a.log", 10),
        Stored::new("logs/a.txt", 100).modified("2024-06-01"),
        Stored::new("logs/b.log", 2_000).modified("2024-06-01").class("GLACIER"),
        Stored::new("logs/deep/c d.log", 5 << 20).modified("2025-01-01").class("STANDARD_IA"),
        Stored::new("tmp/x", 0).modified("2025-01-01"),
    ];
    FakeBucket::new(objects, 2)
}

const ALL: [&str; 5] = ["a.log", "logs/a.txt", "logs/b.log", "logs/deep/c d.log", "tmp/x"];

fn run(bucket: &FakeBucket, line: &str, flags: &[&str]) -> Output {
    aaws(line).args(flags.iter().copied()).endpoint(&bucket.server.url).run()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|one| one.as_str().expect("text")).collect()
}

#[test]
fn each_selection_means_the_same_where_objects_are_listed_and_where_they_are_deleted() {
    let cases: [(&[&str], &[&str]); 14] = [
        (&["--include", "*.log"], &["a.log", "logs/b.log", "logs/deep/c d.log"]),
        (&["--include", "*.txt", "a*"], &["a.log", "logs/a.txt"]),
        (&["--include", "logs/?.*"], &["logs/a.txt", "logs/b.log"]),
        (&["--exclude", "*.log", "--exclude", "tmp/*"], &["logs/a.txt"]),
        (&["--exclude", "logs/deep/*", "--include", "*.log"], &["a.log", "logs/b.log"]),
        (&["--include"], &[]),
        (&["--exclude"], &ALL),
        (&["--modified_before", "2024-06-01"], &["a.log"]),
        (&["--modified_after", "2024-06-01", "--modified_before", "2025-01-01"], &["logs/a.txt", "logs/b.log"]),
        (&["--larger_than", "100"], &["logs/b.log", "logs/deep/c d.log"]),
        (&["--larger_than", "99B", "--smaller_than", "2kB"], &["logs/a.txt"]),
        (&["--smaller_than", "5MiB"], &["a.log", "logs/a.txt", "logs/b.log", "tmp/x"]),
        (&["--storage_class", "GLACIER", "STANDARD_IA"], &["logs/b.log", "logs/deep/c d.log"]),
        (&["--storage_class"], &[]),
    ];
    for (flags, expected) in cases {
        let bucket = five();
        let found = run(&bucket, "s3 discover_objects --bucket b", flags).ok().json();
        assert_eq!(texts(&found), expected, "{flags:?}");
        let delete = "s3 delete_objects --bucket b --matching --whole_bucket";
        let planned = run(&bucket, &format!("{delete} --dry_run"), flags).ok().json();
        let planned: Vec<_> = planned.as_array().expect("a plan").iter().map(|row| row["item"].as_str().expect("an item")).collect();
        assert_eq!(planned, expected, "{flags:?}");
        assert_eq!(bucket.keys(), ALL, "a dry run deletes nothing");
        assert_eq!(run(&bucket, delete, flags).ok().json(), json!([]), "{flags:?}");
        let left: Vec<_> = ALL.into_iter().filter(|key| !expected.contains(key)).collect();
        assert_eq!(bucket.keys(), left, "{flags:?}");
    }
}

#[test]
fn what_is_deleted_is_under_the_prefix() {
    let bucket = five();
    assert_eq!(run(&bucket, "s3 delete_objects --bucket b --matching --under logs/", &[]).ok().json(), json!([]));
    assert_eq!(bucket.keys(), ["a.log", "tmp/x"]);
    let asked: Vec<_> = bucket.server.requests("ListObjectsV2").iter().map(|request| request.query("prefix")).collect();
    assert!(asked.iter().all(|prefix| prefix.as_deref() == Some("logs/")), "a policy may allow this prefix alone: {asked:?}");

    // On a store that passes over the prefix, too.
    let date = "2024-01-01T00:00:00.000Z";
    let server = Server::start(move |operation, _, _| match operation {
        "ListObjectsV2" => listing(&[("logs/a", date), ("other", date)], None),
        _ => Response::xml(200, "<DeleteResult><Deleted><Key>logs/a</Key></Deleted></DeleteResult>"),
    });
    aaws("s3 delete_objects --bucket b --matching --under logs/").endpoint(&server.url).run().ok();
    let sent = server.requests("DeleteObjects").iter().map(|request| request.text()).collect::<String>();
    assert!(sent.contains("logs/a") && !sent.contains("other"), "{sent}");
}

#[test]
fn pages_are_deleted_as_they_are_listed() {
    let vast = VastBucket::new(4_500, std::time::Duration::ZERO);
    let run = aaws("s3 delete_objects --bucket b --matching --under key- --concurrency 2").endpoint(&vast.server.url).run().ok();
    assert_eq!(run.json(), json!([]));
    assert_eq!(vast.deleted(), 4_500);
    assert_eq!(vast.server.count("DeleteObjects"), 5);
    // Five pages, and what the cuts of a wide listing may cost.
    assert!((5..=8).contains(&vast.server.count("ListObjectsV2")), "{}", vast.server.count("ListObjectsV2"));
    let operations = vast.server.operations();
    let first = operations.iter().position(|operation| operation == "DeleteObjects").expect("a deletion");
    assert!(operations[first..].iter().any(|operation| operation == "ListObjectsV2"), "it is listed and deleted at once: {operations:?}");
}

#[test]
fn what_is_listed_behind_a_slow_page_is_deleted_meanwhile() {
    const KEYS: usize = 12_000;
    // The third page waits for a deletion of what lies behind it.
    let (is_ahead, waited_for) = (Arc::new((Mutex::new(false), Condvar::new())), Arc::new(AtomicBool::new(false)));
    let server = {
        let (is_ahead, waited_for) = (Arc::clone(&is_ahead), Arc::clone(&waited_for));
        Server::start(move |operation, _, request| match operation {
            "ListObjectsV2" => {
                let start = match (request.query("continuation-token"), request.query("start-after")) {
                    (Some(token), _) => token.parse().expect("a token of this store"),
                    (None, Some(after)) => VastBucket::behind(&after, KEYS),
                    (None, None) => 0,
                };
                if start == 2000 {
                    let (is_ahead, changed) = &*is_ahead;
                    let ahead = is_ahead.lock().expect("the lock");
                    let (ahead, _) = changed.wait_timeout_while(ahead, Duration::from_secs(10), |ahead| !*ahead).expect("the lock");
                    waited_for.store(*ahead, Ordering::SeqCst);
                }
                let end = KEYS.min(start + 1000);
                let keys: Vec<String> = (start..end).map(VastBucket::key).collect();
                let page: Vec<_> = keys.iter().map(|key| (key.as_str(), "2024-01-01T00:00:00.000Z")).collect();
                listing(&page, (end < KEYS).then(|| end.to_string()).as_deref())
            }
            "DeleteObjects" => {
                let keys = keys_of(&request);
                // Until that page is answered.
                if keys.iter().any(|key| *key >= VastBucket::key(3000)) {
                    *is_ahead.0.lock().expect("the lock") = true;
                    is_ahead.1.notify_all();
                }
                delete_result(&keys.iter().map(|key| (key.as_str(), None)).collect::<Vec<_>>())
            }
            _ => Response::error(501, "NotImplemented"),
        })
    };
    let run = aaws("s3 delete_objects --bucket b --matching --whole_bucket").endpoint(&server.url).run().ok();
    assert_eq!(run.json(), json!([]));
    assert!(waited_for.load(Ordering::SeqCst), "what lies behind waited for the page before it");
    let deleted: Vec<String> = server.requests("DeleteObjects").iter().flat_map(keys_of).collect();
    assert_eq!((deleted.len(), deleted.into_iter().collect::<BTreeSet<_>>().len()), (KEYS, KEYS), "each is deleted once");
    assert_eq!(server.count("DeleteObjects"), KEYS / 1000, "requests are full");
}

#[test]
fn a_listing_that_breaks_off_ends_the_run() {
    let server = Server::start(|operation, n, _| match (operation, n) {
        ("ListObjectsV2", 1) => listing(&[("a", "2024-01-01T00:00:00.000Z")], Some("more")),
        ("ListObjectsV2", _) => Response::error(403, "AccessDenied"),
        _ => Response::xml(200, "<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>"),
    });
    let run = aaws("s3 delete_objects --bucket b --matching --whole_bucket").endpoint(&server.url).run();
    run.exits(1).logs("AccessDenied");
}

// --- Whatever is selected ---

/// Numbers that are the same in every run of the test.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// Flags of a selection, some of them.
    fn flags(&mut self) -> Vec<&'static str> {
        let choices: [(&str, &[&str]); 7] = [
            ("--include", &["*.log", "*.txt", "logs/*", "*1*", "data/[0-5]*"]),
            ("--exclude", &["*.tmp", "data/*", "*2*", "{logs,data}/1*"]),
            ("--modified_before", &["2024-02-01", "2024-05-01", "2024-08-01"]),
            ("--modified_after", &["2024-03-01", "2024-06-01"]),
            ("--larger_than", &["0", "100", "10KiB"]),
            ("--smaller_than", &["1kB", "1MiB", "1GB"]),
            ("--storage_class", &["STANDARD", "GLACIER"]),
        ];
        let mut flags = Vec::new();
        for (flag, values) in choices {
            if self.below(3) == 0 {
                flags.extend([flag, self.one_of(values)]);
            }
        }
        flags
    }

    fn object(&mut self, number: usize) -> Stored {
        let key = format!("{}{number}{}", self.one_of(&["logs/", "data/", ""]), self.one_of(&[".log", ".txt", ".tmp"]));
        let size = 10_u64.pow(u32::try_from(self.below(9)).expect("a digit"));
        let date = format!("2024-0{}-01", 1 + self.below(9));
        Stored::new(&key, size).modified(&date).class(self.one_of(&["STANDARD", "GLACIER", "STANDARD_IA"]))
    }
}

#[test]
fn what_is_discovered_with_some_flags_is_deleted_with_them_and_nothing_else() {
    let mut random = Random(1);
    let objects: Vec<Stored> = (0..60).map(|number| random.object(number)).collect();
    let (mut some, mut none) = (0, 0);
    for _ in 0..20 {
        let (prefix, flags) = (random.one_of(&["", "logs/", "data/1"]), random.flags());
        let bucket = FakeBucket::new(objects.clone(), 7);
        let before: BTreeSet<String> = bucket.keys().into_iter().collect();
        let (listed, deleted) = match prefix {
            "" => (String::new(), "--whole_bucket".to_owned()),
            prefix => (format!("--prefix {prefix}"), format!("--under {prefix}")),
        };
        let found = run(&bucket, &format!("s3 discover_objects --bucket b {listed}"), &flags).ok().json();
        let found: BTreeSet<String> = texts(&found).into_iter().map(str::to_owned).collect();
        run(&bucket, &format!("s3 delete_objects --bucket b --matching {deleted}"), &flags).ok();
        let left: BTreeSet<String> = bucket.keys().into_iter().collect();
        assert_eq!(before.difference(&left).cloned().collect::<BTreeSet<_>>(), found, "under {prefix:?} with {flags:?}");
        some += usize::from(!found.is_empty() && found.len() < before.len());
        none += usize::from(found.is_empty());
    }
    assert!(some >= 8 && none <= 10, "the flags select too much or too little to show anything: {some} times some, {none} times none");
}

#[test]
fn versions_that_are_discovered_are_those_that_are_deleted() {
    let mut random = Random(7);
    let mut objects = Vec::new();
    for number in 0..30 {
        let object = random.object(number);
        for version in (0..=random.below(4)).rev() {
            let id = format!("v{version}");
            let is_marker = random.below(4) == 0;
            objects.push(if is_marker { Stored::marker(&object.key, &id) } else { object.clone().version(&id) });
        }
    }
    for (listed, deleted) in [("", "--all_versions"), ("--noncurrent", "--noncurrent"), ("--delete_markers", "--delete_markers")] {
        for flags in [Vec::new(), random.flags(), vec!["--exclude", "*1*"]] {
            let bucket = FakeBucket::versioned(objects.clone(), 7);
            let before: BTreeSet<String> = bucket.versions().into_iter().collect();
            let found = run(&bucket, &format!("s3 discover_objects --bucket b --versions {listed}"), &flags).ok().json();
            let name =
                |row: &Value| format!("{} {}", row["Key"].as_str().unwrap_or_default(), row["VersionId"].as_str().unwrap_or_default());
            let found: BTreeSet<String> = found.as_array().expect("a list").iter().map(name).collect();
            run(&bucket, &format!("s3 delete_objects --bucket b --matching --whole_bucket {deleted}"), &flags).ok();
            let left: BTreeSet<String> = bucket.versions().into_iter().collect();
            let gone: BTreeSet<String> = before.difference(&left).cloned().collect();
            assert_eq!(gone, found, "{deleted} with {flags:?}");
            assert!(!flags.is_empty() || !found.is_empty(), "{deleted} selects something");
        }
    }
}

// --- What is refused ---

#[test]
fn what_is_deleted_is_listed_or_selected_and_a_whole_bucket_only_when_it_is_said() {
    let bucket = five();
    let cases: [(&[&str], &str); 18] = [
        (&[], "objects"),
        (&["--matching"], "under"),
        (&["--matching", "--include", "*"], "under"),
        (&["--matching", "--whole_bucket=false"], "under"),
        (&["--matching", "--under", ""], "under"),
        (&["--matching", "--under", "logs/", "--whole_bucket"], "whole_bucket"),
        (&["--matching", "--under", "logs/", "--objects", "a"], "matching"),
        (&["--matching", "--under", "logs/", "--objects"], "matching"),
        (&["--matching", "--under", "logs/", "--prefix", "logs/"], "prefix"),
        (&["--matching", "--under", "logs/", "--check"], "check"),
        (&["--matching", "--under", "logs/", "--version_id", "v"], "version_id"),
        (&["--matching", "--under", "logs/", "--all_versions", "--noncurrent"], "noncurrent"),
        (&["--matching", "--under", "logs/", "--include", "*.log", "--exclude", "*"], "exclude"),
        (&["--matching", "--under", "logs/", "--larger_than", "big"], "larger_than"),
        (&["--matching", "--under", "logs/", "--storage_class", "glacier"], "storage_class"),
        (&["--objects", "a", "--under", "logs/"], "matching"),
        (&["--objects", "a", "--include", "*.log"], "matching"),
        (&["--objects", "a", "--modified_before", "30d"], "matching"),
    ];
    for (flags, field) in cases {
        let refused = run(&bucket, "s3 delete_objects --bucket b", flags).exits(2).silent();
        assert!(refused.stderr.contains(&format!("`{field}")), "{flags:?}: {refused}");
    }
    assert_eq!(bucket.server.operations(), [""; 0]);
}

#[test]
fn permissions_for_a_selection_are_for_its_prefix() {
    let run = aaws("permissions s3 delete_objects --bucket b --matching --under logs/").stranger().run().ok().json();
    let statements = run["Statement"].as_array().expect("statements");
    let of =
        |action: &str| statements.iter().find(|s| s["Action"] == json!([action])).unwrap_or_else(|| panic!("no {action} in {run}")).clone();
    assert_eq!(of("s3:DeleteObject")["Resource"], json!(["arn:aws:s3:::b/logs/*"]));
    assert_eq!(of("s3:ListBucket")["Condition"], json!({"StringLike": {"s3:prefix": ["logs/*"]}}));
    assert_eq!(statements.len(), 2, "{run}");
}

// --- What else is listed ---

#[test]
fn versions_tell_which_is_the_latest_and_which_are_delete_markers() {
    let stored = vec![
        Stored::marker("k", "v3"),
        Stored::new("k", 5).version("v2"),
        Stored::new("k", 4).version("v1"),
        Stored::new("other", 1).version("w1"),
    ];
    let bucket = FakeBucket::versioned(stored, 2);
    let versions = |flags: &str| run(&bucket, &format!("s3 discover_objects --bucket b --versions {flags}"), &[]).ok().json();
    let ids = |flags: &str| versions(flags).as_array().expect("a list").iter().map(|row| row["VersionId"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(""), ["v3", "v2", "v1", "w1"]);
    assert_eq!(ids("--noncurrent"), ["v2", "v1"]);
    assert_eq!(ids("--delete_markers"), ["v3"]);
    assert_eq!(ids("--start_after k"), ["w1"]);
    let all = versions("");
    let row = json!({
        "Key": "k", "VersionId": "v3", "IsLatest": true, "DeleteMarker": true, "Size": null,
        "LastModified": "2024-01-01T00:00:00Z", "ETag": null, "StorageClass": null,
    });
    assert_eq!(all[0], row);
    assert_eq!((&all[1]["IsLatest"], &all[1]["DeleteMarker"], &all[1]["Size"]), (&json!(false), &json!(false), &json!(5)));
    for flags in ["--noncurrent", "--delete_markers", "--versions --name_only", "--versions --delimiter /"] {
        aaws(format!("s3 discover_objects --bucket b {flags}")).endpoint(&bucket.server.url).run().exits(2);
    }
}

#[test]
fn versions_are_listed_on_moto_too() {
    let bucket = Bucket::versioned();
    ["one", "two"].into_iter().for_each(|body| bucket.put("k", body));
    bucket.delete("k");
    let rows = aaws(format!("s3 discover_objects --bucket {bucket} --versions")).run().ok().json();
    let kinds: Vec<_> = rows.as_array().expect("a list").iter().map(|row| (row["DeleteMarker"].clone(), row["IsLatest"].clone())).collect();
    assert_eq!(kinds, [(json!(true), json!(true)), (json!(false), json!(false)), (json!(false), json!(false))]);
}

#[test]
fn folders_stand_for_the_keys_in_them() {
    let bucket = five();
    let list = |flags: &[&str]| run(&bucket, "s3 discover_objects --bucket b --delimiter /", flags).ok().json();
    assert_eq!(list(&[]), json!(["a.log", "logs/", "tmp/"]));
    assert_eq!(list(&["--prefix", "logs/"]), json!(["logs/a.txt", "logs/b.log", "logs/deep/"]));
    assert_eq!(list(&["--exclude", "logs/*"]), json!(["a.log", "tmp/"]));
    assert_eq!(list(&["--larger_than", "1"]), json!(["a.log"]), "a folder has no size");
    let details = list(&["--prefix", "logs/", "--details"]);
    assert_eq!((&details[0]["Key"], &details[2]), (&json!("logs/a.txt"), &json!({"Prefix": "logs/deep/"})));
}

#[test]
fn a_summary_counts_what_is_selected() {
    let bucket = five();
    let sum = |flags: &[&str]| run(&bucket, "s3 discover_objects --bucket b --summary", flags).ok().json();
    let expected = json!({
        "Objects": 5, "Bytes": 2_110 + (5 << 20), "DeleteMarkers": 0,
        "StorageClasses": [
            {"StorageClass": "GLACIER", "Objects": 1, "Bytes": 2_000},
            {"StorageClass": "STANDARD", "Objects": 3, "Bytes": 110},
            {"StorageClass": "STANDARD_IA", "Objects": 1, "Bytes": 5 << 20},
        ],
    });
    assert_eq!(sum(&[]), expected);
    assert_eq!(sum(&["--include", "nothing"]), json!({"Objects": 0, "Bytes": 0, "DeleteMarkers": 0, "StorageClasses": []}));
    let versions = FakeBucket::versioned(vec![Stored::marker("k", "v2"), Stored::new("k", 7).version("v1")], 10);
    let sum = run(&versions, "s3 discover_objects --bucket b --summary --versions", &[]).ok().json();
    assert_eq!((&sum["Objects"], &sum["Bytes"], &sum["DeleteMarkers"]), (&json!(1), &json!(7), &json!(1)));
}

// --- The question ---

#[test]
fn the_person_asked_is_told_how_much_it_is() {
    let bucket = five();
    let delete = |answer: &str| {
        let line = "s3 delete_objects --bucket b --matching --under logs/ --exclude *.txt";
        aaws(line).endpoint(&bucket.server.url).on_terminal(answer)
    };
    let asked = delete("n").exits(4);
    for words in ["delete 2 objects, 5.0 MiB, under `logs/` from the bucket `b`", "logs/deep/c d.log"] {
        assert!(asked.stdout.contains(words), "{words}: {asked}");
    }
    assert_eq!(bucket.keys(), ALL);
    delete("y").ok();
    assert_eq!(bucket.keys(), ["a.log", "logs/a.txt", "tmp/x"]);
}
