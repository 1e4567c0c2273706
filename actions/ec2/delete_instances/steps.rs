//! What is done, one step after another: stopped, imaged, terminated; and then what belongs to the instances.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use aaws::{Backoff, Code, Context, Dependency, Error, ErrorContext, Failure, OnCancel, Outcome, Result, Step, Steps, Undo, async_trait};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{AttributeBooleanValue, Image, Instance, InstanceStateName, Volume, VolumeState};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::plan::{self, Dependent, DependentKind, Machine, NOT_PERMITTED, Options, Protection, Target, list};
use crate::actions::ec2::coalesce::{self, Describer, Orders};
use crate::actions::ec2::wait::{self, PollState};
use crate::actions::ec2::{images, related, states, tags, volumes};

/// How often a volume that goes with its instance is looked at before it is deleted like any other.
const GOING: u32 = 8;

/// How often an instance is told to stop or terminate after its protection was lifted: EC2 goes on seeing that for seconds ("Eventual consistency", EC2
/// API reference). With the waits between them, for a quarter of a minute.
const LIFTED_TRIES: u32 = 8;

/// Something that was done to an instance before it was terminated.
#[derive(Debug, Serialize, Deserialize)]
pub enum TerminateStep {
    /// A protection was lifted.
    Lift { instance: String, protection: Protection },
    /// A running instance was stopped.
    Stop { instance: String },
    /// An image was, or may have been, made; without its id it is found by its name.
    Image { instance: String, name: String, image: Option<String> },
    /// It was, or may have been, told to terminate: then there is no way back, and its final image is all that is left of it.
    Terminate { instance: String },
}

impl TerminateStep {
    /// The instance that it is about.
    pub(super) fn instance(&self) -> &str {
        match self {
            TerminateStep::Lift { instance, .. }
            | TerminateStep::Stop { instance }
            | TerminateStep::Image { instance, .. }
            | TerminateStep::Terminate { instance } => instance,
        }
    }
}

impl fmt::Display for TerminateStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TerminateStep::Lift { instance, protection: Protection::Termination } => {
                write!(f, "lift the protection of {instance} against being terminated")
            }
            TerminateStep::Lift { instance, protection: Protection::Stop } => {
                write!(f, "lift the protection of {instance} against being stopped")
            }
            TerminateStep::Stop { instance } => write!(f, "stop {instance}"),
            TerminateStep::Image { instance, image: Some(image), .. } => write!(f, "make the image {image} of {instance}"),
            TerminateStep::Image { instance, name, image: None } => write!(f, "make an image of {instance} (named {name})"),
            TerminateStep::Terminate { instance } => write!(f, "terminate {instance}"),
        }
    }
}

/// How instances are terminated. What is looked at, and what instances are told, goes out together for all that are under way.
pub struct Terminate {
    pub(super) ec2: Client,
    options: Options,
    pub(super) instances: Describer<Instance>,
    volumes: Describer<Volume>,
    images: Describer<Image>,
    pub(super) starts: Orders,
    stops: Orders,
    terminations: Orders,
}

#[async_trait]
impl Steps for Terminate {
    type Item = Target;
    type Done = ();
    type Step = TerminateStep;

    fn id(&self, target: &Target) -> String {
        match target {
            Target::Machine(machine) => machine.id.clone(),
            Target::Dependent(dependent) => dependent.id.clone(),
        }
    }

    fn summary(&self) -> String {
        if self.options.final_image {
            "terminate, each after an image of it, and delete for good".into()
        } else {
            "terminate, and delete for good".into()
        }
    }

    fn plan(&self, target: &Target) -> Option<String> {
        Some(match target {
            Target::Machine(machine) => machine.plan(self.options),
            Target::Dependent(d) if d.goes_with => format!("it goes with {}", list(&d.owners)),
            Target::Dependent(d) => format!("it would be deleted when {} is terminated", list(&d.owners)),
        })
    }

    fn precheck(&self, target: &Target) -> Option<Outcome> {
        match target {
            Target::Machine(machine) => machine.precheck.clone(),
            Target::Dependent(dependent) => dependent.precheck.clone(),
        }
    }

