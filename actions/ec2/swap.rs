//! Replaces volumes by encrypted copies, and puts the originals back when a step fails.
//!
//! The order is what keeps the data: the instance is stopped first, and only then are its volumes copied, so that nothing is written that the
//! copies lack. Volumes are swapped one after another: at no time is more than one device empty. The original volumes are never deleted.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use aaws::{Backoff, OnCancel};
use aaws::{Context, Error, ErrorContext, Failure, OrPlan, Outcome, Result, Status, Step, Steps, Undo, When, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{
    AttachmentStatus, DeviceType, EbsEncryptionSupport, EbsInstanceBlockDeviceSpecification, Instance, InstanceAttributeName,
    InstanceBlockDeviceMapping, InstanceBlockDeviceMappingSpecification, InstanceLifecycleType, InstanceStateName, ProductCode,
    ProductCodeValues, ResourceType, Snapshot, Volume, VolumeAttachmentState, VolumeState, VolumeType,
};
use futures::{TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::addresses;
use super::lookup::{self, Resource};
use super::wait::{self, LOOKS, PollState};
use super::{kms, snapshots, tags, volumes};

/// The key of the tag by which a snapshot of an unfinished swap is found when the answer of the call that made it was lost.
const MARK: &str = "aaws:swap";

/// How often a volume is attached to a device that is not free yet.
const TRIES: u32 = 8;

/// When the instance of a volume is looked at.
pub const ATTACHED: When = When::Likely("a volume that has to be replaced is attached to an instance");

/// The calls of a replacement; `$volume` and `$instance` are the ARNs of the volumes and instances that the inputs name, or of any, and `$instances` is
/// the call that looks at instances.
macro_rules! calls {
    ($volume:literal, $instance:literal, $instances:expr) => {{
        use aaws::{Call, Grant, When};
        use $crate::actions::ec2::swap::ATTACHED;
        const REPLACING: When = When::Likely("a volume has to be replaced");
        const RUNNING: When = When::Likely("a volume that has to be replaced is attached to a running instance");
        const ANY_VOLUME: &str = "arn:${Partition}:ec2:${Region}:${Account}:volume/*";
        const SNAPSHOTS: &str = $crate::actions::ec2::snapshots::SNAPSHOTS;
        const KEYS: &[&str] = &["arn:${Partition}:kms:${Region}:${Account}:key/*"];
        const VIA: &str = $crate::actions::ec2::kms::VIA_EC2;
        &[
            $crate::actions::ec2::lookup::DESCRIBE_VOLUMES,
            $instances,
            Call::read("ec2:DescribeInstanceTypes", &[Grant::new("ec2:DescribeInstanceTypes", &["*"])]).when(ATTACHED),
            Call::read("ec2:DescribeInstanceAttribute", &[Grant::new("ec2:DescribeInstanceAttribute", &[$instance])]).when(RUNNING),
            $crate::actions::ec2::kms::DESCRIBE_KEY.when(REPLACING),
            Call::write("ec2:StopInstances", &[Grant::new("ec2:StopInstances", &[$instance])]).when(RUNNING),
            Call::write(
                "ec2:CreateSnapshot",
                &[
                    Grant::new("ec2:CreateSnapshot", &[$volume, SNAPSHOTS]),
                    Grant::new("ec2:CreateTags", &[SNAPSHOTS]).condition("StringEquals", "ec2:CreateAction", "CreateSnapshot"),
                ],
            )
            .when(REPLACING),
            $crate::actions::ec2::lookup::DESCRIBE_SNAPSHOTS.when(REPLACING),
            Call::write(
                "ec2:CreateVolume",
                &[
                    Grant::new("ec2:CreateVolume", &[ANY_VOLUME, SNAPSHOTS]),
                    Grant::new("ec2:CreateTags", &[ANY_VOLUME]).condition("StringEquals", "ec2:CreateAction", "CreateVolume"),
                    // What EBS does with the key in the caller's name (EBS user guide, "Amazon EBS encryption requirements").
                    Grant::new("kms:CreateGrant", KEYS).condition("Bool", "kms:GrantIsForAWSResource", "true"),
                    Grant::new("kms:Decrypt", KEYS).condition("StringLike", "kms:ViaService", VIA),
                    Grant::new("kms:GenerateDataKeyWithoutPlaintext", KEYS).condition("StringLike", "kms:ViaService", VIA),
                    Grant::new("kms:ReEncryptFrom", KEYS).condition("StringLike", "kms:ViaService", VIA),
                    Grant::new("kms:ReEncryptTo", KEYS).condition("StringLike", "kms:ViaService", VIA),
                ],
            )
            .when(REPLACING),
            Call::write("ec2:DetachVolume", &[Grant::new("ec2:DetachVolume", &[ANY_VOLUME, $instance])]).when(ATTACHED),
            Call::write("ec2:AttachVolume", &[Grant::new("ec2:AttachVolume", &[ANY_VOLUME, $instance])]).when(ATTACHED),
            Call::write("ec2:ModifyInstanceAttribute", &[Grant::new("ec2:ModifyInstanceAttribute", &[$instance])])
                .when(When::Likely("a volume that has to be replaced is deleted with its instance")),
            Call::write("ec2:StartInstances", &[Grant::new("ec2:StartInstances", &[$instance])]).when(RUNNING),
            Call::write("ec2:DeleteSnapshot", &[Grant::new("ec2:DeleteSnapshot", &[SNAPSHOTS])]).when(REPLACING),
            Call::write("ec2:DeleteVolume", &[Grant::new("ec2:DeleteVolume", &[ANY_VOLUME])]).when(When::Likely("a later step fails")),
        ]
    }};
}
pub(super) use calls;

/// What both actions have to say.
pub const NOTES: &[&str] = &[
    "Nobody but the caller can say whether the key may be used: `kms:CreateGrant` on it is needed for volumes to be attached, and instances with them to be started. \
     Where it is missing, EC2 says so at one of these steps, and everything is undone.",
    "While it is stopped, an instance loses its memory and what is on instance store volumes, and a public address that is not elastic. The plan and the log say so.",
    "Refused are: volumes attached to several instances, or managed by an AWS service; instances of Auto Scaling groups (unless `auto_scaling`), running Spot \
     Instances, instances whose root is an instance store, that can hibernate, are protected against being stopped, have a product code of the AWS Marketplace, or \
     are of a type that cannot use encrypted volumes.",
    "Waiting has no limit but `--timeout`; snapshots of large volumes take hours. When it runs out, or on Ctrl-C, what was done is undone, which is waited for \
     as long as it takes; a second Ctrl-C ends that at once.",
    "Once an instance runs with its copies nothing is undone, because what it writes to them is nowhere else. Where it cannot be seen whether it runs, they stay.",
    "A stopped instance may find no capacity to be started again: EC2 says so, everything is undone, and it stays stopped until there is some.",
    "Tags whose keys begin with `aws:` belong to AWS and are not copied.",
    "The original volumes are kept, detached, and billed: delete them when the copies have proved themselves.",
    "Another process must not change the instance meanwhile. When this one is killed, so that it cannot undo, the log of the run names each step that it had \
     begun and what it had made; an instance whose root device is empty is refused.",
    "An instance that cannot be stopped, or a volume that cannot be detached, is a failure and not skipped: it was the one thing that was asked for.",
    "The permissions for KMS are for all keys of the region and the account, because an alias does not tell the key, and the keys of the originals are read, too.",
];

/// Replaces the volumes of one job; nothing printed of it (`None`) is a failure that the log and the report explain.
pub async fn replace(cx: &Context, ec2: Client, key: &str, job: Job) -> Result<OrPlan<Option<Vec<Copied>>>> {
    let key = match job.precheck {
        // Nothing will be encrypted with it, so nothing has to be known of it.
        Some(_) => key.to_owned(),
        None => lookup::cancellable(cx, kms::check(cx, cx.region(), key)).await?,
    };
    let settled = cx.change_in_steps(stream::iter([Ok(job)]), Swap { ec2, key }).await?.results();
    let settled: Vec<_> = settled.try_collect().await?;
    if cx.dry_run() {
        return Ok(OrPlan::Planned(settled.into_iter().map(|s| s.record).collect()));
    }
    let copied = settled.into_iter().find_map(|s| match s.record.status {
        Status::Unchanged => Some(Vec::new()),
        _ => s.done,
    });
    Ok(OrPlan::Done(copied))
}

/// The volumes that are replaced together, because they are of one instance, or the one of none.
pub struct Job {
    /// As given: of the volume or of the instance.
    pub id: String,
    host: Option<Host>,
    originals: Vec<Original>,
    /// What is lost or changes for good when the instance is stopped.
    warnings: Vec<String>,
    precheck: Option<Outcome<Vec<Copied>>>,
}

/// The instance that the volumes are attached to.
struct Host {
    id: String,
    ran: bool,
    /// When it was started the last time: another time means that somebody else started it meanwhile.
    launched: Option<DateTime>,
}

struct Original {
    volume: Volume,
    attachment: Option<Attachment>,
}

/// Where a volume is attached, and whether it is deleted with the instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Attachment {
    instance: String,
    device: String,
    delete_on_termination: bool,
}

/// A snapshot that a copy is made from.
struct Taken {
    id: String,
    volume: String,
    mark: String,
}

/// A volume and the encrypted copy in its place.
#[derive(Debug, Clone)]
pub struct Copied {
    pub original: String,
    pub copy: String,
}

impl Job {
    /// Nothing is to be done, for this reason.
    pub fn unchanged(id: String, why: impl Into<String>) -> Self {
        Job::settled(id, Outcome::Unchanged(why.into()))
    }

    /// It is not done, for this reason.
    pub fn refused(id: String, why: impl Into<String>) -> Self {
        Job::settled(id, Outcome::Failed(Failure::permanent("Refused", why)))
    }

    fn settled(id: String, precheck: Outcome<Vec<Copied>>) -> Self {
        Job { id, host: None, originals: Vec::new(), warnings: Vec::new(), precheck: Some(precheck) }
    }

    /// Looks at everything that could go wrong half way, before anything is touched.
    pub async fn survey(cx: &Context, ec2: &Client, id: String, volumes: Vec<Volume>, auto_scaling: bool) -> Result<Self> {
        let mut originals = Vec::with_capacity(volumes.len());
        for volume in volumes {
            match original(volume) {
                Ok(original) => originals.push(original),
                Err(why) => return Ok(Job::refused(id, why)),
            }
        }
        let Some(attachment) = originals.iter().find_map(|o| o.attachment.as_ref()) else {
            return Ok(Job { id, host: None, originals, warnings: Vec::new(), precheck: None });
        };
        let Some(instance) = lookup::one::<Instance>(ec2, &attachment.instance).await? else {
            return Ok(Job::refused(id, format!("the instance `{}`, to which it is attached, cannot be seen", attachment.instance)));
        };
        for attachment in originals.iter_mut().filter_map(|o| o.attachment.as_mut()) {
            attachment.delete_on_termination |= goes_with(&instance, &attachment.device);
        }
        let ran = match may_be_stopped(&instance, auto_scaling) {
            Ok(ran) => ran,
            Err(why) => return Ok(Job::refused(id, why)),
        };
        let mut warnings = Vec::new();
        if let Some(why) = type_refuses(cx, ec2, &instance, ran, &mut warnings).await? {
            return Ok(Job::refused(id, why));
        }
        if ran && is_stop_protected(ec2, instance.id()).await? {
            return Ok(Job::refused(id, format!("the instance `{}` is protected against being stopped: lift that first", instance.id())));
        }
        if ran {
            warnings.extend(addresses::lost_by_a_stop(&instance));
        }
        Ok(Job {
            id,
            host: Some(Host { id: instance.id().to_owned(), ran, launched: instance.launch_time().copied() }),
            originals,
            warnings,
            precheck: None,
        })
    }
}

/// Why a volume cannot be replaced, or the volume with its one attachment.
fn original(volume: Volume) -> Result<Original, String> {
    let id = volume.id();
    if volume.operator().and_then(|o| o.managed()) == Some(true) {
        let who = volume.operator().and_then(|o| o.principal()).unwrap_or("an AWS service");
        return Err(format!("the volume `{id}` is managed by {who}, and cannot be detached"));
    }
    let attachment = match volume.attachments() {
        [] => None,
        [one] if one.state().is_some_and(|state| *state != VolumeAttachmentState::Attached) => {
            let state = one.state().map_or("in no known state", VolumeAttachmentState::as_str);
            return Err(format!("the volume `{id}` is {state}"));
        }
        [one] => Some(Attachment {
            instance: one.instance_id().unwrap_or_default().to_owned(),
            device: one.device().unwrap_or_default().to_owned(),
            delete_on_termination: one.delete_on_termination().unwrap_or_default(),
        }),
        many => return Err(format!("the volume `{id}` is attached to {} instances at once: detach it from all but one first", many.len())),
    };
    match (volume.state(), &attachment) {
        (Some(VolumeState::Available), None) => {}
        (Some(VolumeState::InUse), Some(a)) if !a.instance.is_empty() && !a.device.is_empty() => {}
        (state, _) => return Err(format!("the volume `{id}` is {}", state.map_or("in no known state", VolumeState::as_str))),
    }
    Ok(Original { volume, attachment })
}

/// Whether the volume at a device is deleted with its instance.
fn goes_with(instance: &Instance, device: &str) -> bool {
    let mapping = instance.block_device_mappings().iter().find(|m| m.device_name() == Some(device));
    mapping.and_then(|m| m.ebs()).and_then(|e| e.delete_on_termination()).unwrap_or_default()
}

/// Why an instance has no volumes that could be replaced, whether or not it shows any.
pub fn has_none_to_replace(instance: &Instance) -> Option<String> {
    let id = instance.id();
    let state = instance.state().and_then(|s| s.name());
    if let Some(state @ (InstanceStateName::Terminated | InstanceStateName::ShuttingDown)) = state {
        return Some(format!("the instance `{id}` is {state}"));
    }
    if instance.root_device_type() == Some(&DeviceType::InstanceStore) {
        return Some(format!("the root of the instance `{id}` is an instance store: it cannot be stopped"));
    }
    // As after a run that was killed in the middle of a swap: what is not attached is not looked at, and would be passed over.
    let root = instance.root_device_name()?;
    let is_empty = !instance.block_device_mappings().iter().any(|m| m.device_name() == Some(root));
    is_empty.then(|| format!("the root device `{root}` of the instance `{id}` is empty: attach its volume first"))
}

/// Why an instance must not be stopped and changed, or whether it runs.
fn may_be_stopped(instance: &Instance, auto_scaling: bool) -> Result<bool, String> {
    let id = instance.id();
    if let Some(why) = has_none_to_replace(instance) {
        return Err(why);
    }
    let ran = match instance.state().and_then(|s| s.name()) {
        Some(InstanceStateName::Running) => true,
        Some(InstanceStateName::Stopped) => false,
        state => {
            return Err(format!(
                "the instance `{id}` is {}: it has to be running or stopped",
                state.map_or("in no known state", InstanceStateName::as_str)
            ));
        }
    };
    if let Some(group) = tags::value(instance.tags(), tags::AUTO_SCALING_GROUP).filter(|_| !auto_scaling) {
        return Err(format!(
            "the instance `{id}` belongs to the Auto Scaling group `{group}`, which replaces it when it stops: put it in standby, and give `auto_scaling`"
        ));
    }
    if ran && instance.instance_lifecycle() == Some(&InstanceLifecycleType::Spot) {
        return Err(format!("the instance `{id}` is a Spot Instance: stop it yourself first, if its request is persistent"));
    }
    if instance.operator().and_then(|o| o.managed()) == Some(true) {
        return Err(format!("the instance `{id}` is managed by an AWS service"));
    }
    if instance.hibernation_options().and_then(|h| h.configured()) == Some(true) {
        return Err(format!("the instance `{id}` can hibernate: its memory may be on the volume that would be replaced"));
    }
    let bought = |p: &ProductCode| p.product_code_type() == Some(&ProductCodeValues::Marketplace);
    if instance.product_codes().iter().any(bought) {
        return Err(format!("the instance `{id}` has a product code of the AWS Marketplace, which its volumes must keep"));
    }
    Ok(ran)
}

/// What the instance's type cannot do, and what it loses.
async fn type_refuses(cx: &Context, ec2: &Client, instance: &Instance, ran: bool, warnings: &mut Vec<String>) -> Result<Option<String>> {
    let Some(kind) = instance.instance_type() else { return Ok(None) };
    let answer = lookup::cancellable(cx, async {
        let request = ec2.describe_instance_types().instance_types(kind.clone()).send();
        request.await.context(|| format!("look at the instance type `{kind}`"))
    })
    .await?;
    let Some(known) = answer.instance_types().first() else { return Ok(None) };
    if known.ebs_info().and_then(|e| e.encryption_support()) == Some(&EbsEncryptionSupport::Unsupported) {
        return Ok(Some(format!("the instance `{}` is a `{kind}`, which cannot use encrypted volumes", instance.id())));
    }
    if ran && known.instance_storage_supported() == Some(true) {
        warnings.push(format!("a `{kind}` has instance store volumes: what is on them is lost when it stops"));
    }
    Ok(None)
}

async fn is_stop_protected(ec2: &Client, instance: &str) -> Result<bool> {
    let request = ec2.describe_instance_attribute().instance_id(instance).attribute(InstanceAttributeName::DisableApiStop);
    let answer = request.send().await.context(|| format!("ask whether the instance `{instance}` may be stopped"))?;
    Ok(answer.disable_api_stop().and_then(|d| d.value()).unwrap_or_default())
}

/// Said of a run in which an original could not be attached again: then no further device is emptied for one.
const STUCK: &str = "an original could not be attached again";

/// How the volumes of a job are replaced.
struct Swap {
    ec2: Client,
    /// ARN of the key that the copies are encrypted with.
    key: String,
}

/// A step of a swap, and what is needed to undo it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum SwapStep {
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
        format!("replace by volumes that are encrypted with {}", self.key)
    }

    fn plan(&self, job: &Job) -> Option<String> {
        let volumes: Vec<_> = job.originals.iter().map(|o| o.volume.id()).collect();
        let mut text = format!("an encrypted copy would take the place of {}, which would be kept", volumes.join(", "));
        match &job.host {
            Some(host) if host.ran => text += &format!("; the instance {} would be stopped, and started again", host.id),
            Some(host) => text += &format!("; the instance {} is stopped, and would stay so", host.id),
            None => {}
        }
        job.warnings.iter().for_each(|w| text += &format!("; {w}"));
        Some(text)
    }

    fn precheck(&self, job: &Job) -> Option<Outcome<Vec<Copied>>> {
        job.precheck.clone()
    }

    async fn run(&self, cx: &Context, job: &Job, undo: &mut Undo<SwapStep>) -> Result<Outcome<Vec<Copied>>> {
        job.warnings.iter().for_each(|w| tracing::warn!("`{}`: {w}", job.id));
        if let Some(host) = job.host.as_ref().filter(|h| h.ran) {
            let devices = job.originals.iter().filter_map(|o| o.attachment.as_ref()).map(|a| a.device.clone()).collect();
            begin(job, undo, SwapStep::Stop { instance: host.id.clone(), devices }).await?;
            self.stop(cx, &host.id, OnCancel::Stop).await?;
        }
        let mut taken = Vec::with_capacity(job.originals.len());
        for original in &job.originals {
            let snapshot = self.snapshot(cx, original.volume.id(), undo).await?;
            tracing::info!("`{}`: {} is taken of {}", job.id, snapshot.id, original.volume.id());
            taken.push(snapshot);
        }
        let ids: Vec<String> = taken.iter().map(|t| t.id.clone()).collect();
        self.completed(cx, &ids).await?;
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
                self.is_as_it_was(job).await?;
                begin(job, undo, SwapStep::Replace { original: made.original.clone(), copy: made.copy.clone(), at: a.clone() }).await?;
                self.replace(cx, made, a).await?;
            }
        }
        if let Some(host) = job.host.as_ref().filter(|h| h.ran) {
            begin(job, undo, SwapStep::Start { instance: host.id.clone() }).await?;
            self.run_with_copies(cx, &host.id).await?;
        }
        // From here on nothing is undone: the copies are in use.
        let mut told: Vec<_> = copied.iter().map(|c| format!("{} takes the place of {}, which is kept", c.copy, c.original)).collect();
        for Taken { id, volume, mark } in &taken {
            for snapshot in self.all_of(id, volume, mark).await {
                if let Err(e) = snapshots::delete(&self.ec2, &snapshot).await {
                    tracing::warn!("`{}`: the snapshot `{snapshot}` is left over: {e}", job.id);
                    told.push(format!("the snapshot {snapshot} is left over: {e}"));
                }
            }
        }
        Ok(Outcome::Done(copied, Some(told.join("; "))))
    }
}

