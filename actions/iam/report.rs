//! The credential report: what IAM knows of all users in one CSV file, up to four hours old.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html>

use std::collections::HashMap;
use std::time::Duration;

use aaws::{Backoff, Call, Context, Error, ErrorContext, Grant, Policy, Result, When};
use aws_sdk_iam::Client;
use aws_sdk_iam::error::SdkError;
use aws_sdk_iam::primitives::{DateTime, DateTimeFormat};
use aws_sdk_iam::types::{ReportStateType, User};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::threshold;

/// The sentences for the pages.
pub const HOURS_OLD: &str = "By default the account's credential report chooses which users are looked at one by one. IAM makes one at most every \
     four hours; its age is logged. What it leads to is checked live, and users who are not in it are looked at live: nothing is \
     reported that is no longer so, but what changed since the report was made may be missed. `source` `live` looks at every \
     user, and so does a run that may not read the report, which says so.";

/// Of keys, for the pages.
pub const LAST_ROTATED: &str = "The report's date of a key is that of its creation or of the last change of its status. A key that was switched off and on \
     again lately looks young in it: `source` `live` finds that one too.";

/// How long to wait for the report: a small account's is made in a second.
const WAITS: Policy = Policy { first: Duration::from_millis(250), longest: Duration::from_secs(10), factor: 2.0, jitter: 0.0 };

/// The row of the root user.
pub const ROOT: &str = "<root_account>";

/// Has a report made, unless there is a fresh one. It changes nothing in the account; its IAM access level is Read.
pub const GENERATE_CREDENTIAL_REPORT: Call =
    Call::read("iam:GenerateCredentialReport", &[Grant::new("iam:GenerateCredentialReport", &["*"])]).when(When::Is("source", "report"));

/// Fetches it.
pub const GET_CREDENTIAL_REPORT: Call =
    Call::read("iam:GetCredentialReport", &[Grant::new("iam:GetCredentialReport", &["*"])]).when(When::Is("source", "report"));

/// Where to begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Let the account's credential report, which may be four hours old, choose the users to look at: far fewer calls in a large account.
    #[default]
    Report,
    /// Look at every user, one by one and many at once.
    Live,
}

/// The report of an account.
pub struct CredentialReport {
    rows: HashMap<String, Row>,
}

/// What the report says of one user. What it does not say, or says in a way that cannot be read, is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// When the user was created.
    pub created: Option<DateTime>,
    /// Whether the user has a console password; not told of the root user.
    pub password_enabled: Option<bool>,
    /// Its last use; none when it was never used, or not since October 2014.
    pub password_last_used: Option<DateTime>,
    /// When it was set.
    pub password_last_changed: Option<DateTime>,
    /// Whether there is an MFA device.
    pub mfa_active: Option<bool>,
    /// The places for access keys. Their ids are not told.
    pub keys: [KeyRow; 2],
}

/// What the report says of an access key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyRow {
    /// Whether there is one, and it can be used.
    pub active: Option<bool>,
    /// When it was created, or its status was changed last.
    pub last_rotated: Option<DateTime>,
    /// Its last use.
    pub last_used: Option<DateTime>,
}

impl Row {
    /// Whether there may be a key that can be used.
    pub fn may_have_keys(&self) -> bool {
        self.keys.iter().any(|key| key.active != Some(false))
    }
}

impl CredentialReport {
    /// Has it made when there is none or an old one, and waits for it.
    pub async fn get(cx: &Context, client: &Client) -> Result<Self> {
        let mut backoff = Backoff::with(WAITS);
        let mut asked = false;
        loop {
            if !asked {
                asked = generate(client).await?;
            }
            if asked && let Some(report) = fetch(cx, client, &mut asked).await? {
                return Ok(report);
            }
            tracing::info!("waiting for the credential report");
            if !backoff.wait(cx).await {
                return Err(cx.cancellation().error().unwrap_or(Error::Interrupted));
            }
        }
    }

    /// What it says of a user; nothing when another of the same name was meant.
    pub fn of(&self, user: &User) -> Option<&Row> {
        let row = self.rows.get(user.user_name())?;
        row.created.is_none_or(|created| created.secs() == user.create_date().secs()).then_some(row)
    }

    /// What it says of the root user.
    pub fn root(&self) -> Option<&Row> {
        self.rows.get(ROOT)
    }

