//! What one action prints and another reads: exactly the names that it was, whatever they hold.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{aaws, directory, fake_s3};

/// The formats that a list flag reads back.
const EXACT: [&str; 4] = ["json", "jsonl", "yaml", "text"];

/// What names are made of here: all that a format of lists or a terminal might take for something else.
const PIECES: [&str; 67] = [
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "[\"x\"]",
    "\"victim\"",
    "{\"Key\":\"k\"}",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\u{1}",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{85}",
    "\u{9b}",
    "\u{2028}",
    "\u{202e}",
    "\u{200b}",
    "\u{feff}",
    "\u{fffe}",
    "\u{e0041}",
    " ",
    "  ",
    "\u{a0}",
    "\u{3000}",
    "- ",
    "-",
    "- x",
    "---",
    "...",
    "value",
    "Key",
    "Key,Size",
    "Key  Size",
    "item,status",
    "yes",
    "No",
    "null",
    "~",
    "true",
    "1e3",
    "0x1F",
    "12:30",
    "2024-01-31",
    ":",
    ": ",
    "#",
    " #",
    ",",
    "\\",
    "\\n",
    "@",
    "&",
    "*",
    "!",
    "|",
    ">",
    "%",
    "%0A",
    "`",
    "=1+1",
    "/",
    "é/日本",
    "🦀",
];

/// 200 names: each piece by itself, and pieces put together at random, the same in each run.
fn names() -> BTreeSet<String> {
    let mut random = fastrand::Rng::with_seed(20_240_131);
    let mut names: BTreeSet<String> = PIECES.iter().map(|piece| (*piece).to_owned()).collect();
    while names.len() < 200 {
        names.insert((0..random.usize(2..7)).map(|_| PIECES[random.usize(..PIECES.len())]).collect());
    }
    names
}

/// A sandbox that holds those names; and which it holds, in order. A key that the sandbox refuses is left out.
fn sandbox() -> (TempDir, Vec<String>) {
    let sandbox = directory();
    let lines: String = names().iter().map(|name| json!({ "Key": name, "Body": "x" }).to_string() + "\n").collect();
    aaws("s3 create_objects --bucket example-bucket --objects -").sandbox(sandbox.path()).stdin(lines).run();
    let held = aaws("s3 discover_objects --bucket example-bucket").sandbox(sandbox.path()).run().ok().json();
    let held: Vec<String> = serde_json::from_value(held).expect("a list of keys");
    let awkward = names().iter().filter(|name| held.contains(name)).count();
    assert!(awkward > 150, "the sandbox holds only {awkward} of the names");
    (sandbox, held)
}

/// What a dry run of a deletion says that it would delete, of a list given on standard input.
fn selected(sandbox: &TempDir, list: &str) -> Vec<String> {
    let run = aaws("s3 delete_objects --bucket example-bucket --dry_run --objects -").sandbox(sandbox.path()).stdin(list).run().ok();
    let outcomes = run.json();
    outcomes.as_array().expect("a list").iter().map(|outcome| outcome["item"].as_str().expect("an item").to_owned()).collect()
}

#[test]
fn any_name_goes_through_a_pipe_as_it_is() {
    let (sandbox, held) = sandbox();
    for format in EXACT {
        let line = format!("s3 discover_objects --bucket example-bucket --output {format}");
        let printed = aaws(line).sandbox(sandbox.path()).run().ok().stdout;
        let read = selected(&sandbox, &printed);
        for (name, read) in held.iter().zip(&read) {
            assert_eq!(read, name, "through {format}");
        }
        assert_eq!(read.len(), held.len(), "through {format}");
    }
}

#[test]
fn the_first_name_of_a_list_does_not_change_what_the_list_is() {
    let (sandbox, held) = sandbox();
    for name in ["value", "Key,Size", "Key  Size", "item,status", "---", "- ", "\"victim\"", "[\"x\"]", "{\"Key\":\"k\"}", "\u{feff}"] {
        assert!(held.iter().any(|key| key == name), "the sandbox does not hold {name:?}");
        for format in EXACT {
            let line = format!("s3 discover_objects --bucket example-bucket --output {format} --query");
            let query = format!("[?@ == `{}`]", json!(name));
            let printed = aaws(line).arg(query).sandbox(sandbox.path()).run().ok().stdout;
            assert_eq!(selected(&sandbox, &printed), [name], "through {format}: {printed}");
        }
    }
}