#[async_trait]
impl Step for SwapStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        Swap { ec2: aaws::client!(cx, aws_sdk_ec2), key: String::new() }.undo(cx, self).await
    }
}

impl Swap {
    async fn undo(&self, cx: &Context, step: &SwapStep) -> Result<()> {
        match step {
            SwapStep::Stop { instance, devices } => self.start_again(cx, instance, devices).await,
            SwapStep::Start { instance } => self.is_not_started(cx, instance).await,
            SwapStep::Snapshot { volume, mark, snapshot: None } => {
                for id in wait::poll_until_visible(|| self.marked(volume, mark), |ids| !ids.is_empty()).await? {
                    snapshots::delete(&self.ec2, &id).await?;
                }
                Ok(())
            }
            SwapStep::Snapshot { volume, mark, snapshot: Some(id) } => {
                for id in self.all_of(id, volume, mark).await {
                    snapshots::delete(&self.ec2, &id).await?;
                }
                Ok(())
            }
            SwapStep::Volume { snapshot, copy, .. } => {
                let made = match copy {
                    Some(id) => vec![id.clone()],
                    None => wait::poll_until_visible(|| self.made_from(snapshot), |ids| !ids.is_empty()).await?,
                };
                for id in made {
                    self.delete_copy(cx, &id).await?;
                }
                Ok(())
            }
            SwapStep::Replace { original, copy, at } => self.put_back(cx, original, copy, at).await,
        }
    }
}

