//! The AWS Backup actions, on a stand-in that keeps jobs and recovery points: moto has neither.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::aaws::Aaws;
use crate::support::fake_backup::{ACCOUNT, FakeBackup, Fate};
use crate::support::{Output, aaws, directory, report, shell};

const INSTANCE: &str = "i-0123456789abcdef0";
const VOLUME: &str = "vol-0123456789abcdef0";
const TABLE: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/orders";
const IMAGE: &str = "arn:aws:ec2:us-east-1::image/ami-0123456789abcdef0";
const SNAPSHOT: &str = "arn:aws:ec2:us-east-1::snapshot/snap-0123456789abcdef0";

fn on(backup: &FakeBackup, line: &str) -> Aaws {
    aaws(format!("backup {line}")).endpoint(&backup.server.url)
}

fn create(backup: &FakeBackup, flags: &str) -> Output {
    on(backup, &format!("create_backups {flags}")).run()
}

fn delete(backup: &FakeBackup, points: &str) -> Output {
    on(backup, &format!("delete_backups --backup_vault_name example-vault --recovery_point_arns {points}")).run()
}

/// The ARNs that jobs were started for.
fn arns(backup: &FakeBackup) -> Vec<String> {
    backup.started().iter().map(|job| job["ResourceArn"].as_str().expect("an ARN").to_owned()).collect()
}

/// Item and status of each line of a report, which come in the order in which the items were settled.
fn statuses(directory: &TempDir) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    report(directory).iter().map(|line| (text(&line["item"]), text(&line["status"]))).collect()
}

fn wait_for(backup: &FakeBackup, operation: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    while backup.count(operation) == 0 {
        assert!(Instant::now() < end, "{operation} was not called");
        thread::sleep(Duration::from_millis(2));
    }
}

// --- create_backups: what is started ---

#[test]
fn an_instance_gets_a_job_with_the_documented_defaults() {
    let backup = FakeBackup::new();
    let output = create(&backup, &format!("--resource_ids {INSTANCE} --service ec2")).ok();
    assert_eq!(output.stdout, "[]\n");
    let mut started = backup.started();
    let token = started[0].as_object_mut().and_then(|job| job.remove("IdempotencyToken"));
    assert!(token.is_some_and(|t| t.as_str().is_some_and(|t| t.len() > 20)), "G15: a token");
    let expected = json!({
        "BackupVaultName": "Default", "ResourceArn": format!("arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{INSTANCE}"),
        "IamRoleArn": format!("arn:aws:iam::{ACCOUNT}:role/service-role/AWSBackupDefaultServiceRole"),
        "StartWindowMinutes": 60, "Lifecycle": {"DeleteAfterDays": 14},
    });
    assert_eq!(started, [expected]);
}

#[test]
fn flags_are_sent_as_given() {
    let backup = FakeBackup::new();
    let role = "arn:aws:iam::123456789012:role/backup";
    let flags = format!("--resource_ids {VOLUME} --service ebs --backup_vault_name example-vault --retention_days 30 --iam_role {role}");
    create(&backup, &flags).ok();
    let job = &backup.started()[0];
    assert_eq!(job["ResourceArn"], format!("arn:aws:ec2:us-east-1:{ACCOUNT}:volume/{VOLUME}"));
    assert_eq!(job["BackupVaultName"], "example-vault");
    assert_eq!(job["Lifecycle"]["DeleteAfterDays"], 30);
    assert_eq!(job["IamRoleArn"], role);
}

#[test]
fn any_arn_is_backed_up_and_ids_tell_what_they_are() {
    let backup = FakeBackup::new();
    create(&backup, &format!("--resource_ids {TABLE} arn:aws:s3:::bucket {INSTANCE} {VOLUME}")).ok();
    let ec2 = |what: &str| format!("arn:aws:ec2:us-east-1:{ACCOUNT}:{what}");
    let mut started = arns(&backup);
    started.sort();
    let mut expected =
        [TABLE.to_owned(), "arn:aws:s3:::bucket".to_owned(), ec2(&format!("instance/{INSTANCE}")), ec2(&format!("volume/{VOLUME}"))];
    expected.sort();
    assert_eq!(started, expected);
    assert_eq!(backup.count("GetCallerIdentity"), 1, "STS is asked once");
}

