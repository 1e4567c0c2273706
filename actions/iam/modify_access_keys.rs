use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use aaws::{
    Action, Call, Change, Code, Context, Effect, ErrorContext, Example, FailedItems, Failure, Grant, Items, Meta, Outcome, Result,
    Reversible, Rule, Step, When, async_trait, left_alone,
};
use aws_sdk_iam::Client;
use aws_sdk_iam::types::StatusType;
use futures::stream::{self, TryStreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::account;
use super::changes::{Members, is_missing, look_up, not_found_or, patiently, per_item};
use super::keys::{ANYBODY, Keys, OWNERS, keys_of, owner};

/// Enable or disable access keys of IAM users.
///
/// A disabled key is refused by AWS until it is enabled again. Whose key it is may be left out; then IAM is asked. A key that already is as
/// asked is left alone. One that does not exist is a failure, unless `ignore_not_found` is given. The ids of the keys that were not changed because something failed are printed.
///
/// What `discover_old_access_keys` and `discover_unused_access_keys` print can be piped in: `--keys -`.
///
/// The key that this command itself is signed with is not disabled, unless `include_own_key` is given; then it comes last, when all other keys
/// are settled.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModifyAccessKeys {
    /// Access keys to change. An empty list changes nothing.
    pub keys: Items<KeyOfUser>,
    /// Make the keys usable: status `Active`.
    #[serde(default)]
    pub enable: bool,
    /// Make the keys unusable: status `Inactive`.
    #[serde(default)]
    pub disable: bool,
    /// Disable also the key that this command is signed with, last of all.
    #[serde(default)]
    pub include_own_key: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

impl Default for ModifyAccessKeys {
    fn default() -> Self {
        let keys = Vec::new().into();
        ModifyAccessKeys { keys, enable: false, disable: false, include_own_key: false, ignore_not_found: false }
    }
}

/// An access key and whose it is.
#[derive(Debug, Clone, Default, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct KeyOfUser {
    /// Id of the access key.
    pub access_key_id: String,
    /// Name of the user whose key it is; IAM is asked when it is not given.
    pub user_name: Option<String>,
}

impl<'de> Deserialize<'de> for KeyOfUser {
    /// Unknown members are let pass: what discovers keys puts dates and more beside the two, and is piped in as it stands.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = Members::read(deserializer, "AccessKeyId")?;
        Ok(KeyOfUser {
            access_key_id: members.required::<D::Error>("AccessKeyId", "access_key_id")?,
            user_name: members.optional::<D::Error>("UserName", "user_name")?,
        })
    }
}

#[async_trait]
impl Action for ModifyAccessKeys {
    const META: Meta = Meta {
        path: "iam/modify_access_keys",
        effect: Effect::Modify,
        calls: &[
            Call::read("iam:GetAccessKeyLastUsed", &[Grant::new("iam:GetAccessKeyLastUsed", ANYBODY)])
                .when(When::Likely("a key is given without its user's name")),
            Call::read("iam:ListAccessKeys", &[Grant::new("iam:ListAccessKeys", OWNERS)]),
            Call::write("iam:UpdateAccessKey", &[Grant::new("iam:UpdateAccessKey", OWNERS)]),
        ],
        rules: &[
            Rule::AtLeastOne(&["enable", "disable"]),
            Rule::AtMostOne(&["enable", "disable"]),
            Rule::Requires("include_own_key", "disable"),
        ],
        examples: &[
            Example {
                title: "Disable an access key of `alice`",
                input: r#"{"keys": [{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "UserName": "alice"}], "disable": true}"#,
                output: "[]",
                given: &["key:alice/AKIAIOSFODNN7EXAMPLE"],
            },
            Example {
                title: "Disable an access key, whoever has it",
                input: r#"{"keys": [{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}], "disable": true}"#,
                output: "[]",
                given: &["key:alice/AKIAIOSFODNN7EXAMPLE"],
            },
        ],
        notes: &[
            super::GLOBAL,
            "A change is known everywhere in AWS after some seconds; until then a disabled key may still work.",
            "Sessions that were opened with a key live on when it is disabled; `quarantine_user` ends them.",
            "The key refused as the session's own is the one that requests are signed with. With an assumed role that is the role's temporary key; \
             the key that the role was assumed with is not known, and is not spared.",
            "UpdateAccessKey without a user name would act on the caller, so the name is always sent, and a key that IAM does not list for that \
             user fails without being tried.",
            "Keys of the root user cannot be changed through IAM.",
            "The policy printed for certain inputs names the users in them: where `UserName` is left out, allow all users.",
        ],
    };

