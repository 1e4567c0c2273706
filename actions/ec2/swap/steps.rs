//! What is done, step by step, each noted before it is sent.

use std::fmt;

use aaws::{Backoff, Context, Error, ErrorContext, OnCancel, Outcome, Result, Steps, Undo, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    EbsInstanceBlockDeviceSpecification, Instance, InstanceBlockDeviceMappingSpecification, InstanceStateName, ResourceType, Snapshot, Tag,
    Volume, VolumeAttachmentState, VolumeType,
};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::lookup::{self, Resource};
use super::super::{snapshots, states, tags, wait};
use super::{Attachment, COPY_TAG, Copied, Job, MARK, ORIGINAL_TAG, plan};

/// How often a volume is attached to a device that is not free yet.
const TRIES: u32 = 8;

/// The most tags of a resource, AWS's own not counted (EC2 user guide, "Tag restrictions").
const MOST_TAGS: usize = 50;

/// How the volumes of a job are replaced.
pub struct Swap {
    pub ec2: Client,
    /// ARN of the key that the copies are encrypted with.
    pub key: String,
    /// At how many MiB/s copies are loaded from their snapshots.
    pub initialization_rate: Option<i32>,
    /// Whether an instance that runs is stopped.
    pub stops: bool,
}

/// A snapshot that a copy is made from.
struct Taken {
    id: String,
    volume: String,
    mark: String,
}

/// A step of a swap, and what is needed to undo it.
#[derive(Debug, Serialize, Deserialize)]
pub enum SwapStep {
    /// The instance was stopped. It is not started again while one of these devices is empty.
    Stop { instance: String, devices: Vec<String> },
    /// A snapshot was, or may have been, made; without its id it is found by its mark.
    Snapshot { volume: String, mark: String, snapshot: Option<String> },
    /// A volume was, or may have been, made; without its id it is found by its snapshot, which nobody else knows.
    Volume { of: String, snapshot: String, copy: Option<String> },
    /// The instance was started with the copies. It is stopped before they are taken away again.
    Start { instance: String },
    /// The copy takes, or took, the original's place.
    Replace { original: String, copy: String, at: Attachment },
}

impl fmt::Display for SwapStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SwapStep::Stop { instance, .. } => write!(f, "stop {instance}"),
            SwapStep::Start { instance } => write!(f, "start {instance}"),
            SwapStep::Snapshot { volume, snapshot, mark } => {
                write!(f, "take a snapshot of {volume} ")?;
                match snapshot {
                    Some(snapshot) => write!(f, "({snapshot})"),
                    None => write!(f, "(tagged {MARK}={mark})"),
                }
            }
            SwapStep::Volume { of, snapshot, copy } => {
                write!(f, "make a copy of {of} ")?;
                match copy {
                    Some(copy) => write!(f, "({copy})"),
                    None => write!(f, "(made from {snapshot})"),
                }
            }
            SwapStep::Replace { original, copy, at } => {
                write!(f, "put {copy} in the place of {original}, {} of {}", at.device, at.instance)
            }
        }
    }
}

#[async_trait]
impl Steps for Swap {
    type Item = Job;
    type Done = Vec<Copied>;
    type Step = SwapStep;

    fn id(&self, job: &Job) -> String {
        job.id.clone()
    }

    fn summary(&self) -> String {
        let stop = if self.stops { "stop the instance, and " } else { "" };
        format!("{stop}replace by volumes that are encrypted with {}", self.key)
    }

    fn plan(&self, job: &Job) -> Option<String> {
        Some(plan::words(job, self.initialization_rate))
    }

    fn precheck(&self, job: &Job) -> Option<Outcome<Vec<Copied>>> {
        job.precheck.clone()
    }

    fn state(&self, job: &Job) -> Option<Value> {
        let instance = job.host.as_ref().map(|host| json!({ "id": host.id, "runs": host.ran }));
        let whole = [("key".to_owned(), json!(self.key)), ("instance".to_owned(), json!(instance))];
        let volumes = job.originals.iter().map(|o| (format!("volume {}", o.volume.id()), states::volume(&o.volume)));
        Some(whole.into_iter().chain(volumes).collect())
    }

    fn disrupts(&self) -> bool {
        self.stops
    }

