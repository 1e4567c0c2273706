//! Who is an administrator or can become one, and who may assume which role: on a small IAM with short pages, and on moto.

use serde_json::{Value, json};

use crate::support::fake_iam::{ACCOUNT, Iam, form, trusting};
use crate::support::proxy::Proxy;
use crate::support::{Account, Output, Server, aaws, directory, report, xml};

/// A run of `aaws iam …` on a server.
fn iam(server: &Server, line: &str) -> Output {
    aaws(format!("iam {line}")).endpoint(&server.url).run()
}

/// A document with one statement.
fn allowing(action: &str) -> String {
    statement("Allow", action)
}

fn statement(effect: &str, action: &str) -> String {
    json!({ "Version": "2012-10-17", "Statement": [{ "Effect": effect, "Action": action, "Resource": "*" }] }).to_string()
}

/// A member of each row, as text.
#[track_caller]
fn members(list: &Value, name: &str) -> Vec<String> {
    let text = |row: &Value| row[name].as_str().unwrap_or_else(|| panic!("{name} of {row}")).to_owned();
    list.as_array().expect("a list").iter().map(text).collect()
}

fn in_group(group: &str) -> String {
    format!("<GroupList><member>{group}</member></GroupList>")
}

fn bounded_by(policy: &str) -> String {
    format!(
        "<PermissionsBoundary><PermissionsBoundaryType>PermissionsBoundaryPolicy</PermissionsBoundaryType>\
         <PermissionsBoundaryArn>arn:aws:iam::{ACCOUNT}:policy/{policy}</PermissionsBoundaryArn></PermissionsBoundary>"
    )
}

// --- discover_admin_paths ---

/// Administrators and others, with policies of every kind.
fn organization() -> Iam {
    let all = allowing("*");
    let (pass, run) = (allowing("iam:PassRole"), allowing("ec2:RunInstances"));
    Iam::of([])
        .holder("Role", "worker", &[("pass", &pass)], &["Run"], "")
        .holder("User", "/team/bob", &[], &[], &in_group("admins"))
        .holder("User", "ann", &[("read", &allowing("s3:Get*"))], &["Free"], "")
        .holder("User", "cleo", &[("read", &allowing("s3:Get*"))], &["Run"], "")
        .holder("Role", "/aws-service-role/x.amazonaws.com/linked", &[], &["Free"], "")
        .inline("Group", "admins", "everything", &all, "Free")
        .policy("Free", &all)
        .policy("Run", &run)
}

#[test]
fn administrators_and_who_can_become_one_are_found_whatever_page_they_are_on() {
    for page in [0, 1] {
        let server = organization().pages_of(page).start();
        let list = iam(&server, "discover_admin_paths").ok().json();
        assert_eq!(members(&list, "PrincipalName"), ["ann", "bob", "worker"], "users first, then roles");
        assert_eq!(members(&list, "PrincipalType"), ["User", "User", "Role"]);
        assert_eq!(members(&list, "Risk"), ["admin", "admin", "escalation"]);
        assert_eq!(members(&list, "Arn")[0], format!("arn:aws:iam::{ACCOUNT}:user/ann"));
        let lists: Vec<_> = list.as_array().unwrap().iter().map(|row| (&row["Ways"], &row["Policies"])).collect();
        assert_eq!(lists[0], (&json!(["Administrator"]), &json!(["Free"])));
        assert_eq!(lists[1], (&json!(["Administrator"]), &json!(["group/admins/everything", "group/admins/Free"])));
        assert_eq!(lists[2], (&json!(["PassRole+RunInstances"]), &json!(["pass", "Run"])), "no policy does it alone");
        let asked = server.requests("GetAccountAuthorizationDetails");
        let kinds = ["User", "Group", "Role", "LocalManagedPolicy", "AWSManagedPolicy"];
        assert!(asked.iter().all(|request| form(request, "Filter.member.") == kinds && form(request, "MaxItems") == ["1000"]));
        assert_eq!(asked.len(), if page == 0 { 1 } else { 8 });
    }
}

#[test]
fn less_and_more_are_reported_when_asked_for() {
    let server = organization().start();
    let names = |line: &str| members(&iam(&server, &format!("discover_admin_paths {line}")).ok().json(), "PrincipalName");
    assert_eq!(names("--risk admin"), ["ann", "bob"]);
    assert_eq!(names("--include_service_linked"), ["ann", "bob", "linked", "worker"]);
    iam(&server, "discover_admin_paths --risk write").exits(2).silent().logs("risk");
}

