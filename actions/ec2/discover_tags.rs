use std::sync::Arc;

use aaws::{Action, Call, Context, Effect, Error, ErrorContext, Example, Grant, Listing, Meta, Out, Result, Row, Rule, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Image, Instance, SecurityGroup, Snapshot, Tag, Volume};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::Deserialize;

use super::details::TaggedDetails;
use super::listing::listing;
use super::lookup::{self, Resource};
use super::tags::Wanted;

/// Things of one page: what EC2 advises against is asking for all at once.
const PAGE: i32 = 500;

/// Of route tables EC2 gives no more than a hundred at once (EC2 API reference, DescribeRouteTables).
const PAGE_OF_ROUTE_TABLES: i32 = 100;

/// The states of instances that there still are: those that are terminated are shown for an hour or so, with their tags.
const LIVING: &[&str] = &["pending", "running", "stopping", "stopped"];

/// List EC2 resources that have all of some tags, or that lack any of them.
///
/// With `existing` those are listed that have all of the tags, with `missing` those that lack at least one: each resource is in one of the two
/// lists. Keys and values are compared as they are written, in their very case.
///
/// The kinds are looked through at the same time, and their ids printed kind by kind, in the order of the choices; `modify_tags` takes them as they
/// are. Images and snapshots are the account's own. Instances that are terminated, or about to be, are left out. When one of several kinds cannot be
/// listed, it is reported as failed, and the others are printed all the same.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverTags {
    /// Kinds of resources to look through. An empty list is no resource.
    pub resource_types: Vec<TagKind>,
    /// Tags to look for: `Key` with any value, or `Key=Value`, split at the first `=`; `Key=` is the empty value. At least one.
    pub tags: Vec<Wanted>,
    /// List the resources that have all of the tags.
    #[serde(default)]
    pub existing: bool,
    /// List the resources that lack at least one of the tags.
    #[serde(default)]
    pub missing: bool,
    /// Print of each resource its kind, its name and its tags, rather than its id alone.
    #[serde(default)]
    pub details: bool,
}

/// A kind of resources, in the order in which they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TagKind {
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

impl TagKind {
    /// As in the input.
    fn word(self) -> &'static str {
        match self {
            TagKind::Image => "image",
            TagKind::Instance => "instance",
            TagKind::InternetGateway => "internet_gateway",
            TagKind::KeyPair => "key_pair",
            TagKind::NetworkAcl => "network_acl",
            TagKind::RouteTable => "route_table",
            TagKind::SecurityGroup => "security_group",
            TagKind::Snapshot => "snapshot",
            TagKind::Subnet => "subnet",
            TagKind::Volume => "volume",
            TagKind::Vpc => "vpc",
        }
    }
}

/// A listing that is asked for only with its kind.
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
            "An empty list of `tags` is an error: every resource has all of no tags.",
            "EC2 itself is asked, and not the Resource Groups Tagging API, which does not list what was never tagged.",
            "Subnets, VPCs and security groups that another account shares are listed too.",
            "Key pairs are printed by their ids (`key-…`), which `modify_tags` takes, and not by their names.",
            "Disabled images are listed too. Security groups, network ACLs and route tables that came with a VPC are resources as any other.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["ResourceId"];

    type Output = Listing<Row<TaggedDetails>>;

    async fn run(mut self, cx: &Context) -> Result<Listing<Row<TaggedDetails>>> {
        if self.tags.is_empty() {
            return Err(Error::field("tags", "`tags` is an empty list: name at least one tag"));
        }
        self.resource_types.sort();
        self.resource_types.dedup();
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverTags);

impl DiscoverTags {
    async fn list(self, cx: &Context, mut out: Out<Row<TaggedDetails>>) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let desired = Arc::new(Desired { tags: self.tags, missing: self.missing, details: self.details });
        let only = self.resource_types.len() == 1;
        let searches: Vec<_> = self.resource_types.into_iter().map(|kind| search(ec2.clone(), kind, Arc::clone(&desired))).collect();
        let mut searches = stream::iter(searches).buffered(cx.concurrency());
        while let Some((kind, found)) = searches.next().await {
            match found {
                Ok(rows) => {
                    for row in rows {
                        out.send(row).await?;
                    }
                }
                // Nothing else would be printed.
                Err(e) if only || e.is_fatal() => return Err(e),
                Err(e) => cx.record_failure(kind.word(), &e),
            }
        }
        Ok(())
    }
}

/// What is looked for.
struct Desired {
    tags: Vec<Wanted>,
    /// Those that lack any of the tags, and not those that have all of them.
    missing: bool,
    details: bool,
}

