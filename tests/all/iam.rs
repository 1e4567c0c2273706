//! The IAM actions that look: on moto, and on a small IAM with dates of long ago, short pages and a credential report.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake_iam::{Iam, User, base64, form};
use crate::support::http::Request;
use crate::support::proxy::{self, Proxy};
use crate::support::{Account, Output, Response, Server, aaws, directory, moto, report, shell, xml};

const DISCOVER: [&str; 11] = [
    "discover_admin_paths",
    "discover_inactive_console_users --threshold_days 90",
    "discover_inactive_users --threshold_days 90",
    "discover_no_mfa_users",
    "discover_old_access_keys --threshold_days 90",
    "discover_old_password_users --threshold_days 90",
    "discover_permissive_inline_policies",
    "discover_permissive_policies",
    "discover_trust_policies",
    "discover_unused_access_keys --threshold_days 90",
    "discover_unused_roles --threshold_days 90",
];

/// Those that look at users one by one, with the call that tells them most.
const BY_USER: [(&str, &str); 6] = [
    ("discover_inactive_console_users --threshold_days 90", "GetLoginProfile"),
    ("discover_inactive_users --threshold_days 90", "ListAccessKeys"),
    ("discover_no_mfa_users", "ListMFADevices"),
    ("discover_old_access_keys --threshold_days 90", "ListAccessKeys"),
    ("discover_old_password_users --threshold_days 90", "GetLoginProfile"),
    ("discover_unused_access_keys --threshold_days 90", "ListAccessKeys"),
];

