//! What uses security groups: one scanner for each place that may name them. None knows of another, and all run at once.
//!
//! Nearly everything that runs is seen on the network interfaces. The other scanners find what names a group and has nothing running: a template, a
//! cluster at rest, a service scaled to zero.

use std::collections::{BTreeSet, HashSet};

use aaws::{Call, Context, Error, ErrorContext, Grant, Result, When};
use aws_sdk_ec2::types::{LaunchTemplateVersion, ResponseLaunchTemplateData};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::listing::listing;
use super::lookup::DESCRIBE_NETWORK_INTERFACES;

/// The groups that one place names: by id, or by name, as old launch configurations and templates do.
#[derive(Debug, Default)]
pub struct Named(pub HashSet<String>);

/// A place that may name security groups.
pub struct Scanner {
    /// For the log, and for the item of a scan that failed.
    pub name: &'static str,
    /// Lists everything there, to the end.
    pub scan: fn(Context) -> BoxFuture<'static, Result<Named>>,
}

/// All places.
pub const SCANNERS: &[Scanner] = &[
    Scanner { name: "network interfaces", scan: |cx| interfaces(cx).boxed() },
    Scanner { name: "VPC associations", scan: |cx| associations(cx).boxed() },
    Scanner { name: "launch templates", scan: |cx| launch_templates(cx).boxed() },
    Scanner { name: "launch configurations", scan: |cx| launch_configurations(cx).boxed() },
    Scanner { name: "RDS instances", scan: |cx| rds_instances(cx).boxed() },
    Scanner { name: "RDS clusters", scan: |cx| rds_clusters(cx).boxed() },
    Scanner { name: "Neptune", scan: |cx| neptune(cx).boxed() },
    Scanner { name: "classic load balancers", scan: |cx| classic_load_balancers(cx).boxed() },
    Scanner { name: "load balancers", scan: |cx| load_balancers(cx).boxed() },
    Scanner { name: "Lambda", scan: |cx| lambda(cx).boxed() },
    Scanner { name: "Redshift", scan: |cx| redshift(cx).boxed() },
    Scanner { name: "ElastiCache", scan: |cx| elasticache(cx).boxed() },
    Scanner { name: "EMR", scan: |cx| emr(cx).boxed() },
    Scanner { name: "ECS", scan: |cx| ecs(cx).boxed() },
    Scanner { name: "OpenSearch", scan: |cx| opensearch(cx).boxed() },
    Scanner { name: "MSK", scan: |cx| kafka(cx).boxed() },
    Scanner { name: "CodeBuild", scan: |cx| codebuild(cx).boxed() },
    Scanner { name: "Batch", scan: |cx| batch(cx).boxed() },
    Scanner { name: "Glue", scan: |cx| glue(cx).boxed() },
];

