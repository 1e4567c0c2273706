//! discover_tags and modify_tags: what is found by its tags, and what becomes of tags.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::aaws::Aaws;
use crate::support::ec2::{World, writes};
use crate::support::http::Request;
use crate::support::proxy::Proxy;
use crate::support::{Response, Server, aaws, directory, report, told, xml};

// --- What the tests share ---

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

/// An error as EC2 answers it.
fn refusal(status: u16, code: &str, message: &str) -> Response {
    let error = format!("<Error><Code>{code}</Code><Message>{}</Message></Error>", xml::escape(message));
    Response::xml(status, format!("<Response><Errors>{error}</Errors><RequestID>REQ-{code}</RequestID></Response>"))
}

fn tagged() -> Response {
    Response::xml(200, "<CreateTagsResponse><requestId>r</requestId><return>true</return></CreateTagsResponse>")
}

/// The values of `name.1`, `name.2` and so on in a request.
fn numbered(request: &Request, name: &str) -> Vec<String> {
    let form = request.text();
    let values = form.split('&').filter_map(|pair| {
        let (number, value) = pair.strip_prefix(name)?.strip_prefix('.')?.split_once('=')?;
        number.parse::<u32>().ok().map(|_| xml::percent_decode(&value.replace('+', " ")))
    });
    values.collect()
}

/// The resources that a request is for.
fn resources(request: &Request) -> Vec<String> {
    numbered(request, "ResourceId")
}

fn pairs(tags: &[(&str, &str)]) -> Vec<(String, String)> {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn sorted(value: &Value) -> Vec<String> {
    let mut ids: Vec<String> = serde_json::from_value(value.clone()).expect("a list of ids");
    ids.sort();
    ids
}

/// Ids of volumes that only a stand-in for EC2 knows.
fn volume_ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("vol-{n:017x}")).collect()
}

// --- discover_tags ---

#[test]
fn existing_is_all_of_the_tags_and_missing_is_any_of_them_e36() {
    let world = World::new();
    let (both, one, none) = (world.volume(&[]), world.volume(&[]), world.volume(&[]));
    world.tag(&both, "Env", "prod");
    world.tag(&both, "Owner", "me");
    world.tag(&one, "Env", "prod");
    let find = |which: &str| ec2(&world, &format!("discover_tags --resource_types volume --tags Env=prod Owner {which}")).run().ok().json();
    assert_eq!(find("--existing"), json!([both]));
    let mut lacking = vec![one, none];
    lacking.sort();
    assert_eq!(sorted(&find("--missing")), lacking);
}

#[test]
fn tags_are_split_at_the_first_equals_sign_and_compared_in_their_very_case() {
    let world = World::new();
    let volume = world.volume(&[]);
    world.tag(&volume, "url", "https://example.com/?a=b");
    world.tag(&volume, "Note", "");
    for (tag, found) in [
        ("url=https://example.com/?a=b", true),
        ("url", true),
        ("URL", false),
        ("url=https://example.com/?A=b", false),
        ("Note", true),
        ("Note=", true),
        ("url=", false),
    ] {
        let output = ec2(&world, &format!("discover_tags --resource_types volume --tags {tag} --existing")).run().ok();
        assert_eq!(output.json(), if found { json!([volume]) } else { json!([]) }, "{output}");
    }
}

#[test]
fn key_pairs_come_back_by_the_ids_that_modify_tags_takes() {
    let world = World::new();
    let made = world.ec2("CreateKeyPair", &[("KeyName", "deploy")]);
    let key = xml::texts(&made, "keyPairId").remove(0);
    let find = "ec2 discover_tags --resource_types key_pair --tags Env --missing";
    assert_eq!(world.aaws(find).run().ok().json(), json!([key]));
    let output = world.shell(format!("aaws {find} | aaws ec2 modify_tags --resource_ids - --tags Env=prod --create")).run().ok();
    assert_eq!(output.json(), json!([]), "{output}");
    assert_eq!(world.tags(&key), pairs(&[("Env", "prod")]));
    assert_eq!(world.aaws(find).run().ok().json(), json!([]));
}

#[test]
fn an_empty_list_of_tags_is_an_error_and_not_every_resource() {
    let world = World::new();
    world.volume(&[]);
    let server = world.proxy().start();
    for which in ["existing", "missing"] {
        for kinds in [json!(["volume"]), json!([])] {
            let input = json!({"resource_types": kinds, "tags": [], which: true});
            with_input(&world, &server, "discover_tags", &input).run().exits(2).silent().logs("`tags`");
        }
    }
    assert_eq!(server.operations(), [""; 0], "nothing is asked");
}

