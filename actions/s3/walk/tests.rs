//! The walk against a store in memory: whatever the keys, and in whatever order answers come, the list is that of one chain of tokens.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aaws::{Error, Next, Page, Result};
use fastrand::Rng;
use futures::{StreamExt, TryStreamExt};

use super::drive::{Keep, drive};
use super::kept::KeptCut;
use super::plan::{LEAD, Losses, Pace, PageRequest, Plan, Shape};
use super::{Keyed, Marker, Order};

impl Keyed for String {
    fn key(&self) -> &str {
        self
    }
}

/// How a store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ways {
    /// As S3 does.
    True,
    /// It begins at the beginning, whatever it is told.
    IgnoresStart,
    /// In the order of the bytes turned round, as a directory bucket may.
    Unordered,
    /// Folders before all else, as a store on a file system may.
    Folders,
    /// The token of its third page comes again for ever.
    Repeats,
    /// Its third page says that there is more, and not where.
    Loses,
}

/// Keys in the order in which the store lists them, answered a page at a time.
struct Store {
    keys: Vec<String>,
    page: usize,
    ways: Ways,
    requests: AtomicUsize,
    /// Keys given, and the most that were given and not read yet.
    given: AtomicUsize,
}

impl Store {
    fn new(keys: impl IntoIterator<Item = String>, page: usize, ways: Ways) -> Arc<Self> {
        let mut keys: Vec<String> = keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        if ways == Ways::Unordered {
            keys.sort_by_key(|key| key.bytes().rev().collect::<Vec<u8>>());
        }
        if ways == Ways::Folders {
            keys.sort_by_key(|key| folders_first(key));
        }
        Arc::new(Store { keys, page, ways, requests: AtomicUsize::new(0), given: AtomicUsize::new(0) })
    }

    fn answer(&self, ask: &PageRequest) -> Page<String, String> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let start = match (&ask.token, &ask.start_after) {
            (Some(token), _) => token.parse().expect("a token of this store"),
            (None, Some(after)) if self.ways == Ways::Folders => {
                self.keys.partition_point(|key| folders_first(key) <= folders_first(after))
            }
            (None, Some(after)) if self.ways != Ways::IgnoresStart => self.keys.partition_point(|key| key <= after),
            (None, _) => 0,
        };
        let end = self.keys.len().min(start + self.page);
        let items = self.keys[start..end].to_vec();
        self.given.fetch_add(items.len(), Ordering::Relaxed);
        let next = match self.ways {
            Ways::Repeats if number >= 3 => Next::At(self.page.to_string()),
            Ways::Loses if number >= 3 => Next::Unknown,
            _ if end < self.keys.len() => Next::At(end.to_string()),
            _ => Next::End,
        };
        Page { items, next }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    fn pages(&self) -> usize {
        self.keys.len().div_ceil(self.page).max(1)
    }

    /// Lists it. How long an answer takes is chance, the same for the same seed.
    async fn list(self: &Arc<Self>, order: Order, width: usize, seed: u64) -> Result<Vec<String>> {
        self.list_from(Vec::new(), None, order, width, seed).await
    }

    /// The same, beginning with cuts. Where all keys are below `p/`, that is their prefix.
    async fn list_from(
        self: &Arc<Self>,
        kept: Vec<KeptCut>,
        keep: Option<Keep>,
        order: Order,
        width: usize,
        seed: u64,
    ) -> Result<Vec<String>> {
        let prefix = if self.keys.iter().all(|key| key.starts_with("p/")) { "p/" } else { "" };
        let cuts = kept.len();
        let (losses, few) = losses(seed);
        let shape = Shape {
            what: "the keys".into(),
            prefix: prefix.into(),
            start_after: None,
            order,
            strict: true,
            repeats: false,
            width,
            page: self.page,
            losses,
        };
        let (store, rng) = (Arc::clone(self), std::sync::Mutex::new(Rng::with_seed(seed)));
        let pages = drive(Plan::new(shape).starting(kept).learning(), keep, pace(seed), move |ask| {
            let (store, waits) = (Arc::clone(&store), rng.lock().expect("the lock").usize(..6));
            async move {
                for _ in 0..waits {
                    tokio::task::yield_now().await;
                }
                Ok(store.answer(&ask))
            }
        });
        let (asked, mut read) = (self.requests(), self.given.load(Ordering::Relaxed));
        let keys = pages.inspect_ok(|keys| {
            let held = self.given.load(Ordering::Relaxed).saturating_sub(read);
            // Keys that came twice count here, and are not held: those of a quarter of the pages, or of a few.
            let twice = ((self.requests() - asked) / 4).max(few) + cuts;
            assert!(held <= (LEAD + width + twice) * self.page, "{held} keys are held");
            read += keys.len();
        });
        keys.map_ok(|keys| futures::stream::iter(keys).map(Ok::<String, Error>)).try_flatten().try_collect().await
    }
}

/// What a listing may lose, and a list of what is deleted, beside a quarter.
const LOSSES: [(Losses, usize); 2] = [(Losses::FEW, 5), (Losses::MORE, 10)];

/// Those of such a seed.
fn losses(seed: u64) -> (Losses, usize) {
    LOSSES[usize::from(seed % 4 == 2)]
}

/// How the pages of a list come: mostly so that they are waited for, of some seeds by chance.
fn pace(seed: u64) -> impl Fn(Duration) -> Pace + Send + 'static {
    let rng = Mutex::new(Rng::with_seed(seed));
    move |_| match (seed % 4, rng.lock().expect("the lock").u8(..3)) {
        (3, 0) => Pace::AtOnce,
        (3, 1) => Pace::Unclear,
        _ => Pace::Waited,
    }
}

fn folders_first(key: &str) -> String {
    key.replace('/', "\0")
}

