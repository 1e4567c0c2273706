//! Starting and stopping instances: each by itself, many in one request, and awaited; and how that is undone.

use std::fmt;

use aaws::{Call, Code, Context, Error, Failure, Grant, OnCancel, Outcome, Result, Step, When, async_trait, left_alone};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Instance, InstanceStateName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::coalesce::{self, Describer, Orders};
use super::{lookup, restart, tags, wait};

const INSTANCES: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:instance/${instance_ids}"];

pub const STOP: Call = Call::write("ec2:StopInstances", &[Grant::new("ec2:StopInstances", INSTANCES)]);

pub const START: Call = Call::write(
    "ec2:StartInstances",
    &[
        Grant::new("ec2:StartInstances", INSTANCES),
        // EBS attaches such volumes in the caller's name (EBS user guide, "Amazon EBS encryption requirements").
        Grant::new("kms:CreateGrant", &["arn:${Partition}:kms:${Region}:${Account}:key/*"])
            .when(When::Likely("a volume of the instance is encrypted with a customer managed key"))
            .condition("Bool", "kms:GrantIsForAWSResource", "true"),
    ],
);

pub const IS_PROTECTED: Call = Call::read("ec2:DescribeInstanceAttribute", &[Grant::new("ec2:DescribeInstanceAttribute", INSTANCES)]);

/// What [`state`] binds.
pub const BINDS: &[&str] = &["its state"];

/// What a plan binds of an instance that is started or stopped.
pub fn state(instance: &Instance) -> Value {
    json!({ "state": state_of(instance).map(InstanceStateName::as_str) })
}

/// The state of an instance, as far as EC2 tells it.
pub fn state_of(instance: &Instance) -> Option<&InstanceStateName> {
    instance.state().and_then(|state| state.name())
}

/// What is said of one that a service manages.
pub fn managed(instance: &Instance, does: &str) -> Option<Failure> {
    let operator = instance.operator().filter(|operator| operator.managed() == Some(true))?;
    let who = operator.principal().unwrap_or("an AWS service");
    Some(Failure::permanent("Managed", format!("it is managed by {who}: {does} it there")))
}

/// What is said of one that is protected against being stopped.
pub fn protected() -> Failure {
    Failure::permanent(Code::Protected, "it is protected against being stopped: switch its attribute `disableApiStop` off first")
}

/// Whether EC2 refused because of that protection, which it names by its attribute.
fn refused_for_protection(error: &Error) -> Option<Failure> {
    let Error::Aws(refusal) = error else { return None };
    (refusal.code == "OperationNotPermitted" && refusal.message.contains("disableApiStop")).then(protected)
}

/// Whether instances are started or stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// From `stopped` over `pending` to `running`.
    Start,
    /// From `running` over `stopping` to `stopped`.
    Stop,
}

impl Way {
    fn other(self) -> Self {
        match self {
            Way::Start => Way::Stop,
            Way::Stop => Way::Start,
        }
    }

    /// The state at its end.
    fn end(self) -> InstanceStateName {
        match self {
            Way::Start => InstanceStateName::Running,
            Way::Stop => InstanceStateName::Stopped,
        }
    }

    /// The state between.
    fn between(self) -> InstanceStateName {
        match self {
            Way::Start => InstanceStateName::Pending,
            Way::Stop => InstanceStateName::Stopping,
        }
    }

    /// Of one that is in the state between.
    fn going_on(self) -> &'static str {
        match self {
            Way::Start => "being started",
            Way::Stop => "being stopped",
        }
    }

    /// Whether an instance in this state is at the end, or on its way there.
    fn leads_to(self, state: Option<&InstanceStateName>) -> bool {
        state.is_some_and(|state| *state == self.end() || *state == self.between())
    }
}

/// How instances are started or stopped. What is looked at, and what they are told, goes out together for all that are under way.
pub struct Switch {
    way: Way,
    looks: Describer<Instance>,
    orders: Orders,
    wait: bool,
    /// Whether one that is on its way already is told all the same.
    insists: bool,
}

