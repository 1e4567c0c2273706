//! The CloudTrail actions, on an event history that is as strict as AWS's.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::aaws::Aaws;
use crate::support::fake_cloudtrail::{self, FakeCloudTrail, KEY, event, now};
use crate::support::{Output, aaws, shell};

const DAY: u64 = 86_400;

fn run(line: &str, trail: &FakeCloudTrail) -> Output {
    on(line, trail).run()
}

fn on(line: &str, trail: &FakeCloudTrail) -> Aaws {
    aaws(format!("cloudtrail {line}")).endpoint(&trail.server.url)
}

/// The ids of the events printed.
#[track_caller]
fn ids(output: &Output) -> Vec<String> {
    let events = output.json();
    let events = events.as_array().expect("a list").iter();
    events.map(|event| event["EventId"].as_str().expect("an id").to_owned()).collect()
}

/// RFC 3339 in UTC.
fn rfc3339(seconds: u64) -> String {
    Timestamp::from_second(i64::try_from(seconds).expect("a time")).expect("a time").to_string()
}

/// Five volumes detached, an hour apart, the newest first; by two users.
fn detached() -> Vec<Value> {
    let user = |n: u64| if n.is_multiple_of(2) { "alice" } else { "bob" };
    (0..5).map(|n| event(&format!("e{n}"), now() - 3600 * (n + 1), "DetachVolume", user(n), &["vol-1", &format!("i-{n}")])).collect()
}

// --- What is found ---

#[test]
fn a_table_shows_on_what_it_was_done_and_from_where() {
    let resources = ["vol-0123456789abcdef0", "i-0123456789abcdef0"];
    let trail = FakeCloudTrail::new((0..3).map(|n| event(&format!("e{n}"), now() - 60 * n, "DetachVolume", "alice", &resources)).collect());
    let command = on("discover_events --event DetachVolume --output table", &trail);
    let shown = command.on_terminal_with(&["--columns", "100", "--stderr", "/dev/null"], "").stdout;
    let header: Vec<&str> = shown.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(header[..5], ["UserName", "EventTime", "EventName", "Resources", "SourceIPAddress"], "{shown}");
    assert!(shown.contains("vol-0123456789abcdef") && !shown.contains("EventId  "), "{shown}");
}

#[test]
fn an_event_is_printed_with_all_that_is_known_of_it() {
    let time = now() - 60;
    let mut failed = event("e1", time, "DetachVolume", "alice", &["vol-1", "i-1"]);
    failed["CloudTrailEvent"] = json!({
        "awsRegion": "us-east-1", "errorCode": "Client.UnauthorizedOperation", "errorMessage": "You are not authorized", "sourceIPAddress": "192.0.2.1",
        "userAgent": "aws-cli/2.15", "userIdentity": {"arn": "arn:aws:iam::123456789012:user/alice"},
    })
    .to_string()
    .into();
    let trail = FakeCloudTrail::new(vec![failed, event("e2", time, "AttachVolume", "alice", &[])]);
    let output = run("discover_events --event DetachVolume", &trail).ok();
    let expected = json!([{
        "UserName": "alice", "EventTime": rfc3339(time), "EventName": "DetachVolume", "Resources": ["vol-1", "i-1"], "EventId": "e1",
        "EventSource": "ec2.amazonaws.com", "AwsRegion": "us-east-1", "ReadOnly": false, "UserArn": "arn:aws:iam::123456789012:user/alice",
        "ErrorCode": "Client.UnauthorizedOperation", "ErrorMessage": "You are not authorized", "SourceIPAddress": "192.0.2.1",
        "UserAgent": "aws-cli/2.15",
    }]);
    assert_eq!(output.json(), expected, "Resources is a list, EventTime is UTC");
}

