//! `aaws config show`: what each setting is, and where it says so.

use std::io::{self, IsTerminal};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::common::{self, Common};
use super::look;
use super::settings::{KEYS, Key, Kind, NOT_IN_FILES, PROTECT_TAG, Settings, variable};
use super::values::without_secrets;
use crate::engine::guards::ALWAYS_PROTECT;
use crate::engine::run::Concurrency;
use crate::model::error::Result;
use crate::render::Format;

/// What is said of a setting that nothing sets.
const DEFAULT: &str = "default";

pub fn command(command: Command) -> Command {
    let about = "Show every setting, its value, and where it is from: a file and its line, a variable, a flag";
    let show = Command::new("show").about(about).max_term_width(120);
    command.subcommand_required(true).disable_help_subcommand(true).subcommand(common::add(show, common::flags()))
}

pub fn run(matches: &ArgMatches, settings: &Settings) -> Result<u8> {
    let Some((_, matches)) = matches.subcommand() else { return Ok(2) };
    // A flag that is wrong is told before it is shown.
    Common::read(matches, &[], settings)?;
    let mut rows: Vec<(&str, Value, String)> = KEYS.iter().chain(NOT_IN_FILES).map(|key| row(key, matches, settings)).collect();
    rows.sort_by_key(|(name, ..)| *name);
    let rows = rows.into_iter().map(|(name, value, source)| json!({ "key": name, "value": value, "source": source })).collect();
    let default = if io::stdout().is_terminal() { Format::Table } else { Format::Json };
    look::print(matches, settings, default, Value::Array(rows))
}

/// Name, value and source of a setting.
fn row(key: &Key, matches: &ArgMatches, settings: &Settings) -> (&'static str, Value, String) {
    let flag = given(key, matches).map(|value| (value, format!("--{}", key.name)));
    let set = settings.get(key.name).map(|setting| (setting.value.clone(), setting.source.clone())).or_else(|| of_its_own(key));
    let default = (default_of(key), DEFAULT.to_owned());
    let (value, source) = if key.name == PROTECT_TAG { all([Some(default), set, flag]) } else { flag.or(set).unwrap_or(default) };
    (key.name, shown(key, value), source)
}

/// What protects: each of these adds to the others.
fn all(parts: [Option<(Value, String)>; 3]) -> (Value, String) {
    let (mut tags, mut sources) = (Vec::new(), Vec::new());
    for (value, source) in parts.into_iter().flatten() {
        if let Value::Array(more) = value {
            tags.extend(more);
            sources.push(source);
        }
    }
    (Value::Array(tags), sources.join(", "))
}

/// What the flag says, when it is given.
fn given(key: &Key, matches: &ArgMatches) -> Option<Value> {
    if matches.value_source(key.name) != Some(ValueSource::CommandLine) {
        return None;
    }
    let raw = matches.try_get_raw(key.name).ok().flatten();
    let mut texts = raw.into_iter().flatten().map(|text| text.to_string_lossy().into_owned());
    Some(match key.kind {
        Kind::Switch => Value::Bool(true),
        Kind::List => Value::from(texts.collect::<Vec<String>>()),
        Kind::Text => Value::from(texts.next().unwrap_or_default()),
        Kind::Number => texts.next().and_then(|text| text.parse::<u64>().ok()).map_or(Value::Null, Value::from),
    })
}

/// What a variable says that is read where its flag is, and not with the settings.
fn of_its_own(key: &Key) -> Option<(Value, String)> {
    let name = variable(key.name);
    let value = match key.name {
        "yes" => Value::Bool(common::agrees_by_variable()),
        "sandbox" => Value::from(common::sandbox_variable()?.to_string_lossy().into_owned()),
        _ => return None,
    };
    (value != Value::Bool(false)).then_some((value, name))
}

fn default_of(key: &Key) -> Value {
    match (key.name, key.kind) {
        ("concurrency", _) => Value::from(Concurrency::default().get()),
        ("error_format", _) => Value::from("text"),
        ("output", _) => Value::from("json"),
        (PROTECT_TAG, _) => Value::from(ALWAYS_PROTECT.to_vec()),
        (_, Kind::Switch) => Value::Bool(false),
        _ => Value::Null,
    }
}

/// An address may have something secret behind its host.
fn shown(key: &Key, value: Value) -> Value {
    match value {
        Value::String(url) if key.name == "endpoint_url" => Value::from(without_secrets(&url)),
        value => value,
    }
}
