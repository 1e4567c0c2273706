//! An input as it is written down: without secrets, and its lists by themselves.

use serde_json::{Map, Value};

use super::checks::{list, member};
use super::kept::{is_secret, redact_value};
use super::{Input, Spool};
use crate::model::error::Result;

/// Takes some elements of a list: the input's name, whether it may be longer than memory, and the elements.
pub type KeepElements<'a> = &'a mut (dyn FnMut(&str, bool, Vec<Value>) -> Result<()> + 'a);

impl Input {
    /// Everything but lists and secrets, of an input that this schema describes.
    pub fn small(&self, schema: &Value) -> Map<String, Value> {
        let mut small = Value::Object(self.value.iter().filter(|(_, value)| !value.is_array()).map(owned).collect());
        redact_value(schema, &mut small);
        match small {
            Value::Object(small) => small,
            _ => Map::new(),
        }
    }

    /// Gives the elements of all lists, so many at a time and without secrets. Of an empty list it says so.
    pub fn each_list(&mut self, schema: &Value, many: usize, keep: KeepElements<'_>) -> Result<()> {
        for (field, value) in &self.value {
            let (Value::Array(values), of) = (value, elements(schema, field)) else { continue };
            if of.is_some_and(is_secret) {
                continue;
            }
            let mut chunks = Chunks { field, spooled: false, of, many, gathered: Vec::new(), keep: &mut *keep };
            chunks.begin()?;
            values.iter().try_for_each(|value| chunks.push(value.clone()))?;
            chunks.end()?;
        }
        for (field, spool) in &mut self.spools {
            let of = elements(schema, field);
            if !of.is_some_and(is_secret) {
                each_of(field, spool, of, many, &mut *keep)?;
            }
        }
        Ok(())
    }
}

fn each_of(field: &str, spool: &mut Spool, of: Option<&Value>, many: usize, keep: KeepElements<'_>) -> Result<()> {
    let mut chunks = Chunks { field, spooled: true, of, many, gathered: Vec::new(), keep };
    chunks.begin()?;
    spool.look(|value| chunks.push(value))?;
    chunks.end()
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// The schema of the elements of a list.
fn elements<'a>(schema: &'a Value, field: &str) -> Option<&'a Value> {
    member(schema, field).and_then(list).and_then(|list| list.get("items"))
}

/// Elements of a list that are gathered.
struct Chunks<'a> {
    field: &'a str,
    spooled: bool,
    of: Option<&'a Value>,
    many: usize,
    gathered: Vec<Value>,
    keep: KeepElements<'a>,
}

impl Chunks<'_> {
    /// The list is there, even if nothing is in it.
    fn begin(&mut self) -> Result<()> {
        (self.keep)(self.field, self.spooled, Vec::new())
    }

    fn push(&mut self, mut value: Value) -> Result<()> {
        if let Some(of) = self.of {
            redact_value(of, &mut value);
        }
        self.gathered.push(value);
        if self.gathered.len() >= self.many { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<()> {
        match std::mem::take(&mut self.gathered) {
            gathered if gathered.is_empty() => Ok(()),
            gathered => (self.keep)(self.field, self.spooled, gathered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_stay_behind_and_lists_come_in_pieces() {
        let secret = json!({"type": "string", "format": "password"});
        let schema = json!({"type": "object", "properties": {
            "bucket": {"type": "string"},
            "token": {"anyOf": [secret, {"type": "null"}]},
            "codes": {"type": "array", "items": secret},
            "users": {"type": "array", "items": {"type": "object", "properties": {"UserName": {"type": "string"}, "Password": secret}}},
            "keys": {"type": "array", "items": {"type": "string"}},
        }});
        let given = json!({
            "bucket": "b", "token": "hunter2", "codes": ["hunter2"], "none": [],
            "users": [{"UserName": "alice", "password": "hunter2", "Passwort": "hunter2"}, {"UserName": "bob"}, {"UserName": "eve"}],
        });
        let mut input: Input = given.as_object().expect("an object").clone().into();
        let mut spool = Spool::new("keys");
        ["a", "b", "c"].iter().for_each(|key| spool.push(&json!(key)).expect("room"));
        input.spools.insert("keys".into(), spool);

        assert_eq!(Value::from(input.small(&schema)), json!({"bucket": "b"}));
        for _ in 0..2 {
            // What is shown once can be shown again, and read.
            let mut kept = Vec::new();
            let mut keep = |field: &str, spooled: bool, elements: Vec<Value>| {
                kept.push(json!([field, spooled, elements]));
                Ok(())
            };
            input.each_list(&schema, 2, &mut keep).expect("lists");
            let expected = json!([
                ["none", false, []],
                ["users", false, []], ["users", false, [{"UserName": "alice"}, {"UserName": "bob"}]], ["users", false, [{"UserName": "eve"}]],
                ["keys", true, []], ["keys", true, ["a", "b"]], ["keys", true, ["c"]],
            ]);
            assert_eq!(Value::from(kept), expected);
        }
    }
}
