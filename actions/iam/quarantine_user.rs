use aaws::{
    Action, Call, Context, Effect, Error, ErrorContext, Example, Grant, Listing, Meta, Result, Reversible, Rule, Status, When, async_trait,
};
use aws_sdk_iam::Client;
use aws_sdk_iam::types::User;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::changes::{aws_policy, is_missing, not_a_user, users};
use super::credentials::Part;
use super::lift::{Lift, LockStep, stages};
use super::lockout::{AWS_DENY_ALL, Lockout, Run, rows};

/// AWS takes requests from clocks that are this much off, and IAM needs some seconds until a policy is known everywhere: sessions opened until
/// then are ended too.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// Lock out an IAM user whose credentials may be in wrong hands.
///
/// First the user is denied everything, by the inline policy `aaws-quarantine-deny-all`. Where that cannot be put, say because an attacker has
/// filled the user's inline policies, AWS's policy `AWSDenyAll` is attached, and where that cannot be, it becomes the user's permissions
/// boundary. Only then come the other steps, so that nobody makes a new key in between:
///
/// - an inline policy ends the sessions that the user has opened, those of the console too;
/// - access keys become `Inactive`;
/// - the console password is deleted, which cannot be undone;
/// - credentials for single services (CodeCommit, Keyspaces, Bedrock and others), SSH keys and signing certificates become `Inactive`.
///
/// A step that fails stops no other, and nothing is undone: a user who is half locked out stays so. What became of each step is printed as it
/// happens, with what was before, and is an item of the report. Run it again to complete it, and to find what was made while it ran: what is
/// done already is unchanged.
///
/// `lift` takes what was printed, and undoes what it says was done, the deny last. A deleted password cannot be brought back.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuarantineUser {
    /// Name of the user to lock out.
    pub user: Option<String>,
    /// Undo what an earlier run says that it did: what it printed. Steps that were not done are passed over; an empty list undoes nothing.
    pub lift: Option<Vec<QuarantineStep>>,
    /// Leave credentials for single services as they are.
    #[serde(default)]
    pub keep_service_credentials: bool,
    /// Leave SSH keys as they are.
    #[serde(default)]
    pub keep_ssh_keys: bool,
    /// Leave signing certificates as they are.
    #[serde(default)]
    pub keep_signing_certificates: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

/// A step of a quarantine, or of its lifting, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct QuarantineStep {
    /// Name of the user.
    pub user_name: String,
    /// What it is about.
    pub step: Part,
    /// Id of the credential; the name or ARN of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What became of it.
    pub status: Status,
    /// How it was before: the status of a credential, the ARN of a permissions boundary or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// How it is now: the status of a credential; what denies (`inline_policy`, `attached_policy`, `permissions_boundary`); the instant before
    /// which sessions are ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// AWS's error code, or one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What is worth knowing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl QuarantineStep {
    /// Whether something was changed.
    pub(super) fn was_done(&self) -> bool {
        self.status == Status::Done
    }
}

const USER: &[&str] = users!("user");
const LIFTED: &[&str] = users!("lift.UserName");
const LOCK_OUT: When = When::Without(&["lift"]);
const LIFT: When = When::With(&["lift"]);
const SERVICE: When = When::Without(&["lift", "keep_service_credentials"]);
const SSH: When = When::Without(&["lift", "keep_ssh_keys"]);
const CERTIFICATES: When = When::Without(&["lift", "keep_signing_certificates"]);

/// `action` for AWS's policy that denies everything, and no other.
const fn deny_all_only(action: &'static str, key: &'static str, users: &'static [&'static str]) -> Grant {
    Grant::new(action, users).condition("ArnEquals", key, "arn:${Partition}:iam::aws:policy/AWSDenyAll")
}

