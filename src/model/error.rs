//! What can go wrong, in the words that a person or a program needs: what was tried, on what, what AWS answered, what to do next.

use std::fmt;
use std::io;

use serde::Serialize;

use crate::model::call::Refused;
use crate::model::cancellation::{CancelReason, Cancellation};
use crate::model::code::Code;

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an action, or the command as a whole, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input is wrong: nothing was sent.
    #[error("{0}")]
    Input(InputError),
    /// AWS, or what stands in for it, answered with an error or could not be reached.
    #[error("{0}")]
    Aws(Box<AwsError>),
    /// The same, of an error that every other item would meet too (no such bucket, say): the run ends with it.
    #[error("{0}")]
    ForAll(Box<AwsError>),
    /// No credentials could be had, or those that there are were turned down.
    #[error("{message}")]
    Credentials {
        /// What was looked for and what was found.
        message: String,
    },
    /// No region was given anywhere.
    #[error("no region: none in --region, AWS_REGION, AWS_DEFAULT_REGION or the profile")]
    NoRegion,
    /// A guard of this program stopped a call before it was sent.
    #[error("{0}")]
    Guard(Refused),
    /// The action itself will not do this, because it would harm who asks; the message says what would make it.
    #[error("refused: {0}")]
    Refused(String),
    /// The person asked said no.
    #[error("not confirmed: nothing was changed")]
    Declined,
    /// A local file or stream.
    #[error("cannot {attempted}: {source}")]
    Io {
        /// What was tried, on what: "read `a.txt`".
        attempted: String,
        /// What the system answered.
        source: io::Error,
    },
    /// What the run does cannot be written down, and what is not written down is not sent.
    #[error("{0}")]
    Journal(String),
    /// Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
    /// `--timeout` ran out.
    #[error("timed out: what was in flight is settled, the rest was not started")]
    TimedOut,
    /// Anything else that an action has to say.
    #[error("{0}")]
    Failed(String),
}

/// A wrong input: which one, and what is wrong with it; and what else is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputError {
    /// The parameter, as documented (`bucket`, `objects[3].Key`), when one is to blame.
    pub field: Option<String>,
    /// A sentence that names the parameter.
    pub message: String,
    /// What to do instead.
    pub hint: Option<String>,
    /// The other mistakes of the same input: all are told at once.
    pub others: Vec<InputError>,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.others.iter().try_for_each(|other| write!(f, "; {other}"))
    }
}

impl InputError {
    /// A mistake that no single parameter is to blame for.
    pub fn new(message: impl Into<String>) -> Self {
        InputError { message: message.into(), ..InputError::default() }
    }

    /// A wrong value of one parameter; the message should name it.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        InputError { field: Some(field.into()), message: message.into(), ..InputError::default() }
    }

    /// With what to do instead.
    pub fn with_hint(self, hint: Option<String>) -> Self {
        InputError { hint, ..self }
    }

    /// Each mistake by itself, the first one first.
    pub fn into_all(mut self) -> Vec<InputError> {
        let others = std::mem::take(&mut self.others);
        std::iter::once(self).chain(others).collect()
    }
}

/// An answer of AWS that is an error, or no answer at all.
#[derive(Debug, Clone)]
pub struct AwsError {
    /// What was tried, on what: "list the objects of `b`".
    pub attempted: String,
    /// AWS's error code (`NoSuchBucket`), or one of ours: `Unreachable`, `TimedOut`, `UnreadableAnswer`.
    pub code: String,
    /// AWS's message, or the chain of causes.
    pub message: String,
    /// The request's id, to quote to AWS support.
    pub request_id: Option<String>,
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.attempted, self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request id {id})"),
            None => Ok(()),
        }
    }
}

/// What an error is, for exit codes and for programs (`--error_format json`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The action failed as a whole: exit code 1.
    Failed,
    /// Bad usage or input: exit code 2.
    Input,
    /// Refused by a guard or by the person asked: exit code 4.
    Refused,
    /// No usable credentials or region: exit code 5.
    Credentials,
    /// Interrupted: exit code 130.
    Interrupted,
}

impl ErrorKind {
    /// The process's exit code for this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Failed => 1,
            ErrorKind::Input => 2,
            ErrorKind::Refused => 4,
            ErrorKind::Credentials => 5,
            ErrorKind::Interrupted => 130,
        }
    }
}

/// Codes by which AWS says that the credentials themselves are no good (common error types of the AWS APIs and of S3).
const BAD_CREDENTIALS: &[&str] = &[
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
];

