//! The space of keys as numbers: how far it is from one key to another, and which text lies so far ahead.
//!
//! A key is a number whose places are its characters. What characters a place can hold is learned from the keys seen, so that numbered, dated and random
//! names all spread evenly. Nothing depends on it being right: a cut that lands badly makes two uneven parts.

use std::collections::BTreeSet;

/// Keys are looked at so far behind the prefix, in characters. Such as differ only behind that are not cut.
const PLACES: usize = 256;

/// So many places behind the first that differs make a distance exact enough.
const DEPTH: usize = 40;

/// So many different characters of one place are remembered.
const LETTERS: usize = 96;

/// A place whose characters ran through so many times holds no others.
const ROUNDS: u8 = 2;

/// The longest key (S3 user guide, naming objects), in bytes.
const LONGEST: usize = 1024;

/// Characters that come together, in the order of their bytes.
const CLASSES: [&str; 3] = ["0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"];

/// Which characters a place is taken to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// Those seen, where the keys have run through all that there are.
    Observed,
    /// Also those that may well come: all digits where there is one.
    Likely,
}

/// What is known of the keys below a prefix.
#[derive(Debug, Default)]
pub struct Space {
    prefix: String,
    places: Vec<Place>,
    /// The characters of each place, in order. Made anew when something was learned.
    seen: Vec<Vec<char>>,
    likely: Vec<Vec<char>>,
    stale: bool,
}

#[derive(Debug, Default)]
struct Place {
    seen: BTreeSet<char>,
    /// Whether a key ends before it.
    ends: bool,
    /// How often a place to its left moved on: all that it holds had come.
    rounds: u8,
}

/// A number with places of different sizes, the greatest first.
struct Frame<'a> {
    alphabets: &'a [Vec<char>],
    places: &'a [Place],
    sizes: Vec<u64>,
}

impl Space {
    /// Of the keys that begin with this.
    pub fn new(prefix: &str) -> Self {
        Space { prefix: prefix.to_owned(), ..Space::default() }
    }

    /// Whether a key is below the prefix.
    pub fn holds(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
    }

    /// Whether a text may be a cut, wherever it is from.
    pub fn takes(&self, cut: &str) -> bool {
        self.holds(cut) && cut.len() > self.prefix.len() && cut.len() <= LONGEST && self.tail(cut).chars().all(is_sendable)
    }

    /// Learns the characters of a key.
    pub fn learn(&mut self, key: &str) {
        let mut length = 0;
        for (at, c) in self.tail(key).chars().take(PLACES).enumerate() {
            length = at + 1;
            let place = self.place(at);
            if is_sendable(c) && place.seen.len() < LETTERS && place.seen.insert(c) {
                self.stale = true;
            }
        }
        if length < PLACES && !std::mem::replace(&mut self.place(length).ends, true) {
            self.stale = true;
        }
    }

    /// Learns from the first and the last key of a page: all between them was on it, so the places behind the first that differs ran through. Places that
    /// these keys do not have may well be others' only.
    pub fn learn_page(&mut self, first: &str, last: &str) {
        let same = common(self.tail(first), self.tail(last));
        let length = self.tail(first).chars().count().min(self.tail(last).chars().count());
        for place in self.places.iter_mut().take(length).skip(same + 1).filter(|place| place.rounds < ROUNDS) {
            place.rounds += 1;
            self.stale = true;
        }
    }

    /// Gets the alphabets ready, after learning.
    pub fn prepare(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let mut right: BTreeSet<char> = BTreeSet::new();
        let mut likely = Vec::with_capacity(self.places.len());
        for place in self.places.iter().rev() {
            let mut letters = place.seen.clone();
            if letters.iter().any(char::is_ascii_digit) {
                letters.extend('0'..='9');
            }
            // A place that has hardly moved looks like the next one: the first digits of random names.
            if !letters.is_empty() && letters.is_subset(&right) {
                letters.clone_from(&right);
            }
            likely.push(letters.iter().copied().collect::<Vec<char>>());
            right = letters;
        }
        likely.reverse();
        let seen = self.places.iter().zip(&likely);
        self.seen = seen
            .map(|(place, likely)| if place.rounds >= ROUNDS { place.seen.iter().copied().collect() } else { likely.clone() })
            .collect();
        self.likely = likely;
    }