/// Names in the ways that people name things, and in ways that they hardly do.
fn names(rng: &mut Rng, count: usize) -> Vec<String> {
    const ODD: [&str; 16] = ["a", "b", "/", "~", " ", "  ", "é", "ß", "日", "本", "\u{ffff}", "\u{e000}", "🦀", "🐍", "\u{1}", "%+"];
    let odd = |rng: &mut Rng, most: usize| (0..rng.usize(1..=most)).map(|_| *rng.choice(ODD.iter()).unwrap_or(&"x")).collect::<String>();
    match rng.u8(..8) {
        0 => (0..count).map(|n| format!("key-{n:07}")).collect(),
        1 => (0..count).map(|n| format!("2024/{:02}/{:02}/{:04}", n / 300 + 1, n / 10 % 30 + 1, n % 10)).collect(),
        2 => (0..count).map(|_| format!("{:016x}", rng.u64(..))).collect(),
        3 => (0..count).map(|n| if n % 10 == 0 { format!("a/{n}") } else { format!("most/of/it/{n:09}.txt") }).collect(),
        4 => (0..count).map(|n| n.to_string()).collect(),
        5 => (0..count).map(|_| odd(rng, 8)).collect(),
        6 => (0..count).map(|n| format!("{}{}", odd(rng, 2), "x".repeat(n % 7))).collect(),
        _ => (0..count).map(|n| format!("{}/{n:03} ", odd(rng, 3))).collect(),
    }
}

#[tokio::test]
async fn a_wide_list_is_that_of_one_chain() {
    let mut rng = Rng::with_seed(12);
    let mut wide = 0;
    for round in 0..400 {
        let (count, page) = (rng.usize(..400), rng.usize(3..=10));
        let store = Store::new(names(&mut rng, count), page, Ways::True);
        let width = rng.usize(2..=40);
        let keys = store.list(Order::Keys, width, round).await.expect("a list");
        assert_eq!(keys, store.keys, "round {round}");
        let (requests, pages) = (store.requests(), store.pages());
        wide += usize::from(requests > pages);
        match pages {
            1 => assert_eq!(requests, 1, "round {round}"),
            2 => assert!(requests <= 3, "round {round}: {requests} requests"),
            _ => assert!(requests <= pages + (pages / 4).max(losses(round).1), "round {round}: {requests} requests for {pages} pages"),
        }
        let mut any = store.list(Order::Any, width, round).await.expect("a list");
        any.sort();
        assert_eq!(any, store.keys, "round {round}, in any order");
    }
    assert!(wide > 100, "only {wide} lists were cut at all");
}

#[tokio::test]
async fn many_pages_are_asked_for_at_once_and_few_for_nothing() {
    let dated = |n: usize| format!("logs/2024/{:02}/{:02}/part-{:05}", n / 3000 + 1, n / 100 % 30 + 1, n % 100);
    let mut rng = Rng::with_seed(1);
    let shapes: [Vec<String>; 4] = [
        (0..20_000).map(|n| format!("key-{n:08}")).collect(),
        (0..20_000).map(dated).collect(),
        (0..20_000).map(|_| format!("{:032x}", rng.u128(..))).collect(),
        (0..20_000).map(|n| if n < 1000 { format!("a/{n:06}") } else { format!("big/{n:08}.jpg") }).collect(),
    ];
    for (number, keys) in shapes.into_iter().enumerate() {
        let store = Store::new(keys, 20, Ways::True);
        assert_eq!(store.list(Order::Keys, 16, 7).await.expect("a list"), store.keys, "shape {number}");
        let (requests, pages) = (store.requests(), store.pages());
        assert!(requests * 4 <= pages * 5, "shape {number}: {requests} requests for {pages} pages");
    }
}

