//! Actions without their types: what the front ends and the catalogue work with.

use std::any::type_name;
use std::marker::PhantomData;

use futures::future::BoxFuture;
use jiff::Timestamp;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use crate::engine::action::{Action, Output, Reply};
use crate::engine::change::Step;
use crate::engine::context::Context;
use crate::engine::reversal::Reversal;
use crate::input::{self, Input};
use crate::model::error::{Error, Result};
use crate::model::meta::{Check, Effect, Meta, Reversible};

/// An [`Action`] without its type: what the front ends work with.
pub struct Entry {
    /// What is known without running it.
    pub meta: &'static Meta,
    /// What a plan binds of each item: [`Action::BINDS`].
    pub binds: &'static [&'static str],
    /// The crate that defines it.
    pub package: &'static str,
    file: &'static str,
    input: fn() -> Schema,
    described: fn(&mut SchemaGenerator) -> Schema,
    output: fn() -> Schema,
    parse: fn(Input, Timestamp) -> Result<Ready>,
    reversal: Option<Reversal>,
    /// What of it can be undone.
    pub reversible: Reversible,
    /// Whether a run keeps a journal unasked: [`Action::KEEPS_JOURNAL`].
    pub keeps_journal: bool,
    /// The members by which a row is known again: [`Action::IDENTITY`].
    pub identity: &'static [&'static str],
    /// What `aaws overview` asks by it: [`Action::OVERVIEW`].
    pub overview: &'static [Check],
    /// The same action when a run of it is undone: what that disrupts its steps say.
    pub(crate) undoing: &'static Meta,
    types: fn() -> (&'static str, &'static str),
    has_default: bool,
}

/// What is known of an action when a run of it is undone.
trait WhenUndone {
    const META_UNDONE: Meta;
}

impl<A: Action> WhenUndone for A {
    const META_UNDONE: Meta = Meta { effect: Effect::Disrupt, ..A::META };
}

/// An action whose input is checked: all that is left is to run it.
pub struct Ready(Box<dyn FnOnce(Context) -> BoxFuture<'static, Result<Reply>> + Send>);

impl Ready {
    /// Runs it on the context's target.
    pub async fn run(self, cx: Context) -> Result<Reply> {
        (self.0)(cx).await
    }
}

inventory::collect!(Entry);

impl Entry {
    /// Used by [`crate::register!`].
    pub const fn of<A: Action>(package: &'static str, file: &'static str) -> Self {
        Entry {
            meta: &A::META,
            binds: A::BINDS,
            package,
            file,
            input: input_schema::<A>,
            described: A::json_schema,
            output: || {
                let mut generator = settings(SchemaSettings::for_serialize);
                A::Output::schema(&mut generator)
            },
            parse: |input, now| {
                let action = input::parse::<A>(A::META.rules, &input_schema::<A>().to_value(), input, now)?;
                Ok(Ready(Box::new(|cx| Box::pin(async move { action.run(&cx).await?.into_reply() }))))
            },
            reversal: None,
            reversible: A::REVERSIBLE,
            keeps_journal: A::KEEPS_JOURNAL,
            identity: A::IDENTITY,
            overview: A::OVERVIEW,
            undoing: &A::META_UNDONE,
            types: || (type_name::<A>(), type_name::<A::Output>()),
            has_default: false,
        }
    }

    /// Says whether the input has a `Default`; [`crate::register!`] knows.
    pub const fn with_default(self, has_default: bool) -> Self {
        Entry { has_default, ..self }
    }

    /// The same, of an action whose steps another process can undo.
    pub const fn with_steps<S: Step>(self) -> Self {
        Entry { reversal: Some(Reversal::of::<S>()), ..self }
    }

    /// Whether its steps can be undone by another process.
    pub fn is_reversible(&self) -> bool {
        self.reversal.is_some()
    }

    /// How its steps are undone.
    pub(crate) fn reversal(&self) -> Result<&Reversal> {
        self.reversal.as_ref().ok_or_else(|| Error::Failed(format!("the steps of `{}` cannot be undone", self.meta.path)))
    }

    /// Undoes a step that a run of this action noted, in whatever process that was.
    pub async fn undo(&self, cx: &Context, step: Value) -> Result<()> {
        self.reversal()?.undo(cx, step).await
    }

    /// JSON Schema of the input, descriptions included.
    pub fn input_schema(&self) -> Schema {
        (self.input)()
    }

    /// What it takes, with its doc comment, as a generator of one's own has it: what several types share that generator may describe once.
    pub fn described(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.described)(generator)
    }

    /// JSON Schema of the output.
    pub fn output_schema(&self) -> Schema {
        (self.output)()
    }

    /// Whether it looks at the account only, and gives what it finds row by row, with some inputs at least.
    pub fn is_listing(&self) -> bool {
        self.meta.effect == Effect::Read && self.row_schema().is_some()
    }

    /// JSON Schema of a row of the output, where that is a list, or may be.
    pub fn row_schema(&self) -> Option<Value> {
        let output = self.output_schema().to_value();
        let kinds = output.get("anyOf").and_then(Value::as_array).map_or(std::slice::from_ref(&output), Vec::as_slice);
        let list = kinds.iter().find(|kind| kind.get("type").and_then(Value::as_str) == Some("array"));
        list.and_then(|list| list.get("items").cloned())
    }

    /// Checks an input, its rules and its types. Ages are as they are at `now`. Nothing is sent.
    pub fn parse(&self, input: Input, now: Timestamp) -> Result<Ready> {
        (self.parse)(input, now)
    }

    /// The Rust types of its input and its output, with their paths.
    pub fn types(&self) -> (&'static str, &'static str) {
        (self.types)()
    }

    /// Whether its input has a `Default`, so that from Rust only what is given has to be written.
    pub fn has_default(&self) -> bool {
        self.has_default
    }

    /// Where it is defined, from the root of its package.
    pub fn source(&self) -> &'static str {
        self.file.strip_prefix("src/../").unwrap_or(self.file)
    }
}

