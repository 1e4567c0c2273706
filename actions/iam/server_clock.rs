//! How far the clock of this machine is from that of AWS.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_sts::config::interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef};
use aws_sdk_sts::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sts::error::BoxError;
use aws_sdk_sts::primitives::{DateTime, DateTimeFormat};
use jiff::{SignedDuration, Timestamp};

/// What is no difference.
const NEAR: SignedDuration = SignedDuration::from_secs(5);

/// Answers tell whole seconds.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Notes when answers say that they were sent (RFC 9110, 6.6.1).
#[derive(Debug, Clone, Default)]
pub struct ServerClock(Arc<Mutex<Observed>>);

#[derive(Debug, Default)]
struct Observed {
    /// When the last attempt was begun, by the clock here.
    begun: Option<Timestamp>,
    /// How far the other clock is ahead, at least and at most: the answer was sent between the attempt's begin and its end.
    ahead: Option<(SignedDuration, SignedDuration)>,
}

impl ServerClock {
    /// An instant of the clock here, by that of who answered, and rather too late than too early; the same where they agree, or nobody said what time it is.
    pub fn there(&self, here: Timestamp) -> Timestamp {
        let ahead = self.seen().ahead;
        let differ = ahead.filter(|(least, most)| *least > NEAR || *most < -NEAR);
        differ.and_then(|(_, most)| here.checked_add(most).ok()).unwrap_or(here)
    }

    fn seen(&self) -> MutexGuard<'_, Observed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "aaws::ServerClock"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.seen().begun = Some(Timestamp::now());
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().and_then(|answer| answer.headers().get("date"));
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        let sent = date.and_then(|date| Timestamp::from_second(date.secs()).ok());
        let mut seen = self.seen();
        if let (Some(sent), Some(begun)) = (sent, seen.begun) {
            seen.ahead = Some((sent.duration_since(Timestamp::now()), sent.duration_since(begun) + SECOND));
        }
        Ok(())
    }
}
