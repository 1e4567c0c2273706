//! What AWS refuses and moto does not, and what AWS tells and moto leaves out. Nothing has to be kept for it: moto knows all that it takes.

use std::collections::HashSet;

use super::asked::{Answer, Asked};
use super::wire::{Form, Node, refusal};
use crate::support::http::Response;

/// Things that moto tags although they do not exist: how their ids begin, how they are looked up, and the error that AWS has for them.
const TAGGED_BLINDLY: &[(&str, &str, &str, &str)] = &[
    ("acl-", "DescribeNetworkAcls", "networkAclSet/item/networkAclId", "InvalidNetworkAclID.NotFound"),
    ("eni-", "DescribeNetworkInterfaces", "networkInterfaceSet/item/networkInterfaceId", "InvalidNetworkInterfaceID.NotFound"),
    ("i-", "DescribeInstances", "reservationSet/item/instancesSet/item/instanceId", "InvalidInstanceID.NotFound"),
    ("key-", "DescribeKeyPairs", "keySet/item/keyPairId", "InvalidKeyPair.NotFound"),
];

// --- Volumes

/// moto tells neither whether a volume goes with its instance, nor the performance that comes with a type.
pub fn describe_volumes(asked: &Asked) -> Answer {
    let mut answer = asked.pass()?;
    let hosts: HashSet<String> = answer.texts("volumeSet/item/attachmentSet/item/instanceId").into_iter().map(str::to_owned).collect();
    let going = going_with(asked, &hosts.into_iter().collect::<Vec<_>>())?;
    for volume in answer.at_mut("volumeSet/item") {
        with_performance(volume);
        for attachment in volume.at_mut("attachmentSet/item") {
            let goes = attachment.text("volumeId").is_some_and(|id| going.contains(id));
            attachment.set("deleteOnTermination", if goes { "true" } else { "false" });
        }
    }
    Ok(answer)
}

/// The volumes that are deleted with one of these instances.
fn going_with(asked: &Asked, instances: &[String]) -> Result<HashSet<String>, Response> {
    if instances.is_empty() {
        return Ok(HashSet::new());
    }
    let mut form = Form::new("DescribeInstances", &[]);
    form.filter("instance-id", instances);
    let found = asked.ask(&form)?;
    let mapped = found.at("reservationSet/item/instancesSet/item/blockDeviceMapping/item/ebs").into_iter();
    Ok(mapped.filter(|e| e.is("deleteOnTermination", "true")).filter_map(|e| e.text("volumeId")).map(str::to_owned).collect())
}

/// What a volume's type comes with ("Amazon EBS volume types", EBS user guide).
pub fn with_performance(volume: &mut Node) {
    let size: u64 = volume.text("size").and_then(|size| size.parse().ok()).unwrap_or_default();
    match volume.text("volumeType") {
        Some("gp3") => {
            volume.set_if_missing("iops", "3000");
            volume.set_if_missing("throughput", "125");
        }
        Some("gp2") => {
            volume.set("iops", &(size * 3).clamp(100, 16_000).to_string());
            volume.remove("throughput");
        }
        Some("io1" | "io2") => volume.remove("throughput"),
        _ => {
            volume.remove("iops");
            volume.remove("throughput");
        }
    }
    volume.set_if_missing("multiAttachEnabled", "false");
}

/// moto lets a volume be smaller than it was.
pub fn modify_volume(asked: &Asked) -> Answer {
    let volume = asked.volume(asked.form.get("VolumeId").unwrap_or_default())?;
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    if let (Some(wanted), Some(size)) = (number(asked.form.get("Size")), number(volume.text("size")))
        && wanted < size
    {
        return Err(refusal("InvalidParameterValue", "New size cannot be smaller than existing size"));
    }
    asked.pass()
}

/// AWS tells of the last modification of each volume, moto of all there ever were.
pub fn describe_volumes_modifications(asked: &Asked) -> Answer {
    let mut answer = asked.pass()?;
    for list in answer.at_mut("volumeModificationSet") {
        let mut last: Vec<Node> = Vec::new();
        for item in list.at("item") {
            last.retain(|other| other.text("volumeId") != item.text("volumeId"));
            last.push(item.clone());
        }
        list.remove("item");
        last.into_iter().for_each(|item| list.push(item));
    }
    Ok(answer)
}

