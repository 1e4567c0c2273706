use std::fmt;

use aaws::{Action, Call, Context, Doing, Effect, Example, Grant, Meta, Outcome, Result, Rule, Steps, Told, Undo, When, async_trait};
use aws_sdk_ec2::Client;
use futures::{TryStreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::discover_default_ebs_encryption::{self as current, GET_KEY, GET_SWITCH};
use super::find;
use super::kms::{self, DESCRIBE_KEY};

/// The AWS managed key for EBS is shown by this alias, or as its ARN.
const AWS_MANAGED: &str = "alias/aws/ebs";

/// Change whether new EBS volumes of the region are encrypted by default, and with which key.
///
/// The key is looked at first: one that is disabled, of another region, or of a wrong kind would make every launch fail. The key is then changed before
/// the switch; when the switch fails, the key is put back. Printed is how the region was set before, which is what undoes it, and how it is set now.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModifyDefaultEbsEncryption {
    /// Encrypt by default.
    #[serde(default)]
    enable: bool,
    /// Do not encrypt by default.
    #[serde(default)]
    disable: bool,
    /// Use the key `kms_key_id`.
    #[serde(default)]
    change_kms_key: bool,
    /// The new default key: its id, ARN or alias (`alias/…`). It has to be in the same region.
    kms_key_id: Option<String>,
    /// Use the AWS managed key for EBS again.
    #[serde(default)]
    reset_kms_key: bool,
}

/// How a region was set, and how it is set.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Changed {
    /// Name of the region.
    region: String,
    /// How it was set before.
    before: Setting,
    /// How it is set now.
    after: Setting,
}

/// A setting of encryption by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Setting {
    /// Whether new volumes and copies of snapshots are encrypted unless told otherwise.
    enabled: bool,
    /// The key that they are, or would be, encrypted with.
    kms_key_id: Option<String>,
}

#[async_trait]
impl Action for ModifyDefaultEbsEncryption {
    const META: Meta = Meta {
        path: "ec2/modify_default_ebs_encryption",
        effect: Effect::Modify,
        calls: &[
            GET_SWITCH,
            GET_KEY,
            DESCRIBE_KEY.when(When::With(&["change_kms_key"])),
            Call::write("ec2:EnableEbsEncryptionByDefault", &[Grant::new("ec2:EnableEbsEncryptionByDefault", &["*"])])
                .when(When::With(&["enable"])),
            Call::write("ec2:DisableEbsEncryptionByDefault", &[Grant::new("ec2:DisableEbsEncryptionByDefault", &["*"])])
                .when(When::With(&["disable"])),
            Call::write("ec2:ModifyEbsDefaultKmsKeyId", &[Grant::new("ec2:ModifyEbsDefaultKmsKeyId", &["*"])])
                .when(When::With(&["change_kms_key", "reset_kms_key"])),
            Call::write("ec2:ResetEbsDefaultKmsKeyId", &[Grant::new("ec2:ResetEbsDefaultKmsKeyId", &["*"])])
                .when(When::With(&["reset_kms_key", "change_kms_key"])),
        ],
        rules: &[
            Rule::Together(&["change_kms_key", "kms_key_id"]),
            Rule::AtMostOne(&["enable", "disable"]),
            Rule::AtMostOne(&["change_kms_key", "reset_kms_key"]),
            Rule::AtLeastOne(&["enable", "disable", "change_kms_key", "reset_kms_key"]),
        ],
        examples: &[
            Example {
                title: "Encrypt new volumes of the region from now on",
                input: r#"{"enable": true}"#,
                output: r#"{"Region": "us-east-1", "Before": {"Enabled": false, "KmsKeyId": "alias/aws/ebs"}, "After": {"Enabled": true, "KmsKeyId": "alias/aws/ebs"}}"#,
                given: &[],
            },
            Example {
                title: "Encrypt them with a key of yours",
                input: r#"{"enable": true, "change_kms_key": true, "kms_key_id": "1234abcd-12ab-34cd-56ef-1234567890ab"}"#,
                output: r#"{"Region": "us-east-1", "Before": {"Enabled": false, "KmsKeyId": "alias/aws/ebs"}, "After": {"Enabled": true, "KmsKeyId": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"}}"#,
                given: &["key 1234abcd-12ab-34cd-56ef-1234567890ab"],
            },
        ],
        notes: &[
            "Volumes and snapshots that there are do not change: `encrypt_volume` replaces them.",
            "Whoever launches instances then needs `kms:CreateGrant` and the other permissions of EBS on the key.",
            "The setting is one of the region: run it in each.",
        ],
    };

    type Output = Told<Option<Changed>>;

