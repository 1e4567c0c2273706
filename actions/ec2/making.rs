//! Making a snapshot or an image of each of many things: all are begun, then awaited together, and none is lost whatever becomes of the wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aaws::ItemResult;
use aaws::{Change, Code, Context, Failure, Listing, Outcome, Record, Result, Status, async_trait};
use futures::future::{join_all, ready};
use futures::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::made::MadeStep;
use super::wait::Awaited;

/// How many are awaited together.
pub const TOGETHER: usize = 200;

/// How one kind of thing is made.
#[async_trait]
pub trait Maker: Send + Sync + 'static {
    /// What it is made of.
    type Source: Send + Sync + 'static;

    /// The id of the source, as given.
    fn id(&self, source: &Self::Source) -> String;

    /// What will happen, for the person asked.
    fn summary(&self) -> String;

    /// What a dry run says.
    fn plan(&self, source: &Self::Source) -> Option<String>;

    /// Whether making it disrupts the sources, for an action whose effect says that it may.
    fn disrupts(&self) -> bool {
        false
    }

    /// The tags of what making it disrupts; what nothing is done to is not protected from being copied.
    fn tags(&self, _source: &Self::Source) -> Option<Vec<(String, String)>> {
        None
    }

    /// Why nothing is made of it.
    fn precheck(&self, source: &Self::Source) -> Option<Outcome<String>>;

    /// What a plan binds of a source.
    fn state(&self, source: &Self::Source) -> Option<Value>;

    /// How many are begun before any is awaited.
    fn together(&self) -> usize {
        TOGETHER
    }

    /// Whether what was begun is awaited.
    fn awaited(&self) -> bool;

    /// Begins one, and gives the id of what is made.
    async fn begin(&self, cx: &Context, source: &Self::Source) -> Result<String>;

    /// What takes away again what was made, where that can be undone.
    fn step(&self, _source: &Self::Source, _made: &str) -> Option<MadeStep> {
        None
    }

    /// Waits for those that were begun.
    async fn wait(&self, cx: &Context, made: &[String]) -> Awaited;
}

/// The ids of what was begun, by the ids of the sources: what fails in the end has one too.
#[derive(Clone, Default)]
struct StartedIds(Arc<Mutex<HashMap<String, String>>>);

impl StartedIds {
    fn note(&self, source: &str, made: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(source.to_owned(), made.to_owned());
    }

    fn of(&self, source: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(source).cloned()
    }
}

struct Making<M> {
    maker: M,
    begun: StartedIds,
}

#[async_trait]
impl<M: Maker> Change for Making<M> {
    type Item = M::Source;
    type Done = String;

    fn id(&self, source: &M::Source) -> String {
        self.maker.id(source)
    }

    fn summary(&self) -> String {
        self.maker.summary()
    }

    fn plan(&self, source: &M::Source) -> Option<String> {
        self.maker.plan(source)
    }

    fn disrupts(&self) -> bool {
        self.maker.disrupts()
    }

    fn tags(&self, source: &M::Source) -> Option<Vec<(String, String)>> {
        self.maker.tags(source)
    }

    fn precheck(&self, source: &M::Source) -> Option<Outcome<String>> {
        self.maker.precheck(source)
    }

    fn state(&self, source: &M::Source) -> Option<Value> {
        self.maker.state(source)
    }

    fn batch(&self) -> usize {
        self.maker.together()
    }

    async fn apply(&self, cx: &Context, sources: &[M::Source]) -> Result<Vec<Outcome<String>>> {
        // At most as many as are awaited together: how many of their requests are in flight is the network's to say.
        let begun = join_all(sources.iter().map(|source| self.begin(cx, source)).collect::<Vec<_>>()).await;
        let ids: Vec<String> = begun.iter().filter_map(|b| b.as_ref().ok().cloned()).collect();
        let mut awaited = if self.maker.awaited() && !ids.is_empty() { self.maker.wait(cx, &ids).await } else { HashMap::new() };
        let outcome = |begun: Result<String, Outcome<String>>| match begun {
            Err(outcome) => outcome,
            Ok(id) => match awaited.remove(&id) {
                Some(Err(why)) => Outcome::Failed(why.failure(Code::NotComplete.as_str(), &format!("{id} was begun"))),
                Some(Ok(())) => Outcome::Done(id.clone(), Some(format!("{id} is complete"))),
                None => Outcome::Done(id.clone(), Some(format!("{id} was begun"))),
            },
        };
        Ok(begun.into_iter().map(outcome).collect())
    }
}

impl<M: Maker> Making<M> {
    async fn begin(&self, cx: &Context, source: &M::Source) -> Result<String, Outcome<String>> {
        if cx.cancellation().is_cancelled() {
            return Err(Outcome::skipped_as(Code::NotStarted, "not started: the run was stopped"));
        }
        match self.maker.begin(cx, source).await {
            Ok(id) => {
                self.begun.note(&self.maker.id(source), &id);
                tracing::info!("`{}`: {id} was begun", self.maker.id(source));
                if let Some(step) = self.maker.step(source, &id)
                    && let Err(e) = cx.note_made(&self.maker.id(source), &step).await
                {
                    return Err(Outcome::Failed(Failure::from(&e).after([format!("{id} was begun")])));
                }
                Ok(id)
            }
            Err(e) => Err(Outcome::Failed(Failure::from(&e))),
        }
    }
}

/// What is printed of a source.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Row {
    /// The id of what was made of it.
    Id(String),
    /// What came of it.
    Details(Made),
    /// What would be done.
    #[schemars(skip)]
    Plan(Record),
}

/// What came of a source.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Made {
    /// The id that was given.
    source_id: String,
    /// `done` when what was made of it is complete, or was begun if that is not awaited.
    status: Status,
    /// The id of what was made of it; of a failure too, when it was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// AWS's error code, or a word of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// What is worth knowing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Makes one of each source. Printed are the ids of what was made, in the order of the sources, or with `details` what came of each.
pub async fn make<M: Maker>(cx: &Context, sources: Vec<M::Source>, maker: M, details: bool) -> Result<Listing<Row>> {
    let begun = StartedIds::default();
    let making = Making { maker, begun: begun.clone() };
    let settled = cx.change(stream::iter(sources.into_iter().map(Ok)), making).await?.results();
    Ok(Listing::from_stream(settled.filter_map(move |settled| ready(settled.map(|s| row(s, details, &begun)).transpose()))))
}

fn row(settled: ItemResult<String>, details: bool, begun: &StartedIds) -> Option<Row> {
    let ItemResult { record, done } = settled;
    match record.status {
        Status::Planned => Some(Row::Plan(record)),
        _ if details => {
            let Record { item, status, code, message, .. } = record;
            let id = done.or_else(|| begun.of(&item));
            Some(Row::Details(Made { source_id: item, status, id, code, message }))
        }
        _ => done.map(Row::Id),
    }
}
