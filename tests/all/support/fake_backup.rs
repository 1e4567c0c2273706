//! AWS Backup's jobs and recovery points, over REST-JSON, and the STS that says whose they are.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::http::{Request, Response, Server};
use super::xml;

/// Whose backups they are.
pub const ACCOUNT: &str = "123456789012";

/// Vaults, jobs and recovery points that are reached over the network.
pub struct FakeBackup {
    pub server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    jobs: Vec<Job>,
    /// By the end of the resource's ARN: the states that its job goes through, one a look; the last one stays.
    courses: Vec<(String, Vec<(&'static str, &'static str)>)>,
    points: BTreeMap<String, Point>,
    /// Whether `example-vault` is locked.
    locked: bool,
    /// The points that legal holds keep, each by a hold of its own.
    held: Vec<String>,
    errors: Vec<Mishap>,
    counts: HashMap<&'static str, usize>,
    seen: Vec<&'static str>,
}

struct Job {
    id: String,
    request: Value,
    looks: usize,
}

struct Point {
    fate: Fate,
    /// The looks since its deletion was asked for.
    looks: Option<usize>,
}

/// What becomes of a recovery point that is to be deleted.
#[derive(Clone)]
pub enum Fate {
    /// It is being deleted for so many looks, then it is gone.
    Gone(usize),
    /// AWS Backup may not delete it, and says so in this way.
    Expires(&'static str),
    /// It had expired before, is seen so once more, and is then being deleted for one look.
    HadExpired,
    /// Nothing becomes of it.
    Stays,
    /// Deleting it is refused with this code and message.
    Refused(&'static str, &'static str),
    /// It is being deleted already, which is why deleting it is refused; gone after so many looks.
    Underway(usize),
}

struct Mishap {
    operation: &'static str,
    nth: usize,
    status: u16,
    code: &'static str,
    message: &'static str,
    /// The request is carried out; only its answer goes wrong.
    after: bool,
}

impl FakeBackup {
    /// The vaults `Default` and `example-vault`, empty. Jobs complete at the first look.
    pub fn new() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let served = Arc::clone(&state);
        let server = Server::start(move |_, _, request| served.lock().unwrap().answer(&request));
        Self { server, state }
    }

    /// The states, with their messages, that the job of a resource goes through, one a look; the last one stays.
    pub fn job(self, resource: &str, course: &[(&'static str, &'static str)]) -> Self {
        self.state.lock().unwrap().courses.push((resource.to_owned(), course.to_vec()));
        self
    }

    /// A recovery point in the vault `example-vault`.
    pub fn point(self, arn: &str, fate: Fate) -> Self {
        self.state.lock().unwrap().points.insert(arn.to_owned(), Point { looks: matches!(fate, Fate::Underway(_)).then_some(0), fate });
        self
    }

    /// Puts a recovery point into `example-vault`, in the place of one that is there, or takes it away.
    pub fn set_point(&self, arn: &str, fate: Option<Fate>) {
        let mut state = self.state.lock().unwrap();
        match fate {
            Some(fate) => drop(state.points.insert(arn.to_owned(), Point { fate, looks: None })),
            None => drop(state.points.remove(arn)),
        }
    }

    /// The vault `example-vault` is locked.
    pub fn locked(self) -> Self {
        self.state.lock().unwrap().locked = true;
        self
    }

    /// A legal hold keeps this point.
    pub fn held(self, arn: &str) -> Self {
        self.state.lock().unwrap().held.push(arn.to_owned());
        self
    }

    /// Answers the `nth` request of an operation, or all for 0, with an error, without carrying it out.
    pub fn fail(self, operation: &'static str, nth: usize, status: u16, code: &'static str, message: &'static str) -> Self {
        self.state.lock().unwrap().errors.push(Mishap { operation, nth, status, code, message, after: false });
        self
    }

    /// Carries out the `nth` request of an operation, and loses the answer.
    pub fn lose_answer(self, operation: &'static str, nth: usize) -> Self {
        let mishap = Mishap { operation, nth, status: 500, code: "InternalFailure", message: "lost", after: true };
        self.state.lock().unwrap().errors.push(mishap);
        self
    }

    /// The requests that started jobs, each once however often it was sent.
    pub fn started(&self) -> Vec<Value> {
        self.state.lock().unwrap().jobs.iter().map(|job| job.request.clone()).collect()
    }

    /// The recovery points that are left.
    pub fn points(&self) -> Vec<String> {
        self.state.lock().unwrap().points.keys().cloned().collect()
    }

    /// Every operation asked for, in the order it came.
    pub fn operations(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().seen.clone()
    }