#[test]
fn arns_are_of_the_regions_partition() {
    for (region, partition) in [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eu-west-1", "aws")] {
        let backup = FakeBackup::new();
        create(&backup, &format!("--resource_ids {INSTANCE} --service ec2 --region {region}")).ok();
        let job = &backup.started()[0];
        assert_eq!(job["ResourceArn"], format!("arn:{partition}:ec2:{region}:{ACCOUNT}:instance/{INSTANCE}"));
        assert_eq!(job["IamRoleArn"], format!("arn:{partition}:iam::{ACCOUNT}:role/service-role/AWSBackupDefaultServiceRole"));
    }
}

#[test]
fn sts_says_which_account_it_is_whatever_the_environment_says() {
    let backup = FakeBackup::new();
    create(&backup, &format!("--resource_ids {TABLE} --iam_role arn:aws:iam::123456789012:role/backup")).ok();
    assert_eq!(backup.operations(), ["StartBackupJob"], "it is asked only when the account has to be found out");
    on(&backup, &format!("create_backups --resource_ids {INSTANCE}")).env("AWS_ACCOUNT_ID", "210987654321").run().ok();
    assert_eq!(arns(&backup)[1], format!("arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{INSTANCE}"));
}

#[test]
fn a_resource_that_is_given_twice_is_backed_up_once() {
    let backup = FakeBackup::new();
    let arn = format!("arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{INSTANCE}");
    let directory = directory();
    let line = format!("create_backups --resource_ids {INSTANCE} {arn} {INSTANCE} --details --report report.jsonl");
    let rows = on(&backup, &line).within(directory.path()).run().ok().json();
    assert_eq!(backup.started().len(), 1);
    let mut statuses: Vec<_> = report(&directory).iter().map(|l| l["status"].as_str().unwrap().to_owned()).collect();
    statuses.sort();
    assert_eq!(statuses, ["done", "unchanged", "unchanged"], "{rows}");
    assert_eq!(rows[1]["Message"], "duplicate id");
}

#[test]
fn an_empty_list_backs_up_nothing() {
    let backup = FakeBackup::new();
    assert_eq!(create(&backup, "--resource_ids --wait").ok().json(), json!([]));
    assert_eq!(backup.operations(), [""; 0]);
}

#[test]
fn calls_are_those_declared() {
    let backup = FakeBackup::new();
    let output = create(&backup, &format!("--resource_ids {INSTANCE} --wait --debug")).ok();
    let made: Vec<_> = output.stderr.lines().filter_map(|line| line.split_once("made ")).map(|(_, call)| call).collect();
    assert_eq!(made, ["backup:DescribeBackupJob 1 times", "backup:StartBackupJob 1 times", "sts:GetCallerIdentity 1 times"]);
    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(0));
    let output = on(&backup, &format!("delete_backups --backup_vault_name example-vault --recovery_point_arns {IMAGE} --debug")).run().ok();
    let made: Vec<_> = output.stderr.lines().filter_map(|line| line.split_once("made ")).map(|(_, call)| call).collect();
    assert_eq!(made, ["backup:DeleteRecoveryPoint 1 times", "backup:DescribeRecoveryPoint 1 times"]);
}

#[test]
fn policies_hold_what_the_calls_need() {
    let policy = |flags: &str| {
        aaws(format!("permissions backup create_backups {flags} --region us-east-1 --account 123456789012")).run().ok().json()
    };
    let text = policy("--resource_ids a").to_string();
    for part in [
        "iam:PassRole",
        "role/service-role/AWSBackupDefaultServiceRole",
        "iam:PassedToService",
        "backup-vault:Default",
        "backup:StartBackupJob",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("DescribeBackupJob"), "{text}");
    let text = policy("--resource_ids a --wait --backup_vault_name v --iam_role arn:aws:iam::123456789012:role/b").to_string();
    for part in ["backup:DescribeBackupJob", "backup-vault:v", "role/b"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("DefaultServiceRole") && !text.contains("vault:Default"), "{text}");
}

