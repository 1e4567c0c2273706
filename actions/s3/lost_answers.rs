//! Whether an answer was lost on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

/// Notes that the answer to an attempt was lost: what S3 says to the next one may be about what that attempt did.
#[derive(Debug, Clone, Default)]
pub struct LostAnswers(Arc<AtomicBool>);

impl LostAnswers {
    /// Whether there was one.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for LostAnswers {
    fn name(&self) -> &'static str {
        "aaws::LostAnswers"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // A request that was turned away for its rate (503) was not carried out; of another server error that is not known.
        let unclear = |status: u16| status >= 500 && status != 503;
        let failed = matches!(context.output_or_error(), Some(Err(_)));
        if failed && context.response().is_none_or(|answer| unclear(answer.status().as_u16())) {
            self.0.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
