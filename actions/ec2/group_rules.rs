//! Rules of security groups: looked at, taken away, and put back with their tags.

use std::fmt;

use aaws::{Call, Code, Context, Error, ErrorContext, Grant, Outcome, Result, Step, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, IpPermission, ResourceType, SecurityGroup, SecurityGroupRule, UserIdGroupPair};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::listing::listing;
use super::lookup::{self, Resource};
use super::tags;

/// The codes by which EC2 says that a rule is not there, that it is there, and that a group is not there.
pub const NO_RULE: &str = "InvalidPermission.NotFound";
pub const RULE_THERE: &str = "InvalidPermission.Duplicate";
pub const NO_GROUP: &str = "InvalidGroup.NotFound";

/// Rules of one page (EC2 API reference, DescribeSecurityGroupRules, `MaxResults`).
const PAGE: i32 = 1000;

/// What DescribeSecurityGroupRules shows where a rule is for all ports.
pub const ALL_PORTS: i32 = -1;

pub const DESCRIBE_SECURITY_GROUP_RULES: Call =
    Call::read("ec2:DescribeSecurityGroupRules", &[Grant::new("ec2:DescribeSecurityGroupRules", &["*"])]);

impl Resource for SecurityGroupRule {
    const FILTER: &'static str = "security-group-rule-id";
    const NAME: &'static str = "security group rules";

    fn id(&self) -> &str {
        self.security_group_rule_id().unwrap_or_default()
    }

    fn list(ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Self>> {
        let request = ec2.describe_security_group_rules().set_filters((!filters.is_empty()).then_some(filters)).max_results(PAGE);
        listing!(request, "security group rules", set_next_token, next_token, security_group_rules)
    }
}

/// Which rules of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    In,
    Out,
}

/// A rule of one group, cut down to the one group that it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    protocol: Option<String>,
    from_port: Option<i32>,
    to_port: Option<i32>,
    /// Id of the group that it names.
    names: String,
    /// The account of that group.
    user_id: Option<String>,
    vpc_id: Option<String>,
    peering_id: Option<String>,
    description: Option<String>,
}

/// A rule that was taken away, or may have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Id of the group whose rule it is.
    pub group: String,
    pub way: Way,
    pub rule: Rule,
    /// Its tags, by key.
    pub tags: Vec<(String, String)>,
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "take away the rules of {} that name {}", self.group, self.rule.names)
    }
}

#[async_trait]
impl Step for Revoked {
    /// It goes alone: EC2 refuses all of a request when one of its rules is there. EC2 gives it a new id; its tags are in the same request.
    async fn undo(&self, cx: &Context) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let error = match self.authorize(&ec2, true).await {
            Ok(()) => return Ok(()),
            Err(e) => e,
        };
        // It was not taken away after all; or one of the two groups is gone, and with it every rule that names it.
        if matches!(error.code(), Some(RULE_THERE | NO_GROUP)) || self.is_there(&ec2).await {
            return Ok(());
        }
        if self.tags.is_empty() || error.is_fatal() {
            return Err(error);
        }
        // Better without its tags than not at all.
        self.authorize(&ec2, false).await?;
        Err(Error::Failed(format!("it is there again, but without its tags: {error}")))
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let groups = [self.group.clone(), self.rule.names.clone()];
        let there = lookup::by_id::<SecurityGroup>(&ec2, &groups, &[]).await?;
        if let Some(gone) = groups.iter().find(|id| !there.contains_key(*id)) {
            let why = format!("the security group {gone} is gone, and with it each rule that it had or that named it");
            return Ok(Some(Outcome::skipped_as(Code::Irreversible, why)));
        }
        let shown = shown(&ec2, std::slice::from_ref(&self.group)).await?;
        Ok(self.is_among(&shown).then(|| Outcome::Unchanged("its rules are there".into())))
    }
}

