//! Every action that is linked into the program, by path.

use std::sync::LazyLock;

use futures::future::BoxFuture;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};

use crate::action::{Action, Meta, Output, Reply};
use crate::context::Context;
use crate::error::Result;
use crate::input::{self, Input};

/// An [`Action`] without its type: what the front ends work with.
pub struct Entry {
    /// What is known without running it.
    pub meta: &'static Meta,
    /// The crate that defines it.
    pub package: &'static str,
    file: &'static str,
    input: fn() -> Schema,
    output: fn() -> Schema,
    parse: fn(Input) -> Result<Ready>,
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
            package,
            file,
            input: || settings(SchemaSettings::for_deserialize).into_root_schema_for::<A>(),
            output: || {
                let mut generator = settings(SchemaSettings::for_serialize);
                A::Output::schema(&mut generator)
            },
            parse: |input| {
                let action = input::parse::<A>(A::META.rules, input)?;
                Ok(Ready(Box::new(|cx| Box::pin(async move { action.run(&cx).await?.into_reply() }))))
            },
        }
    }

    /// JSON Schema of the input, descriptions included.
    pub fn input_schema(&self) -> Schema {
        (self.input)()
    }

    /// JSON Schema of the output.
    pub fn output_schema(&self) -> Schema {
        (self.output)()
    }

    /// Checks an input, its rules and its types. Nothing is sent.
    pub fn parse(&self, input: Input) -> Result<Ready> {
        (self.parse)(input)
    }

    /// Where it is defined, from the root of its package.
    pub fn source(&self) -> &'static str {
        self.file.strip_prefix("src/../").unwrap_or(self.file)
    }
}

/// Everything inline: kinder to readers of the schema, ours among them.
fn settings(contract: fn(SchemaSettings) -> SchemaSettings) -> SchemaGenerator {
    let settings = contract(SchemaSettings::draft2020_12()).with(|s| s.inline_subschemas = true);
    settings.into_generator()
}

/// All actions, ordered by path. `inventory` promises no order, and lets two of one path live side by side: see [`duplicates`].
pub fn actions() -> &'static [&'static Entry] {
    static ACTIONS: LazyLock<Vec<&'static Entry>> = LazyLock::new(|| {
        let mut all: Vec<_> = inventory::iter::<Entry>.into_iter().collect();
        all.sort_by_key(|e| e.meta.path);
        all
    });
    &ACTIONS
}

/// Paths that more than one action claims: a mistake of who linked them.
pub fn duplicates() -> Vec<&'static str> {
    actions().windows(2).filter(|w| w[0].meta.path == w[1].meta.path).map(|w| w[0].meta.path).collect()
}

/// The services that there are, ordered.
pub fn services() -> Vec<&'static str> {
    let mut services: Vec<_> = actions().iter().map(|e| e.meta.service()).collect();
    services.dedup();
    services
}

/// The actions of one service.
pub fn of_service(service: &str) -> impl Iterator<Item = &'static Entry> {
    actions().iter().copied().filter(move |e| e.meta.service() == service)
}

/// The action of a path, `s3/delete_objects`.
pub fn find(path: &str) -> Option<&'static Entry> {
    actions().iter().copied().find(|e| e.meta.path == path)
}

/// Makes an action known to the program: one line under its `impl Action`.
#[macro_export]
macro_rules! register {
    ($action:ty) => {
        $crate::inventory::submit! {
            $crate::registry::Entry::of::<$action>(env!("CARGO_PKG_NAME"), file!())
        }
    };
}
