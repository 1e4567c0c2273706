//! How many requests are in flight at once, counted by who answers them: of every action that changes something, of every discovery of IAM and of an overview
//! never more than `--concurrency`. All that a run sends counts: looks, changes, waits, what STS is asked, and credentials that are had anew.
//!
//! Each request is held for a moment before it is answered, so that those come that can come beside it. A bound that nothing comes near would be kept by anything, so
//! each is run a second time with more permits, and then more requests come than the bound allowed. Where they cannot, the table says why.

// With some services only, what the actions of the others need is left over.
#![cfg_attr(not(all(feature = "ec2", feature = "iam", feature = "s3")), allow(dead_code, unused_imports))]

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use aaws::catalog::registry;

use super::faults::{is_true, pass, told};
use crate::support::cases::{Case, Place, Takes, each};
use crate::support::directory;
use crate::support::http::{Request, Response, Server};
use crate::support::in_flight::InFlight;

/// `--concurrency` of the runs that show that more requests come when they may.
const MANY: usize = 8;

/// How many things an action is given that takes many.
const ITEMS: usize = 6;

/// For how long a request is held at the most, where as many as may be have come or nothing comes beside it.
const A_MOMENT: Duration = Duration::from_millis(100);

/// The same until the first time that as many have come as are to come. They are sent within milliseconds, but for a machine that is busy.
const A_WHILE: Duration = Duration::from_millis(500);

/// How many requests there are at once where as many may be as there are.
#[derive(Debug, Clone, Copy)]
enum AtOnce {
    /// Three and more, so the run is held to two.
    Many,
    /// Two, so it is held to one.
    Two,
    /// They come one after another, for this reason. It is held to one, and more is not to be had.
    One(&'static str),
}

impl AtOnce {
    /// `--concurrency` of the run that is held to it.
    fn bound(self) -> usize {
        match self {
            AtOnce::Many => 2,
            AtOnce::Two | AtOnce::One(_) => 1,
        }
    }
}

/// How an action is run.
struct Flight<P> {
    action: &'static str,
    /// What is put behind the line of its case.
    more: &'static str,
    /// What is run in the place of that line.
    line: Option<fn(&P, &[String]) -> String>,
    at_once: AtOnce,
}

const fn many<P>(action: &'static str, more: &'static str) -> Flight<P> {
    Flight { action, more, line: None, at_once: AtOnce::Many }
}

const fn two<P>(action: &'static str) -> Flight<P> {
    Flight { action, more: "", line: None, at_once: AtOnce::Two }
}

const fn one<P>(action: &'static str, why: &'static str) -> Flight<P> {
    Flight { action, more: "", line: None, at_once: AtOnce::One(why) }
}

#[cfg(feature = "backup")]
const BACKUP: &[Flight<crate::support::fake_backup::FakeBackup>] = &[many("backup/create_backups", ""), many("backup/delete_backups", "")];

/// Why the power of several instances takes one request.
#[cfg(feature = "ec2")]
const TOGETHER: &str = "a request starts or stops up to a thousand instances, and a look is at two hundred";

/// Why encrypting does.
#[cfg(feature = "ec2")]
const IN_STEPS: &str = "each step on the one machine needs what the one before it came to";

#[cfg(feature = "ec2")]
const EC2: &[Flight<crate::support::ec2::World>] = &[
    many("ec2/copy_snapshots", ""),
    many("ec2/create_images", ""),
    many("ec2/create_snapshots", ""),
    many("ec2/delete_images", "--include_snapshots"),
    many("ec2/delete_instances", "--disable_protections"),
    many("ec2/delete_interfaces", ""),
    many("ec2/delete_security_groups", ""),
    many("ec2/delete_snapshots", ""),
    many("ec2/delete_volumes", "--snapshot"),
    one("ec2/encrypt_instance_volumes", IN_STEPS),
    one("ec2/encrypt_volume", IN_STEPS),
    // The setting has two parts, which are read side by side.
    two("ec2/modify_default_ebs_encryption"),
    many("ec2/modify_metadata_options", ""),
    Flight {
        action: "ec2/modify_tags",
        more: "",
        // Those that get the same tags share a request.
        line: Some(|_, ids| {
            format!("ec2 modify_tags --tags Env=prod Of={{resource_id}} --create --dynamic_tags --resource_ids {}", ids.join(" "))
        }),
        at_once: AtOnce::Many,
    },
    many("ec2/modify_volumes", "--snapshot --wait"),
    many("ec2/release_addresses", ""),
    many("ec2/revoke_security_group_rules", ""),
    many("ec2/share_snapshots", ""),
    one("ec2/start_instances", TOGETHER),
    one("ec2/stop_instances", TOGETHER),
];

#[cfg(feature = "iam")]
const IAM: &[Flight<crate::support::Account>] = &[
    many("iam/delete_access_keys", ""),
    many("iam/modify_access_keys", ""),
    many("iam/modify_users_console_access", ""),
    // One user is locked out part by part, the deny first. How that one is denied is looked up in two places at once.
    two("iam/quarantine_user"),
    many("iam/revoke_role_sessions", ""),
];

#[cfg(feature = "s3")]
const S3: &[Flight<crate::support::Bucket>] = &[
    many("s3/create_objects", ""),
    many("s3/delete_incomplete_uploads", ""),
    Flight {
        action: "s3/delete_objects",
        more: "",
        // A request deletes up to a thousand of them, and before that each can be looked at.
        line: Some(|bucket, ids| format!("s3 delete_objects --bucket {bucket} --check --objects {}", ids.join(" "))),
        at_once: AtOnce::Many,
    },
];

/// What was counted of an action.
struct Row {
    what: String,
    at_once: AtOnce,
    /// Requests of the run that is held to its bound, and how many of them were in flight at once.
    requests: usize,
    most: usize,
    /// The same of the run that may have more.
    could: usize,
}

fn print(rows: &[Row]) {
    println!("{:<78}{:>9}{:>12}{:>11}{:>8}", "in flight at once", "requests", "concurrency", "in flight", "with 8");
    for Row { what, at_once, requests, most, could } in rows {
        println!("{what:<78}{requests:>9}{:>12}{most:>11}{could:>8}", at_once.bound());
        if let AtOnce::One(why) = at_once {
            println!("    {why}");
        }
    }
}

/// Counts the requests that come to the servers of a run, and holds each.
struct Watch {
    in_flight: Arc<InFlight>,
    /// Until so many came, or for so long.
    wanted: usize,
    longest: Duration,
}

impl Watch {
    fn new(wanted: usize, longest: Duration) -> Self {
        Watch { in_flight: Arc::default(), wanted, longest }
    }

