//! Links between pages: as they are below `docs/`, and as they are on the site.

use std::collections::BTreeMap;

/// Gives links their places on the site. Those to files that are no pages lead to where the sources are, or are only named when that is not known.
///
/// `path` is where the text is below `docs/`; `places` says of every such path where it is on the site, without its ending.
pub fn relink(text: &str, path: &str, places: &BTreeMap<String, String>, source_url: Option<&str>) -> String {
    let here = places.get(path).map_or("", String::as_str);
    let mut out = String::with_capacity(text.len());
    let mut fenced = false;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced { out.push_str(line) } else { out.push_str(&of_line(line, path, here, places, source_url)) }
    }
    out
}

fn of_line(line: &str, path: &str, here: &str, places: &BTreeMap<String, String>, source_url: Option<&str>) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((target, after)) = after.split_once(')') else { break };
        let Some((lead, label)) = before.rsplit_once('[') else {
            out.push_str(before);
            out.push_str("](");
            out.push_str(target);
            out.push(')');
            rest = after;
            continue;
        };
        out.push_str(lead);
        out.push_str(&link(label, target, path, here, places, source_url));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn link(label: &str, target: &str, path: &str, here: &str, places: &BTreeMap<String, String>, source_url: Option<&str>) -> String {
    let (file, anchor) = target.split_once('#').map_or((target, String::new()), |(file, anchor)| (file, format!("#{anchor}")));
    if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
        return format!("[{label}]({target})");
    }
    // Below the root of the repository, of which `docs/` is a folder.
    let Some(whole) = resolve(&format!("docs/{path}"), file) else { return label.to_owned() };
    let place = whole.strip_prefix("docs/").and_then(|page| places.get(page));
    match (place, source_url) {
        (Some(place), _) => format!("[{label}]({}.html{anchor})", relative(here, place)),
        (None, Some(url)) => format!("[{label}]({}/{whole}{anchor})", url.trim_end_matches('/')),
        (None, None) => format!("{label} (`{whole}`)"),
    }
}

/// A path that is relative to a file's folder, from the root; none when it leaves the root.
fn resolve(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// From the folder of one page to another page.
fn relative(from: &str, to: &str) -> String {
    let folders = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (mut from, to) = (folders(from), folders(to));
    from.pop();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count().min(to.len() - 1);
    let up = vec!["..".to_owned(); from.len() - shared];
    up.into_iter().chain(to[shared..].iter().cloned()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> BTreeMap<String, String> {
        let pairs = [
            ("actions/s3/delete_objects.md", "aws/actions/s3/delete_objects"),
            ("permissions/s3/delete_objects.md", "aws/permissions/s3/delete_objects"),
            ("actions/index.md", "aws/actions"),
            ("architecture.md", "architecture"),
            ("changing-things.md", "guides/changing-things"),
        ];
        pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).into()
    }

    fn relinked(text: &str, path: &str, source: Option<&str>) -> String {
        relink(text, path, &places(), source)
    }

    #[test]
    fn links_lead_to_the_places_on_the_site() {
        let from = "actions/s3/delete_objects.md";
        assert_eq!(
            relinked("[Permissions](../../permissions/s3/delete_objects.md)", from, None),
            "[Permissions](../../permissions/s3/delete_objects.html)"
        );
        assert_eq!(relinked("see [a](../../architecture.md#decisions).", from, None), "see [a](../../../architecture.html#decisions).");
        assert_eq!(relinked("[all](actions/index.md)", "changing-things.md", None), "[all](../aws/actions.html)");
        assert_eq!(relinked("[x](#here) [y](https://e.org/z)", from, None), "[x](#here) [y](https://e.org/z)");
    }

    #[test]
    fn files_that_are_no_pages_lead_to_the_sources() {
        let (text, from) = ("[Source code](../../../actions/s3/delete_objects.rs) • x", "actions/s3/delete_objects.md");
        assert_eq!(
            relinked(text, from, Some("https://e.org/blob/main/")),
            "[Source code](https://e.org/blob/main/actions/s3/delete_objects.rs) • x"
        );
        assert_eq!(relinked(text, from, None), "Source code (`actions/s3/delete_objects.rs`) • x");
    }

    #[test]
    fn code_is_left_alone() {
        let text = "```rust\nlet x = a[0](b.md);\n```\n";
        assert_eq!(relinked(text, "architecture.md", None), text);
    }
}
