//! Who is asked before something is taken away, where the question is seen, and that nothing is sent before it is answered.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::aaws::Aaws;
use crate::support::fake_s3::{VastBucket, delete_result, keys_of};
use crate::support::proxy::Proxy;
use crate::support::{Bucket, Response, Server, aaws, directory, moto, shell};

/// A bucket with two keys, and what stands in front of it and counts.
fn two_keys() -> (Bucket, Server) {
    (Bucket::with(["first-key", "second-key"]), Proxy::to(moto::endpoint()).start())
}

/// Deletes one of the two keys.
fn delete_first(bucket: &Bucket, proxy: &Server, flags: &str) -> Aaws {
    aaws(format!("s3 delete_objects --bucket {bucket} --objects first-key {flags}")).endpoint(&proxy.url)
}

/// Streams that lead elsewhere than to the terminal.
const ELSEWHERE: [&[&str]; 4] = [
    &["--stdin", "/dev/null"],
    &["--stderr", "log"],
    &["--stdout", "result"],
    &["--stdin", "/dev/null", "--stdout", "result", "--stderr", "log"],
];

#[test]
fn a_person_at_the_terminal_is_asked_wherever_the_streams_lead() {
    for streams in ELSEWHERE {
        let (bucket, proxy) = two_keys();
        let declined = delete_first(&bucket, &proxy, "").on_terminal_with(streams, "n").exits(4);
        assert!(declined.stdout.contains("first-key") && declined.stdout.contains("[y/N]"), "{streams:?}: {declined}");
        assert_eq!(proxy.writes(), [""; 0], "{streams:?}: something was changed without consent");
        delete_first(&bucket, &proxy, "").on_terminal_with(streams, "y").ok();
        assert_eq!(bucket.keys(), ["second-key"], "{streams:?}");
    }
}

#[test]
fn a_person_is_asked_behind_xargs_and_in_a_pipe() {
    for line in [
        "printf 'first-key\\n' | xargs aaws s3 delete_objects --bucket BUCKET --objects",
        "printf 'first-key\\n' | aaws s3 delete_objects --bucket BUCKET --objects - | cat",
    ] {
        let (bucket, proxy) = two_keys();
        let run = || shell(line.replace("BUCKET", &bucket.to_string())).endpoint(&proxy.url);
        let declined = run().on_terminal("n");
        assert!(declined.stdout.contains("[y/N]"), "{declined}");
        assert_eq!(proxy.writes(), [""; 0]);
        run().on_terminal("y").ok();
        assert_eq!(bucket.keys(), ["second-key"]);
    }
}

#[test]
fn a_job_in_the_background_of_a_terminal_is_refused() {
    let (bucket, proxy) = two_keys();
    let refused = delete_first(&bucket, &proxy, "").on_terminal_with(&["--background"], "y").exits(4);
    assert!(refused.stdout.contains("background") && refused.stdout.contains("--yes"), "{refused}");
    assert_eq!(proxy.writes(), [""; 0]);
    delete_first(&bucket, &proxy, "--yes").on_terminal_with(&["--background"], "n").ok();
    assert_eq!(bucket.keys(), ["second-key"]);
}

#[test]
fn a_run_that_is_ended_at_the_question_has_sent_nothing() {
    for (signal, code) in [("INT", 130), ("TERM", 130), ("HUP", 130), ("KILL", 137)] {
        let (bucket, proxy) = two_keys();
        delete_first(&bucket, &proxy, "").on_terminal_with(&["--signal", signal, "[y/N]"], "").exits(code);
        assert_eq!(proxy.writes(), [""; 0], "SIG{signal}");
        assert_eq!(bucket.keys(), ["first-key", "second-key"]);
    }
}

#[test]
fn the_question_says_whose_and_where() {
    let (bucket, proxy) = two_keys();
    let asked = delete_first(&bucket, &proxy, "").on_terminal("n").exits(4);
    for words in ["account 123456789012", "AWS_ACCESS_KEY_ID", "region us-east-1", &proxy.url, &bucket.to_string(), "first-key", "1 item"] {
        assert!(asked.stdout.contains(words), "{words} is not in {asked}");
    }
    let sandbox = directory();
    let asked = aaws("s3 delete_objects --bucket example-bucket --objects a b").sandbox(sandbox.path()).on_terminal("n").exits(4);
    assert!(asked.stdout.contains("the sandbox") && asked.stdout.contains("2 items"), "{asked}");
}