impl Revoked {
    /// Takes the rule away.
    pub async fn revoke(&self, ec2: &Client) -> Result<()> {
        let attempted = format!("take away the rules of `{}` that name `{}`", self.group, self.rule.names);
        revoke(ec2, &self.group, self.way, self.rule.permission(), attempted).await
    }

    /// Whether EC2 shows the rule; it may not be looked at, say, when it does not.
    async fn is_there(&self, ec2: &Client) -> bool {
        self.is_among(&shown(ec2, std::slice::from_ref(&self.group)).await.unwrap_or_default())
    }

    fn is_among(&self, shown: &[SecurityGroupRule]) -> bool {
        shown.iter().any(|shown| shown.group_id() == Some(self.group.as_str()) && self.rule.is(self.way, shown))
    }

    async fn authorize(&self, ec2: &Client, tagged: bool) -> Result<()> {
        let attempted = format!("put back the rules of `{}` that name `{}`", self.group, self.rule.names);
        let tags: &[(String, String)] = if tagged { &self.tags } else { &[] };
        authorize(ec2, &self.group, self.way, self.rule.permission(), tags, attempted).await
    }
}

/// Takes a rule away, to the letter. `attempted` goes on after "cannot".
pub async fn revoke(ec2: &Client, group: &str, way: Way, rule: IpPermission, attempted: String) -> Result<()> {
    match way {
        Way::In => {
            let request = ec2.revoke_security_group_ingress().group_id(group).ip_permissions(rule);
            request.send().await.context(|| attempted).map(drop)
        }
        Way::Out => {
            let request = ec2.revoke_security_group_egress().group_id(group).ip_permissions(rule);
            request.send().await.context(|| attempted).map(drop)
        }
    }
}

/// Adds a rule to a group, with tags of its own.
pub async fn authorize(
    ec2: &Client,
    group: &str,
    way: Way,
    rule: IpPermission,
    tags: &[(String, String)],
    attempted: String,
) -> Result<()> {
    let own = tags.iter().map(|(key, value)| tags::tag(key, value)).collect();
    let tags = tags::for_new(ResourceType::SecurityGroupRule, own);
    match way {
        Way::In => {
            let request = ec2.authorize_security_group_ingress().group_id(group).ip_permissions(rule);
            request.set_tag_specifications(tags).send().await.context(|| attempted).map(drop)
        }
        Way::Out => {
            let request = ec2.authorize_security_group_egress().group_id(group).ip_permissions(rule);
            request.set_tag_specifications(tags).send().await.context(|| attempted).map(drop)
        }
    }
}

impl Rule {
    /// Each rule in one that EC2 lists that names this group, by itself.
    fn all_of<'a>(permission: &'a IpPermission, named: &'a str) -> impl Iterator<Item = Rule> + 'a {
        let pairs = permission.user_id_group_pairs().iter().filter(move |pair| pair.group_id() == Some(named));
        pairs.map(move |pair| Rule {
            protocol: permission.ip_protocol().map(str::to_owned),
            from_port: permission.from_port(),
            to_port: permission.to_port(),
            names: named.to_owned(),
            user_id: pair.user_id().map(str::to_owned),
            vpc_id: pair.vpc_id().map(str::to_owned),
            peering_id: pair.vpc_peering_connection_id().map(str::to_owned),
            description: pair.description().map(str::to_owned),
        })
    }

    /// As EC2 takes it.
    fn permission(&self) -> IpPermission {
        let pair = UserIdGroupPair::builder().group_id(&self.names).set_user_id(self.user_id.clone()).set_vpc_id(self.vpc_id.clone());
        let pair = pair.set_vpc_peering_connection_id(self.peering_id.clone()).set_description(self.description.clone()).build();
        let rule = IpPermission::builder().set_ip_protocol(self.protocol.clone()).set_from_port(self.from_port);
        rule.set_to_port(self.to_port).user_id_group_pairs(pair).build()
    }

