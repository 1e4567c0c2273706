//! `aaws doctor`: what a run needs, a line for each with `ok` or what to do.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::common::{self, Common};
use super::look;
use super::progress::ProgressLine;
use super::settings::{self, Settings};
use super::terminal::{self, Terminal};
use super::values::without_secrets;
use crate::aws::doctor::{self as looks, LARGEST_SKEW};
use crate::aws::network::Network;
use crate::aws::options::SessionOptions;
use crate::aws::session::Session;
use crate::engine::host::MfaOf;
use crate::model::cancellation::Cancellation;
use crate::model::error::{Error, ErrorKind, Result};
use crate::model::target::Region;
use crate::render::{Format, printable};

pub const NAME: &str = "doctor";

/// The flags that say whose credentials are used and where requests go, and how the result is printed.
const FLAGS: &[&str] = &[
    "account",
    "debug",
    "endpoint_url",
    "error_format",
    "external_id",
    "mfa_serial",
    "mfa_token",
    "output",
    "profile",
    "query",
    "region",
    "role_arn",
    "session_name",
    "silent",
];

/// Where credentials are looked for when there is no region: the region does not matter to most of them.
const ANY_REGION: &str = "us-east-1";

pub fn command(command: Command) -> Command {
    let flags = common::flags().into_iter().filter(|flag| FLAGS.contains(&flag.get_id().as_str())).collect();
    let command = command.long_about(
        "Check what a run needs, a line each with `ok` or what to do: settings, region, certificates, proxies, profiles, credentials and when they \
         expire, whether STS answers and as whom, and the clock of this machine. Nothing is changed; the one request is GetCallerIdentity, which \
         needs no permission.\n\n\
         Exit codes: 0 all is well, 5 no usable credentials or region, 1 anything else.",
    );
    common::add(command.max_term_width(120), flags)
}

pub fn run(matches: &ArgMatches, settings: Result<Settings>) -> Result<u8> {
    let mut checks = vec![of_settings(&settings)];
    // What the files and variables say wrongly is told; the rest is looked at without any of them.
    let settings = settings.unwrap_or_default();
    let common = Common::read(matches, &[], &settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| Error::io("start", e))?;
    terminal::start_logging(common.verbosity, common.error_format, &ProgressLine::new(false));
    checks.extend(runtime.block_on(of_aws(matches, &settings, &common.session)));
    // A look that took too long may still be waiting for its answer.
    runtime.shutdown_timeout(Duration::ZERO);
    let code = exit_code(&checks);
    if common.format.is_none() && common.query.is_none() && io::stdout().is_terminal() {
        // A reader that went away is no error.
        let _ = io::stdout().write_all(checks.iter().map(Check::line).collect::<String>().as_bytes());
    } else {
        look::print(matches, &settings, Format::Json, Value::Array(checks.iter().map(Check::json).collect()))?;
    }
    Ok(code)
}

/// No usable credentials or region come before everything else that may be wrong.
fn exit_code(checks: &[Check]) -> u8 {
    let failed = checks.iter().filter_map(|check| match check.status {
        Status::Failed(code) => Some(code),
        Status::Ok | Status::Skipped => None,
    });
    failed.max().unwrap_or(0)
}

/// What was looked at, and what came of it.
struct Check {
    name: &'static str,
    status: Status,
    /// What was found.
    message: String,
    /// What to do.
    hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    /// With what the process ends with.
    Failed(u8),
    /// Could not be looked at, because of something before it.
    Skipped,
}

impl Check {
    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Check { name, status: Status::Ok, message: message.into(), hint: None }
    }

    fn failed(name: &'static str, kind: ErrorKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let code = if kind == ErrorKind::Credentials { kind.exit_code() } else { ErrorKind::Failed.exit_code() };
        Check { name, status: Status::Failed(code), message: message.into(), hint: Some(hint.into()) }
    }

    fn skipped(name: &'static str, message: impl Into<String>) -> Self {
        Check { name, status: Status::Skipped, message: message.into(), hint: None }
    }

    fn status(&self) -> &'static str {
        match self.status {
            Status::Ok => "ok",
            Status::Failed(_) => "failed",
            Status::Skipped => "skipped",
        }
    }

    fn json(&self) -> Value {
        json!({ "check": self.name, "status": self.status(), "message": self.message, "hint": self.hint })
    }

    fn line(&self) -> String {
        let hint = self.hint.as_deref().map(|hint| format!("; {}", printable(hint))).unwrap_or_default();
        format!("{:8} {:12} {}{hint}\n", self.status(), self.name, printable(&self.message))
    }
}

