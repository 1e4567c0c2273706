use std::collections::HashMap;

use aaws::{
    Action, Call, Change, Context, Doing, DoneItems, Effect, Example, Failure, Grant, Items, Meta, Outcome, Result, Rule, When, async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Volume, VolumeModification, VolumeModificationState, VolumeType};
use futures::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::Deserialize;

use super::discover_volumes::Type;
use super::find::{self, DESCRIBE_SNAPSHOTS, DESCRIBE_VOLUMES, Found, Sought, Thing};
use super::snapshots::{self, CREATE_SNAPSHOT, WITH_SNAPSHOT};
use super::wait::{self, Seen};

/// How many are saved, changed and awaited together.
const BATCH: usize = 200;

/// What gp3 has without paying for more: IOPS, and MiB/s (EBS user guide, "General Purpose SSD volumes").
const GP3_IOPS: i32 = 3_000;
const GP3_THROUGHPUT: i32 = 125;

/// The most IOPS of a gp3 volume that EC2 takes of any size (EBS user guide, "General Purpose SSD volumes").
const GP3_MOST_IOPS: i32 = 16_000;

/// Change the size, type, IOPS or throughput of EBS volumes.
///
/// With `snapshot` each volume gets a snapshot first, which is awaited: a volume whose snapshot cannot be taken, or does not complete, is not changed.
/// A volume that becomes gp3 keeps the performance that it had, unless `iops` or `throughput` say otherwise: gp3's own is less than that of a large
/// gp2 volume.
///
/// EC2 accepts a change and makes it in the background. With `wait` that is awaited, until the volume has its new size and performance. The ids of the
/// volumes whose change was accepted, or with `wait` is in effect, are printed in the order given. Volumes that are so already are unchanged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModifyVolumes {
    /// Volumes to change. An empty list changes nothing.
    volume_ids: Items<String>,
    /// New size in GiB. It can only grow.
    size: Option<u32>,
    /// New type.
    r#type: Option<Type>,
    /// New provisioned IOPS, of gp3, io1 and io2.
    iops: Option<u32>,
    /// New throughput in MiB/s, of gp3.
    throughput: Option<u32>,
    /// Take a snapshot of each volume first, and await it.
    #[serde(default)]
    snapshot: bool,
    /// Wait until the changes are in effect.
    #[serde(default)]
    wait: bool,
}

const VOLUMES: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:volume/${volume_ids}"];

#[async_trait]
impl Action for ModifyVolumes {
    const META: Meta = Meta {
        path: "ec2/modify_volumes",
        effect: Effect::Modify,
        calls: &[
            DESCRIBE_VOLUMES,
            Call::read("ec2:DescribeVolumesModifications", &[Grant::new("ec2:DescribeVolumesModifications", &["*"])])
                .when(When::If("a volume exists")),
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
            "EC2 takes up to four changes of a volume in any 24 hours, and the one before has to be completed: such a volume fails before it is touched.",
            "A change is in effect while EC2 still optimizes the volume, which takes hours: `wait` ends then, and the message says so.",
            "IOPS and throughput are sent only to types that have them to choose.",
            "A snapshot that was taken stays, also when its volume cannot be changed after all; the message of that item names it.",
        ],
    };

    type Output = DoneItems<String>;

    async fn run(self, cx: &Context) -> Result<DoneItems<String>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let number = |n: Option<u32>| n.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
        let wish = Wish { size: number(self.size), kind: self.r#type, iops: number(self.iops), throughput: number(self.throughput) };
        let sought = find::seek::<Volume>(cx, &ec2, self.volume_ids).await?;
        let ids: Vec<String> = sought.iter().filter_map(|s| s.found.there()).map(|v| v.id().to_owned()).collect();
        let under_way = find::unless_stopped(cx, modifications(&ec2, &ids)).await?;
        let items = sought.into_iter().map(|sought| {
            let goal = sought.found.there().map(|v| wish.of(v)).unwrap_or_default();
            let verdict = verdict(&sought, &goal, &under_way);
            Ok(Item { id: sought.id, goal, verdict })
        });
        let items: Vec<_> = items.collect();
        let modify = Modify { ec2, snapshot: self.snapshot, wait: self.wait };
        Ok(cx.change(stream::iter(items), modify).await?.done())
    }
}

