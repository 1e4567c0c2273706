//! AWS Backup: what its actions share.

pub mod create_backups;
pub mod delete_backups;
mod vault;

pub use create_backups::CreateBackups;
pub use delete_backups::DeleteBackups;
pub use vault::VaultName;
