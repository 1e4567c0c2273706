//! Asking a person before something is deleted.

use async_trait::async_trait;

use crate::input::Secret;
use crate::model::error::Result;

/// What is about to happen.
#[derive(Debug, Clone)]
pub struct Question {
    /// "delete from the bucket `b`"
    pub summary: String,
    /// The first items.
    pub items: Vec<String>,
    /// How many there are in all, when that is known before they are all read.
    pub total: Option<u64>,
}

/// Who answers.
#[async_trait]
pub trait Prompt: Send + Sync {
    /// Whether there is anybody to ask; nothing is prepared otherwise.
    fn asks(&self) -> bool;
    /// A secret that the person types unseen; none when there is nobody.
    async fn secret(&self, _question: &str) -> Result<Option<Secret>> {
        Ok(None)
    }

    /// Whether to go on.
    async fn confirm(&self, question: Question) -> Result<bool>;
}

/// Nobody is asked: `--yes`, and runs that are on no terminal.
#[derive(Debug)]
pub struct NoPrompt;

#[async_trait]
impl Prompt for NoPrompt {
    fn asks(&self) -> bool {
        false
    }

    async fn confirm(&self, _: Question) -> Result<bool> {
        Ok(true)
    }
}
