//! Who one is, and sessions for the shell: on moto, which gives every role keys of the role's account.

use std::fs;

use serde_json::{Value, json};

use crate::support::aaws::Aaws;
use crate::support::proxy::Proxy;
use crate::support::{Account, Output, Response, Server, aaws, directory, moto, shell};

const SESSION: [&str; 4] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION"];

/// moto, with its requests counted.
fn counted() -> Server {
    Proxy::to(moto::endpoint()).start()
}

/// An error as STS writes it.
fn sts_error(status: u16, code: &str) -> Response {
    let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{code} by the test</Message></Error>");
    Response::xml(
        status,
        format!("<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{error}<RequestId>REQ</RequestId></ErrorResponse>"),
    )
}

/// moto, but nobody may assume a role.
fn denying() -> Server {
    Proxy::to(moto::endpoint())
        .rule("AssumeRole", |_, _| Some(sts_error(403, "AccessDenied")))
        .rule("GetSessionToken", |_, _| Some(sts_error(403, "AccessDenied")))
        .start()
}

/// The variables that `sh` lines set.
fn exported(output: &Output) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.strip_suffix(';')?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    output.stdout.lines().filter_map(pair).collect()
}

fn value<'a>(exported: &'a [(String, String)], name: &str) -> Option<&'a str> {
    exported.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

fn role(account: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:role/{name}")
}

// --- whoami ---

#[test]
fn whoami_tells_who_and_where_from() {
    let account = Account::fresh();
    let server = counted();
    let who = account.aaws("sts whoami").endpoint(&server.url).run().ok().json();
    assert_eq!(who["Account"], account.id.as_str());
    assert_eq!(who["Arn"], format!("arn:aws:sts::{}:assumed-role/tester/tests", account.id));
    assert!(who["UserId"].as_str().is_some_and(|id| id.ends_with(":tests")), "{who}");
    assert_eq!(who["Partition"], "aws");
    assert_eq!(who["Region"], "us-east-1");
    assert_eq!(who["RegionSource"], "AWS_REGION");
    assert!(who["CredentialsSource"].as_str().is_some_and(|s| s.contains("environment")), "{who}");
    assert!(who.get("Expiration").is_none(), "that of keys in the environment is not known: {who}");
    assert_eq!(server.operations(), ["GetCallerIdentity"], "STS is asked once");
}

#[test]
fn whoami_asks_no_more_than_it_declares() {
    let run = Account::fresh().aaws("sts whoami --debug").run().ok();
    let made: Vec<_> = run.stderr.lines().filter(|line| line.contains("made ")).collect();
    assert_eq!(made.len(), 1, "{run}");
    run.logs("made sts:GetCallerIdentity 1 times");
}

#[test]
fn where_no_permission_is_needed_no_policy_is_printed() {
    // STS answers everybody, and IAM takes no policy without a statement.
    for flags in ["", "--all", "--output yaml"] {
        let run = aaws(format!("permissions sts whoami {flags}")).run().ok().silent().logs("no permission is needed");
        assert!(!run.stderr.contains("--all"), "{run}");
    }
    let both = aaws("permissions sts whoami create_session --role_arn arn:aws:iam::123456789012:role/ops").run().ok().json();
    assert_eq!(both["Statement"].as_array().map(Vec::len), Some(1), "{both}");
}

#[test]
fn whoami_follows_the_order_of_regions() {
    let files = directory();
    fs::write(files.path().join("config"), "[default]\nregion = ap-south-1\n").unwrap();
    let run = |line: &str| Account::fresh().aaws(line).without("AWS_REGION").env("AWS_CONFIG_FILE", files.path().join("config"));
    let region = |run: Aaws| {
        let who = run.run().ok().json();
        (who["Region"].as_str().unwrap().to_owned(), who["RegionSource"].as_str().unwrap().to_owned())
    };
    let expect = |region: &str, source: &str| (region.to_owned(), source.to_owned());
    assert_eq!(region(run("sts whoami")), expect("ap-south-1", "the profile"));
    assert_eq!(region(run("sts whoami").env("AWS_DEFAULT_REGION", "eu-west-1")), expect("eu-west-1", "AWS_DEFAULT_REGION"));
    let both = run("sts whoami").env("AWS_DEFAULT_REGION", "eu-west-1").env("AWS_REGION", "eu-west-2");
    assert_eq!(region(both), expect("eu-west-2", "AWS_REGION"));
    let flag = run("sts whoami --region us-west-2").env("AWS_DEFAULT_REGION", "eu-west-1").env("AWS_REGION", "eu-west-2");
    assert_eq!(region(flag), expect("us-west-2", "--region"));
    aaws("sts whoami").without("AWS_REGION").run().exits(5).silent().logs("--region");
}