/// moto attaches a volume that is attached elsewhere, and to a device where another one is.
pub fn attach_volume(asked: &Asked) -> Answer {
    let (id, host) = (asked.form.get("VolumeId").unwrap_or_default(), asked.form.get("InstanceId").unwrap_or_default());
    let device = asked.form.get("Device").unwrap_or_default();
    let (volume, instance) = (asked.volume(id)?, instance(asked, host)?);
    if !volume.at("attachmentSet/item").is_empty() && !volume.is("multiAttachEnabled", "true") {
        return Err(refusal("VolumeInUse", format!("{id} is already attached to an instance")));
    }
    if !matches!(instance.text("instanceState/name"), Some("running" | "stopped")) {
        return Err(refusal("IncorrectState", format!("Instance '{host}' is not 'running'.")));
    }
    if instance.texts("blockDeviceMapping/item/deviceName").contains(&device) {
        let message = format!("Invalid value '{device}' for unixDevice. Attachment point {device} is already in use");
        return Err(refusal("InvalidParameterValue", message));
    }
    if volume.text("availabilityZone") != instance.text("placement/availabilityZone") {
        return Err(refusal(
            "InvalidVolume.ZoneMismatch",
            format!("The volume '{id}' is not in the same availability zone as instance '{host}'"),
        ));
    }
    asked.pass()
}

/// moto takes the root volume from under a running instance, and has to be told the instance.
pub fn detach_volume(asked: &Asked) -> Answer {
    let id = asked.form.get("VolumeId").unwrap_or_default();
    let volume = asked.volume(id)?;
    let attachments = volume.at("attachmentSet/item");
    let given = asked.form.get("InstanceId");
    let Some(attachment) = attachments.iter().find(|a| given.is_none() || a.text("instanceId") == given) else {
        let (code, why) = match attachments.is_empty() {
            true => ("IncorrectState", "is in the 'available' state."),
            false => ("InvalidAttachment.NotFound", "is attached to another instance."),
        };
        return Err(refusal(code, format!("Volume '{id}' {why}")));
    };
    let host = attachment.text("instanceId").unwrap_or_default();
    let instance = instance(asked, host)?;
    let is_root = attachment.text("device") == instance.text("rootDeviceName");
    if is_root && instance.is("instanceState/name", "running") {
        return Err(refusal("OperationNotPermitted", format!("Unable to detach root volume '{id}' from instance '{host}'")));
    }
    let mut form = asked.form.clone();
    form.set("InstanceId", host);
    asked.ask(&form)
}

// --- Instances

fn instance(asked: &Asked, id: &str) -> Answer {
    let found = asked.instances(&[id.to_owned()])?;
    found.into_iter().next().ok_or_else(|| refusal("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist")))
}

/// moto leaves out the platform's details and an instance's security groups, does not tell addresses that AWS lent from elastic ones, and shows
/// the network interfaces of instances that are gone.
pub fn describe_instances(asked: &Asked) -> Answer {
    let mut answer = asked.pass()?;
    let addresses = asked.also("DescribeAddresses", &[])?;
    let elastic = addresses.texts("addressesSet/item/publicIp");
    for instance in answer.at_mut("reservationSet/item/instancesSet/item") {
        let windows = instance.is("platform", "windows");
        if !windows {
            instance.remove("platform");
        }
        instance.set("platformDetails", if windows { "Windows" } else { "Linux/UNIX" });
        if instance.is("instanceState/name", "terminated") {
            ["networkInterfaceSet", "groupSet", "ipAddress"].iter().for_each(|name| instance.remove(name));
            continue;
        }
        if instance.at("groupSet/item").is_empty() {
            let groups = instance.at("networkInterfaceSet/item/groupSet").into_iter().next().cloned();
            groups.into_iter().for_each(|groups| instance.put(groups));
        }
        for association in instance.at_mut("networkInterfaceSet/item/association") {
            if association.text("publicIp").is_some_and(|address| !elastic.contains(&address)) {
                association.set("ipOwnerId", "amazon");
            }
        }
    }
    Ok(answer)
}

/// moto keeps the network interfaces of instances that are gone.
pub fn describe_network_interfaces(asked: &Asked) -> Answer {
    let mut answer = asked.pass()?;
    let terminated = [("Filter.1.Name", "instance-state-name"), ("Filter.1.Value.1", "terminated")];
    let terminated = asked.also("DescribeInstances", &terminated)?;
    let gone = terminated.texts("reservationSet/item/instancesSet/item/instanceId");
    answer.retain("networkInterfaceSet", |interface| interface.text("attachment/instanceId").is_none_or(|id| !gone.contains(&id)));
    Ok(answer)
}

