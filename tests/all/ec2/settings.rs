//! What is set for a whole region: which regions are enabled, and the default encryption of EBS.

use serde_json::{Value, json};

use crate::support::aaws::Aaws;
use crate::support::ec2::{World, writes};
use crate::support::http::Request;
use crate::support::{Output, Response, Server, aaws, directory, report, xml};

// --- What the tests share ---

const SWITCH_ON: &str = "EnableEbsEncryptionByDefault";
const SWITCH_OFF: &str = "DisableEbsEncryptionByDefault";
const SET_KEY: &str = "ModifyEbsDefaultKmsKeyId";
const RESET_KEY: &str = "ResetEbsDefaultKmsKeyId";
const GET_SWITCH: &str = "GetEbsEncryptionByDefault";
const GET_KEY: &str = "GetEbsDefaultKmsKeyId";
const OF_AWS: &str = "alias/aws/ebs";

fn ec2(world: &World, line: &str) -> Aaws {
    world.aaws(format!("ec2 {line}"))
}

fn via(world: &World, server: &Server, line: &str) -> Aaws {
    world.aaws_via(server, format!("ec2 {line}"))
}

fn modify(world: &World, server: &Server, flags: &str) -> Aaws {
    via(world, server, &format!("modify_default_ebs_encryption {flags}"))
}

/// An error as EC2 answers it.
fn refusal(status: u16, code: &str) -> Response {
    let error = format!("<Error><Code>{code}</Code><Message>{code} by the test</Message></Error>");
    Response::xml(status, format!("<Response><Errors>{error}</Errors><RequestID>REQ-{code}</RequestID></Response>"))
}

/// Answers every request of an operation with a denial.
fn denied(_: usize, _: &mut Request) -> Option<Response> {
    Some(refusal(403, "UnauthorizedOperation"))
}

/// How the region is set, looked at past the program under test.
fn setting(world: &World) -> (bool, String) {
    let one = |operation: &str, member: &str| xml::texts(&world.ec2(operation, &[]), member).pop().unwrap_or_default();
    (one(GET_SWITCH, "ebsEncryptionByDefault") == "true", one(GET_KEY, "kmsKeyId"))
}

/// A key of the world, and its ARN.
fn key(world: &World) -> (String, String) {
    let id = world.key();
    let arn = format!("arn:aws:kms:us-east-1:{}:key/{id}", world.account.id);
    (id, arn)
}

/// The one line of a run's report: its status, and what it says.
fn told(run: Aaws, code: i32) -> (Output, String, String) {
    let folder = directory();
    let output = run.args(["--report", "report.jsonl"]).within(folder.path()).run().exits(code);
    let lines = report(&folder);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["item"], "us-east-1");
    let text = |name: &str| lines[0][name].as_str().unwrap_or_default().to_owned();
    (output, text("status"), text("message"))
}

// --- discover_active_regions ---

/// Regions as EC2 answers them: name and status.
fn regions(all: &[(&str, &str)]) -> Response {
    let item = |(name, status): &(&str, &str)| {
        let endpoint = format!("ec2.{name}.amazonaws.com");
        format!(
            "<item><regionName>{name}</regionName><regionEndpoint>{endpoint}</regionEndpoint><optInStatus>{status}</optInStatus></item>"
        )
    };
    let items: String = all.iter().map(item).collect();
    Response::xml(200, format!("<DescribeRegionsResponse><regionInfo>{items}</regionInfo></DescribeRegionsResponse>"))
}

const ALL: &[(&str, &str)] = &[
    ("us-east-1", "opt-in-not-required"),
    ("me-south-1", "not-opted-in"),
    ("af-south-1", "opted-in"),
    ("eu-west-1", "opt-in-not-required"),
];

#[test]
fn regions_that_are_enabled_are_listed_by_name_e37() {
    let world = World::new();
    let server = world.proxy().rule("DescribeRegions", |_, _| Some(regions(ALL))).start();
    let output = via(&world, &server, "discover_active_regions").run().ok();
    assert_eq!(output.json(), json!(["af-south-1", "eu-west-1", "us-east-1"]), "{output}");
    assert_eq!(server.operations(), ["DescribeRegions"]);
    assert!(!server.requests("DescribeRegions")[0].text().contains("AllRegions=true"));
}

