use std::fmt;

use aaws::ItemResult;
use aaws::{
    Action, Call, Change, Context, Effect, Error, ErrorContext, Example, Failure, Grant, Meta, OrPlan, Outcome, Record, Result, Status,
    When, async_trait,
};
use aws_sdk_iam::Client;
use aws_sdk_iam::types::StatusType;
use futures::stream::{self, TryStreamExt};
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::changes::{aws_policy, failure, is_missing, not_a_user, of_item, users};

/// What AWS itself attaches to users whose keys leaked, the newest first.
const QUARANTINE: [&str; 2] = ["AWSCompromisedKeyQuarantineV3", "AWSCompromisedKeyQuarantineV2"];

/// The inline policy that denies everything.
const DENY_ALL: &str = "aaws-quarantine-deny-all";

/// The inline policy that ends sessions.
const END_SESSIONS: &str = "aaws-quarantine-end-sessions";

/// AWS takes requests from clocks that are this much off, and IAM needs some seconds until a policy is known everywhere: sessions opened until
/// then are ended too.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// Lock out an IAM user whose credentials may be in wrong hands.
///
/// First the user is denied: the policy `AWSCompromisedKeyQuarantineV3` is attached, which is what AWS itself does with users whose keys
/// leaked. Where that cannot be attached, say because the user has as many policies as there may be, `AWSCompromisedKeyQuarantineV2` is, and
/// otherwise an inline policy that denies everything. Only then come the other steps, so that nobody makes a new key in between:
///
/// - an inline policy ends the sessions that the user has opened, those of the console too;
/// - access keys become `Inactive`;
/// - the console password is deleted, which cannot be undone;
/// - credentials for single services (CodeCommit, Keyspaces, Bedrock and others), SSH keys and signing certificates become `Inactive`.
///
/// A step that fails stops no other, and nothing is undone: a user who is half locked out stays so. Each step is an item of the report. What
/// is printed tells how the user stands now, and what each credential was before. Run it again to complete it, and to find what was made
/// while it ran.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuarantineUser {
    /// Name of the user.
    user: String,
    /// Deny everything, rather than the list of things that AWS's quarantine policy denies.
    #[serde(default)]
    deny_all: bool,
    /// Leave credentials for single services as they are.
    #[serde(default)]
    keep_service_credentials: bool,
    /// Leave SSH keys as they are.
    #[serde(default)]
    keep_ssh_keys: bool,
    /// Leave signing certificates as they are.
    #[serde(default)]
    keep_signing_certificates: bool,
}

/// How a user stands after a quarantine.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Quarantine {
    /// Name of the user.
    user_name: String,
    /// ARN of the user.
    arn: String,
    /// Whether every step is done, or was not needed.
    complete: bool,
    /// What denies: the ARN of AWS's policy, or the name of an inline policy. Null when no way worked.
    denied_by: Option<String>,
    /// Sessions opened before this instant are refused. Null when that step failed.
    sessions_end_before: Option<String>,
    /// The access keys. Null when they could not be listed.
    access_keys: Option<Vec<Credential>>,
    /// What became of the console password.
    console_password: Password,
    /// The credentials for single services. Null when they were to be kept, or could not be listed.
    service_credentials: Option<Vec<Credential>>,
    /// The SSH keys. Null when they were to be kept, or could not be listed.
    ssh_keys: Option<Vec<Credential>>,
    /// The signing certificates. Null when they were to be kept, or could not be listed.
    signing_certificates: Option<Vec<Credential>>,
    /// Every step and what became of it, in order.
    steps: Vec<Record>,
}

/// A credential before and after.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
struct Credential {
    /// Its id.
    id: String,
    /// Its status before: what to go back to when the quarantine is lifted.
    before: String,
    /// Its status now.
    status: String,
}

/// What became of a console password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Password {
    /// It is deleted.
    Deleted,
    /// The user had none.
    None,
    /// It could not be deleted.
    NotDeleted,
}

const USER: &[&str] = users!("user");
const KEEPS_SERVICE: When = When::Without(&["keep_service_credentials"]);
const KEEPS_SSH: When = When::Without(&["keep_ssh_keys"]);
const KEEPS_CERTIFICATES: When = When::Without(&["keep_signing_certificates"]);

