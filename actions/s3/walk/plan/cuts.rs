//! Where a gap is cut, and when: by how dense the keys are, how much is held, and how many requests were lost.

use std::hash::Hash;

use super::super::space::Alphabet;
use super::super::{Keyed, Order};
use super::{LEAD, Piece, Plan, Trust};

/// A gap is cut so much of a page short of whole pages, as its last page has to hold a key from behind its end.
const SLACK: f64 = 0.1;

/// A first cut goes so many times as far ahead as has been seen, a little short of it for the reason of [`SLACK`].
const STRIDE: (u64, u64) = (29, 10);

/// A gap is cut as if it held no more than so many times what has come of the whole list.
const GUESSED: f64 = 4.0;

/// How many requests may be lost on a list that is too short for a quarter to be as many.
#[derive(Debug, Clone, Copy)]
pub struct Losses {
    /// So many.
    most: f64,
    /// One behind the first page, and one more behind each so many.
    pages: f64,
}

impl Losses {
    /// Five, once the list has shown where its keys are: were they lost on the first guesses, it would be walked by tokens until it has paid for them.
    pub const FEW: Losses = Losses { most: 5.0, pages: 3.0 };

    /// Ten, and sooner: a list of a hundred pages takes up to three round trips less of eighteen, and hardly ever more requests.
    pub const MORE: Losses = Losses { most: 10.0, pages: 1.5 };

    /// Lists of fewer pages than this may lose more than a quarter.
    fn short(self) -> f64 {
        self.most * 4.0
    }

    /// How many on so many pages: whole ones, as the last page of all is hardly ever full either, and is not counted with them.
    pub(super) fn affordable(self, pages: f64) -> f64 {
        (1.0 + (pages - 1.0) / self.pages).min(self.most).max(pages / 4.0).floor()
    }
}

/// What the pieces are like at a moment.
#[derive(Default)]
pub(super) struct Survey {
    /// The first gap that may be asked for.
    pub(super) idle: Option<usize>,
    /// The gap best to cut, and how many of its pages are near enough.
    pub(super) best: Option<(usize, f64)>,
    /// The gap without an end.
    pub(super) last: Option<usize>,
    pub(super) gaps: usize,
    /// Pages thought to be in gaps with an end.
    bounded: f64,
    /// Pages thought to be before the end of the last gap.
    pub(super) ahead: f64,
}

impl<T: Keyed, K: Clone + Eq + Hash> Plan<T, K> {
    /// Guesses how many pages are left in a gap.
    pub(super) fn measure(&mut self, at: usize) {
        let Some(Piece::Gap(gap)) = self.pieces.get_mut(at) else { return };
        if gap.high.is_some() {
            self.space.prepare();
        }
        gap.left = gap.high.clone().and_then(|high| {
            let mut guess = |alphabet| gap.pages(&high, self.shape.page, LEAD, &self.space, alphabet);
            guess(Alphabet::Observed).or_else(|| guess(Alphabet::Likely))
        });
    }

    /// Looks over all pieces, from the front.
    pub(super) fn survey(&self) -> Survey {
        let ordered = self.shape.order == Order::Keys;
        let (lead, width, room) = (LEAD as f64, self.shape.width as f64, self.room());
        let (smallest, seen) = (self.smallest(), self.pages(self.keys));
        let mut survey = Survey::default();
        for (at, piece) in self.pieces.iter().enumerate() {
            let gap = match piece {
                Piece::Items(items) => {
                    survey.ahead += self.pages(items.len());
                    continue;
                }
                Piece::Gap(gap) => gap,
            };
            let first = survey.gaps == 0 && self.ready.is_empty();
            // The nearer to the front, the more of the room: what is far ahead must not keep the front from being cut.
            let kept = if ordered { (survey.gaps as f64).min(width) / (2.0 * width) * lead } else { 0.0 };
            survey.gaps += 1;
            // A page that came waits for the first key of this one: were it not asked for, nothing would go on.
            let is_awaited = !self.waiting.is_empty() && !gap.answered;
            let may = first || is_awaited || (room > kept && (!ordered || survey.ahead < lead));
            if survey.idle.is_none() && gap.busy.is_none() && may {
                survey.idle = Some(at);
            }
            if gap.high.is_none() {
                survey.last = Some(at);
            }
            if let Some(left) = gap.left {
                // What lies much farther ahead than has been seen is a guess too many: it may be a void.
                let near = left.min(if ordered { lead - survey.ahead } else { seen.max(lead) }).min(seen.max(1.0) * GUESSED);
                if near >= smallest && !gap.dull && survey.best.is_none_or(|(_, best)| near > best) {
                    survey.best = Some((at, near));
                }
                survey.bounded += left;
            }
            survey.ahead += gap.left.unwrap_or(gap.guess);
        }
        survey
    }

