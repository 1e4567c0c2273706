//! Finding instances, volumes, images, tags and unused groups: what is meant, and nothing else.

use std::slice;

use serde_json::{Value, json};

use crate::support::ec2::World;
use crate::support::fake_services::{self, Place};
use crate::support::{Response, xml};

fn ids(value: &Value) -> Vec<String> {
    value.as_array().expect("a list").iter().map(|id| id.as_str().expect("an id").to_owned()).collect()
}

// --- Instances ---

#[test]
fn invert_stays_within_the_ids_and_states_given() {
    let world = World::new();
    let (prod, test, stopped, outside) = (world.instance(&[]).id, world.instance(&[]).id, world.instance(&[]).id, world.instance(&[]).id);
    world.tag(&prod, "Env", "prod");
    world.stop(&stopped);
    let gone = world.instance(&[]).id;
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone)]);
    let line = format!("ec2 discover_instances --instance_ids {prod} {test} {stopped} {gone} --tags Env=prod --invert");
    assert_eq!(ids(&world.aaws(&line).run().ok().json()), [test.clone(), stopped]);
    assert_eq!(ids(&world.aaws(format!("{line} --states running")).run().ok().json()), slice::from_ref(&test));
    let all = ids(&world.aaws("ec2 discover_instances --tags Env=prod --invert --states running").run().ok().json());
    assert!(all.contains(&outside) && !all.contains(&prod) && !all.contains(&gone), "{all:?}");
}

#[test]
fn an_empty_value_is_no_any_value_and_all_tags_must_match() {
    let world = World::new();
    let (full, empty) = (world.instance(&[]).id, world.instance(&[]).id);
    world.tag(&full, "Owner", "me");
    world.tag(&full, "Env", "prod");
    world.tag(&empty, "Owner", "");
    let found = |tags: &str| ids(&world.aaws(format!("ec2 discover_instances --tags {tags}")).run().ok().json());
    assert_eq!(found("Owner="), [empty]);
    assert_eq!(found("Owner").len(), 2);
    assert_eq!(found("Owner Env=prod"), slice::from_ref(&full));
    assert_eq!(found("Owner Env=test"), [""; 0]);
    assert_eq!(found("owner"), [""; 0], "keys are compared in their very case");
}

#[test]
fn operating_systems_and_public_addresses_are_judged_by_what_ec2_says() {
    let world = World::new();
    let windows = world.instance(&[("ImageId", "ami-12c6146b")]).id;
    let linux = world.instance(&[]).id;
    let mac = world.instance(&[("InstanceType", "mac2.metal")]).id;
    let found = |more: &str| ids(&world.aaws(format!("ec2 discover_instances {more}")).run().ok().json());
    assert_eq!(found("--os windows"), [windows]);
    assert_eq!(found("--os linux"), slice::from_ref(&linux));
    assert!(!found("--os linux").contains(&mac));
    // One that has an IPv6 address only is public, too; one without any is not.
    let six = "<ipv6AddressesSet><item><ipv6Address>2600::1</ipv6Address></item></ipv6AddressesSet>";
    let item = |id: &str, address: &str| {
        format!(
            "<item><instancesSet><item><instanceId>{id}</instanceId><instanceState><name>running</name></instanceState>\
             <networkInterfaceSet><item>{address}</item></networkInterfaceSet></item></instancesSet></item>"
        )
    };
    let answer = format!(
        "<DescribeInstancesResponse><reservationSet>{}{}</reservationSet></DescribeInstancesResponse>",
        item("i-six", six),
        item("i-none", "")
    );
    let server = world.proxy().rule("DescribeInstances", move |_, _| Some(Response::xml(200, answer.clone()))).start();
    assert_eq!(world.aaws_via(&server, "ec2 discover_instances --public").run().ok().json(), json!(["i-six"]));
}

#[test]
fn stopped_instances_do_not_lack_systems_manager() {
    let world = World::new();
    let (running, stopped) = (world.instance(&[]).id, world.instance(&[]).id);
    world.stop(&stopped);
    assert_eq!(world.aaws("ec2 discover_no_ssm_instances").run().ok().json(), json!([running]));
    let line = format!("ec2 discover_no_ssm_instances --instance_ids {stopped} {running}");
    assert_eq!(world.aaws(line).run().ok().json(), json!([running]));
}

// --- Volumes, snapshots, images ---

#[test]
fn root_is_judged_for_each_instance_by_its_own_root_device() {
    let world = World::new();
    let machine = world.instance(&[]);
    // A data volume at a device that is another instance's root.
    let other = world.instance(&[("BlockDeviceMapping.1.DeviceName", "/dev/xvda"), ("BlockDeviceMapping.1.Ebs.VolumeSize", "8")]);
    let data = world.attached(&other.id).first().map(|(_, volume, _)| volume.clone()).expect("a volume");
    let found = ids(&world.aaws("ec2 discover_volumes --root").run().ok().json());
    assert!(found.contains(&machine.root) && !found.contains(&data), "{found:?}");
    let line = format!("ec2 discover_volumes --root --volume_ids {data} {}", machine.root);
    assert_eq!(world.aaws(line).run().ok().json(), json!([machine.root]));
    // What is attached to nothing is nobody's root: that is no question, but a mistake.
    world.aaws("ec2 discover_volumes --root --detached").run().exits(2).logs("only one of");
}

