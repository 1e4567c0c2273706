use aaws::{Action, Check, Context, Effect, Example, Listing, Meta, Result, async_trait};
use aws_sdk_iam::types::{AccessKeyMetadata, StatusType, User};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{Findings, Iam, Inspect, LIST_ACCESS_KEYS, LIST_USERS, created, inspect_users, is_active};
use super::report::{GENERATE_CREDENTIAL_REPORT, GET_CREDENTIAL_REPORT, HOURS_OLD, LAST_ROTATED, Row, Source};
use super::threshold::{STRICTLY, ThresholdDays, age_days, text};

/// Find active access keys older than a number of days.
///
/// Each key is judged on its own. What is printed can be piped into `modify_access_keys`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverOldAccessKeys {
    /// Report keys created strictly more than this many whole days ago.
    pub threshold_days: ThresholdDays,
    /// Also keys that are not active.
    #[serde(default)]
    pub inactive: bool,
    /// Where to begin. Of keys that are not active the report says nothing: with `inactive` every user is looked at.
    #[serde(default)]
    pub source: Source,
}

/// An old access key.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OldAccessKey {
    /// Name of the user whose key it is.
    user_name: String,
    /// Id of the access key.
    access_key_id: String,
    /// `Active`, `Inactive` or `Expired`.
    key_status: String,
    /// Whole days since its creation.
    #[schemars(extend("x-unit" = "days"))]
    age_days: i64,
    /// When it was created, RFC 3339 in UTC.
    create_date: Option<String>,
}

#[async_trait]
impl Action for DiscoverOldAccessKeys {
    const META: Meta = Meta {
        path: "iam/discover_old_access_keys",
        effect: Effect::Read,
        calls: &[LIST_USERS, LIST_ACCESS_KEYS, GENERATE_CREDENTIAL_REPORT, GET_CREDENTIAL_REPORT],
        rules: &[],
        examples: &[Example {
            title: "Find the active access keys created more than 90 days ago",
            input: r#"{"threshold_days": 90}"#,
            output: "[]",
            given: &["key:alice"],
        }],
        notes: &[
            super::GLOBAL,
            STRICTLY,
            HOURS_OLD,
            LAST_ROTATED,
            "The root user's keys cannot be listed, and are not looked at.",
            "A user has two access keys at most.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["AccessKeyId"];
    const OVERVIEW: &'static [Check] = &[Check {
        title: "Active access keys older than 90 days",
        input: r#"{"threshold_days": 90}"#,
        since: Some("CreateDate"),
        // An old key may be in use all day: it is to be replaced before it is disabled. Those that are not used have a check of their own.
        mend: None,
    }];

    type Output = Listing<OldAccessKey>;

    async fn run(self, cx: &Context) -> Result<Listing<OldAccessKey>> {
        let iam = Iam::new(cx);
        let survey = iam.survey(if self.inactive { Source::Live } else { self.source }).await?;
        Ok(Listing::produce(cx, |_, mut out| async move { inspect_users(&iam, self, survey, &mut out).await }))
    }
}

aaws::register!(DiscoverOldAccessKeys);

#[async_trait]
impl Inspect for DiscoverOldAccessKeys {
    type Finding = OldAccessKey;

    fn worth(&self, now: Timestamp, row: &Row) -> bool {
        let old = |since: Option<_>| since.as_ref().is_none_or(|since| self.threshold_days.passed(now, since));
        row.keys.iter().any(|key| key.active != Some(false) && old(key.last_rotated))
    }

    async fn inspect(&self, iam: &Iam, user: &User, _: Option<&Row>, findings: &mut Findings<OldAccessKey>) -> Result<()> {
        let keys = iam.access_keys(user.user_name()).await?;
        for key in keys.iter().filter(|key| self.inactive || is_active(key)) {
            match self.judge(iam.now(), user, key) {
                Ok(found) => found.into_iter().for_each(|found| findings.push(found)),
                Err(error) => findings.unread(key.access_key_id().unwrap_or_default(), error),
            }
        }
        Ok(())
    }
}

impl DiscoverOldAccessKeys {
    fn judge(&self, now: Timestamp, user: &User, key: &AccessKeyMetadata) -> Result<Option<OldAccessKey>> {
        let created = created(key)?;
        Ok(self.threshold_days.passed(now, &created).then(|| OldAccessKey {
            user_name: user.user_name().to_owned(),
            access_key_id: key.access_key_id().unwrap_or_default().to_owned(),
            key_status: key.status().map_or("", StatusType::as_str).to_owned(),
            age_days: age_days(now, &created),
            create_date: text(&created),
        }))
    }
}
