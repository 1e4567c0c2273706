//! Deleting volumes.

use aaws::{ErrorContext, Result};
use aws_sdk_ec2::Client;

/// Deletes a volume, and says whether there was one: one that is not there any more is no error.
pub async fn delete(ec2: &Client, id: &str) -> Result<bool> {
    match ec2.delete_volume().volume_id(id).send().await.context(|| format!("delete the volume `{id}`")) {
        Err(e) if e.code() == Some("InvalidVolume.NotFound") => Ok(false),
        answer => answer.map(|_| true),
    }
}
