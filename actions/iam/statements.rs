//! Policy documents, and what in them is permissive.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::escalations::{ESCALATIONS, Enough, Need, PRINCIPALS};

mod ways;

pub use ways::{ADMINISTRATOR, Reach, Together};

/// The sentences for the pages.
pub const PERMISSIVE: &str = "A permissive action has a wildcard (`*` or `?`) anywhere in its name, as `s3:Get*` has, or is given by `NotAction`. A \
     permissive resource is `*`, all that a service has (`arn:aws:s3:::*`), or is given by `NotResource`. Without `strict` \
     one statement must allow both together; with `strict` either is enough.";

/// The sentences for the pages.
pub const SUBTRACTED: &str = "What a `Deny` of the same policy without a condition covers does not count as allowed; `NotAction` and `NotResource` of it \
     are worked out. A `Deny` with a condition, or in another policy, a permissions boundary or an organization's policies \
     subtracts nothing. An `Allow` with a condition is reported, and marked `Conditional` where nothing is allowed without one.";

/// The sentences for the pages.
pub const COMBINATIONS: &str = "Actions that are known to lead to more are looked for too, alone and together, as `iam:CreatePolicyVersion` is, or \
     `iam:PassRole` with `lambda:CreateFunction`: each that is found is named in `Escalations`, with who published it. Without \
     `strict` they count where they are allowed on all resources of a kind, or on the user itself (`${aws:username}`), and what is \
     made with a role, such as a function, under whatever name. Which roles there are to pass or assume, and how much those may \
     do, is not looked at; nor are combinations over several policies.";

/// The most pairs of actions and resources that denies are subtracted from; beyond, what is left over counts as allowed.
const MOST_PAIRS: usize = 1000;

/// How much the permissive statements allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Actions that only read: their names begin with `Get`, `List`, `Describe` and the like.
    Read,
    /// Actions that may change something.
    Write,
    /// Actions with which whoever has the policy can get more than it allows, up to everything.
    Escalation,
    /// Every action, or all but some, on every resource; or every action of IAM on all users, groups or roles.
    Admin,
}

/// What is permissive in a policy.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Permissive {
    /// How much it allows.
    pub risk: Risk,
    /// Whether each of the statements has a condition.
    pub conditional: bool,
    /// How whoever has the policy can get more than it allows. Not told of one that allows everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub escalations: Vec<Path>,
    /// The statements, as the policy has them, conditions and all.
    pub statements: Vec<Map<String, Value>>,
}

/// A known way to more.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Path {
    /// What it is known by.
    pub name: &'static str,
    /// The actions that lead there together.
    pub actions: Vec<&'static str>,
    /// Who published it.
    pub source: &'static str,
}

