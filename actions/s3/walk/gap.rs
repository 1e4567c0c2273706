//! A gap: keys of which only the ends are known, and what was seen on the way to it.

use super::Keyed;
use super::space::{Alphabet, Space};

/// Keys are this much sparser over a distance that has a void in it than over one that has none. Folders of one kind are not so far apart, even where
/// their names have room for a thousand times as many.
const VOID: f64 = 1e6;

/// Whether a key may come next behind another: the same one, too, where a key may come several times.
pub fn follows(key: &str, before: &str, repeats: bool) -> bool {
    key > before || (repeats && key == before)
}

/// Where the next page of a gap begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position<K> {
    /// Behind `start_after`.
    Start,
    /// Where the page before it ended.
    Token(K),
    /// The store says that there is more, and not where.
    Unknown,
}

/// Keys behind `low`, up to `high` and with it.
#[derive(Debug)]
pub struct Gap<K> {
    /// The last key that is known; none at the beginning of the list.
    pub low: Option<String>,
    /// The cut that it ends at; none at the end of the list.
    pub high: Option<String>,
    /// Whether `high` is a key of the next gap, and not of this one.
    pub exclusive: bool,
    /// What its first request started behind.
    pub start_after: Option<String>,
    /// Where its next page begins.
    pub position: Position<K>,
    /// The request for its next page, when it is on its way.
    pub busy: Option<u64>,
    /// What `low` was when that was sent.
    pub asked_from: Option<String>,
    /// Whether a page of it came.
    pub answered: bool,
    /// Cutting it was tried, and there was no place.
    pub dull: bool,
    /// The pages that are thought to be left, where there is something to measure by.
    pub left: Option<f64>,
    /// The same, before there is.
    pub guess: f64,
    /// Keys before `low`, and where they stand in the count of `walked`: the nearer, the more.
    pub samples: Vec<(String, i64)>,
    walked: i64,
}

impl<K> Gap<K> {
    /// Everything.
    pub fn first(start_after: Option<String>) -> Self {
        Gap {
            low: None,
            high: None,
            exclusive: false,
            start_after,
            position: Position::Start,
            busy: None,
            asked_from: None,
            answered: false,
            dull: false,
            left: None,
            guess: 1.0,
            samples: Vec::new(),
            walked: 0,
        }
    }

    /// What is behind a cut.
    pub fn behind(cut: String, high: Option<String>) -> Self {
        Gap { low: Some(cut.clone()), high, ..Gap::first(Some(cut)) }
    }

    /// Nothing is left. Where a key may come several times, more of it may follow the last page.
    pub fn is_empty(&self, repeats: bool) -> bool {
        let (Some(low), Some(high)) = (&self.low, &self.high) else { return false };
        low > high || (low == high && !repeats)
    }

    /// Drops what is before this gap. What a cut is itself, with all that comes of it, is of the gap before.
    pub fn drop_known<T: Keyed>(&self, items: &mut Vec<T>, repeats: bool) {
        if let Some(low) = &self.low {
            let start = items.partition_point(|item| !follows(item.key(), low, repeats && self.answered));
            items.drain(..start);
        }
    }

    /// Cuts off what is behind its end, and says whether there was any. What the next gap does not begin before is of this one: `first_behind` is the first
    /// key of that, where it is known, and there may be none. Then this gap goes on up to there.
    pub fn cut_off<T: Keyed>(&mut self, items: &mut Vec<T>, first_behind: Option<Option<String>>, is_last: bool) -> bool {
        let Some(high) = self.high.clone() else { return false };
        let inside = |key: &str| if self.exclusive { key < high.as_str() } else { key <= high.as_str() };
        let end = items.partition_point(|item| inside(item.key()));
        if end == items.len() {
            return false;
        }
        match first_behind {
            Some(Some(first)) if !self.exclusive => {
                let end = items.partition_point(|item| item.key() < first.as_str()).max(end);
                let past = end < items.len();
                items.truncate(end);
                if !past {
                    (self.high, self.exclusive) = (Some(first), true);
                }
                past
            }
            Some(None) if is_last => {
                self.high = None;
                false
            }
            _ => {
                items.truncate(end);
                true
            }
        }
    }

    /// Takes in so many keys at its lower end.
    pub fn grow(&mut self, first: &str, last: &str, keys: usize) {
        self.samples.push((first.to_owned(), self.walked + 1));
        self.walked += i64::try_from(keys).unwrap_or(i64::MAX);
        self.low = Some(last.to_owned());
        self.answered = true;
        self.thin();
    }

    /// Takes over what was seen in the gap before it.
    pub fn inherit(&mut self, before: Gap<K>) {
        if self.answered {
            let walked = before.walked;
            let samples = before.samples.into_iter().map(|(key, at)| (key, at - walked));
            self.samples = samples.chain(std::mem::take(&mut self.samples)).collect();
            self.thin();
        }
    }

    /// Keeps of the samples the first, and others each twice as far from the end as the one behind it.
    fn thin(&mut self) {
        let walked = self.walked;
        let mut kept: Vec<(String, i64)> = Vec::new();
        let mut least = 0;
        for (number, (key, at)) in std::mem::take(&mut self.samples).into_iter().enumerate().rev() {
            let back = (walked - at).max(1);
            if back >= least || number == 0 {
                kept.push((key, at));
                least = back.saturating_mul(2);
            }
        }
        kept.reverse();
        self.samples = kept;
    }

    /// The nearest sample that has so many keys behind it, or the farthest, and how many it has. From `low` itself it is no way.
    pub fn window(&self, keys: f64) -> Option<(&str, u64)> {
        let windows = self.samples.iter().rev().map(|(key, at)| (key.as_str(), (self.walked - at).max(0).unsigned_abs()));
        let windows: Vec<(&str, u64)> = windows.filter(|(key, seen)| *seen > 0 && self.low.as_deref() != Some(*key)).collect();
        windows.iter().find(|(_, seen)| *seen as f64 >= keys).or(windows.last()).copied()
    }

    /// How many pages there may be up to `high`, by the density over as many pages before: no more than `most` are asked of it.
    ///
    /// Where the keys seen lie on both sides of a wide void, those before it say nothing of those behind: they are forgotten.
    pub fn pages(&mut self, high: &str, page: usize, most: usize, space: &Space, alphabet: Alphabet) -> Option<f64> {
        let low = self.low.as_deref()?;
        let mut pages: Option<f64> = None;
        for (number, (key, at)) in self.samples.iter().enumerate().rev() {
            let seen = (self.walked - at).max(0) as f64 / page.max(1) as f64;
            let Some(ratio) = space.ratio(key, low, high, alphabet) else { continue };
            let guess = seen * ratio;
            if pages.is_some_and(|pages| guess * VOID < pages) {
                self.samples.drain(..=number);
                break;
            }
            pages = Some(guess);
            if seen * 2.0 >= guess.min(most as f64) {
                break;
            }
        }
        pages
    }
}
