//! The actions of EC2, on moto.

use std::ops::Range;

use crate::support::aaws::Aaws;
use crate::support::cases::{CHANGED, Case, MISSING, Place, SO_ALREADY, Takes, Then};
use crate::support::ec2::World;
use crate::support::http::Server;
use crate::support::xml;

impl Place for World {
    const DENIED: &'static str = "UnauthorizedOperation";
    const THROTTLED: &'static str = "RequestLimitExceeded";

    fn fresh() -> Self {
        World::new()
    }

    fn url(&self) -> String {
        self.proxy().start().url
    }

    fn aaws(&self, server: &Server, line: &str) -> Aaws {
        self.aaws_via(server, line)
    }
}

/// With whom snapshots are shared.
const FRIEND: &str = "111122223333";

/// Of which the default encryption is set.
const REGIONS: [&str; 5] = ["us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-central-1"];

/// Actions that are not among the cases, and why.
pub const APART: &[(&str, &str)] = &[];

pub const CASES: &[Case<World>] = &[
    Case {
        action: "ec2/copy_snapshots",
        make: snapshots,
        line: |_, ids| format!("ec2 copy_snapshots --target_region us-east-1 --snapshot_ids {}", ids.join(" ")),
        is_done: |world, id| {
            let found = world.ec2("DescribeSnapshots", &[("Owner.1", "self")]);
            xml::texts(&found, "description").iter().any(|text| text.starts_with(&format!("{id} of ")))
        },
        takes: Takes::Many,
        change: Then::Shown(as_of_a_snapshot_that_failed, CHANGED),
        remove: Then::Done(delete_snapshot, MISSING),
    },
    Case {
        action: "ec2/create_images",
        make: instances,
        line: |_, ids| format!("ec2 create_images --instance_ids {}", ids.join(" ")),
        is_done: |world, id| world.ec2("DescribeImages", &[("Owner.1", "self")]).contains(&format!("{id}, made by aaws")),
        takes: Takes::Many,
        change: Then::Done(|world, id| world.stop(id), CHANGED),
        remove: Then::Done(terminate, CHANGED),
    },
    Case {
        action: "ec2/create_snapshots",
        make: volumes,
        line: |_, ids| format!("ec2 create_snapshots --volume_ids {}", ids.join(" ")),
        is_done: |world, id| found(world, "DescribeSnapshots", "volume-id", id).contains("<snapshotId>"),
        takes: Takes::Many,
        change: Then::Done(grow, CHANGED),
        remove: Then::Done(delete_volume, MISSING),
    },
    Case {
        action: "ec2/delete_images",
        make: |world, numbers| numbers.map(|_| world.image(&world.instance(&[]).id)).collect(),
        line: |_, ids| format!("ec2 delete_images --image_ids {}", ids.join(" ")),
        is_done: |world, id| !is_among(&world.images(), id),
        takes: Takes::Many,
        change: Then::Done(|world, id| asked(world, "DisableImage", "ImageId", id), CHANGED),
        remove: Then::Done(|world, id| asked(world, "DeregisterImage", "ImageId", id), SO_ALREADY),
    },
    Case {
        action: "ec2/delete_instances",
        make: instances,
        line: |_, ids| format!("ec2 delete_instances --instance_ids {}", ids.join(" ")),
        is_done: |world, id| world.instance_state(id).is_none_or(|state| state == "terminated"),
        takes: Takes::Many,
        change: Then::Done(|world, id| world.stop(id), CHANGED),
        remove: Then::Done(terminate, SO_ALREADY),
    },
    Case {
        action: "ec2/delete_interfaces",
        make: |world, numbers| numbers.map(|_| world.interface(&[])).collect(),
        line: |_, ids| format!("ec2 delete_interfaces --network_interface_ids {}", ids.join(" ")),
        is_done: |world, id| !is_among(&world.interfaces(), id),
        takes: Takes::Many,
        change: Then::Done(|world, id| world.attach_interface(id, &world.instance(&[]).id), CHANGED),
        remove: Then::Done(|world, id| asked(world, "DeleteNetworkInterface", "NetworkInterfaceId", id), SO_ALREADY),
    },
    Case {
        action: "ec2/delete_security_groups",
        make: |world, numbers| numbers.map(|number| world.group(&format!("group-{number}"))).collect(),
        line: |_, ids| format!("ec2 delete_security_groups --security_group_ids {}", ids.join(" ")),
        is_done: |world, id| !is_among(&world.groups(), id),
        takes: Takes::Many,
        change: Then::Done(|world, id| drop(world.rule(id, "22", "10.0.0.0/8")), CHANGED),
        remove: Then::Done(|world, id| asked(world, "DeleteSecurityGroup", "GroupId", id), SO_ALREADY),
    },
    Case {
        action: "ec2/delete_snapshots",
        make: snapshots,
        line: |_, ids| format!("ec2 delete_snapshots --snapshot_ids {}", ids.join(" ")),
        is_done: |world, id| !is_among(&world.snapshots(), id),
        takes: Takes::Many,
        change: Then::Shown(as_of_a_snapshot_that_failed, CHANGED),
        remove: Then::Done(delete_snapshot, SO_ALREADY),
    },
    Case {
        action: "ec2/delete_volumes",
        make: volumes,
        line: |_, ids| format!("ec2 delete_volumes --volume_ids {}", ids.join(" ")),
        is_done: |world, id| !is_among(&world.volumes(), id),
        takes: Takes::Many,
        change: Then::Done(grow, CHANGED),
        remove: Then::Done(delete_volume, SO_ALREADY),
    },
    Case {
        action: "ec2/encrypt_instance_volumes",
        make: instances,
        line: |world, ids| format!("ec2 encrypt_instance_volumes --instance_id {} --kms_key_id {}", ids.join(" "), world.key()),
        is_done: |world, id| {
            let volumes = world.attached(id);
            !volumes.is_empty() && volumes.iter().all(|(_, volume, _)| is_encrypted(&world.describe_volume(volume)))
        },
        takes: Takes::One,
        change: Then::Done(|world, id| world.stop(id), CHANGED),
        remove: Then::Done(terminate, CHANGED),
    },
    Case {
        action: "ec2/encrypt_volume",
        make: volumes,
        line: |world, ids| format!("ec2 encrypt_volume --volume_id {} --kms_key_id {}", ids.join(" "), world.key()),
        // Nothing is attached to this one, so what is left of it is a copy that names it.
        is_done: |world, id| is_encrypted(&found(world, "DescribeVolumes", "tag:aaws:encrypted-original", id)),
        takes: Takes::One,
        change: Then::Done(grow, CHANGED),
        remove: Then::Done(delete_volume, MISSING),
    },
    Case {
        action: "ec2/modify_default_ebs_encryption",
        make: |world, numbers| {
            let regions: Vec<String> = numbers.map(|number| REGIONS[number % REGIONS.len()].to_owned()).collect();
            regions.iter().for_each(|region| switch(world, region, "--disable"));
            regions
        },
        line: |_, ids| format!("ec2 modify_default_ebs_encryption --enable --region {}", ids.join(" ")),
        is_done: |world, id| {
            let setting = world.aaws(format!("ec2 discover_default_ebs_encryption --region {id}")).run().ok().json();
            setting["Enabled"] == true
        },
        takes: Takes::One,
        change: Then::Done(|world, id| switch(world, id, "--enable"), SO_ALREADY),
        remove: Then::Never("every region has the setting"),
    },
    Case {
        action: "ec2/modify_metadata_options",
        make: instances,
        line: |_, ids| format!("ec2 modify_metadata_options --instance_ids {}", ids.join(" ")),
        is_done: |world, id| world.ec2("DescribeInstances", &[("InstanceId.1", id)]).contains("<httpTokens>required</httpTokens>"),
        takes: Takes::Many,
        change: Then::Done(
            |world, id| drop(world.ec2("ModifyInstanceMetadataOptions", &[("InstanceId", id), ("HttpPutResponseHopLimit", "2")])),
            CHANGED,
        ),
        // Nothing that a plan binds is another: an instance that is terminated shows the options that it had.
        remove: Then::Done(terminate, ("failed", "IncorrectInstanceState")),
    },
    Case {
        action: "ec2/modify_tags",
        make: volumes,
        line: |_, ids| format!("ec2 modify_tags --tags Env=prod --create --resource_ids {}", ids.join(" ")),
        is_done: |world, id| world.tags(id).iter().any(|(key, value)| key == "Env" && value == "prod"),
        takes: Takes::Many,
        change: Then::Done(|world, id| world.tag(id, "Env", "dev"), CHANGED),
        remove: Then::Done(delete_volume, MISSING),
    },
    Case {
        action: "ec2/modify_volumes",
        make: volumes,
        line: |_, ids| format!("ec2 modify_volumes --size 30 --volume_ids {}", ids.join(" ")),
        is_done: |world, id| world.describe_volume(id).contains("<size>30</size>"),
        takes: Takes::Many,
        change: Then::Done(grow, CHANGED),
        remove: Then::Done(delete_volume, MISSING),
    },
    Case {
        action: "ec2/release_addresses",
        make: |world, numbers| numbers.map(|_| world.address()).collect(),
        line: |_, ids| format!("ec2 release_addresses --allocation_ids {}", ids.join(" ")),
        is_done: |world, id| !is_among(&world.addresses(), id),
        takes: Takes::Many,
        change: Then::Done(|world, id| world.associate(id, &world.instance(&[]).id), CHANGED),
        remove: Then::Done(|world, id| asked(world, "ReleaseAddress", "AllocationId", id), SO_ALREADY),
    },
    Case {
        action: "ec2/revoke_security_group_rules",
        make: |world, numbers| {
            let group = world.group(&format!("rules-{}", numbers.start));
            numbers.map(|number| world.rule(&group, &(1000 + number).to_string(), "0.0.0.0/0")).collect()
        },
        line: |_, ids| format!("ec2 revoke_security_group_rules --security_group_rule_ids {}", ids.join(" ")),
        is_done: |world, id| group_of(world, id).is_none(),
        takes: Takes::Many,
        change: Then::Done(move_port, CHANGED),
        remove: Then::Done(
            |world, id| {
                let group = group_of(world, id).expect("the rule's group");
                world.ec2("RevokeSecurityGroupIngress", &[("GroupId", &group), ("SecurityGroupRuleId.1", id)]);
            },
            SO_ALREADY,
        ),
    },
    Case {
        action: "ec2/share_snapshots",
        make: snapshots,
        line: |_, ids| format!("ec2 share_snapshots --target_account {FRIEND} --snapshot_ids {}", ids.join(" ")),
        is_done: |world, id| {
            let asks = [("SnapshotId", id), ("Attribute", "createVolumePermission")];
            world.ec2("DescribeSnapshotAttribute", &asks).contains(FRIEND)
        },
        takes: Takes::Many,
        change: Then::Shown(as_of_a_snapshot_that_failed, CHANGED),
        remove: Then::Done(delete_snapshot, MISSING),
    },
    Case {
        action: "ec2/start_instances",
        make: |world, numbers| {
            let made = instances(world, numbers);
            made.iter().for_each(|id| world.stop(id));
            made
        },
        line: |_, ids| format!("ec2 start_instances --instance_ids {}", ids.join(" ")),
        is_done: |world, id| world.instance_state(id).as_deref() == Some("running"),
        takes: Takes::Many,
        change: Then::Done(|world, id| asked(world, "StartInstances", "InstanceId.1", id), SO_ALREADY),
        remove: Then::Done(terminate, CHANGED),
    },
    Case {
        action: "ec2/stop_instances",
        make: instances,
        line: |_, ids| format!("ec2 stop_instances --instance_ids {}", ids.join(" ")),
        is_done: |world, id| world.instance_state(id).as_deref() == Some("stopped"),
        takes: Takes::Many,
        change: Then::Done(|world, id| world.stop(id), SO_ALREADY),
        remove: Then::Done(terminate, CHANGED),
    },
];

