use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;

use aaws::Backoff;
use aaws::{
    Action, Call, Change, Context, Dependency, Effect, ErrorContext, Example, Failure, Grant, Items, LeftItems, Meta, Outcome, Result,
    When, async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{IpPermission, NetworkInterface, SecurityGroup, UserIdGroupPair};
use futures::TryStreamExt;
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;

use super::lookup::{self, DESCRIBE_SECURITY_GROUPS, Lookup, LookupResult, Resource};

/// The code by which EC2 says that something uses a group.
const IN_USE: &str = "DependencyViolation";

/// The codes by which EC2 says that a rule is not there, and that it is there.
const NO_RULE: &str = "InvalidPermission.NotFound";
const RULE_THERE: &str = "InvalidPermission.Duplicate";

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
const CIRCLE: When = When::Likely("groups name each other in a circle");

#[async_trait]
impl Action for DeleteSecurityGroups {
    const META: Meta = Meta {
        path: "ec2/delete_security_groups",
        effect: Effect::Delete,
        calls: &[
            DESCRIBE_SECURITY_GROUPS,
            Call::read("ec2:DescribeNetworkInterfaces", &[Grant::new("ec2:DescribeNetworkInterfaces", &["*"])]),
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
        let lookup = lookup::look_up::<SecurityGroup>(cx, &ec2, self.security_group_ids).await?;
        let there: Vec<&SecurityGroup> = lookup.iter().filter_map(|s| s.result.found()).collect();
        let ids: Vec<String> = there.iter().map(|g| g.id().to_owned()).collect();
        let look = async { futures::try_join!(interfaces(&ec2, &ids), strangers(&ec2, &ids)) };
        let (interfaces, strangers) = lookup::cancellable(cx, look).await?;
        let names = references(&there);
        let kept = kept(&there, &interfaces, &strangers, &names, self.wait);
        let going: Vec<String> = ids.into_iter().filter(|id| !kept.contains_key(id)).collect();
        let groups: HashMap<String, SecurityGroup> = there.iter().map(|g| (g.id().to_owned(), (*g).clone())).collect();
        let plan = Plan { places: places(&going, &names), namers: namers(&going, &names), kept, interfaces, wait: self.wait };
        let mut items: Vec<Item> = lookup.into_iter().map(|s| plan.item(s)).collect();
        // In the order in which they can be deleted; those that are not to be deleted keep their order, behind them.
        items.sort_by_key(|item| if item.precheck.is_none() { plan.place(&item.id) } else { usize::MAX });
        let delete = Delete { ec2, wait: self.wait, groups };
        Ok(cx.change(stream::iter(items.into_iter().map(Ok)), delete).await?.left())
    }
}

aaws::register!(DeleteSecurityGroups);

/// The ids of groups whose rules name each group.
type Users = HashMap<String, BTreeSet<String>>;

/// The groups that each group's rules name.
type Names = BTreeMap<String, BTreeSet<String>>;

/// The network interfaces that a group is on: `eni-… (description)`.
#[derive(Default)]
struct Interfaces {
    /// Of services, which make them and take them away: those of a deleted function or load balancer linger.
    of_services: BTreeSet<String>,
    /// All others.
    own: BTreeSet<String>,
}

impl Interfaces {
    fn told(&self) -> String {
        self.own.iter().chain(&self.of_services).map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// The network interfaces that groups are on.
async fn interfaces(ec2: &Client, ids: &[String]) -> Result<HashMap<String, Interfaces>> {
    let mut on: HashMap<String, Interfaces> = HashMap::new();
    for some in ids.chunks(lookup::MOST_VALUES) {
        let request = ec2
            .describe_network_interfaces()
            .filters(lookup::filter("group-id", some))
            .max_results(lookup::PAGE)
            .into_paginator()
            .items()
            .send();
        let found: Vec<NetworkInterface> = request.try_collect().await.context(|| "list the network interfaces that the groups are on")?;
        for interface in found {
            let what = interface.description().filter(|d| !d.is_empty()).map(|d| format!(" ({d})")).unwrap_or_default();
            let name = format!("{}{what}", interface.network_interface_id().unwrap_or_default());
            for group in interface.groups().iter().filter_map(|g| g.group_id()).filter(|id| some.iter().any(|s| s == id)) {
                let on = on.entry(group.to_owned()).or_default();
                let kind = if interface.requester_managed() == Some(true) { &mut on.of_services } else { &mut on.own };
                kind.insert(name.clone());
            }
        }
    }
    Ok(on)
}

/// The groups that are not to be deleted and whose rules name those that are.
async fn strangers(ec2: &Client, ids: &[String]) -> Result<Users> {
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
fn named_by(group: &SecurityGroup) -> BTreeSet<String> {
    let rules = group.ip_permissions().iter().chain(group.ip_permissions_egress());
    let named = rules.flat_map(|r| r.user_id_group_pairs()).filter_map(|p| p.group_id());
    named.filter(|id| *id != group.id()).map(str::to_owned).collect()
}

/// Which of the groups each of them names.
fn references(groups: &[&SecurityGroup]) -> Names {
    let ids: BTreeSet<&str> = groups.iter().map(|g| g.id()).collect();
    let named = |g: &SecurityGroup| named_by(g).into_iter().filter(|id| ids.contains(id.as_str())).collect();
    groups.iter().map(|g| (g.id().to_owned(), named(g))).collect()
}

/// What is not to be deleted, and why: default groups, groups in use, and all that the rules of such groups name. No rule of a group that stays may be
/// taken away for the sake of another group.
fn kept(
    groups: &[&SecurityGroup],
    interfaces: &HashMap<String, Interfaces>,
    strangers: &Users,
    names: &Names,
    wait: bool,
) -> HashMap<String, Outcome> {
    let mut kept: HashMap<String, Outcome> = HashMap::new();
    for group in groups {
        if group.group_name() == Some("default") {
            kept.insert(group.id().to_owned(), Outcome::skipped("it is the default group of its VPC, which cannot be deleted"));
        } else if let Some(why) = used(group.id(), interfaces, strangers, wait) {
            kept.insert(group.id().to_owned(), Outcome::Failed(Failure::permanent(IN_USE, why)));
        }
    }
    let mut left: Vec<String> = kept.keys().cloned().collect();
    // So that the reasons are the same in every run.
    left.sort_unstable();
    while let Some(stays) = left.pop() {
        for named in names.get(&stays).into_iter().flatten() {
            if !kept.contains_key(named) {
                let why = format!("it is named by rules of {stays}, which is not deleted");
                kept.insert(named.clone(), Outcome::Failed(Failure::permanent(IN_USE, why)));
                left.push(named.clone());
            }
        }
    }
    kept
}

/// Why a group cannot be deleted. Interfaces of services are no reason when they are to be waited for.
fn used(id: &str, interfaces: &HashMap<String, Interfaces>, strangers: &Users, wait: bool) -> Option<String> {
    let on = interfaces.get(id).filter(|on| !(wait && on.own.is_empty())).map(|on| format!("it is on {}", on.told()));
    let list = |users: &BTreeSet<String>| users.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let named = strangers.get(id).map(|users| format!("it is named by rules of {}", list(users)));
    let told: Vec<String> = on.into_iter().chain(named).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// The groups to be deleted that name each group.
fn namers(going: &[String], names: &Names) -> HashMap<String, Vec<String>> {
    let mut namers: HashMap<String, Vec<String>> = HashMap::new();
    for namer in going {
        for named in names.get(namer).into_iter().flatten() {
            namers.entry(named.clone()).or_default().push(namer.clone());
        }
    }
    namers
}

/// Where each group stands in the order in which they are deleted.
fn places(going: &[String], names: &Names) -> HashMap<String, usize> {
    ordered(going, names).into_iter().flatten().enumerate().map(|(place, id)| (id, place)).collect()
}

/// An order in which groups come before those that they name. Those that name each other in a circle stand together, in the order given: only among
/// them do rules have to be taken away. (Kosaraju's algorithm for strongly connected components.)
fn ordered(ids: &[String], names: &Names) -> Vec<Vec<String>> {
    let number: HashMap<&str, usize> = ids.iter().enumerate().map(|(n, id)| (id.as_str(), n)).collect();
    let mut named: Vec<Vec<usize>> = Vec::with_capacity(ids.len());
    let mut namers: Vec<Vec<usize>> = vec![Vec::new(); ids.len()];
    for (namer, id) in ids.iter().enumerate() {
        let all: Vec<usize> = names.get(id).into_iter().flatten().filter_map(|n| number.get(n.as_str()).copied()).collect();
        all.iter().for_each(|&one| namers[one].push(namer));
        named.push(all);
    }
    let mut walked = Vec::with_capacity(ids.len());
    let mut seen = vec![false; ids.len()];
    // From the last to the first, because they are taken from the end: what nothing binds keeps its order.
    for start in (0..ids.len()).rev() {
        walk(&named, start, &mut seen, &mut walked);
    }
    let mut circles = Vec::new();
    let mut seen = vec![false; ids.len()];
    for &start in walked.iter().rev() {
        let mut circle = Vec::new();
        walk(&namers, start, &mut seen, &mut circle);
        if !circle.is_empty() {
            circle.sort_unstable();
            circles.push(circle.into_iter().map(|n| ids[n].clone()).collect());
        }
    }
    circles
}

/// Adds what can be reached and was not seen before, the farthest first.
fn walk(edges: &[Vec<usize>], start: usize, seen: &mut [bool], walked: &mut Vec<usize>) {
    if mem::replace(&mut seen[start], true) {
        return;
    }
    let mut path = vec![(start, 0_usize)];
    while let Some((at, next)) = path.last_mut() {
        match edges[*at].get(*next) {
            Some(&to) => {
                *next += 1;
                if !mem::replace(&mut seen[to], true) {
                    path.push((to, 0));
                }
            }
            None => {
                walked.push(*at);
                path.pop();
            }
        }
    }
}

struct Item {
    id: String,
    /// The groups to be deleted that name this one, and come before it.
    before: Vec<String>,
    /// The groups to be deleted that name this one, and come after it: a circle.
    circle: Vec<String>,
    /// Which of this group and its circle are on interfaces that are to be waited for.
    wait_for: Vec<String>,
    /// The interfaces of this group that are to be waited for.
    on: Option<String>,
    precheck: Option<Outcome>,
}

/// What was found out before anything is changed.
struct Plan {
    places: HashMap<String, usize>,
    namers: HashMap<String, Vec<String>>,
    kept: HashMap<String, Outcome>,
    interfaces: HashMap<String, Interfaces>,
    wait: bool,
}

impl Plan {
    fn place(&self, id: &str) -> usize {
        self.places.get(id).copied().unwrap_or(usize::MAX)
    }

    fn item(&self, lookup: Lookup<SecurityGroup>) -> Item {
        let id = lookup.id;
        let precheck = match lookup.result {
            LookupResult::NotFound => Some(Outcome::Unchanged("it does not exist".into())),
            LookupResult::Duplicate => Some(Outcome::Unchanged("duplicate id".into())),
            LookupResult::Found(_) => self.kept.get(&id).cloned(),
        };
        if precheck.is_some() {
            return Item { id, before: Vec::new(), circle: Vec::new(), wait_for: Vec::new(), on: None, precheck };
        }
        let namers = self.namers.get(&id).cloned().unwrap_or_default();
        let (before, circle): (Vec<String>, Vec<String>) = namers.into_iter().partition(|namer| self.place(namer) < self.place(&id));
        let on = self.interfaces.get(&id).filter(|_| self.wait).map(Interfaces::told);
        // A rule of a group that is still at work is not taken away.
        let all = circle.iter().chain([&id]).filter(|id| self.wait && self.interfaces.contains_key(*id)).cloned().collect();
        Item { wait_for: all, on, before, circle, precheck, id }
    }
}

/// Which rules of a group.
#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}

/// A rule of one group that names one other, and was taken away, or may have been.
struct Revoked {
    group: String,
    names: String,
    way: Way,
    rule: IpPermission,
}

struct Delete {
    ec2: Client,
    wait: bool,
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
        let on = item.on.iter().map(|on| format!("it is no longer on {on}"));
        let circle = Some(&item.circle).filter(|c| !c.is_empty());
        let first: Vec<String> = on.chain(circle.map(|c| format!("the rules of {} that name it are taken away", c.join(", ")))).collect();
        Some(if first.is_empty() { "it would be deleted".into() } else { format!("it would be deleted, when {}", first.join(" and ")) })
    }

    fn precheck(&self, item: &Item) -> Option<Outcome> {
        item.precheck.clone()
    }

    fn is_ordered(&self) -> bool {
        true
    }

    fn after(&self, item: &Item) -> Vec<Dependency> {
        let named = |namer: &String| Dependency::or_fail(namer, IN_USE, format!("it is named by rules of {namer}, which was not deleted"));
        item.before.iter().map(named).collect()
    }

    async fn apply(&self, cx: &Context, items: &[Item]) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            outcomes.push(self.delete(cx, item).await?);
        }
        Ok(outcomes)
    }
}

impl Delete {
    async fn delete(&self, cx: &Context, item: &Item) -> Result<Outcome> {
        if let Some(still) = self.free(cx, &item.wait_for).await? {
            return Ok(Outcome::Failed(Failure::permanent(IN_USE, still)));
        }
        let mut taken = Vec::new();
        for namer in &item.circle {
            if let Err(e) = self.take_away(namer, &item.id, &mut taken).await {
                return Ok(Outcome::Failed(Failure::from(&e).with_note(&self.put_back(taken).await)));
            }
        }
        match self.ask(cx, &item.id).await {
            // What was taken away named a group that is gone.
            Ok(outcome) => Ok(outcome),
            Err(e) => Ok(Outcome::Failed(Failure::from(&e).with_note(&self.put_back(taken).await))),
        }
    }

    /// Waits until these groups are on no interface; when the run is to end before that, says what they are still on.
    async fn free(&self, cx: &Context, ids: &[String]) -> Result<Option<String>> {
        let mut backoff = Backoff::poll();
        let mut still = String::new();
        while !ids.is_empty() {
            if let Some(on) = backoff.attempt(interfaces(&self.ec2, ids)).await? {
                let mut told: Vec<String> = on.iter().map(|(id, on)| format!("`{id}` is still on {}", on.told())).collect();
                if told.is_empty() {
                    break;
                }
                told.sort_unstable();
                still = told.join("; ");
                tracing::debug!("{still}");
            }
            if !backoff.wait(cx).await {
                return Ok(Some(still));
            }
        }
        Ok(None)
    }

    async fn ask(&self, cx: &Context, id: &str) -> Result<Outcome> {
        let mut backoff = Backoff::poll();
        loop {
            match self.ec2.delete_security_group().group_id(id).send().await.context(|| format!("delete the security group `{id}`")) {
                Ok(_) => return Ok(Outcome::done(())),
                Err(e) if e.code() == Some("InvalidGroup.NotFound") => return Ok(Outcome::Unchanged("it does not exist any more".into())),
                Err(e) if e.code() == Some(IN_USE) && self.wait => {
                    tracing::debug!("`{id}` is still in use");
                    if !backoff.wait(cx).await {
                        return Err(e);
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes away the rules of one group that name another, to the letter. What may be gone is noted, whatever the answer: an answer can be lost.
    async fn take_away(&self, namer: &str, named: &str, taken: &mut Vec<Revoked>) -> Result<()> {
        let Some(group) = self.groups.get(namer) else { return Ok(()) };
        let of = |way: Way, rules: &[IpPermission]| rules.iter().filter_map(|r| only(r, named)).map(|rule| (way, rule)).collect::<Vec<_>>();
        let rules = of(Way::In, group.ip_permissions()).into_iter().chain(of(Way::Out, group.ip_permissions_egress()));
        for (way, rule) in rules {
            let revoked = Revoked { group: namer.to_owned(), names: named.to_owned(), way, rule };
            match self.revoke(&revoked).await {
                Ok(()) => taken.push(revoked),
                // It was there a moment ago: most likely EC2 did it, its answer was lost, and the SDK asked again.
                Err(e) if e.code() == Some(NO_RULE) => taken.push(revoked),
                Err(e) => {
                    if e.is_ambiguous() {
                        taken.push(revoked);
                    }
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    async fn revoke(&self, revoked: &Revoked) -> Result<()> {
        let Revoked { group, names, way, rule } = revoked;
        let attempted = || format!("take away the rules of `{group}` that name `{names}`");
        match way {
            Way::In => {
                let request = self.ec2.revoke_security_group_ingress().group_id(group).ip_permissions(rule.clone());
                request.send().await.context(attempted).map(drop)
            }
            Way::Out => {
                let request = self.ec2.revoke_security_group_egress().group_id(group).ip_permissions(rule.clone());
                request.send().await.context(attempted).map(drop)
            }
        }
    }

    async fn authorize(&self, revoked: &Revoked) -> Result<()> {
        let Revoked { group, names, way, rule } = revoked;
        let attempted = || format!("put back the rules of `{group}` that name `{names}`");
        match way {
            Way::In => {
                let request = self.ec2.authorize_security_group_ingress().group_id(group).ip_permissions(rule.clone());
                request.send().await.context(attempted).map(drop)
            }
            Way::Out => {
                let request = self.ec2.authorize_security_group_egress().group_id(group).ip_permissions(rule.clone());
                request.send().await.context(attempted).map(drop)
            }
        }
    }

    /// Gives rules back that were taken away for nothing, and says so. Each goes alone: EC2 refuses all of a request when one of its rules is there.
    async fn put_back(&self, revoked: Vec<Revoked>) -> String {
        let mut told = BTreeSet::new();
        for revoked in revoked {
            let Revoked { group, names, .. } = &revoked;
            match self.authorize(&revoked).await {
                Ok(()) => {
                    told.insert(format!("undone: take away the rules of {group} that name {names}"));
                }
                // It was not taken away after all.
                Err(e) if e.code() == Some(RULE_THERE) => {}
                Err(e) => {
                    tracing::error!("could not undo: {e}");
                    told.insert(format!("could not undo: take away the rules of {group} that name {names} ({e})"));
                }
            }
        }
        told.into_iter().collect::<Vec<_>>().join("; ")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[(&str, &[&str])]) -> Vec<Vec<String>> {
        let ids: Vec<String> = names.iter().map(|(id, _)| (*id).to_owned()).collect();
        let names = names.iter().map(|(id, n)| ((*id).to_owned(), n.iter().map(|s| (*s).to_owned()).collect())).collect();
        ordered(&ids, &names)
    }

    #[test]
    fn who_names_others_goes_first() {
        assert_eq!(order(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]), [["c"], ["b"], ["a"]]);
        assert_eq!(order(&[("a", &[]), ("b", &[]), ("c", &[])]), [["a"], ["b"], ["c"]], "what nothing binds keeps its order");
    }

    #[test]
    fn only_a_circle_stands_together() {
        assert_eq!(order(&[("a", &["b"]), ("b", &["a"]), ("c", &["a"])]), [vec!["c"], vec!["a", "b"]]);
        // The first that is given hangs on the circle, and is no part of it.
        assert_eq!(order(&[("x", &[]), ("a", &["x", "b"]), ("b", &["a"])]), [vec!["a", "b"], vec!["x"]]);
    }

    #[test]
    fn a_long_chain_is_no_matter() {
        let ids: Vec<String> = (0..20_000).map(|n| format!("sg-{n}")).collect();
        let names: Names = ids.windows(2).map(|pair| (pair[1].clone(), BTreeSet::from([pair[0].clone()]))).collect();
        let order = ordered(&ids, &names);
        assert_eq!(order.len(), ids.len());
        assert_eq!(order.first(), Some(&vec!["sg-19999".to_owned()]));
        assert_eq!(order.last(), Some(&vec!["sg-0".to_owned()]));
    }
}
