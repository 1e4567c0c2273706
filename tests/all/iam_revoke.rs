//! What IAM takes away for good or for a while: keys that are deleted, and sessions of roles that are ended. On moto.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::aaws::Aaws;
use crate::support::proxy::{Proxy, error};
use crate::support::{Account, Output, Server, directory, http, moto, outcomes, report, told, xml};

fn plain() -> Proxy {
    Proxy::to(moto::endpoint())
}

/// The operations that change something.
fn writes(server: &Server) -> Vec<String> {
    let looks = |name: &String| name.starts_with("Get") || name.starts_with("List");
    server.operations().into_iter().filter(|name| !looks(name)).collect()
}

/// A new access key of a user, who is made when there is none; disabled where that is asked for.
fn key(account: &Account, user: &str, status: &str) -> String {
    account.try_call("iam", &format!("Action=CreateUser&UserName={user}"));
    let id = xml::texts(&account.iam("CreateAccessKey", &[("UserName", user)]), "AccessKeyId").remove(0);
    account.iam("UpdateAccessKey", &[("UserName", user), ("AccessKeyId", &id), ("Status", status)]);
    id
}

/// Status by id.
fn keys(account: &Account, user: &str) -> BTreeMap<String, String> {
    let reply = account.iam("ListAccessKeys", &[("UserName", user)]);
    xml::texts(&reply, "AccessKeyId").into_iter().zip(xml::texts(&reply, "Status")).collect()
}

/// Item, status and code of each line of a report, sorted.
fn settled(home: &tempfile::TempDir) -> Vec<(String, String, String)> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let mut lines: Vec<_> = report(home).iter().map(|line| (text(line, "item"), text(line, "status"), text(line, "code"))).collect();
    lines.sort_unstable();
    lines
}

fn expected(lines: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let mut lines: Vec<_> =
        lines.iter().map(|(item, status, code)| ((*item).to_owned(), (*status).to_owned(), (*code).to_owned())).collect();
    lines.sort_unstable();
    lines
}

// --- delete_access_keys ---

/// moto's keys are of today: here all of them look old.
fn old_keys() -> Proxy {
    plain().rewrite("ListAccessKeys", |_, text| {
        let dates = xml::texts(&text, "CreateDate");
        dates.iter().fold(text, |text, date| text.replace(date, "2020-01-01T00:00:00Z"))
    })
}

#[test]
fn keys_that_are_not_active_are_deleted_and_the_others_stay() {
    let account = Account::fresh();
    let (idle, active) = (key(&account, "alice", "Inactive"), key(&account, "alice", "Active"));
    let other = key(&account, "bob", "Inactive");
    let (proxy, home) = (plain().start(), directory());
    let line =
        format!("iam delete_access_keys --key {idle} alice --key {active} alice --key {other} --key {idle} alice --report report.jsonl");
    let run = account.aaws(line).endpoint(&proxy.url).within(home.path()).run().exits(3).logs("modify_access_keys");
    assert_eq!(run.json(), json!([active]), "what is still there");
    assert_eq!(keys(&account, "alice"), BTreeMap::from([(active.clone(), "Active".to_owned())]));
    assert_eq!(keys(&account, "bob"), BTreeMap::new());
    let lines = [(idle.as_str(), "done", ""), (&active, "skipped", ""), (&other, "done", ""), (&idle, "unchanged", "")];
    assert_eq!(settled(&home), expected(&lines));
    assert_eq!(proxy.count("ListAccessKeys"), 2, "each user is read once");
    let deletions = proxy.requests("DeleteAccessKey");
    assert!(deletions.iter().all(|request| request.parameter("UserName").is_some_and(|name| !name.is_empty())));
    assert_eq!(proxy.count("GetAccessKeyLastUsed"), 1, "of the key whose user was not given");
}

