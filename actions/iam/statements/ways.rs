//! What several policies allow together: how whoever has all of them is an administrator, or can become one.

use std::collections::BTreeSet;

use super::{Document, ESCALATIONS, Enough, Need, is_admin, may_be};

/// What the way of an administrator is called: every action on everything, or every action of IAM on all users, groups or roles.
pub const ADMINISTRATOR: &str = "Administrator";

/// The policies of one principal, as one: what any of them denies without a condition is allowed by none.
pub struct Together {
    document: Document,
    /// The place of the policy that each statement is of.
    policies: Vec<usize>,
}

/// The ARNs on which an action leads somebody to more though it is allowed on no others.
#[derive(Debug, Default)]
pub struct Reach<'a> {
    /// Its own, those of its groups, and those of its policies that can be changed.
    pub own: Vec<&'a str>,
    /// Those of users, groups and roles that are administrators, or can become ones.
    pub powerful: &'a [&'a str],
    /// Those of such roles that it may assume where its policies allow that.
    pub assumable: Vec<&'a str>,
    /// Those of such roles that a service may assume.
    pub passable: Vec<&'a str>,
}

impl Reach<'_> {
    fn of(&self, enough: Enough) -> &[&str] {
        match enough {
            Enough::Nothing | Enough::Anything => &[],
            Enough::Own => &self.own,
            Enough::Powerful => self.powerful,
            Enough::Assumable => &self.assumable,
            Enough::Passable => &self.passable,
        }
    }
}

/// The statements that allow an action.
struct Granted {
    statements: Vec<usize>,
    /// On what; nothing where it is on all of a kind, or on whatever is made.
    on: BTreeSet<String>,
}

/// A way to everything.
#[derive(Debug, PartialEq, Eq)]
pub struct Way {
    /// [`ADMINISTRATOR`], or what is known to lead to more.
    pub name: &'static str,
    /// The places of the policies that allow it, alone or together.
    pub policies: BTreeSet<usize>,
    /// Whether part of it is allowed under a condition only.
    pub conditional: bool,
    /// The ARNs on which it leads there; none where it does on all of a kind.
    pub on: BTreeSet<String>,
}

impl Way {
    /// What is left of it within bounds that have it too; none where they have it on other things.
    pub fn within(mut self, bound: &Way) -> Option<Way> {
        self.conditional |= bound.conditional;
        match (self.on.is_empty(), bound.on.is_empty()) {
            (_, true) => {}
            (true, false) => self.on.clone_from(&bound.on),
            (false, false) => {
                self.on.retain(|arn| bound.on.contains(arn));
                if self.on.is_empty() {
                    return None;
                }
            }
        }
        Some(self)
    }
}

