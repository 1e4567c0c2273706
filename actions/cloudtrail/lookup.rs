//! LookupEvents: paged, in a window of time, merged.

use std::collections::HashSet;

use aaws::partition;
use aaws::{Call, Context, Error, ErrorContext, Grant, Listing, Moment, Next, Out, Page, Result, paged};
use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::primitives::{DateTime, DateTimeFormat};
use aws_sdk_cloudtrail::types::{Event, LookupAttribute, LookupAttributeKey};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The one call of all these actions; it has no resources in IAM.
pub const LOOKUP: Call = Call::read("cloudtrail:LookupEvents", &[Grant::new("cloudtrail:LookupEvents", &["*"])]);

/// What is true of all these actions.
pub const HISTORY: &str =
    "The event history has management events of the last 90 days; data events, such as reads of S3 objects, are not in it.";
/// What is true of all these actions.
pub const REGIONAL: &str = "It is looked up in one region. Events of IAM, CloudFront, Route 53 and other global services are in us-east-1 \
     (cn-north-1 in China, us-gov-west-1 in GovCloud).";
/// What is true of all these actions.
pub const PACE: &str = "CloudTrail answers two requests a second in each account and region, with at most 50 events each: a hundred thousand events take \
     more than a quarter of an hour. They are printed as they come, newest first.";
/// What is true of all these actions.
pub const LATE: &str = "An event may take a quarter of an hour to appear.";

/// An event's row is known again by its id.
pub const IDENTITY: &[&str] = &["EventId"];

/// What an access key is looked up by.
pub const KEY_ID: &str = "the id of an access key, such as AKIAIOSFODNN7EXAMPLE: 16 to 128 letters and digits";

/// How far the event history goes back (CloudTrail user guide).
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Starts this close to the end of the history are not sent, lest AWS's clock has them outside; what comes is filtered here anyway.
const EDGE: SignedDuration = SignedDuration::from_mins(10);

/// The most events that one answer holds (CloudTrail API reference, LookupEvents).
const PAGE: i32 = 50;

/// An event of CloudTrail's event history.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct EventRow {
    /// Who did it: a user's name, or the name of a role's session. Null where CloudTrail has none, as for some AWS services.
    user_name: Option<String>,
    /// When, RFC 3339 in UTC.
    event_time: Option<String>,
    /// The operation: `DetachVolume`.
    event_name: Option<String>,
    /// Names, ids or ARNs of the resources that it names; which of them differs from service to service.
    resources: Vec<String>,
    /// Why it failed; null when it did not.
    error_code: Option<String>,
    /// Where it came from: an address, or the name of an AWS service.
    #[serde(rename = "SourceIPAddress")]
    source_ip_address: Option<String>,
    /// The region that it was sent to.
    aws_region: Option<String>,
    /// The service: `ec2.amazonaws.com`.
    event_source: Option<String>,
    /// Whether it only looked.
    read_only: Option<bool>,
    /// The program that sent it.
    user_agent: Option<String>,
    /// ARN of who did it.
    user_arn: Option<String>,
    /// What was said of the failure.
    error_message: Option<String>,
    /// The event's id.
    event_id: Option<String>,
    #[serde(flatten)]
    details: Option<Details>,
}

/// What is printed of an event only with `details`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Details {
    /// The access key that the request was signed with; only with `details`.
    access_key_id: Option<String>,
    /// ARN of the role, or of the user, that gave the session that the request was sent in; only with `details`.
    session_issuer: Option<String>,
    /// The request's parameters, as the service recorded them; only with `details`.
    request_parameters: Option<Value>,
}