    fn server(&self, answer: impl Fn(Request) -> Response + Send + Sync + 'static) -> Server {
        let (in_flight, wanted, longest) = (Arc::clone(&self.in_flight), self.wanted, self.longest);
        Server::start(move |_, _, request| {
            let entered = in_flight.enter();
            entered.hold(wanted, longest);
            answer(request)
        })
    }

    /// A server that passes on what comes.
    fn before(&self, url: String) -> Server {
        self.server(move |request| pass(&url, &request))
    }
}

/// Runs something twice, held to its bound and with more permits. `run` is given the permits, and gives how many requests there were.
fn compared(what: String, at_once: AtOnce, run: impl Fn(&Watch, usize) -> usize) -> Row {
    let bound = at_once.bound();
    let held = Watch::new(bound + 1, A_MOMENT);
    let requests = run(&held, bound);
    let most = held.in_flight.most();
    assert!(requests > 0 && most > 0, "nothing came of {what}");
    assert!(most <= bound, "{most} requests were in flight at once, with --concurrency {bound}");
    let free = Watch::new(bound + 1, if matches!(at_once, AtOnce::One(_)) { A_MOMENT } else { A_WHILE });
    run(&free, MANY);
    let could = free.in_flight.most();
    assert!(could <= MANY, "{could} requests were in flight at once, with --concurrency {MANY}");
    assert!(
        could > bound || matches!(at_once, AtOnce::One(_)),
        "no more than {could} requests were in flight at once with --concurrency {MANY}, which says nothing of what {bound} allows"
    );
    Row { what, at_once, requests, most, could }
}

/// Counts all actions of a service, and prints a table of them.
#[track_caller]
fn every<P: Place>(cases: &[&[Case<P>]], flights: &[Flight<P>]) {
    let counted = |flight: &Flight<P>| {
        let case = cases.iter().copied().flatten().find(|case| case.action == flight.action).expect("a case of the action");
        compared(flight.action.to_owned(), flight.at_once, |watch, concurrency| change(case, flight, watch, concurrency))
    };
    print(&each(flights, |flight| flight.action.to_owned(), counted));
}

/// One run in a new world, in which all is done that was asked for.
fn change<P: Place>(case: &Case<P>, flight: &Flight<P>, watch: &Watch, concurrency: usize) -> usize {
    let place = P::fresh();
    let things = if case.takes == Takes::Many { ITEMS } else { 1 };
    // Each is made by itself: of rules that are in one group, one request takes all.
    let ids: Vec<String> = (0..things).flat_map(|number| (case.make)(&place, number..number + 1)).collect();
    let line = flight.line.unwrap_or(case.line)(&place, &ids);
    let line = format!("{line} {} --concurrency {concurrency} --report report.jsonl --journal journal.jsonl", flight.more);
    let (server, folder) = (watch.before(place.url()), directory());
    let output = place.aaws(&server, &line).within(folder.path()).run();
    let report = fs::read_to_string(folder.path().join("report.jsonl")).unwrap_or_default();
    let all = format!("{output}\n--- report\n{report}");
    assert_eq!(output.code, Some(0), "{all}");
    is_true(case, &place, &ids, &output, &told(&report), &all);
    server.operations().len()
}

#[test]
fn every_action_that_changes_something_and_every_discovery_of_iam_is_counted() {
    let mut counted: Vec<&str> = Vec::new();
    #[cfg(feature = "backup")]
    counted.extend(BACKUP.iter().map(|flight| flight.action));
    #[cfg(feature = "ec2")]
    counted.extend(EC2.iter().map(|flight| flight.action));
    #[cfg(feature = "iam")]
    counted.extend(IAM.iter().map(|flight| flight.action).chain(discoveries::ALL.iter().map(|discovery| discovery.action)));
    #[cfg(feature = "s3")]
    counted.extend(S3.iter().map(|flight| flight.action));
    let is_due = |path: &str, changes: bool| changes || path.starts_with("iam/discover_");
    let due = registry::actions().iter().filter(|entry| is_due(entry.meta.path, entry.meta.effect.changes()));
    assert_eq!(counted.into_iter().collect::<BTreeSet<_>>(), due.map(|entry| entry.meta.path).collect::<BTreeSet<_>>());
}

#[cfg(feature = "backup")]
#[test]
fn no_action_of_backup_has_more_requests_in_flight_than_it_may() {
    every(&[super::backup::CASES], BACKUP);
}

#[cfg(feature = "ec2")]
#[test]
fn no_action_of_ec2_has_more_requests_in_flight_than_it_may() {
    every(&[super::ec2::CASES], EC2);
}

#[cfg(feature = "iam")]
#[test]
fn no_action_of_iam_has_more_requests_in_flight_than_it_may() {
    every(&[super::iam::CASES, super::iam::PARTS], IAM);
}

#[cfg(feature = "s3")]
#[test]
fn no_action_of_s3_has_more_requests_in_flight_than_it_may() {
    every(&[super::s3::CASES], S3);
}

/// The checks of an overview are made side by side, and share what the run may have.
#[cfg(all(feature = "ec2", feature = "iam"))]
#[test]
fn an_overview_has_no_more_requests_in_flight_than_one_run_may() {
    use crate::support::ec2::World;

    let row = compared("overview".to_owned(), AtOnce::Many, |watch, concurrency| {
        let world = World::new();
        for user in ["ann", "bob", "cleo"] {
            world.volume(&[]);
            world.account.iam("CreateUser", &[("UserName", user)]);
            world.account.iam("CreateLoginProfile", &[("UserName", user), ("Password", "Correct-Horse-7-Battery")]);
            world.account.iam("CreateAccessKey", &[("UserName", user)]);
        }
        let server = watch.before(world.url());
        let run = world.aaws_via(&server, format!("overview --concurrency {concurrency}")).run();
        // Some of what it asks moto does not know.
        assert!(matches!(run.code, Some(0 | 3)), "{run}");
        server.operations().len()
    });
    print(&[row]);
}

/// What only looks, and what is asked for credentials: on a small IAM, whose every list has several pages.
#[cfg(feature = "iam")]
mod discoveries {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use jiff::{SignedDuration, Timestamp};

