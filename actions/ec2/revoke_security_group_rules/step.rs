//! A rule that was revoked: all that it takes to put it back.

use std::fmt;

use aaws::{Code, Context, Error, Outcome, Result, Step, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, PrefixListId, SecurityGroup, SecurityGroupRule, UserIdGroupPair};
use serde::{Deserialize, Serialize};

use super::super::group_rules::{self, ALL_PORTS, NO_GROUP, NO_RULE, RULE_THERE, Way};
use super::super::{lookup, tags};

/// The protocols of which EC2 takes ports, or types of messages; rules for others have none.
const WITH_PORTS: [&str; 8] = ["tcp", "udp", "icmp", "icmpv6", "6", "17", "1", "58"];

/// What EC2 calls all protocols.
const ALL: &str = "-1";

/// A rule was revoked, or was put back by undoing that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RuleStep {
    pub rule: Rule,
    /// Its tags, by key.
    tags: Vec<(String, String)>,
    /// It was put back, rather than revoked.
    #[serde(default)]
    back: bool,
}

/// A rule without its id: one that is put back has another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rule {
    /// Id of the group whose rule it is.
    pub group: String,
    pub way: Way,
    pub protocol: String,
    pub from_port: Option<i32>,
    pub to_port: Option<i32>,
    pub peer: Peer,
    description: Option<String>,
}

/// Whom an inbound rule admits, or what an outbound one admits to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Peer {
    Ipv4(String),
    Ipv6(String),
    PrefixList(String),
    Group { id: String, user_id: Option<String>, vpc_id: Option<String>, peering_id: Option<String> },
}

impl Peer {
    /// Nothing where EC2 shows none of them.
    fn of(rule: &SecurityGroupRule) -> Option<Self> {
        if let Some(range) = rule.cidr_ipv4() {
            return Some(Peer::Ipv4(range.to_owned()));
        }
        if let Some(range) = rule.cidr_ipv6() {
            return Some(Peer::Ipv6(range.to_owned()));
        }
        if let Some(list) = rule.prefix_list_id() {
            return Some(Peer::PrefixList(list.to_owned()));
        }
        let group = rule.referenced_group_info()?;
        Some(Peer::Group {
            id: group.group_id()?.to_owned(),
            user_id: group.user_id().map(str::to_owned),
            vpc_id: group.vpc_id().map(str::to_owned),
            peering_id: group.vpc_peering_connection_id().map(str::to_owned),
        })
    }

    /// What tells it from others.
    fn identity(&self) -> (&str, Option<&str>) {
        match self {
            Peer::Ipv4(name) | Peer::Ipv6(name) | Peer::PrefixList(name) => (name.as_str(), None),
            Peer::Group { id, peering_id, .. } => (id.as_str(), peering_id.as_deref()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.identity().0)
    }
}

impl Rule {
    /// Nothing where EC2 does not show all of it, so that it could not be put back.
    pub fn of(rule: &SecurityGroupRule) -> Option<Self> {
        Some(Rule {
            group: rule.group_id()?.to_owned(),
            way: if rule.is_egress()? { Way::Out } else { Way::In },
            protocol: rule.ip_protocol()?.to_owned(),
            from_port: rule.from_port(),
            to_port: rule.to_port(),
            peer: Peer::of(rule)?,
            description: rule.description().map(str::to_owned),
        })
    }

    /// As EC2 takes it.
    fn permission(&self) -> IpPermission {
        let has_ports = WITH_PORTS.contains(&self.protocol.as_str());
        let (from, to) = if has_ports { (self.from_port, self.to_port) } else { (None, None) };
        let rule = IpPermission::builder().ip_protocol(&self.protocol).set_from_port(from).set_to_port(to);
        let description = self.description.clone();
        let rule = match &self.peer {
            Peer::Ipv4(range) => rule.ip_ranges(IpRange::builder().cidr_ip(range).set_description(description).build()),
            Peer::Ipv6(range) => rule.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(range).set_description(description).build()),
            Peer::PrefixList(list) => {
                rule.prefix_list_ids(PrefixListId::builder().prefix_list_id(list).set_description(description).build())
            }
            Peer::Group { id, user_id, vpc_id, peering_id } => {
                let pair = UserIdGroupPair::builder().group_id(id).set_user_id(user_id.clone()).set_vpc_id(vpc_id.clone());
                rule.user_id_group_pairs(pair.set_vpc_peering_connection_id(peering_id.clone()).set_description(description).build())
            }
        };
        rule.build()
    }