#[test]
fn events_are_found_by_user_and_by_resource_newest_first() {
    let trail = FakeCloudTrail::new(detached());
    assert_eq!(ids(&run("discover_events --event DetachVolume", &trail).ok()), ["e0", "e1", "e2", "e3", "e4"]);
    assert_eq!(ids(&run("discover_user_events --user alice", &trail).ok()), ["e0", "e2", "e4"]);
    assert_eq!(ids(&run("discover_resource_events --resource_id vol-1", &trail).ok()), ["e0", "e1", "e2", "e3", "e4"]);
    assert_eq!(ids(&run("discover_resource_events --resource_id i-3", &trail).ok()), ["e3"]);
    assert_eq!(trail.values(), ["DetachVolume", "alice", "vol-1", "i-3"]);
}

#[test]
fn what_an_event_lacks_is_null_and_loses_nothing_else() {
    let time = now() - 60;
    let bare = json!({"EventId": "bare", "EventName": "X", "EventTime": time});
    let mut nameless = event("nameless", time - 1, "X", "alice", &[]);
    nameless["Resources"] = json!([{"ResourceType": "AWS::EC2::Volume"}, {"ResourceName": "vol-1"}]);
    nameless["CloudTrailEvent"] = "{not JSON".into();
    let odd =
        json!({"EventId": "odd", "EventName": "X", "EventTime": time - 2, "CloudTrailEvent": "{\"userIdentity\": null, \"new\": []}"});
    let trail = FakeCloudTrail::new(vec![bare, nameless, odd, event("whole", time - 3, "X", "alice", &["vol-1"])]);
    let output = run("discover_events --event X", &trail).ok();
    assert_eq!(ids(&output), ["bare", "nameless", "odd", "whole"]);
    let events = output.json();
    assert_eq!(events[0]["UserName"], Value::Null);
    assert_eq!(events[0]["Resources"], json!([]));
    assert_eq!(events[1]["Resources"], json!(["vol-1"]));
    assert_eq!(events[1]["ErrorCode"], Value::Null);
}

#[test]
fn one_attribute_is_looked_up_and_the_rest_is_filtered_here() {
    let time = now() - 60;
    let names = ["StartInstances", "StopInstances", "RunInstances"];
    let events = names.iter().enumerate().map(|(n, name)| event(&format!("e{n}"), time - n as u64, name, "alice", &["i-1"])).collect();
    let trail = FakeCloudTrail::new(events);
    let wanted = "--events StopInstances StartInstances";
    assert_eq!(ids(&run(&format!("discover_user_events --user alice {wanted}"), &trail).ok()), ["e0", "e1"]);
    assert_eq!(ids(&run(&format!("discover_resource_events --resource_id i-1 {wanted}"), &trail).ok()), ["e0", "e1"]);
    for lookup in trail.lookups() {
        assert_eq!(lookup["LookupAttributes"].as_array().map(Vec::len), Some(1), "{lookup}");
    }
}

#[test]
fn an_empty_list_of_operations_selects_none_and_asks_nothing() {
    let trail = FakeCloudTrail::new(detached());
    let key = format!("discover_access_key_events --access_key_ids {KEY}");
    for action in ["discover_user_events --user alice", key.as_str(), "discover_resource_events --resource_id vol-1"] {
        assert_eq!(run(&format!("{action} --events"), &trail).ok().json(), json!([]));
    }
    assert_eq!(trail.server.operations(), [""; 0]);
}

#[test]
fn an_empty_result_says_what_is_never_found() {
    let trail = FakeCloudTrail::new(Vec::new());
    let lines = [
        "discover_events --event GetObject",
        "discover_user_events --user nobody",
        "discover_access_key_events --access_key_ids AKIAI44QH8DHBEXAMPLE",
        "discover_resource_events --resource_id vol-9",
    ];
    for line in lines {
        let output = run(line, &trail).ok().logs("management events");
        assert_eq!(output.stdout, "[]\n");
        assert_eq!(run(&format!("{line} --silent"), &trail).ok().stderr, "");
    }
}

