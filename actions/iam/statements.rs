//! Policy documents, and what in them is permissive.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// The sentences for the pages.
pub const PERMISSIVE: &str = "A permissive action has a wildcard (`*` or `?`) anywhere in its name, as `s3:Get*` has, or is given by `NotAction`. A \
     permissive resource is `*`, all that a service has (`arn:aws:s3:::*`), or is given by `NotResource`. Without `strict` \
     one statement must allow both together; with `strict` either is enough.";

/// The sentences for the pages.
pub const SUBTRACTED: &str = "What a `Deny` of the same policy without a condition covers does not count as allowed. A `Deny` with a condition, or \
     in another policy, a permissions boundary or an organization's policies subtracts nothing. An `Allow` with a condition \
     is reported, and marked `Conditional` where nothing is allowed without one.";

/// The sentence for the pages.
pub const NO_COMBINATIONS: &str = "It looks for wildcards. Narrow actions that together lead to more, such as `iam:PassRole` with the right to start \
     something, are not looked for.";

/// How much the permissive statements allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Actions that only read: their names begin with `Get`, `List`, `Describe` and the like.
    Read,
    /// Actions that may change something.
    Write,
    /// Every action, or all but some, on every resource.
    Full,
}

/// What is permissive in a policy.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Permissive {
    /// How much it allows.
    pub risk: Risk,
    /// Whether each of the statements has a condition.
    pub conditional: bool,
    /// The statements, as the policy has them, conditions and all.
    pub statements: Vec<Map<String, Value>>,
}

/// A policy document that was read.
#[derive(Debug)]
pub struct Document {
    statements: Vec<Statement>,
}

#[derive(Debug)]
struct Statement {
    allow: bool,
    actions: Names,
    resources: Names,
    conditional: bool,
    source: Map<String, Value>,
}

/// `Action` or `NotAction`, `Resource` or `NotResource`.
#[derive(Debug)]
enum Names {
    These(Vec<String>),
    AllBut(Vec<String>),
}

