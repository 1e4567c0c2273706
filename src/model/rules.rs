//! Rules between inputs: what a type cannot say, checked once for every front end.

use std::fmt;

use serde_json::{Map, Value};

use crate::model::error::InputError;

/// A rule between an action's inputs. A flag that is `false` counts as not given.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// All of them or none.
    Together(&'static [&'static str]),
    /// Not two of them.
    AtMostOne(&'static [&'static str]),
    /// At least one of them.
    AtLeastOne(&'static [&'static str]),
    /// The first only with the second.
    Requires(&'static str, &'static str),
}

impl Rule {
    /// The inputs it speaks of.
    pub fn inputs(&self) -> Vec<&'static str> {
        match self {
            Rule::Together(names) | Rule::AtMostOne(names) | Rule::AtLeastOne(names) => names.to_vec(),
            Rule::Requires(one, other) => vec![one, other],
        }
    }

    /// `at_most_one`, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Rule::Together(_) => "together",
            Rule::AtMostOne(_) => "at_most_one",
            Rule::AtLeastOne(_) => "at_least_one",
            Rule::Requires(..) => "requires",
        }
    }

    /// Fails with a sentence that names the inputs to blame.
    pub fn check(&self, input: &Map<String, Value>) -> Result<(), InputError> {
        let given = |name: &&'static str| is_given(input, name);
        let inputs = self.inputs();
        let present: Vec<_> = inputs.iter().copied().filter(|n| given(n)).collect();
        let missing: Vec<_> = inputs.iter().copied().filter(|n| !given(n)).collect();
        let broken = match self {
            Rule::Together(_) if !present.is_empty() && !missing.is_empty() => {
                Some((missing.first(), format!("{} goes only with {}, which is not given", names(&present, "and"), names(&missing, "and"))))
            }
            Rule::AtMostOne(_) if present.len() > 1 => {
                Some((present.get(1), format!("give only one of {}, not {}", names(&inputs, "or"), names(&present, "and"))))
            }
            Rule::AtLeastOne(_) if present.is_empty() => Some((inputs.first(), format!("give at least one of {}", names(&inputs, "or")))),
            Rule::Requires(one, other) if given(one) && !given(other) => {
                Some((missing.first(), format!("`{one}` goes only with `{other}`, which is not given")))
            }
            _ => None,
        };
        match broken {
            Some((Some(field), message)) => Err(InputError::field(*field, message)),
            Some((None, message)) => Err(InputError::new(message)),
            None => Ok(()),
        }
    }
}

/// As shown in help and pages.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Together(inputs) => write!(f, "{} go together: all or none", names(inputs, "and")),
            Rule::AtMostOne(inputs) => write!(f, "at most one of {}", names(inputs, "or")),
            Rule::AtLeastOne(inputs) => write!(f, "at least one of {}", names(inputs, "or")),
            Rule::Requires(one, other) => write!(f, "`{one}` goes only with `{other}`"),
        }
    }
}

/// Whether an input was given: present, not null and not a flag that says no.
pub fn is_given(input: &Map<String, Value>, name: &str) -> bool {
    !matches!(input.get(name), None | Some(Value::Null | Value::Bool(false)))
}

fn names(inputs: &[&str], joint: &str) -> String {
    let quoted: Vec<_> = inputs.iter().map(|i| format!("`{i}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {joint} {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(rule: Rule, input: Value) -> Result<(), String> {
        rule.check(input.as_object().expect("an object")).map_err(|e| e.to_string())
    }

    #[test]
    fn rules_name_what_is_wrong() {
        let either = Rule::AtMostOne(&["create", "delete"]);
        assert_eq!(check(either, json!({"create": true, "delete": false})), Ok(()));
        assert_eq!(
            check(either, json!({"create": true, "delete": true})),
            Err("give only one of `create` or `delete`, not `create` and `delete`".into())
        );
        assert_eq!(check(Rule::AtLeastOne(&["a", "b"]), json!({"a": null})), Err("give at least one of `a` or `b`".into()));
        let both = Rule::Together(&["access_key", "secret_key"]);
        assert_eq!(check(both, json!({})), Ok(()));
        assert_eq!(check(both, json!({"access_key": "x"})), Err("`access_key` goes only with `secret_key`, which is not given".into()));
        assert_eq!(check(Rule::Requires("a", "b"), json!({"b": 1})), Ok(()));
        assert_eq!(check(Rule::Requires("a", "b"), json!({"a": 1})), Err("`a` goes only with `b`, which is not given".into()));
    }
}
