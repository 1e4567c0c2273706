//! What an action sees of the world: one target, and the run it is part of.

use std::sync::{Arc, Mutex, PoisonError};

use aws_types::SdkConfig;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use crate::aws::guard::Guard;
use crate::aws::options::SessionOptions;
use crate::aws::session::Session;
use crate::engine::cache::Cache;
use crate::engine::guards::Guards;
use crate::engine::host::{Host, MfaOf, Place, Progress};
use crate::engine::plan::RunPlan;
use crate::engine::run::Run;
use crate::input::Secret;
use crate::model::cancellation::{CancelReason, Cancellation};
use crate::model::code::Code;
use crate::model::error::{DENIED, Error, Result};
use crate::model::meta::Meta;
use crate::model::outcome::{Failure, Record, Status};
use crate::model::target::{AccountId, Target};

/// One target, and the run that an action is part of. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    meta: &'static Meta,
    session: Session,
    guard: Guard,
    run: Arc<Run>,
    /// Held while an item is worked on; given back while it only waits.
    slot: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Context {
    /// For one action on one target.
    pub(crate) fn new(meta: &'static Meta, session: Session, run: Arc<Run>) -> Self {
        let guard = Guard::new(meta.path, meta.calls, run.options.dry_run, run.network.clone());
        Context::with(meta, session, guard, run, None)
    }

    fn with(meta: &'static Meta, session: Session, guard: Guard, run: Arc<Run>, slot: Option<OwnedSemaphorePermit>) -> Self {
        // Two sessions of one account share its limits; until the account is known, what it is reached by stands for it.
        let account = session.known_account().map_or(session.credentials_source(), AccountId::as_str);
        let documented = !session.custom_endpoint(meta.service());
        let guard = guard.within(account, session.region().map_or("", |r| r.as_str()), documented).signing_with(session.signing());
        Context(Arc::new(Inner { meta, session, guard, run, slot: Mutex::new(slot) }))
    }

    /// The action that runs.
    pub fn meta(&self) -> &'static Meta {
        self.0.meta
    }

    /// The region that it runs in; empty for a local action.
    pub fn region(&self) -> &str {
        self.0.session.region().map_or("", |region| region.as_str())
    }

    /// The account that it runs in: asked of STS the first time. Unknown where there is no STS.
    pub async fn account(&self) -> Option<&AccountId> {
        self.0.session.account().await
    }

    /// What all who work in this session ask of its account and region only once, several actions of one overview say: `what` names it, with the service.
    /// The first asks, who asks meanwhile waits for the same answer, and who asks later has it at once; an error is not kept. It is kept until the session
    /// ends, so it is for what is small, and good for a whole run.
    pub async fn once<T, F>(&self, what: &str, ask: impl FnOnce() -> F + Send) -> Result<Arc<T>>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.0.session.once().get(what, ask).await
    }

    /// The run's clock: now, the same for the whole run.
    pub fn now(&self) -> Timestamp {
        self.0.run.now
    }

    /// What ages in the input are counted from: now, but for a run that applies a plan, or goes on from another process. What was too young for it then
    /// still is.
    pub fn begun(&self) -> Timestamp {
        self.0.run.begun
    }

    /// Whether requests go to an endpoint that was given, which may be less than AWS.
    pub fn custom_endpoint(&self, service: &str) -> bool {
        self.0.session.custom_endpoint(service)
    }

    /// Whether no write may be sent.
    pub fn dry_run(&self) -> bool {
        self.0.run.options.dry_run
    }

    /// What the user lets the run do.
    pub(crate) fn guards(&self) -> &Guards {
        &self.0.run.options.guards
    }

    /// Why a guard of the user's keeps a thing with these tags: `protect_tag`, `aaws:protect`. It is skipped then, as [`Code::Protected`]. For an action
    /// that has to know beforehand what stays; of all others the engine asks ([`crate::Change::tags`]).
    pub fn protection(&self, tags: &[(String, String)]) -> Option<String> {
        self.guards().protection(tags, self.now())
    }

    /// Whether items are looked at as closely as a dry run does: it is one, or a plan is applied, which is compared with what one saw.
    pub fn foresees(&self) -> bool {
        self.dry_run() || matches!(self.0.run.plan, RunPlan::Applying(_))
    }

    /// Whether a plan is applied that says something of this item: one that is there, and would not be selected now, is an item all the same, so that it is
    /// not taken for one that is gone.
    pub fn plan_has(&self, item: &str) -> bool {
        match &self.0.run.plan {
            RunPlan::Applying(planned) => planned.has(item),
            RunPlan::None | RunPlan::Writing(_) => false,
        }
    }

    /// How many requests may be in flight at once. The network sees to it: this is for how many it makes sense to prepare.
    pub fn concurrency(&self) -> usize {
        self.0.run.options.concurrency.get()
    }

    /// Whether the run should end early.
    pub fn cancellation(&self) -> &Cancellation {
        &self.0.run.cancellation
    }

    /// Stands before every call.
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// The target's region and where its credentials come from.
    pub fn session(&self) -> &Session {
        &self.0.session
    }

    /// The credentials of the target, for what is signed without being sent. Nothing may be sent with them but through [`crate::client!`]: a test knows
    /// by name who has them.
    #[allow(dead_code, reason = "with some services only, nobody needs them")]
    pub(crate) async fn credentials(&self) -> Result<aws_credential_types::Credentials> {
        self.0.session.credentials().await
    }

    /// For what settles what was begun (undoing, say): its requests are sent even after the run was cancelled.
    pub fn settling(&self) -> Self {
        let Inner { meta, session, guard, run, .. } = &*self.0;
        Context::with(meta, session.clone(), guard.settling(), Arc::clone(run), None)
    }

    /// The same action and run, on another target: for an action that opens its own session.
    pub fn with_session(&self, session: Session) -> Self {
        let Inner { meta, guard, run, .. } = &*self.0;
        Context::with(meta, session, guard.clone(), Arc::clone(run), None)
    }

    /// For one item that is worked on, with the slot that it takes.
    pub(crate) fn in_slot(&self, slot: OwnedSemaphorePermit) -> Self {
        let Inner { meta, session, guard, run, .. } = &*self.0;
        Context::with(meta, session.clone(), guard.clone(), Arc::clone(run), Some(slot))
    }

    /// The item only waits from here on: another may be begun meanwhile. What it sends later still takes a permit like every request.
    pub fn release_slot(&self) {
        self.0.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Opens a session as the common flags would; whoever has the MFA device is asked for its digits.
    pub async fn open_session(&self, options: &SessionOptions) -> Result<Session> {
        Session::open(options, self.0.meta.service(), &self.0.run.network, &MfaOf(&*self.0.run.host)).await
    }

    /// A secret that somebody types; none when there is nobody.
    pub async fn ask_secret(&self, question: &str) -> Result<Option<Secret>> {
        self.0.run.host.secret(question).await
    }

    pub(crate) fn run(&self) -> &Run {
        &self.0.run
    }

    pub(crate) fn host(&self) -> &dyn Host {
        &*self.0.run.host
    }

    /// Where it runs, for people.
    pub(crate) async fn place(&self) -> Place {
        Place {
            account: self.account().await.map(ToString::to_string),
            credentials: self.0.session.credentials_source().to_owned(),
            region: self.region().to_owned(),
            endpoint: self.0.session.endpoint().map(str::to_owned),
        }
    }

    /// The account and region that records of it are of, as far as they are known.
    pub fn target(&self) -> Target {
        Target { account: self.0.session.known_account().cloned(), region: self.0.session.region().cloned() }
    }

    /// Where requests go, as plans and journals have it.
    pub(crate) fn destination(&self) -> String {
        self.0.session.destination(self.0.meta.service())
    }

    /// A file that is kept from run to run, of some kind of knowledge about something at the place where requests go, in the target's account as far as that
    /// is known by now. None where nothing is to be kept: the run does not want it (`--no_cache`), or it is a sandbox, which answers at once.
    pub fn cache(&self, kind: &str, about: &[&str]) -> Option<Cache> {
        if !self.0.run.options.cache || self.0.session.is_sandbox() {
            return None;
        }
        let (place, account) = (self.destination(), self.0.session.known_account().map_or("", AccountId::as_str));
        let about: Vec<&str> = [place.as_str(), account].into_iter().chain(about.iter().copied()).collect();
        Cache::of(kind, &about)
    }

    /// Says something of the run that what comes later has to know, undoing say.
    pub fn mark(&self, what: &'static str) {
        self.0.run.marks.lock().unwrap_or_else(PoisonError::into_inner).insert(what);
    }

    /// Whether that was said of the run.
    pub fn is_marked(&self, what: &'static str) -> bool {
        self.0.run.marks.lock().unwrap_or_else(PoisonError::into_inner).contains(what)
    }

    /// Says how far the run is.
    pub fn progress(&self, progress: Progress) {
        self.0.run.host.progress(progress);
    }

    /// Throttling that only the action can read: a service said it of single items in an answer that was otherwise accepted.
    pub fn throttled_items(&self, call: &str, scope: &str, items: u32) {
        let (service, operation) = call.split_once(':').unwrap_or((call, ""));
        self.0.run.network.limiter().throttled_items(&self.0.guard.key(service, operation, scope), items);
    }

    /// For [`crate::client!`] alone, which installs the guard.
    pub(crate) fn sdk_config(&self) -> &SdkConfig {
        self.0.session.sdk_config()
    }

    /// Counts an item as settled, logs it and writes it to the report.
    pub fn record(&self, record: &Record) {
        self.0.run.tally.add(|counts| {
            *counts.items.entry(record.status).or_default() += 1;
            let skipped = record.status == Status::Skipped;
            counts.kept += u64::from(skipped && record.is(Code::Protected));
            counts.not_started += u64::from(skipped && record.is(Code::NotStarted));
        });
        self.log(record);
        if let Some(report) = &self.0.run.report
            && let Err(e) = report.write(&self.target(), self.0.meta.path, record)
        {
            // The item is settled all the same; what is not begun is better not begun.
            tracing::error!("cannot write the report line of `{}`: {e}", record.item);
            self.0.run.cancellation.cancel(CancelReason::ReportBroken);
        }
    }

    /// Something could not be read: the output goes on without it, and the run is not a success (exit code 3).
    pub fn record_failure(&self, item: impl Into<String>, error: &Error) {
        let failure = Failure::from(error);
        self.record(&Record::new(item, Status::Failed).with_code(failure.code).with_message(failure.message));
    }

    fn log(&self, record: &Record) {
        let item = record.name();
        let message = record.message.as_deref().unwrap_or_default();
        let code = record.code.as_deref().unwrap_or_default();
        match record.status {
            Status::Failed => {
                tracing::error!("`{item}`: {code}: {message}");
                if DENIED.contains(&code) {
                    tracing::debug!("`aaws permissions {} {}` prints the policy", self.0.meta.service(), self.0.meta.name());
                }
            }
            // A run that ends early may leave a million: they are counted at its end, and named in the report.
            Status::Skipped if record.is(Code::NotStarted) => tracing::debug!("`{item}` {message}"),
            Status::Skipped => tracing::warn!("`{item}` skipped: {message}"),
            Status::Unchanged => tracing::info!("`{item}` unchanged: {message}"),
            Status::Done => tracing::debug!("`{item}` done{}{message}", if message.is_empty() { "" } else { ": " }),
            Status::Planned => tracing::debug!("`{item}` planned"),
        }
    }
}

/// A context, owned or borrowed: what [`crate::client!`] takes.
impl AsRef<Context> for Context {
    fn as_ref(&self) -> &Context {
        self
    }
}

/// An SDK client for the context's target, with the guard in it: `aaws::client!(cx, aws_sdk_s3)`. A closure may set more:
/// `aaws::client!(cx, aws_sdk_s3, |config| config.force_path_style(true))`. This is the only way to a client.
#[macro_export]
macro_rules! client {
    ($cx:expr, $sdk:ident) => {
        $crate::client!($cx, $sdk, |config| config)
    };
    ($cx:expr, $sdk:ident, $more:expr) => {{
        let cx: &$crate::Context = $cx.as_ref();
        let config = $sdk::config::Builder::from($crate::__private::sdk_config(cx)).interceptor(cx.guard().clone());
        let config = config.retry_partition($crate::__private::retry_partition()).retry_classifier($crate::__private::ThrottlingClassifier);
        $sdk::Client::from_conf(($more)(config).build())
    }};
}
