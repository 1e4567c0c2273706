use std::collections::{HashMap, HashSet};
use std::fmt;

use aaws::{
    AccountId, Action, Call, ChangeOne, Context, DoneItems, Effect, Error, ErrorContext, Example, Failure, Grant, Items, Meta, Next,
    Outcome, Page, Result, Reversible, Step, When, async_trait, paged,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{OperationType, Snapshot, SnapshotAttributeName};
use futures::TryStreamExt;
use futures::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::kms::{self, DESCRIBE_KEY};
use super::lookup::{self, DESCRIBE_SNAPSHOTS, Lookup, Resource};
use super::{states, tags};

/// Let another account make volumes of EBS snapshots, or end that.
///
/// Whether the account may already is looked at first: such snapshots are unchanged. A snapshot that is encrypted with the AWS managed key cannot be
/// shared, and fails. The ids of the snapshots that were shared, or with `unshare` are shared no more, are printed in the order given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareSnapshots {
    /// Snapshots to share. An empty list shares nothing.
    pub snapshot_ids: Items<String>,
    /// The other account: twelve digits.
    pub target_account: AccountId,
    /// Take the permission away, rather than give it.
    #[serde(default)]
    pub unshare: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

const SNAPSHOTS: &[&str] = &["arn:${Partition}:ec2:${Region}::snapshot/${snapshot_ids}"];

#[async_trait]
impl Action for ShareSnapshots {
    const META: Meta = Meta {
        path: "ec2/share_snapshots",
        effect: Effect::Modify,
        calls: &[
            DESCRIBE_SNAPSHOTS,
            DESCRIBE_KEY.when(When::Likely("a snapshot is encrypted, and not for `unshare`")),
            Call::write(
                "ec2:ModifySnapshotAttribute",
                &[
                    Grant::new("ec2:ModifySnapshotAttribute", SNAPSHOTS).when(When::Without(&["unshare"])).condition(
                        "StringEquals",
                        "ec2:Add/userId",
                        "${target_account}",
                    ),
                    Grant::new("ec2:ModifySnapshotAttribute", SNAPSHOTS).when(When::With(&["unshare"])).condition(
                        "StringEquals",
                        "ec2:Remove/userId",
                        "${target_account}",
                    ),
                ],
            ),
        ],
        rules: &[],
        examples: &[Example {
            title: "Let the account `111122223333` make volumes of a snapshot",
            input: r#"{"snapshot_ids": ["snap-0123456789abcdef0"], "target_account": "111122223333"}"#,
            output: r#"["snap-0123456789abcdef0"]"#,
            given: &["snapshot snap-0123456789abcdef0"],
        }],
        notes: &[
            "Sharing a snapshot shows all data in it to the other account.",
            "Of a snapshot that is encrypted with a key of yours, the key's policy has to admit the other account too: that is not looked at.",
            "`unshare` ends what comes after: copies and volumes that the other account has made stay with it.",
            "Each snapshot is shared by a call of its own, with one account. Block public access for snapshots does not touch that.",
            "Snapshots with product codes of the AWS Marketplace cannot be shared with everyone; this action shares with one account only.",
        ],
    };

    const BINDS: &'static [&'static str] = states::SNAPSHOT;
    const REVERSIBLE: Reversible = Reversible::Yes(
        "`aaws undo` takes the permission away again, or gives it again. What the other account copied meanwhile stays with it.",
    );

    type Output = DoneItems<String>;

    async fn run(self, cx: &Context) -> Result<DoneItems<String>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<Snapshot>(cx, &ec2, self.snapshot_ids).await?;
        let share = Share { ec2, account: self.target_account.to_string(), add: !self.unshare };
        let items = lookup::cancellable(cx, share.look(cx, &lookup, self.ignore_not_found)).await?;
        Ok(cx.change_each(stream::iter(items.into_iter().map(Ok)), share).await?.done())
    }
}

aaws::register!(ShareSnapshots, undo = ShareStep);

