//! Credentials, region and endpoint for one target.
//!
//! Region: the flag, AWS_REGION, AWS_DEFAULT_REGION, the profile; none is an error. Credentials: the default chain of the AWS SDKs, or
//! strictly the profile when one is named; then the roles, one after another.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use tokio::sync::Mutex;

use crate::aws::error::{ErrorContext, chain};
use crate::aws::sandbox;
use crate::input::Secret;
use crate::model::error::{Error, Result};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long AWS may take to begin its answer, the sending of the request included.
const ANSWER: Duration = Duration::from_secs(120);

/// How long STS may take to name the account for a report, which can do without.
const ACCOUNT: Duration = Duration::from_secs(5);

/// How often a request is tried in all before it counts as failed.
const TRIES: u32 = 5;

/// A role's credentials are renewed this long before they expire.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);

/// The name under which roles are assumed, seen in CloudTrail.
const SESSION_NAME: &str = "aaws";

/// Which target, and how to get there: the common flags.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// `--region`
    pub region: Option<String>,
    /// `--profile`
    pub profile: Option<String>,
    /// `--role_arn`, in the order of the chain.
    pub role_arns: Vec<String>,
    /// `--mfa_serial`
    pub mfa_serial: Option<String>,
    /// `--mfa_token`; asked for when it is needed and not given.
    pub mfa_token: Option<String>,
    /// Keys to begin with, rather than those of the default chain or the profile.
    pub keys: Option<Keys>,
    /// The name under which roles are assumed, seen in CloudTrail; `aaws` unless given.
    pub session_name: Option<String>,
    /// How long the last role's session lasts; an hour unless given. AWS caps chained roles at an hour.
    pub duration: Option<Duration>,
    /// `--external_id`, for the last role.
    pub external_id: Option<String>,
    /// `--endpoint_url`
    pub endpoint_url: Option<String>,
    /// `--sandbox`: where its files are.
    pub sandbox: Option<PathBuf>,
}

/// An access key.
#[derive(Debug, Clone)]
pub struct Keys {
    /// `AKIA…` or `ASIA…`
    pub access_key: String,
    /// Its secret.
    pub secret_key: Secret,
    /// For temporary keys.
    pub session_token: Option<Secret>,
}

/// Gives the six digits of an MFA device.
#[async_trait]
pub trait MfaPrompt: Send + Sync {
    /// Asks whoever holds the device; an error when there is nobody.
    async fn token(&self, serial: &str) -> Result<String>;
}

/// Credentials, region and endpoint of one target. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: SdkConfig,
    region: String,
    region_source: &'static str,
    credentials_source: String,
    account: Option<String>,
}

impl Session {
    /// For actions that need no AWS.
    pub fn local() -> Self {
        let config = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build();
        Session(Arc::new(Inner { config, region: String::new(), region_source: "", credentials_source: String::new(), account: None }))
    }

