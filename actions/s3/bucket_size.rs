//! How large buckets are, and how many objects are in them. S3 says it to CloudWatch once a day, in the bucket's own region.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use aaws::{Call, Context, Error, ErrorContext, Failure, Grant, Next, Page, Record, Result, Status, When, paged};
use aws_sdk_cloudwatch::config::{Builder, Region};
use aws_sdk_cloudwatch::primitives::{DateTime, DateTimeFormat};
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, StatusCode};
use futures::future::join_all;
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::Serialize;

/// The figures themselves. They are no resource that a policy could name.
pub const METRICS: Call =
    Call::read("cloudwatch:GetMetricData", &[Grant::new("cloudwatch:GetMetricData", &["*"])]).when(When::With(&["size"]));

/// How many objects there are, of all kinds of storage together.
const OBJECTS: (&str, &str) = ("NumberOfObjects", "AllStorageTypes");

/// Where S3 keeps what is stored in a bucket, the parts of incomplete uploads included (S3 user guide, metrics and dimensions). What it adds to it for
/// billing, the types that end in `Overhead`, is not the bucket's.
const STORAGE: [&str; 14] = [
    "StandardStorage",
    "IntelligentTieringFAStorage",
    "IntelligentTieringIAStorage",
    "IntelligentTieringAIAStorage",
    "IntelligentTieringAAStorage",
    "IntelligentTieringDAAStorage",
    "StandardIAStorage",
    "OneZoneIAStorage",
    "ReducedRedundancyStorage",
    "GlacierInstantRetrievalStorage",
    "GlacierStorage",
    "GlacierStagingStorage",
    "DeepArchiveStorage",
    "DeepArchiveStagingStorage",
];

/// How many figures are asked for of each bucket.
const FIGURES: usize = 1 + STORAGE.len();

/// The most figures that one request may ask for (CloudWatch API reference, GetMetricData). It may be answered with 100,800 data points on a page, which is
/// more than all of these have.
const QUERIES: usize = 500;

/// How many buckets are asked for together, and of how many the answers are waited for before the first of them is printed.
const BATCH: usize = QUERIES / FIGURES;
const TOGETHER: usize = 10 * BATCH;

/// Seconds: the figures are those of a day, and stand at its first second.
const DAY: i64 = 24 * 60 * 60;

/// How many days are looked back. A day's figures may come two days late; those of a bucket that are older are of no use.
const LOOK_BACK: i64 = 4;

/// What CloudWatch says of a bucket, only with `size`. What it does not say is null: of a new bucket for a day or two, and of an empty one.
#[derive(Debug, Default, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct BucketSize {
    /// Bytes in all classes of storage: versions that are not current and the parts of incomplete uploads included, and what S3 adds to archived and small
    /// objects for billing not; only with `size`.
    #[schemars(extend("x-unit" = "bytes"))]
    pub bucket_size_bytes: Option<u64>,
    /// How many objects are in it: each version is one, and so is each part of an incomplete upload; only with `size`.
    pub number_of_objects: Option<u64>,
    /// The day of these figures, the newest that there is, RFC 3339 in UTC; only with `size`.
    pub measured_on: Option<String>,
}

/// Adds to each bucket how large it is: `of` says its name and where it is, and `add` takes it. What cannot be read is none, and its region a failure of the
/// run; an error is only what all of them would meet.
pub fn added<D: Send + 'static>(
    cx: &Context,
    buckets: impl Stream<Item = Result<D>> + Send + 'static,
    of: fn(&D) -> (&str, Option<&str>),
    add: fn(&mut D, BucketSize),
) -> BoxStream<'static, Result<D>> {
    let sizes = Arc::new(Sizes { cx: cx.clone(), silent: Mutex::default() });
    let filled = buckets.chunks(TOGETHER).map(move |buckets| {
        let sizes = Arc::clone(&sizes);
        async move { sizes.fill(buckets, of, add).await }
    });
    filled.buffered(cx.concurrency()).flat_map(stream::iter).boxed()
}

struct Sizes {
    cx: Context,
    /// The regions whose CloudWatch said nothing once: what it refuses of some buckets it refuses of all, and each request costs.
    silent: Mutex<BTreeSet<String>>,
}

