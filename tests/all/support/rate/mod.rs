//! What the benchmark of rates needs: services that hold back what goes beyond their limits, as AWS does, and runs of the program against them.

pub mod ec2;
pub mod front;
pub mod gate;
pub mod meter;
pub mod row;
pub mod run;
pub mod s3;

use super::http::{Request, Response};
use super::proxy;

/// How long an answer takes. Real ones take longer; this is enough for requests to overlap.
pub const LATENCY: std::time::Duration = std::time::Duration::from_millis(20);

/// What STS says of the caller, which `--report` has it asked for. STS has a limit of its own, far above one call a run: it is neither held back nor
/// counted.
pub fn identity() -> Response {
    Response::xml(
        200,
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>arn:aws:iam::123456789012:user/tester</Arn><UserId>AIDATESTER</UserId><Account>123456789012</Account>\
         </GetCallerIdentityResult><ResponseMetadata><RequestId>REQ</RequestId></ResponseMetadata></GetCallerIdentityResponse>",
    )
}

/// How each service says that there are too many requests.
pub fn throttled(request: &Request) -> Response {
    match request.signed_service() {
        // EC2 user guide, "Request throttling for the Amazon EC2 API"; EC2 API reference, "Error codes": 503 with `RequestLimitExceeded`.
        Some("ec2") => proxy::error(request, 503, "RequestLimitExceeded"),
        // IAM API reference, "Common errors"; the code is the one that IAM is seen to send.
        Some("iam") => proxy::error(request, 400, "Throttling"),
        // CloudTrail API reference, "Common errors".
        Some("cloudtrail") => proxy::error(request, 400, "ThrottlingException"),
        // S3 API reference, "Error responses".
        _ => proxy::error(request, 503, "SlowDown"),
    }
}