    /// Finds region and credentials, and fails here rather than at the first call when there are none. `service` decides which sandbox.
    pub async fn open(options: &SessionOptions, service: &str, mfa: &dyn MfaPrompt) -> Result<Self> {
        if let Some(dir) = &options.sandbox {
            return Self::open_sandbox(options, service, dir.clone()).await;
        }
        let (region, region_source) = find_region(options).await.ok_or(Error::NoRegion)?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.clone()))
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(ANSWER).build())
            .credentials_provider(base_credentials(options, &region).await);
        if let Some(profile) = &options.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &options.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let mut config = with_retries(loader.load().await);
        // The error of a chain says all that was looked for: better here than wrapped in the first call's.
        let found = credentials(&config).await;
        found.map_err(|e| Error::Credentials { message: format!("{e}; looked in {}", base_source(options)) })?;
        if let Some(serial) = &options.mfa_serial {
            let token = match &options.mfa_token {
                Some(token) => token.clone(),
                None => mfa.token(serial).await?,
            };
            config = with_mfa(config, options, serial, token).await?;
        }
        let mut credentials_source = base_source(options);
        let roles = if options.mfa_serial.is_some() { options.role_arns.get(1..).unwrap_or_default() } else { &options.role_arns };
        for (index, role) in roles.iter().enumerate() {
            let mut provider =
                AssumeRoleProvider::builder(role).session_name(options.session_name.as_deref().unwrap_or(SESSION_NAME)).configure(&config);
            credentials_source = format!("{credentials_source}, then the role {role}");
            if index + 1 == roles.len()
                && let Some(id) = &options.external_id
            {
                provider = provider.external_id(id);
            }
            if index + 1 == roles.len()
                && let Some(duration) = options.duration
            {
                provider = provider.session_length(duration);
            }
            let provider = CachedCredentials::new(provider.build().await);
            config = config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build();
            credentials(&config).await?;
        }
        let account = credentials(&config).await?.account_id().map(|id| id.as_str().to_owned());
        Ok(Session(Arc::new(Inner { config, region, region_source, credentials_source, account })))
    }

    async fn open_sandbox(options: &SessionOptions, service: &str, dir: PathBuf) -> Result<Self> {
        let Some(sandbox) = sandbox::find(service) else {
            let served = sandbox::services().join(", ");
            return Err(Error::input(format!("the sandbox has {served} only: `{service}` runs against AWS, or another --endpoint_url")));
        };
        let at = dir.display().to_string();
        let address = (sandbox.serve)(dir).await.map_err(|e| Error::io(format!("open the sandbox in `{at}`"), e))?;
        let (key, secret) = sandbox.keys;
        let region = options.region.clone().unwrap_or_else(|| "us-east-1".into());
        // Nothing of the user's environment is read here: a sandbox has no business with credentials.
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.clone()))
            .endpoint_url(format!("http://{address}"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(key, secret, None, None, "aaws-sandbox")))
            .retry_config(RetryConfig::standard())
            .build();
        let credentials_source = "the sandbox".to_owned();
        Ok(Session(Arc::new(Inner { config, region, region_source: "the sandbox", credentials_source, account: None })))
    }

    /// The region, empty for a local action.
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// Where the region was found: `--region`, the name of a variable, or the profile.
    pub fn region_source(&self) -> &'static str {
        self.0.region_source
    }

    /// Where the credentials come from, in words.
    pub fn credentials_source(&self) -> &str {
        &self.0.credentials_source
    }

    /// The credentials themselves, renewed when they are about to expire.
    pub async fn credentials(&self) -> Result<Credentials> {
        credentials(&self.0.config).await
    }

    /// The account's twelve digits, where they are known without asking, or were asked for.
    pub fn account(&self) -> Option<&str> {
        self.0.account.as_deref()
    }

    /// The SDK's configuration; clients are made from it by [`crate::client!`] only.
    pub(crate) fn sdk_config(&self) -> &SdkConfig {
        &self.0.config
    }

    /// Whether requests of a service go elsewhere than to AWS: `--endpoint_url`, AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_<SERVICE>, the profile.
    pub fn custom_endpoint(&self, service: &str) -> bool {
        let of_service = || {
            let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()?;
            self.0.config.service_config()?.load_config(key)
        };
        self.0.config.endpoint_url().is_some() || of_service().is_some()
    }

    /// Asks STS which account this is, when the credentials do not say. S3-compatible stores have no STS: then it stays unknown.
    pub async fn with_account(self) -> Self {
        if self.0.account.is_some() || self.0.region.is_empty() {
            return self;
        }
        let sts = aws_sdk_sts::Client::new(&self.0.config);
        let account = match tokio::time::timeout(ACCOUNT, sts.get_caller_identity().send()).await {
            Ok(Ok(identity)) => identity.account,
            Ok(Err(e)) => {
                tracing::debug!("STS does not say which account this is: {}", chain(&e));
                None
            }
            Err(_) => None,
        };
        let Inner { config, region, region_source, credentials_source, .. } = &*self.0;
        let (config, region, credentials_source) = (config.clone(), region.clone(), credentials_source.clone());
        Session(Arc::new(Inner { config, region, region_source, credentials_source, account }))
    }
}

/// Whether this is the ARN of an IAM role.
pub fn is_role(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    matches!(parts.as_slice(), ["arn", _, "iam", "", account, role]
        if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) && role.strip_prefix("role/").is_some_and(|name| !name.is_empty()))
}

/// What is wrong with something that should be the ARN of a role.
pub fn no_role(text: &str) -> String {
    format!("`{text}` is not the ARN of a role (arn:aws:iam::123456789012:role/name)")
}

/// A region that is set to nothing is not set.
async fn find_region(options: &SessionOptions) -> Option<(String, &'static str)> {
    let given = |text: String| (!text.trim().is_empty()).then_some(text);
    if let Some(region) = options.region.clone().and_then(given) {
        return Some((region, "--region"));
    }
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        if let Some(region) = env::var(name).ok().and_then(given) {
            return Some((region, name));
        }
    }
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &options.profile {
        profile = profile.profile_name(name);
    }
    profile.build().region().await.map(|r| (r.to_string(), "the profile"))
}

/// A profile that was named is meant, whatever keys the environment holds: the SDK's chain would take those first.
async fn base_credentials(options: &SessionOptions, region: &str) -> SharedCredentialsProvider {
    let region = Region::new(region.to_owned());
    if let Some(keys) = &options.keys {
        let token = keys.session_token.as_ref().map(|t| t.expose().to_owned());
        return SharedCredentialsProvider::new(Credentials::new(&keys.access_key, keys.secret_key.expose(), token, None, "aaws-keys"));
    }
    match &options.profile {
        Some(name) => {
            let config = ProviderConfig::without_region().with_region(Some(region));
            SharedCredentialsProvider::new(ProfileFileCredentialsProvider::builder().configure(&config).profile_name(name).build())
        }
        None => SharedCredentialsProvider::new(DefaultCredentialsChain::builder().region(region).build().await),
    }
}