    use super::{A_MOMENT, AtOnce, ITEMS, Watch, compared, each, pass, print};
    use crate::support::aaws;
    use crate::support::fake_iam::{Iam, User};
    use crate::support::http::Response;
    use crate::support::proxy;

    pub struct Discovery {
        pub action: &'static str,
        flags: &'static str,
        at_once: AtOnce,
    }

    const fn by_user(action: &'static str, flags: &'static str) -> Discovery {
        Discovery { action, flags, at_once: AtOnce::Many }
    }

    const fn listed(action: &'static str, flags: &'static str) -> Discovery {
        let why = "it reads GetAccountAuthorizationDetails, and where a page begins only the one before it tells";
        Discovery { action, flags, at_once: AtOnce::One(why) }
    }

    /// Those that look at users also without a credential report, which leaves none of them out.
    pub const ALL: &[Discovery] = &[
        listed("iam/discover_admin_paths", ""),
        by_user("iam/discover_inactive_console_users", "--threshold_days 90"),
        by_user("iam/discover_inactive_console_users", "--threshold_days 90 --source live"),
        by_user("iam/discover_inactive_users", "--threshold_days 90"),
        by_user("iam/discover_inactive_users", "--threshold_days 90 --source live"),
        by_user("iam/discover_no_mfa_users", ""),
        by_user("iam/discover_no_mfa_users", "--source live"),
        by_user("iam/discover_old_access_keys", "--threshold_days 90"),
        by_user("iam/discover_old_access_keys", "--threshold_days 90 --source live"),
        by_user("iam/discover_old_password_users", "--threshold_days 90"),
        by_user("iam/discover_old_password_users", "--threshold_days 90 --source live"),
        listed("iam/discover_permissive_inline_policies", ""),
        listed("iam/discover_permissive_policies", ""),
        listed("iam/discover_trust_policies", ""),
        by_user("iam/discover_unused_access_keys", "--threshold_days 90"),
        by_user("iam/discover_unused_access_keys", "--threshold_days 90 --source live"),
        listed("iam/discover_unused_roles", "--threshold_days 90"),
    ];

