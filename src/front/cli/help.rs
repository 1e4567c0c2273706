//! The tree of commands, with flags only where they are asked for.

use clap::{Arg, ArgAction, Command};

use super::{apply, common, completions, config, docs, doctor, flags, log, look, man, overview, resume, undo, version};
use crate::aws::sandbox;
use crate::catalog::invocation::command_line;
use crate::catalog::manifest::Manifest;
use crate::catalog::registry;
use crate::catalog::schema::Summaries;
use crate::engine::entry::Entry;
use crate::model::meta::Effect;

/// Adds to a command what it has beside its name and what it is for.
type Rest = fn(Command) -> Command;

/// The commands that are no services, in the order of the first screen: name, what it is for, and what else it has.
const COMMANDS: [(&str, &str, Rest); 14] = [
    ("list", "List the actions that there are", look::list_command),
    ("describe", "Describe an action as JSON: metadata and schemas", look::describe_command),
    ("permissions", "Print the IAM policy that actions need", look::permissions_command),
    (
        "overview",
        "Show what there is to look after in an account and region: what the actions that look find, side by side",
        overview::command,
    ),
    ("config", "Show the settings, and where each is from", config::command),
    (apply::NAME, "Do what a plan says, to the items that are still as it saw them", apply::command),
    ("docs", "Write the documentation of every action as Markdown or as a site, or check that it is current", docs::command),
    (doctor::NAME, "Check what a run needs: region, credentials, network, clock, settings", doctor::command),
    ("completions", "Print a shell's completion script", completions::command),
    ("man", "Print the manual page, or write one of the program and one of each service", man::command),
    ("demo", "Play a tour in a sandbox: no account, no network", |command| command),
    ("log", "List the runs that there are journals of, the newest first, or what one of them did", log::command),
    ("undo", "Undo what a run did, from its last step to its first", undo::command),
    ("resume", "Finish a run that was killed or interrupted", resume::command),
];

/// The tree: services by name, the actions of the service asked for, the flags of the action asked for, commands whose flags are made when they are asked
/// for. All of it takes longer to make than what most commands do.
pub fn root(service: Option<&str>, action: Option<&str>) -> Command {
    let root = with_services(service, action);
    COMMANDS.iter().fold(root, |root, (name, about, rest)| root.subcommand(Command::new(*name).about(*about).defer(*rest)))
}

/// The program, and its services.
fn with_services(service: Option<&str>, action: Option<&str>) -> Command {
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
    root
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
    let mut root = with_commands(with_services(None, None));
    for name in registry::services() {
        root = root.mut_subcommand(name, |_| of_service(name, true, |_| true));
    }
    root
}

/// The commands that are no services, with all their flags.
pub fn with_commands(root: Command) -> Command {
    COMMANDS.iter().fold(root, |root, (name, about, rest)| root.subcommand(rest(Command::new(*name).about(*about))))
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
        // Beside an action that is called by its name nobody reads what the others do.
        let is_one_called = registry::of_service(service).any(|entry| with_flags(entry.meta.name()));
        let mut summaries = Summaries::default();
        for entry in registry::of_service(service) {
            command = command.subcommand(match with_flags(entry.meta.name()) {
                true => action(entry),
                false if is_one_called => named(entry),
                false => stub(entry, &mut summaries),
            });
        }
    }
    command
}

/// An action that is only listed.
pub fn stub(entry: &Entry, summaries: &mut Summaries) -> Command {
    named(entry).about(summaries.of(entry))
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
