//! Elastic IP addresses and network interfaces: what is told of them, and which of them are given up.

use serde_json::json;

use super::deleting::{leak, planned, reported};
use crate::support::Response;
use crate::support::ec2::{World, writes};

/// An answer in which the item of an id is another, from the id on.
fn changed(answer: &str, member: &str, id: &str, change: impl Fn(&str) -> String) -> String {
    let start = format!("<{member}>");
    let mut pieces = answer.split(start.as_str());
    let head = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(head, |text, piece| {
        let item = if piece.starts_with(&format!("{id}<")) { change(piece) } else { piece.to_owned() };
        text + &start + &item
    })
}

/// A text without an element.
fn without(text: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    match (text.find(&open), text.find(&close)) {
        (Some(from), Some(to)) => text[..from].to_owned() + &text[to + close.len()..],
        _ => text.to_owned(),
    }
}

/// What a line prints, which must succeed.
#[track_caller]
fn found(world: &World, line: &str) -> Vec<String> {
    let printed = world.aaws(format!("ec2 {line}")).run().ok().json();
    let mut ids: Vec<String> = serde_json::from_value(printed).expect("a list of ids");
    ids.sort();
    ids
}

fn sorted<const N: usize>(ids: [&String; N]) -> Vec<String> {
    let mut ids: Vec<String> = ids.into_iter().cloned().collect();
    ids.sort();
    ids
}

// --- Both ---

/// The four actions with their lists, and the operation that looks.
const LISTS: [(&str, &str, &str); 4] = [
    ("discover_addresses --allocation_ids", "DescribeAddresses", "eipalloc-"),
    ("release_addresses --allocation_ids", "DescribeAddresses", "eipalloc-"),
    ("discover_interfaces --network_interface_ids", "DescribeNetworkInterfaces", "eni-"),
    ("delete_interfaces --network_interface_ids", "DescribeNetworkInterfaces", "eni-"),
];

#[test]
fn ids_are_looked_up_by_filter_two_hundred_a_request() {
    let world = World::new();
    for (line, operation, prefix) in LISTS {
        let there = if prefix == "eni-" { world.interface(&[]) } else { world.address() };
        let ids: String = (0..200).map(|n| format!("{prefix}{n:017x}\n")).chain([format!("{there}\n")]).collect();
        let server = world.proxy().start();
        let output = world.aaws_via(&server, format!("ec2 {line} -")).stdin(&ids).run().exits(3);
        assert_eq!(output.json().as_array().map(Vec::len), Some(if line.starts_with("discover") { 1 } else { 200 }), "{output}");
        let sizes: Vec<usize> = server.requests(operation).iter().map(|r| r.text().matches("Filter.1.Value.").count()).collect();
        assert_eq!(sizes, [200, 1], "{line}");
    }
}

#[test]
fn what_cannot_be_looked_at_is_not_touched() {
    let world = World::new();
    for (line, operation, prefix) in LISTS {
        let there = if prefix == "eni-" { world.interface(&[]) } else { world.address() };
        let server = world.proxy().refuse(operation, 403, "UnauthorizedOperation").start();
        world.aaws_via(&server, format!("ec2 {line} {there}")).run().exits(1).logs("UnauthorizedOperation");
        assert_eq!(writes(&server), [""; 0], "{line}");
    }
}

#[test]
fn what_details_tell_is_what_the_counterpart_reads() {
    let world = World::new();
    let machine = world.instance(&[]);
    let (used, free) = (world.address(), world.address());
    world.associate(&used, &machine.id);
    world.interface(&[]);
    let attached = world.interfaces().len() - 1;
    let release = "aaws ec2 discover_addresses --unassociated --details | aaws ec2 release_addresses --allocation_ids -";
    assert_eq!(world.shell(release).run().ok().json(), json!([]));
    assert_eq!(world.addresses(), [used.as_str()], "{free} was free");
    let delete = "aaws ec2 discover_interfaces --detached --details | aaws ec2 delete_interfaces --network_interface_ids -";
    assert_eq!(world.shell(delete).run().ok().json(), json!([]));
    assert_eq!(world.interfaces().len(), attached);
}

