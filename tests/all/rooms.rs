//! The rooms of `src/`: who may know whom, and that no file is too large to be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The rooms from the ground up: each knows those before it, and none behind it.
const ROOMS: [&str; 9] = ["model", "input", "aws", "engine", "catalog", "render", "docs", "site", "front"];

/// A file of this many lines is two.
const MOST_LINES: usize = 500;

/// The Rust files below a folder, by their paths from the root of the repository.
fn files(folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(Path::new(ROOT).join(folder)).expect("a folder").flatten() {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(files(&path));
        } else if path.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("a source file");
            found.insert(path, text);
        }
    }
    found
}

/// A file's text without its tests, which may use whatever they like.
fn without_tests(text: &str) -> &str {
    let inside = text.find("\n#[cfg(test)]\nmod tests");
    inside.map_or(text, |at| &text[..at])
}

fn is_tests(path: &str) -> bool {
    path.ends_with("/tests.rs")
}

/// What a text names in this crate, in `use` lines and elsewhere, as paths of modules and items: `engine::change::Change`.
fn uses(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect();
    let mut paths = Vec::new();
    let mut pieces = code.split("crate::");
    let mut before = pieces.next().unwrap_or_default();
    for piece in pieces {
        if before.ends_with("use ") {
            let tree = piece.split(';').next().unwrap_or_default();
            paths.extend(leaves(&tree.split_whitespace().collect::<String>()));
        } else if !before.ends_with('$') {
            paths.push(piece.chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect());
        }
        before = piece;
    }
    paths
}

/// The paths of a tree: `a::{b, c::{d, e}}` has three.
fn leaves(tree: &str) -> Vec<String> {
    let Some((head, inner)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    parts.into_iter().filter(|part| !part.is_empty()).flat_map(leaves).map(|leaf| format!("{head}{leaf}")).collect()
}

/// The module that a file is: `src/engine/change/mod.rs` is `engine::change`.
fn module(path: &str) -> String {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.replace('/', "::")
}

/// The file that a path of modules and items leads into: the longest part of it that is a module.
fn target<'a>(modules: &'a BTreeSet<String>, path: &str) -> Option<&'a String> {
    let parts: Vec<&str> = path.split("::").collect();
    (1..=parts.len()).rev().find_map(|length| modules.get(&parts[..length].join("::")))
}

/// The modules that each module uses.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let files: BTreeMap<String, String> = files("src").into_iter().filter(|(path, _)| !is_tests(path)).collect();
    let modules: BTreeSet<String> = files.keys().map(|path| module(path)).collect();
    let arrows = files.iter().map(|(path, text)| {
        let from = module(path);
        let to = uses(without_tests(text)).iter().filter_map(|path| target(&modules, path)).filter(|to| **to != from).cloned().collect();
        (from, to)
    });
    arrows.collect()
}

fn room(module: &str) -> Option<usize> {
    ROOMS.iter().position(|room| module.split("::").next() == Some(*room))
}

#[test]
fn no_room_knows_one_that_stands_above_it() {
    let folders: BTreeSet<String> = fs::read_dir(Path::new(ROOT).join("src"))
        .expect("src")
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders, ROOMS.iter().map(|room| (*room).to_owned()).collect::<BTreeSet<_>>(), "every folder of src/ is a room");
    let mut wrong = Vec::new();
    for (from, all) in arrows() {
        for to in all {
            if let (Some(here), Some(there)) = (room(&from), room(&to))
                && there > here
            {
                wrong.push(format!("{from} uses {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "from the ground up the rooms are {}:\n{}", ROOMS.join(", "), wrong.join("\n"));
}

#[test]
fn every_room_says_what_it_holds() {
    for room in ROOMS {
        let head = fs::read_to_string(Path::new(ROOT).join("src").join(room).join("mod.rs")).expect("a room has a mod.rs");
        assert!(head.starts_with("//! "), "src/{room}/mod.rs has no head");
    }
}

/// The modules from which one comes back to where one began: those that can only be understood together. That a folder's parts know the folder's own
/// head (`super`) is no circle.
fn circles(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            for to in arrows.get(module).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = arrows.keys().map(|module| (module, reached(module))).collect();
    let mut circles = BTreeSet::new();
    for (module, all) in &reached {
        let circle: BTreeSet<String> =
            all.iter().filter(|to| reached.get(to).is_some_and(|back| back.contains(*module))).cloned().collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let circles = circles(&arrows());
    let words: Vec<_> = circles.iter().map(|circle| circle.iter().cloned().collect::<Vec<_>>().join(", ")).collect();
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), words.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let all = files("src").into_iter().chain(files("actions")).filter(|(path, _)| !is_tests(path));
    let lines = all.map(|(path, text)| (without_tests(&text).lines().count(), path));
    let mut long: Vec<_> = lines.filter(|(lines, _)| *lines >= MOST_LINES).collect();
    long.sort();
    let list: Vec<_> = long.iter().rev().map(|(lines, path)| format!("{lines} {path}")).collect();
    assert!(long.is_empty(), "these have {MOST_LINES} lines or more without their tests:\n{}", list.join("\n"));
}

#[test]
fn what_a_file_names_is_read_whole() {
    let text = "use crate::a::{B, c::{D,\n e}};\n    use crate::f;\npub use crate::g::H;\n// we use crate::nothing;\nlet x = crate::i::j(1);\n$crate::k!()\n";
    assert_eq!(uses(text), ["a::B", "a::c::D", "a::c::e", "f", "g::H", "i::j"]);
    let modules = ["a".to_owned(), "a::c".to_owned()].into();
    assert_eq!(target(&modules, "a::c::D").map(String::as_str), Some("a::c"));
    assert_eq!(target(&modules, "a::B").map(String::as_str), Some("a"));
    let arrows = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")];
    let arrows = arrows.into_iter().map(|(from, to)| (from.to_owned(), BTreeSet::from([to.to_owned()]))).collect();
    assert_eq!(circles(&arrows), [BTreeSet::from(["b".to_owned(), "c".to_owned()])]);
}
