//! What is done about an earlier run, by what its journal says: undone, or brought to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::future::ready;
use futures::stream::{self, StreamExt};
use jiff::Timestamp;

use crate::aws::endpoint;
use crate::engine::action::Reply;
use crate::engine::change::Change;
use crate::engine::context::Context;
use crate::engine::entry::{Entry, Ready};
use crate::engine::host::Consent;
use crate::engine::journal::{Fate, Journal, JournalResult, Past, PastItem, PastStep, StepId, Writer};
use crate::engine::reversal::{Reversal, StepTraits};
use crate::model::code::Code;
use crate::model::error::{Error, Result};
use crate::model::meta::Meta;
use crate::model::outcome::{Failure, Outcome, Skip, Status};

/// The most items that are undone one after another, where their order matters.
const IN_ORDER: usize = 10_000;

/// What is said of an item that was begun and never heard of again.
const UNKNOWN: &str = "what became of it is not known, and nothing is noted that would undo it: look at it";

/// How many items that cannot be undone are named beforehand.
const NAMED: usize = 20;

/// An earlier run, and what is done about it.
pub enum Again {
    /// Its steps are undone, from the last to the first.
    Undo {
        /// The run.
        past: Past,
        /// Its journal, to note there what is undone; none in a dry run.
        original: Option<Arc<Writer>>,
        /// The id of the run that undoes it.
        by: String,
    },
    /// What is left of it is done.
    Resume(Past),
}

impl Again {
    fn past(&self) -> &Past {
        match self {
            Again::Undo { past, .. } | Again::Resume(past) => past,
        }
    }

    /// What the action is then.
    pub(crate) fn meta(&self, entry: &Entry) -> &'static Meta {
        match self {
            Again::Undo { .. } => entry.undoing,
            Again::Resume(_) => entry.meta,
        }
    }

    /// Whether the input of the action is needed.
    pub(crate) fn needs_input(&self) -> bool {
        matches!(self, Again::Resume(_))
    }

    /// The clock by which dates and ages of the input are read: those of a run that is finished are what they were when it was begun.
    pub(crate) fn clock(&self, now: Timestamp) -> Timestamp {
        match self {
            Again::Undo { .. } => now,
            Again::Resume(past) => past.header.time,
        }
    }

    /// Does it, where the earlier run was, and nowhere else.
    pub(crate) async fn run(self, entry: &'static Entry, cx: Context, ready: Option<Ready>) -> Result<Reply> {
        if let Again::Resume(past) = &self {
            past.check_resumable()?;
        }
        is_there(self.past(), &cx).await?;
        match self {
            Again::Undo { past, original, by } => undo(entry, &cx, past, original, by).await,
            Again::Resume(past) => {
                unwind(entry, &cx, &past).await?;
                match ready {
                    Some(ready) => ready.run(cx).await,
                    None => Err(Error::Failed("the input of the run is missing".into())),
                }
            }
        }
    }
}

/// Refuses to go on in another account or region than the earlier run was in, or where requests go elsewhere.
async fn is_there(past: &Past, cx: &Context) -> Result<()> {
    let Some(target) = &past.target else { return Ok(()) };
    let (id, here) = (&past.header.id, cx.destination());
    if let Some(there) = past.endpoint.as_deref().filter(|there| !endpoint::is_same(there, &here, target.account.is_some())) {
        let (there, here) = (endpoint::in_words(there), endpoint::in_words(&here));
        return Err(Error::Refused(format!("the run {id} was on {there}, and this would be on {here}")));
    }
    let account = cx.account().await;
    let told = |account: Option<&str>| account.map_or_else(|| "an account that is not known".to_owned(), |id| format!("the account {id}"));
    if account != target.account.as_ref() {
        let (there, here) = (told(target.account.as_ref().map(|a| a.as_str())), told(account.map(|a| a.as_str())));
        return Err(Error::Refused(format!("the run {id} was in {there}, and these credentials are of {here}")));
    }
    match (&target.region, cx.region()) {
        (Some(there), here) if there.as_str() != here => {
            Err(Error::Refused(format!("the run {id} was in {there}, and this would be in {here}")))
        }
        _ => Ok(()),
    }
}

