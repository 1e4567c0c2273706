//! Undoing what an earlier run of a quarantine says that it did.

use std::collections::{HashMap, HashSet};
use std::fmt;

use aaws::{Change, Code, Context, Error, ErrorContext, Failure, Outcome, Result, Step, async_trait, left_alone};
use aws_sdk_iam::Client;
use aws_sdk_iam::types::StatusType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::changes::{aws_policy, is_missing, not_found_or, per_item};
use super::credentials::{Part, boundary, denying, inline_policy, list, set_status};
use super::lockout::{
    ATTACHED, AWS_DENY_ALL, AsyncStage, BOUNDARY, DENY_ALL, Done, END_SESSIONS, INLINE, NO_BOUNDARY, StageEnd, ending, run_steps,
};
use super::quarantine_user::QuarantineStep;

/// What is undone together: the steps of one user that may go side by side.
pub type Stage = Vec<QuarantineStep>;

/// The steps that were done, user by user, the last first: the deny goes when all else is as it was. A step that is given twice is undone once.
pub fn stages(rows: Vec<QuarantineStep>) -> Vec<Stage> {
    let mut seen = HashSet::new();
    // A permissions boundary and an attached policy may both be AWSDenyAll: which of the ways it is, is part of the step.
    let way = |row: &QuarantineStep| row.now.clone().filter(|_| row.step == Part::Deny);
    let same = |row: &QuarantineStep| (row.user_name.clone(), row.step, row.id.clone(), way(row));
    let done: Vec<_> = rows.into_iter().filter(|row| row.was_done() && seen.insert(same(row))).collect();
    let mut users: Vec<&str> = Vec::new();
    for row in &done {
        if !users.contains(&row.user_name.as_str()) {
            users.push(&row.user_name);
        }
    }
    let of = |user: &str, fits: fn(Part) -> bool| -> Stage {
        done.iter().rev().filter(|row| row.user_name == user && fits(row.step)).cloned().collect()
    };
    let credentials: fn(Part) -> bool = |part| !matches!(part, Part::Deny | Part::Sessions);
    let stages =
        users.into_iter().flat_map(|user| [of(user, credentials), of(user, |p| p == Part::Sessions), of(user, |p| p == Part::Deny)]);
    stages.filter(|stage| !stage.is_empty()).collect()
}

/// What a run that lifts a quarantine goes about.
pub struct Lift {
    pub cx: Context,
    pub iam: Client,
    /// The ARN of AWS's own policy that denies everything.
    pub aws_deny_all: String,
    pub ignore_not_found: bool,
}

#[async_trait]
impl AsyncStage<Stage> for Lift {
    async fn stage(&mut self, rows: Stage) -> StageEnd {
        let Some(user) = rows.first().map(|row| row.user_name.clone()) else { return StageEnd::default() };
        match self.undoing(&user, &rows).await {
            Ok((change, statuses)) => {
                let about = rows.iter().map(about).collect();
                let items = rows.into_iter().map(|row| change.item(row, &statuses)).collect();
                run_steps(&self.cx, &user, items, about, change).await
            }
            Err(e) => StageEnd { error: Some(e), ..StageEnd::default() },
        }
    }
}

/// The statuses of the credentials of the kinds that could be listed.
type Statuses = HashMap<Part, HashMap<String, StatusType>>;

