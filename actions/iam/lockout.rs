//! Locking a user out, a step at a time: the deny first, then what the user signs in with.

use std::collections::HashMap;

use aaws::{Change, Code, Context, Error, ErrorContext, Failure, ItemResult, Outcome, Record, Result, Status, async_trait};
use aws_sdk_iam::Client;
use aws_sdk_iam::types::StatusType;
use futures::stream::{self, Stream, StreamExt};
use serde_json::{Value, json};

use super::account::attached_policies;
use super::changes::{NO_SUCH_ENTITY, failure, is_missing, not_found_or, per_item};
use super::credentials::{Part, denying, inline_policy, list, put_policy, set_status};
use super::lift::LockStep;
use super::quarantine_user::QuarantineStep;

/// The inline policy that denies everything.
pub const DENY_ALL: &str = "aaws-quarantine-deny-all";

/// The inline policy that ends sessions.
pub const END_SESSIONS: &str = "aaws-quarantine-end-sessions";

/// AWS's own policy that denies everything.
pub const AWS_DENY_ALL: &str = "AWSDenyAll";

/// What denies, as `Now` has it.
pub const INLINE: &str = "inline_policy";
pub const ATTACHED: &str = "attached_policy";
pub const BOUNDARY: &str = "permissions_boundary";

/// What `Before` says of a user without a permissions boundary.
pub const NO_BOUNDARY: &str = "none";

/// Where a step of one user ends: the rows of the steps that came about, and the error that ends the run, if there was one.
#[derive(Default)]
pub struct StageEnd {
    pub rows: Vec<QuarantineStep>,
    pub error: Option<Error>,
    /// Nothing more makes sense.
    pub last: bool,
}

/// Changes items, and makes rows of what became of them: of all that came about, also when an error ends the run.
pub async fn run_steps<C: Change<Done = Done>>(cx: &Context, user: &str, steps: Vec<C::Item>, about: Vec<Done>, change: C) -> StageEnd {
    let mut stage = StageEnd::default();
    // A run that goes on from an earlier one has results of the rest only.
    let mut about: HashMap<String, Done> = steps.iter().map(|step| change.id(step)).zip(about).collect();
    let changed = match cx.change(stream::iter(steps.into_iter().map(Ok)), change).await {
        Ok(changed) => changed,
        Err(e) => return StageEnd { error: Some(e), ..stage },
    };
    let mut results = changed.results();
    while let Some(result) = results.next().await {
        match result {
            Ok(result) => stage.rows.extend(about.remove(&result.record.item).map(|about| row(user, about, result))),
            Err(e) => stage.error = Some(e),
        }
    }
    stage
}

/// Rows as stages bring them, one stage after another, each settled before the next begins. An error comes behind all that was done before it.
pub fn rows<S, F>(stages: impl IntoIterator<Item = S> + Send, run: F) -> impl Stream<Item = Result<QuarantineStep>>
where
    F: AsyncStage<S>,
    S: Send,
{
    let stages: Vec<S> = stages.into_iter().collect();
    let state = (run, stages.into_iter());
    let stages = stream::unfold(state, |(mut run, mut stages)| async move {
        let stage = run.stage(stages.next()?).await;
        let ended = stage.last || stage.error.is_some();
        let items: Vec<_> = stage.rows.into_iter().map(Ok).chain(stage.error.map(Err)).collect();
        let stages = if ended { Vec::new().into_iter() } else { stages };
        Some((stream::iter(items), (run, stages)))
    });
    stages.flatten()
}

/// What does one stage of several.
#[async_trait]
pub trait AsyncStage<S>: Send {
    /// Does it; what came about is said whatever happens.
    async fn stage(&mut self, stage: S) -> StageEnd;
}

/// What a step is about, and what came of it.
#[derive(Debug, Clone)]
pub struct Done {
    pub part: Part,
    /// A credential, or the policy that denies.
    pub id: Option<String>,
    pub before: Option<String>,
    pub now: Option<String>,
}

impl Done {
    pub fn of(part: Part) -> Self {
        Done { part, id: None, before: None, now: None }
    }
}

