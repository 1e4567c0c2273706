//! `list`, `describe`, `permissions`: what can be known without credentials, region or network.

use std::io::{self, IsTerminal, Write};

use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use super::common::{self, Common};
use super::settings::Settings;
use super::{completions, find, flags, help};
use crate::catalog::manifest::Manifest;
use crate::catalog::policy::{Policy, Scope};
use crate::catalog::registry;
use crate::catalog::schema::{Param, Summaries};
use crate::engine::action::to_value;
use crate::engine::entry::Entry;
use crate::model::error::{Error, Result};
use crate::render::{Format, Printer};

pub fn list_command(command: Command) -> Command {
    common::add(command.arg(Arg::new("service").help("Only this service")), common::local_flags())
}

pub fn describe_command(command: Command) -> Command {
    let action = help::words("action", "Service and action, as in `s3 delete_objects`").required(true);
    common::add(command.arg(action), common::local_flags())
}

pub fn permissions_command(command: Command) -> Command {
    command
        .long_about(
            "Print the IAM policy that actions need: `aaws permissions s3 delete_objects discover_objects`.\n\n\
             With inputs of the actions as flags (`--bucket b`) or --input, the policy is scoped to their ARNs. What is needed only with \
             certain inputs is left out unless they are given; --all adds it, and what depends on the account. Where no permission is needed \
             nothing is printed but a note on standard error.",
        )
        // The actions' own flags are known only once the actions are: these arguments are taken as they come.
        .arg(
            help::words("words", "Services and actions, then inputs of the actions")
                .required(true)
                .allow_hyphen_values(true)
                .trailing_var_arg(true),
        )
}

pub fn list(matches: &ArgMatches, settings: &Settings) -> Result<u8> {
    let service = matches.get_one::<String>("service").map(|s| s.replace('-', "_"));
    if let Some(service) = &service
        && !registry::services().contains(&service.as_str())
    {
        return Err(find(service).err().unwrap_or_else(|| Error::input(format!("there is no service `{service}`"))));
    }
    let wanted = registry::actions().iter().filter(|e| service.as_deref().is_none_or(|s| e.meta.service() == s));
    let mut summaries = Summaries::default();
    let rows = wanted.map(|entry| {
        let summary = summaries.of(entry);
        json!({ "service": entry.meta.service(), "action": entry.meta.name(), "effect": entry.meta.effect, "summary": summary })
    });
    let default = if io::stdout().is_terminal() { Format::Table } else { Format::Json };
    print(matches, settings, default, Value::Array(rows.collect()))
}

pub fn describe(matches: &ArgMatches, settings: &Settings) -> Result<u8> {
    let words = matches.get_many::<String>("action").into_iter().flatten().map(String::as_str);
    let actions = actions(words)?;
    match actions.as_slice() {
        [entry] => print(matches, settings, Format::Json, to_value(&Manifest::of(entry))?),
        _ => Err(Error::input("describe takes one action: `aaws describe s3 delete_objects`")),
    }
}