/// What is read of the event as CloudTrail recorded it. None of it is always there.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Recorded {
    aws_region: Option<String>,
    error_code: Option<String>,
    error_message: Option<String>,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: Option<String>,
    user_agent: Option<String>,
    user_identity: Option<Who>,
    request_parameters: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Who {
    arn: Option<String>,
    access_key_id: Option<String>,
    session_context: Option<SessionContext>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SessionContext {
    session_issuer: Option<SessionIssuer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SessionIssuer {
    arn: Option<String>,
}

impl EventRow {
    fn new(event: Event, with_details: bool) -> Self {
        let recorded = event.cloud_trail_event.as_deref().map(serde_json::from_str::<Recorded>);
        let recorded = recorded.and_then(|r| r.inspect_err(|e| tracing::debug!("an event's record cannot be read: {e}")).ok());
        let recorded = recorded.unwrap_or_default();
        let who = recorded.user_identity.unwrap_or_default();
        let resources = event.resources.unwrap_or_default();
        let issuer = who.session_context.and_then(|context| context.session_issuer);
        let details = with_details.then(|| Details {
            access_key_id: event.access_key_id.or(who.access_key_id),
            session_issuer: issuer.and_then(|issuer| issuer.arn),
            request_parameters: recorded.request_parameters,
        });
        EventRow {
            user_name: event.username,
            event_time: event.event_time.and_then(|t| t.fmt(DateTimeFormat::DateTime).ok()),
            event_name: event.event_name,
            resources: resources.into_iter().filter_map(|r| r.resource_name).collect(),
            error_code: recorded.error_code,
            source_ip_address: recorded.source_ip_address,
            aws_region: recorded.aws_region,
            event_source: event.event_source,
            read_only: event.read_only.and_then(|r| r.parse().ok()),
            user_agent: recorded.user_agent,
            user_arn: who.arn,
            error_message: recorded.error_message,
            event_id: event.event_id,
            details,
        }
    }
}

/// A span of time, half open: from `after`, up to and without `before`.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    after: Option<Timestamp>,
    before: Option<Timestamp>,
    /// The start lies where the history does, or before: then the server is sent none.
    whole: bool,
}

impl Window {
    /// Of the inputs `created_after` and `created_before`, as they are `now`. What lies before the history is cut off, with a note.
    pub fn new(now: Timestamp, after: Option<Moment>, before: Option<Moment>) -> Result<Self> {
        let oldest = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        let (after, before) = (after.map(Moment::timestamp), before.map(Moment::timestamp));
        let wrong = |field: &str, what: &str| Err(Error::field(field, format!("`{field}` {what}")));
        if after.is_some_and(|after| after > now) {
            return wrong("created_after", "lies in the future");
        }
        if before.is_some_and(|before| before <= oldest) {
            return wrong("created_before", "lies before CloudTrail's event history, which goes back 90 days");
        }
        if let (Some(after), Some(before)) = (after, before)
            && after >= before
        {
            return wrong("created_before", "must be later than `created_after`");
        }
        if after.is_some_and(|after| after <= oldest) {
            tracing::warn!("CloudTrail's event history goes back 90 days: what happened before {oldest:.0} is not in it");
        }
        let edge = oldest.checked_add(EDGE).unwrap_or(oldest);
        Ok(Window { after, before, whole: after.is_none_or(|after| after <= edge) })
    }

    /// For the server, in whole seconds around what is asked for. Without a start the server takes all that it has.
    fn start(&self) -> Option<DateTime> {
        self.after.filter(|_| !self.whole).map(|after| DateTime::from_secs(after.as_second()))
    }

    fn end(&self) -> Option<DateTime> {
        self.before.map(|before| DateTime::from_secs(before.as_second().saturating_add(1)))
    }

    /// The server's end is included, ours is not.
    fn holds(&self, time: Option<&DateTime>) -> bool {
        let Some(time) = time.map(DateTime::as_nanos) else { return self.after.is_none() && self.before.is_none() };
        self.after.is_none_or(|after| time >= after.as_nanosecond()) && self.before.is_none_or(|before| time < before.as_nanosecond())
    }
}

/// What is looked up. CloudTrail takes one attribute, so everything else is filtered here.
pub struct Lookup {
    /// The attribute.
    pub key: LookupAttributeKey,
    /// Values of it, each looked up by itself; what is found more than once is given once.
    pub values: Vec<String>,
    /// Only these operations.
    pub events: Option<Vec<String>>,
    /// Only then.
    pub window: Window,
    /// Whether all that is known of an event is printed.
    pub details: bool,
}

impl Lookup {
    /// The events, newest first, as they come.
    pub fn run(self, cx: &Context) -> Listing<EventRow> {
        if self.events.as_ref().is_some_and(Vec::is_empty) {
            return Listing::from_stream(stream::empty());
        }
        Listing::produce(cx, |cx, out| self.read(cx, out))
    }

    async fn read(self, cx: Context, mut out: Out<EventRow>) -> Result<()> {
        let client = aaws::client!(&cx, aws_sdk_cloudtrail);
        let found = |value: &String| EventLookup::new(events(client.clone(), self.key.clone(), value.clone(), self.window));
        let mut lookups: Vec<EventLookup> = self.values.iter().map(found).collect();
        let mut twice = Twice::default();
        let mut empty = true;
        loop {
            for found in &mut lookups {
                found.look_ahead().await?;
            }
            // Each lookup is newest first; so is the whole, when the newest of their heads is taken.
            let newest = lookups.iter_mut().filter(|found| found.head.is_some()).max_by_key(|found| found.time());
            let Some(event) = newest.and_then(|found| found.head.take()) else { break };
            let asked = self.events.as_ref().is_none_or(|events| events.iter().any(|e| Some(e.as_str()) == event.event_name()));
            if asked && self.window.holds(event.event_time()) && (lookups.len() == 1 || twice.is_new(&event)) {
                empty = false;
                out.send(EventRow::new(event, self.details)).await?;
            }
        }
        if empty {
            tracing::info!(
                "nothing found in {}: the event history has management events of one region, no data events, and the latest may be missing",
                cx.region()
            );
        }
        Ok(())
    }
}

/// The events of one lookup, newest first. A token is good for the parameters that it was given for: they are the same in every request.
fn events(client: Client, key: LookupAttributeKey, value: String, window: Window) -> BoxStream<'static, Result<Event>> {
    let what = format!("the events with {key} `{value}`");
    let page = move |token: Option<String>| {
        let (client, key, value) = (client.clone(), key.clone(), value.clone());
        async move {
            let attempted = || format!("look up the events with {key} `{value}`");
            let attribute = LookupAttribute::builder().attribute_key(key.clone()).attribute_value(&value).build();
            let attribute = attribute.map_err(|e| Error::Failed(format!("cannot {}: {e}", attempted())))?;
            let request = client.lookup_events().lookup_attributes(attribute).max_results(PAGE).set_next_token(token);
            let request = request.set_start_time(window.start()).set_end_time(window.end());
            let answer = request.send().await.context(attempted)?;
            // A page may be empty and still have another behind it.
            Ok::<_, Error>(Page { items: answer.events.unwrap_or_default(), next: Next::nonempty(answer.next_token) })
        }
    };
    paged(what, page).fuse().boxed()
}

