use std::borrow::Cow;
use std::time::Duration;

use aaws::{Action, Age, Call, Context, Effect, Error, Example, Grant, Meta, Result, Rule, Secret, Text, When, async_trait};
use aaws::{Keys, Region, RoleArn, SessionName, SessionOptions};
use aws_credential_types::Credentials;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::json;

use super::shell::Shell;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The shortest session that STS opens (STS API reference, AssumeRole and GetSessionToken).
const SHORTEST: Duration = Duration::from_secs(15 * MINUTE);

/// The longest that a role may allow.
const LONGEST_ROLE: Duration = Duration::from_secs(12 * HOUR);

/// The longest for a role that is assumed by a role.
const LONGEST_CHAINED: Duration = Duration::from_secs(HOUR);

/// The longest of GetSessionToken.
const LONGEST_OWN: Duration = Duration::from_secs(36 * HOUR);

/// Print the credentials of a session as commands for a shell.
///
/// The session is that of a profile, of keys, of a role or of a chain of roles, with an MFA device where one is asked for; given none of
/// these, it is what the environment already has. A role is assumed with the credentials that stand beside it: those of `profile`, of the keys,
/// or of the environment. On a terminal the digits of the MFA device are asked for when `mfa_token` is not given.
///
/// The output is meant for the shell:
///
/// ```bash
/// eval "$(aaws sts create_session --role_arn arn:aws:iam::123456789012:role/ops)"
/// ```
///
/// When there is no session, nothing is printed for the shell to run, the reason is on standard error, and the exit code is not 0. Variables
/// that the new session does not have, such as the token of the last one, are unset. The region is set when it came from `region` or from
/// a profile; one that is in the environment already stays there.
///
/// `json` is what `credential_process` in the AWS configuration files takes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// Access key id to begin with.
    pub access_key: Option<String>,
    /// Secret access key that goes with it.
    pub secret_key: Option<Secret>,
    /// Session token, for a temporary key.
    pub session_token: Option<Secret>,
    /// Profile of the AWS configuration files to begin with.
    pub profile: Option<String>,
    /// Role to assume; several are assumed one after another, each with the credentials of the one before it.
    pub role_arn: Option<Roles>,
    /// Serial number or ARN of the MFA device, for the first role or for a session of your own.
    pub mfa_serial: Option<String>,
    /// Six digits that the MFA device shows; asked for on a terminal.
    pub mfa_token: Option<String>,
    /// External id that the last role asks for.
    pub external_id: Option<String>,
    /// How long the session lasts: 15 minutes to 12 hours for a role as far as the role allows it, an hour at most for a chain, 36 hours at most
    /// with `mfa_serial` alone. STS decides when it is not given: an hour for a role, twelve without one.
    pub duration: Option<Age>,
    /// Name of the role's session, seen in CloudTrail; else AWS_ROLE_SESSION_NAME, that of the profile, `aaws`.
    pub session_name: Option<SessionName>,
    /// Region of STS and of the new session; else AWS_REGION, AWS_DEFAULT_REGION, the profile.
    pub region: Option<Region>,
    /// Send requests here rather than to AWS; else AWS_ENDPOINT_URL.
    pub endpoint_url: Option<String>,
    /// What is printed; `powershell` by default on Windows, `sh` elsewhere.
    pub format: Option<Format>,
}

/// What credentials are printed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `export` lines for `eval "$(…)"` in `sh`, `bash`, `zsh`.
    Sh,
    /// `set -gx` lines for `… | source` in `fish`.
    Fish,
    /// `$Env:` lines for `… | Invoke-Expression` in PowerShell.
    Powershell,
    /// `set` lines for a batch file of `cmd.exe`.
    Cmd,
    /// An object for `credential_process` of the AWS configuration files.
    Json,
}

/// One role, or a chain of them.
#[derive(Debug, Clone, Default)]
pub struct Roles(pub Vec<RoleArn>);

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            One(String),
            Chain(Vec<String>),
        }
        let given = Given::deserialize(deserializer).map_err(|_| de::Error::custom("expected the ARN of a role, or a list of them"))?;
        let roles = match given {
            Given::One(role) => vec![role],
            Given::Chain(roles) => roles,
        };
        // An unset variable on the command line leaves the flag without a value: that must not end as a session of somebody else.
        if roles.is_empty() {
            return Err(de::Error::custom("no role is named"));
        }
        roles.iter().map(|role| role.parse()).collect::<Result<_, String>>().map(Roles).map_err(de::Error::custom)
    }
}

impl JsonSchema for Roles {
    fn schema_name() -> Cow<'static, str> {
        "Roles".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["array", "string"], "items": { "type": "string" }, "minItems": 1 })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[async_trait]
