//! Which columns of a table fit beside each other on a terminal, how wide each of them is, and texts that are cut to that.

use unicode_width::UnicodeWidthStr;

/// The first columns are those that a person looks for: to make room for one of them, others are narrowed. For those behind them no other is.
const LEADING: usize = 6;

/// For how many of the first columns names are put on two lines.
const DIVIDED_FOR: usize = 8;

/// How far the column of the things' names is narrowed: ids are shorter, and a longer name goes on in the next line.
const NAME: u16 = 44;
/// The same on terminals that are narrower.
pub(super) const SHORTEST_NAME: u16 = 28;

/// How far another column is narrowed, whose longer texts are cut.
const SHORTEST: u16 = 20;

/// A blank on each side.
const BESIDE: u16 = 2;

/// A column that a table may have.
pub(super) struct Candidate {
    pub name: String,
    /// The most characters that a value takes.
    pub values: u16,
    /// Whether something is said by the beginning of a value: by that of a name, and not of a number or of an id.
    pub is_text: bool,
    /// The most characters of an id that a value begins with: it is not cut.
    pub id: u16,
}

/// The columns that there is room for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fit {
    pub columns: Vec<String>,
    /// In characters, without the blanks beside.
    pub widths: Vec<u16>,
    /// Names of those that there is no room for.
    pub left: Vec<String>,
    /// Whether names that are longer than the values below are on two lines.
    pub two_lines: bool,
}

impl Candidate {
    fn width(&self, at: usize, two_lines: bool) -> u16 {
        self.values.max(name_width(&self.name, self.values, two_lines && at > 0))
    }

    fn least(&self, at: usize, two_lines: bool, room: u16) -> u16 {
        let width = self.width(at, two_lines);
        match at {
            0 => width.min((room / 9 * 4).clamp(SHORTEST_NAME, NAME)),
            _ if !self.is_text => width,
            _ => width.min(SHORTEST.max(self.id).max(name_width(&self.name, self.values, two_lines))),
        }
    }
}

/// The columns that fit into so much room, the first ones first: the first of all is always there, and behind one that is too wide a narrower one may still
/// fit. Without a limit all of them do.
pub(super) fn fitted(all: &[Candidate], room: Option<u16>) -> Fit {
    let room = room.unwrap_or(u16::MAX);
    let one = chosen(all, room, false);
    let two = chosen(all, room, true);
    let first = |kept: &[(usize, u16)]| kept.iter().map(|(at, _)| *at).filter(|at| *at < DIVIDED_FOR).collect::<Vec<_>>();
    // More of the first columns, or an earlier one.
    if first(&two) == first(&one) { laid(all, &one, room, false) } else { laid(all, &two, room, true) }
}

/// The places of the columns that are kept, and how far each may be narrowed.
fn chosen(all: &[Candidate], room: u16, two_lines: bool) -> Vec<(usize, u16)> {
    let (mut kept, mut least, mut whole) = (Vec::new(), 0_u16, 0_u16);
    for (at, column) in all.iter().enumerate() {
        let (width, narrow) = (column.width(at, two_lines), column.least(at, two_lines, room));
        let left = room.saturating_sub(if at < LEADING { least } else { whole }).saturating_sub(BESIDE);
        if at > 0 && left < narrow {
            continue;
        }
        let (width, narrow) = if at < LEADING { (width, narrow) } else { (width.min(left), width.min(left)) };
        kept.push((at, narrow));
        least = least.saturating_add(narrow).saturating_add(BESIDE);
        whole = whole.saturating_add(width).saturating_add(BESIDE);
    }
    kept
}

fn laid(all: &[Candidate], kept: &[(usize, u16)], room: u16, two_lines: bool) -> Fit {
    let columns = || kept.iter().filter_map(|(at, least)| Some((*at, *least, all.get(*at)?)));
    // A column behind the first ones is as wide as it may be beside them.
    let width = |(at, least, column): (usize, u16, &Candidate)| if at < LEADING { column.width(at, two_lines) } else { least };
    let least: Vec<u16> = kept.iter().map(|(_, least)| *least).collect();
    let left = all.iter().enumerate().filter(|(at, _)| kept.iter().all(|(kept, _)| kept != at)).map(|(_, column)| column.name.clone());
    let widths = narrowed(columns().map(width).collect(), &least, Some(room));
    Fit { columns: columns().map(|(.., column)| column.name.clone()).collect(), widths, left: left.collect(), two_lines }
}

