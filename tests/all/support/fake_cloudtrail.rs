//! CloudTrail's event history, as strict as AWS's: LookupEvents over JSON 1.1.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::http::{Request, Response, Server};

const KEPT: f64 = 90.0 * 86_400.0;

/// The access key that all events are signed with.
pub const KEY: &str = "AKIAIOSFODNN7EXAMPLE";

/// An event history that is looked up over the network.
pub struct FakeCloudTrail {
    pub server: Server,
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is right").as_secs()
}

/// An event as LookupEvents gives it, with all its parts.
pub fn event(id: &str, time: u64, name: &str, user: &str, resources: &[&str]) -> Value {
    let record = json!({
        "awsRegion": "us-east-1", "sourceIPAddress": "192.0.2.1", "userAgent": "aws-cli/2.15",
        "userIdentity": {"type": "IAMUser", "arn": format!("arn:aws:iam::123456789012:user/{user}"), "accessKeyId": KEY},
        "requestParameters": resources.first().map(|name| json!({"volumeId": name})),
    });
    json!({
        "EventId": id, "EventName": name, "EventTime": time, "EventSource": "ec2.amazonaws.com", "Username": user, "ReadOnly": "false",
        "Resources": resources.iter().map(|name| json!({"ResourceType": "AWS::EC2::Volume", "ResourceName": name})).collect::<Vec<_>>(),
        "AccessKeyId": KEY, "CloudTrailEvent": record.to_string(),
    })
}

/// An error as CloudTrail writes it.
pub fn error(code: &str) -> Response {
    reply(400, &json!({"__type": code, "message": format!("{code} by the test")}))
}

fn reply(status: u16, body: &Value) -> Response {
    let headers = vec![("Content-Type".to_owned(), "application/x-amz-json-1.1".to_owned())];
    Response { status, headers, body: body.to_string().into_bytes() }
}

impl FakeCloudTrail {
    /// These events in pages of at most 50.
    pub fn new(events: Vec<Value>) -> Self {
        Self::paged(events, 50, BTreeMap::new())
    }

    /// These events in pages of at most `page`; some requests, counted from 1, are answered with an error code.
    pub fn paged(events: Vec<Value>, page: usize, errors: BTreeMap<usize, &'static str>) -> Self {
        Self::spoiled(events, page, move |n| errors.get(&n).map(|code| error(code)))
    }

    /// The same, each answer after some time.
    pub fn slow(events: Vec<Value>, page: usize, latency: Duration) -> Self {
        Self::spoiled(events, page, move |_| {
            thread::sleep(latency);
            None
        })
    }

    /// The same; `spoil` may answer in place of the history, by the number of the request, counted from 1.
    pub fn spoiled(mut events: Vec<Value>, page: usize, spoil: impl Fn(usize) -> Option<Response> + Send + Sync + 'static) -> Self {
        // Newest first; the order of those of one time is nobody's business, but the same each time.
        events.sort_by_key(|event| std::cmp::Reverse(event["EventTime"].as_u64()));
        let server = Server::start(move |operation, n, request| match operation {
            "LookupEvents" => spoil(n).unwrap_or_else(|| lookup(&events, page, &request).unwrap_or_else(error)),
            _ => error("UnknownOperationException"),
        });
        Self { server }
    }

    /// The bodies of the requests, in the order they came.
    pub fn lookups(&self) -> Vec<Value> {
        let requests = self.server.requests("LookupEvents");
        requests.iter().map(|request| serde_json::from_slice(&request.body).expect("the body is JSON")).collect()
    }

    /// The values looked up, in the order they came.
    pub fn values(&self) -> Vec<String> {
        let value = |body: &Value| body["LookupAttributes"][0]["AttributeValue"].as_str().expect("a value").to_owned();
        self.lookups().iter().map(value).collect()
    }
}

/// One page, or the error that AWS has for such a request.
fn lookup(events: &[Value], page: usize, request: &Request) -> Result<Response, &'static str> {
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| "SerializationException")?;
    let attributes = body["LookupAttributes"].as_array().ok_or("InvalidLookupAttributesException")?;
    let [attribute] = attributes.as_slice() else { return Err("InvalidLookupAttributesException") };
    let value = attribute["AttributeValue"].as_str().filter(|v| !v.is_empty()).ok_or("InvalidLookupAttributesException")?;
    let most = body["MaxResults"].as_u64().unwrap_or(50);
    if !(1..=50).contains(&most) {
        return Err("InvalidMaxResultsException");
    }
    let (start, end) = (body["StartTime"].as_f64(), body["EndTime"].as_f64());
    let oldest = now() as f64 - KEPT;
    if start.is_some_and(|start| start < oldest || end.is_some_and(|end| start > end)) {
        return Err("InvalidTimeRangeException");
    }
    let names = |event: &Value| -> Vec<String> {
        let names = event["Resources"].as_array().into_iter().flatten();
        names.filter_map(|r| r["ResourceName"].as_str()).map(str::to_owned).collect()
    };
    let found = events.iter().filter(|event| {
        let time = event["EventTime"].as_f64().expect("a time");
        let is = match attribute["AttributeKey"].as_str() {
            Some("EventName") => event["EventName"] == value,
            Some("Username") => event["Username"] == value,
            Some("AccessKeyId") => event["AccessKeyId"] == value,
            Some("ResourceName") => names(event).iter().any(|name| name == value),
            _ => false,
        };
        // Both ends are included.
        is && time >= start.unwrap_or(oldest) && end.is_none_or(|end| time <= end)
    });
    // A token holds where the page begins and what was asked for.
    let mut asked = body.clone();
    let token = asked.as_object_mut().and_then(|body| body.remove("NextToken"));
    let asked = asked.to_string();
    let begin = match token.as_ref().and_then(Value::as_str) {
        None => 0,
        Some(token) => {
            let (begin, same) = token.split_once(' ').ok_or("InvalidNextTokenException")?;
            if same != asked {
                return Err("InvalidNextTokenException");
            }
            begin.parse().map_err(|_| "InvalidNextTokenException")?
        }
    };
    let size = page.min(usize::try_from(most).unwrap_or(page));
    let rest: Vec<&Value> = found.skip(begin).collect();
    let mut answer = json!({"Events": rest.iter().take(size).collect::<Vec<_>>()});
    if rest.len() > size {
        answer["NextToken"] = format!("{} {asked}", begin + size).into();
    }
    Ok(reply(200, &answer))
}
