//! `aaws completions`: a script for a shell. clap writes it; kebab-case, which clap knows as aliases that nobody sees, is put into it here, and so are
//! profiles and regions.

use std::io::{self, Write};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, ValueHint};
use clap_complete::Shell;

use super::help;
use crate::catalog::registry;
use crate::catalog::schema::Summaries;
use crate::model::error::{Error, Result};
use crate::model::target::REGIONS;

/// What a flag has that takes a region, or a profile: clap has no hints of these, and nobody here takes what it has them for.
pub const REGION: ValueHint = ValueHint::Hostname;
pub const PROFILE: ValueHint = ValueHint::Username;

/// What clap writes as the only choice of such a flag, and what is put in its place.
const SOME_REGION: &str = "AAWS_REGIONS";
const SOME_PROFILE: &str = "AAWS_PROFILES";

/// The sections of the two files that are profiles (SDKs and tools reference guide, shared config and credentials files), for sed: in the one each says that
/// it is one, in the other all are. A name with spaces in it has quotes.
const SECTIONS: [&str; 2] = [
    r"-e 's/^[[:space:]]*\[[[:space:]]*profile[[:space:]][[:space:]]*\([^]]*[^][:space:]]\)[[:space:]]*\].*$/\1/p' -e 's/^[[:space:]]*\[[[:space:]]*default[[:space:]]*\].*$/default/p'",
    r"-e 's/^[[:space:]]*\[[[:space:]]*\([^]]*[^][:space:]]\)[[:space:]]*\].*$/\1/p'",
];
const UNQUOTED: &str = r#"-e 's/^"\(.*\)"$/\1/'"#;

pub fn command(command: Command) -> Command {
    command.arg(Arg::new("shell").required(true).value_parser(clap::value_parser!(Shell)).help("The shell that reads it"))
}

pub fn run(matches: &ArgMatches) -> Result<u8> {
    let Some(shell) = matches.get_one::<Shell>("shell") else {
        return Err(Error::input("name a shell"));
    };
    // A reader that went away is no error.
    let _ = io::stdout().write_all(script(*shell).as_bytes());
    Ok(0)
}

fn script(shell: Shell) -> String {
    let mut tree = match shell {
        Shell::Bash | Shell::Zsh | Shell::Fish => marked(tree()),
        _ => tree(),
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tree, "aaws", &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        Shell::Bash => bash(&script),
        Shell::Zsh => zsh(&script),
        Shell::Fish => fish(&script) + &words_for_fish(&tree),
        _ => script.into_owned(),
    }
}

/// The tree with marks where regions and profiles go.
fn marked(command: Command) -> Command {
    let mark = |arg: Arg| match arg.get_value_hint() {
        REGION => arg.value_parser(PossibleValuesParser::new([SOME_REGION])),
        PROFILE => arg.value_parser(PossibleValuesParser::new([SOME_PROFILE])),
        _ => arg,
    };
    command.mut_args(mark).mut_subcommands(marked)
}

/// Functions for bash and zsh that print the regions and the profiles, one on a line.
fn functions() -> String {
    let [config, credentials] = SECTIONS;
    let regions = REGIONS.join(" ");
    format!(
        r#"__aaws_regions() {{
    printf '%s\n' {regions}
}}

__aaws_profiles() {{
    {{
        command sed -n {config} "${{AWS_CONFIG_FILE:-$HOME/.aws/config}}"
        command sed -n {credentials} "${{AWS_SHARED_CREDENTIALS_FILE:-$HOME/.aws/credentials}}"
    }} 2>/dev/null | command sed {UNQUOTED} | command sort -u
}}

"#
    )
}

/// The tree of commands as it is completed: what a command takes as words of its own is a tree here, too.
fn tree() -> Command {
    let root = ["list", "overview"].into_iter().fold(help::whole(), |root, name| {
        let services = PossibleValuesParser::new(registry::services());
        root.mut_subcommand(name, |command| command.mut_arg("service", |service| service.value_parser(services)))
    });
    ["describe", "permissions"].into_iter().fold(root, |root, name| root.mut_subcommand(name, |command| of_words(name, &command)))
}

/// A command that takes a service and an action, `permissions` further actions of the service.
fn of_words(name: &'static str, command: &Command) -> Command {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let flags = command.get_arguments().filter(|arg| !arg.is_positional()).cloned();
    let mut tree = Command::new(name).about(about).args(flags).disable_help_subcommand(true);
    let mut summaries = Summaries::default();
    for service in registry::services() {
        let mut of_service = Command::new(service).about(format!("An action of {service}")).disable_help_subcommand(true);
        for entry in registry::of_service(service) {
            let mut action = help::stub(entry, &mut summaries);
            if name == "permissions" {
                let others = registry::of_service(service).map(|other| other.meta.name());
                action = action.arg(Arg::new("more").num_args(0..).value_parser(PossibleValuesParser::new(others)).help("Another action"));
            }
            of_service = of_service.subcommand(action);
        }
        tree = tree.subcommand(of_service);
    }
    tree
}