#[test]
fn an_empty_list_of_kinds_is_no_resource() {
    let world = World::new();
    world.volume(&[]);
    let server = world.proxy().start();
    let input = json!({"resource_types": [], "tags": ["Env"], "missing": true});
    assert_eq!(with_input(&world, &server, "discover_tags", &input).run().ok().json(), json!([]));
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn instances_that_are_terminated_are_left_out() {
    let world = World::new();
    let (running, stopped, gone) = (world.instance(&[]).id, world.instance(&[]).id, world.instance(&[]).id);
    for id in [&running, &stopped, &gone] {
        world.tag(id, "Env", "prod");
    }
    world.stop(&stopped);
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone)]);
    let mut living = vec![running, stopped];
    living.sort();
    for flags in ["--tags Env=prod --existing", "--tags Owner --missing"] {
        let output = ec2(&world, &format!("discover_tags --resource_types instance {flags}")).run().ok();
        assert_eq!(sorted(&output.json()), living, "{output}");
    }
}

#[test]
fn images_and_snapshots_are_the_accounts_own() {
    let world = World::new();
    world.image(&world.instance(&[]).id);
    world.snapshot(&world.volume(&[]));
    let output = ec2(&world, "discover_tags --resource_types image snapshot --tags Env --missing").run().ok();
    let mut own = world.images();
    own.extend(world.snapshots());
    own.sort();
    assert_eq!(sorted(&output.json()), own, "{output}");
}

#[test]
fn kinds_are_printed_in_the_order_of_the_choices_each_once() {
    let world = World::new();
    let first = |operation: &str, member: &str| xml::texts(&world.ec2(operation, &[]), member).remove(0);
    let machine = world.instance(&[]);
    let volume = world.volume(&[]);
    let ids = [
        world.image(&machine.id),
        machine.id,
        first("CreateInternetGateway", "internetGatewayId"),
        xml::texts(&world.ec2("CreateKeyPair", &[("KeyName", "deploy")]), "keyPairId").remove(0),
        first("DescribeNetworkAcls", "networkAclId"),
        first("DescribeRouteTables", "routeTableId"),
        world.group("web"),
        world.snapshot(&volume),
        first("DescribeSubnets", "subnetId"),
        volume,
        first("DescribeVpcs", "vpcId"),
    ];
    ids.iter().for_each(|id| world.tag(id, "Team", "blue"));
    let kinds = "vpc volume vpc subnet snapshot security_group route_table network_acl key_pair internet_gateway instance image";
    let output = ec2(&world, &format!("discover_tags --resource_types {kinds} --tags Team=blue --existing")).run().ok();
    assert_eq!(output.json(), json!(ids), "{output}");
}

#[test]
fn all_pages_of_all_kinds_are_read_and_asked_for_in_pieces_g7() {
    let kinds = [
        ("DescribeInternetGateways", "internetGatewaySet", "internetGatewayId"),
        ("DescribeNetworkAcls", "networkAclSet", "networkAclId"),
        ("DescribeRouteTables", "routeTableSet", "routeTableId"),
        ("DescribeSubnets", "subnetSet", "subnetId"),
        ("DescribeVpcs", "vpcSet", "vpcId"),
    ];
    let page = |proxy: Proxy, (operation, set, member): (&'static str, &'static str, &'static str)| {
        proxy.rule(operation, move |_, request| {
            let (id, token) = if request.text().contains("NextToken=more") { ("2", "") } else { ("1", "<nextToken>more</nextToken>") };
            let item = format!("<item><{member}>{operation}-{id}</{member}></item>");
            Some(Response::xml(200, format!("<{operation}Response><{set}>{item}</{set}>{token}</{operation}Response>")))
        })
    };
    let world = World::new();
    let server = kinds.into_iter().fold(world.proxy(), page).start();
    let types = "internet_gateway network_acl route_table subnet vpc";
    let output = via(&world, &server, &format!("discover_tags --resource_types {types} --tags Env --missing")).run().ok();
    let all: Vec<_> = kinds.iter().flat_map(|(operation, ..)| [format!("{operation}-1"), format!("{operation}-2")]).collect();
    assert_eq!(output.json(), json!(all), "{output}");
    for (operation, ..) in kinds {
        let asked = server.requests(operation);
        assert_eq!(asked.len(), 2, "{operation}");
        assert!(asked.iter().all(|request| request.text().contains("MaxResults=")), "{operation}");
    }
}