fn row(user: &str, about: Done, result: ItemResult<Done>) -> QuarantineStep {
    let Record { status, code, message, .. } = result.record;
    let Done { part, id, before, now } = result.done.unwrap_or(about);
    QuarantineStep { user_name: user.to_owned(), step: part, id, status, before, now, code, message }
}

/// One step of a quarantine.
pub enum Step {
    /// There is no such user.
    NoUser { ignored: bool },
    /// Deny everything; what does so already, where that was looked for.
    Deny { in_place: Option<Done> },
    /// End sessions; the instant before which they were ended already.
    Sessions { in_place: Option<String> },
    /// Make a credential inactive.
    Credential { kind: Part, id: String, before: StatusType },
    /// Credentials that could not be listed, so that none of them could be made inactive.
    Unlisted { kind: Part, failure: Failure },
    /// Delete the console password; whether there is one may not be known.
    Password { there: Option<bool> },
}

impl Step {
    fn about(&self) -> Done {
        match self {
            Step::NoUser { .. } => Done::of(Part::User),
            Step::Deny { in_place } => in_place.clone().unwrap_or_else(|| Done::of(Part::Deny)),
            Step::Sessions { in_place } => Done { id: Some(END_SESSIONS.into()), now: in_place.clone(), ..Done::of(Part::Sessions) },
            Step::Credential { kind, id, before } => {
                let status = Some(before.to_string());
                Done { id: Some(id.clone()), before: status.clone(), now: status, ..Done::of(*kind) }
            }
            Step::Unlisted { kind, .. } => Done::of(*kind),
            Step::Password { .. } => Done::of(Part::ConsolePassword),
        }
    }
}

/// What a run of the quarantine goes about.
pub struct Run {
    pub cx: Context,
    pub lockout: Lockout,
    /// Whether everything was denied before this run, so that no session was opened since the last.
    pub denied_before: bool,
}

#[async_trait]
impl AsyncStage<Part> for Run {
    async fn stage(&mut self, part: Part) -> StageEnd {
        match part {
            Part::User => self.run_steps(vec![Step::NoUser { ignored: self.lockout.ignore_not_found }]).await,
            Part::Deny => {
                let in_place = self.lockout.denied().await;
                self.denied_before = in_place.is_some();
                let mut stage = self.run_steps(vec![Step::Deny { in_place }]).await;
                // There is no such user: a failure, or unchanged where that is ignored. What denies already names what denies.
                let gone = |row: &QuarantineStep| {
                    row.code.as_deref() == Some(Code::NotFound.as_str()) || (row.status == Status::Unchanged && row.id.is_none())
                };
                stage.last = stage.rows.iter().any(gone);
                self.lockout.asks = false;
                stage
            }
            Part::Sessions => {
                let in_place = if self.denied_before { self.lockout.sessions_ended().await } else { None };
                self.run_steps(vec![Step::Sessions { in_place }]).await
            }
            Part::ConsolePassword => match self.lockout.has_password().await {
                Ok(there) => self.run_steps(vec![Step::Password { there }]).await,
                Err(e) => StageEnd { error: Some(e), ..StageEnd::default() },
            },
            kind => {
                let found = match list(&self.lockout.iam, &self.lockout.user, kind).await {
                    Ok(found) => found,
                    Err(e) if e.is_fatal() => return StageEnd { error: Some(e), ..StageEnd::default() },
                    Err(e) => return self.run_steps(vec![Step::Unlisted { kind, failure: failure(&e) }]).await,
                };
                self.run_steps(found.into_iter().map(|(id, before)| Step::Credential { kind, id, before }).collect()).await
            }
        }
    }
}

impl Run {
    /// Does steps that may go side by side.
    async fn run_steps(&self, steps: Vec<Step>) -> StageEnd {
        let about = steps.iter().map(Step::about).collect();
        run_steps(&self.cx, &self.lockout.user, steps, about, self.lockout.clone()).await
    }
}

