use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::model::outcome::Status;

fn target() -> PlanTarget {
    PlanTarget { account: "123456789012".parse().ok(), region: "eu-west-1".parse().ok(), endpoint: None }
}

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "bucket": {"type": "string"},
        "keys": {"type": "array", "items": {"type": "string"}, "x-aaws-stream": true},
    }})
}

/// A plan of two items, of an input with three keys.
fn write(folder: &Path) -> PathBuf {
    let file = folder.join("plan.jsonl");
    let writer = PlanWriter::create(NewPlan { file: file.clone(), expires: Age::days(1) }).expect("a new plan");
    let mut input = Input::from_json(r#"{"bucket": "b", "keys": ["k1", "k2", "k3"]}"#).expect("an input");
    writer.keep(&schema(), &mut input).expect("it is kept");
    writer.open().expect("a file");
    writer.begin("s3/test", target(), Timestamp::now()).expect("its first line");
    writer.item(&Record::new("k1", Status::Planned).with_message("it would go"), Some(json!({"size": 8})));
    writer.item(&Record::new("k2", Status::Skipped).with_message("it is in use"), None);
    assert!(!file.exists(), "there is no half of a plan");
    writer.finish().expect("a whole plan");
    file
}

fn refused(file: &Path) -> String {
    Planned::open(file, PlanRules::default()).err().map(|e| format!("{:?}: {e}", e.kind())).unwrap_or_default()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_plan_is_read_as_it_was_written() {
    let folder = folder();
    let planned = Planned::open(&write(folder.path()), PlanRules::default()).expect("a plan");
    assert_eq!(planned.header().action, "s3/test");
    assert!(planned.check_target(&target()).is_ok());
    let line = planned.expected("k1").expect("it can be read").expect("it is in the plan");
    assert_eq!((line.record.status, line.state), (Status::Planned, Some(json!({"size": 8}))));
    assert!(planned.expected("k9").expect("it can be read").is_none());
    let unseen: Vec<_> = planned.unseen().map(|line| line.expect("it can be read").record.item).collect();
    assert_eq!(unseen, ["k2"]);
    let mut input = planned.input(schema(), Map::new(), false).expect("an input");
    assert_eq!(Value::Object(input.value), json!({"bucket": "b"}));
    let keys = input.spools.remove("keys").expect("keys").into_values().expect("values");
    assert_eq!(keys, ["k1", "k2", "k3"], "the one for which no item came, too");
}

#[test]
fn a_plan_is_never_written_over_what_is_there() {
    let folder = folder();
    let file = write(folder.path());
    let again = |file: PathBuf| PlanWriter::create(NewPlan { file, expires: Age::days(1) }).err().map(|e| e.to_string());
    assert!(again(file).is_some_and(|e| e.contains("already")));
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let link = folder.path().join("link");
        symlink("nowhere", &link).expect("a link");
        assert!(again(link).is_some_and(|e| e.contains("already")), "nor through a link");
        let mode = fs::metadata(folder.path().join("plan.jsonl")).expect("the plan").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let left = fs::read_dir(folder.path()).expect("the folder").count();
    assert!(left <= 2, "no scratch file is left");
}

#[test]
fn what_is_not_as_it_was_written_is_refused() {
    let folder = folder();
    let file = write(folder.path());
    let whole = fs::read_to_string(&file).expect("the plan");
    let lines: Vec<&str> = whole.lines().collect();
    let cases = [
        whole.replace("k1", "k9"),
        whole.replace("\"planned\"", "\"skipped\""),
        whole.replace("eu-west-1", "us-east-1"),
        whole.clone() + "{}\n",
        lines[..lines.len() - 1].join("\n") + "\n",
        lines[..1].join("\n") + "\n",
        [&lines[..1], &lines[2..]].concat().join("\n") + "\n",
        whole.trim_end().to_owned(),
        "nothing of the kind\n".to_owned(),
        String::new(),
    ];
    for case in cases {
        fs::write(&file, &case).expect("the plan");
        let said = refused(&file);
        assert!(said.starts_with("Refused: ") && said.contains("not as it was written"), "{said}: {case}");
    }
    fs::write(&file, whole.replace("{\"format\":1,", "{\"format\":2,")).expect("the plan");
    let said = refused(&file);
    assert!(said.starts_with("Failed: ") && said.contains("newer"), "{said}");
    assert!(refused(&folder.path().join("none")).starts_with("Input: "));
}

#[test]
fn a_plan_holds_for_a_while_and_in_one_place() {
    let folder = folder();
    let file = write(folder.path());
    let open = |age: &str| Planned::open(&file, PlanRules { max_age: age.parse().ok() });
    assert!(open("0s").is_err_and(|e| matches!(e, Error::Refused(_)) && e.to_string().contains("held until")));
    // No age makes it hold longer than it says.
    let planned = open("52w").expect("it holds");
    let later = planned.header().expires;
    assert!(planned.check_time(None, later).is_err() && planned.check_time("52w".parse().ok(), later).is_err());

    let of = |account: Option<&str>, region: &str, endpoint: Option<&str>| {
        let account = account.and_then(|a| a.parse().ok());
        planned.check_target(&PlanTarget { account, region: region.parse().ok(), endpoint: endpoint.map(str::to_owned) })
    };
    assert!(of(Some("123456789012"), "eu-west-1", None).is_ok());
    assert!(of(Some("123456789012"), "us-east-1", None).is_err_and(|e| e.to_string().contains("us-east-1")));
    assert!(of(Some("210987654321"), "eu-west-1", None).is_err_and(|e| e.to_string().contains("210987654321")));
    assert!(of(None, "eu-west-1", Some("sandbox /a")).is_err());
}

#[test]
fn a_plan_is_of_where_its_requests_went() {
    let folder = folder();
    let file = write(folder.path());
    let planned = |there: PlanTarget| {
        let mut planned = Planned::open(&file, PlanRules::default()).expect("a plan");
        planned.move_to(there);
        planned
    };
    let of = |account: Option<&str>, endpoint: Option<&str>| PlanTarget {
        account: account.and_then(|account| account.parse().ok()),
        region: "eu-west-1".parse().ok(),
        endpoint: endpoint.map(str::to_owned),
    };
    let account = Some("123456789012");
    for (there, here, refused) in [
        (of(account, Some("aws")), of(account, Some("aws")), None),
        (of(account, Some("http://127.0.0.1:4566")), of(account, Some("http://127.0.0.1:4567")), None),
        (of(account, Some("http://127.0.0.1:4566")), of(account, Some("aws")), Some("this run is on AWS itself")),
        (of(None, Some("sandbox /a")), of(None, Some("sandbox /b")), Some("made on the sandbox in `/a`")),
        (of(None, Some("sandbox /a")), of(account, Some("aws")), Some("made on the sandbox in `/a`")),
        // As earlier programs wrote it.
        (of(account, None), of(account, Some("http://127.0.0.1:4566")), None),
        (of(None, Some("sandbox")), of(None, Some("sandbox /a")), None),
        (of(None, None), of(None, Some("http://127.0.0.1:9000")), Some("made on AWS itself")),
    ] {
        let said = planned(there).check_target(&here).err().map(|e| e.to_string());
        match refused {
            None => assert_eq!(said, None, "{here:?}"),
            Some(says) => assert!(said.as_ref().is_some_and(|said| said.contains(says)), "{said:?}: {says}"),
        }
    }
}
