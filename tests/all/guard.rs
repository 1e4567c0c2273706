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
    let options = SessionOptions {
        region: "us-east-1".parse().ok(),
        endpoint_url: Some(server.url.clone()),
        keys: Some(Keys { access_key: "AKIATEST".into(), secret_key: Secret::new("secret"), session_token: None }),
        ..SessionOptions::default()
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let result = runtime.block_on(async {
        let connection = Connection::with(options, RunOptions { dry_run, ..RunOptions::default() }, Arc::new(Unattended)).await?;
        connection.run(action).await
    });
    (result, server)
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
