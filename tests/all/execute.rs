//! Runs through the library, without the command line: hosts of one's own, several runs in one process, typed use.

use std::sync::{Arc, Mutex, mpsc};

use aaws::futures::stream::{self, StreamExt};
use aaws::{
    Action, ChangeOne, Collected, Connection, Consent, Context, DoneItems, Effect, Entry, Error, Host, Input, Keys, Listing, Meta, Moment,
    Outcome, Question, Request, Result, RunOptions, Secret, SessionOptions, Summary, Unattended, async_trait, execute,
};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::{Response, Server, directory, report};

/// Says of each item when its run is, what an age of its input came to, and what its host said.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tells {
    /// An age.
    since: Moment,
    /// Items.
    items: Vec<String>,
}

#[derive(Clone, Serialize, JsonSchema)]
struct Greeting {
    item: String,
    now: String,
    since: String,
    secret: String,
}

#[async_trait]
impl Action for Tells {
    const META: Meta = Meta { path: "test/tells", effect: Effect::Delete, calls: &[], rules: &[], examples: &[], notes: &[] };

    type Output = DoneItems<Greeting>;

    async fn run(self, cx: &Context) -> Result<DoneItems<Greeting>> {
        let secret = cx.ask_secret("the password").await?.map(|secret| secret.expose().to_owned()).unwrap_or_default();
        let told = Greeting { item: String::new(), now: cx.now().to_string(), since: self.since.timestamp().to_string(), secret };
        Ok(cx.change_each(stream::iter(self.items.into_iter().map(Ok)), Tell(told)).await?.done())
    }
}

struct Tell(Greeting);

#[async_trait]
impl ChangeOne for Tell {
    type Item = String;
    type Done = Greeting;

    fn id(&self, item: &String) -> String {
        item.clone()
    }

    fn summary(&self) -> String {
        "tell the items".into()
    }

    async fn apply(&self, _: &Context, item: &String) -> Result<Outcome<Greeting>> {
        Ok(Outcome::done(Greeting { item: item.clone(), ..self.0.clone() }))
    }
}

/// Lists two rows, and then fails.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Breaks {}

#[async_trait]
impl Action for Breaks {
    const META: Meta = Meta { path: "test/breaks", effect: Effect::Local, calls: &[], rules: &[], examples: &[], notes: &[] };

    type Output = Listing<String>;

    async fn run(self, cx: &Context) -> Result<Listing<String>> {
        Ok(Listing::produce(cx, |_, mut out| async move {
            out.send("a".to_owned()).await?;
            out.send("b".to_owned()).await?;
            Err(Error::Failed("the third could not be read".into()))
        }))
    }
}

// Not registered: the program under test does not have them.
static TELLS: Entry = Entry::of::<Tells>("tests", file!());
static BREAKS: Entry = Entry::of::<Breaks>("tests", file!());

/// Somebody who knows a secret, and agrees or does not.
struct Somebody {
    secret: &'static str,
    agrees: bool,
    asked: Mutex<Vec<Question>>,
}

impl Somebody {
    fn new(secret: &'static str, agrees: bool) -> Arc<Self> {
        Arc::new(Somebody { secret, agrees, asked: Mutex::default() })
    }
}

#[async_trait]
impl Host for Somebody {
    fn consent(&self) -> Consent {
        Consent::Ask
    }

    async fn confirm(&self, question: Question) -> Result<bool> {
        self.asked.lock().unwrap().push(question);
        Ok(self.agrees)
    }

    async fn secret(&self, _: &str) -> Result<Option<Secret>> {
        Ok(Some(Secret::new(self.secret)))
    }
}

/// An AWS that says which account this is, and nothing else.
fn account(id: &'static str) -> Server {
    Server::start(move |operation, _, _| match operation {
        "GetCallerIdentity" => Response::xml(
            200,
            format!(
                "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::{id}:user/u</Arn><UserId>U</UserId>\
                 <Account>{id}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
            ),
        ),
        _ => Response::error(501, "NotImplemented"),
    })
}

fn target(server: &Server, region: &str) -> SessionOptions {
    SessionOptions {
        region: region.parse().ok(),
        endpoint_url: Some(server.url.clone()),
        keys: Some(Keys { access_key: "AKIATEST".into(), secret_key: Secret::new("secret"), session_token: None }),
        ..SessionOptions::default()
    }
}