/// An item that was left half way, and its steps from the last to the first.
type Half<'a> = (&'a PastItem, Vec<PastStep>);

/// Undoes the steps of items that were left half way: then they are begun again.
async fn unwind(entry: &Entry, cx: &Context, past: &Past) -> Result<()> {
    let left = past.items.iter().filter(|item| !item.result.as_ref().is_some_and(JournalResult::is_as_asked));
    let halves = left.map(|item| (item, item.to_undo().into_iter().filter(|step| step.unwinds).collect::<Vec<_>>()));
    let halves: Vec<Half<'_>> = halves.filter(|(_, steps)| !steps.is_empty()).collect();
    if cx.dry_run() {
        for (item, steps) in &halves {
            for step in steps {
                tracing::info!("`{}` was left half way: this would be undone first: {}", item.item, step.says);
            }
        }
        return Ok(());
    }
    may_unwind(cx, past, &halves).await?;
    for (item, steps) in halves {
        for (undone, step) in steps.into_iter().enumerate() {
            match entry.undo(cx, step.step).await {
                Ok(()) => {
                    tracing::info!("`{}` was left half way: undone: {}", item.item, step.says);
                    cx.retract(&[step.id], Fate::Undone);
                }
                Err(e) if e.is_fatal() => return Err(e),
                // Its last step is done, and cannot be taken back: the action sees what is left to be done.
                Err(e) if undone == 0 => {
                    tracing::warn!("`{}` goes on from where it was left: {e}", item.item);
                    break;
                }
                Err(e) => {
                    let what = format!("`{}` was left half way, and could not be undone: {}: {e}", item.item, step.says);
                    return Err(Error::Failed(what));
                }
            }
        }
    }
    Ok(())
}

/// Whether what was left half way may be undone: as many items as the guards let be changed, and once somebody agreed where somebody is to be asked.
async fn may_unwind(cx: &Context, past: &Past, halves: &[Half<'_>]) -> Result<()> {
    let count = halves.len() as u64;
    if count == 0 {
        return Ok(());
    }
    if let Some(most) = cx.guards().max_items.filter(|most| count > *most) {
        let why = format!("{count} items were left half way and would be undone first, and `max_items` allows {most}: nothing was changed");
        return Err(Error::Refused(why));
    }
    let summary = format!("undo what the run {} left half way, and begin it again", past.header.id);
    if let Consent::Impossible(why) = cx.host().consent() {
        return Err(Error::Refused(format!("{why}: --yes agrees to {summary}")));
    }
    if !cx.can_ask() {
        return Ok(());
    }
    let told = |(item, steps): &Half<'_>| {
        let says: Vec<&str> = steps.iter().map(|step| step.says.as_str()).collect();
        format!("{}: {}", item.item, says.join("; "))
    };
    cx.confirm(summary, halves.iter().map(told).collect()).await
}

/// An item of the earlier run, and what of it is undone.
struct Undone {
    item: String,
    /// From the last to the first.
    steps: Vec<(PastStep, StepTraits)>,
    /// Those that are as they were before already.
    so_already: Vec<StepId>,
    /// What becomes of it without anything being sent.
    found: Option<Outcome>,
}

impl Undone {
    fn of(reversal: &Reversal, item: &PastItem) -> Result<Self> {
        let tell = |step: PastStep| reversal.tell(step.step.clone()).map(|told| (step, told));
        let steps = item.to_undo().into_iter().map(tell).collect::<Result<_>>()?;
        Ok(Undone { item: item.item.clone(), steps, so_already: Vec::new(), found: None })
    }