/// Notes a step, and says it before it is taken: the log of a run that is killed tells how far it came.
async fn begin(job: &Job, undo: &mut Undo<SwapStep>, step: SwapStep) -> Result<()> {
    tracing::info!("`{}`: {step}", job.id);
    undo.note(step).await
}

impl Swap {
    async fn stop(&self, cx: &Context, instance: &str, on_cancel: OnCancel) -> Result<()> {
        let request = self.ec2.stop_instances().instance_ids(instance).send();
        request.await.context(|| format!("stop the instance `{instance}`"))?;
        wait::instance_is(cx, &self.ec2, instance, InstanceStateName::Stopped, on_cancel).await
    }

    async fn state(&self, instance: &str) -> Result<Option<InstanceStateName>> {
        let seen = lookup::one::<Instance>(&self.ec2, instance).await?;
        Ok(seen.as_ref().and_then(|i| i.state()).and_then(|s| s.name()).cloned())
    }

    /// Nothing is taken from an instance that somebody else started while the copies were made: what it has written since they lack.
    async fn is_as_it_was(&self, job: &Job) -> Result<()> {
        let Some(host) = &job.host else { return Ok(()) };
        let seen = lookup::one::<Instance>(&self.ec2, &host.id).await?;
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

    /// Makes sure that an instance that was to be started with the copies has not started, or has come to a stop by itself. One that runs has
    /// written to them, so they stay.
    async fn is_not_started(&self, cx: &Context, instance: &str) -> Result<()> {
        let judge = |seen: Option<&Instance>| match seen.and_then(|i| i.state()).and_then(|s| s.name()) {
            Some(InstanceStateName::Stopped) => PollState::Ready,
            Some(state @ (InstanceStateName::Pending | InstanceStateName::Stopping)) => PollState::Pending(state.as_str().to_owned()),
            _ => PollState::Failed(format!(
                "the instance `{instance}` runs with the copies, which hold what it has written since: they stay"
            )),
        };
        wait::for_one::<Instance>(cx, &self.ec2, instance, OnCancel::KeepGoing, judge).await?;
        // It may be shown as it was before the start. One that was never started is stopped already, which EC2 takes for an answer.
        self.stop(cx, instance, OnCancel::KeepGoing).await
    }

    /// Starts an instance with its copies, and waits until it runs; in a run that was stopped, too: what it writes to them from now on is nowhere
    /// else. What EC2 answers to the start may be lost, or wrong, so how the instance is shown counts.
    async fn run_with_copies(&self, cx: &Context, instance: &str) -> Result<()> {
        use InstanceStateName::{Pending, Running};
        if let Err(e) = self.start(instance).await {
            if !e.is_ambiguous() && !matches!(self.state(instance).await, Ok(Some(Pending | Running))) {
                return Err(e);
            }
            tracing::warn!("{e}; it is waited for all the same");
        }
        let Err(e) = wait::instance_is(cx, &self.ec2, instance, Running, OnCancel::KeepGoing).await else { return Ok(()) };
        match self.state(instance).await? {
            Some(Running) => {
                tracing::warn!("{e}; but `{instance}` runs");
                Ok(())
            }
            _ => Err(e),
        }
    }

    async fn start(&self, instance: &str) -> Result<()> {
        let request = self.ec2.start_instances().instance_ids(instance).send();
        request.await.context(|| format!("start the instance `{instance}`")).map(drop)
    }

    async fn snapshot(&self, cx: &Context, volume: &str, undo: &mut Undo<SwapStep>) -> Result<Taken> {
        let mark = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let step = |snapshot| SwapStep::Snapshot { volume: volume.to_owned(), mark: mark.clone(), snapshot };
        undo.note(step(None)).await?;
        let description = format!("{volume} while aaws makes an encrypted copy of it");
        let id = snapshots::begin(cx, &self.ec2, volume, description, vec![tags::tag(MARK, &mark)]).await?;
        undo.forget_last();
        undo.note(step(Some(id.clone()))).await?;
        Ok(Taken { id, volume: volume.to_owned(), mark })
    }

    /// A snapshot that was taken, and those that were taken beside it: EC2 has no client token for snapshots, so that a request whose answer was lost,
    /// and that was sent again, makes a second one.
    async fn all_of(&self, taken: &str, volume: &str, mark: &str) -> Vec<String> {
        let mut all = vec![taken.to_owned()];
        match self.marked(volume, mark).await {
            Ok(marked) => all.extend(marked.into_iter().filter(|id| id != taken)),
            Err(e) => tracing::warn!("whether another snapshot of `{volume}` is left over (tagged {MARK}={mark}) is not known: {e}"),
        }
        all
    }

    /// Deletes a copy that is attached to nothing; one that is being made is awaited, because EC2 deletes none of those.
    async fn delete_copy(&self, cx: &Context, id: &str) -> Result<()> {
        let looked = AtomicU32::new(1);
        wait::for_one::<Volume>(cx, &self.ec2, id, OnCancel::KeepGoing, |volume| match volume.and_then(|v| v.state()) {
            Some(state @ VolumeState::Creating) => PollState::Pending(state.as_str().to_owned()),
            Some(VolumeState::InUse) => PollState::Failed(format!("the volume `{id}` is attached")),
            // It may be shown only later.
            None if looked.fetch_add(1, Ordering::Relaxed) < LOOKS => PollState::Pending("not shown yet".into()),
            _ => PollState::Ready,
        })
        .await?;
        volumes::delete(&self.ec2, id).await.map(drop)
    }

    async fn completed(&self, cx: &Context, snapshots: &[String]) -> Result<()> {
        let mut awaited = wait::snapshots(cx, &self.ec2, snapshots).await;
        for id in snapshots {
            if let Some(Err(why)) = awaited.remove(id) {
                return Err(why.error(&format!("the snapshot `{id}` is not complete")));
            }
        }
        Ok(())
    }

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
            .encrypted(true)
            .kms_key_id(&self.key)
            .set_tag_specifications(tags::for_new(ResourceType::Volume, tags::own(original.tags())));
        undo.note(step(None)).await?;
        let made = request.send().await.context(|| format!("make an encrypted copy of the volume `{}`", original.id()))?;
        let id = made.volume_id.ok_or_else(|| Error::Failed(format!("EC2 made a copy of `{}` without naming it", original.id())))?;
        undo.forget_last();
        undo.note(step(Some(id.clone()))).await?;
        Ok(id)
    }

