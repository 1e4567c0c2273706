//! Completions, tried as a person tries them: with Tab, on a terminal.

use std::fs;

use crate::support::{directory, shell, tools};

/// A shell must be there where this variable is set.
const REQUIRED: &str = "AAWS_SHELL_TESTS";

/// What stands for the program once its script is read: it shows what was typed.
const TYPED: &str = "aaws() { printf 'typed:'; printf ' <%s>' \"$@\"; printf '\\n'; }\n";

/// Lines with Tab in them, and what they become. Other shells than bash put `=` behind a flag, or complete no word in kebab-case.
const LINES: [(&str, &str); 12] = [
    ("aaws doct\t", "<doctor>"),
    ("aaws s3 delete_ob\t", "<s3> <delete_objects>"),
    ("aaws s3 delete-objects --bucke\tb", "<s3> <delete-objects> <--bucket"),
    ("aaws s3 create_objects --body_as fi\t", "<s3> <create_objects> <--body_as> <file>"),
    ("aaws describe s3 create_ob\t", "<describe> <s3> <create_objects>"),
    ("aaws s3 discover_buckets --profile pro\t", "<s3> <discover_buckets> <--profile> <production>"),
    ("aaws s3 discover-buckets --profile my\t", "<s3> <discover-buckets> <--profile> <my profile>"),
    ("aaws completions zs\t", "<completions> <zsh>"),
    ("aaws doctor --profile sand\t", "<doctor> <--profile> <sandbox-user>"),
    ("aaws s3 discover_buckets --region eu-no\t", "<s3> <discover_buckets> <--region> <eu-north-1>"),
    ("aaws s3 discover_buckets --bucket_region me-s\t", "<s3> <discover_buckets> <--bucket_region> <me-south-1>"),
    // What is no profile, though it has a section.
    ("aaws doctor --profile corp\t", "<doctor> <--profile> <corp>"),
];

/// The files of profiles: the one is where a variable says, the other where it is unless one does.
const CONFIG: &str =
    "[default]\nregion = eu-west-1\n\n[profile production]\n [ profile \"my profile\" ] # a comment\n[sso-session corporate]\n";
const CREDENTIALS: &str = "[default]\naws_access_key_id = AKIATEST\n[sandbox-user]\n";

/// The same for words that are services: where only some are built, one letter may be enough for one, or a word be none.
const LINES_OF_SERVICES: [(&str, &str); 2] =
    [("aaws list cloudt\t", "<list> <cloudtrail>"), ("aaws overview s3 cloudt\t", "<overview> <s3> <cloudtrail>")];

/// The same for bash alone.
const LINES_OF_BASH: [(&str, &str); 3] = [
    ("aaws s3 delete-ob\t", "<s3> <delete_objects>"),
    ("aaws permissions s3 delete_objects create_ob\t", "<permissions> <s3> <delete_objects> <create_objects>"),
    ("aaws permissions s3 delete-objects create-ob\t", "<permissions> <s3> <delete-objects> <create_objects>"),
];

/// Types these lines into a shell that reads a file first, and compares what came of each.
#[track_caller]
fn becomes(program: &str, file: &str, text: &str, command: &str, of_this_shell: &[(&str, &str)]) {
    let of_services = if cfg!(feature = "cloudtrail") { LINES_OF_SERVICES.as_slice() } else { &[] };
    let lines = [LINES.as_slice(), of_this_shell, of_services].concat();
    if !tools::is_there(program) {
        return tools::left_out(REQUIRED, &format!("{program} is not on this machine"));
    }
    let folder = directory();
    let path = folder.path().join(file);
    fs::create_dir_all(path.parent().expect("a folder")).and_then(|()| fs::write(&path, text)).expect("a file that the shell reads");
    let run = shell(format!("exec {command}")).stranger().endpoint("http://127.0.0.1:1").within(folder.path());
    let run = run.env("XDG_CONFIG_HOME", folder.path()).env("ZDOTDIR", folder.path()).env("HOME", folder.path());
    let (config, aws) = (folder.path().join("config"), folder.path().join(".aws"));
    fs::write(&config, CONFIG).and_then(|()| fs::create_dir(&aws)).expect("profiles");
    fs::write(aws.join("credentials"), CREDENTIALS).expect("more of them");
    let run = run.env("AWS_CONFIG_FILE", config).without("AWS_SHARED_CREDENTIALS_FILE");
    let typed: Vec<&str> = lines.iter().map(|(line, _)| *line).collect();
    let seen = run.on_terminal(&format!("{}\nexit", typed.join("\n"))).ok().stdout;
    let typed: Vec<_> = seen.lines().filter_map(|line| line.split_once("typed: ").map(|(_, words)| words.trim_end())).collect();
    assert_eq!(typed.len(), lines.len(), "{program}: {seen}");
    for ((line, completed), typed) in lines.iter().zip(typed) {
        assert!(typed.starts_with(completed), "{program}: {line:?} became {typed}, not {completed}\n{seen}");
    }
}

#[test]
fn bash_completes_services_actions_flags_choices_profiles_and_regions_with_tab() {
    let rc =
        format!("eval \"$(aaws completions bash)\"\nPS1='$ '\nbind 'set bell-style none'\nbind 'set enable-bracketed-paste off'\n{TYPED}");
    becomes("bash", "rc", &rc, "bash --noprofile --rcfile ./rc -i", &LINES_OF_BASH);
}

#[test]
fn zsh_completes_services_actions_flags_choices_profiles_and_regions_with_tab() {
    let rc =
        format!("autoload -Uz compinit; compinit -u -D\neval \"$(aaws completions zsh)\"\nPS1='$ '\nunset zle_bracketed_paste\n{TYPED}");
    becomes("zsh", ".zshrc", &rc, "zsh -d -i", &[]);
}

#[test]
fn fish_completes_services_actions_flags_choices_profiles_and_regions_with_tab() {
    let typed = "function aaws; printf 'typed:'; printf ' <%s>' $argv; printf '\\n'; end\n";
    let config = format!("aaws completions fish | source\nfunction fish_prompt; echo '$ '; end\nfunction fish_greeting; end\n{typed}");
    becomes("fish", "fish/config.fish", &config, "fish -i", &[]);
}
