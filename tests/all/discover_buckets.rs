//! `s3/discover_buckets` on an S3 that answers in pages.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake_cloudwatch::{self, Answered, Figure, POINTS, QUERIES};
use crate::support::http::Request;
use crate::support::proxy::Proxy;
use crate::support::{Response, Server, aaws, directory, report};

/// An account with these buckets and their regions, that selects by prefix and region as S3 does. Only in the region asked for is that taken. It may have
/// more than 10,000 buckets: they are listed by pages only, of which each says how many it is to have (S3 API reference, ListBuckets).
fn account(buckets: &[(&str, &str)]) -> Server {
    account_of(buckets, |_, _| Response::error(501, "NotImplemented"))
}

/// The same, and what its buckets say of themselves: `says(bucket, operation)`. Only in its own region does a bucket say anything.
fn account_of(buckets: &[(&str, &str)], says: impl Fn(&str, &str) -> Response + Send + Sync + 'static) -> Server {
    let buckets: Vec<(String, String)> = buckets.iter().map(|(name, region)| ((*name).to_owned(), (*region).to_owned())).collect();
    Server::start(move |operation, _, request| {
        let most: Option<usize> = request.query("max-buckets").and_then(|most| most.parse().ok());
        let (prefix, region) = (request.query("prefix").unwrap_or_default(), request.query("bucket-region"));
        match operation {
            "ListBuckets" if region.is_some() && request.signed_region() != region.as_deref() => Response::error(400, "InvalidArgument"),
            "ListBuckets" => {
                let Some(most) = most.filter(|most| (1..=10_000).contains(most)) else { return Response::error(400, "InvalidArgument") };
                let start: usize = request.query("continuation-token").map_or(0, |token| token.parse().expect("a token of this server"));
                let fits =
                    |bucket: &&(String, String)| bucket.0.starts_with(&prefix) && region.as_ref().is_none_or(|region| *region == bucket.1);
                let found: Vec<_> = buckets.iter().filter(fits).collect();
                let page = found.iter().skip(start).take(most).map(|(name, region)| {
                    format!(
                        "<Bucket><Name>{name}</Name><CreationDate>2024-01-31T08:00:00.000Z</CreationDate><BucketRegion>{region}</BucketRegion></Bucket>"
                    )
                });
                let page: String = page.collect();
                let next = start + most;
                let token = if next < found.len() { format!("<ContinuationToken>{next}</ContinuationToken>") } else { String::new() };
                Response::xml(200, format!("<ListAllMyBucketsResult><Buckets>{page}</Buckets>{token}</ListAllMyBucketsResult>"))
            }
            _ => {
                let Some((name, region)) = buckets.iter().find(|(name, _)| *name == asked(&request)) else {
                    return Response::error(404, "NoSuchBucket");
                };
                if request.signed_region() != Some(region.as_str()) {
                    return elsewhere(region);
                }
                says(name, operation)
            }
        }
    })
}

/// The bucket that a request is about.
fn asked(request: &Request) -> String {
    request.target.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default().to_owned()
}

/// What S3 says where a bucket is not.
fn elsewhere(region: &str) -> Response {
    let mut reply = Response::error(301, "PermanentRedirect");
    reply.headers.push(("x-amz-bucket-region".to_owned(), region.to_owned()));
    reply
}

/// What a bucket says that is closed to everyone, as S3 makes them.
fn closed(operation: &str) -> Response {
    match operation {
        "GetPublicAccessBlock" => block([true; 4]),
        "GetBucketPolicyStatus" => Response::error(404, "NoSuchBucketPolicy"),
        "GetBucketAcl" => acl(None),
        "GetBucketEncryption" => encryption("<SSEAlgorithm>AES256</SSEAlgorithm>"),
        "GetBucketVersioning" => Response::xml(200, "<VersioningConfiguration/>"),
        _ => Response::error(501, "NotImplemented"),
    }
}

