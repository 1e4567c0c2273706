use aaws::{
    Action, Call, ChangeOne, Code, Context, DoneItems, Effect, Error, Example, Failure, Grant, Items, Meta, OnCancel, Outcome, Result,
    Reversible, async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Instance, InstanceStateName};
use futures::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::coalesce::{self, Describer};
use super::lookup::{self, DESCRIBE_INSTANCES, Lookup};
use super::{ids, power, tags, wait};

mod options;

use options::{DISABLED, ENABLED, Halfway, MetadataStep, OPTIONAL, Options, REQUIRED};

/// How many instances are awaited at once: they share the looks.
const AWAITED: usize = 1000;

/// Require IMDSv2 of instances, or change their other instance metadata options.
///
/// When no option is given, IMDSv2 is required (`http_tokens` as `required`); otherwise only what is given is changed. An instance that is so already is
/// unchanged. Each change is awaited until the instance answers by it, also one that was under way before.
///
/// What still asks for metadata, or for the credentials of the instance's role, without a token is refused from then on. Before that the CloudWatch metric
/// `MetadataNoToken` of an instance says how often it is asked so: it should be zero for some days.
///
/// The ids of the instances that were changed are printed in the order given.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModifyMetadataOptions {
    /// Instances to change. An empty list changes nothing.
    pub instance_ids: Items<String>,
    /// Whether requests for metadata need a token. `required` when no option is given at all.
    pub http_tokens: Option<HttpTokens>,
    /// How many network hops the answer to a request for a token may take, from 1 to 64. What runs in a container needs 2, as a rule.
    pub http_put_response_hop_limit: Option<u32>,
    /// Whether instance metadata can be asked for at all.
    pub http_endpoint: Option<Switch>,
    /// Whether the instance's tags are among its metadata.
    pub instance_metadata_tags: Option<Switch>,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

/// Whether requests for metadata need a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HttpTokens {
    /// They do: only IMDSv2 is served.
    Required,
    /// They do not: IMDSv1 is served, too.
    Optional,
}

/// Whether something is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// It is on.
    Enabled,
    /// It is off.
    Disabled,
}

impl HttpTokens {
    fn word(self) -> String {
        match self {
            HttpTokens::Required => REQUIRED.into(),
            HttpTokens::Optional => OPTIONAL.into(),
        }
    }
}

impl Switch {
    fn word(self) -> String {
        match self {
            Switch::Enabled => ENABLED.into(),
            Switch::Disabled => DISABLED.into(),
        }
    }
}

/// What a hop limit can be (EC2 API reference, ModifyInstanceMetadataOptions, `HttpPutResponseHopLimit`).
const HOPS: std::ops::RangeInclusive<u32> = 1..=64;

const INSTANCES: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:instance/${instance_ids}"];

#[async_trait]
impl Action for ModifyMetadataOptions {
    const META: Meta = Meta {
        path: "ec2/modify_metadata_options",
        effect: Effect::Disrupt,
        calls: &[
            DESCRIBE_INSTANCES,
            Call::write("ec2:ModifyInstanceMetadataOptions", &[Grant::new("ec2:ModifyInstanceMetadataOptions", INSTANCES)]),
        ],
        rules: &[],
        examples: &[
            Example {
                title: "Require IMDSv2 of an instance",
                input: r#"{"instance_ids": ["i-0123456789abcdef0"]}"#,
                output: r#"["i-0123456789abcdef0"]"#,
                given: &["instance i-0123456789abcdef0"],
            },
            Example {
                title: "Require IMDSv2 of two instances, and let their containers get tokens",
                input: r#"{"instance_ids": ["i-0123456789abcdef0", "i-0fedcba9876543210"], "http_tokens": "required", "http_put_response_hop_limit": 2}"#,
                output: r#"["i-0123456789abcdef0", "i-0fedcba9876543210"]"#,
                given: &["instance i-0123456789abcdef0", "instance i-0fedcba9876543210 stopped"],
            },
        ],
        notes: &[
            "On a terminal it asks when something is taken from an instance: a token is required, the hop limit is lowered, or the endpoint or its tags are switched \
             off. What only allows more asks nobody.",
            "With a hop limit of 1 the answer with a token does not reach a container that has a network of its own: software in it that used IMDSv1 before finds no \
             credentials once a token is required. Raise the hop limit to 2 in the same run; the plan names the instances that have 1.",
            "Old SDKs and agents know no IMDSv2, and find no credentials when a token is required.",
            "An instance of an Auto Scaling group is replaced by one with the options of its launch template: change those, too.",
            "An instance has to run, or be stopped. It is not restarted, and the change is in effect within seconds.",
            "Where the account enforces IMDSv2 for its instances, EC2 may refuse `optional`, to `aaws undo` too.",
        ],
    };

