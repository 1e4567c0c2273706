//! Where a run goes and who it is there: profiles, roles, MFA, regions, time limits.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::fake_s3::{VastBucket, listing, scripted};
use crate::support::http::Request;
use crate::support::proxy::Proxy;
use crate::support::tls::TlsServer;
use crate::support::{Bucket, Response, Server, aaws, directory, moto, report, shell};

/// The access key that a request is signed with.
fn key_of(request: &Request) -> String {
    let header = request.header("authorization").expect("a signed request");
    let credential = header.split_once("Credential=").expect("a credential").1;
    credential.split('/').next().expect("a key").to_owned()
}

/// The parameters of the STS requests of one action, in the order sent.
fn forms(requests: &[Request], parameter: &str) -> Vec<Option<String>> {
    requests.iter().map(|request| request.parameter(parameter)).collect()
}

fn profiles(text: &str) -> TempDir {
    let directory = directory();
    fs::write(directory.path().join("config"), text).expect("the profiles");
    directory
}

#[test]
fn a_named_profile_is_used_even_if_the_environment_holds_other_keys() {
    let server = scripted([("ListObjectsV2", vec![listing(&[], None)])]);
    let config = profiles("[profile prod]\naws_access_key_id = AKIAPROD\naws_secret_access_key = secret\n");
    let run = || aaws("s3 discover_objects --bucket b").endpoint(&server.url).env("AWS_CONFIG_FILE", config.path().join("config"));
    run().arg("--profile").arg("prod").run().ok();
    run().run().ok();
    let keys: Vec<_> = server.requests("ListObjectsV2").iter().map(key_of).collect();
    assert_eq!(keys, ["AKIAPROD", "AKIATEST"]);
}

#[test]
fn a_role_is_assumed_and_the_report_names_its_account() {
    let bucket = Bucket::with(["a"]);
    let directory = directory();
    let line =
        format!("s3 delete_objects --bucket {bucket} --objects a --role_arn arn:aws:iam::222222222222:role/cleaner --report report.jsonl");
    aaws(line).within(directory.path()).run().ok();
    assert_eq!(report(&directory)[0]["account"], "222222222222");
}

#[test]
fn roles_are_chained_and_the_external_id_is_for_the_last() {
    let proxy = Proxy::to(moto::endpoint()).start();
    let bucket = Bucket::with(["a"]);
    let line = format!("s3 discover_objects --bucket {bucket} --external_id the-id");
    let roles = ["--role_arn", "arn:aws:iam::222222222222:role/hub", "--role_arn", "arn:aws:iam::333333333333:role/spoke"];
    assert_eq!(aaws(line).args(roles).endpoint(&proxy.url).run().ok().json(), json!(["a"]));
    let assumed = proxy.requests("AssumeRole");
    let roles = forms(&assumed, "RoleArn");
    let each_once = ["arn:aws:iam::222222222222:role/hub", "arn:aws:iam::333333333333:role/spoke"];
    assert_eq!(roles.iter().flatten().collect::<Vec<_>>(), each_once);
    for (role, id) in roles.iter().zip(forms(&assumed, "ExternalId")) {
        let last = role.as_deref().is_some_and(|r| r.ends_with("spoke"));
        assert_eq!(id.as_deref(), last.then_some("the-id"), "{role:?}");
    }
    // The second role is assumed with the keys of the first, not with the user's.
    let spoke = assumed.iter().find(|r| r.text().contains("spoke")).expect("the second role");
    assert_ne!(key_of(spoke), "AKIATEST");
}

#[test]
fn a_role_that_may_not_be_assumed_ends_the_run_with_5_and_sends_nothing_else() {
    let proxy = Proxy::to(moto::endpoint()).refuse("AssumeRole", 403, "AccessDenied").start();
    let run = aaws("s3 discover_objects --bucket b --role_arn arn:aws:iam::222222222222:role/x").endpoint(&proxy.url).run();
    assert_eq!(run.exits(5).logs("AccessDenied").stdout, "");
    assert_eq!(proxy.count("ListObjectsV2"), 0);

    // With an MFA device, too.
    let line = "s3 discover_objects --bucket b --mfa_serial arn:aws:iam::123456789012:mfa/me --mfa_token 123456";
    let role = ["--role_arn", "arn:aws:iam::222222222222:role/x"];
    assert_eq!(aaws(line).args(role).endpoint(&proxy.url).run().exits(5).logs("AccessDenied").stdout, "");
    assert_eq!(proxy.count("ListObjectsV2"), 0);
}

