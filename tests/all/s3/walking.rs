//! `discover_objects` on large buckets: from several places at once, and the same keys as one page after another.

use std::time::Duration;

use serde_json::Value;

use crate::support::http::Request;
use crate::support::key_space::{KeySpace, SHAPES, Ways, names};
use crate::support::{Output, aaws};

fn store(keys: impl IntoIterator<Item = String>, ways: Ways) -> KeySpace {
    KeySpace::new(keys, ways, Duration::ZERO)
}

fn numbered(count: usize) -> Vec<String> {
    names("flat numbers", count)
}

fn discover(store: &KeySpace, flags: &str) -> Output {
    aaws(format!("s3 discover_objects --bucket b {flags}")).endpoint(&store.server.url).run()
}

/// The keys that were printed, one JSON string a line.
fn keys(output: &Output) -> Vec<String> {
    output.stdout.lines().map(|line| serde_json::from_str(line).expect("a key")).collect()
}

fn listed(store: &KeySpace, flags: &str) -> Vec<String> {
    keys(&discover(store, &format!("--output jsonl {flags}")).ok())
}

#[test]
fn a_small_bucket_takes_as_many_requests_as_it_has_pages() {
    for (count, most) in [(0, 1), (1, 1), (1000, 1), (1001, 3), (2000, 3)] {
        let store = store(numbered(count), Ways::S3);
        assert_eq!(listed(&store, ""), *store.keys);
        assert!(store.requests() <= most, "{} requests for {count} keys", store.requests());
    }
}

#[test]
fn a_large_bucket_is_listed_from_several_places_at_once_in_order() {
    for shape in SHAPES {
        let store = store(names(shape, 20_000), Ways::S3);
        assert_eq!(store.keys.len(), 20_000, "{shape}");
        assert_eq!(listed(&store, ""), *store.keys, "{shape}");
        let (requests, pages) = (store.requests(), store.pages());
        assert!(requests * 4 <= pages * 5, "{shape}: {requests} requests for {pages} pages");
        let places = store.server.requests("ListObjectsV2").iter().filter(|r| r.query("start-after").is_some()).count();
        assert!(places > 1, "{shape}: it is listed from one place");

        let mut any = listed(&store, "--unordered");
        any.sort();
        assert_eq!(any, *store.keys, "{shape}, in no order");
        let before = store.requests();
        assert_eq!(listed(&store, "--concurrency 1"), *store.keys, "{shape}, one after another");
        assert_eq!(store.requests() - before, store.pages(), "{shape}: one at a time walks by tokens alone");
    }
}

/// Keys and version ids that were printed.
fn listed_versions(store: &KeySpace, flags: &str) -> Vec<(String, String)> {
    let text = |row: &Value, member: &str| row[member].as_str().expect("a text").to_owned();
    let output = discover(store, &format!("--output jsonl --versions {flags}")).ok();
    let rows = output.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a version"));
    rows.map(|row| (text(&row, "Key"), text(&row, "VersionId"))).collect()
}

/// Up to five versions of most keys, none of some, and more than a page of one in the middle.
fn count(at: usize) -> usize {
    if at == 4000 { 2500 } else { at * 7 % 6 }
}

#[test]
fn versions_of_a_large_bucket_are_listed_from_several_places_at_once_in_order() {
    for shape in SHAPES {
        let store = KeySpace::versioned(names(shape, 9000), count, Ways::S3, Duration::ZERO);
        let versions = store.versions();
        assert!(versions.len() > 20_000, "{shape}");
        assert_eq!(listed_versions(&store, ""), versions, "{shape}");
        let (requests, pages) = (store.requests(), store.pages());
        assert!(requests * 4 <= pages * 5, "{shape}: {requests} requests for {pages} pages");
        let is_cut = |request: &&Request| request.query("key-marker").is_some() && request.query("version-id-marker").is_none();
        let places = store.server.requests("ListObjectVersions").iter().filter(is_cut).count();
        assert!(places > 1, "{shape}: it is listed from one place");

        let mut any = listed_versions(&store, "--unordered");
        any.sort();
        let mut sorted = versions.clone();
        sorted.sort();
        assert_eq!(any, sorted, "{shape}, in no order");
        let before = store.requests();
        assert_eq!(listed_versions(&store, "--concurrency 1"), versions, "{shape}, one after another");
        assert_eq!(store.requests() - before, store.pages(), "{shape}: one at a time walks by markers alone");
    }
}

