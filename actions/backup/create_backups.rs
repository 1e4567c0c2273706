use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aaws::Backoff;
use aaws::ItemResult;
use aaws::partition;
use aaws::{
    AccountId, Action, Call, Change, Context, Effect, Error, ErrorContext, Example, Failure, Grant, Items, Listing, Meta, Outcome, Record,
    Result, Status, When, async_trait,
};
use aws_sdk_backup::Client;
use aws_sdk_backup::operation::describe_backup_job::DescribeBackupJobOutput;
use aws_sdk_backup::types::{BackupJobState, Lifecycle};
use futures::future::{join_all, ready};
use futures::stream::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, Semaphore};

use super::vault::VaultName;

/// How long a job may wait for its turn before AWS Backup gives it up; the least that it takes (AWS Backup API reference, StartBackupJob).
const START_WINDOW: i64 = 60;

/// How many jobs one batch waits for. All of a batch are started before any is waited for, so that long jobs do not hold up the rest.
const BATCH: usize = 200;

/// The role that the console makes when AWS Backup is first used there.
const DEFAULT_ROLE: &str = "service-role/AWSBackupDefaultServiceRole";

/// Start backup jobs for AWS resources.
///
/// Resources are given by ARN, whatever their service, or for EC2 by the ids of instances and volumes. Each gets a job of its own. The ids of
/// those whose job could not be started, or with `wait` did not complete, are printed in the order given; with `details`, what came of each.
/// The log and the report name every job and its recovery point.
///
/// With `wait` the action ends when all jobs have. It waits as long as that takes, unless `--timeout` is given: jobs go on when the action does
/// not.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBackups {
    /// What to back up: ARNs, ids of instances (`i-…`) or of volumes (`vol-…`). An empty list backs up nothing.
    resource_ids: Items<String>,
    /// What the ids are. ARNs need none, and what begins with `i-` or `vol-` is told by that.
    service: Option<Service>,
    /// Vault that receives the recovery points.
    #[serde(default)]
    backup_vault_name: VaultName,
    /// Days until the recovery points are deleted.
    #[serde(default = "two_weeks")]
    retention_days: NonZeroU32,
    /// ARN of the role that AWS Backup works with; the account's `service-role/AWSBackupDefaultServiceRole` by default.
    iam_role: Option<String>,
    /// Wait until all jobs have ended.
    #[serde(default)]
    wait: bool,
    /// Print what came of each resource, with its job and its recovery point, rather than the ids of those that failed.
    #[serde(default)]
    details: bool,
}

fn two_weeks() -> NonZeroU32 {
    const DAYS: NonZeroU32 = NonZeroU32::MIN.saturating_add(13);
    DAYS
}

/// What ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Service {
    /// Instances.
    Ec2,
    /// Volumes.
    Ebs,
}

impl Service {
    /// What an id says by how it begins.
    fn of(id: &str) -> Option<Self> {
        match id.split_once('-') {
            Some(("i", _)) => Some(Service::Ec2),
            Some(("vol", _)) => Some(Service::Ebs),
            _ => None,
        }
    }

    /// As in ARNs.
    fn resource(self) -> &'static str {
        match self {
            Service::Ec2 => "instance",
            Service::Ebs => "volume",
        }
    }
}

/// A resource that failed, by its id as given, or with `details` what came of any resource.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Row {
    /// The id or ARN, as given.
    Failed(String),
    /// What came of it.
    Backup(Backup),
    /// What would be done.
    #[schemars(skip)]
    Plan(Record),
}

/// What came of one resource.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Backup {
    /// The id or ARN, as given.
    resource_id: String,
    /// `done` when its job was started, or with `wait` has completed.
    status: Status,
    /// The job.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_job_id: Option<String>,
    /// The recovery point, where it is known; `delete_backups` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_point_arn: Option<String>,
    /// What the job is doing: `CREATED` when it was started, `COMPLETED` when it was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// AWS's error code, the state in which the job ended, or a word of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// What is worth knowing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

const VAULT: &[&str] = &["arn:${Partition}:backup:${Region}:${Account}:backup-vault:${backup_vault_name}"];
const DEFAULT_VAULT: &[&str] = &["arn:${Partition}:backup:${Region}:${Account}:backup-vault:Default"];