#[test]
fn what_any_policy_denies_makes_nobody_an_administrator() {
    let all = allowing("*");
    let server = Iam::of([])
        .holder("User", "quarantined", &[("deny", &statement("Deny", "*"))], &["Free"], "")
        .holder("User", "without-iam", &[("deny", &statement("Deny", "iam:*"))], &["Free"], "")
        .policy("Free", &all)
        .start();
    let list = iam(&server, "discover_admin_paths").ok().json();
    assert_eq!((members(&list, "PrincipalName"), &list[0]["Risk"]), (vec!["without-iam".to_owned()], &json!("escalation")));
    assert!(list[0]["Ways"].as_array().unwrap().contains(&json!("UpdateFunctionCode")), "{list}");
}

#[test]
fn a_permissions_boundary_leaves_only_what_it_allows() {
    let (all, version) = (allowing("*"), allowing("iam:CreatePolicyVersion"));
    let server = Iam::of([])
        .holder("User", "s3-only", &[], &["Free"], &bounded_by("S3"))
        .holder("User", "some", &[], &["Free"], &bounded_by("Version"))
        .holder("User", "unbound", &[], &["Free"], &bounded_by("Free"))
        .policy("Free", &all)
        .policy("S3", &allowing("s3:*"))
        .policy("Version", &version)
        .start();
    let list = iam(&server, "discover_admin_paths").ok().json();
    assert_eq!(members(&list, "PrincipalName"), ["some", "unbound"]);
    assert_eq!((&list[0]["Risk"], &list[0]["Ways"]), (&json!("escalation"), &json!(["CreatePolicyVersion"])));
    assert_eq!((&list[1]["Risk"], &list[1]["Ways"]), (&json!("admin"), &json!(["Administrator"])));
    assert_eq!(list[0]["PermissionsBoundary"], format!("arn:aws:iam::{ACCOUNT}:policy/Version"));
}

#[test]
fn a_way_that_is_open_under_conditions_only_is_marked() {
    let mfa = json!({ "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": { "Bool": { "aws:MultiFactorAuthPresent": "true" } } }] });
    let server = Iam::of([])
        .holder("User", "always", &[("free", &allowing("*")), ("mfa", &mfa.to_string())], &[], "")
        .holder("User", "mfa", &[("mfa", &mfa.to_string())], &[], "")
        .start();
    let list = iam(&server, "discover_admin_paths").ok().json();
    assert_eq!([&list[0]["Conditional"], &list[1]["Conditional"]], [false, true]);
}

#[test]
fn policies_that_cannot_be_read_are_reported_and_the_others_judged() {
    let all = allowing("*");
    let server = Iam::of([])
        .holder("User", "ann", &[("broken", "{"), ("free", &all)], &["Broken"], "")
        .holder("User", "bob", &[], &["Nowhere"], "")
        .holder("User", "cleo", &[], &["Nowhere"], "")
        .policy("Broken", "{")
        .start();
    let home = directory();
    let run = aaws("iam discover_admin_paths --report report.jsonl").endpoint(&server.url).within(home.path()).run().exits(3);
    assert_eq!(members(&run.json(), "PrincipalName"), ["ann"]);
    let mut items: Vec<_> = report(&home).iter().map(|line| line["item"].as_str().unwrap_or_default().to_owned()).collect();
    items.sort();
    let absent = format!("arn:aws:iam::{ACCOUNT}:policy/Nowhere");
    assert_eq!(items, ["Broken", "ann/broken", &absent], "each is said once");
}

#[test]
fn members_of_groups_are_administrators_on_moto() {
    let account = Account::fresh();
    account.give(&["member:ann/admins", "member:bob/readers", "group:nobody-in-it"]);
    let made = account.iam("CreatePolicy", &[("PolicyName", "Free"), ("PolicyDocument", &allowing("*"))]);
    let arn = xml::texts(&made, "Arn").remove(0);
    for group in ["admins", "nobody-in-it"] {
        account.iam("AttachGroupPolicy", &[("GroupName", group), ("PolicyArn", &arn)]);
    }
    let list = account.aaws("iam discover_admin_paths").run().ok().json();
    assert_eq!(members(&list, "PrincipalName"), ["ann"]);
    assert_eq!(list[0]["Policies"], json!(["group/admins/Free"]));
}

