//! What a listing keeps for the next one of the same place: where that is, what it is worth, and that nothing but speed depends on it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::aaws::Aaws;
use crate::support::key_space::{KeySpace, Ways, names};
use crate::support::{aaws, directory};

/// 40 pages that are answered in rounds: what is asked for at once is answered at about the same time.
fn store() -> KeySpace {
    KeySpace::new(names("flat numbers", 40_000), Ways::S3, Duration::from_millis(30))
}

fn discover(store: &KeySpace, cache: &Path, flags: &str) -> Aaws {
    aaws(format!("s3 discover_objects --bucket b --output jsonl {flags}")).endpoint(&store.server.url).env("XDG_CACHE_HOME", cache)
}

/// The keys that were printed, which were asked for anew.
#[track_caller]
fn listed(store: &KeySpace, run: Aaws) -> Vec<String> {
    store.server.forget();
    run.run().ok().stdout.lines().map(|line| serde_json::from_str(line).expect("a key")).collect()
}

/// The requests by now.
fn requests(store: &KeySpace) -> usize {
    store.server.requests("ListObjectsV2").len()
}

/// In how many places the first requests began: 19 are the first page, the second with a first cut, and a round of as many as there may be.
fn places(store: &KeySpace) -> usize {
    let first = store.server.requests("ListObjectsV2").into_iter().take(19);
    first.filter(|request| request.query("start-after").is_some() && request.query("continuation-token").is_none()).count()
}

/// The files that are kept.
fn files(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache.join("aaws/cuts")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn kept(cache: &Path) -> String {
    let files = files(cache);
    assert_eq!(files.len(), 1, "{files:?}");
    fs::read_to_string(&files[0]).expect("what is kept")
}

#[test]
fn the_second_listing_of_a_large_bucket_is_wide_from_its_beginning() {
    let (store, cache) = (store(), directory());
    assert_eq!(listed(&store, discover(&store, cache.path(), "")), *store.keys);
    assert!(places(&store) <= 9, "the first listing knows nothing: {} places", places(&store));
    for flags in ["", "--unordered", "--start_after key-00000100"] {
        let mut keys = listed(&store, discover(&store, cache.path(), flags));
        keys.sort();
        let from = if flags.contains("start_after") { 101 } else { 0 };
        assert_eq!(keys, store.keys[from..], "{flags}");
        assert!(places(&store) >= 11, "{flags}: only {} places", places(&store));
        assert!(requests(&store) * 4 <= store.pages() * 5, "{flags}: {} requests for {} pages", requests(&store), store.pages());
        assert_eq!(files(cache.path()).len(), 1, "{flags}: it is one place");
    }
}

#[test]
fn what_is_kept_is_a_few_beginnings_of_keys_that_nobody_else_can_read() {
    let (cache, page) = (directory(), Duration::from_millis(1));
    let keys = (0..40_000).map(|n| format!("customers/{n:08}/passport-of-somebody.pdf"));
    let store = KeySpace::new(keys, Ways::S3, page);
    let run = discover(&store, cache.path(), "--prefix customers/");
    assert_eq!(listed(&store, run), *store.keys);
    let text = kept(cache.path());
    assert!(text.len() < 4096, "{} bytes", text.len());
    assert!(!text.contains("customers") && !text.contains("passport"), "{text}");
    let file = &files(cache.path())[0];
    let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
    assert!(name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(file), mode(file.parent().expect("a folder"))), (0o600, 0o700));
}

#[test]
fn with_no_cache_nothing_is_kept_or_used() {
    let (store, cache) = (store(), directory());
    let with: [fn(Aaws) -> Aaws; 3] = [|run| run.arg("--no_cache"), |run| run.env("AAWS_NO_CACHE", "1"), |run| run.arg("--no-cache")];
    for with in with {
        assert_eq!(listed(&store, with(discover(&store, cache.path(), ""))), *store.keys);
        assert_eq!(fs::read_dir(cache.path()).expect("a folder").count(), 0);
    }
    assert_eq!(listed(&store, discover(&store, cache.path(), "")), *store.keys);
    let before = kept(cache.path());
    assert_eq!(listed(&store, discover(&store, cache.path(), "--no_cache")), *store.keys);
    assert!(places(&store) <= 9, "{} places", places(&store));
    assert_eq!(kept(cache.path()), before);
}

#[test]
fn the_setting_is_as_good_as_the_flag() {
    let (store, cache, folder) = (store(), directory(), directory());
    fs::write(folder.path().join("aaws.toml"), "no_cache = true\n").expect("settings");
    assert_eq!(listed(&store, discover(&store, cache.path(), "").within(folder.path())), *store.keys);
    assert_eq!(fs::read_dir(cache.path()).expect("a folder").count(), 0);
}

#[test]
fn a_cache_folder_that_cannot_be_used_is_no_error() {
    let store = store();
    let place = directory();
    let file = place.path().join("file");
    fs::write(&file, "no folder").expect("a file");
    let closed = place.path().join("closed");
    fs::create_dir_all(closed.join("aaws/cuts")).expect("a folder");
    fs::set_permissions(closed.join("aaws"), fs::Permissions::from_mode(0o000)).expect("permissions");
    for cache in [file.as_path(), closed.as_path(), Path::new("/proc/nowhere")] {
        let run = discover(&store, cache, "").run().ok();
        assert!(!run.stderr.contains("cuts"), "{run}");
        assert_eq!(run.stdout.lines().count(), store.keys.len());
    }
    fs::set_permissions(closed.join("aaws"), fs::Permissions::from_mode(0o700)).expect("permissions");
}

