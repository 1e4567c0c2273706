//! What would happen to instances, and to what belongs to them: refusals, warnings, and what stays with what stays.

use std::collections::BTreeSet;

use aaws::{Code, Error, Failure, Outcome};
use aws_sdk_ec2::types::{DeviceType, Instance, InstanceLifecycleType};
use serde::{Deserialize, Serialize};

use crate::actions::ec2::addresses::{self, Owner};
use crate::actions::ec2::related::Overrides;
use crate::actions::ec2::tags;

/// Tags that say what launched an instance, and may launch another: the tag, and what its value is.
const LAUNCHERS: &[(&str, &str)] = &[
    ("aws:ec2:fleet-id", "the EC2 Fleet"),
    ("aws:ec2spot:fleet-request-id", "the Spot Fleet request"),
    ("aws:elasticmapreduce:job-flow-id", "the EMR cluster"),
    ("aws:cloudformation:stack-name", "the CloudFormation stack"),
    ("eks:nodegroup-name", "the EKS node group"),
    ("elasticbeanstalk:environment-name", "the Elastic Beanstalk environment"),
    ("karpenter.sh/nodepool", "the Karpenter node pool"),
];

/// What was asked for beside the instances.
#[derive(Debug, Default, Clone, Copy)]
pub struct Options {
    pub final_image: bool,
    /// Whether protections are lifted.
    pub lift: bool,
    pub auto_scaling: bool,
    pub overrides: Overrides,
    pub ignore_not_found: bool,
}

/// An instance to terminate.
pub struct Machine {
    pub id: String,
    /// None when there is no such instance, it is gone already, or the id was given before.
    pub found: Option<Box<Instance>>,
    pub ran: bool,
    /// Whether it was being stopped.
    pub stopping: bool,
    /// Whether it is protected against being terminated, as far as that was looked at.
    pub protected: bool,
    /// Whether it is protected against being stopped, as far as that was looked at.
    pub stop_protected: bool,
    pub precheck: Option<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DependentKind {
    Volume,
    Image,
    Snapshot,
}

/// Something that goes when its instances are gone.
pub struct Dependent {
    pub kind: DependentKind,
    pub id: String,
    /// The instances that have to be terminated before.
    pub owners: BTreeSet<String>,
    /// The images that have to be deregistered before: those that a snapshot is behind.
    pub images: BTreeSet<String>,
    /// Whether a volume is deleted by EC2 itself, with its instance.
    pub goes_with: bool,
    /// What becomes of it whatever becomes of them.
    pub precheck: Option<Outcome>,
}

impl Dependent {
    /// Why it stays when all stays but these instances and images, and some of what stays because it is protected.
    fn stays_with(&self, instances: &BTreeSet<String>, images: &BTreeSet<String>, protected: &BTreeSet<String>) -> Option<Outcome> {
        if let Some(kept) = self.owners.iter().chain(&self.images).find(|kept| protected.contains(*kept)) {
            return Some(Outcome::skipped_as(Code::Protected, format!("kept: {kept} is protected")));
        }
        if self.owners.is_empty() {
            return Some(Outcome::skipped("kept: EC2 does not tell which instance it belongs to"));
        }
        if let Some(owner) = self.owners.iter().find(|owner| !instances.contains(*owner)) {
            return Some(Outcome::skipped(format!("kept: {owner} is not terminated")));
        }
        let image = self.images.iter().find(|image| !images.contains(*image))?;
        Some(Outcome::skipped(format!("kept: it is behind {image}, which stays")))
    }
}

/// An instance is not terminated that takes a protected volume with it.
pub fn spare_for_their_volumes(machines: &mut [Machine], dependents: &[Dependent]) {
    for volume in dependents.iter().filter(|d| d.goes_with && tags::is_protected(d.precheck.as_ref())) {
        for machine in machines.iter_mut().filter(|m| m.found.is_some() && volume.owners.contains(&m.id)) {
            let why = format!("its volume {} would go with it, and is protected", volume.id);
            machine.precheck = Some(Outcome::skipped_as(Code::Protected, why));
        }
    }
}

/// What goes with something that stays, stays: what goes with something protected is protected, too. Images come before their snapshots.
pub fn stay_with_what_stays(dependents: &mut [Dependent], instances: &BTreeSet<String>, mut protected: BTreeSet<String>) {
    let mut images = BTreeSet::new();
    for dependent in dependents {
        if dependent.precheck.is_none() {
            dependent.precheck = dependent.stays_with(instances, &images, &protected);
        }
        if dependent.kind == DependentKind::Image && tags::is_protected(dependent.precheck.as_ref()) {
            protected.insert(dependent.id.clone());
        }
        if dependent.kind == DependentKind::Image && dependent.precheck.is_none() {
            images.insert(dependent.id.clone());
        }
    }
}

pub enum Target {
    Machine(Box<Machine>),
    Dependent(Dependent),
}

/// Why an instance is not to be terminated.
pub fn refusal(instance: &Instance, options: Options, ran: bool, protected: bool, stop_protected: bool) -> Option<Failure> {
    if let Some(group) = tags::value(instance.tags(), tags::AUTO_SCALING_GROUP) {
        if !options.auto_scaling {
            let why =
                format!("it belongs to the Auto Scaling group `{group}`, which launches another: give `auto_scaling` if that is meant");
            return Some(Failure::permanent("AutoScaling", why));
        }
        // A stopped instance counts as unhealthy, and the group terminates it, perhaps before there is an image.
        if options.final_image && ran {
            let why =
                format!("the Auto Scaling group `{group}` terminates it as soon as it is stopped for the final image: detach it first");
            return Some(Failure::permanent("AutoScaling", why));
        }
    }
    if instance.operator().and_then(|o| o.managed()) == Some(true) {
        let who = instance.operator().and_then(|o| o.principal()).unwrap_or("an AWS service");
        return Some(Failure::permanent("Managed", format!("it is managed by {who}: delete it there")));
    }
    if protected && !options.lift {
        return Some(protected_failure(Protection::Termination));
    }
    if stop_protected && !options.lift {
        return Some(protected_failure(Protection::Stop));
    }
    if options.final_image && instance.root_device_type() == Some(&DeviceType::InstanceStore) {
        let why = "its root is an instance store: no image of it can be made, so it is not terminated";
        return Some(Failure::permanent("Unsupported", why));
    }
    None
}

/// What an instance is protected against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protection {
    Termination,
    Stop,
}

