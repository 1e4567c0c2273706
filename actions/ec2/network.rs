//! Elastic IP addresses and network interfaces: what is told of them, and what they belong to.

use aws_sdk_ec2::types::{Address, NetworkInterface};

/// What EC2 calls the pool of its own addresses (EC2 API reference, Address, `PublicIpv4Pool`).
const AMAZON: &str = "amazon";

/// A text, where there is one: of some things that are not there EC2 writes an empty one.
pub fn told(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// The same, to keep.
pub fn owned(text: Option<&str>) -> Option<String> {
    told(text).map(str::to_owned)
}

/// What an address is associated with: an instance and its interface, or an interface alone, of a NAT gateway or a load balancer say.
pub fn associated_with(address: &Address) -> Option<String> {
    let with = [address.instance_id(), address.network_interface_id()];
    let with: Vec<&str> = with.into_iter().filter_map(told).collect();
    if with.is_empty() { owned(address.association_id()) } else { Some(with.join(", ")) }
}

/// The pool of somebody's own that an address is of: brought to AWS, of IPAM, or a customer's on an Outpost.
pub fn own_pool(address: &Address) -> Option<&str> {
    let public = told(address.public_ipv4_pool()).filter(|pool| *pool != AMAZON);
    public.or(told(address.customer_owned_ipv4_pool()))
}

/// The address as people know it.
pub fn ip(address: &Address) -> &str {
    let ips = [address.public_ip(), address.customer_owned_ip(), address.carrier_ip()];
    ips.into_iter().find_map(told).unwrap_or("an address that EC2 does not tell")
}

/// The service that made an interface, and takes it away when it needs it no more.
pub fn service(interface: &NetworkInterface) -> Option<&str> {
    const UNNAMED: &str = "a service that EC2 does not name";
    let operator = interface.operator().filter(|operator| operator.managed() == Some(true));
    match operator {
        Some(operator) => Some(told(operator.principal()).unwrap_or(UNNAMED)),
        None if interface.requester_managed() == Some(true) => Some(told(interface.requester_id()).unwrap_or(UNNAMED)),
        None => None,
    }
}

/// What an interface is attached to: an instance, or something of the account that EC2 names, `amazon-aws` say.
pub fn attached_to(interface: &NetworkInterface) -> Option<&str> {
    let attachment = interface.attachment()?;
    told(attachment.instance_id()).or(told(attachment.instance_owner_id()))
}

/// The public addresses that are associated with an interface, on whichever of its private addresses.
pub fn public_ips(interface: &NetworkInterface) -> Vec<&str> {
    let others = interface.private_ip_addresses().iter().filter_map(|address| address.association());
    let associations = interface.association().into_iter().chain(others);
    let mut ips: Vec<&str> = associations.filter_map(|association| told(association.public_ip())).collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}
