//! Texts that are nearly right: mutations of kept ones, the same in every run, for the tests of what reads texts that others wrote.

use fastrand::Rng;

/// What the mutations of every run are made with.
#[cfg(test)]
const SEED: u64 = 0x5eed;

/// The longest piece that is taken away, moved or put in another's place.
const LONGEST_PIECE: usize = 64;

/// What readers of texts trip over.
const PIECES: &[&[u8]] = &[
    b"\"",
    b"'",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"=",
    b"%",
    b"*",
    b"?",
    b"@",
    b"#",
    b" ",
    b"\n",
    b"\r\n",
    b"\0",
    b"- ",
    b"--",
    b"---\n",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"9999999999d",
    b"\\u0000",
    b"\\ud800",
    b"\xef\xbb\xbf",
    b"\xc3\xa9",
    b"\xf0\x9f\x98\x80",
    b"\xff",
    &[b'['; 300],
];

/// One mutation of a text, the same each time for one seed.
pub fn one(text: &[u8], seed: u64) -> Vec<u8> {
    mutate(&mut Rng::with_seed(seed), &[text])
}

/// Shows so many mutations of these texts to a check. One that makes it panic is printed.
#[cfg(test)]
pub fn each(corpus: &[&[u8]], many: usize, mut check: impl FnMut(&[u8])) {
    let mut random = Rng::with_seed(SEED);
    for _ in 0..many {
        let mutation = mutate(&mut random, corpus);
        let _printed = PrintedOnPanic(&mutation);
        check(&mutation);
    }
}

#[cfg(test)]
struct PrintedOnPanic<'a>(&'a [u8]);

#[cfg(test)]
impl Drop for PrintedOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with {:?}", String::from_utf8_lossy(self.0));
        }
    }
}

fn mutate(random: &mut Rng, corpus: &[&[u8]]) -> Vec<u8> {
    let mut text = pick(random, corpus).to_vec();
    for _ in 0..random.usize(1..=4) {
        let (from, to) = piece(random, text.len());
        match random.u8(..7) {
            0 if from < text.len() => text[from] ^= 1 << random.u8(..8),
            1 if from < text.len() => text[from] = random.u8(..),
            2 => drop(text.drain(from..to)),
            3 => {
                let copied = text[from..to].to_vec();
                let at = random.usize(..=text.len());
                drop(text.splice(at..at, copied));
            }
            4 => {
                let other = pick(random, corpus);
                let (start, end) = piece(random, other.len());
                drop(text.splice(from..to, other[start..end].to_vec()));
            }
            5 => text.truncate(from),
            _ => drop(text.splice(from..from, pick(random, PIECES).to_vec())),
        }
    }
    text
}

fn pick<'a>(random: &mut Rng, all: &[&'a [u8]]) -> &'a [u8] {
    all[random.usize(..all.len())]
}

/// Where a piece of a text of this length begins and ends.
fn piece(random: &mut Rng, length: usize) -> (usize, usize) {
    let from = random.usize(..=length);
    (from, random.usize(from..=length.min(from + LONGEST_PIECE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_are_the_same_in_every_run_and_most_differ_from_each_other() {
        let corpus: [&[u8]; 2] = [b"{\"key\": [1, 2, 3]}", b"a line\nanother\n"];
        let made = || {
            let mut made = Vec::new();
            each(&corpus, 500, |text| made.push(text.to_vec()));
            made
        };
        let (one, other) = (made(), made());
        assert_eq!(one, other);
        let distinct: std::collections::HashSet<_> = one.into_iter().collect();
        assert!(distinct.len() > 400, "{}", distinct.len());
    }
}