#[test]
fn whoami_of_a_role_knows_when_it_expires() {
    let account = Account::fresh();
    let who = account.aaws(format!("sts whoami --role_arn {}", role("210987654321", "ops"))).run().ok().json();
    assert_eq!(who["Account"], "210987654321");
    assert!(who["Expiration"].as_str().is_some_and(|e| e.ends_with('Z')), "{who}");
    assert!(who["CredentialsSource"].as_str().is_some_and(|s| s.contains("role/ops")), "{who}");
}

#[test]
fn whoami_believes_the_environment_about_the_expiry_of_its_own_keys_only() {
    let account = Account::fresh();
    let set = |line: &str, at: &str| account.aaws(line).env("AWS_CREDENTIAL_EXPIRATION", at).run().ok().json();
    assert_eq!(set("sts whoami", "2035-01-31T08:30:00+02:00")["Expiration"], "2035-01-31T06:30:00Z");
    assert!(set("sts whoami", "soon").get("Expiration").is_none());
    let of_role = set(&format!("sts whoami --role_arn {}", role("210987654321", "ops")), "2035-01-31T08:30:00Z");
    assert!(of_role["Expiration"].as_str().is_some_and(|e| !e.starts_with("2035")), "{of_role}");
}

#[test]
fn the_digits_for_the_role_of_a_profile_are_asked_for_on_a_terminal() {
    let files = directory();
    let text = "[profile user]\naws_access_key_id = AKIAUSER\naws_secret_access_key = secret\n\n\
                [profile ops]\nrole_arn = arn:aws:iam::210987654321:role/ops\nsource_profile = user\n\
                mfa_serial = arn:aws:iam::123456789012:mfa/alice\n";
    fs::write(files.path().join("config"), text).unwrap();
    let server = counted();
    let run = |line: &str| aaws(line).endpoint(&server.url).env("AWS_CONFIG_FILE", files.path().join("config"));
    let seen = run("sts whoami --profile ops").on_terminal("654321").ok();
    assert!(seen.stdout.contains("mfa/alice") && seen.stdout.contains("assumed-role/ops/aaws"), "{seen}");
    let request = server.requests("AssumeRole").pop().expect("the role was assumed");
    assert_eq!(request.parameter("TokenCode").as_deref(), Some("654321"));

    let session = run("sts create_session --profile ops --mfa_token 123456 --session_name alice --format json").run().ok().json();
    assert!(session["SessionToken"].is_string());
    let request = server.requests("AssumeRole").pop().expect("the role was assumed");
    assert_eq!(request.parameter("TokenCode").as_deref(), Some("123456"));
    assert_eq!(request.parameter("RoleSessionName").as_deref(), Some("alice"));
}

#[test]
fn whoami_without_credentials_fails_with_nothing_printed() {
    aaws("sts whoami").without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY").run().exits(5).silent();
    let server = Proxy::to(moto::endpoint()).rule("GetCallerIdentity", |_, _| Some(sts_error(403, "InvalidClientTokenId"))).start();
    aaws("sts whoami").endpoint(&server.url).run().exits(5).silent().logs("InvalidClientTokenId");
}

// --- create_session: the shell ---

#[test]
fn a_shell_that_evaluates_a_session_is_the_role() {
    let account = Account::fresh();
    for quoted in ["eval \"$(aaws sts create_session --role_arn ROLE)\"", "eval $(aaws sts create_session --role_arn ROLE)"] {
        let line = format!("{}; aaws sts whoami", quoted.replace("ROLE", &role("210987654321", "ops")));
        let who = account.shell(line).run().ok().json();
        assert_eq!(who["Arn"], "arn:aws:sts::210987654321:assumed-role/ops/aaws");
    }
}

