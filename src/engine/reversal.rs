//! Steps without their types, as a journal has them: JSON that undoes itself.

use std::future::ready;

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;

use crate::engine::change::Step;
use crate::engine::context::Context;
use crate::model::error::{Error, Result};
use crate::model::outcome::Outcome;

/// What a step of an action can do, known as JSON only.
#[derive(Clone, Copy)]
pub struct Reversal {
    undo: Does<()>,
    look: Does<Option<Outcome>>,
    revert: Does<Outcome>,
    tell: fn(Value) -> Result<StepTraits>,
}

type Does<T> = for<'a> fn(&'a Context, Value) -> BoxFuture<'a, Result<T>>;

/// What a step says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepTraits {
    /// See [`Step::undoing_disrupts`].
    pub disrupts: bool,
    /// See [`Step::is_undone_last`].
    pub is_last: bool,
    /// The step that undoing it is, and what that would undo, in words.
    pub inverse: Option<(Value, String)>,
}

impl Reversal {
    /// Of steps of a type.
    pub const fn of<S: Step>() -> Self {
        Reversal { undo: undo::<S>, look: look::<S>, revert: revert::<S>, tell: tell::<S> }
    }

    /// See [`Step::undo`]: also in a run that was cancelled.
    pub async fn undo(&self, cx: &Context, step: Value) -> Result<()> {
        (self.undo)(cx, step).await
    }

    /// See [`Step::look`].
    pub async fn look(&self, cx: &Context, step: Value) -> Result<Option<Outcome>> {
        (self.look)(cx, step).await
    }

    /// See [`Step::revert`]: once begun it is brought to its end.
    pub async fn revert(&self, cx: &Context, step: Value) -> Result<Outcome> {
        (self.revert)(cx, step).await
    }

    /// What it says of itself.
    pub fn tell(&self, step: Value) -> Result<StepTraits> {
        (self.tell)(step)
    }
}

fn read<S: Step>(step: Value) -> Result<S> {
    serde_json::from_value(step).map_err(|e| Error::Failed(format!("this is no step of this action: {e}")))
}

fn undo<S: Step>(cx: &Context, step: Value) -> BoxFuture<'_, Result<()>> {
    match read::<S>(step) {
        Ok(step) => async move { step.undo(&cx.settling()).await }.boxed(),
        Err(e) => ready(Err(e)).boxed(),
    }
}

fn look<S: Step>(cx: &Context, step: Value) -> BoxFuture<'_, Result<Option<Outcome>>> {
    match read::<S>(step) {
        Ok(step) => async move { step.look(cx).await }.boxed(),
        Err(e) => ready(Err(e)).boxed(),
    }
}

fn revert<S: Step>(cx: &Context, step: Value) -> BoxFuture<'_, Result<Outcome>> {
    match read::<S>(step) {
        Ok(step) => async move { step.revert(&cx.settling()).await }.boxed(),
        Err(e) => ready(Err(e)).boxed(),
    }
}

fn tell<S: Step>(step: Value) -> Result<StepTraits> {
    let step = read::<S>(step)?;
    let inverse = step.inverse().map(|inverse| match serde_json::to_value(&inverse) {
        Ok(data) => Ok((data, inverse.to_string())),
        Err(e) => Err(Error::Failed(format!("a step cannot be written down: {e}"))),
    });
    Ok(StepTraits { disrupts: step.undoing_disrupts(), is_last: step.is_undone_last(), inverse: inverse.transpose()? })
}
