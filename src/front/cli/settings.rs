//! Settings: what the common flags say where they are not given.
//!
//! Flat keys, named as the flags. From the user's `aaws.toml`, then that of the folder that the program runs in, then the environment (`AAWS_…`): what
//! comes later wins, but that tags which protect add up. Flags win over all of it.
//!
//! The file of the folder came with it, and whoever wrote it is not the user: it cannot choose whose credentials are used, where requests go, or what is
//! written where, and it cannot agree to anything. No file can do the last.

#[cfg(any(test, fuzzing))]
pub mod fuzz;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fs, io};

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{did_you_mean, values};
use crate::engine::guards::{Percent, ProtectTag};
use crate::input::Age;
use crate::model::error::{Error, InputError, Result};
use crate::model::target::{AccountId, Region, RoleArn, SessionName};
use crate::render::Format;

/// The name of the files.
const FILE: &str = "aaws.toml";

/// No file of settings is nearly as large.
const MOST_BYTES: u64 = 1 << 20;

/// A setting that there can be.
pub struct Key {
    /// As the flag is called.
    pub name: &'static str,
    pub kind: Kind,
    /// The files that may have it.
    place: Place,
    /// Variables that other tools have for it too: what one of them says wins over files, as all of the environment does.
    rivals: &'static [Rival],
    /// What is wrong with a value, or with an element of a list.
    check: fn(&str) -> Result<(), String>,
}

/// What the value of a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Switch,
    List,
}

/// The files that may have a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The user's, and that of the folder.
    Any,
    /// The user's only.
    User,
    /// None: a flag or a variable says it.
    Nowhere,
}

/// A variable that is not ours.
struct Rival {
    variable: &'static str,
    /// Whether its value is what the setting is, rather than something that makes it meaningless.
    is_value: bool,
}

const fn same(variable: &'static str) -> Rival {
    Rival { variable, is_value: true }
}

/// Says by another way whose credentials are used.
const fn other(variable: &'static str) -> Rival {
    Rival { variable, is_value: false }
}

/// The variables by which the SDKs find credentials.
const CREDENTIALS: &[Rival] = &[
    same("AWS_PROFILE"),
    other("AWS_ACCESS_KEY_ID"),
    other("AWS_WEB_IDENTITY_TOKEN_FILE"),
    other("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    other("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
];

/// All settings, by name.
pub const KEYS: &[Key] = &[
    Key { check: fits::<AccountId>, ..key("account", Kind::Text, Place::Any) },
    Key { check: concurrency, ..key("concurrency", Kind::Number, Place::Any) },
    key("debug", Kind::Switch, Place::Any),
    Key { check: endpoint_url, rivals: &[same("AWS_ENDPOINT_URL")], ..key("endpoint_url", Kind::Text, Place::User) },
    Key { check: error_format, ..key("error_format", Kind::Text, Place::Any) },
    key("max_items", Kind::Number, Place::Any),
    Key { check: fits::<Percent>, ..key("max_percent", Kind::Number, Place::Any) },
    Key { check: not_empty, ..key("mfa_serial", Kind::Text, Place::User) },
    key("no_cache", Kind::Switch, Place::Any),
    Key { check: output, ..key("output", Kind::Text, Place::Any) },
    Key { check: not_empty, rivals: CREDENTIALS, ..key("profile", Kind::Text, Place::User) },
    Key { check: fits::<ProtectTag>, ..key(PROTECT_TAG, Kind::List, Place::Any) },
    Key { check: fits::<Region>, rivals: &[same("AWS_REGION"), same("AWS_DEFAULT_REGION")], ..key("region", Kind::Text, Place::Any) },
    key("require_yes", Kind::Switch, Place::Any),
    Key { check: fits::<RoleArn>, ..key("role_arn", Kind::List, Place::User) },
    Key { check: fits::<SessionName>, rivals: &[same("AWS_ROLE_SESSION_NAME")], ..key("session_name", Kind::Text, Place::User) },
    key("silent", Kind::Switch, Place::Any),
    Key { check: fits::<Age>, ..key("timeout", Kind::Text, Place::Any) },
];

/// Those that a variable or a flag says, and no file: `AAWS_SANDBOX` and `AAWS_YES` have forms of their own.
pub const NOT_IN_FILES: &[Key] = &[key("sandbox", Kind::Text, Place::Nowhere), key("yes", Kind::Switch, Place::Nowhere)];

/// The one setting that adds up.
pub const PROTECT_TAG: &str = "protect_tag";

const fn key(name: &'static str, kind: Kind, place: Place) -> Key {
    Key { name, kind, place, rivals: &[], check: |_| Ok(()) }
}

fn fits<T: FromStr<Err = String>>(text: &str) -> Result<(), String> {
    text.parse::<T>().map(drop)
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err("it is empty".into()) } else { Ok(()) }
}

