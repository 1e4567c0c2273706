//! The AWS API operations that an action may make, and the IAM permissions that each needs.

/// Whether an operation changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Looks only; sent in a dry run too.
    Read,
    /// Changes something; never sent in a dry run.
    Write,
}

/// When something is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Each time that the action has something to do.
    Always,
    /// When one of these inputs is given.
    With(&'static [&'static str]),
    /// When none of these inputs is given.
    Without(&'static [&'static str]),
    /// When this input has this value, or is a list that holds it: `source`, `report`.
    Is(&'static str, &'static str),
    /// When the world is so, as it may well be: policies have it, like what is needed always. A sentence part that follows "when".
    Likely(&'static str),
    /// When the world is so, which is special, so that policies have it only with `--all`. A sentence part that follows "when".
    Rare(&'static str),
}

/// An IAM action that a call needs, and the ARNs it applies to.
///
/// ARN templates hold `${Partition}`, `${Region}` and `${Account}`, and inputs by name: `${bucket}`, `${objects.Key}`; `${prefix/}` is the
/// input with a slash put behind it unless it ends in one, or nothing when it is not given. What is not known becomes `*`.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// `s3:DeleteObject`
    pub action: &'static str,
    /// ARN templates, or `*`.
    pub resources: &'static [&'static str],
    /// When it is needed, given that the call is made.
    pub when: When,
    /// A condition that narrows it, when the inputs that it names are given.
    pub condition: Option<Condition>,
}

/// A condition of an IAM statement.
#[derive(Debug, Clone, Copy)]
pub struct Condition {
    /// `StringLike`
    pub operator: &'static str,
    /// `s3:prefix`
    pub key: &'static str,
    /// A template like those of ARNs.
    pub value: &'static str,
}

/// One AWS API operation that an action may make.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Service and operation as in the service's API reference: `s3:DeleteObjects`.
    pub name: &'static str,
    /// Whether it changes anything.
    pub access: Access,
    /// When it is made.
    pub when: When,
    /// What IAM must allow for it.
    pub grants: &'static [Grant],
}

impl Call {
    /// An operation that only looks.
    pub const fn read(name: &'static str, grants: &'static [Grant]) -> Self {
        Call { name, access: Access::Read, when: When::Always, grants }
    }

    /// An operation that changes something.
    pub const fn write(name: &'static str, grants: &'static [Grant]) -> Self {
        Call { name, access: Access::Write, when: When::Always, grants }
    }

    /// Made only then.
    pub const fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// The operation without its service: `DeleteObjects`.
    pub fn operation(&self) -> &'static str {
        self.name.split_once(':').map_or(self.name, |(_, operation)| operation)
    }

    /// Whether this declares the SDK's operation `operation` of `service`. The SDK writes services as `S3` or `Elastic Load Balancing v2`, so
    /// only letters and digits count.
    pub fn is(&self, service: &str, operation: &str) -> bool {
        let plain = |s: &str| s.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect::<String>();
        self.name.split_once(':').is_some_and(|(s, o)| o == operation && plain(s) == plain(service))
    }
}

impl Grant {
    /// `action` on `resources`, each time that the call is made.
    pub const fn new(action: &'static str, resources: &'static [&'static str]) -> Self {
        Grant { action, resources, when: When::Always, condition: None }
    }

    /// Needed only then.
    pub const fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// Narrowed by a condition when its inputs are given.
    pub const fn condition(mut self, operator: &'static str, key: &'static str, value: &'static str) -> Self {
        self.condition = Some(Condition { operator, key, value });
        self
    }
}

impl When {
    /// In words, to follow a comma or stand in a table; empty for [`When::Always`].
    pub fn words(&self) -> String {
        let names = |inputs: &[&str]| inputs.iter().map(|i| format!("`{i}`")).collect::<Vec<_>>().join(" or ");
        match self {
            When::Always => String::new(),
            When::With(inputs) => format!("with {}", names(inputs)),
            When::Without(inputs) => format!("without {}", names(inputs)),
            When::Is(input, value) => format!("with `{input}` as `{value}`"),
            When::Likely(what) | When::Rare(what) => format!("when {what}"),
        }
    }
}

/// A call that was stopped before it was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The action's `calls` do not hold this operation.
    #[error("refused before it was sent: `{action}` does not declare the call {service}:{operation}")]
    Undeclared {
        /// The action's path.
        action: &'static str,
        /// As the SDK names it.
        service: String,
        /// As the SDK names it.
        operation: String,
    },
    /// A write in a dry run.
    #[error("refused before it was sent: {call} changes something, and this is a dry run")]
    DryRun {
        /// `s3:DeleteObjects`
        call: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_found_by_the_names_the_sdk_uses() {
        let call = Call::read("elasticloadbalancingv2:DescribeLoadBalancers", &[]);
        assert!(call.is("Elastic Load Balancing v2", "DescribeLoadBalancers"));
        assert!(!call.is("Elastic Load Balancing", "DescribeLoadBalancers"));
        assert!(!call.is("Elastic Load Balancing v2", "DescribeTags"));
    }
}
