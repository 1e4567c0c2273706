//! AWS Backup: what its actions share.

pub mod create_backups;
pub mod delete_backups;
mod ids;
mod jobs;
mod vault_reader;

pub use create_backups::CreateBackups;
pub use delete_backups::DeleteBackups;
pub use ids::{PointArn, ResourceId, VaultName};
