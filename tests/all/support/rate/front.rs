//! A gate in front of a fake that knows no limits.

use super::super::http::{self, Response, Server};
use super::gate::{Admission, Gate};
use super::meter::Meter;
use super::{LATENCY, identity, throttled};

/// A server that passes on what the gate admits.
pub struct Front {
    pub server: Server,
    pub meter: Meter,
}

impl Front {
    /// In front of the server at `url`.
    pub fn of(url: &str, gate: Gate) -> Self {
        let meter = Meter::default();
        let (url, counted) = (url.to_owned(), meter.clone());
        let server = Server::start(move |operation, _, request| {
            if operation == "GetCallerIdentity" {
                return identity();
            }
            counted.serve(operation, LATENCY, || match gate.admit(operation) {
                Admission::Admitted => {
                    let reply = iam_write(operation).unwrap_or_else(|| http::send(&url, &request).unwrap_or_else(|_| Response::dropped()));
                    (Admission::Admitted, reply)
                }
                admission => (admission, throttled(&request)),
            })
        });
        Self { server, meter }
    }
}

/// What the fake of IAM, which is only read, lacks: what changes users and keys, of which nothing is kept.
fn iam_write(operation: &str) -> Option<Response> {
    let result = match operation {
        "DeleteLoginProfile" | "UpdateAccessKey" => "",
        "ListAttachedUserPolicies" => "<AttachedPolicies/><IsTruncated>false</IsTruncated>",
        _ => return None,
    };
    let result = format!("<{operation}Result>{result}</{operation}Result><ResponseMetadata><RequestId>REQ</RequestId></ResponseMetadata>");
    Some(Response::xml(200, format!("<{operation}Response>{result}</{operation}Response>")))
}