// --- discover_addresses ---

#[test]
fn addresses_are_told_by_their_tags_and_by_what_they_are_associated_with() {
    let world = World::new();
    let machine = world.instance(&[]);
    let (used, tagged, plain, parked) = (world.address(), world.address(), world.address(), world.address());
    world.associate(&used, &machine.id);
    world.tag(&used, "Team", "payments");
    world.tag(&tagged, "Team", "payments");
    world.tag(&tagged, "Name", "gateway");
    let interface = world.interface(&[]);
    world.ec2("AssociateAddress", &[("AllocationId", &parked), ("NetworkInterfaceId", &interface)]);

    assert_eq!(found(&world, "discover_addresses"), sorted([&used, &tagged, &plain, &parked]));
    assert_eq!(found(&world, "discover_addresses --unassociated"), sorted([&tagged, &plain]));
    assert_eq!(found(&world, "discover_addresses --tags Team=payments"), sorted([&used, &tagged]));
    assert_eq!(found(&world, "discover_addresses --tags Team Name=gateway --unassociated"), [tagged.as_str()]);
    // A tag's value is no pattern.
    assert_eq!(found(&world, "discover_addresses --tags Team=*"), [""; 0]);
    assert_eq!(found(&world, &format!("discover_addresses --unassociated --allocation_ids {used} {plain}")), [plain.as_str()]);

    let details = world.aaws(format!("ec2 discover_addresses --details --allocation_ids {used} {tagged} {parked}")).run().ok().json();
    assert_eq!((&details[0]["AllocationId"], &details[0]["InstanceId"]), (&json!(used), &json!(machine.id)));
    for member in ["PublicIp", "NetworkInterfaceId", "AssociationId", "PrivateIpAddress"] {
        assert!(details[0][member].is_string(), "{member}: {details}");
    }
    assert_eq!((&details[2]["NetworkInterfaceId"], &details[2]["InstanceId"]), (&json!(interface), &json!(null)));
    let ip = details[1]["PublicIp"].clone();
    assert!(ip.is_string(), "{details}");
    assert_eq!(
        details[1],
        json!({
            "AllocationId": tagged, "PublicIp": ip, "Name": "gateway", "InstanceId": null, "NetworkInterfaceId": null, "AssociationId": null,
            "PrivateIpAddress": null, "Domain": "vpc", "ServiceManaged": null, "PublicIpv4Pool": "amazon",
        })
    );
}

/// DescribeAddresses takes neither a token nor a size.
#[test]
fn addresses_come_in_one_answer() {
    let world = World::new();
    let address = world.address();
    let server = world.proxy().start();
    let output = world.aaws_via(&server, "ec2 discover_addresses").run().ok();
    assert_eq!(output.json(), json!([address]));
    let requests = server.requests("DescribeAddresses");
    assert_eq!(requests.len(), 1);
    assert!(["MaxResults", "NextToken", "Filter"].iter().all(|word| !requests[0].text().contains(word)), "{}", requests[0].text());
}

#[test]
fn what_a_region_without_addresses_and_interfaces_has_is_nothing() {
    let world = World::new();
    for line in ["discover_addresses", "discover_addresses --details", "discover_interfaces", "discover_interfaces --detached --details"] {
        assert_eq!(world.aaws(format!("ec2 {line}")).run().ok().json(), json!([]), "{line}");
    }
}

// --- release_addresses ---

