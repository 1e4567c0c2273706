use std::collections::{BTreeSet, HashMap, HashSet};

use aaws::{
    Action, Call, ChangeOne, Code, Context, Effect, ErrorContext, Example, Failure, Grant, Items, LeftItems, Meta, Outcome, Result,
    Reversible, Rule, When, async_trait,
};
use aws_sdk_iam::Client;
use aws_sdk_iam::primitives::DateTime;
use aws_sdk_iam::types::{AccessKeyMetadata, StatusType};
use futures::stream::{self, TryStreamExt};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::changes::{failure, is_missing, look_up, not_found_or, per_item};
use super::keys::{ANYBODY, Keys, OWNERS, keys_of, owner};
use super::modify_access_keys::KeyOfUser;
use super::threshold::{ThresholdDays, age_days, later, text};

/// Delete access keys of IAM users that are not active.
///
/// A key that is active is skipped: `modify_access_keys` disables it first, and can enable it again if somebody turns out to need it. With
/// `inactive_days` a key is deleted only if it was neither used nor created in so many days. Whose key it is may be left out; then IAM is asked. A key
/// that does not exist is a failure, unless `ignore_not_found` is given. The ids of the keys that are still there, because they failed or were
/// skipped, are printed.
///
/// What `discover_old_access_keys` and `discover_unused_access_keys` print with `inactive` can be piped in: `--keys -`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteAccessKeys {
    /// Access keys to delete. An empty list deletes nothing.
    pub keys: Items<KeyOfUser>,
    /// Keep keys last used, or created, not longer ago than this many whole days.
    pub inactive_days: Option<ThresholdDays>,
    /// Go on though the last use of a key could not be looked at.
    #[serde(default)]
    pub unchecked: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

impl Default for DeleteAccessKeys {
    fn default() -> Self {
        DeleteAccessKeys { keys: Vec::new().into(), inactive_days: None, unchecked: false, ignore_not_found: false }
    }
}

#[async_trait]
impl Action for DeleteAccessKeys {
    const META: Meta = Meta {
        path: "iam/delete_access_keys",
        effect: Effect::Delete,
        calls: &[
            Call::read("iam:GetAccessKeyLastUsed", &[Grant::new("iam:GetAccessKeyLastUsed", ANYBODY)])
                .when(When::Likely("a key is given without its user's name, or with `inactive_days`")),
            Call::read("iam:ListAccessKeys", &[Grant::new("iam:ListAccessKeys", OWNERS)]),
            Call::write("iam:DeleteAccessKey", &[Grant::new("iam:DeleteAccessKey", OWNERS)]),
        ],
        rules: &[Rule::Requires("unchecked", "inactive_days")],
        examples: &[
            Example {
                title: "Delete a disabled access key of `alice`",
                input: r#"{"keys": [{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "UserName": "alice"}]}"#,
                output: "[]",
                given: &["inactive_key:alice/AKIAIOSFODNN7EXAMPLE"],
            },
            Example {
                title: "Delete an access key only if it was neither used nor created in the last 90 days",
                input: r#"{"keys": [{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}], "inactive_days": 90}"#,
                output: r#"["AKIAIOSFODNN7EXAMPLE"]"#,
                given: &["inactive_key:alice/AKIAIOSFODNN7EXAMPLE"],
            },
        ],
        notes: &[
            super::GLOBAL,
            "IAM does not tell since when a key is disabled. `inactive_days` counts strictly more than N whole days of 24 hours from its last use, or from \
             its creation when that was later.",
            "What `inactive_days` keeps is skipped with the code `Protected`, which is no reason for exit code 3; an active key is.",
            "IAM learns of the use of an access key within some hours, and keeps no use before 22 April 2015.",
            "DeleteAccessKey without a user name would act on the caller, so the name is always sent, and a key that IAM does not list for that \
             user fails without being tried.",
            "Keys of the root user cannot be deleted through IAM.",
            "The policy printed for certain inputs names the users in them: where `UserName` is left out, allow all users.",
        ],
    };

