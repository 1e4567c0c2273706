use std::collections::HashMap;

use aaws::{
    Action, Backoff, Call, Code, Context, Dependency, Effect, Error, ErrorContext, Example, Failure, Grant, Items, LeftItems, Meta,
    Outcome, Result, Reversible, Steps, Undo, When, async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::SecurityGroup;
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::group_order::{Names, namers, places, references};
use super::group_rules::{self, DESCRIBE_SECURITY_GROUP_RULES, NO_RULE, Revoked};
use super::group_uses::{self, Interfaces, Users, list};
use super::lookup::{self, DESCRIBE_NETWORK_INTERFACES, DESCRIBE_SECURITY_GROUPS, Lookup, Resource};
use super::{ids, states, tags};

/// The code by which EC2 says that something uses a group.
const IN_USE: &str = "DependencyViolation";

/// How often a group is asked for again that EC2 says is in use, though nothing that uses it is shown: for about five minutes. What uses it may be shown
/// only later, or not at all.
const UNEXPLAINED: u32 = 18;

/// Delete security groups.
///
/// Looked at first is what uses them: a group on a network interface, named by a rule of a group that is not to be deleted, or associated with another
/// VPC, fails with what uses it, before anything is deleted. Groups that name each other are deleted in the order that this needs; where they name each
/// other in a circle, the rules of the circle are taken away first, and put back, with their tags, when a group of it cannot be deleted. Nothing else is
/// ever changed.
///
/// `default` groups cannot be deleted, and are skipped. The ids of the groups that are still there are printed, in the order in which they would be
/// deleted; the log and the report say why.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteSecurityGroups {
    /// Groups to delete. An empty list deletes nothing.
    pub security_group_ids: Items<String>,
    /// Wait for groups that are in use by what goes away by itself: interfaces of deleted functions and load balancers do, within the hour.
    #[serde(default)]
    pub wait: bool,
    /// Go on though the tags of rules that have to be taken away could not be looked at.
    #[serde(default)]
    pub unchecked: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

const GROUPS: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:security-group/${security_group_ids}"];
/// Rules have ids that EC2 makes up.
const RULES: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:security-group-rule/*"];
const GROUPS_AND_RULES: &[&str] = &[
    "arn:${Partition}:ec2:${Region}:${Account}:security-group/${security_group_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:security-group-rule/*",
];
const CIRCLE: When = When::Likely("groups name each other in a circle");

#[async_trait]
impl Action for DeleteSecurityGroups {
    const META: Meta = Meta {
        path: "ec2/delete_security_groups",
        effect: Effect::Delete,
        calls: &[
            DESCRIBE_SECURITY_GROUPS,
            DESCRIBE_NETWORK_INTERFACES,
            Call::read("ec2:DescribeSecurityGroupVpcAssociations", &[Grant::new("ec2:DescribeSecurityGroupVpcAssociations", &["*"])]),
            DESCRIBE_SECURITY_GROUP_RULES.when(CIRCLE),
            Call::write("ec2:RevokeSecurityGroupIngress", &[Grant::new("ec2:RevokeSecurityGroupIngress", GROUPS)]).when(CIRCLE),
            Call::write("ec2:RevokeSecurityGroupEgress", &[Grant::new("ec2:RevokeSecurityGroupEgress", GROUPS)]).when(CIRCLE),
            Call::write(
                "ec2:AuthorizeSecurityGroupIngress",
                &[
                    Grant::new("ec2:AuthorizeSecurityGroupIngress", GROUPS_AND_RULES),
                    Grant::new("ec2:CreateTags", RULES).condition("StringEquals", "ec2:CreateAction", "AuthorizeSecurityGroupIngress"),
                ],
            )
            .when(CIRCLE),
            Call::write(
                "ec2:AuthorizeSecurityGroupEgress",
                &[
                    Grant::new("ec2:AuthorizeSecurityGroupEgress", GROUPS_AND_RULES),
                    Grant::new("ec2:CreateTags", RULES).condition("StringEquals", "ec2:CreateAction", "AuthorizeSecurityGroupEgress"),
                ],
            )
            .when(CIRCLE),
            Call::write("ec2:DeleteSecurityGroup", &[Grant::new("ec2:DeleteSecurityGroup", GROUPS)]),
        ],
        rules: &[],
        examples: &[Example {
            title: "Delete a security group; one of an id that does not exist is no failure",
            input: r#"{"security_group_ids": ["sg-0123456789abcdef0", "sg-00000000000000000"], "ignore_not_found": true}"#,
            output: "[]",
            given: &["group sg-0123456789abcdef0"],
        }],
        notes: &[
            "Groups of other accounts, which share a VPC with this one, are not its to delete: EC2 refuses.",
            "A group that is associated with another VPC fails: end that association first, which nothing else does.",
            "`wait` ends when something uses a group that does not go away by itself, and when EC2 still says that a group is in use five minutes after nothing is \
             shown that uses it.",
            "What is named by a launch template, a launch configuration or a service that has nothing running is deleted without complaint: \
             `discover_unused_security_groups` looks at those.",
            "Rules of a circle that were taken away and cannot be put back are named, with their groups. Those that are put back have their tags again, and new ids.",
        ],
    };

    const BINDS: &'static [&'static str] = &["its name", "its VPC", "its rules, but for what describes them"];
    const REVERSIBLE: Reversible = Reversible::No(
        "A group that was deleted does not come back: another one has another id, and no rule names it. Rules that were taken away for a group that stays are put back by \
         the run itself or, when it was killed before that, by `aaws undo` and `aaws resume`.",
    );

    type Output = LeftItems;

    async fn run(self, cx: &Context) -> Result<LeftItems> {
        let ids = ids::checked("security_group_ids", "sg-", self.security_group_ids).await?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<SecurityGroup>(cx, &ec2, ids.into()).await?;
        let there: Vec<&SecurityGroup> = lookup.iter().filter_map(|s| s.result.found()).collect();
        let ids: Vec<String> = there.iter().map(|g| g.id().to_owned()).collect();
        let look = async {
            futures::try_join!(
                group_uses::interfaces(&ec2, &ids),
                group_uses::strangers(&ec2, &ids),
                group_uses::associations_if_allowed(&ec2, &ids)
            )
        };
        let (interfaces, strangers, associations) = lookup::cancellable(cx, look).await?;
        let uses = Uses { interfaces, strangers, associations };
        let names = references(&there);
        let kept = kept(cx, &there, &uses, &names, self.wait);
        let going: Vec<String> = ids.into_iter().filter(|id| !kept.contains_key(id)).collect();
        let groups: HashMap<String, SecurityGroup> = there.iter().map(|g| (g.id().to_owned(), (*g).clone())).collect();
        let plan = Plan {
            places: places(&going, &names),
            namers: namers(&going, &names),
            kept,
            interfaces: uses.interfaces,
            wait: self.wait,
            ignore_not_found: self.ignore_not_found,
        };
        let mut items: Vec<Item> = lookup.into_iter().map(|s| plan.item(s)).collect();
        // In the order in which they can be deleted; those that are not to be deleted keep their order, behind them.
        items.sort_by_key(|item| if item.precheck.is_none() { plan.place(&item.id) } else { usize::MAX });
        let delete = Delete { ec2, wait: self.wait, unchecked: self.unchecked, groups };
        Ok(cx.change_in_steps(stream::iter(items.into_iter().map(Ok)), delete).await?.left())
    }
}

aaws::register!(DeleteSecurityGroups, undo = Revoked);

/// What is not to be deleted, and why: default groups, protected groups, groups in use, and all that the rules of such groups name. No rule of a group that stays may be
/// taken away for the sake of another group.
fn kept(cx: &Context, groups: &[&SecurityGroup], uses: &Uses, names: &Names, wait: bool) -> HashMap<String, Outcome> {
    let mut kept: HashMap<String, Outcome> = HashMap::new();
    for group in groups {
        if let Some(protected) = tags::protection(cx, group.tags()) {
            kept.insert(group.id().to_owned(), protected);
        } else if group.group_name() == Some("default") {
            kept.insert(group.id().to_owned(), Outcome::skipped("it is the default group of its VPC, which cannot be deleted"));
        } else if let Some(why) = uses.of(group.id(), wait) {
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

/// What uses groups, by their ids.
struct Uses {
    interfaces: HashMap<String, Interfaces>,
    /// Groups that are not to be deleted.
    strangers: Users,
    /// VPCs.
    associations: Users,
}

impl Uses {
    /// Why a group cannot be deleted. Interfaces of services are no reason when they are to be waited for.
    fn of(&self, id: &str, wait: bool) -> Option<String> {
        let on = self.interfaces.get(id).filter(|on| !(wait && on.own.is_empty())).map(|on| format!("it is on {}", on.told()));
        let named = self.strangers.get(id).map(|users| format!("it is named by rules of {}", list(users)));
        let with = self.associations.get(id).map(|vpcs| format!("it is associated with {}, which has to be ended first", list(vpcs)));
        let told: Vec<String> = on.into_iter().chain(named).chain(with).collect();
        (!told.is_empty()).then(|| told.join("; "))
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
    ignore_not_found: bool,
}

impl Plan {
    fn place(&self, id: &str) -> usize {
        self.places.get(id).copied().unwrap_or(usize::MAX)
    }

    fn item(&self, lookup: Lookup<SecurityGroup>) -> Item {
        let unknown = lookup.result.unknown(self.ignore_not_found);
        let id = lookup.id;
        let precheck = unknown.or_else(|| self.kept.get(&id).cloned());
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

struct Delete {
    ec2: Client,
    wait: bool,
    unchecked: bool,
    groups: HashMap<String, SecurityGroup>,
}

#[async_trait]
impl Steps for Delete {
    type Item = Item;
    type Done = ();
    type Step = Revoked;

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

    fn state(&self, item: &Item) -> Option<Value> {
        self.groups.get(&item.id).map(states::group)
    }

    fn is_ordered(&self) -> bool {
        true
    }

    fn after(&self, item: &Item) -> Vec<Dependency> {
        let named = |namer: &String| Dependency::or_fail(namer, IN_USE, format!("it is named by rules of {namer}, which was not deleted"));
        item.before.iter().map(named).collect()
    }

    async fn run(&self, cx: &Context, item: &Item, undo: &mut Undo<Revoked>) -> Result<Outcome> {
        if let Some(still) = self.free(cx, &item.wait_for).await? {
            return Ok(Outcome::Failed(Failure::permanent(IN_USE, still)));
        }
        let rules = match self.rules_of_circle(item).await {
            Ok(rules) => rules,
            Err(e) if e.is_fatal() => return Err(e),
            Err(e) => {
                let why = format!(
                    "the tags of rules that would be taken away could not be looked at, and would be lost: {e}; give `unchecked` to go on"
                );
                return Ok(Outcome::Failed(Failure::permanent(Code::Unchecked, why)));
            }
        };
        let took = !rules.is_empty();
        let deleted = match self.take_away(rules, undo).await {
            Ok(()) => self.ask(cx, &item.id).await,
            Err(e) => Err(e.into()),
        };
        match deleted {
            // What was taken away named a group that is gone.
            Ok(outcome) => {
                undo.clear();
                Ok(outcome)
            }
            Err(Stays(failure)) if took => Ok(Outcome::Failed(failure.with_note("rules that are put back have new ids"))),
            Err(Stays(failure)) => Ok(Outcome::Failed(failure)),
        }
    }
}

/// Why a group was not deleted.
struct Stays(Failure);

impl From<Error> for Stays {
    fn from(error: Error) -> Self {
        Stays(Failure::from(&error))
    }
}

impl Delete {
    /// Waits until these groups are on no interface; when the run is to end before that, says what they are still on.
    async fn free(&self, cx: &Context, ids: &[String]) -> Result<Option<String>> {
        let mut backoff = Backoff::poll();
        let mut still = String::new();
        while !ids.is_empty() {
            if let Some(on) = backoff.attempt(group_uses::interfaces(&self.ec2, ids)).await? {
                let mut told: Vec<String> = on.iter().map(|(id, on)| format!("`{id}` is still on {}", on.told())).collect();
                if told.is_empty() {
                    break;
                }
                told.sort_unstable();
                still = told.join("; ");
                tracing::debug!("{still}");
            }
            cx.release_slot();
            if !backoff.wait(cx).await {
                return Ok(Some(still));
            }
        }
        Ok(None)
    }

    /// The rules of the groups of its circle that name a group, with their tags; without them where that is taken on.
    async fn rules_of_circle(&self, item: &Item) -> Result<Vec<Revoked>> {
        if item.circle.is_empty() {
            return Ok(Vec::new());
        }
        let shown = match group_rules::shown(&self.ec2, &item.circle).await {
            Err(e) if self.unchecked && !e.is_fatal() => {
                tracing::warn!("{e}; rules that are put back will be without their tags");
                Vec::new()
            }
            shown => shown?,
        };
        let namers = item.circle.iter().filter_map(|namer| self.groups.get(namer));
        Ok(namers.flat_map(|namer| group_rules::naming(namer, &item.id, &shown)).collect())
    }

    /// Takes rules away, to the letter. Each is noted before, and stays so whatever the answer is: an answer can be lost.
    async fn take_away(&self, rules: Vec<Revoked>, undo: &mut Undo<Revoked>) -> Result<()> {
        for rule in rules {
            undo.note(rule.clone()).await?;
            match rule.revoke(&self.ec2).await {
                // It was there a moment ago: most likely EC2 did it, its answer was lost, and the SDK asked again.
                Err(e) if e.code() == Some(NO_RULE) => {}
                revoked => revoked?,
            }
        }
        Ok(())
    }

    /// Deletes a group, and waits for what uses it and goes away by itself.
    async fn ask(&self, cx: &Context, id: &str) -> Result<Outcome, Stays> {
        let mut backoff = Backoff::poll();
        let mut unexplained = 0;
        loop {
            let e = match self.ec2.delete_security_group().group_id(id).send().await.context(|| format!("delete the security group `{id}`"))
            {
                Ok(_) => return Ok(Outcome::done(())),
                Err(e) if e.code() == Some("InvalidGroup.NotFound") => return Ok(Outcome::Unchanged("it does not exist any more".into())),
                Err(e) => e,
            };
            if e.code() != Some(IN_USE) {
                return Err(e.into());
            }
            let used = self.still_used(id).await;
            match &used {
                Used::ForGood(why) => return Err(Stays(Failure::from(&e).with_note(why))),
                Used::Unseen if !self.wait => return Err(e.into()),
                Used::ForNow(why) if !self.wait => return Err(Stays(Failure::from(&e).with_note(why))),
                Used::ForNow(why) => {
                    unexplained = 0;
                    tracing::debug!("`{id}`: {why}");
                }
                Used::Unseen => unexplained += 1,
            }
            cx.release_slot();
            if unexplained == UNEXPLAINED {
                return Err(Stays(Failure::from(&e).with_note("nothing is shown that uses it, and it is not waited for any longer")));
            }
            if !backoff.wait(cx).await {
                return Err(match used {
                    Used::ForNow(why) => Stays(Failure::from(&e).with_note(&why)),
                    Used::ForGood(_) | Used::Unseen => e.into(),
                });
            }
        }
    }

    /// What uses a group that EC2 did not delete. What cannot be looked at is not shown.
    async fn still_used(&self, id: &str) -> Used {
        let ids = [id.to_owned()];
        let looks = futures::join!(
            group_uses::interfaces(&self.ec2, &ids),
            group_uses::strangers(&self.ec2, &ids),
            group_uses::associations(&self.ec2, &ids)
        );
        let (interfaces, strangers, associations) = (seen(looks.0), seen(looks.1), seen(looks.2));
        let lingering = interfaces.get(id).filter(|on| on.own.is_empty()).map(|on| format!("it is still on {}", on.told()));
        let mut uses = Uses { interfaces, strangers, associations };
        // Groups of this run that named it are gone, or name it no more, and may be shown as they were before.
        for users in uses.strangers.values_mut() {
            users.retain(|user| !self.groups.contains_key(user));
        }
        uses.strangers.retain(|_, users| !users.is_empty());
        match (uses.of(id, true), lingering) {
            (Some(why), _) => Used::ForGood(why),
            (None, Some(why)) => Used::ForNow(why),
            (None, None) => Used::Unseen,
        }
    }
}

/// What uses a group that EC2 says is in use.
enum Used {
    /// Something that does not go away by itself.
    ForGood(String),
    /// Something that does.
    ForNow(String),
    /// Nothing that is shown.
    Unseen,
}

fn seen<T: Default>(look: Result<T>) -> T {
    look.unwrap_or_else(|e| {
        tracing::debug!("{e}");
        T::default()
    })
}
