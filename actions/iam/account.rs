//! Reading the account: its users one page after another, what each of them signs in with, and what IAM tells of everything at once.

use std::collections::HashMap;
use std::future::ready;
use std::pin::{Pin, pin};
use std::sync::Arc;

use aaws::{Call, Context, Error, ErrorContext, Grant, Next, Out, Page, Result, When, async_trait, paged};
use aws_sdk_iam::Client;
use aws_sdk_iam::operation::get_account_authorization_details::GetAccountAuthorizationDetailsOutput;
use aws_sdk_iam::primitives::DateTime;
use aws_sdk_iam::types::{
    AccessKeyLastUsed, AccessKeyMetadata, EntityType, LoginProfile, ManagedPolicyDetail, PolicyVersion, StatusType, User, UserDetail,
};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::changes::{is_denied, is_missing};
use super::report::{CredentialReport, Row, Source};
use super::statements::Document;

/// The most items of one page (IAM API reference); IAM may give fewer and say that there are more.
const PAGE: i32 = 1000;

/// Where the roles are that services make for themselves, and delete themselves.
pub const SERVICE_LINKED: &str = "/aws-service-role/";

/// Where the roles are that AWS services keep for the account, such as those of IAM Identity Center.
pub const RESERVED: &str = "/aws-reserved/";

/// Every user of the account, whatever the path.
const USERS: &[&str] = &["arn:${Partition}:iam::${Account}:user/*"];

/// What the credential report clears is not looked at.
const SUSPECTED: When = When::Likely("the credential report leaves a user to look at, or there is none");

/// All users, with the last use of their passwords.
pub const LIST_USERS: Call = Call::read("iam:ListUsers", &[Grant::new("iam:ListUsers", &["*"])]);

/// Whether a user has a console password, and since when.
pub const GET_LOGIN_PROFILE: Call = Call::read("iam:GetLoginProfile", &[Grant::new("iam:GetLoginProfile", USERS)]).when(SUSPECTED);

/// A user's MFA devices.
pub const LIST_MFA_DEVICES: Call = Call::read("iam:ListMFADevices", &[Grant::new("iam:ListMFADevices", USERS)]).when(SUSPECTED);

/// A user's access keys.
pub const LIST_ACCESS_KEYS: Call = Call::read("iam:ListAccessKeys", &[Grant::new("iam:ListAccessKeys", USERS)]).when(SUSPECTED);

/// When and where a key was used last.
pub const GET_ACCESS_KEY_LAST_USED: Call =
    Call::read("iam:GetAccessKeyLastUsed", &[Grant::new("iam:GetAccessKeyLastUsed", USERS)]).when(SUSPECTED);

/// Users, groups, roles and policies with their documents, a thousand a call.
pub const GET_ACCOUNT_AUTHORIZATION_DETAILS: Call =
    Call::read("iam:GetAccountAuthorizationDetails", &[Grant::new("iam:GetAccountAuthorizationDetails", &["*"])]);

/// IAM of one account. Cheap to clone.
#[derive(Clone)]
pub struct Iam {
    cx: Context,
    client: Client,
}

/// What was found on a user, and what could not be read: the one does not hide the other.
pub struct Findings<T> {
    items: Vec<T>,
    unread: Vec<(String, Error)>,
}

impl<T> Findings<T> {
    /// Something to report.
    pub fn push(&mut self, item: T) {
        self.items.push(item);
    }

    /// Something that could not be read.
    pub fn unread(&mut self, item: impl Into<String>, error: Error) {
        self.unread.push((item.into(), error));
    }
}

/// What an action looks for on a user.
#[async_trait]
pub trait Inspect: Send + Sync + 'static {
    /// What it reports.
    type Finding: Send + 'static;

    /// Whether the listing of users leaves open that there is something to report.
    fn may_be(&self, _now: Timestamp, _user: &User) -> bool {
        true
    }

    /// Whether the credential report leaves open that there is something to report. What the report does not know is open.
    fn worth(&self, now: Timestamp, row: &Row) -> bool;

    /// Looks at one user. `row` is what the credential report says of that user, when there is one.
    async fn inspect(&self, iam: &Iam, user: &User, row: Option<&Row>, findings: &mut Findings<Self::Finding>) -> Result<()>;
}

/// The users of an account, and what its credential report says of them, if that is asked.
pub struct Survey {
    report: Arc<Option<CredentialReport>>,
    users: BoxStream<'static, Result<User>>,
}

impl Survey {
    /// The credential report; none where every user is to be looked at.
    pub fn report(&self) -> Option<&CredentialReport> {
        (*self.report).as_ref()
    }
}

