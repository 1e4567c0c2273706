use std::sync::{Mutex, PoisonError};

use aaws::{
    Action, Call, ChangeOne, Context, DoneItems, Effect, Error, ErrorContext, Example, Failure, Grant, Items, Meta, Outcome, Result,
    Reversible, Rule, async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Volume, VolumeModification, VolumeModificationState, VolumeState, VolumeType};
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::discover_volumes::Type;
use super::ids;
use super::lookup::{self, DESCRIBE_SNAPSHOTS, DESCRIBE_VOLUMES, Lookup, Resource};
use super::safety::SafetySnapshots;
use super::snapshots::{CREATE_SNAPSHOT, WITH_SNAPSHOT};
use super::together::Together;
use super::volumes::{modifications, since};
use super::wait::PollState;
use super::{states, tags};

mod performance;
mod step;

use performance::{GP3_IOPS, Performance};
use step::VolumeStep;

/// Change the size, type, IOPS or throughput of EBS volumes.
///
/// With `snapshot` each volume gets a snapshot first, which is awaited: a volume whose snapshot cannot be taken, or does not complete, is not changed.
/// A gp2, io1 or io2 volume that becomes gp3 keeps the IOPS and the throughput that it had, and one that becomes io1 or io2 keeps its IOPS, unless
/// `iops` or `throughput` say otherwise: what EC2 gives by itself may be less.
///
/// EC2 accepts a change and makes it in the background. With `wait` that is awaited, until the volume has its new size and performance. The ids of the
/// volumes whose change was accepted, or with `wait` is in effect, are printed in the order given. Volumes that are so already are unchanged.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModifyVolumes {
    /// Volumes to change. An empty list changes nothing.
    pub volume_ids: Items<String>,
    /// New size in GiB. It can only grow.
    pub size: Option<u32>,
    /// New type.
    pub r#type: Option<Type>,
    /// New provisioned IOPS, of gp3, io1 and io2.
    pub iops: Option<u32>,
    /// New throughput in MiB/s, of gp3.
    pub throughput: Option<u32>,
    /// Take a snapshot of each volume first, and await it.
    #[serde(default)]
    pub snapshot: bool,
    /// Wait until the changes are in effect.
    #[serde(default)]
    pub wait: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

const VOLUMES: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:volume/${volume_ids}"];

#[async_trait]
impl Action for ModifyVolumes {
    const META: Meta = Meta {
        path: "ec2/modify_volumes",
        effect: Effect::Modify,
        calls: &[
            DESCRIBE_VOLUMES,
            Call::read("ec2:DescribeVolumesModifications", &[Grant::new("ec2:DescribeVolumesModifications", &["*"])]),
            CREATE_SNAPSHOT.when(WITH_SNAPSHOT),
            DESCRIBE_SNAPSHOTS.when(WITH_SNAPSHOT),
            Call::write("ec2:ModifyVolume", &[Grant::new("ec2:ModifyVolume", VOLUMES)]),
        ],
        rules: &[Rule::AtLeastOne(&["size", "type", "iops", "throughput"])],
        examples: &[
            Example {
                title: "Give two volumes the type io2 and 4,000 IOPS, each after a snapshot",
                input: r#"{"volume_ids": ["vol-0123456789abcdef0", "vol-0fedcba9876543210"], "type": "io2", "iops": 4000, "snapshot": true}"#,
                output: r#"["vol-0123456789abcdef0", "vol-0fedcba9876543210"]"#,
                given: &["volume vol-0123456789abcdef0", "volume vol-0fedcba9876543210"],
            },
            Example {
                title: "Grow a volume to 100 GiB, and wait until it has them",
                input: r#"{"volume_ids": ["vol-0123456789abcdef0"], "size": 100, "wait": true}"#,
                output: r#"["vol-0123456789abcdef0"]"#,
                given: &["volume vol-0123456789abcdef0"],
            },
        ],
        notes: &[
            "A volume that has grown has a larger file system only when that is grown too, on the instance.",
            "EC2 takes up to four changes of a volume in any 24 hours, and the one before has to be completed: a volume of which one goes on fails before it is \
             touched. Where EC2 still asks for six hours between two changes, or the four are used up, its error says when the next one is possible.",
            "A change is in effect while EC2 still optimizes the volume, which takes up to a day and more: `wait` ends then, and the message says so.",
            "A volume cannot become gp3 with more than gp3 can have: 80,000 IOPS and 2,000 MiB/s, or less where EC2 does not offer that yet. Volumes of the types \
             st1, sc1 and standard that become gp3 get what gp3 has by itself.",
            "Each volume is changed when its own snapshot is complete, and waits for no other.",
            "A snapshot that was taken stays, also when its volume cannot be changed after all; the message of that item names it.",
        ],
    };

