//! The actions of AWS Backup, on a stand-in for it.

use crate::support::aaws;
use crate::support::aaws::Aaws;
use crate::support::cases::{CHANGED, Case, Place, SO_ALREADY, Takes, Then};
use crate::support::fake_backup::{ACCOUNT, FakeBackup, Fate};
use crate::support::http::Server;

impl Place for FakeBackup {
    const DENIED: &'static str = "AccessDeniedException";
    const THROTTLED: &'static str = "ThrottlingException";

    fn fresh() -> Self {
        FakeBackup::new()
    }

    fn url(&self) -> String {
        self.server.url.clone()
    }

    fn aaws(&self, server: &Server, line: &str) -> Aaws {
        aaws(line).endpoint(&server.url)
    }
}

/// Actions that are not among the cases, and why.
pub const APART: &[(&str, &str)] = &[];

pub const CASES: &[Case<FakeBackup>] = &[
    Case {
        action: "backup/create_backups",
        make: |_, numbers| numbers.map(|number| format!("arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders-{number}")).collect(),
        line: |_, ids| format!("backup create_backups --wait --resource_ids {}", ids.join(" ")),
        is_done: |backup, id| backup.started().iter().any(|job| job["ResourceArn"] == id),
        takes: Takes::Many,
        change: Then::Never("nothing is looked at of a resource: AWS Backup does that"),
        remove: Then::Never("nothing is looked at of a resource: AWS Backup does that"),
    },
    Case {
        action: "backup/delete_backups",
        make: |backup, numbers| {
            let arns: Vec<String> = numbers.map(|n| format!("arn:aws:backup:us-east-1:{ACCOUNT}:recovery-point:point-{n}")).collect();
            arns.iter().for_each(|arn| backup.set_point(arn, Some(Fate::Gone(1))));
            arns
        },
        line: |_, ids| format!("backup delete_backups --backup_vault_name example-vault --recovery_point_arns {}", ids.join(" ")),
        is_done: |backup, id| backup.points().iter().all(|point| point != id),
        takes: Takes::Many,
        change: Then::Done(|backup, id| backup.set_point(id, Some(Fate::HadExpired)), CHANGED),
        remove: Then::Done(|backup, id| backup.set_point(id, None), SO_ALREADY),
    },
];