// --- create_backups: what goes wrong at the start ---

#[test]
fn an_id_that_is_not_of_the_service_does_not_sink_the_others() {
    let backup = FakeBackup::new();
    let directory = directory();
    let flags = format!("--resource_ids {INSTANCE} {VOLUME} {TABLE} --service ec2 --report report.jsonl");
    let output = on(&backup, &format!("create_backups {flags}")).within(directory.path()).run().exits(3);
    assert_eq!(output.json(), json!([VOLUME]));
    assert_eq!(arns(&backup).len(), 2);
    let expected = [(INSTANCE, "done"), (VOLUME, "failed"), (TABLE, "done")];
    assert_eq!(statuses(&directory), expected.map(|(i, s)| (i.to_owned(), s.to_owned())).into());
    output.logs("WrongService");
}

#[test]
fn what_is_no_id_is_refused_before_anything_is_started() {
    let backup = FakeBackup::new();
    for wrong in ["sg-1", "", "orders", "i-", "arn:aws:s3", "vol-xyz"] {
        let line = ["backup", "create_backups", "--resource_ids", INSTANCE, wrong];
        aaws("").args(line).endpoint(&backup.server.url).run().exits(2).silent().logs("resource_ids");
    }
    let piped = on(&backup, "create_backups --resource_ids -").stdin(format!("{INSTANCE}\nsg-1\n")).run();
    piped.exits(2).silent().logs("resource_ids").logs("item 2");
    for wrong in ["not-an-arn", ""] {
        let line = ["backup", "delete_backups", "--backup_vault_name", "example-vault", "--recovery_point_arns", IMAGE, wrong];
        aaws("").args(line).endpoint(&backup.server.url).run().exits(2).silent().logs("recovery_point_arns");
    }
    assert_eq!(backup.operations(), [""; 0]);
}

#[test]
fn a_job_that_cannot_be_started_is_printed_and_the_rest_goes_on() {
    let backup = FakeBackup::new().fail("StartBackupJob", 1, 400, "InvalidParameterValueException", "no such resource");
    let output = create(&backup, &format!("--resource_ids {INSTANCE} {VOLUME} --concurrency 1")).exits(3).logs("no such resource");
    assert_eq!(output.json(), json!([INSTANCE]));
    assert_eq!(arns(&backup).len(), 1);
}

#[test]
fn a_denial_fails_every_item() {
    for wait in ["", "--wait"] {
        let backup = FakeBackup::new().fail("StartBackupJob", 0, 403, "AccessDeniedException", "you may not");
        let output = create(&backup, &format!("--resource_ids {INSTANCE} {VOLUME} {wait}")).exits(3).logs("AccessDeniedException");
        assert_eq!(output.json(), json!([INSTANCE, VOLUME]));
        assert!(backup.started().is_empty());
    }
}

#[test]
fn credentials_that_are_turned_down_end_the_run() {
    for wait in ["", "--wait"] {
        let backup = FakeBackup::new().fail("StartBackupJob", 0, 403, "ExpiredTokenException", "sign in again");
        create(&backup, &format!("--resource_ids {INSTANCE} {VOLUME} --concurrency 1 {wait}")).exits(5).logs("ExpiredTokenException");
        assert_eq!(backup.count("StartBackupJob"), 1, "nothing more is started");
    }
}

#[test]
fn a_missing_default_role_is_told() {
    let message = "IAM Role arn:aws:iam::123456789012:role/service-role/AWSBackupDefaultServiceRole cannot be assumed by AWS Backup";
    let backup = FakeBackup::new().fail("StartBackupJob", 0, 400, "InvalidParameterValueException", message);
    let output = create(&backup, &format!("--resource_ids {INSTANCE}")).exits(3).logs("set up once in the console").logs("iam_role");
    assert_eq!(output.json(), json!([INSTANCE]));
    let own = create(&backup, &format!("--resource_ids {INSTANCE} --iam_role arn:aws:iam::123456789012:role/b")).exits(3);
    assert!(!own.stderr.contains("console"), "{own}");
}

