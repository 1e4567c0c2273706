//! Items that are changed in several steps, and put back when a later step fails.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Change, Changed, Dependency};
use crate::engine::context::Context;
use crate::engine::journal::{Fate, StepId};
use crate::model::code::Code;
use crate::model::error::{Error, Result, is_throttling};
use crate::model::outcome::{Failure, Outcome};

/// One thing that is done and can be undone: data that another process can read, named in words by its `Display` ("detach vol-1 from i-1").
#[async_trait]
pub trait Step: Serialize + DeserializeOwned + fmt::Display + Send + Sync + 'static {
    /// Undoes it, with nothing but the step and a context. It has to bear that the step was never carried out, or was undone already.
    async fn undo(&self, cx: &Context) -> Result<()>;

    /// For `aaws undo`, maybe days later: looks whether all is still as this step left it, and only then gives nothing. `Unchanged` is said of what is as it
    /// was before, [`left_alone`] of what somebody changed since. Nothing is written.
    async fn look(&self, _cx: &Context) -> Result<Option<Outcome>> {
        Ok(None)
    }

    /// For `aaws undo`, after a look: undoes it though what it made may have been in use since.
    async fn revert(&self, cx: &Context) -> Result<Outcome> {
        self.undo(cx).await.map(Outcome::done)
    }

    /// Whether `aaws undo` takes something away by it, or interrupts something, so that somebody has to agree.
    fn undoing_disrupts(&self) -> bool {
        false
    }

    /// Whether what was done behind it has to be undone before it, in other items too.
    fn is_undone_last(&self) -> bool {
        false
    }

    /// The step that undoing it is, where that can be undone itself.
    fn inverse(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

/// What `aaws undo` leaves alone, because somebody changed it since: how it is now.
pub fn left_alone<D>(why: impl Into<String>) -> Outcome<D> {
    Outcome::skipped_as(Code::Changed, why)
}

/// How an action changes one item in several steps.
#[async_trait]
pub trait Steps: Send + Sync + 'static {
    /// One thing that is changed.
    type Item: Send + Sync + 'static;
    /// What comes of one that was changed.
    type Done: Send + 'static;
    /// What is done of it, one after another.
    type Step: Step;

    /// The item's identity in reports and outputs.
    fn id(&self, item: &Self::Item) -> String;

    /// See [`Change::name`].
    fn name(&self, _item: &Self::Item) -> Option<String> {
        None
    }

    /// See [`Change::kind`].
    fn kind(&self, _item: &Self::Item) -> Option<&'static str> {
        None
    }

    /// What will happen, for the person asked.
    fn summary(&self) -> String;

    /// What a dry run says of an item beyond its name, and what of it cannot be undone.
    fn plan(&self, _item: &Self::Item) -> Option<String> {
        None
    }

    /// What became of an item that needs no work; see [`Change::precheck`].
    fn precheck(&self, _item: &Self::Item) -> Option<Outcome<Self::Done>> {
        None
    }

    /// What has to be gone before; see [`Change::after`].
    fn after(&self, _item: &Self::Item) -> Vec<Dependency> {
        Vec::new()
    }

    /// See [`Change::is_ordered`].
    fn is_ordered(&self) -> bool {
        false
    }

    /// See [`Change::disrupts`].
    fn disrupts(&self) -> bool {
        true
    }

    /// See [`Change::tags`].
    fn tags(&self, _item: &Self::Item) -> Option<Vec<(String, String)>> {
        None
    }

    /// See [`Change::passed_over`].
    fn passed_over(&self) -> u64 {
        0
    }

    /// See [`Change::state`].
    fn state(&self, _item: &Self::Item) -> Option<serde_json::Value> {
        None
    }

    /// See [`Change::wants_all`].
    fn wants_all(&self) -> bool {
        false
    }

    /// Does all the steps, and notes each that has to be undone when a later one fails, before it is sent.
    async fn run(&self, cx: &Context, item: &Self::Item, undo: &mut Undo<Self::Step>) -> Result<Outcome<Self::Done>>;
}

/// The steps done so far, to be undone from the last to the first.
pub struct Undo<S> {
    cx: Context,
    item: String,
    /// Each with the number by which the journal knows it.
    steps: Vec<(StepId, S)>,
}

