//! Programs that some tests need and not every machine has.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

/// Whether a program is on the search path, or where its own path says.
pub fn is_there(program: impl AsRef<OsStr>) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Says in a line that a test is left out, and why. Where such tests must run, which a variable of the environment says, that is a failure.
pub fn left_out(required: &str, why: &str) {
    assert!(std::env::var_os(required).is_none(), "{required} is set, and {why}");
    println!("left out: {why}");
}

/// The packages of a folder of `tests/`, from npm, exactly as its lock file names them; installed below the target directory on first use.
pub fn from_npm(folder: &str) -> PathBuf {
    let source = Path::new(TESTS).join(folder);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory").join(format!("{folder}-tools"));
    fs::create_dir_all(&target).expect("a folder for the tools");
    let lock = File::create(target.join("lock")).expect("the target directory is writable");
    lock.lock().expect("a lock on the tools");
    let wanted = fs::read(source.join("package-lock.json")).expect("package-lock.json");
    if fs::read(target.join("complete")).is_ok_and(|made_of| made_of == wanted) {
        return target;
    }
    for file in fs::read_dir(&source).expect("what the tools are").flatten() {
        fs::copy(file.path(), target.join(file.file_name())).expect("a copy of what the tools are");
    }
    let installed = Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&target).output();
    let installed = installed.expect("npm runs");
    assert!(installed.status.success(), "npm ci: {}", String::from_utf8_lossy(&installed.stderr));
    fs::write(target.join("complete"), wanted).expect("the folder is writable");
    target
}