#[test]
fn a_lost_answer_starts_no_second_job() {
    let backup = FakeBackup::new().lose_answer("StartBackupJob", 1);
    create(&backup, &format!("--resource_ids {INSTANCE}")).ok();
    assert_eq!(backup.count("StartBackupJob"), 2, "it was sent again");
    assert_eq!(backup.started().len(), 1, "and known again by its token");
    create(&backup, &format!("--resource_ids {INSTANCE}")).ok();
    assert_eq!(backup.started().len(), 2, "a new run is a new backup");
}

#[test]
fn input_that_makes_no_backup_is_refused() {
    let backup = FakeBackup::new();
    let lines = [
        ("--service ec2", "resource_ids"),
        ("--resource_ids vol-1 --service rds", "service"),
        ("--resource_ids vol-1 --retention_days 0", "retention_days"),
        ("--resource_ids vol-1 --retention_days -1", "retention_days"),
        ("--resource_ids vol-1 --backup_vault_name=", "backup_vault_name"),
        ("--resource_ids vol-1 --backup_vault_name a/b", "backup_vault_name"),
        ("--resource_ids vol-1 --iam_role backup", "iam_role"),
    ];
    for (flags, field) in lines {
        let output = create(&backup, flags).exits(2).silent();
        assert!(output.stderr.contains(field), "{output}");
    }
    assert_eq!(backup.operations(), [""; 0]);
    let help = aaws("backup create_backups --help").run().ok();
    assert!(help.stdout.contains("ec2|ebs") || (help.stdout.contains("- ec2") && help.stdout.contains("- ebs")), "{help}");
}

#[test]
fn a_dry_run_lists_what_would_be_backed_up_and_starts_nothing() {
    let backup = FakeBackup::new();
    let planned = create(&backup, &format!("--resource_ids {INSTANCE} {TABLE} --dry_run --wait")).ok().json();
    let items: Vec<_> = planned.as_array().unwrap().iter().map(|p| (p["item"].as_str().unwrap(), p["status"].as_str().unwrap())).collect();
    assert_eq!(items, [(INSTANCE, "planned"), (TABLE, "planned")]);
    let message = planned[0]["message"].as_str().unwrap();
    assert!(message.contains(&format!("instance/{INSTANCE}")) && message.contains("AWSBackupDefaultServiceRole"), "{message}");
    assert_eq!(backup.writes(), [""; 0]);
}

// --- create_backups: what is told of jobs ---

#[test]
fn jobs_and_recovery_points_are_told() {
    let backup = FakeBackup::new();
    let directory = directory();
    let line = format!("create_backups --resource_ids {INSTANCE} --wait --report report.jsonl");
    let output = on(&backup, &line).within(directory.path()).run().ok();
    let message = report(&directory)[0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("JOB-0001") && message.contains("recovery-point:JOB-0001"), "{message}");
    output.logs("JOB-0001");
    create(&backup, &format!("--resource_ids {VOLUME}")).ok().logs("JOB-0002");
}

#[test]
fn details_say_what_came_of_each() {
    let backup = FakeBackup::new().job("table/orders", &[("FAILED", "no room")]);
    let output =
        create(&backup, &format!("--resource_ids {INSTANCE} {TABLE} {VOLUME} --service ec2 --wait --details --concurrency 1")).exits(3);
    let rows = output.json();
    assert_eq!(rows[0]["ResourceId"], INSTANCE);
    assert_eq!(rows[0]["Status"], "done");
    assert_eq!(rows[0]["State"], "COMPLETED");
    assert!(rows[0]["BackupJobId"].is_string() && rows[0]["RecoveryPointArn"].is_string(), "{rows}");
    assert_eq!((&rows[1]["Status"], &rows[1]["Code"]), (&json!("failed"), &json!("FAILED")));
    assert!(rows[1]["Message"].as_str().is_some_and(|m| m.contains("no room") && m.contains("JOB-")), "{rows}");
    assert!(rows[1]["BackupJobId"].as_str().is_some_and(|id| id.starts_with("JOB-")) && rows[1]["State"] == "FAILED", "{rows}");
    assert_eq!(rows[2]["Code"], "WrongService");
    let started = create(&backup, &format!("--resource_ids {VOLUME} --details")).ok().json();
    assert_eq!(started[0]["State"], "CREATED");
    let planned = create(&backup, &format!("--resource_ids {VOLUME} --details --dry_run")).ok().json();
    assert_eq!(planned[0]["status"], "planned");
}

