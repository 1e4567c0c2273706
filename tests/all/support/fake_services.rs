//! The services that may name security groups, each with two things on two pages, of which the second names a group.
//!
//! Requests are told apart by the service that they are signed for and by what they ask.

use std::time::Duration;

use super::http::{self, Request, Response, Server};

/// A place that names a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    LaunchTemplate,
    LaunchTemplateVersion,
    LaunchConfiguration,
    Rds,
    RdsCluster,
    Neptune,
    ClassicLoadBalancer,
    LoadBalancer,
    Lambda,
    Redshift,
    ElastiCache,
    Emr,
    Ecs,
    OpenSearch,
    Msk,
    MskServerless,
    CodeBuild,
    Batch,
    Glue,
}

impl Place {
    pub const ALL: [Place; 19] = [
        Place::LaunchTemplate,
        Place::LaunchTemplateVersion,
        Place::LaunchConfiguration,
        Place::Rds,
        Place::RdsCluster,
        Place::Neptune,
        Place::ClassicLoadBalancer,
        Place::LoadBalancer,
        Place::Lambda,
        Place::Redshift,
        Place::ElastiCache,
        Place::Emr,
        Place::Ecs,
        Place::OpenSearch,
        Place::Msk,
        Place::MskServerless,
        Place::CodeBuild,
        Place::Batch,
        Place::Glue,
    ];
}

/// The services, with these places naming these groups; everything of EC2 itself goes on to `ec2`.
pub fn in_front_of(ec2: &str, named: Vec<(Place, String)>) -> Server {
    let ec2 = ec2.to_owned();
    Server::start(move |_, _, request| answer(&request, &named).unwrap_or_else(|| http::send(&ec2, &request).expect("EC2 answers")))
}

/// All services, EC2 too, each answer after some time: an account for the benchmark.
#[allow(dead_code, reason = "for the benchmark of the groups, which includes this file")]
pub fn slow(named: Vec<(Place, String)>, groups: Vec<String>, latency: Duration) -> Server {
    Server::start(move |operation, _, request| {
        std::thread::sleep(latency);
        answer(&request, &named).unwrap_or_else(|| of_ec2(operation, &groups))
    })
}

/// EC2 without any interface.
#[allow(dead_code, reason = "for the benchmark of the groups, which includes this file")]
fn of_ec2(operation: &str, groups: &[String]) -> Response {
    let group = |id: &String| format!("<item><groupId>{id}</groupId><groupName>{id}</groupName><vpcId>vpc-1</vpcId></item>");
    let inner = match operation {
        "DescribeSecurityGroups" => format!("<securityGroupInfo>{}</securityGroupInfo>", groups.iter().map(group).collect::<String>()),
        "DescribeRegions" => "<regionInfo/>".to_owned(),
        _ => String::new(),
    };
    Response::xml(200, format!("<{operation}Response>{inner}</{operation}Response>"))
}

