use aaws::{Action, Context, Effect, Example, Listing, Meta, Result, async_trait};
use aws_sdk_iam::types::User;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{Findings, GET_LOGIN_PROFILE, Iam, Inspect, LIST_USERS, inspect_users};
use super::report::{GENERATE_CREDENTIAL_REPORT, GET_CREDENTIAL_REPORT, HOURS_OLD, Row, Source};
use super::threshold::{STRICTLY, ThresholdDays, age_days, later, text};

/// Find users whose console password was not used for a number of days.
///
/// A password that was never used counts from the day it was set, so a user of today is not reported. Users without a console password are not
/// reported, whatever they did with one they had before.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverInactiveConsoleUsers {
    /// Report passwords not used for strictly more than this many whole days.
    pub threshold_days: ThresholdDays,
    /// Where to begin.
    #[serde(default)]
    pub source: Source,
}

/// A user with a console password that is not used.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct InactiveConsoleUser {
    /// Name of the user.
    user_name: String,
    /// Whether the password was ever used.
    status: Use,
    /// Whole days since the last use, or since the password was set.
    #[schemars(extend("x-unit" = "days"))]
    age_days: i64,
    /// When the user last signed in with a password, RFC 3339 in UTC; this password or an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_last_used: Option<String>,
    /// When the console password was created, RFC 3339 in UTC.
    password_created: Option<String>,
}

/// Whether the password that there is was ever used.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Not for a while.
    Inactive,
    /// Not since it was created, or not since 20 October 2014.
    NeverUsed,
}

#[async_trait]
impl Action for DiscoverInactiveConsoleUsers {
    const META: Meta = Meta {
        path: "iam/discover_inactive_console_users",
        effect: Effect::Read,
        calls: &[LIST_USERS, GET_LOGIN_PROFILE, GENERATE_CREDENTIAL_REPORT, GET_CREDENTIAL_REPORT],
        rules: &[],
        examples: &[Example {
            title: "Find the users who did not use their console password for more than 90 days",
            input: r#"{"threshold_days": 90}"#,
            output: "[]",
            given: &["user:alice/console"],
        }],
        notes: &[
            super::GLOBAL,
            STRICTLY,
            HOURS_OLD,
            "IAM keeps no use of passwords before 20 October 2014: one last used before that looks as if it never was.",
            "IAM keeps the last use of a password when the password is deleted. A new password counts from its own creation.",
            "The root user is not looked at.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["UserName"];

    type Output = Listing<InactiveConsoleUser>;

    async fn run(self, cx: &Context) -> Result<Listing<InactiveConsoleUser>> {
        let iam = Iam::new(cx);
        let survey = iam.survey(self.source).await?;
        Ok(Listing::produce(cx, |_, mut out| async move { inspect_users(&iam, self, survey, &mut out).await }))
    }
}

aaws::register!(DiscoverInactiveConsoleUsers);

#[async_trait]
impl Inspect for DiscoverInactiveConsoleUsers {
    type Finding = InactiveConsoleUser;

    fn may_be(&self, now: Timestamp, user: &User) -> bool {
        user.password_last_used().is_none_or(|used| self.threshold_days.passed(now, used))
    }

    fn worth(&self, _: Timestamp, row: &Row) -> bool {
        row.password_enabled != Some(false)
    }

    async fn inspect(&self, iam: &Iam, user: &User, _: Option<&Row>, findings: &mut Findings<InactiveConsoleUser>) -> Result<()> {
        let used = user.password_last_used();
        let Some(profile) = iam.login_profile(user.user_name()).await? else { return Ok(()) };
        let created = profile.create_date();
        let last = later(used, Some(created)).unwrap_or(*created);
        if self.threshold_days.passed(iam.now(), &last) {
            findings.push(InactiveConsoleUser {
                user_name: user.user_name().to_owned(),
                status: if used.is_some_and(|used| used.as_nanos() >= created.as_nanos()) { Use::Inactive } else { Use::NeverUsed },
                age_days: age_days(iam.now(), &last),
                password_last_used: used.and_then(text),
                password_created: text(created),
            });
        }
        Ok(())
    }
}
