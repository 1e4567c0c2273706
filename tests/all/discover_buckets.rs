//! `s3/discover_buckets` on an S3 that answers in pages.

use serde_json::json;

use crate::support::{Response, Server, aaws};

/// An account with these buckets and their regions, that selects by prefix and region as S3 does. Only in the region asked for is that taken. It may have
/// more than 10,000 buckets: they are listed by pages only, of which each says how many it is to have (S3 API reference, ListBuckets).
fn account(buckets: &[(&str, &str)]) -> Server {
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
            _ => Response::error(501, "NotImplemented"),
        }
    })
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