/// What a service of these answers; none for EC2.
fn answer(request: &Request, named: &[(Place, String)]) -> Option<Response> {
    let group = |place: Place| named.iter().find(|(p, _)| *p == place).map_or("sg-of-nobody", |(_, id)| id);
    let service = request.header("authorization")?.split_once("Credential=")?.1.split('/').nth(3)?.to_owned();
    let path = request.target.split('?').next().unwrap_or_default().to_owned();
    let text = request.text();
    let asks = |operation: &str| request.operation() == operation;
    // The second page is asked for by what the first one gave.
    let second = text.contains("more") || request.target.contains("more");
    let query = |operation: &str, first: &str, item: &str, marker: &str| {
        let inner = if second { item.to_owned() } else { format!("{first}{marker}") };
        Response::xml(200, format!("<{operation}Response><{operation}Result>{inner}</{operation}Result></{operation}Response>"))
    };
    Some(match service.as_str() {
        "ec2" if asks("DescribeLaunchTemplateVersions") => {
            let of_version = text.contains("LaunchTemplateId=lt-1");
            let id = if of_version { group(Place::LaunchTemplateVersion) } else { group(Place::LaunchTemplate) };
            let data = if of_version {
                format!("<networkInterfaceSet><item><groupSet><groupId>{id}</groupId></groupSet></item></networkInterfaceSet>")
            } else {
                format!("<securityGroupIdSet><item>{id}</item></securityGroupIdSet>")
            };
            let item = format!("<item><launchTemplateId>lt-1</launchTemplateId><launchTemplateData>{data}</launchTemplateData></item>");
            let (items, token) = if of_version || second { (item, "") } else { (String::new(), "<nextToken>more</nextToken>") };
            Response::xml(
                200,
                format!(
                    "<DescribeLaunchTemplateVersionsResponse><launchTemplateVersionSet>{items}</launchTemplateVersionSet>{token}</DescribeLaunchTemplateVersionsResponse>"
                ),
            )
        }
        "ec2" => return None,
        "autoscaling" if asks("DescribeLaunchConfigurations") => query(
            "DescribeLaunchConfigurations",
            "<LaunchConfigurations><member><LaunchConfigurationName>a</LaunchConfigurationName><SecurityGroups/></member></LaunchConfigurations>",
            &format!(
                "<LaunchConfigurations><member><LaunchConfigurationName>b</LaunchConfigurationName><SecurityGroups><member>{}</member></SecurityGroups></member></LaunchConfigurations>",
                group(Place::LaunchConfiguration)
            ),
            "<NextToken>more</NextToken>",
        ),
        "autoscaling" => query(
            "DescribeAutoScalingGroups",
            "<AutoScalingGroups/>",
            "<AutoScalingGroups><member><AutoScalingGroupName>g</AutoScalingGroupName><LaunchTemplate><LaunchTemplateId>lt-1</LaunchTemplateId><Version>3</Version></LaunchTemplate></member></AutoScalingGroups>",
            "<NextToken>more</NextToken>",
        ),
        "rds" if asks("DescribeDBClusters") => query(
            "DescribeDBClusters",
            "<DBClusters><DBCluster/></DBClusters>",
            &format!(
                "<DBClusters><DBCluster><VpcSecurityGroups><VpcSecurityGroupMembership><VpcSecurityGroupId>{}</VpcSecurityGroupId></VpcSecurityGroupMembership></VpcSecurityGroups></DBCluster></DBClusters>",
                group(Place::RdsCluster)
            ),
            "<Marker>more</Marker>",
        ),
        // Neptune signs as RDS does: its SDK is told by its name.
        "rds" => {
            let agent =
                request.header("user-agent").unwrap_or_default().to_owned() + request.header("x-amz-user-agent").unwrap_or_default();
            let place = if agent.contains("neptune") { Place::Neptune } else { Place::Rds };
            let item = format!(
                "<DBInstances><DBInstance><VpcSecurityGroups><VpcSecurityGroupMembership><VpcSecurityGroupId>{}</VpcSecurityGroupId></VpcSecurityGroupMembership></VpcSecurityGroups></DBInstance></DBInstances>",
                group(place)
            );
            query("DescribeDBInstances", "<DBInstances><DBInstance/></DBInstances>", &item, "<Marker>more</Marker>")
        }
        "elasticloadbalancing" if text.contains("Version=2012-06-01") => query(
            "DescribeLoadBalancers",
            "<LoadBalancerDescriptions><member/></LoadBalancerDescriptions>",
            &format!(
                "<LoadBalancerDescriptions><member><SecurityGroups><member>{}</member></SecurityGroups></member></LoadBalancerDescriptions>",
                group(Place::ClassicLoadBalancer)
            ),
            "<NextMarker>more</NextMarker>",
        ),
        "elasticloadbalancing" => query(
            "DescribeLoadBalancers",
            "<LoadBalancers><member/></LoadBalancers>",
            &format!(
                "<LoadBalancers><member><SecurityGroups><member>{}</member></SecurityGroups></member></LoadBalancers>",
                group(Place::LoadBalancer)
            ),
            "<NextMarker>more</NextMarker>",
        ),
        "redshift" => query(
            "DescribeClusters",
            "<Clusters><Cluster/></Clusters>",
            &format!(
                "<Clusters><Cluster><VpcSecurityGroups><VpcSecurityGroup><VpcSecurityGroupId>{}</VpcSecurityGroupId></VpcSecurityGroup></VpcSecurityGroups></Cluster></Clusters>",
                group(Place::Redshift)
            ),
            "<Marker>more</Marker>",
        ),
        // Its groups are objects, with a status.
        "elasticache" => query(
            "DescribeCacheClusters",
            "<CacheClusters><CacheCluster/></CacheClusters>",
            &format!(
                "<CacheClusters><CacheCluster><SecurityGroups><member><SecurityGroupId>{}</SecurityGroupId><Status>active</Status></member></SecurityGroups></CacheCluster></CacheClusters>",
                group(Place::ElastiCache)
            ),
            "<Marker>more</Marker>",
        ),
        "lambda" => match second {
            false => json(r#"{"Functions": [{"FunctionName": "a"}], "NextMarker": "more"}"#.to_owned()),
            true => json(format!(
                r#"{{"Functions": [{{"FunctionName": "b", "VpcConfig": {{"SecurityGroupIds": ["{}"]}}}}]}}"#,
                group(Place::Lambda)
            )),
        },
        "elasticmapreduce" if asks("ListClusters") => match second {
            false => json(r#"{"Clusters": [{"Id": "j-1"}], "Marker": "more"}"#.to_owned()),
            true => json(r#"{"Clusters": [{"Id": "j-2"}]}"#.to_owned()),
        },
        // The first cluster has none of the optional groups.
        "elasticmapreduce" => match text.contains("j-2") {
            false => json(r#"{"Cluster": {"Id": "j-1", "Ec2InstanceAttributes": {}}}"#.to_owned()),
            true => json(format!(
                r#"{{"Cluster": {{"Id": "j-2", "Ec2InstanceAttributes": {{"AdditionalMasterSecurityGroups": ["{}"]}}}}}}"#,
                group(Place::Emr)
            )),
        },
        "ecs" if asks("ListClusters") => json(r#"{"clusterArns": ["arn:aws:ecs:us-east-1:1:cluster/c"]}"#.to_owned()),
        "ecs" if asks("ListServices") => match second {
            false => json(r#"{"serviceArns": ["arn:aws:ecs:us-east-1:1:service/c/a"], "nextToken": "more"}"#.to_owned()),
            true => json(r#"{"serviceArns": ["arn:aws:ecs:us-east-1:1:service/c/b"]}"#.to_owned()),
        },
        // A service that is scaled to zero.
        "ecs" => json(format!(
            r#"{{"services": [{{"serviceName": "a", "launchType": "EC2"}}, {{"serviceName": "b", "desiredCount": 0, "networkConfiguration": {{"awsvpcConfiguration": {{"subnets": ["s"], "securityGroups": ["{}"]}}}}}}]}}"#,
            group(Place::Ecs)
        )),
        "es" if path.ends_with("/domain") => json(r#"{"DomainNames": [{"DomainName": "public"}, {"DomainName": "inside"}]}"#.to_owned()),
        // One has a public endpoint, and no VPC.
        "es" => json(format!(
            r#"{{"DomainStatusList": [{}, {}]}}"#,
            r#"{"DomainId": "1", "DomainName": "public", "ARN": "a", "ClusterConfig": {}}"#,
            format_args!(
                r#"{{"DomainId": "2", "DomainName": "inside", "ARN": "b", "ClusterConfig": {{}}, "VPCOptions": {{"SecurityGroupIds": ["{}"]}}}}"#,
                group(Place::OpenSearch)
            )
        )),
        "kafka" => match second {
            false => json(format!(
                r#"{{"clusterInfoList": [{{"clusterName": "bare", "clusterType": "PROVISIONED", "provisioned": {{"numberOfBrokerNodes": 1}}}}, {{"clusterName": "s", "clusterType": "SERVERLESS", "serverless": {{"vpcConfigs": [{{"subnetIds": ["s"], "securityGroupIds": ["{}"]}}]}}}}], "nextToken": "more"}}"#,
                group(Place::MskServerless)
            )),
            true => json(format!(
                r#"{{"clusterInfoList": [{{"clusterName": "p", "clusterType": "PROVISIONED", "provisioned": {{"numberOfBrokerNodes": 1, "brokerNodeGroupInfo": {{"clientSubnets": ["s"], "instanceType": "t", "securityGroups": ["{}"]}}}}}}]}}"#,
                group(Place::Msk)
            )),
        },
        "codebuild" if asks("ListProjects") => match second {
            false => json(r#"{"projects": ["a"], "nextToken": "more"}"#.to_owned()),
            true => json(r#"{"projects": ["b"]}"#.to_owned()),
        },
        "codebuild" => json(format!(
            r#"{{"projects": [{{"name": "a"}}, {{"name": "b", "vpcConfig": {{"securityGroupIds": ["{}"]}}}}]}}"#,
            group(Place::CodeBuild)
        )),
        "batch" => match second {
            false => json(
                r#"{"computeEnvironments": [{"computeEnvironmentName": "a", "computeEnvironmentArn": "a"}], "nextToken": "more"}"#
                    .to_owned(),
            ),
            true => json(format!(
                r#"{{"computeEnvironments": [{{"computeEnvironmentName": "b", "computeEnvironmentArn": "b", "computeResources": {{"type": "FARGATE", "maxvCpus": 1, "subnets": ["s"], "securityGroupIds": ["{}"]}}}}]}}"#,
                group(Place::Batch)
            )),
        },
        "glue" => match second {
            false => json(r#"{"ConnectionList": [{"Name": "a"}], "NextToken": "more"}"#.to_owned()),
            true => json(format!(
                r#"{{"ConnectionList": [{{"Name": "b", "PhysicalConnectionRequirements": {{"SecurityGroupIdList": ["{}"]}}}}]}}"#,
                group(Place::Glue)
            )),
        },
        // Which account this is nobody says.
        "sts" => Response::error(403, "AccessDenied"),
        other => panic!("{other} is not expected: {} {}", request.target, text),
    })
}

fn json(body: String) -> Response {
    Response { status: 200, headers: vec![("content-type".to_owned(), "application/x-amz-json-1.1".to_owned())], body: body.into_bytes() }
}