/// Looks at the users, many at once, and puts what is found out in the order in which IAM lists the users.
///
/// The credential report may be hours old, so it only chooses whom to look at: who was deleted since is not in the listing of users, and
/// who is not in the report is looked at.
pub async fn inspect_users<I: Inspect>(iam: &Iam, inspector: I, survey: Survey, out: &mut Out<I::Finding>) -> Result<()> {
    let Survey { report, users } = survey;
    let inspector = Arc::new(inspector);
    let now = iam.now();
    // Who is cleared takes no place among those that are looked at.
    let suspects = users.try_filter_map(|user| {
        let row = (*report).as_ref().and_then(|report| report.of(&user));
        let is_suspect = inspector.may_be(now, &user) && row.is_none_or(|row| inspector.worth(now, row));
        ready(Ok::<_, Error>(is_suspect.then(|| (row.cloned(), user))))
    });
    let look = |(row, user): (Option<Row>, User)| {
        let (iam, inspector) = (iam.clone(), Arc::clone(&inspector));
        async move {
            let mut findings = Findings { items: Vec::new(), unread: Vec::new() };
            if let Err(error) = inspector.inspect(&iam, &user, row.as_ref(), &mut findings).await {
                findings.unread(user.user_name, error);
            }
            Ok(findings)
        }
    };
    let mut looked = pin!(suspects.map_ok(look).try_buffered(iam.cx.concurrency()));
    while let Some(findings) = looked.try_next().await? {
        for item in findings.items {
            out.send(item).await?;
        }
        for (item, error) in findings.unread {
            unreadable(&iam.cx, item, error)?;
        }
    }
    Ok(())
}

/// The output goes on without what could not be read, unless all else would fail the same way.
pub fn unreadable(cx: &Context, item: impl Into<String>, error: Error) -> Result<()> {
    if error.is_fatal() {
        return Err(error);
    }
    cx.record_failure(item, &error);
    Ok(())
}

impl Iam {
    /// Of the context's target.
    pub fn new(cx: &Context) -> Self {
        Iam { cx: cx.clone(), client: aaws::client!(cx, aws_sdk_iam) }
    }

    /// The run's clock.
    pub fn now(&self) -> Timestamp {
        self.cx.now()
    }

    /// The users, of whom the first page is there, and the credential report, when the action is to begin with it: they are asked side by side.
    pub async fn survey(&self, source: Source) -> Result<Survey> {
        let mut users = self.users().peekable();
        // What became of the page is said when it is read.
        let (report, _) = futures::join!(self.report(source), Pin::new(&mut users).peek());
        Ok(Survey { report: report?, users: users.boxed() })
    }

    /// The credential report: one for all that work in the session. Who may not read it looks at every user instead.
    async fn report(&self, source: Source) -> Result<Arc<Option<CredentialReport>>> {
        if source == Source::Live {
            return Ok(Arc::new(None));
        }
        let iam = self.clone();
        let ask = || async move {
            match CredentialReport::get(&iam.cx, &iam.client).await {
                Err(e) if is_denied(&e) => {
                    tracing::warn!("{e}; every user is looked at instead, as with `source` `live`");
                    Ok(None)
                }
                report => report.map(Some),
            }
        };
        self.cx.once("iam: the credential report", ask).await
    }

