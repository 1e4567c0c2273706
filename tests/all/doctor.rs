//! `aaws doctor`: each thing that a run needs, there or not.

use std::fs;

use serde_json::Value;

use crate::support::aaws::Output;
use crate::support::proxy::Proxy;
use crate::support::{Account, Response, Server, aaws, directory, moto};

/// Status and message of one check.
#[track_caller]
fn check(run: &Output, name: &str) -> (String, String) {
    let checks = run.json();
    let found = checks.as_array().expect("a list of checks").iter().find(|check| check["check"] == name).cloned();
    let found = found.unwrap_or_else(|| panic!("no check {name:?} in {run}"));
    let text = |member: &str| found[member].as_str().unwrap_or_default().to_owned();
    if found["status"] == "failed" {
        assert!(!text("hint").is_empty(), "{name} failed, and nobody is told what to do: {run}");
    }
    (text("status"), text("message"))
}

/// A check must have this status, and a message with these words.
#[track_caller]
fn says(run: &Output, name: &str, status: &str, words: &str) {
    let (found, message) = check(run, name);
    assert!(found == status && message.contains(words), "{name} is to be {status:?} and say {words:?}: {run}");
}

/// The names of the checks that are not `ok`.
fn not_ok(run: &Output) -> Vec<String> {
    let checks = run.json();
    let wrong = checks.as_array().expect("a list of checks").iter().filter(|check| check["status"] != "ok");
    wrong.map(|check| check["check"].as_str().unwrap_or_default().to_owned()).collect()
}

/// An answer of STS that was given at some time.
fn identity(date: &str) -> Response {
    let arn = "arn:aws:iam::123456789012:user/me";
    let mut answer = Response::xml(
        200,
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult><Arn>{arn}</Arn>\
             <UserId>AIDATEST</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
        ),
    );
    answer.headers.push(("Date".to_owned(), date.to_owned()));
    answer
}

#[test]
fn all_is_well_where_all_is_there() {
    let account = Account::fresh();
    let run = account.aaws("doctor").run().ok();
    assert_eq!(not_ok(&run), [""; 0], "{run}");
    says(&run, "region", "ok", "us-east-1, from AWS_REGION");
    says(&run, "credentials", "ok", "AWS_ACCESS_KEY_ID");
    says(&run, "sts", "ok", &account.id);
    says(&run, "proxy", "ok", "none");
    let (_, clock) = check(&run, "clock");
    assert!(clock.contains(" s "), "{run}");
}

#[test]
fn without_credentials_or_region_it_says_what_to_do_and_exits_with_5() {
    let run = aaws("doctor").stranger().endpoint("http://127.0.0.1:1").run().exits(5);
    says(&run, "region", "failed", "no region");
    says(&run, "credentials", "failed", "no usable credentials");
    says(&run, "sts", "skipped", "no credentials");
    says(&run, "settings", "ok", "no file");

    let run = aaws("doctor --region eu-west-1").stranger().endpoint("http://127.0.0.1:1").run().exits(5);
    says(&run, "region", "ok", "eu-west-1, from --region");
    says(&run, "credentials", "failed", "no usable credentials");

    let run = aaws("doctor --profile nobody").endpoint("http://127.0.0.1:1").run().exits(5);
    says(&run, "credentials", "failed", "nobody");
}

#[test]
fn whatever_is_wrong_is_told_in_one_line() {
    let folder = directory();
    let config = folder.path().join("config");
    let profile = "[profile x]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = y\n\
                   [profile noisy]\ncredential_process = sh -c 'echo first >&2; echo second >&2; exit 1'\n";
    fs::write(&config, profile).expect("profiles");
    let run =
        |line: &str| aaws(line).stranger().env("AWS_REGION", "us-east-1").env("AWS_CONFIG_FILE", &config).endpoint("http://127.0.0.1:1");
    for (flags, said) in [
        ("", "Environment: environment variable not set; Profile: "),
        ("--profile x", "profile `y` was not defined"),
        ("--profile noisy", "first; second"),
    ] {
        let (status, message) = check(&run(&format!("doctor {flags}")).run().exits(5), "credentials");
        assert!(status == "failed" && message.contains(said) && !message.contains('\n'), "{flags}: {message:?}");
        let shown = run(&format!("doctor {flags}")).on_terminal("").exits(5).stdout;
        assert!(shown.contains(said) && !shown.contains("\\n"), "{shown}");
    }
    let page = |_: &str, _: usize, _: crate::support::http::Request| Response::xml(500, "<!doctype html>\n<html>\n<title>Not AWS</title>");
    let (_, message) = check(&aaws("doctor").endpoint(&Server::start(page).url).run().exits(1), "sts");
    assert!(message.contains("<!doctype html> <html> <title>Not AWS</title>"), "{message:?}");
}

#[test]
fn a_region_that_is_none_is_told_with_where_it_was_found() {
    let run = Account::fresh().aaws("doctor").env("AWS_REGION", "Ireland (Dublin)").run().exits(5);
    says(&run, "region", "failed", "AWS_REGION");
    // What else there is does not depend on it.
    assert_eq!(not_ok(&run), ["region"], "{run}");

    let folder = directory();
    fs::write(folder.path().join("aaws.toml"), "region = \"eu-west-2\"\n").expect("settings");
    let run = Account::fresh().aaws("doctor").without("AWS_REGION").within(folder.path()).run().ok();
    says(&run, "region", "ok", "eu-west-2, from ./aaws.toml:1");
    says(&run, "settings", "ok", "aaws.toml");
}