#[async_trait]
impl Action for CreateBackups {
    const META: Meta = Meta {
        path: "backup/create_backups",
        effect: Effect::Create,
        calls: &[
            Call::write(
                "backup:StartBackupJob",
                &[
                    Grant::new("backup:StartBackupJob", VAULT).when(When::With(&["backup_vault_name"])),
                    Grant::new("backup:StartBackupJob", DEFAULT_VAULT).when(When::Without(&["backup_vault_name"])),
                    Grant::new("iam:PassRole", &["${iam_role}"]).when(When::With(&["iam_role"])).condition(
                        "StringEquals",
                        "iam:PassedToService",
                        "backup.amazonaws.com",
                    ),
                    Grant::new("iam:PassRole", &["arn:${Partition}:iam::${Account}:role/service-role/AWSBackupDefaultServiceRole"])
                        .when(When::Without(&["iam_role"]))
                        .condition("StringEquals", "iam:PassedToService", "backup.amazonaws.com"),
                ],
            ),
            Call::read("backup:DescribeBackupJob", &[Grant::new("backup:DescribeBackupJob", &["*"])]).when(When::With(&["wait"])),
            // Everybody may ask STS who they are.
            Call::read("sts:GetCallerIdentity", &[])
                .when(When::Rare("a resource is given by id or `iam_role` is not given, and the credentials do not say whose they are")),
        ],
        rules: &[],
        examples: &[
            Example {
                title: "Back up an instance",
                input: r#"{"resource_ids": ["i-0123456789abcdef0"], "service": "ec2"}"#,
                output: "[]",
                given: &[],
            },
            Example {
                title: "Back up a volume and a table, keep both for a month, and wait for them",
                input: r#"{"resource_ids": ["vol-0123456789abcdef0", "arn:aws:dynamodb:us-east-1:123456789012:table/orders"], "retention_days": 30, "wait": true, "details": true}"#,
                output: r#"[{"ResourceId": "vol-0123456789abcdef0", "Status": "done", "BackupJobId": "11111111-2222-3333-4444-555555555555", "RecoveryPointArn": "arn:aws:ec2:us-east-1::snapshot/snap-0123456789abcdef0", "State": "COMPLETED", "Message": "the backup job 11111111-2222-3333-4444-555555555555 has completed: recovery point arn:aws:ec2:us-east-1::snapshot/snap-0123456789abcdef0"}, {"ResourceId": "arn:aws:dynamodb:us-east-1:123456789012:table/orders", "Status": "done", "BackupJobId": "66666666-7777-8888-9999-000000000000", "RecoveryPointArn": "arn:aws:backup:us-east-1:123456789012:recovery-point:66666666", "State": "COMPLETED", "Message": "the backup job 66666666-7777-8888-9999-000000000000 has completed: recovery point arn:aws:backup:us-east-1:123456789012:recovery-point:66666666"}]"#,
                given: &[],
            },
        ],
        notes: &[
            "A wait that was stopped is not taken up again: the jobs go on, and their ids are in the log, the report and with `details` in the output.",
            "A job that AWS Backup does not begin within 60 minutes ends as EXPIRED. Without `wait` that is not seen.",
            "COMPLETED alone is success: PARTIAL, EXPIRED, FAILED and ABORTED are failures, with AWS Backup's message.",
            "The default role is there once AWS Backup was set up in the console; before that, give `iam_role`.",
            "A vault's lock may ask for a longer or shorter retention than `retention_days`: AWS Backup then refuses or fails the job.",
            "A request that is sent again because its answer was lost starts no second job. A second run starts new ones.",
            "While waiting, throttling is waited out. A job that cannot be looked at for a quarter of an hour, or not at all, is a failure that names it; it goes on.",
        ],
    };

    type Output = Listing<Row>;

    async fn run(self, cx: &Context) -> Result<Listing<Row>> {
        if let Some(role) = &self.iam_role
            && !(role.starts_with("arn:") && role.contains(":role/"))
        {
            return Err(Error::field("iam_role", format!("`iam_role` takes the ARN of a role, not `{role}`")));
        }
        let details = self.details;
        let naming = Arc::new(Naming { cx: cx.clone(), service: self.service, role: self.iam_role, account: OnceCell::new() });
        // The same for a request that is sent again, another in the next run.
        let run = RandomState::new();
        let targets = self.resource_ids.stream().then(move |id| {
            let naming = Arc::clone(&naming);
            let run = run.clone();
            async move { naming.target(id?, &run).await }
        });
        let begun = StartedJobs::default();
        let start = StartJobs {
            begun: begun.clone(),
            backup: aaws::client!(cx, aws_sdk_backup),
            vault: self.backup_vault_name,
            retention_days: self.retention_days,
            wait: self.wait,
            turns: Semaphore::new(cx.concurrency()),
        };
        let settled = cx.change(targets, start).await?.results();
        Ok(Listing::from_stream(settled.filter_map(move |settled| ready(settled.map(|s| row(s, details, &begun)).transpose()))))
    }
}

