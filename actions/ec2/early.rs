//! Where the next page begins, as soon as the answer with this one is there: the SDK takes longer to read 500 things than EC2's network to bring the next
//! page, and says where it begins only once it has read them all.
//!
//! It is a guess, taken from the bytes, and only looked for where EC2 writes it: what does not find it waits for the SDK, and what finds something else
//! costs one request ([`aaws::Early`]).

use aaws::Early;
use aws_sdk_ec2::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::BoxError;

/// How much is looked through on either side of the things: tokens are of a few hundred bytes.
const SIDE: usize = 8 << 10;

/// Says where the page behind this one begins before the SDK reads it.
#[derive(Debug)]
pub struct NextPage(pub Early<String>);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for NextPage {
    fn name(&self) -> &'static str {
        "aaws::NextPage"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        if answer.status().is_success()
            && let Some(token) = answer.body().bytes().and_then(token)
        {
            self.0.say(token);
        }
        Ok(())
    }
}

/// The token in an answer: behind the things, or before them. None where its text is not what it stands for.
fn token(answer: &[u8]) -> Option<String> {
    let end = &answer[answer.len().saturating_sub(SIDE)..];
    let token = element(end).or_else(|| element(&answer[..answer.len().min(SIDE)]))?;
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"<&".contains(byte);
    (!token.is_empty() && token.iter().all(is_plain)).then(|| String::from_utf8_lossy(token).into_owned())
}

/// What is between the tags of the first one.
fn element(part: &[u8]) -> Option<&[u8]> {
    let behind = |part: &[u8], tag: &[u8]| part.windows(tag.len()).position(|here| here == tag);
    let (open, close): (&[u8], &[u8]) = (b"<nextToken>", b"</nextToken>");
    let inside = &part[behind(part, open)? + open.len()..];
    Some(&inside[..behind(inside, close)?])
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::{Duration, Instant};

    use aws_sdk_ec2::Client;
    use aws_sdk_ec2::config::interceptors::AfterDeserializationInterceptorContextRef;
    use aws_sdk_ec2::config::retry::RetryConfig;
    use aws_sdk_ec2::config::{BehaviorVersion, Credentials, Region};
    use aws_sdk_ec2::primitives::SdkBody;
    use aws_sdk_ec2::types::Volume;
    use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
    use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
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
}
