//! What holds for every action that lists: columns, order and number of rows, tables for people, and findings for pipelines.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::aaws::Aaws;
use crate::support::fake_s3::{listing, scripted};
use crate::support::http::{Response, Server};
use crate::support::key_space::{KeySpace, Ways, names};
use crate::support::{aaws, directory};

/// A sandbox with three objects of different sizes.
fn three() -> TempDir {
    let sandbox = directory();
    aaws("s3 delete_objects --bucket example-bucket --matching --whole_bucket").sandbox(sandbox.path()).run().ok();
    for (key, size) in [("b.txt", 2048), ("a.txt", 10), ("c.txt", 1_572_864)] {
        let body = "x".repeat(size);
        let object = json!([{ "Key": key, "Body": body }]).to_string();
        aaws("s3 create_objects --bucket example-bucket --objects -").sandbox(sandbox.path()).stdin(object).run().ok();
    }
    sandbox
}

fn list(sandbox: &TempDir, flags: &str) -> Aaws {
    aaws(format!("s3 discover_objects --bucket example-bucket {flags}")).sandbox(sandbox.path())
}

/// A file beside the sandbox that holds this.
fn file(sandbox: &TempDir, text: &str) -> String {
    let file = sandbox.path().join("baseline");
    std::fs::write(&file, text).expect("written");
    file.display().to_string()
}

