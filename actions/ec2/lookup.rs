//! Finding what ids stand for, and what filters match.
//!
//! Ids are looked up by filter and not by EC2's id parameters: one id that does not exist, or is malformed, makes EC2 refuse a whole request that
//! names it as an id, but simply matches nothing in a filter.

use std::collections::{HashMap, HashSet};
use std::future::Future;

use aaws::{Call, Code, Context, Error, ErrorContext, Grant, Items, Next, Outcome, Page, Record, Result, Status, paged, paged_ahead};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Address, Filter, Image, Instance, NetworkInterface, SecurityGroup, Snapshot, Volume};
use futures::future::ready;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::early::NextPage;

/// The most values that one filter takes (EC2 user guide, "Filter resources").
pub const MOST_VALUES: usize = 200;

/// Things of one page: what EC2 advises against is asking for all at once.
pub const PAGE: i32 = 500;

pub const DESCRIBE_VOLUMES: Call = Call::read("ec2:DescribeVolumes", &[Grant::new("ec2:DescribeVolumes", &["*"])]);
pub const DESCRIBE_INSTANCES: Call = Call::read("ec2:DescribeInstances", &[Grant::new("ec2:DescribeInstances", &["*"])]);
pub const DESCRIBE_SNAPSHOTS: Call = Call::read("ec2:DescribeSnapshots", &[Grant::new("ec2:DescribeSnapshots", &["*"])]);
pub const DESCRIBE_IMAGES: Call = Call::read("ec2:DescribeImages", &[Grant::new("ec2:DescribeImages", &["*"])]);
pub const DESCRIBE_ADDRESSES: Call = Call::read("ec2:DescribeAddresses", &[Grant::new("ec2:DescribeAddresses", &["*"])]);
pub const DESCRIBE_NETWORK_INTERFACES: Call =
    Call::read("ec2:DescribeNetworkInterfaces", &[Grant::new("ec2:DescribeNetworkInterfaces", &["*"])]);
pub const DESCRIBE_SECURITY_GROUPS: Call = Call::read("ec2:DescribeSecurityGroups", &[Grant::new("ec2:DescribeSecurityGroups", &["*"])]);

