use std::collections::HashSet;

use aaws::{Action, Context, Effect, Example, Items, Listing, Meta, Moment, Result, async_trait};
use aws_sdk_cloudtrail::types::LookupAttributeKey;
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Deserialize;

use super::lookup::{self, EventRow, Lookup, Window};

aaws::text_type! {
    /// The id of an access key: `AKIA…` of a user, `ASIA…` of a session.
    pub struct AccessKeyId { "type": "string", "pattern": "^[A-Za-z0-9_]{16,128}$" } |text| {
        if lookup::is_key_id(text) { Ok(()) } else { Err(format!("`{}` is not {}", text.escape_debug(), lookup::KEY_ID)) }
    }
}

/// Look up the CloudTrail events of access keys.
///
/// What the keys were used for in the last 90 days, or in the time given, newest first, all keys together; with `details` each event says by which key.
/// A key may be one of a user (`AKIA…`) or the temporary one of a session (`ASIA…`). What `iam discover_unused_access_keys` and its like print can be
/// given as it is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverAccessKeyEvents {
    /// Ids of the access keys, exactly. An empty list selects none.
    pub access_key_ids: Items<AccessKeyId>,
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
impl Action for DiscoverAccessKeyEvents {
    const META: Meta = Meta {
        path: "cloudtrail/discover_access_key_events",
        effect: Effect::Read,
        calls: &[lookup::LOOKUP],
        rules: &[],
        examples: &[
            Example {
                title: "See which of two keys was used in the last week, and for what",
                input: r#"{"access_key_ids": ["AKIAIOSFODNN7EXAMPLE", "AKIAI44QH8DHBEXAMPLE"], "created_after": "7d", "details": true}"#,
                output: r#"[{"UserName": "alice", "EventTime": "2024-01-05T10:00:00Z", "EventName": "DetachVolume", "Resources": ["vol-0123456789abcdef0", "i-0123456789abcdef0"], "ErrorCode": null, "SourceIPAddress": "192.0.2.1", "AwsRegion": "us-east-1", "EventSource": "ec2.amazonaws.com", "ReadOnly": false, "UserAgent": "aws-cli/2.15", "UserArn": "arn:aws:iam::123456789012:user/alice", "ErrorMessage": null, "EventId": "11111111-2222-3333-4444-555555555555", "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SessionIssuer": null, "RequestParameters": {"volumeId": "vol-0123456789abcdef0"}}]"#,
                given: &["DetachVolume by alice on vol-0123456789abcdef0 i-0123456789abcdef0"],
            },
            Example {
                title: "See whether a leaked key was used to make other keys or users",
                input: r#"{"access_key_ids": ["AKIAIOSFODNN7EXAMPLE"], "events": ["CreateAccessKey", "CreateUser", "CreateLoginProfile"]}"#,
                output: "[]",
                given: &["DetachVolume by alice on vol-0123456789abcdef0 i-0123456789abcdef0"],
            },
        ],
        notes: &[
            "CloudTrail looks up by one attribute: each key is looked up by itself, and `events` is filtered here. What is filtered out still takes its time.",
            "Sessions that were begun with a key have keys of their own: those that `AssumeRole` and its kin gave are in the records of these events.",
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
        let mut seen = HashSet::new();
        let ids = self.access_key_ids.stream().map_ok(String::from);
        let values: Vec<String> = ids.try_filter(|id| std::future::ready(seen.insert(id.clone()))).try_collect().await?;
        if values.is_empty() {
            return Ok(Listing::from_stream(futures::stream::empty()));
        }
        if self.events.as_ref().is_none_or(|events| events.iter().any(|e| lookup::is_global(e))) {
            lookup::warn_if_elsewhere(cx, "what was done in IAM and other global services is");
        }
        Ok(Lookup { key: LookupAttributeKey::AccessKeyId, values, events: self.events, window, details: self.details }.run(cx))
    }
}

aaws::register!(DiscoverAccessKeyEvents);
