//! discover_instances, discover_no_ssm_instances, discover_images, discover_snapshots and discover_volumes: what is asked of EC2, and what of its
//! answers is printed. What is found by its tags is in `tags.rs`, and unused security groups are in `groups.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::aaws::Aaws;
use crate::support::ec2::{World, writes};
use crate::support::http::Request;
use crate::support::proxy::{Proxy, error};
use crate::support::{Response, Server, aaws, directory, report, xml};

// --- What the tests share ---

/// The five listings, the operation that each asks for, and its list of ids.
const LISTINGS: [(&str, &str, &str); 5] = [
    ("discover_instances", "DescribeInstances", "instance_ids"),
    ("discover_no_ssm_instances", "DescribeInstances", "instance_ids"),
    ("discover_images", "DescribeImages", "image_ids"),
    ("discover_snapshots", "DescribeSnapshots", "snapshot_ids"),
    ("discover_volumes", "DescribeVolumes", "volume_ids"),
];

fn ec2(world: &World, line: &str) -> Aaws {
    world.aaws(format!("ec2 {line}"))
}

fn via(world: &World, server: &Server, line: &str) -> Aaws {
    world.aaws_via(server, format!("ec2 {line}"))
}

/// A run with its whole input as JSON, which can say what flags cannot.
fn with_input(world: &World, server: &Server, action: &str, input: &Value) -> Aaws {
    via(world, server, &format!("{action} --input")).arg(input.to_string())
}

/// What a run prints, which must succeed.
#[track_caller]
fn found(run: Aaws) -> Vec<String> {
    serde_json::from_value(run.run().ok().json()).expect("a list of ids")
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// One of everything that is listed: an instance, an image of it, a snapshot and a volume. Their ids in the order of [`LISTINGS`].
fn one_of_each(world: &World) -> [String; 5] {
    let machine = world.instance(&[]);
    let volume = world.volume(&[]);
    [machine.id.clone(), machine.id.clone(), world.image(&machine.id), world.snapshot(&volume), volume]
}

/// The filters of a request.
fn filters(request: &Request) -> Vec<(String, Vec<String>)> {
    let form = request.text();
    let pairs: Vec<(&str, String)> =
        form.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name, xml::percent_decode(value))).collect();
    let values = |start: String| {
        let is_one = |name: &str| name.strip_prefix(&start).is_some_and(|n| n.parse::<usize>().is_ok());
        pairs.iter().filter(|(name, _)| is_one(name)).map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let filter = |number: usize| {
        let (_, name) = pairs.iter().find(|(name, _)| *name == format!("Filter.{number}.Name"))?;
        Some((name.clone(), values(format!("Filter.{number}.Value."))))
    };
    (1..).map_while(filter).collect()
}

/// An answer that lists these items, and says whether there are more.
fn page(operation: &str, set: &str, items: &str, next: Option<&str>) -> Response {
    let next = next.map(|token| format!("<nextToken>{token}</nextToken>")).unwrap_or_default();
    Response::xml(200, format!("<{operation}Response><{set}>{items}</{set}>{next}</{operation}Response>"))
}

/// A running instance, as DescribeInstances tells of it, in a reservation of its own.
fn instance(id: &str, more: &str) -> String {
    format!(
        "<item><reservationId>r-{id}</reservationId><instancesSet><item><instanceId>{id}</instanceId>\
         <instanceState><code>16</code><name>running</name></instanceState>{more}</item></instancesSet></item>"
    )
}

/// The set that an operation lists, and an item of it.
fn listed(operation: &str, id: &str) -> (&'static str, String) {
    match operation {
        "DescribeInstances" => ("reservationSet", instance(id, "")),
        "DescribeImages" => ("imagesSet", format!("<item><imageId>{id}</imageId></item>")),
        "DescribeSnapshots" => ("snapshotSet", format!("<item><snapshotId>{id}</snapshotId><storageTier>archive</storageTier></item>")),
        _ => ("volumeSet", format!("<item><volumeId>{id}</volumeId></item>")),
    }
}

/// What Systems Manager answers.
fn agents(list: &Value, next: Option<&str>) -> Response {
    let mut body = json!({ "InstanceInformationList": list });
    if let Some(token) = next {
        body["NextToken"] = json!(token);
    }
    let headers = vec![("Content-Type".to_owned(), "application/x-amz-json-1.1".to_owned())];
    Response { status: 200, headers, body: body.to_string().into_bytes() }
}

// --- All of them ---

#[test]
fn an_empty_list_of_ids_is_nothing_and_asks_nothing() {
    let world = World::new();
    one_of_each(&world);
    for (action, _, list) in LISTINGS {
        let server = world.proxy().start();
        let output = with_input(&world, &server, action, &json!({ list: [] })).run().ok();
        assert_eq!(output.json(), json!([]), "{output}");
        assert_eq!(server.operations(), [""; 0], "{output}");
        // A flag without a value, as an empty variable of a shell leaves it.
        let output = via(&world, &server, &format!("{action} --{list}")).run().ok();
        assert_eq!(output.json(), json!([]), "{output}");
        assert_eq!(server.operations(), [""; 0], "{output}");
    }
}

