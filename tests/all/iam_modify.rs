//! The IAM actions that change users, on moto: what it lacks stands in front of it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{self, Request};
use crate::support::proxy::Proxy;
use crate::support::{Account, Output, Response, Server, directory, moto, outcomes, report, xml};

const CHANGE_PASSWORD: &str = "arn:aws:iam::aws:policy/IAMUserChangePassword";
const AWS_DENY_ALL: &str = "arn:aws:iam::aws:policy/AWSDenyAll";
const DENY_ALL: &str = "aaws-quarantine-deny-all";
const END_SESSIONS: &str = "aaws-quarantine-end-sessions";

/// Any certificate that can be parsed.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUf68biEB2u5Diyi4AzYIUjqxQrDAwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjMwODQ5NTlaGA8yMTI2MTAzMDA4NDk1
OVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABHmi
9SBuqmDVNBYK7qBsQ89op5UzCDiyKG931fAgsRmcaO9JZXNckafEdnuuxAVvqSEg
+YKoRnEPAud4mHXF1LSjUzBRMB0GA1UdDgQWBBSuXfSIzY69aLvHRJa+3qBtRJdd
VzAfBgNVHSMEGDAWgBSuXfSIzY69aLvHRJa+3qBtRJddVzAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCICLWBOzGG4KI7I82tvWczPsa7DnTsvbaaR1x
NKeiLdfHAiEAoZcPWe6bmiNZ+D4sqlzJqKF7/bYJhmXvl7U6dgSb11U=
-----END CERTIFICATE-----
";

// --- What stands in front of moto ---

/// An error as IAM writes it.
fn error(status: u16, code: &str) -> Response {
    error_saying(status, code, &format!("{code} by the test"))
}

fn error_saying(status: u16, code: &str, message: &str) -> Response {
    let message = xml::escape(message);
    let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
    Response::xml(status, format!("<ErrorResponse>{error}<RequestId>REQ-{code}</RequestId></ErrorResponse>"))
}

fn forward(request: &Request) -> Response {
    http::send(moto::endpoint(), request).expect("moto answers")
}

/// The wrongs that a test does, before what makes moto more like IAM.
trait Spoiled: Sized {
    fn refusing(self, operation: &'static str, code: &'static str) -> Self;
    fn failing(self, operation: &'static str, nth: usize, code: &'static str) -> Self;
    fn refusing_user(self, operation: &'static str, user: &'static str, code: &'static str) -> Self;
}

impl Spoiled for Proxy {
    /// Answers every request of an operation with an error.
    fn refusing(self, operation: &'static str, code: &'static str) -> Self {
        self.rule(operation, move |_, _| Some(error(status(code), code)))
    }

    /// Answers the `nth` request of an operation with an error.
    fn failing(self, operation: &'static str, nth: usize, code: &'static str) -> Self {
        self.rule(operation, move |n, _| (n == nth).then(|| error(status(code), code)))
    }

