//! A plan as it is applied: checked as a whole before anything is sent, from then on in a file of this process's own.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{End, FORMAT, Header, ItemLine, PlanTarget, applied, hex};
use crate::aws::endpoint;
use crate::input::{Age, Input, Rebuilt};
use crate::model::error::{Error, Result};
use crate::model::outcome::{Record, Status};
use crate::model::target::Region;

/// The longest line, in bytes: an item and its element are small, and memory has an end.
const LONGEST_LINE: u64 = 64 << 20;

/// How many new items are named.
const NAMED: usize = 5;

/// What is asked of a plan beside what it says itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanRules {
    /// How old it may be at most, when that is less than what it says.
    pub max_age: Option<Age>,
}

/// A plan that is applied. The memory that it takes is some 40 bytes for each of its items.
pub struct Planned {
    header: Header,
    digest: String,
    /// All of it but its last line, as it was when it was checked.
    copy: Mutex<BufReader<File>>,
    items: Mutex<HashMap<Key, Slot>>,
    new: Mutex<New>,
    claimed: Mutex<bool>,
}

/// Half of the SHA-256 of an item's identity.
type Key = [u8; 16];

/// Where the line of an item is.
struct Slot {
    at: u64,
    /// Whether the line says that it is changed.
    planned: bool,
    /// Whether the item was selected again.
    seen: bool,
}

/// What is selected now and not in the plan.
#[derive(Default)]
struct New {
    count: u64,
    first: Vec<String>,
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planned").field("header", &self.header).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// Why a file is no plan that can be applied.
pub(super) enum Flaw {
    Io(io::Error),
    /// Something of it is not as it was written.
    Altered(String),
    /// It was written by a newer program.
    Newer(u64),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        Flaw::Io(error)
    }
}

impl Planned {
    /// Reads a plan to its end, and refuses one that was altered, has expired or was applied before.
    pub fn open(path: &Path, rules: PlanRules) -> Result<Self> {
        let shown = path.display();
        let file = File::open(path).map_err(|e| Error::field("plan", format!("cannot read the plan `{shown}`: {e}")))?;
        let planned = Self::read(file).map_err(|flaw| match flaw {
            Flaw::Io(e) => Error::io(format!("read the plan `{shown}`"), e),
            Flaw::Altered(what) => Error::Refused(format!("the plan `{shown}` is not as it was written: {what}; make another with --plan")),
            Flaw::Newer(format) => Error::Failed(format!(
                "the plan `{shown}` has the format {format}, and this program knows {FORMAT} at most: it takes a newer one"
            )),
        })?;
        planned.check_time(rules.max_age, Timestamp::now())?;
        if applied::is_applied(&planned.digest) { Err(applied::again()) } else { Ok(planned) }
    }

    pub(super) fn read(file: impl Read) -> Result<Self, Flaw> {
        let mut lines = BufReader::with_capacity(1 << 16, file);
        let mut copy = io::BufWriter::new(tempfile::tempfile()?);
        let (mut header, mut items, mut digest, mut at) = (None, HashMap::new(), Sha256::new(), 0);
        let mut count = 0;
        // The last line is not of what it vouches for; which one it is, is known when there is none behind it.
        let mut last: Option<Vec<u8>> = None;
        while let Some(line) = read_line(&mut lines)? {
            let Some(line) = last.replace(line) else { continue };
            digest.update(&line);
            copy.write_all(&line)?;
            if header.is_none() {
                header = Some(header_of(&line)?);
            } else if let Some(record) = item_of(&line)? {
                count += 1;
                let planned = record.status == Status::Planned;
                let slot = items.entry(key(&record.item)).or_insert(Slot { at, planned, seen: false });
                // Of an id that is there twice one line says that it is changed, and the others that it is a duplicate, or somebody else's.
                if planned && !slot.planned {
                    *slot = Slot { at, planned, seen: false };
                }
            }
            at += line.len() as u64;
        }
        let last = last.ok_or_else(|| Flaw::Altered("it is empty".into()))?;
        let Some(header) = header else {
            // A single line: its first, or no line of a plan at all.
            header_of(&last)?;
            return Err(Flaw::Altered("its end is missing".into()));
        };
        let end: End = match serde_json::from_slice(&last) {
            Ok(end) if is_as_written(&end, &last) => end,
            _ => return Err(Flaw::Altered("its end is missing, or is none that is written".into())),
        };
        let digest = hex(digest.finalize().as_slice());
        if end.sha256 != digest || end.items != count {
            return Err(Flaw::Altered("its lines are not those that its end vouches for".into()));
        }
        let mut copy = copy.into_inner().map_err(io::IntoInnerError::into_error)?;
        copy.seek(SeekFrom::Start(0))?;
        Ok(Planned {
            header,
            digest,
            copy: Mutex::new(BufReader::new(copy)),
            items: Mutex::new(items),
            new: Mutex::default(),
            claimed: Mutex::new(false),
        })
    }

