//! What a run has learned that makes the next one faster: small files in the user's cache directory, `aaws/…`, each named by a hash of what it is about.
//!
//! Nothing may depend on one but speed: what cannot be read, or is not as it was written, was never there, and what cannot be written is not.

use std::cmp::Reverse;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

/// Files that were not written for so long are removed when another is written, and so are the oldest of more than so many, or so many bytes.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MAX_FILES: usize = 256;
const MAX_BYTES: u64 = 4 << 20;

/// The largest file that is written, or read.
const MAX_FILE_BYTES: usize = 64 << 10;

/// How the name of a file begins that is being written, and of how many hexadecimal digits that of a whole one is.
const UNFINISHED: &str = "new-";
const NAME_DIGITS: usize = 64;

/// A file that is kept from run to run.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    path: PathBuf,
}

impl Cache {
    /// Of one kind of knowledge, which has a folder of its own in `$XDG_CACHE_HOME/aaws`, or `~/.cache/aaws`. What it is about is in its name as a hash
    /// alone. None where no cache directory is known.
    pub(super) fn of(kind: &str, about: &[&str]) -> Option<Self> {
        let set = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || env::home_dir().filter(|home| home.is_absolute());
        let cache = set.or_else(|| Some(home()?.join(".cache")))?;
        Some(Cache::within(cache.join("aaws").join(kind), about))
    }

    fn within(folder: PathBuf, about: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in about {
            // With its length, so that two parts are not those of another division.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        let name: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Cache { path: folder.join(name), folder }
    }

    /// What is in it: at most 64 KiB, and whatever somebody else may have written. None where there is nothing.
    pub fn read(&self) -> Option<Vec<u8>> {
        match read(&self.path) {
            Ok(bytes) => Some(bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => {
                tracing::debug!("`{}` is passed over: {e}", self.path.display());
                None
            }
        }
    }

    /// Puts this in the place of what was in it, whole or not at all; nobody else can read it. Old files go meanwhile. Blocks while it writes.
    pub fn write(&self, bytes: &[u8]) {
        if bytes.len() > MAX_FILE_BYTES {
            return;
        }
        if let Err(e) = self.replace(bytes) {
            tracing::debug!("`{}` is not written: {e}", self.path.display());
        }
    }

    /// Removes it, if it is there.
    pub fn remove(&self) {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => tracing::debug!("cannot remove `{}`: {e}", self.path.display()),
            _ => {}
        }
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let mut folder = DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder.create(&self.folder)?;
        // What a link leads to is something else, which is neither closed to others nor cleared.
        let about = fs::symlink_metadata(&self.folder)?;
        if !about.is_dir() || !is_own(&about) {
            return Err(io::Error::other("its folder is a link, or somebody else's"));
        }
        // One that was made readable is for its owner alone from here on.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))?;
        }
        prune(&self.folder, SystemTime::now());
        // For its owner alone, as all temporary files are.
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.folder)?;
        file.write_all(bytes)?;
        file.persist(&self.path).map_err(|e| e.error)?;
        Ok(())
    }
}

