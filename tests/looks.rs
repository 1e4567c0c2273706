//! What looking costs: listings with all that is known of each thing beside their pages alone, and an account's whole overview.
//!
//! `cargo bench --bench looks [-- SECTION…] [--runs N]`, where the sections are `details`, `memory` and `overview`; all of them by default. Times are medians
//! of alternating runs against servers in this process, each shown with what it is to reach. It fails when one is not reached, or when a listing is short.
//!
//! The pages alone are what the plain listing takes, which asks for the same pages and prints the ids; and what the same requests take when each is sent
//! after the answer to the one before and nothing is done with it. How long the program takes to start is measured, and taken off its run for the latter.

// The tests use more of their support than this does.
#![allow(dead_code)]

#[path = "all/support"]
mod support {
    pub mod fake_iam;
    pub mod fake_services;
    pub mod http;
    pub mod proxy;
    pub mod xml;
}

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::fake_iam::{self, Iam, User};
use support::fake_services;
use support::http::{self, Response, Server};

const PROGRAM: &str = env!("CARGO_BIN_EXE_aaws");

/// The usual latency of an answer.
const LATENCY: Duration = Duration::from_millis(20);

/// Things of one page: EC2 is asked for so many.
const PAGE: usize = 500;

/// The most that a listing with details may take of the time of its pages alone.
const MOST_RATIO: f64 = 1.2;

/// The most that may lie between listings of a tenth and of the whole.
const MOST_GROWTH_KIB: i64 = 16 * 1024;

/// The longest that an overview may take.
const MOST_OVERVIEW: Duration = Duration::from_secs(2);

/// Of the account that is looked over.
const USERS: usize = 1000;
const VOLUMES: usize = 500;

/// A kind of thing, and how EC2 lists it.
struct Kind {
    action: &'static str,
    operation: &'static str,
    /// The element that holds the page.
    set: &'static str,
    count: usize,
    item: fn(usize) -> String,
}

const KINDS: [Kind; 4] = [
    Kind { action: "discover_volumes", operation: "DescribeVolumes", set: "volumeSet", count: 5_000, item: volume },
    Kind { action: "discover_snapshots", operation: "DescribeSnapshots", set: "snapshotSet", count: 20_000, item: snapshot },
    Kind { action: "discover_images", operation: "DescribeImages", set: "imagesSet", count: 1_000, item: image },
    Kind { action: "discover_instances", operation: "DescribeInstances", set: "reservationSet", count: 5_000, item: instance },
];

/// Three tags, of which one is the name.
fn tags(n: usize) -> String {
    format!(
        "<tagSet><item><key>Name</key><value>thing-{n}</value></item><item><key>Env</key><value>prod</value></item>\
         <item><key>Owner</key><value>team-{}</value></item></tagSet>",
        n % 17
    )
}

fn volume(n: usize) -> String {
    // Every other one is attached to nothing.
    let (status, attached) = match n.is_multiple_of(2) {
        true => ("available", String::new()),
        false => (
            "in-use",
            format!(
                "<item><volumeId>vol-{n:017x}</volumeId><instanceId>i-{n:017x}</instanceId><device>/dev/sdf</device><status>attached</status>\
                 <attachTime>2024-03-01T10:00:00.000Z</attachTime><deleteOnTermination>false</deleteOnTermination></item>"
            ),
        ),
    };
    format!(
        "<item><volumeId>vol-{n:017x}</volumeId><size>100</size><snapshotId/><availabilityZone>us-east-1a</availabilityZone><status>{status}</status>\
         <createTime>2024-03-01T10:00:00.000Z</createTime><attachmentSet>{attached}</attachmentSet>{}<volumeType>gp3</volumeType><iops>3000</iops>\
         <throughput>125</throughput><encrypted>{}</encrypted><multiAttachEnabled>false</multiAttachEnabled></item>",
        tags(n),
        n.is_multiple_of(3)
    )
}

fn snapshot(n: usize) -> String {
    format!(
        "<item><snapshotId>snap-{n:017x}</snapshotId><volumeId>vol-{n:017x}</volumeId><status>completed</status>\
         <startTime>2024-03-01T10:00:00.000Z</startTime><progress>100%</progress><ownerId>123456789012</ownerId><volumeSize>100</volumeSize>\
         <description>Before the upgrade of thing {n}</description><encrypted>true</encrypted><storageTier>standard</storageTier>{}</item>",
        tags(n)
    )
}