/// moto deletes network interfaces that are attached.
pub fn delete_network_interface(asked: &Asked) -> Answer {
    let id = asked.form.get("NetworkInterfaceId").unwrap_or_default();
    let found = asked.also("DescribeNetworkInterfaces", &[("Filter.1.Name", "network-interface-id"), ("Filter.1.Value.1", id)])?;
    if found.text("networkInterfaceSet/item/status").is_some_and(|status| status != "available") {
        return Err(refusal("InvalidParameterValue", format!("Network interface '{id}' is currently in use.")));
    }
    asked.pass()
}

/// moto does not say which pool an address is of, nor where it is told of.
pub fn describe_addresses(asked: &Asked) -> Answer {
    let mut answer = asked.pass()?;
    for address in answer.at_mut("addressesSet/item") {
        address.set_if_missing("publicIpv4Pool", "amazon");
        address.set_if_missing("networkBorderGroup", &asked.region);
    }
    Ok(answer)
}

/// moto releases addresses that are associated, and those of another group of zones than it is told.
pub fn release_address(asked: &Asked) -> Answer {
    let id = asked.form.get("AllocationId").unwrap_or_default();
    let found = asked.also("DescribeAddresses", &[("Filter.1.Name", "allocation-id"), ("Filter.1.Value.1", id)])?;
    if found.text("addressesSet/item/associationId").is_some() {
        let ip = found.text("addressesSet/item/publicIp").unwrap_or_default();
        return Err(refusal("InvalidIPAddress.InUse", format!("Address {ip} is in use.")));
    }
    if asked.form.get("NetworkBorderGroup").is_some_and(|group| group != asked.region) {
        return Err(refusal("InvalidAddress.NotFound", format!("Address '{id}' not found.")));
    }
    asked.pass()
}

/// moto does not protect what it is told to protect from the beginning.
pub fn run_instances(asked: &Asked) -> Answer {
    let answer = asked.pass()?;
    if asked.form.is("DisableApiTermination", "true") {
        for id in answer.texts("instancesSet/item/instanceId") {
            asked.also("ModifyInstanceAttribute", &[("InstanceId", id), ("DisableApiTermination.Value", "true")])?;
        }
    }
    Ok(answer)
}

/// moto starts instances that are terminated, or have no root volume.
pub fn start_instances(asked: &Asked) -> Answer {
    for instance in asked.instances(&asked.form.list("InstanceId"))? {
        let id = instance.text("instanceId").unwrap_or_default();
        if instance.is("instanceState/name", "terminated") {
            return Err(refusal("IncorrectInstanceState", format!("The instance '{id}' is not in a state from which it can be started.")));
        }
        let root = instance.text("rootDeviceName").unwrap_or_default();
        if !instance.texts("blockDeviceMapping/item/deviceName").contains(&root) {
            let message = format!("Invalid value '{id}' for instanceId. Instance does not have a volume attached at root ({root})");
            return Err(refusal("InvalidParameterValue", message));
        }
    }
    asked.pass()
}

/// One instance that cannot be stopped keeps the others from it; moto stops those that come before it.
pub fn stop_instances(asked: &Asked) -> Answer {
    for instance in asked.instances(&asked.form.list("InstanceId"))? {
        let id = instance.text("instanceId").unwrap_or_default();
        if instance.is("instanceState/name", "terminated") {
            return Err(refusal("IncorrectInstanceState", format!("This instance '{id}' is not in a state from which it can be stopped.")));
        }
        if instance.is("rootDeviceType", "instance-store") {
            let message = format!("The instance '{id}' does not have an 'ebs' root device type and cannot be stopped");
            return Err(refusal("UnsupportedOperation", message));
        }
        if asked.form.is("Hibernate", "true") && !instance.is("hibernationOptions/configured", "true") {
            return Err(refusal("UnsupportedHibernationConfiguration", format!("The instance '{id}' is not enabled for hibernation")));
        }
        if asked.is_protected(id, "disableApiStop")? {
            return Err(protected(id, "stopped", "disableApiStop"));
        }
    }
    asked.pass()
}

/// The metadata options of an instance: the parameters that change them, and the members that show them.
const METADATA_OPTIONS: [(&str, &str); 5] = [
    ("HttpEndpoint", "httpEndpoint"),
    ("HttpProtocolIpv6", "httpProtocolIpv6"),
    ("HttpPutResponseHopLimit", "httpPutResponseHopLimit"),
    ("HttpTokens", "httpTokens"),
    ("InstanceMetadataTags", "instanceMetadataTags"),
];