#[test]
fn ids_that_do_not_exist_fail_and_the_rest_is_answered_in_the_order_given() {
    let world = World::new();
    for ((action, operation, list), id) in LISTINGS.into_iter().zip(one_of_each(&world)) {
        let kind = id.split('-').next().expect("an id");
        let missing = format!("{kind}-0000000000000bad0");
        let server = world.proxy().start();
        let directory = directory();
        let line = format!("{action} --{list} {missing} {id} no-such-id {id} --report report.jsonl");
        let output = via(&world, &server, &line).within(directory.path()).run().exits(3).logs(&missing).logs("no-such-id");
        assert_eq!(output.json(), json!([id]), "each once: {output}");
        let failed: Vec<_> = report(&directory).iter().map(|line| (line["item"].clone(), line["status"].clone())).collect();
        assert_eq!(failed, [(json!(missing), json!("failed")), (json!("no-such-id"), json!("failed"))], "{action}");
        // Asked for by filter: one unknown id makes EC2 refuse a request that names it otherwise.
        let requests = server.requests(operation);
        assert_eq!(requests.len(), 1, "{action}");
        assert!(filters(&requests[0]).iter().any(|(_, values)| values.contains(&missing) && values.contains(&id)), "{action}");
    }
}

#[test]
fn ids_are_looked_up_two_hundred_a_request() {
    let world = World::new();
    let id = world.instance(&[]).id;
    let ids: String = (0..200).map(|n| format!("i-{n:017x}\n")).chain([format!("{id}\n")]).collect();
    let server = world.proxy().start();
    let output = via(&world, &server, "discover_instances --instance_ids -").stdin(&ids).run().exits(3);
    assert_eq!(output.json(), json!([id]));
    let sizes: Vec<usize> = server.requests("DescribeInstances").iter().map(|r| filters(r)[0].1.len()).collect();
    assert_eq!(sizes, [200, 1]);
}

#[test]
fn all_pages_are_read_and_none_without_its_token() {
    let world = World::new();
    for (action, operation, _) in LISTINGS {
        let rule = move |_: usize, request: &mut Request| {
            let second = request.text().contains("NextToken=page-2");
            let (set, item) = listed(operation, if second { "x-2" } else { "x-1" });
            Some(page(operation, set, &item, (!second).then_some("page-2")))
        };
        let server = world.proxy().rule(operation, rule).start();
        let output = via(&world, &server, action).run().ok();
        assert_eq!(output.json(), json!(["x-1", "x-2"]), "{output}");
        let tokens: Vec<bool> = server.requests(operation).iter().map(|r| r.text().contains("NextToken=page-2")).collect();
        assert_eq!(tokens, [false, true], "{action}");
        assert!(server.requests(operation)[0].text().contains("MaxResults="), "{action}: pages are asked for");
    }
}

#[test]
fn a_token_that_comes_again_ends_a_listing_as_an_error() {
    let world = World::new();
    for (action, operation, _) in LISTINGS {
        let rule = move |_: usize, _: &mut Request| {
            let (set, item) = listed(operation, "x-1");
            Some(page(operation, set, &item, Some("again")))
        };
        let server = world.proxy().rule(operation, rule).start();
        via(&world, &server, action).run().exits(1).logs("where it was before");
        assert_eq!(server.count(operation), 2, "{action}");
    }
}

/// EC2 with five pages of two things for each listing, `x-0` to `x-9`, and how many requests it had at once at most.
fn five_pages() -> (Server, Arc<AtomicUsize>) {
    let (most, now) = (Arc::<AtomicUsize>::default(), AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let server = Server::start(move |operation, _, request| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(10));
        let number: usize = request.parameter("NextToken").map_or(0, |token| token.parse().expect("a token of ours"));
        let (set, first) = listed(operation, &format!("x-{}", 2 * number));
        let (_, second) = listed(operation, &format!("x-{}", 2 * number + 1));
        let next = (number < 4).then(|| (number + 1).to_string());
        now.fetch_sub(1, Ordering::SeqCst);
        page(operation, set, &format!("{first}{second}"), next.as_deref())
    });
    (server, most)
}

#[test]
fn who_wants_one_row_asks_for_no_more_than_one_page_behind_it() {
    for (action, operation, _) in LISTINGS.into_iter().filter(|(action, ..)| *action != "discover_no_ssm_instances") {
        let (server, _) = five_pages();
        let output = aaws(format!("ec2 {action} --limit 1")).endpoint(&server.url).run().ok();
        assert_eq!(output.json(), json!(["x-0"]), "{action}");
        assert!((1..=2).contains(&server.count(operation)), "{action}: {:?}", server.operations());
    }
}

/// Pages that are asked for ahead are requests as all are: with a listing of volumes behind one of snapshots, and one of images behind that.
#[test]
fn one_request_at_a_time_is_one_though_pages_are_asked_for_ahead() {
    let (server, most) = five_pages();
    let output = aaws("ec2 discover_snapshots --orphaned --concurrency 1").endpoint(&server.url).run().ok();
    assert_eq!(output.json(), json!((0..10).map(|n| format!("x-{n}")).collect::<Vec<_>>()));
    assert_eq!((server.operations().len(), most.load(Ordering::SeqCst)), (15, 1), "{:?}", server.operations());
}

#[test]
fn an_error_of_a_page_comes_behind_all_rows_before_it() {
    for (action, operation, _) in LISTINGS.into_iter().filter(|(action, ..)| *action != "discover_no_ssm_instances") {
        let (pages, _) = five_pages();
        let server = Proxy::to(&pages.url).fail(operation, 3, 403, "UnauthorizedOperation").start();
        let output = aaws(format!("ec2 {action} --output jsonl")).endpoint(&server.url).run().exits(1).logs("UnauthorizedOperation");
        assert_eq!(output.stdout.lines().collect::<Vec<_>>(), ["\"x-0\"", "\"x-1\"", "\"x-2\"", "\"x-3\""], "{action}");
        assert_eq!(server.count(operation), 3, "{action}: what comes behind an error is not asked for");
    }
}