#[test]
fn a_prefix_and_a_key_to_start_behind_are_those_of_versions_too() {
    let store = KeySpace::versioned(names("dates", 9000), count, Ways::S3, Duration::ZERO);
    let mut versions = store.versions();
    versions.retain(|(key, _)| key.starts_with("logs/2024/0"));
    assert_eq!(listed_versions(&store, "--prefix logs/2024/0"), versions);
    let asked = store.server.requests("ListObjectVersions");
    assert!(asked.iter().all(|request| request.query("prefix").as_deref() == Some("logs/2024/0")), "the prefix stays as it is given");
    // All that comes of the key is passed over.
    let after = store.keys[4000].clone();
    let mut versions = store.versions();
    versions.retain(|(key, _)| *key > after);
    assert_eq!(listed_versions(&store, &format!("--start_after {after}")), versions);
}

#[test]
fn versions_of_a_store_that_does_not_start_where_it_is_told_to_are_listed_by_its_markers() {
    for ways in [Ways::IgnoresStart, Ways::RefusesStart] {
        let store = KeySpace::versioned(numbered(9000), count, ways, Duration::ZERO);
        let versions = store.versions();
        assert_eq!(listed_versions(&store, ""), versions);
        assert!(store.requests() <= store.pages() + 1, "{} requests for {} pages", store.requests(), store.pages());
        assert_eq!(listed_versions(&store, "--unordered"), versions);
    }
}

#[test]
fn what_is_selected_is_the_same_from_several_places() {
    let store = store(names("dates", 20_000), Ways::S3);
    let prefix: Vec<&String> = store.keys.iter().filter(|key| key.starts_with("logs/2024/0")).collect();
    let found = listed(&store, "--prefix logs/2024/0");
    assert_eq!(found.iter().collect::<Vec<_>>(), prefix);
    let asked = store.server.requests("ListObjectsV2");
    assert!(asked.iter().all(|request| request.query("prefix").as_deref() == Some("logs/2024/0")), "the prefix stays as it is given");
    assert!(asked.iter().all(|request| request.query("delimiter").is_none()));

    let after = &store.keys[4321];
    assert_eq!(listed(&store, &format!("--start_after {after}")), store.keys[4322..]);
    assert_eq!(listed(&store, "--modified_before 2024-01-01"), [""; 0]);
    let details = discover(&store, "--details").ok().json();
    let details = details.as_array().expect("a list");
    assert_eq!(details.len(), 20_000);
    assert!(details.iter().zip(store.keys.iter()).all(|(object, key)| object["Key"] == key.as_str()));
}

#[test]
fn keys_of_any_characters_are_neither_lost_nor_doubled() {
    const LETTERS: [&str; 12] = ["a", "~", "/", " ", "é", "日", "\u{e000}", "\u{ffff}", "🦀", "🐍", "+", "%"];
    let letter = |n: usize| LETTERS[n % LETTERS.len()];
    let name = |n: usize| format!("{}{}{}{}", letter(n / 1728), letter(n / 144), letter(n / 12), letter(n));
    let store = store((0..LETTERS.len().pow(4)).map(name), Ways::S3);
    assert_eq!(store.keys.len(), 20_736);
    assert_eq!(listed(&store, ""), *store.keys);
}

#[test]
fn a_store_that_does_not_start_where_it_is_told_to_is_listed_by_its_tokens() {
    let store = store(numbered(10_000), Ways::IgnoresStart);
    assert_eq!(listed(&store, ""), *store.keys);
    assert!(store.requests() <= store.pages() + 1, "{} requests", store.requests());
    assert_eq!(listed(&store, "--unordered"), *store.keys);
}

#[test]
fn a_store_that_takes_no_key_to_start_behind_is_listed_by_its_tokens() {
    let store = store(numbered(10_000), Ways::RefusesStart);
    assert_eq!(listed(&store, ""), *store.keys);
    assert!(store.requests() <= store.pages() + 1, "{} requests", store.requests());
}

#[test]
fn a_directory_bucket_is_listed_by_its_tokens() {
    let store = store(numbered(5_000), Ways::Unordered);
    // Its name says what it is.
    let run = aaws("s3 discover_objects --bucket b--use1-az4--x-s3 --output jsonl").endpoint(&store.server.url);
    assert_eq!(keys(&run.run().ok()), *store.keys);
    assert_eq!(store.requests(), 5);
}

#[test]
fn a_token_that_comes_again_in_any_place_is_an_error() {
    let store = store(numbered(20_000), Ways::Circle);
    let output = discover(&store, "").exits(1).logs("`b`").logs("where it was before");
    assert!(serde_json::from_str::<Value>(&output.stdout).is_ok() || output.stdout.is_empty());
    assert!(store.requests() < 100, "{} requests", store.requests());
}