#[test]
fn a_backup_can_be_piped_into_its_deletion() {
    let backup = FakeBackup::new();
    let line = format!(
        "aaws backup create_backups --resource_ids {INSTANCE} {TABLE} --wait --details --query '[].RecoveryPointArn' \
         | aaws backup delete_backups --backup_vault_name example-vault --recovery_point_arns -"
    );
    assert_eq!(shell(line).endpoint(&backup.server.url).run().ok().json(), json!([]));
    assert_eq!(backup.count("DeleteRecoveryPoint"), 2);
    assert_eq!(backup.points(), [""; 0]);
}

// --- create_backups: waiting ---

#[test]
fn every_terminal_state_ends_the_wait() {
    let ends = [("COMPLETED", true), ("PARTIAL", false), ("EXPIRED", false), ("FAILED", false), ("ABORTED", false)];
    for (state, good) in ends {
        let backup = FakeBackup::new().job(INSTANCE, &[("CREATED", ""), (state, "because of the test")]);
        let output = create(&backup, &format!("--resource_ids {INSTANCE} --wait"));
        assert_eq!(output.json(), if good { json!([]) } else { json!([INSTANCE]) }, "{output}");
        let output = output.exits(if good { 0 } else { 3 });
        if !good {
            output.logs(state).logs("because of the test").logs("JOB-0001");
        }
        assert_eq!(backup.count("DescribeBackupJob"), 2);
    }
}

#[test]
fn a_job_is_waited_for_through_all_states_that_are_no_end() {
    let course = [("CREATED", ""), ("PENDING", ""), ("RUNNING", ""), ("COMPLETED", "")];
    let backup = FakeBackup::new().job(INSTANCE, &course).job(VOLUME, &[("ABORTING", ""), ("ABORTED", "by hand")]);
    let output = create(&backup, &format!("--resource_ids {INSTANCE} {VOLUME} --wait")).exits(3).logs("by hand");
    assert_eq!(output.json(), json!([VOLUME]));
    assert_eq!(backup.count("DescribeBackupJob"), 6);
}

#[test]
fn all_jobs_are_started_before_any_is_waited_for() {
    let backup = FakeBackup::new();
    let ids: Vec<String> = (1..=5).map(|n| format!("vol-{n}")).collect();
    create(&backup, &format!("--resource_ids {} --wait --concurrency 1", ids.join(" "))).ok();
    let operations = backup.operations();
    let last_start = operations.iter().rposition(|o| *o == "StartBackupJob");
    let first_look = operations.iter().position(|o| *o == "DescribeBackupJob");
    assert!(last_start < first_look, "{operations:?}");
    assert_eq!(backup.started().len(), 5);
}

#[test]
fn a_job_that_may_not_be_looked_at_ends_the_wait() {
    let backup = FakeBackup::new().fail("DescribeBackupJob", 0, 403, "AccessDeniedException", "you may not look");
    let output = create(&backup, &format!("--resource_ids {INSTANCE} --wait")).exits(3).logs("JOB-0001").logs("you may not look");
    assert_eq!(output.json(), json!([INSTANCE]));
}

#[test]
fn throttling_while_waiting_is_waited_out() {
    let mut backup = FakeBackup::new();
    for nth in 1..=2 {
        backup = backup.fail("DescribeBackupJob", nth, 429, "ThrottlingException", "slower");
    }
    let backup = backup.fail("DescribeBackupJob", 3, 503, "ServiceUnavailableException", "later");
    // Without the SDK's own tries, so that the wait itself is what bears it.
    let output = on(&backup, &format!("create_backups --resource_ids {INSTANCE} --wait")).env("AWS_MAX_ATTEMPTS", "1").run().ok();
    assert_eq!(output.json(), json!([]));
    assert_eq!(backup.count("DescribeBackupJob"), 4);
}

