//! Bulk runs at the services' limits: how long they take beside the optimum, which is (n − burst) / rate, and whether they lose anything.
//!
//! `cargo bench --bench rate [-- NAME] [--together]`. With a name, only the cases are run that have it in theirs; `--together` runs them at once,
//! which is good for those that mostly wait: `-- "limit ec2" --together`. It fails when a row says so.
//!
//! - `limit`: a service takes no more than its documented rate. Nothing may fail, and the wall time is at most 1.3 times the optimum and 2 seconds,
//!   with less than a quarter of the answers throttled in steady state.
//! - `recovery`: 20 throttled answers in a row, then none: at most three times as long as without them, and 5 seconds.
//! - `timeout`: with a service that takes nothing more, `--timeout 5s` ends within 10 seconds, and the report has every item once.
//! - `calls`: how many calls are made at all.
//! - `flight`: actions that change something in batches, with `--concurrency 4`. Requests in flight are counted in all the other cases, too.

// The tests use more of their support than this does.
#![allow(dead_code)]

#[path = "all/support"]
mod support {
    pub mod fake_cloudtrail;
    pub mod fake_iam;
    pub mod http;
    pub mod in_flight;
    pub mod proxy;
    pub mod rate;
    #[path = "ec2/wire.rs"]
    pub mod wire;
    pub mod xml;
}

use std::io;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use support::fake_cloudtrail::{self, FakeCloudTrail};
use support::fake_iam::{Iam, User};
use support::rate::ec2::{self, Ec2, State};
use support::rate::front::Front;
use support::rate::gate::{Gate, Limit};
use support::rate::row::{Row, most_wall, patience};
use support::rate::run::Aaws;
use support::rate::s3::{Held, S3};

/// IAM publishes no limit. This is more than most accounts are seen to have, so that the runs are short.
const IAM: Limit = Limit::new(60.0, 60.0);

/// Two a second, account and region (CloudTrail API reference, LookupEvents).
const CLOUDTRAIL: Limit = Limit::new(2.0, 2.0);

/// Keys deleted a second for each prefix (S3 user guide, "Best practices design patterns: optimizing Amazon S3 performance": 3,500 DELETE requests).
const S3_KEYS: Limit = Limit::new(3_500.0, 3_500.0);

/// Requests a second, as S3 is seen to answer when it has not grown to the load yet.
const S3_REQUESTS: Limit = Limit::new(20.0, 20.0);

/// Keys that one DeleteObjects takes (S3 API reference, DeleteObjects).
const S3_BATCH: usize = 1000;

/// How many of one kind are changed.
const MANY: usize = 600;

/// How many objects are deleted.
const OBJECTS: usize = 60_000;

/// `--concurrency` of the cases that only look at it.
const FEW_AT_ONCE: usize = 4;

type Rows = io::Result<Vec<Row>>;

