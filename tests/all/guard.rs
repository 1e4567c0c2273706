//! What an action did not declare is never sent, and a dry run sends no write: shown with actions that try.

use std::sync::Arc;

use aaws::{Action, Call, Context, Effect, Error, ErrorContext, Meta, Result, Secret, async_trait};
use aaws::{Connection, Keys, RunOptions, SessionOptions, Unattended};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::support::{Response, Server};

const CALLS: &[Call] = &[Call::read("s3:ListObjectsV2", &[]), Call::write("s3:PutObject", &[])];
const META: Meta = Meta { path: "s3/tries", effect: Effect::Modify, calls: CALLS, rules: &[], examples: &[], notes: &[] };

/// Reads an object, which it does not declare.
#[derive(Deserialize, JsonSchema)]
struct ReadsUndeclared {}

#[async_trait]
impl Action for ReadsUndeclared {
    const META: Meta = META;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<()> {
        aaws::client!(cx, aws_sdk_s3).get_object().bucket("b").key("k").send().await.context(|| "read `k`").map(drop)
    }
}

/// Writes an object, which it declares, without asking whether this is a dry run.
#[derive(Deserialize, JsonSchema)]
struct Writes {}

#[async_trait]
impl Action for Writes {
    const META: Meta = META;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<()> {
        aaws::client!(cx, aws_sdk_s3, |config: aws_sdk_s3::config::Builder| config.force_path_style(true))
            .put_object()
            .bucket("b")
            .key("k")
            .send()
            .await
            .context(|| "write `k`")
            .map(drop)
    }
}

/// Runs an action in this process against a server that answers everything.
fn run<A: Action>(action: A, dry_run: bool) -> (Result<A::Output>, Server) {
    let server = Server::start(|_, _, _| Response::xml(200, "<Anything/>".to_owned()));
    let result = run_against(&server, action, RunOptions { dry_run, ..RunOptions::default() });
    (result, server)
}

fn run_against<A: Action>(server: &Server, action: A, options: RunOptions) -> Result<A::Output> {
    let target = SessionOptions {
        region: "us-east-1".parse().ok(),
        endpoint_url: Some(server.url.clone()),
        keys: Some(Keys { access_key: "AKIATEST".into(), secret_key: Secret::new("secret"), session_token: None }),
        ..SessionOptions::default()
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { Connection::with(target, options, Arc::new(Unattended)).await?.run(action).await })
}

#[test]
fn a_call_that_is_not_declared_is_refused_before_it_is_sent() {
    let (result, server) = run(ReadsUndeclared {}, false);
    let error = result.expect_err("the call is refused");
    assert!(matches!(error, Error::Guard(_)), "{error:?}");
    assert!(error.to_string().contains("`s3/tries` does not declare the call S3:GetObject"), "{error}");
    assert_eq!(error.kind().exit_code(), 4);
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn a_write_in_a_dry_run_is_refused_before_it_is_sent() {
    let (result, server) = run(Writes {}, true);
    assert!(matches!(result, Err(Error::Guard(_))), "{result:?}");
    assert_eq!(server.operations(), [""; 0]);

    let (result, server) = run(Writes {}, false);
    result.expect("the same write is sent when it is meant");
    assert_eq!(server.operations(), ["PutObject"]);
}

/// Writes objects one after another, and says what became of the last.
#[derive(Deserialize, JsonSchema)]
struct WritesMany {}

/// Retries of a run cost 5 of 500 each: were errors that are not retried to cost as much, so many would leave none.
const DENIED: usize = 150;

#[async_trait]
impl Action for WritesMany {
    const META: Meta = META;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<()> {
        let s3 = aaws::client!(cx, aws_sdk_s3, |config: aws_sdk_s3::config::Builder| config.force_path_style(true));
        for _ in 0..DENIED {
            assert!(s3.put_object().bucket("b").key("denied").send().await.is_err());
        }
        s3.put_object().bucket("b").key("k").send().await.context(|| "write `k`").map(drop)
    }
}

#[test]
fn only_what_is_tried_again_uses_up_the_quota_of_retries() {
    let server = Server::start(|_, n, _| match n {
        n if n <= DENIED => Response::error(403, "AccessDenied"),
        n if n == DENIED + 1 => Response::error(500, "InternalError"),
        _ => Response::xml(200, String::new()),
    });
    run_against(&server, WritesMany {}, RunOptions::default()).expect("the error that passes is tried again");
    assert_eq!(server.count("PutObject"), DENIED + 2);
}