struct Shared {
    id: String,
    tags: Vec<(String, String)>,
    precheck: Option<Outcome<String>>,
    /// What could not be made sure of.
    doubt: Option<String>,
    /// What a plan binds.
    state: Option<Value>,
}

/// What is known of a key.
enum Manager {
    Aws,
    Customer,
    /// It could not be looked at, for this reason.
    Unknown(String),
}

struct Share {
    ec2: Client,
    account: String,
    add: bool,
}

impl Share {
    /// What is clear of each snapshot before anything is changed.
    async fn look(&self, cx: &Context, lookup: &[Lookup<Snapshot>], ignore_not_found: bool) -> Result<Vec<Shared>> {
        let managers = if self.add { managers(cx, lookup).await? } else { HashMap::new() };
        let there: Vec<String> = lookup.iter().filter(|s| s.result.found().is_some()).map(|s| s.id.clone()).collect();
        let shared = self.shared(&there).await?;
        let item = |lookup: &Lookup<Snapshot>| {
            let manager = lookup.result.found().and_then(|s| s.kms_key_id()).and_then(|key| managers.get(key));
            let doubt = match manager {
                Some(Manager::Unknown(why)) => {
                    Some(format!("its key could not be looked at ({why}): the account may not be able to use it"))
                }
                _ => None,
            };
            let unknown = lookup.result.unknown(ignore_not_found);
            let precheck = unknown.or_else(|| self.precheck(manager, shared.contains(&lookup.id)));
            let found = lookup.result.found();
            let tags = found.map(|s| tags::pairs(s.tags())).unwrap_or_default();
            Shared { id: lookup.id.clone(), tags, precheck, doubt, state: found.map(states::snapshot) }
        };
        Ok(lookup.iter().map(item).collect())
    }

    fn precheck(&self, manager: Option<&Manager>, shared: bool) -> Option<Outcome<String>> {
        if matches!(manager, Some(Manager::Aws)) {
            let why = "it is encrypted with the AWS managed key: share a copy that is encrypted with a key of yours";
            return Some(Outcome::Failed(Failure::permanent("AwsManagedKey", why)));
        }
        match (self.add, shared) {
            (true, true) => Some(Outcome::Unchanged(format!("it is shared with {} already", self.account))),
            (false, false) => Some(Outcome::Unchanged(format!("it is not shared with {}", self.account))),
            _ => None,
        }
    }

    /// Lets the account make volumes of a snapshot, or no more.
    async fn set(&self, snapshot: &str, shared: bool) -> Result<()> {
        let operation = if shared { OperationType::Add } else { OperationType::Remove };
        let request = self.ec2.modify_snapshot_attribute().snapshot_id(snapshot).attribute(SnapshotAttributeName::CreateVolumePermission);
        let request = request.operation_type(operation).user_ids(&self.account);
        request.send().await.context(|| format!("change whom the snapshot `{snapshot}` is shared with")).map(drop)
    }

    /// Which of these snapshots the account may make volumes of: 200 a request.
    async fn shared(&self, ids: &[String]) -> Result<HashSet<String>> {
        let mut shared = HashSet::new();
        for some in ids.chunks(lookup::MOST_VALUES) {
            let request = self.ec2.describe_snapshots().owner_ids("self").restorable_by_user_ids(&self.account);
            let request = request.filters(lookup::filter(Snapshot::FILTER, some)).max_results(lookup::PAGE);
            let listed = paged("the snapshots that are shared", move |token: Option<String>| {
                let request = request.clone().set_next_token(token);
                async move {
                    let answer = request.send().await.context(|| "list the snapshots that are shared with the account")?;
                    Ok::<_, Error>(Page { next: Next::nonempty(answer.next_token), items: answer.snapshots.unwrap_or_default() })
                }
            });
            let listed: Vec<Snapshot> = listed.try_collect().await?;
            shared.extend(listed.into_iter().map(|s| s.id().to_owned()));
        }
        Ok(shared)
    }
}

