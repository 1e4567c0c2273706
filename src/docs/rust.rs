//! How an action is called from Rust: what its page shows, and what a test compiles.

use serde_json::Value;

use crate::catalog::manifest::Manifest;
use crate::catalog::schema::{Param, ParamKind};
use crate::model::meta::{Effect, Example};

/// The lines before a call: what is used, and the connection that actions run in.
pub fn opening(m: &Manifest) -> String {
    let options = match m.effect {
        Effect::Local => "SessionOptions::default()",
        _ => "SessionOptions { region: Some(\"eu-west-1\".try_into()?), ..Default::default() }",
    };
    format!("use {};\nuse aaws::{{Connection, SessionOptions}};\n\nlet aws = Connection::open({options}).await?;", m.input_type)
}

/// An example as a typed call in that connection; none for an action whose input cannot be written as a value, because it has no `Default`.
pub fn call(m: &Manifest, example: &Example) -> Option<String> {
    let Ok(Value::Object(input)) = serde_json::from_str::<Value>(example.input) else { return None };
    if !m.has_default {
        return None;
    }
    let name = short(m.input_type);
    if input.is_empty() {
        return Some(format!("let output = aws.run({name}::default()).await?;"));
    }
    let mut fields = String::new();
    for (field, value) in &input {
        let param = m.params.iter().find(|p| p.name == *field)?;
        fields.push_str(&format!("    {}: {},\n", identifier(field), expression(param, &m.input["properties"][field], value)));
    }
    if input.len() < m.params.len() {
        fields.push_str("    ..Default::default()\n");
    }
    Some(format!("let output = aws.run({name} {{\n{fields}}}).await?;"))
}

/// An example in JSON, for the inputs that no value can be written of.
pub fn call_with_json(m: &Manifest, input: &str) -> String {
    format!(
        "let action = aaws::catalog::registry::find(\"{}\").ok_or(\"it is not linked\")?;\n\
         let input = aaws::Input::from_json(r#\"{input}\"#)?;\n\
         let mut run = aaws::execute(aaws::Request::new(action, input), std::sync::Arc::new(aaws::Unattended)).await;\n\
         let output = run.rows().collect().await;\n\
         let summary = run.finish(output.error);",
        m.path
    )
}

/// The value of a field. What is no text, number or list of texts is read from JSON, as its type has it.
fn expression(param: &Param, schema: &Value, value: &Value) -> String {
    let written = match (&param.kind, value) {
        (ParamKind::Bool, Value::Bool(value)) => Some(value.to_string()),
        (ParamKind::Integer, Value::Number(number)) if is_plain_integer(schema) => Some(number.to_string()),
        (ParamKind::Text | ParamKind::Date | ParamKind::Age | ParamKind::Secret, Value::String(text)) => Some(checked(text)),
        (ParamKind::List { of, streamed }, Value::Array(items)) if matches!(**of, ParamKind::Text) && is_plain_list(schema) => {
            list(items, *streamed)
        }
        _ => None,
    };
    match written {
        Some(written) if is_optional(schema) => format!("Some({written})"),
        Some(written) => written,
        None => format!("aaws::serde_json::from_str({})?", literal(&value.to_string())),
    }
}

fn list(items: &[Value], streamed: bool) -> Option<String> {
    let texts: Vec<&str> = items.iter().map(Value::as_str).collect::<Option<_>>()?;
    Some(match (streamed, texts.as_slice()) {
        (_, []) => "Default::default()".into(),
        (true, texts) => format!("[{}].try_into()?", texts.iter().map(|text| literal(text)).collect::<Vec<_>>().join(", ")),
        (false, texts) => format!("vec![{}]", texts.iter().map(|text| checked(text)).collect::<Vec<_>>().join(", ")),
    })
}

/// Text as the type of its field, which may check it.
fn checked(text: &str) -> String {
    format!("{}.try_into()?", literal(text))
}

