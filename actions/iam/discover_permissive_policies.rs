use std::collections::{BTreeSet, HashMap};

use aaws::{Action, Context, Effect, Example, Listing, Meta, Out, Result, async_trait};
use aws_sdk_iam::types::{AttachedPolicy, EntityType, ManagedPolicyDetail};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{GET_ACCOUNT_AUTHORIZATION_DETAILS, Groups, Iam, in_force, policy_name, unreadable};
use super::statements::{COMBINATIONS, PERMISSIVE, Permissive, Risk, SUBTRACTED};

/// Find customer managed policies with wildcard actions, resources or both, or with known ways to more.
///
/// Reports policies that allow permissive actions on permissive resources, and those with which a principal can give itself more; with
/// `strict`, those that allow either. The version in force is
/// judged, attached or not. Policies are printed by name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverPermissivePolicies {
    /// Report a permissive action or a permissive resource; without this a statement must allow both.
    #[serde(default)]
    pub strict: bool,
    /// Print of each policy its ARN, where it is attached, how much it allows, and the statements.
    #[serde(default)]
    pub details: bool,
    /// Also AWS managed policies that are attached, such as `AdministratorAccess`.
    #[serde(default)]
    pub aws_managed: bool,
}

/// A permissive policy: its name, or with `details` what is known of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PermissivePolicy {
    /// Name of the policy.
    Name(String),
    /// The policy.
    Details(Box<Details>),
}

/// What is known of a permissive policy.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Details {
    /// Name of the policy.
    policy_name: String,
    /// Who is an administrator by it, or can become one: `user/ann`, `role/worker`. Users have it themselves or through a group.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    effective_admins: BTreeSet<String>,
    /// What is permissive in it.
    #[serde(flatten)]
    permissive: Permissive,
    /// Where it is attached.
    attached_to: Attachments,
    /// Its ARN.
    arn: String,
    /// The path in its ARN.
    path: Option<String>,
    /// The version in force.
    version: Option<String>,
}

/// The names of what a policy is attached to.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Attachments {
    /// Users.
    users: Vec<String>,
    /// Groups.
    groups: Vec<String>,
    /// Roles.
    roles: Vec<String>,
}

impl Attachments {
    /// Everybody who has it.
    fn principals(&self, groups: &Groups) -> BTreeSet<String> {
        let members = self.groups.iter().flat_map(|group| groups.users(group));
        let users = self.users.iter().chain(members).map(|user| format!("user/{user}"));
        users.chain(self.roles.iter().map(|role| format!("role/{role}"))).collect()
    }
}

#[async_trait]
impl Action for DiscoverPermissivePolicies {
    const META: Meta = Meta {
        path: "iam/discover_permissive_policies",
        effect: Effect::Read,
        calls: &[GET_ACCOUNT_AUTHORIZATION_DETAILS],
        rules: &[],
        examples: &[
            Example {
                title: "Find the policies that allow many actions on everything",
                input: "{}",
                output: r#"["AdminLike"]"#,
                given: &[
                    r#"policy:AdminLike={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#,
                    r#"policy:OneBucket={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::example-bucket/*"}]}"#,
                ],
            },
            Example {
                title: "Find also those that allow many actions on few things, or few actions on everything",
                input: r#"{"strict": true}"#,
                output: r#"["AdminLike", "OneBucket"]"#,
                given: &[
                    r#"policy:AdminLike={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#,
                    r#"policy:OneBucket={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::example-bucket/*"}]}"#,
                ],
            },
        ],
        notes: &[
            super::GLOBAL,
            PERMISSIVE,
            SUBTRACTED,
            COMBINATIONS,
            "Policies that serve only as a permissions boundary are left out: they grant nothing.",
            "A policy whose document cannot be read is reported as failed (exit code 3), and the others are judged.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["Arn"];

    type Output = Listing<PermissivePolicy>;

    async fn run(self, cx: &Context) -> Result<Listing<PermissivePolicy>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverPermissivePolicies);

impl DiscoverPermissivePolicies {
    async fn list(self, cx: &Context, mut out: Out<PermissivePolicy>) -> Result<()> {
        let mut kinds = vec![EntityType::LocalManagedPolicy];
        if self.aws_managed {
            kinds.push(EntityType::AwsManagedPolicy);
        }
        if self.details {
            kinds.extend([EntityType::User, EntityType::Group, EntityType::Role]);
        }
        let mut attached = Attached::default();
        let mut groups = Groups::default();
        // Where a policy is attached is known when all pages are read. IAM gives policies in no order.
        let mut found = Vec::new();
        let mut pages = Iam::new(cx).details(kinds);
        while let Some(page) = pages.try_next().await? {
            for policy in page.policies().iter().filter(|policy| counts(policy)) {
                match self.judge(policy) {
                    Ok(details) => found.extend(details),
                    Err(error) => unreadable(cx, policy_name(policy), error)?,
                }
            }
            for user in page.user_detail_list() {
                groups.add(user);
                attached.add(user.attached_managed_policies(), user.user_name(), |a| &mut a.users);
            }
            for group in page.group_detail_list() {
                attached.add(group.attached_managed_policies(), group.group_name(), |a| &mut a.groups);
            }
            for role in page.role_detail_list() {
                attached.add(role.attached_managed_policies(), role.role_name(), |a| &mut a.roles);
            }
        }
        found.sort_by(|a, b| (&a.policy_name, &a.arn).cmp(&(&b.policy_name, &b.arn)));
        for mut details in found {
            details.attached_to = attached.0.remove(&details.arn).unwrap_or_default();
            if details.permissive.risk >= Risk::Escalation {
                details.effective_admins = details.attached_to.principals(&groups);
            }
            out.send(if self.details { PermissivePolicy::Details(Box::new(details)) } else { PermissivePolicy::Name(details.policy_name) })
                .await?;
        }
        Ok(())
    }

    fn judge(&self, policy: &ManagedPolicyDetail) -> Result<Option<Details>> {
        let (version, document) = in_force(policy)?;
        Ok(document.permissive(self.strict).map(|permissive| Details {
            policy_name: policy_name(policy).to_owned(),
            arn: policy.arn().unwrap_or_default().to_owned(),
            path: policy.path().map(str::to_owned),
            version: version.version_id().map(str::to_owned),
            attached_to: Attachments::default(),
            effective_admins: BTreeSet::new(),
            permissive,
        }))
    }
}

/// AWS's own count when they are attached; a boundary grants nothing.
fn counts(policy: &ManagedPolicyDetail) -> bool {
    let attached = policy.attachment_count().unwrap_or_default() > 0;
    let boundary = policy.permissions_boundary_usage_count().unwrap_or_default() > 0;
    let of_aws = policy.arn().and_then(|arn| arn.split(':').nth(4)) == Some("aws");
    attached || !(boundary || of_aws)
}

/// Policies by ARN, and what they are attached to.
#[derive(Default)]
struct Attached(HashMap<String, Attachments>);

impl Attached {
    fn add(&mut self, policies: &[AttachedPolicy], to: Option<&str>, list: impl Fn(&mut Attachments) -> &mut Vec<String>) {
        for arn in policies.iter().filter_map(AttachedPolicy::policy_arn) {
            list(self.0.entry(arn.to_owned()).or_default()).extend(to.map(str::to_owned));
        }
    }
}