/// A public access block: public access lists blocked and ignored, public policies blocked, and the bucket restricted.
fn block(on: [bool; 4]) -> Response {
    let [block_acls, ignore_acls, block_policy, restrict] = on;
    Response::xml(
        200,
        format!(
            "<PublicAccessBlockConfiguration><BlockPublicAcls>{block_acls}</BlockPublicAcls><IgnorePublicAcls>{ignore_acls}</IgnorePublicAcls>\
             <BlockPublicPolicy>{block_policy}</BlockPublicPolicy><RestrictPublicBuckets>{restrict}</RestrictPublicBuckets>\
             </PublicAccessBlockConfiguration>"
        ),
    )
}

fn policy_status(is_public: bool) -> Response {
    Response::xml(200, format!("<PolicyStatus><IsPublic>{is_public}</IsPublic></PolicyStatus>"))
}

/// An access list of the owner's, and of a group's where there is one: `AllUsers`.
fn acl(group: Option<&str>) -> Response {
    let grant = |kind: &str, grantee: String| {
        let xsi = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";
        format!("<Grant><Grantee {xsi} xsi:type=\"{kind}\">{grantee}</Grantee><Permission>READ</Permission></Grant>")
    };
    let group = group.map(|name| grant("Group", format!("<URI>http://acs.amazonaws.com/groups/{name}</URI>"))).unwrap_or_default();
    let owner = grant("CanonicalUser", "<ID>75aa57f09aa0c8caeab4f8c24e99d10f</ID>".to_owned());
    Response::xml(200, format!("<AccessControlPolicy><AccessControlList>{owner}{group}</AccessControlList></AccessControlPolicy>"))
}

fn encryption(default: &str) -> Response {
    Response::xml(
        200,
        format!(
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>{default}</ApplyServerSideEncryptionByDefault>\
             </Rule></ServerSideEncryptionConfiguration>"
        ),
    )
}

const BUCKETS: &[(&str, &str)] =
    &[("dev-a", "us-east-1"), ("dev-b", "eu-west-1"), ("dev-c", "eu-west-1"), ("prod-a", "eu-west-1"), ("test-a", "us-east-1")];

#[test]
fn discover_buckets_reads_all_pages() {
    // More than two pages of the most that is asked for.
    let names: Vec<String> = (0..2_500).map(|n| format!("bucket-{n:04}")).collect();
    let server = account(&names.iter().map(|name| (name.as_str(), "us-east-1")).collect::<Vec<_>>());
    assert_eq!(aaws("s3 discover_buckets").endpoint(&server.url).run().ok().json(), json!(names));
    assert_eq!(server.operations(), ["ListBuckets"; 3]);
}

#[test]
fn discover_buckets_selects_by_prefix_pattern_and_region() {
    let server = account(BUCKETS);
    let run = |flags: &str| aaws(format!("s3 discover_buckets {flags}")).endpoint(&server.url).run().ok().json();
    assert_eq!(run("--prefix dev-"), json!(["dev-a", "dev-b", "dev-c"]));
    assert_eq!(run("--name {dev,test}-[ac]"), json!(["dev-a", "dev-c", "test-a"]));
    assert_eq!(run("--bucket_region eu-west-1 --name ?ev-*"), json!(["dev-b", "dev-c"]));
    assert_eq!(run("--name dev"), json!([]), "a pattern is of the whole name");
}

#[test]
fn discover_buckets_prints_details() {
    let server = account(BUCKETS);
    let printed = aaws("s3 discover_buckets --prefix prod --details").endpoint(&server.url).run().ok().json();
    assert_eq!(printed, json!([{"Name": "prod-a", "BucketRegion": "eu-west-1", "CreationDate": "2024-01-31T08:00:00Z"}]));
}

#[test]
fn discover_buckets_refuses_what_is_no_pattern_before_it_asks() {
    let server = account(BUCKETS);
    aaws("s3 discover_buckets --name [a").endpoint(&server.url).run().exits(2).silent().logs("is not a pattern: a `[` without its `]`");
    assert_eq!(server.operations(), [""; 0]);
}

// --- What a bucket says of itself ---