    const BINDS: &'static [&'static str] = &["its size", "type", "IOPS", "throughput"];
    const REVERSIBLE: Reversible = Reversible::Partly(
        "`aaws undo` gives a volume the type, the IOPS and the throughput that it had, as soon as EC2 takes another change of it; its size can only grow, and stays.",
    );

    type Output = DoneItems<String>;

    async fn run(self, cx: &Context) -> Result<DoneItems<String>> {
        let desired = self.desired()?;
        let ids = ids::checked("volume_ids", "vol-", self.volume_ids).await?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let lookup = lookup::look_up::<Volume>(cx, &ec2, ids.into()).await?;
        let ids: Vec<String> = lookup.iter().filter_map(|s| s.result.found()).map(|v| v.id().to_owned()).collect();
        let mut before = lookup::cancellable(cx, modifications(&ec2, &ids)).await?;
        let items: Vec<Result<Item>> = lookup
            .into_iter()
            .map(|lookup| {
                let before = before.remove(&lookup.id);
                Ok(Item::of(&lookup, &desired, before, self.ignore_not_found))
            })
            .collect();
        let saved = self.snapshot.then(|| SafetySnapshots::new(ec2.clone()));
        let modify = Modify { ec2, saved, wait: self.wait, looks: Together::default() };
        Ok(cx.change_each(stream::iter(items), modify).await?.done())
    }
}

aaws::register!(ModifyVolumes, undo = VolumeStep);

impl ModifyVolumes {
    /// What is asked for, when it can be had at all.
    fn desired(&self) -> Result<Desired> {
        let number = |n: Option<u32>| n.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
        let desired = Desired {
            size: number(self.size),
            kind: self.r#type.map(|t| VolumeType::from(t.word())),
            iops: number(self.iops),
            throughput: number(self.throughput),
        };
        match desired.kind.as_ref().and_then(|kind| desired.not_of(kind)) {
            Some((input, why)) => Err(Error::field(input, format!("`{input}`: {why}"))),
            None => Ok(desired),
        }
    }
}

/// What is asked for, of all volumes alike.
#[derive(Debug)]
struct Desired {
    size: Option<i32>,
    kind: Option<VolumeType>,
    iops: Option<i32>,
    throughput: Option<i32>,
}

/// What is asked of EC2 for one volume; what stays is not mentioned.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Delta {
    size: Option<i32>,
    kind: Option<VolumeType>,
    iops: Option<i32>,
    throughput: Option<i32>,
}

/// Whether IOPS are chosen for volumes of a type; for the others EC2 refuses them.
fn has_iops(kind: &VolumeType) -> bool {
    matches!(kind, VolumeType::Gp3 | VolumeType::Io1 | VolumeType::Io2)
}

impl Desired {
    /// The input that a volume of this type cannot have, and why.
    fn not_of(&self, kind: &VolumeType) -> Option<(&'static str, String)> {
        if self.iops.is_some() && !has_iops(kind) {
            return Some(("iops", format!("a volume of the type `{kind}` has no IOPS to choose: only gp3, io1 and io2 have")));
        }
        (self.throughput.is_some() && *kind != VolumeType::Gp3)
            .then(|| ("throughput", format!("a volume of the type `{kind}` has no throughput to choose: only gp3 has")))
    }

