//! The flags that every AWS action has beside its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValue};

use super::flags::text;
use crate::aws::{sandbox, session};
use crate::engine::run::{Concurrency, RunOptions};
use crate::model::error::{Error, InputError, Result};
use crate::model::target::RoleArn;
use crate::render::Format;

/// What the common flags say.
#[derive(Debug)]
pub struct Common {
    pub session: session::SessionOptions,
    pub format: Option<Format>,
    pub query: Option<String>,
    pub verbosity: Verbosity,
    pub error_format: ErrorFormat,
    pub run: RunOptions,
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
        value("region", "REGION", "Region; else AWS_REGION, AWS_DEFAULT_REGION, the profile"),
        value("profile", "NAME", "Profile of the AWS configuration files; its credentials are used even if the environment holds others"),
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
        value("timeout", "DURATION", "Stop after this long (90s, 10m, 2h): nothing new is started, what is in flight is finished"),
        switch("dry_run", "List what would be changed, change nothing"),
        switch("yes", "Do not ask before something is deleted, destroyed or disrupted; also AAWS_YES=1"),
        value("report", "FILE", "Write one JSON line per item to FILE as it is settled"),
        value("journal", "FILE", "Keep a journal, in FILE or with all others, also where none is kept by default: of deletions of many items")
            .num_args(0..=1),
        switch("no_journal", "Keep no journal: the run can then be neither undone nor resumed").conflicts_with("journal"),
    ];
    flags.extend(local_flags());
    flags
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
    /// Of a command that has all or some of the flags; what an action took for itself is left alone.
    pub fn read(matches: &ArgMatches, own: &[&str]) -> Result<Self> {
        let one = |name: &str| -> Result<Option<String>> {
            if own.contains(&name) {
                return Ok(None);
            }
            let value = matches.try_get_one::<OsString>(name).ok().flatten();
            value.map(|v| text(name, v)).transpose()
        };
        let word = |name: &str| matches.try_get_one::<String>(name).ok().flatten().map(String::as_str);
        let switched = |name: &str| !own.contains(&name) && matches.try_get_one::<bool>(name).ok().flatten() == Some(&true);
        let role_arns: Vec<RoleArn> = match matches.try_get_many::<OsString>("role_arn") {
            Ok(Some(arns)) if !own.contains(&"role_arn") => {
                arns.map(|a| parsed("role_arn", &text("role_arn", a)?)).collect::<Result<_>>()?
            }
            _ => Vec::new(),
        };
        let session = session::SessionOptions {
            region: one("region")?.map(|r| parsed("region", &r)).transpose()?,
            profile: one("profile")?,
            role_arns,
            mfa_serial: one("mfa_serial")?,
            mfa_token: one("mfa_token")?,
            external_id: one("external_id")?,
            session_name: one("session_name")?.map(|n| parsed("session_name", &n)).transpose()?,
            endpoint_url: one("endpoint_url")?.map(endpoint).transpose()?,
            sandbox: sandbox_dir(matches)?,
            ..session::SessionOptions::default()
        };
        let verbosity = match (switched("debug"), switched("silent")) {
            (true, _) => Verbosity::Debug,
            (_, true) => Verbosity::Silent,
            _ => Verbosity::Normal,
        };
        Ok(Common {
            session,
            format: word("output").and_then(Format::named),
            query: one("query")?,
            verbosity,
            error_format: if word("error_format") == Some("json") { ErrorFormat::Json } else { ErrorFormat::Text },
            run: RunOptions {
                concurrency: one("concurrency")?.map(|n| concurrency(&n)).transpose()?.unwrap_or_default(),
                timeout: one("timeout")?.map(|t| parsed("timeout", &t)).transpose()?,
                dry_run: switched("dry_run"),
                report: one("report")?.map(PathBuf::from),
            },
            consent: consent(switched("yes")),
            journal: keep(matches, own)?,
        })
    }
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

/// A value of a type that says itself what is wrong with a text.
fn parsed<T: FromStr<Err = String>>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|e| Error::field(name, format!("`{name}`: {e}")))
}

fn consent(yes: bool) -> Option<&'static str> {
    let agrees = |value: String| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "y");
    if yes { Some("--yes") } else { std::env::var("AAWS_YES").is_ok_and(agrees).then_some("AAWS_YES") }
}

fn concurrency(text: &str) -> Result<Concurrency> {
    Concurrency::try_from(text.parse().unwrap_or(0_usize)).map_err(|e| match e {
        // The number as it was typed, which may be none.
        Error::Input(e) => Error::Input(InputError { message: e.message.replace("not `0`", &format!("not `{text}`")), ..e }),
        other => other,
    })
}

fn endpoint(url: String) -> Result<String> {
    let wrong = |what: &str| Err(Error::field("endpoint_url", format!("`endpoint_url` takes {what}: `{}`", without_secrets(&url))));
    match url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) {
        None => wrong("an address that begins with http:// or https://, which this does not"),
        // Nobody would get them: requests are signed with the credentials of the session.
        Some(rest) if authority(rest).contains('@') => wrong("an address without a user and a password before its host"),
        Some(_) => Ok(url),
    }
}

/// Scheme and host of an address: what stands before or behind the host may be secret.
pub fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = authority(rest.rsplit('@').next().unwrap_or_default());
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_scheme { format!("{scheme}://{host}") } else { host.to_owned() }
}

/// What stands before the path of an address.
fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// `--sandbox`, `--sandbox DIR`, `AAWS_SANDBOX=DIR`; an empty directory name is the default one.
fn sandbox_dir(matches: &ArgMatches) -> Result<Option<PathBuf>> {
    let flag = matches.try_get_many::<String>("sandbox").ok().flatten();
    let given = matches.try_contains_id("sandbox").unwrap_or(false);
    // Whatever bytes the name has: a sandbox that was asked for must not be passed over for the real account.
    let named = match flag.and_then(|mut dirs| dirs.next()) {
        Some(dir) => Some(OsString::from(dir)),
        None if given => Some(OsString::new()),
        None => std::env::var_os("AAWS_SANDBOX").filter(|v| !v.is_empty() && v != "0"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_of_an_address_is_shown() {
        for (url, shown) in [
            ("htps://user:hunter2@host:1/path?token=x", "htps://host:1"),
            ("user:hunter2@host", "host"),
            ("http://user:hun/ter2@host/", "http://host"),
            ("user:hunter2@a://b", "b"),
            ("http://localhost:4566/a", "http://localhost:4566"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
        assert!(endpoint("http://user:hunter2@host".into()).is_err_and(|e| !e.to_string().contains("hunter2")));
        assert!(endpoint("http://host/a@b".into()).is_ok());
    }
}
