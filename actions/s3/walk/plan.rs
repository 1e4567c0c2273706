//! Which page is asked for next: the key space as pages that came and gaps between them, and where a gap is cut.
//!
//! One chain of tokens is enough to list a bucket, and too slow: each page waits for the one before. So gaps are cut, and each is walked by itself: by
//! the tokens of its own pages, after a first request that starts behind the cut. A cut is a guess. One that lands where no keys are, or just before
//! a page that is known, costs a request; how many may be lost so is limited to a quarter of the pages that came, a few of a short list, whatever the keys.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};

use aaws::{Error, Next, Page, Result};

use super::gap::{Gap, Position};
use super::kept::{Density, KeptCut};
use super::space::Space;
use super::{Keyed, Order};

mod cuts;
mod kept;
mod trust;

pub use cuts::Losses;
use trust::Trust;

/// Pages that may be there or on their way before they are read, the first gap's own aside: a list in order waits for that one.
pub const LEAD: usize = 64;

/// Of a store that answers at once a list is cut that has so many full pages: a shorter one is walked as fast by tokens, and loses nothing.
const LONG: usize = 10;

/// Of every page that is learned from, one key in so many is looked at closely.
const SAMPLED: usize = 37;

/// How a list is walked.
#[derive(Debug)]
pub struct Shape {
    /// What is listed, for errors: "the objects of the bucket `b`".
    pub what: String,
    /// What all keys begin with.
    pub prefix: String,
    /// Only keys behind this one.
    pub start_after: Option<String>,
    /// In which order keys are given out.
    pub order: Order,
    /// Whether parts of the list have to meet in one key, or it is an error: of a store that may order some keys in another way than by their bytes. Of S3
    /// this is not asked, as somebody may delete that very key while it is listed.
    pub strict: bool,
    /// The most requests at once; one of them walks by tokens alone.
    pub width: usize,
    /// The most keys of a page.
    pub page: usize,
    /// How many requests may be lost while the list is short.
    pub losses: Losses,
    /// Whether a key may come several times, one behind another, and on several pages: its versions.
    pub repeats: bool,
}

/// A page to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<K = String> {
    /// Which it is.
    pub id: u64,
    /// Only keys behind this one.
    pub start_after: Option<String>,
    /// Where the page before it ended; it says where to go on, whatever `start_after` is.
    pub token: Option<K>,
}

/// How long a page took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Next to nothing.
    AtOnce,
    /// Something in between.
    Unclear,
    /// It was waited for.
    Waited,
}

enum Piece<T, K> {
    /// Objects that wait for those before them.
    Items(Vec<T>),
    /// Keys that are not known yet.
    Gap(Box<Gap<K>>),
}

impl<T, K> Piece<T, K> {
    fn into_items(self) -> Option<Vec<T>> {
        match self {
            Piece::Items(items) => Some(items),
            Piece::Gap(_) => None,
        }
    }
}

/// What there is, what is asked for, and what comes next. `K` is what says where a page begins.
pub struct Plan<T, K = String> {
    shape: Shape,
    space: Space,
    pieces: Vec<Piece<T, K>>,
    ready: VecDeque<Vec<T>>,
    trust: Trust,
    /// The first key behind each cut, once it is known; none where nothing is.
    firsts: HashMap<String, Option<String>>,
    /// Pages that go on behind the end of their gap, before it is known what begins there.
    waiting: Vec<(u64, Page<T, K>)>,
    /// From where a first cut is measured.
    base: Option<String>,
    /// Cuts of an earlier list that were not tried yet.
    kept: VecDeque<KeptCut>,
    /// What is learned for a later one, if anything is.
    density: Option<Density>,
    /// Hashes of the tokens asked for, each with where its gap began: one that comes again leads nowhere.
    asked: HashSet<u64>,
    hasher: RandomState,
    ids: u64,
    in_flight: usize,
    /// Requests answered, and keys that they brought.
    answered: usize,
    keys: usize,
    /// Pages that were full, with more behind them.
    full: usize,
    /// Whether full pages come at once, as of the last of which that was clear.
    quick: bool,
    /// Keys held that nobody has read.
    held: usize,
}

impl<T: Keyed, K: Clone + Eq + Hash> Plan<T, K> {
    /// Begins with one gap that holds everything.
    pub fn new(shape: Shape) -> Self {
        let all = Gap::first(shape.start_after.clone());
        let trust = if shape.width > 1 { Trust::Open(None) } else { Trust::Lost };
        Plan {
            space: Space::new(&shape.prefix),
            pieces: vec![Piece::Gap(Box::new(all))],
            ready: VecDeque::new(),
            trust,
            firsts: HashMap::new(),
            waiting: Vec::new(),
            base: None,
            kept: VecDeque::new(),
            density: None,
            asked: HashSet::new(),
            hasher: RandomState::new(),
            ids: 0,
            in_flight: 0,
            answered: 0,
            keys: 0,
            full: 0,
            quick: false,
            held: 0,
            shape,
        }
    }

