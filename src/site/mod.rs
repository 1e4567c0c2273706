//! The documentation site: the pages of `docs/` as HTML that needs no network, rendered by mdBook with a theme of our own.
//!
//! Everything comes from the registry of the running program, actions of other crates included, and from the guides that are compiled in. The same
//! program writes the same bytes.

mod links;
mod overview;
mod serve;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mdbook_core::book::{Book, BookItem, Chapter};
use mdbook_core::config::{Config, HtmlConfig, Search};
use mdbook_html::HtmlHandlebars;
use mdbook_renderer::{RenderContext, Renderer};
use serde_json::json;

use crate::catalog::manifest::Manifest;
use crate::catalog::registry;
use crate::docs;
use crate::model::error::{Error, Result};
pub use overview::write as overview;
pub use serve::serve;

/// The guides, in reading order: where each is below `docs/`, and its text.
const GUIDES: &[(&str, &str)] = &[
    ("index.md", include_str!("../../docs/index.md")),
    ("get-started.md", include_str!("../../docs/get-started.md")),
    ("authentication.md", include_str!("../../docs/authentication.md")),
    ("input-and-output.md", include_str!("../../docs/input-and-output.md")),
    ("changing-things.md", include_str!("../../docs/changing-things.md")),
    ("settings.md", include_str!("../../docs/settings.md")),
    ("review-apply.md", include_str!("../../docs/review-apply.md")),
    ("examples.md", include_str!("../../docs/examples.md")),
    ("performance.md", include_str!("../../docs/performance.md")),
    ("writing-an-action.md", include_str!("../../docs/writing-an-action.md")),
    ("architecture.md", include_str!("../../docs/architecture.md")),
    ("contributing.md", include_str!("../../docs/contributing.md")),
];

/// Our theme, by the names that mdBook looks for.
const THEME: &[(&str, &str)] = &[
    ("index.hbs", include_str!("theme/index.hbs")),
    ("css/general.css", include_str!("theme/general.css")),
    ("css/chrome.css", include_str!("theme/chrome.css")),
    ("book.js", include_str!("theme/site.js")),
    ("favicon.svg", include_str!("theme/favicon.svg")),
    // No fonts: the reader's own are there at once.
    ("fonts/fonts.css", ""),
];

/// Written into every site, and looked for before a folder is replaced by one.
const MARKER: &str = ".aaws-site";

/// What a site is made for.
#[derive(Debug, Clone, Default)]
pub struct SiteOptions {
    /// Where it will be served, `https://example.com/aaws/`: for the site map, and for the page that answers for pages that are not there.
    pub site_url: Option<String>,
    /// Where the sources can be read, `https://example.com/repository/blob/main`: pages link to them. Without it they only name them.
    pub source_url: Option<String>,
}

/// A page before it is HTML.
struct Page {
    /// Where it is on the site, without its ending.
    path: String,
    title: String,
    markdown: String,
}

/// Writes the whole site into a folder, and says how many pages it has. A folder that holds anything but an earlier site is refused: mdBook empties
/// it.
pub fn build(out: &Path, options: &SiteOptions) -> Result<usize> {
    let failed = |e: io::Error| Error::io(format!("write the site into `{}`", out.display()), e);
    if !may_be_replaced(out).map_err(failed)? {
        let message = format!("`{}` holds something that is no site of `aaws docs build`: nothing was written", out.display());
        return Err(Error::field("out", message));
    }
    let scratch = tempfile::tempdir().map_err(|e| Error::io("make a scratch folder", e))?;
    let manifests: Vec<Manifest> = registry::actions().iter().map(|e| Manifest::of(e)).collect();
    let pages = pages(&manifests, options);
    prepare(scratch.path(), &pages, &manifests, options).map_err(|e| Error::io("write into a scratch folder", e))?;
    fs::create_dir_all(out).map_err(failed)?;
    render(scratch.path(), out, &pages, options)?;
    tidy(out).map_err(failed)?;
    Ok(pages.len())
}

/// Whether a folder is not there, is empty, or holds a site.
fn may_be_replaced(out: &Path) -> io::Result<bool> {
    match fs::read_dir(out) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(e),
        Ok(mut entries) => Ok(entries.next().is_none() || out.join(MARKER).exists()),
    }
}