#[test]
fn when_the_role_is_refused_nothing_is_evaluated() {
    let account = Account::fresh();
    let server = denying();
    let create = format!("sts create_session --role_arn {}", role("210987654321", "ops"));
    account.aaws(&create).endpoint(&server.url).run().exits(5).silent().logs("AccessDenied");

    // In the shell the old credentials stay, and the exit code is there to be seen.
    let line = format!("session=\"$(aaws {create})\" || echo refused; eval \"$session\"; aaws sts whoami");
    let output = account.shell(line).endpoint(&server.url).run().ok();
    let (first, rest) = output.stdout.split_once('\n').expect("two lines");
    assert_eq!(first, "refused");
    let who: Value = serde_json::from_str(rest).expect("JSON");
    assert_eq!(who["Account"], account.id.as_str(), "{output}");

    let json = account.aaws(format!("{create} --error_format json")).endpoint(&server.url).run().silent();
    let last = json.stderr.lines().last().unwrap_or_default();
    assert!(serde_json::from_str::<Value>(last).is_ok_and(|e| e["error"]["message"].is_string()), "{json}");
}

#[test]
fn a_session_can_be_cleared_again() {
    let account = Account::fresh();
    let line = format!(
        "eval \"$(aaws sts create_session --role_arn {})\"; eval \"$(aaws sts clear_session)\"; env | grep -c -e ACCESS_KEY -e TOKEN -e EXPIRATION",
        role("210987654321", "ops")
    );
    let output = account.shell(line).run();
    assert_eq!(output.stdout, "0\n", "{output}");
}

#[test]
fn long_lived_keys_unset_the_token_of_the_last_session() {
    let line = "eval \"$(aaws sts create_session --access_key AKIANEW --secret_key env:NEW_SECRET)\"; \
                echo \"$AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY ${AWS_SESSION_TOKEN-unset} ${AWS_CREDENTIAL_EXPIRATION-unset}\"";
    let run = shell(line).env("AWS_SESSION_TOKEN", "stale").env("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z");
    let output = run.env("NEW_SECRET", "it's $(secret)").run().ok();
    assert_eq!(output.stdout, "AKIANEW it's $(secret) unset unset\n");
}

#[test]
fn the_region_is_exported_when_the_environment_does_not_have_it() {
    let files = directory();
    let text = "[profile work]\nregion = ap-south-1\naws_access_key_id = AKIAWORK\naws_secret_access_key = secret\n";
    fs::write(files.path().join("config"), text).unwrap();
    let with_profile = |run: Aaws| run.env("AWS_CONFIG_FILE", files.path().join("config"));
    let lines = exported(&with_profile(aaws("sts create_session --profile work").without("AWS_REGION")).run().ok());
    assert_eq!(value(&lines, "AWS_ACCESS_KEY_ID"), Some("AKIAWORK"), "the profile, although the environment has keys");
    assert_eq!(value(&lines, "AWS_REGION"), Some("ap-south-1"));
    assert_eq!(value(&lines, "AWS_DEFAULT_REGION"), Some("ap-south-1"));
    let lines = exported(&aaws("sts create_session --region eu-west-3").without("AWS_REGION").run().ok());
    assert_eq!(value(&lines, "AWS_REGION"), Some("eu-west-3"));
    let lines = exported(&aaws("sts create_session").run().ok());
    assert_eq!(value(&lines, "AWS_REGION"), None, "it is there already");
    assert_eq!(value(&lines, "AWS_ACCESS_KEY_ID"), Some("AKIATEST"), "what the environment has");
    aaws("sts create_session").without("AWS_REGION").run().exits(5).silent();
}

#[test]
fn each_shell_gets_its_own_syntax() {
    let keys = "sts create_session --access_key AKIANEW --secret_key env:S --session_token env:T --format";
    let run = |format: &str, secret: &str| aaws(keys).arg(format).env("S", secret).env("T", "to+k/en=").run();
    let sh = run("sh", "a'b").ok().stdout;
    assert!(sh.contains("export AWS_SECRET_ACCESS_KEY='a'\\''b';\nexport AWS_SESSION_TOKEN='to+k/en=';\n") && sh.ends_with('\n'), "{sh}");
    let fish = run("fish", "a'b").ok().stdout;
    assert!(fish.contains("set -gx AWS_SECRET_ACCESS_KEY 'a\\'b';\n") && fish.contains("set -e AWS_CREDENTIAL_EXPIRATION;\n"), "{fish}");
    let powershell = run("powershell", "a'b").ok().stdout;
    assert!(powershell.contains("$Env:AWS_SECRET_ACCESS_KEY = 'a''b';\n"), "{powershell}");
    assert!(powershell.contains("Remove-Item Env:AWS_CREDENTIAL_EXPIRATION -ErrorAction SilentlyContinue;\n"), "{powershell}");
    let cmd = run("cmd", "a&b").ok().stdout;
    assert!(cmd.contains("set \"AWS_SECRET_ACCESS_KEY=a&b\"\n") && cmd.contains("set AWS_CREDENTIAL_EXPIRATION=\n"), "{cmd}");
    run("cmd", "%PATH%").exits(1).silent().logs("AWS_SECRET_ACCESS_KEY");
    run("sh", "two\nlines").exits(1).silent().logs("AWS_SECRET_ACCESS_KEY");
    if !cfg!(windows) {
        assert_eq!(aaws("sts create_session").run().ok().stdout, aaws("sts create_session --format sh").run().ok().stdout);
    }
}

