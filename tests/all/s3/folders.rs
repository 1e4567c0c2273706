//! `create_objects --from`: files and folders, what is selected of them, what they cannot give, and metadata.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::uploading::noise;
use crate::support::proxy::Proxy;
use crate::support::{Bucket, aaws, directory, moto, outcomes, report};

/// A folder `src` with these files, each holding its own name.
fn folder_with(names: &[&str]) -> TempDir {
    let directory = directory();
    fs::create_dir(directory.path().join("src")).expect("a folder");
    for name in names {
        write(&directory.path().join("src").join(name), name);
    }
    directory
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(path, text).expect("a file");
}

/// What the report says of each item: item, status and code.
fn told(directory: &TempDir) -> Vec<(String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut told: Vec<_> = report(directory).iter().map(|line| (text(&line["item"]), text(&line["status"]), text(&line["code"]))).collect();
    told.sort();
    told
}

#[test]
fn a_folder_goes_up_with_its_paths_for_keys() {
    let bucket = Bucket::new();
    let names = ["a.txt", "deep/er/b c.html", "é/日本.bin", "plus+100%&?#.txt", ".hidden"];
    let directory = folder_with(&names);
    fs::create_dir(directory.path().join("src/empty")).unwrap();
    let run = aaws(format!("s3 create_objects --bucket {bucket} --from src")).within(directory.path()).run().ok();
    assert_eq!(run.json(), json!([]));
    let mut expected = names.to_vec();
    expected.sort_by_key(|key| key.as_bytes());
    assert_eq!(bucket.keys(), expected);
    for name in names {
        assert_eq!(bucket.get(name).text(), name);
    }
    assert!(bucket.get("deep/er/b c.html").header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
}

#[test]
fn patterns_select_by_the_path_below_the_folder() {
    let bucket = Bucket::new();
    let directory = folder_with(&["a.txt", "b.log", "sub/c.txt", "sub/tmp/d.txt", "tmp/e.txt"]);
    aaws(format!("s3 create_objects --bucket {bucket} --prefix p --from src --include *.txt --exclude tmp/* */tmp/*"))
        .within(directory.path())
        .run()
        .ok();
    assert_eq!(bucket.keys(), ["p/a.txt", "p/sub/c.txt"]);
    let nothing = aaws(format!("s3 create_objects --bucket {bucket} --from src --include *.zip")).within(directory.path()).run().ok();
    assert_eq!(nothing.logs("nothing in it").json(), json!([]));
    // Without a folder they would select nothing, and exclusion of all leaves nothing.
    aaws(format!("s3 create_objects --bucket {bucket} --object k v --include *.txt")).run().exits(2).logs("`from`");
    aaws(format!("s3 create_objects --bucket {bucket} --from src --include a --exclude *"))
        .within(directory.path())
        .run()
        .exits(2)
        .logs("exclusion wins");
}

#[test]
fn several_files_and_folders_go_up_and_a_key_that_two_have_is_created_once() {
    let bucket = Bucket::new();
    let directory = folder_with(&["a.txt", "sub/b.txt"]);
    write(&directory.path().join("other/a.txt"), "another");
    write(&directory.path().join("single.txt"), "single");
    let line = format!("s3 create_objects --bucket {bucket} --from src other single.txt --report report.jsonl");
    let run = aaws(line).within(directory.path()).run().exits(3).logs("more than once");
    assert_eq!(run.json(), json!(["a.txt"]));
    assert_eq!(bucket.keys(), ["a.txt", "single.txt", "sub/b.txt"]);
    assert_eq!(bucket.get("a.txt").text(), "a.txt", "the first of them");
}

#[test]
fn what_a_folder_cannot_give_is_told_and_all_else_goes_up() {
    let bucket = Bucket::new();
    let directory = folder_with(&["good.txt", "closed.txt", "shut/in.txt", "out/side.txt"]);
    let source = directory.path().join("src");
    fs::rename(source.join("out"), directory.path().join("out")).unwrap();
    symlink(directory.path().join("out"), source.join("folder-link")).unwrap();
    symlink(directory.path().join("out/side.txt"), source.join("file-link.txt")).unwrap();
    symlink("nowhere", source.join("dangling")).unwrap();
    fs::write(source.join(OsStr::from_bytes(b"caf\xe9.txt")), "text").unwrap();
    fs::create_dir(source.join(OsStr::from_bytes(b"d\xe9"))).unwrap();
    assert!(Command::new("mkfifo").arg(source.join("pipe")).status().expect("mkfifo runs").success());
    fs::set_permissions(source.join("closed.txt"), Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(source.join("shut"), Permissions::from_mode(0o000)).unwrap();
    // Nothing is closed to root.
    let is_root = File::open(source.join("closed.txt")).is_ok();
    let line = format!("s3 create_objects --bucket {bucket} --from src --report report.jsonl");
    let run = aaws(&line).within(directory.path()).run().exits(3).logs("UTF-8").logs("link to a folder");
    let mut failing = vec!["caf\u{fffd}.txt", "d\u{fffd}/", "dangling", "folder-link/", "pipe"];
    let mut created = vec!["file-link.txt", "good.txt"];
    match is_root {
        true => created.extend(["closed.txt", "shut/in.txt"]),
        false => failing.extend(["closed.txt", "shut/"]),
    }
    failing.sort_unstable();
    created.sort_unstable();
    let failed: Vec<_> = told(&directory).into_iter().filter(|(_, status, _)| status == "failed").collect();
    let expected = failing.iter().map(|item| ((*item).to_owned(), "failed".to_owned(), "UnreadableFile".to_owned()));
    assert_eq!(failed, expected.collect::<Vec<_>>(), "{run}");
    assert_eq!(bucket.keys(), created);

    // What is excluded is not missed.
    let patterns = ["caf?.txt", "d?/", "dangling", "folder-link/*", "pipe", "closed.txt", "shut/*"];
    aaws(format!("s3 create_objects --bucket {bucket} --from src --exclude")).args(patterns).within(directory.path()).run().ok();
    fs::set_permissions(source.join("shut"), Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_path_that_is_not_there_sends_nothing() {
    let bucket = Bucket::new();
    let directory = folder_with(&["a.txt"]);
    for path in ["mistyped", "/dev/null"] {
        let run = aaws(format!("s3 create_objects --bucket {bucket} --from src {path}")).within(directory.path()).run();
        run.exits(2).silent().logs(path);
    }
    aaws(format!("s3 create_objects --bucket {bucket} --from")).arg("").run().exits(2).logs("empty");
    assert_eq!(bucket.keys(), [""; 0]);
}

#[test]
fn data_never_names_a_folder_of_this_machine() {
    let bucket = Bucket::new();
    let directory = folder_with(&["secret.txt"]);
    fs::write(directory.path().join("list.json"), r#"["src"]"#).unwrap();
    let run = |line: &str| aaws(format!("s3 create_objects --bucket {bucket} {line}")).within(directory.path());
    run("--input").arg(r#"{"from": ["src"]}"#).run().exits(2).silent().logs("`from[0]`").logs("came as data");
    run("--input -").stdin(r#"{"from": ["src"]}"#).run().exits(2).silent().logs("came as data");
    run("--from @list.json").run().exits(2).silent().logs("came as data");
    run("--from -").stdin("src\n").run().exits(2).silent().logs("came as data");
    for forged in [r#"{"$aaws_path": "src"}"#, r#"{"$aaws_typed": "src"}"#] {
        run("--input").arg(format!(r#"{{"from": [{forged}]}}"#)).run().exits(2).silent();
    }
    assert_eq!(bucket.keys(), [""; 0]);
}

#[test]
fn a_folder_is_planned_and_applied_where_somebody_allows_it() {
    let bucket = Bucket::new();
    let directory = folder_with(&["a.txt", "b.txt"]);
    let run = |line: String| aaws(line).within(directory.path()).run();
    let planned = run(format!("s3 create_objects --bucket {bucket} --from src --dry_run")).ok();
    assert_eq!(outcomes(&planned.json()), [("a.txt", "planned"), ("b.txt", "planned")]);
    run(format!("s3 create_objects --bucket {bucket} --from src --plan plan.jsonl")).ok();
    run("apply plan.jsonl".into()).exits(4).silent().logs("--local_files");
    assert_eq!(bucket.keys(), [""; 0]);
    write(&directory.path().join("src/b.txt"), "changed since");
    write(&directory.path().join("src/c.txt"), "new since");
    run("apply plan.jsonl --local_files".into()).exits(3);
    assert_eq!(bucket.keys(), ["a.txt"]);
}

#[test]
fn folders_go_to_a_sandbox_too() {
    let (sandbox, directory) = (directory(), folder_with(&["a b.txt", "sub/é.txt"]));
    let run = |line: &str| aaws(line).sandbox(sandbox.path()).within(directory.path()).run().ok().json();
    run("s3 create_objects --bucket example-bucket --prefix new --from src --cache_control no-store --metadata a=b");
    assert_eq!(run("s3 discover_objects --bucket example-bucket --prefix new/"), json!(["new/a b.txt", "new/sub/é.txt"]));
}

#[test]
fn a_policy_for_a_folder_is_of_all_below_the_prefix() {
    let policy = aaws("permissions s3 create_objects --bucket b --prefix p --from folder").run().ok();
    assert!(policy.stdout.contains("arn:aws:s3:::b/p/*"), "{policy}");
}

// --- Metadata ---

#[test]
fn metadata_and_headers_are_stored_with_small_and_large_objects() {
    let bucket = Bucket::new();
    let proxy = Proxy::to(moto::endpoint()).start();
    let directory = directory();
    fs::write(directory.path().join("film.mp4"), noise(20 << 20)).unwrap();
    aaws(format!("s3 create_objects --bucket {bucket} --object film film.mp4 --object page text"))
        .args(["--metadata", "Made-By=a = b", "--metadata", "empty=", "release=42"])
        .args(["--cache_control", "max-age=3600, public", "--content_encoding", "gzip"])
        .endpoint(&proxy.url)
        .within(directory.path())
        .run()
        .ok();
    for operation in ["PutObject", "CreateMultipartUpload"] {
        let request = proxy.requests(operation).remove(0);
        assert_eq!(request.header("x-amz-meta-made-by"), Some("a = b"), "{operation}");
        assert_eq!(request.header("cache-control"), Some("max-age=3600, public"), "{operation}");
        assert_eq!(request.header("content-encoding"), Some("gzip"), "{operation}");
    }
    for key in ["film", "page"] {
        let stored = bucket.get(key);
        assert_eq!((stored.header("x-amz-meta-made-by"), stored.header("x-amz-meta-release")), (Some("a = b"), Some("42")), "{key}");
    }
}

#[test]
fn metadata_that_no_header_holds_is_refused() {
    let run = |items: &[&str]| aaws("s3 create_objects --bucket b --object k v --metadata").args(items.iter().copied()).run();
    for item in ["no-value", "=value", "a b=c", "a=é", "a=b\nc: d"] {
        run(&[item]).exits(2).silent().logs("NAME=VALUE");
    }
    run(&["Name=a", "name=b"]).exits(2).silent().logs("more than once");
    let long = format!("name={}", "x".repeat(2_045));
    run(&[long.as_str()]).exits(2).silent().logs("2049 bytes");
    let header = |flag: &str, value: &str| aaws("s3 create_objects --bucket b --object k v").args([flag, value]).run().exits(2).silent();
    header("--cache_control", "no-store\r\nx-amz-acl: public-read").logs("header");
    header("--content_encoding", "").logs("empty");
}