    /// The text that lies `times / parts` as far behind `low` as `low` lies behind `anchor`, if it is before `high`.
    pub fn ahead(&self, anchor: &str, low: &str, high: Option<&str>, (times, parts): (u64, u64), alphabet: Alphabet) -> Option<String> {
        let same = common(self.tail(anchor), self.tail(low));
        let frame = self.frame(same + DEPTH, alphabet);
        let (from, at) = (frame.number(self.tail(anchor)), frame.number(self.tail(low)));
        let step = frame.subtract(&at, &from)?;
        if step.iter().all(|digit| *digit == 0) {
            return None;
        }
        let (step, beyond) = frame.multiply(&frame.divide(&step, parts), times);
        let (sum, carried) = frame.add(&at, &step);
        let cut = match beyond + carried {
            0 => frame.text(&sum),
            beyond => self.next_above(self.tail(low), same, beyond)?,
        };
        self.checked(cut, low, high)
    }

    /// The text that lies this share of the way between two keys.
    pub fn between(&self, low: &str, high: &str, (times, parts): (u64, u64)) -> Option<String> {
        let same = common(self.tail(low), self.tail(high));
        let frame = self.frame(same + DEPTH, Alphabet::Likely);
        let (from, to) = (frame.number(self.tail(low)), frame.number(self.tail(high)));
        let (step, beyond) = frame.multiply(&frame.divide(&frame.subtract(&to, &from)?, parts), times);
        let (sum, carried) = frame.add(&from, &step);
        if beyond + carried > 0 {
            return None;
        }
        self.checked(frame.text(&sum), low, Some(high))
    }

    /// How many times as far it is from `low` to `high` as from `anchor` to `low`.
    pub fn ratio(&self, anchor: &str, low: &str, high: &str, alphabet: Alphabet) -> Option<f64> {
        let same = common(self.tail(anchor), self.tail(high)).min(common(self.tail(anchor), self.tail(low)));
        let frame = self.frame(same + DEPTH, alphabet);
        let (from, at, to) = (frame.number(self.tail(anchor)), frame.number(self.tail(low)), frame.number(self.tail(high)));
        let (behind, ahead) = (frame.subtract(&at, &from)?, frame.subtract(&to, &at)?);
        let start = behind.iter().zip(&ahead).position(|(b, a)| *b > 0 || *a > 0)?;
        let value = |digits: &[u64]| {
            let mut scale = 1.0;
            let places = digits.iter().zip(&frame.sizes).skip(start);
            places.fold(0.0, |sum, (digit, size)| {
                scale /= *size as f64;
                sum + *digit as f64 * scale
            })
        };
        let (behind, ahead) = (value(&behind), value(&ahead));
        (behind > 0.0).then_some(ahead / behind)
    }

    /// A text behind all that begins like this up to `same`: for keys that ran out of places to count on.
    fn next_above(&self, low: &str, same: usize, steps: u64) -> Option<String> {
        let letters: Vec<char> = low.chars().collect();
        for at in (0..same.min(letters.len())).rev() {
            let here = *letters.get(at)?;
            let above = |letters: Vec<char>| letters.into_iter().filter(|c| *c > here).collect::<Vec<char>>();
            let mut choice = above(self.likely.get(at).cloned().unwrap_or_default());
            if choice.is_empty() {
                let class = CLASSES.iter().find(|class| class.contains(here)).map(|class| class.chars().collect());
                choice = above(class.unwrap_or_default());
            }
            let step = usize::try_from(steps).unwrap_or(usize::MAX).clamp(1, choice.len().max(1));
            if let Some(c) = choice.get(step - 1) {
                return Some(letters.iter().take(at).chain([c]).collect());
            }
        }
        None
    }

    /// A text with the prefix before it, if it can be sent, and divides what it should.
    fn checked(&self, tail: String, low: &str, high: Option<&str>) -> Option<String> {
        if !tail.chars().all(is_sendable) {
            return None;
        }
        let cut = format!("{}{tail}", self.prefix);
        (cut.len() <= LONGEST && cut.as_str() > low && high.is_none_or(|high| cut.as_str() < high)).then_some(cut)
    }