    /// What has to be asked of EC2 so that a volume becomes as it is wished, or why it cannot.
    fn of(&self, volume: &Volume) -> Result<Delta, String> {
        let had = volume.volume_type().cloned().unwrap_or(VolumeType::Gp2);
        let kind = self.kind.clone().unwrap_or_else(|| had.clone());
        if let Some((_, why)) = self.not_of(&kind) {
            return Err(why);
        }
        let size = self.size.filter(|s| Some(*s) != volume.size());
        if kind == had {
            let iops = self.iops.filter(|n| Some(*n) != volume.iops());
            let throughput = self.throughput.filter(|n| Some(*n) != volume.throughput());
            return Ok(Delta { size, kind: None, iops, throughput });
        }
        let performance = Performance::of(volume, size.or(volume.size()).unwrap_or_default());
        let (iops, throughput) = match &kind {
            VolumeType::Gp3 => performance.as_gp3(size.or(volume.size()).unwrap_or_default(), self.iops),
            // Without them EC2 gives 3,000, be that less than it had or more (EC2 API reference, ModifyVolume).
            VolumeType::Io1 | VolumeType::Io2 if has_iops(&had) => (volume.iops(), None),
            VolumeType::Io1 | VolumeType::Io2 => (Some(performance.iops).filter(|n| *n > GP3_IOPS), None),
            _ => (None, None),
        };
        Ok(Delta { size, kind: Some(kind), iops: self.iops.or(iops), throughput: self.throughput.or(throughput) })
    }
}

impl Delta {
    fn words(&self) -> String {
        let kind = self.kind.as_ref().map(|k| k.as_str().to_owned());
        let size = self.size.map(|s| format!("{s} GiB"));
        let iops = self.iops.map(|i| format!("{i} IOPS"));
        let throughput = self.throughput.map(|t| format!("{t} MiB/s"));
        [kind, size, iops, throughput].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Whether a change that EC2 shows has this delta.
    fn is_of(&self, change: &VolumeModification) -> bool {
        fn same<T: PartialEq>(asked: Option<T>, shown: Option<T>) -> bool {
            asked.is_none() || asked == shown
        }
        same(self.kind.as_ref(), change.target_volume_type())
            && same(self.size, change.target_size())
            && same(self.iops, change.target_iops())
            && same(self.throughput, change.target_throughput())
    }
}

struct Item {
    id: String,
    delta: Delta,
    tags: Vec<(String, String)>,
    /// What undoes it; none where only the size changes.
    step: Option<VolumeStep>,
    /// The last change of it that EC2 knew of, before anything was asked for.
    before: Option<VolumeModification>,
    /// What a plan binds.
    state: Option<Value>,
    precheck: Option<Outcome<String>>,
}

impl Item {
    fn of(lookup: &Lookup<Volume>, desired: &Desired, before: Option<VolumeModification>, ignore_not_found: bool) -> Self {
        let (delta, precheck) = match lookup.result.found().map(|volume| delta(volume, desired, before.as_ref())) {
            Some(Ok(delta)) => (delta, None),
            Some(Err(precheck)) => (Delta::default(), Some(precheck)),
            None => (Delta::default(), lookup.result.unknown(ignore_not_found)),
        };
        let found = lookup.result.found();
        let tags = found.map(|v| tags::pairs(v.tags())).unwrap_or_default();
        let step = found.and_then(|volume| VolumeStep::of(volume, &delta));
        Item { id: lookup.id.clone(), delta, tags, step, before, state: found.map(states::performance), precheck }
    }
}

/// What has to be asked of EC2 for a volume, or what becomes of it without that.
fn delta(volume: &Volume, desired: &Desired, before: Option<&VolumeModification>) -> Result<Delta, Outcome<String>> {
    let failed = |code: &str, why: String| Err(Outcome::Failed(Failure::permanent(code, why)));
    let delta = match desired.of(volume) {
        Ok(delta) => delta,
        Err(why) => return failed("InvalidParameterCombination", why),
    };
    if delta == Delta::default() {
        return Err(Outcome::Unchanged("already in the requested state".into()));
    }
    if let (Some(new), Some(old)) = (delta.size, volume.size())
        && new < old
    {
        return failed("InvalidParameterValue", format!("it has {old} GiB: a volume can only grow"));
    }
    match volume.state() {
        Some(VolumeState::Available | VolumeState::InUse) => {}
        state => return failed("IncorrectState", format!("it is {}", state.map_or("in no known state", VolumeState::as_str))),
    }
    match before.and_then(|change| change.modification_state()) {
        Some(state @ (VolumeModificationState::Modifying | VolumeModificationState::Optimizing)) => {
            failed("IncorrectModificationState", format!("an earlier change of it is {state}: it has to be completed first"))
        }
        _ => Ok(delta),
    }
}

struct Modify {
    ec2: Client,
    /// Those that are taken first, when that is wanted.
    saved: Option<SafetySnapshots>,
    wait: bool,
    /// The looks of all that wait for their changes.
    looks: Together<VolumeModification>,
}

/// What came of asking for a change.
enum Asked {
    /// EC2 makes it: what is to be said of it, and when it began.
    Accepted { told: String, since: Option<i64> },
    /// It does not.
    ItemResult(Outcome<String>),
}

#[async_trait]
impl ChangeOne for Modify {
    type Item = Item;
    type Done = String;