#[test]
fn discover_buckets_prints_how_each_bucket_is_set() {
    let key = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555";
    let server = account_of(&[("open", "eu-west-1"), ("plain", "us-east-1")], move |bucket, operation| match (bucket, operation) {
        ("open", "GetPublicAccessBlock") => Response::error(404, "NoSuchPublicAccessBlockConfiguration"),
        ("open", "GetBucketPolicyStatus") => policy_status(true),
        ("open", "GetBucketEncryption") => {
            encryption(&format!("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>{key}</KMSMasterKeyID>"))
        }
        ("open", "GetBucketVersioning") => {
            Response::xml(200, "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>")
        }
        (_, operation) => closed(operation),
    });
    let printed = aaws("s3 discover_buckets --settings").endpoint(&server.url).run().ok().json();
    let date = "2024-01-31T08:00:00Z";
    let expected = json!([
        {
            "Name": "open", "BucketRegion": "eu-west-1", "CreationDate": date, "IsPublic": true, "PublicAccessBlocked": false,
            "SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key, "Versioning": "Enabled", "MFADelete": "Enabled",
        },
        {
            "Name": "plain", "BucketRegion": "us-east-1", "CreationDate": date, "IsPublic": false, "PublicAccessBlocked": true,
            "SSEAlgorithm": "AES256", "KMSMasterKeyID": null, "Versioning": "Unversioned", "MFADelete": "Disabled",
        },
    ]);
    assert_eq!(printed, expected);
    let of = |name: &str| server.log().iter().filter(|(_, request)| asked(request) == name).count();
    assert_eq!((of("open"), of("plain")), (5, 3), "each is asked where it is, and what is blocked is not asked for");
}

#[test]
fn discover_buckets_asks_no_bucket_unless_it_is_to() {
    let server = account(BUCKETS);
    for flags in ["", "--details", "--prefix dev- --details"] {
        aaws(format!("s3 discover_buckets {flags}")).endpoint(&server.url).run().ok();
    }
    assert_eq!(server.operations(), ["ListBuckets"; 3]);
}

#[test]
fn discover_buckets_finds_those_that_are_public() {
    let buckets = ["acl", "aws-users", "blocked-acl", "blocked-policy", "closed", "logs", "policy", "private-policy"];
    let buckets = buckets.map(|name| (name, "us-east-1"));
    let server = account_of(&buckets, |bucket, operation| match (bucket, operation) {
        ("closed", operation) => closed(operation),
        ("acl" | "blocked-acl", "GetBucketAcl") => acl(Some("global/AllUsers")),
        ("aws-users", "GetBucketAcl") => acl(Some("global/AuthenticatedUsers")),
        // The group that writes access logs is AWS's own.
        ("logs", "GetBucketAcl") => acl(Some("s3/LogDelivery")),
        ("policy" | "blocked-policy", "GetBucketPolicyStatus") => policy_status(true),
        ("private-policy", "GetBucketPolicyStatus") => policy_status(false),
        // What is blocked from now on lets in whom it let in before.
        ("acl" | "policy", "GetPublicAccessBlock") => block([true, false, true, false]),
        ("blocked-acl", "GetPublicAccessBlock") => block([false, true, false, false]),
        ("blocked-policy", "GetPublicAccessBlock") => block([false, false, false, true]),
        (_, "GetPublicAccessBlock") => Response::error(404, "NoSuchPublicAccessBlockConfiguration"),
        (_, operation) => closed(operation),
    });
    let run = |flags: &str| aaws(format!("s3 discover_buckets --public {flags}")).endpoint(&server.url).run().ok().json();
    assert_eq!(run(""), json!(["acl", "aws-users", "policy"]));
    let details = run("--prefix pol --details");
    assert_eq!(details, json!([{"Name": "policy", "BucketRegion": "us-east-1", "CreationDate": "2024-01-31T08:00:00Z"}]));
    assert_eq!(server.count("GetBucketEncryption") + server.count("GetBucketVersioning"), 0, "only what is asked for");
    assert_eq!(run("--prefix pol --settings")[0]["PublicAccessBlocked"], false);
}

