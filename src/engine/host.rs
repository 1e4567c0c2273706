//! What a front end offers to a run: somebody to ask, and somewhere to show how far it is.

use async_trait::async_trait;

use crate::aws::session::{MfaPrompt, NoMfa};
use crate::input::Secret;
use crate::model::error::Result;

/// What is about to happen, and where.
#[derive(Debug, Clone)]
pub struct Question {
    /// "delete from the bucket `b`"
    pub summary: String,
    /// The first items.
    pub items: Vec<String>,
    /// How many there are in all, when that is known before they are all read.
    pub total: Option<u64>,
    /// Which account, whose credentials, which region, which endpoint.
    pub place: Place,
}

/// Where a run would change something, for people.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The account's twelve digits, when they could be had.
    pub account: Option<String>,
    /// Where the credentials come from: "the profile `prod`, then the role arn:…".
    pub credentials: String,
    /// The region.
    pub region: String,
    /// Where requests go, when that is not AWS.
    pub endpoint: Option<String>,
}

/// Whether somebody has to agree before something is taken away, destroyed or disrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// Somebody is there, and is asked.
    Ask,
    /// It was given beforehand, by this: `--yes`. The log says so.
    Given(&'static str),
    /// Nobody is there, and nobody need be: a pipeline, a schedule.
    NotNeeded,
    /// Nobody can be asked, and somebody would have to be: why.
    Impossible(String),
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// How many items there are in all.
    Total(u64),
    /// So many more are settled.
    Advanced(u64),
    /// What slows it down, or what it waits for; empty when that is over.
    Note(String),
}

/// A front end, as a run sees it. Every part has a default that fits a run that nobody watches. What a run has to say besides goes through `tracing`.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Whether somebody is asked.
    fn consent(&self) -> Consent {
        Consent::NotNeeded
    }

    /// Whether to go on. Only asked when [`Host::consent`] says so.
    async fn confirm(&self, _question: Question) -> Result<bool> {
        Ok(true)
    }

    /// A secret that somebody types unseen; none when there is nobody.
    async fn secret(&self, _question: &str) -> Result<Option<Secret>> {
        Ok(None)
    }

    /// The six digits of an MFA device.
    async fn mfa_token(&self, serial: &str) -> Result<String> {
        NoMfa.mfa_token(serial).await
    }

    /// Shows how far the run is.
    fn progress(&self, _progress: Progress) {}
}

/// Nobody is there: for programs, schedules and tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unattended;

impl Host for Unattended {}

/// A host as the one who has the MFA device.
pub(crate) struct MfaOf<'a>(pub &'a dyn Host);

#[async_trait]
impl MfaPrompt for MfaOf<'_> {
    async fn mfa_token(&self, serial: &str) -> Result<String> {
        self.0.mfa_token(serial).await
    }
}
