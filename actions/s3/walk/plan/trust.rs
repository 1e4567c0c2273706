//! Whether a store lists as a plan takes it to: from where it is told to, and in the order of the keys' bytes.

use std::hash::Hash;

use aaws::{Error, Next, Page, Result};

use super::super::Keyed;
use super::super::gap::follows;
use super::Plan;

/// Whether the store starts where it is told to.
pub(super) enum Trust {
    /// It has not been tried, or the answer is on its way: to which request, behind what.
    Open(Option<(u64, String)>),
    /// It does.
    Proven,
    /// It does not, or lists in another order than that of keys' bytes: one page after another.
    Lost,
}

impl<T: Keyed, K: Clone + Eq + Hash> Plan<T, K> {
    /// Whether the answer to the first request behind a cut begins there, and with that what is to be thought of the store. False: the answer is no use.
    pub(super) fn judge(&mut self, page: &Page<T, K>) -> bool {
        let Trust::Open(Some((_, cut))) = &self.trust else { return true };
        // A page without keys that has more behind it says nothing: the next one will.
        if page.items.is_empty() && page.next != Next::End {
            self.trust = Trust::Open(None);
            return true;
        }
        let obeyed = page.items.first().is_none_or(|first| first.key() > cut.as_str()) && self.is_sorted(&page.items);
        if obeyed {
            self.trust = Trust::Proven;
        } else {
            tracing::debug!("{} are listed one page after another: the store does not begin where it is told to", self.shape.what);
            self.walk_alone();
        }
        obeyed
    }

    /// Leaves the list to the chain that began it, which is in the first gap.
    pub(super) fn walk_alone(&mut self) {
        self.trust = Trust::Lost;
        self.pieces.truncate(1);
        if let Some(gap) = self.gap_mut(0) {
            gap.high = None;
        }
    }

    /// Whether a page goes on, in the order of keys' bytes, from where it was asked.
    pub(super) fn in_order(&self, at: usize, items: &[T]) -> bool {
        let from = self.gap(at).and_then(|gap| gap.asked_from.as_deref());
        let goes_on = items.first().is_none_or(|first| from.is_none_or(|from| follows(first.key(), from, self.shape.repeats)));
        let holds = |item: Option<&T>| item.is_none_or(|item| self.space.holds(item.key()));
        goes_on && holds(items.first()) && holds(items.last()) && self.is_sorted(items)
    }

    pub(super) fn is_sorted(&self, items: &[T]) -> bool {
        items.is_sorted_by(|a, b| follows(b.key(), a.key(), self.shape.repeats))
    }

    /// While it is not known whether the store starts where it is told to, the chain that began the list is not let go of: it walks past the cut.
    pub(super) fn rejoin(&mut self, at: usize) {
        if matches!(self.trust, Trust::Open(_)) {
            self.pieces.truncate(at + 1);
            if let Some(gap) = self.gap_mut(at) {
                gap.high = None;
            }
        }
    }

    /// Whether parts of the list have to meet in one key.
    pub(super) fn meets_parts(&self) -> bool {
        self.shape.strict && matches!(self.trust, Trust::Proven)
    }

    /// Whether the last page of a gap comes to the very key that the next gap begins with, where that is asked.
    pub(super) fn meets(&self, at: usize, page: &Page<T, K>) -> Result<()> {
        let Some(gap) = self.gap(at).filter(|_| self.meets_parts()) else { return Ok(()) };
        let Some(high) = &gap.high else { return Ok(()) };
        let next = if gap.exclusive { Some(high) } else { self.firsts.get(high).and_then(Option::as_ref) };
        let Some(next) = next else { return Ok(()) };
        let is_last = page.next == Next::End || page.items.last().is_some_and(|last| last.key() >= next.as_str());
        let has_next = || page.items.iter().any(|item| item.key() == next.as_str());
        if is_last && !has_next() { Err(self.out_of_order()) } else { Ok(()) }
    }

    pub(super) fn out_of_order(&self) -> Error {
        let what = &self.shape.what;
        Error::Failed(format!(
            "the listing of {what} is not in the order of the keys' bytes: with `--concurrency 1` it is read one page after another"
        ))
    }
}
