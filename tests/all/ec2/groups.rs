//! Security groups: deleting them, in the order of their rules and without a scratch on those that stay; and finding those that nothing
//! uses, in whatever odd way.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::ec2::{World, writes};
use crate::support::fake_services::{self, Place};
use crate::support::http::{self, Request};
use crate::support::proxy::{self, Proxy};
use crate::support::{Response, directory, report, xml};

const DISCOVER: &str = "ec2 discover_unused_security_groups";

/// A rule of one group that admits another, at all ports.
fn admit(world: &World, group: &str, other: &str) {
    let rule = [("GroupId", group), ("IpPermissions.1.IpProtocol", "-1"), ("IpPermissions.1.Groups.1.GroupId", other)];
    world.ec2("AuthorizeSecurityGroupIngress", &rule);
}

/// The same, at one port.
fn admit_https(world: &World, group: &str, other: &str) {
    let rule = [
        ("GroupId", group),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "443"),
        ("IpPermissions.1.ToPort", "443"),
        ("IpPermissions.1.Groups.1.GroupId", other),
    ];
    world.ec2("AuthorizeSecurityGroupIngress", &rule);
}

/// Whether a rule of a group admits another.
fn admits(world: &World, group: &str, other: &str) -> bool {
    let filters = [
        ("Filter.1.Name", "group-id"),
        ("Filter.1.Value.1", group),
        ("Filter.2.Name", "ip-permission.group-id"),
        ("Filter.2.Value.1", other),
    ];
    world.ec2("DescribeSecurityGroups", &filters).contains(group)
}

