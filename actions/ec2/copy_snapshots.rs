use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use aaws::Backoff;
use aaws::{
    Action, AwsError, Call, Code, Context, Effect, Error, ErrorContext, Example, Failure, Grant, Items, Listing, Meta, Outcome, Region,
    Result, Reversible, Rule, When, async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{ResourceType, Snapshot, SnapshotState};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::coalesce::is_named;
use super::kms::{self, VIA_EC2};
use super::lookup::{self, DESCRIBE_SNAPSHOTS, Lookup, LookupResult, Resource};
use super::made::{MadeStep, UNDONE};
use super::making::{self, Maker, Row};
use super::wait::{self, Awaited, UNSEEN};
use super::{once, presign, snapshots, states, tags};

/// Copy EBS snapshots to another region, or within one, and await the copies.
///
/// The snapshots are in the region that the action runs in, and may be shared by another account; the copies are made in `target_region`. A copy
/// that is accepted may still end in an error, say because its key may not be used: such a copy is a failure of its snapshot, with EC2's reason. The
/// ids of the complete copies are printed in the order of the snapshots; with `details`, what came of each, so that it is seen which have no copy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CopySnapshots {
    /// Snapshots to copy, in the region that the action runs in. An empty list copies nothing.
    pub snapshot_ids: Items<String>,
    /// Region of the copies; it may be the same.
    pub target_region: Region,
    /// How many copies may be pending at once.
    #[serde(default = "twenty")]
    pub pending_limit: NonZeroU32,
    /// Encrypt copies of snapshots that are not encrypted. Copies of encrypted snapshots always are.
    #[serde(default)]
    pub encrypt: bool,
    /// KMS key of the copies, in the target region: its id, ARN or alias. The target region's default key for EBS unless given.
    pub kms_key_id: Option<String>,
    /// Give the copies the snapshots' own tags.
    #[serde(default)]
    pub copy_tags: bool,
    /// Print the ids as soon as the copies are begun, and do not await the last ones.
    #[serde(default)]
    pub no_wait: bool,
    /// Print what came of each snapshot, with its copy, rather than the ids of the copies.
    #[serde(default)]
    pub details: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

impl Default for CopySnapshots {
    fn default() -> Self {
        CopySnapshots {
            snapshot_ids: Items::default(),
            target_region: Region::default(),
            pending_limit: twenty(),
            encrypt: false,
            kms_key_id: None,
            copy_tags: false,
            no_wait: false,
            details: false,
            ignore_not_found: false,
        }
    }
}

/// As many copies as EC2 lets be pending for a target region, unless the quota was raised.
fn twenty() -> NonZeroU32 {
    const TWENTY: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
    TWENTY
}

const SOURCES: &str = "arn:${Partition}:ec2:${Region}::snapshot/${snapshot_ids}";
const COPIES: &str = "arn:${Partition}:ec2:${target_region}::snapshot/*";
const TARGET_KEYS: &[&str] = &["arn:${Partition}:kms:${target_region}:${Account}:key/*"];
const KEYS: &[&str] = &["arn:${Partition}:kms:${Region}:${Account}:key/*", "arn:${Partition}:kms:${target_region}:${Account}:key/*"];

#[async_trait]
impl Action for CopySnapshots {
    const META: Meta = Meta {
        path: "ec2/copy_snapshots",
        effect: Effect::Create,
        calls: &[
            DESCRIBE_SNAPSHOTS,
            // In the region of the copies, unlike everybody else's.
            Call::read("kms:DescribeKey", &[Grant::new("kms:DescribeKey", TARGET_KEYS)]).when(When::With(&["kms_key_id"])),
            Call::write(
                "ec2:CopySnapshot",
                &[
                    Grant::new("ec2:CopySnapshot", &[SOURCES, COPIES]),
                    Grant::new("ec2:CreateTags", &[COPIES]).when(When::With(&["copy_tags"])).condition(
                        "StringEquals",
                        "ec2:CreateAction",
                        "CopySnapshot",
                    ),
                    Grant::new("kms:DescribeKey", KEYS).when(ENCRYPTED).condition("StringLike", "kms:ViaService", VIA_EC2),
                    Grant::new("kms:CreateGrant", KEYS).when(ENCRYPTED).condition("Bool", "kms:GrantIsForAWSResource", "true"),
                    Grant::new("kms:Decrypt", KEYS).when(ENCRYPTED).condition("StringLike", "kms:ViaService", VIA_EC2),
                    Grant::new("kms:GenerateDataKeyWithoutPlaintext", KEYS).when(ENCRYPTED).condition(
                        "StringLike",
                        "kms:ViaService",
                        VIA_EC2,
                    ),
                    Grant::new("kms:ReEncryptFrom", KEYS).when(ENCRYPTED).condition("StringLike", "kms:ViaService", VIA_EC2),
                    Grant::new("kms:ReEncryptTo", KEYS).when(ENCRYPTED).condition("StringLike", "kms:ViaService", VIA_EC2),
                ],
            ),
            Call::write("ec2:DeleteSnapshot", &[Grant::new("ec2:DeleteSnapshot", &[COPIES])]).when(UNDONE),
        ],
        rules: &[Rule::Requires("kms_key_id", "encrypt")],
        examples: &[
            Example {
                title: "Copy a snapshot to another region, with its tags, and encrypt the copy with the default key there",
                input: r#"{"snapshot_ids": ["snap-0123456789abcdef0"], "target_region": "us-west-2", "encrypt": true, "copy_tags": true}"#,
                output: r#"["snap-0fedcba9876543210"]"#,
                given: &["snapshot snap-0123456789abcdef0"],
            },
            Example {
                title: "Copy a snapshot within its region, and tell which copy is of which snapshot",
                input: r#"{"snapshot_ids": ["snap-0123456789abcdef0"], "target_region": "us-east-1", "details": true}"#,
                output: r#"[{"SourceId": "snap-0123456789abcdef0", "Status": "done", "Id": "snap-0fedcba9876543210", "Message": "snap-0fedcba9876543210 is complete"}]"#,
                given: &["snapshot snap-0123456789abcdef0"],
            },
        ],
        notes: &[
            "Delete no snapshot whose copy you do not have: use the ids that are printed, or `details`, not the ids that were asked for.",
            "Copies take from minutes to hours: the wait has no limit but `--timeout`. When it ends, the log, the report and `details` name every copy that was begun; \
             they go on.",
            "EC2 limits how many copies are pending for a target region (20 unless raised). When `pending_limit` copies are, the next is begun once one of them has come to \
             an end, with `no_wait` too. What EC2 refuses all the same, because others copy there, is tried again for a while, and then fails.",
            "A snapshot that is encrypted with the AWS managed key of another account cannot be copied.",
            "The volume id of a copy is arbitrary: EC2 does not keep the original's.",
        ],
    };

    const BINDS: &'static [&'static str] = states::SNAPSHOT;
    const REVERSIBLE: Reversible = Reversible::Yes("`aaws undo` deletes the copies that were made.");

    type Output = Listing<Row>;

    async fn run(self, cx: &Context) -> Result<Listing<Row>> {
        if self.target_region.as_str().is_empty() {
            return Err(Error::field("target_region", "`target_region` names no region"));
        }
        let here = aaws::client!(cx, aws_sdk_ec2);
        let region = aws_sdk_ec2::config::Region::new(self.target_region.to_string());
        let there = aaws::client!(cx, aws_sdk_ec2, |config: aws_sdk_ec2::config::Builder| config.region(region));
        let key = match &self.kms_key_id {
            Some(key) => Some(lookup::cancellable(cx, kms::check(cx, self.target_region.as_str(), key)).await?),
            None => None,
        };
        let lookup = sources(cx, &here, self.snapshot_ids).await?;
        let copy = Copy {
            there,
            target_region: self.target_region.into(),
            key,
            encrypt: self.encrypt,
            copy_tags: self.copy_tags,
            wait: !self.no_wait,
            source_region: cx.region().to_owned(),
            ignore_not_found: self.ignore_not_found,
            places: Places::of(self.pending_limit),
        };
        making::make(cx, lookup, copy, self.details).await
    }
}