impl Lift {
    /// How the user stands now. What cannot be looked at is tried all the same, but for a permissions boundary.
    async fn undoing(&self, user: &str, rows: &[QuarantineStep]) -> Result<(Undoing, Statuses)> {
        let mut undoing = Undoing {
            iam: self.iam.clone(),
            user: user.to_owned(),
            aws_deny_all: self.aws_deny_all.clone(),
            boundary: None,
            gone: false,
            ignore_not_found: self.ignore_not_found,
        };
        match boundary(&self.iam, user).await {
            Ok(arn) => undoing.boundary = Some(arn),
            Err(e) if is_missing(&e) => undoing.gone = true,
            Err(e) if e.is_fatal() => return Err(e),
            Err(e) => tracing::warn!("{e}"),
        }
        let mut statuses = Statuses::new();
        let kinds = [Part::AccessKey, Part::ServiceCredential, Part::SshKey, Part::SigningCertificate];
        for kind in kinds.into_iter().filter(|kind| !undoing.gone && rows.iter().any(|row| row.step == *kind)) {
            match list(&self.iam, user, kind).await {
                Ok(found) => drop(statuses.insert(kind, found.into_iter().collect())),
                Err(e) if e.is_fatal() => return Err(e),
                Err(e) => tracing::warn!("{e}"),
            }
        }
        Ok((undoing, statuses))
    }
}

/// What a row is about when nothing comes of it.
fn about(row: &QuarantineStep) -> Done {
    Done { part: row.step, id: row.id.clone(), before: None, now: None }
}

/// A step to undo, and the status of its credential now.
struct Undone {
    row: QuarantineStep,
    status: Status,
}

/// How a credential stands.
#[derive(Clone, PartialEq)]
enum Status {
    NotKnown,
    Gone,
    Is(StatusType),
}

/// The steps of one user.
struct Undoing {
    iam: Client,
    user: String,
    aws_deny_all: String,
    /// The permissions boundary of the user; none where that could not be read.
    boundary: Option<Option<String>>,
    /// There is no such user.
    gone: bool,
    ignore_not_found: bool,
}

impl Undoing {
    fn item(&self, row: QuarantineStep, statuses: &Statuses) -> Undone {
        let status = match statuses.get(&row.step) {
            None => Status::NotKnown,
            Some(all) => row.id.as_ref().and_then(|id| all.get(id)).map_or(Status::Gone, |status| Status::Is(status.clone())),
        };
        Undone { row, status }
    }

    fn not_found(&self, what: String) -> Outcome<Done> {
        Outcome::not_found(self.ignore_not_found, what)
    }
}

#[async_trait]
impl Change for Undoing {
    type Item = Undone;
    type Done = Done;

    fn id(&self, step: &Undone) -> String {
        let (user, part) = (&self.user, step.row.step);
        match &step.row.id {
            Some(id) if part.has_status() => format!("{user}: {part} {id}"),
            _ => format!("{user}: {part}"),
        }
    }

    /// Its items are parts of one thing, done in stages: half of it is worse than all or nothing.
    fn is_limited(&self) -> bool {
        false
    }

    fn summary(&self) -> String {
        format!("lift the quarantine of the user `{}`", self.user)
    }

    fn plan(&self, step: &Undone) -> Option<String> {
        Some(match (step.row.step, step.row.now.as_deref()) {
            (Part::Sessions, _) => format!("delete the inline policy {END_SESSIONS}"),
            (Part::Deny, Some(INLINE)) => format!("delete the inline policy {DENY_ALL}"),
            (Part::Deny, Some(ATTACHED)) => format!("detach {AWS_DENY_ALL}"),
            (Part::Deny, _) => "put the permissions boundary back that there was".into(),
            _ => "make it Active again".into(),
        })
    }