fn concurrency(text: &str) -> Result<(), String> {
    values::concurrency(text).map(drop).map_err(|e| without_name("concurrency", &e))
}

fn endpoint_url(text: &str) -> Result<(), String> {
    values::endpoint(text.to_owned()).map(drop).map_err(|e| without_name("endpoint_url", &e))
}

/// What an error says of a value, when its name stands before it anyway.
fn without_name(name: &str, error: &Error) -> String {
    error.to_string().trim_start_matches(&format!("`{name}` ")).to_owned()
}

fn output(text: &str) -> Result<(), String> {
    let names: Vec<&str> = Format::ALL.iter().map(|(name, ..)| *name).collect();
    if names.contains(&text) { Ok(()) } else { Err(format!("`{text}` is none of {}", names.join(", "))) }
}

fn error_format(text: &str) -> Result<(), String> {
    if matches!(text, "text" | "json") { Ok(()) } else { Err(format!("`{text}` is none of text, json")) }
}

impl Kind {
    fn takes(self) -> &'static str {
        match self {
            Kind::Text => "text in quotes",
            Kind::Number => "a whole number",
            Kind::Switch => "true or false",
            Kind::List => "a list of texts",
        }
    }
}

/// What a setting is, and where it says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub value: Value,
    /// Files with their lines, and variables.
    pub source: String,
    /// Whether a variable says it that the SDKs have too: it is read where they read it.
    foreign: bool,
}

