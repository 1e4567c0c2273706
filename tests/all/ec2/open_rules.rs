//! Rules of security groups that admit everyone: finding them, and revoking rules of any kind.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::ec2::World;
use crate::support::http::{self, Request};
use crate::support::{directory, proxy, report};

const DISCOVER: &str = "ec2 discover_open_security_groups";

/// A rule of a group for all traffic, from a range of IPv6 addresses.
fn admit_all(world: &World, group: &str, range: &str) -> String {
    let before = world.rules(group);
    let rule = [("GroupId", group), ("IpPermissions.1.IpProtocol", "-1"), ("IpPermissions.1.Ipv6Ranges.1.CidrIpv6", range)];
    world.ec2("AuthorizeSecurityGroupIngress", &rule);
    world.rules(group).into_iter().find(|id| !before.contains(id)).expect("a new rule")
}

/// A rule that admits messages of ICMP from everyone.
fn admit_ping(world: &World, group: &str) -> String {
    let before = world.rules(group);
    let rule = [
        ("GroupId", group),
        ("IpPermissions.1.IpProtocol", "icmp"),
        ("IpPermissions.1.FromPort", "8"),
        ("IpPermissions.1.ToPort", "-1"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    world.ec2("AuthorizeSecurityGroupIngress", &rule);
    world.rules(group).into_iter().find(|id| !before.contains(id)).expect("a new rule")
}

fn revoke(ids: &[&str]) -> String {
    format!("ec2 revoke_security_group_rules --security_group_rule_ids {}", ids.join(" "))
}

/// The ids of a list, sorted.
fn sorted(value: &Value) -> Vec<&str> {
    let mut ids: Vec<&str> = value.as_array().expect("a list").iter().map(|id| id.as_str().expect("an id")).collect();
    ids.sort_unstable();
    ids
}

/// Status and code of each item of a report.
fn statuses<'a>(lines: &'a [Value], ids: &[&str]) -> Vec<(&'a str, &'a str)> {
    let of = |id: &&str| {
        let line = lines.iter().find(|line| line["item"] == **id).unwrap_or_else(|| panic!("{id} has no outcome: {lines:?}"));
        (line["status"].as_str().unwrap_or_default(), line["code"].as_str().unwrap_or_default())
    };
    ids.iter().map(of).collect()
}

// --- Finding ---

/// The lines of the table that a terminal of 100 columns shows, from its header on.
fn lines_shown(world: &World) -> Vec<String> {
    let shown = world.aaws(format!("{DISCOVER} --output table")).on_terminal_with(&["--columns", "100"], "").stdout;
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 100 || line.contains("no room for")), "{shown}");
    let header = lines.iter().position(|line| line.starts_with(" SecurityGroupRuleId")).unwrap_or_else(|| panic!("no header: {shown}"));
    lines[header..].iter().map(|line| (*line).to_owned()).collect()
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn a_table_shows_first_what_is_open_to_whom() {
    let world = World::new();
    let group = world.group("a-name-of-thirty-characters-ab");
    world.rule(&group, "22", "128.0.0.0/1");
    world.rule(&group, "65535", "0.0.0.0/0");
    // The names of the columns make room for the rest: on how many interfaces it is open, and which group does it.
    let lines = lines_shown(&world);
    assert_eq!(words(&lines[0]), ["SecurityGroupRuleId", "Ip", "From", "To", "CidrIpv4", "Network", "GroupName"]);
    assert_eq!(words(&lines[1]), ["Protocol", "Port", "Port", "Interfaces"]);
    assert!(lines[2..4].iter().all(|line| line.contains("a-name-of-thirty")), "{lines:?}");
    // Where there are sources of both kinds, too, and what all rules have is said once.
    let other = world.group("the-name-of-another-group-abcd");
    admit_all(&world, &other, "2000::/3");
    admit_ping(&world, &group);
    let lines = lines_shown(&world);
    assert_eq!(words(&lines[0]), ["SecurityGroupRuleId", "IpProtocol", "FromPort", "ToPort", "CidrIpv4", "CidrIpv6", "GroupName"]);
    let below = lines.last().expect("a line");
    assert!(below.contains("4 rows, each with NetworkInterfaces 0") && below.contains("no room for GroupId"), "{lines:?}");
}

