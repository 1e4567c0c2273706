//! How much a run may change at most (`max_items`, `max_percent`): known, and refused, before the first write.
//!
//! The items are held in memory until it is known: with `max_items` up to the first that is one too many, with `max_percent` all of them. A run whose
//! list is known to be short enough, and one without these guards, holds nothing.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};

use super::planned::{self, Admission};
use super::{Change, ItemResult};
use crate::engine::context::Context;
use crate::engine::guards::Guards;
use crate::engine::host::Progress;
use crate::model::error::{Error, Result};
use crate::model::outcome::Status;

/// What became of items, as it comes.
type Results<D> = BoxStream<'static, Result<ItemResult<D>>>;

/// What is known of a run's items.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counted {
    looked_at: u64,
    /// Those of them that would be changed.
    changed: u64,
}

impl Counted {
    fn add(&mut self, changes: bool) {
        self.looked_at += 1;
        self.changed += u64::from(changes);
    }

    /// Why a run of so many items is refused, however many more there are.
    fn too_many(self, guards: &Guards) -> Option<String> {
        let most = guards.max_items.filter(|most| self.changed > *most)?;
        Some(format!("more than {most} items would be changed, and `max_items` allows no more"))
    }

    /// Why a run of these items, which are all, is refused.
    fn too_large_a_part(self, guards: &Guards) -> Option<String> {
        let percent = guards.max_percent?.get();
        let Counted { looked_at, changed } = self;
        let exceeds = u128::from(changed) * 100 > u128::from(looked_at) * u128::from(percent);
        exceeds.then(|| format!("{changed} of {looked_at} items would be changed, and `max_percent` allows {percent} percent of them"))
    }
}

/// Whether no number of items up to this one is refused.
fn allows_all(guards: &Guards, most: Option<usize>) -> bool {
    let few = guards.max_items.is_none_or(|limit| most.is_some_and(|most| most as u64 <= limit));
    few && guards.max_percent.is_none_or(|percent| percent.get() == 100)
}

/// The items, once it is known that no more of them are to be changed than the user lets the run change.
pub(super) async fn within<C: Change>(
    cx: &Context,
    mut items: BoxStream<'static, Result<C::Item>>,
    change: &C,
) -> Result<BoxStream<'static, Result<C::Item>>> {
    let guards = cx.guards();
    if !change.is_limited() || allows_all(guards, items.size_hint().1) {
        return Ok(items);
    }
    let refused = |why: String| Error::Refused(format!("{why}: nothing was changed"));
    let (mut held, mut counted) = (Vec::new(), Counted::default());
    loop {
        let item = tokio::select! {
            item = items.next() => item,
            // What was read goes on, to be named as not started.
            () = cx.cancellation().cancelled() => return Ok(stream::iter(held.into_iter().map(Ok)).chain(items).boxed()),
        };
        let Some(item) = item else { break };
        let item = item?;
        match planned::admission(cx, change, &item) {
            Admission::Goes => counted.add(true),
            Admission::Ends(_) => counted.add(false),
            // The plan that is applied does not know it, and nothing is done to it.
            Admission::New => {}
        }
        held.push(item);
        if let Some(why) = counted.too_many(guards) {
            return Err(refused(why));
        }
    }
    counted.looked_at += change.passed_over();
    if let Some(why) = counted.too_large_a_part(guards) {
        return Err(refused(why));
    }
    cx.progress(Progress::Total(held.len() as u64));
    Ok(stream::iter(held.into_iter().map(Ok)).boxed())
}

/// A dry run, which says at its end that a run would be refused.
pub(super) fn judged<C: Change>(cx: Context, change: Arc<C>, planned: Results<C::Done>) -> Results<C::Done> {
    if !change.is_limited() || allows_all(cx.guards(), None) {
        return planned;
    }
    let state = (planned, Counted::default(), cx, change);
    let next = |(mut planned, mut counted, cx, change): (Results<C::Done>, Counted, Context, Arc<C>)| async move {
        let Some(result) = planned.next().await else {
            counted.looked_at += change.passed_over();
            let refusal = counted.too_many(cx.guards()).or_else(|| counted.too_large_a_part(cx.guards()));
            // Of a plan that was not finished it is not known.
            if let Some(why) = refusal.filter(|_| !cx.cancellation().is_cancelled()) {
                tracing::warn!("a run would be refused: {why}");
            }
            return None;
        };
        if let Ok(ItemResult { record, .. }) = &result {
            counted.add(record.status == Status::Planned);
        }
        Some((result, (planned, counted, cx, change)))
    };
    stream::unfold(state, next).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::guards::Percent;

    fn guards(max_items: Option<u64>, max_percent: Option<u64>) -> Guards {
        let max_percent = max_percent.and_then(|percent| Percent::try_from(percent).ok());
        Guards { max_items, max_percent, ..Guards::default() }
    }

    #[test]
    fn as_many_as_are_allowed_are_not_too_many() {
        let counted = |looked_at, changed| Counted { looked_at, changed };
        let ten = guards(Some(10), None);
        assert!(counted(99, 10).too_many(&ten).is_none() && counted(99, 11).too_many(&ten).is_some());
        assert!(counted(9, 0).too_many(&guards(Some(0), None)).is_none() && counted(9, 1).too_many(&guards(Some(0), None)).is_some());
        let half = guards(None, Some(50));
        assert!(counted(4, 2).too_large_a_part(&half).is_none() && counted(4, 3).too_large_a_part(&half).is_some());
        assert!(counted(0, 0).too_large_a_part(&guards(None, Some(0))).is_none());
        // 33.4 percent are more than 33.
        assert!(counted(3, 1).too_large_a_part(&guards(None, Some(33))).is_some());
        assert!(counted(u64::MAX, u64::MAX).too_large_a_part(&guards(None, Some(99))).is_some());
    }

    #[test]
    fn what_cannot_be_refused_is_not_held() {
        assert!(allows_all(&guards(None, None), None) && allows_all(&guards(Some(3), None), Some(3)));
        assert!(!allows_all(&guards(Some(3), None), Some(4)) && !allows_all(&guards(Some(3), None), None));
        assert!(allows_all(&guards(None, Some(100)), None) && !allows_all(&guards(Some(3), Some(99)), Some(1)));
    }
}
