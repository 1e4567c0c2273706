//! The limiter against simulated services, on tokio's paused clock. Run with `--nocapture` for the figures.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::task::LocalSet;
use tokio::time::sleep;

use super::*;

fn key(service: &str, kind: &str) -> Key {
    let [account, region] = ["111122223333", "eu-west-1"].map(String::from);
    Key { account, region, service: service.into(), kind: kind.into(), scope: String::new(), documented: true }
}

/// How the service answers, and what the client does.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    key: (&'static str, &'static str),
    /// The service's bucket.
    burst: f64,
    rate: f64,
    /// Tokens already spent by others.
    spent: f64,
    /// The share of requests throttled at random besides.
    random: f64,
    /// These requests, counted from the first, are throttled whatever the bucket holds.
    turned_away: (u32, u32),
    /// So is every request of so many, which no client can help: they do not count as throttled.
    every: u32,
    /// When and to what the service's rate changes.
    changed: Option<(f64, f64)>,
    round_trip: f64,
    concurrency: usize,
    requests: u32,
    weight: u32,
    /// Heavy requests are accepted, and answered item by item.
    by_item: bool,
}

const CASE: Case = Case {
    name: "",
    key: ("iam", "GetUser"),
    burst: 1e9,
    rate: 1e9,
    spent: 0.0,
    random: 0.0,
    turned_away: (0, 0),
    every: 0,
    changed: None,
    round_trip: 0.05,
    concurrency: 16,
    requests: 1000,
    weight: 1,
    by_item: false,
};

#[derive(Debug, Default)]
struct Outcome {
    /// When each request was answered, how many tokens it was accepted for, and how many throttled.
    answers: Vec<(f64, f64, f64)>,
    /// How many were turned away that no client can help.
    imposed: u32,
    /// How long it all took.
    seconds: f64,
    /// The time that the service's bucket allows, as a share of that.
    optimum: f64,
}

impl Outcome {
    fn between(&self, from: f64, to: f64) -> (f64, f64) {
        let within = self.answers.iter().filter(|(at, ..)| (from..to).contains(at));
        within.fold((0.0, 0.0), |(accepted, throttled), (_, a, t)| (accepted + a, throttled + t))
    }

    /// The share throttled once the first throttle is a second ago: the client knows the limit by then.
    fn steady_share(&self) -> f64 {
        let first = self.answers.iter().find(|(_, _, throttled)| *throttled > 0.0).map_or(0.0, |(at, ..)| *at);
        self.share(first + 1.0)
    }

    /// The share throttled, from this second on.
    fn share(&self, from: f64) -> f64 {
        let (accepted, throttled) = self.between(from, f64::INFINITY);
        throttled / (accepted + throttled).max(1.0)
    }

    /// Seconds from the last throttle until a quarter of a second went at this rate.
    fn recovery(&self, rate: f64) -> f64 {
        let last = self.answers.iter().filter(|(_, _, throttled)| *throttled > 0.0).map(|(at, ..)| *at).fold(0.0, f64::max);
        (0..400)
            .map(|n| last + f64::from(n) * 0.05)
            .find(|from| self.rate(*from, from + 0.25) >= rate)
            .map_or(f64::INFINITY, |at| at + 0.25 - last)
    }

    /// Tokens accepted per second between these two.
    fn rate(&self, from: f64, to: f64) -> f64 {
        self.between(from, to).0 / (to - from)
    }
}

struct Server {
    start: Instant,
    tokens: f64,
    refilled: Instant,
    seen: u32,
    random: fastrand::Rng,
}