    const BINDS: &'static [&'static str] = &["whose it is", "its status"];
    const REVERSIBLE: Reversible = Reversible::Yes("`aaws undo` gives each key the status that it had.");

    type Output = FailedItems;

    async fn run(self, cx: &Context) -> Result<FailedItems> {
        let status = if self.enable && !self.disable { StatusType::Active } else { StatusType::Inactive };
        // IAM has 5,000 users with two keys each by default: all of them fit in memory, and each user is read once.
        let given: Vec<KeyOfUser> = self.keys.stream().try_collect().await?;
        let ignore_not_found = self.ignore_not_found;
        if given.is_empty() {
            let change = SetStatus { iam: aaws::client!(cx, aws_sdk_iam), status, ignore_not_found };
            return Ok(cx.change(stream::empty(), change).await?.failed());
        }
        let iam = aaws::client!(cx, aws_sdk_iam);
        let own = match status {
            StatusType::Inactive => Some(cx.credentials().await?.access_key_id().to_owned()),
            _ => None,
        };
        let spared = own.clone().filter(|_| !self.include_own_key);
        let with_owner = look_up(cx, given, |key| owner(iam.clone(), key)).await?;
        let names: BTreeSet<_> = with_owner.iter().filter_map(|(_, user)| user.as_ref().ok().cloned()).collect();
        let read = look_up(cx, names.into_iter().collect(), |user| keys_of(iam.clone(), user)).await?;
        let known: HashMap<_, _> = read.into_iter().collect();

        // Each key but the last holds the sender, and the last waits until all of them are gone.
        let (others, settled) = watch::channel(());
        let others = Arc::new(others);
        let mut seen = HashSet::new();
        let mut keys: Vec<_> = with_owner
            .into_iter()
            .map(|(id, user)| {
                let precheck = if !seen.insert((id.clone(), user.clone().unwrap_or_default())) {
                    Some(Outcome::Unchanged("duplicate id".into()))
                } else if spared.as_ref() == Some(&id) {
                    Some(own_key())
                } else {
                    precheck(&id, &user, &known, &status, ignore_not_found)
                };
                let now =
                    user.as_ref().ok().and_then(|user| known.get(user)?.as_ref().ok()?.get(&id)?.status.as_ref()).map(ToString::to_string);
                let turn = if own.as_ref() == Some(&id) { Turn::Last(settled.clone()) } else { Turn::Any(Arc::clone(&others)) };
                Key { id, user: user.unwrap_or_default(), now, precheck, turn }
            })
            .collect();
        keys.sort_by_key(|key| matches!(key.turn, Turn::Last(_)) && key.precheck.is_none());
        Ok(cx.change(stream::iter(keys.into_iter().map(Ok)), SetStatus { iam, status, ignore_not_found }).await?.failed())
    }
}

aaws::register!(ModifyAccessKeys, undo = KeyStep);

fn own_key() -> Outcome {
    let why = "it is the key that this command is signed with, which would lock you out; `include_own_key` disables it all the same";
    Outcome::Failed(Failure::permanent("OwnKey", why))
}

/// What is to be said of a key without changing it.
fn precheck(
    id: &str,
    user: &Result<String, Failure>,
    known: &HashMap<String, Result<Keys, Failure>>,
    status: &StatusType,
    ignore_not_found: bool,
) -> Option<Outcome> {
    let user = match user {
        Ok(user) => user,
        Err(failure) => return Some(not_found_or(failure.clone(), ignore_not_found, "there is no such access key")),
    };
    match known.get(user) {
        Some(Err(failure)) => Some(not_found_or(failure.clone(), ignore_not_found, format!("there is no user `{user}`"))),
        Some(Ok(keys)) => match keys.get(id).and_then(|key| key.status.as_ref()) {
            Some(now) if now == status => Some(Outcome::Unchanged(format!("it is {now} already"))),
            Some(_) => None,
            None => Some(Outcome::not_found(ignore_not_found, format!("the user `{user}` has no such access key"))),
        },
        None => Some(Outcome::Failed(Failure::permanent("NotRead", format!("the keys of the user `{user}` were not read")))),
    }
}

/// An access key to change.
struct Key {
    id: String,
    user: String,
    /// Its status, where there is such a key.
    now: Option<String>,
    precheck: Option<Outcome>,
    turn: Turn,
}

