//! `aaws log`: the runs that there are journals of, and the steps of one.

use std::io::{self, IsTerminal};

use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use super::common::{self, Common};
use super::settings::Settings;
use crate::engine::journal::{Fate, Past, PastItem, PastStep, Store, Writer};
use crate::model::error::Result;
use crate::render::{Format, Printer};

pub fn command(command: Command) -> Command {
    let run = Arg::new("run").value_name("RUN").help("Show what this run did: its id, or the file of its journal");
    common::add(command.arg(run), common::local_flags())
}

pub fn run(matches: &ArgMatches, settings: &Settings) -> Result<u8> {
    let store = Store::of_user()?;
    let rows = match matches.get_one::<String>("run") {
        Some(word) => Past::read(&store.find(word)?)?.items.iter().map(item).collect(),
        None => runs(&store)?,
    };
    let common = Common::read(matches, &[], settings)?;
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let default = if terminal { Format::Table } else { Format::Json };
    Printer::new(Some(common.format.unwrap_or(default)), common.query.as_deref(), stdout, terminal)?.value(Value::Array(rows))?;
    Ok(0)
}

fn runs(store: &Store) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for kept in store.all()?.into_iter().filter(|kept| !kept.is_empty()) {
        rows.push(match Past::read(&kept.path) {
            Ok(past) => row(&past),
            Err(e) => json!({ "id": kept.id, "state": "unreadable", "problem": e.to_string() }),
        });
    }
    Ok(rows)
}

/// One run.
fn row(past: &Past) -> Value {
    let header = &past.header;
    let state = match &past.end {
        _ if Writer::is_in_use(&past.path) => "running",
        Some(end) if end.complete => "finished",
        Some(_) => "interrupted",
        None => "unfinished",
    };
    let targets: Vec<Value> = past.target.iter().map(|target| json!({ "account": target.account, "region": target.region })).collect();
    let mut row = json!({
        "id": header.id, "time": header.time, "action": header.action, "state": state, "targets": targets, "counts": past.counts(),
        "undone": past.undone.is_some(), "user": header.user, "host": header.host, "command": header.command, "journal": past.path.display().to_string(),
    });
    if let Some(row) = row.as_object_mut() {
        row.extend(header.undoes.iter().map(|id| ("undoes".to_owned(), Value::from(id.clone()))));
        let error = past.end.as_ref().and_then(|end| end.error.clone());
        row.extend(error.map(|error| ("error".to_owned(), Value::from(error))));
    }
    row
}

/// One item of a run.
fn item(item: &PastItem) -> Value {
    let (status, code, message) = match &item.result {
        Some(result) => (json!(result.status), result.code.clone(), result.message.clone()),
        // It was about to be sent when the process ended.
        None => (json!("unknown"), None, None),
    };
    let steps: Vec<Value> = item.steps.iter().map(step).collect();
    json!({ "item": item.item, "status": status, "code": code, "message": message, "steps": steps })
}

fn step(step: &PastStep) -> Value {
    let state = match step.fate {
        None => "can be undone",
        Some(Fate::Undone) => "undone",
        Some(Fate::Dropped) => "dropped",
        Some(Fate::Final) => "final",
    };
    json!({ "seq": step.id, "step": step.says, "state": state })
}
