//! Stands between every client and the network: refuses what the action did not declare, refuses writes in a dry run, counts what is sent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::model::call::{Access, Call, Refused};
use crate::model::cancellation::Cancellation;

/// For how long after cancellation a request may still be tried again.
const SETTLING: Duration = Duration::from_secs(30);

/// The interceptor that a context installs in every client it makes.
#[derive(Clone)]
pub struct Guard {
    action: &'static str,
    calls: &'static [Call],
    dry_run: bool,
    cancellation: Cancellation,
    sent: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Guard {
    pub(crate) fn new(action: &'static str, calls: &'static [Call], dry_run: bool, cancellation: Cancellation) -> Self {
        Guard { action, calls, dry_run, cancellation, sent: Arc::default() }
    }

    /// How often each declared call was made so far, retries not counted.
    pub fn sent(&self) -> BTreeMap<&'static str, u64> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check(&self, service: &str, operation: &str) -> Result<(), Refused> {
        let Some(call) = self.calls.iter().find(|c| c.is(service, operation)) else {
            return Err(Refused::Undeclared { action: self.action, service: service.into(), operation: operation.into() });
        };
        if self.dry_run && call.access == Access::Write {
            return Err(Refused::DryRun { call: call.name });
        }
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner).entry(call.name).or_default() += 1;
        Ok(())
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
        Ok(self.check(service, operation)?)
    }

    /// A request in flight is settled when the run is to end, and that includes trying it again; but not for ever.
    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let again = cfg.load::<RequestAttempts>().is_some_and(|n| n.attempts() > 1);
        if again && self.cancellation.since().is_some_and(|since| since > SETTLING) {
            return Err("not tried again: the run was stopped".into());
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(call) = cfg.load::<Metadata>() {
            let answer = context.response().map_or_else(|| "no answer".to_owned(), |r| r.status().as_u16().to_string());
            let id = context.response().and_then(|r| r.headers().get("x-amz-request-id").or(r.headers().get("x-amzn-requestid")));
            tracing::debug!("call {}:{} -> {answer} (request id {})", call.service().to_lowercase(), call.name(), id.unwrap_or("none"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: &[Call] = &[Call::read("s3:ListObjectsV2", &[]), Call::write("s3:DeleteObjects", &[])];

    #[test]
    fn what_is_not_declared_is_refused() {
        let guard = Guard::new("s3/x", CALLS, false, Cancellation::default());
        assert!(matches!(guard.check("S3", "GetObject"), Err(Refused::Undeclared { .. })));
        assert!(guard.sent().is_empty());
    }

    #[test]
    fn a_dry_run_reads_and_does_not_write() {
        let guard = Guard::new("s3/x", CALLS, true, Cancellation::default());
        assert_eq!(guard.check("S3", "ListObjectsV2"), Ok(()));
        assert_eq!(guard.check("S3", "DeleteObjects"), Err(Refused::DryRun { call: "s3:DeleteObjects" }));
        assert_eq!(guard.sent(), BTreeMap::from([("s3:ListObjectsV2", 1)]));
    }
}