impl Together {
    /// Of these policies.
    pub fn of<'a>(documents: impl IntoIterator<Item = &'a Document>) -> Self {
        let (mut statements, mut policies) = (Vec::new(), Vec::new());
        for (place, document) in documents.into_iter().enumerate() {
            statements.extend(document.statements.iter().cloned());
            policies.resize(statements.len(), place);
        }
        Together { document: Document { statements }, policies }
    }

    /// All ways to everything, an administrator's first. Where somebody is an administrator, the others are told too.
    pub fn ways(&self, reach: &Reach<'_>) -> Vec<Way> {
        let administrator = self.way(ADMINISTRATOR, vec![Granted { statements: self.administering(), on: BTreeSet::new() }]);
        let others = ESCALATIONS.iter().filter_map(|escalation| {
            let granted = escalation.needs.iter().map(|need| self.granted(need, reach)).collect();
            self.way(escalation.name, granted)
        });
        administrator.into_iter().chain(others).collect()
    }

    /// Whether an action is allowed.
    pub fn allows(&self, need: &Need, reach: &Reach<'_>) -> bool {
        !self.granted(need, reach).statements.is_empty()
    }

    /// Whether an action is allowed by which one becomes another that is within reach.
    pub fn becomes_one(&self, reach: &Reach<'_>) -> bool {
        let mut looked: Vec<&str> = Vec::new();
        let needs = ESCALATIONS.iter().flat_map(|escalation| escalation.needs);
        needs.filter(|need| matches!(need.enough, Enough::Powerful | Enough::Assumable | Enough::Passable)).any(|need| {
            if looked.contains(&need.action) {
                return false;
            }
            looked.push(need.action);
            !self.granted_on(need, reach).statements.is_empty()
        })
    }

    /// Whether an action on an ARN is denied always.
    pub fn denies(&self, action: &str, arn: &str) -> bool {
        self.document.left(action.to_ascii_lowercase(), arn.to_owned()).is_empty()
    }

    /// The statements that allow an action on all of a kind or, where there are none, on what else is enough.
    fn granted(&self, need: &Need, reach: &Reach<'_>) -> Granted {
        let statements = self.document.granting(need, false);
        if statements.is_empty() { self.granted_on(need, reach) } else { Granted { statements, on: BTreeSet::new() } }
    }

    /// The statements that allow an action on what else is enough.
    fn granted_on(&self, need: &Need, reach: &Reach<'_>) -> Granted {
        let mut granted = Granted { statements: Vec::new(), on: BTreeSet::new() };
        let (action, arns) = (need.action.to_ascii_lowercase(), reach.of(need.enough));
        // There may be very many ARNs, and most policies do not have the action.
        if arns.is_empty() || !self.document.allowing().any(|(_, statement)| statement.actions.include(&action)) {
            return granted;
        }
        for arn in arns.iter().filter(|arn| need.on.is_none_or(|form| may_be(arn, form))) {
            let statements = self.document.granting_on(&action, arn);
            if !statements.is_empty() {
                granted.on.insert((*arn).to_owned());
                granted.statements.extend(statements);
            }
        }
        granted
    }

    /// The statements that make an administrator. The denies cannot be taken from `*`, which is cautious elsewhere: here whoever may do nothing of IAM
    /// is none.
    fn administering(&self) -> Vec<usize> {
        let document = &self.document;
        let is_one =
            |action: String, resource: String| is_admin(&action, &resource) && !document.left("iam:*".to_owned(), resource).is_empty();
        let statements = document.allowing().filter(|(_, statement)| {
            let mut left = statement.pairs().flat_map(|(action, resource)| document.left(action, resource));
            !statement.actions.leave_out("iam:*") && left.any(|(action, resource)| is_one(action, resource))
        });
        statements.map(|(index, _)| index).collect()
    }

    /// A way for which each of its parts is allowed by some statements; none where one part is by none.
    fn way(&self, name: &'static str, granted: Vec<Granted>) -> Option<Way> {
        if granted.iter().any(|granted| granted.statements.is_empty()) {
            return None;
        }
        let always = |index: &usize| self.document.statements.get(*index).is_some_and(|statement| !statement.conditional);
        let conditional = !granted.iter().all(|granted| granted.statements.iter().any(always));
        let statements = granted.iter().flat_map(|granted| &granted.statements);
        let policies = statements.filter_map(|index| self.policies.get(*index)).copied().collect();
        let on = granted.into_iter().flat_map(|granted| granted.on).collect();
        Some(Way { name, policies, conditional, on })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The names of the ways, and the policies of each.
    fn ways(policies: &[Value]) -> Vec<(&'static str, Vec<usize>)> {
        let read = |statements: &Value| Document::read(&json!({ "Statement": statements }).to_string()).expect("a document");
        let documents: Vec<Document> = policies.iter().map(read).collect();
        let ways = Together::of(&documents).ways(&Reach::default()).into_iter();
        ways.map(|way| (way.name, way.policies.into_iter().collect())).collect()
    }

    fn allow(action: &str) -> Value {
        json!({ "Effect": "Allow", "Action": action, "Resource": "*" })
    }

    fn deny(action: &str) -> Value {
        json!({ "Effect": "Deny", "Action": action, "Resource": "*" })
    }

    #[test]
    fn two_policies_lead_where_neither_does() {
        let (pass, run) = (allow("iam:PassRole"), allow("ec2:RunInstances"));
        assert!(ways(std::slice::from_ref(&pass)).is_empty());
        assert_eq!(ways(&[pass, allow("s3:GetObject"), run]), [("PassRole+RunInstances", vec![0, 2])]);
    }

    #[test]
    fn what_another_policy_denies_is_allowed_by_none() {
        assert!(ways(&[allow("iam:CreatePolicyVersion"), deny("iam:Create*")]).is_empty());
        assert!(ways(&[allow("*"), deny("*")]).is_empty());
        // Whoever may do nothing of IAM is no administrator, and may still take over what has a role.
        let names: Vec<_> = ways(&[allow("*"), deny("iam:*")]).into_iter().map(|(name, _)| name).collect();
        assert!(!names.contains(&ADMINISTRATOR) && names.contains(&"UpdateFunctionCode"), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("PassRole") || *name == "CreatePolicyVersion"), "{names:?}");
    }

    #[test]
    fn an_administrator_is_one_by_each_policy_that_says_so() {
        let all = ways(&[allow("s3:*"), allow("*"), allow("iam:*")]);
        assert_eq!(all.first(), Some(&(ADMINISTRATOR, vec![1, 2])));
        assert!(all.len() > 20, "the other ways are told too");
    }

    #[test]
    fn a_way_is_conditional_when_a_part_of_it_is() {
        let under = |action: &str| json!({ "Effect": "Allow", "Action": action, "Resource": "*", "Condition": { "Bool": { "aws:MultiFactorAuthPresent": "true" } } });
        let conditional = |statements: Value| {
            let document = Document::read(&json!({ "Statement": statements }).to_string()).expect("a document");
            Together::of([&document]).ways(&Reach::default()).first().map(|way| way.conditional)
        };
        assert_eq!(conditional(json!([under("iam:PassRole"), allow("ec2:RunInstances")])), Some(true));
        assert_eq!(conditional(json!([under("iam:PassRole"), allow("iam:PassRole"), allow("ec2:RunInstances")])), Some(false));
    }
}