aaws::register!(ModifyVolumes);

/// What is asked for, of all volumes alike.
struct Wish {
    size: Option<i32>,
    kind: Option<Type>,
    iops: Option<i32>,
    throughput: Option<i32>,
}

/// What is asked of EC2 for one volume; what stays is not mentioned.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Goal {
    size: Option<i32>,
    kind: Option<VolumeType>,
    iops: Option<i32>,
    throughput: Option<i32>,
}

impl Wish {
    fn of(&self, volume: &Volume) -> Goal {
        let had = volume.volume_type().cloned().unwrap_or(VolumeType::Gp2);
        let kind = self.kind.map_or(had.clone(), |k| VolumeType::from(k.word()));
        let becomes_gp3 = kind == VolumeType::Gp3 && had != VolumeType::Gp3;
        let has_iops = matches!(kind, VolumeType::Gp3 | VolumeType::Io1 | VolumeType::Io2);
        // What it had is kept where gp3's own would be less.
        let (iops, throughput) = if becomes_gp3 { performance(&had, volume) } else { (GP3_IOPS, GP3_THROUGHPUT) };
        let iops = self.iops.or((becomes_gp3 && iops > GP3_IOPS).then_some(iops));
        let throughput = self.throughput.or((becomes_gp3 && throughput > GP3_THROUGHPUT).then_some(throughput));
        let changed = |new: Option<i32>, old: Option<i32>| new.filter(|n| Some(*n) != old || becomes_gp3);
        Goal {
            size: self.size.filter(|s| Some(*s) != volume.size()),
            kind: (kind != had).then(|| kind.clone()),
            iops: changed(iops, volume.iops()).filter(|_| has_iops),
            throughput: changed(throughput, volume.throughput()).filter(|_| kind == VolumeType::Gp3),
        }
    }
}

/// The IOPS and MiB/s that a volume of another type has (EBS user guide, "Amazon EBS volume types").
fn performance(kind: &VolumeType, volume: &Volume) -> (i32, i32) {
    let size = volume.size().unwrap_or_default();
    match kind {
        // 3 IOPS a GiB, from 100 to 16,000; 128 MiB/s up to 170 GiB, and up to 250 above, by credits until 334 GiB.
        VolumeType::Gp2 => (size.saturating_mul(3).clamp(100, 16_000), if size > 170 { 250 } else { 128 }),
        VolumeType::Io1 | VolumeType::Io2 => {
            let iops = volume.iops().unwrap_or_default().min(GP3_MOST_IOPS);
            // 256 KiB an operation, up to what gp3 has at most: a quarter of its IOPS, and no more than 1,000 MiB/s.
            (iops, (iops / 4).min(1_000))
        }
        _ => (GP3_IOPS, GP3_THROUGHPUT),
    }
}

struct Item {
    id: String,
    goal: Goal,
    verdict: Option<Outcome<String>>,
}

fn verdict(sought: &Sought<Volume>, goal: &Goal, under_way: &HashMap<String, VolumeModification>) -> Option<Outcome<String>> {
    let failed = |code: &str, why: String| Some(Outcome::Failed(Failure::last(code, why)));
    let volume = match &sought.found {
        Found::There(volume) => volume,
        Found::Missing => return failed("InvalidVolume.NotFound", "it does not exist".into()),
        Found::Repeated => return Some(Outcome::Unchanged("it was given before".into())),
    };
    if *goal == Goal::default() {
        return Some(Outcome::Unchanged("it is so already".into()));
    }
    if let (Some(new), Some(old)) = (goal.size, volume.size())
        && new < old
    {
        return failed("InvalidParameterValue", format!("it has {old} GiB: a volume can only grow"));
    }
    let state = under_way.get(&sought.id).and_then(|m| m.modification_state());
    if let Some(state @ (VolumeModificationState::Modifying | VolumeModificationState::Optimizing)) = state {
        return failed("IncorrectModificationState", format!("an earlier change of it is {state}: it has to be completed first"));
    }
    None
}

