use std::fmt;

use aaws::{
    Action, Call, Context, Effect, Error, ErrorContext, Example, Grant, Meta, OrPlan, Outcome, Result, Reversible, Rule, Status, Step,
    Steps, Undo, When, async_trait, left_alone,
};
use aws_sdk_ec2::Client;
use futures::{TryStreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::discover_default_ebs_encryption::{self as current, GET_KEY, GET_SWITCH};
use super::kms::{self, DESCRIBE_KEY};
use super::lookup;

/// The key that AWS manages for EBS, as it is shown until another one is made the default.
const AWS_MANAGED: &str = "alias/aws/ebs";

/// Change whether new EBS volumes of the region are encrypted by default, and with which key.
///
/// Everything that could go wrong half way is looked at first: how the region is set, and the key that volumes would be encrypted with. One that is
/// disabled, pending deletion, of another region or of a wrong kind would make launches fail, so it is refused before anything is changed. Then:
///
/// 1. the default key is changed, or reset;
/// 2. encryption by default is switched on or off.
///
/// What is set so already is not sent again. When the switch fails after the key was changed, the key is put back. Printed is how the region was set
/// before, which is what undoes it, and how it is set now, as EC2 tells it afterwards.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModifyDefaultEbsEncryption {
    /// Encrypt by default.
    #[serde(default)]
    pub enable: bool,
    /// Do not encrypt by default.
    #[serde(default)]
    pub disable: bool,
    /// Make `kms_key_id` the default key.
    #[serde(default)]
    pub change_kms_key: bool,
    /// The new default key: its id, ARN or alias (`alias/…`). It has to be in the same region.
    pub kms_key_id: Option<String>,
    /// Make the key that AWS manages for EBS the default key again.
    #[serde(default)]
    pub reset_kms_key: bool,
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
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Setting {
    /// Whether new volumes and copies of snapshots are encrypted unless told otherwise.
    enabled: bool,
    /// The key that they are encrypted with, or would be; an alias or an ARN.
    kms_key_id: Option<String>,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, with the key {}",
            if self.enabled { "on" } else { "off" },
            self.kms_key_id.as_deref().unwrap_or("that EC2 did not name")
        )
    }
}

/// The inputs with which the key is set, and those with which it may have to be put back.
const WITH_KEY: When = When::With(&["change_kms_key", "reset_kms_key"]);

#[async_trait]
impl Action for ModifyDefaultEbsEncryption {
    const META: Meta = Meta {
        path: "ec2/modify_default_ebs_encryption",
        effect: Effect::Modify,
        calls: &[
            GET_SWITCH,
            GET_KEY,
            DESCRIBE_KEY.when(When::With(&["change_kms_key", "enable"])),
            // Each of these two undoes the other when the switch fails.
            Call::write(
                "ec2:ModifyEbsDefaultKmsKeyId",
                &[Grant::new("ec2:ModifyEbsDefaultKmsKeyId", &["*"]).when(When::With(&["change_kms_key", "enable", "disable"]))],
            )
            .when(WITH_KEY),
            Call::write(
                "ec2:ResetEbsDefaultKmsKeyId",
                &[Grant::new("ec2:ResetEbsDefaultKmsKeyId", &["*"]).when(When::With(&["reset_kms_key", "enable", "disable"]))],
            )
            .when(WITH_KEY),
            Call::write("ec2:EnableEbsEncryptionByDefault", &[Grant::new("ec2:EnableEbsEncryptionByDefault", &["*"])])
                .when(When::With(&["enable"])),
            Call::write("ec2:DisableEbsEncryptionByDefault", &[Grant::new("ec2:DisableEbsEncryptionByDefault", &["*"])])
                .when(When::With(&["disable"])),
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
            "The setting is one of the region: change it in each.",
            "Volumes and snapshots that there are do not change: `encrypt_volume` replaces volumes by encrypted ones.",
            "Who launches instances or makes volumes afterwards needs `kms:CreateGrant`, `kms:Decrypt`, `kms:DescribeKey`, `kms:GenerateDataKeyWithoutPlaintext` and `kms:ReEncrypt*` on a key that is not AWS's own.",
            "When encryption by default is switched on with a key that was the default before, that key is looked at too; where that is not allowed, a warning says so.",
            "When a change is reported as failed because no answer came, it may have been made all the same: `discover_default_ebs_encryption` tells.",
        ],
    };