const ENCRYPTED: When = When::Likely("the snapshot or its copy is encrypted with a customer managed key");

aaws::register!(CopySnapshots, undo = MadeStep);

/// Looks up the snapshots: the account's own, and then by their ids those that others share. A filter alone would search all public snapshots.
async fn sources(cx: &Context, ec2: &Client, ids: Items<String>) -> Result<Vec<Lookup<Snapshot>>> {
    let ids = lookup::named::<Snapshot>(ids).await?;
    let found = async {
        let mut found = lookup::by_id::<Snapshot>(ec2, &ids, &[]).await?;
        let others: BTreeSet<&String> = ids.iter().filter(|id| !found.contains_key(*id)).collect();
        let others: Vec<String> = others.into_iter().cloned().collect();
        found.extend(shared(ec2, &others).await?);
        Ok::<_, Error>(found)
    };
    let found = lookup::cancellable(cx, found).await?;
    Ok(lookup::in_order(ids, found))
}

/// The snapshots of these ids that others share, with this account or with everyone. One id of which there is none makes EC2 refuse all of a request:
/// it is split off.
async fn shared(ec2: &Client, ids: &[String]) -> Result<HashMap<String, Snapshot>> {
    let mut found = HashMap::new();
    let mut batches: Vec<Vec<String>> = ids.chunks(lookup::MOST_VALUES).map(<[String]>::to_vec).collect();
    while let Some(batch) = batches.pop() {
        // A request with ids takes no limit of a page.
        let answer = ec2.describe_snapshots().set_snapshot_ids(Some(batch.clone())).send().await.context(|| "list the snapshots");
        let error = match answer {
            Ok(answer) => {
                found.extend(answer.snapshots.unwrap_or_default().into_iter().map(|s| (s.id().to_owned(), s)));
                continue;
            }
            Err(e) if !NO_SNAPSHOT.iter().any(|code| e.code() == Some(*code)) => return Err(e),
            Err(e) => e,
        };
        let (named, mut others): (Vec<String>, Vec<String>) = batch.into_iter().partition(|id| is_named(&error, id));
        match (named.is_empty(), others.len()) {
            (false, 1..) => batches.push(others),
            (true, 2..) => {
                let half = others.split_off(others.len() / 2);
                batches.extend([others, half]);
            }
            // None of them is there.
            _ => {}
        }
    }
    Ok(found)
}