#[test]
fn inbound_rules_from_everywhere_are_found_by_their_ports_protocols_and_groups() {
    let world = World::new();
    let (web, office) = (world.group("web"), world.group("office"));
    let ssh = world.rule(&web, "22", "0.0.0.0/0");
    // Half of all addresses, and all of a private network.
    let half = world.rule(&web, "3389", "128.0.0.0/1");
    world.rule(&web, "443", "10.0.0.0/8");
    let all = admit_all(&world, &office, "::/0");
    admit_all(&world, &office, "fc00::/7");
    let ping = admit_ping(&world, &office);
    let find = |flags: &str| {
        let found = world.aaws(format!("{DISCOVER} {flags}")).run().ok().json();
        sorted(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (flags, wanted) in [
        ("", vec![&ssh, &half, &all, &ping]),
        ("--ports 22", vec![&ssh, &all]),
        ("--ports 3000-4000 443", vec![&half, &all]),
        ("--ports 8", vec![&all]),
        ("--protocols tcp", vec![&ssh, &half, &all]),
        ("--protocols udp icmp", vec![&all, &ping]),
        ("--protocols all", vec![&all]),
        ("--protocols tcp --ports 22", vec![&ssh, &all]),
        (format!("--security_group_ids {web}").as_str(), vec![&ssh, &half]),
        (format!("--security_group_ids {web} {office} --ports 22-23").as_str(), vec![&ssh, &all]),
    ] {
        let mut wanted: Vec<_> = wanted.into_iter().cloned().collect();
        wanted.sort();
        assert_eq!(find(flags), wanted, "{flags}");
    }
}

#[test]
fn details_tell_of_each_rule_and_its_group_and_the_counterparts_read_them() {
    let world = World::new();
    let (used, unused) = (world.group("used"), world.group("unused"));
    world.instance(&[("SecurityGroupId.1", &used)]);
    let rules = [world.rule(&used, "22", "0.0.0.0/0"), world.rule(&used, "80", "0.0.0.0/0"), world.rule(&unused, "22", "0.0.0.0/0")];
    let server = world.proxy().start();
    let details = world.aaws_via(&server, format!("{DISCOVER} --details")).run().ok().json();
    let rows = details.as_array().expect("a list");
    assert_eq!(rows.len(), 3);
    // Each group is looked up once, all of them together.
    assert_eq!((server.count("DescribeSecurityGroups"), server.count("DescribeNetworkInterfaces")), (1, 1));
    let of = |id: &str| rows.iter().find(|row| row["SecurityGroupRuleId"] == id).unwrap_or_else(|| panic!("no {id} in {details}"));
    let mut shown = of(&rules[0]).clone();
    assert!(shown["VpcId"].as_str().is_some_and(|vpc| vpc.starts_with("vpc-")), "{shown}");
    shown["VpcId"] = json!("vpc");
    let wanted = json!({
        "SecurityGroupRuleId": rules[0], "GroupId": used, "GroupName": "used", "VpcId": "vpc", "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22,
        "CidrIpv4": "0.0.0.0/0", "CidrIpv6": null, "Description": null, "NetworkInterfaces": 1,
    });
    assert_eq!(shown, wanted);
    assert_eq!(of(&rules[2])["NetworkInterfaces"], 0);

    // The same rows name the groups to one action, and the rules to another.
    let plan = world.aaws("ec2 delete_security_groups --dry_run --security_group_ids -").stdin(json!([of(&rules[2])]).to_string());
    assert_eq!(plan.run().ok().json()[0]["item"], json!(unused));
    let line = format!("aaws {DISCOVER} --details --ports 22 | aaws ec2 revoke_security_group_rules --security_group_rule_ids -");
    assert_eq!(world.shell(line).run().ok().json(), json!([]));
    assert_eq!(world.aaws(DISCOVER).run().ok().json(), json!([rules[1]]));
}

#[test]
fn what_is_no_port_is_refused_before_anything_is_sent() {
    let world = World::new();
    let server = world.proxy().start();
    for ports in ["ssh", "30-20", "65536", "22-"] {
        world.aaws_via(&server, format!("{DISCOVER} --ports {ports}")).run().exits(2).silent().logs("ports");
    }
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn details_that_cannot_be_had_are_an_error_and_the_ids_need_none_of_them() {
    let world = World::new();
    let rule = world.rule(&world.group("web"), "22", "0.0.0.0/0");
    let server = world.proxy().refuse("DescribeNetworkInterfaces", 403, "UnauthorizedOperation").start();
    world.aaws_via(&server, format!("{DISCOVER} --details")).run().exits(1).logs("UnauthorizedOperation");
    assert_eq!(world.aaws_via(&server, DISCOVER).run().ok().json(), json!([rule]));
    assert_eq!(server.count("DescribeSecurityGroups"), 1);
}

// --- Revoking ---

#[test]
fn rules_are_revoked_by_one_request_for_each_group_and_direction() {
    let world = World::new();
    let (a, b) = (world.group("a"), world.group("b"));
    let out = world.rules(&a).remove(0);
    let (first, second) = (world.rule(&a, "22", "0.0.0.0/0"), world.rule(&a, "443", "10.0.0.0/8"));
    let other = world.rule(&b, "22", "0.0.0.0/0");
    let stays = world.rule(&b, "80", "0.0.0.0/0");
    let server = world.proxy().start();
    let line = revoke(&[&first, &other, &out, &second, &first]);
    assert_eq!(world.aaws_via(&server, line).run().ok().json(), json!([]));
    assert_eq!((server.count("RevokeSecurityGroupIngress"), server.count("RevokeSecurityGroupEgress")), (2, 1));
    assert_eq!(world.rules(&a), [""; 0]);
    assert!(world.rules(&b).contains(&stays) && !world.rules(&b).contains(&other));
    let sent = server.requests("RevokeSecurityGroupIngress");
    assert!(sent.iter().all(|request| request.parameter("SecurityGroupRuleId.1").is_some()), "by their ids");
}

#[test]
fn one_rule_that_is_gone_meanwhile_sinks_no_other() {
    let world = World::new();
    let group = world.group("a");
    let (first, gone, last) =
        (world.rule(&group, "22", "0.0.0.0/0"), world.rule(&group, "80", "0.0.0.0/0"), world.rule(&group, "443", "0.0.0.0/0"));
    let to = world.proxy().start().url.clone();
    let body = format!("Action=RevokeSecurityGroupIngress&Version=2016-11-15&GroupId={group}&SecurityGroupRuleId.1={gone}");
    let rule = move |n: usize, request: &mut Request| {
        if n == 1 {
            // Somebody is faster.
            http::send(&to, &Request { body: body.clone().into_bytes(), ..request.clone() }).expect("EC2 does it");
        }
        None
    };
    let server = world.proxy().rule("RevokeSecurityGroupIngress", rule).start();
    let folder = directory();
    let line = format!("{} --report report.jsonl", revoke(&[&first, &gone, &last]));
    assert_eq!(world.aaws_via(&server, line).within(folder.path()).run().ok().json(), json!([]));
    assert_eq!(server.count("RevokeSecurityGroupIngress"), 2);
    let lines = report(&folder);
    assert_eq!(statuses(&lines, &[&first, &gone, &last]), [("done", ""), ("unchanged", ""), ("done", "")]);
}

#[test]
fn a_rule_that_an_answer_does_not_name_is_found_by_halves() {
    let world = World::new();
    let group = world.group("a");
    let rules: Vec<String> = ["22", "80", "443", "3306"].iter().map(|port| world.rule(&group, port, "0.0.0.0/0")).collect();
    let gone = rules[2].clone();
    let rule = move |_: usize, request: &mut Request| {
        request.text().contains(&gone).then(|| proxy::error(request, 400, "InvalidPermission.NotFound"))
    };
    let server = world.proxy().rule("RevokeSecurityGroupIngress", rule).start();
    let folder = directory();
    let ids: Vec<&str> = rules.iter().map(String::as_str).collect();
    let line = format!("{} --report report.jsonl", revoke(&ids));
    assert_eq!(world.aaws_via(&server, line).within(folder.path()).run().ok().json(), json!([]));
    let lines = report(&folder);
    assert_eq!(statuses(&lines, &ids), [("done", ""), ("done", ""), ("unchanged", ""), ("done", "")]);
    assert_eq!(server.count("RevokeSecurityGroupIngress"), 5);
}

/// EC2 refuses all of a request for one rule that is gone: of the others nothing is known but that they were there.
#[test]
fn rules_that_were_not_sent_again_before_the_run_was_stopped_are_not_said_to_be_gone() {
    let world = World::new();
    let group = world.group("a");
    let rules = [world.rule(&group, "22", "0.0.0.0/0"), world.rule(&group, "80", "0.0.0.0/0")];
    let server = world
        .proxy()
        .delay("RevokeSecurityGroupIngress", Duration::from_secs(1))
        .refuse("RevokeSecurityGroupIngress", 400, "InvalidPermission.NotFound")
        .start();
    let folder = directory();
    let ids: Vec<&str> = rules.iter().map(String::as_str).collect();
    let line = format!("{} --report report.jsonl", revoke(&ids));
    let running = world.aaws_via(&server, line).within(folder.path()).start();
    server.wait_for("RevokeSecurityGroupIngress", 1);
    running.signal("INT");
    let output = running.wait().exits(130);
    assert_eq!(sorted(&output.json()), sorted(&json!(rules)), "they are still there");
    assert_eq!(statuses(&report(&folder), &ids), [("skipped", "NotStarted"), ("skipped", "NotStarted")]);
    assert_eq!(server.count("RevokeSecurityGroupIngress"), 1);
}

#[test]
fn a_group_whose_rules_may_not_be_revoked_sinks_no_other() {
    let world = World::new();
    let (open, locked) = (world.group("open"), world.group("locked"));
    let (mine, theirs) = (world.rule(&open, "22", "0.0.0.0/0"), world.rule(&locked, "22", "0.0.0.0/0"));
    let denied = locked.clone();
    let rule = move |_: usize, request: &mut Request| {
        request.text().contains(&denied).then(|| proxy::error(request, 403, "UnauthorizedOperation"))
    };
    let server = world.proxy().rule("RevokeSecurityGroupIngress", rule).start();
    let folder = directory();
    let line = format!("{} --report report.jsonl", revoke(&[&theirs, &mine]));
    let output = world.aaws_via(&server, line).within(folder.path()).run().exits(3).logs(&theirs);
    assert_eq!(output.json(), json!([theirs]));
    assert_eq!(statuses(&report(&folder), &[&theirs, &mine]), [("failed", "UnauthorizedOperation"), ("done", "")]);
    assert!(world.rules(&locked).contains(&theirs) && !world.rules(&open).contains(&mine));
}

#[test]
fn a_rule_is_protected_by_its_own_tags_and_by_those_of_its_group() {
    let world = World::new();
    let (plain, kept) = (world.group("plain"), world.group("kept"));
    let (tagged, in_kept, free) =
        (world.rule(&plain, "22", "0.0.0.0/0"), world.rule(&kept, "22", "0.0.0.0/0"), world.rule(&plain, "80", "0.0.0.0/0"));
    world.tag(&tagged, "aaws:protect", "");
    world.tag(&kept, "Env", "prod");
    let folder = directory();
    let line = format!("{} --protect_tag Env=prod --report report.jsonl", revoke(&[&tagged, &in_kept, &free]));
    world.aaws(line).within(folder.path()).run().ok();
    let lines = report(&folder);
    assert_eq!(statuses(&lines, &[&tagged, &in_kept, &free]), [("skipped", "Protected"), ("skipped", "Protected"), ("done", "")]);
    assert!(world.rules(&plain).contains(&tagged) && world.rules(&kept).contains(&in_kept));
}

#[test]
fn somebody_is_asked_and_sees_what_the_rules_admit() {
    let world = World::new();
    let group = world.group("a");
    let rule = world.rule(&group, "22", "0.0.0.0/0");
    let plan = world.aaws(format!("{} --dry_run", revoke(&[&rule]))).run().ok().json();
    let wanted = format!("it would be revoked: tcp 22 from 0.0.0.0/0 into {group}");
    assert_eq!((&plan[0]["item"], &plan[0]["message"]), (&json!(rule), &json!(wanted)));
    world.aaws(revoke(&[&rule])).on_terminal("n").exits(4);
    assert!(world.rules(&group).contains(&rule));
    world.aaws(revoke(&[&rule])).on_terminal("y").exits(0);
    assert!(!world.rules(&group).contains(&rule));
}
