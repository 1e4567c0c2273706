//! The person at the terminal: errors and logs they read, questions they answer, signals they send.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};

use async_trait::async_trait;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::common::{ErrorFormat, Verbosity};
use super::progress::ProgressLine;
use super::values::without_secrets;
use crate::aws::{doctor, sandbox};
use crate::engine::host::{Consent, Host, Progress, Question, Unattended};
use crate::input::Secret;
use crate::model::error::{Error, InputError, Result};
use crate::render::{printable, printable_json};

/// The controlling terminal, wherever the standard streams go.
#[cfg(unix)]
const TERMINAL: &str = "/dev/tty";
#[cfg(windows)]
const TERMINAL: &str = "CONIN$";

/// Writes an error to standard error and gives the exit code; all mistakes of an input, a line each. `path` is the action that ran.
pub fn print_error(error: &Error, path: Option<&str>, format: ErrorFormat) -> u8 {
    match (format, error) {
        (ErrorFormat::Text, Error::Input(mistakes)) => {
            mistakes.clone().into_all().iter().for_each(|mistake| say_error(&mistake.message, mistake.hint.as_deref()));
        }
        (ErrorFormat::Text, _) => {
            say_error(&error.to_string(), error.hint(path).as_deref());
            if let Some(hint) = first_run(error) {
                say(&format!("  hint: {hint}\n"));
            }
        }
        (ErrorFormat::Json, _) => {
            let (first, others) = match error {
                Error::Input(mistakes) => (mistakes.clone(), mistakes.others.clone()),
                _ => {
                    let hints: Vec<String> = error.hint(path).into_iter().chain(first_run(error)).collect();
                    let hint = (!hints.is_empty()).then(|| hints.join("; "));
                    (InputError::new(error.to_string()).with_hint(hint), Vec::new())
                }
            };
            let other = |mistake: &InputError| json!({ "message": mistake.message, "field": mistake.field, "hint": mistake.hint });
            let body = json!({
                "kind": error.kind(), "message": first.message, "field": first.field, "code": error.code(),
                "request_id": error.request_id(), "hint": first.hint, "action": path, "exit_code": error.kind().exit_code(),
                "others": others.iter().map(other).collect::<Vec<_>>(),
            });
            say(&format!("{}\n", printable_json(&json!({ "error": body }).to_string())));
        }
    }
    error.kind().exit_code()
}

/// What somebody can do who has set nothing up yet, and may not have an account.
fn first_run(error: &Error) -> Option<String> {
    if !matches!(error, Error::NoRegion | Error::Credentials { .. }) || !doctor::is_new_here() {
        return None;
    }
    let missing = "`aaws doctor` shows what is missing";
    Some(match sandbox::services().first() {
        Some(service) => format!("without an account, try `aaws demo`, or an action of {service} with --sandbox; {missing}"),
        None => missing.to_owned(),
    })
}

/// One line for what is wrong and one for what to do: what a server or a name says begins no line of its own, and is no control character.
fn say_error(message: &str, hint: Option<&str>) {
    say(&format!("error: {}\n", printable(message)));
    if let Some(hint) = hint {
        say(&format!("  hint: {}\n", printable(hint)));
    }
}

/// Writes to standard error. When nobody can read that, there is nobody to tell.
pub fn say(text: &str) {
    let mut stderr = io::stderr();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Sends log lines to standard error, around the progress line.
pub fn start_logging(verbosity: Verbosity, format: ErrorFormat, progress: &ProgressLine) {
    let level = match verbosity {
        Verbosity::Silent => Level::ERROR,
        Verbosity::Normal => Level::INFO,
        Verbosity::Debug => Level::DEBUG,
    };
    // What libraries say is rarely meant for our users; the sandbox's server logs each refusal as an error.
    let mut levels = Targets::new().with_default(level).with_target("s3s", tracing::level_filters::LevelFilter::OFF);
    for library in ["aws_", "hyper", "h2", "rustls", "tower"] {
        levels = levels.with_target(library, Level::ERROR);
    }
    let progress = progress.clone();
    let layer = tracing_subscriber::fmt::layer().event_format(Line(format)).with_writer(move || progress.stderr());
    // A program that uses the library may have its own subscriber: then that one stays.
    let _ = tracing_subscriber::registry().with(levels).with(layer).try_init();
}

/// `warning: …`, or one JSON object a line.
struct Line(ErrorFormat);

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut message = Message(String::new());
        event.record(&mut message);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            _ => "debug",
        };
        match self.0 {
            ErrorFormat::Text => writeln!(writer, "{level}: {}", printable(&message.0)),
            ErrorFormat::Json => {
                writeln!(writer, "{}", printable_json(&json!({ "level": level, "message": message.0 }).to_string()))
            }
        }
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

