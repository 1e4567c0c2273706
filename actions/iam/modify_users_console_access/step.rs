//! What is done of a user's access to the console, and how it is undone.

use std::fmt;

use aaws::{Code, Context, Outcome, Result, Step, async_trait, left_alone};
use serde::{Deserialize, Serialize};

use super::super::changes::{aws_policy, is_missing, patiently};
use super::{MAY_CHANGE, Now, attach, delete, detach};

/// What is undone when a later step fails.
#[derive(Debug, Serialize, Deserialize)]
pub enum ConsoleStep {
    Create {
        user: String,
    },
    Attach {
        user: String,
    },
    /// With a password, or without one. A password does not come back.
    Detach {
        user: String,
        password: bool,
    },
}

impl fmt::Display for ConsoleStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConsoleStep::Create { user } => write!(f, "create a console password for the user `{user}`"),
            ConsoleStep::Attach { user } => write!(f, "attach {MAY_CHANGE} to the user `{user}`"),
            ConsoleStep::Detach { user, password } => {
                let password = if *password { "delete the console password, and " } else { "" };
                write!(f, "{password}detach {MAY_CHANGE} of the user `{user}`")
            }
        }
    }
}

#[async_trait]
impl Step for ConsoleStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let iam = aaws::client!(cx, aws_sdk_iam);
        let undone = match self {
            ConsoleStep::Create { user } => patiently(|| delete(&iam, user)).await,
            ConsoleStep::Attach { user } => {
                let policy = aws_policy(cx, MAY_CHANGE);
                patiently(|| detach(&iam, &policy, user)).await
            }
            ConsoleStep::Detach { user, .. } => {
                let policy = aws_policy(cx, MAY_CHANGE);
                return patiently(|| attach(&iam, &policy, user)).await;
            }
        };
        match undone {
            // The step was noted before it was sent, and never happened.
            Err(e) if is_missing(&e) => Ok(()),
            other => other,
        }
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let iam = aaws::client!(cx, aws_sdk_iam);
        let (ConsoleStep::Create { user } | ConsoleStep::Attach { user } | ConsoleStep::Detach { user, .. }) = self;
        let now = match Now::read(&iam, user, &aws_policy(cx, MAY_CHANGE)).await {
            Ok(Ok(now)) => now,
            Ok(Err(failure)) => return Ok(Some(Outcome::Failed(failure))),
            Err(e) if is_missing(&e) => return Ok(Some(left_alone(format!("the user `{user}` is gone")))),
            Err(e) => return Err(e),
        };
        let unchanged = |why: &str| Some(Outcome::Unchanged(why.to_owned()));
        Ok(match self {
            ConsoleStep::Create { .. } if !now.password => unchanged("the user has no console password"),
            ConsoleStep::Attach { .. } if !now.policy => unchanged("IAMUserChangePassword is not attached"),
            ConsoleStep::Detach { .. } if now.policy => unchanged("IAMUserChangePassword is attached"),
            ConsoleStep::Detach { .. } if now.password => Some(left_alone("the user was given a console password since")),
            _ => None,
        })
    }

    async fn revert(&self, cx: &Context) -> Result<Outcome> {
        self.undo(cx).await?;
        Ok(match self {
            ConsoleStep::Detach { password: true, .. } => {
                Outcome::skipped_as(Code::Irreversible, format!("{MAY_CHANGE} is attached again; {GONE}"))
            }
            _ => Outcome::done(()),
        })
    }

    fn undoing_disrupts(&self) -> bool {
        matches!(self, ConsoleStep::Create { .. })
    }
}

/// What is said of a password that was deleted.
const GONE: &str = "the console password is gone for good: `enable` gives the user a new one";