aaws::register!(CreateBackups);

/// What is printed of a resource.
fn row(settled: ItemResult<()>, details: bool, begun: &StartedJobs) -> Option<Row> {
    let record = settled.record;
    if record.status == Status::Planned {
        return Some(Row::Plan(record));
    }
    if !details {
        return (record.status == Status::Failed).then_some(Row::Failed(record.item));
    }
    let (backup_job_id, recovery_point_arn, state) =
        begun.of(&record.item).map_or((None, None, None), |j| (Some(j.id), j.point, Some(j.state)));
    let Record { item, status, code, message, .. } = record;
    Some(Row::Backup(Backup { resource_id: item, status, backup_job_id, recovery_point_arn, state, code, message }))
}

/// Makes ARNs of what was given.
struct Naming {
    cx: Context,
    service: Option<Service>,
    role: Option<String>,
    account: OnceCell<String>,
}

/// One resource to back up.
struct Target {
    /// As given.
    id: String,
    arn: Result<String, Failure>,
    role: String,
    token: String,
}

impl Naming {
    async fn target(&self, id: String, run: &RandomState) -> Result<Target> {
        let arn = self.arn(&id).await?;
        let role = match (&self.role, &arn) {
            (Some(role), _) => role.clone(),
            (None, Ok(_)) => format!("arn:{}:iam::{}:role/{DEFAULT_ROLE}", partition(self.cx.region()), self.account().await?),
            (None, Err(_)) => String::new(),
        };
        let token = arn.as_ref().map(|arn| format!("aaws-{:016x}{:016x}", run.hash_one(arn), run.hash_one((arn, "2")))).unwrap_or_default();
        Ok(Target { id, arn, role, token })
    }

    async fn arn(&self, id: &str) -> Result<Result<String, Failure>> {
        if id.starts_with("arn:") {
            return Ok(Ok(id.to_owned()));
        }
        let told = Service::of(id);
        let service = match (self.service, told) {
            (Some(service), Some(told)) if service != told => {
                let why = format!("it is the id of {}, and `service` says {}", a(told), a(service));
                return Ok(Err(Failure::permanent("WrongService", why)));
            }
            (service, told) => service.or(told),
        };
        let Some(service) = service.filter(|_| !id.is_empty()) else {
            let why = "it is no ARN, and neither the id of an instance (i-…) nor of a volume (vol-…)";
            return Ok(Err(Failure::permanent("UnknownResource", why)));
        };
        let region = self.cx.region();
        Ok(Ok(format!("arn:{}:ec2:{region}:{}:{}/{id}", partition(region), self.account().await?, service.resource())))
    }

    /// The account, which STS is asked for once.
    async fn account(&self) -> Result<&AccountId> {
        self.cx.account().await.ok_or_else(|| Error::Failed("STS does not say which account this is".into()))
    }
}

fn a(service: Service) -> String {
    format!("{} {}", if service == Service::Ec2 { "an" } else { "a" }, service.resource())
}

/// The jobs that were started, by their resources as given: one that ends badly has an id and may have a recovery point too.
#[derive(Clone, Default)]
struct StartedJobs(Arc<Mutex<HashMap<String, Job>>>);

impl StartedJobs {
    fn note(&self, resource: &str, job: &Job) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(resource.to_owned(), job.clone());
    }

    fn of(&self, resource: &str) -> Option<Job> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(resource).cloned()
    }
}

/// A job that was started.
#[derive(Clone)]
struct Job {
    id: String,
    point: Option<String>,
    state: String,
}

impl Job {
    /// For the log and the report, which have nothing else to tell it by.
    fn told(&self, what: &str) -> String {
        let point = self.point.as_ref().map(|p| format!(": recovery point {p}")).unwrap_or_default();
        format!("the backup job {} {what}{point}", self.id)
    }
}

struct StartJobs {
    begun: StartedJobs,
    backup: Client,
    vault: VaultName,
    retention_days: NonZeroU32,
    wait: bool,
    /// Requests under way at once, over all batches.
    turns: Semaphore,
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
        let arn = target.arn.as_ref().ok()?;
        Some(format!("{arn} would be backed up to the vault `{}` as {}, for {} days", self.vault, target.role, self.retention_days))
    }

    fn precheck(&self, target: &Target) -> Option<Outcome> {
        target.arn.as_ref().err().cloned().map(Outcome::Failed)
    }

    fn batch(&self) -> usize {
        if self.wait { BATCH } else { 1 }
    }

    async fn apply(&self, cx: &Context, targets: &[Target]) -> Result<Vec<Outcome>> {
        let halted = AtomicBool::new(false);
        Ok(join_all(targets.iter().map(|target| self.back_up(cx, target, &halted))).await)
    }
}

