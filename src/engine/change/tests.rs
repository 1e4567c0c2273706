//! How items are changed, shown with changes that need no AWS.

use std::sync::atomic::{AtomicU32, Ordering};

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::aws::session::Session;
use crate::engine::host::{Consent, Host, Question, Unattended};
use crate::engine::journal::{Journal, JournalResult, StepId, StepNote};
use crate::engine::run::{Concurrency, Run, RunOptions};
use crate::model::cancellation::{CancelReason, Cancellation};
use crate::model::meta::{Effect, Meta};
use crate::model::outcome::{Failure, Status};

static META: Meta = Meta { path: "test/change", effect: Effect::Modify, calls: &[], rules: &[], examples: &[], notes: &[] };

fn context(concurrency: usize) -> Context {
    let concurrency = Concurrency::try_from(concurrency).unwrap_or_else(|e| panic!("{e}"));
    let options = RunOptions { concurrency, ..RunOptions::default() };
    let run = Run::new(options, Arc::new(Unattended), None, None, Cancellation::default());
    Context::new(&META, Session::local(), Arc::new(run))
}

/// Half way through its steps when another item meets an error that ends the run.
struct Slow(Arc<AtomicU32>);

#[async_trait]
impl Change for Slow {
    type Item = &'static str;
    type Done = ();

    fn id(&self, item: &&'static str) -> String {
        (*item).to_owned()
    }

    fn summary(&self) -> String {
        "take time".into()
    }