    fn tail<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(self.prefix.as_str()).unwrap_or(key)
    }

    fn place(&mut self, at: usize) -> &mut Place {
        if self.places.len() <= at {
            self.places.resize_with(at + 1, Place::default);
        }
        &mut self.places[at]
    }

    fn frame(&self, length: usize, alphabet: Alphabet) -> Frame<'_> {
        let alphabets = match alphabet {
            Alphabet::Observed => &self.seen,
            Alphabet::Likely => &self.likely,
        };
        let length = length.min(alphabets.len()).min(self.places.len());
        let (alphabets, places) = (alphabets.get(..length).unwrap_or_default(), self.places.get(..length).unwrap_or_default());
        let sizes = alphabets.iter().zip(places).map(|(letters, place)| letters.len() as u64 + end(letters, place)).collect();
        Frame { alphabets, places, sizes }
    }
}

/// One when a place may be empty because the key has ended, which is its lowest digit.
fn end(letters: &[char], place: &Place) -> u64 {
    u64::from(place.ends || letters.is_empty())
}

impl Frame<'_> {
    /// A key as a number. What has no digit of its own is the digit below it, and the greatest that begins so.
    fn number(&self, key: &str) -> Vec<u64> {
        let mut number = vec![0; self.sizes.len()];
        let mut letters = key.chars();
        for (at, (alphabet, place)) in self.alphabets.iter().zip(self.places).enumerate() {
            let Some(c) = letters.next() else { break };
            let end = end(alphabet, place);
            match alphabet.binary_search(&c) {
                Ok(rank) => number[at] = rank as u64 + end,
                Err(0) => break,
                Err(above) => {
                    number[at] = above as u64 - 1 + end;
                    for (digit, size) in number.iter_mut().zip(&self.sizes).skip(at + 1) {
                        *digit = size - 1;
                    }
                    break;
                }
            }
        }
        number
    }

    /// The shortest text of a number.
    fn text(&self, number: &[u64]) -> String {
        let mut text = String::new();
        let mut needed = 0;
        for ((digit, alphabet), place) in number.iter().zip(self.alphabets).zip(self.places) {
            let Some(rank) = digit.checked_sub(end(alphabet, place)) else { break };
            let Some(c) = usize::try_from(rank).ok().and_then(|rank| alphabet.get(rank)) else { break };
            text.push(*c);
            if *digit > 0 {
                needed = text.len();
            }
        }
        text.truncate(needed);
        text
    }

    /// None when the result were less than nothing.
    fn subtract(&self, from: &[u64], what: &[u64]) -> Option<Vec<u64>> {
        let mut result = vec![0; from.len()];
        let mut borrow = 0;
        for at in (0..from.len()).rev() {
            let less = what[at] + borrow;
            borrow = u64::from(from[at] < less);
            result[at] = from[at] + borrow * self.sizes[at] - less;
        }
        (borrow == 0).then_some(result)
    }

    /// The sum, and what is carried out of the greatest place.
    fn add(&self, a: &[u64], b: &[u64]) -> (Vec<u64>, u64) {
        let mut result = vec![0; a.len()];
        let mut carry = 0;
        for at in (0..a.len()).rev() {
            let sum = a[at] + b[at] + carry;
            (result[at], carry) = (sum % self.sizes[at], sum / self.sizes[at]);
        }
        (result, carry)
    }

    fn multiply(&self, number: &[u64], times: u64) -> (Vec<u64>, u64) {
        let mut result = vec![0; number.len()];
        let mut carry: u64 = 0;
        for at in (0..number.len()).rev() {
            let product = number[at].saturating_mul(times).saturating_add(carry);
            (result[at], carry) = (product % self.sizes[at], product / self.sizes[at]);
        }
        (result, carry)
    }

    fn divide(&self, number: &[u64], parts: u64) -> Vec<u64> {
        let parts = parts.max(1);
        let mut rest: u64 = 0;
        let digits = number.iter().zip(&self.sizes).map(|(digit, size)| {
            let value = rest.saturating_mul(*size).saturating_add(*digit);
            rest = value % parts;
            value / parts
        });
        digits.collect()
    }
}

/// How many characters two texts begin with alike.
fn common(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
}