/// The steps of one user.
#[derive(Clone)]
pub struct Lockout {
    pub iam: Client,
    pub user: String,
    /// Sessions opened before this end.
    pub until: String,
    /// The ARN of AWS's own policy that denies everything.
    pub aws_deny_all: String,
    /// The permissions boundary that the user has; none where that is not known.
    pub boundary: Option<Option<String>>,
    pub ignore_not_found: bool,
    /// Whether somebody has to agree still.
    pub asks: bool,
}

#[async_trait]
impl Change for Lockout {
    type Item = Step;
    type Done = Done;

    fn id(&self, step: &Step) -> String {
        let user = &self.user;
        match step {
            Step::NoUser { .. } => user.clone(),
            Step::Deny { .. } => format!("{user}: deny"),
            Step::Sessions { .. } => format!("{user}: sessions"),
            Step::Credential { kind, id, .. } => format!("{user}: {kind} {id}"),
            Step::Unlisted { kind, .. } => format!("{user}: {kind}s"),
            Step::Password { .. } => format!("{user}: console password"),
        }
    }

    /// Its items are parts of one thing, done in stages: half of it is worse than all or nothing.
    fn is_limited(&self) -> bool {
        false
    }

    fn summary(&self) -> String {
        let user = &self.user;
        format!("lock out the user `{user}`: deny everything, end sessions, disable credentials, and delete the console password for good")
    }

    fn plan(&self, step: &Step) -> Option<String> {
        Some(match step {
            Step::Deny { .. } => format!("deny everything with the inline policy {DENY_ALL}"),
            Step::Sessions { .. } => format!("end those opened before {} with the inline policy {END_SESSIONS}", self.until),
            Step::Credential { before, .. } => format!("make it Inactive; it is {before}"),
            Step::NoUser { .. } | Step::Unlisted { .. } => return None,
            Step::Password { there: Some(_) } => "delete it; it cannot be restored".into(),
            Step::Password { there: None } => "delete it if there is one; it cannot be restored".into(),
        })
    }

    fn precheck(&self, step: &Step) -> Option<Outcome<Done>> {
        match step {
            Step::NoUser { ignored } => Some(Outcome::not_found(*ignored, format!("there is no user `{}`", self.user))),
            // Somebody who has to agree agrees to all steps with this one.
            Step::Deny { in_place: Some(done) } if !self.asks => Some(Outcome::Unchanged(said(done))),
            Step::Sessions { in_place: Some(until) } => Some(Outcome::Unchanged(format!("those opened before {until} are ended already"))),
            Step::Credential { before: before @ (StatusType::Inactive | StatusType::Expired), .. } => {
                Some(Outcome::Unchanged(format!("it is {before} already")))
            }
            Step::Unlisted { failure, .. } => {
                Some(not_found_or(failure.clone(), self.ignore_not_found, format!("there is no user `{}`", self.user)))
            }
            Step::Password { there: Some(false) } => Some(Outcome::Unchanged("the user has none".into())),
            _ => None,
        }
    }

    fn disrupts(&self) -> bool {
        self.asks
    }

    fn state(&self, step: &Step) -> Option<Value> {
        match step {
            Step::Credential { before, .. } => Some(json!({ "status": before.as_str() })),
            Step::Password { there } => Some(json!({ "password": there })),
            // Denying what is denied already is no harm: only that it was so is bound.
            Step::Deny { in_place } => in_place.as_ref().map(|done| json!({ "denied_by": done.now })),
            Step::NoUser { .. } | Step::Sessions { .. } | Step::Unlisted { .. } => None,
        }
    }

    /// A user with one key that still works is not locked out.
    fn wants_all(&self) -> bool {
        true
    }

    async fn apply(&self, cx: &Context, steps: &[Step]) -> Result<Vec<Outcome<Done>>> {
        let mut outcomes = Vec::with_capacity(steps.len());
        for step in steps {
            outcomes.push(self.step(cx, step).await?);
        }
        Ok(outcomes)
    }
}

