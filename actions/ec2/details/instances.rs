use aws_sdk_ec2::types::Instance;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::actions::ec2::lookup::Resource;
use crate::actions::ec2::tags;

/// What EC2 tells of an instance.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceDetails {
    /// Id of the instance.
    pub instance_id: String,
    /// Value of its tag `Name`.
    pub name: Option<String>,
    /// Its state: `running`, `stopped` and so on.
    pub state: Option<String>,
    /// Its type: `t3.micro`.
    pub instance_type: Option<String>,
    /// Whole days since then.
    #[schemars(extend("x-unit" = "days"))]
    pub age_days: Option<i64>,
    /// First private IPv4 address.
    pub private_ip_address: Option<String>,
    /// Public IPv4 address of its first interface.
    pub public_ip_address: Option<String>,
    /// When it was launched, or started last. RFC 3339 in UTC.
    pub launch_time: Option<String>,
    /// Its operating system, as it is billed: `Linux/UNIX`, `Windows`.
    pub platform_details: Option<String>,
    /// Image that it was launched from.
    pub image_id: Option<String>,
    /// VPC that it is in.
    pub vpc_id: Option<String>,
    /// Subnet that it is in.
    pub subnet_id: Option<String>,
    /// Availability zone that it is in.
    pub availability_zone: Option<String>,
    /// Auto Scaling group that launched it and replaces it, by its tag.
    pub auto_scaling_group_name: Option<String>,
    /// `spot`, `scheduled` or `capacity-block`; null for one on demand.
    pub instance_lifecycle: Option<String>,
    /// ARN of its instance profile.
    pub iam_instance_profile: Option<String>,
    /// Name of the key pair that it was launched with.
    pub key_name: Option<String>,
    /// Whether its metadata takes a token: `required` is IMDSv2 only.
    pub http_tokens: Option<String>,
    /// Ids of its security groups.
    pub security_groups: Vec<String>,
    /// Its tags, each as `Key=Value`, in the order of their keys.
    pub tags: Vec<String>,
}

impl InstanceDetails {
    /// Of an instance as EC2 lists it.
    pub fn of(instance: &Instance, now: Timestamp) -> Self {
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        InstanceDetails {
            instance_id: instance.id().to_owned(),
            name: super::name(instance.tags()),
            state: text(instance.state().and_then(|s| s.name()).map(|n| n.as_str())),
            instance_type: text(instance.instance_type().map(|t| t.as_str())),
            platform_details: text(instance.platform_details()),
            private_ip_address: text(instance.private_ip_address()),
            public_ip_address: text(instance.public_ip_address()),
            launch_time: super::text(instance.launch_time()),
            age_days: super::days(instance.launch_time().and_then(super::instant), now),
            image_id: text(instance.image_id()),
            vpc_id: text(instance.vpc_id()),
            subnet_id: text(instance.subnet_id()),
            availability_zone: text(instance.placement().and_then(|p| p.availability_zone())),
            auto_scaling_group_name: text(tags::value(instance.tags(), tags::AUTO_SCALING_GROUP)),
            instance_lifecycle: text(instance.instance_lifecycle().map(|l| l.as_str())),
            iam_instance_profile: text(instance.iam_instance_profile().and_then(|p| p.arn())),
            key_name: text(instance.key_name()),
            http_tokens: text(instance.metadata_options().and_then(|o| o.http_tokens()).map(|t| t.as_str())),
            security_groups: instance.security_groups().iter().filter_map(|g| g.group_id()).map(str::to_owned).collect(),
            tags: super::pairs(instance.tags()),
        }
    }
}