#[test]
fn json_is_what_credential_process_takes() {
    let account = Account::fresh();
    let line = format!("sts create_session --format json --role_arn {}", role("210987654321", "ops"));
    let output = account.aaws(&line).run().ok();
    let object = output.json();
    assert_eq!(object["Version"], 1);
    assert!(object["AccessKeyId"].as_str().is_some_and(|k| k.starts_with("ASIA")), "{output}");
    assert!(object["SecretAccessKey"].is_string() && object["SessionToken"].is_string());
    let expiration: jiff::Timestamp = object["Expiration"].as_str().and_then(|e| e.parse().ok()).expect("RFC 3339");
    assert!(expiration > jiff::Timestamp::now());
    assert!(output.stdout.ends_with("}\n"));

    // And it is: the program under test reads it through the SDK's own reader.
    let files = directory();
    let process = format!("[profile other]\nregion = us-east-1\ncredential_process = aaws {line}\n");
    fs::write(files.path().join("config"), process).unwrap();
    let who = account.aaws("sts whoami --profile other").env("AWS_CONFIG_FILE", files.path().join("config")).run().ok().json();
    assert_eq!(who["Account"], "210987654321");

    let keys = aaws("sts create_session --format json").run().ok().json();
    assert_eq!(keys, json!({"Version": 1, "AccessKeyId": "AKIATEST", "SecretAccessKey": "secret"}));
}

// --- create_session: where the session comes from ---

#[test]
fn roles_are_chained_in_the_order_given() {
    let account = Account::fresh();
    let (hub, spoke) = (role("111111111111", "hub"), role("222222222222", "spoke"));
    let json = |roles: Value| json!({"role_arn": roles}).to_string();
    let ways: Vec<Vec<String>> = vec![
        vec!["--role_arn".into(), hub.clone(), "--role_arn".into(), spoke.clone()],
        vec!["--role_arn".into(), hub.clone(), spoke.clone()],
        vec!["--input".into(), json(json!([hub, spoke]))],
    ];
    for way in ways {
        let server = counted();
        let run = account.aaws("sts create_session --format json").args(way.iter().map(String::as_str)).endpoint(&server.url).run().ok();
        let session = run.json();
        let asked: Vec<_> = server.requests("AssumeRole").iter().filter_map(|r| r.parameter("RoleArn")).collect();
        assert_eq!(asked.first(), Some(&hub), "{asked:?}");
        assert_eq!(asked.last(), Some(&spoke), "{asked:?}");
        let who = aaws("sts whoami")
            .env("AWS_ACCESS_KEY_ID", session["AccessKeyId"].as_str().unwrap())
            .env("AWS_SECRET_ACCESS_KEY", session["SecretAccessKey"].as_str().unwrap())
            .env("AWS_SESSION_TOKEN", session["SessionToken"].as_str().unwrap());
        assert_eq!(who.run().ok().json()["Account"], "222222222222");
    }
    let one = account.aaws("sts create_session --format json --input").arg(json(json!(hub))).run().ok();
    assert!(one.json()["SessionToken"].is_string(), "a string is one role: {one}");
}

#[test]
fn what_is_asked_of_sts_is_what_was_given() {
    let account = Account::fresh();
    let server = counted();
    let line = format!(
        "sts create_session --role_arn {} --session_name alice@work --external_id our-id --duration 30m",
        role("210987654321", "ops")
    );
    account.aaws(line).endpoint(&server.url).run().ok();
    let request = server.requests("AssumeRole").pop().expect("the role was assumed");
    assert_eq!(request.parameter("RoleSessionName").as_deref(), Some("alice@work"));
    assert_eq!(request.parameter("ExternalId").as_deref(), Some("our-id"));
    assert_eq!(request.parameter("DurationSeconds").as_deref(), Some("1800"));
    assert!(server.operations().iter().all(|name| name == "AssumeRole"), "declared, and no more: {:?}", server.operations());
}

