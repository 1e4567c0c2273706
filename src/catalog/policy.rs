//! IAM policies from declared calls, scoped to the ARNs of given inputs.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::engine::entry::Entry;
use crate::model::call::{Condition, Grant, When};
use crate::model::rules::is_given;
use crate::model::target::partition;

/// More ARNs than this in one statement say less than a wildcard does, and IAM policies have a size limit (6,144 characters for a managed one).
const MOST_ARNS: usize = 50;

/// An IAM policy document.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

/// One statement of a policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    effect: &'static str,
    action: Vec<String>,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    condition: Map<String, Value>,
}

/// What a policy is for.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Inputs of the action, where they are known.
    pub input: Map<String, Value>,
    /// `eu-west-1`; tells the partition too.
    pub region: Option<String>,
    /// Twelve digits.
    pub account: Option<String>,
    /// Also what is needed only under conditions that the inputs do not decide.
    pub all: bool,
}

impl Policy {
    /// What these actions need together.
    pub fn of(actions: &[&Entry], scope: &Scope) -> Self {
        // Resources (and condition) -> IAM actions: what applies to the same things stands in one statement.
        let mut statements: BTreeMap<(Vec<String>, String), Vec<String>> = BTreeMap::new();
        for entry in actions {
            let includes = |when: When| scope.includes(entry, when);
            for call in entry.meta.calls.iter().filter(|c| includes(c.when)) {
                for grant in call.grants.iter().filter(|g| includes(g.when)) {
                    let resources = scope.resources(grant);
                    // A list that is given and empty selects nothing, so nothing has to be allowed for it.
                    if resources.is_empty() {
                        continue;
                    }
                    let condition = grant.condition.and_then(|c| scope.condition(&c)).unwrap_or_default();
                    let condition = Value::Object(condition).to_string();
                    let allowed = statements.entry((resources, condition)).or_default();
                    if !allowed.iter().any(|a| a == grant.action) {
                        allowed.push(grant.action.to_owned());
                    }
                }
            }
        }
        let mut statement: Vec<_> = statements
            .into_iter()
            .map(|((resource, condition), mut action)| {
                action.sort();
                let condition = serde_json::from_str(&condition).unwrap_or_default();
                Statement { effect: "Allow", action, resource, condition }
            })
            .collect();
        statement.sort_by(|a, b| (&a.action, &a.resource).cmp(&(&b.action, &b.resource)));
        Policy { version: "2012-10-17", statement }
    }

    /// Whether nothing is needed.
    pub fn is_empty(&self) -> bool {
        self.statement.is_empty()
    }
}

impl Scope {
    fn includes(&self, entry: &Entry, when: When) -> bool {
        match when {
            When::Always | When::Likely(_) => true,
            When::With(inputs) => self.all || inputs.iter().any(|i| is_given(&self.input, i)),
            When::Without(inputs) => self.all || !inputs.iter().any(|i| is_given(&self.input, i)),
            When::Is(input, value) => match self.input.get(input) {
                // Of a list, one of them.
                Some(Value::Array(given)) => self.all || given.iter().any(|g| g.as_str() == Some(value)),
                Some(given) => self.all || given.as_str() == Some(value),
                // What has to be given, and is not known here, may be that; what need not be is what it is by default.
                None => self.all || is_required(entry, input) || default(entry, input).as_ref().and_then(Value::as_str) == Some(value),
            },
            When::Rare(_) => self.all,
        }
    }

    fn resources(&self, grant: &Grant) -> Vec<String> {
        let mut arns: Vec<String> = grant.resources.iter().flat_map(|t| self.fill(t)).collect();
        arns.sort();
        arns.dedup();
        arns
    }

    fn condition(&self, condition: &Condition) -> Option<Map<String, Value>> {
        let known = parts(condition.value).all(|part| match part {
            Part::Name(name) => self.values(name).is_some_and(|values| !values.is_empty()),
            Part::Text(_) => true,
        });
        let values = self.fill(condition.value);
        known.then(|| {
            let test = Map::from_iter([(condition.key.to_owned(), Value::from(values))]);
            Map::from_iter([(condition.operator.to_owned(), Value::Object(test))])
        })
    }

    /// One string for each combination of the values that the template names; `*` for what is not known.
    fn fill(&self, template: &str) -> Vec<String> {
        let mut filled = vec![String::new()];
        for part in parts(template) {
            let choices = match part {
                Part::Text(text) => vec![text.to_owned()],
                Part::Name(name) => match self.values(name) {
                    // A prefix that is not given is nothing at all, not anything.
                    None if name.ends_with('/') => vec![String::new()],
                    None => vec!["*".to_owned()],
                    Some(values) if values.len() * filled.len() > MOST_ARNS => vec!["*".to_owned()],
                    Some(values) => values,
                },
            };
            filled = filled.iter().flat_map(|start| choices.iter().map(move |c| format!("{start}{c}"))).collect();
        }
        filled.into_iter().map(|text| anything(&text)).collect()
    }

