//! An AWS account on moto that no other test knows of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::aaws::{Aaws, aaws, shell};
use super::http::{self, Request, Response, Server};
use super::proxy::Proxy;
use super::{moto, xml};

/// An account, and keys of a role in it.
///
/// moto makes an account the first time that it hears of it, and knows by an access key which account a request is for. The keys are those
/// of an assumed role, so no user of the account has them.
pub struct Account {
    /// Twelve digits.
    pub id: String,
    pub access_key: String,
    pub secret_key: String,
    pub token: String,
    /// Of the moto server that knows it.
    pub endpoint: &'static str,
}

impl Account {
    /// An account with nothing in it.
    pub fn fresh() -> Self {
        Self::fresh_at(moto::endpoint())
    }

    /// One that a certain moto server knows.
    pub fn fresh_at(endpoint: &'static str) -> Self {
        let id = new_id();
        let role = xml::percent_encode(&format!("arn:aws:iam::{id}:role/tester"));
        let form = format!("Action=AssumeRole&Version=2011-06-15&RoleSessionName=tests&RoleArn={role}");
        let reply = send(endpoint, "test", None, "sts", &form);
        assert_eq!(reply.status, 200, "moto assumes a role: {}", reply.text());
        let member = |name: &str| xml::texts(&reply.text(), name).into_iter().next().unwrap_or_else(|| panic!("{name} of the role's keys"));
        Self { access_key: member("AccessKeyId"), secret_key: member("SecretAccessKey"), token: member("SessionToken"), id, endpoint }
    }

    /// `aaws` with the arguments of a line, in this account on moto.
    pub fn aaws(&self, line: impl AsRef<str>) -> Aaws {
        self.own(aaws(line))
    }

    /// A line for the shell, in which `aaws` runs in this account on moto.
    pub fn shell(&self, line: impl AsRef<str>) -> Aaws {
        self.own(shell(line))
    }

    /// A run in this account on moto.
    pub fn own(&self, run: Aaws) -> Aaws {
        let run = run.env("AWS_ACCESS_KEY_ID", &self.access_key).env("AWS_SECRET_ACCESS_KEY", &self.secret_key);
        run.env("AWS_SESSION_TOKEN", &self.token).moto(self.endpoint)
    }

    /// Sends a request of the query protocol (IAM, STS, EC2), and gives what moto answers, which must not be an error. Values are
    /// percent-encoded by the caller; the service's version is put behind a form that has none.
    #[track_caller]
    pub fn call(&self, service: &str, form: &str) -> String {
        let reply = self.try_call(service, form);
        assert!(reply.status < 300, "{service} {form}: {} {}", reply.status, reply.text());
        reply.text()
    }

    /// The same, whatever the answer is.
    pub fn try_call(&self, service: &str, form: &str) -> Response {
        let version = match service {
            "iam" => "2010-05-08",
            "sts" => "2011-06-15",
            "ec2" => "2016-11-15",
            _ => "",
        };
        let form = if form.contains("&Version=") || version.is_empty() { form.to_owned() } else { format!("{form}&Version={version}") };
        send(self.endpoint, &self.access_key, Some(&self.token), service, &form)
    }

    /// An `iam` request that must succeed: `account.iam("CreateUser", &[("UserName", "alice")])`. Values are encoded here.
    #[track_caller]
    pub fn iam(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        let parameters: String = parameters.iter().map(|(name, value)| format!("&{name}={}", xml::percent_encode(value))).collect();
        self.call("iam", &format!("Action={action}{parameters}"))
    }
}

