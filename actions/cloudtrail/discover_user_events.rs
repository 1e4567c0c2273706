use aaws::{Action, Context, Effect, Error, Example, Listing, Meta, Moment, Result, async_trait};
use aws_sdk_cloudtrail::types::LookupAttributeKey;
use schemars::JsonSchema;
use serde::Deserialize;

use super::lookup::{self, EventRow, Lookup, Window};

/// Look up the CloudTrail events of one user.
///
/// What the user did in the last 90 days, or in the time given, newest first. For the session of a role the user is the session's name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverUserEvents {
    /// The user's name, exactly.
    user: String,
    /// Only these operations. An empty list selects none.
    events: Option<Vec<String>>,
    /// Only events at or after this instant; 90 days ago, as far as the history goes, by default.
    created_after: Option<Moment>,
    /// Only events before this instant. It is not included.
    created_before: Option<Moment>,
}

#[async_trait]
impl Action for DiscoverUserEvents {
    const META: Meta = Meta {
        path: "cloudtrail/discover_user_events",
        effect: Effect::Read,
        calls: &[lookup::LOOKUP],
        rules: &[],
        examples: &[
            Example {
                title: "See what `alice` did in the last day",
                input: r#"{"user": "alice", "created_after": "1d"}"#,
                output: r#"[{"UserName": "alice", "EventTime": "2024-01-05T10:00:00Z", "EventName": "DetachVolume", "Resources": ["vol-0123456789abcdef0", "i-0123456789abcdef0"], "EventId": "11111111-2222-3333-4444-555555555555", "EventSource": "ec2.amazonaws.com", "AwsRegion": "us-east-1", "ReadOnly": false, "UserArn": "arn:aws:iam::123456789012:user/alice", "ErrorCode": null, "ErrorMessage": null, "SourceIPAddress": "192.0.2.1", "UserAgent": "aws-cli/2.15"}]"#,
                given: &["DetachVolume by alice on vol-0123456789abcdef0 i-0123456789abcdef0"],
            },
            Example {
                title: "See which instances `alice` started or stopped",
                input: r#"{"user": "alice", "events": ["StartInstances", "StopInstances"]}"#,
                output: "[]",
                given: &["DetachVolume by alice on vol-0123456789abcdef0 i-0123456789abcdef0"],
            },
        ],
        notes: &[
            "CloudTrail looks up by one attribute: it selects the user, and `events` is filtered here. What is filtered out still takes its time.",
            "Some events have no user's name; they are found by operation or resource.",
            lookup::HISTORY,
            lookup::REGIONAL,
            lookup::PACE,
            lookup::LATE,
        ],
    };

    type Output = Listing<EventRow>;

    async fn run(self, cx: &Context) -> Result<Listing<EventRow>> {
        if self.user.is_empty() {
            return Err(Error::field("user", "`user` is empty: give the name of a user, or of a role's session"));
        }
        let window = Window::new(self.created_after, self.created_before)?;
        // One of many users is nearly always rarer than one of the operations that everybody uses.
        let lookup = Lookup { key: LookupAttributeKey::Username, values: vec![self.user], events: self.events, window };
        if lookup.events.as_ref().is_none_or(|events| events.iter().any(|e| lookup::is_global(e))) {
            lookup::warn_if_elsewhere(cx, "what the user did in IAM and other global services is");
        }
        Ok(lookup.run(cx))
    }
}

aaws::register!(DiscoverUserEvents);
