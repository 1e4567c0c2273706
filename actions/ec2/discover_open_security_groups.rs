use std::collections::{BTreeSet, HashMap};
use std::mem;

use aaws::{Action, Call, Check, Context, Effect, Example, Grant, Items, Listing, Meta, Out, Result, Row, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{SecurityGroup, SecurityGroupRule};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::group_rules::DESCRIBE_SECURITY_GROUP_RULES;
use super::lookup::{self, DESCRIBE_SECURITY_GROUPS, Resource};
use super::{group_uses, ids};

mod open;

pub use open::{PortRange, Protocol};

/// Find the rules of security groups that admit everyone.
///
/// A rule admits everyone when it is inbound and from `0.0.0.0/0` or `::/0`, or from a range that is wider than any private network: an IPv4 range with
/// a prefix shorter than `/8`, an IPv6 range with a prefix shorter than `/8` other than `fc00::/7`. So two rules from `0.0.0.0/1` and `128.0.0.0/1`,
/// which together are all of IPv4, are found like one from `0.0.0.0/0`.
///
/// All filters have to match. The ids of the rules are printed as EC2 lists them; `revoke_security_group_rules` takes them as they are. Groups that do not
/// exist are reported as failed, and the rest is answered all the same.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverOpenSecurityGroups {
    /// Only rules of these groups. An empty list is no rule.
    pub security_group_ids: Option<Items<String>>,
    /// Only rules that admit to one of these TCP or UDP ports: `22`, or `8000-8100` for any port of a range. Rules for all traffic do. An empty list is no
    /// rule.
    pub ports: Option<Vec<PortRange>>,
    /// Only rules for one of these protocols. Rules for all traffic are for each of them; `all` is such rules alone. An empty list is no rule.
    pub protocols: Option<Vec<Protocol>>,
    /// Print of each rule its group, protocol, ports, source and description, and on how many network interfaces the group is, rather than its id alone.
    #[serde(default)]
    pub details: bool,
}

/// A rule that admits everyone.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OpenRule {
    /// Id of the rule.
    security_group_rule_id: String,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, or the number of another protocol; `-1` is all traffic.
    ip_protocol: Option<String>,
    /// The first port, or the type of ICMP messages; -1 is all.
    from_port: Option<i32>,
    /// The last port, or the code of ICMP messages; -1 is all.
    to_port: Option<i32>,
    /// The IPv4 addresses that are admitted.
    cidr_ipv4: Option<String>,
    /// The IPv6 addresses that are admitted.
    cidr_ipv6: Option<String>,
    /// On how many network interfaces its group is; with 0 nothing is open by it yet.
    network_interfaces: u64,
    /// Name of its group.
    group_name: Option<String>,
    /// Id of its group.
    group_id: Option<String>,
    /// What the rule is for, as somebody described it.
    description: Option<String>,
    /// The VPC that the group is in.
    vpc_id: Option<String>,
}

const WITH_DETAILS: When = When::With(&["details"]);

#[async_trait]
impl Action for DiscoverOpenSecurityGroups {
    const META: Meta = Meta {
        path: "ec2/discover_open_security_groups",
        effect: Effect::Read,
        calls: &[
            DESCRIBE_SECURITY_GROUP_RULES,
            DESCRIBE_SECURITY_GROUPS.when(When::With(&["security_group_ids", "details"])),
            Call::read("ec2:DescribeNetworkInterfaces", &[Grant::new("ec2:DescribeNetworkInterfaces", &["*"])]).when(WITH_DETAILS),
        ],
        rules: &[],
        examples: &[
            Example {
                title: "Find the rules that admit everyone to SSH or to remote desktops",
                input: r#"{"ports": ["22", "3389"]}"#,
                output: r#"["sgr-0123456789abcdef0"]"#,
                given: &["group sg-0123456789abcdef0", "rule sgr-0123456789abcdef0 of sg-0123456789abcdef0"],
            },
            Example {
                title: "Tell of the rules of a group that admit everyone",
                input: r#"{"security_group_ids": ["sg-0123456789abcdef0"], "protocols": ["tcp"], "details": true}"#,
                output: r#"[{"SecurityGroupRuleId": "sgr-0123456789abcdef0", "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIpv4": "0.0.0.0/0", "CidrIpv6": null, "NetworkInterfaces": 0, "GroupName": "web-1", "GroupId": "sg-0123456789abcdef0", "Description": null, "VpcId": "vpc-0123456789abcdef0"}]"#,
                given: &["group sg-0123456789abcdef0", "rule sgr-0123456789abcdef0 of sg-0123456789abcdef0"],
            },
        ],
        notes: &[
            "A rule that admits a prefix list is not looked into, even if the list holds `0.0.0.0/0`, and neither are rules that admit groups.",
            "What a rule admits may still be closed: by a network ACL, by a subnet without a route to an internet gateway, or because nothing listens.",
            "With `ports`, rules for ICMP and for protocols other than TCP and UDP are left out, which have no ports that could be chosen.",
            "EC2 has no filter for what a rule admits: all rules are listed, 1,000 a page.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["SecurityGroupRuleId"];
    const OVERVIEW: &'static [Check] = &[Check {
        title: "Rules of security groups that admit everyone",
        input: r#"{"details": true}"#,
        since: None,
        // What serves the web admits everyone on purpose, and so may a rule for all traffic or for a range of ports: somebody has to choose.
        mend: None,
    }];