#[test]
fn an_arn_is_looked_up_whole_and_by_its_id_and_nothing_is_printed_twice() {
    let arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/web/50dc6c495c0c9188";
    let time = now() - 100;
    let trail = FakeCloudTrail::paged(
        vec![
            event("by-arn", time, "X", "alice", &[arn]),
            event("by-both", time - 1, "X", "alice", &[arn, "50dc6c495c0c9188"]),
            event("by-id", time - 2, "X", "alice", &["50dc6c495c0c9188"]),
            event("same-time-1", time - 3, "X", "alice", &[arn, "50dc6c495c0c9188"]),
            event("same-time-2", time - 3, "X", "alice", &[arn, "50dc6c495c0c9188"]),
            event("by-name", time - 4, "X", "alice", &["web"]),
        ],
        2,
        BTreeMap::new(),
    );
    let output = run(&format!("discover_resource_events --resource_id {arn}"), &trail).ok();
    assert_eq!(ids(&output), ["by-arn", "by-both", "by-id", "same-time-1", "same-time-2"]);
    let values = trail.values();
    assert!(values.iter().any(|v| v == arn) && values.iter().any(|v| v == "50dc6c495c0c9188"), "{values:?}");
}

#[test]
fn an_access_key_is_looked_up_by_its_id() {
    let other = "ASIAIOSFODNN7EXAMPLE";
    let mut leaked = event("leaked", now() - 60, "RunInstances", "session", &["i-1"]);
    leaked["AccessKeyId"] = other.into();
    let trail = FakeCloudTrail::new(vec![leaked, event("own", now() - 61, "RunInstances", "alice", &["i-2"])]);
    assert_eq!(ids(&run(&format!("discover_user_events --access_key_id {other}"), &trail).ok()), ["leaked"]);
    assert_eq!(ids(&run(&format!("discover_user_events --access_key_id {KEY} --events RunInstances"), &trail).ok()), ["own"]);
    assert_eq!(trail.lookups()[0]["LookupAttributes"][0]["AttributeKey"], "AccessKeyId");
    let asked = trail.lookups().len();
    for flags in ["", "--user alice --access_key_id AKIAIOSFODNN7EXAMPLE", "--access_key_id AKIA", "--access_key_id="] {
        run(&format!("discover_user_events {flags}"), &trail).exits(2).silent().logs("access_key_id");
    }
    assert_eq!(trail.lookups().len(), asked, "what is refused is not sent");
}

/// The id of a key that no event of the fake is signed with by itself.
const OTHER_KEY: &str = "ASIAIOSFODNN7EXAMPLE";

/// Two events of one key and two of another, a second apart, the newest first, in turn.
fn of_two_keys() -> Vec<Value> {
    let newest = now() - 60;
    let of = |(n, name, key): (u64, &str, &str)| {
        let mut event = event(&format!("e{n}"), newest - n, name, "alice", &["vol-1"]);
        event["AccessKeyId"] = key.into();
        event
    };
    let events = [(0, "RunInstances", KEY), (1, "RunInstances", OTHER_KEY), (2, "DetachVolume", KEY), (3, "DetachVolume", OTHER_KEY)];
    events.into_iter().map(of).collect()
}

#[test]
fn the_events_of_several_keys_come_in_one_list_newest_first() {
    let trail = FakeCloudTrail::paged(of_two_keys(), 1, BTreeMap::new());
    let both = format!("discover_access_key_events --access_key_ids {KEY} {OTHER_KEY}");
    let output = run(&format!("{both} --details"), &trail).ok();
    assert_eq!(ids(&output), ["e0", "e1", "e2", "e3"]);
    let keys: Vec<_> = output.json().as_array().expect("a list").iter().map(|event| event["AccessKeyId"].clone()).collect();
    assert_eq!(keys, [KEY, OTHER_KEY, KEY, OTHER_KEY], "with details each says whose it is");
    assert_eq!(ids(&run(&format!("{both} --events DetachVolume"), &trail).ok()), ["e2", "e3"]);
    assert_eq!(ids(&run(&format!("discover_access_key_events --access_key_ids {OTHER_KEY}"), &trail).ok()), ["e1", "e3"]);
    for lookup in trail.lookups() {
        assert_eq!(lookup["LookupAttributes"][0]["AttributeKey"], "AccessKeyId", "{lookup}");
    }
}