#[test]
fn what_is_no_arn_of_a_role_is_refused_before_anything_is_sent() {
    let proxy = Proxy::to(moto::endpoint()).start();
    for wrong in ["cleaner", "arn:aws:iam::222222222222:user/x", ""] {
        let line = ["s3", "discover_objects", "--bucket", "b", "--role_arn", wrong];
        aaws("").args(line).endpoint(&proxy.url).run().exits(2).silent().logs("role_arn");
    }
    assert_eq!(proxy.operations(), [""; 0]);
}

#[test]
fn mfa_digits_go_with_the_first_role() {
    let proxy = Proxy::to(moto::endpoint()).start();
    let bucket = Bucket::with(["a"]);
    let line = format!("s3 discover_objects --bucket {bucket} --role_arn arn:aws:iam::222222222222:role/x");
    let mfa = ["--mfa_serial", "arn:aws:iam::123456789012:mfa/me", "--mfa_token", "123456"];
    aaws(&line).args(mfa).endpoint(&proxy.url).run().ok();
    let assumed = proxy.requests("AssumeRole");
    assert_eq!(forms(&assumed, "TokenCode"), [Some("123456".to_owned())]);
    assert_eq!(forms(&assumed, "SerialNumber"), [Some("arn:aws:iam::123456789012:mfa/me".to_owned())]);

    // Nobody can be asked off a terminal.
    aaws(&line).args(["--mfa_serial", "arn:aws:iam::123456789012:mfa/me"]).run().exits(2).logs("mfa_token");
}

#[test]
fn a_bucket_in_another_region_is_found_there_once_for_all() {
    let away = Response { headers: vec![("x-amz-bucket-region".into(), "eu-west-3".into())], ..Response::error(301, "PermanentRedirect") };
    let pages = vec![away, listing(&[("a", "2024-01-01T00:00:00.000Z")], Some("t")), listing(&[("b", "2024-01-01T00:00:00.000Z")], None)];
    let server = scripted([("ListObjectsV2", pages)]);
    assert_eq!(aaws("s3 discover_objects --bucket b").endpoint(&server.url).run().ok().json(), json!(["a", "b"]));
    let regions: Vec<_> = server.requests("ListObjectsV2").iter().map(|r| r.signed_region().unwrap_or_default().to_owned()).collect();
    assert_eq!(regions, ["us-east-1", "eu-west-3", "eu-west-3"]);
}

#[test]
fn a_run_that_takes_too_long_settles_what_is_in_flight_and_fails() {
    let bucket = VastBucket::new(50_000, Duration::from_millis(500));
    let keys: String = (0..50_000).map(|n| VastBucket::key(n) + "\n").collect();
    let directory = directory();
    let line = "s3 delete_objects --bucket b --objects - --concurrency 2 --timeout 2s --report report.jsonl";
    let run = aaws(line).endpoint(&bucket.server.url).stdin(keys).within(directory.path()).run();
    let run = run.exits(1).logs("timed out");
    assert_eq!(run.json(), json!([]), "nothing failed");
    let done = report(&directory).iter().filter(|l| l["status"] == "done").count();
    assert_eq!(done, bucket.deleted());
    assert!(done > 0 && done < 50_000, "{done}");
}

#[test]
fn an_age_and_an_endpoint_that_are_none_are_refused() {
    for (flags, field) in
        [("--timeout soon", "timeout"), ("--endpoint_url localhost:9000", "endpoint_url"), ("--concurrency many", "concurrency")]
    {
        let run = aaws(format!("s3 discover_objects --bucket b {flags}")).endpoint("http://127.0.0.1:1").run().exits(2);
        assert!(run.stderr.lines().next().is_some_and(|l| l.contains(field)), "{run}");
    }
}

