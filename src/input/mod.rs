//! The input of an action on its way from a front end to the typed struct: lists longer than memory, dates, patterns, secrets, and reading them. Knows
//! the model only.

mod checks;
mod explain;
mod glob;
mod items;
mod json;
mod kept;
mod moment;
mod naming;
mod path;
mod pieces;
mod secret;
mod source;
mod spool;

pub use checks::forbid_empty;
pub use glob::Glob;
pub use items::Items;
pub use json::read as read_json;
pub use kept::{KeptInput, Rebuilt};
pub use moment::{Age, Moment};
pub use naming::Naming;
pub(crate) use path::was_typed;
pub use path::{LocalPath, PathOrText};
pub use secret::Secret;
#[cfg(any(test, fuzzing))]
pub use source::fuzz;
pub use source::{CSV_HEADER, Elements, Source, line_is_exact};
pub use spool::Spool;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use crate::model::error::{Error, InputError, Result};
use crate::model::rules::Rule;

/// An input before it has its type: JSON, and lists that are too long for memory beside it.
#[derive(Debug, Default)]
pub struct Input {
    /// Everything that is small.
    pub value: Map<String, Value>,
    /// Lists read from files and streams, by field.
    pub spools: BTreeMap<String, Spool>,
    /// What was found wrong while it was read, each with the parameter that was not read because of it: it is told together with all else.
    pub mistakes: Vec<(String, InputError)>,
}

impl From<Map<String, Value>> for Input {
    fn from(value: Map<String, Value>) -> Self {
        Input { value, ..Input::default() }
    }
}

impl Input {
    /// From JSON text; anything but an object whose members are there once is an error.
    pub fn from_json(text: &str) -> Result<Self> {
        match read_json(text) {
            Ok(Value::Object(value)) => Ok(value.into()),
            Ok(other) => Err(Error::input(format!("the input must be a JSON object, not {}", kind(&other)))),
            Err(what) => Err(Error::input(format!("the input {what}"))),
        }
    }
}

/// Whether an input with this schema has a field of this name that holds a secret, or may.
pub fn holds_secret(schema: &Value, field: &str) -> bool {
    checks::member(schema, field).is_some_and(checks::has_secret)
}

/// Checks an input and gives it its type, which the schema describes. All mistakes are told at once: those of the rules, and what is missing, not known,
/// empty or of another type. Ages are as they are at `now`.
pub fn parse<T: DeserializeOwned>(rules: &[Rule], schema: &Value, input: Input, now: Timestamp) -> Result<T> {
    let Input { mut value, mut spools, mistakes } = input;
    let secret = checks::has_secret(schema);
    let mut found = Mistakes::default();
    // A rule asks only whether an input was given: one that could not be read was.
    let mut given = presence(&value);
    given.extend(spools.keys().chain(mistakes.iter().map(|(name, _)| name)).map(|name| (name.clone(), Value::Bool(true))));
    mistakes.into_iter().for_each(|(_, mistake)| found.add(mistake));
    name_objects(schema, &mut value, &mut found);
    for (field, spool) in &mut spools {
        let element = checks::member(schema, field).and_then(checks::list).and_then(|list| list.get("items"));
        spool.describe(element.cloned().unwrap_or_default(), secret);
        value.insert(field.clone(), items::placeholder(field));
    }
    let (value, mut empty) = (Value::Object(value), Vec::new());
    checks::find_empty(schema, &value, "", &mut empty);
    for place in empty {
        let hint = "leave it out, or give it a value: is a variable of the shell not set?";
        let message = format!("`{place}` is empty");
        found.add(InputError::field(place, message).with_hint(Some(hint.to_owned())));
    }
    let (typed, rest) = items::with_spools(spools, || moment::at(now, || typed::<T>(value, secret, &mut found)));
    if typed.is_none() {
        let missing = checks::required(schema).filter(|name| !given.contains_key(*name));
        missing.for_each(|name| found.add(InputError::field(name, format!("`{name}` is required"))));
    }
    rules.iter().filter_map(|rule| rule.check(&given).err()).for_each(|broken| found.push(broken));
    if let Some(rest) = rest.filter(|rest| rest.field.as_ref().is_none_or(|field| !given.contains_key(field))) {
        found.add(rest);
    }
    Error::inputs(found.all)?;
    typed.ok_or_else(|| Error::input("the input does not fit"))
}

/// The mistakes of one input.
#[derive(Default)]
struct Mistakes {
    all: Vec<InputError>,
    fields: BTreeSet<String>,
}

impl Mistakes {
    /// Adds what is wrong with a value; what else is wrong with the same value follows from it.
    fn add(&mut self, mistake: InputError) {
        if mistake.field.as_ref().is_none_or(|field| self.fields.insert(field.clone())) {
            self.all.push(mistake);
        }
    }

    /// Adds what is wrong between values.
    fn push(&mut self, mistake: InputError) {
        self.all.push(mistake);
    }
}

/// Which inputs are given, without their values, as rules ask for them.
fn presence(value: &Map<String, Value>) -> Map<String, Value> {
    let given = |value: &Value| match value {
        Value::Null | Value::Bool(_) => value.clone(),
        _ => Value::Bool(true),
    };
    value.iter().map(|(name, value)| (name.clone(), given(value))).collect()
}

