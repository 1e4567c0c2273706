//! `aaws docs`: the pages of every action, written, checked, or made a site.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};

use crate::docs;
use crate::model::error::{Error, Result};

pub fn command(command: Command) -> Command {
    let dir = || {
        let arg = Arg::new("dir").long("dir").value_name("DIR").default_value("docs").value_parser(clap::value_parser!(PathBuf));
        arg.help("Folder of the documentation")
    };
    let command = command
        .subcommand_required(true)
        .subcommand(Command::new("markdown").about("Write the Markdown pages").arg(dir()))
        .subcommand(Command::new("check").about("Fail when the pages are not those of this program").arg(dir()));
    #[cfg(feature = "site")]
    let command = command.subcommand(site::build_command()).subcommand(site::serve_command());
    command
}

pub fn run(matches: &ArgMatches) -> Result<u8> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err(Error::input("say `aaws docs markdown` or `aaws docs check`"));
    };
    #[cfg(feature = "site")]
    match command {
        "build" => return site::build(matches),
        "serve" => return site::serve(matches),
        _ => {}
    }
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

#[cfg(feature = "site")]
mod site {
    use std::path::PathBuf;

    use clap::{Arg, ArgMatches, Command};

    use crate::front::cli::run::Signals;
    use crate::front::cli::terminal::say;
    use crate::model::error::{Error, Result};
    use crate::site::{self, SiteOptions};

    pub fn build_command() -> Command {
        let out = Arg::new("out").long("out").value_name("DIR").required(true).value_parser(clap::value_parser!(PathBuf));
        with_options(
            Command::new("build").about("Write the site: HTML that needs no network").arg(out.help("Folder of the site, replaced")),
        )
    }

    pub fn serve_command() -> Command {
        let port = Arg::new("port").long("port").value_name("PORT").default_value("8000").value_parser(clap::value_parser!(u16));
        let about = "Make the site and serve it on 127.0.0.1 until stopped";
        with_options(Command::new("serve").about(about).arg(port.help("Port, 0 for a free one")))
    }

    fn with_options(command: Command) -> Command {
        let url = |name: &'static str, help: &'static str| {
            let kebab = name.replace('_', "-");
            Arg::new(name).long(name).alias(kebab).value_name("URL").help(help).value_parser(web_address)
        };
        command
            .arg(url("site_url", "Where the site will be, https://example.com/aaws/: for its site map and its page of what is not there"))
            .arg(url("source_url", "Where the sources can be read, https://example.com/repository/blob/main: pages link to them"))
    }

    fn web_address(text: &str) -> Result<String, String> {
        match text.starts_with("https://") || text.starts_with("http://") {
            true => Ok(text.to_owned()),
            false => Err("expected an address that begins with https:// or http://".into()),
        }
    }

    fn options(matches: &ArgMatches) -> SiteOptions {
        let url = |name: &str| matches.get_one::<String>(name).cloned();
        SiteOptions { site_url: url("site_url"), source_url: url("source_url") }
    }

    pub fn build(matches: &ArgMatches) -> Result<u8> {
        let out = matches.get_one::<PathBuf>("out").cloned().unwrap_or_default();
        let pages = site::build(&out, &options(matches))?;
        say(&format!("{pages} pages in {}\n", out.display()));
        Ok(0)
    }

    pub fn serve(matches: &ArgMatches) -> Result<u8> {
        let port = matches.get_one::<u16>("port").copied().unwrap_or_default();
        let scratch = tempfile::tempdir().map_err(|e| Error::io("make a scratch folder", e))?;
        let (folder, options) = (scratch.path().to_owned(), options(matches));
        // The site is made on a thread of it, which needs as much stack as the first thread has elsewhere.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.thread_stack_size(8 << 20).enable_all().build().map_err(|e| Error::io("start", e))?;
        runtime.block_on(async {
            let mut signals = Signals::new().map_err(|e| Error::io("listen for signals", e))?;
            let made = async {
                let (folder, options) = (folder.clone(), options);
                let built = tokio::task::spawn_blocking(move || site::build(&folder, &options)).await;
                built.map_err(|e| Error::Failed(format!("the site could not be made: {e}")))?
            };
            let served = async {
                made.await?;
                site::serve(folder.clone(), port, |address| say(&format!("{address}\n"))).await
            };
            tokio::select! {
                served = served => served,
                // Whatever ends it, the folder is removed behind this.
                () = signals.next() => Ok(()),
            }
        })?;
        Ok(0)
    }
}
