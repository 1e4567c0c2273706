use aaws::{AccountId, Action, Check, Context, Effect, Error, Example, Listing, Meta, Out, Result, async_trait};
use aws_sdk_iam::types::{EntityType, RoleDetail};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{GET_ACCOUNT_AUTHORIZATION_DETAILS, Iam, unreadable};
use super::trust::{self, Finding};

/// Find roles that strangers may assume.
///
/// Reports from the trust policies of all roles who may assume one too easily: everybody, where no condition says who; principals of another
/// account, where none asks for an external id; whoever has an account with an OpenID Connect provider, where none asks for a subject; and assertions of
/// a SAML provider, where none asks for an audience. All roles are read a thousand a call.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverTrustPolicies {
    /// Ids of accounts that are trusted as the own one is: their principals need no external id.
    #[serde(default)]
    pub trusted_accounts: Vec<AccountId>,
}

/// Who may assume a role too easily.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OpenTrust {
    /// Name of the role.
    role_name: String,
    /// What is wrong with it.
    finding: Finding,
    /// Who may assume the role, as its trust policy names them.
    principal: String,
    /// The id of the statement that says so, where it has one.
    sid: Option<String>,
    /// The role's ARN.
    arn: String,
}

#[async_trait]
impl Action for DiscoverTrustPolicies {
    const META: Meta = Meta {
        path: "iam/discover_trust_policies",
        effect: Effect::Read,
        calls: &[GET_ACCOUNT_AUTHORIZATION_DETAILS],
        rules: &[],
        examples: &[
            Example {
                title: "Find the roles that strangers may assume",
                input: "{}",
                output: r#"[
                    {"RoleName": "open", "Finding": "anyone", "Principal": "*", "Sid": "Everybody", "Arn": "arn:aws:iam::123456789012:role/open"},
                    {"RoleName": "partner", "Finding": "foreign_account", "Principal": "arn:aws:iam::111122223333:root", "Sid": null, "Arn": "arn:aws:iam::123456789012:role/partner"}
                ]"#,
                given: &[
                    r#"trust:open={"Version": "2012-10-17", "Statement": [{"Sid": "Everybody", "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}"#,
                    r#"trust:partner={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "sts:AssumeRole"}]}"#,
                    r#"trust:service={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}"#,
                ],
            },
            Example {
                title: "Find them where another account is one's own, too",
                input: r#"{"trusted_accounts": ["111122223333"]}"#,
                output: r#"[{"RoleName": "open", "Finding": "anyone", "Principal": "*", "Sid": null, "Arn": "arn:aws:iam::123456789012:role/open"}]"#,
                given: &[
                    r#"trust:open={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}"#,
                    r#"trust:partner={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "sts:AssumeRole"}]}"#,
                ],
            },
        ],
        notes: &[
            super::GLOBAL,
            "The own account is that of the role.",
            "A condition counts where it asks for a key to have certain values: what holds without the key as well (`…IfExists`, `ForAllValues:`), for any \
             value (`*`), or for any but some (`StringNotEquals`), does not.",
            "Principals of the own organization (`aws:PrincipalOrgID`, `aws:PrincipalOrgPaths`) need no external id. A `Deny` is not taken from what is \
             allowed.",
            "Of Amazon Cognito the audience (`aud`) counts as the subject does, and of Login with Amazon and Facebook the app. `repo:*` is no subject; of \
             GitHub, GitLab.com, HCP Terraform and Buildkite neither are `repo:*/it:*` and `repo:me*`, which are strangers' too.",
            "An ARN counts where its account has no wildcard, and an organization where its id has none.",
            "AWS services that may assume a role are not reported, nor are principals that were deleted.",
            "A role that is reported for several principals has a row for each. A trust policy that cannot be read is reported as failed (exit code 3), and \
             the others are judged.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["Arn", "Finding", "Principal", "Sid"];
    const OVERVIEW: &'static [Check] = &[Check { title: "Roles that strangers may assume", input: "{}", since: None, mend: None }];

    type Output = Listing<OpenTrust>;

    async fn run(self, cx: &Context) -> Result<Listing<OpenTrust>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverTrustPolicies);

impl DiscoverTrustPolicies {
    async fn list(self, cx: &Context, mut out: Out<OpenTrust>) -> Result<()> {
        let mut pages = Iam::new(cx).details(vec![EntityType::Role]);
        while let Some(page) = pages.try_next().await? {
            for role in page.role_detail_list() {
                match self.judge(role) {
                    Ok(found) => {
                        for open in found {
                            out.send(open).await?;
                        }
                    }
                    Err(error) => unreadable(cx, role.role_name().unwrap_or_default(), error)?,
                }
            }
        }
        Ok(())
    }

    fn judge(&self, role: &RoleDetail) -> Result<Vec<OpenTrust>> {
        let (name, arn) = (role.role_name().unwrap_or_default(), role.arn().unwrap_or_default());
        let own = arn.split(':').nth(4).into_iter().chain(self.trusted_accounts.iter().map(AccountId::as_str));
        let found = trust::findings(role.assume_role_policy_document().unwrap_or_default(), &own.collect::<Vec<_>>());
        let found = found.map_err(|why| Error::Failed(format!("the trust policy of the role `{name}` cannot be judged: {why}")))?;
        let open = |trusted: trust::Trusted| OpenTrust {
            role_name: name.to_owned(),
            arn: arn.to_owned(),
            finding: trusted.finding,
            principal: trusted.principal,
            sid: trusted.sid,
        };
        Ok(found.into_iter().map(open).collect())
    }
}