#[test]
fn the_question_names_the_profile_and_every_role() {
    const HUB: &str = "arn:aws:iam::222222222222:role/hub";
    const SPOKE: &str = "arn:aws:iam::333333333333:role/spoke";
    let (bucket, proxy) = two_keys();
    let home = directory();
    let config = home.path().join("config");
    let keys = "aws_access_key_id = AKIATEST\naws_secret_access_key = secret";
    let profiles = format!("[profile base]\n{keys}\n\n[profile prod]\nrole_arn = {HUB}\nsource_profile = base\n");
    fs::write(&config, profiles).expect("the profiles");
    let own = "the environment (AWS_ACCESS_KEY_ID)";
    let cases: [(&str, &str, &[&str]); 6] = [
        ("", "--profile base", &["the profile `base`", "account 123456789012"]),
        ("", "--profile prod", &["the profile `prod`", HUB, "account 222222222222"]),
        ("base", "", &["the profile `base` (AWS_PROFILE)", "account 123456789012"]),
        ("prod", "", &["the profile `prod` (AWS_PROFILE)", HUB, "account 222222222222"]),
        ("", "--role_arn SPOKE", &[own, SPOKE, "account 333333333333"]),
        ("prod", "--role_arn SPOKE", &["the profile `prod`", HUB, SPOKE, "account 333333333333"]),
    ];
    for (variable, flags, words) in cases {
        let mut run = delete_first(&bucket, &proxy, &flags.replace("SPOKE", SPOKE)).env("AWS_CONFIG_FILE", &config);
        if !words.contains(&own) {
            run = run.without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY");
        }
        if !variable.is_empty() {
            run = run.env("AWS_PROFILE", variable);
        }
        let asked = run.on_terminal("n").exits(4);
        for word in words {
            assert!(asked.stdout.contains(word), "{word} is not in {asked}");
        }
    }
    assert_eq!(proxy.count("DeleteObjects"), 0);
}

#[test]
fn consent_that_was_given_beforehand_is_logged() {
    let (bucket, proxy) = two_keys();
    delete_first(&bucket, &proxy, "").env("AAWS_YES", "1").run().ok().logs("AAWS_YES").logs(&bucket.to_string()).logs("us-east-1");
    delete_first(&bucket, &proxy, "--yes").run().ok().logs("--yes");
    let shown = delete_first(&bucket, &proxy, "").env("AAWS_YES", "1").on_terminal("n").ok();
    assert!(shown.stdout.contains("AAWS_YES") && !shown.stdout.contains("[y/N]"), "{shown}");
    // What is no yes is none.
    delete_first(&bucket, &proxy, "").env("AAWS_YES", "0").on_terminal("n").exits(4);
}

#[test]
fn the_account_for_that_line_is_asked_beside_the_work() {
    // STS answers once something was deleted, and not before.
    let deleted = AtomicBool::new(false);
    let server = Server::start(move |operation, _, request| match operation {
        "DeleteObjects" => {
            deleted.store(true, Ordering::Relaxed);
            let keys = keys_of(&request);
            delete_result(&keys.iter().map(|key| (key.as_str(), None)).collect::<Vec<_>>())
        }
        "GetCallerIdentity" => {
            let asked = Instant::now();
            while !deleted.load(Ordering::Relaxed) {
                if asked.elapsed() > Duration::from_secs(3) {
                    return Response::error(403, "AccessDenied");
                }
                thread::sleep(Duration::from_millis(10));
            }
            let account = "<Arn>arn:aws:iam::123456789012:user/tester</Arn><UserId>AIDATESTER</UserId><Account>123456789012</Account>";
            let result = format!("<GetCallerIdentityResult>{account}</GetCallerIdentityResult>");
            Response::xml(200, format!("<GetCallerIdentityResponse>{result}</GetCallerIdentityResponse>"))
        }
        _ => Response::error(501, "NotImplemented"),
    });
    let home = directory();
    fs::write(home.path().join("keys.txt"), (0..1_500).map(|n| VastBucket::key(n) + "\n").collect::<String>()).expect("a list");
    let run = aaws("s3 delete_objects --bucket b --objects @keys.txt --yes").endpoint(&server.url).within(home.path()).run();
    run.ok().logs("because of --yes").logs("account 123456789012");
    assert_eq!((server.count("DeleteObjects"), server.count("GetCallerIdentity")), (2, 1));
}