impl Sizes {
    /// All batches side by side, and the buckets in their order.
    async fn fill<D>(
        &self,
        mut buckets: Vec<Result<D>>,
        of: fn(&D) -> (&str, Option<&str>),
        add: fn(&mut D, BucketSize),
    ) -> Vec<Result<D>> {
        let mut regions = BTreeMap::<String, Vec<(usize, String)>>::new();
        for (at, bucket) in buckets.iter().enumerate() {
            let Ok(bucket) = bucket else { continue };
            let (name, region) = of(bucket);
            regions.entry(region.unwrap_or(self.cx.region()).to_owned()).or_default().push((at, name.to_owned()));
        }
        let mut batches = Vec::new();
        for (region, buckets) in &regions {
            batches.extend(buckets.chunks(BATCH).map(move |batch| self.batch(region, batch)));
        }
        for answer in join_all(batches).await {
            match answer {
                Ok(sizes) => {
                    for (at, size) in sizes {
                        if let Some(Ok(bucket)) = buckets.get_mut(at) {
                            add(bucket, size);
                        }
                    }
                }
                Err(e) => return vec![Err(e)],
            }
        }
        buckets
    }

    /// The sizes of buckets of one region, each with its place in the list.
    async fn batch(&self, region: &str, buckets: &[(usize, String)]) -> Result<Vec<(usize, BucketSize)>> {
        let nothing = || buckets.iter().map(|(at, _)| (*at, BucketSize::default())).collect::<Vec<_>>();
        if self.silent.lock().unwrap_or_else(PoisonError::into_inner).contains(region) {
            return Ok(nothing());
        }
        let series = match self.read(region, buckets).await {
            Ok(series) => series,
            Err(e) if e.is_fatal() => return Err(e),
            Err(e) => {
                self.missed(region, &e);
                return Ok(nothing());
            }
        };
        let sizes = series.chunks(FIGURES).zip(buckets).map(|(series, (at, name))| (*at, self.size(name, series)));
        Ok(sizes.collect())
    }

    /// Says once of a region that its CloudWatch says nothing.
    fn missed(&self, region: &str, error: &Error) {
        if !self.silent.lock().unwrap_or_else(PoisonError::into_inner).insert(region.to_owned()) {
            return;
        }
        let failure = Failure::from(error);
        let message = format!("cannot read how large its buckets are: {}", failure.message);
        self.cx.record(&Record::new(region, Status::Failed).with_code(failure.code).with_message(message));
    }

    /// The figures of all days, in the order in which they are asked for: those of the first bucket, and so on.
    async fn read(&self, region: &str, buckets: &[(usize, String)]) -> Result<Vec<Series>> {
        let there = region.to_owned();
        let cloudwatch = aaws::client!(self.cx, aws_sdk_cloudwatch, |config: Builder| config.region(Region::new(there)));
        let queries: Vec<_> =
            buckets.iter().flat_map(|(_, name)| figures().map(move |figure| (name.as_str(), figure))).enumerate().map(query).collect();
        let mut series = Vec::new();
        series.resize_with(queries.len(), Series::default);
        let today = self.cx.now().as_second().div_euclid(DAY) * DAY;
        let (start, end) = (DateTime::from_secs(today - LOOK_BACK * DAY), DateTime::from_secs(today + DAY));
        let results = paged("the sizes of the buckets", |token| {
            let request = cloudwatch.get_metric_data().set_metric_data_queries(Some(queries.clone())).start_time(start).end_time(end);
            let request = request.set_next_token(token);
            async move {
                let answer = request.send().await.context(|| format!("read how large the buckets in {region} are"))?;
                Ok(Page { next: Next::nonempty(answer.next_token), items: answer.metric_data_results.unwrap_or_default() })
            }
        });
        let results: Vec<MetricDataResult> = results.try_collect().await?;
        for result in results {
            let at = result.id().and_then(|id| id.strip_prefix(ID)?.parse::<usize>().ok());
            let Some(series) = at.and_then(|at| series.get_mut(at)) else { continue };
            series.points.extend(result.timestamps().iter().map(DateTime::secs).zip(result.values().iter().copied()));
            // What goes on on another page is partial until there.
            series.status = result.status_code;
        }
        Ok(series)
    }