#[test]
fn one_kind_that_is_denied_does_not_hide_the_others() {
    let world = World::new();
    let volume = world.volume(&[]);
    let denied =
        |_: usize, _: &mut Request| Some(refusal(403, "UnauthorizedOperation", "You are not authorized to perform this operation."));
    let server = world.proxy().rule("DescribeSubnets", denied).start();
    let folder = directory();
    let line = "discover_tags --resource_types subnet volume --tags Env --missing --report report.jsonl";
    let output = via(&world, &server, line).within(folder.path()).run().exits(3);
    assert_eq!(output.json(), json!([volume]), "{output}");
    let lines = report(&folder);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["item"], &lines[0]["code"]), (&json!("subnet"), &json!("UnauthorizedOperation")));

    // With no other kind there is nothing to print, and what is needed is said.
    let output = via(&world, &server, "discover_tags --resource_types subnet --tags Env --missing").run().exits(1);
    output.logs("UnauthorizedOperation").logs("aaws permissions ec2 discover_tags");
}

#[test]
fn exactly_one_of_existing_and_missing_is_given() {
    let world = World::new();
    let server = world.proxy().start();
    for flags in ["", "--existing --missing"] {
        let line = format!("discover_tags --resource_types volume --tags Env {flags}");
        via(&world, &server, &line).run().exits(2).silent().logs("`existing`").logs("`missing`");
    }
    let wrong = json!({"resource_types": ["volume"], "key": ["Env"], "existing": true});
    with_input(&world, &server, "discover_tags", &wrong).run().exits(2).silent().logs("`key`").logs("`tags`");
    via(&world, &server, "discover_tags --resource_types volumes --tags Env --existing").run().exits(2).silent().logs("volume");
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn only_the_kinds_asked_for_need_permissions() {
    let policy = aaws("permissions ec2 discover_tags --resource_types volume key_pair --tags Env --missing").run().ok().stdout;
    assert!(policy.contains("ec2:DescribeVolumes") && policy.contains("ec2:DescribeKeyPairs"), "{policy}");
    assert!(!policy.contains("ec2:DescribeImages") && !policy.contains("ec2:DescribeVpcs"), "{policy}");
}

// --- modify_tags: what becomes of tags ---

#[test]
fn tags_are_added_and_overwritten_and_others_stay() {
    let world = World::new();
    let (volume, instance) = (world.volume(&[]), world.instance(&[]).id);
    world.tag(&volume, "Env", "dev");
    world.tag(&volume, "Keep", "this");
    let folder = directory();
    let line = format!("modify_tags --resource_ids {volume} {instance} --tags Env=prod Owner url=a=b --create --report report.jsonl");
    let output = ec2(&world, &line).within(folder.path()).run().ok();
    assert_eq!(output.json(), json!([]), "{output}");
    assert_eq!(world.tags(&volume), pairs(&[("Env", "prod"), ("Keep", "this"), ("Owner", ""), ("url", "a=b")]));
    assert_eq!(world.tags(&instance), pairs(&[("Env", "prod"), ("Owner", ""), ("url", "a=b")]));
    let told = told(&folder);
    assert!(told.iter().all(|(_, status, _)| status == "done") && told.len() == 2, "{told:?}");
    assert!(told[0].2.contains("Env=dev"), "what it was is what undoes it: {told:?}");
}

#[test]
fn what_is_tagged_so_already_is_unchanged_and_not_sent() {
    let world = World::new();
    let volume = world.volume(&[]);
    world.tag(&volume, "Env", "prod");
    world.tag(&volume, "Owner", "");
    let server = world.proxy().start();
    let folder = directory();
    let line = format!("modify_tags --resource_ids {volume} --tags Env=prod Owner --create --report report.jsonl");
    let output = via(&world, &server, &line).within(folder.path()).run().ok();
    assert_eq!(output.json(), json!([]), "{output}");
    assert_eq!(writes(&server), [""; 0]);
    assert_eq!(told(&folder)[0].1, "unchanged");
}

#[test]
fn tags_are_removed_only_where_they_are_as_said() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    world.tag(&a, "Env", "test");
    world.tag(&b, "Env", "prod");
    let line = format!("ec2 modify_tags --resource_ids {a} {b} --tags");
    let output = world.aaws(format!("{line} Env=test --delete")).run().ok().logs("1 unchanged");
    assert_eq!(output.json(), json!([]));
    assert_eq!((world.tags(&a).len(), world.tags(&b).len()), (0, 1), "another value is not removed, and not taken for done");
    world.aaws(format!("{line} Env --delete")).run().ok();
    assert_eq!(world.tags(&b).len(), 0);
}

