//! Trust policies: whom they let assume a role, and what they ask of them.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::statements::{holds, member, parse};

/// What is wrong with whom a role trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Everybody may assume the role, and no condition says who.
    Anyone,
    /// Principals of another account may assume it without an external id: whoever makes a service there act may make it act on this account.
    ForeignAccount,
    /// Whoever has an account with the OpenID Connect provider may assume it: no condition says which subject.
    OidcWithoutSubject,
    /// An assertion that was made for another service provider is taken: no condition on its audience.
    SamlWithoutAudience,
}

/// A principal that a statement lets assume the role too easily.
#[derive(Debug, PartialEq, Eq)]
pub struct Trusted {
    pub finding: Finding,
    pub principal: String,
    /// The statement's id, where it has one.
    pub sid: Option<String>,
}

/// Keys that say who the caller is, or where: a condition on one of them narrows `*` to somebody. `aws:username` is not among them: whoever has an account
/// names its users.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>
const SAY_WHO: [&str; 16] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "aws:vpcsourceip",
    "sts:externalid",
];

/// Keys that say that a foreign account is one of the own organization, beside the external id.
const SAY_WHOSE: [&str; 3] = ["aws:principalorgid", "aws:principalorgpaths", "sts:externalid"];

/// The ways to assume a role. `*` is everybody whom AWS knows, and everybody whom a provider of identities knows.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-anonymous>
const ASSUMING: [&str; 3] = ["sts:assumerole", "sts:assumerolewithsaml", "sts:assumerolewithwebidentity"];

/// Providers of identities to all their customers, whose subjects say in their first names whose they are: `repo:OWNER/REPOSITORY:…`,
/// `project_path:GROUP/PROJECT:…`, `organization:NAME:…`. Who matches less than such a name, matches strangers' too.
/// <https://docs.github.com/en/actions/reference/security/oidc>, <https://docs.gitlab.com/ci/cloud_services/aws/>,
/// <https://developer.hashicorp.com/terraform/cloud-docs/workspaces/dynamic-provider-credentials/aws-configuration>,
/// <https://buildkite.com/docs/agent/cli/reference/oidc>
const SHARED: [&str; 4] = ["agent.buildkite.com", "app.terraform.io", "gitlab.com", "token.actions.githubusercontent.com"];

/// Providers of identities to anybody, and the keys other than `sub` by which they say whose app or user it is.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#condition-keys-wif>
const OWN_KEYS: [(&str, &[&str]); 3] =
    [("cognito-identity.amazonaws.com", &["aud"]), ("graph.facebook.com", &["app_id", "id"]), ("www.amazon.com", &["app_id", "user_id"])];

/// Whom a trust policy lets assume its role too easily, each once. `own` are the accounts whose principals need no external id.
pub fn findings(encoded: &str, own: &[&str]) -> Result<Vec<Trusted>, String> {
    let document = parse(encoded)?;
    let mut found: Vec<Trusted> = Vec::new();
    for statement in statements(&document)? {
        if member(statement, "Effect").and_then(Value::as_str) != Some("Allow") {
            continue;
        }
        let sid = member(statement, "Sid").and_then(Value::as_str).filter(|sid| !sid.is_empty()).map(str::to_owned);
        for (kind, principal) in principals(statement) {
            if let Some(finding) = judge(statement, kind, &principal, own) {
                let trusted = Trusted { finding, principal, sid: sid.clone() };
                if !found.contains(&trusted) {
                    found.push(trusted);
                }
            }
        }
    }
    Ok(found)
}

fn statements(document: &Value) -> Result<Vec<&Map<String, Value>>, String> {
    let statements: Vec<&Value> = match document.as_object().and_then(|d| member(d, "Statement")) {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => return Err("the document has no statements".into()),
    };
    if !statements.iter().all(|statement| statement.is_object()) {
        return Err("a statement is not an object".into());
    }
    Ok(statements.into_iter().filter_map(Value::as_object).collect())
}

/// Whom of its own account, and which services, a role lets assume it. Conditions are not looked at: they are taken for met.
#[derive(Debug, Default)]
pub struct Doors {
    /// Users and roles, who need no policy to assume it.
    named: HashSet<String>,
    /// Everybody, who need none either.
    everybody: bool,
    /// Whoever has a policy that allows it.
    account: bool,
    /// Those that are kept out of it whatever else is said; `*` is everybody.
    kept_out: HashSet<String>,
    /// Some service.
    pub service: bool,
}

