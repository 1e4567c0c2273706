use aaws::{Action, Context, Effect, Example, Listing, Meta, Result, async_trait};
use aws_sdk_iam::types::User;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{Findings, GET_LOGIN_PROFILE, Iam, Inspect, LIST_USERS, inspect_users};
use super::report::{GENERATE_CREDENTIAL_REPORT, GET_CREDENTIAL_REPORT, HOURS_OLD, Row, Source};
use super::threshold::{STRICTLY, ThresholdDays, age_days, later, text};

/// Find users whose console password is older than a number of days.
///
/// The age counts from the last change of the password, which the credential report tells. Live, IAM tells only when the console password was
/// created: a password that was changed since may be reported although it is younger.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverOldPasswordUsers {
    /// Report passwords set strictly more than this many whole days ago.
    pub threshold_days: ThresholdDays,
    /// Where to begin. Only the report tells when a password was last changed.
    #[serde(default)]
    pub source: Source,
}

/// A user with an old console password.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OldPasswordUser {
    /// Name of the user.
    user_name: String,
    /// Whole days since the password was set, as far as that is known.
    #[schemars(extend("x-unit" = "days"))]
    age_days: i64,
    /// When the console password was created, RFC 3339 in UTC.
    password_created: Option<String>,
    /// When it was last changed, RFC 3339 in UTC; told by the report only.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_last_changed: Option<String>,
}

#[async_trait]
impl Action for DiscoverOldPasswordUsers {
    const META: Meta = Meta {
        path: "iam/discover_old_password_users",
        effect: Effect::Read,
        calls: &[LIST_USERS, GET_LOGIN_PROFILE, GENERATE_CREDENTIAL_REPORT, GET_CREDENTIAL_REPORT],
        rules: &[],
        examples: &[Example {
            title: "Find the users whose console password was created more than 90 days ago",
            input: r#"{"threshold_days": 90}"#,
            output: "[]",
            given: &["user:alice/console"],
        }],
        notes: &[
            super::GLOBAL,
            STRICTLY,
            HOURS_OLD,
            "`GetLoginProfile` tells when the console password was created. Whether a later change of the password moves that date, the API does not \
             say; the credential report's `password_last_changed` is the date of the change.",
            "The root user is not looked at: IAM does not tell the age of its password.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["UserName"];

    type Output = Listing<OldPasswordUser>;

    async fn run(self, cx: &Context) -> Result<Listing<OldPasswordUser>> {
        let iam = Iam::new(cx);
        let survey = iam.survey(self.source).await?;
        Ok(Listing::produce(cx, |_, mut out| async move { inspect_users(&iam, self, survey, &mut out).await }))
    }
}

aaws::register!(DiscoverOldPasswordUsers);

#[async_trait]
impl Inspect for DiscoverOldPasswordUsers {
    type Finding = OldPasswordUser;

    fn worth(&self, now: Timestamp, row: &Row) -> bool {
        let young = row.password_last_changed.is_some_and(|changed| !self.threshold_days.passed(now, &changed));
        row.password_enabled != Some(false) && !young
    }

    async fn inspect(&self, iam: &Iam, user: &User, row: Option<&Row>, findings: &mut Findings<OldPasswordUser>) -> Result<()> {
        let Some(profile) = iam.login_profile(user.user_name()).await? else { return Ok(()) };
        let created = profile.create_date();
        let changed = row.and_then(|row| row.password_last_changed);
        // A password created after the report was made is younger than what the report says.
        let since = later(changed.as_ref(), Some(created)).unwrap_or(*created);
        if self.threshold_days.passed(iam.now(), &since) {
            findings.push(OldPasswordUser {
                user_name: user.user_name().to_owned(),
                age_days: age_days(iam.now(), &since),
                password_created: text(created),
                password_last_changed: changed.as_ref().and_then(text),
            });
        }
        Ok(())
    }
}