    /// An account in which each finds something: of the users each finds all.
    fn account() -> Iam {
        const ANYTHING: &str = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
        const ANYBODY: &str = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#;
        let user = |n: usize| {
            let keys = [format!("AKIA{n}A"), format!("AKIA{n}B")];
            User::new(&format!("user{n}"), 400).password(400).signed_in(300).key(&keys[0], 400, 300).key(&keys[1], 400, 300)
        };
        let users = Iam::of((0..ITEMS).map(user)).pages_of(4);
        (0..ITEMS).fold(users, |iam, n| {
            let iam = iam.role(&format!("idle{n}"), "/", 400, Some(200)).trusting(&format!("open{n}"), ANYBODY);
            iam.policy(&format!("Anything{n}"), ANYTHING).inline("User", &format!("user{n}"), "inline-1", ANYTHING, "Anything0")
        })
    }

    #[test]
    fn no_discovery_of_iam_has_more_requests_in_flight_than_it_may() {
        let counted = |discovery: &Discovery| {
            let line = format!("{} {}", discovery.action.replace('/', " "), discovery.flags);
            compared(line.clone(), discovery.at_once, |watch, concurrency| {
                let server = watch.before(account().start().url);
                let found = aaws(format!("{line} --concurrency {concurrency}")).endpoint(&server.url).run().ok().json();
                assert!(found.as_array().is_some_and(|found| !found.is_empty()), "{line} finds nothing");
                server.operations().len()
            })
        };
        print(&each(ALL, |discovery| discovery.action.to_owned(), counted));
    }

    /// The tokens of credentials: that which is turned down after a while, and that of those that are given in their place.
    const TOKENS: [&str; 2] = ["the-first", "the-second"];

    /// Two users are looked at, by two requests each: when the first of them is turned down, the others want its permit.
    #[test]
    fn credentials_that_are_had_anew_are_one_of_the_requests_in_flight() {
        const BOUND: usize = 2;
        let watch = Watch::new(BOUND + 1, A_MOMENT);
        let (url, given, accepted) = (account().start().url, AtomicUsize::new(0), AtomicUsize::new(0));
        let server = watch.server(move |request| {
            if request.target == "/credentials" {
                let token = TOKENS[given.fetch_add(1, Ordering::Relaxed).min(1)];
                let expires = Timestamp::now() + SignedDuration::from_hours(1);
                let body = format!(r#"{{"AccessKeyId":"AKIATEST","SecretAccessKey":"secret","Token":"{token}","Expiration":"{expires}"}}"#);
                return Response {
                    status: 200,
                    headers: vec![("Content-Type".into(), "application/json".into())],
                    body: body.into_bytes(),
                };
            }
            let is_first = request.header("x-amz-security-token") == Some(TOKENS[0]);
            if is_first && accepted.fetch_add(1, Ordering::Relaxed) >= 4 {
                return proxy::error(&request, 403, "ExpiredToken");
            }
            pass(&url, &request)
        });
        let line = format!("iam discover_inactive_users --threshold_days 90 --source live --concurrency {BOUND}");
        let run = aaws(line).endpoint(&server.url).without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY");
        let found = run.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/credentials", server.url)).run().ok().json();
        assert_eq!(found.as_array().map(Vec::len), Some(ITEMS), "{found}");
        let asked = server.log().iter().filter(|(_, request)| request.target == "/credentials").count();
        assert_eq!((asked, watch.in_flight.most()), (2, BOUND), "how often credentials were asked for, and requests in flight");
    }
}
