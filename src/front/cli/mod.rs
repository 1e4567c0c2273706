//! The command line: from arguments to an exit code.

mod apply;
mod common;
mod completions;
mod config;
mod demo;
mod docs;
mod doctor;
mod flags;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod help;
mod journals;
mod log;
mod look;
mod man;
mod overview;
mod progress;
mod resume;
mod run;
mod settings;
mod terminal;
mod undo;
mod values;
mod version;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::catalog::manifest::Manifest;
use crate::catalog::registry;
use crate::engine::entry::Entry;
use crate::model::error::{Error, InputError, Result};
use common::ErrorFormat;
use settings::Settings;

/// Runs the program: every action that is linked in, and the commands that look at them.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    ExitCode::from(run(&args))
}

fn run(args: &[OsString]) -> u8 {
    let twice = registry::duplicates();
    if !twice.is_empty() {
        let error = Error::Failed(format!("more than one action is registered as {}", twice.join(", ")));
        return terminal::print_error(&error, None, ErrorFormat::Text);
    }
    let settings = Settings::load();
    let format = error_format(args, settings.as_ref().ok());
    let words = words(args);
    let mut root = help::root(words.0.as_deref(), words.1.as_deref());
    let matches = match root.try_get_matches_from_mut(args) {
        Ok(matches) => matches,
        Err(e) => return usage(&e, args, format),
    };
    let Some((command, matches)) = matches.subcommand() else {
        // Nothing asked: the help, as an answer to a wrong call.
        terminal::say(&root.render_help().to_string());
        return 2;
    };
    let done = match command {
        "list" => settings.and_then(|settings| look::list(matches, &settings)),
        "describe" => settings.and_then(|settings| look::describe(matches, &settings)),
        "permissions" => settings.and_then(|settings| look::permissions(matches, &settings)),
        "config" => settings.and_then(|settings| config::run(matches, &settings)),
        apply::NAME => settings.and_then(|settings| apply::run(matches, &settings, format)),
        "completions" => completions::run(matches),
        "docs" => docs::run(matches),
        "overview" => settings.and_then(|settings| overview::run(matches, &settings, format)),
        doctor::NAME => doctor::run(matches, settings),
        "man" => man::run(matches),
        "demo" => demo::run(matches),
        "log" => settings.and_then(|settings| log::run(matches, &settings)),
        "undo" => settings.and_then(|settings| undo::run(matches, &settings, format)),
        "resume" => settings.and_then(|settings| resume::run(matches, &settings, format)),
        service => return of_service(service, matches, &mut root, settings, format),
    };
    match done {
        Ok(code) => code,
        Err(e) => terminal::print_error(&e, None, format),
    }
}

fn of_service(service: &str, matches: &ArgMatches, root: &mut Command, settings: Result<Settings>, format: ErrorFormat) -> u8 {
    let Some((action, matches)) = matches.subcommand() else {
        let shown = root.find_subcommand_mut(service).map(|c| c.render_help().to_string());
        terminal::say(&shown.unwrap_or_default());
        return 2;
    };
    match registry::find(&format!("{service}/{action}")) {
        Some(entry) => run::action(entry, matches, settings, format),
        None => 2,
    }
}

/// The first two words, in snake_case: which service, which action. Only theirs are the flags that are built.
fn words(args: &[OsString]) -> (Option<String>, Option<String>) {
    let word = |arg: Option<&OsString>| arg.and_then(|a| a.to_str()).map(|a| a.replace('-', "_"));
    let second = word(args.get(1));
    // `aaws help s3 delete_objects`
    let shift = usize::from(second.as_deref() == Some("help"));
    (word(args.get(1 + shift)), word(args.get(2 + shift)))
}

/// Prints what clap has to say: help is a result, anything else an error.
fn usage(error: &clap::Error, args: &[OsString], format: ErrorFormat) -> u8 {
    use clap::error::ErrorKind;
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Colours only where they are seen; a reader that went away is no error.
        let text = error.render();
        let shown = if io::stdout().is_terminal() { text.ansi().to_string() } else { text.to_string() };
        let _ = io::stdout().write_all(shown.as_bytes());
        return 0;
    }
    terminal::print_error(&usage_error(error, takes_secret(args)), None, format)
}

/// Whether the action that is called takes a secret: a word in the wrong place may be it. What a plan needs anew is always one.
fn takes_secret(args: &[OsString]) -> bool {
    let (service, action) = words(args);
    if service.as_deref() == Some(apply::NAME) {
        return true;
    }
    let entry = service.zip(action).and_then(|(service, action)| registry::find(&format!("{service}/{action}")));
    entry.is_some_and(|entry| Manifest::of(entry).params.iter().any(|p| p.kind.has_secret()))
}