/// An account may hide them, and what is hidden would be taken for what is not there.
#[test]
fn what_a_service_manages_is_listed_too() {
    let world = World::new();
    let volume = world.volume(&[]);
    for (line, operation) in [
        ("discover_instances".to_owned(), "DescribeInstances"),
        ("discover_volumes".to_owned(), "DescribeVolumes"),
        (format!("discover_volumes --volume_ids {volume}"), "DescribeVolumes"),
        (format!("create_snapshots --volume_ids {volume} --dry_run"), "DescribeVolumes"),
        (format!("delete_volumes --volume_ids {volume} --dry_run"), "DescribeVolumes"),
    ] {
        let server = world.proxy().start();
        via(&world, &server, &line).run().ok();
        let asked = server.requests(operation);
        assert!(!asked.is_empty() && asked.iter().all(|r| r.text().contains("IncludeManagedResources=true")), "{line}");
    }
}

#[test]
fn a_listing_that_is_denied_fails_as_a_whole_on_whatever_page() {
    let world = World::new();
    for (action, operation, _) in LISTINGS {
        let server = world.proxy().refuse(operation, 403, "UnauthorizedOperation").start();
        via(&world, &server, action).run().exits(1).logs("UnauthorizedOperation");
        let rule = move |n: usize, _: &mut Request| {
            let (set, item) = listed(operation, "x-1");
            (n == 1).then(|| page(operation, set, &item, Some("page-2")))
        };
        let server = world.proxy().rule(operation, rule).refuse(operation, 403, "UnauthorizedOperation").start();
        let output = via(&world, &server, action).run().exits(1).logs("UnauthorizedOperation");
        assert!(output.stdout.is_empty() || output.json() == json!(["x-1"]), "{output}");
        assert_eq!(server.count(operation), 2, "{output}");
    }
}

#[test]
fn a_dry_run_of_a_listing_is_the_listing() {
    let world = World::new();
    for ((action, ..), id) in LISTINGS.into_iter().zip(one_of_each(&world)) {
        let server = world.proxy().start();
        let listed = found(via(&world, &server, &format!("{action} --dry_run")));
        assert!(listed.contains(&id), "{action}: {listed:?}");
        assert_eq!(listed, found(via(&world, &server, action)));
        assert_eq!(writes(&server), [""; 0]);
    }
}

/// Some SDKs make of an empty list of filters one that EC2 refuses.
#[test]
fn what_is_not_asked_for_is_not_sent() {
    let world = World::new();
    for (action, operation, _) in LISTINGS {
        let server = world.proxy().start();
        via(&world, &server, action).run().ok();
        for request in server.requests(operation) {
            let filters = filters(&request);
            assert!(filters.iter().all(|(_, values)| !values.is_empty()), "{action}: {filters:?}");
            // Only the state of instances is always asked for.
            assert!(filters.iter().all(|(name, _)| name == "instance-state-name"), "{action}: {filters:?}");
            assert!(["Filter=", "Filter.1=", "Id.1", "Id="].iter().all(|member| !request.text().contains(member)), "{action}");
        }
    }
}

// --- discover_instances ---

#[test]
fn instances_are_kept_by_their_states_and_terminated_ones_only_when_asked_for() {
    let world = World::new();
    let (running, stopped, gone) = (world.instance(&[]).id, world.instance(&[]).id, world.instance(&[]).id);
    world.stop(&stopped);
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone)]);
    let all = format!("{running} {stopped} {gone}");
    for ids in [String::new(), format!(" --instance_ids {all}")] {
        let found = |states: &str| sorted(found(ec2(&world, &format!("discover_instances{ids} {states}"))));
        assert_eq!(found(""), sorted(vec![running.clone(), stopped.clone()]));
        assert_eq!(found("--states stopped"), [stopped.as_str()]);
        assert_eq!(found("--states terminated running"), sorted(vec![running.clone(), gone.clone()]));
        assert_eq!(found("--states shutting-down"), [""; 0]);
    }
    ec2(&world, "discover_instances --states asleep").run().exits(2).logs("shutting-down");
}

#[test]
fn empty_states_and_tags_are_nothing_inverted_or_not() {
    let world = World::new();
    world.instance(&[]);
    let server = world.proxy().start();
    for list in ["states", "tags"] {
        for invert in [false, true] {
            let output = with_input(&world, &server, "discover_instances", &json!({ list: [], "invert": invert })).run().ok();
            assert_eq!(output.json(), json!([]), "{output}");
        }
        assert_eq!(found(via(&world, &server, &format!("discover_instances --{list}"))), [""; 0]);
    }
    assert_eq!(server.operations(), [""; 0]);
}

/// E33: what is inverted goes on to delete_instances, so that it must not hold what nobody gave.
#[test]
fn invert_is_the_rest_of_the_given_instances_in_the_given_states() {
    let world = World::new();
    let windows = &[("ImageId", "ami-12c6146b")];
    let (both, tagged, neither) = (world.instance(windows).id, world.instance(&[]).id, world.instance(&[]).id);
    let (stopped, gone, outside) = (world.instance(&[]).id, world.instance(&[]).id, world.instance(&[]).id);
    world.tag(&both, "Env", "prod");
    world.tag(&tagged, "Env", "prod");
    world.stop(&stopped);
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone)]);
    let given = format!("discover_instances --invert --instance_ids {gone} {stopped} {neither} {tagged} {both}");
    // One that lacks any of the properties does not match.
    assert_eq!(found(ec2(&world, &format!("{given} --tags Env=prod --os windows"))), [stopped.clone(), neither.clone(), tagged]);
    assert_eq!(found(ec2(&world, &format!("{given} --tags Env --states running"))), [neither.as_str()]);
    assert_eq!(found(ec2(&world, &format!("{given} --tags Env --states terminated"))), [gone]);
    // Without ids it is of all instances, and of the states all the same.
    let all = found(ec2(&world, "discover_instances --invert --tags Env --states running"));
    assert_eq!(sorted(all), sorted(vec![neither, outside]));
    // All instances match no filter: the rest of them is none.
    assert_eq!(found(ec2(&world, &given)), [""; 0]);
}