/// The person at the terminal, if there is one.
pub struct Terminal {
    progress: ProgressLine,
    /// What agreed beforehand: `--yes`, `AAWS_YES`.
    agreed: Option<&'static str>,
}

impl Terminal {
    /// Draws there, and asks there unless something agreed beforehand.
    pub fn new(progress: ProgressLine, agreed: Option<&'static str>) -> Self {
        Terminal { progress, agreed }
    }

    /// Asks, and reads a line. The thread that reads it is left behind when the run is cancelled meanwhile.
    async fn ask(&self, text: String) -> Result<String> {
        // Not drawn for as long as it takes, but nothing waits for it: what else is said meanwhile is said.
        let _away = self.progress.away();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = sender.send(ask_now(&text));
        });
        let answer = receiver.await.unwrap_or_else(|_| Err(io::Error::other("nobody answered")));
        answer.map_err(|e| Error::io("ask on the terminal", e))
    }
}

#[async_trait]
impl Host for Terminal {
    fn consent(&self) -> Consent {
        match (self.agreed, attendance()) {
            (Some(by), _) => Consent::Given(by),
            (None, Attendance::Foreground) => Consent::Ask,
            (None, Attendance::Background) => {
                Consent::Impossible("this runs in the background of a terminal, where nobody can answer".into())
            }
            (None, Attendance::Nobody) => Consent::NotNeeded,
        }
    }

    async fn confirm(&self, question: Question) -> Result<bool> {
        let answer = self.ask(text_of(&question)).await?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    async fn secret(&self, question: &str) -> Result<Option<Secret>> {
        if attendance() != Attendance::Foreground {
            return Ok(None);
        }
        let question = format!("{}: ", printable(question));
        let _away = self.progress.away();
        let read = tokio::task::spawn_blocking(move || rpassword::prompt_password(question)).await;
        let text = read.unwrap_or_else(|e| Err(io::Error::other(e)));
        text.map(|t| Some(Secret::new(t))).map_err(|e| match e.kind() {
            io::ErrorKind::Interrupted => Error::Interrupted,
            _ => Error::io("ask on the terminal", e),
        })
    }

    async fn mfa_token(&self, serial: &str) -> Result<String> {
        if attendance() != Attendance::Foreground {
            return Unattended.mfa_token(serial).await;
        }
        let answer = self.ask(format!("Digits of the MFA device {}: ", printable(serial))).await?;
        Ok(answer.trim().to_owned())
    }

    fn progress(&self, progress: Progress) {
        self.progress.show(progress);
    }
}

/// What is about to happen, where, and to what.
fn text_of(question: &Question) -> String {
    let items = match question.total {
        Some(1) => "1 item".to_owned(),
        Some(total) => format!("{total} items"),
        None => format!("{} items or more", question.items.len()),
    };
    let place = &question.place;
    let account = place.account.as_deref().map_or_else(|| "account not known".to_owned(), |id| format!("account {id}"));
    let endpoint = place.endpoint.as_deref().map(|url| format!(", endpoint {}", printable(&without_secrets(url)))).unwrap_or_default();
    let mut text = format!("About to {} ({items}, region {}):\n", printable(&question.summary), place.region);
    text.push_str(&format!("  in {account}, with {}{endpoint}\n", printable(&place.credentials)));
    question.items.iter().for_each(|i| text.push_str(&format!("  {}\n", printable(i))));
    if question.total != Some(question.items.len() as u64) {
        text.push_str("  …\n");
    }
    text.push_str("Go on? [y/N] ");
    text
}

/// Who is at the terminal that this process belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attendance {
    /// Somebody who can answer.
    Foreground,
    /// Somebody who is answering another program: reading would stop this one.
    Background,
    /// There is no terminal.
    Nobody,
}

#[cfg(unix)]
fn attendance() -> Attendance {
    let Ok(terminal) = OpenOptions::new().read(true).write(true).open(TERMINAL) else { return Attendance::Nobody };
    match rustix::termios::tcgetpgrp(&terminal) {
        Ok(group) if group == rustix::process::getpgrp() => Attendance::Foreground,
        Ok(_) => Attendance::Background,
        // A terminal of which that cannot be told can be asked, or the reading fails.
        Err(_) => Attendance::Foreground,
    }
}

#[cfg(not(unix))]
fn attendance() -> Attendance {
    match OpenOptions::new().read(true).write(true).open(TERMINAL) {
        Ok(_) => Attendance::Foreground,
        Err(_) => Attendance::Nobody,
    }
}

/// Whatever the standard streams are, the question is shown on the terminal and answered there.
fn ask_now(text: &str) -> io::Result<String> {
    OpenOptions::new().write(true).open(TERMINAL)?.write_all(text.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(OpenOptions::new().read(true).open(TERMINAL)?).read_line(&mut answer)?;
    Ok(answer)
}
