//! Inputs that are nearly right: whatever is wrong with them is told in a sentence.

use jiff::Timestamp;

use super::fuzz::is_told;
use crate::catalog::registry;
use crate::input::Input;
use crate::mutations;

/// How many mutations are made of the examples of each action.
const OF_AN_ACTION: usize = 25;

#[test]
fn no_input_makes_an_action_panic() {
    for entry in registry::actions() {
        let examples: Vec<&[u8]> = entry.meta.examples.iter().map(|example| example.input.as_bytes()).collect();
        if examples.is_empty() {
            continue;
        }
        mutations::each(&examples, OF_AN_ACTION, |text| {
            let input = Input::from_json(&String::from_utf8_lossy(text));
            let parsed = input.and_then(|input| entry.parse(input, Timestamp::UNIX_EPOCH).map(drop));
            parsed.unwrap_or_else(|e| is_told(&e));
        });
    }
}