impl Desired {
    /// The row of a thing with these tags, when it is meant.
    fn row(&self, kind: TagKind, id: Option<&str>, tags: &[Tag]) -> Option<Row<TaggedDetails>> {
        let id = id.filter(|_| self.is_met_by(tags))?;
        let lacks = || self.tags.iter().filter(|t| !t.is_in(tags)).map(ToString::to_string).collect();
        Some(Row::of(self.details, id, || TaggedDetails::of(id.to_owned(), kind.word(), lacks(), tags)))
    }

    /// Whether a thing with these tags is meant.
    fn is_met_by(&self, tags: &[Tag]) -> bool {
        self.tags.iter().all(|t| t.is_in(tags)) != self.missing
    }
}

/// A search that runs beside others, and the kind that it is for.
fn search(ec2: Client, kind: TagKind, desired: Arc<Desired>) -> BoxFuture<'static, (TagKind, Result<Vec<Row<TaggedDetails>>>)> {
    async move { (kind, found(&ec2, kind, &desired).await) }.boxed()
}

/// All pages of a listing: the rows of the things that are meant. Only these are kept, so that memory does not grow with what else there is.
macro_rules! all {
    ($request:expr, $named:literal, $items:ident, $id:ident, $kind:ident, $desired:ident) => {{
        let mut things = listing!($request, $named, set_next_token, next_token, $items);
        let mut rows = Vec::new();
        while let Some(thing) = things.try_next().await? {
            rows.extend($desired.row($kind, thing.$id(), thing.tags()));
        }
        Ok(rows)
    }};
}

/// The rows of a kind's things that are meant, in EC2's order.
async fn found(ec2: &Client, kind: TagKind, desired: &Desired) -> Result<Vec<Row<TaggedDetails>>> {
    match kind {
        TagKind::Image => things(ec2, Vec::new(), Image::tags, kind, desired).await,
        TagKind::Instance => {
            things(ec2, vec![lookup::filter("instance-state-name", LIVING.iter().copied())], Instance::tags, kind, desired).await
        }
        TagKind::SecurityGroup => things(ec2, Vec::new(), SecurityGroup::tags, kind, desired).await,
        TagKind::Snapshot => things(ec2, Vec::new(), Snapshot::tags, kind, desired).await,
        TagKind::Volume => things(ec2, Vec::new(), Volume::tags, kind, desired).await,
        TagKind::InternetGateway => {
            all!(
                ec2.describe_internet_gateways().max_results(PAGE),
                "internet gateways",
                internet_gateways,
                internet_gateway_id,
                kind,
                desired
            )
        }
        TagKind::NetworkAcl => {
            all!(ec2.describe_network_acls().max_results(PAGE), "network ACLs", network_acls, network_acl_id, kind, desired)
        }
        TagKind::RouteTable => {
            all!(ec2.describe_route_tables().max_results(PAGE_OF_ROUTE_TABLES), "route tables", route_tables, route_table_id, kind, desired)
        }
        TagKind::Subnet => all!(ec2.describe_subnets().max_results(PAGE), "subnets", subnets, subnet_id, kind, desired),
        TagKind::Vpc => all!(ec2.describe_vpcs().max_results(PAGE), "VPCs", vpcs, vpc_id, kind, desired),
        TagKind::KeyPair => {
            // These come all at once: the API has no pages of them.
            let answer = ec2.describe_key_pairs().send().await.context(|| "list the key pairs")?;
            Ok(answer.key_pairs().iter().filter_map(|pair| desired.row(kind, pair.key_pair_id(), pair.tags())).collect())
        }
    }
}

/// The same of things that other actions list too.
async fn things<T: Resource>(
    ec2: &Client,
    filters: Vec<Filter>,
    tags: fn(&T) -> &[Tag],
    kind: TagKind,
    desired: &Desired,
) -> Result<Vec<Row<TaggedDetails>>> {
    let mut things = T::list(ec2, filters);
    let mut rows = Vec::new();
    while let Some(thing) = things.try_next().await? {
        rows.extend(desired.row(kind, Some(thing.id()), tags(&thing)));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::super::tags::tag;
    use super::*;

    #[test]
    fn a_thing_is_in_one_of_the_two_lists() {
        let desired = |missing: bool| Desired {
            tags: ["Env=prod", "Owner"].iter().map(|t| Wanted::parse(t).expect("a tag")).collect(),
            missing,
            details: false,
        };
        let both = [tag("Env", "prod"), tag("Owner", "")];
        let one = [tag("Env", "prod"), tag("owner", "me")];
        assert!(desired(false).is_met_by(&both) && !desired(true).is_met_by(&both));
        assert!(!desired(false).is_met_by(&one) && desired(true).is_met_by(&one));
        assert!(!desired(false).is_met_by(&[]) && desired(true).is_met_by(&[]));
    }
}
