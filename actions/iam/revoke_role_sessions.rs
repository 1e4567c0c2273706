use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use aaws::{
    Action, Call, ChangeOne, Code, Context, Effect, Error, ErrorContext, Example, FailedItems, Failure, Grant, Items, Meta, Outcome,
    Result, Reversible, Step, When, async_trait, left_alone,
};
use aws_sdk_iam::Client;
use futures::stream::{self, TryStreamExt};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account::{RESERVED, SERVICE_LINKED};
use super::changes::{NO_SUCH_ENTITY, is_missing, look_up, patiently, per_item};
use super::lockout::ending;
use super::server_clock::ServerClock;
use super::statements::parse;

/// The inline policy that ends sessions, named as the console names it.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html>
const POLICY: &str = "AWSRevokeOlderSessions";

/// IAM's code for a role that only a service can change.
const UNMODIFIABLE: &str = "UnmodifiableEntity";

/// End all sessions of IAM roles that were opened until now.
///
/// Puts the inline policy `AWSRevokeOlderSessions` on each role, as the console does: it denies everything to sessions whose credentials were issued
/// before the run began. Who assumes the role again after that is let in, so take away first what lets a stranger assume it: its trust policy, or the
/// credentials that it is assumed with. What uses the role rightly gets new credentials by itself in most cases, such as on EC2 and Lambda, and is denied
/// until then.
///
/// Service-linked roles, and those that IAM Identity Center keeps, cannot be changed and are skipped. The names of the roles that failed are printed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRoleSessions {
    /// Roles, by their names. An empty list changes nothing.
    pub roles: Items<String>,
    /// Go on though a role, or what it has of the policy, could not be looked at; what the policy said before is then not known, and cannot be put back.
    #[serde(default)]
    pub unchecked: bool,
    /// Take a name that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

/// A role of any path: an ARN holds the path, which the inputs do not tell.
const ROLES: &[&str] = &["arn:${Partition}:iam::${Account}:role/${roles}", "arn:${Partition}:iam::${Account}:role/*/${roles}"];

#[async_trait]
impl Action for RevokeRoleSessions {
    const META: Meta = Meta {
        path: "iam/revoke_role_sessions",
        effect: Effect::Disrupt,
        calls: &[
            // Who asks: needs no permission, and cannot be denied.
            Call::read("sts:GetCallerIdentity", &[]),
            Call::read("iam:GetRole", &[Grant::new("iam:GetRole", ROLES)]),
            Call::read("iam:GetRolePolicy", &[Grant::new("iam:GetRolePolicy", ROLES)]),
            Call::write("iam:PutRolePolicy", &[Grant::new("iam:PutRolePolicy", ROLES)]),
            Call::write("iam:DeleteRolePolicy", &[Grant::new("iam:DeleteRolePolicy", ROLES)])
                .when(When::Rare("the run is undone by `aaws undo`, and a role had no such policy before")),
        ],
        rules: &[],
        examples: &[Example {
            title: "End the sessions of two roles",
            input: r#"{"roles": ["worker", "deployer"]}"#,
            output: "[]",
            given: &["role:worker", "role:deployer"],
        }],
        notes: &[
            super::GLOBAL,
            "A policy is known everywhere in AWS after some seconds.",
            "The role that the command itself runs with is refused: it could not undo what it did.",
            "Sessions keep their credentials until these expire; each request with them is denied. What a session was already let do goes on: presigned \
             addresses are checked when they are used, an open connection to a database is not.",
            "Sessions that were opened with a session of the role (role chaining) belong to the other role: revoke the sessions of that one, too.",
            "The inline policies of a role have 10,240 characters together; where there is no room for one more, IAM refuses it (LimitExceeded).",
            "Running it again ends the sessions that were opened meanwhile. A role whose later sessions are ended already is left as it is.",
            "What counts is AWS's clock, where that of this machine is wrong.",
        ],
    };