/// A policy document that was read.
#[derive(Debug)]
pub struct Document {
    statements: Vec<Arc<Statement>>,
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
            Some(Value::Array(list)) => list.iter().map(|one| Statement::read(one).map(Arc::new)).collect::<Result<_, _>>()?,
            Some(one @ Value::Object(_)) => vec![Arc::new(Statement::read(one)?)],
            _ => return Err("the document has no statements".into()),
        };
        Ok(Document { statements })
    }

    /// What is permissive in it, if anything: both kinds of wildcard together or, with `strict`, either; and known ways to more.
    pub fn permissive(&self, strict: bool) -> Option<Permissive> {
        // By statement.
        let mut risks: BTreeMap<usize, Risk> = BTreeMap::new();
        let mut raise = |index: usize, risk: Risk| {
            let most = risks.entry(index).or_insert(risk);
            *most = risk.max(*most);
        };
        let mut admin = false;
        for (index, statement) in self.allowing() {
            for (action, resource) in statement.pairs().flat_map(|(action, resource)| self.left(action, resource)) {
                let all = is_admin(&action, &resource) && !statement.actions.leave_out("iam:*");
                admin |= all;
                let reported = match (is_wild(&action), is_wide(&resource)) {
                    (true, true) => true,
                    (action, resource) => all || strict && (action || resource),
                };
                if reported {
                    raise(index, if all { Risk::Admin } else { risk_of(&action) });
                }
            }
        }
        let mut escalations = Vec::new();
        for escalation in ESCALATIONS.iter().filter(|_| !admin) {
            let granted: Vec<Vec<usize>> = escalation.needs.iter().map(|need| self.granting(need, strict)).collect();
            if granted.iter().any(Vec::is_empty) {
                continue;
            }
            granted.into_iter().flatten().for_each(|index| raise(index, Risk::Escalation));
            let actions = escalation.needs.iter().map(|need| need.action).collect();
            escalations.push(Path { name: escalation.name, actions, source: escalation.source });
        }
        let risk = risks.values().max().copied()?;
        let reported: Vec<&Arc<Statement>> = risks.keys().filter_map(|index| self.statements.get(*index)).collect();
        Some(Permissive {
            risk,
            conditional: reported.iter().all(|statement| statement.conditional),
            escalations,
            statements: reported.iter().map(|statement| statement.source.clone()).collect(),
        })
    }

    /// The statements that allow something, and their places.
    fn allowing(&self) -> impl Iterator<Item = (usize, &Statement)> {
        self.statements.iter().map(|statement| &**statement).enumerate().filter(|(_, statement)| statement.allow)
    }

    /// The statements that allow an action on what it leads to more with: on all of it or, with `strict`, on any.
    fn granting(&self, need: &Need, strict: bool) -> Vec<usize> {
        let action = need.action.to_ascii_lowercase();
        let service = action.split(':').next().unwrap_or_default();
        let on = need.on.map_or_else(|| format!("arn:*:{service}:*:*:*"), str::to_owned);
        let enough = |resource: &str| {
            let resource = without_variables(resource);
            may_be(&resource, &on) && (strict || need.enough == Enough::Anything || is_all_of_a_kind(&resource))
        };
        let grants = |statement: &Statement| {
            let resources = statement.resources.patterns().into_iter();
            statement.actions.include(&action)
                && resources.flat_map(|resource| self.left(action.clone(), resource)).any(|(_, resource)| enough(&resource))
        };
        self.allowing().filter(|(_, statement)| grants(statement)).map(|(index, _)| index).collect()
    }

    /// The statements that allow an action, in lower case, on this one ARN, where no deny that holds always keeps it from that.
    fn granting_on(&self, action: &str, arn: &str) -> Vec<usize> {
        let grants = |statement: &Statement| statement.actions.include(action) && statement.resources.may_include(arn);
        let all: Vec<usize> = self.allowing().filter(|(_, statement)| grants(statement)).map(|(index, _)| index).collect();
        if all.is_empty() || self.left(action.to_owned(), arn.to_owned()).is_empty() { Vec::new() } else { all }
    }

    /// What of a pair is left by the denies that hold always. A cautious answer: rather too much is left.
    fn left(&self, action: String, resource: String) -> Vec<(String, String)> {
        let mut pairs = BTreeSet::from([(action, resource)]);
        for deny in self.statements.iter().filter(|statement| !statement.allow && !statement.conditional) {
            if pairs.len() > MOST_PAIRS {
                break;
            }
            pairs = pairs.into_iter().flat_map(|(action, resource)| deny.take_from(action, resource)).collect();
        }
        pairs.into_iter().collect()
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

    /// What of a pair this deny leaves: the other actions on the resource, and the action on other resources.
    fn take_from(&self, action: String, resource: String) -> Vec<(String, String)> {
        let (actions, resources) = (self.actions.outside(&action), self.resources.outside(&resource));
        if actions.contains(&action) || resources.contains(&resource) {
            return vec![(action, resource)];
        }
        let other_actions = actions.into_iter().map(|action| (action, resource.clone()));
        other_actions.chain(resources.into_iter().map(|resource| (action.clone(), resource))).collect()
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

    /// What of all that a pattern matches is not named here, as patterns. Where that cannot be said, the pattern itself.
    fn outside(&self, pattern: &str) -> Vec<String> {
        match self {
            Names::These(names) if names.iter().any(|name| holds(name, pattern)) => Vec::new(),
            Names::These(_) => vec![pattern.to_owned()],
            Names::AllBut(names) => {
                let common = |name: &String| match () {
                    () if holds(name, pattern) => Some(pattern.to_owned()),
                    () if holds(pattern, name) => Some(name.clone()),
                    () => intersect(name.as_bytes(), pattern.as_bytes()).then(|| pattern.to_owned()),
                };
                names.iter().filter_map(common).collect()
            }
        }
    }

    /// Whether one action, without wildcards, is named here.
    fn include(&self, action: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|name| holds(name, action));
        match self {
            Names::These(names) => named(names),
            Names::AllBut(names) => !named(names),
        }
    }

    /// Whether one ARN may be named here, as far as variables go.
    fn may_include(&self, arn: &str) -> bool {
        match self {
            Names::These(names) => names.iter().any(|name| holds(&without_variables(name), arn)),
            Names::AllBut(names) => !names.iter().any(|name| holds(name, arn)),
        }
    }

    /// Whether it is all but what this pattern matches, and maybe more.
    fn leave_out(&self, pattern: &str) -> bool {
        matches!(self, Names::AllBut(names) if names.iter().any(|name| holds(name, pattern)))
    }
}

