use aaws::Backoff;
use aaws::{
    Action, Call, Change, Context, Effect, Error, ErrorContext, Example, FailedItems, Failure, Grant, Items, Meta, Outcome, Result, When,
    async_trait,
};
use aws_sdk_backup::Client;
use aws_sdk_backup::operation::describe_recovery_point::DescribeRecoveryPointOutput;
use aws_sdk_backup::types::RecoveryPointStatus;
use futures::stream::TryStreamExt;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::vault::VaultName;

/// How often a point that does not look as if it were being deleted is looked at before it counts as still there; some ten seconds in all.
const LOOKS: u32 = 7;

/// Delete recovery points from a backup vault.
///
/// AWS Backup takes the request and deletes later, or not at all when rights are missing: so each point is looked at until it is gone. Those that
/// were not deleted are printed in the order given. One that is not in the vault is reported as unchanged.
///
/// What the point holds goes with it: the AMI, the snapshot, the data.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteBackups {
    /// Vault that holds the recovery points.
    backup_vault_name: VaultName,
    /// ARNs of the recovery points to delete. An empty list deletes nothing.
    recovery_point_arns: Items<String>,
}

const POINTS: &[&str] = &["${recovery_point_arns}"];
const VAULT: &[&str] = &["arn:${Partition}:backup:${Region}:${Account}:backup-vault:${backup_vault_name}"];

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
                    Grant::new("ec2:DeregisterImage", &["arn:${Partition}:ec2:${Region}::image/*"])
                        .when(When::Likely("the recovery point is an AMI"))
                        .condition("ForAnyValue:StringEquals", "aws:CalledVia", "backup.amazonaws.com"),
                    Grant::new("ec2:DeleteSnapshot", &["arn:${Partition}:ec2:${Region}::snapshot/*"])
                        .when(When::Likely("the recovery point is an AMI or a snapshot"))
                        .condition("ForAnyValue:StringEquals", "aws:CalledVia", "backup.amazonaws.com"),
                ],
            ),
            Call::read("backup:DescribeRecoveryPoint", &[Grant::new("backup:DescribeRecoveryPoint", POINTS)]),
            Call::read("backup:DescribeBackupVault", &[Grant::new("backup:DescribeBackupVault", VAULT)])
                .when(When::Likely("a recovery point is not found: the vault's name may be wrong")),
        ],
        rules: &[],
        examples: &[Example {
            title: "Delete the backup of an instance from `example-vault`",
            input: r#"{"backup_vault_name": "example-vault", "recovery_point_arns": ["arn:aws:ec2:us-east-1::image/ami-0123456789abcdef0"]}"#,
            output: "[]",
            given: &["recovery point arn:aws:ec2:us-east-1::image/ami-0123456789abcdef0 in example-vault"],
        }],
        notes: &[
            "What a vault lock or a legal hold protects fails with the code `Protected`: it was asked to be deleted, and is not.",
            "A point that AWS Backup may not delete becomes EXPIRED instead, although it answers that all is well: that is a failure here.",
            "A vault's lock, a legal hold or a lock on the snapshot protects a point: it fails with the code `Protected`, and stays.",
            "Deleting the point of a continuous backup (point-in-time recovery) also ends the continuous backup.",
            "Points within a composite one (a stack, say) go with the composite: AWS Backup refuses to delete them by themselves.",
            "Deletion may take minutes. `--timeout` ends the waiting; what was begun goes on.",
        ],
    };

    type Output = FailedItems;

    async fn run(self, cx: &Context) -> Result<FailedItems> {
        let points = self.recovery_point_arns.stream().map_ok(|arn| Point { is_arn: arn.starts_with("arn:"), arn });
        let delete = DeletePoints { backup: aaws::client!(cx, aws_sdk_backup), vault: self.backup_vault_name, there: OnceCell::new() };
        Ok(cx.change(points, delete).await?.failed())
    }
}

aaws::register!(DeleteBackups);

struct Point {
    arn: String,
    is_arn: bool,
}

struct DeletePoints {
    backup: Client,
    vault: VaultName,
    /// Whether the vault can be seen; asked once, when a point is not found in it.
    there: OnceCell<Result<(), Failure>>,
}

#[async_trait]
impl Change for DeletePoints {
    type Item = Point;
    type Done = ();

    fn id(&self, point: &Point) -> String {
        point.arn.clone()
    }

    fn summary(&self) -> String {
        format!("delete, with the data in them, from the backup vault `{}`", self.vault)
    }

    fn plan(&self, _: &Point) -> Option<String> {
        Some("it would be gone for good, with the data in it".into())
    }

    fn precheck(&self, point: &Point) -> Option<Outcome> {
        let failure = || Failure::permanent("UnknownRecoveryPoint", "it is not the ARN of a recovery point");
        (!point.is_arn).then(|| Outcome::Failed(failure()))
    }

