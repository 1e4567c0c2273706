//! Writes a journal: line by line, each whole or not at all, and to the disk where something is to be sent behind it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::format::{Became, Fate, Header, IntentId, JournalResult, Line, StepId, WITH_ALIKE, encode, encode_todo};
use super::reader::Past;
use super::remainder::Remainder;
use super::store::{self, Store};
use super::{Journal, StepNote};
use crate::input::Input;
use crate::model::error::{Error, Result};
use crate::model::outcome::Status;
use crate::model::target::Target;

/// How many elements of a list are in one line.
const ELEMENTS: usize = 1000;

/// A journal that is being written.
pub struct Writer {
    path: PathBuf,
    file: Arc<File>,
    state: Mutex<State>,
    /// How many lines are on the disk. Who waits for it waits for one write of the disk, that all who wait share.
    durable: tokio::sync::Mutex<u64>,
    /// What the process that this one goes on from left of the run; none when it goes on from none.
    rest: Option<Remainder>,
    /// The format of its lines.
    format: u32,
    /// Of a new one, the folder and the id, to remove it again when nothing was begun.
    unneeded: Option<(Store, String)>,
}

struct State {
    /// The number of the next line.
    next: u64,
    /// Of a new journal, its head: what is not written yet.
    header: Option<Header>,
    /// Whether the input is whole, and the next line is to say so.
    unsaid: bool,
    placed: bool,
    /// Whether anything was sent, or is about to be.
    begun: bool,
    /// Why nothing more can be written: what was written last may be half a line.
    broken: Option<String>,
}

impl Writer {
    /// The journal of a new run, in the user's folder.
    pub fn create(store: Store, header: Header) -> Result<Self> {
        let (path, file) = store.create(&header.id, header.time)?;
        let unneeded = Some((store, header.id.clone()));
        Writer::new(path, file, unneeded, header)
    }

    /// The same in a file of one's own, which must not be there yet; the folder says where it is.
    pub fn create_at(path: &Path, store: Store, header: Header) -> Result<Self> {
        let cannot = |e: io::Error| Error::field("journal", format!("`journal`: cannot make the file `{}`: {e}", path.display()));
        let path = std::path::absolute(path).map_err(cannot)?;
        let file = store::create(&path).map_err(cannot)?;
        store.point(&header.id, &path, header.time)?;
        let unneeded = Some((store, header.id.clone()));
        Writer::new(path, file, unneeded, header)
    }

    fn new(path: PathBuf, file: File, unneeded: Option<(Store, String)>, header: Header) -> Result<Self> {
        let format = header.format;
        let state = State { next: 0, header: Some(header), unsaid: false, placed: false, begun: false, broken: None };
        let (file, state, durable) = (Arc::new(file), Mutex::new(state), tokio::sync::Mutex::default());
        let writer = Writer { path, file, state, durable, rest: None, format, unneeded };
        writer.lock()?;
        Ok(writer)
    }

    /// Goes on with the journal of an earlier process: to finish its run, or to note that it was undone. What it left half written is cut off.
    pub fn reopen(past: &Past) -> Result<Self> {
        let cannot = |e: io::Error| Error::io(format!("go on with the journal `{}`", past.path.display()), e);
        let file = File::options().append(true).open(&past.path).map_err(cannot)?;
        let state = State { next: past.lines, header: None, unsaid: false, placed: past.target.is_some(), begun: true, broken: None };
        let writer = Writer {
            path: past.path.clone(),
            file: Arc::new(file),
            state: Mutex::new(state),
            durable: tokio::sync::Mutex::default(),
            rest: Some(Remainder::of(past)),
            format: past.header.format,
            unneeded: None,
        };
        writer.lock()?;
        // Nobody wrote since it was read: whoever had it locked would have.
        if writer.file.metadata().map_err(cannot)?.len() < past.whole || Past::read(&past.path)?.lines != past.lines {
            return Err(Error::Refused(format!("the journal `{}` was written to meanwhile", past.path.display())));
        }
        if past.torn {
            writer.file.set_len(past.whole).map_err(cannot)?;
        }
        Ok(writer)
    }

