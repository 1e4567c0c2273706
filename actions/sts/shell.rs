//! Statements of shells that set and unset environment variables.

use aaws::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// A shell whose syntax can be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shell {
    /// `sh`, `bash`, `zsh` and others like them.
    Sh,
    /// `fish`.
    Fish,
    /// PowerShell.
    Powershell,
    /// `cmd.exe`.
    Cmd,
}

impl Default for Shell {
    /// What the platform's users mostly run. Which shell it really is cannot be told from here.
    fn default() -> Self {
        if cfg!(windows) { Shell::Powershell } else { Shell::Sh }
    }
}

impl Shell {
    /// A line that sets a variable for this shell and what it starts. Each statement ends by itself, so that an unquoted `eval $(…)`, which
    /// joins lines, still works.
    pub fn set(self, name: &str, value: &str) -> Result<String> {
        let cannot = |what: &str| Err(Error::Failed(format!("the value of {name} holds {what}, which cannot be written here")));
        if value.contains(char::is_control) {
            return cannot("a control character");
        }
        Ok(match self {
            Shell::Sh => format!("export {name}='{}';\n", value.replace('\'', r"'\''")),
            Shell::Fish => format!("set -gx {name} '{}';\n", value.replace('\\', r"\\").replace('\'', r"\'")),
            Shell::Powershell => format!("$Env:{name} = '{}';\n", doubled(value)),
            // Between quotes only these two keep a meaning, and how to take it from them depends on where the line stands.
            Shell::Cmd if value.contains(['"', '%']) => return cannot("`\"` or `%`"),
            Shell::Cmd => format!("set \"{name}={value}\"\n"),
        })
    }

    /// A line that unsets a variable; one that is not set is no error.
    pub fn unset(self, name: &str) -> String {
        match self {
            Shell::Sh => format!("unset {name};\n"),
            Shell::Fish => format!("set -e {name};\n"),
            // An empty string would be left behind as an empty variable, which is not the same as none.
            Shell::Powershell => format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue;\n"),
            Shell::Cmd => format!("set {name}=\n"),
        }
    }
}

/// PowerShell takes typographic quotes for quotes too.
fn doubled(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            text.push(c);
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Shell;

    #[test]
    fn values_are_quoted_for_each_shell() {
        let set = |shell: Shell, value: &str| shell.set("X", value).unwrap_or_else(|e| e.to_string());
        assert_eq!(set(Shell::Sh, "a'b $(c) \\"), "export X='a'\\''b $(c) \\';\n");
        assert_eq!(set(Shell::Fish, "a'b\\"), "set -gx X 'a\\'b\\\\';\n");
        assert_eq!(set(Shell::Powershell, "a'b\u{2019}$c"), "$Env:X = 'a''b\u{2019}\u{2019}$c';\n");
        assert_eq!(set(Shell::Cmd, "a&b+/="), "set \"X=a&b+/=\"\n");
    }

    #[test]
    fn what_cannot_be_quoted_is_refused() {
        assert!(Shell::Cmd.set("X", "%PATH%").is_err());
        assert!(Shell::Cmd.set("X", "a\"b").is_err());
        for shell in [Shell::Sh, Shell::Fish, Shell::Powershell, Shell::Cmd] {
            assert!(shell.set("X", "a\nb").is_err());
        }
    }
}