// --- The progress line ---

/// What a terminal of 120 columns shows in the end: all lines, those that have scrolled away too.
fn screen(shown: &str) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0_usize, 0_usize);
    let mut characters = shown.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                assert_eq!(characters.next(), Some('['), "a sequence that this terminal does not know");
                let mut number = String::new();
                while let Some(digit) = characters.next_if(|c| c.is_ascii_digit() || ";?".contains(*c)) {
                    number.push(digit);
                }
                let count: usize = number.parse().unwrap_or(1);
                match characters.next() {
                    Some('A') => row = row.saturating_sub(count),
                    Some('B') => row += count,
                    Some('K') => lines[row] = if number == "2" { Vec::new() } else { lines[row][..column.min(lines[row].len())].to_vec() },
                    // Colours, and whether the cursor is seen.
                    Some('m' | 'h' | 'l') => {}
                    other => panic!("a sequence that this terminal does not know: {number}{other:?}"),
                }
            }
            c => {
                if column == 120 {
                    (row, column) = (row + 1, 0);
                    lines.resize(lines.len().max(row + 1), Vec::new());
                }
                let missing = (column + 1).saturating_sub(lines[row].len());
                lines[row].extend(std::iter::repeat_n(' ', missing));
                lines[row][column] = c;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    lines.into_iter().map(|line| line.into_iter().collect()).collect()
}

#[test]
fn no_failed_key_is_drawn_over() {
    for format in ["json", "jsonl", "text", "table"] {
        let server = Server::start(|operation, _, request| match operation {
            "DeleteObjects" => {
                thread::sleep(Duration::from_millis(150));
                let keys = keys_of(&request);
                let outcome = |(n, key)| (key, (n == 0).then_some("AccessDenied"));
                delete_result(&keys.iter().map(String::as_str).enumerate().map(outcome).collect::<Vec<_>>())
            }
            _ => Response::error(501, "NotImplemented"),
        });
        let home = directory();
        fs::write(home.path().join("keys.txt"), (0..8_000).map(|n| VastBucket::key(n) + "\n").collect::<String>()).expect("a list");
        let line = format!("s3 delete_objects --bucket b --objects @keys.txt --concurrency 1 --yes --output {format}");
        let shown = aaws(line).endpoint(&server.url).within(home.path()).on_terminal("").exits(3).stdout;
        assert!(shown.contains("/8,000"), "no progress line: {shown}");
        let screen = screen(&shown);
        let rows: Vec<_> = screen.iter().filter(|line| !line.contains("error:")).collect();
        for failed in (0..8).map(|n| VastBucket::key(n * 1000)) {
            assert!(rows.iter().any(|line| line.contains(&failed)), "{failed} was drawn over:\n{}", screen.join("\n"));
        }
        assert!(!screen.iter().any(|line| line.contains("/8,000")), "the line is gone in the end:\n{}", screen.join("\n"));
    }
}

#[test]
fn there_is_a_progress_line_after_the_answer() {
    let vast = VastBucket::new(5_000, Duration::from_millis(200));
    let home = directory();
    fs::write(home.path().join("keys.txt"), (0..5_000).map(|n| VastBucket::key(n) + "\n").collect::<String>()).expect("a list");
    let line = "s3 delete_objects --bucket b --objects @keys.txt --concurrency 1";
    let shown = aaws(line).endpoint(&vast.server.url).within(home.path()).on_terminal("y").ok().stdout;
    let (before, after) = shown.split_once("[y/N]").expect("a question");
    assert!(!before.contains("/5,000") && after.contains("/5,000"), "{shown}");
}

#[test]
fn nothing_to_do_is_nothing_to_draw() {
    let (bucket, proxy) = two_keys();
    let run = aaws(format!("s3 delete_objects --bucket {bucket} --objects")).endpoint(&proxy.url).on_terminal("n").ok();
    assert_eq!(run.stdout, "[]\r\n");
    assert_eq!(proxy.operations(), [""; 0]);
    let run = aaws(format!("s3 delete_objects --bucket {bucket} --objects")).endpoint(&proxy.url).run().ok();
    assert_eq!(run.json(), json!([]));
}