#[test]
fn a_bucket_that_says_nothing_is_printed_without_it_and_fails() {
    let denied = |bucket: &str, operation: &str| match (bucket, operation) {
        ("dev-b", _) | ("dev-c", "GetBucketEncryption") => Response::error(403, "AccessDenied"),
        (_, operation) => closed(operation),
    };
    let server = account_of(BUCKETS, denied);
    let home = directory();
    let run = aaws("s3 discover_buckets --settings --prefix dev- --report report.jsonl").within(home.path()).endpoint(&server.url);
    let printed = run.run().exits(3).json();
    let column = |name: &str| printed.as_array().expect("a list").iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("Name"), ["dev-a", "dev-b", "dev-c"]);
    assert_eq!(column("IsPublic"), [json!(false), Value::Null, json!(false)]);
    assert_eq!(column("PublicAccessBlocked"), [json!(true), Value::Null, json!(true)]);
    assert_eq!(column("SSEAlgorithm"), [json!("AES256"), Value::Null, Value::Null]);
    assert_eq!(column("MFADelete"), [json!("Disabled"), Value::Null, json!("Disabled")]);
    // The buckets are asked side by side.
    let mut lines = report(&home);
    lines.sort_by_key(|line| line["item"].to_string());
    let failed: Vec<_> = lines.iter().map(|line| (line["item"].clone(), line["code"].clone())).collect();
    assert_eq!(failed, [(json!("dev-b"), json!("AccessDenied")), (json!("dev-c"), json!("AccessDenied"))], "each once");
    let message = |line: &Value| line["message"].as_str().unwrap_or_default().to_owned();
    let all = "cannot read its public access block, policy status, access list, encryption, versioning: ";
    assert!(message(&lines[0]).starts_with(all) && message(&lines[1]).starts_with("cannot read its encryption: "), "{lines:?}");
}

#[test]
fn a_bucket_whose_policy_status_says_nothing_is_not_taken_for_private() {
    let server = account_of(&[("mute", "us-east-1")], |_, operation| match operation {
        "GetPublicAccessBlock" => Response::error(404, "NoSuchPublicAccessBlockConfiguration"),
        "GetBucketPolicyStatus" => Response::xml(200, "<PolicyStatus/>"),
        "GetBucketAcl" => Response::xml(200, "<AccessControlPolicy><AccessControlList/></AccessControlPolicy>"),
        _ => Response::error(501, "NotImplemented"),
    });
    let run = aaws("s3 discover_buckets --public").endpoint(&server.url).run().exits(3).logs("policy status").logs("mute");
    assert_eq!(run.json(), json!([]));
}

#[test]
fn a_bucket_of_which_it_is_not_known_is_not_listed_as_public() {
    let server = account_of(BUCKETS, |bucket, operation| match (bucket, operation) {
        // Its policy lets everyone in; whether that is blocked is not known.
        ("dev-a", "GetPublicAccessBlock") | ("dev-b", "GetBucketAcl") | ("dev-c", "GetBucketPolicyStatus") => {
            Response::error(403, "AccessDenied")
        }
        ("dev-a", "GetBucketPolicyStatus") => policy_status(true),
        (_, "GetPublicAccessBlock") => block([false; 4]),
        // One of the two is enough.
        ("dev-c", "GetBucketAcl") => acl(Some("global/AllUsers")),
        (_, operation) => closed(operation),
    });
    let run = aaws("s3 discover_buckets --public --prefix dev-").endpoint(&server.url).run().exits(3).logs("dev-a").logs("dev-b");
    assert_eq!(run.json(), json!(["dev-c"]));
}

#[test]
fn buckets_are_printed_in_the_order_of_the_list_whoever_answers_first() {
    // The first bucket says nothing before the last one has.
    let last = Arc::new((Mutex::new(false), Condvar::new()));
    let server = account_of(BUCKETS, move |bucket, operation| {
        let (answered, changed) = &*last;
        if bucket == "test-a" {
            *answered.lock().expect("the lock") = true;
            changed.notify_all();
        }
        if bucket == "dev-a" {
            let answered = answered.lock().expect("the lock");
            let (answered, _) = changed.wait_timeout_while(answered, Duration::from_secs(10), |answered| !*answered).expect("the lock");
            if !*answered {
                return Response::error(403, "TheLastBucketWasNotAskedMeanwhile");
            }
        }
        closed(operation)
    });
    let printed = aaws("s3 discover_buckets --settings --query [].Name").endpoint(&server.url).run().ok().json();
    assert_eq!(printed, json!(["dev-a", "dev-b", "dev-c", "prod-a", "test-a"]));
}