/// The calls of all scanners.
pub const CALLS: &[Call] = &[
    DESCRIBE_NETWORK_INTERFACES,
    Call::read("ec2:DescribeSecurityGroupVpcAssociations", &[Grant::new("ec2:DescribeSecurityGroupVpcAssociations", &["*"])]),
    Call::read("ec2:DescribeLaunchTemplateVersions", &[Grant::new("ec2:DescribeLaunchTemplateVersions", &["*"])]),
    Call::read("autoscaling:DescribeAutoScalingGroups", &[Grant::new("autoscaling:DescribeAutoScalingGroups", &["*"])]),
    Call::read("autoscaling:DescribeLaunchConfigurations", &[Grant::new("autoscaling:DescribeLaunchConfigurations", &["*"])]),
    Call::read("rds:DescribeDBInstances", &[Grant::new("rds:DescribeDBInstances", &["arn:${Partition}:rds:${Region}:${Account}:db:*"])]),
    Call::read("rds:DescribeDBClusters", &[Grant::new("rds:DescribeDBClusters", &["arn:${Partition}:rds:${Region}:${Account}:cluster:*"])]),
    // Neptune's API is that of RDS, and so are its permissions.
    Call::read(
        "neptune:DescribeDBInstances",
        &[Grant::new("rds:DescribeDBInstances", &["arn:${Partition}:rds:${Region}:${Account}:db:*"])],
    ),
    Call::read("elasticloadbalancing:DescribeLoadBalancers", &[Grant::new("elasticloadbalancing:DescribeLoadBalancers", &["*"])]),
    Call::read("elasticloadbalancingv2:DescribeLoadBalancers", &[Grant::new("elasticloadbalancing:DescribeLoadBalancers", &["*"])]),
    Call::read("lambda:ListFunctions", &[Grant::new("lambda:ListFunctions", &["*"])]),
    Call::read(
        "redshift:DescribeClusters",
        &[Grant::new("redshift:DescribeClusters", &["arn:${Partition}:redshift:${Region}:${Account}:cluster:*"])],
    ),
    Call::read(
        "elasticache:DescribeCacheClusters",
        &[Grant::new("elasticache:DescribeCacheClusters", &["arn:${Partition}:elasticache:${Region}:${Account}:cluster:*"])],
    ),
    Call::read("emr:ListClusters", &[Grant::new("elasticmapreduce:ListClusters", &["*"])]),
    Call::read(
        "emr:DescribeCluster",
        &[Grant::new("elasticmapreduce:DescribeCluster", &["arn:${Partition}:elasticmapreduce:${Region}:${Account}:cluster/*"])],
    )
    .when(When::Likely("an active EMR cluster exists")),
    Call::read("ecs:ListClusters", &[Grant::new("ecs:ListClusters", &["*"])]),
    Call::read("ecs:ListServices", &[Grant::new("ecs:ListServices", &["*"])]).when(When::Likely("an ECS cluster exists")),
    Call::read("ecs:DescribeServices", &[Grant::new("ecs:DescribeServices", &["arn:${Partition}:ecs:${Region}:${Account}:service/*/*"])])
        .when(When::Likely("an ECS service exists")),
    Call::read("opensearch:ListDomainNames", &[Grant::new("es:ListDomainNames", &["*"])]),
    Call::read("opensearch:DescribeDomains", &[Grant::new("es:DescribeDomains", &["arn:${Partition}:es:${Region}:${Account}:domain/*"])])
        .when(When::Likely("an OpenSearch domain exists")),
    Call::read("kafka:ListClustersV2", &[Grant::new("kafka:ListClustersV2", &["*"])]),
    Call::read("codebuild:ListProjects", &[Grant::new("codebuild:ListProjects", &["*"])]),
    Call::read(
        "codebuild:BatchGetProjects",
        &[Grant::new("codebuild:BatchGetProjects", &["arn:${Partition}:codebuild:${Region}:${Account}:project/*"])],
    )
    .when(When::Likely("a CodeBuild project exists")),
    Call::read("batch:DescribeComputeEnvironments", &[Grant::new("batch:DescribeComputeEnvironments", &["*"])]),
    Call::read(
        "glue:GetConnections",
        &[Grant::new(
            "glue:GetConnections",
            &["arn:${Partition}:glue:${Region}:${Account}:catalog", "arn:${Partition}:glue:${Region}:${Account}:connection/*"],
        )],
    ),
];

/// What resolvers say of a host that does not exist: those of glibc, musl, macOS and Windows. That a name cannot be resolved for the moment
/// ("Temporary failure in name resolution") says nothing of the service.
const NO_SUCH_HOST: &[&str] = &[
    "name or service not known",
    "no address associated with hostname",
    "name does not resolve",
    "nodename nor servname provided",
    "no such host is known",
];

/// Codes by which AWS says of a launch template, or of a version of it, that it is not there.
const NO_TEMPLATE: &[&str] = &["InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound"];

/// Whether a scan failed because the service is not there in this region: then it uses no group. A denial is never that.
pub fn is_not_offered(error: &Error) -> bool {
    match error {
        Error::Aws(e) if e.code == "Unreachable" => {
            let message = e.message.to_lowercase();
            NO_SUCH_HOST.iter().any(|told| message.contains(told))
        }
        Error::Aws(e) => matches!(e.code.as_str(), "OptInRequired" | "SubscriptionRequiredException"),
        _ => false,
    }
}

impl Named {
    fn add(&mut self, groups: impl IntoIterator<Item = impl Into<String>>) {
        self.0.extend(groups.into_iter().map(Into::into));
    }
}

