//! The operations that look.

use super::super::super::http::Response;
use super::super::super::wire::{Form, Node, refusal};
use super::Answer;
use super::listing::{Listed, page};
use super::state::{Instance, Snapshot, State, Tags, Volume};

/// The account's number.
const ACCOUNT: &str = "123456789012";

/// The most images that one DescribeImageReferences takes (EC2 API reference, DescribeImageReferences).
const MOST_IMAGES: usize = 10;

/// Any time will do.
const LONG_AGO: &str = "2026-01-01T00:00:00.000Z";

pub fn answer(operation: &str, form: &Form, state: &State) -> Answer {
    match operation {
        "DescribeSnapshots" => {
            let wanted = wanted(form, "SnapshotId", "InvalidSnapshot.NotFound", |id| state.snapshots.contains_key(id))?;
            let restorable_by = form.list("RestorableBy");
            let snapshots = state.snapshots.iter().filter(|(id, snapshot)| {
                let shown = restorable_by.is_empty() || restorable_by.iter().any(|by| by == "self" || snapshot.shared_with.contains(by));
                shown && wanted(id)
            });
            page(operation, form, "snapshotSet", snapshots.map(|(id, it)| OfSnapshot { id, it, tags: state.tags.get(id) }))
        }
        "DescribeVolumes" => {
            let wanted = wanted(form, "VolumeId", "InvalidVolume.NotFound", |id| state.volumes.contains_key(id))?;
            let volumes = state.volumes.iter().filter(|(id, _)| wanted(id));
            page(operation, form, "volumeSet", volumes.map(|(id, it)| OfVolume { id, it, tags: state.tags.get(id) }))
        }
        "DescribeVolumesModifications" => {
            let is_there = |id: &str| state.volumes.get(id).is_some_and(|v| v.change.is_some());
            let wanted = wanted(form, "VolumeId", "InvalidVolumeModification.NotFound", is_there)?;
            let changes = state.volumes.iter().filter(|(id, volume)| volume.change.is_some() && wanted(id));
            page(operation, form, "volumeModificationSet", changes.map(|(id, it)| OfChange { id, it }))
        }
        "DescribeInstances" => {
            let wanted = wanted(form, "InstanceId", "InvalidInstanceID.NotFound", |id| state.instances.contains_key(id))?;
            if form.get("InstanceId.1").is_some() && form.get("MaxResults").is_some() {
                let message = "The parameter instancesSet cannot be used with the parameter maxResults";
                return Err(refusal("InvalidParameterCombination", message));
            }
            let instances = state.instances.iter().filter(|(id, _)| wanted(id));
            page(operation, form, "reservationSet", instances.map(|(id, it)| OfInstance { id, it, tags: state.tags.get(id) }))
        }
        "DescribeTags" => {
            let tags = state.tags.iter().flat_map(|(id, tags)| tags.iter().map(move |(key, value)| OneTag { id, key, value }));
            page(operation, form, "tagSet", tags)
        }
        // There is none of these.
        "DescribeImages" => page(operation, form, "imagesSet", std::iter::empty::<OneTag>()),
        "DescribeLockedSnapshots" => page(operation, form, "snapshotSet", std::iter::empty::<OneTag>()),
        "DescribeImageReferences" => {
            if form.list("ImageId").len() > MOST_IMAGES {
                return Err(refusal("InvalidParameterValue", format!("At most {MOST_IMAGES} images can be specified")));
            }
            page(operation, form, "imageReferenceSet", std::iter::empty::<OneTag>())
        }
        "DescribeSnapshotAttribute" => {
            let id = form.get("SnapshotId").unwrap_or_default();
            let Some(snapshot) = state.snapshots.get(id) else { return Err(missing("InvalidSnapshot.NotFound", id)) };
            let mut permissions = Node::new("createVolumePermission");
            for account in &snapshot.shared_with {
                let mut item = Node::new("item");
                item.set("userId", account);
                permissions.push(item);
            }
            let mut answer = Node::answer(operation);
            answer.set("snapshotId", id);
            answer.push(permissions);
            Ok(answer)
        }
        "DescribeInstanceAttribute" => {
            let id = form.get("InstanceId").unwrap_or_default();
            if !state.instances.contains_key(id) {
                return Err(missing("InvalidInstanceID.NotFound", id));
            }
            let mut attribute = Node::new(form.get("Attribute").unwrap_or_default());
            attribute.set("value", "false");
            let mut answer = Node::answer(operation);
            answer.set("instanceId", id);
            answer.push(attribute);
            Ok(answer)
        }
        _ => Err(unknown(operation)),
    }
}

