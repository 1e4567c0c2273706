use std::collections::{BTreeMap, BTreeSet, HashMap};

use aaws::poll::Looks;
use aaws::{
    Action, Call, Change, Context, Doing, Effect, Error, Example, Failure, Grant, Items, LeftItems, Meta, Outcome, Result, When,
    async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{IpPermission, NetworkInterface, SecurityGroup, UserIdGroupPair};
use futures::TryStreamExt;
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;

use super::find::{self, DESCRIBE_SECURITY_GROUPS, Found, Sought, Thing};
use super::related::Fates;

/// The code by which EC2 says that something uses a group.
const IN_USE: &str = "DependencyViolation";

/// Delete security groups.
///
/// Looked at first is what uses them: a group on a network interface, or named by a rule of a group that is not to be deleted, fails with what uses it,
/// before anything is deleted. Groups that name each other are deleted in the order that this needs; where they name each other in a circle, the rules
/// of the circle are taken away first, and put back when a group of it cannot be deleted. Nothing else is ever changed.
///
/// `default` groups cannot be deleted, and are skipped. The ids of the groups that are still there are printed, in the order in which they would be
/// deleted; the log and the report say why. An id that does not exist is unchanged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteSecurityGroups {
    /// Groups to delete. An empty list deletes nothing.
    security_group_ids: Items<String>,
    /// Wait for groups that EC2 says are in use: interfaces of deleted functions and load balancers go away by themselves, within the hour.
    #[serde(default)]
    wait: bool,
}

const GROUPS: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:security-group/${security_group_ids}"];
const CIRCLE: When = When::If("groups name each other in a circle");

#[async_trait]
impl Action for DeleteSecurityGroups {
    const META: Meta = Meta {
        path: "ec2/delete_security_groups",
        effect: Effect::Delete,
        calls: &[
            DESCRIBE_SECURITY_GROUPS,
            Call::read("ec2:DescribeNetworkInterfaces", &[Grant::new("ec2:DescribeNetworkInterfaces", &["*"])])
                .when(When::If("a group exists")),
            Call::write("ec2:RevokeSecurityGroupIngress", &[Grant::new("ec2:RevokeSecurityGroupIngress", GROUPS)]).when(CIRCLE),
            Call::write("ec2:RevokeSecurityGroupEgress", &[Grant::new("ec2:RevokeSecurityGroupEgress", GROUPS)]).when(CIRCLE),
            Call::write("ec2:AuthorizeSecurityGroupIngress", &[Grant::new("ec2:AuthorizeSecurityGroupIngress", GROUPS)]).when(CIRCLE),
            Call::write("ec2:AuthorizeSecurityGroupEgress", &[Grant::new("ec2:AuthorizeSecurityGroupEgress", GROUPS)]).when(CIRCLE),
            Call::write("ec2:DeleteSecurityGroup", &[Grant::new("ec2:DeleteSecurityGroup", GROUPS)]),
        ],
        rules: &[],
        examples: &[Example {
            title: "Delete a security group; one of an id that does not exist is no failure",
            input: r#"{"security_group_ids": ["sg-0123456789abcdef0", "sg-00000000000000000"]}"#,
            output: "[]",
            given: &["group sg-0123456789abcdef0"],
        }],
        notes: &[
            "Groups of other accounts, which share a VPC with this one, are not its to delete: EC2 refuses.",
            "A group that is associated with another VPC is refused by EC2: end that association first.",
            "What is named by a launch template, a launch configuration or a service that has nothing running is deleted without complaint: \
             `discover_unused_security_groups` looks at those.",
            "Rules of a circle that were taken away and cannot be put back are named, with their groups.",
        ],
    };

    type Output = LeftItems;

