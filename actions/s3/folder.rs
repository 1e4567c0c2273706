//! Files of this machine, and what is below its folders, each as an object to be.

use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

use aaws::{Code, Error, Failure, LocalPath, Result};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::selection::Selection;

/// How many files are found ahead of those that are taken.
const AHEAD: usize = 1_000;

/// What was found.
pub struct LocalFile {
    /// Its path below the folder that was given, with `/` between its parts: its key, but for a prefix. That of a folder ends in `/`.
    pub name: String,
    /// Where it is, or why it cannot be uploaded.
    pub file: Result<PathBuf, Failure>,
}

/// Files and folders that were given, and what of them is meant.
pub struct Folders {
    given: Vec<LocalPath>,
    selection: Selection,
}

impl Folders {
    /// An error when one of them is not there.
    pub fn new(given: Vec<LocalPath>, selection: Selection) -> Result<Self> {
        for path in &given {
            let wrong = |why: String| Error::field("from", format!("`from`: cannot read `{path}`: {why}"));
            let there = fs::metadata(path.as_path()).map_err(|e| wrong(e.to_string()))?;
            if !there.is_dir() && !there.is_file() {
                return Err(wrong("it is neither a folder nor a regular file".to_owned()));
            }
        }
        Ok(Folders { given, selection })
    }

    /// What is meant, each folder in the order of its names. Files that are links are followed; folders that are links are not.
    pub fn stream(self) -> BoxStream<'static, Result<LocalFile>> {
        let (found, files) = mpsc::channel(AHEAD);
        let walk = tokio::task::spawn_blocking(move || self.walk(&found));
        stream::unfold((files, Some(walk)), next).boxed()
    }

    /// Tells all of them, as long as somebody listens.
    fn walk(&self, to: &mpsc::Sender<LocalFile>) {
        for given in &self.given {
            let path = given.as_path();
            let mut walk = Walk { selection: &self.selection, to, found: 0 };
            let goes_on = if path.is_dir() { walk.folder(path, "") } else { walk.file(path) };
            if goes_on && walk.found == 0 {
                tracing::warn!("`{given}`: nothing in it is to be uploaded");
            }
            if !goes_on {
                return;
            }
        }
    }
}

type Walked = (mpsc::Receiver<LocalFile>, Option<JoinHandle<()>>);

/// The next one. A walk that broke off is no end.
async fn next((mut files, mut walk): Walked) -> Option<(Result<LocalFile>, Walked)> {
    if let Some(found) = files.recv().await {
        return Some((Ok(found), (files, walk)));
    }
    let broken = walk.take()?.await.err()?;
    Some((Err(Error::Failed(format!("cannot list the files: {broken}"))), (files, None)))
}

/// One folder that is gone through. What its methods give is whether somebody still listens.
struct Walk<'a> {
    selection: &'a Selection,
    to: &'a mpsc::Sender<LocalFile>,
    found: u64,
}

impl Walk<'_> {
    /// What is below a folder, whose name ends in `/` or is none.
    fn folder(&mut self, folder: &Path, name: &str) -> bool {
        if !name.is_empty() && self.selection.excludes_all_below(name) {
            return true;
        }
        let entries = match entries(folder) {
            Ok(entries) => entries,
            Err(e) => return self.not_entered(folder, name, &e.to_string()),
        };
        entries.into_iter().all(|(file_name, kind)| self.entry(&folder.join(&file_name), name, &file_name, kind))
    }

    fn entry(&mut self, path: &Path, folder: &str, file_name: &OsStr, kind: FileType) -> bool {
        let is_folder = kind.is_dir() || (kind.is_symlink() && path.is_dir());
        let shown = file_name.to_string_lossy();
        let name = format!("{folder}{shown}{}", if is_folder { "/" } else { "" });
        match (file_name.to_str(), is_folder) {
            (None, true) => self.not_entered(path, &name, NO_TEXT),
            (None, false) if self.selection.takes_key(&name) => self.tell(name, Err(unreadable(path, NO_TEXT))),
            (Some(_), true) if kind.is_symlink() => self.not_entered(path, &name, "it is a link to a folder, which is not followed"),
            (Some(_), true) => self.folder(path, &name),
            (Some(_), false) if self.selection.takes_key(&name) => self.tell(name, Ok(path.to_owned())),
            (_, false) => true,
        }
    }

    /// A file that was given itself: its name is its key.
    fn file(&mut self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        !self.selection.takes_key(&name) || self.tell(name, Ok(path.to_owned()))
    }

    /// A folder that may hold files that are meant, and is not looked into: that is said, unless it is excluded.
    fn not_entered(&mut self, path: &Path, name: &str, why: &str) -> bool {
        // The folder that was given has no name of its own.
        let name = if name.is_empty() { "./" } else { name };
        self.selection.excludes(name) || self.tell(name.to_owned(), Err(unreadable(path, why)))
    }

    fn tell(&mut self, name: String, file: Result<PathBuf, Failure>) -> bool {
        self.found += 1;
        self.to.blocking_send(LocalFile { name, file }).is_ok()
    }
}

const NO_TEXT: &str = "its name is not UTF-8 text, as keys are";

fn unreadable(path: &Path, why: &str) -> Failure {
    Failure::permanent(Code::UnreadableFile, format!("cannot read `{}`: {why}", path.display()))
}

/// What is in a folder, in the order of the names' bytes.
fn entries(folder: &Path) -> io::Result<Vec<(OsString, FileType)>> {
    let named = |entry: io::Result<fs::DirEntry>| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?)));
    let mut entries = fs::read_dir(folder)?.map(named).collect::<io::Result<Vec<_>>>()?;
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}