    const BINDS: &'static [&'static str] = &["what the inline policy `AWSRevokeOlderSessions` says"];
    const REVERSIBLE: Reversible = Reversible::Yes(
        "`aaws undo` gives each role the inline policy that it had by that name, or none. Sessions that have not expired by then work again.",
    );

    type Output = FailedItems;

    async fn run(self, cx: &Context) -> Result<FailedItems> {
        let iam = aaws::client!(cx, aws_sdk_iam);
        // IAM has 1,000 roles by default, and 5,000 at most (IAM user guide, "IAM and AWS STS quotas"): all of them fit in memory.
        let names: Vec<String> = self.roles.stream().try_collect().await?;
        if names.iter().any(String::is_empty) {
            return Err(Error::field("roles", "`roles`: a name is empty"));
        }
        let clock = ServerClock::default();
        let own = if names.is_empty() { None } else { own_role(cx, &clock).await? };
        // Sessions are as old as AWS's clock says: by one that is behind, the latest would go on.
        let until = clock.there(cx.now());
        if until != cx.now() {
            tracing::warn!("the clock here says {:.0}, and that of AWS {until:.0}, which counts", cx.now());
        }
        let judge = Judge { own, until, unchecked: self.unchecked, ignore_not_found: self.ignore_not_found };
        let unique: BTreeSet<&String> = names.iter().filter(|name| is_a_name(name)).collect();
        let looked = look_up(cx, unique.into_iter().cloned().collect(), |name| look(iam.clone(), name)).await?;
        let looked: HashMap<String, Result<Looked, Failure>> = looked.into_iter().collect();

        let mut seen = HashSet::new();
        let mut roles = Vec::with_capacity(names.len());
        for name in names {
            let precheck = match seen.insert(name.clone()) {
                true => judge.precheck(&name, looked.get(&name)),
                false => Some(Outcome::Unchanged("duplicate id".into())),
            };
            let before = looked.get(&name).and_then(|found| found.as_ref().ok()).map(|found| found.policy.clone());
            roles.push(Role { name, before, precheck });
        }
        let revoke = Revoke { iam, until: format!("{until:.3}"), ignore_not_found: self.ignore_not_found };
        Ok(cx.change_each(stream::iter(roles.into_iter().map(Ok)), revoke).await?.failed())
    }
}

aaws::register!(RevokeRoleSessions, undo = RevokeStep);

/// What decides whether a role is changed.
struct Judge {
    /// The role that the command runs with, if it does with one.
    own: Option<String>,
    /// Sessions that were opened before this are to end.
    until: Timestamp,
    unchecked: bool,
    ignore_not_found: bool,
}

impl Judge {
    /// What is to be said of a role without changing it.
    fn precheck(&self, name: &str, looked: Option<&Result<Looked, Failure>>) -> Option<Outcome> {
        if !is_a_name(name) {
            let why = "no role can have such a name: give the name of the role, without its path or ARN";
            return Some(Outcome::Failed(Failure::permanent("InvalidRoleName", why)));
        }
        // Names of roles are unique in an account, whatever the path and the case.
        if self.own.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name)) {
            let why = "this command runs with a session of it, which would end too: run it with other credentials";
            return Some(Outcome::Failed(Failure::permanent("OwnRole", why)));
        }
        match looked {
            Some(Ok(found)) if found.path.starts_with(SERVICE_LINKED) => {
                Some(Outcome::skipped("it is a service-linked role: only its service can change it"))
            }
            Some(Ok(found)) if found.path.starts_with(RESERVED) => {
                Some(Outcome::skipped("an AWS service keeps it, such as IAM Identity Center: end its sessions there"))
            }
            Some(Ok(found)) => {
                let already = found.policy.as_ref().and_then(ended).filter(|ended| *ended >= self.until);
                already.map(|ended| Outcome::Unchanged(format!("sessions that were opened before {ended} are ended already")))
            }
            Some(Err(failure)) if failure.code == NO_SUCH_ENTITY => Some(no_such_role(self.ignore_not_found, name)),
            _ if self.unchecked => None,
            Some(Err(Failure { code, message, .. })) => {
                let why = format!(
                    "what it has of the policy {POLICY} could not be looked at: {code}: {message}; `unchecked` puts it all the same"
                );
                Some(Outcome::Failed(Failure::permanent(Code::Unchecked, why)))
            }
            None => Some(Outcome::Failed(Failure::permanent(Code::Unchecked, "it was not looked at"))),
        }
    }
}

