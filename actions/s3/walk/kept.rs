//! What a list was like, for the next one of the same place: how dense the keys are, as a few texts between them that are good to cut at.
//!
//! Keys may be confidential, and what is kept of them is as little as serves: a few dozen texts, each what a key begins with, no longer than tells it from
//! the key before it, and without the prefix of the list. What is read again may be anything: a cut that is wrong costs a request.

use std::collections::BTreeMap;

use aaws::Cache;
use serde::{Deserialize, Serialize};

use super::Keyed;

/// The format of what is kept.
const FORMAT: u32 = 1;

/// So many cuts are kept of the beginning of a list, each a few pages behind the one before it, and so many of all the rest.
const NEAR: usize = 32;
const FAR: usize = 16;

/// How far the near ones lie apart, in parts of a page: a little short of three pages, as the third one has to hold a key from behind the cut.
const STEP: u64 = 22;

/// A list of fewer pages is as fast without.
const FEWEST: u64 = 6;

/// In so many parts a page is divided, between which cuts are looked for.
const PARTS: usize = 8;

/// The most marks that are held while a list is read: the first of them as they come, the others farther and farther apart.
const MARKS: usize = 2048;
const FINE: usize = 1024;

/// A cut of more bytes is not kept.
const LONGEST: usize = 128;

/// Where an earlier list was good to cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCut {
    /// A text between two keys.
    pub cut: String,
    /// How many keys there were between the one before it and this.
    pub keys: u64,
}

/// What is in a file of them. The prefix is not.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    /// How many keys, and what the cut goes on with behind the prefix.
    cuts: Vec<(u64, String)>,
}

/// The cuts that are kept of a list below a prefix; none where there are none, or something else.
pub fn read(cache: &Cache, prefix: &str) -> Vec<KeptCut> {
    cache.read().map(|bytes| parsed(&bytes, prefix)).unwrap_or_default()
}

fn parsed(bytes: &[u8], prefix: &str) -> Vec<KeptCut> {
    let Some(file) = serde_json::from_slice::<Content>(bytes).ok().filter(|file| file.format == FORMAT) else { return Vec::new() };
    let cuts = file.cuts.into_iter().take(NEAR + FAR).filter(|(_, tail)| tail.len() <= LONGEST);
    cuts.map(|(keys, tail)| KeptCut { cut: format!("{prefix}{tail}"), keys }).collect()
}

/// Keeps them; where there are none, nothing is kept.
pub fn write(cache: &Cache, prefix: &str, kept: &[KeptCut]) {
    match text(kept, prefix) {
        Some(text) => cache.write(text.as_bytes()),
        None => cache.remove(),
    }
}

fn text(kept: &[KeptCut], prefix: &str) -> Option<String> {
    let tail = |kept: &KeptCut| Some((kept.keys, kept.cut.strip_prefix(prefix)?.to_owned()));
    let cuts: Vec<(u64, String)> = kept.iter().filter_map(tail).collect();
    if cuts.is_empty() {
        return None;
    }
    serde_json::to_string(&Content { format: FORMAT, cuts }).ok()
}

/// How dense the keys of a list are, learned from its pages in any order. It does not grow with the list.
#[derive(Debug, Default)]
pub struct Density {
    /// By where they stand.
    marks: BTreeMap<String, Mark>,
}

/// Keys between the mark before and this.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    keys: u64,
    /// Whether it is a text that is good to cut at, rather than a key where a page has ended.
    is_cut: bool,
}

impl Density {
    /// Takes in keys that follow one another, of which none was taken in before.
    pub fn note<T: Keyed>(&mut self, items: &[T], page: usize) {
        let step = (page / PARTS).max(1);
        let mut counted = 0;
        for at in (step..items.len()).step_by(step) {
            if let Some(cut) = separator(items[at - 1].key(), items[at].key()) {
                self.add(cut, at - counted, true);
                counted = at;
            }
        }
        if let Some(last) = items.last() {
            self.add(last.key(), items.len() - counted, false);
        }
        if self.marks.len() > MARKS {
            self.thin();
        }
    }

