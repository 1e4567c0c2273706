//! One page each: what the reader of an action has to know, in the order of the model page.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::catalog::invocation::{self, command_line};
use crate::catalog::manifest::Manifest;
use crate::catalog::policy::{Policy, Scope};
use crate::docs::rust;
use crate::engine::entry::Entry;
use crate::model::call::{Access, Call, When};
use crate::model::meta::{Effect, Example};

/// What every AWS action takes beside its own inputs; all flags are in the guide.
const COMMON: &[(&str, &str, &str, &str)] = &[
    ("region", "Region to run in", "string", "`AWS_REGION`, `AWS_DEFAULT_REGION`, the profile"),
    ("debug", "Log every call", "bool", "`false`"),
    ("silent", "Log errors only", "bool", "`false`"),
];

/// What stands before the last of the forms.
const FROM_RUST: &str = "From Rust:\n\n";

fn title(name: &str) -> String {
    let word = |w: &str| match w.split_at_checked(1) {
        Some((first, rest)) => first.to_uppercase() + rest,
        None => String::new(),
    };
    name.split('_').map(word).collect::<Vec<_>>().join(" ")
}

fn front_matter(title: &str, parents: &[(&str, &str)], permalink: &str) -> String {
    let mut text = format!("---\ntitle: {title}\n");
    parents.iter().for_each(|(key, value)| text.push_str(&format!("{key}: {value}\n")));
    text + &format!("layout: default\npermalink: {permalink}\n---\n\n")
}

/// `aaws docs` writes all pages into one of two trees: what actions do, and what they need.
pub fn index<'a>(folder: &str, rows: impl Iterator<Item = &'a String>) -> String {
    let mut text = front_matter(&title(folder), &[("has_children", "true")], &format!("/aws/{folder}"));
    let _ = write!(text, "# {}\n\n<div class=\"catalogue\">\n\n", title(folder));
    text.push_str("| Service | Action | Effect | Summary |\n|---|---|---|---|\n");
    rows.for_each(|row| text.push_str(&format!("{row}\n")));
    text + "\n</div>\n"
}

/// What those say of one action.
pub fn index_row(m: &Manifest) -> String {
    format!("| {} | [`{}`]({}.md) | {} | {} |", m.service, m.action, m.path, effect(m.effect), cell(&m.summary))
}

/// What an action does to the account, so that it is seen at a glance where there are colours.
fn effect(effect: Effect) -> String {
    format!("<span class=\"effect {0}\">{0}</span>", effect.word())
}

/// The actions of one service.
pub fn service_index(folder: &str, service: &str, manifests: &[&Manifest]) -> String {
    let parents = [("parent", title(folder)), ("has_children", "true".into())];
    let parents = parents.each_ref().map(|(k, v)| (*k, v.as_str()));
    let mut text = front_matter(service, &parents, &format!("/aws/{folder}/{service}"));
    let _ = write!(text, "# {service}\n\n| Action | Effect | Summary |\n|---|---|---|\n");
    for m in manifests {
        let _ = writeln!(text, "| [`{}`]({}.md) | {} | {} |", m.action, m.action, effect(m.effect), cell(&m.summary));
    }
    text
}

