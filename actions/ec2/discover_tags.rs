use aaws::{Action, Call, Context, Doing, Effect, Error, Example, Grant, Listing, Meta, Out, Result, Rule, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Image, Instance, InstanceStateName, SecurityGroup, Snapshot, Tag, Volume};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::find::Thing;
use super::tags::Wanted;

/// List EC2 resources that have all of some tags, or lack any of them.
///
/// The kinds are listed at once, and their ids printed kind by kind, in the order of the choices. Images and snapshots are the account's own;
/// instances that are terminated are left out. Keys and values are compared in their very case.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverTags {
    /// Kinds of resources to look through. An empty list is no resource.
    resource_types: Vec<Kind>,
    /// Tags to look for: `Key` with any value, or `Key=Value`; `Key=` is the empty value.
    tags: Vec<Wanted>,
    /// List the resources that have all of the tags.
    #[serde(default)]
    existing: bool,
    /// List the resources that lack at least one of the tags.
    #[serde(default)]
    missing: bool,
}

/// A kind of resources, in the order in which they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Image,
    Instance,
    InternetGateway,
    KeyPair,
    NetworkAcl,
    RouteTable,
    SecurityGroup,
    Snapshot,
    Subnet,
    Volume,
    Vpc,
}

const fn listing(name: &'static str, grants: &'static [Grant], kind: &'static str) -> Call {
    Call::read(name, grants).when(When::Is("resource_types", kind))
}

#[async_trait]
impl Action for DiscoverTags {
    const META: Meta = Meta {
        path: "ec2/discover_tags",
        effect: Effect::Read,
        calls: &[
            listing("ec2:DescribeImages", &[Grant::new("ec2:DescribeImages", &["*"])], "image"),
            listing("ec2:DescribeInstances", &[Grant::new("ec2:DescribeInstances", &["*"])], "instance"),
            listing("ec2:DescribeInternetGateways", &[Grant::new("ec2:DescribeInternetGateways", &["*"])], "internet_gateway"),
            listing("ec2:DescribeKeyPairs", &[Grant::new("ec2:DescribeKeyPairs", &["*"])], "key_pair"),
            listing("ec2:DescribeNetworkAcls", &[Grant::new("ec2:DescribeNetworkAcls", &["*"])], "network_acl"),
            listing("ec2:DescribeRouteTables", &[Grant::new("ec2:DescribeRouteTables", &["*"])], "route_table"),
            listing("ec2:DescribeSecurityGroups", &[Grant::new("ec2:DescribeSecurityGroups", &["*"])], "security_group"),
            listing("ec2:DescribeSnapshots", &[Grant::new("ec2:DescribeSnapshots", &["*"])], "snapshot"),
            listing("ec2:DescribeSubnets", &[Grant::new("ec2:DescribeSubnets", &["*"])], "subnet"),
            listing("ec2:DescribeVolumes", &[Grant::new("ec2:DescribeVolumes", &["*"])], "volume"),
            listing("ec2:DescribeVpcs", &[Grant::new("ec2:DescribeVpcs", &["*"])], "vpc"),
        ],
        rules: &[Rule::AtMostOne(&["existing", "missing"]), Rule::AtLeastOne(&["existing", "missing"])],
        examples: &[
            Example {
                title: "List the instances and volumes that lack the tag `Owner` or the tag `Env`",
                input: r#"{"resource_types": ["instance", "volume"], "tags": ["Owner", "Env"], "missing": true}"#,
                output: r#"["vol-0123456789abcdef0"]"#,
                given: &["volume vol-0123456789abcdef0 Owner=me", "volume vol-0fedcba9876543210 Owner=me Env=prod"],
            },
            Example {
                title: "List the volumes of production",
                input: r#"{"resource_types": ["volume"], "tags": ["Env=prod"], "existing": true}"#,
                output: r#"["vol-0123456789abcdef0"]"#,
                given: &["volume vol-0123456789abcdef0 Env=prod", "volume vol-0fedcba9876543210 Env=test"],
            },
        ],
        notes: &[
            "`existing` asks for all of the tags, `missing` for any of them: each resource is in one of the two lists.",
            "Key pairs are printed by their ids, which `modify_tags` takes.",
        ],
    };