impl Switch {
    /// Starts, and awaits that each runs if `wait`.
    pub fn start(ec2: &Client, wait: bool) -> Self {
        Switch { way: Way::Start, looks: coalesce::describer(ec2), orders: coalesce::starts(ec2), wait, insists: false }
    }

    /// Stops, and awaits that each is stopped if `wait`. One that is being stopped already is forced to, where that is asked for.
    pub fn stop(ec2: &Client, options: coalesce::StopOptions, wait: bool) -> Self {
        let orders = coalesce::stops_with(ec2, options);
        Switch { way: Way::Stop, looks: coalesce::describer(ec2), orders, wait, insists: options.force }
    }

    /// What becomes of an instance that is told nothing, because of its state.
    pub fn settled(&self, instance: &Instance) -> Option<Outcome<String>> {
        let state = state_of(instance);
        match state {
            Some(state) if *state == self.way.end() => Some(Outcome::Unchanged(format!("it is {state} already"))),
            Some(_) if self.is_going_already(instance) && !self.wait => {
                Some(Outcome::Unchanged(format!("it is {} already", self.way.going_on())))
            }
            Some(InstanceStateName::Pending | InstanceStateName::Running | InstanceStateName::Stopping | InstanceStateName::Stopped) => {
                None
            }
            state => {
                let state = state.map_or("in no known state", InstanceStateName::as_str);
                Some(Outcome::Failed(Failure::permanent("IncorrectInstanceState", format!("it is {state}"))))
            }
        }
    }

    /// Whether an instance is on its way without being told, so that it is only awaited.
    pub fn is_going_already(&self, instance: &Instance) -> bool {
        state_of(instance) == Some(&self.way.between()) && !self.insists
    }

    /// Starts or stops one; `told` is what is worth knowing of it then.
    pub async fn apply(&self, cx: &Context, id: &str, instance: &Instance, told: Option<String>) -> Result<Outcome<String>> {
        if self.is_going_already(instance) {
            return Ok(match self.awaited(cx, instance).await {
                Ok(()) => Outcome::Unchanged(format!("it was {} already", self.way.going_on())),
                Err(e) => Outcome::Failed(self.not_awaited(cx, &e)),
            });
        }
        if state_of(instance) == Some(&self.way.other().between())
            && let Err(e) = wait::instance_of(cx, &self.looks, id, self.way.other().end(), OnCancel::Stop).await
        {
            return match cx.cancellation().is_cancelled() {
                true => Ok(Outcome::skipped_as(Code::NotStarted, "not started: the run was stopped")),
                false => Err(e),
            };
        }
        // One that was on its way before is no work of this run.
        let by_others = self.way.leads_to(state_of(instance));
        let noted = match by_others {
            true => None,
            false => Some(cx.note(id, &PowerStep { instance: id.to_owned(), way: self.way }).await?),
        };
        // The next items are begun meanwhile, and share the request.
        cx.release_slot();
        if let Err(e) = self.orders.get(id).await
            && (by_others || !self.is_begun(&e, id).await)
        {
            // Whether one was told whose answer was lost is found out when it is undone.
            noted.filter(|_| !e.is_ambiguous()).into_iter().for_each(|noted| cx.forget(noted));
            return refused_for_protection(&e).map(Outcome::Failed).ok_or(e);
        }
        if !self.wait {
            return Ok(Outcome::Done(id.to_owned(), told));
        }
        let Err(e) = self.awaited(cx, instance).await else { return Ok(Outcome::Done(id.to_owned(), told)) };
        let failure = self.not_awaited(cx, &e);
        // It did not come about: who starts or stops it later does not want that undone.
        if failure.code == Code::NotComplete.as_str() {
            noted.into_iter().for_each(|noted| cx.forget(noted));
        }
        Ok(Outcome::Failed(failure))
    }