#[test]
fn keys_to_delete_that_do_not_exist_are_failures_unless_they_are_to_be_ignored() {
    let account = Account::fresh();
    let id = key(&account, "alice", "Inactive");
    let line = format!("iam delete_access_keys --key AKIANOSUCHKEYATALL00 --key AKIANOSUCHKEYATALL01 alice --key {id} nobody");
    let run = account.aaws(&line).run().exits(3).logs("NotFound");
    assert_eq!(run.json(), json!(["AKIANOSUCHKEYATALL00", "AKIANOSUCHKEYATALL01", id]));
    assert_eq!(account.aaws(format!("{line} --ignore_not_found")).run().ok().json(), json!([]));
    assert_eq!(keys(&account, "alice").len(), 1, "it is no key of the user that was given");
}

#[test]
fn keys_used_or_created_lately_are_kept_where_that_is_asked_for() {
    let account = Account::fresh();
    let id = key(&account, "alice", "Inactive");
    let line = format!("iam delete_access_keys --key {id} alice --inactive_days 90 --report report.jsonl");
    let home = directory();
    let run = |proxy: Proxy| account.aaws(&line).endpoint(&proxy.start().url).within(home.path()).run();
    assert_eq!(run(plain()).ok().json(), json!([id]));
    assert_eq!(settled(&home), expected(&[(&id, "skipped", "Protected")]));
    assert_eq!(told(&home)[0].2, "it was created 0 days ago");

    let used_yesterday = |_: usize, _: String| {
        let day = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(25);
        format!(
            "<GetAccessKeyLastUsedResponse><GetAccessKeyLastUsedResult><UserName>alice</UserName><AccessKeyLastUsed><Region>us-east-1</Region>\
             <ServiceName>s3</ServiceName><LastUsedDate>{day:.0}</LastUsedDate></AccessKeyLastUsed></GetAccessKeyLastUsedResult>\
             </GetAccessKeyLastUsedResponse>"
        )
    };
    assert_eq!(run(old_keys().rewrite("GetAccessKeyLastUsed", used_yesterday)).ok().json(), json!([id]));
    assert_eq!(told(&home)[0].2, "it was used 1 day ago");
    assert_eq!(keys(&account, "alice").len(), 1);
    // Created in 2020, and never used.
    assert_eq!(run(old_keys()).ok().json(), json!([]));
    assert_eq!(keys(&account, "alice").len(), 0);
}

#[test]
fn a_key_whose_last_use_cannot_be_looked_at_stays_unless_that_is_taken_on() {
    let account = Account::fresh();
    let id = key(&account, "alice", "Inactive");
    let proxy = old_keys().refuse("GetAccessKeyLastUsed", 403, "AccessDenied").start();
    let home = directory();
    let line = format!("iam delete_access_keys --key {id} alice --inactive_days 90 --report report.jsonl");
    let run = |flags: &str| account.aaws(format!("{line} {flags}")).endpoint(&proxy.url).within(home.path()).run();
    assert_eq!(run("").exits(3).logs("AccessDenied").json(), json!([id]));
    assert_eq!(settled(&home), expected(&[(&id, "failed", "Unchecked")]));
    assert_eq!(proxy.count("DeleteAccessKey"), 0);
    assert_eq!(run("--unchecked").ok().json(), json!([]));
    assert_eq!(keys(&account, "alice").len(), 0);
    account.aaws(format!("iam delete_access_keys --key {id} alice --unchecked")).run().exits(2).silent().logs("inactive_days");
}

#[test]
fn one_key_that_cannot_be_deleted_does_not_sink_the_others() {
    let account = Account::fresh();
    let ids = ["alice", "bob", "carol"].map(|user| key(&account, user, "Inactive"));
    let proxy = plain()
        .refuse_with("DeleteAccessKey", "UserName=alice", 403, "AccessDenied")
        .refuse_with("ListAccessKeys", "UserName=bob", 403, "AccessDenied")
        .start();
    let home = directory();
    let [one, two, three] = &ids;
    let line = format!("iam delete_access_keys --key {one} alice --key {two} bob --key {three} carol --report report.jsonl");
    let run = account.aaws(line).endpoint(&proxy.url).within(home.path()).run().exits(3);
    assert_eq!(run.json(), json!([one, two]));
    assert_eq!(settled(&home), expected(&[(one, "failed", "AccessDenied"), (two, "failed", "AccessDenied"), (three, "done", "")]));
}