/// A filter on one property. An empty list of values must never be sent: callers answer it themselves.
pub fn filter(name: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    let values: Vec<String> = values.into_iter().map(Into::into).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

/// What a thing of EC2 is called, and how it is listed. What AWS services manage in the account is listed too, even if the account hides it: whether it is
/// in use, and whose it is, has to be known.
pub trait Resource: Sized + Send + 'static {
    /// The filter that takes ids of these.
    const FILTER: &'static str;
    /// For sentences: "volumes".
    const NAME: &'static str;
    /// Its id.
    fn id(&self) -> &str;
    /// Those that match all filters, page by page; of images and snapshots only the account's own.
    fn list(ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Self>>;
}

/// No filters at all rather than an empty list of them.
fn some(filters: Vec<Filter>) -> Option<Vec<Filter>> {
    (!filters.is_empty()).then_some(filters)
}

/// A listing as a stream of things, with the next page on its way while one is gone through.
macro_rules! listed {
    ($request:expr, $list:ident) => {{
        let request = $request;
        paged_ahead(format!("the {}", Self::NAME), move |token: Option<String>, early| {
            let request = request.clone().set_next_token(token).customize().interceptor(NextPage(early));
            async move {
                let answer = request.send().await.context(|| format!("list the {}", Self::NAME))?;
                Ok::<_, Error>(Page { next: Next::nonempty(answer.next_token), items: answer.$list.unwrap_or_default() })
            }
        })
    }};
}

impl Resource for Volume {
    const FILTER: &'static str = "volume-id";
    const NAME: &'static str = "volumes";

    fn id(&self) -> &str {
        self.volume_id().unwrap_or_default()
    }

    fn list(ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Self>> {
        listed!(ec2.describe_volumes().include_managed_resources(true).set_filters(some(filters)).max_results(PAGE), volumes).boxed()
    }
}

impl Resource for Instance {
    const FILTER: &'static str = "instance-id";
    const NAME: &'static str = "instances";

    fn id(&self) -> &str {
        self.instance_id().unwrap_or_default()
    }

    fn list(ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Self>> {
        let request = ec2.describe_instances().include_managed_resources(true).set_filters(some(filters)).max_results(PAGE);
        let reservations = listed!(request, reservations);
        reservations.map_ok(|r| stream::iter(r.instances.unwrap_or_default().into_iter().map(Ok))).try_flatten().boxed()
    }
}

/// A thing that accounts share with one another, so that those of others may be listed.
pub trait Shareable: Resource {
    /// Those of an owner (an account, `self`, `amazon`) that match all filters, page by page; of others those that this account may use.
    fn list_of(owner: &str, ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Self>>;
}

impl Resource for Snapshot {
    const FILTER: &'static str = "snapshot-id";
    const NAME: &'static str = "snapshots";

    fn id(&self) -> &str {
        self.snapshot_id().unwrap_or_default()
    }

    fn list(ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Self>> {
        Self::list_of("self", ec2, filters)
    }
}

impl Shareable for Snapshot {
    fn list_of(owner: &str, ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Self>> {
        listed!(ec2.describe_snapshots().owner_ids(owner).set_filters(some(filters)).max_results(PAGE), snapshots).boxed()
    }
}

/// Disabled images too: their snapshots are in use as those of any other.
impl Resource for Image {
    const FILTER: &'static str = "image-id";
    const NAME: &'static str = "images";

    fn id(&self) -> &str {
        self.image_id().unwrap_or_default()
    }

    fn list(ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Self>> {
        Self::list_of("self", ec2, filters)
    }
}

impl Shareable for Image {
    fn list_of(owner: &str, ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Self>> {
        let request = ec2.describe_images().owners(owner).include_disabled(true).set_filters(some(filters)).max_results(PAGE);
        listed!(request, images).boxed()
    }
}

impl Resource for SecurityGroup {
    const FILTER: &'static str = "group-id";
    const NAME: &'static str = "security groups";

    fn id(&self) -> &str {
        self.group_id().unwrap_or_default()
    }

    fn list(ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Self>> {
        listed!(ec2.describe_security_groups().set_filters(some(filters)).max_results(PAGE), security_groups).boxed()
    }
}

/// All in one answer: DescribeAddresses has no pages, neither `MaxResults` nor `NextToken` (EC2 API reference, DescribeAddresses).
impl Resource for Address {
    const FILTER: &'static str = "allocation-id";
    const NAME: &'static str = "Elastic IP addresses";

    fn id(&self) -> &str {
        self.allocation_id().unwrap_or_default()
    }

    fn list(ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Self>> {
        let request = ec2.describe_addresses().set_filters(some(filters));
        let all = paged(format!("the {}", Self::NAME), move |_: Option<String>| {
            let request = request.clone();
            async move {
                let answer = request.send().await.context(|| format!("list the {}", Self::NAME))?;
                Ok::<_, Error>(Page { next: Next::End, items: answer.addresses.unwrap_or_default() })
            }
        });
        all.boxed()
    }
}

impl Resource for NetworkInterface {
    const FILTER: &'static str = "network-interface-id";
    const NAME: &'static str = "network interfaces";

    fn id(&self) -> &str {
        self.network_interface_id().unwrap_or_default()
    }

    fn list(ec2: &Client, filters: Vec<Filter>) -> BoxStream<'static, Result<Self>> {
        let request = ec2.describe_network_interfaces().include_managed_resources(true).set_filters(some(filters)).max_results(PAGE);
        listed!(request, network_interfaces).boxed()
    }
}

/// The thing of an id, or none. Filters take wildcards, ids do not: `vol-*` is no id of a volume.
pub async fn one<T: Resource>(ec2: &Client, id: &str) -> Result<Option<T>> {
    let mut found = Box::pin(T::list(ec2, vec![filter(T::FILTER, [id])]).try_filter(|thing| ready(thing.id() == id)));
    found.try_next().await
}

/// The things of these ids that there are, and that match all `filters`, by id. More than that may come: filters take wildcards, ids do not.
pub async fn by_id<T: Resource>(ec2: &Client, ids: &[String], filters: &[Filter]) -> Result<HashMap<String, T>> {
    with_values(ec2, T::FILTER, ids, filters).map_ok(|thing: T| (thing.id().to_owned(), thing)).try_collect().await
}

/// The things of which a property has one of these values, 200 values a request; nothing for no values. A thing may come twice when the
/// property has several values, and a value with a wildcard (`*`, `?`) stands for many: callers whose values a person gave look at what comes.
pub fn with_values<'a, T: Resource>(
    ec2: &'a Client,
    property: &'a str,
    values: &'a [String],
    filters: &'a [Filter],
) -> impl futures::Stream<Item = Result<T>> + Send + 'a {
    let requests = values.chunks(MOST_VALUES).map(move |some| {
        let filters = filters.iter().cloned().chain([filter(property, some)]).collect();
        T::list(ec2, filters)
    });
    stream::iter(requests.collect::<Vec<_>>()).flatten()
}

/// An id that was given, and what it stands for.
#[derive(Debug)]
pub struct Lookup<T> {
    /// As given.
    pub id: String,
    /// What was found.
    pub result: LookupResult<T>,
}

/// What was found for an id.
#[derive(Debug)]
pub enum LookupResult<T> {
    /// This, the first time that the id was given.
    Found(Box<T>),
    /// Nothing of this kind in this account and region.
    NotFound,
    /// The id was given before.
    Duplicate,
}

impl<T> LookupResult<T> {
    /// The thing, when there is one.
    pub fn found(&self) -> Option<&T> {
        match self {
            LookupResult::Found(thing) => Some(thing),
            LookupResult::NotFound | LookupResult::Duplicate => None,
        }
    }

    /// What becomes of an id that stands for nothing, or was given before; `ignored` is the input `ignore_not_found`.
    pub fn unknown<D>(&self, ignored: bool) -> Option<Outcome<D>>
    where
        T: Resource,
    {
        match self {
            LookupResult::Found(_) => None,
            LookupResult::NotFound => Some(Outcome::not_found(ignored, none_of::<T>())),
            LookupResult::Duplicate => Some(Outcome::Unchanged("duplicate id".into())),
        }
    }
}

/// What is said of an id that stands for nothing.
pub fn none_of<T: Resource>() -> String {
    format!("it is none of the {} of this account in this region", T::NAME)
}

/// Looks up every id that was given, before anything is changed: an error here has changed nothing. They come back in the order given. A run
/// that is to end meanwhile has every id in its report, as for all that it did not come to.
pub async fn look_up<T: Resource>(cx: &Context, ec2: &Client, ids: Items<String>) -> Result<Vec<Lookup<T>>> {
    let ids = named::<T>(ids).await?;
    let things = cancellable(cx, by_id::<T>(ec2, &ids, &[])).await;
    if things.is_err() && cx.cancellation().is_cancelled() {
        let mut seen = HashSet::new();
        for id in ids.iter().filter(|id| seen.insert(id.as_str())) {
            let record = Record::new(id.as_str(), Status::Skipped).with_code(Code::NotStarted);
            cx.record(&record.with_message("not started: the run ended while it was looked up"));
        }
    }
    Ok(in_order(ids, things?))
}

/// The ids that were given. An empty one, of a variable that is not set say, names nothing: it is refused before anything is sent.
pub async fn named<T: Resource>(ids: Items<String>) -> Result<Vec<String>> {
    let ids: Vec<String> = ids.stream().try_collect().await?;
    match ids.iter().position(|id| id.trim().is_empty()) {
        Some(at) => Err(Error::input(format!("the ids of the {}: number {} is empty", T::NAME, at + 1))),
        None => Ok(ids),
    }
}

/// What each of the ids stands for among the things that were found, in the order given.
pub fn in_order<T>(ids: Vec<String>, mut things: HashMap<String, T>) -> Vec<Lookup<T>> {
    let mut seen = HashSet::new();
    let lookup = |id: String| {
        let result = if !seen.insert(id.clone()) {
            LookupResult::Duplicate
        } else {
            things.remove(&id).map_or(LookupResult::NotFound, |thing| LookupResult::Found(Box::new(thing)))
        };
        Lookup { id, result }
    };
    ids.into_iter().map(lookup).collect()
}

/// Looking ends at once when the run is to end.
pub async fn cancellable<T>(cx: &Context, look: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        seen = look => seen,
        () = cx.cancellation().cancelled() => Err(cx.cancellation().error().unwrap_or(Error::Interrupted)),
    }
}

/// For listings: those of the given ids that there are and that match the filters, in the order given, each once; ids that do not exist are
/// reported as failed items. No ids are no things.
pub async fn given<T: Resource>(cx: &Context, ec2: &Client, ids: Items<String>) -> Result<Vec<T>> {
    let mut there = Vec::new();
    for Lookup { id, result } in look_up::<T>(cx, ec2, ids).await? {
        match result {
            LookupResult::Found(thing) => there.push(*thing),
            LookupResult::Duplicate => {}
            LookupResult::NotFound => {
                cx.record(&Record::new(id, Status::Failed).with_code(Code::NotFound).with_message(none_of::<T>()));
            }
        }
    }
    Ok(there)
}
