//! What there is to look after, and the commands that are shown for it.

use serde_json::{Value, json};

use crate::support::ec2::World;
use crate::support::fake_iam::{Iam, User};
use crate::support::proxy::Proxy;
use crate::support::{Account, aaws, directory};

/// What is said of a check.
fn check<'a>(rows: &'a Value, title: &str) -> &'a Value {
    let mut rows = rows.as_array().expect("a list of checks").iter();
    rows.find(|row| row["check"] == title).unwrap_or_else(|| panic!("nothing is said of: {title}"))
}

#[test]
fn the_commands_that_are_shown_go_where_was_looked() {
    let world = World::new();
    let volume = world.volume(&[]);
    let rows = world.aaws("overview ec2 --region us-east-1").env("AWS_REGION", "eu-west-1").run().json();
    let said = check(&rows, "Volumes that are attached to nothing");
    let command = |member: &str| said[member].as_str().unwrap_or_else(|| panic!("no {member}: {said}")).to_owned();
    let shown = world.shell(command("show")).env("AWS_REGION", "eu-west-1").run().ok().json();
    assert_eq!(shown[0]["VolumeId"], volume.as_str());
    world.shell(command("mend")).env("AWS_REGION", "eu-west-1").run().ok();
    assert_eq!((world.volumes().len(), world.snapshots().len()), (0, 1));
}

#[test]
fn what_an_action_finds_as_a_whole_is_counted_too() {
    let world = World::new();
    let group = world.group("unused");
    let title = "Security groups that nothing uses";
    let rows = world.aaws("overview ec2").run().json();
    let said = check(&rows, title);
    assert_eq!((&said["count"], &said["problem"]), (&json!(1), &json!(null)), "{said}");
    let mend = said["mend"].as_str().unwrap_or_else(|| panic!("nothing mends it: {said}"));
    world.shell(mend).run().ok();
    assert!(!world.groups().contains(&group));

    let server = world.proxy().refuse("DescribeLaunchTemplateVersions", 403, "UnauthorizedOperation").start();
    let rows = world.aaws_via(&server, "overview ec2").run().exits(3).json();
    assert!(check(&rows, title)["problem"].as_str().is_some_and(|why| why.contains("could not be looked at")), "{rows}");
}

/// What is asked of users.
const NO_MFA: &str = "Users who sign in to the console without MFA";

#[test]
fn a_terminal_shows_a_table_and_commands_that_can_be_copied() {
    let world = World::new();
    world.volume(&[]);
    let shown = world.aaws("overview ec2").on_terminal_with(&["--columns", "80"], "").stdout;
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert!(lines.iter().any(|line| line.starts_with(" check") && line.contains("count")), "{shown}");
    let title = "Volumes that are attached to nothing";
    assert!(lines.iter().any(|line| line.contains(title) && line.contains(" 1 ")), "{shown}");
    let shows = "aaws ec2 discover_volumes --detached --details";
    assert!(lines.iter().any(|line| line.trim() == shows), "{shown}");
    let mends = format!("{shows} | aaws ec2 delete_volumes --volume_ids - --snapshot");
    assert!(lines.iter().any(|line| line.trim() == mends), "{shown}");
}

#[test]
fn nothing_to_look_after_is_a_list_of_noughts() {
    let account = Account::fresh();
    let rows = account.aaws("overview iam --fail_on_findings").run().ok().json();
    let said = check(&rows, NO_MFA);
    assert_eq!(said, &json!({"check": NO_MFA, "count": 0, "since": null, "show": null, "mend": null, "problem": null}));
    for output in ["jsonl", "text", "csv", "table", "yaml"] {
        let shown = account.aaws(format!("overview iam --output {output}")).run().ok().stdout;
        assert!(shown.contains(NO_MFA), "{shown}");
    }
}

#[test]
fn what_an_overview_finds_can_be_a_failure() {
    let account = Account::fresh();
    let server = account.give(&["user:alice/console"]);
    let aaws = |line: &str| account.aaws(line).endpoint(&server.url);
    assert_eq!(check(&aaws("overview iam").run().ok().json(), NO_MFA)["count"], 1);
    let rows = aaws("overview iam --fail_on_findings").run().exits(6).json();
    assert_eq!(check(&rows, NO_MFA)["count"], 1);
}