#[test]
fn a_tag_is_split_at_its_first_equals_sign_and_its_empty_value_is_one() {
    let world = World::new();
    let (empty, full, without) = (world.instance(&[]).id, world.instance(&[]).id, world.instance(&[]).id);
    world.tag(&empty, "Link", "");
    world.tag(&full, "Link", "https://x?a=b");
    let found = |tags: &str| sorted(found(ec2(&world, &format!("discover_instances --tags {tags}"))));
    assert_eq!(found("Link="), [empty.as_str()]);
    assert_eq!(found("Link=https://x?a=b"), [full.as_str()]);
    assert_eq!(found("Link"), sorted(vec![empty.clone(), full.clone()]));
    assert_eq!(found("Link= --invert"), sorted(vec![full, without]));
    // No wildcards: those are EC2's.
    assert_eq!(found("Link=https*"), [""; 0]);
    ec2(&world, "discover_instances --tags =prod").run().exits(2).logs("=prod");
}

#[test]
fn an_empty_value_is_no_any_value_and_all_tags_must_match() {
    let world = World::new();
    let (full, empty) = (world.instance(&[]).id, world.instance(&[]).id);
    world.tag(&full, "Owner", "me");
    world.tag(&full, "Env", "prod");
    world.tag(&empty, "Owner", "");
    let found = |tags: &str| found(ec2(&world, &format!("discover_instances --tags {tags}")));
    assert_eq!(found("Owner="), [empty]);
    assert_eq!(found("Owner").len(), 2);
    assert_eq!(found("Owner Env=prod"), [full]);
    assert_eq!(found("Owner Env=test"), [""; 0]);
    assert_eq!(found("owner"), [""; 0], "keys are compared in their very case");
}

#[test]
fn an_operating_system_is_one_of_two_and_judged_without_ec2s_filter() {
    let world = World::new();
    let item = |id: &str, platform: &str, details: &str, kind: &str| {
        instance(id, &format!("{platform}<platformDetails>{details}</platformDetails><instanceType>{kind}</instanceType>"))
    };
    let items = [
        item("i-win", "<platform>windows</platform>", "Windows with SQL Server Standard", "m7i.large"),
        item("i-odd", "<platform>Windows</platform>", "Windows", "m7i.large"),
        item("i-linux", "", "Linux/UNIX", "t3.micro"),
        item("i-rhel", "<platform/>", "Red Hat Enterprise Linux", "t3.micro"),
        item("i-ubuntu", "", "Ubuntu Pro", "t3.micro"),
        item("i-mac", "", "Linux/UNIX", "mac2-m2.metal"),
    ]
    .concat();
    let rule = move |_: usize, _: &mut Request| Some(page("DescribeInstances", "reservationSet", &items, None));
    let server = world.proxy().rule("DescribeInstances", rule).start();
    assert_eq!(found(via(&world, &server, "discover_instances --os windows")), ["i-win", "i-odd"]);
    assert_eq!(found(via(&world, &server, "discover_instances --os linux")), ["i-linux", "i-rhel", "i-ubuntu"]);
    assert_eq!(found(via(&world, &server, "discover_instances --os linux --invert")), ["i-win", "i-odd", "i-mac"]);
    let asked = server.requests("DescribeInstances");
    assert_eq!(asked.len(), 3, "one listing each");
    assert!(asked.iter().all(|r| filters(r).iter().all(|(name, _)| name == "instance-state-name")));
    // Another spelling is no operating system that no instance has.
    via(&world, &server, "discover_instances --os Linux").run().exits(2).logs("linux");
}

/// E33: the addresses that EC2 tells of the instance itself are those of one interface only.
#[test]
fn a_public_address_on_any_interface_makes_an_instance_public() {
    let world = World::new();
    let interfaces = |of: &[&str]| {
        let items: String = of.iter().map(|inner| format!("<item>{inner}</item>")).collect();
        format!("<networkInterfaceSet>{items}</networkInterfaceSet>")
    };
    let private = "<privateIpAddress>10.0.0.4</privateIpAddress>";
    let elastic = "<association><publicIp>203.0.113.7</publicIp></association>";
    let six = |address: &str| format!("<ipv6AddressesSet><item><ipv6Address>{address}</ipv6Address></item></ipv6AddressesSet>");
    let second = format!(
        "{private}<privateIpAddressesSet><item>{private}</item><item><privateIpAddress>10.0.0.5</privateIpAddress>{elastic}</item>\
         </privateIpAddressesSet>"
    );
    let items = [
        instance("i-own", "<ipAddress>203.0.113.9</ipAddress>"),
        instance("i-none", &format!("<ipAddress/>{}", interfaces(&[private]))),
        instance("i-second-interface", &interfaces(&[private, elastic])),
        instance("i-second-address", &interfaces(&[second.as_str()])),
        instance("i-six", &interfaces(&[private, six("2600:1f18::1").as_str()])),
        instance("i-local-six", &interfaces(&[six("fd00:ec2::254").as_str()])),
    ]
    .concat();
    let rule = move |_: usize, _: &mut Request| Some(page("DescribeInstances", "reservationSet", &items, None));
    let server = world.proxy().rule("DescribeInstances", rule).start();
    let public = ["i-own", "i-second-interface", "i-second-address", "i-six"];
    assert_eq!(found(via(&world, &server, "discover_instances --public")), public);
    assert_eq!(found(via(&world, &server, "discover_instances --public --invert")), ["i-none", "i-local-six"]);
}

