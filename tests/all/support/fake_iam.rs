//! The reading half of IAM, with what moto lacks: dates of long ago, small pages, the last use of passwords, keys and roles, a credential
//! report that is not ready or not of today.

use std::fmt::Write;
use std::sync::OnceLock;

use super::http::{Request, Response, Server};
use super::proxy::error;
use super::xml;

/// The most members of a page, and how many it has when none is asked for (IAM API reference).
const MOST: usize = 1000;
const USUAL: usize = 100;

/// The account's number.
pub const ACCOUNT: &str = "123456789012";

/// So many whole days ago, and an hour; the same however often it is asked.
pub fn days_ago(days: i64) -> String {
    static NOW: OnceLock<i64> = OnceLock::new();
    let seconds = NOW.get_or_init(|| jiff::Timestamp::now().as_second()) - days * 86_400 - 3600;
    jiff::Timestamp::from_second(seconds).expect("a date").to_string()
}

/// A user. Ages are in whole days.
#[derive(Clone, Default)]
pub struct User {
    name: String,
    created: i64,
    password: Option<i64>,
    signed_in: Option<i64>,
    changed: Option<i64>,
    mfa: bool,
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: String,
    status: &'static str,
    created: i64,
    used: Option<i64>,
}

impl User {
    /// A user as old as that.
    pub fn new(name: &str, created: i64) -> Self {
        Self { name: name.to_owned(), created, ..Self::default() }
    }

    /// Has a console password, created so many days ago.
    pub fn password(mut self, created: i64) -> Self {
        self.password = Some(created);
        self
    }

    /// Changed the password so many days ago: the report tells.
    pub fn changed(mut self, days: i64) -> Self {
        self.changed = Some(days);
        self
    }

    /// Signed in with a password so many days ago, maybe not with the one of today.
    pub fn signed_in(mut self, days: i64) -> Self {
        self.signed_in = Some(days);
        self
    }

    pub fn mfa(mut self) -> Self {
        self.mfa = true;
        self
    }

    /// Has an active access key, created and maybe used so many days ago.
    pub fn key(self, id: &str, created: i64, used: impl Into<Option<i64>>) -> Self {
        self.key_that_is("Active", id, created, used)
    }

    pub fn key_that_is(mut self, status: &'static str, id: &str, created: i64, used: impl Into<Option<i64>>) -> Self {
        self.keys.push(Key { id: id.to_owned(), status, created, used: used.into() });
        self
    }

    fn member(&self) -> String {
        let signed_in = self.signed_in.map(|d| format!("<PasswordLastUsed>{}</PasswordLastUsed>", days_ago(d))).unwrap_or_default();
        format!("<member>{}{signed_in}</member>", entity("User", &self.name, "/", self.created))
    }

    /// The row of the credential report.
    fn row(&self) -> String {
        let created = days_ago(self.created).replace('Z', "+00:00");
        let date = |days: Option<i64>, none: &str| days.map_or(none.to_owned(), |d| days_ago(d).replace('Z', "+00:00"));
        let password = match self.password {
            None => "false,N/A,N/A,N/A".to_owned(),
            Some(set) => format!("true,{},{},N/A", date(self.signed_in, "no_information"), date(self.changed.or(Some(set)), "")),
        };
        let mut row = format!("{},arn:aws:iam::{ACCOUNT}:user/{},{created},{password},{}", self.name, self.name, self.mfa);
        for place in 0..2 {
            let key = self.keys.get(place).filter(|key| key.status == "Active");
            let _ = match key {
                Some(key) => {
                    write!(row, ",true,{},{},us-east-1,s3", date(Some(key.created), ""), date(key.used, "N/A"))
                }
                None => write!(row, ",false,N/A,N/A,N/A,N/A"),
            };
        }
        row + ",false,N/A,false,N/A\n"
    }
}

/// What the account holds. Start it, and ask it over HTTP.
#[derive(Default)]
pub struct Iam {
    users: Vec<User>,
    /// `(kind, XML of the member)`: kinds as in the filter of GetAccountAuthorizationDetails.
    details: Vec<(&'static str, String)>,
    /// How many members a page has, whatever was asked for; all when 0.
    page: usize,
    /// What GetCredentialReport answers before it gives the report.
    not_yet: Vec<&'static str>,
    /// The users that the report knows; those of today when there is none.
    reported: Option<Vec<User>>,
    /// The row of the root user.
    root: String,
}

impl Iam {
    pub fn of(users: impl IntoIterator<Item = User>) -> Self {
        Self { users: users.into_iter().collect(), ..Self::default() }
    }

