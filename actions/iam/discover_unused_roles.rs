use aaws::{Action, Check, Context, Effect, Error, Example, Listing, Meta, Out, Result, async_trait};
use aws_sdk_iam::types::{EntityType, RoleDetail};
use futures::TryStreamExt;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{GET_ACCOUNT_AUTHORIZATION_DETAILS, Iam, RESERVED, SERVICE_LINKED, unreadable};
use super::statements::principals;
use super::threshold::{STRICTLY, ThresholdDays, age_days, text};

/// Find roles not used for a number of days.
///
/// A role that was never used counts from its creation. Service-linked roles are left out: only their services can delete them. All roles are
/// read a thousand a call, with their last use.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverUnusedRoles {
    /// Report roles not used for strictly more than this many whole days.
    pub threshold_days: ThresholdDays,
    /// Print of each role its last use, and who may use it.
    #[serde(default)]
    pub details: bool,
}

/// A role that is not used: its name, or with `details` what is known of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum UnusedRole {
    /// Name of the role.
    Name(String),
    /// The role.
    Details(Details),
}

/// What is known of a role that is not used.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Details {
    /// Name of the role.
    role_name: String,
    /// Whether it was ever used.
    status: Use,
    /// Whole days since its last use, or since its creation when no use is known.
    #[schemars(extend("x-unit" = "days"))]
    age_days: i64,
    /// Its last use, RFC 3339 in UTC.
    last_used: Option<String>,
    /// The region of its last use.
    region: Option<String>,
    /// When it was created, RFC 3339 in UTC.
    create_date: Option<String>,
    /// Its ARN.
    arn: Option<String>,
    /// Whether an AWS service such as IAM Identity Center keeps it: then it has to be removed there.
    reserved: bool,
    /// The instance profiles that hold it.
    instance_profiles: Vec<String>,
    /// Whom its trust policy allows to assume it; empty when that cannot be read.
    trusted: Vec<String>,
}

/// Whether the role was ever used.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Not for a while.
    Unused,
    /// Not since its creation, or not in the 400 days that IAM remembers.
    NeverUsed,
}

#[async_trait]
impl Action for DiscoverUnusedRoles {
    const META: Meta = Meta {
        path: "iam/discover_unused_roles",
        effect: Effect::Read,
        calls: &[GET_ACCOUNT_AUTHORIZATION_DETAILS],
        rules: &[],
        examples: &[Example {
            title: "Find the roles not used for more than 90 days",
            input: r#"{"threshold_days": 90}"#,
            output: "[]",
            given: &["role:worker"],
        }],
        notes: &[
            super::GLOBAL,
            "With a threshold above 400 days a role last used between 400 days and the threshold ago is reported too: IAM does not know of its use.",
            STRICTLY,
            "IAM remembers the use of roles for 400 days: a role last used before that looks as if it never was, and counts from its creation.",
            "Roles below `/aws-service-role/` are left out. Roles below `/aws-reserved/` are printed, and marked `Reserved` in the details.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["RoleName"];
    const OVERVIEW: &'static [Check] = &[Check {
        title: "Roles not used for 90 days",
        input: r#"{"threshold_days": 90, "details": true}"#,
        since: Some("LastUsed"),
        mend: None,
    }];

    type Output = Listing<UnusedRole>;

    async fn run(self, cx: &Context) -> Result<Listing<UnusedRole>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverUnusedRoles);

impl DiscoverUnusedRoles {
    async fn list(self, cx: &Context, mut out: Out<UnusedRole>) -> Result<()> {
        let mut pages = Iam::new(cx).details(vec![EntityType::Role]);
        while let Some(page) = pages.try_next().await? {
            for role in page.role_detail_list() {
                match self.judge(cx.now(), role) {
                    Ok(Some(found)) => out.send(found).await?,
                    Ok(None) => {}
                    Err(error) => unreadable(cx, role.role_name().unwrap_or_default(), error)?,
                }
            }
        }
        Ok(())
    }

    fn judge(&self, now: Timestamp, role: &RoleDetail) -> Result<Option<UnusedRole>> {
        let name = role.role_name().unwrap_or_default();
        if role.path().is_some_and(|path| path.starts_with(SERVICE_LINKED)) {
            return Ok(None);
        }
        let used = role.role_last_used().and_then(|last| last.last_used_date());
        let none = || Error::Failed(format!("IAM gives no creation date for the role `{name}`, which was never used"));
        let since = used.or(role.create_date()).ok_or_else(none)?;
        if !self.threshold_days.passed(now, since) {
            return Ok(None);
        }
        if !self.details {
            return Ok(Some(UnusedRole::Name(name.to_owned())));
        }
        Ok(Some(UnusedRole::Details(Details {
            role_name: name.to_owned(),
            status: if used.is_some() { Use::Unused } else { Use::NeverUsed },
            age_days: age_days(now, since),
            last_used: used.and_then(text),
            region: role.role_last_used().filter(|_| used.is_some()).and_then(|last| last.region()).map(str::to_owned),
            create_date: role.create_date().and_then(text),
            arn: role.arn().map(str::to_owned),
            reserved: role.path().is_some_and(|path| path.starts_with(RESERVED)),
            instance_profiles: role.instance_profile_list().iter().map(|p| p.instance_profile_name().to_owned()).collect(),
            trusted: role.assume_role_policy_document().map(principals).unwrap_or_default(),
        })))
    }
}
