use std::collections::HashSet;

use aaws::InputError;
use aaws::{
    Action, Call, Code, Context, Effect, Error, ErrorContext, Example, FailedItems, Failure, Grant, Items, Meta, Outcome, Result,
    Reversible, Rule, Secret, Steps, Undo, When, async_trait,
};
use aws_sdk_iam::Client;
use aws_sdk_iam::config::retry::RetryConfig;
use futures::stream::{self, TryStreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::account::attached_policies;
use super::changes::{
    Members, NO_SUCH_ENTITY, aws_policy, failure, is_missing, look_up, not_a_user, not_found_or, per_item, users, veiled,
};

mod step;

use step::ConsoleStep;

/// Why nothing is done for a user who does not exist.
const NO_USER: &str = "there is no such user";

/// Lets a user change the own password, and nothing else.
const MAY_CHANGE: &str = "IAMUserChangePassword";

/// Create or delete the console passwords of IAM users.
///
/// With `enable`, each user gets a password, which has to be changed at the first sign-in, and the policy `IAMUserChangePassword`, which allows
/// that. A password need not stand on the command line, where others see it: `--user NAME @FILE`, `--user NAME -` and
/// `--user NAME env:VARIABLE` read it from elsewhere, and on a terminal a password that is not given is asked for. If the policy cannot be
/// attached, the password is deleted again.
///
/// With `disable`, the password is deleted, and the policy detached. A deleted password cannot be restored, nor can one that is replaced: on a
/// terminal somebody is asked first. Users without a password are left alone. A user who does not exist is a failure, unless
/// `ignore_not_found` is given.
///
/// The names of the users that were not changed because something failed are printed. What `discover_no_mfa_users` and the like print can be
/// piped in: `--users - --disable`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModifyUsersConsoleAccess {
    /// Users to change. An empty list changes nothing.
    pub users: Items<ConsoleUser>,
    /// Create a console password for each user.
    #[serde(default)]
    pub enable: bool,
    /// Delete the console password of each user.
    #[serde(default)]
    pub disable: bool,
    /// Make each user change the password at the next sign-in; `false` lets them keep it.
    #[serde(default = "yes")]
    pub require_reset: bool,
    /// Give the password also to users that have one, whose old password is lost, rather than fail for them.
    #[serde(default)]
    pub replace_password: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

impl Default for ModifyUsersConsoleAccess {
    fn default() -> Self {
        let users = Vec::new().into();
        ModifyUsersConsoleAccess {
            users,
            enable: false,
            disable: false,
            require_reset: true,
            replace_password: false,
            ignore_not_found: false,
        }
    }
}

fn yes() -> bool {
    true
}

/// A user, and the password that the user gets.
#[derive(Debug, Clone, Default, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ConsoleUser {
    /// Name of the user.
    pub user_name: String,
    /// Password for the console, for `enable`.
    pub password: Option<Secret>,
}

impl<'de> Deserialize<'de> for ConsoleUser {
    /// Unknown members are let pass: what discovers users puts dates and more beside the name, and is piped in as it stands.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = Members::read(deserializer, "UserName")?;
        Ok(ConsoleUser {
            user_name: members.required::<D::Error>("UserName", "user_name")?,
            password: members.optional::<D::Error>("Password", "password")?.map(Secret::new),
        })
    }
}

const USERS: &[&str] = users!("users.UserName");
const ENABLE: When = When::With(&["enable"]);
const DISABLE: When = When::With(&["disable"]);
/// To undo a step of it because a later one failed.
const UNDO: When = ENABLE;

/// `action` for that one policy only.
const fn policy_only(action: &'static str) -> Grant {
    Grant::new(action, USERS).condition("ArnEquals", "iam:PolicyARN", "arn:${Partition}:iam::aws:policy/IAMUserChangePassword")
}

