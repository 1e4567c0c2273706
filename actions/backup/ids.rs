//! Names of vaults, ARNs of recovery points, and what can be backed up: checked where the input is read, before anything is sent.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Text of one form, which a schema and an error name.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $says:literal, |$text:ident| $fits:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text of it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from($text: String) -> Result<Self, String> {
                if $fits { Ok($name($text)) } else { Err(format!(concat!("`{}` is not ", $says), $text.escape_debug())) }
            }
        }

        impl TryFrom<&str> for $name {
            type Error = String;

            fn try_from(text: &str) -> Result<Self, String> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

text!(
    /// A backup vault's name: letters, digits, `-`, `_` and `.`.
    VaultName,
    "^[A-Za-z0-9._-]{1,50}$",
    "the name of a backup vault: 1 to 50 letters, digits, `-`, `_` and `.`",
    |name| (1..=50).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
);

text!(
    /// The ARN of a recovery point, which is of AWS Backup or of the service that keeps it: `arn:aws:ec2:us-east-1::snapshot/snap-0123456789abcdef0`.
    PointArn,
    "^arn:[^:]+:[^:]+:[^:]*:[^:]*:.+$",
    "the ARN of a recovery point",
    |text| is_arn(&text)
);

text!(
    /// What can be backed up: anything that has an ARN, or the id of an instance or of a volume.
    ResourceId,
    "^(arn:[^:]+:[^:]+:[^:]*:[^:]*:.+|i-[0-9a-f]+|vol-[0-9a-f]+)$",
    "an ARN, the id of an instance (i-…) or of a volume (vol-…)",
    |text| is_arn(&text) || is_id("i-", &text) || is_id("vol-", &text)
);

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