    pub(super) fn check_time(&self, max_age: Option<Age>, now: Timestamp) -> Result<()> {
        let Header { created, expires, .. } = self.header;
        let limit = max_age.map(|age| SignedDuration::try_from(age.duration()).unwrap_or(SignedDuration::MAX));
        let ends = limit.map_or(expires, |limit| created.checked_add(limit).unwrap_or(Timestamp::MAX).min(expires));
        if now < ends {
            return Ok(());
        }
        Err(Error::Refused(format!("the plan was made at {created:.0}, and held until {ends:.0}: make another with --plan")))
    }

    /// By which it is known: the SHA-256 of its lines, but for the last one.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What it is a plan of.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The input that it was made with. Of an action with secrets these are given anew. With `local_files` it may name files of this machine.
    pub fn input(&self, schema: Value, secrets: Map<String, Value>, local_files: bool) -> Result<Input> {
        let mut rebuilt = Rebuilt::new(schema, self.header.input.clone(), secrets, local_files)?;
        let mut copy = lock(&self.copy);
        let failed = |e| Error::io("read the plan again", e);
        copy.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut line = Vec::new();
        while copy.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            let mut value: Value = serde_json::from_slice(&line).map_err(|e| failed(e.into()))?;
            // The first line is the header, whose input was taken.
            let elements = if value.get("format").is_some() { None } else { value.get_mut("input").map(Value::take) };
            if let Some(Value::Object(elements)) = elements {
                rebuilt.add(elements)?;
            }
            line.clear();
        }
        rebuilt.finish()
    }

    /// The same plan, made elsewhere.
    #[cfg(test)]
    pub(super) fn move_to(&mut self, target: PlanTarget) {
        self.header.targets = vec![target];
    }

    /// Whether the run is where the plan was made.
    pub fn check_target(&self, here: &PlanTarget) -> Result<()> {
        let [there] = self.header.targets.as_slice() else {
            return Err(Error::Refused("the plan is of several accounts or regions, which this program cannot apply".into()));
        };
        if there.region != here.region {
            let name = |target: &PlanTarget| target.region.as_ref().map_or("no region", Region::as_str).to_owned();
            return Err(Error::Refused(format!("the plan is of {}, and this run of {}", name(there), name(here))));
        }
        if let (Some(was), Some(is)) = (there.destination(), here.destination())
            && !endpoint::is_same(was, is, there.account.is_some())
        {
            let (was, is) = (endpoint::in_words(was), endpoint::in_words(is));
            return Err(Error::Refused(format!("the plan was made on {was}, and this run is on {is}")));
        }
        if there.account != here.account {
            return Err(Error::Refused(format!("the plan is of {}, and the credentials are of {}", there.place(), here.place())));
        }
        Ok(())
    }

    /// What the plan says of an item that is selected now; nothing when it is a new one.
    pub fn expected(&self, item: &str) -> Result<Option<ItemLine>> {
        let at = match lock(&self.items).get_mut(&key(item)) {
            Some(slot) => {
                slot.seen = true;
                slot.at
            }
            None => return Ok(None),
        };
        let line = self.line(at)?;
        Ok((line.record.item == item).then_some(line))
    }

    /// Whether the plan says something of an item. It is not taken for selected by that.
    pub fn has(&self, item: &str) -> bool {
        lock(&self.items).contains_key(&key(item))
    }

    /// What the plan says of the items that were not selected again, in its order.
    pub fn unseen(&self) -> impl Iterator<Item = Result<ItemLine>> {
        let mut places: Vec<u64> = lock(&self.items).values().filter(|slot| !slot.seen).map(|slot| slot.at).collect();
        places.sort_unstable();
        places.into_iter().map(|at| self.line(at))
    }

    fn line(&self, at: u64) -> Result<ItemLine> {
        let mut copy = lock(&self.copy);
        let mut line = Vec::new();
        let read = copy.seek(SeekFrom::Start(at)).and_then(|_| copy.read_until(b'\n', &mut line));
        let read = read.and_then(|_| serde_json::from_slice(&line).map_err(io::Error::from));
        read.map_err(|e| Error::io("read the plan again", e))
    }

    /// Notes an item that the plan does not know.
    pub fn note_new(&self, name: String) {
        let mut new = lock(&self.new);
        new.count += 1;
        if new.first.len() < NAMED {
            new.first.push(name);
        }
    }

    /// How many such items there are, and the first of them.
    pub fn new_items(&self) -> (u64, Vec<String>) {
        let new = lock(&self.new);
        (new.count, new.first.clone())
    }

    /// From here on it counts as applied. An error when another run was first.
    pub fn claim(&self) -> Result<()> {
        let mut claimed = lock(&self.claimed);
        if !*claimed {
            applied::claim(&self.digest, self.header.expires)?;
            *claimed = true;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(item: &str) -> Key {
    let mut key = Key::default();
    key.iter_mut().zip(Sha256::digest(item).iter()).for_each(|(to, from)| *to = *from);
    key
}

/// The next line with its end, or none.
fn read_line(lines: &mut impl BufRead) -> Result<Option<Vec<u8>>, Flaw> {
    let mut line = Vec::new();
    lines.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    match line.len() as u64 {
        0 => Ok(None),
        LONGEST_LINE if !line.ends_with(b"\n") => Err(Flaw::Altered("a line of it is longer than any that is written".into())),
        _ => Ok(Some(line)),
    }
}

fn header_of(line: &[u8]) -> Result<Header, Flaw> {
    let none = || Flaw::Altered("it does not begin as a plan does".into());
    let value: Value = serde_json::from_slice(line).map_err(|_| none())?;
    match value.get("format").and_then(Value::as_u64) {
        Some(format) if format > FORMAT => Err(Flaw::Newer(format)),
        Some(FORMAT) => serde_json::from_value(value).map_err(|_| none()),
        _ => Err(none()),
    }
}

/// Whether a plan ends with this line, to the letter: no digest vouches for it.
fn is_as_written(end: &End, line: &[u8]) -> bool {
    serde_json::to_vec(end).is_ok_and(|text| line.strip_suffix(b"\n") == Some(text.as_slice()))
}

/// The item of a line; none on one that has the rest of a list.
fn item_of(line: &[u8]) -> Result<Option<Record>, Flaw> {
    let wrong = |_| Flaw::Altered("a line of it is none of a plan".into());
    let value: Value = serde_json::from_slice(line).map_err(wrong)?;
    if value.get("item").is_none() && value.get("input").is_some() {
        return Ok(None);
    }
    // As it is read again when it is asked for: a member that stands twice is none that is written.
    let line: ItemLine = serde_json::from_slice(line).map_err(wrong)?;
    Ok(Some(line.record))
}
