//! A bucket and how to reach it: the client, the region that the bucket is really in, and what S3 says that ends a run.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use aaws::{AccountId, Call, Context, Error, ErrorContext, Grant, When};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::{BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut};
use aws_sdk_s3::config::{
    ConfigBag, Intercept, Region, RequestChecksumCalculation, ResponseChecksumValidation, RuntimeComponents, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::delete_objects::DeleteObjectsInput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{EncodingType, RequestPayer};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use base64::Engine;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::names::BucketName;

/// The session that the SDK opens by itself for a directory bucket.
pub const CREATE_SESSION: Call = Call::read(
    "s3:CreateSession",
    &[Grant::new("s3express:CreateSession", &["arn:${Partition}:s3express:${Region}:${Account}:bucket/${bucket}"])],
)
.when(When::Rare("the bucket is a directory bucket"));

/// A look whether the bucket is there at all. Without the permission S3 answers 403 for one that is, and 404 for one that is not.
pub const HEAD_BUCKET: Call = Call::read("s3:HeadBucket", &[Grant::new("s3:ListBucket", &["arn:${Partition}:s3:::${bucket}"])]);

/// When what was done is taken back.
pub const UNDONE: When = When::Rare("the run is undone by `aaws undo`");

/// Codes that every other request for the bucket would meet, too (S3 API reference, error responses).
const FOR_ALL: &[&str] = &[
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "InvalidBucketName",
    "NoSuchBucket",
    "NotSignedUp",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
];

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

    /// Whether it is UTF-8 once it is decoded: S3's keys are. What is not would be taken for another key.
    pub fn is_text(self, name: &str) -> bool {
        !self.encoded || percent_encoding::percent_decode_str(name).decode_utf8().is_ok()
    }

    /// The same of a name that is not needed any more: most have nothing to decode.
    pub fn owned(self, name: String) -> String {
        let is_written_otherwise = self.encoded && name.bytes().any(|byte| matches!(byte, b'+' | b'%'));
        if is_written_otherwise { self.text(&name) } else { name }
    }
}

/// Which bucket, and how it is asked: what another process needs to reach it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Place {
    /// The bucket.
    pub bucket: BucketName,
    /// The owner that it must have.
    pub owner: Option<AccountId>,
    /// Whether the requester pays.
    pub requester_pays: bool,
}

impl Place {
    /// Reaches it.
    pub fn open(&self, cx: &Context) -> aaws::Result<Bucket> {
        Bucket::new(cx, &self.bucket, self.owner.as_ref(), self.requester_pays)
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
            client: Arc::new(RwLock::new(Reach { client: client(cx, name.as_str(), &region), region })),
        })
    }

    /// One of the account's own, as it is listed: in the region that the listing says. Where that says none, it is found as that of any other.
    pub fn listed(cx: &Context, name: &str, region: Option<&str>) -> Self {
        let region = region.and_then(|text| text.parse::<aaws::Region>().ok()).map_or_else(|| cx.region().to_owned(), String::from);
        let reach = Reach { client: client(cx, name, &region), region };
        Bucket { cx: cx.clone(), name: name.to_owned(), owner: None, payer: None, client: Arc::new(RwLock::new(reach)) }
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
                let there = Reach { client: client(&self.cx, &self.name, &region), region };
                *self.client.write().unwrap_or_else(PoisonError::into_inner) = there.clone();
                request(there.client).await
            }
            _ => answer,
        }
    }

    /// What the bucket says of an object; none when it has none of this key.
    pub async fn head(&self, key: &str) -> aaws::Result<Option<HeadObjectOutput>> {
        let answer = self.send(|s3| {
            let request = s3.head_object().bucket(&self.name).key(key);
            request.set_request_payer(self.payer.clone()).set_expected_bucket_owner(self.owner.clone()).send()
        });
        match answer.await {
            Err(SdkError::ServiceError(e)) if e.err().is_not_found() => Ok(None),
            answer => explain(answer, || format!("ask whether `{}` is in the bucket `{}`", key.escape_debug(), self.name)).map(Some),
        }
    }

    /// Whether it is there, before something is planned of what it holds: an error if not. What cannot be seen is said, and does not end the run.
    pub async fn look(&self) -> aaws::Result<()> {
        let answer =
            self.send(|s3| s3.head_bucket().bucket(&self.name).set_expected_bucket_owner(self.owner.clone()).send()).await.map(drop);
        let missing = answer.as_ref().err().and_then(SdkError::as_service_error).is_some_and(|e| e.is_not_found());
        match explain(answer, || format!("look at the bucket `{}`", self.name)) {
            // The answer to HEAD has no body that would say it.
            Err(Error::Aws(mut e)) if missing => {
                e.code = "NoSuchBucket".into();
                e.message = "it does not exist".into();
                Err(Error::Aws(e).for_all())
            }
            Err(e) if e.is_fatal() => Err(e),
            Err(e) => {
                tracing::warn!("{e}; whether it exists is not known");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// What came of a request, in context. What every other request for the bucket would meet, too, ends the run.
pub fn explain<T, E, S>(answer: Result<T, SdkError<E, HttpResponse>>, what: impl FnOnce() -> S) -> aaws::Result<T>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    S: Into<String>,
{
    answer.context(what).map_err(|e| if e.code().is_some_and(|code| FOR_ALL.contains(&code)) { e.for_all() } else { e })
}

/// S3 names a bucket's region in the answer that sends the request away. It becomes part of a host name, so what is no region is not taken for one.
fn bucket_region<E>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let answer = error.raw_response()?;
    let sent_away = matches!(answer.status().as_u16(), 301 | 307 | 400);
    let region = answer.headers().get("x-amz-bucket-region").filter(|_| sent_away)?;
    region.parse::<aaws::Region>().ok().map(String::from)
}

/// S3-compatible stores know paths better than host names, and Content-MD5 better than the newer checksums.
fn client(cx: &Context, bucket: &str, region: &str) -> Client {
    let region = Region::new(region.to_owned());
    let weigh = Weigh { bucket: bucket.to_owned() };
    // How long a request may make no progress is the network's to say. The SDK's own limit ends uploads over slow links.
    let stalls = StalledStreamProtectionConfig::disabled();
    let common = |config: aws_sdk_s3::config::Builder| config.region(region).stalled_stream_protection(stalls).interceptor(weigh);
    if !cx.custom_endpoint("s3") {
        return aaws::client!(cx, aws_sdk_s3, common);
    }
    aaws::client!(cx, aws_sdk_s3, |config: aws_sdk_s3::config::Builder| common(config)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(ContentMd5))
}

/// Each bucket has rates of its own, and what counts against them is the keys of a DeleteObjects, not the request (S3 user guide, optimizing
/// performance).
#[derive(Debug)]
struct Weigh {
    bucket: String,
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Weigh {
    fn name(&self) -> &'static str {
        "aaws::Weigh"
    }

    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let keys = context.input().downcast_ref::<DeleteObjectsInput>().and_then(DeleteObjectsInput::delete).map(|d| d.objects().len());
        let items = u32::try_from(keys.unwrap_or(1)).unwrap_or(u32::MAX);
        cfg.interceptor_state().store_put(aaws::Weight { scope: self.bucket.clone(), items });
        Ok(())
    }
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
