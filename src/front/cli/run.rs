//! Runs one action, or what is done about an earlier run of one: a request from the flags, rows to standard output, an exit code.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use serde_json::Value;

use super::common::{Common, ErrorFormat, Verbosity};
use super::progress::ProgressLine;
use super::settings::Settings;
use super::terminal::{self, Terminal};
use super::{flags, journals};
use crate::catalog::manifest::Manifest;
use crate::catalog::schema::ParamKind;
use crate::engine::entry::Entry;
use crate::engine::execute::{PendingInput, Request, Summary, execute};
use crate::engine::journal::Journal;
use crate::engine::plan::PlanMode;
use crate::engine::undoing::Again;
use crate::input::Input;
use crate::model::cancellation::{CancelReason, Cancellation};
use crate::model::error::{Error, Result};
use crate::model::meta::Effect;
use crate::render::{Column, Format, Layout, Printer, Shape};

/// What is run: an action, or what is done about an earlier run of it.
pub struct Job {
    pub entry: &'static Entry,
    pub input: PendingInput,
    pub journal: Option<Arc<dyn Journal>>,
    pub plan: PlanMode,
    pub again: Option<Again>,
}

/// Runs the action with the flags given, and the settings for the others.
pub fn action(entry: &'static Entry, matches: &ArgMatches, settings: Result<Settings>, error_format: ErrorFormat) -> u8 {
    let manifest = Manifest::of(entry);
    let own: Vec<&str> = manifest.params.iter().map(|p| p.name.as_str()).collect();
    let fail = |e: &Error| terminal::print_error(e, Some(entry.meta.path), error_format);
    let common = match settings.and_then(|settings| Common::read(matches, &own, &settings)) {
        Ok(common) => common,
        Err(e) => return terminal::print_error(&e, Some(entry.meta.path), error_format),
    };
    let plan = common.plan.clone().map_or(PlanMode::None, PlanMode::Write);
    let secret = manifest.params.iter().any(|p| p.kind.has_secret());
    let journal = match journals::of_action(entry, &common, secret, None) {
        Ok(journal) => journal,
        Err(e) => return fail(&e),
    };
    let matches = matches.clone();
    // Who looks at a table, or speaks of columns, wants to see more than names. What a query is of does not depend on who looks.
    let columns = common.wanted.needs_details().then_some(if common.wanted.columns.is_empty() { "sort_by" } else { "columns" });
    let looks = common.format == Some(Format::Table) && common.query.is_none() && io::stdout().is_terminal();
    let details = (columns.is_some() || looks) && entry.is_listing();
    let input: PendingInput = Box::new(move || {
        let mut input = flags::Reader::new(&matches).read(&manifest.params)?;
        let are_there = !details || with_details(&manifest, &mut input);
        match columns.filter(|_| !are_there) {
            Some(flag) => Err(Error::field(flag, format!("`{flag}` needs rows with `{DETAILS}`, which do not go with this input"))),
            None => Ok(input),
        }
    });
    perform(Job { entry, input, journal, plan, again: None }, common, error_format)
}

/// The input that rows with details are asked for by.
const DETAILS: &str = "details";

/// Asks for details where nothing is said of them, and nothing is that does not go with them. Whether rows have them then, as they always have where
/// there is nothing to ask.
fn with_details(manifest: &Manifest, input: &mut Input) -> bool {
    let is_there = manifest.params.iter().any(|param| param.name == DETAILS && param.kind == ParamKind::Bool);
    let mut asked = input.value.clone();
    if is_there && !asked.contains_key(DETAILS) {
        asked.insert(DETAILS.to_owned(), Value::Bool(true));
        if manifest.rules.iter().filter(|rule| rule.inputs().contains(&DETAILS)).all(|rule| rule.check(&asked).is_ok()) {
            input.value = asked;
        }
    }
    !is_there || input.value.get(DETAILS) == Some(&Value::Bool(true))
}

/// Runs it to its end, and gives the exit code.
pub fn perform(job: Job, common: Common, error_format: ErrorFormat) -> u8 {
    let path = job.entry.meta.path;
    let fail = |e: &Error| terminal::print_error(e, Some(path), error_format);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if job.entry.meta.effect == Effect::Local {
        // There is little to do side by side: one thread beside this one, which hears signals. To start more, and to ask how many would be good, takes
        // longer than most such actions do.
        runtime.worker_threads(1);
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&Error::io("start", e)),
    };
    let code = match runtime.block_on(run(job, common)) {
        Ok(summary) => {
            if let Some(e) = &summary.error {
                fail(e);
            }
            summary.exit_code()
        }
        Err(e) => fail(&e),
    };
    // A thread may still be reading standard input or waiting for an answer: nobody waits for it.
    runtime.shutdown_timeout(Duration::ZERO);
    code
}

async fn run(job: Job, common: Common) -> Result<Summary> {
    let Job { entry, input, journal, plan, again } = job;
    let stdout = io::stdout();
    let on_terminal = stdout.is_terminal();
    let is_listing = entry.is_listing();
    let columns = entry.row_schema().filter(|_| is_listing).map(|rows| Column::all(&rows)).unwrap_or_default();
    let shape = Shape::of(&common.wanted, &columns)?;
    let layout = (on_terminal && is_listing).then(|| Layout { columns, chosen: shape.has_columns(), queried: common.query.is_some() });
    let mut printer = Printer::laid_out(common.format, common.query.as_deref(), stdout, on_terminal, layout)?;

    let cancellation = Cancellation::default();
    listen(cancellation.clone());
    // A drawing on standard error and rows on standard output would fight for one terminal.
    let drawn = io::stderr().is_terminal() && common.verbosity == Verbosity::Normal && (!on_terminal || entry.meta.effect.changes());
    let progress = ProgressLine::new(drawn);
    terminal::start_logging(common.verbosity, common.error_format, &progress);

    let request =
        Request { entry, input, options: common.run, target: common.session, journal, plan, again, cancellation: cancellation.clone() };
    let mut execution = execute(request, Arc::new(Terminal::new(progress.clone(), common.consent))).await;
    let (rows, changes) = (execution.rows(), execution.changes());
    let printed = printer.print(shape.apply(rows), changes, &cancellation, &|write| progress.aside(write)).await;
    progress.finish();
    let summary = execution.finish(printed.err());
    for (call, times) in &summary.calls {
        tracing::debug!("made {call} {times} times");
    }
    if summary.throttled > 0 {
        tracing::debug!("throttled {} times, which was waited for", summary.throttled);
    }
    let words = summary.words();
    if !words.is_empty() {
        tracing::info!("{words}");
    }
    Ok(summary)
}

/// The first signal cancels the run, the second ends the process.
pub(super) fn listen(cancellation: Cancellation) {
    // Before anything is begun: a task may come to run late. Where nobody can listen, a signal ends the process at once.
    let Ok(mut signals) = Signals::new() else { return };
    tokio::spawn(async move {
        signals.next().await;
        // Said first: the run may be at its end at once.
        tracing::warn!("interrupted: finishing requests in progress; press Ctrl-C again to exit now");
        cancellation.cancel(CancelReason::Interrupted);
        signals.next().await;
        std::process::exit(130);
    });
}

/// The signals that ask the process to end. One that comes right behind another is not lost.
#[cfg(unix)]
pub(super) struct Signals([tokio::signal::unix::Signal; 3]);

#[cfg(unix)]
impl Signals {
    /// Listens from here on.
    pub(super) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        // The last is that the terminal went away: the report is brought to its end, too.
        Ok(Signals([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// The key that asks the process to end.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Listens when it is waited for.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Signals)
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        // Where nobody can listen, nothing comes.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
