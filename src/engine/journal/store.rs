//! Where journals are kept: `aaws/journal` in the user's state directory, a file a run, named by its id. Ids begin with the time, so that they sort by it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::model::error::{Error, Result};

/// Journals older than this are removed when a new one is made, and so are the oldest of more than so many.
const LONGEST: SignedDuration = SignedDuration::from_hours(90 * 24);
const MOST: usize = 1000;

/// How the name of a journal ends, and that of a file that says where one is kept instead.
const JOURNAL: &str = ".jsonl";
const POINTER: &str = ".path";

/// A new run's id: the time to the millisecond, and chance.
pub fn new_id(now: Timestamp) -> String {
    format!("{}-{:06x}", stamp(now), fastrand::u32(..1 << 24))
}

/// `20260131T120500123`
fn stamp(time: Timestamp) -> String {
    format!("{}{:03}", time.strftime("%Y%m%dT%H%M%S"), time.as_millisecond().rem_euclid(1000))
}

/// Whether a word is an id by its form.
fn is_id(word: &str) -> bool {
    let figures = |text: &str, many: usize| text.len() == many && text.bytes().all(|b| b.is_ascii_digit());
    word.split_once('-').is_some_and(|(time, chance)| {
        let time = time.split_once('T').is_some_and(|(day, hour)| figures(day, 8) && figures(hour, 9));
        time && chance.len() == 6 && chance.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// The folder of the journals.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// A journal in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFile {
    /// The run's id.
    pub id: String,
    /// Its file, which may be elsewhere.
    pub path: PathBuf,
}

impl JournalFile {
    /// Whether nothing is written in it: its run was begun just now, or ended before it wrote anything.
    pub fn is_empty(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|file| file.len() == 0)
    }
}

impl Store {
    /// The user's own: `$XDG_STATE_HOME/aaws/journal`, or below `~/.local/state`.
    pub fn of_user() -> Result<Self> {
        let set = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let state = set.or_else(|| Some(directories::BaseDirs::new()?.home_dir().join(".local").join("state")));
        let state = state.ok_or_else(|| Error::Failed("no state directory is known here for the journal: set XDG_STATE_HOME".into()))?;
        Ok(Store { folder: state.join("aaws").join("journal") })
    }

    /// Another folder.
    #[cfg(test)]
    pub(super) fn at(folder: PathBuf) -> Self {
        Store { folder }
    }

    /// Makes the file of a run. Old ones go meanwhile.
    pub fn create(&self, id: &str, now: Timestamp) -> Result<(PathBuf, File)> {
        let path = self.folder.join(format!("{id}{JOURNAL}"));
        self.prepare(now).and_then(|()| create(&path)).map(|file| (path.clone(), file)).map_err(|e| unmade(&path, e))
    }

    /// Notes that the journal of a run is kept elsewhere.
    pub fn point(&self, id: &str, to: &Path, now: Timestamp) -> Result<()> {
        let path = self.folder.join(format!("{id}{POINTER}"));
        let write = || {
            self.prepare(now)?;
            create(&path)?.write_all(to.as_os_str().as_encoded_bytes())
        };
        write().map_err(|e| unmade(&path, e))
    }

    /// All, the newest first; none where there is no folder yet.
    pub fn all(&self) -> Result<Vec<JournalFile>> {
        let failed = |e| Error::io(format!("read the folder of the journals `{}`", self.folder.display()), e);
        let entries = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let kept = match (name.strip_suffix(JOURNAL), name.strip_suffix(POINTER)) {
                (Some(id), _) => Some((id.to_owned(), path.clone())),
                (None, Some(id)) => Some((id.to_owned(), pointed(&path).map_err(failed)?)),
                (None, None) => None,
            };
            all.extend(kept.filter(|(id, _)| is_id(id)).map(|(id, path)| JournalFile { id, path }));
        }
        all.sort_unstable_by(|a, b| b.id.cmp(&a.id));
        Ok(all)
    }

    /// The journal of a word that a person gave: a run's id, or a file.
    pub fn find(&self, word: &str) -> Result<PathBuf> {
        if is_id(word)
            && let Some(kept) = self.all()?.into_iter().find(|kept| kept.id == word)
        {
            return Ok(kept.path);
        }
        let path = PathBuf::from(word);
        if path.is_file() {
            return Ok(path);
        }
        let message = format!("there is no run `{word}`, and no file of that name: `aaws log` lists the runs");
        Err(Error::field("run", message))
    }

    /// Removes a journal, or what points to one.
    pub(super) fn remove(&self, id: &str) {
        for ending in [JOURNAL, POINTER] {
            let path = self.folder.join(format!("{id}{ending}"));
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => tracing::debug!("cannot remove `{}`: {e}", path.display()),
                _ => {}
            }
        }
    }

    fn prepare(&self, now: Timestamp) -> io::Result<()> {
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder.create(&self.folder)?;
        // One that somebody else made, or made readable, is for its owner alone from here on.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))?;
        }
        self.prune(now);
        Ok(())
    }

    /// Removes what is too old and too many; a run that is under way keeps its own.
    fn prune(&self, now: Timestamp) {
        let oldest = now.checked_sub(LONGEST).map(stamp).unwrap_or_default();
        let all = self.all().unwrap_or_default();
        // There will be one more.
        let goes = all.iter().enumerate().filter(|(at, kept)| *at + 1 >= MOST || kept.id.as_str() < oldest.as_str());
        for (_, kept) in goes {
            if !is_locked(&kept.path) {
                self.remove(&kept.id);
            }
        }
    }
}

