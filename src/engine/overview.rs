//! The inventory of one look: what actions that only look find, of those that say that it belongs there. Knows no action by its name.

use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::aws::session::Session;
use crate::engine::action::Reply;
use crate::engine::context::Context;
use crate::engine::entry::Entry;
use crate::engine::execute::{Connection, cancellable};
use crate::engine::run::Run;
use crate::input::Input;
use crate::model::error::{Error, Result};
use crate::model::meta::Check;

/// What came of a check.
pub struct Answer {
    /// What was asked.
    pub check: &'static Check,
    /// By which action.
    pub entry: &'static Entry,
    /// How many things were found.
    pub count: u64,
    /// Since when the first of them is so, where that is known.
    pub since: Option<Timestamp>,
    /// How many more could not be looked at.
    pub failed: u64,
    /// What it ended with, when that was an error: there may be more than were counted.
    pub error: Option<Error>,
}

impl Answer {
    /// Whether all was looked at.
    pub fn is_whole(&self) -> bool {
        self.error.is_none() && self.failed == 0
    }
}

/// Makes all checks of these actions, side by side, in one account and region. They share the limits of the run; one that fails is no end of the
/// others.
pub async fn overview(connection: &Connection, entries: &[&'static Entry]) -> Result<Vec<Answer>> {
    let checks = || entries.iter().flat_map(|entry| entry.overview.iter().map(|check| (*entry, check)));
    let Some((first, _)) = checks().next() else { return Ok(Vec::new()) };
    // One session for all: who has to type the digits of a device does it once.
    let session = cancellable(connection.cancellation(), connection.session(first.meta)).await?;
    let mut tasks = JoinSet::new();
    // Each is a task of its own: what it reads of the answers takes a processor, too.
    for (place, (entry, check)) in checks().enumerate() {
        let (connection, session) = (connection.clone(), session.clone());
        tasks.spawn(async move { (place, answer(&connection, session, entry, check).await) });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

async fn answer(connection: &Connection, session: Session, entry: &'static Entry, check: &'static Check) -> Answer {
    let run = Arc::new(connection.part());
    let mut answer = Answer { check, entry, count: 0, since: None, failed: 0, error: None };
    let counted = async {
        let Reply::Items(mut rows) = rows(Arc::clone(&run), session, entry, check).await?.by_rows() else {
            return Err(Error::Failed(format!("`{}` gives no list", entry.meta.path)));
        };
        while let Some(row) = rows.next().await {
            answer.count(&row?);
        }
        Ok(())
    };
    // Nothing is changed: looking may end at any moment.
    answer.error = cancellable(&run.cancellation, counted).await.err();
    answer.failed = run.tally.counts().items.values().sum();
    answer.error = answer.error.or_else(|| run.cancellation.error());
    answer
}

async fn rows(run: Arc<Run>, session: Session, entry: &'static Entry, check: &'static Check) -> Result<Reply> {
    let ready = entry.parse(Input::from_json(check.input)?, run.begun)?;
    ready.run(Context::new(entry.meta, session, run)).await
}

impl Answer {
    fn count(&mut self, row: &Value) {
        self.count += 1;
        let since = self.check.since.and_then(|member| row.get(member)?.as_str()?.parse::<Timestamp>().ok());
        self.since = self.since.into_iter().chain(since).min();
    }
}
