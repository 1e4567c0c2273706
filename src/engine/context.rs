//! What an action sees of the world: one target, and the run it is part of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_types::SdkConfig;

use crate::aws::guard::Guard;
use crate::aws::session::{self, MfaPrompt, Session};
use crate::engine::progress::Progress;
use crate::engine::prompt::Prompt;
use crate::engine::report::{Line, Report};
use crate::input::Secret;
use crate::model::cancellation::{CancelReason, Cancellation};
use crate::model::error::{DENIED, Error};
use crate::model::meta::Meta;
use crate::model::outcome::{Record, Status};

/// How a run goes about its work; the same for every target of it.
pub struct Run {
    /// Send no write.
    pub dry_run: bool,
    /// How many requests may be under way at once.
    pub concurrency: usize,
    /// Who answers before something is deleted.
    pub ask: Box<dyn Prompt>,
    /// Who has the MFA device.
    pub mfa: Box<dyn MfaPrompt>,
    /// Where settled items are written down.
    pub report: Option<Report>,
    /// What is drawn while it runs.
    pub progress: Progress,
    /// Whether it should end early.
    pub cancellation: Cancellation,
    /// How many items came to what.
    pub tally: Tally,
}

/// How many items came to what.
#[derive(Debug, Default)]
pub struct Tally(Mutex<HashMap<Status, u64>>);

impl Tally {
    /// How many items have this status.
    pub fn count(&self, status: Status) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&status).copied().unwrap_or_default()
    }

    fn add(&self, status: Status) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }
}

/// One target, and the run that an action is part of. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    meta: &'static Meta,
    session: Session,
    guard: Guard,
    run: Arc<Run>,
}

impl Context {
    /// For one action on one target.
    pub fn new(meta: &'static Meta, session: Session, run: Arc<Run>) -> Self {
        let guard = Guard::new(meta.path, meta.calls, run.dry_run, run.cancellation.clone());
        Context(Arc::new(Inner { meta, session, guard, run }))
    }

    /// The action that runs.
    pub fn meta(&self) -> &'static Meta {
        self.0.meta
    }

    /// The region that it runs in.
    pub fn region(&self) -> &str {
        self.0.session.region()
    }

    /// Whether requests go to an endpoint that was given, which may be less than AWS.
    pub fn custom_endpoint(&self, service: &str) -> bool {
        self.0.session.custom_endpoint(service)
    }

    /// Whether no write may be sent.
    pub fn dry_run(&self) -> bool {
        self.0.run.dry_run
    }

    /// How many requests may be under way at once.
    pub fn concurrency(&self) -> usize {
        self.0.run.concurrency
    }

    /// Whether the run should end early.
    pub fn cancellation(&self) -> &Cancellation {
        &self.0.run.cancellation
    }

    /// What is drawn while it runs.
    pub fn progress(&self) -> &Progress {
        &self.0.run.progress
    }

    /// How often each declared call was made.
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// The target's credentials and region.
    pub fn session(&self) -> &Session {
        &self.0.session
    }

    /// The same action and run, on another target: for an action that opens its own session.
    pub fn with_session(&self, session: Session) -> Self {
        let Inner { meta, guard, run, .. } = &*self.0;
        Context(Arc::new(Inner { meta, session, guard: guard.clone(), run: Arc::clone(run) }))
    }

    /// Opens a session as the common flags would; the person at the terminal is asked for MFA digits.
    pub async fn open_session(&self, options: &session::SessionOptions) -> Result<Session, Error> {
        Session::open(options, self.0.meta.service(), &*self.0.run.mfa).await
    }

    /// A secret that the person at the terminal types; none when there is nobody.
    pub async fn ask_secret(&self, question: &str) -> Result<Option<Secret>, Error> {
        self.0.run.ask.secret(question).await
    }

    pub(crate) fn run(&self) -> &Run {
        &self.0.run
    }

    /// For [`crate::client!`] alone, which installs the guard.
    #[doc(hidden)]
    pub fn sdk_config(&self) -> &SdkConfig {
        self.0.session.sdk_config()
    }

    /// Counts an item as settled, logs it and writes it to the report.
    pub fn record(&self, record: &Record) -> Result<(), Error> {
        self.0.run.tally.add(record.status);
        self.log(record);
        if let Some(report) = &self.0.run.report {
            let line = Line::now(self.0.session.account(), self.region(), self.0.meta.path, record);
            if let Err(e) = report.write(&line) {
                // The item is settled all the same; what is not begun is better not begun.
                tracing::error!("cannot write the report line of `{}`: {e}", record.item);
                self.0.run.cancellation.cancel(CancelReason::ReportBroken);
            }
        }
        Ok(())
    }

    /// Something could not be read: the output goes on without it, and the run is not a success (exit code 3).
    pub fn record_failure(&self, item: impl Into<String>, error: &Error) -> Result<(), Error> {
        let failure = crate::model::outcome::Failure::from(error);
        self.record(&Record { item: item.into(), status: Status::Failed, code: Some(failure.code), message: Some(failure.message) })
    }

    fn log(&self, record: &Record) {
        let item = &record.item;
        let message = record.message.as_deref().unwrap_or_default();
        let code = record.code.as_deref().unwrap_or_default();
        match record.status {
            Status::Failed => {
                tracing::error!("`{item}`: {code}: {message}");
                if DENIED.contains(&code) {
                    tracing::debug!("`aaws permissions {} {}` prints the policy", self.0.meta.service(), self.0.meta.name());
                }
            }
            Status::Skipped => tracing::warn!("`{item}` skipped: {message}"),
            Status::Unchanged => tracing::info!("`{item}` unchanged: {message}"),
            Status::Done => tracing::debug!("`{item}` done{}{message}", if message.is_empty() { "" } else { ": " }),
            Status::Planned => tracing::debug!("`{item}` planned"),
        }
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
        let cx: &$crate::Context = $cx;
        let config = $sdk::config::Builder::from(cx.sdk_config()).interceptor(cx.guard().clone());
        $sdk::Client::from_conf(($more)(config).build())
    }};
}