fn tells(server: &Server, region: &str, items: &[&str]) -> Request {
    let input = Input::from_json(&json!({ "since": "1h", "items": items }).to_string()).expect("an input");
    Request { target: target(server, region), ..Request::new(&TELLS, input) }
}

/// What a run prints, and what came of it.
async fn finish(request: Request, host: Arc<dyn Host>) -> (Value, Summary) {
    let mut execution = execute(request, host).await;
    let Collected { value, error } = execution.rows().collect().await;
    (value, execution.finish(error))
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(work)
}

#[test]
fn two_runs_in_one_process_have_their_own_clocks_and_hosts() {
    let (one, other) = (account("111111111111"), account("222222222222"));
    let (alice, bob) = (Somebody::new("sesame", true), Somebody::new("thyme", true));
    // The first run begins first, and gets its input when the second one is over: a clock of the process would be the second one's by then.
    let (over, wait) = mpsc::channel::<()>();
    let (begin, begun) = tokio::sync::oneshot::channel::<()>();
    let mut first = tells(&one, "eu-west-1", &["a", "b"]);
    let input = first.input;
    first.input = Box::new(move || {
        let _ = begin.send(());
        let _ = wait.recv();
        input()
    });
    let ((first, of_first), (second, of_second)) = block_on(async {
        let second = async {
            begun.await.expect("the first run begins");
            let second = finish(tells(&other, "us-east-1", &["c"]), bob.clone()).await;
            let _ = over.send(());
            // Where this panics, the first run must not wait for ever.
            drop(over);
            second
        };
        tokio::join!(finish(first, alice.clone()), second)
    });
    assert_eq!((of_first.exit_code(), of_second.exit_code()), (0, 0), "{of_first:?} {of_second:?}");
    assert_eq!((of_first.words().as_str(), of_second.words().as_str()), ("2 done", "1 done"), "each counts its own");
    let at = |row: &Value, field: &str| row[field].as_str().and_then(|text| text.parse::<Timestamp>().ok()).expect("an instant");
    for row in [&first[0], &first[1], &second[0]] {
        assert_eq!(at(row, "now").duration_since(at(row, "since")), SignedDuration::from_hours(1), "{row}");
    }
    assert!(at(&first[0], "now") < at(&second[0], "now"), "the first began first: {first} {second}");
    assert_eq!((&first[0]["secret"], &second[0]["secret"]), (&json!("sesame"), &json!("thyme")));
    let places = |host: &Somebody| {
        let asked = host.asked.lock().unwrap();
        asked.iter().map(|q| (q.place.account.clone().unwrap_or_default(), q.place.region.clone(), q.items.clone())).collect::<Vec<_>>()
    };
    assert_eq!(places(&alice), [("111111111111".to_owned(), "eu-west-1".to_owned(), vec!["a".to_owned(), "b".to_owned()])]);
    assert_eq!(places(&bob), [("222222222222".to_owned(), "us-east-1".to_owned(), vec!["c".to_owned()])]);
}

#[test]
fn a_run_that_its_host_declines_changes_nothing_and_leaves_the_other_alone() {
    let server = account("111111111111");
    let (no, yes) = (Somebody::new("", false), Somebody::new("", true));
    let ((declined, of_declined), (agreed, of_agreed)) = block_on(async {
        tokio::join!(finish(tells(&server, "eu-west-1", &["a"]), no.clone()), finish(tells(&server, "eu-west-1", &["a"]), yes.clone()))
    });
    assert_eq!((declined, of_declined.exit_code()), (json!([]), 4));
    assert!(matches!(of_declined.error, Some(Error::Declined)));
    assert_eq!((agreed[0]["item"].as_str(), of_agreed.exit_code()), (Some("a"), 0));
}

