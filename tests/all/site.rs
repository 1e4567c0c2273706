//! The documentation site, as files: complete, the same each time, without a dead link.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ::aaws::catalog::registry;
use serde_json::Value;

use crate::support::http::{self, Request};
use crate::support::{aaws, directory, xml};

/// The site of this program, built once for all tests, where it can be looked at afterwards.
pub fn site() -> &'static Path {
    static SITE: OnceLock<PathBuf> = OnceLock::new();
    SITE.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("site");
        build(&out, "");
        out
    })
}

fn build(out: &Path, more: &str) {
    let output = aaws(format!("docs build --out {} {more}", out.display())).stranger().endpoint("http://127.0.0.1:9").run().ok().silent();
    assert!(output.stderr.contains(" pages in "), "{output}");
}

/// Every file below a folder, by its path from there.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below it").to_string_lossy().into_owned();
                found.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

/// The pages, by their paths from the root of the site.
pub fn pages() -> BTreeMap<String, String> {
    let text = |(name, bytes): (String, Vec<u8>)| (name, String::from_utf8(bytes).expect("pages are UTF-8"));
    files(site()).into_iter().filter(|(name, _)| name.ends_with(".html")).map(text).collect()
}

/// The values of an attribute, in order.
fn attributes(page: &str, name: &str) -> Vec<String> {
    let start = format!(" {name}=\"");
    page.split(&start).skip(1).filter_map(|rest| rest.split_once('"')).map(|(value, _)| value.replace("&amp;", "&")).collect()
}

#[test]
fn every_action_has_its_pages_and_schemas() {
    let files = files(site());
    for entry in registry::actions() {
        let path = entry.meta.path;
        for page in [format!("aws/actions/{path}.html"), format!("aws/permissions/{path}.html")] {
            assert!(files.contains_key(&page), "{page} is missing");
        }
        let schema: Value = serde_json::from_slice(&files[&format!("schemas/{path}.json")]).expect("schemas are JSON");
        assert_eq!(schema["path"], path);
        assert!(schema["input"]["type"] == "object" && schema.get("output").is_some(), "{schema}");
        let page = String::from_utf8_lossy(&files[&format!("aws/actions/{path}.html")]).into_owned();
        for part in ["Usage", "Input", "Output", "Examples", "Exit codes", "What it changes", "JSON Schema"] {
            assert!(page.contains(part), "{path}: the page has no {part}");
        }
        assert!(
            page.contains(&format!("<span class=\"effect {0}\">{0}</span>", entry.meta.effect.word())),
            "{path}: its effect is not marked"
        );
        let permissions = String::from_utf8_lossy(&files[&format!("aws/permissions/{path}.html")]).into_owned();
        let needs = entry.meta.calls.iter().flat_map(|c| c.grants).map(|g| g.action);
        needs.for_each(|action| assert!(permissions.contains(action), "{path}: the permissions page does not name {action}"));
    }
    let told = String::from_utf8_lossy(&files["llms.txt"]).into_owned();
    let map = String::from_utf8_lossy(&files["sitemap.xml"]).into_owned();
    for entry in registry::actions() {
        assert!(
            told.contains(&format!("schemas/{}.json", entry.meta.path)) && map.contains(&format!("aws/actions/{}.html", entry.meta.path))
        );
    }
}

#[test]
fn the_same_program_writes_the_same_bytes() {
    let folder = directory();
    let again = folder.path().join("again");
    build(&again, "");
    // Over a site that is there already, too.
    build(&again, "");
    assert!(files(site()) == files(&again), "two sites of one program differ");
}