    async fn run(self, cx: &Context) -> Result<Told<Option<Changed>>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let before = find::unless_stopped(cx, setting(&ec2)).await?;
        let key = match &self.kms_key_id {
            Some(key) if self.change_kms_key => Some(KeyChange::To(find::unless_stopped(cx, kms::check(cx, cx.region(), key)).await?)),
            _ => self.reset_kms_key.then_some(KeyChange::Reset),
        };
        let switch = if self.enable { Some(true) } else { self.disable.then_some(false) };
        let region = cx.region().to_owned();
        let change = Set { ec2: ec2.clone(), before: before.clone(), key, switch };
        let settled = cx.change_in_steps(stream::iter([Ok(region.clone())]), change).await?.settled();
        let settled: Vec<_> = settled.try_collect().await?;
        if cx.dry_run() {
            return Ok(Told::Planned(settled.into_iter().map(|s| s.record).collect()));
        }
        if settled.iter().any(|s| s.record.status == aaws::Status::Failed) {
            return Ok(Told::Done(None));
        }
        let after = setting(&ec2).await?;
        Ok(Told::Done(Some(Changed { region, before, after })))
    }
}

aaws::register!(ModifyDefaultEbsEncryption);

async fn setting(ec2: &Client) -> Result<Setting> {
    let (enabled, kms_key_id) = futures::try_join!(current::switch(ec2), current::key(ec2))?;
    Ok(Setting { enabled, kms_key_id })
}

enum KeyChange {
    To(String),
    Reset,
}

struct Set {
    ec2: Client,
    before: Setting,
    key: Option<KeyChange>,
    switch: Option<bool>,
}

/// The default key was changed; this was it before.
#[derive(Debug, Serialize)]
struct Step {
    before: Option<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "change the default key, which was {}", self.before.as_deref().unwrap_or("unknown"))
    }
}

#[async_trait]
impl Steps for Set {
    type Item = String;
    type Done = ();
    type Step = Step;

    fn id(&self, region: &String) -> String {
        region.clone()
    }

    fn summary(&self) -> String {
        "change the default encryption of".into()
    }

    fn plan(&self, _: &String) -> Option<String> {
        let key = self.key.as_ref().map(|k| match k {
            KeyChange::To(key) => format!("its default key would be {key}"),
            KeyChange::Reset => "its default key would be the AWS managed one".to_owned(),
        });
        let switch = self.switch.map(|on| format!("encryption by default would be {}", if on { "on" } else { "off" }));
        let was = format!(
            "it is {}, and the key is {}",
            if self.before.enabled { "on" } else { "off" },
            self.before.kms_key_id.as_deref().unwrap_or("unknown")
        );
        Some(key.into_iter().chain(switch).chain([was]).collect::<Vec<_>>().join("; "))
    }

    fn verdict(&self, _: &String) -> Option<Outcome> {
        let same_switch = self.switch.is_none_or(|on| on == self.before.enabled);
        // What the AWS managed key is called is not always the same; to reset to it changes nothing then.
        let same_key = match &self.key {
            None => true,
            Some(KeyChange::To(key)) => self.before.kms_key_id.as_ref() == Some(key),
            Some(KeyChange::Reset) => self.before.kms_key_id.as_deref().is_some_and(|k| k.ends_with(AWS_MANAGED)),
        };
        (same_switch && same_key).then(|| Outcome::Unchanged("it is set so already".into()))
    }

    async fn run(&self, _: &Context, region: &String, undo: &mut Undo<Step>) -> Result<Outcome> {
        if let Some(key) = &self.key {
            undo.push(Step { before: self.before.kms_key_id.clone() });
            match key {
                KeyChange::To(key) => self.set_key(key).await?,
                KeyChange::Reset => self.reset_key(region).await?,
            }
        }
        match self.switch {
            Some(true) if !self.before.enabled => {
                let answer = self.ec2.enable_ebs_encryption_by_default().send().await;
                answer.doing(|| format!("switch encryption by default on in {region}"))?;
            }
            Some(false) if self.before.enabled => {
                let answer = self.ec2.disable_ebs_encryption_by_default().send().await;
                answer.doing(|| format!("switch encryption by default off in {region}"))?;
            }
            _ => {}
        }
        Ok(Outcome::done(()))
    }

    async fn undo(&self, _: &Context, step: &Step) -> Result<()> {
        match &step.before {
            Some(key) if key.ends_with(AWS_MANAGED) => self.reset_key("the region").await,
            Some(key) => self.set_key(key).await,
            None => Err(aaws::Error::Failed("the key that it was is not known".into())),
        }
    }
}

impl Set {
    async fn set_key(&self, key: &str) -> Result<()> {
        let request = self.ec2.modify_ebs_default_kms_key_id().kms_key_id(key).send();
        request.await.doing(|| format!("make `{key}` the default key of volumes")).map(drop)
    }

    async fn reset_key(&self, region: &str) -> Result<()> {
        let answer = self.ec2.reset_ebs_default_kms_key_id().send().await;
        answer.doing(|| format!("reset the default key of volumes in {region}")).map(drop)
    }
}
