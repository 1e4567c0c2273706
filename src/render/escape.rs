//! What a terminal must not be sent: the only place that decides it.

use std::fmt::Write;

/// Whether a character does something to a terminal, or hides or turns round what stands beside it: controls (C1 ones too), the marks of text that runs
/// the other way, line separators, what has no width, tags (Unicode TR 36, section 3; CVE-2021-42574).
pub(super) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text for a terminal: a key may hold any character, and a terminal obeys.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            c if is_hostile(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// JSON text for a terminal: the same characters, which stand in strings only, as the escapes that JSON has for them.
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_hostile(c) {
            let mut units = [0; 2];
            // Writing to a string does not fail.
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let hostile = "a\u{1b}[31m\u{9b}b\u{7f}\u{202e}c\u{2066}\u{2028}\u{200b}\u{e0041}";
        for shown in [printable(hostile), json(&serde_json::Value::from(hostile).to_string())] {
            assert!(shown.chars().all(|c| c.is_ascii_graphic()), "{shown:?}");
        }
        assert_eq!(serde_json::from_str::<String>(&json(&serde_json::Value::from(hostile).to_string())).ok().as_deref(), Some(hostile));
        assert_eq!(printable("caf\u{e9} \u{65e5}\u{672c}"), "caf\u{e9} \u{65e5}\u{672c}");
    }
}
