//! Command lines and inputs that are nearly right: whatever is wrong with them is told in a sentence.

#![cfg(unix)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::error::ErrorKind;
use jiff::Timestamp;

use super::{flags, help, usage_error};
use crate::catalog::manifest::Manifest;
use crate::catalog::registry;
use crate::input::Input;
use crate::model::error::Error;
use crate::mutations;

/// How many mutations are made of each line, and of the examples of each action.
const OF_A_LINE: usize = 100;
const OF_AN_ACTION: usize = 25;

/// Actions, and the flags of lines that are right.
const LINES: &[(&str, &str)] = &[
    ("ec2/copy_snapshots", "--snapshot_ids snap-1 snap-2 --target_region us-west-2 --pending_limit 3 --encrypt --details"),
    ("ec2/modify_tags", "--resource_ids vol-1 i-2 --tags Env=test Team=blue --create --max_items 5"),
    ("general/get_date", "--output json --query @"),
    ("iam/modify_access_keys", "--key AKIA1 alice --key AKIA2 bob --disable --dry_run"),
    ("iam/modify_users_console_access", "--user alice correct-horse --user bob env:NEW --enable --require_reset=false"),
    ("s3/create_objects", "--bucket b --object k text --object l text text text/csv --body_as auto --sse AES256 --journal"),
    (
        "s3/create_objects",
        "--bucket b --from docs src --include *.md --exclude */b.md --prefix p --metadata a=b c=d --cache_control no-store",
    ),
    ("s3/delete_objects", "--bucket b --objects a b c --prefix p --if_match=false --max_percent 50 --timeout 10m --report r.jsonl"),
    (
        "s3/delete_objects",
        "--bucket b --matching --under logs/ --include *.txt --exclude */b.txt --smaller_than 10MiB --modified_before 30d",
    ),
    (
        "s3/delete_objects",
        "--input {\"bucket\":\"b\",\"objects\":[\"a\",{\"Key\":\"b\",\"VersionId\":\"v\"}]} --yes --protect_tag Env=prod",
    ),
    ("sts/create_session", "--role_arn arn:aws:iam::123456789012:role/r --duration 1h"),
];

/// Whether a word may have something read that is no part of the test: standard input, or a file that is not below this folder.
fn reads(word: &[u8]) -> bool {
    word == b"-" || word.ends_with(b"=-") || (word.contains(&b'@') && word.contains(&b'/'))
}

/// What is wrong is wrong with the input, and said.
fn is_told(error: &Error) {
    match error {
        Error::Input(mistake) => {
            let all = std::iter::once(mistake).chain(&mistake.others);
            all.for_each(|mistake| assert!(!mistake.message.trim().is_empty(), "{mistake:?}"));
        }
        other => panic!("this is no mistake of the input: {other:?}"),
    }
}

#[test]
fn no_command_line_makes_it_panic() {
    for (path, line) in LINES {
        // What this program was built without is not there.
        let Some(entry) = registry::find(path) else { continue };
        let (manifest, command) = (Manifest::of(entry), help::action(entry));
        let secret = manifest.params.iter().any(|param| param.kind.has_secret());
        mutations::each(&[line.as_bytes()], OF_A_LINE, |line| {
            let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            if words.iter().any(|word| reads(word)) {
                return;
            }
            let args = [entry.meta.name().as_bytes()].into_iter().chain(words).map(|word| OsString::from_vec(word.to_vec()));
            match command.clone().try_get_matches_from(args) {
                Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {}
                Err(e) => is_told(&usage_error(&e, secret)),
                Ok(matches) => {
                    let read = flags::Reader::new(&matches).read(&manifest.params);
                    let parsed = read.and_then(|input| entry.parse(input, Timestamp::UNIX_EPOCH).map(drop));
                    parsed.unwrap_or_else(|e| is_told(&e));
                }
            }
        });
    }
}

#[test]
fn no_input_makes_an_action_panic() {
    for entry in registry::actions() {
        let examples: Vec<&[u8]> = entry.meta.examples.iter().map(|example| example.input.as_bytes()).collect();
        if examples.is_empty() {
            continue;
        }
        mutations::each(&examples, OF_AN_ACTION, |text| {
            let input = Input::from_json(&String::from_utf8_lossy(text));
            let parsed = input.and_then(|input| entry.parse(input, Timestamp::UNIX_EPOCH).map(drop));
            parsed.unwrap_or_else(|e| is_told(&e));
        });
    }
}
