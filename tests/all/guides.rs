//! What the guides show is what happens: every terminal session in them is run, and prints what they say.
//!
//! A comment before a session says in which world it is run: `<!-- runs: sandbox -->`, `local` (without AWS), `moto` (a fresh account), `iam` and
//! `ec2` with what is there, in the words that the examples of these services use. `<!-- shown: why -->` is for what cannot be run.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::aaws::Aaws;
use crate::support::{Account, directory, shell};

/// A terminal session of a page.
struct Session {
    page: String,
    world: String,
    lines: Vec<String>,
}

/// All sessions of the guides.
fn sessions() -> Vec<Session> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages: Vec<_> =
        fs::read_dir(docs).expect("docs").flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "md")).collect();
    pages.sort();
    let mut sessions = Vec::new();
    for path in pages {
        let (page, text) = (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read_to_string(&path).expect("a page"));
        for (before, block) in text.split("```console\n").zip(text.split("```console\n").skip(1)) {
            let comment = before.trim_end().rsplit('\n').next().unwrap_or_default();
            let world = comment.strip_prefix("<!-- ").and_then(|c| c.strip_suffix(" -->"));
            let world = world.unwrap_or_else(|| panic!("{page}: no comment says how this is run: {block}")).to_owned();
            let lines = block.split("```").next().unwrap_or_default().lines().map(str::to_owned).collect();
            sessions.push(Session { page: page.clone(), world, lines });
        }
    }
    sessions
}

/// A command, what it prints, and what it exits with.
fn commands(session: &Session) -> Vec<(String, String, i32)> {
    let mut commands: Vec<(String, String, i32)> = Vec::new();
    let mut code = 0;
    for line in &session.lines {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push((command.to_owned(), String::new(), std::mem::take(&mut code)));
        } else if let Some(comment) = line.strip_prefix("# ") {
            code = comment.strip_prefix("exits ").and_then(|c| c.parse().ok()).unwrap_or(0);
        } else if let Some((_, printed, _)) = commands.last_mut() {
            printed.push_str(line);
            printed.push('\n');
        }
    }
    commands
}

/// Whether the output is what the page shows: JSON as JSON, anything else to the letter; `…` is anything.
fn is_shown(printed: &str, shown: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    let lines = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    shown.trim() == "…" || (json(shown).is_some() && json(printed) == json(shown)) || lines(printed) == lines(shown)
}

fn play(session: &Session, world: &dyn Fn(Aaws) -> Aaws) {
    let folder = directory();
    for (command, shown, code) in commands(session) {
        let output = world(shell(&command)).within(folder.path()).run().exits(code);
        assert!(is_shown(&output.stdout, &shown), "{}: {command}\nshown:\n{shown}\nprinted:\n{}", session.page, output.stdout);
    }
}

#[test]
fn every_session_of_the_guides_is_what_happens() {
    let mut played = 0;
    for session in sessions() {
        let (how, given) = session.world.split_once(": ").unwrap_or_else(|| panic!("{}: {}", session.page, session.world));
        if how == "shown" {
            assert!(!given.is_empty(), "{}: it is not said why this is not run", session.page);
            continue;
        }
        assert_eq!(how, "runs", "{}", session.page);
        let (kind, given) = given.split_once(' ').unwrap_or((given, ""));
        // A program without a service cannot play what that service does.
        let services: &[(&str, bool)] =
            &[("ec2", cfg!(feature = "ec2")), ("iam", cfg!(feature = "iam")), ("s3", cfg!(feature = "s3")), ("sts", cfg!(feature = "sts"))];
        let uses =
            |service: &str| session.lines.iter().any(|l| l.contains(&format!("aaws {service} ")) || l.contains(&format!(" {service} ")));
        if services.iter().any(|(service, there)| !there && uses(service)) {
            continue;
        }
        played += 1;
        match kind {
            "local" => play(&session, &Aaws::stranger),
            "sandbox" => {
                let folder = directory();
                play(&session, &|run| run.sandbox(folder.path()));
            }
            "moto" => {
                let account = Account::fresh();
                play(&session, &|run| account.own(run));
            }
            "iam" => {
                let account = Account::fresh();
                let server = account.give(&given.split(" ; ").collect::<Vec<_>>());
                play(&session, &|run| account.own(run).endpoint(&server.url));
            }
            #[cfg(feature = "ec2")]
            "ec2" => {
                let (world, server) = crate::support::ec2::World::given(&given.split(" ; ").collect::<Vec<_>>());
                play(&session, &|run| world.account.own(run).endpoint(&server.url));
            }
            other => panic!("{}: there is no world `{other}`", session.page),
        }
    }
    assert!(played > 0);
}
