//! What the guides show is what happens: every terminal session in them is run, and prints what they say.
//!
//! A comment before a block says what it is:
//!
//! - `<!-- runs: WORLD -->`, a session, and the world that it is run in: `local` (no AWS), `sandbox`, `moto` (a fresh account), `iam` or `ec2`. Behind
//!   the last two stands what is there, in the words that `actions/iam/mod.rs` and `actions/ec2/mod.rs` explain, with ` ; ` between them. `old`, in
//!   `iam` and `sandbox`, puts what is there back by years;
//! - `<!-- shown: WHY -->`, a session that cannot be run;
//! - `<!-- source: PATH -->`, a file of this repository as it is;
//! - `<!-- file: ~/NAME -->`, a file that all later sessions of the page find in their home directory.
//!
//! In a session `$ ` begins a command, a backslash at the end of its line continues it, `# exits 3` says what the next command exits with, and all else
//! is its standard output, where `…` stands for anything. A session that shows no output at all is run for its exit codes.

use std::fs;
use std::path::Path;
use std::thread;

use serde_json::Value;

use crate::support::aaws::Aaws;
use crate::support::proxy::Proxy;
use crate::support::{Account, Response, Server, directory, shell, xml};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The words of a session that ask for a feature. A program that was built without it cannot play the session; the default features have all.
const FEATURES: [(&str, bool); 8] = [
    ("backup", cfg!(feature = "backup")),
    ("cloudtrail", cfg!(feature = "cloudtrail")),
    ("docs", cfg!(feature = "site")),
    ("ec2", cfg!(feature = "ec2")),
    ("general", cfg!(feature = "general")),
    ("iam", cfg!(feature = "iam")),
    ("s3", cfg!(feature = "s3")),
    ("sts", cfg!(feature = "sts")),
];

/// When that was which is `old`.
const LONG_AGO: &str = "2024-01-31T08:00:00Z";