/// A document with one statement that allows an action on one resource of IAM.
fn on(action: &str, resource: &str) -> String {
    let resource = format!("arn:aws:iam::{ACCOUNT}:{resource}");
    json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "Action": action, "Resource": resource } }).to_string()
}

/// A role's trust policy that lets these in.
fn lets_in(kind: &str, names: &[&str]) -> String {
    let full = |name: &&str| if kind == "AWS" { format!("arn:aws:iam::{ACCOUNT}:{name}") } else { (*name).to_owned() };
    let names: Vec<String> = names.iter().map(full).collect();
    trusting(&json!({ "Statement": { "Effect": "Allow", "Principal": { kind: names }, "Action": "sts:AssumeRole" } }).to_string())
}

/// The ways of each who is found, by name.
fn ways(list: &Value) -> Vec<(&str, &Value)> {
    list.as_array().expect("a list").iter().map(|row| (row["PrincipalName"].as_str().expect("a name"), &row["Ways"])).collect()
}

#[test]
fn roles_are_followed_from_one_to_the_next_as_their_trust_policies_let_in() {
    let server = Iam::of([])
        .holder("Role", "admin", &[("free", &allowing("*"))], &[], &lets_in("AWS", &["role/deployer"]))
        .holder("Role", "deployer", &[], &[], &lets_in("AWS", &["root", "user/dora"]))
        .holder("Role", "closed", &[("free", &allowing("*"))], &[], &lets_in("AWS", &["user/nobody"]))
        .holder("User", "ann", &[("assume", &on("sts:AssumeRole", "role/deployer"))], &[], "")
        .holder("User", "bob", &[("assume", &on("sts:AssumeRole", "role/closed"))], &[], "")
        .holder("User", "cleo", &[("assume", &on("sts:AssumeRole", "role/other"))], &[], "")
        .holder("User", "dora", &[], &[], "")
        .start();
    let list = iam(&server, "discover_admin_paths").ok().json();
    let (to_deployer, to_admin, everything) =
        (json!(["AssumeRole:role/deployer"]), json!(["AssumeRole:role/admin"]), json!(["Administrator"]));
    let expected =
        [("ann", &to_deployer), ("dora", &to_deployer), ("admin", &everything), ("closed", &everything), ("deployer", &to_admin)];
    assert_eq!(ways(&list), expected);
    assert_eq!((&list[0]["Risk"], &list[1]["Policies"]), (&json!("escalation"), &json!([])), "dora needs no policy: the role names her");
}

#[test]
fn a_role_that_may_be_passed_is_a_way_where_it_leads_to_more_and_a_service_may_have_it() {
    let run = allowing("ec2:RunInstances");
    let server = Iam::of([])
        .holder("Role", "admin", &[("free", &allowing("*"))], &[], &lets_in("Service", &["ec2.amazonaws.com"]))
        .holder("Role", "people", &[("free", &allowing("*"))], &[], &lets_in("AWS", &["user/nobody"]))
        .holder("Role", "reader", &[("read", &allowing("s3:Get*"))], &[], &lets_in("Service", &["ec2.amazonaws.com"]))
        .holder("User", "ann", &[("pass", &on("iam:PassRole", "role/admin")), ("run", &run)], &[], "")
        .holder("User", "bob", &[("pass", &on("iam:PassRole", "role/people")), ("run", &run)], &[], "")
        .holder("User", "cleo", &[("pass", &on("iam:PassRole", "role/reader")), ("run", &run)], &[], "")
        .start();
    let list = iam(&server, "discover_admin_paths").ok().json();
    assert_eq!(members(&list, "PrincipalName"), ["ann", "admin", "people"]);
    assert_eq!(list[0]["Ways"], json!(["PassRole+RunInstances:role/admin"]));
}

