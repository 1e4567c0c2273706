//! What the actions that change users share.

use std::future::Future;
use std::time::Duration;

use aaws::{Backoff, Code, Context, Error, Failure, Outcome, Policy, Result, Secret};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::de::{self, Deserialize, Deserializer};
use serde_json::{Map, Value};

/// How often an undoing step is tried that IAM asks to try later.
const TRIES: u32 = 6;

/// The waits between its tries.
const UNSETTLED: Policy = Policy { first: Duration::from_millis(200), longest: Duration::from_secs(10), factor: 2.0, jitter: 0.0 };

/// A user of any path: an ARN holds the path, which the inputs do not tell.
macro_rules! users {
    ($input:literal) => {
        &[
            concat!("arn:${Partition}:iam::${Account}:user/${", $input, "}"),
            concat!("arn:${Partition}:iam::${Account}:user/*/${", $input, "}"),
        ]
    };
}
pub(super) use users;

/// The ARN of a policy that AWS manages, in the partition of the region.
pub(super) fn aws_policy(cx: &Context, name: &str) -> String {
    format!("arn:{}:iam::aws:policy/{name}", aaws::partition(cx.region()))
}

/// IAM's code for what does not exist.
pub(super) const NO_SUCH_ENTITY: &str = "NoSuchEntity";

/// Whether IAM says that there is no such thing.
pub(super) fn is_missing(error: &Error) -> bool {
    error.code() == Some(NO_SUCH_ENTITY)
}

/// Whether IAM says that the caller may not do this.
pub(super) fn is_denied(error: &Error) -> bool {
    matches!(error.code(), Some("AccessDenied" | "AccessDeniedException"))
}

/// An error as an item's. IAM cannot change for a while what was created or changed just now (EntityTemporarilyUnmodifiable): that is worth
/// another try, and the SDK makes none; so is what it did not send again because it was told not to.
pub(super) fn failure(error: &Error) -> Failure {
    let failure = Failure::from(error);
    Failure { transient: is_unsettled(error) || error.code().is_some_and(aaws::is_transient), ..failure }
}

fn is_unsettled(error: &Error) -> bool {
    matches!(error.code(), Some("EntityTemporarilyUnmodifiable" | "ConcurrentModification"))
}

/// An error that one item has, or else one that all would have.
pub(super) fn per_item<T>(result: Result<T>) -> Result<Result<T, Failure>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(e) if e.is_fatal() => Err(e),
        Err(e) => Ok(Err(failure(&e))),
    }
}

/// What a failure comes to when what it is about may not exist: `NotFound`, or with `ignored` nothing to do.
pub(super) fn not_found_or<D>(failure: Failure, ignored: bool, what: impl Into<String>) -> Outcome<D> {
    if failure.code == NO_SUCH_ENTITY || failure.code == Code::NotFound.as_str() {
        Outcome::not_found(ignored, what)
    } else {
        Outcome::Failed(failure)
    }
}

/// One element of a list that has to be an object. No error quotes what was given: it may be a secret in the wrong place.
pub(super) struct Members(Map<String, Value>);

impl Members {
    /// `named` is the member that it has to have.
    pub fn read<'de, D: Deserializer<'de>>(deserializer: D, named: &str) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(members) => Ok(Members(members)),
            _ => Err(de::Error::custom(format!("expected an object with the member `{named}`, and something else was given"))),
        }
    }

    /// Text that has to be there, and not empty.
    pub fn required<E: de::Error>(&mut self, name: &'static str, alias: &str) -> Result<String, E> {
        match self.take(name, alias) {
            None => Err(E::missing_field(name)),
            Some(Value::String(text)) if text.is_empty() => Err(E::custom(format!("`{name}` is empty"))),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(E::custom(format!("`{name}` is no string"))),
        }
    }

    /// Text that may be missing, or null.
    pub fn optional<E: de::Error>(&mut self, name: &'static str, alias: &str) -> Result<Option<String>, E> {
        match self.take(name, alias) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(E::custom(format!("`{name}` is no string"))),
        }
    }

    fn take(&mut self, name: &str, alias: &str) -> Option<Value> {
        self.0.remove(name).or_else(|| self.0.remove(alias))
    }
}

/// Why a name cannot be a user's. IAM takes a request without a user name for one about the caller, so an empty one must never get there; reports
/// list the root user as `<root_account>`, and no API changes that one.
pub(super) fn not_a_user(name: &str) -> Option<Failure> {
    let legal = |c: char| c.is_alphanumeric() || "_+=,.@-".contains(c);
    let told = match name {
        "" => "the user name is empty",
        "<root_account>" => "the root user cannot be changed through IAM",
        name if !name.chars().all(legal) => "no user can have such a name",
        _ => return None,
    };
    Some(Failure::permanent("InvalidUserName", told))
}

/// Reads about many things, some at once, in their order. Nothing was changed yet: cancellation ends it.
pub(super) async fn look_up<I, T, F>(cx: &Context, items: Vec<I>, read: impl Fn(I) -> F + Send) -> Result<Vec<T>>
where
    I: Send,
    T: Send,
    F: Future<Output = Result<T>> + Send,
{
    let cancellation = cx.cancellation().clone();
    let reads = stream::iter(items).map(read).buffered(cx.concurrency()).take_until(async move { cancellation.cancelled().await });
    let found = reads.try_collect().await?;
    if cx.cancellation().is_cancelled() {
        return Err(cx.cancellation().error().unwrap_or(Error::Interrupted));
    }
    Ok(found)
}

/// Tries again while IAM says that it cannot change this now. What undoes a step goes on when the run is stopped.
pub(super) async fn patiently<T, F: Future<Output = Result<T>> + Send>(attempt: impl Fn() -> F + Send) -> Result<T> {
    let mut backoff = Backoff::with(UNSETTLED);
    for _ in 1..TRIES {
        match attempt().await {
            Err(e) if is_unsettled(&e) => backoff.pause().await,
            other => return other,
        }
    }
    attempt().await
}

/// An error without a secret that whoever answered may have put into it.
pub(super) fn veiled(error: Error, secret: &Secret) -> Error {
    match error {
        Error::Aws(mut e) => {
            // The start of a body that is not IAM's may be cut anywhere, in a secret too.
            e.message =
                if e.code == "UnreadableAnswer" { "the answer is not IAM's".into() } else { e.message.replace(secret.expose(), "…") };
            Error::Aws(e)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_user_has() {
        assert!(not_a_user("alice+ops=x,y.z@example.com-_1").is_none());
        for name in ["", "<root_account>", "a b", "a/b", "a*"] {
            assert_eq!(not_a_user(name).map(|f| f.code), Some("InvalidUserName".into()), "{name:?}");
        }
    }
}