/// A string literal; a raw one where quotes would have to be escaped.
fn literal(text: &str) -> String {
    let raw = text.contains('"') && !text.contains("\"#") && !text.chars().any(char::is_control);
    if raw { format!("r#\"{text}\"#") } else { format!("{text:?}") }
}

/// Whether a literal is of the type: not where that has a range of its own, like numbers that cannot be zero.
fn is_plain_integer(schema: &Value) -> bool {
    let format = schema["format"].as_str().unwrap_or_default();
    let minimum = schema.get("minimum").and_then(Value::as_i64);
    matches!((format, minimum), ("uint8" | "uint16" | "uint32" | "uint64", Some(0)) | ("int8" | "int16" | "int32" | "int64", None))
        && schema.get("maximum").is_none_or(|most| matches!((format, most.as_u64()), ("uint8", Some(255)) | ("uint16", Some(65_535))))
}

/// Whether it is a list in Rust too: not where one text may stand for a list of one.
fn is_plain_list(schema: &Value) -> bool {
    schema["type"] == "array" || schema["type"] == serde_json::json!(["array", "null"])
}

/// Whether a field is an `Option`: null is one of its values.
fn is_optional(schema: &Value) -> bool {
    let null = |kind: &Value| kind == "null" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "null"));
    null(&schema["type"]) || schema["anyOf"].as_array().is_some_and(|any| any.iter().any(|schema| null(&schema["type"])))
}

/// A field's name; those that Rust keeps for itself are written raw.
fn identifier(field: &str) -> String {
    if ["as", "in", "match", "move", "ref", "type", "use", "where"].contains(&field) { format!("r#{field}") } else { field.to_owned() }
}

/// A type without the paths in its name: `Listing<ObjectRow>`.
pub fn short(name: &str) -> String {
    let mut short = String::new();
    for c in name.chars() {
        short.push(c);
        if short.ends_with("::") {
            let start = short.trim_end_matches("::").rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
            short.truncate(start);
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_lose_their_paths() {
        assert_eq!(short("aaws::engine::listing::Listing<aaws::actions::s3::ObjectRow>"), "Listing<ObjectRow>");
        assert_eq!(short("alloc::vec::Vec<(a::B, core::option::Option<c::D>)>"), "Vec<(B, Option<D>)>");
        assert_eq!(short("Plain"), "Plain");
    }

    #[test]
    fn values_are_written_as_their_types_have_them() {
        let write = |schema: Value, value: Value| {
            let input = json!({ "type": "object", "properties": { "x": schema } });
            let params = crate::catalog::schema::params(&input);
            params.first().map(|param| expression(param, &schema, &value)).unwrap_or_default()
        };
        assert_eq!(write(json!({ "type": "string" }), json!("a \"b\"")), r###"r#"a "b""#.try_into()?"###);
        assert_eq!(write(json!({ "type": ["string", "null"], "format": "date-or-age" }), json!("7d")), r#"Some("7d".try_into()?)"#);
        assert_eq!(write(json!({ "type": "integer", "format": "uint32", "minimum": 0 }), json!(3)), "3");
        assert_eq!(write(json!({ "type": "integer", "format": "uint32", "minimum": 1 }), json!(3)), r#"aaws::serde_json::from_str("3")?"#);
        let texts = json!({ "type": "array", "items": { "type": "string" } });
        assert_eq!(write(texts.clone(), json!(["a", "b"])), r#"vec!["a".try_into()?, "b".try_into()?]"#);
        let streamed = json!({ "type": ["array", "null"], "items": { "type": "string" }, "x-aaws-stream": true });
        assert_eq!(write(streamed.clone(), json!(["a", "b"])), r#"Some(["a", "b"].try_into()?)"#);
        assert_eq!(write(streamed, json!([])), "Some(Default::default())");
        let choice = json!({ "anyOf": [{ "enum": ["one", "two"] }, { "type": "null" }] });
        assert_eq!(write(choice, json!("one")), r###"aaws::serde_json::from_str(r#""one""#)?"###);
    }
}