    /// Whether a gap may be cut: there is enough to walk, and not too much was lost.
    pub(super) fn may_cut(&self, survey: &Survey) -> bool {
        let tried = match &self.trust {
            Trust::Proven => true,
            Trust::Open(probe) => probe.is_none() && survey.gaps == 1,
            Trust::Lost => false,
        };
        let pages = self.pages(self.keys);
        // A list is taken to be a little longer than it is yet, so that a short one is cut early; a long one keeps to what came.
        let expected = (pages + (survey.bounded / 2.0).min(pages / 2.0)).min(pages.max(self.shape.losses.short()));
        let (risk, most) = (self.risked(survey.gaps) + 1.0, self.shape.losses.affordable(expected));
        // Where every part holds whole pages, the last page of all is lost, too, unless it is known that there are keys behind the last cut.
        let is_near = survey.best.is_some() && matches!(self.trust, Trust::Proven);
        let ends_with_keys = is_near && survey.last.is_some_and(|at| self.gap(at).is_some_and(|gap| gap.answered));
        let pays = risk < most || (risk <= most && (most < self.shape.losses.most || ends_with_keys));
        tried && self.is_long() && self.room() > 0.0 && pays
    }

    /// Whether the gap without an end is to be cut far ahead.
    pub(super) fn may_stride(&self, at: usize, survey: &Survey) -> bool {
        let near = self.shape.order == Order::Any || survey.ahead < LEAD as f64;
        near && self.gap(at).is_some_and(|gap| gap.answered && !gap.dull)
    }

    /// Requests that brought no page of new keys, and those that may yet: each gap's last page holds keys from behind its end.
    fn risked(&self, gaps: usize) -> f64 {
        self.answered as f64 - self.pages(self.keys) + gaps as f64 - 1.0
    }

    /// The fewest pages worth a cut: more, the more was lost.
    fn smallest(&self) -> f64 {
        let pages = self.pages(self.keys);
        let gaps = self.pieces.iter().filter(|piece| matches!(piece, Piece::Gap(_))).count();
        match self.risked(gaps) / self.shape.losses.affordable(pages) {
            used if used < 0.9 || pages < self.shape.losses.short() => 2.0,
            used if used < 1.0 => 4.0,
            _ => 8.0,
        }
    }

    /// Pages that may still be asked for ahead of what was read.
    pub(super) fn room(&self) -> f64 {
        LEAD as f64 - self.pages(self.held) - self.in_flight as f64
    }

    pub(super) fn pages(&self, keys: usize) -> f64 {
        keys as f64 / self.shape.page.max(1) as f64
    }

    /// Half of what is near in a gap, in whole pages.
    pub(super) fn cut_near(&self, at: usize, near: f64) -> Option<String> {
        let gap = self.gap(at)?;
        let (low, high, left) = (gap.low.as_deref()?, gap.high.as_deref()?, gap.left?);
        // A gap that was cut short of whole pages itself has little of a page to spare, which its two parts share: were one given more, the other would
        // begin a page for a few keys.
        let slack = if near < left { SLACK } else { ((1.0 - left.fract()) / 2.0).min(SLACK) };
        let pages = (near / 2.0).floor().max(1.0) - slack;
        let (anchor, keys) = gap.window(pages * self.shape.page as f64 / 2.0)?;
        let times = ((pages * self.shape.page as f64) as u64, keys);
        let ahead = |alphabet| self.space.ahead(anchor, low, Some(high), times, alphabet);
        ahead(Alphabet::Observed).or_else(|| ahead(Alphabet::Likely)).or_else(|| {
            let share = (pages / left * 64.0) as u64;
            self.space.between(low, high, (share.clamp(1, 32), 64))
        })
    }

    /// Some times as far ahead as has been seen; less where keys of this kind would be at their end.
    pub(super) fn cut_far(&mut self, at: usize) -> Option<String> {
        let gap = self.gap(at)?;
        let (low, base) = (gap.low.as_deref()?, self.base.as_deref()?);
        let ahead = |from: &str, times| self.space.ahead(from, low, None, times, Alphabet::Likely);
        let cut = [STRIDE, (1, 1), (1, 3), (1, 9)].into_iter().find_map(|times| ahead(base, times));
        if cut.is_some() {
            return cut;
        }
        // Here keys look different from where the list began: it is measured from here on.
        let (cut, base) = gap.samples.iter().find_map(|(from, _)| Some((ahead(from, STRIDE)?, from.clone())))?;
        self.base = Some(base);
        Some(cut)
    }
}