/// How somebody may assume a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Not at all.
    Closed,
    /// Where a policy of the one who wants in allows it.
    ByPolicy,
    /// Unless a policy of the one who wants in denies it.
    Open,
}

impl Doors {
    /// Of a role of this account.
    pub fn read(encoded: &str, own: &str) -> Result<Self, String> {
        let document = parse(encoded)?;
        let mut doors = Doors::default();
        for statement in statements(&document)? {
            let is_allow = member(statement, "Effect").and_then(Value::as_str) == Some("Allow");
            let is_conditional = member(statement, "Condition").is_some();
            if !allows(statement, "sts:assumerole") || (!is_allow && (is_conditional || member(statement, "NotPrincipal").is_some())) {
                continue;
            }
            for (kind, principal) in principals(statement) {
                let is_account = account(&principal) == Some(own) && (principal.ends_with(":root") || principal == own);
                match kind {
                    Kind::Aws if !is_allow && is_account => drop(doors.kept_out.insert("*".to_owned())),
                    Kind::Aws if !is_allow => drop(doors.kept_out.insert(principal)),
                    Kind::Aws if principal == "*" => doors.everybody = true,
                    Kind::Aws if is_account => doors.account = true,
                    Kind::Aws => drop(doors.named.insert(principal)),
                    Kind::Federated => {}
                    Kind::Other => doors.service |= is_allow,
                }
            }
        }
        Ok(doors)
    }

    /// How a user or role of the account gets in.
    pub fn entry(&self, arn: &str) -> Entry {
        match () {
            () if self.kept_out.contains("*") || self.kept_out.contains(arn) => Entry::Closed,
            () if self.everybody || self.named.contains(arn) => Entry::Open,
            () if self.account => Entry::ByPolicy,
            () => Entry::Closed,
        }
    }
}

/// What a principal is, as policies name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Accounts, users, roles and sessions; `*`.
    Aws,
    /// Providers of identities.
    Federated,
    /// AWS services, and what else there is.
    Other,
}

/// All principals of a statement. `"*"` alone is everybody, as `{"AWS": "*"}` is; all but some are everybody else.
fn principals(statement: &Map<String, Value>) -> Vec<(Kind, String)> {
    if member(statement, "NotPrincipal").is_some() {
        return vec![(Kind::Aws, "*".to_owned())];
    }
    let kinds = match member(statement, "Principal") {
        Some(Value::Object(kinds)) => kinds,
        Some(Value::String(name)) => return vec![(Kind::Aws, name.clone())],
        _ => return Vec::new(),
    };
    let of_kind = |(kind, names): (&String, &Value)| {
        let kind = match kind.as_str() {
            kind if kind.eq_ignore_ascii_case("AWS") => Kind::Aws,
            kind if kind.eq_ignore_ascii_case("Federated") => Kind::Federated,
            _ => Kind::Other,
        };
        let names: Vec<&str> = match names {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            one => Vec::from_iter(one.as_str()),
        };
        names.into_iter().map(|name| (kind, name.to_owned())).collect::<Vec<_>>()
    };
    kinds.iter().flat_map(of_kind).collect()
}

fn judge(statement: &Map<String, Value>, kind: Kind, principal: &str, own: &[&str]) -> Option<Finding> {
    let says = |keys: &[&str]| requires(statement, &|key, values| keys.contains(&key) && values.iter().all(|value| says_who(key, value)));
    match kind {
        Kind::Aws if principal == "*" => {
            let open = ASSUMING.iter().any(|action| allows(statement, action)) && !says(&SAY_WHO) && !names_a_subject(statement);
            open.then_some(Finding::Anyone)
        }
        Kind::Aws if !allows(statement, "sts:assumerole") => None,
        Kind::Aws => {
            let foreign = account(principal).is_some_and(|account| !own.contains(&account));
            (foreign && !says(&SAY_WHOSE)).then_some(Finding::ForeignAccount)
        }
        Kind::Federated if is_saml(principal) => {
            let open = allows(statement, "sts:assumerolewithsaml") && !says(&["saml:aud"]);
            open.then_some(Finding::SamlWithoutAudience)
        }
        Kind::Federated => {
            let provider = provider(principal).to_ascii_lowercase();
            let others = OWN_KEYS.iter().find(|(host, _)| *host == provider).map_or(&[] as &[&str], |(_, keys)| *keys);
            let subject = |key: &str, values: &[&str]| {
                let claim = key.strip_prefix(provider.as_str()).and_then(|rest| rest.strip_prefix(':'));
                claim.is_some_and(|claim| {
                    others.contains(&claim) || claim == "sub" && values.iter().all(|value| says_whom(&provider, value))
                })
            };
            let open = allows(statement, "sts:assumerolewithwebidentity") && !requires(statement, &subject);
            open.then_some(Finding::OidcWithoutSubject)
        }
        Kind::Other => None,
    }
}

