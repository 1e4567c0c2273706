//! A list that begins with what an earlier one has learned, and what it learns for a later one.

use std::hash::Hash;

use super::super::kept::{Density, KeptCut};
use super::super::{Keyed, Order};
use super::cuts::Survey;
use super::{LEAD, Plan, Trust};

impl<T: Keyed, K: Clone + Eq + Hash> Plan<T, K> {
    /// With cuts of an earlier list. They may be any: each is a guess like all others.
    pub fn starting(mut self, kept: Vec<KeptCut>) -> Self {
        self.kept = kept.into();
        self
    }

    /// So that [`Plan::learned`] has something to say.
    pub fn learning(mut self) -> Self {
        self.density = Some(Density::default());
        self
    }

    /// The cuts for the next list, once this one is whole. None where nothing was learned: of a list that is walked by tokens, and of one so short that it
    /// was never cut, whose store may be of that kind.
    pub fn learned(&self) -> Option<Vec<KeptCut>> {
        let density = self.density.as_ref().filter(|_| matches!(self.trust, Trust::Proven))?;
        Some(density.cuts(&self.shape.prefix, self.shape.page))
    }

    /// Cuts the gap without an end at the next kept cut, if that is of use now, and says which gap is new.
    ///
    /// A first page is waited for: a short list needs no cut, and only a cut behind a key that is known shows whether the store starts where it is told to.
    /// When more is lost than may be, the list is not as it was, and no more of them are tried: what is on its way by then may be lost, too.
    pub(super) fn split_at_kept(&mut self, survey: &Survey) -> Option<usize> {
        let is_near = self.shape.order == Order::Any || survey.ahead < LEAD as f64;
        if self.kept.is_empty() || !is_near || self.room() <= 0.0 || (self.quick && !self.is_long()) {
            return None;
        }
        let at = survey.last?;
        let gap = self.gap(at)?;
        let low = gap.low.clone().or_else(|| gap.start_after.clone());
        let may = match &self.trust {
            Trust::Proven => true,
            Trust::Open(probe) => probe.is_none() && survey.gaps == 1 && gap.answered,
            Trust::Lost => false,
        };
        if !may {
            return None;
        }
        let pages = self.pages(self.keys);
        if self.answered as f64 - pages > self.shape.losses.affordable(pages) {
            self.kept.clear();
            return None;
        }
        while let Some(KeptCut { cut, keys }) = self.kept.pop_front() {
            if low.as_ref().is_none_or(|low| cut > *low) && self.space.takes(&cut) {
                let pages = self.pages(usize::try_from(keys).unwrap_or(usize::MAX)).max(1.0);
                self.split(at, cut);
                if let Some(gap) = self.gap_mut(at) {
                    gap.guess = pages;
                }
                return Some(at + 1);
            }
        }
        None
    }
}
