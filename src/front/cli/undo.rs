//! `aaws undo`: undoes what an earlier run did, as its journal has it.

use std::sync::Arc;

use clap::{Arg, ArgMatches, Command};

use super::common::{self, Common, ErrorFormat};
use super::journals;
use super::run::{self, Job};
use super::settings::Settings;
use crate::engine::journal::Writer;
use crate::engine::plan::PlanMode;
use crate::engine::undoing::Again;
use crate::input::Input;
use crate::model::error::Result;

pub fn command(command: Command) -> Command {
    let run = Arg::new("run")
        .value_name("RUN")
        .help("The run: its id, or the file of its journal; else the newest that is no undo, and not undone yet");
    command
        .long_about(
            "Undo what a run did, from its last step to its first.\n\n\
             Each item is looked at first: what somebody changed since is left alone (`skipped`, code `Changed`), and what has no way back is named beforehand. \
             It runs in the region that the run was in, and refuses credentials of another account, and another endpoint or sandbox (exit code 4). What becomes of each item is printed; exit \
             code 3 says that not all is as it was before the run, 4 that nothing of it can be undone. An undo is a run itself, and has a journal.",
        )
        .max_term_width(120)
        .arg(run)
        .args(common::flags())
}

pub fn run(matches: &ArgMatches, settings: &Settings, error_format: ErrorFormat) -> Result<u8> {
    let mut common = Common::read(matches, &[], settings)?;
    let (past, entry) = journals::find(matches.get_one::<String>("run").map(String::as_str))?;
    common.session.region = common.session.region.or_else(|| past.target.as_ref().and_then(|target| target.region.clone()));
    let original = if common.run.dry_run { None } else { Some(Arc::new(Writer::reopen(&past)?)) };
    let (journal, by) = journals::of_undo(entry, &common, &past)?;
    let again = Some(Again::Undo { past, original, by });
    // Its input is what the journal says.
    let input = Box::new(|| Ok(Input::default()));
    Ok(run::perform(Job { entry, input, journal, plan: PlanMode::None, again }, common, error_format))
}
