//! Every example of every page is run as it is shown, on the command line and as JSON in a pipe, and prints what the page says.

// A program that was built without any service has no examples.
#![cfg_attr(
    not(any(
        feature = "backup",
        feature = "cloudtrail",
        feature = "ec2",
        feature = "general",
        feature = "iam",
        feature = "s3",
        feature = "sts"
    )),
    allow(dead_code, unused_imports)
)]

use aaws::Example;
use aaws::When;
use aaws::catalog::invocation::command_line;
use aaws::catalog::manifest::Manifest;
use aaws::catalog::registry;
use serde_json::Value;

use crate::support::aaws::Aaws;
use crate::support::{Output, shell};

/// Runs all examples of a service. `world` makes what the example takes for granted, and runs the line in it.
///
/// A call that is declared as made each time must have been made: the permissions page must not ask for what is not used. That no other is made,
/// the guard sees to. And the policy that is printed for the example must allow each call that it made.
fn run_all(service: &str, world: impl Fn(&Example, Aaws) -> Output) {
    run_all_but(service, &[], world);
}

/// The same without some actions, which the world cannot run.
fn run_all_but(service: &str, left_out: &[&str], world: impl Fn(&Example, Aaws) -> Output) {
    let mut ran = 0;
    for entry in registry::of_service(service).filter(|entry| !left_out.contains(&entry.meta.name())) {
        let manifest = Manifest::of(entry);
        let mut made = String::new();
        for example in manifest.examples {
            let policy = policy_for(entry, example);
            let shown: Value = serde_json::from_str(example.output).expect("an example's output is JSON");
            let typed = command_line(&manifest, example);
            let piped = format!("printf '%s' '{}' | aaws {service} {} --input -", example.input.replace('\'', r"'\''"), manifest.action);
            for line in [typed, piped] {
                // Text for a shell is a JSON string when JSON is asked for.
                let output = world(example, shell(line.clone() + " --output json --debug"));
                let printed = output.json();
                for call in manifest.calls.iter().filter(|call| output.stderr.contains(&format!("made {} ", call.name))) {
                    for grant in call.grants.iter().filter(|grant| grant.when == When::Always) {
                        assert!(policy.contains(&grant.action.into()), "{line}\nits policy lacks {}, for {}", grant.action, call.name);
                    }
                }
                made.push_str(&output.stderr);
                assert!(alike(&printed, &shown), "{line}\nprinted {printed}\nshown   {shown}");
                let valid = jsonschema::validator_for(&manifest.output).expect("a schema");
                assert!(valid.is_valid(&printed), "{line}: {printed} breaks the output's schema");
            }
            ran += 1;
        }
        for call in manifest.calls.iter().filter(|call| call.when == When::Always) {
            let was_made = made.contains(&format!("made {} ", call.name));
            assert!(was_made, "{}: no example made {}, which is declared as made each time", manifest.path, call.name);
        }
    }
    assert!(ran > 0, "{service} has examples");
}

/// The IAM actions that the policy for an example allows.
fn policy_for(entry: &aaws::Entry, example: &Example) -> Vec<Value> {
    let input = serde_json::from_str(example.input).expect("an example's input is JSON");
    let scope = aaws::catalog::policy::Scope { input, ..Default::default() };
    let policy = serde_json::to_value(aaws::catalog::policy::Policy::of(&[entry], &scope)).expect("JSON");
    policy["Statement"].as_array().into_iter().flatten().flat_map(|s| s["Action"].as_array().cloned().unwrap_or_default()).collect()
}

/// The same, but for text with digits in it: dates, ids and keys are new in every world.
fn alike(printed: &Value, shown: &Value) -> bool {
    match (printed, shown) {
        (Value::Object(p), Value::Object(s)) => p.len() == s.len() && s.iter().all(|(name, s)| p.get(name).is_some_and(|p| alike(p, s))),
        (Value::Array(p), Value::Array(s)) => p.len() == s.len() && p.iter().zip(s).all(|(p, s)| alike(p, s)),
        (Value::String(p), Value::String(s)) => p == s || (s.contains(|c: char| c.is_ascii_digit()) && frame(p) == frame(s)),
        (p, s) => p == s,
    }
}

/// What of a text is always so: its lines, each up to what a sign puts a value behind.
fn frame(text: &str) -> Vec<&str> {
    let heads = text.lines().map(|line| line.split(['=', ' ']).next().unwrap_or_default());
    heads.map(|head| if head.contains(|c: char| c.is_ascii_digit()) { "" } else { head }).collect()
}

#[test]
fn no_service_is_left_out() {
    let known = ["backup", "cloudtrail", "ec2", "general", "iam", "s3", "sts"];
    let unknown: Vec<_> = registry::services().into_iter().filter(|s| !known.contains(s)).collect();
    assert_eq!(unknown, [""; 0], "the examples of these services are not run: give them a world here");
}

#[cfg(feature = "s3")]
mod s3 {
    use super::*;
    use crate::support::proxy::Proxy;
    use crate::support::{Bucket, directory, fake_cloudwatch, moto};