/// Whether the statement allows an action, written in lower case.
fn allows(statement: &Map<String, Value>, action: &str) -> bool {
    let names = |value: &Value| -> Vec<String> {
        let all: Vec<&str> = match value {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            one => Vec::from_iter(one.as_str()),
        };
        all.into_iter().map(str::to_ascii_lowercase).collect()
    };
    let named = |value: &Value| names(value).iter().any(|name| holds(name, action));
    match (member(statement, "Action"), member(statement, "NotAction")) {
        (Some(these), _) => named(these),
        (None, Some(all_but)) => !named(all_but),
        (None, None) => false,
    }
}

/// Whether the statement holds only where a key that is looked for has one of certain values. The key is given in lower case. What also holds where
/// there is no such key (`...IfExists`, `ForAllValues:`), where it has any value (`*`), or any but some, requires nothing.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
fn requires(statement: &Map<String, Value>, looked_for: &dyn Fn(&str, &[&str]) -> bool) -> bool {
    const EQUAL: [&str; 6] = ["arnequals", "arnlike", "ipaddress", "stringequals", "stringequalsignorecase", "stringlike"];
    let Some(Value::Object(conditions)) = member(statement, "Condition") else { return false };
    conditions.iter().any(|(operator, keys)| {
        let operator = operator.to_ascii_lowercase();
        let operator = operator.strip_prefix("foranyvalue:").unwrap_or(&operator);
        let Some(keys) = keys.as_object().filter(|_| EQUAL.contains(&operator)) else { return false };
        keys.iter().any(|(key, values)| {
            let values: Vec<&str> = match values {
                Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
                one => Vec::from_iter(one.as_str()),
            };
            let key = key.to_ascii_lowercase();
            // A variable of the key itself is whatever the key has.
            let itself = format!("${{{key}}}");
            let any = |value: &&str| {
                value.ends_with("/0") && operator == "ipaddress"
                    || value.eq_ignore_ascii_case(&itself)
                    || value.bytes().all(|b| matches!(b, b'*' | b'?'))
            };
            !values.iter().any(any) && looked_for(&key, &values)
        })
    })
}

/// Whether a value narrows a key to somebody. What an account names as it likes says so of nobody: the account of an ARN, and the organization, have to
/// be there without a wildcard.
fn says_who(key: &str, value: &str) -> bool {
    let is_whole = |name: &str| !name.is_empty() && !name.contains(['*', '?']);
    match key {
        "aws:principalarn" | "aws:sourcearn" => value.split(':').nth(4).is_some_and(is_whole),
        "aws:principalorgid" | "aws:principalorgpaths" | "aws:sourceorgid" | "aws:sourceorgpaths" => {
            value.split('/').next().is_some_and(is_whole)
        }
        // The id of a user or role, and what whoever assumes the role calls the session.
        "aws:userid" => value.split(':').next().is_some_and(is_whole),
        _ => true,
    }
}

/// Whether a condition asks for a subject of a provider, or for an audience: then `*` is whom this provider knows by that.
fn names_a_subject(statement: &Map<String, Value>) -> bool {
    requires(statement, &|key, values| match key.rsplit_once(':') {
        Some(("saml", "aud")) => true,
        Some((provider, "sub")) => values.iter().all(|value| says_whom(provider, value)),
        Some(("cognito-identity.amazonaws.com", "aud")) => true,
        _ => false,
    })
}

/// Whether a subject's pattern says more than its kind: `repo:*` is any repository of anybody. Where all customers of a provider have their subjects from
/// it, the pattern has to have a whole name before its first wildcard: `repo:me*` is `repo:me-too/…` as well, and `repo:*/it` anybody's.
fn says_whom(provider: &str, subject: &str) -> bool {
    if SHARED.contains(&provider)
        && let Some(at) = subject.find(['*', '?'])
    {
        let before = subject.get(..at).unwrap_or_default();
        let name = before.split_once(':').map_or("", |(_, name)| name);
        return name.find(['/', ':']).is_some_and(|end| end > 0);
    }
    let name = subject.split_once(':').map_or(subject, |(_, name)| name);
    !name.bytes().all(|b| matches!(b, b'*' | b'?' | b'/' | b':'))
}

