//! Where credentials come from beyond the SDK's own chain: roles, MFA sessions, and one cache for all clients of a session.

use std::fmt;
use std::future::ready;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Mutex, SemaphorePermit};

use crate::aws::anew::{Renew, Signed};
use crate::aws::error::{ErrorContext, chain};
use crate::aws::network::Network;
use crate::model::error::{Error, Result};
use crate::model::target::RoleArn;

/// Credentials are renewed this long before they expire.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);

/// What was given so lately is good, whatever this machine's clock says of when it expires: the clock may be ahead.
const AS_GIVEN: Duration = Duration::from_secs(60);

/// How long getting others in their place may take. Somebody may have to sign in for the first ones.
const RENEWAL: Duration = Duration::from_secs(120);

/// How long nobody asks again for others: there were none, or those were turned down, too, and it is not for them. S3 answers HEAD with 400 for more than that, and
/// a role gives others whenever it is asked.
const IN_VAIN: Duration = Duration::from_secs(10);

/// Whether credentials may take the place of others.
type Fits = Box<dyn Fn(Credentials) -> BoxFuture<'static, bool> + Send + Sync>;

/// Keeps credentials until they are about to expire, or AWS turns them down: each client would ask for its own. Cheap to clone.
#[derive(Clone)]
pub(super) struct CachedCredentials(Arc<Inner>);

struct Inner {
    make: Box<dyn Fn() -> BoxFuture<'static, SharedCredentialsProvider> + Send + Sync>,
    fits: OnceLock<Fits>,
    /// Where what the source sends needs a permit of the run's; none for one that takes permits itself.
    network: OnceLock<Network>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    source: Option<SharedCredentialsProvider>,
    cached: Option<Credentials>,
    /// When they were given.
    given: Option<Instant>,
    /// When others were asked for, and there were none, or those that were turned down were replaced.
    sought: Option<Instant>,
}

impl CachedCredentials {
    /// Of a source, which is made anew for others than it gave: those of the SDK read the files of profiles once, and they may hold other keys by then.
    pub(super) fn new<P, F>(make: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        P: ProvideCredentials + 'static,
        F: Future<Output = P> + Send + 'static,
    {
        let make = move || {
            let made = make();
            async move { SharedCredentialsProvider::new(made.await) }.boxed()
        };
        CachedCredentials(Arc::new(Inner {
            make: Box::new(make),
            fits: OnceLock::new(),
            network: OnceLock::new(),
            state: Mutex::default(),
        }))
    }

    /// Of keys that are what they are.
    pub(super) fn fixed(credentials: Credentials) -> Self {
        Self::new(move || ready(credentials.clone()))
    }

    /// Asked for once already, so that the error of a role that may not be assumed is its own.
    pub(super) async fn of(source: impl Assume + 'static) -> Result<Self> {
        let first = source.assume().await.map_err(|e| Error::Credentials { message: e.to_string() })?;
        let source = SharedCredentialsProvider::new(Assumed(source));
        let shared = source.clone();
        let new = Self::new(move || ready(shared.clone()));
        new.0.state.lock().await.keep(source, first);
        Ok(new)
    }

    /// Others serve only if they fit: whoever writes a profile, or answers for one, may have gone over to another account meanwhile.
    pub(super) fn only_if(&self, fits: impl Fn(Credentials) -> BoxFuture<'static, bool> + Send + Sync + 'static) {
        // It is said once, where the session is opened.
        let _ = self.0.fits.set(Box::new(fits));
    }

    /// What the source sends counts among the run's requests. The permit is taken here and not for each of them, because the SDK gives some of them a second or two,
    /// in which they would have to wait for it. Not for sources whose requests are sent by the run's clients: those take a permit themselves.
    pub(super) fn counted(self, network: &Network) -> Self {
        // It is said once, where the credentials are looked for.
        let _ = self.0.network.set(network.clone());
        self
    }

    /// The permit for what the source sends.
    async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        match self.0.network.get() {
            Some(network) => network.permit().await,
            None => None,
        }
    }

    /// What a source gives in the place of what it gave.
    async fn others(&self, source: &SharedCredentialsProvider, known: Option<Credentials>) -> provider::Result {
        let permit = self.permit().await;
        let given = in_time(source).await?;
        // STS may be asked whose they are.
        drop(permit);
        // A key is one principal's.
        let is_same_key = known.is_some_and(|known| known.access_key_id() == given.access_key_id());
        let is_fit = match self.0.fits.get() {
            Some(fits) if !is_same_key => fits(given.clone()).await,
            _ => true,
        };
        if is_fit {
            Ok(given)
        } else {
            Err(CredentialsError::provider_error("the new credentials are not known to be of the same account"))
        }
    }

