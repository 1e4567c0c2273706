//! `aaws docs`: the pages of every action, written or checked.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};

use crate::docs;
use crate::error::{Error, Result};

pub fn command() -> Command {
    let dir = || Arg::new("dir").long("dir").value_name("DIR").default_value("docs").value_parser(clap::value_parser!(PathBuf));
    Command::new("docs")
        .about("Write the documentation of every action, or check that it is current")
        .subcommand_required(true)
        .subcommand(Command::new("markdown").about("Write the Markdown pages").arg(dir().help("Folder of the documentation")))
        .subcommand(
            Command::new("check").about("Fail when the pages are not those of this program").arg(dir().help("Folder of the documentation")),
        )
}

pub fn run(matches: &ArgMatches) -> Result<u8> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err(Error::input("say `aaws docs markdown` or `aaws docs check`"));
    };
    let dir = matches.get_one::<PathBuf>("dir").cloned().unwrap_or_else(|| "docs".into());
    let failed = |e| Error::io(format!("go through the pages in `{}`", dir.display()), e);
    if command == "markdown" {
        let changed = docs::write(&dir).map_err(failed)?;
        changed.iter().for_each(|d| super::terminal::say(&format!("{d}\n")));
        return Ok(0);
    }
    let stale = docs::compare(&dir).map_err(failed)?;
    if stale.is_empty() {
        return Ok(0);
    }
    let list: Vec<_> = stale.iter().map(ToString::to_string).collect();
    Err(Error::Failed(format!("{}; `aaws docs markdown` mends this", list.join(", "))))
}