    /// The protocol and its ports, in words.
    fn traffic(&self) -> String {
        let ports = match (self.from_port, self.to_port) {
            _ if self.protocol == ALL => return "all traffic".to_owned(),
            // Of ICMP messages, one of a type and of any code.
            (Some(from), Some(to)) if from != ALL_PORTS && (to == from || to == ALL_PORTS) => format!(" {from}"),
            (Some(from), Some(to)) if from != ALL_PORTS => format!(" {from}-{to}"),
            _ => String::new(),
        };
        format!("{}{ports}", self.protocol)
    }

    /// Whether it is the same rule to EC2, which has it once in a group: whatever its id and its description are.
    fn is(&self, other: &Rule) -> bool {
        let ports = |rule: &Rule| (rule.from_port.unwrap_or(ALL_PORTS), rule.to_port.unwrap_or(ALL_PORTS));
        (&self.group, self.way, &self.protocol) == (&other.group, other.way, &other.protocol)
            && ports(self) == ports(other)
            && self.peer.identity() == other.peer.identity()
    }

    /// Whether EC2 shows it.
    async fn is_there(&self, ec2: &Client) -> Result<bool> {
        let shown = group_rules::shown(ec2, std::slice::from_ref(&self.group)).await?;
        Ok(shown.iter().filter_map(Rule::of).any(|rule| self.is(&rule)))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            Way::In => write!(f, "{} from {} into {}", self.traffic(), self.peer, self.group),
            Way::Out => write!(f, "{} to {} out of {}", self.traffic(), self.peer, self.group),
        }
    }
}

impl RuleStep {
    /// Of a rule that is about to be revoked. AWS's own tags cannot be given again.
    pub fn of(rule: &SecurityGroupRule) -> Option<Self> {
        Some(RuleStep { rule: Rule::of(rule)?, tags: tags::pairs(&tags::own(rule.tags())), back: false })
    }

    async fn revoke_again(&self, ec2: &Client) -> Result<()> {
        let Rule { group, way, .. } = &self.rule;
        match group_rules::revoke(ec2, group, *way, self.rule.permission(), format!("revoke {}", self.rule)).await {
            Err(e) if matches!(e.code(), Some(NO_RULE | NO_GROUP)) => Ok(()),
            revoked => revoked,
        }
    }

    async fn put_back(&self, ec2: &Client) -> Result<()> {
        let error = match self.authorize(ec2, &self.tags).await {
            Ok(()) => return Ok(()),
            Err(e) => e,
        };
        // It was not revoked after all, or an answer was lost, or somebody was faster.
        if error.code() == Some(RULE_THERE) || self.rule.is_there(ec2).await.unwrap_or(false) {
            return Ok(());
        }
        if self.tags.is_empty() || error.is_fatal() {
            return Err(error);
        }
        // Better without its tags than not at all.
        self.authorize(ec2, &[]).await?;
        Err(Error::Failed(format!("it is there again, but without its tags: {error}")))
    }

    async fn authorize(&self, ec2: &Client, tags: &[(String, String)]) -> Result<()> {
        let Rule { group, way, .. } = &self.rule;
        group_rules::authorize(ec2, group, *way, self.rule.permission(), tags, format!("put back {}", self.rule)).await
    }
}

impl fmt::Display for RuleStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.back { "put back" } else { "revoke" }, self.rule)
    }
}

