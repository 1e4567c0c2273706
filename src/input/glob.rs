//! Patterns that select by name.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use regex_lite::{Regex, RegexBuilder};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A pattern that a whole text matches, or not: `*` is any text, also none, `?` one character, `[a-z]` one of these, `[!a-z]` one of all others,
/// `{a,b}` one of these texts, and a backslash takes the next character as it is. Nothing is special about slashes: `logs/*` matches `logs/a/b`.
/// Upper and lower case differ.
#[derive(Clone)]
pub struct Glob {
    pattern: String,
    regex: Regex,
}

impl Glob {
    /// Whether all of the text is of the pattern. Takes time in proportion to the length of both.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(pattern: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{}` is not a pattern: {why}", pattern.escape_debug());
        let regex = translate(pattern).map_err(wrong)?;
        // What is left for it to complain of: a range that runs backwards, or a pattern of some 100,000 characters.
        let regex = RegexBuilder::new(&regex).dot_matches_new_line(true).build().map_err(|e| wrong(&e.to_string()))?;
        Ok(Glob { pattern: pattern.to_owned(), regex })
    }
}

/// The pattern as a regular expression, or why it is none.
fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut regex = "^(?:".to_owned();
    let mut chars = pattern.chars();
    let mut open = false;
    while let Some(c) = chars.next() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => class(&mut chars, &mut regex)?,
            '{' if open => return Err("`{` within `{`"),
            '{' => {
                open = true;
                regex.push_str("(?:");
            }
            '}' if open => {
                open = false;
                regex.push(')');
            }
            '}' => return Err("a `}` without its `{`"),
            ',' if open => regex.push('|'),
            '\\' => literal(chars.next().ok_or("a backslash with nothing behind it")?, &mut regex),
            c => literal(c, &mut regex),
        }
    }
    if open {
        return Err("a `{` without its `}`");
    }
    regex.push_str(")$");
    Ok(regex)
}

/// What stands between brackets. A `]` that comes first is one of the characters, as in a shell.
fn class(chars: &mut std::str::Chars<'_>, regex: &mut String) -> Result<(), &'static str> {
    const UNCLOSED: &str = "a `[` without its `]`";
    regex.push('[');
    let mut next = chars.next().ok_or(UNCLOSED)?;
    if matches!(next, '!' | '^') {
        regex.push('^');
        next = chars.next().ok_or(UNCLOSED)?;
    }
    let mut first = true;
    while first || next != ']' {
        match next {
            '-' if !first => regex.push('-'),
            '\\' => literal(chars.next().ok_or(UNCLOSED)?, regex),
            c => literal(c, regex),
        }
        first = false;
        next = chars.next().ok_or(UNCLOSED)?;
    }
    // A dash at the end is a dash, at the end of a range too: `[+--]` is all from `+` to `-`, which as a regular expression it would not be.
    if regex.ends_with('-') && !regex.ends_with("\\-") {
        regex.pop();
        literal('-', regex);
    }
    regex.push(']');
    Ok(())
}

/// A character as itself; what has a meaning in a regular expression loses it.
fn literal(c: char, regex: &mut String) {
    regex.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4])));
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.pattern)
    }
}

impl TryFrom<&str> for Glob {
    type Error = String;

    fn try_from(pattern: &str) -> Result<Self, String> {
        pattern.parse()
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Glob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.pattern)
    }
}

impl JsonSchema for Glob {
    fn schema_name() -> Cow<'static, str> {
        "Glob".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "glob" })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_text_matches_or_does_not() {
        let cases: [(&str, &[&str], &[&str]); 11] = [
            ("logs-*", &["logs-", "logs-a/b\nc"], &["my-logs-a", "LOGS-a"]),
            ("?", &["é", "\n"], &["", "ab"]),
            ("[a-cx]?[!0-9]", &["ax-", "xxx"], &["d1a", "ax1"]),
            ("[]a-]", &["]", "a", "-"], &["b"]),
            ("[+--]", &["+", ",", "-"], &["*", "."]),
            ("[^.]", &["a"], &["."]),
            ("{dev,test}-*", &["dev-1", "test-"], &["prod-1", "dev"]),
            ("a.b+c(d)|^$", &["a.b+c(d)|^$"], &["aXb+c(d)|^$"]),
            (r"\*[\]]", &["*]"], &["a]", "*["]),
            ("a,b", &["a,b"], &["a"]),
            ("", &[""], &["a"]),
        ];
        for (pattern, yes, no) in cases {
            let glob: Glob = pattern.parse().unwrap_or_else(|e| panic!("{e}"));
            yes.iter().for_each(|text| assert!(glob.matches(text), "`{pattern}` matches {text:?}"));
            no.iter().for_each(|text| assert!(!glob.matches(text), "`{pattern}` does not match {text:?}"));
        }
    }

    #[test]
    fn what_is_no_pattern_is_told_so() {
        for wrong in ["[a", "[", "[!", "{a", "a}", "{a,{b}}", "a\\", "[z-a]"] {
            assert!(wrong.parse::<Glob>().is_err_and(|e| e.contains("is not a pattern")), "{wrong}");
        }
    }
}