fn volumes(world: &World, numbers: Range<usize>) -> Vec<String> {
    numbers.map(|_| world.volume(&[])).collect()
}

fn instances(world: &World, numbers: Range<usize>) -> Vec<String> {
    numbers.map(|_| world.instance(&[]).id).collect()
}

/// Each of a volume of its own.
fn snapshots(world: &World, numbers: Range<usize>) -> Vec<String> {
    numbers.map(|_| world.snapshot(&world.volume(&[]))).collect()
}

fn grow(world: &World, volume: &str) {
    world.ec2("ModifyVolume", &[("VolumeId", volume), ("Size", "20")]);
}

fn delete_volume(world: &World, volume: &str) {
    world.ec2("DeleteVolume", &[("VolumeId", volume)]);
}

fn delete_snapshot(world: &World, snapshot: &str) {
    world.ec2("DeleteSnapshot", &[("SnapshotId", snapshot)]);
}

fn terminate(world: &World, instance: &str) {
    world.ec2("TerminateInstances", &[("InstanceId.1", instance)]);
}

/// Asks for one thing of one parameter.
fn asked(world: &World, action: &str, parameter: &str, id: &str) {
    world.ec2(action, &[(parameter, id)]);
}

/// Switches the encryption by default of a region.
fn switch(world: &World, region: &str, flag: &str) {
    world.aaws(format!("ec2 modify_default_ebs_encryption {flag} --region {region}")).run().ok();
}