#[test]
fn the_regions_of_moto_are_listed_in_order() {
    let world = World::new();
    let listed = ec2(&world, "discover_active_regions").run().ok().json();
    let listed: Vec<String> = serde_json::from_value(listed).expect("names");
    let mut sorted = listed.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(listed, sorted);
    assert!(listed.contains(&"eu-west-1".to_owned()) && !listed.contains(&"ap-east-1".to_owned()), "{listed:?}");
}

#[test]
fn details_say_how_a_region_came_to_be_enabled_and_where_it_is() {
    let world = World::new();
    let server = world.proxy().rule("DescribeRegions", |_, _| Some(regions(ALL))).start();
    let details = via(&world, &server, "discover_active_regions --details").run().ok().json();
    let details = details.as_array().expect("a list");
    assert_eq!(details.len(), 3);
    assert_eq!(details[0], json!({"Region": "af-south-1", "OptInStatus": "opted-in", "Endpoint": "ec2.af-south-1.amazonaws.com"}));
    assert_eq!(details[1]["OptInStatus"], "opt-in-not-required");
}

#[test]
fn regions_that_may_not_be_listed_are_an_error() {
    let world = World::new();
    let server = world.proxy().rule("DescribeRegions", denied).start();
    let output = via(&world, &server, "discover_active_regions").run().exits(1);
    output.logs("UnauthorizedOperation").logs("aaws permissions ec2 discover_active_regions");
}

// --- discover_default_ebs_encryption ---

#[test]
fn a_region_that_does_not_encrypt_has_no_key_and_is_not_asked_for_it() {
    let world = World::new();
    let server = world.proxy().start();
    let output = via(&world, &server, "discover_default_ebs_encryption").run().ok();
    assert_eq!(output.json(), json!({"Region": "us-east-1", "Enabled": false, "KmsKeyId": null}), "{output}");
    assert_eq!(server.operations(), [GET_SWITCH]);
}

#[test]
fn a_region_that_encrypts_tells_the_key() {
    let world = World::new();
    let (id, arn) = key(&world);
    world.ec2(SWITCH_ON, &[]);
    let found = || ec2(&world, "discover_default_ebs_encryption").run().ok().json();
    assert_eq!(found(), json!({"Region": "us-east-1", "Enabled": true, "KmsKeyId": OF_AWS}));
    world.ec2(SET_KEY, &[("KmsKeyId", &id)]);
    assert_eq!(found(), json!({"Region": "us-east-1", "Enabled": true, "KmsKeyId": arn}));
    // One region says nothing of another.
    let other = ec2(&world, "discover_default_ebs_encryption --region eu-west-1").run().ok().json();
    assert_eq!(other, json!({"Region": "eu-west-1", "Enabled": false, "KmsKeyId": null}));
}

#[test]
fn a_setting_that_may_not_be_read_is_an_error() {
    let world = World::new();
    world.ec2(SWITCH_ON, &[]);
    for operation in [GET_SWITCH, GET_KEY] {
        let server = world.proxy().rule(operation, denied).start();
        let output = via(&world, &server, "discover_default_ebs_encryption").run().exits(1);
        output.logs("UnauthorizedOperation").logs("aaws permissions ec2 discover_default_ebs_encryption");
    }
}

// --- modify_default_ebs_encryption ---

#[test]
fn encryption_is_switched_on_and_off_and_both_settings_are_printed() {
    let world = World::new();
    let server = world.proxy().start();
    let (off, on) = (json!({"Enabled": false, "KmsKeyId": OF_AWS}), json!({"Enabled": true, "KmsKeyId": OF_AWS}));
    let output = modify(&world, &server, "--enable").run().ok();
    assert_eq!(output.json(), json!({"Region": "us-east-1", "Before": off, "After": on}), "{output}");
    assert_eq!(setting(&world), (true, OF_AWS.to_owned()));
    let output = modify(&world, &server, "--disable").run().ok();
    assert_eq!(output.json(), json!({"Region": "us-east-1", "Before": on, "After": off}), "{output}");
    assert_eq!(setting(&world), (false, OF_AWS.to_owned()));
    assert_eq!(writes(&server), [SWITCH_ON, SWITCH_OFF]);
}

