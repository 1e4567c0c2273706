//! Errors of the SDK as ours: what was tried, on what, what AWS answered.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;

use crate::aws::network::CancelledUnsent;
use crate::model::call::Refused;
use crate::model::code::Code;
use crate::model::error::{AwsError, Error, Result};

/// How many characters are shown of an answer that cannot be read.
const SHOWN: usize = 200;

/// Gives an SDK error its context: `client.list_objects_v2().send().await.context(|| format!("list the objects of `{bucket}`"))?`.
pub trait ErrorContext<T> {
    /// Says what was tried, on what, in the form that fits "cannot …".
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E> ErrorContext<T> for Result<T, SdkError<E, HttpResponse>>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| from_sdk(what().into(), &e))
    }
}

/// Turns an SDK error into ours.
pub fn from_sdk<E>(attempted: String, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    if let Some(refused) = find::<Refused>(error) {
        return Error::Guard(refused.clone());
    }
    if let Some(credentials) = find::<CredentialsError>(error) {
        return Error::Credentials { message: format!("cannot {attempted}: no usable credentials: {}", chain(credentials)) };
    }
    let status = error.raw_response().map(|r| r.status().as_u16());
    let (code, message, request_id) = match error {
        SdkError::ServiceError(e) => {
            let meta = e.err().meta();
            let (code, message) = match (meta.code(), meta.message(), status) {
                // All went well, and what came of it cannot be read. It is not shown: it may hold secrets.
                (None, None, Some(status @ 200..300)) => (Code::UnreadableAnswer.into(), not_read(status, error)),
                (None, None, _) if e.raw().body().bytes().is_some_and(|body| !body.is_empty()) => {
                    (status_code(status), unreadable(e.raw()))
                }
                (code, message, _) => (code.map_or_else(|| status_code(status), str::to_owned), message.unwrap_or_default().to_owned()),
            };
            (code, message, meta.request_id().map(str::to_owned))
        }
        SdkError::ResponseError(e) => {
            let id = e.raw().headers().get("x-amz-request-id").or(e.raw().headers().get("x-amzn-requestid"));
            let message = match e.raw().status().as_u16() {
                status @ 200..300 => not_read(status, error),
                _ => unreadable(e.raw()),
            };
            (Code::UnreadableAnswer.into(), message, id.map(str::to_owned))
        }
        SdkError::DispatchFailure(_) if find::<CancelledUnsent>(error).is_some() => (Code::NotSent.into(), deepest(error), None),
        SdkError::TimeoutError(_) => (Code::TimedOut.into(), deepest(error), None),
        SdkError::DispatchFailure(e) if e.is_timeout() => (Code::TimedOut.into(), deepest(error), None),
        SdkError::DispatchFailure(e) if e.is_io() || e.is_other() => (Code::Unreachable.into(), deepest(error), None),
        other => (Code::NotSent.into(), deepest(other), None),
    };
    Error::Aws(Box::new(AwsError { attempted, code, message, request_id, status }))
}

/// An answer of success, and why what it says is not known.
fn not_read(status: u16, error: &(dyn StdError + 'static)) -> String {
    format!("HTTP {status} with a body that cannot be read: {}", deepest(error))
}

/// An answer that says nothing in the words of its API: its status, and how it begins.
fn unreadable(answer: &HttpResponse) -> String {
    let body: String = answer.body().bytes().map(|body| String::from_utf8_lossy(body).chars().take(SHOWN).collect()).unwrap_or_default();
    format!("HTTP {} with a body that is not of this API: {body}", answer.status().as_u16())
}

/// HEAD requests are answered without a body, so S3's code has to come from the status.
fn status_code(status: Option<u16>) -> String {
    match status {
        Some(301) => "PermanentRedirect".into(),
        Some(403) => "AccessDenied".into(),
        Some(404) => "NotFound".into(),
        Some(412) => "PreconditionFailed".into(),
        Some(503) => "ServiceUnavailable".into(),
        Some(n) => format!("HTTP{n}"),
        None => "Unknown".into(),
    }
}

/// The first error of type `T` in the chain of causes.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    causes(error).find_map(|e| e.downcast_ref::<T>())
}

/// The error and what caused it, the outermost first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// An error and its causes in one line of reasons; a cause that only repeats the one before it is left out.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut told: Vec<String> = Vec::new();
    for cause in causes(error).map(|e| e.to_string()) {
        if !told.iter().any(|t| t.contains(&cause)) {
            told.push(cause);
        }
    }
    told.join(": ")
}

/// The last cause of the chain is the one that says something: the others say "dispatch failure".
fn deepest(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