/// Widths that fit beside each other: the widest are made narrower, none below its least unless nothing else is left.
pub(super) fn narrowed(mut widths: Vec<u16>, least: &[u16], room: Option<u16>) -> Vec<u16> {
    let Some(room) = room else { return widths };
    let needed = |widths: &[u16]| widths.iter().map(|width| u32::from(*width) + u32::from(BESIDE)).sum::<u32>();
    let least = |at: usize| least.get(at).copied().unwrap_or(1);
    while needed(&widths) > u32::from(room) {
        let more = widths.iter().enumerate().filter(|(at, width)| **width > least(*at)).max_by_key(|(_, width)| **width);
        let widest = more.or_else(|| widths.iter().enumerate().filter(|(_, width)| **width > 1).max_by_key(|(_, width)| **width));
        let Some(at) = widest.map(|(at, _)| at) else { break };
        if let Some(width) = widths.get_mut(at) {
            *width -= 1;
        }
    }
    widths
}

/// How wide the name of a column is above values that are so wide.
fn name_width(name: &str, values: u16, two_lines: bool) -> u16 {
    heading(name, values, two_lines).lines().map(width).max().unwrap_or_default()
}

/// The name of a column: on two lines where that is asked for, and it is longer than the values below.
pub(super) fn heading(name: &str, values: u16, two_lines: bool) -> String {
    if !two_lines || width(name) <= values {
        return name.to_owned();
    }
    let halves = words(name).filter_map(|at| name.split_at_checked(at));
    halves.min_by_key(|(one, other)| width(one).max(width(other))).map_or(name.to_owned(), |(one, other)| format!("{one}\n{other}"))
}

/// Where the words of a name begin, but for the first: `AgeDays` has two, and so has `SSEAlgorithm`.
fn words(name: &str) -> impl Iterator<Item = usize> + '_ {
    let chars: Vec<(usize, char)> = name.char_indices().collect();
    let is_upper = move |at: usize| chars.get(at).map(|(_, c)| c.is_ascii_uppercase());
    let starts = move |at: usize| is_upper(at) == Some(true) && (is_upper(at - 1) == Some(false) || is_upper(at + 1) == Some(false));
    name.char_indices().enumerate().skip(1).filter(move |(at, _)| starts(*at)).map(|(_, (byte, _))| byte)
}