// --- discover_no_ssm_instances ---

/// E34: Systems Manager reaches no stopped instance, so that none of them lacks it.
#[test]
fn only_running_instances_can_lack_systems_manager() {
    let world = World::new();
    let (running, stopped, gone) = (world.instance(&[]).id, world.instance(&[]).id, world.instance(&[]).id);
    world.stop(&stopped);
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone)]);
    assert_eq!(found(ec2(&world, "discover_no_ssm_instances")), [running.as_str()]);
    let given = format!("discover_no_ssm_instances --instance_ids {gone} {stopped} {running}");
    assert_eq!(found(ec2(&world, &given)), [running], "those that do not run are left out, and are no failures");
}

/// E34: nodes that are no instances come in the same list.
#[test]
fn agents_that_do_not_answer_count_as_missing_with_their_reason() {
    let world = World::new();
    let ids: Vec<String> = (0..4).map(|_| world.instance(&[]).id).collect();
    let (first, second) = (
        json!([
            {"InstanceId": ids[0], "PingStatus": "Online", "LastPingDateTime": 1_700_000_000.5},
            {"InstanceId": "mi-0123456789abcdef0", "PingStatus": "ConnectionLost", "LastPingDateTime": 1_700_000_000},
            {"InstanceId": ids[1], "PingStatus": "ConnectionLost", "LastPingDateTime": 1_700_000_000.5}
        ]),
        json!([{"InstanceId": ids[2], "PingStatus": "Inactive", "LastPingDateTime": 1_600_000_000}]),
    );
    let rule = move |_: usize, request: &mut Request| match request.text().contains("page-2") {
        true => Some(agents(&second, None)),
        false => Some(agents(&first, Some("page-2"))),
    };
    let server = world.proxy().rule("DescribeInstanceInformation", rule).start();
    let given = format!("discover_no_ssm_instances --instance_ids {}", ids.join(" "));
    assert_eq!(found(via(&world, &server, &given)), ids[1..]);
    assert_eq!(sorted(found(via(&world, &server, "discover_no_ssm_instances"))), sorted(ids[1..].to_vec()));
    let details = via(&world, &server, &format!("{given} --details")).run().ok();
    let told = |row: &Value| ["InstanceId", "Status", "LastPing"].map(|member| row[member].clone());
    assert_eq!(
        details.json().as_array().expect("rows").iter().map(told).collect::<Vec<_>>(),
        [
            [json!(ids[1]), json!("connection_lost"), json!("2023-11-14T22:13:20Z")],
            [json!(ids[2]), json!("inactive"), json!("2020-09-13T12:26:40Z")],
            [json!(ids[3]), json!("never_registered"), Value::Null],
        ]
    );
    let asked = server.requests("DescribeInstanceInformation");
    assert_eq!(asked.len(), 6, "two pages each");
    for request in asked {
        let body: Value = serde_json::from_str(&request.text()).expect("JSON");
        assert_eq!(body["MaxResults"], 50);
        // An unknown id would make Systems Manager refuse the request, and its filters cannot ask for what is missing.
        assert!(body.get("Filters").is_none() && body.get("InstanceInformationFilterList").is_none(), "{body}");
    }
}

#[test]
fn a_node_that_is_no_instance_of_ec2_is_a_failed_id() {
    let world = World::new();
    let id = world.instance(&[]).id;
    let node = json!([{"InstanceId": "mi-0123456789abcdef0", "PingStatus": "Online"}]);
    let rule = move |_: usize, _: &mut Request| Some(agents(&node, None));
    let server = world.proxy().rule("DescribeInstanceInformation", rule).start();
    let line = format!("discover_no_ssm_instances --instance_ids mi-0123456789abcdef0 {id}");
    let output = via(&world, &server, &line).run().exits(3).logs("mi-0123456789abcdef0");
    assert_eq!(output.json(), json!([id]));
}

#[test]
fn instances_are_not_called_unreached_when_systems_manager_may_not_be_asked() {
    let world = World::new();
    world.instance(&[]);
    let server = world.proxy().refuse("DescribeInstanceInformation", 400, "AccessDeniedException").start();
    let output = via(&world, &server, "discover_no_ssm_instances").run().exits(1).logs("AccessDeniedException");
    assert!(output.stdout.is_empty() || output.json() == json!([]), "{output}");
}

/// How many listings have come, and a way to wait for more.
type Meeting = Arc<(Mutex<usize>, Condvar)>;

/// Waits until both listings are under way. One that comes alone is refused.
fn meet(meeting: Meeting) -> impl Fn(usize, &mut Request) -> Option<Response> + Send + Sync + 'static {
    move |_, request| {
        let (come, changed) = &*meeting;
        let mut count = come.lock().expect("the count");
        *count += 1;
        changed.notify_all();
        let (count, waited) = changed.wait_timeout_while(count, Duration::from_secs(10), |count| *count < 2).expect("the count");
        drop(count);
        waited.timed_out().then(|| error(request, 400, "CameAlone"))
    }
}

#[test]
fn both_services_are_asked_at_once() {
    let world = World::new();
    let id = world.instance(&[]).id;
    let meeting = Meeting::default();
    let proxy = world.proxy().rule("DescribeInstances", meet(Arc::clone(&meeting)));
    let server = proxy.rule("DescribeInstanceInformation", meet(meeting)).start();
    assert_eq!(found(via(&world, &server, "discover_no_ssm_instances")), [id]);
}

