//! What an action is: a typed input that knows what it may call, and how to run.

use async_trait::async_trait;
use std::future::ready;

use futures::stream::{self, BoxStream, StreamExt};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::engine::context::Context;
use crate::model::error::{Error, Result};
use crate::model::meta::{Check, Meta, Reversible};

/// One operation. The implementing struct is its input: its fields are the flags and the JSON keys, its doc comment is the page.
#[async_trait]
#[diagnostic::on_unimplemented(note = "derive `Deserialize` (with `deny_unknown_fields`) and `JsonSchema`, then `impl Action`")]
pub trait Action: DeserializeOwned + JsonSchema + Send + 'static {
    /// What the type cannot say.
    const META: Meta;

    /// What a plan binds of each item beside its identity, in words ("its status"): what [`crate::Change::state`] gives.
    const BINDS: &'static [&'static str] = &[];
    /// What of it `aaws undo` can undo, for one that changes something.
    const REVERSIBLE: Reversible = Reversible::No("");
    /// Whether a run of it keeps a journal unasked, where something in it can be undone. Bulk work does not: each of its items would pay for that.
    const KEEPS_JOURNAL: bool = true;
    /// The members by which a row of a listing is known again in a later run, whatever else of it has changed; none: the whole row. Each row has one of
    /// them at least as a text. Rows that are plain names are known by them.
    const IDENTITY: &'static [&'static str] = &[];
    /// What `aaws overview` asks by it, for one that only looks.
    const OVERVIEW: &'static [Check] = &[];

    /// A value, or a stream of items ([`crate::Listing`], or what [`crate::Changed`] turns into).
    type Output: Output;

    /// Does it, for the context's one target.
    async fn run(self, cx: &Context) -> Result<Self::Output>;
}

/// What an action gives back.
pub trait Output: Send + Sized + 'static {
    /// JSON Schema of the whole output.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
    /// For the front ends, which know no types.
    fn into_reply(self) -> Result<Reply>;
}

/// A row of a listing: its name alone, or with `details` what the service tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Row<D> {
    /// Its name or id.
    Name(String),
    /// What is told of it.
    Details(Box<D>),
}

impl<D> Row<D> {
    /// As it was asked for: the name alone, or all, which is put together only then.
    pub fn of(details: bool, name: impl Into<String>, all: impl FnOnce() -> D) -> Self {
        if details { Row::Details(Box::new(all())) } else { Row::Name(name.into()) }
    }
}

/// An output without its type.
pub enum Reply {
    /// One value.
    Value(Value),
    /// Text to be printed as it stands.
    Text(String),
    /// A list, item by item; work may happen as it is read.
    Items(BoxStream<'static, Result<Value>>),
}

/// An output that is text for another program, a shell say: printed as it stands, unless an output format is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl Output for Text {
    fn schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "description": "Text, printed as it stands." })
    }

    fn into_reply(self) -> Result<Reply> {
        Ok(Reply::Text(self.0))
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reply::Value(value) => f.debug_tuple("Value").field(value).finish(),
            Reply::Text(_) => f.write_str("Text(..)"),
            Reply::Items(_) => f.write_str("Items(..)"),
        }
    }
}

/// All of an output in memory: what came, and the error that it ended with. The one does not hide the other.
#[derive(Debug)]
pub struct Collected {
    /// The value; of a list, all rows that came.
    pub value: Value,
    /// What it ended with, when that was an error.
    pub error: Option<Error>,
}

impl Reply {
    /// Nothing but an error.
    pub fn failed(error: Error) -> Self {
        Reply::Items(stream::once(ready(Err(error))).boxed())
    }

    /// A list row by row, also one that is a whole already.
    pub fn by_rows(self) -> Self {
        match self {
            Reply::Value(Value::Array(rows)) => Reply::Items(stream::iter(rows.into_iter().map(Ok)).boxed()),
            other => other,
        }
    }

    /// The whole output in memory. After an error the rest is still read, so that changes in flight are settled; the first error is kept.
    pub async fn collect(self) -> Collected {
        let mut items = match self {
            Reply::Value(value) => return Collected { value, error: None },
            Reply::Text(text) => return Collected { value: Value::String(text), error: None },
            Reply::Items(items) => items,
        };
        let (mut rows, mut error) = (Vec::new(), None);
        while let Some(item) = items.next().await {
            match item {
                Ok(row) => rows.push(row),
                Err(e) => drop(error.get_or_insert(e)),
            }
        }
        Collected { value: Value::Array(rows), error }
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> Output for T {
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }

    fn into_reply(self) -> Result<Reply> {
        to_value(&self).map(Reply::Value)
    }
}

/// An output type that cannot be written as JSON (a map with keys that are no strings, say) is a mistake of its author.
pub(crate) fn to_value<T: Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::Failed(format!("the output cannot be written as JSON: {e}")))
}
