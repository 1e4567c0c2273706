use std::collections::{BTreeSet, HashMap, HashSet};

use aaws::{Action, Check, Context, Effect, Error, Example, Listing, Meta, Out, Result, async_trait};
use aws_sdk_iam::operation::get_account_authorization_details::GetAccountAuthorizationDetailsOutput;
use aws_sdk_iam::types::{AttachedPermissionsBoundary, AttachedPolicy, EntityType, PolicyDetail};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{GET_ACCOUNT_AUTHORIZATION_DETAILS, Iam, SERVICE_LINKED, in_force, policy_name, unreadable};
use super::statements::{ADMINISTRATOR, Document, Together};

/// Find users and roles that are administrators, or can become one.
///
/// All policies of a user or role are judged as one: its own, those attached to it, and those of a user's groups. So combinations over several
/// policies are found, and what one policy denies is allowed by none. The whole account is read a thousand entities a call.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverAdminPaths {
    /// The least risk that is reported.
    #[serde(default)]
    pub risk: AdminRisk,
    /// Also service-linked roles, whose policies are AWS's own and cannot be changed.
    #[serde(default)]
    pub include_service_linked: bool,
}

/// How near to everything somebody is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdminRisk {
    /// Can get more than it was given, up to everything.
    #[default]
    Escalation,
    /// May do everything, or everything of IAM on all users, groups or roles.
    Admin,
}

/// A user or role that is an administrator, or can become one.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct AdminPath {
    /// Whether it is a user or a role.
    principal_type: PrincipalType,
    /// Name of the user or role.
    principal_name: String,
    /// Its ARN.
    arn: String,
    /// How near to everything it is.
    risk: AdminRisk,
    /// `Administrator`, or each known way to more: `CreatePolicyVersion`, `PassRole+RunInstances`.
    ways: Vec<String>,
    /// The policies that allow these, by name; of a user's group `group/admins/AdministratorAccess`.
    policies: Vec<String>,
    /// Whether each of the ways is open under conditions only.
    conditional: bool,
    /// ARN of the policy that bounds its permissions.
    permissions_boundary: Option<String>,
}

/// What somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub enum PrincipalType {
    /// A user.
    User,
    /// A role.
    Role,
}

#[async_trait]
impl Action for DiscoverAdminPaths {
    const META: Meta = Meta {
        path: "iam/discover_admin_paths",
        effect: Effect::Read,
        calls: &[GET_ACCOUNT_AUTHORIZATION_DETAILS],
        rules: &[],
        examples: &[
            Example {
                title: "Find who is an administrator, or can become one",
                input: "{}",
                output: r#"[
                    {"PrincipalType": "User", "PrincipalName": "alice", "Arn": "arn:aws:iam::123456789012:user/alice", "Risk": "admin", "Ways": ["Administrator"], "Policies": ["group/admins/everything"], "Conditional": false, "PermissionsBoundary": null},
                    {"PrincipalType": "Role", "PrincipalName": "worker", "Arn": "arn:aws:iam::123456789012:role/worker", "Risk": "escalation", "Ways": ["PassRole+RunInstances"], "Policies": ["pass", "run"], "Conditional": false, "PermissionsBoundary": null}
                ]"#,
                given: &[
                    r#"inline:group:admins:everything={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#,
                    "member:alice/admins",
                    r#"inline:role:worker:pass={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"}]}"#,
                    r#"inline:role:worker:run={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:RunInstances", "Resource": "*"}]}"#,
                    "user:bob",
                ],
            },
            Example {
                title: "Find the administrators only",
                input: r#"{"risk": "admin"}"#,
                output: r#"[{"PrincipalType": "User", "PrincipalName": "alice", "Arn": "arn:aws:iam::123456789012:user/alice", "Risk": "admin", "Ways": ["Administrator"], "Policies": ["everything"], "Conditional": false, "PermissionsBoundary": null}]"#,
                given: &[
                    r#"inline:user:alice:everything={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#,
                    r#"inline:role:worker:version={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:CreatePolicyVersion", "Resource": "*"}]}"#,
                ],
            },
        ],
        notes: &[
            super::GLOBAL,
            "Ways to more are those that `discover_permissive_policies` knows, and names with who published them. They count where they are allowed on \
             all resources of a kind, or on the user itself (`${aws:username}`).",
            "What a `Deny` without a condition covers does not count as allowed, whichever of the policies it is in. A `Deny` with a condition subtracts \
             nothing. Whoever may do everything but what is IAM's is no administrator, but may still have other ways.",
            "With a permissions boundary only those ways count that the boundary allows, too. An organization's policies, session policies and policies of \
             resources are not looked at.",
            "Which roles somebody may assume or pass, and what those may do, is not followed. A role that is an administrator is a way for whom its trust \
             policy names: see `discover_trust_policies`.",
            "A group is no principal: its policies count for each of its users. The root user may do everything, and is not printed.",
            "A policy whose document cannot be read, or which IAM does not give, is reported as failed (exit code 3), and the others are judged.",
        ],
    };

    const IDENTITY: &'static [&'static str] = &["Arn", "Risk"];
    const OVERVIEW: &'static [Check] =
        &[Check { title: "Users and roles that are administrators, or can become one", input: "{}", since: None, mend: None }];

    type Output = Listing<AdminPath>;

    async fn run(self, cx: &Context) -> Result<Listing<AdminPath>> {
        Ok(Listing::produce(cx, |cx, out| async move { self.list(&cx, out).await }))
    }
}

