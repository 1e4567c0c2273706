//! A request to EC2 that came, and what moto says to it and to more of the kind.

use serde_json::{Value, json};

use super::wire::{Form, Node, refusal};
use crate::support::http::{self, Request, Response};

/// An answer to read and change, or one to give as it is.
pub type Answer = Result<Node, Response>;

/// A request that came, and a way to ask moto more in its name.
pub struct Asked {
    pub operation: String,
    moto: &'static str,
    request: Request,
    pub form: Form,
    pub region: String,
}

impl Asked {
    pub fn new(moto: &'static str, operation: &str, request: Request) -> Self {
        let region = request.signed_region().unwrap_or("us-east-1").to_owned();
        Self { operation: operation.to_owned(), moto, form: Form::of(&request), request, region }
    }

    /// What moto answers to this request.
    pub fn pass(&self) -> Answer {
        self.ask(&self.form)
    }

    /// What moto answers to another request of the same caller in the same region.
    pub fn also(&self, action: &str, parameters: &[(&str, &str)]) -> Answer {
        self.ask(&Form::new(action, parameters))
    }

    pub fn ask(&self, form: &Form) -> Answer {
        let once = || send(self.moto, &Request { body: form.encode(), ..self.request.clone() });
        let looks = form.get("Action").is_some_and(|action| action.starts_with("Describe"));
        // Moto's threads trip over each other now and then: what one goes through, another changes meanwhile. What it cannot do, it cannot do again either.
        let reply = match once() {
            reply if reply.status == 500 && looks => once(),
            reply => reply,
        };
        match reply.status {
            200 => Ok(Node::parse(&reply.text())),
            // Not in XML, so that the program would try again and again, and tell nothing.
            500 => Err(refusal("InvalidAction", format!("moto cannot do this: {}", String::from_utf8_lossy(&form.encode())))),
            _ => Err(reply),
        }
    }

    /// The same caller in another region.
    pub fn within(&self, region: &str) -> Self {
        let request = self.signed_for(&format!("/{region}/ec2/"));
        Self { operation: self.operation.clone(), moto: self.moto, request, form: self.form.clone(), region: region.to_owned() }
    }

    /// The request with another region and service in its signature, which moto does not check.
    fn signed_for(&self, scope: &str) -> Request {
        let mut request = self.request.clone();
        let own = format!("/{}/ec2/", self.region);
        let signatures = request.headers.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        signatures.for_each(|(_, signature)| *signature = signature.replace(&own, scope));
        request
    }

    /// The ARN of a KMS key, when there is one of this id, ARN or alias.
    pub fn key(&self, id: &str) -> Option<String> {
        let mut request = self.signed_for(&format!("/{}/kms/", self.region));
        request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        request.body = json!({ "KeyId": id }).to_string().into_bytes();
        let request =
            request.with_header("Content-Type", "application/x-amz-json-1.1").with_header("X-Amz-Target", "TrentService.DescribeKey");
        let answer: Value = serde_json::from_slice(&send(self.moto, &request).body).ok()?;
        answer["KeyMetadata"]["Arn"].as_str().map(str::to_owned)
    }

    /// The instances of these ids, all of which must exist.
    pub fn instances(&self, ids: &[String]) -> Result<Vec<Node>, Response> {
        let mut form = Form::new("DescribeInstances", &[]);
        form.set_list("InstanceId", ids);
        Ok(self.ask(&form)?.at("reservationSet/item/instancesSet/item").into_iter().cloned().collect())
    }

    /// The volume of an id, which must exist.
    pub fn volume(&self, id: &str) -> Answer {
        let found = self.also("DescribeVolumes", &[("VolumeId.1", id)])?;
        found.at("volumeSet/item").into_iter().next().cloned().ok_or_else(|| refusal("InvalidVolume.NotFound", id))
    }

    /// Whether an instance has a protection, by the name of its attribute.
    pub fn is_protected(&self, instance: &str, attribute: &str) -> Result<bool, Response> {
        let answer = self.also("DescribeInstanceAttribute", &[("InstanceId", instance), ("Attribute", attribute)])?;
        Ok(answer.is(&format!("{attribute}/value"), "true"))
    }
}

/// What moto answers at an endpoint.
pub fn send(moto: &str, request: &Request) -> Response {
    http::send(moto, request).unwrap_or_else(|e| refusal("ServiceUnavailable", format!("moto does not answer: {e}")))
}

/// The service that a request was signed for.
pub fn service(request: &Request) -> &str {
    let scope = request.header("authorization").and_then(|a| a.split_once("Credential="));
    scope.and_then(|(_, scope)| scope.split('/').nth(3)).unwrap_or_default()
}
