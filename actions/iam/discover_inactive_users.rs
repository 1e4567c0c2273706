use aaws::{Action, Context, Effect, Error, Example, Listing, Meta, Result, async_trait};
use aws_sdk_iam::primitives::DateTime;
use aws_sdk_iam::types::User;
use futures::future::join_all;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{
    Findings, GET_ACCESS_KEY_LAST_USED, GET_LOGIN_PROFILE, Iam, Inspect, LIST_ACCESS_KEYS, LIST_USERS, created, inspect_users, is_active,
};
use super::report::{GENERATE_CREDENTIAL_REPORT, GET_CREDENTIAL_REPORT, HOURS_OLD, LAST_ROTATED, Row, Source};
use super::threshold::{STRICTLY, ThresholdDays, age_days, later, text};

/// Find users who used neither their console password nor an access key for a number of days.
///
/// Only what a user can sign in with now counts: the console password, and access keys that are active. What was never used counts from its
/// creation, so a user of today is not reported. A user with neither is not inactive but has no credentials: reported only on request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverInactiveUsers {
    /// Report users who used nothing for strictly more than this many whole days.
    pub threshold_days: ThresholdDays,
    /// Also users created longer ago than that who have neither a console password nor an active access key.
    #[serde(default)]
    pub no_credentials: bool,
    /// Where to begin.
    #[serde(default)]
    pub source: Source,
}

/// A user who does nothing.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct InactiveUser {
    /// Name of the user.
    user_name: String,
    /// What sort of inactive.
    status: Activity,
    /// Whole days since the last use; since the youngest credential was created, when none was used; since the user was, when there is none.
    #[schemars(extend("x-unit" = "days"))]
    age_days: i64,
    /// The last use of the password or an active key, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<String>,
}

/// What sort of inactive.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Something was used, and not for a while.
    Inactive,
    /// Nothing that there is was ever used.
    NeverUsed,
    /// There is nothing to use.
    NoCredentials,
}

#[async_trait]
impl Action for DiscoverInactiveUsers {
    const META: Meta = Meta {
        path: "iam/discover_inactive_users",
        effect: Effect::Read,
        calls: &[
            LIST_USERS,
            GET_LOGIN_PROFILE,
            LIST_ACCESS_KEYS,
            GET_ACCESS_KEY_LAST_USED,
            GENERATE_CREDENTIAL_REPORT,
            GET_CREDENTIAL_REPORT,
        ],
        rules: &[],
        examples: &[Example {
            title: "Find the users who did nothing for more than 90 days",
            input: r#"{"threshold_days": 90}"#,
            output: "[]",
            given: &["user:alice/console", "key:alice", "user:bob"],
        }],
        notes: &[
            super::GLOBAL,
            STRICTLY,
            HOURS_OLD,
            LAST_ROTATED,
            "IAM learns of the use of an access key within some hours.",
            "SSH keys, signing certificates and credentials of single services are not looked at.",
            "The root user is not looked at.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["UserName"];

    type Output = Listing<InactiveUser>;

    async fn run(self, cx: &Context) -> Result<Listing<InactiveUser>> {
        let iam = Iam::new(cx);
        let survey = iam.survey(self.source).await?;
        Ok(Listing::produce(cx, |_, mut out| async move { inspect_users(&iam, self, survey, &mut out).await }))
    }
}

aaws::register!(DiscoverInactiveUsers);

/// A credential that can be used: when it was created, and when it was used.
struct Credential {
    created: DateTime,
    used: Option<DateTime>,
}

#[async_trait]
impl Inspect for DiscoverInactiveUsers {
    type Finding = InactiveUser;

    fn worth(&self, now: Timestamp, row: &Row) -> bool {
        let fresh = |used: Option<DateTime>| used.is_some_and(|used| !self.threshold_days.passed(now, &used));
        let has_none = row.password_enabled == Some(false) && !row.may_have_keys();
        let active = row.password_enabled == Some(true) && fresh(row.password_last_used)
            || row.keys.iter().any(|key| key.active == Some(true) && fresh(later(key.last_used.as_ref(), key.last_rotated.as_ref())));
        !active && (self.no_credentials || !has_none)
    }

    async fn inspect(&self, iam: &Iam, user: &User, _: Option<&Row>, findings: &mut Findings<InactiveUser>) -> Result<()> {
        let name = user.user_name();
        let (profile, keys) = futures::try_join!(iam.login_profile(name), iam.access_keys(name))?;
        let password = profile.map(|profile| Credential {
            created: *profile.create_date(),
            // The use of an earlier password is none of this one's.
            used: user.password_last_used().filter(|used| used.as_nanos() >= profile.create_date().as_nanos()).copied(),
        });
        let active: Vec<_> = keys.iter().filter(|key| is_active(key)).collect();
        let keys = join_all(active.iter().map(async |key| {
            // A key that was deleted since it was listed is none to sign in with.
            let Some(last) = iam.last_used(key).await? else { return Ok(None) };
            Ok::<_, Error>(Some(Credential { created: created(key)?, used: last.last_used_date }))
        }));
        let keys = keys.await.into_iter().filter_map(Result::transpose);
        let credentials: Vec<_> = password.into_iter().map(Ok).chain(keys).collect();

        // One that is in use settles it, whatever could not be read of the others.
        let last = |c: &Credential| later(c.used.as_ref(), Some(&c.created));
        if credentials.iter().flatten().filter_map(last).any(|last| !self.threshold_days.passed(iam.now(), &last)) {
            return Ok(());
        }
        let credentials: Vec<Credential> = credentials.into_iter().collect::<Result<_>>()?;
        let used = credentials.iter().filter_map(|c| c.used).max_by_key(DateTime::as_nanos);
        let created = credentials.iter().map(|c| c.created).max_by_key(DateTime::as_nanos);
        let (status, since) = match (used, created) {
            (Some(used), _) => (Activity::Inactive, used),
            (None, Some(created)) => (Activity::NeverUsed, created),
            (None, None) if self.no_credentials && self.threshold_days.passed(iam.now(), user.create_date()) => {
                (Activity::NoCredentials, *user.create_date())
            }
            (None, None) => return Ok(()),
        };
        findings.push(InactiveUser {
            user_name: name.to_owned(),
            status,
            age_days: age_days(iam.now(), &since),
            last_used: used.as_ref().and_then(text),
        });
        Ok(())
    }
}