pub fn missing(code: &str, id: &str) -> Response {
    refusal(code, format!("The ID '{id}' does not exist"))
}

/// An operation that this EC2 lacks is a gap of the benchmark: it is said aloud.
pub fn unknown(operation: &str) -> Response {
    eprintln!("the benchmark's EC2 does not know {operation}");
    refusal("InvalidAction", format!("The action {operation} is not valid for this web service."))
}

/// Whether a thing is among the ids that a request names, or it names none. One that does not exist spoils the whole request.
fn wanted(form: &Form, parameter: &str, code: &str, is_there: impl Fn(&str) -> bool) -> Result<impl Fn(&str) -> bool, Response> {
    let ids: std::collections::HashSet<String> = form.list(parameter).into_iter().collect();
    match ids.iter().find(|id| !is_there(id)) {
        Some(id) => Err(missing(code, id)),
        None => Ok(move |id: &str| ids.is_empty() || ids.contains(id)),
    }
}

/// The values of the filters on tags.
fn of_tags(tags: Option<&Tags>, filter: &str) -> Option<Vec<String>> {
    match filter {
        "tag-key" => Some(tags.into_iter().flat_map(Tags::keys).cloned().collect()),
        _ => {
            let key = filter.strip_prefix("tag:")?;
            Some(tags.and_then(|tags| tags.get(key)).cloned().into_iter().collect())
        }
    }
}

fn tag_set(tags: Option<&Tags>) -> Node {
    let mut set = Node::new("tagSet");
    for (key, value) in tags.into_iter().flatten() {
        let mut item = Node::new("item");
        item.set("key", key);
        item.set("value", value);
        set.push(item);
    }
    set
}

/// An element with these texts in it.
pub fn element(name: &str, texts: &[(&str, &str)]) -> Node {
    let mut node = Node::new(name);
    texts.iter().for_each(|(name, text)| node.set(name, text));
    node
}

struct OfSnapshot<'a> {
    id: &'a str,
    it: &'a Snapshot,
    tags: Option<&'a Tags>,
}

impl OfSnapshot<'_> {
    fn status(&self) -> &'static str {
        if self.it.is_complete() { "completed" } else { "pending" }
    }
}

impl Listed for OfSnapshot<'_> {
    fn cursor(&self) -> String {
        self.id.to_owned()
    }

    fn property(&self, filter: &str) -> Option<Vec<String>> {
        let value = match filter {
            "snapshot-id" => self.id,
            "volume-id" => &self.it.volume,
            "description" => &self.it.description,
            "status" => self.status(),
            "owner-id" => ACCOUNT,
            _ => return of_tags(self.tags, filter),
        };
        Some(vec![value.to_owned()])
    }

    fn node(&self) -> Node {
        let progress = if self.it.is_complete() { "100%" } else { "0%" };
        let mut item = element(
            "item",
            &[
                ("snapshotId", self.id),
                ("volumeId", &self.it.volume),
                ("status", self.status()),
                ("startTime", LONG_AGO),
                ("progress", progress),
                ("ownerId", ACCOUNT),
                ("volumeSize", "8"),
                ("description", &self.it.description),
                ("encrypted", "false"),
                ("storageTier", "standard"),
            ],
        );
        item.push(tag_set(self.tags));
        item
    }
}

struct OfVolume<'a> {
    id: &'a str,
    it: &'a Volume,
    tags: Option<&'a Tags>,
}

