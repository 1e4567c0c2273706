//! Completions, tried as a person tries them: with Tab, on a terminal.

use std::fs;

use crate::support::{directory, shell, tools};

/// What the shells write when a line is entered, in the place of the program.
const TYPED: &str = "aaws() { printf 'typed:'; printf ' <%s>' \"$@\"; printf '\\n'; }\n";

/// A shell must be there where this variable is set.
const REQUIRED: &str = "AAWS_SHELL_TESTS";

/// What each of these lines is when Tab was pressed where they say so.
fn pressed_in_bash(lines: &[&str]) -> String {
    let folder = directory();
    let rc =
        format!("eval \"$(aaws completions bash)\"\nPS1='$ '\nbind 'set bell-style none'\nbind 'set enable-bracketed-paste off'\n{TYPED}");
    fs::write(folder.path().join("rc"), rc).expect("a file that bash reads");
    let run = shell("exec bash --noprofile --rcfile ./rc -i").stranger().endpoint("http://127.0.0.1:1").within(folder.path());
    run.on_terminal(&format!("{}\nexit", lines.join("\n"))).ok().stdout
}

#[test]
fn bash_completes_services_actions_flags_and_choices_with_tab() {
    if !tools::is_there("bash") {
        return tools::left_out(REQUIRED, "bash is not on this machine");
    }
    let lines = [
        ("aaws doct\t", "<doctor>"),
        ("aaws s3 delete_ob\t", "<s3> <delete_objects>"),
        ("aaws s3 delete-ob\t", "<s3> <delete_objects>"),
        ("aaws s3 delete-objects --bucke\tb", "<s3> <delete-objects> <--bucket> <b>"),
        ("aaws s3 create_objects --body_as fi\t", "<s3> <create_objects> <--body_as> <file>"),
        ("aaws list s\t", "<list> <s"),
        ("aaws describe s3 create_ob\t", "<describe> <s3> <create_objects>"),
        ("aaws permissions s3 delete_objects create_ob\t", "<permissions> <s3> <delete_objects> <create_objects>"),
        ("aaws permissions s3 delete-objects create-ob\t", "<permissions> <s3> <delete-objects> <create_objects>"),
    ];
    let seen = pressed_in_bash(&lines.map(|(line, _)| line));
    let typed: Vec<_> = seen.lines().filter_map(|line| line.split_once("typed: ").map(|(_, words)| words.trim_end())).collect();
    assert_eq!(typed.len(), lines.len(), "{seen}");
    for ((line, completed), typed) in lines.iter().zip(typed) {
        assert!(typed.starts_with(completed), "{line:?} became {typed}, not {completed}\n{seen}");
    }
}

#[test]
fn other_shells_read_their_scripts_without_an_error() {
    for (program, name) in [("zsh", "zsh"), ("fish", "fish")] {
        if !tools::is_there(program) {
            tools::left_out(REQUIRED, &format!("{program} is not on this machine"));
            continue;
        }
        let run = shell(format!("aaws completions {name} > script && {program} -n script")).stranger().endpoint("http://127.0.0.1:1").run();
        assert_eq!(run.ok().stderr, "", "{program} reads its script");
    }
}