    fn parse(content: &[u8]) -> Result<Self> {
        let unreadable = |what: String| Error::Failed(format!("the credential report cannot be read: {what}"));
        let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(content);
        let headers = csv.headers().map_err(|e| unreadable(e.to_string()))?.clone();
        let columns: HashMap<&str, usize> = headers.iter().enumerate().map(|(index, name)| (name.trim(), index)).collect();
        if !columns.contains_key("user") {
            return Err(unreadable("it has no column `user`".into()));
        }
        let mut rows = HashMap::new();
        for record in csv.records() {
            let record = record.map_err(|e| unreadable(e.to_string()))?;
            let field = |name: &str| columns.get(name).and_then(|index| record.get(*index)).unwrap_or_default();
            let key = |number: u8| KeyRow {
                active: flag(field(&format!("access_key_{number}_active"))),
                last_rotated: date(field(&format!("access_key_{number}_last_rotated"))),
                last_used: date(field(&format!("access_key_{number}_last_used_date"))),
            };
            let row = Row {
                created: date(field("user_creation_time")),
                password_enabled: flag(field("password_enabled")),
                password_last_used: date(field("password_last_used")),
                password_last_changed: date(field("password_last_changed")),
                mfa_active: flag(field("mfa_active")),
                keys: [key(1), key(2)],
            };
            rows.insert(field("user").to_owned(), row);
        }
        Ok(CredentialReport { rows })
    }
}

/// Asks for a report; `false` when IAM has too much to do to begin with it now.
async fn generate(client: &Client) -> Result<bool> {
    let answer = client.generate_credential_report().send().await;
    if answer.as_ref().is_err_and(|e| e.as_service_error().is_some_and(|e| e.is_limit_exceeded_exception())) {
        return Ok(false);
    }
    let answer = answer.context(|| "have a credential report made")?;
    tracing::debug!("credential report: {}", answer.state().map_or("no state", ReportStateType::as_str));
    Ok(true)
}

/// The report; none when it is not ready, and `asked` says whether it is under way.
async fn fetch(cx: &Context, client: &Client, asked: &mut bool) -> Result<Option<CredentialReport>> {
    let answer = match client.get_credential_report().send().await {
        Err(SdkError::ServiceError(e)) if e.err().is_credential_report_not_ready_exception() => return Ok(None),
        Err(SdkError::ServiceError(e))
            if e.err().is_credential_report_not_present_exception() || e.err().is_credential_report_expired_exception() =>
        {
            *asked = false;
            return Ok(None);
        }
        answer => answer.context(|| "fetch the credential report")?,
    };
    if let Some(generated) = answer.generated_time() {
        let minutes = (cx.now().as_second() - generated.secs()).max(0) / 60;
        let age = in_words(minutes);
        tracing::info!("the credential report was made at {}, {age} ago", threshold::text(generated).unwrap_or_default());
    }
    let content = answer.content().map(AsRef::as_ref).unwrap_or_default();
    CredentialReport::parse(content).map(Some)
}

fn in_words(minutes: i64) -> String {
    match minutes {
        1 => "1 minute".to_owned(),
        0..120 => format!("{minutes} minutes"),
        _ => format!("{} hours", minutes / 60),
    }
}

/// `N/A` and `not_supported` are neither.
fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// `N/A`, `no_information` and `not_supported` are none.
fn date(text: &str) -> Option<DateTime> {
    DateTime::from_str(text.trim(), DateTimeFormat::DateTimeWithOffset).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_words() {
        assert_eq!([0, 1, 2, 119, 120, 300].map(in_words), ["0 minutes", "1 minute", "2 minutes", "119 minutes", "2 hours", "5 hours"]);
    }

    #[test]
    fn what_the_report_does_not_say_is_none() {
        let csv = "user,user_creation_time,password_enabled,password_last_used,password_last_changed,mfa_active,access_key_1_active,\
                   access_key_1_last_rotated,access_key_1_last_used_date,access_key_2_active,access_key_2_last_used_date\n\
                   <root_account>,2020-01-01T00:00:00+00:00,not_supported,2024-05-06T07:08:09Z,not_supported,true,false,N/A,N/A,false,N/A\n\
                   alice,2021-01-01T00:00:00+00:00,TRUE,no_information,2021-02-03T04:05:06+00:00,false,true,2021-02-03T04:05:06+00:00,N/A,false,N/A\n\
                   bob,2021-01-01T00:00:00+00:00\n";
        let report = CredentialReport::parse(csv.as_bytes()).expect("a report");
        let root = report.root().expect("the root user");
        assert_eq!((root.password_enabled, root.mfa_active), (None, Some(true)));
        assert_eq!(root.password_last_used.map(|d| d.secs()), Some(1_714_979_289));
        assert!(!root.may_have_keys());
        let alice = &report.rows["alice"];
        assert_eq!((alice.password_enabled, alice.password_last_used, alice.mfa_active), (Some(true), None, Some(false)));
        assert_eq!(alice.password_last_changed.map(|d| d.secs()), Some(1_612_325_106));
        assert_eq!((alice.keys[0].active, alice.keys[0].last_used), (Some(true), None));
        assert_eq!(alice.keys[0].last_rotated, alice.password_last_changed);
        assert_eq!(alice.keys[1], KeyRow { active: Some(false), ..KeyRow::default() });
        assert!(report.rows["bob"].may_have_keys(), "what is not told is open");
    }

    #[test]
    fn something_else_is_no_report() {
        assert!(CredentialReport::parse(b"<html></html>").is_err());
        assert!(CredentialReport::parse(b"").is_err());
    }
}