impl Listed for OfVolume<'_> {
    fn cursor(&self) -> String {
        self.id.to_owned()
    }

    fn property(&self, filter: &str) -> Option<Vec<String>> {
        match filter {
            "volume-id" => Some(vec![self.id.to_owned()]),
            "status" => Some(vec!["available".to_owned()]),
            "attachment.instance-id" => Some(Vec::new()),
            _ => of_tags(self.tags, filter),
        }
    }

    fn node(&self) -> Node {
        let mut item = element(
            "item",
            &[
                ("volumeId", self.id),
                ("size", &self.it.size.to_string()),
                ("availabilityZone", "us-east-1a"),
                ("status", "available"),
                ("createTime", LONG_AGO),
                ("volumeType", &self.it.kind),
                ("iops", "3000"),
                ("throughput", "125"),
                ("encrypted", "false"),
                ("multiAttachEnabled", "false"),
            ],
        );
        item.push(Node::new("attachmentSet"));
        item.push(tag_set(self.tags));
        item
    }
}

/// The last change of a volume that was ever changed.
struct OfChange<'a> {
    id: &'a str,
    it: &'a Volume,
}

impl Listed for OfChange<'_> {
    fn cursor(&self) -> String {
        self.id.to_owned()
    }

    fn property(&self, filter: &str) -> Option<Vec<String>> {
        (filter == "volume-id").then(|| vec![self.id.to_owned()])
    }

    fn node(&self) -> Node {
        change("item", self.id, self.it)
    }
}

/// The last change of a volume, as an element of this name.
pub fn change(name: &str, id: &str, volume: &Volume) -> Node {
    let Some(change) = &volume.change else { return Node::new(name) };
    let (state, progress) = if change.is_in_effect() { ("optimizing", "50") } else { ("modifying", "0") };
    element(
        name,
        &[
            ("volumeId", id),
            ("modificationState", state),
            ("originalSize", &change.from.0.to_string()),
            ("originalVolumeType", &change.from.1),
            ("targetSize", &volume.size.to_string()),
            ("targetVolumeType", &volume.kind),
            ("targetIops", "3000"),
            ("targetThroughput", "125"),
            ("progress", progress),
            ("startTime", &change.start_time),
        ],
    )
}

struct OfInstance<'a> {
    id: &'a str,
    it: &'a Instance,
    tags: Option<&'a Tags>,
}

/// The state of an instance, as an element of this name.
pub fn instance_state(name: &str, (code, state): (u8, &str)) -> Node {
    element(name, &[("code", &code.to_string()), ("name", state)])
}

impl Listed for OfInstance<'_> {
    fn cursor(&self) -> String {
        self.id.to_owned()
    }

    fn property(&self, filter: &str) -> Option<Vec<String>> {
        let value = match filter {
            "instance-id" => self.id,
            "instance-state-name" => self.it.state().1,
            _ => return of_tags(self.tags, filter),
        };
        Some(vec![value.to_owned()])
    }

    /// Each in a reservation of its own.
    fn node(&self) -> Node {
        let texts =
            [("instanceId", self.id), ("imageId", "ami-00000000000000001"), ("instanceType", "t3.micro"), ("rootDeviceType", "ebs")];
        let mut instance = element("item", &texts);
        instance.push(instance_state("instanceState", self.it.state()));
        instance.set("rootDeviceName", "/dev/xvda");
        instance.push(Node::new("blockDeviceMapping"));
        instance.push(Node::new("networkInterfaceSet"));
        instance.push(tag_set(self.tags));
        let mut instances = Node::new("instancesSet");
        instances.push(instance);
        let mut reservation = element("item", &[("reservationId", &self.id.replacen('i', "r", 1)), ("ownerId", ACCOUNT)]);
        reservation.push(instances);
        reservation
    }
}

struct OneTag<'a> {
    id: &'a str,
    key: &'a str,
    value: &'a str,
}

impl Listed for OneTag<'_> {
    /// Ids have no space in them.
    fn cursor(&self) -> String {
        format!("{} {}", self.id, self.key)
    }

    fn property(&self, filter: &str) -> Option<Vec<String>> {
        let value = match filter {
            "resource-id" => self.id,
            "key" => self.key,
            "value" => self.value,
            "resource-type" => self.kind(),
            _ => return None,
        };
        Some(vec![value.to_owned()])
    }

    fn node(&self) -> Node {
        let texts = [("resourceId", self.id), ("resourceType", self.kind()), ("key", self.key), ("value", self.value)];
        element("item", &texts)
    }
}

impl OneTag<'_> {
    fn kind(&self) -> &'static str {
        match self.id.split('-').next() {
            Some("vol") => "volume",
            Some("snap") => "snapshot",
            _ => "instance",
        }
    }
}