impl Action for CreateSession {
    const META: Meta = Meta {
        path: "sts/create_session",
        // With parameters of its own for what the common flags say elsewhere; the session is opened here.
        effect: Effect::Local,
        // The session makes them itself, and has them guarded, logged and counted as any other call.
        calls: &[
            Call::read("sts:AssumeRole", &[Grant::new("sts:AssumeRole", &["${role_arn}"])]).when(When::With(&["role_arn"])),
            // Whoever has long-lived keys may ask for a session of their own (STS API reference).
            Call::read("sts:GetSessionToken", &[]).when(When::Rare("`mfa_serial` is given without `role_arn`")),
        ],
        rules: &[
            Rule::Together(&["access_key", "secret_key"]),
            Rule::Requires("session_token", "access_key"),
            Rule::AtMostOne(&["profile", "access_key"]),
            Rule::Requires("external_id", "role_arn"),
        ],
        examples: &[
            Example {
                title: "Assume a role for half an hour",
                input: r#"{"role_arn": ["arn:aws:iam::123456789012:role/ops"], "duration": "30m", "format": "sh"}"#,
                output: r#""export AWS_ACCESS_KEY_ID='ASIAEXAMPLE';\nexport AWS_SECRET_ACCESS_KEY='secret';\nexport AWS_SESSION_TOKEN='token';\nexport AWS_CREDENTIAL_EXPIRATION='2024-01-31T08:30:00Z';\n""#,
                given: &["role arn:aws:iam::123456789012:role/ops"],
            },
            Example {
                title: "Go from role to role, for `credential_process`",
                input: r#"{"role_arn": ["arn:aws:iam::123456789012:role/hub", "arn:aws:iam::210987654321:role/spoke"], "session_name": "alice", "format": "json"}"#,
                output: r#""{\"Version\":1,\"AccessKeyId\":\"ASIAEXAMPLE\",\"SecretAccessKey\":\"secret\",\"SessionToken\":\"token\",\"Expiration\":\"2024-01-31T08:30:00Z\"}\n""#,
                given: &["role arn:aws:iam::123456789012:role/hub", "role arn:aws:iam::210987654321:role/spoke"],
            },
        ],
        notes: &[
            "Credentials are printed as they are, and not tried: `aaws sts whoami` tells whether they work and whose they are.",
            "Roles are assumed under the session name `aaws` unless another is given: give your own for CloudTrail to tell people apart.",
            "`mfa_token` and `session_name` need something to be for: a device or a role that is given, or a profile that names one.",
            "Session tags, source identities and the `ini` format are not offered.",
            "`eval` of nothing succeeds: in a script, `session=\"$(aaws sts create_session …)\" && eval \"$session\"` stops on a failure.",
            "The secret key and the token are better given as `env:NAME`, `@FILE` or `-` than on the command line, where others see them.",
            "Other actions take `--profile` and `--role_arn` themselves: nothing has to be exported for them.",
            "Each role of a chain has to be allowed to assume the next one; STS caps the sessions of chained roles at an hour.",
            "AWS_PROFILE stays as it is. Some programs prefer it to keys in the environment: `aaws sts clear_session --profile` unsets it.",
            "`cmd.exe` has no way to run another program's output; in a batch file: `for /f \"delims=\" %%l in ('aaws sts create_session …') do %%l`.",
        ],
    };

    type Output = Text;

    async fn run(self, cx: &Context) -> Result<Text> {
        let format = self.format;
        let cx = cx.with_session(cx.open_session(&self.options()?).await?);
        let (session, credentials) = (cx.session(), cx.credentials().await?);
        let shell = match format {
            Some(Format::Json) => return Ok(Text(for_process(&credentials))),
            Some(Format::Sh) => Shell::Sh,
            Some(Format::Fish) => Shell::Fish,
            Some(Format::Powershell) => Shell::Powershell,
            Some(Format::Cmd) => Shell::Cmd,
            None => Shell::default(),
        };
        // What is in the environment needs no export; whatever else named the region is not seen by the next program.
        let region = session.region().filter(|_| !session.region_source().starts_with("AWS_")).map(Region::as_str);
        for_shell(shell, &credentials, region).map(Text)
    }
}

aaws::register!(CreateSession);