#[test]
fn whoever_changes_itself_or_becomes_another_by_name_is_found() {
    let join = on("iam:AddUserToGroup", "group/admins");
    let denied =
        json!({ "Statement": { "Effect": "Deny", "Action": "iam:PutUserPolicy", "Resource": format!("arn:aws:iam::{ACCOUNT}:user/dan") } });
    let server = Iam::of([])
        .holder("User", "ann", &[("self", &on("iam:PutUserPolicy", "user/ann"))], &[], "")
        .holder("User", "bob", &[("other", &on("iam:PutUserPolicy", "user/cleo"))], &[], "")
        .holder("User", "cleo", &[("keys", &on("iam:CreateAccessKey", "user/ann"))], &[], "")
        .holder("User", "dan", &[("self", &on("iam:PutUserPolicy", "user/dan")), ("deny", &denied.to_string())], &[], "")
        .holder("User", "eve", &[], &["Own"], "")
        .holder("User", "fay", &[("join", &join)], &[], "")
        .holder("User", "gus", &[("group", &on("iam:PutGroupPolicy", "group/readers"))], &[], &in_group("readers"))
        .holder("User", "hal", &[("keys", &on("iam:CreateAccessKey", "user/hal"))], &[], "")
        .inline("Group", "admins", "everything", &allowing("*"), "Own")
        .inline("Group", "readers", "read", &allowing("s3:Get*"), "Own")
        .policy("Own", &on("iam:CreatePolicyVersion", "policy/Own"))
        .start();
    let list = iam(&server, "discover_admin_paths").ok().json();
    let way = |name: &str| {
        let list = list.as_array().unwrap();
        list.iter().find(|row| row["PrincipalName"] == name).map_or_else(Vec::new, |row| members_of(&row["Ways"]))
    };
    assert_eq!(way("ann"), ["PutUserPolicy:user/ann"]);
    assert_eq!(way("cleo"), ["CreateAccessKey:user/ann"]);
    assert_eq!(way("eve"), ["CreatePolicyVersion:policy/Own"]);
    assert_eq!(way("fay"), ["AddUserToGroup:group/admins"]);
    assert_eq!(way("gus"), ["CreatePolicyVersion:policy/Own", "PutGroupPolicy:group/readers"]);
    for nobody in ["bob", "dan", "hal"] {
        assert!(way(nobody).is_empty(), "{nobody}: {list}");
    }
}