/// The account of a principal: its number, or that of an ARN. None of who was deleted, whose id stands there then.
fn account(principal: &str) -> Option<&str> {
    let account = if principal.starts_with("arn:") { principal.split(':').nth(4)? } else { principal };
    (account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit())).then_some(account)
}

fn is_saml(principal: &str) -> bool {
    principal.contains(":saml-provider/")
}

/// What the keys of a provider begin with: its address without `https://`.
fn provider(principal: &str) -> &str {
    principal.split_once(":oidc-provider/").map_or(principal, |(_, address)| address)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OWN: &str = "123456789012";

    fn found(statement: Value) -> Vec<(Finding, String)> {
        let document = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        findings(&document, &[OWN]).expect("a document").into_iter().map(|trusted| (trusted.finding, trusted.principal)).collect()
    }

    fn trusting(principal: Value, action: &str, condition: Value) -> Option<Finding> {
        let statement = json!({ "Effect": "Allow", "Principal": principal, "Action": action, "Condition": condition });
        let found = found(statement);
        assert!(found.len() < 2, "{found:?}");
        found.into_iter().next().map(|(finding, _)| finding)
    }

    #[test]
    fn everybody_unless_a_condition_says_who() {
        for everybody in [json!("*"), json!({ "AWS": "*" }), json!({ "AWS": ["*"] })] {
            let of = |condition: Value| trusting(everybody.clone(), "sts:AssumeRole", condition);
            assert_eq!(of(json!({})), Some(Finding::Anyone));
            assert_eq!(of(json!({ "StringEquals": { "aws:PrincipalOrgID": "o-1" } })), None);
            assert_eq!(of(json!({ "ForAnyValue:StringLike": { "AWS:PrincipalOrgPaths": ["o-1/*"] } })), None);
            assert_eq!(of(json!({ "ArnLike": { "aws:PrincipalArn": "arn:aws:iam::123456789012:role/*" } })), None);
            // None of these says who it is.
            assert_eq!(of(json!({ "Bool": { "aws:SecureTransport": "true" } })), Some(Finding::Anyone));
            assert_eq!(of(json!({ "StringLike": { "aws:PrincipalArn": "*" } })), Some(Finding::Anyone));
            assert_eq!(of(json!({ "StringLike": { "aws:PrincipalArn": ["arn:aws:iam::1:role/a", "*"] } })), Some(Finding::Anyone));
            assert_eq!(of(json!({ "StringNotEquals": { "aws:PrincipalAccount": "111122223333" } })), Some(Finding::Anyone));
            assert_eq!(of(json!({ "StringEqualsIfExists": { "aws:PrincipalOrgID": "o-1" } })), Some(Finding::Anyone));
            assert_eq!(of(json!({ "ForAllValues:StringEquals": { "aws:PrincipalOrgID": "o-1" } })), Some(Finding::Anyone));
            for none in ["0.0.0.0/0", "198.51.100.7/0", "::/0"] {
                assert_eq!(of(json!({ "IpAddress": { "aws:SourceIp": none } })), Some(Finding::Anyone), "{none}");
            }
            assert_eq!(of(json!({ "IpAddress": { "aws:SourceIp": "198.51.100.0/24" } })), None);
        }
        assert_eq!(trusting(json!("*"), "sts:TagSession", json!({})), None, "nothing is assumed by it");
        assert_eq!(trusting(json!("*"), "STS:*", json!({})), Some(Finding::Anyone));
        let all_but = json!({ "Effect": "Allow", "NotPrincipal": { "AWS": "111122223333" }, "Action": "sts:AssumeRole" });
        assert_eq!(found(all_but), [(Finding::Anyone, "*".to_owned())]);
        assert!(found(json!({ "Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole" })).is_empty());
    }

    #[test]
    fn what_every_account_can_be_says_nobody() {
        let of = |key: &str, value: &str| trusting(json!("*"), "sts:AssumeRole", json!({ "StringLike": { key: value } }));
        for (key, value) in [
            ("aws:PrincipalArn", "arn:aws:iam::*:role/admin"),
            ("aws:PrincipalArn", "arn:aws:iam::1234????????:role/admin"),
            ("aws:PrincipalArn", "*:role/admin"),
            ("aws:PrincipalOrgID", "o-*"),
            ("aws:PrincipalOrgPaths", "o-*/r-1/*"),
            ("aws:PrincipalAccount", "????????????"),
            ("aws:PrincipalAccount", "${aws:principalaccount}"),
            ("aws:userid", "*:deployer"),
            ("aws:username", "admin"),
            ("sts:ExternalId", "?*"),
        ] {
            assert_eq!(of(key, value), Some(Finding::Anyone), "{key} {value}");
        }
        for (key, value) in [
            ("aws:PrincipalArn", "arn:aws:iam::123456789012:*"),
            ("aws:PrincipalOrgID", "o-1"),
            ("aws:PrincipalOrgPaths", "o-1/*"),
            ("aws:PrincipalOrgID", "${aws:ResourceOrgID}"),
            ("aws:userid", "AROAEXAMPLE:*"),
        ] {
            assert_eq!(of(key, value), None, "{key} {value}");
        }
        let foreign = |condition: Value| trusting(json!({ "AWS": "111122223333" }), "sts:AssumeRole", condition);
        assert_eq!(foreign(json!({ "StringLike": { "aws:PrincipalOrgID": "o-*" } })), Some(Finding::ForeignAccount));
        assert_eq!(foreign(json!({ "StringLike": { "sts:ExternalId": "?*" } })), Some(Finding::ForeignAccount));
    }

    #[test]
    fn everybody_is_whom_any_provider_knows_too() {
        let of = |action: &str, condition: Value| trusting(json!("*"), action, condition);
        for action in ["sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWith*"] {
            assert_eq!(of(action, json!({})), Some(Finding::Anyone), "{action}");
        }
        let github = |subject: &str| json!({ "StringLike": { "token.actions.githubusercontent.com:sub": subject } });
        assert_eq!(of("sts:AssumeRoleWithWebIdentity", github("repo:me/it:*")), None);
        assert_eq!(of("sts:AssumeRoleWithWebIdentity", github("repo:*/it:*")), Some(Finding::Anyone));
    }

    #[test]
    fn a_foreign_account_needs_an_external_id() {
        let of = |principal: &str, condition: Value| trusting(json!({ "AWS": principal }), "sts:AssumeRole", condition);
        for foreign in [
            "111122223333",
            "arn:aws:iam::111122223333:root",
            "arn:aws:iam::111122223333:role/x/y",
            "arn:aws:sts::111122223333:assumed-role/r/s",
        ] {
            assert_eq!(of(foreign, json!({})), Some(Finding::ForeignAccount), "{foreign}");
            assert_eq!(of(foreign, json!({ "StringEquals": { "sts:ExternalId": "x" } })), None, "{foreign}");
            assert_eq!(of(foreign, json!({ "StringEquals": { "aws:PrincipalOrgID": "o-1" } })), None, "{foreign}");
            assert_eq!(of(foreign, json!({ "StringLike": { "sts:ExternalId": "*" } })), Some(Finding::ForeignAccount), "{foreign}");
        }
        for own in [OWN, "arn:aws:iam::123456789012:root", "AROAEXAMPLEOFSOMEBODYDELETED"] {
            assert_eq!(of(own, json!({})), None, "{own}");
        }
        assert_eq!(trusting(json!({ "Service": "ec2.amazonaws.com" }), "sts:AssumeRole", json!({})), None);
    }

    #[test]
    fn a_provider_of_identities_needs_a_subject() {
        let github = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com";
        let of = |provider: &str, condition: Value| trusting(json!({ "Federated": provider }), "sts:AssumeRoleWithWebIdentity", condition);
        let audience = json!({ "StringEquals": { "token.actions.githubusercontent.com:aud": "sts.amazonaws.com" } });
        assert_eq!(of(github, audience), Some(Finding::OidcWithoutSubject));
        let subject = |subject: &str| of(github, json!({ "StringLike": { "token.actions.githubusercontent.com:sub": subject } }));
        assert_eq!([subject("repo:me/*"), subject("repo:me/it:ref:refs/heads/main")], [None, None]);
        assert_eq!([subject("*"), subject("repo:*"), subject("repo:*/*")], [Some(Finding::OidcWithoutSubject); 3]);
        for stranger in [
            "repo:*/it:ref:refs/heads/main",
            "*:ref:refs/heads/main",
            "repo:me*",
            "repo:m?/it:*",
            "*me/it*",
            "repo:*:environment:production",
        ] {
            assert_eq!(subject(stranger), Some(Finding::OidcWithoutSubject), "{stranger}");
        }
        assert_eq!([subject("repo:me/it*"), subject("repository_owner_id:42:*"), subject("repo:me/it:environment:production")], [None; 3]);
        for (host, kind) in [("gitlab.com", "project_path"), ("app.terraform.io", "organization"), ("agent.buildkite.com", "organization")]
        {
            let of = |pattern: &str| {
                of(&format!("arn:aws:iam::123456789012:oidc-provider/{host}"), json!({ "StringLike": { format!("{host}:sub"): pattern } }))
            };
            for stranger in [format!("{kind}:*/it:*"), format!("{kind}:me*"), format!("{kind}:*:pipeline:it")] {
                assert_eq!(of(&stranger), Some(Finding::OidcWithoutSubject), "{host} {stranger}");
            }
            assert_eq!([of(&format!("{kind}:me/*")), of(&format!("{kind}:me:*"))], [None, None], "{host}");
        }
        // Whose subjects are all of one customer.
        let bitbucket = "api.bitbucket.org/2.0/workspaces/me/pipelines-config/identity/oidc";
        let of_workspace = json!({ "StringLike": { format!("{bitbucket}:sub"): "{5b0c0a4d}*" } });
        assert_eq!(of(&format!("arn:aws:iam::123456789012:oidc-provider/{bitbucket}"), of_workspace), None);
        let cluster = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/ABC";
        let key = "oidc.eks.eu-west-1.amazonaws.com/id/ABC:sub";
        assert_eq!(of(cluster, json!({ "StringEquals": { key: "system:serviceaccount:default:app" } })), None);
        assert_eq!(of(github, json!({ "StringEquals": { key: "somebody" } })), Some(Finding::OidcWithoutSubject), "another provider's");
        let pool = json!({ "StringEquals": { "cognito-identity.amazonaws.com:aud": "eu-west-1:pool" } });
        assert_eq!(of("cognito-identity.amazonaws.com", pool), None);
        assert_eq!(of("accounts.google.com", json!({})), Some(Finding::OidcWithoutSubject));
    }

    #[test]
    fn a_saml_provider_needs_an_audience() {
        let of = |condition: Value| {
            trusting(json!({ "Federated": "arn:aws:iam::123456789012:saml-provider/idp" }), "sts:AssumeRoleWithSAML", condition)
        };
        assert_eq!(of(json!({})), Some(Finding::SamlWithoutAudience));
        assert_eq!(of(json!({ "StringEquals": { "SAML:aud": "https://signin.aws.amazon.com/saml" } })), None);
    }

    #[test]
    fn who_of_the_account_may_assume_a_role() {
        let entry = |statements: Value| {
            let document = json!({ "Statement": statements }).to_string();
            Doors::read(&document, OWN).expect("a document").entry("arn:aws:iam::123456789012:user/ann")
        };
        let allow = |principal: &str| json!({ "Effect": "Allow", "Principal": { "AWS": principal }, "Action": "sts:AssumeRole" });
        let deny = |principal: &str| json!({ "Effect": "Deny", "Principal": { "AWS": principal }, "Action": "sts:*" });
        let (root, ann, bob) =
            ("arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:user/ann", "arn:aws:iam::123456789012:user/bob");
        assert_eq!([entry(json!(allow(root))), entry(json!(allow(OWN)))], [Entry::ByPolicy; 2]);
        assert_eq!([entry(json!([allow(root), allow(ann)])), entry(json!(allow("*")))], [Entry::Open; 2]);
        assert_eq!([entry(json!(allow(bob))), entry(json!(allow("arn:aws:iam::111122223333:root")))], [Entry::Closed; 2]);
        assert_eq!([entry(json!([allow("*"), deny(ann)])), entry(json!([allow(ann), deny(root)]))], [Entry::Closed; 2]);
        assert_eq!(entry(json!([allow(ann), deny(bob)])), Entry::Open);
        let service =
            json!({ "Statement": { "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:AssumeRole" } });
        assert!(Doors::read(&service.to_string(), OWN).is_ok_and(|doors| doors.service));
    }

    #[test]
    fn what_is_no_trust_policy_is_told() {
        for broken in ["{", "{}", r#"{"Statement": ["x"]}"#] {
            assert!(findings(broken, &[]).is_err(), "{broken}");
        }
        assert_eq!(findings(r#"{"Statement": []}"#, &[]), Ok(Vec::new()));
    }
}
