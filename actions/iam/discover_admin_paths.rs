use std::collections::{BTreeSet, HashMap, HashSet};

use aaws::{Action, Check, Context, Effect, Error, Example, Listing, Meta, Out, Result, async_trait};
use aws_sdk_iam::operation::get_account_authorization_details::GetAccountAuthorizationDetailsOutput;
use aws_sdk_iam::types::{AttachedPermissionsBoundary, AttachedPolicy, EntityType, PolicyDetail, RoleDetail};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{GET_ACCOUNT_AUTHORIZATION_DETAILS, Iam, SERVICE_LINKED, in_force, policy_name, unreadable};
use super::escalations::{UNBOUND_ROLE, UNBOUND_USER};
use super::statements::{ADMINISTRATOR, Document, Reach, Together};
use super::trust::{Doors, Entry};

/// Find users and roles that are administrators, or can become one.
///
/// All policies of a user or role are judged as one: its own, those attached to it, and those of a user's groups. So combinations over several
/// policies are found, and what one policy denies is allowed by none. Who can become one that is found is found, too: by a role that may be assumed, a
/// user for whom keys may be made, or a group that may be joined. The whole account is read a thousand entities a call.
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
    /// How near to everything it is.
    risk: AdminRisk,
    /// `Administrator`, or each known way to more: `CreatePolicyVersion`, `PassRole+RunInstances`; where it leads there by some resources only, with each of
    /// these: `AssumeRole:role/deployer`.
    ways: Vec<String>,
    /// The policies that allow these, by name; of a user's group `group/admins/AdministratorAccess`.
    policies: Vec<String>,
    /// Whether each of the ways is open under conditions only.
    conditional: bool,
    /// ARN of the policy that bounds its permissions.
    permissions_boundary: Option<String>,
    /// ARN of the user or role.
    arn: String,
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
                    {"PrincipalType": "User", "PrincipalName": "alice", "Risk": "admin", "Ways": ["Administrator"], "Policies": ["group/admins/everything"], "Conditional": false, "PermissionsBoundary": null, "Arn": "arn:aws:iam::123456789012:user/alice"},
                    {"PrincipalType": "Role", "PrincipalName": "worker", "Risk": "escalation", "Ways": ["PassRole+RunInstances"], "Policies": ["pass", "run"], "Conditional": false, "PermissionsBoundary": null, "Arn": "arn:aws:iam::123456789012:role/worker"}
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
                output: r#"[{"PrincipalType": "User", "PrincipalName": "alice", "Risk": "admin", "Ways": ["Administrator"], "Policies": ["everything"], "Conditional": false, "PermissionsBoundary": null, "Arn": "arn:aws:iam::123456789012:user/alice"}]"#,
                given: &[
                    r#"inline:user:alice:everything={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#,
                    r#"inline:role:worker:version={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:CreatePolicyVersion", "Resource": "*"}]}"#,
                ],
            },
        ],
        notes: &[
            super::GLOBAL,
            "Ways to more are those that `discover_permissive_policies` knows, and names with who published them. They count where they are allowed on \
             all resources of a kind, or on the user itself (`${aws:username}`); to change oneself, also on its own ARN, its groups and the policies that it \
             has; and to become another, on a user, group or role that is found itself.",
            "What a `Deny` without a condition covers does not count as allowed, whichever of the policies it is in. A `Deny` with a condition subtracts \
             nothing. Whoever may do everything but what is IAM's is no administrator, but may still have other ways.",
            "With a permissions boundary only those ways count that the boundary allows, too, unless it allows to change or delete itself. An organization's policies, session policies and policies of \
             resources are not looked at.",
            "A role that is found is a way for whoever of the account may assume it, by its trust policy and, where that does not name them, by a policy of theirs; \
             whatever its conditions are. One that a service may assume is a way for whoever may pass it to something that is made with it. Who may assume it \
             from elsewhere is not looked at: see `discover_trust_policies`.",
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
        for group in account.absent_groups() {
            unreadable(cx, group.clone(), Error::Failed(format!("the group `{group}` cannot be judged: IAM does not give it")))?;
        }
        for path in account.paths().into_iter().filter(|path| path.risk >= self.risk) {
            out.send(path).await?;
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
    /// Whom it lets assume it; nobody where it is a user.
    doors: Doors,
}

/// A group.
struct Group {
    arn: String,
    policies: Policies,
}

/// What IAM tells of an account.
#[derive(Default)]
struct Account {
    principals: Vec<Principal>,
    groups: HashMap<String, Group>,
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
            self.groups.insert(name.to_owned(), Group { arn: group.arn().unwrap_or_default().to_owned(), policies });
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
                doors: Doors::default(),
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
                doors: doors(cx, role)?,
            });
        }
        Ok(())
    }

    /// The policies that somebody has and IAM did not give, each once.
    fn absent(&self) -> BTreeSet<&String> {
        let groups = &self.groups;
        let had = self.principals.iter().flat_map(|principal| {
            let of_groups = principal.groups.iter().filter_map(move |group| groups.get(group)).flat_map(|group| &group.policies.attached);
            principal.policies.attached.iter().chain(of_groups).chain(&principal.boundary)
        });
        had.filter(|arn| !self.managed.contains_key(*arn) && !self.unread.contains(*arn)).collect()
    }

    /// The groups that somebody is in and IAM did not give, each once.
    fn absent_groups(&self) -> BTreeSet<&String> {
        self.principals.iter().flat_map(|principal| &principal.groups).filter(|group| !self.groups.contains_key(*group)).collect()
    }

    /// All policies of somebody, under the names that they are printed by.
    fn held<'a>(&'a self, principal: &'a Principal) -> Vec<(String, &'a Document)> {
        let named = |prefix: String, policies: &'a Policies| {
            let managed = policies.attached.iter().filter_map(|arn| self.managed.get(arn));
            let all = policies.inline.iter().chain(managed);
            all.map(move |(name, document)| (format!("{prefix}{name}"), document)).collect::<Vec<_>>()
        };
        let of_groups = principal.groups.iter().filter_map(|group| Some((group, self.groups.get(group)?)));
        let of_groups = of_groups.flat_map(|(name, group)| named(format!("group/{name}/"), &group.policies));
        named(String::new(), &principal.policies).into_iter().chain(of_groups).collect()
    }

    /// Who is an administrator, or can become one, in the order of the principals. Who is found may be how others become one: so those are judged again
    /// whom the latest bring nearer, until nobody more is found.
    fn paths(&self) -> Vec<AdminPath> {
        let groups = self.groups.values().filter(|group| self.makes_powerful(group));
        let mut powerful: Vec<&str> = groups.map(|group| group.arn.as_str()).collect();
        let mut all: Vec<&Principal> = Vec::new();
        // None before the first round, which judges everybody.
        let mut latest: Option<Vec<&Principal>> = None;
        let mut found: Vec<Option<AdminPath>> = self.principals.iter().map(|_| None).collect();
        loop {
            let more: Vec<(usize, AdminPath)> = self
                .principals
                .iter()
                .enumerate()
                .filter(|(place, _)| found.get(*place).is_some_and(Option::is_none))
                .filter(|(_, principal)| latest.as_ref().is_none_or(|latest| self.is_nearer(principal, latest)))
                .filter_map(|(place, principal)| Some((place, self.judge(principal, &powerful, &all)?)))
                .collect();
            if more.is_empty() {
                return found.into_iter().flatten().collect();
            }
            let round: Vec<&Principal> = more.iter().filter_map(|(place, _)| self.principals.get(*place)).collect();
            powerful.extend(round.iter().map(|principal| principal.arn.as_str()));
            all.extend(&round);
            latest = Some(round);
            for (place, path) in more {
                if let Some(slot) = found.get_mut(place) {
                    *slot = Some(path);
                }
            }
        }
    }

    /// Whether somebody can become one of these in one step, as far as its boundary lets it.
    fn is_nearer(&self, principal: &Principal, latest: &[&Principal]) -> bool {
        let arns: Vec<&str> = latest.iter().map(|principal| principal.arn.as_str()).collect();
        let is_open = || latest.iter().any(|role| role.doors.entry(&principal.arn) == Entry::Open);
        let held = self.held(principal);
        is_open() || Together::of(held.iter().map(|(_, document)| *document)).becomes_one(&self.reach(principal, &arns, latest))
    }

    /// Whether whoever joins a group becomes an administrator by its policies, or can.
    fn makes_powerful(&self, group: &Group) -> bool {
        let managed = group.policies.attached.iter().filter_map(|arn| self.managed.get(arn)).map(|(_, document)| document);
        let all = group.policies.inline.iter().map(|(_, document)| document).chain(managed);
        let own = of_the_account(&group.policies).chain([group.arn.as_str()]).collect();
        !Together::of(all).ways(&Reach { own, ..Reach::default() }).is_empty()
    }

    /// What somebody can use, beside all of a kind. `powerful` are the ARNs of who was found already, `found` they themselves.
    fn reach<'a>(&'a self, principal: &'a Principal, powerful: &'a [&'a str], found: &[&'a Principal]) -> Reach<'a> {
        let groups = principal.groups.iter().filter_map(|name| self.groups.get(name));
        let of_groups = groups.flat_map(|group| of_the_account(&group.policies).chain([group.arn.as_str()]));
        let roles = || found.iter().copied().filter(|role| role.r#type == PrincipalType::Role);
        let assumable = roles().filter(|role| role.doors.entry(&principal.arn) != Entry::Closed);
        Reach {
            own: of_the_account(&principal.policies).chain([principal.arn.as_str()]).chain(of_groups).collect(),
            powerful,
            assumable: assumable.map(|role| role.arn.as_str()).collect(),
            passable: roles().filter(|role| role.doors.service).map(|role| role.arn.as_str()).collect(),
        }
    }

    /// How somebody is an administrator, or can become one.
    fn judge(&self, principal: &Principal, powerful: &[&str], found: &[&Principal]) -> Option<AdminPath> {
        let held = self.held(principal);
        let reach = self.reach(principal, powerful, found);
        let together = Together::of(held.iter().map(|(_, document)| *document));
        let mut ways = together.ways(&reach);
        // One that could not be read bounds nothing: that was said.
        if let Some((_, document)) = principal.boundary.as_ref().and_then(|arn| self.managed.get(arn)) {
            let unbound = match principal.r#type {
                PrincipalType::User => &UNBOUND_USER,
                PrincipalType::Role => &UNBOUND_ROLE,
            };
            let bounds = Together::of([document]);
            // Whoever may take the boundary away is not bounded.
            if !unbound.iter().any(|need| together.allows(need, &reach) && bounds.allows(need, &reach)) {
                let bounds = bounds.ways(&reach);
                let within = ways.into_iter().filter_map(|way| {
                    let bound = bounds.iter().find(|bound| bound.name == way.name)?;
                    way.within(bound)
                });
                ways = within.collect();
            }
        }
        let open =
            found.iter().filter(|role| role.doors.entry(&principal.arn) == Entry::Open && !together.denies("sts:AssumeRole", &role.arn));
        let open: BTreeSet<String> = open.map(|role| format!("AssumeRole:{}", name_of(&role.arn))).collect();
        let risk = match ways.first().map(|way| way.name) {
            Some(ADMINISTRATOR) => AdminRisk::Admin,
            None if open.is_empty() => return None,
            _ => AdminRisk::Escalation,
        };
        // Whoever may do everything has all the other ways too.
        if risk == AdminRisk::Admin {
            ways.truncate(1);
        }
        let policies: BTreeSet<usize> = ways.iter().flat_map(|way| way.policies.iter().copied()).collect();
        let conditional = open.is_empty() && ways.iter().all(|way| way.conditional);
        let mut names: Vec<String> = Vec::new();
        for way in &ways {
            match way.on.is_empty() {
                true => names.push(way.name.to_owned()),
                false => names.extend(way.on.iter().map(|arn| format!("{}:{}", way.name, name_of(arn)))),
            }
        }
        if risk != AdminRisk::Admin {
            let more: Vec<String> = open.into_iter().filter(|way| !names.contains(way)).collect();
            names.extend(more);
        }
        Some(AdminPath {
            principal_type: principal.r#type,
            principal_name: principal.name.clone(),
            arn: principal.arn.clone(),
            risk,
            ways: names,
            policies: policies.into_iter().filter_map(|place| held.get(place)).map(|(name, _)| name.clone()).collect(),
            conditional,
            permissions_boundary: principal.boundary.clone(),
        })
    }
}

/// The ARNs of the managed policies that the account can change: nobody changes what AWS keeps.
fn of_the_account(policies: &Policies) -> impl Iterator<Item = &str> {
    policies.attached.iter().map(String::as_str).filter(|arn| arn.split(':').nth(4) != Some("aws"))
}

/// What an ARN ends in: `role/path/name`.
fn name_of(arn: &str) -> &str {
    arn.splitn(6, ':').nth(5).unwrap_or(arn)
}

/// Whom a role lets assume it. Of a trust policy that cannot be read it is said, and it lets nobody in.
fn doors(cx: &Context, role: &RoleDetail) -> Result<Doors> {
    let (name, own) = (role.role_name().unwrap_or_default(), role.arn().and_then(|arn| arn.split(':').nth(4)).unwrap_or_default());
    let Some(document) = role.assume_role_policy_document() else { return Ok(Doors::default()) };
    Doors::read(document, own).or_else(|why| {
        let error = Error::Failed(format!("the trust policy of the role `{name}` cannot be judged: {why}"));
        unreadable(cx, name, error).map(|()| Doors::default())
    })
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
