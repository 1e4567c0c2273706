use std::collections::HashMap;

use aaws::{Action, Call, Context, Effect, Example, Grant, Items, Listing, Meta, Out, Result, Row, async_trait};
use aws_sdk_ec2::types::{Instance, InstanceStateName};
use aws_sdk_ssm::types::{InstanceInformation, PingStatus};
use futures::TryStreamExt;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::details::InstanceDetails;
use super::listing::listing;
use super::lookup::{self, DESCRIBE_INSTANCES, Resource};

/// The most that one page of DescribeInstanceInformation holds (Systems Manager API reference).
const PAGE: i32 = 50;

/// List running instances that Systems Manager does not reach.
///
/// Only running instances are judged: Systems Manager reaches no others. An instance is listed when its agent never registered, or does not answer
/// now; with `details` it is told which. Ids that do not exist are reported as failed, and the rest is answered all the same.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverNoSsmInstances {
    /// Only these instances. An empty list is no instance; those that do not run are left out.
    pub instance_ids: Option<Items<String>>,
    /// Print of each instance why it is not reached, when it was last, and what EC2 tells of it, rather than its id alone.
    #[serde(default)]
    pub details: bool,
}

/// What is known of an instance that is not reached.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Details {
    /// Id of the instance.
    pub instance_id: String,
    /// Value of its tag `Name`.
    pub name: Option<String>,
    /// Why it is not reached.
    pub status: Status,
    /// When its agent answered last, RFC 3339 in UTC; null when it never registered.
    pub last_ping: Option<String>,
    /// Whole days since it was launched, or started last.
    #[schemars(extend("x-unit" = "days"))]
    pub age_days: Option<i64>,
    /// Its operating system, as it is billed: `Linux/UNIX`, `Windows`.
    pub platform_details: Option<String>,
    /// When that was, RFC 3339 in UTC.
    pub launch_time: Option<String>,
    /// Image that it was launched from.
    pub image_id: Option<String>,
    /// VPC that it is in.
    pub vpc_id: Option<String>,
    /// Subnet that it is in.
    pub subnet_id: Option<String>,
    /// ARN of its instance profile, without which no agent may register.
    pub iam_instance_profile: Option<String>,
}

impl Details {
    fn of(instance: &Instance, now: Timestamp, status: Status, agent: Option<&InstanceInformation>) -> Self {
        let all = InstanceDetails::of(instance, now);
        Details {
            instance_id: all.instance_id,
            name: all.name,
            status,
            last_ping: agent.and_then(last_ping),
            age_days: all.age_days,
            platform_details: all.platform_details,
            launch_time: all.launch_time,
            image_id: all.image_id,
            vpc_id: all.vpc_id,
            subnet_id: all.subnet_id,
            iam_instance_profile: all.iam_instance_profile,
        }
    }
}

/// Why an instance is not reached.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its agent never registered: it is missing, or has no role or no way to the service.
    NeverRegistered,
    /// Its agent did answer, and does not now.
    ConnectionLost,
    /// Its agent is registered, and not in use.
    Inactive,
}

#[async_trait]
impl Action for DiscoverNoSsmInstances {
    const META: Meta = Meta {
        path: "ec2/discover_no_ssm_instances",
        effect: Effect::Read,
        calls: &[
            DESCRIBE_INSTANCES,
            Call::read("ssm:DescribeInstanceInformation", &[Grant::new("ssm:DescribeInstanceInformation", &["*"])]),
        ],
        rules: &[],
        examples: &[Example {
            title: "List the running instances that Systems Manager does not reach",
            input: "{}",
            output: r#"["i-0123456789abcdef0"]"#,
            given: &["instance i-0123456789abcdef0", "instance i-0fedcba9876543210 stopped"],
        }],
        notes: &[
            "Machines that are registered by an activation (`mi-…`) are no instances of EC2, and are not looked at.",
            "An agent that starts, or an instance that was launched a moment ago, needs some minutes until it is registered.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["InstanceId"];

    type Output = Listing<Row<Details>>;

    async fn run(self, cx: &Context) -> Result<Listing<Row<Details>>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverNoSsmInstances);

impl DiscoverNoSsmInstances {
    async fn list(self, cx: &Context, mut out: Out<Row<Details>>) -> Result<()> {
        if self.instance_ids.as_ref().is_some_and(Items::is_empty) {
            return Ok(());
        }
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let ids = self.instance_ids;
        let instances = async {
            match ids {
                Some(ids) => lookup::given::<Instance>(cx, &ec2, ids).await,
                None => Instance::list(&ec2, vec![lookup::filter("instance-state-name", ["running"])]).try_collect().await,
            }
        };
        let (instances, known) = futures::try_join!(instances, registered(cx))?;
        let running = |i: &&Instance| i.state().and_then(|s| s.name()) == Some(&InstanceStateName::Running);
        for instance in instances.iter().filter(running) {
            let agent = known.get(instance.id());
            let status = match agent.map(InstanceInformation::ping_status) {
                None => Status::NeverRegistered,
                Some(Some(PingStatus::Online)) => continue,
                Some(Some(PingStatus::Inactive)) => Status::Inactive,
                Some(_) => Status::ConnectionLost,
            };
            let row = Row::of(self.details, instance.id(), || Details::of(instance, cx.now(), status, agent));
            out.send(row).await?;
        }
        Ok(())
    }
}

/// All instances whose agents ever registered, by their ids.
async fn registered(cx: &Context) -> Result<HashMap<String, InstanceInformation>> {
    let ssm = aaws::client!(cx, aws_sdk_ssm);
    let request = ssm.describe_instance_information().max_results(PAGE);
    let items = listing!(request, "instances that Systems Manager knows", set_next_token, next_token, instance_information_list);
    let all: Vec<InstanceInformation> = items.try_collect().await?;
    Ok(all.into_iter().filter_map(|i| Some((i.instance_id().map(str::to_owned)?, i))).collect())
}

fn last_ping(agent: &InstanceInformation) -> Option<String> {
    let at = agent.last_ping_date_time()?;
    Timestamp::new(at.secs(), 0).ok().map(|t| t.to_string())
}
