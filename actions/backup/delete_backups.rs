use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aaws::{
    Action, Call, ChangeOne, Code, Context, Effect, Error, ErrorContext, Example, FailedItems, Failure, Grant, Items, Meta, OnCancel,
    Outcome, Result, When, async_trait, poll_until,
};
use aws_sdk_backup::operation::describe_recovery_point::DescribeRecoveryPointOutput;
use aws_sdk_backup::types::RecoveryPointStatus;
use futures::stream::{StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::Deserialize;

use super::ids::{PointArn, VaultName};
use super::vault_reader::{Look, VaultReader};

/// How often a point that does not look as if it were being deleted is looked at before it counts as still there; some ten seconds in all.
const LOOKS: u32 = 7;

/// Delete recovery points from a backup vault.
///
/// AWS Backup takes the request and deletes later, or not at all when rights are missing: so each point is looked at until it is gone. Those that
/// were not deleted are printed in the order given. One that is not in the vault is a failure, unless `ignore_not_found` is given.
///
/// What the point holds goes with it: the AMI, the snapshot, the data. A dry run looks at each point, at the vault's lock and at the legal holds of
/// the account, and says which points they keep.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteBackups {
    /// Vault that holds the recovery points.
    pub backup_vault_name: VaultName,
    /// ARNs of the recovery points to delete. An empty list deletes nothing.
    pub recovery_point_arns: Items<PointArn>,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

impl Default for DeleteBackups {
    /// Of nothing, from the vault `Default`.
    fn default() -> Self {
        DeleteBackups { backup_vault_name: VaultName::default(), recovery_point_arns: Items::from(Vec::new()), ignore_not_found: false }
    }
}

const POINTS: &[&str] = &["${recovery_point_arns}"];
const VAULT: &[&str] = &["arn:${Partition}:backup:${Region}:${Account}:backup-vault:${backup_vault_name}"];
const HOLDS: &[&str] = &["arn:${Partition}:backup:${Region}:${Account}:legal-hold:*"];

/// What AWS Backup does with the caller's own rights, and only for AWS Backup: as the managed policy `AWSBackupFullAccess` has it.
const fn for_backup(action: &'static str, resources: &'static [&'static str], when: &'static str) -> Grant {
    Grant::new(action, resources).when(When::Likely(when)).condition("ForAnyValue:StringEquals", "aws:CalledVia", "backup.amazonaws.com")
}

#[async_trait]
impl Action for DeleteBackups {
    const META: Meta = Meta {
        path: "backup/delete_backups",
        effect: Effect::Delete,
        calls: &[
            Call::write(
                "backup:DeleteRecoveryPoint",
                &[
                    Grant::new("backup:DeleteRecoveryPoint", POINTS),
                    for_backup("ec2:DeregisterImage", &["arn:${Partition}:ec2:${Region}::image/*"], "the recovery point is an AMI"),
                    for_backup(
                        "ec2:DeleteSnapshot",
                        &["arn:${Partition}:ec2:${Region}::snapshot/*"],
                        "the recovery point is an AMI or a snapshot",
                    ),
                    for_backup(
                        "rds:DeleteDBSnapshot",
                        &["arn:${Partition}:rds:${Region}:${Account}:snapshot:*"],
                        "the recovery point is of an RDS instance",
                    ),
                    for_backup(
                        "rds:DeleteDBClusterSnapshot",
                        &["arn:${Partition}:rds:${Region}:${Account}:cluster-snapshot:*"],
                        "the recovery point is of an Aurora, DocumentDB or Neptune cluster",
                    ),
                    for_backup(
                        "dynamodb:DeleteBackup",
                        &["arn:${Partition}:dynamodb:${Region}:${Account}:table/*/backup/*"],
                        "the recovery point is a DynamoDB backup without the advanced features",
                    ),
                    for_backup(
                        "fsx:DeleteBackup",
                        &["arn:${Partition}:fsx:${Region}:${Account}:backup/*"],
                        "the recovery point is of an FSx file system",
                    ),
                    // An EXPIRED point can be deleted only so (AWS Backup API reference, DeleteRecoveryPoint).
                    Grant::new(
                        "iam:CreateServiceLinkedRole",
                        &["arn:${Partition}:iam::${Account}:role/aws-service-role/backup.amazonaws.com/AWSServiceRoleForBackup"],
                    )
                    .when(When::Rare("the recovery point is EXPIRED, and AWS Backup's service-linked role is not there"))
                    .condition("StringEquals", "iam:AWSServiceName", "backup.amazonaws.com"),
                ],
            ),
            Call::read("backup:DescribeRecoveryPoint", &[Grant::new("backup:DescribeRecoveryPoint", POINTS)]),
            Call::read("backup:DescribeBackupVault", &[Grant::new("backup:DescribeBackupVault", VAULT)])
                .when(When::Likely("it is a dry run, a plan is applied, or a recovery point is not found: the vault's name may be wrong")),
            Call::read("backup:ListLegalHolds", &[Grant::new("backup:ListLegalHolds", &["*"])])
                .when(When::Likely("it is a dry run, or a plan is applied")),
            Call::read("backup:ListRecoveryPointsByLegalHold", &[Grant::new("backup:ListRecoveryPointsByLegalHold", HOLDS)])
                .when(When::Likely("it is a dry run or a plan is applied, and there are legal holds")),
        ],
        rules: &[],
        examples: &[Example {
            title: "Delete the backup of an instance from `example-vault`",
            input: r#"{"backup_vault_name": "example-vault", "recovery_point_arns": ["arn:aws:ec2:us-east-1::image/ami-0123456789abcdef0"]}"#,
            output: "[]",
            given: &["recovery point arn:aws:ec2:us-east-1::image/ami-0123456789abcdef0 in example-vault"],
        }],
        notes: &[
            "A point that AWS Backup may not delete becomes EXPIRED instead, although it answers that all is well: that is a failure here.",
            "A vault's lock, a legal hold or a lock on the snapshot protects a point: it fails with the code `Protected`, and stays.",
            "Deleting the point of a continuous backup (point-in-time recovery) also ends the continuous backup.",
            "Points within a composite one (a stack, say) go with the composite: AWS Backup refuses to delete them by themselves.",
            "Deletion may take minutes. `--timeout` ends the waiting; what was begun goes on.",
        ],
    };

    const BINDS: &'static [&'static str] = &["its status", "what it is a backup of", "when it was created"];

    type Output = FailedItems;

    async fn run(self, cx: &Context) -> Result<FailedItems> {
        let reader = Arc::new(VaultReader::new(aaws::client!(cx, aws_sdk_backup), self.backup_vault_name, self.ignore_not_found));
        let (look_now, looker) = (cx.foresees(), Arc::clone(&reader));
        let mut seen = HashSet::new();
        let arns = self.recovery_point_arns.stream().map_ok(move |arn| (seen.insert(arn.clone()), arn));
        let points = arns.map(move |given| {
            let reader = Arc::clone(&looker);
            async move {
                let (is_new, arn) = given?;
                let look = match is_new {
                    false => Look::Known(Outcome::Unchanged("duplicate id".into())),
                    // Whether a point is locked or held, AWS Backup itself looks when it is asked to delete it; a dry run does not ask.
                    true if look_now => reader.foresee(arn.as_str()).await,
                    true => Look::Planned { seen: String::new(), state: None },
                };
                Ok::<_, Error>(Point { arn, look })
            }
        });
        Ok(cx.change_each(points.buffered(cx.concurrency()), DeletePoints { reader }).await?.failed())
    }
}

aaws::register!(DeleteBackups);

struct Point {
    arn: PointArn,
    /// What is known of it before it is deleted.
    look: Look,
}

struct DeletePoints {
    reader: Arc<VaultReader>,
}

#[async_trait]
impl ChangeOne for DeletePoints {
    type Item = Point;
    type Done = ();

    fn id(&self, point: &Point) -> String {
        point.arn.to_string()
    }

    fn summary(&self) -> String {
        format!("delete, with the data in them, from the backup vault `{}`", self.reader.vault)
    }

    fn plan(&self, point: &Point) -> Option<String> {
        match &point.look {
            Look::Planned { seen, .. } => Some(format!("it would be gone for good, with the data in it{seen}")),
            Look::Known(_) => None,
        }
    }

    fn precheck(&self, point: &Point) -> Option<Outcome> {
        match &point.look {
            Look::Planned { .. } => None,
            Look::Known(outcome) => Some(outcome.clone()),
        }
    }

    fn state(&self, point: &Point) -> Option<serde_json::Value> {
        match &point.look {
            Look::Planned { state, .. } => state.clone(),
            Look::Known(_) => None,
        }
    }

    async fn apply(&self, cx: &Context, point: &Point) -> Result<Outcome> {
        let arn = point.arn.as_str();
        let vault = &self.reader.vault;
        let request = self.reader.backup.delete_recovery_point().backup_vault_name(vault.as_str()).recovery_point_arn(arn);
        let answer = request.send().await.context(|| format!("delete the recovery point `{arn}` from the vault `{vault}`"));
        match answer {
            Ok(_) => Ok(self.gone(cx, arn).await),
            Err(e) if is_missing(&e) => {
                tracing::debug!("{e}");
                Ok(self.reader.not_found().await)
            }
            // Something is being done to the point already; that may be what was asked for.
            Err(e) if e.code() == Some("InvalidResourceStateException") => match self.reader.point(arn).await {
                Ok(Some(point)) if point.status() == Some(&RecoveryPointStatus::Deleting) => Ok(self.gone(cx, arn).await),
                _ => Err(e),
            },
            Err(Error::Aws(e)) if is_protected(&e.message) => {
                Ok(Outcome::Failed(Failure::permanent(Code::Protected, format!("{}: {}", e.code, e.message))))
            }
            Err(e) => Err(e),
        }
    }
}

impl DeletePoints {
    /// Waits until a point is gone: that the request was taken says nothing.
    async fn gone(&self, cx: &Context, arn: &str) -> Outcome {
        let stayed = AtomicU32::new(0);
        let ended = poll_until(cx, OnCancel::Stop, || self.look(arn, &stayed)).await;
        match ended {
            Ok(Some(outcome)) => outcome,
            // A look that was not sent any more says nothing of the point.
            Err(_) if cx.cancellation().is_cancelled() => not_awaited(),
            Ok(None) => not_awaited(),
            Err(e) => {
                let failure = Failure::from(&e);
                let message = format!("its deletion was asked for, but whether it is gone cannot be seen: {}", failure.message);
                Outcome::Failed(Failure { message, ..failure })
            }
        }
    }

    /// One look at a point that is to be gone. `stayed` counts those at which it did not look as if it were being deleted.
    async fn look(&self, arn: &str, stayed: &AtomicU32) -> Result<Option<Outcome>> {
        let Some(point) = self.reader.point(arn).await? else { return Ok(Some(Outcome::Done((), Some("it is gone".into())))) };
        if point.status() == Some(&RecoveryPointStatus::Deleting) {
            return Ok(None);
        }
        let looks = stayed.fetch_add(1, Ordering::Relaxed) + 1;
        Ok((looks >= LOOKS).then(|| still_there(&point)))
    }
}

fn not_awaited() -> Outcome {
    Outcome::Failed(Failure::permanent(Code::NotAwaited, "its deletion was asked for and goes on: the run was stopped before it was gone"))
}

/// A point that is not being deleted. It may have been EXPIRED before, from a try that was not allowed: when it stays so, this one was not either.
fn still_there(point: &DescribeRecoveryPointOutput) -> Outcome {
    let why = point.status_message().filter(|m| !m.is_empty());
    let failure = match point.status() {
        Some(RecoveryPointStatus::Expired) => {
            let why = why.unwrap_or("its role, or you, may not delete what is in it");
            Failure::permanent("EXPIRED", format!("AWS Backup could not delete it: {why}"))
        }
        status => {
            let status = status.map_or("no status", RecoveryPointStatus::as_str);
            let why = why.map(|w| format!(": {w}")).unwrap_or_default();
            let message = format!("AWS Backup took the request to delete it, but it is still there ({status}){why}");
            Failure::permanent(Code::NotComplete, message)
        }
    };
    Outcome::Failed(failure)
}

pub(super) fn is_missing(error: &Error) -> bool {
    error.code() == Some("ResourceNotFoundException")
}

/// AWS Backup has no code of its own for what is locked or held, so its words have to tell.
fn is_protected(message: &str) -> bool {
    let message = message.to_lowercase();
    ["vault lock", "locked", "lock configuration", "legal hold"].iter().any(|word| message.contains(word))
}
