//! How a bucket is set: who may reach it, how it encrypts what is put into it, and whether it keeps versions. S3 has a question of its own for each.

use aaws::{Call, Context, Error, ErrorContext, Failure, Grant, Record, Result, Status, When};
use aws_sdk_s3::types::Grant as AclGrant;
use futures::future;
use schemars::JsonSchema;
use serde::Serialize;

use super::bucket::Bucket;

/// The buckets that are asked: those that are listed.
const BUCKETS: &[&str] = &["arn:${Partition}:s3:::${prefix}*"];

/// When it is asked who may reach the buckets, and when all else.
const WHO: When = When::With(&["settings", "public"]);
const ALL: When = When::With(&["settings"]);

/// What of its public access a bucket blocks by itself.
pub const BLOCK: Call = Call::read("s3:GetPublicAccessBlock", &[Grant::new("s3:GetBucketPublicAccessBlock", BUCKETS)]).when(WHO);
/// Whether its policy lets everyone in.
pub const POLICY: Call = Call::read("s3:GetBucketPolicyStatus", &[Grant::new("s3:GetBucketPolicyStatus", BUCKETS)]).when(WHO);
/// Whom its access list lets in.
pub const ACL: Call = Call::read("s3:GetBucketAcl", &[Grant::new("s3:GetBucketAcl", BUCKETS)]).when(WHO);
/// What new objects are encrypted with.
pub const ENCRYPTION: Call = Call::read("s3:GetBucketEncryption", &[Grant::new("s3:GetEncryptionConfiguration", BUCKETS)]).when(ALL);
/// Whether it keeps versions.
pub const VERSIONING: Call = Call::read("s3:GetBucketVersioning", &[Grant::new("s3:GetBucketVersioning", BUCKETS)]).when(ALL);

/// Who is everyone in an access list; whoever has an AWS account is nearly so (S3 user guide, access control list overview).
const EVERYONE: [&str; 2] =
    ["http://acs.amazonaws.com/groups/global/AllUsers", "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"];

/// What a bucket says of itself, only with `settings`. What could not be read is null.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct BucketSettings {
    /// Whether its policy or its access list lets everyone in, and its public access block does not keep them out; only with `settings`.
    pub is_public: Option<bool>,
    /// Whether all four settings of its own public access block are on; only with `settings`.
    pub public_access_blocked: Option<bool>,
    /// What new objects are encrypted with unless they say otherwise, such as `AES256` or `aws:kms`; only with `settings`.
    #[serde(rename = "SSEAlgorithm")]
    pub sse_algorithm: Option<String>,
    /// Id or ARN of the KMS key for that; null where it is none, or AWS's own; only with `settings`.
    #[serde(rename = "KMSMasterKeyID")]
    pub kms_master_key_id: Option<String>,
    /// Whether it keeps versions: `Enabled`, `Suspended`, or `Unversioned`, which it is until it is enabled for the first time; only with `settings`.
    pub versioning: Option<String>,
    /// Whether versions are deleted only with an MFA code: `Enabled` or `Disabled`; only with `settings`.
    #[serde(rename = "MFADelete")]
    pub mfa_delete: Option<String>,
}

impl BucketSettings {
    /// Asks a bucket who may reach it, and with `all` the rest too. What cannot be read is none, and the bucket a failure of the run; an error is only what
    /// every other bucket would answer, too.
    pub async fn look(cx: &Context, bucket: &Bucket, all: bool) -> Result<Self> {
        let encryption = async { if all { encryption(bucket).await } else { Ok(Encryption::default()) } };
        let versioning = async { if all { versioning(bucket).await } else { Ok(Versioning::default()) } };
        let (access, encryption, versioning) = future::join3(access(bucket), encryption, versioning).await;
        let (encryption, no_encryption) = parted(encryption);
        let (versioning, no_versioning) = parted(versioning);
        let unread = access.unread.into_iter().chain(no_encryption.map(|e| ("encryption", e)));
        missed(cx, bucket, unread.chain(no_versioning.map(|e| ("versioning", e))).collect())?;
        Ok(BucketSettings {
            is_public: access.is_public,
            public_access_blocked: access.is_blocked,
            sse_algorithm: encryption.algorithm,
            kms_master_key_id: encryption.key,
            versioning: versioning.status,
            mfa_delete: versioning.mfa_delete,
        })
    }
}

/// Says once of a bucket what of it could not be read.
fn missed(cx: &Context, bucket: &Bucket, mut unread: Vec<(&'static str, Error)>) -> Result<()> {
    if let Some(at) = unread.iter().position(|(_, e)| e.is_fatal()) {
        return Err(unread.swap_remove(at).1);
    }
    let Some((_, first)) = unread.first() else { return Ok(()) };
    let what: Vec<_> = unread.iter().map(|(what, _)| *what).collect();
    let failure = Failure::from(first);
    let message = format!("cannot read its {}: {}", what.join(", "), failure.message);
    cx.record(&Record::new(&bucket.name, Status::Failed).with_code(failure.code).with_message(message));
    Ok(())
}

/// What was read, or nothing, and why.
fn parted<T: Default>(answer: Result<T>) -> (T, Option<Error>) {
    match answer {
        Ok(read) => (read, None),
        Err(e) => (T::default(), Some(e)),
    }
}

/// A bucket of which this was never set says so by an error.
fn unless<T>(code: &str, answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(e) if e.code() == Some(code) => Ok(None),
        answer => answer.map(Some),
    }
}

