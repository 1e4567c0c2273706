use aaws::{Action, Context, Effect, Error, Example, Listing, Meta, Out, Result, async_trait};
use aws_sdk_iam::types::{EntityType, PolicyDetail};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{GET_ACCOUNT_AUTHORIZATION_DETAILS, Groups, Iam, unreadable};
use super::statements::{COMBINATIONS, Document, PERMISSIVE, Permissive, Risk, SUBTRACTED};

/// Find inline policies of users, roles and groups with wildcard actions, resources or both, or with known ways to more.
///
/// Reports policies that allow permissive actions on permissive resources, and those with which a principal can give itself more; with
/// `strict`, those that allow either. Users come first, then roles,
/// then groups, each by name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverPermissiveInlinePolicies {
    /// Report a permissive action or a permissive resource; without this a statement must allow both.
    #[serde(default)]
    pub strict: bool,
    /// Whose policies to look at. An empty list looks at nothing.
    #[serde(default = "everyone")]
    pub focus: Vec<Focus>,
}

/// Who has inline policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Focus {
    /// Users.
    User,
    /// Groups.
    Group,
    /// Roles.
    Role,
}

impl Default for DiscoverPermissiveInlinePolicies {
    fn default() -> Self {
        DiscoverPermissiveInlinePolicies { strict: false, focus: everyone() }
    }
}

fn everyone() -> Vec<Focus> {
    vec![Focus::User, Focus::Group, Focus::Role]
}

/// A permissive inline policy.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PermissiveInlinePolicy {
    /// What the policy belongs to.
    r#type: Type,
    /// Name of the user, role or group.
    entity: String,
    /// Name of the policy.
    policy: String,
    /// Who is an administrator by it, or can become one: `user/ann`, `role/worker`. Of a group its users, where users are in `focus`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    effective_admins: Vec<String>,
    /// What is permissive in it.
    #[serde(flatten)]
    permissive: Permissive,
}

impl PermissiveInlinePolicy {
    /// Everybody who has it.
    fn principals(&self, groups: &Groups) -> Vec<String> {
        match self.r#type {
            Type::User => vec![format!("user/{}", self.entity)],
            Type::Role => vec![format!("role/{}", self.entity)],
            Type::Group => groups.users(&self.entity).iter().map(|user| format!("user/{user}")).collect(),
        }
    }
}

/// What an inline policy belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub enum Type {
    /// A user.
    User,
    /// A role.
    Role,
    /// A group.
    Group,
}

#[async_trait]
impl Action for DiscoverPermissiveInlinePolicies {
    const META: Meta = Meta {
        path: "iam/discover_permissive_inline_policies",
        effect: Effect::Read,
        calls: &[GET_ACCOUNT_AUTHORIZATION_DETAILS],
        rules: &[],
        examples: &[
            Example {
                title: "Find the inline policies that allow many actions on everything",
                input: "{}",
                output: r#"[{"Type": "User", "Entity": "alice", "Policy": "inline-1", "EffectiveAdmins": ["user/alice"], "Risk": "admin", "Conditional": false, "Statements": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}]"#,
                given: &[
                    r#"inline:user:alice:inline-1={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#,
                    r#"inline:group:readers:inline-2={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::example-bucket/*"}]}"#,
                ],
            },
            Example {
                title: "Look at groups only, for either wildcard",
                input: r#"{"focus": ["group"], "strict": true}"#,
                output: r#"[{"Type": "Group", "Entity": "readers", "Policy": "inline-2", "Risk": "read", "Conditional": false, "Statements": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::example-bucket/*"}]}]"#,
                given: &[
                    r#"inline:user:alice:inline-1={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#,
                    r#"inline:group:readers:inline-2={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::example-bucket/*"}]}"#,
                ],
            },
        ],
        notes: &[
            super::GLOBAL,
            PERMISSIVE,
            SUBTRACTED,
            COMBINATIONS,
            "Roles that belong to services are looked at too.",
            "A policy whose document cannot be read is reported as failed (exit code 3), and the others are judged.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["Type", "Entity", "Policy"];

    type Output = Listing<PermissiveInlinePolicy>;

    async fn run(self, cx: &Context) -> Result<Listing<PermissiveInlinePolicy>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverPermissiveInlinePolicies);

impl DiscoverPermissiveInlinePolicies {
    /// One reading for all kinds, in whatever order IAM gives them: what is found is put in order at the end.
    async fn list(self, cx: &Context, mut out: Out<PermissiveInlinePolicy>) -> Result<()> {
        let kind = |focus: &Focus| match focus {
            Focus::User => EntityType::User,
            Focus::Group => EntityType::Group,
            Focus::Role => EntityType::Role,
        };
        let kinds = everyone().iter().filter(|focus| self.focus.contains(focus)).map(kind).collect();
        let mut found = Vec::new();
        let mut groups = Groups::default();
        let mut pages = Iam::new(cx).details(kinds);
        while let Some(page) = pages.try_next().await? {
            page.user_detail_list().iter().for_each(|user| groups.add(user));
            let users = page.user_detail_list().iter().map(|user| (Type::User, user.user_name(), user.user_policy_list()));
            let roles = page.role_detail_list().iter().map(|role| (Type::Role, role.role_name(), role.role_policy_list()));
            let groups = page.group_detail_list().iter().map(|group| (Type::Group, group.group_name(), group.group_policy_list()));
            for (r#type, entity, policies) in users.chain(roles).chain(groups) {
                let entity = entity.unwrap_or_default();
                for policy in policies {
                    match self.judge(r#type, entity, policy) {
                        Ok(permissive) => found.extend(permissive),
                        Err(error) => unreadable(cx, format!("{entity}/{}", policy.policy_name().unwrap_or_default()), error)?,
                    }
                }
            }
        }
        found.sort_by(|a, b| (a.r#type, &a.entity, &a.policy).cmp(&(b.r#type, &b.entity, &b.policy)));
        for mut permissive in found {
            if permissive.permissive.risk >= Risk::Escalation {
                permissive.effective_admins = permissive.principals(&groups);
            }
            out.send(permissive).await?;
        }
        Ok(())
    }

    fn judge(&self, r#type: Type, entity: &str, policy: &PolicyDetail) -> Result<Option<PermissiveInlinePolicy>> {
        let name = policy.policy_name().unwrap_or_default();
        let unreadable = |why: String| Error::Failed(format!("the policy `{name}` of `{entity}` cannot be judged: {why}"));
        let document = Document::read(policy.policy_document().unwrap_or_default()).map_err(unreadable)?;
        Ok(document.permissive(self.strict).map(|permissive| PermissiveInlinePolicy {
            r#type,
            entity: entity.to_owned(),
            policy: name.to_owned(),
            effective_admins: Vec::new(),
            permissive,
        }))
    }
}