/// Every page, in the order in which they are read.
fn pages(manifests: &[Manifest], options: &SiteOptions) -> Vec<Page> {
    let generated = docs::pages();
    let mut texts: Vec<(String, &str)> = GUIDES.iter().map(|(path, text)| ((*path).to_owned(), *text)).collect();
    let mut order: Vec<PathBuf> = vec!["actions/index.md".into()];
    for service in registry::services() {
        order.push(format!("actions/{service}/index.md").into());
        order.extend(manifests.iter().filter(|m| m.service == service).map(|m| PathBuf::from(format!("actions/{}.md", m.path))));
    }
    let rest = generated.keys().filter(|p| !order.contains(p)).cloned().collect::<Vec<_>>();
    let listed = order.iter().chain(&rest).filter_map(|p| Some((p.to_string_lossy().replace('\\', "/"), generated.get(p)?.as_str())));
    texts.extend(listed);
    let places: BTreeMap<String, String> = texts.iter().map(|(path, text)| (path.clone(), place(text))).collect();
    let page = |(path, text): &(String, &str)| {
        let (title, body) = front_matter(text);
        let markdown = links::relink(body, path, &places, options.source_url.as_deref()).replace(" markdown=\"1\"", "");
        Page { path: place(text), title: title.to_owned(), markdown }
    };
    texts.iter().map(page).collect()
}

/// The title of a page, and what follows its front matter.
fn front_matter(text: &str) -> (&str, &str) {
    let (head, body) = text.strip_prefix("---\n").and_then(|t| t.split_once("\n---\n")).unwrap_or(("", text));
    (member(head, "title").unwrap_or_default(), body.trim_start())
}

/// Where a page is on the site, without its ending: what its front matter calls the permalink.
fn place(text: &str) -> String {
    let head = text.strip_prefix("---\n").and_then(|t| t.split_once("\n---\n")).map_or("", |(head, _)| head);
    match member(head, "permalink").unwrap_or_default().trim_matches('/') {
        "" => "index".to_owned(),
        place => place.to_owned(),
    }
}

fn member<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// What mdBook finds on disk: the theme, and the files that are no pages.
fn prepare(root: &Path, pages: &[Page], manifests: &[Manifest], options: &SiteOptions) -> io::Result<()> {
    let write = |path: &Path, text: &str| {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)
    };
    for (name, text) in THEME {
        write(&root.join("theme").join(name), text)?;
    }
    write(&root.join("theme/header.hbs"), &navigation(pages, manifests))?;
    let source = root.join("src");
    for m in manifests {
        let mut schemas = json!({ "path": m.path, "input": m.input, "output": m.output });
        if let Some(plan) = &m.plan {
            schemas["plan"] = plan.clone();
        }
        write(&source.join("schemas").join(format!("{}.json", m.path)), &format!("{schemas:#}\n"))?;
    }
    write(&source.join("404.md"), include_str!("theme/404.md"))?;
    write(&source.join("llms.txt"), &for_models(manifests))?;
    write(&source.join("sitemap.xml"), &site_map(pages, options))?;
    write(&source.join(MARKER), "A site that `aaws docs build` made, and may replace.\n")
}

/// The list of all pages, which stands on every page: a template, because links are relative and the page that is open is marked.
fn navigation(pages: &[Page], manifests: &[Manifest]) -> String {
    let link = |path: &str, name: &str| {
        // Where a long name may be broken.
        let name = name.replace('_', "_<wbr>");
        format!(
            "<li><a href=\"{{{{path_to_root}}}}{path}.html\"{{{{#if (eq path \"{path}.md\")}}}} aria-current=\"page\"{{{{/if}}}}>{name}</a></li>\n"
        )
    };
    let list = |heading: &str, items: String| format!("<h2>{heading}</h2>\n<ul>\n{items}</ul>\n");
    let guides = pages.iter().take(GUIDES.len()).map(|p| link(&p.path, &p.title)).collect();
    let mut text = list("Guides", guides);
    for service in registry::services() {
        let of_service = manifests.iter().filter(|m| m.service == service);
        text += &list(service, of_service.map(|m| link(&format!("aws/actions/{}", m.path), m.action)).collect());
    }
    text
}

