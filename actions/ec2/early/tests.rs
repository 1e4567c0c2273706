//! Where the next page begins, and when it is asked for.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_ec2::types::Volume;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use futures::StreamExt;

use super::super::lookup::Resource;
use super::*;

#[test]
fn a_token_is_found_on_either_side_of_the_things() {
    let things = "<item><volumeId>vol-1</volumeId><description>&lt;nextToken&gt;no&lt;/nextToken&gt;</description></item>".repeat(1000);
    let set = format!("<volumeSet>{things}</volumeSet>");
    for (answer, expected) in [
        (format!("<R><requestId>r</requestId>{set}<nextToken>eyJ2Ijo=+/</nextToken></R>"), Some("eyJ2Ijo=+/")),
        (format!("<R><requestId>r</requestId><nextToken>a</nextToken>{set}</R>"), Some("a")),
        (format!("<R>{set}</R>"), None),
        (format!("<R>{set}<nextToken/></R>"), None),
        (format!("<R>{set}<nextToken></nextToken></R>"), None),
        // What stands for something else is the SDK's to read; so is what goes on.
        (format!("<R>{set}<nextToken>a&amp;b</nextToken></R>"), None),
        (format!("<R>{set}<nextToken><!-- a -->b</nextToken></R>"), None),
        (format!("<R>{set}<nextToken>a"), None),
        (String::new(), None),
    ] {
        assert_eq!(token(answer.as_bytes()).as_deref(), expected, "{}", &answer[answer.len().saturating_sub(80)..]);
    }
}

/// What was asked for so far, by the tokens of the pages. Answers with two pages, of which the first cannot be read.
#[derive(Debug, Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn so_far(&self) -> Vec<String> {
        self.0.lock().expect("a log").clone()
    }
}

impl HttpConnector for Asked {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let form = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let token = form.split('&').find_map(|pair| pair.strip_prefix("NextToken=")).unwrap_or_default();
        self.0.lock().expect("a log").push(token.to_owned());
        let body = match token {
            "" => "<R><volumeSet><item><size>many</size></item></volumeSet><nextToken>second</nextToken></R>",
            _ => "<R><volumeSet><item><volumeId>vol-2</volumeId></item></volumeSet></R>",
        };
        HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().expect("a status"), SdkBody::from(body))))
    }
}

/// Gives out what the SDK read of the first page, an error, once the second was asked for; or after a while.
#[dyn_dispatch_hint]
impl Intercept for Asked {
    fn name(&self) -> &'static str {
        "Asked"
    }

    fn read_after_deserialization(
        &self,
        _: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let waited = Instant::now();
        while self.so_far().len() < 2 && waited.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_asks_for_the_next_page_by_the_bytes_of_this_one() {
    let asked = Asked::default();
    let answers = asked.clone();
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIATEST", "secret", None, None, "tests"))
        .retry_config(RetryConfig::disabled())
        .interceptor(asked.clone())
        .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(answers.clone())))
        .build();
    let listed: Vec<_> = Volume::list(&Client::from_conf(config), Vec::new()).collect().await;
    assert!(matches!(listed[..], [Err(_)]), "{listed:?}");
    // Only the bytes told of it: the SDK could not read them.
    assert_eq!(asked.so_far(), ["", "second"]);
}