#[async_trait]
impl Action for QuarantineUser {
    const META: Meta = Meta {
        path: "iam/quarantine_user",
        effect: Effect::Disrupt,
        calls: &[
            // Who asks: works for users, roles and everybody else, needs no permission and cannot be denied, all unlike a GetUser without name.
            Call::read("sts:GetCallerIdentity", &[]).when(LOCK_OUT),
            Call::read("iam:GetUser", &[Grant::new("iam:GetUser", USER)]).when(LOCK_OUT),
            Call::read("iam:GetUserPolicy", &[Grant::new("iam:GetUserPolicy", USER)]).when(LOCK_OUT),
            Call::read("iam:ListAttachedUserPolicies", &[Grant::new("iam:ListAttachedUserPolicies", USER)]).when(LOCK_OUT),
            Call::write("iam:PutUserPolicy", &[Grant::new("iam:PutUserPolicy", USER)]).when(LOCK_OUT),
            // Not known before, and needed more than anything: never left out of a policy.
            Call::write(
                "iam:AttachUserPolicy",
                &[deny_all_only("iam:AttachUserPolicy", "iam:PolicyARN", USER).when(When::Likely("the inline policy cannot be put"))],
            )
            .when(LOCK_OUT),
            Call::write(
                "iam:PutUserPermissionsBoundary",
                &[deny_all_only("iam:PutUserPermissionsBoundary", "iam:PermissionsBoundary", USER)
                    .when(When::Likely("no policy can be put or attached"))],
            )
            .when(LOCK_OUT),
            Call::read("iam:ListAccessKeys", &[Grant::new("iam:ListAccessKeys", USER)]).when(LOCK_OUT),
            Call::write("iam:UpdateAccessKey", &[Grant::new("iam:UpdateAccessKey", USER)]).when(LOCK_OUT),
            Call::read("iam:GetLoginProfile", &[Grant::new("iam:GetLoginProfile", USER)]).when(LOCK_OUT),
            Call::write("iam:DeleteLoginProfile", &[Grant::new("iam:DeleteLoginProfile", USER)]).when(LOCK_OUT),
            Call::read("iam:ListServiceSpecificCredentials", &[Grant::new("iam:ListServiceSpecificCredentials", USER)]).when(SERVICE),
            Call::write("iam:UpdateServiceSpecificCredential", &[Grant::new("iam:UpdateServiceSpecificCredential", USER)]).when(SERVICE),
            Call::read("iam:ListSSHPublicKeys", &[Grant::new("iam:ListSSHPublicKeys", USER)]).when(SSH),
            Call::write("iam:UpdateSSHPublicKey", &[Grant::new("iam:UpdateSSHPublicKey", USER)]).when(SSH),
            Call::read("iam:ListSigningCertificates", &[Grant::new("iam:ListSigningCertificates", USER)]).when(CERTIFICATES),
            Call::write("iam:UpdateSigningCertificate", &[Grant::new("iam:UpdateSigningCertificate", USER)]).when(CERTIFICATES),
            // Back.
            Call::read("iam:GetUser", &[Grant::new("iam:GetUser", LIFTED)]).when(LIFT),
            Call::read("iam:ListAccessKeys", &[Grant::new("iam:ListAccessKeys", LIFTED)]).when(LIFT),
            Call::write("iam:UpdateAccessKey", &[Grant::new("iam:UpdateAccessKey", LIFTED)]).when(LIFT),
            Call::read("iam:ListServiceSpecificCredentials", &[Grant::new("iam:ListServiceSpecificCredentials", LIFTED)]).when(LIFT),
            Call::write("iam:UpdateServiceSpecificCredential", &[Grant::new("iam:UpdateServiceSpecificCredential", LIFTED)]).when(LIFT),
            Call::read("iam:ListSSHPublicKeys", &[Grant::new("iam:ListSSHPublicKeys", LIFTED)]).when(LIFT),
            Call::write("iam:UpdateSSHPublicKey", &[Grant::new("iam:UpdateSSHPublicKey", LIFTED)]).when(LIFT),
            Call::read("iam:ListSigningCertificates", &[Grant::new("iam:ListSigningCertificates", LIFTED)]).when(LIFT),
            Call::write("iam:UpdateSigningCertificate", &[Grant::new("iam:UpdateSigningCertificate", LIFTED)]).when(LIFT),
            Call::write("iam:DeleteUserPolicy", &[Grant::new("iam:DeleteUserPolicy", LIFTED)]).when(LIFT),
            Call::write("iam:DetachUserPolicy", &[deny_all_only("iam:DetachUserPolicy", "iam:PolicyARN", LIFTED)]).when(LIFT),
            Call::write("iam:DeleteUserPermissionsBoundary", &[Grant::new("iam:DeleteUserPermissionsBoundary", LIFTED)]).when(LIFT),
            Call::write("iam:PutUserPermissionsBoundary", &[Grant::new("iam:PutUserPermissionsBoundary", LIFTED)]).when(LIFT),
        ],
        rules: &[
            Rule::AtLeastOne(&["user", "lift"]),
            Rule::AtMostOne(&["user", "lift"]),
            Rule::Requires("keep_service_credentials", "user"),
            Rule::Requires("keep_ssh_keys", "user"),
            Rule::Requires("keep_signing_certificates", "user"),
        ],
        examples: &[
            Example {
                title: "Lock out `alice`, but leave the credentials for single services as they are",
                input: r#"{"user": "alice", "keep_service_credentials": true}"#,
                output: r#"[
                    {"UserName": "alice", "Step": "deny", "Id": "aaws-quarantine-deny-all", "Status": "done", "Now": "inline_policy", "Message": "the inline policy aaws-quarantine-deny-all denies everything"},
                    {"UserName": "alice", "Step": "sessions", "Id": "aaws-quarantine-end-sessions", "Status": "done", "Now": "2026-01-31T12:05:00Z", "Message": "opened before 2026-01-31T12:05:00Z: ended"},
                    {"UserName": "alice", "Step": "access_key", "Id": "AKIAIOSFODNN7EXAMPLE", "Status": "done", "Before": "Active", "Now": "Inactive", "Message": "Inactive"},
                    {"UserName": "alice", "Step": "console_password", "Status": "done", "Now": "deleted", "Message": "deleted"}
                ]"#,
                given: &["user:alice/console", "key:alice/AKIAIOSFODNN7EXAMPLE"],
            },
            Example {
                title: "Undo a step of an earlier run",
                input: r#"{"lift": [{"UserName": "alice", "Step": "deny", "Id": "aaws-quarantine-deny-all", "Status": "done", "Now": "inline_policy"}]}"#,
                output: r#"[{"UserName": "alice", "Step": "deny", "Id": "aaws-quarantine-deny-all", "Status": "done", "Before": "inline_policy", "Message": "deleted the inline policy aaws-quarantine-deny-all"}]"#,
                given: &[
                    r#"inline:user:alice:aaws-quarantine-deny-all={"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}"#,
                ],
            },
        ],
        notes: &[
            super::GLOBAL,
            "The user who runs it is refused. Nobody is refused who runs it with an assumed role. A user who may not be read (GetUser) is locked out \
             all the same, but then a permissions boundary that is replaced is not known, and cannot be put back.",
            "The inline policies of a user have 2,048 characters together, and a user has ten attached policies by default. A way to deny that was \
             refused is told in the message of the one that was taken.",
            "Ended are the sessions of the user. A session of a role that the user assumed belongs to the role, and lives on: revoke the sessions \
             of that role too.",
            "A policy is known everywhere in AWS after some seconds. Run it again after a minute: it does nothing to what is done, and finds keys \
             that were made meanwhile.",
            "Keep what is printed, of every run: it is the only record of how the credentials were, and what `lift` takes (`--lift @FILE`).",
            "Lifting also deletes the policy that ends sessions: of those opened before the quarantine, any that has not expired by then (36 hours \
             at most) works again. A password that was deleted is skipped (exit code 3).",
            "MFA devices stay assigned, and group memberships and other policies stay as they are.",
            "Shortly after a password was created or changed IAM may answer EntityTemporarilyUnmodifiable to its deletion. That is tried again \
             for some seconds; IAM may want minutes.",
        ],
    };

    const BINDS: &'static [&'static str] = &["of a credential its status", "whether there is a password"];
    const REVERSIBLE: Reversible =
        Reversible::Partly("`aaws undo` does what `lift` does, the deny last. A console password that was deleted is gone for good.");

    type Output = Listing<QuarantineStep>;

    async fn run(self, cx: &Context) -> Result<Listing<QuarantineStep>> {
        let iam = aaws::client!(cx, aws_sdk_iam);
        let aws_deny_all = aws_policy(cx, AWS_DENY_ALL);
        if let Some(done) = self.lift {
            for (index, row) in done.iter().enumerate() {
                user_name(&format!("lift[{index}].UserName"), &row.user_name)?;
            }
            let lift = Lift { cx: cx.clone(), iam, aws_deny_all, ignore_not_found: self.ignore_not_found };
            return Ok(Listing::from_stream(rows(stages(done), lift)));
        }
        let user = self.user.unwrap_or_default();
        user_name("user", &user)?;
        let found = look(cx, &iam, &user).await?;
        let until = cx.now();
        let until = until.checked_add(MARGIN).unwrap_or(until).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let parts = match &found {
            UserLookup::Nobody => vec![Part::User],
            // The deny first: a key listed before it would not be the last one made.
            UserLookup::User(_) | UserLookup::NotReadable => [
                Some(Part::Deny),
                Some(Part::Sessions),
                Some(Part::AccessKey),
                Some(Part::ConsolePassword),
                Some(Part::ServiceCredential).filter(|_| !self.keep_service_credentials),
                Some(Part::SshKey).filter(|_| !self.keep_ssh_keys),
                Some(Part::SigningCertificate).filter(|_| !self.keep_signing_certificates),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        let boundary = match found {
            UserLookup::User(user) => Some(user.permissions_boundary.and_then(|b| b.permissions_boundary_arn)),
            UserLookup::Nobody | UserLookup::NotReadable => None,
        };
        let asks = !cx.dry_run();
        let lockout = Lockout { iam, user, until, aws_deny_all, boundary, ignore_not_found: self.ignore_not_found, asks };
        Ok(Listing::from_stream(rows(parts, Run { cx: cx.clone(), lockout, denied_before: false })))
    }
}

aaws::register!(QuarantineUser, undo = LockStep);

fn user_name(field: &str, name: &str) -> Result<()> {
    match not_a_user(name) {
        Some(failure) => Err(Error::field(field, format!("`{field}`: {}", failure.message))),
        None => Ok(()),
    }
}

/// What is known of the user.
enum UserLookup {
    User(Box<User>),
    Nobody,
    /// It may not be read, which is no reason to leave somebody in.
    NotReadable,
}

/// The user, unless it is the one who asks.
async fn look(cx: &Context, iam: &Client, name: &str) -> Result<UserLookup> {
    let sts = aaws::client!(cx, aws_sdk_sts);
    let caller = sts.get_caller_identity().send().await.context(|| "find out who is asking, who must not lock out themselves")?;
    let is_self = || Error::Refused(format!("`{name}` is the user whose credentials this command runs with: you would lock out yourself"));
    // Names of users are unique in an account, whatever the path and the case.
    let own_name = caller.arn().and_then(|arn| arn.split_once(":user/")).and_then(|(_, path)| path.rsplit('/').next());
    if own_name.is_some_and(|own| own.eq_ignore_ascii_case(name)) {
        return Err(is_self());
    }
    let found = iam.get_user().user_name(name).send().await;
    match found.context(|| format!("find the user `{name}`")) {
        Ok(found) => {
            let user = found.user.ok_or_else(|| Error::Failed(format!("IAM says nothing of the user `{name}`")))?;
            // The id too: an ARN ends with the name, and a user may be renamed while a session lasts.
            if !user.user_id().is_empty() && caller.user_id() == Some(user.user_id()) {
                return Err(is_self());
            }
            Ok(UserLookup::User(Box::new(user)))
        }
        Err(e) if is_missing(&e) => Ok(UserLookup::Nobody),
        Err(e) if e.is_fatal() => Err(e),
        Err(e) => {
            tracing::warn!("{e}; the user is locked out all the same");
            Ok(UserLookup::NotReadable)
        }
    }
}
