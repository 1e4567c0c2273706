//! Input, names and answers that are wrong on purpose: what is refused, what is not repeated, and what no terminal is sent.

use serde_json::{Value, json};

use crate::support::aaws::Aaws;
use crate::support::fake_s3::{self, listing};
use crate::support::{Output, Response, Server, aaws, directory};

/// Runs what must be refused as bad input: exit code 2, nothing printed, nothing sent.
#[track_caller]
fn refused(run: Aaws) -> Output {
    let server = fake_s3::scripted([]);
    let output = run.endpoint(&server.url).run().exits(2).silent();
    assert_eq!(server.operations(), [""; 0], "something was sent by {output}");
    output
}

/// The sentences of all mistakes that are told.
fn mistakes(output: &Output) -> Vec<&str> {
    output.stderr.lines().filter_map(|line| line.strip_prefix("error: ")).collect()
}

// --- All that is wrong ---

#[test]
fn all_mistakes_of_an_input_are_told_at_once() {
    let input = r#"{"colour": "red", "objects": ["a", "", {"Size": 1}], "check": "maybe", "version_id": "v"}"#;
    let run = refused(aaws("s3 delete_objects --all_versions --input").arg(input));
    let told = mistakes(&run);
    for words in [
        "there is no `colour`",
        "`check`: ",
        "`bucket` is required",
        "give only one of `all_versions`, `version_id` or `check`",
        "`objects[1]` is empty",
        "`objects[2]` is an object without a member",
    ] {
        assert!(told.iter().any(|message| message.starts_with(words)), "{words} is not told by {run}");
    }
    assert_eq!(told.len(), 6, "{run}");
}

#[test]
fn flags_that_cannot_be_read_are_told_with_all_else() {
    let run = refused(aaws("s3 create_objects --sse rot13 --objects @nowhere.json"));
    let told = mistakes(&run);
    for words in ["`sse` takes one of", "`objects`: cannot read the file `nowhere.json`", "`bucket` is required"] {
        assert!(told.iter().any(|message| message.starts_with(words)), "{words} is not told by {run}");
    }
    assert_eq!(told.len(), 3, "{run}");
}

