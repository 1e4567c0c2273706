//! An input as it is written down: without secrets, and its lists by themselves.

use serde_json::{Map, Value};

use super::checks::{has_secret, list, member};
use super::kept::{is_secret, redact_value};
use super::spool::broken_spool;
use super::{Input, Spool};
use crate::model::error::Result;

/// Takes some elements of a list: the input's name, whether it may be longer than memory, and the elements, each as JSON, with commas between them.
pub type KeepElements<'a> = &'a mut (dyn FnMut(&str, bool, &str) -> Result<()> + 'a);

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
            let mut chunks = Chunks::new(field, false, many, &mut *keep);
            chunks.begin()?;
            values.iter().try_for_each(|value| chunks.push(&open(of, value.clone())))?;
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
    let mut chunks = Chunks::new(field, true, many, keep);
    chunks.begin()?;
    // What holds no secrets goes on as the text that it is: lists are long.
    let discreet = of.filter(|of| has_secret(of));
    spool.look(|element| match discreet {
        None => chunks.push(element),
        Some(_) => {
            let value = serde_json::from_str(element).map_err(|e| broken_spool(e.into()))?;
            chunks.push(&open(discreet, value))
        }
    })?;
    chunks.end()
}

/// A value without its secrets, as JSON.
fn open(of: Option<&Value>, mut value: Value) -> String {
    if let Some(of) = of {
        redact_value(of, &mut value);
    }
    value.to_string()
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
    many: usize,
    gathered: String,
    count: usize,
    keep: KeepElements<'a>,
}

impl<'a> Chunks<'a> {
    fn new(field: &'a str, spooled: bool, many: usize, keep: KeepElements<'a>) -> Self {
        Chunks { field, spooled, many, gathered: String::new(), count: 0, keep }
    }

    /// The list is there, even if nothing is in it.
    fn begin(&mut self) -> Result<()> {
        (self.keep)(self.field, self.spooled, "")
    }

    fn push(&mut self, element: &str) -> Result<()> {
        if self.count > 0 {
            self.gathered.push(',');
        }
        self.gathered.push_str(element);
        self.count += 1;
        if self.count >= self.many { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        (self.keep)(self.field, self.spooled, &self.gathered)?;
        self.gathered.clear();
        self.count = 0;
        Ok(())
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
            let mut keep = |field: &str, spooled: bool, elements: &str| {
                let elements: Value = serde_json::from_str(&format!("[{elements}]")).expect("a list");
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
