//! How an invocation is written: what help, pages and logs show to be typed.

use serde_json::Value;

use crate::catalog::manifest::Manifest;
use crate::catalog::schema::{ParamKind, singular};
use crate::model::meta::Example;

/// An example as it is typed.
pub fn command_line(manifest: &Manifest, example: &Example) -> String {
    let mut line = format!("aaws {} {}", manifest.service, manifest.action);
    let Ok(Value::Object(input)) = serde_json::from_str::<Value>(example.input) else {
        return line;
    };
    for (name, value) in &input {
        let kind = manifest.params.iter().find(|p| p.name == *name).map(|p| &p.kind);
        match (kind, value) {
            (Some(ParamKind::Bool), Value::Bool(true)) => line.push_str(&format!(" --{name}")),
            (Some(ParamKind::List { of, .. }), Value::Array(items)) => match (&**of, singular(name)) {
                (ParamKind::Object(members), Some(one)) => {
                    for item in items {
                        line.push_str(&format!(" --{one}"));
                        let given = members.iter().map_while(|m| item.get(&m.name));
                        given.for_each(|v| line.push_str(&format!(" {}", quote(v))));
                    }
                }
                _ => {
                    line.push_str(&format!(" --{name}"));
                    items.iter().for_each(|i| line.push_str(&format!(" {}", quote(i))));
                }
            },
            _ => line.push_str(&format!(" --{name} {}", quote(value))),
        }
    }
    line
}

/// For a POSIX shell.
fn quote(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