#[test]
fn a_key_is_removed_whatever_its_value_and_a_value_only_if_it_is_that_e35() {
    let world = World::new();
    let volume = world.volume(&[]);
    for (key, value) in [("Any", "1"), ("Same", "2"), ("Empty", ""), ("Other", "4"), ("Full", "5"), ("Keep", "6")] {
        world.tag(&volume, key, value);
    }
    let folder = directory();
    let line = format!("modify_tags --resource_ids {volume} --tags Any Same=2 Empty= Other=x Full= None --delete --report report.jsonl");
    assert_eq!(ec2(&world, &line).within(folder.path()).run().ok().json(), json!([]));
    assert_eq!(world.tags(&volume), pairs(&[("Full", "5"), ("Keep", "6"), ("Other", "4")]));
    let told = told(&folder);
    assert_eq!(told[0].1, "done");
    assert!(told[0].2.contains("Same=2") && told[0].2.contains("Other=4 stays"), "{told:?}");
}

#[test]
fn deleting_a_tag_that_has_another_value_is_unchanged_and_says_so() {
    let world = World::new();
    let (other, without) = (world.volume(&[]), world.volume(&[]));
    world.tag(&other, "Env", "prod");
    let server = world.proxy().start();
    let folder = directory();
    let line = format!("modify_tags --resource_ids {other} {without} --tags Env=test --delete --report report.jsonl");
    let output = via(&world, &server, &line).within(folder.path()).run().ok();
    assert_eq!(output.json(), json!([]), "{output}");
    assert_eq!(writes(&server), [""; 0], "nothing would come of it");
    assert_eq!(world.tags(&other), pairs(&[("Env", "prod")]));
    let told = told(&folder);
    assert!(told.iter().all(|(_, status, _)| status == "unchanged"), "{told:?}");
    assert!(told[0].2.contains("Env=prod"), "the value that it has is told: {told:?}");
}

#[test]
fn an_empty_list_of_tags_never_reaches_ec2_which_would_remove_all_of_them() {
    let world = World::new();
    let volume = world.volume(&[]);
    world.tag(&volume, "Keep", "this");
    let server = world.proxy().start();
    for which in ["create", "delete"] {
        for dynamic in [false, true] {
            let input = json!({"resource_ids": [volume], "tags": [], which: true, "dynamic_tags": dynamic});
            with_input(&world, &server, "modify_tags", &input).run().exits(2).silent().logs("`tags`");
        }
    }
    assert_eq!(server.operations(), [""; 0], "nothing is sent");
    assert_eq!(world.tags(&volume), pairs(&[("Keep", "this")]));
}

#[test]
fn no_request_is_without_tags() {
    let world = World::new();
    let volume = world.volume(&[]);
    world.tag(&volume, "Env", "prod");
    let server = world.proxy().start();
    for flags in ["--tags Env --delete", "--tags Env --create", "--tags Env= --delete", "--tags {resource_id} --create --dynamic_tags"] {
        via(&world, &server, &format!("modify_tags --resource_ids {volume} {flags}")).run().ok();
    }
    assert_eq!(writes(&server), ["DeleteTags", "CreateTags", "DeleteTags", "CreateTags"]);
    for request in server.requests("CreateTags").iter().chain(&server.requests("DeleteTags")) {
        assert!(request.text().contains("Tag.1.Key="), "{}", request.text());
    }
}

#[test]
fn create_and_delete_exclude_each_other_and_one_is_needed() {
    let world = World::new();
    let volume = world.volume(&[]);
    let server = world.proxy().start();
    for flags in ["", "--create --delete"] {
        let line = format!("modify_tags --resource_ids {volume} --tags Env=prod {flags}");
        via(&world, &server, &line).run().exits(2).silent().logs("`create`").logs("`delete`");
    }
    assert_eq!(server.operations(), [""; 0]);
    assert_eq!(world.tags(&volume), pairs(&[]));
}

#[test]
fn tags_that_ec2_would_refuse_are_an_error_before_anything_is_sent() {
    let world = World::new();
    let volume = world.volume(&[]);
    let server = world.proxy().start();
    let (key, value) = ("k".repeat(129), format!("Key={}", "v".repeat(257)));
    for tags in [json!(["aws:x=1"]), json!(["Env", "AWS:x"]), json!([key]), json!([value]), json!(["Env=a", "Env=b"]), json!(["=x"])] {
        for dynamic in [false, true] {
            // How long they are with an id in them is known for each resource only.
            if dynamic && (tags[0] == key || tags[0] == value) {
                continue;
            }
            let input = json!({"resource_ids": [volume], "tags": tags, "create": true, "dynamic_tags": dynamic});
            with_input(&world, &server, "modify_tags", &input).run().exits(2).silent().logs("tags");
        }
    }
    assert_eq!(server.operations(), [""; 0]);

    // The longest that there may be, counted in characters.
    let (key, value) = ("ä".repeat(128), "ö".repeat(256));
    let input = json!({"resource_ids": [volume], "tags": [format!("{key}={value}")], "create": true});
    with_input(&world, &server, "modify_tags", &input).run().ok();
    assert_eq!(world.tags(&volume), pairs(&[(&key, &value)]));
}