#[test]
fn no_command_is_shown_that_would_take_away_what_may_be_in_use() {
    let world = World::new();
    let web = world.group("web");
    let public = world.rule(&web, "443", "0.0.0.0/0");
    let rows = world.aaws("overview ec2").run().json();
    let said = check(&rows, "Rules of security groups that admit everyone");
    assert_eq!((&said["count"], &said["mend"]), (&json!(1), &json!(null)), "{public}: {said}");
    assert!(said["show"].as_str().is_some_and(|show| show.contains("discover_open_security_groups")), "{said}");

    // It is old, and used every day; another is as old, and used by nobody.
    let users = [User::new("ann", 400).key("AKIA1", 300, 0).key("AKIA2", 300, None), User::new("bob", 400).password(300).signed_in(0)];
    let server = Iam::of(users).start();
    let rows = aaws("overview iam").endpoint(&server.url).run().json();
    let said = |title: &str| (check(&rows, title)["count"].clone(), check(&rows, title)["mend"].as_str().map(str::to_owned));
    assert_eq!(said("Active access keys older than 90 days"), (json!(2), None));
    assert_eq!(said(NO_MFA), (json!(1), None));
    let (count, mend) = said("Active access keys not used for 90 days");
    assert!(count == json!(1) && mend.is_some_and(|mend| mend.ends_with("| aaws iam modify_access_keys --keys - --disable")), "{rows}");
}

/// Users of whom each check of passwords and keys finds something.
fn suspects() -> Iam {
    let user =
        |n: usize| User::new(&format!("user{n}"), 400).password(400).key(&format!("A{n}"), 400, 300).key(&format!("B{n}"), 400, None);
    Iam::of((0..4).map(user))
}

/// What there is of them.
fn assert_found(rows: &Value) {
    for (title, count) in [(NO_MFA, 4), ("Active access keys older than 90 days", 8), ("Active access keys not used for 90 days", 8)] {
        assert_eq!(check(rows, title)["count"], count, "{title}: {rows}");
    }
}

#[test]
fn what_several_checks_ask_of_iam_is_asked_once() {
    let server = suspects().report_comes_after(["ReportInProgress"]).start();
    let run = aaws("overview iam").endpoint(&server.url).run().ok();
    assert_found(&run.json());
    // The report is fetched in vain once.
    let asked = [("GenerateCredentialReport", 1), ("GetCredentialReport", 2), ("ListUsers", 1), ("ListAccessKeys", 4)];
    for (operation, times) in asked {
        assert_eq!(server.count(operation), times, "{operation}");
    }
    assert_eq!(run.stderr.matches("the credential report was made at").count(), 1, "{run}");
}

#[test]
fn that_the_report_may_not_be_read_is_told_once_and_the_checks_are_made() {
    let fake = suspects().start();
    let server = Proxy::to(&fake.url).refuse("GenerateCredentialReport", 403, "AccessDenied").start();
    let run = aaws("overview iam").endpoint(&server.url).run().ok();
    assert_found(&run.json());
    assert_eq!(run.stderr.matches("every user is looked at instead").count(), 1, "{run}");
    assert_eq!(server.count("GenerateCredentialReport"), 1);
}

#[test]
fn a_report_that_cannot_be_had_is_told_of_every_check_that_needs_it() {
    let fake = suspects().start();
    let server = Proxy::to(&fake.url).refuse("GetCredentialReport", 400, "ValidationError").start();
    let rows = aaws("overview iam").endpoint(&server.url).run().exits(3).json();
    for title in [NO_MFA, "Active access keys older than 90 days", "Active access keys not used for 90 days"] {
        let problem = check(&rows, title)["problem"].as_str().unwrap_or_default();
        assert!(problem.contains("fetch the credential report: ValidationError"), "{title}: {rows}");
    }
    assert_eq!(check(&rows, "Roles not used for 90 days")["problem"], json!(null), "{rows}");
}

#[test]
fn a_check_that_is_denied_is_named_and_the_others_are_made() {
    let world = World::new();
    world.volume(&[]);
    let server = world.proxy().refuse("DescribeAddresses", 403, "UnauthorizedOperation").start();
    let run = world.aaws_via(&server, "overview ec2 --fail_on_findings").run().exits(3).logs("UnauthorizedOperation");
    let rows = run.json();
    let denied = check(&rows, "Elastic IP addresses that are associated with nothing");
    assert!(denied["problem"].as_str().is_some_and(|why| why.contains("UnauthorizedOperation")), "{denied}");
    let made = check(&rows, "Volumes that are attached to nothing");
    assert_eq!((&made["count"], &made["problem"]), (&json!(1), &json!(null)), "{made}");
}

