use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use aaws::{
    AccountId, Action, Call, Context, Effect, Error, Example, Failure, Grant, ItemResult, Items, Listing, Meta, Outcome, Record, Result,
    RoleArn, Status, When, async_trait, partition,
};
use futures::future::ready;
use futures::stream::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{ResourceId, VaultName};
use super::jobs::{StartJobs, StartedJobs, Target};

/// The role that the console makes when AWS Backup is first used there.
pub(super) const DEFAULT_ROLE: &str = "service-role/AWSBackupDefaultServiceRole";

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
    pub resource_ids: Items<ResourceId>,
    /// What the ids have to be. It may be left out: what begins with `i-` is an instance, with `vol-` a volume.
    pub service: Option<Service>,
    /// Vault that receives the recovery points.
    #[serde(default)]
    pub backup_vault_name: VaultName,
    /// Days until the recovery points are deleted.
    #[serde(default = "two_weeks")]
    pub retention_days: NonZeroU32,
    /// ARN of the role that AWS Backup works with; the account's `service-role/AWSBackupDefaultServiceRole` by default.
    pub iam_role: Option<RoleArn>,
    /// Wait until all jobs have ended.
    #[serde(default)]
    pub wait: bool,
    /// Print what came of each resource, with its job and its recovery point, rather than the ids of those that failed.
    #[serde(default)]
    pub details: bool,
}

fn two_weeks() -> NonZeroU32 {
    const DAYS: NonZeroU32 = NonZeroU32::MIN.saturating_add(13);
    DAYS
}

impl Default for CreateBackups {
    /// Of nothing, for two weeks, to the vault `Default`.
    fn default() -> Self {
        CreateBackups {
            resource_ids: Items::from(Vec::new()),
            service: None,
            backup_vault_name: VaultName::default(),
            retention_days: two_weeks(),
            iam_role: None,
            wait: false,
            details: false,
        }
    }
}

/// What ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Instances.
    Ec2,
    /// Volumes.
    Ebs,
}

impl Service {
    /// What an id says by how it begins; nothing when it is an ARN.
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
            // What the job itself needs, the role has that is passed; the caller needs no right to the resource (service authorization reference).
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
            Call::read("sts:GetCallerIdentity", &[]).when(When::Likely("a resource is given by id, or `iam_role` is not given")),
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
        let details = self.details;
        // The tokens are the same for a request that is sent again, others in the next run.
        let (tokens, seen) = (RandomState::new(), Mutex::default());
        let naming = Arc::new(Naming { cx: cx.clone(), service: self.service, role: self.iam_role, tokens, seen });
        let targets = self.resource_ids.stream().then(move |id| {
            let naming = Arc::clone(&naming);
            async move { naming.target(id?).await }
        });
        let begun = StartedJobs::default();
        let start = StartJobs {
            begun: begun.clone(),
            backup: aaws::client!(cx, aws_sdk_backup),
            vault: self.backup_vault_name,
            retention_days: self.retention_days,
            wait: self.wait,
        };
        let results = cx.change(targets, start).await?.results();
        Ok(Listing::from_stream(results.filter_map(move |result| ready(result.map(|r| row(r, details, &begun)).transpose()))))
    }
}

aaws::register!(CreateBackups);

/// What is printed of a resource.
fn row(result: ItemResult<()>, details: bool, begun: &StartedJobs) -> Option<Row> {
    let record = result.record;
    if record.status == Status::Planned {
        return Some(Row::Plan(record));
    }
    if !details {
        return (record.status == Status::Failed).then_some(Row::Failed(record.item));
    }
    // One that was given twice has the job of the first.
    let job = begun.of(&record.item).filter(|_| matches!(record.status, Status::Done | Status::Failed));
    let (backup_job_id, recovery_point_arn, state) = job.map_or((None, None, None), |j| (Some(j.id), j.point, Some(j.state)));
    let Record { item, status, code, message, .. } = record;
    Some(Row::Backup(Backup { resource_id: item, status, backup_job_id, recovery_point_arn, state, code, message }))
}

/// Makes ARNs of what was given.
struct Naming {
    cx: Context,
    service: Option<Service>,
    role: Option<RoleArn>,
    tokens: RandomState,
    /// The ARNs so far.
    seen: Mutex<HashSet<String>>,
}

impl Naming {
    async fn target(&self, id: ResourceId) -> Result<Target> {
        let id = String::from(id);
        if let Err(failure) = self.check(&id) {
            return Ok(Target { id, outcome: Some(Outcome::Failed(failure)), ..Target::default() });
        }
        let arn = self.arn(&id).await?;
        let role = match &self.role {
            Some(role) => role.to_string(),
            None => format!("arn:{}:iam::{}:role/{DEFAULT_ROLE}", partition(self.cx.region()), self.account().await?),
        };
        let token = format!("aaws-{:016x}{:016x}", self.tokens.hash_one(&arn), self.tokens.hash_one((&arn, "2")));
        let is_new = self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(arn.clone());
        let outcome = (!is_new).then(|| Outcome::Unchanged("duplicate id".into()));
        Ok(Target { id, arn, role, token, outcome })
    }

    /// Whether an id is of what `service` says.
    fn check(&self, id: &str) -> Result<(), Failure> {
        match (self.service, Service::of(id)) {
            (Some(service), Some(told)) if service != told => {
                let why = format!("it is the id of {}, and `service` says {}", a(told), a(service));
                Err(Failure::permanent("WrongService", why))
            }
            _ => Ok(()),
        }
    }

    async fn arn(&self, id: &str) -> Result<String> {
        let Some(service) = Service::of(id) else { return Ok(id.to_owned()) };
        let region = self.cx.region();
        Ok(format!("arn:{}:ec2:{region}:{}:{}/{id}", partition(region), self.account().await?, service.resource()))
    }

    /// The account, which STS is asked for once.
    async fn account(&self) -> Result<&AccountId> {
        self.cx.account().await.ok_or_else(|| Error::Failed("STS does not say which account this is".into()))
    }
}

fn a(service: Service) -> String {
    format!("{} {}", if service == Service::Ec2 { "an" } else { "a" }, service.resource())
}