#[test]
fn the_key_is_changed_before_the_switch() {
    let world = World::new();
    let (id, arn) = key(&world);
    let server = world.proxy().start();
    let flags = format!("--enable --change_kms_key --kms_key_id {id}");
    let (output, status, message) = told(modify(&world, &server, &flags), 0);
    let (before, after) = (json!({"Enabled": false, "KmsKeyId": OF_AWS}), json!({"Enabled": true, "KmsKeyId": arn}));
    assert_eq!(output.json(), json!({"Region": "us-east-1", "Before": before, "After": after}), "{output}");
    assert_eq!(setting(&world), (true, arn));
    assert_eq!(writes(&server), [SET_KEY, SWITCH_ON]);
    assert_eq!(status, "done");
    assert!(message.contains("off") && message.contains(OF_AWS), "what it was is what undoes it: {message}");
}

#[test]
fn the_key_is_reset() {
    let world = World::new();
    let (id, arn) = key(&world);
    world.ec2(SET_KEY, &[("KmsKeyId", &id)]);
    let server = world.proxy().start();
    let output = modify(&world, &server, "--reset_kms_key").run().ok();
    let settings = [json!({"Enabled": false, "KmsKeyId": arn}), json!({"Enabled": false, "KmsKeyId": OF_AWS})];
    assert_eq!([output.json()["Before"].clone(), output.json()["After"].clone()], settings, "{output}");
    assert_eq!(setting(&world), (false, OF_AWS.to_owned()));
    assert_eq!(writes(&server), [RESET_KEY]);
}

#[test]
fn the_default_key_is_put_back_when_the_switch_fails() {
    let world = World::new();
    let key = world.key();
    let line = format!("ec2 modify_default_ebs_encryption --enable --change_kms_key --kms_key_id {key}");
    let server = world.proxy().refuse(SWITCH_ON, 403, "UnauthorizedOperation").start();
    world.aaws_via(&server, &line).run().exits(3).logs("undone");
    let now = world.ec2(GET_KEY, &[]);
    assert!(!now.contains(&key), "{now}");

    let output = world.aaws(&line).run().ok().json();
    assert_eq!((&output["Before"]["Enabled"], &output["After"]["Enabled"]), (&json!(false), &json!(true)));
    assert!(output["After"]["KmsKeyId"].as_str().is_some_and(|k| k.contains(&key)));
    let seen = world.aaws("ec2 discover_default_ebs_encryption").run().ok().json();
    assert_eq!((&seen["Region"], &seen["Enabled"]), (&json!("us-east-1"), &json!(true)));
    // It is so already; resetting undoes it.
    let server = world.proxy().start();
    world.aaws_via(&server, &line).run().ok();
    assert_eq!(writes(&server), [""; 0]);
    let output = world.aaws("ec2 modify_default_ebs_encryption --disable --reset_kms_key").run().ok().json();
    assert_eq!(output["After"]["Enabled"], json!(false));
    assert_eq!(world.aaws("ec2 discover_default_ebs_encryption").run().ok().json()["KmsKeyId"], json!(null));
}

#[test]
fn a_switch_that_fails_puts_the_key_back() {
    for (was_own, put_back) in [(false, RESET_KEY), (true, SET_KEY)] {
        let world = World::new();
        let (old, new) = (key(&world), key(&world));
        if was_own {
            world.ec2(SET_KEY, &[("KmsKeyId", &old.0)]);
        }
        let before = setting(&world);
        let server = world.proxy().rule(SWITCH_ON, denied).start();
        let flags = format!("--enable --change_kms_key --kms_key_id {}", new.0);
        let (output, status, message) = told(modify(&world, &server, &flags), 3);
        assert_eq!(output.json(), Value::Null, "{output}");
        assert_eq!(writes(&server), [SET_KEY, SWITCH_ON, put_back]);
        assert_eq!(setting(&world), before, "all is as it was");
        assert_eq!(status, "failed");
        assert!(message.contains("UnauthorizedOperation") || output.stderr.contains("UnauthorizedOperation"), "{output}");
        assert!(message.contains("undone") && message.contains(&before.1), "{message}");
    }
}

#[test]
fn a_key_that_cannot_be_put_back_is_said() {
    let world = World::new();
    let (id, arn) = key(&world);
    let server = world.proxy().rule(SWITCH_ON, denied).rule(RESET_KEY, denied).start();
    let flags = format!("--enable --change_kms_key --kms_key_id {id}");
    let (_, status, message) = told(modify(&world, &server, &flags), 3);
    assert_eq!(status, "failed");
    assert!(message.contains("could not undo") && message.contains(OF_AWS), "{message}");
    assert_eq!(setting(&world), (false, arn), "as the message says");
}