/// moto forgets the options that are not given, takes any hop limit, and changes instances that are gone. AWS tells the new options at once, and that they
/// are not in effect yet.
pub fn modify_instance_metadata_options(asked: &Asked) -> Answer {
    let id = asked.form.get("InstanceId").unwrap_or_default();
    let instance = instance(asked, id)?;
    if !matches!(instance.text("instanceState/name"), Some("running" | "stopped")) {
        let message = format!("The instance '{id}' is not in a state in which its metadata options can be modified");
        return Err(refusal("IncorrectInstanceState", message));
    }
    let mut form = asked.form.clone();
    for (parameter, member) in METADATA_OPTIONS {
        let has = instance.text(&format!("metadataOptions/{member}"));
        if form.get(parameter).is_none() {
            has.into_iter().for_each(|has| form.set(parameter, has));
        }
    }
    let hops = form.get("HttpPutResponseHopLimit").and_then(|hops| hops.parse::<u32>().ok()).unwrap_or_default();
    if !(1..=64).contains(&hops) {
        return Err(refusal("InvalidParameterValue", format!("Invalid value '{hops}' for HttpPutResponseHopLimit")));
    }
    let mut answer = asked.ask(&form)?;
    answer.at_mut("instanceMetadataOptions").into_iter().for_each(|options| options.set("state", "pending"));
    Ok(answer)
}

/// One instance that is protected keeps those in its zone from being terminated, but not the others (EC2 API reference, TerminateInstances). One that
/// is protected against being stopped cannot be terminated either.
pub fn terminate_instances(asked: &Asked) -> Answer {
    let instances = asked.instances(&asked.form.list("InstanceId"))?;
    let (mut refused, mut zones) = (None, HashSet::new());
    for instance in &instances {
        let id = instance.text("instanceId").unwrap_or_default();
        for attribute in ["disableApiTermination", "disableApiStop"] {
            if asked.is_protected(id, attribute)? {
                refused = Some(protected(id, "terminated", attribute));
                zones.insert(instance.text("placement/availabilityZone"));
            }
        }
    }
    let Some(refused) = refused else { return asked.pass() };
    let elsewhere = instances.iter().filter(|i| !zones.contains(&i.text("placement/availabilityZone")));
    let elsewhere: Vec<String> = elsewhere.filter_map(|i| i.text("instanceId").map(str::to_owned)).collect();
    if !elsewhere.is_empty() {
        let mut form = Form::new("TerminateInstances", &[]);
        form.set_list("InstanceId", &elsewhere);
        asked.ask(&form)?;
    }
    Err(refused)
}

fn protected(id: &str, done: &str, attribute: &str) -> Response {
    let message = format!("The instance '{id}' may not be {done}. Modify its '{attribute}' instance attribute and try again.");
    refusal("OperationNotPermitted", message)
}

/// moto loses the devices of an instance when the attribute is named too, breaks on a device that is empty, does one thing of two, and protects only
/// in one of two ways to say it.
pub fn modify_instance_attribute(asked: &Asked) -> Answer {
    let mut form = asked.form.clone();
    for (attribute, parameter) in [("disableApiTermination", "DisableApiTermination.Value"), ("disableApiStop", "DisableApiStop.Value")] {
        if form.is("Attribute", attribute) && form.get("Value").is_some() {
            form.set(parameter, asked.form.get("Value").unwrap_or_default());
            form.remove("Attribute");
            form.remove("Value");
        }
    }
    let devices = form.parts("BlockDeviceMapping");
    let protections = ["DisableApiTermination.Value", "DisableApiStop.Value"].iter().filter(|p| form.get(p).is_some()).count();
    if protections + usize::from(!devices.is_empty()) > 1 {
        return Err(refusal("InvalidParameterCombination", "Fields for multiple attribute types specified"));
    }
    if !devices.is_empty() {
        form.remove("Attribute");
        let instance = instance(asked, form.get("InstanceId").unwrap_or_default())?;
        let mapped = instance.texts("blockDeviceMapping/item/deviceName");
        if let Some(empty) = devices.iter().filter_map(|d| d.get("DeviceName")).find(|d| !mapped.contains(d)) {
            return Err(refusal("InvalidInstanceAttributeValue", format!("No device is currently mapped at {empty}")));
        }
    }
    asked.ask(&form)
}