/// What EC2 says of what matches a filter.
fn found(world: &World, action: &str, filter: &str, value: &str) -> String {
    world.ec2(action, &[("Filter.1.Name", filter), ("Filter.1.Value.1", value)])
}

fn is_among(ids: &[String], id: &str) -> bool {
    ids.iter().any(|other| other == id)
}

fn is_encrypted(told: &str) -> bool {
    told.contains("<encrypted>true</encrypted>")
}

/// The group of a rule, unless it is gone.
fn group_of(world: &World, rule: &str) -> Option<String> {
    world.groups().into_iter().find(|group| is_among(&world.rules(group), rule))
}

/// A rule keeps its id when it is changed.
fn move_port(world: &World, rule: &str) {
    let group = group_of(world, rule).expect("the rule's group");
    let change = [
        ("GroupId", group.as_str()),
        ("SecurityGroupRule.1.SecurityGroupRuleId", rule),
        ("SecurityGroupRule.1.SecurityGroupRule.IpProtocol", "tcp"),
        ("SecurityGroupRule.1.SecurityGroupRule.FromPort", "81"),
        ("SecurityGroupRule.1.SecurityGroupRule.ToPort", "81"),
        ("SecurityGroupRule.1.SecurityGroupRule.CidrIpv4", "0.0.0.0/0"),
    ];
    world.ec2("ModifySecurityGroupRules", &change);
}

/// An answer in which one snapshot, which has no tags, is another than it was.
fn as_of_a_snapshot_that_failed(answer: &str, id: &str) -> String {
    let Some(at) = answer.find(&format!("<snapshotId>{id}</snapshotId>")) else { return answer.to_owned() };
    let start = answer[..at].rfind("<item>").unwrap_or(0);
    let end = answer[at..].find("</item>").map_or(answer.len(), |length| at + length);
    let item = answer[start..end].replace("<status>completed</status>", "<status>error</status>");
    format!("{}{item}{}", &answer[..start], &answer[end..])
}