#[test]
fn a_wait_that_is_cut_short_names_the_job() {
    let backup = FakeBackup::new().job(INSTANCE, &[("CREATED", "")]);
    let directory = directory();
    let line = format!("create_backups --resource_ids {INSTANCE} --wait --timeout 1s --report report.jsonl");
    let output = on(&backup, &line).within(directory.path()).run().exits(1).logs("timed out").logs("JOB-0001");
    assert_eq!(output.json(), json!([INSTANCE]));
    assert!(report(&directory)[0]["message"].as_str().is_some_and(|m| m.contains("JOB-0001") && m.contains("goes on")));

    let backup = FakeBackup::new().job(INSTANCE, &[("RUNNING", "")]);
    let running = on(&backup, &format!("create_backups --resource_ids {INSTANCE} --wait")).start();
    wait_for(&backup, "DescribeBackupJob");
    running.signal("INT");
    running.wait().exits(130).logs("JOB-0001");
}

// --- delete_backups ---

#[test]
fn a_point_counts_as_deleted_when_it_is_gone() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(2)).point(SNAPSHOT, Fate::Gone(0));
    let output = delete(&backup, &format!("{IMAGE} {SNAPSHOT}")).ok();
    assert_eq!(output.stdout, "[]\n");
    assert_eq!(backup.points(), [""; 0]);
    assert_eq!(backup.count("DescribeRecoveryPoint"), 4, "{:?}", backup.operations());
}

#[test]
fn a_point_that_expires_instead_is_a_failure() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Expires("Access denied to deregister")).point(SNAPSHOT, Fate::Gone(0));
    let output = delete(&backup, &format!("{IMAGE} {SNAPSHOT}")).exits(3).logs("EXPIRED").logs("Access denied to deregister");
    assert_eq!(output.json(), json!([IMAGE]));
    assert_eq!(backup.points(), [IMAGE]);
}

#[test]
fn a_point_that_had_expired_before_may_be_deleted_all_the_same() {
    let backup = FakeBackup::new().point(IMAGE, Fate::HadExpired);
    assert_eq!(delete(&backup, IMAGE).ok().json(), json!([]));
    assert_eq!(backup.points(), [""; 0]);
}

#[test]
fn a_point_that_stays_is_a_failure() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Stays);
    let output = delete(&backup, IMAGE).exits(3).logs("still there").logs("COMPLETED");
    assert_eq!(output.json(), json!([IMAGE]));
}

#[test]
fn what_is_locked_or_held_is_protected() {
    let held = "Recovery point cannot be deleted because it is under a legal hold";
    let backup = FakeBackup::new()
        .point(IMAGE, Fate::Refused("InvalidRequestException", "Recovery point cannot be deleted: the vault has a vault lock"))
        .point(SNAPSHOT, Fate::Refused("InvalidParameterValueException", held));
    let directory = directory();
    let line = format!("delete_backups --backup_vault_name example-vault --recovery_point_arns {IMAGE} {SNAPSHOT} --report report.jsonl");
    let output = on(&backup, &line).within(directory.path()).run().exits(3);
    assert_eq!(output.json(), json!([IMAGE, SNAPSHOT]));
    let lines = report(&directory);
    assert!(lines.iter().all(|l| l["code"] == "Protected" && l["status"] == "failed"), "{lines:?}");
    assert!(lines.iter().any(|l| l["message"].as_str().is_some_and(|m| m.contains("legal hold"))));
    assert_eq!(backup.count("DescribeRecoveryPoint"), 0);
}

#[test]
fn a_point_that_is_not_there_is_a_failure_unless_that_is_no_matter() {
    let found = [(IMAGE, "failed"), (SNAPSHOT, "done"), (TABLE, "failed")];
    let ignored = [(IMAGE, "unchanged"), (SNAPSHOT, "done"), (TABLE, "unchanged")];
    for (flag, code, left, expected) in [("", 3, json!([IMAGE, TABLE]), found), ("--ignore_not_found", 0, json!([]), ignored)] {
        let backup = FakeBackup::new().point(SNAPSHOT, Fate::Gone(0));
        let directory = directory();
        let points = format!("{IMAGE} {SNAPSHOT} {TABLE}");
        let line = format!("delete_backups --backup_vault_name example-vault --recovery_point_arns {points} --report report.jsonl {flag}");
        let output = on(&backup, &line).within(directory.path()).run().exits(code);
        assert_eq!(output.json(), left);
        assert_eq!(statuses(&directory), expected.map(|(i, s)| (i.to_owned(), s.to_owned())).into());
        let codes: Vec<_> = report(&directory).iter().filter(|l| l["status"] == "failed").map(|l| l["code"].clone()).collect();
        assert!(codes.iter().all(|code| code == "NotFound"), "{codes:?}");
        assert_eq!(backup.count("DescribeBackupVault"), 1, "the vault is looked at once");
    }
}