#[async_trait]
impl Action for QuarantineUser {
    const META: Meta = Meta {
        path: "iam/quarantine_user",
        effect: Effect::Modify,
        calls: &[
            // Who asks: works for users, roles and everybody else, needs no permission and cannot be denied, all unlike a GetUser without name.
            Call::read("sts:GetCallerIdentity", &[]),
            Call::read("iam:GetUser", &[Grant::new("iam:GetUser", USER)]),
            Call::write(
                "iam:AttachUserPolicy",
                &[
                    Grant::new("iam:AttachUserPolicy", USER).condition(
                        "ArnEquals",
                        "iam:PolicyARN",
                        "arn:${Partition}:iam::aws:policy/AWSCompromisedKeyQuarantineV3",
                    ),
                    Grant::new("iam:AttachUserPolicy", USER)
                        .condition("ArnEquals", "iam:PolicyARN", "arn:${Partition}:iam::aws:policy/AWSCompromisedKeyQuarantineV2")
                        .when(When::Likely("`AWSCompromisedKeyQuarantineV3` cannot be attached")),
                ],
            )
            .when(When::Without(&["deny_all"])),
            Call::write("iam:PutUserPolicy", &[Grant::new("iam:PutUserPolicy", USER)]),
            Call::read("iam:ListAccessKeys", &[Grant::new("iam:ListAccessKeys", USER)]),
            // Not known before the keys are listed, and needed more than anything: never left out of a policy.
            Call::write("iam:UpdateAccessKey", &[Grant::new("iam:UpdateAccessKey", USER)]),
            Call::read("iam:GetLoginProfile", &[Grant::new("iam:GetLoginProfile", USER)]),
            Call::write("iam:DeleteLoginProfile", &[Grant::new("iam:DeleteLoginProfile", USER)]),
            Call::read("iam:ListServiceSpecificCredentials", &[Grant::new("iam:ListServiceSpecificCredentials", USER)]).when(KEEPS_SERVICE),
            Call::write("iam:UpdateServiceSpecificCredential", &[Grant::new("iam:UpdateServiceSpecificCredential", USER)])
                .when(KEEPS_SERVICE),
            Call::read("iam:ListSSHPublicKeys", &[Grant::new("iam:ListSSHPublicKeys", USER)]).when(KEEPS_SSH),
            Call::write("iam:UpdateSSHPublicKey", &[Grant::new("iam:UpdateSSHPublicKey", USER)]).when(KEEPS_SSH),
            Call::read("iam:ListSigningCertificates", &[Grant::new("iam:ListSigningCertificates", USER)]).when(KEEPS_CERTIFICATES),
            Call::write("iam:UpdateSigningCertificate", &[Grant::new("iam:UpdateSigningCertificate", USER)]).when(KEEPS_CERTIFICATES),
        ],
        rules: &[],
        examples: &[Example {
            title: "Lock out `alice`, but leave the credentials for single services as they are",
            input: r#"{"user": "alice", "keep_service_credentials": true}"#,
            output: r#"{
                "UserName": "alice",
                "Arn": "arn:aws:iam::123456789012:user/alice",
                "Complete": true,
                "DeniedBy": "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3",
                "SessionsEndBefore": "2026-01-31T12:05:00Z",
                "AccessKeys": [{"Id": "AKIAIOSFODNN7EXAMPLE", "Before": "Active", "Status": "Inactive"}],
                "ConsolePassword": "deleted",
                "ServiceCredentials": null,
                "SshKeys": [],
                "SigningCertificates": [],
                "Steps": [
                    {"item": "alice: deny", "status": "done", "message": "attached AWSCompromisedKeyQuarantineV3"},
                    {"item": "alice: sessions", "status": "done", "message": "opened before 2026-01-31T12:05:00Z: ended"},
                    {"item": "alice: access key AKIAIOSFODNN7EXAMPLE", "status": "done", "message": "Inactive"},
                    {"item": "alice: console password", "status": "done", "message": "deleted"}
                ]
            }"#,
            given: &["user:alice/console", "key:alice/AKIAIOSFODNN7EXAMPLE"],
        }],
        notes: &[
            super::GLOBAL,
            "AWS's quarantine policy denies a list of actions that attackers are known to use, not everything: `deny_all` does.",
            "The user who runs it is refused. Nobody is refused who runs it with an assumed role.",
            "A user has at most ten attached policies by default; when that is reached, the inline policy that denies everything takes their place.",
            "Ended are the sessions of the user. A session of a role that the user assumed belongs to the role, and lives on: revoke the sessions \
             of that role too.",
            "A policy is known everywhere in AWS after some seconds. Run it again after a minute: it does nothing to what is done, and finds keys \
             that were made meanwhile.",
            "Keep what is printed: `Before` is the only record of how the credentials were.",
            "To lift it: detach AWS's policy, delete the inline policies `aaws-quarantine-deny-all` and `aaws-quarantine-end-sessions`, and set \
             the credentials to the status that `Before` tells. The password cannot be brought back.",
            "MFA devices stay assigned, and group memberships and policies stay as they are.",
            "Shortly after a password was created or changed IAM may answer EntityTemporarilyUnmodifiable to its deletion. That is tried again \
             for some seconds; IAM may want minutes.",
        ],
    };

    type Output = OrPlan<Quarantine>;

    async fn run(self, cx: &Context) -> Result<OrPlan<Quarantine>> {
        let name = self.user.as_str();
        if let Some(failure) = not_a_user(name) {
            return Err(Error::field("user", format!("`user`: {}", failure.message)));
        }
        let iam = aaws::client!(cx, aws_sdk_iam);
        let arn = not_self(cx, &iam, name).await?;
        let until = cx.now();
        let until = until.checked_add(MARGIN).unwrap_or(until).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let lockout = Lockout { user: name.to_owned(), until: until.clone(), iam };
        let ways = if self.deny_all { Vec::new() } else { QUARANTINE.map(|name| aws_policy(cx, name)).into() };

        // One after another, each settled before the next begins: a key listed before the deny would not be the last one made.
        let mut run = Steps { cx, lockout: &lockout, records: Vec::new() };
        let denied = run.settle(vec![QuarantineStep::Deny(ways)]).await?;
        let sessions = run.settle(vec![QuarantineStep::Sessions]).await?;
        let access_keys = run.credentials(StepKind::AccessKey).await?;
        let had_password = lockout.has_password().await?;
        let password = run.settle(vec![QuarantineStep::Password { there: had_password }]).await?;
        let service_credentials = if self.keep_service_credentials { None } else { run.credentials(StepKind::Service).await? };
        let ssh_keys = if self.keep_ssh_keys { None } else { run.credentials(StepKind::Ssh).await? };
        let signing_certificates = if self.keep_signing_certificates { None } else { run.credentials(StepKind::Certificate).await? };

        let steps = run.records;
        if cx.dry_run() {
            return Ok(OrPlan::Planned(steps));
        }
        let status = |settled: &[ItemResult<String>]| settled.first().map(|s| s.record.status);
        Ok(OrPlan::Done(Quarantine {
            user_name: self.user,
            arn,
            complete: steps.iter().all(|s| matches!(s.status, Status::Done | Status::Unchanged)),
            denied_by: denied.into_iter().find_map(|s| s.done),
            sessions_end_before: (status(&sessions) == Some(Status::Done)).then_some(until),
            access_keys,
            console_password: match status(&password) {
                Some(Status::Done) => Password::Deleted,
                Some(Status::Unchanged) => Password::None,
                _ => Password::NotDeleted,
            },
            service_credentials,
            ssh_keys,
            signing_certificates,
            steps,
        }))
    }
}