#[test]
fn only_addresses_that_nothing_uses_are_released() {
    let world = World::new();
    let machine = world.instance(&[]);
    let (free, used, parked) = (world.address(), world.address(), world.address());
    world.associate(&used, &machine.id);
    let interface = world.interface(&[]);
    world.ec2("AssociateAddress", &[("AllocationId", &parked), ("NetworkInterfaceId", &interface)]);
    let ip = world.aaws(format!("ec2 discover_addresses --details --allocation_ids {free}")).run().ok().json()[0]["PublicIp"].clone();
    let ip = ip.as_str().expect("an address").to_owned();

    let server = world.proxy().start();
    let line = format!("release_addresses --allocation_ids {used} {free} eipalloc-0000000000000bad {parked} {free}");
    let plan = planned(&world, &server, &line, 3);
    assert!(plan.why(&free).contains(&ip), "{:?}", plan.0);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.exits(3).json(), json!([used, "eipalloc-0000000000000bad", parked]));
    assert_eq!(said.statuses(), ["done", "failed", "skipped", "skipped", "unchanged"]);
    assert_eq!(said.code("eipalloc-0000000000000bad"), "NotFound");
    assert!(said.why(&used).contains(&machine.id) && said.why(&parked).contains(&interface), "{:?}", said.0);
    // Who wants it back has to know what it was.
    assert!(said.0.iter().any(|s| s["status"] == "done" && s["message"].as_str().is_some_and(|m| m.contains(&ip))), "{:?}", said.0);
    assert_eq!(writes(&server), ["ReleaseAddress"]);
    assert!(server.requests("ReleaseAddress")[0].text().contains("NetworkBorderGroup=us-east-1"));
    assert_eq!(world.addresses(), sorted([&used, &parked]));
}

#[test]
fn addresses_of_services_stay_and_those_of_a_pool_go_back_to_it() {
    let world = World::new();
    let (managed, pooled) = (world.address(), world.address());
    let (of_a_service, of_a_pool) = (managed.clone(), pooled.clone());
    let server = world
        .proxy()
        .rewrite("DescribeAddresses", move |_, answer| {
            let service = |item: &str| item.replacen("</allocationId>", "</allocationId><serviceManaged>alb</serviceManaged>", 1);
            let pool = |item: &str| item.replacen("<publicIpv4Pool>amazon<", "<publicIpv4Pool>ipv4pool-ec2-012345<", 1);
            let answer = changed(&answer, "allocationId", &of_a_service, service);
            changed(&answer, "allocationId", &of_a_pool, pool)
        })
        .start();
    let details =
        world.aaws_via(&server, format!("ec2 discover_addresses --details --allocation_ids {managed} {pooled}")).run().ok().json();
    assert_eq!((&details[0]["ServiceManaged"], &details[1]["PublicIpv4Pool"]), (&json!("alb"), &json!("ipv4pool-ec2-012345")));

    let line = format!("release_addresses --allocation_ids {managed} {pooled}");
    let plan = planned(&world, &server, &line, 3);
    assert!(plan.why(&pooled).contains("ipv4pool-ec2-012345"), "{:?}", plan.0);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.exits(3).json(), json!([managed]));
    assert!(said.why(&managed).contains("alb"), "{:?}", said.0);
    assert_eq!(world.addresses(), [managed]);
}

#[test]
fn an_address_that_is_refused_sinks_no_other() {
    let world = World::new();
    let (locked, free) = (world.address(), world.address());
    let server = world.proxy().refuse_with("ReleaseAddress", leak(format!("AllocationId={locked}")), 400, "InvalidAddress.Locked").start();
    let (output, said) = reported(&world, &server, &format!("release_addresses --allocation_ids {locked} {free}"));
    assert_eq!(output.exits(3).json(), json!([locked]));
    assert_eq!((said.code(&locked), said.status(&free)), ("InvalidAddress.Locked", "done"));
    assert_eq!(world.addresses(), [locked]);
}

#[test]
fn an_address_that_was_associated_since_it_was_looked_at_stays() {
    let world = World::new();
    let machine = world.instance(&[]);
    let taken = world.address();
    world.associate(&taken, &machine.id);
    let id = taken.clone();
    let server = world
        .proxy()
        .rewrite("DescribeAddresses", move |_, answer| {
            let free = |item: &str| without(&without(&without(item, "associationId"), "networkInterfaceId"), "instanceId");
            changed(&answer, "allocationId", &id, free)
        })
        .start();
    let (output, said) = reported(&world, &server, &format!("release_addresses --allocation_ids {taken}"));
    assert_eq!(output.exits(3).json(), json!([taken]));
    assert_eq!(said.code(&taken), "InvalidIPAddress.InUse");
    assert_eq!(world.addresses(), [taken]);
}

