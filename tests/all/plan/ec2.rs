//! Plans of EC2: only what is planned, and is still as it was, is changed.

use serde_json::json;

use super::{expected, message, outcomes, plan};
use crate::support::ec2::{World, writes};
use crate::support::{directory, xml};

/// A member of a volume as EC2 tells it.
fn of(world: &World, volume: &str, member: &str) -> Option<String> {
    xml::texts(&world.describe_volume(volume), member).into_iter().next()
}

#[test]
fn only_volumes_that_are_still_as_they_were_planned_are_deleted() {
    let world = World::new();
    let machine = world.instance(&[]);
    let volume = || world.volume(&[]);
    let (same, attached, gone, grown, used) = (volume(), volume(), volume(), volume(), volume());
    world.attach(&used, &machine.id, "/dev/sdf");
    let folder = directory();
    let server = world.proxy().start();
    let run = |line: String| world.aaws_via(&server, line).within(folder.path()).run();

    let ids = format!("{same} {attached} {gone} {grown} {used}");
    run(format!("ec2 delete_volumes --volume_ids {ids} --plan plan.jsonl")).exits(3);
    assert_eq!(writes(&server), [""; 0], "a plan is a dry run");
    let lines = plan(&folder);
    assert_eq!(lines[0]["action"], "ec2/delete_volumes");
    assert_eq!(lines[0]["targets"], json!([{"account": world.account.id, "region": "us-east-1", "endpoint": server.url}]));
    assert_eq!(lines[0]["input"], json!({"volume_ids": []}));
    assert_eq!((&lines[1]["item"], &lines[1]["state"]["size"]), (&json!(same), &json!(8)));
    assert_eq!((&lines[5]["status"], lines[5].get("state")), (&json!("skipped"), None));
    assert_eq!(lines[6]["items"], 5);

    world.attach(&attached, &machine.id, "/dev/sdg");
    world.ec2("DeleteVolume", &[("VolumeId", &gone)]);
    world.ec2("ModifyVolume", &[("VolumeId", &grown), ("Size", "20")]);
    // What does not matter to a deletion, and what nobody asked for.
    world.tag(&same, "Owner", "somebody");
    let new = volume();

    let drift = run("apply plan.jsonl --dry_run".into()).exits(3).json();
    let shown: Vec<_> = drift.as_array().expect("records").iter().map(|record| (&record["item"], &record["status"])).collect();
    let (planned, skipped) = (json!("planned"), json!("skipped"));
    let ids = [&same, &attached, &grown, &used].map(|id| json!(id));
    assert_eq!(shown, [(&ids[0], &planned), (&ids[1], &skipped), (&ids[2], &skipped), (&ids[3], &skipped)]);
    assert_eq!(writes(&server), [""; 0]);

    let left = run("apply plan.jsonl --report report.jsonl".into()).exits(3).json();
    assert_eq!(left, json!([attached, grown, used]));
    let expected = expected(&[
        (&same, "done", ""),
        (&attached, "skipped", "Changed"),
        (&gone, "unchanged", ""),
        (&grown, "skipped", "Changed"),
        (&used, "skipped", ""),
    ]);
    assert_eq!(outcomes(&folder), expected);
    assert_eq!(server.count("DeleteVolume"), 1);
    assert!(message(&folder, &grown).contains("`size` was 8, and is 20"), "{}", message(&folder, &grown));
    assert!(message(&folder, &attached).contains("`state` was available, and is in-use"), "{}", message(&folder, &attached));
    assert!(!world.volumes().contains(&same) && world.volumes().contains(&new));
}

#[test]
fn rules_that_somebody_changed_since_they_were_planned_are_not_revoked() {
    let world = World::new();
    let group = world.group("a");
    let rule = |port: &str| world.rule(&group, port, "0.0.0.0/0");
    let (same, changed, gone) = (rule("22"), rule("80"), rule("443"));
    let folder = directory();
    let run = |line: String| world.aaws(line).within(folder.path()).run();
    run(format!("ec2 revoke_security_group_rules --security_group_rule_ids {same} {changed} {gone} --plan plan.jsonl")).ok();
    // A rule keeps its id when it is changed.
    let change = [
        ("GroupId", group.as_str()),
        ("SecurityGroupRule.1.SecurityGroupRuleId", changed.as_str()),
        ("SecurityGroupRule.1.SecurityGroupRule.IpProtocol", "tcp"),
        ("SecurityGroupRule.1.SecurityGroupRule.FromPort", "81"),
        ("SecurityGroupRule.1.SecurityGroupRule.ToPort", "81"),
        ("SecurityGroupRule.1.SecurityGroupRule.CidrIpv4", "0.0.0.0/0"),
    ];
    world.ec2("ModifySecurityGroupRules", &change);
    world.ec2("RevokeSecurityGroupIngress", &[("GroupId", &group), ("SecurityGroupRuleId.1", &gone)]);
    // What does not matter.
    world.tag(&same, "Owner", "somebody");
    assert_eq!(run("apply plan.jsonl --report report.jsonl".into()).exits(3).json(), json!([changed]));
    assert_eq!(outcomes(&folder), expected(&[(&same, "done", ""), (&changed, "skipped", "Changed"), (&gone, "unchanged", "")]));
    assert!(message(&folder, &changed).contains("`from_port` was 80, and is 81"), "{}", message(&folder, &changed));
    assert!(world.rules(&group).contains(&changed) && !world.rules(&group).contains(&same));
}

