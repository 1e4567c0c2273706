use aaws::{Action, Call, Check, Context, Effect, Example, Listing, Meta, Result, When, async_trait};
use aws_sdk_iam::types::User;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{Findings, GET_LOGIN_PROFILE, Iam, Inspect, LIST_MFA_DEVICES, LIST_USERS, inspect_users};
use super::report::{GENERATE_CREDENTIAL_REPORT, GET_CREDENTIAL_REPORT, HOURS_OLD, ROOT, Row, Source};
use super::threshold::text;

/// A password is asked for only when it matters.
const GET_LOGIN_PROFILE_OF_SOME: Call = GET_LOGIN_PROFILE.when(When::Without(&["all_users"]));

/// Find users who can sign in to the console without an MFA device.
///
/// Users without a console password are left out, as MFA would not protect their keys; `all_users` reports them too.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverNoMfaUsers {
    /// Also users without a console password.
    #[serde(default)]
    pub all_users: bool,
    /// Where to begin. Only the report tells of the root user.
    #[serde(default)]
    pub source: Source,
}

/// A user without an MFA device.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct NoMfaUser {
    /// Name of the user; `<root_account>` for the root user, who is found by the report only.
    user_name: String,
    /// When the user last signed in with a password, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_last_used: Option<String>,
}

#[async_trait]
impl Action for DiscoverNoMfaUsers {
    const META: Meta = Meta {
        path: "iam/discover_no_mfa_users",
        effect: Effect::Read,
        calls: &[LIST_USERS, LIST_MFA_DEVICES, GET_LOGIN_PROFILE_OF_SOME, GENERATE_CREDENTIAL_REPORT, GET_CREDENTIAL_REPORT],
        rules: &[],
        examples: &[
            Example {
                title: "Find the users who sign in to the console without MFA",
                input: "{}",
                output: r#"[{"UserName": "alice"}]"#,
                given: &["user:alice/console", "user:bob", "user:carol/console", "user:carol/mfa"],
            },
            Example {
                title: "Find all users without MFA, those without a console password too",
                input: r#"{"all_users": true}"#,
                output: r#"[{"UserName": "alice"}, {"UserName": "bob"}]"#,
                given: &["user:alice/console", "user:bob", "user:carol/console", "user:carol/mfa"],
            },
        ],
        notes: &[
            super::GLOBAL,
            HOURS_OLD,
            "The root user is no IAM user: only the credential report tells of its MFA, and other actions fail for the name `<root_account>`, which they cannot change.",
            "Users who come in through a role or an identity provider are not IAM users, and not looked at.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["UserName"];
    const OVERVIEW: &'static [Check] = &[Check {
        title: "Users who sign in to the console without MFA",
        input: "{}",
        since: None,
        // The users are to get MFA, which only they can: without their passwords, which do not come back, they were locked out instead.
        mend: None,
    }];

    type Output = Listing<NoMfaUser>;

    async fn run(self, cx: &Context) -> Result<Listing<NoMfaUser>> {
        let iam = Iam::new(cx);
        let survey = iam.survey(self.source).await?;
        Ok(Listing::produce(cx, |cx, mut out| async move {
            if let Some(root) = survey.report().and_then(|report| report.root())
                && self.worth(cx.now(), root)
            {
                let password_last_used = root.password_last_used.as_ref().and_then(text);
                out.send(NoMfaUser { user_name: ROOT.to_owned(), password_last_used }).await?;
            }
            inspect_users(&iam, self, survey, &mut out).await
        }))
    }
}

aaws::register!(DiscoverNoMfaUsers);

#[async_trait]
impl Inspect for DiscoverNoMfaUsers {
    type Finding = NoMfaUser;

    fn worth(&self, _: Timestamp, row: &Row) -> bool {
        row.mfa_active != Some(true) && (self.all_users || row.password_enabled != Some(false))
    }

    async fn inspect(&self, iam: &Iam, user: &User, row: Option<&Row>, findings: &mut Findings<NoMfaUser>) -> Result<()> {
        let name = user.user_name();
        // Whom the report suspects is likely to have a password and no device: both are asked for at once. Of all others few have none.
        let (has_mfa, profile) = match row {
            Some(_) if !self.all_users => {
                let (has_mfa, profile) = futures::join!(iam.has_mfa(name), iam.login_profile(name));
                (has_mfa, Some(profile))
            }
            _ => (iam.has_mfa(name).await, None),
        };
        if has_mfa? != Some(false) {
            return Ok(());
        }
        let has_password = match profile {
            Some(profile) => profile?.is_some(),
            None => self.all_users || iam.login_profile(name).await?.is_some(),
        };
        if has_password {
            let password_last_used = user.password_last_used().and_then(text);
            findings.push(NoMfaUser { user_name: name.to_owned(), password_last_used });
        }
        Ok(())
    }
}