#[test]
fn a_deletion_whose_answer_was_lost_is_done() {
    let account = Account::fresh();
    let id = key(&account, "alice", "Inactive");
    let first_is_lost = |n: usize, request: &mut http::Request| {
        (n == 1).then(|| {
            http::send(moto::endpoint(), request).expect("it is carried out");
            error(request, 500, "ServiceFailure")
        })
    };
    let proxy = plain().rule("DeleteAccessKey", first_is_lost).start();
    let run = account.aaws(format!("iam delete_access_keys --key {id} alice")).endpoint(&proxy.url).run().ok();
    assert_eq!((run.json(), proxy.count("DeleteAccessKey")), (json!([]), 2));
}

#[test]
fn a_dry_run_deletes_no_key_and_a_person_is_asked_first() {
    let account = Account::fresh();
    let id = key(&account, "alice", "Inactive");
    let proxy = plain().start();
    let aaws = |flags: &str| account.aaws(format!("iam delete_access_keys --key {id} alice {flags}")).endpoint(&proxy.url);
    assert_eq!(outcomes(&aaws("--dry_run").run().ok().json()), [(id.as_str(), "planned")]);
    aaws("").on_terminal("n").exits(4);
    assert_eq!(proxy.count("DeleteAccessKey"), 0);
    assert_eq!(keys(&account, "alice").len(), 1);
    aaws("").on_terminal("y").ok();
    assert_eq!(keys(&account, "alice").len(), 0);
}

#[test]
fn a_key_that_was_enabled_since_it_was_planned_stays() {
    let account = Account::fresh();
    let (same, enabled) = (key(&account, "alice", "Inactive"), key(&account, "bob", "Inactive"));
    let home = directory();
    let run = |line: &str| account.aaws(line).within(home.path()).run();
    run(&format!("iam delete_access_keys --key {same} alice --key {enabled} bob --plan plan.jsonl")).ok();
    account.iam("UpdateAccessKey", &[("UserName", "bob"), ("AccessKeyId", &enabled), ("Status", "Active")]);
    run("apply plan.jsonl").exits(3);
    assert_eq!((keys(&account, "alice").len(), keys(&account, "bob").len()), (0, 1));
}

#[test]
fn keys_go_from_what_finds_them_to_what_deletes_them() {
    let account = Account::fresh();
    let (idle, active) = (key(&account, "alice", "Inactive"), key(&account, "bob", "Active"));
    let proxy = old_keys().start();
    let line = "aaws iam discover_old_access_keys --threshold_days 90 --inactive | aaws iam delete_access_keys --keys - --inactive_days 90";
    let run = account.shell(line).endpoint(&proxy.url).run().exits(3);
    assert_eq!(run.json(), json!([active]));
    assert!(!keys(&account, "alice").contains_key(&idle));
    let none = account.aaws("iam delete_access_keys --keys -").stdin("[]").endpoint(&proxy.url).run().ok();
    assert_eq!(none.json(), json!([]));
}

// --- revoke_role_sessions ---

const POLICY: &str = "AWSRevokeOlderSessions";

const THEIRS: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}"#;

fn role(account: &Account, path: &str, name: &str) {
    let trust = r#"{"Version":"2012-10-17","Statement":[]}"#;
    account.iam("CreateRole", &[("RoleName", name), ("Path", path), ("AssumeRolePolicyDocument", trust)]);
}