#[test]
fn a_role_is_assumed_with_the_keys_that_stand_beside_it() {
    let (account, other) = (Account::fresh(), Account::fresh());
    let server = counted();
    let line = format!(
        "sts create_session --access_key {} --secret_key env:S --session_token env:T --role_arn {}",
        other.access_key,
        role(&other.id, "ops")
    );
    account.aaws(line).env("S", &other.secret_key).env("T", &other.token).endpoint(&server.url).run().ok();
    let signed: Vec<_> = server.requests("AssumeRole").iter().filter_map(|r| r.header("authorization").map(str::to_owned)).collect();
    assert!(!signed.is_empty() && signed.iter().all(|s| s.contains(&other.access_key)), "{signed:?}");
}

#[test]
fn a_role_is_assumed_with_the_profile_that_stands_beside_it() {
    let files = directory();
    let text = "[profile work]\nregion = us-east-1\naws_access_key_id = AKIAWORK\naws_secret_access_key = secret\n";
    fs::write(files.path().join("config"), text).unwrap();
    let server = counted();
    let line = format!("sts create_session --profile work --role_arn {}", role("210987654321", "ops"));
    aaws(line).env("AWS_CONFIG_FILE", files.path().join("config")).endpoint(&server.url).run().ok();
    let signed: Vec<_> = server.requests("AssumeRole").iter().filter_map(|r| r.header("authorization").map(str::to_owned)).collect();
    assert!(!signed.is_empty() && signed.iter().all(|s| s.contains("AKIAWORK")), "{signed:?}");
}

#[test]
fn an_mfa_device_opens_a_role_or_a_session_of_ones_own() {
    let serial = "arn:aws:iam::123456789012:mfa/alice";
    let server = counted();
    let mfa = format!("sts create_session --format json --mfa_serial {serial} --mfa_token 123456");
    aaws(format!("{mfa} --duration 36h")).endpoint(&server.url).run().ok();
    let own = server.requests("GetSessionToken").pop().expect("a session of one's own");
    assert_eq!(own.parameter("SerialNumber").as_deref(), Some(serial));
    assert_eq!(own.parameter("TokenCode").as_deref(), Some("123456"));
    assert_eq!(own.parameter("DurationSeconds").as_deref(), Some("129600"));

    aaws(format!("{mfa} --role_arn {}", role("210987654321", "ops"))).endpoint(&server.url).run().ok();
    let requests = server.requests("AssumeRole");
    let tokens: Vec<_> = requests.iter().filter_map(|r| r.parameter("TokenCode")).collect();
    assert_eq!(tokens, ["123456"], "digits are good for one use");
    assert_eq!(server.count("GetSessionToken"), 1, "each call when it is declared");
}

#[test]
fn mfa_digits_are_asked_for_on_a_terminal_only() {
    let server = counted();
    let line = "sts create_session --format json --mfa_serial arn:aws:iam::123456789012:mfa/alice";
    aaws(line).endpoint(&server.url).run().exits(2).silent().logs("mfa_token");
    assert_eq!(server.operations(), [""; 0]);
    let seen = aaws(line).endpoint(&server.url).on_terminal("654321").ok();
    assert!(seen.stdout.contains("mfa/alice"), "{seen}");
    let request = server.requests("GetSessionToken").pop().expect("a session");
    assert_eq!(request.parameter("TokenCode").as_deref(), Some("654321"));
}

#[test]
fn an_mfa_device_that_is_refused_prints_nothing() {
    let server = denying();
    let line = "sts create_session --mfa_serial arn:aws:iam::123456789012:mfa/alice --mfa_token 123456";
    aaws(line).endpoint(&server.url).run().exits(5).silent().logs("AccessDenied");
}