/// Whether a cut may hold it: every store takes it in a URL, and can say it in XML 1.0.
fn is_sendable(c: char) -> bool {
    !c.is_control() && u32::from(c) & 0xfffe != 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space<'a>(prefix: &str, keys: impl IntoIterator<Item = &'a str>) -> Space {
        let mut space = Space::new(prefix);
        keys.into_iter().for_each(|key| space.learn(key));
        space.prepare();
        space
    }

    fn numbered(keys: std::ops::Range<u32>) -> Space {
        let keys: Vec<String> = keys.map(|n| format!("key-{n:05}")).collect();
        space("", keys.iter().map(String::as_str))
    }

    #[test]
    fn numbered_keys_are_counted() {
        let space = numbered(0..100);
        let ahead = |times, high| space.ahead("key-00000", "key-00100", high, times, Alphabet::Likely);
        assert_eq!(ahead((3, 1), None).as_deref(), Some("key-004"));
        assert_eq!(ahead((150, 100), None).as_deref(), Some("key-0025"));
        assert_eq!(ahead((99, 1), None).as_deref(), Some("key-1"), "a carry goes through all places");
        assert_eq!(ahead((3, 1), Some("key-00300")), None, "beyond its end");
        assert_eq!(space.between("key-00000", "key-00400", (1, 2)).as_deref(), Some("key-002"));
        let ratio = space.ratio("key-00000", "key-00100", "key-00400", Alphabet::Likely).expect("a ratio");
        assert!((ratio - 3.0).abs() < 1e-9, "{ratio}");
    }

    #[test]
    fn a_place_that_ran_through_holds_what_was_seen() {
        let keys: Vec<String> = (1..4).flat_map(|day| (0..30).map(move |n| format!("2024/01/{day:02}/{n:03}"))).collect();
        let mut space = space("2024/", keys.iter().map(String::as_str));
        let next = |space: &Space| space.ahead("2024/01/03/000", "2024/01/03/020", None, (15, 20), Alphabet::Observed);
        assert_eq!(next(&space).as_deref(), Some("2024/01/03/035"), "it is not known yet that a day has 30");
        for _ in 0..ROUNDS {
            space.learn_page("2024/01/01/000", "2024/01/03/029");
        }
        space.prepare();
        assert_eq!(next(&space).as_deref(), Some("2024/01/04/005"));
    }

    #[test]
    fn the_first_digits_of_random_names_are_like_the_others() {
        let space = space("", ["0a3f", "0b7c", "0c19", "0ded", "0e5a", "0f42", "0618", "02b0", "0986"]);
        let cut = space.ahead("02b0", "0986", None, (9, 1), Alphabet::Likely).expect("a cut");
        assert!(cut.as_str() > "3" && cut.as_str() < "5", "{cut}");
    }

    #[test]
    fn a_cut_lies_where_it_should_whatever_the_keys() {
        let keys = [
            "",
            " ",
            " a ",
            "a",
            "a/",
            "a/b",
            "a~",
            "ab",
            "é",
            "日本",
            "日本語",
            "\u{ffff}",
            "🦀",
            "🦀🐍",
            "\u{1}x",
            "x\u{1f}y",
            "+%&?#\"<",
        ];
        let space = space("", keys);
        let mut cuts = 0;
        for low in keys {
            for high in keys.into_iter().filter(|high| *high > low) {
                for share in [(1, 2), (1, 64), (63, 64)] {
                    let cut = space.between(low, high, share);
                    cuts += usize::from(cut.is_some());
                    let fits = |cut: String| low < cut.as_str() && cut.as_str() < high && cut.chars().all(is_sendable);
                    assert!(cut.is_none_or(fits), "{low:?} {high:?}");
                }
                for alphabet in [Alphabet::Observed, Alphabet::Likely] {
                    for times in [(1, 9), (1, 1), (3, 1), (5000, 1)] {
                        let cut = space.ahead(low, high, None, times, alphabet);
                        assert!(cut.is_none_or(|cut| high < cut.as_str() && cut.chars().all(is_sendable)), "{low:?} {high:?}");
                    }
                    assert!(space.ratio(low, high, "\u{10ffff}", alphabet).is_none_or(|ratio| ratio >= 0.0));
                }
            }
        }
        assert!(cuts > 20, "{cuts}");
    }

    #[test]
    fn a_cut_stays_below_its_prefix() {
        let space = space("logs/", ["logs/a", "logs/b", "logs/z"]);
        assert_eq!(space.ahead("logs/a", "logs/z", None, (100, 1), Alphabet::Likely), None);
        assert!(space.between("logs/a", "logs/z", (1, 2)).is_some_and(|cut| cut.starts_with("logs/")));
        assert!(space.holds("logs/x") && !space.holds("log"));
    }
}
