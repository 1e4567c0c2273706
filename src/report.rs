//! `--report FILE`: one JSON line per item, written as the item is settled.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::outcome::Record;

/// Where settled items are written down.
#[derive(Debug)]
pub struct Report {
    file: Mutex<File>,
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
    /// Starts a new report; one that is there is replaced.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Report { file: Mutex::new(File::create(path)?) })
    }

    /// Each line is one write, so that a killed process leaves whole lines.
    pub(crate) fn write(&self, line: &Line<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&text)
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
