//! Credentials, region and endpoint for one target.
//!
//! Region: the flag, AWS_REGION, AWS_DEFAULT_REGION, the profile; none is an error. Credentials: the default chain of the AWS SDKs, or
//! strictly the profile when one is named; then the roles, those of the profile first, one after another.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use futures::FutureExt;
use tokio::sync::OnceCell;

use crate::aws::anew::Renew;
use crate::aws::credentials::{AssumeRole, CachedCredentials, SessionToken};
use crate::aws::endpoint;
use crate::aws::error::chain;
use crate::aws::guard::{Guard, ThrottlingClassifier};
use crate::aws::network::Network;
use crate::aws::once::Once;
use crate::aws::options::{SessionOptions, base_credentials, base_source, find_region, session_name};
use crate::aws::profiles::{ProfileRoles, RoleStep};
use crate::aws::sandbox;
use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::target::{AccountId, Region, RoleArn};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long STS may take to name the account for a report or a question, which can do without.
const ACCOUNT: Duration = Duration::from_secs(5);

/// How long it may take to name the account of credentials that are to take the place of others, which the run cannot do without.
const ACCOUNT_OF_OTHERS: Duration = Duration::from_secs(60);

/// How often a request is tried in all before it counts as failed.
const TRIES: u32 = 5;

/// The name under which roles are assumed, seen in CloudTrail, when nobody gives another.
const SESSION_NAME: &str = "aaws";

/// What a session calls by itself, for every action: logged, counted and refused like all others. Nobody needs a permission to ask who they are (STS
/// API reference), and what roles one may assume the roles say.
pub const SESSION_CALLS: &[Call] =
    &[Call::read("sts:AssumeRole", &[]), Call::read("sts:GetCallerIdentity", &[]), Call::read("sts:GetSessionToken", &[])];

/// Gives the six digits of an MFA device.
#[async_trait]
pub trait MfaPrompt: Send + Sync {
    /// Asks whoever holds the device; an error when there is nobody.
    async fn mfa_token(&self, serial: &str) -> Result<String>;
}

/// Nobody has a device.
#[derive(Debug)]
pub struct NoMfa;

#[async_trait]
impl MfaPrompt for NoMfa {
    async fn mfa_token(&self, serial: &str) -> Result<String> {
        Err(Error::field("mfa_token", format!("`mfa_token` is required with `mfa_serial` ({serial}) when nobody can be asked")))
    }
}

/// Credentials, region and endpoint of one target. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: SdkConfig,
    region: Option<Region>,
    region_source: &'static str,
    credentials_source: String,
    /// Where the files of a sandbox are.
    sandbox: Option<PathBuf>,
    /// What STS said; asked for once.
    account: OnceCell<Option<AccountId>>,
    /// What else is asked once.
    once: Once,
    /// For what the session calls itself; none for a local one.
    guard: Option<Guard>,
}

impl Session {
    /// For actions that need no AWS.
    pub fn local() -> Self {
        let config = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build();
        let credentials_source = String::new();
        let (account, once, sandbox) = (OnceCell::new(), Once::default(), None);
        Session(Arc::new(Inner { config, region: None, region_source: "", credentials_source, sandbox, account, once, guard: None }))
    }

