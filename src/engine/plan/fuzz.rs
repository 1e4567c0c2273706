//! What holds for every plan.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::read::{Flaw, Planned};
use super::{End, FORMAT, ItemLine, hex};
use crate::mutations;

/// How many mutations are made of a plan.
const MUTANTS: u64 = 3;

/// Reads bytes as a plan, and as the lines of one, to which the end is made that vouches for them. What is taken for a plan says of each item what is
/// written, and is refused when it is altered.
pub fn plan(data: &[u8]) -> bool {
    let sealed = seal(data);
    let taken = [data, &sealed].map(|text| {
        let Some(planned) = read(text) else { return false };
        says_what_is_written(&planned, text);
        for seed in 0..MUTANTS {
            let altered = mutations::one(text, seed);
            assert!(
                altered == text || read(&altered).is_none(),
                "it is taken, though it was altered: {:?}",
                String::from_utf8_lossy(&altered)
            );
        }
        true
    });
    taken.contains(&true)
}

fn read(text: &[u8]) -> Option<Planned> {
    match Planned::read(text) {
        Ok(planned) => Some(planned),
        Err(Flaw::Altered(what)) => {
            assert!(!what.trim().is_empty() && what.lines().count() == 1, "{what:?}");
            None
        }
        Err(Flaw::Newer(format)) => {
            assert!(format > FORMAT, "{format} is not newer");
            None
        }
        Err(Flaw::Io(e)) => panic!("{e}"),
    }
}

/// The lines, and behind them the end that a program writes.
fn seal(lines: &[u8]) -> Vec<u8> {
    let mut text = lines.to_vec();
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let is_item = |line: &&[u8]| serde_json::from_slice::<Value>(line).is_ok_and(|line| line.get("item").is_some());
    let items = text.split(|byte| *byte == b'\n').skip(1).filter(is_item).count() as u64;
    let end = End { items, sha256: hex(Sha256::digest(&text).as_slice()) };
    text.extend(serde_json::to_vec(&end).unwrap_or_else(|e| panic!("{e}")));
    text.push(b'\n');
    text
}

fn says_what_is_written(planned: &Planned, text: &[u8]) {
    for line in text.split(|byte| *byte == b'\n').skip(1) {
        let Ok(line) = serde_json::from_slice::<ItemLine>(line) else { continue };
        let item = &line.record.item;
        assert!(planned.has(item), "{item}");
        let expected = planned.expected(item).unwrap_or_else(|e| panic!("{e}"));
        assert!(expected.is_some_and(|found| found.record.item == *item), "{item}");
        let again = serde_json::to_value(&line).and_then(serde_json::from_value::<ItemLine>).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((again.record, again.state, again.input), (line.record, line.state, line.input));
    }
    assert_eq!(planned.unseen().count(), 0, "all its items were asked for");
    let schema = json!({"type": "object", "properties": {
        "bucket": {"type": "string"},
        "objects": {"type": "array", "items": {"type": "string"}, "x-aaws-stream": true},
    }});
    if let Err(e) = planned.input(schema, Map::new(), false) {
        assert!(!e.to_string().trim().is_empty(), "its input is refused without a word");
    }
}
