//! What the journal of a run is told of items: what is about to be sent, what came of it, and the steps between, which can be undone.

use std::sync::Arc;

use futures::future::ready;
use futures::stream::{BoxStream, StreamExt};
use serde_json::Value;

use super::{Change, Step};
use crate::engine::context::Context;
use crate::engine::journal::{Became, Fate, IntentId, Journal, JournalResult, StepId, StepNote};
use crate::model::code::Code;
use crate::model::error::{Error, Result};
use crate::model::meta::Effect;
use crate::model::outcome::{Failure, Outcome, Status};

/// A step that was noted: see [`Context::note`].
#[derive(Debug)]
pub struct Noted(Vec<StepId>);

impl Context {
    /// The run's journal, once it is noted where the run goes on.
    pub(crate) async fn journal(&self) -> Result<Option<&dyn Journal>> {
        let Some(journal) = self.run().journal.as_deref() else { return Ok(None) };
        if !journal.is_placed() {
            // Undoing has to be in the same account.
            self.account().await;
            journal.place(&self.target(), &self.destination())?;
        }
        Ok(Some(journal))
    }

    /// Whether the run keeps a journal, so that it is worth finding out what undoing it would take.
    pub fn keeps_journal(&self) -> bool {
        self.run().journal.is_some()
    }

    /// Notes a step before it is taken: what it changes can then be undone by another process. It is durable when this returns, if the run keeps a
    /// journal. (What [`super::Undo`] notes is noted so, too.) [`Context::forget`] takes the note back.
    pub async fn note<S: Step>(&self, item: &str, step: &S) -> Result<Noted> {
        self.write_down(&[(item, step)], false).await.map(Noted)
    }

    /// The step was refused, and never carried out: it is not to be undone, whatever becomes of the item later.
    pub fn forget(&self, noted: Noted) {
        self.retract(&noted.0, Fate::Dropped);
    }

    /// The same of the steps of several items, all of which are sent in one request; or of what one answer says that it made of them. Each is noted by
    /// itself, in their order; a run that keeps no journal notes none.
    pub async fn note_all<S: Step>(&self, steps: &[(&str, &S)]) -> Result<Vec<Noted>> {
        let noted = self.write_down(steps, false).await?;
        Ok(noted.into_iter().map(|step| Noted(vec![step])).collect())
    }

    /// Notes what was made of an item as soon as its id is known: an item that is left half way loses it again before it is begun anew.
    pub async fn note_made<S: Step>(&self, item: &str, step: &S) -> Result<()> {
        self.write_down(&[(item, step)], true).await.map(drop)
    }

    /// Notes steps, and gives the number of each; none without a journal.
    pub(super) async fn write_down<S: Step>(&self, steps: &[(&str, &S)], unwinds: bool) -> Result<Vec<StepId>> {
        let Some(journal) = self.journal().await? else { return Ok(Vec::new()) };
        let note = |(item, step): &(&str, &S)| -> Result<StepNote> {
            let data = serde_json::to_value(step).map_err(|e| Error::Failed(format!("a step cannot be written down: {e}")))?;
            Ok(StepNote { action: self.meta().path.into(), item: (*item).to_owned(), says: step.to_string(), step: data, unwinds })
        };
        journal.note(steps.iter().map(note).collect::<Result<_>>()?).await
    }

    /// Notes a step that is known as data only.
    pub(crate) async fn note_data(&self, item: &str, says: String, step: Value) -> Result<()> {
        let Some(journal) = self.journal().await? else { return Ok(()) };
        let note = StepNote { action: self.meta().path.into(), item: item.to_owned(), says, step, unwinds: false };
        journal.note(vec![note]).await.map(drop)
    }

    /// Notes that steps are not to be undone any more. When that cannot be written, undoing finds them as they are.
    pub(crate) fn retract(&self, steps: &[StepId], fate: Fate) {
        let Some(journal) = &self.run().journal else { return };
        if let Err(e) = journal.retract(steps, fate) {
            tracing::error!("{e}");
        }
    }

    /// Whether an item was brought to its end by the process that this run goes on from.
    pub(super) fn was_settled(&self, item: &str) -> bool {
        self.run().journal.as_ref().is_some_and(|journal| journal.was_settled(item))
    }
}

/// Of a run that goes on from another process, the items that are left; otherwise all.
pub(super) fn rest<C: Change>(
    cx: &Context,
    items: BoxStream<'static, Result<C::Item>>,
    change: &Arc<C>,
) -> BoxStream<'static, Result<C::Item>> {
    let Some(journal) = cx.run().journal.clone().filter(|journal| journal.resumes()) else { return items };
    let change = Arc::clone(change);
    let is_left = move |item: &Result<C::Item>| match item {
        Ok(item) => !journal.was_settled(&change.id(item)),
        Err(_) => true,
    };
    items.filter(move |item| ready(is_left(item))).boxed()
}