    /// Whether a run is writing to a journal just now.
    pub fn is_in_use(path: &Path) -> bool {
        store::is_locked(path)
    }

    /// Notes that another process goes on with the run.
    pub fn resumed(&self, time: Timestamp, command: String) -> Result<()> {
        self.append([Line::Resumed { time, command }]).map(drop)
    }

    /// Notes that the run was undone by another.
    pub fn undone(&self, by: &str) -> Result<()> {
        self.append([Line::Undone { by: by.to_owned() }]).map(drop)
    }

    fn lock(&self) -> Result<()> {
        match self.file.try_lock() {
            Ok(()) => Ok(()),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(Error::Refused(format!("the run of the journal `{}` is under way", self.path.display())))
            }
            Err(std::fs::TryLockError::Error(e)) => Err(self.failed(e)),
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::Journal(format!("cannot write the journal `{}`: {error} (--no_journal goes without one)", self.path.display()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends lines with one write, and gives the number of each.
    fn append(&self, lines: impl IntoIterator<Item = Line>) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        self.write(|next, bytes| {
            for line in lines {
                encode(*next, &line, bytes)?;
                numbers.push(*next);
                *next += 1;
            }
            Ok(())
        })?;
        Ok(numbers)
    }

    /// Writes lines at once, behind what has to be said before them. `encode_all` appends their bytes, and counts on from the number that it is given.
    fn write(&self, encode_all: impl FnOnce(&mut u64, &mut Vec<u8>) -> serde_json::Result<()>) -> Result<()> {
        let mut state = self.state();
        if let Some(why) = &state.broken {
            return Err(self.failed(io::Error::other(why.clone())));
        }
        let header = state.header.take().map(|header| Line::Run(Box::new(header)));
        let ready = std::mem::take(&mut state.unsaid).then_some(Line::Ready);
        let (mut bytes, mut next) = (Vec::new(), state.next);
        for line in header.into_iter().chain(ready) {
            encode(next, &line, &mut bytes).map_err(|e| self.failed(e.into()))?;
            next += 1;
        }
        encode_all(&mut next, &mut bytes).map_err(|e| self.failed(e.into()))?;
        if let Err(e) = (&*self.file).write_all(&bytes) {
            state.broken = Some(format!("it could not be written before: {e}"));
            return Err(self.failed(e));
        }
        state.next = next;
        Ok(())
    }

    /// Removes a new journal.
    fn discard(&self) {
        let Some((store, id)) = &self.unneeded else { return };
        store.remove(id);
        // Where it is not kept in the folder.
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => tracing::debug!("cannot remove `{}`: {e}", self.path.display()),
            _ => {}
        }
    }

    /// Waits until all lines that are written by now are on the disk.
    async fn flush(&self) -> Result<()> {
        let written = self.state().next;
        let mut durable = self.durable.lock().await;
        if *durable >= written {
            return Ok(());
        }
        // Those who wait for their turn meanwhile have written theirs already, and go with these.
        let written = self.state().next;
        let file = Arc::clone(&self.file);
        let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
        if let Err(e) = synced.unwrap_or_else(|e| Err(io::Error::other(e))) {
            self.state().broken = Some(format!("the disk did not take it before: {e}"));
            return Err(self.failed(e));
        }
        *durable = written;
        Ok(())
    }

    /// What is about to be sent stays noted, whatever becomes of the machine.
    async fn append_durably(&self, lines: Vec<Line>) -> Result<Vec<u64>> {
        let numbers = self.append(lines)?;
        self.state().begun = true;
        self.flush().await?;
        Ok(numbers)
    }
}

#[async_trait]
impl Journal for Writer {
    async fn note(&self, notes: Vec<StepNote>) -> Result<Vec<StepId>> {
        let line = |note: StepNote| Line::Step { item: note.item, says: note.says, step: note.step, unwinds: note.unwinds };
        self.append_durably(notes.into_iter().map(line).collect()).await
    }