    fn kind(&self, target: &Target) -> Option<&'static str> {
        Some(match target {
            Target::Machine(_) => "instance",
            Target::Dependent(d) => d.kind.name(),
        })
    }

    fn state(&self, target: &Target) -> Option<Value> {
        match target {
            Target::Machine(machine) => machine.found.as_deref().map(states::instance),
            Target::Dependent(dependent) => Some(json!({ "instances": dependent.owners, "images": dependent.images })),
        }
    }

    fn is_ordered(&self) -> bool {
        true
    }

    /// Instances stand before what goes with them, and images before their snapshots.
    fn after(&self, target: &Target) -> Vec<Dependency> {
        let Target::Dependent(dependent) = target else { return Vec::new() };
        let owner = |id: &String| Dependency::or_skip(id, format!("kept: {id} was not terminated"));
        let image = |id: &String| Dependency::or_skip(id, format!("kept: it is behind {id}, which is still there"));
        dependent.owners.iter().map(owner).chain(dependent.images.iter().map(image)).collect()
    }

    async fn run(&self, cx: &Context, target: &Target, undo: &mut Undo<TerminateStep>) -> Result<Outcome> {
        match target {
            Target::Machine(machine) => self.terminate(cx, machine, undo).await,
            Target::Dependent(dependent) => self.delete(cx, dependent).await,
        }
    }
}

#[async_trait]
impl Step for TerminateStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let terminate = Terminate::new(aaws::client!(cx, aws_sdk_ec2), Options::default());
        match self {
            TerminateStep::Lift { instance, protection } => terminate.protect(instance, *protection, true).await,
            TerminateStep::Stop { instance } => terminate.start_again(cx, instance).await,
            TerminateStep::Image { instance, name, image } => {
                terminate.stays(instance).await?;
                terminate.remove_image(cx, instance, name, image.as_deref()).await
            }
            TerminateStep::Terminate { instance } => terminate.is_not_terminated(instance).await,
        }
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        Terminate::new(aaws::client!(cx, aws_sdk_ec2), Options::default()).look(cx, self).await
    }

    async fn revert(&self, cx: &Context) -> Result<Outcome> {
        self.undo(cx).await?;
        Ok(match self {
            TerminateStep::Terminate { instance } => Outcome::Done((), Some(format!("{instance} was not terminated"))),
            _ => Outcome::done(()),
        })
    }

    fn undoing_disrupts(&self) -> bool {
        matches!(self, TerminateStep::Image { .. })
    }
}

impl Terminate {
    /// For one context: what settles a run that was cancelled takes a client of its own.
    pub fn new(ec2: Client, options: Options) -> Self {
        Terminate {
            options,
            instances: coalesce::describer(&ec2),
            volumes: coalesce::describer(&ec2),
            images: coalesce::describer(&ec2),
            starts: coalesce::starts(&ec2),
            stops: coalesce::stops(&ec2),
            terminations: coalesce::terminations(&ec2),
            ec2,
        }
    }

    async fn terminate(&self, cx: &Context, machine: &Machine, undo: &mut Undo<TerminateStep>) -> Result<Outcome> {
        let id = &machine.id;
        machine.found.as_deref().map(plan::warnings).unwrap_or_default().iter().for_each(|w| tracing::warn!("`{id}`: {w}"));
        if machine.stop_protected {
            undo.note(TerminateStep::Lift { instance: id.clone(), protection: Protection::Stop }).await?;
            self.protect(id, Protection::Stop, false).await?;
        }
        let mut image = None;
        if self.options.final_image {
            image = Some(self.image(cx, machine, undo).await?);
        }
        if machine.protected {
            undo.note(TerminateStep::Lift { instance: id.clone(), protection: Protection::Termination }).await?;
            self.protect(id, Protection::Termination, false).await?;
        }
        let kept = image.map(|image| format!("its final image is {image}"));
        // Whoever finds it begun has to know that what was done before it may have no way back. Without any of that there is nothing to be undone.
        let has_steps = self.options.final_image || machine.protected || machine.stop_protected;
        if has_steps {
            undo.note(TerminateStep::Terminate { instance: id.clone() }).await?;
        }
        if let Err(e) = told(cx, &self.terminations, id, machine.protected || machine.stop_protected).await {
            match self.doubt(&e, id).await {
                // What EC2 says of a protection is what would have been said before, had it been looked at.
                Doubt::Refused => {
                    if has_steps {
                        undo.forget_last();
                    }
                    return plan::refused_for_protection(&e).filter(|_| !self.options.lift).map(Outcome::Failed).ok_or(e);
                }
                Doubt::Going => {}
                Doubt::Unknown(why) => {
                    // It may yet go: then its image is all that is left of it, and stays. All else is put back.
                    undo.clear();
                    for step in self.changed(machine) {
                        undo.note(step).await?;
                    }
                    return Ok(failed(Code::Unknown, format!("{e}; {why}"), kept));
                }
            }
        }
        // It cannot be brought back from here on.
        undo.clear();
        if let Err(e) = wait::instance_of(cx, &self.instances, id, InstanceStateName::Terminated, OnCancel::Stop).await {
            return Ok(failed(Code::NotAwaited, format!("its termination was begun and goes on: {e}"), kept));
        }
        Ok(Outcome::Done((), kept))
    }

