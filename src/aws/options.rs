//! How a session is to be opened: what flags say, and where they say nothing, what the environment and profiles do of the region, of the credentials to begin
//! with, and of the name of a role's session.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;

use crate::aws::credentials::CachedCredentials;
use crate::aws::network::Network;
use crate::aws::profiles::{self, ProfileRoles};
use crate::input::Secret;
use crate::model::error::{Error, Result};
use crate::model::target::{AccountId, Region, RoleArn, SessionName};

/// The variable that names the sessions of roles.
const SESSION_NAME_VARIABLE: &str = "AWS_ROLE_SESSION_NAME";

/// Which target, and how to get there: the common flags.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// `--region`
    pub region: Option<Region>,
    /// `--profile`
    pub profile: Option<String>,
    /// `--role_arn`, in the order of the chain.
    pub role_arns: Vec<RoleArn>,
    /// `--mfa_serial`, for the first role, or for a session of the user's own; else that of the profile.
    pub mfa_serial: Option<String>,
    /// `--mfa_token`; asked for when it is needed and not given.
    pub mfa_token: Option<String>,
    /// Keys to begin with, rather than those of the default chain or the profile.
    pub keys: Option<Keys>,
    /// The name under which roles are assumed, seen in CloudTrail; AWS_ROLE_SESSION_NAME, that of the profile or `aaws` unless given.
    pub session_name: Option<SessionName>,
    /// How long the last role's session lasts; an hour unless given. AWS caps chained roles at an hour.
    pub duration: Option<Duration>,
    /// `--external_id`, for the last role.
    pub external_id: Option<String>,
    /// `--endpoint_url`
    pub endpoint_url: Option<String>,
    /// `--sandbox`: where its files are.
    pub sandbox: Option<PathBuf>,
    /// `--account`: the session is refused unless its credentials are of this account. A sandbox is of none, and is not asked.
    pub account: Option<AccountId>,
}

/// An access key.
#[derive(Debug, Clone)]
pub struct Keys {
    /// `AKIA…` or `ASIA…`
    pub access_key: String,
    /// Its secret.
    pub secret_key: Secret,
    /// For temporary keys.
    pub session_token: Option<Secret>,
}

/// What the flag or the environment says; a variable that is set to nothing is not set.
pub(super) fn session_name(options: &SessionOptions) -> Result<Option<SessionName>> {
    if options.session_name.is_some() {
        return Ok(options.session_name.clone());
    }
    let set = env::var(SESSION_NAME_VARIABLE).ok().filter(|name| !name.is_empty());
    let wrong = |e: String| Error::field("session_name", format!("`session_name`: {SESSION_NAME_VARIABLE}: {e}"));
    set.map(|name| name.parse().map_err(wrong)).transpose()
}

/// A region that is set to nothing is not set; one that is none is an error that says where it was found.
pub(super) async fn find_region(options: &SessionOptions) -> Result<Option<(Region, &'static str)>> {
    if let Some(region) = options.region.as_ref().filter(|region| !region.as_str().is_empty()) {
        return Ok(Some((region.clone(), "--region")));
    }
    let checked = |text: String, source: &'static str| match text.parse() {
        Ok(region) => Ok(Some((region, source))),
        Err(e) => Err(Error::field("region", format!("`region`: {source}: {e}"))),
    };
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        if let Some(region) = env::var(name).ok().filter(|text| !text.trim().is_empty()) {
            return checked(region, name);
        }
    }
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &options.profile {
        profile = profile.profile_name(name);
    }
    match profile.build().region().await {
        Some(region) => checked(region.to_string(), "the profile"),
        None => Ok(None),
    }
}

/// A profile that was named is meant, whatever keys the environment holds: the SDK's chain would take those first. They are fetched once: each client
/// has a cache of its own, and each would ask again.
pub(super) fn base_credentials(
    options: &SessionOptions,
    roles: Option<&ProfileRoles>,
    region: &Region,
    network: &Network,
) -> Result<CachedCredentials> {
    if let Some(keys) = &options.keys {
        let token = keys.session_token.as_ref().map(|t| t.expose().to_owned());
        return Ok(CachedCredentials::fixed(Credentials::new(&keys.access_key, keys.secret_key.expose(), token, None, "aaws-keys")));
    }
    let (region, client) = (aws_config::Region::new(region.to_string()), network.http_client()?);
    let config = move || ProviderConfig::without_region().with_region(Some(region.clone())).with_http_client(client.clone());
    let credentials = match (roles, &options.profile) {
        (Some(roles), _) => roles.base(config),
        (None, Some(name)) => profiles::of_profile(name, config),
        (None, None) => CachedCredentials::new(move || DefaultCredentialsChain::builder().configure(config()).build()),
    };
    Ok(credentials.counted(network))
}

/// The order of the default chain, as far as it can be told from outside.
pub(super) fn base_source(options: &SessionOptions) -> String {
    let set = |name: &str| env::var_os(name).is_some_and(|v| !v.is_empty());
    let of_environment = env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty());
    let source = match (&options.profile, of_environment) {
        _ if options.keys.is_some() => "the keys given",
        (Some(name), _) => return format!("the profile `{name}`"),
        _ if set("AWS_ACCESS_KEY_ID") => "the environment (AWS_ACCESS_KEY_ID)",
        (None, Some(name)) => return format!("the profile `{name}` (AWS_PROFILE)"),
        _ if set("AWS_WEB_IDENTITY_TOKEN_FILE") => "the web identity token (AWS_WEB_IDENTITY_TOKEN_FILE)",
        _ if set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") || set("AWS_CONTAINER_CREDENTIALS_FULL_URI") => "the container's role",
        _ => "the default chain (default profile, or the instance's role)",
    };
    source.to_owned()
}