/// The latest change of each volume that was ever changed. Asked for by filter: EC2 refuses a request that names a volume that never was.
async fn modifications(ec2: &Client, ids: &[String]) -> Result<HashMap<String, VolumeModification>> {
    let mut latest: HashMap<String, VolumeModification> = HashMap::new();
    for some in ids.chunks(find::MOST_VALUES) {
        let request = ec2.describe_volumes_modifications().filters(find::filter("volume-id", some)).into_paginator().items().send();
        let found: Vec<VolumeModification> = request.try_collect().await.doing(|| "list the changes of the volumes")?;
        for change in found {
            let Some(id) = change.volume_id().map(str::to_owned) else { continue };
            let since = |m: &VolumeModification| m.start_time().map(|t| t.secs());
            if latest.get(&id).is_none_or(|known| since(known) <= since(&change)) {
                latest.insert(id, change);
            }
        }
    }
    Ok(latest)
}

struct Modify {
    ec2: Client,
    snapshot: bool,
    wait: bool,
}

#[async_trait]
impl Change for Modify {
    type Item = Item;
    type Done = String;

    fn id(&self, item: &Item) -> String {
        item.id.clone()
    }

    fn summary(&self) -> String {
        "change".into()
    }

    fn plan(&self, item: &Item) -> Option<String> {
        let after = if self.snapshot { " when a snapshot of it is complete" } else { "" };
        Some(format!("it would become {}{after}", item.goal.words()))
    }

    fn verdict(&self, item: &Item) -> Option<Outcome<String>> {
        item.verdict.clone()
    }

    fn batch(&self) -> usize {
        if self.snapshot || self.wait { BATCH } else { 1 }
    }

    async fn apply(&self, cx: &Context, items: &[Item]) -> Result<Vec<Outcome<String>>> {
        let ids = items.iter().map(|i| i.id.as_str());
        let saved = if self.snapshot { snapshots::take(cx, &self.ec2, ids, "before it was modified").await } else { HashMap::new() };
        let change = items.iter().map(|item| async {
            match saved.get(&item.id) {
                Some(Err(failure)) => Err(failure.clone()),
                saved => self.modify(item, saved.and_then(|s| s.as_ref().ok())).await,
            }
        });
        let changed: Vec<_> = stream::iter(change.collect::<Vec<_>>()).buffered(cx.concurrency()).collect().await;
        let accepted: Vec<String> = items.iter().zip(&changed).filter(|(_, c)| c.is_ok()).map(|(i, _)| i.id.clone()).collect();
        let mut awaited = if self.wait && !accepted.is_empty() { self.in_effect(cx, &accepted).await } else { HashMap::new() };
        let outcome = |(item, changed): (&Item, Result<String, Failure>)| match (changed, awaited.remove(&item.id)) {
            (Err(failure), _) => Outcome::Failed(failure),
            (Ok(told), Some(Err(why))) => Outcome::Failed(Failure::last("NotInEffect", format!("{told}: {why}"))),
            (Ok(told), Some(Ok(()))) => Outcome::Done(item.id.clone(), Some(format!("{told}, and is in effect"))),
            (Ok(told), None) => Outcome::Done(item.id.clone(), Some(told)),
        };
        Ok(items.iter().zip(changed).map(outcome).collect())
    }
}

impl Modify {
    /// Asks for the change of one volume, and says what EC2 made of it.
    async fn modify(&self, item: &Item, snapshot: Option<&String>) -> Result<String, Failure> {
        let goal = item.goal.clone();
        let request = self.ec2.modify_volume().volume_id(&item.id).set_size(goal.size).set_volume_type(goal.kind);
        let request = request.set_iops(goal.iops).set_throughput(goal.throughput).send();
        let kept = snapshot.map(|s| format!("; its snapshot is {s}")).unwrap_or_default();
        match request.await.doing(|| format!("change the volume `{}`", item.id)) {
            Ok(answer) => {
                let state = answer.volume_modification.and_then(|m| m.modification_state);
                let state = state.map_or_else(|| "accepted".to_owned(), |s| s.as_str().to_owned());
                Ok(format!("the change to {} is {state}{kept}", item.goal.words()))
            }
            Err(e) => {
                let failure = Failure::from(&e);
                Err(Failure { message: format!("{}{kept}", failure.message), ..failure })
            }
        }
    }