/// An action's page.
pub fn action(m: &Manifest) -> String {
    let title = title(m.action);
    let mut text = front_matter(&title, &[("parent", m.service), ("grand_parent", "Actions")], &format!("/aws/actions/{}", m.path));
    let _ = write!(text, "# {title}\n\n{} {}\n\n", effect(m.effect), m.summary);
    if !m.description.is_empty() {
        let _ = write!(text, "{}\n\n", m.description);
    }
    let _ = write!(text, "[Source code]({}) • [Permissions](../../permissions/{}.md)\n\n", source(m), m.path);
    text.push_str("## Usage\n\n");
    usage(&mut text, m);
    text.push_str("### Input\n\n");
    inputs(&mut text, m);
    if !m.rules.is_empty() {
        text.push_str("### Rules\n\n");
        m.rules.iter().for_each(|r| text.push_str(&format!("- {r}\n")));
        text.push('\n');
    }
    output(&mut text, m);
    examples(&mut text, m);
    text.push_str("## What it changes\n\n");
    text.push_str(match m.effect {
        Effect::Local if m.calls.is_empty() => "Nothing: it needs no AWS.\n\n",
        Effect::Local => "Nothing in the account.\n\n",
        Effect::Read => "Nothing: it only looks.\n\n",
        Effect::Create => "It adds to the account. `--dry_run` lists what it would add, and sends no write.\n\n",
        Effect::Modify => "It changes what is there. `--dry_run` lists what it would change, and sends no write.\n\n",
        Effect::Disrupt => {
            "It **disrupts**, or takes away what cannot come back. On a terminal it shows what it is about to do and asks; `--yes` or `AAWS_YES=1` answers. \
             `--dry_run` lists what it would change, and sends no write.\n\n"
        }
        Effect::Delete => {
            "It **deletes**. On a terminal it shows what it is about to delete and asks; `--yes` or `AAWS_YES=1` answers. \
             `--dry_run` lists what it would delete, and sends no write.\n\n"
        }
    });
    if let Some(binds) = m.binds {
        let binds: Vec<&str> = std::iter::once("its identity").chain(binds.iter().copied()).collect();
        let _ = write!(
            text,
            "`--plan FILE` writes the same down for `aaws apply FILE`, which changes an item only while this of it is as the plan saw it:\n\n\
             | A plan binds |\n|---|\n| {} |\n\n",
            cell(&binds.join("; "))
        );
    }
    if let Some(reversible) = m.reversible {
        let _ = write!(text, "Reversible: **{}**. {}", reversible.word(), reversible.what());
        text.truncate(text.trim_end().len());
        text.push_str("\n\n");
    }
    text.push_str("## Exit codes\n\n| Code | Meaning |\n|---|---|\n");
    m.exit_codes.iter().for_each(|e| text.push_str(&format!("| {} | {} |\n", e.code, e.meaning)));
    text.push('\n');
    if !m.calls.is_empty() {
        text.push_str("## Calls and permissions\n\n");
        text.push_str("The action can make these calls and no others: one that is not listed is refused before it is sent.\n\n");
        calls(&mut text, m.calls);
    }
    if !m.notes.is_empty() {
        text.push_str("## Notes\n\n");
        m.notes.iter().for_each(|n| text.push_str(&format!("- {n}\n")));
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

/// From the page, which is three folders below the root of the package that keeps both.
fn source(m: &Manifest) -> String {
    format!("../../../{}", m.source)
}

fn inputs(text: &mut String, m: &Manifest) {
    text.push_str("| Parameter | Description | Type | Required | Default value |\n|---|---|---|---|---|\n");
    for param in &m.params {
        let mut description = cell(&param.description);
        let choices = param.kind.choices();
        if !choices.is_empty() {
            let choice = |c: &crate::catalog::schema::Choice| match &c.description {
                Some(what) => format!("`{}`: {}", c.value, cell(what.trim_end_matches('.'))),
                None => format!("`{}`", c.value),
            };
            let _ = write!(description, " Choices: {}.", choices.iter().map(choice).collect::<Vec<_>>().join("; "));
        }
        let default =
            param.default.as_ref().map_or("None".into(), |d| format!("`{}`", cell(&d.as_str().map_or(d.to_string(), str::to_owned))));
        let required = if param.required { "Yes" } else { "No" };
        let _ = writeln!(text, "| `{}` | {description} | `{}` | {required} | {default} |", param.name, cell(&param.kind.name()));
    }
    let common = COMMON.iter().filter(|(name, ..)| m.effect != Effect::Local || *name != "region");
    for (name, description, kind, default) in common.filter(|(name, ..)| !m.params.iter().any(|p| p.name == *name)) {
        let _ = writeln!(text, "| `{name}` | {description} | `{kind}` | No | {default} |");
    }
    text.push('\n');
}

fn output(text: &mut String, m: &Manifest) {
    text.push_str("### Output\n\n");
    if let Some(what) = m.output.get("description").and_then(Value::as_str) {
        let _ = write!(text, "{what}\n\n");
    }
    if let Some(example) = m.examples.iter().find(|e| e.output != "[]").or(m.examples.first()) {
        let _ = write!(text, "```json\n{}\n```\n\n", pretty(example.output));
    }
    let _ = write!(text, "<details markdown=\"1\"><summary>JSON Schema</summary>\n\n```json\n{:#}\n```\n\n</details>\n\n", m.output);
    if m.plan.is_some() {
        text.push_str(
            "With `--dry_run`: a list of `{\"item\", \"status\": \"planned\", \"message\"}`, one for each item that would change.\n\n",
        );
    }
}

/// The ways to use an action; a reader of the site chooses one, and finds the choice kept on every page.
fn forms(text: &mut String, cli: &str, json: &str, (says_rust, rust): (&str, &str)) {
    for (form, language, says, code) in
        [("cli", "bash", "", cli), ("json", "bash", "As JSON in a pipe:\n\n", json), ("rust", "rust", says_rust, rust)]
    {
        let _ = write!(text, "<div class=\"form\" data-form=\"{form}\">\n\n{says}```{language}\n{code}\n```\n\n</div>\n\n");
    }
}

/// What is typed, with the names of the values in place of values.
fn usage(text: &mut String, m: &Manifest) {
    let cli = [format!("aaws {} {}", m.service, m.action)].into_iter().chain(invocation::usage(m)).collect::<Vec<_>>().join(" \\\n    ");
    let required = m.params.iter().filter(|p| p.required).map(|p| (p.name.clone(), Value::from(format!("<{}>", p.kind.name()))));
    let skeleton = Value::Object(required.collect());
    let json = format!("aaws {} {} --input '{skeleton}'", m.service, m.action);
    text.push_str("<div class=\"forms\"></div>\n\n");
    let Some(example) = m.examples.first() else {
        return forms(text, &cli, &json, (FROM_RUST, rust::call_with_json(m, &format!("{skeleton:#}")).as_str()));
    };
    let says = match rust::call(m, example) {
        Some(_) => format!("From Rust, where it gives a `{}`:\n\n", rust::short(m.output_type)),
        None => "From Rust. Its input has no defaults as a Rust type yet, so that it is given as JSON:\n\n".into(),
    };
    forms(text, &cli, &json, (says.as_str(), from_rust(m, example, Some(rust::opening(m))).as_str()));
}

fn examples(text: &mut String, m: &Manifest) {
    if m.examples.is_empty() {
        return;
    }
    text.push_str("## Examples\n\n");
    for example in m.examples {
        let piped = format!("echo '{}' | aaws {} {} --input -", compact(example.input).replace('\'', r"'\''"), m.service, m.action);
        let _ = write!(text, "{}:\n\n", example.title);
        forms(text, &command_line(m, example), &piped, (FROM_RUST, from_rust(m, example, None).as_str()));
        let _ = write!(text, "Prints:\n\n```json\n{}\n```\n\n", pretty(example.output));
    }
}

/// The same through the library: typed where that can be written, otherwise the JSON of the page. `opened` is what stands before a typed call.
fn from_rust(m: &Manifest, example: &Example, opened: Option<String>) -> String {
    match rust::call(m, example) {
        Some(call) => opened.into_iter().chain([call]).collect::<Vec<_>>().join("\n"),
        None => rust::call_with_json(m, &pretty(example.input)),
    }
}

fn calls(text: &mut String, calls: &[Call]) {
    text.push_str("| Call | IAM action | Resource | When needed | Access |\n|---|---|---|---|---|\n");
    for call in calls {
        let access = match call.access {
            Access::Read => "read",
            Access::Write => "write",
        };
        if call.grants.is_empty() {
            let _ = writeln!(text, "| `{}` | none | | {} | {access} |", call.name, needed(call.when, When::Always));
        }
        for grant in call.grants {
            let resources: Vec<_> = grant.resources.iter().map(|r| format!("`{r}`")).collect();
            let when = needed(call.when, grant.when);
            let _ = writeln!(text, "| `{}` | `{}` | {} | {when} | {access} |", call.name, grant.action, resources.join("<br>"));
        }
    }
    text.push('\n');
}

fn needed(call: When, grant: When) -> String {
    let words: Vec<_> = [call.words(), grant.words()].into_iter().filter(|w| !w.is_empty()).collect();
    if words.is_empty() { "always".into() } else { words.join(", ") }
}

/// An action's permissions page.
pub fn permissions(entry: &Entry, m: &Manifest) -> String {
    let title = title(m.action);
    let mut text = front_matter(&title, &[("parent", m.service), ("grand_parent", "Permissions")], &format!("/aws/permissions/{}", m.path));
    let _ = write!(text, "# {title}\n\n{}\n\n[Action](../../actions/{}.md)\n\n", m.summary, m.path);
    if m.calls.is_empty() {
        return text + "No permission is needed: it makes no call.\n";
    }
    if Policy::of(&[entry], &Scope { all: true, ..Scope::default() }).is_empty() {
        text.push_str("AWS asks for no permission for what it calls.\n\n## Why\n\n");
        calls(&mut text, m.calls);
        return text.trim_end().to_owned() + "\n";
    }
    let _ = write!(text, "## Policy\n\n`aaws permissions {} {}` prints it:\n\n", m.service, m.action);
    policy(&mut text, entry, &Scope::default());
    if let Some((example, input)) = m.examples.iter().find_map(|e| Some((e, object(e)?))) {
        let flags = command_line(m, example);
        let flags = flags.split_once(" --").map(|(_, f)| format!(" --{f}")).unwrap_or_default();
        let _ = write!(text, "## Scoped to an example\n\n`aaws permissions {} {}{flags}` prints:\n\n", m.service, m.action);
        policy(&mut text, entry, &Scope { input, ..Scope::default() });
    }
    let everything = Scope { all: true, ..Scope::default() };
    if Policy::of(&[entry], &everything) != Policy::of(&[entry], &Scope::default()) {
        text.push_str("## With everything that conditions may ask for\n\n`--all` adds what only some inputs, or some accounts, need:\n\n");
        policy(&mut text, entry, &everything);
    }
    text.push_str("## Why\n\n");
    calls(&mut text, m.calls);
    text.trim_end().to_owned() + "\n"
}

fn policy(text: &mut String, entry: &Entry, scope: &Scope) {
    let policy = serde_json::to_string_pretty(&Policy::of(&[entry], scope)).unwrap_or_default();
    let _ = write!(text, "```json\n{policy}\n```\n\n");
}

fn object(example: &Example) -> Option<Map<String, Value>> {
    match serde_json::from_str(example.input) {
        Ok(Value::Object(input)) => Some(input),
        _ => None,
    }
}

/// JSON text that is not JSON fails a test of the registry; here it is shown as it stands.
fn pretty(json: &str) -> String {
    serde_json::from_str::<Value>(json).map_or_else(|_| json.to_owned(), |v| format!("{v:#}"))
}

fn compact(json: &str) -> String {
    serde_json::from_str::<Value>(json).map_or_else(|_| json.to_owned(), |v| v.to_string())
}

/// Text that may stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
