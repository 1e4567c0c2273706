//! Whether somebody has to agree before items are changed, and who is asked.

use std::future::ready;

use futures::stream::{self, BoxStream, StreamExt};
use tokio::task::JoinSet;

use super::{Change, name, planned};
use crate::engine::context::Context;
use crate::engine::host::{Consent, Question};
use crate::model::error::{Error, Result};
use crate::model::meta::Effect;

/// How many items the person asked is shown by name.
const SHOWN: usize = 20;

impl Context {
    /// The items, once somebody agreed, or nobody had to.
    pub(super) async fn agreed<C: Change>(
        &self,
        items: BoxStream<'static, Result<C::Item>>,
        change: &C,
    ) -> Result<BoxStream<'static, Result<C::Item>>> {
        match self.host().consent() {
            Consent::Ask => self.confirmed(items, change).await,
            Consent::NotNeeded if self.guards().require_yes => self.confirmed(items, change).await,
            Consent::NotNeeded => Ok(items),
            Consent::Given(by) => {
                let (cx, summary) = (self.clone(), change.summary());
                // Which account it is takes a request, that the first item need not wait for.
                let mut tasks = JoinSet::new();
                tasks.spawn(async move {
                    let place = cx.place().await;
                    let account = place.account.as_deref().unwrap_or("not known");
                    tracing::info!("not asked, because of {by}: {summary} (account {account}, region {})", place.region);
                });
                let said = stream::once(async move { tasks.join_next().await }).filter_map(|_| ready(None::<Result<C::Item>>));
                Ok(items.chain(said).boxed())
            }
            Consent::Impossible(why) => Err(Error::Refused(format!("{why}: --yes agrees to {}", change.summary()))),
        }
    }

    /// Shows the first items, asks, and gives all of them back.
    async fn confirmed<C: Change>(
        &self,
        mut items: BoxStream<'static, Result<C::Item>>,
        change: &C,
    ) -> Result<BoxStream<'static, Result<C::Item>>> {
        let total = match items.size_hint() {
            (least, Some(most)) if least == most => Some(most as u64),
            _ => None,
        };
        let mut first = Vec::new();
        while first.len() < SHOWN {
            match items.next().await {
                Some(item) => first.push(item?),
                None => break,
            }
        }
        let shown: Vec<String> = first.iter().filter(|i| planned::goes(self, change, i)).map(|i| name(change, i)).collect();
        // What needs no work needs no answer either.
        if shown.is_empty() && first.len() < SHOWN {
            return Ok(stream::iter(first.into_iter().map(Ok)).chain(items).boxed());
        }
        let total = if first.len() < SHOWN { Some(shown.len() as u64) } else { total };
        self.ask(change.summary(), shown, total).await?;
        Ok(stream::iter(first.into_iter().map(Ok)).chain(items).boxed())
    }

    /// Whether somebody is to be asked: who is there, or who has to be (`require_yes`). For what an effect does not say by itself: that an action which
    /// creates would replace something.
    pub fn can_ask(&self) -> bool {
        match self.host().consent() {
            Consent::Ask => true,
            Consent::NotNeeded => self.guards().require_yes,
            Consent::Given(_) | Consent::Impossible(_) => false,
        }
    }

    /// Asks whether to go on with what is done to these items; an error when the answer is no. Only where [`Context::can_ask`].
    pub async fn confirm(&self, summary: impl Into<String>, mut items: Vec<String>) -> Result<()> {
        let total = items.len() as u64;
        items.truncate(SHOWN);
        self.ask(summary.into(), items, Some(total)).await
    }

    async fn ask(&self, summary: String, items: Vec<String>, total: Option<u64>) -> Result<()> {
        if self.host().consent() == Consent::NotNeeded && self.guards().require_yes {
            return Err(Error::Refused(format!("`require_yes` is set, and nobody is here to be asked: --yes agrees to {summary}")));
        }
        let question = Question { summary, items, total, place: self.place().await };
        let agreed = tokio::select! {
            agreed = self.host().confirm(question) => agreed?,
            () = self.cancellation().cancelled() => return Err(self.cancellation().error().unwrap_or(Error::Interrupted)),
        };
        if agreed { Ok(()) } else { Err(Error::Declined) }
    }
}

/// Whether somebody has to agree: what is taken away may not come back, and what is disrupted is missed.
pub(super) fn asks<C: Change>(effect: Effect, change: &C) -> bool {
    match effect {
        Effect::Delete => true,
        Effect::Disrupt => change.disrupts(),
        Effect::Local | Effect::Read | Effect::Create | Effect::Modify => false,
    }
}
