//! The flags that every AWS action has beside its own.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValue};

use super::completions;
use super::flags::text;
use super::settings::{PROTECT_TAG, Settings};
use super::values::{concurrency, endpoint, parsed, whole};
use crate::aws::options::SessionOptions;
use crate::aws::sandbox;
use crate::engine::guards::{Guards, ProtectTag};
use crate::engine::plan::NewPlan;
use crate::engine::run::{Concurrency, RunOptions};
use crate::input::Age;
use crate::model::error::{Error, Result};
use crate::model::target::RoleArn;
use crate::render::{Format, Wanted};

/// What the common flags say.
#[derive(Debug)]
pub struct Common {
    pub session: SessionOptions,
    pub format: Option<Format>,
    pub query: Option<String>,
    /// What of a listing is shown.
    pub wanted: Wanted,
    pub verbosity: Verbosity,
    pub error_format: ErrorFormat,
    pub run: RunOptions,
    /// The plan that is to be written.
    pub plan: Option<NewPlan>,
    /// What agreed beforehand to what would be asked.
    pub consent: Option<&'static str>,
    pub journal: Keep,
}

/// Whether a journal is kept, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Of what can be undone.
    ByDefault,
    /// In the folder of all.
    InFolder,
    /// In a file of one's own.
    In(PathBuf),
    /// None.
    Nowhere,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors only.
    Silent,
    /// Errors, warnings, and what came of it.
    Normal,
    /// Each call too.
    Debug,
}

/// How errors and logs are written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

const HEADING: &str = "Common options";

/// Those that make sense without AWS.
pub fn local_flags() -> Vec<Arg> {
    let formats = Format::ALL.iter().map(|(name, _, help)| PossibleValue::new(*name).help(*help));
    vec![
        flag("output")
            .value_name("FORMAT")
            .value_parser(clap::builder::PossibleValuesParser::new(formats))
            .help("Output format; json by default"),
        value("query", "JMESPATH", "JMESPath expression applied to the output"),
        switch("debug", "Log every call").conflicts_with("silent"),
        switch("silent", "Log errors only"),
        flag("error_format")
            .value_name("FORMAT")
            .value_parser(["text", "json"])
            .help("How errors are written to standard error: text, or json"),
    ]
}

/// All of them.
pub fn flags() -> Vec<Arg> {
    let mut flags = vec![
        value("region", "REGION", "Region; else AWS_REGION, AWS_DEFAULT_REGION, the profile").value_hint(completions::REGION),
        value("profile", "NAME", "Profile of the AWS configuration files; its credentials are used even if the environment holds others")
            .value_hint(completions::PROFILE),
        value("role_arn", "ARN", "Role to assume; repeat to go from role to role").action(ArgAction::Append),
        value("mfa_serial", "SERIAL", "MFA device for the first role, or for a session of your own"),
        value("mfa_token", "DIGITS", "Digits that the MFA device shows; asked for on a terminal"),
        value("external_id", "ID", "External id that the last role asks for"),
        value("session_name", "NAME", "Name of the roles' sessions, seen in CloudTrail; else AWS_ROLE_SESSION_NAME, the profile, aaws"),
        value("endpoint_url", "URL", "Send requests here: an S3-compatible store, a test server; else AWS_ENDPOINT_URL"),
        flag("sandbox")
            .value_name("DIR")
            .num_args(0..=1)
            .help("Run against a sandbox in this process, its files in DIR: no account, no network"),
        value(
            "concurrency",
            "N",
            &format!("Requests in flight at once, all services together [default: {}]", Concurrency::default().get()),
        ),
        value("account", "ID", "Refuse to run unless the credentials are of this account"),
        value("max_items", "N", "Refuse a run that would change more than N items, before anything is changed"),
        value("max_percent", "P", "Refuse a run that would change more than P percent of what it looks at, before anything is changed"),
        value(
            PROTECT_TAG,
            "KEY[=VALUE]",
            "Leave alone what has this tag; repeat for more. Things with aaws:protect or aaws:protect_until=DATE always are",
        )
        .action(ArgAction::Append),
        switch("require_yes", "Refuse what would be asked about where nobody can be asked, unless --yes is given"),
        value("timeout", "DURATION", "Stop after this long (90s, 10m, 2h): nothing new is started, what is in flight is finished"),
        switch("dry_run", "List what would be changed, change nothing"),
        switch("yes", "Do not ask before something is deleted, destroyed or disrupted; also AAWS_YES=1"),
        value("report", "FILE", "Write one JSON line per item to FILE as it is settled"),
        value(
            "journal",
            "FILE",
            "Keep a journal, in FILE or with all others, also where none is kept by default: of deletions of many items",
        )
        .num_args(0..=1),
        switch("no_cache", "Neither use nor keep what an earlier listing learned of where keys are"),
        switch("no_journal", "Keep no journal: the run can then be neither undone nor resumed").conflicts_with("journal"),
    ];
    flags.extend(local_flags());
    flags
}