fn of_settings(settings: &Result<Settings>) -> Check {
    let name = "settings";
    match settings {
        Err(e) => Check::failed(name, ErrorKind::Failed, e.to_string(), "correct that: nothing else runs until then"),
        Ok(_) => {
            let files: Vec<_> = settings::files().iter().map(|file| file.display().to_string()).collect();
            let sandbox = if common::sandbox_variable().is_some() { "; AAWS_SANDBOX is set: actions run against a sandbox" } else { "" };
            let found = if files.is_empty() { "no file of settings".to_owned() } else { files.join(", ") };
            Check::ok(name, format!("{found}{sandbox}"))
        }
    }
}

/// All that is about AWS, in the order in which a run needs it.
async fn of_aws(matches: &ArgMatches, settings: &Settings, options: &SessionOptions) -> Vec<Check> {
    let (region, region_check) = of_region(matches, settings, options).await;
    let network = Network::new(1, Cancellation::default());
    let (is_tls_ready, roots) = of_roots(&network);
    let mut checks = vec![region_check, roots, of_proxies(), of_profiles()];
    let skipped = |why: &str| ["credentials", "sts", "clock"].map(|name| Check::skipped(name, why));
    if !is_tls_ready {
        checks.extend(skipped("not looked at: no request can be sent without certificates"));
        return checks;
    }
    let Some(region) = region.or_else(|| ANY_REGION.parse().ok()) else { return checks };
    // Which account it should be is compared with what STS says, and a sandbox has nothing that could be missing.
    let options = SessionOptions { region: Some(region), sandbox: None, ..options.clone() };
    let meant = options.account.clone();
    let options = SessionOptions { account: None, ..options };
    let session = match looks::session(&options, &network, &MfaOf(&Terminal::new(ProgressLine::new(false), None))).await {
        Ok(session) => session,
        Err(e) => {
            checks.push(no_credentials(&e));
            checks.extend(skipped("not asked: there are no credentials").into_iter().skip(1));
            return checks;
        }
    };
    checks.push(of_credentials(&session).await);
    let asked = looks::ask(&session).await;
    checks.push(match asked.identity {
        Ok(who) if meant.as_ref().is_some_and(|meant| meant.as_str() != who.account) => Check::failed(
            "sts",
            ErrorKind::Failed,
            format!("the credentials are of the account {}, as {}, and `account` allows another only", who.account, who.arn),
            "choose other credentials, with --profile or --role_arn, or another --account",
        ),
        Ok(who) => Check::ok("sts", format!("account {}, as {}{}", who.account, who.arn, elsewhere(&session))),
        Err(e) => {
            let hint = e.hint(None).unwrap_or_else(|| "check the network, the proxy and --region".into());
            Check::failed("sts", e.kind(), format!("{e}{}", elsewhere(&session)), hint)
        }
    });
    checks.push(of_clock(asked.ahead));
    checks
}

async fn of_region(matches: &ArgMatches, settings: &Settings, options: &SessionOptions) -> (Option<Region>, Check) {
    let name = "region";
    let failed = |e: &Error| Check::failed(name, ErrorKind::Credentials, e.to_string(), hint_of(e, "give --region, or set AWS_REGION"));
    match looks::region(options).await {
        Ok(Some((region, source))) => {
            // What the settings say reaches the session as the flag does.
            let is_flag = matches.value_source(name) == Some(ValueSource::CommandLine);
            let set = settings.get(name).filter(|_| !is_flag && settings.text(name).is_some());
            let source = set.map_or(source, |setting| setting.source.as_str());
            let check = Check::ok(name, format!("{region}, from {source}"));
            (Some(region), check)
        }
        Ok(None) => (None, failed(&Error::NoRegion)),
        Err(e) => (None, failed(&e)),
    }
}