    const BINDS: &'static [&'static str] = &["whose it is", "its status", "with `inactive_days` its last use"];
    const REVERSIBLE: Reversible = Reversible::No("A deleted key is gone for good: its user needs a new one.");

    type Output = LeftItems;

    async fn run(self, cx: &Context) -> Result<LeftItems> {
        let iam = aaws::client!(cx, aws_sdk_iam);
        // IAM has 5,000 users with two keys each by default: all of them fit in memory, and each user is read once.
        let given: Vec<KeyOfUser> = self.keys.stream().try_collect().await?;
        let with_owner = look_up(cx, given, |key| owner(iam.clone(), key)).await?;
        let names: BTreeSet<String> = with_owner.iter().filter_map(|(_, user)| user.as_ref().ok().cloned()).collect();
        let read = look_up(cx, names.into_iter().collect(), |user| keys_of(iam.clone(), user)).await?;
        let known: HashMap<String, Result<Keys, Failure>> = read.into_iter().collect();
        let metadata = |id: &String, user: &Result<String, Failure>| -> Option<AccessKeyMetadata> {
            known.get(user.as_ref().ok()?)?.as_ref().ok()?.get(id).cloned()
        };
        let to_look_at: BTreeSet<String> = match self.inactive_days {
            Some(_) => {
                let unusable = |id: &String, user: &Result<String, Failure>| metadata(id, user).is_some_and(|key| is_unusable(&key));
                with_owner.iter().filter(|(id, user)| unusable(id, user)).map(|(id, _)| id.clone()).collect()
            }
            None => BTreeSet::new(),
        };
        let uses = look_up(cx, to_look_at.into_iter().collect(), |id| last_use(iam.clone(), id)).await?;
        let uses: HashMap<String, Result<Option<DateTime>, Failure>> = uses.into_iter().collect();

        let judge = Judge {
            now: cx.begun(),
            inactive_days: self.inactive_days,
            unchecked: self.unchecked,
            ignore_not_found: self.ignore_not_found,
            known: &known,
            uses: &uses,
        };
        let mut seen = HashSet::new();
        let mut keys = Vec::with_capacity(with_owner.len());
        for (id, user) in with_owner {
            let precheck = match seen.insert((id.clone(), user.clone().unwrap_or_default())) {
                true => judge.precheck(&id, &user),
                false => Some(Outcome::Unchanged("duplicate id".into())),
            };
            let status = metadata(&id, &user).and_then(|key| key.status).map(|status| status.to_string());
            let last_used = uses.get(&id).and_then(|used| used.as_ref().ok()).and_then(Option::as_ref).and_then(text);
            keys.push(Key { id, user: user.unwrap_or_default(), status, last_used, precheck });
        }
        let delete = Delete { iam };
        Ok(cx.change_each(stream::iter(keys.into_iter().map(Ok)), delete).await?.left())
    }
}

aaws::register!(DeleteAccessKeys);

/// Whether nobody can sign a request with it.
fn is_unusable(key: &AccessKeyMetadata) -> bool {
    matches!(key.status(), Some(StatusType::Inactive | StatusType::Expired))
}

/// When a key was used last, and never is no date; or why that is not known.
async fn last_use(iam: Client, id: String) -> Result<(String, Result<Option<DateTime>, Failure>)> {
    let answer = iam.get_access_key_last_used().access_key_id(&id).send().await;
    let answer = per_item(answer.context(|| format!("read the last use of the access key `{id}`")))?;
    let silent = || Failure::permanent(Code::NoAnswer, "IAM says nothing of it");
    let used = answer.and_then(|a| a.access_key_last_used.ok_or_else(silent)).map(|last| last.last_used_date);
    Ok((id, used))
}

/// What decides whether a key may be deleted.
struct Judge<'a> {
    now: Timestamp,
    inactive_days: Option<ThresholdDays>,
    unchecked: bool,
    ignore_not_found: bool,
    known: &'a HashMap<String, Result<Keys, Failure>>,
    uses: &'a HashMap<String, Result<Option<DateTime>, Failure>>,
}

