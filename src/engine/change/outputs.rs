//! What an action prints of the items that it changed.

use std::future::ready;

use futures::stream::{BoxStream, StreamExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use super::{Changed, ItemResult};
use crate::engine::action::{Output, Reply, to_value};
use crate::model::error::Result;
use crate::model::outcome::{Record, Status};

/// What became of the items, and which of them are printed.
struct Records {
    results: BoxStream<'static, Result<Record>>,
    planned: bool,
}

impl<D: Send + 'static> Changed<D> {
    /// The output that lists the items that failed, by their ids: `[]` when all went well. A dry run lists what would be changed, and what fails
    /// already, with the reasons.
    pub fn failed(self) -> FailedItems {
        FailedItems(self.records())
    }

    /// The output that lists the items that are as they were though they should not be: those that failed, and those that were skipped with a
    /// reason. `[]` when nothing was left. A dry run lists what would be changed, and what would be left, with the reasons.
    pub fn left(self) -> LeftItems {
        LeftItems(self.records())
    }

    /// The output that lists what came of the items that were changed. A dry run lists what would be changed.
    pub fn done(self) -> DoneItems<D>
    where
        D: Serialize,
    {
        DoneItems(self)
    }

    fn records(self) -> Records {
        Records { results: self.results.map(|result| result.map(|r| r.record)).boxed(), planned: self.planned }
    }
}

impl Records {
    /// The ids of those that are to be printed; of a dry run whole records, of what is planned, too.
    fn into_reply(self, listed: fn(Status) -> bool) -> Reply {
        let planned = self.planned;
        let row = move |record: Record| match record.status {
            Status::Planned => Some(record.to_value()),
            status if listed(status) => Some(if planned { record.to_value() } else { Value::String(record.item) }),
            _ => None,
        };
        Reply::Items(self.results.filter_map(move |record| ready(record.map(row).transpose())).boxed())
    }
}

/// See [`Changed::failed`].
pub struct FailedItems(Records);

impl FailedItems {
    /// What became of each item, in order. Work happens as it is read.
    pub fn records(self) -> BoxStream<'static, Result<Record>> {
        self.0.results
    }
}

impl Output for FailedItems {
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "description": "The items that failed, in the order given; empty when all went well.", "items": { "type": "string" } })
    }

    fn into_reply(self) -> Result<Reply> {
        Ok(self.0.into_reply(|status| status == Status::Failed))
    }
}

/// See [`Changed::left`].
pub struct LeftItems(Records);

impl LeftItems {
    /// What became of each item, in order. Work happens as it is read.
    pub fn records(self) -> BoxStream<'static, Result<Record>> {
        self.0.results
    }
}

impl Output for LeftItems {
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "description": "The items that are still there, because they failed or were skipped for a reason, in the order of the work; empty when none is.", "items": { "type": "string" } })
    }

    fn into_reply(self) -> Result<Reply> {
        Ok(self.0.into_reply(|status| matches!(status, Status::Failed | Status::Skipped)))
    }
}

/// See [`Changed::done`].
pub struct DoneItems<D>(Changed<D>);

impl<D: Send + 'static> DoneItems<D> {
    /// What became of each item, and what came of it, in order. Work happens as it is read.
    pub fn results(self) -> BoxStream<'static, Result<ItemResult<D>>> {
        self.0.results
    }
}

impl<D: Serialize + JsonSchema + Send + 'static> Output for DoneItems<D> {
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "description": "What came of the items that were changed, in the order given.", "items": generator.subschema_for::<D>() })
    }

    fn into_reply(self) -> Result<Reply> {
        let row = |result: ItemResult<D>| match result.record.status {
            Status::Planned => Some(Ok(result.record.to_value())),
            _ => result.done.map(|done| to_value(&done)),
        };
        let rows = self.0.results.filter_map(move |result| ready(result.map(row).transpose().map(|row| row.and_then(|value| value))));
        Ok(Reply::Items(rows.boxed()))
    }
}

/// One value as the output of a change: the value, or in a dry run the plan.
pub enum OrPlan<T> {
    /// What came of it.
    Done(T),
    /// What would be done.
    Planned(Vec<Record>),
}

impl<T> OrPlan<T> {
    /// Another value of what came of it.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> OrPlan<U> {
        match self {
            OrPlan::Done(value) => OrPlan::Done(to(value)),
            OrPlan::Planned(records) => OrPlan::Planned(records),
        }
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> Output for OrPlan<T> {
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }

    fn into_reply(self) -> Result<Reply> {
        match self {
            OrPlan::Done(value) => value.into_reply(),
            OrPlan::Planned(records) => records.into_reply(),
        }
    }
}