    async fn replace(&self, cx: &Context, made: &Copied, at: &Attachment) -> Result<()> {
        self.detach(&made.original, at).await?;
        wait::volume_available(cx, &self.ec2, &made.original, OnCancel::Stop).await?;
        self.attach(&made.copy, at).await?;
        wait::volume_attached(cx, &self.ec2, &made.copy, &at.instance, OnCancel::Stop).await?;
        // A volume that is attached later stays when the instance goes, unless this is said.
        if at.delete_on_termination { self.delete_on_termination(at).await } else { Ok(()) }
    }

    async fn detach(&self, volume: &str, at: &Attachment) -> Result<()> {
        let request = self.ec2.detach_volume().volume_id(volume).instance_id(&at.instance).device(&at.device);
        let answer = request.send().await.context(|| format!("detach the volume `{volume}` from the instance `{}`", at.instance));
        let Err(e) = answer else { return Ok(()) };
        // When an answer is lost, the request is sent again, and refused because already in the requested state.
        if self.is_at(volume, at).await == Some(false) { Ok(()) } else { Err(e) }
    }

    async fn attach(&self, volume: &str, at: &Attachment) -> Result<()> {
        let mut backoff = Backoff::poll();
        let mut tries = 0;
        loop {
            let request = self.ec2.attach_volume().volume_id(volume).instance_id(&at.instance).device(&at.device);
            let attempted = || format!("attach the volume `{volume}` to the instance `{}` as `{}`", at.instance, at.device);
            let Err(e) = request.send().await.context(attempted) else { return Ok(()) };
            if self.is_at(volume, at).await == Some(true) {
                return Ok(());
            }
            // A device is free a little later than the volume that was there.
            let busy = matches!(&e, Error::Aws(e) if e.message.contains("already in use"));
            let busy = busy || e.code().is_some_and(aaws::is_throttling);
            tries += 1;
            if !busy || tries == TRIES {
                return Err(e);
            }
            backoff.pause().await;
        }
    }

