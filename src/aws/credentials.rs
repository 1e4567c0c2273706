//! Where credentials come from beyond the SDK's own chain: roles, MFA sessions, and one cache for all clients of a session.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use tokio::sync::Mutex;

use crate::aws::error::ErrorContext;
use crate::model::error::{Error, Result};
use crate::model::target::RoleArn;

/// Credentials are renewed this long before they expire.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);

/// Keeps credentials until they are about to expire: each client has a cache of its own, and each would ask again.
#[derive(Debug)]
pub(super) struct CachedCredentials {
    source: Box<dyn ProvideCredentials>,
    cached: Mutex<Option<Credentials>>,
}

impl CachedCredentials {
    pub fn new(source: impl ProvideCredentials + 'static) -> Self {
        CachedCredentials { source: Box::new(source), cached: Mutex::default() }
    }

    /// Asked for once already, so that the error of a role that may not be assumed is its own.
    pub async fn of(source: impl Assume + 'static) -> Result<Self> {
        let first = source.assume().await.map_err(|e| Error::Credentials { message: e.to_string() })?;
        Ok(CachedCredentials { source: Box::new(Assumed(source)), cached: Mutex::new(Some(first)) })
    }

    async fn get(&self) -> provider::Result {
        // Held while the source answers: who comes meanwhile waits for this answer rather than ask for another.
        let mut cached = self.cached.lock().await;
        if let Some(credentials) = cached.as_ref()
            && credentials.expiry().is_none_or(|expiry| expiry > SystemTime::now() + RENEWED_BEFORE)
        {
            return Ok(credentials.clone());
        }
        match self.source.provide_credentials().await {
            Ok(credentials) => Ok(cached.insert(credentials).clone()),
            // Those that there are serve as long as they last.
            Err(e) => match cached.as_ref().filter(|c| c.expiry().is_some_and(|expiry| expiry > SystemTime::now())) {
                Some(credentials) => Ok(credentials.clone()),
                None => Err(e),
            },
        }
    }
}

impl ProvideCredentials for CachedCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

/// A call of STS that gives credentials.
#[async_trait::async_trait]
pub(super) trait Assume: std::fmt::Debug + Send + Sync {
    async fn assume(&self) -> Result<Credentials>;
}

#[derive(Debug)]
struct Assumed<A>(A);

impl<A: Assume> ProvideCredentials for Assumed<A> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.0.assume().await.map_err(|e| CredentialsError::provider_error(e.to_string())) })
    }
}

/// A role, assumed with the credentials of the client. The digits of a device serve once, so such a session is not renewed.
#[derive(Debug)]
pub(super) struct AssumeRole {
    pub sts: aws_sdk_sts::Client,
    pub role: RoleArn,
    pub session_name: String,
    pub external_id: Option<String>,
    pub duration: Option<Duration>,
    /// Serial number and digits of an MFA device.
    pub device: Option<(String, String)>,
}

#[async_trait::async_trait]
impl Assume for AssumeRole {
    async fn assume(&self) -> Result<Credentials> {
        let (serial, token) = self.device.clone().unzip();
        let doing = || match &self.device {
            Some((serial, _)) => format!("assume the role `{}` with the MFA device `{serial}`", self.role),
            None => format!("assume the role `{}`", self.role),
        };
        let request = self.sts.assume_role().role_arn(self.role.as_str()).role_session_name(&self.session_name);
        let request = request.set_external_id(self.external_id.clone()).set_duration_seconds(seconds(self.duration));
        let answer = request.set_serial_number(serial).set_token_code(token).send().await.context(doing)?;
        of_sts(answer.credentials)
    }
}

/// A session of the user's own, with an MFA device.
#[derive(Debug)]
pub(super) struct SessionToken {
    pub sts: aws_sdk_sts::Client,
    pub serial: String,
    pub token: String,
    pub duration: Option<Duration>,
}

#[async_trait::async_trait]
impl Assume for SessionToken {
    async fn assume(&self) -> Result<Credentials> {
        let request = self.sts.get_session_token().set_duration_seconds(seconds(self.duration));
        let answer = request.serial_number(&self.serial).token_code(&self.token).send().await;
        of_sts(answer.context(|| format!("open a session with the MFA device `{}`", self.serial))?.credentials)
    }
}

fn seconds(duration: Option<Duration>) -> Option<i32> {
    duration.and_then(|d| i32::try_from(d.as_secs()).ok())
}

fn of_sts(credentials: Option<aws_sdk_sts::types::Credentials>) -> Result<Credentials> {
    let c = credentials.ok_or_else(|| Error::Credentials { message: "STS answered without credentials".into() })?;
    let expires = c.expiration.try_into().ok();
    Ok(Credentials::new(c.access_key_id, c.secret_access_key, Some(c.session_token), expires, "aaws-sts"))
}
