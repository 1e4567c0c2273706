//! Stands between every client and the network: refuses what was not declared, refuses writes in a dry run, counts what is sent, and decides what is
//! sent again.
//!
//! **Retries are decided here and nowhere else.** The SDK's loop does the retrying, because each attempt has to be signed; it is told, after each
//! attempt, how many more there may be:
//!
//! - *throttled* (429, a code that says so, or 503): again and again, at the limiter's pace, until the run is cancelled. It costs nothing. A request that
//!   must be sent once only (no retries in its configuration) is sent again only if the answer says that it was not carried out; a plain 503 does not.
//! - *another error that passes*, as the SDK's classifiers see it: as often as the retry configuration says (five tries), and as long as the run's
//!   quota lasts.
//! - *waited too long after it was signed*: at once. It was never sent.
//! - *turned down for how it was signed*: once with other credentials, if there are any, and once by AWS's clock, if that is another. It was not carried out.
//! - once the run is cancelled nothing is sent again but what is signed anew, and by what settles what was begun, and that for a minute.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime::client::retries::classifiers::run_classifiers_on_ctx;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut, FinalizerInterceptorContextRef, InterceptorContext,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use aws_smithy_types::retry::RetryConfig;

use crate::aws::anew::{Anew, Renew};
use crate::aws::limiter::Key;
use crate::aws::network::{CallInfo, Network, Stale, Throttled};
use crate::model::call::{Access, Call, Refused};

/// For how long after cancellation a request that settles what was begun may still be tried again.
const SETTLING: Duration = Duration::from_secs(60);

/// The wait before a throttled request queues for its next turn: the limiter sets the pace, this only keeps them from coming all at once.
const REQUEUE: Duration = Duration::from_millis(50);

/// What a request counts for against its rate, where that is not 1, and within what the service counts. An interceptor of the service's own module
/// stores it.
#[derive(Debug, Clone, Default)]
pub struct Weight {
    /// A part of the service that has a rate of its own: a bucket.
    pub scope: String,
    /// How many items the service counts.
    pub items: u32,
}

impl Storable for Weight {
    type Storer = StoreReplace<Self>;
}

/// The interceptor that is installed in every client.
#[derive(Clone)]
pub struct Guard {
    action: &'static str,
    calls: &'static [Call],
    dry_run: bool,
    settling: bool,
    network: Network,
    /// Whose rate limit it is: an account, or what stands for one.
    account: String,
    region: String,
    /// Whether AWS itself answers.
    documented: bool,
    /// What its requests are signed with.
    signing: Option<Arc<dyn Renew>>,
}

/// What happened to one request so far.
#[derive(Debug, Clone, Copy, Default)]
struct Attempts {
    /// How many tries the configuration allows.
    allowed: u32,
    /// How many of those made cost nothing.
    free: u32,
    /// Whether it was signed again by AWS's clock, and with other credentials.
    by_clock: bool,
    with_others: bool,
}

impl Attempts {
    /// Whether it may be signed again for this reason: once for each. What is turned down again stays so.
    fn may_sign(&mut self, anew: Anew) -> bool {
        let done = match anew {
            Anew::Clock => &mut self.by_clock,
            Anew::Credentials => &mut self.with_others,
        };
        !std::mem::replace(done, true)
    }
}

impl Storable for Attempts {
    type Storer = StoreReplace<Self>;
}

impl Guard {
    pub(crate) fn new(action: &'static str, calls: &'static [Call], dry_run: bool, network: Network) -> Self {
        let (account, region) = (String::new(), String::new());
        Guard { action, calls, dry_run, settling: false, network, account, region, documented: true, signing: None }
    }

    /// For the clients of one target: rate limits are an account's and a region's.
    pub(crate) fn within(&self, account: &str, region: &str, documented: bool) -> Self {
        Guard { account: account.to_owned(), region: region.to_owned(), documented, ..self.clone() }
    }

    /// For clients that sign with these: others are had when AWS turns them down.
    pub(crate) fn signing_with(&self, signing: Option<Arc<dyn Renew>>) -> Self {
        Guard { signing, ..self.clone() }
    }

    pub(super) fn signing(&self) -> Option<Arc<dyn Renew>> {
        self.signing.clone()
    }

    /// For what settles what was begun: it is sent after cancellation, too.
    pub(crate) fn settling(&self) -> Self {
        Guard { settling: true, ..self.clone() }
    }

    /// How often each declared call was made so far, retries not counted.
    pub fn sent(&self) -> BTreeMap<String, u64> {
        self.network.calls()
    }

    /// The key under which requests of an operation are paced.
    pub(crate) fn key(&self, service: &str, operation: &str, scope: &str) -> Key {
        Key {
            account: self.account.clone(),
            region: self.region.clone(),
            service: service.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect(),
            kind: operation.to_owned(),
            scope: scope.to_owned(),
            documented: self.documented,
        }
    }