    /// Leaves it alone when one of its steps is not as it was left.
    async fn look(mut self, cx: &Context, reversal: &Reversal) -> Result<Self> {
        let (mut left, mut why) = (Vec::new(), None);
        for (step, told) in std::mem::take(&mut self.steps) {
            match reversal.look(cx, step.step.clone()).await {
                Ok(None) => left.push((step, told)),
                Ok(Some(Outcome::Unchanged(so))) => {
                    self.so_already.push(step.id);
                    why.get_or_insert(so);
                }
                Ok(found) => self.found = self.found.or(found),
                Err(e) if e.is_fatal() => return Err(e),
                Err(e) => self.found = self.found.or_else(|| Some(unchecked(&e))),
            }
        }
        if left.is_empty() && self.found.is_none() {
            self.found = Some(Outcome::Unchanged(why.unwrap_or_else(|| "it is as it was before".to_owned())));
        }
        self.steps = left;
        Ok(self)
    }
}

/// What cannot be looked at is left alone.
fn unchecked(error: &Error) -> Outcome {
    let failure = Failure::from(error);
    let message = format!("it could not be looked at, and is left as it is: {}: {}", failure.code, failure.message);
    Outcome::Failed(Failure::permanent(Code::Unchecked, message))
}

/// An item that was changed, and of which no step can be undone; none of one that was not, or was undone before.
fn irreversible(item: &PastItem) -> Option<Undone> {
    let undone = item.steps.iter().any(|step| step.fate == Some(Fate::Undone));
    if !item.was_done() || undone || !item.to_undo().is_empty() {
        return None;
    }
    let found = Some(match &item.result {
        Some(_) => Outcome::skipped_as(Code::Irreversible, "it cannot be undone"),
        None => Outcome::skipped_as(Code::Unknown, UNKNOWN),
    });
    Some(Undone { item: item.item.clone(), steps: Vec::new(), so_already: Vec::new(), found })
}

async fn undo(entry: &'static Entry, cx: &Context, past: Past, original: Option<Arc<Writer>>, by: String) -> Result<Reply> {
    let id = past.header.id.clone();
    tracing::info!("undoing the run {id} of {}: {}", past.header.time, past.header.command);
    let lost: Vec<Undone> = past.items.iter().rev().filter_map(irreversible).collect();
    let undoable: Vec<&PastItem> = past.items.iter().rev().filter(|item| !item.to_undo().is_empty()).collect();
    if undoable.is_empty() {
        if lost.is_empty() {
            tracing::info!("of the run {id} nothing is left to be undone");
            // The next `aaws undo` goes on to the run before it.
            if let Some(original) = original.filter(|_| past.undone.is_none()) {
                original.undone(&by)?;
            }
            return Ok(Reply::Items(stream::empty().boxed()));
        }
        let is_unknown = |undone: &&Undone| matches!(&undone.found, Some(Outcome::Skipped(skip)) if skip.code == Some(Code::Unknown));
        let unknown = lost.iter().filter(is_unknown).count();
        let look = match unknown {
            0 => String::new(),
            many => format!("; what became of {many} of its items is not known, because it was killed: look at them (`aaws log {id}`)"),
        };
        return Err(Error::Refused(format!(
            "nothing of the run {id} can be undone: `{}` noted no step that has a way back{look}",
            entry.meta.path
        )));
    }
    if !lost.is_empty() {
        let named: Vec<&str> = lost.iter().take(NAMED).map(|undone| undone.item.as_str()).collect();
        let more = if lost.len() > NAMED { ", …" } else { "" };
        tracing::warn!("{} of the items of the run {id} cannot be undone: {}{more}", lost.len(), named.join(", "));
    }
    let reversal = *entry.reversal()?;
    let undoable = undoable.into_iter().map(|item| Undone::of(&reversal, item)).collect::<Result<Vec<_>>>()?;
    let says = |tells: fn(&StepTraits) -> bool| undoable.iter().flat_map(|undone| &undone.steps).any(|(_, told)| tells(told));
    let undoing = Undoing {
        reversal,
        original: original.clone(),
        summary: format!("undo what the run {id} did ({})", entry.meta.path),
        disrupts: says(|told| told.disrupts),
        in_order: says(|told| told.is_last),
    };
    let looking = cx.clone();
    let items = stream::iter(lost.into_iter().chain(undoable))
        .map(move |undone| {
            let cx = looking.clone();
            async move { if undone.found.is_some() { Ok(undone) } else { undone.look(&cx, &reversal).await } }
        })
        .buffered(cx.concurrency());
    let results = cx.change(items, undoing).await?.results();
    let whole = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&whole);
    let rows = results.map(move |result| {
        let whole = result.as_ref().is_ok_and(|result| {
            let record = &result.record;
            // What cannot be undone never will be; all else that is left may be undone later.
            match record.status {
                Status::Done | Status::Unchanged | Status::Planned => true,
                Status::Skipped => record.is(Code::Irreversible) || record.is(Code::Unknown),
                Status::Failed => false,
            }
        });
        seen.fetch_and(whole, Ordering::Relaxed);
        result.map(|result| result.record.to_value())
    });
    // A run that is ended early does not name all that it leaves.
    let cancellation = cx.cancellation().clone();
    let end = stream::once(async move {
        if let Some(original) = original.filter(|_| whole.load(Ordering::Relaxed) && !cancellation.is_cancelled())
            && let Err(e) = original.undone(&by)
        {
            tracing::error!("{e}");
        }
    });
    Ok(Reply::Items(rows.chain(end.filter_map(|()| ready(None))).boxed()))
}