/// A member whatever the case of its name.
pub fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
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

/// Everything of IAM on all users, groups or roles; so everything on everything, too.
fn is_admin(action: &str, resource: &str) -> bool {
    let resource = without_variables(resource);
    holds(action, "iam:*") && is_all_of_a_kind(&resource) && PRINCIPALS.iter().any(|kind| may_be(&resource, kind))
}

/// Whether a resource of a statement matches any ARN of a form, compared part by part: a wildcard in the form stands for one part.
fn may_be(resource: &str, form: &str) -> bool {
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    let of_form: Vec<&str> = form.splitn(parts.len(), ':').collect();
    parts.len() == of_form.len() && parts.iter().zip(of_form).all(|(part, form)| intersect(part.as_bytes(), form.as_bytes()))
}

/// Everything, all that a service has, or all of one kind: `arn:aws:iam::123456789012:role/*`, and `…:role*`, which is these and more.
fn is_all_of_a_kind(resource: &str) -> bool {
    const KINDS: [&str; 5] = ["function:*", "group/*", "policy/*", "role/*", "user/*"];
    let everything = |name: &str| name.contains('*') && name.bytes().all(|b| matches!(b, b'*' | b'?' | b'/' | b':'));
    let of_kind =
        |last: &str| KINDS.iter().any(|kind| holds(last, kind)) || last.split_once(['/', ':']).is_some_and(|(_, name)| everything(name));
    is_wide(resource) || resource.splitn(6, ':').nth(5).is_some_and(of_kind)
}

/// A resource with what its variables may stand for: `${aws:username}` is whoever it is. `${*}` is the letter.
fn without_variables(resource: &str) -> String {
    let mut text = String::with_capacity(resource.len());
    let mut rest = resource;
    while let Some((before, name, after)) = rest.split_once("${").and_then(|(b, r)| r.split_once('}').map(|(name, after)| (b, name, after)))
    {
        text.push_str(before);
        text.push(if matches!(name, "*" | "?" | "$") { '_' } else { '*' });
        rest = after;
    }
    text + rest
}

/// Whether a pattern of names matches all that another does.
pub fn holds(pattern: &str, other: &str) -> bool {
    is_everything(pattern) || covers(pattern.as_bytes(), other.as_bytes())
}

/// Whether two patterns match anything in common.
fn intersect(one: &[u8], other: &[u8]) -> bool {
    // Whether the first so many letters of the one can match the same as the first so many of the other; a row for each letter of the one.
    let mut row = vec![false; other.len() + 1];
    for i in 0..=one.len() {
        let last = i.checked_sub(1).map(|at| one[at]);
        let mut next = vec![false; other.len() + 1];
        for j in 0..=other.len() {
            let letter = j.checked_sub(1).map(|at| other[at]);
            let before = j.checked_sub(1).is_some_and(|at| next[at]);
            let both = j.checked_sub(1).is_some_and(|at| row[at]);
            next[j] = match (last, letter) {
                (None, None) => true,
                (Some(b'*'), _) if row[j] || before => true,
                (_, Some(b'*')) if before || row[j] => true,
                (Some(a), Some(b)) => both && (a == b || a == b'?' || b == b'?'),
                _ => false,
            };
        }
        row = next;
    }
    row[other.len()]
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

fn risk_of(action: &str) -> Risk {
    let reads = action.split_once(':').is_some_and(|(service, name)| !is_wild(service) && READS.iter().any(|read| name.starts_with(read)));
    if reads { Risk::Read } else { Risk::Write }
}

#[cfg(test)]
mod tests;