/// The address behind an allocation id.
fn ip(world: &World, id: &str) -> String {
    let details = world.aaws(format!("ec2 discover_addresses --details --allocation_ids {id}")).run().ok().json();
    details[0]["PublicIp"].as_str().expect("an address").to_owned()
}

#[test]
fn an_address_whose_release_was_not_answered_is_released_all_the_same() {
    let world = World::new();
    let address = world.address();
    let ip = ip(&world, &address);
    let server = world.proxy().losing("ReleaseAddress").start();
    let (output, said) = reported(&world, &server, &format!("release_addresses --allocation_ids {address}"));
    assert_eq!(output.ok().json(), json!([]));
    assert_eq!(said.status(&address), "done", "{:?}", said.0);
    assert_eq!(said.why(&address).matches(&ip).count(), 1, "{:?}", said.0);
    assert_eq!((said.0.len(), world.addresses().len(), server.count("ReleaseAddress")), (1, 0, 1));
}

#[test]
fn an_address_is_told_where_no_answer_says_whether_it_was_released() {
    // It is there still, and is asked to be released again and again.
    let world = World::new();
    let address = world.address();
    let told = ip(&world, &address);
    let server = world.proxy().refuse("ReleaseAddress", 500, "InternalError").start();
    let (output, said) = reported(&world, &server, &format!("release_addresses --allocation_ids {address}"));
    assert_eq!(output.exits(3).json(), json!([address]));
    assert_eq!((said.code(&address), server.count("ReleaseAddress")), ("InternalError", 3));
    assert_eq!(said.why(&address).matches(&told).count(), 1, "{:?}", said.0);

    // It cannot be looked at again.
    let server = world.proxy().losing("ReleaseAddress").fail("DescribeAddresses", 2, 403, "UnauthorizedOperation").start();
    let (output, said) = reported(&world, &server, &format!("release_addresses --allocation_ids {address}"));
    assert_eq!(output.exits(3).json(), json!([address]));
    assert_eq!((said.0.len(), said.why(&address).matches(&told).count()), (1, 1), "{:?}", said.0);
}

// --- discover_interfaces ---

#[test]
fn interfaces_are_told_by_their_tags_and_by_what_they_are_attached_to() {
    let world = World::new();
    let machine = world.instance(&[]);
    let first = world.interfaces().remove(0);
    let (second, tagged, plain) = (world.interface(&[]), world.interface(&[("Description", "kept for failover")]), world.interface(&[]));
    world.attach_interface(&second, &machine.id);
    world.tag(&second, "Role", "failover");
    world.tag(&tagged, "Role", "failover");
    world.tag(&tagged, "Name", "standby");
    let address = world.address();
    world.ec2("AssociateAddress", &[("AllocationId", &address), ("NetworkInterfaceId", &tagged)]);

    assert_eq!(found(&world, "discover_interfaces"), sorted([&first, &second, &tagged, &plain]));
    assert_eq!(found(&world, "discover_interfaces --detached"), sorted([&tagged, &plain]));
    assert_eq!(found(&world, "discover_interfaces --tags Role=failover"), sorted([&second, &tagged]));
    assert_eq!(found(&world, "discover_interfaces --tags Role --detached"), [tagged.as_str()]);
    assert_eq!(found(&world, "discover_interfaces --tags Role=*"), [""; 0]);
    assert_eq!(found(&world, &format!("discover_interfaces --detached --network_interface_ids {second} {plain}")), [plain.as_str()]);

    let details = world.aaws(format!("ec2 discover_interfaces --details --network_interface_ids {second} {tagged}")).run().ok().json();
    assert_eq!(
        (&details[0]["Status"], &details[0]["InstanceId"], &details[0]["AttachmentStatus"]),
        (&json!("in-use"), &json!(machine.id), &json!("attached"))
    );
    let standby = &details[1];
    assert_eq!(standby["OwnerId"], world.account.id.as_str(), "{standby}");
    for member in ["PrivateIpAddress", "PublicIp", "VpcId", "SubnetId", "RequesterId"] {
        assert!(standby[member].is_string(), "{member}: {standby}");
    }
    assert_eq!(
        (&standby["Name"], &standby["Status"], &standby["InterfaceType"], &standby["Description"], &standby["AvailabilityZone"]),
        (&json!("standby"), &json!("available"), &json!("interface"), &json!("kept for failover"), &json!("us-east-1a"))
    );
    assert_eq!((&standby["InstanceId"], &standby["RequesterManaged"]), (&json!(null), &json!(false)));
    assert!(standby["Groups"][0].as_str().is_some_and(|group| group.starts_with("sg-")), "{standby}");
}