#[tokio::test]
async fn cuts_that_are_keys_are_neither_lost_nor_doubled() {
    // Whatever is cut here is a key, and so is what is next to it.
    let letters: &[&str] = &["", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let keys = letters.iter().flat_map(|a| letters.iter().flat_map(move |b| letters.iter().map(move |c| format!("k{a}{b}{c}"))));
    for page in 3..8 {
        let store = Store::new(keys.clone(), page, Ways::True);
        for seed in 0..20 {
            assert_eq!(store.list(Order::Keys, 16, seed).await.expect("a list"), store.keys);
        }
    }
}

#[tokio::test]
async fn a_store_that_starts_elsewhere_or_has_no_order_is_read_page_by_page() {
    let keys = || (0..300).map(|n| format!("key-{n:04}"));
    for ways in [Ways::IgnoresStart, Ways::Unordered] {
        for order in [Order::Keys, Order::Any] {
            for seed in 0..20 {
                let store = Store::new(keys(), 10, ways);
                assert_eq!(store.list(order, 16, seed).await.expect("a list"), store.keys, "{ways:?}");
                assert!(store.requests() <= store.pages() + 1, "{ways:?}: {} requests", store.requests());
            }
        }
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_read_to_its_end_is_an_error() {
    for (ways, says) in [(Ways::Repeats, "where it was before"), (Ways::Loses, "without saying where")] {
        for width in [1, 16] {
            let store = Store::new((0..300).map(|n| format!("key-{n:04}")), 10, ways);
            let failed = store.list(Order::Keys, width, 3).await.map_err(|e| e.to_string());
            assert!(failed.as_ref().is_err_and(|e| e.contains(says) || e.contains("not in the order")), "{ways:?}: {failed:?}");
        }
    }
}

#[tokio::test]
async fn one_at_a_time_is_one_chain_of_tokens() {
    let store = Store::new((0..300).map(|n| format!("key-{n:04}")), 10, Ways::True);
    assert_eq!(store.list(Order::Keys, 1, 0).await.expect("a list"), store.keys);
    assert_eq!(store.requests(), 30);
}

#[tokio::test]
async fn while_answers_go_wrong_a_list_is_whole_or_an_error() {
    let (mut whole, mut failed) = (0, 0);
    for seed in 0..80 {
        let mut rng = Rng::with_seed(seed);
        let (count, page) = (rng.usize(..400), rng.usize(3..=10));
        let store = Store::new(names(&mut rng, count), page, Ways::True);
        let shape = Shape {
            what: "the keys".into(),
            prefix: String::new(),
            start_after: None,
            order: Order::Keys,
            strict: true,
            repeats: false,
            width: 8,
            page,
            losses: Losses::FEW,
        };
        let (asked, chance) = (Arc::clone(&store), std::sync::Mutex::new(rng));
        let pages = drive(
            Plan::new(shape),
            None,
            |_| Pace::Waited,
            move |ask| {
                let store = Arc::clone(&asked);
                let (fault, waits) = {
                    let mut chance = chance.lock().expect("the lock");
                    (chance.u8(..100), chance.usize(..6))
                };
                async move {
                    for _ in 0..waits {
                        tokio::task::yield_now().await;
                    }
                    let Page { items, next } = store.answer(&ask);
                    match (fault, ask.token) {
                        (0, _) => Err(Error::Failed("the answer broke off".into())),
                        // The token that it was asked for comes again.
                        (1, Some(token)) => Ok(Page { items, next: Next::At(token) }),
                        (2, _) if next != Next::End => Ok(Page { items, next: Next::Unknown }),
                        _ => Ok(Page { items, next }),
                    }
                }
            },
        );
        let (mut pages, mut given) = (Box::pin(pages), Vec::new());
        let ended = loop {
            match pages.try_next().await {
                Ok(Some(keys)) => given.extend(keys),
                Ok(None) => break Ok(()),
                Err(e) => break Err(e),
            }
        };
        match ended {
            Ok(()) => {
                assert_eq!(given, store.keys, "seed {seed}");
                whole += 1;
            }
            Err(e) => {
                assert!(store.keys.starts_with(&given), "seed {seed}: after {e} it is not the beginning of the list");
                failed += 1;
            }
        }
    }
    assert!(whole > 10 && failed > 10, "{whole} were whole, and {failed} failed");
}

#[tokio::test]
async fn a_store_with_an_order_of_its_own_is_listed_whole_or_not_at_all() {
    let mut rng = Rng::with_seed(7);
    let mut whole = 0;
    for round in 0..400 {
        let groups = rng.usize(2..20);
        let mut keys = Vec::new();
        for group in 0..groups {
            let separator = if rng.u8(..4) == 0 { '/' } else { '-' };
            keys.extend((0..rng.usize(1..80)).map(|n| format!("{group:02}{separator}{n:05}")));
        }
        keys.extend((0..rng.usize(0..200)).map(|n| format!("{:02}/{n:05}", groups / 2)));
        let store = Store::new(keys, rng.usize(3..=10), Ways::Folders);
        let order = if rng.bool() { Order::Keys } else { Order::Any };
        match store.list(order, rng.usize(2..=20), round).await {
            Ok(mut keys) => {
                let mut all = store.keys.clone();
                keys.sort();
                all.sort();
                assert_eq!(keys, all, "round {round}");
                whole += 1;
            }
            Err(e) => assert!(e.to_string().contains("not in the order"), "round {round}: {e}"),
        }
    }
    assert!(whole > 0, "none of 400 was listed");
}

/// How many rounds of requests a list takes when all that are asked for at once are answered together.
fn rounds(store: &Store, order: Order, width: usize) -> usize {
    rounds_from(store, Vec::new(), order, width).0
}

/// The same, beginning with cuts; and those that are to be kept of it.
fn rounds_from(store: &Store, kept: Vec<KeptCut>, order: Order, width: usize) -> (usize, Option<Vec<KeptCut>>) {
    rounds_of(store, kept, order, width, Losses::FEW, |_| Pace::Waited)
}

/// The same of a store whose pages come so.
fn rounds_of(
    store: &Store,
    kept: Vec<KeptCut>,
    order: Order,
    width: usize,
    losses: Losses,
    pace: impl Fn(&Page<String, String>) -> Pace,
) -> (usize, Option<Vec<KeptCut>>) {
    let shape = Shape {
        what: "the keys".into(),
        prefix: String::new(),
        start_after: None,
        order,
        strict: true,
        repeats: false,
        width,
        page: store.page,
        losses,
    };
    let mut plan: Plan<String> = Plan::new(shape).starting(kept).learning();
    let (mut rounds, mut keys) = (0, 0);
    while !plan.is_done() {
        let asks: Vec<PageRequest> = std::iter::from_fn(|| plan.request().expect("a page to ask for")).collect();
        for ask in asks {
            let page = store.answer(&ask);
            plan.note_pace(&page, pace(&page));
            plan.answer(ask.id, page).expect("a page of S3");
        }
        while let Some(items) = plan.take() {
            keys += items.len();
        }
        rounds += 1;
    }
    assert_eq!(keys, store.keys.len());
    (rounds, plan.learned())
}

/// Cuts as a file may have them: of an earlier list, of another one, or of somebody who means no good.
fn any_cuts(rng: &mut Rng, keys: &[String]) -> Vec<KeptCut> {
    let count = rng.usize(..=48);
    let cuts = (0..count).map(|_| {
        let key = rng.choice(keys.iter()).cloned().unwrap_or_default();
        let cut = match rng.u8(..8) {
            0 => key,
            1 => {
                let length = rng.usize(..=key.chars().count());
                key.chars().take(length).collect()
            }
            2 => format!("{key}\u{0}"),
            3 => String::new(),
            4 => names(rng, 1).concat(),
            5 => format!("p/{}", "\u{10fffd}".repeat(rng.usize(..3))),
            6 => format!("{key}{}", "~".repeat(rng.usize(..2000))),
            _ => format!("{key}0"),
        };
        KeptCut { cut, keys: [0, 1, 10, u64::MAX][rng.usize(..4)] }
    });
    let mut cuts: Vec<KeptCut> = cuts.collect();
    if rng.bool() {
        cuts.sort_by(|a, b| a.cut.cmp(&b.cut));
    }
    cuts
}

#[tokio::test]
async fn whatever_cuts_were_kept_a_list_is_that_of_one_chain() {
    let mut rng = Rng::with_seed(31);
    let mut wide = 0;
    for round in 0..400 {
        let (count, page) = (rng.usize(..400), rng.usize(3..=10));
        let below = if rng.bool() { "p/" } else { "" };
        let store = Store::new(names(&mut rng, count).into_iter().map(|key| format!("{below}{key}")), page, Ways::True);
        let width = rng.usize(2..=40);
        let pages = store.pages();
        for order in [Order::Keys, Order::Any] {
            let (cuts, before) = (any_cuts(&mut rng, &store.keys), store.requests());
            let many = cuts.len();
            let mut keys = store.list_from(cuts, None, order, width, round).await.expect("a list");
            if order == Order::Any {
                keys.sort();
            }
            assert_eq!(keys, store.keys, "round {round}, {order:?}");
            let requests = store.requests() - before;
            wide += usize::from(requests > pages);
            match pages {
                1 => assert_eq!(requests, 1, "round {round}, {order:?}"),
                2 => assert!(requests <= 3, "round {round}, {order:?}: {requests} requests"),
                _ => assert!(
                    requests <= pages + (pages / 4).max(losses(round).1) + many,
                    "round {round}, {order:?}: {requests} requests for {pages} pages"
                ),
            }
        }
    }
    assert!(wide > 100, "only {wide} lists were cut at all");
}

#[tokio::test]
async fn whatever_cuts_were_kept_a_store_that_starts_elsewhere_or_has_no_order_is_read_page_by_page() {
    let mut rng = Rng::with_seed(32);
    for ways in [Ways::IgnoresStart, Ways::Unordered] {
        for order in [Order::Keys, Order::Any] {
            for seed in 0..40 {
                let store = Store::new((0..300).map(|n| format!("key-{n:04}")), 10, ways);
                let kept = Arc::new(AtomicUsize::new(0));
                let times = Arc::clone(&kept);
                let keep: Keep = Box::new(move |_| {
                    times.fetch_add(1, Ordering::Relaxed);
                });
                let cuts = any_cuts(&mut rng, &store.keys);
                assert_eq!(store.list_from(cuts, Some(keep), order, 16, seed).await.expect("a list"), store.keys, "{ways:?}");
                assert!(store.requests() <= store.pages() + 1, "{ways:?}: {} requests", store.requests());
                assert_eq!(kept.load(Ordering::Relaxed), 0, "{ways:?}: cuts are of no use there");
            }
        }
    }
}

#[tokio::test]
async fn whatever_cuts_were_kept_a_store_with_an_order_of_its_own_is_listed_whole_or_not_at_all() {
    let mut rng = Rng::with_seed(33);
    for round in 0..400 {
        let groups = rng.usize(2..20);
        let mut keys = Vec::new();
        for group in 0..groups {
            let separator = if rng.u8(..4) == 0 { '/' } else { '-' };
            keys.extend((0..rng.usize(1..40)).map(|n| format!("{group:02}{separator}{n:05}")));
        }
        let store = Store::new(keys, rng.usize(3..=10), Ways::Folders);
        let order = if rng.bool() { Order::Keys } else { Order::Any };
        let cuts = any_cuts(&mut rng, &store.keys);
        match store.list_from(cuts, None, order, rng.usize(2..=20), round).await {
            Ok(mut keys) => {
                let mut all = store.keys.clone();
                keys.sort();
                all.sort();
                assert_eq!(keys, all, "round {round}");
            }
            Err(e) => assert!(e.to_string().contains("not in the order"), "round {round}: {e}"),
        }
    }
}

#[tokio::test]
async fn what_a_list_has_learned_is_kept_once_it_is_whole() {
    let store = Store::new((0..3000).map(|n| format!("key-{n:05}-secret")), 50, Ways::True);
    for order in [Order::Keys, Order::Any] {
        let learned = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&learned);
        let keep: Keep = Box::new(move |cuts| *into.lock().expect("the lock") = cuts);
        let keys = store.list_from(Vec::new(), Some(keep), order, 8, 5).await.expect("a list");
        assert_eq!(keys.len(), 3000, "{order:?}");
        let cuts = std::mem::take(&mut *learned.lock().expect("the lock"));
        assert!((10..=48).contains(&cuts.len()), "{order:?}: {} cuts", cuts.len());
        assert!(cuts.iter().all(|kept| kept.cut.starts_with("key-") && !kept.cut.contains("-secret")), "{order:?}: {cuts:?}");
        let before = store.requests();
        let mut again = store.list_from(cuts, None, order, 8, 6).await.expect("a list");
        again.sort();
        assert_eq!(again, store.keys, "{order:?}");
        let (requests, pages) = (store.requests() - before, store.pages());
        assert!(requests * 4 <= pages * 5, "{order:?}: {requests} requests for {pages} pages");
    }
    // A list that is not read to its end has learned nothing of the rest.
    let kept = Arc::new(AtomicUsize::new(0));
    let times = Arc::clone(&kept);
    let keep: Keep = Box::new(move |_| {
        times.fetch_add(1, Ordering::Relaxed);
    });
    let broken = Store::new((0..3000).map(|n| format!("key-{n:05}")), 50, Ways::Loses);
    assert!(broken.list_from(Vec::new(), Some(keep), Order::Keys, 8, 5).await.is_err());
    assert_eq!(kept.load(Ordering::Relaxed), 0);
}

#[test]
fn a_list_that_begins_with_the_cuts_of_an_earlier_one_takes_fewer_rounds() {
    let mut rng = Rng::with_seed(9);
    let shapes: [(&str, Vec<String>); 3] = [
        ("flat numbers", (0..24_000).map(|n| format!("key-{n:08}")).collect()),
        ("dates", (0..24_000).map(|n| format!("logs/2024/{:02}/{:02}/{:05}", n / 3000 + 1, n / 100 % 30 + 1, n % 100)).collect()),
        ("random names", (0..24_000).map(|_| format!("{:016x}", rng.u64(..))).collect()),
    ];
    for (shape, keys) in shapes {
        let store = Store::new(keys, 500, Ways::True);
        for order in [Order::Keys, Order::Any] {
            let (first, kept) = rounds_from(&store, Vec::new(), order, 16);
            let kept = kept.expect("the list was cut");
            let before = store.requests();
            let (again, _) = rounds_from(&store, kept, order, 16);
            assert!(again < first, "{shape}, {order:?}: {again} rounds, and {first} without");
            let (requests, pages) = (store.requests() - before, store.pages());
            assert!(requests * 4 <= pages * 5, "{shape}, {order:?}: {requests} requests for {pages} pages");
        }
    }
}

#[test]
fn cuts_of_a_list_that_is_short_by_now_cost_as_many_requests_as_are_sent_at_once() {
    let long = Store::new((0..100_000).map(|n| format!("key-{n:08}")), 500, Ways::True);
    let (_, kept) = rounds_from(&long, Vec::new(), Order::Keys, 16);
    let kept = kept.expect("the list was cut");
    for (count, most) in [(0, 1), (400, 1), (900, 3), (2_000, 20)] {
        let short = Store::new((0..count).map(|n| format!("key-{n:08}")), 500, Ways::True);
        rounds_from(&short, kept.clone(), Order::Keys, 16);
        assert!(short.requests() <= most, "{count} keys: {} requests", short.requests());
    }
    // None of the cuts is before a key any more, or all are before one.
    for first in ["a", "z"] {
        let other = Store::new((0..20_000).map(|n| format!("{first}-{n:08}")), 500, Ways::True);
        rounds_from(&other, kept.clone(), Order::Keys, 16);
        assert!(other.requests() * 4 <= other.pages() * 5 + 4, "{first}: {} requests for {} pages", other.requests(), other.pages());
    }
}

/// A page of what is there by now: a token says behind which key it goes on, as that of S3 does.
fn page_of(left: &BTreeSet<String>, ask: &PageRequest, page: usize) -> Page<String, String> {
    let from: Bound<&String> = ask.token.as_ref().or(ask.start_after.as_ref()).map_or(Bound::Unbounded, Bound::Excluded);
    let behind = left.range::<String, (Bound<&String>, Bound<&String>)>((from, Bound::Unbounded));
    let mut items: Vec<String> = behind.take(page + 1).cloned().collect();
    let is_last = items.len() <= page;
    items.truncate(page);
    let next = items.last().filter(|_| !is_last).map_or(Next::End, |last| Next::At(last.clone()));
    Page { items, next }
}

#[test]
fn what_is_deleted_as_it_is_listed_is_listed_whole_whatever_cuts_were_kept_and_others_do() {
    let (mut rng, mut wide) = (Rng::with_seed(31), 0);
    for round in 0..800 {
        let (count, page, width) = (rng.usize(..400), rng.usize(3..=10), rng.usize(2..=20));
        let known = names(&mut rng, count);
        let shape = Shape {
            what: "the keys".into(),
            prefix: String::new(),
            start_after: None,
            order: if rng.u8(..4) == 0 { Order::Keys } else { Order::Any },
            strict: rng.bool(),
            repeats: false,
            width,
            page,
            losses: if rng.bool() { Losses::FEW } else { Losses::MORE },
        };
        let cuts = if rng.bool() { any_cuts(&mut rng, &known) } else { Vec::new() };
        // A store that is asked to meet in one key is not changed by others meanwhile: that would be an error.
        let mut others = if shape.strict { 0 } else { rng.usize(..100) };
        let mut plan: Plan<String> = Plan::new(shape).starting(cuts).learning();
        let mut left: BTreeSet<String> = known.into_iter().collect();
        // Some stores read a page of their own entries, and then leave out what is gone of them.
        let (mut entries, leaves_entries) = (left.clone(), rng.bool());
        // Of those that were there from the beginning, and that nobody else deletes, none may be left out.
        let (mut wanted, mut given, mut asked) = (left.clone(), BTreeSet::new(), Vec::new());
        while !plan.is_done() {
            while let Some(ask) = plan.request().expect("a page to ask for") {
                wide += usize::from(ask.start_after.is_some() && ask.token.is_none());
                asked.push(ask);
            }
            assert!(!asked.is_empty(), "round {round}: it stands still");
            if others > 0 && rng.bool() {
                others -= 1;
                let written = format!("{}new{others}", names(&mut rng, 1).concat());
                entries.insert(written.clone());
                left.insert(written);
                if let Some(gone) = left.iter().nth(rng.usize(..left.len())).cloned() {
                    left.remove(&gone);
                    wanted.remove(&gone);
                }
            }
            let ask: PageRequest = asked.swap_remove(rng.usize(..asked.len()));
            let mut answer = page_of(if leaves_entries { &entries } else { &left }, &ask, page);
            answer.items.retain(|key| left.contains(key));
            plan.answer(ask.id, answer).unwrap_or_else(|e| panic!("round {round}: {e}"));
            for key in std::iter::from_fn(|| plan.take()).flatten() {
                left.remove(&key);
                wanted.remove(&key);
                assert!(!given.contains(&key), "round {round}: `{key}` came twice");
                given.insert(key);
            }
        }
        assert!(wanted.is_empty(), "round {round}: {wanted:?} did not come");
    }
    assert!(wide > 800, "only {wide} parts were begun behind a cut");
}

#[test]
fn a_store_whose_pages_are_short_or_empty_is_listed_whole() {
    let mut rng = Rng::with_seed(53);
    let mut empty = 0;
    for round in 0..600 {
        let (count, page, width) = (rng.usize(..600), rng.usize(3..=10), rng.usize(2..=20));
        let all: BTreeSet<String> = names(&mut rng, count).into_iter().collect();
        // It reads a page of its own entries, and leaves out what is gone of them: whole stretches may be.
        let (mut hides, mut visible) = (false, Vec::new());
        let mut hidden = BTreeSet::new();
        for key in &all {
            hides = if rng.usize(..page * 2) == 0 { rng.bool() } else { hides };
            if hides {
                hidden.insert(key.clone());
            } else {
                visible.push(key.clone());
            }
        }
        let shape = Shape {
            what: "the keys".into(),
            prefix: String::new(),
            start_after: None,
            order: if rng.bool() { Order::Keys } else { Order::Any },
            strict: rng.bool(),
            repeats: false,
            width,
            page,
            losses: if rng.bool() { Losses::FEW } else { Losses::MORE },
        };
        let cuts = if rng.bool() { any_cuts(&mut rng, &visible) } else { Vec::new() };
        let is_ordered = shape.order == Order::Keys;
        let mut plan: Plan<String> = Plan::new(shape).starting(cuts).learning();
        let (mut given, mut asked) = (Vec::new(), Vec::new());
        while !plan.is_done() {
            while let Some(ask) = plan.request().expect("a page to ask for") {
                asked.push(ask);
            }
            assert!(!asked.is_empty(), "round {round}: it stands still, after {} keys of {}", given.len(), visible.len());
            let ask: PageRequest = asked.swap_remove(rng.usize(..asked.len()));
            let mut answer = page_of(&all, &ask, page);
            answer.items.retain(|key| !hidden.contains(key));
            empty += usize::from(answer.items.is_empty() && answer.next != Next::End);
            plan.answer(ask.id, answer).unwrap_or_else(|e| panic!("round {round}: {e}"));
            given.extend(std::iter::from_fn(|| plan.take()).flatten());
        }
        if !is_ordered {
            given.sort();
        }
        assert_eq!(given, visible, "round {round}");
    }
    assert!(empty > 1000, "only {empty} pages were empty");
}

#[test]
fn a_long_list_is_walked_wide_whatever_its_folders() {
    let mut rng = Rng::with_seed(7);
    let mut random = || rng.u64(..);
    let shapes: [(&str, Vec<String>); 6] = [
        ("flat numbers", (0..200_000).map(|n| format!("key-{n:08}")).collect()),
        ("numbers of any length", (0..200_000).map(|n| n.to_string()).collect()),
        ("random names", (0..200_000).map(|_| format!("{:016x}", random())).collect()),
        // Most keys are in the middle one of three folders, whose names and lengths have nothing in common.
        (
            "most below one prefix",
            (0..200_000)
                .map(|n| match n % 20 {
                    0 => format!("archive/{n:08}"),
                    1 => format!("tmp/{n:08}"),
                    _ => format!("images/original/{n:09}.jpg"),
                })
                .collect(),
        ),
        ("a few folders", (0..200_000).map(|n| format!("{}/{n:06}", ["a", "data/x", "data/y", "logs", "zeta/one"][n % 5])).collect()),
        ("many folders", (0..200_000).map(|n| format!("user-{}/{n}.json", n % 997)).collect()),
    ];
    for (shape, keys) in shapes {
        let store = Store::new(keys, 500, Ways::True);
        for order in [Order::Keys, Order::Any] {
            let (before, pages) = (store.requests(), store.pages());
            let rounds = rounds(&store, order, 16);
            // One after another takes 400 rounds, and 16 at once 25.
            assert!(rounds <= 80, "{shape}, {order:?}: {rounds} rounds for {pages} pages");
            let requests = store.requests() - before;
            assert!(requests * 4 <= pages * 5, "{shape}, {order:?}: {requests} requests for {pages} pages");
        }
    }
}

#[test]
fn however_long_a_list_is_no_more_than_a_quarter_of_its_requests_is_lost() {
    // Between the folders is nothing, far and wide, and the last page is hardly ever full: whatever may be lost is.
    for count in (4_000..8_000).step_by(61) {
        let keys = (0..count).map(|n| match n % 20 {
            0 => format!("archive/{n:08}"),
            1 => format!("tmp/{n:08}"),
            _ => format!("images/original/{n:09}.jpg"),
        });
        let store = Store::new(keys, 200, Ways::True);
        for order in [Order::Keys, Order::Any] {
            let before = store.requests();
            rounds(&store, order, 16);
            let (requests, pages) = (store.requests() - before, store.pages());
            assert!(requests * 4 <= pages * 5, "{count} keys, {order:?}: {requests} requests for {pages} pages");
        }
    }
}

#[test]
fn whatever_is_deleted_its_list_loses_ten_requests_at_most_or_a_quarter() {
    let mut rng = Rng::with_seed(41);
    for round in 0..400 {
        let (count, page, width) = (rng.usize(..800), rng.usize(3..=10), rng.usize(2..=64));
        let store = Store::new(names(&mut rng, count), page, Ways::True);
        for order in [Order::Keys, Order::Any] {
            let before = store.requests();
            rounds_of(&store, Vec::new(), order, width, Losses::MORE, |_| Pace::Waited);
            let (requests, pages) = (store.requests() - before, store.pages());
            let most = if pages <= 2 { 2 * pages - 1 } else { pages + (pages / 4).max(10) };
            assert!(requests <= most, "round {round}, {order:?}: {requests} requests for {pages} pages");
        }
    }
}

#[test]
fn what_is_deleted_is_listed_in_fewer_round_trips() {
    let trips = |losses| {
        let of = |keys| rounds_of(&Store::new(keys, 1000, Ways::True), Vec::new(), Order::Any, 32, losses, |_| Pace::Waited).0;
        shapes(40_000).into_iter().map(of).collect::<Vec<usize>>()
    };
    let (few, more) = (trips(Losses::FEW), trips(Losses::MORE));
    assert!(more.iter().zip(&few).all(|(more, few)| more <= few) && more.iter().sum::<usize>() < few.iter().sum(), "{more:?}, {few:?}");
}

#[test]
fn folders_of_whole_pages_cost_no_request_more() {
    // Every part ends with a page whose keys are all behind its end: each loses a whole request, and so does the last one.
    let far = |folder: usize| format!("{:04x}", folder * 7919 % 65536);
    let dated = |folder: usize| format!("2024/{:02}/{:02}", folder / 28 + 1, folder % 28 + 1);
    let page = 20;
    for folders in 2..=30 {
        for each in [page, 2 * page] {
            let below = |folder: String| (0..each).map(move |n| format!("{folder}/{n:05}"));
            let shapes: [Vec<String>; 2] =
                [(0..folders).map(far).flat_map(below).collect(), (0..folders).map(dated).flat_map(below).collect()];
            for keys in shapes {
                let store = Store::new(keys, page, Ways::True);
                for (order, (losses, few)) in [Order::Keys, Order::Any].into_iter().flat_map(|order| LOSSES.map(|losses| (order, losses))) {
                    let before = store.requests();
                    rounds_of(&store, Vec::new(), order, 16, losses, |_| Pace::Waited);
                    let (requests, pages) = (store.requests() - before, store.pages());
                    let most = pages + (pages / 4).max(few);
                    assert!(requests <= most, "{folders} folders of {each}, {order:?}: {requests} requests for {pages} pages");
                }
            }
        }
    }
}

#[test]
fn a_list_that_becomes_unlike_its_beginning_loses_no_more_than_a_quarter() {
    // What was measured on the first part is wrong of the second, where each part that is open by then ends with a page for nothing.
    let page = 20;
    for (alike, folders, each) in (44..=60).step_by(4).flat_map(|alike| (16..=30).flat_map(move |n| [(alike, n, 1), (alike, n, 2)])) {
        let first = (0..alike * page).map(|n| format!("a{n:06}"));
        let second = (0..folders).flat_map(|folder| (0..each * page).map(move |n| format!("b{:04x}/{n:05}", folder * 7919 % 65536)));
        let store = Store::new(first.chain(second), page, Ways::True);
        let ways = [(Order::Keys, 16), (Order::Keys, 64), (Order::Any, 16), (Order::Any, 64)];
        for ((order, width), (losses, _)) in ways.into_iter().flat_map(|way| LOSSES.map(|losses| (way, losses))) {
            let before = store.requests();
            rounds_of(&store, Vec::new(), order, width, losses, |_| Pace::Waited);
            let (requests, pages) = (store.requests() - before, store.pages());
            let shape = format!("{alike} pages and {folders} folders of {each}, {order:?}, {width} at once");
            assert!(requests <= pages + pages / 4, "{shape}: {requests} requests for {pages} pages");
        }
    }
}

/// So many keys of four shapes.
fn shapes(count: usize) -> [Vec<String>; 4] {
    let mut rng = Rng::with_seed(3);
    [
        (0..count).map(|n| format!("key-{n:08}")).collect(),
        (0..count).map(|n| format!("logs/{}/{:02}/part-{:06}", n / 7560 + 2024, n / 27 % 280 + 10, n % 27)).collect(),
        (0..count).map(|_| format!("{:016x}", rng.u64(..))).collect(),
        // In the middle one of three folders, behind half a page, is a gap that looks endless.
        (0..count)
            .map(|n| match n % 20 {
                0 => format!("archive/{n:08}"),
                1 => format!("tmp/{n:08}"),
                _ => format!("images/original/{n:09}.jpg"),
            })
            .collect(),
    ]
}

#[test]
fn ten_pages_take_fewer_rounds_than_one_after_another_whatever_their_shape() {
    for (number, keys) in shapes(10_000).into_iter().enumerate() {
        let store = Store::new(keys, 1000, Ways::True);
        for order in [Order::Keys, Order::Any] {
            let rounds = rounds(&store, order, 16);
            assert!(rounds <= 8, "shape {number}, {order:?}: {rounds} rounds for {} pages", store.pages());
        }
    }
}

#[test]
fn a_short_list_of_a_store_that_answers_at_once_is_walked_by_tokens() {
    for (number, (short, long)) in shapes(10_000).into_iter().zip(shapes(100_000)).enumerate() {
        let (short, long) = (Store::new(short, 1000, Ways::True), Store::new(long, 1000, Ways::True));
        let cuts = rounds_from(&long, Vec::new(), Order::Keys, 16).1.expect("a long list learns something");
        for cuts in [Vec::new(), cuts] {
            let before = short.requests();
            let (rounds, _) = rounds_of(&short, cuts, Order::Keys, 16, Losses::FEW, |_| Pace::AtOnce);
            assert_eq!((rounds, short.requests() - before), (10, 10), "shape {number}");
        }
        let rounds = rounds_of(&long, Vec::new(), Order::Keys, 16, Losses::FEW, |_| Pace::AtOnce).0;
        assert!(rounds < 50, "shape {number}: {rounds} rounds for {} pages", long.pages());
        // What comes at once because there is hardly anything in it says nothing of the others.
        let empty = |page: &Page<String, String>| if page.items.len() < 1000 { Pace::AtOnce } else { Pace::Unclear };
        let rounds = rounds_of(&short, Vec::new(), Order::Keys, 16, Losses::FEW, empty).0;
        assert!(rounds <= 8, "shape {number}: {rounds} rounds for {} pages", short.pages());
        // Nor does one page that was at hand, if the others are not.
        let first = std::cell::Cell::new(true);
        let rounds =
            rounds_of(&short, Vec::new(), Order::Keys, 16, Losses::FEW, |_| if first.replace(false) { Pace::AtOnce } else { Pace::Waited })
                .0;
        assert!(rounds <= 8, "shape {number}: {rounds} rounds for {} pages", short.pages());
    }
}

/// A version or a delete marker. In the order of a listing: by key, and of each key the newest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    key: String,
    /// How many of the same key are newer.
    newer: usize,
    /// Opaque, and in no order; `null` is what was written without versions.
    id: String,
    is_marker: bool,
}

impl Keyed for Version {
    fn key(&self) -> &str {
        &self.key
    }
}

/// Versions, paged as S3 does: a page may end within a key, and says with key and version id where the next one begins. A key without a version id is where
/// all that comes of this key has ended.
struct Versioned {
    versions: Vec<Version>,
    page: usize,
    requests: AtomicUsize,
}

impl Versioned {
    /// Of any keys, each with none to five versions and delete markers, and some with more than a page.
    fn new(rng: &mut Rng, page: usize) -> Arc<Self> {
        let count = rng.usize(..200);
        let keys: BTreeSet<String> = names(rng, count).into_iter().collect();
        let mut versions = Vec::new();
        for key in keys {
            let most = if rng.u8(..25) == 0 { page * 4 } else { 5 };
            for newer in 0..rng.usize(..=most) {
                let id = if newer == 3 { "null".to_owned() } else { format!("{:04x}.{newer}", rng.u16(..)) };
                versions.push(Version { key: key.clone(), newer, id, is_marker: rng.bool() });
            }
        }
        Arc::new(Versioned { versions, page, requests: AtomicUsize::new(0) })
    }

    fn answer(&self, ask: &PageRequest<Marker>) -> Page<Version, Marker> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let behind = |key: &str| self.versions.partition_point(|version| version.key.as_str() <= key);
        let start = match (&ask.token, &ask.start_after) {
            (Some((key, Some(id))), _) => {
                let place = self.versions.iter().position(|version| version.key == *key && version.id == *id);
                place.expect("a marker of this store") + 1
            }
            (Some((key, None)), _) | (None, Some(key)) => behind(key),
            (None, None) => 0,
        };
        let end = self.versions.len().min(start + self.page);
        let items = self.versions.get(start..end).unwrap_or_default().to_vec();
        let next = match items.last() {
            Some(last) if end < self.versions.len() => Next::At((last.key.clone(), Some(last.id.clone()))),
            _ => Next::End,
        };
        Page { items, next }
    }

    fn pages(&self) -> usize {
        self.versions.len().div_ceil(self.page).max(1)
    }

    /// How many pages end within a key.
    fn torn(&self) -> usize {
        let pairs = self.versions.iter().zip(self.versions.iter().skip(1)).enumerate();
        pairs.filter(|(at, (last, next))| (at + 1) % self.page == 0 && last.key == next.key).count()
    }

    /// Lists them: what was given, how that ended, and how many requests it took. When things go wrong and how long an answer takes is chance, the same for
    /// the same seed.
    async fn list(self: &Arc<Self>, order: Order, width: usize, seed: u64, goes_wrong: bool) -> (Vec<Version>, Result<()>, usize) {
        self.list_from(Vec::new(), order, width, seed, goes_wrong).await
    }

    /// The same, beginning with cuts.
    async fn list_from(
        self: &Arc<Self>,
        kept: Vec<KeptCut>,
        order: Order,
        width: usize,
        seed: u64,
        goes_wrong: bool,
    ) -> (Vec<Version>, Result<()>, usize) {
        let shape = Shape {
            what: "the versions".into(),
            prefix: String::new(),
            start_after: None,
            order,
            strict: true,
            repeats: true,
            width,
            page: self.page,
            losses: losses(seed).0,
        };
        let before = self.requests.load(Ordering::Relaxed);
        let (store, chance) = (Arc::clone(self), std::sync::Mutex::new(Rng::with_seed(seed)));
        let pages = drive(Plan::new(shape).starting(kept).learning(), None, pace(seed), move |ask: PageRequest<Marker>| {
            let store = Arc::clone(&store);
            let (fault, waits) = {
                let mut chance = chance.lock().expect("the lock");
                (chance.u8(..100), chance.usize(..6))
            };
            async move {
                for _ in 0..waits {
                    tokio::task::yield_now().await;
                }
                let Page { items, next } = store.answer(&ask);
                match (fault, ask.token) {
                    (0, _) if goes_wrong => Err(Error::Failed("the answer broke off".into())),
                    // The marker that it was asked for comes again.
                    (1, Some(marker)) if goes_wrong => Ok(Page { items, next: Next::At(marker) }),
                    (2, _) if goes_wrong && next != Next::End => Ok(Page { items, next: Next::Unknown }),
                    _ => Ok(Page { items, next }),
                }
            }
        });
        let (mut pages, mut given) = (Box::pin(pages), Vec::new());
        let ended = loop {
            match pages.try_next().await {
                Ok(Some(versions)) => given.extend(versions),
                Ok(None) => break Ok(()),
                Err(e) => break Err(e),
            }
        };
        (given, ended, self.requests.load(Ordering::Relaxed) - before)
    }
}

