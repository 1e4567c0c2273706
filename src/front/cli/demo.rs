//! `aaws demo`: the tour of a service, played on its sandbox with the real program.

use std::io::{self, Write};
use std::process::{Child, Command as Process, Stdio};

use clap::ArgMatches;

use crate::aws::sandbox;
use crate::model::error::{Error, Result};

pub fn run(_: &ArgMatches) -> Result<u8> {
    let services = sandbox::services();
    let Some(sandbox) = services.first().and_then(|s| sandbox::find(s)) else {
        return Err(Error::Failed("no service of this program has a sandbox".into()));
    };
    let program = std::env::current_exe().map_err(|e| Error::io("find this program", e))?;
    let scratch = tempfile::tempdir().map_err(|e| Error::io("make a scratch folder", e))?;
    let mut out = io::stdout();
    let said = |e| Error::io("write to standard output", e);
    for step in sandbox.tour {
        let line: Vec<_> = step.pipe.iter().map(|c| format!("aaws {}", c.join(" "))).collect();
        writeln!(out, "# {}\n$ {}", step.says, line.join(" | ")).map_err(said)?;
        let mut running: Vec<Child> = Vec::new();
        for (index, args) in step.pipe.iter().enumerate() {
            let mut process = Process::new(&program);
            process.args(*args).env("AAWS_SANDBOX", scratch.path().join("sandbox")).current_dir(scratch.path());
            process.stdin(match running.last_mut().and_then(|c| c.stdout.take()) {
                Some(upstream) => Stdio::from(upstream),
                None => Stdio::null(),
            });
            let last = index + 1 == step.pipe.len();
            process.stdout(if last { Stdio::inherit() } else { Stdio::piped() });
            // Both of the terminal's streams show here what a person would see.
            running.push(process.spawn().map_err(|e| Error::io(format!("run `{}`", line.join(" | ")), e))?);
        }
        for mut child in running {
            let status = child.wait().map_err(|e| Error::io("wait for a step of the tour", e))?;
            if !status.success() {
                return Err(Error::Failed(format!("the step `{}` ended with {status}", line.join(" | "))));
            }
        }
        writeln!(out).map_err(said)?;
    }
    Ok(0)
}
