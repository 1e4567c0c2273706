//! Where each attempt of each request is sent: paced by the limiter, counted by a permit, bounded in silence, time and size.
//!
//! It sits in the SDK's HTTP client, because nothing above it sees every attempt: the SDK's own retries are made below the call.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::aws::anew::{Anew, Renew, Signed};
use crate::aws::clients::Clients;
use crate::aws::limiter::{Answer, KNOWN, Key, Limiter};
use crate::model::cancellation::Cancellation;
use crate::model::error::{Result, is_throttling};

/// How long AWS may say nothing: while a body is being sent it is the time without progress, and from then on the time to the answer's first byte.
const SILENCE: Duration = Duration::from_secs(120);

/// How long the body of an answer may take, however steadily it drips.
const ANSWER: Duration = Duration::from_secs(120);

/// The same once the run is cancelled: what is in progress is finished, but not at any price.
const ANSWER_CANCELLED: Duration = Duration::from_secs(10);

/// The largest answer that is read. The largest that AWS gives are pages of a thousand to ten thousand entries, a few MiB.
const LARGEST_ANSWER: usize = 64 << 20;

/// Answers are hardly ever larger: a page of 1,000 keys has 300 KiB.
const USUAL_ANSWER: usize = 1 << 20;

/// A request that changes something lets those that only look go before it for so long at most.
const STEPS_BACK: Duration = Duration::from_secs(1);

/// A request that waited this long is signed anew: AWS takes signatures of the last five minutes (S3: fifteen).
const SIGNATURE_AGE: Duration = Duration::from_secs(60);

/// Tokens of a run for retries of other errors than throttling, as the SDKs have them for a process (SDKs and Tools reference, retry behavior).
const RETRY_QUOTA: i64 = 500;

/// What such a retry costs; a success gives one back.
const RETRY_COST: i64 = 5;

/// What a run's clients share: permits, limiter, quota of retries, counts of calls. Cheap to clone.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    permits: Semaphore,
    /// Of requests that change something one at a time stands in the line for a permit.
    changing: Semaphore,
    limiter: Limiter,
    retries: AtomicI64,
    cancellation: Cancellation,
    calls: Mutex<BTreeMap<String, u64>>,
    /// Made once: reading the system's certificates takes a while.
    client: OnceLock<SharedHttpClient>,
}

/// What is known of a request where it is sent: the guard says it.
#[derive(Debug, Clone)]
pub(super) struct CallInfo {
    pub key: Key,
    /// Against the rate: 1, or the items of a request that the service counts by items.
    pub weight: u32,
    /// Whether it changes something.
    pub changes: bool,
    /// Whether it is sent even when the run was cancelled while it waited: it settles what was begun.
    pub settling: bool,
    /// What it is signed with.
    pub signing: Option<Arc<dyn Renew>>,
}

impl CallInfo {
    /// Asks for other credentials. Whether there are any.
    async fn renew(&self, signed: &Signed) -> bool {
        match &self.signing {
            Some(signing) => signing.renew(signed).await,
            None => false,
        }
    }
}

/// Put on an answer that says "slower".
#[derive(Debug, Clone, Copy)]
pub(super) struct Throttled {
    /// Whether it says, too, that the request was not carried out. A plain 503 does not: it may come from something in between.
    pub turned_away: bool,
}

/// The request waited so long that its signature may have expired: it was not sent, and is to be signed again.
#[derive(Debug, thiserror::Error)]
#[error("the request waited too long after it was signed")]
pub(super) struct Stale;

/// The run was cancelled while the request waited: it was not sent.
#[derive(Debug, thiserror::Error)]
#[error("the run was cancelled before it was sent")]
pub(crate) struct CancelledUnsent;

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("permits", &self.0.permits.available_permits()).finish_non_exhaustive()
    }
}