aaws::register!(QuarantineUser);

/// The user's ARN, when there is such a user and it is not the one who asks.
async fn not_self(cx: &Context, iam: &Client, name: &str) -> Result<String> {
    let sts = aaws::client!(cx, aws_sdk_sts);
    let caller = sts.get_caller_identity().send().await.context(|| "find out who is asking, who must not lock out themselves")?;
    let found = iam.get_user().user_name(name).send().await.context(|| format!("find the user `{name}`"))?;
    let user = found.user.ok_or_else(|| Error::Failed(format!("IAM says nothing of the user `{name}`")))?;
    // The id too: an ARN ends with the name, and a user may be renamed while a session lasts.
    let same = caller.arn() == Some(user.arn()) || (!user.user_id().is_empty() && caller.user_id() == Some(user.user_id()));
    if same {
        let message = format!("`{name}` is the user whose credentials this command runs with: you would lock out yourself");
        return Err(Error::Refused(message));
    }
    Ok(user.arn)
}

/// A sort of credential that has a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepKind {
    AccessKey,
    Service,
    Ssh,
    Certificate,
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StepKind::AccessKey => "access key",
            StepKind::Service => "service credential",
            StepKind::Ssh => "SSH key",
            StepKind::Certificate => "signing certificate",
        })
    }
}