/// What is set.
#[derive(Debug, Default)]
pub struct Settings(BTreeMap<&'static str, Setting>);

impl Settings {
    /// Reads the files and the environment, and checks all of it.
    pub fn load() -> Result<Self> {
        let mut settings = Settings::default();
        let mut mistakes = Vec::new();
        let (user, project) = (user_file(), PathBuf::from(FILE));
        let is_users = user.as_deref().is_some_and(|user| is_same(user, &project));
        if let Some(text) = user.as_deref().map(read).transpose()?.flatten() {
            let file = user.as_deref().unwrap_or(Path::new(FILE)).display().to_string();
            settings.add_file(&file, &text, Place::User, &mut mistakes);
        }
        let of_folder = if is_users { None } else { read(&project)? };
        if let Some(text) = of_folder {
            settings.add_file(&format!("./{FILE}"), &text, Place::Any, &mut mistakes);
        }
        for key in KEYS {
            settings.add_environment(key, &mut mistakes);
        }
        Error::inputs(mistakes)?;
        Ok(settings)
    }

    /// What is set of a key.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.0.get(name)
    }

    /// A text or a number, for those who read flags.
    pub fn text(&self, name: &str) -> Option<String> {
        match &self.own(name)?.value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Whether it is on.
    pub fn switch(&self, name: &str) -> bool {
        self.own(name).is_some_and(|setting| setting.value == Value::Bool(true))
    }

    /// A list; nothing where it is not set.
    pub fn list(&self, name: &str) -> Vec<String> {
        let list = self.own(name).and_then(|setting| setting.value.as_array());
        list.into_iter().flatten().filter_map(|element| element.as_str().map(str::to_owned)).collect()
    }

    fn own(&self, name: &str) -> Option<&Setting> {
        self.0.get(name).filter(|setting| !setting.foreign)
    }

    /// Puts a setting in the place of an earlier one, or adds it up.
    fn put(&mut self, name: &'static str, setting: Setting) {
        match self.0.get_mut(name) {
            Some(earlier) if name == PROTECT_TAG => {
                if let (Value::Array(all), Value::Array(more)) = (&mut earlier.value, setting.value) {
                    all.extend(more);
                    earlier.source = format!("{}, {}", earlier.source, setting.source);
                }
            }
            _ => drop(self.0.insert(name, setting)),
        }
    }

    /// The settings of a file, from the first line to the last.
    fn add_file(&mut self, file: &str, text: &str, place: Place, mistakes: &mut Vec<InputError>) {
        let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        let table = match DeTable::parse(text) {
            Ok(table) => table.into_inner(),
            Err(e) => {
                let at = e.span().map_or(0, |span| span.start);
                mistakes.push(InputError::new(format!("{file}:{}: this is no TOML: {}", line(at), e.message())));
                return;
            }
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let at = format!("{file}:{}", line(name.span().start));
            match setting(name.get_ref(), value.get_ref(), place) {
                Ok((key, value)) => self.put(key.name, Setting { value, source: at, foreign: false }),
                Err(mistake) => mistakes.push(InputError { message: format!("{at}: {}", mistake.message), ..mistake }),
            }
        }
    }

    /// What the environment says of a key. A variable that is set to nothing is not set.
    fn add_environment(&mut self, key: &'static Key, mistakes: &mut Vec<InputError>) {
        let variable = variable(key.name);
        if let Some(value) = set(&variable) {
            match of_variable(key, value) {
                Ok(value) => self.put(key.name, Setting { value, source: variable, foreign: false }),
                Err(what) => mistakes.push(InputError::field(key.name, format!("{variable}: `{}`: {what}", key.name))),
            }
            return;
        }
        for rival in key.rivals {
            if let Some(value) = set(rival.variable) {
                let value = if rival.is_value { Value::String(value.to_string_lossy().into_owned()) } else { Value::Null };
                self.put(key.name, Setting { value, source: rival.variable.to_owned(), foreign: true });
                return;
            }
        }
    }
}

/// The files that there are, the user's first.
pub fn files() -> Vec<PathBuf> {
    let (user, project) = (user_file(), PathBuf::from(FILE));
    let of_folder = user.as_deref().is_none_or(|user| !is_same(user, &project)).then_some(project);
    user.into_iter().chain(of_folder).filter(|file| file.is_file()).collect()
}

/// The variable of a setting: `AAWS_MAX_ITEMS`.
pub fn variable(name: &str) -> String {
    format!("AAWS_{}", name.to_ascii_uppercase())
}

fn set(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

/// One setting of a file, checked.
fn setting(name: &str, value: &DeValue<'_>, place: Place) -> Result<(&'static Key, Value), InputError> {
    let wrong = |message: String| InputError::field(name, message);
    let Some(key) = KEYS.iter().find(|key| key.name == name) else {
        if NOT_IN_FILES.iter().any(|key| key.name == name) {
            let message = format!("`{name}` cannot be set in a file: give --{name}, or set {}", variable(name));
            return Err(wrong(message));
        }
        return Err(wrong(format!("there is no setting `{name}`")).with_hint(did_you_mean(name, KEYS.iter().map(|key| key.name))));
    };
    if place == Place::Any && key.place == Place::User {
        let hint = user_file().map(|file| format!("set it in {}, or give --{name}", file.display()));
        let message =
            format!("`{name}` cannot be set by the folder that this runs in: it says whose credentials are used, or where requests go");
        return Err(wrong(message).with_hint(hint));
    }
    let value = value_of(key.kind, value).map_err(|found| wrong(format!("`{name}` takes {}, not {found}", key.kind.takes())))?;
    check(key, &value).map_err(|what| wrong(format!("`{name}`: {what}")))?;
    Ok((key, value))
}

/// A value of TOML, or what it is instead.
fn value_of(kind: Kind, value: &DeValue<'_>) -> Result<Value, &'static str> {
    let found = match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "this number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    match (kind, value) {
        (Kind::Text, DeValue::String(text)) => Ok(Value::from(&**text)),
        (Kind::Switch, DeValue::Boolean(on)) => Ok(Value::Bool(*on)),
        (Kind::Number, DeValue::Integer(number)) => {
            u64::from_str_radix(number.as_str(), number.radix()).map(Value::from).map_err(|_| found)
        }
        (Kind::List, DeValue::Array(elements)) => {
            let texts = elements.iter().map(|element| element.get_ref().as_str().map(Value::from));
            texts.collect::<Option<Vec<Value>>>().map(Value::Array).ok_or("a list of other things")
        }
        _ => Err(found),
    }
}

/// What a variable says, checked: a list is a JSON array, or one element.
fn of_variable(key: &Key, text: OsString) -> Result<Value, String> {
    let text = text.into_string().map_err(|_| "it is not UTF-8 text".to_owned())?;
    let takes = |what: &str| format!("it takes {what}, not `{text}`");
    let value = match key.kind {
        Kind::Text => Value::from(text.as_str()),
        Kind::Number => Value::from(text.parse::<u64>().map_err(|_| takes("a whole number"))?),
        Kind::Switch => match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "y" => Value::Bool(true),
            "0" | "false" | "no" | "n" => Value::Bool(false),
            _ => return Err(takes("true or false")),
        },
        Kind::List if text.trim_start().starts_with('[') => {
            let list: Vec<String> = serde_json::from_str(&text).map_err(|_| takes("one text, or a JSON array of texts"))?;
            Value::from(list)
        }
        Kind::List => Value::from(vec![text.as_str()]),
    };
    check(key, &value)?;
    Ok(value)
}

/// What is wrong with a value of the right kind.
fn check(key: &Key, value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => (key.check)(text),
        Value::Number(number) => (key.check)(&number.to_string()),
        Value::Array(elements) => elements.iter().filter_map(Value::as_str).try_for_each(key.check),
        _ => Ok(()),
    }
}

/// The user's file, where a home directory is known.
fn user_file() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let home = || std::env::home_dir().filter(|home| home.is_absolute());
    let folder = set.or_else(|| Some(home()?.join(".config")))?;
    Some(folder.join("aaws").join(FILE))
}