/// Codes by which EC2 says of an id that no snapshot has it, or can have it (EC2 API reference, error codes).
const NO_SNAPSHOT: &[&str] = &["InvalidSnapshot.NotFound", "InvalidSnapshotID.Malformed", "InvalidParameterValue"];

struct Copy {
    /// In the target region.
    there: Client,
    source_region: String,
    target_region: String,
    /// ARN of the key, when one was given.
    key: Option<String>,
    encrypt: bool,
    copy_tags: bool,
    wait: bool,
    ignore_not_found: bool,
    places: Places,
}

/// The places for copies that are pending. A copy has one from its beginning until a look finds that it has come to an end, well or not.
struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<HashMap<String, Place>>,
    /// Held by the one that looks, on behalf of all that have to wait for a place.
    looking: tokio::sync::Mutex<()>,
}

/// The place of a copy, and how many looks in a row have missed it.
struct Place {
    _permit: OwnedSemaphorePermit,
    missed: u32,
}

impl Places {
    fn of(most: NonZeroU32) -> Self {
        let most = usize::try_from(most.get()).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Places { free: Arc::new(Semaphore::new(most)), taken: Mutex::default(), looking: tokio::sync::Mutex::default() }
    }

    /// A free place; when there is none, the one of the first copy that comes to an end.
    async fn get(&self, cx: &Context, there: &Client) -> Result<OwnedSemaphorePermit> {
        tokio::select! {
            // In this order: where there is a place, nobody has to look for one.
            biased;
            permit = Arc::clone(&self.free).acquire_owned() => permit.map_err(|_| not_started()),
            e = self.look(cx, there) => Err(e),
        }
    }

    /// Looks again and again, and frees the places of what has come to an end; says why when that cannot go on.
    async fn look(&self, cx: &Context, there: &Client) -> Error {
        let _alone = self.looking.lock().await;
        let mut backoff = Backoff::poll();
        loop {
            if cx.cancellation().is_cancelled() {
                return not_started();
            }
            // None are no request: the places are of copies that are only just being begun.
            let ids: Vec<String> = self.taken().keys().cloned().collect();
            match backoff.attempt(lookup::by_id::<Snapshot>(there, &ids, &[])).await {
                Ok(Some(seen)) => self.taken().retain(|id, place| !ids.contains(id) || place.is_kept(seen.get(id))),
                Ok(None) => {}
                Err(e) => return e,
            }
            if !backoff.wait(cx).await {
                return not_started();
            }
        }
    }

    fn take(&self, copy: &str, permit: OwnedSemaphorePermit) {
        self.taken().insert(copy.to_owned(), Place { _permit: permit, missed: 0 });
    }