    const BINDS: &'static [&'static str] = &["its metadata options"];
    const REVERSIBLE: Reversible = Reversible::Yes("`aaws undo` gives the instances the metadata options that they had.");

    type Output = DoneItems<String>;

    async fn run(self, cx: &Context) -> Result<DoneItems<String>> {
        let wanted = self.wanted()?;
        let ids = ids::checked("instance_ids", "i-", self.instance_ids).await?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<Instance>(cx, &ec2, ids.into()).await?;
        let items: Vec<Item> = lookup.into_iter().map(|lookup| Item::of(lookup, &wanted, self.ignore_not_found)).collect();
        let looks = coalesce::describer(&ec2);
        let awaited: Vec<_> = items.into_iter().map(|item| item.in_effect(cx, &looks, &wanted)).collect();
        let items: Vec<Item> = stream::iter(awaited).buffered(AWAITED).collect().await;
        let disrupts = items.iter().filter_map(|item| item.step.as_ref()).any(MetadataStep::takes_away);
        let modify = Modify { looks, ec2, disrupts, wanted, ignore_not_found: self.ignore_not_found };
        Ok(cx.change_each(stream::iter(items.into_iter().map(Ok)), modify).await?.done())
    }
}

aaws::register!(ModifyMetadataOptions, undo = MetadataStep);

impl ModifyMetadataOptions {
    /// What is asked for, of all instances alike.
    fn wanted(&self) -> Result<Options> {
        if let Some(hops) = self.http_put_response_hop_limit.filter(|hops| !HOPS.contains(hops)) {
            let field = "http_put_response_hop_limit";
            return Err(Error::field(
                field,
                format!("`{field}`: {hops} is no hop limit: give one from {} to {}", HOPS.start(), HOPS.end()),
            ));
        }
        let wanted = Options {
            tokens: self.http_tokens.map(HttpTokens::word),
            hop_limit: self.http_put_response_hop_limit.and_then(|hops| i32::try_from(hops).ok()),
            endpoint: self.http_endpoint.map(Switch::word),
            tags: self.instance_metadata_tags.map(Switch::word),
        };
        Ok(if wanted == Options::default() { Options { tokens: Some(REQUIRED.into()), ..wanted } } else { wanted })
    }
}

struct Item {
    lookup: Lookup<Instance>,
    /// What is to be changed, and what it was; none of an instance that is not changed.
    step: Option<MetadataStep>,
    precheck: Option<Outcome<String>>,
}

impl Item {
    fn of(lookup: Lookup<Instance>, wanted: &Options, ignore_not_found: bool) -> Self {
        let (step, precheck) = match lookup.result.found() {
            None => (None, lookup.result.unknown(ignore_not_found)),
            Some(instance) => match step(instance, wanted) {
                Ok(step) => (Some(step), None),
                Err(precheck) => (None, Some(precheck)),
            },
        };
        Item { lookup, step, precheck }
    }

    /// Awaits that the instance answers by options that somebody set a moment ago, where nothing else is to be changed of it.
    async fn in_effect(mut self, cx: &Context, looks: &Describer<Instance>, wanted: &Options) -> Self {
        let is_pending = self.lookup.result.found().is_some_and(options::is_pending);
        if !is_pending || !matches!(self.precheck, Some(Outcome::Unchanged(_))) {
            return self;
        }
        if cx.dry_run() {
            self.precheck = Some(Outcome::Unchanged(format!("its metadata options are so already, and not in effect yet: {wanted}")));
        } else if let Err(e) = options::awaited(cx, looks, &self.lookup.id, wanted, OnCancel::Stop).await {
            self.precheck = Some(not_awaited(&e, format!("its metadata options are so already, and are not seen in effect: {e}")));
        }
        self
    }
}