// --- The rest

/// moto deletes security groups that are in use, and the default one.
pub fn delete_security_group(asked: &Asked) -> Answer {
    let groups = asked.also("DescribeSecurityGroups", &[])?;
    let groups = groups.at("securityGroupInfo/item");
    let named =
        |group: &&&Node| group.text("groupId") == asked.form.get("GroupId") || group.text("groupName") == asked.form.get("GroupName");
    let Some(group) = groups.iter().find(named) else { return asked.pass() };
    let id = group.text("groupId").unwrap_or_default();
    if group.is("groupName", "default") {
        let message = format!("the specified group: \"{id}\" name: \"default\" cannot be deleted by a user");
        return Err(refusal("CannotDelete", message));
    }
    let mut form = Form::new("DescribeNetworkInterfaces", &[]);
    form.filter("group-id", &[id.to_owned()]);
    let interfaces = asked.ask(&form)?;
    let is_named_by = |other: &&&Node| {
        let rules = ["ipPermissions/item/groups/item/groupId", "ipPermissionsEgress/item/groups/item/groupId"];
        other.text("groupId") != Some(id) && rules.iter().any(|path| other.texts(path).contains(&id))
    };
    if !interfaces.at("networkInterfaceSet/item").is_empty() || groups.iter().any(|other| is_named_by(&other)) {
        return Err(refusal("DependencyViolation", format!("resource {id} has a dependent object")));
    }
    let mut answer = asked.pass()?;
    answer.set("return", "true");
    answer.set("groupId", id);
    Ok(answer)
}

/// moto says of an id of which the group has no rule in this direction only that there is none; AWS names it.
pub fn revoke_security_group_rules(asked: &Asked) -> Answer {
    let ids = asked.form.list("SecurityGroupRuleId");
    if ids.is_empty() {
        return asked.pass();
    }
    let egress = if asked.operation == "RevokeSecurityGroupEgress" { "true" } else { "false" };
    let known = asked.also("DescribeSecurityGroupRules", &[])?;
    let known = known.at("securityGroupRuleSet/item");
    let is_there = |id: &String| {
        let is_it = |rule: &&&Node| rule.is("securityGroupRuleId", id) && rule.is("isEgress", egress);
        known.iter().find(is_it).is_some_and(|rule| rule.text("groupId") == asked.form.get("GroupId"))
    };
    match ids.iter().find(|id| !is_there(id)) {
        Some(unknown) => {
            Err(refusal("InvalidSecurityGroupRuleId.NotFound", format!("The security group rule ID '{unknown}' does not exist")))
        }
        None => asked.pass(),
    }
}

/// moto tags some things that do not exist, and breaks on a tag without a value.
pub fn create_tags(asked: &Asked) -> Answer {
    let ids = asked.form.list("ResourceId");
    for (prefix, operation, path, code) in TAGGED_BLINDLY {
        let ids = ids.iter().filter(|id| id.starts_with(*prefix)).collect::<Vec<_>>();
        if !ids.is_empty() {
            let known = asked.also(operation, &[])?;
            let known = known.texts(path);
            if let Some(unknown) = ids.iter().find(|id| !known.contains(&id.as_str())) {
                return Err(refusal(code, format!("The ID '{unknown}' does not exist")));
            }
        }
    }
    let mut form = asked.form.clone();
    let mut tags = form.parts("Tag");
    tags.iter_mut().filter(|t| t.get("Value").is_none()).for_each(|t| t.set("Value", ""));
    form.set_parts("Tag", &tags);
    asked.ask(&form)
}

/// Tags a thing, unless there are no tags.
pub fn tag(asked: &Asked, id: &str, tags: &[(&str, &str)]) -> Result<(), Response> {
    if tags.is_empty() {
        return Ok(());
    }
    let mut form = Form::new("CreateTags", &[("ResourceId.1", id)]);
    for (number, (key, value)) in (1..).zip(tags) {
        form.set(&format!("Tag.{number}.Key"), key);
        form.set(&format!("Tag.{number}.Value"), value);
    }
    asked.ask(&form).map(drop)
}

/// Regions that are not enabled are told of only when all are asked for.
pub fn describe_regions(asked: &Asked) -> Answer {
    let mut answer = asked.pass()?;
    if !asked.form.is("AllRegions", "true") {
        answer.retain("regionInfo", |region| !region.is("optInStatus", "not-opted-in"));
    }
    Ok(answer)
}