// --- discover_images ---

#[test]
fn public_images_are_those_shared_with_everyone() {
    let world = World::new();
    let machine = world.instance(&[]).id;
    let (own, shared, public) = (world.image(&machine), world.image(&machine), world.image(&machine));
    world.ec2("ModifyImageAttribute", &[("ImageId", &shared), ("LaunchPermission.Add.1.UserId", "111122223333")]);
    world.ec2("ModifyImageAttribute", &[("ImageId", &public), ("LaunchPermission.Add.1.Group", "all")]);
    assert_eq!(found(ec2(&world, "discover_images --public")), [public.as_str()]);
    assert_eq!(found(ec2(&world, &format!("discover_images --public --image_ids {own} {shared} {public}"))), [public.as_str()]);
    assert_eq!(sorted(found(ec2(&world, "discover_images"))), sorted(vec![own, shared, public]));
}

/// E10: EC2 leaves disabled images out unless they are asked for.
#[test]
fn disabled_images_are_listed_like_any_other() {
    let world = World::new();
    let machine = world.instance(&[]).id;
    let (usual, disabled) = (world.image(&machine), world.image(&machine));
    world.ec2("DisableImage", &[("ImageId", &disabled)]);
    assert_eq!(sorted(found(ec2(&world, "discover_images"))), sorted(vec![usual, disabled.clone()]));
    assert_eq!(found(ec2(&world, &format!("discover_images --image_ids {disabled}"))), [disabled]);
}

#[test]
fn images_of_others_are_not_the_accounts() {
    let world = World::new();
    let own = world.image(&world.instance(&[]).id);
    // moto has more than a thousand public images of others, of which this is one.
    assert_eq!(found(ec2(&world, "discover_images")), [own.as_str()]);
    let output = ec2(&world, &format!("discover_images --image_ids ami-12c6146b {own}")).run().exits(3).logs("ami-12c6146b");
    assert_eq!(output.json(), json!([own]));
}

#[test]
fn what_aws_backup_keeps_is_left_out_by_a_flag_of_one_spelling() {
    let world = World::new();
    let machine = world.instance(&[]).id;
    let (image, kept_image) = (world.image(&machine), world.image(&machine));
    let volume = world.volume(&[]);
    let (snapshot, kept_snapshot) = (world.snapshot(&volume), world.snapshot(&volume));
    for kept in [&kept_image, &kept_snapshot] {
        world.tag(kept, "aws:backup:source-resource", "arn:aws:ec2:us-east-1::instance/i-1");
    }
    for (other, key) in [(&image, "backup"), (&snapshot, "my:aws:backup")] {
        world.tag(other, key, "yes");
    }
    for (action, list, other, kept) in
        [("discover_images", "image_ids", &image, &kept_image), ("discover_snapshots", "snapshot_ids", &snapshot, &kept_snapshot)]
    {
        let line = format!("{action} --{list} {kept} {other}");
        assert_eq!(found(ec2(&world, &line)), [kept.clone(), other.clone()]);
        assert_eq!(found(ec2(&world, &format!("{line} --exclude_aws_backup"))), [other.as_str()]);
        let all = found(ec2(&world, &format!("{action} --exclude_aws_backup")));
        assert!(all.contains(other) && !all.contains(kept), "{all:?}");
        ec2(&world, &format!("{action} --exclude__aws_backup")).run().exits(2).logs("--exclude_aws_backup").silent();
    }
    // Not all of them have its tags.
    let description = "This snapshot is created by the AWS Backup service.";
    world.ec2("CreateSnapshot", &[("VolumeId", volume.as_str()), ("Description", description)]);
    assert_eq!(found(ec2(&world, &format!("discover_snapshots --volume_ids {volume} --exclude_aws_backup"))), [snapshot]);
}

/// Half open, as everywhere: an instant belongs to what is after it.
#[test]
fn dates_of_images_and_snapshots_are_half_open() {
    let world = World::new();
    let dates = [
        ("x-before", "2024-01-30T23:59:59.999Z"),
        ("x-first", "2024-01-31T00:00:00.000Z"),
        ("x-early", "2024-01-31T08:00:00.300Z"),
        ("x-late", "2024-01-31T08:00:00.700Z"),
        ("x-next", "2024-02-01T00:00:00.000Z"),
    ];
    let items = |id: &str, date: &str| {
        dates.iter().map(|(name, at)| format!("<item><{id}>{name}</{id}><{date}>{at}</{date}></item>")).collect::<String>()
    };
    let images = items("imageId", "creationDate") + "<item><imageId>x-unknown</imageId><creationDate/></item>";
    let snapshots = items("snapshotId", "startTime") + "<item><snapshotId>x-unknown</snapshotId></item>";
    let server = world
        .proxy()
        .rule("DescribeImages", move |_, _| Some(page("DescribeImages", "imagesSet", &images, None)))
        .rule("DescribeSnapshots", move |_, _| Some(page("DescribeSnapshots", "snapshotSet", &snapshots, None)))
        .start();
    for action in ["discover_images", "discover_snapshots"] {
        let found = |more: &str| found(via(&world, &server, &format!("{action} {more}")));
        assert_eq!(found("--created_after 2024/01/31 --created_before 2024-02-01"), ["x-first", "x-early", "x-late"]);
        assert_eq!(found("--created_before 2024-01-31"), ["x-before"]);
        assert_eq!(found("--created_after 2024-02-01"), ["x-next"]);
        // To the fraction of a second.
        assert_eq!(found("--created_after 2024-01-31T08:00:00.500Z"), ["x-late", "x-next"]);
        assert_eq!(found("--created_after 2024-01-31T00:00:00.001Z --created_before 2024-01-31T08:00:00.500Z"), ["x-early"]);
        assert_eq!(found("").len(), 6, "without a date none is needed");
        via(&world, &server, &format!("{action} --created_before 31.01.2024")).run().exits(2).logs("is not a date");
    }
}

