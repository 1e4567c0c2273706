use std::collections::{BTreeSet, HashSet};

use aaws::{Action, Context, Effect, Error, Example, Meta, Result, async_trait};
use aws_sdk_ec2::types::SecurityGroup;
use futures::TryStreamExt;
use futures::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::find::Thing;
use super::group_users::{CALLS, Named, SCANNERS, is_not_offered};

/// Find security groups that nothing uses.
///
/// A group is used when it is on a network interface, when a rule of another group names it, when a launch template or a launch configuration does,
/// or a resource of RDS, Neptune, Elastic Load Balancing, Lambda, Redshift, ElastiCache, EMR, ECS, OpenSearch, MSK, CodeBuild, Batch or Glue, running
/// or not. All of them are listed at once, to the end. `default` groups, which cannot be deleted, and groups of other accounts are left out. The ids are
/// printed in their order.
///
/// When something could not be listed, nothing is printed: a group that seems unused may be used there. The exit code is then 3, and the log names
/// what is missing and the groups in question. `incomplete` prints them all the same.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverUnusedSecurityGroups {
    /// Print what seems unused even when something could not be listed.
    #[serde(default)]
    incomplete: bool,
    /// Print of each group its name, VPC and description.
    #[serde(default)]
    details: bool,
}

/// A group that nothing uses: its id, or with `details` what is known of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Unused {
    /// Id of the group.
    Id(String),
    /// The group.
    Details(Details),
}

/// What is known of a group that nothing uses.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Details {
    /// Id of the group.
    group_id: String,
    /// Its name.
    group_name: Option<String>,
    /// The VPC that it is in.
    vpc_id: Option<String>,
    /// What it is for.
    description: Option<String>,
}

const ALL_CALLS: [aaws::Call; CALLS.len() + 1] = {
    let mut all = [super::find::DESCRIBE_SECURITY_GROUPS; CALLS.len() + 1];
    let mut next = 0;
    while next < CALLS.len() {
        all[next + 1] = CALLS[next];
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
            "Of launch templates the default and the latest versions are looked at, and those that Auto Scaling groups name.",
            "Groups of another VPC that is peered, or of another account, may name a group: EC2 shows that to nobody but their owners.",
            "A service that is not offered in the region uses no group. A denial is never taken for that.",
        ],
    };

    type Output = Vec<Unused>;

    async fn run(self, cx: &Context) -> Result<Vec<Unused>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let groups = async { SecurityGroup::list(&ec2, Vec::new()).try_collect::<Vec<_>>().await };
        // Each on its own task: reading so many answers is work for more than one processor.
        let scans = join_all(SCANNERS.iter().map(|scanner| {
            let scan = tokio::spawn((scanner.scan)(cx.clone()));
            async move { (scanner.name, scan.await.unwrap_or_else(|e| Err(Error::Failed(format!("the scan broke off: {e}"))))) }
        }));
        let (groups, scans) = futures::join!(groups, scans);
        let groups = groups?;
        let owners = owners(cx, &groups);

        let mut named: HashSet<String> = groups.iter().flat_map(others).collect();
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
                    cx.settle_failed(format!("scan of {name}"), &e)?;
                }
            }
        }
        tracing::info!("looked at, with the number of groups that are named there: {}", looked_at.join(", "));
        let mut unused: Vec<_> = groups.into_iter().filter(|g| is_candidate(g, &owners) && !is_named(g, &named)).collect();
        unused.sort_by(|a, b| a.id().cmp(b.id()));
        if !missing.is_empty() && !self.incomplete {
            let seem: Vec<_> = unused.iter().map(|g| g.id()).collect();
            let missing: Vec<_> = missing.into_iter().collect();
            tracing::warn!("incomplete, so nothing is printed: without {}, these seem unused: {}", missing.join(", "), seem.join(", "));
            return Ok(Vec::new());
        }
        Ok(unused.into_iter().map(|g| if self.details { Unused::Details(details(g)) } else { Unused::Id(g.id().to_owned()) }).collect())
    }
}

aaws::register!(DiscoverUnusedSecurityGroups);

/// The groups that a group's rules name, but for itself.
fn others(group: &SecurityGroup) -> Vec<String> {
    let rules = group.ip_permissions().iter().chain(group.ip_permissions_egress());
    let named = rules.flat_map(|r| r.user_id_group_pairs()).filter_map(|p| p.group_id());
    named.filter(|id| *id != group.id()).map(str::to_owned).collect()
}

/// Whose groups are the account's own. Where the account is not known, its default groups tell: of other accounts that share a VPC with it only
/// other groups are of interest.
fn owners(cx: &Context, groups: &[SecurityGroup]) -> HashSet<String> {
    match cx.session().account() {
        Some(account) => HashSet::from([account.to_owned()]),
        None => groups.iter().filter(|g| g.group_name() == Some("default")).filter_map(|g| g.owner_id.clone()).collect(),
    }
}

/// Whether a group could be deleted at all: it is no default group, is in a VPC, and is not another account's that shares one.
fn is_candidate(group: &SecurityGroup, owners: &HashSet<String>) -> bool {
    let ours = owners.is_empty() || group.owner_id().is_none_or(|owner| owners.contains(owner));
    group.group_name() != Some("default") && group.vpc_id().is_some() && ours
}

/// By its id, or by its name, as launch configurations may have it.
fn is_named(group: &SecurityGroup, named: &HashSet<String>) -> bool {
    named.contains(group.id()) || group.group_name().is_some_and(|name| named.contains(name))
}

fn details(group: SecurityGroup) -> Details {
    Details { group_id: group.id().to_owned(), group_name: group.group_name, vpc_id: group.vpc_id, description: group.description }
}