#[test]
fn a_point_that_is_given_twice_is_deleted_once() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(0));
    assert_eq!(delete(&backup, &format!("{IMAGE} {IMAGE}")).ok().json(), json!([]));
    assert_eq!(backup.count("DeleteRecoveryPoint"), 1);
}

#[test]
fn a_vault_that_is_not_there_is_a_failure() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(0));
    let line = format!("delete_backups --backup_vault_name mistyped --recovery_point_arns {IMAGE}");
    let output = on(&backup, &line).run().exits(3).logs("mistyped");
    assert_eq!(output.json(), json!([IMAGE]));
    assert_eq!(backup.points(), [IMAGE]);
}

#[test]
fn a_point_that_is_being_deleted_already_is_waited_for() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Underway(2));
    assert_eq!(delete(&backup, IMAGE).ok().json(), json!([]));
    assert_eq!(backup.points(), [""; 0]);
}

#[test]
fn a_deletion_that_cannot_be_verified_is_a_failure() {
    let backup =
        FakeBackup::new().point(IMAGE, Fate::Gone(0)).fail("DescribeRecoveryPoint", 0, 403, "AccessDeniedException", "you may not look");
    let output = delete(&backup, IMAGE).exits(3).logs("cannot be seen").logs("you may not look");
    assert_eq!(output.json(), json!([IMAGE]));
}

#[test]
fn throttling_while_a_deletion_is_verified_is_waited_out() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(0)).fail("DescribeRecoveryPoint", 1, 429, "ThrottlingException", "slower");
    let line = format!("delete_backups --backup_vault_name example-vault --recovery_point_arns {IMAGE}");
    on(&backup, &line).env("AWS_MAX_ATTEMPTS", "1").run().ok();
    assert_eq!(backup.points(), [""; 0]);
}

#[test]
fn one_point_that_cannot_be_deleted_does_not_sink_the_others() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Refused("InvalidParameterValueException", "odd")).point(SNAPSHOT, Fate::Gone(0));
    let output = delete(&backup, &format!("{IMAGE} {SNAPSHOT}")).exits(3).logs("odd");
    assert_eq!(output.json(), json!([IMAGE]));
    assert_eq!(backup.points(), [IMAGE]);
}

#[test]
fn a_denied_deletion_fails_every_point() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(0)).fail("DeleteRecoveryPoint", 0, 403, "AccessDeniedException", "you may not");
    let output = delete(&backup, IMAGE).exits(3).logs("AccessDeniedException");
    assert_eq!(output.json(), json!([IMAGE]));
    assert_eq!(backup.points(), [IMAGE]);
}

#[test]
fn an_empty_list_deletes_nothing() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(0));
    assert_eq!(delete(&backup, "").ok().json(), json!([]));
    assert_eq!(backup.operations(), [""; 0]);
}

