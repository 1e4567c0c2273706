//! Where a run goes and who it is there: profiles, roles, MFA, regions, time limits.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::fake_s3::{VastBucket, listing, scripted};
use crate::support::http::Request;
use crate::support::proxy::Proxy;
use crate::support::{Bucket, Response, aaws, directory, moto, report};

/// The access key that a request is signed with.
fn key_of(request: &Request) -> String {
    let header = request.header("authorization").expect("a signed request");
    let credential = header.split_once("Credential=").expect("a credential").1;
    credential.split('/').next().expect("a key").to_owned()
}

/// The parameters of the STS requests of one action, in the order sent.
fn forms(requests: &[Request], parameter: &str) -> Vec<Option<String>> {
    let value = |request: &Request| {
        let text = request.text();
        let found = text.split('&').find_map(|p| p.strip_prefix(&format!("{parameter}=")))?;
        Some(found.replace("%3A", ":").replace("%2F", "/"))
    };
    requests.iter().map(value).collect()
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