    pub fn count(&self, operation: &str) -> usize {
        self.operations().iter().filter(|name| **name == operation).count()
    }

    /// The operations asked for that change something.
    pub fn writes(&self) -> Vec<&'static str> {
        self.operations().into_iter().filter(|name| matches!(*name, "StartBackupJob" | "DeleteRecoveryPoint")).collect()
    }
}

fn reply(status: u16, body: &Value) -> Response {
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    Response { status, headers, body: body.to_string().into_bytes() }
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let mut reply = reply(status, &json!({"Code": code, "Message": message}));
    reply.headers.push(("X-Amzn-Errortype".to_owned(), code.to_owned()));
    reply.headers.push(("x-amzn-requestid".to_owned(), format!("REQ-{code}")));
    reply
}

fn not_found(what: &str) -> Response {
    error(400, "ResourceNotFoundException", &format!("{what} does not exist"))
}

impl State {
    fn answer(&mut self, request: &Request) -> Response {
        let path = request.target.split('?').next().unwrap_or_default();
        let parts: Vec<String> = path.trim_matches('/').split('/').map(xml::percent_decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let operation = match (request.method.as_str(), parts.as_slice()) {
            ("PUT", ["backup-jobs"]) => "StartBackupJob",
            ("GET", ["backup-jobs", _]) => "DescribeBackupJob",
            ("GET", ["backup-vaults", _]) => "DescribeBackupVault",
            ("DELETE", ["backup-vaults", _, "recovery-points", _]) => "DeleteRecoveryPoint",
            ("GET", ["backup-vaults", _, "recovery-points", _]) => "DescribeRecoveryPoint",
            ("GET", ["legal-holds"]) => "ListLegalHolds",
            ("GET", ["legal-holds", _, "recovery-points"]) => "ListRecoveryPointsByLegalHold",
            _ if request.text().contains("Action=GetCallerIdentity") => "GetCallerIdentity",
            _ => "Unknown",
        };
        self.seen.push(operation);
        let count = self.counts.entry(operation).or_default();
        *count += 1;
        let n = *count;
        let mishap = self.errors.iter().find(|m| m.operation == operation && (m.nth == 0 || m.nth == n));
        let spoiled = mishap.map(|m| (error(m.status, m.code, m.message), m.after));
        if let Some((spoiled, false)) = spoiled {
            return spoiled;
        }
        let answer = match (operation, parts.as_slice()) {
            ("StartBackupJob", _) => self.start(&request.text()),
            ("DescribeBackupJob", [_, id]) => self.look_at_job(id),
            // AWS answers for a vault that does not exist as if it were somebody else's.
            ("DescribeBackupVault", [_, vault]) if !is_vault(vault) => error(403, "AccessDeniedException", "Insufficient privileges"),
            ("DescribeBackupVault", [_, vault]) => {
                reply(200, &json!({"BackupVaultName": vault, "Locked": self.locked && *vault == "example-vault"}))
            }
            ("ListLegalHolds", _) => self.list_holds(request),
            ("ListRecoveryPointsByLegalHold", [_, id, _]) => self.list_held(id),
            ("DeleteRecoveryPoint", [_, vault, _, arn]) => self.delete(vault, arn),
            ("DescribeRecoveryPoint", [_, vault, _, arn]) => self.look_at_point(vault, arn),
            ("GetCallerIdentity", _) => Response::xml(
                200,
                format!(
                    "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
                     <Arn>arn:aws:iam::{ACCOUNT}:user/tester</Arn><UserId>AIDATESTER</UserId><Account>{ACCOUNT}</Account>\
                     </GetCallerIdentityResult></GetCallerIdentityResponse>"
                ),
            ),
            _ => error(404, "UnknownOperationException", "not known here"),
        };
        spoiled.map_or(answer, |(spoiled, _)| spoiled)
    }

    fn start(&mut self, body: &str) -> Response {
        let request: Value = serde_json::from_str(body).expect("the body is JSON");
        if !request["BackupVaultName"].as_str().is_some_and(is_vault) {
            return not_found("the vault");
        }
        // A token that was seen starts nothing: its job is given again.
        let token = &request["IdempotencyToken"];
        let job = match self.jobs.iter().find(|job| !token.is_null() && job.request["IdempotencyToken"] == *token) {
            Some(job) => job,
            None => {
                let id = format!("JOB-{:04}", self.jobs.len() + 1);
                self.jobs.push(Job { id, request, looks: 0 });
                self.jobs.last().expect("a job")
            }
        };
        reply(200, &json!({"BackupJobId": job.id, "CreationDate": 1_700_000_000, "IsParent": false}))
    }

    fn look_at_job(&mut self, id: &str) -> Response {
        let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) else { return not_found("the job") };
        let arn = job.request["ResourceArn"].as_str().unwrap_or_default();
        let course = self.courses.iter().find(|(end, _)| arn.ends_with(end)).map_or(vec![("COMPLETED", "")], |(_, course)| course.clone());
        let (state, message) = course[job.looks.min(course.len() - 1)];
        job.looks += 1;
        let mut seen = json!({"BackupJobId": id, "State": state, "ResourceArn": arn, "PercentDone": "50.0"});
        if !message.is_empty() {
            seen["StatusMessage"] = message.into();
            seen["MessageCategory"] = "TEST".into();
        }
        if state == "COMPLETED" || state == "PARTIAL" {
            let point = format!("arn:aws:backup:us-east-1:{ACCOUNT}:recovery-point:{id}");
            seen["RecoveryPointArn"] = point.as_str().into();
            self.points.entry(point).or_insert(Point { fate: Fate::Gone(0), looks: None });
        }
        reply(200, &seen)
    }