#[test]
fn a_key_that_is_given_twice_is_looked_up_once() {
    let trail = FakeCloudTrail::new(of_two_keys());
    assert_eq!(ids(&run(&format!("discover_access_key_events --access_key_ids {KEY} {KEY}"), &trail).ok()), ["e0", "e2"]);
    assert_eq!(trail.values(), [KEY]);
}

#[test]
fn keys_are_taken_as_details_print_them() {
    let trail = FakeCloudTrail::new(of_two_keys());
    let listed = json!([{"UserName": "alice", "AccessKeyId": OTHER_KEY, "Status": "Active"}]).to_string();
    let output = on("discover_access_key_events --access_key_ids -", &trail).stdin(listed).run().ok();
    assert_eq!(ids(&output), ["e1", "e3"]);
}

#[test]
fn what_is_no_key_is_refused_and_no_key_asks_nothing() {
    let trail = FakeCloudTrail::new(of_two_keys());
    for wrong in ["AKIA", "no-key-at-all-but-long-enough", "arn:aws:iam::123456789012:user/alice"] {
        let line = format!("discover_access_key_events --access_key_ids {KEY} {wrong}");
        run(&line, &trail).exits(2).silent().logs("access_key_ids").logs("is not the id of an access key");
    }
    run("discover_access_key_events", &trail).exits(2).silent().logs("access_key_ids");
    assert_eq!(run("discover_access_key_events --access_key_ids", &trail).ok().json(), json!([]));
    assert_eq!(trail.server.operations(), [""; 0]);
}

#[test]
fn a_key_whose_events_cannot_be_looked_up_ends_the_list() {
    let trail = FakeCloudTrail::paged(of_two_keys(), 50, BTreeMap::from([(2, "AccessDeniedException")]));
    let line = format!("discover_access_key_events --access_key_ids {KEY} {OTHER_KEY}");
    run(&line, &trail).exits(1).silent().logs("AccessDeniedException").logs(OTHER_KEY);
}

#[test]
fn details_have_the_access_key_the_issuer_of_the_session_and_the_parameters() {
    let role = "arn:aws:iam::123456789012:role/ops";
    let mut of_role = event("of-role", now() - 60, "DetachVolume", "session", &["vol-1"]);
    of_role["CloudTrailEvent"] = json!({
        "userIdentity": {
            "type": "AssumedRole", "arn": "arn:aws:sts::123456789012:assumed-role/ops/session", "accessKeyId": "ASIAEXAMPLE",
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": role, "userName": "ops"}},
        },
        "requestParameters": {"volumeId": "vol-1", "force": true},
    })
    .to_string()
    .into();
    of_role.as_object_mut().expect("an event").remove("AccessKeyId");
    let bare = json!({"EventId": "bare", "EventName": "DetachVolume", "EventTime": now() - 61});
    let trail = FakeCloudTrail::new(vec![of_role, bare]);
    let events = run("discover_events --event DetachVolume --details", &trail).ok().json();
    assert_eq!(events[0]["AccessKeyId"], "ASIAEXAMPLE", "from the record, where the event has none: {events}");
    assert_eq!(events[0]["SessionIssuer"], role);
    assert_eq!(events[0]["RequestParameters"], json!({"volumeId": "vol-1", "force": true}));
    for member in ["AccessKeyId", "SessionIssuer", "RequestParameters"] {
        assert_eq!(events[1].get(member), Some(&Value::Null), "{events}");
    }
    let plain = run("discover_events --event DetachVolume", &trail).ok().json();
    assert!(plain[0].get("RequestParameters").is_none() && plain[0].get("AccessKeyId").is_none(), "{plain}");
}

// --- Pages and rate ---

