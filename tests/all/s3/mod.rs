//! The S3 actions, end to end: on moto, on the sandbox, and on servers that answer what neither of them would.

mod cuts;
mod deleting;
mod exact;
mod faults;
mod folders;
mod listing;
mod piping;
mod selecting;
mod servers;
mod undoing;
mod uploading;
mod versions;
mod walking;

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Bucket, aaws, directory, shell};

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

#[test]
fn the_sandbox_follows_no_link_out_of_its_folder() {
    let (sandbox, outside) = (directory(), directory());
    sandbox_keys(&sandbox);
    fs::write(outside.path().join("victim"), "precious").unwrap();
    let data = sandbox.path().join("example-bucket/data");
    fs::remove_dir_all(&data).unwrap();
    std::os::unix::fs::symlink(outside.path(), &data).unwrap();
    aaws("s3 delete_objects --bucket example-bucket --objects victim").sandbox(sandbox.path()).run().exits(3).logs("link");
    aaws("s3 discover_objects --bucket example-bucket").sandbox(sandbox.path()).run().exits(1).logs("link");
    assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "precious");
}
