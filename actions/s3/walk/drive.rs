//! Runs a plan: each page is asked for and read on a task of its own.

use std::future::Future;
use std::hash::Hash;
use std::time::{Duration, Instant};

use aaws::{Error, Page, Result};
use futures::stream::{self, Stream};
use tokio::task::{JoinError, JoinSet};

use super::Keyed;
use super::kept::KeptCut;
use super::plan::{Pace, PageRequest, Plan};

/// Where a page is asked for, here and read within this, its turn to be sent included, there is next to nothing to wait for.
const AT_ONCE: Duration = Duration::from_millis(3);

/// What takes longer than this was waited for.
const WAITED: Duration = Duration::from_millis(10);

/// Takes what a whole list has learned for a later one; it may block.
pub type Keep = Box<dyn FnOnce(Vec<KeptCut>) + Send>;

/// The objects of a list, page by page. `read` asks for one; what is on its way is dropped with the stream. `pace` says how one came by the time that it took.
pub fn drive<T, K, R, F>(
    plan: Plan<T, K>,
    keep: Option<Keep>,
    pace: impl Fn(Duration) -> Pace + Send + 'static,
    read: R,
) -> impl Stream<Item = Result<Vec<T>>> + Send
where
    T: Keyed + Send + 'static,
    K: Clone + Eq + Hash + Send + 'static,
    R: Fn(PageRequest<K>) -> F + Send,
    F: Future<Output = Result<Page<T, K>>> + Send + 'static,
{
    let driver = Driver { plan, keep, pace: Box::new(pace), read, tasks: JoinSet::new() };
    stream::try_unfold(driver, |mut driver| async move {
        let items = driver.step().await;
        items.map(|items| items.map(|items| (items, driver)))
    })
}

struct Driver<T, K, R> {
    plan: Plan<T, K>,
    keep: Option<Keep>,
    pace: Box<dyn Fn(Duration) -> Pace + Send>,
    read: R,
    tasks: JoinSet<Answer<T, K>>,
}

/// How a page came that took so long.
pub fn pace(took: Duration) -> Pace {
    match took {
        took if took < AT_ONCE => Pace::AtOnce,
        took if took < WAITED => Pace::Unclear,
        _ => Pace::Waited,
    }
}

struct Answer<T, K> {
    id: u64,
    page: Result<Page<T, K>>,
    took: Duration,
}

impl<T, K, R, F> Driver<T, K, R>
where
    T: Keyed + Send + 'static,
    K: Clone + Eq + Hash + Send + 'static,
    R: Fn(PageRequest<K>) -> F,
    F: Future<Output = Result<Page<T, K>>> + Send + 'static,
{
    async fn step(&mut self) -> Result<Option<Vec<T>>> {
        loop {
            while let Some(answer) = self.tasks.try_join_next() {
                self.accept(answer)?;
            }
            let asked = self.fill();
            if let Some(items) = self.plan.take() {
                // What went wrong is met again when these are read.
                return Ok(Some(items));
            }
            asked?;
            if self.plan.is_done() {
                self.keep().await;
                return Ok(None);
            }
            match self.tasks.join_next().await {
                Some(answer) => self.accept(answer)?,
                None => return Err(Error::Failed("the listing stands still: this is a mistake of this program".into())),
            }
        }
    }

    /// Keeps what was learned of the whole list.
    async fn keep(&mut self) {
        if let (Some(keep), Some(kept)) = (self.keep.take(), self.plan.learned())
            && let Err(e) = tokio::task::spawn_blocking(move || keep(kept)).await
        {
            tracing::debug!("what was learned of the listing is not kept: {e}");
        }
    }

    /// Sends what may be sent now.
    fn fill(&mut self) -> Result<()> {
        while let Some(ask) = self.plan.request()? {
            let (id, page) = (ask.id, (self.read)(ask));
            let asked = Instant::now();
            self.tasks.spawn(async move { Answer { id, page: page.await, took: asked.elapsed() } });
        }
        Ok(())
    }

    fn accept(&mut self, answer: Result<Answer<T, K>, JoinError>) -> Result<()> {
        let Answer { id, page, took } = answer.map_err(|e| Error::Failed(format!("reading a page of the listing failed: {e}")))?;
        match page {
            Ok(page) => {
                self.plan.note_pace(&page, (self.pace)(took));
                self.plan.answer(id, page)
            }
            Err(e) => self.plan.refused(id, e),
        }
    }
}
