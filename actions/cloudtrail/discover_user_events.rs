use aaws::{Action, Context, Effect, Error, Example, Listing, Meta, Moment, Result, Rule, async_trait};
use aws_sdk_cloudtrail::types::LookupAttributeKey;
use schemars::JsonSchema;
use serde::Deserialize;

use super::lookup::{self, EventRow, Lookup, Window};

/// Look up the CloudTrail events of one user, or of one access key.
///
/// What was done in the last 90 days, or in the time given, newest first. For the session of a role the user is the session's name. An access key
/// may be one of a user (`AKIA…`) or the temporary one of a session (`ASIA…`): what a leaked key was used for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverUserEvents {
    /// The user's name, exactly.
    pub user: Option<String>,
    /// The id of an access key, exactly: `AKIA…`, or `ASIA…` of a session.
    pub access_key_id: Option<String>,
    /// Only these operations. An empty list selects none.
    pub events: Option<Vec<String>>,
    /// Only events at or after this instant; 90 days ago, as far as the history goes, by default.
    pub created_after: Option<Moment>,
    /// Only events before this instant. It is not included.
    pub created_before: Option<Moment>,
    /// Also print the access key, the issuer of the session and the parameters of the request.
    #[serde(default)]
    pub details: bool,
}

#[async_trait]
impl Action for DiscoverUserEvents {
    const META: Meta = Meta {
        path: "cloudtrail/discover_user_events",
        effect: Effect::Read,
        calls: &[lookup::LOOKUP],
        rules: &[Rule::AtLeastOne(&["user", "access_key_id"]), Rule::AtMostOne(&["user", "access_key_id"])],
        examples: &[
            Example {
                title: "See what `alice` did in the last day",
                input: r#"{"user": "alice", "created_after": "1d"}"#,
                output: r#"[{"UserName": "alice", "EventTime": "2024-01-05T10:00:00Z", "EventName": "DetachVolume", "Resources": ["vol-0123456789abcdef0", "i-0123456789abcdef0"], "ErrorCode": null, "SourceIPAddress": "192.0.2.1", "AwsRegion": "us-east-1", "EventSource": "ec2.amazonaws.com", "ReadOnly": false, "UserAgent": "aws-cli/2.15", "UserArn": "arn:aws:iam::123456789012:user/alice", "ErrorMessage": null, "EventId": "11111111-2222-3333-4444-555555555555"}]"#,
                given: &["DetachVolume by alice on vol-0123456789abcdef0 i-0123456789abcdef0"],
            },
            Example {
                title: "See which instances `alice` started or stopped",
                input: r#"{"user": "alice", "events": ["StartInstances", "StopInstances"]}"#,
                output: "[]",
                given: &["DetachVolume by alice on vol-0123456789abcdef0 i-0123456789abcdef0"],
            },
            Example {
                title: "See what an access key was used for, with the parameters of each request",
                input: r#"{"access_key_id": "AKIAIOSFODNN7EXAMPLE", "details": true}"#,
                output: r#"[{"UserName": "alice", "EventTime": "2024-01-05T10:00:00Z", "EventName": "DetachVolume", "Resources": ["vol-0123456789abcdef0", "i-0123456789abcdef0"], "ErrorCode": null, "SourceIPAddress": "192.0.2.1", "AwsRegion": "us-east-1", "EventSource": "ec2.amazonaws.com", "ReadOnly": false, "UserAgent": "aws-cli/2.15", "UserArn": "arn:aws:iam::123456789012:user/alice", "ErrorMessage": null, "EventId": "11111111-2222-3333-4444-555555555555", "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SessionIssuer": null, "RequestParameters": {"volumeId": "vol-0123456789abcdef0"}}]"#,
                given: &["DetachVolume by alice on vol-0123456789abcdef0 i-0123456789abcdef0"],
            },
        ],
        notes: &[
            "CloudTrail looks up by one attribute: it selects the user or the key, and `events` is filtered here. What is filtered out still takes its time.",
            "Some events have no user's name; they are found by access key, operation or resource.",
            lookup::HISTORY,
            lookup::REGIONAL,
            lookup::PACE,
            lookup::LATE,
        ],
    };
    const IDENTITY: &'static [&'static str] = lookup::IDENTITY;

    type Output = Listing<EventRow>;

    async fn run(self, cx: &Context) -> Result<Listing<EventRow>> {
        let window = Window::new(cx.now(), self.created_after, self.created_before)?;
        let (key, value) = match (self.user, self.access_key_id) {
            (Some(user), _) if user.is_empty() => {
                return Err(Error::field("user", "`user` is empty: give the name of a user, or of a role's session"));
            }
            (Some(user), _) => (LookupAttributeKey::Username, user),
            (None, Some(id)) if !lookup::is_key_id(&id) => {
                return Err(Error::field("access_key_id", format!("`access_key_id` takes {}", lookup::KEY_ID)));
            }
            (None, Some(id)) => (LookupAttributeKey::AccessKeyId, id),
            (None, None) => return Err(Error::field("user", "give at least one of `user` or `access_key_id`")),
        };
        // One of many users is nearly always rarer than one of the operations that everybody uses.
        let lookup = Lookup { key, values: vec![value], events: self.events, window, details: self.details };
        if lookup.events.as_ref().is_none_or(|events| events.iter().any(|e| lookup::is_global(e))) {
            lookup::warn_if_elsewhere(cx, "what was done in IAM and other global services is");
        }
        Ok(lookup.run(cx))
    }
}

aaws::register!(DiscoverUserEvents);
