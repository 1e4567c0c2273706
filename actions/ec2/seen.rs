//! Which thing is meant, and what it was when somebody looked: what a listing prints with `details` goes on as it is, and who acts on it is told when
//! the thing is not any more what was seen.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use aaws::{Code, Items, Outcome, Result};
use aws_sdk_ec2::types::{Image, Instance, Snapshot, Volume};
use futures::TryStreamExt;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::lookup::Resource;

/// A thing that has a state, and is known by an id.
pub trait Stateful: Resource {
    /// The member that names it: `VolumeId`.
    const MEMBER: &'static str;
    /// The states that it may be in. Another word is the state of something else, of which an object that names this thing may tell too: that of a
    /// snapshot, which names its volume.
    const STATES: &'static [&'static str];
    /// The state that it is in.
    fn state_word(&self) -> Option<&str>;
}

impl Stateful for Volume {
    const MEMBER: &'static str = "VolumeId";
    const STATES: &'static [&'static str] = &["creating", "available", "in-use", "deleting", "deleted", "error"];

    fn state_word(&self) -> Option<&str> {
        self.state().map(|state| state.as_str())
    }
}

impl Stateful for Snapshot {
    const MEMBER: &'static str = "SnapshotId";
    const STATES: &'static [&'static str] = &["pending", "completed", "error", "recoverable", "recovering"];

    fn state_word(&self) -> Option<&str> {
        self.state().map(|state| state.as_str())
    }
}

impl Stateful for Image {
    const MEMBER: &'static str = "ImageId";
    const STATES: &'static [&'static str] =
        &["pending", "available", "disabled", "invalid", "deregistered", "transient", "failed", "error"];

    fn state_word(&self) -> Option<&str> {
        self.state().map(|state| state.as_str())
    }
}

impl Stateful for Instance {
    const MEMBER: &'static str = "InstanceId";
    const STATES: &'static [&'static str] = &["pending", "running", "shutting-down", "terminated", "stopping", "stopped"];

    fn state_word(&self) -> Option<&str> {
        self.state().and_then(|state| state.name()).map(|name| name.as_str())
    }
}

/// A thing of EC2: its id, or as a listing prints it with `details`, an object with the member that names it, and `State` where it is known. Other
/// members, and those that are null, say nothing.
pub struct WithState<T> {
    /// Its id.
    pub id: String,
    /// The state that it was seen in, and has to be in still.
    pub state: Option<String>,
    kind: PhantomData<fn() -> T>,
}

impl<T> WithState<T> {
    /// A thing that was seen in a state.
    pub fn in_state(id: impl Into<String>, state: impl Into<String>) -> Self {
        WithState { id: id.into(), state: Some(state.into()), kind: PhantomData }
    }
}

impl<T> From<String> for WithState<T> {
    fn from(id: String) -> Self {
        WithState { id, state: None, kind: PhantomData }
    }
}

impl<T> From<&str> for WithState<T> {
    fn from(id: &str) -> Self {
        WithState::from(id.to_owned())
    }
}

impl<T> Clone for WithState<T> {
    fn clone(&self) -> Self {
        WithState { id: self.id.clone(), state: self.state.clone(), kind: PhantomData }
    }
}

impl<T> PartialEq for WithState<T> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.state == other.state
    }
}

impl<T> Eq for WithState<T> {}

impl<T> fmt::Debug for WithState<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            Some(state) => write!(f, "{:?} ({state})", self.id),
            None => write!(f, "{:?}", self.id),
        }
    }
}

struct SeenVisitor<T>(PhantomData<fn() -> T>);

impl<'de, T: Stateful> Visitor<'de> for SeenVisitor<T> {
    type Value = WithState<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an id, or an object with the member `{}`", T::MEMBER)
    }

    fn visit_str<E: de::Error>(self, id: &str) -> Result<WithState<T>, E> {
        Ok(WithState::from(id))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WithState<T>, A::Error> {
        let members: serde_json::Map<String, serde_json::Value> = Deserialize::deserialize(MapAccessDeserializer::new(map))?;
        let text = |name: &str| members.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        let missing = || de::Error::custom(format!("an object without a member `{}` that says which one is meant", T::MEMBER));
        let id = text(T::MEMBER).ok_or_else(missing)?;
        Ok(WithState { id, state: text("State").filter(|state| T::STATES.contains(&state.as_str())), kind: PhantomData })
    }
}

