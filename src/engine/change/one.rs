//! Items that are changed one by one, with a call for each.

use async_trait::async_trait;

use super::{Change, Changed, Dependency};
use crate::engine::context::Context;
use crate::model::error::Result;
use crate::model::outcome::Outcome;

/// How an action changes one item: [`Change`] for what no call takes many of.
#[async_trait]
pub trait ChangeOne: Send + Sync + 'static {
    /// One thing that is changed.
    type Item: Send + Sync + 'static;
    /// What comes of one that was changed; `()` when there is nothing to say.
    type Done: Send + 'static;

    /// The item's identity in reports and outputs: unique in a run, and the same in the next.
    fn id(&self, item: &Self::Item) -> String;

    /// See [`Change::name`].
    fn name(&self, _item: &Self::Item) -> Option<String> {
        None
    }

    /// See [`Change::kind`].
    fn kind(&self, _item: &Self::Item) -> Option<&'static str> {
        None
    }

    /// What will happen, for the person asked: "delete from the bucket `b`".
    fn summary(&self) -> String;

    /// What a dry run says of an item beyond its name.
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

    /// Changes it. An error is the item's failure; one that every item would meet ends the run.
    async fn apply(&self, cx: &Context, item: &Self::Item) -> Result<Outcome<Self::Done>>;
}

/// Makes [`ChangeOne`] a [`Change`] of one item a batch.
struct OneByOne<C>(C);

#[async_trait]
impl<C: ChangeOne> Change for OneByOne<C> {
    type Item = C::Item;
    type Done = C::Done;

    as_inner!();

    /// An error stands for all items of a batch, and this is a batch of one.
    async fn apply(&self, cx: &Context, items: &[C::Item]) -> Result<Vec<Outcome<C::Done>>> {
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            outcomes.push(self.0.apply(cx, item).await?);
        }
        Ok(outcomes)
    }
}

impl Context {
    /// Changes items with a call for each; see [`Context::change`].
    pub async fn change_each<C: ChangeOne>(
        &self,
        items: impl futures::Stream<Item = Result<C::Item>> + Send + 'static,
        change: C,
    ) -> Result<Changed<C::Done>> {
        self.change(items, OneByOne(change)).await
    }
}
