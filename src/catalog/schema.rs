//! Reads a JSON Schema once, into what flags, help and pages need of it.

use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use crate::engine::entry::Entry;
use crate::input::{Elements, Naming};
use crate::model::error::{Error, InputError, Result};

/// One input of an action, or one member of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// `modified_before`
    pub name: String,
    /// What it takes.
    pub kind: ParamKind,
    /// Whether it has to be given.
    pub required: bool,
    /// What it is when it is not given.
    pub default: Option<Value>,
    /// Its doc comment, one line.
    pub description: String,
    /// Whether a flag's value of it, or of a list each of its values, may name a local file: a [`crate::PathOrText`] or [`crate::LocalPath`].
    pub is_path: bool,
    /// Whether it, or each of a list, is a [`crate::Region`].
    pub is_region: bool,
    /// Of a list of strings: the members by which an object stands for an element.
    pub naming: Naming,
}

/// What a parameter takes.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamKind {
    /// A flag.
    Bool,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A string.
    Text,
    /// A [`crate::Secret`].
    Secret,
    /// A [`crate::Moment`].
    Date,
    /// An [`crate::Age`].
    Age,
    /// One of these.
    Choice(Vec<Choice>),
    /// Many of these; `streamed` when it is [`crate::Items`].
    List {
        /// What its elements are.
        of: Box<ParamKind>,
        /// Whether it may be longer than memory.
        streamed: bool,
    },
    /// An object with these members.
    Object(Vec<Param>),
    /// Any JSON.
    Any,
}

/// A value to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// As typed.
    pub value: String,
    /// What it means.
    pub description: Option<String>,
}

impl ParamKind {
    /// As shown in help and pages: `list(string)`.
    pub fn name(&self) -> String {
        match self {
            ParamKind::Bool => "bool".into(),
            ParamKind::Integer => "integer".into(),
            ParamKind::Number => "number".into(),
            ParamKind::Text | ParamKind::Choice(_) => "string".into(),
            ParamKind::Secret => "secret".into(),
            ParamKind::Date => "date".into(),
            ParamKind::Age => "duration".into(),
            ParamKind::List { of, .. } => format!("list({})", of.name()),
            ParamKind::Object(members) => {
                let members = members.iter().map(|m| if m.required { m.name.clone() } else { format!("{}?", m.name) });
                format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
            }
            ParamKind::Any => "JSON".into(),
        }
    }

    /// How the elements of a list of these are read from a file.
    pub fn elements(&self) -> Elements {
        match self {
            ParamKind::Text | ParamKind::Secret | ParamKind::Choice(_) | ParamKind::Date | ParamKind::Age => Elements::Text,
            _ => Elements::Json,
        }
    }

    /// Whether a value of it holds a secret, or may.
    pub fn has_secret(&self) -> bool {
        match self {
            ParamKind::Secret => true,
            ParamKind::List { of, .. } => of.has_secret(),
            ParamKind::Object(members) => members.iter().any(|m| m.kind.has_secret()),
            _ => false,
        }
    }

    /// What may be chosen, of the value or of a list's elements.
    pub fn choices(&self) -> &[Choice] {
        match self {
            ParamKind::Choice(choices) => choices,
            ParamKind::List { of, .. } => of.choices(),
            _ => &[],
        }
    }
}

/// The parameters that an object schema describes, in source order.
pub fn params(schema: &Value) -> Vec<Param> {
    let required: Vec<&str> = strings(schema.get("required"));
    let properties = schema.get("properties").and_then(Value::as_object);
    let param = |(name, schema): (&String, &Value)| Param {
        kind: kind(schema),
        required: required.contains(&name.as_str()),
        default: schema.get("default").filter(|d| !d.is_null()).cloned(),
        description: one_line(text(schema, "description")),
        is_path: is(schema, "x-aaws-path"),
        is_region: is(schema, "x-aaws-region"),
        naming: Naming::of(name, schema),
        name: name.clone(),
    };
    properties.into_iter().flatten().map(param).collect()
}

/// Whether a schema, or that of the elements of a list, has this mark.
fn is(schema: &Value, mark: &str) -> bool {
    let marked = |schema: &Value| schema.get(mark) == Some(&Value::Bool(true));
    marked(schema) || schema.get("items").is_some_and(marked)
}

