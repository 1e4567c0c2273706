//! Making what EC2 has no client token for: snapshots, copies of snapshots, images.
//!
//! When an answer is lost, the SDK would send the request again, and there would be two. So it is told not to ([`config`]): what was made is looked for by what
//! only this request says, and the request is sent again only when there is nothing.

use std::future::Future;

use aaws::Backoff;
use aaws::{Context, Error, Result};
use aws_sdk_ec2::config::Builder;
use aws_sdk_ec2::config::retry::RetryConfig;

use super::wait;

/// How often a request is sent before an error that may pass is an answer. With the waits between, for half a minute: a volume of which a snapshot was
/// begun a moment ago is refused another for 15 seconds (EC2 API reference, error codes).
const TRIES: u32 = 9;

/// The same for an error that does not say whether it was carried out: each costs several looks, too.
const UNCLEAR_TRIES: u32 = 3;

/// Codes by which EC2 says that too much of this kind is under way: it is less a little later (EC2 API reference, error codes).
const TOO_MUCH: &[&str] = &["ConcurrentSnapshotLimitExceeded", "ResourceLimitExceeded", "SnapshotCreationPerVolumeRateExceeded"];

/// For a request that the SDK must not send again.
pub fn config() -> Builder {
    aws_sdk_ec2::config::Config::builder().retry_config(RetryConfig::disabled())
}

/// What only one request says: 16 letters and digits.
pub fn token() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// Makes one thing, and gives its id. `send` sends the request with [`config`]; `look` looks for the id of what it made; `by` says for people what it is
/// found by.
pub async fn create_once<S, L>(cx: &Context, by: &str, send: impl Fn() -> S, look: impl Fn() -> L) -> Result<String>
where
    S: Future<Output = Result<String>>,
    L: Future<Output = Result<Option<String>>>,
{
    let mut waits = Backoff::poll();
    let mut tried = 1;
    loop {
        let error = match send().await {
            Err(e) => e,
            id => return id,
        };
        if error.is_ambiguous() {
            match wait::poll_until_visible(&look, Option::is_some).await {
                Ok(Some(id)) => return Ok(id),
                Ok(None) => {}
                Err(e) => {
                    tracing::debug!("whether it was made all the same is not known: {e}");
                    return Err(perhaps(error, by));
                }
            }
        }
        let passes = error.is_ambiguous() || error.code().is_some_and(|code| TOO_MUCH.contains(&code) || aaws::is_transient(code));
        let most = if error.is_ambiguous() { UNCLEAR_TRIES } else { TRIES };
        if !passes || tried >= most || !waits.wait(cx).await {
            return Err(if error.is_ambiguous() { perhaps(error, by) } else { error });
        }
        tracing::debug!("{error}; will be tried again");
        tried += 1;
    }
}

/// An error after which there may be something that nobody knows the id of.
fn perhaps(error: Error, by: &str) -> Error {
    match error {
        Error::Aws(mut e) => {
            e.message = format!("{}; it may be there all the same, {by}", e.message.trim_end_matches('.'));
            Error::Aws(e)
        }
        other => other,
    }
}
