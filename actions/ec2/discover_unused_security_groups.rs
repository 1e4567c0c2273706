use std::collections::{BTreeSet, HashSet};

use aaws::{Action, Call, Check, Context, Effect, Error, ErrorContext, Example, Grant, Meta, Result, Row, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::SecurityGroup;
use futures::TryStreamExt;
use futures::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::group_users::{CALLS, Named, SCANNERS, is_not_offered};
use super::group_uses::named_by;
use super::lookup::{self, Resource};

/// Find security groups that nothing uses.
///
/// A group is used when it is on a network interface, when a rule of another group names it, in this VPC or beyond a peering, when a launch
/// template or a launch configuration does, or a resource of RDS, Neptune, Elastic Load Balancing, Lambda, Redshift, ElastiCache, EMR, ECS,
/// OpenSearch, MSK, CodeBuild, Batch or Glue, running or not. All of them are listed at once, to the end. `default` groups, which cannot be
/// deleted, and groups of other accounts are left out. The ids are printed in their order.
///
/// When something could not be listed, nothing is printed: a group that seems unused may be used there. The exit code is then 3, and the log names
/// what is missing and the groups in question. `incomplete` prints them all the same.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverUnusedSecurityGroups {
    /// Print what seems unused even when something could not be listed.
    #[serde(default)]
    pub incomplete: bool,
    /// Print of each group its name, VPC, description and tags, rather than its id alone.
    #[serde(default)]
    pub details: bool,
}

/// What is known of a group that nothing uses.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Details {
    /// Id of the group.
    pub group_id: String,
    /// Its name.
    pub group_name: Option<String>,
    /// VPC that it is in.
    pub vpc_id: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Its tags, each as `Key=Value`, in the order of their keys.
    pub tags: Vec<String>,
}

const ALL_CALLS: [Call; CALLS.len() + 2] = {
    let mut all = [super::lookup::DESCRIBE_SECURITY_GROUPS; CALLS.len() + 2];
    all[1] = Call::read(
        "ec2:DescribeSecurityGroupReferences",
        &[Grant::new("ec2:DescribeSecurityGroupReferences", &["arn:${Partition}:ec2:${Region}:${Account}:security-group/*"])],
    )
    .when(When::Likely("a group seems unused"));
    let mut next = 0;
    while next < CALLS.len() {
        all[next + 2] = CALLS[next];
        next += 1;
    }
    all
};

#[async_trait]
impl Action for DiscoverUnusedSecurityGroups {
    const META: Meta = Meta {
        path: "ec2/discover_unused_security_groups",
        effect: Effect::Read,
        calls: &ALL_CALLS,
        rules: &[],
        examples: &[Example {
            title: "Find the security groups that nothing uses",
            input: "{}",
            output: r#"["sg-0123456789abcdef0"]"#,
            given: &["group sg-0123456789abcdef0", "instance i-0123456789abcdef0"],
        }],
        notes: &[
            "A rule of a group that names the group itself is no use.",
            "Not looked at are targets of EventBridge, and services that are not named above, as far as they have nothing running: what runs is on a network interface.",
            "Of launch templates the default and the latest versions are looked at, and those that Auto Scaling groups name; not other versions, which fleets and \
             node groups may name.",
            "Groups of VPCs that are peered, or are attached to the same transit gateway, count, as far as EC2 tells of them.",
            "Groups of other accounts that share a VPC are left out. Where neither the credentials nor a `default` group tell which account this is, and groups \
             are of several, the answer is incomplete: give `--report`, for which STS is asked.",
            "A service that is not offered in the region uses no group. A denial is never taken for that.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["GroupId"];

    const OVERVIEW: &'static [Check] = &[Check {
        title: "Security groups that nothing uses",
        input: r#"{"details": true}"#,
        since: None,
        mend: Some("ec2 delete_security_groups --security_group_ids -"),
    }];

    type Output = Vec<Row<Details>>;

    async fn run(self, cx: &Context) -> Result<Vec<Row<Details>>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        // Before what may use them: a group that is made behind a scan, with what uses it there, would else seem to be used by nothing. One that is made behind
        // this listing is not listed, and what begins to use one later is seen by `delete_security_groups`, which looks again.
        let groups: Vec<SecurityGroup> = SecurityGroup::list(&ec2, Vec::new()).try_collect().await?;
        // Each on its own task: reading so many answers is work for more than one processor.
        let scans = join_all(SCANNERS.iter().map(|scanner| {
            let scan = tokio::spawn((scanner.scan)(cx.clone()));
            async move { (scanner.name, scan.await.unwrap_or_else(|e| Err(Error::Failed(format!("the scan broke off: {e}"))))) }
        }));
        let scans = scans.await;
        let mut owners = owners(cx, &groups).await;

