use aaws::{Action, Check, Context, Effect, Example, Items, Listing, Meta, Out, Result, Row, async_trait};
use aws_sdk_ec2::types::{NetworkInterface, NetworkInterfaceStatus};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lookup::{self, DESCRIBE_NETWORK_INTERFACES, Resource};
use super::network::{owned, public_ips};
use super::tags::{self, Wanted};

/// List network interfaces, with filters.
///
/// All filters have to match. The ids are printed as EC2 lists them, or in the order of `network_interface_ids`. Ids that do not exist are reported as
/// failed, and the rest is answered all the same.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverInterfaces {
    /// Only these network interfaces. An empty list is no interface.
    pub network_interface_ids: Option<Items<String>>,
    /// Only interfaces that are attached to nothing.
    #[serde(default)]
    pub detached: bool,
    /// Tags that interfaces have to have, all of them: `Key` with any value, or `Key=Value`; `Key=` is the empty value. An empty list is no interface.
    pub tags: Option<Vec<Wanted>>,
    /// Print of each interface its name, status, addresses, place and attachment, rather than its id alone.
    #[serde(default)]
    pub details: bool,
}

/// What is known of a network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct InterfaceDetails {
    /// Its id.
    pub network_interface_id: String,
    /// The value of its tag `Name`.
    pub name: Option<String>,
    /// `available` when it is attached to nothing, `in-use`, or a state between them.
    pub status: Option<String>,
    /// The instance that it is attached to.
    pub instance_id: Option<String>,
    /// What it is for, as whoever made it says.
    pub description: Option<String>,
    /// Its first private IPv4 address.
    pub private_ip_address: Option<String>,
    /// The public IPv4 address that is associated with it; the first where it has several.
    pub public_ip: Option<String>,
    /// What it is of: `interface`, `efa`, `lambda`, `natGateway`, `vpc_endpoint` and so on.
    pub interface_type: Option<String>,
    /// The VPC that it is in.
    pub vpc_id: Option<String>,
    /// The subnet that it is in.
    pub subnet_id: Option<String>,
    /// The Availability Zone that it is in.
    pub availability_zone: Option<String>,
    /// `attached`, `attaching` or `detaching`.
    pub attachment_status: Option<String>,
    /// The account that it is of: in a VPC that accounts share, those of the others are listed too.
    pub owner_id: Option<String>,
    /// Who made it: an account, a user's id, or a service.
    pub requester_id: Option<String>,
    /// Whether a service made it, and takes it away.
    pub requester_managed: Option<bool>,
    /// The ids of its security groups.
    pub groups: Vec<String>,
}

#[async_trait]
impl Action for DiscoverInterfaces {
    const META: Meta = Meta {
        path: "ec2/discover_interfaces",
        effect: Effect::Read,
        calls: &[DESCRIBE_NETWORK_INTERFACES],
        rules: &[],
        examples: &[
            Example {
                title: "List the network interfaces that are attached to nothing",
                input: r#"{"detached": true}"#,
                output: r#"["eni-0123456789abcdef0"]"#,
                given: &["instance i-0123456789abcdef0", "interface eni-0123456789abcdef0"],
            },
            Example {
                title: "Show the interfaces that are kept for failover",
                input: r#"{"tags": ["Role=failover"], "details": true}"#,
                output: r#"[{"NetworkInterfaceId": "eni-0123456789abcdef0", "Name": "standby", "Status": "available", "InstanceId": null, "Description": null, "PrivateIpAddress": "172.31.16.20", "PublicIp": null, "InterfaceType": "interface", "VpcId": "vpc-0123456789abcdef0", "SubnetId": "subnet-0123456789abcdef0", "AvailabilityZone": "us-east-1a", "AttachmentStatus": null, "OwnerId": "123456789012", "RequesterId": "AIDA0123456789EXAMPLE", "RequesterManaged": false, "Groups": ["sg-0123456789abcdef0"]}]"#,
                given: &["interface eni-0123456789abcdef0 Name=standby Role=failover", "interface eni-0fedcba9876543210"],
            },
        ],
        notes: &[
            "Interfaces of services are listed too, even where the account hides them: `delete_interfaces` skips them. A function or a load balancer that was deleted may \
             leave them detached for an hour.",
            "In a VPC that accounts share, EC2 also shows interfaces of the others: `OwnerId` says whose each is, and `delete_interfaces` skips them.",
            "What makes an interface and attaches it later, container networks say, has it detached for a moment: EC2 does not tell how old an interface is.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["NetworkInterfaceId"];
    const OVERVIEW: &'static [Check] = &[Check {
        title: "Network interfaces that are attached to nothing",
        input: r#"{"detached": true, "details": true}"#,
        since: None,
        mend: Some("ec2 delete_interfaces --network_interface_ids -"),
    }];

    type Output = Listing<Row<InterfaceDetails>>;

    async fn run(self, cx: &Context) -> Result<Self::Output> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverInterfaces);

impl DiscoverInterfaces {
    async fn list(mut self, cx: &Context, mut out: Out<Row<InterfaceDetails>>) -> Result<()> {
        // No tags, from a variable that is empty say, must not be any tags.
        if self.tags.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        if let Some(ids) = self.network_interface_ids.take() {
            for interface in lookup::given::<NetworkInterface>(cx, &ec2, ids).await? {
                if self.matches(&interface) {
                    out.send(self.row(&interface)).await?;
                }
            }
            return Ok(());
        }
        let filters = if self.detached { vec![lookup::filter("status", ["available"])] } else { Vec::new() };
        let mut interfaces = NetworkInterface::list(&ec2, filters);
        while let Some(interface) = interfaces.try_next().await? {
            if self.matches(&interface) {
                out.send(self.row(&interface)).await?;
            }
        }
        Ok(())
    }

    /// Tags are compared here: EC2's filters take wildcards, tags do not.
    fn matches(&self, interface: &NetworkInterface) -> bool {
        (!self.detached || interface.status() == Some(&NetworkInterfaceStatus::Available))
            && self.tags.iter().flatten().all(|t| t.is_in(interface.tag_set()))
    }

    fn row(&self, interface: &NetworkInterface) -> Row<InterfaceDetails> {
        Row::of(self.details, interface.id(), || {
            let attachment = interface.attachment();
            let first = interface.association().and_then(|association| owned(association.public_ip()));
            InterfaceDetails {
                network_interface_id: interface.id().to_owned(),
                name: owned(tags::value(interface.tag_set(), "Name")),
                status: interface.status().map(|status| status.as_str().to_owned()),
                interface_type: interface.interface_type().map(|kind| kind.as_str().to_owned()),
                description: owned(interface.description()),
                private_ip_address: owned(interface.private_ip_address()),
                public_ip: first.or_else(|| public_ips(interface).first().map(|&ip| ip.to_owned())),
                vpc_id: owned(interface.vpc_id()),
                subnet_id: owned(interface.subnet_id()),
                availability_zone: owned(interface.availability_zone()),
                instance_id: attachment.and_then(|a| owned(a.instance_id())),
                attachment_status: attachment.and_then(|a| a.status()).map(|status| status.as_str().to_owned()),
                owner_id: owned(interface.owner_id()),
                requester_id: owned(interface.requester_id()),
                requester_managed: interface.requester_managed(),
                groups: interface.groups().iter().filter_map(|g| owned(g.group_id())).collect(),
            }
        })
    }
}
