//! What the account holds, and what becomes of it with time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a snapshot takes. Real ones take minutes; this shows whether work goes on meanwhile.
const SNAPSHOT_TAKES: Duration = Duration::from_secs(3);

/// How long an instance shuts down.
pub const TERMINATING_TAKES: Duration = Duration::from_secs(20);

/// How long a change of a volume takes until it is in effect.
const MODIFYING_TAKES: Duration = Duration::from_secs(3);

/// Tags by their keys.
pub type Tags = BTreeMap<String, String>;

#[derive(Default)]
pub struct State {
    pub volumes: BTreeMap<String, Volume>,
    pub snapshots: BTreeMap<String, Snapshot>,
    pub instances: BTreeMap<String, Instance>,
    /// The tags of things that have any, by the things' ids.
    pub tags: BTreeMap<String, Tags>,
    /// How many snapshots were made.
    made: usize,
}

pub struct Volume {
    pub size: u32,
    pub kind: String,
    /// The last change of it.
    pub change: Option<Change>,
}

pub struct Change {
    pub begun: Instant,
    /// When that was, as answers have it.
    pub start_time: String,
    pub from: (u32, String),
}

pub struct Snapshot {
    pub volume: String,
    pub description: String,
    pub begun: Option<Instant>,
    /// The accounts that may make volumes of it.
    pub shared_with: BTreeSet<String>,
}

#[derive(Default)]
pub struct Instance {
    /// When it was told to terminate.
    pub terminated: Option<Instant>,
}

/// The id of the thing of a kind (`snap`, `vol`, `i`) with a number.
pub fn id(kind: &str, number: usize) -> String {
    format!("{kind}-{number:017x}")
}

impl State {
    /// With so many detached volumes.
    pub fn volumes(count: usize) -> (Self, Vec<String>) {
        let ids: Vec<String> = (1..=count).map(|n| id("vol", n)).collect();
        let volume = |id: &String| (id.clone(), Volume { size: 8, kind: "gp3".to_owned(), change: None });
        (Self { volumes: ids.iter().map(volume).collect(), ..Self::default() }, ids)
    }

    /// With so many complete snapshots of as many volumes, which are gone.
    pub fn snapshots(count: usize) -> (Self, Vec<String>) {
        let ids: Vec<String> = (1..=count).map(|n| id("snap", n)).collect();
        let snapshot = |(number, id): (usize, &String)| {
            let (volume, description) = (self::id("vol", number + 1), "of the benchmark".to_owned());
            (id.clone(), Snapshot { volume, description, begun: None, shared_with: BTreeSet::new() })
        };
        (Self { snapshots: ids.iter().enumerate().map(snapshot).collect(), ..Self::default() }, ids)
    }

    /// With so many running instances.
    pub fn instances(count: usize) -> (Self, Vec<String>) {
        let ids: Vec<String> = (1..=count).map(|n| id("i", n)).collect();
        (Self { instances: ids.iter().map(|id| (id.clone(), Instance::default())).collect(), ..Self::default() }, ids)
    }

    /// Whether there is such a thing.
    pub fn has(&self, id: &str) -> bool {
        self.volumes.contains_key(id) || self.snapshots.contains_key(id) || self.instances.contains_key(id)
    }

    /// Begins a snapshot, and gives its id.
    pub fn take_snapshot(&mut self, volume: &str, description: &str) -> String {
        self.made += 1;
        let id = id("snap", 0x1_0000_0000 + self.made);
        let (volume, description) = (volume.to_owned(), description.to_owned());
        self.snapshots.insert(id.clone(), Snapshot { volume, description, begun: Some(Instant::now()), shared_with: BTreeSet::new() });
        id
    }

    /// How many of these volumes do not have exactly one snapshot.
    pub fn without_one_snapshot(&self, volumes: &[String]) -> usize {
        let mut of: BTreeMap<&str, usize> = BTreeMap::new();
        self.snapshots.values().for_each(|snapshot| *of.entry(&snapshot.volume).or_default() += 1);
        volumes.iter().filter(|volume| of.get(volume.as_str()) != Some(&1)).count()
    }
}

impl Snapshot {
    pub fn is_complete(&self) -> bool {
        self.begun.is_none_or(|begun| begun.elapsed() >= SNAPSHOT_TAKES)
    }
}

impl Change {
    /// EC2 optimizes a volume for long after the change is in effect.
    pub fn is_in_effect(&self) -> bool {
        self.begun.elapsed() >= MODIFYING_TAKES
    }
}

impl Instance {
    /// The code and the name of its state (EC2 API reference, InstanceState).
    pub fn state(&self) -> (u8, &'static str) {
        match self.terminated {
            None => (16, "running"),
            Some(told) if told.elapsed() < TERMINATING_TAKES => (32, "shutting-down"),
            Some(_) => (48, "terminated"),
        }
    }
}