#[tokio::test]
async fn a_wide_list_of_versions_is_that_of_one_chain() {
    let mut rng = Rng::with_seed(21);
    let (mut wide, mut torn) = (0, 0);
    for round in 0..400 {
        let page = rng.usize(3..=10);
        let store = Versioned::new(&mut rng, page);
        let pages = store.pages();
        torn += store.torn();
        let (chain, ended, requests) = store.list(Order::Keys, 1, round, false).await;
        ended.expect("a list");
        assert_eq!((&chain, requests), (&store.versions, pages), "round {round}, one after another");

        let width = rng.usize(2..=40);
        for order in [Order::Keys, Order::Any] {
            let (mut given, ended, requests) = store.list(order, width, round, false).await;
            ended.expect("a list");
            if order == Order::Any {
                given.sort();
            }
            assert_eq!(given, chain, "round {round}, {order:?}");
            wide += usize::from(requests > pages);
            match pages {
                1 => assert_eq!(requests, 1, "round {round}, {order:?}"),
                2 => assert!(requests <= 3, "round {round}, {order:?}: {requests} requests"),
                _ => assert!(
                    requests <= pages + (pages / 4).max(losses(round).1),
                    "round {round}, {order:?}: {requests} requests for {pages} pages"
                ),
            }
        }
    }
    assert!(wide > 200, "only {wide} lists were cut at all");
    assert!(torn > 1000, "only {torn} pages ended within a key");
}