#[test]
fn a_key_that_is_refused_leaves_the_switch_alone() {
    let world = World::new();
    let (id, _) = key(&world);
    for operation in [SET_KEY, RESET_KEY] {
        if operation == RESET_KEY {
            world.ec2(SET_KEY, &[("KmsKeyId", &id)]);
        }
        let before = setting(&world);
        let server = world.proxy().rule(operation, denied).start();
        let key = if operation == SET_KEY { format!("--change_kms_key --kms_key_id {id}") } else { "--reset_kms_key".to_owned() };
        let (output, _, message) = told(modify(&world, &server, &format!("--enable {key}")), 3);
        assert_eq!(writes(&server), [operation], "nothing was done that had to be undone: {output}");
        assert!(!message.contains("undo"), "{message}");
        assert_eq!(setting(&world), before);
    }
}

#[test]
fn a_key_that_ebs_could_not_use_is_refused_before_anything_is_changed_e38() {
    let world = World::new();
    let (id, _) = key(&world);
    let flags = format!("--enable --change_kms_key --kms_key_id {id}");
    let wrongs = [("\"Enabled\"", "\"PendingDeletion\""), ("us-east-1", "eu-west-1"), ("SYMMETRIC_DEFAULT", "RSA_2048")];
    for (right, wrong) in wrongs {
        let server = world.proxy().rewrite("DescribeKey", move |_, text| text.replace(right, wrong)).start();
        modify(&world, &server, &flags).run().exits(2).silent().logs("kms_key_id").logs(&id);
        modify(&world, &server, &format!("{flags} --dry_run")).run().exits(2).silent();
        assert_eq!(writes(&server), [""; 0], "{wrong}");
    }
    // A key that does not exist.
    let server = world.proxy().start();
    let unknown = "--enable --change_kms_key --kms_key_id 00000000-1111-2222-3333-444444444444";
    modify(&world, &server, unknown).run().exits(1).logs("NotFoundException");
    assert_eq!(writes(&server), [""; 0]);
    assert_eq!(setting(&world), (false, OF_AWS.to_owned()));
}

#[test]
fn encryption_is_not_switched_on_with_a_default_key_that_is_no_good() {
    let world = World::new();
    let (id, arn) = key(&world);
    world.ec2(SET_KEY, &[("KmsKeyId", &id)]);
    let disabled = |_: usize, text: String| text.replace("\"Enabled\"", "\"Disabled\"");
    let server = world.proxy().rewrite("DescribeKey", disabled).start();
    modify(&world, &server, "--enable").run().exits(4).logs("Disabled").logs(&arn).logs("reset_kms_key");
    assert_eq!(writes(&server), [""; 0]);
    // What the refusal recommends.
    modify(&world, &server, "--enable --reset_kms_key").run().ok();
    assert_eq!(setting(&world), (true, OF_AWS.to_owned()));
    // To switch it off harms nobody.
    world.ec2(SET_KEY, &[("KmsKeyId", &id)]);
    modify(&world, &server, "--disable").run().ok();
    assert_eq!(setting(&world), (false, arn));
}

#[test]
fn who_may_not_look_at_the_default_key_is_warned() {
    let world = World::new();
    let (id, arn) = key(&world);
    world.ec2(SET_KEY, &[("KmsKeyId", &id)]);
    let server = world.proxy().refuse("DescribeKey", 400, "AccessDeniedException").start();
    modify(&world, &server, "--enable").run().ok().logs("AccessDeniedException").logs(&arn);
    assert_eq!(setting(&world), (true, arn));
}

#[test]
fn what_is_set_so_already_is_unchanged_and_not_sent() {
    let world = World::new();
    let (id, arn) = key(&world);
    let server = world.proxy().start();
    for flags in ["--disable", "--reset_kms_key", "--disable --change_kms_key --kms_key_id alias/aws/ebs"] {
        let (output, status, _) = told(modify(&world, &server, flags), 0);
        let same = json!({"Enabled": false, "KmsKeyId": OF_AWS});
        assert_eq!(output.json(), json!({"Region": "us-east-1", "Before": same, "After": same}), "{output}");
        assert_eq!(status, "unchanged");
    }
    assert_eq!(writes(&server), [""; 0]);
    // Of two things only the one that differs is sent.
    world.ec2(SET_KEY, &[("KmsKeyId", &id)]);
    modify(&world, &server, &format!("--enable --change_kms_key --kms_key_id {id}")).run().ok();
    assert_eq!(writes(&server), [SWITCH_ON]);
    assert_eq!(setting(&world), (true, arn));
}