/// Makes a file that nobody else can read, where there is none.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whether a run is writing to a journal.
pub(super) fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

fn unmade(path: &Path, error: io::Error) -> Error {
    Error::io(format!("make the journal `{}` (--no_journal goes without one)", path.display()), error)
}

/// Where a pointer leads.
fn pointed(path: &Path) -> io::Result<PathBuf> {
    let bytes = fs::read(path)?;
    #[cfg(unix)]
    let name = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes);
    #[cfg(not(unix))]
    let name = std::ffi::OsString::from(String::from_utf8_lossy(&bytes).into_owned());
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + number * 86_400).expect("a time")
    }

    #[test]
    fn ids_sort_by_time_and_are_known_by_their_form() {
        let ids: Vec<String> = (0..3).map(|n| new_id(day(n))).collect();
        assert!(ids.is_sorted() && ids.iter().all(|id| is_id(id)), "{ids:?}");
        for other in ["", "report.jsonl", "20260101T000000000", "20260101T000000000-12345", "../20260101T000000000-123456"] {
            assert!(!is_id(other), "{other}");
        }
    }

    #[test]
    fn journals_go_when_they_are_old_or_too_many() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::at(folder.path().join("journal"));
        let make = |time| store.create(&new_id(time), time).expect("a journal");
        let old = make(day(0));
        let running = make(day(1));
        running.1.lock().expect("a lock");
        let recent = make(day(50));
        make(day(100));
        assert!(!old.0.exists() && recent.0.exists(), "90 days are the most");
        assert!(running.0.exists(), "a run that is under way keeps its own");
        drop(running);
        for n in 0..MOST as i64 + 5 {
            let time = day(100).checked_add(SignedDuration::from_secs(n + 1)).expect("a time");
            fs::write(recent.0.with_file_name(format!("{}{JOURNAL}", new_id(time))), "").expect("a file");
        }
        make(day(101));
        assert_eq!(store.all().expect("all").len(), MOST);
        assert!(!recent.0.exists());
    }

    #[test]
    #[cfg(unix)]
    fn nobody_else_can_read_a_journal() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::at(folder.path().join("state").join("journal"));
        let (path, _) = store.create(&new_id(day(0)), day(0)).expect("a journal");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
    }

    #[test]
    fn a_journal_elsewhere_is_found_by_its_id() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, id, file) = (Store::at(folder.path().join("journal")), new_id(day(0)), folder.path().join("mine.jsonl"));
        store.point(&id, &file, day(0)).expect("a pointer");
        assert_eq!(store.all().expect("all"), [JournalFile { id: id.clone(), path: file.clone() }]);
        assert_eq!(store.find(&id).ok(), Some(file));
        assert!(store.find("20260101T000000000-abcdef").is_err_and(|e| matches!(e, Error::Input(_))));
    }
}
