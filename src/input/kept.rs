//! An input that is kept for another process: what is small and holds no secret, and its lists, element by element; and put together again.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::naming::Naming;
use super::spool::{Spool, SpoolItems};
use super::{Input, checks, path};
use crate::model::error::{Error, Result};

/// An input to be kept. Secrets are in no part of it.
pub struct KeptInput {
    /// What is small. A list that may be longer than memory stands in it as an empty one.
    pub value: Map<String, Value>,
    lists: Vec<(String, SpoolItems<Value>)>,
}

impl KeptInput {
    /// Of an input that is about to be given its type, which takes its lists: they are copied, in memory while they are short, then in temporary files.
    pub fn of(schema: &Value, input: &mut Input) -> Result<Self> {
        let mut kept = KeptInput { value: Map::new(), lists: Vec::new() };
        for (field, given) in &input.value {
            match (streamed(schema, field), given) {
                (Some(list), Value::Array(elements)) => {
                    let naming = Naming::of(field, list);
                    let mut spool = Spool::new(field.as_str());
                    for element in elements {
                        spool.push(&named(list, &naming, element.clone()))?;
                    }
                    kept.add(field, list, spool)?;
                }
                _ => drop(kept.value.insert(field.clone(), given.clone())),
            }
        }
        redact(schema, &mut kept.value);
        kept.value.values_mut().for_each(path::keep_typed);
        for (field, spool) in &mut input.spools {
            if let Some(list) = streamed(schema, field) {
                let copy = spool.copy()?;
                kept.add(field, list, copy)?;
            }
        }
        Ok(kept)
    }

    fn add(&mut self, field: &str, list: &Value, spool: Spool) -> Result<()> {
        let element = list.get("items").cloned().unwrap_or_default();
        let mut elements = spool.read::<Value>();
        if checks::has_secret(&element) {
            if is_secret(&element) {
                return Err(Error::field(field, format!("`{field}` is a list of secrets, which cannot be kept")));
            }
            let mut open = Spool::new(field);
            for value in elements {
                let mut value = value?;
                redact_value(&element, &mut value);
                open.push(&value)?;
            }
            elements = open.read();
        }
        self.value.insert(field.to_owned(), Value::Array(Vec::new()));
        self.lists.push((field.to_owned(), elements));
        Ok(())
    }

    /// The next element of each list that has one, as a list of it; nothing when all are at their ends.
    pub fn elements(&mut self) -> Result<Map<String, Value>> {
        let mut next = Map::new();
        for (field, elements) in &mut self.lists {
            if let Some(element) = elements.next() {
                let mut element = element?;
                path::keep_typed(&mut element);
                next.insert(field.clone(), Value::Array(vec![element]));
            }
        }
        Ok(next)
    }
}

/// The schema of an input that is a list which may be longer than memory.
fn streamed<'a>(schema: &'a Value, field: &str) -> Option<&'a Value> {
    let of = checks::member(schema, field)?;
    let list = checks::list(of).unwrap_or(of);
    let said = |schema: &Value| schema.get("x-aaws-stream") == Some(&Value::Bool(true));
    (said(of) || said(list)).then_some(list)
}

/// An element of a list as it stands in it: what an object names, where the list holds names.
fn named(list: &Value, naming: &Naming, element: Value) -> Value {
    match element {
        // An object that names nothing is told where the input is given its type.
        Value::Object(object) if checks::holds_text(list) => naming.element(object.clone()).unwrap_or(Value::Object(object)),
        element => element,
    }
}

/// Whether a value of this schema is a secret itself, or a list of nothing but secrets.
pub(super) fn is_secret(schema: &Value) -> bool {
    match checks::list(schema) {
        Some(list) => list.get("items").is_some_and(is_secret),
        None => checks::has_secret(schema) && checks::of_kind(schema, "object").is_none(),
    }
}

/// Takes the secrets out of an object. Beside secrets, members that the schema does not know are not trusted either.
fn redact(object: &Value, members: &mut Map<String, Value>) {
    let discreet = checks::has_secret(object);
    members.retain(|name, value| match checks::member(object, name) {
        Some(of) if is_secret(of) => false,
        Some(of) => {
            redact_value(of, value);
            true
        }
        None => !discreet,
    });
}