#[test]
fn pages_are_read_to_the_end() {
    let trail = FakeCloudTrail::paged(detached(), 2, BTreeMap::new());
    assert_eq!(ids(&run("discover_events --event DetachVolume", &trail).ok()), ["e0", "e1", "e2", "e3", "e4"]);
    assert_eq!(trail.lookups().len(), 3);
    assert_eq!(trail.lookups()[0]["MaxResults"], 50);
}

/// Twelve events, a second apart, the newest first.
fn twelve() -> (Vec<Value>, Vec<String>) {
    let ids: Vec<String> = (0..12).map(|n| format!("e{n}")).collect();
    let events = ids.iter().zip(60..).map(|(id, ago)| event(id, now() - ago, "X", "alice", &["r"])).collect();
    (events, ids)
}

#[test]
fn throttling_of_every_third_request_loses_nothing() {
    let (events, all) = twelve();
    let trail = FakeCloudTrail::spoiled(events, 1, |n| n.is_multiple_of(3).then(|| fake_cloudtrail::error("ThrottlingException")));
    assert_eq!(ids(&run("discover_events --event X", &trail).ok()), all);
    assert_eq!(trail.lookups().len(), 17, "each that was throttled is sent again, and no other");
}

#[test]
fn throttling_is_waited_for_however_often_it_comes() {
    let (events, all) = twelve();
    let trail = FakeCloudTrail::spoiled(events, 4, |n| (2..=9).contains(&n).then(|| fake_cloudtrail::error("ThrottlingException")));
    assert_eq!(ids(&run("discover_user_events --user alice", &trail).ok()), all);
}

#[test]
fn a_token_that_comes_again_ends_the_list_and_the_run_fails() {
    let again = |_: usize| {
        let page = json!({"Events": [event("e0", now() - 60, "X", "alice", &["r"])], "NextToken": "the same"});
        let headers = vec![("Content-Type".to_owned(), "application/x-amz-json-1.1".to_owned())];
        Some(crate::support::Response { status: 200, headers, body: page.to_string().into_bytes() })
    };
    let trail = FakeCloudTrail::spoiled(Vec::new(), 50, again);
    let output = run("discover_events --event X", &trail).exits(1).logs("where it was before");
    assert_eq!(ids(&output), ["e0", "e0"]);
    assert_eq!(trail.lookups().len(), 2, "it is not read for ever");
}

#[test]
fn events_are_printed_as_their_pages_come() {
    let events = (0..200).map(|n| event(&format!("e{n}"), now() - 60 - n, "X", "alice", &[])).collect();
    let trail = FakeCloudTrail::slow(events, 1, Duration::from_millis(300));
    let output = shell("aaws cloudtrail discover_events --event X --output jsonl | head -n 1").endpoint(&trail.server.url).run().ok();
    assert!(output.stdout.contains("\"e0\""), "{output}");
    assert!(trail.lookups().len() < 10, "the rest was not asked for: {}", trail.lookups().len());
}

#[test]
fn a_lookup_that_takes_too_long_can_be_stopped() {
    let events = (0..200).map(|n| event(&format!("e{n}"), now() - 60 - n, "X", "alice", &[])).collect();
    let trail = FakeCloudTrail::slow(events, 1, Duration::from_millis(300));
    let output = run("discover_events --event X --timeout 1s", &trail).exits(1).logs("timed out");
    let found = ids(&output).len();
    assert!((1..10).contains(&found), "what was found until then is printed: {output}");
}

#[test]
fn a_page_that_cannot_be_read_ends_the_list_and_the_run_fails() {
    let trail = FakeCloudTrail::paged(detached(), 2, BTreeMap::from([(2, "InvalidNextTokenException")]));
    let output = run("discover_events --event DetachVolume", &trail).exits(1).logs("InvalidNextTokenException").logs("DetachVolume");
    assert_eq!(ids(&output), ["e0", "e1"], "what was printed is whole");
}

// --- The window of time ---