/// Whom a role's trust policy allows to assume it: ARNs, account ids, services and identity providers, each once. None when the document
/// cannot be read.
pub fn principals(encoded: &str) -> Vec<String> {
    let Ok(document) = parse(encoded) else { return Vec::new() };
    let statements = match document.as_object().and_then(|d| member(d, "Statement")) {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    let mut names: Vec<String> = Vec::new();
    for statement in statements.into_iter().filter_map(Value::as_object) {
        if member(statement, "Effect").and_then(Value::as_str) != Some("Allow") {
            continue;
        }
        // `"*"`, or an object of kinds with one or many names each.
        let mut open: Vec<&Value> = member(statement, "Principal").into_iter().collect();
        while let Some(value) = open.pop() {
            match value {
                Value::String(name) if !names.contains(name) => names.push(name.clone()),
                Value::Array(list) => open.extend(list),
                Value::Object(kinds) => open.extend(kinds.values()),
                _ => {}
            }
        }
    }
    names.sort();
    names
}

/// A document as the IAM API gives it: percent-encoded (RFC 3986), where a plus sign is a plus sign.
pub fn parse(encoded: &str) -> Result<Value, String> {
    // No encoded document begins so: what stands in for IAM may give documents as they are.
    if encoded.trim_start().starts_with('{') {
        return serde_json::from_str(encoded).map_err(|e| format!("the document is not JSON: {e}"));
    }
    let text = percent_encoding::percent_decode_str(encoded).decode_utf8().map_err(|e| format!("the document is not UTF-8: {e}"))?;
    serde_json::from_str(&text).map_err(|e| format!("the document is not JSON: {e}"))
}

impl Document {
    /// Reads a document as the IAM API gives it. Says why it cannot be read.
    pub fn read(encoded: &str) -> Result<Self, String> {
        let document = parse(encoded)?;
        let statements = match document.as_object().and_then(|d| member(d, "Statement")) {
            Some(Value::Array(list)) => list.iter().map(Statement::read).collect::<Result<_, _>>()?,
            Some(one @ Value::Object(_)) => vec![Statement::read(one)?],
            _ => return Err("the document has no statements".into()),
        };
        Ok(Document { statements })
    }

    /// What is permissive in it, if anything: both kinds of wildcard together or, with `strict`, either.
    pub fn permissive(&self, strict: bool) -> Option<Permissive> {
        let denied: Vec<_> = self.statements.iter().filter(|s| !s.allow && !s.conditional).collect();
        let mut risk = None;
        let mut conditional = true;
        let mut statements = Vec::new();
        for statement in self.statements.iter().filter(|s| s.allow) {
            let pairs = statement.pairs().filter(|(action, resource)| !denied.iter().any(|d| d.covers(action, resource)));
            let found = pairs.filter(|(action, resource)| match (is_wild(action), is_wide(resource)) {
                (true, true) => true,
                (action, resource) => strict && (action || resource),
            });
            if let Some(most) = found.map(|(action, resource)| risk_of(&action, &resource)).max() {
                risk = risk.max(Some(most));
                conditional &= statement.conditional;
                statements.push(statement.source.clone());
            }
        }
        risk.map(|risk| Permissive { risk, conditional, statements })
    }
}

impl Statement {
    fn read(statement: &Value) -> Result<Self, String> {
        let source = statement.as_object().ok_or("a statement is not an object")?;
        let allow = match member(source, "Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return Err("a statement's effect is neither Allow nor Deny".into()),
        };
        // Names of services and actions have no case; ARNs do.
        let actions = match Names::read(source, "Action", "NotAction")? {
            Names::These(names) => Names::These(names.iter().map(|n| n.to_ascii_lowercase()).collect()),
            Names::AllBut(names) => Names::AllBut(names.iter().map(|n| n.to_ascii_lowercase()).collect()),
        };
        let resources = Names::read(source, "Resource", "NotResource")?;
        let conditional = member(source, "Condition").is_some_and(|c| c.as_object().is_none_or(|c| !c.is_empty()));
        Ok(Statement { allow, actions, resources, conditional, source: source.clone() })
    }

    /// Every action with every resource. All but some is nearly all: no narrower name says it.
    fn pairs(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let resources = self.resources.patterns();
        self.actions.patterns().into_iter().flat_map(move |a| resources.clone().into_iter().map(move |r| (a.clone(), r)))
    }

    /// Whether all that these patterns match is matched by this statement. A cautious answer: `false` when that is not sure.
    fn covers(&self, action: &str, resource: &str) -> bool {
        self.actions.cover(action) && self.resources.cover(resource)
    }
}

impl Names {
    fn read(statement: &Map<String, Value>, these: &str, all_but: &str) -> Result<Self, String> {
        let list = |value: &Value| -> Result<Vec<String>, String> {
            let text = |v: &Value| v.as_str().map(str::to_owned).ok_or_else(|| format!("`{these}` of a statement holds what is no string"));
            match value {
                Value::Array(items) => items.iter().map(text).collect(),
                one => text(one).map(|name| vec![name]),
            }
        };
        match (member(statement, these), member(statement, all_but)) {
            (Some(names), None) => list(names).map(Names::These),
            (None, Some(names)) => list(names).map(Names::AllBut),
            (Some(_), Some(_)) => Err(format!("a statement has both `{these}` and `{all_but}`")),
            (None, None) => Err(format!("a statement has neither `{these}` nor `{all_but}`")),
        }
    }

    /// The patterns of what is named. An empty list names nothing, and all but everything is nothing too.
    fn patterns(&self) -> Vec<String> {
        match self {
            Names::These(names) => names.clone(),
            Names::AllBut(names) if names.iter().any(|n| is_everything(n)) => Vec::new(),
            Names::AllBut(_) => vec!["*".to_owned()],
        }
    }

    fn cover(&self, pattern: &str) -> bool {
        match self {
            Names::These(names) => names.iter().any(|name| is_everything(name) || covers(name.as_bytes(), pattern.as_bytes())),
            Names::AllBut(names) => names.is_empty(),
        }
    }
}

/// A member whatever the case of its name.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// `*`, and for actions `*:*`.
fn is_everything(pattern: &str) -> bool {
    pattern.contains('*') && pattern.bytes().all(|b| b == b'*' || b == b':')
}

/// An action whose name has a wildcard.
fn is_wild(action: &str) -> bool {
    action.contains(['*', '?'])
}

/// Everything, or all that a service has: an ARN whose last part says nothing, or which ends in a wildcard before it comes to that part.
fn is_wide(resource: &str) -> bool {
    // `${*}` is the letter, not the wildcard.
    let resource = resource.replace("${*}", "_").replace("${?}", "_");
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    match parts.as_slice() {
        [_, _, _, _, _, last] => last.contains('*') && last.bytes().all(|b| matches!(b, b'*' | b'?' | b'/' | b':')),
        _ => resource.ends_with('*'),
    }
}

/// Whether `pattern` matches all that `other`, which may have wildcards too, matches. A wildcard of `other` is matched by `*` only.
fn covers(pattern: &[u8], other: &[u8]) -> bool {
    // The usual way back to the last star.
    let (mut p, mut o) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while o < other.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, o));
                p += 1;
            }
            Some(b'?') if other[o] != b'*' => (p, o) = (p + 1, o + 1),
            Some(letter) if *letter == other[o] && *letter != b'?' => (p, o) = (p + 1, o + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, o) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// How actions that only read begin.