/// Who manages the snapshots' keys; each key is looked at once. One that cannot be looked at keeps nobody from sharing: EC2 has the last word.
async fn managers(cx: &Context, lookup: &[Lookup<Snapshot>]) -> Result<HashMap<String, Manager>> {
    let mut managers = HashMap::new();
    for key in lookup.iter().filter_map(|s| s.result.found()).filter_map(|s| s.kms_key_id()) {
        if managers.contains_key(key) {
            continue;
        }
        let manager = match kms::is_managed_by_aws(cx, key).await {
            Ok(Some(true)) => Manager::Aws,
            Ok(Some(false)) => Manager::Customer,
            Ok(None) => Manager::Unknown("access to it is denied".into()),
            Err(e) if e.is_fatal() => return Err(e),
            Err(e) => Manager::Unknown(e.code().unwrap_or("no answer").to_owned()),
        };
        if let Manager::Unknown(why) = &manager {
            tracing::warn!("the key {key} cannot be looked at ({why}): sharing what it encrypts may be refused");
        }
        managers.insert(key.to_owned(), manager);
    }
    Ok(managers)
}

#[async_trait]
impl ChangeOne for Share {
    type Item = Shared;
    type Done = String;

    fn id(&self, snapshot: &Shared) -> String {
        snapshot.id.clone()
    }

    fn summary(&self) -> String {
        if self.add { format!("share with {}", self.account) } else { format!("share no more with {}", self.account) }
    }

    fn plan(&self, snapshot: &Shared) -> Option<String> {
        let plan = format!("it would be {} {}", if self.add { "shared with" } else { "shared no more with" }, self.account);
        Some(snapshot.doubt.iter().fold(plan, |plan, doubt| format!("{plan}; {doubt}")))
    }

    fn tags(&self, snapshot: &Shared) -> Option<Vec<(String, String)>> {
        Some(snapshot.tags.clone())
    }

    fn precheck(&self, snapshot: &Shared) -> Option<Outcome<String>> {
        snapshot.precheck.clone()
    }

    fn state(&self, snapshot: &Shared) -> Option<Value> {
        snapshot.state.clone()
    }

    async fn apply(&self, cx: &Context, snapshot: &Shared) -> Result<Outcome<String>> {
        let Shared { id, doubt, .. } = snapshot;
        cx.note(id, &ShareStep { snapshot: id.clone(), account: self.account.clone(), shared: self.add }).await?;
        self.set(id, self.add).await?;
        Ok(Outcome::Done(id.clone(), doubt.clone()))
    }
}

/// A snapshot was shared with an account, or was shared with it no more.
#[derive(Debug, Serialize, Deserialize)]
struct ShareStep {
    snapshot: String,
    account: String,
    shared: bool,
}

impl fmt::Display for ShareStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "share {} {}with {}", self.snapshot, if self.shared { "" } else { "no more " }, self.account)
    }
}

impl ShareStep {
    fn share(&self, cx: &Context) -> Share {
        Share { ec2: aaws::client!(cx, aws_sdk_ec2), account: self.account.clone(), add: !self.shared }
    }
}

#[async_trait]
impl Step for ShareStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        self.share(cx).set(&self.snapshot, !self.shared).await
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let share = self.share(cx);
        let is_shared = !share.shared(std::slice::from_ref(&self.snapshot)).await?.is_empty();
        if is_shared != self.shared {
            let so = if is_shared { "it is shared with" } else { "it is gone, or is not shared with" };
            return Ok(Some(Outcome::Unchanged(format!("{so} {}", self.account))));
        }
        let snapshot = lookup::one::<Snapshot>(&share.ec2, &self.snapshot).await?;
        Ok(snapshot.and_then(|snapshot| tags::protection(cx, snapshot.tags())))
    }

    fn inverse(&self) -> Option<Self> {
        Some(ShareStep { snapshot: self.snapshot.clone(), account: self.account.clone(), shared: !self.shared })
    }
}
