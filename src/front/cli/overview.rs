//! `aaws overview`: what there is to look after in an account and region, in one table.

use std::io::{self, IsTerminal, Write};
#[cfg(feature = "site")]
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "site")]
use clap::value_parser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use super::common::{self, Common, ErrorFormat};
use super::progress::ProgressLine;
use super::run::listen;
use super::settings::Settings;
use super::terminal::{self, Terminal};
use super::{did_you_mean, flags};
use crate::aws::options::SessionOptions;
use crate::catalog::invocation::{command_line, quoted};
use crate::catalog::manifest::Manifest;
use crate::catalog::registry;
use crate::engine::entry::Entry;
use crate::engine::execute::{Connection, FINDINGS};
use crate::engine::overview::{Answer, overview};
use crate::model::error::{Error, InputError, Result};
use crate::model::meta::Example;
use crate::render::{Format, Layout, Printer, printable};
#[cfg(feature = "site")]
use crate::site;

pub fn command(command: Command) -> Command {
    let command = command
        .long_about(
            "Show what there is to look after in an account and region: users without MFA, old keys, volumes attached to nothing, whatever the actions \
             that look know to ask. Each line has how many there are, since when, the command that shows them, and the one that would mend them.\n\n\
             Nothing is changed. A check that cannot be made is named with the reason, and the exit code is then 3.",
        )
        .arg(Arg::new("service").action(ArgAction::Append).num_args(0..).help("Only what these services have"))
        .arg(
            flags::with_kebab(Arg::new("fail_on_findings").long("fail_on_findings"), "fail_on_findings")
                .action(ArgAction::SetTrue)
                .help("Exit with 6 when anything is found"),
        )
        .max_term_width(120);
    #[cfg(feature = "site")]
    let command = command.arg(
        Arg::new("html")
            .long("html")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Also write it as a page that needs no network"),
    );
    common::add(command, common::looking_flags())
}

pub fn run(matches: &ArgMatches, settings: &Settings, error_format: ErrorFormat) -> Result<u8> {
    let common = Common::read(matches, &["fail_on_findings"], settings)?;
    let entries = entries(matches)?;
    #[cfg(feature = "site")]
    let page = matches.get_one::<PathBuf>("html").map(|file| writable(file)).transpose()?;
    let is_terminal = io::stdout().is_terminal();
    let format = common.format.unwrap_or(if is_terminal { Format::Table } else { Format::Json });
    // Who sits at a terminal reads the table, and copies the commands: a cell would break them in two.
    let is_for_people = is_terminal && format == Format::Table && common.query.is_none();
    let layout = is_for_people.then(|| Layout { chosen: true, ..Layout::default() });
    // A query that is wrong is told before anything is sent.
    let mut printer = Printer::laid_out(Some(format), common.query.as_deref(), io::stdout(), is_terminal, layout)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| Error::io("start", e))?;
    let looked = runtime.block_on(look(&common, &entries));
    // A thread may still be waiting for an answer: nobody waits for it.
    runtime.shutdown_timeout(Duration::ZERO);
    let (answers, ended) = looked?;
    let there = flags_to(&common.session);
    let rows: Vec<Value> = answers.iter().map(|answer| row(answer, &there)).collect();
    // What the run ended with is told once, at its end.
    let is_own = |error: &&Error| ended.as_ref().is_none_or(|ended| ended.to_string() != error.to_string());
    for answer in &answers {
        if let Some(error) = answer.error.as_ref().filter(is_own) {
            terminal::print_error(error, Some(answer.entry.meta.path), error_format);
        }
    }
    if is_for_people {
        printer.value(Value::Array(rows.iter().map(line).collect()))?;
        print_commands(&rows)?;
    } else {
        printer.value(Value::Array(rows.clone()))?;
    }
    #[cfg(feature = "site")]
    if let Some(page) = page {
        site::overview(page, &rows)?;
    }
    if let Some(error) = ended {
        return Err(error);
    }
    let found = answers.iter().any(|answer| answer.count > 0);
    Ok(match answers.iter().all(Answer::is_whole) {
        false => 3,
        true if found && matches.get_flag("fail_on_findings") => FINDINGS,
        true => 0,
    })
}

