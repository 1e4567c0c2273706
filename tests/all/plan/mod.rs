//! Plans: what `--plan` writes, and what `aaws apply` does of it, after the world has changed meanwhile.

// With some services only, what the tests of the others use is left over.
#![cfg_attr(not(all(feature = "ec2", feature = "iam", feature = "s3")), allow(dead_code))]

#[cfg(feature = "ec2")]
mod ec2;
#[cfg(feature = "iam")]
mod iam;
#[cfg(feature = "s3")]
mod refused;
#[cfg(feature = "s3")]
mod s3;

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::report;

/// The lines of the plan `plan.jsonl` in a folder.
pub fn plan(folder: &TempDir) -> Vec<Value> {
    let text = fs::read_to_string(folder.path().join("plan.jsonl")).expect("the plan");
    text.lines().map(|line| serde_json::from_str(line).expect("each line of a plan is JSON")).collect()
}

/// Item, status and code of each outcome of the report `report.jsonl` in a folder, sorted: lines come as items are settled.
pub fn outcomes(folder: &TempDir) -> Vec<(String, String, String)> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let mut outcomes: Vec<_> = report(folder).iter().map(|line| (text(line, "item"), text(line, "status"), text(line, "code"))).collect();
    outcomes.sort_unstable();
    outcomes
}

/// The same, as it should be.
pub fn expected(outcomes: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let mut expected: Vec<_> =
        outcomes.iter().map(|(item, status, code)| ((*item).to_owned(), (*status).to_owned(), (*code).to_owned())).collect();
    expected.sort_unstable();
    expected
}

/// What the report says of an item.
pub fn message(folder: &TempDir, item: &str) -> String {
    let line = report(folder).into_iter().find(|line| line["item"] == item);
    line.and_then(|line| line["message"].as_str().map(str::to_owned)).unwrap_or_default()
}
