use aaws::{Action, Context, Effect, Error, Example, Listing, Meta, Moment, Result, async_trait};
use aws_sdk_cloudtrail::types::LookupAttributeKey;
use schemars::JsonSchema;
use serde::Deserialize;

use super::lookup::{self, EventRow, Lookup, Window};

/// Look up the CloudTrail events that touched one resource.
///
/// What was done to it in the last 90 days, or in the time given, newest first. Events name a resource by id, name or ARN, as the service likes:
/// given an ARN, both the ARN and the id at its end are looked up, and what both find is printed once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverResourceEvents {
    /// The resource's id, name or ARN, exactly.
    pub resource_id: String,
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
impl Action for DiscoverResourceEvents {
    const META: Meta = Meta {
        path: "cloudtrail/discover_resource_events",
        effect: Effect::Read,
        calls: &[lookup::LOOKUP],
        rules: &[],
        examples: &[Example {
            title: "Find out who detached `vol-0123456789abcdef0`",
            input: r#"{"resource_id": "vol-0123456789abcdef0", "events": ["DetachVolume"]}"#,
            output: r#"[{"UserName": "alice", "EventTime": "2024-01-05T10:00:00Z", "EventName": "DetachVolume", "Resources": ["vol-0123456789abcdef0", "i-0123456789abcdef0"], "ErrorCode": null, "SourceIPAddress": "192.0.2.1", "AwsRegion": "us-east-1", "EventSource": "ec2.amazonaws.com", "ReadOnly": false, "UserAgent": "aws-cli/2.15", "UserArn": "arn:aws:iam::123456789012:user/alice", "ErrorMessage": null, "EventId": "11111111-2222-3333-4444-555555555555"}]"#,
            given: &["DetachVolume by alice on vol-0123456789abcdef0 i-0123456789abcdef0"],
        }],
        notes: &[
            "A name that services share, such as one of an IAM role and of a bucket, finds the events of both.",
            "Which of id, name and ARN an event holds differs from service to service: when nothing is found by one, try another.",
            "CloudTrail looks up by one attribute: it selects the resource, and `events` is filtered here. What is filtered out still takes its time.",
            lookup::HISTORY,
            lookup::REGIONAL,
            lookup::PACE,
            lookup::LATE,
        ],
    };
    const IDENTITY: &'static [&'static str] = lookup::IDENTITY;

    type Output = Listing<EventRow>;

    async fn run(self, cx: &Context) -> Result<Listing<EventRow>> {
        if self.resource_id.is_empty() {
            return Err(Error::field("resource_id", "`resource_id` is empty: give the id, name or ARN of a resource"));
        }
        let window = Window::new(cx.now(), self.created_after, self.created_before)?;
        let id = last_part(&self.resource_id).map(str::to_owned);
        let region = self.resource_id.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(2)).map(str::to_owned);
        match region.as_deref() {
            Some("") if is_global(&self.resource_id) => lookup::warn_if_elsewhere(cx, "events of resources without a region are mostly"),
            Some(region) if !region.is_empty() && region != cx.region() => {
                tracing::warn!("the resource is in {region}, and this looks in {}: give --region {region}", cx.region());
            }
            None if self.events.as_ref().is_some_and(|events| events.iter().any(|e| lookup::is_global(e))) => {
                lookup::warn_if_elsewhere(cx, "events of IAM and other global services are");
            }
            _ => {}
        }
        let values = [Some(self.resource_id), id].into_iter().flatten().collect();
        // A resource is nearly always rarer than an operation.
        Ok(Lookup { key: LookupAttributeKey::ResourceName, values, events: self.events, window, details: self.details }.run(cx))
    }
}

aaws::register!(DiscoverResourceEvents);

/// Of an ARN, what follows its last slash or colon.
fn last_part(resource: &str) -> Option<&str> {
    let id = resource.starts_with("arn:").then(|| resource.rsplit(['/', ':']).next()).flatten()?;
    (!id.is_empty() && id != "*").then_some(id)
}

/// ARNs of S3 buckets name no region either, but what is done to them is recorded where they are.
fn is_global(arn: &str) -> bool {
    arn.split(':').nth(2).is_some_and(|service| service != "s3")
}

#[cfg(test)]
mod tests {
    use super::last_part;

    #[test]
    fn the_id_is_the_end_of_an_arn() {
        assert_eq!(last_part("arn:aws:iam::123456789012:role/path/ops"), Some("ops"));
        assert_eq!(last_part("arn:aws:s3:::bucket"), Some("bucket"));
        assert_eq!(last_part("arn:aws:logs:us-east-1:123456789012:log-group:x:*"), None);
        assert_eq!(last_part("vol-1"), None);
        assert_eq!(last_part("a/b"), None);
    }
}
