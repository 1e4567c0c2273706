//! `s3/delete_incomplete_uploads`: on moto, and on an S3 that pages by key and upload id and knows dates.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::http::Request;
use crate::support::{Bucket, Response, Server, aaws, directory, report, xml};

/// An upload: its key, its id, how many days ago it was begun.
type Upload = (&'static str, &'static str, i64);

/// A bucket that has these uploads, in the order of their keys and ids, listed two a page.
struct Uploads {
    server: Server,
    left: Arc<Mutex<Vec<Upload>>>,
}

impl Uploads {
    fn new(uploads: &[Upload]) -> Self {
        let left = Arc::new(Mutex::new(uploads.to_vec()));
        let state = Arc::clone(&left);
        let server = Server::start(move |operation, _, request| match operation {
            "ListMultipartUploads" => page(&state.lock().unwrap(), &request),
            "AbortMultipartUpload" => abort(&mut state.lock().unwrap(), &request),
            _ => Response::error(501, "NotImplemented"),
        });
        Uploads { server, left }
    }

    fn ids(&self) -> Vec<&'static str> {
        self.left.lock().unwrap().iter().map(|upload| upload.1).collect()
    }
}

/// The uploads after both markers; after a key marker alone, those of later keys, as S3 has it. Keys are encoded where that is asked for.
fn page(uploads: &[Upload], request: &Request) -> Response {
    let encoded = request.query("encoding-type").as_deref() == Some("url");
    let encode = |key: &str| if encoded { xml::form_encode(key) } else { xml::escape(key) };
    let prefix = request.query("prefix").unwrap_or_default();
    let (key_marker, id_marker) = (request.query("key-marker"), request.query("upload-id-marker"));
    let after = |(key, id, _): &&Upload| match (key_marker.as_deref(), id_marker.as_deref()) {
        (None, _) => true,
        (Some(marker), None) => *key > marker,
        (Some(marker), Some(upload)) => (*key, *id) > (marker, upload),
    };
    let found: Vec<_> = uploads.iter().filter(after).filter(|upload| upload.0.starts_with(&prefix)).collect();
    let listed = found.iter().take(2).map(|(key, id, days)| {
        let begun = Timestamp::now() - SignedDuration::from_hours(24 * days);
        let key = encode(key);
        format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{begun:.3}</Initiated></Upload>")
    });
    let listed: String = listed.collect();
    let next = match found.as_slice() {
        [_, (key, id, _), _, ..] => format!(
            "<IsTruncated>true</IsTruncated><NextKeyMarker>{}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>",
            encode(key)
        ),
        _ => "<IsTruncated>false</IsTruncated>".to_owned(),
    };
    let encoding = if encoded { "<EncodingType>url</EncodingType>" } else { "" };
    Response::xml(200, format!("<ListMultipartUploadsResult>{encoding}{next}{listed}</ListMultipartUploadsResult>"))
}

/// An id is one of its key: with another it is none.
fn abort(uploads: &mut Vec<Upload>, request: &Request) -> Response {
    let path = request.target.split('?').next().unwrap_or_default();
    let key = path.strip_prefix("/b/").map(xml::percent_decode).expect("a key of the bucket `b`");
    let id = request.query("uploadId").expect("the id of an upload");
    let named = |upload: &Upload| upload.0 == key && upload.1 == id;
    let Some(place) = uploads.iter().position(named) else { return Response::error(404, "NoSuchUpload") };
    uploads.remove(place);
    Response::xml(204, "")
}

const UPLOADS: &[Upload] =
    &[("a b+c", "1", 30), ("a b+c", "2", 6), ("a b+c", "3", 8), ("logs/é", "4", 9), ("logs/é", "5", 1), ("logs/é", "6", 10)];

#[test]
fn delete_incomplete_uploads_leaves_those_that_are_young() {
    let uploads = Uploads::new(UPLOADS);
    let folder = directory();
    let run =
        aaws("s3 delete_incomplete_uploads --bucket b --report report.jsonl").within(folder.path()).endpoint(&uploads.server.url).run();
    assert_eq!(run.ok().json(), json!([]));
    assert_eq!(uploads.ids(), ["2", "5"], "a week is the default, and every page is read");
    let mut items: Vec<_> = report(&folder).iter().map(|line| line["item"].as_str().unwrap_or_default().to_owned()).collect();
    // They are settled side by side.
    items.sort();
    assert_eq!(items, ["a b+c?uploadId=1", "a b+c?uploadId=3", "logs/é?uploadId=4", "logs/é?uploadId=6"]);
    let pages = uploads.server.requests("ListMultipartUploads");
    // XML has no place for some of the characters that a key may have.
    assert!(pages.iter().all(|page| page.query("encoding-type").as_deref() == Some("url")), "keys are asked for as URLs have them");
}