    async fn run(&self, cx: &Context, job: &Job, undo: &mut Undo<SwapStep>) -> Result<Outcome<Vec<Copied>>> {
        job.warnings.iter().for_each(|w| tracing::warn!("`{}`: {w}", job.id));
        if let Some(host) = job.host.as_ref().filter(|h| h.ran) {
            let devices = job.originals.iter().filter_map(|o| o.attachment.as_ref()).map(|a| a.device.clone()).collect();
            begin(job, undo, SwapStep::Stop { instance: host.id.clone(), devices }).await?;
            stop(cx, &self.ec2, &host.id, OnCancel::Stop).await?;
        }
        let mut taken = Vec::with_capacity(job.originals.len());
        for original in &job.originals {
            let snapshot = take(cx, &self.ec2, original.volume.id(), undo).await?;
            tracing::info!("`{}`: {} is taken of {}", job.id, snapshot.id, original.volume.id());
            taken.push(snapshot);
        }
        let ids: Vec<String> = taken.iter().map(|t| t.id.clone()).collect();
        completed(cx, &self.ec2, &ids).await?;
        let mut copied = Vec::with_capacity(job.originals.len());
        for (original, snapshot) in job.originals.iter().zip(&taken) {
            let copy = self.copy(&original.volume, &snapshot.id, undo).await?;
            tracing::info!("`{}`: {copy} is made from {}", job.id, snapshot.id);
            copied.push(Copied { original: original.volume.id().to_owned(), copy });
        }
        for made in &copied {
            wait::volume_available(cx, &self.ec2, &made.copy, OnCancel::Stop).await?;
        }
        for (original, made) in job.originals.iter().zip(&copied) {
            if let Some(a) = &original.attachment {
                is_as_it_was(&self.ec2, job).await?;
                begin(job, undo, SwapStep::Replace { original: made.original.clone(), copy: made.copy.clone(), at: a.clone() }).await?;
                replace(cx, &self.ec2, made, a).await?;
            }
        }
        // What follows is brought to its end in a run that was cancelled, too.
        let settling = cx.settling();
        let ec2 = aaws::client!(settling, aws_sdk_ec2);
        if let Some(host) = job.host.as_ref().filter(|h| h.ran) {
            begin(job, undo, SwapStep::Start { instance: host.id.clone() }).await?;
            run_with_copies(&settling, &ec2, &host.id).await?;
        }
        // From here on nothing is undone: the copies are in use.
        let mut told: Vec<_> = copied.iter().map(|c| format!("{} takes the place of {}, which is kept", c.copy, c.original)).collect();
        for made in &copied {
            told.extend(name_copy(&ec2, made).await);
        }
        for Taken { id, volume, mark } in &taken {
            for snapshot in all_of(&ec2, id, volume, mark).await {
                if let Err(e) = snapshots::delete(&ec2, &snapshot).await {
                    tracing::warn!("`{}`: the snapshot `{snapshot}` is left over: {e}", job.id);
                    told.push(format!("the snapshot {snapshot} is left over: {e}"));
                }
            }
        }
        Ok(Outcome::Done(copied, Some(told.join("; "))))
    }
}

/// Notes a step, and says it before it is taken: the log of a run that is killed tells how far it came.
async fn begin(job: &Job, undo: &mut Undo<SwapStep>, step: SwapStep) -> Result<()> {
    tracing::info!("`{}`: {step}", job.id);
    undo.note(step).await
}

impl Swap {
    /// A volume as the original is, but for the key. EC2 takes IOPS and throughput only for the types that have them to choose.
    async fn copy(&self, original: &Volume, snapshot: &str, undo: &mut Undo<SwapStep>) -> Result<String> {
        let step = |copy| SwapStep::Volume { of: original.id().to_owned(), snapshot: snapshot.to_owned(), copy };
        let kind = original.volume_type().cloned();
        let has_iops = matches!(kind, Some(VolumeType::Gp3 | VolumeType::Io1 | VolumeType::Io2));
        let request = self
            .ec2
            .create_volume()
            .snapshot_id(snapshot)
            .client_token(format!("aaws-{snapshot}"))
            .set_availability_zone(original.availability_zone().map(str::to_owned))
            .set_outpost_arn(original.outpost_arn().map(str::to_owned))
            .set_size(original.size())
            .set_iops(original.iops().filter(|_| has_iops))
            .set_throughput(original.throughput().filter(|_| kind == Some(VolumeType::Gp3)))
            .set_volume_type(kind.clone())
            .set_multi_attach_enabled(original.multi_attach_enabled().filter(|m| *m))
            .set_volume_initialization_rate(self.initialization_rate)
            .encrypted(true)
            .kms_key_id(&self.key)
            .set_tag_specifications(tags::for_new(ResourceType::Volume, tags_of_copy(original)));
        undo.note(step(None)).await?;
        let made = request.send().await.context(|| format!("make an encrypted copy of the volume `{}`", original.id()))?;
        let id = made.volume_id.ok_or_else(|| Error::Failed(format!("EC2 made a copy of `{}` without naming it", original.id())))?;
        undo.replace_last(step(Some(id.clone()))).await?;
        Ok(id)
    }
}