#[test]
fn details_are_read_as_the_names_they_are_of() {
    let (sandbox, held) = sandbox();
    for format in ["json", "jsonl", "yaml"] {
        let line = format!("s3 discover_objects --bucket example-bucket --details --output {format}");
        let printed = aaws(line).sandbox(sandbox.path()).run().ok().stdout;
        assert_eq!(selected(&sandbox, &printed), held, "through {format}");
    }
    // As jq prints them, a member a line.
    assert_eq!(selected(&sandbox, "{\n  \"Key\": \"a\",\n  \"Size\": 1\n}\n{\n  \"Key\": \"b\"\n}\n"), ["a", "b"]);
    let input = json!({"bucket": "example-bucket", "objects": ["a", {"Key": "b", "Size": 1}]}).to_string();
    let run = aaws("s3 delete_objects --dry_run --input").arg(input).sandbox(sandbox.path()).run().ok().json();
    assert_eq!(run.as_array().expect("a list").iter().map(|o| o["item"].clone()).collect::<Vec<Value>>(), [json!("a"), json!("b")]);
}

#[test]
fn an_object_that_does_not_say_which_is_meant_is_refused() {
    for list in ["[\"a\", {\"Size\": 1}]", "a\n{\"Size\": 1}\n", "- a\n- Size: 1\n", "a\n{\"Key\": null}\n", "a\n[\"b\"]\n"] {
        let server = fake_s3::scripted([]);
        let run = aaws("s3 delete_objects --bucket b --objects -").stdin(list).endpoint(&server.url).run().exits(2).silent();
        assert!(run.stderr.contains("`objects`") && (run.stderr.contains("`Key`") || run.stderr.contains("array")), "{run}");
        assert_eq!(server.operations(), [""; 0]);
    }
}

#[test]
fn what_is_printed_for_people_selects_nothing() {
    let sandbox = directory();
    for format in ["csv", "table"] {
        for line in ["discover_objects", "discover_objects --details", "delete_objects --objects logs/a.txt logs/b.txt --dry_run"] {
            let (action, flags) = line.split_once(' ').unwrap_or((line, ""));
            let line = format!("s3 {action} --bucket example-bucket {flags} --output {format}");
            let printed = aaws(line).sandbox(sandbox.path()).run().ok().stdout;
            assert!(printed.lines().count() > 1, "nothing to delete in {printed}");
            let run = aaws("s3 delete_objects --bucket example-bucket --objects -").sandbox(sandbox.path()).stdin(printed);
            run.run().exits(2).silent().logs("--output csv or table");
        }
    }
}

#[test]
fn text_with_several_members_in_a_line_selects_nothing() {
    let sandbox = directory();
    let printed = aaws("s3 discover_objects --bucket example-bucket --details --output text").sandbox(sandbox.path()).run().ok().stdout;
    assert!(printed.contains('\t'), "{printed}");
    let run = aaws("s3 delete_objects --bucket example-bucket --objects -").sandbox(sandbox.path()).stdin(printed);
    run.run().exits(2).silent().logs("several members in a line");
}

#[test]
fn a_spreadsheet_gets_no_formula() {
    let names = [("%3D1%2B1", "=1+1"), ("%2B1", "+1"), ("-1", "-1"), ("%40SUM%28A1%29", "@SUM(A1)")];
    let page: Vec<_> = names.iter().map(|(encoded, _)| (*encoded, "2024-01-01T00:00:00.000Z")).collect();
    let server = fake_s3::scripted([("ListObjectsV2", vec![fake_s3::listing(&page, None)])]);
    for flags in ["", "--details"] {
        let run = aaws(format!("s3 discover_objects --bucket b --output csv {flags}")).endpoint(&server.url).run().ok();
        let rows: Vec<&str> = run.stdout.lines().skip(1).collect();
        assert_eq!(rows.len(), names.len(), "{run}");
        for (row, (_, name)) in rows.iter().zip(names) {
            assert!(row.starts_with(&format!("'{name}")), "{run}");
        }
    }
}
