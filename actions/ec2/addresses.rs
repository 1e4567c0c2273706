//! The public IPv4 addresses of instances.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Instance;

/// Whose a public address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// EC2's, which takes it back when the instance stops.
    Amazon,
    /// An account's: it is elastic, and stays.
    Account,
    /// EC2 does not say.
    Unknown,
}

/// The public addresses of an instance, on whichever of its interfaces: any private address may have one, not only the first.
pub fn public(instance: &Instance) -> BTreeMap<&str, Owner> {
    let interfaces = instance.network_interfaces().iter();
    let associations = interfaces.flat_map(|interface| {
        let others = interface.private_ip_addresses().iter().filter_map(|address| address.association());
        interface.association().into_iter().chain(others)
    });
    let owner = |id: Option<&str>| match id {
        Some("amazon") => Owner::Amazon,
        Some(_) => Owner::Account,
        None => Owner::Unknown,
    };
    let mut public = BTreeMap::new();
    for (ip, id) in associations.filter_map(|a| Some((a.public_ip().filter(|ip| !ip.is_empty())?, a.ip_owner_id()))) {
        public.entry(ip).or_insert(owner(id));
    }
    public
}

/// What is said of an instance whose public address is another one after a stop.
pub fn lost_by_a_stop(instance: &Instance) -> Option<String> {
    let lent = public(instance).into_iter().find(|(_, owner)| *owner == Owner::Amazon);
    lent.map(|(address, _)| format!("its public address {address} is not elastic, and is another one after the stop"))
}
