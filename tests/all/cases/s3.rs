//! The actions of S3, on moto.

use crate::support::aaws::Aaws;
use crate::support::cases::{CHANGED, Case, Place, SO_ALREADY, Takes, Then};
use crate::support::http::Server;
use crate::support::{Bucket, aaws, moto};

impl Place for Bucket {
    const DENIED: &'static str = "AccessDenied";
    const THROTTLED: &'static str = "SlowDown";

    fn fresh() -> Self {
        Bucket::new()
    }

    fn url(&self) -> String {
        moto::endpoint().to_owned()
    }

    fn aaws(&self, server: &Server, line: &str) -> Aaws {
        aaws(line).endpoint(&server.url)
    }
}

/// Actions that are not among the cases, and why.
pub const APART: &[(&str, &str)] = &[];

pub const CASES: &[Case<Bucket>] = &[
    Case {
        action: "s3/create_objects",
        // Keys that have an object of somebody else's, which it replaces.
        make: objects,
        line: |bucket, ids| {
            let objects: Vec<String> = ids.iter().map(|key| format!(r#"{{"Key":"{key}","Body":"mine"}}"#)).collect();
            format!(r#"s3 create_objects --input {{"bucket":"{bucket}","objects":[{}]}}"#, objects.join(","))
        },
        is_done: |bucket, id| has(bucket, id) && bucket.get(id).text() == "mine",
        takes: Takes::Many,
        change: Then::Done(|bucket, id| bucket.put(id, "theirs, of today"), CHANGED),
        remove: Then::Done(|bucket, id| bucket.delete(id), CHANGED),
    },
    Case {
        action: "s3/delete_incomplete_uploads",
        make: |bucket, numbers| {
            let keys: Vec<String> = numbers.map(|number| format!("p/{number}")).collect();
            keys.iter().for_each(|key| bucket.begin_upload(key));
            let of_these = |upload: &String| keys.iter().any(|key| upload.starts_with(&format!("{key}?")));
            bucket.uploads().into_iter().filter(of_these).collect()
        },
        line: |bucket, _| format!("s3 delete_incomplete_uploads --bucket {bucket} --prefix p/"),
        is_done: |bucket, id| bucket.uploads().iter().all(|upload| upload != id),
        takes: Takes::Many,
        change: Then::Never("an upload that is not completed has nothing that could change"),
        remove: Then::Done(|bucket, id| bucket.abort_upload(id), SO_ALREADY),
    },
    Case {
        action: "s3/delete_objects",
        make: objects,
        line: |bucket, _| format!("s3 delete_objects --bucket {bucket} --matching --under p/"),
        is_done: |bucket, id| !has(bucket, id),
        takes: Takes::Many,
        change: Then::Done(|bucket, id| bucket.put(id, "theirs, of today"), CHANGED),
        remove: Then::Done(|bucket, id| bucket.delete(id), SO_ALREADY),
    },
];

fn objects(bucket: &Bucket, numbers: std::ops::Range<usize>) -> Vec<String> {
    let keys: Vec<String> = numbers.map(|number| format!("p/{number}")).collect();
    keys.iter().for_each(|key| bucket.put(key, "theirs"));
    keys
}

fn has(bucket: &Bucket, key: &str) -> bool {
    bucket.keys().iter().any(|other| other == key)
}