impl Network {
    /// For one run: at most `concurrency` requests of it are in flight.
    pub fn new(concurrency: usize, cancellation: Cancellation) -> Self {
        let permits = Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS));
        let retries = AtomicI64::new(RETRY_QUOTA);
        Network(Arc::new(Inner {
            permits,
            changing: Semaphore::new(1),
            limiter: Limiter::new(KNOWN),
            retries,
            cancellation,
            calls: Mutex::default(),
            client: OnceLock::new(),
        }))
    }

    /// How often each declared call was made so far, retries not counted: `s3:DeleteObjects`.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn count(&self, call: &str) {
        *self.0.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(call.to_owned()).or_default() += 1;
    }

    /// The limiter, for what only the action can read: throttling of single items in an answer.
    pub(crate) fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    pub(super) fn cancellation(&self) -> &Cancellation {
        &self.0.cancellation
    }

    /// Whether an error that is no throttling may be retried: it takes from the run's quota.
    pub(super) fn take_retry(&self) -> bool {
        let left = self.0.retries.fetch_sub(RETRY_COST, Ordering::Relaxed);
        if left < RETRY_COST {
            self.0.retries.fetch_add(RETRY_COST, Ordering::Relaxed);
        }
        left >= RETRY_COST
    }

    pub(super) fn reward_success(&self) {
        // A race may go a little beyond, which harms nobody.
        if self.0.retries.load(Ordering::Relaxed) < RETRY_QUOTA {
            self.0.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The SDK's quota of retries is the process's, and throttling empties it. Ours is the run's, and is asked by the guard.
    pub(crate) fn retry_partition() -> RetryPartition {
        RetryPartition::custom("aaws").token_bucket(TokenBucket::unlimited()).build()
    }

    /// The HTTP client of the run: the SDK's, with what this module adds around each attempt.
    pub(crate) fn http_client(&self) -> Result<SharedHttpClient> {
        if let Some(client) = self.0.client.get() {
            return Ok(client.clone());
        }
        let clients = Clients::new()?;
        // The clients do not hold the network itself: it holds them.
        let client = SharedHttpClient::new(Client { clients, network: Arc::downgrade(&self.0) });
        Ok(self.0.client.get_or_init(|| client).clone())
    }

    /// A permit for a request. What only looks goes before what changes something: there is nothing to change before it is found, and what is found early is
    /// changed beside the rest. But for a while only: those who look may be waiting for the very change, and one that nobody polls must not keep others back.
    async fn permit_for(&self, call: &CallInfo) -> Option<SemaphorePermit<'_>> {
        let _first = match call.changes && !call.settling {
            true => tokio::time::timeout(STEPS_BACK, self.0.changing.acquire()).await.ok(),
            false => None,
        };
        self.permit().await
    }

    /// A permit; the semaphore is never closed, so there always is one. What a source of credentials sends has it from here: the SDK's own do so one request after
    /// another.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.0.permits.acquire().await.ok()
    }

    async fn send(self, connector: SharedHttpConnector, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        // What the SDK sends by itself (the instance's metadata, single sign-on) is no call of an action. Who asks it for credentials has a permit for that.
        let Some(call) = request.extension::<CallInfo>().cloned() else { return connector.call(request).await };
        let queued = Instant::now();
        let turn = async {
            let paced = self.0.limiter.acquire(&call.key, call.weight).await;
            (paced, self.permit_for(&call).await)
        };
        let (paced, permit) = tokio::select! {
            biased;
            turn = turn => turn,
            () = self.0.cancellation.cancelled(), if !call.settling => return Err(ConnectorError::user(CancelledUnsent.into())),
        };
        if queued.elapsed() > SIGNATURE_AGE {
            self.0.limiter.answered(&call.key, paced, Answer::Other);
            return Err(ConnectorError::other(Stale.into(), Some(ErrorKind::TransientError)));
        }
        let signed = Signed::of(&request);
        let mut answer = self.exchange(connector, request).await;
        drop(permit);
        let throttled = answer.as_ref().is_ok_and(|answer| answer.extension::<Throttled>().is_some());
        let answered = match &answer {
            _ if throttled => Answer::Throttled,
            Ok(answer) if !answer.status().is_server_error() => Answer::Accepted,
            _ => Answer::Other,
        };
        self.0.limiter.answered(&call.key, paced, answered);
        let mut anew = answer.as_ref().ok().and_then(|answer| anew(&signed, answer));
        // Without a permit: other credentials may take a request of their own.
        if anew == Some(Anew::Credentials) && !self.renew(&call, &signed).await {
            anew = None;
        }
        if let (Ok(answer), Some(anew)) = (&mut answer, anew) {
            answer.add_extension(anew);
        }
        answer
    }

    /// Asks for other credentials. Whether there are any. Somebody may have to sign in for them, whom a run that is over does not wait for.
    async fn renew(&self, call: &CallInfo, signed: &Signed) -> bool {
        let over = async {
            self.0.cancellation.cancelled().await;
            tokio::time::sleep(ANSWER_CANCELLED).await;
        };
        tokio::select! {
            renewed = call.renew(signed) => renewed,
            () = over, if !call.settling => false,
        }
    }

    /// One request and its whole answer, so that the permit covers both.
    async fn exchange(&self, connector: SharedHttpConnector, mut request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let progress = Progress::new();
        let body = request.take_body();
        let watched = progress.clone();
        // A retry reads the body again: `map` keeps that possible. What is in memory already is sent at once, and needs no watching.
        *request.body_mut() = if body.bytes().is_some() { body } else { body.map(move |body| watched.watch(body)) };
        let mut answer = tokio::select! {
            answer = connector.call(request) => answer?,
            () = progress.silence() => return Err(ConnectorError::timeout("no answer in time".into())),
        };
        let body = self.read(answer.take_body()).await?;
        // What makes the connection ready for the next request runs before this answer is parsed, which keeps a thread for milliseconds.
        tokio::task::yield_now().await;
        let code = error_code(&answer, &body);
        let status = answer.status().as_u16();
        let turned_away = status == 429 || code.as_deref().is_some_and(is_throttling);
        if turned_away || status == 503 {
            answer.add_extension(Throttled { turned_away });
        }
        *answer.body_mut() = SdkBody::from(body);
        Ok(answer)
    }

    /// The body of an answer: within its time, and no larger than any real one.
    async fn read(&self, mut body: SdkBody) -> Result<Bytes, ConnectorError> {
        if let Some(bytes) = body.bytes() {
            return Ok(Bytes::copy_from_slice(bytes));
        }
        // Mostly it is said how long it is, and then it is copied once.
        let said = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut read = BytesMut::with_capacity(said.min(USUAL_ANSWER));
        let whole = async {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(ConnectorError::io)?;
                if let Ok(data) = frame.into_data() {
                    if read.len() + data.len() > LARGEST_ANSWER {
                        return Err(ConnectorError::user(format!("the answer is larger than {} MiB", LARGEST_ANSWER >> 20).into()));
                    }
                    read.extend_from_slice(&data);
                }
            }
            Ok(())
        };
        let cancelled = async {
            self.0.cancellation.cancelled().await;
            tokio::time::sleep(ANSWER_CANCELLED).await;
        };
        tokio::select! {
            whole = whole => whole?,
            () = tokio::time::sleep(ANSWER) => return Err(ConnectorError::timeout("the answer did not end in time".into())),
            () = cancelled => return Err(ConnectorError::timeout("the answer did not end in time after the run was cancelled".into())),
        }
        Ok(read.freeze())
    }
}