impl Server {
    /// How many of the tokens asked for are granted; none when the request is turned away whatever the bucket holds, and does not count.
    fn ask(&mut self, case: &Case, weight: f64) -> Option<f64> {
        let now = Instant::now();
        let rate = case.changed.filter(|(at, _)| (now - self.start).as_secs_f64() >= *at).map_or(case.rate, |(_, rate)| rate);
        self.tokens = (self.tokens + (now - self.refilled).as_secs_f64() * rate).min(case.burst);
        self.refilled = now;
        self.seen += 1;
        if case.every > 0 && self.seen.is_multiple_of(case.every) {
            return None;
        }
        if (case.turned_away.0..case.turned_away.1).contains(&(self.seen - 1)) {
            return Some(0.0);
        }
        if case.random > 0.0 && self.random.f64() < case.random {
            return Some(0.0);
        }
        let granted = if case.by_item {
            self.tokens.floor().clamp(0.0, weight)
        } else if self.tokens >= weight.min(case.burst) {
            weight
        } else {
            0.0
        };
        self.tokens -= granted;
        Some(granted)
    }
}

fn run(case: Case) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, simulate(case))
}

async fn simulate(case: Case) -> Outcome {
    let limiter = Limiter::new(KNOWN);
    let start = Instant::now();
    let random = fastrand::Rng::with_seed(7);
    let server = Rc::new(RefCell::new(Server { start, tokens: case.burst - case.spent, refilled: start, seen: 0, random }));
    let left = Rc::new(RefCell::new((0..case.requests).map(|_| case.weight).collect::<Vec<_>>()));
    let outcome = Rc::new(RefCell::new(Outcome::default()));
    let tasks: Vec<_> = (0..case.concurrency)
        .map(|n| {
            let (limiter, server, left, outcome) = (limiter.clone(), Rc::clone(&server), Rc::clone(&left), Rc::clone(&outcome));
            tokio::task::spawn_local(async move {
                let key = key(case.key.0, case.key.1);
                let mut random = fastrand::Rng::with_seed(n as u64);
                loop {
                    let Some(weight) = left.borrow_mut().pop() else { return };
                    let permit = limiter.acquire(&key, weight).await;
                    let mut half = || Duration::from_secs_f64(case.round_trip * (0.4 + 0.2 * random.f64()));
                    sleep(half()).await;
                    let counted = server.borrow_mut().ask(&case, f64::from(weight));
                    let granted = counted.unwrap_or(0.0) as u32;
                    sleep(half()).await;
                    let answer = if granted == 0 && !case.by_item { Answer::Throttled } else { Answer::Accepted };
                    limiter.answered(&key, permit, answer);
                    let throttled = weight - granted;
                    if case.by_item && throttled > 0 {
                        limiter.throttled_items(&key, throttled);
                    }
                    if throttled > 0 {
                        left.borrow_mut().push(throttled);
                    }
                    let mut outcome = outcome.borrow_mut();
                    match counted {
                        Some(_) => outcome.answers.push((start.elapsed().as_secs_f64(), f64::from(granted), f64::from(throttled))),
                        None => outcome.imposed += 1,
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut outcome = outcome.take();
    outcome.seconds = start.elapsed().as_secs_f64();
    let optimum = (f64::from(case.requests * case.weight) - case.burst + case.spent).max(0.0) / case.rate + case.round_trip;
    let optimum = optimum.max(f64::from(case.requests) * case.round_trip / case.concurrency as f64);
    outcome.optimum = optimum / outcome.seconds;
    println!(
        "{:46} {:6} requests of {:4}: {:6.1} s, {:3.0} % of the optimum; throttled {:4.1} %, after 10 s {:4.1} %",
        case.name,
        case.requests,
        case.weight,
        outcome.seconds,
        100.0 * outcome.optimum,
        100.0 * outcome.share(0.0),
        100.0 * outcome.share(10.0),
    );
    outcome
}

#[test]
fn a_documented_bucket_is_used_up_and_then_followed() {
    let case = Case { key: ("ec2", "DeleteSnapshot"), burst: 100.0, rate: 5.0, requests: 600, ..CASE };
    let fresh = run(Case { name: "EC2, documented bucket", ..case });
    assert!(fresh.optimum >= 0.97, "{}", fresh.optimum);
    assert!(fresh.share(0.0) <= 0.03, "{}", fresh.share(0.0));

    let spent = run(Case { name: "EC2, burst spent by others", spent: 100.0, ..case });
    assert!(spent.optimum >= 0.95, "{}", spent.optimum);
    assert!(spent.share(0.0) <= 0.06, "{}", spent.share(0.0));

    let wide = run(Case { name: "EC2, 256 in flight", concurrency: 256, round_trip: 0.2, ..case });
    assert!(wide.optimum >= 0.97, "{}", wide.optimum);
    assert!(wide.share(0.0) <= 0.03, "{}", wide.share(0.0));
}

#[test]
fn a_raised_limit_is_found() {
    let case = Case { key: ("ec2", "DeleteSnapshot"), burst: 100.0, rate: 50.0, requests: 3000, ..CASE };
    let outcome = run(Case { name: "EC2, 50/s where 5/s is documented", ..case });
    let found = (0..90).map(f64::from).find(|at| outcome.rate(*at + 3.0, at + 4.0) >= 45.0);
    println!("    at 45/s after {found:?} s");
    assert!(outcome.rate(25.0, 50.0) >= 0.9 * 50.0, "{}", outcome.rate(25.0, 50.0));
    assert!(outcome.share(0.0) <= 0.05, "{}", outcome.share(0.0));
}

#[test]
fn an_unknown_rate_is_learnt() {
    let outcome = run(Case { name: "IAM, 60/s unknown", burst: 60.0, rate: 60.0, requests: 3000, ..CASE });
    assert!(outcome.optimum >= 0.95, "{}", outcome.optimum);
    assert!(outcome.share(0.0) <= 0.03, "{}", outcome.share(0.0));
    let slow = run(Case { name: "IAM, 10/s unknown, 64 in flight", burst: 20.0, rate: 10.0, requests: 1000, concurrency: 64, ..CASE });
    assert!(slow.optimum >= 0.95, "{}", slow.optimum);
    assert!(slow.share(0.0) <= 0.12, "{}", slow.share(0.0));
}

#[test]
fn a_slow_unknown_rate_is_learnt_by_few_requests() {
    // Pages one after another, and a third of the requests turned away however slowly they come.
    let case = Case { burst: 2.0, rate: 2.0, requests: 12, concurrency: 1, every: 3, ..CASE };
    for milliseconds in (20..=60).step_by(4).chain([22, 25, 50, 100]) {
        let round_trip = f64::from(milliseconds) / 1000.0;
        let outcome = run(Case { name: format!("2/s unknown, a third beside, {round_trip} s").leak(), round_trip, ..case });
        assert!(outcome.steady_share() <= 0.2, "{round_trip} s: {}", outcome.steady_share());
        let optimum = (f64::from(case.requests + outcome.imposed) - case.burst) / case.rate;
        assert!(outcome.seconds <= 1.3 * optimum + 2.0, "{round_trip} s: {} s, at best {optimum}", outcome.seconds);
    }
    // Nor does it take a third: a minute's worth of requests, a few at a time.
    for (rate, most) in [(1.0, 0.2), (2.0, 0.15), (3.0, 0.15)] {
        let name = format!("{rate}/s unknown, four at a time").leak();
        let long = run(Case { name, burst: 2.0, rate, requests: 60, concurrency: 4, ..CASE });
        assert!(long.steady_share() <= most, "{rate}/s: {}", long.steady_share());
        assert!(long.optimum >= 0.9, "{rate}/s: {}", long.optimum);
    }
}

#[test]
fn throttles_in_a_row_are_not_taken_for_a_slow_service() {
    // They last longer than a second, with few requests before them.
    for concurrency in [1, 4, 16] {
        let full = f64::from(concurrency) / 0.2;
        let requests = (25.0 * full) as u32 + 200;
        let concurrency = concurrency as usize;
        let name = format!("20 throttles after 5 requests, {concurrency} in flight").leak();
        let outcome = run(Case { name, turned_away: (5, 25), round_trip: 0.2, requests, concurrency, ..CASE });
        println!("    back after {:.2} s", outcome.recovery(0.8 * full));
        assert!(outcome.recovery(0.8 * full) <= 6.0, "{concurrency} in flight: {}", outcome.recovery(0.8 * full));
    }
}

#[test]
fn any_bucket_is_followed() {
    for rate in [2.0, 5.0, 20.0, 60.0, 200.0, 1000.0, 5000.0] {
        // Round trips vary by a fifth here, and timers by a millisecond: a bucket of less than a tenth of a second cannot be followed.
        let mut bursts = [1.0, 10.0, 100.0, 1000.0f64].map(|burst| burst.max(rate * 0.1)).to_vec();
        bursts.dedup();
        for burst in bursts {
            for (round_trip, concurrency) in [(0.005, 16), (0.02, 256), (0.05, 16), (0.05, 256), (0.2, 64), (0.2, 256)] {
                let reachable = rate.min(0.9 * f64::from(concurrency) / round_trip);
                if reachable < 0.9 * rate {
                    continue;
                }
                let seconds = if rate < 50.0 { 100.0 } else { 20.0 };
                let name = format!("{rate}/s, burst {burst}, {round_trip} s, {concurrency} in flight").leak();
                let requests = (burst + reachable * seconds) as u32;
                let concurrency = concurrency as usize;
                let outcome = run(Case { name, burst, rate, round_trip, concurrency, requests, ..CASE });
                // The first requests find out; from then on.
                let speed = outcome.rate(8.0, outcome.seconds - 1.0) / reachable;
                let enough = if burst == 1.0 { 0.75 } else { 0.88 };
                assert!(speed >= enough, "{name}: {speed}");
                assert!(outcome.share(10.0) <= 0.08, "{name}: {}", outcome.share(10.0));
            }
        }
    }
}

#[test]
fn full_speed_comes_back_after_throttling() {
    // 16 in flight and 50 ms: at most 320 requests per second.
    let full = 0.9 * 320.0;
    let at_once = run(Case { name: "20 throttles first, then none", turned_away: (0, 20), requests: 4000, ..CASE });
    println!("    back after {:.2} s", at_once.recovery(full));
    assert!(at_once.recovery(full) <= 4.0);

    let later = run(Case { name: "20 throttles in full flight", turned_away: (1000, 1020), requests: 4000, ..CASE });
    println!("    back after {:.2} s", later.recovery(full));
    assert!(later.recovery(full) <= 5.0);

    let alone = run(Case { name: "20 throttles, one connection", turned_away: (100, 120), requests: 600, concurrency: 1, ..CASE });
    println!("    back after {:.2} s", alone.recovery(0.8 * 20.0));
    assert!(alone.recovery(0.8 * 20.0) <= 6.0);

    let key = ("ec2", "DescribeSnapshots");
    let known = run(Case { name: "20 throttles, documented 20/s", key, burst: 100.0, rate: 20.0, turned_away: (100, 120), ..CASE });
    println!("    back after {:.2} s", known.recovery(0.9 * 20.0));
    assert!(known.recovery(0.9 * 20.0) <= 5.0);
    assert!(known.optimum >= 0.85, "{}", known.optimum);
}

#[test]
fn random_throttling_does_not_stop_everything() {
    let key = ("cloudtrail", "LookupEvents");
    let case = Case { key, burst: 2.0, rate: 2.0, requests: 120, concurrency: 4, round_trip: 0.2, ..CASE };
    let exact = run(Case { name: "CloudTrail, 2/s", ..case });
    assert!(exact.optimum >= 0.9, "{}", exact.optimum);
    assert!(exact.share(0.0) <= 0.05, "{}", exact.share(0.0));
    let random = run(Case { name: "CloudTrail, a third at random", random: 1.0 / 3.0, ..case });
    assert!(random.optimum >= 0.3, "{}", random.optimum);
    let unknown = run(Case { name: "100/s unknown, 2 % at random", burst: 100.0, rate: 100.0, requests: 3000, random: 0.02, ..CASE });
    assert!(unknown.optimum >= 0.35, "{}", unknown.optimum);
}

#[test]
fn keys_of_heavy_requests_are_paced() {
    let key = ("s3", "DeleteObjects");
    let case = Case { key, burst: 3500.0, rate: 3500.0, requests: 100, weight: 1000, round_trip: 0.1, ..CASE };
    let whole = run(Case { name: "S3, 3,500 keys/s, whole requests", ..case });
    assert!(whole.optimum >= 0.85, "{}", whole.optimum);
    assert!(whole.share(0.0) <= 0.25, "{}", whole.share(0.0));
    let items = run(Case { name: "S3, 3,500 keys/s, key by key", by_item: true, ..case });
    assert!(items.optimum >= 0.85, "{}", items.optimum);
    assert!(items.share(0.0) <= 0.25, "{}", items.share(0.0));
    let unknown = run(Case { name: "the same, unknown", key: ("other", "DeleteObjects"), by_item: true, ..case });
    assert!(unknown.optimum >= 0.85, "{}", unknown.optimum);
    let key = ("other", "DeleteObjects");
    let small = run(Case { name: "a bucket smaller than a request", key, burst: 100.0, rate: 2000.0, ..case });
    assert!(small.optimum >= 0.85, "{}", small.optimum);
    let open = run(Case { name: "S3 with many partitions", burst: 1e6, rate: 1e6, requests: 1000, ..case });
    println!("    {:.0} keys/s after 2 s", open.rate(2.0, 3.0));
    assert!(open.seconds <= 8.0, "{}", open.seconds);
}

#[test]
fn a_changing_rate_is_followed() {
    let case = Case { burst: 100.0, rate: 100.0, requests: 4000, ..CASE };
    let falls = run(Case { name: "100/s, 20/s from second 20 on", changed: Some((20.0, 20.0)), ..case });
    assert!(falls.rate(30.0, 60.0) >= 0.9 * 20.0, "{}", falls.rate(30.0, 60.0));
    let (accepted, throttled) = falls.between(20.0, 40.0);
    assert!(throttled / (accepted + throttled) <= 0.15, "{throttled} of {accepted}");
    let rises = run(Case { name: "20/s, 100/s from second 20 on", rate: 20.0, changed: Some((20.0, 100.0)), ..case });
    assert!(rises.rate(35.0, 45.0) >= 0.9 * 100.0, "{}", rises.rate(35.0, 45.0));
}

fn paused(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// Five per second, and the burst is spent.
async fn spent() -> (Limiter, Key) {
    let (limiter, key) = (Limiter::new(KNOWN), key("ec2", "DeleteSnapshot"));
    for _ in 0..99 {
        let permit = limiter.acquire(&key, 1).await;
        limiter.answered(&key, permit, Answer::Accepted);
    }
    assert_eq!(limiter.counts(), Counts { accepted: 99, ..Counts::default() });
    (limiter, key)
}

#[test]
fn waiting_is_first_come_first_served() {
    paused(async {
        let (limiter, key) = spent().await;
        let order = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now();
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (limiter, key, order) = (limiter.clone(), key.clone(), Rc::clone(&order));
                tokio::task::spawn_local(async move {
                    // A light request does not overtake a heavy one.
                    drop(limiter.acquire(&key, if n % 3 == 0 { 4 } else { 1 }).await);
                    order.borrow_mut().push(n);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.borrow(), (0..20).collect::<Vec<_>>());
        // 7 of 4 tokens and 13 of 1, at 5/s.
        let seconds = start.elapsed().as_secs_f64();
        assert!((8.1..8.4).contains(&seconds), "{seconds}");
        assert!(limiter.counts().waited > Duration::from_secs(60));
    });
}

#[test]
fn a_dropped_waiter_gives_its_place_back() {
    paused(async {
        let (limiter, key) = spent().await;
        let start = Instant::now();
        // One is dropped at the head of the queue, one within it, one before it ever ran.
        let waiting = |limiter: Limiter, key: Key| tokio::task::spawn_local(async move { drop(limiter.acquire(&key, 50).await) });
        let head = waiting(limiter.clone(), key.clone());
        let second = waiting(limiter.clone(), key.clone());
        drop(limiter.acquire(&key, 50));
        sleep(Duration::from_millis(100)).await;
        let last = {
            let (limiter, key) = (limiter.clone(), key.clone());
            tokio::task::spawn_local(async move { drop(limiter.acquire(&key, 1).await) })
        };
        sleep(Duration::from_millis(50)).await;
        second.abort();
        head.abort();
        last.await.unwrap();
        let seconds = start.elapsed().as_secs_f64();
        assert!((0.19..0.25).contains(&seconds), "{seconds}");
    });
}

#[test]
fn lifting_a_limit_wakes_the_waiting() {
    paused(async {
        let (limiter, key) = (Limiter::new(KNOWN), key("iam", "GetUser"));
        for _ in 0..30 {
            let permit = limiter.acquire(&key, 1).await;
            sleep(Duration::from_millis(20)).await;
            limiter.answered(&key, permit, Answer::Throttled);
        }
        let throttled = limiter.throttled();
        assert_eq!((throttled.len(), &throttled[0].0), (1, &key));
        assert!(throttled[0].1 <= 1.0, "{}", throttled[0].1);
        let start = Instant::now();
        for _ in 0..200 {
            let permit = limiter.acquire(&key, 1).await;
            sleep(Duration::from_millis(20)).await;
            limiter.answered(&key, permit, Answer::Accepted);
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        sleep(Duration::from_secs(10)).await;
        assert!(limiter.throttled().is_empty());
    });
}

#[test]
fn a_round_trip_decreases_once() {
    paused(async {
        let (limiter, key) = (Limiter::new(KNOWN), key("iam", "GetUser"));
        for _ in 0..40 {
            let permit = limiter.acquire(&key, 1).await;
            sleep(Duration::from_millis(50)).await;
            limiter.answered(&key, permit, Answer::Accepted);
        }
        let mut sent = Vec::new();
        for _ in 0..16 {
            sent.push(limiter.acquire(&key, 1).await);
        }
        sleep(Duration::from_millis(50)).await;
        for permit in sent {
            limiter.answered(&key, permit, Answer::Throttled);
            // 20 per second were accepted.
            let rate = limiter.throttled()[0].1;
            assert!((14.0..17.0).contains(&rate), "{rate}");
        }
    });
}

#[test]
fn keys_do_not_hold_each_other_back() {
    paused(async {
        let (limiter, mut key) = spent().await;
        key.region = "us-east-1".into();
        drop(limiter.acquire(&key, 1).await);
        key.kind = "SomethingNew".into();
        drop(limiter.acquire(&key, 1).await);
        assert_eq!(limiter.counts().waited, Duration::ZERO);
    });
}

#[test]
fn documented_buckets_are_found() {
    let found = |service, kind| known::find(KNOWN, service, kind).map(|known| (known.burst, known.rate));
    assert_eq!(found("ec2", "CreateSnapshot"), Some((100.0, 5.0)));
    assert_eq!(found("ec2", "CreateTags"), Some((100.0, 10.0)));
    assert_eq!(found("ec2", "DescribeVolumes"), Some((100.0, 20.0)));
    assert_eq!(found("ec2", "DescribeSecurityGroupReferences"), Some((20.0, 5.0)));
    assert_eq!(found("ec2", "ModifyVolume"), Some((50.0, 5.0)));
    assert_eq!(found("cloudtrail", "LookupEvents"), Some((2.0, 2.0)));
    assert_eq!(found("cloudtrail", "DescribeTrails"), None);
    assert_eq!(found("s3", "DeleteObjects"), Some((3500.0, 3500.0)));
    assert_eq!(found("s3", "HeadObject"), Some((5500.0, 5500.0)));
    assert_eq!(found("iam", "GetUser"), None);
    assert!(KNOWN.iter().all(|known| known.burst >= 1.0 && known.rate > 0.0 && known.source.starts_with("https://docs.aws.amazon.com/")));
}