/// How many columns of a terminal a text takes.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// A text of at most so many columns of a terminal.
pub(super) fn cut(text: String, most: u16) -> String {
    if width(&text) <= most {
        return text;
    }
    let mut short = String::new();
    for c in text.chars() {
        short.push(c);
        // Of all of it: a sign may make the one before it wider, or go into one with it.
        if width(&short) >= most {
            short.pop();
            break;
        }
    }
    short + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, values: u16) -> Candidate {
        Candidate { name: name.into(), values, is_text: true, id: 0 }
    }

    fn number(name: &str, values: u16) -> Candidate {
        Candidate { name: name.into(), values, is_text: false, id: 0 }
    }

    fn names(fit: &Fit) -> Vec<&str> {
        fit.columns.iter().map(String::as_str).collect()
    }

    #[test]
    fn all_columns_are_whole_where_there_is_room() {
        let all = [text("Id", 21), text("Name", 48), number("Size", 5)];
        for room in [None, Some(80)] {
            let fit = fitted(&all, room);
            assert_eq!((names(&fit), &fit.widths[..], fit.two_lines), (vec!["Id", "Name", "Size"], &[21, 48, 5][..], false));
        }
    }

    #[test]
    fn long_texts_are_narrowed_for_the_first_columns() {
        let fit = fitted(&[text("Key", 100), number("Size", 8), text("LastModified", 16)], Some(100));
        assert_eq!((names(&fit), &fit.widths[..]), (vec!["Key", "Size", "LastModified"], &[70, 8, 16][..]));
        let fit = fitted(&[text("ImageId", 21), text("Name", 48), number("AgeDays", 5), text("Description", 40)], Some(100));
        assert_eq!(fit.widths, [21, 32, 7, 32], "each as far as the other");
        // Ids and numbers are never cut.
        let fit = fitted(&[text("Id", 21), text("VolumeId", 21), number("Size", 21), text("Name", 40)], Some(60));
        assert_eq!((names(&fit), &fit.left[..]), (vec!["Id", "VolumeId"], &["Size".to_owned(), "Name".to_owned()][..]));
    }

    #[test]
    fn nothing_is_narrowed_for_columns_that_are_looked_for_last() {
        let mut all: Vec<Candidate> = (0..5).map(|n| number(&format!("N{n}"), 5)).collect();
        all.insert(1, text("Name", 40));
        all.extend([text("Description", 40), number("Last", 8)]);
        // They have what is left.
        let fit = fitted(&all, Some(100));
        assert_eq!((fit.widths, fit.left), (vec![5, 40, 5, 5, 5, 5, 21], vec!["Last".to_owned()]));
        let fit = fitted(&all, Some(90));
        assert_eq!((fit.widths, fit.left), (vec![5, 40, 5, 5, 5, 5, 8], vec!["Description".to_owned()]));
        // The last of the first ones is different.
        let fit = fitted(&all, Some(70));
        assert_eq!(fit.widths, [5, 33, 5, 5, 5, 5]);
    }

    #[test]
    fn names_are_on_two_lines_where_that_lets_more_columns_in() {
        let all = || vec![text("Id", 21), number("NetworkInterfaces", 1), text("Name", 10)];
        let fit = fitted(&all(), Some(50));
        assert_eq!((names(&fit), &fit.widths[..], fit.two_lines), (vec!["Id", "NetworkInterfaces", "Name"], &[21, 10, 10][..], true));
        assert!(!fitted(&all(), Some(60)).two_lines);
    }

    #[test]
    fn names_are_divided_between_their_words() {
        let divided = |name: &str| heading(name, 1, true).replace('\n', "|");
        assert_eq!(divided("NetworkInterfaces"), "Network|Interfaces");
        assert_eq!(divided("PublicAccessBlocked"), "PublicAccess|Blocked");
        assert_eq!(divided("SSEAlgorithm"), "SSE|Algorithm");
        assert_eq!(divided("KMSMasterKeyID"), "KMSMaster|KeyID");
        for whole in ["State", "value", "ARN", "", "日本"] {
            assert_eq!(divided(whole), whole);
        }
        assert_eq!(heading("AgeDays", 7, true), "AgeDays", "the values are as wide");
    }

    #[test]
    fn widths_are_narrowed_to_the_room_that_there_is() {
        assert_eq!(narrowed(vec![10, 30, 5], &[], Some(51)), [10, 30, 5]);
        assert_eq!(narrowed(vec![10, 30, 5], &[], Some(31)), [10, 10, 5]);
        assert_eq!(narrowed(vec![10, 30, 20], &[10, 25, 10], Some(51)), [10, 25, 10]);
        assert_eq!(narrowed(vec![10, 30], &[], None), [10, 30]);
    }

    #[test]
    fn texts_are_cut_to_what_a_terminal_shows_of_them() {
        assert_eq!(cut("a name".into(), 6), "a name");
        assert_eq!(cut("a name".into(), 4), "a n…");
        // Each of these takes two columns.
        assert_eq!(cut("日本語日本語".into(), 12), "日本語日本語");
        assert_eq!(cut("日本語日本語".into(), 8), "日本語…");
        assert_eq!(cut("日本語".into(), 1), "…");
        // The second sign makes a picture of the first, twice as wide.
        assert!(width(&cut("❤\u{fe0f}".repeat(10), 8)) <= 8);
    }
}