/// Whether a type has a `Default`, for [`crate::register!`]: the constant of a type is taken before that of a trait, where its bounds hold.
pub struct HasDefault<T>(PhantomData<T>);

impl<T: Default> HasDefault<T> {
    /// It has.
    pub const YES: bool = true;
}

/// See [`HasDefault`].
pub trait NoDefault {
    /// It has not.
    const YES: bool = false;
}

impl<T> NoDefault for HasDefault<T> {}

/// What an action takes. That its strings are not empty is said of all but those that may be.
fn input_schema<A: Action>() -> Schema {
    let contract = |settings: SchemaSettings| settings.for_deserialize().with_transform(RecursiveTransform(input::forbid_empty));
    settings(contract).into_root_schema_for::<A>()
}

/// Everything inline: kinder to readers of the schema, ours among them.
fn settings(contract: fn(SchemaSettings) -> SchemaSettings) -> SchemaGenerator {
    let settings = contract(SchemaSettings::draft2020_12()).with(|s| s.inline_subschemas = true);
    settings.into_generator()
}

/// Makes an action known to the program: one line under its `impl Action`. With `undo = …` the [`crate::Step`] type of one whose steps another
/// process can undo.
#[macro_export]
macro_rules! register {
    ($action:ty) => {
        $crate::inventory::submit! {
            $crate::Entry::of::<$action>(env!("CARGO_PKG_NAME"), file!()).with_default($crate::has_default!($action))
        }
    };
    ($action:ty, undo = $step:ty) => {
        $crate::inventory::submit! {
            $crate::Entry::of::<$action>(env!("CARGO_PKG_NAME"), file!()).with_steps::<$step>().with_default($crate::has_default!($action))
        }
    };
}

/// For [`crate::register!`] alone.
#[doc(hidden)]
#[macro_export]
macro_rules! has_default {
    ($type:ty) => {{
        #[allow(unused_imports)]
        use $crate::__private::NoDefault as _;
        $crate::__private::HasDefault::<$type>::YES
    }};
}