#[test]
fn secrets_come_from_files_and_streams_and_are_never_shown() {
    let files = directory();
    fs::write(files.path().join("secret"), "hidden-secret\n").unwrap();
    let line = "sts create_session --access_key AKIANEW --secret_key @secret --session_token - --debug";
    let output = aaws(line).within(files.path()).stdin("hidden-token\n").run().ok();
    let lines = exported(&output);
    assert_eq!(value(&lines, "AWS_SECRET_ACCESS_KEY"), Some("hidden-secret"));
    assert_eq!(value(&lines, "AWS_SESSION_TOKEN"), Some("hidden-token"));
    assert!(!output.stderr.contains("hidden"), "{output}");
    let server = denying();
    let line = format!("sts create_session --access_key AKIANEW --secret_key @secret --role_arn {} --debug", role("210987654321", "ops"));
    let failed = aaws(line).within(files.path()).endpoint(&server.url).run().silent();
    assert!(!failed.stderr.contains("hidden"), "{failed}");
}

#[test]
fn input_that_makes_no_session_is_refused_before_anything_is_sent() {
    let server = counted();
    let ops = role("210987654321", "ops");
    let lines = [
        ("--access_key AKIA".to_owned(), "secret_key"),
        ("--secret_key env:HOME".to_owned(), "access_key"),
        ("--session_token env:HOME".to_owned(), "access_key"),
        ("--profile p --access_key AKIA --secret_key env:HOME".to_owned(), "only one of"),
        (format!("--role_arn {ops} --mfa_token 123456"), "mfa_serial"),
        ("--mfa_serial s --mfa_token 12345".to_owned(), "mfa_token"),
        ("--mfa_serial s --mfa_token 12345x".to_owned(), "mfa_token"),
        ("--external_id e".to_owned(), "role_arn"),
        ("--session_name alice".to_owned(), "role_arn"),
        (format!("--role_arn {ops} --session_name a"), "session_name"),
        (format!("--role_arn {ops} --session_name a/b"), "session_name"),
        ("--role_arn ops".to_owned(), "role_arn"),
        // What an unset variable leaves behind.
        ("--role_arn".to_owned(), "role_arn"),
        ("--role_arn=".to_owned(), "role_arn"),
        ("--profile=".to_owned(), "profile"),
        ("--access_key= --secret_key env:HOME".to_owned(), "access_key"),
        ("--duration 1h".to_owned(), "duration"),
        (format!("--role_arn {ops} --duration 14m"), "duration"),
        (format!("--role_arn {ops} --duration 13h"), "duration"),
        (format!("--role_arn {ops} --role_arn {ops} --duration 2h"), "duration"),
        ("--mfa_serial s --mfa_token 123456 --duration 37h".to_owned(), "duration"),
        ("--format bash".to_owned(), "powershell"),
        ("--endpoint_url sts.local".to_owned(), "endpoint_url"),
    ];
    for (flags, word) in lines {
        let output = aaws(format!("sts create_session {flags}")).endpoint(&server.url).run().exits(2).silent();
        assert!(output.stderr.contains(word), "no {word} in {output}");
    }
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn the_policy_of_a_session_names_the_role() {
    let ops = role("210987654321", "ops");
    let policy = aaws(format!("permissions sts create_session --role_arn {ops}")).run().ok().json();
    assert_eq!(policy["Statement"], json!([{"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": [ops]}]));
    aaws("permissions sts create_session").run().ok().silent().logs("no permission is needed with these inputs").logs("--all");
}

// --- clear_session ---

#[test]
fn clearing_unsets_every_variable_of_a_session() {
    let clear = |flags: &str| aaws(format!("sts clear_session {flags}")).stranger().endpoint("http://127.0.0.1:9").run().ok().stdout;
    let lines = |line: &dyn Fn(&str) -> String| SESSION.iter().map(|name| line(name) + "\n").collect::<String>();
    assert_eq!(clear("--format sh"), lines(&|n| format!("unset {n};")));
    assert_eq!(clear("--format fish"), lines(&|n| format!("set -e {n};")));
    assert_eq!(clear("--format powershell"), lines(&|n| format!("Remove-Item Env:{n} -ErrorAction SilentlyContinue;")));
    assert_eq!(clear("--format cmd"), lines(&|n| format!("set {n}=")));
    if !cfg!(windows) {
        assert_eq!(clear(""), clear("--format sh"));
    }
    assert!(clear("--profile").contains("unset AWS_PROFILE;\n") && !clear("").contains("AWS_PROFILE"));
    assert!(clear("--region").contains("unset AWS_REGION;\n") && !clear("").contains("AWS_REGION"));
}

#[test]
fn clear_session_takes_no_flag_that_does_nothing() {
    for flags in ["--role_arn x", "--timeout 1s", "--dry_run", "--format json"] {
        aaws(format!("sts clear_session {flags}")).run().exits(2).silent();
    }
}
