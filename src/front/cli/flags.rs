//! Flags from an action's parameters, and its input from the flags.

use std::ffi::{OsStr, OsString};

use clap::builder::{PossibleValue, TypedValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Map, Value};

use super::completions;
use crate::catalog::invocation::{shout, value_name};
use crate::catalog::schema::{Choice, Param, ParamKind, singular};
use crate::input::{self, Input, Naming, PathOrText, Source, Spool};
use crate::model::error::{Error, InputError, Result};

/// The flag that takes the whole input.
pub const INPUT: &str = "input";

/// The flags of an action's own parameters.
pub fn of_params(params: &[Param]) -> Vec<Arg> {
    params.iter().flat_map(of_param).collect()
}

/// `--input`.
pub fn input_flag() -> Arg {
    Arg::new(INPUT)
        .long(INPUT)
        .value_name("JSON|@FILE|-")
        .value_parser(clap::value_parser!(OsString))
        .allow_hyphen_values(true)
        .help("The whole input as one JSON object, from a file (@FILE) or from standard input (-); flags win over it")
        .help_heading("Inputs")
}

/// Kebab-case is accepted for every snake_case name.
pub fn with_kebab(arg: Arg, name: &str) -> Arg {
    if name.contains('_') { arg.alias(name.replace('_', "-")) } else { arg }
}

fn of_param(param: &Param) -> Vec<Arg> {
    let name = &param.name;
    let base = |id: &str| {
        let arg = Arg::new(id.to_owned()).long(id.to_owned()).value_parser(clap::value_parser!(OsString)).help_heading("Inputs");
        with_kebab(arg, id).help(help(param))
    };
    let flag = base(name).value_name(value_name(param));
    let flag = if param.is_region { flag.value_hint(completions::REGION) } else { flag };
    // A negative number or age is better told that it is none than taken for a flag.
    match &param.kind {
        ParamKind::Bool => vec![flag.num_args(0..=1).require_equals(true).default_missing_value("true")],
        ParamKind::Integer | ParamKind::Number | ParamKind::Date | ParamKind::Age => vec![flag.allow_hyphen_values(true)],
        ParamKind::Choice(choices) => vec![flag.value_parser(Choices::of(choices))],
        ParamKind::Text | ParamKind::Secret | ParamKind::Any | ParamKind::Object(_) => vec![flag],
        ParamKind::List { of, .. } => match (&**of, singular(name)) {
            (ParamKind::Object(members), Some(one)) => {
                let required = members.iter().filter(|m| m.required).count().max(1);
                let names: Vec<_> = members.iter().map(|m| shout(&m.name)).collect();
                let repeated = base(&one)
                    .action(ArgAction::Append)
                    .num_args(required..=members.len())
                    .value_names(names)
                    .help(format!("One of `{name}`; repeat for more"));
                vec![repeated, flag.action(ArgAction::Append).num_args(0..)]
            }
            (ParamKind::Choice(choices), _) => vec![flag.action(ArgAction::Append).num_args(0..).value_parser(Choices::of(choices))],
            _ => vec![flag.action(ArgAction::Append).num_args(0..)],
        },
    }
}

/// Shows and completes the choices of a flag. What was given is checked where the input is read, so that the error is like those of other inputs,
/// and a list of choices may come from a file.
#[derive(Clone)]
struct Choices(Vec<PossibleValue>);

impl Choices {
    fn of(choices: &[Choice]) -> Self {
        let value = |c: &Choice| match &c.description {
            Some(what) => PossibleValue::new(c.value.clone()).help(what.clone()),
            None => PossibleValue::new(c.value.clone()),
        };
        Choices(choices.iter().map(value).collect())
    }
}

impl TypedValueParser for Choices {
    type Value = OsString;

    fn parse_ref(&self, _: &clap::Command, _: Option<&Arg>, value: &OsStr) -> Result<OsString, clap::Error> {
        Ok(value.to_owned())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().cloned()))
    }
}

fn help(param: &Param) -> String {
    let mut help = param.description.clone();
    let mut facts = vec![param.kind.name()];
    if param.required {
        facts.push("required".into());
    }
    if let Some(default) = &param.default {
        facts.push(format!("default: {}", default.as_str().map_or_else(|| default.to_string(), str::to_owned)));
    }
    help.push_str(&format!(" [{}]", facts.join(", ")));
    help
}

/// An argument as text, or a sentence that names the flag.
pub fn text(name: &str, value: &OsStr) -> Result<String> {
    value.to_str().map(str::to_owned).ok_or_else(|| Error::field(name, format!("`{name}` is not UTF-8 text")))
}

/// Reads the input from flags, files and standard input.
pub struct Reader<'a> {
    matches: &'a ArgMatches,
    /// Who reads standard input: only one can.
    stdin: Option<String>,
    /// One of the parameters takes a secret: what is given in the wrong place may be it, and is not repeated.
    discreet: bool,
}