    /// Finds region and credentials, and fails here rather than at the first call when there are none. `service` decides which sandbox.
    pub(crate) async fn open(options: &SessionOptions, service: &str, network: &Network, mfa: &dyn MfaPrompt) -> Result<Self> {
        if let Some(dir) = &options.sandbox {
            return Self::open_sandbox(options, service, network, dir.clone()).await;
        }
        let (region, region_source) = find_region(options).await?.ok_or(Error::NoRegion)?;
        let session_name = session_name(options)?;
        let of_profile = match &options.keys {
            Some(_) => None,
            None => ProfileRoles::find(options.profile.as_deref()).await?,
        };
        let base = base_credentials(options, of_profile.as_ref(), &region, network)?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(network.http_client()?)
            .sleep_impl(Clock)
            .region(aws_config::Region::new(region.to_string()))
            // How long an answer may take is the network's to say: it knows whether a request still makes progress.
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).disable_read_timeout().build())
            // So it is of throughput: the SDK would count a request that waits for its turn as one that stalls.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Asked of for each attempt, so that a request that is signed again is so with the credentials of then: they are kept by themselves.
            .identity_cache(IdentityCache::no_cache())
            .credentials_provider(base.clone());
        if let Some(profile) = &options.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &options.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let mut config = with_retries(loader.load().await);
        let mut credentials_source = base_source(options);
        // The error of a chain says all that was looked for: better here than wrapped in the first call's.
        let found = credentials(&config).await;
        let found = found.map_err(|e| Error::Credentials { message: format!("{e}; looked in {credentials_source}") })?;
        let mut account = OnceCell::new();
        let guard = Guard::new("session", SESSION_CALLS, false, network.clone());
        let mut guard =
            guard.within(found.access_key_id(), region.as_str(), options.endpoint_url.is_none()).signing_with(Some(Arc::new(base.clone())));
        let mut roles: Vec<RoleStep> = of_profile.into_iter().flat_map(|p| p.roles).chain(options.role_arns.iter().map(step)).collect();
        // The flags' length of the session is the last one's alone, and so is their external id.
        if let Some(last) = roles.last_mut() {
            last.external_id = options.external_id.clone().or(last.external_id.take());
            last.duration = options.duration.or(last.duration);
        }
        let is_own = roles.is_empty();
        // The flags' device goes with the first role, or with a session of one's own; the digits with whatever device is asked for first.
        let mut devices = Devices { given: options.mfa_serial.clone(), token: options.mfa_token.clone(), prompt: mfa };
        if roles.is_empty()
            && let Some((serial, token)) = devices.next(None).await?
        {
            let provider = SessionToken { sts: sts(&config, &guard), serial, token, duration: options.duration };
            (config, guard) = with_credentials(config, &guard, CachedCredentials::of(provider).await?);
        }
        // Those of the profile, too: whoever is asked sees whose permissions are used in the end.
        roles.iter().for_each(|step| credentials_source.push_str(&format!(", then the role {}", step.role)));
        for step in roles {
            // The role's own ARN says it, and nobody need be asked.
            account = OnceCell::new_with(Some(step.role.account()));
            let name = session_name.clone().or(step.session_name).map_or_else(|| SESSION_NAME.to_owned(), String::from);
            let provider = AssumeRole {
                // What settles what was begun may need it anew, after the run was cancelled.
                sts: sts(&config, &guard.settling()),
                role: step.role,
                session_name: name,
                external_id: step.external_id,
                duration: step.duration,
                device: devices.next(step.mfa_serial).await?,
            };
            (config, guard) = with_credentials(config, &guard, CachedCredentials::of(provider).await?);
        }
        let (guard, once, sandbox) = (Some(guard), Once::default(), None);
        let region = Some(region);
        let session = Session(Arc::new(Inner { config, region, region_source, credentials_source, sandbox, account, once, guard }));
        // A role is of its account, with whatever credentials it is assumed.
        if is_own {
            session.hold_to_account(&base);
        }
        session.check_account(options.account.as_ref()).await?;
        Ok(session)
    }

    async fn open_sandbox(options: &SessionOptions, service: &str, network: &Network, dir: PathBuf) -> Result<Self> {
        let Some(sandbox) = sandbox::find(service) else {
            let served = sandbox::services().join(", ");
            return Err(Error::input(format!("the sandbox has {served} only: `{service}` runs against AWS, or another --endpoint_url")));
        };
        let at = dir.display().to_string();
        let address = (sandbox.serve)(dir.clone()).await.map_err(|e| Error::io(format!("open the sandbox in `{at}`"), e))?;
        let (key, secret) = sandbox.keys;
        let region = match &options.region {
            Some(region) => region.clone(),
            None => "us-east-1".parse().map_err(Error::Failed)?,
        };
        // Nothing of the user's environment is read here: a sandbox has no business with credentials.
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(network.http_client()?)
            .sleep_impl(Clock)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .region(aws_config::Region::new(region.to_string()))
            .endpoint_url(format!("http://{address}"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(key, secret, None, None, "aaws-sandbox")))
            .retry_config(RetryConfig::standard())
            .build();
        let credentials_source = "the sandbox".to_owned();
        let account = OnceCell::new_with(Some(None));
        Ok(Session(Arc::new(Inner {
            config,
            region: Some(region),
            region_source: "the sandbox",
            credentials_source,
            sandbox: Some(dir),
            account,
            once: Once::default(),
            guard: None,
        })))
    }

    /// The region; none for a local action.
    pub fn region(&self) -> Option<&Region> {
        self.0.region.as_ref()
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
    pub(crate) async fn credentials(&self) -> Result<Credentials> {
        credentials(&self.0.config).await
    }

    /// The account's twelve digits, once they are known.
    pub fn known_account(&self) -> Option<&AccountId> {
        self.0.account.get()?.as_ref()
    }

    /// The account: asked of STS the first time, by a declared, logged and counted call. S3-compatible stores have no STS: there it stays unknown.
    /// AWS_ACCOUNT_ID and the profiles are not believed: a wrong one would name the wrong account in reports and ARNs.
    pub async fn account(&self) -> Option<&AccountId> {
        // Boxed, as it is deep in the futures of actions: whoever writes one elsewhere would meet the compiler's limit.
        let ask = || async { account_of(&self.0.config, self.0.guard.as_ref()?, ACCOUNT).boxed().await };
        self.0.account.get_or_init(ask).await.as_ref()
    }

    /// What is asked once in this session.
    pub(crate) fn once(&self) -> &Once {
        &self.0.once
    }

    /// Refuses a session that is of another account than it is meant to be of, or of none that could be had.
    async fn check_account(&self, meant: Option<&AccountId>) -> Result<()> {
        let Some(meant) = meant else { return Ok(()) };
        match self.account().await {
            Some(account) if account == meant => Ok(()),
            Some(account) => {
                Err(Error::Refused(format!("the credentials are of the account {account}, and `account` allows {meant} only")))
            }
            None => {
                Err(Error::Refused(format!("`account` allows {meant} only, and STS does not say which account the credentials are of")))
            }
        }
    }

    /// Takes no credentials in the place of these that are of another account: reports, plans, journals and `account` say which one the run is in.
    fn hold_to_account(&self, base: &CachedCredentials) {
        let session = Arc::downgrade(&self.0);
        base.only_if(move |credentials| {
            let session = session.upgrade().map(Session);
            async move {
                match session {
                    Some(session) => session.is_of_account(credentials).await,
                    None => true,
                }
            }
            .boxed()
        });
    }

    /// Whether credentials are of its account, as far as that is known.
    async fn is_of_account(&self, credentials: Credentials) -> bool {
        let (Some(account), Some(guard)) = (self.known_account(), self.0.guard.as_ref()) else { return true };
        let config = self.0.config.clone().into_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build();
        // These are not had anew: whoever needs others waits for this answer.
        match account_of(&config, &guard.settling().signing_with(None), ACCOUNT_OF_OTHERS).await {
            Some(of_others) if of_others == *account => true,
            Some(of_others) => {
                tracing::warn!("the new credentials are of the account {of_others}, and the run is in {account}: they are not used");
                false
            }
            None => {
                tracing::warn!("STS does not say which account the new credentials are of, and the run is in {account}: they are not used");
                false
            }
        }
    }

    /// What its requests are signed with, and can be signed with anew.
    pub(crate) fn signing(&self) -> Option<Arc<dyn Renew>> {
        self.0.guard.as_ref()?.signing()
    }

    /// A client of STS for what the session calls itself; none for a local session and a sandbox.
    pub(super) fn sts(&self) -> Option<aws_sdk_sts::Client> {
        Some(sts(&self.0.config, self.0.guard.as_ref()?))
    }

    /// Where requests go, when that is not AWS: for people.
    pub fn endpoint(&self) -> Option<&str> {
        self.0.config.endpoint_url()
    }

    /// Whether it is a sandbox.
    pub(crate) fn is_sandbox(&self) -> bool {
        self.0.sandbox.is_some()
    }

    /// The SDK's configuration; clients are made from it by [`crate::client!`] only.
    pub(crate) fn sdk_config(&self) -> &SdkConfig {
        &self.0.config
    }

    /// Whether requests of a service go elsewhere than to AWS: `--endpoint_url`, AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_<SERVICE>, the profile.
    pub fn custom_endpoint(&self, service: &str) -> bool {
        self.0.config.endpoint_url().is_some() || self.endpoint_of(service).is_some()
    }

    /// The endpoint that is set for a service alone.
    fn endpoint_of(&self, service: &str) -> Option<String> {
        let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()?;
        self.0.config.service_config()?.load_config(key)
    }

    /// Where requests of a service go, as plans and journals have it ([`endpoint`]): nothing secret is in it.
    pub(crate) fn destination(&self, service: &str) -> String {
        if let Some(dir) = &self.0.sandbox {
            return endpoint::of_sandbox(dir);
        }
        let config = &self.0.config;
        // `--endpoint_url` beats that of a service; the environment and the profile do not.
        let is_given = config.get_origin("endpoint_url").is_client_config();
        let of_service = if is_given { None } else { self.endpoint_of(service) };
        let url = of_service.or_else(|| config.endpoint_url().map(str::to_owned));
        url.map_or_else(|| endpoint::AWS.to_owned(), |url| endpoint::without_secrets(&url))
    }
}

