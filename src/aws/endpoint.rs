//! Where requests go, as plans and journals have it: what was looked at in one place must not be changed in another, though the account may have the same
//! number there.

use std::net::IpAddr;
use std::path::{Path, absolute};

/// What stands for AWS itself.
pub const AWS: &str = "aws";

/// What stands before the folder of a sandbox; in plans of earlier programs it stands alone.
const SANDBOX: &str = "sandbox";

/// A sandbox in a folder.
pub fn of_sandbox(dir: &Path) -> String {
    let whole = dir.canonicalize().or_else(|_| absolute(dir)).unwrap_or_else(|_| dir.to_owned());
    format!("{SANDBOX} {}", whole.display())
}

/// Scheme and host of an address: what stands before or behind the host may be secret.
pub fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = authority(rest.rsplit('@').next().unwrap_or_default());
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_scheme { format!("{scheme}://{host}") } else { host.to_owned() }
}

/// What stands before the path of an address.
pub fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Whether an address is this machine's own.
pub fn is_loopback(uri: &str) -> bool {
    let authority = uri.split_once("://").map_or(uri, |(_, rest)| rest).split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let name = match host.strip_prefix('[') {
        Some(address) => address.split(']').next(),
        None => host.split(':').next(),
    };
    let is_own = |name: &str| name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    name.is_some_and(is_own)
}

/// Whether two of them are one. A test server takes another port of this machine each time that it is started: where it `tells_accounts`, these are
/// compared, and the port is not.
pub fn is_same(there: &str, here: &str, tells_accounts: bool) -> bool {
    let is_url = |endpoint: &str| endpoint.contains("://") && is_loopback(endpoint);
    let is_some_sandbox = || there == SANDBOX && here.split(' ').next() == Some(SANDBOX);
    there == here || is_some_sandbox() || (tells_accounts && is_url(there) && is_url(here))
}

/// For people.
pub fn in_words(endpoint: &str) -> String {
    match endpoint.split_once(' ') {
        Some((SANDBOX, dir)) => format!("the sandbox in `{dir}`"),
        _ if endpoint == AWS => "AWS itself".to_owned(),
        _ if endpoint == SANDBOX => "a sandbox".to_owned(),
        _ => format!("`{endpoint}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_known_by_its_names() {
        for own in ["http://127.0.0.1:80/x", "http://localhost:9000", "http://[::1]:80/", "http://localhost?x"] {
            assert!(is_loopback(own), "{own}");
        }
        for other in [
            "https://s3.amazonaws.com/127.0.0.1",
            "http://localhost.example.com/",
            "http://127.example.com:80/",
            "http://127.0.0.1.example.com",
            "http://10.0.0.1/",
        ] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn another_endpoint_is_another_place() {
        for (there, here, tells_accounts, same) in [
            (AWS, AWS, true, true),
            (AWS, "http://127.0.0.1:4566", true, false),
            ("http://127.0.0.1:4566", AWS, true, false),
            ("http://127.0.0.1:4566", "http://localhost:4567", true, true),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9001", false, false),
            ("https://s3.example.com", "https://s3.example.com", false, true),
            ("https://s3.example.com", "https://s3.example.org", true, false),
            ("sandbox /a", "sandbox /a", false, true),
            ("sandbox /a", "sandbox /b", false, false),
            ("sandbox /a", AWS, false, false),
            ("sandbox", "sandbox /a b", false, true),
            ("sandbox", AWS, false, false),
        ] {
            assert_eq!(is_same(there, here, tells_accounts), same, "{there}, {here}");
        }
        assert_eq!(in_words("sandbox /a b"), "the sandbox in `/a b`");
    }
}