/// What denies everything, in words.
fn said(done: &Done) -> String {
    let id = done.id.as_deref().unwrap_or_default();
    match done.now.as_deref() {
        Some(INLINE) => format!("the inline policy {id} denies everything"),
        Some(ATTACHED) => format!("the attached policy {AWS_DENY_ALL} denies everything"),
        _ => format!("the permissions boundary {AWS_DENY_ALL} denies everything"),
    }
}

impl Lockout {
    fn denying(&self, id: &str, now: &str) -> Done {
        Done { id: Some(id.to_owned()), now: Some(now.to_owned()), ..Done::of(Part::Deny) }
    }

    /// What denies everything already. What cannot be looked at is taken not to: it is denied once more.
    async fn denied(&self) -> Option<Done> {
        let (inline, attached) = futures::join!(inline_policy(&self.iam, &self.user, DENY_ALL), attached_policies(&self.iam, &self.user));
        if inline.is_ok_and(|document| document == denying(None)) {
            return Some(self.denying(DENY_ALL, INLINE));
        }
        if attached.is_ok_and(|arns| arns.contains(&self.aws_deny_all)) {
            return Some(self.denying(&self.aws_deny_all, ATTACHED));
        }
        (self.boundary.as_ref()?.as_ref() == Some(&self.aws_deny_all)).then(|| self.denying(&self.aws_deny_all, BOUNDARY))
    }

    /// The instant before which sessions are ended already.
    async fn sessions_ended(&self) -> Option<String> {
        let document = inline_policy(&self.iam, &self.user, END_SESSIONS).await.ok()?;
        let until = document["Statement"][0]["Condition"]["DateLessThan"]["aws:TokenIssueTime"].as_str()?.to_owned();
        (document == ending(&until)).then_some(until)
    }

    /// Notes what is about to be done, for who undoes it.
    async fn note(&self, cx: &Context, step: &Step, done: &Done) -> Result<()> {
        let Done { part, id, before, now } = done.clone();
        let row =
            QuarantineStep { user_name: self.user.clone(), step: part, id, status: Status::Done, before, now, code: None, message: None };
        cx.note(&self.id(step), &LockStep(row)).await.map(drop)
    }

    async fn step(&self, cx: &Context, step: &Step) -> Result<Outcome<Done>> {
        let about = step.about();
        match step {
            Step::NoUser { ignored } => Ok(Outcome::not_found(*ignored, format!("there is no user `{}`", self.user))),
            Step::Deny { in_place: Some(done) } => Ok(Outcome::Unchanged(said(done))),
            Step::Deny { in_place: None } => self.deny(cx, step).await,
            Step::Sessions { .. } => {
                let done = Done { now: Some(self.until.clone()), ..about };
                self.note(cx, step, &done).await?;
                Ok(match per_item(put_policy(&self.iam, &self.user, END_SESSIONS, &ending(&self.until)).await)? {
                    Ok(()) => Outcome::Done(done, Some(format!("opened before {}: ended", self.until))),
                    Err(failure) => {
                        Outcome::Failed(failure.with_note("what denies everything holds for sessions too, as long as it is there"))
                    }
                })
            }
            Step::Credential { kind, id, .. } => {
                let inactive = StatusType::Inactive;
                let done = Done { now: Some(inactive.to_string()), ..about };
                self.note(cx, step, &done).await?;
                Ok(match per_item(set_status(&self.iam, &self.user, *kind, id, inactive.clone()).await)? {
                    Ok(()) => Outcome::Done(done, Some(inactive.to_string())),
                    Err(failure) => Outcome::Failed(failure),
                })
            }
            Step::Unlisted { failure, .. } => Ok(Outcome::Failed(failure.clone())),
            Step::Password { there } => {
                self.note(cx, step, &Done { now: Some("deleted".into()), ..about.clone() }).await?;
                let answer = self.iam.delete_login_profile().user_name(&self.user).send().await;
                match answer.context(|| format!("delete the console password of the user `{}`", self.user)) {
                    Ok(_) => Ok(Outcome::Done(Done { now: Some("deleted".into()), ..about }, Some("deleted".into()))),
                    // It was there a moment ago: the answer to a first try was lost, or somebody else deleted it.
                    Err(e) if is_missing(&e) && *there == Some(true) => {
                        Ok(Outcome::Done(Done { now: Some("deleted".into()), ..about }, Some("gone".into())))
                    }
                    Err(e) if is_missing(&e) => Ok(Outcome::Unchanged("the user has none".into())),
                    Err(e) if e.is_fatal() => Err(e),
                    Err(e) => Ok(Outcome::Failed(failure(&e))),
                }
            }
        }
    }

