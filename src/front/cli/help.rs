//! The tree of commands, with flags only where they are asked for.

use clap::{Arg, ArgAction, Command};

use super::{apply, common, completions, config, demo, docs, doctor, flags, log, look, man, overview, resume, undo, version};
use crate::aws::sandbox;
use crate::catalog::invocation::command_line;
use crate::catalog::manifest::Manifest;
use crate::catalog::registry;
use crate::engine::entry::Entry;
use crate::model::meta::Effect;

/// The whole tree: services by name, the actions of the service asked for, the flags of the action asked for.
pub fn root(service: Option<&str>, action: Option<&str>) -> Command {
    let mut root = Command::new("aaws")
        .version(version::SHORT)
        .long_version(version::LONG)
        .about("AWS day-2 operations as typed actions")
        .override_usage("aaws <SERVICE> <ACTION> [FLAGS]\n       aaws <COMMAND>")
        .subcommand_value_name("SERVICE|COMMAND")
        .subcommand_help_heading("Services and commands")
        .disable_help_subcommand(false)
        .after_help(first_steps())
        .max_term_width(120);
    for name in registry::services() {
        root = root.subcommand(of_service(name, service == Some(name), |a| action == Some(a)));
    }
    with_commands(root)
}

/// What to try first, at the end of the first screen: it is what stays in sight.
fn first_steps() -> String {
    let service = registry::services().into_iter().find(|name| *name == "s3").or_else(|| registry::services().first().copied());
    let list = service.map_or_else(|| "aaws list".to_owned(), |service| format!("aaws list {service}"));
    let look = ("aaws doctor", "what is there to work on an account: credentials, region, network");
    let steps = match sandbox::services().is_empty() {
        false => [("aaws demo", "a tour in a sandbox: no account, no network"), (list.as_str(), "what there is"), look],
        true => [(list.as_str(), "what there is"), ("aaws describe SERVICE ACTION", "one action, as JSON"), look],
    };
    let lines: String = steps.iter().map(|(command, what)| format!("\n  {command:28}  {what}")).collect();
    format!("Three things to try:{lines}")
}

/// The tree with every flag of every action: for completions.
pub fn whole() -> Command {
    let mut root = root(None, None);
    for name in registry::services() {
        root = root.mut_subcommand(name, |_| of_service(name, true, |_| true));
    }
    root
}

/// The commands that are no services.
pub fn with_commands(root: Command) -> Command {
    root.subcommand(look::list_command())
        .subcommand(look::describe_command())
        .subcommand(look::permissions_command())
        .subcommand(overview::command())
        .subcommand(config::command())
        .subcommand(apply::command())
        .subcommand(docs::command())
        .subcommand(doctor::command())
        .subcommand(completions::command())
        .subcommand(man::command())
        .subcommand(demo::command())
        .subcommand(log::command())
        .subcommand(undo::command())
        .subcommand(resume::command())
}

fn of_service(service: &'static str, asked: bool, with_flags: impl Fn(&str) -> bool) -> Command {
    let count = registry::of_service(service).count();
    let mut command = Command::new(service)
        .about(format!("{count} action{}; `aaws {service} --help` lists them", if count == 1 { "" } else { "s" }))
        .subcommand_value_name("ACTION")
        .subcommand_help_heading("Actions")
        .disable_help_subcommand(true)
        .max_term_width(120);
    if asked {
        for entry in registry::of_service(service) {
            let name = entry.meta.name();
            command = command.subcommand(if with_flags(name) { action(entry) } else { stub(entry) });
        }
    }
    command
}

/// An action that is only listed. Its summary is in its schema, which is worth building for the actions of one service.
pub fn stub(entry: &Entry) -> Command {
    let (summary, _) = crate::catalog::schema::description(&entry.input_schema().to_value());
    named(entry).about(summary)
}

fn named(entry: &Entry) -> Command {
    let name = entry.meta.name();
    let command = Command::new(name).max_term_width(120);
    if name.contains('_') { command.alias(name.replace('_', "-")) } else { command }
}

/// An action with all its flags and what its page says.
pub fn action(entry: &Entry) -> Command {
    let manifest = Manifest::of(entry);
    let mut command = named(entry)
        .about(manifest.summary.clone())
        .long_about(format!("{}\n\n{}", manifest.summary, manifest.description).trim_end().to_owned())
        .after_help(after(&manifest))
        .args(flags::of_params(&manifest.params))
        .arg(flags::input_flag());
    let common = if manifest.effect == Effect::Local { common::local_flags() } else { common::flags() };
    command = common::add(command, common);
    if manifest.effect.changes() {
        command = common::add(command, common::plan_flags());
    }
    if entry.is_listing() { common::add(command, common::listing_flags()) } else { command }
}

/// What an action's page says besides, but for the exit codes, which are the same for many: a title, and its lines.
pub fn sections(manifest: &Manifest) -> [(&'static str, Vec<String>); 3] {
    let examples = manifest.examples.iter().map(|e| format!("{}:\n    {}", e.title, command_line(manifest, e)));
    [
        ("Rules", manifest.rules.iter().map(ToString::to_string).collect()),
        ("Examples", examples.collect()),
        ("Notes", manifest.notes.iter().map(|n| format!("- {n}")).collect()),
    ]
}

fn after(manifest: &Manifest) -> String {
    let exit_codes = manifest.exit_codes.iter().map(|e| format!("{:3}  {}", e.code, e.meaning)).collect();
    let mut text = String::new();
    for (title, lines) in sections(manifest).into_iter().chain([("Exit codes", exit_codes)]).filter(|(_, lines)| !lines.is_empty()) {
        text.push_str(&format!("{title}:\n"));
        lines.iter().for_each(|l| text.push_str(&format!("  {l}\n")));
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// A positional argument of the commands that look at actions.
pub fn words(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).action(ArgAction::Append).num_args(1..).help(help)
}
