//! Where an action runs: regions, accounts, and the names of things in them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest that a label of a host name may be (RFC 1035, 2.3.4): a region becomes one.
const LONGEST_LABEL: usize = 63;

/// An account and a region that an action runs in. A part that is not known, or has no meaning for the action, is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub struct Target {
    /// The account's twelve digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// The region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
}

crate::text_type! {
    /// A region: `eu-west-1`. It becomes part of host names and ARNs, so it is a label of lower-case letters, digits and dashes, or it is refused. The
    /// default is empty, and is no region.
    #[derive(Default)]
    pub struct Region { "type": "string", "pattern": "^[a-z0-9-]{1,63}$", "x-aaws-region": true } |text| {
        let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=LONGEST_LABEL).contains(&text.len()) && text.bytes().all(label);
        expect(fits, text, "a region: lower-case letters, digits and dashes, as in eu-west-1")
    }
}

crate::text_type! {
    /// An account's id: twelve digits.
    pub struct AccountId { "type": "string", "pattern": "^[0-9]{12}$" } |text| expect(is_account(text), text, "an account id: twelve digits")
}

crate::text_type! {
    /// The ARN of an IAM role: `arn:aws:iam::123456789012:role/ops`.
    pub struct RoleArn { "type": "string" } |text| {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let fits = matches!(parts.as_slice(), ["arn", _, "iam", "", account, role]
            if is_account(account) && role.strip_prefix("role/").is_some_and(|name| !name.is_empty()));
        expect(fits, text, "the ARN of a role (arn:aws:iam::123456789012:role/name)")
    }
}

crate::text_type! {
    /// The name of a role's session, seen in CloudTrail: 2 to 64 letters, digits and `_+=,.@-` (STS API reference, AssumeRole).
    pub struct SessionName { "type": "string", "pattern": "^[A-Za-z0-9_+=,.@-]{2,64}$" } |text| {
        let fits = (2..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
        expect(fits, text, "the name of a session: 2 to 64 letters, digits and _+=,.@-")
    }
}

/// The error of text that is not what it should be.
fn expect(fits: bool, text: &str, what: &str) -> Result<(), String> {
    if fits { Ok(()) } else { Err(format!("`{}` is not {what}", text.escape_debug())) }
}

/// AWS's regions, of all partitions (the SDK's partition data, version 1.1, which it does not give out). They are offered; a newer one is taken all the same.
pub(crate) const REGIONS: &[&str] = &[
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-isoe-west-1",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-iso-west-1",
    "us-isob-east-1",
    "us-isob-west-1",
    "us-isof-east-1",
    "us-isof-south-1",
    "us-west-1",
    "us-west-2",
];

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

impl Region {
    /// The partition of ARNs in it; those of China and GovCloud begin differently.
    pub fn partition(&self) -> &'static str {
        partition(&self.0)
    }
}

impl RoleArn {
    /// The account that the role is in.
    pub fn account(&self) -> Option<AccountId> {
        self.0.split(':').nth(4)?.parse().ok()
    }
}

/// Of a region's name, also of one that is not known to be one; `aws` when there is none.
pub fn partition(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "aws-cn",
        Some("eusc") => "aws-eusc",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("eu-isoe-") => "aws-iso-e",
        _ if region.starts_with("us-isof-") => "aws-iso-f",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_told_from_other_arns() {
        let account = |arn: &str| arn.parse::<RoleArn>().ok().and_then(|r| r.account()).map(String::from);
        assert_eq!(account("arn:aws:iam::123456789012:role/ops").as_deref(), Some("123456789012"));
        assert!("arn:aws-cn:iam::123456789012:role/path/ops".parse::<RoleArn>().is_ok());
        for wrong in
            ["ops", "", "arn:aws:iam::123456789012:user/ops", "arn:aws:iam::12345678901:role/ops", "arn:aws:iam::123456789012:role/"]
        {
            assert!(wrong.parse::<RoleArn>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_regions_that_are_offered_are_regions_in_their_order() {
        assert!(REGIONS.is_sorted() && REGIONS.iter().all(|region| region.parse::<Region>().is_ok()));
    }

    #[test]
    fn a_region_is_a_label_and_nothing_else() {
        assert!("us-gov-west-1".parse::<Region>().is_ok_and(|r| r.partition() == "aws-us-gov"));
        for wrong in ["", "US-EAST-1", "us_east_1", "us-east-1.example.com", "@127.0.0.1:80/#", " us-east-1", &"a".repeat(64)] {
            assert!(wrong.parse::<Region>().is_err(), "{wrong}");
        }
    }
}