/// One lookup, and the event that is its next.
struct EventLookup {
    events: BoxStream<'static, Result<Event>>,
    head: Option<Event>,
}

impl EventLookup {
    fn new(events: BoxStream<'static, Result<Event>>) -> Self {
        EventLookup { events, head: None }
    }

    async fn look_ahead(&mut self) -> Result<()> {
        if self.head.is_none() {
            self.head = self.events.try_next().await?;
        }
        Ok(())
    }

    fn time(&self) -> Option<i128> {
        self.head.as_ref().and_then(Event::event_time).map(DateTime::as_nanos)
    }
}

/// Knows the events of the last moment again: what two lookups both find has one time, so older ones need not be kept.
#[derive(Default)]
struct Twice {
    time: Option<DateTime>,
    ids: HashSet<String>,
}

impl Twice {
    fn is_new(&mut self, event: &Event) -> bool {
        if self.time.as_ref() != event.event_time() {
            self.time = event.event_time().copied();
            self.ids.clear();
        }
        event.event_id().is_none_or(|id| self.ids.insert(id.to_owned()))
    }
}

/// IAM API reference, data type AccessKey.
pub fn is_key_id(text: &str) -> bool {
    (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The region that has the events of the partition's global services.
pub fn home(region: &str) -> &'static str {
    match partition(region) {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        "aws-iso" => "us-iso-east-1",
        "aws-iso-b" => "us-isob-east-1",
        _ => "us-east-1",
    }
}

/// Warns when what is looked for is elsewhere.
pub fn warn_if_elsewhere(cx: &Context, what: &str) {
    let (region, home) = (cx.region(), home(cx.region()));
    if region != home {
        tracing::warn!("{what} recorded in {home}, and this looks in {region}: give --region {home}");
    }
}

/// Whether an operation is, by its name, one of a global service. Names are shared between services, so this is good for a hint alone.
pub fn is_global(event: &str) -> bool {
    const NOUNS: &[&str] = &[
        // IAM
        "AccessKey",
        "AccessKeys",
        "AccessKeyLastUsed",
        "AccountAlias",
        "AccountAliases",
        "AccountAuthorizationDetails",
        "AccountPasswordPolicy",
        "AccountSummary",
        "CredentialReport",
        "GroupPolicy",
        "InstanceProfile",
        "LoginProfile",
        "MFADevice",
        "OpenIDConnectProvider",
        "PermissionsBoundary",
        "PolicyVersion",
        "DefaultPolicyVersion",
        "Role",
        "RoleFromInstanceProfile",
        "RolePermissionsBoundary",
        "RolePolicy",
        "RoleToInstanceProfile",
        "SAMLProvider",
        "SSHPublicKey",
        "ServerCertificate",
        "ServiceLinkedRole",
        "ServiceSpecificCredential",
        "SigningCertificate",
        "User",
        "UserFromGroup",
        "UserPermissionsBoundary",
        "UserPolicy",
        "UserToGroup",
        "VirtualMFADevice",
        "AssumeRolePolicy",
        // Organizations, Route 53, CloudFront
        "OrganizationalUnit",
        "HostedZone",
        "ResourceRecordSets",
        "Distribution",
    ];
    if event == "ConsoleLogin" {
        return true;
    }
    let noun = event.char_indices().skip(1).find(|(_, c)| c.is_ascii_uppercase()).and_then(|(at, _)| event.get(at..));
    // `AssumeRole` and its kin are recorded where they were asked for.
    !event.starts_with("Assume") && noun.is_some_and(|noun| NOUNS.contains(&noun))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap_or_default()
    }

    #[test]
    fn a_window_is_half_open() {
        let window = Window { after: Some(at("2024-01-01T00:00:00Z")), before: Some(at("2024-01-02T00:00:00Z")), whole: false };
        let holds = |text: &str| window.holds(Some(&DateTime::from_secs(at(text).as_second())));
        assert!(holds("2024-01-01T00:00:00Z") && holds("2024-01-01T23:59:59Z"));
        assert!(!holds("2024-01-02T00:00:00Z") && !holds("2023-12-31T23:59:59Z"));
        assert!(!window.holds(None));
    }

    #[test]
    fn events_of_global_services_are_known_by_their_names() {
        for event in
            ["CreateUser", "DeleteAccessKey", "AttachUserPolicy", "UpdateAssumeRolePolicy", "ConsoleLogin", "ChangeResourceRecordSets"]
        {
            assert!(is_global(event), "{event}");
        }
        for event in ["RunInstances", "AssumeRole", "DeleteBucket", "Create", "user", ""] {
            assert!(!is_global(event), "{event}");
        }
        assert_eq!(home("eu-west-1"), "us-east-1");
        assert_eq!(home("cn-northwest-1"), "cn-north-1");
    }
}
