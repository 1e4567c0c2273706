use std::env;

use aaws::{Action, Call, Context, Effect, Error, ErrorContext, Example, Meta, Result, async_trait};
use aws_credential_types::Credentials;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::create_session::expiration;

/// When the keys in the environment expire: `aaws sts create_session` and `aws configure export-credentials` set it.
const EXPIRATION: &str = "AWS_CREDENTIAL_EXPIRATION";

/// Show whose credentials are in use, and in which region.
///
/// STS is asked once. Beside its answer stand the region, where region and credentials were found, and when the credentials expire.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Whoami {}

/// Who the credentials belong to, and where they and the region were found.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Identity {
    /// ARN of the user, the role's session or the account's root.
    arn: String,
    /// The account's twelve digits.
    account: String,
    /// The id of the user; of a role's session, the role's id, a colon and the session's name.
    user_id: String,
    /// `aws`, `aws-cn` or `aws-us-gov`.
    partition: String,
    /// The region that actions run in.
    region: String,
    /// Where the region was found: `--region`, the name of a variable, or the profile.
    region_source: String,
    /// Where the credentials were found, and the roles assumed with them.
    credentials_source: String,
    /// When the credentials expire, RFC 3339 in UTC; only for those that are known to.
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
}

#[async_trait]
impl Action for Whoami {
    const META: Meta = Meta {
        path: "sts/whoami",
        effect: Effect::Read,
        // Everybody may ask STS who they are, whatever their policies say (STS API reference).
        calls: &[Call::read("sts:GetCallerIdentity", &[])],
        rules: &[],
        examples: &[Example {
            title: "Show who runs this, and where",
            input: "{}",
            output: r#"{"Arn": "arn:aws:iam::123456789012:user/alice", "Account": "123456789012", "UserId": "AIDA0123456789EXAMPLE", "Partition": "aws", "Region": "us-east-1", "RegionSource": "AWS_REGION", "CredentialsSource": "the environment (AWS_ACCESS_KEY_ID)"}"#,
            given: &[],
        }],
        notes: &[
            "No permission is needed: STS answers even when a policy denies it.",
            "When keys in environment variables expire is known only where AWS_CREDENTIAL_EXPIRATION is set beside them, as `create_session` does.",
            "The account's alias is kept by IAM, which is not asked.",
        ],
    };

    type Output = Identity;

    async fn run(self, cx: &Context) -> Result<Identity> {
        let sts = aaws::client!(cx, aws_sdk_sts);
        let who = sts.get_caller_identity().send().await.context(|| "ask STS whose credentials these are")?;
        let (Some(arn), Some(account), Some(user_id)) = (who.arn, who.account, who.user_id) else {
            return Err(Error::Failed("STS answered without saying whose credentials these are".into()));
        };
        let (session, credentials) = (cx.session(), cx.credentials().await?);
        let partition = arn.split(':').nth(1).unwrap_or_default().to_owned();
        Ok(Identity {
            arn,
            account,
            user_id,
            partition,
            region: cx.region().to_owned(),
            region_source: session.region_source().to_owned(),
            credentials_source: session.credentials_source().to_owned(),
            expiration: expiration(&credentials).or_else(|| stated_expiration(&credentials)),
        })
    }
}

aaws::register!(Whoami);

/// What the environment says of the keys in it, when it is those that are in use.
fn stated_expiration(credentials: &Credentials) -> Option<String> {
    let key = env::var("AWS_ACCESS_KEY_ID").ok()?;
    let stated: Timestamp = env::var(EXPIRATION).ok()?.parse().ok()?;
    (key == credentials.access_key_id()).then(|| format!("{stated:.0}"))
}