    fn declared(&self, service: &str, operation: &str) -> Option<&'static Call> {
        self.calls.iter().find(|call| call.is(service, operation))
    }

    fn check(&self, service: &str, operation: &str) -> Result<(), Refused> {
        let Some(call) = self.declared(service, operation) else {
            return Err(Refused::Undeclared { action: self.action, service: service.into(), operation: operation.into() });
        };
        if self.dry_run && call.access == Access::Write {
            return Err(Refused::DryRun { call: call.name });
        }
        self.network.count(call.name);
        Ok(())
    }

    /// Whether a request may be sent again at all.
    fn may_retry(&self) -> bool {
        let cancelled = self.network.cancellation().since();
        cancelled.is_none_or(|since| self.settling && since < SETTLING)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("action", &self.action).field("dry_run", &self.dry_run).finish_non_exhaustive()
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Guard {
    fn name(&self) -> &'static str {
        "aaws::Guard"
    }

    /// The first hook that knows the operation: a client's interceptors begin before the operation's configuration is there. It runs once a
    /// call, before the request is even written.
    fn read_before_serialization(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // An SDK that did not say what it sends cannot be checked, so it is not let through.
        let (service, operation) = cfg.load::<Metadata>().map_or(("?", "?"), |m| (m.service(), m.name()));
        self.check(service, operation)?;
        let allowed = cfg.load::<RetryConfig>().map_or(1, RetryConfig::max_attempts).max(1);
        cfg.interceptor_state().store_put(Attempts { allowed, ..Attempts::default() });
        Ok(())
    }

    /// Says where the request is sent what it is.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (service, operation) = cfg.load::<Metadata>().map_or(("?", "?"), |m| (m.service(), m.name()));
        let weight = cfg.load::<Weight>().cloned().unwrap_or_default();
        let key = self.key(service, operation, &weight.scope);
        context.request_mut().add_extension(CallInfo {
            key,
            weight: weight.items.max(1),
            changes: self.declared(service, operation).is_none_or(|call| call.access == Access::Write),
            settling: self.settling,
            signing: self.signing.clone(),
        });
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(call) = cfg.load::<Metadata>() {
            let answer = context.response().map_or_else(|| "no answer".to_owned(), |r| r.status().as_u16().to_string());
            let id = context.response().and_then(|r| r.headers().get("x-amz-request-id").or(r.headers().get("x-amzn-requestid")));
            tracing::debug!("call {}:{} -> {answer} (request id {})", call.service().to_lowercase(), call.name(), id.unwrap_or("none"));
        }
        let failed = match context.output_or_error() {
            Some(Err(error)) => error,
            _ => {
                self.network.reward_success();
                return Ok(());
            }
        };
        let throttled = context.response().and_then(|r| r.extension::<Throttled>().copied());
        let stale = failed.as_connector_error().and_then(|e| e.source()).is_some_and(|e| e.is::<Stale>());
        let mut attempts = cfg.load::<Attempts>().copied().unwrap_or_default();
        let made = cfg.load::<RequestAttempts>().map_or(1, RequestAttempts::attempts);
        let anew = context.response().and_then(|r| r.extension::<Anew>().copied());
        let resigned = anew.is_some_and(|anew| attempts.may_sign(anew));
        // What must be sent once only is not sent again while it may have been carried out.
        let free = stale || resigned || throttled.is_some_and(|t| t.turned_away || attempts.allowed > 1);
        attempts.free += u32::from(free);
        // The quota is asked only where there will be another attempt: what is denied or missing stays so.
        let passes = || run_classifiers_on_ctx(components.retry_classifiers(), context.inner()).should_retry();
        let retried = || anew.is_none() && made < attempts.allowed + attempts.free && passes() && self.network.take_retry();
        // One that was sent already is not given up for a signature: it would be said that the credentials are no good, and there are others.
        let again = resigned || (self.may_retry() && (free || retried()));
        let most = if again { attempts.allowed.max(1) + attempts.free } else { made };
        let config = cfg.load::<RetryConfig>().cloned().unwrap_or_else(RetryConfig::standard).with_max_attempts(most.max(1));
        let config = if free { config.with_initial_backoff(REQUEUE).with_max_backoff(REQUEUE) } else { backoff_of(config) };
        cfg.interceptor_state().store_put(attempts);
        cfg.interceptor_state().store_put(config);
        Ok(())
    }
}

/// The waits of the SDK's standard mode, which a throttled attempt before this one may have shortened.
fn backoff_of(config: RetryConfig) -> RetryConfig {
    let standard = RetryConfig::standard();
    config.with_initial_backoff(standard.initial_backoff()).with_max_backoff(standard.max_backoff())
}

/// Tells the SDK's loop that an answer that only says "slower", or "sign again", is worth another attempt, whatever the service calls it.
#[derive(Debug)]
pub struct ThrottlingClassifier;

impl ClassifyRetry for ThrottlingClassifier {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response() {
            Some(answer) if answer.extension::<Throttled>().is_some() => RetryAction::throttling_error(),
            Some(answer) if answer.extension::<Anew>().is_some() => RetryAction::transient_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "aaws::ThrottlingClassifier"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cancellation::Cancellation;

    const CALLS: &[Call] = &[Call::read("s3:ListObjectsV2", &[]), Call::write("s3:DeleteObjects", &[])];

    fn guard(dry_run: bool) -> Guard {
        Guard::new("s3/x", CALLS, dry_run, Network::new(1, Cancellation::default()))
    }

    #[test]
    fn what_is_not_declared_is_refused() {
        let guard = guard(false);
        assert!(matches!(guard.check("S3", "GetObject"), Err(Refused::Undeclared { .. })));
        assert!(guard.sent().is_empty());
    }

    #[test]
    fn a_dry_run_reads_and_does_not_write() {
        let guard = guard(true);
        assert_eq!(guard.check("S3", "ListObjectsV2"), Ok(()));
        assert_eq!(guard.check("S3", "DeleteObjects"), Err(Refused::DryRun { call: "s3:DeleteObjects" }));
        assert_eq!(guard.sent(), BTreeMap::from([("s3:ListObjectsV2".to_owned(), 1)]));
    }
}