        let mut named: HashSet<String> = groups.iter().flat_map(named_by).collect();
        let (mut missing, mut looked_at) = (BTreeSet::new(), Vec::new());
        for (name, scan) in scans {
            match scan {
                Ok(Named(ids)) => {
                    looked_at.push(format!("{name} ({})", ids.len()));
                    named.extend(ids);
                }
                Err(e) if e.is_fatal() => return Err(e),
                Err(e) if is_not_offered(&e) => tracing::info!("{name}: not offered in {}", cx.region()),
                Err(e) => {
                    missing.insert(name);
                    cx.record_failure(format!("scan of {name}"), &e);
                }
            }
        }
        tracing::info!("looked at, with the number of groups that are named there: {}", looked_at.join(", "));
        if owners.len() > 1 {
            let doubt = Error::Failed(format!("groups are of the accounts {}", owners.into_iter().collect::<Vec<_>>().join(", ")));
            cx.record_failure("which account this is", &doubt);
            missing.insert("which account this is");
            owners = BTreeSet::new();
        }
        let mut unused: Vec<_> = groups.into_iter().filter(|g| is_candidate(g, &owners) && !is_named(g, &named)).collect();
        match lookup::cancellable(cx, referenced(&ec2, &unused)).await {
            Ok(referenced) => unused.retain(|g| !referenced.contains(g.id())),
            Err(e) if e.is_fatal() => return Err(e),
            Err(e) => {
                missing.insert(REFERENCES);
                cx.record_failure(format!("scan of {REFERENCES}"), &e);
            }
        }
        unused.sort_by(|a, b| a.id().cmp(b.id()));
        if !missing.is_empty() && !self.incomplete {
            let seem: Vec<_> = unused.iter().map(|g| g.id()).collect();
            let missing: Vec<_> = missing.into_iter().collect();
            tracing::warn!("incomplete, so nothing is printed: without {}, these seem unused: {}", missing.join(", "), seem.join(", "));
            return Ok(Vec::new());
        }
        Ok(unused.iter().map(|group| Row::of(self.details, group.id(), || details(group))).collect())
    }
}

aaws::register!(DiscoverUnusedSecurityGroups);

/// Whose groups are the account's own, one account where that is known. Otherwise its default groups tell: of other accounts that share a VPC with it
/// only other groups are shown. Where there are none, it is one of those that own a group.
async fn owners(cx: &Context, groups: &[SecurityGroup]) -> BTreeSet<String> {
    if let Some(account) = cx.account().await {
        return BTreeSet::from([account.to_string()]);
    }
    let of = |groups: &mut dyn Iterator<Item = &SecurityGroup>| groups.filter_map(|g| g.owner_id.clone()).collect::<BTreeSet<_>>();
    let by_default = of(&mut groups.iter().filter(|g| g.group_name() == Some("default")));
    if by_default.is_empty() { of(&mut groups.iter()) } else { by_default }
}

/// What groups of VPCs beyond a peering connection or a transit gateway are called.
const REFERENCES: &str = "groups of peered VPCs and of transit gateways";

/// Those of the groups that rules beyond a peering connection or a transit gateway name.
async fn referenced(ec2: &Client, groups: &[SecurityGroup]) -> Result<HashSet<String>> {
    let mut named = HashSet::new();
    for some in groups.chunks(lookup::MOST_VALUES) {
        let ids = some.iter().map(|g| g.id().to_owned()).collect();
        let request = ec2.describe_security_group_references().set_group_id(Some(ids)).send();
        let answer = request.await.context(|| format!("ask which of the {REFERENCES} name the groups"))?;
        named.extend(answer.security_group_reference_set().iter().filter_map(|r| r.group_id()).map(str::to_owned));
    }
    Ok(named)
}

/// Whether a group could be deleted at all: it is no default group, is in a VPC, and is not another account's that shares one.
fn is_candidate(group: &SecurityGroup, owners: &BTreeSet<String>) -> bool {
    let ours = owners.is_empty() || group.owner_id().is_none_or(|owner| owners.contains(owner));
    group.group_name() != Some("default") && group.vpc_id().is_some() && ours
}

/// By its id, or by its name, as launch configurations may have it.
fn is_named(group: &SecurityGroup, named: &HashSet<String>) -> bool {
    named.contains(group.id()) || group.group_name().is_some_and(|name| named.contains(name))
}

fn details(group: &SecurityGroup) -> Details {
    Details {
        group_id: group.id().to_owned(),
        group_name: group.group_name.clone(),
        vpc_id: group.vpc_id.clone(),
        description: group.description.clone(),
        tags: super::details::pairs(group.tags()),
    }
}