/// Whether requests can be sent, and the check.
fn of_roots(network: &Network) -> (bool, Check) {
    let name = "tls";
    let roots = match looks::roots(network) {
        Ok(roots) => roots,
        Err(e) => {
            let hint = "set AWS_CA_BUNDLE to a file of certificates in PEM form, or unset it";
            return (false, Check::failed(name, ErrorKind::Failed, e.to_string(), hint));
        }
    };
    let check = match (roots.system, roots.bundle) {
        (0, None) => Check::failed(
            name,
            ErrorKind::Failed,
            "the system has no certificates of authorities",
            "install them (the package ca-certificates), or set SSL_CERT_FILE",
        ),
        (system, None) => Check::ok(name, format!("{system} certificates of the system")),
        (system, Some(bundle)) => {
            Check::ok(name, format!("{system} certificates of the system, and those of AWS_CA_BUNDLE, {}", bundle.display()))
        }
    };
    (true, check)
}

fn of_proxies() -> Check {
    let shown = |(name, value): (&str, std::ffi::OsString)| {
        let value = value.to_string_lossy();
        // A list of hosts is no address.
        let value = if name.eq_ignore_ascii_case("NO_PROXY") { value.into_owned() } else { without_secrets(&value) };
        format!("{name}={value}")
    };
    let set: Vec<String> = looks::proxies().into_iter().map(shown).collect();
    Check::ok("proxy", if set.is_empty() { "none".to_owned() } else { set.join(", ") })
}

fn of_profiles() -> Check {
    let name = "profiles";
    let files = looks::profile_files();
    if let Some((file, variable)) = files.iter().find_map(|file| Some((file, file.variable.filter(|_| !file.is_there)?))) {
        let message = format!("{variable} names a file that is not there, {}", file.path.display());
        return Check::failed(name, ErrorKind::Failed, message, format!("correct {variable}, or unset it"));
    }
    let there: Vec<_> = files.iter().filter(|file| file.is_there).map(|file| file.path.display().to_string()).collect();
    Check::ok(name, if there.is_empty() { "no file of profiles".to_owned() } else { there.join(", ") })
}

fn no_credentials(e: &Error) -> Check {
    let hint = hint_of(e, "choose --profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    Check::failed("credentials", ErrorKind::Credentials, e.to_string(), hint)
}

async fn of_credentials(session: &Session) -> Check {
    let source = session.credentials_source();
    match looks::expiry(session).await {
        Err(e) => no_credentials(&e),
        Ok(None) => Check::ok("credentials", format!("from {source}; they do not expire")),
        Ok(Some(at)) if at <= Timestamp::now() => Check::failed(
            "credentials",
            ErrorKind::Credentials,
            format!("from {source}; they expired at {at:.0}"),
            "sign in again, or choose others with --profile",
        ),
        Ok(Some(at)) => Check::ok("credentials", format!("from {source}; they expire at {at:.0}")),
    }
}

fn of_clock(ahead: Option<i64>) -> Check {
    let name = "clock";
    let Some(ahead) = ahead else { return Check::skipped(name, "not compared: STS did not say what time it is") };
    let way = if ahead < 0 { "behind" } else { "ahead of" };
    let message = format!("{} s {way} that of AWS", ahead.unsigned_abs());
    if ahead.abs() > LARGEST_SKEW {
        let hint = "set the clock of this machine: AWS takes no request that is signed five minutes off";
        return Check::failed(name, ErrorKind::Failed, message, hint);
    }
    Check::ok(name, message)
}

/// Said of what STS answered, when that may not have been AWS.
fn elsewhere(session: &Session) -> String {
    match session.endpoint() {
        Some(url) => format!("; requests go to {}, which may know no STS", without_secrets(url)),
        None => String::new(),
    }
}

fn hint_of(e: &Error, otherwise: &str) -> String {
    e.hint(None).unwrap_or_else(|| otherwise.to_owned())
}
