//! Listings while answers go wrong on their way: whatever happens, a listing is whole, or it is an error. It is never short in silence.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use crate::support::http::{Request, Response};
use crate::support::key_space::{KeySpace, Ways, names};
use crate::support::{Output, aaws, fake_s3};

/// How many listings; as many again and more are made without a program, where the walk is tested.
const RUNS: u64 = 20;

/// Enough for a dozen pages, so that they are asked for from several places at once.
const KEYS: usize = 12_000;

/// What may become of an answer.
const FAULTS: [fn(&mut Rng, &Request, Response) -> Response; 6] = [
    |_, _, _| Response::error(503, "SlowDown"),
    |_, _, _| Response::dropped(),
    // The connection breaks within the body.
    |rng, _, answer| {
        let sent = rng.usize(..answer.body.len());
        answer.cut_off(sent)
    },
    // The body ends early, and nothing else says so.
    |rng, _, answer| Response::xml(200, answer.text().chars().take(rng.usize(..answer.body.len())).collect::<String>()),
    |_, _, _| Response::error(200, "InternalError"),
    // The token that it was asked for comes again.
    |_, request, answer| match (request.query("continuation-token"), answer.text()) {
        (Some(token), text) => Response::xml(200, with_token(&text, &token)),
        (None, text) => Response::xml(200, text),
    },
];

/// Where the faults stand that a listing gets over.
const PASSING: usize = 5;

fn with_token(text: &str, token: &str) -> String {
    let (open, close) = ("<NextContinuationToken>", "</NextContinuationToken>");
    let parts = text.split_once(open).and_then(|(before, rest)| Some((before, rest.split_once(close)?.1)));
    parts.map_or_else(|| text.to_owned(), |(before, after)| format!("{before}{open}{token}{close}{after}"))
}

/// What is listed, a key a line; the keys of a summary are counted.
enum Listed {
    Keys(Vec<String>),
    Count(Option<usize>),
}

fn listed(output: &Output, summary: bool) -> Listed {
    match summary {
        false => Listed::Keys(output.stdout.lines().map(|line| serde_json::from_str(line).expect("a key")).collect()),
        true if output.stdout.is_empty() => Listed::Count(None),
        true => Listed::Count(output.json()["Objects"].as_u64().and_then(|count| usize::try_from(count).ok())),
    }
}

#[test]
fn while_answers_go_wrong_a_listing_is_whole_or_an_error() {
    let met: Arc<[AtomicUsize; FAULTS.len()]> = Arc::default();
    let (mut whole, mut failed) = (0, 0);
    for seed in 0..RUNS {
        // Every fourth has one page that is never whole, and every fifth has tokens that come again.
        let (never_whole, tokens, summary) = (seed % 4 == 3, seed % 5 == 4, seed % 3 == 2);
        let (chance, counts) = (Mutex::new(Rng::with_seed(seed)), Arc::clone(&met));
        let store = KeySpace::spoiled(names("dates", KEYS), Ways::S3, Duration::ZERO, move |request, answer| {
            if never_whole && let Some((before, _)) = answer.text().split_once("logs/2024/06/15/part-000017.gz</Key>") {
                return Response::xml(200, before);
            }
            let mut rng = chance.lock().expect("the lock");
            let fault = match rng.u8(..100) {
                ..25 => rng.usize(..PASSING),
                ..45 if tokens => PASSING,
                _ => return answer,
            };
            counts[fault].fetch_add(1, Ordering::Relaxed);
            FAULTS[fault](&mut rng, request, answer)
        });
        let flags = if summary { "--summary" } else { "--output jsonl" };
        let line = format!("s3 discover_objects --bucket b --concurrency 8 {flags}");
        let output = aaws(line).endpoint(&store.server.url).run();
        match output.code {
            Some(0) => {
                match listed(&output, summary) {
                    Listed::Keys(keys) => assert!(keys == *store.keys, "run {seed}: {} keys, and not the right ones", keys.len()),
                    Listed::Count(count) => assert_eq!(count, Some(KEYS), "run {seed}"),
                }
                assert!(!never_whole, "run {seed}: a page was never whole");
                whole += 1;
            }
            Some(1) => {
                match listed(&output, summary) {
                    Listed::Keys(keys) => assert!(store.keys.starts_with(&keys), "run {seed}: not the beginning of the list"),
                    Listed::Count(count) => assert_eq!(count, None, "run {seed}: there is no sum of what was not read"),
                }
                assert!(!output.stderr.is_empty(), "run {seed} failed in silence");
                failed += 1;
            }
            _ => panic!("run {seed}: {output}"),
        }
    }
    let met: Vec<usize> = met.iter().map(|times| times.load(Ordering::Relaxed)).collect();
    assert!(met.iter().all(|times| *times > 0), "some faults never came: {met:?}");
    assert!(whole > 0 && failed > 0, "{whole} were whole, and {failed} failed; {met:?}");
}

#[test]
fn an_answer_that_is_torn_is_asked_for_again_and_is_an_error_in_the_end() {
    let whole = fake_s3::listing(&[("a", "2024-01-01T00:00:00.000Z"), ("b", "2024-01-01T00:00:00.000Z")], None);
    let torn = Response::xml(200, whole.text().split_once("<Key>b").expect("the second key").0);
    let healed = fake_s3::scripted([("ListObjectsV2", vec![torn.clone(), whole])]);
    let listed = aaws("s3 discover_objects --bucket b").endpoint(&healed.url).run().ok();
    assert_eq!(listed.json(), serde_json::json!(["a", "b"]));

    let broken = fake_s3::scripted([("ListObjectsV2", vec![torn])]);
    let run = aaws("s3 discover_objects --bucket b").endpoint(&broken.url).run().exits(1).silent();
    run.logs("UnreadableAnswer").logs("HTTP 200").logs("it ends in the middle");
    assert_eq!(broken.count("ListObjectsV2"), 5);
}

#[test]
fn versions_that_are_torn_are_no_shorter_list() {
    let whole = "<ListVersionsResult><IsTruncated>false</IsTruncated><Version><Key>a</Key><VersionId>1</VersionId><IsLatest>true</IsLatest>\
                 </Version></ListVersionsResult>";
    let torn = whole.split_once("<Version>").expect("a version").0;
    let server = fake_s3::scripted([("ListObjectVersions", vec![Response::xml(200, torn)])]);
    let run = aaws("s3 discover_objects --bucket b --versions").endpoint(&server.url).run().exits(1).silent();
    run.logs("UnreadableAnswer").logs("it ends in the middle");
    let server = fake_s3::scripted([("ListObjectVersions", vec![Response::xml(200, torn), Response::xml(200, whole)])]);
    let run = aaws("s3 discover_objects --bucket b --versions").endpoint(&server.url).run().ok();
    assert_eq!(run.json()[0]["VersionId"], "1");
}