/// The instant before which a policy ends sessions, if that is what it does; as it is written here, or as the console writes it.
fn ended(policy: &Value) -> Option<Timestamp> {
    let statement = match policy.get("Statement")? {
        Value::Array(list) => list.first().filter(|_| list.len() == 1)?,
        one => one,
    };
    let is_all = |name: &str| statement.get(name).is_some_and(|all| *all == json!("*") || *all == json!(["*"]));
    let condition = statement.get("Condition")?;
    let until = condition.get("DateLessThan")?.get("aws:TokenIssueTime")?.as_str()?;
    let is_deny = statement.get("Effect").and_then(Value::as_str) == Some("Deny");
    let alone = *condition == json!({ "DateLessThan": { "aws:TokenIssueTime": until } });
    (is_deny && alone && is_all("Action") && is_all("Resource")).then(|| until.parse().ok())?
}

fn no_such_role(ignored: bool, name: &str) -> Outcome {
    Outcome::not_found(ignored, format!("there is no role `{name}`"))
}

/// Whether a role may have this name (IAM API reference, CreateRole).
fn is_a_name(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || "_+=,.@-".contains(c))
}

/// The role whose session this command runs with, if it does; and what time it is there.
async fn own_role(cx: &Context, clock: &ServerClock) -> Result<Option<String>> {
    let sts = aaws::client!(cx, aws_sdk_sts);
    let caller = sts.get_caller_identity().customize().interceptor(clock.clone()).send().await;
    let caller = caller.context(|| "find out who is asking, who must not end their own session")?;
    let name = caller.arn().and_then(|arn| arn.split_once(":assumed-role/")).and_then(|(_, rest)| rest.split('/').next());
    Ok(name.map(str::to_owned))
}

/// How a role stands.
struct Looked {
    path: String,
    /// What the policy says, if there is one.
    policy: Option<Value>,
}

/// A role's name and how it stands, or why that is not known.
async fn look(iam: Client, name: String) -> Result<(String, Result<Looked, Failure>)> {
    let role = iam.get_role().role_name(&name).send().await.context(|| format!("find the role `{name}`"));
    let role = match per_item(role)? {
        Ok(role) => role,
        Err(failure) => return Ok((name, Err(failure))),
    };
    let path = role.role.map(|role| role.path).unwrap_or_default();
    let policy = per_item(inline_policy(&iam, &name).await)?;
    Ok((name, policy.map(|policy| Looked { path, policy })))
}

/// What the policy of a role says, if there is one.
async fn inline_policy(iam: &Client, role: &str) -> Result<Option<Value>> {
    let answer = iam.get_role_policy().role_name(role).policy_name(POLICY).send().await;
    let answer = match answer.context(|| format!("read the inline policy {POLICY} of the role `{role}`")) {
        Ok(answer) => answer,
        Err(e) if is_missing(&e) => return Ok(None),
        Err(e) => return Err(e),
    };
    let unreadable = |why: String| Error::Failed(format!("cannot read the inline policy {POLICY} of the role `{role}`: {why}"));
    parse(answer.policy_document()).map(Some).map_err(unreadable)
}

async fn put(iam: &Client, role: &str, document: &Value) -> Result<()> {
    let request = iam.put_role_policy().role_name(role).policy_name(POLICY).policy_document(document.to_string());
    request.send().await.context(|| format!("put the inline policy {POLICY} on the role `{role}`")).map(drop)
}