    /// Waits until the volumes have their new size and performance, which they have while EC2 still optimizes them.
    async fn in_effect(&self, cx: &Context, ids: &[String]) -> wait::Awaited {
        let ec2 = &self.ec2;
        let look = |ids: Vec<String>| async move { modifications(ec2, &ids).await };
        wait::for_all(cx, ids, look, |change: Option<&VolumeModification>, id| match change.map(|c| (c, c.modification_state())) {
            Some((_, Some(VolumeModificationState::Optimizing | VolumeModificationState::Completed))) => Seen::Ready,
            Some((c, Some(VolumeModificationState::Failed))) => {
                Seen::Broken(format!("it has failed: {}", c.status_message().unwrap_or("EC2 gave no reason")))
            }
            Some((c, _)) => Seen::Going(format!("modifying ({}%)", c.progress().unwrap_or_default())),
            None => Seen::Broken(format!("EC2 shows no change of `{id}`")),
        })
        .await
    }
}

impl Goal {
    fn words(&self) -> String {
        let size = self.size.map(|s| format!("{s} GiB"));
        let iops = self.iops.map(|i| format!("{i} IOPS"));
        let throughput = self.throughput.map(|t| format!("{t} MiB/s"));
        let kind = self.kind.as_ref().map(|k| k.as_str().to_owned());
        [kind, size, iops, throughput].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(kind: VolumeType, size: i32, iops: Option<i32>) -> Volume {
        Volume::builder().volume_type(kind).size(size).set_iops(iops).build()
    }

    fn to_gp3(volume: &Volume) -> (Option<i32>, Option<i32>) {
        let goal = Wish { size: None, kind: Some(Type::Gp3), iops: None, throughput: None }.of(volume);
        assert_eq!(goal.kind, Some(VolumeType::Gp3));
        (goal.iops, goal.throughput)
    }

    #[test]
    fn a_volume_that_becomes_gp3_keeps_what_it_had() {
        // A small one has no more than gp3 has by itself, but for three MiB/s.
        assert_eq!(to_gp3(&volume(VolumeType::Gp2, 8, None)), (None, Some(128)));
        assert_eq!(to_gp3(&volume(VolumeType::Gp2, 500, None)), (None, Some(250)));
        assert_eq!(to_gp3(&volume(VolumeType::Gp2, 2_000, None)), (Some(6_000), Some(250)));
        assert_eq!(to_gp3(&volume(VolumeType::Gp2, 16_000, None)), (Some(16_000), Some(250)));
        assert_eq!(to_gp3(&volume(VolumeType::Io1, 100, Some(4_000))), (Some(4_000), Some(1_000)));
        assert_eq!(to_gp3(&volume(VolumeType::St1, 500, None)), (None, None));
    }

    #[test]
    fn what_is_told_is_done_and_what_is_so_is_left() {
        let wish = Wish { size: Some(8), kind: Some(Type::Gp3), iops: Some(3_500), throughput: Some(200) };
        let goal = wish.of(&volume(VolumeType::Gp2, 2_000, None));
        assert_eq!((goal.iops, goal.throughput, goal.size), (Some(3_500), Some(200), Some(8)));
        let same = Wish { size: Some(8), kind: Some(Type::Gp2), iops: None, throughput: None };
        assert_eq!(same.of(&volume(VolumeType::Gp2, 8, Some(100))), Goal::default());
        // A type that has no IOPS to choose is not told any.
        let st1 = Wish { size: None, kind: Some(Type::St1), iops: Some(4_000), throughput: None };
        assert_eq!(st1.of(&volume(VolumeType::Gp3, 500, Some(3_000))).iops, None);
    }
}