#[test]
fn interfaces_come_page_by_page_and_those_of_services_too() {
    let world = World::new();
    let interface = world.interface(&[]);
    let server = world.proxy().start();
    world.aaws_via(&server, "ec2 discover_interfaces --detached").run().ok();
    world.aaws_via(&server, format!("ec2 discover_interfaces --network_interface_ids {interface}")).run().ok();
    world.aaws_via(&server, format!("ec2 delete_interfaces --network_interface_ids {interface}")).run().ok();
    let requests = server.requests("DescribeNetworkInterfaces");
    assert_eq!(requests.len(), 3);
    for word in ["MaxResults=500", "IncludeManagedResources=true"] {
        assert!(requests.iter().all(|r| r.text().contains(word)), "{word}");
    }
    // What is asked for is left to EC2 to find, where it can.
    assert!(requests[0].text().contains("Filter.1.Name=status&Filter.1.Value.1=available"), "{}", requests[0].text());

    let again = "<DescribeNetworkInterfacesResponse><networkInterfaceSet/><nextToken>again</nextToken></DescribeNetworkInterfacesResponse>";
    let server = world.proxy().rule("DescribeNetworkInterfaces", move |_, _| Some(Response::xml(200, again))).start();
    world.aaws_via(&server, "ec2 discover_interfaces").run().exits(1).logs("where it was before");
    assert_eq!(server.count("DescribeNetworkInterfaces"), 2);
}

// --- delete_interfaces ---

#[test]
fn only_interfaces_that_are_attached_to_nothing_are_deleted() {
    let world = World::new();
    let machine = world.instance(&[]);
    let first = world.interfaces().remove(0);
    let (free, second) = (world.interface(&[("Description", "left behind")]), world.interface(&[]));
    world.attach_interface(&second, &machine.id);
    let address = world.address();
    world.ec2("AssociateAddress", &[("AllocationId", &address), ("NetworkInterfaceId", &free)]);
    let ip = world.aaws("ec2 discover_addresses --details").run().ok().json()[0]["PublicIp"].clone();

    let server = world.proxy().start();
    let line = format!("delete_interfaces --network_interface_ids {first} {free} eni-0000000000000bad {second} {free}");
    let plan = planned(&world, &server, &line, 3);
    // What else comes of it is said before.
    let why = plan.why(&free);
    assert!(why.contains("left behind") && why.contains(ip.as_str().expect("an address")), "{why}");
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.exits(3).json(), json!([first, "eni-0000000000000bad", second]));
    assert_eq!(said.statuses(), ["done", "failed", "skipped", "skipped", "unchanged"]);
    assert_eq!(said.code("eni-0000000000000bad"), "NotFound");
    assert!(said.why(&first).contains(&machine.id) && said.why(&second).contains(&machine.id), "{:?}", said.0);
    assert_eq!(writes(&server), ["DeleteNetworkInterface"]);
    assert_eq!(world.interfaces(), sorted([&first, &second]));
}