    /// Whatever keeps one way from working, the next is tried, and what was refused is said. All three deny the same: everything.
    async fn deny(&self, cx: &Context, step: &Step) -> Result<Outcome<Done>> {
        let mut refused = String::new();
        self.note(cx, step, &self.denying(DENY_ALL, INLINE)).await?;
        match per_item(put_policy(&self.iam, &self.user, DENY_ALL, &denying(None)).await)? {
            Ok(()) => {
                let done = self.denying(DENY_ALL, INLINE);
                let said = said(&done);
                return Ok(Outcome::Done(done, Some(said)));
            }
            Err(f) if f.code == NO_SUCH_ENTITY => {
                return Ok(not_found_or(f, self.ignore_not_found, format!("there is no user `{}`", self.user)));
            }
            Err(f) => refused.push_str(&self.refused("PutUserPolicy", &f)),
        }
        let arn = &self.aws_deny_all;
        self.note(cx, step, &self.denying(arn, ATTACHED)).await?;
        let attached = self.iam.attach_user_policy().user_name(&self.user).policy_arn(arn).send().await;
        match per_item(attached.context(|| format!("attach {AWS_DENY_ALL} to the user `{}`", self.user)))? {
            Ok(_) => {
                let done = self.denying(arn, ATTACHED);
                let said = format!("{}{refused}", said(&done));
                return Ok(Outcome::Done(done, Some(said)));
            }
            Err(f) => refused.push_str(&self.refused("AttachUserPolicy", &f)),
        }
        let before = self.boundary.as_ref().map(|arn| arn.clone().unwrap_or_else(|| NO_BOUNDARY.to_owned()));
        let done = Done { before, ..self.denying(arn, BOUNDARY) };
        self.note(cx, step, &done).await?;
        let bounded = self.iam.put_user_permissions_boundary().user_name(&self.user).permissions_boundary(arn).send().await;
        Ok(match per_item(bounded.context(|| format!("make {AWS_DENY_ALL} the permissions boundary of the user `{}`", self.user)))? {
            Ok(_) => {
                let lost = if done.before.is_none() { "; which boundary there was before is not known" } else { "" };
                let said = format!("{}{lost}{refused}", said(&done));
                Outcome::Done(done, Some(said))
            }
            Err(f) => Outcome::Failed(f.with_note(refused.trim_start_matches("; "))),
        })
    }

    /// What is said of a way to deny that did not work, beside the one that did.
    fn refused(&self, way: &str, failure: &Failure) -> String {
        let Failure { code, message, .. } = failure;
        tracing::warn!("{way} was refused for the user `{}`: {code}: {message}", self.user);
        format!("; {way} was refused: {code}: {message}")
    }

    /// Whether there is a password; not known when that cannot be read, which is no reason to leave one in place.
    async fn has_password(&self) -> Result<Option<bool>> {
        let answer = self.iam.get_login_profile().user_name(&self.user).send().await;
        match answer.context(|| format!("look for a console password of the user `{}`", self.user)) {
            Ok(_) => Ok(Some(true)),
            Err(e) if is_missing(&e) => Ok(Some(false)),
            Err(e) if e.is_fatal() => Err(e),
            Err(e) => {
                tracing::warn!("{e}; it is deleted if there is one");
                Ok(None)
            }
        }
    }
}

/// Denies everything to sessions that were opened before.
pub fn ending(until: &str) -> serde_json::Value {
    denying(Some(json!({ "DateLessThan": { "aws:TokenIssueTime": until } })))
}