/// The original's own tags, and one that names it where there is room for one.
fn tags_of_copy(original: &Volume) -> Vec<Tag> {
    let mut own = tags::own(original.tags());
    // Those of an earlier swap say of the original what is not so of the copy.
    own.retain(|tag| tag.key() != Some(COPY_TAG) && tag.key() != Some(ORIGINAL_TAG));
    if own.len() < MOST_TAGS {
        own.push(tags::tag(ORIGINAL_TAG, original.id()));
    }
    own
}

/// Tags an original with the id of its copy; what is to be said when that cannot be done, which undoes nothing.
async fn name_copy(ec2: &Client, made: &Copied) -> Option<String> {
    let request = ec2.create_tags().resources(&made.original).tags(tags::tag(COPY_TAG, &made.copy)).send();
    let e = request.await.context(|| format!("tag the volume `{}` with the id of its copy", made.original)).err()?;
    tracing::warn!("{e}");
    Some(format!("{} is not tagged with the id of its copy: {e}", made.original))
}

pub(super) async fn stop(cx: &Context, ec2: &Client, instance: &str, on_cancel: OnCancel) -> Result<()> {
    let request = ec2.stop_instances().instance_ids(instance).send();
    request.await.context(|| format!("stop the instance `{instance}`"))?;
    wait::instance_is(cx, ec2, instance, InstanceStateName::Stopped, on_cancel).await
}

pub(super) async fn state(ec2: &Client, instance: &str) -> Result<Option<InstanceStateName>> {
    let seen = lookup::one::<Instance>(ec2, instance).await?;
    Ok(seen.as_ref().and_then(|i| i.state()).and_then(|s| s.name()).cloned())
}

/// Nothing is taken from an instance that somebody else started while the copies were made: what it has written since they lack.
async fn is_as_it_was(ec2: &Client, job: &Job) -> Result<()> {
    let Some(host) = &job.host else { return Ok(()) };
    let seen = lookup::one::<Instance>(ec2, &host.id).await?;
    let state = seen.as_ref().and_then(|i| i.state()).and_then(|s| s.name());
    let launched = seen.as_ref().and_then(|i| i.launch_time());
    if state == Some(&InstanceStateName::Stopped) && launched == host.launched.as_ref() {
        return Ok(());
    }
    let state = state.map_or("in no known state", InstanceStateName::as_str);
    Err(Error::Failed(format!(
        "the instance `{}` was started by somebody else meanwhile, and is {state}: its copies are outdated",
        host.id
    )))
}

/// Starts an instance with its copies, and waits until it runs; in a run that was stopped, too: what it writes to them from now on is nowhere
/// else. What EC2 answers to the start may be lost, or wrong, so how the instance is shown counts.
async fn run_with_copies(cx: &Context, ec2: &Client, instance: &str) -> Result<()> {
    use InstanceStateName::{Pending, Running};
    if let Err(e) = start(ec2, instance).await {
        if !e.is_ambiguous() && !matches!(state(ec2, instance).await, Ok(Some(Pending | Running))) {
            return Err(e);
        }
        tracing::warn!("{e}; it is waited for all the same");
    }
    let Err(e) = wait::instance_is(cx, ec2, instance, Running, OnCancel::KeepGoing).await else { return Ok(()) };
    match state(ec2, instance).await? {
        Some(Running) => {
            tracing::warn!("{e}; but `{instance}` runs");
            Ok(())
        }
        _ => Err(e),
    }
}

pub(super) async fn start(ec2: &Client, instance: &str) -> Result<()> {
    let request = ec2.start_instances().instance_ids(instance).send();
    request.await.context(|| format!("start the instance `{instance}`")).map(drop)
}

async fn take(cx: &Context, ec2: &Client, volume: &str, undo: &mut Undo<SwapStep>) -> Result<Taken> {
    let mark = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let step = |snapshot| SwapStep::Snapshot { volume: volume.to_owned(), mark: mark.clone(), snapshot };
    undo.note(step(None)).await?;
    let description = format!("{volume} while aaws makes an encrypted copy of it");
    let id = snapshots::begin(cx, ec2, volume, description, vec![tags::tag(MARK, &mark)]).await?;
    undo.replace_last(step(Some(id.clone()))).await?;
    Ok(Taken { id, volume: volume.to_owned(), mark })
}

/// A snapshot that was taken, and those that were taken beside it: EC2 has no client token for snapshots, so that a request whose answer was lost,
/// and that was sent again, makes a second one.
pub(super) async fn all_of(ec2: &Client, taken: &str, volume: &str, mark: &str) -> Vec<String> {
    let mut all = vec![taken.to_owned()];
    match marked(ec2, volume, mark).await {
        Ok(marked) => all.extend(marked.into_iter().filter(|id| id != taken)),
        Err(e) => tracing::warn!("whether another snapshot of `{volume}` is left over (tagged {MARK}={mark}) is not known: {e}"),
    }
    all
}

