//! Items that are changed in several steps, and put back when a later step fails.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::{Change, Changed};
use crate::engine::context::Context;
use crate::model::error::{Error, Result};
use crate::model::outcome::{Failure, Outcome};

/// How an action changes one item in several steps.
#[async_trait]
pub trait Steps: Send + Sync + 'static {
    /// One thing that is changed.
    type Item: Send + Sync + 'static;
    /// What comes of one that was changed.
    type Done: Send + 'static;
    /// One thing that was done and can be undone: data, named in words by its `Display` ("detach vol-1 from i-1").
    type Step: Serialize + fmt::Display + Send + Sync + 'static;

    /// The item's identity in reports and outputs.
    fn id(&self, item: &Self::Item) -> String;

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

    /// Does all the steps, and notes each that has to be undone when a later one fails.
    async fn run(&self, cx: &Context, item: &Self::Item, undo: &mut Undo<Self::Step>) -> Result<Outcome<Self::Done>>;

    /// Undoes one step.
    async fn undo(&self, cx: &Context, step: &Self::Step) -> Result<()>;
}

/// The steps done so far, to be undone from the last to the first.
#[derive(Debug)]
pub struct Undo<S>(Vec<S>);

impl<S> Undo<S> {
    /// Notes a step. Note it before it is sent where an answer may get lost: undoing must bear that it was never done.
    pub fn push(&mut self, step: S) {
        self.0.push(step);
    }

    /// Nothing is to be undone any more: there is no way back from here.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The last step noted is not to be undone any more.
    pub fn forget_last(&mut self) {
        self.0.pop();
    }
}

/// Makes [`Steps`] a [`Change`] of one item a batch.
struct Stepwise<S>(S);

#[async_trait]
impl<S: Steps> Change for Stepwise<S> {
    type Item = S::Item;
    type Done = S::Done;

    fn id(&self, item: &S::Item) -> String {
        self.0.id(item)
    }

    fn summary(&self) -> String {
        self.0.summary()
    }

    fn plan(&self, item: &S::Item) -> Option<String> {
        self.0.plan(item)
    }

    fn precheck(&self, item: &S::Item) -> Option<Outcome<S::Done>> {
        self.0.precheck(item)
    }

    async fn apply(&self, cx: &Context, items: &[S::Item]) -> Result<Vec<Outcome<S::Done>>> {
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            let mut undo = Undo(Vec::new());
            let outcome = self.0.run(cx, item, &mut undo).await;
            let failed = !matches!(outcome, Ok(Outcome::Done(..) | Outcome::Unchanged(_) | Outcome::Skipped(_)));
            let (undone, fatal) = if failed { self.unwind(cx, undo).await } else { (String::new(), None) };
            let told = |failure: Failure| {
                let fatal = failure.fatal.clone().or(fatal);
                Outcome::Failed(Failure { fatal, ..failure.with_note(&undone) })
            };
            outcomes.push(match outcome {
                Ok(Outcome::Failed(failure)) => told(failure),
                Ok(outcome) => outcome,
                Err(e) => told(Failure::from(&e)),
            });
        }
        Ok(outcomes)
    }
}

impl<S: Steps> Stepwise<S> {
    /// Undoes all steps, whatever becomes of each, and says what was and what could not be undone; with the error that the run has to end with, if
    /// there was one.
    async fn unwind(&self, cx: &Context, undo: Undo<S::Step>) -> (String, Option<Arc<Error>>) {
        let (mut told, mut fatal) = (Vec::new(), None);
        for step in undo.0.into_iter().rev() {
            match self.0.undo(cx, &step).await {
                Ok(()) => told.push(format!("undone: {step}")),
                Err(e) => {
                    tracing::error!("could not undo: {step}: {e}");
                    told.push(format!("could not undo: {step} ({e})"));
                    fatal = fatal.or_else(|| e.to_fatal().map(Arc::new));
                }
            }
        }
        (told.join("; "), fatal)
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