/// A cache that a listing has left, and its file.
fn left(store: &KeySpace) -> (TempDir, PathBuf) {
    let cache = directory();
    assert_eq!(listed(store, discover(store, cache.path(), "")), *store.keys);
    let file = files(cache.path()).pop().expect("a file");
    (cache, file)
}

#[test]
fn a_file_that_is_torn_foreign_or_hostile_costs_only_requests() {
    let store = KeySpace::new(names("flat numbers", 20_000), Ways::S3, Duration::from_millis(1));
    let (cache, file) = left(&store);
    let whole = fs::read(&file).expect("what is kept");
    let same = format!(r#"{{"format":1,"cuts":[{}]}}"#, vec![r#"[2750,"key-00005"]"#; 48].join(","));
    let mut close: Vec<String> = (0..48).map(|n| format!(r#"[0,"key-00005000{n:02}"]"#)).collect();
    let near = format!(r#"{{"format":1,"cuts":[{}]}}"#, close.join(","));
    close.reverse();
    let reversed = format!(r#"{{"format":1,"cuts":[{}]}}"#, close.join(","));
    let large = vec![b'['; 1 << 20];
    let texts: [&[u8]; 9] = [
        &whole[..whole.len() / 2],
        b"",
        b"\xff\xff\xff\xff",
        b"key-00005000\nkey-00010000\n",
        br#"{"format":1,"cuts":[[18446744073709551615,"z"],[1,""],[1,"a"],[1,"key-\u0000"],[1,"key-00010"],[1,"\udbff\udfff"]]}"#,
        same.as_bytes(),
        near.as_bytes(),
        reversed.as_bytes(),
        &large,
    ];
    for text in texts {
        let shown = String::from_utf8_lossy(&text[..text.len().min(60)]).into_owned();
        for flags in ["", "--unordered"] {
            fs::write(&file, text).expect("a file");
            let mut keys = listed(&store, discover(&store, cache.path(), flags));
            if flags == "--unordered" {
                keys.sort();
            }
            assert_eq!(keys, *store.keys, "{flags} {shown}");
            assert!(requests(&store) <= store.pages() + 5 + 48, "{flags} {shown}: {} requests", requests(&store));
            assert!(serde_json::from_slice::<serde_json::Value>(&fs::read(&file).expect("a file")).is_ok(), "it is mended: {shown}");
        }
    }
    // What is no file is left alone.
    fs::remove_file(&file).expect("it is there");
    fs::create_dir(&file).expect("a folder");
    assert_eq!(listed(&store, discover(&store, cache.path(), "")), *store.keys);
}

#[test]
fn each_place_has_a_file_of_its_own() {
    let store = KeySpace::versioned(names("flat numbers", 20_000), |_| 1, Ways::S3, Duration::from_millis(1));
    let cache = directory();
    for (number, flags) in ["", "--prefix key-", "--versions", "--expected_bucket_owner 123456789012"].into_iter().enumerate() {
        discover(&store, cache.path(), flags).run().ok();
        assert_eq!(files(cache.path()).len(), number + 1, "{flags}");
    }
    let other = self::store();
    discover(&other, cache.path(), "").run().ok();
    assert_eq!(files(cache.path()).len(), 5, "another endpoint");
}

#[test]
fn nothing_is_kept_of_what_is_walked_by_tokens_or_not_read_to_its_end() {
    let cache = directory();
    let quick = |ways| KeySpace::new(names("flat numbers", 20_000), ways, Duration::from_millis(1));
    for ways in [Ways::IgnoresStart, Ways::RefusesStart] {
        let store = quick(ways);
        assert_eq!(listed(&store, discover(&store, cache.path(), "")), *store.keys);
    }
    let store = quick(Ways::S3);
    for flags in ["--concurrency 1", "--limit 10", "--start_after key-00000500"] {
        discover(&store, cache.path(), flags).run().ok();
    }
    let unordered = quick(Ways::Unordered);
    let run = aaws("s3 discover_objects --bucket b--use1-az4--x-s3").endpoint(&unordered.server.url);
    run.env("XDG_CACHE_HOME", cache.path()).run().ok();
    let small = KeySpace::new(names("flat numbers", 3000), Ways::S3, Duration::ZERO);
    discover(&small, cache.path(), "").run().ok();
    assert!(files(cache.path()).is_empty(), "{:?}", files(cache.path()));
}

#[test]
fn a_deletion_begins_with_what_is_kept_and_keeps_nothing_of_what_it_deletes() {
    let (store, cache) = (store(), directory());
    let delete = |flags: &str| {
        store.server.forget();
        let run = aaws(format!("s3 delete_objects --bucket b --matching --whole_bucket --silent {flags}")).endpoint(&store.server.url);
        run.env("XDG_CACHE_HOME", cache.path()).run().ok()
    };
    delete("--yes");
    assert_eq!(store.take_deleted(), store.keys.len());
    assert!(files(cache.path()).is_empty(), "{:?}", files(cache.path()));
    // A dry run is followed by the run.
    delete("--dry_run");
    let before = kept(cache.path());
    delete("--yes");
    assert_eq!(store.take_deleted(), store.keys.len());
    assert!(places(&store) >= 10, "only {} places", places(&store));
    assert_eq!(kept(cache.path()), before);
}

#[test]
fn a_sandbox_needs_none() {
    let (cache, sandbox) = (directory(), directory());
    let run = aaws("s3 discover_objects --bucket example-bucket").sandbox(sandbox.path()).env("XDG_CACHE_HOME", cache.path());
    run.run().ok();
    assert_eq!(fs::read_dir(cache.path()).expect("a folder").count(), 0);
}