impl StartJobs {
    /// Starts one job and sees it through.
    async fn back_up(&self, cx: &Context, target: &Target, halted: &AtomicBool) -> Outcome {
        let arn = match &target.arn {
            Ok(arn) => arn,
            Err(failure) => return Outcome::Failed(failure.clone()),
        };
        let turn = self.turns.acquire().await;
        if cx.cancellation().is_cancelled() {
            return Outcome::skipped("not started: the run was stopped");
        }
        if halted.load(Ordering::Relaxed) {
            return Outcome::skipped("not started: another job could not be, for a reason that holds for all");
        }
        let started = self.start(arn, target).await;
        drop(turn);
        let job = match started {
            Ok(job) => job,
            Err(e) => {
                halted.fetch_or(e.is_fatal(), Ordering::Relaxed);
                return Outcome::Failed(Failure::from(&e));
            }
        };
        self.begun.note(&target.id, &job);
        if self.wait {
            tracing::info!("`{}`: {}", target.id, job.told("was started"));
            return self.watch(cx, target, job).await;
        }
        let told = job.told("was started");
        tracing::info!("`{}`: {told}", target.id);
        Outcome::Done((), Some(told))
    }

    async fn start(&self, arn: &str, target: &Target) -> Result<Job> {
        let lifecycle = Lifecycle::builder().delete_after_days(i64::from(self.retention_days.get())).build();
        let request = self.backup.start_backup_job().backup_vault_name(self.vault.as_str()).resource_arn(arn).iam_role_arn(&target.role);
        let request = request.idempotency_token(&target.token).start_window_minutes(START_WINDOW).lifecycle(lifecycle);
        let answer = request.send().await.context(|| format!("start a backup job for `{arn}`"));
        let started = answer.map_err(|e| self.explain(e, &target.role))?;
        let Some(id) = started.backup_job_id else {
            return Err(Error::Failed(format!("AWS Backup started a job for `{arn}` without naming it")));
        };
        Ok(Job { id, point: started.recovery_point_arn, state: BackupJobState::Created.as_str().to_owned() })
    }

    /// The default role is missing more often than any other, and AWS Backup does not say why it should be there.
    fn explain(&self, error: Error, role: &str) -> Error {
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

    /// Looks at a job until it has ended. Whatever becomes of the looking, the job is named.
    async fn watch(&self, cx: &Context, target: &Target, mut job: Job) -> Outcome {
        let mut backoff = Backoff::poll();
        loop {
            if !backoff.wait(cx).await {
                return Outcome::Failed(Failure::permanent("NotAwaited", job.told("goes on: the run was stopped")));
            }
            let seen = {
                let _turn = self.turns.acquire().await;
                let request = self.backup.describe_backup_job().backup_job_id(&job.id).send();
                backoff.attempt(async { request.await.context(|| format!("look at the backup job {}", job.id)) }).await
            };
            let seen = match seen {
                Ok(Some(seen)) => seen,
                Ok(None) => continue,
                Err(e) => {
                    let failure = Failure::from(&e);
                    let told = job.told("was started and goes on, but cannot be waited for");
                    return Outcome::Failed(Failure { message: format!("{told}: {}", failure.message), ..failure });
                }
            };
            job.point = seen.recovery_point_arn.clone().or(job.point);
            let state = seen.state.clone().unwrap_or(BackupJobState::Created);
            job.state = state.as_str().to_owned();
            self.begun.note(&target.id, &job);
            match state {
                BackupJobState::Completed => {
                    let told = job.told("has completed");
                    return Outcome::Done((), Some(told));
                }
                BackupJobState::Aborted | BackupJobState::Expired | BackupJobState::Failed | BackupJobState::Partial => {
                    return ended_badly(&job, &seen);
                }
                BackupJobState::Created | BackupJobState::Pending | BackupJobState::Running | BackupJobState::Aborting => {}
                // A state that is newer than this program; one that has an end date is an end.
                _ if seen.completion_date.is_some() => return ended_badly(&job, &seen),
                _ => {}
            }
            tracing::debug!("the backup job {} is {}", job.id, job.state);
        }
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
