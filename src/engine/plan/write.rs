//! A plan as it is written: beside its place until it is whole, and there only then.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::{End, FORMAT, Header, ItemLine, NewPlan, PlanTarget, RestLine, hex};
use crate::input::{Age, Input, KeptInput};
use crate::model::error::{Error, Result};
use crate::model::outcome::Record;

/// A plan that is being written. What ends it early leaves no file.
pub struct PlanWriter {
    file: PathBuf,
    expires: Age,
    inner: Mutex<Inner>,
}

struct Inner {
    /// A file of this user's alone, in the folder of the plan, from the first line until it is in its place.
    out: Option<BufWriter<NamedTempFile>>,
    digest: Sha256,
    input: Option<KeptInput>,
    items: u64,
    /// Why it cannot be written any further.
    broken: Option<Error>,
}

impl PlanWriter {
    /// Makes sure that it can be written, never over what is there, and never through a link.
    pub fn create(new: NewPlan) -> Result<Self> {
        let shown = new.file.display().to_string();
        if new.file.symlink_metadata().is_ok() {
            return Err(Error::field("plan", format!("`plan`: there is a `{shown}` already, and a plan replaces nothing")));
        }
        if !folder(&new.file).is_dir() {
            return Err(Error::field("plan", format!("`plan`: cannot write the file `{shown}`: there is no such folder")));
        }
        let inner = Inner { out: None, digest: Sha256::new(), input: None, items: 0, broken: None };
        Ok(PlanWriter { file: new.file, expires: new.expires, inner: Mutex::new(inner) })
    }

    /// Makes the file. From here on the run has to end with [`PlanWriter::finish`] or [`PlanWriter::discard`].
    pub fn open(&self) -> Result<()> {
        let out = tempfile::Builder::new().prefix(".aaws-plan-").tempfile_in(folder(&self.file));
        let out = out.map_err(|e| Error::field("plan", format!("`plan`: cannot write the file `{}`: {e}", self.file.display())))?;
        self.lock().out = Some(BufWriter::new(out));
        Ok(())
    }

    /// Leaves nothing behind.
    pub fn discard(&self) {
        // Dropped, it is removed.
        drop(self.lock().out.take());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what it will hold of the input.
    pub fn keep(&self, schema: &Value, input: &mut Input) -> Result<()> {
        let kept = KeptInput::of(schema, input)?;
        self.lock().input = Some(kept);
        Ok(())
    }

    /// Writes its first line.
    pub fn begin(&self, action: &str, target: PlanTarget, now: Timestamp) -> Result<()> {
        let mut inner = self.lock();
        let lasts = SignedDuration::try_from(self.expires.duration()).unwrap_or(SignedDuration::MAX);
        let header = Header {
            format: FORMAT,
            tool: format!("aaws {}", env!("CARGO_PKG_VERSION")),
            action: action.to_owned(),
            input: inner.input.as_ref().map(|input| input.value.clone()).unwrap_or_default(),
            targets: vec![target],
            created: now,
            expires: now.checked_add(lasts).unwrap_or(Timestamp::MAX),
        };
        inner.line(&header).map_err(|e| self.failed(e))
    }

    /// Writes what a dry run says of an item, and what the item is like. A failure is told in the end: nothing is changed meanwhile.
    pub fn item(&self, record: &Record, state: Option<Value>) {
        let mut inner = self.lock();
        if inner.broken.is_none()
            && let Err(e) = inner.item(record.clone(), state)
        {
            inner.broken = Some(e);
        }
    }

    /// Writes what is left, and puts the plan in its place.
    pub fn finish(&self) -> Result<()> {
        let mut inner = self.lock();
        if let Some(e) = inner.broken.take() {
            return Err(e);
        }
        inner.rest()?;
        let end = End { items: inner.items, sha256: hex(inner.digest.clone().finalize().as_slice()) };
        inner.line(&end).map_err(|e| self.failed(e))?;
        let Some(mut out) = inner.out.take() else { return Ok(()) };
        let written = out.flush().and_then(|()| out.get_ref().as_file().sync_all());
        written.map_err(|e| self.failed(e))?;
        // All of it is flushed.
        let (file, _) = out.into_parts();
        file.persist_noclobber(&self.file).map_err(|e| self.failed(e.error))?;
        tracing::info!("the plan is in `{}`: `aaws apply` does what it says", self.file.display());
        Ok(())
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::io(format!("write the plan `{}`", self.file.display()), source)
    }
}

/// Where a file is, or is to be.
fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Inner {
    fn item(&mut self, record: Record, state: Option<Value>) -> Result<()> {
        let input = self.input.as_mut().map(KeptInput::elements).transpose()?.unwrap_or_default();
        self.items += 1;
        self.line(&ItemLine { record, state, input }).map_err(|e| Error::io("write the plan", e))
    }

    /// The elements of lists for which no item came: there may be none at all.
    fn rest(&mut self) -> Result<()> {
        let Some(mut kept) = self.input.take() else { return Ok(()) };
        loop {
            let input = kept.elements()?;
            if input.is_empty() {
                return Ok(());
            }
            self.line(&RestLine { input }).map_err(|e| Error::io("write the plan", e))?;
        }
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.digest.update(&text);
        match &mut self.out {
            Some(out) => out.write_all(&text),
            None => Err(io::Error::other("it is not open")),
        }
    }
}
