//! `aaws resume`: finishes a run that was killed or interrupted, as its journal has it.

use std::sync::Arc;

use clap::{Arg, ArgMatches, Command};
use jiff::Timestamp;

use super::common::{self, Common, ErrorFormat};
use super::run::{self, Job};
use super::settings::Settings;
use super::{flags, journals};
use crate::catalog::manifest::Manifest;
use crate::engine::entry::Entry;
use crate::engine::execute::PendingInput;
use crate::engine::journal::{Journal, Past, Remainder, Writer};
use crate::engine::plan::PlanMode;
use crate::engine::undoing::Again;
use crate::input::holds_secret;
use crate::model::error::{Error, Result};

pub fn command(command: Command) -> Command {
    let run = Arg::new("run").value_name("RUN").required(true).help("The run: its id, or the file of its journal");
    command
        .long_about(
            "Finish a run that was killed or interrupted, with the input that it was begun with.\n\n\
             What is done is not done again; an item that was left half way is undone first and done again, or goes on. A run that came to its end has nothing \
             left to do. It runs in the region that the run was in, and refuses credentials of another account, and another endpoint or sandbox (exit code 4). Secrets are in no journal: give \
             them with --input, or where they are asked for.",
        )
        .max_term_width(120)
        .arg(run)
        .arg(flags::input_flag())
        .args(common::flags())
}

pub fn run(matches: &ArgMatches, settings: &Settings, error_format: ErrorFormat) -> Result<u8> {
    let mut common = Common::read(matches, &[], settings)?;
    let (past, entry) = journals::find(matches.get_one::<String>("run").map(String::as_str))?;
    if past.is_complete() {
        super::terminal::say(&format!("the run {} came to its end: nothing is left to be done\n", past.header.id));
        return Ok(0);
    }
    past.check_resumable()?;
    // What the run was kept from doing it is kept from still.
    common.run.guards = common.run.guards.and(&past.header.guards);
    common.session.account = common.session.account.or_else(|| past.header.account.clone());
    common.session.region = common.session.region.or_else(|| past.target.as_ref().and_then(|target| target.region.clone()));
    let secret = Manifest::of(entry).params.iter().any(|p| p.kind.has_secret());
    let input = input(matches, entry, &past)?;
    let journal: Arc<dyn Journal> = if common.run.dry_run {
        Arc::new(Remainder::of(&past))
    } else {
        let writer = Writer::reopen(&past)?;
        writer.resumed(Timestamp::now(), journals::command(secret))?;
        Arc::new(writer)
    };
    let again = Some(Again::Resume(past));
    Ok(run::perform(Job { entry, input, journal: Some(journal), plan: PlanMode::None, again }, common, error_format))
}

/// The input of the run, and the secrets of it, which are given anew.
fn input(matches: &ArgMatches, entry: &Entry, past: &Past) -> Result<PendingInput> {
    let mut input = past.input()?;
    // No parameters: only `--input` is read.
    let given = flags::Reader::new(matches).read(&[])?;
    let schema = entry.input_schema().to_value();
    for (name, value) in given.value {
        if !holds_secret(&schema, &name) {
            return Err(Error::field(name.clone(), format!("`{name}` is in the journal: only secrets are given anew")));
        }
        input.spools.remove(&name);
        input.value.insert(name, value);
    }
    Ok(Box::new(move || Ok(input)))
}