impl Account {
    /// Makes what the examples of IAM ask for, in the words that `actions/iam/mod.rs` explains, and gives an endpoint where it can be
    /// found. IAM makes up the ids of access keys: behind this endpoint a key has the id that the example gives it.
    pub fn give(&self, given: &[&str]) -> Server {
        let mut keys = Vec::new();
        for words in given {
            let (kind, rest) = words.split_once(':').unwrap_or_else(|| panic!("what is {words}?"));
            let (rest, document) = rest.split_once('=').unwrap_or((rest, ""));
            let (name, more) = rest.split_once('/').map_or((rest, None), |(name, more)| (name, Some(more)));
            match (kind, more) {
                ("user" | "group" | "role", None) => self.make(kind, name),
                ("user", Some("console")) => {
                    self.make(kind, name);
                    self.iam("CreateLoginProfile", &[("UserName", name), ("Password", "Correct-Horse-7-Battery")]);
                }
                ("user", Some("mfa")) => {
                    self.make(kind, name);
                    let made = self.iam("CreateVirtualMFADevice", &[("VirtualMFADeviceName", name)]);
                    let serial = xml::texts(&made, "SerialNumber").remove(0);
                    let codes = [("AuthenticationCode1", "123456"), ("AuthenticationCode2", "654321")];
                    self.iam("EnableMFADevice", &[("UserName", name), ("SerialNumber", &serial), codes[0], codes[1]]);
                }
                ("key" | "inactive_key", id) => {
                    self.make("user", name);
                    let made = xml::texts(&self.iam("CreateAccessKey", &[("UserName", name)]), "AccessKeyId").remove(0);
                    if kind == "inactive_key" {
                        self.iam("UpdateAccessKey", &[("UserName", name), ("AccessKeyId", &made), ("Status", "Inactive")]);
                    }
                    keys.extend(id.map(|id| (id.to_owned(), made)));
                }
                ("member", Some(group)) => {
                    self.make("user", name);
                    self.make("group", group);
                    self.iam("AddUserToGroup", &[("UserName", name), ("GroupName", group)]);
                }
                ("trust", None) => {
                    self.iam("CreateRole", &[("RoleName", name), ("AssumeRolePolicyDocument", document)]);
                }
                ("policy", None) => {
                    self.iam("CreatePolicy", &[("PolicyName", name), ("PolicyDocument", document)]);
                }
                ("inline", None) => {
                    let parts: Vec<_> = name.split(':').collect();
                    let [kind, owner, policy] = parts[..] else { panic!("what is {words}?") };
                    self.make(kind, owner);
                    let (action, parameter) = match kind {
                        "user" => ("PutUserPolicy", "UserName"),
                        "group" => ("PutGroupPolicy", "GroupName"),
                        _ => ("PutRolePolicy", "RoleName"),
                    };
                    self.iam(action, &[(parameter, owner), ("PolicyName", policy), ("PolicyDocument", document)]);
                }
                _ => panic!("what is {words}?"),
            }
        }
        let mut proxy = Proxy::to(self.endpoint);
        for operation in ["DeleteAccessKey", "GetAccessKeyLastUsed", "ListAccessKeys", "UpdateAccessKey"] {
            let (asked, told) = (keys.clone(), keys.clone());
            proxy = proxy.rule(operation, move |_, request| {
                let text = asked.iter().fold(request.text(), |text, (id, made)| text.replace(id, made));
                request.body = text.into_bytes();
                None
            });
            proxy = proxy.rewrite(operation, move |_, text| told.iter().fold(text, |text, (id, made)| text.replace(made, id)));
        }
        proxy.start()
    }

    /// A user, group or role, unless there is one of that name.
    fn make(&self, kind: &str, name: &str) {
        let trust = xml::percent_encode(r#"{"Version":"2012-10-17","Statement":[]}"#);
        let reply = match kind {
            "user" => self.try_call("iam", &format!("Action=CreateUser&UserName={name}")),
            "group" => self.try_call("iam", &format!("Action=CreateGroup&GroupName={name}")),
            "role" => self.try_call("iam", &format!("Action=CreateRole&RoleName={name}&AssumeRolePolicyDocument={trust}")),
            _ => panic!("a {kind} has no inline policies"),
        };
        assert!(reply.status < 300 || reply.text().contains("EntityAlreadyExists"), "{kind} {name}: {}", reply.text());
    }
}

/// Twelve digits that differ between the tests of one run and, nearly always, between runs.
fn new_id() -> String {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::from(d.subsec_nanos()));
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    format!("7{:07}{made:04}", nanoseconds % 10_000_000)
}

/// moto reads the service and the access key from the signature's scope, and checks no signature.
fn send(endpoint: &str, access_key: &str, token: Option<&str>, service: &str, form: &str) -> Response {
    let scope = format!("{access_key}/20260101/us-east-1/{service}/aws4_request");
    let request = Request::new("POST", "/", form.as_bytes())
        .with_header("Authorization", &format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"))
        .with_header("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
        .with_header("X-Amz-Date", "20260101T000000Z");
    let request = token.into_iter().fold(request, |request, token| request.with_header("X-Amz-Security-Token", token));
    http::send(endpoint, &request).expect("moto answers")
}