/// One step of a quarantine.
enum QuarantineStep {
    /// Attach the first of these policies that can be, or else deny everything inline.
    Deny(Vec<String>),
    /// End sessions.
    Sessions,
    /// Make a credential inactive.
    Credential { kind: StepKind, id: String, before: StatusType },
    /// Credentials that could not be listed, so that none of them could be made inactive.
    Unlisted { kind: StepKind, failure: Failure },
    /// Delete the console password; whether there is one may not be known.
    Password { there: Option<bool> },
}

/// The steps of one user.
#[derive(Clone)]
struct Lockout {
    iam: Client,
    user: String,
    /// Sessions opened before this end.
    until: String,
}

/// The steps as they are settled.
struct Steps<'a> {
    cx: &'a Context,
    lockout: &'a Lockout,
    records: Vec<Record>,
}

impl Steps<'_> {
    /// Does steps that may go side by side.
    async fn settle(&mut self, steps: Vec<QuarantineStep>) -> Result<Vec<ItemResult<String>>> {
        let changed = self.cx.change(stream::iter(steps.into_iter().map(Ok)), self.lockout.clone()).await?;
        let settled: Vec<_> = changed.results().try_collect().await?;
        self.records.extend(settled.iter().map(|s| s.record.clone()));
        Ok(settled)
    }

    /// Makes all credentials of a kind inactive; none when they could not be listed.
    async fn credentials(&mut self, kind: StepKind) -> Result<Option<Vec<Credential>>> {
        let found = match of_item(self.lockout.list(kind).await)? {
            Ok(found) => found,
            Err(failure) => {
                self.settle(vec![QuarantineStep::Unlisted { kind, failure }]).await?;
                return Ok(None);
            }
        };
        let step = |(id, before): &(String, StatusType)| QuarantineStep::Credential { kind, id: id.clone(), before: before.clone() };
        let settled = self.settle(found.iter().map(step).collect()).await?;
        let after = |(settled, (id, before)): (ItemResult<String>, (String, StatusType))| Credential {
            id,
            status: settled.done.unwrap_or_else(|| before.to_string()),
            before: before.to_string(),
        };
        Ok(Some(settled.into_iter().zip(found).map(after).collect()))
    }
}

#[async_trait]
impl Change for Lockout {
    type Item = QuarantineStep;
    /// What is so now: the policy that denies, a status.
    type Done = String;

    fn id(&self, step: &QuarantineStep) -> String {
        let user = &self.user;
        match step {
            QuarantineStep::Deny(_) => format!("{user}: deny"),
            QuarantineStep::Sessions => format!("{user}: sessions"),
            QuarantineStep::Credential { kind, id, .. } => format!("{user}: {kind} {id}"),
            QuarantineStep::Unlisted { kind, .. } => format!("{user}: {kind}s"),
            QuarantineStep::Password { .. } => format!("{user}: console password"),
        }
    }

    fn summary(&self) -> String {
        format!("lock out the user `{}`", self.user)
    }

