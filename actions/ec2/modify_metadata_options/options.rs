//! The metadata options of an instance: as they are shown, how they are changed, and how they become again what they were.

use std::fmt;

use aaws::{Context, Error, ErrorContext, OnCancel, Outcome, Result, Step, async_trait, left_alone};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    HttpTokensState, Instance, InstanceMetadataEndpointState, InstanceMetadataOptionsState, InstanceMetadataTagsState,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::coalesce::{self, Describer};
use super::super::wait::{self, Misses, PollState};
use super::super::{lookup, tags};

// As EC2 writes them.
pub const REQUIRED: &str = "required";
pub const OPTIONAL: &str = "optional";
pub const ENABLED: &str = "enabled";
pub const DISABLED: &str = "disabled";

/// Metadata options, all of an instance or those that are changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub tokens: Option<String>,
    pub hop_limit: Option<i32>,
    pub endpoint: Option<String>,
    pub tags: Option<String>,
}

impl Options {
    /// As an instance has them.
    pub fn of(instance: &Instance) -> Self {
        let Some(shown) = instance.metadata_options() else { return Options::default() };
        Options {
            tokens: shown.http_tokens().map(|tokens| tokens.as_str().to_owned()),
            hop_limit: shown.http_put_response_hop_limit(),
            endpoint: shown.http_endpoint().map(|endpoint| endpoint.as_str().to_owned()),
            tags: shown.instance_metadata_tags().map(|tags| tags.as_str().to_owned()),
        }
    }

    /// What a plan binds.
    pub fn to_value(&self) -> Value {
        json!({
            "http_tokens": self.tokens,
            "http_put_response_hop_limit": self.hop_limit,
            "http_endpoint": self.endpoint,
            "instance_metadata_tags": self.tags,
        })
    }

    /// Whether others have all that is said here.
    pub fn is_in(&self, others: &Options) -> bool {
        fn same<T: PartialEq>(said: Option<&T>, other: Option<&T>) -> bool {
            said.is_none() || said == other
        }
        same(self.tokens.as_ref(), others.tokens.as_ref())
            && same(self.hop_limit.as_ref(), others.hop_limit.as_ref())
            && same(self.endpoint.as_ref(), others.endpoint.as_ref())
            && same(self.tags.as_ref(), others.tags.as_ref())
    }

    /// Of what is said here, that which `others` have otherwise.
    fn without(&self, others: &Options) -> Options {
        fn other<T: Clone + PartialEq>(said: Option<&T>, other: Option<&T>) -> Option<T> {
            said.filter(|_| said != other).cloned()
        }
        Options {
            tokens: other(self.tokens.as_ref(), others.tokens.as_ref()),
            hop_limit: other(self.hop_limit.as_ref(), others.hop_limit.as_ref()),
            endpoint: other(self.endpoint.as_ref(), others.endpoint.as_ref()),
            tags: other(self.tags.as_ref(), others.tags.as_ref()),
        }
    }

    /// Whether each option that is said here is as one of the two has it: where a change takes several requests, some may have been carried out.
    fn is_between(&self, one: &Options, other: &Options) -> bool {
        fn either<T: PartialEq>(said: Option<&T>, one: Option<&T>, other: Option<&T>) -> bool {
            said == one || said == other
        }
        either(self.tokens.as_ref(), one.tokens.as_ref(), other.tokens.as_ref())
            && either(self.hop_limit.as_ref(), one.hop_limit.as_ref(), other.hop_limit.as_ref())
            && either(self.endpoint.as_ref(), one.endpoint.as_ref(), other.endpoint.as_ref())
            && either(self.tags.as_ref(), one.tags.as_ref(), other.tags.as_ref())
    }

    /// Of what is here, that which `others` speak of.
    fn as_in(&self, others: &Options) -> Options {
        Options {
            tokens: self.tokens.clone().filter(|_| others.tokens.is_some()),
            hop_limit: self.hop_limit.filter(|_| others.hop_limit.is_some()),
            endpoint: self.endpoint.clone().filter(|_| others.endpoint.is_some()),
            tags: self.tags.clone().filter(|_| others.tags.is_some()),
        }
    }

