use aaws::{Action, Context, Effect, Example, Meta, Result, Text, async_trait};
use schemars::JsonSchema;
use serde::Deserialize;

use super::shell::Shell;

/// The variables that hold credentials.
const CREDENTIALS: &[&str] = &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION"];

/// The variables that name a profile.
const PROFILE: &[&str] = &["AWS_PROFILE", "AWS_DEFAULT_PROFILE"];

/// The variables that name a region.
const REGION: &[&str] = &["AWS_REGION", "AWS_DEFAULT_REGION"];

/// Print commands for a shell that unset the credentials of a session.
///
/// The counterpart of `create_session`:
///
/// ```bash
/// eval "$(aaws sts clear_session)"
/// ```
///
/// A session does not end by that: whoever has its credentials can use them until they expire.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClearSession {
    /// The shell to print for; `powershell` by default on Windows, `sh` elsewhere.
    pub format: Option<Shell>,
    /// Unset AWS_PROFILE and AWS_DEFAULT_PROFILE too.
    #[serde(default)]
    pub profile: bool,
    /// Unset AWS_REGION and AWS_DEFAULT_REGION too, which `create_session` may have set.
    #[serde(default)]
    pub region: bool,
}

#[async_trait]
impl Action for ClearSession {
    const META: Meta = Meta {
        path: "sts/clear_session",
        effect: Effect::Local,
        calls: &[],
        rules: &[],
        examples: &[
            Example {
                title: "Unset the credentials in `sh`",
                input: r#"{"format": "sh"}"#,
                output: r#""unset AWS_ACCESS_KEY_ID;\nunset AWS_SECRET_ACCESS_KEY;\nunset AWS_SESSION_TOKEN;\nunset AWS_CREDENTIAL_EXPIRATION;\n""#,
                given: &[],
            },
            Example {
                title: "Unset the credentials and the profile in `fish`",
                input: r#"{"format": "fish", "profile": true}"#,
                output: r#""set -e AWS_ACCESS_KEY_ID;\nset -e AWS_SECRET_ACCESS_KEY;\nset -e AWS_SESSION_TOKEN;\nset -e AWS_CREDENTIAL_EXPIRATION;\nset -e AWS_PROFILE;\nset -e AWS_DEFAULT_PROFILE;\n""#,
                given: &[],
            },
        ],
        notes: &[
            "`create_session` does not set AWS_PROFILE, so it is unset only with `profile`.",
            "The shell cannot be told from the operating system: name it with `format` where the default is not yours.",
            "In `fish`: `aaws sts clear_session --format fish | source`; in PowerShell: `aaws sts clear_session --format powershell | Invoke-Expression`.",
        ],
    };

    type Output = Text;

    async fn run(self, _: &Context) -> Result<Text> {
        let shell = self.format.unwrap_or_default();
        let names = CREDENTIALS.iter().chain(PROFILE.iter().filter(|_| self.profile)).chain(REGION.iter().filter(|_| self.region));
        Ok(Text(names.map(|name| shell.unset(name)).collect()))
    }
}

aaws::register!(ClearSession);