/// What becomes of an item that the process before this one had begun, and of which nobody heard more; `now` is what selection says of it.
pub(super) fn begun_before<C: Change>(cx: &Context, change: &C, item: &C::Item, now: Option<Outcome<C::Done>>) -> Option<Outcome<C::Done>> {
    let Some(journal) = cx.run().journal.as_deref().filter(|journal| journal.resumes()) else { return now };
    let id = change.id(item);
    if !journal.was_begun(&id) {
        return now;
    }
    match (cx.meta().effect, now) {
        // Made twice it would be there twice. What noted steps was undone by them before.
        (Effect::Create, None) if !journal.unwinds_first(&id) => {
            let why = "it was being made when the run was killed: look whether it is there before it is made again";
            Some(Outcome::Failed(Failure::permanent(Code::Unknown, why)))
        }
        (Effect::Delete, Some(Outcome::Failed(failure))) if is_missing(&failure) => Some(gone()),
        (_, now) => now,
    }
}

fn is_missing(failure: &Failure) -> bool {
    failure.code == Code::NotFound.as_str()
}

fn gone<D>() -> Outcome<D> {
    Outcome::Unchanged("it is gone: the run that was killed was deleting it".into())
}

/// What was begun before, and is found to be as it was asked for, is known to be so from here on.
pub(super) fn found<D>(cx: &Context, item: String, outcome: &Outcome<D>) {
    let Some(journal) = cx.run().journal.as_deref().filter(|journal| journal.was_begun(&item)) else { return };
    let result = result_of(journal, item, outcome);
    if !result.is_as_asked() {
        return;
    }
    if let Err(e) = journal.record_results(vec![result]) {
        tracing::error!("{e}");
    }
}

/// The result of an item. One that was begun before, and is so already, counts as done by the run: undoing must not take it for what was so all along.
fn result_of<D>(journal: &dyn Journal, item: String, outcome: &Outcome<D>) -> JournalResult {
    let begun_before = journal.was_begun(&item);
    let result = JournalResult::of(item, outcome);
    match result.status {
        Status::Unchanged if begun_before => JournalResult { status: Status::Done, ..result },
        _ => result,
    }
}

/// Applies a batch, noting before that it is about to be sent, and behind what came of it. What cannot be noted is not sent.
pub(super) async fn apply<C: Change>(cx: &Context, change: &C, items: &[C::Item]) -> Result<Vec<Outcome<C::Done>>> {
    let Some(journal) = cx.journal().await? else { return change.apply(cx, items).await };
    let intent = journal.intend(items.iter().map(|item| change.id(item)).collect()).await?;
    let mut outcomes = change.apply(cx, items).await;
    if cx.meta().effect == Effect::Delete
        && let Ok(outcomes) = &mut outcomes
    {
        take_missing_for_gone(journal, change, items, outcomes);
    }
    if let Err(e) = note_outcomes(journal, change, intent, items, &outcomes) {
        // It is done all the same; nothing is sent behind it, because that could not be noted either.
        tracing::error!("{e}");
    }
    outcomes
}

/// What the process before this one was deleting, and is not there, was deleted by that.
fn take_missing_for_gone<C: Change>(journal: &dyn Journal, change: &C, items: &[C::Item], outcomes: &mut [Outcome<C::Done>]) {
    for (item, outcome) in items.iter().zip(outcomes) {
        let is_missing = matches!(&*outcome, Outcome::Failed(failure) if is_missing(failure));
        if is_missing && journal.was_begun(&change.id(item)) {
            *outcome = gone();
        }
    }
}

/// Writes down what came of a request: in one line without names, where it is the same for all of several items, or else of each.
fn note_outcomes<C: Change>(
    journal: &dyn Journal,
    change: &C,
    intent: IntentId,
    items: &[C::Item],
    outcomes: &Result<Vec<Outcome<C::Done>>>,
) -> Result<()> {
    if items.len() > 1
        && journal.settles_alike()
        && let Some(became) = alike(outcomes, items.len())
    {
        return journal.settle_alike(intent, became);
    }
    match outcomes {
        Ok(outcomes) => {
            journal.record_results(items.iter().zip(outcomes).map(|(item, outcome)| result_of(journal, change.id(item), outcome)).collect())
        }
        Err(e) => {
            let failed: Outcome = Outcome::Failed(Failure::from(e));
            journal.record_results(items.iter().map(|item| JournalResult::of(change.id(item), &failed)).collect())
        }
    }
}

/// What became of each item of a request, where that is the same for all: they were done, or the request failed as a whole. Found without making anything
/// for each of them.
fn alike<D>(outcomes: &Result<Vec<Outcome<D>>>, items: usize) -> Option<Became> {
    match outcomes {
        Ok(outcomes) => {
            let all_done = outcomes.len() == items && outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done(_, None)));
            all_done.then_some(Became { status: Status::Done, code: None, message: None })
        }
        Err(e) => Some(Became::from_outcome(&Outcome::<()>::Failed(Failure::from(e)))),
    }
}