/// Bash compares words as they are typed, and completes the last one; services and actions are all before the sixth.
fn bash(script: &str) -> String {
    let known = script.replacen("case \"${cmd},${i}\" in", "case \"${cmd},${i//-/_}\" in", 1).replacen("\",$1\")", "\",${1//-/_}\")", 1);
    let last = "    prev=\"$3\"\n    if [[ \"${COMP_CWORD}\" -lt 6 && \"${cur}\" != -* && \"${prev}\" != -* ]]; then\n        cur=\"${cur//-/_}\"\n    fi\n";
    let known = known.replacen("    prev=\"$3\"\n", last, 1);
    let these = r#"__aaws_those_of() {
    local value
    COMPREPLY=()
    while IFS= read -r value; do
        [[ "${value}" == "$2"* ]] && COMPREPLY+=("$(printf '%q' "${value}")")
    done < <("$1")
}

"#;
    let choice = |mark: &str| format!("COMPREPLY=($(compgen -W \"{mark}\" -- \"${{cur}}\"))");
    let known = known.replace(&choice(SOME_REGION), "__aaws_those_of __aaws_regions \"${cur}\"");
    functions() + these + &known.replace(&choice(SOME_PROFILE), "__aaws_those_of __aaws_profiles \"${cur}\"")
}

fn zsh(script: &str) -> String {
    let known = script.replace("case $line[1] in", "case ${line[1]//-/_} in");
    let known = known.replace(&format!(":({SOME_REGION})"), ":_aaws_regions").replace(&format!(":({SOME_PROFILE})"), ":_aaws_profiles");
    let head = "autoload -U is-at-least\n\n";
    let offered = |name: &str| {
        format!("_aaws_{name}() {{\n    local -a values\n    values=(${{(f)\"$(__aaws_{name})\"}})\n    compadd \"$@\" -a values\n}}\n\n")
    };
    known.replacen(head, &format!("{head}{}{}{}", functions(), offered("regions"), offered("profiles")), 1)
}

/// Fish asks whether one of these words was seen.
fn fish(script: &str) -> String {
    let seen = "__fish_seen_subcommand_from ";
    let mut pieces = script.split(seen);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(['"', ';', '\n']).unwrap_or(piece.len());
        let (words, rest) = piece.split_at(end);
        text.push_str(seen);
        text.push_str(words);
        for word in words.split_whitespace().filter(|word| word.contains('_')) {
            text.push(' ');
            text.push_str(&word.replace('_', "-"));
        }
        text.push_str(rest);
    }
    let choice = |mark: &str| format!("\"{mark}\\t''\"");
    let text = text.replace(&choice(SOME_REGION), "\"(__aaws_regions)\"").replace(&choice(SOME_PROFILE), "\"(__aaws_profiles)\"");
    let [config, credentials] = SECTIONS;
    let regions = REGIONS.join(" ");
    let functions = format!(
        r#"function __aaws_regions
    printf '%s\n' {regions}
end

function __aaws_profiles
    set -l config ~/.aws/config
    set -l credentials ~/.aws/credentials
    test -n "$AWS_CONFIG_FILE"; and set config $AWS_CONFIG_FILE
    test -n "$AWS_SHARED_CREDENTIALS_FILE"; and set credentials $AWS_SHARED_CREDENTIALS_FILE
    begin
        command sed -n {config} $config
        command sed -n {credentials} $credentials
    end 2>/dev/null | command sed {UNQUOTED} | command sort -u
end

"#
    );
    functions + &text
}

/// What clap leaves out of the script for fish: words that a command takes, where there are only some.
fn words_for_fish(tree: &Command) -> String {
    let mut lines = String::new();
    for command in tree.get_subcommands() {
        let words: Vec<_> = command.get_positionals().flat_map(Arg::get_possible_values).map(|word| word.get_name().to_owned()).collect();
        if !words.is_empty() {
            let name = command.get_name();
            lines += &format!("complete -c aaws -n \"__fish_aaws_using_subcommand {name}\" -f -a \"{}\"\n", words.join(" "));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kebab_case_is_known_to_each_of_the_scripts() {
        for (shell, marks) in
            [(Shell::Bash, ["${i//-/_}", "${1//-/_}", "${cur//-/_}"].as_slice()), (Shell::Zsh, ["case ${line[1]//-/_} in"].as_slice())]
        {
            let script = script(shell);
            assert!(marks.iter().all(|mark| script.contains(mark)), "clap_complete writes another script for {shell} now");
        }
        let seen = fish("if __fish_seen_subcommand_from a_b; and not __fish_seen_subcommand_from c d_e\"\n");
        assert!(seen.ends_with("if __fish_seen_subcommand_from a_b a-b; and not __fish_seen_subcommand_from c d_e d-e\"\n"), "{seen}");
    }

    #[test]
    fn regions_and_profiles_stand_in_the_place_of_their_marks() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = script(shell);
            assert!(
                !script.contains(SOME_REGION) && !script.contains(SOME_PROFILE),
                "clap_complete writes choices for {shell} in another way now"
            );
        }
    }
}