    fn id(&self, item: &Item) -> String {
        item.id.clone()
    }

    fn summary(&self) -> String {
        "change".into()
    }

    fn plan(&self, item: &Item) -> Option<String> {
        let after = if self.saved.is_some() { " when a snapshot of it is complete" } else { "" };
        Some(format!("it would become {}{after}", item.delta.words()))
    }

    fn tags(&self, item: &Item) -> Option<Vec<(String, String)>> {
        Some(item.tags.clone())
    }

    fn precheck(&self, item: &Item) -> Option<Outcome<String>> {
        item.precheck.clone()
    }

    fn state(&self, item: &Item) -> Option<Value> {
        item.state.clone()
    }

    async fn apply(&self, cx: &Context, item: &Item) -> Result<Outcome<String>> {
        Ok(match self.ask(cx, item).await {
            Asked::ItemResult(outcome) => outcome,
            Asked::Accepted { told, since } if self.wait => match self.in_effect(cx, &item.id, since).await {
                Ok(state) => Outcome::Done(item.id.clone(), Some(format!("{told}; it is in effect, and {state}"))),
                Err(why) => Outcome::Failed(Failure { message: format!("{told}: {}", why.message), ..why }),
            },
            Asked::Accepted { told, .. } => Outcome::Done(item.id.clone(), Some(told)),
        })
    }
}

impl Modify {
    /// Asks for the change of one volume, unless it lacks the snapshot that it should have.
    async fn ask(&self, cx: &Context, item: &Item) -> Asked {
        let kept = match &self.saved {
            None => String::new(),
            Some(saved) => match saved.take(cx, &item.id, "before it was modified").await {
                Ok(snapshot) => format!("its snapshot is {snapshot}"),
                Err(failure) => return Asked::ItemResult(Outcome::Failed(failure)),
            },
        };
        let kept = kept.as_str();
        // Snapshots take long: who stopped the run meanwhile does not want anything changed after them.
        if cx.cancellation().is_cancelled() {
            return Asked::ItemResult(Outcome::skipped(with("not changed: the run was stopped".into(), kept)));
        }
        if let Some(step) = &item.step
            && let Err(e) = cx.note(&item.id, step).await
        {
            return Asked::ItemResult(Outcome::Failed(Failure::from(&e).with_note(kept)));
        }
        let delta = item.delta.clone();
        let request = self.ec2.modify_volume().volume_id(&item.id).set_size(delta.size).set_volume_type(delta.kind);
        let request = request.set_iops(delta.iops).set_throughput(delta.throughput).send();
        let error = match request.await.context(|| format!("change the volume `{}`", item.id)) {
            Ok(answer) => return accepted(item, answer.volume_modification.as_ref(), kept),
            Err(e) => e,
        };
        match self.made_all_the_same(item).await {
            Some(change) => accepted(item, Some(&change), kept),
            None => Asked::ItemResult(Outcome::Failed(Failure::from(&error).with_note(kept))),
        }
    }

    /// The change that EC2 makes although it answered with an error: when an answer is lost, the request is sent again, and refused because the volume
    /// is being changed already.
    async fn made_all_the_same(&self, item: &Item) -> Option<VolumeModification> {
        let now = match modifications(&self.ec2, std::slice::from_ref(&item.id)).await {
            Ok(mut now) => now.remove(&item.id)?,
            Err(e) => {
                tracing::debug!("whether `{}` is changed all the same is not known: {e}", item.id);
                return None;
            }
        };
        (item.before.as_ref() != Some(&now) && item.delta.is_of(&now)).then_some(now)
    }