const READS: [&str; 12] =
    ["get", "list", "describe", "batchget", "view", "search", "lookup", "head", "query", "scan", "select", "simulate"];

fn risk_of(action: &str, resource: &str) -> Risk {
    if is_everything(action) && is_everything(resource) {
        return Risk::Full;
    }
    let reads = action.split_once(':').is_some_and(|(service, name)| !is_wild(service) && READS.iter().any(|read| name.starts_with(read)));
    if reads { Risk::Read } else { Risk::Write }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// How risky a document with these statements is without `strict`, and with it.
    fn risks(statements: Value) -> (Option<Risk>, Option<Risk>) {
        let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let document = Document::read(&document).expect("a document");
        (document.permissive(false).map(|p| p.risk), document.permissive(true).map(|p| p.risk))
    }

    fn allow(action: Value, resource: Value) -> (Option<Risk>, Option<Risk>) {
        risks(json!({"Effect": "Allow", "Action": action, "Resource": resource}))
    }

    const NO: (Option<Risk>, Option<Risk>) = (None, None);

    fn both(risk: Risk) -> (Option<Risk>, Option<Risk>) {
        (Some(risk), Some(risk))
    }

    #[test]
    fn the_two_modes() {
        assert_eq!(allow(json!("*"), json!("*")), both(Risk::Full));
        assert_eq!(allow(json!("*:*"), json!(["arn:aws:s3:::b", "*"])), both(Risk::Full));
        assert_eq!(allow(json!(["S3:Get*"]), json!("*")), both(Risk::Read));
        assert_eq!(allow(json!("s3:PutObjec?"), json!("*")), both(Risk::Write));
        assert_eq!(allow(json!("s3:*"), json!("arn:aws:s3:::b/*")), (None, Some(Risk::Write)));
        assert_eq!(allow(json!("ec2:DescribeInstances"), json!("*")), (None, Some(Risk::Read)));
        assert_eq!(allow(json!("s3:GetObject"), json!("arn:aws:s3:::b/*")), NO);
        assert_eq!(allow(json!([]), json!("*")), NO, "an empty list of actions grants nothing");
        assert_eq!(allow(json!("*"), json!([])), NO);
        assert_eq!(risks(json!([])), NO);
    }

    #[test]
    fn all_that_a_service_has() {
        for wide in
            ["arn:aws:s3:::*", "arn:aws:s3:::*/*", "arn:aws:ec2:*:*:*", "arn:*", "arn:aws:s3:*", "**", "arn:aws:iam::123456789012:*"]
        {
            assert!(is_wide(wide), "{wide}");
        }
        for narrow in ["arn:aws:s3:::b/*", "arn:aws:iam::123456789012:role/*", "arn:aws:s3:::${*}", "arn:aws:s3:::${aws:username}", "", "?"]
        {
            assert!(!is_wide(narrow), "{narrow}");
        }
    }

    #[test]
    fn all_but_some_is_nearly_all() {
        assert_eq!(risks(json!({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})), both(Risk::Full));
        assert_eq!(risks(json!({"Effect": "Allow", "NotAction": "nosuch:Action", "Resource": "*"})), both(Risk::Full));
        assert_eq!(risks(json!({"Effect": "Allow", "NotAction": ["*"], "Resource": "*"})), NO, "all but everything is nothing");
        assert_eq!(risks(json!({"Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:aws:s3:::b"})), (None, Some(Risk::Write)));
        assert_eq!(risks(json!([{"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::b"}])), both(Risk::Write));
    }

    #[test]
    fn a_deny_subtracts_what_it_surely_covers() {
        let with = |deny: Value| risks(json!([{"Effect": "Allow", "Action": ["s3:*", "ec2:RunInstances"], "Resource": "*"}, deny]));
        assert_eq!(with(json!({"Effect": "Deny", "Action": "*", "Resource": "*"})), NO);
        assert_eq!(with(json!({"Effect": "Deny", "NotAction": [], "Resource": "*"})), NO);
        assert_eq!(with(json!({"Effect": "Deny", "Action": "S3:*", "Resource": "*"})), (None, Some(Risk::Write)));
        for short in [
            json!({"Effect": "Deny", "Action": "s3:Delete*", "Resource": "*"}),
            json!({"Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::b"}),
            json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
            json!({"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"}),
        ] {
            assert_eq!(with(short.clone()), both(Risk::Write), "{short}");
        }
    }

    #[test]
    fn patterns_cover_patterns() {
        let covers = |a: &str, b: &str| super::covers(a.as_bytes(), b.as_bytes());
        assert!(covers("s3:*", "s3:get*") && covers("s3:*get*", "s3:get?") && covers("s3:ge?", "s3:get") && covers("s3:ge?", "s3:ge?"));
        assert!(!covers("s3:get", "s3:get*") && !covers("s3:ge?", "s3:ge*") && !covers("s3:get*", "s3:*") && !covers("s3:get*", ""));
        assert!(covers("*a*b", "aaxab") && !covers("*a*b", "aaxa"));
    }

    #[test]
    fn conditions_are_shown() {
        let document = json!({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"x": "true"}}}});
        let found = Document::read(&document.to_string()).expect("a document").permissive(false).expect("it is permissive");
        assert!(found.conditional);
        assert_eq!(Value::Object(found.statements[0].clone()), document["Statement"]);
    }

    #[test]
    fn i11_documents_are_percent_encoded() {
        let encoded = "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22a:b+c*%22%2C%22Resource%22%3A%22*%22%7D%7D";
        let found = Document::read(encoded).expect("a document").permissive(false).expect("it is permissive");
        assert_eq!(found.statements[0]["Action"], "a:b+c*", "a plus sign is no space");
        for wrong in ["", "%FF", "%7B", "[]", "{}", r#"{"Statement":[1]}"#, r#"{"Statement":{"Effect":"Allow","Resource":"*"}}"#] {
            assert!(Document::read(wrong).is_err(), "{wrong}");
        }
    }
}
