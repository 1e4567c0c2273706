use aaws::{
    Action, Backoff, Call, ChangeOne, Context, Effect, ErrorContext, Example, Failure, Grant, Items, LeftItems, Meta, Outcome, Result,
    Reversible, async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Address;
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::lookup::{self, DESCRIBE_ADDRESSES, Lookup};
use super::network::{associated_with, ip, own_pool, told};
use super::{ids, once, states, tags, wait};

/// How often a request is sent before an error that may pass is an answer.
const TRIES: u32 = 3;

/// Release Elastic IP addresses.
///
/// Addresses that are associated with an instance or a network interface are skipped with a reason, and never disassociated; so are those that a
/// service manages. The ids of the addresses that the account still has, because they failed or were skipped, are printed in the order given; the log
/// and the report say why. The report also says which address each id was.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseAddresses {
    /// Addresses to release, by their allocation ids. An empty list releases nothing.
    pub allocation_ids: Items<String>,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

const ADDRESSES: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:elastic-ip/${allocation_ids}"];

#[async_trait]
impl Action for ReleaseAddresses {
    const META: Meta = Meta {
        path: "ec2/release_addresses",
        effect: Effect::Delete,
        calls: &[DESCRIBE_ADDRESSES, Call::write("ec2:ReleaseAddress", &[Grant::new("ec2:ReleaseAddress", ADDRESSES)])],
        rules: &[],
        examples: &[
            Example {
                title: "Release an address",
                input: r#"{"allocation_ids": ["eipalloc-0123456789abcdef0"]}"#,
                output: "[]",
                given: &["address eipalloc-0123456789abcdef0"],
            },
            Example {
                title: "Release an address; it is no matter if it was released already",
                input: r#"{"allocation_ids": ["eipalloc-00000000000000000"], "ignore_not_found": true}"#,
                output: "[]",
                given: &["address eipalloc-0123456789abcdef0"],
            },
        ],
        notes: &[
            "Whatever knows the address goes on asking for it: DNS records, allow lists of others, clients. Somebody else may have it a moment later.",
            "An address that was released may be got back while nobody else has it: `aws ec2 allocate-address --address`, with the address that the report tells. It then \
             has another allocation id, and no tags.",
            "An address of a pool of one's own (BYOIP, IPAM, or an Outpost's) goes back to that pool. A dry run says which.",
            "EC2 refuses an address that has a reverse DNS record, which has to be removed first, or that it has locked to the account.",
        ],
    };

    const BINDS: &'static [&'static str] = states::ADDRESS;
    const REVERSIBLE: Reversible = Reversible::No(
        "An address that was released is Amazon's again, and may be somebody else's at once. While it is nobody's it can be allocated anew by its address, under another id.",
    );

    type Output = LeftItems;

    async fn run(self, cx: &Context) -> Result<LeftItems> {
        let ids = ids::checked("allocation_ids", "eipalloc-", self.allocation_ids).await?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<Address>(cx, &ec2, ids.into()).await?;
        let release = Release { ec2, ignore_not_found: self.ignore_not_found };
        Ok(cx.change_each(stream::iter(lookup.into_iter().map(Ok)), release).await?.left())
    }
}

aaws::register!(ReleaseAddresses);

struct Release {
    ec2: Client,
    ignore_not_found: bool,
}

#[async_trait]
impl ChangeOne for Release {
    type Item = Lookup<Address>;
    type Done = ();

    fn id(&self, address: &Lookup<Address>) -> String {
        address.id.clone()
    }

    fn summary(&self) -> String {
        "release for good".into()
    }

    fn plan(&self, address: &Lookup<Address>) -> Option<String> {
        address.result.found().map(|address| match own_pool(address) {
            Some(pool) => format!("{} would be released, to the pool {pool}", ip(address)),
            None => format!("{} would be released, and may be somebody else's at once", ip(address)),
        })
    }

    fn tags(&self, address: &Lookup<Address>) -> Option<Vec<(String, String)>> {
        address.result.found().map(|address| tags::pairs(address.tags()))
    }

    fn precheck(&self, lookup: &Lookup<Address>) -> Option<Outcome> {
        let Some(address) = lookup.result.found() else { return lookup.result.unknown(self.ignore_not_found) };
        if let Some(service) = address.service_managed() {
            let why = format!("{} is managed by a service ({service}), which releases it", ip(address));
            return Some(Outcome::skipped(why));
        }
        associated_with(address).map(|with| Outcome::skipped(format!("{} is in use, associated with {with}", ip(address))))
    }

    fn state(&self, address: &Lookup<Address>) -> Option<Value> {
        address.result.found().map(states::address)
    }

    /// EC2 itself refuses an address that was associated since it was looked at.
    async fn apply(&self, cx: &Context, lookup: &Lookup<Address>) -> Result<Outcome> {
        let Some(address) = lookup.result.found() else { return Ok(Outcome::Unchanged("there is none".into())) };
        let (id, ip) = (lookup.id.as_str(), ip(address));
        // Where an address is of another group than the region's own, of a Local Zone say, EC2 has to be told which.
        let group = told(address.network_border_group()).map(str::to_owned);
        let request = self.ec2.release_address().allocation_id(id).set_network_border_group(group);
        let mut waits = Backoff::poll();
        let (mut tried, mut was_unclear) = (1, false);
        loop {
            // Who asks again by himself learns that there is none, and not that it was he who released it.
            let sent = request.clone().customize().config_override(once::config()).send().await;
            let error = match sent.context(|| format!("release the address `{id}`")) {
                Ok(_) => return Ok(released(ip)),
                Err(e) if e.code() == Some("InvalidAllocationID.NotFound") && was_unclear => return Ok(released(ip)),
                Err(e) if e.code() == Some("InvalidAllocationID.NotFound") => {
                    return Ok(Outcome::Unchanged(format!("it does not exist any more; its address was {ip}")));
                }
                Err(e) => e,
            };
            if error.is_ambiguous() {
                was_unclear = true;
                match wait::poll_until_visible(|| lookup::one::<Address>(&self.ec2, id), Option::is_none).await {
                    Ok(None) => return Ok(released(ip)),
                    Ok(Some(_)) => {}
                    Err(e) => {
                        let note = format!("whether it was released all the same could not be looked at ({e}); its address was {ip}");
                        return Ok(Outcome::Failed(Failure::from(&error).with_note(&note)));
                    }
                }
            }
            let passes = error.is_ambiguous() || error.code().is_some_and(aaws::is_transient);
            if !passes || tried >= TRIES || !waits.wait(cx).await {
                let note = if was_unclear { format!("its address, {ip}, is still there") } else { String::new() };
                return Ok(Outcome::Failed(Failure::from(&error).with_note(&note)));
            }
            tried += 1;
        }
    }
}

/// Who wants it back has to know what it was.
fn released(ip: &str) -> Outcome {
    Outcome::Done((), Some(format!("its address was {ip}")))
}
