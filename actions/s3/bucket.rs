//! A bucket and how to reach it: names, keys, the client, the region that the bucket is really in.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use aaws::{AccountId, Call, Context, Error, Grant, When};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, Region, RequestChecksumCalculation, ResponseChecksumValidation, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, SdkError};
use aws_sdk_s3::types::{EncodingType, RequestPayer};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use base64::Engine;
use md5::{Digest, Md5};

/// The session that the SDK opens by itself for a directory bucket.
pub const CREATE_SESSION: Call = Call::read(
    "s3:CreateSession",
    &[Grant::new("s3express:CreateSession", &["arn:${Partition}:s3express:${Region}:${Account}:bucket/${bucket}"])],
)
.when(When::Rare("the bucket is a directory bucket"));

aaws::text_type! {
    /// A bucket's name, an access point's alias or ARN.
    #[derive(Default)]
    pub struct BucketName { "type": "string", "minLength": 1 } |name| {
        let odd = |c: char| c.is_whitespace() || c.is_control();
        match name {
            "" => Err("the bucket's name is empty".into()),
            name if name.contains(odd) || (name.contains('/') && !name.starts_with("arn:")) => Err(format!("`{name}` is not the name of a bucket")),
            _ => Ok(()),
        }
    }
}

aaws::text_type! {
    /// An object's key: any text but none.
    #[derive(Default)]
    pub struct Key { "type": "string", "minLength": 1 } |key| if key.is_empty() { Err("an object's key is empty".into()) } else { Ok(()) }
}

aaws::text_type! {
    /// What keys, or names, begin with. An empty one would be no prefix at all: a variable that is not set, say.
    pub struct Prefix { "type": "string", "minLength": 1 } |prefix| if prefix.is_empty() { Err("the prefix is empty".into()) } else { Ok(()) }
}

/// A prefix put before a key with one slash between; a prefix of nothing but slashes is none.
pub fn join(prefix: Option<&str>, key: &str) -> String {
    match prefix.unwrap_or_default().trim_end_matches('/') {
        "" => key.to_owned(),
        prefix => format!("{prefix}/{key}"),
    }
}

/// Reads the names of a listing: percent-encoded when the answer says so, because XML 1.0 cannot carry every key. A store that ignored the request
/// for it sends them as they are.
#[derive(Clone, Copy)]
pub struct Decoder {
    encoded: bool,
}

impl Decoder {
    /// For an answer that says how its names are written.
    pub fn of(encoding: Option<&EncodingType>) -> Self {
        Decoder { encoded: encoding == Some(&EncodingType::Url) }
    }

    /// The name itself. S3 writes a space as `+`, and a plus sign as `%2B`.
    pub fn text(self, name: &str) -> String {
        if !self.encoded {
            return name.to_owned();
        }
        percent_encoding::percent_decode_str(&name.replace('+', " ")).decode_utf8_lossy().into_owned()
    }
}

/// A bucket and the client that reaches it. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    cx: Context,
    /// Its name.
    pub name: String,
    /// The owner that it must have for a request to go through.
    pub owner: Option<String>,
    /// Who pays.
    pub payer: Option<RequestPayer>,
    client: Arc<RwLock<Reach>>,
}

#[derive(Clone)]
struct Reach {
    client: Client,
    region: String,
}

impl Bucket {
    /// In the context's region, until S3 says otherwise.
    pub fn new(cx: &Context, name: &BucketName, owner: Option<&AccountId>, requester_pays: bool) -> aaws::Result<Self> {
        if name.as_str().is_empty() {
            return Err(Error::field("bucket", "`bucket` is required"));
        }
        let region = cx.region().to_owned();
        Ok(Bucket {
            cx: cx.clone(),
            name: name.as_str().to_owned(),
            owner: owner.map(|o| o.as_str().to_owned()),
            payer: requester_pays.then_some(RequestPayer::Requester),
            client: Arc::new(RwLock::new(Reach { client: client(cx, &region), region })),
        })
    }

    /// Whether it is a directory bucket (S3 Express One Zone): no versions, and names that end so.
    pub fn is_directory(&self) -> bool {
        self.name.ends_with("--x-s3")
    }

    /// Sends a request; when S3 says that the bucket is in another region, sends it there, and all later ones.
    pub async fn send<T, E, F>(&self, request: impl Fn(Client) -> F) -> Result<T, SdkError<E, HttpResponse>>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let reach = self.client.read().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = request(reach.client).await;
        match answer.as_ref().err().and_then(bucket_region) {
            Some(region) if region != reach.region => {
                tracing::debug!("the bucket `{}` is in {region}", self.name);
                let there = Reach { client: client(&self.cx, &region), region };
                *self.client.write().unwrap_or_else(PoisonError::into_inner) = there.clone();
                request(there.client).await
            }
            _ => answer,
        }
    }
}

/// S3 names a bucket's region in the answer that sends the request away.
fn bucket_region<E>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let answer = error.raw_response()?;
    let sent_away = matches!(answer.status().as_u16(), 301 | 307 | 400);
    let region = answer.headers().get("x-amz-bucket-region")?;
    (sent_away && !region.is_empty()).then(|| region.to_owned())
}

/// S3-compatible stores know paths better than host names, and Content-MD5 better than the newer checksums.
fn client(cx: &Context, region: &str) -> Client {
    let region = Region::new(region.to_owned());
    if !cx.custom_endpoint("s3") {
        return aaws::client!(cx, aws_sdk_s3, |config: aws_sdk_s3::config::Builder| config.region(region));
    }
    aaws::client!(cx, aws_sdk_s3, |config: aws_sdk_s3::config::Builder| config
        .region(region)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(ContentMd5))
}

/// `DeleteObjects` needs a checksum by S3's model; stores that do not know CRC32 look for Content-MD5.
#[derive(Debug)]
struct ContentMd5;

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ContentMd5 {
    fn name(&self) -> &'static str {
        "aaws::ContentMd5"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let deletes = cfg.load::<Metadata>().is_some_and(|m| m.name() == "DeleteObjects");
        let request = context.request_mut();
        let digest =
            request.body().bytes().filter(|_| deletes).map(|body| base64::engine::general_purpose::STANDARD.encode(Md5::digest(body)));
        if let Some(digest) = digest {
            request.headers_mut().try_insert("content-md5", digest)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_joined_with_one_slash() {
        assert_eq!(join(Some("logs//"), "a"), "logs/a");
        assert_eq!(join(Some("logs"), "/a"), "logs//a");
        assert_eq!(join(Some("/"), "a"), "a");
        assert_eq!(join(Some(""), "a"), "a");
        assert_eq!(join(None, "a"), "a");
    }
}
