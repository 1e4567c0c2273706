use aaws::{Action, Call, Context, Effect, ErrorContext, Example, Grant, Meta, Result, When, async_trait};
use aws_sdk_ec2::Client;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tell whether new EBS volumes of the region are encrypted by default, and with which key.
///
/// The setting holds for new volumes and for copies of snapshots, of the whole account in this one region. Printed are the region, whether encryption
/// by default is on, and the key that it encrypts with; EC2 is asked for the key only when it is on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverDefaultEbsEncryption {}

/// The default encryption of a region.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct DefaultEncryption {
    /// Name of the region.
    region: String,
    /// Whether new volumes and copies of snapshots are encrypted unless told otherwise.
    enabled: bool,
    /// The key that they are encrypted with, an alias or an ARN; null when they are not.
    kms_key_id: Option<String>,
}

/// Asking for the switch.
pub(super) const GET_SWITCH: Call = Call::read("ec2:GetEbsEncryptionByDefault", &[Grant::new("ec2:GetEbsEncryptionByDefault", &["*"])]);

/// Asking for the key.
pub(super) const GET_KEY: Call = Call::read("ec2:GetEbsDefaultKmsKeyId", &[Grant::new("ec2:GetEbsDefaultKmsKeyId", &["*"])]);

#[async_trait]
impl Action for DiscoverDefaultEbsEncryption {
    const META: Meta = Meta {
        path: "ec2/discover_default_ebs_encryption",
        effect: Effect::Read,
        calls: &[GET_SWITCH, GET_KEY.when(When::Likely("encryption by default is on"))],
        rules: &[],
        examples: &[Example {
            title: "Tell whether new volumes of the region are encrypted",
            input: "{}",
            output: r#"{"Region": "us-east-1", "Enabled": true, "KmsKeyId": "alias/aws/ebs"}"#,
            given: &["default-encryption"],
        }],
        notes: &[
            "The setting is one of the region: ask in each.",
            "EC2 knows a default key while encryption by default is off, too. It is not printed then, because nothing uses it unless it is asked for.",
            "That encryption by default is on says nothing of the volumes that there are: `discover_volumes` with `unencrypted` lists those that are not encrypted.",
        ],
    };

    type Output = DefaultEncryption;

    async fn run(self, cx: &Context) -> Result<DefaultEncryption> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let enabled = switch(&ec2).await?;
        let kms_key_id = if enabled { key(&ec2).await? } else { None };
        Ok(DefaultEncryption { region: cx.region().to_owned(), enabled, kms_key_id })
    }
}

aaws::register!(DiscoverDefaultEbsEncryption);

/// Whether encryption by default is on.
pub(super) async fn switch(ec2: &Client) -> Result<bool> {
    let answer = ec2.get_ebs_encryption_by_default().send().await.context(|| "ask whether volumes are encrypted by default")?;
    Ok(answer.ebs_encryption_by_default.unwrap_or_default())
}

/// The key that encryption by default uses, or would use.
pub(super) async fn key(ec2: &Client) -> Result<Option<String>> {
    let answer = ec2.get_ebs_default_kms_key_id().send().await.context(|| "ask for the default key of volumes")?;
    Ok(answer.kms_key_id)
}