struct Case {
    name: &'static str,
    run: fn(&'static str) -> Rows,
}

/// The cases, in the order in which they run.
const CASES: &[Case] = &[
    case("limit ec2 delete_snapshots", |name| {
        let (state, ids) = State::snapshots(MANY);
        let most = ec2::LISTED_WRITES.optimum(MANY);
        limited_ec2(name, state, ("ec2 delete_snapshots", "snapshot_ids", &ids), most, |s, _| s.snapshots.len())
    }),
    case("limit ec2 create_snapshots", |name| {
        let (state, ids) = State::volumes(MANY);
        let most = ec2::LISTED_WRITES.optimum(MANY);
        limited_ec2(name, state, ("ec2 create_snapshots", "volume_ids", &ids), most, State::without_one_snapshot)
    }),
    case("limit ec2 modify_volumes", |name| {
        let (state, ids) = State::volumes(MANY);
        let most = ec2::WRITES.optimum(MANY);
        limited_ec2(name, state, ("ec2 modify_volumes --size 20", "volume_ids", &ids), most, not_grown)
    }),
    case("limit ec2 share_snapshots", |name| {
        let (state, ids) = State::snapshots(MANY);
        let (most, line) = (ec2::LISTED_WRITES.optimum(MANY), "ec2 share_snapshots --target_account 111122223333");
        limited_ec2(name, state, (line, "snapshot_ids", &ids), most, not_shared)
    }),
    case("limit ec2 delete_volumes", |name| {
        let (state, ids) = State::volumes(MANY);
        let most = ec2::LISTED_WRITES.optimum(MANY);
        limited_ec2(name, state, ("ec2 delete_volumes", "volume_ids", &ids), most, |s, _| s.volumes.len())
    }),
    // A request takes up to 1,000 resources, and a look at their tags 200: so few calls are no matter for any bucket.
    case("limit ec2 modify_tags", |name| {
        let (state, ids) = State::volumes(5_000);
        let most = ec2::TAGGING.optimum(ids.len().div_ceil(1_000));
        limited_ec2(name, state, ("ec2 modify_tags --tags Env=prod --create", "resource_ids", &ids), most, not_tagged)
    }),
    case("limit iam discover_unused_access_keys", |name| limited_iam(name, "iam discover_unused_access_keys --threshold_days 90", 2)),
    case("limit iam discover_inactive_users", |name| limited_iam(name, "iam discover_inactive_users --threshold_days 90", 1)),
    case("limit iam discover_no_mfa_users", |name| limited_iam(name, "iam discover_no_mfa_users", 1)),
    case("limit cloudtrail discover_events", limited_cloudtrail),
    case("limit s3 delete_objects by key", |name| limited_s3(name, Held::Keys(S3_KEYS), S3_KEYS.optimum(OBJECTS))),
    case("limit s3 delete_objects by request", |name| {
        limited_s3(name, Held::Requests(Gate::one(S3_REQUESTS)), S3_REQUESTS.optimum(OBJECTS / S3_BATCH))
    }),
    case("recovery s3 delete_objects", recovery_s3),
    case("recovery ec2 delete_snapshots", recovery_ec2),
    case("timeout s3 delete_objects", timeout_s3),
    case("timeout ec2 delete_snapshots writes", |name| timeout_ec2(name, |operation| !ec2::is_read(operation))),
    case("timeout ec2 delete_snapshots all", |name| timeout_ec2(name, |_| true)),
    case("calls ec2 delete_instances", calls_instances),
    case("calls iam discover_unused_access_keys", |name| calls_iam(name, "iam discover_unused_access_keys --threshold_days 90", 2)),
    case("calls iam discover_inactive_users", |name| calls_iam(name, "iam discover_inactive_users --threshold_days 90", 1)),
    case("calls iam discover_no_mfa_users", |name| calls_iam(name, "iam discover_no_mfa_users", 1)),
    case("calls iam discover_old_access_keys", |name| calls_iam(name, "iam discover_old_access_keys --threshold_days 90", 2)),
    case("calls iam discover_old_password_users", |name| calls_iam(name, "iam discover_old_password_users --threshold_days 90", 1)),
    case("calls iam discover_inactive_console_users", |name| calls_iam(name, "iam discover_inactive_console_users --threshold_days 90", 1)),
    case("flight ec2 create_snapshots", |name| {
        flight_ec2(name, State::volumes(300), "ec2 create_snapshots", "volume_ids", State::without_one_snapshot)
    }),
    case("flight ec2 delete_volumes --snapshot", |name| {
        let left = |s: &State, ids: &[String]| s.volumes.len() + s.without_one_snapshot(ids);
        flight_ec2(name, State::volumes(300), "ec2 delete_volumes --snapshot", "volume_ids", left)
    }),
    case("flight ec2 modify_volumes --snapshot --wait", |name| {
        let line = "ec2 modify_volumes --size 20 --snapshot --wait";
        flight_ec2(name, State::volumes(300), line, "volume_ids", |s, ids| not_grown(s, ids) + s.without_one_snapshot(ids))
    }),
    case("flight ec2 share_snapshots", |name| {
        let line = "ec2 share_snapshots --target_account 111122223333";
        flight_ec2(name, State::snapshots(300), line, "snapshot_ids", not_shared)
    }),
    case("flight ec2 modify_tags --dynamic_tags", |name| {
        let line = "ec2 modify_tags --tags Env=of-{resource_id} --create --dynamic_tags";
        flight_ec2(name, State::volumes(300), line, "resource_ids", not_tagged)
    }),
    case("flight s3 delete_objects --check", flight_delete_objects),
    case("flight s3 create_objects", flight_create_objects),
    case("flight iam modify_access_keys", flight_access_keys),
    case("flight iam modify_users_console_access", flight_console_access),
];

const fn case(name: &'static str, run: fn(&'static str) -> Rows) -> Case {
    Case { name, run }
}

