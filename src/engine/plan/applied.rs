//! Which plans were applied: a file for each in the state directory, named by the plan's digest, so that a copy of the plan is known too.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::model::error::{Error, Result};

/// `$XDG_STATE_HOME/aaws/applied`; where the system has no such directory, beside the user's data.
fn folder() -> io::Result<PathBuf> {
    let base = directories::BaseDirs::new().ok_or_else(|| io::Error::other("no home directory is known"))?;
    Ok(base.state_dir().unwrap_or(base.data_local_dir()).join("aaws").join("applied"))
}

/// Whether a plan was applied.
pub fn is_applied(digest: &str) -> bool {
    folder().is_ok_and(|folder| folder.join(digest).exists())
}

/// Notes that a plan is applied; only one of two runs that are at it at once may. Plans that nobody takes any more are forgotten.
pub fn claim(digest: &str, expires: Timestamp) -> Result<()> {
    let noted = folder().and_then(|folder| {
        create(&folder)?;
        forget(&folder, Timestamp::now());
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let mut file = options.open(folder.join(digest))?;
        writeln!(file, "{expires}")?;
        file.sync_all()
    });
    noted.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => again(),
        _ => Error::io("note in the state directory that the plan is applied", e),
    })
}

/// The error of a plan that was applied before.
pub fn again() -> Error {
    Error::Refused("the plan was applied before: make another with --plan".into())
}

fn create(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(folder)
}

/// A plan that has expired is refused for that. What is no note of ours stays.
fn forget(folder: &Path, now: Timestamp) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let expires = fs::read_to_string(entry.path()).ok().and_then(|text| text.trim().parse::<Timestamp>().ok());
        if expires.is_some_and(|expires| expires < now) {
            // Forgotten the next time, then.
            let _ = fs::remove_file(entry.path());
        }
    }
}