fn default_group(world: &World) -> String {
    let found = world.ec2("DescribeSecurityGroups", &[("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "default")]);
    xml::texts(&found, "groupId").remove(0)
}

fn delete(ids: &[&str]) -> String {
    format!("ec2 delete_security_groups --security_group_ids {}", ids.join(" "))
}

/// The ids of a list, sorted.
fn sorted(value: &Value) -> Vec<&str> {
    let mut ids: Vec<&str> = value.as_array().expect("a list").iter().map(|id| id.as_str().expect("an id")).collect();
    ids.sort_unstable();
    ids
}

// --- Deleting ---

#[test]
fn groups_are_deleted_in_the_order_of_their_rules() {
    let world = World::new();
    let (a, b, c) = (world.group("a"), world.group("b"), world.group("c"));
    // b names a, c names b: a can only be last. A group may name itself.
    admit_https(&world, &b, &a);
    admit_https(&world, &c, &b);
    admit_https(&world, &a, &a);
    let server = world.proxy().start();
    assert_eq!(world.aaws_via(&server, delete(&[&a, &b, &c])).run().ok().json(), json!([]));
    assert_eq!(world.groups(), [""; 0]);
    assert_eq!(writes(&server), ["DeleteSecurityGroup"; 3], "no rule had to be taken away, and nothing was tried twice");
}

#[test]
fn a_group_that_is_given_twice_and_stays_keeps_those_that_wait_for_it() {
    let world = World::new();
    let (a, b) = (world.group("a"), world.group("b"));
    admit_https(&world, &a, &b);
    let refused = a.clone();
    let rule = move |_: usize, request: &mut Request| {
        request.text().contains(&refused).then(|| proxy::error(request, 403, "UnauthorizedOperation"))
    };
    let server = world.proxy().rule("DeleteSecurityGroup", rule).start();
    world.aaws_via(&server, delete(&[&a, &a, &b])).run().exits(3);
    let sent = server.requests("DeleteSecurityGroup");
    assert!(sent.iter().all(|request| !request.text().contains(&b)), "{} requests", sent.len());
}

#[test]
fn groups_that_name_each_other_lose_only_those_rules() {
    let world = World::new();
    let (a, b) = (world.group("a"), world.group("b"));
    admit_https(&world, &a, &b);
    admit_https(&world, &b, &a);
    let server = world.proxy().start();
    assert_eq!(world.aaws_via(&server, delete(&[&a, &b])).run().ok().json(), json!([]));
    assert_eq!(world.groups(), [""; 0]);
    assert_eq!(server.count("RevokeSecurityGroupIngress"), 1);
}

#[test]
fn rules_of_a_circle_are_put_back_when_its_group_stays() {
    let world = World::new();
    let (a, b) = (world.group("a"), world.group("b"));
    admit_https(&world, &a, &b);
    admit_https(&world, &b, &a);
    let rules =
        |world: &World| world.ec2("DescribeSecurityGroups", &[("Filter.1.Name", "ip-permission.group-id"), ("Filter.1.Value.1", &a)]);
    let before = rules(&world);
    let server = world.proxy().refuse("DeleteSecurityGroup", 403, "UnauthorizedOperation").start();
    let output = world.aaws_via(&server, delete(&[&a, &b])).run().exits(3).logs("undone");
    assert_eq!(output.json(), json!([a, b]));
    assert_eq!(server.count("AuthorizeSecurityGroupIngress"), 1);
    let count = |xml: &str| xml.matches(&a).count();
    assert_eq!(count(&rules(&world)), count(&before));
}

#[test]
fn a_rule_that_was_taken_away_without_an_answer_is_put_back() {
    let world = World::new();
    let (a, b) = (world.group("a"), world.group("b"));
    admit(&world, &a, &b);
    admit(&world, &b, &a);
    let to = world.proxy().start().url.clone();
    let rule = move |n: usize, request: &mut Request| {
        (n == 1).then(|| {
            http::send(&to, request).expect("EC2 does it");
            Response::dropped()
        })
    };
    let proxy = world.proxy().rule("RevokeSecurityGroupIngress", rule);
    let server = proxy.refuse("DeleteSecurityGroup", 403, "UnauthorizedOperation").start();
    world.aaws_via(&server, delete(&[&a, &b])).run().exits(3).logs("undone");
    assert!(admits(&world, &a, &b) && admits(&world, &b, &a));
}

#[test]
fn what_hangs_on_a_circle_is_no_part_of_it() {
    let world = World::new();
    let (hanging, a, b) = (world.group("hanging"), world.group("a"), world.group("b"));
    admit(&world, &a, &hanging);
    admit(&world, &a, &b);
    admit(&world, &b, &a);
    let denied = a.clone();
    let rule = move |_: usize, request: &mut Request| {
        request.text().contains(&denied).then(|| proxy::error(request, 403, "UnauthorizedOperation"))
    };
    let server = world.proxy().rule("DeleteSecurityGroup", rule).start();
    let output = world.aaws_via(&server, delete(&[&hanging, &a, &b])).run().exits(3).logs("undone");
    assert_eq!(output.json(), json!([a, b, hanging]));
    assert!(admits(&world, &a, &hanging) && admits(&world, &a, &b) && admits(&world, &b, &a));
    assert_eq!(server.count("RevokeSecurityGroupIngress"), 1);

    // When nothing is in the way, all of them go, and the one that hangs on the circle goes after the one that names it.
    let server = world.proxy().start();
    assert_eq!(world.aaws_via(&server, delete(&[&hanging, &a, &b])).run().ok().json(), json!([]));
    assert_eq!(world.groups(), [""; 0]);
    let order: Vec<String> = server.requests("DeleteSecurityGroup").iter().map(Request::text).collect();
    assert!(order.len() == 3 && order[0].contains(&a), "{order:?}");
}

#[test]
fn groups_in_use_fail_with_what_uses_them_and_default_groups_are_skipped() {
    let world = World::new();
    let (on, named, namer) = (world.group("on"), world.group("named"), world.group("namer"));
    world.instance(&[("SecurityGroupId.1", &on)]);
    admit_https(&world, &namer, &named);
    let default = default_group(&world);
    let server = world.proxy().start();
    let line = delete(&[&on, &named, &default]);
    let output = world.aaws_via(&server, line).run().exits(3).logs("eni-").logs(&namer).logs("default group");
    let mut wanted = [on.as_str(), named.as_str(), default.as_str()];
    wanted.sort_unstable();
    assert_eq!(sorted(&output.json()), wanted);
    assert_eq!(writes(&server), [""; 0], "it is known beforehand");
}

#[test]
fn a_group_that_stays_keeps_its_rules_whatever_the_order() {
    for used_first in [true, false] {
        let world = World::new();
        let (used, other) = (world.group("used"), world.group("other"));
        world.instance(&[("SecurityGroupId.1", &used)]);
        admit(&world, &used, &other);
        admit(&world, &other, &used);
        let server = world.proxy().start();
        let line = if used_first { delete(&[&used, &other]) } else { delete(&[&other, &used]) };
        let output = world.aaws_via(&server, line).run().exits(3).logs("eni-");
        let mut both = vec![used.as_str(), other.as_str()];
        both.sort_unstable();
        assert_eq!(sorted(&output.json()), both);
        assert_eq!(writes(&server), [""; 0], "used first: {used_first}");
        assert!(admits(&world, &used, &other));
    }
}

#[test]
fn a_default_group_keeps_its_rules() {
    let world = World::new();
    let (default, other) = (default_group(&world), world.group("other"));
    admit(&world, &default, &other);
    admit(&world, &other, &default);
    let server = world.proxy().start();
    world.aaws_via(&server, delete(&[&other, &default])).run().exits(3).logs("default group");
    assert_eq!(writes(&server), [""; 0]);
    assert!(admits(&world, &default, &other));
}

#[test]
fn a_dry_run_knows_what_cannot_go_because_something_else_stays() {
    let world = World::new();
    let (used, named, far, free) = (world.group("used"), world.group("named"), world.group("far"), world.group("free"));
    world.instance(&[("SecurityGroupId.1", &used)]);
    admit(&world, &used, &named);
    admit(&world, &named, &far);
    let status = |more: &str| {
        let folder = directory();
        let line = format!("{} {more} --report report.jsonl", delete(&[&used, &named, &far, &free]));
        world.aaws(line).within(folder.path()).run().exits(3);
        let lines = report(&folder);
        let mut status: Vec<_> = lines.iter().map(|l| (l["item"].clone(), l["status"].clone())).collect();
        status.sort_by_key(|(id, _)| id.to_string());
        status
    };
    let dry = status("--dry_run");
    assert_eq!(dry.iter().filter(|(_, s)| s == "failed").count(), 3);
    let wet = status("");
    let planned = |status: Vec<(Value, Value)>| status.into_iter().map(|(id, s)| (id, if s == "planned" { json!("done") } else { s }));
    assert_eq!(planned(dry).collect::<Vec<_>>(), wet);
}

#[test]
fn interfaces_that_linger_are_waited_for() {
    let world = World::new();
    let group = world.group("slow");
    let server =
        world.proxy().rule("DeleteSecurityGroup", |n, request| (n < 3).then(|| proxy::error(request, 400, "DependencyViolation"))).start();
    let line = delete(&[&group]);
    world.aaws_via(&server, &line).run().exits(3).logs("DependencyViolation");
    assert_eq!(world.aaws_via(&server, format!("{line} --wait")).run().ok().json(), json!([]));
    assert_eq!(world.groups(), [""; 0]);
}

/// The rules of a group, as EC2 lists them.
fn rules_of(world: &World, group: &str) -> String {
    world.ec2("DescribeSecurityGroupRules", &[("Filter.1.Name", "group-id"), ("Filter.1.Value.1", group)])
}

/// Two groups that name each other, the second by a rule with a tag.
fn circle(world: &World) -> (String, String) {
    let (a, b) = (world.group("a"), world.group("b"));
    admit_https(world, &a, &b);
    let rule = [
        ("GroupId", b.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "443"),
        ("IpPermissions.1.ToPort", "443"),
        ("IpPermissions.1.Groups.1.GroupId", a.as_str()),
        ("TagSpecification.1.ResourceType", "security-group-rule"),
        ("TagSpecification.1.Tag.1.Key", "Owner"),
        ("TagSpecification.1.Tag.1.Value", "payments"),
    ];
    world.ec2("AuthorizeSecurityGroupIngress", &rule);
    (a, b)
}

#[test]
fn a_rule_that_is_put_back_has_its_tags_again() {
    let world = World::new();
    let (a, b) = circle(&world);
    assert!(rules_of(&world, &b).contains("payments"));
    let server = world.proxy().refuse("DeleteSecurityGroup", 403, "UnauthorizedOperation").start();
    world.aaws_via(&server, delete(&[&a, &b])).run().exits(3).logs("undone").logs("new ids");
    assert!(admits(&world, &a, &b) && admits(&world, &b, &a));
    assert!(rules_of(&world, &b).contains("payments"), "the tags are lost");
    // Better without its tags than not at all.
    let rule = |_: usize, request: &mut Request| {
        request.text().contains("TagSpecification").then(|| proxy::error(request, 403, "UnauthorizedOperation"))
    };
    let denied = world.proxy().refuse("DeleteSecurityGroup", 403, "UnauthorizedOperation");
    let server = denied.rule("AuthorizeSecurityGroupIngress", rule).start();
    world.aaws_via(&server, delete(&[&a, &b])).run().exits(3).logs("without its tags");
    assert!(admits(&world, &b, &a));
}

#[test]
fn rules_whose_tags_cannot_be_looked_at_are_taken_away_only_when_that_is_taken_on() {
    let world = World::new();
    let (a, b) = circle(&world);
    let server = world.proxy().refuse("DescribeSecurityGroupRules", 403, "UnauthorizedOperation").start();
    let folder = directory();
    let line = format!("{} --report report.jsonl", delete(&[&a, &b]));
    world.aaws_via(&server, line).within(folder.path()).run().exits(3).logs("unchecked");
    assert!(report(&folder).iter().any(|line| line["code"] == "Unchecked"), "{:?}", report(&folder));
    assert_eq!(writes(&server), [""; 0]);
    world.aaws_via(&server, format!("{} --unchecked", delete(&[&a, &b]))).run().ok();
    assert_eq!(world.groups(), [""; 0]);
}

#[test]
fn a_group_of_another_vpc_too_is_not_waited_for() {
    let world = World::new();
    let (group, free) = (world.group("shared"), world.group("free"));
    let associated = |state: &str| {
        Response::xml(
            200,
            format!(
                "<DescribeSecurityGroupVpcAssociationsResponse><securityGroupVpcAssociationSet><item><groupId>{group}</groupId>\
                 <vpcId>vpc-2</vpcId><state>{state}</state></item></securityGroupVpcAssociationSet></DescribeSecurityGroupVpcAssociationsResponse>"
            ),
        )
    };
    let answer = associated("associated");
    let server = world.proxy().rule("DescribeSecurityGroupVpcAssociations", move |_, _| Some(answer.clone())).start();
    let output = world.aaws_via(&server, format!("{} --wait", delete(&[&group, &free]))).run().exits(3).logs("vpc-2");
    assert_eq!(output.json(), json!([group]));
    assert_eq!(world.groups(), std::slice::from_ref(&group));
    // One that ended is no matter, and EC2 itself knows of those that may not be listed.
    let answer = associated("disassociated");
    let server = world.proxy().rule("DescribeSecurityGroupVpcAssociations", move |_, _| Some(answer.clone())).start();
    world.aaws_via(&server, format!("{} --dry_run", delete(&[&group]))).run().ok();
    let server = world.proxy().refuse("DescribeSecurityGroupVpcAssociations", 403, "UnauthorizedOperation").start();
    world.aaws_via(&server, delete(&[&group])).run().ok();
}

#[test]
fn a_wait_ends_at_what_does_not_go_away_and_says_what_it_is() {
    let world = World::new();
    let group = world.group("busy");
    let on = group.clone();
    // An instance is launched with it while it is deleted.
    let server = world
        .proxy()
        .rule("DeleteSecurityGroup", |_, request| Some(proxy::error(request, 400, "DependencyViolation")))
        .rule("DescribeNetworkInterfaces", move |n, _| (n > 1).then(|| interface(&on, false)))
        .start();
    world.aaws_via(&server, format!("{} --wait", delete(&[&group]))).run().exits(3).logs("DependencyViolation").logs("eni-1");
    assert_eq!(server.count("DeleteSecurityGroup"), 1);
    assert!(server.requests("DescribeNetworkInterfaces").iter().all(|request| request.text().contains("IncludeManagedResources=true")));
    // When nothing is shown that uses it, that may come; but not for ever.
    let server = world.proxy().refuse("DeleteSecurityGroup", 400, "DependencyViolation").start();
    let run = world.aaws_via(&server, format!("{} --wait", delete(&[&group]))).env("AAWS_CLOCK_RATE", "400");
    run.run().exits(3).logs("nothing is shown that uses it");
    assert!(server.count("DeleteSecurityGroup") > 5);
}

/// An interface in a group, as EC2 lists it.
fn interface(group: &str, of_a_service: bool) -> Response {
    Response::xml(
        200,
        format!(
            "<DescribeNetworkInterfacesResponse><networkInterfaceSet><item><networkInterfaceId>eni-1</networkInterfaceId>\
             <description>AWS Lambda VPC ENI-f-1</description><requesterManaged>{of_a_service}</requesterManaged>\
             <groupSet><item><groupId>{group}</groupId></item></groupSet></item></networkInterfaceSet></DescribeNetworkInterfacesResponse>"
        ),
    )
}

#[test]
fn interfaces_of_services_are_waited_for_before_any_rule_is_taken_away() {
    let world = World::new();
    let (a, b) = (world.group("a"), world.group("b"));
    admit(&world, &a, &b);
    admit(&world, &b, &a);
    let lingering = |of_a_service: bool| {
        // On `b`, whose rule would have to go for the sake of `a`.
        let group = b.clone();
        world.proxy().rule("DescribeNetworkInterfaces", move |n, _| (n < 3).then(|| interface(&group, of_a_service))).start()
    };
    let server = lingering(true);
    world.aaws_via(&server, delete(&[&a, &b])).run().exits(3).logs("eni-1");
    let server = lingering(false);
    world.aaws_via(&server, format!("{} --wait", delete(&[&a, &b]))).run().exits(3).logs("eni-1");
    assert_eq!(writes(&server), [""; 0], "nobody takes away an interface that is not a service's");
    let server = lingering(true);
    let planned = world.aaws_via(&server, format!("{} --wait --dry_run", delete(&[&a, &b]))).run().ok();
    assert!(planned.stdout.contains("eni-1"), "{planned}");
    let server = lingering(true);
    assert_eq!(world.aaws_via(&server, format!("{} --wait", delete(&[&a, &b]))).run().ok().json(), json!([]));
    assert_eq!(world.groups(), [""; 0]);
    let operations = server.operations();
    let places = |wanted: &str| -> Vec<usize> { (0..operations.len()).filter(|&n| operations[n] == wanted).collect() };
    let (looks, revokes) = (places("DescribeNetworkInterfaces"), places("RevokeSecurityGroupIngress"));
    assert!(looks.len() >= 3 && revokes.len() == 1 && looks[2] < revokes[0], "{operations:?}");
}

// --- Finding ---

#[test]
fn a_group_that_any_place_names_is_used() {
    let world = World::new();
    // One group for each place, and one that nobody names.
    let groups: Vec<String> = Place::ALL.iter().map(|place| world.group(&format!("of-{place:?}"))).collect();
    let spare = world.group("spare");
    let named: Vec<(Place, String)> = Place::ALL.into_iter().zip(groups).collect();
    let server = fake_services::in_front_of(&world.proxy().start().url, named.clone());
    let output = world.aaws_via(&server, DISCOVER).run().ok().logs("looked at").logs("Glue");
    assert_eq!(output.json(), json!([spare]), "{output}");
    // What services keep is used, too, where the account hides it.
    for operation in ["DescribeNetworkInterfaces", "DescribeLaunchTemplateVersions"] {
        let asked = server.requests(operation);
        assert!(!asked.is_empty() && asked.iter().all(|r| r.text().contains("IncludeManagedResources=true")), "{operation}");
    }
    // Each of them is found by the place that names it, and by no other: without that place it seems unused.
    for (place, group) in &named {
        let others = named.iter().filter(|(p, _)| p != place).cloned().collect();
        let server = fake_services::in_front_of(&world.proxy().start().url, others);
        let found = world.aaws_via(&server, DISCOVER).run().ok().json();
        let found = sorted(&found);
        assert!(found.contains(&group.as_str()) && found.len() == 2, "{place:?}: {found:?}");
    }
}

#[test]
fn interfaces_and_associations_use_a_group() {
    let world = World::new();
    let (on, associated, spare) = (world.group("on"), world.group("associated"), world.group("spare"));
    world.instance(&[("SecurityGroupId.1", &on)]);
    let answer = format!(
        "<DescribeSecurityGroupVpcAssociationsResponse><securityGroupVpcAssociationSet><item><groupId>{associated}</groupId>\
         <vpcId>vpc-2</vpcId></item></securityGroupVpcAssociationSet></DescribeSecurityGroupVpcAssociationsResponse>"
    );
    let server = world.proxy().rule("DescribeSecurityGroupVpcAssociations", move |_, _| Some(Response::xml(200, answer.clone()))).start();
    assert_eq!(world.aaws_via(&server, DISCOVER).run().ok().json(), json!([spare]));
}

#[test]
fn a_group_that_is_made_while_uses_are_looked_for_is_not_taken_for_unused() {
    let world = Arc::new(World::new());
    let spare = world.group("spare");
    let making = Arc::clone(&world);
    // Whatever is looked at beside the groups is answered by then.
    let rule = move |n: usize, _: &mut Request| {
        if n == 1 {
            thread::sleep(Duration::from_secs(1));
            making.instance(&[("SecurityGroupId.1", &making.group("new"))]);
        }
        None::<Response>
    };
    let server = world.proxy().rule("DescribeSecurityGroups", rule).start();
    assert_eq!(world.aaws_via(&server, DISCOVER).run().ok().json(), json!([spare]));
}

#[test]
fn rules_of_other_groups_use_a_group_and_its_own_do_not() {
    let world = World::new();
    let (named, namer, own) = (world.group("named"), world.group("namer"), world.group("own"));
    admit(&world, &namer, &named);
    admit(&world, &own, &own);
    let mut unused = vec![namer, own];
    unused.sort();
    let output = world.aaws(DISCOVER).run().ok();
    assert_eq!(output.json(), json!(unused), "default groups are left out");
    let details = world.aaws(format!("{DISCOVER} --details")).run().ok().json();
    assert_eq!(details[0]["GroupId"], json!(unused[0]));
    assert!(details[0]["VpcId"].is_string() && details[0]["GroupName"].is_string());
}

#[test]
fn the_groups_of_task_sets_and_of_published_functions_are_used() {
    let world = World::new();
    let (of_tasks, of_version, spare) = (world.group("tasks"), world.group("version"), world.group("spare"));
    let services = fake_services::in_front_of(&world.proxy().start().url, Vec::new());
    let json = |body: String| Response {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/x-amz-json-1.1".to_owned())],
        body: body.into_bytes(),
    };
    let service = json(format!(
        r#"{{"services": [{{"serviceName": "a", "taskSets": [{{"networkConfiguration": {{"awsvpcConfiguration": {{"subnets": ["s"], "securityGroups": ["{of_tasks}"]}}}}}}]}}]}}"#
    ));
    let version = json(format!(
        r#"{{"Functions": [{{"FunctionName": "f", "Version": "1", "VpcConfig": {{"SecurityGroupIds": ["{of_version}"]}}}}]}}"#
    ));
    let server = Proxy::to(&services.url)
        .rule("DescribeServices", move |_, _| Some(service.clone()))
        // Only who asks for all versions gets this one.
        .rule("ListFunctions", move |_, request| request.target.contains("FunctionVersion=ALL").then(|| version.clone()))
        .start();
    assert_eq!(world.aaws_via(&server, DISCOVER).run().ok().json(), json!([spare]));
}

#[test]
fn a_launch_template_that_is_gone_names_nothing() {
    let world = World::new();
    let spare = world.group("spare");
    let services = fake_services::in_front_of(&world.proxy().start().url, Vec::new());
    for code in ["InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound"] {
        let server = Proxy::to(&services.url).refuse_with("DescribeLaunchTemplateVersions", "LaunchTemplateId=lt-1", 400, code).start();
        assert_eq!(world.aaws_via(&server, DISCOVER).run().ok().json(), json!([spare]), "{code}");
    }
}

#[test]
fn groups_of_other_accounts_are_left_out_though_nobody_says_which_account_this_is() {
    let world = World::new();
    let spare = world.group("spare");
    let foreign = "<item><ownerId>999999999999</ownerId><groupId>sg-theirs</groupId><groupName>theirs</groupName>\
                   <vpcId>vpc-1</vpcId></item></securityGroupInfo>";
    let server = world.proxy().rewrite("DescribeSecurityGroups", move |_, xml| xml.replace("</securityGroupInfo>", foreign)).start();
    assert_eq!(world.aaws_via(&server, DISCOVER).run().ok().json(), json!([spare]));

    // Without a default group nobody can tell, unless STS is asked.
    let world = World::new();
    let listed = move |mine: &str| {
        let group = |owner: &str, id: &str| {
            format!("<item><ownerId>{owner}</ownerId><groupId>{id}</groupId><groupName>{id}</groupName><vpcId>vpc-1</vpcId></item>")
        };
        // One that is in no VPC cannot be looked at so, and is left out.
        let classic = format!("<item><ownerId>{mine}</ownerId><groupId>sg-classic</groupId><groupName>classic</groupName></item>");
        let groups = [group(mine, "sg-mine"), group("999999999999", "sg-theirs"), classic].concat();
        format!("<DescribeSecurityGroupsResponse><securityGroupInfo>{groups}</securityGroupInfo></DescribeSecurityGroupsResponse>")
    };
    let answer = listed(&world.account.id);
    let listed = || {
        let answer = answer.clone();
        world.proxy().rule("DescribeSecurityGroups", move |_, _| Some(Response::xml(200, answer.clone())))
    };
    let server = listed().refuse("GetCallerIdentity", 403, "AccessDenied").start();
    let output = world.aaws_via(&server, DISCOVER).run().exits(3).logs("incomplete").logs("999999999999");
    assert_eq!(output.json(), json!([]));
    let server = listed().start();
    assert_eq!(world.aaws_via(&server, DISCOVER).run().ok().json(), json!(["sg-mine"]));
}

#[test]
fn groups_that_a_peered_vpc_names_are_used() {
    let world = World::new();
    let (named, spare) = (world.group("named"), world.group("spare"));
    let reference = format!(
        "<DescribeSecurityGroupReferencesResponse><securityGroupReferenceSet><item><groupId>{named}</groupId>\
         <referencingVpcId>vpc-9</referencingVpcId></item></securityGroupReferenceSet></DescribeSecurityGroupReferencesResponse>"
    );
    let server = world.proxy().rule("DescribeSecurityGroupReferences", move |_, _| Some(Response::xml(200, reference.clone()))).start();
    assert_eq!(world.aaws_via(&server, DISCOVER).run().ok().json(), json!([spare]));
    let asked = server.requests("DescribeSecurityGroupReferences")[0].text();
    assert!(asked.contains(&named) && asked.contains(&spare), "{asked}");
}

#[test]
fn a_service_that_is_not_offered_uses_no_group() {
    let world = World::new();
    let spare = world.group("spare");
    let server = world.proxy().refuse("ListClustersV2", 403, "SubscriptionRequiredException").start();
    assert_eq!(world.aaws_via(&server, DISCOVER).run().ok().logs("not offered").json(), json!([spare]));
}

#[test]
fn a_place_that_may_not_be_looked_at_makes_the_answer_incomplete() {
    let world = World::new();
    let spare = world.group("spare");
    for (operation, code) in [
        ("DescribeNetworkInterfaces", "UnauthorizedOperation"),
        ("DescribeDBInstances", "AccessDenied"),
        ("ListFunctions", "AccessDeniedException"),
        ("DescribeCacheClusters", "AccessDenied"),
        ("ListClustersV2", "AccessDeniedException"),
        ("DescribeLaunchTemplateVersions", "UnauthorizedOperation"),
        ("ListDomainNames", "AccessDeniedException"),
    ] {
        let server = world.proxy().refuse(operation, 403, code).start();
        let output = world.aaws_via(&server, DISCOVER).run().exits(3).logs("incomplete").logs(&spare);
        assert_eq!(output.json(), json!([]), "{operation}: nothing is presented as safe");
        let output = world.aaws_via(&server, format!("{DISCOVER} --incomplete")).run().exits(3);
        assert_eq!(output.json(), json!([spare]), "{operation}");
    }
}

#[test]
fn any_call_that_is_denied_makes_the_answer_incomplete() {
    let world = World::new();
    let spare = world.group("spare");
    let named = || vec![(Place::Rds, "sg-of-another".to_owned())];
    // With things everywhere, so that the nested calls are made, too.
    let services = fake_services::in_front_of(&world.proxy().start().url, named());
    assert_eq!(world.aaws_via(&services, DISCOVER).run().ok().json(), json!([spare]));
    let mut asked: Vec<(String, String)> = services
        .log()
        .into_iter()
        .map(|(operation, request)| (operation, request.signed_service().unwrap_or_default().to_owned()))
        .filter(|(operation, _)| operation != "DescribeSecurityGroups" && operation != "GetCallerIdentity")
        .collect();
    asked.sort();
    asked.dedup();
    assert!(asked.len() > 20, "{asked:?}");
    for (operation, service) in asked {
        let url = services.url.clone();
        let (of, code) = (service.clone(), if service == "ec2" { "UnauthorizedOperation" } else { "AccessDeniedException" });
        let rule = move |_: usize, request: &mut Request| {
            (request.signed_service() == Some(of.as_str())).then(|| proxy::error(request, 403, code))
        };
        let server = Proxy::to(&url).rule(operation.clone().leak(), rule).start();
        let output = world.aaws_via(&server, DISCOVER).run().exits(3).logs("incomplete").logs(&spare);
        assert_eq!(output.json(), json!([]), "{service}: {operation}: nothing is presented as safe");
    }
}

#[test]
fn an_answer_that_says_nothing_is_no_answer() {
    let world = World::new();
    world.group("spare");
    let server = world.proxy().rule("DescribeSecurityGroupVpcAssociations", |_, _| Some(Response::xml(500, ""))).start();
    let output = world.aaws_via(&server, DISCOVER).env("AWS_MAX_ATTEMPTS", "1").run().exits(3).logs("VPC associations");
    assert_eq!(output.json(), json!([]));
}

#[test]
fn a_listing_that_comes_back_to_where_it_was_is_not_taken_for_whole() {
    let world = World::new();
    world.group("spare");
    let page = "<DescribeNetworkInterfacesResponse><networkInterfaceSet/><nextToken>again</nextToken></DescribeNetworkInterfacesResponse>";
    let server = world.proxy().rule("DescribeNetworkInterfaces", move |_, _| Some(Response::xml(200, page))).start();
    let output = world.aaws_via(&server, DISCOVER).run().exits(3).logs("where it was before");
    assert_eq!(output.json(), json!([]));
    assert_eq!(server.count("DescribeNetworkInterfaces"), 2);
}