/// What the policy of a role says, if there is one.
fn policy(account: &Account, role: &str) -> Option<Value> {
    let reply = account.try_call("iam", &format!("Action=GetRolePolicy&RoleName={role}&PolicyName={POLICY}"));
    let document = xml::texts(&reply.text(), "PolicyDocument").into_iter().next()?;
    let text = if document.starts_with('{') { document } else { xml::percent_decode(&document) };
    Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}")))
}

/// The instant before which the sessions of a role are ended.
fn ended(account: &Account, role: &str) -> jiff::Timestamp {
    let policy = policy(account, role).expect("the policy is there");
    let statement = &policy["Statement"][0];
    assert_eq!((&statement["Effect"], &statement["Action"], &statement["Resource"]), (&json!("Deny"), &json!("*"), &json!("*")));
    let until = statement["Condition"]["DateLessThan"]["aws:TokenIssueTime"].as_str().expect("an instant");
    until.parse().expect("an instant")
}

#[test]
fn sessions_that_are_open_are_denied_everything() {
    let account = Account::fresh();
    ["worker", "deployer"].iter().for_each(|name| role(&account, "/team/", name));
    let before = jiff::Timestamp::now();
    let proxy = plain().start();
    let run = account.aaws("iam revoke_role_sessions --roles worker deployer worker").endpoint(&proxy.url).run().ok().logs("duplicate id");
    assert_eq!(run.json(), json!([]));
    for name in ["worker", "deployer"] {
        let until = ended(&account, name);
        assert!(until.as_millisecond() >= before.as_millisecond() && until <= jiff::Timestamp::now(), "{until}");
    }
    assert_eq!(writes(&proxy), ["PutRolePolicy"; 2]);
    // A second run ends what was opened since.
    let first = ended(&account, "worker");
    account.aaws("iam revoke_role_sessions --roles worker").run().ok();
    assert!(ended(&account, "worker") > first);
}

/// What moto says, but that its clock is so many minutes ahead of the one here.
fn minutes_ahead(minutes: i64) -> Proxy {
    plain().rule("GetCallerIdentity", move |_, request| {
        let mut reply = http::send(moto::endpoint(), request).expect("an answer");
        let there = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
        reply.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
        reply.headers.push(("Date".to_owned(), there.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()));
        Some(reply)
    })
}

#[test]
fn sessions_are_ended_by_the_clock_of_aws_where_the_one_here_is_wrong() {
    for minutes in [10, -10] {
        let account = Account::fresh();
        role(&account, "/", "worker");
        let proxy = minutes_ahead(minutes).start();
        account.aaws("iam revoke_role_sessions --roles worker").endpoint(&proxy.url).run().ok().logs("the clock here");
        let off = ended(&account, "worker").duration_since(jiff::Timestamp::now()).as_secs() - minutes * 60;
        assert!((-60..60).contains(&off), "{minutes}: {off} s");
    }
}

#[test]
fn sessions_that_are_ended_to_a_later_instant_stay_ended() {
    let account = Account::fresh();
    let ending = |all: Value, until: &str| {
        let condition = json!({ "DateLessThan": { "aws:TokenIssueTime": until } });
        let statement = json!({ "Effect": "Deny", "Action": all, "Resource": "*", "Condition": condition });
        json!({ "Version": "2012-10-17", "Statement": [statement] })
    };
    for (name, all, until, stays) in [
        ("later", json!("*"), "2099-01-01T00:00:00.000Z", true),
        ("console", json!(["*"]), "2099-01-01T00:00:00.000Z", true),
        ("earlier", json!(["*"]), "2020-01-01T00:00:00.000Z", false),
        ("some", json!("s3:*"), "2099-01-01T00:00:00.000Z", false),
    ] {
        role(&account, "/", name);
        let before = ending(all, until);
        account.iam("PutRolePolicy", &[("RoleName", name), ("PolicyName", POLICY), ("PolicyDocument", &before.to_string())]);
        account.aaws(format!("iam revoke_role_sessions --roles {name}")).run().ok();
        assert_eq!(policy(&account, name).as_ref() == Some(&before), stays, "{name}");
    }
}

