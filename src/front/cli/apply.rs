//! `aaws apply`: does what a plan says, to what is still as the plan saw it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value};

use super::common::{self, Common, ErrorFormat};
use super::flags::{self, INPUT};
use super::journals;
use super::run::{Job, perform};
use super::settings::Settings;
use super::values::parsed;
use crate::catalog::manifest::Manifest;
use crate::catalog::registry;
use crate::engine::plan::{PlanMode, PlanRules, Planned};
use crate::input::{Input, Source};
use crate::model::error::{Error, Result};

/// The command's name.
pub const NAME: &str = "apply";

pub fn command(command: Command) -> Command {
    let flag = |name: &'static str| flags::with_kebab(Arg::new(name).long(name), name);
    let command = command
        .long_about(
            "Do what a plan says that an action wrote with --plan.\n\n\
             The action selects its items again. Changed are those that the plan would change and that are still as it saw them; one that is not is \
             skipped, with the difference, and what the plan does not know is left alone. --dry_run shows what has changed since.\n\n\
             Refused is a plan that was altered, that has expired or was applied before, and one of another account, region or \
             endpoint: it is applied in the region that it was made in.",
        )
        .arg(Arg::new("file").value_name("PLAN").required(true).value_parser(clap::value_parser!(PathBuf)).help("What --plan wrote"))
        .arg(
            flag("max_age")
                .value_name("DURATION")
                .value_parser(clap::value_parser!(OsString))
                .help("How old the plan may be; it never holds longer than it says itself"),
        )
        .arg(
            flag(INPUT)
                .value_name("JSON|@FILE|-")
                .value_parser(clap::value_parser!(OsString))
                .allow_hyphen_values(true)
                .help("The secrets of the input, which are in no plan, as a JSON object, from a file (@FILE) or from standard input (-)"),
        )
        .arg(flag("local_files").action(ArgAction::SetTrue).help("Let the plan read the files that it takes the bodies of objects from"))
        .max_term_width(120);
    common::add(command, common::flags())
}

pub fn run(matches: &ArgMatches, settings: &Settings, error_format: ErrorFormat) -> Result<u8> {
    let mut common = Common::read(matches, &[], settings)?;
    let file = matches.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    let max_age = given(matches, "max_age")?.map(|age| parsed("max_age", &age)).transpose()?;
    let secrets = secrets(matches)?;
    let local_files = matches.get_flag("local_files");
    let planned = Arc::new(Planned::open(&file, PlanRules { max_age })?);
    let action = &planned.header().action;
    let entry =
        registry::find(action).ok_or_else(|| Error::Failed(format!("the plan is of `{action}`, which this program does not have")))?;
    if common.session.region.is_none() {
        common.session.region = planned.header().targets.first().and_then(|target| target.region.clone());
    }
    let of = Arc::clone(&planned);
    let input = Box::new(move || of.input(entry.input_schema().to_value(), secrets, local_files));
    let secret = Manifest::of(entry).params.iter().any(|p| p.kind.has_secret());
    let journal = journals::of_action(entry, &common, secret, Some(planned.digest().to_owned()))?;
    Ok(perform(Job { entry, input, journal, plan: PlanMode::Apply(planned), again: None }, common, error_format))
}

/// The text of a flag.
fn given(matches: &ArgMatches, name: &str) -> Result<Option<String>> {
    matches.get_one::<OsString>(name).map(|value| flags::text(name, value)).transpose()
}

/// What the input holds that no plan does.
fn secrets(matches: &ArgMatches) -> Result<Map<String, Value>> {
    let Some(value) = given(matches, INPUT)? else { return Ok(Map::new()) };
    let json = match Source::parse(&value) {
        Some(source) => source.read_to_string(INPUT)?,
        None => value,
    };
    let input = Input::from_json(&json).map_err(|_| Error::field(INPUT, format!("`{INPUT}` is no JSON object, or has a member twice")))?;
    Ok(input.value)
}
