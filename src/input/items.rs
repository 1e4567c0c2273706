//! `Items<T>`: a list input that may be longer than memory.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use futures::stream::{self, BoxStream, StreamExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::spool::Spool;
use crate::model::error::Result;

/// A list of inputs: a JSON array, or a file or stream that was checked item by item and is read again when the action takes its items.
///
/// An empty one selects nothing; it is not the same as none, which is `Option<Items<T>>`.
pub struct Items<T>(Storage<T>);

enum Storage<T> {
    Here(Vec<T>),
    Spooled(Box<Spool>, PhantomData<fn() -> T>),
}

impl<T> Items<T> {
    /// How many there are.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Storage::Here(items) => items.len() as u64,
            Storage::Spooled(spool, _) => spool.len(),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: DeserializeOwned + Send + 'static> Items<T> {
    /// The items in order, a few at a time in memory. The stream's size hint is exact.
    pub fn stream(self) -> BoxStream<'static, Result<T>> {
        match self.0 {
            Storage::Here(items) => stream::iter(items.into_iter().map(Ok)).boxed(),
            Storage::Spooled(spool, _) => stream::iter(spool.read::<T>()).boxed(),
        }
    }
}

/// Nothing.
impl<T> Default for Items<T> {
    fn default() -> Self {
        Items(Storage::Here(Vec::new()))
    }
}

impl<T> From<Vec<T>> for Items<T> {
    fn from(items: Vec<T>) -> Self {
        Items(Storage::Here(items))
    }
}

impl<T: fmt::Debug> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Storage::Here(items) => items.fmt(f),
            Storage::Spooled(spool, _) => spool.fmt(f),
        }
    }
}

/// Checks each of them: `["a", "b"].try_into()?`.
impl<T: TryFrom<S>, S, const N: usize> TryFrom<[S; N]> for Items<T> {
    type Error = T::Error;

    fn try_from(items: [S; N]) -> Result<Self, T::Error> {
        let items: Result<Vec<T>, T::Error> = items.into_iter().map(<T as TryFrom<S>>::try_from).collect();
        Ok(items?.into())
    }
}

impl<T: JsonSchema> JsonSchema for Items<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Items_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": generator.subschema_for::<T>(), "x-aaws-stream": true })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// Stands in the JSON for a list that is kept elsewhere.
const PLACEHOLDER: &str = "$aaws_spool";

pub(super) fn placeholder(field: &str) -> Value {
    json!({ PLACEHOLDER: field })
}

thread_local! {
    /// The spools of the input that this thread is giving its type: serde has no other way to hand something to a `Deserialize`.
    static SPOOLS: RefCell<BTreeMap<String, Spool>> = const { RefCell::new(BTreeMap::new()) };
}

/// Whether a value only stands for a list that is kept elsewhere.
pub(super) fn is_placeholder(value: &Value) -> bool {
    value.get(PLACEHOLDER).is_some()
}

pub(super) fn with_spools<R>(spools: BTreeMap<String, Spool>, parse: impl FnOnce() -> R) -> R {
    SPOOLS.with(|s| s.replace(spools));
    let result = parse();
    SPOOLS.with(|s| s.take());
    result
}

impl<'de, T: DeserializeOwned> de::Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor<T>(PhantomData<T>);

        impl<'de, T: DeserializeOwned> Visitor<'de> for ItemsVisitor<T> {
            type Value = Items<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Items(Storage::Here(items)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Items<T>, A::Error> {
                let wrong = || de::Error::invalid_type(de::Unexpected::Map, &"a list");
                let Some((key, field)) = map.next_entry::<String, Value>()? else {
                    return Err(wrong());
                };
                let spool = || SPOOLS.with(|s| s.borrow_mut().remove(field.as_str()?));
                let mut spool = (key == PLACEHOLDER).then(spool).flatten().ok_or_else(wrong)?;
                spool.check::<T>().map_err(de::Error::custom)?;
                Ok(Items(Storage::Spooled(Box::new(spool), PhantomData)))
            }
        }

        deserializer.deserialize_any(ItemsVisitor(PhantomData))
    }
}
