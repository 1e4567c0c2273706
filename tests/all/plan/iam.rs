//! Plans of IAM: keys, passwords, and users that are locked out.

use std::fs;

use serde_json::json;

use super::{expected, outcomes, plan};
use crate::support::proxy::Proxy;
use crate::support::{Account, Response, directory, moto, xml};

/// A new access key of a user.
fn key(account: &Account, user: &str) -> String {
    xml::texts(&account.iam("CreateAccessKey", &[("UserName", user)]), "AccessKeyId").remove(0)
}

/// The status of a user's key.
fn status(account: &Account, user: &str, key: &str) -> Option<String> {
    let reply = account.iam("ListAccessKeys", &[("UserName", user)]);
    let mut keys = xml::texts(&reply, "AccessKeyId").into_iter().zip(xml::texts(&reply, "Status"));
    keys.find(|(id, _)| id == key).map(|(_, status)| status)
}

/// moto has no policies that AWS manages, and no credentials for single services.
fn iam() -> Proxy {
    let nothing = ["AttachUserPolicy", "ListServiceSpecificCredentials"];
    nothing.into_iter().fold(Proxy::to(moto::endpoint()), |proxy, operation| {
        let answer = format!("<{operation}Response><{operation}Result/></{operation}Response>");
        proxy.rule(operation, move |_, _| Some(Response::xml(200, answer.clone())))
    })
}

#[test]
fn only_keys_that_are_still_as_they_were_planned_are_changed() {
    let account = Account::fresh();
    ["alice", "bob"].iter().for_each(|user| drop(account.iam("CreateUser", &[("UserName", user)])));
    let (same, made, gone) = (key(&account, "alice"), key(&account, "alice"), key(&account, "bob"));
    let folder = directory();
    let run = |line: String| account.aaws(line).within(folder.path()).run();
    let line = format!("iam modify_access_keys --key {same} alice --key {made} alice --key {gone} bob --disable --plan plan.jsonl");
    run(line).ok();
    assert_eq!(plan(&folder)[1]["input"], json!({"keys": [{"AccessKeyId": same, "UserName": "alice"}]}));

    account.iam("UpdateAccessKey", &[("UserName", "alice"), ("AccessKeyId", &made), ("Status", "Inactive")]);
    account.iam("DeleteAccessKey", &[("UserName", "bob"), ("AccessKeyId", &gone)]);
    assert_eq!(run("apply plan.jsonl --report report.jsonl".into()).exits(3).json(), json!([gone]));
    assert_eq!(outcomes(&folder), expected(&[(&same, "done", ""), (&made, "unchanged", ""), (&gone, "failed", "NotFound")]));
    assert_eq!(status(&account, "alice", &same).as_deref(), Some("Inactive"));
}

#[test]
fn passwords_are_in_no_plan_and_are_given_anew() {
    let account = Account::fresh();
    account.iam("CreateUser", &[("UserName", "alice")]);
    let folder = directory();
    let server = iam().start();
    let run = |line: &str, stdin: &str| account.aaws(line).endpoint(&server.url).within(folder.path()).stdin(stdin).run();
    let line = "iam modify_users_console_access --users - --enable --plan plan.jsonl";
    run(line, r#"[{"UserName": "alice", "Password": "Correct-Horse-7-Battery"}]"#).ok();
    let text = fs::read_to_string(folder.path().join("plan.jsonl")).expect("the plan");
    assert!(!text.contains("Battery"), "{text}");
    assert_eq!(plan(&folder)[1]["input"], json!({"users": [{"UserName": "alice"}]}));

    // Nobody is there to type it.
    run("apply plan.jsonl", "").exits(2).silent().logs("users[0].Password");
    for (input, says) in [
        (r#"{"users": [{"UserName": "bob", "Password": "Wrong-Horse-8"}]}"#, "not in the plan"),
        (r#"{"enable": false}"#, "only secrets are given anew"),
        (r#"{"password": "Wrong-Horse-8"}"#, "there is no `password`"),
        (r#"["Wrong-Horse-8"]"#, "no JSON object"),
    ] {
        let refused = run("apply plan.jsonl --input -", input).exits(2).silent().logs(says);
        assert!(!refused.stderr.contains("Wrong-Horse-8"), "{refused}");
    }
    let has_password = || account.try_call("iam", "Action=GetLoginProfile&UserName=alice").status == 200;
    assert!(!has_password());
    run("apply plan.jsonl --input -", r#"{"users": [{"UserName": "alice", "Password": "Correct-Horse-7-Battery"}]}"#).ok();
    assert!(has_password());
}

#[test]
fn a_new_key_of_a_user_who_is_quarantined_is_not_overlooked() {
    let account = Account::fresh();
    account.iam("CreateUser", &[("UserName", "mallory")]);
    let old = key(&account, "mallory");
    let folder = directory();
    let server = iam().start();
    let run = |line: &str| account.aaws(line).endpoint(&server.url).within(folder.path()).run();
    run("iam quarantine_user --user mallory --plan plan.jsonl").ok();
    let new = key(&account, "mallory");
    run("apply plan.jsonl --report report.jsonl").exits(3).logs(&new);
    let (old_step, new_step) = (format!("mallory: access key {old}"), format!("mallory: access key {new}"));
    let outcomes = outcomes(&folder);
    for step in expected(&[(&old_step, "done", ""), (&new_step, "skipped", "Changed"), ("mallory: deny", "done", "")]) {
        assert!(outcomes.contains(&step), "no {step:?} in {outcomes:?}");
    }
    assert_eq!(status(&account, "mallory", &old).as_deref(), Some("Inactive"));
    assert_eq!(status(&account, "mallory", &new).as_deref(), Some("Active"));
}