#[test]
fn roles_that_only_a_service_can_change_are_skipped() {
    let account = Account::fresh();
    role(&account, "/aws-service-role/x.amazonaws.com/", "linked");
    role(&account, "/aws-reserved/sso.amazonaws.com/", "sso");
    role(&account, "/", "protected");
    role(&account, "/", "worker");
    let proxy = plain().refuse_with("PutRolePolicy", "RoleName=protected", 400, "UnmodifiableEntity").start();
    let home = directory();
    let line = "iam revoke_role_sessions --roles linked sso protected worker --report report.jsonl";
    let run = account.aaws(line).endpoint(&proxy.url).within(home.path()).run().exits(3);
    assert_eq!(run.json(), json!([]), "nothing failed");
    let skipped = ["linked", "sso", "protected"].map(|name| (name, "skipped", ""));
    assert_eq!(settled(&home), expected(&[&skipped[..], &[("worker", "done", "")]].concat()));
    assert_eq!(proxy.count("PutRolePolicy"), 2, "what is known to be a service's is not tried");
}

#[test]
fn roles_that_do_not_exist_are_failures_unless_they_are_to_be_ignored() {
    let account = Account::fresh();
    role(&account, "/", "worker");
    let run = account.aaws("iam revoke_role_sessions --roles nobody worker").run().exits(3).logs("NotFound");
    assert_eq!(run.json(), json!(["nobody"]));
    assert!(policy(&account, "worker").is_some());
    let run = account.aaws("iam revoke_role_sessions --roles nobody --ignore_not_found").run().ok();
    assert_eq!(run.json(), json!([]));
    let arn = "arn:aws:iam::123456789012:role/worker";
    account.aaws(format!("iam revoke_role_sessions --roles {arn}")).run().exits(3).logs("InvalidRoleName");
}