#[async_trait]
impl Action for ModifyUsersConsoleAccess {
    const META: Meta = Meta {
        path: "iam/modify_users_console_access",
        effect: Effect::Disrupt,
        calls: &[
            Call::read("iam:ListAttachedUserPolicies", &[Grant::new("iam:ListAttachedUserPolicies", USERS)]),
            Call::read("iam:GetLoginProfile", &[Grant::new("iam:GetLoginProfile", USERS)]),
            Call::write("iam:CreateLoginProfile", &[Grant::new("iam:CreateLoginProfile", USERS)]).when(ENABLE),
            Call::write("iam:UpdateLoginProfile", &[Grant::new("iam:UpdateLoginProfile", USERS)]).when(When::With(&["replace_password"])),
            Call::write("iam:AttachUserPolicy", &[policy_only("iam:AttachUserPolicy")]).when(ENABLE),
            Call::write("iam:DeleteLoginProfile", &[Grant::new("iam:DeleteLoginProfile", USERS)]).when(DISABLE),
            Call::write("iam:DetachUserPolicy", &[policy_only("iam:DetachUserPolicy")]).when(DISABLE),
            Call::write("iam:DeleteLoginProfile", &[Grant::new("iam:DeleteLoginProfile", USERS)]).when(UNDO),
            Call::write("iam:DetachUserPolicy", &[policy_only("iam:DetachUserPolicy")]).when(UNDO),
        ],
        rules: &[
            Rule::AtLeastOne(&["enable", "disable"]),
            Rule::AtMostOne(&["enable", "disable"]),
            Rule::Requires("require_reset", "enable"),
            Rule::Requires("replace_password", "enable"),
        ],
        examples: &[Example {
            title: "Delete the console password of `alice`",
            input: r#"{"users": [{"UserName": "alice"}], "disable": true}"#,
            output: "[]",
            given: &["user:alice/console"],
        }],
        notes: &[
            super::GLOBAL,
            "A deleted or replaced password cannot be restored.",
            "Without a password a user cannot sign in to the console; access keys keep working, and so do sessions that are open. \
             `modify_access_keys` disables keys, `quarantine_user` does all of it.",
            "With `enable` each user needs a password before anything is sent: `Password` in the list, or an answer on the terminal. A password in \
             a JSON list is taken as it stands; `@FILE`, `-` and `env:VARIABLE` are read for `--user` only.",
            "A user that has a password already fails with `EntityAlreadyExists`, as the password given would not be the user's; \
             `replace_password` sets it. The old password cannot be put back then.",
            "Shortly after a password was created or changed IAM may answer EntityTemporarilyUnmodifiable to its deletion. That is tried again \
             for some seconds; IAM may want minutes.",
            "A password has to fit the account's password policy: otherwise that user fails with `PasswordPolicyViolation`.",
            "`disable` detaches the policy `IAMUserChangePassword`, whoever attached it: it is of no use without a password.",
            "The root user has no IAM password and fails.",
        ],
    };

    const BINDS: &'static [&'static str] = &["whether the user has a password", "whether the user may change it"];
    const REVERSIBLE: Reversible = Reversible::Partly(
        "`aaws undo` takes away what was created, and attaches `IAMUserChangePassword` again; a password that was deleted or replaced is gone for good.",
    );

    type Output = FailedItems;

    async fn run(self, cx: &Context) -> Result<FailedItems> {
        // IAM has 5,000 users by default: they fit in memory, and all of them are looked at before one is changed.
        let given: Vec<ConsoleUser> = self.users.stream().try_collect().await?;
        let iam = aaws::client!(cx, aws_sdk_iam);
        let policy = aws_policy(cx, MAY_CHANGE);
        let enable = self.enable && !self.disable;
        let wished = if enable { with_passwords(cx, given).await? } else { given.into_iter().map(|u| (u.user_name, None)).collect() };
        let users = look_up(cx, wished, |(name, password)| {
            let (iam, policy) = (iam.clone(), policy.clone());
            async move {
                let now = per_item(Now::read(&iam, &name, &policy).await)?.and_then(|now| now);
                Ok(User { now, name, password, duplicate: false })
            }
        });
        let mut users = users.await?;
        let mut seen = HashSet::new();
        users.iter_mut().for_each(|user| user.duplicate = !seen.insert(user.name.clone()));
        let access = ConsoleAccess {
            iam,
            policy,
            enable,
            require_reset: self.require_reset,
            replace_password: self.replace_password,
            ignore_not_found: self.ignore_not_found,
        };
        Ok(cx.change_in_steps(stream::iter(users.into_iter().map(Ok)), access).await?.failed())
    }
}

aaws::register!(ModifyUsersConsoleAccess, undo = ConsoleStep);