/// All items of a listing that has pages, and the groups of each.
macro_rules! all {
    ($request:expr, $what:literal, $set:ident, $next:ident, $items:ident, |$item:ident| $groups:expr) => {{
        let mut items = listing!($request, $what, $set, $next, $items);
        let mut named = Named::default();
        while let Some($item) = items.try_next().await? {
            named.add($groups);
        }
        named
    }};
}

async fn interfaces(cx: Context) -> Result<Named> {
    let ec2 = aaws::client!(&cx, aws_sdk_ec2);
    let ids = |i: aws_sdk_ec2::types::NetworkInterface| i.groups().iter().filter_map(|g| g.group_id.clone()).collect::<Vec<_>>();
    Ok(all!(
        // Those of services, too, where the account hides them.
        ec2.describe_network_interfaces().include_managed_resources(true).max_results(500),
        "network interfaces",
        set_next_token,
        next_token,
        network_interfaces,
        |i| ids(i)
    ))
}

async fn associations(cx: Context) -> Result<Named> {
    let ec2 = aaws::client!(&cx, aws_sdk_ec2);
    let request = ec2.describe_security_group_vpc_associations().max_results(500);
    Ok(all!(request, "VPC associations of security groups", set_next_token, next_token, security_group_vpc_associations, |a| a.group_id))
}

/// The versions that are launched: the default and the latest of each template, and those that Auto Scaling groups name.
async fn launch_templates(cx: Context) -> Result<Named> {
    let ec2 = aaws::client!(&cx, aws_sdk_ec2);
    let (mut named, wanted) = futures::try_join!(default_and_latest(&ec2), named_versions(&cx))?;
    let looks = wanted.into_iter().map(|(id, version)| {
        let ec2 = ec2.clone();
        async move {
            let request =
                ec2.describe_launch_template_versions().launch_template_id(&id).versions(&version).include_managed_resources(true).send();
            match request.await.context(|| format!("look at version {version} of the launch template `{id}`")) {
                Ok(answer) => Ok(answer.launch_template_versions.unwrap_or_default()),
                // It may be deleted under an Auto Scaling group that goes on naming it: what is not there names nothing.
                Err(e) if e.code().is_some_and(|code| NO_TEMPLATE.contains(&code)) => Ok(Vec::new()),
                Err(e) => Err(e),
            }
        }
    });
    let mut looks = stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(cx.concurrency());
    while let Some(versions) = looks.try_next().await? {
        versions.iter().for_each(|v| named.add(of_version(v)));
    }
    Ok(named)
}

/// Without a template's id these two versions of all templates are listed (EC2 API reference, DescribeLaunchTemplateVersions).
async fn default_and_latest(ec2: &aws_sdk_ec2::Client) -> Result<Named> {
    let request = ec2.describe_launch_template_versions().versions("$Latest").versions("$Default").include_managed_resources(true);
    Ok(all!(request, "launch templates", set_next_token, next_token, launch_template_versions, |v| of_version(&v)))
}

/// The templates and the numbers of their versions that Auto Scaling groups name.
async fn named_versions(cx: &Context) -> Result<BTreeSet<(String, String)>> {
    let autoscaling = aaws::client!(cx, aws_sdk_autoscaling);
    let request = autoscaling.describe_auto_scaling_groups();
    let mut groups = listing!(request, "Auto Scaling groups", set_next_token, next_token, auto_scaling_groups);
    let mut wanted = BTreeSet::new();
    while let Some(group) = groups.try_next().await? {
        let mixed = group.mixed_instances_policy().and_then(|p| p.launch_template());
        let overrides = mixed.map(|m| m.overrides()).unwrap_or_default().iter().filter_map(|o| o.launch_template_specification());
        let all = group.launch_template().into_iter().chain(mixed.and_then(|m| m.launch_template_specification())).chain(overrides);
        for template in all {
            let version = template.version().unwrap_or("$Default");
            if let Some(id) = template.launch_template_id().filter(|_| !version.starts_with('$')) {
                wanted.insert((id.to_owned(), version.to_owned()));
            }
        }
    }
    Ok(wanted)
}