#[test]
fn without_dates_all_of_the_history_is_looked_up() {
    let oldest = now() - 90 * DAY + 300;
    let trail = FakeCloudTrail::new(vec![event("old", oldest, "X", "alice", &["r"]), event("new", now() - 1, "X", "alice", &["r"])]);
    for line in ["discover_events --event X", "discover_user_events --user alice", "discover_resource_events --resource_id r"] {
        let output = on(line, &trail).env("TZ", "America/New_York").run().ok();
        assert_eq!(ids(&output), ["new", "old"], "neither end is lost, whatever the local clock: {output}");
    }
    for lookup in trail.lookups() {
        assert!(lookup.get("StartTime").is_none() && lookup.get("EndTime").is_none(), "{lookup}");
    }
}

#[test]
fn a_start_before_the_history_is_cut_off_with_a_note() {
    let trail = FakeCloudTrail::new(vec![event("e", now() - 89 * DAY, "X", "alice", &[])]);
    for start in ["90d", "2000d", "2020/01/31", "2020-01-31T00:00:00+02:00"] {
        let output = run(&format!("discover_events --event X --created_after {start}"), &trail).ok().logs("90 days");
        assert_eq!(ids(&output), ["e"], "{start}");
    }
    let output = run("discover_events --event X --created_after 89d", &trail).ok();
    assert!(!output.stderr.contains("warning"), "{output}");
}

#[test]
fn dates_are_half_open_and_sent_to_the_server() {
    let midnight = (now() / DAY - 10) * DAY;
    let at = |id: &str, time: u64| event(id, time, "X", "alice", &["r"]);
    let trail = FakeCloudTrail::new(vec![
        at("before", midnight - 1),
        at("first", midnight),
        at("last", midnight + DAY - 1),
        at("next", midnight + DAY),
    ]);
    let day = |time: u64| rfc3339(time)[..10].to_owned();
    let from = ["discover_events --event X", "discover_user_events --user alice", "discover_resource_events --resource_id r"];
    let (after, before) = (day(midnight), day(midnight + DAY));
    for line in from {
        for (after, before) in [(after.clone(), before.clone()), (after.replace('-', "/"), before.replace('-', "/"))] {
            let output = run(&format!("{line} --created_after {after} --created_before {before}"), &trail).ok();
            assert_eq!(ids(&output), ["last", "first"], "{output}");
        }
        let zoned = format!("{line} --created_after {after}T02:00:00+02:00 --created_before {before}T00:00:00Z");
        assert_eq!(ids(&run(&zoned, &trail).ok()), ["last", "first"], "a zone is understood");
    }
    for lookup in trail.lookups() {
        assert_eq!(lookup["StartTime"].as_f64(), Some(midnight as f64), "{lookup}");
        let end = lookup["EndTime"].as_f64().expect("an end");
        assert!((midnight + DAY) as f64 <= end && end <= (midnight + DAY + 1) as f64, "{lookup}");
    }
}

#[test]
fn a_window_that_can_hold_nothing_is_refused() {
    let trail = FakeCloudTrail::new(Vec::new());
    let tomorrow = rfc3339(now() + DAY);
    let lines = [
        ("--created_after 1d --created_before 2d".to_owned(), "created_before"),
        ("--created_after 2024-01-31 --created_before 2024-01-31".to_owned(), "created_before"),
        ("--created_before 100d".to_owned(), "created_before"),
        (format!("--created_after {tomorrow}"), "created_after"),
        ("--created_after yesterday".to_owned(), "created_after"),
    ];
    for (flags, field) in lines {
        let output = run(&format!("discover_events --event X {flags}"), &trail).exits(2).silent();
        assert!(output.stderr.contains(field), "{output}");
    }
    for line in ["discover_events --event=", "discover_user_events --user=", "discover_resource_events --resource_id="] {
        run(line, &trail).exits(2).silent().logs("is empty");
    }
    assert_eq!(trail.server.operations(), [""; 0]);
    run(&format!("discover_events --event X --created_before {tomorrow}"), &trail).ok();
}

