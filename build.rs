//! What `aaws --version` says: the commit, its date, and the features that are on.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=AAWS_COMMIT");
    println!("cargo::rustc-env=AAWS_BUILT_OF={}", commit().unwrap_or_else(|| "unknown".into()));
    println!("cargo::rustc-env=AAWS_FEATURES={}", features());
    if is_linked_to_a_place() {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}

/// Whether the program is linked to a fixed place: a debug build for Linux with glibc is. Two thirds of the memory that a start of it touches, all services in it,
/// are pages with addresses that are filled in where a program may be loaded anywhere, and the tests start it thousands of times. What is optimised is loaded
/// anywhere, which makes it harder to attack, whatever its profile is made of. What is linked statically starts by code that is for one of the two, which rustc
/// has chosen before the linker reads this.
fn is_linked_to_a_place() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|is| is == value);
    let is_static = env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|features| features.split(',').any(|one| one == "crt-static"));
    let is_debug = is("PROFILE", "debug") && is("OPT_LEVEL", "0");
    is_debug && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") && !is_static
}

/// Hash and date of the commit: what packagers say who build without git, or what git says. A debug build does not look: it would be made anew after
/// every commit.
fn commit() -> Option<String> {
    if let Some(given) = env::var("AAWS_COMMIT").ok().filter(|given| !given.trim().is_empty()) {
        return Some(given.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    if env::var("PROFILE").ok()? == "debug" {
        return None;
    }
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    // A copy of the sources in somebody else's repository is not of that repository's commit.
    if Path::new(&git(&root, &["rev-parse", "--show-toplevel"])?).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // A file that is not there would have this run every time.
    let branch = git(&root, &["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        if let Some(path) = git(&root, &["rev-parse", "--git-path", name]).map(|path| root.join(path)).filter(|path| path.is_file()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&root, &["log", "-1", "--format=%h %cs", "--abbrev=12"])
}

/// What git answers; nothing where there is no git, and where it fails.
fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The features that are on, as Cargo.toml writes them.
fn features() -> String {
    let on = env::vars_os().filter_map(|(name, _)| Some(name.to_str()?.strip_prefix("CARGO_FEATURE_")?.to_ascii_lowercase()));
    let mut on: Vec<_> = on.filter(|name| name != "default").collect();
    on.sort();
    if on.is_empty() { "none".into() } else { on.join(", ") }
}
