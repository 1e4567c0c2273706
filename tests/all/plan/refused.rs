//! Plans that are not applied: with a sentence, and with nothing sent.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::plan;
use crate::support::proxy::Proxy;
use crate::support::{Account, Bucket, Output, Server, aaws, directory, moto};

/// A plan that would delete two keys, and all that it takes to apply it.
struct Planned {
    bucket: Bucket,
    server: Server,
    folder: TempDir,
    /// Where it is kept which plans were applied.
    state: TempDir,
}

impl Planned {
    fn new(flags: &str) -> Self {
        let planned = Planned {
            bucket: Bucket::with(["a", "b"]),
            server: Proxy::to(moto::endpoint()).start(),
            folder: directory(),
            state: directory(),
        };
        let line = format!("s3 delete_objects --bucket {} --objects a b --plan plan.jsonl {flags}", planned.bucket);
        planned.run(&line).ok();
        planned
    }

    fn run(&self, line: &str) -> Output {
        self.prepared(line).run()
    }

    fn prepared(&self, line: &str) -> crate::support::aaws::Aaws {
        aaws(line).endpoint(&self.server.url).within(self.folder.path()).env("XDG_STATE_HOME", self.state.path())
    }

    fn is_untouched(&self) -> bool {
        self.bucket.keys() == ["a", "b"] && self.server.writes().is_empty()
    }
}

#[test]
fn a_plan_that_is_not_as_it_was_written_is_refused() {
    let planned = Planned::new("");
    let file = planned.folder.path().join("plan.jsonl");
    let whole = fs::read_to_string(&file).expect("the plan");
    let without_end = whole.lines().take(3).map(|line| format!("{line}\n")).collect::<String>();
    for (text, code, says) in [
        (whole.replace("\"item\":\"a\"", "\"item\":\"c\""), 4, "not as it was written"),
        (whole.replace("us-east-1", "eu-west-1"), 4, "not as it was written"),
        (without_end, 4, "its end is missing"),
        (whole.chars().take(40).collect(), 4, "does not begin as a plan does"),
        (String::new(), 4, "it is empty"),
        ("[\"a\", \"b\"]\n".to_owned(), 4, "does not begin as a plan does"),
        (whole.replace("{\"format\":1", "{\"format\":9"), 1, "it takes a newer one"),
    ] {
        fs::write(&file, &text).expect("the plan");
        planned.run("apply plan.jsonl").exits(code).silent().logs(says);
    }
    planned.run("apply nowhere.jsonl").exits(2).silent().logs("nowhere.jsonl");
    assert!(planned.is_untouched());
    assert_eq!(planned.server.operations().iter().filter(|name| *name == "DeleteObjects").count(), 0);

    fs::write(&file, whole).expect("the plan");
    planned.run("apply plan.jsonl").ok();
    assert_eq!(planned.bucket.keys(), [""; 0]);
}

#[test]
fn a_plan_holds_for_a_while_only() {
    let planned = Planned::new("--expires 0s");
    planned.run("apply plan.jsonl").exits(4).silent().logs("held until");
    planned.run("apply plan.jsonl --max_age 52w").exits(4).silent().logs("held until");
    assert!(planned.is_untouched());
    let planned = Planned::new("--expires 7d");
    planned.run("apply plan.jsonl --max_age 0s").exits(4).silent().logs("held until");
    planned.run("apply plan.jsonl --max_age soon").exits(2).silent().logs("`max_age`");
    assert!(planned.is_untouched());
    planned.run("apply plan.jsonl --max_age 1h").ok();
}

#[test]
fn a_plan_of_another_account_or_region_is_refused() {
    let planned = Planned::new("");
    let stranger = Account::fresh();
    let other = stranger.own(planned.prepared("apply plan.jsonl")).run().exits(4).silent();
    other.logs(&stranger.id).logs("123456789012");
    planned.run("apply plan.jsonl --region eu-west-1").exits(4).silent().logs("eu-west-1");
    let sandbox = directory();
    planned.prepared("apply plan.jsonl").sandbox(sandbox.path()).run().exits(4).silent().logs("this run is on the sandbox in");
    // The account has the same number elsewhere.
    planned.prepared("apply plan.jsonl").endpoint("https://s3.example.invalid").run().exits(4).silent();
    assert!(planned.is_untouched());
}

#[test]
fn a_plan_is_applied_once_and_so_are_its_copies() {
    let planned = Planned::new("");
    let folder = planned.folder.path();
    fs::copy(folder.join("plan.jsonl"), folder.join("copy.jsonl")).expect("a copy");
    // Neither who looks nor who declines has applied it.
    planned.run("apply plan.jsonl --dry_run").ok();
    planned.prepared("apply plan.jsonl").on_terminal("n").exits(4);
    assert!(planned.is_untouched());
    planned.prepared("apply plan.jsonl").on_terminal("y").ok();
    assert_eq!(planned.bucket.keys(), [""; 0]);

    ["a", "b"].iter().for_each(|key| planned.bucket.put(key, key));
    planned.run("apply plan.jsonl").exits(4).silent().logs("applied before");
    planned.run("apply copy.jsonl").exits(4).silent().logs("applied before");
    assert_eq!(planned.bucket.keys(), ["a", "b"]);
}

#[test]
fn a_plan_replaces_nothing_and_is_written_through_no_link() {
    let planned = Planned::new("");
    let folder = planned.folder.path();
    let before = plan(&planned.folder);
    let line = |file: &str| format!("s3 delete_objects --bucket {} --objects a --plan {file}", planned.bucket);
    let sent = planned.server.operations().len();
    planned.run(&line("plan.jsonl")).exits(2).silent().logs("already");
    symlink("elsewhere.jsonl", folder.join("link.jsonl")).expect("a link");
    planned.run(&line("link.jsonl")).exits(2).silent().logs("already");
    planned.run(&line("no/such/folder/plan.jsonl")).exits(2).silent().logs("cannot write");
    assert_eq!(planned.server.operations().len(), sent, "nothing is sent before that is known");
    assert_eq!(plan(&planned.folder), before);
    assert!(!folder.join("elsewhere.jsonl").exists());
}