/// Undoes items, each from its last step to its first.
struct Undoing {
    reversal: Reversal,
    original: Option<Arc<Writer>>,
    summary: String,
    disrupts: bool,
    in_order: bool,
}

#[async_trait]
impl Change for Undoing {
    type Item = Undone;
    type Done = ();

    fn id(&self, undone: &Undone) -> String {
        undone.item.clone()
    }

    fn summary(&self) -> String {
        self.summary.clone()
    }

    fn plan(&self, undone: &Undone) -> Option<String> {
        let says: Vec<&str> = undone.steps.iter().map(|(step, _)| step.says.as_str()).collect();
        Some(format!("this would be undone: {}", says.join("; ")))
    }

    fn precheck(&self, undone: &Undone) -> Option<Outcome> {
        undone.found.clone()
    }

    fn disrupts(&self) -> bool {
        self.disrupts
    }

    fn batch(&self) -> usize {
        if self.in_order { IN_ORDER } else { 1 }
    }

    async fn apply(&self, cx: &Context, items: &[Undone]) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(items.len());
        for undone in items {
            outcomes.push(match cx.cancellation().is_cancelled() {
                true => Outcome::skipped_as(Code::NotStarted, "not started: the run was stopped"),
                false => self.undo(cx, undone).await?,
            });
        }
        Ok(outcomes)
    }
}

impl Undoing {
    async fn undo(&self, cx: &Context, undone: &Undone) -> Result<Outcome> {
        self.note_undone(&undone.so_already);
        let mut told = Vec::new();
        for (step, of) in &undone.steps {
            if let Some((inverse, says)) = &of.inverse {
                cx.note_data(&undone.item, says.clone(), inverse.clone()).await?;
            }
            let outcome = self.reversal.revert(cx, step.step.clone()).await.unwrap_or_else(|e| Outcome::Failed(Failure::from(&e)));
            match outcome {
                Outcome::Done((), note) => told.push(note.unwrap_or_else(|| format!("undone: {}", step.says))),
                Outcome::Unchanged(_) => {}
                Outcome::Skipped(Skip { code, why }) => {
                    told.push(why);
                    return Ok(Outcome::Skipped(Skip { code, why: told.join("; ") }));
                }
                Outcome::Failed(failure) => return Ok(Outcome::Failed(failure.after(told))),
            }
            self.note_undone(&[step.id]);
        }
        Ok(Outcome::Done((), Some(told.join("; "))))
    }

    /// Notes in the journal of the earlier run that steps are undone. Where that fails, they are found undone when they are looked at.
    fn note_undone(&self, steps: &[StepId]) {
        if let Some(original) = &self.original
            && let Err(e) = original.retract(steps, Fate::Undone)
        {
            tracing::error!("{e}");
        }
    }
}