    fn retract(&self, steps: &[StepId], fate: Fate) -> Result<()> {
        if steps.is_empty() { Ok(()) } else { self.append([Line::Gone { steps: steps.to_vec(), fate }]).map(drop) }
    }

    fn take_input(&self, input: &mut Input, schema: &Value) -> Result<()> {
        let small = input.small(schema);
        if let Some(header) = &mut self.state().header {
            header.input = small;
        }
        input.each_list(schema, ELEMENTS, &mut |field, spooled, elements| {
            self.write(|next, bytes| {
                encode_todo(*next, field, spooled, elements, bytes)?;
                *next += 1;
                Ok(())
            })
        })?;
        let mut state = self.state();
        // Of an input without lists nothing is written before there is more to say.
        if state.header.is_some() {
            state.unsaid = true;
            return Ok(());
        }
        drop(state);
        self.append([Line::Ready]).map(drop)
    }

    fn is_placed(&self) -> bool {
        self.state().placed
    }

    fn place(&self, target: &Target, endpoint: &str) -> Result<()> {
        // Of two that come together one says it.
        if std::mem::replace(&mut self.state().placed, true) {
            return Ok(());
        }
        self.append([Line::Target { target: target.clone(), endpoint: Some(endpoint.to_owned()) }]).map(drop)
    }

    async fn intend(&self, items: Vec<String>) -> Result<IntentId> {
        let numbers = self.append_durably(vec![Line::Intent { time: Timestamp::now(), items }]).await?;
        Ok(numbers.first().copied().unwrap_or_default())
    }

    fn record_results(&self, results: Vec<JournalResult>) -> Result<()> {
        self.append([Line::Results { results }]).map(drop)
    }

    fn settles_alike(&self) -> bool {
        self.format >= WITH_ALIKE
    }

    fn settle_alike(&self, intent: IntentId, became: Became) -> Result<()> {
        self.append([Line::Alike { intent, became }]).map(drop)
    }

    fn was_settled(&self, item: &str) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.was_settled(item))
    }

    fn was_begun(&self, item: &str) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.was_begun(item))
    }

    fn unwinds_first(&self, item: &str) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.unwinds_first(item))
    }

    fn resumes(&self) -> bool {
        self.rest.is_some()
    }

    fn end(&self, counts: &BTreeMap<Status, u64>, error: Option<&Error>, complete: bool) -> Result<()> {
        if self.unneeded.is_some() && !self.state().begun {
            // Here, and not only where the last of the run lets go of it: that may be behind the end of the process.
            self.discard();
            return Ok(());
        }
        let error = error.map(ToString::to_string);
        self.append([Line::End { time: Timestamp::now(), counts: counts.clone(), error, complete }])?;
        self.file.sync_data().map_err(|e| self.failed(e))
    }
}