fn of_version(version: &LaunchTemplateVersion) -> Vec<String> {
    let Some(data) = version.launch_template_data() else { return Vec::new() };
    let interfaces = ResponseLaunchTemplateData::network_interfaces(data).iter().flat_map(|i| i.groups());
    data.security_group_ids().iter().chain(data.security_groups()).chain(interfaces).cloned().collect()
}

async fn launch_configurations(cx: Context) -> Result<Named> {
    let autoscaling = aaws::client!(&cx, aws_sdk_autoscaling);
    Ok(all!(
        autoscaling.describe_launch_configurations(),
        "launch configurations",
        set_next_token,
        next_token,
        launch_configurations,
        |c| c.security_groups.unwrap_or_default()
    ))
}

async fn rds_instances(cx: Context) -> Result<Named> {
    let rds = aaws::client!(&cx, aws_sdk_rds);
    let ids = |d: aws_sdk_rds::types::DbInstance| {
        d.vpc_security_groups().iter().filter_map(|g| g.vpc_security_group_id.clone()).collect::<Vec<_>>()
    };
    Ok(all!(rds.describe_db_instances(), "RDS instances", set_marker, marker, db_instances, |d| ids(d)))
}

async fn rds_clusters(cx: Context) -> Result<Named> {
    let rds = aaws::client!(&cx, aws_sdk_rds);
    let ids = |d: aws_sdk_rds::types::DbCluster| {
        d.vpc_security_groups().iter().filter_map(|g| g.vpc_security_group_id.clone()).collect::<Vec<_>>()
    };
    Ok(all!(rds.describe_db_clusters(), "RDS clusters", set_marker, marker, db_clusters, |d| ids(d)))
}

async fn neptune(cx: Context) -> Result<Named> {
    let neptune = aaws::client!(&cx, aws_sdk_neptune);
    let ids = |d: aws_sdk_neptune::types::DbInstance| {
        d.vpc_security_groups().iter().filter_map(|g| g.vpc_security_group_id.clone()).collect::<Vec<_>>()
    };
    Ok(all!(neptune.describe_db_instances(), "Neptune instances", set_marker, marker, db_instances, |d| ids(d)))
}

async fn classic_load_balancers(cx: Context) -> Result<Named> {
    let elb = aaws::client!(&cx, aws_sdk_elasticloadbalancing);
    Ok(all!(elb.describe_load_balancers(), "classic load balancers", set_marker, next_marker, load_balancer_descriptions, |b| b
        .security_groups
        .unwrap_or_default()))
}

async fn load_balancers(cx: Context) -> Result<Named> {
    let elb = aaws::client!(&cx, aws_sdk_elasticloadbalancingv2);
    // Gateway load balancers have none.
    let request = elb.describe_load_balancers();
    Ok(all!(request, "load balancers", set_marker, next_marker, load_balancers, |b| b.security_groups.unwrap_or_default()))
}

async fn lambda(cx: Context) -> Result<Named> {
    let lambda = aaws::client!(&cx, aws_sdk_lambda);
    let ids = |f: aws_sdk_lambda::types::FunctionConfiguration| f.vpc_config.and_then(|v| v.security_group_ids).unwrap_or_default();
    // Each published version keeps the groups that it was published with.
    let all = lambda.list_functions().function_version(aws_sdk_lambda::types::FunctionVersion::All);
    Ok(all!(all, "Lambda functions", set_marker, next_marker, functions, |f| ids(f)))
}

async fn redshift(cx: Context) -> Result<Named> {
    let redshift = aaws::client!(&cx, aws_sdk_redshift);
    let ids = |c: aws_sdk_redshift::types::Cluster| {
        c.vpc_security_groups().iter().filter_map(|g| g.vpc_security_group_id.clone()).collect::<Vec<_>>()
    };
    Ok(all!(redshift.describe_clusters(), "Redshift clusters", set_marker, marker, clusters, |c| ids(c)))
}