    async fn run(self, cx: &Context) -> Result<LeftItems> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let sought = find::seek::<SecurityGroup>(cx, &ec2, self.security_group_ids).await?;
        let there: Vec<&SecurityGroup> = sought.iter().filter_map(|s| s.found.there()).collect();
        let ids: Vec<String> = there.iter().map(|g| g.id().to_owned()).collect();
        let used = find::unless_stopped(cx, async { futures::try_join!(interfaces(&ec2, &ids), strangers(&ec2, &ids)) }).await?;
        let names = references(&there);
        let order = ordered(&ids, &names);
        let groups: HashMap<String, SecurityGroup> = there.iter().map(|g| (g.id().to_owned(), (*g).clone())).collect();
        let fates = Fates::of(ids.iter().cloned());
        let mut items: Vec<Item> = sought.into_iter().map(|s| item(s, &used.0, &used.1, &names, &order)).collect();
        for item in items.iter().filter(|i| groups.contains_key(&i.id) && !i.repeated) {
            if let Some(Outcome::Failed(_) | Outcome::Skipped(_)) = &item.verdict {
                fates.settle(&item.id, false);
            }
        }
        // In the order in which they can be deleted; those that are not there keep their place at the end.
        let place = |item: &Item| order.iter().position(|id| *id == item.id).unwrap_or(usize::MAX);
        items.sort_by_key(place);
        let delete = Delete { ec2, wait: self.wait, fates, groups };
        Ok(cx.change(stream::iter(items.into_iter().map(Ok)), delete).await?.left())
    }
}

aaws::register!(DeleteSecurityGroups);

/// Who uses each group: `eni-… (description)`, or the ids of other groups.
type Users = HashMap<String, BTreeSet<String>>;

/// The network interfaces that groups are on.
async fn interfaces(ec2: &Client, ids: &[String]) -> Result<Users> {
    let mut users = Users::new();
    for some in ids.chunks(find::MOST_VALUES) {
        let request = ec2.describe_network_interfaces().filters(find::filter("group-id", some)).into_paginator().items().send();
        let found: Vec<NetworkInterface> = request.try_collect().await.doing(|| "list the network interfaces that the groups are on")?;
        for interface in found {
            let what = interface.description().filter(|d| !d.is_empty()).map(|d| format!(" ({d})")).unwrap_or_default();
            let name = format!("{}{what}", interface.network_interface_id().unwrap_or_default());
            for group in interface.groups().iter().filter_map(|g| g.group_id()) {
                users.entry(group.to_owned()).or_default().insert(name.clone());
            }
        }
    }
    Ok(users)
}