    /// Whether EC2 shows this rule here.
    fn is(&self, way: Way, shown: &SecurityGroupRule) -> bool {
        let port = |port: Option<i32>| port.unwrap_or(ALL_PORTS);
        let named = shown.referenced_group_info();
        shown.is_egress() == Some(way == Way::Out)
            && shown.ip_protocol() == self.protocol.as_deref()
            && (port(shown.from_port()), port(shown.to_port())) == (port(self.from_port), port(self.to_port))
            && named.and_then(|n| n.group_id()) == Some(self.names.as_str())
            && named.and_then(|n| n.vpc_peering_connection_id()) == self.peering_id.as_deref()
    }
}

/// The rules of a group that name another, with the tags that EC2 shows of them.
pub fn naming(group: &SecurityGroup, named: &str, shown: &[SecurityGroupRule]) -> Vec<Revoked> {
    let of = |way: Way, rules: &[IpPermission]| {
        rules.iter().flat_map(|permission| Rule::all_of(permission, named)).map(|rule| (way, rule)).collect::<Vec<_>>()
    };
    let rules = of(Way::In, group.ip_permissions()).into_iter().chain(of(Way::Out, group.ip_permissions_egress()));
    rules
        .map(|(way, rule)| {
            let same = shown.iter().find(|shown| shown.group_id() == Some(group.id()) && rule.is(way, shown));
            let tags = same.map(|shown| tags::pairs(&tags::own(shown.tags()))).unwrap_or_default();
            Revoked { group: group.id().to_owned(), way, rule, tags }
        })
        .collect()
}

/// The rules of some groups, each with its tags.
pub async fn shown(ec2: &Client, groups: &[String]) -> Result<Vec<SecurityGroupRule>> {
    lookup::with_values::<SecurityGroupRule>(ec2, "group-id", groups, &[]).try_collect().await
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{ReferencedSecurityGroup, Tag};

    use super::*;

    fn group() -> SecurityGroup {
        let pair = |id: &str| UserIdGroupPair::builder().group_id(id).user_id("123456789012").build();
        let all = IpPermission::builder().ip_protocol("-1").user_id_group_pairs(pair("sg-b")).user_id_group_pairs(pair("sg-c")).build();
        let https = IpPermission::builder().ip_protocol("tcp").from_port(443).to_port(443).user_id_group_pairs(pair("sg-b")).build();
        SecurityGroup::builder().group_id("sg-a").ip_permissions(all).ip_permissions_egress(https).build()
    }

    fn shown(egress: bool, protocol: &str, port: i32, names: &str, tag: &str) -> SecurityGroupRule {
        let named = ReferencedSecurityGroup::builder().group_id(names).build();
        let rule = SecurityGroupRule::builder().group_id("sg-a").is_egress(egress).ip_protocol(protocol).from_port(port).to_port(port);
        rule.referenced_group_info(named).tags(Tag::builder().key("Name").value(tag).build()).build()
    }

    #[test]
    fn each_rule_that_names_the_group_is_taken_by_itself_with_its_own_tags() {
        let all =
            [shown(false, "-1", -1, "sg-b", "all"), shown(false, "-1", -1, "sg-c", "other"), shown(true, "tcp", 443, "sg-b", "https")];
        let revoked = naming(&group(), "sg-b", &all);
        let told: Vec<_> = revoked.iter().map(|r| (r.way, r.rule.from_port, r.tags[0].1.as_str())).collect();
        assert_eq!(told, [(Way::In, None, "all"), (Way::Out, Some(443), "https")]);
        assert!(revoked.iter().all(|r| r.rule.permission().user_id_group_pairs().len() == 1));
        assert!(naming(&group(), "sg-b", &[])[0].tags.is_empty());
    }

    #[test]
    fn a_rule_that_was_taken_away_is_data_that_another_process_can_read() {
        let revoked = naming(&group(), "sg-b", &[shown(false, "-1", -1, "sg-b", "all")]);
        let written = serde_json::to_string(&revoked).expect("it is JSON");
        assert_eq!(serde_json::from_str::<Vec<Revoked>>(&written).expect("it is read back"), revoked);
    }
}