/// The bytes of a file that is no larger than it may be, and nobody else's.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let about = file.metadata()?;
    if !about.is_file() || !is_own(&about) {
        return Err(io::Error::other("it is no file, or somebody else's"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(io::Error::other("it is too large"));
    }
    Ok(bytes)
}

/// Opens whatever is there: no link is followed, and no pipe waited for.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Whether it is of the user whom this process acts as.
#[cfg(unix)]
fn is_own(about: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(about) == rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn is_own(_about: &Metadata) -> bool {
    true
}

/// Whether a file is named as those that are kept, or written, here. Others are not ours to remove.
fn is_cache_name(name: &OsStr) -> bool {
    let is_whole = |name: &str| name.len() == NAME_DIGITS && name.bytes().all(|b| b.is_ascii_hexdigit());
    name.to_str().is_some_and(|name| name.starts_with(UNFINISHED) || is_whole(name))
}

/// Removes what is too old, too many or too much: the oldest first, and so that there is room for one more.
fn prune(folder: &Path, now: SystemTime) {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // Of a link it is that of the link.
        if is_cache_name(&entry.file_name())
            && let Ok(about) = entry.metadata()
            && about.is_file()
            && let Ok(written) = about.modified()
        {
            files.push((written, about.len(), entry.path()));
        }
    }
    files.sort_unstable_by_key(|(written, ..)| Reverse(*written));
    let mut bytes = MAX_FILE_BYTES as u64;
    for (at, (written, size, path)) in files.into_iter().enumerate() {
        bytes = bytes.saturating_add(size);
        let is_old = now.duration_since(written).is_ok_and(|age| age > MAX_AGE);
        if is_old || at + 1 >= MAX_FILES || bytes > MAX_BYTES {
            // The next run tries again.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[test]
    fn what_is_kept_is_read_again_and_is_of_this_alone() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("aaws").join("cuts");
        let of = |about: &[&str]| Cache::within(folder.clone(), about);
        assert_eq!(of(&["a", "bc"]).read(), None);
        of(&["a", "bc"]).write(b"one");
        of(&["a", "bc"]).write(b"two");
        assert_eq!(of(&["a", "bc"]).read().as_deref(), Some(&b"two"[..]));
        let others: [&[&str]; 4] = [&["ab", "c"], &["abc"], &["a", "bc", ""], &["bc", "a"]];
        for other in others {
            assert_eq!(of(other).read(), None, "{other:?}");
        }
        assert_eq!(files(&folder), 1, "nothing is left beside it");
        of(&["a", "bc"]).remove();
        assert_eq!((of(&["a", "bc"]).read(), files(&folder)), (None, 0));
    }

    #[test]
    #[cfg(unix)]
    fn nobody_else_can_read_what_is_kept() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("aaws").join("cuts");
        fs::create_dir_all(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("permissions");
        let cache = Cache::within(folder.clone(), &["a"]);
        cache.write(b"x");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&cache.path), mode(&folder)), (0o600, 0o700));
        // What somebody has put there in its place is replaced, and not written through.
        let other = home.path().join("other");
        fs::write(&other, "theirs").expect("a file");
        cache.remove();
        std::os::unix::fs::symlink(&other, &cache.path).expect("a link");
        assert_eq!(cache.read(), None, "a link is not followed");
        cache.write(b"x");
        assert_eq!(fs::read(&other).expect("it is there"), b"theirs");
        assert_eq!(cache.read().as_deref(), Some(&b"x"[..]));
    }

    #[test]
    fn what_cannot_be_read_or_written_is_not_there() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("file");
        fs::write(&file, "").expect("a file");
        let cache = Cache::within(file.join("cuts"), &["a"]);
        cache.write(b"x");
        assert_eq!(cache.read(), None);
        let cache = Cache::within(home.path().join("cuts"), &["a"]);
        cache.write(&vec![b'x'; MAX_FILE_BYTES + 1]);
        assert_eq!(cache.read(), None, "too large to be written");
        fs::create_dir_all(&cache.folder).expect("a folder");
        fs::write(&cache.path, vec![b'x'; MAX_FILE_BYTES + 1]).expect("a file");
        assert_eq!(cache.read(), None, "too large to be read");
        fs::remove_file(&cache.path).expect("it is there");
        fs::create_dir(&cache.path).expect("a folder");
        cache.write(b"x");
        assert_eq!(cache.read(), None, "a folder in its place");
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
        let home = tempfile::tempdir().expect("a folder");
        let cache = Cache::within(home.path().to_owned(), &["a"]);
        let made = std::process::Command::new("mkfifo").arg(&cache.path).status().expect("mkfifo");
        assert!(made.success());
        assert!(open(&cache.path).is_ok(), "nobody writes to it");
        assert_eq!(cache.read(), None);
        cache.write(b"x");
        assert_eq!(cache.read().as_deref(), Some(&b"x"[..]));
    }

    #[test]
    #[cfg(unix)]
    fn what_a_link_in_the_place_of_the_folder_leads_to_is_left_as_it_is() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().expect("a folder");
        let theirs = home.path().join("theirs");
        fs::create_dir(&theirs).expect("a folder");
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o755)).expect("permissions");
        let folder = home.path().join("cuts");
        std::os::unix::fs::symlink(&theirs, &folder).expect("a link");
        let cache = Cache::within(folder, &["a"]);
        let old = theirs.join(Cache::within(PathBuf::new(), &["b"]).path);
        let file = File::create(&old).expect("a file");
        file.set_modified(SystemTime::now() - MAX_AGE * 2).expect("a time");
        cache.write(b"x");
        let mode = fs::metadata(&theirs).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((cache.read(), files(&theirs), old.exists(), mode), (None, 1, true, 0o755));
    }

    #[test]
    fn files_go_when_they_are_old_too_many_or_too_much() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().to_owned();
        let now = SystemTime::now();
        let path = |name: &str| Cache::within(folder.clone(), &[name]).path;
        let make = |name: &str, age: Duration, bytes: usize| {
            let file = File::create(path(name)).expect("a file");
            (&file).write_all(&vec![b'x'; bytes]).expect("bytes");
            file.set_modified(now - age).expect("a time");
        };
        make("old", MAX_AGE + Duration::from_secs(60), 1);
        make("young", MAX_AGE - Duration::from_secs(60), 1);
        // Those of a process that was killed, and what is none of ours.
        let (unfinished, other) = (folder.join("new-x1"), folder.join("holiday.mov"));
        for file in [&unfinished, &other] {
            File::create(file).and_then(|file| file.set_modified(now - MAX_AGE * 2)).expect("a file");
        }
        prune(&folder, now);
        assert!(!unfinished.exists() && other.exists());
        fs::remove_file(other).expect("it is there");
        assert!(!path("old").exists() && path("young").exists());
        (0..MAX_FILES).for_each(|n| make(&format!("{n}"), Duration::from_secs(n as u64), 1));
        prune(&folder, now);
        assert_eq!(files(&folder), MAX_FILES - 1, "there is room for one more");
        assert!(!path("young").exists() && path("0").exists());
        make("large", Duration::ZERO, MAX_BYTES as usize - MAX_FILE_BYTES - 10);
        prune(&folder, now);
        assert!(path("large").exists() && files(&folder) <= 11, "{} files", files(&folder));
    }
}