    #[test]
    fn examples_of_s3_run_on_a_new_sandbox() {
        // The sandbox has objects and no more.
        run_all_but("s3", &["delete_incomplete_uploads", "discover_buckets"], |_, run| {
            let sandbox = directory();
            run.sandbox(sandbox.path()).run().ok()
        });
    }

    #[test]
    fn examples_of_s3_run_on_moto() {
        let (_turn, bucket) = Bucket::of_the_examples();
        // S3 says of each bucket where it is, and its answer about versions has another name.
        let name = "<Name>example-bucket</Name>";
        let s3 = Proxy::to(moto::endpoint())
            .rewrite("ListBuckets", move |_, text| text.replace(name, &format!("{name}<BucketRegion>us-east-1</BucketRegion>")))
            .rewrite("GetBucketVersioning", |_, text| text.replace("GetBucketVersioningResponse", "VersioningConfiguration"))
            // Moto's CloudWatch does not speak as the SDK does.
            .rule("GetMetricData", |_, request| {
                Some(fake_cloudwatch::answer(request, fake_cloudwatch::POINTS, |figure| match figure.storage {
                    "AllStorageTypes" => Ok(vec![(1, 1200.0)]),
                    "StandardStorage" => Ok(vec![(1, 52_428_800.0)]),
                    _ => Ok(Vec::new()),
                }))
            })
            .start();
        run_all("s3", |example, run| {
            // What one leaves behind must not help the next.
            bucket.keys().iter().for_each(|key| bucket.delete(key));
            bucket.abort_uploads();
            for given in example.given {
                match given.strip_prefix("upload ") {
                    Some(key) => bucket.begin_upload(key),
                    None => bucket.put(given, "text"),
                }
            }
            run.endpoint(&s3.url).run().ok()
        });
    }
}

#[cfg(feature = "iam")]
#[test]
fn examples_of_iam_run_on_moto() {
    run_all("iam", |example, run| {
        let account = crate::support::Account::fresh();
        let server = account.give(example.given);
        account.own(run).endpoint(&server.url).run().ok()
    });
}

#[cfg(feature = "ec2")]
#[test]
fn examples_of_ec2_run_on_moto() {
    use crate::support::Response;
    use crate::support::ec2::World;
    use crate::support::proxy::Proxy;

    run_all("ec2", |example, run| {
        let (regions, things): (Vec<&str>, Vec<&str>) = example.given.iter().partition(|given| given.starts_with("region "));
        let (world, server) = World::given(&things);
        // moto has all regions that there are.
        let region = |given: &&str| {
            let name = given.trim_start_matches("region ");
            format!(
                "<item><regionName>{name}</regionName><regionEndpoint>ec2.{name}.amazonaws.com</regionEndpoint>\
                 <optInStatus>opt-in-not-required</optInStatus></item>"
            )
        };
        let regions: String = regions.iter().map(region).collect();
        let answer = format!("<DescribeRegionsResponse><regionInfo>{regions}</regionInfo></DescribeRegionsResponse>");
        let proxy = Proxy::to(&server.url).rule("DescribeRegions", move |_, _| Some(Response::xml(200, answer.clone())));
        world.account.own(run).endpoint(&proxy.start().url).run().ok()
    });
}

#[cfg(feature = "sts")]
#[test]
fn examples_of_sts_run_on_moto() {
    run_all("sts", |_, run| crate::support::Account::fresh().own(run).run().ok());
}

#[cfg(feature = "general")]
#[test]
fn examples_of_general_run_anywhere() {
    run_all("general", |_, run| run.stranger().run().ok());
}

#[cfg(feature = "cloudtrail")]
#[test]
fn examples_of_cloudtrail_run_on_a_history() {
    use crate::support::fake_cloudtrail::{FakeCloudTrail, event, now};

    run_all("cloudtrail", |example, run| {
        // "DetachVolume by alice on vol-1 i-1"
        let given = example.given.iter().map(|given| {
            let (name, rest) = given.split_once(" by ").expect("who");
            let (user, resources) = rest.split_once(" on ").expect("on what");
            event("11111111-2222-3333-4444-555555555555", now() - 3600, name, user, &resources.split(' ').collect::<Vec<_>>())
        });
        let trail = FakeCloudTrail::new(given.collect());
        run.endpoint(&trail.server.url).run().ok()
    });
}

#[cfg(feature = "backup")]
#[test]
fn examples_of_backup_run_on_a_vault() {
    use crate::support::fake_backup::{FakeBackup, Fate};

    run_all("backup", |example, run| {
        // "recovery point ARN in example-vault"
        let arn = |given: &'static str| given.strip_prefix("recovery point ").and_then(|g| g.strip_suffix(" in example-vault"));
        let points = example.given.iter().map(|given| arn(given).expect("a recovery point"));
        let backup = points.fold(FakeBackup::new(), |backup, arn| backup.point(arn, Fate::Gone(0)));
        run.endpoint(&backup.server.url).run().ok()
    });
}