    fn plan(&self, step: &QuarantineStep) -> Option<String> {
        Some(match step {
            QuarantineStep::Deny(ways) => match ways.first() {
                Some(policy) => format!("attach {}", name_of(policy)),
                None => format!("deny everything with the inline policy {DENY_ALL}"),
            },
            QuarantineStep::Sessions => format!("end those opened before {} with the inline policy {END_SESSIONS}", self.until),
            QuarantineStep::Credential { before, .. } => format!("make it Inactive; it is {before}"),
            QuarantineStep::Unlisted { .. } => return None,
            QuarantineStep::Password { there: Some(_) } => "delete it; it cannot be restored".into(),
            QuarantineStep::Password { there: None } => "delete it if there is one; it cannot be restored".into(),
        })
    }

    fn precheck(&self, step: &QuarantineStep) -> Option<Outcome<String>> {
        match step {
            QuarantineStep::Credential { before: before @ (StatusType::Inactive | StatusType::Expired), .. } => {
                Some(Outcome::Unchanged(format!("it is {before} already")))
            }
            QuarantineStep::Unlisted { failure, .. } => Some(Outcome::Failed(failure.clone())),
            QuarantineStep::Password { there: Some(false) } => Some(Outcome::Unchanged("the user has none".into())),
            _ => None,
        }
    }

    async fn apply(&self, _: &Context, steps: &[QuarantineStep]) -> Result<Vec<Outcome<String>>> {
        let mut outcomes = Vec::with_capacity(steps.len());
        for step in steps {
            outcomes.push(self.step(step).await?);
        }
        Ok(outcomes)
    }
}

/// The name at the end of a policy's ARN.
fn name_of(policy: &str) -> &str {
    policy.rsplit_once('/').map_or(policy, |(_, name)| name)
}

impl Lockout {
    async fn step(&self, step: &QuarantineStep) -> Result<Outcome<String>> {
        match step {
            QuarantineStep::Deny(ways) => self.deny(ways).await,
            QuarantineStep::Sessions => {
                let condition = json!({ "DateLessThan": { "aws:TokenIssueTime": self.until } });
                Ok(match of_item(self.put(END_SESSIONS, Some(condition)).await)? {
                    Ok(()) => Outcome::Done(self.until.clone(), Some(format!("opened before {}: ended", self.until))),
                    Err(failure) => Outcome::Failed(failure),
                })
            }
            QuarantineStep::Credential { kind, id, .. } => {
                let inactive = StatusType::Inactive.to_string();
                Ok(match of_item(self.make_inactive(*kind, id).await)? {
                    Ok(()) => Outcome::Done(inactive.clone(), Some(inactive)),
                    Err(failure) => Outcome::Failed(failure),
                })
            }
            QuarantineStep::Unlisted { failure, .. } => Ok(Outcome::Failed(failure.clone())),
            QuarantineStep::Password { there } => {
                let answer = self.iam.delete_login_profile().user_name(&self.user).send().await;
                match answer.context(|| format!("delete the console password of the user `{}`", self.user)) {
                    Ok(_) => Ok(Outcome::Done("deleted".into(), Some("deleted".into()))),
                    // It was there a moment ago: the answer to a first try was lost, or somebody else deleted it.
                    Err(e) if is_missing(&e) && *there == Some(true) => Ok(Outcome::Done("deleted".into(), Some("gone".into()))),
                    Err(e) if is_missing(&e) => Ok(Outcome::Unchanged("the user has none".into())),
                    Err(e) if e.is_fatal() => Err(e),
                    Err(e) => Ok(Outcome::Failed(failure(&e))),
                }
            }
        }
    }

    /// Whatever keeps one way from working, the next is tried: a user denied too much is better than one not denied.
    async fn deny(&self, ways: &[String]) -> Result<Outcome<String>> {
        let mut tried = String::new();
        for policy in ways {
            let name = name_of(policy);
            let answer = self.iam.attach_user_policy().user_name(&self.user).policy_arn(policy).send().await;
            match of_item(answer.context(|| format!("attach {name} to the user `{}`", self.user)))? {
                Ok(_) => return Ok(Outcome::Done(policy.clone(), Some(format!("attached {name}{tried}")))),
                Err(f) => tried.push_str(&format!("; {name}: {}: {}", f.code, f.message)),
            }
        }
        Ok(match of_item(self.put(DENY_ALL, None).await)? {
            Ok(()) => Outcome::Done(DENY_ALL.into(), Some(format!("denied everything with the inline policy {DENY_ALL}{tried}"))),
            Err(f) => Outcome::Failed(Failure { message: format!("{DENY_ALL}: {}{tried}", f.message), ..f }),
        })
    }

