//! What holds for every list.

use serde_json::Value;

use super::{Elements, Naming, Problem, Spool, line_is_exact};

/// How deep a value may be that is written and read again: readers of JSON stop at 128, and the list around it is a level, too.
const DEEPEST: usize = 100;

/// Reads bytes as a list of names, and as one of any values. Either it is said what is wrong with them; or what was read is read again, just as it was,
/// when it is written as JSON or as lines.
pub fn list(data: &[u8]) -> bool {
    let names = read(data, Elements::Text);
    if let Some(names) = names.as_ref().filter(|names| names.iter().all(Value::is_string)) {
        assert_eq!(read(json(names).as_bytes(), Elements::Text).as_ref(), Some(names), "as a JSON array");
        assert_eq!(read(lines(names).as_bytes(), Elements::Text).as_ref(), Some(names), "as lines");
    }
    let values = read(data, Elements::Json);
    if let Some(values) = values.as_ref().filter(|values| values.iter().all(|value| depth(value) < DEEPEST)) {
        assert_eq!(read(json(values).as_bytes(), Elements::Json).as_ref(), Some(values), "as a JSON array");
    }
    names.is_some() || values.is_some()
}

fn read(data: &[u8], elements: Elements) -> Option<Vec<Value>> {
    let mut spool = Spool::new("objects").with_naming(Naming::of("objects", &Value::Null));
    match spool.read_from(data, elements) {
        Ok(()) => {
            let many = spool.len();
            let values = spool.into_values().unwrap_or_else(|e| panic!("what was kept cannot be read back: {e}"));
            assert_eq!(values.len() as u64, many);
            Some(values)
        }
        Err(Problem::Theirs(what)) => {
            assert!(!what.trim().is_empty(), "it is refused without a word");
            None
        }
        Err(Problem::Ours(e)) => panic!("{e}"),
    }
}

fn json(values: &[Value]) -> String {
    Value::from(values.to_vec()).to_string()
}

/// A line a name, as `--output text` has it: in quotes where it would be read as something else.
fn lines(names: &[Value]) -> String {
    let line = |name: &Value| match name.as_str() {
        Some(text) if line_is_exact(text, Elements::Text) => format!("{text}\n"),
        _ => format!("{name}\n"),
    };
    names.iter().map(line).collect()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}
