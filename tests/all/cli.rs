//! The command line: what it takes, what it refuses, and what it prints.

use std::fs;

use serde_json::{Value, json};

use crate::support::aaws::Aaws;
use crate::support::proxy::Proxy;
use crate::support::{Bucket, Server, aaws, directory, fake_s3, moto, shell};

/// A server that a run must not talk to.
fn untouched() -> Server {
    fake_s3::scripted([])
}

/// Runs what must be refused as bad input: exit code 2, a sentence that names `field`, nothing printed, nothing sent.
#[track_caller]
fn refused(run: Aaws, field: &str) -> String {
    let server = untouched();
    let output = run.endpoint(&server.url).run().exits(2).silent();
    let first = output.stderr.lines().next().unwrap_or_default();
    assert!(first.starts_with("error: ") && first.contains(field), "no sentence about {field} in {output}");
    assert_eq!(server.operations(), [""; 0], "something was sent by {output}");
    output.stderr
}

/// The keys that `delete_objects` takes from its arguments and standard input, told by a dry run.
fn keys_taken(arguments: &[&str], stdin: impl AsRef<[u8]>) -> Vec<String> {
    let bucket = Bucket::new();
    let run = aaws(format!("s3 delete_objects --dry_run --bucket {bucket}")).args(arguments.iter().copied()).stdin(stdin).run().ok();
    let outcomes = run.json();
    let outcomes = outcomes.as_array().expect("a list of outcomes");
    outcomes.iter().map(|outcome| outcome["item"].as_str().expect("an item").to_owned()).collect()
}

// --- Bad input ---

#[test]
fn a_parameter_that_is_missing_is_named() {
    refused(aaws("s3 delete_objects --objects a"), "bucket");
    refused(aaws("s3 delete_objects --bucket b"), "objects");
    refused(aaws("s3 create_objects --bucket b"), "objects");
    refused(aaws("s3 discover_objects"), "bucket");
}