#[test]
fn what_every_bucket_would_say_ends_the_list() {
    let server = account_of(BUCKETS, |_, _| Response::error(403, "ExpiredToken"));
    aaws("s3 discover_buckets --public --concurrency 1").endpoint(&server.url).run().exits(5).logs("ExpiredToken");
    assert!(server.log().iter().all(|(_, request)| ["", "dev-a"].contains(&asked(request).as_str())), "no other is asked");
}

#[test]
fn a_bucket_that_the_list_does_not_place_is_found_where_it_is() {
    // No region, as of a store that is not S3, and another than the run's.
    let server = Server::start(|operation, _, request| match operation {
        "ListBuckets" => {
            Response::xml(200, "<ListAllMyBucketsResult><Buckets><Bucket><Name>b</Name></Bucket></Buckets></ListAllMyBucketsResult>")
        }
        _ if request.signed_region() != Some("eu-west-1") => elsewhere("eu-west-1"),
        operation => closed(operation),
    });
    let printed = aaws("s3 discover_buckets --settings").endpoint(&server.url).run().ok().json();
    assert_eq!(printed[0]["BucketRegion"], Value::Null);
    assert_eq!(printed[0]["PublicAccessBlocked"], true);
    assert_eq!(server.count("GetPublicAccessBlock"), 2);
}

#[test]
fn the_policy_names_the_buckets_that_are_asked() {
    let policy = aaws("permissions s3 discover_buckets --prefix dev- --public").run().ok().json();
    let asked = ["s3:GetBucketAcl", "s3:GetBucketPolicyStatus", "s3:GetBucketPublicAccessBlock"];
    let expected = json!([
        {"Effect": "Allow", "Action": asked, "Resource": ["arn:aws:s3:::dev-*"]},
        {"Effect": "Allow", "Action": ["s3:ListAllMyBuckets"], "Resource": ["*"]},
    ]);
    assert_eq!(policy["Statement"], expected);
}

// --- What CloudWatch says of a bucket ---

/// An account with these buckets, in front of it a CloudWatch in each region: `answers(n, request)`.
fn measured(buckets: &[(&str, &str)], answers: impl Fn(usize, &Request) -> Response + Send + Sync + 'static) -> Server {
    let account = account(buckets);
    Proxy::to(&account.url).rule("GetMetricData", move |n, request| Some(answers(n, request))).start()
}

/// What S3 tells CloudWatch of some buckets, each in its own region: in one some of it was archived lately, and the last day of another is not whole yet.
fn figures(figure: &Figure) -> Answered {
    Ok(match (figure.region, figure.bucket, figure.storage) {
        ("eu-west-1", "dev-b", "AllStorageTypes") => vec![(2, 9.0), (1, 7.0)],
        ("eu-west-1", "dev-b", "StandardStorage") => vec![(2, 900.0), (1, 200.0)],
        ("eu-west-1", "dev-b", "GlacierStorage") => vec![(1, 500.0)],
        ("eu-west-1", "dev-b", "DeepArchiveStagingStorage") => vec![(1, 11.0)],
        ("eu-west-1", "dev-b", "GlacierObjectOverhead") => vec![(1, 32_768.0)],
        ("eu-west-1", "prod-a", "AllStorageTypes") => vec![(3, 3.0), (2, 4.0)],
        ("eu-west-1", "prod-a", "StandardStorage") => vec![(3, 30.0), (2, 40.0), (1, 50.0)],
        // What is this old says nothing of today.
        ("us-east-1", "test-a", _) => vec![(9, 1.0)],
        _ => Vec::new(),
    })
}