    /// What CloudWatch says of one bucket. A sum of which a part is missing would be taken for the whole.
    fn size(&self, name: &str, series: &[Series]) -> BucketSize {
        let Some(part) = series.iter().find(|series| series.status != Some(StatusCode::Complete)) else { return newest(series) };
        let code = part.status.as_ref().map_or("PartialData", StatusCode::as_str);
        let message = "CloudWatch does not say all of how large it is";
        self.cx.record(&Record::new(name, Status::Failed).with_code(code).with_message(message));
        BucketSize::default()
    }
}

/// What is asked for of each bucket.
fn figures() -> impl Iterator<Item = (&'static str, &'static str)> {
    [OBJECTS].into_iter().chain(STORAGE.map(|storage| ("BucketSizeBytes", storage)))
}

/// What the name of a query begins with: a small letter has to be first.
const ID: char = 'm';

fn query((at, (bucket, (metric, storage))): (usize, (&str, (&str, &str)))) -> MetricDataQuery {
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let metric = Metric::builder().namespace("AWS/S3").metric_name(metric);
    let metric = metric.dimensions(dimension("BucketName", bucket)).dimensions(dimension("StorageType", storage)).build();
    // Of one figure a day each statistic is that figure.
    let stat = MetricStat::builder().metric(metric).period(DAY as i32).stat("Average").build();
    MetricDataQuery::builder().id(format!("{ID}{at}")).metric_stat(stat).build()
}

/// The figures of one kind: the first seconds of days, and what was measured.
#[derive(Debug, Default)]
struct Series {
    points: Vec<(i64, f64)>,
    /// None where there was no answer.
    status: Option<StatusCode>,
}

/// All of the newest day of which both the number of objects and their size are known, or else one of them. Days are not mixed: what was moved from one
/// class of storage to another in between would be there twice.
fn newest(series: &[Series]) -> BucketSize {
    let Some((objects, storage)) = series.split_first() else { return BucketSize::default() };
    let days = |series: &[Series]| series.iter().flat_map(|series| series.points.iter().map(|(day, _)| *day)).collect::<BTreeSet<_>>();
    let (counted, measured) = (days(std::slice::from_ref(objects)), days(storage));
    let Some(day) = counted.intersection(&measured).max().or(counted.union(&measured).max()).copied() else { return BucketSize::default() };
    let on_day = |series: &Series| series.points.iter().find(|(at, _)| *at == day).map(|(_, value)| *value);
    BucketSize {
        bucket_size_bytes: measured.contains(&day).then(|| storage.iter().filter_map(on_day).sum::<f64>() as u64),
        number_of_objects: on_day(objects).map(|value| value as u64),
        measured_on: DateTime::from_secs(day).fmt(DateTimeFormat::DateTime).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of days, of the objects first and then of these storages.
    fn size(objects: &[(i64, f64)], storage: &[&[(i64, f64)]]) -> (Option<u64>, Option<u64>, Option<String>) {
        let series =
            |points: &[(i64, f64)]| Series { points: points.iter().map(|(day, value)| (day * DAY, *value)).collect(), status: None };
        let all: Vec<_> = [series(objects)].into_iter().chain(storage.iter().map(|points| series(points))).collect();
        let size = newest(&all);
        (size.bucket_size_bytes, size.number_of_objects, size.measured_on)
    }

    #[test]
    fn the_newest_day_that_is_whole_counts() {
        let day = |text: &str| Some(format!("1970-01-{text}T00:00:00Z"));
        assert_eq!(size(&[(1, 2.0), (2, 3.0)], &[&[(1, 10.0), (2, 20.0)], &[(2, 5.0)]]), (Some(25), Some(3), day("03")));
        // What was moved to another class is not counted twice.
        assert_eq!(size(&[(1, 2.0), (2, 2.0)], &[&[(1, 10.0)], &[(2, 10.0)]]), (Some(10), Some(2), day("03")));
        // The last day is not whole yet.
        assert_eq!(size(&[(1, 2.0), (2, 3.0)], &[&[(1, 10.0)], &[]]), (Some(10), Some(2), day("02")));
        assert_eq!(size(&[(2, 3.0)], &[&[], &[]]), (None, Some(3), day("03")));
        assert_eq!(size(&[], &[&[(1, 7.0)], &[]]), (Some(7), None, day("02")));
        assert_eq!(size(&[], &[&[], &[]]), (None, None, None));
    }

    #[test]
    fn as_many_figures_are_asked_for_as_one_request_may() {
        assert_eq!((FIGURES, figures().count(), BATCH), (15, 15, 33));
    }
}