    /// The values of `bucket`, `objects.Key` or `prefix/`, safe to stand in a policy; `None` when they are not known.
    fn values(&self, name: &str) -> Option<Vec<String>> {
        match name {
            "Partition" => return Some(vec![partition(self.region.as_deref().unwrap_or_default()).to_owned()]),
            "Region" => return self.region.clone().map(|r| vec![r]),
            "Account" => return self.account.clone().map(|a| vec![a]),
            _ => {}
        }
        let (path, folder) = name.strip_suffix('/').map_or((name, false), |p| (p, true));
        let (field, member) = path.split_once('.').map_or((path, None), |(f, m)| (f, Some(m)));
        let joined = |text: &str| if text.is_empty() || text.ends_with('/') { text.to_owned() } else { format!("{text}/") };
        let safe = |text: &str| escape(&if folder { joined(text) } else { text.to_owned() });
        match self.input.get(field)? {
            Value::Array(items) => {
                // One that does not say it, say whose key it is, may be anything.
                let text = |item: &Value| member.map_or(Some(item), |m| item.get(m)).and_then(Value::as_str).map(safe);
                Some(items.iter().map(|item| text(item).unwrap_or_else(|| "*".to_owned())).collect())
            }
            Value::String(text) => Some(vec![safe(text)]),
            _ => None,
        }
    }
}

/// Anything and then anything is anything: `b/**`, of a prefix that is not known, is `b/*`. A star of an input, `${*}`, is none of them.
fn anything(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '*' || !plain.ends_with('*') {
            plain.push(c);
        }
    }
    plain
}

/// `*`, `?` and `$` mean something in a policy; in a key they are just letters (IAM user guide, policy variables).
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '*' | '?' | '$' => escaped.extend(["${", c.encode_utf8(&mut [0; 4]), "}"]),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Whether an input has to be given.
fn is_required(entry: &Entry, input: &str) -> bool {
    let schema = entry.input_schema();
    let required = schema.get("required").and_then(Value::as_array);
    required.is_some_and(|names| names.iter().any(|n| n == input))
}

/// What an input is when it is not given.
fn default(entry: &Entry, input: &str) -> Option<Value> {
    entry.input_schema().get("properties")?.get(input)?.get("default").cloned()
}

enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// The names that a template holds; for the tests of the registry.
pub fn names(template: &str) -> Vec<&str> {
    parts(template).filter_map(|p| if let Part::Name(name) = p { Some(name) } else { None }).collect()
}

fn parts(template: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, after)) = rest.strip_prefix("${").and_then(|r| r.split_once('}')) {
            rest = after;
            return Some(Part::Name(name));
        }
        let end = rest.get(1..).and_then(|r| r.find("${")).map_or(rest.len(), |at| at + 1);
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Part::Text(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(template: &str, input: Value) -> Vec<String> {
        let input = input.as_object().cloned().unwrap_or_default();
        Scope { input, region: Some("cn-north-1".into()), ..Scope::default() }.fill(template)
    }

    #[test]
    fn templates_are_filled_with_what_is_known() {
        const KEYS: &str = "arn:${Partition}:s3:::${bucket}/${prefix/}${objects}";
        assert_eq!(fill(KEYS, json!({})), ["arn:aws-cn:s3:::*/*"]);
        assert_eq!(
            fill(KEYS, json!({"bucket": "b", "prefix": "p//", "objects": ["x", "y*"]})),
            ["arn:aws-cn:s3:::b/p//x", "arn:aws-cn:s3:::b/p//y${*}"]
        );
        assert_eq!(fill("b/${prefix/}x", json!({"prefix": "p"})), ["b/p/x"]);
        assert_eq!(fill("b/${prefix/}x", json!({"prefix": "/"})), ["b//x"]);
        assert_eq!(fill("${objects.Key}", json!({"objects": [{"Key": "k"}]})), ["k"]);
        assert_eq!(fill("*", json!({})), ["*"]);
        assert_eq!(fill("${bucket}/${prefix}*", json!({"bucket": "b"})), ["b/*"], "one star says it");
        assert_eq!(fill("${bucket}/${prefix}*", json!({"bucket": "b", "prefix": "**"})), ["b/${*}${*}*"]);
        assert_eq!(fill(KEYS, json!({"bucket": "b", "objects": []})), [""; 0], "an empty list is not everything");
        assert_eq!(fill("${keys.UserName}", json!({"keys": [{"UserName": "a"}, {}]})), ["a", "*"]);
    }
}