#[test]
fn volumes_are_filtered_by_type_encryption_and_attachment() {
    let world = World::new();
    let (gp2, io1) =
        (world.volume(&[("VolumeType", "gp2")]), world.volume(&[("VolumeType", "io1"), ("Iops", "100"), ("Encrypted", "true")]));
    let machine = world.instance(&[]);
    let found = |more: &str| ids(&world.aaws(format!("ec2 discover_volumes {more}")).run().ok().json());
    assert_eq!(found("--types io1"), slice::from_ref(&io1));
    assert_eq!(found("--types gp2 --detached"), slice::from_ref(&gp2));
    assert!(!found("--unencrypted").contains(&io1));
    assert_eq!(found(&format!("--instance_ids {}", machine.id)), [machine.root]);
    world.aaws(format!("ec2 discover_volumes --volume_ids {gp2} --instance_ids {}", machine.id)).run().exits(2);
}

#[test]
fn snapshots_and_images_are_filtered_by_date_and_keeper() {
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
    let found = |more: &str| {
        let mut found = ids(&world.aaws_via(&server, format!("ec2 discover_snapshots --volume_ids {volume} {more}")).run().ok().json());
        found.sort();
        found
    };
    assert_eq!(found("--created_before 2021-01-01"), slice::from_ref(&old));
    // An instant belongs to what comes after it.
    assert_eq!(found("--created_before 2020-01-31"), [""; 0]);
    assert_eq!(found("--created_after 2020-01-31").len(), 3);
    let mut rest = vec![old, new];
    rest.sort();
    assert_eq!(found("--exclude_aws_backup"), rest);
}

// --- Tags ---

#[test]
fn resources_have_all_of_the_tags_or_lack_any() {
    let world = World::new();
    let (both, one, gone) = (world.volume(&[]), world.volume(&[]), world.instance(&[]).id);
    world.tag(&both, "Env", "prod");
    world.tag(&both, "Owner", "me");
    world.tag(&one, "Env", "prod");
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone)]);
    let found = |more: &str| ids(&world.aaws(format!("ec2 discover_tags --resource_types volume instance {more}")).run().ok().json());
    assert_eq!(found("--tags Env Owner --existing"), [both]);
    assert_eq!(found("--tags Env Owner --missing"), [one], "terminated instances are left out");
    world.aaws("ec2 discover_tags --resource_types volume --existing --input").arg(r#"{"tags": []}"#).run().exits(2).logs("`tags`");
    world.aaws("ec2 discover_tags --resource_types volume --tags Env --existing --missing").run().exits(2);
    world.aaws("ec2 discover_tags --resource_types volume --tags Env").run().exits(2);
}

#[test]
fn key_pairs_are_printed_by_the_ids_that_modify_tags_takes() {
    let world = World::new();
    let made = world.ec2("CreateKeyPair", &[("KeyName", "mine")]);
    let id = xml::texts(&made, "keyPairId").remove(0);
    let chain = "aaws ec2 discover_tags --resource_types key_pair --tags Env --missing | \
                 aaws ec2 modify_tags --resource_ids - --tags Env=prod --create";
    assert_eq!(world.shell(chain).run().ok().json(), json!([]));
    assert_eq!(world.tags(&id), [("Env".to_owned(), "prod".to_owned())]);
}

// --- Unused security groups ---

#[test]
fn a_group_that_any_place_names_is_used() {
    let world = World::new();
    // One group for each place, and one that nobody names.
    let groups: Vec<String> = Place::ALL.iter().map(|place| world.group(&format!("of-{place:?}"))).collect();
    let spare = world.group("spare");
    let named: Vec<(Place, String)> = Place::ALL.into_iter().zip(groups).collect();
    let server = fake_services::in_front_of(&world.proxy().start().url, named.clone());
    let output = world.aaws_via(&server, "ec2 discover_unused_security_groups").run().ok();
    assert_eq!(output.json(), json!([spare]), "{output}");
    // Each of them is found by the place that names it, and by no other: without that place it seems unused.
    for (place, group) in &named {
        let others = named.iter().filter(|(p, _)| p != place).cloned().collect();
        let server = fake_services::in_front_of(&world.proxy().start().url, others);
        let found = ids(&world.aaws_via(&server, "ec2 discover_unused_security_groups").run().ok().json());
        assert!(found.contains(group) && found.len() == 2, "{place:?}: {found:?}");
    }
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
        let output = world.aaws_via(&server, "ec2 discover_unused_security_groups").run().exits(3).logs("incomplete").logs(&spare);
        assert_eq!(output.json(), json!([]), "{operation}: nothing is presented as safe");
        let output = world.aaws_via(&server, "ec2 discover_unused_security_groups --incomplete").run().exits(3);
        assert_eq!(output.json(), json!([spare]), "{operation}");
    }
}

#[test]
fn rules_of_other_groups_use_a_group_and_its_own_do_not() {
    let world = World::new();
    let (named, namer, own) = (world.group("named"), world.group("namer"), world.group("own"));
    let admit = |group: &str, other: &str| {
        let rule = [("GroupId", group), ("IpPermissions.1.IpProtocol", "-1"), ("IpPermissions.1.Groups.1.GroupId", other)];
        world.ec2("AuthorizeSecurityGroupIngress", &rule);
    };
    admit(&namer, &named);
    admit(&own, &own);
    let mut unused = vec![namer, own];
    unused.sort();
    let output = world.aaws("ec2 discover_unused_security_groups").run().ok();
    assert_eq!(ids(&output.json()), unused, "default groups are left out");
    let details = world.aaws("ec2 discover_unused_security_groups --details").run().ok().json();
    assert_eq!(details[0]["GroupId"], json!(unused[0]));
    assert!(details[0]["VpcId"].is_string() && details[0]["GroupName"].is_string());
}
