//! What AWS says of a request that was signed with credentials that have expired, or by a clock that is wrong: signed again, it may be accepted.

use std::fmt;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use jiff::tz::TimeZone;

/// Put on an answer that turns a request down for how it was signed, when it can be signed otherwise now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anew {
    /// By AWS's clock: the SDK reads it from the answer.
    Clock,
    /// With credentials that were had since.
    Credentials,
}

/// Codes that say that the credentials were good once (common error types of the AWS APIs, EC2's client errors, S3's error responses). EC2 says
/// `RequestExpired` of the request when it is its token that has expired.
const EXPIRED: &[&str] = &[
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestExpired",
    "TokenRefreshRequired",
];

/// Codes that may say that the clock is wrong, as the SDKs have it (AWS SDKs and Tools reference, clock skew). That of Rust knows fewer of them.
const SKEWED: &[&str] =
    &["AuthFailure", "InvalidSignatureException", "RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed", "SignatureDoesNotMatch"];

/// By how many seconds a request may be off without being turned down for it, as the SDK has it: AWS takes five minutes, S3 fifteen.
const TOLERATED: u64 = 4 * 60;

/// Where requests get what they are signed with.
#[async_trait]
pub(crate) trait Renew: fmt::Debug + Send + Sync {
    /// Asks for other credentials in the place of those that were turned down. Whether there are others now.
    async fn renew(&self, turned_down: &Signed) -> bool;
}

/// How a request was signed.
#[derive(Debug, Default)]
pub(crate) struct Signed {
    key: Option<String>,
    token: Option<String>,
    region: Option<String>,
    /// Seconds since 1970.
    time: Option<i64>,
    is_head: bool,
}

impl Signed {
    /// As its headers say.
    pub fn of(request: &HttpRequest) -> Self {
        let header = |name: &str| request.headers().get(name);
        let scope = header("authorization").and_then(|value| value.split_once("Credential=")).map(|(_, scope)| scope);
        let part = |place| scope.and_then(|scope| scope.split('/').nth(place)).map(str::to_owned);
        Signed {
            key: part(0),
            region: part(2),
            token: header("x-amz-security-token").map(str::to_owned),
            time: header("x-amz-date").and_then(seconds),
            is_head: request.method() == "HEAD",
        }
    }

    /// Whether it was these credentials that it was signed with.
    pub fn is_by(&self, credentials: &Credentials) -> bool {
        self.key.as_deref() == Some(credentials.access_key_id()) && self.token.as_deref() == credentials.session_token()
    }

    /// Whether it was turned down because it was signed by another clock than AWS's. The answer to HEAD has no code.
    pub fn is_off(&self, answer: &HttpResponse, code: Option<&str>) -> bool {
        let says = code.map_or(self.is_head && answer.status().as_u16() == 403, |code| SKEWED.contains(&code));
        // A cached answer is of another time, and the SDK does not go by it either.
        says && answer.headers().get("age").is_none()
            && self.time.zip(time_of(answer)).is_some_and(|(signed, told)| signed.abs_diff(told) > TOLERATED)
    }

    /// Whether it was turned down because its credentials are no good any more. S3 answers HEAD with 400 then.
    pub fn has_expired(&self, answer: &HttpResponse, code: Option<&str>) -> bool {
        let is_bad_head = || self.is_head && self.token.is_some() && answer.status().as_u16() == 400 && !self.is_sent_away(answer);
        code.map_or_else(is_bad_head, |code| EXPIRED.contains(&code))
    }

    /// Whether it was signed for another region than that of the bucket, which S3 answers HEAD with 400, too.
    fn is_sent_away(&self, answer: &HttpResponse) -> bool {
        answer.headers().get("x-amz-bucket-region").is_some_and(|region| self.region.as_deref() != Some(region))
    }
}

/// `20261129T114243Z`
fn seconds(text: &str) -> Option<i64> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

fn time_of(answer: &HttpResponse) -> Option<i64> {
    Some(DateTime::from_str(answer.headers().get("date")?, Format::HttpDate).ok()?.secs())
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn request(method: &str) -> HttpRequest {
        let mut request = HttpRequest::new(SdkBody::empty());
        request.set_method(method).unwrap_or_else(|e| panic!("{e}"));
        let scope = "AWS4-HMAC-SHA256 Credential=ASIAOLD/20261129/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        for (name, value) in [("authorization", scope), ("x-amz-date", "20261129T114243Z"), ("x-amz-security-token", "old")] {
            request.headers_mut().insert(name, value);
        }
        request
    }

    fn answer(status: u16, date: &'static str) -> HttpResponse {
        let mut answer = HttpResponse::new(status.try_into().unwrap_or_else(|e| panic!("{e}")), SdkBody::empty());
        answer.headers_mut().insert("date", date);
        answer
    }

    #[test]
    fn a_clock_is_wrong_when_the_answer_is_of_another_time_and_says_so() {
        let (signed, head) = (Signed::of(&request("POST")), Signed::of(&request("HEAD")));
        let (same, later) = ("Sun, 29 Nov 2026 11:46:00 GMT", "Sun, 29 Nov 2026 11:47:00 GMT");
        assert!(signed.is_off(&answer(400, later), Some("RequestExpired")));
        assert!(!signed.is_off(&answer(400, same), Some("RequestExpired")));
        assert!(!signed.is_off(&answer(400, later), Some("InvalidParameterValue")));
        assert!(
            !signed.is_off(&answer(403, later), None) && head.is_off(&answer(403, later), None) && !head.is_off(&answer(404, later), None)
        );
        let mut cached = answer(403, later);
        cached.headers_mut().insert("age", "300");
        assert!(!signed.is_off(&cached, Some("RequestTimeTooSkewed")));
        assert!(!Signed::default().is_off(&answer(403, later), Some("RequestTimeTooSkewed")));
    }

    #[test]
    fn credentials_are_known_by_key_and_token() {
        let signed = Signed::of(&request("POST"));
        let keys = |key: &str, token: &str| Credentials::new(key, "secret", Some(token.to_owned()), None, "test");
        assert!(signed.is_by(&keys("ASIAOLD", "old")));
        assert!(!signed.is_by(&keys("ASIANEW", "old")) && !signed.is_by(&keys("ASIAOLD", "new")));
        let date = "Sun, 29 Nov 2026 11:42:43 GMT";
        assert!(
            signed.has_expired(&answer(400, date), Some("ExpiredToken")) && !signed.has_expired(&answer(403, date), Some("AccessDenied"))
        );
        assert!(Signed::of(&request("HEAD")).has_expired(&answer(400, date), None) && !signed.has_expired(&answer(400, date), None));
    }

    #[test]
    fn a_bucket_that_is_in_another_region_says_nothing_of_credentials() {
        let head = Signed::of(&request("HEAD"));
        for (region, has_expired) in [("us-east-1", true), ("eu-west-3", false)] {
            let mut answer = answer(400, "Sun, 29 Nov 2026 11:42:43 GMT");
            answer.headers_mut().insert("x-amz-bucket-region", region);
            assert_eq!(head.has_expired(&answer, None), has_expired, "{region}");
        }
    }
}