/// Codes by which AWS says that a request is not of now: every other call of this machine would fail too (common error types of the AWS APIs, and
/// S3's error responses).
const BAD_CLOCK: &[&str] = &["RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"];

/// Codes by which AWS says that the credentials were good, and are too old (common error types of the AWS APIs, and S3's error responses).
const EXPIRED: &[&str] = &["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"];

/// What EC2 says of a request whose credentials have expired, and what is said of one that is signed by a clock that is slow.
const TOO_OLD: &str = "RequestExpired";

/// EC2's code for credentials that are no good, and for a resource that is somebody else's: only its words tell which.
const AUTH_FAILURE: &str = "AuthFailure";

/// Codes by which AWS says that the caller may not do this.
pub(crate) const DENIED: &[&str] =
    &["AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "Client.UnauthorizedOperation"];

/// Codes that ask to come back later, but for those of too many requests (retry behaviour of the AWS SDKs, and S3's error responses).
const TRANSIENT: &[&str] = &[
    "BandwidthLimitExceeded",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "OperationAborted",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "TransactionInProgressException",
];

/// Codes that say nothing but "slower": the request was not carried out.
const THROTTLED: &[&str] = &[
    "EC2ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Words with which a store that is not S3 says, under the code of what is denied, that the signature is wrong or the key id nobody's (Garage 2.5).
const TURNED_DOWN: &[&str] = &["Forbidden: Invalid signature", "Forbidden: No such key: "];

/// How many mistakes of one input are told beside the first.
const MISTAKES_TOLD: usize = 20;

/// Whether an error code means that there were too many requests, and that this one was not carried out.
pub fn is_throttling(code: &str) -> bool {
    THROTTLED.contains(&code)
}

/// Whether an error code means that the same request may succeed a little later.
pub fn is_transient(code: &str) -> bool {
    TRANSIENT.contains(&code) || is_throttling(code)
}

impl Error {
    /// A wrong input that no single parameter is to blame for.
    pub fn input(message: impl Into<String>) -> Self {
        Error::Input(InputError::new(message))
    }

    /// A wrong value of one parameter; the message should name it.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Input(InputError::field(field, message))
    }

    /// All mistakes of an input as one error; none when there are none. What is more than anybody reads is counted only.
    pub fn inputs(mistakes: Vec<InputError>) -> Result<()> {
        let mut mistakes = mistakes.into_iter();
        let Some(first) = mistakes.next() else { return Ok(()) };
        let mut others: Vec<_> = mistakes.by_ref().take(MISTAKES_TOLD).collect();
        let more = mistakes.count();
        if more > 0 {
            others.push(InputError::new(format!("{more} more mistakes like these")));
        }
        Err(Error::Input(InputError { others, ..first }))
    }

    /// A failure of the local system, with what was tried.
    pub fn io(attempted: impl Into<String>, source: io::Error) -> Self {
        Error::Io { attempted: attempted.into(), source }
    }

    /// What sort of error this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Input(_) => ErrorKind::Input,
            Error::Aws(e) | Error::ForAll(e) if e.blames_credentials() => ErrorKind::Credentials,
            Error::Aws(_) | Error::ForAll(_) | Error::Io { .. } | Error::Journal(_) | Error::TimedOut | Error::Failed(_) => {
                ErrorKind::Failed
            }
            Error::Credentials { .. } | Error::NoRegion => ErrorKind::Credentials,
            Error::Guard(_) | Error::Refused(_) | Error::Declined => ErrorKind::Refused,
            Error::Interrupted => ErrorKind::Interrupted,
        }
    }

    /// Whether going on with other items is pointless: the next call would fail the same way.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Error::ForAll(_) | Error::Journal(_)) || !matches!(self.kind(), ErrorKind::Failed | ErrorKind::Input)
    }

    /// The same as an error that ends the run, because every other item would meet it too. Only the service's own module knows of which codes that is so.
    #[must_use]
    pub fn for_all(self) -> Self {
        match self {
            Error::Aws(e) => Error::ForAll(e),
            other => other,
        }
    }

    /// Whether AWS may have done what it was asked, though all that came is an error: an answer can be lost. A refusal has a status of its own (4xx), a
    /// request that was not sent a code of ours, and one that was turned away for now a code that says so.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Error::Aws(e) => {
                e.code != Code::NotSent.as_str() && !is_throttling(&e.code) && e.status.is_none_or(|status| !(400..500).contains(&status))
            }
            _ => false,
        }
    }

    /// The same error once more, when it is one that ends the run: it is said of an item, and of the run.
    pub(crate) fn to_fatal(&self) -> Option<Self> {
        self.is_fatal().then(|| self.again())
    }

    /// The same error once more, for another whom it befalls.
    pub(crate) fn again(&self) -> Self {
        match self {
            Error::Input(e) => Error::Input(e.clone()),
            Error::Aws(e) => Error::Aws(e.clone()),
            Error::ForAll(e) => Error::ForAll(e.clone()),
            Error::Credentials { message } => Error::Credentials { message: message.clone() },
            Error::NoRegion => Error::NoRegion,
            Error::Guard(refused) => Error::Guard(refused.clone()),
            Error::Refused(why) => Error::Refused(why.clone()),
            Error::Declined => Error::Declined,
            // Its kind and its words are all that is made of it.
            Error::Io { attempted, source } => Error::io(attempted, io::Error::new(source.kind(), source.to_string())),
            Error::Journal(what) => Error::Journal(what.clone()),
            Error::Interrupted => Error::Interrupted,
            Error::TimedOut => Error::TimedOut,
            Error::Failed(what) => Error::Failed(what.clone()),
        }
    }

    /// AWS's error code, where AWS answered.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Aws(e) | Error::ForAll(e) => Some(&e.code),
            Error::Guard(_) => Some(Code::Refused.as_str()),
            _ => None,
        }
    }

    /// AWS's request id, where AWS answered.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Error::Aws(e) | Error::ForAll(e) => e.request_id.as_deref(),
            _ => None,
        }
    }

    /// What to do next. `path` is the action that ran (`s3/delete_objects`).
    pub fn hint(&self, path: Option<&str>) -> Option<String> {
        match self {
            Error::Input(e) => e.hint.clone(),
            Error::NoRegion => Some("give --region, or set AWS_REGION".into()),
            Error::Credentials { .. } => {
                Some("sign in (`aws sso login`, `aws login`), choose --profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into())
            }
            Error::Aws(e) | Error::ForAll(e) => e.hint(path),
            _ => None,
        }
    }
}

