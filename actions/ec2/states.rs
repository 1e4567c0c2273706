//! What plans bind of things of EC2 (`Change::state`): what matters to those who change them, and nothing that changes by itself.

use aws_sdk_ec2::types::{
    Address, Image, Instance, InstanceBlockDeviceMapping, IpPermission, NetworkInterface, SecurityGroup, Snapshot, Volume,
};
use serde_json::{Value, json};

use super::network::{associated_with, attached_to, ip, public_ips};

/// What [`volume`] binds, for the page.
pub const VOLUME: &[&str] =
    &["its state", "size", "type", "IOPS", "throughput", "encryption", "KMS key", "the instances and devices that it is attached to"];

/// What [`snapshot`] binds.
pub const SNAPSHOT: &[&str] = &["its state", "its volume", "when it was begun"];

/// What [`instance`] binds.
pub const INSTANCE: &[&str] = &["its state", "its type", "its volumes and their devices"];

/// What [`address`] binds.
pub const ADDRESS: &[&str] = &["its address", "what it is associated with", "the service that manages it"];

/// What [`interface`] binds.
pub const INTERFACE: &[&str] = &["its status", "what it is attached to", "the public addresses that are associated with it"];

pub fn volume(volume: &Volume) -> Value {
    let mut attachments: Vec<String> = volume
        .attachments()
        .iter()
        .map(|a| format!("{} of {}", a.device().unwrap_or("no device"), a.instance_id().unwrap_or("no instance")))
        .collect();
    attachments.sort_unstable();
    json!({
        "state": volume.state().map(|state| state.as_str()),
        "size": volume.size(),
        "type": volume.volume_type().map(|kind| kind.as_str()),
        "iops": volume.iops(),
        "throughput": volume.throughput(),
        "encrypted": volume.encrypted(),
        "kms_key": volume.kms_key_id(),
        "attached_to": attachments,
    })
}

/// Of a volume whose size or performance is changed: where it is attached does not matter.
pub fn performance(volume: &Volume) -> Value {
    json!({
        "size": volume.size(),
        "type": volume.volume_type().map(|kind| kind.as_str()),
        "iops": volume.iops(),
        "throughput": volume.throughput(),
    })
}

/// Of a volume that a snapshot is taken of: what becomes of the volume besides does not matter.
pub fn contents(volume: &Volume) -> Value {
    json!({ "size": volume.size(), "encrypted": volume.encrypted(), "kms_key": volume.kms_key_id() })
}

pub fn snapshot(snapshot: &Snapshot) -> Value {
    json!({
        "state": snapshot.state().map(|state| state.as_str()),
        "volume": snapshot.volume_id(),
        "begun": snapshot.start_time().map(ToString::to_string),
    })
}

pub fn image(image: &Image) -> Value {
    json!({ "state": image.state().map(|state| state.as_str()), "name": image.name(), "created": image.creation_date() })
}

pub fn instance(instance: &Instance) -> Value {
    let volume = |mapping: &InstanceBlockDeviceMapping| {
        let volume = mapping.ebs().and_then(|ebs| ebs.volume_id()).unwrap_or("no volume");
        format!("{volume} at {}", mapping.device_name().unwrap_or("no device"))
    };
    let mut volumes: Vec<String> = instance.block_device_mappings().iter().map(volume).collect();
    volumes.sort_unstable();
    json!({
        "state": instance.state().and_then(|state| state.name()).map(|name| name.as_str()),
        "type": instance.instance_type().map(|kind| kind.as_str()),
        "volumes": volumes,
    })
}

pub fn address(address: &Address) -> Value {
    json!({
        "address": ip(address),
        "associated_with": associated_with(address),
        "service": address.service_managed().map(|service| service.as_str()),
    })
}

pub fn interface(interface: &NetworkInterface) -> Value {
    json!({
        "status": interface.status().map(|status| status.as_str()),
        "attached_to": attached_to(interface),
        "public_addresses": public_ips(interface),
    })
}

pub fn group(group: &SecurityGroup) -> Value {
    let ways = [("in", group.ip_permissions()), ("out", group.ip_permissions_egress())];
    let mut rules: Vec<String> = ways.iter().flat_map(|(way, rules)| rules.iter().flat_map(move |rule| rules_of(way, rule))).collect();
    rules.sort_unstable();
    json!({ "name": group.group_name(), "vpc": group.vpc_id(), "rules": rules })
}

/// The rules that EC2 shows as one, each as `in tcp 22-22 10.0.0.0/8`. Descriptions and tags are no part of them.
fn rules_of(way: &str, rule: &IpPermission) -> Vec<String> {
    let port = |port: Option<i32>| port.map_or_else(|| "any".to_owned(), |port| port.to_string());
    let what = format!("{way} {} {}-{}", rule.ip_protocol().unwrap_or("any"), port(rule.from_port()), port(rule.to_port()));
    let v4 = rule.ip_ranges().iter().filter_map(|range| range.cidr_ip());
    let v6 = rule.ipv6_ranges().iter().filter_map(|range| range.cidr_ipv6());
    let lists = rule.prefix_list_ids().iter().filter_map(|list| list.prefix_list_id());
    let groups = rule.user_id_group_pairs().iter().filter_map(|pair| pair.group_id());
    v4.chain(v6).chain(lists).chain(groups).map(|with| format!("{what} {with}")).collect()
}