// --- modify_tags: dynamic tags ---

#[test]
fn each_resources_id_stands_in_its_keys_and_values() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let server = world.proxy().start();
    let line =
        format!("modify_tags --resource_ids {a} {b} --tags Name=data-{{resource_id}} id/{{resource_id}} Env=prod --create --dynamic_tags");
    assert_eq!(via(&world, &server, &line).run().ok().json(), json!([]));
    for id in [&a, &b] {
        assert_eq!(world.tags(id), pairs(&[("Env", "prod"), ("Name", &format!("data-{id}")), (&format!("id/{id}"), "")]));
    }
    assert_eq!(server.count("CreateTags"), 2, "one request a resource");
}

#[test]
fn dynamic_tags_are_deleted_by_their_keys_alone_too() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    for id in [&a, &b] {
        world.tag(id, id, "x");
        world.tag(id, "Name", id);
        world.tag(id, "Keep", "this");
    }
    let line = format!("modify_tags --resource_ids {a} {b} --tags {{resource_id}} Name={{resource_id}} --delete --dynamic_tags");
    assert_eq!(ec2(&world, &line).run().ok().json(), json!([]));
    for id in [&a, &b] {
        assert_eq!(world.tags(id), pairs(&[("Keep", "this")]));
    }
}

#[test]
fn braces_are_letters_unless_dynamic_tags_are_asked_for() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let server = world.proxy().start();
    via(&world, &server, &format!("modify_tags --resource_ids {a} {b} --tags Name={{resource_id}} --create")).run().ok();
    assert_eq!(world.tags(&a), pairs(&[("Name", "{resource_id}")]));
    // Tags that are the same for all go together, whatever was asked for.
    via(&world, &server, &format!("modify_tags --resource_ids {a} {b} --tags Env=prod --create --dynamic_tags")).run().ok();
    assert_eq!(server.count("CreateTags"), 2);
}

#[test]
fn a_tag_that_gets_too_long_by_an_id_fails_for_that_resource_only() {
    let world = World::new();
    let (volume, instance) = (world.volume(&[]), world.instance(&[]).id);
    let value = format!("{}{{resource_id}}", "x".repeat(256 - instance.len()));
    let server = world.proxy().start();
    let line = format!("modify_tags --resource_ids {volume} {instance} --tags Note={value} --create --dynamic_tags");
    let output = via(&world, &server, &line).run().exits(3);
    assert_eq!(output.json(), json!([volume]), "{output}");
    assert_eq!((world.tags(&volume).len(), world.tags(&instance).len()), (0, 1));
    assert_eq!(server.count("CreateTags"), 1);
}

// --- modify_tags: one that is wrong among many (G5) ---

#[test]
fn one_bad_id_fails_alone_and_takes_few_requests() {
    let world = World::new();
    let good: Vec<_> = (0..25).map(|_| world.volume(&[])).collect();
    let bad = "vol-0ffffffffffffffff";
    let mut ids = good.clone();
    ids.insert(13, bad.to_owned());
    let server = world.proxy().start();
    let folder = directory();
    let line = "modify_tags --resource_ids - --tags Env=prod --create --report report.jsonl";
    let output = via(&world, &server, line).stdin(ids.join("\n")).within(folder.path()).run().exits(3);
    assert_eq!(output.json(), json!([bad]), "{output}");
    assert!(good.iter().all(|id| world.tags(id) == pairs(&[("Env", "prod")])));
    assert_eq!(server.count("CreateTags"), 2, "EC2 names the one, and the rest is sent again");
    let lines = report(&folder);
    assert_eq!(lines.iter().map(|line| line["item"].as_str().unwrap_or_default()).collect::<Vec<_>>(), ids, "each comes back, in order");
    let failed: Vec<_> = lines.iter().filter(|line| line["status"] == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["code"], "NotFound");
}