    /// The next objects to give out, a page or less.
    pub fn take(&mut self) -> Option<Vec<T>> {
        let items = self.ready.pop_front()?;
        self.held -= items.len();
        Some(items)
    }

    /// A page to ask for now, if one should be. When nothing is in flight and nothing is to be taken, there is one until the list is whole.
    pub fn request(&mut self) -> Result<Option<PageRequest<K>>> {
        while self.in_flight < self.shape.width.max(1) {
            let survey = self.survey();
            if let Some(at) = survey.idle {
                return self.ask(at).map(Some);
            }
            if let Some(at) = self.split_at_kept(&survey) {
                return self.ask(at).map(Some);
            }
            if !self.may_cut(&survey) {
                break;
            }
            self.space.prepare();
            let near = survey.best.filter(|_| matches!(self.trust, Trust::Proven));
            let (at, cut) = match (near, survey.last) {
                (Some((at, pages)), _) => (at, self.cut_near(at, pages)),
                (None, Some(at)) if self.may_stride(at, &survey) => (at, self.cut_far(at)),
                _ => break,
            };
            if let Some(cut) = cut {
                self.split(at, cut);
                return self.ask(at + 1).map(Some);
            }
            if let Some(gap) = self.gap_mut(at) {
                gap.dull = true;
            }
        }
        Ok(None)
    }

    /// Says how a page came. Where full ones come at once, a short list is walked by tokens, as a request that is lost takes longer than what is waited for.
    pub fn note_pace(&mut self, page: &Page<T, K>, pace: Pace) {
        match pace {
            _ if page.items.len() < self.shape.page => {}
            Pace::AtOnce => self.quick = true,
            Pace::Waited => self.quick = false,
            Pace::Unclear => {}
        }
    }

    /// Whether enough pages came for a cut to be worth it.
    fn is_long(&self) -> bool {
        self.full >= if self.quick { LONG } else { 2 }
    }

    /// Whether all was given out.
    pub fn is_done(&self) -> bool {
        self.pieces.is_empty() && self.ready.is_empty()
    }

    /// Takes a page in.
    pub fn answer(&mut self, id: u64, page: Page<T, K>) -> Result<()> {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.answered += 1;
        if matches!(&self.trust, Trust::Open(Some((probe, _))) if *probe == id) && !self.judge(&page) {
            return Ok(());
        }
        let asked = self.pieces.iter().position(|piece| matches!(piece, Piece::Gap(gap) if gap.busy == Some(id)));
        // A gap that was walked by another meanwhile.
        let Some(mut at) = asked else { return Ok(()) };
        if !matches!(self.trust, Trust::Lost) && !self.in_order(at, &page.items) {
            if matches!(self.trust, Trust::Proven) {
                return Err(self.out_of_order());
            }
            // Until the store is known to start where it is told to, the first gap holds the chain that began the list.
            self.walk_alone();
            at = 0;
        }
        if !matches!(self.trust, Trust::Lost) {
            self.learn(&page);
            self.note_first(at, &page);
        }
        if self.waits(at, &page) {
            self.waiting.push((id, page));
            return Ok(());
        }
        self.meets(at, &page)?;
        self.fill(at, page);
        self.flush();
        self.fill_waiting()
    }

    /// Whether a page goes on behind the end of its gap, and it is not known yet with which key the next gap begins, or, where that has none, whether one
    /// behind it has. A store that orders some keys in another way may have keys in between, which are of this page then. S3 has none, and is not waited for.
    fn waits(&self, at: usize, page: &Page<T, K>) -> bool {
        let Some(gap) = self.gap(at).filter(|gap| self.meets_parts() && !gap.exclusive) else { return false };
        let Some(high) = &gap.high else { return false };
        let is_open = || match self.first_behind(at) {
            None => true,
            Some(None) => self.pieces.iter().skip(at + 1).any(|piece| matches!(piece, Piece::Gap(gap) if !gap.answered)),
            Some(Some(_)) => false,
        };
        page.items.last().is_some_and(|last| last.key() > high.as_str()) && is_open()
    }

