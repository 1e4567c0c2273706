use aaws::{
    AccountId, Action, Call, ChangeOne, Context, Effect, ErrorContext, Example, Grant, Items, LeftItems, Meta, Outcome, Result, Reversible,
    async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{NetworkInterface, NetworkInterfaceStatus};
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::lookup::{self, DESCRIBE_NETWORK_INTERFACES, Lookup};
use super::network::{attached_to, public_ips, service, told};
use super::{ids, states, tags};

/// Delete detached network interfaces.
///
/// Only interfaces that are `available` are deleted: those that are attached are skipped with a reason, and never detached; so are those that a service
/// made for itself, and those of other accounts that share a VPC with this one. The ids of the interfaces that are still there, because they failed or
/// were skipped, are printed in the order given; the log and the report say why.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteInterfaces {
    /// Network interfaces to delete. An empty list deletes nothing.
    pub network_interface_ids: Items<String>,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

const INTERFACES: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:network-interface/${network_interface_ids}"];

#[async_trait]
impl Action for DeleteInterfaces {
    const META: Meta = Meta {
        path: "ec2/delete_interfaces",
        effect: Effect::Delete,
        calls: &[
            DESCRIBE_NETWORK_INTERFACES,
            Call::write("ec2:DeleteNetworkInterface", &[Grant::new("ec2:DeleteNetworkInterface", INTERFACES)]),
        ],
        rules: &[],
        examples: &[
            Example {
                title: "Delete a network interface",
                input: r#"{"network_interface_ids": ["eni-0123456789abcdef0"]}"#,
                output: "[]",
                given: &["interface eni-0123456789abcdef0"],
            },
            Example {
                title: "Delete a network interface; it is no matter if it is gone already",
                input: r#"{"network_interface_ids": ["eni-00000000000000000"], "ignore_not_found": true}"#,
                output: "[]",
                given: &["interface eni-0123456789abcdef0"],
            },
        ],
        notes: &[
            "An interface has its private addresses and its MAC address to itself: one that is kept for failover, or for a licence that is bound to it, is detached \
             on purpose. A dry run tells its description.",
            "An Elastic IP address that is associated with an interface stays with the account, associated with nothing, and is billed: `release_addresses` releases it.",
            "What makes an interface and attaches it later has it detached for a moment. EC2 itself refuses to delete one that was attached since it was looked at.",
        ],
    };

    const BINDS: &'static [&'static str] = states::INTERFACE;
    const REVERSIBLE: Reversible =
        Reversible::No("An interface that was deleted does not come back: another one has another id and another MAC address.");

    type Output = LeftItems;

    async fn run(self, cx: &Context) -> Result<LeftItems> {
        let ids = ids::checked("network_interface_ids", "eni-", self.network_interface_ids).await?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<NetworkInterface>(cx, &ec2, ids.into()).await?;
        let is_there = lookup.iter().any(|interface| interface.result.found().is_some());
        let account = if is_there { cx.account().await.cloned() } else { None };
        let delete = DeleteAvailable { ec2, account, ignore_not_found: self.ignore_not_found };
        Ok(cx.change_each(stream::iter(lookup.into_iter().map(Ok)), delete).await?.left())
    }
}

aaws::register!(DeleteInterfaces);

struct DeleteAvailable {
    ec2: Client,
    /// Whose interfaces can be deleted; where nobody says which account this is, EC2 does.
    account: Option<AccountId>,
    ignore_not_found: bool,
}

#[async_trait]
impl ChangeOne for DeleteAvailable {
    type Item = Lookup<NetworkInterface>;
    type Done = ();

    fn id(&self, interface: &Lookup<NetworkInterface>) -> String {
        interface.id.clone()
    }

    fn summary(&self) -> String {
        "delete for good".into()
    }

    fn plan(&self, interface: &Lookup<NetworkInterface>) -> Option<String> {
        interface.result.found().map(|interface| {
            let what = told(interface.description()).map(|what| format!(" ({what})")).unwrap_or_default();
            match public_ips(interface).join(", ") {
                ips if ips.is_empty() => format!("it would be deleted{what}"),
                ips => format!("it would be deleted{what}, and {ips} would be associated with nothing"),
            }
        })
    }

    fn tags(&self, interface: &Lookup<NetworkInterface>) -> Option<Vec<(String, String)>> {
        interface.result.found().map(|interface| tags::pairs(interface.tag_set()))
    }

    fn precheck(&self, lookup: &Lookup<NetworkInterface>) -> Option<Outcome> {
        let Some(interface) = lookup.result.found() else { return lookup.result.unknown(self.ignore_not_found) };
        if let (Some(owner), Some(account)) = (told(interface.owner_id()), &self.account)
            && owner != account.as_str()
        {
            // "VPC owners cannot modify or delete resources created by participants", nor these those of owners (VPC user guide, "Share your VPC subnets").
            let why = format!("it is of the account {owner}, which shares a VPC with this one, and can be deleted by that account only");
            return Some(Outcome::skipped(why));
        }
        if let Some(service) = service(interface) {
            let what = told(interface.description()).map(|what| format!(" ({what})")).unwrap_or_default();
            return Some(Outcome::skipped(format!("it is managed by {service}{what}, which takes it away by itself")));
        }
        let to = attached_to(interface).map(|to| format!(", attached to {to}")).unwrap_or_default();
        match interface.status() {
            Some(NetworkInterfaceStatus::Available) => None,
            Some(NetworkInterfaceStatus::InUse) => Some(Outcome::skipped(format!("it is in use{to}"))),
            status => Some(Outcome::skipped(format!("it is {}{to}", status.map_or("in no known state", NetworkInterfaceStatus::as_str)))),
        }
    }

    fn state(&self, interface: &Lookup<NetworkInterface>) -> Option<Value> {
        interface.result.found().map(states::interface)
    }

    async fn apply(&self, _: &Context, interface: &Lookup<NetworkInterface>) -> Result<Outcome> {
        let id = &interface.id;
        let request = self.ec2.delete_network_interface().network_interface_id(id);
        match request.send().await.context(|| format!("delete the network interface `{id}`")) {
            Ok(_) => Ok(Outcome::done(())),
            Err(e) if e.code() == Some("InvalidNetworkInterfaceID.NotFound") => Ok(Outcome::Unchanged("it does not exist any more".into())),
            Err(e) => Err(e),
        }
    }
}