/// What becomes of an instance that does not answer by its options.
fn not_awaited(error: &Error, why: String) -> Outcome<String> {
    Outcome::Failed(Failure { fatal: Failure::from(error).fatal, ..Failure::permanent(Code::NotAwaited, why) })
}

/// What has to be changed of an instance, or what becomes of it without that.
fn step(instance: &Instance, wanted: &Options) -> Result<MetadataStep, Outcome<String>> {
    if let Some(state @ (InstanceStateName::ShuttingDown | InstanceStateName::Terminated)) = power::state_of(instance) {
        return Err(Outcome::Failed(Failure::permanent("IncorrectInstanceState", format!("it is {state}"))));
    }
    match MetadataStep::of(instance, wanted) {
        Some(step) => Ok(step),
        None => Err(Outcome::Unchanged(format!("its metadata options are so already: {wanted}"))),
    }
}

struct Modify {
    ec2: Client,
    looks: Describer<Instance>,
    /// Whether something is taken from any of the instances.
    disrupts: bool,
    wanted: Options,
    ignore_not_found: bool,
}

#[async_trait]
impl ChangeOne for Modify {
    type Item = Item;
    type Done = String;

    fn id(&self, item: &Item) -> String {
        item.lookup.id.clone()
    }

    fn summary(&self) -> String {
        format!("change the metadata options to {}", self.wanted)
    }

    fn disrupts(&self) -> bool {
        self.disrupts
    }

    fn plan(&self, item: &Item) -> Option<String> {
        let step = item.step.as_ref()?;
        let mut parts = vec![format!("its metadata options would become {}", step.now)];
        let hops = self.wanted.hop_limit.or_else(|| Options::of(item.lookup.result.found()?).hop_limit);
        if step.now.tokens.as_deref() == Some(REQUIRED) && hops == Some(1) {
            parts.push("its hop limit is 1: no token reaches a container that has a network of its own".into());
        }
        Some(parts.join("; "))
    }

    fn tags(&self, item: &Item) -> Option<Vec<(String, String)>> {
        item.lookup.result.found().map(|instance| tags::pairs(instance.tags()))
    }

    fn precheck(&self, item: &Item) -> Option<Outcome<String>> {
        item.precheck.clone()
    }

    fn state(&self, item: &Item) -> Option<Value> {
        item.lookup.result.found().map(|instance| Options::of(instance).to_value())
    }

    async fn apply(&self, cx: &Context, item: &Item) -> Result<Outcome<String>> {
        let id = item.lookup.id.as_str();
        let Some(step) = &item.step else {
            return Ok(Outcome::not_found(self.ignore_not_found, lookup::none_of::<Instance>()));
        };
        let noted = cx.note(id, step).await?;
        if let Err(Halfway { done, error }) = options::change(cx, &self.ec2, &self.looks, id, &step.now, OnCancel::Stop).await
            && !self.is_made(&error, id, &step.now).await
        {
            // Whether one was changed whose answer was lost is found out when it is undone.
            if done.is_empty() && !error.is_ambiguous() {
                cx.forget(noted);
            }
            return Ok(Outcome::Failed(Failure::from(&*error).after(done)));
        }
        Ok(match options::awaited(cx, &self.looks, id, &step.now, OnCancel::Stop).await {
            Ok(()) => Outcome::done(id.to_owned()),
            Err(e) => not_awaited(&e, format!("the change to {} was accepted, and is not seen in effect: {e}", step.now)),
        })
    }
}

impl Modify {
    /// Whether the options are so although EC2 answered with an error: the answer may have been lost.
    async fn is_made(&self, error: &Error, id: &str, wanted: &Options) -> bool {
        let is_made = |seen: &Option<Instance>| seen.as_ref().is_some_and(|instance| wanted.is_in(&Options::of(instance)));
        let look = || self.looks.get(id);
        let seen = if error.is_ambiguous() { wait::poll_until_visible(look, is_made).await } else { look().await };
        seen.is_ok_and(|seen| is_made(&seen))
    }
}