struct Client {
    clients: Clients,
    network: Weak<Inner>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl HttpClient for Client {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            clients: self.clients.clone(),
            settings: settings.clone(),
            components: components.clone(),
            network: self.network.clone(),
        })
    }
}

/// Chooses the client when it knows where the request goes.
struct Connector {
    clients: Clients,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
    network: Weak<Inner>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.clients.of(request.uri()).http_connector(&self.settings, &self.components);
        match self.network.upgrade() {
            Some(network) => HttpConnectorFuture::new(Network(network).send(connector, request)),
            None => HttpConnectorFuture::ready(Err(ConnectorError::user("the run is over".into()))),
        }
    }
}

/// When a request last made progress.
#[derive(Clone)]
struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    fn new() -> Self {
        Progress(Arc::new(Mutex::new(Instant::now())))
    }

    fn made(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Ends when there was none for too long.
    async fn silence(&self) {
        loop {
            let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= SILENCE {
                return;
            }
            tokio::time::sleep_until(last + SILENCE).await;
        }
    }

    fn watch(&self, body: SdkBody) -> SdkBody {
        SdkBody::from_body_1_x(Watched { body, progress: self.clone() })
    }
}

/// A request's body that notes when the connection takes more of it.
struct Watched {
    body: SdkBody,
    progress: Progress,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = aws_smithy_types::body::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        this.progress.made();
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}

/// How a request that was turned down for how it was signed is to be signed.
fn anew(signed: &Signed, answer: &HttpResponse) -> Option<Anew> {
    if !(400..500).contains(&answer.status().as_u16()) {
        return None;
    }
    let code = error_code(answer, answer.body().bytes().unwrap_or_default());
    match code.as_deref() {
        code if signed.is_off(answer, code) => Some(Anew::Clock),
        code if signed.has_expired(answer, code) => Some(Anew::Credentials),
        _ => None,
    }
}