    async fn apply(&self, _: &Context, items: &[&'static str]) -> Result<Vec<Outcome>> {
        if items.contains(&"fatal") {
            return Err(Error::NoRegion);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(items.iter().map(|_| Outcome::done(())).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_settled_before_the_error_that_ends_the_run() {
    let finished = Arc::default();
    let items = stream::iter(["slow", "fatal"].map(Ok));
    let changed = context(2).change(items, Slow(Arc::clone(&finished))).await.unwrap_or_else(|e| panic!("{e}"));
    let settled: Result<Vec<_>> = futures::TryStreamExt::try_collect(changed.results()).await;
    assert!(matches!(settled, Err(Error::NoRegion)));
    assert_eq!(finished.load(Ordering::Relaxed), 1, "it was not dropped half way");
}

/// Fails odd numbers, a multiple of ten twice before it works, and everything at 666.
#[derive(Default)]
struct Numbers {
    tries: AtomicU32,
    batches: Arc<Mutex<Vec<Vec<u32>>>>,
}

#[async_trait]
impl Change for Numbers {
    type Item = u32;
    type Done = ();

    fn id(&self, item: &u32) -> String {
        item.to_string()
    }

    fn summary(&self) -> String {
        "change numbers".into()
    }

    fn precheck(&self, item: &u32) -> Option<Outcome> {
        (*item == 0).then(|| Outcome::skipped("protected"))
    }

    fn batch(&self) -> usize {
        4
    }

    fn alone(&self, item: &u32) -> bool {
        *item == 7
    }

    async fn apply(&self, _: &Context, items: &[u32]) -> Result<Vec<Outcome>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).push(items.to_vec());
        if items.contains(&666) {
            return Err(Error::Credentials { message: "expired".into() });
        }
        let again = self.tries.fetch_add(1, Ordering::Relaxed) < 2;
        let outcome = |item: &u32| match item {
            n if n % 10 == 0 && again => Outcome::Failed(Failure::from_code("SlowDown", "later")),
            n if n % 2 == 1 => Outcome::Failed(Failure::from_code("AccessDenied", "no")),
            _ => Outcome::done(()),
        };
        // The answer forgets the last item of a batch with a 99 in it.
        let answered = if items.contains(&99) { items.len() - 1 } else { items.len() };
        Ok(items[..answered].iter().map(outcome).collect())
    }
}

async fn settled(cx: &Context, items: Vec<u32>, numbers: Numbers) -> Vec<(String, Status, Option<String>)> {
    let changed = cx.change(stream::iter(items.into_iter().map(Ok)), numbers).await.unwrap_or_else(|e| panic!("{e}"));
    let all: Vec<_> = changed.results().collect().await;
    all.into_iter().flatten().map(|s| (s.record.item, s.record.status, s.record.code)).collect()
}

#[tokio::test(start_paused = true)]
async fn every_item_comes_back_once_and_in_order() {
    let batches = Arc::default();
    let numbers = Numbers { batches: Arc::clone(&batches), tries: AtomicU32::new(9) };
    let items = vec![2, 4, 5, 0, 7, 8, 3, 6, 12, 14, 99, 16];
    let all = settled(&context(3), items.clone(), numbers).await;
    assert_eq!(all.iter().map(|s| s.0.parse().unwrap_or(1)).collect::<Vec<u32>>(), items);
    let of = |item: &str| all.iter().find(|s| s.0 == item).map(|s| (s.1, s.2.as_deref()));
    assert_eq!(of("5"), Some((Status::Failed, Some("AccessDenied"))));
    assert_eq!(of("0"), Some((Status::Skipped, None)));
    assert_eq!(of("16"), Some((Status::Failed, Some("NoAnswer"))));
    let mut batches = batches.lock().unwrap_or_else(PoisonError::into_inner).clone();
    batches.sort();
    assert_eq!(batches, [vec![2, 4, 5], vec![7], vec![8, 3, 6, 12], vec![14, 99, 16]]);
}

#[tokio::test(start_paused = true)]
async fn only_what_may_work_later_is_tried_again() {
    let batches = Arc::default();
    let numbers = Numbers { batches: Arc::clone(&batches), tries: AtomicU32::new(0) };
    let all = settled(&context(1), vec![10, 1, 2], numbers).await;
    assert_eq!(all.iter().map(|s| s.1).collect::<Vec<_>>(), [Status::Done, Status::Failed, Status::Done]);
    assert_eq!(*batches.lock().unwrap_or_else(PoisonError::into_inner), [vec![10, 1, 2], vec![10], vec![10]]);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_the_next_call_would_meet_too_ends_the_work() {
    let cx = context(1);
    let items = stream::iter([666, 2, 4, 6, 8, 12].map(Ok));
    let changed = cx.change(items, Numbers::default()).await.unwrap_or_else(|e| panic!("{e}"));
    let all: Vec<_> = changed.results().collect().await;
    assert_eq!(cx.run().tally.counts().of(Status::Failed), 4, "the batch that met it");
    assert_eq!(cx.run().tally.counts().of(Status::Skipped), 2, "what was not started");
    assert_eq!(all.iter().filter(|s| s.is_err()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn items_that_cannot_be_had_are_an_error_and_what_was_not_sent_is_named() {
    for before in [0, 1, 6] {
        let cx = context(2);
        let broken = || Err(Error::Failed("the listing broke off".into()));
        let items = stream::iter((0..before).map(|n| Ok(2 * n + 2)).chain([broken(), Ok(4), broken()]));
        let changed = cx.change(items, Numbers::default()).await.unwrap_or_else(|e| panic!("{e}"));
        let all: Vec<_> = changed.results().collect().await;
        let told = all.iter().any(|s| matches!(s, Err(e) if e.to_string() == "the listing broke off"));
        assert!(told, "after {before} items");
        // Nothing more is begun, and what was not begun is named so. A whole batch was sent before.
        let done = if before >= 4 { 4 } else { 0 };
        assert_eq!(cx.run().tally.counts().of(Status::Done), done, "after {before} items");
        assert_eq!(cx.run().tally.counts().of(Status::Skipped), u64::from(before) + 1 - done, "after {before} items");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_sent_before_the_next_one_is_gathered() {
    let batches = Arc::<Mutex<Vec<Vec<u32>>>>::default();
    let seen = Arc::<Mutex<Vec<usize>>>::default();
    let items = stream::iter([2, 4, 6, 8, 12, 14, 16, 18, 22, 24, 26, 28]).map({
        let (batches, seen) = (Arc::clone(&batches), Arc::clone(&seen));
        move |item| {
            let sent = batches.lock().unwrap_or_else(PoisonError::into_inner).len();
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
            Ok(item)
        }
    });
    let numbers = Numbers { batches, tries: AtomicU32::new(9) };
    let changed = context(3).change(items, numbers).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(changed.results().collect::<Vec<_>>().await.len(), 12);
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(seen[4] >= 1 && seen[8] >= 2, "batches that were sent when each item was read: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_run_starts_nothing_and_names_what_it_left() {
    let cx = context(1);
    cx.cancellation().cancel(CancelReason::Interrupted);
    let batches = Arc::default();
    let all = settled(&cx, (1..2500).collect(), Numbers { batches: Arc::clone(&batches), tries: AtomicU32::new(9) }).await;
    assert_eq!(all.len(), 2499);
    assert!(all.iter().all(|s| s.1 == Status::Skipped));
    assert!(batches.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
}

/// Which doors were closed again, by house.
static CLOSED: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

/// A door that was opened.
#[derive(Debug, Serialize, Deserialize)]
struct Opened {
    house: String,
    door: String,
    stuck: bool,
}

impl std::fmt::Display for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "open {}", self.door)
    }
}

#[async_trait]
impl Step for Opened {
    async fn undo(&self, _: &Context) -> Result<()> {
        let mut closed = CLOSED.lock().unwrap_or_else(PoisonError::into_inner);
        closed.entry(self.house.clone()).or_default().push(self.to_string());
        if self.stuck { Err(Error::Failed("stuck".into())) } else { Ok(()) }
    }
}

/// Opens three doors; the one that is locked makes it fail.
struct Doors {
    locked: &'static str,
    stuck: &'static str,
}

#[async_trait]
impl Steps for Doors {
    type Item = String;
    type Done = Value;
    type Step = Opened;

    fn id(&self, item: &String) -> String {
        item.clone()
    }

    fn summary(&self) -> String {
        "open doors".into()
    }

    async fn run(&self, _: &Context, item: &String, undo: &mut Undo<Opened>) -> Result<Outcome<Value>> {
        for door in ["a", "b", "c"] {
            if door == self.locked {
                return Ok(Outcome::Failed(Failure::permanent("Locked", door)));
            }
            undo.note(Opened { house: item.clone(), door: door.into(), stuck: door == self.stuck }).await?;
        }
        Ok(Outcome::done(json!(item)))
    }
}

async fn open(house: &str, locked: &'static str, stuck: &'static str) -> (Record, Option<Value>, Vec<String>) {
    let cx = context(1);
    let items = stream::iter([Ok(house.to_owned())]);
    let changed = cx.change_in_steps(items, Doors { locked, stuck }).await;
    let mut all: Vec<_> = changed.unwrap_or_else(|e| panic!("{e}")).results().collect().await;
    let result = all.remove(0).unwrap_or_else(|e| panic!("{e}"));
    let closed = CLOSED.lock().unwrap_or_else(PoisonError::into_inner).get(house).cloned().unwrap_or_default();
    (result.record, result.done, closed)
}

#[tokio::test(start_paused = true)]
async fn steps_are_undone_from_the_last_to_the_first_and_said() {
    let (record, done, closed) = open("one", "c", "none").await;
    assert_eq!((record.status, done), (Status::Failed, None));
    assert_eq!(closed, ["open b", "open a"]);
    assert_eq!(record.message.as_deref(), Some("c; undone: open b; undone: open a"));

    let (record, _, closed) = open("two", "c", "b").await;
    assert_eq!(closed, ["open b", "open a"], "a step that cannot be undone does not keep the others from it");
    assert_eq!(record.message.as_deref(), Some("c; could not undo: open b (stuck); undone: open a"));

    let (record, done, closed) = open("three", "none", "none").await;
    assert_eq!((record.status, done), (Status::Done, Some(json!("three"))));
    assert_eq!(closed, [""; 0]);
}

/// Even numbers wait for the odd number before them, which fails when it is 3.
struct Pairs(Arc<Mutex<Vec<u32>>>);

#[async_trait]
impl Change for Pairs {
    type Item = u32;
    type Done = ();

    fn id(&self, item: &u32) -> String {
        item.to_string()
    }

    fn summary(&self) -> String {
        "change pairs".into()
    }

    fn is_ordered(&self) -> bool {
        true
    }

    fn after(&self, item: &u32) -> Vec<Dependency> {
        let odd = item - 1;
        if item.is_multiple_of(2) { vec![Dependency::or_skip(odd.to_string(), format!("kept: {odd} stays"))] } else { Vec::new() }
    }

    async fn apply(&self, _: &Context, items: &[u32]) -> Result<Vec<Outcome>> {
        tokio::time::sleep(Duration::from_millis(if items == [1] { 30 } else { 0 })).await;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(items);
        let outcome = |item: &u32| if *item == 3 { Outcome::Failed(Failure::permanent("No", "no")) } else { Outcome::done(()) };
        Ok(items.iter().map(outcome).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_waits_for_those_that_have_to_be_gone_before_it() {
    let applied = Arc::default();
    let items = stream::iter([1, 2, 3, 4].map(Ok));
    let changed = context(4).change(items, Pairs(Arc::clone(&applied))).await.unwrap_or_else(|e| panic!("{e}"));
    let all: Vec<_> = changed.results().map(|r| r.map(|r| (r.record.item, r.record.status, r.record.message))).collect().await;
    let all: Vec<_> = all.into_iter().flatten().collect();
    assert_eq!(all[3], ("4".to_owned(), Status::Skipped, Some("kept: 3 stays".to_owned())));
    assert_eq!(all.iter().filter(|(_, status, _)| *status == Status::Done).count(), 2);
    assert_eq!(*applied.lock().unwrap_or_else(PoisonError::into_inner), [3, 1, 2], "2 waits for 1, and 3 for nobody");
}

/// As [`Pairs`], of ids that may be given twice: the second time there is nothing to do.
struct Repeated(Pairs);

#[async_trait]
impl Change for Repeated {
    type Item = (u32, bool);
    type Done = ();

    fn id(&self, item: &(u32, bool)) -> String {
        self.0.id(&item.0)
    }

    fn summary(&self) -> String {
        self.0.summary()
    }

    fn is_ordered(&self) -> bool {
        true
    }

    fn precheck(&self, item: &(u32, bool)) -> Option<Outcome> {
        item.1.then(|| Outcome::Unchanged("duplicate id".into()))
    }

    fn after(&self, item: &(u32, bool)) -> Vec<Dependency> {
        self.0.after(&item.0)
    }

    async fn apply(&self, cx: &Context, items: &[(u32, bool)]) -> Result<Vec<Outcome>> {
        self.0.apply(cx, &items.iter().map(|item| item.0).collect::<Vec<_>>()).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_given_twice_is_not_gone_because_its_second_mention_needs_no_work() {
    for items in [vec![(3, false), (3, true), (4, false)], vec![(1, false), (1, true), (2, false)]] {
        let applied = Arc::default();
        let given = items.clone().into_iter().map(Ok);
        let changed = context(4).change(stream::iter(given), Repeated(Pairs(Arc::clone(&applied)))).await;
        let all: Vec<_> = changed.unwrap_or_else(|e| panic!("{e}")).results().collect().await;
        let last = all.into_iter().flatten().last().map(|result| (result.record.status, result.record.message));
        let applied = applied.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if items[0].0 == 3 {
            assert_eq!(last, Some((Status::Skipped, Some("kept: 3 stays".to_owned()))));
            assert_eq!(applied, [3]);
        } else {
            assert_eq!(last, Some((Status::Done, None)));
            assert_eq!(applied, [1, 2], "2 waits until 1 is gone, not until its second mention is");
        }
    }
}

/// Opens a door, and is turned away for its rate at the next.
struct Crowded {
    tries: Arc<AtomicU32>,
    stuck: bool,
}

#[async_trait]
impl Steps for Crowded {
    type Item = String;
    type Done = ();
    type Step = Opened;

    fn id(&self, item: &String) -> String {
        item.clone()
    }

    fn summary(&self) -> String {
        "open doors".into()
    }

    async fn run(&self, _: &Context, item: &String, undo: &mut Undo<Opened>) -> Result<Outcome> {
        let tries = self.tries.fetch_add(1, Ordering::Relaxed);
        if tries > 20 {
            return Ok(Outcome::done(()));
        }
        undo.note(Opened { house: item.clone(), door: "a".into(), stuck: self.stuck }).await?;
        Ok(Outcome::Failed(Failure::from_code("ThrottlingException", "slower")))
    }
}

#[tokio::test(start_paused = true)]
async fn steps_that_were_undone_for_throttling_are_begun_again_as_often_as_for_any_other_error_and_only_where_all_is_as_before() {
    for (stuck, tried) in [(true, 1), (false, work::TRIES)] {
        let tries = Arc::default();
        let items = stream::iter([Ok("crowded".to_owned())]);
        let crowded = Crowded { tries: Arc::clone(&tries), stuck };
        let changed = context(1).change_in_steps(items, crowded).await.unwrap_or_else(|e| panic!("{e}"));
        let all: Vec<_> = changed.results().collect().await;
        let record = &all[0].as_ref().unwrap_or_else(|e| panic!("{e}")).record;
        assert_eq!((record.status, record.code.as_deref()), (Status::Failed, Some("NotComplete")));
        let what = if stuck { "could not undo: open a" } else { "undone: open a" };
        assert!(record.message.as_deref().is_some_and(|m| m.contains(what)), "{record:?}");
        assert_eq!(tries.load(Ordering::Relaxed), tried);
    }
}

/// Somebody who is asked, and agrees.
#[derive(Default)]
struct Agrees(Mutex<Vec<Question>>);

#[async_trait]
impl Host for Agrees {
    fn consent(&self) -> Consent {
        Consent::Ask
    }

    async fn confirm(&self, question: Question) -> Result<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(question);
        Ok(true)
    }
}

#[tokio::test(start_paused = true)]
async fn the_person_asked_hears_of_what_would_be_changed_and_of_nothing_else() {
    static DELETES: Meta = Meta { effect: Effect::Delete, ..META };
    let host = Arc::new(Agrees::default());
    let run = Run::new(RunOptions::default(), Arc::clone(&host) as Arc<dyn Host>, None, None, Cancellation::default());
    let cx = Context::new(&DELETES, Session::local(), Arc::new(run));
    settled(&cx, vec![0, 2, 0, 4], Numbers { tries: AtomicU32::new(9), ..Numbers::default() }).await;
    let asked = host.0.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(asked[0].items, ["2", "4"]);
    assert_eq!(asked[0].total, Some(2));
}

/// A run that goes on from another process, which had begun `a` and `b` when it was killed; of `b` it had noted a step that is undone first.
#[derive(Default)]
struct Begun(Mutex<Vec<JournalResult>>);

#[async_trait]
impl Journal for Begun {
    async fn note(&self, notes: Vec<StepNote>) -> Result<Vec<StepId>> {
        Ok(vec![0; notes.len()])
    }

    fn resumes(&self) -> bool {
        true
    }

    fn was_begun(&self, item: &str) -> bool {
        ["a", "b"].contains(&item)
    }

    fn unwinds_first(&self, item: &str) -> bool {
        item == "b"
    }

    fn record_results(&self, results: Vec<JournalResult>) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(results);
        Ok(())
    }
}

/// Makes or deletes things of which those that are named are missing: some when they are looked at, others only when they are to be deleted.
struct Missing {
    looked_up: &'static [&'static str],
    answered: &'static [&'static str],
}

#[async_trait]
impl Change for Missing {
    type Item = &'static str;
    type Done = ();

    fn id(&self, item: &&'static str) -> String {
        (*item).to_owned()
    }

    fn summary(&self) -> String {
        "change things".into()
    }

    fn precheck(&self, item: &&'static str) -> Option<Outcome> {
        self.looked_up.contains(item).then(|| Outcome::Failed(Failure::not_found("it is not there")))
    }

    fn batch(&self) -> usize {
        10
    }

    async fn apply(&self, _: &Context, items: &[&'static str]) -> Result<Vec<Outcome>> {
        let outcome = |item: &&'static str| match self.answered.contains(item) {
            true => Outcome::Failed(Failure::not_found("it is not there")),
            false => Outcome::done(()),
        };
        Ok(items.iter().map(outcome).collect())
    }
}

/// An item, its status and its code.
type Became = (String, Status, Option<String>);

/// What becomes of items in a run with a journal: of each its status and code, and the error at the end.
async fn journaled_run<C: Change<Item = &'static str>>(
    meta: &'static Meta,
    journal: Arc<dyn Journal>,
    items: &[&'static str],
    change: C,
) -> (Vec<Became>, Option<Error>) {
    let run = Run::new(RunOptions::default(), Arc::new(Unattended), None, Some(journal), Cancellation::default());
    let cx = Context::new(meta, Session::local(), Arc::new(run));
    let items = stream::iter(items.iter().map(|item| Ok(*item)).collect::<Vec<_>>());
    let changed = cx.change(items, change).await.unwrap_or_else(|e| panic!("{e}"));
    let (mut all, mut error) = (Vec::new(), None);
    for result in changed.results().collect::<Vec<_>>().await {
        match result {
            Ok(ItemResult { record, .. }) => all.push((record.item, record.status, record.code)),
            Err(e) => error = Some(e),
        }
    }
    (all, error)
}

fn became(item: &str, status: Status, code: Option<&str>) -> Became {
    (item.to_owned(), status, code.map(str::to_owned))
}

#[tokio::test(start_paused = true)]
async fn what_was_being_made_when_the_run_was_killed_is_not_made_again_unless_it_was_undone() {
    static CREATES: Meta = Meta { effect: Effect::Create, ..META };
    let nothing = Missing { looked_up: &[], answered: &[] };
    let (all, error) = journaled_run(&CREATES, Arc::new(Begun::default()), &["a", "b", "c"], nothing).await;
    assert!(error.is_none(), "{error:?}");
    let unknown = became("a", Status::Failed, Some("Unknown"));
    assert_eq!(all, [unknown, became("b", Status::Done, None), became("c", Status::Done, None)]);
}

#[tokio::test(start_paused = true)]
async fn what_was_being_deleted_when_the_run_was_killed_and_is_gone_is_as_it_was_asked_for() {
    static DELETES: Meta = Meta { effect: Effect::Delete, ..META };
    let journal = Arc::new(Begun::default());
    let missing = Missing { looked_up: &["a", "c"], answered: &["b", "d"] };
    let of_run = Arc::clone(&journal) as Arc<dyn Journal>;
    let (all, _) = journaled_run(&DELETES, of_run, &["a", "b", "c", "d"], missing).await;
    let (gone, missing) = (|item| became(item, Status::Unchanged, None), |item| became(item, Status::Failed, Some("NotFound")));
    assert_eq!(all, [gone("a"), gone("b"), missing("c"), missing("d")], "what it had not begun was never there");
    // The next process knows both, and undoing does not take them for what was so all along.
    let settled = journal.0.lock().unwrap_or_else(PoisonError::into_inner);
    let done: Vec<&str> = settled.iter().filter(|one| one.status == Status::Done).map(|one| one.item.as_str()).collect();
    assert_eq!(done, ["a", "b"]);
}

/// A journal on a disk that is full.
struct Full;

#[async_trait]
impl Journal for Full {
    async fn note(&self, _: Vec<StepNote>) -> Result<Vec<StepId>> {
        Err(Error::Journal("cannot write the journal".into()))
    }

    async fn intend(&self, _: Vec<String>) -> Result<StepId> {
        Err(Error::Journal("cannot write the journal".into()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_written_ends_the_run() {
    let finished = Arc::<AtomicU32>::default();
    let (all, error) = journaled_run(&META, Arc::new(Full), &["a", "b"], Slow(Arc::clone(&finished))).await;
    assert!(matches!(&error, Some(Error::Journal(_))), "{error:?}");
    assert!(all.iter().all(|(_, status, _)| *status != Status::Done), "{all:?}");
    assert_eq!(finished.load(Ordering::Relaxed), 0, "nothing is sent");
}

/// Hears how far a run is.
#[derive(Default)]
struct Watches(Mutex<Vec<Progress>>);

impl Host for Watches {
    fn progress(&self, progress: Progress) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(progress);
    }
}

#[tokio::test(start_paused = true)]
async fn how_far_a_run_is_is_said_once_for_all_that_ends_together() {
    let host = Arc::new(Watches::default());
    let run = Run::new(RunOptions::default(), Arc::clone(&host) as Arc<dyn Host>, None, None, Cancellation::default());
    let cx = Context::new(&META, Session::local(), Arc::new(run));
    let items = stream::iter((0..24).map(|_| Ok::<_, Error>("x")));
    let changed = cx.change(items, Missing { looked_up: &[], answered: &[] }).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(changed.results().count().await, 24);
    let said = host.0.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(*said, [Progress::Total(24), Progress::Advanced(10), Progress::Advanced(10), Progress::Advanced(4)]);
}