impl<S: Step> Undo<S> {
    /// Of an item of which nothing is done yet.
    pub fn new(cx: &Context, item: impl Into<String>) -> Self {
        Undo { cx: cx.clone(), item: item.into(), steps: Vec::new() }
    }

    /// Notes a step. Note it before it is sent: its answer may be lost, and this process may end. It is durable when this returns, if the run keeps a
    /// journal.
    pub async fn note(&mut self, step: S) -> Result<()> {
        let id = self.cx.write_down(&[(self.item.as_str(), &step)], true).await?.first().copied().unwrap_or_default();
        self.steps.push((id, step));
        Ok(())
    }

    /// Notes a step that says more of the last one, which it replaces.
    pub async fn replace_last(&mut self, step: S) -> Result<()> {
        let last = self.steps.len().checked_sub(1);
        self.note(step).await?;
        if let Some(last) = last {
            let (id, _) = self.steps.remove(last);
            self.cx.retract(&[id], Fate::Dropped);
        }
        Ok(())
    }

    /// Nothing is to be undone any more: there is no way back from here.
    pub fn clear(&mut self) {
        let ids: Vec<StepId> = self.steps.drain(..).map(|(id, _)| id).collect();
        self.cx.retract(&ids, Fate::Final);
    }

    /// The last step noted is not to be undone any more: it was never carried out.
    pub fn forget_last(&mut self) {
        if let Some((id, _)) = self.steps.pop() {
            self.cx.retract(&[id], Fate::Dropped);
        }
    }

    /// Undoes all steps, whatever becomes of each, even in a run that was cancelled.
    pub async fn unwind(self) -> Unwound {
        let cx = self.cx.settling();
        let (mut told, mut fatal, mut whole) = (Vec::new(), None, true);
        for (id, step) in self.steps.into_iter().rev() {
            match step.undo(&cx).await {
                Ok(()) => {
                    cx.retract(&[id], Fate::Undone);
                    told.push(format!("undone: {step}"));
                }
                Err(e) => {
                    whole = false;
                    tracing::error!("could not undo: {step}: {e}");
                    told.push(format!("could not undo: {step} ({e})"));
                    fatal = fatal.or_else(|| e.to_fatal().map(Arc::new));
                }
            }
        }
        Unwound { told: told.join("; "), fatal, whole }
    }
}

/// What undoing came to.
pub struct Unwound {
    /// What was and what could not be undone, in words; empty when there was nothing to undo.
    pub told: String,
    /// The error that the run has to end with, if there was one.
    pub fatal: Option<Arc<Error>>,
    /// Whether all is as it was before.
    pub whole: bool,
}

/// Makes [`Steps`] a [`Change`] of one item a batch.
struct Stepwise<S>(S);

#[async_trait]
impl<S: Steps> Change for Stepwise<S> {
    type Item = S::Item;
    type Done = S::Done;

    as_inner!();

    async fn apply(&self, cx: &Context, items: &[S::Item]) -> Result<Vec<Outcome<S::Done>>> {
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            let mut undo = Undo::new(cx, self.0.id(item));
            let outcome = self.0.run(cx, item, &mut undo).await;
            let failure = match outcome {
                Ok(Outcome::Failed(failure)) => failure,
                Ok(outcome) => {
                    outcomes.push(outcome);
                    continue;
                }
                Err(e) => Failure::from(&e),
            };
            let Unwound { told: undone, fatal, whole } = undo.unwind().await;
            let fatal = failure.fatal.clone().or(fatal);
            // It is begun again only where all is as it was before.
            let transient = failure.transient && whole;
            let code = match () {
                () if undone.is_empty() => failure.code.clone(),
                () if failure.code == Code::NotSent.as_str() => Code::Interrupted.into(),
                // Throttling alone would be begun again without end: this counts as a try.
                () if is_throttling(&failure.code) => Code::NotComplete.into(),
                () => failure.code.clone(),
            };
            outcomes.push(Outcome::Failed(Failure { fatal, transient, code, ..failure.with_note(&undone) }));
        }
        Ok(outcomes)
    }
}

impl Context {
    /// Changes items each of which takes several steps; see [`Context::change`].
    pub async fn change_in_steps<S: Steps>(
        &self,
        items: impl futures::Stream<Item = Result<S::Item>> + Send + 'static,
        steps: S,
    ) -> Result<Changed<S::Done>> {
        self.change(items, Stepwise(steps)).await
    }
}
