//! `--report FILE`: one JSON line per item, written as the item is settled.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::model::outcome::Record;

/// Where settled items are written down.
#[derive(Debug)]
pub struct Report {
    file: Mutex<File>,
    begun: AtomicBool,
}

/// A line of the report.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    /// When the item was settled, UTC.
    pub time: Timestamp,
    /// Twelve digits, when it is known.
    pub account: Option<&'a str>,
    pub region: &'a str,
    pub service: &'a str,
    pub action: &'a str,
    pub item: &'a str,
    pub status: &'static str,
    pub code: Option<&'a str>,
    pub message: Option<&'a str>,
}

impl Report {
    /// Opens a report. One that is there is replaced by the first line, or when the run ends: not by a run that does not come about.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        Ok(Report { file: Mutex::new(file), begun: AtomicBool::new(false) })
    }

    /// The run was made: what is left of an earlier report goes, even if this one has no lines.
    pub fn finish(&self) -> io::Result<()> {
        self.begin(&self.file.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin(&self, file: &File) -> io::Result<()> {
        // What is no plain file, a pipe say, has nothing to be cut off.
        if !self.begun.swap(true, Ordering::Relaxed) && file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        Ok(())
    }

    /// Each line is one write, so that a killed process leaves whole lines.
    pub(crate) fn write(&self, line: &Line<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.begin(&file)?;
        file.write_all(&text)
    }
}

impl<'a> Line<'a> {
    /// The line for an item settled just now.
    pub fn now(account: Option<&'a str>, region: &'a str, path: &'a str, record: &'a Record) -> Self {
        let (service, action) = path.split_once('/').unwrap_or((path, ""));
        Line {
            time: Timestamp::now(),
            account,
            region,
            service,
            action,
            item: &record.item,
            status: record.status.word(),
            code: record.code.as_deref(),
            message: record.message.as_deref(),
        }
    }
}
