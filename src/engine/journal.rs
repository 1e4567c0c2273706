//! What a run notes of its steps before it takes them, so that another process can undo them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::error::Result;

/// A step that is about to be taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepNote {
    /// The action that takes it: `ec2/encrypt_volume`.
    pub action: String,
    /// The item that it is part of.
    pub item: String,
    /// What would be undone, in words.
    pub says: String,
    /// What undoes it: [`crate::Entry::undo`] takes it.
    pub step: Value,
}

/// Where steps are noted.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Notes a step. It is durable when this returns: the request is sent after that.
    async fn note(&self, note: StepNote) -> Result<()>;
}