// --- Regions and permissions ---

#[test]
fn looking_for_a_global_event_elsewhere_is_warned_of() {
    let trail = FakeCloudTrail::new(Vec::new());
    let elsewhere = [
        "discover_events --event CreateUser",
        "discover_user_events --user alice",
        "discover_resource_events --resource_id arn:aws:iam::123456789012:role/ops",
    ];
    for line in elsewhere {
        run(&format!("{line} --region eu-west-1"), &trail).ok().logs("--region us-east-1");
        let home = run(line, &trail).ok();
        assert!(!home.stderr.contains("warning"), "{home}");
    }
    run("discover_events --event CreateUser --region cn-northwest-1", &trail).ok().logs("--region cn-north-1");
    for line in ["discover_events --event RunInstances", "discover_resource_events --resource_id vol-1"] {
        let output = run(&format!("{line} --region eu-west-1"), &trail).ok();
        assert!(!output.stderr.contains("warning"), "{output}");
    }
    let signed = trail.server.requests("LookupEvents");
    assert_eq!(signed[0].signed_region(), Some("eu-west-1"));
}

#[test]
fn a_resource_of_another_region_is_warned_of() {
    let trail = FakeCloudTrail::new(Vec::new());
    let arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders";
    run(&format!("discover_resource_events --resource_id {arn}"), &trail).ok().logs("--region eu-west-1");
}

#[test]
fn a_denial_names_the_permission_that_is_needed() {
    let trail = FakeCloudTrail::paged(detached(), 50, BTreeMap::from([(1, "AccessDeniedException")]));
    let output = run("discover_events --event DetachVolume", &trail).exits(1).silent();
    output.logs("AccessDeniedException").logs("aaws permissions cloudtrail discover_events");
    for action in ["discover_events", "discover_user_events", "discover_access_key_events", "discover_resource_events"] {
        let policy = aaws(format!("permissions cloudtrail {action}")).run().ok().json();
        let expected = json!([{"Effect": "Allow", "Action": ["cloudtrail:LookupEvents"], "Resource": ["*"]}]);
        assert_eq!(policy["Statement"], expected);
    }
}

#[test]
fn the_call_declared_is_the_call_made() {
    let trail = FakeCloudTrail::new(detached());
    for line in ["discover_events --event X", "discover_user_events --user alice", "discover_resource_events --resource_id r"] {
        run(&format!("{line} --debug"), &trail).ok().logs("made cloudtrail:LookupEvents 1 times");
    }
    assert!(trail.server.operations().iter().all(|name| name == "LookupEvents"));
}

#[cfg(feature = "general")]
#[test]
fn a_date_that_get_date_prints_is_never_in_the_future_whatever_the_time_zone() {
    let trail = FakeCloudTrail::new(Vec::new());
    for zone in ["America/New_York", "Pacific/Kiritimati"] {
        for format in ["iso", "datetime"] {
            let now = aaws(format!("general get_date --format {format} --output text")).env("TZ", zone).run().ok();
            on("discover_events --event X --created_before", &trail).arg(now.stdout.trim_end()).env("TZ", zone).run().ok();
            on("discover_events --event X --created_after", &trail).arg(now.stdout.trim_end()).env("TZ", zone).run().ok();
        }
    }
}

#[test]
fn the_fake_is_as_strict_as_aws() {
    // So that the tests above mean something: a start before the history is an error there.
    let trail = FakeCloudTrail::new(Vec::new());
    let body = json!({"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "X"}], "StartTime": now() - 91 * DAY});
    let request = crate::support::http::Request::new("POST", "/", body.to_string().as_bytes())
        .with_header("X-Amz-Target", "CloudTrail_20131101.LookupEvents");
    let reply = crate::support::http::send(&trail.server.url, &request).expect("an answer");
    assert_eq!(reply.text(), fake_cloudtrail::error("InvalidTimeRangeException").text());
}