    /// One hold a page; the first is over.
    fn list_holds(&self, request: &Request) -> Response {
        let at: usize = request.query("nextToken").map_or(0, |token| token.parse().expect("a token of ours"));
        let (id, status) = if at == 0 { ("HOLD-0".to_owned(), "CANCELED") } else { (format!("HOLD-{at}"), "ACTIVE") };
        let mut page = json!({"LegalHolds": [{"LegalHoldId": id, "Title": "of the test", "Status": status}]});
        if at < self.held.len() {
            page["NextToken"] = (at + 1).to_string().into();
        }
        reply(200, &page)
    }

    fn list_held(&self, id: &str) -> Response {
        let at = id.strip_prefix("HOLD-").and_then(|n| n.parse::<usize>().ok()).and_then(|n| n.checked_sub(1));
        let Some(arn) = at.and_then(|at| self.held.get(at)) else { return not_found("the legal hold") };
        let elsewhere = json!({"RecoveryPointArn": arn, "BackupVaultName": "another-vault"});
        let here = json!({"RecoveryPointArn": arn, "BackupVaultName": "example-vault", "ResourceType": "EC2"});
        reply(200, &json!({"RecoveryPoints": [elsewhere, here]}))
    }

    fn delete(&mut self, vault: &str, arn: &str) -> Response {
        let Some(point) = self.points.get_mut(arn).filter(|_| is_vault(vault)) else { return not_found("the recovery point") };
        match point.fate {
            Fate::Refused(code, message) => return error(400, code, message),
            Fate::Underway(_) => return error(400, "InvalidResourceStateException", "AWS Backup is already at it"),
            _ if self.locked => {
                return error(400, "InvalidRequestException", "Recovery point cannot be deleted: the vault has a vault lock");
            }
            _ if self.held.iter().any(|held| held == arn) => return error(400, "InvalidRequestException", "It is under a legal hold"),
            _ => point.looks = Some(0),
        }
        Response { status: 200, headers: Vec::new(), body: Vec::new() }
    }

    fn look_at_point(&mut self, vault: &str, arn: &str) -> Response {
        let Some(point) = self.points.get_mut(arn).filter(|_| is_vault(vault)) else { return not_found("the recovery point") };
        let looks = point.looks.map(|looks| looks + 1);
        point.looks = looks;
        let (status, message) = match (&point.fate, looks) {
            (Fate::Gone(after) | Fate::Underway(after), Some(looks)) if looks > *after => {
                self.points.remove(arn);
                return not_found("the recovery point");
            }
            (Fate::Gone(_) | Fate::Underway(_), Some(_)) => ("DELETING", ""),
            (Fate::Expires(message), Some(_)) => ("EXPIRED", *message),
            (Fate::HadExpired, Some(2)) => ("DELETING", ""),
            (Fate::HadExpired, Some(3..)) => {
                self.points.remove(arn);
                return not_found("the recovery point");
            }
            (Fate::HadExpired, _) => ("EXPIRED", "from an earlier try"),
            _ => ("COMPLETED", ""),
        };
        let resource = format!("arn:aws:ec2:us-east-1:{ACCOUNT}:instance/i-0123456789abcdef0");
        reply(
            200,
            &json!({"RecoveryPointArn": arn, "BackupVaultName": vault, "ResourceArn": resource, "Status": status, "StatusMessage": message}),
        )
    }
}

fn is_vault(name: &str) -> bool {
    matches!(name, "Default" | "example-vault")
}