fn image(n: usize) -> String {
    format!(
        "<item><imageId>ami-{n:017x}</imageId><imageLocation>123456789012/thing-{n}</imageLocation><imageState>available</imageState>\
         <imageOwnerId>123456789012</imageOwnerId><creationDate>2024-03-01T10:00:00.000Z</creationDate><isPublic>false</isPublic>\
         <architecture>x86_64</architecture><imageType>machine</imageType><name>thing-{n}</name><description>Thing {n}</description>\
         <rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/sda1</rootDeviceName><blockDeviceMapping><item><deviceName>/dev/sda1</deviceName><ebs>\
         <snapshotId>snap-{n:017x}</snapshotId><volumeSize>8</volumeSize><deleteOnTermination>true</deleteOnTermination><volumeType>gp3</volumeType>\
         <encrypted>false</encrypted></ebs></item></blockDeviceMapping><virtualizationType>hvm</virtualizationType>{}</item>",
        tags(n)
    )
}

fn instance(n: usize) -> String {
    format!(
        "<item><reservationId>r-{n:017x}</reservationId><ownerId>123456789012</ownerId><groupSet/><instancesSet><item>\
         <instanceId>i-{n:017x}</instanceId><imageId>ami-{n:017x}</imageId><instanceState><code>16</code><name>running</name></instanceState>\
         <privateDnsName>ip-10-0-0-1.ec2.internal</privateDnsName><instanceType>t3.micro</instanceType><launchTime>2024-03-01T10:00:00.000Z</launchTime>\
         <placement><availabilityZone>us-east-1a</availabilityZone><tenancy>default</tenancy></placement><monitoring><state>disabled</state></monitoring>\
         <subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId><privateIpAddress>10.0.0.1</privateIpAddress><groupSet><item><groupId>sg-1</groupId>\
         <groupName>web</groupName></item></groupSet><architecture>x86_64</architecture><rootDeviceType>ebs</rootDeviceType>\
         <rootDeviceName>/dev/sda1</rootDeviceName><blockDeviceMapping><item><deviceName>/dev/sda1</deviceName><ebs><volumeId>vol-{n:017x}</volumeId>\
         <status>attached</status><attachTime>2024-03-01T10:00:00.000Z</attachTime><deleteOnTermination>true</deleteOnTermination></ebs></item>\
         </blockDeviceMapping>{}<metadataOptions><state>applied</state><httpTokens>required</httpTokens>\
         <httpPutResponseHopLimit>1</httpPutResponseHopLimit><httpEndpoint>enabled</httpEndpoint></metadataOptions></item></instancesSet></item>",
        tags(n)
    )
}

impl Kind {
    /// So many of it, in pages as EC2 writes them; they are the same whatever is filtered by.
    fn pages(&self, count: usize) -> Vec<String> {
        let page = |start: usize| {
            let end = (start + PAGE).min(count);
            let items: String = (start..end).map(self.item).collect();
            let next = if end < count { format!("<nextToken>{}</nextToken>", end / PAGE) } else { String::new() };
            let (operation, set) = (self.operation, self.set);
            format!(
                "<{operation}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>REQ</requestId><{set}>{items}</{set}>{next}\
                 </{operation}Response>"
            )
        };
        (0..count.max(1)).step_by(PAGE).map(page).collect()
    }
}

/// An EC2 that has so many of this kind, and nothing else.
fn ec2(kind: &Kind, count: usize, latency: Duration) -> Server {
    let pages = HashMap::from([(kind.operation, kind.pages(count))]);
    Server::start(move |operation, _, request| {
        thread::sleep(latency);
        let Some(pages) = pages.get(operation) else {
            return Response::xml(200, format!("<{operation}Response><requestId>REQ</requestId></{operation}Response>"));
        };
        // All at once is what EC2 advises against; a page of another size would be another measurement.
        assert_eq!(request.parameter("MaxResults"), Some(PAGE.to_string()), "{operation}");
        let page = request.parameter("NextToken").map_or(Some(0), |token| token.parse::<usize>().ok());
        match page.and_then(|page| pages.get(page)) {
            Some(page) => Response::xml(200, page.clone()),
            None => support::proxy::error(&request, 400, "InvalidNextToken"),
        }
    })
}

/// What a run took.
struct Took {
    wall: Duration,
    peak_kib: i64,
    lines: usize,
}

/// The most memory that a child held, in KiB, looked at every few milliseconds until it ends: what wait4 tells counts the copy of this process that the
/// child was before it became a program of its own.
fn watch_memory(child: &Child) -> thread::JoinHandle<i64> {
    let status = format!("/proc/{}/status", child.id());
    thread::spawn(move || {
        let mut most = 0;
        // A child that has ended has no memory.
        while let Ok(status) = fs::read_to_string(&status)
            && let Some(peak) = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))
        {
            most = peak.trim().trim_end_matches(" kB").parse().unwrap_or(most);
            thread::sleep(Duration::from_millis(3));
        }
        most
    })
}