    /// What goes into one request each: an endpoint is switched off last, because one that is off has no other options.
    pub fn parts(&self) -> Vec<Options> {
        let last = Options { endpoint: self.endpoint.clone(), ..Options::default() };
        let first = Options { endpoint: None, ..self.clone() };
        if self.endpoint.as_deref() == Some(DISABLED) && first != Options::default() { vec![first, last] } else { vec![self.clone()] }
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name: &str, value: Option<&String>| value.map(|value| format!("{name} {value}"));
        let words = [
            text("http_tokens", self.tokens.as_ref()),
            self.hop_limit.map(|hops| format!("http_put_response_hop_limit {hops}")),
            text("http_endpoint", self.endpoint.as_ref()),
            text("instance_metadata_tags", self.tags.as_ref()),
        ];
        f.write_str(&words.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// Whether an instance answers by what it shows, or is still to.
pub fn is_pending(instance: &Instance) -> bool {
    let state = instance.metadata_options().and_then(|shown| shown.state());
    matches!(state, Some(InstanceMetadataOptionsState::Pending))
}

/// A change that came to its end early.
#[derive(Debug)]
pub struct Halfway {
    /// What was changed before, in words.
    pub done: Vec<String>,
    pub error: Box<Error>,
}

impl From<Halfway> for Error {
    fn from(halfway: Halfway) -> Self {
        *halfway.error
    }
}

/// Changes the options of an instance.
pub async fn change(
    cx: &Context,
    ec2: &Client,
    looks: &Describer<Instance>,
    id: &str,
    wanted: &Options,
    on_cancel: OnCancel,
) -> Result<(), Halfway> {
    let mut done = Vec::new();
    for part in wanted.parts() {
        if !done.is_empty()
            && let Err(error) = awaited(cx, looks, id, &Options { endpoint: None, ..wanted.clone() }, on_cancel).await
        {
            return Err(Halfway { done, error: Box::new(error) });
        }
        let request = ec2
            .modify_instance_metadata_options()
            .instance_id(id)
            .set_http_tokens(part.tokens.as_deref().map(HttpTokensState::from))
            .set_http_put_response_hop_limit(part.hop_limit)
            .set_http_endpoint(part.endpoint.as_deref().map(InstanceMetadataEndpointState::from))
            .set_instance_metadata_tags(part.tags.as_deref().map(InstanceMetadataTagsState::from));
        let sent = request.send().await.context(|| format!("change the metadata options of the instance `{id}` to {part}"));
        match sent {
            Ok(_) => done.push(format!("its metadata options became {part}")),
            Err(error) => return Err(Halfway { done, error: Box::new(error) }),
        }
    }
    Ok(())
}

/// Waits until an instance has these options, and they are in effect.
pub async fn awaited(cx: &Context, looks: &Describer<Instance>, id: &str, wanted: &Options, on_cancel: OnCancel) -> Result<()> {
    let misses = Misses::default();
    let judge = |instance: Option<&Instance>| {
        let shown = instance.filter(|instance| wanted.is_in(&Options::of(instance))).and_then(|instance| instance.metadata_options());
        let state = match shown.map(|shown| shown.state()) {
            Some(Some(InstanceMetadataOptionsState::Applied)) => PollState::Ready,
            Some(state) => PollState::Pending(state.map_or("without a state", InstanceMetadataOptionsState::as_str).to_owned()),
            None => PollState::Failed(format!("the instance `{id}` is gone, or its metadata options were changed again")),
        };
        misses.judged(shown, state)
    };
    wait::for_one_of::<Instance>(cx, looks, id, on_cancel, judge).await
}

/// The metadata options of an instance were changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataStep {
    instance: String,
    /// What those were that were changed.
    was: Options,
    /// What they became.
    pub now: Options,
}

impl MetadataStep {
    /// Of an instance, and what is wanted of it; none where it has all of that.
    pub fn of(instance: &Instance, wanted: &Options) -> Option<Self> {
        let has = Options::of(instance);
        let now = wanted.without(&has);
        let step = MetadataStep { instance: instance.instance_id()?.to_owned(), was: has.as_in(&now), now };
        (step.now != Options::default()).then_some(step)
    }

    /// Whether something that worked before does not any more.
    pub fn takes_away(&self) -> bool {
        takes_away(&self.was, &self.now)
    }
}

fn takes_away(was: &Options, now: &Options) -> bool {
    let fewer_hops = now.hop_limit.is_some_and(|hops| was.hop_limit.is_none_or(|had| hops < had));
    now.tokens.as_deref() == Some(REQUIRED)
        || now.endpoint.as_deref() == Some(DISABLED)
        || now.tags.as_deref() == Some(DISABLED)
        || fewer_hops
}

impl fmt::Display for MetadataStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "change the metadata options of {} from {} to {}", self.instance, self.was, self.now)
    }
}

