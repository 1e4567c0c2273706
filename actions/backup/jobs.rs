//! Backup jobs: started, and looked at until they have ended.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aaws::{Change, Code, Context, Error, ErrorContext, Failure, OnCancel, Outcome, Result, async_trait, poll_until};
use aws_sdk_backup::Client;
use aws_sdk_backup::operation::describe_backup_job::DescribeBackupJobOutput;
use aws_sdk_backup::types::{BackupJobState, Lifecycle};
use futures::future::join_all;

use super::create_backups::DEFAULT_ROLE;
use super::ids::VaultName;

/// How long a job may wait for its turn before AWS Backup gives it up; the least that it takes (AWS Backup API reference, StartBackupJob).
const START_WINDOW: i64 = 60;

/// How many jobs one batch waits for. All of a batch are started before any is waited for, so that long jobs do not hold up the rest.
const BATCH: usize = 200;

/// One resource to back up.
#[derive(Default)]
pub struct Target {
    /// As given.
    pub id: String,
    /// Its ARN; empty when there is nothing to start.
    pub arn: String,
    /// The role that AWS Backup works with.
    pub role: String,
    /// By which a request is known again that was sent twice.
    pub token: String,
    /// What is to be said of it without a job.
    pub outcome: Option<Outcome>,
}

/// The jobs that were started, by their resources as given: one that ends badly has an id and may have a recovery point too.
#[derive(Clone, Default)]
pub struct StartedJobs(Arc<Mutex<HashMap<String, Job>>>);

impl StartedJobs {
    fn note(&self, resource: &str, job: &Job) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(resource.to_owned(), job.clone());
    }

    /// What is known of a resource's job.
    pub fn of(&self, resource: &str) -> Option<Job> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(resource).cloned()
    }
}

/// A job that was started.
#[derive(Clone)]
pub struct Job {
    /// `BackupJobId`
    pub id: String,
    /// The recovery point, where it is known.
    pub point: Option<String>,
    /// What it was doing when it was last looked at.
    pub state: String,
}

impl Job {
    /// For the log and the report, which have nothing else to tell it by.
    fn told(&self, what: &str) -> String {
        let point = self.point.as_ref().map(|p| format!(": recovery point {p}")).unwrap_or_default();
        format!("the backup job {} {what}{point}", self.id)
    }

    fn done(&self, what: &str) -> Outcome {
        Outcome::Done((), Some(self.told(what)))
    }

    fn not_awaited(&self) -> Outcome {
        Outcome::Failed(Failure::permanent(Code::NotAwaited, self.told("goes on: the run was stopped")))
    }
}

/// Starts a job for each target, and with `wait` sees it through.
pub struct StartJobs {
    /// What became of those that were started.
    pub begun: StartedJobs,
    /// AWS Backup.
    pub backup: Client,
    /// Where the recovery points go.
    pub vault: VaultName,
    /// How long they are kept.
    pub retention_days: NonZeroU32,
    /// Whether the jobs are waited for.
    pub wait: bool,
}

#[async_trait]
impl Change for StartJobs {
    type Item = Target;
    type Done = ();

    fn id(&self, target: &Target) -> String {
        target.id.clone()
    }

    fn summary(&self) -> String {
        format!("back up to the vault `{}`", self.vault)
    }

    fn plan(&self, target: &Target) -> Option<String> {
        Some(format!(
            "{} would be backed up to the vault `{}` as {}, for {} days",
            target.arn, self.vault, target.role, self.retention_days
        ))
    }

    fn precheck(&self, target: &Target) -> Option<Outcome> {
        target.outcome.clone()
    }

    fn batch(&self) -> usize {
        if self.wait { BATCH } else { 1 }
    }

    async fn apply(&self, cx: &Context, targets: &[Target]) -> Result<Vec<Outcome>> {
        let halted = AtomicBool::new(false);
        let mut begun = Vec::with_capacity(targets.len());
        // A few at a time: what holds for all, such as expired credentials, is then not asked for two hundred times.
        for some in targets.chunks(cx.concurrency()) {
            begun.extend(join_all(some.iter().map(|target| self.begin(cx, target, &halted))).await);
        }
        Ok(join_all(begun.into_iter().zip(targets).map(|(job, target)| self.finish(cx, target, job))).await)
    }
}

impl StartJobs {
    /// Starts one job, or says why there is none.
    async fn begin(&self, cx: &Context, target: &Target, halted: &AtomicBool) -> Result<Job, Outcome> {
        if cx.cancellation().is_cancelled() {
            return Err(Outcome::skipped_as(Code::NotStarted, "not started: the run was stopped"));
        }
        if halted.load(Ordering::Relaxed) {
            return Err(Outcome::skipped_as(Code::NotStarted, "not started: another job could not be, for a reason that holds for all"));
        }
        let started = self.start(target).await;
        let job = started.map_err(|e| {
            halted.fetch_or(e.is_fatal(), Ordering::Relaxed);
            Outcome::Failed(Failure::from(&e))
        })?;
        self.begun.note(&target.id, &job);
        tracing::info!("`{}`: {}", target.id, job.told("was started"));
        Ok(job)
    }