/// The clock of the SDK's own waits: ours, so that tests can make them shorter.
#[derive(Debug, Clone, Copy)]
struct Clock;

impl aws_smithy_async::rt::sleep::AsyncSleep for Clock {
    fn sleep(&self, length: Duration) -> aws_smithy_async::rt::sleep::Sleep {
        aws_smithy_async::rt::sleep::Sleep::new(crate::model::clock::sleep(length))
    }
}

/// The account, as STS says.
async fn account_of(config: &SdkConfig, guard: &Guard, limit: Duration) -> Option<AccountId> {
    match tokio::time::timeout(limit, sts(config, guard).get_caller_identity().send()).await {
        Ok(Ok(identity)) => identity.account.and_then(|account| account.parse().ok()),
        Ok(Err(e)) => {
            tracing::debug!("STS does not say which account this is: {}", chain(&e));
            None
        }
        Err(_) => None,
    }
}

fn sts(config: &SdkConfig, guard: &Guard) -> aws_sdk_sts::Client {
    let builder = aws_sdk_sts::config::Builder::from(config).interceptor(guard.clone());
    aws_sdk_sts::Client::from_conf(builder.retry_partition(Network::retry_partition()).retry_classifier(ThrottlingClassifier).build())
}

fn with_credentials(config: SdkConfig, guard: &Guard, cached: CachedCredentials) -> (SdkConfig, Guard) {
    let config = config.into_builder().credentials_provider(SharedCredentialsProvider::new(cached.clone())).build();
    (config, guard.signing_with(Some(Arc::new(cached))))
}