/// The groups that are not to be deleted and whose rules name those that are.
async fn strangers(ec2: &Client, ids: &[String]) -> Result<Users> {
    let mut users = Users::new();
    for property in ["ip-permission.group-id", "egress.ip-permission.group-id"] {
        let mut groups = Box::pin(find::with_values::<SecurityGroup>(ec2, property, ids, &[]));
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
fn named_by(group: &SecurityGroup) -> BTreeSet<String> {
    let rules = group.ip_permissions().iter().chain(group.ip_permissions_egress());
    let named = rules.flat_map(|r| r.user_id_group_pairs()).filter_map(|p| p.group_id());
    named.filter(|id| *id != group.id()).map(str::to_owned).collect()
}

/// Which of the groups each of them names.
fn references(groups: &[&SecurityGroup]) -> BTreeMap<String, BTreeSet<String>> {
    let ids: BTreeSet<&str> = groups.iter().map(|g| g.id()).collect();
    let named = |g: &SecurityGroup| named_by(g).into_iter().filter(|id| ids.contains(id.as_str())).collect();
    groups.iter().map(|g| (g.id().to_owned(), named(g))).collect()
}

/// An order in which a group comes before those that it names, as far as there is no circle.
fn ordered(ids: &[String], names: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut left: Vec<&String> = ids.iter().collect();
    let mut order = Vec::with_capacity(ids.len());
    while !left.is_empty() {
        // One that nobody names who is left; in a circle there is none, and the first is as good as any.
        let free = left.iter().position(|id| !left.iter().any(|other| other != id && names.get(*other).is_some_and(|n| n.contains(*id))));
        order.push(left.remove(free.unwrap_or(0)).clone());
    }
    order
}

struct Item {
    id: String,
    repeated: bool,
    /// The groups to be deleted that name this one, and come before it.
    before: Vec<String>,
    /// The groups to be deleted that name this one, and come after it: a circle.
    circle: Vec<String>,
    verdict: Option<Outcome>,
}

fn item(
    sought: Sought<SecurityGroup>,
    interfaces: &Users,
    strangers: &Users,
    names: &BTreeMap<String, BTreeSet<String>>,
    order: &[String],
) -> Item {
    let place = |id: &str| order.iter().position(|o| o == id).unwrap_or(usize::MAX);
    let namers: Vec<String> = names.iter().filter(|(_, named)| named.contains(&sought.id)).map(|(id, _)| id.clone()).collect();
    let (before, circle) = namers.into_iter().partition(|id| place(id) < place(&sought.id));
    let verdict = match &sought.found {
        Found::Missing => Some(Outcome::Unchanged("it does not exist".into())),
        Found::Repeated => Some(Outcome::Unchanged("it was given before".into())),
        Found::There(group) if group.group_name() == Some("default") => {
            Some(Outcome::Skipped("it is the default group of its VPC, which cannot be deleted".into()))
        }
        Found::There(_) => used(&sought.id, interfaces, strangers).map(|why| Outcome::Failed(Failure::last(IN_USE, why))),
    };
    Item { repeated: matches!(sought.found, Found::Repeated), id: sought.id, before, circle, verdict }
}

fn used(id: &str, interfaces: &Users, strangers: &Users) -> Option<String> {
    let list = |users: &BTreeSet<String>| users.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let on = interfaces.get(id).map(|users| format!("it is on {}", list(users)));
    let named = strangers.get(id).map(|users| format!("it is named by rules of {}", list(users)));
    let told: Vec<String> = on.into_iter().chain(named).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Rules of one group that name one other, and were taken away.
struct Revoked {
    group: String,
    names: String,
    ingress: Vec<IpPermission>,
    egress: Vec<IpPermission>,
}

struct Delete {
    ec2: Client,
    wait: bool,
    fates: Fates,
    groups: HashMap<String, SecurityGroup>,
}

#[async_trait]
impl Change for Delete {
    type Item = Item;
    type Done = ();

    fn id(&self, item: &Item) -> String {
        item.id.clone()
    }

    fn summary(&self) -> String {
        "delete".into()
    }

    fn plan(&self, item: &Item) -> Option<String> {
        Some(if item.circle.is_empty() {
            "it would be deleted".into()
        } else {
            format!("it would be deleted, when the rules of {} that name it are taken away", item.circle.join(", "))
        })
    }

    fn verdict(&self, item: &Item) -> Option<Outcome> {
        item.verdict.clone()
    }

    async fn apply(&self, cx: &Context, items: &[Item]) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            let outcome = self.delete(cx, item).await;
            let gone = matches!(outcome, Ok(Outcome::Done(..) | Outcome::Unchanged(_)));
            self.fates.settle(&item.id, gone);
            outcomes.push(outcome?);
        }
        Ok(outcomes)
    }
}

impl Delete {
    async fn delete(&self, cx: &Context, item: &Item) -> Result<Outcome> {
        // Those before it in the stream are under way, or done: waiting for them ends.
        if let Err(namer) = self.fates.gone(cx, &item.before).await {
            return Ok(Outcome::Failed(Failure::last(IN_USE, format!("it is named by rules of {namer}, which was not deleted"))));
        }
        let mut taken = Vec::new();
        for namer in &item.circle {
            match self.take_away(namer, &item.id).await {
                Ok(revoked) => taken.extend(revoked),
                Err(e) => {
                    let told = self.put_back(taken).await;
                    return Ok(failed(&e, told));
                }
            }
        }
        match self.ask(cx, &item.id).await {
            // What was taken away named a group that is gone.
            Ok(outcome) => Ok(outcome),
            Err(e) => {
                let told = self.put_back(taken).await;
                if e.is_fatal() && told.is_none() { Err(e) } else { Ok(failed(&e, told)) }
            }
        }
    }

    async fn ask(&self, cx: &Context, id: &str) -> Result<Outcome> {
        let mut looks = Looks::new();
        loop {
            match self.ec2.delete_security_group().group_id(id).send().await.doing(|| format!("delete the security group `{id}`")) {
                Ok(_) => return Ok(Outcome::done(())),
                Err(e) if e.code() == Some("InvalidGroup.NotFound") => return Ok(Outcome::Unchanged("it does not exist any more".into())),
                Err(e) if e.code() == Some(IN_USE) && self.wait => {
                    tracing::debug!("`{id}` is still in use");
                    if !looks.wait(cx).await {
                        return Err(e);
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes away the rules of one group that name another, to the letter.
    async fn take_away(&self, namer: &str, named: &str) -> Result<Option<Revoked>> {
        let Some(group) = self.groups.get(namer) else { return Ok(None) };
        let of = |rules: &[IpPermission]| rules.iter().filter_map(|r| only(r, named)).collect::<Vec<_>>();
        let (ingress, egress) = (of(group.ip_permissions()), of(group.ip_permissions_egress()));
        let mut revoked = Revoked { group: namer.to_owned(), names: named.to_owned(), ingress: Vec::new(), egress: Vec::new() };
        let doing = || format!("take away the rules of `{namer}` that name `{named}`");
        if !ingress.is_empty() {
            let request = self.ec2.revoke_security_group_ingress().group_id(namer).set_ip_permissions(Some(ingress.clone()));
            request.send().await.doing(doing)?;
            revoked.ingress = ingress;
        }
        if !egress.is_empty() {
            let request = self.ec2.revoke_security_group_egress().group_id(namer).set_ip_permissions(Some(egress.clone()));
            if let Err(e) = request.send().await.doing(doing) {
                let told = self.put_back(vec![revoked]).await;
                return Err(Error::Failed(told.into_iter().fold(e.to_string(), |m, t| format!("{m}; {t}"))));
            }
            revoked.egress = egress;
        }
        Ok(Some(revoked))
    }

    /// Gives rules back that were taken away for nothing, and says so.
    async fn put_back(&self, revoked: Vec<Revoked>) -> Option<String> {
        let mut told = Vec::new();
        for Revoked { group, names, ingress, egress } in revoked {
            let doing = || format!("put back the rules of `{group}` that name `{names}`");
            let mut results = Vec::new();
            if !ingress.is_empty() {
                let request = self.ec2.authorize_security_group_ingress().group_id(&group).set_ip_permissions(Some(ingress));
                results.push(request.send().await.doing(doing).map(drop));
            }
            if !egress.is_empty() {
                let request = self.ec2.authorize_security_group_egress().group_id(&group).set_ip_permissions(Some(egress));
                results.push(request.send().await.doing(doing).map(drop));
            }
            match results.into_iter().find_map(Result::err) {
                None => told.push(format!("undone: take away the rules of {group} that name {names}")),
                Some(e) => {
                    tracing::error!("could not undo: {e}");
                    told.push(format!("could not undo: take away the rules of {group} that name {names} ({e})"));
                }
            }
        }
        (!told.is_empty()).then(|| told.join("; "))
    }
}

/// A rule cut down to the one pair that names a group.
fn only(rule: &IpPermission, named: &str) -> Option<IpPermission> {
    let pairs: Vec<UserIdGroupPair> = rule.user_id_group_pairs().iter().filter(|p| p.group_id() == Some(named)).cloned().collect();
    if pairs.is_empty() {
        return None;
    }
    let cut = IpPermission::builder().set_ip_protocol(rule.ip_protocol().map(str::to_owned)).set_from_port(rule.from_port());
    Some(cut.set_to_port(rule.to_port()).set_user_id_group_pairs(Some(pairs)).build())
}

fn failed(error: &Error, told: Option<String>) -> Outcome {
    let failure = Failure::from(error);
    Outcome::Failed(Failure { message: told.into_iter().fold(failure.message, |m, t| format!("{m}; {t}")), ..failure })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[(&str, &[&str])]) -> Vec<String> {
        let ids: Vec<String> = names.iter().map(|(id, _)| (*id).to_owned()).collect();
        let names = names.iter().map(|(id, n)| ((*id).to_owned(), n.iter().map(|s| (*s).to_owned()).collect())).collect();
        ordered(&ids, &names)
    }

    #[test]
    fn who_names_others_goes_first() {
        assert_eq!(order(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]), ["c", "b", "a"]);
        assert_eq!(order(&[("a", &["b"]), ("b", &["a"]), ("c", &["a"])]), ["c", "a", "b"]);
    }
}
