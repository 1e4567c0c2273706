//! What is known of an action as JSON: the one thing that help, `list`, `describe`, pages and other front ends read.

use serde::Serialize;
use serde_json::Value;

use crate::catalog::schema::{self, Param};
use crate::engine::entry::Entry;
use crate::engine::execute::FINDINGS;
use crate::model::call::Call;
use crate::model::error::ErrorKind;
use crate::model::meta::{Check, Effect, Example, Reversible};
use crate::model::outcome::Record;
use crate::model::rules::Rule;

/// One action, described.
#[derive(Debug, Serialize)]
pub struct Manifest {
    /// `s3/delete_objects`
    pub path: &'static str,
    /// `s3`
    pub service: &'static str,
    /// `delete_objects`
    pub action: &'static str,
    /// One sentence.
    pub summary: String,
    /// What else the doc comment says, Markdown.
    pub description: String,
    /// What it does to the account.
    pub effect: Effect,
    /// Its inputs, as flags and pages show them.
    #[serde(skip)]
    pub params: Vec<Param>,
    /// JSON Schema of the input.
    pub input: Value,
    /// JSON Schema of the output.
    pub output: Value,
    /// JSON Schema of the output of a dry run, for actions that change something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Value>,
    /// What a plan binds of each item beside its identity, for those actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binds: Option<&'static [&'static str]>,
    /// What of it can be undone, for actions that change something.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub reversible: Option<Reversible>,
    /// The members by which a row of a listing is known again in a later run.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub identity: &'static [&'static str],
    /// What `aaws overview` asks by it.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub overview: &'static [Check],
    #[serde(serialize_with = "rules")]
    /// Rules between inputs.
    pub rules: &'static [Rule],
    #[serde(serialize_with = "calls")]
    /// API operations and their permissions.
    pub calls: &'static [Call],
    #[serde(serialize_with = "examples")]
    /// Uses of it.
    pub examples: &'static [Example],
    /// Limits of the service, and what surprises.
    pub notes: &'static [&'static str],
    /// What the process ends with.
    pub exit_codes: Vec<ExitCode>,
    /// The crate that defines it.
    pub package: &'static str,
    /// The file that defines it, from the root of that crate.
    pub source: &'static str,
    /// The Rust type of its input, with its path: `aaws::actions::s3::delete_objects::DeleteObjects`.
    #[serde(skip)]
    pub input_type: &'static str,
    /// The Rust type of its output.
    #[serde(skip)]
    pub output_type: &'static str,
    /// Whether that input has a `Default`.
    #[serde(skip)]
    pub has_default: bool,
}

/// One exit code and when it comes.
#[derive(Debug, Clone, Serialize)]
pub struct ExitCode {
    /// The number.
    pub code: u8,
    /// When it comes.
    pub meaning: &'static str,
}

impl Manifest {
    /// Of one action. Builds its schemas.
    pub fn of(entry: &Entry) -> Self {
        let meta = entry.meta;
        let mut input = entry.input_schema().to_value();
        let (summary, description) = schema::description(&input);
        if let Some(input) = input.as_object_mut() {
            input.remove("$schema");
        }
        Manifest {
            path: meta.path,
            service: meta.service(),
            action: meta.name(),
            summary,
            description,
            effect: meta.effect,
            params: schema::params(&input),
            input,
            output: entry.output_schema().to_value(),
            plan: meta.effect.changes().then(plan_schema),
            binds: meta.effect.changes().then_some(entry.binds),
            reversible: meta.effect.changes().then_some(entry.reversible),
            rules: meta.rules,
            calls: meta.calls,
            examples: meta.examples,
            notes: meta.notes,
            exit_codes: exit_codes(meta.effect != Effect::Local || !meta.calls.is_empty(), entry.is_listing()),
            identity: entry.identity,
            overview: entry.overview,
            package: entry.package,
            source: entry.source(),
            input_type: entry.types().0,
            output_type: entry.types().1,
            has_default: entry.has_default(),
        }
    }
}

/// A dry run of any action prints a list of outcomes.
fn plan_schema() -> Value {
    let generator = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator();
    let mut schema = generator.into_root_schema_for::<Vec<Record>>().to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
        schema.remove("title");
    }
    schema
}

/// The exit codes, one list for all actions; those that need no AWS have fewer, and those that list one more.
pub fn exit_codes(needs_aws: bool, lists: bool) -> Vec<ExitCode> {
    let all = [
        (0, "all done, or nothing to do"),
        (ErrorKind::Failed.exit_code(), "the action failed as a whole"),
        (ErrorKind::Input.exit_code(), "bad usage or input: nothing was sent"),
        (3, "some items are not as asked: failed or skipped"),
        (ErrorKind::Refused.exit_code(), "refused by a guard, or by the person asked"),
        (ErrorKind::Credentials.exit_code(), "no usable credentials or region"),
        (FINDINGS, "something was found, with `fail_on_findings`"),
        (ErrorKind::Interrupted.exit_code(), "interrupted; what was in flight is settled"),
    ];
    let local = |code: u8| matches!(code, 0..=2 | 130);
    let kept = all.into_iter().filter(|(code, _)| (needs_aws || local(*code)) && (lists || *code != FINDINGS));
    kept.map(|(code, meaning)| ExitCode { code, meaning }).collect()
}

fn rules<S: serde::Serializer>(rules: &[Rule], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row {
        rule: &'static str,
        inputs: Vec<&'static str>,
        text: String,
    }
    serializer.collect_seq(rules.iter().map(|r| Row { rule: r.kind(), inputs: r.inputs(), text: r.to_string() }))
}

fn calls<S: serde::Serializer>(calls: &[Call], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row {
        call: &'static str,
        access: crate::model::call::Access,
        #[serde(skip_serializing_if = "String::is_empty")]
        when: String,
        permissions: Vec<Permission>,
    }
    #[derive(Serialize)]
    struct Permission {
        action: &'static str,
        resources: &'static [&'static str],
        #[serde(skip_serializing_if = "String::is_empty")]
        when: String,
    }
    serializer.collect_seq(calls.iter().map(|c| Row {
        call: c.name,
        access: c.access,
        when: c.when.words(),
        permissions: c.grants.iter().map(|g| Permission { action: g.action, resources: g.resources, when: g.when.words() }).collect(),
    }))
}

fn examples<S: serde::Serializer>(examples: &[Example], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row {
        title: &'static str,
        input: Value,
        output: Value,
    }
    // Text that is no JSON fails a test of the registry; here it is shown as it stands.
    let json = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    serializer.collect_seq(examples.iter().map(|e| Row { title: e.title, input: json(e.input), output: json(e.output) }))
}
