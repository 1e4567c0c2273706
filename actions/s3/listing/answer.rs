//! Our own reader in place of the SDK's, below all else that is done with a request: it is still declared, paced, signed and tried again as all are.
//!
//! The SDK cannot be given another reader for one operation. But what comes before its own may change the answer: it takes the listing out, and leaves
//! an empty one. Errors stay as they are, for the SDK to read.

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::StreamBody;

use super::Fields;
use super::reader::{self, Listed, Of, Unreadable};

/// Reads the answer to one ListObjectsV2, or ListObjectVersions. Cheap to clone; its clones share what was read.
#[derive(Debug, Clone)]
pub struct ReadListing {
    of: Of,
    fields: Fields,
    listed: Arc<Mutex<Option<Listed>>>,
}

impl ReadListing {
    /// Of each object, or version, its key, and these.
    pub fn new(of: Of, fields: Fields) -> Self {
        ReadListing { of, fields, listed: Arc::default() }
    }

    /// What was read, once the request has succeeded.
    pub fn take(&self) -> Option<Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ReadListing {
    fn name(&self) -> &'static str {
        "aaws::ReadListing"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let read = |body: &[u8]| reader::read(body, self.of, self.fields);
        if let Some(listed) = take_out(context, self.of.root(), read)? {
            *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some(listed);
        }
        Ok(())
    }
}

/// Reads an answer in place of the SDK, and leaves an empty one of that root for it. None is what `read` leaves to the SDK, and whatever is no success. One that is
/// torn is sent for again, and one that cannot be read fails.
pub fn take_out<T>(
    context: &mut BeforeDeserializationInterceptorContextMut<'_>,
    root: &str,
    read: impl FnOnce(&[u8]) -> Result<Option<T>, Unreadable>,
) -> Result<Option<T>, BoxError> {
    let answer = context.response_mut();
    if !answer.status().is_success() {
        return Ok(None);
    }
    let Some(body) = answer.body().bytes() else { return Ok(None) };
    match read(body) {
        Ok(Some(taken)) => {
            *answer.body_mut() = SdkBody::from(format!("<{root}/>"));
            Ok(Some(taken))
        }
        Ok(None) => Ok(None),
        Err(Unreadable::Torn) => {
            *answer.body_mut() = torn();
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}

/// Refuses answers that are torn, for those that the SDK reads itself: to its reader they are shorter ones.
#[derive(Debug)]
pub struct OnlyWhole;

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for OnlyWhole {
    fn name(&self) -> &'static str {
        "aaws::OnlyWhole"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response_mut();
        let is_torn = answer.status().is_success() && answer.body().bytes().is_some_and(|body| !reader::is_whole(body));
        if is_torn {
            *answer.body_mut() = torn();
        }
        Ok(())
    }
}

/// A body that cannot be read, which is what a torn one is. So the SDK tries the request again, as it does when the connection breaks.
fn torn() -> SdkBody {
    SdkBody::from_body_1_x(StreamBody::new(stream::once(ready(Err::<Frame<Bytes>, _>(Unreadable::Torn)))))
}