    async fn apply(&self, cx: &Context, points: &[Point]) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(points.len());
        for point in points {
            outcomes.push(self.delete(cx, &point.arn).await?);
        }
        Ok(outcomes)
    }
}

impl DeletePoints {
    async fn delete(&self, cx: &Context, arn: &str) -> Result<Outcome> {
        let request = self.backup.delete_recovery_point().backup_vault_name(self.vault.as_str()).recovery_point_arn(arn);
        let answer = request.send().await.context(|| format!("delete the recovery point `{arn}` from the vault `{}`", self.vault));
        match answer {
            Ok(_) => self.gone(cx, arn).await,
            Err(e) if is_missing(&e) => self.missing(&e).await,
            // Something is being done to the point already; that may be what was asked for.
            Err(e) if e.code() == Some("InvalidResourceStateException") => match self.look(arn).await {
                Ok(Some(point)) if point.status() == Some(&RecoveryPointStatus::Deleting) => self.gone(cx, arn).await,
                _ => Err(e),
            },
            Err(Error::Aws(e)) if is_protected(&e.message) => {
                Ok(Outcome::Failed(Failure::permanent("Protected", format!("{}: {}", e.code, e.message))))
            }
            Err(e) => Err(e),
        }
    }

    /// A point that is not there is no failure, unless that is so because the vault is not.
    async fn missing(&self, error: &Error) -> Result<Outcome> {
        let there = self.there.get_or_init(|| async {
            let answer = self.backup.describe_backup_vault().backup_vault_name(self.vault.as_str()).send().await;
            let answer = answer.context(|| format!("look at the backup vault `{}`", self.vault));
            // AWS Backup answers with a denial for a vault that does not exist.
            answer.map(drop).map_err(|e| {
                let failure = Failure::from(&e);
                let message =
                    format!("it was not found, and the vault `{}` does not exist or may not be seen: {}", self.vault, failure.message);
                Failure { message, ..failure }
            })
        });
        Ok(match there.await {
            Ok(()) => Outcome::Unchanged(format!("it is not in the vault `{}`", self.vault)),
            Err(failure) => {
                tracing::debug!("{error}");
                Outcome::Failed(failure.clone())
            }
        })
    }

    /// Waits until a point is gone: that the request was taken says nothing.
    async fn gone(&self, cx: &Context, arn: &str) -> Result<Outcome> {
        let mut backoff = Backoff::poll();
        let mut still_there = 0;
        loop {
            let seen = match backoff.attempt(self.look(arn)).await {
                Ok(seen) => seen,
                Err(e) => {
                    let failure = Failure::from(&e);
                    let message = format!("its deletion was asked for, but whether it is gone cannot be seen: {}", failure.message);
                    return Ok(Outcome::Failed(Failure { message, ..failure }));
                }
            };
            match seen {
                Some(None) => return Ok(Outcome::Done((), Some("it is gone".into()))),
                Some(Some(point)) => {
                    let why = point.status_message().filter(|m| !m.is_empty());
                    match point.status() {
                        Some(RecoveryPointStatus::Deleting) => {}
                        status => {
                            still_there += 1;
                            // It may have been EXPIRED before, from a try that was not allowed: only when it stays so this one was not either.
                            if still_there == LOOKS && status == Some(&RecoveryPointStatus::Expired) {
                                let why = why.unwrap_or("its role, or you, may not delete what is in it");
                                return Ok(Outcome::Failed(Failure::permanent(
                                    "EXPIRED",
                                    format!("AWS Backup could not delete it: {why}"),
                                )));
                            }
                            if still_there == LOOKS {
                                let status = status.map_or("no status", RecoveryPointStatus::as_str);
                                let why = why.map(|w| format!(": {w}")).unwrap_or_default();
                                let message = format!("AWS Backup took the request to delete it, but it is still there ({status}){why}");
                                return Ok(Outcome::Failed(Failure::permanent("StillThere", message)));
                            }
                        }
                    }
                }
                None => {}
            }
            if !backoff.wait(cx).await {
                let message = "its deletion was asked for and goes on: the run was stopped before it was gone";
                return Ok(Outcome::Failed(Failure::permanent("NotAwaited", message)));
            }
        }
    }

    /// The point, or none when there is none.
    async fn look(&self, arn: &str) -> Result<Option<DescribeRecoveryPointOutput>> {
        let request = self.backup.describe_recovery_point().backup_vault_name(self.vault.as_str()).recovery_point_arn(arn);
        match request.send().await.context(|| format!("look at the recovery point `{arn}` in the vault `{}`", self.vault)) {
            Ok(point) => Ok(Some(point)),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn is_missing(error: &Error) -> bool {
    error.code() == Some("ResourceNotFoundException")
}

/// AWS Backup has no code of its own for what is locked or held, so its words have to tell.
fn is_protected(message: &str) -> bool {
    let message = message.to_lowercase();
    ["vault lock", "locked", "lock configuration", "legal hold"].iter().any(|word| message.contains(word))
}
