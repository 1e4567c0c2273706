//! One request from whatever front end, run: input, session, rows, report, summary.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::aws::options::SessionOptions;
use crate::aws::session::Session;
use crate::engine::action::{Action, Reply};
use crate::engine::change::close_plan;
use crate::engine::context::Context;
use crate::engine::entry::{Entry, Ready};
use crate::engine::findings::{FindingCounts, Findings};
use crate::engine::host::{Host, MfaOf, Progress, Unattended};
use crate::engine::journal::Journal;
use crate::engine::plan::PlanMode;
use crate::engine::report::Report;
use crate::engine::run::{Counts, Run, RunOptions};
use crate::engine::undoing::Again;
use crate::input::Input;
use crate::model::cancellation::{CancelReason, Cancellation};
use crate::model::error::{Error, ErrorKind, Result};
use crate::model::meta::{Effect, Meta};
use crate::model::outcome::Status;

/// How often it is looked whether the run is being throttled.
const LOOK_AT_RATE: Duration = Duration::from_secs(1);

/// The exit code of a listing that found something though it was to find nothing.
pub const FINDINGS: u8 = 6;

/// What is to be run, and how: the same from every front end.
pub struct Request {
    /// The action.
    pub entry: &'static Entry,
    /// Its input. Reading it may take as long as whoever writes it: it is read on a thread of its own, and cancellation does not wait for it.
    pub input: PendingInput,
    /// How the run goes about its work.
    pub options: RunOptions,
    /// The account and region that it runs in, and how to get there.
    pub target: SessionOptions,
    /// Where steps are noted before they are taken.
    pub journal: Option<Arc<dyn Journal>>,
    /// The plan that it writes, in a dry run, or applies.
    pub plan: PlanMode,
    /// The earlier run that this one is about, if it is.
    pub again: Option<Again>,
    /// How the front end ends it early.
    pub cancellation: Cancellation,
}

/// An input that is read when the run begins.
pub type PendingInput = Box<dyn FnOnce() -> Result<Input> + Send>;

impl Request {
    /// An action with its input, and defaults for all else.
    pub fn new(entry: &'static Entry, input: Input) -> Self {
        Request {
            entry,
            input: Box::new(|| Ok(input)),
            options: RunOptions::default(),
            target: SessionOptions::default(),
            journal: None,
            plan: PlanMode::None,
            again: None,
            cancellation: Cancellation::default(),
        }
    }
}

/// A run under way: the rows first, then what came of it.
pub struct Execution {
    rows: Option<Reply>,
    run: Option<Arc<Run>>,
    findings: Findings,
    changes: bool,
    cancellation: Cancellation,
    watches: Vec<JoinHandle<()>>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Summary {
    /// Items by what became of them.
    pub counts: Counts,
    /// How often each declared call was made.
    pub calls: BTreeMap<String, u64>,
    /// How many requests were turned away for their rate, and waited for.
    pub throttled: u64,
    /// What a listing found.
    pub found: FindingCounts,
    /// Whether it found something though it was to find nothing: [`RunOptions::fail_on_findings`].
    pub has_findings: bool,
    /// The error that it ended with.
    pub error: Option<Error>,
}

impl Summary {
    /// The process's exit code: 0 when all that was asked for is so, 3 when some items are not as asked, 6 when something was found that was not to be
    /// there, else what the error says.
    pub fn exit_code(&self) -> u8 {
        match &self.error {
            Some(error) => error.kind().exit_code(),
            // What could not be looked at is worse than what was found.
            None if !self.counts.is_success() => 3,
            None if self.has_findings => FINDINGS,
            None => 0,
        }
    }