const ALL: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
const ONE_BUCKET: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/*"}]}"#;
const HARMLESS: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}"#;

/// A run of `aaws iam …` on a server.
fn iam(server: &Server, line: &str) -> Output {
    aaws(format!("iam {line}")).endpoint(&server.url).run()
}

/// What it prints when all goes well.
#[track_caller]
fn found(server: &Server, line: &str) -> Value {
    iam(server, line).ok().json()
}

/// One member of each object of a list, or the strings themselves.
#[track_caller]
fn members(list: &Value, name: &str) -> Vec<String> {
    let text = |item: &Value| item.get(name).unwrap_or(item).as_str().unwrap_or_else(|| panic!("{name} of {item}")).to_owned();
    list.as_array().expect("a list").iter().map(text).collect()
}

/// A user who does everything too rarely and too unsafely, for every action.
fn lazy(name: &str) -> User {
    User::new(name, 400).password(400).signed_in(200).key(&format!("AKIA{}", name.to_uppercase()), 400, 200)
}

/// A user whom no action finds.
fn busy(name: &str) -> User {
    User::new(name, 400).password(10).signed_in(2).mfa().key(&format!("AKIA{}", name.to_uppercase()), 10, 2)
}

/// An account in which every action finds something.
fn account_with_everything() -> Iam {
    Iam::of([lazy("lena"), busy("bea"), lazy("lars")])
        .role("idle", "/", 400, Some(200))
        .policy("Anything", ALL)
        .inline("User", "lena", "inline-1", ALL, "Anything")
        .trusting("open", r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#)
}

// --- What holds for all of them ---

#[test]
fn strictly_more_than_n_whole_days_in_every_action() {
    let users = [("at", 30), ("past", 31)]
        .map(|(name, age)| User::new(name, 400).password(age).signed_in(age).key(&format!("AKIA{}", name.to_uppercase()), age, age));
    let server = Iam::of(users).role("at", "/", 400, Some(30)).role("past", "/", 400, Some(31)).start();
    for action in [
        "discover_inactive_console_users",
        "discover_inactive_users",
        "discover_old_access_keys",
        "discover_old_password_users",
        "discover_unused_access_keys",
        "discover_unused_roles",
    ] {
        let list = found(&server, &format!("{action} --threshold_days 30"));
        assert_eq!(members(&list, "UserName"), ["past"], "{action}");
        if let Some(age) = list[0].get("AgeDays") {
            assert_eq!(age, 31, "{action}");
        }
        assert_eq!(found(&server, &format!("{action} --threshold_days 31")), json!([]), "{action}");
        for wrong in ["-1", "ten", "1.5"] {
            iam(&server, &format!("{action} --threshold_days {wrong}")).exits(2).silent().logs("threshold_days");
        }
        iam(&server, action).exits(2).silent().logs("threshold_days");
    }
}

#[test]
fn an_account_with_nothing_in_it_gives_empty_lists() {
    let account = Account::fresh();
    for line in DISCOVER {
        assert_eq!(account.aaws(format!("iam {line}")).run().ok().json(), json!([]), "{line}");
    }
}

#[test]
fn what_is_new_today_is_never_found_on_moto() {
    let account = Account::fresh();
    let server = account.give(&["user:alice/console", "key:alice", "role:worker"]);
    for line in DISCOVER.iter().filter(|line| line.contains("threshold")) {
        let line = line.replace("90", "0");
        assert_eq!(account.aaws(format!("iam {line}")).endpoint(&server.url).run().ok().json(), json!([]), "{line}");
    }
}

#[test]
fn each_makes_exactly_the_calls_that_it_declares() {
    for line in DISCOVER {
        for more in ["", " --source live"] {
            let action = line.split(' ').next().unwrap();
            let reports = BY_USER.iter().any(|(with, _)| *with == line);
            if !more.is_empty() && !reports {
                continue;
            }
            let server = account_with_everything().start();
            assert_ne!(found(&server, &format!("{line}{more}")), json!([]), "{line}");
            let described = aaws(format!("describe iam {action}")).run().ok().json();
            let calls = described["calls"].as_array().expect("calls").iter();
            let declared: BTreeSet<String> = calls
                .filter(|call| call["when"] != "with `source` as `report`" || more.is_empty())
                .map(|call| call["call"].as_str().unwrap().trim_start_matches("iam:").to_owned())
                .collect();
            let made: BTreeSet<String> = server.operations().into_iter().collect();
            assert_eq!(made, declared, "{line}{more}");
        }
    }
}

#[test]
fn one_page_of_everything_is_one_call() {
    for line in [
        "discover_admin_paths",
        "discover_permissive_inline_policies",
        "discover_permissive_policies --details",
        "discover_trust_policies",
        "discover_unused_roles --threshold_days 90",
    ] {
        let server = account_with_everything().start();
        found(&server, line);
        assert_eq!(server.operations(), ["GetAccountAuthorizationDetails"], "{line}");
    }
}

#[test]
fn every_listing_is_read_to_its_end() {
    let names: Vec<String> = (0..7).map(|n| format!("user{n}")).collect();
    // One more who has MFA, on a later page than the first of the devices.
    let mut account = Iam::of(names.iter().map(|name| lazy(name)).chain([busy("busy")])).pages_of(2);
    for name in &names {
        account = account.role(name, "/", 400, None).policy(name, ALL).inline("Group", name, "p", ALL, "x");
    }
    let server = account.start();
    for (line, member) in [
        ("discover_inactive_console_users --threshold_days 90", "UserName"),
        ("discover_inactive_users --threshold_days 90", "UserName"),
        ("discover_no_mfa_users", "UserName"),
        ("discover_old_access_keys --threshold_days 90", "UserName"),
        ("discover_old_password_users --threshold_days 90", "UserName"),
        ("discover_permissive_inline_policies", "Entity"),
        ("discover_permissive_policies", "PolicyName"),
        ("discover_unused_access_keys --threshold_days 90", "UserName"),
        ("discover_unused_roles --threshold_days 90", "RoleName"),
    ] {
        assert_eq!(members(&found(&server, line), member), names, "{line}");
    }
    let listings = server.requests("ListUsers");
    assert!(listings.iter().all(|request| form(request, "MaxItems") == ["1000"]), "as many as IAM gives at once");
    assert_eq!(listings.len(), 6 * 4);
}

#[test]
fn both_keys_of_a_user_are_seen_on_pages_of_one() {
    let server = Iam::of([User::new("u", 400).key("AKIA1", 400, 300).key("AKIA2", 300, None)]).pages_of(1).start();
    for action in ["discover_old_access_keys", "discover_unused_access_keys"] {
        assert_eq!(members(&found(&server, &format!("{action} --threshold_days 90")), "AccessKeyId"), ["AKIA1", "AKIA2"], "{action}");
    }
}

#[test]
fn a_listing_that_goes_on_nowhere_is_not_taken_for_a_whole_one() {
    let fake = account_with_everything().start();
    let endless = |_, text: String| text.replace("<IsTruncated>false", "<IsTruncated>true");
    for line in DISCOVER {
        let server = Proxy::to(&fake.url).rewrite("ListUsers", endless).rewrite("GetAccountAuthorizationDetails", endless).start();
        iam(&server, line).exits(1).logs("the listing of the").logs("goes on");
    }
}

#[test]
fn a_user_who_cannot_be_read_is_reported_and_the_others_are_found() {
    let fake = Iam::of([lazy("ann"), lazy("bob"), lazy("cleo")]).start();
    for (line, call) in BY_USER {
        let server = Proxy::to(&fake.url).refuse_with(call, "UserName=bob", 403, "AccessDenied").start();
        let home = directory();
        let output = aaws(format!("iam {line} --report report.jsonl")).endpoint(&server.url).within(home.path()).run().exits(3);
        assert_eq!(members(&output.json(), "UserName"), ["ann", "cleo"], "{line}");
        let lines = report(&home);
        assert_eq!(lines.len(), 1, "{line}: {lines:?}");
        assert_eq!((&lines[0]["item"], &lines[0]["status"], &lines[0]["code"]), (&json!("bob"), &json!("failed"), &json!("AccessDenied")));
        assert!(output.stderr.contains("bob"), "{output}");
    }
}

#[test]
fn a_connection_that_breaks_for_one_user_does_not_end_the_run() {
    let fake = Iam::of([lazy("ann"), lazy("bob"), lazy("cleo")]).start();
    for (line, call) in BY_USER {
        let breaks = |_: usize, request: &mut Request| request.text().contains("UserName=bob").then(Response::dropped);
        let server = Proxy::to(&fake.url).rule(call, breaks).start();
        let run = aaws(format!("iam {line}")).endpoint(&server.url).env("AWS_MAX_ATTEMPTS", "1").run();
        let run = run.exits(3).logs("bob").logs("Unreachable");
        assert_eq!(members(&run.json(), "UserName"), ["ann", "cleo"], "{line}");
    }
}

#[test]
fn denied_for_every_user_is_not_an_empty_account() {
    let fake = account_with_everything().start();
    for (line, call) in BY_USER {
        let server = Proxy::to(&fake.url).refuse(call, 403, "AccessDenied").start();
        let output = iam(&server, line).exits(3);
        assert_eq!(output.json(), json!([]), "{line}");
        assert!(output.stderr.contains("lena") && output.stderr.contains("lars"), "{output}");
    }
}

#[test]
fn denied_as_a_whole_is_an_error_that_names_the_policy() {
    let fake = account_with_everything().start();
    for line in DISCOVER {
        let server = Proxy::to(&fake.url)
            .refuse("ListUsers", 403, "AccessDenied")
            .refuse("GetAccountAuthorizationDetails", 403, "AccessDenied")
            .start();
        let action = line.split(' ').next().unwrap();
        iam(&server, line).exits(1).logs("AccessDenied").logs(&format!("aaws permissions iam {action}"));
    }
}

#[test]
fn bad_credentials_end_the_run_at_once() {
    let fake = Iam::of((0..50).map(|n| lazy(&format!("user{n}")))).start();
    for (line, call) in BY_USER {
        let server = Proxy::to(&fake.url).refuse(call, 403, "ExpiredToken").start();
        iam(&server, &format!("{line} --concurrency 1")).exits(5).logs("ExpiredToken");
        assert!(server.count(call) < 5, "{line}: {} calls", server.count(call));
    }
}

#[test]
fn what_fails_for_a_moment_is_tried_again() {
    let fake = Iam::of([lazy("ann"), lazy("bob")]).start();
    for (line, call) in BY_USER {
        let server = Proxy::to(&fake.url).fail(call, 1, 503, "ServiceUnavailable").fail("ListUsers", 1, 400, "Throttling").start();
        // The other mode slows down for a while when it is throttled.
        let output = aaws(format!("iam {line}")).endpoint(&server.url).env("AWS_RETRY_MODE", "standard").run().ok();
        assert_eq!(members(&output.json(), "UserName"), ["ann", "bob"], "{line}");
    }
}

#[test]
fn a_user_who_is_deleted_meanwhile_is_no_finding_and_no_failure() {
    let fake = Iam::of([lazy("ann"), lazy("bob")]).start();
    for (line, call) in BY_USER {
        let mut proxy = Proxy::to(&fake.url).refuse_with(call, "UserName=bob", 404, "NoSuchEntity");
        if line.starts_with("discover_inactive_users") {
            proxy = proxy.refuse_with("GetLoginProfile", "UserName=bob", 404, "NoSuchEntity");
        }
        assert_eq!(members(&found(&proxy.start(), line), "UserName"), ["ann"], "{line}");
    }
}

#[test]
fn a_key_that_is_deleted_meanwhile_is_no_finding_and_no_failure() {
    let fake = Iam::of([lazy("ann"), lazy("bob")]).start();
    let server = || Proxy::to(&fake.url).fail("GetAccessKeyLastUsed", 1, 404, "NoSuchEntity").start();
    let keys = found(&server(), "discover_unused_access_keys --threshold_days 90 --concurrency 1");
    assert_eq!(members(&keys, "UserName"), ["bob"]);
    let users = found(&server(), "discover_inactive_users --threshold_days 90 --concurrency 1");
    assert_eq!(members(&users, "UserName"), ["ann", "bob"], "the password is left to judge by");
}

#[test]
fn no_more_requests_are_under_way_than_was_said() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let two_keys = |n: usize| lazy(&format!("user{n}")).key(&format!("B{n}"), 400, 300);
    let fake = Iam::of((0..20).map(two_keys)).start();
    for (line, _) in BY_USER {
        for source in ["report", "live"] {
            let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let mut proxy = Proxy::to(&fake.url);
            for operation in ["GetLoginProfile", "ListMFADevices", "ListAccessKeys", "GetAccessKeyLastUsed"] {
                let (begun, ended, most) = (Arc::clone(&now), Arc::clone(&now), Arc::clone(&most));
                proxy = proxy
                    .rule(operation, move |_, _| {
                        most.fetch_max(begun.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        None
                    })
                    .delay(operation, std::time::Duration::from_millis(5))
                    .rewrite(operation, move |_, text| {
                        ended.fetch_sub(1, Ordering::SeqCst);
                        text
                    });
            }
            let server = proxy.start();
            let list = found(&server, &format!("{line} --source {source} --concurrency 3"));
            assert_eq!(members(&list, "UserName").into_iter().collect::<BTreeSet<_>>().len(), 20, "{line}");
            let most = most.load(Ordering::SeqCst);
            assert!((2..=3).contains(&most), "{line} --source {source}: {most} at once");
        }
    }
}

#[test]
fn a_large_account_takes_few_calls() {
    // A thousand users with a password and two keys; one in ten did nothing for long, and has no MFA.
    let user = |n: usize| {
        let (name, [one, two]) = (format!("user{n:04}"), ["A", "B"].map(|key| format!("{key}{n}")));
        let user = User::new(&name, 800);
        if n.is_multiple_of(10) {
            user.password(400).signed_in(300).key(&one, 400, 300).key(&two, 400, None)
        } else {
            user.password(20).signed_in(1).mfa().key(&one, 20, 1).key(&two, 20, None)
        }
    };
    for (line, _) in BY_USER {
        let server = Iam::of((0..1000).map(user)).start();
        let list = found(&server, line);
        assert_eq!(members(&list, "UserName").into_iter().collect::<BTreeSet<_>>().len(), 100, "{line}");
        let calls = server.operations().len();
        assert!(calls <= 500, "{line}: {calls} calls");
    }
}

/// Requests that came, and those that are answered only when so many have.
#[derive(Default)]
struct Gate {
    came: Mutex<usize>,
    another: Condvar,
}

impl Gate {
    fn count(&self) {
        *self.came.lock().unwrap() += 1;
        self.another.notify_all();
    }

    /// Nothing when so many came; an error when they did not in time.
    fn wait_for(&self, number: usize, request: &Request) -> Option<Response> {
        let came = self.came.lock().unwrap();
        let (came, waited) = self.another.wait_timeout_while(came, Duration::from_secs(20), |came| *came < number).unwrap();
        drop(came);
        waited.timed_out().then(|| proxy::error(request, 400, "TooFewAtOnce"))
    }
}

#[test]
fn whom_the_report_clears_takes_no_place_of_those_who_are_looked_at() {
    // One in twenty is suspect.
    let user = |n: usize| if n.is_multiple_of(20) { lazy(&format!("lazy{n}")) } else { busy(&format!("busy{n}")) };
    let fake = Iam::of((0..200).map(user)).start();
    for (line, looked_at) in BY_USER {
        let gate = Gate::default();
        let rule = move |_: usize, request: &mut Request| {
            gate.count();
            gate.wait_for(8, request)
        };
        let server = Proxy::to(&fake.url).rule(looked_at, rule).start();
        assert_eq!(members(&found(&server, line), "UserName").len(), 10, "{line}");
    }
}

#[test]
fn what_does_not_depend_on_each_other_is_asked_at_once() {
    let fake = Iam::of([lazy("lena")]).start();
    // The report and the users; of a user the devices and the password.
    for (first, second) in [("GetCredentialReport", "ListUsers"), ("ListMFADevices", "GetLoginProfile")] {
        let gate = Arc::<Gate>::default();
        let came = Arc::clone(&gate);
        let server = Proxy::to(&fake.url)
            .rule(first, move |_, request| gate.wait_for(1, request))
            .rule(second, move |_, _| {
                came.count();
                None
            })
            .start();
        assert_eq!(members(&found(&server, "discover_no_mfa_users"), "UserName"), ["lena"], "{first}");
    }
}

// --- The credential report ---

#[test]
fn the_report_is_allowed_unless_it_is_not_asked_for() {
    let policy = |source: &str| aaws(format!("permissions iam discover_no_mfa_users --source {source}")).stranger().run().ok().stdout;
    assert!(policy("report").contains("iam:GetCredentialReport"));
    assert!(!policy("live").contains("CredentialReport"));
    let by_default = aaws("permissions iam discover_no_mfa_users").stranger().run().ok().stdout;
    assert!(by_default.contains("iam:GetCredentialReport"), "{by_default}");
}

#[test]
fn the_report_is_made_waited_for_and_its_age_is_told() {
    let server = Iam::of([lazy("lena"), busy("bea")])
        .report_comes_after(["ReportNotPresent", "ReportInProgress", "ReportInProgress", "ReportExpired"])
        .start();
    let output = iam(&server, "discover_no_mfa_users --source report").ok().logs("the credential report was made at").logs("minutes ago");
    assert_eq!(members(&output.json(), "UserName"), ["lena"]);
    assert_eq!(server.count("GetCredentialReport"), 5);
    assert_eq!(server.count("GenerateCredentialReport"), 3, "again when there is none, or an old one");
}

#[test]
fn iam_may_be_too_busy_to_make_a_report() {
    let fake = Iam::of([lazy("lena")]).start();
    let server = Proxy::to(&fake.url).fail("GenerateCredentialReport", 1, 409, "LimitExceeded").start();
    assert_eq!(members(&found(&server, "discover_no_mfa_users --source report"), "UserName"), ["lena"]);
    assert_eq!(server.count("GenerateCredentialReport"), 2);
}

#[test]
fn waiting_for_a_report_ends_with_the_time_that_was_given() {
    let server = Iam::of([lazy("lena")]).report_comes_after(["ReportInProgress"; 100]).start();
    let output = iam(&server, "discover_no_mfa_users --source report --timeout 1s").exits(1).logs("timed out");
    assert_eq!(server.count("ListMFADevices"), 0, "{output}");
}

#[test]
fn who_may_not_read_the_report_looks_at_every_user_and_is_told() {
    let fake = account_with_everything().start();
    for (line, looked_at) in BY_USER {
        for call in ["GenerateCredentialReport", "GetCredentialReport"] {
            let server = Proxy::to(&fake.url).refuse(call, 403, "AccessDenied").start();
            let run = iam(&server, line).ok().logs("credential report").logs("AccessDenied").logs("every user is looked at");
            assert_eq!(members(&run.json(), "UserName"), ["lena", "lars"], "{line}");
            assert!(server.count(looked_at) >= 2, "{line}");
        }
    }
}

#[test]
fn a_report_that_cannot_be_had_is_an_error() {
    let fake = account_with_everything().start();
    let server = Proxy::to(&fake.url).refuse("GetCredentialReport", 400, "ValidationError").start();
    iam(&server, "discover_no_mfa_users").exits(1).silent().logs("fetch the credential report");
}

#[test]
fn the_report_spares_the_calls_for_those_it_clears() {
    for (line, call) in BY_USER {
        let users: Vec<User> = (0..30).map(|n| busy(&format!("busy{n}"))).chain([lazy("lena")]).collect();
        let server = Iam::of(users).start();
        let live = found(&server, &format!("{line} --source live"));
        let calls = server.count(call);
        let reported = found(&server, line);
        assert_eq!(members(&live, "UserName"), ["lena"], "{line}");
        assert_eq!(members(&reported, "UserName"), ["lena"], "{line}");
        let spared = server.count(call) - calls;
        assert_eq!(spared, 1, "{line}: only who is suspect is looked at");
    }
}

#[test]
fn a_stale_report_neither_shows_who_is_gone_nor_hides_who_is_new() {
    for (line, _) in BY_USER {
        // `gone` was deleted since; `new` is not in the report; `again` is another user of the same name.
        let server = Iam::of([lazy("new"), lazy("again")]).report_of([lazy("gone"), User::new("again", 900)]).start();
        assert_eq!(members(&found(&server, &format!("{line} --source report")), "UserName"), ["new", "again"], "{line}");
    }
}

#[test]
fn a_key_that_was_never_used_counts_from_the_date_that_the_report_has() {
    let server = Iam::of([User::new("new", 400).key("AKIA1", 10, None), User::new("old", 400).key("AKIA2", 200, None)]).start();
    for action in ["discover_unused_access_keys", "discover_old_access_keys", "discover_inactive_users"] {
        let asked = server.count("ListAccessKeys");
        assert_eq!(members(&found(&server, &format!("{action} --threshold_days 90")), "UserName"), ["old"], "{action}");
        assert_eq!(server.count("ListAccessKeys") - asked, 1, "{action}: the report tells of the other");
    }
}

#[test]
fn what_the_report_does_not_tell_is_looked_at() {
    // `no_information` and `N/A` where a date should be.
    let fake = Iam::of([lazy("lena"), busy("bea")]).start();
    for (line, _) in BY_USER {
        let vague = |_: usize, text: String| {
            let (before, rest) = text.split_once("<Content>").expect("a report");
            let (_, after) = rest.split_once("</Content>").expect("its end");
            let header = "user,user_creation_time,password_enabled,password_last_used,password_last_changed,mfa_active,access_key_1_active,\
                          access_key_1_last_rotated,access_key_1_last_used_date,access_key_2_active";
            let rows: String = ["lena", "bea"]
                .iter()
                .map(|name| format!("{name},not_supported,not_supported,no_information,N/A,not_supported,true,N/A,no_information,N/A\n"))
                .collect();
            format!("{before}<Content>{}</Content>{after}", base64(&format!("{header}\n{rows}")))
        };
        let server = Proxy::to(&fake.url).rewrite("GetCredentialReport", vague).start();
        assert_eq!(members(&found(&server, line), "UserName"), ["lena"], "{line}");
    }
}

#[test]
fn what_the_report_says_is_checked_before_it_is_told() {
    // Since the report was made, all that was wrong was put right.
    let mended = || User::new("mia", 400).password(0).signed_in(0).mfa().key("AKIA2", 0, 0);
    for (line, _) in BY_USER {
        let server = Iam::of([mended()]).report_of([User::new("mia", 400).password(300).key("AKIA1", 300, None)]).start();
        assert_eq!(found(&server, &format!("{line} --source report")), json!([]), "{line}");
    }
}

#[test]
fn the_report_works_on_moto() {
    let account = Account::fresh();
    account.give(&["user:alice/console", "key:alice", "user:bob", "key:carol"]);
    let run = |line: &str| account.aaws(format!("iam {line} --source report")).run().ok().json();
    assert_eq!(members(&run("discover_no_mfa_users"), "UserName"), ["alice"]);
    assert_eq!(members(&run("discover_no_mfa_users --all_users"), "UserName"), ["alice", "bob", "carol"]);
    for (line, _) in BY_USER.iter().filter(|(line, _)| line.contains("threshold")) {
        assert_eq!(run(line), json!([]), "{line}");
    }
}

#[test]
fn a_source_that_there_is_not_is_refused() {
    let server = Iam::of([]).start();
    iam(&server, "discover_no_mfa_users --source reprot").exits(2).silent().logs("did you mean `report`");
}

// --- discover_inactive_console_users ---

#[test]
fn a_password_of_today_that_was_not_used_yet_is_not_inactive() {
    let server = Iam::of([User::new("new", 400).password(0), User::new("old", 400).password(200)]).start();
    let list = found(&server, "discover_inactive_console_users --threshold_days 90");
    assert_eq!(members(&list, "UserName"), ["old"]);
    assert_eq!((&list[0]["Status"], &list[0]["AgeDays"]), (&json!("never_used"), &json!(200)));
    assert_eq!(list[0].get("PasswordLastUsed"), None);
}

#[test]
fn only_users_with_a_password_of_today_are_judged_by_it() {
    let server = Iam::of([
        User::new("removed", 400).signed_in(300),
        User::new("replaced", 400).password(5).signed_in(300),
        User::new("replaced_long_ago", 400).password(200).signed_in(300),
        User::new("used", 400).password(300).signed_in(200),
    ])
    .start();
    let list = found(&server, "discover_inactive_console_users --threshold_days 90");
    assert_eq!(members(&list, "UserName"), ["replaced_long_ago", "used"]);
    assert_eq!((&list[0]["Status"], &list[0]["AgeDays"]), (&json!("never_used"), &json!(200)));
    assert_eq!((&list[1]["Status"], &list[1]["AgeDays"]), (&json!("inactive"), &json!(200)));
}

#[test]
fn no_user_is_asked_for_what_the_listing_says() {
    let server = Iam::of([lazy("lena"), busy("bea")]).start();
    found(&server, "discover_inactive_console_users --threshold_days 90 --source live");
    assert_eq!(server.operations(), ["ListUsers", "GetLoginProfile"], "no GetUser, and nothing of who signed in lately");
}

// --- discover_inactive_users ---

#[test]
fn who_has_no_credentials_is_not_inactive_but_can_be_asked_for() {
    let server = Iam::of([
        User::new("nobody", 400),
        User::new("newborn", 0),
        User::new("disarmed", 400).key_that_is("Inactive", "AKIA1", 400, 1).key_that_is("Expired", "AKIA2", 400, 1).signed_in(1),
        lazy("lena"),
    ])
    .start();
    assert_eq!(members(&found(&server, "discover_inactive_users --threshold_days 90"), "UserName"), ["lena"]);
    let list = found(&server, "discover_inactive_users --threshold_days 90 --no_credentials");
    assert_eq!(members(&list, "UserName"), ["nobody", "disarmed", "lena"]);
    assert_eq!(members(&list, "Status"), ["no_credentials", "no_credentials", "inactive"]);
    let reported = found(&server, "discover_inactive_users --threshold_days 90 --no_credentials --source report");
    assert_eq!(reported, list);
}

#[test]
fn a_user_of_today_is_not_inactive() {
    let server = Iam::of([User::new("today", 0).password(0).key("AKIA1", 0, None)]).start();
    assert_eq!(found(&server, "discover_inactive_users --threshold_days 0"), json!([]));
}

#[test]
fn any_credential_in_use_makes_a_user_active() {
    let server = Iam::of([
        User::new("by_password", 400).password(300).signed_in(3).key("AKIA1", 300, None),
        User::new("by_second_key", 400).password(300).key("AKIA2", 300, 200).key("AKIA3", 300, 3),
        User::new("by_new_key", 400).password(300).key("AKIA4", 3, None),
        User::new("by_dead_key", 400).password(300).key_that_is("Inactive", "AKIA5", 300, 3),
        User::new("never", 400).password(300).key("AKIA6", 200, None),
    ])
    .start();
    let list = found(&server, "discover_inactive_users --threshold_days 90");
    assert_eq!(members(&list, "UserName"), ["by_dead_key", "never"]);
    assert_eq!(members(&list, "Status"), ["never_used", "never_used"]);
    assert_eq!(list[1]["AgeDays"], 200, "since the youngest credential");
}

#[test]
fn the_use_of_an_earlier_password_is_none_of_this_ones() {
    let server = Iam::of([User::new("renewed", 400).password(100).signed_in(200)]).start();
    let list = found(&server, "discover_inactive_users --threshold_days 90");
    assert_eq!((&list[0]["Status"], &list[0]["AgeDays"]), (&json!("never_used"), &json!(100)));
    assert_eq!(found(&server, "discover_inactive_users --threshold_days 150"), json!([]), "the password is younger than that");
}

#[test]
fn a_key_that_cannot_be_read_does_not_matter_when_another_is_in_use() {
    let fake = Iam::of([
        User::new("active", 400).key("AKIA1", 300, 200).key("AKIA2", 300, 3),
        User::new("unknown", 400).key("AKIA3", 300, 200).key("AKIA4", 300, 200),
    ])
    .start();
    let server = Proxy::to(&fake.url)
        .refuse_with("GetAccessKeyLastUsed", "AccessKeyId=AKIA1", 403, "AccessDenied")
        .refuse_with("GetAccessKeyLastUsed", "AccessKeyId=AKIA3", 403, "AccessDenied")
        .start();
    let output = iam(&server, "discover_inactive_users --threshold_days 90").exits(3).logs("unknown");
    assert_eq!(output.json(), json!([]));
    assert!(!output.stderr.contains("`active`"), "{output}");
}

// --- discover_no_mfa_users ---

#[test]
fn users_without_a_password_only_on_request() {
    let account = Account::fresh();
    account.give(&["user:alice/console", "user:bob", "key:bob", "user:carol/console", "user:carol/mfa"]);
    let run = |line: &str| account.aaws(format!("iam {line}")).run().ok().json();
    assert_eq!(run("discover_no_mfa_users"), json!([{"UserName": "alice"}]));
    assert_eq!(run("discover_no_mfa_users --all_users"), json!([{"UserName": "alice"}, {"UserName": "bob"}]));
}

#[test]
fn the_root_user_comes_with_the_report() {
    let without = Iam::of([lazy("lena")]).root(false).start();
    assert_eq!(members(&found(&without, "discover_no_mfa_users"), "UserName"), ["<root_account>", "lena"]);
    assert_eq!(members(&found(&without, "discover_no_mfa_users --source live"), "UserName"), ["lena"]);
    let with = Iam::of([lazy("lena")]).root(true).start();
    assert_eq!(members(&found(&with, "discover_no_mfa_users --source report"), "UserName"), ["lena"]);
    for (line, _) in BY_USER.iter().filter(|(line, _)| line.contains("threshold")) {
        assert_eq!(members(&found(&without, &format!("{line} --source report")), "UserName"), ["lena"], "{line}");
    }
}

#[test]
fn published_pipeline_no_mfa_into_modify_users_console_access() {
    let account = Account::fresh();
    account.give(&["user:alice/console", "user:bob", "user:carol/console", "user:carol/mfa"]);
    let line = "aaws iam discover_no_mfa_users | aaws iam modify_users_console_access --users - --disable";
    assert_eq!(account.shell(line).run().ok().json(), json!([]));
    let has_password = |name: &str| account.try_call("iam", &format!("Action=GetLoginProfile&UserName={name}")).status == 200;
    assert_eq!([has_password("alice"), has_password("carol")], [false, true]);
}

// --- discover_old_access_keys, discover_unused_access_keys ---

#[test]
fn each_key_is_judged_on_its_own() {
    let server = Iam::of([
        User::new("ann", 400).key("AKIA1", 200, 1).key("AKIA2", 10, None),
        User::new("bob", 400).key_that_is("Inactive", "AKIA3", 300, None).key_that_is("Expired", "AKIA4", 300, 200),
        User::new("cleo", 400).key("AKIA5", 300, None).key("AKIA6", 300, 100),
    ])
    .start();
    let old = found(&server, "discover_old_access_keys --threshold_days 90");
    assert_eq!(members(&old, "AccessKeyId"), ["AKIA1", "AKIA5", "AKIA6"]);
    let unused = found(&server, "discover_unused_access_keys --threshold_days 90");
    assert_eq!(members(&unused, "AccessKeyId"), ["AKIA5", "AKIA6"]);
    assert_eq!(members(&unused, "Status"), ["never_used", "unused"]);
    assert_eq!((&unused[0]["AgeDays"], &unused[1]["AgeDays"], &unused[1]["ServiceName"]), (&json!(300), &json!(100), &json!("s3")));
    assert_eq!(unused[0].get("ServiceName"), None, "`N/A` is no service");
    for action in ["discover_old_access_keys", "discover_unused_access_keys"] {
        let all = found(&server, &format!("{action} --threshold_days 90 --inactive"));
        assert!(members(&all, "KeyStatus").contains(&"Expired".to_owned()), "{all}");
        assert_eq!(found(&server, &format!("{action} --threshold_days 90 --inactive --source report")), all);
    }
}

#[test]
fn a_key_that_was_never_used_does_not_end_the_run() {
    let server = Iam::of([User::new("new", 1).key("AKIA1", 1, None), User::new("old", 400).key("AKIA2", 100, None)]).start();
    let list = found(&server, "discover_unused_access_keys --threshold_days 90");
    assert_eq!(members(&list, "AccessKeyId"), ["AKIA2"]);
    assert_eq!((&list[0]["Status"], &list[0]["AgeDays"]), (&json!("never_used"), &json!(100)));
}

#[test]
fn a_key_that_cannot_be_read_is_reported_and_the_other_is_found() {
    let fake = Iam::of([User::new("u", 400).key("AKIA1", 300, 200).key("AKIA2", 300, 200)]).start();
    let server = Proxy::to(&fake.url).refuse_with("GetAccessKeyLastUsed", "AccessKeyId=AKIA1", 403, "AccessDenied").start();
    let output = iam(&server, "discover_unused_access_keys --threshold_days 90").exits(3).logs("`AKIA1`");
    assert_eq!(members(&output.json(), "AccessKeyId"), ["AKIA2"]);
}

/// The dates of creation in an answer of moto, put back by years.
fn long_ago(_: usize, text: String) -> String {
    xml::texts(&text, "CreateDate").iter().fold(text, |text, date| text.replace(date, "2020-01-02T03:04:05Z"))
}

#[test]
fn published_pipeline_old_keys_into_modify_access_keys() {
    let account = Account::fresh();
    account.give(&["key:alice", "key:bob", "key:bob", "key:carol"]);
    // Carol's key is of today.
    let proxy = Proxy::to(moto::endpoint())
        .rewrite("ListAccessKeys", |n, text| if text.contains("<UserName>carol</UserName>") { text } else { long_ago(n, text) })
        .start();
    // moto's report is of today, too.
    let line = "aaws iam discover_old_access_keys --threshold_days 90 --source live | aaws iam modify_access_keys --keys - --disable";
    assert_eq!(account.shell(line).endpoint(&proxy.url).run().ok().json(), json!([]));
    let statuses = |name: &str| xml::texts(&account.iam("ListAccessKeys", &[("UserName", name)]), "Status");
    assert_eq!(
        [statuses("alice").join(" "), statuses("bob").join(" "), statuses("carol").join(" ")],
        ["Inactive", "Inactive Inactive", "Active"]
    );
}

#[test]
fn unused_keys_go_into_the_same_pipeline() {
    let account = Account::fresh();
    account.give(&["key:alice"]);
    let proxy = Proxy::to(moto::endpoint()).rewrite("ListAccessKeys", long_ago).start();
    let line = "aaws iam discover_unused_access_keys --threshold_days 90 --source live | aaws iam modify_access_keys --keys - --disable";
    assert_eq!(account.shell(line).endpoint(&proxy.url).run().ok().json(), json!([]));
    assert_eq!(xml::texts(&account.iam("ListAccessKeys", &[("UserName", "alice")]), "Status"), ["Inactive"]);
}

#[test]
fn a_pipeline_whose_first_half_fails_changes_nothing() {
    let fake = account_with_everything().start();
    let server = Proxy::to(&fake.url).refuse("ListUsers", 403, "AccessDenied").start();
    let line = "aaws iam discover_old_access_keys --threshold_days 90 | aaws iam modify_access_keys --keys - --disable";
    shell(line).endpoint(&server.url).run();
    assert_eq!(server.count("UpdateAccessKey"), 0);
}

// --- discover_old_password_users ---

#[test]
fn the_report_knows_when_a_password_was_changed() {
    let server = Iam::of([
        User::new("kept", 400).password(300),
        User::new("changed", 400).password(300).changed(10),
        User::new("changed_long_ago", 400).password(300).changed(200),
        User::new("none", 400),
    ])
    .start();
    let live = found(&server, "discover_old_password_users --threshold_days 90 --source live");
    assert_eq!(members(&live, "UserName"), ["kept", "changed", "changed_long_ago"], "live there is only the date of creation");
    let reported = found(&server, "discover_old_password_users --threshold_days 90");
    assert_eq!(members(&reported, "UserName"), ["kept", "changed_long_ago"]);
    assert_eq!(reported[1]["AgeDays"], 200);
    assert!(reported[1]["PasswordLastChanged"].is_string(), "{reported}");
}

// --- discover_unused_roles ---

#[test]
fn roles_that_were_never_used_are_found_and_those_of_services_left_out() {
    let server = Iam::of([])
        .role("used", "/", 400, Some(1))
        .role("idle", "/", 400, Some(200))
        .role("never", "/", 300, None)
        .role("new", "/", 3, None)
        .role("linked", "/aws-service-role/x.amazonaws.com/", 400, None)
        .role("sso", "/aws-reserved/sso.amazonaws.com/", 400, Some(100))
        .start();
    assert_eq!(found(&server, "discover_unused_roles --threshold_days 90"), json!(["idle", "never", "sso"]));
    let list = found(&server, "discover_unused_roles --threshold_days 90 --details");
    assert_eq!(members(&list, "RoleName"), ["idle", "never", "sso"]);
    assert_eq!(members(&list, "Status"), ["unused", "never_used", "unused"]);
    assert_eq!([&list[0]["AgeDays"], &list[1]["AgeDays"]], [200, 300]);
    assert_eq!([&list[1]["Reserved"], &list[2]["Reserved"]], [false, true]);
    assert_eq!(list[0]["InstanceProfiles"], json!(["idle-profile"]));
    assert_eq!(list[0]["Trusted"], json!(["ec2.amazonaws.com"]));
    assert_eq!(list[1]["LastUsed"], Value::Null);
    let asked = server.requests("GetAccountAuthorizationDetails");
    assert!(asked.iter().all(|request| form(request, "Filter.member.") == ["Role"]), "roles and nothing else");
}

#[test]
fn roles_on_moto() {
    let account = Account::fresh();
    account.give(&["role:old", "role:older"]);
    let proxy = Proxy::to(moto::endpoint()).rewrite("GetAccountAuthorizationDetails", long_ago).start();
    let output = account.aaws("iam discover_unused_roles --threshold_days 90").endpoint(&proxy.url).run().ok();
    assert_eq!(output.json(), json!(["old", "older"]));
}

#[test]
fn a_role_without_dates_is_reported_and_the_others_are_found() {
    let fake = Iam::of([]).role("broken", "/", 300, None).role("never", "/", 300, None).start();
    let server = Proxy::to(&fake.url)
        .rewrite("GetAccountAuthorizationDetails", |_, text| {
            let (before, rest) = text.split_once("<CreateDate>").expect("a date");
            let (_, after) = rest.split_once("</CreateDate>").expect("its end");
            format!("{before}{after}")
        })
        .start();
    let output = iam(&server, "discover_unused_roles --threshold_days 90").exits(3).logs("`broken`");
    assert_eq!(output.json(), json!(["never"]));
}

// --- discover_permissive_policies ---

#[test]
fn one_scan_survives_statements_of_every_form() {
    let account = Account::fresh();
    let statement = |statement: Value| json!({"Version": "2012-10-17", "Statement": statement}).to_string();
    let allow = |action: Value, resource: Value| statement(json!({"Effect": "Allow", "Action": action, "Resource": resource}));
    let denied = json!([
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "*", "Resource": "*"},
    ]);
    for (name, document) in [
        ("all-but-iam", statement(json!([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]))),
        ("all-but-one-bucket", statement(json!([{"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::b"}]))),
        ("denied", statement(denied)),
        ("one-object", allow(json!("*"), json!("*"))),
        ("one-bucket", allow(json!(["s3:*"]), json!("arn:aws:s3:::b/*"))),
        ("question-mark", allow(json!(["S3:GetObjec?"]), json!(["arn:aws:s3:::x", "*"]))),
        ("read", allow(json!("ec2:DescribeInstances"), json!("*"))),
        ("strict-only", allow(json!(["s3:GetObject", "sns:*"]), json!("arn:aws:sns:*:*:topic"))),
        ("upper", allow(json!("S3:GET*"), json!("arn:aws:s3:::*"))),
        ("narrow", allow(json!("s3:GetObject"), json!("arn:aws:s3:::b/+ü%20*"))),
    ] {
        account.iam("CreatePolicy", &[("PolicyName", name), ("PolicyDocument", &document)]);
    }
    let run = |line: &str| account.aaws(format!("iam {line}")).run().ok().json();
    let both = ["all-but-iam", "all-but-one-bucket", "one-object", "question-mark", "upper"];
    assert_eq!(run("discover_permissive_policies"), json!(both));
    let either = ["all-but-iam", "all-but-one-bucket", "one-bucket", "one-object", "question-mark", "read", "strict-only", "upper"];
    assert_eq!(run("discover_permissive_policies --strict"), json!(either));
}

#[test]
fn details_tell_where_a_policy_is_attached_and_under_which_conditions() {
    let conditional = r#"{"Statement":{"Sid":"Ü","Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}}"#;
    let server = Iam::of([])
        .inline("User", "ann", "x", HARMLESS, "Guarded")
        .inline("Role", "worker", "x", HARMLESS, "Guarded")
        .policy("Guarded", conditional)
        .policy("Free", ALL)
        .inline("Group", "admins", "x", HARMLESS, "Free")
        .pages_of(1)
        .start();
    let list = found(&server, "discover_permissive_policies --details");
    assert_eq!(members(&list, "PolicyName"), ["Free", "Guarded"]);
    assert_eq!(list[0]["AttachedTo"], json!({"Users": [], "Groups": ["admins"], "Roles": []}));
    assert_eq!(list[1]["AttachedTo"], json!({"Users": ["ann"], "Groups": [], "Roles": ["worker"]}));
    assert_eq!([&list[0]["Conditional"], &list[1]["Conditional"]], [false, true]);
    assert_eq!(list[1]["Statements"][0]["Condition"], json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}}));
    assert_eq!(list[1]["Statements"][0]["Sid"], "Ü", "documents are percent-encoded UTF-8");
    assert_eq!((&list[0]["Version"], &list[0]["Arn"]), (&json!("v2"), &json!("arn:aws:iam::123456789012:policy/Free")));
    assert_eq!(found(&server, "discover_permissive_policies"), json!(["Free", "Guarded"]), "a condition does not hide a policy");
}

/// The ways to become an administrator that are written with no wildcard among the actions.
const ADMIN_PATHS: [(&str, &str); 5] = [
    ("AttachUserPolicy", r#"{"Statement":{"Effect":"Allow","Action":"iam:AttachUserPolicy","Resource":"*"}}"#),
    (
        "CreatePolicyVersion",
        r#"{"Statement":{"Effect":"Allow","Action":"iam:CreatePolicyVersion","Resource":"arn:aws:iam::123456789012:policy/*"}}"#,
    ),
    ("PassRole+CreateFunction", r#"{"Statement":{"Effect":"Allow","Action":["iam:PassRole","lambda:CreateFunction"],"Resource":"*"}}"#),
    ("AssumeRole", r#"{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}"#),
    ("PutRolePolicy", r#"{"Statement":{"Effect":"Allow","Action":"iam:PutRolePolicy","Resource":"arn:aws:iam::*:role/*"}}"#),
];

#[test]
fn ways_to_become_an_administrator_are_found_and_named_with_their_source() {
    let account = ADMIN_PATHS.iter().fold(Iam::of([]), |iam, (name, document)| iam.policy(&name.replace('+', "-"), document));
    let all_of_iam = r#"{"Statement":{"Effect":"Allow","Action":"iam:*","Resource":["arn:aws:iam::123456789012:role/*","arn:aws:iam::123456789012:user/*","arn:aws:iam::123456789012:policy/*"]}}"#;
    let put_objects = r#"{"Statement":{"Effect":"Allow","Action":"s3:PutObjec*","Resource":"*"}}"#;
    let only_pass = r#"{"Statement":{"Effect":"Allow","Action":"iam:PassRole","Resource":"*"}}"#;
    let server = account.policy("Iam", all_of_iam).policy("Put", put_objects).policy("Pass", only_pass).start();
    let list = found(&server, "discover_permissive_policies --details");
    let policy = |name: &str| list.as_array().unwrap().iter().find(|p| p["PolicyName"] == name).unwrap_or_else(|| panic!("{name}: {list}"));
    for (name, _) in ADMIN_PATHS {
        let found = policy(&name.replace('+', "-"));
        assert_eq!(found["Risk"], "escalation", "{found}");
        assert_eq!(members(&found["Escalations"], "Name"), [name]);
        assert!(found["Escalations"][0]["Source"].as_str().is_some_and(|source| source.contains("https://")), "{found}");
    }
    assert_eq!((&policy("Iam")["Risk"], &policy("Put")["Risk"]), (&json!("admin"), &json!("write")), "the one is far above the other");
    assert!(!members(&list, "PolicyName").contains(&"Pass".to_owned()), "a role that can be handed to nothing");
}

#[test]
fn who_has_an_admin_policy_is_named_through_groups_too() {
    let server = Iam::of([])
        .policy("Free", ALL)
        .policy("Wide", r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#)
        .inline("User", "ann", "p", HARMLESS, "Free")
        .inline("Group", "admins", "p", ALL, "Free")
        .inline("Role", "worker", "p", HARMLESS, "Wide")
        .member_of("admins", "bob")
        .pages_of(1)
        .start();
    let list = found(&server, "discover_permissive_policies --details");
    assert_eq!(members(&list, "PolicyName"), ["Free", "Wide"]);
    assert_eq!(list[0]["EffectiveAdmins"], json!(["user/ann", "user/bob"]));
    assert_eq!(list[1].get("EffectiveAdmins"), None, "it makes nobody an administrator");
    let inline = found(&server, "discover_permissive_inline_policies");
    assert_eq!((&inline[0]["Entity"], &inline[0]["EffectiveAdmins"]), (&json!("admins"), &json!(["user/bob"])));
    let groups_only = found(&server, "discover_permissive_inline_policies --focus group");
    assert_eq!(groups_only[0].get("EffectiveAdmins"), None, "users were not read");
}

#[test]
fn what_a_deny_leaves_is_worked_out() {
    let document = |deny: &str| format!(r#"{{"Statement":[{{"Effect":"Allow","Action":"*","Resource":"*"}},{deny}]}}"#);
    let only_one_bucket = document(r#"{"Effect":"Deny","Action":"*","NotResource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}"#);
    let only_reading = document(r#"{"Effect":"Deny","NotAction":["s3:Get*","s3:List*"],"Resource":"*"}"#);
    let server = Iam::of([]).policy("OneBucket", &only_one_bucket).policy("Reading", &only_reading).start();
    let list = found(&server, "discover_permissive_policies --details");
    assert_eq!((members(&list, "PolicyName"), &list[0]["Risk"]), (vec!["Reading".to_owned()], &json!("read")));
}

#[test]
fn boundaries_grant_nothing() {
    let server = Iam::of([]).policy_with("Boundary", ALL, 0, 2).policy_with("Both", ALL, 1, 2).policy_with("Idle", ALL, 0, 0).start();
    assert_eq!(found(&server, "discover_permissive_policies"), json!(["Both", "Idle"]));
}

#[test]
fn aws_managed_policies_only_on_request() {
    // Thousands of AWS's are attached to nothing: only those that somebody uses are of interest.
    let server = Iam::of([]).policy("Mine", ALL).aws_policy("AdministratorAccess", ALL, 1).aws_policy("PowerUserAccess", ALL, 0).start();
    assert_eq!(found(&server, "discover_permissive_policies"), json!(["Mine"]));
    assert_eq!(found(&server, "discover_permissive_policies --aws_managed"), json!(["AdministratorAccess", "Mine"]));
    let filters: Vec<_> = server.requests("GetAccountAuthorizationDetails").iter().map(|r| form(r, "Filter.member.")).collect();
    assert_eq!(filters, [vec!["LocalManagedPolicy"], vec!["LocalManagedPolicy", "AWSManagedPolicy"]]);
}

#[test]
fn a_document_that_cannot_be_read_fails_alone() {
    let server = Iam::of([]).policy("Broken", "{").policy("Free", ALL).policy("Odd", r#"{"Statement":[{"Effect":"Allow"}]}"#).start();
    let output = iam(&server, "discover_permissive_policies").exits(3).logs("`Broken`").logs("`Odd`");
    assert_eq!(output.json(), json!(["Free"]));
    let server = Iam::of([]).inline("User", "ann", "broken", "{", "x").inline("User", "bob", "free", ALL, "x").start();
    let output = iam(&server, "discover_permissive_inline_policies").exits(3).logs("ann/broken");
    assert_eq!(members(&output.json(), "Entity"), ["bob"]);
}

// --- discover_permissive_inline_policies ---

#[test]
fn users_come_first_then_roles_then_groups() {
    let server = Iam::of([])
        .inline("Group", "g", "p", ALL, "x")
        .inline("Role", "r", "p", ALL, "x")
        .inline("User", "b", "p", ONE_BUCKET, "x")
        .inline("User", "u", "p", ALL, "x")
        .pages_of(1)
        .start();
    let list = found(&server, "discover_permissive_inline_policies");
    assert_eq!(members(&list, "Type"), ["User", "Role", "Group"]);
    assert_eq!(members(&list, "Entity"), ["u", "r", "g"]);
    assert_eq!(members(&found(&server, "discover_permissive_inline_policies --strict"), "Entity"), ["b", "u", "r", "g"]);
}

#[test]
fn focus_is_checked_and_chooses_what_is_read() {
    let account = Account::fresh();
    let inline = |kind: &str| format!("inline:{kind}:the-{kind}:p={ALL}");
    account.give(&[&inline("user"), &inline("group"), &inline("role")]);
    let run = |line: &str| account.aaws(format!("iam discover_permissive_inline_policies {line}")).run();
    assert_eq!(members(&run("").ok().json(), "Entity"), ["the-user", "the-role", "the-group"]);
    assert_eq!(members(&run("--focus group user").ok().json(), "Entity"), ["the-user", "the-group"]);
    assert_eq!(members(&run("--focus role").ok().json(), "Entity"), ["the-role"]);
    run("--focus users").exits(2).silent().logs("did you mean `user`");
    run("--focus userrole").exits(2).silent();
}

#[test]
fn a_focus_on_nothing_asks_for_nothing() {
    let server = account_with_everything().start();
    assert_eq!(found(&server, "discover_permissive_inline_policies --focus"), json!([]));
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn inline_policies_on_moto() {
    let account = Account::fresh();
    let not_action = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}}"#;
    account.give(&[&format!("inline:user:alice:bad={not_action}"), &format!("inline:user:alice:good={HARMLESS}")]);
    let output = account.aaws("iam discover_permissive_inline_policies").run().ok();
    let statement: Value = serde_json::from_str(not_action).unwrap();
    let found = output.json();
    let expected = json!([{
        "Type": "User", "Entity": "alice", "Policy": "bad", "EffectiveAdmins": ["user/alice"], "Risk": "escalation", "Conditional": false,
        "Escalations": found[0]["Escalations"], "Statements": [statement["Statement"]],
    }]);
    assert_eq!(found, expected);
    assert!(members(&found[0]["Escalations"], "Name").contains(&"AssumeRole".to_owned()), "{found}");
}