#[test]
fn no_link_is_dead_and_no_anchor_is_missing() {
    let pages = pages();
    let files: BTreeSet<String> = files(site()).into_keys().collect();
    let mut dead = Vec::new();
    for (path, page) in pages.iter().filter(|(path, _)| *path != "404.html") {
        for target in attributes(page, "href").into_iter().chain(attributes(page, "src")) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            assert!(!file.starts_with('/'), "{path}: {target} does not work below a sub-path or from a file");
            if file.contains("://") {
                continue;
            }
            let whole = if file.is_empty() { path.clone() } else { resolve(path, file) };
            if !files.contains(&whole) {
                dead.push(format!("{path}: {target}"));
            } else if !anchor.is_empty() && !pages.get(&whole).is_some_and(|p| attributes(p, "id").iter().any(|id| id == anchor)) {
                dead.push(format!("{path}: {target} (no such anchor)"));
            }
        }
    }
    assert!(dead.is_empty(), "{} dead links:\n{}", dead.len(), dead.join("\n"));
}

/// A relative link, from the root of the site.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn nothing_is_asked_of_any_other_site() {
    for (path, page) in pages() {
        let loaded = attributes(&page, "src").into_iter().chain(page.split("<link ").skip(1).flat_map(|l| {
            let tag = l.split('>').next().unwrap_or_default();
            attributes(&format!(" {tag}"), "href")
        }));
        let outside: Vec<_> = loaded.filter(|url| url.contains("//")).collect();
        assert!(outside.is_empty(), "{path} loads {outside:?}");
    }
    for (path, bytes) in files(site()).iter().filter(|(path, _)| path.ends_with(".css")) {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("url(") && !text.contains("@import"), "{path} loads something");
    }
}

#[test]
fn sources_are_linked_and_the_site_may_be_below_a_path() {
    let folder = directory();
    let out = folder.path().join("site");
    build(&out, "--site_url https://example.com/aaws --source-url https://example.com/code/blob/main");
    let files = files(&out);
    let text = |path: &str| String::from_utf8_lossy(&files[path]).into_owned();
    let entry = registry::actions()[0];
    let page = text(&format!("aws/actions/{}.html", entry.meta.path));
    assert!(page.contains(&format!("https://example.com/code/blob/main/{}", entry.source())), "the source is linked");
    assert!(text("sitemap.xml").contains(&format!("<loc>https://example.com/aaws/aws/actions/{}.html</loc>", entry.meta.path)));
    // It answers for every address below the path, so its links must not be relative to where it is shown.
    assert!(text("404.html").contains("<base href=\"/aaws/\">"));
    // What is no address would make links that lead nowhere.
    aaws(format!("docs build --out {} --site_url example.com", folder.path().join("other").display())).run().exits(2).silent();
}

#[test]
fn a_folder_of_something_else_is_not_replaced() {
    let folder = directory();
    fs::write(folder.path().join("precious.txt"), "mine").expect("a file");
    let output = aaws(format!("docs build --out {}", folder.path().display())).run().exits(2).silent();
    assert!(output.stderr.contains("holds something"), "{output}");
    assert_eq!(files(folder.path()).into_keys().collect::<Vec<_>>(), ["precious.txt"]);
}

#[test]
fn serve_shows_pages_with_and_without_their_ending_and_nothing_else() {
    let running = aaws("docs serve --port 0").start();
    let address = running.first_line();
    let get = |path: &str| http::send(address.trim_end_matches('/'), &Request::new("GET", path, b"")).expect("it answers");
    let path = registry::actions()[0].meta.path;
    for wanted in [format!("/aws/actions/{path}"), format!("/aws/actions/{path}.html"), "/".to_owned(), "/aws/actions".to_owned()] {
        let reply = get(&wanted);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/html; charset=utf-8")), "{wanted}");
    }
    assert_eq!(xml::texts(&get("/").text(), "title"), ["Start - aaws"]);
    for wanted in ["/no/such/page", "/..%2f..%2fetc/passwd", "/../Cargo.toml"] {
        let reply = get(wanted);
        assert!(reply.status == 404 && reply.text().contains("no such page"), "{wanted}: {}", reply.status);
    }
    running.signal("INT");
    running.wait().exits(0);
}

/// Where a page is on disk.
pub fn path_of(page: &str) -> PathBuf {
    site().join(page)
}