    /// What was done to an instance before it was to be terminated, but for its image.
    fn changed(&self, machine: &Machine) -> Vec<TerminateStep> {
        let lift = |protection| TerminateStep::Lift { instance: machine.id.clone(), protection };
        let mut steps = Vec::new();
        if machine.stop_protected {
            steps.push(lift(Protection::Stop));
        }
        if self.options.final_image && machine.ran {
            steps.push(TerminateStep::Stop { instance: machine.id.clone() });
        }
        if machine.protected {
            steps.push(lift(Protection::Termination));
        }
        steps
    }

    /// What became of a request to terminate that was answered with an error: the answer may have been lost.
    async fn doubt(&self, error: &Error, id: &str) -> Doubt {
        let refused = !error.is_ambiguous();
        let is_going = |seen: &Option<Instance>| {
            let state = seen.as_ref().and_then(|i| i.state()).and_then(|s| s.name());
            matches!(state, None | Some(InstanceStateName::ShuttingDown | InstanceStateName::Terminated))
        };
        let look = || self.instances.get(id);
        match if refused { look().await } else { wait::poll_until_visible(look, is_going).await } {
            Ok(seen) if is_going(&seen) => Doubt::Going,
            // It was clearly refused, and an error of a look makes no doubt of that.
            _ if refused => Doubt::Refused,
            Ok(_) => Doubt::Unknown("it is still there, and may be terminated a little later".into()),
            Err(e) => Doubt::Unknown(format!("whether it is terminated cannot be seen: {e}")),
        }
    }

    /// Makes an image of an instance that is stopped for it, and awaits it.
    async fn image(&self, cx: &Context, machine: &Machine, undo: &mut Undo<TerminateStep>) -> Result<String> {
        let (id, ec2) = (&machine.id, &self.ec2);
        if machine.ran {
            undo.note(TerminateStep::Stop { instance: id.clone() }).await?;
            told(cx, &self.stops, id, machine.stop_protected).await?;
        }
        if machine.ran || machine.stopping {
            wait::instance_of(cx, &self.instances, id, InstanceStateName::Stopped, OnCancel::Stop).await?;
        }
        let name = images::new_name(id);
        let step = |image| TerminateStep::Image { instance: id.clone(), name: name.clone(), image };
        undo.note(step(None)).await?;
        let tags = machine.found.as_deref().map(|i| tags::own(i.tags())).unwrap_or_default();
        let description = format!("{id} as it was before it was terminated, made by aaws");
        let image = images::begin(cx, ec2, id, &name, description, true, tags).await?;
        undo.replace_last(step(Some(image.clone()))).await?;
        match wait::image_of(cx, &self.images, &image, OnCancel::Stop).await {
            Err(Error::Failed(why)) => Err(Error::Failed(format!("its final image is not available: {why}"))),
            awaited => awaited.map(|()| image),
        }
    }

    pub(super) async fn protect(&self, instance: &str, protection: Protection, on: bool) -> Result<()> {
        let value = AttributeBooleanValue::builder().value(on).build();
        let request = self.ec2.modify_instance_attribute().instance_id(instance);
        let (request, what) = match protection {
            Protection::Termination => (request.disable_api_termination(value), "terminated"),
            Protection::Stop => (request.disable_api_stop(value), "stopped"),
        };
        let attempted =
            || format!("{} the protection of the instance `{instance}` against being {what}", if on { "restore" } else { "lift" });
        request.send().await.context(attempted).map(drop)
    }

