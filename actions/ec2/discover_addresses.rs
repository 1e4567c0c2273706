use aaws::{Action, Check, Context, Effect, Example, Items, Listing, Meta, Out, Result, Row, async_trait};
use aws_sdk_ec2::types::Address;
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lookup::{self, DESCRIBE_ADDRESSES, Resource};
use super::network::{associated_with, owned};
use super::tags::{self, Wanted};

/// List Elastic IP addresses, with filters.
///
/// All filters have to match. The allocation ids are printed as EC2 lists them, or in the order of `allocation_ids`. Ids that do not exist are reported
/// as failed, and the rest is answered all the same.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverAddresses {
    /// Only these addresses, by their allocation ids. An empty list is no address.
    pub allocation_ids: Option<Items<String>>,
    /// Only addresses that are associated with nothing.
    #[serde(default)]
    pub unassociated: bool,
    /// Tags that addresses have to have, all of them: `Key` with any value, or `Key=Value`; `Key=` is the empty value. An empty list is no address.
    pub tags: Option<Vec<Wanted>>,
    /// Print of each address the address itself, its name and what it is associated with, rather than its id alone.
    #[serde(default)]
    pub details: bool,
}

/// What is known of an Elastic IP address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct AddressDetails {
    /// Its allocation id.
    pub allocation_id: String,
    /// The public IPv4 address.
    pub public_ip: Option<String>,
    /// The value of its tag `Name`.
    pub name: Option<String>,
    /// The instance that it is associated with.
    pub instance_id: Option<String>,
    /// The network interface that it is associated with.
    pub network_interface_id: Option<String>,
    /// The id of the association.
    pub association_id: Option<String>,
    /// The private address that it stands for.
    pub private_ip_address: Option<String>,
    /// `vpc`.
    pub domain: Option<String>,
    /// The service that manages it: `alb`, `nlb`, `rds` or `rnat`.
    pub service_managed: Option<String>,
    /// The pool that it is of: `amazon`, or the id of a pool of one's own.
    pub public_ipv4_pool: Option<String>,
}

#[async_trait]
impl Action for DiscoverAddresses {
    const META: Meta = Meta {
        path: "ec2/discover_addresses",
        effect: Effect::Read,
        calls: &[DESCRIBE_ADDRESSES],
        rules: &[],
        examples: &[
            Example {
                title: "List the addresses that are associated with nothing",
                input: r#"{"unassociated": true}"#,
                output: r#"["eipalloc-0123456789abcdef0"]"#,
                given: &[
                    "instance i-0123456789abcdef0",
                    "address eipalloc-0fedcba9876543210 on i-0123456789abcdef0",
                    "address eipalloc-0123456789abcdef0",
                ],
            },
            Example {
                title: "Show an address of the payments team",
                input: r#"{"tags": ["Team=payments"], "details": true}"#,
                output: r#"[{"AllocationId": "eipalloc-0123456789abcdef0", "PublicIp": "203.0.113.25", "Name": "gateway", "InstanceId": null, "NetworkInterfaceId": null, "AssociationId": null, "PrivateIpAddress": null, "Domain": "vpc", "ServiceManaged": null, "PublicIpv4Pool": "amazon"}]"#,
                given: &["address eipalloc-0123456789abcdef0 Name=gateway Team=payments", "address eipalloc-0fedcba9876543210"],
            },
        ],
        notes: &[
            "An address is billed whether or not it is associated. One that is associated with an instance that is stopped, or with a detached network interface, is \
             not listed by `unassociated`.",
            "Addresses that EC2 lends to instances are none of the account's, and are not listed: `discover_instances --public` finds the instances.",
            "Addresses that a service manages are listed too: `release_addresses` skips them.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["AllocationId"];
    const OVERVIEW: &'static [Check] = &[Check {
        title: "Elastic IP addresses that are associated with nothing",
        input: r#"{"unassociated": true, "details": true}"#,
        since: None,
        mend: Some("ec2 release_addresses --allocation_ids -"),
    }];

    type Output = Listing<Row<AddressDetails>>;

    async fn run(self, cx: &Context) -> Result<Self::Output> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverAddresses);

impl DiscoverAddresses {
    async fn list(mut self, cx: &Context, mut out: Out<Row<AddressDetails>>) -> Result<()> {
        // No tags, from a variable that is empty say, must not be any tags.
        if self.tags.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        if let Some(ids) = self.allocation_ids.take() {
            for address in lookup::given::<Address>(cx, &ec2, ids).await? {
                if self.matches(&address) {
                    out.send(self.row(&address)).await?;
                }
            }
            return Ok(());
        }
        let mut addresses = Address::list(&ec2, Vec::new());
        while let Some(address) = addresses.try_next().await? {
            if self.matches(&address) {
                out.send(self.row(&address)).await?;
            }
        }
        Ok(())
    }

    /// EC2 has no filter for what is not there, and all addresses come in one answer anyway.
    fn matches(&self, address: &Address) -> bool {
        (!self.unassociated || associated_with(address).is_none()) && self.tags.iter().flatten().all(|t| t.is_in(address.tags()))
    }

    fn row(&self, address: &Address) -> Row<AddressDetails> {
        Row::of(self.details, address.id(), || AddressDetails {
            allocation_id: address.id().to_owned(),
            public_ip: owned(address.public_ip()),
            name: owned(tags::value(address.tags(), "Name")),
            instance_id: owned(address.instance_id()),
            network_interface_id: owned(address.network_interface_id()),
            association_id: owned(address.association_id()),
            private_ip_address: owned(address.private_ip_address()),
            domain: address.domain().map(|domain| domain.as_str().to_owned()),
            service_managed: address.service_managed().map(|service| service.as_str().to_owned()),
            public_ipv4_pool: owned(address.public_ipv4_pool()),
        })
    }
}
