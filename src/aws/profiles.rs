//! Roles that profiles name. The SDK's own reader knows no MFA device, no length of a session and none of our logs, so a profile with a `role_arn` is
//! read here, and its roles are assumed as those of `--role_arn` are. Everything else of a profile (keys, single sign-on, a process, a login) is the
//! SDK's to read, and so is every profile that is not in order: it says what is wrong with it.

use std::env;
use std::future::ready;
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::{Profile, ProfileFileCredentialsProvider, ProfileSet};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_types::os_shim_internal::{Env, Fs};

use crate::aws::credentials::CachedCredentials;
use crate::model::error::{Error, Result};
use crate::model::target::{RoleArn, SessionName};

/// A role on the way to the credentials, and how it is assumed.
#[derive(Debug, Clone)]
pub(super) struct RoleStep {
    pub role: RoleArn,
    pub session_name: Option<SessionName>,
    pub external_id: Option<String>,
    pub duration: Option<Duration>,
    /// Serial number or ARN of an MFA device.
    pub mfa_serial: Option<String>,
}

/// The roles of a profile, in the order in which they are assumed, and the credentials to begin with.
#[derive(Debug)]
pub(super) struct ProfileRoles {
    base: Base,
    pub roles: Vec<RoleStep>,
}

/// Whose credentials the first role is assumed with.
#[derive(Debug)]
enum Base {
    /// The keys in a profile.
    Keys(Credentials),
    /// Whatever else a profile has.
    Profile(String),
    /// `credential_source`
    Named(Source),
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Environment,
    Instance,
    Container,
}

impl ProfileRoles {
    /// Of the profile that is in force: `named`, else that of AWS_PROFILE, else `default`, unless keys in the environment come before it. None when
    /// it names no role.
    pub async fn find(named: Option<&str>) -> Result<Option<Self>> {
        if named.is_none() && has_keys_in_environment() {
            return Ok(None);
        }
        let named = named.map(|name| name.to_owned().into());
        // A file that cannot be read is the SDK's to tell of.
        match aws_config::profile::load(&Fs::real(), &Env::real(), &Default::default(), named).await {
            Ok(profiles) => of_set(&profiles),
            Err(_) => Ok(None),
        }
    }

    /// The credentials to begin with. `config` is made anew for whoever reads a profile anew.
    pub fn base(&self, config: impl Fn() -> ProviderConfig + Send + Sync + 'static) -> CachedCredentials {
        match &self.base {
            Base::Keys(keys) => CachedCredentials::fixed(keys.clone()),
            Base::Profile(name) => of_profile(name, config),
            Base::Named(Source::Environment) => CachedCredentials::new(|| ready(EnvironmentVariableCredentialsProvider::new())),
            Base::Named(Source::Instance) => {
                CachedCredentials::new(move || ready(ImdsCredentialsProvider::builder().configure(&config()).build()))
            }
            Base::Named(Source::Container) => {
                CachedCredentials::new(move || ready(EcsCredentialsProvider::builder().configure(&config()).build()))
            }
        }
    }
}

/// The credentials of a profile that names no role.
pub(super) fn of_profile(name: &str, config: impl Fn() -> ProviderConfig + Send + Sync + 'static) -> CachedCredentials {
    let name = name.to_owned();
    CachedCredentials::new(move || ready(ProfileFileCredentialsProvider::builder().configure(&config()).profile_name(&name).build()))
}

/// As the SDK's chain has it: both have to be there.
fn has_keys_in_environment() -> bool {
    let set = |name: &str| env::var(name).is_ok_and(|value| !value.trim().is_empty());
    set("AWS_ACCESS_KEY_ID") && (set("AWS_SECRET_ACCESS_KEY") || set("SECRET_ACCESS_KEY"))
}

/// The roles from the selected profile on, by `source_profile`. None when there are none, and when something is wrong with them.
fn of_set(profiles: &ProfileSet) -> Result<Option<ProfileRoles>> {
    let mut name = profiles.selected_profile();
    let (mut visited, mut roles) = (Vec::new(), Vec::new());
    let base = loop {
        let Some(profile) = profiles.get_profile(name).filter(|_| !visited.contains(&name)) else { return Ok(None) };
        // Of the keys and the role of a source profile, the keys are meant; of the profile asked for, the role.
        if !visited.is_empty()
            && let Some(keys) = keys(profile)
        {
            break Base::Keys(keys);
        }
        visited.push(name);
        let Some(role) = role(profile)? else { break Base::Profile(name.to_owned()) };
        roles.push(role);
        match (profile.get("source_profile"), profile.get("credential_source")) {
            (Some(source), None) if source == name => match keys(profile) {
                Some(keys) => break Base::Keys(keys),
                None => return Ok(None),
            },
            (Some(source), None) => name = source,
            (None, Some("Environment")) => break Base::Named(Source::Environment),
            (None, Some("Ec2InstanceMetadata")) => break Base::Named(Source::Instance),
            (None, Some("EcsContainer")) => break Base::Named(Source::Container),
            _ => return Ok(None),
        }
    };
    roles.reverse();
    Ok((!roles.is_empty()).then_some(ProfileRoles { base, roles }))
}

/// What a profile says of its role. A role that is assumed with a web identity token is the SDK's.
fn role(profile: &Profile) -> Result<Option<RoleStep>> {
    let Some(role) = profile.get("role_arn").filter(|_| profile.get("web_identity_token_file").is_none()) else { return Ok(None) };
    let wrong = |key: &str, what: String| Error::Credentials { message: format!("the profile `{}`: `{key}`: {what}", profile.name()) };
    let session_name = profile.get("role_session_name").map(str::parse::<SessionName>).transpose();
    let seconds = profile
        .get("duration_seconds")
        .map(|text| text.parse::<u64>().map_err(|_| format!("`{text}` is no number of seconds")))
        .transpose();
    Ok(Some(RoleStep {
        role: role.parse::<RoleArn>().map_err(|e| wrong("role_arn", e))?,
        session_name: session_name.map_err(|e| wrong("role_session_name", e))?,
        external_id: profile.get("external_id").map(str::to_owned),
        duration: seconds.map_err(|e| wrong("duration_seconds", e))?.map(Duration::from_secs),
        mfa_serial: profile.get("mfa_serial").filter(|serial| !serial.is_empty()).map(str::to_owned),
    }))
}

fn keys(profile: &Profile) -> Option<Credentials> {
    let (key, secret) = (profile.get("aws_access_key_id")?, profile.get("aws_secret_access_key")?);
    let token = profile.get("aws_session_token").map(str::to_owned);
    Some(Credentials::new(key, secret, token, None, "aaws-profile"))
}