    /// Puts an inline policy that denies everything, under a condition or always.
    async fn put(&self, name: &str, condition: Option<serde_json::Value>) -> Result<()> {
        let mut statement = json!({ "Effect": "Deny", "Action": "*", "Resource": "*" });
        if let (Some(condition), Some(statement)) = (condition, statement.as_object_mut()) {
            statement.insert("Condition".into(), condition);
        }
        let document = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        let answer = self.iam.put_user_policy().user_name(&self.user).policy_name(name).policy_document(document).send().await;
        answer.context(|| format!("put the inline policy {name} on the user `{}`", self.user)).map(drop)
    }

    /// Whether there is a password; not known when that cannot be read, which is no reason to leave one in place.
    async fn has_password(&self) -> Result<Option<bool>> {
        let answer = self.iam.get_login_profile().user_name(&self.user).send().await;
        match answer.context(|| format!("look for a console password of the user `{}`", self.user)) {
            Ok(_) => Ok(Some(true)),
            Err(e) if is_missing(&e) => Ok(Some(false)),
            Err(e) if e.is_fatal() => Err(e),
            Err(e) => {
                tracing::warn!("{e}; it is deleted if there is one");
                Ok(None)
            }
        }
    }

    /// Ids and statuses of all credentials of a kind.
    async fn list(&self, kind: StepKind) -> Result<Vec<(String, StatusType)>> {
        let (iam, user) = (&self.iam, &self.user);
        let attempted = || format!("list the {kind}s of the user `{user}`");
        match kind {
            StepKind::AccessKey => {
                let keys = iam.list_access_keys().user_name(user).into_paginator().items().send().try_collect().await.context(attempted)?;
                Ok(keys.into_iter().filter_map(|k| k.access_key_id.zip(k.status)).collect())
            }
            StepKind::Ssh => {
                let keys =
                    iam.list_ssh_public_keys().user_name(user).into_paginator().items().send().try_collect().await.context(attempted)?;
                Ok(keys.into_iter().map(|k| (k.ssh_public_key_id, k.status)).collect())
            }
            StepKind::Certificate => {
                let pages = iam.list_signing_certificates().user_name(user).into_paginator().items().send();
                Ok(pages.try_collect().await.context(attempted)?.into_iter().map(|c| (c.certificate_id, c.status)).collect())
            }
            StepKind::Service => {
                let (mut found, mut marker) = (Vec::new(), None);
                loop {
                    let page =
                        iam.list_service_specific_credentials().user_name(user).set_marker(marker).send().await.context(attempted)?;
                    marker = page.marker.filter(|_| page.is_truncated);
                    let credentials = page.service_specific_credentials.unwrap_or_default();
                    found.extend(credentials.into_iter().map(|c| (c.service_specific_credential_id, c.status)));
                    if marker.is_none() {
                        return Ok(found);
                    }
                }
            }
        }
    }

    async fn make_inactive(&self, kind: StepKind, id: &str) -> Result<()> {
        let (iam, user, status) = (&self.iam, &self.user, StatusType::Inactive);
        let attempted = || format!("make the {kind} `{id}` of the user `{user}` inactive");
        match kind {
            StepKind::AccessKey => {
                iam.update_access_key().user_name(user).access_key_id(id).status(status).send().await.context(attempted).map(drop)
            }
            StepKind::Service => {
                let request = iam.update_service_specific_credential().user_name(user).service_specific_credential_id(id).status(status);
                request.send().await.context(attempted).map(drop)
            }
            StepKind::Ssh => {
                iam.update_ssh_public_key().user_name(user).ssh_public_key_id(id).status(status).send().await.context(attempted).map(drop)
            }
            StepKind::Certificate => {
                let request = iam.update_signing_certificate().user_name(user).certificate_id(id).status(status);
                request.send().await.context(attempted).map(drop)
            }
        }
    }
}
