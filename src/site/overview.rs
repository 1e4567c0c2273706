//! The overview of an account as one page: the site's type and colours, everything in it, nothing from elsewhere.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use crate::model::error::{Error, Result};
use crate::render::printable;

const STYLE: &str = include_str!("theme/general.css");

/// What this page has that no other has.
const BARS: &str = "\
main { max-width: 64rem; margin: 0 auto; padding: 2rem 1rem; }
td.count, th.count { text-align: right; font-variant-numeric: tabular-nums; }
td.bar { width: 30%; }
td.bar div { background: var(--delete); height: .9rem; border-radius: .2rem; margin-top: .35rem; min-width: 2px; }
td.bar span { color: var(--read); }
td.bar .problem { color: var(--modify); }
";

/// Writes the rows of `aaws overview` as a page, in place of a file that may be there.
pub fn write(file: &Path, rows: &[Value]) -> Result<()> {
    fs::write(file, page(rows, Timestamp::now())).map_err(|e| Error::io(format!("write the page `{}`", file.display()), e))
}

fn page(rows: &[Value], now: Timestamp) -> String {
    let count = |row: &Value| row["count"].as_u64().unwrap_or_default();
    let most = rows.iter().map(count).max().unwrap_or_default().max(1);
    let total: u64 = rows.iter().map(count).sum();
    let mut table = String::new();
    let mut commands = String::new();
    for row in rows {
        let text = |member: &str| escaped(row[member].as_str().unwrap_or_default());
        let bar = match (count(row), row["problem"].as_str()) {
            // What a service says may hold marks that turn the text beside it round.
            (_, Some(problem)) => format!("<span class=\"problem\">not known: {}</span>", escaped(&printable(problem))),
            (0, None) => "<span>none</span>".to_owned(),
            // The bar is for the eye: the number beside it is what is read.
            (n, None) => format!("<div style=\"width: {:.1}%\" aria-hidden=\"true\"></div>", n as f64 * 100.0 / most as f64),
        };
        let since = text("since").get(..10).unwrap_or_default().to_owned();
        // Writing to a string does not fail.
        let _ = writeln!(
            table,
            "<tr><td>{}</td><td class=\"count\">{}</td><td class=\"bar\">{bar}</td><td>{since}</td></tr>",
            text("check"),
            count(row)
        );
        if !text("show").is_empty() {
            let _ = writeln!(commands, "<h3>{}</h3>\n<pre><code>{}</code></pre>", text("check"), text("show"));
            if !text("mend").is_empty() {
                let _ = writeln!(
                    commands,
                    "<p>What would mend them; <code>--dry_run</code> shows what it would do:</p>\n<pre><code>{} --dry_run</code></pre>",
                    text("mend")
                );
            }
        }
    }
    let minute = now.strftime("%Y-%m-%d %H:%M UTC");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Overview</title>\n<style>\n{STYLE}{BARS}</style>\n</head>\n<body>\n<main>\n<h1>Overview</h1>\n\
         <p class=\"lead\">{total} to look after, as of {minute}.</p>\n\
         <div class=\"table-wrapper\"><table>\n<thead><tr><th>Check</th><th class=\"count\">Count</th><th></th><th>Since</th></tr></thead>\n\
         <tbody>\n{table}</tbody>\n</table></div>\n<h2>Commands</h2>\n{commands}</main>\n</body>\n</html>\n"
    )
}

/// Text that is no markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_needs_nothing_and_shows_all_that_was_asked() {
        let rows = [
            json!({ "check": "Volumes <attached> to nothing", "count": 4, "since": "2025-03-04T05:06:07Z", "show": "aaws ec2 x", "mend": "aaws ec2 x | aaws ec2 y" }),
            json!({ "check": "Users without MFA", "count": 2, "show": "aaws iam u", "mend": null }),
            json!({ "check": "Old keys", "count": 0 }),
            json!({ "check": "Open groups", "count": 0, "problem": "AccessDenied: \"no\"" }),
        ];
        let page = page(&rows, "2026-01-31T10:20:30Z".parse().expect("a time"));
        for shown in [
            "Volumes &lt;attached&gt; to nothing",
            "width: 100.0%",
            "width: 50.0%",
            ">none<",
            "2025-03-04",
            "2026-01-31 10:20 UTC",
            "AccessDenied: &quot;no&quot;",
        ] {
            assert!(page.contains(shown), "{shown} in {page}");
        }
        assert!(page.contains("6 to look after") && page.contains("aaws ec2 x | aaws ec2 y --dry_run"), "{page}");
        for elsewhere in ["http:", "https:", "url(", "<script", "src=", "@import"] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }
}