#[test]
fn interfaces_that_services_made_for_themselves_stay() {
    let world = World::new();
    let (requested, operated, free) =
        (world.interface(&[("Description", "AWS Lambda VPC ENI")]), world.interface(&[]), world.interface(&[]));
    let (of_lambda, of_eks) = (requested.clone(), operated.clone());
    let server = world
        .proxy()
        .rewrite("DescribeNetworkInterfaces", move |_, answer| {
            let requested = |item: &str| item.replacen("<requesterManaged>false<", "<requesterManaged>true<", 1);
            let operator = "</networkInterfaceId><operator><managed>true</managed><principal>eks.amazonaws.com</principal></operator>";
            let answer = changed(&answer, "networkInterfaceId", &of_lambda, requested);
            changed(&answer, "networkInterfaceId", &of_eks, |item| item.replacen("</networkInterfaceId>", operator, 1))
        })
        .start();
    let line = format!("delete_interfaces --network_interface_ids {requested} {operated} {free}");
    let plan = planned(&world, &server, &line, 3);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.exits(3).json(), json!([requested, operated]));
    assert_eq!(said.statuses(), ["done", "skipped", "skipped"]);
    assert!(said.why(&requested).contains("AWS Lambda VPC ENI") && said.why(&operated).contains("eks.amazonaws.com"), "{:?}", said.0);
    assert_eq!(world.interfaces(), sorted([&requested, &operated]));
}

#[test]
fn interfaces_of_accounts_that_share_a_vpc_are_told_and_stay() {
    let world = World::new();
    let (foreign, own) = (world.interface(&[]), world.interface(&[]));
    let (id, account) = (foreign.clone(), world.account.id.clone());
    let server = world
        .proxy()
        .rewrite("DescribeNetworkInterfaces", move |_, answer| {
            let (mine, theirs) = (format!("<ownerId>{account}<"), "<ownerId>111122223333<");
            changed(&answer, "networkInterfaceId", &id, |item| item.replacen(&mine, theirs, 1))
        })
        .start();
    let line = format!("ec2 discover_interfaces --details --network_interface_ids {foreign} {own}");
    let shown = world.aaws_via(&server, line).run().ok().json();
    assert_eq!((&shown[0]["OwnerId"], &shown[1]["OwnerId"]), (&json!("111122223333"), &json!(world.account.id)), "{shown}");

    let line = format!("delete_interfaces --network_interface_ids {foreign} {own}");
    let plan = planned(&world, &server, &line, 3);
    let (output, said) = reported(&world, &server, &line);
    said.is_what_became_of(&plan);
    assert_eq!(output.exits(3).json(), json!([foreign]));
    assert!(said.status(&foreign) == "skipped" && said.why(&foreign).contains("111122223333"), "{:?}", said.0);
    assert_eq!(world.interfaces(), [foreign]);
}

#[test]
fn an_interface_that_was_attached_since_it_was_looked_at_stays_and_sinks_no_other() {
    let world = World::new();
    let machine = world.instance(&[]);
    let (taken, free) = (world.interface(&[]), world.interface(&[]));
    world.attach_interface(&taken, &machine.id);
    let id = taken.clone();
    let server = world
        .proxy()
        .rewrite("DescribeNetworkInterfaces", move |_, answer| {
            changed(&answer, "networkInterfaceId", &id, |item| item.replacen("<status>in-use<", "<status>available<", 1))
        })
        .start();
    let (output, said) = reported(&world, &server, &format!("delete_interfaces --network_interface_ids {taken} {free}"));
    assert_eq!(output.exits(3).json(), json!([taken]));
    assert_eq!((said.code(&taken), said.status(&free)), ("InvalidParameterValue", "done"));
    assert!(world.interfaces().contains(&taken) && !world.interfaces().contains(&free));
}

#[test]
fn an_interface_whose_deletion_was_not_answered_is_deleted_all_the_same() {
    let world = World::new();
    let interface = world.interface(&[]);
    let server = world.proxy().losing("DeleteNetworkInterface").start();
    let (output, said) = reported(&world, &server, &format!("delete_interfaces --network_interface_ids {interface}"));
    assert_eq!(output.ok().json(), json!([]));
    assert_eq!(said.status(&interface), "unchanged", "{:?}", said.0);
    assert_eq!((world.interfaces().len(), server.count("DeleteNetworkInterface")), (0, 2));
}