#[test]
fn every_session_of_the_guides_is_what_happens() {
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).expect("docs");
    let names = docs.flatten().map(|file| file.file_name().to_string_lossy().into_owned()).filter(|name| name.ends_with(".md"));
    let pages: Vec<_> = ["README.md".to_owned()].into_iter().chain(names.map(|name| format!("docs/{name}"))).collect();
    let wrong: Vec<String> = thread::scope(|scope| {
        let played: Vec<_> = pages.iter().map(|page| scope.spawn(move || play_page(page))).collect();
        played.into_iter().flat_map(|page| page.join().expect("a page whose worlds can be made")).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn dates_and_ids_are_new_in_every_world_and_nothing_else_is() {
    for (printed, shown) in [
        ("[\"vol-0a1b2c3d4e5f60718\"]\n", "[\n  \"vol-0123456789abcdef0\"\n]\n"),
        ("{\"time\":\"2026-11-25T11:53:19.027960143Z\",\"n\":2}", "{\"time\":\"2024-01-31T08:00:00Z\",\"n\":2}"),
        (" item  status\n a     done\n", " item  status\n…\n"),
        ("'ASIAEXAMPLE'; x", "'…'; x"),
    ] {
        assert!(is_shown(printed, shown), "{printed} is {shown}");
    }
    for (printed, shown) in [
        ("[\"vol-0a1b2c3d4e5f60718\"]", "[\"snap-0123456789abcdef0\"]"),
        ("[\"a\",\"b\"]", "[\"a\"]"),
        ("{\"n\":3}", "{\"n\":2}"),
        ("logs/2024/a.txt", "logs/2025/a.txt"),
        ("a\nb\n", "a\n…\nc\n"),
    ] {
        assert!(!is_shown(printed, shown), "{printed} is not {shown}");
    }
}

#[cfg(all(feature = "cloudtrail", feature = "ec2", feature = "s3", feature = "site"))]
#[test]
fn every_command_that_a_sentence_of_the_guides_names_is_there() {
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).expect("docs").flatten().map(|file| file.path());
    let pages = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in ["README.md", "SECURITY.md"].map(|name| Path::new(ROOT).join(name)).into_iter().chain(pages) {
        let text = fs::read_to_string(&page).expect("a page");
        // Text outside of fenced blocks, and in it what stands between backticks. An ellipsis, or a word in angles, is nothing to run.
        let sentences = text.split("\n```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2));
        for command in sentences.filter(|code| code.starts_with("aaws ") && !code.contains(['…', '<'])) {
            // A break of the line is a space, and brackets stand around what may be left out.
            let line = command.replace('\n', " ").replace(['[', ']'], "");
            // What stands before it is read, too: a flag that is not there is an error.
            let run = shell(format!("{line} --help")).stranger().endpoint("http://127.0.0.1:1").run();
            seen += 1;
            if run.code != Some(0) {
                wrong.push(format!("{}: `{line}`: {}", page.display(), run.stderr));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 20, "only {seen} commands were seen");
}

/// A fenced block of a page.
struct Block {
    /// The page and the line, for whoever has to mend it.
    place: String,
    /// What stands behind the three backticks.
    kind: String,
    /// The comment before it, or nothing.
    comment: String,
    lines: Vec<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(Path::new(ROOT).join(page)).expect("a page");
    let mut numbered = (1..).zip(text.lines());
    let (mut blocks, mut before) = (Vec::new(), "");
    while let Some((number, line)) = numbered.next() {
        let indent = line.len() - line.trim_start().len();
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            let inside = numbered.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
            let lines = inside.map(|line| line.get(indent..).unwrap_or_default().to_owned()).collect();
            let comment = before.strip_prefix("<!-- ").and_then(|comment| comment.strip_suffix(" -->")).unwrap_or_default().to_owned();
            blocks.push(Block { place: format!("{page}:{number}"), kind: kind.to_owned(), comment, lines });
        }
        if !line.trim().is_empty() {
            before = line.trim();
        }
    }
    blocks
}

/// Runs all sessions of a page, and says what is not as shown.
fn play_page(page: &str) -> Vec<String> {
    let (mut files, mut wrong) = (Vec::new(), Vec::new());
    for block in blocks(page) {
        match (block.kind.as_str(), block.comment.split_once(": ")) {
            (_, Some(("source", path))) => {
                let there = fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_default();
                if there != block.lines.join("\n") + "\n" {
                    wrong.push(format!("{}: this is not `{path}` as it is", block.place));
                }
            }
            (_, Some(("file", name))) => files.push((name.trim_start_matches("~/").to_owned(), block.lines.join("\n") + "\n")),
            ("console", Some(("runs", world))) if is_beyond_this_program(&block, world) => {}
            ("console", Some(("runs", world))) => wrong.extend(play(&block, world, &files)),
            ("console", Some(("shown", _))) => {}
            // The tour, which `readme.rs` looks after.
            ("console", None) if block.comment == "demo" => {}
            ("console", _) => wrong.push(format!("{}: no comment says how this is run", block.place)),
            _ => {}
        }
    }
    wrong
}

/// A session speaks of what it needs, or calls a file that does: then its world tells.
fn is_beyond_this_program(session: &Block, world: &str) -> bool {
    let world = match world.split(' ').next() {
        Some("sandbox") => "s3",
        Some(world) => world,
        None => "",
    };
    let mut words = session.lines.iter().flat_map(|line| line.split_whitespace()).chain([world]);
    words.any(|word| FEATURES.contains(&(word, false)))
}

/// Runs a session in its world.
fn play(session: &Block, world: &str, files: &[(String, String)]) -> Option<String> {
    let (kind, given) = world.split_once(' ').unwrap_or((world, ""));
    let given: Vec<&str> = given.split(';').map(str::trim).filter(|given| !given.is_empty()).collect();
    match kind {
        // Nobody listens there.
        "local" => run(session, files, |run| run.stranger().endpoint("http://127.0.0.1:9")),
        "sandbox" => {
            let sandbox = directory();
            if given == ["old"] {
                let age = format!("find \"$AAWS_SANDBOX\" -type f -exec touch -d {LONG_AGO} {{}} +");
                shell(format!("aaws s3 discover_objects --bucket example-bucket && {age}")).sandbox(sandbox.path()).run().ok();
            }
            run(session, files, |run| run.sandbox(sandbox.path()))
        }
        "moto" => run(session, files, |run| Account::fresh().own(run)),
        "iam" => {
            let (account, server) = iam(&given);
            run(session, files, |run| account.own(run).endpoint(&server.url))
        }
        #[cfg(feature = "ec2")]
        "ec2" => {
            let (world, server) = crate::support::ec2::World::given(&given);
            run(session, files, |run| world.account.own(run).endpoint(&server.url))
        }
        _ => Some(format!("{}: there is no world `{world}`", session.place)),
    }
}

/// An account with users and keys, which are of today unless they are to be `old`.
fn iam(given: &[&str]) -> (Account, Server) {
    let account = Account::fresh();
    let (old, things): (Vec<&str>, Vec<&str>) = given.iter().partition(|given| **given == "old");
    let proxy = Proxy::to(&account.give(&things).url);
    // moto has no policies that AWS manages, and no credentials for single services.
    let proxy = ["AttachUserPolicy", "ListServiceSpecificCredentials"].into_iter().fold(proxy, |proxy, operation| {
        let nothing = format!("<{operation}Response><{operation}Result/></{operation}Response>");
        proxy.rule(operation, move |_, _| Some(Response::xml(200, nothing.clone())))
    });
    let dated: &[&'static str] = if old.is_empty() { &[] } else { &["GetLoginProfile", "ListAccessKeys", "ListUsers"] };
    let proxy = dated.iter().fold(proxy, |proxy, &operation| proxy.rewrite(operation, |_, text| put_back(text)));
    (account, proxy.start())
}

/// An answer of IAM whose dates of creation are of long ago.
fn put_back(text: String) -> String {
    xml::texts(&text, "CreateDate").iter().fold(text, |text, date| text.replace(date, LONG_AGO))
}

/// A command, what it exits with, and what it prints.
struct Command {
    line: String,
    code: i32,
    printed: String,
}

fn commands(lines: &[String]) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let (mut code, mut goes_on) = (0, false);
    for line in lines {
        let command = line.strip_prefix("$ ");
        if goes_on && let Some(last) = commands.last_mut() {
            last.line += &format!("\n{line}");
        } else if let Some(command) = command {
            commands.push(Command { line: command.to_owned(), code: std::mem::take(&mut code), printed: String::new() });
        } else if line.starts_with('#') {
            code = line.strip_prefix("# exits ").and_then(|code| code.parse().ok()).unwrap_or(code);
        } else {
            commands.last_mut().expect("a command before what it prints").printed += &format!("{line}\n");
        }
        goes_on = (goes_on || command.is_some()) && line.ends_with('\\');
    }
    commands
}

/// Runs the commands of a session in a home directory of its own, and says what is not as shown.
fn run(session: &Block, files: &[(String, String)], in_world: impl FnOnce(Aaws) -> Aaws) -> Option<String> {
    let home = directory();
    for (name, text) in files {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).and_then(|()| fs::write(&path, text)).expect("a file in the home directory");
    }
    // One shell for all of them, so that what one exports the next one has. Between their outputs it says what they exited with.
    let commands = commands(&session.lines);
    let script: String = commands.iter().map(|command| format!("{}\nprintf '\\037%d\\037' $?\n", command.line)).collect();
    let output = in_world(shell(script)).env("HOME", home.path()).within(home.path()).run();
    let only_codes = commands.iter().all(|command| command.printed.trim().is_empty());
    let mut parts = output.stdout.split('\u{1f}');
    commands.into_iter().find_map(|Command { line, code, printed: shown }| {
        let (printed, exited) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let as_shown = exited == code.to_string() && (only_codes || is_shown(printed, &shown));
        let (place, log) = (&session.place, &output.stderr);
        (!as_shown).then(|| {
            format!("{place}: $ {line}\n--- exited {exited}, to be {code}; printed\n{printed}\n--- shown\n{shown}\n--- log of the session\n{log}")
        })
    })
}

/// Whether the output is what the page shows: JSON however it is laid out, dates and ids whatever they are.
fn is_shown(printed: &str, shown: &str) -> bool {
    let (printed, shown) = (lenient(printed), lenient(shown));
    let pieces: Vec<&str> = shown.split('…').collect();
    let [first, middle @ .., last] = pieces.as_slice() else { return printed == shown };
    let within = printed.strip_prefix(*first).and_then(|rest| rest.strip_suffix(*last));
    middle.iter().fold(within, |rest, piece| rest?.split_once(*piece).map(|(_, rest)| rest)).is_some()
}

/// A text with `#` for each date and each id: a word of nine letters and digits or more, some of them digits.
fn lenient(text: &str) -> String {
    let laid_out = serde_json::from_str::<Value>(text).map_or_else(|_| text.trim().to_owned(), |json| format!("{json:#}"));
    let (mut lenient, mut rest) = (String::new(), laid_out.as_str());
    while let Some(first) = rest.chars().next() {
        let end = |signs: &str| rest.find(|c: char| !c.is_ascii_alphanumeric() && !signs.contains(c)).unwrap_or(rest.len());
        let length = if is_date(rest) { end("-:.") } else { end("").max(first.len_utf8()) };
        let (word, after) = rest.split_at(length);
        let is_new = word.len() > 8 && word.contains(|c: char| c.is_ascii_digit());
        lenient += if is_new { "#" } else { word };
        rest = after;
    }
    lenient
}

/// Whether a text begins with `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let fits = |(byte, form): (u8, u8)| if form == b'0' { byte.is_ascii_digit() } else { byte == form };
    text.len() >= 10 && text.bytes().zip(*b"0000-00-00").all(fits)
}
