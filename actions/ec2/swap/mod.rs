//! Replaces volumes by encrypted copies, and puts the originals back when a step fails.
//!
//! The order is what keeps the data: the instance is stopped first, and only then are its volumes copied, so that nothing is written that the
//! copies lack. Volumes are swapped one after another: at no time is more than one device empty. The original volumes are never deleted.
//!
//! `survey` is what is looked at before anything is touched, `plan` what would happen, `steps` what is done, `undo` how it is undone when a later step fails, and
//! `revert` how it is undone when it is done.

mod plan;
mod revert;
mod steps;
mod survey;
mod undo;

use aaws::{Code, Context, Error, Failure, OrPlan, Outcome, Result, Reversible, Status, When};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::Volume;
use futures::{TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::kms;
use super::lookup::{self, Resource};

pub use steps::SwapStep;
pub use survey::has_none_to_replace;

/// The key of the tag by which a snapshot of an unfinished swap is found when the answer of the call that made it was lost.
const MARK: &str = "aaws:swap";

/// The keys of the tags by which an original and its copy name each other: the first is on the original, the second on the copy.
const COPY_TAG: &str = "aaws:encrypted-copy";
const ORIGINAL_TAG: &str = "aaws:encrypted-original";

/// The rates at which EC2 loads a volume from its snapshot when one is asked for, in MiB/s (EC2 API reference, CreateVolume,
/// `VolumeInitializationRate`).
const SLOWEST_INITIALIZATION: u32 = 100;
const FASTEST_INITIALIZATION: u32 = 300;

/// When the instance of a volume is looked at.
pub const ATTACHED: When = When::Likely("a volume that has to be replaced is attached to an instance");

/// The calls of a replacement; `$volume` and `$instance` are the ARNs of the volumes and instances that the inputs name, or of any, and `$instances` is
/// the call that looks at instances.
macro_rules! calls {
    ($volume:literal, $instance:literal, $instances:expr) => {{
        use aaws::{Call, Grant, When};
        use $crate::actions::ec2::swap::ATTACHED;
        const REPLACING: When = When::Likely("a volume has to be replaced");
        const UNDONE: When = When::Rare("the run is undone by `aaws undo`");
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
            // It may be checked on the volume at the device, too.
            Call::write("ec2:ModifyInstanceAttribute", &[Grant::new("ec2:ModifyInstanceAttribute", &[$instance, ANY_VOLUME])])
                .when(When::Likely("a volume that has to be replaced is deleted with its instance")),
            Call::write("ec2:CreateTags", &[Grant::new("ec2:CreateTags", &[$volume])]).when(REPLACING),
            Call::write("ec2:DeleteTags", &[Grant::new("ec2:DeleteTags", &[$volume])]).when(UNDONE),
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
    "The original volumes are kept, detached, and billed: delete them when the copies have proved themselves. They have the tag `aaws:encrypted-copy`, whose value is \
     the id of the copy, which has the tag `aaws:encrypted-original`; `discover_tags` finds them by these.",
    "EC2 loads the data of a copy from its snapshot only as it is read, or in the background: until all is there, which takes hours for large volumes, reads are \
     slow. `volume_initialization_rate` loads it at a rate of its own, which is billed by the size of the snapshot.",
    "With `re_encrypt`, a volume that is encrypted with this very key is left as it is.",
    "Another process must not change the instance meanwhile. When this one is killed, so that it cannot undo, the log of the run names each step that it had \
     begun and what it had made; an instance whose root device is empty is refused.",
    "An instance that cannot be stopped, or a volume that cannot be detached, is a failure and not skipped: it was the one thing that was asked for.",
    "The permissions for KMS are for all keys of the region and the account, because an alias does not tell the key, and the keys of the originals are read, too.",
];

/// What a plan binds of what is replaced.
pub const BINDS: &[&str] = &[
    "the key of the copies",
    "whether the instance runs",
    "of each volume its state, size, type, IOPS, throughput, encryption, KMS key, and where it is attached",
];

/// What can be undone.
pub const REVERSIBLE: Reversible = Reversible::Yes(
    "`aaws undo` puts the originals back, which have nothing of what was written since: that is on the copies, which are kept, detached. The instance is stopped \
     for it, and started again.",
);

/// What is asked for, of all volumes alike.
#[derive(Debug, Clone)]
pub struct Options {
    /// The key of the copies as it was given: its id, ARN or alias.
    pub key: String,
    /// Replace also what is encrypted with another key.
    pub re_encrypt: bool,
    /// Stop instances of Auto Scaling groups, too.
    pub auto_scaling: bool,
    /// At how many MiB/s copies are loaded from their snapshots.
    pub initialization_rate: Option<u32>,
}

impl Options {
    /// What EC2 would refuse half way.
    pub fn check(&self) -> Result<()> {
        if self.key.trim().is_empty() {
            return Err(Error::field("kms_key_id", "`kms_key_id` names no key"));
        }
        match self.initialization_rate {
            Some(rate) if !(SLOWEST_INITIALIZATION..=FASTEST_INITIALIZATION).contains(&rate) => Err(Error::field(
                "volume_initialization_rate",
                format!("`volume_initialization_rate` is {SLOWEST_INITIALIZATION} to {FASTEST_INITIALIZATION} MiB/s, and not {rate}"),
            )),
            _ => Ok(()),
        }
    }

    /// The ARN of the key, once it is known that EBS can use it.
    async fn arn(&self, cx: &Context) -> Result<String> {
        lookup::cancellable(cx, kms::check(cx, cx.region(), &self.key)).await
    }
}

/// Replaces the volumes of one job; nothing printed of it (`None`) is a failure that the log and the report explain.
pub async fn replace(cx: &Context, ec2: Client, options: &Options, job: Job) -> Result<OrPlan<Option<Vec<Copied>>>> {
    let key = match (&job.precheck, &job.key) {
        (None, Some(key)) => key.clone(),
        (None, None) => options.arn(cx).await?,
        // Nothing will be encrypted with it, so nothing has to be known of it.
        (Some(_), _) => options.key.clone(),
    };
    let swap = steps::Swap {
        ec2,
        key,
        initialization_rate: options.initialization_rate.and_then(|rate| i32::try_from(rate).ok()),
        stops: job.stops(),
    };
    let settled = cx.change_in_steps(stream::iter([Ok(job)]), swap).await?.results();
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
    /// ARN of the key, when it had to be known before.
    key: Option<String>,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    instance: String,
    device: String,
    delete_on_termination: bool,
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
        Job::settled(id, Outcome::Failed(Failure::permanent(Code::Refused, why)))
    }

    /// A tag of the instance or of a volume protects it.
    pub fn protected(id: String, why: String) -> Self {
        Job::settled(id, Outcome::skipped_as(Code::Protected, why))
    }

    /// There is nothing of this id.
    pub fn not_found<T: Resource>(id: String, ignored: bool) -> Self {
        Job::settled(id, Outcome::not_found(ignored, lookup::none_of::<T>()))
    }

    fn settled(id: String, precheck: Outcome<Vec<Copied>>) -> Self {
        Job { id, host: None, originals: Vec::new(), warnings: Vec::new(), key: None, precheck: Some(precheck) }
    }

    /// Whether an instance that runs would be stopped.
    fn stops(&self) -> bool {
        self.precheck.is_none() && self.host.as_ref().is_some_and(|host| host.ran)
    }
}