/// When a key may be changed.
enum Turn {
    /// At any time; who waits for it waits until this is dropped.
    Any(#[allow(dead_code, reason = "held, never read")] Arc<watch::Sender<()>>),
    /// After all others: nothing more can be sent once it is disabled.
    Last(watch::Receiver<()>),
}

impl Turn {
    /// Waits for it; whether there was anything to wait for.
    async fn come(&self) -> bool {
        let Turn::Last(others) = self else { return false };
        let mut others = others.clone();
        while others.changed().await.is_ok() {}
        true
    }
}

struct SetStatus {
    iam: Client,
    status: StatusType,
    ignore_not_found: bool,
}

impl SetStatus {
    fn verb(&self) -> &'static str {
        if self.status == StatusType::Active { "enable" } else { "disable" }
    }
}

#[async_trait]
impl Change for SetStatus {
    type Item = Key;
    type Done = ();

    fn id(&self, key: &Key) -> String {
        key.id.clone()
    }

    fn summary(&self) -> String {
        format!("{} access keys", self.verb())
    }

    fn plan(&self, key: &Key) -> Option<String> {
        Some(format!("{} the access key of the user `{}`", self.verb(), key.user))
    }

    fn precheck(&self, key: &Key) -> Option<Outcome> {
        key.precheck.clone()
    }

    fn state(&self, key: &Key) -> Option<Value> {
        Some(json!({ "user": key.user, "status": key.now }))
    }

    async fn apply(&self, cx: &Context, keys: &[Key]) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in keys {
            if key.turn.come().await && cx.cancellation().is_cancelled() {
                outcomes.push(Outcome::skipped_as(Code::NotStarted, "not started: the run was stopped"));
                continue;
            }
            let step = KeyStep { user: key.user.clone(), key: key.id.clone(), enabled: self.status == StatusType::Active };
            cx.note(&key.id, &step).await?;
            outcomes.push(match per_item(step.set(&self.iam, step.enabled).await)? {
                Ok(()) => Outcome::Done((), Some(format!("of the user `{}`: now {}", key.user, self.status))),
                Err(failure) => not_found_or(failure, self.ignore_not_found, format!("the user `{}` has no such access key", key.user)),
            });
        }
        Ok(outcomes)
    }
}

/// A key was enabled or disabled.
#[derive(Debug, Serialize, Deserialize)]
struct KeyStep {
    user: String,
    key: String,
    enabled: bool,
}

impl fmt::Display for KeyStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.enabled { "enable" } else { "disable" };
        write!(f, "{verb} the access key {} of the user `{}`", self.key, self.user)
    }
}

impl KeyStep {
    async fn set(&self, iam: &Client, enabled: bool) -> Result<()> {
        let (status, verb) = if enabled { (StatusType::Active, "enable") } else { (StatusType::Inactive, "disable") };
        let request = iam.update_access_key().user_name(&self.user).access_key_id(&self.key).status(status);
        let answer = request.send().await;
        answer.context(|| format!("{verb} the access key `{}` of the user `{}`", self.key, self.user)).map(drop)
    }
}

#[async_trait]
impl Step for KeyStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let iam = aaws::client!(cx, aws_sdk_iam);
        patiently(|| self.set(&iam, !self.enabled)).await
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let iam = aaws::client!(cx, aws_sdk_iam);
        let keys = match account::access_keys(&iam, &self.user).await {
            Ok(keys) => keys,
            Err(e) if is_missing(&e) => return Ok(Some(left_alone(format!("the user `{}` is gone", self.user)))),
            Err(e) => return Err(e),
        };
        let Some(key) = keys.into_iter().find(|key| key.access_key_id.as_ref() == Some(&self.key)) else {
            return Ok(Some(left_alone(format!("the user `{}` has it no more", self.user))));
        };
        let active = key.status == Some(StatusType::Active);
        if active != self.enabled {
            return Ok(Some(Outcome::Unchanged(format!("it is {} as before", if active { "Active" } else { "Inactive" }))));
        }
        // Undoing would disable it.
        let own = self.enabled && cx.credentials().await?.access_key_id() == self.key;
        Ok(own.then(own_key))
    }

    fn inverse(&self) -> Option<Self> {
        Some(KeyStep { user: self.user.clone(), key: self.key.clone(), enabled: !self.enabled })
    }
}