    /// Answers the requests of an operation for one user with an error.
    fn refusing_user(self, operation: &'static str, user: &'static str, code: &'static str) -> Self {
        self.rule(operation, move |_, request| (request.parameter("UserName").as_deref() == Some(user)).then(|| error(status(code), code)))
    }
}

fn status(code: &str) -> u16 {
    match code {
        "AccessDenied" => 403,
        "NoSuchEntity" => 404,
        "EntityAlreadyExists" | "EntityTemporarilyUnmodifiable" | "LimitExceeded" => 409,
        _ => 400,
    }
}

/// Answers one member a page, as IAM may: moto pages none of these lists.
fn one_a_page(proxy: Proxy, operations: &[&'static str]) -> Proxy {
    operations.iter().fold(proxy, |proxy, &operation| {
        proxy.rule(operation, move |_, request| {
            let at: usize = request.parameter("Marker").map_or(0, |marker| marker.parse().expect("a marker of this test"));
            let mut whole = request.clone();
            whole.body = request.text().replace(&format!("&Marker={at}"), "").into_bytes();
            let mut reply = forward(&whole);
            let text = reply.text();
            let members: Vec<String> = xml::elements(&text, "member").into_iter().map(|m| format!("<member>{m}</member>")).collect();
            if members.len() < 2 {
                return Some(reply);
            }
            let kept = members.iter().enumerate().filter(|(n, _)| *n != at).fold(text.clone(), |text, (_, m)| text.replacen(m, "", 1));
            let kept = kept.replace("<IsTruncated>false</IsTruncated>", "");
            let more = if at + 1 < members.len() {
                format!("<IsTruncated>true</IsTruncated><Marker>{}</Marker>", at + 1)
            } else {
                "<IsTruncated>false</IsTruncated>".to_owned()
            };
            let end = format!("</{operation}Result>");
            reply.body = kept.replacen(&end, &format!("{more}{end}"), 1).into_bytes();
            Some(reply)
        })
    })
}

/// Has the policies that AWS manages: moto has none, so policies of the account's own of the same names stand for them.
fn with_aws_policies(proxy: Proxy, account: &Account, names: &[&str]) -> Proxy {
    for name in names {
        let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iam:CreateUser","Resource":"*"}]}"#;
        account.iam("CreatePolicy", &[("PolicyName", name), ("PolicyDocument", document)]);
    }
    ["AttachUserPolicy", "DetachUserPolicy", "ListAttachedUserPolicies"].iter().fold(proxy, |proxy, operation| {
        let id = account.id.clone();
        proxy.rule(operation, move |_, request| {
            let mut request = request.clone();
            request.body = request.text().replace("iam%3A%3Aaws%3Apolicy", &format!("iam%3A%3A{id}%3Apolicy")).into_bytes();
            let mut reply = forward(&request);
            reply.body = reply.text().replace(&format!("iam::{id}:policy/"), "iam::aws:policy/").into_bytes();
            Some(reply)
        })
    })
}

/// Credentials for single services, which moto lacks: id to status.
type ServiceCredentials = Arc<Mutex<BTreeMap<String, String>>>;

fn with_service_credentials(proxy: Proxy, ids: &[&str]) -> (Proxy, ServiceCredentials) {
    let state: ServiceCredentials = Arc::new(Mutex::new(ids.iter().map(|id| ((*id).to_owned(), "Active".to_owned())).collect()));
    let (listed, updated) = (Arc::clone(&state), Arc::clone(&state));
    let proxy = proxy.rule("ListServiceSpecificCredentials", move |_, request| {
        let user = request.parameter("UserName").expect("a user name");
        let member = |(id, status): (&String, &String)| {
            format!(
                "<member><UserName>{user}</UserName><Status>{status}</Status><ServiceUserName>{user}-at-1</ServiceUserName>\
                 <CreateDate>2026-01-01T00:00:00Z</CreateDate><ServiceSpecificCredentialId>{id}</ServiceSpecificCredentialId>\
                 <ServiceName>codecommit.amazonaws.com</ServiceName></member>"
            )
        };
        // One a page.
        let state = listed.lock().unwrap();
        let at: usize = request.parameter("Marker").map_or(0, |marker| marker.parse().expect("a marker of this test"));
        let members: String = state.iter().skip(at).take(1).map(member).collect();
        let more = if at + 1 < state.len() {
            format!("<IsTruncated>true</IsTruncated><Marker>{}</Marker>", at + 1)
        } else {
            "<IsTruncated>false</IsTruncated>".to_owned()
        };
        let credentials = format!("<ServiceSpecificCredentials>{members}</ServiceSpecificCredentials>{more}");
        let result = format!("<ListServiceSpecificCredentialsResult>{credentials}</ListServiceSpecificCredentialsResult>");
        Some(Response::xml(200, format!("<ListServiceSpecificCredentialsResponse>{result}</ListServiceSpecificCredentialsResponse>")))
    });
    let proxy = proxy.rule("UpdateServiceSpecificCredential", move |_, request| {
        request.parameter("UserName").expect("a user name");
        let id = request.parameter("ServiceSpecificCredentialId").expect("an id");
        let status = request.parameter("Status").expect("a status");
        *updated.lock().unwrap().get_mut(&id).expect("an id that was listed") = status;
        Some(Response::xml(200, "<UpdateServiceSpecificCredentialResponse></UpdateServiceSpecificCredentialResponse>"))
    });
    (proxy, state)
}

/// The permissions boundary of the one user, which moto lacks.
type Boundary = Arc<Mutex<Option<String>>>;

fn with_boundary(proxy: Proxy) -> (Proxy, Boundary) {
    let state = Boundary::default();
    let (put, deleted, told) = (Arc::clone(&state), Arc::clone(&state), Arc::clone(&state));
    let empty = |operation: &str| Some(Response::xml(200, format!("<{operation}Response></{operation}Response>")));
    let proxy = proxy
        .rule("PutUserPermissionsBoundary", move |_, request| {
            request.parameter("UserName").expect("a user name");
            *put.lock().unwrap() = Some(request.parameter("PermissionsBoundary").expect("the ARN of a policy"));
            empty("PutUserPermissionsBoundary")
        })
        .rule("DeleteUserPermissionsBoundary", move |_, request| {
            request.parameter("UserName").expect("a user name");
            match deleted.lock().unwrap().take() {
                Some(_) => empty("DeleteUserPermissionsBoundary"),
                None => Some(error(404, "NoSuchEntity")),
            }
        })
        .rule("GetUser", move |_, request| {
            let mut reply = forward(request);
            if let Some(arn) = told.lock().unwrap().as_ref() {
                let kind = "<PermissionsBoundaryType>PermissionsBoundaryPolicy</PermissionsBoundaryType>";
                let boundary =
                    format!("<PermissionsBoundary>{kind}<PermissionsBoundaryArn>{arn}</PermissionsBoundaryArn></PermissionsBoundary>");
                reply.body = reply.text().replace("</User>", &format!("{boundary}</User>")).into_bytes();
            }
            Some(reply)
        });
    (proxy, state)
}

/// The operations that change something.
fn writes(server: &Server) -> Vec<String> {
    let looks = |name: &String| name.starts_with("Get") || name.starts_with("List");
    server.operations().into_iter().filter(|name| !looks(name)).collect()
}

#[track_caller]
fn all_name_a_user(server: &Server) {
    for operation in server.operations() {
        for request in server.requests(&operation) {
            let needed = !["GetAccessKeyLastUsed", "GetCallerIdentity", "ListUsers"].contains(&operation.as_str());
            let named = request.parameter("UserName").is_some_and(|name| !name.is_empty());
            assert!(named || !needed, "{operation} without a user name is about the caller: {}", request.text());
        }
    }
}

// --- What is in an account ---

fn user(account: &Account, name: &str) {
    account.iam("CreateUser", &[("UserName", name)]);
}

/// A user with a console password.
fn console_user(account: &Account, name: &str) {
    user(account, name);
    account.iam("CreateLoginProfile", &[("UserName", name), ("Password", "the-old-password")]);
}

/// A new access key: its id.
fn key(account: &Account, user: &str) -> String {
    let reply = account.iam("CreateAccessKey", &[("UserName", user)]);
    xml::texts(&reply, "AccessKeyId").into_iter().next().expect("the id of the new key")
}

/// A new access key: its id and its secret.
fn whole_key(account: &Account, user: &str) -> (String, String) {
    let reply = account.iam("CreateAccessKey", &[("UserName", user)]);
    let member = |name: &str| xml::texts(&reply, name).into_iter().next().expect("a member of the new key");
    (member("AccessKeyId"), member("SecretAccessKey"))
}

/// Status by id.
fn keys(account: &Account, user: &str) -> BTreeMap<String, String> {
    let reply = account.iam("ListAccessKeys", &[("UserName", user)]);
    xml::texts(&reply, "AccessKeyId").into_iter().zip(xml::texts(&reply, "Status")).collect()
}

pub fn has_password(account: &Account, user: &str) -> bool {
    account.try_call("iam", &format!("Action=GetLoginProfile&UserName={user}")).status == 200
}

/// The names of the managed policies attached to a user.
pub fn attached(account: &Account, user: &str) -> Vec<String> {
    xml::texts(&account.iam("ListAttachedUserPolicies", &[("UserName", user)]), "PolicyName")
}

/// The names of a user's inline policies.
fn inline(account: &Account, user: &str) -> Vec<String> {
    xml::texts(&account.iam("ListUserPolicies", &[("UserName", user)]), "member")
}

fn attach(account: &Account, user: &str, policy: &str) {
    account.iam("AttachUserPolicy", &[("UserName", user), ("PolicyArn", &format!("arn:aws:iam::{}:policy/{policy}", account.id))]);
}

/// Item and code of each line of a report, sorted; the code is empty where nothing failed.
fn codes(lines: &[Value]) -> Vec<(&str, &str)> {
    let mut codes: Vec<_> =
        lines.iter().map(|line| (line["item"].as_str().expect("an item"), line["code"].as_str().unwrap_or_default())).collect();
    codes.sort_unstable();
    codes
}

pub fn plain() -> Proxy {
    Proxy::to(moto::endpoint())
}

// --- modify_access_keys ---

#[test]
fn keys_are_disabled_and_enabled_again() {
    let account = Account::fresh();
    user(&account, "alice");
    let id = key(&account, "alice");
    let proxy = plain().start();
    let run = |verb: &str| account.aaws(format!("iam modify_access_keys --key {id} alice --{verb}")).endpoint(&proxy.url).run().ok();
    assert_eq!(run("disable").json(), json!([]));
    assert_eq!(keys(&account, "alice"), BTreeMap::from([(id.clone(), "Inactive".to_owned())]));
    assert_eq!(run("enable").json(), json!([]));
    assert_eq!(keys(&account, "alice"), BTreeMap::from([(id.clone(), "Active".to_owned())]));
    let once = ["ListAccessKeys", "GetCallerIdentity", "UpdateAccessKey"];
    assert_eq!(proxy.operations(), [once, once].concat(), "what is declared is called, and nothing else");
    all_name_a_user(&proxy);
}

#[test]
fn a_key_without_its_user_is_looked_up_and_never_taken_for_the_callers() {
    let account = Account::fresh();
    user(&account, "alice");
    let id = key(&account, "alice");
    let proxy = plain().start();
    let run = account.aaws(format!("iam modify_access_keys --key {id} --disable")).endpoint(&proxy.url).run().ok();
    assert_eq!(run.json(), json!([]));
    assert_eq!(keys(&account, "alice")[&id], "Inactive");
    assert_eq!(proxy.operations(), ["GetAccessKeyLastUsed", "ListAccessKeys", "GetCallerIdentity", "UpdateAccessKey"]);
    all_name_a_user(&proxy);
}

#[test]
fn a_key_whose_user_nobody_knows_is_not_touched() {
    let account = Account::fresh();
    user(&account, "alice");
    let id = key(&account, "alice");
    // So IAM answers for a key of the root user.
    let unknown = "<GetAccessKeyLastUsedResponse><GetAccessKeyLastUsedResult><AccessKeyLastUsed><Region>N/A</Region>\
                   <ServiceName>N/A</ServiceName></AccessKeyLastUsed></GetAccessKeyLastUsedResult></GetAccessKeyLastUsedResponse>";
    let proxy = plain().rule("GetAccessKeyLastUsed", move |_, _| Some(Response::xml(200, unknown))).start();
    let run = account.aaws(format!("iam modify_access_keys --key {id} --disable")).endpoint(&proxy.url).run().exits(3);
    assert_eq!(run.json(), json!([id]));
    run.logs("UnknownUser");
    assert_eq!(writes(&proxy), [""; 0]);
}

#[test]
fn names_that_are_no_users_are_never_sent() {
    let account = Account::fresh();
    user(&account, "alice");
    let proxy = plain().start();
    let list = json!([{"AccessKeyId": "AKIAROOTROOTROOTROOT", "UserName": "<root_account>"}]);
    let run = account.aaws("iam modify_access_keys --keys - --disable").stdin(list.to_string()).endpoint(&proxy.url).run().exits(3);
    run.logs("InvalidUserName").logs("root user");
    assert_eq!(proxy.operations(), [""; 0]);
}

#[test]
fn a_key_that_is_so_already_is_left_alone() {
    let account = Account::fresh();
    user(&account, "alice");
    let (one, other) = (key(&account, "alice"), key(&account, "alice"));
    account.iam("UpdateAccessKey", &[("UserName", "alice"), ("AccessKeyId", &one), ("Status", "Inactive")]);
    let proxy = plain().start();
    let line = format!("iam modify_access_keys --key {one} alice --key {other} alice --disable");
    let run = account.aaws(&line).endpoint(&proxy.url).run().ok().logs("unchanged");
    assert_eq!(run.json(), json!([]));
    assert_eq!(proxy.operations(), ["ListAccessKeys", "GetCallerIdentity", "UpdateAccessKey"], "a user is read once");
    account.aaws(&line).endpoint(&proxy.url).run().ok();
    assert_eq!(proxy.count("UpdateAccessKey"), 1, "the second run finds nothing to do");
}

#[test]
fn the_sessions_own_key_is_refused() {
    let account = Account::fresh();
    ["admin", "bob"].iter().for_each(|name| user(&account, name));
    let (own, secret) = whole_key(&account, "admin");
    let other = key(&account, "bob");
    let proxy = plain().start();
    let line = format!("iam modify_access_keys --key {own} admin --key {other} bob --disable");
    let aaws = || account.aaws(&line).endpoint(&proxy.url).env("AWS_ACCESS_KEY_ID", &own).env("AWS_SECRET_ACCESS_KEY", &secret);
    let run = aaws().without("AWS_SESSION_TOKEN").run().exits(3).logs("OwnKey").logs("include_own_key");
    assert_eq!(run.json(), json!([own]));
    assert_eq!(keys(&account, "admin")[&own], "Active");
    assert_eq!(keys(&account, "bob")[&other], "Inactive", "the other key is disabled all the same");

    aaws().without("AWS_SESSION_TOKEN").arg("--dry_run").run().exits(3).logs("OwnKey");
    aaws().without("AWS_SESSION_TOKEN").arg("--include_own_key").run().ok();
    assert_eq!(keys(&account, "admin")[&own], "Inactive");
}

#[test]
fn the_own_key_comes_last_when_all_others_are_settled() {
    let account = Account::fresh();
    user(&account, "admin");
    let (own, secret) = whole_key(&account, "admin");
    let names = ["u1", "u2", "u3"];
    let others: Vec<String> = names
        .iter()
        .map(|name| {
            user(&account, name);
            key(&account, name)
        })
        .collect();
    // Each other key is slow, and the last of them is tried twice: the own key waits for all of that.
    let slow = {
        let own = own.clone();
        let last = others[2].clone();
        let tried = Mutex::new(0);
        plain().rule("UpdateAccessKey", move |_, request| {
            let id = request.parameter("AccessKeyId").expect("an id");
            if id == own {
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
            let mut tried = tried.lock().unwrap();
            *tried += usize::from(id == last);
            (id == last && *tried == 1).then(|| error(409, "EntityTemporarilyUnmodifiable"))
        })
    };
    let proxy = slow.start();
    let given: String = names.iter().zip(&others).map(|(name, id)| format!(" --key {id} {name}")).collect();
    let line = format!("iam modify_access_keys --key {own} admin{given} --disable --include_own_key");
    let run = account.aaws(line).endpoint(&proxy.url).env("AWS_ACCESS_KEY_ID", &own).env("AWS_SECRET_ACCESS_KEY", &secret);
    run.without("AWS_SESSION_TOKEN").run().ok();
    let sent: Vec<_> = proxy.requests("UpdateAccessKey").iter().filter_map(|r| r.parameter("AccessKeyId")).collect();
    assert_eq!(sent.len(), 5);
    assert_eq!(sent.last(), Some(&own), "{sent:?}");
}

#[test]
fn what_discovers_keys_can_be_piped_in_as_it_stands() {
    let account = Account::fresh();
    user(&account, "alice");
    let (one, other) = (key(&account, "alice"), key(&account, "alice"));
    let found = json!([
        {"AccessKeyId": one, "UserName": "alice", "CreateDate": "2020-01-01T00:00:00Z", "Status": "Active", "AgeDays": 2000, "LastUsedDate": null},
        {"access_key_id": other, "user_name": "alice", "something": {"new": [1]}},
    ]);
    let run = account.aaws("iam modify_access_keys --keys - --disable").stdin(found.to_string()).run().ok();
    assert_eq!(run.json(), json!([]));
    assert!(keys(&account, "alice").values().all(|status| status == "Inactive"));
}

#[test]
fn old_keys_are_piped_in_as_they_are_found() {
    let account = Account::fresh();
    ["alice", "bob"].iter().for_each(|name| user(&account, name));
    let old = [key(&account, "alice"), key(&account, "alice")];
    let new = key(&account, "bob");
    // moto's keys are of today: those of alice are made to look old.
    let proxy = plain().rule("ListAccessKeys", |_, request| {
        let mut reply = forward(request);
        if request.parameter("UserName").as_deref() == Some("alice") {
            let text = reply.text();
            let dates = xml::texts(&text, "CreateDate");
            reply.body = dates.iter().fold(text, |text, date| text.replace(date, "2020-01-01T00:00:00Z")).into_bytes();
        }
        Some(reply)
    });
    let proxy = proxy.start();
    let line = "aaws iam discover_old_access_keys --threshold_days 90 --source live | aaws iam modify_access_keys --keys - --disable";
    assert_eq!(account.shell(line).endpoint(&proxy.url).run().ok().json(), json!([]));
    assert_eq!(keys(&account, "alice"), old.map(|id| (id, "Inactive".to_owned())).into());
    assert_eq!(keys(&account, "bob")[&new], "Active");
    all_name_a_user(&proxy);
}

#[test]
fn no_keys_are_no_keys() {
    let account = Account::fresh();
    let proxy = plain().start();
    for list in ["[]", ""] {
        let run = account.aaws("iam modify_access_keys --keys - --disable").stdin(list).endpoint(&proxy.url).run().ok();
        assert_eq!(run.json(), json!([]));
    }
    assert_eq!(account.aaws("iam modify_access_keys --disable --keys").endpoint(&proxy.url).run().ok().json(), json!([]));
    assert_eq!(proxy.operations(), [""; 0]);
}

#[test]
fn one_bad_key_does_not_sink_the_others() {
    let account = Account::fresh();
    ["alice", "bob", "carol", "dave"].iter().for_each(|name| user(&account, name));
    let (good, denied, unread) = (key(&account, "alice"), key(&account, "bob"), key(&account, "carol"));
    let proxy =
        plain().refusing_user("UpdateAccessKey", "bob", "AccessDenied").refusing_user("ListAccessKeys", "carol", "AccessDenied").start();
    let directory = directory();
    let line = format!(
        "iam modify_access_keys --key {denied} bob --key {unread} carol --key AKIANOSUCHKEYATALL00 --key {good} dave --key {good} alice \
         --key AKIANOSUCHKEYATALL00 alice --key {good} nobody --disable --report report.jsonl"
    );
    let run = account.aaws(line).endpoint(&proxy.url).within(directory.path()).run().exits(3);
    let failed = json!([denied, unread, "AKIANOSUCHKEYATALL00", good, "AKIANOSUCHKEYATALL00", good]);
    assert_eq!(run.json(), failed, "the keys that failed, in the order given");
    assert_eq!(keys(&account, "alice")[&good], "Inactive");
    assert_eq!((&keys(&account, "bob")[&denied][..], &keys(&account, "carol")[&unread][..]), ("Active", "Active"));
    let none = "AKIANOSUCHKEYATALL00";
    let denied = [(denied.as_str(), "AccessDenied"), (&unread, "AccessDenied")];
    let missing = [(none, "NotFound"), (none, "NotFound"), (&good, "NotFound"), (&good, "NotFound"), (&good, "")];
    let mut expected = [&denied[..], &missing].concat();
    expected.sort_unstable();
    let lines = report(&directory);
    assert_eq!(codes(&lines), expected);
    all_name_a_user(&proxy);
}

#[test]
fn keys_that_do_not_exist_are_failures_unless_they_are_to_be_ignored() {
    let account = Account::fresh();
    user(&account, "alice");
    let id = key(&account, "alice");
    let line = format!(
        "iam modify_access_keys --key AKIANOSUCHKEYATALL00 --key AKIANOSUCHKEYATALL01 alice --key {id} nobody --key {id} alice --disable"
    );
    let proxy = plain().start();
    let directory = directory();
    let run = |flags: &str| {
        let aaws = account.aaws(format!("{line} {flags} --report report.jsonl")).within(directory.path());
        aaws.endpoint(&proxy.url).run()
    };
    assert_eq!(run("").exits(3).json(), json!(["AKIANOSUCHKEYATALL00", "AKIANOSUCHKEYATALL01", id]));
    assert_eq!(report(&directory).iter().filter(|line| line["code"] == "NotFound").count(), 3);
    assert_eq!(keys(&account, "alice")[&id], "Inactive");
    assert_eq!(run("--ignore_not_found").ok().json(), json!([]));
    assert!(report(&directory).iter().all(|line| line["status"] == "unchanged"));
}

#[test]
fn a_key_that_is_given_twice_is_changed_once() {
    let account = Account::fresh();
    user(&account, "alice");
    let id = key(&account, "alice");
    let proxy = plain().start();
    let line = format!("iam modify_access_keys --key {id} alice --key {id} --key {id} alice --disable");
    assert_eq!(account.aaws(line).endpoint(&proxy.url).run().ok().logs("duplicate id").json(), json!([]));
    assert_eq!(proxy.count("UpdateAccessKey"), 1);
}

#[test]
fn what_stands_in_the_place_of_a_key_or_a_user_is_not_quoted() {
    const SECRET: &str = "wJalrXUtnFEMI-secret";
    let account = Account::fresh();
    let proxy = plain().start();
    let lists = [
        format!(r#"["bob:{SECRET}"]"#),
        format!(r#"[{{"UserName": ["{SECRET}"], "AccessKeyId": ["{SECRET}"]}}]"#),
        format!(r#"[{{"UserName": "bob", "Password": {{"{SECRET}": "{SECRET}"}}, "AccessKeyId": {{"{SECRET}": 1}}}}]"#),
    ];
    for (action, flag) in [("modify_access_keys --disable", "keys"), ("modify_users_console_access --enable", "users")] {
        for list in &lists {
            let input = format!(r#"{{"{flag}": {list}}}"#);
            let line = format!("iam {action}");
            let aaws = || account.aaws(&line).endpoint(&proxy.url);
            let runs = [
                aaws().arg(format!("--{flag}")).arg(list).run(),
                aaws().arg(format!("--{flag}")).arg("-").stdin(list).run(),
                aaws().arg("--input").arg(&input).run(),
                aaws().arg("--input").arg("-").stdin(&input).run(),
            ];
            for run in runs {
                let run = run.exits(2).silent();
                assert!(!run.stderr.contains("secret"), "{run}");
            }
        }
    }
    assert_eq!(proxy.operations(), [""; 0]);
}

#[test]
fn an_item_without_its_id_stops_all_before_anything_is_sent() {
    let account = Account::fresh();
    user(&account, "alice");
    let id = key(&account, "alice");
    let proxy = plain().start();
    let empty = json!([{"AccessKeyId": id, "UserName": "alice"}, {"AccessKeyId": "", "UserName": "alice"}]).to_string();
    let run = account.aaws("iam modify_access_keys --disable --keys").arg(&empty).endpoint(&proxy.url).run().exits(2);
    run.silent().logs("keys[1]").logs("`AccessKeyId` is empty");
    let list = json!([{"AccessKeyId": id, "UserName": "alice"}, {"UserName": "alice"}]).to_string();
    let run = account.aaws("iam modify_access_keys --disable --keys").arg(&list).endpoint(&proxy.url).run().exits(2);
    run.silent().logs("keys[1].AccessKeyId");
    account.aaws("iam modify_access_keys --disable --keys -").stdin(list).endpoint(&proxy.url).run().exits(2).logs("AccessKeyId");
    for flags in ["", "--enable --disable", "--enable --include_own_key"] {
        account.aaws(format!("iam modify_access_keys --key {id} alice {flags}")).endpoint(&proxy.url).run().exits(2).silent();
    }
    assert_eq!(proxy.operations(), [""; 0]);
    assert_eq!(keys(&account, "alice")[&id], "Active");
}

#[test]
fn a_dry_run_of_keys_says_what_would_change_and_writes_nothing() {
    let account = Account::fresh();
    user(&account, "alice");
    let (one, other) = (key(&account, "alice"), key(&account, "alice"));
    account.iam("UpdateAccessKey", &[("UserName", "alice"), ("AccessKeyId", &one), ("Status", "Inactive")]);
    let proxy = plain().start();
    let line = format!("iam modify_access_keys --key {one} alice --key {other} --disable --dry_run");
    let run = account.aaws(line).endpoint(&proxy.url).run().ok().logs("unchanged");
    assert_eq!(outcomes(&run.json()), [(other.as_str(), "planned")]);
    assert_eq!(writes(&proxy), [""; 0]);
    assert_eq!(keys(&account, "alice")[&other], "Active");
}

#[test]
fn keys_on_later_pages_are_found() {
    let account = Account::fresh();
    user(&account, "alice");
    let (one, other) = (key(&account, "alice"), key(&account, "alice"));
    let proxy = one_a_page(plain(), &["ListAccessKeys"]).start();
    let line = format!("iam modify_access_keys --key {one} alice --key {other} alice --disable");
    account.aaws(line).endpoint(&proxy.url).run().ok();
    assert_eq!(proxy.count("ListAccessKeys"), 2);
    assert!(keys(&account, "alice").values().all(|status| status == "Inactive"));
}

#[test]
fn the_output_format_is_heeded() {
    let account = Account::fresh();
    user(&account, "alice");
    let run = account.aaws("iam modify_access_keys --key AKIANOSUCHKEYATALL00 alice --disable --output text").run().exits(3);
    assert_eq!(run.stdout, "AKIANOSUCHKEYATALL00\n");
    for line in ["modify_access_keys --key AKIANOSUCHKEYATALL00 alice", "modify_users_console_access --user AKIANOSUCHKEYATALL00"] {
        let run = account.aaws(format!("iam {line} --disable --output table")).run().exits(3);
        assert!(run.stdout.contains("AKIANOSUCHKEYATALL00") && !run.stdout.contains('['), "no table: {run}");
    }
}

// --- modify_users_console_access ---

/// In front of moto, the policy that lets users change their passwords.
pub fn console(proxy: Proxy, account: &Account) -> Server {
    with_aws_policies(proxy, account, &["IAMUserChangePassword"]).start()
}

#[test]
fn a_password_is_created_and_may_be_changed() {
    let account = Account::fresh();
    user(&account, "alice");
    let proxy = console(plain(), &account);
    let run = account.aaws("iam modify_users_console_access --user alice env:NEW --enable").env("NEW", "correct-horse");
    assert_eq!(run.endpoint(&proxy.url).run().ok().json(), json!([]));
    assert!(has_password(&account, "alice"));
    assert_eq!(attached(&account, "alice"), ["IAMUserChangePassword"]);
    // The journal says in which account it can be undone.
    let asked = ["ListAttachedUserPolicies", "GetLoginProfile", "GetCallerIdentity", "CreateLoginProfile", "AttachUserPolicy"];
    assert_eq!(proxy.operations(), asked);
    let sent = &proxy.requests("CreateLoginProfile")[0];
    assert_eq!(sent.parameter("Password").as_deref(), Some("correct-horse"));
    assert_eq!(sent.parameter("PasswordResetRequired").as_deref(), Some("true"));
    assert_eq!(proxy.requests("AttachUserPolicy")[0].parameter("PolicyArn").as_deref(), Some(CHANGE_PASSWORD));
    all_name_a_user(&proxy);
}

#[test]
fn passwords_come_from_files_standard_input_variables_and_lists() {
    let account = Account::fresh();
    ["a", "b", "c", "d", "e"].iter().for_each(|name| user(&account, name));
    let proxy = console(plain(), &account);
    let directory = directory();
    fs::write(directory.path().join("secret.txt"), "from a file\n").unwrap();
    let line = "iam modify_users_console_access --user a @secret.txt --user b - --user c env:SECRET --enable --require_reset=false";
    let run = account.aaws(line).within(directory.path()).stdin("from stdin\r\n").env("SECRET", "from env");
    run.endpoint(&proxy.url).run().ok();
    let list = json!([{"UserName": "d", "Password": "@as it stands"}, {"user_name": "e", "password": "from e", "PasswordLastUsed": null}]);
    let run = account.aaws("iam modify_users_console_access --users - --enable").stdin(list.to_string());
    run.endpoint(&proxy.url).run().ok();
    let requests = proxy.requests("CreateLoginProfile");
    let sent: BTreeMap<_, _> = requests.iter().map(|r| (r.parameter("UserName").unwrap(), r.parameter("Password").unwrap())).collect();
    let expected = [("a", "from a file"), ("b", "from stdin"), ("c", "from env"), ("d", "@as it stands"), ("e", "from e")];
    assert_eq!(sent, expected.map(|(user, password)| (user.to_owned(), password.to_owned())).into());
    let kept = requests.iter().filter(|r| r.parameter("PasswordResetRequired").as_deref() == Some("false")).count();
    assert_eq!(kept, 3, "of those who need not change it");
}

#[test]
fn every_user_needs_a_password_before_anything_is_sent() {
    let account = Account::fresh();
    ["a", "b"].iter().for_each(|name| user(&account, name));
    let proxy = console(plain(), &account);
    for second in ["b", "b env:EMPTY"] {
        let line = format!("iam modify_users_console_access --user a env:SECRET --user {second} --enable");
        for line in [line.clone(), format!("{line} --dry_run")] {
            let run = account.aaws(line).env("SECRET", "sesame-1").env("EMPTY", "").endpoint(&proxy.url).run().exits(2);
            run.silent().logs("users[1].Password").logs("hint:");
        }
    }
    let too_many = account.aaws("iam modify_users_console_access --user a one two --enable").endpoint(&proxy.url).run();
    too_many.exits(2).silent();
    for flags in ["", "--enable --disable", "--disable --replace_password", "--disable --require_reset"] {
        account.aaws(format!("iam modify_users_console_access --user a secret {flags}")).endpoint(&proxy.url).run().exits(2).silent();
    }
    assert_eq!(proxy.operations(), [""; 0]);
}

#[test]
fn on_a_terminal_a_missing_password_is_asked_for_unseen() {
    let account = Account::fresh();
    user(&account, "alice");
    let proxy = console(plain(), &account);
    let run = account.aaws("iam modify_users_console_access --user alice --enable").endpoint(&proxy.url).on_terminal("typed-sesame").ok();
    assert!(run.stdout.contains("alice") && !run.stdout.contains("typed-sesame"), "{run}");
    assert_eq!(proxy.requests("CreateLoginProfile")[0].parameter("Password").as_deref(), Some("typed-sesame"));
}

#[test]
fn a_password_whose_policy_cannot_be_attached_is_deleted_again() {
    let account = Account::fresh();
    ["alice", "bob"].iter().for_each(|name| user(&account, name));
    // Right after it was created a login profile may not be deletable for a while.
    let proxy = plain().refusing_user("AttachUserPolicy", "alice", "LimitExceeded").failing(
        "DeleteLoginProfile",
        1,
        "EntityTemporarilyUnmodifiable",
    );
    let proxy = console(proxy, &account);
    let run = account.aaws("iam modify_users_console_access --user alice env:S --user bob env:S --enable").env("S", "sesame-1");
    let run = run.endpoint(&proxy.url).run().exits(3).logs("LimitExceeded").logs("undone: create a console password for the user `alice`");
    assert_eq!(run.json(), json!(["alice"]));
    assert!(!has_password(&account, "alice"), "the password does not stay behind");
    assert!(has_password(&account, "bob"));
    assert_eq!(attached(&account, "bob"), ["IAMUserChangePassword"]);
    assert_eq!(proxy.count("DeleteLoginProfile"), 2);
}

#[test]
fn a_password_whose_answer_was_lost_is_not_left_behind_unknown() {
    let account = Account::fresh();
    user(&account, "alice");
    // IAM creates it, and the answer is lost: whoever sends it again is told that somebody has made one.
    let lost = plain().rule("CreateLoginProfile", |n, request| {
        let carried_out = || http::send(moto::endpoint(), request).expect("moto answers");
        (n == 1).then(carried_out).map(|_| error(503, "ServiceUnavailable"))
    });
    let proxy = console(lost, &account);
    let run = account.aaws("iam modify_users_console_access --user alice env:S --enable").env("S", "sesame-1").endpoint(&proxy.url).run();
    assert_eq!(run.ok().json(), json!([]));
    assert_eq!((proxy.count("CreateLoginProfile"), proxy.count("DeleteLoginProfile")), (2, 1));
    assert!(has_password(&account, "alice"));
    assert_eq!(attached(&account, "alice"), ["IAMUserChangePassword"]);
}

#[test]
fn what_cannot_be_undone_is_said() {
    let account = Account::fresh();
    user(&account, "alice");
    let proxy = plain().refusing("AttachUserPolicy", "AccessDenied").refusing("DeleteLoginProfile", "AccessDenied");
    let proxy = console(proxy, &account);
    let run = account.aaws("iam modify_users_console_access --user alice env:S --enable").env("S", "sesame-1");
    run.endpoint(&proxy.url).run().exits(3).logs("could not undo: create a console password for the user `alice`");
}

#[test]
fn a_user_with_a_password_fails_unless_it_is_to_be_replaced() {
    let account = Account::fresh();
    console_user(&account, "alice");
    let proxy = console(plain(), &account);
    let line = "iam modify_users_console_access --user alice env:S --enable";
    let aaws = |flags: &str| account.aaws(format!("{line} {flags}")).env("S", "sesame-2").endpoint(&proxy.url).run();
    let run = aaws("").exits(3).logs("EntityAlreadyExists").logs("replace_password");
    assert_eq!(run.json(), json!(["alice"]));
    assert_eq!(writes(&proxy), [""; 0]);

    let plan = aaws("--replace_password --dry_run").ok().json();
    assert!(plan[0]["message"].as_str().is_some_and(|m| m.contains("cannot be put back")), "{plan}");
    assert_eq!(writes(&proxy), [""; 0]);

    assert_eq!(aaws("--replace_password").ok().json(), json!([]));
    assert_eq!(writes(&proxy), ["AttachUserPolicy", "UpdateLoginProfile"], "what cannot be undone comes last");
    let sent = &proxy.requests("UpdateLoginProfile")[0];
    assert_eq!(sent.parameter("Password").as_deref(), Some("sesame-2"));
    assert_eq!(sent.parameter("PasswordResetRequired").as_deref(), Some("true"));
    assert_eq!(attached(&account, "alice"), ["IAMUserChangePassword"]);
}

#[test]
fn a_replacement_that_breaks_the_password_policy_leaves_all_as_it_was() {
    let account = Account::fresh();
    ["alice", "bob"].iter().for_each(|name| console_user(&account, name));
    let proxy = console(plain().refusing("UpdateLoginProfile", "PasswordPolicyViolation"), &account);
    attach(&account, "bob", "IAMUserChangePassword");
    let line = "iam modify_users_console_access --user alice env:S --user bob env:S --enable --replace_password";
    let run = account.aaws(line).env("S", "sesame-1").endpoint(&proxy.url).run().exits(3).logs("PasswordPolicyViolation");
    assert_eq!(run.json(), json!(["alice", "bob"]));
    assert_eq!(attached(&account, "alice"), [""; 0], "undone");
    assert_eq!(attached(&account, "bob"), ["IAMUserChangePassword"], "what was there before is not undone");
}

#[test]
fn a_password_that_somebody_else_made_meanwhile_is_not_deleted() {
    let account = Account::fresh();
    user(&account, "alice");
    let proxy = console(plain().refusing("CreateLoginProfile", "EntityAlreadyExists"), &account);
    let run = account.aaws("iam modify_users_console_access --user alice env:S --enable").env("S", "sesame-1");
    run.endpoint(&proxy.url).run().exits(3).logs("EntityAlreadyExists");
    assert_eq!(writes(&proxy), ["CreateLoginProfile"]);
}

#[test]
fn one_bad_user_does_not_sink_the_others() {
    let account = Account::fresh();
    ["weak", "denied", "unread", "good"].iter().for_each(|name| user(&account, name));
    let proxy = plain()
        .refusing_user("CreateLoginProfile", "weak", "PasswordPolicyViolation")
        .refusing_user("CreateLoginProfile", "denied", "AccessDenied")
        .refusing_user("GetLoginProfile", "unread", "AccessDenied");
    let proxy = console(proxy, &account);
    let names = ["weak", "nobody", "denied", "<root_account>", "unread", "good"];
    let list: Vec<_> = names.iter().map(|name| json!({"UserName": name, "Password": "sesame-1"})).collect();
    let directory = directory();
    let run = account.aaws("iam modify_users_console_access --users - --enable --report report.jsonl").stdin(json!(list).to_string());
    let run = run.within(directory.path()).endpoint(&proxy.url).run().exits(3);
    assert_eq!(run.json(), json!(["weak", "nobody", "denied", "<root_account>", "unread"]));
    let expected = [
        ("<root_account>", "InvalidUserName"),
        ("denied", "AccessDenied"),
        ("good", ""),
        ("nobody", "NotFound"),
        ("unread", "AccessDenied"),
        ("weak", "PasswordPolicyViolation"),
    ];
    assert_eq!(codes(&report(&directory)), expected);
    assert!(has_password(&account, "good"));
    all_name_a_user(&proxy);
}

#[test]
fn a_password_is_deleted_and_its_policy_detached() {
    let account = Account::fresh();
    ["alice", "bob"].iter().for_each(|name| console_user(&account, name));
    ["none", "left"].iter().for_each(|name| user(&account, name));
    let proxy = console(plain(), &account);
    ["alice", "left"].iter().for_each(|name| attach(&account, name, "IAMUserChangePassword"));
    let line = "iam modify_users_console_access --user alice --user bob --user none --user left --user nobody --disable";
    let run = account.aaws(line).endpoint(&proxy.url).run().exits(3).logs("`none` unchanged").logs("`nobody`: NotFound");
    assert_eq!(run.json(), json!(["nobody"]), "a user without a password is no failure, one that there is not is");
    for name in ["alice", "bob", "none", "left"] {
        assert!(!has_password(&account, name), "{name}");
        assert_eq!(attached(&account, name), [""; 0], "{name}");
    }
    assert_eq!((proxy.count("DeleteLoginProfile"), proxy.count("DetachUserPolicy")), (2, 2), "nothing is sent that is not needed");
    all_name_a_user(&proxy);

    let again = account.aaws("iam modify_users_console_access --user alice --user bob --disable").endpoint(&proxy.url).run().ok();
    assert_eq!(again.json(), json!([]));
    assert_eq!(proxy.count("DeleteLoginProfile"), 2);
}

#[test]
fn a_password_that_cannot_be_deleted_yet_is_tried_again() {
    let account = Account::fresh();
    console_user(&account, "alice");
    let code = "EntityTemporarilyUnmodifiable";
    let proxy = console(plain().failing("DeleteLoginProfile", 1, code).failing("DeleteLoginProfile", 2, code), &account);
    account.aaws("iam modify_users_console_access --user alice --disable").endpoint(&proxy.url).run().ok();
    assert_eq!(proxy.count("DeleteLoginProfile"), 3);
    assert!(!has_password(&account, "alice"));
}

#[test]
fn a_policy_that_cannot_be_detached_is_a_failure_that_says_what_is_done() {
    let account = Account::fresh();
    console_user(&account, "alice");
    let proxy = console(plain().failing("DetachUserPolicy", 1, "AccessDenied"), &account);
    attach(&account, "alice", "IAMUserChangePassword");
    let line = "iam modify_users_console_access --user alice --disable";
    let run = account.aaws(line).endpoint(&proxy.url).run().exits(3).logs("done before that: the console password is deleted");
    assert_eq!(run.json(), json!(["alice"]));
    assert!(!has_password(&account, "alice"));
    account.aaws(line).endpoint(&proxy.url).run().ok();
    assert_eq!(attached(&account, "alice"), [""; 0], "the next run completes it");
}

#[test]
fn the_policy_is_found_on_a_later_page() {
    let account = Account::fresh();
    user(&account, "alice");
    let names = ["IAMUserChangePassword", "APolicyBefore", "ZPolicyBehind"];
    // The pages are cut by a proxy of its own, behind the one that has the policies.
    let proxy = with_aws_policies(one_a_page_of_aws_policies(&account), &account, &names).start();
    names.iter().for_each(|name| attach(&account, "alice", name));
    account.aaws("iam modify_users_console_access --user alice --disable").endpoint(&proxy.url).run().ok();
    assert_eq!(proxy.count("ListAttachedUserPolicies"), 3);
    let mut left = attached(&account, "alice");
    left.sort();
    assert_eq!(left, ["APolicyBefore", "ZPolicyBehind"]);
}

/// Lists one attached policy a page, under the names that AWS's policies have.
fn one_a_page_of_aws_policies(account: &Account) -> Proxy {
    let pages = one_a_page(plain(), &["ListAttachedUserPolicies"]).start();
    let id = account.id.clone();
    plain().rule("ListAttachedUserPolicies", move |_, request| {
        let mut reply = http::send(&pages.url, request).expect("a page");
        reply.body = reply.text().replace(&format!("iam::{id}:policy/"), "iam::aws:policy/").into_bytes();
        Some(reply)
    })
}

#[test]
fn a_dry_run_of_console_access_says_what_would_change_and_writes_nothing() {
    let account = Account::fresh();
    console_user(&account, "alice");
    ["bob", "left"].iter().for_each(|name| user(&account, name));
    let proxy = console(plain(), &account);
    attach(&account, "left", "IAMUserChangePassword");
    let line = "iam modify_users_console_access --user alice --user bob --user left --disable --dry_run";
    let run = account.aaws(line).endpoint(&proxy.url).run().ok().logs("`bob` unchanged");
    let plan = run.json();
    assert_eq!(outcomes(&plan), [("alice", "planned"), ("left", "planned")]);
    assert!(plan[0]["message"].as_str().is_some_and(|m| m.contains("cannot be restored")), "{plan}");
    let line = "iam modify_users_console_access --user bob env:S --enable --dry_run";
    let run = account.aaws(line).env("S", "sesame-1").endpoint(&proxy.url).run().ok();
    assert_eq!(outcomes(&run.json()), [("bob", "planned")]);
    assert_eq!(writes(&proxy), [""; 0]);
    assert!(has_password(&account, "alice"));
}

#[test]
fn users_who_do_not_exist_are_failures_unless_they_are_to_be_ignored() {
    let account = Account::fresh();
    console_user(&account, "alice");
    let proxy = console(plain(), &account);
    let line = "iam modify_users_console_access --user nobody --user alice --user alice --disable";
    let run = account.aaws(line).endpoint(&proxy.url).run().exits(3).logs("NotFound").logs("duplicate id");
    assert_eq!(run.json(), json!(["nobody"]));
    assert_eq!(proxy.count("DeleteLoginProfile"), 1);
    let again = account.aaws(format!("{line} --ignore_not_found")).endpoint(&proxy.url).run().ok().logs("`nobody` unchanged");
    assert_eq!(again.json(), json!([]));
    let line = "iam modify_users_console_access --user nobody env:S --enable --ignore_not_found";
    account.aaws(line).env("S", "sesame-1").endpoint(&proxy.url).run().ok().logs("`nobody` unchanged");
}

#[test]
fn a_person_is_asked_before_a_password_is_destroyed_and_not_before_one_is_made() {
    let account = Account::fresh();
    console_user(&account, "alice");
    user(&account, "bob");
    let proxy = console(plain(), &account);
    let run = |line: &str| account.aaws(format!("iam modify_users_console_access {line}")).env("S", "sesame-1").endpoint(&proxy.url);
    run("--user alice --disable").on_terminal("n").exits(4);
    run("--user alice env:S --enable --replace_password").on_terminal("n").exits(4);
    assert_eq!(writes(&proxy), [""; 0]);
    run("--user bob env:S --enable").on_terminal("n").ok();
    assert!(has_password(&account, "bob"));
    run("--user alice --disable").on_terminal("y").ok();
    assert!(!has_password(&account, "alice"));
}

#[test]
fn no_users_are_no_users() {
    let account = Account::fresh();
    let proxy = plain().start();
    for verb in ["enable", "disable"] {
        let run = account.aaws(format!("iam modify_users_console_access --users - --{verb}")).stdin("[]").endpoint(&proxy.url).run().ok();
        assert_eq!(run.json(), json!([]));
    }
    assert_eq!(proxy.operations(), [""; 0]);
}

#[test]
fn a_user_without_a_name_stops_all_before_anything_is_sent() {
    let account = Account::fresh();
    let proxy = plain().start();
    let list = r#"[{"UserName": "alice"}, {"Password": "sesame-1"}]"#;
    let run = account.aaws("iam modify_users_console_access --disable --users").arg(list).endpoint(&proxy.url).run().exits(2);
    run.silent().logs("users[1].UserName");
    let run = account.aaws("iam modify_users_console_access --disable --users").arg(r#"[{"UserName": ""}]"#);
    run.endpoint(&proxy.url).run().exits(2).silent().logs("`users[0].UserName` is empty");
    assert_eq!(proxy.operations(), [""; 0]);
}

#[test]
fn users_without_mfa_are_piped_in_as_they_are_found() {
    let account = Account::fresh();
    ["alice", "bob"].iter().for_each(|name| console_user(&account, name));
    let line = "aaws iam discover_no_mfa_users | aaws iam modify_users_console_access --users - --disable";
    assert_eq!(account.shell(line).run().ok().json(), json!([]));
    assert!(!has_password(&account, "alice") && !has_password(&account, "bob"));
}

/// Whatever happens, nobody but IAM sees a password (G14).
#[test]
fn passwords_are_seen_nowhere() {
    const SECRET: &str = "S3same&<open>-never";
    let account = Account::fresh();
    console_user(&account, "taken");
    let names = ["echo", "body", "attach", "good"];
    names.iter().for_each(|name| user(&account, name));
    let echo = |request: &Request| request.parameter("Password").expect("a password");
    let proxy = plain()
        // An answer that quotes what it was sent, one that is no answer of IAM's, and a step that fails later.
        .rule("CreateLoginProfile", move |_, request| match request.parameter("UserName").as_deref() {
            Some("echo") => Some(error_saying(400, "ValidationError", &format!("Value '{}' at 'password' is bad", echo(request)))),
            Some("body") => Some(Response { status: 200, headers: Vec::new(), body: format!("you sent {}", echo(request)).into_bytes() }),
            _ => None,
        })
        .rule("UpdateLoginProfile", move |_, request| Some(error_saying(403, "InvalidClientTokenId", &echo(request))))
        .refusing_user("AttachUserPolicy", "attach", "AccessDenied");
    let proxy = console(proxy, &account);
    let directory = directory();
    let unseen = |run: Output| {
        let report = fs::read_to_string(directory.path().join("report.jsonl")).unwrap_or_default();
        for text in [&run.stdout, &run.stderr, &report] {
            assert!(!text.contains("S3same") && !text.contains("never"), "the password is seen:\n{text}");
        }
        run
    };
    let aaws = |flags: &str| {
        let line = format!("iam modify_users_console_access --enable --debug --report report.jsonl {flags}");
        account.aaws(line).env("SECRET", SECRET).within(directory.path()).endpoint(&proxy.url)
    };
    let all: String = names.iter().chain(&["taken"]).map(|name| format!(" --user {name} env:SECRET")).collect();
    for format in ["text", "json"] {
        let run = unseen(aaws(&format!("{all} --error_format {format}")).run()).exits(3);
        let failed = run.json();
        assert!(["echo", "body", "attach", "taken"].iter().all(|name| failed.as_array().unwrap().contains(&json!(name))), "{failed}");
        unseen(aaws(&format!("{all} --dry_run --error_format {format}")).run());
        unseen(aaws(&format!("--user taken env:SECRET --replace_password --error_format {format}")).run()).exits(5);
    }
    // Input that is wrong is not quoted either.
    for list in [
        format!(r#"[{{"UserName": "good", "Password": ["{SECRET}"]}}]"#),
        format!(r#"[{{"Password": "{SECRET}"}}]"#),
        format!(r#"[{{"UserName": "good", "Password": "{SECRET}"}}, 7]"#),
        format!(r#"[{{"UserName": "good", "Password": "{SECRET}""#),
    ] {
        unseen(aaws("--users -").stdin(&list).run()).exits(2);
        unseen(aaws("--users").arg(&list).run()).exits(2);
    }
    let sent = proxy.requests("CreateLoginProfile");
    assert!(sent.iter().all(|request| request.parameter("Password").as_deref() == Some(SECRET)), "IAM sees it as it is");
}

/// A server that says yes to nearly everything, in no partition in particular.
fn agreeable() -> Server {
    Server::start(|operation, _, request| {
        let user = request.parameter("UserName").unwrap_or_default();
        let result = match operation {
            "GetLoginProfile" | "GetUserPolicy" => return error(404, "NoSuchEntity"),
            "PutUserPolicy" if request.parameter("PolicyName").as_deref() == Some(DENY_ALL) => return error(409, "LimitExceeded"),
            "GetUser" => format!(
                "<User><Path>/</Path><UserName>{user}</UserName><UserId>AIDA1</UserId><Arn>arn:x:iam::1:user/{user}</Arn>\
                 <CreateDate>2026-01-01T00:00:00Z</CreateDate></User>"
            ),
            "GetCallerIdentity" => "<UserId>AROA1:me</UserId><Account>1</Account><Arn>arn:x:sts::1:assumed-role/me/me</Arn>".to_owned(),
            "CreateLoginProfile" => {
                format!("<LoginProfile><UserName>{user}</UserName><CreateDate>2026-01-01T00:00:00Z</CreateDate></LoginProfile>")
            }
            _ => "<IsTruncated>false</IsTruncated>".to_owned(),
        };
        Response::xml(200, format!("<{operation}Response><{operation}Result>{result}</{operation}Result></{operation}Response>"))
    })
}

#[test]
fn policies_are_those_of_the_partition() {
    let account = Account::fresh();
    for (region, partition) in [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eu-west-1", "aws")] {
        let server = agreeable();
        let run = |line: &str| account.aaws(format!("iam {line} --region {region}")).env("S", "sesame-1").endpoint(&server.url).run().ok();
        run("modify_users_console_access --user alice env:S --enable");
        run("quarantine_user --user full");
        let arns: Vec<_> = server.requests("AttachUserPolicy").iter().filter_map(|r| r.parameter("PolicyArn")).collect();
        let expected = [CHANGE_PASSWORD, AWS_DENY_ALL].map(|arn| arn.replace("arn:aws:", &format!("arn:{partition}:")));
        assert_eq!(arns, expected, "in {region}");
    }
}

// --- quarantine_user ---

/// A user with one of everything, and what stands in front of moto.
struct Suspect {
    account: Account,
    proxy: Server,
    key: String,
    ssh_key: String,
    certificate: String,
    service: ServiceCredentials,
    boundary: Boundary,
}

const POLICIES: [&str; 1] = ["AWSDenyAll"];

impl Suspect {
    /// `mallory`, behind a proxy that is spoiled first, with these of AWS's policies.
    fn behind(proxy: Proxy, policies: &[&str]) -> Self {
        let account = Account::fresh();
        console_user(&account, "mallory");
        let key = key(&account, "mallory");
        let first = |reply: String, name: &str| xml::texts(&reply, name).into_iter().next().expect("an id");
        let ssh = account.iam("UploadSSHPublicKey", &[("UserName", "mallory"), ("SSHPublicKeyBody", "ssh-rsa AAAA")]);
        let certificate = account.iam("UploadSigningCertificate", &[("UserName", "mallory"), ("CertificateBody", CERTIFICATE)]);
        let (proxy, service) = with_service_credentials(proxy, &["ACCAONE", "ACCATWO"]);
        let (proxy, boundary) = with_boundary(proxy);
        let proxy = with_aws_policies(proxy, &account, policies).start();
        let (ssh_key, certificate) = (first(ssh, "SSHPublicKeyId"), first(certificate, "CertificateId"));
        Suspect { proxy, key, ssh_key, certificate, service, boundary, account }
    }

    fn new() -> Self {
        Self::behind(plain(), &POLICIES)
    }

    fn quarantine(&self, flags: &str) -> Output {
        self.account.aaws(format!("iam quarantine_user --user mallory {flags}")).endpoint(&self.proxy.url).run()
    }

    /// The status of what a list of moto's holds.
    fn status(&self, operation: &str) -> String {
        xml::texts(&self.account.iam(operation, &[("UserName", "mallory")]), "Status").join(" ")
    }

    /// What still can be used, in words; the deny and the end of sessions too, when they are missing.
    fn open(&self) -> Vec<&'static str> {
        let mut open = Vec::new();
        let mut when = |so: bool, what| {
            if so {
                open.push(what);
            }
        };
        let inline = inline(&self.account, "mallory");
        when(attached(&self.account, "mallory").is_empty() && !inline.contains(&DENY_ALL.to_owned()), "no deny");
        when(!inline.contains(&END_SESSIONS.to_owned()), "sessions");
        when(self.status("ListAccessKeys") != "Inactive", "access key");
        when(has_password(&self.account, "mallory"), "console password");
        when(self.service.lock().unwrap().values().any(|status| status == "Active"), "service credential");
        when(self.status("ListSSHPublicKeys") != "Inactive", "SSH key");
        when(self.status("ListSigningCertificates") != "Inactive", "signing certificate");
        open
    }
}

/// The row of a step in what a quarantine printed.
#[track_caller]
fn step<'a>(rows: &'a Value, name: &str) -> &'a Value {
    let found = rows.as_array().expect("rows").iter().find(|row| row["Step"] == name);
    found.unwrap_or_else(|| panic!("no row of {name} in {rows}"))
}

/// Step and status of each row.
fn steps(rows: &Value) -> Vec<(&str, &str)> {
    let rows = rows.as_array().expect("rows").iter();
    rows.map(|row| (row["Step"].as_str().expect("a step"), row["Status"].as_str().expect("a status"))).collect()
}

#[test]
fn the_deny_comes_first_and_nothing_stays_open() {
    let mallory = Suspect::new();
    let rows = mallory.quarantine("").ok().json();
    assert_eq!(mallory.open(), [""; 0]);
    assert_eq!(inline(&mallory.account, "mallory"), [DENY_ALL, END_SESSIONS]);
    let operations = mallory.proxy.operations();
    let begin: Vec<_> = operations.iter().take(2).collect();
    assert_eq!(begin, ["GetCallerIdentity", "GetUser"]);
    // What denies already is looked for in two places at once.
    let mut looks = operations[2..4].to_vec();
    looks.sort();
    assert_eq!(looks, ["GetUserPolicy", "ListAttachedUserPolicies"]);
    let order = [
        "PutUserPolicy",
        "PutUserPolicy",
        "ListAccessKeys",
        "UpdateAccessKey",
        "GetLoginProfile",
        "DeleteLoginProfile",
        "ListServiceSpecificCredentials",
        "ListServiceSpecificCredentials",
        "UpdateServiceSpecificCredential",
        "UpdateServiceSpecificCredential",
        "ListSSHPublicKeys",
        "UpdateSSHPublicKey",
        "ListSigningCertificates",
        "UpdateSigningCertificate",
    ];
    assert_eq!(operations[5..], order, "the keys are listed after the deny: none can be made in between");
    all_name_a_user(&mallory.proxy);
    let put = &mallory.proxy.requests("PutUserPolicy")[0];
    assert_eq!(put.parameter("PolicyName").as_deref(), Some(DENY_ALL));
    let document: Value = serde_json::from_str(&put.parameter("PolicyDocument").expect("a document")).expect("JSON");
    assert_eq!(document, json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}));

    let off = |step: &str, id: &str| {
        json!({
            "UserName": "mallory", "Step": step, "Id": id, "Status": "done",
            "Before": "Active", "Now": "Inactive", "Message": "Inactive",
        })
    };
    let until = &step(&rows, "sessions")["Now"];
    let expected = json!([
        {
            "UserName": "mallory", "Step": "deny", "Id": DENY_ALL, "Status": "done",
            "Now": "inline_policy", "Message": format!("the inline policy {DENY_ALL} denies everything"),
        },
        {
            "UserName": "mallory", "Step": "sessions", "Id": END_SESSIONS, "Status": "done",
            "Now": until, "Message": step(&rows, "sessions")["Message"],
        },
        off("access_key", &mallory.key),
        {"UserName": "mallory", "Step": "console_password", "Status": "done", "Now": "deleted", "Message": "deleted"},
        off("service_credential", "ACCAONE"),
        off("service_credential", "ACCATWO"),
        off("ssh_key", &mallory.ssh_key),
        off("signing_certificate", &mallory.certificate),
    ]);
    assert_eq!(rows, expected);
}

#[test]
fn running_sessions_are_ended_by_the_time_their_tokens_were_issued() {
    let mallory = Suspect::new();
    let rows = mallory.quarantine("").ok().json();
    let put = &mallory.proxy.requests("PutUserPolicy")[1];
    assert_eq!(put.parameter("PolicyName").as_deref(), Some(END_SESSIONS));
    let document: Value = serde_json::from_str(&put.parameter("PolicyDocument").expect("a document")).expect("JSON");
    let until = step(&rows, "sessions")["Now"].as_str().expect("an instant");
    let denied = json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"DateLessThan": {"aws:TokenIssueTime": until}}});
    assert_eq!(document, json!({"Version": "2012-10-17", "Statement": [denied]}));
    // Later than now: sessions that are opened until all of AWS knows the policy are ended too.
    let soon = xml::texts(&mallory.account.iam("GetUser", &[("UserName", "mallory")]), "CreateDate").remove(0);
    let created: jiff::Timestamp = soon.parse().expect("an instant");
    let until: jiff::Timestamp = until.parse().expect("an instant");
    assert!(until.duration_since(created) >= jiff::SignedDuration::from_mins(4), "{until} is not minutes after {created}");
}

#[test]
fn each_step_may_fail_and_none_stops_another_nor_lifts_the_deny() {
    let failures = [
        ("access key", "access_key", "ListAccessKeys"),
        ("access key", "access_key", "UpdateAccessKey"),
        ("console password", "console_password", "DeleteLoginProfile"),
        ("service credential", "service_credential", "ListServiceSpecificCredentials"),
        ("service credential", "service_credential", "UpdateServiceSpecificCredential"),
        ("SSH key", "ssh_key", "ListSSHPublicKeys"),
        ("SSH key", "ssh_key", "UpdateSSHPublicKey"),
        ("signing certificate", "signing_certificate", "ListSigningCertificates"),
        ("signing certificate", "signing_certificate", "UpdateSigningCertificate"),
    ];
    for (open, name, operation) in failures {
        let mallory = Suspect::behind(plain().refusing(operation, "AccessDenied"), &POLICIES);
        let rows = mallory.quarantine("").exits(3).logs("AccessDenied").json();
        assert_eq!(mallory.open(), [open], "when {operation} fails");
        assert_eq!(step(&rows, "deny")["Status"], "done", "when {operation} fails");
        let failed: Vec<_> = steps(&rows).into_iter().filter(|(_, status)| *status == "failed").collect();
        assert!(!failed.is_empty() && failed.iter().all(|(step, _)| *step == name), "{failed:?}");
        assert_eq!(step(&rows, name)["Code"], "AccessDenied");
        let lifted = ["DetachUserPolicy", "DeleteUserPolicy", "CreateLoginProfile"];
        assert!(mallory.proxy.operations().iter().all(|name| !lifted.contains(&name.as_str())), "nothing is undone");
        if operation == "UpdateAccessKey" {
            assert_eq!((&step(&rows, name)["Before"], &step(&rows, name)["Now"]), (&json!("Active"), &json!("Active")));
        }
        if operation == "DeleteLoginProfile" {
            assert_eq!(step(&rows, name)["Now"], Value::Null, "it is not said to be deleted");
        }
    }
}

#[test]
fn a_deny_that_fails_in_every_way_stops_no_other_step_and_says_all_that_was_refused() {
    let refused = ["PutUserPolicy", "AttachUserPolicy", "PutUserPermissionsBoundary"];
    let proxy = refused.iter().fold(plain(), |proxy, &operation| proxy.refusing(operation, "AccessDenied"));
    let mallory = Suspect::behind(proxy, &POLICIES);
    let rows = mallory.quarantine("").exits(3).json();
    assert_eq!(mallory.open(), ["no deny", "sessions"]);
    let deny = step(&rows, "deny");
    assert_eq!((&deny["Status"], &deny["Code"]), (&json!("failed"), &json!("AccessDenied")));
    let message = deny["Message"].as_str().expect("a message");
    assert!(message.contains("PutUserPolicy was refused") && message.contains("AttachUserPolicy was refused"), "{message}");
    assert_eq!(mallory.proxy.operations()[5..8], refused);
}

/// Fills the user's inline policies, so that no more can be put.
fn full() -> Proxy {
    plain().refusing("PutUserPolicy", "LimitExceeded")
}

#[test]
fn a_user_whose_inline_policies_are_full_is_denied_by_a_policy_of_aws() {
    let mallory = Suspect::behind(full(), &POLICIES);
    let rows = mallory.quarantine("").exits(3).logs("PutUserPolicy was refused").json();
    let deny = step(&rows, "deny");
    assert_eq!((&deny["Status"], &deny["Id"], &deny["Now"]), (&json!("done"), &json!(AWS_DENY_ALL), &json!("attached_policy")));
    assert!(deny["Message"].as_str().is_some_and(|m| m.contains("PutUserPolicy was refused: LimitExceeded")), "{deny}");
    assert_eq!(attached(&mallory.account, "mallory"), POLICIES);
    assert_eq!(mallory.open(), ["sessions"], "which is said: the exit code is 3");
    assert_eq!(step(&rows, "sessions")["Code"], "LimitExceeded");

    let again = mallory.quarantine("").exits(3).json();
    assert_eq!(step(&again, "deny")["Status"], "unchanged");
    assert_eq!(mallory.proxy.count("AttachUserPolicy"), 1);
}

#[test]
fn where_no_policy_can_be_attached_there_is_the_permissions_boundary() {
    let mallory = Suspect::behind(full().refusing("AttachUserPolicy", "LimitExceeded"), &POLICIES);
    let rows = mallory.quarantine("").exits(3).json();
    let deny = step(&rows, "deny");
    assert_eq!((&deny["Status"], &deny["Now"], &deny["Before"]), (&json!("done"), &json!("permissions_boundary"), &json!("none")));
    assert!(deny["Message"].as_str().is_some_and(|m| m.contains("AttachUserPolicy was refused: LimitExceeded")), "{deny}");
    assert_eq!(mallory.boundary.lock().unwrap().as_deref(), Some(AWS_DENY_ALL));
    let again = mallory.quarantine("").exits(3).json();
    assert_eq!(step(&again, "deny")["Status"], "unchanged");

    let mallory = Suspect::behind(full().refusing("AttachUserPolicy", "LimitExceeded"), &POLICIES);
    *mallory.boundary.lock().unwrap() = Some("arn:aws:iam::aws:policy/ReadOnlyAccess".into());
    let rows = mallory.quarantine("").exits(3).json();
    assert_eq!(step(&rows, "deny")["Before"], "arn:aws:iam::aws:policy/ReadOnlyAccess", "what to go back to");
    mallory.lift(&rows, "").exits(3);
    assert_eq!(mallory.boundary.lock().unwrap().as_deref(), Some("arn:aws:iam::aws:policy/ReadOnlyAccess"));
}

#[test]
fn credentials_that_die_half_way_lose_nothing_of_what_was_done() {
    let mallory = Suspect::behind(plain().refusing("UpdateAccessKey", "ExpiredToken"), &POLICIES);
    let run = mallory.quarantine("").exits(5).logs("ExpiredToken");
    let rows = run.json();
    assert_eq!(steps(&rows), [("deny", "done"), ("sessions", "done"), ("access_key", "failed")]);
    assert_eq!(step(&rows, "access_key")["Before"], "Active");
    let mallory = Suspect::behind(plain().refusing("ListSSHPublicKeys", "ExpiredToken"), &POLICIES);
    let rows = mallory.quarantine("").exits(5).json();
    assert_eq!(steps(&rows).len(), 6, "all that came before: {rows}");
    assert_eq!(step(&rows, "console_password")["Status"], "done");
}

#[test]
fn nobody_quarantines_themselves() {
    let mallory = Suspect::new();
    let (key, secret) = whole_key(&mallory.account, "mallory");
    for (name, flags) in [("mallory", ""), ("mallory", "--dry_run"), ("MALLORY", "")] {
        let run = mallory.account.aaws(format!("iam quarantine_user --user {name} {flags}")).endpoint(&mallory.proxy.url);
        let run = run.env("AWS_ACCESS_KEY_ID", &key).env("AWS_SECRET_ACCESS_KEY", &secret).without("AWS_SESSION_TOKEN").run();
        run.exits(4).silent().logs("lock out yourself");
    }
    assert_eq!(writes(&mallory.proxy), [""; 0]);
}

#[test]
fn a_misspelt_user_is_noticed_before_anything_is_done() {
    let mallory = Suspect::new();
    let run = |flags: &str| mallory.account.aaws(format!("iam quarantine_user --user malory {flags}")).endpoint(&mallory.proxy.url).run();
    let rows = run("").exits(3).logs("NotFound").json();
    assert_eq!((steps(&rows), &rows[0]["Code"]), (vec![("user", "failed")], &json!("NotFound")));
    assert_eq!(steps(&run("--ignore_not_found").ok().json()), [("user", "unchanged")]);
    mallory.account.aaws("iam quarantine_user --user").arg("<root_account>").endpoint(&mallory.proxy.url).run().exits(2).silent();
    mallory.account.aaws("iam quarantine_user --user").arg("").endpoint(&mallory.proxy.url).run().exits(2).silent();
    mallory.account.aaws("iam quarantine_user").endpoint(&mallory.proxy.url).run().exits(2).silent().logs("user");
    assert_eq!(writes(&mallory.proxy), [""; 0]);
    assert_eq!(mallory.proxy.operations(), ["GetCallerIdentity", "GetUser"].repeat(2));
}

#[test]
fn of_a_user_who_is_gone_since_nothing_more_is_done_ignored_or_not() {
    let proxy = plain().refusing("PutUserPolicy", "NoSuchEntity").refusing("AttachUserPolicy", "NoSuchEntity");
    let mallory = Suspect::behind(proxy, &POLICIES);
    assert_eq!(steps(&mallory.quarantine("").exits(3).json()), [("deny", "failed")]);
    assert_eq!(steps(&mallory.quarantine("--ignore_not_found").ok().json()), [("deny", "unchanged")]);
}

#[test]
fn whoever_cannot_be_asked_who_they_are_does_nothing() {
    let mallory = Suspect::behind(plain().refusing("GetCallerIdentity", "AccessDenied"), &POLICIES);
    mallory.quarantine("").exits(1).silent().logs("AccessDenied");
    assert_eq!(writes(&mallory.proxy), [""; 0]);
}

#[test]
fn a_user_who_may_not_be_read_is_locked_out_all_the_same() {
    let mallory = Suspect::behind(plain().refusing("GetUser", "AccessDenied"), &POLICIES);
    mallory.quarantine("").ok().logs("locked out all the same");
    assert_eq!(mallory.open(), [""; 0]);
    // And whoever that is by the name of the caller is refused.
    let (key, secret) = whole_key(&mallory.account, "mallory");
    let run = mallory.account.aaws("iam quarantine_user --user mallory").endpoint(&mallory.proxy.url);
    run.env("AWS_ACCESS_KEY_ID", &key).env("AWS_SECRET_ACCESS_KEY", &secret).without("AWS_SESSION_TOKEN").run().exits(4).silent();
}

#[test]
fn a_person_is_asked_once_before_somebody_is_locked_out() {
    let mallory = Suspect::new();
    let run = || mallory.account.aaws("iam quarantine_user --user mallory").endpoint(&mallory.proxy.url);
    run().on_terminal("n").exits(4);
    assert_eq!(writes(&mallory.proxy), [""; 0]);
    run().on_terminal("y").ok();
    assert_eq!(mallory.open(), [""; 0]);
}

#[test]
fn a_dry_run_of_a_quarantine_lists_every_step_and_writes_nothing() {
    let mallory = Suspect::new();
    let idle = key(&mallory.account, "mallory");
    mallory.account.iam("UpdateAccessKey", &[("UserName", "mallory"), ("AccessKeyId", &idle), ("Status", "Inactive")]);
    let plan = mallory.quarantine("--dry_run").ok().json();
    let planned = steps(&plan);
    assert_eq!(planned.iter().filter(|(_, status)| *status == "planned").count(), 8, "{plan}");
    assert_eq!(planned[0], ("deny", "planned"));
    assert!(plan.as_array().unwrap().iter().any(|row| row["Id"] == idle.as_str() && row["Status"] == "unchanged"), "{plan}");
    let password = step(&plan, "console_password");
    assert!(password["Message"].as_str().is_some_and(|m| m.contains("cannot be restored")), "{password}");
    assert_eq!(writes(&mallory.proxy), [""; 0]);
    assert_eq!(mallory.open().len(), 7);
}

#[test]
fn a_second_quarantine_changes_nothing_but_what_is_new() {
    let mallory = Suspect::new();
    mallory.quarantine("").ok();
    let written = writes(&mallory.proxy).len();
    let again = mallory.quarantine("").ok().json();
    assert!(steps(&again).iter().all(|(_, status)| *status == "unchanged"), "{again}");
    assert_eq!(writes(&mallory.proxy).len(), written);
    assert!(steps(&mallory.quarantine("--dry_run").ok().json()).iter().all(|(_, status)| *status == "unchanged"));

    let fresh = key(&mallory.account, "mallory");
    let rows = mallory.quarantine("").ok().json();
    let changed: Vec<_> = rows.as_array().unwrap().iter().filter(|row| row["Status"] == "done").map(|row| &row["Id"]).collect();
    assert_eq!(changed, [&json!(fresh)]);
}

#[test]
fn a_user_who_has_nothing_is_denied_all_the_same() {
    let account = Account::fresh();
    user(&account, "empty");
    let (proxy, _) = with_service_credentials(plain(), &[]);
    let proxy = with_aws_policies(proxy, &account, &POLICIES).start();
    let rows = account.aaws("iam quarantine_user --user empty").endpoint(&proxy.url).run().ok().json();
    assert_eq!(steps(&rows), [("deny", "done"), ("sessions", "done"), ("console_password", "unchanged")]);
    assert_eq!(writes(&proxy), ["PutUserPolicy", "PutUserPolicy"]);
}

#[test]
fn a_password_under_quarantine_is_tried_again_when_it_cannot_be_deleted_yet() {
    let mallory = Suspect::behind(plain().failing("DeleteLoginProfile", 1, "EntityTemporarilyUnmodifiable"), &POLICIES);
    mallory.quarantine("").ok();
    assert_eq!(mallory.open(), [""; 0]);
}

#[test]
fn a_password_that_cannot_be_looked_for_is_deleted_all_the_same() {
    let mallory = Suspect::behind(plain().refusing("GetLoginProfile", "AccessDenied"), &POLICIES);
    let rows = mallory.quarantine("").ok().json();
    assert_eq!(step(&rows, "console_password")["Now"], "deleted");
    assert_eq!(mallory.open(), [""; 0]);
}

#[test]
fn credentials_on_later_pages_are_made_inactive_too() {
    let paged = one_a_page(plain(), &["ListAccessKeys", "ListSSHPublicKeys", "ListSigningCertificates"]);
    let mallory = Suspect::behind(paged, &POLICIES);
    key(&mallory.account, "mallory");
    mallory.account.iam("UploadSSHPublicKey", &[("UserName", "mallory"), ("SSHPublicKeyBody", "ssh-rsa BBBB")]);
    let rows = mallory.quarantine("").ok().json();
    for (name, operation) in [("access_key", "ListAccessKeys"), ("ssh_key", "ListSSHPublicKeys")] {
        assert_eq!(steps(&rows).iter().filter(|(step, _)| *step == name).count(), 2, "{name}");
        assert_eq!(mallory.status(operation), "Inactive Inactive");
        assert_eq!(mallory.proxy.count(operation), 2);
    }
    assert_eq!(steps(&rows).iter().filter(|(step, _)| *step == "service_credential").count(), 2);
}

#[test]
fn what_is_to_be_kept_is_not_even_listed() {
    let mallory = Suspect::new();
    let rows = mallory.quarantine("--keep_service_credentials --keep_ssh_keys --keep_signing_certificates").ok().json();
    assert_eq!(mallory.open(), ["service credential", "SSH key", "signing certificate"]);
    assert_eq!(steps(&rows).len(), 4);
    let operations = mallory.proxy.operations();
    assert!(!operations.iter().any(|name| name.contains("SSH") || name.contains("Signing") || name.contains("Service")), "{operations:?}");
}

#[test]
fn every_step_of_a_quarantine_is_in_the_report() {
    let mallory = Suspect::behind(plain().refusing("UpdateAccessKey", "AccessDenied"), &POLICIES);
    let directory = directory();
    let run = mallory.account.aaws("iam quarantine_user --user mallory --report report.jsonl").within(directory.path());
    let rows = run.endpoint(&mallory.proxy.url).run().exits(3).json();
    let lines = report(&directory);
    let mut reported: Vec<_> = lines.iter().map(|line| line["status"].as_str().unwrap()).collect();
    let mut printed: Vec<_> = steps(&rows).into_iter().map(|(_, status)| status).collect();
    reported.sort_unstable();
    printed.sort_unstable();
    assert_eq!(reported, printed);
    let items: std::collections::BTreeSet<_> = lines.iter().map(|line| line["item"].as_str().unwrap()).collect();
    assert_eq!(items.len(), lines.len(), "each step is an item of its own");
    assert_eq!(lines.iter().filter(|line| line["code"] == "AccessDenied").count(), 1);
}

// --- Lifting a quarantine ---

impl Suspect {
    /// Lifts what these rows say was done.
    fn lift(&self, rows: &Value, flags: &str) -> Output {
        let run = self.account.aaws(format!("iam quarantine_user --lift - {flags}")).stdin(rows.to_string());
        run.endpoint(&self.proxy.url).run()
    }
}

#[test]
fn a_quarantine_is_lifted_from_its_own_output() {
    let mallory = Suspect::new();
    let idle = key(&mallory.account, "mallory");
    mallory.account.iam("UpdateAccessKey", &[("UserName", "mallory"), ("AccessKeyId", &idle), ("Status", "Inactive")]);
    let done = mallory.quarantine("").ok().json();
    let before = writes(&mallory.proxy).len();

    let plan = mallory.lift(&done, "--dry_run").exits(3).json();
    assert_eq!(steps(&plan).iter().filter(|(_, status)| *status == "planned").count(), 7, "{plan}");
    assert_eq!(writes(&mallory.proxy).len(), before);

    let lifted = mallory.lift(&done, "").exits(3).logs("cannot be brought back").json();
    let not_done: Vec<_> = steps(&lifted).into_iter().filter(|(_, status)| *status != "done").collect();
    assert_eq!(not_done, [("console_password", "skipped")]);
    assert_eq!(inline(&mallory.account, "mallory"), [""; 0]);
    let statuses = keys(&mallory.account, "mallory");
    assert_eq!((&statuses[&mallory.key][..], &statuses[&idle][..]), ("Active", "Inactive"), "what was inactive before stays so");
    for operation in ["ListSSHPublicKeys", "ListSigningCertificates"] {
        assert_eq!(mallory.status(operation), "Active");
    }
    assert!(mallory.service.lock().unwrap().values().all(|status| status == "Active"));
    let writes = writes(&mallory.proxy);
    assert_eq!(writes[writes.len() - 2..], ["DeleteUserPolicy", "DeleteUserPolicy"], "the deny goes last");
    let last = mallory.proxy.requests("DeleteUserPolicy");
    assert_eq!(last.last().and_then(|r| r.parameter("PolicyName")).as_deref(), Some(DENY_ALL));
    all_name_a_user(&mallory.proxy);

    let again = mallory.lift(&done, "").exits(3).json();
    assert!(steps(&again).iter().all(|(step, status)| *status == "unchanged" || *step == "console_password"), "{again}");
}

#[test]
fn only_what_was_done_is_lifted() {
    let mallory = Suspect::new();
    mallory.quarantine("").ok();
    let nothing_done = mallory.quarantine("").ok().json();
    let before = writes(&mallory.proxy).len();
    assert_eq!(mallory.lift(&nothing_done, "").ok().json(), json!([]));
    assert_eq!(mallory.lift(&json!([]), "").ok().json(), json!([]));
    assert_eq!(writes(&mallory.proxy).len(), before);
    assert_eq!(mallory.open(), [""; 0]);
}

#[test]
fn an_attached_deny_and_a_boundary_are_lifted_as_well() {
    let mallory = Suspect::behind(full(), &POLICIES);
    let flags = "--keep_service_credentials --keep_ssh_keys --keep_signing_certificates";
    let done = mallory.quarantine(flags).exits(3).json();
    mallory.lift(&done, "").exits(3);
    assert_eq!(attached(&mallory.account, "mallory"), [""; 0]);

    let mallory = Suspect::behind(full().refusing("AttachUserPolicy", "LimitExceeded"), &POLICIES);
    let done = mallory.quarantine(flags).exits(3).json();
    let lifted = mallory.lift(&done, "").exits(3).json();
    assert_eq!(step(&lifted, "deny")["Status"], "done", "{lifted}");
    assert_eq!(*mallory.boundary.lock().unwrap(), None);
}

#[test]
fn a_boundary_that_is_not_known_is_not_taken_away() {
    let mallory = Suspect::new();
    let row = json!([{"UserName": "mallory", "Step": "deny", "Id": AWS_DENY_ALL, "Status": "done", "Now": "permissions_boundary"}]);
    // Somebody else's boundary, or none, stays.
    assert_eq!(steps(&mallory.lift(&row, "").ok().json()), [("deny", "unchanged")]);
    *mallory.boundary.lock().unwrap() = Some(AWS_DENY_ALL.into());
    let rows = mallory.lift(&row, "").exits(3).json();
    assert_eq!(rows[0]["Code"], "Unchecked");
    assert_eq!(writes(&mallory.proxy), [""; 0]);
}

#[test]
fn who_is_gone_cannot_be_let_in_again() {
    let mallory = Suspect::new();
    let row = json!([{"UserName": "nobody", "Step": "deny", "Id": DENY_ALL, "Status": "done", "Now": "inline_policy"}]);
    assert_eq!(mallory.lift(&row, "").exits(3).json()[0]["Code"], "NotFound");
    assert_eq!(steps(&mallory.lift(&row, "--ignore_not_found").ok().json()), [("deny", "unchanged")]);
    let key = json!([
        {"UserName": "mallory", "Step": "access_key", "Id": "AKIANOSUCHKEYATALL00", "Status": "done", "Before": "Active", "Now": "Inactive"},
    ]);
    assert_eq!(mallory.lift(&key, "").exits(3).json()[0]["Code"], "NotFound");
    assert_eq!(writes(&mallory.proxy), [""; 0]);
}

#[test]
fn a_step_that_cannot_be_lifted_stops_no_other() {
    let mallory = Suspect::behind(plain().refusing("UpdateSSHPublicKey", "AccessDenied"), &POLICIES);
    let done = mallory.quarantine("").exits(3).json();
    mallory.account.iam("UpdateSSHPublicKey", &[("UserName", "mallory"), ("SSHPublicKeyId", &mallory.ssh_key), ("Status", "Inactive")]);
    let rows = done.as_array().expect("rows").iter().map(|row| {
        let mut row = row.clone();
        row["Status"] = json!("done");
        row
    });
    let lifted = mallory.lift(&rows.collect(), "").exits(3).json();
    assert_eq!(step(&lifted, "ssh_key")["Code"], "AccessDenied");
    assert_eq!((step(&lifted, "deny")["Status"].clone(), step(&lifted, "access_key")["Status"].clone()), (json!("done"), json!("done")));
}

#[test]
fn a_quarantine_and_its_lifting_are_two_things() {
    let mallory = Suspect::new();
    let both = mallory.account.aaws("iam quarantine_user --user mallory --lift -").stdin("[]").endpoint(&mallory.proxy.url).run();
    both.exits(2).silent().logs("only one of");
    let wrong = json!([{"UserName": "", "Step": "deny", "Status": "done"}]);
    mallory.lift(&wrong, "").exits(2).silent().logs("lift[0].UserName");
    assert_eq!(mallory.proxy.operations(), [""; 0]);
}