    const BINDS: &'static [&'static str] = &["whether it is on", "the default key"];
    const REVERSIBLE: Reversible = Reversible::Yes("`aaws undo` sets the key and the switch as they were.");

    type Output = OrPlan<Option<Changed>>;

    async fn run(self, cx: &Context) -> Result<OrPlan<Option<Changed>>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let before = lookup::cancellable(cx, setting(&ec2)).await?;
        let key = lookup::cancellable(cx, self.new_key(cx, &before)).await?;
        let switch = (self.enable || self.disable).then_some(self.enable).filter(|on| *on != before.enabled);
        let region = cx.region().to_owned();
        let set = Set { ec2, before: before.clone(), key, switch };
        let settled = cx.change_in_steps(stream::iter([Ok(region.clone())]), set).await?.results();
        let settled: Vec<_> = settled.try_collect().await?;
        if cx.dry_run() {
            return Ok(OrPlan::Planned(settled.into_iter().map(|s| s.record).collect()));
        }
        // Nothing printed is a failure that the log and the report explain.
        let after = settled.into_iter().next().and_then(|s| match s.record.status {
            Status::Unchanged => Some(before.clone()),
            _ => s.done,
        });
        Ok(OrPlan::Done(after.map(|after| Changed { region, before, after })))
    }
}

aaws::register!(ModifyDefaultEbsEncryption, undo = DefaultStep);

impl ModifyDefaultEbsEncryption {
    /// The key that has to be set, if any, once it is known that EBS can use it.
    async fn new_key(&self, cx: &Context, before: &Setting) -> Result<Option<Key>> {
        if self.reset_kms_key {
            return Ok((!before.is_managed_by_aws()).then_some(Key::ManagedByAws));
        }
        if let Some(given) = self.kms_key_id.as_deref().filter(|_| self.change_kms_key) {
            let arn = kms::check(cx, cx.region(), given).await?;
            let same = before.kms_key_id.as_deref().is_some_and(|key| key == arn || key == given);
            return Ok((!same).then_some(Key::Of(arn)));
        }
        if self.enable && !before.enabled {
            check_default(cx, before).await?;
        }
        Ok(None)
    }
}

/// Refuses to have volumes encrypted with a default key that cannot do it: every launch would fail from then on.
async fn check_default(cx: &Context, before: &Setting) -> Result<()> {
    let Some(key) = before.kms_key_id.as_deref().filter(|_| !before.is_managed_by_aws()) else { return Ok(()) };
    match kms::check(cx, cx.region(), key).await {
        Err(e) if matches!(e, Error::Input(_)) || e.code() == Some("NotFoundException") => {
            Err(Error::Refused(format!("the default key is no good: {e}; set another in the same run, or `reset_kms_key`")))
        }
        Err(e) if !e.is_fatal() => {
            tracing::warn!("whether the default key can be used is not known: {e}");
            Ok(())
        }
        looked_at => looked_at.map(drop),
    }
}

impl Setting {
    fn is_managed_by_aws(&self) -> bool {
        self.kms_key_id.as_deref().is_some_and(is_managed_by_aws)
    }
}

/// Of an alias, or the ARN of one.
fn is_managed_by_aws(key: &str) -> bool {
    key.ends_with(AWS_MANAGED)
}

async fn setting(ec2: &Client) -> Result<Setting> {
    let (enabled, kms_key_id) = futures::try_join!(current::switch(ec2), current::key(ec2))?;
    Ok(Setting { enabled, kms_key_id })
}

/// A default key.
enum Key {
    /// By its ARN.
    Of(String),
    ManagedByAws,
}

impl Key {
    /// As EC2 tells it.
    fn told(key: &str) -> Self {
        if is_managed_by_aws(key) { Key::ManagedByAws } else { Key::Of(key.to_owned()) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Key::Of(arn) => arn,
            Key::ManagedByAws => AWS_MANAGED,
        })
    }
}

/// The change of one region: only what is not so already.
struct Set {
    ec2: Client,
    before: Setting,
    key: Option<Key>,
    switch: Option<bool>,
}

/// A part of the setting that was changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum DefaultStep {
    /// The default key: what it was, and what it became.
    Key { was: Option<String>, now: String },
    /// Encryption by default: whether it became on.
    Switch { on: bool },
}

impl fmt::Display for DefaultStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DefaultStep::Key { was, .. } => {
                write!(f, "change the default key, which was {}", was.as_deref().unwrap_or("one that EC2 did not name"))
            }
            DefaultStep::Switch { on } => write!(f, "switch encryption by default {}", if *on { "on" } else { "off" }),
        }
    }
}

/// Whether two names are of one key, as far as names tell.
fn same_key(one: &str, other: &str) -> bool {
    one == other || (is_managed_by_aws(one) && is_managed_by_aws(other))
}

#[async_trait]
impl Steps for Set {
    type Item = String;
    type Done = Setting;
    type Step = DefaultStep;

    fn id(&self, region: &String) -> String {
        region.clone()
    }

    fn summary(&self) -> String {
        "change the default encryption of".into()
    }