/// Takes the secrets out of what a value holds.
pub(super) fn redact_value(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(object) = checks::of_kind(schema, "object") {
                redact(object, members);
            }
        }
        Value::Array(items) => {
            if let Some(of) = checks::list(schema).and_then(|list| list.get("items")) {
                items.iter_mut().for_each(|item| redact_value(of, item));
            }
        }
        _ => {}
    }
}

/// What an element of a list is about, so that one with a secret is known again without it: members in any order and case, those that say nothing left
/// out, and the one member that is left the same as its value.
fn gist(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let folded = |name: &String| name.replace('_', "").to_ascii_lowercase();
            let said: BTreeMap<String, Value> =
                members.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (folded(name), gist(value))).collect();
            match said.len() {
                1 => said.into_values().next().unwrap_or_default(),
                _ => Value::Object(said.into_iter().collect()),
            }
        }
        Value::Array(items) => Value::Array(items.iter().map(gist).collect()),
        value => value.clone(),
    }
}

/// An input that is put together again. Secrets are given anew, and nothing else.
pub struct Rebuilt {
    schema: Value,
    input: Input,
    /// Elements of lists that were given anew with their secrets, by field and by what they are about.
    anew: BTreeMap<String, HashMap<String, Vec<Value>>>,
    /// Whether what was typed may name files of this machine.
    local_files: bool,
}

impl Rebuilt {
    /// From what was small of an input, and the secrets that it needs.
    pub fn new(schema: Value, value: Map<String, Value>, secrets: Map<String, Value>, local_files: bool) -> Result<Self> {
        let mut input = Input::default();
        for (field, mut given) in value {
            match streamed(&schema, &field) {
                Some(list) if given.is_array() => {
                    let spool = if checks::has_secret(list) { Spool::of_secrets(field.as_str()) } else { Spool::new(field.as_str()) };
                    input.spools.insert(field, spool);
                }
                _ => {
                    allow_files(&mut given, local_files)?;
                    input.value.insert(field, given);
                }
            }
        }
        let mut rebuilt = Rebuilt { schema, input, anew: BTreeMap::new(), local_files };
        for (field, given) in secrets {
            rebuilt.secret(field, given)?;
        }
        Ok(rebuilt)
    }

    /// Takes a secret, or a list whose elements hold some.
    fn secret(&mut self, field: String, given: Value) -> Result<()> {
        let Some(of) = checks::member(&self.schema, &field) else {
            return Err(Error::field(field.as_str(), format!("there is no `{field}`")));
        };
        if is_secret(of) {
            self.input.value.insert(field, given);
            return Ok(());
        }
        let known = || Error::field(field.as_str(), format!("`{field}` is in the plan: only secrets are given anew"));
        let element = streamed(&self.schema, &field).and_then(|list| list.get("items")).filter(|element| checks::has_secret(element));
        let (Some(element), Value::Array(elements), true) = (element, given, self.input.spools.contains_key(&field)) else {
            return Err(known());
        };
        let mut by_gist: HashMap<String, Vec<Value>> = HashMap::new();
        // The last one first: they are taken from the end.
        for value in elements.into_iter().rev() {
            let mut open = value.clone();
            redact_value(element, &mut open);
            by_gist.entry(gist(&open).to_string()).or_default().push(value);
        }
        self.anew.insert(field, by_gist);
        Ok(())
    }

    /// Adds elements to lists, as [`KeptInput::elements`] gave them.
    pub fn add(&mut self, elements: Map<String, Value>) -> Result<()> {
        for (field, values) in elements {
            let (Some(spool), Value::Array(values)) = (self.input.spools.get_mut(&field), values) else {
                return Err(Error::Failed(format!("`{field}` is no list of this action")));
            };
            for mut value in values {
                allow_files(&mut value, self.local_files)?;
                if let Some(anew) = self.anew.get_mut(&field)
                    && let Some(whole) = anew.get_mut(&gist(&value).to_string()).and_then(Vec::pop)
                {
                    value = whole;
                }
                spool.push(&value)?;
            }
        }
        Ok(())
    }

    /// The whole input. An element that was given anew and is not in it is a mistake.
    pub fn finish(self) -> Result<Input> {
        let left = self.anew.iter().find(|(_, all)| all.values().any(|elements| !elements.is_empty()));
        match left {
            Some((field, _)) => Err(Error::field(field.as_str(), format!("`{field}`: an element is given that is not in the plan"))),
            None => Ok(self.input),
        }
    }
}