    /// Waits until an instance, which was seen before it was told, is at the end.
    async fn awaited(&self, cx: &Context, before: &Instance) -> Result<()> {
        wait::instance_told(cx, &self.looks, before, self.way.end(), OnCancel::Stop).await
    }

    /// Whether it is on its way although EC2 answered with an error: the answer may have been lost.
    async fn is_begun(&self, error: &Error, id: &str) -> bool {
        let is_begun = |seen: &Option<Instance>| self.way.leads_to(seen.as_ref().and_then(state_of));
        let look = || self.looks.get(id);
        let seen = if error.is_ambiguous() { wait::poll_until_visible(look, is_begun).await } else { look().await };
        match seen {
            Ok(seen) => is_begun(&seen),
            Err(e) => {
                tracing::debug!("whether `{id}` is {} all the same is not known: {e}", self.way.going_on());
                false
            }
        }
    }

    /// What became of one that was told, and was not seen at the end.
    fn not_awaited(&self, cx: &Context, error: &Error) -> Failure {
        let goes_on = cx.cancellation().is_cancelled() || wait::is_unseen(error) || error.is_fatal();
        let failure = if goes_on {
            Failure::permanent(Code::NotAwaited, format!("it is {}, and that goes on: {error}", self.way.going_on()))
        } else {
            Failure::permanent(Code::NotComplete, error.to_string())
        };
        Failure { fatal: Failure::from(error).fatal, ..failure }
    }
}

/// An instance was started or stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerStep {
    instance: String,
    way: Way,
}

impl fmt::Display for PowerStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            Way::Start => write!(f, "start {}", self.instance),
            Way::Stop => write!(f, "stop {}", self.instance),
        }
    }
}

#[async_trait]
impl Step for PowerStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let looks = coalesce::describer::<Instance>(&ec2);
        let id = self.instance.as_str();
        match self.way {
            Way::Stop => restart::start_again_of(cx, &looks, &coalesce::starts(&ec2), id).await,
            Way::Start => stop_again(cx, &looks, &coalesce::stops(&ec2), id).await,
        }
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let Some(instance) = lookup::one::<Instance>(&ec2, &self.instance).await? else {
            return Ok(Some(left_alone("it is gone")));
        };
        if let Some(kept) = tags::protection(cx, instance.tags()) {
            return Ok(Some(kept));
        }
        let state = state_of(&instance);
        let told = state.map_or("in no known state", InstanceStateName::as_str);
        Ok(if self.way.leads_to(state) {
            None
        } else if self.way.other().leads_to(state) {
            Some(Outcome::Unchanged(format!("it is {told} as before")))
        } else {
            Some(left_alone(format!("it is {told}")))
        })
    }

    fn undoing_disrupts(&self) -> bool {
        self.way == Way::Start
    }

    fn inverse(&self) -> Option<Self> {
        Some(PowerStep { instance: self.instance.clone(), way: self.way.other() })
    }
}

/// Stops an instance that was started, and waits until it is stopped. What cannot be looked at is tried.
async fn stop_again(cx: &Context, looks: &Describer<Instance>, stops: &Orders, id: &str) -> Result<()> {
    match looks.get(id).await {
        Ok(seen) if seen.as_ref().and_then(state_of) == Some(&InstanceStateName::Pending) => {
            wait::instance_of(cx, looks, id, InstanceStateName::Running, OnCancel::KeepGoing).await?;
        }
        Ok(_) => {}
        Err(e) if e.is_fatal() => return Err(e),
        Err(e) => tracing::warn!("`{id}` is stopped again without a look at it: {e}"),
    }
    stops.get(id).await?;
    match wait::instance_of(cx, looks, id, InstanceStateName::Stopped, OnCancel::KeepGoing).await {
        Err(e) if wait::is_unseen(&e) => {
            tracing::warn!("`{id}` was told to stop, and whether it has cannot be seen: {e}");
            Ok(())
        }
        stopped => stopped,
    }
}