#[test]
fn only_tags_that_are_changed_are_compared() {
    let world = World::new();
    let (plain, foreign, tagged, same) = (world.volume(&[]), world.volume(&[]), world.volume(&[]), world.volume(&[]));
    world.tag(&same, "Env", "test");
    let folder = directory();
    let server = world.proxy().start();
    let run = |line: String| world.aaws_via(&server, line).within(folder.path()).run();
    let line = format!("ec2 modify_tags --resource_ids {plain} {foreign} {tagged} {same} --tags Env=prod --create --plan plan.jsonl");
    run(line).ok();
    assert_eq!(plan(&folder)[4]["state"], json!({"Env": "test"}));

    world.tag(&foreign, "Owner", "somebody");
    world.tag(&tagged, "Env", "dev");
    let failed = run("apply plan.jsonl --report report.jsonl".into()).exits(3).json();
    assert_eq!(failed, json!([]), "what was skipped has not failed");
    let expected = expected(&[(&plain, "done", ""), (&foreign, "done", ""), (&tagged, "skipped", "Changed"), (&same, "done", "")]);
    assert_eq!(outcomes(&folder), expected);
    assert!(message(&folder, &tagged).contains("`Env` was nothing, and is dev"), "{}", message(&folder, &tagged));
    let env = |id: &str| world.tags(id).into_iter().find(|(key, _)| key == "Env").map(|(_, value)| value);
    let prod = Some("prod".to_owned());
    assert_eq!([env(&plain), env(&foreign), env(&tagged), env(&same)], [prod.clone(), prod.clone(), Some("dev".into()), prod]);
    assert_eq!(server.count("CreateTags"), 1);
}

#[test]
fn what_is_to_be_tagged_and_is_gone_is_planned_no_more() {
    let world = World::new();
    let (same, gone) = (world.volume(&[]), world.volume(&[]));
    let (snapshot, address, interface) = (world.snapshot(&same), world.address(), world.interface(&[]));
    let folder = directory();
    let server = world.proxy().start();
    let run = |line: String| world.aaws_via(&server, line).within(folder.path()).run();
    let ids = format!("{same} {gone} {snapshot} {address} {interface}");
    let plan = run(format!("ec2 modify_tags --resource_ids {ids} --tags Env=prod --create --plan plan.jsonl")).ok().json();
    assert_eq!(plan.as_array().map(Vec::len), Some(5), "{plan}");

    world.ec2("DeleteVolume", &[("VolumeId", &gone)]);
    world.ec2("DeleteSnapshot", &[("SnapshotId", &snapshot)]);
    world.ec2("ReleaseAddress", &[("AllocationId", &address)]);
    world.ec2("DeleteNetworkInterface", &[("NetworkInterfaceId", &interface)]);
    let shown = run("apply plan.jsonl --dry_run".into()).exits(3).json();
    let told: Vec<_> = shown.as_array().expect("records").iter().map(|row| (&row["item"], &row["status"], &row["code"])).collect();
    let (planned, failed, missing, none) = (json!("planned"), json!("failed"), json!("NotFound"), json!(null));
    let ids = [&same, &gone, &snapshot, &address, &interface].map(|id| json!(id));
    let expected = ids.iter().enumerate().map(|(at, id)| if at == 0 { (id, &planned, &none) } else { (id, &failed, &missing) });
    assert_eq!(told, expected.collect::<Vec<_>>());
    assert_eq!(writes(&server), [""; 0]);

    // Who may not look is told by EC2, when it is tagged.
    let server = world.proxy().refuse("DescribeVolumes", 403, "UnauthorizedOperation").start();
    let line = format!("ec2 modify_tags --resource_ids {gone} --tags Env=prod --create --dry_run");
    assert_eq!(world.aaws_via(&server, line).run().ok().json()[0]["status"], "planned");
}

#[test]
fn what_is_so_already_needs_no_change_and_what_does_not_exist_any_more_fails() {
    let world = World::new();
    let (same, made, gone) = (world.volume(&[]), world.volume(&[]), world.volume(&[]));
    let folder = directory();
    let run = |line: String| world.aaws(line).within(folder.path()).run();
    run(format!("ec2 modify_volumes --volume_ids {same} {made} {gone} --size 20 --plan plan.jsonl")).ok();
    world.ec2("ModifyVolume", &[("VolumeId", &made), ("Size", "20")]);
    world.ec2("DeleteVolume", &[("VolumeId", &gone)]);
    assert_eq!(run("apply plan.jsonl --report report.jsonl".into()).exits(3).json(), json!([same]));
    assert_eq!(outcomes(&folder), expected(&[(&same, "done", ""), (&made, "unchanged", ""), (&gone, "failed", "NotFound")]));
    assert_eq!(of(&world, &same, "size").as_deref(), Some("20"));
}