/// A run that sent nothing, because there was nothing to do or somebody said no, is not worth a journal.
impl Drop for Writer {
    fn drop(&mut self) {
        let begun = self.state().begun;
        if !begun {
            self.discard();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::super::format::FORMAT;
    use super::super::new_id;
    use super::*;
    use crate::engine::guards::Guards;

    fn header(id: &str) -> Header {
        Header {
            format: FORMAT,
            tool: "aaws 0.1.0".into(),
            id: id.into(),
            action: "test/change".into(),
            input: serde_json::Map::new(),
            user: "alice".into(),
            host: "desk".into(),
            time: Timestamp::UNIX_EPOCH,
            command: "aaws test change".into(),
            undoes: None,
            plan: None,
            guards: Guards::default(),
            account: None,
        }
    }

    fn note(item: &str, step: &str) -> StepNote {
        StepNote { action: "test/change".into(), item: item.into(), says: step.into(), step: json!(step), unwinds: true }
    }

    fn became(item: &str, status: Status) -> JournalResult {
        JournalResult { item: item.into(), status, code: None, message: None }
    }

    /// A folder of journals, and one in it of a run that was killed half way: `a` is done, `b` is not.
    async fn killed() -> (tempfile::TempDir, Store, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::at(folder.path().to_owned());
        let writer = Writer::create(store.clone(), header(&new_id(Timestamp::now()))).expect("a journal");
        let mut input = Input::from_json(r#"{"bucket": "b", "objects": ["a", "b"]}"#).expect("an input");
        writer.take_input(&mut input, &json!({})).expect("it is written");
        writer.place(&Target::default(), "sandbox /there").expect("it is written");
        writer.intend(vec!["a".into()]).await.expect("it is written");
        writer.record_results(vec![became("a", Status::Done)]).expect("it is written");
        writer.intend(vec!["b".into()]).await.expect("it is written");
        let steps = writer.note(vec![note("b", "one"), note("b", "two")]).await.expect("it is written");
        writer.retract(&steps[..1], Fate::Dropped).expect("it is written");
        let path = writer.path.clone();
        (folder, store, path)
    }

    #[tokio::test]
    async fn what_is_written_is_read_back() {
        let (_folder, store, path) = killed().await;
        let past = Past::read(&path).expect("a journal");
        assert_eq!(store.all().expect("all").first().map(|kept| kept.id.clone()), Some(past.header.id.clone()));
        assert_eq!(Value::from(past.header.input.clone()), json!({"bucket": "b"}));
        let input = past.input().expect("the input");
        assert_eq!(Value::from(input.value), json!({"bucket": "b", "objects": ["a", "b"]}));
        assert!(!past.is_complete() && past.end.is_none() && past.target.is_some());
        assert_eq!(past.endpoint.as_deref(), Some("sandbox /there"));
        assert_eq!(past.counts(), BTreeMap::from([(Status::Done, 1)]));
        let [a, b] = past.items.as_slice() else { panic!("{:?}", past.items) };
        assert_eq!((a.item.as_str(), a.was_done(), a.to_undo().len()), ("a", true, 0));
        assert_eq!(b.to_undo().into_iter().map(|step| step.says).collect::<Vec<_>>(), ["two"]);
    }

    #[tokio::test]
    async fn items_that_came_to_the_same_are_settled_by_one_line() {
        let (_folder, _, path) = killed().await;
        let past = Past::read(&path).expect("a journal");
        let writer = Writer::reopen(&past).expect("it goes on");
        assert!(writer.settles_alike());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = |status, code: Option<&str>| Became { status, code: code.map(str::to_owned), message: None };
        let first = writer.intend(names(&["c", "d"])).await.expect("it is written");
        let second = writer.intend(names(&["e", "f"])).await.expect("it is written");
        writer.settle_alike(second, all(Status::Failed, Some("Denied"))).expect("it is written");
        writer.settle_alike(first, all(Status::Done, None)).expect("it is written");
        // It is tried again, and nobody hears what comes of it.
        writer.intend(names(&["f"])).await.expect("it is written");
        let past = Past::read(&path).expect("a journal");
        let became = |name: &str| past.items.iter().find(|item| item.item == name).and_then(|item| item.result.clone());
        for name in ["c", "d"] {
            assert_eq!(became(name), Some(all(Status::Done, None).of(name.to_owned())));
        }
        assert_eq!(became("e"), Some(all(Status::Failed, Some("Denied")).of("e".to_owned())));
        assert_eq!((became("f"), past.items.len()), (None, 6));
    }

    #[tokio::test]
    async fn one_line_of_all_items_says_what_a_result_of_each_does() {
        for seed in 0..5 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let folder = tempfile::tempdir().expect("a folder");
            let make = |name: &str| Writer::create(Store::at(folder.path().join(name)), header(&new_id(Timestamp::now())));
            let (short, long) = (make("short").expect("a journal"), make("long").expect("a journal"));
            let mut under_way: Vec<(IntentId, Vec<String>)> = Vec::new();
            for _ in 0..60 {
                if under_way.len() < 4 && rng.bool() {
                    // The same item may be in several requests.
                    let items: Vec<String> = (0..rng.usize(1..6)).map(|_| format!("k{}", rng.u8(..12))).collect();
                    let intent = short.intend(items.clone()).await.expect("it is written");
                    long.intend(items.clone()).await.expect("it is written");
                    under_way.push((intent, items));
                } else if !under_way.is_empty() {
                    let (intent, items) = under_way.swap_remove(rng.usize(..under_way.len()));
                    let status = [Status::Done, Status::Failed, Status::Unchanged][rng.usize(..3)];
                    let became = Became { status, code: None, message: Some(format!("request {intent}")) };
                    long.record_results(items.into_iter().map(|item| became.clone().of(item)).collect()).expect("it is written");
                    short.settle_alike(intent, became).expect("it is written");
                }
            }
            let items = |writer: &Writer| Past::read(&writer.path).expect("a journal").items;
            assert_eq!(items(&short), items(&long), "seed {seed}");
        }
    }

    #[test]
    fn a_journal_of_an_older_format_is_gone_on_with_in_that() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = Header { format: 1, ..header(&new_id(Timestamp::now())) };
        let writer = Writer::create(Store::at(folder.path().to_owned()), old).expect("a journal");
        writer.take_input(&mut Input::default(), &json!({})).expect("it is kept");
        writer.place(&Target::default(), "sandbox /there").expect("it is written");
        let path = writer.path.clone();
        // It was killed, and so did not take its journal away.
        writer.state().begun = true;
        drop(writer);
        let past = Past::read(&path).expect("an old one is read");
        let writer = Writer::reopen(&past).expect("it goes on");
        assert!(!writer.settles_alike(), "the program that began it could not read that");
    }

    #[tokio::test]
    async fn a_run_is_resumed_only_with_its_whole_input_and_where_it_was() {
        let (_folder, _, path) = killed().await;
        let whole = fs::read_to_string(&path).expect("the journal");
        let resumable = |text: &str| {
            fs::write(&path, text).expect("it is cut");
            Past::read(&path).expect("a journal").check_resumable()
        };
        assert!(resumable(&whole).is_ok());
        let before = |kind: &str| {
            let kind = format!("\"kind\":\"{kind}\"");
            whole.lines().take_while(|line| !line.contains(&kind)).map(|line| format!("{line}\n")).collect::<String>()
        };
        assert!(resumable(&before("ready")).is_err_and(|e| matches!(e, Error::Failed(_)) && e.to_string().contains("whole input")));
        assert!(resumable(&before("target")).is_err_and(|e| matches!(e, Error::Refused(_)) && e.to_string().contains("before it sent")));
    }

    #[test]
    fn what_applied_a_plan_and_what_undoes_is_not_resumed() {
        let folder = tempfile::tempdir().expect("a folder");
        let resumable = |header: Header| {
            let store = Store::at(folder.path().to_owned());
            let writer = Writer::create(store, header).expect("a journal");
            writer.take_input(&mut Input::default(), &json!({})).expect("it is kept");
            writer.place(&Target::default(), "sandbox /there").expect("it is written");
            Past::read(&writer.path).expect("a journal").check_resumable()
        };
        let header = || header(&new_id(Timestamp::now()));
        assert!(resumable(header()).is_ok());
        let applied = Header { plan: Some("5a".into()), ..header() };
        assert!(resumable(applied).is_err_and(|e| matches!(e, Error::Refused(_)) && e.to_string().contains("another plan")));
        let undo = Header { undoes: Some("the-first".into()), ..header() };
        assert!(resumable(undo).is_err_and(|e| matches!(e, Error::Input(_)) && e.to_string().contains("`aaws undo the-first`")));
    }

    #[tokio::test]
    async fn ages_are_counted_from_when_the_run_was_begun() {
        let (_folder, _, path) = killed().await;
        let again = crate::engine::undoing::Again::Resume(Past::read(&path).expect("a journal"));
        assert_eq!(again.clock(Timestamp::now()), Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn an_input_without_lists_is_said_to_be_whole_with_the_next_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::at(folder.path().to_owned());
        let writer = Writer::create(store, header(&new_id(Timestamp::now()))).expect("a journal");
        writer.take_input(&mut Input::from_json(r#"{"bucket": "b"}"#).expect("an input"), &json!({})).expect("it is kept");
        assert!(fs::read(&writer.path).expect("the journal").is_empty(), "nothing was begun yet");
        writer.place(&Target::default(), "sandbox /there").expect("it is written");
        assert!(Past::read(&writer.path).expect("a journal").check_resumable().is_ok());
    }

    #[tokio::test]
    async fn a_torn_last_line_is_borne_and_cut_off_by_who_goes_on() {
        let (_folder, _, path) = killed().await;
        let whole = fs::read(&path).expect("the journal");
        let lines = whole.iter().filter(|byte| **byte == b'\n').count() as u64;
        fs::write(&path, &whole[..whole.len() - 5]).expect("it is cut");
        let past = Past::read(&path).expect("a journal");
        assert!(past.torn && past.lines == lines - 1);
        assert_eq!(past.items.iter().map(|item| item.steps.len()).sum::<usize>(), 2);

        let writer = Writer::reopen(&past).expect("it goes on");
        assert!(writer.was_settled("a") && !writer.was_begun("a"));
        assert!(!writer.was_settled("b") && writer.was_begun("b") && writer.unwinds_first("b"));
        writer.end(&BTreeMap::new(), None, true).expect("it is written");
        let past = Past::read(&path).expect("a journal");
        assert!(past.is_complete() && !past.torn && past.lines == lines);
    }

    #[tokio::test]
    async fn a_journal_that_was_altered_or_is_newer_is_refused() {
        let (_folder, _, path) = killed().await;
        let whole = fs::read_to_string(&path).expect("the journal");
        let without_third: String = whole.lines().enumerate().filter(|(n, _)| *n != 2).map(|(_, line)| format!("{line}\n")).collect();
        for (altered, says) in [
            (whole.replacen("\"done\"", "\"failed\"", 1), "altered"),
            (without_third, "line 3"),
            (whole.replacen("\"format\":2", "\"format\":3", 1), "newer"),
            ("no journal\n".to_owned(), "no journal"),
            (String::new(), "no whole line"),
        ] {
            fs::write(&path, altered).expect("it is altered");
            let error = Past::read(&path).expect_err("it is refused");
            assert!(matches!(error, Error::Failed(_)) && error.to_string().contains(says), "{says}: {error}");
        }
    }

    #[tokio::test]
    async fn one_process_at_a_time_writes_a_journal() {
        let (_folder, _, path) = killed().await;
        let past = Past::read(&path).expect("a journal");
        let first = Writer::reopen(&past).expect("it goes on");
        assert!(Writer::is_in_use(&path));
        assert!(Writer::reopen(&past).is_err_and(|e| matches!(e, Error::Refused(_))));
        first.undone("x").expect("it is written");
        drop(first);
        assert!(Writer::reopen(&past).is_err_and(|e| matches!(e, Error::Refused(_))), "it says more than what was read");
    }

    #[test]
    fn a_run_that_began_nothing_leaves_no_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::at(folder.path().to_owned());
        let writer = Writer::create(store.clone(), header(&new_id(Timestamp::now()))).expect("a journal");
        writer.end(&BTreeMap::new(), None, true).expect("nothing to write");
        drop(writer);
        assert_eq!(store.all().expect("all"), []);
    }
}