fn main() -> io::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` asks for a list of tests, of which there are none.
    if words.iter().any(|word| word == "--list" || word == "--test") {
        return Ok(ExitCode::SUCCESS);
    }
    // `cargo bench` adds `--bench`.
    let wanted = words.iter().find(|word| !word.starts_with("--"));
    let cases: Vec<&Case> = CASES.iter().filter(|case| wanted.is_none_or(|wanted| case.name.contains(wanted.as_str()))).collect();
    if cases.is_empty() {
        eprintln!("no case has `{}` in its name; there are:", wanted.map_or("", String::as_str));
        CASES.iter().for_each(|case| eprintln!("  {}", case.name));
        return Ok(ExitCode::FAILURE);
    }
    Row::print_head();
    let broken = Mutex::new(Vec::new());
    let run = |case: &Case| -> io::Result<()> {
        let rows = (case.run)(case.name)?;
        // Printed under the lock: the rows of two cases do not mix.
        let mut broken = broken.lock().unwrap();
        rows.iter().for_each(Row::print);
        if rows.iter().any(Row::is_broken) {
            broken.push(case.name);
        }
        Ok(())
    };
    if words.iter().any(|word| word == "--together") {
        thread::scope(|scope| {
            let running: Vec<_> = cases.iter().map(|case| scope.spawn(|| run(case))).collect();
            running.into_iter().try_for_each(|running| running.join().unwrap_or_else(|_| Err(io::Error::other("a case panicked"))))
        })?;
    } else {
        cases.iter().try_for_each(|case| run(case))?;
    }
    let broken = broken.into_inner().unwrap();
    println!("{} of {} cases are as they must be", cases.len() - broken.len(), cases.len());
    broken.iter().for_each(|case| println!("  not: {case}"));
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

// How much of what was asked for is not so.

fn not_grown(state: &State, ids: &[String]) -> usize {
    ids.iter().filter(|id| state.volumes.get(*id).is_some_and(|volume| volume.size != 20)).count()
}

fn not_shared(state: &State, ids: &[String]) -> usize {
    ids.iter().filter(|id| state.snapshots.get(*id).is_none_or(|snapshot| !snapshot.shared_with.contains("111122223333"))).count()
}

fn not_tagged(state: &State, ids: &[String]) -> usize {
    ids.iter().filter(|id| state.tags.get(*id).is_none_or(|tags| !tags.contains_key("Env"))).count()
}

// At the limits.

fn limited_ec2(
    name: &str,
    state: State,
    (line, flag, ids): (&str, &str, &[String]),
    optimum: f64,
    left: fn(&State, &[String]) -> usize,
) -> Rows {
    let ec2 = Ec2::start(state, Gate::each(ec2::documented));
    let run = Aaws::change(&ec2.server.url, line)?.list(flag, ids)?.run(patience(most_wall(optimum)))?;
    let failed = run.failed(ids).max(ec2.look(|state| left(state, ids)));
    Ok(vec![Row::of(name, ids.len(), &run, &ec2.meter).all_done(failed).near(optimum)])
}

/// An account of users with a password and two keys. One in ten did nothing for long, and has no MFA; the rest is as it should be.
fn account(users: usize) -> Iam {
    let user = |n: usize| {
        let (name, [one, two]) = (format!("user-{n:04}"), [1, 2].map(|key| format!("AKIA{n:011}{key}")));
        let user = User::new(&name, 800);
        if n.is_multiple_of(10) {
            user.password(400).signed_in(300).key(&one, 400, 300).key(&two, 400, None)
        } else {
            user.password(20).signed_in(1).mfa().key(&one, 20, 1).key(&two, 20, 2)
        }
    };
    Iam::of((0..users).map(user)).root(true)
}

/// Twice: as IAM is asked unless told otherwise, and user by user. `findings` is how many there are of each user who did nothing.
fn limited_iam(name: &str, line: &str, findings: usize) -> Rows {
    const USERS: usize = 300;
    let mut rows = Vec::new();
    for (source, flags) in [("", ""), (" live", " --source live")] {
        let iam = account(USERS).start();
        let front = Front::of(&iam.url, Gate::one(IAM));
        // No more than seven calls a user.
        let run = Aaws::look(&front.server.url, &format!("{line}{flags}"))?.run(patience(most_wall(IAM.optimum(7 * USERS))))?;
        // How many calls are needed is the action's affair; what they take at least is not.
        let (admitted, _) = front.meter.admitted_and_imposed();
        let lost = (USERS / 10 * findings).abs_diff(run.printed());
        let row = Row::of(&format!("{name}{source}"), USERS, &run, &front.meter);
        rows.push(row.all_done(lost).near(IAM.optimum(admitted)));
    }
    Ok(rows)
}

/// 12 pages, with a third of the requests turned away however slowly they come: every third, or six in a row. A client cannot know that, and sends
/// those at its rate, too.
fn limited_cloudtrail(name: &str) -> Rows {
    const EVENTS: usize = 12 * 50;
    let event = |n: usize| {
        let id = format!("{n:08x}-0000-4000-8000-000000000000");
        fake_cloudtrail::event(&id, fake_cloudtrail::now() - 3_600 - n as u64, "DetachVolume", "alice", &["vol-1"])
    };
    let look = |name: &str, gate: Gate| -> io::Result<(Row, f64)> {
        let history = FakeCloudTrail::new((0..EVENTS).map(event).collect());
        let front = Front::of(&history.server.url, gate);
        let run = Aaws::look(&front.server.url, "cloudtrail discover_events --event DetachVolume")?.run(patience(60.0))?;
        let lost = EVENTS.abs_diff(run.printed());
        let (admitted, imposed) = front.meter.admitted_and_imposed();
        Ok((Row::of(name, EVENTS, &run, &front.meter).all_done(lost), CLOUDTRAIL.optimum(admitted + imposed)))
    };
    let (every_third, optimum) = look(name, Gate::one(CLOUDTRAIL).and_every(3))?;
    let (in_a_row, without) = look(&format!("{name} in a row"), Gate::one(CLOUDTRAIL).and_span(5..=10))?;
    Ok(vec![every_third.near(optimum), in_a_row.within(most_recovery(without))])
}

fn objects(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("logs/2026/object-{n:07}")).collect()
}

const DELETE_OBJECTS: &str = "s3 delete_objects --bucket example-bucket";

fn limited_s3(name: &str, held: Held, optimum: f64) -> Rows {
    let keys = objects(OBJECTS);
    let s3 = S3::start(&keys, held);
    let run = Aaws::change(&s3.server.url, DELETE_OBJECTS)?.list("objects", &keys)?.run(patience(most_wall(optimum)))?;
    let failed = run.failed(&keys).max(s3.left());
    Ok(vec![Row::of(name, OBJECTS, &run, &s3.meter).all_done(failed).near(optimum)])
}

// After throttling, without end or not.

/// The requests that are turned away, counted from 1: 20 in a row, after the first have been answered.
const TURNED_AWAY: std::ops::RangeInclusive<usize> = 3..=22;

/// The longest that a run may take that is throttled so, by the time that it takes when it is not.
fn most_recovery(unthrottled: f64) -> f64 {
    3.0 * unthrottled + 5.0
}

/// Runs without and with the throttling, which must not take much longer.
fn recovery(name: &str, run: impl Fn(&str, Gate, f64) -> io::Result<(Row, f64)>, operation: &'static str) -> Rows {
    let (row, unthrottled) = run(&format!("{name} unthrottled"), Gate::open(), 300.0)?;
    let most = most_recovery(unthrottled);
    let (after, _) = run(name, Gate::span(operation, TURNED_AWAY), most)?;
    Ok(vec![row, after.within(most)])
}

fn recovery_s3(name: &str) -> Rows {
    let keys = objects(OBJECTS);
    let run = |name: &str, gate: Gate, most: f64| {
        let s3 = S3::start(&keys, Held::Requests(gate));
        let run = Aaws::change(&s3.server.url, DELETE_OBJECTS)?.list("objects", &keys)?.run(patience(most))?;
        let failed = run.failed(&keys).max(s3.left());
        Ok((Row::of(name, OBJECTS, &run, &s3.meter).all_done(failed), run.wall.as_secs_f64()))
    };
    recovery(name, run, "DeleteObjects")
}

fn recovery_ec2(name: &str) -> Rows {
    let run = |name: &str, gate: Gate, most: f64| {
        let (state, ids) = State::snapshots(MANY);
        let ec2 = Ec2::start(state, gate);
        let run = Aaws::change(&ec2.server.url, "ec2 delete_snapshots")?.list("snapshot_ids", &ids)?.run(patience(most))?;
        let failed = run.failed(&ids).max(ec2.look(|state| state.snapshots.len()));
        Ok((Row::of(name, MANY, &run, &ec2.meter).all_done(failed), run.wall.as_secs_f64()))
    };
    recovery(name, run, "DeleteSnapshot")
}

/// The longest that a run with `--timeout 5s` may take.
const MOST_TIMEOUT: f64 = 10.0;

fn ends_in_time(row: Row, run: &support::rate::run::Run, given: &[String]) -> Rows {
    let not_once = run.not_once(given);
    let row = row.within(MOST_TIMEOUT).must(run.exit.is_some_and(|code| code != 0), || format!("exit {:?}", run.exit));
    Ok(vec![row.must(not_once == 0, || format!("{not_once} items are not in the report exactly once"))])
}

fn timeout_s3(name: &str) -> Rows {
    let keys = objects(5 * S3_BATCH);
    let s3 = S3::start(&keys, Held::Requests(Gate::shut(|_| true)));
    let line = format!("{DELETE_OBJECTS} --timeout 5s");
    let run = Aaws::change(&s3.server.url, &line)?.list("objects", &keys)?.run(patience(MOST_TIMEOUT))?;
    ends_in_time(Row::of(name, keys.len(), &run, &s3.meter), &run, &keys)
}

fn timeout_ec2(name: &str, turned_away: fn(&str) -> bool) -> Rows {
    let (state, ids) = State::snapshots(MANY);
    let ec2 = Ec2::start(state, Gate::shut(turned_away));
    let aaws = Aaws::change(&ec2.server.url, "ec2 delete_snapshots --timeout 5s")?.list("snapshot_ids", &ids)?;
    let run = aaws.run(patience(MOST_TIMEOUT))?;
    ends_in_time(Row::of(name, ids.len(), &run, &ec2.meter), &run, &ids)
}

// Calls.

fn calls_instances(name: &str) -> Rows {
    const INSTANCES: usize = 64;
    let (state, ids) = State::instances(INSTANCES);
    let ec2 = Ec2::start(state, Gate::each(ec2::documented));
    let run = Aaws::change(&ec2.server.url, "ec2 delete_instances")?.list("instance_ids", &ids)?.run(patience(60.0))?;
    let left = ec2.look(|state| state.instances.values().filter(|i| i.terminated.is_none()).count());
    let row = Row::of(name, INSTANCES, &run, &ec2.meter).all_done(run.failed(&ids).max(left));
    let least = ec2::TERMINATING_TAKES.as_secs_f64();
    let row = row.must(run.wall.as_secs_f64() >= least, || format!("they were not awaited, which takes {least:.0} s"));
    Ok(vec![row.within(least + 5.0).calls_at_most(29)])
}

fn calls_iam(name: &str, line: &str, findings: usize) -> Rows {
    const USERS: usize = 1_000;
    let iam = account(USERS).start();
    let front = Front::of(&iam.url, Gate::open());
    let run = Aaws::look(&front.server.url, line)?.run(patience(60.0))?;
    let lost = (USERS / 10 * findings).abs_diff(run.printed());
    Ok(vec![Row::of(name, USERS, &run, &front.meter).all_done(lost).calls_at_most(500)])
}

// Requests in flight.

fn few_at_once(line: &str) -> String {
    format!("{line} --concurrency {FEW_AT_ONCE}")
}

fn flight_ec2(name: &str, (state, ids): (State, Vec<String>), line: &str, flag: &str, left: fn(&State, &[String]) -> usize) -> Rows {
    let ec2 = Ec2::start(state, Gate::open());
    let run = Aaws::change(&ec2.server.url, &few_at_once(line))?.list(flag, &ids)?.run(patience(120.0))?;
    let failed = run.failed(&ids).max(ec2.look(|state| left(state, &ids)));
    Ok(vec![Row::with_concurrency(name, ids.len(), &run, &ec2.meter, FEW_AT_ONCE).all_done(failed)])
}

fn flight_delete_objects(name: &str) -> Rows {
    let keys = objects(2 * S3_BATCH);
    let s3 = S3::start(&keys, Held::Requests(Gate::open()));
    let line = few_at_once(&format!("{DELETE_OBJECTS} --check"));
    let run = Aaws::change(&s3.server.url, &line)?.list("objects", &keys)?.run(patience(60.0))?;
    let failed = run.failed(&keys).max(s3.left());
    Ok(vec![Row::with_concurrency(name, keys.len(), &run, &s3.meter, FEW_AT_ONCE).all_done(failed)])
}

fn flight_create_objects(name: &str) -> Rows {
    let keys = objects(300);
    let s3 = S3::start(&[], Held::Requests(Gate::open()));
    let line = few_at_once("s3 create_objects --bucket example-bucket --body_as text");
    let objects: Vec<String> = keys.iter().map(|key| format!(r#"{{"Key": "{key}", "Body": "text"}}"#)).collect();
    let run = Aaws::change(&s3.server.url, &line)?.list("objects", &objects)?.run(patience(60.0))?;
    let failed = run.failed(&keys).max(keys.len().abs_diff(s3.left()));
    Ok(vec![Row::with_concurrency(name, keys.len(), &run, &s3.meter, FEW_AT_ONCE).all_done(failed)])
}

fn flight_access_keys(name: &str) -> Rows {
    let (keys, users): (Vec<String>, Vec<String>) = (0..100).map(|n| (format!("AKIA{n:011}1"), format!("user-{n:04}"))).unzip();
    let given: Vec<String> =
        keys.iter().zip(&users).map(|(key, user)| format!(r#"{{"AccessKeyId": "{key}", "UserName": "{user}"}}"#)).collect();
    flight_iam(name, ("iam modify_access_keys --disable", "UpdateAccessKey"), "keys", &given, &keys)
}

fn flight_console_access(name: &str) -> Rows {
    let users: Vec<String> = (0..100).map(|n| format!("user-{n:04}")).collect();
    let given: Vec<String> = users.iter().map(|user| format!(r#"{{"UserName": "{user}"}}"#)).collect();
    flight_iam(name, ("iam modify_users_console_access --disable", "DeleteLoginProfile"), "users", &given, &users)
}

/// `write` is the operation that changes one of the items.
fn flight_iam(name: &str, (line, write): (&str, &str), flag: &str, given: &[String], items: &[String]) -> Rows {
    let iam = account(items.len()).start();
    let front = Front::of(&iam.url, Gate::open());
    let run = Aaws::change(&front.server.url, &few_at_once(line))?.list(flag, given)?.run(patience(60.0))?;
    // Nothing of a write is kept, so they are counted.
    let written = front.meter.operations().get(write).copied().unwrap_or_default();
    let failed = run.failed(items).max(items.len().abs_diff(written));
    Ok(vec![Row::with_concurrency(name, items.len(), &run, &front.meter, FEW_AT_ONCE).all_done(failed)])
}