// --- Profiles that name a role ---

/// A user with keys, a role that asks for an MFA device, and a role that is assumed by that role.
const ROLES: &str = "[profile user]
aws_access_key_id = AKIAUSER
aws_secret_access_key = secret

[profile ops]
role_arn = arn:aws:iam::222222222222:role/ops
source_profile = user
mfa_serial = arn:aws:iam::123456789012:mfa/alice
duration_seconds = 1800
external_id = the-id
role_session_name = alice

[profile audit]
role_arn = arn:aws:iam::333333333333:role/audit
source_profile = ops

[profile plain]
role_arn = arn:aws:iam::222222222222:role/plain
source_profile = user
";

/// What was asked of STS, parameter by parameter.
fn asked(requests: &[Request], parameters: &[&str]) -> Vec<Vec<Option<String>>> {
    let columns: Vec<_> = parameters.iter().map(|parameter| forms(requests, parameter)).collect();
    (0..requests.len()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn the_role_of_a_profile_is_assumed_as_the_profile_says_with_its_mfa_device() {
    let proxy = Proxy::to(moto::endpoint()).start();
    let (bucket, config) = (Bucket::with(["a"]), profiles(ROLES));
    let line = format!("s3 discover_objects --bucket {bucket} --profile ops");
    let run = || aaws(&line).endpoint(&proxy.url).env("AWS_CONFIG_FILE", config.path().join("config"));
    assert_eq!(run().args(["--mfa_token", "123456"]).run().ok().json(), json!(["a"]));
    let assumed = proxy.requests("AssumeRole");
    assert_eq!(assumed.iter().map(key_of).collect::<Vec<_>>(), ["AKIAUSER"], "with the keys of its source profile, once");
    let parameters = ["RoleArn", "SerialNumber", "TokenCode", "DurationSeconds", "ExternalId", "RoleSessionName"];
    let mfa = "arn:aws:iam::123456789012:mfa/alice";
    let expected = some(&["arn:aws:iam::222222222222:role/ops", mfa, "123456", "1800", "the-id", "alice"]);
    assert_eq!(asked(&assumed, &parameters), [expected]);
    assert!(proxy.requests("ListObjectsV2").iter().all(|request| key_of(request) != "AKIAUSER"));

    // Nobody can be asked off a terminal, and nothing is sent without the digits.
    let before = proxy.operations().len();
    run().run().exits(2).silent().logs("mfa_token").logs("mfa/alice");
    assert_eq!(proxy.operations().len(), before);

    // The device of the flag goes before that of the profile.
    run().args(["--mfa_serial", "arn:aws:iam::123456789012:mfa/spare", "--mfa_token", "654321"]).run().ok();
    let assumed = proxy.requests("AssumeRole");
    let expected = some(&["arn:aws:iam::123456789012:mfa/spare", "654321"]);
    assert_eq!(asked(&assumed[1..], &["SerialNumber", "TokenCode"]), [expected]);
}

#[test]
fn the_external_id_of_the_flag_is_for_the_last_role_even_if_a_profile_names_it() {
    let proxy = Proxy::to(moto::endpoint()).start();
    let (bucket, config) = (Bucket::with(["a"]), profiles(ROLES));
    let line = format!("s3 discover_objects --bucket {bucket} --profile plain --external_id ours");
    aaws(&line).endpoint(&proxy.url).env("AWS_CONFIG_FILE", config.path().join("config")).run().ok();
    assert_eq!(asked(&proxy.requests("AssumeRole"), &["ExternalId"]), [some(&["ours"])]);
}

#[test]
fn profiles_are_followed_from_role_to_role() {
    let proxy = Proxy::to(moto::endpoint()).start();
    let (bucket, config) = (Bucket::with(["a"]), profiles(ROLES));
    let line = format!("s3 discover_objects --bucket {bucket} --profile audit --mfa_token 123456");
    aaws(line).endpoint(&proxy.url).env("AWS_CONFIG_FILE", config.path().join("config")).run().ok();
    let assumed = proxy.requests("AssumeRole");
    let expected = [
        vec![Some("arn:aws:iam::222222222222:role/ops".to_owned()), Some("alice".to_owned()), Some("123456".to_owned())],
        vec![Some("arn:aws:iam::333333333333:role/audit".to_owned()), Some("aaws".to_owned()), None],
    ];
    assert_eq!(asked(&assumed, &["RoleArn", "RoleSessionName", "TokenCode"]), expected);
    assert_eq!(key_of(&assumed[0]), "AKIAUSER");
    assert_ne!(key_of(&assumed[1]), "AKIAUSER", "with the session of the role before");
}

#[test]
fn the_profile_of_the_environment_is_taken_when_there_are_no_keys_in_it() {
    let proxy = Proxy::to(moto::endpoint()).start();
    let (bucket, config) = (Bucket::with(["a"]), profiles(ROLES));
    let line = format!("s3 discover_objects --bucket {bucket}");
    let run = || aaws(&line).endpoint(&proxy.url).env("AWS_CONFIG_FILE", config.path().join("config")).env("AWS_PROFILE", "plain");
    run().without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY").run().ok();
    assert_eq!(forms(&proxy.requests("AssumeRole"), "RoleArn"), some(&["arn:aws:iam::222222222222:role/plain"]));
    run().run().ok();
    assert_eq!(proxy.count("AssumeRole"), 1, "keys in the environment go before it");
}

#[test]
fn what_is_wrong_with_a_profile_is_said() {
    let cases = [
        ("[profile x]\nrole_arn = ops\nsource_profile = user\n", "role_arn"),
        ("[profile x]\nrole_arn = arn:aws:iam::222222222222:role/x\nsource_profile = y\n", "y"),
        ("[profile x]\nrole_arn = arn:aws:iam::222222222222:role/x\nsource_profile = user\nduration_seconds = soon\n", "duration_seconds"),
        ("[profile x]\nrole_arn = arn:aws:iam::222222222222:role/x\nsource_profile = user\nrole_session_name = a/b\n", "role_session_name"),
    ];
    let proxy = Proxy::to(moto::endpoint()).start();
    for (text, word) in cases {
        let config = profiles(&format!("[profile user]\naws_access_key_id = AKIAUSER\naws_secret_access_key = secret\n\n{text}"));
        let run = aaws("s3 discover_objects --bucket b --profile x").endpoint(&proxy.url);
        run.env("AWS_CONFIG_FILE", config.path().join("config")).run().exits(5).silent().logs(word);
    }
    assert_eq!(proxy.operations(), [""; 0]);
}

#[test]
fn the_name_of_a_roles_session_is_the_flags_the_environments_the_profiles_or_ours() {
    let proxy = Proxy::to(moto::endpoint()).start();
    let (bucket, config) = (Bucket::with(["a"]), profiles(&ROLES.replace("mfa_serial", "unknown")));
    let run = |flags: &str| {
        let line = format!("s3 discover_objects --bucket {bucket} {flags}");
        aaws(line).endpoint(&proxy.url).env("AWS_CONFIG_FILE", config.path().join("config"))
    };
    let role = "--role_arn arn:aws:iam::222222222222:role/x";
    run(role).run().ok();
    run(role).env("AWS_ROLE_SESSION_NAME", "ci").run().ok();
    run(&format!("{role} --session_name bob@work")).env("AWS_ROLE_SESSION_NAME", "ci").run().ok();
    run("--profile ops").run().ok();
    run("--profile ops").env("AWS_ROLE_SESSION_NAME", "ci").run().ok();
    let names: Vec<_> = forms(&proxy.requests("AssumeRole"), "RoleSessionName").into_iter().flatten().collect();
    assert_eq!(names, ["aaws", "ci", "bob@work", "alice", "ci"]);

    let before = proxy.operations().len();
    for wrong in ["a", "a/b", "", &"x".repeat(65)] {
        run(role).arg("--session_name").arg(wrong).run().exits(2).silent().logs("session_name");
    }
    run(role).env("AWS_ROLE_SESSION_NAME", "a/b").run().exits(2).silent().logs("AWS_ROLE_SESSION_NAME");
    assert_eq!(proxy.operations().len(), before);
}

// --- Credentials ---

#[test]
fn credentials_are_fetched_once_a_command() {
    let bucket = Bucket::with(["a", "b"]);
    let directory = directory();
    let script = "echo fetched >> fetched\necho '{\"Version\": 1, \"AccessKeyId\": \"AKIAPROCESS\", \"SecretAccessKey\": \"secret\"}'\n";
    fs::write(directory.path().join("fetch.sh"), script).expect("the script");
    fs::write(directory.path().join("config"), "[profile process]\ncredential_process = sh fetch.sh\n").expect("the profile");
    let line = format!("s3 delete_objects --bucket {bucket} --objects a b --profile process --report report.jsonl");
    aaws(line).within(directory.path()).env("AWS_CONFIG_FILE", directory.path().join("config")).run().ok();
    let fetched = fs::read_to_string(directory.path().join("fetched")).expect("it was asked");
    assert_eq!(fetched.lines().count(), 1, "for S3 and for STS alike");
    assert_eq!(report(&directory).len(), 2);
}

#[test]
fn a_profile_of_aws_login_is_understood() {
    let config = profiles("[profile console]\nlogin_session = arn:aws:iam::123456789012:user/Admin\n");
    let run = aaws("s3 discover_objects --bucket b --profile console").endpoint("http://127.0.0.1:1");
    let run = run.env("AWS_CONFIG_FILE", config.path().join("config")).run().exits(5).silent().logs("`aws login`");
    let said = run.stderr.lines().next().unwrap_or_default();
    assert!(said.to_lowercase().contains("login") && !said.contains("feature"), "what is missing is the login: {run}");
}

#[test]
fn the_account_is_what_sts_says_whatever_the_environment_says() {
    let bucket = Bucket::with(["a"]);
    let directory = directory();
    let line = format!("s3 delete_objects --bucket {bucket} --objects a --report report.jsonl");
    aaws(line).within(directory.path()).env("AWS_ACCOUNT_ID", "999999999999").run().ok();
    assert_eq!(report(&directory)[0]["account"], "123456789012");
}

#[test]
fn what_a_session_asks_of_sts_is_logged_and_counted() {
    let bucket = Bucket::with(["a", "b"]);
    let directory = directory();
    let line = format!("s3 delete_objects --bucket {bucket} --debug --report report.jsonl");
    let run = aaws(format!("{line} --objects a")).within(directory.path()).run().ok();
    run.logs("call sts:GetCallerIdentity -> 200").logs("made sts:GetCallerIdentity 1 times");
    let role = "--role_arn arn:aws:iam::222222222222:role/x";
    let run = aaws(format!("{line} --objects b {role}")).within(directory.path()).run().ok();
    run.logs("call sts:AssumeRole -> 200").logs("made sts:AssumeRole 1 times");
}

// --- Credentials that expire, and clocks, in the middle of a run ---

/// A bucket that turns down what is signed with a key, as one that has expired, and first does this.
fn turning_down(key: &'static str, first: impl Fn() + Send + Sync + 'static) -> Server {
    Server::start(move |operation, _, request| match operation {
        "ListObjectsV2" if key_of(&request) == key => {
            first();
            Response::error(400, "ExpiredToken")
        }
        "ListObjectsV2" => listing(&[("a", "2024-01-01T00:00:00.000Z")], None),
        _ => Response::error(501, "NotImplemented"),
    })
}

/// The keys of the requests for a listing.
fn keys_of(server: &Server) -> Vec<String> {
    server.requests("ListObjectsV2").iter().map(key_of).collect()
}

#[test]
fn credentials_that_are_turned_down_are_had_anew_from_where_they_came_from() {
    let keys = |key: &str| format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\naws_session_token = {key}\n");
    let given = |key: &str| format!(r#"{{"Version":1,"AccessKeyId":"{key}","SecretAccessKey":"secret"}}"#);
    for flags in [&[][..], &["--profile", "default"]] {
        // Another program writes the file anew.
        let config = profiles(&keys("ASIAOLD"));
        let (path, new) = (config.path().join("config"), keys("ASIANEW"));
        let of_file = path.clone();
        let server = turning_down("ASIAOLD", move || fs::write(&of_file, &new).expect("the profiles"));
        let run = aaws("s3 discover_objects --bucket b").stranger().env("AWS_REGION", "us-east-1").args(flags.iter().copied());
        let run = run.endpoint(&server.url).env("AWS_CONFIG_FILE", &path).run().ok().logs("there are new ones");
        assert_eq!((run.json(), keys_of(&server)), (json!(["a"]), vec!["ASIAOLD".to_owned(), "ASIANEW".to_owned()]));

        // A program that says nothing of when they expire is asked again.
        let folder = directory();
        let (answer, new) = (folder.path().join("answer"), given("ASIANEW"));
        fs::write(&answer, given("ASIAOLD")).expect("what the program says");
        let config = profiles(&format!("[default]\ncredential_process = cat {}\n", answer.display()));
        let server = turning_down("ASIAOLD", move || fs::write(&answer, &new).expect("what the program says"));
        let run = aaws("s3 discover_objects --bucket b").stranger().env("AWS_REGION", "us-east-1").args(flags.iter().copied());
        run.endpoint(&server.url).env("AWS_CONFIG_FILE", config.path().join("config")).run().ok();
        assert_eq!(keys_of(&server), ["ASIAOLD", "ASIANEW"]);
    }
}

#[test]
fn credentials_of_another_account_do_not_take_the_place_of_those_that_expired() {
    let keys = |key: &str| format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\naws_session_token = {key}\n");
    for (next, signed) in [("ASIASAME", &["ASIAOLD", "ASIASAME"][..]), ("ASIAOTHER", &["ASIAOLD"][..])] {
        let config = profiles(&keys("ASIAOLD"));
        let (path, new) = (config.path().join("config"), keys(next));
        let of_file = path.clone();
        let server = Server::start(move |operation, _, request| match (operation, key_of(&request).as_str()) {
            ("GetCallerIdentity", key) => {
                let account = if key == "ASIAOTHER" { "222222222222" } else { "111111111111" };
                let result = format!("<GetCallerIdentityResult><Account>{account}</Account></GetCallerIdentityResult>");
                Response::xml(200, format!("<GetCallerIdentityResponse>{result}</GetCallerIdentityResponse>"))
            }
            ("DeleteObjects", "ASIAOLD") => {
                fs::write(&of_file, &new).expect("the profiles");
                Response::error(400, "ExpiredToken")
            }
            ("DeleteObjects", _) => Response::xml(200, "<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>"),
            _ => Response::error(501, "NotImplemented"),
        });
        let run = aaws("s3 delete_objects --bucket b --objects a --yes --account 111111111111").stranger().env("AWS_REGION", "us-east-1");
        let run = run.endpoint(&server.url).env("AWS_CONFIG_FILE", &path).run();
        let sent: Vec<_> = server.requests("DeleteObjects").iter().map(key_of).collect();
        assert_eq!(sent, signed, "{run}");
        if next == "ASIASAME" {
            run.ok();
        } else {
            run.exits(5).logs("of the account 222222222222, and the run is in 111111111111").logs("sign in again");
        }
    }
}

/// A session of a role as STS gives it.
fn role(key: &str, expires: &str) -> Response {
    let credentials = format!(
        "<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>{key}</SessionToken>\
         <Expiration>{expires}</Expiration>"
    );
    let result = format!("<AssumeRoleResult><Credentials>{credentials}</Credentials></AssumeRoleResult>");
    Response::xml(200, format!("<AssumeRoleResponse>{result}</AssumeRoleResponse>"))
}

const AS_ROLE: &str = "s3 discover_objects --bucket b --role_arn arn:aws:iam::222222222222:role/x";

#[test]
fn a_role_whose_session_is_turned_down_is_assumed_again_with_one_request_at_a_time_too() {
    let server = Server::start(|operation, n, request| match operation {
        "AssumeRole" => role(if n == 1 { "ASIAOLD" } else { "ASIANEW" }, "2099-01-01T00:00:00Z"),
        "ListObjectsV2" if key_of(&request) == "ASIAOLD" => Response::error(400, "ExpiredToken"),
        _ => listing(&[("a", "2024-01-01T00:00:00.000Z")], None),
    });
    aaws(format!("{AS_ROLE} --concurrency 1")).endpoint(&server.url).run().ok();
    assert_eq!((keys_of(&server), server.count("AssumeRole")), (vec!["ASIAOLD".to_owned(), "ASIANEW".to_owned()], 2));
}

#[test]
fn a_session_that_was_just_opened_is_used_by_a_machine_whose_clock_is_ahead() {
    let server = Server::start(|operation, n, _| match operation {
        "AssumeRole" => role("ASIANEW", "2001-01-01T00:00:00Z"),
        _ => listing(&[(format!("a{n}").as_str(), "2024-01-01T00:00:00.000Z")], (n < 4).then_some(format!("next-{n}").as_str())),
    });
    aaws(AS_ROLE).endpoint(&server.url).run().ok();
    assert!(server.count("ListObjectsV2") >= 4, "{:?}", server.operations());
    assert_eq!(server.count("AssumeRole"), 1, "it is opened once");
}

#[test]
fn credentials_of_which_there_are_no_others_end_the_run_at_once() {
    let server = turning_down("AKIATEST", || ());
    let run = aaws("s3 discover_objects --bucket b").endpoint(&server.url).run().exits(5);
    run.logs("ExpiredToken").logs("the credentials have expired: sign in again");
    assert_eq!(keys_of(&server), ["AKIATEST"], "it is not sent again");
}

#[test]
fn a_request_is_signed_by_the_clock_of_aws_even_if_the_answer_has_no_code() {
    let (date, stamp) = ("Thu, 01 Jan 2099 00:00:00 GMT", "20990101T00");
    let server = Server::start(move |_, _, request| {
        let is_in_time = request.header("x-amz-date").is_some_and(|date| date.starts_with(stamp));
        let mut reply = if is_in_time { Response::xml(200, "") } else { Response::error(403, "RequestTimeTooSkewed") };
        reply.headers.push(("Date".to_owned(), date.to_owned()));
        reply
    });
    aaws("s3 delete_objects --bucket b --objects a --dry_run").endpoint(&server.url).run().ok();
    assert_eq!(server.operations(), ["HeadBucket", "HeadBucket"]);
}

#[test]
fn a_clock_that_is_wrong_ends_the_run() {
    let bucket = Bucket::with(["a"]);
    let proxy = Proxy::to(moto::endpoint()).refuse("DeleteObjects", 403, "RequestTimeTooSkewed").start();
    let keys: String = (0..3000).map(|n| format!("k{n}\n")).collect();
    let line = format!("s3 delete_objects --bucket {bucket} --objects - --concurrency 1");
    aaws(line).endpoint(&proxy.url).stdin(keys).run().exits(5).logs("RequestTimeTooSkewed").logs("clock");
    assert_eq!(proxy.count("DeleteObjects"), 1, "every other request would meet it too");
}

#[test]
fn a_bundle_of_certificates_that_cannot_be_read_is_named() {
    let directory = directory();
    let pem = |inside: &str| format!("-----BEGIN CERTIFICATE-----\n{inside}\n-----END CERTIFICATE-----\n");
    for (name, text) in [
        ("empty.pem", String::new()),
        ("text.pem", "not a certificate".to_owned()),
        ("base64.pem", pem("*** no base64 ***")),
        ("der.pem", pem("bm90IGEgY2VydGlmaWNhdGU=")),
        ("key.pem", "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n".to_owned()),
    ] {
        fs::write(directory.path().join(name), text).expect("a bundle");
    }
    for name in ["missing.pem", "empty.pem", "text.pem", "base64.pem", "der.pem", "key.pem"] {
        let run = aaws("s3 discover_objects --bucket b").within(directory.path()).env("AWS_CA_BUNDLE", name);
        let run = run.endpoint("https://127.0.0.1:1").run().exits(1).silent().logs("AWS_CA_BUNDLE").logs(name);
        assert!(!run.stderr.contains("panicked"), "{run}");
    }
}

#[test]
fn the_certificates_of_a_bundle_are_trusted_and_those_of_nobody_are_not() {
    let server = TlsServer::start(&listing(&[("a", "2024-01-01T00:00:00.000Z")], None).text());
    let run = || aaws("s3 discover_objects --bucket b").endpoint(&server.url);
    run().run().exits(1).silent();
    assert_eq!(run().env("AWS_CA_BUNDLE", server.authority()).run().ok().json(), json!(["a"]));
}

#[test]
fn a_store_on_this_machine_without_tls_needs_no_certificates() {
    let server = scripted([("ListObjectsV2", vec![listing(&[("a", "2024-01-01T00:00:00.000Z")], None)])]);
    let directory = directory();
    let nothing = directory.path().join("no-certificates.pem");
    fs::write(&nothing, "").expect("a file");
    let run = aaws("s3 discover_objects --bucket b").endpoint(&server.url).env("SSL_CERT_FILE", &nothing).run().ok();
    assert_eq!(run.json(), json!(["a"]));
    assert_eq!(run.stderr, "");
}

#[test]
fn no_proxy_is_asked_for_what_is_on_this_machine() {
    let server = scripted([("ListObjectsV2", vec![listing(&[], None)])]);
    let proxy = Server::start(|_, _, _| listing(&[], None));
    let run = |endpoint: &str| aaws("s3 discover_objects --bucket b").endpoint(endpoint).env("HTTP_PROXY", &proxy.url).run();
    run(&server.url).ok();
    assert_eq!((server.operations().len(), proxy.operations().len()), (1, 0));
    // For all else it is.
    run("http://s3.example.com").ok();
    assert_eq!((server.operations().len(), proxy.operations().len()), (1, 1));
    // Nobody is at that port: the sandbox is on this machine, too.
    aaws("demo").stranger().env("HTTP_PROXY", "http://127.0.0.1:1").run().ok();
}

#[test]
fn the_time_of_a_run_is_over_though_its_list_is_not() {
    let server = scripted([]);
    let directory = directory();
    // Whoever writes the list holds the pipe open.
    let line = "mkfifo list; exec 3<>list; echo first-key >&3; aaws s3 delete_objects --bucket b --objects - --timeout 1s <&3";
    shell(line).endpoint(&server.url).within(directory.path()).run().exits(1).silent().logs("timed out");
    assert_eq!(server.operations(), [""; 0]);
}

// --- Regions ---

#[test]
fn a_region_that_is_none_is_refused_wherever_it_comes_from_and_nothing_is_sent() {
    let server = scripted([("ListObjectsV2", vec![listing(&[], None)])]);
    let address = server.url.trim_start_matches("http://").to_owned();
    let hostile = format!("@{address}/#");
    for wrong in [hostile.as_str(), "US-EAST-1", "eu west 1", "eu_west_1", "us-east-1.example.com", &"x".repeat(64)] {
        let run = || aaws("s3 discover_objects --bucket with.dots").endpoint(&server.url);
        run().arg("--region").arg(wrong).run().exits(2).silent().logs("region");
        run().env("AWS_REGION", wrong).run().exits(2).silent().logs("AWS_REGION");
        run().without("AWS_REGION").env("AWS_DEFAULT_REGION", wrong).run().exits(2).silent().logs("AWS_DEFAULT_REGION");
        let config = profiles(&format!("[profile there]\nregion = {wrong}\naws_access_key_id = AKIA\naws_secret_access_key = secret\n"));
        let of_profile = run().without("AWS_REGION").env("AWS_CONFIG_FILE", config.path().join("config")).args(["--profile", "there"]);
        of_profile.run().exits(2).silent().logs("the profile");
    }
    assert_eq!(server.operations(), [""; 0]);
}
