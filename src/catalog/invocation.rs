//! How an invocation is written: what help, pages and logs show to be typed.

use serde_json::Value;

use crate::catalog::manifest::Manifest;
use crate::catalog::schema::{Param, ParamKind, singular};
use crate::model::meta::Example;

/// What a list or a whole object may be read from.
const SOURCES: &str = "|@FILE|-";

/// What stands for the value of an input's flag: its name, or where that says more, what kind of value it is. The same in help, errors and pages.
pub fn value_name(param: &Param) -> String {
    let name = || shout(&param.name);
    match &param.kind {
        ParamKind::Bool => "true|false".into(),
        ParamKind::Integer | ParamKind::Number => "N".into(),
        ParamKind::Date => "DATE".into(),
        ParamKind::Age => "DURATION".into(),
        ParamKind::Choice(_) | ParamKind::Text => name(),
        ParamKind::Secret => "@FILE|-|env:NAME".into(),
        ParamKind::Any | ParamKind::Object(_) => format!("JSON{SOURCES}"),
        // No list that is read may name one.
        ParamKind::List { .. } if param.is_path => "PATH".into(),
        ParamKind::List { of, .. } => match &**of {
            ParamKind::Choice(_) => name(),
            ParamKind::Object(_) => format!("JSON{SOURCES}"),
            _ => format!("{}{SOURCES}", shout(&singular(&param.name).unwrap_or_else(|| param.name.clone()))),
        },
    }
}

/// `ContentType` and `content_type` are `CONTENT_TYPE`.
pub fn shout(name: &str) -> String {
    let mut shouted = String::new();
    for (index, c) in name.char_indices() {
        if c.is_uppercase() && index > 0 {
            shouted.push('_');
        }
        shouted.extend(c.to_uppercase());
    }
    shouted
}

/// The flags of an action without their values, a line each: those that need not be given in brackets.
pub fn usage(manifest: &Manifest) -> Vec<String> {
    let usage = |param: &Param| {
        let word = value_name(param);
        let word = word.strip_suffix(SOURCES).unwrap_or(&word);
        let flag = match &param.kind {
            ParamKind::Bool => format!("--{}", param.name),
            ParamKind::List { of, .. } => match (&**of, singular(&param.name)) {
                (ParamKind::Object(members), Some(one)) => {
                    let member = |m: &Param| if m.required { shout(&m.name) } else { format!("[{}]", shout(&m.name)) };
                    format!("--{one} {}...", members.iter().map(member).collect::<Vec<_>>().join(" "))
                }
                _ => format!("--{} {word}...", param.name),
            },
            _ => format!("--{} {word}", param.name),
        };
        if param.required { flag } else { format!("[{flag}]") }
    };
    manifest.params.iter().map(usage).collect()
}

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
    quoted(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// A word for a POSIX shell.
pub fn quoted(text: String) -> String {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
