//! Reads a journal whole, or not at all: what it says was done is what will be undone, or left out when the run is finished.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::format::{FORMAT, Fate, Flaw, Header, IntentId, JournalResult, Line, StepId, decode};
use crate::input::{Input, Spool, was_typed};
use crate::model::error::{Error, Result};
use crate::model::outcome::Status;
use crate::model::target::Target;

/// What a journal says of a run.
#[derive(Debug)]
pub struct Past {
    /// Its file.
    pub path: PathBuf,
    /// Its head.
    pub header: Header,
    /// Whether all of the input is in it.
    pub has_input: bool,
    /// Where it went on; none when it was ended before it sent anything.
    pub target: Option<Target>,
    /// Where its requests went, as `aws::endpoint` has it; none in the journals of programs that did not say it.
    pub endpoint: Option<String>,
    /// The items that were begun, in the order in which they were.
    pub items: Vec<PastItem>,
    /// The run that undid it.
    pub undone: Option<String>,
    /// How it ended; none when its process was killed, or still runs.
    pub end: Option<Ended>,
    /// Another process went on with it: then what it counted in the end is of the rest.
    pub resumed: bool,
    /// What follows the last whole line was cut off.
    pub torn: bool,
    /// How many bytes the whole lines have, and how many lines they are.
    pub(super) whole: u64,
    pub(super) lines: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Items by what became of them, those too that nothing was sent for.
    pub counts: BTreeMap<Status, u64>,
    /// The error.
    pub error: Option<String>,
    /// Whether it was not cut short.
    pub complete: bool,
}

/// An item that was begun.
#[derive(Debug, Clone, PartialEq)]
pub struct PastItem {
    /// Its identity.
    pub item: String,
    /// What came of it, when that is known.
    pub result: Option<JournalResult>,
    /// Its steps, in their order.
    pub steps: Vec<PastStep>,
}

/// A step that was taken, or was about to be.
#[derive(Debug, Clone, PartialEq)]
pub struct PastStep {
    /// By which it is known.
    pub id: StepId,
    /// What would be undone, in words.
    pub says: String,
    /// What undoes it.
    pub step: Value,
    /// See [`super::StepNote::unwinds`].
    pub unwinds: bool,
    /// Why it is not to be undone any more.
    pub fate: Option<Fate>,
}

impl PastItem {
    /// The steps that can be undone, from the last to the first.
    pub fn to_undo(&self) -> Vec<PastStep> {
        self.steps.iter().rev().filter(|step| step.fate.is_none()).cloned().collect()
    }

    /// Whether it was changed, as far as is known.
    pub fn was_done(&self) -> bool {
        self.result.as_ref().is_none_or(|result| result.status == Status::Done)
    }
}

impl Past {
    /// Reads a file. An altered line, or a newer format, is an error.
    pub fn read(path: &Path) -> Result<Self> {
        let mut reading: Option<Reading> = None;
        let (whole, lines, torn) = each_line(path, |seq, line| {
            match &mut reading {
                None => match line {
                    Line::Run(header) => reading = Some(Reading::new(path, *header)),
                    _ => return Err(flawed(path, seq, "is none that a journal begins with")),
                },
                Some(reading) => reading.take(seq, line),
            }
            Ok(())
        })?;
        let Some(Reading { past, .. }) = reading else {
            return Err(Error::Failed(format!("`{}` is no journal: it has no whole line", path.display())));
        };
        Ok(Past { whole, lines, torn, ..past })
    }

    /// The input that the run was begun with, its lists too. Secrets are not in it.
    pub fn input(&self) -> Result<Input> {
        let mut input = Input { value: self.header.input.clone(), ..Input::default() };
        input.value.values().try_for_each(|value| self.is_data(value))?;
        each_line(&self.path, |_, line| {
            let Line::Todo { field, spooled, elements } = line else { return Ok(()) };
            elements.iter().try_for_each(|element| self.is_data(element))?;
            if spooled {
                let spool = input.spools.entry(field.clone()).or_insert_with(|| Spool::new(field));
                return elements.iter().try_for_each(|element| spool.push(element));
            }
            let list = input.value.entry(field).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.extend(elements);
            }
            Ok(())
        })?;
        Ok(input)
    }

    /// Refuses what was typed as the value of a flag. It may be the name of a file that is not there any more, or is another from here, and would be taken
    /// for text; or standard input, of which nothing is left.
    fn is_data(&self, value: &Value) -> Result<()> {
        if !was_typed(value) {
            return Ok(());
        }
        let why = format!(
            "the run {} was given files, text or standard input by flags, which are not read again: run what is left of it anew",
            self.header.id
        );
        Err(Error::Refused(why))
    }

    /// Items by what became of them: as the run itself counted them, or as far as is known.
    pub fn counts(&self) -> BTreeMap<Status, u64> {
        if let Some(end) = self.end.as_ref().filter(|_| !self.resumed) {
            return end.counts.clone();
        }
        let mut counts = BTreeMap::new();
        for result in self.items.iter().filter_map(|item| item.result.as_ref()) {
            *counts.entry(result.status).or_default() += 1;
        }
        counts
    }

    /// Refuses a run that another process cannot bring to its end as it was begun.
    pub fn check_resumable(&self) -> Result<()> {
        let id = &self.header.id;
        if let Some(original) = &self.header.undoes {
            return Err(Error::field("run", format!("the run {id} is an undo: `aaws undo {original}` goes on with it")));
        }
        if self.header.plan.is_some() {
            let why = format!("the run {id} applied a plan: make another plan of what is left, and apply that");
            return Err(Error::Refused(why));
        }
        if !self.has_input {
            let path = self.path.display();
            return Err(Error::Failed(format!("the journal `{path}` does not have the whole input: run the action again")));
        }
        if self.target.is_none() {
            return Err(Error::Refused(format!("the run {id} was killed before it sent anything: run the action again")));
        }
        Ok(())
    }

    /// Whether nothing of it is left to be done.
    pub fn is_complete(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.complete)
    }
}