async fn elasticache(cx: Context) -> Result<Named> {
    let elasticache = aaws::client!(&cx, aws_sdk_elasticache);
    let ids = |c: aws_sdk_elasticache::types::CacheCluster| {
        c.security_groups().iter().filter_map(|g| g.security_group_id.clone()).collect::<Vec<_>>()
    };
    Ok(all!(elasticache.describe_cache_clusters(), "ElastiCache clusters", set_marker, marker, cache_clusters, |c| ids(c)))
}

async fn emr(cx: Context) -> Result<Named> {
    use aws_sdk_emr::types::ClusterState::{Bootstrapping, Running, Starting, Waiting};

    let emr = aaws::client!(&cx, aws_sdk_emr);
    let active = vec![Starting, Bootstrapping, Running, Waiting];
    let request = emr.list_clusters().set_cluster_states(Some(active));
    let clusters = listing!(request, "EMR clusters", set_marker, marker, clusters).try_collect::<Vec<_>>().await?;
    let looks = clusters.into_iter().filter_map(|c| c.id).map(|id| {
        let emr = emr.clone();
        async move {
            let answer = emr.describe_cluster().cluster_id(&id).send().await.context(|| format!("look at the EMR cluster `{id}`"))?;
            Ok::<_, Error>(answer.cluster.and_then(|c| c.ec2_instance_attributes))
        }
    });
    let mut named = Named::default();
    let mut looks = stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(cx.concurrency());
    while let Some(attributes) = looks.try_next().await? {
        // All of them are optional.
        let Some(a) = attributes else { continue };
        named.add(
            [a.emr_managed_master_security_group, a.emr_managed_slave_security_group, a.service_access_security_group]
                .into_iter()
                .flatten(),
        );
        named.add(a.additional_master_security_groups.unwrap_or_default());
        named.add(a.additional_slave_security_groups.unwrap_or_default());
    }
    Ok(named)
}

/// What runs is on an interface; services that run nothing are only here. Ten are described at once (ECS API reference, DescribeServices).
async fn ecs(cx: Context) -> Result<Named> {
    let ecs = aaws::client!(&cx, aws_sdk_ecs);
    let clusters: Vec<String> =
        listing!(ecs.list_clusters(), "ECS clusters", set_next_token, next_token, cluster_arns).try_collect().await?;
    let of_cluster = |cluster: String| {
        let ecs = ecs.clone();
        async move {
            let request = ecs.list_services().cluster(&cluster);
            let services = listing!(request, "services of an ECS cluster", set_next_token, next_token, service_arns);
            let services: Vec<String> = services.try_collect().await?;
            let mut named = Named::default();
            for some in services.chunks(10) {
                let request = ecs.describe_services().cluster(&cluster).set_services(Some(some.to_vec())).send();
                let answer = request.await.context(|| format!("look at the services of `{cluster}`"))?;
                for service in answer.services() {
                    let configured = service.network_configuration().into_iter();
                    let deployed = service.deployments().iter().filter_map(|d| d.network_configuration());
                    // Of a service that is deployed by CodeDeploy, or by somebody else, the network is that of its task sets.
                    let task_sets = service.task_sets().iter().filter_map(|t| t.network_configuration());
                    let vpcs = configured.chain(deployed).chain(task_sets).filter_map(|n| n.awsvpc_configuration());
                    vpcs.for_each(|v| named.add(v.security_groups().to_vec()));
                }
            }
            Ok::<_, Error>(named)
        }
    };
    let looks = clusters.into_iter().map(of_cluster).collect::<Vec<_>>();
    let mut named = Named::default();
    let mut looks = stream::iter(looks).buffer_unordered(cx.concurrency());
    while let Some(found) = looks.try_next().await? {
        named.add(found.0);
    }
    Ok(named)
}

/// Five are described at once (OpenSearch Service API reference, DescribeDomains).
async fn opensearch(cx: Context) -> Result<Named> {
    let opensearch = aaws::client!(&cx, aws_sdk_opensearch);
    let names = opensearch.list_domain_names().send().await.context(|| "list the OpenSearch domains")?;
    let names: Vec<String> = names.domain_names.unwrap_or_default().into_iter().filter_map(|d| d.domain_name).collect();
    let mut named = Named::default();
    for some in names.chunks(5) {
        let request = opensearch.describe_domains().set_domain_names(Some(some.to_vec())).send();
        let answer = request.await.context(|| "look at the OpenSearch domains")?;
        // A domain with a public endpoint is in no VPC.
        let vpcs = answer.domain_status_list.into_iter().filter_map(|d| d.vpc_options);
        vpcs.for_each(|v| named.add(v.security_group_ids.unwrap_or_default()));
    }
    Ok(named)
}