    async fn delete(&self, cx: &Context, dependent: &Dependent) -> Result<Outcome> {
        let (ec2, id) = (&self.ec2, dependent.id.as_str());
        match dependent.kind {
            DependentKind::Image => Ok(related::deregister(ec2, id).await),
            DependentKind::Snapshot if dependent.images.is_empty() => Ok(related::delete_snapshot(ec2, id).await),
            DependentKind::Snapshot => Ok(related::delete_freed_snapshot(cx, ec2, id, OnCancel::Stop).await),
            DependentKind::Volume => self.delete_volume(cx, dependent).await,
        }
    }

    async fn delete_volume(&self, cx: &Context, volume: &Dependent) -> Result<Outcome> {
        let id = volume.id.as_str();
        let looks = AtomicU32::new(0);
        let free = Mutex::new(Free::Now);
        // It is let go, or deleted, a while after its instance is terminated.
        let awaited = wait::for_one_of::<Volume>(cx, &self.volumes, id, OnCancel::Stop, |seen| {
            let look = looks.fetch_add(1, Ordering::Relaxed);
            let found = match seen.map(|v| (v, v.state())) {
                None | Some((_, Some(VolumeState::Deleting | VolumeState::Deleted))) => Some(Free::Gone),
                Some((_, Some(VolumeState::Available | VolumeState::Error))) if !volume.goes_with || look >= GOING => Some(Free::Now),
                // Somebody took it as soon as it was free.
                Some((v, _)) => v.attachments().iter().filter_map(|a| a.instance_id()).find(|i| !volume.owners.contains(*i)).map(Free::at),
            };
            match found {
                Some(found) => {
                    *free.lock().unwrap_or_else(PoisonError::into_inner) = found;
                    PollState::Ready
                }
                None => PollState::Pending("still in use".into()),
            }
        });
        if let Err(e) = awaited.await {
            return match e {
                Error::Failed(why) => Ok(failed(Code::NotAwaited, why, None)),
                e => Err(e),
            };
        }
        match free.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Free::Gone if volume.goes_with => return Ok(Outcome::Unchanged("it went with its instance".into())),
            Free::Gone => return Ok(Outcome::Unchanged("it does not exist any more".into())),
            Free::At(instance) => return Ok(Outcome::skipped(format!("kept: it is attached to {instance} now"))),
            Free::Now => {}
        }
        Ok(match volumes::delete(&self.ec2, id).await? {
            true => Outcome::done(()),
            false => Outcome::Unchanged("it does not exist any more".into()),
        })
    }
}

/// Tells an instance something, together with all others that are told it. One whose protection was `lifted` a moment ago may be taken for protected
/// for a while.
async fn told(cx: &Context, orders: &Orders, id: &str, lifted: bool) -> Result<()> {
    let mut backoff = Backoff::poll();
    let mut tried = 1;
    loop {
        // The next items are begun meanwhile, and share the request.
        cx.release_slot();
        let error = match orders.get(id).await {
            Ok(()) => return Ok(()),
            Err(e) => e,
        };
        let still_seen = lifted && error.code() == Some(NOT_PERMITTED) && tried < LIFTED_TRIES;
        if !still_seen || !backoff.wait(cx).await {
            return Err(error);
        }
        tracing::debug!("`{id}`: {error}; its protection was lifted, and it is told again");
        tried += 1;
    }
}

/// Whether a volume of an instance that is terminated can be deleted.
enum Free {
    /// It is not there any more.
    Gone,
    Now,
    /// It is attached to another instance.
    At(String),
}

impl Free {
    fn at(instance: &str) -> Self {
        Free::At(instance.to_owned())
    }
}

/// What is known of a request that was answered with an error.
enum Doubt {
    Refused,
    Going,
    Unknown(String),
}

fn failed(code: Code, message: String, kept: Option<String>) -> Outcome {
    Outcome::Failed(Failure::permanent(code, kept.into_iter().fold(message, |message, kept| format!("{message}; {kept}"))))
}
