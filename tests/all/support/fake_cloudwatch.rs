//! CloudWatch's figures of buckets, as strict as AWS's: GetMetricData over Smithy's RPC v2.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::cbor;
use super::http::{Request, Response};

/// The most queries of a request, and the most data points on a page (CloudWatch API reference, GetMetricData).
pub const QUERIES: usize = 500;
pub const POINTS: usize = 100_800;

const DAY: i64 = 86_400;

/// One of the figures that are asked for.
#[derive(Debug)]
pub struct Figure<'a> {
    pub region: &'a str,
    pub bucket: &'a str,
    pub metric: &'a str,
    pub storage: &'a str,
}

/// What there is of a figure: days ago, and what was measured. Or else what is wrong with it: the status of the result, nothing for no result at all.
pub type Answered = Result<Vec<(i64, f64)>, &'static str>;

/// The day so many days ago, as the program prints it.
pub fn day(ago: i64) -> String {
    let seconds = midnight() - ago * DAY;
    jiff::Timestamp::from_second(seconds).expect("a moment").to_string()
}

/// The first second of this day.
fn midnight() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is right").as_secs() as i64;
    now / DAY * DAY
}

/// Answers a request for figures, of which a page holds `most`.
pub fn answer(request: &Request, most: usize, figures: impl Fn(&Figure) -> Answered) -> Response {
    if let Some(wrong) = wrong(request) {
        return error(400, wrong);
    }
    let asked = cbor::decode(&request.body);
    let seconds = |name: &str| asked[name].as_f64();
    let (Some(start), Some(end)) = (seconds("StartTime"), seconds("EndTime")) else { return error(400, "MissingParameter") };
    let queries = asked["MetricDataQueries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ids: BTreeSet<_> = queries.iter().filter_map(|query| query["Id"].as_str()).filter(|id| is_id(id)).collect();
    if !(1..=QUERIES).contains(&queries.len()) || ids.len() != queries.len() || start >= end || !queries.iter().all(is_daily) {
        return error(400, "ValidationError");
    }
    let from: usize = match asked["NextToken"].as_str().map(str::parse::<usize>) {
        None => 0,
        Some(Ok(from)) => from,
        Some(Err(_)) => return error(400, "InvalidNextToken"),
    };
    let (mut at, mut results) = (0, Vec::new());
    for query in queries {
        let dimension = |name: &str| {
            let all = query["MetricStat"]["Metric"]["Dimensions"].as_array().into_iter().flatten();
            all.filter(|one| one["Name"] == name).find_map(|one| one["Value"].as_str()).unwrap_or_default()
        };
        let metric = query["MetricStat"]["Metric"]["MetricName"].as_str().unwrap_or_default();
        let region = request.signed_region().unwrap_or_default();
        let figure = Figure { region, bucket: dimension("BucketName"), metric, storage: dimension("StorageType") };
        let (points, wrong) = match figures(&figure) {
            Ok(points) => (points, None),
            Err("") => continue,
            Err(status) => (Vec::new(), Some(status)),
        };
        let points = points.into_iter().map(|(ago, value)| ((midnight() - ago * DAY) as f64, value));
        let mut points: Vec<_> = points.filter(|(day, _)| (start..end).contains(day)).collect();
        // The newest first, unless another order is asked for.
        points.sort_by(|one, other| other.0.total_cmp(&one.0));
        let (first, behind) = (at, at + points.len());
        at = behind;
        let (page, rest) = (from.max(first)..(from + most).min(behind), !points.is_empty() && behind > from + most);
        if page.is_empty() && !(points.is_empty() && from == 0) {
            continue;
        }
        let page: Vec<_> = page.map(|point| points[point - first]).collect();
        let status = wrong.unwrap_or(if rest { "PartialData" } else { "Complete" });
        results.push(json!({
            "Id": query["Id"], "Label": figure.metric, "StatusCode": status,
            "Timestamps": page.iter().map(|(day, _)| cbor::moment(*day)).collect::<Vec<_>>(),
            "Values": page.iter().map(|(_, value)| *value).collect::<Vec<f64>>(),
        }));
    }
    let mut said = json!({"MetricDataResults": results, "Messages": []});
    if at > from + most {
        said["NextToken"] = json!((from + most).to_string());
    }
    reply(200, &said)
}

/// How many figures a request asks for.
pub fn asked(request: &Request) -> usize {
    cbor::decode(&request.body)["MetricDataQueries"].as_array().map_or(0, Vec::len)
}

/// What of a request is not of this API.
fn wrong(request: &Request) -> Option<&'static str> {
    let is = |name: &str, value: &str| request.header(name) == Some(value);
    let is_known = request.target == "/service/GraniteServiceVersion20100801/operation/GetMetricData" && request.method == "POST";
    match () {
        () if !is_known => Some("UnknownOperationException"),
        () if !is("smithy-protocol", "rpc-v2-cbor") || !is("content-type", "application/cbor") => Some("SerializationException"),
        () if request.signed_service() != Some("monitoring") => Some("SignatureDoesNotMatch"),
        () => None,
    }
}

fn is_id(id: &str) -> bool {
    id.starts_with(|first: char| first.is_ascii_lowercase()) && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// S3's figures of buckets are those of a day.
fn is_daily(query: &Value) -> bool {
    let stat = &query["MetricStat"];
    stat["Metric"]["Namespace"] == "AWS/S3" && stat["Period"] == 86_400 && stat["Stat"] == "Average"
}

/// An error as CloudWatch writes it: its name of today, and the code that the query protocol had for it.
pub fn error(status: u16, code: &str) -> Response {
    let mut reply =
        reply(status, &json!({"__type": format!("com.amazonaws.cloudwatch#{code}Exception"), "message": format!("{code} by the test")}));
    reply.headers.push(("x-amzn-query-error".to_owned(), format!("{code};Sender")));
    reply
}

fn reply(status: u16, said: &Value) -> Response {
    let headers = [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor"), ("x-amzn-requestid", "REQ-CLOUDWATCH")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Response { status, headers, body: cbor::encode(said) }
}