#[test]
fn no_roles_and_roles_without_a_name_send_nothing() {
    let account = Account::fresh();
    let proxy = plain().start();
    let run = |list: &str| account.aaws("iam revoke_role_sessions --roles -").stdin(list).endpoint(&proxy.url).run();
    assert_eq!(run("[]").ok().json(), json!([]));
    run(r#"["worker", ""]"#).exits(2).silent();
    assert_eq!(writes(&proxy), [""; 0]);
    assert_eq!(proxy.count("GetRole"), 0);
}

#[test]
fn the_role_that_the_command_runs_with_is_refused() {
    let account = Account::fresh();
    ["tester", "worker"].iter().for_each(|name| role(&account, "/", name));
    let run = account.aaws("iam revoke_role_sessions --roles Tester worker").run().exits(3).logs("OwnRole");
    assert_eq!(run.json(), json!(["Tester"]));
    assert_eq!((policy(&account, "tester"), policy(&account, "worker").is_some()), (None, true));
}

#[test]
fn a_role_that_cannot_be_looked_at_is_let_be_unless_that_is_taken_on() {
    let account = Account::fresh();
    ["one", "other"].iter().for_each(|name| role(&account, "/", name));
    let proxy = plain().refuse_with("GetRolePolicy", "RoleName=one", 403, "AccessDenied").start();
    let home = directory();
    let line = "iam revoke_role_sessions --roles one other --report report.jsonl";
    let run = |flags: &str| account.aaws(format!("{line} {flags}")).endpoint(&proxy.url).within(home.path()).run();
    assert_eq!(run("").exits(3).logs("AccessDenied").json(), json!(["one"]));
    assert_eq!(settled(&home), expected(&[("one", "failed", "Unchecked"), ("other", "done", "")]));
    assert_eq!(policy(&account, "one"), None);
    run("--unchecked").ok();
    assert!(told(&home).iter().any(|(item, _, why)| item == "one" && why.contains("cannot be put back")), "{:?}", told(&home));
    assert!(policy(&account, "one").is_some());
}

#[test]
fn one_role_that_is_denied_does_not_sink_the_others() {
    let account = Account::fresh();
    ["one", "other"].iter().for_each(|name| role(&account, "/", name));
    let proxy = plain().refuse_with("PutRolePolicy", "RoleName=one", 403, "AccessDenied").start();
    let run = account.aaws("iam revoke_role_sessions --roles one other").endpoint(&proxy.url).run().exits(3).logs("AccessDenied");
    assert_eq!(run.json(), json!(["one"]));
    assert!(policy(&account, "other").is_some());
}

#[test]
fn a_dry_run_ends_no_sessions_and_a_person_is_asked_first() {
    let account = Account::fresh();
    role(&account, "/", "worker");
    let proxy = plain().start();
    let aaws = |flags: &str| account.aaws(format!("iam revoke_role_sessions --roles worker {flags}")).endpoint(&proxy.url);
    assert_eq!(outcomes(&aaws("--dry_run").run().ok().json()), [("worker", "planned")]);
    aaws("").on_terminal("n").exits(4);
    assert_eq!(writes(&proxy), [""; 0]);
    aaws("").on_terminal("y").ok();
    assert!(policy(&account, "worker").is_some());
}

#[test]
fn roles_that_strangers_may_assume_go_into_it_as_they_are_found() {
    let account = Account::fresh();
    let open = r#"trust:open={"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*","111122223333"]},"Action":"sts:AssumeRole"}]}"#;
    account.give(&[open, "role:worker"]);
    let line = "aaws iam discover_trust_policies | aaws iam revoke_role_sessions --roles -";
    assert_eq!(account.shell(line).run().ok().json(), json!([]));
    assert_eq!((policy(&account, "open").is_some(), policy(&account, "worker")), (true, None));
}

/// Runs of somebody in an account, who can undo them.
struct Desk {
    account: Account,
    state: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let account = Account::fresh();
        ["mine", "theirs"].iter().for_each(|name| role(&account, "/", name));
        account.iam("PutRolePolicy", &[("RoleName", "theirs"), ("PolicyName", POLICY), ("PolicyDocument", THEIRS)]);
        Desk { account, state: directory() }
    }

    fn aaws(&self, line: &str) -> Aaws {
        self.account.aaws(line).env("XDG_STATE_HOME", self.state.path())
    }
}

/// Item and status of what was undone, sorted.
fn undone(output: &Output) -> Vec<(String, String)> {
    let list = output.json();
    let mut outcomes: Vec<_> = outcomes(&list).into_iter().map(|(item, status)| (item.to_owned(), status.to_owned())).collect();
    outcomes.sort_unstable();
    outcomes
}

#[test]
fn roles_have_the_policy_again_that_they_had() {
    let desk = Desk::new();
    let theirs: Value = serde_json::from_str(THEIRS).expect("JSON");
    desk.aaws("iam revoke_role_sessions --roles mine theirs").run().ok();
    assert_ne!(policy(&desk.account, "theirs").as_ref(), Some(&theirs));
    let output = desk.aaws("undo").run().ok();
    assert_eq!(undone(&output), ["mine", "theirs"].map(|name| (name.to_owned(), "done".to_owned())));
    assert_eq!((policy(&desk.account, "mine"), policy(&desk.account, "theirs")), (None, Some(theirs)));
}

#[test]
fn a_policy_that_somebody_changed_since_is_left_alone() {
    let desk = Desk::new();
    desk.aaws("iam revoke_role_sessions --roles mine theirs").run().ok();
    desk.account.iam("PutRolePolicy", &[("RoleName", "mine"), ("PolicyName", POLICY), ("PolicyDocument", THEIRS)]);
    let output = desk.aaws("undo").run().exits(3).logs("was changed since");
    assert_eq!(undone(&output), [("mine".to_owned(), "skipped".to_owned()), ("theirs".to_owned(), "done".to_owned())]);
    assert_eq!(policy(&desk.account, "mine"), serde_json::from_str(THEIRS).ok());
}