/// The error code of an answer that is an error, as each of AWS's protocols writes it; `None` where it is none.
fn error_code(answer: &HttpResponse, body: &[u8]) -> Option<String> {
    if answer.status().is_success() {
        return None;
    }
    if let Some(kind) = answer.headers().get("x-amzn-errortype") {
        return Some(bare(kind));
    }
    // A service that spoke the query protocol once says its codes of then beside those of today: `Throttling;Sender`.
    if let Some(code) = answer.headers().get("x-amzn-query-error").and_then(|both| both.split(';').next()) {
        return Some(code.to_owned());
    }
    if answer.headers().get("smithy-protocol") == Some("rpc-v2-cbor") {
        return cbor_text(body, "__type").map(bare);
    }
    let text = std::str::from_utf8(body).ok()?;
    if let Some((_, rest)) = text.split_once("<Code>") {
        return rest.split_once("</Code>").map(|(code, _)| code.trim().to_owned());
    }
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let kind = json.get("__type").or_else(|| json.get("code"))?.as_str()?;
    Some(bare(kind))
}

/// The text behind a name in a map of CBOR, that of errors: short, flat, and each text in one piece (RFC 8949, major type 3).
fn cbor_text<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let at = body.windows(name.len()).position(|part| part == name.as_bytes())?;
    let (length, text) = match body.get(at + name.len()..)? {
        [head @ 0x60..=0x77, rest @ ..] => (usize::from(head & 0x1f), rest),
        [0x78, length, rest @ ..] => (usize::from(*length), rest),
        [0x79, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    std::str::from_utf8(text.get(..length)?).ok()
}

/// A code without its namespace, and without the address that may follow (`aws.x#FooException:http://…`; Smithy, AWS JSON protocols, operation errors).
fn bare(kind: &str) -> String {
    let code = kind.split(':').next().unwrap_or(kind);
    code.rsplit('#').next().unwrap_or(code).to_owned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::stream::{self, FuturesUnordered, StreamExt};
    use http_body_util::StreamBody;
    use tokio::sync::mpsc;

    use super::*;
    use crate::model::cancellation::CancelReason;

    fn answer(status: u16, body: &str) -> Option<String> {
        let status = status.try_into().unwrap_or_else(|e| panic!("{e}"));
        error_code(&HttpResponse::new(status, SdkBody::empty()), body.as_bytes())
    }

    #[test]
    fn codes_are_read_as_each_protocol_writes_them() {
        assert_eq!(answer(503, "<Response><Errors><Error><Code>RequestLimitExceeded</Code>").as_deref(), Some("RequestLimitExceeded"));
        assert_eq!(answer(400, r#"{"__type":"com.amazonaws#ThrottlingException"}"#).as_deref(), Some("ThrottlingException"));
        assert_eq!(answer(200, "<Error><Code>SlowDown</Code></Error>"), None);
        assert_eq!(answer(400, r#"{"__type":"ThrottlingException:http://internal.amazon.com/"}"#).as_deref(), Some("ThrottlingException"));
        assert_eq!(answer(500, "<html>"), None);
        let mut named = HttpResponse::new(400.try_into().unwrap_or_else(|e| panic!("{e}")), SdkBody::empty());
        named.headers_mut().insert("x-amzn-errortype", "com.amazonaws.x#TooManyRequestsException:http://internal.amazon.com/");
        assert_eq!(error_code(&named, b"").as_deref(), Some("TooManyRequestsException"));
        let mut binary = HttpResponse::new(400.try_into().unwrap_or_else(|e| panic!("{e}")), SdkBody::empty());
        binary.headers_mut().insert("smithy-protocol", "rpc-v2-cbor");
        assert_eq!(error_code(&binary, b"\xbf\x66__type\x78\x1daws.x#ThrottlingException:u:1\xff").as_deref(), Some("ThrottlingException"));
        assert_eq!(error_code(&binary, b"\xa1\x66__type\x6aThrottling").as_deref(), Some("Throttling"));
        assert_eq!(error_code(&binary, b"\xa1\x66__type\x78\xffThrottling"), None);
        binary.headers_mut().insert("x-amzn-query-error", "RequestLimitExceeded;Sender");
        assert_eq!(error_code(&binary, b"\xa0").as_deref(), Some("RequestLimitExceeded"));
    }

    // --- Limits of time and size, on tokio's paused clock ---

    const SECOND: Duration = Duration::from_secs(1);

    /// A body of frames that are not in memory as one, as that of a file is.
    fn frames(count: usize, bytes: usize) -> SdkBody {
        let frame = move |_| Ok::<_, io::Error>(Frame::data(Bytes::from(vec![0; bytes])));
        SdkBody::from_body_1_x(StreamBody::new(stream::iter((0..count).map(frame))))
    }

    /// A body of which a byte comes each second, without end.
    fn dripping() -> SdkBody {
        let (drops, mut taken) = mpsc::channel(1);
        tokio::spawn(async move {
            while drops.send(Bytes::from_static(b"x")).await.is_ok() {
                tokio::time::sleep(SECOND).await;
            }
        });
        let next = move |cx: &mut TaskContext<'_>| taken.poll_recv(cx).map(|drop| drop.map(|bytes| Ok::<_, io::Error>(Frame::data(bytes))));
        SdkBody::from_body_1_x(StreamBody::new(stream::poll_fn(next)))
    }

    /// A connection that takes a frame of what is sent, and then nothing for a while, until it has all of it and answers.
    #[derive(Debug)]
    struct Slow {
        pause: Duration,
        answer: fn() -> SdkBody,
    }

    impl HttpConnector for Slow {
        fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
            let (pause, answer, mut body) = (self.pause, self.answer, request.take_body());
            HttpConnectorFuture::new(async move {
                while let Some(frame) = body.frame().await {
                    frame.map_err(ConnectorError::io)?;
                    tokio::time::sleep(pause).await;
                }
                Ok(HttpResponse::new(200.try_into().unwrap_or_else(|e| panic!("{e}")), answer()))
            })
        }
    }

    /// What comes of a request over such a connection, and after how long.
    async fn exchanged(cancellation: Cancellation, slow: Slow, body: SdkBody) -> (Result<HttpResponse, ConnectorError>, Duration) {
        let begun = Instant::now();
        let exchanged = Network::new(1, cancellation).exchange(SharedHttpConnector::new(slow), HttpRequest::new(body)).await;
        (exchanged, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_may_take_as_long_as_it_goes_on() {
        let slow = |pause| Slow { pause, answer: SdkBody::empty };
        let (answer, took) = exchanged(Cancellation::default(), slow(60 * SECOND), frames(11, 1)).await;
        assert!(answer.is_ok() && took > 600 * SECOND, "{answer:?} after {took:?}");
        let (answer, took) = exchanged(Cancellation::default(), slow(121 * SECOND), frames(11, 1)).await;
        assert!(answer.is_err_and(|e| e.is_timeout()));
        assert!((SILENCE..SILENCE + SECOND).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_drips_ends_at_its_limit_or_soon_after_the_run_is_cancelled() {
        let slow = || Slow { pause: SECOND, answer: dripping };
        let (answer, took) = exchanged(Cancellation::default(), slow(), SdkBody::empty()).await;
        assert!(answer.is_err_and(|e| e.is_timeout()));
        assert!((ANSWER..ANSWER + SECOND).contains(&took), "{took:?}");

        let cancellation = Cancellation::default();
        let cancel = async {
            tokio::time::sleep(30 * SECOND).await;
            cancellation.cancel(CancelReason::Interrupted);
        };
        let ((answer, took), ()) = tokio::join!(exchanged(cancellation.clone(), slow(), SdkBody::empty()), cancel);
        assert!(answer.is_err_and(|e| e.is_timeout()));
        let limit = 30 * SECOND + ANSWER_CANCELLED;
        assert!((limit..limit + SECOND).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_larger_than_any_of_aws_is_an_error() {
        let slow = |answer: fn() -> SdkBody| Slow { pause: SECOND, answer };
        let (answer, _) = exchanged(Cancellation::default(), slow(|| frames(64, 1 << 20)), SdkBody::empty()).await;
        assert_eq!(answer.ok().and_then(|answer| answer.body().bytes().map(<[u8]>::len)), Some(LARGEST_ANSWER));
        let (answer, _) = exchanged(Cancellation::default(), slow(|| frames(65, 1 << 20)), SdkBody::empty()).await;
        assert!(answer.is_err_and(|e| e.is_user() && format!("{e:?}").contains("larger than 64 MiB")));
    }

    fn call(changes: bool) -> CallInfo {
        let text = || "x".to_owned();
        let key = Key { account: text(), region: text(), service: text(), kind: text(), scope: text(), documented: false };
        CallInfo { key, weight: 1, changes, settling: false, signing: None }
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_looks_is_sent_before_what_changes_something_and_does_not_keep_it_waiting() {
        let network = Network::new(2, Cancellation::default());
        let slow = SharedHttpConnector::new(Slow { pause: SECOND / 4, answer: SdkBody::empty });
        let asked = [("change 1", true), ("change 2", true), ("change 3", true), ("change 4", true), ("look 1", false), ("look 2", false)];
        let asked = asked.into_iter().chain([("look 3", false), ("look 4", false)]);
        let answered = asked.map(|(name, changes)| {
            let mut request = HttpRequest::new(frames(1, 1));
            request.add_extension(call(changes));
            let answer = network.clone().send(slow.clone(), request);
            async move { answer.await.map(|_| name).unwrap_or_else(|e| panic!("{name}: {e}")) }
        });
        let order: Vec<&str> = StreamExt::collect(answered.collect::<FuturesUnordered<_>>()).await;
        let mut pairs: Vec<Vec<&str>> = order.chunks(2).map(<[&str]>::to_vec).collect();
        pairs.iter_mut().for_each(|pair| pair.sort_unstable());
        // The third change stood in the line when the looks came; the fourth comes behind all of them.
        assert_eq!(pairs, [["change 1", "change 2"], ["change 3", "look 1"], ["look 2", "look 3"], ["change 4", "look 4"]]);
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_look_what_changes_something_steps_back_for_a_second_only() {
        let network = Network::new(2, Cancellation::default());
        let slow = SharedHttpConnector::new(Slow { pause: SECOND, answer: SdkBody::empty });
        let begun = Instant::now();
        let send = |changes| {
            let mut request = HttpRequest::new(frames(1, 1));
            request.add_extension(call(changes));
            let answer = network.clone().send(slow.clone(), request);
            async move { answer.await.map(|_| begun.elapsed()) }
        };
        let looking = async {
            // They look again and again, forty at a time.
            let looks = stream::iter(0..400).map(|_| send(false)).buffer_unordered(40);
            StreamExt::collect::<Vec<_>>(looks).await
        };
        let changing = async {
            tokio::time::sleep(SECOND / 2).await;
            StreamExt::collect::<Vec<_>>((0..10).map(|_| send(true)).collect::<FuturesUnordered<_>>()).await
        };
        let (looks, changes) = tokio::join!(looking, changing);
        let last = changes.into_iter().map(|ended| ended.unwrap_or_else(|e| panic!("{e}"))).max();
        // Twenty turns of two are before them, and five are their own.
        assert!(last.is_some_and(|last| last <= 26 * SECOND), "{last:?}");
        assert!(looks.iter().all(Result::is_ok));
    }

    /// Turns down all that is sent, because its credentials have expired.
    #[derive(Debug)]
    struct Expired;

    impl HttpConnector for Expired {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let body = SdkBody::from("<Error><Code>ExpiredToken</Code></Error>");
            HttpConnectorFuture::ready(Ok(HttpResponse::new(400.try_into().unwrap_or_else(|e| panic!("{e}")), body)))
        }
    }

    /// Waits for somebody who is to sign in.
    #[derive(Debug)]
    struct Asking;

    #[async_trait::async_trait]
    impl Renew for Asking {
        async fn renew(&self, _: &Signed) -> bool {
            tokio::time::sleep(120 * SECOND).await;
            false
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_over_does_not_wait_for_other_credentials() {
        for (settling, took) in [(false, 30 * SECOND + ANSWER_CANCELLED), (true, 120 * SECOND)] {
            let (cancellation, begun) = (Cancellation::default(), Instant::now());
            let mut request = HttpRequest::new(SdkBody::empty());
            request.add_extension(CallInfo { settling, signing: Some(Arc::new(Asking)), ..call(true) });
            let cancel = async {
                tokio::time::sleep(30 * SECOND).await;
                cancellation.cancel(CancelReason::TimedOut);
            };
            let sent = Network::new(1, cancellation.clone()).send(SharedHttpConnector::new(Expired), request);
            let (answer, ()) = tokio::join!(sent, cancel);
            assert!(answer.is_ok_and(|answer| answer.extension::<Anew>().is_none()));
            assert!((took..took + SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        }
    }
}
