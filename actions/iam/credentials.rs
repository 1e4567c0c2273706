//! The sorts of credentials of a user that have a status, and policies that deny.

use std::fmt;

use aaws::{ErrorContext, Next, Page, Result, paged};
use aws_sdk_iam::Client;
use aws_sdk_iam::types::StatusType;
use futures::stream::{StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account::access_keys;

/// A step of a quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Whether there is such a user.
    User,
    /// Everything is denied.
    Deny,
    /// Sessions that are open are ended.
    Sessions,
    /// An access key.
    AccessKey,
    /// The console password.
    ConsolePassword,
    /// Credentials for a single service, CodeCommit say.
    ServiceCredential,
    /// An SSH key.
    SshKey,
    /// A signing certificate.
    SigningCertificate,
}

impl Part {
    /// Whether it is a credential that is Active or Inactive.
    pub fn has_status(self) -> bool {
        matches!(self, Part::AccessKey | Part::ServiceCredential | Part::SshKey | Part::SigningCertificate)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::User => "user",
            Part::Deny => "deny",
            Part::Sessions => "sessions",
            Part::AccessKey => "access key",
            Part::ConsolePassword => "console password",
            Part::ServiceCredential => "service credential",
            Part::SshKey => "SSH key",
            Part::SigningCertificate => "signing certificate",
        })
    }
}

/// Ids and statuses of all of a user's credentials of a kind; none of what has no status.
pub async fn list(iam: &Client, user: &str, kind: Part) -> Result<Vec<(String, StatusType)>> {
    let (client, name) = (iam.clone(), user.to_owned());
    let what = format!("the {kind}s of the user `{user}`");
    let attempted = format!("list {what}");
    match kind {
        Part::AccessKey => {
            let keys = access_keys(iam, user).await?;
            Ok(keys.into_iter().filter_map(|k| k.access_key_id.zip(k.status)).collect())
        }
        Part::SshKey => {
            let keys = paged(what, move |marker: Option<String>| {
                let (request, attempted) = (client.list_ssh_public_keys().user_name(&name).set_marker(marker), attempted.clone());
                async move {
                    let answer = request.send().await.context(|| attempted)?;
                    let keys = answer.ssh_public_keys.unwrap_or_default().into_iter();
                    let items = keys.map(|k| (k.ssh_public_key_id, k.status)).collect();
                    Ok(Page { items, next: Next::truncated(Some(answer.is_truncated), answer.marker) })
                }
            });
            keys.boxed().try_collect().await
        }
        Part::SigningCertificate => {
            let certificates = paged(what, move |marker: Option<String>| {
                let (request, attempted) = (client.list_signing_certificates().user_name(&name).set_marker(marker), attempted.clone());
                async move {
                    let answer = request.send().await.context(|| attempted)?;
                    let items = answer.certificates.into_iter().map(|c| (c.certificate_id, c.status)).collect();
                    Ok(Page { items, next: Next::truncated(Some(answer.is_truncated), answer.marker) })
                }
            });
            certificates.boxed().try_collect().await
        }
        Part::ServiceCredential => {
            let credentials = paged(what, move |marker: Option<String>| {
                let request = client.list_service_specific_credentials().user_name(&name).set_marker(marker);
                let attempted = attempted.clone();
                async move {
                    let answer = request.send().await.context(|| attempted)?;
                    let credentials = answer.service_specific_credentials.unwrap_or_default().into_iter();
                    let items = credentials.map(|c| (c.service_specific_credential_id, c.status)).collect();
                    Ok(Page { items, next: Next::truncated(Some(answer.is_truncated), answer.marker) })
                }
            });
            credentials.boxed().try_collect().await
        }
        Part::User | Part::Deny | Part::Sessions | Part::ConsolePassword => Ok(Vec::new()),
    }
}

/// Makes a credential Active or Inactive. What has no status is let be.
pub async fn set_status(iam: &Client, user: &str, kind: Part, id: &str, status: StatusType) -> Result<()> {
    let attempted = format!("make the {kind} `{id}` of the user `{user}` {status}");
    match kind {
        Part::AccessKey => {
            let request = iam.update_access_key().user_name(user).access_key_id(id).status(status);
            request.send().await.context(|| attempted).map(drop)
        }
        Part::ServiceCredential => {
            let request = iam.update_service_specific_credential().user_name(user).service_specific_credential_id(id).status(status);
            request.send().await.context(|| attempted).map(drop)
        }
        Part::SshKey => {
            let request = iam.update_ssh_public_key().user_name(user).ssh_public_key_id(id).status(status);
            request.send().await.context(|| attempted).map(drop)
        }
        Part::SigningCertificate => {
            let request = iam.update_signing_certificate().user_name(user).certificate_id(id).status(status);
            request.send().await.context(|| attempted).map(drop)
        }
        Part::User | Part::Deny | Part::Sessions | Part::ConsolePassword => Ok(()),
    }
}

/// A document that denies everything, under a condition or always.
pub fn denying(condition: Option<Value>) -> Value {
    let mut statement = json!({ "Effect": "Deny", "Action": "*", "Resource": "*" });
    if let (Some(condition), Some(statement)) = (condition, statement.as_object_mut()) {
        statement.insert("Condition".into(), condition);
    }
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

/// Puts an inline policy on a user.
pub async fn put_policy(iam: &Client, user: &str, name: &str, document: &Value) -> Result<()> {
    let request = iam.put_user_policy().user_name(user).policy_name(name).policy_document(document.to_string());
    request.send().await.context(|| format!("put the inline policy {name} on the user `{user}`")).map(drop)
}

/// An inline policy of a user, as IAM gives it: percent-encoded. An error when there is none.
pub async fn inline_policy(iam: &Client, user: &str, name: &str) -> Result<Value> {
    let answer = iam.get_user_policy().user_name(user).policy_name(name).send().await;
    let answer = answer.context(|| format!("read the inline policy {name} of the user `{user}`"))?;
    // Of another form than ours it is none of ours.
    Ok(super::statements::parse(answer.policy_document()).unwrap_or_default())
}

/// What bounds the permissions of a user: the ARN of a policy, or nothing.
pub async fn boundary(iam: &Client, user: &str) -> Result<Option<String>> {
    let found = iam.get_user().user_name(user).send().await.context(|| format!("find the user `{user}`"))?;
    Ok(found.user.and_then(|u| u.permissions_boundary).and_then(|b| b.permissions_boundary_arn))
}