    /// All users, a page at a time as they are read. A page is asked for once a session: an account has 5,000 users at most (IAM quotas).
    fn users(&self) -> BoxStream<'static, Result<User>> {
        let iam = self.clone();
        let users = paged("the users of the account", move |marker: Option<String>| {
            let iam = iam.clone();
            async move {
                let what = format!("iam: the users at {marker:?}");
                let request = iam.client.list_users().max_items(PAGE).set_marker(marker);
                let ask = || async move {
                    let answer = request.send().await.context(|| "list the users of the account")?;
                    Ok::<_, Error>(Page { next: Next::truncated(Some(answer.is_truncated), answer.marker), items: answer.users })
                };
                let page = iam.cx.once(&what, ask).await?;
                Ok(Page { items: page.items.clone(), next: page.next.clone() })
            }
        });
        users.boxed()
    }

    /// What IAM tells of all entities of these kinds, a page at a time as they are read. Without kinds nothing is asked: IAM would take
    /// that for all of them.
    pub fn details(&self, kinds: Vec<EntityType>) -> BoxStream<'static, Result<GetAccountAuthorizationDetailsOutput>> {
        if kinds.is_empty() {
            return stream::empty().boxed();
        }
        let client = self.client.clone();
        let answers = paged("the account's authorization details", move |marker: Option<String>| {
            let request = client.get_account_authorization_details().max_items(PAGE).set_filter(Some(kinds.clone())).set_marker(marker);
            async move {
                let answer = request.send().await.context(|| "read the account's authorization details")?;
                Ok(Page { next: Next::truncated(Some(answer.is_truncated), answer.marker.clone()), items: vec![answer] })
            }
        });
        answers.boxed()
    }

    /// Since when a user has a console password; none who has none, or who is gone.
    pub async fn login_profile(&self, user: &str) -> Result<Option<LoginProfile>> {
        let answer = self.client.get_login_profile().user_name(user).send().await;
        match answer.context(|| format!("read the login profile of the user `{user}`")) {
            Ok(answer) => Ok(answer.login_profile),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether a user has an MFA device; `None` for a user who is gone.
    pub async fn has_mfa(&self, user: &str) -> Result<Option<bool>> {
        let (client, name) = (self.client.clone(), user.to_owned());
        let devices = paged(format!("the MFA devices of the user `{user}`"), move |marker: Option<String>| {
            let attempted = format!("list the MFA devices of the user `{name}`");
            let request = client.list_mfa_devices().user_name(&name).set_marker(marker);
            async move {
                let answer = request.send().await.context(|| attempted)?;
                Ok(Page { next: Next::truncated(Some(answer.is_truncated), answer.marker), items: answer.mfa_devices })
            }
        });
        match devices.boxed().try_next().await {
            Ok(device) => Ok(Some(device.is_some())),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A user's access keys, asked for once a session; none of a user who is gone.
    pub async fn access_keys(&self, user: &str) -> Result<Arc<Vec<AccessKeyMetadata>>> {
        let (client, name) = (self.client.clone(), user.to_owned());
        let ask = || async move {
            match access_keys(&client, &name).await {
                Err(e) if is_missing(&e) => Ok(Vec::new()),
                keys => keys,
            }
        };
        self.cx.once(&format!("iam: the access keys of {user}"), ask).await
    }

    /// When and where a key was used last, without a date when it never was; none of a key that is gone.
    pub async fn last_used(&self, key: &AccessKeyMetadata) -> Result<Option<AccessKeyLastUsed>> {
        let id = key.access_key_id().unwrap_or_default();
        let answer = self.client.get_access_key_last_used().access_key_id(id).send().await;
        let answer = match answer.context(|| format!("read the last use of the access key `{id}`")) {
            Ok(answer) => answer,
            Err(e) if is_missing(&e) => return Ok(None),
            Err(e) => return Err(e),
        };
        let silent = || Error::Failed(format!("IAM says nothing of the last use of the access key `{id}`"));
        answer.access_key_last_used.ok_or_else(silent).map(Some)
    }
}

/// A user's access keys, all pages of them.
pub async fn access_keys(client: &Client, user: &str) -> Result<Vec<AccessKeyMetadata>> {
    let (client, name) = (client.clone(), user.to_owned());
    let keys = paged(format!("the access keys of the user `{user}`"), move |marker: Option<String>| {
        let attempted = format!("list the access keys of the user `{name}`");
        let request = client.list_access_keys().user_name(&name).set_marker(marker);
        async move {
            let answer = request.send().await.context(|| attempted)?;
            Ok(Page { next: Next::truncated(Some(answer.is_truncated), answer.marker), items: answer.access_key_metadata })
        }
    });
    keys.boxed().try_collect().await
}

/// The ARNs of the managed policies that are attached to a user.
pub async fn attached_policies(client: &Client, user: &str) -> Result<Vec<String>> {
    let (client, name) = (client.clone(), user.to_owned());
    let policies = paged(format!("the policies of the user `{user}`"), move |marker: Option<String>| {
        let attempted = format!("list the policies of the user `{name}`");
        let request = client.list_attached_user_policies().user_name(&name).set_marker(marker);
        async move {
            let answer = request.send().await.context(|| attempted)?;
            let arns = answer.attached_policies.unwrap_or_default().into_iter().filter_map(|policy| policy.policy_arn).collect();
            Ok(Page { items: arns, next: Next::truncated(Some(answer.is_truncated), answer.marker) })
        }
    });
    policies.boxed().try_collect().await
}

/// The name of a managed policy. Its ARN ends in it too.
pub fn policy_name(policy: &ManagedPolicyDetail) -> &str {
    let of_arn = || policy.arn().and_then(|arn| arn.rsplit('/').next());
    policy.policy_name().or_else(of_arn).unwrap_or_default()
}

/// The version of a managed policy that is in force, and what it says.
pub fn in_force(policy: &ManagedPolicyDetail) -> Result<(&PolicyVersion, Document)> {
    let unreadable = |why: String| Error::Failed(format!("the policy `{}` cannot be judged: {why}", policy_name(policy)));
    let in_force = policy.policy_version_list().iter().find(|version| version.is_default_version());
    let version = in_force.ok_or_else(|| unreadable("IAM does not give the version in force".into()))?;
    let document = Document::read(version.document().unwrap_or_default()).map_err(unreadable)?;
    Ok((version, document))
}

/// Who is in which group, as far as users were read.
#[derive(Default)]
pub struct Groups(HashMap<String, Vec<String>>);

impl Groups {
    /// One more user.
    pub fn add(&mut self, user: &UserDetail) {
        for group in user.group_list() {
            self.0.entry(group.clone()).or_default().extend(user.user_name().map(str::to_owned));
        }
    }

    /// The users of a group.
    pub fn users(&self, group: &str) -> &[String] {
        self.0.get(group).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Whether a key can be used as it is. It can also be inactive or expired.
pub fn is_active(key: &AccessKeyMetadata) -> bool {
    key.status() == Some(&StatusType::Active)
}

/// A key's date of creation, which every key has.
pub fn created(key: &AccessKeyMetadata) -> Result<DateTime> {
    let none = || Error::Failed(format!("IAM gives no creation date for the access key `{}`", key.access_key_id().unwrap_or_default()));
    key.create_date().copied().ok_or_else(none)
}
