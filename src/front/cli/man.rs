//! `aaws man`: manual pages, one of the program and one of each service, from the same tree of commands as the help.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{common, flags, help, version};
use crate::catalog::manifest::{self, Manifest};
use crate::catalog::registry;
use crate::engine::entry::Entry;
use crate::model::error::{Error, Result};

/// Where settings are; `docs/settings.md` says what can be in them.
const FILES: &[(&str, &str)] = &[
    ("~/.config/aaws/aaws.toml", "the user's settings"),
    ("./aaws.toml", "settings of the folder that the program runs in; it cannot choose credentials"),
    ("~/.aws/config, ~/.aws/credentials", "profiles, as the AWS CLI writes them"),
];

pub fn command(command: Command) -> Command {
    let out = Arg::new("out").long("out").value_name("DIR").value_parser(clap::value_parser!(PathBuf));
    command.arg(out.help("Folder for aaws.1 and aaws-<service>.1; made if it is not there"))
}

pub fn run(matches: &ArgMatches) -> Result<u8> {
    let wrong = |e| Error::io("write a manual page", e);
    let Some(folder) = matches.get_one::<PathBuf>("out") else {
        let text = program().map_err(wrong)?;
        // A reader that went away is no error.
        let _ = io::stdout().write_all(&text);
        return Ok(0);
    };
    let failed = |e| Error::io(format!("write manual pages to `{}`", folder.display()), e);
    fs::create_dir_all(folder).map_err(failed)?;
    fs::write(folder.join("aaws.1"), program().map_err(wrong)?).map_err(failed)?;
    for name in registry::services() {
        fs::write(folder.join(format!("aaws-{name}.1")), service(name).map_err(wrong)?).map_err(failed)?;
    }
    Ok(0)
}

/// `aaws.1`
fn program() -> io::Result<Vec<u8>> {
    let page = Man::new(help::root(None, None).disable_help_subcommand(true));
    let mut text = begin("aaws");
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    let mut roff = Roff::new();
    roff.control("SH", ["SERVICES"]);
    for name in registry::services() {
        roff.control("TP", []);
        roff.text([bold(format!("aaws-{name}(1)"))]);
        let names: Vec<_> = registry::of_service(name).map(|entry| entry.meta.name()).collect();
        roff.text([roman(names.join(", "))]);
    }
    roff.control("SH", ["COMMANDS"]);
    roff.to_writer(&mut text)?;
    for command in help::with_commands(Command::new("aaws")).get_subcommands() {
        commands("aaws", command, &mut text)?;
    }
    let mut roff = Roff::new();
    roff.control("SH", ["OPTIONS OF ACTIONS"]);
    roff.text([roman("Every action takes these; one that needs no AWS takes those about output only.")]);
    roff.to_writer(&mut text)?;
    options(Command::new("aaws").args(common::flags()).args(common::plan_flags()), &mut text)?;
    let mut roff = Roff::new();
    pairs(&mut roff, "FILES", FILES.iter().map(|(name, what)| ((*name).to_owned(), *what)));
    exit_status(&mut roff);
    pairs(&mut roff, "VERSION", [(version::SHORT.to_owned(), version::LONG.split_once('\n').map_or("", |(_, built)| built))].into_iter());
    roff.to_writer(&mut text)?;
    Ok(text)
}

/// `aaws-s3.1`
fn service(name: &'static str) -> io::Result<Vec<u8>> {
    let mut text = begin(&format!("aaws-{name}"));
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("aaws-{name} - actions of aaws: {name}"))]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(format!("aaws {name}")), roman(" ACTION [FLAGS]")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman("Each action with its own inputs; aaws(1) has the options that all of them take, and files.")]);
    roff.to_writer(&mut text)?;
    for entry in registry::of_service(name) {
        action(entry, &mut text)?;
    }
    let mut roff = Roff::new();
    exit_status(&mut roff);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("aaws"), roman("(1)")]);
    roff.to_writer(&mut text)?;
    Ok(text)
}

/// The title, and text that is set ragged, without hyphens: names are to be copied.
fn begin(title: &str) -> Vec<u8> {
    let mut roff = Roff::new();
    let source = format!("aaws {}", version::SHORT);
    // No date: what a page says is of its version.
    roff.control("TH", [title, "1", "\"\"", source.as_str(), "aaws"]);
    roff.control("ad", ["l"]);
    roff.control("nh", []);
    roff.render().into_bytes()
}

