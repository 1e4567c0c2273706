//! What keeps a security group from being deleted: network interfaces, rules of other groups, and associations with VPCs.

use std::collections::{BTreeSet, HashMap};

use aaws::{Error, ErrorContext, Next, Page, Result, paged};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{NetworkInterface, SecurityGroup, SecurityGroupVpcAssociation, SecurityGroupVpcAssociationState};
use futures::TryStreamExt;

use super::lookup::{self, Resource};

/// The ids of groups whose rules name each group.
pub type Users = HashMap<String, BTreeSet<String>>;

/// The network interfaces that a group is on: `eni-… (description)`.
#[derive(Default)]
pub struct Interfaces {
    /// Of services, which make them and take them away: those of a deleted function or load balancer linger.
    pub of_services: BTreeSet<String>,
    /// All others.
    pub own: BTreeSet<String>,
}

impl Interfaces {
    pub fn told(&self) -> String {
        self.own.iter().chain(&self.of_services).map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// The network interfaces that groups are on.
pub async fn interfaces(ec2: &Client, ids: &[String]) -> Result<HashMap<String, Interfaces>> {
    let mut on: HashMap<String, Interfaces> = HashMap::new();
    let mut found = Box::pin(lookup::with_values::<NetworkInterface>(ec2, "group-id", ids, &[]));
    while let Some(interface) = found.try_next().await? {
        let what = interface.description().filter(|d| !d.is_empty()).map(|d| format!(" ({d})")).unwrap_or_default();
        let name = format!("{}{what}", interface.id());
        for group in interface.groups().iter().filter_map(|g| g.group_id()).filter(|id| ids.iter().any(|i| i == id)) {
            let on = on.entry(group.to_owned()).or_default();
            let kind = if interface.requester_managed() == Some(true) { &mut on.of_services } else { &mut on.own };
            kind.insert(name.clone());
        }
    }
    Ok(on)
}

/// The groups that are not among these, and whose rules name them.
pub async fn strangers(ec2: &Client, ids: &[String]) -> Result<Users> {
    let mut users = Users::new();
    for property in ["ip-permission.group-id", "egress.ip-permission.group-id"] {
        let mut groups = Box::pin(lookup::with_values::<SecurityGroup>(ec2, property, ids, &[]));
        while let Some(group) = groups.try_next().await? {
            if ids.iter().any(|id| id == group.id()) {
                continue;
            }
            for named in named_by(&group) {
                users.entry(named).or_default().insert(group.id().to_owned());
            }
        }
    }
    Ok(users)
}

/// The groups that a group's rules name, but for itself.
pub fn named_by(group: &SecurityGroup) -> BTreeSet<String> {
    let rules = group.ip_permissions().iter().chain(group.ip_permissions_egress());
    let named = rules.flat_map(|r| r.user_id_group_pairs()).filter_map(|p| p.group_id());
    named.filter(|id| *id != group.id()).map(str::to_owned).collect()
}

/// The VPCs that groups are associated with, beside their own: none of them ends by itself, but for those that are being ended.
pub async fn associations(ec2: &Client, ids: &[String]) -> Result<Users> {
    let mut with = Users::new();
    for some in ids.chunks(lookup::MOST_VALUES) {
        let page = |token: Option<String>| async move {
            let request =
                ec2.describe_security_group_vpc_associations().filters(lookup::filter("group-id", some)).max_results(lookup::PAGE);
            let answer = request.set_next_token(token).send().await.context(|| "list the VPC associations of the groups")?;
            Ok::<_, Error>(Page {
                items: answer.security_group_vpc_associations.unwrap_or_default(),
                next: Next::nonempty(answer.next_token),
            })
        };
        let found: Vec<SecurityGroupVpcAssociation> = paged("the VPC associations", page).try_collect().await?;
        for association in found.iter().filter(|a| stays(a)) {
            if let (Some(group), Some(vpc)) = (association.group_id(), association.vpc_id()) {
                with.entry(group.to_owned()).or_default().insert(vpc.to_owned());
            }
        }
    }
    Ok(with)
}

/// The same, where EC2 itself refuses what is associated: when it may not be listed, nothing is lost but the reason.
pub async fn associations_if_allowed(ec2: &Client, ids: &[String]) -> Result<Users> {
    match associations(ec2, ids).await {
        Err(e) if !e.is_fatal() => {
            tracing::warn!("{e}; EC2 itself refuses to delete a group that is associated with another VPC");
            Ok(Users::new())
        }
        with => with,
    }
}

fn stays(association: &SecurityGroupVpcAssociation) -> bool {
    use SecurityGroupVpcAssociationState::{AssociationFailed, Disassociated, Disassociating};
    !matches!(association.state(), Some(AssociationFailed | Disassociated | Disassociating))
}

/// The ids in a sentence.
pub fn list(ids: &BTreeSet<String>) -> String {
    ids.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