#[test]
fn a_dry_run_says_what_would_become_of_each_point() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(0)).point(SNAPSHOT, Fate::Stays).held(SNAPSHOT);
    let output = delete(&backup, &format!("{IMAGE} {SNAPSHOT} {TABLE} --dry_run")).exits(3);
    let planned = output.json();
    let told = |n: usize, member: &str| planned[n][member].as_str().unwrap_or_default().to_owned();
    assert_eq!((told(0, "item"), told(0, "status")), (IMAGE.to_owned(), "planned".to_owned()), "{planned}");
    assert!(told(0, "message").contains("gone for good") && told(0, "message").contains("instance/i-0123456789abcdef0"), "{planned}");
    assert_eq!((told(1, "status"), told(1, "code")), ("failed".to_owned(), "Protected".to_owned()));
    assert!(told(1, "message").contains("legal hold"), "{planned}");
    assert_eq!((told(2, "status"), told(2, "code")), ("failed".to_owned(), "NotFound".to_owned()));
    assert_eq!(backup.count("ListLegalHolds"), 2, "two pages, once for all points");
    assert_eq!(backup.count("DescribeBackupVault"), 1);
    assert_eq!(backup.writes(), [""; 0]);
    // And so it comes.
    let output = delete(&backup, &format!("{IMAGE} {SNAPSHOT} {TABLE}")).exits(3);
    assert_eq!(output.json(), json!([SNAPSHOT, TABLE]));
    assert_eq!(backup.points(), [SNAPSHOT]);
}

#[test]
fn a_dry_run_knows_a_lock_and_says_what_it_could_not_look_at() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(0)).locked();
    let planned = delete(&backup, &format!("{IMAGE} --dry_run")).exits(3).json();
    assert_eq!((&planned[0]["status"], &planned[0]["code"]), (&json!("failed"), &json!("Protected")), "{planned}");
    assert!(planned[0]["message"].as_str().is_some_and(|m| m.contains("locked")), "{planned}");

    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(0)).fail("ListLegalHolds", 0, 403, "AccessDeniedException", "you may not list");
    let planned = delete(&backup, &format!("{IMAGE} --dry_run")).ok().json();
    assert_eq!(planned[0]["status"], "planned");
    let message = planned[0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("legal hold keeps it could not be looked at") && message.contains("you may not list"), "{planned}");
}

#[test]
fn the_policy_of_a_deletion_has_what_aws_backup_does_in_the_callers_name() {
    let policy =
        aaws("permissions backup delete_backups --backup_vault_name v --region eu-west-1 --account 123456789012").run().ok().json();
    let statements = policy["Statement"].as_array().expect("statements");
    for action in [
        "ec2:DeregisterImage",
        "ec2:DeleteSnapshot",
        "rds:DeleteDBSnapshot",
        "rds:DeleteDBClusterSnapshot",
        "dynamodb:DeleteBackup",
        "fsx:DeleteBackup",
    ] {
        let statement = statements.iter().find(|s| s["Action"].as_array().is_some_and(|a| a.contains(&json!(action))));
        let statement = statement.unwrap_or_else(|| panic!("no {action} in {policy}"));
        let via = &statement["Condition"]["ForAnyValue:StringEquals"]["aws:CalledVia"];
        assert_eq!(via, &json!(["backup.amazonaws.com"]), "only for AWS Backup: {statement}");
    }
    let all = aaws("permissions backup delete_backups --all").run().ok().stdout;
    assert!(all.contains("iam:CreateServiceLinkedRole"), "{all}");
}

#[test]
fn a_vault_has_to_be_named() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(0));
    on(&backup, &format!("delete_backups --recovery_point_arns {IMAGE}")).run().exits(2).silent().logs("backup_vault_name");
    on(&backup, "delete_backups --backup_vault_name example-vault").run().exits(2).silent().logs("recovery_point_arns");
    assert_eq!(backup.operations(), [""; 0]);
}

#[test]
fn on_a_terminal_a_deletion_is_asked_about() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(0));
    let line = format!("delete_backups --backup_vault_name example-vault --recovery_point_arns {IMAGE}");
    let declined = on(&backup, &line).on_terminal("n").exits(4);
    assert!(declined.stdout.contains(IMAGE) && declined.stdout.contains("example-vault"), "{declined}");
    assert_eq!(backup.points(), [IMAGE]);
    on(&backup, &line).on_terminal("y").ok();
    assert_eq!(backup.points(), [""; 0]);
}

#[test]
fn a_deletion_that_is_cut_short_is_told() {
    let backup = FakeBackup::new().point(IMAGE, Fate::Gone(1000));
    let output = delete(&backup, &format!("{IMAGE} --timeout 1s")).exits(1).logs("goes on");
    assert_eq!(output.json(), json!([IMAGE]));
}
