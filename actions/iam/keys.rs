//! Access keys that are given: whose they are.

use std::collections::HashMap;

use aaws::{ErrorContext, Failure, Result};
use aws_sdk_iam::Client;
use aws_sdk_iam::types::AccessKeyMetadata;

use super::account;
use super::changes::{not_a_user, per_item, users};
use super::modify_access_keys::KeyOfUser;

/// Users that are given with their keys.
pub const OWNERS: &[&str] = users!("keys.UserName");

/// Whose key it is, is the question: the user is not known.
pub const ANYBODY: &[&str] = &["arn:${Partition}:iam::${Account}:user/*"];

/// A key's id, and its user or why that is not known.
pub async fn owner(iam: Client, key: KeyOfUser) -> Result<(String, Result<String, Failure>)> {
    let id = key.access_key_id;
    if let Some(name) = key.user_name.filter(|name| !name.is_empty()) {
        return Ok((id, not_a_user(&name).map_or(Ok(name), Err)));
    }
    let answer = iam.get_access_key_last_used().access_key_id(&id).send().await;
    let answer = per_item(answer.context(|| format!("find whose access key `{id}` is")))?;
    let nobody = || Failure::permanent("UnknownUser", "IAM does not say whose access key it is: give its user's name");
    let user = answer.and_then(|a| a.user_name.filter(|name| not_a_user(name).is_none()).ok_or_else(nobody));
    Ok((id, user))
}

/// The keys of a user, by id.
pub type Keys = HashMap<String, AccessKeyMetadata>;

/// A user, and its keys or why they are not known.
pub async fn keys_of(iam: Client, user: String) -> Result<(String, Result<Keys, Failure>)> {
    let keys = per_item(account::access_keys(&iam, &user).await)?;
    Ok((user, keys.map(|keys| keys.into_iter().filter_map(|key| Some((key.access_key_id.clone()?, key))).collect())))
}