#[tokio::test]
async fn whatever_cuts_were_kept_a_list_of_versions_is_that_of_one_chain() {
    let mut rng = Rng::with_seed(34);
    for round in 0..300 {
        let page = rng.usize(3..=10);
        let store = Versioned::new(&mut rng, page);
        let (width, pages) = (rng.usize(2..=40), store.pages());
        let keys: Vec<String> = store.versions.iter().map(|version| version.key.clone()).collect();
        for order in [Order::Keys, Order::Any] {
            let cuts = any_cuts(&mut rng, &keys);
            let many = cuts.len();
            let (mut given, ended, requests) = store.list_from(cuts, order, width, round, false).await;
            ended.expect("a list");
            if order == Order::Any {
                given.sort();
            }
            assert_eq!(given, store.versions, "round {round}, {order:?}");
            assert!(
                requests <= pages + (pages / 4).max(losses(round).1) + many,
                "round {round}, {order:?}: {requests} requests for {pages} pages"
            );
        }
    }
}

#[tokio::test]
async fn while_answers_go_wrong_a_list_of_versions_is_whole_or_an_error() {
    let (mut whole, mut failed) = (0, 0);
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let page = rng.usize(3..=10);
        let store = Versioned::new(&mut rng, page);
        for order in [Order::Keys, Order::Any] {
            let (mut given, ended, _) = store.list(order, 8, seed, true).await;
            if order == Order::Any {
                given.sort();
                assert!(given.is_sorted_by(|a, b| a < b), "seed {seed}: a version came twice");
            }
            match ended {
                Ok(()) => {
                    assert_eq!(given, store.versions, "seed {seed}, {order:?}");
                    whole += 1;
                }
                Err(e) => {
                    let is_part = match order {
                        Order::Keys => store.versions.starts_with(&given),
                        Order::Any => given.iter().all(|version| store.versions.binary_search(version).is_ok()),
                    };
                    assert!(is_part, "seed {seed}, {order:?}: after {e} it is no part of the list");
                    failed += 1;
                }
            }
        }
    }
    assert!(whole > 20 && failed > 20, "{whole} were whole, and {failed} failed");
}

#[tokio::test]
async fn a_key_with_many_pages_of_versions_is_read_to_its_end_from_within() {
    // Whatever is cut here is a key, and most of it is one: cuts land before, at and behind it.
    for many in [0, 4, 9] {
        let versions = (0..10).flat_map(|n| {
            let count = if n == many { 200 } else { 7 };
            (0..count).map(move |newer| Version {
                key: format!("k{n}"),
                newer,
                id: format!("{:02x}.{newer}", newer * 97 % 256),
                is_marker: newer == 0,
            })
        });
        let store = Arc::new(Versioned { versions: versions.collect(), page: 3, requests: AtomicUsize::new(0) });
        for seed in 0..20 {
            let (given, ended, requests) = store.list(Order::Keys, 16, seed, false).await;
            ended.expect("a list");
            assert_eq!(given, store.versions, "{many}, seed {seed}");
            assert!(requests * 4 <= store.pages() * 5, "{many}, seed {seed}: {requests} requests for {} pages", store.pages());
        }
    }
}