    type Output = Listing<Row<OpenRule>>;

    async fn run(self, cx: &Context) -> Result<Listing<Row<OpenRule>>> {
        let DiscoverOpenSecurityGroups { security_group_ids, ports, protocols, details } = self;
        let ids = match security_group_ids {
            Some(ids) => Some(ids::checked("security_group_ids", "sg-", ids).await?),
            None => None,
        };
        let find = Find { ports, protocols, details };
        Ok(Listing::produce(cx, |cx, out| async move { find.list(&cx, ids, out).await }))
    }
}

aaws::register!(DiscoverOpenSecurityGroups);

/// Which rules are looked for, and how they are printed.
struct Find {
    ports: Option<Vec<PortRange>>,
    protocols: Option<Vec<Protocol>>,
    details: bool,
}

/// What is told of a group.
struct Group {
    name: Option<String>,
    vpc: Option<String>,
    interfaces: u64,
}

impl Find {
    async fn list(self, cx: &Context, groups: Option<Vec<String>>, mut out: Out<Row<OpenRule>>) -> Result<()> {
        // A filter without a value must not be sent, and nothing is at no port and of no protocol.
        let none_of = [
            groups.as_ref().is_some_and(Vec::is_empty),
            self.ports.as_ref().is_some_and(Vec::is_empty),
            self.protocols.as_ref().is_some_and(Vec::is_empty),
        ];
        if none_of.contains(&true) {
            return Ok(());
        }
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let there: Vec<String>;
        let mut rules: BoxStream<'_, Result<SecurityGroupRule>> = match groups {
            None => SecurityGroupRule::list(&ec2, Vec::new()),
            Some(ids) => {
                let groups = lookup::given::<SecurityGroup>(cx, &ec2, ids.into()).await?;
                there = groups.iter().map(|group| group.id().to_owned()).collect();
                lookup::with_values::<SecurityGroupRule>(&ec2, "group-id", &there, &[]).boxed()
            }
        };
        // With details, the groups of many rules are looked up at once.
        let many = if self.details { lookup::MOST_VALUES } else { 1 };
        let (mut found, mut groups) = (Vec::new(), HashMap::new());
        while let Some(rule) = rules.try_next().await? {
            if self.matches(&rule) {
                found.push(rule);
            }
            if found.len() == many {
                self.send(&ec2, mem::take(&mut found), &mut groups, &mut out).await?;
            }
        }
        self.send(&ec2, found, &mut groups, &mut out).await
    }

    fn matches(&self, rule: &SecurityGroupRule) -> bool {
        open::admits_everyone(rule)
            && self.ports.as_ref().is_none_or(|ports| ports.iter().any(|range| range.is_admitted_by(rule)))
            && self.protocols.as_ref().is_none_or(|protocols| protocols.iter().any(|protocol| protocol.is_admitted_by(rule)))
    }

    async fn send(
        &self,
        ec2: &Client,
        rules: Vec<SecurityGroupRule>,
        groups: &mut HashMap<String, Group>,
        out: &mut Out<Row<OpenRule>>,
    ) -> Result<()> {
        if self.details {
            look_up(ec2, &rules, groups).await?;
        }
        for rule in rules {
            let id = rule.id().to_owned();
            out.send(Row::of(self.details, id, || told(rule, groups))).await?;
        }
        Ok(())
    }
}

/// Looks up the groups of the rules that are not known yet.
async fn look_up(ec2: &Client, rules: &[SecurityGroupRule], known: &mut HashMap<String, Group>) -> Result<()> {
    let new: BTreeSet<&str> = rules.iter().filter_map(|rule| rule.group_id()).filter(|id| !known.contains_key(*id)).collect();
    let ids: Vec<String> = new.into_iter().map(str::to_owned).collect();
    let (mut groups, on) = futures::try_join!(lookup::by_id::<SecurityGroup>(ec2, &ids, &[]), group_uses::interfaces(ec2, &ids))?;
    for id in ids {
        let interfaces = on.get(&id).map_or(0, |on| on.own.len() + on.of_services.len()) as u64;
        let (name, vpc) = groups.remove(&id).map_or((None, None), |group| (group.group_name, group.vpc_id));
        known.insert(id, Group { name, vpc, interfaces });
    }
    Ok(())
}

fn told(rule: SecurityGroupRule, groups: &HashMap<String, Group>) -> OpenRule {
    let group = rule.group_id().and_then(|id| groups.get(id));
    OpenRule {
        group_name: group.and_then(|group| group.name.clone()),
        vpc_id: group.and_then(|group| group.vpc.clone()),
        network_interfaces: group.map_or(0, |group| group.interfaces),
        security_group_rule_id: rule.id().to_owned(),
        group_id: rule.group_id,
        ip_protocol: rule.ip_protocol,
        from_port: rule.from_port,
        to_port: rule.to_port,
        cidr_ipv4: rule.cidr_ipv4,
        cidr_ipv6: rule.cidr_ipv6,
        description: rule.description,
    }
}