/// The actions that have something to ask, of the services that are wanted.
fn entries(matches: &ArgMatches) -> Result<Vec<&'static Entry>> {
    let services: Vec<String> = matches.get_many::<String>("service").into_iter().flatten().map(|s| s.replace('-', "_")).collect();
    let all: Vec<&'static Entry> = registry::actions().iter().copied().filter(|entry| !entry.overview.is_empty()).collect();
    let has = |service: &str| all.iter().any(|entry| entry.meta.service() == service);
    if let Some(unknown) = services.iter().find(|service| !has(service)) {
        let mut there: Vec<&str> = all.iter().map(|entry| entry.meta.service()).collect();
        there.dedup();
        let hint = did_you_mean(unknown, there.iter().copied()).unwrap_or_else(|| format!("there are: {}", there.join(", ")));
        let message = format!("there is nothing to ask of a service `{unknown}`");
        return Err(Error::Input(InputError::field("service", message).with_hint(Some(hint))));
    }
    Ok(all.into_iter().filter(|entry| services.is_empty() || services.iter().any(|s| s == entry.meta.service())).collect())
}

/// A file that a page can be written to, as far as that can be told before there is one.
#[cfg(feature = "site")]
fn writable(file: &Path) -> Result<&Path> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wrong = |what: &str| Err(Error::field("html", format!("`html`: cannot write the page `{}`: {what}", file.display())));
    match (file.is_dir(), folder.is_dir()) {
        (true, _) => wrong("it is a folder"),
        (_, false) => wrong("its folder is not there"),
        _ => Ok(file),
    }
}

/// What came of the checks, and what the run ended with before its time.
async fn look(common: &Common, entries: &[&'static Entry]) -> Result<(Vec<Answer>, Option<Error>)> {
    let progress = ProgressLine::new(false);
    terminal::start_logging(common.verbosity, common.error_format, &progress);
    let host = Arc::new(Terminal::new(progress, common.consent));
    let connection = Connection::with(common.session.clone(), common.run.clone(), host).await?;
    listen(connection.cancellation().clone());
    let answers = overview(&connection, entries).await?;
    Ok((answers, connection.cancellation().error()))
}

/// The flags that lead to where was looked: what is typed later must not look, or mend, in another account or region.
fn flags_to(session: &SessionOptions) -> String {
    let given = [
        ("region", session.region.as_ref().map(ToString::to_string)),
        ("profile", session.profile.clone()),
        ("mfa_serial", session.mfa_serial.clone()),
        ("external_id", session.external_id.clone()),
        ("session_name", session.session_name.as_ref().map(ToString::to_string)),
        ("endpoint_url", session.endpoint_url.clone()),
        ("account", session.account.as_ref().map(ToString::to_string)),
    ];
    let roles = session.role_arns.iter().map(|role| ("role_arn", Some(role.to_string())));
    given.into_iter().chain(roles).filter_map(|(name, value)| Some(format!(" --{name} {}", quoted(value?)))).collect()
}

/// A line of the table for people: no number where it is not known, and what has no value in any line is no column.
fn line(row: &Value) -> Value {
    let is_known = row["problem"].is_null() || row["count"] != json!(0);
    let cells = ["check", "count", "since", "problem"].map(|name| (name, row[name].clone()));
    let cells = cells.into_iter().filter(|(name, cell)| !cell.is_null() && (*name != "count" || is_known));
    Value::Object(cells.map(|(name, cell)| (name.to_owned(), cell)).collect())
}

/// The commands below the table, each on a line of its own.
fn print_commands(rows: &[Value]) -> Result<()> {
    let mut text = String::new();
    for row in rows {
        for (title, member) in [(row["check"].as_str(), "show"), (None, "mend")] {
            let Some(command) = row[member].as_str() else { continue };
            let title = title.map(|title| format!("\n{title}\n")).unwrap_or_default();
            text.push_str(&format!("{title}  {}\n", printable(command)));
        }
    }
    match io::stdout().write_all(text.as_bytes()) {
        // A terminal that went away reads nothing more.
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("write to standard output", e)),
        _ => Ok(()),
    }
}

/// What is shown of a check: commands only where there is something to show.
fn row(answer: &Answer, there: &str) -> Value {
    let example = Example { title: answer.check.title, input: answer.check.input, output: "", given: &[] };
    let show = (answer.count > 0).then(|| format!("{}{there}", command_line(&Manifest::of(answer.entry), &example)));
    let mend = show.as_ref().zip(answer.check.mend).map(|(show, mend)| format!("{show} | aaws {mend}{there}"));
    let problem = match (&answer.error, answer.failed) {
        (Some(error), _) => Some(error.to_string()),
        (None, 0) => None,
        (None, failed) => Some(format!("{failed} could not be looked at")),
    };
    json!({
        "check": answer.check.title, "count": answer.count, "since": answer.since.map(|since| since.to_string()), "show": show, "mend": mend,
        "problem": problem,
    })
}