    async fn get(&self) -> provider::Result {
        // Held while the source answers: who comes meanwhile waits for this answer rather than ask for another.
        let mut state = self.0.state.lock().await;
        if let Some(credentials) = state.usable() {
            return Ok(credentials.clone());
        }
        let source = match &state.source {
            Some(source) => source.clone(),
            None => (self.0.make)().await,
        };
        let lasts = |c: &&Credentials| c.expiry().is_some_and(|expiry| expiry > SystemTime::now());
        // Each request would ask, one after another.
        if state.sought_lately()
            && let Some(credentials) = state.cached.as_ref().filter(lasts)
        {
            return Ok(credentials.clone());
        }
        let known = state.cached.clone();
        let given = if known.is_some() {
            self.others(&source, known).await
        } else {
            let _permit = self.permit().await;
            source.provide_credentials().await
        };
        match given {
            Ok(credentials) => Ok(state.keep(source, credentials)),
            // Those that there are serve as long as they last.
            Err(e) => {
                state.sought = Some(Instant::now());
                state.cached.as_ref().filter(lasts).cloned().ok_or(e)
            }
        }
    }
}

#[async_trait::async_trait]
impl Renew for CachedCredentials {
    async fn renew(&self, turned_down: &Signed) -> bool {
        let mut state = self.0.state.lock().await;
        // Another request saw to it meanwhile.
        if state.cached.as_ref().is_some_and(|credentials| !turned_down.is_by(credentials)) {
            return true;
        }
        if state.sought_lately() {
            return false;
        }
        let source = (self.0.make)().await;
        match self.others(&source, state.cached.clone()).await {
            Ok(credentials) if !turned_down.is_by(&credentials) => {
                tracing::info!("the credentials were turned down, and there are new ones: the run goes on with those");
                state.keep(source, credentials);
                state.sought = Some(Instant::now());
                true
            }
            Ok(_) => {
                state.sought = Some(Instant::now());
                false
            }
            Err(e) => {
                tracing::debug!("no new credentials: {}", chain(&e));
                state.sought = Some(Instant::now());
                false
            }
        }
    }
}

impl fmt::Debug for CachedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CachedCredentials")
    }
}

impl State {
    fn usable(&self) -> Option<&Credentials> {
        let is_new = self.given.is_some_and(|given| given.elapsed() < AS_GIVEN);
        let lasts = |expiry: SystemTime| expiry > SystemTime::now() + RENEWED_BEFORE;
        self.cached.as_ref().filter(|credentials| is_new || credentials.expiry().is_none_or(lasts))
    }

    fn sought_lately(&self) -> bool {
        self.sought.is_some_and(|sought| sought.elapsed() < IN_VAIN)
    }

    fn keep(&mut self, source: SharedCredentialsProvider, credentials: Credentials) -> Credentials {
        *self = State { source: Some(source), cached: Some(credentials.clone()), given: Some(Instant::now()), sought: None };
        credentials
    }
}

async fn in_time(source: &SharedCredentialsProvider) -> provider::Result {
    let asked = tokio::time::timeout(RENEWAL, source.provide_credentials()).await;
    asked.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(RENEWAL)))
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    /// Gives other credentials each time, or fails from the second time on; counts how often it is asked.
    #[derive(Debug, Clone)]
    struct Source {
        asked: Arc<AtomicUsize>,
        fails: bool,
    }

    impl ProvideCredentials for Source {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            if self.fails && asked > 0 {
                return future::ProvideCredentials::ready(Err(CredentialsError::provider_error("the digits were used")));
            }
            let expiry = SystemTime::now() + RENEWED_BEFORE / 2;
            future::ProvideCredentials::ready(Ok(Credentials::new(format!("KEY{asked}"), "secret", None, Some(expiry), "test")))
        }
    }

    fn source(fails: bool) -> (CachedCredentials, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let source = Source { asked: Arc::clone(&asked), fails };
        (CachedCredentials::new(move || ready(source.clone())), asked)
    }

    fn key(given: &provider::Result) -> Option<&str> {
        given.as_ref().ok().map(Credentials::access_key_id)
    }

    fn signed_with(key: &str) -> Signed {
        let mut request = HttpRequest::new(SdkBody::empty());
        request.headers_mut().insert("authorization", format!("AWS4-HMAC-SHA256 Credential={key}/20261129/us-east-1/s3/aws4_request"));
        Signed::of(&request)
    }

    #[tokio::test]
    async fn what_is_turned_down_with_new_credentials_too_does_not_ask_for_more_of_them() {
        let (credentials, asked) = source(false);
        assert_eq!(key(&credentials.get().await), Some("KEY0"));
        assert!(credentials.renew(&signed_with("KEY0")).await, "there are others");
        assert!(credentials.renew(&signed_with("KEY0")).await, "somebody else saw to it");
        assert!(!credentials.renew(&signed_with("KEY1")).await, "it is not for the credentials");
        assert_eq!((key(&credentials.get().await), asked.load(Ordering::SeqCst)), (Some("KEY1"), 2));
    }

    #[tokio::test]
    async fn a_source_that_gives_no_others_is_not_asked_for_each_request_until_these_expire() {
        let (credentials, asked) = source(true);
        assert_eq!(key(&credentials.get().await), Some("KEY0"));
        credentials.0.state.lock().await.given = None;
        for _ in 0..3 {
            assert_eq!(key(&credentials.get().await), Some("KEY0"), "they serve as long as they last");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