#[test]
fn a_change_that_cannot_be_looked_at_again_is_done_all_the_same() {
    let world = World::new();
    let (id, arn) = key(&world);
    let server = world.proxy().rule(GET_SWITCH, |n, _| (n > 1).then(|| refusal(403, "UnauthorizedOperation"))).start();
    let flags = format!("--enable --change_kms_key --kms_key_id {id}");
    let output = modify(&world, &server, &flags).run().ok().logs("UnauthorizedOperation");
    assert_eq!(output.json()["After"], json!({"Enabled": true, "KmsKeyId": arn}), "what EC2 answered to the change: {output}");
    assert_eq!(writes(&server), [SET_KEY, SWITCH_ON]);
}

#[test]
fn a_dry_run_says_what_would_be_and_what_is_and_sends_no_write() {
    let world = World::new();
    let (id, arn) = key(&world);
    let server = world.proxy().start();
    let output = modify(&world, &server, &format!("--enable --change_kms_key --kms_key_id {id} --dry_run")).run().ok();
    let plan = output.json();
    assert_eq!((plan.as_array().map(Vec::len), &plan[0]["item"], &plan[0]["status"]), (Some(1), &json!("us-east-1"), &json!("planned")));
    let message = plan[0]["message"].as_str().unwrap_or_default();
    assert!(message.contains(&arn) && message.contains("would be on") && message.contains(OF_AWS), "{message}");
    assert_eq!(writes(&server), [""; 0]);
    assert_eq!(setting(&world), (false, OF_AWS.to_owned()));
}

#[test]
fn a_setting_that_may_not_be_read_is_not_changed() {
    let world = World::new();
    for operation in [GET_SWITCH, GET_KEY] {
        let server = world.proxy().rule(operation, denied).start();
        let output = modify(&world, &server, "--enable").run().exits(1);
        output.logs("UnauthorizedOperation").logs("aaws permissions ec2 modify_default_ebs_encryption");
        assert_eq!(writes(&server), [""; 0]);
    }
}

#[test]
fn flags_that_do_not_go_together_are_an_error() {
    let world = World::new();
    let server = world.proxy().start();
    for (flags, named) in [
        ("", "`enable`"),
        ("--enable --disable", "`disable`"),
        ("--change_kms_key", "`kms_key_id`"),
        ("--kms_key_id alias/aws/ebs", "`change_kms_key`"),
        ("--enable --kms_key_id alias/aws/ebs", "`change_kms_key`"),
        ("--change_kms_key --kms_key_id alias/aws/ebs --reset_kms_key", "`reset_kms_key`"),
    ] {
        modify(&world, &server, flags).run().exits(2).silent().logs(named);
    }
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn what_undoes_a_change_is_permitted_with_it() {
    let policy = |flags: &str| aaws(format!("permissions ec2 modify_default_ebs_encryption {flags}")).run().ok().stdout;
    let changing = "--change_kms_key --kms_key_id alias/mine";
    for (flags, needed, not_needed) in [
        ("--disable".to_owned(), vec![SWITCH_OFF], vec![SWITCH_ON, SET_KEY, RESET_KEY, "kms:DescribeKey"]),
        (changing.to_owned(), vec![SET_KEY, "kms:DescribeKey"], vec![SWITCH_ON, SWITCH_OFF, RESET_KEY]),
        (format!("--enable {changing}"), vec![SWITCH_ON, SET_KEY, RESET_KEY], vec![SWITCH_OFF]),
        ("--reset_kms_key --disable".to_owned(), vec![SWITCH_OFF, SET_KEY, RESET_KEY], vec![SWITCH_ON]),
    ] {
        let policy = policy(&flags);
        assert!(needed.iter().all(|action| policy.contains(action)), "{flags}: {policy}");
        assert!(not_needed.iter().all(|action| !policy.contains(action)), "{flags}: {policy}");
        assert!(policy.contains(GET_SWITCH) && policy.contains(GET_KEY), "{flags}: {policy}");
    }
}