impl AwsError {
    /// Whether the credentials themselves are no good, so that every other call would fail too.
    fn blames_credentials(&self) -> bool {
        BAD_CREDENTIALS.contains(&self.code.as_str())
            || self.blames_clock()
            || (self.code == AUTH_FAILURE && self.message.contains("credentials"))
            || (self.code == "AccessDenied" && TURNED_DOWN.iter().any(|words| self.message.starts_with(words)))
    }

    /// Whether the time in the request is what is wrong.
    fn blames_clock(&self) -> bool {
        let signed = ["SignatureDoesNotMatch", "InvalidSignatureException"].contains(&self.code.as_str());
        let says = ["Signature expired", "Signature not yet current"].iter().any(|says| self.message.contains(says));
        BAD_CLOCK.contains(&self.code.as_str()) || (signed && says)
    }

    fn hint(&self, path: Option<&str>) -> Option<String> {
        let code = self.code.as_str();
        if code == TOO_OLD {
            return Some("the credentials have expired, or the clock of this machine is wrong: sign in again, or set the clock".into());
        }
        if EXPIRED.contains(&code) {
            return Some("the credentials have expired: sign in again, or choose others with --profile".into());
        }
        if self.blames_clock() {
            return Some("the clock of this machine is wrong, or the request took minutes to arrive: set the clock, and try again".into());
        }
        if self.blames_credentials() {
            return Some("the credentials were turned down: sign in again, or choose others with --profile".into());
        }
        if DENIED.contains(&code) {
            let (service, action) = path?.split_once('/')?;
            return Some(format!("`aaws permissions {service} {action}` prints the IAM policy that this needs"));
        }
        match code {
            "Unreachable" => Some("check the network, --region and --endpoint_url".into()),
            "TimedOut" => Some("try again; AWS may be slow to answer, or the network drops what it sends".into()),
            _ if is_transient(code) => Some("try again later, or with a lower --concurrency".into()),
            _ => None,
        }
    }
}

impl Cancellation {
    /// The error that the run ends with, when it was stopped and that is one.
    pub fn error(&self) -> Option<Error> {
        match self.reason()? {
            CancelReason::Interrupted => Some(Error::Interrupted),
            CancelReason::TimedOut => Some(Error::TimedOut),
            CancelReason::ReportBroken => Some(Error::Failed("the report cannot be written any more: nothing new was started".into())),
            CancelReason::OutputClosed => None,
        }
    }
}
