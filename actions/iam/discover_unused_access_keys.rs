use aaws::{Action, Check, Context, Effect, Example, Listing, Meta, Result, async_trait};
use aws_sdk_iam::types::{AccessKeyMetadata, StatusType, User};
use futures::future::join_all;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{Findings, GET_ACCESS_KEY_LAST_USED, Iam, Inspect, LIST_ACCESS_KEYS, LIST_USERS, created, inspect_users, is_active};
use super::report::{GENERATE_CREDENTIAL_REPORT, GET_CREDENTIAL_REPORT, HOURS_OLD, KeyRow, LAST_ROTATED, Row, Source};
use super::threshold::{STRICTLY, ThresholdDays, age_days, later, text};

/// Find active access keys that were not used for a number of days.
///
/// A key that was never used counts from its creation. Each key is judged on its own. What is printed can be piped into `modify_access_keys`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverUnusedAccessKeys {
    /// Report keys not used for strictly more than this many whole days.
    pub threshold_days: ThresholdDays,
    /// Also keys that are not active.
    #[serde(default)]
    pub inactive: bool,
    /// Where to begin. Of keys that are not active the report says nothing: with `inactive` every user is looked at.
    #[serde(default)]
    pub source: Source,
}

/// An access key that is not used.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct UnusedAccessKey {
    /// Name of the user whose key it is.
    user_name: String,
    /// Id of the access key.
    access_key_id: String,
    /// Whether it was ever used.
    status: Use,
    /// `Active`, `Inactive` or `Expired`.
    key_status: String,
    /// Whole days since its last use, or since its creation when it was never used.
    #[schemars(extend("x-unit" = "days"))]
    age_days: i64,
    /// Its last use, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<String>,
    /// The service that it was last used with.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<String>,
    /// When it was created, RFC 3339 in UTC.
    create_date: Option<String>,
}

/// Whether the key was ever used.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Not for a while.
    Unused,
    /// Not since its creation, or not since 22 April 2015.
    NeverUsed,
}

#[async_trait]
impl Action for DiscoverUnusedAccessKeys {
    const META: Meta = Meta {
        path: "iam/discover_unused_access_keys",
        effect: Effect::Read,
        calls: &[LIST_USERS, LIST_ACCESS_KEYS, GET_ACCESS_KEY_LAST_USED, GENERATE_CREDENTIAL_REPORT, GET_CREDENTIAL_REPORT],
        rules: &[],
        examples: &[Example {
            title: "Find the active access keys not used for more than 90 days",
            input: r#"{"threshold_days": 90}"#,
            output: "[]",
            given: &["key:alice"],
        }],
        notes: &[
            super::GLOBAL,
            STRICTLY,
            HOURS_OLD,
            LAST_ROTATED,
            "IAM learns of the use of an access key within some hours, and keeps no use before 22 April 2015.",
            "The root user's keys cannot be listed, and are not looked at.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["AccessKeyId"];
    const OVERVIEW: &'static [Check] = &[Check {
        title: "Active access keys not used for 90 days",
        input: r#"{"threshold_days": 90}"#,
        since: Some("LastUsed"),
        mend: Some("iam modify_access_keys --keys - --disable"),
    }];

    type Output = Listing<UnusedAccessKey>;

    async fn run(self, cx: &Context) -> Result<Listing<UnusedAccessKey>> {
        let iam = Iam::new(cx);
        let survey = iam.survey(if self.inactive { Source::Live } else { self.source }).await?;
        Ok(Listing::produce(cx, |_, mut out| async move { inspect_users(&iam, self, survey, &mut out).await }))
    }
}

aaws::register!(DiscoverUnusedAccessKeys);

#[async_trait]
impl Inspect for DiscoverUnusedAccessKeys {
    type Finding = UnusedAccessKey;

    fn worth(&self, now: Timestamp, row: &Row) -> bool {
        // Never used, it counts from its creation.
        let stale = |key: &KeyRow| {
            let since = later(key.last_used.as_ref(), key.last_rotated.as_ref());
            since.is_none_or(|since| self.threshold_days.passed(now, &since))
        };
        row.keys.iter().any(|key| key.active != Some(false) && stale(key))
    }

    async fn inspect(&self, iam: &Iam, user: &User, _: Option<&Row>, findings: &mut Findings<UnusedAccessKey>) -> Result<()> {
        let keys = iam.access_keys(user.user_name()).await?;
        let keys: Vec<_> = keys.iter().filter(|key| self.inactive || is_active(key)).collect();
        let judged = join_all(keys.iter().map(|key| self.judge(iam, user, key))).await;
        for (key, judged) in keys.iter().zip(judged) {
            match judged {
                Ok(found) => found.into_iter().for_each(|found| findings.push(found)),
                Err(error) => findings.unread(key.access_key_id().unwrap_or_default(), error),
            }
        }
        Ok(())
    }
}

impl DiscoverUnusedAccessKeys {
    async fn judge(&self, iam: &Iam, user: &User, key: &AccessKeyMetadata) -> Result<Option<UnusedAccessKey>> {
        // A key that was deleted since it was listed is no finding.
        let Some(last_use) = iam.last_used(key).await? else { return Ok(None) };
        let used = last_use.last_used_date();
        let created = created(key)?;
        let since = later(used, Some(&created)).unwrap_or(created);
        Ok(self.threshold_days.passed(iam.now(), &since).then(|| UnusedAccessKey {
            user_name: user.user_name().to_owned(),
            access_key_id: key.access_key_id().unwrap_or_default().to_owned(),
            status: if used.is_some() { Use::Unused } else { Use::NeverUsed },
            key_status: key.status().map_or("", StatusType::as_str).to_owned(),
            age_days: age_days(iam.now(), &since),
            last_used: used.and_then(text),
            // For a key that was never used IAM says `N/A`.
            service_name: used.map(|_| last_use.service_name().to_owned()),
            create_date: text(&created),
        }))
    }
}