/// Whether an input that need not be whole has known names and fitting values. All that is wrong is told.
pub fn check(params: &[Param], input: &Map<String, Value>) -> Result<()> {
    let secret = params.iter().any(|p| p.kind.has_secret());
    let wrong = |(name, value): (&String, &Value)| {
        let Some(param) = params.iter().find(|p| p.name == *name) else {
            let names: Vec<_> = params.iter().map(|p| format!("`{}`", p.name)).collect();
            return Some(InputError::field(name, format!("there is no `{name}`: expected one of {}", names.join(", "))));
        };
        let given = if secret { "what was given".to_owned() } else { value.to_string() };
        (!takes(param, value)).then(|| InputError::field(name, format!("`{name}` takes {}, not {given}", param.kind.name())))
    };
    Error::inputs(input.iter().filter_map(wrong).collect())
}

fn takes(param: &Param, value: &Value) -> bool {
    match (&param.kind, value) {
        // What such an object has to hold is looked at where the input is read.
        (ParamKind::List { of, .. }, Value::Array(items)) if param.naming.keeps_objects() => {
            items.iter().all(|item| item.is_object() || fits(of, item))
        }
        // A path that was typed is an object.
        (ParamKind::List { .. }, Value::Array(items)) if param.is_path => items.iter().all(|item| item.is_object() || item.is_string()),
        (ParamKind::Text, Value::Object(_)) if param.is_path => true,
        (kind, value) => fits(kind, value),
    }
}

fn fits(kind: &ParamKind, value: &Value) -> bool {
    match kind {
        ParamKind::Bool => value.is_boolean(),
        ParamKind::Integer => value.is_i64() || value.is_u64(),
        ParamKind::Number => value.is_number(),
        ParamKind::Text | ParamKind::Secret | ParamKind::Date | ParamKind::Age => value.is_string(),
        ParamKind::Choice(choices) => choices.iter().any(|c| value.as_str() == Some(&c.value)),
        ParamKind::List { of, .. } => value.as_array().is_some_and(|items| items.iter().all(|item| fits(of, item))),
        ParamKind::Object(_) => value.is_object(),
        ParamKind::Any => true,
    }
}

/// The first sentences of many actions, for less than their schemas take: types that several of them share are described once.
#[derive(Default)]
pub struct Summaries(SchemaGenerator);

impl Summaries {
    /// What an action's doc comment says first.
    pub fn of(&mut self, entry: &Entry) -> String {
        let schema = entry.described(&mut self.0);
        one_line(paragraphs(schema.as_value()).0)
    }
}

/// A doc comment's first paragraph, and the rest.
fn paragraphs(schema: &Value) -> (&str, &str) {
    let text = text(schema, "description");
    text.split_once("\n\n").unwrap_or((text, ""))
}

/// What an action's doc comment says: its first paragraph, and the rest.
pub fn description(schema: &Value) -> (String, String) {
    let (summary, rest) = paragraphs(schema);
    let rest = rest.split("\n\n").map(|p| if is_prose(p) { one_line(p) } else { p.trim_end().to_owned() });
    (one_line(summary), rest.collect::<Vec<_>>().join("\n\n").trim().to_owned())
}

/// The flag for one element of a list: `objects` has `object`, `policies` has `policy`.
pub fn singular(plural: &str) -> Option<String> {
    match plural.strip_suffix("ies") {
        Some(stem) => Some(format!("{stem}y")),
        None => plural.strip_suffix('s').map(str::to_owned),
    }
}

fn kind(schema: &Value) -> ParamKind {
    // `Option<T>` where T is more than a plain type: anyOf [T, null]. Or text that an object may stand for: anyOf [string, object].
    if let Some(Value::Array(any)) = schema.get("anyOf") {
        return match any.iter().find(|s| s.get("type") != Some(&Value::from("null"))) {
            Some(one) if any.len() == 2 => kind(one),
            _ => ParamKind::Any,
        };
    }
    if let Some(choices) = choices(schema) {
        return ParamKind::Choice(choices);
    }
    match (plain_type(schema), text(schema, "format")) {
        ("string", "date-or-age") => ParamKind::Date,
        ("string", "age") => ParamKind::Age,
        ("string", "password") => ParamKind::Secret,
        ("string", _) => ParamKind::Text,
        ("boolean", _) => ParamKind::Bool,
        ("integer", _) => ParamKind::Integer,
        ("number", _) => ParamKind::Number,
        ("array", _) => ParamKind::List {
            of: Box::new(schema.get("items").map_or(ParamKind::Any, kind)),
            streamed: schema.get("x-aaws-stream") == Some(&Value::Bool(true)),
        },
        ("object", _) if schema.get("properties").is_some() => ParamKind::Object(params(schema)),
        _ => ParamKind::Any,
    }
}