    fn precheck(&self, step: &Undone) -> Option<Outcome<Done>> {
        let row = &step.row;
        if self.gone {
            return Some(self.not_found(format!("there is no user `{}`", self.user)));
        }
        match row.step {
            Part::User => Some(Outcome::Unchanged("there is nothing to undo".into())),
            Part::ConsolePassword => {
                let why = "a deleted password cannot be brought back; `modify_users_console_access` gives the user a new one";
                Some(Outcome::skipped(why))
            }
            Part::Deny if row.now.as_deref() == Some(BOUNDARY) => match &self.boundary {
                None => Some(unchecked("the permissions boundary of the user could not be read")),
                Some(arn) if arn.as_ref() != Some(&self.aws_deny_all) => {
                    Some(Outcome::Unchanged(format!("{AWS_DENY_ALL} is not the permissions boundary of the user")))
                }
                Some(_) if row.before.is_none() => Some(unchecked("which permissions boundary there was before is not known")),
                Some(_) => None,
            },
            part if part.has_status() => match (&step.status, row.before.as_deref()) {
                (_, before) if before != Some("Active") => Some(Outcome::Unchanged("it was not Active before".into())),
                (Status::Is(StatusType::Active), _) => Some(Outcome::Unchanged("it is Active already".into())),
                (Status::Gone, _) => Some(self.not_found(format!("the user `{}` has no such {part}", self.user))),
                _ => None,
            },
            _ => None,
        }
    }

    fn disrupts(&self) -> bool {
        false
    }

    fn state(&self, step: &Undone) -> Option<Value> {
        match &step.status {
            Status::Is(status) => Some(json!({ "status": status.as_str() })),
            Status::NotKnown | Status::Gone => None,
        }
    }

    /// Each row of what is undone has a row of its own.
    fn wants_all(&self) -> bool {
        true
    }

    async fn apply(&self, _: &Context, steps: &[Undone]) -> Result<Vec<Outcome<Done>>> {
        let mut outcomes = Vec::with_capacity(steps.len());
        for step in steps {
            outcomes.push(self.undo(&step.row).await?);
        }
        Ok(outcomes)
    }
}

fn unchecked(why: &str) -> Outcome<Done> {
    Outcome::Failed(Failure::permanent(Code::Unchecked, why))
}

impl Undoing {
    async fn undo(&self, row: &QuarantineStep) -> Result<Outcome<Done>> {
        let (undone, said, now) = match (row.step, row.now.as_deref()) {
            (Part::Sessions, _) => (self.delete(END_SESSIONS).await, format!("deleted the inline policy {END_SESSIONS}"), None),
            (Part::Deny, Some(INLINE)) => (self.delete(DENY_ALL).await, format!("deleted the inline policy {DENY_ALL}"), None),
            (Part::Deny, Some(ATTACHED)) => (self.detach().await, format!("detached {AWS_DENY_ALL}"), None),
            (Part::Deny, _) => {
                let before = row.before.as_deref().unwrap_or(NO_BOUNDARY);
                (self.bound(before).await, format!("the permissions boundary is what it was: {before}"), Some(before.to_owned()))
            }
            _ => {
                let id = row.id.as_deref().unwrap_or_default();
                let active = StatusType::Active;
                match per_item(set_status(&self.iam, &self.user, row.step, id, active.clone()).await)? {
                    Ok(()) => (Ok(()), active.to_string(), Some(active.to_string())),
                    Err(f) => {
                        return Ok(not_found_or(f, self.ignore_not_found, format!("the user `{}` has no such {}", self.user, row.step)));
                    }
                }
            }
        };
        match undone {
            // The user is there: it is the policy that is not.
            Err(e) if is_missing(&e) => Ok(Outcome::Unchanged("it is not there any more".into())),
            undone => Ok(match per_item(undone)? {
                Ok(()) => Outcome::Done(Done { before: row.now.clone(), now, ..about(row) }, Some(said)),
                Err(failure) => Outcome::Failed(failure),
            }),
        }
    }

    async fn delete(&self, policy: &str) -> Result<(), Error> {
        let answer = self.iam.delete_user_policy().user_name(&self.user).policy_name(policy).send().await;
        answer.context(|| format!("delete the inline policy {policy} of the user `{}`", self.user)).map(drop)
    }

    async fn detach(&self) -> Result<(), Error> {
        let answer = self.iam.detach_user_policy().user_name(&self.user).policy_arn(&self.aws_deny_all).send().await;
        answer.context(|| format!("detach {AWS_DENY_ALL} from the user `{}`", self.user)).map(drop)
    }