/// The order of the default chain, as far as it can be told from outside.
fn base_source(options: &SessionOptions) -> String {
    let set = |name: &str| env::var_os(name).is_some_and(|v| !v.is_empty());
    let source = match &options.profile {
        _ if options.keys.is_some() => "the keys given",
        Some(name) => return format!("the profile `{name}`"),
        None if set("AWS_ACCESS_KEY_ID") => "the environment (AWS_ACCESS_KEY_ID)",
        None if set("AWS_PROFILE") => "the profile named by AWS_PROFILE",
        None if set("AWS_WEB_IDENTITY_TOKEN_FILE") => "the web identity token (AWS_WEB_IDENTITY_TOKEN_FILE)",
        None if set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") || set("AWS_CONTAINER_CREDENTIALS_FULL_URI") => "the container's role",
        None => "the default chain (default profile, or the instance's role)",
    };
    source.to_owned()
}

/// More tries than the SDK's three, unless the user chose. Its adaptive mode is left to the user (AWS_RETRY_MODE): after one throttled request it
/// lets nothing through for many seconds, whatever the concurrency.
fn with_retries(config: SdkConfig) -> SdkConfig {
    let chosen = config.retry_config().is_some_and(|r| *r != RetryConfig::standard())
        || env::var_os("AWS_RETRY_MODE").is_some()
        || env::var_os("AWS_MAX_ATTEMPTS").is_some();
    if chosen {
        return config;
    }
    config.into_builder().retry_config(RetryConfig::standard().with_max_attempts(TRIES)).build()
}

/// Keeps a role's credentials until they are about to expire: each client has a cache of its own, and each would assume the role again.
#[derive(Debug)]
struct CachedCredentials {
    role: AssumeRoleProvider,
    credentials: Mutex<Option<Credentials>>,
}

impl CachedCredentials {
    fn new(role: AssumeRoleProvider) -> Self {
        CachedCredentials { role, credentials: Mutex::default() }
    }

    async fn get(&self) -> provider::Result {
        // Held while STS answers: who comes meanwhile waits for this answer rather than ask for another.
        let mut cached = self.credentials.lock().await;
        if let Some(credentials) = cached.as_ref()
            && credentials.expiry().is_none_or(|expiry| expiry > SystemTime::now() + RENEWED_BEFORE)
        {
            return Ok(credentials.clone());
        }
        let credentials = self.role.provide_credentials().await?;
        *cached = Some(credentials.clone());
        Ok(credentials)
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

async fn credentials(config: &SdkConfig) -> Result<Credentials> {
    let provider = config.credentials_provider().ok_or_else(|| Error::Credentials { message: "no credentials".into() })?;
    let found = provider.provide_credentials().await;
    found.map_err(|e| Error::Credentials { message: format!("no usable credentials: {}", chain(&e)) })
}

/// The first role with the device's digits, or a session of the user's own. The digits serve once, so these credentials are not renewed.
async fn with_mfa(config: SdkConfig, options: &SessionOptions, serial: &str, token: String) -> Result<SdkConfig> {
    let sts = aws_sdk_sts::Client::new(&config);
    // As when a role is refused that needs no device: there are no credentials to go on with.
    let none = |e: Error| Error::Credentials { message: e.to_string() };
    let credentials = match options.role_arns.first() {
        Some(role) => {
            let external_id = options.external_id.clone().filter(|_| options.role_arns.len() == 1);
            let name = options.session_name.as_deref().unwrap_or(SESSION_NAME);
            // A chain's length is the last role's alone.
            let seconds = options.duration.filter(|_| options.role_arns.len() == 1).and_then(|d| i32::try_from(d.as_secs()).ok());
            let request =
                sts.assume_role().role_arn(role).role_session_name(name).set_external_id(external_id).set_duration_seconds(seconds);
            let answer = request.serial_number(serial).token_code(token).send().await;
            answer.context(|| format!("assume the role `{role}` with the MFA device `{serial}`")).map_err(none)?.credentials
        }
        None => {
            let seconds = options.duration.and_then(|d| i32::try_from(d.as_secs()).ok());
            let answer = sts.get_session_token().set_duration_seconds(seconds).serial_number(serial).token_code(token).send().await;
            answer.context(|| format!("open a session with the MFA device `{serial}`")).map_err(none)?.credentials
        }
    };
    let Some(c) = credentials else {
        return Err(Error::Credentials { message: "STS answered without credentials".into() });
    };
    let expires = c.expiration.try_into().ok();
    let c = Credentials::new(c.access_key_id, c.secret_access_key, Some(c.session_token), expires, "aaws-mfa");
    Ok(config.into_builder().credentials_provider(SharedCredentialsProvider::new(c)).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_told_from_other_arns() {
        assert!(is_role("arn:aws:iam::123456789012:role/ops"));
        assert!(is_role("arn:aws-cn:iam::123456789012:role/path/ops"));
        for wrong in
            ["ops", "", "arn:aws:iam::123456789012:user/ops", "arn:aws:iam::12345678901:role/ops", "arn:aws:iam::123456789012:role/"]
        {
            assert!(!is_role(wrong), "{wrong}");
        }
    }
}