    fn fill_waiting(&mut self) -> Result<()> {
        let mut filled = !self.waiting.is_empty();
        while filled {
            filled = false;
            for (id, page) in std::mem::take(&mut self.waiting) {
                let at = self.pieces.iter().position(|piece| matches!(piece, Piece::Gap(gap) if gap.busy == Some(id)));
                match at {
                    Some(at) if self.waits(at, &page) => self.waiting.push((id, page)),
                    Some(at) => {
                        self.meets(at, &page)?;
                        self.fill(at, page);
                        self.flush();
                        filled = true;
                    }
                    // Walked by another meanwhile.
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// Takes an error in. That of a request nobody needs any more is none; a store that does not take the first request behind a cut is walked without.
    pub fn refused(&mut self, id: u64, error: Error) -> Result<()> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let probed = matches!(&self.trust, Trust::Open(Some((probe, _))) if *probe == id);
        let not_taken = matches!(&error, Error::Aws(e) if matches!(e.status, Some(400 | 501)));
        let needed = self.pieces.iter().any(|piece| matches!(piece, Piece::Gap(gap) if gap.busy == Some(id)));
        match () {
            () if probed && not_taken => {
                tracing::debug!("{} are listed one page after another: {error}", self.shape.what);
                self.answered += 1;
                self.walk_alone();
                Ok(())
            }
            () if needed => Err(error),
            () => Ok(()),
        }
    }

    fn learn(&mut self, page: &Page<T, K>) {
        let (Some(first), Some(last)) = (page.items.first(), page.items.last()) else { return };
        if self.base.is_none() {
            self.base = Some(first.key().to_owned());
        }
        page.items.iter().step_by(SAMPLED).for_each(|item| self.space.learn(item.key()));
        self.space.learn(last.key());
        self.space.learn_page(first.key(), last.key());
        self.full += usize::from(page.items.len() >= self.shape.page && page.next != Next::End);
    }

    /// Puts a page into the gap that it was asked for.
    fn fill(&mut self, mut at: usize, page: Page<T, K>) {
        let Page { mut items, next } = page;
        let ends = next == Next::End;
        if ends || items.last().is_some_and(|last| self.reaches_end(at, last.key())) {
            self.rejoin(at);
        }
        let (ordered, repeats) = (!matches!(self.trust, Trust::Lost), self.shape.repeats);
        let is_last = !self.pieces.iter().skip(at + 1).any(|piece| matches!(piece, Piece::Gap(_)));
        let first_behind = self.first_behind(at).cloned();
        let keeps_first = self.keeps_first(at);
        let Some(gap) = self.gap_mut(at) else { return };
        gap.busy = None;
        gap.dull = false;
        let mut past = false;
        if ordered {
            past = gap.cut_off(&mut items, first_behind, is_last);
            gap.drop_known(&mut items, repeats);
        }
        if let (Some(first), Some(last)) = (items.first(), items.last()) {
            gap.grow(first.key(), last.key(), items.len());
        }
        gap.position = match next {
            Next::At(token) => Position::Token(token),
            Next::Unknown | Next::End => Position::Unknown,
        };
        let walked = ends || past || gap.is_empty(repeats);
        if !items.is_empty() {
            self.keys += items.len();
            self.held += items.len();
            if let Some(density) = self.density.as_mut().filter(|_| ordered) {
                density.note(&items, self.shape.page);
            }
            match self.shape.order {
                Order::Keys => {
                    self.pieces.insert(at, Piece::Items(items));
                    at += 1;
                }
                Order::Any if keeps_first => {
                    let others = items.split_off(1);
                    self.pieces.insert(at, Piece::Items(items));
                    at += 1;
                    if !others.is_empty() {
                        self.ready.push_back(others);
                    }
                }
                Order::Any => self.ready.push_back(items),
            }
        }
        if walked {
            self.close(at);
        } else if ordered {
            self.measure(at);
        }
    }

    /// Notes with which key the keys behind a cut begin, where parts have to meet in it.
    fn note_first(&mut self, at: usize, page: &Page<T, K>) {
        let Some(gap) = self.gap(at).filter(|gap| self.shape.strict && !gap.answered) else { return };
        let Some(cut) = gap.start_after.clone() else { return };
        let first = page.items.iter().map(Keyed::key).find(|key| *key > cut.as_str());
        if first.is_none() && page.next != Next::End {
            return;
        }
        // Where this gap has none itself, the one behind it may know better: what that gave out may be deleted by now.
        let high = gap.high.as_deref().filter(|high| first.is_none_or(|first| first > *high));
        let known = high.and_then(|high| self.firsts.get(high)?.as_deref());
        let first = known.into_iter().chain(first).min().map(str::to_owned);
        self.firsts.insert(cut, first);
    }

    /// The first key behind the cut that a gap ends at, where it is noted; there may be none.
    fn first_behind(&self, at: usize) -> Option<&Option<String>> {
        let gap = self.gap(at).filter(|gap| !gap.exclusive)?;
        self.firsts.get(gap.high.as_ref()?)
    }

    /// Whether the first key of this gap comes now, and the gap before it has yet to meet it: until then it is kept back, as whoever reads the list may
    /// delete what is given out.
    fn keeps_first(&self, at: usize) -> bool {
        let is_first = self.gap(at).is_some_and(|gap| !gap.answered);
        let is_behind = at.checked_sub(1).is_some_and(|before| self.gap(before).is_some());
        self.meets_parts() && is_first && is_behind
    }

    fn reaches_end(&self, at: usize, key: &str) -> bool {
        self.gap(at).and_then(|gap| gap.high.as_deref()).is_some_and(|high| key >= high)
    }

    /// Takes a gap away that is walked to its end. What was seen in it says how dense the keys before the next one are.
    fn close(&mut self, at: usize) {
        if at >= self.pieces.len() {
            return;
        }
        let Piece::Gap(walked) = self.pieces.remove(at) else { return };
        // What it had to meet, unless it was empty and the gap before it has to instead.
        let is_kept = at.checked_sub(1).is_some_and(|before| self.gap(before).is_some());
        if self.shape.order == Order::Any && !is_kept && matches!(self.pieces.get(at), Some(Piece::Items(_))) {
            let met = self.pieces.remove(at);
            self.ready.extend(met.into_items());
        }
        let next = (at..self.pieces.len()).find(|at| matches!(self.pieces.get(*at), Some(Piece::Gap(_))));
        if let Some(at) = next
            && let Some(gap) = self.gap_mut(at)
        {
            gap.inherit(*walked);
            self.measure(at);
        }
    }

    /// Gives out what has nothing before it any more.
    fn flush(&mut self) {
        let known = self.pieces.iter().take_while(|piece| matches!(piece, Piece::Items(_))).count();
        self.ready.extend(self.pieces.drain(..known).filter_map(Piece::into_items));
    }

    fn split(&mut self, at: usize, cut: String) {
        let Some(gap) = self.gap_mut(at) else { return };
        let before = gap.left;
        let exclusive = std::mem::take(&mut gap.exclusive);
        let mut right = Gap::behind(cut.clone(), gap.high.replace(cut));
        right.exclusive = exclusive;
        self.pieces.insert(at + 1, Piece::Gap(Box::new(right)));
        self.measure(at);
        let left = self.gap(at).and_then(|gap| gap.left);
        if let (Some(gap), Some(before)) = (self.gap_mut(at + 1), before) {
            gap.guess = (before - left.unwrap_or_default()).max(1.0);
        }
    }

    fn ask(&mut self, at: usize) -> Result<PageRequest<K>> {
        let id = self.ids;
        let open = matches!(self.trust, Trust::Open(None));
        let what = self.shape.what.clone();
        let broken = |how: &str| Error::Failed(format!("the listing of {what} goes on {how}: it cannot be read to its end"));
        let Some(Piece::Gap(gap)) = self.pieces.get_mut(at) else { return Err(broken("nowhere")) };
        let token = match &gap.position {
            Position::Start => None,
            Position::Token(token) => Some(token.clone()),
            Position::Unknown => return Err(broken("without saying where")),
        };
        // A few bytes for each page: all that grows with the list. Where pages may be empty, two gaps may well come to the same token.
        if token.as_ref().is_some_and(|token| !self.asked.insert(self.hasher.hash_one((&gap.start_after, token)))) {
            return Err(broken("where it was before"));
        }
        gap.busy = Some(id);
        gap.asked_from.clone_from(&gap.low);
        if open && at > 0 {
            self.trust = Trust::Open(gap.start_after.clone().map(|cut| (id, cut)));
        }
        self.ids += 1;
        self.in_flight += 1;
        Ok(PageRequest { id, start_after: gap.start_after.clone(), token })
    }

    fn gap(&self, at: usize) -> Option<&Gap<K>> {
        match self.pieces.get(at)? {
            Piece::Gap(gap) => Some(gap),
            Piece::Items(_) => None,
        }
    }

    fn gap_mut(&mut self, at: usize) -> Option<&mut Gap<K>> {
        match self.pieces.get_mut(at)? {
            Piece::Gap(gap) => Some(gap),
            Piece::Items(_) => None,
        }
    }
}