/// The texts of a list.
#[track_caller]
fn members_of(list: &Value) -> Vec<String> {
    list.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_boundary_that_may_be_taken_away_bounds_nobody() {
    let escape = r#"{"Statement":[{"Effect":"Allow","Action":["s3:*","iam:DeleteUserPermissionsBoundary"],"Resource":"*"}]}"#;
    let server = Iam::of([])
        .holder("User", "bound", &[("free", &allowing("*"))], &[], &bounded_by("S3"))
        .holder("User", "loose", &[("free", &allowing("*"))], &[], &bounded_by("Escape"))
        .policy("S3", &allowing("s3:*"))
        .policy("Escape", escape)
        .start();
    let list = iam(&server, "discover_admin_paths").ok().json();
    assert_eq!((members(&list, "PrincipalName"), &list[0]["Risk"]), (vec!["loose".to_owned()], &json!("admin")));
}

#[test]
fn a_group_that_iam_does_not_give_is_a_failure() {
    let server = Iam::of([]).holder("User", "ann", &[], &[], &in_group("gone")).start();
    let run = iam(&server, "discover_admin_paths").exits(3).logs("the group `gone` cannot be judged");
    assert_eq!(run.json(), json!([]));
}

// --- discover_trust_policies ---

/// A trust policy of one statement.
fn trust(principal: Value, action: &str, condition: Value) -> String {
    let statement = json!({ "Effect": "Allow", "Principal": principal, "Action": action, "Condition": condition });
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

const GITHUB: &str = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com";
const SAML: &str = "arn:aws:iam::123456789012:saml-provider/idp";

/// A role for each finding, and for each of them one that is as it should be.
fn roles() -> Iam {
    let assume = "sts:AssumeRole";
    let foreign =
        json!({ "AWS": ["arn:aws:iam::111122223333:root", "arn:aws:iam::444455556666:role/x", format!("arn:aws:iam::{ACCOUNT}:root")] });
    let subject = json!({ "StringLike": { "token.actions.githubusercontent.com:sub": "repo:me/it:*" } });
    let audience = json!({ "StringEquals": { "SAML:aud": "https://signin.aws.amazon.com/saml" } });
    Iam::of([])
        .trusting("anyone", r#"{"Statement":{"Sid":"Everybody","Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}"#)
        .trusting("organization", &trust(json!("*"), assume, json!({ "StringEquals": { "aws:PrincipalOrgID": "o-1" } })))
        .trusting("foreign", &trust(foreign.clone(), assume, json!({})))
        .trusting("external-id", &trust(foreign, assume, json!({ "StringEquals": { "sts:ExternalId": "secret" } })))
        .trusting("github", &trust(json!({ "Federated": GITHUB }), "sts:AssumeRoleWithWebIdentity", json!({})))
        .trusting("github-mine", &trust(json!({ "Federated": GITHUB }), "sts:AssumeRoleWithWebIdentity", subject))
        .trusting("saml", &trust(json!({ "Federated": SAML }), "sts:AssumeRoleWithSAML", json!({})))
        .trusting("saml-mine", &trust(json!({ "Federated": SAML }), "sts:AssumeRoleWithSAML", audience))
        .role("service", "/", 10, None)
}

#[test]
fn a_table_shows_by_whom_a_role_may_be_assumed() {
    let server =
        roles().trusting("a-production-role-of-a-name-that-is-rather-long", &trust(json!("*"), "sts:AssumeRole", json!({}))).start();
    let command = aaws("iam discover_trust_policies --output table").endpoint(&server.url);
    let shown = command.on_terminal_with(&["--columns", "100", "--stderr", "/dev/null"], "").stdout;
    let header: Vec<&str> = shown.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(header[..3], ["RoleName", "Finding", "Principal"], "{shown}");
    assert!(shown.contains("arn:aws:iam::1111222"), "{shown}");
}

/// Role, finding, principal and statement of each row.
fn findings(list: &Value) -> Vec<(&str, &str, &str, Option<&str>)> {
    fn text<'a>(row: &'a Value, name: &str) -> &'a str {
        row[name].as_str().unwrap_or_default()
    }
    let rows = list.as_array().expect("a list").iter();
    rows.map(|row| (text(row, "RoleName"), text(row, "Finding"), text(row, "Principal"), row["Sid"].as_str())).collect()
}

#[test]
fn roles_that_strangers_may_assume_are_found_with_whom_and_why() {
    for page in [0, 2] {
        let server = roles().pages_of(page).start();
        let list = iam(&server, "discover_trust_policies").ok().json();
        let expected = [
            ("anyone", "anyone", "*", Some("Everybody")),
            ("foreign", "foreign_account", "arn:aws:iam::111122223333:root", None),
            ("foreign", "foreign_account", "arn:aws:iam::444455556666:role/x", None),
            ("github", "oidc_without_subject", GITHUB, None),
            ("saml", "saml_without_audience", SAML, None),
        ];
        assert_eq!(findings(&list), expected);
        assert_eq!(list[0]["Arn"], format!("arn:aws:iam::{ACCOUNT}:role/anyone"));
        let asked = server.requests("GetAccountAuthorizationDetails");
        assert!(asked.iter().all(|request| form(request, "Filter.member.") == ["Role"]), "roles and nothing else");
        assert_eq!(server.operations().len(), asked.len(), "whose account it is, the roles say");
    }
}

#[test]
fn accounts_that_are_trusted_are_not_reported() {
    let server = roles().start();
    let list = iam(&server, "discover_trust_policies --trusted_accounts 111122223333").ok().json();
    assert_eq!(members(&list, "Principal"), ["*", "arn:aws:iam::444455556666:role/x", GITHUB, SAML]);
    let list = iam(&server, "discover_trust_policies --trusted_accounts 111122223333 444455556666").ok().json();
    assert_eq!(members(&list, "RoleName"), ["anyone", "github", "saml"]);
    iam(&server, "discover_trust_policies --trusted_accounts mine").exits(2).silent().logs("trusted_accounts");
}

#[test]
fn a_trust_policy_that_cannot_be_read_fails_alone() {
    let fake = roles().trusting("broken", "{").start();
    let run = iam(&fake, "discover_trust_policies").exits(3).logs("`broken`");
    assert_eq!(run.json().as_array().map(Vec::len), Some(5));
    let server = Proxy::to(&fake.url).refuse("GetAccountAuthorizationDetails", 403, "AccessDenied").start();
    iam(&server, "discover_trust_policies").exits(1).logs("AccessDenied");
}
