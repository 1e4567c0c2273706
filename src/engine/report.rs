//! `--report FILE`: one JSON line per item, written as the item is settled.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::model::code::Code;
use crate::model::outcome::{Record, Status};
use crate::model::target::{AccountId, Region, Target};

/// Lines of items that were not started are written together, about so many bytes at once: a run that is interrupted may leave a million of them.
const TOGETHER: usize = 64 << 10;

/// Where settled items are written down.
#[derive(Debug)]
pub struct Report {
    lines: Mutex<Lines>,
    begun: AtomicBool,
}

#[derive(Debug)]
struct Lines {
    file: File,
    /// Whole lines that are not written yet.
    held: Vec<u8>,
}

impl Lines {
    fn write_held(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.held);
        self.held.clear();
        written
    }
}

impl Report {
    /// Opens a report, readable by nobody else and never through a link. One that is there is replaced by the first line, or when the run ends: not by a
    /// run that does not come about.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
            // A shell's own `>(…)` and `/dev/stdout` are links by nature, and name no file.
            let named = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_symlink());
            if named && std::fs::metadata(path).map_or(true, |m| m.is_file()) {
                return Err(io::Error::other("it is a link: name the file itself"));
            }
        }
        let file = options.open(path)?;
        #[cfg(unix)]
        if file.metadata()?.is_file() {
            use std::os::unix::fs::PermissionsExt;
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        Ok(Report { lines: Mutex::new(Lines { file, held: Vec::new() }), begun: AtomicBool::new(false) })
    }

    /// The run was made: what is left of an earlier report goes, even if this one has no lines.
    pub fn finish(&self) -> io::Result<()> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        self.begin(&lines.file)?;
        lines.write_held()
    }

    fn begin(&self, file: &File) -> io::Result<()> {
        // What is no plain file, a pipe say, has nothing to be cut off.
        if !self.begun.swap(true, Ordering::Relaxed) && file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        Ok(())
    }

    /// Each line is one write, so that a killed process leaves whole lines; but for lines of items with which nothing was done.
    pub(crate) fn write(&self, target: &Target, path: &str, record: &Record) -> io::Result<()> {
        let mut text = serde_json::to_vec(&Line::now(target, path, record))?;
        text.push(b'\n');
        let can_wait = record.is(Code::NotStarted);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        self.begin(&lines.file)?;
        lines.held.append(&mut text);
        if can_wait && lines.held.len() < TOGETHER { Ok(()) } else { lines.write_held() }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let lines = self.lines.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = lines.write_held() {
            tracing::error!("cannot write the last lines of the report: {e}");
        }
    }
}

/// A line of the report, of an item settled just now.
#[derive(Serialize)]
struct Line<'a> {
    /// When the item was settled, UTC.
    time: Timestamp,
    /// Twelve digits, when it is known.
    account: Option<&'a AccountId>,
    /// The region, when the action has one.
    region: Option<&'a Region>,
    /// `s3`
    service: &'a str,
    /// `delete_objects`
    action: &'a str,
    /// The item's identity.
    item: &'a str,
    /// What it is called where that is not its identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// What it is, where the action has items of several kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    /// What became of it.
    status: Status,
    /// AWS's error code, or one of ours.
    code: Option<&'a str>,
    /// What is worth knowing of it.
    message: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn now(target: &'a Target, path: &'a str, record: &'a Record) -> Self {
        let (service, action) = path.split_once('/').unwrap_or((path, ""));
        let target = record.target.as_deref().unwrap_or(target);
        Line {
            time: Timestamp::now(),
            account: target.account.as_ref(),
            region: target.region.as_ref(),
            service,
            action,
            item: &record.item,
            name: record.name.as_deref(),
            kind: record.kind.as_deref(),
            status: record.status,
            code: record.code.as_deref(),
            message: record.message.as_deref(),
        }
    }
}