#[async_trait]
impl Step for RuleStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        if self.back { self.revoke_again(&ec2).await } else { self.put_back(&ec2).await }
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let gone = |id: &str| {
            let why = format!("the security group {id} is gone, and with it each rule that it had or that named it");
            Ok(Some(if self.back { Outcome::Unchanged(why) } else { Outcome::skipped_as(Code::Irreversible, why) }))
        };
        let Some(group) = lookup::one::<SecurityGroup>(&ec2, &self.rule.group).await? else { return gone(&self.rule.group) };
        // Groups of other accounts, and beyond a peering, are not shown.
        if let Peer::Group { id, user_id, peering_id: None, .. } = &self.rule.peer
            && user_id.as_deref().is_none_or(|user| group.owner_id() == Some(user))
            && lookup::one::<SecurityGroup>(&ec2, id).await?.is_none()
        {
            return gone(id);
        }
        if self.rule.is_there(&ec2).await? != self.back {
            let so = if self.back { "the rule is not there" } else { "the rule is there" };
            return Ok(Some(Outcome::Unchanged(so.into())));
        }
        Ok(tags::protection(cx, group.tags()))
    }

    /// Undoing what put a rule back closes again what it opens.
    fn undoing_disrupts(&self) -> bool {
        self.back
    }

    fn inverse(&self) -> Option<Self> {
        Some(RuleStep { back: !self.back, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{ReferencedSecurityGroup, Tag};

    use super::*;

    fn shown(protocol: &str, ports: (i32, i32)) -> aws_sdk_ec2::types::builders::SecurityGroupRuleBuilder {
        let rule = SecurityGroupRule::builder().security_group_rule_id("sgr-1").group_id("sg-a").is_egress(false);
        rule.ip_protocol(protocol).from_port(ports.0).to_port(ports.1).description("for the office")
    }

    fn rule(shown: aws_sdk_ec2::types::builders::SecurityGroupRuleBuilder) -> Rule {
        Rule::of(&shown.build()).expect("all of it is shown")
    }

    #[test]
    fn a_rule_is_put_back_as_it_was_shown() {
        let ipv4 = rule(shown("tcp", (22, 30)).cidr_ipv4("0.0.0.0/0")).permission();
        assert_eq!((ipv4.from_port(), ipv4.to_port(), ipv4.ip_ranges()[0].cidr_ip()), (Some(22), Some(30), Some("0.0.0.0/0")));
        assert_eq!(ipv4.ip_ranges()[0].description(), Some("for the office"));
        // EC2 shows -1 where there are no ports, and does not take it.
        let ipv6 = rule(shown("-1", (-1, -1)).cidr_ipv6("::/0")).permission();
        assert_eq!((ipv6.from_port(), ipv6.to_port(), ipv6.ipv6_ranges()[0].cidr_ipv6()), (None, None, Some("::/0")));
        let ping = rule(shown("icmp", (8, -1)).prefix_list_id("pl-1")).permission();
        assert_eq!((ping.from_port(), ping.to_port(), ping.prefix_list_ids()[0].prefix_list_id()), (Some(8), Some(-1), Some("pl-1")));
        let named = ReferencedSecurityGroup::builder().group_id("sg-b").vpc_peering_connection_id("pcx-1").build();
        let peered = rule(shown("tcp", (443, 443)).referenced_group_info(named)).permission();
        assert_eq!(peered.user_id_group_pairs()[0].vpc_peering_connection_id(), Some("pcx-1"));
        assert_eq!(Rule::of(&shown("tcp", (22, 22)).build()), None, "what it admits is not shown");
    }

    #[test]
    fn a_rule_is_the_same_whatever_it_is_described_as() {
        let one = rule(shown("tcp", (22, 22)).cidr_ipv4("0.0.0.0/0"));
        assert!(one.is(&rule(shown("tcp", (22, 22)).cidr_ipv4("0.0.0.0/0").description("another"))));
        assert!(!one.is(&rule(shown("tcp", (22, 23)).cidr_ipv4("0.0.0.0/0"))));
        assert!(!one.is(&rule(shown("tcp", (22, 22)).cidr_ipv4("0.0.0.0/1"))));
        assert!(!one.is(&rule(shown("tcp", (22, 22)).cidr_ipv4("0.0.0.0/0").is_egress(true))));
    }

    #[test]
    fn a_rule_is_told_in_words() {
        assert_eq!(rule(shown("tcp", (22, 22)).cidr_ipv4("0.0.0.0/0")).to_string(), "tcp 22 from 0.0.0.0/0 into sg-a");
        assert_eq!(rule(shown("udp", (0, 99)).cidr_ipv4("0.0.0.0/0").is_egress(true)).to_string(), "udp 0-99 to 0.0.0.0/0 out of sg-a");
        assert_eq!(rule(shown("icmp", (8, -1)).cidr_ipv4("0.0.0.0/0")).to_string(), "icmp 8 from 0.0.0.0/0 into sg-a");
        assert_eq!(rule(shown("-1", (-1, -1)).cidr_ipv6("::/0")).to_string(), "all traffic from ::/0 into sg-a");
    }

    #[test]
    fn a_rule_that_was_revoked_is_data_that_another_process_can_read() {
        let tagged = shown("tcp", (22, 22)).cidr_ipv4("0.0.0.0/0").tags(Tag::builder().key("Owner").value("me").build());
        let step = RuleStep::of(&tagged.build()).expect("all of it is shown");
        let written = serde_json::to_string(&step).expect("it is JSON");
        assert_eq!(serde_json::from_str::<RuleStep>(&written).expect("it is read back"), step);
        assert_eq!(step.inverse().and_then(|back| back.inverse()), Some(step));
    }
}