impl CreateSession {
    /// As the common flags of other actions would have it.
    fn options(self) -> Result<SessionOptions> {
        let roles = self.role_arn.map(|r| r.0).unwrap_or_default();
        let filled = [("access_key", &self.access_key), ("profile", &self.profile), ("mfa_serial", &self.mfa_serial)];
        let secret = |s: &Option<Secret>| s.as_ref().is_some_and(|s| s.expose().is_empty());
        let empty = filled.iter().find(|(_, v)| v.as_deref() == Some("")).map(|(name, _)| *name);
        let empty = empty.or_else(|| secret(&self.secret_key).then_some("secret_key"));
        if let Some(name) = empty.or_else(|| secret(&self.session_token).then_some("session_token")) {
            return Err(Error::field(name, format!("`{name}` is empty")));
        }
        if let Some(token) = &self.mfa_token
            && !(token.len() == 6 && token.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(Error::field("mfa_token", "`mfa_token` takes the six digits that the MFA device shows"));
        }
        // A profile may name a device or a role of its own.
        if self.mfa_token.is_some() && self.mfa_serial.is_none() && self.profile.is_none() {
            return Err(Error::field("mfa_token", "`mfa_token` goes only with `mfa_serial`, or with a `profile` that names a device"));
        }
        if self.session_name.is_some() && roles.is_empty() && self.profile.is_none() {
            return Err(Error::field("session_name", "`session_name` goes only with `role_arn`, or with a `profile` that names a role"));
        }
        if let Some(url) = &self.endpoint_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            // What was given is not repeated: a password may stand in it.
            return Err(Error::field("endpoint_url", "`endpoint_url` takes an address that begins with http:// or https://"));
        }
        let duration = self.duration.map(Age::duration);
        check_duration(duration, roles.len(), self.mfa_serial.is_some())?;
        let keys = match (self.access_key, self.secret_key) {
            (Some(access_key), Some(secret_key)) => Some(Keys { access_key, secret_key, session_token: self.session_token }),
            _ => None,
        };
        Ok(SessionOptions {
            region: self.region,
            profile: self.profile,
            role_arns: roles,
            mfa_serial: self.mfa_serial,
            mfa_token: self.mfa_token,
            keys,
            session_name: self.session_name,
            duration,
            external_id: self.external_id,
            endpoint_url: self.endpoint_url,
            sandbox: None,
            account: None,
        })
    }
}

/// What STS would refuse anyway, said before anything is sent.
fn check_duration(duration: Option<Duration>, roles: usize, mfa: bool) -> Result<()> {
    let Some(duration) = duration else { return Ok(()) };
    let (longest, what) = match roles {
        0 if !mfa => return Err(Error::field("duration", "`duration` goes only with `role_arn` or `mfa_serial`")),
        0 => (LONGEST_OWN, "15 minutes to 36 hours without a role"),
        1 => (LONGEST_ROLE, "15 minutes to 12 hours for a role"),
        _ => (LONGEST_CHAINED, "15 minutes to an hour for a chain of roles"),
    };
    if (SHORTEST..=longest).contains(&duration) {
        return Ok(());
    }
    Err(Error::field("duration", format!("`duration` takes {what}")))
}

/// Statements that set what the session has and unset what it has not.
fn for_shell(shell: Shell, credentials: &Credentials, region: Option<&str>) -> Result<String> {
    let expiration = expiration(credentials);
    let variables = [
        ("AWS_ACCESS_KEY_ID", Some(credentials.access_key_id())),
        ("AWS_SECRET_ACCESS_KEY", Some(credentials.secret_access_key())),
        ("AWS_SESSION_TOKEN", credentials.session_token()),
        ("AWS_CREDENTIAL_EXPIRATION", expiration.as_deref()),
    ];
    let mut text = String::new();
    for (name, value) in variables {
        match value {
            Some(value) => text.push_str(&shell.set(name, value)?),
            None => text.push_str(&shell.unset(name)),
        }
    }
    // Some SDKs read the one, some the other.
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        if let Some(region) = region {
            text.push_str(&shell.set(name, region)?);
        }
    }
    Ok(text)
}

/// The output that the AWS SDKs expect of a `credential_process` (SDKs and tools reference guide).
fn for_process(credentials: &Credentials) -> String {
    let mut object = json!({
        "Version": 1,
        "AccessKeyId": credentials.access_key_id(),
        "SecretAccessKey": credentials.secret_access_key(),
    });
    if let Some(token) = credentials.session_token() {
        object["SessionToken"] = token.into();
    }
    if let Some(expiration) = expiration(credentials) {
        object["Expiration"] = expiration.into();
    }
    format!("{object}\n")
}

/// When credentials expire, RFC 3339 in UTC, where that is known.
pub(super) fn expiration(credentials: &Credentials) -> Option<String> {
    let expiry = jiff::Timestamp::try_from(credentials.expiry()?).ok()?;
    Some(format!("{expiry:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_token_is_unset() {
        let keys = Credentials::new("AKIA", "s/+'", None, None, "test");
        let text = for_shell(Shell::Sh, &keys, Some("eu-west-1")).unwrap_or_default();
        assert_eq!(
            text,
            "export AWS_ACCESS_KEY_ID='AKIA';\nexport AWS_SECRET_ACCESS_KEY='s/+'\\''';\nunset AWS_SESSION_TOKEN;\n\
             unset AWS_CREDENTIAL_EXPIRATION;\nexport AWS_REGION='eu-west-1';\nexport AWS_DEFAULT_REGION='eu-west-1';\n"
        );
    }
}