// --- discover_snapshots ---

#[test]
fn snapshots_are_kept_by_volume_and_encryption() {
    let world = World::new();
    let (plain, secret) = (world.volume(&[]), world.volume(&[("Encrypted", "true")]));
    let (open, closed) = (world.snapshot(&plain), world.snapshot(&secret));
    let found = |more: &str| sorted(found(ec2(&world, &format!("discover_snapshots {more}"))));
    let both = sorted(vec![open.clone(), closed.clone()]);
    // moto has more than a thousand snapshots of others.
    assert_eq!(found(""), both);
    assert_eq!(found("--unencrypted"), [open.as_str()]);
    assert_eq!(found(&format!("--volume_ids {plain} {secret}")), both);
    assert_eq!(found(&format!("--volume_ids {plain} {secret} --unencrypted")), [open.as_str()]);
    assert_eq!(found(&format!("--volume_ids {secret} --unencrypted")), [""; 0]);
    assert_eq!(found(&format!("--snapshot_ids {closed} {open} --unencrypted")), [open.as_str()]);
    // The snapshots of a volume outlive it.
    world.ec2("DeleteVolume", &[("VolumeId", &plain)]);
    assert_eq!(found(&format!("--volume_ids {plain}")), [open.as_str()]);
    // A volume without a snapshot is no mistake.
    assert_eq!(found(&format!("--volume_ids {} vol-0000000000000bad0", world.volume(&[]))), [""; 0]);
    ec2(&world, &format!("discover_snapshots --volume_ids {plain} --snapshot_ids {open}")).run().exits(2).logs("only one of").silent();
}

#[test]
fn snapshots_of_a_volume_are_filtered_by_date_and_keeper() {
    let world = World::new();
    let volume = world.volume(&[]);
    let (old, new, kept) = (world.snapshot(&volume), world.snapshot(&volume), world.snapshot(&volume));
    world.tag(&kept, "aws:backup:source-resource", "x");
    let moved = old.clone();
    let proxy = world.proxy().rewrite("DescribeSnapshots", move |_, xml| {
        // The one item's date of long ago.
        xml.split_inclusive("</item>")
            .map(|item| match item.contains(&moved) {
                true => {
                    let now = xml::texts(item, "startTime").pop().unwrap_or_default();
                    item.replace(&now, "2020-01-31T00:00:00.000Z")
                }
                false => item.to_owned(),
            })
            .collect()
    });
    let server = proxy.start();
    let found = |more: &str| sorted(found(via(&world, &server, &format!("discover_snapshots --volume_ids {volume} {more}"))));
    assert_eq!(found("--created_before 2021-01-01"), [old.as_str()]);
    // An instant belongs to what comes after it.
    assert_eq!(found("--created_before 2020-01-31"), [""; 0]);
    assert_eq!(found("--created_after 2020-01-31").len(), 3);
    assert_eq!(found("--exclude_aws_backup"), sorted(vec![old, new]));
}

#[test]
fn a_volume_that_is_a_wildcard_is_no_volume() {
    let world = World::new();
    let snapshot = world.snapshot(&world.volume(&[]));
    for wild in ["vol-*", "*", "vol-?????????????????"] {
        assert_eq!(found(ec2(&world, &format!("discover_snapshots --volume_ids {wild}"))), [""; 0], "{wild}");
        let output = ec2(&world, &format!("discover_snapshots --snapshot_ids {snapshot} {wild}")).run().exits(3);
        assert_eq!(output.json(), json!([snapshot]));
    }
}

#[test]
fn snapshots_of_many_volumes_are_asked_for_two_hundred_at_once_and_printed_once() {
    let world = World::new();
    let volume = world.volume(&[]);
    let snapshot = world.snapshot(&volume);
    // The volume is in both requests.
    let others = (0..199).map(|n| format!("vol-{n:017x}"));
    let volumes: Vec<String> = [volume.clone()].into_iter().chain(others).chain([volume]).collect();
    let server = world.proxy().start();
    let run = via(&world, &server, "discover_snapshots --unencrypted --volume_ids -").stdin(json!(volumes).to_string());
    assert_eq!(found(run), [snapshot]);
    let asked: Vec<_> = server.requests("DescribeSnapshots").iter().map(filters).collect();
    let size = |asked: &[(String, Vec<String>)]| asked.iter().find(|(name, _)| name == "volume-id").map(|(_, values)| values.len());
    assert_eq!(asked.iter().map(|a| size(a)).collect::<Vec<_>>(), [Some(200), Some(1)]);
    assert!(asked.iter().all(|a| a.contains(&("encrypted".to_owned(), vec!["false".to_owned()]))), "{asked:?}");
}

// --- discover_volumes ---