/// schemars writes an enum without descriptions as `enum`, one with them as `oneOf` of `const`.
fn choices(schema: &Value) -> Option<Vec<Choice>> {
    if let Some(Value::Array(_)) = schema.get("enum") {
        let values = strings(schema.get("enum"));
        return Some(values.into_iter().map(|v| Choice { value: v.into(), description: None }).collect());
    }
    let one_of = schema.get("oneOf")?.as_array()?;
    let choice = |s: &Value| {
        let description = one_line(text(s, "description"));
        Some(Choice { value: s.get("const")?.as_str()?.into(), description: (!description.is_empty()).then_some(description) })
    };
    one_of.iter().map(choice).collect()
}

/// The type, `null` beside it ignored.
fn plain_type(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(one)) => one,
        Some(Value::Array(_)) => strings(schema.get("type")).into_iter().find(|t| *t != "null").unwrap_or_default(),
        _ => "",
    }
}

fn strings(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.as_object().and_then(|s: &Map<String, Value>| s.get(key)).and_then(Value::as_str).unwrap_or_default()
}

/// Lists, tables and code keep their lines.
fn is_prose(paragraph: &str) -> bool {
    let numbered =
        |l: &str| l.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(". ") && l.starts_with(|c: char| c.is_ascii_digit());
    !paragraph.lines().any(|l| l.starts_with(['-', '*', '|', ' ', '#', '>']) || l.starts_with("```") || numbered(l))
}

/// Doc comments are wrapped; help and tables are not.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Items, Moment};
    use schemars::JsonSchema;
    use serde::Deserialize;

    #[allow(dead_code)]
    #[derive(Deserialize, JsonSchema)]
    struct Member {
        /// The key.
        key: String,
        /// The size.
        size: Option<u32>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        /// The one.
        One,
        /// The other.
        Other,
    }

    /// Does it.
    ///
    /// In a
    /// certain way.
    #[allow(dead_code)]
    #[derive(Deserialize, JsonSchema)]
    struct Whole {
        /// Which ones,
        /// exactly.
        objects: Items<Member>,
        names: Option<Items<String>>,
        since: Option<Moment>,
        mode: Option<Mode>,
        #[serde(default)]
        force: bool,
    }

    #[test]
    fn lists_keep_their_lines_and_prose_does_not() {
        let schema = serde_json::json!({ "description": "Do it\nwell.\n\nIn\nsteps:\n\n1. one;\n2. two.\n\n- a\n- b" });
        assert_eq!(description(&schema), ("Do it well.".into(), "In steps:\n\n1. one;\n2. two.\n\n- a\n- b".into()));
    }

    #[test]
    fn a_struct_is_read_back_from_its_schema() {
        let generator = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator();
        let schema = generator.into_root_schema_for::<Whole>().to_value();
        assert_eq!(description(&schema), ("Does it.".into(), "In a certain way.".into()));
        let params = params(&schema);
        let kinds: Vec<_> = params.iter().map(|p| (p.name.as_str(), p.kind.name(), p.required)).collect();
        let expected = [
            ("objects", "list({key, size?})", true),
            ("names", "list(string)", false),
            ("since", "date", false),
            ("mode", "string", false),
            ("force", "bool", false),
        ];
        assert_eq!(kinds, expected.map(|(n, k, r)| (n, k.to_owned(), r)));
        assert_eq!(params[0].description, "Which ones, exactly.");
        assert_eq!(params[3].kind.choices().len(), 2);
        assert_eq!(params[4].default, Some(Value::Bool(false)));
        assert!(matches!(params[1].kind, ParamKind::List { streamed: true, .. }));
    }

    #[test]
    fn text_that_an_object_may_stand_for_is_text() {
        let text = serde_json::json!({ "type": "string" });
        let either = serde_json::json!({ "anyOf": [text, { "type": "object", "properties": { "Key": text } }] });
        let schema = serde_json::json!({ "properties": { "objects": { "type": ["array", "null"], "items": either } } });
        let params = params(&schema);
        assert_eq!(params[0].kind.name(), "list(string)");
        let check = |objects: Value| check(&params, &Map::from_iter([("objects".to_owned(), objects)]));
        assert!(check(serde_json::json!(["a", {"Key": "b"}])).is_ok());
        assert!(check(serde_json::json!(["a", 7])).is_err());
    }

    #[test]
    fn a_summary_is_what_the_whole_schema_says_first() {
        let mut summaries = Summaries::default();
        for entry in crate::catalog::registry::actions() {
            let (summary, _) = description(&entry.input_schema().to_value());
            assert_eq!((entry.meta.path, summaries.of(entry)), (entry.meta.path, summary));
        }
    }

    #[test]
    fn singular_flags() {
        assert_eq!(singular("objects").as_deref(), Some("object"));
        assert_eq!(singular("policies").as_deref(), Some("policy"));
        assert_eq!(singular("include"), None);
    }
}