/// Who may reach a bucket, and what of that could not be read.
struct Access {
    is_public: Option<bool>,
    is_blocked: Option<bool>,
    unread: Vec<(&'static str, Error)>,
}

/// What is blocked is not asked for: of most buckets, that is all.
async fn access(bucket: &Bucket) -> Access {
    let block = block(bucket).await;
    let (ignores_policy, ignores_acl) = block.as_ref().map_or((false, false), |block| (block.policy, block.acl));
    let policy = async { if ignores_policy { Ok(false) } else { policy_is_public(bucket).await } };
    let acl = async { if ignores_acl { Ok(false) } else { acl_is_public(bucket).await } };
    let (policy, acl) = future::join(policy, acl).await;
    // What lets everyone in may still be blocked where the block is not known.
    let lets_in = |answer: &Result<bool>| answer.as_ref().ok().copied().filter(|is| !is || block.is_ok());
    let is_public = match (lets_in(&policy), lets_in(&acl)) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    };
    let is_blocked = block.as_ref().ok().map(|block| block.whole);
    let unread = [("public access block", block.err()), ("policy status", policy.err()), ("access list", acl.err())];
    Access { is_public, is_blocked, unread: unread.into_iter().filter_map(|(what, e)| Some((what, e?))).collect() }
}

/// What a public access block keeps out.
#[derive(Default)]
struct Block {
    /// Whom the policy lets in beside the account and AWS's services.
    policy: bool,
    /// Everyone whom access lists let in.
    acl: bool,
    /// All of that, now and later.
    whole: bool,
}

async fn block(bucket: &Bucket) -> Result<Block> {
    let answer = bucket.send(|s3| s3.get_public_access_block().bucket(&bucket.name).send()).await;
    let answer = answer.context(|| format!("read the public access block of the bucket `{}`", bucket.name));
    let block = unless("NoSuchPublicAccessBlockConfiguration", answer)?.and_then(|answer| answer.public_access_block_configuration);
    let Some(block) = block else { return Ok(Block::default()) };
    let (policy, acl) = (block.restrict_public_buckets == Some(true), block.ignore_public_acls == Some(true));
    let whole = policy && acl && block.block_public_policy == Some(true) && block.block_public_acls == Some(true);
    Ok(Block { policy, acl, whole })
}

async fn policy_is_public(bucket: &Bucket) -> Result<bool> {
    let answer = bucket.send(|s3| s3.get_bucket_policy_status().bucket(&bucket.name).send()).await;
    let answer = answer.context(|| format!("read whether the policy of the bucket `{}` is public", bucket.name));
    let Some(answer) = unless("NoSuchBucketPolicy", answer)? else { return Ok(false) };
    let is_public = answer.policy_status.and_then(|status| status.is_public);
    // What is not said is not known, and no reason to take it for closed.
    is_public.ok_or_else(|| Error::Failed(format!("the answer does not say whether the policy of the bucket `{}` is public", bucket.name)))
}

async fn acl_is_public(bucket: &Bucket) -> Result<bool> {
    let answer = bucket.send(|s3| s3.get_bucket_acl().bucket(&bucket.name).send()).await;
    let answer = answer.context(|| format!("read the access list of the bucket `{}`", bucket.name))?;
    let is_everyones = |grant: &AclGrant| grant.grantee().and_then(|grantee| grantee.uri()).is_some_and(|uri| EVERYONE.contains(&uri));
    Ok(answer.grants().iter().any(is_everyones))
}

/// What new objects are encrypted with.
#[derive(Default)]
struct Encryption {
    algorithm: Option<String>,
    key: Option<String>,
}

async fn encryption(bucket: &Bucket) -> Result<Encryption> {
    let answer = bucket.send(|s3| s3.get_bucket_encryption().bucket(&bucket.name).send()).await;
    let answer = answer.context(|| format!("read the encryption of the bucket `{}`", bucket.name));
    let answer = unless("ServerSideEncryptionConfigurationNotFoundError", answer)?;
    let rules = answer.and_then(|answer| answer.server_side_encryption_configuration).map(|config| config.rules).unwrap_or_default();
    let default = rules.into_iter().find_map(|rule| rule.apply_server_side_encryption_by_default);
    Ok(default.map_or_else(Encryption::default, |default| Encryption {
        algorithm: Some(default.sse_algorithm.as_str().to_owned()),
        key: default.kms_master_key_id,
    }))
}

/// Whether versions are kept, and what deletes them.
#[derive(Default)]
struct Versioning {
    status: Option<String>,
    mfa_delete: Option<String>,
}

async fn versioning(bucket: &Bucket) -> Result<Versioning> {
    let answer = bucket.send(|s3| s3.get_bucket_versioning().bucket(&bucket.name).send()).await;
    let answer = answer.context(|| format!("read the versioning of the bucket `{}`", bucket.name))?;
    // What was never set is not in the answer.
    let status = answer.status().map_or("Unversioned", |status| status.as_str()).to_owned();
    let mfa_delete = answer.mfa_delete().map_or("Disabled", |mfa| mfa.as_str()).to_owned();
    Ok(Versioning { status: Some(status), mfa_delete: Some(mfa_delete) })
}