#[test]
fn columns_are_members_of_the_details_which_they_ask_for() {
    let sandbox = three();
    let rows = list(&sandbox, "--columns size,key --limit 1").run().ok().json();
    assert_eq!(rows.to_string(), r#"[{"Size":10,"Key":"a.txt"}]"#);
    let csv = list(&sandbox, "--columns key --columns Size --output csv").run().ok().stdout;
    assert_eq!(csv, "Key,Size\na.txt,10\nb.txt,2048\nc.txt,1572864\n");
    let output = list(&sandbox, "--columns colour").run().exits(2);
    assert!(output.stderr.contains("there is no column `colour`") && output.stderr.contains("`LastModified`"), "{output}");
    assert_eq!(output.stdout, "");
    // What needs other rows than those with details is not taken from who asked for it.
    let output = list(&sandbox, "--summary --limit 1").run().ok();
    assert_eq!(output.json()["Objects"], json!(3), "{output}");
}

#[test]
fn rows_are_sorted_and_cut() {
    let sandbox = three();
    let keys = |flags: &str| {
        let rows = list(&sandbox, flags).run().ok().json();
        rows.as_array().into_iter().flatten().map(|row| row["Key"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys("--sort_by size"), ["a.txt", "b.txt", "c.txt"]);
    assert_eq!(keys("--sort_by -size"), ["c.txt", "b.txt", "a.txt"]);
    assert_eq!(keys("--sort_by=-Size --limit 2"), ["c.txt", "b.txt"]);
    assert_eq!(list(&sandbox, "--limit 2").run().ok().json(), json!(["a.txt", "b.txt"]));
    assert_eq!(list(&sandbox, "--limit 0").run().ok().json(), json!([]));
    for wrong in ["--limit -1", "--limit many", "--limit 1 --query @"] {
        list(&sandbox, wrong).run().exits(2);
    }
}

#[test]
fn a_limit_ends_the_listing() {
    let store = KeySpace::new(names("flat numbers", 50_000), Ways::S3, Duration::ZERO);
    let run = aaws("s3 discover_objects --bucket b --limit 5 --concurrency 1").endpoint(&store.server.url).run().ok();
    assert_eq!(run.json(), json!(store.keys[..5]));
    assert!(store.requests() < 10, "{} requests of {} pages", store.requests(), store.pages());
}

#[test]
fn a_table_on_a_terminal_is_for_people() {
    let sandbox = three();
    let shown = list(&sandbox, "--output table --sort_by -size").on_terminal_with(&["--columns", "100"], "").stdout;
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert!(lines[0].starts_with(" Key") && lines[0].contains("Size") && lines[0].contains("LastModified"), "{shown}");
    // Details, sizes with their units and aligned at the right, times to the minute, and how many there are.
    let ends: Vec<usize> = ["1.5 MiB", "2 KiB", "10 B"]
        .into_iter()
        .zip(&lines[1..])
        .map(|(size, line)| line.find(size).unwrap_or_else(|| panic!("no {size} in {shown}")) + size.len())
        .collect();
    assert!(ends.iter().all(|end| *end == ends[0]), "{shown}");
    assert!(lines[1].contains(" 20") && !shown.contains("Z "), "{shown}");
    assert_eq!(lines.last().copied().map(|l| l.starts_with("3 rows")), Some(true), "{shown}");
    assert!(lines.iter().all(|line| line.chars().count() <= 100), "{shown}");
    // What does not fit is left out and named; what is chosen is shown.
    let narrow = list(&sandbox, "--output table").on_terminal_with(&["--columns", "40"], "").stdout;
    assert!(narrow.lines().all(|line| line.starts_with("3 rows") || line.trim_end().chars().count() <= 40), "{narrow}");
    assert!(narrow.contains("no room for") && narrow.contains("StorageClass"), "{narrow}");
    let none = list(&sandbox, "--output table --prefix none/").on_terminal_with(&[], "").stdout;
    assert_eq!(none.trim(), "0 rows");
}

/// The lines that a terminal of so many columns shows of a command, without the blanks at their ends.
fn seen(command: Aaws, columns: &str) -> Vec<String> {
    let shown = command.on_terminal_with(&["--columns", columns, "--stderr", "/dev/null"], "").stdout;
    shown.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn a_long_name_leaves_room_for_what_is_told_of_it() {
    let sandbox = three();
    let long = format!("exports/{}/part-00000.parquet", "year=2026/".repeat(10));
    let body = json!([{ "Key": long, "Body": "xyz" }]).to_string();
    aaws("s3 create_objects --bucket example-bucket --objects -").sandbox(sandbox.path()).stdin(body).run().ok();
    let lines = seen(list(&sandbox, "--output table"), "100");
    assert!(lines[0].contains("Size") && lines[0].contains("LastModified"), "{lines:?}");
    assert!(lines[..lines.len() - 1].iter().all(|line| line.chars().count() <= 100), "{lines:?}");
    // The name is whole: it goes on in the next line.
    let at = lines.iter().position(|line| line.contains("3 B")).unwrap_or_else(|| panic!("{lines:?}"));
    let name: String = lines[at..=at + 2].iter().map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
    assert!(name.starts_with(&long), "{name} and {lines:?}");
}

#[test]
fn folders_stand_among_the_objects_by_their_prefixes() {
    let sandbox = three();
    let body = json!([{ "Key": "logs/2024/a.txt", "Body": "xyz" }]).to_string();
    aaws("s3 create_objects --bucket example-bucket --objects -").sandbox(sandbox.path()).stdin(body).run().ok();
    let lines = seen(list(&sandbox, "--delimiter / --output table"), "100");
    assert!(lines[0].starts_with(" Key ") && !lines[0].contains("Prefix"), "{lines:?}");
    assert!(lines.iter().any(|line| line == " logs/"), "{lines:?}");
}

#[test]
fn what_all_rows_have_is_said_once_where_columns_have_no_room() {
    let sandbox = three();
    let body = json!([{ "Key": "d.txt", "Body": "xyz" }]).to_string();
    aaws("s3 create_objects --bucket example-bucket --objects -").sandbox(sandbox.path()).stdin(body).run().ok();
    let narrow = seen(list(&sandbox, "--output table"), "60");
    assert!(!narrow[0].contains("StorageClass"), "{narrow:?}");
    assert!(narrow.last().is_some_and(|line| line.starts_with("4 rows, each with StorageClass STANDARD")), "{narrow:?}");
    // Where there is room, and of a few rows, it is a column.
    let wide = seen(list(&sandbox, "--output table"), "150");
    assert!(wide[0].contains("StorageClass") && wide.last().is_some_and(|line| line == "4 rows"), "{wide:?}");
    let few = seen(list(&sandbox, "--output table --limit 3"), "60");
    assert!(few.last().is_some_and(|line| !line.contains("each with")), "{few:?}");
}

#[test]
fn what_is_said_of_all_rows_is_not_taken_for_more_than_one_value() {
    let object = |n: usize| {
        format!(
            "<Contents><Key>{n}</Key><LastModified>2024-01-0{}T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>{n}</Size>\
             <StorageClass>A, Size 9 B; none</StorageClass></Contents>",
            n + 1
        )
    };
    let objects: String = (0..4).map(object).collect();
    let page = format!(
        "<ListBucketResult><Name>b</Name><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>{objects}</ListBucketResult>"
    );
    let server = scripted([("ListObjectsV2", vec![Response::xml(200, page)])]);
    let lines = seen(aaws("s3 discover_objects --bucket b --output table").endpoint(&server.url), "40");
    assert!(lines.last().is_some_and(|line| line.contains(r#"StorageClass "A, Size 9 B; none""#)), "{lines:?}");
}

#[test]
fn later_rows_have_the_room_that_the_first_ones_left() {
    let when = "2024-01-01T00:00:00.000Z";
    let short: Vec<String> = (0..1000).map(|n| format!("{n:04}")).collect();
    let first: Vec<(&str, &str)> = short.iter().map(|key| (key.as_str(), when)).collect();
    let long = "exports/2026/part-00000-of-00017.snappy.parquet";
    let last = format!(
        "<ListBucketResult><Name>b</Name><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><Contents><Key>{long}</Key>\
         <LastModified>{when}</LastModified><ETag>&quot;e&quot;</ETag><Size>2000</Size><StorageClass>STANDARD</StorageClass></Contents>\
         </ListBucketResult>"
    );
    let shown = |columns: &str| {
        let server = scripted([("ListObjectsV2", vec![listing(&first, Some("t")), Response::xml(200, last.clone())])]);
        seen(aaws("s3 discover_objects --bucket b --concurrency 1 --output table").endpoint(&server.url), columns)
    };
    let wide = shown("200");
    let row = wide.iter().find(|line| line.contains("exports/")).unwrap_or_else(|| panic!("{wide:?}"));
    assert!(row.starts_with(&format!(" {long}  2.0 KiB  ")), "{row}");
    assert_eq!(wide.len(), 1003, "a line for each row, their names and their number");
    // Where there is less, a size is whole, and the name goes on in the next line.
    let narrow = shown("60");
    let row = narrow.iter().find(|line| line.contains("exports/")).unwrap_or_else(|| panic!("{narrow:?}"));
    assert!(row.contains("  2.0 KiB  2024-01-01 00:00"), "{row}");
    assert!(narrow.iter().rev().skip(1).all(|line| line.chars().count() <= 60), "{narrow:?}");
    assert!(narrow.len() < 1010, "{narrow:?}");
}

#[test]
fn wide_characters_take_the_columns_that_a_terminal_gives_them() {
    let sandbox = three();
    let body = json!([{ "Key": "資料/報告書.pdf", "Body": "xyz" }, { "Key": "Übersicht.pdf", "Body": "xyz" }]).to_string();
    aaws("s3 create_objects --bucket example-bucket --objects -").sandbox(sandbox.path()).stdin(body).run().ok();
    let lines = seen(list(&sandbox, "--output table --columns key,size"), "100");
    // Each of the five takes two columns.
    let end = |line: &str| line.chars().map(|c| if ('\u{2e80}'..='\u{9fff}').contains(&c) { 2 } else { 1 }).sum::<usize>();
    let of = |name: &str| lines.iter().find(|line| line.contains(name)).map(|line| end(line)).unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!(of("資料"), of("Übersicht"), "{lines:?}");
    assert_eq!(of("資料"), of("c.txt"), "{lines:?}");
}

#[test]
fn one_thing_is_shown_from_top_to_bottom_on_a_terminal() {
    let sandbox = three();
    let lines = seen(list(&sandbox, "--summary --output table"), "40");
    assert_eq!(lines[..2], [format!(" {:14}  3", "Objects"), format!(" {:14}  1574922", "Bytes")]);
    let piped = list(&sandbox, "--summary --output table").run().ok().stdout;
    assert!(piped.lines().next().is_some_and(|line| line.contains("Objects") && line.contains("Bytes")), "{piped}");
}

#[test]
fn a_table_in_a_pipe_is_what_was_asked_for() {
    let sandbox = three();
    assert_eq!(list(&sandbox, "--output table").run().ok().stdout, " value\n a.txt\n b.txt\n c.txt\n");
    let details = list(&sandbox, "--output table --columns key,size").run().ok().stdout;
    assert!(details.contains("1572864") && !details.contains("rows"), "{details}");
}

#[test]
fn what_is_found_can_be_a_failure() {
    let sandbox = three();
    let found = list(&sandbox, "--fail_on_findings").run().exits(6);
    assert_eq!(found.json(), json!(["a.txt", "b.txt", "c.txt"]));
    assert_eq!(list(&sandbox, "--fail_on_findings --prefix none/").run().ok().json(), json!([]));
    let help = aaws("s3 discover_objects --help").run().ok().stdout;
    assert!(help.contains("  6  something was found"), "{help}");
    // What lists nothing has nothing to find.
    aaws("s3 delete_objects --bucket b --objects a --fail_on_findings").run().exits(2);
    let described = aaws("describe s3 delete_objects").run().ok().json();
    assert!(!described["exit_codes"].to_string().contains("fail_on_findings"));
}

#[test]
fn a_baseline_leaves_what_is_new() {
    let sandbox = three();
    for known in ["[\"a.txt\", \"gone.txt\"]", "a.txt\ngone.txt\n", "{\"Key\": \"a.txt\", \"Size\": 99}\n{\"Key\": \"gone.txt\"}\n"] {
        let known = file(&sandbox, known);
        for (flags, name) in [("", None), ("--details", Some("Key"))] {
            let run = list(&sandbox, &format!("{flags} --baseline {known} --fail_on_findings")).run().exits(6);
            let rows = run.json();
            let names: Vec<&Value> = rows.as_array().into_iter().flatten().map(|row| name.map_or(row, |name| &row[name])).collect();
            assert_eq!(names, ["b.txt", "c.txt"], "{run}");
            assert!(run.stderr.contains("2 new, 1 known, 1 gone: gone.txt"), "{run}");
        }
    }
    // The run itself is a baseline in which nothing is new.
    let all = file(&sandbox, &list(&sandbox, "--details").run().ok().stdout);
    let run = list(&sandbox, &format!("--baseline {all} --fail_on_findings")).run().ok();
    assert_eq!(run.json(), json!([]));
    assert!(run.stderr.contains("0 new, 3 known, 0 gone"), "{run}");
}

#[test]
fn a_baseline_that_cannot_be_read_lists_nothing() {
    let sandbox = three();
    let broken = file(&sandbox, "[\"a.txt\",");
    for flags in ["--baseline /nowhere/at/all".to_owned(), "--baseline=".to_owned(), format!("--baseline {broken}")] {
        let run = list(&sandbox, &flags).run().exits(2);
        assert_eq!(run.stdout, "", "{run}");
    }
    // Half a listing says nothing of what is gone.
    let known = file(&sandbox, "[\"gone.txt\"]");
    let run = list(&sandbox, &format!("--limit 1 --baseline {known}")).run().ok();
    assert!(!run.stderr.contains("gone"), "{run}");
}

#[test]
fn a_column_is_shown_once_and_none_is_not_all_of_them() {
    let sandbox = three();
    let rows = list(&sandbox, "--columns key,Size,KEY --limit 1").run().ok().json();
    assert_eq!(rows.to_string(), r#"[{"Key":"a.txt","Size":10}]"#);
    for flag in ["columns", "sort_by"] {
        for nothing in ["", ",", " "] {
            let run = list(&sandbox, "").arg(format!("--{flag}={nothing}")).run().exits(2).silent();
            run.logs(&format!("`{flag}` is empty"));
        }
    }
}

#[test]
fn columns_of_rows_that_have_none_are_refused() {
    let sandbox = three();
    for (flags, said) in [
        ("--details=false --columns size", "`columns` needs"),
        ("--details=false --sort_by size", "`sort_by` needs"),
        ("--summary --columns size", "`columns` needs"),
        ("--name_only --sort_by -size --limit 1", "`sort_by` needs"),
    ] {
        list(&sandbox, flags).run().exits(2).silent().logs(said);
    }
}

#[test]
fn a_limit_hides_no_finding_and_no_error() {
    let sandbox = three();
    assert_eq!(list(&sandbox, "--limit 0 --fail_on_findings").run().exits(6).json(), json!([]));
    assert_eq!(list(&sandbox, "--limit 0 --fail_on_findings --prefix none/").run().ok().json(), json!([]));
    let denied = scripted([("ListObjectsV2", vec![Response::error(403, "AccessDenied")])]);
    aaws("s3 discover_objects --bucket b --limit 0").endpoint(&denied.url).run().exits(1).silent().logs("AccessDenied");
    // The greatest of what came before the error may not be the greatest.
    let page = listing(&[("a", "2024-01-01T00:00:00.000Z")], Some("t"));
    let half = scripted([("ListObjectsV2", vec![page, Response::error(403, "AccessDenied")])]);
    let line = "s3 discover_objects --bucket b --concurrency 1 --sort_by -size --limit 1";
    aaws(line).endpoint(&half.url).run().exits(1).logs("AccessDenied");
}

#[test]
fn what_gives_no_list_has_not_found_nothing() {
    let sandbox = three();
    let known = file(&sandbox, "[\"a.txt\"]");
    for flags in ["--fail_on_findings".to_owned(), format!("--baseline {known}")] {
        let run = list(&sandbox, &format!("--summary {flags}")).run().exits(1).silent();
        run.logs("gives no list");
    }
}

#[test]
fn what_another_action_found_is_no_baseline() {
    let sandbox = three();
    let sizes = list(&sandbox, "--columns size").run().ok().stdout;
    let csv = list(&sandbox, "--details --output csv").run().ok().stdout;
    let table = list(&sandbox, "--details --output table").run().ok().stdout;
    for other in ["[{\"VolumeId\": \"vol-1\"}]", "[\"a.txt\", 1]", "[[\"a.txt\"]]", sizes.as_str(), csv.as_str(), table.as_str()] {
        let other = file(&sandbox, other);
        list(&sandbox, &format!("--baseline {other} --fail_on_findings")).run().exits(2).silent().logs("`baseline`");
    }
}

#[test]
fn a_version_is_not_known_by_the_name_of_another_object() {
    let version = |key: &str, id: &str| {
        format!(
            "<Version><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>true</IsLatest>\
             <LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>1</Size></Version>"
        )
    };
    let page = format!(
        "<ListVersionsResult><Name>b</Name><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>{}</ListVersionsResult>",
        version("a%20b", "v")
    );
    let server = scripted([("ListObjectVersions", vec![Response::xml(200, page)])]);
    let folder = directory();
    let known = file(&folder, "{\"Key\": \"a\", \"VersionId\": \"b v\"}\n");
    let line = format!("s3 discover_objects --bucket b --versions --details --baseline {known} --fail_on_findings");
    let rows = aaws(line).endpoint(&server.url).run().exits(6).logs("1 new, 0 known, 1 gone").json();
    assert_eq!(rows[0]["Key"], "a b");
}

#[test]
fn a_listing_that_is_stopped_says_nothing_of_what_is_gone() {
    let server = Server::start(|_, n, _| {
        if n > 1 {
            std::thread::sleep(Duration::from_secs(5));
        }
        listing(&[("a", "2024-01-01T00:00:00.000Z")], (n == 1).then_some("t"))
    });
    let folder = directory();
    let known = file(&folder, "[\"gone.txt\"]");
    let line = format!("s3 discover_objects --bucket b --concurrency 1 --timeout 1s --baseline {known}");
    let run = aaws(line).endpoint(&server.url).run().exits(1);
    assert!(run.stderr.contains("timed out") && !run.stderr.contains("gone"), "{run}");
}

#[test]
fn what_a_query_is_of_does_not_depend_on_who_looks() {
    let sandbox = three();
    let shown = list(&sandbox, "--output table --query [0]").on_terminal("").stdout;
    assert!(shown.contains("a.txt") && !shown.contains("Size"), "{shown}");
}

#[test]
fn a_query_is_not_told_to_choose_by_a_flag_that_goes_with_none() {
    let sandbox = three();
    let query = "s3 discover_objects --bucket example-bucket --details --output table --query";
    let lines = seen(aaws(query).arg("[].{Key: Key, Changed: LastModified, Class: StorageClass}").sandbox(sandbox.path()), "30");
    assert!(lines.last().is_some_and(|line| line.contains("no room for") && line.ends_with(": --query chooses")), "{lines:?}");
}
