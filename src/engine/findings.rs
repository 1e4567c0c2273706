//! The rows of a listing as a pipeline judges them: how many there are, and which of them an earlier run had found already.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::ready;
use futures::stream::StreamExt;
use serde_json::Value;

use crate::engine::action::Reply;
use crate::input::{Elements, Naming, Source, Spool};
use crate::model::error::{Error, Result};

/// The input that names the file of an earlier run.
const BASELINE: &str = "baseline";

/// How many of those that are gone are named.
const NAMED: usize = 10;

/// What a listing found so far, beside what is in the baseline. Shared by who reads the rows and who sums up.
#[derive(Debug, Clone, Default)]
pub struct Findings(Arc<Mutex<Judge>>);

/// How many things a listing found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FindingCounts {
    /// Those that no baseline knows.
    pub new: u64,
    /// Those that the baseline knows, and that are not listed for that.
    pub known: u64,
    /// Those of the baseline that there are no more, by their names; none where there is no baseline, or the listing is not whole.
    pub gone: Option<Vec<String>>,
}

impl FindingCounts {
    /// "2 new, 5 known, 1 gone: vol-1"; empty without a baseline.
    pub fn words(&self) -> String {
        let Some(gone) = &self.gone else { return String::new() };
        let mut words = format!("{} new, {} known, {} gone", self.new, self.known, gone.len());
        if !gone.is_empty() {
            words.push_str(&format!(": {}", gone.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ")));
        }
        if gone.len() > NAMED {
            words.push_str(&format!(" and {} more", gone.len() - NAMED));
        }
        words
    }
}

#[derive(Debug, Default)]
struct Judge {
    identity: &'static [&'static str],
    /// What the baseline holds, and whether it came again.
    baseline: Option<BTreeMap<Name, bool>>,
    found: FindingCounts,
}

/// What a row is known by: a text for each member of its identity that has one, with the place of the member. One that is known by one text alone has
/// the place 0, whatever member it is of: a row that is a name alone is the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name(Vec<(usize, String)>);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.0.iter().map(|(_, text)| text.as_str()).collect();
        f.write_str(&texts.join(" "))
    }
}

impl Findings {
    /// Reads the file of an earlier run, where there is one. Its rows are held in memory by their names.
    pub fn open(identity: &'static [&'static str], baseline: Option<&Path>) -> Result<Self> {
        let mut judge = Judge { identity, ..Judge::default() };
        if let Some(file) = baseline {
            let mut spool = Spool::new(BASELINE).with_naming(Naming::whole(identity));
            spool.fill(&Source::File(file.to_owned()), Elements::Text)?;
            let rows = spool.into_values()?;
            let is_row = |row: &Value| row.is_string() || row.is_object();
            if let Some(at) = rows.iter().position(|row| !identity.is_empty() && !is_row(row)) {
                return Err(Error::field(BASELINE, format!("`{BASELINE}`: item {} is no row of a listing", at + 1)));
            }
            judge.baseline = Some(rows.iter().map(|row| (judge.name(row), false)).collect());
        }
        Ok(Findings(Arc::new(Mutex::new(judge))))
    }

    /// Counts the rows as they pass, and lets through what is new.
    pub fn watch(&self, reply: Reply) -> Reply {
        let Reply::Items(rows) = reply else { return reply };
        let (watched, ended) = (self.clone(), self.clone());
        let broken = Arc::new(AtomicBool::new(false));
        let breaks = Arc::clone(&broken);
        let new = rows.filter_map(move |row| {
            let kept = match row {
                Ok(row) => watched.with(|judge| judge.is_new(&row)).then_some(Ok(row)),
                Err(error) => {
                    breaks.store(true, Relaxed);
                    Some(Err(error))
                }
            };
            ready(kept)
        });
        // What is gone is known only when all has been listed.
        let end = futures::stream::once(async move {
            if !broken.load(Relaxed) {
                ended.with(Judge::end);
            }
        });
        Reply::Items(new.chain(end.filter_map(|()| ready(None))).boxed())
    }

    /// What was found.
    pub fn found(&self) -> FindingCounts {
        self.with(|judge| judge.found.clone())
    }

    fn with<T>(&self, see: impl FnOnce(&mut Judge) -> T) -> T {
        see(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Judge {
    /// What a row is known by: the members of its identity, or all of it. One that is a name alone is the same as one that has the name among its
    /// details.
    fn name(&self, row: &Value) -> Name {
        let text = |part: &Value| part.as_str().map_or_else(|| part.to_string(), str::to_owned);
        let members = self.identity.iter().enumerate().filter_map(|(at, name)| Some((at, row.get(*name)?)));
        let mut parts: Vec<(usize, String)> = members.filter(|(_, part)| !part.is_null()).map(|(at, part)| (at, text(part))).collect();
        match parts.as_mut_slice() {
            [] => parts.push((0, text(row))),
            [(at, _)] => *at = 0,
            _ => {}
        }
        Name(parts)
    }

    fn is_new(&mut self, row: &Value) -> bool {
        let name = self.baseline.is_some().then(|| self.name(row));
        let known = self.baseline.as_mut().zip(name).and_then(|(baseline, name)| baseline.get_mut(&name));
        let is_known = known.is_some_and(|came| {
            *came = true;
            true
        });
        let count = if is_known { &mut self.found.known } else { &mut self.found.new };
        *count += 1;
        !is_known
    }

    fn end(&mut self) {
        let gone =
            |baseline: &BTreeMap<Name, bool>| baseline.iter().filter(|(_, came)| !**came).map(|(name, _)| name.to_string()).collect();
        self.found.gone = self.baseline.as_ref().map(gone);
    }
}