/// A command and what is below it.
fn commands(before: &str, command: &Command, text: &mut Vec<u8>) -> io::Result<()> {
    let name = format!("{before} {}", command.get_name());
    if command.has_subcommands() {
        return command.get_subcommands().try_for_each(|below| commands(&name, below, text));
    }
    let words = command.get_positionals().map(|arg| format!(" <{}>", arg.get_id().as_str().to_uppercase())).collect::<String>();
    let mut roff = Roff::new();
    roff.control("SS", [name.as_str()]);
    roff.text([bold(name.clone()), roman(format!("{words} [FLAGS]"))]);
    let about = command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string).unwrap_or_default();
    roff.control("PP", []);
    paragraphs(&mut roff, &about);
    roff.to_writer(text)?;
    // Those that all have are shown once.
    let all: Vec<String> = common::flags().iter().map(|arg| arg.get_id().to_string()).collect();
    let is_own = |arg: &Arg| !all.iter().any(|name| arg.get_id().as_str() == name);
    options(command.clone().mut_args(|arg| if is_own(&arg) { arg } else { arg.hide(true) }), text)
}

fn action(entry: &Entry, text: &mut Vec<u8>) -> io::Result<()> {
    let manifest = Manifest::of(entry);
    let mut roff = Roff::new();
    roff.control("SH", [manifest.action]);
    roff.text([bold(format!("aaws {} {}", manifest.service, manifest.action)), roman(" [FLAGS]")]);
    roff.control("PP", []);
    paragraphs(&mut roff, &format!("{}\n\n{}", manifest.summary, manifest.description));
    roff.to_writer(text)?;
    options(Command::new("aaws").args(flags::of_params(&manifest.params)).arg(flags::input_flag()), text)?;
    let mut roff = Roff::new();
    for (title, lines) in help::sections(&manifest).into_iter().filter(|(_, lines)| !lines.is_empty()) {
        roff.control("SS", [title]);
        for line in lines {
            match line.split_once('\n') {
                // A command stands as it is typed.
                Some((title, command)) => {
                    roff.text([roman(title)]);
                    roff.control("PP", []);
                    roff.control("RS", ["4"]);
                    roff.control("nf", []);
                    for line in command.lines() {
                        roff.text([roman(line.trim_start())]);
                    }
                    roff.control("fi", []);
                    roff.control("RE", []);
                    roff.control("PP", []);
                }
                None => {
                    roff.control("IP", ["\\(bu", "2"]);
                    roff.text([roman(line.trim_start_matches("- "))]);
                }
            }
        }
    }
    roff.to_writer(text)
}

/// Flags below a heading of their own: clap's page has them as sections.
fn options(command: Command, text: &mut Vec<u8>) -> io::Result<()> {
    let mut written = Vec::new();
    Man::new(command.disable_help_flag(true)).render_options_section(&mut written)?;
    text.extend_from_slice(String::from_utf8_lossy(&written).replace("\n.SH ", "\n.SS ").as_bytes());
    Ok(())
}

/// Markdown as far as it is plain text.
fn paragraphs(roff: &mut Roff, text: &str) {
    for line in text.trim().lines() {
        match (line.trim(), line.trim().strip_prefix("- ")) {
            ("", _) => {
                roff.control("PP", []);
            }
            (_, Some(item)) => {
                roff.control("IP", ["\\(bu", "2"]);
                roff.text([roman(item)]);
            }
            (line, None) => {
                roff.text([roman(line)]);
            }
        }
    }
}

/// A section of names and what they are.
fn pairs<'a>(roff: &mut Roff, title: &str, pairs: impl Iterator<Item = (String, &'a str)>) {
    roff.control("SH", [title]);
    for (name, what) in pairs {
        roff.control("TP", []);
        roff.text([bold(name)]);
        for line in what.lines() {
            roff.text([roman(line)]);
        }
    }
}

fn exit_status(roff: &mut Roff) {
    let codes = manifest::exit_codes(true, true);
    pairs(roff, "EXIT STATUS", codes.iter().map(|exit| (exit.code.to_string(), exit.meaning)));
}
