//! Runs one action: input, session, output, exit code.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;

use super::common::{Common, ErrorFormat};
use super::flags;
use super::terminal::{self, Terminal};
use crate::aws::session::Session;
use crate::catalog::manifest::Manifest;
use crate::engine::context::{Context, Run, Tally};
use crate::engine::entry::Entry;
use crate::engine::progress::Progress;
use crate::engine::prompt::{NoPrompt, Prompt};
use crate::engine::report::Report;
use crate::model::cancellation::{CancelReason, Cancellation};
use crate::model::error::{Error, ErrorKind, Result};
use crate::model::meta::Effect;
use crate::model::outcome::Status;
use crate::render::Printer;

/// Runs the action with the flags given.
pub fn action(entry: &'static Entry, matches: &ArgMatches, error_format: ErrorFormat) -> u8 {
    let manifest = Manifest::of(entry);
    let own: Vec<&str> = manifest.params.iter().map(|p| p.name.as_str()).collect();
    let common = match Common::read(matches, &own) {
        Ok(common) => common,
        Err(e) => return terminal::print_error(&e, Some(entry.meta.path), error_format),
    };
    let fail = |e: &Error| terminal::print_error(e, Some(entry.meta.path), error_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&Error::io("start", e)),
    };
    let code = runtime.block_on(async {
        let cancellation = Cancellation::default();
        listen(cancellation.clone());
        match run(entry, &manifest, matches, common, &cancellation).await {
            Ok(code) => code,
            Err(e) => fail(&e),
        }
    });
    // A thread may still be reading standard input or waiting for an answer: nobody waits for it.
    runtime.shutdown_timeout(Duration::ZERO);
    code
}

async fn run(entry: &'static Entry, manifest: &Manifest, matches: &ArgMatches, common: Common, cancellation: &Cancellation) -> Result<u8> {
    let stdout = io::stdout();
    let on_terminal = stdout.is_terminal();
    let mut printer = Printer::new(common.format, common.query.as_deref(), stdout, on_terminal)?;

    // A drawing on standard error and rows on standard output would fight for one terminal.
    let drawn = io::stderr().is_terminal() && common.verbosity == super::common::Verbosity::Normal;
    let progress = Progress::new(drawn && (!on_terminal || entry.meta.effect.changes()));
    terminal::start_logging(common.verbosity, common.error_format, &progress);

    // Reading a list may wait for whoever writes it: a signal ends that at once, nothing has been started.
    let read = {
        let (matches, params) = (matches.clone(), manifest.params.clone());
        tokio::task::spawn_blocking(move || entry.parse(flags::Reader::new(&matches).read(&params)?))
    };
    let ready = tokio::select! {
        read = read => read.map_err(|e| Error::Failed(format!("reading the input failed: {e}")))??,
        () = cancellation.cancelled() => return Err(Error::Interrupted),
    };
    if let Some(limit) = common.timeout {
        let cancellation = cancellation.clone();
        tokio::spawn(async move {
            tokio::time::sleep(limit.duration()).await;
            cancellation.cancel(CancelReason::TimedOut);
        });
    }

    let report = match &common.report {
        Some(path) => Some(
            Report::open(path).map_err(|e| Error::field("report", format!("`report`: cannot write the file `{}`: {e}", path.display())))?,
        ),
        None => None,
    };
    let mut person = Terminal { progress: progress.clone(), region: String::new(), agreed: common.yes };
    let session = if entry.meta.effect == Effect::Local {
        Session::local()
    } else {
        let opening = async {
            let session = Session::open(&common.session, entry.meta.service(), &person).await?;
            Ok(if report.is_some() && common.session.sandbox.is_none() { session.with_account().await } else { session })
        };
        tokio::select! {
            session = opening => session?,
            () = cancellation.cancelled() => return Err(cancellation.error().unwrap_or(Error::Interrupted)),
        }
    };
    person.region = session.region().to_owned();
    let attended = terminal::is_attended(flags::reads_stdin(matches, &manifest.params));
    let mfa = Box::new(person.clone());
    let ask: Box<dyn Prompt> = if attended { Box::new(person) } else { Box::new(NoPrompt) };
    let run = Arc::new(Run {
        dry_run: common.dry_run,
        concurrency: common.concurrency,
        ask,
        mfa,
        report,
        progress: progress.clone(),
        cancellation: cancellation.clone(),
        tally: Tally::default(),
    });
    let cx = Context::new(entry.meta, session, Arc::clone(&run));

    let changes = entry.meta.effect.changes();
    let reply = if changes {
        ready.run(cx.clone()).await
    } else {
        // Looking may end at any moment.
        tokio::select! {
            reply = ready.run(cx.clone()) => reply,
            () = cancellation.cancelled() => Err(cancellation.error().unwrap_or(Error::Interrupted)),
        }
    };
    let printed = match reply {
        Ok(reply) => printer.print(reply, changes, cancellation, &progress).await,
        Err(e) => Err(e),
    };
    progress.finish();
    summarize(&cx, &run.tally);
    // A run that was declined, or was refused before it began, leaves an earlier report as it is.
    let began = !matches!(&printed, Err(e) if e.kind() == ErrorKind::Refused || e.kind() == ErrorKind::Input);
    if let Some(report) = run.report.as_ref().filter(|_| began) {
        report.finish().map_err(|e| Error::io("write the report", e))?;
    }
    printed?;
    if let Some(e) = cancellation.error() {
        return Err(e);
    }
    Ok(if run.tally.count(Status::Failed) > 0 { 3 } else { 0 })
}

/// What came of it, in one line of the log.
fn summarize(cx: &Context, tally: &Tally) {
    for (call, times) in cx.guard().sent() {
        tracing::debug!("made {call} {times} times");
    }
    let all = [Status::Done, Status::Planned, Status::Unchanged, Status::Skipped, Status::Failed];
    let counts: Vec<_> = all.into_iter().map(|s| (s, tally.count(s))).filter(|(_, n)| *n > 0).collect();
    if !counts.is_empty() {
        let words: Vec<_> = counts.iter().map(|(s, n)| format!("{n} {}", s.word())).collect();
        tracing::info!("{}", words.join(", "));
    }
}

/// The first signal asks to cancellation, the second ends the process.
fn listen(cancellation: Cancellation) {
    tokio::spawn(async move {
        if signalled().await.is_ok() {
            cancellation.cancel(CancelReason::Interrupted);
            tracing::warn!("interrupted: finishing requests in progress; press Ctrl-C again to exit now");
        }
        if signalled().await.is_ok() {
            std::process::exit(130);
        }
    });
}

#[cfg(unix)]
async fn signalled() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn signalled() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