impl<'a> Reader<'a> {
    /// For the matches of an action's command.
    pub fn new(matches: &'a ArgMatches) -> Self {
        Reader { matches, stdin: None, discreet: false }
    }

    /// The whole input; flags win over `--input`. A parameter that cannot be read is told in the input, so that the mistakes of all are told together.
    pub fn read(mut self, params: &[Param]) -> Result<Input> {
        self.discreet = params.iter().any(|p| p.kind.has_secret());
        let mut input = match self.given::<OsString>(INPUT) {
            Some(values) => self.whole(&values)?,
            None => Input::default(),
        };
        for param in params {
            match self.param(param, &mut input) {
                Err(Error::Input(mistake)) => input.mistakes.push((param.name.clone(), mistake)),
                other => other?,
            }
        }
        Ok(input)
    }

    fn whole(&mut self, values: &[&OsString]) -> Result<Input> {
        let Some(value) = values.last() else { return Ok(Input::default()) };
        let value = text(INPUT, value)?;
        let json = match Source::parse(&value) {
            Some(source) => self.claim(&source, INPUT)?.read_to_string(INPUT)?,
            None => value,
        };
        Input::from_json(&json).map_err(|e| Error::field(INPUT, format!("`{INPUT}`: {e}")))
    }

    fn param(&mut self, param: &Param, input: &mut Input) -> Result<()> {
        let name = &param.name;
        if let ParamKind::List { of, streamed } = &param.kind {
            return self.list(param, of, *streamed, input);
        }
        let Some(values) = self.given::<OsString>(name) else { return Ok(()) };
        let Some(value) = values.last() else { return Ok(()) };
        let value = text(name, value)?;
        let value = match &param.kind {
            ParamKind::Object(_) | ParamKind::Any => self.json(name, &value)?,
            ParamKind::Secret => self.secret(name, value)?,
            _ if param.is_path => self.path(name, value)?,
            kind => self.scalar(name, kind, value)?,
        };
        input.value.insert(name.clone(), value);
        Ok(())
    }

    fn list(&mut self, param: &Param, of: &ParamKind, streamed: bool, input: &mut Input) -> Result<()> {
        let (name, mut given) = (param.name.as_str(), false);
        let mut gathered = Gathered { name, secret: of.has_secret(), naming: &param.naming, values: Vec::new(), spool: None };
        if let (ParamKind::Object(members), Some(one)) = (of, singular(name)) {
            for occurrence in self.matches.get_occurrences::<OsString>(&one).into_iter().flatten() {
                given = true;
                let object = self.object(&one, members, occurrence)?;
                gathered.push(object)?;
            }
        }
        if let Some(all) = self.given::<OsString>(name) {
            given = true;
            for value in all {
                let value = text(name, value)?;
                if let Some(source) = Source::parse(&value) {
                    let source = self.claim(&source, name)?;
                    gathered.spool()?.fill(&source, of.elements())?;
                    continue;
                }
                match of {
                    ParamKind::Object(_) | ParamKind::Any | ParamKind::List { .. } => match json(name, &value)? {
                        Value::Array(items) => items.into_iter().try_for_each(|item| gathered.push(item))?,
                        one => gathered.push(one)?,
                    },
                    // `@@x` is the literal `@x`.
                    kind => {
                        let value = value.strip_prefix('@').map_or(value.clone(), str::to_owned);
                        gathered.push(if param.is_path { PathOrText::typed(value) } else { self.scalar(name, kind, value)? })?;
                    }
                }
            }
        }
        if given {
            gathered.put(streamed, input)?;
        }
        Ok(())
    }

    /// The values of a flag that was given on the command line, maybe none.
    fn given<T: Clone + Send + Sync + 'static>(&self, name: &str) -> Option<Vec<&'a T>> {
        if self.matches.value_source(name) != Some(ValueSource::CommandLine) {
            return None;
        }
        Some(self.matches.get_many::<T>(name).into_iter().flatten().collect())
    }

    fn json(&mut self, name: &str, value: &str) -> Result<Value> {
        match Source::parse(value) {
            Some(source) => json(name, &self.claim(&source, name)?.read_to_string(name)?),
            None => json(name, value),
        }
    }