    /// Gives pages of so many members.
    pub fn pages_of(mut self, members: usize) -> Self {
        self.page = members;
        self
    }

    pub fn role(mut self, name: &str, path: &str, created: i64, used: Option<i64>) -> Self {
        let used = used.map(|d| format!("<LastUsedDate>{}</LastUsedDate><Region>us-east-1</Region>", days_ago(d))).unwrap_or_default();
        let trust = r#"{"Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;
        let member = format!(
            "<member>{}<RoleLastUsed>{used}</RoleLastUsed><AssumeRolePolicyDocument>{}</AssumeRolePolicyDocument>\
             <InstanceProfileList><member><InstanceProfileName>{name}-profile</InstanceProfileName></member></InstanceProfileList></member>",
            entity("Role", name, path, created),
            encode(trust),
        );
        self.details.push(("Role", member));
        self
    }

    /// A customer managed policy, with this document in force and a harmless one before.
    pub fn policy(self, name: &str, document: &str) -> Self {
        self.policy_with(name, document, 0, 0)
    }

    /// The same, attached to so many and the boundary of so many.
    pub fn policy_with(mut self, name: &str, document: &str, attached: u32, boundary: u32) -> Self {
        let version = |id: &str, document: &str, in_force: bool| {
            let document = encode(document);
            format!(
                "<member><VersionId>{id}</VersionId><Document>{document}</Document><IsDefaultVersion>{in_force}</IsDefaultVersion></member>"
            )
        };
        let member = format!(
            "<member><PolicyName>{name}</PolicyName><Arn>arn:aws:iam::{ACCOUNT}:policy/{name}</Arn><Path>/</Path>\
             <AttachmentCount>{attached}</AttachmentCount><PermissionsBoundaryUsageCount>{boundary}</PermissionsBoundaryUsageCount>\
             <PolicyVersionList>{}{}</PolicyVersionList></member>",
            version("v1", r#"{"Statement":[]}"#, false),
            version("v2", document, true),
        );
        self.details.push(("LocalManagedPolicy", member));
        self
    }

    /// A policy that AWS manages, attached to so many.
    pub fn aws_policy(self, name: &str, document: &str, attached: u32) -> Self {
        let mut made = self.policy_with(name, document, attached, 0);
        if let Some((kind, member)) = made.details.last_mut() {
            *kind = "AWSManagedPolicy";
            *member = member.replace(&format!("arn:aws:iam::{ACCOUNT}:policy/"), "arn:aws:iam::aws:policy/");
        }
        made
    }

    /// A `User`, `Group` or `Role` with one inline policy, and one managed policy attached by name.
    pub fn inline(mut self, kind: &'static str, name: &str, policy: &str, document: &str, attached: &str) -> Self {
        let member = format!(
            "<member>{}<{kind}PolicyList><member><PolicyName>{policy}</PolicyName><PolicyDocument>{}</PolicyDocument></member></{kind}PolicyList>\
             <AttachedManagedPolicies><member><PolicyName>{attached}</PolicyName>\
             <PolicyArn>arn:aws:iam::{ACCOUNT}:policy/{attached}</PolicyArn></member></AttachedManagedPolicies></member>",
            entity(kind, name, "/", 1),
            encode(document),
        );
        self.details.push((kind, member));
        self
    }

    /// A `User` or `Role` below a path, with inline policies by name, managed policies of the account by name, and more members of the answer, as XML.
    pub fn holder(mut self, kind: &'static str, place: &str, inline: &[(&str, &str)], managed: &[&str], more: &str) -> Self {
        let (path, name) = place.rsplit_once('/').unwrap_or(("", place));
        let inline: String = inline
            .iter()
            .map(|(name, document)| {
                let document = encode(document);
                format!("<member><PolicyName>{name}</PolicyName><PolicyDocument>{document}</PolicyDocument></member>")
            })
            .collect();
        let managed: String = managed
            .iter()
            .map(|name| {
                format!("<member><PolicyName>{name}</PolicyName><PolicyArn>arn:aws:iam::{ACCOUNT}:policy/{name}</PolicyArn></member>")
            })
            .collect();
        let member = format!(
            "<member>{}<{kind}PolicyList>{inline}</{kind}PolicyList><AttachedManagedPolicies>{managed}</AttachedManagedPolicies>{more}</member>",
            entity(kind, name, &format!("{path}/"), 1),
        );
        self.details.push((kind, member));
        self
    }

    /// A role with this trust policy.
    pub fn trusting(mut self, name: &str, trust: &str) -> Self {
        let trust = encode(trust);
        let role = entity("Role", name, "/", 1);
        self.details.push(("Role", format!("<member>{role}<AssumeRolePolicyDocument>{trust}</AssumeRolePolicyDocument></member>")));
        self
    }

    /// A user who is in a group.
    pub fn member_of(mut self, group: &str, user: &str) -> Self {
        let member = format!("<member>{}<GroupList><member>{group}</member></GroupList></member>", entity("User", user, "/", 1));
        self.details.push(("User", member));
        self
    }

    /// GetCredentialReport fails with these codes, one after another, before it gives the report.
    pub fn report_comes_after(mut self, codes: impl IntoIterator<Item = &'static str>) -> Self {
        self.not_yet = codes.into_iter().collect();
        self
    }

    /// The report was made when the account had these users.
    pub fn report_of(mut self, users: impl IntoIterator<Item = User>) -> Self {
        self.reported = Some(users.into_iter().collect());
        self
    }

    /// The report has a row of the root user, who has a password and maybe MFA.
    pub fn root(mut self, mfa: bool) -> Self {
        let arn = format!("arn:aws:iam::{ACCOUNT}:root");
        self.root = format!(
            "<root_account>,{arn},{},not_supported,no_information,not_supported,not_supported,{mfa},\
             false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A\n",
            days_ago(2000).replace('Z', "+00:00"),
        );
        self
    }

    pub fn start(self) -> Server {
        Server::start(move |operation, n, request| self.answer(operation, n, &request))
    }

    fn answer(&self, operation: &str, n: usize, request: &Request) -> Response {
        let gone = || error(request, 404, "NoSuchEntity");
        let user = || self.users.iter().find(|user| Some(&user.name) == form(request, "UserName").first());
        let result = match operation {
            "ListUsers" => {
                let users: Vec<_> = self.users.iter().map(User::member).collect();
                self.paged(request, users.iter().map(|member| ("Users", member.as_str())), &["Users"])
            }
            "GetLoginProfile" => match user().and_then(|user| Some((&user.name, user.password?))) {
                Some((name, created)) => {
                    format!("<LoginProfile><UserName>{name}</UserName><CreateDate>{}</CreateDate></LoginProfile>", days_ago(created))
                }
                None => return gone(),
            },
            "ListMFADevices" => match user() {
                Some(user) => {
                    let device = format!("<SerialNumber>{}-phone</SerialNumber><EnableDate>{}</EnableDate>", user.name, days_ago(1));
                    let device = format!("<member><UserName>{}</UserName>{device}</member>", user.name);
                    let devices = if user.mfa { device } else { String::new() };
                    // An empty page is not yet the end.
                    match form(request, "Marker").first() {
                        None if self.page > 0 => "<MFADevices/><IsTruncated>true</IsTruncated><Marker>m</Marker>".to_owned(),
                        _ => format!("<MFADevices>{devices}</MFADevices><IsTruncated>false</IsTruncated>"),
                    }
                }
                None => return gone(),
            },
            "ListAccessKeys" => match user() {
                Some(user) => {
                    let key = |key: &Key| {
                        let (id, status, created) = (&key.id, key.status, days_ago(key.created));
                        let key = format!("<AccessKeyId>{id}</AccessKeyId><Status>{status}</Status><CreateDate>{created}</CreateDate>");
                        format!("<member><UserName>{}</UserName>{key}</member>", user.name)
                    };
                    let keys: Vec<_> = user.keys.iter().map(key).collect();
                    self.paged(request, keys.iter().map(|key| ("AccessKeyMetadata", key.as_str())), &["AccessKeyMetadata"])
                }
                None => return gone(),
            },
            "GetAccessKeyLastUsed" => {
                let id = form(request, "AccessKeyId");
                let keys = || self.users.iter().flat_map(|user| user.keys.iter().map(move |key| (user, key)));
                match keys().find(|(_, key)| Some(&key.id) == id.first()) {
                    Some((user, key)) => {
                        let used = match key.used {
                            Some(days) => {
                                let date = days_ago(days);
                                format!("<LastUsedDate>{date}</LastUsedDate><ServiceName>s3</ServiceName><Region>us-east-1</Region>")
                            }
                            None => "<ServiceName>N/A</ServiceName><Region>N/A</Region>".to_owned(),
                        };
                        format!("<UserName>{}</UserName><AccessKeyLastUsed>{used}</AccessKeyLastUsed>", user.name)
                    }
                    None => return gone(),
                }
            }
            "GetAccountAuthorizationDetails" => {
                let lists = ["UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"];
                let filter = form(request, "Filter.member.");
                let members = self.details.iter().filter(|(kind, _)| filter.iter().any(|f| f == kind)).map(|(kind, member)| {
                    let list = match *kind {
                        "User" => lists[0],
                        "Group" => lists[1],
                        "Role" => lists[2],
                        _ => lists[3],
                    };
                    (list, member.as_str())
                });
                self.paged(request, members, &lists)
            }
            "GenerateCredentialReport" => "<State>STARTED</State>".to_owned(),
            "GetCredentialReport" => {
                if let Some(code) = self.not_yet.get(n - 1) {
                    return error(request, if *code == "ReportInProgress" { 404 } else { 410 }, code);
                }
                let header = "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,\
                              mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,\
                              access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,\
                              access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,\
                              cert_1_last_rotated,cert_2_active,cert_2_last_rotated\n";
                let rows: String = self.reported.as_ref().unwrap_or(&self.users).iter().map(User::row).collect();
                let content = base64(&format!("{header}{}{rows}", self.root));
                let made = days_ago(0);
                format!("<Content>{content}</Content><ReportFormat>text/csv</ReportFormat><GeneratedTime>{made}</GeneratedTime>")
            }
            _ => return error(request, 400, "InvalidAction"),
        };
        let text = format!(
            "<{operation}Response xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><{operation}Result>{result}</{operation}Result>\
             <ResponseMetadata><RequestId>REQ</RequestId></ResponseMetadata></{operation}Response>"
        );
        Response::xml(200, text)
    }

    /// The members of the page asked for, each in its list.
    fn paged<'a>(&self, request: &Request, members: impl Iterator<Item = (&'static str, &'a str)>, lists: &[&str]) -> String {
        let members: Vec<_> = members.collect();
        let start: usize = form(request, "Marker").first().and_then(|marker| marker.parse().ok()).unwrap_or(0);
        let asked = form(request, "MaxItems").first().map_or(USUAL, |most| most.parse().expect("a number of members"));
        assert!((1..=MOST).contains(&asked), "IAM takes no MaxItems of {asked}");
        let page = if self.page == 0 { asked } else { asked.min(self.page) };
        let end = members.len().min(start + page);
        let mut text = String::new();
        for list in lists {
            let of_list: String = members[start..end].iter().filter(|(name, _)| name == list).map(|(_, member)| *member).collect();
            let _ = write!(text, "<{list}>{of_list}</{list}>");
        }
        match end < members.len() {
            true => text + &format!("<IsTruncated>true</IsTruncated><Marker>{end}</Marker>"),
            false => text + "<IsTruncated>false</IsTruncated>",
        }
    }
}

/// The trust policy of a role, as more of its members.
pub fn trusting(document: &str) -> String {
    format!("<AssumeRolePolicyDocument>{}</AssumeRolePolicyDocument>", encode(document))
}

/// What every entity has.
fn entity(kind: &str, name: &str, path: &str, created: i64) -> String {
    let arn = format!("arn:aws:iam::{ACCOUNT}:{}{path}{name}", kind.to_lowercase());
    let id = format!("<{kind}Name>{name}</{kind}Name><{kind}Id>ID{name}</{kind}Id>");
    format!("{id}<Path>{path}</Path><Arn>{arn}</Arn><CreateDate>{}</CreateDate>", days_ago(created))
}

/// As IAM gives documents: percent-encoded, the slash too, and nothing that XML would mind.
fn encode(document: &str) -> String {
    xml::percent_encode(document).replace('/', "%2F")
}

pub fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[bits >> (18 - 6 * place) & 63];
            encoded.push(if place > three.len() { '=' } else { letter.into() });
        }
    }
    encoded
}

/// The values of the parameters of a form whose names begin so.
pub fn form(request: &Request, name: &str) -> Vec<String> {
    let text = request.text();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name || (name.ends_with('.') && key.starts_with(name))).map(|(_, v)| xml::percent_decode(v)).collect()
}