fn run(server: &Server, line: &str) -> io::Result<Took> {
    let home = tempfile::tempdir()?;
    let mut command = Command::new(PROGRAM);
    command
        .args(line.split_whitespace())
        .env_clear()
        .env("HOME", home.path())
        .envs([("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")])
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ENDPOINT_URL", &server.url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    server.forget();
    let began = Instant::now();
    let mut child = command.spawn()?;
    let memory = watch_memory(&child);
    let said = child.stderr.take().map(|stderr| thread::spawn(move || io::read_to_string(stderr)));
    let mut lines = 0;
    if let Some(output) = child.stdout.take() {
        let mut reader = BufReader::with_capacity(1 << 16, output);
        loop {
            let chunk = reader.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            lines += chunk.iter().filter(|byte| **byte == b'\n').count();
            let length = chunk.len();
            reader.consume(length);
        }
    }
    // It is watched until it ends, and a child that nobody has waited for has no memory either.
    let peak_kib = memory.join().map_err(|_| io::Error::other("the memory could not be watched"))?;
    let success = child.wait()?.success();
    let wall = began.elapsed();
    if !success {
        let said = said.and_then(|said| said.join().ok()).and_then(Result::ok).unwrap_or_default();
        return Err(io::Error::other(format!("`{line}` failed: {said}")));
    }
    Ok(Took { wall, peak_kib, lines })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// What of it all was not reached.
#[derive(Default)]
struct Report {
    missed: Vec<String>,
}

impl Report {
    fn show(&mut self, what: &str, value: f64, most: f64) {
        let reached = value <= most;
        println!("  {what:<64} {value:>7.2}  (wanted: at most {most}{})", if reached { "" } else { "; not reached" });
        if !reached {
            self.missed.push(what.to_owned());
        }
    }
}

/// Listings with details beside their pages alone.
fn details(report: &mut Report, runs: usize) -> io::Result<()> {
    for kind in &KINDS {
        for latency in [LATENCY, Duration::ZERO] {
            let server = ec2(kind, kind.count, latency);
            let (mut plain, mut full, mut raw, mut start) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for _ in 0..runs {
                for (details, times) in [("", &mut plain), (" --details", &mut full)] {
                    let took = run(&server, &format!("ec2 {}{details} --output jsonl", kind.action))?;
                    assert_eq!(took.lines, kind.count, "{}{details}: things are missing, or there twice", kind.action);
                    times.push(took.wall);
                }
                let requests = server.log();
                assert_eq!(requests.len(), kind.count.div_ceil(PAGE), "{}: {:?}", kind.action, server.operations());
                let began = Instant::now();
                for (_, request) in &requests {
                    http::send(&server.url, request)?;
                }
                raw.push(began.elapsed());
                // A run of one call: what is over its latency is the program's start.
                start.push(run(&server, "ec2 discover_active_regions --output jsonl")?.wall.saturating_sub(latency));
            }
            let [plain, full, raw, start] = [plain, full, raw, start].map(median);
            println!(
                "ec2 {}, {} things, {latency:?} an answer: pages alone {raw:.0?}, ids {plain:.0?}, details {full:.0?}, start-up {start:.0?}",
                kind.action, kind.count
            );
            let name = |what: &str| format!("{}, {latency:?}: {what}", kind.action);
            report.show(&name("details, of the ids' time"), full.as_secs_f64() / plain.as_secs_f64(), MOST_RATIO);
            let of_pages = full.saturating_sub(start).as_secs_f64() / raw.as_secs_f64();
            let what = name("details without start-up, of the pages' time");
            if latency.is_zero() {
                // Without latency these are pages that nobody reads, beside pages that are read: shown, and not judged.
                println!("  {what:<64} {of_pages:>7.2}");
            } else {
                report.show(&what, of_pages, MOST_RATIO);
            }
        }
    }
    Ok(())
}

/// What listings with details hold at most: it must not grow with them.
fn memory(report: &mut Report, runs: usize) -> io::Result<()> {
    for kind in &KINDS {
        for format in ["jsonl", "table"] {
            let mut peaks = Vec::new();
            for count in [kind.count / 10, kind.count] {
                let server = ec2(kind, count, Duration::ZERO);
                let mut most = 0;
                for _ in 0..runs {
                    let took = run(&server, &format!("ec2 {} --details --output {format}", kind.action))?;
                    assert!(took.lines >= count, "{}: {} lines for {count} things", kind.action, took.lines);
                    most = most.max(took.peak_kib);
                }
                peaks.push(most);
            }
            let (few, many) = (peaks[0], peaks[1]);
            let mib = |kib: i64| kib as f64 / 1024.0;
            let (tenth, count) = (kind.count / 10, kind.count);
            println!("ec2 {} --details --output {format}: {:.1} MiB for {tenth}, {:.1} MiB for {count}", kind.action, mib(few), mib(many));
            report.show(&format!("{}, {format}: MiB more for ten times as many", kind.action), mib(many - few), mib(MOST_GROWTH_KIB));
        }
    }
    Ok(())
}

/// An account of users with a password and two keys each, of whom one in ten did nothing for long and has no MFA, and of volumes. All other services
/// have a little.
fn account() -> Server {
    let user = |n: usize| {
        let (name, [one, two]) = (format!("user-{n:04}"), [1, 2].map(|key| format!("AKIA{n:011}{key}")));
        let user = User::new(&name, 800);
        if n.is_multiple_of(10) {
            user.password(400).signed_in(300).key(&one, 400, 300).key(&two, 400, None)
        } else {
            user.password(20).signed_in(1).mfa().key(&one, 20, 1).key(&two, 20, 2)
        }
    };
    let members = |iam: Iam, n: usize| iam.member_of("developers", &format!("user-{n:04}"));
    let reading = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}"#;
    let iam = Iam::of((0..USERS).map(user)).root(true).policy("reading", reading).inline("Group", "developers", "more", reading, "reading");
    let iam = (0..USERS).fold(iam, members).start();
    let volumes = ec2(&KINDS[0], VOLUMES, Duration::ZERO);
    let others = fake_services::in_front_of(&volumes.url, Vec::new());
    Server::start(move |operation, _, request| {
        thread::sleep(LATENCY);
        let upstream = match request.signed_service() {
            Some("s3") if operation == "ListBuckets" => {
                return Response::xml(200, "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>");
            }
            Some("sts") => return identity(),
            Some("iam") => &iam.url,
            _ => &others.url,
        };
        http::send(upstream, &request).unwrap_or_else(|_| Response::dropped())
    })
}