impl<'de, T: Stateful> Deserialize<'de> for WithState<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SeenVisitor::<T>(PhantomData))
    }
}

impl<T: Stateful> JsonSchema for WithState<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("SeenBy{}", T::MEMBER).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut properties = serde_json::Map::new();
        properties.insert(T::MEMBER.to_owned(), serde_json::json!({ "type": "string", "description": "Its id." }));
        properties.insert(
            "State".to_owned(),
            serde_json::json!({ "type": ["string", "null"], "description": "Leave it alone unless it is still in this state." }),
        );
        json_schema!({
            // A string first: that is what flags and lines of a list are.
            "anyOf": [
                { "type": "string" },
                { "type": "object", "required": [T::MEMBER], "properties": properties },
            ],
            "x-aaws-names": [T::MEMBER],
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// The states that things were seen in, by their ids.
#[derive(Debug, Default)]
pub struct States(HashMap<String, String>);

impl States {
    /// What becomes of a thing that is in another state than it was seen in.
    pub fn changed<T: Stateful, D>(&self, thing: &T) -> Option<Outcome<D>> {
        let seen = self.0.get(thing.id())?;
        let is = thing.state_word().unwrap_or("in no known state");
        (seen != is).then(|| Outcome::skipped_as(Code::Changed, format!("it was {seen} when it was listed, and is {is} now")))
    }
}

/// The ids of a list, and the states that came with them.
pub async fn parted<T: Stateful>(list: Items<WithState<T>>) -> Result<(Vec<String>, States)> {
    let mut states = States::default();
    let mut ids = Vec::with_capacity(usize::try_from(list.len()).unwrap_or_default());
    let mut list = list.stream();
    while let Some(WithState { id, state, .. }) = list.try_next().await? {
        if let Some(state) = state {
            states.0.entry(id.clone()).or_insert(state);
        }
        ids.push(id);
    }
    Ok((ids, states))
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::VolumeState;
    use serde_json::{Value, json};

    use super::*;

    fn seen(value: Value) -> Result<WithState<Volume>, String> {
        serde_json::from_value(value).map_err(|e| e.to_string())
    }

    #[test]
    fn an_object_says_what_was_seen_of_its_own_kind() {
        assert_eq!(seen(json!("vol-1")), Ok(WithState::from("vol-1")));
        assert_eq!(seen(json!({"VolumeId": "vol-1", "State": "in-use", "Size": 8})), Ok(WithState::in_state("vol-1", "in-use")));
        // What is told of a snapshot names its volume, and has a state of its own.
        assert_eq!(seen(json!({"SnapshotId": "snap-1", "VolumeId": "vol-1", "State": "completed"})), Ok(WithState::from("vol-1")));
        assert_eq!(seen(json!({"VolumeId": "vol-1", "State": null})), Ok(WithState::from("vol-1")));
    }

    #[test]
    fn what_names_none_is_an_error() {
        assert!(seen(json!({"SnapshotId": "snap-1"})).is_err_and(|e| e.contains("without a member `VolumeId`")));
        assert!(seen(json!(7)).is_err() && seen(json!(["vol-1"])).is_err() && seen(json!({"VolumeId": 7})).is_err());
    }

    #[test]
    fn a_state_that_is_another_one_is_told_with_both() {
        let states = States(HashMap::from([("vol-1".to_owned(), "available".to_owned())]));
        let changed = |id: &str, state: VolumeState| {
            let volume = Volume::builder().volume_id(id).state(state).build();
            match states.changed::<Volume, ()>(&volume) {
                Some(Outcome::Skipped(skip)) => Some((skip.code, skip.why)),
                _ => None,
            }
        };
        let why = "it was available when it was listed, and is in-use now".to_owned();
        assert_eq!(changed("vol-1", VolumeState::InUse), Some((Some(Code::Changed), why)));
        assert_eq!(changed("vol-1", VolumeState::Available), None);
        assert_eq!(changed("vol-2", VolumeState::InUse), None);
    }
}