#[test]
fn an_empty_bucket_name_is_refused() {
    refused(aaws("s3 delete_objects --objects a --bucket").arg(""), "bucket");
    refused(aaws("s3 discover_objects --bucket").arg(""), "bucket");
    refused(aaws("s3 discover_objects --input").arg(r#"{"bucket": ""}"#), "bucket");
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    refused(aaws("s3 discover_objects --bucket b --modified_before yesterday"), "modified_before");
    refused(aaws("s3 discover_objects --bucket b --modified_after 2024-02-30"), "modified_after");
    refused(aaws("s3 discover_objects --bucket b --concurrency many"), "concurrency");
    refused(aaws("s3 discover_objects --bucket b --concurrency 0"), "concurrency");
    refused(aaws("s3 discover_objects --bucket b --output pictures"), "output");
    refused(aaws("s3 create_objects --bucket b --object k v --body_as guess"), "body_as");
    let input = |json: &str| aaws("s3 delete_objects --input").arg(json);
    refused(input(r#"{"bucket": 7, "objects": ["a"]}"#), "bucket");
    refused(input(r#"{"bucket": "b", "objects": 7}"#), "objects");
    refused(input(r#"{"bucket": "b", "objects": ["a", 7]}"#), "objects");
    refused(input(r#"{"bucket": "b", "objects": ["a"], "all_versions": "yes"}"#), "all_versions");
}

#[test]
fn a_field_that_does_not_exist_is_refused_with_those_that_do() {
    let said = refused(aaws("s3 delete_objects --input").arg(r#"{"bucket": "b", "objects": [], "colour": "red"}"#), "colour");
    assert!(said.contains("bucket") && said.contains("prefix"), "{said}");
    let said = refused(aaws("s3 create_objects --bucket b --objects").arg(r#"[{"Key": "k", "Body": "v", "Colour": "red"}]"#), "Colour");
    assert!(said.contains("ContentType"), "{said}");
}

#[test]
fn an_object_that_lacks_a_member_is_refused_before_any_is_written() {
    refused(aaws("s3 create_objects --bucket b --object only-a-key"), "object");
    let said =
        refused(aaws("s3 create_objects --bucket b --objects -").stdin("{\"Key\":\"a\",\"Body\":\"b\"}\n{\"Key\":\"c\"}\n"), "objects");
    assert!(said.contains("Body"), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let said = refused(aaws("s3 delete_objects --bucket b --objects @nowhere/keys.txt"), "objects");
    assert!(said.contains("nowhere/keys.txt"), "{said}");
    let said = refused(aaws("s3 delete_objects --input @nowhere/input.json"), "input");
    assert!(said.contains("nowhere/input.json"), "{said}");
}

#[test]
fn both_of_an_either_or_are_refused() {
    let said = refused(aaws("s3 delete_objects --bucket b --objects a --all_versions --version_id v1"), "version_id");
    assert!(said.contains("all_versions"), "{said}");
    refused(aaws("s3 delete_objects --bucket b --objects a b --version_id v1"), "version_id");
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    refused(aaws("s3 delete_objects --bucket b --objects -").stdin(b"fine\n\xff\n"), "objects");
    refused(aaws("s3 delete_objects --bucket b --objects -").stdin(b"[\"fine\", \"\xff\"]"), "objects");
    refused(aaws("s3 delete_objects --input -").stdin(b"{\"bucket\": \"\xff\"}"), "input");
    refused(aaws("s3 discover_objects --bucket").arg_bytes(b"\xff"), "bucket");
}

#[test]
fn json_that_is_broken_is_refused() {
    refused(aaws("s3 delete_objects --input").arg("{"), "input");
    refused(aaws("s3 delete_objects --input").arg("[1]"), "input");
    refused(aaws("s3 delete_objects --bucket b --objects -").stdin("[\"a\", "), "objects");
    refused(aaws("s3 create_objects --bucket b --objects -").stdin("{\"Key\":\"a\",\"Body\":\"b\"}\nnot json\n"), "objects");
}

#[test]
fn a_bad_line_at_the_end_sends_none_of_the_lines_before_it() {
    let mut lines = (0..3000).map(|number| format!("key-{number}\n")).collect::<String>().into_bytes();
    lines.extend(b"\xff\n");
    refused(aaws("s3 delete_objects --bucket b --objects -").stdin(lines), "objects");
}

#[test]
fn standard_input_can_be_read_only_once() {
    refused(aaws("s3 delete_objects --input - --objects -").stdin("{\"bucket\": \"b\"}"), "standard input");
}

#[test]
fn a_query_that_is_not_jmespath_is_refused() {
    refused(aaws("s3 discover_objects --bucket b --query").arg("[?"), "query");
}

#[test]
fn a_typo_gets_a_suggestion() {
    for (line, meant) in [
        ("s3 delete_object --bucket b", "delete_objects"),
        ("s33 delete_objects --bucket b", "s3"),
        ("s3 delete_objects --bucket b --objcts a", "--objects"),
        ("s3 discover_objects --buckte b", "--bucket"),
        ("lst", "list"),
    ] {
        let said = refused(aaws(line), "").to_lowercase();
        assert!(said.contains("did you mean") && said.contains(meant), "{line}: {said}");
    }
}

#[test]
fn a_flag_cannot_be_abbreviated() {
    refused(aaws("s3 discover_objects --buck b"), "--buck");
    refused(aaws("s3 delete_objects --bucket b --obj a"), "--obj");
}

#[test]
fn errors_can_be_had_as_json() {
    let error = |line: &str, code| {
        let output = aaws(format!("{line} --error_format json")).run().exits(code);
        let line = output.stderr.lines().last().unwrap_or_default();
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {output}"))["error"].take()
    };
    let refused = error("s3 delete_objects --bucket b --colour red", 2);
    assert_eq!(refused["kind"], "input");
    assert!(refused["message"].as_str().is_some_and(|message| message.contains("colour")), "{refused}");
    let failed = error("s3 discover_objects --bucket no-such-bucket", 1);
    assert_eq!(failed["code"], "NoSuchBucket");
    assert!(failed["message"].as_str().is_some_and(|message| message.contains("no-such-bucket")), "{failed}");
    assert!(failed["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{failed}");
}

// --- Names, lists, input ---

#[test]
fn names_may_be_written_with_hyphens() {
    let bucket = Bucket::with(["logs/a", "logs/b"]);
    let found = aaws(format!("s3 discover-objects --bucket {bucket} --name-only --modified-after 12h --endpoint-url {}", moto::endpoint()));
    assert_eq!(found.run().ok().json(), json!(["a", "b"]));
    let planned = aaws(format!("s3 delete-objects --bucket {bucket} --objects logs/a --dry-run --all-versions")).run().ok().json();
    assert!(!planned.as_array().expect("a list").is_empty());
    assert_eq!(bucket.keys(), ["logs/a", "logs/b"]);
}

#[test]
fn a_list_can_be_given_as_arguments_and_flags_add_up() {
    assert_eq!(keys_taken(&["--objects", "a", "b c", "--objects", "d"], ""), ["a", "b c", "d"]);
}

#[test]
fn a_list_can_be_read_from_standard_input_in_three_formats() {
    let expected = ["a", "b c", "d\"e"];
    for text in [
        "[\"a\", \"b c\", \"d\\\"e\"]",
        "  [\n  \"a\",\n  \"b c\",\n  \"d\\\"e\"\n]\n",
        "\"a\"\n\"b c\"\n\"d\\\"e\"\n",
        "a\nb c\nd\"e\n",
        "a\r\nb c\r\nd\"e\r\n",
        "a\nb c\nd\"e",
        "a\n\nb c\n\nd\"e\n",
        "\u{feff}a\nb c\nd\"e\n",
    ] {
        assert_eq!(keys_taken(&["--objects", "-"], text), expected, "{text:?}");
    }
}

#[test]
fn lines_keep_the_spaces_they_have() {
    assert_eq!(keys_taken(&["--objects", "-"], " a\nb \n\" c \"\n"), [" a", "b ", " c "]);
}

#[test]
fn a_list_can_be_read_from_a_file_where_the_command_runs() {
    let bucket = Bucket::new();
    let directory = directory();
    fs::write(directory.path().join("keys.txt"), "b\nc\n").unwrap();
    let line = format!("s3 delete_objects --dry_run --bucket {bucket} --objects a @keys.txt - @@d");
    let outcomes = aaws(line).within(directory.path()).stdin("[\"-\"]").run().ok().json();
    let keys: Vec<&str> = outcomes.as_array().unwrap().iter().map(|outcome| outcome["item"].as_str().unwrap()).collect();
    assert_eq!(keys, ["a", "b", "c", "-", "@d"]);
}

#[test]
fn the_whole_input_can_be_json_and_flags_win_over_it() {
    let bucket = Bucket::with(["p/a", "p/b", "p/c"]);
    let input = json!({"bucket": "another", "prefix": "p", "objects": ["a"]}).to_string();
    aaws(format!("s3 delete_objects --bucket {bucket} --input")).arg(&input).run().ok();
    assert_eq!(bucket.keys(), ["p/b", "p/c"]);

    let directory = directory();
    fs::write(directory.path().join("input.json"), &input).unwrap();
    aaws(format!("s3 delete_objects --bucket {bucket} --objects b --input @input.json")).within(directory.path()).run().ok();
    assert_eq!(bucket.keys(), ["p/c"], "a list given by flag replaces the one in the input");

    aaws(format!("s3 delete_objects --bucket {bucket} --objects c --input -")).stdin(&input).run().ok();
    assert_eq!(bucket.keys(), [""; 0]);
}

// --- Output ---

#[test]
fn output_comes_in_six_formats() {
    let bucket = Bucket::with(["a", "b c"]);
    let printed = |format: &str| aaws(format!("s3 discover_objects --bucket {bucket} --output {format}")).run().ok().stdout;
    assert_eq!(printed("json"), "[\"a\",\"b c\"]\n", "one line in a pipe");
    assert_eq!(printed("jsonl"), "\"a\"\n\"b c\"\n");
    assert_eq!(printed("text"), "a\nb c\n");
    assert_eq!(printed("yaml").trim_end(), "- a\n- b c");
    let csv = printed("csv");
    assert!(csv.lines().any(|line| line == "a") && csv.lines().any(|line| line == "b c"), "{csv}");
    let table = printed("table");
    assert!(table.contains('a') && table.contains("b c") && table.lines().count() >= 2, "{table}");
}

#[test]
fn objects_have_their_members_as_columns() {
    let bucket = Bucket::with(["a,b"]);
    let csv = aaws(format!("s3 discover_objects --bucket {bucket} --details --output csv")).run().ok().stdout;
    let mut lines = csv.lines();
    assert!(lines.next().is_some_and(|header| header.starts_with("Key,Size,")), "{csv}");
    assert!(lines.next().is_some_and(|row| row.starts_with("\"a,b\",3,")), "{csv}");
}

#[test]
fn a_jmespath_query_picks_from_the_result() {
    let bucket = Bucket::with(["a", "b", "bc"]);
    let picked = |query: &str| aaws(format!("s3 discover_objects --bucket {bucket} --query")).arg(query).run().ok().json();
    assert_eq!(picked("length(@)"), json!(3));
    assert_eq!(picked("[0]"), json!("a"));
    assert_eq!(picked("[?starts_with(@, 'b')]"), json!(["b", "bc"]));
}

#[test]
fn json_is_indented_on_a_terminal() {
    let bucket = Bucket::with(["a"]);
    let shown = aaws(format!("s3 discover_objects --bucket {bucket}")).on_terminal("").ok().stdout;
    assert!(shown.contains("[\r\n  \"a\"\r\n]"), "{shown}");
}

#[test]
fn standard_output_carries_the_result_and_nothing_else() {
    let bucket = Bucket::with(["a", "b"]);
    let line = format!("s3 delete_objects --bucket {bucket} --objects a");
    let debug = aaws(format!("{line} --debug")).run().ok().logs("s3:DeleteObjects");
    assert_eq!(debug.stdout, "[]\n");
    let silent = aaws(format!("{line} --silent")).run().ok();
    assert_eq!((silent.stdout.as_str(), silent.stderr.as_str()), ("[]\n", ""));
}

// --- What there is ---

/// Runs without credentials, region or network.
fn offline(line: &str) -> String {
    aaws(line).stranger().endpoint("http://127.0.0.1:1").run().ok().stdout
}

#[test]
fn what_there_is_can_be_listed_without_credentials_or_network() {
    let list: Value = serde_json::from_str(&offline("list")).expect("JSON in a pipe");
    let text = list.to_string();
    for action in ["create_objects", "delete_objects", "discover_objects"] {
        assert!(text.contains(action), "{action} is not in {text}");
    }
    let of_s3: Value = serde_json::from_str(&offline("list s3")).expect("JSON");
    let expected: Vec<_> = list.as_array().expect("a list").iter().filter(|a| a["service"] == "s3").cloned().collect();
    assert_eq!(of_s3, Value::Array(expected));
}

#[test]
fn an_action_can_be_described_without_credentials_or_network() {
    let described: Value = serde_json::from_str(&offline("describe s3 delete_objects")).expect("JSON in a pipe");
    let text = described.to_string();
    for word in ["Delete objects from an S3 bucket", "version_id", "s3:DeleteObject", "\"properties\""] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

#[test]
fn permissions_are_one_policy_for_all_the_actions_named() {
    let policy: Value = serde_json::from_str(&offline("permissions s3 delete_objects discover-objects")).expect("JSON in a pipe");
    assert_eq!(policy["Version"], "2012-10-17");
    let statements = policy["Statement"].as_array().expect("a list of statements");
    let text = policy["Statement"].to_string();
    assert!(text.contains("\"s3:DeleteObject\"") && text.contains("\"s3:ListBucket\""), "{text}");
    assert!(!text.contains("\"s3:PutObject\"") && !text.contains("\"s3:GetObject\""), "{text}");
    assert!(statements.iter().all(|statement| statement["Effect"] == "Allow"), "{text}");
}

#[test]
fn shells_can_complete_services_actions_flags_and_choices() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = offline(&format!("completions {shell}"));
        assert!(script.contains("aaws"), "{shell}: {script}");
    }
}

#[test]
fn without_words_it_shows_three_things_to_try() {
    let run = aaws("").stranger().endpoint("http://127.0.0.1:1").run().exits(2).silent();
    for screen in [run.stderr, offline("--help")] {
        let tried = screen.split_once("Three things to try:\n").unwrap_or_else(|| panic!("nothing to try in {screen}")).1;
        let commands: Vec<_> = tried.lines().filter(|line| line.trim_start().starts_with("aaws ")).collect();
        assert_eq!(commands.len(), 3, "{screen}");
        assert!(
            ["aaws demo", "aaws list s3", "aaws doctor"].iter().zip(&commands).all(|(command, line)| line.contains(command)),
            "{screen}"
        );
    }
}

#[test]
fn the_version_says_what_this_was_built_of() {
    let version = offline("--version");
    assert!(version.starts_with(&format!("aaws {}\n", env!("CARGO_PKG_VERSION"))), "{version}");
    assert!(version.contains("\ncommit: ") && version.contains("\nfeatures: ") && version.contains("s3"), "{version}");
    assert_eq!(offline("-V"), format!("aaws {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_first_run_says_how_to_try_without_an_account() {
    let first = |run: Aaws| run.stranger().endpoint("http://127.0.0.1:1").run().exits(5).silent();
    first(aaws("s3 discover_objects --bucket b")).logs("aaws demo").logs("--sandbox").logs("aaws doctor");
    first(aaws("s3 discover_objects --bucket b --region us-east-1")).logs("aaws demo");
    let error = first(aaws("s3 discover_objects --bucket b --error_format json")).stderr;
    assert!(
        serde_json::from_str::<Value>(&error).is_ok_and(|e| e["error"]["hint"].as_str().is_some_and(|hint| hint.contains("aaws demo")))
    );
    // Who has keys has an account.
    let run = aaws("s3 discover_objects --bucket b").without("AWS_REGION").endpoint("http://127.0.0.1:1").run().exits(5);
    assert!(!run.stderr.contains("aaws demo"), "{run}");
}

#[test]
fn help_shows_what_a_user_needs() {
    assert!(offline("--help").contains("permissions"));
    let help = offline("s3 delete_objects --help");
    for word in ["--bucket", "--objects", "--version_id", "--dry_run", "Delete objects from an S3 bucket"] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    let example = "aaws s3 delete_objects --bucket example-bucket --prefix examples --objects object1 object2";
    assert!(help.contains(example), "the example is not in {help}");
    let help = offline("s3 create_objects --help");
    assert!(["auto", "file", "text"].iter().all(|choice| help.contains(choice)), "{help}");
}

// --- Region and credentials ---

/// The region that a run signs its request for.
fn region_of(run: Aaws) -> String {
    let server = fake_s3::scripted([("ListObjectsV2", vec![fake_s3::listing(&[], None)])]);
    run.endpoint(&server.url).run().ok();
    server.requests("ListObjectsV2")[0].signed_region().expect("a signed request").to_owned()
}

#[test]
fn a_region_comes_from_the_flag_the_environment_or_the_profile_in_that_order() {
    let directory = directory();
    let keys = "aws_access_key_id = AKIAPROFILE\naws_secret_access_key = secret";
    let config = format!("[default]\nregion = eu-north-1\n{keys}\n[profile other]\nregion = sa-east-1\n{keys}\n");
    let file = directory.path().join("config");
    fs::write(&file, config).unwrap();

    let run = |line: &str| aaws(line).env("AWS_CONFIG_FILE", &file).without("AWS_REGION");
    let discover = "s3 discover_objects --bucket b";
    let flag = format!("{discover} --region ap-south-1");
    assert_eq!(region_of(run(&flag).env("AWS_REGION", "us-west-1").env("AWS_DEFAULT_REGION", "us-west-2")), "ap-south-1");
    assert_eq!(region_of(run(discover).env("AWS_REGION", "us-west-1").env("AWS_DEFAULT_REGION", "us-west-2")), "us-west-1");
    assert_eq!(region_of(run(discover).env("AWS_DEFAULT_REGION", "us-west-2")), "us-west-2");
    assert_eq!(region_of(run(discover)), "eu-north-1");
    assert_eq!(region_of(run(&format!("{discover} --profile other"))), "sa-east-1");
    assert_eq!(region_of(run(discover).env("AWS_PROFILE", "other")), "sa-east-1");
}

#[test]
fn no_region_is_an_error_and_not_a_guess() {
    let server = untouched();
    for line in ["s3 discover_objects --bucket b", "s3 delete_objects --bucket b --objects a"] {
        aaws(line).without("AWS_REGION").endpoint(&server.url).run().exits(5).silent().logs("region");
    }
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn no_credentials_is_an_error_that_says_so() {
    let server = untouched();
    let run = aaws("s3 delete_objects --bucket b --objects a").stranger().env("AWS_REGION", "us-east-1");
    run.endpoint(&server.url).run().exits(5).silent().logs("credentials");
    let run = aaws("s3 delete_objects --bucket b --objects a --profile nobody").stranger().env("AWS_REGION", "us-east-1");
    run.endpoint(&server.url).run().exits(5).silent();
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn an_endpoint_given_by_flag_wins_over_the_environment() {
    let bucket = Bucket::with(["a"]);
    let (proxy, other) = (Proxy::to(moto::endpoint()).start(), untouched());
    let run = aaws(format!("s3 discover_objects --bucket {bucket} --endpoint_url {}", proxy.url)).endpoint(&other.url);
    assert_eq!(run.run().ok().json(), json!(["a"]));
    assert_eq!((proxy.count("ListObjectsV2"), other.operations().len()), (1, 0));
}

// --- Slips that must not go wrong quietly ---

#[test]
fn a_sandbox_of_any_name_is_never_passed_over() {
    use std::os::unix::ffi::OsStringExt;

    let server = untouched();
    let home = directory();
    let name = std::ffi::OsString::from_vec(b"odd\xff".to_vec());
    let run = aaws("s3 discover_objects --bucket example-bucket --prefix logs/2024/a").endpoint(&server.url);
    let run = run.env("AAWS_SANDBOX", home.path().join(name)).run().ok();
    assert_eq!(run.json(), json!(["logs/2024/a.txt"]));
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn objects_stand_for_the_keys_they_hold_and_for_nothing_else() {
    let line = ["--objects", "-"];
    for list in ["[{\"Key\":\"a\"},{\"Key\":\"b\"}]", "[\n  {\n    \"Key\": \"a\"\n  },\n  \"b\"\n]\n", "{\"Key\":\"a\"}\nb\n"] {
        assert_eq!(keys_taken(&line, list), ["a", "b"], "{list}");
    }
    for list in ["[{\"Size\":1}]", "{\"Size\":1}\n", "a\n[\"b\"]\n"] {
        refused(aaws("s3 delete_objects --bucket b --objects -").stdin(list), "objects");
    }
}

#[test]
fn permissions_are_for_the_inputs_given_and_no_others() {
    let resources = |flags: &str, stdin: &str| {
        let run = aaws(format!("permissions s3 delete_objects {flags}")).stranger().stdin(stdin).run().ok();
        let statements = run.json()["Statement"].as_array().expect("statements").clone();
        statements.iter().flat_map(|s| s["Resource"].as_array().cloned().unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(resources("--bucket b", ""), [json!("arn:aws:s3:::b/*")]);
    assert_eq!(resources("--bucket b --objects -", "k1\nk2\n"), [json!("arn:aws:s3:::b/k1"), json!("arn:aws:s3:::b/k2")]);
    // An empty list is not everything: nothing is needed for it, and AWS takes no policy of no statements.
    for (flags, stdin) in [("--bucket b --objects", ""), ("--bucket b --objects -", "[]")] {
        let run = aaws(format!("permissions s3 delete_objects {flags}")).stranger().stdin(stdin).run().ok();
        assert_eq!(run.logs("no permission is needed").stdout, "");
    }

    for (flags, field) in [(r#"--input {"buket":"b"}"#, "buket"), (r#"--input {"bucket":5}"#, "bucket"), ("--bukcet b", "bukcet")] {
        let run = aaws(format!("permissions s3 delete_objects {flags}")).stranger().run().exits(2);
        assert!(run.stdout.is_empty() && run.stderr.contains(field), "{run}");
    }
}

#[test]
fn every_error_can_be_had_as_json() {
    for line in [
        "s3 discover_objects --bucket b --concurrency 0 --error_format json",
        "s3 discover_objects --bukcet b --error-format=json",
        "permissions s3 nope --error_format json",
        "nope --error_format json",
    ] {
        let run = aaws(line).stranger().endpoint("http://127.0.0.1:1").run().exits(2);
        for line in run.stderr.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {run}"));
        }
    }
}

#[test]
fn what_cannot_be_written_to_standard_error_changes_no_exit_code() {
    shell("aaws s3 nope 2>/dev/full").stranger().endpoint("http://127.0.0.1:1").run().exits(2);
    shell("aaws s3 discover_objects --bucket b 2>/dev/full").stranger().endpoint("http://127.0.0.1:1").run().exits(5);
}

#[test]
fn a_query_that_no_parser_bears_is_refused() {
    for query in ["[".repeat(20_000), "!".repeat(5_000) + "a"] {
        let run = aaws("s3 discover_objects --bucket b --query").arg(query).stranger().endpoint("http://127.0.0.1:1").run();
        assert!(run.exits(2).stderr.contains("`query`"));
    }
}

#[test]
fn a_table_is_readable_on_a_terminal_that_does_not_know_its_width() {
    for columns in ["0", "120"] {
        let shown = aaws("list").on_terminal_with(&["--columns", columns], "").ok();
        assert!(shown.stdout.contains("Delete objects from an S3 bucket."), "{columns}: {shown}");
    }
}