/// Puts in place of objects in lists of strings what they stand for. Those that stand for nothing are told.
fn name_objects(schema: &Value, value: &mut Map<String, Value>, found: &mut Mistakes) {
    for (field, given) in value.iter_mut() {
        let (Some(of), Value::Array(items)) = (checks::member(schema, field), given) else { continue };
        if !checks::list(of).is_some_and(checks::holds_text) {
            continue;
        }
        let naming = Naming::of(field, of);
        for (index, item) in items.iter_mut().enumerate() {
            let Value::Object(object) = item else { continue };
            if path::is_typed(object) {
                continue;
            }
            match naming.element(object.clone()) {
                Ok(element) => *item = element,
                Err(what) => {
                    let place = format!("{field}[{index}]");
                    let message = format!("`{place}` {what}");
                    found.add(InputError::field(place, message));
                }
            }
        }
    }
}

/// Gives a value its type. Each input that does not fit is told; and what serde says of the input as a whole comes back. Serde stops at the first
/// mistake, so it goes on with the inputs behind that one: no list is read twice.
fn typed<T: DeserializeOwned>(value: Value, secret: bool, found: &mut Mistakes) -> (Option<T>, Option<InputError>) {
    let (mut whole, mut intact) = (value, true);
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(&whole) {
            Ok(typed) => return (intact.then_some(typed), None),
            Err(error) => error,
        };
        let path = error.path().to_string();
        let name = error.path().iter().next().and_then(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            _ => None,
        });
        let message = error.into_inner().to_string();
        let Value::Object(inputs) = whole else { return (None, Some(explain::explain(&path, &message))) };
        let Some(name) = name.filter(|name| inputs.contains_key(name)) else {
            return (None, intact.then(|| explain::explain(&path, &message)));
        };
        let message = match inputs.get(&name) {
            Some(value) if secret && !items::is_placeholder(value) => explain::quiet(&message, value),
            _ => message,
        };
        found.add(explain::explain(&path, &message));
        intact = false;
        whole = Value::Object(inputs.into_iter().skip_while(|(input, _)| *input != name).skip(1).collect());
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;
    use schemars::generate::SchemaSettings;
    use schemars::transform::RecursiveTransform;
    use serde::Deserialize;
    use serde_json::json;

    #[allow(dead_code)]
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Whole {
        bucket: String,
        objects: Items<String>,
        size: Option<u32>,
        owner: Owner,
        #[serde(default)]
        all: bool,
        version: Option<String>,
    }

    #[allow(dead_code)]
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "PascalCase")]
    struct Owner {
        name: String,
        password: Option<Secret>,
    }

    const RULES: &[Rule] = &[Rule::AtMostOne(&["all", "version"])];

    fn parse_input(input: Input) -> Result<Whole> {
        let settings = SchemaSettings::draft2020_12().for_deserialize().with(|s| s.inline_subschemas = true);
        let schema = settings.with_transform(RecursiveTransform(forbid_empty)).into_generator().into_root_schema_for::<Whole>().to_value();
        parse(RULES, &schema, input, Timestamp::UNIX_EPOCH)
    }

    fn mistakes(input: Input) -> Vec<String> {
        match parse_input(input) {
            Err(Error::Input(e)) => e.into_all().into_iter().map(|e| e.message).collect(),
            Err(other) => vec![other.to_string()],
            Ok(_) => Vec::new(),
        }
    }

    fn of(value: Value) -> Input {
        value.as_object().expect("an object").clone().into()
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let said = mistakes(of(json!({
            "colour": "red", "objects": ["a", "", {"Key": "k"}, {"Size": 1}], "size": -1, "all": true, "version": "",
        })));
        let expected = [
            "`objects[3]` is an object without a member",
            "there is no `colour`",
            "`size`: ",
            "`bucket` is required",
            "`owner` is required",
            "give only one of `all` or `version`",
            "`objects[1]` is empty",
            "`version` is empty",
        ];
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for words in expected {
            assert!(said.iter().any(|message| message.starts_with(words)), "{words}: {said:?}");
        }
    }

    #[test]
    fn what_fits_is_taken() {
        let whole =
            json!({"bucket": "b", "objects": ["a", {"Key": "k", "Size": 1}], "owner": {"Name": "n", "Password": "p"}, "version": "v"});
        assert!(parse_input(of(whole.clone())).is_ok_and(|w| w.objects.len() == 2));
        let mut input = of(whole);
        input.mistakes.push(("size".into(), InputError::field("size", "`size` takes a whole number")));
        assert_eq!(mistakes(input), ["`size` takes a whole number"]);
    }

    #[test]
    fn lists_from_elsewhere_are_checked_even_behind_a_mistake() {
        let mut spool = Spool::new("objects");
        ["a", ""].iter().for_each(|key| spool.push(&json!(key)).expect("room"));
        let mut input = of(json!({"bucket": 7, "owner": {"Name": "n"}}));
        input.spools.insert("objects".into(), spool);
        let said = mistakes(input);
        assert!(said.len() == 2 && said[0].starts_with("`bucket`") && said[1] == "`objects`: item 2 is empty", "{said:?}");
    }

    #[test]
    fn no_value_of_an_input_with_secrets_is_repeated() {
        for input in [
            json!({"owner": {"Name": ["hunter2"]}}),
            json!({"owner": "hunter2"}),
            json!({"owner": ["hunter2", 1]}),
            json!({"size": "hunter2"}),
            json!({"all": "hunter2"}),
        ] {
            let said = mistakes(of(input.clone()));
            assert!(!said.is_empty() && !said.iter().any(|m| m.contains("hunter2")), "{input}: {said:?}");
        }
    }
}
