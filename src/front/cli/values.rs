//! Values as flags and settings have them: text that is checked.

use std::str::FromStr;

use crate::aws::endpoint::authority;
pub use crate::aws::endpoint::without_secrets;
use crate::engine::run::Concurrency;
use crate::model::error::{Error, InputError, Result};

/// A value of a type that says itself what is wrong with a text.
pub fn parsed<T: FromStr<Err = String>>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|e| Error::field(name, format!("`{name}`: {e}")))
}

/// A whole number, which may be zero.
pub fn whole(name: &str, text: &str) -> Result<u64> {
    text.parse().map_err(|_| Error::field(name, format!("`{name}` takes a whole number, not `{text}`")))
}

/// As many requests as a text says.
pub fn concurrency(text: &str) -> Result<Concurrency> {
    Concurrency::try_from(text.parse().unwrap_or(0_usize)).map_err(|e| match e {
        // The number as it was typed, which may be none.
        Error::Input(e) => Error::Input(InputError { message: e.message.replace("not `0`", &format!("not `{text}`")), ..e }),
        other => other,
    })
}

/// An address that requests can be sent to.
pub fn endpoint(url: String) -> Result<String> {
    let wrong = |what: &str| Err(Error::field("endpoint_url", format!("`endpoint_url` takes {what}: `{}`", without_secrets(&url))));
    match url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) {
        None => wrong("an address that begins with http:// or https://, which this does not"),
        // Nobody would get them: requests are signed with the credentials of the session.
        Some(rest) if authority(rest).contains('@') => wrong("an address without a user and a password before its host"),
        Some(_) => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_of_an_address_is_shown() {
        for (url, shown) in [
            ("htps://user:hunter2@host:1/path?token=x", "htps://host:1"),
            ("user:hunter2@host", "host"),
            ("http://user:hun/ter2@host/", "http://host"),
            ("user:hunter2@a://b", "b"),
            ("http://localhost:4566/a", "http://localhost:4566"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
        assert!(endpoint("http://user:hunter2@host".into()).is_err_and(|e| !e.to_string().contains("hunter2")));
        assert!(endpoint("http://host/a@b".into()).is_ok());
    }
}