pub fn permissions(matches: &ArgMatches, settings: &Settings) -> Result<u8> {
    let words: Vec<&String> = matches.get_many::<String>("words").into_iter().flatten().collect();
    let split = words.iter().position(|w| w.starts_with('-')).unwrap_or(words.len());
    let (names, rest) = words.split_at(split);
    let entries = if names.is_empty() && rest.iter().any(|w| *w == "--help" || *w == "-h") {
        Vec::new()
    } else {
        actions(names.iter().map(|w| w.as_str()))?
    };
    let (params, command) = inputs_command(&entries);
    let matches = match command.try_get_matches_from(rest) {
        Ok(matches) => matches,
        Err(e) if e.use_stderr() => return Err(super::usage_error(&e, params.iter().any(|p| p.kind.has_secret()))),
        Err(e) => {
            let _ = io::stdout().write_all(e.render().to_string().as_bytes());
            return Ok(0);
        }
    };
    let mut input = flags::Reader::new(&matches).read(&params)?;
    Error::inputs(std::mem::take(&mut input.mistakes).into_iter().map(|(_, mistake)| mistake).collect())?;
    for (field, spool) in std::mem::take(&mut input.spools) {
        input.value.insert(field, Value::Array(spool.into_values()?));
    }
    // A name that is misspelt would widen the policy.
    crate::catalog::schema::check(&params, &input.value)?;
    for param in params.iter().filter(|param| param.naming.keeps_objects()) {
        if let Some(Value::Array(items)) = input.value.get_mut(&param.name) {
            param.naming.put_names(items);
        }
    }
    let scope = Scope {
        input: input.value,
        region: matches.get_one::<String>("region").cloned(),
        account: matches.get_one::<String>("account").cloned(),
        all: matches.get_flag("all"),
    };
    let policy = Policy::of(&entries, &scope);
    if policy.is_empty() {
        // IAM takes no policy without a statement, so there is none to print.
        let all = Scope { all: true, ..scope };
        let more = if Policy::of(&entries, &all).is_empty() { "" } else { " with these inputs; --all shows what others need" };
        super::terminal::say(&format!("no permission is needed{more}\n"));
        return Ok(0);
    }
    print(&matches, settings, Format::Json, to_value(&policy)?)
}

/// A command that takes the inputs of all these actions; one name is one flag.
fn inputs_command(entries: &[&'static Entry]) -> (Vec<Param>, Command) {
    let mut params: Vec<Param> = Vec::new();
    for param in entries.iter().flat_map(|e| Manifest::of(e).params) {
        if !params.iter().any(|p| p.name == param.name) {
            params.push(param);
        }
    }
    let mut command = Command::new("aaws permissions <SERVICE> <ACTION>…")
        .no_binary_name(true)
        .max_term_width(120)
        .about("Print the IAM policy that actions need, scoped to the inputs that are given")
        .args(flags::of_params(&params))
        .arg(flags::input_flag());
    let own = [
        Arg::new("region")
            .long("region")
            .value_name("REGION")
            .value_hint(completions::REGION)
            .help("Region of the ARNs; it tells the partition too"),
        Arg::new("account").long("account").value_name("ID").help("Account of the ARNs"),
        Arg::new("all").long("all").action(clap::ArgAction::SetTrue).help("Also what is needed only under conditions"),
    ];
    command = common::add(command, own.into());
    (params, common::add(command, common::local_flags()))
}

/// `s3 delete_objects discover_objects`, or `s3/delete_objects`: a service's name chooses it for the actions that follow.
fn actions<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<&'static Entry>> {
    let mut service: Option<String> = None;
    let mut found: Vec<&'static Entry> = Vec::new();
    let mut last_was_service = false;
    for word in words {
        let word = word.replace('-', "_");
        let path = match &service {
            _ if word.contains('/') => word,
            _ if registry::services().contains(&word.as_str()) => {
                service = Some(word);
                last_was_service = true;
                continue;
            }
            Some(service) => format!("{service}/{word}"),
            // It is no service, and is told so.
            None => word,
        };
        last_was_service = false;
        found.push(find(&path)?);
    }
    match service {
        Some(service) if last_was_service => {
            let names: Vec<_> = registry::of_service(&service).map(|e| e.meta.name()).collect();
            Err(Error::input(format!("which action of `{service}`? there are: {}", names.join(", "))))
        }
        _ if found.is_empty() => Err(Error::input("name a service and an action, as in `s3 delete_objects`")),
        _ => Ok(found),
    }
}

/// Prints a value as the flags or the settings say.
pub fn print(matches: &ArgMatches, settings: &Settings, default: Format, value: Value) -> Result<u8> {
    let common = Common::read(matches, &["account", "region"], settings)?;
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    Printer::new(Some(common.format.unwrap_or(default)), common.query.as_deref(), stdout, terminal)?.value(value)?;
    Ok(0)
}