#[test]
fn bad_ids_of_any_kind_come_back_in_the_order_given() {
    let world = World::new();
    let (volume, instance, group) = (world.volume(&[]), world.instance(&[]).id, world.group("web"));
    let bad = ["i-0ffffffffffffffff", "vol-0ffffffffffffffff", "key-0ffffffffffffffff", "snap-0ffffffffffffffff"];
    let ids = [bad[0], &volume, bad[1], &instance, bad[2], &group, bad[3]];
    let server = world.proxy().start();
    let folder = directory();
    let input = json!({"resource_ids": ids, "tags": ["Env=prod"], "create": true});
    let line = "modify_tags --report report.jsonl --input";
    let output = via(&world, &server, line).arg(input.to_string()).within(folder.path()).run().exits(3);
    assert_eq!(output.json(), json!(bad), "{output}");
    for id in [&volume, &instance, &group] {
        assert_eq!(world.tags(id), pairs(&[("Env", "prod")]));
    }
    let lines = report(&folder);
    assert!(lines.iter().filter(|line| line["status"] == "failed").all(|line| line["code"] == "NotFound"), "{lines:?}");
}

/// A stand-in for CreateTags that refuses a request for some resources, and remembers the others that it tagged.
fn picky(
    proxy: Proxy,
    bad: impl Fn(&str) -> bool + Send + Sync + 'static,
    refuse: impl Fn(&[String]) -> Response + Send + Sync + 'static,
) -> (Server, Arc<Mutex<BTreeSet<String>>>) {
    let done = Arc::new(Mutex::new(BTreeSet::new()));
    let kept = Arc::clone(&done);
    let proxy = proxy.rule("CreateTags", move |_, request| {
        let ids = resources(request);
        let wrong: Vec<String> = ids.iter().filter(|id| bad(id)).cloned().collect();
        if !wrong.is_empty() {
            return Some(refuse(&wrong));
        }
        kept.lock().unwrap().extend(ids);
        Some(tagged())
    });
    (proxy.start(), done)
}

/// Tags many volumes that a stand-in knows, gives what is printed, and the ids.
fn tag_many(world: &World, server: &Server, count: usize, code: i32) -> (Value, Vec<String>) {
    let ids = volume_ids(count);
    let line = "modify_tags --resource_ids - --tags Env=prod --create";
    let output = via(world, server, line).stdin(ids.join("\n")).run().exits(code);
    (output.json(), ids)
}

#[test]
fn bad_ids_that_are_not_named_are_found_by_halves() {
    let world = World::new();
    for (code, message) in [("TagLimitExceeded", "The maximum number of Tags for a resource has been reached."), ("InvalidID", "No.")] {
        let bad = [volume_ids(450)[7].clone(), volume_ids(450)[333].clone()];
        let is_bad = |id: &str| id.ends_with("0007") || id.ends_with("014d");
        let (server, done) = picky(world.proxy(), is_bad, move |_| refusal(400, code, message));
        let (printed, ids) = tag_many(&world, &server, 450, 3);
        assert_eq!(printed, json!(bad), "{code}");
        let expected: BTreeSet<_> = ids.into_iter().filter(|id| !bad.contains(id)).collect();
        assert_eq!(*done.lock().unwrap(), expected, "{code}: all others are tagged");
        // Three batches, and twice the logarithm of 200 for each of the two.
        let sent = server.count("CreateTags");
        assert!(sent <= 3 + 2 * 2 * 8, "{code}: {sent} requests");
        assert!(server.requests("CreateTags").iter().all(|request| resources(request).len() <= 200));
    }
}

#[test]
fn several_bad_ids_that_one_answer_names_take_few_requests() {
    let world = World::new();
    let (server, done) = picky(
        world.proxy(),
        |id| id.ends_with('3'),
        |wrong| refusal(400, "InvalidVolume.NotFound", &format!("The volumes '{}' do not exist.", wrong.join(", "))),
    );
    let (printed, ids) = tag_many(&world, &server, 64, 3);
    assert_eq!(printed, json!([&ids[0x03], &ids[0x13], &ids[0x23], &ids[0x33]]));
    assert_eq!(done.lock().unwrap().len(), ids.len() - 4);
    let sent = server.count("CreateTags");
    assert!(sent <= 9, "{sent} requests");
}

#[test]
fn tags_are_looked_up_200_resources_at_a_time_before_the_first_change() {
    let world = World::new();
    let (server, done) = picky(world.proxy(), |_| false, |_| tagged());
    let (printed, ids) = tag_many(&world, &server, 450, 0);
    assert_eq!((printed, done.lock().unwrap().len()), (json!([]), ids.len()));
    let looks = server.requests("DescribeTags");
    let sizes: Vec<_> = looks.iter().map(|request| numbered(request, "Filter.1.Value").len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 450, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 200), "{sizes:?}");
    let operations = server.operations();
    let first = operations.iter().position(|name| name == "CreateTags").expect("tags are created");
    assert_eq!(operations[..first].iter().filter(|name| *name == "DescribeTags").count(), 3, "{operations:?}");
    assert_eq!(server.count("CreateTags"), 3);
}

