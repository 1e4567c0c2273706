//! Runs a plan: each page is asked for and read on a task of its own.

use std::future::Future;

use aaws::{Error, Page, Result};
use futures::stream::{self, Stream};
use tokio::task::{JoinError, JoinSet};

use super::Keyed;
use super::plan::{Ask, Plan};

/// The objects of a list, page by page. `read` asks for one; what is on its way is dropped with the stream.
pub fn drive<T, R, F>(plan: Plan<T>, read: R) -> impl Stream<Item = Result<Vec<T>>> + Send
where
    T: Keyed + Send + 'static,
    R: Fn(Ask) -> F + Send,
    F: Future<Output = Result<Page<T, String>>> + Send + 'static,
{
    let driver = Driver { plan, read, tasks: JoinSet::new() };
    stream::try_unfold(driver, |mut driver| async move {
        let items = driver.step().await;
        items.map(|items| items.map(|items| (items, driver)))
    })
}

struct Driver<T, R> {
    plan: Plan<T>,
    read: R,
    tasks: JoinSet<Answer<T>>,
}

type Answer<T> = (u64, Result<Page<T, String>>);

impl<T, R, F> Driver<T, R>
where
    T: Keyed + Send + 'static,
    R: Fn(Ask) -> F,
    F: Future<Output = Result<Page<T, String>>> + Send + 'static,
{
    async fn step(&mut self) -> Result<Option<Vec<T>>> {
        loop {
            while let Some(answer) = self.tasks.try_join_next() {
                self.settle(answer)?;
            }
            let asked = self.fill();
            if let Some(items) = self.plan.take() {
                // What went wrong is met again when these are read.
                return Ok(Some(items));
            }
            asked?;
            if self.plan.is_done() {
                return Ok(None);
            }
            match self.tasks.join_next().await {
                Some(answer) => self.settle(answer)?,
                None => return Err(Error::Failed("the listing stands still: this is a mistake of this program".into())),
            }
        }
    }

    /// Sends what may be sent now.
    fn fill(&mut self) -> Result<()> {
        while let Some(ask) = self.plan.request()? {
            let (id, page) = (ask.id, (self.read)(ask));
            self.tasks.spawn(async move { (id, page.await) });
        }
        Ok(())
    }

    fn settle(&mut self, answer: Result<Answer<T>, JoinError>) -> Result<()> {
        let (id, page) = answer.map_err(|e| Error::Failed(format!("reading a page of the listing failed: {e}")))?;
        match page {
            Ok(page) => self.plan.answer(id, page),
            Err(e) => self.plan.refused(id, e),
        }
    }
}