/// Whether two paths lead to one file: the user's file is the user's wherever the program runs.
fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// The text of a file; none where there is no file. One that is there and cannot be read may hold guards: it is not passed over.
fn read(path: &Path) -> Result<Option<String>> {
    let wrong = |what: &dyn std::fmt::Display| Error::input(format!("{}: {what}", path.display()));
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(wrong(&format!("the settings cannot be read: {e}"))),
    };
    if !about.is_file() || about.len() > MOST_BYTES {
        return Err(wrong(&"this is no file of settings"));
    }
    fs::read_to_string(path).map(Some).map_err(|e| wrong(&format!("the settings cannot be read: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file sets, or what is wrong with it.
    fn file(place: Place, text: &str) -> (Settings, Vec<String>) {
        let (mut settings, mut mistakes) = (Settings::default(), Vec::new());
        settings.add_file("f", text, place, &mut mistakes);
        (settings, mistakes.into_iter().map(|mistake| mistake.message).collect())
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let text = "# guards\nmax_items = 1_0\nrequire_yes = true\n\nprotect_tag = [\n  \"Env=prod\",\n]\ntimeout = '10m'\n";
        let (settings, mistakes) = file(Place::Any, text);
        assert_eq!(mistakes, [""; 0]);
        assert_eq!(settings.text("max_items").as_deref(), Some("10"));
        assert!(settings.switch("require_yes") && !settings.switch("debug"));
        assert_eq!(settings.list(PROTECT_TAG), ["Env=prod"]);
        assert_eq!(settings.get("timeout").map(|s| s.source.as_str()), Some("f:8"));
    }

    #[test]
    fn each_mistake_is_told_with_its_line() {
        let text = "max_items = \"5\"\nmax_itens = 5\nyes = true\ntimeout = \"soon\"\nprotect_tag = [1]\n[s3]\nregion = \"x\"\n";
        let (_, mistakes) = file(Place::User, text);
        let begins =
            ["f:1: `max_items` takes", "f:2: there is no", "f:3: `yes` cannot", "f:4: `timeout`:", "f:5: `protect_tag` takes", "f:6: "];
        assert_eq!(mistakes.len(), begins.len(), "{mistakes:?}");
        for (mistake, begin) in mistakes.iter().zip(begins) {
            assert!(mistake.starts_with(begin), "{mistake}");
        }
        for (text, begin) in [("a = 1\nb\n", "f:2: this is no TOML"), ("max_items = 1\nmax_items = 2\n", "f:2: this is no TOML")] {
            let (_, mistakes) = file(Place::User, text);
            assert!(matches!(mistakes.as_slice(), [one] if one.starts_with(begin)), "{mistakes:?}");
        }
    }

    #[test]
    fn a_folder_cannot_choose_credentials_or_where_they_go() {
        for line in ["profile = \"prod\"", "endpoint_url = \"http://x\"", "role_arn = []", "mfa_serial = \"x\"", "session_name = \"xy\""] {
            let (settings, mistakes) = file(Place::Any, line);
            assert!(settings.0.is_empty() && mistakes.len() == 1, "{line}: {mistakes:?}");
            assert_eq!(file(Place::User, line).1, [""; 0], "{line}");
        }
    }

    #[test]
    fn tags_add_up_and_all_else_is_replaced() {
        let mut settings = Settings::default();
        for (name, text) in [("a", "protect_tag = ['x']\nmax_items = 1"), ("b", "protect_tag = ['y']\nmax_items = 2")] {
            settings.add_file(name, text, Place::Any, &mut Vec::new());
        }
        assert_eq!(settings.list(PROTECT_TAG), ["x", "y"]);
        assert_eq!(settings.get(PROTECT_TAG).map(|s| s.source.as_str()), Some("a:1, b:1"));
        assert_eq!(settings.get("max_items").map(|s| s.source.as_str()), Some("b:2"));
    }

    #[test]
    fn variables_are_text() {
        let of = |name: &str, text: &str| KEYS.iter().find(|key| key.name == name).map(|key| of_variable(key, text.into()));
        assert_eq!(of("max_items", "5"), Some(Ok(Value::from(5))));
        assert_eq!(of("require_yes", "No"), Some(Ok(Value::Bool(false))));
        assert_eq!(of(PROTECT_TAG, "a=b, c"), Some(Ok(Value::from(vec!["a=b, c"]))));
        assert_eq!(of(PROTECT_TAG, r#"["a","b"]"#), Some(Ok(Value::from(vec!["a", "b"]))));
        for (name, wrong) in
            [("max_items", "five"), ("require_yes", "maybe"), (PROTECT_TAG, "[1]"), ("account", "12"), ("max_percent", "101")]
        {
            assert!(matches!(of(name, wrong), Some(Err(_))), "{name}: {wrong}");
        }
    }
}