/// What was typed when the input was kept may name a file: of whose machine, and chosen by whom, only a person knows.
fn allow_files(value: &mut Value, local_files: bool) -> Result<()> {
    match path::type_kept(value) {
        true if !local_files => {
            let why = "the plan takes the bodies of objects from files: `--local_files` lets it read them on this machine";
            Err(Error::Refused(why.into()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        let secret = json!({"type": ["string", "null"], "format": "password"});
        let user = json!({"type": "object", "properties": {"UserName": {"type": "string"}, "Password": secret}});
        json!({"type": "object", "properties": {
            "vault": {"type": "string"},
            "token": {"type": "string", "format": "password"},
            "codes": {"type": "array", "items": {"type": "string", "format": "password"}},
            "users": {"type": "array", "items": user, "x-aaws-stream": true},
            "keys": {"anyOf": [{"type": "array", "items": {"type": "string"}, "x-aaws-stream": true}, {"type": "null"}]},
        }})
    }

    fn of(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    fn kept(input: Value) -> (Map<String, Value>, Vec<Map<String, Value>>) {
        let mut kept = KeptInput::of(&schema(), &mut of(input).into()).expect("it can be kept");
        let mut elements = Vec::new();
        loop {
            match kept.elements().expect("elements") {
                none if none.is_empty() => return (kept.value, elements),
                some => elements.push(some),
            }
        }
    }

    #[test]
    fn an_input_is_kept_without_its_secrets() {
        let given = json!({"vault": "v", "token": "hunter2", "codes": ["hunter2"], "keys": ["a", {"Key": "b"}], "users": [
            {"UserName": "alice", "Password": "hunter2", "Note": "hunter2"}, "bob", {"user_name": "carol", "password": "hunter2"},
        ]});
        let (small, elements) = kept(given);
        assert_eq!(Value::Object(small), json!({"vault": "v", "keys": [], "users": []}));
        let lines: Vec<Value> = elements.into_iter().map(Value::Object).collect();
        let expected = [
            json!({"keys": ["a"], "users": [{"UserName": "alice"}]}),
            json!({"keys": ["b"], "users": ["bob"]}),
            json!({"users": [{"user_name": "carol"}]}),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn it_is_put_together_again_with_secrets_that_are_given_anew() {
        let (small, elements) = kept(json!({"vault": "v", "keys": [], "users": ["bob", {"UserName": "alice"}]}));
        let rebuilt = |secrets: Value| {
            let mut rebuilt = Rebuilt::new(schema(), small.clone(), of(secrets), false)?;
            elements.iter().cloned().try_for_each(|element| rebuilt.add(element))?;
            rebuilt.finish()
        };
        let secrets = json!({"token": "t", "users": [{"user_name": "alice", "password": "p"}, {"UserName": "bob", "Password": "q"}]});
        let mut input = rebuilt(secrets).expect("an input");
        assert_eq!(Value::Object(input.value), json!({"vault": "v", "token": "t"}));
        let users = input.spools.remove("users").expect("users").into_values().expect("values");
        assert_eq!(users, [json!({"UserName": "bob", "Password": "q"}), json!({"user_name": "alice", "password": "p"})]);
        assert!(input.spools.remove("keys").is_some_and(|keys| keys.is_empty()), "an empty list is not the same as none");

        let wrong = |secrets: Value| rebuilt(secrets).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(wrong(json!({"vault": "w"})).contains("`vault` is in the plan"));
        assert!(wrong(json!({"keys": ["a"]})).contains("`keys` is in the plan"));
        assert!(wrong(json!({"users": [{"UserName": "eve", "Password": "p"}]})).contains("not in the plan"));
        assert!(wrong(json!({"colour": "red"})).contains("there is no `colour`"));
    }

    #[test]
    fn files_are_read_only_where_somebody_says_so() {
        let given = json!({"users": [{"UserName": crate::input::PathOrText::typed("a.txt".into())}]});
        let (small, elements) = kept(given);
        let add = |local_files| {
            let mut rebuilt = Rebuilt::new(schema(), small.clone(), Map::new(), local_files)?;
            elements.iter().cloned().try_for_each(|element| rebuilt.add(element))
        };
        assert!(matches!(add(false), Err(Error::Refused(_))));
        assert!(add(true).is_ok());
    }
}