    /// `--object KEY BODY` as an object: members in the order in which they are declared.
    fn object<'v>(&mut self, flag: &str, members: &[Param], values: impl Iterator<Item = &'v OsString>) -> Result<Value> {
        let mut object = Map::new();
        for (member, value) in members.iter().zip(values) {
            let name = format!("{flag}.{}", member.name);
            let value = text(&name, value)?;
            let value = match member.kind {
                ParamKind::Secret => self.secret(&name, value)?,
                _ if member.is_path => self.path(&name, value)?,
                _ => self.scalar(&name, &member.kind, value)?,
            };
            object.insert(member.name.clone(), value);
        }
        Ok(Value::Object(object))
    }

    fn scalar(&self, name: &str, kind: &ParamKind, value: String) -> Result<Value> {
        scalar(kind, &value).map_err(|takes| {
            if self.discreet {
                return Error::field(name, format!("`{name}` takes {takes}"));
            }
            let hint = super::did_you_mean(&value, kind.choices().iter().map(|c| c.value.as_str()));
            Error::Input(InputError::field(name, format!("`{name}` takes {takes}, not `{value}`")).with_hint(hint))
        })
    }

    /// A secret need not stand on the command line, where others see it.
    fn secret(&mut self, name: &str, value: String) -> Result<Value> {
        let text = match (Source::parse(&value), value.strip_prefix("env:")) {
            (Some(source @ Source::Stdin), _) => self.claim(&source, name)?.read_to_string(name)?,
            // Neither name is repeated: a secret may begin like that.
            (Some(source), _) => source.read_to_string(name).map_err(|_| {
                let message = format!("`{name}`: the file that stands behind `@` cannot be read as text");
                Error::Input(
                    InputError::field(name, message)
                        .with_hint(Some("a secret that begins with @ is given with another @ before it".into())),
                )
            })?,
            (None, Some(variable)) => std::env::var(variable).map_err(|_| {
                Error::field(name, format!("`{name}`: the environment variable that stands behind `env:` is not set to text"))
            })?,
            (None, None) => value.strip_prefix('@').map_or(value.clone(), str::to_owned),
        };
        let text = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
        Ok(Value::String(text.to_owned()))
    }

    /// What may name a file: a dash alone may be standard input.
    fn path(&mut self, name: &str, value: String) -> Result<Value> {
        if let Some(source @ Source::Stdin) = Source::parse(&value) {
            self.claim(&source, name)?;
        }
        Ok(PathOrText::typed(value))
    }

    /// Standard input can be read by one flag only.
    fn claim(&mut self, source: &Source, name: &str) -> Result<Source> {
        if *source == Source::Stdin {
            if let Some(other) = &self.stdin {
                return Err(Error::field(name, format!("`{name}` and `{other}` cannot both read standard input")));
            }
            self.stdin = Some(name.to_owned());
        }
        Ok(source.clone())
    }
}

/// A list as its flags are read: in memory until one of them names a file or standard input.
struct Gathered<'a> {
    name: &'a str,
    /// Its elements hold secrets, which are written to no file.
    secret: bool,
    naming: &'a Naming,
    values: Vec<Value>,
    spool: Option<Spool>,
}

impl Gathered<'_> {
    fn push(&mut self, value: Value) -> Result<()> {
        match &mut self.spool {
            Some(spool) => spool.push(&value),
            None => {
                self.values.push(value);
                Ok(())
            }
        }
    }

    /// The temporary file, begun with what was gathered so far.
    fn spool(&mut self) -> Result<&mut Spool> {
        if self.spool.is_none() {
            let mut fresh = self.empty_spool();
            std::mem::take(&mut self.values).iter().try_for_each(|v| fresh.push(v))?;
            self.spool = Some(fresh);
        }
        let fresh = self.empty_spool();
        Ok(self.spool.get_or_insert(fresh))
    }

    fn empty_spool(&self) -> Spool {
        let spool = if self.secret { Spool::of_secrets(self.name) } else { Spool::new(self.name) };
        spool.with_naming(self.naming.clone())
    }

    fn put(self, streamed: bool, input: &mut Input) -> Result<()> {
        let values = match self.spool {
            Some(spool) if streamed => {
                input.value.remove(self.name);
                input.spools.insert(self.name.to_owned(), spool);
                return Ok(());
            }
            Some(spool) => spool.into_values()?,
            None => self.values,
        };
        input.value.insert(self.name.to_owned(), Value::Array(values));
        Ok(())
    }
}

fn json(name: &str, text: &str) -> Result<Value> {
    input::read_json(text).map_err(|what| Error::field(name, format!("`{name}` {what}")))
}

/// One value as its kind has it, or what the kind takes. What the kind cannot tell, the action's own type checks.
fn scalar(kind: &ParamKind, value: &str) -> Result<Value, String> {
    let whole = "a whole number";
    match kind {
        ParamKind::Bool => value.parse::<bool>().map(Value::from).map_err(|_| "true or false".to_owned()),
        ParamKind::Integer => match value.parse::<i64>() {
            Ok(n) => Ok(n.into()),
            Err(_) => value.parse::<u64>().map(Value::from).map_err(|_| whole.to_owned()),
        },
        ParamKind::Number => {
            let number = value.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            number.map(Value::Number).ok_or_else(|| "a number".to_owned())
        }
        ParamKind::Choice(choices) if !choices.iter().any(|c| c.value == value) => {
            let names: Vec<_> = choices.iter().map(|c| c.value.as_str()).collect();
            Err(format!("one of {}", names.join(", ")))
        }
        _ => Ok(Value::String(value.to_owned())),
    }
}