    /// Whether a volume is attached to the instance, or is being attached; nothing when that cannot be seen.
    async fn is_at(&self, volume: &str, at: &Attachment) -> Option<bool> {
        let volume = lookup::one::<Volume>(&self.ec2, volume).await.ok()??;
        let here = volume.attachments().iter().find(|a| a.instance_id() == Some(at.instance.as_str()));
        let gone = [VolumeAttachmentState::Detached, VolumeAttachmentState::Detaching];
        Some(here.and_then(|a| a.state()).is_some_and(|state| !gone.contains(state)))
    }

    async fn delete_on_termination(&self, at: &Attachment) -> Result<()> {
        let ebs = EbsInstanceBlockDeviceSpecification::builder().delete_on_termination(at.delete_on_termination).build();
        let mapping = InstanceBlockDeviceMappingSpecification::builder().device_name(&at.device).ebs(ebs).build();
        let request = self.ec2.modify_instance_attribute().instance_id(&at.instance).block_device_mappings(mapping);
        let attempted = || format!("say of `{}` of the instance `{}` whether it is deleted with it", at.device, at.instance);
        request.send().await.context(attempted).map(drop)
    }

    /// The original where it was, whatever was done so far: looked at anew, because the answer of the last call may have been lost.
    async fn put_back(&self, cx: &Context, original: &str, copy: &str, at: &Attachment) -> Result<()> {
        if cx.is_marked(STUCK) {
            return Err(Error::Failed("its copy stays, because another original could not be attached again".into()));
        }
        // It may run with the copies, when it could not be stopped: what it writes to them is nowhere else.
        let state = self.state(&at.instance).await?;
        if state != Some(InstanceStateName::Stopped) {
            let state = state.as_ref().map_or("in no known state", InstanceStateName::as_str);
            return Err(Error::Failed(format!("the instance `{}` is {state}: no volume is taken from under it", at.instance)));
        }
        let attached = |volume: &Volume| {
            let here = |a: &&aws_sdk_ec2::types::VolumeAttachment| a.instance_id() == Some(at.instance.as_str());
            volume.attachments().iter().find(here).cloned().filter(|a| a.state() != Some(&VolumeAttachmentState::Detached))
        };
        if let Some(volume) = lookup::one::<Volume>(&self.ec2, copy).await?
            && let Some(a) = attached(&volume)
        {
            if a.state() != Some(&VolumeAttachmentState::Detaching) {
                self.detach(copy, at).await?;
            }
            wait::volume_available(cx, &self.ec2, copy, OnCancel::KeepGoing).await?;
        }
        let volume = lookup::one::<Volume>(&self.ec2, original).await?;
        let volume = volume.ok_or_else(|| Error::Failed(format!("the volume `{original}` cannot be seen")))?;
        let there = match attached(&volume) {
            Some(a) if a.state() == Some(&VolumeAttachmentState::Detaching) => None,
            other => other,
        };
        let delete_on_termination = match there {
            Some(a) => {
                wait::volume_attached(cx, &self.ec2, original, &at.instance, OnCancel::KeepGoing).await?;
                a.delete_on_termination().unwrap_or_default()
            }
            None => {
                wait::volume_available(cx, &self.ec2, original, OnCancel::KeepGoing).await?;
                if let Err(e) = self.attach(original, at).await {
                    cx.mark(STUCK);
                    // The copy holds the same: better that than an empty device.
                    let copied = self.attach(copy, at).await;
                    tracing::warn!(
                        "{copy} is {} of {}",
                        if copied.is_ok() { "back at a device" } else { "not back at a device" },
                        at.instance
                    );
                    return Err(e);
                }
                wait::volume_attached(cx, &self.ec2, original, &at.instance, OnCancel::KeepGoing).await?;
                false
            }
        };
        if delete_on_termination == at.delete_on_termination { Ok(()) } else { self.delete_on_termination(at).await }
    }