    /// "3 done, 1 failed"; empty when there were no items.
    pub fn words(&self) -> String {
        let all = [Status::Done, Status::Planned, Status::Unchanged, Status::Skipped, Status::Failed];
        let not_started = self.counts.not_started;
        let count = |status| self.counts.of(status) - if status == Status::Skipped { not_started } else { 0 };
        let mut words: Vec<_> =
            all.into_iter().map(|s| (count(s), s.word())).filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        if not_started > 0 {
            words.push(format!("{not_started} not started"));
        }
        let found = self.found.words();
        words.extend((!found.is_empty()).then_some(found));
        words.join(", ")
    }
}

/// Runs a request. What it prints is read from the execution, and work happens as it is read; an error, whatever it is, is the last of the rows.
pub async fn execute(request: Request, host: Arc<dyn Host>) -> Execution {
    let mut execution = Execution {
        rows: None,
        run: None,
        findings: Findings::default(),
        changes: request.entry.meta.effect.changes(),
        cancellation: request.cancellation.clone(),
        watches: Vec::new(),
    };
    // A limit of time is one for reading the input, too.
    execution.watches.extend(limit_time(&request.options, &request.cancellation));
    let rows = execution.begin(request, host).await;
    execution.rows = Some(rows.unwrap_or_else(Reply::failed));
    execution
}

impl Execution {
    async fn begin(&mut self, request: Request, host: Arc<dyn Host>) -> Result<Reply> {
        let Request { entry, input, mut options, target, journal, plan, again, cancellation: _ } = request;
        // A plan is of what a dry run shows.
        options.dry_run |= matches!(plan, PlanMode::Write(_));
        let judged = judged_by(&options);
        if let Some(field) = judged.filter(|_| !entry.is_listing()) {
            return Err(Error::field(field, format!("`{field}`: `{}` lists nothing", entry.meta.path)));
        }
        if !entry.meta.effect.changes() && !matches!(plan, PlanMode::None) {
            return Err(Error::field("plan", format!("`plan`: `{}` changes nothing", entry.meta.path)));
        }
        let plan = plan.begin()?;
        let baseline = options.baseline.clone();
        self.findings = if baseline.is_some() {
            let known = tokio::task::spawn_blocking(move || Findings::open(entry.identity, baseline.as_deref()));
            let known = async { known.await.map_err(|e| Error::Failed(format!("reading the baseline failed: {e}")))? };
            cancellable(&self.cancellation.clone(), known).await?
        } else {
            Findings::open(entry.identity, None)?
        };
        let report = options.report.as_deref().map(open_report).transpose()?;
        let run = Run::new(options, host, report, journal, self.cancellation.clone());
        let begun = plan.clock(again.as_ref().map_or(run.now, |again| again.clock(run.now)));
        let run = Arc::new(Run { plan, begun, ..run });
        let cancellation = self.cancellation.clone();
        let ready = if again.as_ref().is_none_or(Again::needs_input) {
            let (run, is_new) = (Arc::clone(&run), again.is_none());
            let read = tokio::task::spawn_blocking(move || read_input(entry, input, &run, is_new));
            let read = async { read.await.map_err(|e| Error::Failed(format!("reading the input failed: {e}")))? };
            Some(cancellable(&cancellation, read).await?)
        } else {
            None
        };
        let session = cancellable(&cancellation, open_session(entry.meta, &target, &run)).await?;
        self.run = Some(Arc::clone(&run));
        cancellable(&cancellation, run.plan.meet(entry.meta, &session, run.now)).await?;
        self.watches.push(tokio::spawn(watch_rate(Arc::clone(&run))));
        let meta = again.as_ref().map_or(entry.meta, |again| again.meta(entry));
        let cx = Context::new(meta, session, run);
        let of_rows = cx.clone();
        let work = async {
            match (again, ready) {
                (Some(again), ready) => again.run(entry, cx, ready).await,
                (None, Some(ready)) => ready.run(cx).await,
                (None, None) => Err(Error::Failed("there is nothing to run".into())),
            }
        };
        // What is being changed is brought to its end; looking may end at any moment.
        let reply = if self.changes { work.await } else { cancellable(&cancellation, work).await };
        let reply = close_plan(reply?, of_rows);
        if self.changes {
            return Ok(reply);
        }
        match (reply.by_rows(), judged) {
            (Reply::Items(rows), _) => Ok(self.findings.watch(Reply::Items(rows))),
            (reply, None) => Ok(reply),
            // Nothing was looked for: who takes that for nothing found is deceived.
            (_, Some(field)) => Err(Error::Failed(format!("`{field}`: with this input `{}` gives no list", entry.meta.path))),
        }
    }