#[test]
fn all_pages_of_the_tags_that_are_there_are_read_g7() {
    let world = World::new();
    let ids = volume_ids(2);
    let (first, second) = (ids[0].clone(), ids[1].clone());
    let proxy = world.proxy().rule("DescribeTags", move |_, request| {
        let (id, token) = if request.text().contains("NextToken=more") { (&second, "") } else { (&first, "<nextToken>more</nextToken>") };
        let item = format!("<item><resourceId>{id}</resourceId><key>Env</key><value>prod</value></item>");
        Some(Response::xml(200, format!("<DescribeTagsResponse><tagSet>{item}</tagSet>{token}</DescribeTagsResponse>")))
    });
    let server = proxy.start();
    let line = format!("modify_tags --resource_ids {} --tags Env=prod --create", ids.join(" "));
    assert_eq!(via(&world, &server, &line).run().ok().json(), json!([]));
    assert_eq!((server.count("DescribeTags"), server.count("CreateTags")), (2, 0), "both are tagged so already");
}

#[test]
fn a_resource_with_fifty_tags_fails_alone_and_the_plan_says_so() {
    let world = World::new();
    let (full, empty) = (world.volume(&[]), world.volume(&[]));
    let keys: Vec<_> = (1..=50).map(|n| (format!("Tag.{n}.Key"), format!("Tag.{n}.Value"), format!("key-{n}"))).collect();
    let mut parameters = vec![("ResourceId.1", full.as_str())];
    parameters.extend(keys.iter().flat_map(|(key, value, text)| [(key.as_str(), text.as_str()), (value.as_str(), "x")]));
    world.ec2("CreateTags", &parameters);
    let server = world.proxy().start();
    let line = format!("modify_tags --resource_ids {full} {empty} --tags Env=prod --create");
    let plan = via(&world, &server, &format!("{line} --dry_run")).run().exits(3).logs("TagLimitExceeded").json();
    let said: Vec<_> = [0, 1].iter().map(|&n: &usize| (&plan[n]["item"], &plan[n]["status"])).collect();
    assert_eq!(said, [(&json!(full), &json!("failed")), (&json!(empty), &json!("planned"))], "{plan}");
    assert_eq!(writes(&server), [""; 0]);
    let output = via(&world, &server, &line).run().exits(3).logs("TagLimitExceeded");
    assert_eq!(output.json(), json!([full]), "{output}");
    assert_eq!((world.tags(&full).len(), world.tags(&empty)), (50, pairs(&[("Env", "prod")])));
    // A tag that is there already can get another value, fifty or not.
    via(&world, &server, &format!("modify_tags --resource_ids {full} --tags key-7=y --create")).run().ok();
    assert!(world.tags(&full).contains(&("key-7".to_owned(), "y".to_owned())));
}

// --- modify_tags: what is denied ---

#[test]
fn a_denial_for_all_is_asked_for_once_a_batch() {
    let world = World::new();
    let message = "You are not authorized to perform this operation. Encoded authorization failure message: abc";
    let (server, _) = picky(world.proxy(), |_| true, move |_| refusal(403, "UnauthorizedOperation", message));
    let (printed, ids) = tag_many(&world, &server, 150, 3);
    assert_eq!(printed, json!(ids));
    assert_eq!(server.count("CreateTags"), 1);
}

#[test]
fn a_denial_for_one_resource_that_it_names_leaves_the_others() {
    let world = World::new();
    let denied = |wrong: &[String]| {
        let arn = format!("arn:aws:ec2:us-east-1:123456789012:volume/{}", wrong[0]);
        refusal(403, "UnauthorizedOperation", &format!("You are not authorized to perform: ec2:CreateTags on resource: {arn} by a policy"))
    };
    let (server, done) = picky(world.proxy(), |id| id.ends_with("0042"), denied);
    let (printed, ids) = tag_many(&world, &server, 150, 3);
    assert_eq!(printed, json!([ids[0x42]]));
    assert_eq!(done.lock().unwrap().len(), 149);
    assert_eq!(server.count("CreateTags"), 2);

    // One after the other, without an end in sight: after a few of them the rest is not tried one by one.
    let (server, done) = picky(world.proxy(), |_| true, denied);
    let (printed, ids) = tag_many(&world, &server, 200, 3);
    assert_eq!((printed, done.lock().unwrap().len()), (json!(ids), 0));
    assert!(server.count("CreateTags") <= 10, "{} requests", server.count("CreateTags"));
}