#[test]
fn delete_incomplete_uploads_takes_a_prefix_and_an_age() {
    let uploads = Uploads::new(UPLOADS);
    let command = aaws("s3 delete_incomplete_uploads --bucket b --prefix logs/ --older_than 12h");
    assert_eq!(command.endpoint(&uploads.server.url).run().ok().json(), json!([]));
    assert_eq!(uploads.ids(), ["1", "2", "3"]);
}

#[test]
fn an_empty_prefix_is_none_that_delete_incomplete_uploads_takes() {
    let uploads = Uploads::new(UPLOADS);
    let command = aaws("s3 delete_incomplete_uploads --bucket b --prefix").arg("");
    command.endpoint(&uploads.server.url).run().exits(2).silent().logs("`prefix` is empty");
    assert_eq!(uploads.server.operations(), [""; 0]);
}

#[test]
fn a_dry_run_of_delete_incomplete_uploads_says_when_each_was_begun_and_that_its_size_is_not_known() {
    let uploads = Uploads::new(&UPLOADS[..1]);
    let plan = aaws("s3 delete_incomplete_uploads --bucket b --dry_run").endpoint(&uploads.server.url).run().ok().json();
    assert_eq!((&plan[0]["item"], &plan[0]["status"]), (&json!("a b+c?uploadId=1"), &json!("planned")));
    let message = plan[0]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("begun 20") && message.contains("its size is not known"), "{message}");
    assert_eq!(uploads.ids(), ["1"]);
}

#[test]
fn an_upload_that_ended_meanwhile_is_unchanged_for_delete_incomplete_uploads() {
    let server = Server::start(move |operation, _, request| match operation {
        "ListMultipartUploads" => page(&UPLOADS[..1], &request),
        _ => Response::error(404, "NoSuchUpload"),
    });
    let run = aaws("s3 delete_incomplete_uploads --bucket b").endpoint(&server.url).run().ok();
    assert_eq!(run.logs("1 unchanged").json(), json!([]));
}

#[test]
fn delete_incomplete_uploads_names_those_that_it_could_not_delete() {
    let server = Server::start(move |operation, _, request| match operation {
        "ListMultipartUploads" => page(&UPLOADS[..2], &request),
        _ => Response::error(403, "AccessDenied"),
    });
    let run = aaws("s3 delete_incomplete_uploads --bucket b").endpoint(&server.url).run().exits(3);
    assert_eq!(run.json(), json!(["a b+c?uploadId=1"]));
}

#[test]
fn delete_incomplete_uploads_on_a_bucket_that_does_not_exist_fails_as_a_whole() {
    let server = Server::start(|_, _, _| Response::error(404, "NoSuchBucket"));
    aaws("s3 delete_incomplete_uploads --bucket b").endpoint(&server.url).run().exits(1).logs("cannot list the uploads to the bucket `b`");
}

#[test]
fn young_uploads_count_as_looked_at_for_a_limit_in_percent() {
    let uploads = Uploads::new(&[("a", "1", 30), ("b", "2", 1), ("c", "3", 1), ("d", "4", 1)]);
    let run = |rest: &str| aaws(format!("s3 delete_incomplete_uploads --bucket b {rest}")).endpoint(&uploads.server.url).run();
    run("--max_percent 24").exits(4).silent().logs("1 of 4 items");
    run("--max_percent 24 --dry_run").ok().logs("a run would be refused: 1 of 4 items");
    assert_eq!(uploads.ids(), ["1", "2", "3", "4"]);
    run("--max_percent 25").ok();
    assert_eq!(uploads.ids(), ["2", "3", "4"]);
}

#[test]
fn delete_incomplete_uploads_works_on_moto() {
    let bucket = Bucket::new();
    bucket.begin_upload("begun/and left");
    bucket.begin_upload("other");
    let run = aaws("s3 delete_incomplete_uploads --prefix begun/ --bucket").arg(bucket.to_string()).run();
    assert_eq!(run.ok().json(), json!([]));
    assert_eq!(bucket.open_uploads(), 1);
}

#[test]
fn help_and_page_of_delete_incomplete_uploads_say_the_same_words() {
    let help = aaws("s3 delete_incomplete_uploads --help").stranger().endpoint("http://127.0.0.1:1").run().ok().stdout;
    let action = ::aaws::catalog::registry::find("s3/delete_incomplete_uploads").expect("the action");
    let usage = ::aaws::catalog::invocation::usage(&::aaws::catalog::manifest::Manifest::of(action));
    assert!(help.contains("--older_than <DURATION>") && help.contains("default: 7d"), "{help}");
    assert!(usage.contains(&"[--older_than DURATION]".to_owned()), "{usage:?}");
}
