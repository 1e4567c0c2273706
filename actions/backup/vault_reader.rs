//! Looks at recovery points, and at what keeps them from being deleted.

use std::collections::HashSet;

use aaws::{Code, ErrorContext, Failure, Next, Outcome, Page, Result, paged};
use aws_sdk_backup::Client;
use aws_sdk_backup::operation::describe_recovery_point::DescribeRecoveryPointOutput;
use aws_sdk_backup::types::{LegalHoldStatus, RecoveryPointStatus};
use futures::stream::TryStreamExt;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::delete_backups::is_missing;
use super::ids::VaultName;

/// What is known of a point before it is deleted.
pub enum Look {
    /// It would be deleted.
    Planned {
        /// What was seen of it, to follow a sentence.
        seen: String,
        /// What a plan binds, where it was looked at.
        state: Option<Value>,
    },
    /// It would not.
    Known(Outcome),
}

/// Looks at the points of one vault. What is the same for all of them is looked at once.
pub struct VaultReader {
    /// AWS Backup.
    pub backup: Client,
    /// The vault.
    pub vault: VaultName,
    ignore_not_found: bool,
    /// Whether the vault is locked.
    locked: OnceCell<Result<bool, Failure>>,
    /// The points of the vault that legal holds keep.
    held: OnceCell<Result<HashSet<String>, Failure>>,
}

impl VaultReader {
    pub fn new(backup: Client, vault: VaultName, ignore_not_found: bool) -> Self {
        VaultReader { backup, vault, ignore_not_found, locked: OnceCell::new(), held: OnceCell::new() }
    }

    /// The point, or none when there is none.
    pub async fn point(&self, arn: &str) -> Result<Option<DescribeRecoveryPointOutput>> {
        let request = self.backup.describe_recovery_point().backup_vault_name(self.vault.as_str()).recovery_point_arn(arn);
        match request.send().await.context(|| format!("look at the recovery point `{arn}` in the vault `{}`", self.vault)) {
            Ok(point) => Ok(Some(point)),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Of a point that was not found, which may be so because the vault is not there.
    pub async fn not_found(&self) -> Outcome {
        match self.is_locked().await {
            Ok(_) => Outcome::not_found(self.ignore_not_found, format!("it is not in the vault `{}`", self.vault)),
            Err(failure) => {
                // AWS Backup answers with a denial for a vault that does not exist.
                let vault = &self.vault;
                let message = format!("it was not found, and the vault `{vault}` does not exist or may not be seen: {}", failure.message);
                Outcome::Failed(Failure { message, ..failure.clone() })
            }
        }
    }

    /// What would become of a point, without asking for its deletion.
    pub async fn foresee(&self, arn: &str) -> Look {
        let point = match self.point(arn).await {
            Ok(Some(point)) => point,
            Ok(None) => return Look::Known(self.not_found().await),
            Err(e) => return Look::Known(Outcome::Failed(Failure::from(&e))),
        };
        let mut seen = told(&point);
        match self.is_locked().await {
            Ok(true) => return kept(format!("the vault `{}` is locked: AWS Backup deletes nothing in it", self.vault)),
            Ok(false) => {}
            Err(failure) => seen.push(format!("whether the vault is locked could not be looked at: {}", failure.message)),
        }
        match self.held().await {
            Ok(held) if held.contains(arn) => return kept("a legal hold keeps it".into()),
            Ok(_) => {}
            Err(failure) => seen.push(format!("whether a legal hold keeps it could not be looked at: {}", failure.message)),
        }
        Look::Planned { seen: seen.iter().map(|what| format!("; {what}")).collect(), state: Some(state(&point)) }
    }

    /// A lock keeps every point of the vault, in either mode (AWS Backup API reference, PutBackupVaultLockConfiguration).
    async fn is_locked(&self) -> Result<bool, &Failure> {
        let look = || async {
            let answer = self.backup.describe_backup_vault().backup_vault_name(self.vault.as_str()).send().await;
            let answer = answer.context(|| format!("look at the backup vault `{}`", self.vault));
            answer.map(|vault| vault.locked.unwrap_or_default()).map_err(|e| Failure::from(&e))
        };
        self.locked.get_or_init(look).await.as_ref().copied()
    }

    async fn held(&self) -> &Result<HashSet<String>, Failure> {
        self.held.get_or_init(|| async { self.list_held().await.map_err(|e| Failure::from(&e)) }).await
    }

    async fn list_held(&self) -> Result<HashSet<String>> {
        let backup = &self.backup;
        let holds = paged("the legal holds", move |token: Option<String>| async move {
            let answer = backup.list_legal_holds().set_next_token(token).send().await.context(|| "list the legal holds")?;
            Ok(Page { items: answer.legal_holds.unwrap_or_default(), next: Next::nonempty(answer.next_token) })
        });
        let holds: Vec<_> = holds.try_collect().await?;
        let in_force = holds.into_iter().filter(|hold| hold.status != Some(LegalHoldStatus::Canceled));
        let mut held = HashSet::new();
        for id in in_force.filter_map(|hold| hold.legal_hold_id) {
            held.extend(self.list_held_by(&id).await?);
        }
        Ok(held)
    }

    /// The points of the vault that one legal hold keeps.
    async fn list_held_by(&self, id: &str) -> Result<Vec<String>> {
        let backup = &self.backup;
        let points = paged(format!("what the legal hold `{id}` keeps"), move |token: Option<String>| async move {
            let request = backup.list_recovery_points_by_legal_hold().legal_hold_id(id).set_next_token(token);
            let answer = request.send().await.context(|| format!("list what the legal hold `{id}` keeps"))?;
            Ok(Page { items: answer.recovery_points.unwrap_or_default(), next: Next::nonempty(answer.next_token) })
        });
        let points: Vec<_> = points.try_collect().await?;
        let here = points.into_iter().filter(|point| point.backup_vault_name.as_deref().is_none_or(|name| name == self.vault.as_str()));
        Ok(here.filter_map(|point| point.recovery_point_arn).collect())
    }
}

fn kept(why: String) -> Look {
    Look::Known(Outcome::Failed(Failure::permanent(Code::Protected, why)))
}

/// What a plan binds of a point.
fn state(point: &DescribeRecoveryPointOutput) -> Value {
    json!({
        "status": point.status().map(RecoveryPointStatus::as_str),
        "resource": point.resource_arn(),
        "created": point.creation_date().map(ToString::to_string),
    })
}

/// What is worth knowing of a point before it is deleted.
fn told(point: &DescribeRecoveryPointOutput) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(resource) = &point.resource_arn {
        told.push(format!("a backup of {resource}"));
    }
    match point.status() {
        Some(RecoveryPointStatus::Completed) | None => {}
        Some(RecoveryPointStatus::Deleting) => told.push("it is being deleted already".into()),
        Some(status) => told.push(format!("its status is {status}")),
    }
    if let Some(parent) = point.parent_recovery_point_arn.as_ref().filter(|_| !point.is_parent) {
        told.push(format!("it is part of {parent} and goes with that: AWS Backup may refuse to delete it by itself"));
    }
    told
}
