//! Steps that one process noted, undone by another: as data, with nothing else to go by.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use ::aaws::catalog::registry;
use ::aaws::{Connection, Input, Journal, Keys, Request, Result, Secret, SessionOptions, StepId, StepNote, Unattended, async_trait, execute};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::account::Account;
use crate::support::directory;
use crate::support::ec2::World;

/// Where the other process finds what it is to undo. Without it the test that is the other process has nothing to do.
const TO_UNDO: &str = "AAWS_TEST_TO_UNDO";

/// Keeps the notes of a run. At a step whose words begin so, the run stands still for ever, as if its process had been killed before the request was sent.
#[derive(Default)]
struct Notes {
    notes: Mutex<Vec<StepNote>>,
    dies_at: &'static str,
    dead: Notify,
}

#[async_trait]
impl Journal for Notes {
    async fn note(&self, notes: Vec<StepNote>) -> Result<Vec<StepId>> {
        let dies = !self.dies_at.is_empty() && notes.iter().any(|note| note.says.starts_with(self.dies_at));
        let ids = vec![0; notes.len()];
        self.notes.lock().unwrap().extend(notes);
        if dies {
            self.dead.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(ids)
    }
}

fn target(account: &Account, endpoint: &str) -> SessionOptions {
    let secret = |text: &str| Secret::new(text);
    SessionOptions {
        region: "us-east-1".parse().ok(),
        endpoint_url: Some(endpoint.to_owned()),
        keys: Some(Keys {
            access_key: account.access_key.clone(),
            secret_key: secret(&account.secret_key),
            session_token: Some(secret(&account.token)),
        }),
        ..SessionOptions::default()
    }
}

/// Runs an action in this process, to its end or to the step at which it dies, and gives what it noted.
fn run_until(account: &Account, endpoint: &str, path: &str, input: &Value, dies_at: &'static str) -> Vec<StepNote> {
    let notes = Arc::new(Notes { dies_at, ..Notes::default() });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let entry = registry::find(path).expect("an action");
        let mut request = Request::new(entry, Input::from_json(&input.to_string()).expect("an input"));
        request.target = target(account, endpoint);
        request.journal = Some(Arc::clone(&notes) as Arc<dyn Journal>);
        let whole = async {
            let mut execution = execute(request, Arc::new(Unattended)).await;
            let collected = execution.rows().collect().await;
            assert!(collected.error.is_none(), "{:?}", collected.error);
            assert!(dies_at.is_empty(), "it came to its end without {dies_at}");
        };
        tokio::select! {
            () = whole => {}
            () = notes.dead.notified() => {}
        }
    });
    // What hangs is dropped here, in the middle of its step.
    runtime.shutdown_background();
    std::mem::take(&mut *notes.notes.lock().unwrap())
}

/// Has another process undo the steps, from the last to the first.
fn undo_elsewhere(account: &Account, endpoint: &str, notes: &[StepNote]) {
    let folder = directory();
    let file = folder.path().join("steps.json");
    let keys = [&account.access_key, &account.secret_key, &account.token];
    fs::write(&file, json!({ "endpoint": endpoint, "keys": keys, "notes": notes }).to_string()).expect("the steps");
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "undo::as_the_other_process", "--nocapture"])
        .env(TO_UNDO, &file)
        .env("AAWS_CLOCK_RATE", "20")
        .output()
        .expect("the other process");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn as_the_other_process() {
    let Some(file) = std::env::var_os(TO_UNDO) else { return };
    let read: Value = serde_json::from_str(&fs::read_to_string(Path::new(&file)).expect("the steps")).expect("JSON");
    let notes: Vec<StepNote> = serde_json::from_value(read["notes"].clone()).expect("notes that can be read back");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let keys = &read["keys"];
    let account = Account { id: String::new(), access_key: text(&keys[0]), secret_key: text(&keys[1]), token: text(&keys[2]) };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let connection = Connection::open(target(&account, &text(&read["endpoint"]))).await.expect("a connection");
        for note in notes.iter().rev() {
            let entry = registry::find(&note.action).expect("the action that noted it");
            connection.undo(entry, note.step.clone()).await.unwrap_or_else(|e| panic!("{}: {e}", note.says));
        }
    });
}

#[test]
fn a_swap_of_a_process_that_died_is_undone_by_another() {
    let world = World::new();
    let machine = world.instance(&[]);
    let data = world.volume(&[("Iops", "4000"), ("Throughput", "300")]);
    world.attach(&data, &machine.id, "/dev/sdf");
    let (before, endpoint) = (world.attached(&machine.id), world.proxy().start());
    let input = json!({ "volume_id": data, "kms_key_id": world.key() });
    // The copy is attached in the original's place; the instance was to be started with it.
    let notes = run_until(&world.account, &endpoint.url, "ec2/encrypt_volume", &input, "start ");
    assert_ne!(world.attached(&machine.id), before, "the copy is in the original's place");
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("stopped"));

    undo_elsewhere(&world.account, &endpoint.url, &notes);
    assert_eq!(world.attached(&machine.id), before, "the original is where it was");
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    assert_eq!(world.snapshots(), [""; 0]);
    let mut originals = vec![machine.root, data];
    originals.sort();
    assert_eq!(world.volumes(), originals, "no copy is left over");
}

#[test]
fn tags_that_one_process_changed_are_put_back_by_another() {
    let world = World::new();
    let (one, other) = (world.volume(&[]), world.volume(&[]));
    world.tag(&one, "Env", "prod");
    world.tag(&one, "Owner", "alice");
    let before = [world.tags(&one), world.tags(&other)];
    let endpoint = world.proxy().start();
    let input = json!({ "resource_ids": [one, other], "tags": ["Env=test", "Team=blue"], "create": true });
    let notes = run_until(&world.account, &endpoint.url, "ec2/modify_tags", &input, "");
    assert_ne!([world.tags(&one), world.tags(&other)], before);

    undo_elsewhere(&world.account, &endpoint.url, &notes);
    assert_eq!([world.tags(&one), world.tags(&other)], before);
}
