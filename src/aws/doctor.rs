//! What stands between this machine and AWS, part by part: a session ends at the first thing that it lacks, this says of each whether it is there.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::retry::RetryConfig;
use jiff::Timestamp;

use crate::aws::clients::{CA_BUNDLE, PROXY_VARIABLES};
use crate::aws::error::ErrorContext;
use crate::aws::network::Network;
use crate::aws::options::{SessionOptions, find_region};
use crate::aws::session::{MfaPrompt, Session};
use crate::model::error::{Error, Result};
use crate::model::target::Region;

/// How long STS may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How often it is asked: once more after an error that passes.
const TRIES: u32 = 2;

/// How far a clock may be off, in seconds: AWS takes signatures of five minutes before and after its own time (IAM user guide, signing requests).
pub const LARGEST_SKEW: i64 = 300;

/// The variables that name files of profiles, and where those are unless they do (SDKs and tools reference guide, shared config and credentials files).
const PROFILES: [(&str, &str); 2] = [("AWS_CONFIG_FILE", ".aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")];

/// The variables that say whose credentials are used (SDKs and tools reference guide, standardized credential providers).
const CREDENTIALS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// What STS says of the credentials.
#[derive(Debug)]
pub struct Identity {
    /// Twelve digits.
    pub account: String,
    /// Of the user, or of the role's session.
    pub arn: String,
}

/// What came of asking STS.
#[derive(Debug)]
pub struct Asked {
    /// Whose credentials these are.
    pub identity: Result<Identity>,
    /// By how many seconds this machine's clock is ahead of AWS's. Known whenever there was an answer, even one that turns the request down.
    pub ahead: Option<i64>,
}

/// The certificates by which servers are trusted.
#[derive(Debug)]
pub struct Roots {
    /// How many the system has.
    pub system: usize,
    /// The file of AWS_CA_BUNDLE, where it names one.
    pub bundle: Option<PathBuf>,
}

/// A file of profiles.
#[derive(Debug)]
pub struct ProfileFile {
    /// Where it is, or would be.
    pub path: PathBuf,
    /// The variable that names it, when one does.
    pub variable: Option<&'static str>,
    /// Whether it is there.
    pub is_there: bool,
}

/// The region, and where it was found; none where nothing says one.
///
/// # Errors
/// What was found is no region.
pub async fn region(options: &SessionOptions) -> Result<Option<(Region, &'static str)>> {
    find_region(options).await
}

/// The certificates; how many there are is for people, whether they can be used is not.
///
/// # Errors
/// AWS_CA_BUNDLE cannot be read as certificates.
pub fn roots(network: &Network) -> Result<Roots> {
    network.http_client()?;
    let bundle = std::env::var_os(CA_BUNDLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    Ok(Roots { system: rustls_native_certs::load_native_certs().certs.len(), bundle })
}

/// The variables about proxies that are set, with their values, which may hold a password.
pub fn proxies() -> Vec<(&'static str, OsString)> {
    let set = PROXY_VARIABLES.iter().filter_map(|name| Some((*name, std::env::var_os(name).filter(|value| !value.is_empty())?)));
    set.collect()
}

/// The files that profiles are read from.
pub fn profile_files() -> Vec<ProfileFile> {
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    let file = |(name, place): (&'static str, &str)| {
        let named = std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let variable = named.is_some().then_some(name);
        let path = named.or_else(|| Some(home.as_ref()?.join(place)))?;
        Some(ProfileFile { is_there: path.is_file(), path, variable })
    };
    PROFILES.into_iter().filter_map(file).collect()
}

/// Whether nothing on this machine says whose credentials to use: no variable, and no file of profiles.
pub fn is_new_here() -> bool {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !CREDENTIALS.iter().any(is_set) && profile_files().iter().all(|file| file.variable.is_none() && !file.is_there)
}

/// A session as an action would have it.
///
/// # Errors
/// There are no credentials, or a role cannot be assumed.
pub async fn session(options: &SessionOptions, network: &Network, mfa: &dyn MfaPrompt) -> Result<Session> {
    Session::open(options, "sts", network, mfa).await
}

/// When the credentials of a session expire, where that is known.
///
/// # Errors
/// They could not be had, or renewed.
pub async fn expiry(session: &Session) -> Result<Option<Timestamp>> {
    let credentials: Credentials = session.credentials().await?;
    Ok(credentials.expiry().and_then(|at| Timestamp::try_from(at).ok()))
}

/// Asks STS whose credentials these are. Nobody needs a permission for that.
pub async fn ask(session: &Session) -> Asked {
    let clock = ServerClock::default();
    let asked = async {
        let sts = session.sts().ok_or_else(|| Error::Failed("there is no STS here".into()))?;
        let once = aws_sdk_sts::Config::builder().retry_config(RetryConfig::standard().with_max_attempts(TRIES));
        let request = sts.get_caller_identity().customize().interceptor(clock.clone()).config_override(once);
        let answer = request.send().await.context(|| "ask STS whose credentials these are")?;
        match (answer.account, answer.arn) {
            (Some(account), Some(arn)) => Ok(Identity { account, arn }),
            _ => Err(Error::Failed("STS answered without saying whose credentials these are".into())),
        }
    };
    let identity = match tokio::time::timeout(ANSWER, asked).await {
        Ok(identity) => identity,
        Err(_) => Err(Error::Failed(format!("STS did not answer within {} seconds", ANSWER.as_secs()))),
    };
    Asked { identity, ahead: clock.ahead() }
}

/// Reads the time of a server from the `Date` of its answers.
#[derive(Debug, Clone, Default)]
struct ServerClock(Arc<Mutex<Option<i64>>>);

impl ServerClock {
    fn ahead(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "aaws::ServerClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let now = Timestamp::now().as_second();
        if let Some(ahead) = context.response().headers().get("date").and_then(|date| ahead_of(date, now)) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
        }
        Ok(())
    }
}

/// By how many seconds `now`, in seconds since 1970, is ahead of a `Date` header.
fn ahead_of(date: &str, now: i64) -> Option<i64> {
    let theirs = aws_smithy_types::DateTime::from_str(date, Format::HttpDate).ok()?;
    Some(now - theirs.secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_compared_with_the_date_of_an_answer() {
        assert_eq!(ahead_of("Thu, 01 Jan 1970 00:10:00 GMT", 600), Some(0));
        assert_eq!(ahead_of("Thu, 01 Jan 1970 00:10:00 GMT", 0), Some(-600));
        assert_eq!(ahead_of("yesterday", 0), None);
    }
}