    fn plan(&self, _: &String) -> Option<String> {
        let key = self.key.as_ref().map(|key| format!("the default key would be {key}"));
        let switch = self.switch.map(|on| format!("encryption by default would be {}", if on { "on" } else { "off" }));
        Some(key.into_iter().chain(switch).chain([format!("now it is {}", self.before)]).collect::<Vec<_>>().join("; "))
    }

    fn precheck(&self, _: &String) -> Option<Outcome<Setting>> {
        let unchanged = self.key.is_none() && self.switch.is_none();
        unchanged.then(|| Outcome::Unchanged(format!("encryption by default is so already: {}", self.before)))
    }

    fn state(&self, _: &String) -> Option<serde_json::Value> {
        serde_json::to_value(&self.before).ok()
    }

    async fn run(&self, cx: &Context, region: &String, undo: &mut Undo<DefaultStep>) -> Result<Outcome<Setting>> {
        let mut after = self.before.clone();
        if let Some(key) = &self.key {
            undo.note(DefaultStep::Key { was: self.before.kms_key_id.clone(), now: key.to_string() }).await?;
            match set_key(&self.ec2, key).await {
                Ok(set) => after.kms_key_id = set,
                Err(e) => {
                    if is_refusal(&e) {
                        undo.forget_last();
                    }
                    return Err(e);
                }
            }
        }
        if let Some(on) = self.switch {
            // Not undone with the key when its answer is lost: whether it was switched is not known then.
            cx.note(region, &DefaultStep::Switch { on }).await?;
            set_switch(&self.ec2, on, region).await?;
            after.enabled = on;
        }
        // What was done is done, whether or not it can be looked at.
        let after = setting(&self.ec2).await.unwrap_or_else(|e| {
            tracing::warn!("`{region}` is changed, but cannot be looked at again; printed is what EC2 answered to the change: {e}");
            after
        });
        Ok(Outcome::Done(after, Some(format!("encryption by default was {}", self.before))))
    }
}

#[async_trait]
impl Step for DefaultStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        match self {
            DefaultStep::Key { was, .. } => {
                let was = was.as_deref().ok_or_else(|| Error::Failed("it is not known which key it was".into()))?;
                set_key(&ec2, &Key::told(was)).await.map(drop)
            }
            DefaultStep::Switch { on } => set_switch(&ec2, !on, cx.region()).await,
        }
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        Ok(match self {
            DefaultStep::Key { was, now } => {
                let is = current::key(&ec2).await?.unwrap_or_default();
                match was {
                    Some(was) if same_key(&is, was) => Some(Outcome::Unchanged(format!("the default key is {was} as before"))),
                    _ if same_key(&is, now) => None,
                    _ => Some(left_alone(format!("the default key was changed since: it is {is}, and the run made it {now}"))),
                }
            }
            DefaultStep::Switch { on } => {
                let is = current::switch(&ec2).await?;
                let so = if is { "on" } else { "off" };
                (is != *on).then(|| Outcome::Unchanged(format!("encryption by default is {so} as before")))
            }
        })
    }

    fn inverse(&self) -> Option<Self> {
        Some(match self {
            DefaultStep::Key { was, now } => DefaultStep::Key { was: Some(now.clone()), now: was.clone()? },
            DefaultStep::Switch { on } => DefaultStep::Switch { on: !on },
        })
    }
}

/// Whether AWS answered that it does not do this, so that nothing is to be undone.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Aws(e) if e.status.is_some_and(|status| (400..500).contains(&status)))
}

/// Makes a key the default, and gives it as EC2 tells it.
async fn set_key(ec2: &Client, key: &Key) -> Result<Option<String>> {
    match key {
        Key::Of(arn) => {
            let answer = ec2.modify_ebs_default_kms_key_id().kms_key_id(arn).send().await;
            answer.context(|| format!("make {arn} the default key of volumes")).map(|a| a.kms_key_id)
        }
        Key::ManagedByAws => {
            let answer = ec2.reset_ebs_default_kms_key_id().send().await;
            answer.context(|| "make the key that AWS manages the default key of volumes").map(|a| a.kms_key_id)
        }
    }
}

async fn set_switch(ec2: &Client, on: bool, region: &str) -> Result<()> {
    if on {
        let answer = ec2.enable_ebs_encryption_by_default().send().await;
        answer.context(|| format!("switch encryption by default on in {region}")).map(drop)
    } else {
        let answer = ec2.disable_ebs_encryption_by_default().send().await;
        answer.context(|| format!("switch encryption by default off in {region}")).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_aws_is_known_by_its_alias_and_by_the_arn_of_that() {
        for key in ["alias/aws/ebs", "arn:aws-cn:kms:cn-north-1:123456789012:alias/aws/ebs"] {
            assert!(matches!(Key::told(key), Key::ManagedByAws), "{key}");
        }
        assert!(matches!(Key::told("arn:aws:kms:us-east-1:123456789012:key/1234abcd"), Key::Of(_)));
    }
}