/// A role of `--role_arn`.
fn step(role: &RoleArn) -> RoleStep {
    RoleStep { role: role.clone(), session_name: None, external_id: None, duration: None, mfa_serial: None }
}

/// The MFA devices on the way, and who has their digits.
struct Devices<'a> {
    given: Option<String>,
    token: Option<String>,
    prompt: &'a dyn MfaPrompt,
}

impl Devices<'_> {
    /// Serial number and digits of the device for the next step, when one is needed: the flags' for the first, else the step's own.
    async fn next(&mut self, own: Option<String>) -> Result<Option<(String, String)>> {
        let Some(serial) = self.given.take().or(own) else { return Ok(None) };
        let token = match self.token.take() {
            Some(token) => token,
            None => self.prompt.mfa_token(&serial).await?,
        };
        Ok(Some((serial, token)))
    }
}

/// More tries than the SDK's three, unless the user chose (AWS_MAX_ATTEMPTS). The SDK's adaptive mode is replaced by our limiter, which is the run's
/// and not the process's, and does not hold everything for 20 seconds after one throttled request.
fn with_retries(config: SdkConfig) -> SdkConfig {
    let tries = match config.retry_config() {
        Some(chosen) if env::var_os("AWS_MAX_ATTEMPTS").is_some() => chosen.max_attempts(),
        _ => TRIES,
    };
    config.into_builder().retry_config(RetryConfig::standard().with_max_attempts(tries)).build()
}

async fn credentials(config: &SdkConfig) -> Result<Credentials> {
    let provider = config.credentials_provider().ok_or_else(|| Error::Credentials { message: "no credentials".into() })?;
    let found = provider.provide_credentials().await;
    found.map_err(|e| Error::Credentials { message: format!("no usable credentials: {}", chain(&e)) })
}