/// The rows that are printed of the buckets of [`figures`].
fn rows() -> Value {
    let row = |name: &str, region: &str, size: Value, objects: Value, day: Value| {
        json!({
            "Name": name, "BucketRegion": region, "CreationDate": "2024-01-31T08:00:00Z", "BucketSizeBytes": size, "NumberOfObjects": objects,
            "MeasuredOn": day,
        })
    };
    let unknown = |name: &str, region: &str| row(name, region, Value::Null, Value::Null, Value::Null);
    json!([
        unknown("dev-a", "us-east-1"),
        row("dev-b", "eu-west-1", json!(711), json!(7), json!(fake_cloudwatch::day(1))),
        unknown("dev-c", "eu-west-1"),
        row("prod-a", "eu-west-1", json!(40), json!(4), json!(fake_cloudwatch::day(2))),
        unknown("test-a", "us-east-1"),
    ])
}

#[test]
fn discover_buckets_prints_how_large_each_bucket_is() {
    let server = measured(BUCKETS, |_, request| fake_cloudwatch::answer(request, POINTS, figures));
    assert_eq!(aaws("s3 discover_buckets --size").endpoint(&server.url).run().ok().json(), rows());
    let asked = server.requests("GetMetricData");
    let mut asked: Vec<_> =
        asked.iter().map(|request| (request.signed_region().unwrap_or_default(), fake_cloudwatch::asked(request))).collect();
    asked.sort_unstable();
    assert_eq!(asked, [("eu-west-1", 45), ("us-east-1", 30)], "one request in each region, for 15 figures of each bucket");
    // A person reads it in the units of people.
    let table = aaws("s3 discover_buckets --size --name dev-b --output table").endpoint(&server.url).on_terminal("").ok();
    assert!(table.stdout.contains("711 B"), "{table}");
    // No other is asked, nor is any unless it is to.
    assert_eq!(server.count("GetMetricData"), 3);
    aaws("s3 discover_buckets --details").endpoint(&server.url).run().ok();
    aaws("s3 discover_buckets --size --name nothing").endpoint(&server.url).run().ok();
    assert_eq!(server.count("GetMetricData"), 3);
}

#[test]
fn figures_that_come_in_pages_are_read_whole() {
    // The figures of one kind are torn apart, too.
    for most in [1, 2, 3, 5] {
        let server = measured(BUCKETS, move |_, request| fake_cloudwatch::answer(request, most, figures));
        assert_eq!(aaws("s3 discover_buckets --size").endpoint(&server.url).run().ok().json(), rows(), "{most} on a page");
        assert!(server.count("GetMetricData") > 2, "there were more pages than regions");
    }
}

#[test]
fn many_buckets_are_asked_for_together_and_printed_in_their_order() {
    let names: Vec<String> = (0..700).map(|n| format!("bucket-{n:03}")).collect();
    let buckets: Vec<_> = names.iter().enumerate().map(|(n, name)| (name.as_str(), ["eu-west-1", "us-east-1"][n % 2])).collect();
    let number = |name: &str| name.trim_start_matches("bucket-").parse::<f64>().unwrap_or_default();
    let server = measured(&buckets, move |_, request| {
        fake_cloudwatch::answer(request, POINTS, |figure| {
            let is_there = ["AllStorageTypes", "StandardIAStorage"].contains(&figure.storage);
            Ok(if is_there { vec![(1, number(figure.bucket))] } else { Vec::new() })
        })
    });
    let printed = aaws("s3 discover_buckets --size").endpoint(&server.url).run().ok().json();
    let printed: Vec<_> =
        printed.as_array().expect("rows").iter().map(|row| (row["Name"].clone(), row["BucketSizeBytes"].clone())).collect();
    let expected: Vec<_> = names.iter().enumerate().map(|(n, name)| (json!(name), json!(n))).collect();
    assert_eq!(printed, expected);
    let asked: Vec<_> = server.requests("GetMetricData").iter().map(fake_cloudwatch::asked).collect();
    assert!(asked.iter().all(|asked| *asked <= QUERIES) && asked.len() <= 26, "{asked:?}");
    assert_eq!(asked.iter().sum::<usize>(), 700 * 15);
}