    type Output = Listing<String>;

    async fn run(mut self, cx: &Context) -> Result<Listing<String>> {
        if self.tags.is_empty() {
            // Every resource has all of no tags: that is not what anybody means.
            return Err(Error::field("tags", "`tags` is an empty list: name at least one tag"));
        }
        self.resource_types.sort();
        self.resource_types.dedup();
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverTags);

/// The ids of one kind of resources, with their tags.
type Tagged = Vec<(String, Vec<Tag>)>;

impl DiscoverTags {
    async fn list(self, cx: &Context, mut out: Out<String>) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let all = self.resource_types.iter().map(|kind| tagged(ec2.clone(), *kind)).collect::<Vec<_>>();
        let mut all = stream::iter(all).buffered(cx.concurrency());
        while let Some(kind) = all.try_next().await? {
            for (id, tags) in kind {
                let has_all = self.tags.iter().all(|t| t.is_in(&tags));
                if (self.existing && has_all) || (self.missing && !has_all) {
                    out.send(id).await?;
                }
            }
        }
        Ok(())
    }
}

/// All pages of one listing.
macro_rules! all {
    ($request:expr, $doing:literal, $id:ident) => {{
        let items = $request.into_paginator().items().send();
        let items: Vec<_> = items.try_collect().await.doing(|| concat!("list the ", $doing))?;
        Ok(items.into_iter().filter_map(|i| Some((i.$id?, i.tags.unwrap_or_default()))).collect())
    }};
}

fn tagged(ec2: Client, kind: Kind) -> BoxFuture<'static, Result<Tagged>> {
    async move {
        match kind {
            Kind::Image => things::<Image>(&ec2, |i| Some(i.tags())).await,
            Kind::Instance => {
                let gone = |i: &Instance| {
                    matches!(i.state().and_then(|s| s.name()), Some(InstanceStateName::Terminated | InstanceStateName::ShuttingDown))
                };
                things::<Instance>(&ec2, |i| if gone(i) { None } else { Some(i.tags()) }).await
            }
            Kind::SecurityGroup => things::<SecurityGroup>(&ec2, |g| Some(g.tags())).await,
            Kind::Snapshot => things::<Snapshot>(&ec2, |s| Some(s.tags())).await,
            Kind::Volume => things::<Volume>(&ec2, |v| Some(v.tags())).await,
            Kind::InternetGateway => all!(ec2.describe_internet_gateways().max_results(PAGE), "internet gateways", internet_gateway_id),
            Kind::NetworkAcl => all!(ec2.describe_network_acls().max_results(PAGE), "network ACLs", network_acl_id),
            Kind::RouteTable => all!(ec2.describe_route_tables().max_results(ROUTE_TABLES), "route tables", route_table_id),
            Kind::Subnet => all!(ec2.describe_subnets().max_results(PAGE), "subnets", subnet_id),
            Kind::Vpc => all!(ec2.describe_vpcs().max_results(PAGE), "VPCs", vpc_id),
            Kind::KeyPair => {
                // These come all at once: the API has no pages.
                let answer = ec2.describe_key_pairs().send().await.doing(|| "list the key pairs")?;
                let pairs = answer.key_pairs.unwrap_or_default().into_iter();
                Ok(pairs.filter_map(|k| Some((k.key_pair_id?, k.tags.unwrap_or_default()))).collect())
            }
        }
    }
    .boxed()
}

/// Things of one page; of route tables EC2 gives no more than a hundred.
const PAGE: i32 = 500;
const ROUTE_TABLES: i32 = 100;

/// Of things that are listed elsewhere too; `tags` leaves out those that it has none for.
async fn things<T: Thing>(ec2: &Client, tags: impl Fn(&T) -> Option<&[Tag]> + Send) -> Result<Tagged> {
    let things: Vec<T> = T::list(ec2, Vec::new()).try_collect().await?;
    Ok(things.iter().filter_map(|t| Some((t.id().to_owned(), tags(t)?.to_vec()))).collect())
}
