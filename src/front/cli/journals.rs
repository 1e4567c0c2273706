//! The journals of runs, as the command line makes and finds them.

use std::ffi::OsString;
use std::sync::Arc;

use jiff::Timestamp;

use super::common::{Common, Keep};
use crate::catalog::registry;
use crate::engine::entry::Entry;
use crate::engine::journal::{FORMAT, Header, Journal, Past, Store, Writer, new_id};
use crate::model::error::{Error, Result};
use crate::model::meta::{Effect, Reversible};

/// How many words of a command line are kept.
const WORDS: usize = 200;

/// Flags of which no value is kept, whatever the action is.
const UNKEPT: &[&str] = &["mfa", "mfa_token", "external_id", "input"];

/// The journal of a run of an action, where one is kept; `secret` when its flags may hold a secret. Of a run that applies a plan, with the plan's digest.
pub fn of_action(entry: &Entry, common: &Common, secret: bool, plan: Option<String>) -> Result<Option<Arc<dyn Journal>>> {
    // Nothing is written in a dry run, and nothing needs to be undone of what only looks.
    if !entry.meta.effect.changes() || common.run.dry_run {
        return Ok(None);
    }
    let header = Header { plan, ..header(entry, common, new_id(Timestamp::now()), secret) };
    Ok(match &common.journal {
        Keep::Nowhere => None,
        Keep::ByDefault if !is_kept_by_default(entry) => None,
        Keep::ByDefault | Keep::InFolder => Some(Arc::new(Writer::create(Store::of_user()?, header)?)),
        Keep::In(file) => Some(Arc::new(Writer::create_at(file, Store::of_user()?, header)?)),
    })
}

/// Whether runs of an action have steps that somebody may want to undo: all of it, or what one left half way that stops machines or takes rules away. What
/// only adds, and cannot be undone, leaves nothing like that; and bulk work keeps one only when asked.
fn is_kept_by_default(entry: &Entry) -> bool {
    entry.keeps_journal && entry.is_reversible() && (!matches!(entry.reversible, Reversible::No(_)) || entry.meta.effect >= Effect::Disrupt)
}

/// The journal of a run that undoes another, and the id of that run.
pub fn of_undo(entry: &Entry, common: &Common, undoes: &Past) -> Result<(Option<Arc<dyn Journal>>, String)> {
    let id = new_id(Timestamp::now());
    let header = Header { undoes: Some(undoes.header.id.clone()), ..header(entry, common, id.clone(), false) };
    let journal: Option<Arc<dyn Journal>> = match &common.journal {
        _ if common.run.dry_run => None,
        Keep::Nowhere => None,
        Keep::ByDefault | Keep::InFolder => Some(Arc::new(Writer::create(Store::of_user()?, header)?)),
        Keep::In(file) => Some(Arc::new(Writer::create_at(file, Store::of_user()?, header)?)),
    };
    Ok((journal, id))
}

fn header(entry: &Entry, common: &Common, id: String, secret: bool) -> Header {
    Header {
        format: FORMAT,
        tool: format!("aaws {}", env!("CARGO_PKG_VERSION")),
        id,
        action: entry.meta.path.to_owned(),
        input: serde_json::Map::new(),
        user: user(),
        host: host(),
        time: Timestamp::now(),
        command: command(secret),
        undoes: None,
        plan: None,
        guards: common.run.guards.clone(),
        account: common.session.account.clone(),
    }
}

/// The command line of this process, without what may be secret.
pub fn command(secret: bool) -> String {
    let words: Vec<OsString> = std::env::args_os().collect();
    kept_words(&words, secret)
}

/// With `secret` only the names of flags are kept, and the words before them.
fn kept_words(args: &[OsString], secret: bool) -> String {
    let mut kept = vec!["aaws".to_owned()];
    let mut hidden = false;
    for arg in args.iter().skip(1).take(WORDS) {
        let word = arg.to_string_lossy();
        match word.strip_prefix("--").filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())) {
            Some(named) => {
                let (name, value) = named.split_once('=').map_or((named, None), |(name, value)| (name, Some(value)));
                hidden = secret || UNKEPT.contains(&name.replace('-', "_").as_str());
                kept.push(match value {
                    Some(_) if hidden => format!("--{name}=…"),
                    _ => quoted(&word),
                });
            }
            // One mark stands for all values of a flag.
            None if hidden => {
                if kept.last().is_some_and(|last| last != "…") {
                    kept.push("…".to_owned());
                }
            }
            None => kept.push(quoted(&word)),
        }
    }
    if args.len() > WORDS + 1 {
        kept.push("…".to_owned());
    }
    kept.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn user() -> String {
    let set = |name: &&str| std::env::var(name).ok().filter(|name| !name.is_empty());
    ["USER", "LOGNAME", "USERNAME"].iter().find_map(set).unwrap_or_else(user_id)
}

#[cfg(unix)]
fn user_id() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}

#[cfg(not(unix))]
fn user_id() -> String {
    "unknown".into()
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "unknown".into())
}

/// An earlier run that was named, or the newest that is no undo and not undone yet; and its action.
pub fn find(word: Option<&str>) -> Result<(Past, &'static Entry)> {
    let store = Store::of_user()?;
    let past = match word {
        Some(word) => Past::read(&store.find(word)?)?,
        None => newest(&store)?,
    };
    let path = &past.header.action;
    let entry = registry::find(path)
        .ok_or_else(|| Error::input(format!("the run {} is of the action `{path}`, which this program does not have", past.header.id)))?;
    if Writer::is_in_use(&past.path) {
        return Err(Error::Refused(format!("the run {} is under way", past.header.id)));
    }
    Ok((past, entry))
}

fn newest(store: &Store) -> Result<Past> {
    for kept in store.all()?.into_iter().filter(|kept| !kept.is_empty()) {
        match Past::read(&kept.path) {
            Ok(past) if past.header.undoes.is_none() && past.undone.is_none() => return Ok(past),
            Ok(_) => {}
            // What cannot be read is named, not passed over: the run that was meant may be this one.
            Err(e) => {
                let id = kept.id;
                let what =
                    format!("{e}: the run {id} may be the one that is meant; give an id to undo another (`aaws log` lists the runs)");
                return Err(Error::Failed(what));
            }
        }
    }
    Err(Error::input("there is no run that could be undone: `aaws log` lists the runs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_of_a_command_line_is_kept() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let line = "/bin/aaws iam modify_users_console_access --user alice hunter2 --enable --users=hunter2";
        assert_eq!(kept_words(&words(line), true), "aaws iam modify_users_console_access --user … --enable --users=…");
        let line = "aaws s3 delete_objects --bucket b --mfa_token 123456 --mfa-token=123456 --objects a*";
        let kept = "aaws s3 delete_objects --bucket b --mfa_token … --mfa-token=… --objects 'a*'";
        assert_eq!(kept_words(&words(line), false), kept);
        let long: Vec<OsString> = (0..WORDS + 2).map(|n| n.to_string().into()).collect();
        assert!(kept_words(&long, false).ends_with("200 …"));
    }
}
