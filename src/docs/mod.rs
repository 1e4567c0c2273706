//! The Markdown pages of every action, made from the registry, and whether those on disk are the same.
//!
//! A program may have been built with some services only. Pages of a service that it does not know are none of its business: it leaves them alone, and
//! the rows that the indexes of all services have of them stay.

mod page;
pub mod rust;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::catalog::manifest::Manifest;
use crate::catalog::registry;

/// The folders that belong to the generated pages wholly: a file there that is not generated is stale.
const FOLDERS: &[&str] = &["actions", "permissions"];

/// Every generated page, by its path below the documentation folder.
pub fn pages() -> BTreeMap<PathBuf, String> {
    pages_beside(|_| BTreeMap::new())
}

/// The same, with indexes that also have rows of other services, by action and for each folder.
fn pages_beside(others: impl Fn(&str) -> BTreeMap<String, String>) -> BTreeMap<PathBuf, String> {
    let manifests: Vec<_> = registry::actions().iter().map(|e| Manifest::of(e)).collect();
    let mut pages = BTreeMap::new();
    for folder in FOLDERS {
        let mut rows = others(folder);
        rows.extend(manifests.iter().map(|m| (m.path.to_owned(), page::index_row(m))));
        pages.insert(Path::new(folder).join("index.md"), page::index(folder, rows.values()));
    }
    for service in registry::services() {
        let of_service: Vec<_> = manifests.iter().filter(|m| m.service == service).collect();
        for folder in FOLDERS {
            pages.insert(Path::new(folder).join(service).join("index.md"), page::service_index(folder, service, &of_service));
        }
    }
    for (entry, manifest) in registry::actions().iter().zip(&manifests) {
        let name = format!("{}.md", manifest.path);
        pages.insert(Path::new("actions").join(&name), page::action(manifest));
        pages.insert(Path::new("permissions").join(&name), page::permissions(entry, manifest));
    }
    pages
}

/// How a page on disk differs from what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It should be there.
    Missing(PathBuf),
    /// It says something else.
    Stale(PathBuf),
    /// Its action is gone.
    Orphan(PathBuf),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing(path) => write!(f, "missing: {}", path.display()),
            Difference::Stale(path) => write!(f, "stale: {}", path.display()),
            Difference::Orphan(path) => write!(f, "orphan: {}", path.display()),
        }
    }
}

/// The rows of an index on disk that are of services which this program does not know, by action. Those whose pages are gone are not among them.
fn rows_of_others(dir: &Path, folder: &str) -> BTreeMap<String, String> {
    let index = fs::read_to_string(dir.join(folder).join("index.md")).unwrap_or_default();
    let row = |row: &str| {
        let (_, link) = row.split_once("](")?;
        let (action, _) = link.split_once(".md)")?;
        let (service, _) = action.split_once('/')?;
        let page = dir.join(folder).join(format!("{action}.md"));
        (!is_ours(service) && page.is_file()).then(|| (action.to_owned(), row.to_owned()))
    };
    index.lines().filter(|line| line.starts_with("| ")).filter_map(row).collect()
}

/// Whether this program knows a service, and so says what pages it has.
fn is_ours(service: &str) -> bool {
    registry::services().contains(&service)
}

/// What is wrong with the pages below a folder; nothing when they are current.
pub fn compare(dir: &Path) -> io::Result<Vec<Difference>> {
    differences(dir, &pages_beside(|folder| rows_of_others(dir, folder)))
}

fn differences(dir: &Path, pages: &BTreeMap<PathBuf, String>) -> io::Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for (path, text) in pages {
        match fs::read_to_string(dir.join(path)) {
            Ok(there) if there == *text => {}
            Ok(_) => differences.push(Difference::Stale(path.clone())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => differences.push(Difference::Missing(path.clone())),
            Err(e) => return Err(e),
        }
    }
    for folder in FOLDERS {
        let mut there = Vec::new();
        files(&dir.join(folder), &mut there)?;
        let below = there.iter().filter_map(|p| p.strip_prefix(dir).ok()).filter(|p| !pages.contains_key(*p) && !is_of_another(p));
        differences.extend(below.map(|p| Difference::Orphan(p.to_owned())));
    }
    Ok(differences)
}

/// Whether a page, `actions/s3/delete_objects.md`, is of a service that this program does not know.
fn is_of_another(page: &Path) -> bool {
    let parts: Vec<_> = page.iter().filter_map(|part| part.to_str()).collect();
    matches!(parts.as_slice(), [_, service, _, ..] if !is_ours(service))
}

/// Makes the pages current, and says what that took.
pub fn write(dir: &Path) -> io::Result<Vec<Difference>> {
    let pages = pages_beside(|folder| rows_of_others(dir, folder));
    let differences = differences(dir, &pages)?;
    for difference in &differences {
        match difference {
            Difference::Missing(path) | Difference::Stale(path) => {
                let file = dir.join(path);
                if let Some(parent) = file.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(file, pages.get(path).map(String::as_str).unwrap_or_default())?;
            }
            Difference::Orphan(path) => fs::remove_file(dir.join(path))?,
        }
    }
    Ok(differences)
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { files(&path, found)? } else { found.push(path) }
    }
    Ok(())
}