#[test]
fn only_addresses_that_are_still_free_are_released() {
    let world = World::new();
    let machine = world.instance(&[]);
    let (same, taken, gone) = (world.address(), world.address(), world.address());
    let folder = directory();
    let server = world.proxy().start();
    let run = |line: String| world.aaws_via(&server, line).within(folder.path()).run();
    run(format!("ec2 release_addresses --allocation_ids {same} {taken} {gone} --plan plan.jsonl")).ok();
    assert_eq!(plan(&folder)[1]["state"]["associated_with"], json!(null));

    world.tag(&same, "Owner", "somebody");
    world.associate(&taken, &machine.id);
    world.ec2("ReleaseAddress", &[("AllocationId", &gone)]);
    assert_eq!(run("apply plan.jsonl --report report.jsonl".into()).exits(3).json(), json!([taken]));
    assert_eq!(outcomes(&folder), expected(&[(&same, "done", ""), (&taken, "skipped", "Changed"), (&gone, "unchanged", "")]));
    assert!(message(&folder, &taken).contains("`associated_with` was nothing, and is"), "{}", message(&folder, &taken));
    assert_eq!((server.count("ReleaseAddress"), world.addresses()), (1, vec![taken]));
}

#[test]
fn only_interfaces_that_are_still_detached_are_deleted() {
    let world = World::new();
    let machine = world.instance(&[]);
    let (same, taken, gone) = (world.interface(&[]), world.interface(&[]), world.interface(&[]));
    let folder = directory();
    let server = world.proxy().start();
    let run = |line: String| world.aaws_via(&server, line).within(folder.path()).run();
    run(format!("ec2 delete_interfaces --network_interface_ids {same} {taken} {gone} --plan plan.jsonl")).ok();
    assert_eq!(plan(&folder)[1]["state"], json!({"status": "available", "attached_to": null, "public_addresses": []}));

    world.tag(&same, "Owner", "somebody");
    world.attach_interface(&taken, &machine.id);
    world.ec2("DeleteNetworkInterface", &[("NetworkInterfaceId", &gone)]);
    assert_eq!(run("apply plan.jsonl --report report.jsonl".into()).exits(3).json(), json!([taken]));
    assert_eq!(outcomes(&folder), expected(&[(&same, "done", ""), (&taken, "skipped", "Changed"), (&gone, "unchanged", "")]));
    assert!(message(&folder, &taken).contains("`status` was available, and is in-use"), "{}", message(&folder, &taken));
    assert_eq!(server.count("DeleteNetworkInterface"), 1);
    assert!(world.interfaces().contains(&taken) && !world.interfaces().contains(&same));
}

#[test]
fn only_instances_that_are_still_as_they_were_planned_are_stopped() {
    let world = World::new();
    let [same, stopped, gone] = [(); 3].map(|()| world.instance(&[]).id);
    let folder = directory();
    let server = world.proxy().start();
    let run = |line: String| world.aaws_via(&server, line).within(folder.path()).run();
    run(format!("ec2 stop_instances --instance_ids {same} {stopped} {gone} --plan plan.jsonl")).ok();
    assert_eq!(writes(&server), [""; 0], "a plan is a dry run");
    assert_eq!(plan(&folder)[1]["state"], json!({"state": "running"}));

    world.stop(&stopped);
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone)]);
    assert_eq!(run("apply plan.jsonl --report report.jsonl".into()).exits(3).json(), json!([same]));
    assert_eq!(outcomes(&folder), expected(&[(&same, "done", ""), (&stopped, "unchanged", ""), (&gone, "skipped", "Changed")]));
    assert!(message(&folder, &gone).contains("`state` was running"), "{}", message(&folder, &gone));
    assert_eq!(world.instance_state(&same).as_deref(), Some("stopped"));
}

#[test]
fn a_plan_is_of_one_account_and_one_region() {
    let (world, stranger) = (World::new(), World::new());
    let volume = world.volume(&[]);
    let folder = directory();
    world.aaws(format!("ec2 delete_volumes --volume_ids {volume} --plan plan.jsonl")).within(folder.path()).run().ok();

    let server = stranger.proxy().start();
    let run = stranger.aaws_via(&server, "apply plan.jsonl").within(folder.path()).run();
    run.exits(4).silent().logs(&stranger.account.id).logs(&world.account.id);
    assert_eq!(server.operations(), ["GetCallerIdentity"]);

    let server = world.proxy().start();
    let run = world.aaws_via(&server, "apply plan.jsonl --region eu-west-1").within(folder.path()).run();
    run.exits(4).silent().logs("eu-west-1").logs("us-east-1");
    assert_eq!(writes(&server), [""; 0]);

    // Whatever the environment says, the region is the plan's.
    world.aaws("apply plan.jsonl").env("AWS_REGION", "eu-west-1").within(folder.path()).run().ok();
    assert!(!world.volumes().contains(&volume));
}