    fn add(&mut self, at: &str, keys: usize, is_cut: bool) {
        let mark = self.marks.entry(at.to_owned()).or_default();
        mark.keys = mark.keys.saturating_add(keys as u64);
        mark.is_cut |= is_cut;
    }

    /// Of the marks behind the first ones, cuts stay that are far enough apart, each with what was counted up to it.
    fn thin(&mut self) {
        let Some(first) = self.marks.keys().nth(FINE).cloned() else { return };
        let behind = self.marks.split_off(&first);
        let all = behind.values().fold(0_u64, |sum, mark| sum.saturating_add(mark.keys));
        let enough = all / ((MARKS - FINE) as u64 / 2);
        let (mut waiting, mut last) = (0_u64, None);
        for (at, mark) in behind {
            waiting = waiting.saturating_add(mark.keys);
            if mark.is_cut && waiting > enough {
                self.marks.insert(at, Mark { keys: std::mem::take(&mut waiting), is_cut: true });
                last = None;
            } else {
                last = Some(at);
            }
        }
        if let Some(at) = last {
            self.marks.insert(at, Mark { keys: waiting, is_cut: false });
        }
    }

    /// The cuts to keep: near ones at the beginning, where a list in order is walked first, and some that divide the rest.
    pub fn cuts(&self, prefix: &str, page: usize) -> Vec<KeptCut> {
        let page = page.max(1) as u64;
        let all = self.marks.values().fold(0_u64, |sum, mark| sum.saturating_add(mark.keys));
        let mut cuts: Vec<KeptCut> = Vec::new();
        if all < page.saturating_mul(FEWEST) {
            return cuts;
        }
        let mut step = (page.saturating_mul(STEP) / PARTS as u64).max(1);
        // Keys behind the last cut, keys before it, and the farthest mark that is near enough.
        let (mut since, mut before, mut best) = (0_u64, 0_u64, None::<(&String, u64)>);
        for (at, mark) in &self.marks {
            since = since.saturating_add(mark.keys);
            if since > step
                && let Some((cut, keys)) = best.take()
            {
                cuts.push(KeptCut { cut: cut.clone(), keys });
                since -= keys;
                before += keys;
                if cuts.len() == NEAR {
                    step = step.max((all - before) / (FAR as u64 + 1));
                }
                if cuts.len() == NEAR + FAR {
                    break;
                }
            }
            if mark.is_cut && at.len() <= prefix.len() + LONGEST {
                best = Some((at, since));
            }
        }
        cuts
    }
}

