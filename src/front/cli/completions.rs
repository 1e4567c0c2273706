//! `aaws completions`: a script for a shell. clap writes it; kebab-case, which clap knows as aliases that nobody sees, is put into it here.

use std::io::{self, Write};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;

use super::help;
use crate::catalog::registry;
use crate::model::error::{Error, Result};

pub fn command() -> Command {
    let shell = Arg::new("shell").required(true).value_parser(clap::value_parser!(Shell)).help("The shell that reads it");
    Command::new("completions").about("Print a shell's completion script").arg(shell)
}

pub fn run(matches: &ArgMatches) -> Result<u8> {
    let Some(shell) = matches.get_one::<Shell>("shell") else {
        return Err(Error::input("name a shell"));
    };
    // A reader that went away is no error.
    let _ = io::stdout().write_all(script(*shell).as_bytes());
    Ok(0)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tree(), "aaws", &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        Shell::Bash => bash(&script),
        Shell::Zsh => script.replace("case $line[1] in", "case ${line[1]//-/_} in"),
        Shell::Fish => fish(&script),
        _ => script.into_owned(),
    }
}

/// The tree of commands as it is completed: what a command takes as words of its own is a tree here, too.
fn tree() -> Command {
    let services = PossibleValuesParser::new(registry::services());
    let root = help::whole().mut_subcommand("list", |list| list.mut_arg("service", |service| service.value_parser(services)));
    ["describe", "permissions"].into_iter().fold(root, |root, name| root.mut_subcommand(name, |command| of_words(name, &command)))
}

/// A command that takes a service and an action, `permissions` further actions of the service.
fn of_words(name: &'static str, command: &Command) -> Command {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let flags = command.get_arguments().filter(|arg| !arg.is_positional()).cloned();
    let mut tree = Command::new(name).about(about).args(flags).disable_help_subcommand(true);
    for service in registry::services() {
        let mut of_service = Command::new(service).about(format!("An action of {service}")).disable_help_subcommand(true);
        for entry in registry::of_service(service) {
            let mut action = help::stub(entry);
            if name == "permissions" {
                let others = registry::of_service(service).map(|other| other.meta.name());
                action = action.arg(Arg::new("more").num_args(0..).value_parser(PossibleValuesParser::new(others)).help("Another action"));
            }
            of_service = of_service.subcommand(action);
        }
        tree = tree.subcommand(of_service);
    }
    tree
}

/// Bash compares words as they are typed, and completes the last one; services and actions are all before the sixth.
fn bash(script: &str) -> String {
    let known = script.replacen("case \"${cmd},${i}\" in", "case \"${cmd},${i//-/_}\" in", 1).replacen("\",$1\")", "\",${1//-/_}\")", 1);
    let last = "    prev=\"$3\"\n    if [[ \"${COMP_CWORD}\" -lt 6 && \"${cur}\" != -* && \"${prev}\" != -* ]]; then\n        cur=\"${cur//-/_}\"\n    fi\n";
    known.replacen("    prev=\"$3\"\n", last, 1)
}

/// Fish asks whether one of these words was seen.
fn fish(script: &str) -> String {
    let seen = "__fish_seen_subcommand_from ";
    let mut pieces = script.split(seen);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(['"', ';', '\n']).unwrap_or(piece.len());
        let (words, rest) = piece.split_at(end);
        text.push_str(seen);
        text.push_str(words);
        for word in words.split_whitespace().filter(|word| word.contains('_')) {
            text.push(' ');
            text.push_str(&word.replace('_', "-"));
        }
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kebab_case_is_known_to_each_of_the_scripts() {
        for (shell, marks) in
            [(Shell::Bash, ["${i//-/_}", "${1//-/_}", "${cur//-/_}"].as_slice()), (Shell::Zsh, ["case ${line[1]//-/_} in"].as_slice())]
        {
            let script = script(shell);
            assert!(marks.iter().all(|mark| script.contains(mark)), "clap_complete writes another script for {shell} now");
        }
        assert_eq!(
            fish("if __fish_seen_subcommand_from a_b; and not __fish_seen_subcommand_from c d_e\"\n"),
            "if __fish_seen_subcommand_from a_b a-b; and not __fish_seen_subcommand_from c d_e d-e\"\n"
        );
    }
}