    /// Waits until a volume that is being changed has its new size and performance, which it has while EC2 still optimizes it: gives the state in which
    /// it has it, or why it does not.
    async fn in_effect(&self, cx: &Context, id: &str, since: Option<i64>) -> Result<String, Failure> {
        let last: Mutex<String> = Mutex::default();
        let look = |ids: Vec<String>| async move { modifications(&self.ec2, &ids).await };
        let judge = |change: Option<&VolumeModification>| {
            let Some(change) = change else { return PollState::Failed(format!("EC2 shows no change of `{id}`")) };
            if is_earlier(change, since) {
                return PollState::Pending("not shown yet".into());
            }
            match change.modification_state() {
                Some(state @ (VolumeModificationState::Optimizing | VolumeModificationState::Completed)) => {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = state.as_str().to_owned();
                    PollState::Ready
                }
                Some(VolumeModificationState::Failed) => {
                    PollState::Failed(format!("it has failed: {}", change.status_message().unwrap_or("EC2 gave no reason")))
                }
                _ => PollState::Pending(state_of(change)),
            }
        };
        self.looks.wait(cx, id, look, judge).await?;
        Ok(last.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is said of a change that EC2 makes.
fn accepted(item: &Item, change: Option<&VolumeModification>, kept: &str) -> Asked {
    let state = change.map_or_else(|| "accepted".to_owned(), state_of);
    Asked::Accepted { told: with(format!("the change to {} is {state}", item.delta.words()), kept), since: change.and_then(since) }
}

/// What is said, and what is said of the snapshot after it.
fn with(told: String, kept: &str) -> String {
    if kept.is_empty() { told } else { format!("{told}; {kept}") }
}

/// The state of a change, and how far it is.
fn state_of(change: &VolumeModification) -> String {
    let state = change.modification_state().map_or("accepted", VolumeModificationState::as_str);
    format!("{state} ({}%)", change.progress().unwrap_or_default())
}

/// Whether EC2 still shows the change before the one that is waited for ("Eventual consistency", EC2 API reference). What began in the same second, or
/// the one before, is taken for it: EC2 takes no second change so soon.
fn is_earlier(change: &VolumeModification, begun: Option<i64>) -> bool {
    matches!((since(change), begun), (Some(shown), Some(begun)) if shown < begun - 1)
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::primitives::DateTime;

    use super::*;

    fn volume(kind: VolumeType, size: i32, iops: Option<i32>) -> Volume {
        Volume::builder().volume_type(kind).size(size).set_iops(iops).state(VolumeState::Available).build()
    }

    fn desired(kind: Option<VolumeType>) -> Desired {
        Desired { size: None, kind, iops: None, throughput: None }
    }

    #[track_caller]
    fn to_gp3(volume: &Volume) -> (Option<i32>, Option<i32>) {
        let delta = desired(Some(VolumeType::Gp3)).of(volume).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((delta.kind, delta.size), (Some(VolumeType::Gp3), None));
        (delta.iops, delta.throughput)
    }

    #[test]
    fn a_gp2_volume_that_becomes_gp3_keeps_what_it_had() {
        let gp2 = |size| volume(VolumeType::Gp2, size, None);
        // A small one has no more than gp3 has by itself, but for three MiB/s.
        assert_eq!(to_gp3(&gp2(8)), (None, Some(128)));
        assert_eq!(to_gp3(&gp2(170)), (None, Some(128)));
        assert_eq!(to_gp3(&gp2(171)), (None, Some(250)));
        assert_eq!(to_gp3(&gp2(1_000)), (None, Some(250)));
        assert_eq!(to_gp3(&gp2(1_001)), (Some(3_003), Some(250)));
        assert_eq!(to_gp3(&gp2(5_334)), (Some(16_000), Some(250)));
        assert_eq!(to_gp3(&gp2(16_384)), (Some(16_000), Some(250)));
    }

    #[test]
    fn a_gp2_volume_that_grows_too_gets_what_it_would_have_had() {
        let grown = Desired { size: Some(2_000), ..desired(Some(VolumeType::Gp3)) };
        let delta = grown.of(&volume(VolumeType::Gp2, 100, None));
        assert_eq!(delta, Ok(Delta { size: Some(2_000), kind: Some(VolumeType::Gp3), iops: Some(6_000), throughput: Some(250) }));
    }

    #[test]
    fn provisioned_iops_are_kept_as_far_as_gp3_goes() {
        let io = |kind, size, iops| to_gp3(&volume(kind, size, Some(iops)));
        assert_eq!(io(VolumeType::Io1, 100, 400), (None, None), "gp3 has more by itself");
        assert_eq!(io(VolumeType::Io1, 100, 1_000), (None, Some(250)));
        assert_eq!(io(VolumeType::Io1, 1_000, 32_000), (Some(32_000), Some(500)));
        assert_eq!(io(VolumeType::Io1, 2_000, 64_000), (Some(64_000), Some(1_000)));
        assert_eq!(io(VolumeType::Io2, 100, 4_000), (Some(4_000), Some(1_000)));
        assert_eq!(io(VolumeType::Io2, 1_000, 256_000), (Some(80_000), Some(2_000)));
        assert_eq!(io(VolumeType::Io2, 8, 8_000), (Some(4_000), Some(1_000)), "500 IOPS a GiB are the most");
    }

    #[test]
    fn disks_get_what_gp3_has_by_itself() {
        for kind in [VolumeType::St1, VolumeType::Sc1, VolumeType::Standard] {
            assert_eq!(to_gp3(&volume(kind, 500, None)), (None, None));
        }
    }

    #[test]
    fn what_becomes_io1_or_io2_keeps_its_iops() {
        let to = |kind: VolumeType, volume: &Volume| desired(Some(kind)).of(volume).map(|delta| (delta.iops, delta.throughput));
        assert_eq!(to(VolumeType::Io2, &volume(VolumeType::Io1, 100, Some(1_000))), Ok((Some(1_000), None)));
        assert_eq!(to(VolumeType::Io2, &volume(VolumeType::Gp3, 100, Some(4_000))), Ok((Some(4_000), None)));
        assert_eq!(to(VolumeType::Io1, &volume(VolumeType::Gp2, 2_000, Some(6_000))), Ok((Some(6_000), None)));
        assert_eq!(to(VolumeType::Io1, &volume(VolumeType::Gp2, 100, Some(300))), Ok((None, None)));
    }

    #[test]
    fn what_is_told_is_done() {
        let told = Desired { iops: Some(3_500), throughput: Some(200), ..desired(Some(VolumeType::Gp3)) };
        let delta = told.of(&volume(VolumeType::Gp2, 2_000, None)).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((delta.iops, delta.throughput), (Some(3_500), Some(200)));
        // The throughput that is kept is no more than the IOPS that are told can have.
        let told = Desired { iops: Some(3_000), ..desired(Some(VolumeType::Gp3)) };
        let delta = told.of(&volume(VolumeType::Io2, 100, Some(8_000))).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((delta.iops, delta.throughput), (Some(3_000), Some(750)));
    }

    #[test]
    fn what_is_so_already_is_not_asked_for() {
        let same = Desired { size: Some(8), iops: Some(3_000), throughput: Some(125), ..desired(Some(VolumeType::Gp3)) };
        let gp3 = Volume::builder().volume_type(VolumeType::Gp3).size(8).iops(3_000).throughput(125).build();
        assert_eq!(same.of(&gp3), Ok(Delta::default()));
        assert_eq!(Desired { size: Some(9), ..same }.of(&gp3), Ok(Delta { size: Some(9), ..Delta::default() }));
    }

    #[test]
    fn types_without_iops_or_throughput_to_choose_are_not_told_any() {
        let iops = Desired { iops: Some(4_000), ..desired(None) };
        for kind in [VolumeType::Gp2, VolumeType::St1, VolumeType::Sc1, VolumeType::Standard] {
            assert!(iops.of(&volume(kind, 500, None)).is_err_and(|why| why.contains("IOPS")));
        }
        let throughput = Desired { throughput: Some(200), ..desired(None) };
        assert!(throughput.of(&volume(VolumeType::Io2, 500, Some(4_000))).is_err_and(|why| why.contains("throughput")));
        // From a type that has them to one that does not: what it had is not sent along.
        let delta = desired(Some(VolumeType::St1)).of(&volume(VolumeType::Gp3, 500, Some(4_000)));
        assert_eq!(delta, Ok(Delta { kind: Some(VolumeType::St1), ..Delta::default() }));
    }

    #[test]
    fn a_change_that_ec2_shows_is_told_from_the_one_before() {
        let change = |at: i64| VolumeModification::builder().target_size(20).start_time(DateTime::from_secs(at)).build();
        assert!(is_earlier(&change(100), Some(200)));
        assert!(!is_earlier(&change(200), Some(200)));
        assert!(!is_earlier(&change(199), Some(200)));
        assert!(!is_earlier(&change(100), None));
        let delta = Delta { size: Some(20), ..Delta::default() };
        assert!(delta.is_of(&change(1)));
        assert!(!Delta { iops: Some(4_000), ..delta }.is_of(&change(1)));
    }
}