/// Those that make sense where several actions look side by side.
const LOOKING: [&str; 16] = [
    "region",
    "profile",
    "role_arn",
    "mfa_serial",
    "mfa_token",
    "external_id",
    "session_name",
    "endpoint_url",
    "concurrency",
    "account",
    "timeout",
    "output",
    "query",
    "debug",
    "silent",
    "error_format",
];

/// Those of what looks by several actions.
pub fn looking_flags() -> Vec<Arg> {
    flags().into_iter().filter(|flag| LOOKING.contains(&flag.get_id().as_str())).collect()
}

/// Those of actions that list.
pub fn listing_flags() -> Vec<Arg> {
    vec![
        value(
            "columns",
            "NAMES",
            "Only these members of each row, in this order, with commas between them; implies --details where there is that",
        )
        .action(ArgAction::Append)
        .conflicts_with("query"),
        value(
            "sort_by",
            "NAMES",
            "Sort the rows by these members, with commas between them, -NAME from the greatest to the least; implies --details too",
        )
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
        .conflicts_with("query"),
        value("limit", "N", "Print N rows at most").conflicts_with("query"),
        switch("fail_on_findings", "Exit with 6 when anything is found"),
        value(
            "baseline",
            "FILE",
            "Leave out what FILE, the output of an earlier run, holds already; the log says what is new and what is gone",
        ),
    ]
}

/// How long a plan holds unless told otherwise.
const PLAN_HOLDS: Age = Age::days(1);

/// Those of actions that change something.
pub fn plan_flags() -> Vec<Arg> {
    vec![
        value("plan", "FILE", "Write what --dry_run lists to FILE, with what `aaws apply` must find unchanged; implies --dry_run"),
        value("expires", "DURATION", "How long the plan holds [default: 24h]").requires("plan"),
    ]
}

/// Adds flags to a command, but for those that the action has itself.
pub fn add(mut command: Command, flags: Vec<Arg>) -> Command {
    for arg in flags {
        if !command.get_arguments().any(|a| a.get_id() == arg.get_id()) {
            command = command.arg(arg);
        }
    }
    command
}

fn flag(name: &str) -> Arg {
    let arg = Arg::new(name.to_owned()).long(name.to_owned()).help_heading(HEADING);
    super::flags::with_kebab(arg, name)
}

fn value(name: &str, value: &str, help: &str) -> Arg {
    flag(name).value_name(value.to_owned()).value_parser(clap::value_parser!(OsString)).help(help.to_owned())
}

fn switch(name: &str, help: &str) -> Arg {
    flag(name).action(ArgAction::SetTrue).help(help.to_owned())
}

impl Common {
    /// Of a command that has all or some of the flags, and the settings for those that are not given; what an action took for itself is left alone.
    pub fn read(matches: &ArgMatches, own: &[&str], settings: &Settings) -> Result<Self> {
        let one = |name: &str| -> Result<Option<String>> {
            if own.contains(&name) {
                return Ok(None);
            }
            match matches.try_get_one::<OsString>(name).ok().flatten() {
                Some(value) => text(name, value).map(Some),
                None => Ok(settings.text(name)),
            }
        };
        let many = |name: &str| -> Result<Vec<String>> {
            if own.contains(&name) {
                return Ok(Vec::new());
            }
            let given = matches.try_get_many::<OsString>(name).ok().flatten();
            given.into_iter().flatten().map(|value| text(name, value)).collect()
        };
        let word = |name: &str| match matches.try_get_one::<String>(name).ok().flatten() {
            _ if own.contains(&name) => None,
            Some(word) => Some(word.clone()),
            None => settings.text(name),
        };
        let flag = |name: &str| !own.contains(&name) && matches.try_get_one::<bool>(name).ok().flatten() == Some(&true);
        let switched = |name: &str| flag(name) || (!own.contains(&name) && settings.switch(name));
        let mut role_arns = many("role_arn")?;
        if role_arns.is_empty() && !own.contains(&"role_arn") {
            role_arns = settings.list("role_arn");
        }
        let role_arns = role_arns.iter().map(|arn| parsed("role_arn", arn)).collect::<Result<Vec<RoleArn>>>()?;
        let protect_tags = settings.list(PROTECT_TAG).into_iter().chain(many(PROTECT_TAG)?);
        let guards = Guards {
            max_items: one("max_items")?.map(|n| whole("max_items", &n)).transpose()?,
            max_percent: one("max_percent")?.map(|p| parsed("max_percent", &p)).transpose()?,
            protect_tags: protect_tags.map(|tag| parsed(PROTECT_TAG, &tag)).collect::<Result<Vec<ProtectTag>>>()?,
            require_yes: switched("require_yes"),
        };
        let session = SessionOptions {
            region: one("region")?.map(|r| parsed("region", &r)).transpose()?,
            profile: one("profile")?,
            role_arns,
            mfa_serial: one("mfa_serial")?,
            mfa_token: one("mfa_token")?,
            external_id: one("external_id")?,
            session_name: one("session_name")?.map(|n| parsed("session_name", &n)).transpose()?,
            endpoint_url: one("endpoint_url")?.map(endpoint).transpose()?,
            sandbox: sandbox_dir(matches)?,
            account: one("account")?.map(|id| parsed("account", &id)).transpose()?,
            ..SessionOptions::default()
        };
        // What a flag says wins over the other of the two in the settings.
        let verbosity = match (flag("debug"), flag("silent")) {
            (true, _) => Verbosity::Debug,
            (_, true) => Verbosity::Silent,
            _ if switched("debug") => Verbosity::Debug,
            _ if switched("silent") => Verbosity::Silent,
            _ => Verbosity::Normal,
        };
        Ok(Common {
            session,
            format: word("output").as_deref().and_then(Format::named),
            query: one("query")?,
            wanted: Wanted {
                columns: many("columns")?,
                sort_by: many("sort_by")?,
                limit: one("limit")?.map(|n| whole("limit", &n)).transpose()?.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
            },
            verbosity,
            error_format: if word("error_format").as_deref() == Some("json") { ErrorFormat::Json } else { ErrorFormat::Text },
            run: RunOptions {
                concurrency: one("concurrency")?.map(|n| concurrency(&n)).transpose()?.unwrap_or_default(),
                timeout: one("timeout")?.map(|t| parsed("timeout", &t)).transpose()?,
                dry_run: flag("dry_run"),
                report: one("report")?.map(PathBuf::from),
                fail_on_findings: flag("fail_on_findings"),
                baseline: one("baseline")?.map(file_name).transpose()?,
                cache: !switched("no_cache"),
                guards,
            },
            plan: one("plan")?.map(|file| new_plan(file, one("expires")?)).transpose()?,
            consent: consent(flag("yes")),
            journal: keep(matches, own)?,
        })
    }
}

