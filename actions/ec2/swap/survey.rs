//! What is looked at before anything is touched: what could go wrong half way, and what is lost.

use std::collections::HashMap;

use aaws::{Context, ErrorContext, Result};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    DeviceType, EbsEncryptionSupport, Instance, InstanceAttributeName, InstanceLifecycleType, InstanceStateName, ProductCode,
    ProductCodeValues, Volume, VolumeAttachmentState, VolumeState,
};

use super::super::lookup::Resource;
use super::super::{addresses, kms, lookup, tags};
use super::{Attachment, Host, Job, Options, Original};

/// Volumes that are to be replaced, and those that need not be.
struct Sorted {
    open: Vec<Volume>,
    /// Whether one is left as it is because it has the key already.
    same_key: bool,
    /// ARN of the key, when it had to be known.
    key: Option<String>,
}

impl Job {
    /// Those of the volumes that have to be replaced, once everything is looked at that could go wrong half way. `they_are` begins the sentence of why
    /// none has to be: "it is".
    pub async fn of(cx: &Context, ec2: &Client, id: String, they_are: &str, volumes: Vec<Volume>, options: &Options) -> Result<Self> {
        let Sorted { open, same_key, key } = sorted(cx, volumes, options).await?;
        if open.is_empty() {
            let how = if same_key { "with this key already" } else { "already" };
            return Ok(Job::unchanged(id, format!("{they_are} encrypted {how}")));
        }
        let job = Job::survey(cx, ec2, id, open, options.auto_scaling).await?;
        Ok(Job { key, ..job })
    }

    /// Looks at everything that could go wrong half way, before anything is touched.
    async fn survey(cx: &Context, ec2: &Client, id: String, volumes: Vec<Volume>, auto_scaling: bool) -> Result<Self> {
        let protected = |v: &Volume| Some(format!("the volume `{}`: {}", v.id(), cx.protection(&tags::pairs(v.tags()))?));
        if let Some(why) = volumes.iter().find_map(protected) {
            return Ok(Job::protected(id, why));
        }
        let mut originals = Vec::with_capacity(volumes.len());
        for volume in volumes {
            match original(volume) {
                Ok(original) => originals.push(original),
                Err(why) => return Ok(Job::refused(id, why)),
            }
        }
        let Some(attachment) = originals.iter().find_map(|o| o.attachment.as_ref()) else {
            return Ok(Job { id, host: None, originals, warnings: Vec::new(), key: None, precheck: None });
        };
        let Some(instance) = lookup::one::<Instance>(ec2, &attachment.instance).await? else {
            return Ok(Job::refused(id, format!("the instance `{}`, to which it is attached, cannot be seen", attachment.instance)));
        };
        if let Some(why) = cx.protection(&tags::pairs(instance.tags())) {
            return Ok(Job::protected(id, format!("the instance `{}`: {why}", instance.id())));
        }
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
        let launched = instance.launch_time().copied();
        Ok(Job { id, host: Some(Host { id: instance.id().to_owned(), ran, launched }), originals, warnings, key: None, precheck: None })
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

/// Tells the volumes that have to be replaced from those that are encrypted as they are to be.
async fn sorted(cx: &Context, volumes: Vec<Volume>, options: &Options) -> Result<Sorted> {
    let mut sorted = Sorted { open: Vec::new(), same_key: false, key: None };
    // Keys that were looked at, as the volumes name them.
    let mut known: HashMap<String, bool> = HashMap::new();
    for volume in volumes {
        if volume.encrypted() != Some(true) {
            sorted.open.push(volume);
            continue;
        }
        if !options.re_encrypt {
            continue;
        }
        let wanted = match sorted.key.take() {
            Some(key) => key,
            None => options.arn(cx).await?,
        };
        let has = volume.kms_key_id().unwrap_or_default().to_owned();
        let same = match known.get(&has) {
            Some(same) => *same,
            None => {
                let same = lookup::cancellable(cx, kms::is_same(cx, &has, &wanted)).await?;
                known.insert(has, same);
                same
            }
        };
        sorted.key = Some(wanted);
        if same {
            sorted.same_key = true;
        } else {
            sorted.open.push(volume);
        }
    }
    Ok(sorted)
}