fn identity() -> Response {
    let account = fake_iam::ACCOUNT;
    Response::xml(
        200,
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::{account}:user/tester</Arn><UserId>AIDATESTER</UserId><Account>{account}</Account></GetCallerIdentityResult>\
             <ResponseMetadata><RequestId>REQ</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
        ),
    )
}

fn overview(report: &mut Report, runs: usize) -> io::Result<()> {
    let server = account();
    let (mut times, mut calls) = (Vec::new(), BTreeMap::<String, usize>::new());
    for _ in 0..runs {
        times.push(run(&server, "overview")?.wall);
        calls.clear();
        server.operations().into_iter().for_each(|operation| *calls.entry(operation).or_default() += 1);
    }
    let took = median(times);
    let made: usize = calls.values().sum();
    println!("overview, {USERS} users with two keys, {VOLUMES} volumes, {LATENCY:?} a call: {took:.2?}, {made} calls: {calls:?}");
    report.show("overview: seconds", took.as_secs_f64(), MOST_OVERVIEW.as_secs_f64());
    // The report clears nine in ten of the users: they are not looked at one by one.
    let (stale, keys) = (USERS / 10, calls.get("GetAccessKeyLastUsed").copied().unwrap_or_default());
    report.show("overview: looks at keys, of those that may be stale", keys as f64 / (2 * stale) as f64, 1.0);
    // Three checks begin with it.
    let of_report = ["GenerateCredentialReport", "GetCredentialReport"].map(|call| calls.get(call).copied().unwrap_or_default());
    report.show("overview: calls for the credential report", of_report.iter().sum::<usize>() as f64, 2.0);
    Ok(())
}

fn main() -> io::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` asks for a list of tests, of which there are none.
    if words.iter().any(|word| word == "--list" || word == "--test") {
        return Ok(ExitCode::SUCCESS);
    }
    let runs_at = words.iter().position(|word| word == "--runs");
    let runs = runs_at.and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(5).max(1);
    let is_section = |(at, word): &(usize, &String)| !word.starts_with("--") && runs_at.is_none_or(|runs_at| *at != runs_at + 1);
    let sections: Vec<&str> = words.iter().enumerate().filter(is_section).map(|(_, word)| word.as_str()).collect();
    let has = |section: &str| sections.is_empty() || sections.contains(&section);
    println!("medians of {runs} runs by turns");
    let mut report = Report::default();
    if has("details") {
        details(&mut report, runs)?;
    }
    if has("memory") {
        // The most of a few: it differs little from one run to the next.
        memory(&mut report, runs.min(3))?;
    }
    if has("overview") {
        overview(&mut report, runs)?;
    }
    report.missed.iter().for_each(|what| println!("not reached: {what}"));
    Ok(if report.missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