    async fn bound(&self, before: &str) -> Result<(), Error> {
        let attempted = || format!("put the permissions boundary of the user `{}` back", self.user);
        if before == NO_BOUNDARY {
            self.iam.delete_user_permissions_boundary().user_name(&self.user).send().await.context(attempted).map(drop)
        } else {
            let request = self.iam.put_user_permissions_boundary().user_name(&self.user).permissions_boundary(before);
            request.send().await.context(attempted).map(drop)
        }
    }
}

/// A step of a quarantine as the journal has it: the row that says that it was done.
#[derive(Debug, Serialize, Deserialize)]
pub struct LockStep(pub QuarantineStep);

impl fmt::Display for LockStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QuarantineStep { user_name, step, id, .. } = &self.0;
        let id = id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        write!(f, "lock out the user `{user_name}`: {step}{id}")
    }
}

impl LockStep {
    /// How the user stands now, and the step to undo.
    async fn undoing(&self, cx: &Context) -> Result<(Undoing, Undone)> {
        let (iam, aws_deny_all) = (aaws::client!(cx, aws_sdk_iam), aws_policy(cx, AWS_DENY_ALL));
        let lift = Lift { cx: cx.clone(), iam, aws_deny_all, ignore_not_found: true };
        let (undoing, statuses) = lift.undoing(&self.0.user_name, std::slice::from_ref(&self.0)).await?;
        let undone = undoing.item(self.0.clone(), &statuses);
        Ok((undoing, undone))
    }

    /// The inline policy that this step put, and what it said.
    fn policy(&self) -> Option<(&'static str, serde_json::Value)> {
        match (self.0.step, self.0.now.as_deref()) {
            (Part::Deny, Some(INLINE)) => Some((DENY_ALL, denying(None))),
            (Part::Sessions, Some(until)) => Some((END_SESSIONS, ending(until))),
            _ => None,
        }
    }
}

#[async_trait]
impl Step for LockStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let (undoing, undone) = self.undoing(cx).await?;
        match undoing.undo(&undone.row).await? {
            Outcome::Failed(failure) => Err(Error::Failed(format!("{}: {}", failure.code, failure.message))),
            _ => Ok(()),
        }
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let (undoing, undone) = self.undoing(cx).await?;
        if let Some(outcome) = undoing.precheck(&undone) {
            return Ok(Some(outcome.map(drop)));
        }
        let Some((name, put)) = self.policy() else { return Ok(None) };
        match inline_policy(&undoing.iam, &self.0.user_name, name).await {
            Ok(document) if document == put => Ok(None),
            Ok(_) => Ok(Some(left_alone(format!("the inline policy {name} was changed since")))),
            Err(e) if is_missing(&e) => Ok(Some(Outcome::Unchanged(format!("there is no inline policy {name}")))),
            Err(e) => Err(e),
        }
    }

    async fn revert(&self, cx: &Context) -> Result<Outcome> {
        let (undoing, undone) = self.undoing(cx).await?;
        Ok(undoing.undo(&undone.row).await?.map(drop))
    }

    fn is_undone_last(&self) -> bool {
        matches!(self.0.step, Part::Deny | Part::Sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_deny_is_undone_though_both_have_the_arn_of_one_policy() {
        let arn = Some("arn:aws:iam::aws:policy/AWSDenyAll".to_owned());
        let row = |now: &str| QuarantineStep {
            user_name: "alice".into(),
            step: Part::Deny,
            id: arn.clone(),
            status: aaws::Status::Done,
            before: None,
            now: Some(now.into()),
            code: None,
            message: None,
        };
        let stages = stages(vec![row(ATTACHED), row(BOUNDARY), row(ATTACHED)]);
        let ways: Vec<_> = stages.iter().flatten().filter_map(|row| row.now.as_deref()).collect();
        assert_eq!(ways, [BOUNDARY, ATTACHED]);
    }
}
