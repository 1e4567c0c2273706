use std::collections::{BTreeMap, BTreeSet, HashMap};

use aaws::{
    Action, Call, Change, Code, Context, Effect, Error, ErrorContext, Example, Failure, Grant, Items, LeftItems, Meta, Noted, Outcome,
    Result, Reversible, When, async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{SecurityGroup, SecurityGroupRule};
use futures::future::join_all;
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::coalesce::is_named;
use super::group_rules::{DESCRIBE_SECURITY_GROUP_RULES, NO_GROUP, NO_RULE, Way};
use super::lookup::{self, DESCRIBE_SECURITY_GROUPS, Lookup};
use super::made::UNDONE;
use super::{ids, tags};

mod step;

use step::RuleStep;

/// How many rules are worked on together. The API references of RevokeSecurityGroupIngress and RevokeSecurityGroupEgress name no limit for one request,
/// which is for one group and direction: that are 60 rules, and where the quota was raised never more than 1,000 (VPC user guide, "Amazon VPC quotas").
const BATCH: usize = 500;

/// The code by which EC2 says that there is no rule of an id.
const NO_RULE_ID: &str = "InvalidSecurityGroupRuleId.NotFound";

/// Revoke rules of security groups.
///
/// Inbound and outbound rules are taken by their ids, as `discover_open_security_groups` prints them. Each is looked up first. The rules of one group and
/// direction are revoked by one request; when one of them is gone meanwhile, which makes EC2 refuse all of them, the others are revoked without it.
///
/// A rule that is revoked can be put back by `aaws undo`: with its description and its tags, and a new id. The ids of the rules that are still there, because
/// they failed or were skipped, are printed in the order given; the log and the report say why.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeSecurityGroupRules {
    /// Rules to revoke, inbound or outbound. An empty list revokes nothing.
    pub security_group_rule_ids: Items<String>,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

/// The ids of rules do not tell the groups.
const GROUPS: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:security-group/*"];
/// Rules that are put back have ids that EC2 makes up.
const RULES: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:security-group-rule/*"];
const GROUPS_AND_RULES: &[&str] =
    &["arn:${Partition}:ec2:${Region}:${Account}:security-group/*", "arn:${Partition}:ec2:${Region}:${Account}:security-group-rule/*"];

#[async_trait]
impl Action for RevokeSecurityGroupRules {
    const META: Meta = Meta {
        path: "ec2/revoke_security_group_rules",
        // A rule of this id never comes back: what is put back has another.
        effect: Effect::Delete,
        calls: &[
            DESCRIBE_SECURITY_GROUP_RULES,
            DESCRIBE_SECURITY_GROUPS,
            Call::write("ec2:RevokeSecurityGroupIngress", &[Grant::new("ec2:RevokeSecurityGroupIngress", GROUPS)])
                .when(When::Likely("a rule is inbound")),
            Call::write("ec2:RevokeSecurityGroupEgress", &[Grant::new("ec2:RevokeSecurityGroupEgress", GROUPS)])
                .when(When::Likely("a rule is outbound")),
            Call::write(
                "ec2:AuthorizeSecurityGroupIngress",
                &[
                    Grant::new("ec2:AuthorizeSecurityGroupIngress", GROUPS_AND_RULES),
                    Grant::new("ec2:CreateTags", RULES).condition("StringEquals", "ec2:CreateAction", "AuthorizeSecurityGroupIngress"),
                ],
            )
            .when(UNDONE),
            Call::write(
                "ec2:AuthorizeSecurityGroupEgress",
                &[
                    Grant::new("ec2:AuthorizeSecurityGroupEgress", GROUPS_AND_RULES),
                    Grant::new("ec2:CreateTags", RULES).condition("StringEquals", "ec2:CreateAction", "AuthorizeSecurityGroupEgress"),
                ],
            )
            .when(UNDONE),
        ],
        rules: &[],
        examples: &[Example {
            title: "Revoke a rule; one of an id that does not exist is no failure",
            input: r#"{"security_group_rule_ids": ["sgr-0123456789abcdef0", "sgr-00000000000000000"], "ignore_not_found": true}"#,
            output: "[]",
            given: &["group sg-0123456789abcdef0", "rule sgr-0123456789abcdef0 of sg-0123456789abcdef0"],
        }],
        notes: &[
            "Connections that EC2 tracks may go on until they end, as those that another rule admits do; those that it does not track are cut at once. New ones are \
             refused. EC2 takes a moment to carry a change to all instances.",
            "A rule is protected by its own tags and by those of its group.",
            "Rules of `default` groups can be revoked like any others.",
            "Where credentials see the groups of other accounts that share a VPC, EC2 refuses to revoke their rules.",
            "A rule that somebody changed keeps its id: a plan is applied to it only while its protocol, its ports and what it admits are as planned.",
        ],
    };

    const BINDS: &'static [&'static str] = &["its group", "its direction", "its protocol and ports", "what it admits"];
    const REVERSIBLE: Reversible = Reversible::Yes(
        "`aaws undo` puts the rules back, with their descriptions and their tags, and with new ids. A rule that somebody added again since stays as it is. With a group \
         that is gone its rules are gone for good, and those that named it.",
    );

    type Output = LeftItems;

    async fn run(self, cx: &Context) -> Result<LeftItems> {
        let ids = ids::checked("security_group_rule_ids", "sgr-", self.security_group_rule_ids).await?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<SecurityGroupRule>(cx, &ec2, ids.into()).await?;
        let groups: BTreeSet<&str> = lookup.iter().filter_map(|s| s.result.found()?.group_id()).collect();
        let groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
        let groups = lookup::cancellable(cx, lookup::by_id::<SecurityGroup>(&ec2, &groups, &[])).await?;
        let items: Vec<Result<Item>> = lookup.into_iter().map(|s| Ok(Item::of(&s, &groups, self.ignore_not_found))).collect();
        Ok(cx.change(stream::iter(items), Revoke { ec2 }).await?.left())
    }
}

aaws::register!(RevokeSecurityGroupRules, undo = RuleStep);

struct Item {
    id: String,
    /// What undoes it, and says which rule it is.
    step: Option<RuleStep>,
    /// The rule's own, and those of its group.
    tags: Vec<(String, String)>,
    precheck: Option<Outcome>,
}

impl Item {
    fn of(lookup: &Lookup<SecurityGroupRule>, groups: &HashMap<String, SecurityGroup>, ignore_not_found: bool) -> Self {
        let id = lookup.id.clone();
        let Some(rule) = lookup.result.found() else {
            return Item { id, step: None, tags: Vec::new(), precheck: lookup.result.unknown(ignore_not_found) };
        };
        let step = RuleStep::of(rule);
        let unshown =
            || Outcome::Failed(Failure::permanent(Code::Unchecked, "EC2 does not show all of it, so that it could not be put back"));
        let precheck = step.is_none().then(unshown);
        let mut tags = tags::pairs(rule.tags());
        tags.extend(rule.group_id().and_then(|group| groups.get(group)).map(|group| tags::pairs(group.tags())).unwrap_or_default());
        Item { id, step, tags, precheck }
    }
}

struct Revoke {
    ec2: Client,
}

#[async_trait]
impl Change for Revoke {
    type Item = Item;
    type Done = ();

    fn id(&self, item: &Item) -> String {
        item.id.clone()
    }

    fn name(&self, item: &Item) -> Option<String> {
        item.step.as_ref().map(|step| format!("{} ({})", item.id, step.rule))
    }

    fn summary(&self) -> String {
        "revoke".into()
    }

    fn plan(&self, item: &Item) -> Option<String> {
        item.step.as_ref().map(|step| format!("it would be revoked: {}", step.rule))
    }

    fn precheck(&self, item: &Item) -> Option<Outcome> {
        item.precheck.clone()
    }

    fn tags(&self, item: &Item) -> Option<Vec<(String, String)>> {
        Some(item.tags.clone())
    }

    fn state(&self, item: &Item) -> Option<Value> {
        let rule = &item.step.as_ref()?.rule;
        let way = match rule.way {
            Way::In => "in",
            Way::Out => "out",
        };
        Some(json!({
            "group": rule.group,
            "direction": way,
            "protocol": rule.protocol,
            "from_port": rule.from_port,
            "to_port": rule.to_port,
            "admits": rule.peer.to_string(),
        }))
    }

    fn batch(&self) -> usize {
        BATCH
    }

    async fn apply(&self, cx: &Context, items: &[Item]) -> Result<Vec<Outcome>> {
        let steps: Vec<(&str, &RuleStep)> = items.iter().filter_map(|item| Some((item.id.as_str(), item.step.as_ref()?))).collect();
        let notes = cx.note_all(&steps).await?;
        let mut noted: HashMap<&str, Noted> = steps.iter().map(|(id, _)| *id).zip(notes).collect();
        let mut groups: BTreeMap<(&str, Way), Vec<&str>> = BTreeMap::new();
        for (id, step) in steps {
            groups.entry((step.rule.group.as_str(), step.rule.way)).or_default().push(id);
        }
        let revoked = join_all(groups.into_iter().map(|((group, way), ids)| self.revoke(cx, group, way, ids))).await;
        let mut outcomes = HashMap::new();
        for Answer { id, outcome, may_be_revoked } in revoked.into_iter().flatten() {
            // Who revokes it later does not want it back.
            if !may_be_revoked {
                noted.remove(id).into_iter().for_each(|noted| cx.forget(noted));
            }
            outcomes.insert(id, outcome);
        }
        let unanswered = || Outcome::Failed(Failure::permanent(Code::NoAnswer, "it was not sent"));
        Ok(items.iter().map(|item| outcomes.remove(item.id.as_str()).unwrap_or_else(unanswered)).collect())
    }
}

/// What became of a rule.
struct Answer<'a> {
    id: &'a str,
    outcome: Outcome,
    /// Whether it was revoked, as far as anybody can know.
    may_be_revoked: bool,
}

impl Revoke {
    /// Revokes rules of one group and direction. EC2 refuses all of a request for one rule in it that is gone: the others are sent again without it, and
    /// where EC2 does not say which one it was, it is found by halves.
    async fn revoke<'a>(&self, cx: &Context, group: &str, way: Way, ids: Vec<&'a str>) -> Vec<Answer<'a>> {
        let mut answers = Vec::with_capacity(ids.len());
        let mut parts = vec![ids];
        while let Some(mut part) = parts.pop() {
            let Err(error) = self.send(group, way, &part).await else {
                answers.extend(part.into_iter().map(|id| Answer { id, outcome: Outcome::done(()), may_be_revoked: true }));
                continue;
            };
            if part.len() == 1 || !matches!(error.code(), Some(NO_RULE_ID | NO_RULE)) {
                answers.extend(part.into_iter().map(|id| refused(id, &error)));
                continue;
            }
            let (named, rest): (Vec<&str>, Vec<&str>) = part.iter().copied().partition(|id| is_named(&error, id));
            let again = if let [gone] = named[..] {
                answers.push(refused(gone, &error));
                vec![rest]
            } else {
                let half = part.split_off(part.len() / 2);
                vec![part, half]
            };
            if cx.cancellation().is_cancelled() {
                // One of them is gone, and it is not found out any more which: that says nothing of the others.
                let stopped = || Outcome::skipped_as(Code::NotStarted, "the run was stopped before it was sent again without what is gone");
                answers.extend(again.into_iter().flatten().map(|id| Answer { id, outcome: stopped(), may_be_revoked: true }));
            } else {
                parts.extend(again);
            }
        }
        answers
    }

    async fn send(&self, group: &str, way: Way, ids: &[&str]) -> Result<()> {
        let attempted = || match ids {
            [one] => format!("revoke the rule `{one}` of `{group}`"),
            many => format!("revoke {} rules of `{group}`", many.len()),
        };
        let ids = Some(ids.iter().map(|id| (*id).to_owned()).collect());
        match way {
            Way::In => {
                let request = self.ec2.revoke_security_group_ingress().group_id(group).set_security_group_rule_ids(ids);
                request.send().await.context(attempted).map(drop)
            }
            Way::Out => {
                let request = self.ec2.revoke_security_group_egress().group_id(group).set_security_group_rule_ids(ids);
                request.send().await.context(attempted).map(drop)
            }
        }
    }
}

/// What becomes of a rule for which a request was refused. It was there a moment ago: when it is gone, most likely EC2 revoked it, its answer was lost, and
/// the SDK asked again.
fn refused<'a>(id: &'a str, error: &Error) -> Answer<'a> {
    match error.code() {
        Some(NO_RULE_ID | NO_RULE | NO_GROUP) => {
            Answer { id, outcome: Outcome::Unchanged("it does not exist any more".into()), may_be_revoked: true }
        }
        _ => Answer { id, outcome: Outcome::Failed(Failure::from(error)), may_be_revoked: error.is_ambiguous() },
    }
}