    /// What it prints. Work happens as it is read; all of it has to be read before [`Execution::finish`].
    pub fn rows(&mut self) -> Reply {
        self.rows.take().unwrap_or_else(|| Reply::Items(Box::pin(futures::stream::empty())))
    }

    /// Whether the action changes anything, so that rows must be read to their end whatever becomes of the reader.
    pub fn changes(&self) -> bool {
        self.changes
    }

    /// What came of it. `error` is what the rows, or showing them, ended with.
    pub fn finish(self, error: Option<Error>) -> Summary {
        self.watches.iter().for_each(JoinHandle::abort);
        let mut error = error;
        let Some(run) = self.run else {
            return Summary {
                counts: Counts::default(),
                calls: BTreeMap::new(),
                throttled: 0,
                found: FindingCounts::default(),
                has_findings: false,
                error: error.or_else(|| self.cancellation.error()),
            };
        };
        let counts = run.tally.counts();
        // A run that was declined, refused, or ended before it began leaves an earlier report as it is.
        let refused = error.as_ref().is_some_and(|e| matches!(e.kind(), ErrorKind::Refused | ErrorKind::Input));
        let ended_early = counts.items.is_empty() && self.cancellation.is_cancelled();
        if let Some(report) = run.report.as_ref().filter(|_| !refused && !ended_early)
            && let Err(e) = report.finish()
        {
            error.get_or_insert(Error::io("write the report", e));
        }
        if let Err(e) = run.plan.finish(error.is_none() && !self.cancellation.is_cancelled()) {
            error.get_or_insert(e);
        }
        let throttled = run.network.limiter().counts().throttled;
        let error = error.or_else(|| self.cancellation.error());
        let complete = error.is_none() && !self.cancellation.is_cancelled();
        let ended = run.journal.as_ref().map_or(Ok(()), |journal| journal.end(&counts.items, error.as_ref(), complete));
        if let Err(e) = ended {
            tracing::error!("{e}");
        }
        let mut found = self.findings.found();
        if !complete || !counts.is_success() {
            // What was not looked at is not gone.
            found.gone = None;
        }
        let has_findings = run.options.fail_on_findings && found.new > 0;
        Summary { counts, calls: run.network.calls(), throttled, found, has_findings, error }
    }
}

/// Reads the input and checks it. What it takes to apply a plan of it, or to finish the run in another process, is kept; where it `is_new`.
fn read_input(entry: &Entry, input: PendingInput, run: &Run, is_new: bool) -> Result<Ready> {
    let mut input = input()?;
    run.plan.keep(|| entry.input_schema().to_value(), &mut input)?;
    if let Some(journal) = run.journal.as_ref().filter(|_| is_new && input.mistakes.is_empty()) {
        journal.take_input(&mut input, &entry.input_schema().to_value())?;
    }
    entry.parse(input, run.begun)
}

/// The work, or at the cancellation the error that it ends with.
pub(crate) async fn cancellable<T>(cancellation: &Cancellation, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = cancellation.cancelled() => Err(cancellation.error().unwrap_or(Error::Interrupted)),
    }
}

/// By which input what is listed is judged.
fn judged_by(options: &RunOptions) -> Option<&'static str> {
    if options.fail_on_findings { Some("fail_on_findings") } else { options.baseline.as_ref().map(|_| "baseline") }
}

fn open_report(path: &Path) -> Result<Report> {
    Report::open(path).map_err(|e| Error::field("report", format!("`report`: cannot write the file `{}`: {e}", path.display())))
}

