//! `aaws overview`: what there is to look after in an account and region, in one table.

use std::io::{self, IsTerminal};
#[cfg(feature = "site")]
use std::path::PathBuf;
use std::sync::Arc;

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
use crate::aws::session::SessionOptions;
use crate::catalog::invocation::{command_line, quoted};
use crate::catalog::manifest::Manifest;
use crate::catalog::registry;
use crate::engine::entry::Entry;
use crate::engine::execute::{Connection, FINDINGS};
use crate::engine::overview::{Answer, overview};
use crate::model::error::{Error, InputError, Result};
use crate::model::meta::Example;
use crate::render::{Format, Printer};
#[cfg(feature = "site")]
use crate::site;

pub fn command() -> Command {
    let command = Command::new("overview")
        .about("Show what there is to look after in an account and region: what the actions that look find, side by side")
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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| Error::io("start", e))?;
    let answers = runtime.block_on(look(common, &entries))?;
    let (common, answers) = answers;
    let there = flags_to(&common.session);
    let rows: Vec<Value> = answers.iter().map(|answer| row(answer, &there)).collect();
    #[cfg(feature = "site")]
    if let Some(file) = matches.get_one::<PathBuf>("html") {
        site::overview(file, &rows)?;
    }
    for answer in &answers {
        if let Some(error) = &answer.error {
            terminal::print_error(error, Some(answer.entry.meta.path), error_format);
        }
    }
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let default = if terminal { Format::Table } else { Format::Json };
    Printer::new(Some(common.format.unwrap_or(default)), common.query.as_deref(), stdout, terminal)?.value(Value::Array(rows))?;
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

async fn look(common: Common, entries: &[&'static Entry]) -> Result<(Common, Vec<Answer>)> {
    let progress = ProgressLine::new(false);
    terminal::start_logging(common.verbosity, common.error_format, &progress);
    let host = Arc::new(Terminal::new(progress, common.consent));
    let connection = Connection::with(common.session.clone(), common.run.clone(), host).await?;
    listen(connection.cancellation().clone());
    let answers = overview(&connection, entries).await?;
    match connection.cancellation().error() {
        Some(error) => Err(error),
        None => Ok((common, answers)),
    }
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