#[test]
fn a_list_that_fails_in_the_middle_gives_its_rows_and_the_error() {
    let (rows, summary) = block_on(finish(Request::new(&BREAKS, Input::default()), Arc::new(Unattended)));
    assert_eq!((rows, summary.exit_code()), (json!(["a", "b"]), 1));
    assert!(summary.error.is_some_and(|e| e.to_string().contains("the third could not be read")));
    let typed: Vec<Result<String>> = block_on(async {
        let connection = Connection::open(SessionOptions::default()).await.expect("a local action needs no account");
        connection.run(Breaks {}).await.expect("a listing").items().collect().await
    });
    let typed: Vec<_> = typed.into_iter().map(|row| row.map_err(|e| e.to_string())).collect();
    assert_eq!(typed, [Ok("a".to_owned()), Ok("b".to_owned()), Err("the third could not be read".to_owned())]);
}

#[test]
fn bad_input_is_told_before_anything_is_asked() {
    let server = account("111111111111");
    let somebody = Somebody::new("", true);
    let input = Input::from_json(r#"{"since": "yesterday", "items": []}"#).expect("JSON");
    let request = Request { target: target(&server, "eu-west-1"), ..Request::new(&TELLS, input) };
    let (rows, summary) = block_on(finish(request, somebody.clone()));
    assert_eq!((rows, summary.exit_code()), (json!([]), 2));
    assert!(somebody.asked.lock().unwrap().is_empty() && server.operations().is_empty());
}

#[test]
fn a_connection_ends_after_its_limit_of_time_and_reports_its_account() {
    let server = account("111111111111");
    let folder = directory();
    let reported = folder.path().join("report.jsonl");
    let options = RunOptions { timeout: Some("1s".parse().expect("an age")), report: Some(reported.clone()), ..RunOptions::default() };
    block_on(async {
        let connection = Connection::with(target(&server, "us-east-1"), options, Arc::new(Unattended)).await.expect("a connection");
        let since = "1h".parse::<Moment>().expect("an age");
        let output = connection.run(Tells { since, items: vec!["a".into()] }).await.expect("an output");
        assert_eq!(output.results().count().await, 1);
        // It is over without anybody's doing.
        connection.cancellation().cancelled().await;
        assert!(matches!(connection.cancellation().error(), Some(Error::TimedOut)));
    });
    assert_eq!(report(&folder)[0]["account"], "111111111111");
}

#[cfg(feature = "s3")]
#[test]
fn an_action_that_is_run_with_its_own_types_gives_what_became_of_each_item() {
    use aaws::actions::s3::{BucketName, DeleteObjects, ObjectId};
    use aaws::{Items, Status};

    use crate::support::fake_s3::delete_result;

    let server = Server::start(|operation, _, _| match operation {
        "DeleteObjects" => delete_result(&[("a", None), ("b", Some("AccessDenied"))]),
        _ => Response::xml(200, ""),
    });
    let run = async |dry_run: bool| -> Result<Vec<(String, Status, Option<String>)>> {
        let options = RunOptions { dry_run, ..RunOptions::default() };
        let connection = Connection::with(target(&server, "us-east-1"), options, Arc::new(Unattended)).await?;
        let delete = DeleteObjects {
            bucket: BucketName::try_from("b").map_err(Error::input)?,
            objects: Some(Items::<ObjectId>::try_from(["a", "b"]).map_err(Error::input)?),
            ..Default::default()
        };
        let records: Vec<_> = connection.run(delete).await?.records().collect().await;
        records.into_iter().map(|record| record.map(|r| (r.item, r.status, r.code))).collect()
    };
    let planned = block_on(run(true)).expect("a plan");
    assert_eq!(planned.iter().map(|row| row.1).collect::<Vec<_>>(), [Status::Planned, Status::Planned]);
    assert_eq!(server.writes(), [""; 0]);
    let records = block_on(run(false)).expect("records");
    let expected = [("a", Status::Done, None), ("b", Status::Failed, Some("AccessDenied"))];
    assert_eq!(records, expected.map(|(item, status, code)| (item.to_owned(), status, code.map(str::to_owned))));
    // The bucket is required, and left out it is empty: refused before anything is sent.
    let sent = server.operations().len();
    let empty = block_on(async {
        let connection = Connection::open(target(&server, "us-east-1")).await?;
        connection.run(DeleteObjects::default()).await.map(drop)
    });
    assert!(empty.is_err_and(|e| e.kind().exit_code() == 2));
    assert_eq!(server.operations().len(), sent);
}