/// What there is, for programs that read text (llmstxt.org).
fn for_models(manifests: &[Manifest]) -> String {
    let mut text = String::from(
        "# aaws\n\n> AWS day-2 operations as typed actions: `aaws <service> <action>`. JSON in, JSON out; `--dry_run` changes nothing; exit codes tell what happened.\n\n\
         `aaws describe <service> <action>` prints the schemas below, `aaws permissions <service> <action>` the IAM policy.\n",
    );
    for service in registry::services() {
        let _ = write!(text, "\n## {service}\n\n");
        for m in manifests.iter().filter(|m| m.service == service) {
            let _ = writeln!(
                text,
                "- [{0}](aws/actions/{1}.html): {2} Effect: {3}. [Schemas](schemas/{1}.json)",
                m.action,
                m.path,
                m.summary,
                m.effect.word()
            );
        }
    }
    text
}

/// Every page by its address; without one that is known, by its path.
fn site_map(pages: &[Page], options: &SiteOptions) -> String {
    let base = options.site_url.as_deref().unwrap_or("/").trim_end_matches('/');
    let mut text =
        String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n");
    for page in pages {
        let _ = writeln!(text, "<url><loc>{base}/{}.html</loc></url>", page.path);
    }
    text + "</urlset>\n"
}

fn render(root: &Path, out: &Path, pages: &[Page], options: &SiteOptions) -> Result<()> {
    let failed = |e: String| Error::Failed(format!("cannot render the site: {e}"));
    let chapter = |page: &Page| {
        let chapter = Chapter::new(&page.title, page.markdown.clone(), format!("{}.md", page.path), Vec::new());
        BookItem::Chapter(chapter)
    };
    let book = Book::new_with_items(pages.iter().map(chapter).collect());
    let mut html = HtmlConfig::default();
    html.print.enable = false;
    html.playground.runnable = false;
    html.playground.copyable = false;
    let mut search = Search::default();
    search.limit_results = 20;
    search.boost_title = 4;
    search.heading_split_level = 2;
    html.search = Some(search);
    // The page for what is not there may be shown anywhere below the site, so its links start from here.
    html.site_url = Some(options.site_url.as_deref().map_or_else(|| "/".to_owned(), path_of));
    html.hash_files = true;
    let mut config = Config::default();
    config.book.title = Some("aaws".into());
    config.book.description = Some("AWS day-2 operations as typed actions".into());
    config.book.language = Some("en".into());
    config.set("output.html", html).map_err(|e| failed(e.to_string()))?;
    // mdBook clears the folder, and cannot be told to leave anything in it.
    let context = RenderContext::new(root, book, config, out);
    HtmlHandlebars::new().render(&context).map_err(|e| failed(format!("{e:#}")))
}

/// The path of an address: `/aaws/` of `https://example.com/aaws`.
fn path_of(url: &str) -> String {
    let after = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after.split_once('/').map_or("", |(_, path)| path).trim_matches('/');
    if path.is_empty() { "/".into() } else { format!("/{path}/") }
}

/// Takes away what mdBook writes for a theme that we do not use.
fn tidy(out: &Path) -> io::Result<()> {
    for entry in fs::read_dir(out)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let unused = ["ayu-highlight", "tomorrow-night", "clipboard", "toc", "highlight-"].iter().any(|n| name.starts_with(n));
        if unused && (name.ends_with(".css") || name.ends_with(".js") && !name.starts_with("highlight") || name == "toc.html") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_where_their_front_matter_says() {
        let text = "---\ntitle: Delete Objects\nlayout: default\npermalink: /aws/actions/s3/delete_objects\n---\n\n# Delete Objects\n";
        assert_eq!(place(text), "aws/actions/s3/delete_objects");
        assert_eq!(front_matter(text), ("Delete Objects", "# Delete Objects\n"));
        assert_eq!(place("---\ntitle: aaws\npermalink: /\n---\n"), "index");
    }

    #[test]
    fn an_address_has_a_path() {
        assert_eq!(path_of("https://example.com"), "/");
        assert_eq!(path_of("https://example.com/aaws"), "/aaws/");
        assert_eq!(path_of("https://example.com/a/b/"), "/a/b/");
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("thesis.txt"), "all of it").expect("a file");
        assert!(build(folder.path(), &SiteOptions::default()).is_err());
        assert!(folder.path().join("thesis.txt").exists());
    }
}
