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
    // A page of HTML, say, in one line.
    let body = body.split_whitespace().collect::<Vec<_>>().join(" ");
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
    for cause in causes(error).map(|e| one_line(&e.to_string())) {
        if !told.iter().any(|t| t.contains(&cause)) {
            told.push(cause);
        }
    }
    told.join(": ")
}

/// The last cause of the chain is the one that says something: the others say "dispatch failure".
fn deepest(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(|cause| one_line(&cause.to_string())).unwrap_or_default()
}

/// What the SDK says of each place where it looked for credentials and found none to look at.
const NOT_ENABLED: &str = "the credential provider was not enabled";

/// A text of several lines as one sentence: the places where credentials were looked for, what a program wrote to standard error.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push_str(if line.ends_with(':') { " " } else { "; " });
        }
        // "Profile: the credential provider was not enabled: profile `y` was not defined".
        match part.split_once(": ").and_then(|(place, why)| Some((place, why.strip_prefix(NOT_ENABLED)?))) {
            Some((place, "")) => line.push_str(&format!("{place}: not set up")),
            Some((place, why)) => line.push_str(&format!("{place}{why}")),
            None => line.push_str(part),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_sdk_says_in_many_lines_is_one_sentence() {
        let tried = "no credentials found in chain. Attempted:\n  Environment: the credential provider was not enabled: environment variable not set\n  \
                     Profile: the credential provider was not enabled\n  Ec2InstanceMetadata: it is off";
        let told = "no credentials found in chain. Attempted: Environment: environment variable not set; Profile: not set up; Ec2InstanceMetadata: it is off";
        assert_eq!(one_line(tried), told);
        assert_eq!(one_line("a\nb\r\n\n"), "a; b");
        assert_eq!(one_line("dispatch failure: io error"), "dispatch failure: io error");
    }
}