fn protected_failure(protection: Protection) -> Failure {
    let why = match protection {
        Protection::Termination => "it is protected against being terminated: give `disable_protections` to lift that",
        Protection::Stop => {
            "it is protected against being stopped, and so against being terminated: give `disable_protections` to lift that"
        }
    };
    Failure::permanent(Code::Protected, why)
}

/// Whether EC2 refused because of a protection, which it names by its attribute: "Modify its 'disableApiTermination' instance attribute".
pub fn refused_for_protection(error: &Error) -> Option<Failure> {
    let Error::Aws(refusal) = error else { return None };
    if refusal.code != NOT_PERMITTED {
        return None;
    }
    let protections = [("disableApiTermination", Protection::Termination), ("disableApiStop", Protection::Stop)];
    let named = protections.into_iter().find(|(attribute, _)| refusal.message.contains(*attribute));
    named.map(|(_, protection)| protected_failure(protection))
}

/// EC2's code for what a protection forbids.
pub const NOT_PERMITTED: &str = "OperationNotPermitted";

impl DependentKind {
    pub fn name(self) -> &'static str {
        match self {
            DependentKind::Volume => "volume",
            DependentKind::Image => "image",
            DependentKind::Snapshot => "snapshot",
        }
    }
}

/// Ids for a sentence.
pub fn list(ids: &BTreeSet<String>) -> String {
    ids.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

impl Machine {
    /// What a dry run says of it.
    pub fn plan(&self, options: Options) -> String {
        let mut parts = Vec::new();
        if options.final_image {
            parts.push(if self.ran { "it would be stopped, and an image of it made" } else { "an image of it would be made" }.to_owned());
            parts.extend(self.found.as_deref().filter(|_| self.ran).and_then(addresses::lost_by_a_stop));
        }
        if self.protected || self.stop_protected {
            parts.push("its protection would be lifted".into());
        }
        parts.push("it would be terminated".into());
        parts.extend(self.found.as_deref().map(warnings).unwrap_or_default());
        parts.join("; ")
    }
}

/// What stays, or comes back, when the instance is gone.
pub fn warnings(instance: &Instance) -> Vec<String> {
    let mut warnings = Vec::new();
    if instance.instance_lifecycle() == Some(&InstanceLifecycleType::Spot) {
        let request = instance.spot_instance_request_id().unwrap_or("unknown");
        warnings.push(format!("it is a Spot Instance (of the request {request}): a persistent request launches another"));
    }
    let launchers = LAUNCHERS.iter().filter_map(|(tag, what)| Some((what, tags::value(instance.tags(), tag)?)));
    warnings.extend(launchers.map(|(what, id)| format!("{what} `{id}` launched it, and may launch another")));
    let elastic = addresses::public(instance).into_iter().filter(|(_, owner)| *owner == Owner::Account);
    warnings.extend(elastic.map(|(ip, _)| format!("the elastic address {ip} is not released, and goes on being billed")));
    warnings
}