/// The shortest that the second of two keys begins with, and the first does not; none when they are the same.
fn separator<'k>(before: &str, behind: &'k str) -> Option<&'k str> {
    let same = before.bytes().zip(behind.bytes()).take_while(|(a, b)| a == b).count();
    let end = (same + 1..=behind.len()).find(|end| behind.is_char_boundary(*end))?;
    behind.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> String {
        format!("logs/{n:08}-secret")
    }

    /// Pages of so many numbered keys, in the order of the list or the other way round.
    fn density(count: usize, page: usize, is_reversed: bool) -> Density {
        let mut density = Density::default();
        let keys: Vec<String> = (0..count).map(key).collect();
        let mut pages: Vec<&[String]> = keys.chunks(page).collect();
        if is_reversed {
            pages.reverse();
        }
        pages.into_iter().for_each(|keys| density.note(keys, page));
        density
    }

    #[test]
    fn two_keys_are_told_apart_by_as_little_as_there_is() {
        for (before, behind, cut) in [
            ("a", "b", Some("b")),
            ("abc-1", "abd-1", Some("abd")),
            ("a", "ab/c", Some("ab")),
            ("", "é1", Some("é")),
            // Their first bytes are the same.
            ("é", "ê1", Some("ê")),
            ("日本", "日本語1", Some("日本語")),
            ("a", "a", None),
            ("", "", None),
        ] {
            assert_eq!(separator(before, behind), cut, "{before:?} {behind:?}");
        }
    }

    #[test]
    fn cuts_are_near_at_the_beginning_and_a_few_dozen_whatever_the_list() {
        for count in [0, 1, 599, 600, 1000, 10_000, 300_000] {
            for is_reversed in [false, true] {
                let density = density(count, 100, is_reversed);
                assert!(density.marks.len() <= MARKS + PARTS, "{count}");
                let cuts = density.cuts("", 100);
                assert_eq!(cuts.is_empty(), count < 600, "{count}");
                assert!(cuts.len() <= NEAR + FAR && cuts.is_sorted_by(|a, b| a.cut < b.cut), "{count}: {cuts:?}");
                let mut before = 0;
                for (number, cut) in cuts.iter().enumerate() {
                    before += usize::try_from(cut.keys).expect("a count");
                    assert!((key(before - 1)..=key(before)).contains(&cut.cut), "{count}: {cut:?} is not behind {before} keys");
                    assert!(cut.cut.len() < key(0).len(), "{cut:?} is a whole key");
                    assert!(number >= NEAR || is_reversed || (250..=275).contains(&cut.keys), "{count}: {cut:?}");
                }
                assert!(count < 100_000 || before > count / 2, "{count}: the last cut is behind {before} keys");
            }
        }
    }

    #[test]
    fn a_key_that_comes_again_and_again_is_not_cut() {
        let mut density = Density::default();
        let keys: Vec<String> = (0..1000).map(|n| if n < 990 { "a".into() } else { format!("b{n}") }).collect();
        keys.chunks(100).for_each(|keys| density.note(keys, 100));
        assert_eq!(density.marks.values().map(|mark| mark.keys).sum::<u64>(), 1000);
        assert!(density.cuts("", 100).iter().all(|cut| cut.cut.starts_with('b')));
    }

    #[test]
    fn what_is_kept_is_without_the_prefix_and_read_again_below_it() {
        let cuts = density(2000, 100, false).cuts("logs/", 100);
        let text = text(&cuts, "logs/").expect("a text");
        assert!(!text.contains("logs/") && !text.contains("secret"), "{text}");
        assert_eq!(parsed(text.as_bytes(), "logs/"), cuts);
        assert!(parsed(text.as_bytes(), "x").iter().all(|kept| kept.cut.starts_with('x')));
        assert_eq!(super::text(&[], "logs/"), None);
    }

    #[test]
    fn whatever_is_read_is_a_few_short_cuts_or_none() {
        let long = format!(r#"{{"format":1,"cuts":[[1,"{}"]]}}"#, "x".repeat(LONGEST + 1));
        let many = format!(r#"{{"format":1,"cuts":[{}]}}"#, vec![r#"[1,"x"]"#; 5000].join(","));
        let nothing: [&[u8]; 11] = [
            b"",
            b"{",
            b"[]",
            b"\xff\xfe\x00",
            b"null",
            br#"{"format":1,"cuts":[]}"#,
            br#"{"format":2,"cuts":[[1,"a"]]}"#,
            br#"{"format":1,"cuts":[[-1,"a"]]}"#,
            br#"{"format":1,"cuts":[[1,"\ud800"]]}"#,
            b"{\"format\":1,\"cuts\":[[1,\"\xc3\"]]}",
            long.as_bytes(),
        ];
        for bytes in nothing {
            assert!(parsed(bytes, "p/").is_empty(), "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(parsed(many.as_bytes(), "p/").len(), NEAR + FAR);
        let odd = parsed(br#"{"format":1,"cuts":[[18446744073709551615,"z"],[0,""],[0,"a\u0000"]]}"#, "p/");
        assert_eq!(odd.iter().map(|kept| kept.cut.as_str()).collect::<Vec<_>>(), ["p/z", "p/", "p/a\u{0}"]);
    }
}