#[test]
fn programs_get_all_mistakes_as_one_object() {
    let line = "s3 delete_objects --objects a --all_versions --version_id v --colour red --error_format json";
    let run = refused(aaws(line.replace(" --colour red", "")));
    let error: Value = serde_json::from_str(run.stderr.trim_end()).unwrap_or_else(|e| panic!("{e}: {run}"));
    let fields = |mistakes: &[&Value]| mistakes.iter().map(|m| m["field"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
    let others: Vec<&Value> = error["error"]["others"].as_array().expect("a list").iter().collect();
    assert_eq!((fields(&[&error["error"]]), fields(&others)), (vec!["bucket".to_owned()], vec!["version_id".to_owned()]));
    // What is no mistake of the input has no others.
    let run = refused(aaws(line));
    let error: Value = serde_json::from_str(run.stderr.trim_end()).unwrap_or_else(|e| panic!("{e}: {run}"));
    assert_eq!(error["error"]["others"], json!([]));
}

// --- JSON ---

#[test]
fn a_member_that_is_there_twice_is_named() {
    let told = |run: Aaws, member: &str| {
        let run = refused(run);
        assert!(run.stderr.contains(&format!("has the member `{member}` twice")), "{run}");
    };
    told(aaws("s3 delete_objects --input").arg(r#"{"bucket": "a", "objects": ["k"], "bucket": "b"}"#), "bucket");
    told(aaws("s3 delete_objects --input -").stdin(r#"{"bucket": "a", "objects": [], "objects": ["k"]}"#), "objects");
    let twice = r#"{"Key": "a", "Body": "x", "Key": "b"}"#;
    let line = "s3 create_objects --bucket b --objects";
    told(aaws(line).arg(format!("[{twice}]")), "Key");
    told(aaws(line).arg("-").stdin(twice), "Key");
    told(aaws(line).arg("-").stdin(format!("[{twice}]")), "Key");
    told(aaws(line).arg("-").stdin("- Key: a\n  Body: x\n  Body: y\n"), "Body");
    told(aaws("s3 delete_objects --bucket b --objects -").stdin(r#"{"Key": "a", "Key": "b"}"#), "Key");
    told(aaws("permissions s3 delete_objects --input").arg(r#"{"bucket": "a", "bucket": "b"}"#), "bucket");
    // The two names of one member are one member.
    let run = refused(aaws(line).arg(r#"[{"Key": "a", "Body": "x", "key": "b"}]"#));
    assert!(run.stderr.contains("objects[0]") && run.stderr.contains("twice"), "{run}");
}

// --- Nothing is something else than everything ---

#[test]
fn an_empty_string_is_no_value() {
    let told = |run: Aaws, field: &str| {
        let run = refused(run);
        assert!(mistakes(&run).iter().any(|m| m.contains(field) && m.contains("is empty")), "{field}: {run}");
    };
    let delete = "s3 delete_objects --bucket b";
    told(aaws(format!("{delete} --objects a --version_id")).arg(""), "`version_id`");
    told(aaws(format!("{delete} --objects a --prefix")).arg(""), "`prefix`");
    told(aaws(format!("{delete} --objects a")).arg("").arg("b"), "`objects[1]`");
    told(aaws(format!("{delete} --objects -")).stdin(r#"["a", ""]"#), "item 2");
    told(aaws(format!("{delete} --objects -")).stdin("a\n\"\"\n"), "item 2");
    told(aaws(format!("{delete} --objects -")).stdin("- a\n- Key: ''\n"), "item 2");
    told(aaws("s3 delete_objects --objects a --bucket").arg(""), "bucket");
    told(aaws("s3 create_objects --bucket b --object").arg("").arg("text"), "Key");
    told(aaws("s3 create_objects --bucket b --objects -").stdin(r#"{"Key": "k", "Body": "", "ContentType": ""}"#), "ContentType");
    told(aaws("s3 discover_objects --bucket b --start_after").arg(""), "`start_after`");
}

#[test]
fn the_body_of_an_object_may_be_empty() {
    let sandbox = directory();
    let run = aaws("s3 create_objects --bucket example-bucket --dry_run --object k").arg("").sandbox(sandbox.path());
    run.run().ok();
    let run = aaws("s3 create_objects --bucket example-bucket --dry_run --objects -").stdin(r#"{"Key": "k", "Body": ""}"#);
    run.sandbox(sandbox.path()).run().ok();
}

#[cfg(feature = "ec2")]
#[test]
fn an_empty_id_is_sent_nowhere() {
    let told = |run: Aaws, field: &str| {
        let run = refused(run);
        assert!(mistakes(&run).iter().any(|m| m.contains(field) && m.contains("is empty")), "{field}: {run}");
    };
    told(aaws("ec2 encrypt_volume --kms_key_id k --volume_id").arg(""), "`volume_id`");
    told(aaws("ec2 delete_volumes --volume_ids vol-1").arg(""), "`volume_ids[1]`");
    told(aaws("ec2 delete_volumes --volume_ids -").stdin("[\"vol-1\", \"\"]"), "item 2");
    told(aaws("ec2 delete_snapshots --snapshot_ids").arg(""), "`snapshot_ids[0]`");
}

// --- Secrets ---

#[cfg(feature = "iam")]
mod secrets {
    use super::*;

    const SECRET: &str = "Tr0ub4dor&3";

    /// What must be refused, and must not repeat the secret, for people and for programs.
    #[track_caller]
    fn unseen(run: impl Fn() -> Aaws) {
        for format in ["text", "json"] {
            let run = refused(run().arg("--error_format").arg(format));
            for part in [SECRET, "Tr0ub4dor", "ub4dor"] {
                assert!(!run.stderr.contains(part), "the secret is seen: {run}");
            }
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        let users = "iam modify_users_console_access --enable";
        unseen(|| aaws(format!("{users} --user bob my {SECRET}")));
        unseen(|| aaws(format!("{users} --user bob {SECRET} {SECRET}")));
        unseen(|| aaws(format!("{users} --user bob env:{SECRET}")));
        unseen(|| aaws(format!("{users} --user bob @{SECRET}")));
        unseen(|| aaws(format!("{users} --require_reset={SECRET} --user bob x")));
        unseen(|| aaws(format!("{users} {SECRET}")));
        unseen(|| aaws(format!("{users} --user bob x -{SECRET}")));
        for list in [
            format!(r#"["bob:{SECRET}"]"#),
            format!(r#""bob {SECRET}""#),
            format!(r#"[["bob", "{SECRET}"], 7]"#),
            format!(r#"[{{"UserName": "bob", "Password": {{"text": "{SECRET}"}}}}]"#),
            format!(r#"[{{"UserName": ["{SECRET}"]}}]"#),
            format!(r#"[{{"UserName": "", "Password": "{SECRET}"}}]"#),
            format!("bob:{SECRET}"),
            format!("{{\"UserName\": \"bob\", \"Password\": \"{SECRET}\"\n"),
        ] {
            unseen(|| aaws(format!("{users} --users")).arg(&list));
            unseen(|| aaws(format!("{users} --users -")).stdin(&list));
            unseen(|| aaws(format!("{users} --input")).arg(format!(r#"{{"users": {list}}}"#)));
            unseen(|| aaws(format!("{users} --input -")).stdin(format!(r#"{{"users": {list}}}"#)));
        }
        unseen(|| aaws(format!("{users} --users -")).stdin(format!("- bob:{SECRET}\n")));
        unseen(|| aaws(format!("{users} --input")).arg(format!(r#"{{"users": "{SECRET}"}}"#)));
        unseen(|| aaws(format!("{users} --input")).arg(SECRET));
        unseen(|| aaws("permissions iam modify_users_console_access --users").arg(format!(r#"["bob:{SECRET}"]"#)));
        unseen(|| aaws(format!("permissions iam modify_users_console_access --user bob my {SECRET}")));
    }

    #[cfg(feature = "sts")]
    #[test]
    fn a_secret_key_in_the_wrong_place_is_not_repeated() {
        let session = "sts create_session --access_key AKIA1";
        unseen(|| aaws(format!("{session} --secret_key my {SECRET}")));
        unseen(|| aaws(format!("{session} --secret_key x --duration {SECRET}")));
        unseen(|| aaws(format!("{session} --secret_key x --format {SECRET}")));
        unseen(|| aaws(format!("{session} --input")).arg(format!(r#"{{"secret_key": ["{SECRET}"]}}"#)));
        unseen(|| aaws(format!("{session} --input")).arg(format!(r#"{{"secret_key": "x", "role_arn": "{SECRET}"}}"#)));
    }

    #[test]
    fn a_password_in_an_endpoint_is_not_repeated() {
        let discover = "s3 discover_objects --bucket b --endpoint_url";
        unseen(|| aaws(format!("{discover} user:{SECRET}@host.example")));
        unseen(|| aaws(format!("{discover} htps://user:{SECRET}@host.example/path?token={SECRET}")));
        unseen(|| aaws(format!("{discover} http://user:{SECRET}@host.example")));
        let run = refused(aaws(format!("{discover} htps://user:{SECRET}@host.example/path")));
        assert!(run.stderr.contains("htps://host.example"), "{run}");
    }

    #[test]
    fn a_list_with_secrets_is_written_to_no_file() {
        let list: String = (0..30_000).map(|n| format!("{{\"UserName\":\"user-{n:05}\",\"Password\":\"{SECRET}-{n}\"}}\n")).collect();
        let nowhere = directory().path().join("nowhere");
        // The last line is wrong: all are read, none is sent.
        let line = "iam modify_users_console_access --enable --users -";
        let run = refused(aaws(line).stdin(format!("{list}{{}}\n")).env("TMPDIR", &nowhere));
        assert!(run.stderr.contains("item 30001") && run.stderr.contains("UserName"), "{run}");
        // As a list without secrets would be.
        let keys: String = (0..100_000).map(|n| format!("a key that is long enough-{n}\n")).collect();
        let run = aaws("s3 delete_objects --bucket b --dry_run --objects -").endpoint("http://127.0.0.1:1").stdin(keys);
        let run = run.env("TMPDIR", &nowhere).run().exits(1);
        assert!(run.stderr.contains("temporary file"), "{run}");
    }
}

// --- What a terminal obeys ---

/// A C1 control, DEL, text turned round, a line separator, nothing that is seen, a tag.
const OBEYED: [char; 9] = ['\u{1b}', '\u{9b}', '\u{7f}', '\u{202e}', '\u{2066}', '\u{2028}', '\u{200b}', '\u{feff}', '\u{e0041}'];

fn obeyed(text: &str) -> Vec<char> {
    text.chars().filter(|c| OBEYED.contains(c)).collect()
}

fn hostile_name() -> String {
    let name: String = OBEYED.iter().flat_map(|c| ['k', *c]).collect();
    name + "\r\nerror: forged\nwarning: forged"
}

#[test]
fn no_name_does_anything_to_a_terminal() {
    let encoded: String = hostile_name().bytes().map(|b| format!("%{b:02X}")).collect();
    for format in ["json", "jsonl", "text", "yaml", "table", "csv"] {
        for flags in ["", "--details"] {
            let page = listing(&[(&encoded, "2024-01-01T00:00:00.000Z")], None);
            let server = fake_s3::scripted([("ListObjectsV2", vec![page])]);
            let run = aaws(format!("s3 discover_objects --bucket b --output {format} {flags}")).endpoint(&server.url);
            let shown = run.on_terminal("").ok();
            assert!(obeyed(&shown.stdout).is_empty(), "{format}: {shown}");
            assert!(!shown.stdout.lines().any(|line| line.starts_with("error:") || line.starts_with("warning:")), "{format}: {shown}");
            if format == "json" && flags.is_empty() {
                assert_eq!(serde_json::from_str::<Value>(&shown.stdout).ok(), Some(json!([hostile_name()])), "{shown}");
            }
        }
    }
}

#[test]
fn what_a_server_says_forges_no_line() {
    let message: String = hostile_name().chars().filter(|c| *c != '\u{1b}').map(|c| format!("&#{};", u32::from(c))).collect();
    let body = format!("<Error><Code>AccessDenied</Code><Message>no {message}</Message><RequestId>R</RequestId></Error>");
    for line in ["s3 discover_objects --bucket b", "s3 delete_objects --bucket b --objects a"] {
        for format in ["text", "json"] {
            let reply = Response::xml(403, body.clone());
            let server = Server::start(move |_, _, _| reply.clone());
            let run = aaws(format!("{line} --error_format {format}")).endpoint(&server.url).run();
            assert!(run.code != Some(0) && run.stderr.contains("forged"), "{run}");
            assert!(obeyed(&run.stderr).is_empty(), "{run}");
            let forged = |line: &str| line.starts_with("error: forged") || line.starts_with("warning: forged");
            assert!(!run.stderr.lines().any(forged), "{run}");
            if format == "json" {
                assert!(run.stderr.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{run}");
            }
        }
    }
}

#[test]
fn what_was_typed_forges_no_line() {
    for run in [
        aaws("s3 delete_objects --bucket b --objects a --input").arg(format!(r#"{{"{}": 1}}"#, "x\\nerror: forged\\u009b")),
        aaws("s3 discover_objects --bucket b").arg("word\nerror: forged\u{9b}"),
        aaws("s3 discover_objects --bucket b --modified_before").arg("x\nerror: forged\u{9b}"),
    ] {
        let run = refused(run);
        assert!(run.stderr.contains("forged"), "{run}");
        assert!(obeyed(&run.stderr).is_empty() && !run.stderr.lines().any(|line| line.starts_with("error: forged")), "{run}");
    }
}

// --- What would fill the memory ---

#[test]
fn a_query_that_would_fill_the_memory_is_refused_before_anything_is_done() {
    for (stage, joint) in [("[@,@]", "|"), ("[@,@]", "."), ("[[],[]]", "|"), ("map(&[@,@],@)", "|")] {
        let bomb = vec![stage; 25].join(joint);
        let run = refused(aaws("s3 delete_objects --bucket b --objects a --query").arg(&bomb));
        assert!(run.stderr.contains("`query`"), "{bomb}: {run}");
    }
}

#[test]
fn an_element_without_end_is_refused() {
    for start in ["", "[\"", "- \"", "{\n\"Key\": \""] {
        let list = start.to_owned() + &"x".repeat(17 << 20);
        let run = refused(aaws("s3 delete_objects --bucket b --objects -").stdin(list));
        assert!(run.stderr.contains("objects") && run.stderr.contains("16 MiB"), "{start}: {run}");
    }
}

// --- The site on this machine ---

#[cfg(feature = "site")]
mod served {
    use std::fs;
    use std::io::Write;
    use std::net::TcpStream;

    use super::*;
    use crate::support::http::{self, Request};
    use crate::support::shell;

    fn get(address: &str, host: Option<&str>) -> u16 {
        let request = Request::new("GET", "/", b"");
        let request = if let Some(host) = host { request.with_header("Host", host) } else { request };
        http::send(address.trim_end_matches('/'), &request).expect("it answers").status
    }

    #[test]
    fn whatever_signal_ends_it_nothing_is_left() {
        for signal in ["INT", "TERM", "HUP"] {
            let scratch = directory();
            let running = aaws("docs serve --port 0").env("TMPDIR", scratch.path()).start();
            assert_eq!(get(&running.first_line(), None), 200);
            assert_eq!(fs::read_dir(scratch.path()).expect("the folder").count(), 1);
            running.signal(signal);
            running.wait().exits(0);
            assert_eq!(fs::read_dir(scratch.path()).expect("the folder").count(), 0, "after SIG{signal}");
        }
    }

    #[test]
    fn only_who_asks_for_this_machine_is_answered() {
        let running = aaws("docs serve --port 0").start();
        let address = running.first_line();
        let port = address.trim_end_matches('/').rsplit(':').next().expect("a port").to_owned();
        for ours in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
            assert_eq!(get(&address, Some(&ours)), 200, "{ours}");
        }
        for other in
            ["evil.example".to_owned(), format!("evil.example:{port}"), "localhost:1".to_owned(), format!("127.0.0.1.evil.example:{port}")]
        {
            assert_eq!(get(&address, Some(&other)), 421, "{other}");
        }
        running.signal("TERM");
        running.wait().exits(0);
    }

    #[test]
    fn more_connections_than_it_may_have_do_not_end_it() {
        let running = shell("ulimit -n 64; exec aaws docs serve --port 0").start();
        let address = running.first_line();
        let host = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(&host).expect("a connection")).collect();
        for mut stream in &crowd {
            stream.write_all(b"GET / HTTP/1.1\r\n").expect("the beginning of a request");
        }
        running.has_files_open(64);
        drop(crowd);
        assert_eq!(get(&address, None), 200);
        running.signal("TERM");
        running.wait().exits(0);
    }
}