/// Cancels the run when its time is over.
fn limit_time(options: &RunOptions, cancellation: &Cancellation) -> Option<JoinHandle<()>> {
    let limit = options.timeout?;
    let cancellation = cancellation.clone();
    Some(tokio::spawn(async move {
        tokio::time::sleep(limit.duration()).await;
        cancellation.cancel(CancelReason::TimedOut);
    }))
}

async fn open_session(meta: &Meta, target: &SessionOptions, run: &Run) -> Result<Session> {
    if meta.effect == Effect::Local {
        return Ok(Session::local());
    }
    let session = Session::open(target, meta.service(), &run.network, &MfaOf(&*run.host)).await?;
    if run.report.is_some() {
        // Its lines name the account; without STS they do without.
        session.account().await;
    }
    Ok(session)
}

/// Says what the run is being throttled by, and at what rate it goes.
async fn watch_rate(run: Arc<Run>) {
    let mut said = false;
    loop {
        tokio::time::sleep(LOOK_AT_RATE).await;
        let throttled = run.network.limiter().throttled();
        let note = throttled.first().map(|(key, rate)| format!("throttled by {}:{}: {rate:.1}/s", key.service, key.kind));
        if said || note.is_some() {
            said = note.is_some();
            run.host.progress(Progress::Note(note.unwrap_or_default()));
        }
    }
}

/// A target that actions are run in from Rust, with their own types: what the command line does with flags and JSON.
///
/// ```ignore
/// let aws = aaws::Connection::open(SessionOptions { region: Some("eu-west-1".parse()?), ..Default::default() }).await?;
/// let records = aws.run(DeleteObjects { bucket: "b".try_into()?, objects, ..Default::default() }).await?.records();
/// ```
#[derive(Clone)]
pub struct Connection {
    run: Arc<Run>,
    target: SessionOptions,
}

impl Connection {
    /// With the defaults of a run, and nobody to ask.
    pub async fn open(target: SessionOptions) -> Result<Self> {
        Self::with(target, RunOptions::default(), Arc::new(Unattended)).await
    }

    /// With options and a host of one's own. All actions that run in it share the limits of the account, one clock, and one cancellation.
    pub async fn with(target: SessionOptions, options: RunOptions, host: Arc<dyn Host>) -> Result<Self> {
        let report = options.report.as_deref().map(open_report).transpose()?;
        let cancellation = Cancellation::default();
        // It ends by itself, and cancels what may be over by then.
        limit_time(&options, &cancellation);
        Ok(Connection { run: Arc::new(Run::new(options, host, report, None, cancellation)), target })
    }

    /// Runs an action. Its output is typed: a value, or a stream of items; work happens as that is read.
    pub async fn run<A: Action>(&self, action: A) -> Result<A::Output> {
        action.run(&self.context::<A>().await?).await
    }

    /// Ends what runs early: what is in flight is finished, nothing new is begun.
    pub fn cancellation(&self) -> &Cancellation {
        &self.run.cancellation
    }

    /// A session for an action.
    pub(crate) async fn session(&self, meta: &Meta) -> Result<Session> {
        open_session(meta, &self.target, &self.run).await
    }

    /// A run of its own, for one of several actions: it counts its own items, and shares all else with the others.
    pub(crate) fn part(&self) -> Run {
        let run = &self.run;
        let part = Run::new(run.options.clone(), Arc::clone(&run.host), None, None, run.cancellation.clone());
        Run { now: run.now, begun: run.begun, network: run.network.clone(), slots: Arc::clone(&run.slots), ..part }
    }

    /// What an action sees of it.
    pub async fn context<A: Action>(&self) -> Result<Context> {
        let session = open_session(&A::META, &self.target, &self.run).await?;
        Ok(Context::new(&A::META, session, Arc::clone(&self.run)))
    }

    /// Undoes a step that a run of `entry` noted, in whatever process that was.
    pub async fn undo(&self, entry: &Entry, step: serde_json::Value) -> Result<()> {
        let session = open_session(entry.meta, &self.target, &self.run).await?;
        entry.undo(&Context::new(entry.meta, session, Arc::clone(&self.run)), step).await
    }
}