/// Provisioned clusters and serverless ones.
async fn kafka(cx: Context) -> Result<Named> {
    let kafka = aaws::client!(&cx, aws_sdk_kafka);
    let ids = |c: aws_sdk_kafka::types::Cluster| {
        let provisioned = c.provisioned.and_then(|p| p.broker_node_group_info).and_then(|b| b.security_groups).unwrap_or_default();
        let serverless = c.serverless.and_then(|s| s.vpc_configs).unwrap_or_default();
        let serverless = serverless.into_iter().flat_map(|v| v.security_group_ids.unwrap_or_default());
        provisioned.into_iter().chain(serverless).collect::<Vec<_>>()
    };
    Ok(all!(kafka.list_clusters_v2(), "MSK clusters", set_next_token, next_token, cluster_info_list, |c| ids(c)))
}

/// A hundred are described at once (CodeBuild API reference, BatchGetProjects).
async fn codebuild(cx: Context) -> Result<Named> {
    let codebuild = aaws::client!(&cx, aws_sdk_codebuild);
    let request = codebuild.list_projects();
    let names: Vec<String> = listing!(request, "CodeBuild projects", set_next_token, next_token, projects).try_collect().await?;
    let mut named = Named::default();
    for some in names.chunks(100) {
        let request = codebuild.batch_get_projects().set_names(Some(some.to_vec())).send();
        let answer = request.await.context(|| "look at the CodeBuild projects")?;
        let vpcs = answer.projects.unwrap_or_default().into_iter().filter_map(|p| p.vpc_config);
        vpcs.for_each(|v| named.add(v.security_group_ids.unwrap_or_default()));
    }
    Ok(named)
}

async fn batch(cx: Context) -> Result<Named> {
    let batch = aaws::client!(&cx, aws_sdk_batch);
    let ids =
        |e: aws_sdk_batch::types::ComputeEnvironmentDetail| e.compute_resources.and_then(|r| r.security_group_ids).unwrap_or_default();
    Ok(all!(
        batch.describe_compute_environments(),
        "Batch compute environments",
        set_next_token,
        next_token,
        compute_environments,
        |e| ids(e)
    ))
}

async fn glue(cx: Context) -> Result<Named> {
    let glue = aaws::client!(&cx, aws_sdk_glue);
    let request = glue.get_connections().hide_password(true);
    let mut connections = listing!(request, "Glue connections", set_next_token, next_token, connection_list);
    let mut named = Named::default();
    while let Some(connection) = connections.try_next().await? {
        let place = connection.physical_connection_requirements();
        named.add(place.map(|p| p.security_group_id_list().to_vec()).unwrap_or_default());
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aaws::AwsError;

    fn error(code: &str, message: &str, status: Option<u16>) -> Error {
        Error::Aws(Box::new(AwsError { attempted: "look".into(), code: code.into(), message: message.into(), request_id: None, status }))
    }

    #[test]
    fn only_a_host_that_does_not_exist_is_a_service_that_is_not_offered() {
        let resolver = |told: &str| error("Unreachable", &format!("failed to lookup address information: {told}"), None);
        assert!(is_not_offered(&resolver("Name or service not known")));
        assert!(is_not_offered(&resolver("nodename nor servname provided, or not known")));
        assert!(!is_not_offered(&resolver("Temporary failure in name resolution")));
        assert!(!is_not_offered(&error("Unreachable", "connection refused", None)));
    }

    #[test]
    fn what_is_denied_or_unknown_is_not_taken_for_absent() {
        assert!(is_not_offered(&error("OptInRequired", "", Some(403))));
        for code in ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "InvalidAction", "UnknownOperationException"] {
            assert!(!is_not_offered(&error(code, "", Some(403))), "{code}");
        }
    }
}