/// A journal as far as it is read.
struct Reading {
    past: Past,
    /// The places of items, by their identities.
    items: HashMap<String, usize>,
    /// Those of the items of intents, by the numbers of these, until one line settles them all.
    intents: HashMap<IntentId, Vec<usize>>,
    /// Those of steps, by their numbers.
    steps: HashMap<StepId, (usize, usize)>,
}

impl Reading {
    fn new(path: &Path, header: Header) -> Self {
        let past = Past {
            path: path.to_owned(),
            header,
            has_input: false,
            target: None,
            endpoint: None,
            items: Vec::new(),
            undone: None,
            end: None,
            resumed: false,
            torn: false,
            whole: 0,
            lines: 0,
        };
        Reading { past, items: HashMap::new(), intents: HashMap::new(), steps: HashMap::new() }
    }

    fn item(&mut self, item: String) -> (usize, &mut PastItem) {
        let items = &mut self.past.items;
        let at = *self.items.entry(item.clone()).or_insert_with(|| {
            items.push(PastItem { item, result: None, steps: Vec::new() });
            items.len() - 1
        });
        // It was put there, now or before.
        (at, &mut items[at])
    }

    fn take(&mut self, seq: u64, line: Line) {
        match line {
            // What is read into an input is not kept here.
            Line::Run(_) | Line::Todo { .. } => {}
            Line::Ready => self.past.has_input = true,
            Line::Target { target, endpoint } => (self.past.target, self.past.endpoint) = (Some(target), endpoint),
            Line::Resumed { .. } => (self.past.end, self.past.resumed) = (None, true),
            // It is begun again: what came of it before is not what comes of it now.
            Line::Intent { items, .. } => {
                let begin = |item: String| {
                    let (at, item) = self.item(item);
                    item.result = None;
                    at
                };
                let places = items.into_iter().map(begin).collect();
                self.intents.insert(seq, places);
            }
            Line::Step { item, says, step, unwinds } => {
                let (at, item) = self.item(item);
                item.steps.push(PastStep { id: seq, says, step, unwinds, fate: None });
                let place = (at, item.steps.len() - 1);
                self.steps.insert(seq, place);
            }
            Line::Gone { steps, fate } => {
                for (item, step) in steps.iter().filter_map(|id| self.steps.get(id)) {
                    if let Some(step) = self.past.items.get_mut(*item).and_then(|item| item.steps.get_mut(*step)) {
                        step.fate = Some(fate);
                    }
                }
            }
            Line::Results { results } => {
                for result in results {
                    let (_, item) = self.item(result.item.clone());
                    item.result = Some(result);
                }
            }
            Line::Alike { intent, became } => {
                for at in self.intents.remove(&intent).unwrap_or_default() {
                    if let Some(item) = self.past.items.get_mut(at) {
                        item.result = Some(became.clone().of(item.item.clone()));
                    }
                }
            }
            Line::Undone { by } => self.past.undone = Some(by),
            Line::End { counts, error, complete, .. } => self.past.end = Some(Ended { counts, error, complete }),
        }
    }
}

/// Reads line by line. Gives how many bytes the whole lines have, how many they are, and whether something follows them that is none.
fn each_line(path: &Path, mut take: impl FnMut(u64, Line) -> Result<()>) -> Result<(u64, u64, bool)> {
    let failed = |e: io::Error| Error::io(format!("read the journal `{}`", path.display()), e);
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let (mut whole, mut seq) = (0, 0);
    loop {
        let mut bytes = Vec::new();
        let length = reader.read_until(b'\n', &mut bytes).map_err(failed)? as u64;
        if bytes.pop_if(|last| *last == b'\n').is_none() {
            // The line feed is what a line is written with at last.
            return Ok((whole, seq, length > 0));
        }
        let text = String::from_utf8(bytes).map_err(|_| flawed(path, seq, ALTERED))?;
        if seq == 0 {
            check_format(path, &text)?;
        }
        let line = decode(&text, seq).map_err(|flaw| match flaw {
            Flaw::Altered => flawed(path, seq, ALTERED),
            Flaw::Unknown(what) => flawed(path, seq, &format!("is none that this program knows ({what})")),
        })?;
        take(seq, line)?;
        whole += length;
        seq += 1;
    }
}

const ALTERED: &str = "is not as it was written: the file was altered";

fn flawed(path: &Path, seq: u64, what: &str) -> Error {
    Error::Failed(format!("line {} of the journal `{}` {what}", seq + 1, path.display()))
}

/// Refuses what a newer program wrote, in whatever form its lines are.
fn check_format(path: &Path, text: &str) -> Result<()> {
    let head: Value = serde_json::from_str(text).unwrap_or_default();
    match head.get("format").and_then(Value::as_u64) {
        Some(format) if format > u64::from(FORMAT) => Err(Error::Failed(format!(
            "the journal `{}` has the format {format}, and this program reads up to {FORMAT}: it was written by a newer one",
            path.display()
        ))),
        Some(_) => Ok(()),
        None => Err(Error::Failed(format!("`{}` is no journal: its first line is none that one begins with", path.display()))),
    }
}
