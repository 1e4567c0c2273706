//! Rate limits that AWS documents. They are where the limiter starts, not where it stops: an account with a raised limit gets it.

/// A documented token bucket of one account in one region.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// As the SDK's metadata names it, lowercase and alphanumeric: `ec2`.
    pub service: &'static str,
    /// Which operations have a bucket like this; each has its own.
    pub kind: KindPattern,
    /// The most tokens that the bucket holds.
    pub burst: f64,
    /// Tokens per second that refill it.
    pub rate: f64,
    /// Whether the service promises this rate as the least that it allows. Such a key probes upwards at once instead of trusting the figure.
    pub at_least: bool,
    /// The page that says so.
    #[cfg_attr(not(test), expect(dead_code, reason = "for who reads or checks the table"))]
    pub source: &'static str,
}

/// The operations of a [`Known`] bucket.
#[derive(Debug, Clone, Copy)]
pub enum KindPattern {
    /// These operations.
    Names(&'static [&'static str]),
    /// Operations whose names begin with one of these.
    Prefixes(&'static [&'static str]),
    /// Every operation of the service.
    Any,
}

impl KindPattern {
    fn matches(self, kind: &str) -> bool {
        match self {
            KindPattern::Names(names) => names.contains(&kind),
            KindPattern::Prefixes(prefixes) => prefixes.iter().any(|prefix| kind.starts_with(prefix)),
            KindPattern::Any => true,
        }
    }
}

/// The first entry of the table that matches.
pub(super) fn find(table: &'static [Known], service: &str, kind: &str) -> Option<&'static Known> {
    table.iter().find(|known| known.service == service && known.kind.matches(kind))
}

const EC2: &str = "https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html";
const CLOUDTRAIL: &str = "https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html";
const S3: &str = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html";

const fn ec2(kind: KindPattern, burst: f64, rate: f64) -> Known {
    Known { service: "ec2", kind, burst, rate, at_least: false, source: EC2 }
}

const fn s3(kind: KindPattern, rate: f64) -> Known {
    // The page names no burst: one second's worth.
    Known { service: "s3", kind, burst: rate, rate, at_least: true, source: S3 }
}

/// The documented buckets, the more specific first.
///
/// EC2 also counts the instances that RunInstances, StartInstances (1,000, refilled at 2/s), StopInstances and TerminateInstances (1,000,
/// refilled at 20/s) name; these are the buckets of their requests. Seven Describe operations have a bucket of 50 and 10/s when they are asked
/// for everything with neither filter nor page size, which this program does not do.
pub const KNOWN: &[Known] = &[
    ec2(KindPattern::Names(&["CreateTags", "DeleteTags"]), 100.0, 10.0),
    ec2(
        KindPattern::Names(&[
            "AssignIpv6Addresses",
            "AssignPrivateIpAddresses",
            "AssociateIamInstanceProfile",
            "CreateLaunchTemplateVersion",
            "CreateNetworkInterface",
            "CreateSnapshot",
            "CreateSnapshots",
            "CreateVolume",
            "DeleteNetworkInterface",
            "DeleteSnapshot",
            "DeleteVolume",
            "DeregisterImage",
            "DescribeSpotFleetInstances",
            "DescribeSpotFleetRequestHistory",
            "DisassociateIamInstanceProfile",
            "ModifyImageAttribute",
            "ModifyInstanceMetadataOptions",
            "ModifyLaunchTemplate",
            "ModifyNetworkInterfaceAttribute",
            "ModifySnapshotAttribute",
            "TerminateInstances",
            "UnassignPrivateIpAddresses",
        ]),
        100.0,
        5.0,
    ),
    ec2(KindPattern::Names(&["CopyImage"]), 100.0, 1.0),
    ec2(KindPattern::Names(&["CreateRestoreImageTask", "CreateStoreImageTask"]), 50.0, 0.1),
    ec2(KindPattern::Names(&["DescribeStoreImageTasks"]), 50.0, 0.5),
    ec2(KindPattern::Names(&["DescribeSpotFleetRequests"]), 50.0, 3.0),
    ec2(KindPattern::Names(&["DescribeSecurityGroupReferences", "DescribeStaleSecurityGroups"]), 20.0, 5.0),
    ec2(
        KindPattern::Names(&[
            "DescribeAggregateIdFormat",
            "DescribeIdFormat",
            "DescribeIdentityIdFormat",
            "DescribePrincipalIdFormat",
            "DescribeReservedInstancesOfferings",
        ]),
        10.0,
        10.0,
    ),
    ec2(
        KindPattern::Names(&[
            "AcceptVpcEndpointConnections",
            "AssignPrivateNatGatewayAddress",
            "AssociateNatGatewayAddress",
            "CreateNatGateway",
            "CreateVpcEndpointServiceConfiguration",
            "DeleteNatGateway",
            "DeleteVpcEndpointServiceConfigurations",
            "DisassociateNatGatewayAddress",
            "ModifyVpcEndpointServiceConfiguration",
            "RejectVpcEndpointConnections",
            "UnassignPrivateNatGatewayAddress",
        ]),
        10.0,
        1.0,
    ),
    ec2(KindPattern::Names(&["DisableFastLaunch", "EnableFastLaunch", "RunInstances", "StartInstances"]), 5.0, 2.0),
    ec2(KindPattern::Names(&["CreateVpcEndpoint", "DeleteVpcEndpoints", "ModifyVpcEndpoint"]), 4.0, 0.3),
    ec2(KindPattern::Names(&["ModifyInstanceMetadataDefaults"]), 2.0, 2.0),
    ec2(KindPattern::Names(&["CreateDefaultSubnet", "CreateDefaultVpc", "DescribeInstanceTopology", "DescribeMovingAddresses"]), 1.0, 1.0),
    ec2(
        KindPattern::Names(&[
            "DisableImageBlockPublicAccess",
            "DisableSnapshotBlockPublicAccess",
            "EnableImageBlockPublicAccess",
            "EnableSnapshotBlockPublicAccess",
        ]),
        1.0,
        0.1,
    ),
    ec2(KindPattern::Prefixes(&["Describe", "Get", "List", "Search"]), 100.0, 20.0),
    ec2(KindPattern::Any, 50.0, 5.0),
    // "Limited to two per second, per account, per Region"; no burst is named.
    Known {
        service: "cloudtrail",
        kind: KindPattern::Names(&["LookupEvents"]),
        burst: 2.0,
        rate: 2.0,
        at_least: false,
        source: CLOUDTRAIL,
    },
    // "At least 3,500 PUT/COPY/POST/DELETE or 5,500 GET/HEAD requests per second per partitioned prefix"; a bucket may have many partitions.
    s3(KindPattern::Prefixes(&["Get", "Head", "List"]), 5500.0),
    s3(KindPattern::Any, 3500.0),
];