/// E24: a data disk at a device by which another instance knows its root is no root volume.
#[test]
fn a_root_volume_is_that_of_its_own_instance() {
    let world = World::new();
    let machine = |id: &str, root: &str, devices: &[(&str, &str)]| {
        let device = |(device, volume): &(&str, &str)| {
            format!("<item><deviceName>{device}</deviceName><ebs><volumeId>{volume}</volumeId></ebs></item>")
        };
        let devices: String = devices.iter().map(device).collect();
        instance(id, &format!("<rootDeviceName>{root}</rootDeviceName><blockDeviceMapping>{devices}</blockDeviceMapping>"))
    };
    let one = machine("i-one", "/dev/sda1", &[("/dev/xvda", "vol-data"), ("/dev/sda1", "vol-one")]);
    let two = machine("i-two", "/dev/xvda", &[("/dev/xvda", "vol-two")]);
    let diskless = machine("i-store", "/dev/xvda", &[]);
    let volume = |id: &str| format!("<item><volumeId>{id}</volumeId></item>");
    let volumes = [volume("vol-data"), volume("vol-one"), volume("vol-two"), volume("vol-loose")].concat();
    let instances = [one, two, diskless].concat();
    let server = world
        .proxy()
        .rule("DescribeInstances", move |_, _| Some(page("DescribeInstances", "reservationSet", &instances, None)))
        .rule("DescribeVolumes", move |_, _| Some(page("DescribeVolumes", "volumeSet", &volumes, None)))
        .start();
    let found = |more: &str| found(via(&world, &server, &format!("discover_volumes --root {more}")));
    assert_eq!(found(""), ["vol-one", "vol-two"]);
    assert_eq!(found("--volume_ids vol-loose vol-two vol-data"), ["vol-two"]);
    assert_eq!(found("--instance_ids i-one"), ["vol-one"]);
    assert!(server.requests("DescribeVolumes").iter().all(|r| !r.text().contains("attachment.device")));
}

#[test]
fn nothing_is_a_root_volume_where_there_are_no_instances() {
    let world = World::new();
    let loose = world.volume(&[]);
    assert_eq!(found(ec2(&world, "discover_volumes --root")), [""; 0]);
    assert_eq!(found(ec2(&world, &format!("discover_volumes --root --volume_ids {loose}"))), [""; 0]);
    // What is detached is nobody's root: a question that can have no answer is refused.
    ec2(&world, "discover_volumes --root --detached").run().exits(2).logs("only one of").silent();
}

#[test]
fn volumes_of_instances_are_found_and_instances_that_do_not_exist_fail() {
    let world = World::new();
    let (one, other) = (world.instance(&[]), world.instance(&[]));
    let data = world.volume(&[("VolumeType", "gp2")]);
    world.attach(&data, &one.id, "/dev/sdf");
    let output = ec2(&world, &format!("discover_volumes --instance_ids i-0000000000000bad0 {}", one.id)).run().exits(3).logs("bad0");
    let printed: Vec<String> = serde_json::from_value(output.json()).expect("ids");
    assert_eq!(sorted(printed), sorted(vec![one.root.clone(), data.clone()]));
    let both = format!("discover_volumes --instance_ids {} {}", one.id, other.id);
    assert_eq!(sorted(found(ec2(&world, &format!("{both} --root")))), sorted(vec![one.root, other.root]));
    assert_eq!(found(ec2(&world, &format!("discover_volumes --instance_ids {} --types gp3 io2", one.id))), [""; 0]);
    ec2(&world, &format!("{both} --volume_ids {data}")).run().exits(2).logs("only one of").silent();
    let server = world.proxy().start();
    for list in ["types", "instance_ids"] {
        let output = with_input(&world, &server, "discover_volumes", &json!({ list: [], "root": true })).run().ok();
        assert_eq!(output.json(), json!([]), "{output}");
    }
    assert_eq!(server.count("DescribeVolumes"), 0);
}

#[test]
fn volumes_are_filtered_by_ec2_and_those_given_are_judged_alike() {
    let world = World::new();
    let plain = world.volume(&[("VolumeType", "gp2")]);
    let secret = world.volume(&[("Encrypted", "true")]);
    let machine = world.instance(&[]);
    let given = format!("--volume_ids {plain} {secret} {}", machine.root);
    for (flags, wanted) in [
        ("--unencrypted", vec![plain.clone(), machine.root.clone()]),
        ("--detached", vec![plain.clone(), secret.clone()]),
        ("--detached --unencrypted", vec![plain.clone()]),
        ("--types gp3", vec![secret.clone()]),
        ("--types gp3 st1 --unencrypted", vec![]),
    ] {
        for ids in ["", &given] {
            let line = format!("discover_volumes {flags} {ids}");
            assert_eq!(sorted(found(ec2(&world, &line))), sorted(wanted.clone()), "{line}");
        }
    }
    let server = world.proxy().start();
    found(via(&world, &server, "discover_volumes --unencrypted --detached --types gp3 st1"));
    let asked = filters(&server.requests("DescribeVolumes")[0]);
    let filter = |name: &str, values: &[&str]| (name.to_owned(), values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>());
    assert_eq!(asked, [filter("encrypted", &["false"]), filter("status", &["available"]), filter("volume-type", &["gp3", "st1"])]);
}

#[test]
fn a_volume_on_two_instances_is_printed_once() {
    let world = World::new();
    let (one, two) = (world.instance(&[]).id, world.instance(&[]).id);
    let attached = |id: &str| format!("<item><volumeId>vol-both</volumeId><instanceId>{id}</instanceId></item>");
    let volume =
        format!("<item><volumeId>vol-both</volumeId><attachmentSet>{}{}</attachmentSet></item>", attached(&one), attached(&two)).repeat(2);
    let rule = move |_: usize, _: &mut Request| Some(page("DescribeVolumes", "volumeSet", &volume, None));
    let server = world.proxy().rule("DescribeVolumes", rule).start();
    assert_eq!(found(via(&world, &server, &format!("discover_volumes --instance_ids {one} {two}"))), ["vol-both"]);
}
