//! The signed address by which the target region fetches an encrypted snapshot from its source region.
//!
//! EC2's Query API wants it for every copy of an encrypted snapshot between regions (EC2 API reference, CopySnapshot, `PresignedUrl`); a missing or
//! wrong one shows only as a copy that ends in an error. The SDK does not add it.

use std::time::{Duration, SystemTime};

use aaws::{Context, Error, Result};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// How long the address is good for.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// What stays as it is in a query (RFC 3986, unreserved characters).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The address for one snapshot. Of encryption it says what the request says that it is sent with: whether that is asked for, and the ARN of the key
/// when one is given.
pub async fn copy_url(
    cx: &Context,
    source_region: &str,
    target_region: &str,
    snapshot: &str,
    encrypt: bool,
    key: Option<&str>,
) -> Result<String> {
    let mut query = vec![
        ("Action", "CopySnapshot"),
        ("Version", "2016-11-15"),
        ("SourceRegion", source_region),
        ("SourceSnapshotId", snapshot),
        ("DestinationRegion", target_region),
    ];
    query.extend(encrypt.then_some(("Encrypted", "true")));
    query.extend(key.map(|key| ("KmsKeyId", key)));
    let host = format!("ec2.{source_region}.{}", domain(source_region));
    let url = format!("https://{host}/?{}", encoded(query.iter().copied()));

    let failed = |e: &dyn std::fmt::Display| Error::Failed(format!("cannot sign the address of the snapshot `{snapshot}`: {e}"));
    let identity = cx.credentials().await?.into();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(GOOD_FOR);
    let parameters =
        v4::SigningParams::builder().identity(&identity).region(source_region).name("ec2").time(SystemTime::now()).settings(settings);
    let parameters = parameters.build().map_err(|e| failed(&e))?.into();
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[])).map_err(|e| failed(&e))?;
    let (signed, _) = sign(request, &parameters).map_err(|e| failed(&e))?.into_parts();
    let (_, signature) = signed.into_parts();
    Ok(format!("{url}&{}", encoded(signature.iter().map(|(name, value)| (*name, value.as_ref())))))
}

fn encoded<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pair = |(name, value): (&str, &str)| format!("{}={}", utf8_percent_encode(name, QUERY), utf8_percent_encode(value, QUERY));
    pairs.map(pair).collect::<Vec<_>>().join("&")
}

/// What the host names of a partition end in (the SDK's endpoint rules, `partitions.json`).
fn domain(region: &str) -> &'static str {
    match aaws::partition(region) {
        "aws-cn" => "amazonaws.com.cn",
        "aws-eusc" => "amazonaws.eu",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-iso-e" => "cloud.adc-e.uk",
        "aws-iso-f" => "csp.hci.ic.gov",
        _ => "amazonaws.com",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_its_own_host_names() {
        let regions = [
            ("eu-west-1", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("eusc-de-east-1", "amazonaws.eu"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("eu-isoe-west-1", "cloud.adc-e.uk"),
            ("us-isof-south-1", "csp.hci.ic.gov"),
        ];
        for (region, wanted) in regions {
            assert_eq!(domain(region), wanted, "{region}");
        }
    }
}