/// A password for every user, asked for where it is missing, before anything is sent.
async fn with_passwords(cx: &Context, users: Vec<ConsoleUser>) -> Result<Vec<(String, Option<Secret>)>> {
    let mut complete = Vec::with_capacity(users.len());
    for (index, user) in users.into_iter().enumerate() {
        let password = match user.password {
            Some(password) => Some(password),
            None => cx.ask_secret(&format!("Console password for the user `{}`", user.user_name)).await?,
        };
        let Some(password) = password.filter(|p| !p.expose().is_empty()) else {
            let field = format!("users[{index}].Password");
            return Err(Error::Input(InputError {
                message: format!("`{field}` is required with `enable`: the user `{}` has none", user.user_name),
                hint: Some("give it as --user NAME @FILE, --user NAME - or --user NAME env:VARIABLE; nothing was sent".into()),
                field: Some(field),
                others: Vec::new(),
            }));
        };
        complete.push((user.user_name, Some(password)));
    }
    Ok(complete)
}

/// A user to change.
struct User {
    name: String,
    password: Option<Secret>,
    now: Result<Now, Failure>,
    /// Whether the same user stands before it in the list.
    duplicate: bool,
}

/// What a user has.
#[derive(Clone, Copy)]
struct Now {
    password: bool,
    policy: bool,
}

impl Now {
    async fn read(iam: &Client, name: &str, policy: &str) -> Result<Result<Self, Failure>> {
        if let Some(failure) = not_a_user(name) {
            return Ok(Err(failure));
        }
        // Asked first, because it fails for a user that there is not; a login profile is also missing when only the password is.
        let attached = attached_policies(iam, name).await?.iter().any(|arn| arn == policy);
        let answer = iam.get_login_profile().user_name(name).send().await;
        match answer.context(|| format!("look for a console password of the user `{name}`")) {
            Ok(_) => Ok(Ok(Now { password: true, policy: attached })),
            Err(e) if is_missing(&e) => Ok(Ok(Now { password: false, policy: attached })),
            Err(e) => Err(e),
        }
    }
}

struct ConsoleAccess {
    iam: Client,
    /// The ARN of `IAMUserChangePassword`.
    policy: String,
    enable: bool,
    require_reset: bool,
    replace_password: bool,
    ignore_not_found: bool,
}

#[async_trait]
impl Steps for ConsoleAccess {
    type Item = User;
    type Done = ();
    type Step = ConsoleStep;

    fn id(&self, user: &User) -> String {
        user.name.clone()
    }

    fn summary(&self) -> String {
        format!("{} console passwords", if self.enable { "create" } else { "delete" })
    }

    fn plan(&self, user: &User) -> Option<String> {
        let now = user.now.as_ref().ok()?;
        let mut steps = Vec::new();
        match (self.enable, now.password) {
            (true, true) => steps.push("replace the console password; the old one cannot be put back".to_owned()),
            (true, false) => steps.push("create a console password".to_owned()),
            (false, true) => steps.push("delete the console password, which cannot be restored".to_owned()),
            (false, false) => {}
        }
        if self.enable != now.policy {
            steps.push(format!("{} the policy {MAY_CHANGE}", if self.enable { "attach" } else { "detach" }));
        }
        Some(steps.join("; "))
    }

    fn precheck(&self, user: &User) -> Option<Outcome> {
        match &user.now {
            _ if user.duplicate => Some(Outcome::Unchanged("duplicate id".into())),
            Err(failure) => Some(not_found_or(failure.clone(), self.ignore_not_found, NO_USER)),
            Ok(now) if self.enable && now.password && !self.replace_password => Some(Outcome::Failed(Failure::permanent(
                "EntityAlreadyExists",
                "the user has a console password, which was left as it is; `replace_password` sets the one given",
            ))),
            Ok(now) if !self.enable && !now.password && !now.policy => Some(Outcome::Unchanged("the user has no console password".into())),
            Ok(_) => None,
        }
    }

    fn state(&self, user: &User) -> Option<serde_json::Value> {
        let now = user.now.as_ref().ok()?;
        Some(serde_json::json!({ "password": now.password, "policy": now.policy }))
    }

    async fn run(&self, cx: &Context, user: &User, undo: &mut Undo<ConsoleStep>) -> Result<Outcome> {
        let (&Ok(now), name) = (&user.now, &user.name) else {
            return Ok(Outcome::skipped("it could not be looked at"));
        };
        match (&user.password, self.enable) {
            (Some(password), true) => {
                let done =
                    if now.password { self.replace(name, password, now, undo).await } else { self.create(name, password, now, undo).await };
                Ok(match per_item(done.map_err(|e| veiled(e, password)))? {
                    Ok(note) => Outcome::Done((), Some(note)),
                    // It failed, even where that is no matter: what was done has to be undone.
                    Err(failure) if failure.code == NO_SUCH_ENTITY => Outcome::Failed(Failure { code: Code::NotFound.into(), ..failure }),
                    Err(failure) => Outcome::Failed(failure),
                })
            }
            (None, true) => Ok(Outcome::skipped("there is no password for the user")),
            (_, false) => self.remove(cx, name, now).await,
        }
    }