    /// What was awaited is pending no more, or nobody will wait for its place.
    fn leave(&self, copies: &[String]) {
        let mut taken = self.taken();
        copies.iter().for_each(|copy| drop(taken.remove(copy)));
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, HashMap<String, Place>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether the copy still needs its place, as a look has it.
    fn is_kept(&mut self, seen: Option<&Snapshot>) -> bool {
        match seen {
            Some(copy) => {
                self.missed = 0;
                matches!(copy.state(), None | Some(SnapshotState::Pending))
            }
            None => {
                self.missed += 1;
                self.missed <= UNSEEN
            }
        }
    }
}

/// No request was sent for this one: it is as it was.
fn not_started() -> Error {
    let (attempted, message) = ("begin the copy".into(), "the run was stopped".into());
    Error::Aws(Box::new(AwsError { attempted, code: Code::NotSent.into(), message, request_id: None, status: None }))
}

#[async_trait]
impl Maker for Copy {
    type Source = Lookup<Snapshot>;

    fn id(&self, snapshot: &Lookup<Snapshot>) -> String {
        snapshot.id.clone()
    }

    fn summary(&self) -> String {
        format!("copy to {}", self.target_region)
    }

    fn plan(&self, lookup: &Lookup<Snapshot>) -> Option<String> {
        let encrypted = self.encrypt || lookup.result.found().is_some_and(|s| s.encrypted() == Some(true));
        let how = if encrypted { "encrypted" } else { "encrypted only if that region encrypts by default" };
        Some(format!("a copy of it would be made in {}, {how}", self.target_region))
    }

    fn precheck(&self, lookup: &Lookup<Snapshot>) -> Option<Outcome<String>> {
        match &lookup.result {
            // EC2 copies what is complete ("Copy an Amazon EBS snapshot", EBS user guide).
            LookupResult::Found(snapshot) => match snapshot.state() {
                None | Some(SnapshotState::Completed) => None,
                Some(state) => {
                    Some(Outcome::Failed(Failure::permanent("IncorrectState", format!("it is not complete, but in the state `{state}`"))))
                }
            },
            LookupResult::NotFound => {
                let why = format!("it does not exist in {}, or is not shared with this account", self.source_region);
                Some(Outcome::not_found(self.ignore_not_found, why))
            }
            LookupResult::Duplicate => Some(Outcome::Unchanged("duplicate id".into())),
        }
    }

    fn state(&self, snapshot: &Lookup<Snapshot>) -> Option<Value> {
        snapshot.result.found().map(states::snapshot)
    }

    fn awaited(&self) -> bool {
        self.wait
    }

    fn step(&self, snapshot: &Lookup<Snapshot>, made: &str) -> Option<MadeStep> {
        Some(MadeStep::Copy { of: snapshot.id.clone(), id: made.to_owned(), region: self.target_region.clone() })
    }

    async fn begin(&self, cx: &Context, lookup: &Lookup<Snapshot>) -> Result<String> {
        let place = self.places.get(cx, &self.there).await?;
        let encrypted = lookup.result.found().is_some_and(|s| s.encrypted() == Some(true));
        let url = match encrypted && self.source_region != self.target_region {
            true => {
                let (source, target) = (&self.source_region, &self.target_region);
                Some(presign::copy_url(cx, source, target, &lookup.id, self.encrypt, self.key.as_deref()).await?)
            }
            false => None,
        };
        let own = if self.copy_tags { lookup.result.found().map(|s| tags::own(s.tags())).unwrap_or_default() } else { Vec::new() };
        let request = self.there.copy_snapshot().source_region(&self.source_region).source_snapshot_id(&lookup.id);
        let description = format!("{} of {}, copied by aaws ({})", lookup.id, self.source_region, once::token());
        let request = request.description(&description);
        // Encryption cannot be taken away: of an encrypted snapshot this is not said, so that the default of the region holds.
        let request = request.set_encrypted(self.encrypt.then_some(true)).set_kms_key_id(self.key.clone());
        // The reference has the region in the address only; botocore, and with it the AWS CLI, sends it beside the address too, as required.
        let request = request.set_destination_region(url.is_some().then(|| self.target_region.clone()));
        let request = request.set_presigned_url(url).set_tag_specifications(tags::for_new(ResourceType::Snapshot, own));
        let send = || async {
            let answer = request.clone().customize().config_override(once::config()).send().await;
            let made = answer.context(|| format!("copy the snapshot `{}` to {}", lookup.id, self.target_region))?;
            made.snapshot_id.ok_or_else(|| Error::Failed(format!("EC2 began a copy of `{}` without naming it", lookup.id)))
        };
        let look = || snapshots::described(&self.there, &description);
        let id = once::create_once(cx, &format!("described as `{description}`"), send, look).await?;
        self.places.take(&id, place);
        Ok(id)
    }

    async fn wait(&self, cx: &Context, made: &[String]) -> Awaited {
        let awaited = wait::snapshots(cx, &self.there, made).await;
        self.places.leave(made);
        awaited
    }
}