#[async_trait]
impl Step for MetadataStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let looks = coalesce::describer::<Instance>(&ec2);
        change(cx, &ec2, &looks, &self.instance, &self.was, OnCancel::KeepGoing).await?;
        awaited(cx, &looks, &self.instance, &self.was, OnCancel::KeepGoing).await
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let Some(instance) = lookup::one::<Instance>(&ec2, &self.instance).await? else {
            return Ok(Some(left_alone("it is gone")));
        };
        if let Some(kept) = tags::protection(cx, instance.tags()) {
            return Ok(Some(kept));
        }
        let is = Options::of(&instance).as_in(&self.now);
        Ok(if is == self.was {
            Some(Outcome::Unchanged(format!("its metadata options are {is} as before")))
        } else if is.is_between(&self.was, &self.now) {
            None
        } else {
            Some(left_alone(format!("its metadata options were changed since: they are {is}, and the run made them {}", self.now)))
        })
    }

    fn undoing_disrupts(&self) -> bool {
        takes_away(&self.now, &self.was)
    }

    fn inverse(&self) -> Option<Self> {
        Some(MetadataStep { instance: self.instance.clone(), was: self.now.clone(), now: self.was.clone() })
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::InstanceMetadataOptionsResponse;

    use super::*;

    fn options(tokens: &str, hops: i32, endpoint: &str) -> Options {
        Options { tokens: Some(tokens.into()), hop_limit: Some(hops), endpoint: Some(endpoint.into()), tags: None }
    }

    fn instance(has: &Options) -> Instance {
        let shown = InstanceMetadataOptionsResponse::builder()
            .set_http_tokens(has.tokens.as_deref().map(HttpTokensState::from))
            .set_http_put_response_hop_limit(has.hop_limit)
            .set_http_endpoint(has.endpoint.as_deref().map(InstanceMetadataEndpointState::from));
        Instance::builder().instance_id("i-1").metadata_options(shown.build()).build()
    }

    #[test]
    fn only_what_is_not_so_yet_is_changed_and_put_back() {
        let has = instance(&options(OPTIONAL, 2, ENABLED));
        let step = MetadataStep::of(&has, &options(REQUIRED, 2, ENABLED)).expect("a change");
        assert_eq!(step.now, Options { tokens: Some(REQUIRED.into()), ..Options::default() });
        assert_eq!(step.was, Options { tokens: Some(OPTIONAL.into()), ..Options::default() });
        assert_eq!(MetadataStep::of(&has, &options(OPTIONAL, 2, ENABLED)), None);
    }

    #[test]
    fn what_only_allows_more_takes_nothing_away() {
        let of = |had: Options, wanted: Options| MetadataStep::of(&instance(&had), &wanted).expect("a change");
        let stricter = of(options(OPTIONAL, 1, ENABLED), options(REQUIRED, 2, ENABLED));
        assert!(stricter.takes_away() && stricter.undoing_disrupts(), "the hop limit is lowered again");
        let looser = of(options(REQUIRED, 1, DISABLED), options(OPTIONAL, 2, ENABLED));
        assert!(!looser.takes_away() && looser.undoing_disrupts());
        assert!(of(options(OPTIONAL, 2, ENABLED), options(OPTIONAL, 1, ENABLED)).takes_away());
        assert!(of(options(OPTIONAL, 2, ENABLED), options(OPTIONAL, 2, DISABLED)).takes_away());
    }

    #[test]
    fn options_of_which_some_were_changed_lie_between_what_was_and_what_was_to_become() {
        let (was, now) = (options(OPTIONAL, 2, ENABLED), options(REQUIRED, 2, DISABLED));
        assert!(options(REQUIRED, 2, ENABLED).is_between(&was, &now) && was.is_between(&was, &now) && now.is_between(&was, &now));
        assert!(!options(REQUIRED, 3, ENABLED).is_between(&was, &now), "somebody changed it since");
    }

    #[test]
    fn an_endpoint_is_switched_off_behind_all_else() {
        assert_eq!(options(REQUIRED, 2, ENABLED).parts().len(), 1);
        let parts = options(REQUIRED, 2, DISABLED).parts();
        let told: Vec<String> = parts.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["http_tokens required, http_put_response_hop_limit 2", "http_endpoint disabled"]);
        let alone = Options { endpoint: Some(DISABLED.into()), ..Options::default() };
        assert_eq!(alone.parts(), std::slice::from_ref(&alone));
    }
}