#[test]
fn a_page_of_it_needs_no_network() {
    let world = World::new();
    world.volume(&[]);
    let folder = directory();
    let page = folder.path().join("overview.html");
    let rows = world.aaws("overview ec2 --html").arg(&page).run().json();
    let text = std::fs::read_to_string(&page).expect("the page");
    for row in rows.as_array().into_iter().flatten() {
        let title = row["check"].as_str().unwrap_or_default();
        assert!(text.contains(&format!("<td>{title}</td>")), "{title} is not in {text}");
    }
    assert!(text.contains("delete_volumes --volume_ids - --snapshot --dry_run"), "{text}");
    assert!(!text.contains("<script") && !text.contains("src=") && !text.contains("url("), "{text}");
}

#[test]
fn what_is_wrong_with_an_overview_is_told_before_anything_is_sent() {
    let world = World::new();
    let server = world.proxy().start();
    for (flags, said) in [
        ("nope", "there are: ec2"),
        ("EC2", "did you mean `ec2`"),
        ("general", "nothing to ask of a service `general`"),
        ("ec2 --html /no/such/folder/page.html", "its folder is not there"),
        ("ec2 --html /tmp", "it is a folder"),
        ("ec2 --query [[", "`query` is not JMESPath"),
        ("ec2 --concurrency 0", "`concurrency`"),
        ("ec2 --limit 1", "there is no flag `--limit`"),
    ] {
        world.aaws_via(&server, format!("overview {flags}")).run().exits(2).silent().logs(said);
    }
    world.aaws_via(&server, "overview").arg_bytes(b"\xff").run().exits(2).silent();
    assert_eq!(server.operations(), [""; 0]);
}

/// A device that a session of one's own is asked for with.
const MFA: &str = "--mfa_serial arn:aws:iam::123456789012:mfa/me";

#[test]
fn the_digits_of_a_device_are_asked_for_once() {
    let shown = crate::support::aaws(format!("overview iam {MFA}")).on_terminal("123456").stdout;
    assert_eq!(shown.matches("Digits of the MFA device").count(), 1, "{shown}");
}

#[test]
fn who_does_not_want_to_answer_is_not_kept() {
    let line = format!("overview iam {MFA}");
    let run = crate::support::aaws(line).on_terminal_with(&["--signal", "INT", "Digits"], "").exits(130);
    assert!(run.stdout.contains("interrupted"), "{run}");
}

#[test]
fn what_was_looked_at_is_shown_when_the_time_is_over() {
    let world = World::new();
    world.volume(&[]);
    let slow = std::time::Duration::from_secs(8);
    let server = world.proxy().delay("DescribeAddresses", slow).start();
    let rows = world.aaws_via(&server, "overview ec2 --timeout 5s").run().exits(1).logs("timed out").json();
    assert_eq!(check(&rows, "Volumes that are attached to nothing")["count"], 1, "{rows}");
    let late = check(&rows, "Elastic IP addresses that are associated with nothing");
    assert!(late["problem"].as_str().is_some_and(|why| why.contains("timed out")), "{late}");
}

#[test]
fn what_an_action_finds_as_a_whole_is_selected_and_judged_as_any_list() {
    let world = World::new();
    let group = world.group("unused");
    let line = "ec2 discover_unused_security_groups";
    assert_eq!(world.aaws(format!("{line} --fail_on_findings")).run().exits(6).json(), json!([group]));
    assert_eq!(world.aaws(format!("{line} --limit 0")).run().ok().json(), json!([]));
    let rows = world.aaws(format!("{line} --columns group_id")).run().ok().json();
    assert_eq!(rows, json!([{"GroupId": group}]));
    let folder = directory();
    let known = folder.path().join("known.json");
    std::fs::write(&known, json!([group]).to_string()).expect("written");
    let run = world.aaws(format!("{line} --fail_on_findings --baseline")).arg(&known).run().ok().logs("0 new, 1 known, 0 gone");
    assert_eq!(run.json(), json!([]));
}