#[test]
fn credentials_that_are_turned_down_end_the_run() {
    let world = World::new();
    let message = "AWS was not able to validate the provided access credentials";
    let (server, _) = picky(world.proxy(), |_| true, move |_| refusal(401, "AuthFailure", message));
    let ids = volume_ids(3).join(" ");
    via(&world, &server, &format!("modify_tags --resource_ids {ids} --tags Env=prod --create")).run().exits(5).logs("AuthFailure");
    assert_eq!(server.count("CreateTags"), 1);
}

#[test]
fn tags_that_cannot_be_looked_at_are_not_changed() {
    let world = World::new();
    let volume = world.volume(&[]);
    let denied =
        |_: usize, _: &mut Request| Some(refusal(403, "UnauthorizedOperation", "You are not authorized to perform this operation."));
    let server = world.proxy().rule("DescribeTags", denied).start();
    let output = via(&world, &server, &format!("modify_tags --resource_ids {volume} --tags Env=prod --create")).run().exits(1);
    output.logs("UnauthorizedOperation").logs("aaws permissions ec2 modify_tags");
    assert_eq!(writes(&server), [""; 0]);
}

// --- modify_tags: the rest ---

#[test]
fn a_dry_run_says_what_would_become_of_each_tag_and_sends_no_write() {
    let world = World::new();
    let (dev, none, prod) = (world.volume(&[]), world.volume(&[]), world.volume(&[]));
    world.tag(&dev, "Env", "dev");
    world.tag(&prod, "Env", "prod");
    let server = world.proxy().start();
    let plan = |flags: &str| {
        let line = format!("modify_tags --resource_ids {dev} {none} {prod} {flags} --dry_run");
        let items = via(&world, &server, &line).run().ok().json();
        let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
        let items = items.as_array().expect("a list").iter().map(|i| (text(i, "item"), text(i, "status"), text(i, "message")));
        items.collect::<Vec<_>>()
    };
    let plans = plan("--tags Env=prod --create");
    assert_eq!(plans.iter().map(|p| p.0.as_str()).collect::<Vec<_>>(), [&dev, &none], "what is so already is not in the plan");
    assert!(plans.iter().all(|p| p.1 == "planned" && p.2.contains("Env=prod would be")), "{plans:?}");
    assert!(plans[0].2.contains("Env=dev") && !plans[1].2.contains("dev"), "what it is now: {plans:?}");
    let plans = plan("--tags Env=dev --delete");
    assert_eq!(plans.len(), 1, "{plans:?}");
    assert!(plans[0].0 == dev && plans[0].2.contains("Env=dev would be removed"), "{plans:?}");
    assert_eq!(writes(&server), [""; 0]);
    assert_eq!(world.tags(&dev), pairs(&[("Env", "dev")]));
}

#[test]
fn a_resource_that_is_given_twice_is_changed_once() {
    let world = World::new();
    let volume = world.volume(&[]);
    let server = world.proxy().start();
    let folder = directory();
    let line = format!("modify_tags --resource_ids {volume} {volume} --tags Env=prod --create --report report.jsonl");
    assert_eq!(via(&world, &server, &line).within(folder.path()).run().ok().json(), json!([]));
    // The report has them as they are settled, and there was nothing to wait for with the second.
    let mut told: Vec<_> = told(&folder).into_iter().map(|line| line.1).collect();
    told.sort();
    assert_eq!(told, ["done", "unchanged"]);
    let requests = server.requests("CreateTags");
    assert_eq!(requests.iter().map(resources).collect::<Vec<_>>(), [[volume]]);
}

#[test]
fn no_resources_are_no_requests() {
    let world = World::new();
    let server = world.proxy().start();
    for which in ["create", "delete"] {
        let input = json!({"resource_ids": [], "tags": ["Env"], which: true});
        assert_eq!(with_input(&world, &server, "modify_tags", &input).run().ok().json(), json!([]));
    }
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn permissions_are_for_what_is_asked_and_image_arns_have_no_account() {
    let line = "permissions ec2 modify_tags --resource_ids ami-0123456789abcdef0 --tags Env=prod --create --region cn-north-1 --account 123456789012";
    let policy = aaws(line).run().ok().stdout;
    assert!(policy.contains("ec2:CreateTags") && !policy.contains("ec2:DeleteTags"), "{policy}");
    assert!(policy.contains("arn:aws-cn:ec2:cn-north-1::image/ami-0123456789abcdef0"), "{policy}");
    assert!(!policy.contains("key-pair/"), "{policy}");
    let all = aaws("permissions ec2 modify_tags --all").run().ok().stdout;
    assert!(all.contains("key-pair/*") && all.contains("ec2:DeleteTags"), "{all}");
}