    /// Starts the instance, but not without its volumes.
    async fn start_again(&self, cx: &Context, instance: &str, devices: &[String]) -> Result<()> {
        let mut backoff = Backoff::poll();
        let mut looked = 1;
        let seen = loop {
            let seen = lookup::one::<Instance>(&self.ec2, instance).await?;
            let seen = seen.ok_or_else(|| Error::Failed(format!("the instance `{instance}` cannot be seen")))?;
            // One that is being detached is as good as gone.
            let stays = |m: &&InstanceBlockDeviceMapping| m.ebs().and_then(|e| e.status()) != Some(&AttachmentStatus::Detaching);
            let mapped: Vec<_> = seen.block_device_mappings().iter().filter(stays).filter_map(|m| m.device_name()).collect();
            match devices.iter().find(|d| !mapped.contains(&d.as_str())) {
                None => break seen,
                // What was attached a moment ago may be shown only later.
                Some(_) if looked < LOOKS => backoff.pause().await,
                Some(empty) => return Err(Error::Failed(format!("it is not started again, because its device `{empty}` is empty"))),
            }
            looked += 1;
        };
        if seen.state().and_then(|s| s.name()) == Some(&InstanceStateName::Stopping) {
            wait::instance_is(cx, &self.ec2, instance, InstanceStateName::Stopped, OnCancel::KeepGoing).await?;
        }
        // Asked for even if it seems to run: it may be shown as it was before the stop. One that runs is none the worse for it.
        match self.start(instance).await {
            Err(e) if e.code() == Some("IncorrectInstanceState") => {
                wait::instance_is(cx, &self.ec2, instance, InstanceStateName::Stopped, OnCancel::KeepGoing).await?;
                self.start(instance).await?;
            }
            started => started?,
        }
        wait::instance_is(cx, &self.ec2, instance, InstanceStateName::Running, OnCancel::KeepGoing).await
    }

    async fn marked(&self, volume: &str, mark: &str) -> Result<Vec<String>> {
        let filters = vec![lookup::filter("volume-id", [volume]), lookup::filter(&format!("tag:{MARK}"), [mark])];
        Snapshot::list(&self.ec2, filters).map_ok(|s| s.id().to_owned()).try_collect().await
    }

    async fn made_from(&self, snapshot: &str) -> Result<Vec<String>> {
        let filters = vec![lookup::filter("snapshot-id", [snapshot])];
        Volume::list(&self.ec2, filters).map_ok(|v| v.id().to_owned()).try_collect().await
    }
}