    fn disrupts(&self) -> bool {
        // A password that is deleted or replaced is gone.
        !self.enable || self.replace_password
    }
}

impl ConsoleAccess {
    async fn create(&self, name: &str, password: &Secret, now: Now, undo: &mut Undo<ConsoleStep>) -> Result<String> {
        undo.note(ConsoleStep::Create { user: name.to_owned() }).await?;
        let request = self.iam.create_login_profile().user_name(name).password(password.expose());
        // Sent once: the SDK would meet its own first try as EntityAlreadyExists when only the answer was lost, and that would pass for a password of
        // somebody else's.
        let once = aws_sdk_iam::config::Config::builder().retry_config(RetryConfig::disabled());
        let answer = request.password_reset_required(self.require_reset).customize().config_override(once).send().await;
        if let Err(e) = answer.context(|| format!("create a console password for the user `{name}`")) {
            // A password that somebody else made meanwhile must not be deleted as if it were ours.
            if !e.is_ambiguous() {
                undo.forget_last();
            }
            return Err(e);
        }
        self.allow(name, now, undo).await?;
        Ok("console password created".into())
    }

    /// The policy first: what replaces a password cannot be undone, so nothing may fail after it.
    async fn replace(&self, name: &str, password: &Secret, now: Now, undo: &mut Undo<ConsoleStep>) -> Result<String> {
        self.allow(name, now, undo).await?;
        let request = self.iam.update_login_profile().user_name(name).password(password.expose());
        let answer = request.password_reset_required(self.require_reset).send().await;
        answer.context(|| format!("replace the console password of the user `{name}`"))?;
        Ok("console password replaced".into())
    }

    /// Lets the user change the password, who may otherwise be stuck at the first sign-in.
    async fn allow(&self, name: &str, now: Now, undo: &mut Undo<ConsoleStep>) -> Result<()> {
        if now.policy {
            return Ok(());
        }
        undo.note(ConsoleStep::Attach { user: name.to_owned() }).await?;
        let answer = attach(&self.iam, &self.policy, name).await;
        if answer.as_ref().is_err_and(|e| !e.is_ambiguous()) {
            undo.forget_last();
        }
        answer
    }

    async fn remove(&self, cx: &Context, name: &str, now: Now) -> Result<Outcome> {
        if now.policy {
            cx.note(name, &ConsoleStep::Detach { user: name.to_owned(), password: now.password }).await?;
        }
        let mut told = Vec::new();
        if now.password {
            match per_item(delete(&self.iam, name).await)? {
                Ok(()) => told.push("console password deleted"),
                // It went since it was looked for; or the answer to a first try was lost.
                Err(failure) if failure.code == NO_SUCH_ENTITY => told.push("console password gone"),
                Err(failure) => return Ok(Outcome::Failed(failure)),
            }
        }
        if now.policy {
            match detach(&self.iam, &self.policy, name).await {
                Ok(()) => told.push("IAMUserChangePassword detached"),
                Err(e) if is_missing(&e) => {}
                // What was done before is said of every failure, of one that ends the run too.
                Err(e) => {
                    let done = now.password.then(|| "the console password is deleted".to_owned());
                    let failure = failure(&e);
                    let message = format!("the policy {MAY_CHANGE} could not be detached: {}", failure.message);
                    return Ok(Outcome::Failed(Failure { message, ..failure }.after(done)));
                }
            }
        }
        Ok(Outcome::Done((), Some(told.join("; "))))
    }
}

async fn delete(iam: &Client, name: &str) -> Result<()> {
    let answer = iam.delete_login_profile().user_name(name).send().await;
    answer.context(|| format!("delete the console password of the user `{name}`")).map(drop)
}

async fn attach(iam: &Client, policy: &str, name: &str) -> Result<()> {
    let answer = iam.attach_user_policy().user_name(name).policy_arn(policy).send().await;
    answer.context(|| format!("attach {MAY_CHANGE} to the user `{name}`")).map(drop)
}

async fn detach(iam: &Client, policy: &str, name: &str) -> Result<()> {
    let answer = iam.detach_user_policy().user_name(name).policy_arn(policy).send().await;
    answer.context(|| format!("detach {MAY_CHANGE} from the user `{name}`")).map(drop)
}
