use aaws::{Action, Context, Effect, Error, Example, Listing, Meta, Moment, Result, async_trait};
use aws_sdk_cloudtrail::types::LookupAttributeKey;
use schemars::JsonSchema;
use serde::Deserialize;

use super::lookup::{self, EventRow, Lookup, Window};

/// Look up CloudTrail events by the operation's name.
///
/// Every call of the operation in the last 90 days, or in the time given, newest first: who, when, on what, from where, and whether it failed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverEvents {
    /// The operation's name, exactly: `TerminateInstances`.
    pub event: String,
    /// Only events at or after this instant; 90 days ago, as far as the history goes, by default.
    pub created_after: Option<Moment>,
    /// Only events before this instant. It is not included.
    pub created_before: Option<Moment>,
    /// Also print the access key, the issuer of the session and the parameters of the request.
    #[serde(default)]
    pub details: bool,
}

#[async_trait]
impl Action for DiscoverEvents {
    const META: Meta = Meta {
        path: "cloudtrail/discover_events",
        effect: Effect::Read,
        calls: &[lookup::LOOKUP],
        rules: &[],
        examples: &[Example {
            title: "Find out who detached volumes in the last week",
            input: r#"{"event": "DetachVolume", "created_after": "7d"}"#,
            output: r#"[{"UserName": "alice", "EventTime": "2024-01-05T10:00:00Z", "EventName": "DetachVolume", "Resources": ["vol-0123456789abcdef0", "i-0123456789abcdef0"], "ErrorCode": null, "SourceIPAddress": "192.0.2.1", "AwsRegion": "us-east-1", "EventSource": "ec2.amazonaws.com", "ReadOnly": false, "UserAgent": "aws-cli/2.15", "UserArn": "arn:aws:iam::123456789012:user/alice", "ErrorMessage": null, "EventId": "11111111-2222-3333-4444-555555555555"}]"#,
            given: &["DetachVolume by alice on vol-0123456789abcdef0 i-0123456789abcdef0"],
        }],
        notes: &[lookup::HISTORY, lookup::REGIONAL, lookup::PACE, lookup::LATE],
    };
    const IDENTITY: &'static [&'static str] = lookup::IDENTITY;

    type Output = Listing<EventRow>;

    async fn run(self, cx: &Context) -> Result<Listing<EventRow>> {
        if self.event.is_empty() {
            return Err(Error::field("event", "`event` is empty: give the name of an operation, such as TerminateInstances"));
        }
        let window = Window::new(cx.now(), self.created_after, self.created_before)?;
        if lookup::is_global(&self.event) {
            lookup::warn_if_elsewhere(cx, &format!("`{}` is, in most services that have it,", self.event));
        }
        Ok(Lookup { key: LookupAttributeKey::EventName, values: vec![self.event], events: None, window, details: self.details }.run(cx))
    }
}

aaws::register!(DiscoverEvents);