/// A file that has a name.
fn file_name(file: String) -> Result<PathBuf> {
    if file.is_empty() {
        return Err(Error::field("baseline", "`baseline` is empty: name a file"));
    }
    Ok(file.into())
}

fn new_plan(file: String, expires: Option<String>) -> Result<NewPlan> {
    if file.is_empty() {
        return Err(Error::field("plan", "`plan` is empty: name a file"));
    }
    let expires = expires.map(|age| parsed("expires", &age)).transpose()?.unwrap_or(PLAN_HOLDS);
    Ok(NewPlan { file: file.into(), expires })
}

fn keep(matches: &ArgMatches, own: &[&str]) -> Result<Keep> {
    let given = |name: &str| !own.contains(&name) && matches.try_contains_id(name).unwrap_or(false);
    if given("no_journal") && matches.try_get_one::<bool>("no_journal").ok().flatten() == Some(&true) {
        return Ok(Keep::Nowhere);
    }
    match matches.try_get_one::<OsString>("journal").ok().flatten() {
        _ if !given("journal") => Ok(Keep::ByDefault),
        Some(file) if file.is_empty() => Err(Error::field("journal", "`journal` is empty: name a file, or give it without a name")),
        Some(file) => Ok(Keep::In(file.into())),
        None => Ok(Keep::InFolder),
    }
}

fn consent(yes: bool) -> Option<&'static str> {
    if yes { Some("--yes") } else { agrees_by_variable().then_some("AAWS_YES") }
}

/// Whether AAWS_YES agrees. What is no yes is none.
pub fn agrees_by_variable() -> bool {
    let agrees = |value: String| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "y");
    std::env::var("AAWS_YES").is_ok_and(agrees)
}

/// What AAWS_SANDBOX says.
pub fn sandbox_variable() -> Option<OsString> {
    std::env::var_os("AAWS_SANDBOX").filter(|v| !v.is_empty() && v != "0")
}

/// `--sandbox`, `--sandbox DIR`, `AAWS_SANDBOX=DIR`; an empty directory name is the default one.
fn sandbox_dir(matches: &ArgMatches) -> Result<Option<PathBuf>> {
    let flag = matches.try_get_many::<String>("sandbox").ok().flatten();
    let given = matches.try_contains_id("sandbox").unwrap_or(false);
    // Whatever bytes the name has: a sandbox that was asked for must not be passed over for the real account.
    let named = match flag.and_then(|mut dirs| dirs.next()) {
        Some(dir) => Some(OsString::from(dir)),
        None if given => Some(OsString::new()),
        None => sandbox_variable(),
    };
    match named {
        None => Ok(None),
        Some(dir) if dir.is_empty() || dir == "1" => match sandbox::default_dir() {
            Some(dir) => Ok(Some(dir)),
            None => Err(Error::field("sandbox", "`sandbox`: no data directory is known here: name a directory")),
        },
        Some(dir) => Ok(Some(dir.into())),
    }
}
