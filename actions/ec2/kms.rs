//! KMS keys that volumes and snapshots are to be encrypted with.

use aaws::{Call, Context, Error, ErrorContext, Grant, Result};
use aws_sdk_kms::types::{KeyManagerType, KeySpec, KeyState, KeyUsageType};

/// Looking at the key that an input names.
pub const DESCRIBE_KEY: Call =
    Call::read("kms:DescribeKey", &[Grant::new("kms:DescribeKey", &["arn:${Partition}:kms:${Region}:${Account}:key/*"])]);

/// The service that uses keys in the caller's name, in whatever region; host names in China have one more part (KMS developer guide,
/// `kms:ViaService`).
pub const VIA_EC2: &str = "ec2.*.amazonaws.com*";

/// A client of KMS in a region.
fn client(cx: &Context, region: &str) -> aws_sdk_kms::Client {
    let region = aws_sdk_kms::config::Region::new(region.to_owned());
    aaws::client!(cx, aws_sdk_kms, |config: aws_sdk_kms::config::Builder| config.region(region))
}

/// Looks at the key of the input `kms_key_id` by id, ARN or alias, gives its ARN, and refuses one that EBS could not use in the region: EC2 would say
/// so only when it is too late, by a volume that disappears or a copy that ends in an error.
pub async fn check(cx: &Context, region: &str, given: &str) -> Result<String> {
    let answer = client(cx, region).describe_key().key_id(given).send().await.context(|| format!("look at the KMS key `{given}`"))?;
    let wrong = |why: String| Error::field("kms_key_id", format!("`kms_key_id`: the key `{given}` cannot encrypt volumes: {why}"));
    let key = answer.key_metadata.ok_or_else(|| wrong("KMS says nothing of it".into()))?;
    if key.key_state() != Some(&KeyState::Enabled) {
        return Err(wrong(format!("it is {}", key.key_state().map_or("in no known state", KeyState::as_str))));
    }
    let asymmetric = key.key_spec().is_some_and(|s| *s != KeySpec::SymmetricDefault);
    if asymmetric || key.key_usage().is_some_and(|u| *u != KeyUsageType::EncryptDecrypt) {
        return Err(wrong("it is not a symmetric key for encryption".into()));
    }
    let arn = key.arn.unwrap_or_else(|| given.to_owned());
    match arn.split(':').nth(3) {
        Some(there) if there != region => Err(wrong(format!("it is in {there}, and is needed in {region}"))),
        _ => Ok(arn),
    }
}

/// Whether AWS manages a key; none when the caller may not look.
pub async fn is_managed_by_aws(cx: &Context, key: &str) -> Result<Option<bool>> {
    match client(cx, cx.region()).describe_key().key_id(key).send().await.context(|| format!("look at the KMS key `{key}`")) {
        Ok(answer) => Ok(answer.key_metadata.and_then(|k| k.key_manager).map(|m| m == KeyManagerType::Aws)),
        Err(e) if matches!(e.code(), Some("AccessDeniedException" | "AccessDenied")) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether a key that EC2 names is the one of this ARN. EC2 names keys by their ARNs; an alias, or the ARN of one, is looked up, and is taken for
/// another key where that is not allowed.
pub async fn is_same(cx: &Context, named: &str, arn: &str) -> Result<bool> {
    if named.is_empty() || named == arn {
        return Ok(named == arn);
    }
    if !is_alias(named) {
        // The bare id of a key is one of this account and region.
        return Ok(!named.contains(':') && arn.rsplit('/').next() == Some(named));
    }
    match client(cx, cx.region()).describe_key().key_id(named).send().await.context(|| format!("look at the KMS key `{named}`")) {
        Ok(answer) => Ok(answer.key_metadata.and_then(|k| k.arn).as_deref() == Some(arn)),
        Err(e) if e.is_fatal() => Err(e),
        Err(e) => {
            tracing::warn!("whether `{named}` is the key {arn} is not known: {e}");
            Ok(false)
        }
    }
}

/// `alias/name`, or the ARN of an alias.
fn is_alias(key: &str) -> bool {
    key.starts_with("alias/") || key.contains(":alias/")
}