aaws::register!(DiscoverAdminPaths);

impl DiscoverAdminPaths {
    /// Who has which policies is known when all pages are read: IAM gives them in no order.
    async fn list(self, cx: &Context, mut out: Out<AdminPath>) -> Result<()> {
        let kinds =
            vec![EntityType::User, EntityType::Group, EntityType::Role, EntityType::LocalManagedPolicy, EntityType::AwsManagedPolicy];
        let mut account = Account::default();
        let mut pages = Iam::new(cx).details(kinds);
        while let Some(page) = pages.try_next().await? {
            account.add(cx, &page, self.include_service_linked)?;
        }
        account.principals.sort_by(|a, b| (a.r#type, &a.name).cmp(&(b.r#type, &b.name)));
        for arn in account.absent() {
            unreadable(cx, arn.clone(), Error::Failed(format!("the policy `{arn}` cannot be judged: IAM does not give it")))?;
        }
        for principal in &account.principals {
            if let Some(path) = account.judge(principal).filter(|path| path.risk >= self.risk) {
                out.send(path).await?;
            }
        }
        Ok(())
    }
}

/// What a user, group or role has.
#[derive(Default)]
struct Policies {
    /// Inline policies: their names, and what they say.
    inline: Vec<(String, Document)>,
    /// The ARNs of managed policies.
    attached: Vec<String>,
}

/// A user or a role.
struct Principal {
    r#type: PrincipalType,
    name: String,
    arn: String,
    policies: Policies,
    groups: Vec<String>,
    boundary: Option<String>,
}

/// What IAM tells of an account.
#[derive(Default)]
struct Account {
    principals: Vec<Principal>,
    groups: HashMap<String, Policies>,
    /// Managed policies by ARN: their names, and what they say.
    managed: HashMap<String, (String, Document)>,
    /// Managed policies of which it was said already that they cannot be judged.
    unread: HashSet<String>,
}

impl Account {
    fn add(&mut self, cx: &Context, page: &GetAccountAuthorizationDetailsOutput, service_linked: bool) -> Result<()> {
        for policy in page.policies() {
            let arn = policy.arn().unwrap_or_default().to_owned();
            match in_force(policy) {
                Ok((_, document)) => drop(self.managed.insert(arn, (policy_name(policy).to_owned(), document))),
                Err(error) => {
                    unreadable(cx, policy_name(policy), error)?;
                    self.unread.insert(arn);
                }
            }
        }
        for group in page.group_detail_list() {
            let name = group.group_name().unwrap_or_default();
            let policies = policies(cx, name, group.group_policy_list(), group.attached_managed_policies())?;
            self.groups.insert(name.to_owned(), policies);
        }
        for user in page.user_detail_list() {
            let name = user.user_name().unwrap_or_default();
            self.principals.push(Principal {
                r#type: PrincipalType::User,
                name: name.to_owned(),
                arn: user.arn().unwrap_or_default().to_owned(),
                policies: policies(cx, name, user.user_policy_list(), user.attached_managed_policies())?,
                groups: user.group_list().to_vec(),
                boundary: user.permissions_boundary().and_then(boundary),
            });
        }
        for role in page.role_detail_list() {
            if !service_linked && role.path().is_some_and(|path| path.starts_with(SERVICE_LINKED)) {
                continue;
            }
            let name = role.role_name().unwrap_or_default();
            self.principals.push(Principal {
                r#type: PrincipalType::Role,
                name: name.to_owned(),
                arn: role.arn().unwrap_or_default().to_owned(),
                policies: policies(cx, name, role.role_policy_list(), role.attached_managed_policies())?,
                groups: Vec::new(),
                boundary: role.permissions_boundary().and_then(boundary),
            });
        }
        Ok(())
    }

    /// The policies that somebody has and IAM did not give, each once.
    fn absent(&self) -> BTreeSet<&String> {
        let groups = &self.groups;
        let had = self.principals.iter().flat_map(|principal| {
            let of_groups = principal.groups.iter().filter_map(move |group| groups.get(group)).flat_map(|policies| &policies.attached);
            principal.policies.attached.iter().chain(of_groups).chain(&principal.boundary)
        });
        had.filter(|arn| !self.managed.contains_key(*arn) && !self.unread.contains(*arn)).collect()
    }

    /// All policies of somebody, under the names that they are printed by.
    fn held<'a>(&'a self, principal: &'a Principal) -> Vec<(String, &'a Document)> {
        let named = |prefix: String, policies: &'a Policies| {
            let managed = policies.attached.iter().filter_map(|arn| self.managed.get(arn));
            let all = policies.inline.iter().chain(managed);
            all.map(move |(name, document)| (format!("{prefix}{name}"), document)).collect::<Vec<_>>()
        };
        let of_groups = principal.groups.iter().filter_map(|group| Some((group, self.groups.get(group)?)));
        let of_groups = of_groups.flat_map(|(group, policies)| named(format!("group/{group}/"), policies));
        named(String::new(), &principal.policies).into_iter().chain(of_groups).collect()
    }