#[test]
fn settings_that_are_wrong_are_told_and_the_rest_is_looked_at() {
    let folder = directory();
    fs::write(folder.path().join("aaws.toml"), "region = \"us-east-1\"\nmax_itens = 5\n").expect("settings");
    let run = Account::fresh().aaws("doctor").within(folder.path()).run().exits(1);
    says(&run, "settings", "failed", "aaws.toml:2");
    assert_eq!(not_ok(&run), ["settings"], "{run}");
}

#[test]
fn credentials_that_sts_turns_down_are_exit_code_5() {
    let proxy = Proxy::to(moto::endpoint()).refuse("GetCallerIdentity", 403, "InvalidClientTokenId").start();
    let run = aaws("doctor").endpoint(&proxy.url).run().exits(5);
    says(&run, "sts", "failed", "InvalidClientTokenId");
    says(&run, "credentials", "ok", "AWS_ACCESS_KEY_ID");
}

#[test]
fn an_sts_that_does_not_answer_is_exit_code_1() {
    let run = aaws("doctor").endpoint("http://127.0.0.1:1").run().exits(1);
    says(&run, "sts", "failed", "127.0.0.1:1");
    says(&run, "clock", "skipped", "STS");
}

#[test]
fn a_clock_that_is_wrong_is_told_also_when_the_request_is_turned_down() {
    let server = Server::start(|_, _, _| identity("Wed, 01 Jan 2020 00:00:00 GMT"));
    let run = aaws("doctor").endpoint(&server.url).run().exits(1);
    says(&run, "clock", "failed", "ahead of");
    says(&run, "sts", "ok", "123456789012");

    let server = Server::start(|_, _, _| identity("Fri, 01 Jan 2100 00:00:00 GMT"));
    says(&aaws("doctor").endpoint(&server.url).run().exits(1), "clock", "failed", "behind");

    let server = Server::start(|_, _, request| {
        let mut refused = crate::support::proxy::error(&request, 403, "SignatureDoesNotMatch");
        refused.headers.push(("Date".to_owned(), "Wed, 01 Jan 2020 00:00:00 GMT".to_owned()));
        refused
    });
    let run = aaws("doctor").endpoint(&server.url).run().exits(5);
    says(&run, "clock", "failed", "ahead of");
    says(&run, "sts", "failed", "SignatureDoesNotMatch");
}

#[test]
fn another_account_than_the_one_that_is_meant_is_told() {
    let account = Account::fresh();
    let run = account.aaws("doctor --account 999999999999").run().exits(1);
    says(&run, "sts", "failed", &account.id);
    assert!(account.aaws(format!("doctor --account {}", account.id)).run().ok().json().is_array());
}

#[test]
fn when_credentials_expire_is_told() {
    let folder = directory();
    let told = |expires: &str| {
        let keys = format!(r#"{{"Version":1,"AccessKeyId":"AKIATEST","SecretAccessKey":"secret","Expiration":"{expires}"}}"#);
        fs::write(folder.path().join("keys.json"), keys).expect("keys");
        let config = format!("[default]\ncredential_process = cat {}\n", folder.path().join("keys.json").display());
        fs::write(folder.path().join("config"), config).expect("a profile");
        let server = Server::start(|_, _, _| identity("Wed, 01 Jan 2020 00:00:00 GMT"));
        let run = aaws("doctor").stranger().env("AWS_REGION", "us-east-1").env("AWS_CONFIG_FILE", folder.path().join("config"));
        run.endpoint(&server.url).run()
    };
    let run = told("2099-01-01T00:00:00Z");
    says(&run, "credentials", "ok", "2099-01-01T00:00:00Z");
    let (status, profiles) = check(&run, "profiles");
    assert!(status == "ok" && profiles.contains("config"), "{run}");
}

#[test]
fn files_that_a_variable_names_must_be_there() {
    let account = Account::fresh();
    let run = account.aaws("doctor").env("AWS_CONFIG_FILE", "/nowhere/config").run().exits(1);
    says(&run, "profiles", "failed", "AWS_CONFIG_FILE");

    let run = account.aaws("doctor").env("AWS_CA_BUNDLE", "/nowhere/ca.pem").run().exits(1);
    says(&run, "tls", "failed", "AWS_CA_BUNDLE");
    says(&run, "sts", "skipped", "certificates");
}

#[test]
fn no_password_of_a_proxy_is_shown() {
    let run = Account::fresh().aaws("doctor").env("HTTPS_PROXY", "http://me:hunter2@proxy.example.com:3128").run().ok();
    says(&run, "proxy", "ok", "HTTPS_PROXY=http://proxy.example.com:3128");
    assert!(!run.to_string().contains("hunter2"), "{run}");
}

#[test]
fn a_person_reads_a_line_for_each() {
    let run = Account::fresh().aaws("doctor").on_terminal("").ok();
    let line = run.stdout.lines().find(|line| line.starts_with("ok       region")).unwrap_or_default();
    assert!(line.contains("us-east-1, from AWS_REGION"), "{run}");
    let table = Account::fresh().aaws("doctor --output table --query").arg("[].[check, status]").run().ok();
    assert!(table.stdout.contains("region"), "{table}");
}

#[test]
fn nothing_but_the_identity_is_asked_for() {
    let proxy = Proxy::to(moto::endpoint()).start();
    let run = Account::fresh().aaws("doctor").endpoint(&proxy.url).run().ok();
    assert_eq!(proxy.operations(), ["GetCallerIdentity"], "{run}");
    let names: Vec<Value> = run.json().as_array().expect("a list").iter().map(|check| check["check"].clone()).collect();
    assert_eq!(names, ["settings", "region", "tls", "proxy", "profiles", "credentials", "sts", "clock"]);
}