/// How errors are to be written, found without parsing: the error may be one of the flags. Where none says it, the settings may, if they can be read.
fn error_format(args: &[OsString], settings: Option<&Settings>) -> ErrorFormat {
    let words: Vec<_> = args.iter().map(|a| a.to_string_lossy().replace("--error-format", "--error_format")).collect();
    let given = |format: &str| {
        let apart = words.windows(2).any(|w| w[0] == "--error_format" && w[1] == format);
        apart || words.iter().any(|w| w.strip_prefix("--error_format=") == Some(format))
    };
    let set = || settings.and_then(|settings| settings.text("error_format")).as_deref() == Some("json");
    if given("json") || (!given("text") && set()) { ErrorFormat::Json } else { ErrorFormat::Text }
}

/// What clap found wrong, in the form of all our errors: one sentence, and what to do. With `secret`, nothing is repeated that may be a value.
fn usage_error(error: &clap::Error, secret: bool) -> Error {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let texts = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(one)) => vec![one.clone()],
        Some(ContextValue::Strings(many)) => many.clone(),
        _ => Vec::new(),
    };
    let one = |kind: ContextKind| texts(kind).first().cloned().unwrap_or_default();
    let (field, message, suggested) = match error.kind() {
        ErrorKind::UnknownArgument => {
            let flag = one(ContextKind::InvalidArg);
            let field = flag.trim_start_matches('-').to_owned();
            if secret && !is_flag(&flag) {
                (None, "a word belongs to no flag; it is not repeated here because it may be a secret".to_owned(), Vec::new())
            } else {
                let message =
                    if flag.starts_with('-') { format!("there is no flag `{flag}`") } else { format!("`{flag}` belongs to no flag") };
                (Some(field), message, texts(ContextKind::SuggestedArg))
            }
        }
        ErrorKind::InvalidSubcommand => {
            let word = one(ContextKind::InvalidSubcommand);
            // Kebab-case is a way to write a name, not another name.
            let names = texts(ContextKind::SuggestedSubcommand).into_iter().map(|n| n.replace('-', "_")).collect();
            (None, format!("there is no `{word}`"), names)
        }
        _ => {
            let mut text = error.render().to_string();
            let value = one(ContextKind::InvalidValue);
            if secret && !value.is_empty() {
                text = text.replace(&format!(" '{value}'"), "");
            }
            let sentence: Vec<_> = text.lines().take_while(|l| !l.is_empty()).map(str::trim).collect();
            let field = one(ContextKind::InvalidArg).split(' ').next().map(|f| f.trim_start_matches('-').to_owned());
            (field, sentence.join(" ").trim_start_matches("error: ").to_owned(), Vec::new())
        }
    };
    let given = message.split('`').nth(1).unwrap_or_default();
    let hint = did_you_mean(given, suggested.iter().map(String::as_str));
    let hint = hint.or_else(|| suggested.first().map(|s| format!("did you mean `{s}`?")));
    let hint = hint.or_else(|| Some("--help shows what there is".into()));
    Error::Input(InputError { field, ..InputError::new(message) }.with_hint(hint))
}

/// Whether a word looks like a flag of ours, misspelt maybe.
fn is_flag(word: &str) -> bool {
    let name = word.strip_prefix("--").unwrap_or_default();
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_lowercase() || "_-".contains(c))
}

/// The name that was probably meant, as a hint.
fn did_you_mean<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let given = given.to_lowercase();
    let scored = names.map(|n| (strsim::jaro_winkler(&given, &n.to_lowercase()), n));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.8).map(|(_, name)| format!("did you mean `{name}`?"))
}

/// The action of a path, or an error that says what there is.
fn find(path: &str) -> Result<&'static Entry> {
    registry::find(path).ok_or_else(|| {
        let (service, _) = path.split_once('/').unwrap_or((path, ""));
        let (names, what): (Vec<&str>, _) = if registry::services().contains(&service) {
            (registry::of_service(service).map(|e| e.meta.path).collect(), format!("there is no action `{path}`"))
        } else {
            (registry::services(), format!("there is no service `{service}`"))
        };
        let meant = if names.contains(&service) { None } else { did_you_mean(path, names.iter().copied()) };
        let hint =
            meant.or_else(|| did_you_mean(service, names.iter().copied())).or_else(|| Some(format!("there are: {}", names.join(", "))));
        Error::Input(InputError::new(what).with_hint(hint))
    })
}

#[cfg(test)]
mod tests;