/// A role whose sessions are to be ended.
struct Role {
    name: String,
    /// What the policy says, if there is one; none where that could not be read.
    before: Option<Option<Value>>,
    precheck: Option<Outcome>,
}

struct Revoke {
    iam: Client,
    /// Sessions that were opened before this end, RFC 3339 in UTC.
    until: String,
    ignore_not_found: bool,
}

#[async_trait]
impl ChangeOne for Revoke {
    type Item = Role;
    type Done = ();

    fn id(&self, role: &Role) -> String {
        role.name.clone()
    }

    fn summary(&self) -> String {
        format!("end the sessions of roles that were opened before {}", self.until)
    }

    fn plan(&self, role: &Role) -> Option<String> {
        let replaced = if matches!(role.before, Some(Some(_))) { ", in the place of the one that it has" } else { "" };
        Some(format!("end its sessions with the inline policy {POLICY}{replaced}"))
    }

    fn precheck(&self, role: &Role) -> Option<Outcome> {
        role.precheck.clone()
    }

    fn state(&self, role: &Role) -> Option<Value> {
        role.before.as_ref().map(|policy| json!({ "policy": policy }))
    }

    async fn apply(&self, cx: &Context, role: &Role) -> Result<Outcome> {
        let name = &role.name;
        let noted = match &role.before {
            Some(before) => {
                let step = RevokeStep { role: name.clone(), until: self.until.clone(), before: before.clone() };
                Some(cx.note(name, &step).await?)
            }
            None => None,
        };
        let lost = if role.before.is_some() { "" } else { "; what the policy said before is not known, and cannot be put back" };
        let answer = put(&self.iam, name, &ending(&self.until)).await;
        if answer.as_ref().is_err_and(|e| !e.is_ambiguous()) {
            noted.into_iter().for_each(|noted| cx.forget(noted));
        }
        Ok(match per_item(answer)? {
            Ok(()) => Outcome::Done((), Some(format!("opened before {}: ended{lost}", self.until))),
            Err(failure) if failure.code == NO_SUCH_ENTITY => no_such_role(self.ignore_not_found, name),
            Err(failure) if failure.code == UNMODIFIABLE => {
                Outcome::skipped(format!("only the service that it belongs to can change it: {}", failure.message))
            }
            Err(failure) => Outcome::Failed(failure),
        })
    }
}

/// Sessions of a role were ended.
#[derive(Debug, Serialize, Deserialize)]
struct RevokeStep {
    role: String,
    until: String,
    /// What the policy said before, if there was one.
    before: Option<Value>,
}

impl fmt::Display for RevokeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "end the sessions of the role `{}` that were opened before {}", self.role, self.until)
    }
}

#[async_trait]
impl Step for RevokeStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let iam = aaws::client!(cx, aws_sdk_iam);
        patiently(|| async {
            let Some(before) = &self.before else {
                let deleted = iam.delete_role_policy().role_name(&self.role).policy_name(POLICY).send().await;
                return match deleted.context(|| format!("delete the inline policy {POLICY} of the role `{}`", self.role)) {
                    Err(e) if !is_missing(&e) => Err(e),
                    _ => Ok(()),
                };
            };
            put(&iam, &self.role, before).await
        })
        .await
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let iam = aaws::client!(cx, aws_sdk_iam);
        let now = inline_policy(&iam, &self.role).await?;
        if now == self.before {
            return Ok(Some(Outcome::Unchanged(format!("the inline policy {POLICY} of the role `{}` is as before", self.role))));
        }
        Ok(match now {
            Some(now) if now == ending(&self.until) => None,
            Some(_) => Some(left_alone(format!("the inline policy {POLICY} was changed since"))),
            None => Some(left_alone(format!("the inline policy {POLICY} is gone"))),
        })
    }
}