    async fn finish(&self, cx: &Context, target: &Target, job: Result<Job, Outcome>) -> Outcome {
        match job {
            Err(outcome) => outcome,
            Ok(job) if self.wait => self.watch(cx, target, job).await,
            Ok(job) => job.done("was started"),
        }
    }

    async fn start(&self, target: &Target) -> Result<Job> {
        let Target { arn, role, token, .. } = target;
        let lifecycle = Lifecycle::builder().delete_after_days(i64::from(self.retention_days.get())).build();
        let request = self.backup.start_backup_job().backup_vault_name(self.vault.as_str()).resource_arn(arn).iam_role_arn(role);
        let request = request.idempotency_token(token).start_window_minutes(START_WINDOW).lifecycle(lifecycle);
        let answer = request.send().await.context(|| format!("start a backup job for `{arn}`"));
        let started = answer.map_err(|e| explain(e, role))?;
        let Some(id) = started.backup_job_id else {
            return Err(Error::Failed(format!("AWS Backup started a job for `{arn}` without naming it")));
        };
        Ok(Job { id, point: started.recovery_point_arn, state: BackupJobState::Created.as_str().to_owned() })
    }

    /// Looks at a job until it has ended. Whatever becomes of the looking, the job is named.
    async fn watch(&self, cx: &Context, target: &Target, job: Job) -> Outcome {
        let ended = poll_until(cx, OnCancel::Stop, || self.look(target, &job)).await;
        match ended {
            Ok(Some(outcome)) => outcome,
            // A look that was not sent any more says nothing of the job.
            Err(_) if cx.cancellation().is_cancelled() => self.begun.of(&target.id).unwrap_or(job).not_awaited(),
            Ok(None) => self.begun.of(&target.id).unwrap_or(job).not_awaited(),
            Err(e) => {
                let failure = Failure::from(&e);
                let told = job.told("was started and goes on, but cannot be waited for");
                Outcome::Failed(Failure { message: format!("{told}: {}", failure.message), ..failure })
            }
        }
    }

    /// One look at a job: its outcome, when it has ended.
    async fn look(&self, target: &Target, job: &Job) -> Result<Option<Outcome>> {
        let request = self.backup.describe_backup_job().backup_job_id(&job.id);
        let seen = request.send().await.context(|| format!("look at the backup job {}", job.id))?;
        let state = seen.state.clone().unwrap_or(BackupJobState::Created);
        let point = seen.recovery_point_arn.clone().or_else(|| job.point.clone());
        let job = Job { id: job.id.clone(), point, state: state.as_str().to_owned() };
        self.begun.note(&target.id, &job);
        tracing::debug!("the backup job {} is {}", job.id, job.state);
        Ok(match state {
            BackupJobState::Completed => Some(job.done("has completed")),
            BackupJobState::Aborted | BackupJobState::Expired | BackupJobState::Failed | BackupJobState::Partial => {
                Some(ended_badly(&job, &seen))
            }
            BackupJobState::Created | BackupJobState::Pending | BackupJobState::Running | BackupJobState::Aborting => None,
            // A state that is newer than this program; one that has an end date is an end.
            _ => seen.completion_date.is_some().then(|| ended_badly(&job, &seen)),
        })
    }
}

/// The default role is missing more often than any other, and AWS Backup does not say why it should be there.
fn explain(error: Error, role: &str) -> Error {
    match error {
        Error::Aws(mut e) if role.ends_with(DEFAULT_ROLE) && e.message.to_lowercase().contains("role") => {
            let hint = format!(
                "the default role {role} is there only after AWS Backup was set up once in the console: \
                 do that (Settings, or a first on-demand backup), or give `iam_role`"
            );
            e.message = format!("{}; {hint}", e.message.trim_end_matches('.'));
            Error::Aws(e)
        }
        other => other,
    }
}

fn ended_badly(job: &Job, seen: &DescribeBackupJobOutput) -> Outcome {
    let why = match job.state.as_str() {
        "EXPIRED" => "AWS Backup did not begin it in time",
        "PARTIAL" => "not everything was backed up",
        _ => "AWS Backup gave no reason",
    };
    let why = seen.status_message().filter(|m| !m.is_empty()).unwrap_or(why);
    let category = seen.message_category().filter(|c| !c.is_empty()).map(|c| format!(" ({c})")).unwrap_or_default();
    Outcome::Failed(Failure::permanent(&job.state, format!("{}: {why}{category}", job.told(&format!("ended as {}", job.state)))))
}
