//! What holds for every command line, and for every file of settings.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::rc::Rc;

use clap::Command;
use clap::error::ErrorKind;
use jiff::Timestamp;

pub use super::settings::fuzz::settings;
use super::{flags, help, usage_error};
use crate::catalog::manifest::Manifest;
use crate::catalog::registry;
use crate::engine::entry::Entry;
use crate::model::error::Error;

thread_local! {
    /// The commands of actions, which take long to make.
    static COMMANDS: RefCell<HashMap<&'static str, Rc<(Manifest, Command)>>> = RefCell::default();
}

/// Reads a command line, `service action --flag value …` with one space between its words, as far as to the input of the action. What is wrong with it is
/// wrong with the input, and said.
pub fn argv(data: &[u8]) -> bool {
    let data = data.strip_suffix(b"\n").unwrap_or(data);
    let words: Vec<&[u8]> = data.split(|byte| *byte == b' ').collect();
    let [service, action, flags @ ..] = words.as_slice() else { return false };
    let path = format!("{}/{}", String::from_utf8_lossy(service), String::from_utf8_lossy(action));
    match registry::find(&path) {
        Some(entry) if !flags.iter().any(|word| reads(word)) => is_read(entry, flags),
        _ => false,
    }
}

fn is_read(entry: &'static Entry, words: &[&[u8]]) -> bool {
    let made = COMMANDS.with_borrow_mut(|commands| {
        let made = || Rc::new((Manifest::of(entry), help::action(entry)));
        Rc::clone(commands.entry(entry.meta.path).or_insert_with(made))
    });
    let (manifest, command) = &*made;
    let args = [entry.meta.name().as_bytes()].into_iter().chain(words.iter().copied()).map(word_of);
    match command.clone().try_get_matches_from(args) {
        Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => false,
        Err(e) => {
            let secret = manifest.params.iter().any(|param| param.kind.has_secret());
            is_told(&usage_error(&e, secret));
            false
        }
        Ok(matches) => {
            let input = flags::Reader::new(&matches).read(&manifest.params);
            let parsed = input.and_then(|input| entry.parse(input, Timestamp::UNIX_EPOCH).map(drop));
            parsed.inspect_err(is_told).is_ok()
        }
    }
}

/// What is wrong is wrong with the input, and said.
pub(super) fn is_told(error: &Error) {
    match error {
        Error::Input(mistake) => {
            let all = std::iter::once(mistake).chain(&mistake.others);
            all.for_each(|mistake| assert!(!mistake.message.trim().is_empty(), "{mistake:?}"));
        }
        other => panic!("this is no mistake of the input: {other:?}"),
    }
}

/// Whether a word may have something read that is no part of the line: standard input, or a file that is not below this folder.
fn reads(word: &[u8]) -> bool {
    word == b"-" || word.ends_with(b"=-") || (word.contains(&b'@') && word.contains(&b'/'))
}

#[cfg(unix)]
fn word_of(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn word_of(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}