    /// How somebody is an administrator, or can become one.
    fn judge(&self, principal: &Principal) -> Option<AdminPath> {
        let held = self.held(principal);
        let mut ways = Together::of(held.iter().map(|(_, document)| *document)).ways();
        // One that could not be read bounds nothing: that was said.
        if let Some((_, document)) = principal.boundary.as_ref().and_then(|arn| self.managed.get(arn)) {
            let bounds = Together::of([document]).ways();
            ways.retain_mut(|way| match bounds.iter().find(|bound| bound.name == way.name) {
                Some(bound) => {
                    way.conditional |= bound.conditional;
                    true
                }
                None => false,
            });
        }
        let risk = match ways.first()?.name {
            ADMINISTRATOR => AdminRisk::Admin,
            _ => AdminRisk::Escalation,
        };
        // Whoever may do everything has all the other ways too.
        if risk == AdminRisk::Admin {
            ways.truncate(1);
        }
        let policies: BTreeSet<usize> = ways.iter().flat_map(|way| way.policies.iter().copied()).collect();
        Some(AdminPath {
            principal_type: principal.r#type,
            principal_name: principal.name.clone(),
            arn: principal.arn.clone(),
            risk,
            ways: ways.iter().map(|way| way.name.to_owned()).collect(),
            policies: policies.into_iter().filter_map(|place| held.get(place)).map(|(name, _)| name.clone()).collect(),
            conditional: ways.iter().all(|way| way.conditional),
            permissions_boundary: principal.boundary.clone(),
        })
    }
}

/// The policies of one entity; of those whose document cannot be read it is said.
fn policies(cx: &Context, entity: &str, inline: &[PolicyDetail], attached: &[AttachedPolicy]) -> Result<Policies> {
    let mut policies = Policies::default();
    for policy in inline {
        let name = policy.policy_name().unwrap_or_default();
        match Document::read(policy.policy_document().unwrap_or_default()) {
            Ok(document) => policies.inline.push((name.to_owned(), document)),
            Err(why) => {
                let error = Error::Failed(format!("the policy `{name}` of `{entity}` cannot be judged: {why}"));
                unreadable(cx, format!("{entity}/{name}"), error)?;
            }
        }
    }
    policies.inline.sort_by(|(a, _), (b, _)| a.cmp(b));
    policies.attached = attached.iter().filter_map(AttachedPolicy::policy_arn).map(str::to_owned).collect();
    policies.attached.sort();
    Ok(policies)
}

fn boundary(boundary: &AttachedPermissionsBoundary) -> Option<String> {
    boundary.permissions_boundary_arn().map(str::to_owned)
}