#[test]
fn buckets_are_printed_where_cloudwatch_may_not_be_asked() {
    let names: Vec<String> = (0..80).map(|n| format!("bucket-{n:02}")).collect();
    let mut buckets: Vec<_> = names.iter().map(|name| (name.as_str(), "eu-west-1")).collect();
    buckets.extend([("prod-a", "eu-central-1"), ("prod-b", "eu-central-1")]);
    let server = measured(&buckets, |_, request| match request.signed_region() {
        Some("eu-west-1") => fake_cloudwatch::error(403, "AccessDenied"),
        _ => fake_cloudwatch::answer(request, POINTS, |_| Ok(vec![(1, 1.0)])),
    });
    let home = directory();
    let run = aaws("s3 discover_buckets --size --report report.jsonl").within(home.path()).endpoint(&server.url).run().exits(3);
    let printed = run.json();
    let sizes: Vec<_> = printed.as_array().expect("rows").iter().map(|row| row["BucketSizeBytes"].clone()).collect();
    assert_eq!(sizes.len(), 82);
    assert!(sizes[..80].iter().all(Value::is_null), "{sizes:?}");
    assert_eq!(sizes[80..], [json!(14), json!(14)], "another region is asked all the same");
    let lines = report(&home);
    let failed: Vec<_> = lines.iter().map(|line| (line["item"].clone(), line["status"].clone(), line["code"].clone())).collect();
    assert_eq!(failed, [(json!("eu-west-1"), json!("failed"), json!("AccessDenied"))], "it is said once");
    run.logs("cannot read how large its buckets are: AccessDenied by the test");
}

#[test]
fn cloudwatch_is_waited_for_however_often_it_throttles() {
    // More often than an error that passes is tried again.
    let server = measured(BUCKETS, |n, request| match n {
        1..=9 => fake_cloudwatch::error(400, "Throttling"),
        _ => fake_cloudwatch::answer(request, POINTS, figures),
    });
    assert_eq!(aaws("s3 discover_buckets --size").endpoint(&server.url).run().ok().json(), rows());
    assert_eq!(server.count("GetMetricData"), 11);
}

#[test]
fn a_size_of_which_a_part_is_missing_is_none() {
    // CloudWatch fails to read one kind of storage of the first, and does not answer for one of the second.
    let server = measured(BUCKETS, |_, request| {
        fake_cloudwatch::answer(request, POINTS, |figure| match (figure.bucket, figure.storage) {
            ("dev-a", "GlacierStorage") => Err("InternalError"),
            ("dev-b", "OneZoneIAStorage") => Err(""),
            _ => Ok(vec![(1, 1.0)]),
        })
    });
    let home = directory();
    let run =
        aaws("s3 discover_buckets --size --prefix dev- --report report.jsonl").within(home.path()).endpoint(&server.url).run().exits(3);
    let sizes: Vec<_> = run.json().as_array().expect("rows").iter().map(|row| row["BucketSizeBytes"].clone()).collect();
    assert_eq!(sizes, [Value::Null, Value::Null, json!(14)]);
    let mut failed: Vec<_> = report(&home).iter().map(|line| format!("{} {}", line["item"], line["code"])).collect();
    failed.sort_unstable();
    assert_eq!(failed, [r#""dev-a" "InternalError""#, r#""dev-b" "PartialData""#]);
}

#[test]
fn credentials_that_cloudwatch_turns_down_end_the_list() {
    let server = measured(BUCKETS, |_, _| fake_cloudwatch::error(403, "ExpiredToken"));
    aaws("s3 discover_buckets --size").endpoint(&server.url).run().exits(5).logs("ExpiredToken");
}

#[test]
fn cloudwatch_is_in_the_policy_of_who_asks_it() {
    let policy = |flags: &str| aaws(format!("permissions s3 discover_buckets {flags}")).run().ok().json()["Statement"].clone();
    let list = json!({"Effect": "Allow", "Action": ["s3:ListAllMyBuckets"], "Resource": ["*"]});
    assert_eq!(policy("--details"), json!([list]));
    let both = json!({"Effect": "Allow", "Action": ["cloudwatch:GetMetricData", "s3:ListAllMyBuckets"], "Resource": ["*"]});
    assert_eq!(policy("--size"), json!([both]));
}