async fn completed(cx: &Context, ec2: &Client, snapshots: &[String]) -> Result<()> {
    let mut awaited = wait::snapshots(cx, ec2, snapshots).await;
    for id in snapshots {
        if let Some(Err(why)) = awaited.remove(id) {
            return Err(why.error(&format!("the snapshot `{id}` is not complete")));
        }
    }
    Ok(())
}

async fn replace(cx: &Context, ec2: &Client, made: &Copied, at: &Attachment) -> Result<()> {
    detach(ec2, &made.original, at).await?;
    wait::volume_available(cx, ec2, &made.original, OnCancel::Stop).await?;
    attach(ec2, &made.copy, at).await?;
    wait::volume_attached(cx, ec2, &made.copy, &at.instance, OnCancel::Stop).await?;
    // A volume that is attached later stays when the instance goes, unless this is said.
    if at.delete_on_termination { delete_on_termination(ec2, at).await } else { Ok(()) }
}

/// Asks once to detach a volume.
pub(super) async fn ask_to_detach(ec2: &Client, volume: &str, at: &Attachment) -> Result<()> {
    let request = ec2.detach_volume().volume_id(volume).instance_id(&at.instance).device(&at.device);
    request.send().await.context(|| format!("detach the volume `{volume}` from the instance `{}`", at.instance)).map(drop)
}

pub(super) async fn detach(ec2: &Client, volume: &str, at: &Attachment) -> Result<()> {
    let Err(e) = ask_to_detach(ec2, volume, at).await else { return Ok(()) };
    // When an answer is lost, the request is sent again, and refused because already in the requested state.
    if is_at(ec2, volume, at).await == Some(false) { Ok(()) } else { Err(e) }
}

/// Asks once to attach a volume.
pub(super) async fn ask_to_attach(ec2: &Client, volume: &str, at: &Attachment) -> Result<()> {
    let request = ec2.attach_volume().volume_id(volume).instance_id(&at.instance).device(&at.device);
    let attempted = || format!("attach the volume `{volume}` to the instance `{}` as `{}`", at.instance, at.device);
    request.send().await.context(attempted).map(drop)
}

/// Whether a device is, or was a moment ago, another volume's.
pub(super) fn is_occupied(error: &Error) -> bool {
    matches!(error, Error::Aws(e) if e.message.contains("already in use"))
}

pub(super) async fn attach(ec2: &Client, volume: &str, at: &Attachment) -> Result<()> {
    let mut backoff = Backoff::poll();
    let mut tries = 0;
    loop {
        let Err(e) = ask_to_attach(ec2, volume, at).await else { return Ok(()) };
        if is_at(ec2, volume, at).await == Some(true) {
            return Ok(());
        }
        // A device is free a little later than the volume that was there.
        tries += 1;
        if !is_occupied(&e) || tries == TRIES {
            return Err(e);
        }
        backoff.pause().await;
    }
}

/// Whether a volume is attached to the instance, or is being attached; nothing when that cannot be seen.
async fn is_at(ec2: &Client, volume: &str, at: &Attachment) -> Option<bool> {
    let volume = lookup::one::<Volume>(ec2, volume).await.ok()??;
    let here = volume.attachments().iter().find(|a| a.instance_id() == Some(at.instance.as_str()));
    let gone = [VolumeAttachmentState::Detached, VolumeAttachmentState::Detaching];
    Some(here.and_then(|a| a.state()).is_some_and(|state| !gone.contains(state)))
}

pub(super) async fn delete_on_termination(ec2: &Client, at: &Attachment) -> Result<()> {
    let ebs = EbsInstanceBlockDeviceSpecification::builder().delete_on_termination(at.delete_on_termination).build();
    let mapping = InstanceBlockDeviceMappingSpecification::builder().device_name(&at.device).ebs(ebs).build();
    let request = ec2.modify_instance_attribute().instance_id(&at.instance).block_device_mappings(mapping);
    let attempted = || format!("say of `{}` of the instance `{}` whether it is deleted with it", at.device, at.instance);
    request.send().await.context(attempted).map(drop)
}

pub(super) async fn marked(ec2: &Client, volume: &str, mark: &str) -> Result<Vec<String>> {
    let filters = vec![lookup::filter("volume-id", [volume]), lookup::filter(&format!("tag:{MARK}"), [mark])];
    Snapshot::list(ec2, filters).map_ok(|s| s.id().to_owned()).try_collect().await
}

pub(super) async fn made_from(ec2: &Client, snapshot: &str) -> Result<Vec<String>> {
    let filters = vec![lookup::filter("snapshot-id", [snapshot])];
    Volume::list(ec2, filters).map_ok(|v| v.id().to_owned()).try_collect().await
}