impl Judge<'_> {
    /// What is to be said of a key without deleting it.
    fn precheck(&self, id: &str, user: &Result<String, Failure>) -> Option<Outcome> {
        let user = match user {
            Ok(user) => user,
            Err(failure) => return Some(not_found_or(failure.clone(), self.ignore_not_found, "there is no such access key")),
        };
        let key = match self.known.get(user) {
            Some(Ok(keys)) => match keys.get(id) {
                Some(key) => key,
                None => return Some(Outcome::not_found(self.ignore_not_found, format!("the user `{user}` has no such access key"))),
            },
            Some(Err(failure)) => {
                return Some(not_found_or(failure.clone(), self.ignore_not_found, format!("there is no user `{user}`")));
            }
            None => return Some(unchecked(format!("the keys of the user `{user}` were not read"))),
        };
        match key.status() {
            _ if is_unusable(key) => self.too_young(id, key),
            Some(status) => Some(Outcome::skipped(format!("it is {status}: disable it first, with `modify_access_keys`"))),
            None => Some(unchecked("IAM does not say whether it is active")),
        }
    }

    fn too_young(&self, id: &str, key: &AccessKeyMetadata) -> Option<Outcome> {
        let threshold = self.inactive_days?;
        let used = match self.uses.get(id) {
            Some(Ok(used)) => used.as_ref(),
            _ if self.unchecked => return None,
            Some(Err(Failure { code, message, .. })) => {
                return Some(unchecked(format!(
                    "its last use could not be looked at: {code}: {message}; `unchecked` deletes it all the same"
                )));
            }
            None => return Some(unchecked("its last use was not looked at")),
        };
        let Some(since) = later(used, key.create_date()) else {
            return (!self.unchecked).then(|| unchecked("IAM gives neither its last use nor its creation"));
        };
        let days = age_days(self.now, &since);
        (!threshold.passed(self.now, &since)).then(|| {
            let what = if used == Some(&since) { "used" } else { "created" };
            let days = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
            Outcome::skipped_as(Code::Protected, format!("it was {what} {days} ago"))
        })
    }
}

fn unchecked(why: impl Into<String>) -> Outcome {
    Outcome::Failed(Failure::permanent(Code::Unchecked, why))
}

/// An access key to delete.
struct Key {
    id: String,
    user: String,
    /// Its status, where there is such a key.
    status: Option<String>,
    /// When it was used last, where that was looked at.
    last_used: Option<String>,
    precheck: Option<Outcome>,
}

struct Delete {
    iam: Client,
}

#[async_trait]
impl ChangeOne for Delete {
    type Item = Key;
    type Done = ();

    fn id(&self, key: &Key) -> String {
        key.id.clone()
    }

    fn summary(&self) -> String {
        "delete access keys for good".into()
    }

    fn plan(&self, key: &Key) -> Option<String> {
        Some(format!("delete the access key of the user `{}`; it cannot be restored", key.user))
    }

    fn precheck(&self, key: &Key) -> Option<Outcome> {
        key.precheck.clone()
    }

    fn state(&self, key: &Key) -> Option<Value> {
        Some(json!({ "user": key.user, "status": key.status, "last_used": key.last_used }))
    }

    async fn apply(&self, _: &Context, key: &Key) -> Result<Outcome> {
        let answer = self.iam.delete_access_key().user_name(&key.user).access_key_id(&key.id).send().await;
        match answer.context(|| format!("delete the access key `{}` of the user `{}`", key.id, key.user)) {
            Ok(_) => Ok(Outcome::Done((), Some(format!("of the user `{}`", key.user)))),
            // It was there a moment ago: the answer to a first try was lost, or somebody else deleted it.
            Err(e) if is_missing(&e) => Ok(Outcome::Done((), Some(format!("of the user `{}`: gone", key.user)))),
            Err(e) if e.is_fatal() => Err(e),
            Err(e) => Ok(Outcome::Failed(failure(&e))),
        }
    }
}
