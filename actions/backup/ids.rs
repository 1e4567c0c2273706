//! Names of vaults, ARNs of recovery points, and what can be backed up: checked where the input is read, before anything is sent.

aaws::text_type! {
    /// A backup vault's name: letters, digits, `-`, `_` and `.`.
    pub struct VaultName { "type": "string", "pattern": "^[A-Za-z0-9._-]{1,50}$" } |name| {
        let fits = (1..=50).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        expect(fits, name, "the name of a backup vault: 1 to 50 letters, digits, `-`, `_` and `.`")
    }
}

aaws::text_type! {
    /// The ARN of a recovery point, which is of AWS Backup or of the service that keeps it: `arn:aws:ec2:us-east-1::snapshot/snap-0123456789abcdef0`.
    pub struct PointArn { "type": "string", "pattern": "^arn:[^:]+:[^:]+:[^:]*:[^:]*:.+$" } |text| {
        expect(is_arn(text), text, "the ARN of a recovery point")
    }
}

aaws::text_type! {
    /// What can be backed up: anything that has an ARN, or the id of an instance or of a volume.
    pub struct ResourceId { "type": "string", "pattern": "^(arn:[^:]+:[^:]+:[^:]*:[^:]*:.+|i-[0-9a-f]+|vol-[0-9a-f]+)$" } |text| {
        let fits = is_arn(text) || is_id("i-", text) || is_id("vol-", text);
        expect(fits, text, "an ARN, the id of an instance (i-…) or of a volume (vol-…)")
    }
}

/// The error of text that is not what it should be.
fn expect(fits: bool, text: &str, what: &str) -> Result<(), String> {
    if fits { Ok(()) } else { Err(format!("`{}` is not {what}", text.escape_debug())) }
}

impl Default for VaultName {
    /// The vault that AWS Backup makes by itself.
    fn default() -> Self {
        VaultName("Default".into())
    }
}

/// `arn:partition:service:region:account:resource`, of which region and account may be empty (AWS General Reference, ARN format).
fn is_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let named = |part: &str| !part.is_empty();
    matches!(parts.as_slice(), ["arn", partition, service, _, _, resource] if named(partition) && named(service) && named(resource))
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn is_id(prefix: &str, text: &str) -> bool {
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_backed_up_has_an_arn_or_an_id_of_ec2() {
        for good in ["arn:aws:s3:::bucket", "arn:aws:rds:us-east-1:123456789012:db:orders", "i-0123456789abcdef0", "vol-1"] {
            assert!(ResourceId::try_from(good).is_ok(), "{good}");
        }
        for wrong in
            ["", "sg-1", "i-", "vol-xyz", "i-1 ", "arn:", "arn:aws:s3:::", "arn::s3:::b", "arn:aws:s3", "arn:aws:s3:::a b", "orders"]
        {
            assert!(ResourceId::try_from(wrong).is_err(), "{wrong}");
        }
        assert!(PointArn::try_from("i-1").is_err() && PointArn::try_from("").is_err());
        assert!(PointArn::try_from("arn:aws:ec2:us-east-1::image/ami-1").is_ok());
    }
}
