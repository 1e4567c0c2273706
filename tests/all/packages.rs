//! What `.ci/package` makes, of a stand-in for the program that runs the program under test.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{directory, tools};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TARGET: &str = "x86_64-unknown-linux-musl";

/// dpkg must be there where this variable is set.
const REQUIRED: &str = "AAWS_PACKAGE_TESTS";

/// Runs a command that must succeed, and gives what it prints.
#[track_caller]
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program as small as a script: what is packed is not what is tested here. Its own name is another one than that in the packages.
fn program(folder: &Path) -> PathBuf {
    let path = folder.join("program");
    fs::write(&path, format!("#!/bin/sh\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_aaws"))).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script that can be run");
    path
}

/// The packages of these kinds, in a folder.
fn packages(kinds: &[&str]) -> TempDir {
    let folder = directory();
    let mut package = Command::new("python3");
    package.arg(format!("{ROOT}/.ci/package")).args(["all", "--level", "1", "--target", TARGET, "--binary"]).arg(program(folder.path()));
    printed(package.arg("--out").arg(folder.path().join("out")).arg("--only").args(kinds));
    folder
}

/// The one file of a kind.
#[track_caller]
fn file(folder: &TempDir, end: &str) -> PathBuf {
    let mut files = fs::read_dir(folder.path().join("out")).expect("the packages").flatten().map(|file| file.path());
    files.find(|path| path.to_string_lossy().ends_with(end)).unwrap_or_else(|| panic!("no package ends with {end}"))
}

#[test]
fn an_archive_has_the_program_and_what_stands_beside_it_and_its_checksum_holds() {
    let folder = packages(&["archive"]);
    let archive = file(&folder, ".tar.xz");
    let names = printed(Command::new("tar").arg("tJf").arg(&archive));
    let head = format!("aaws-{}-{TARGET}/", env!("CARGO_PKG_VERSION"));
    for name in
        ["aaws", "completions/aaws.bash", "completions/_aaws", "completions/aaws.fish", "man/aaws.1", "man/aaws-s3.1", "LICENSE-MIT"]
    {
        assert!(names.lines().any(|line| line == format!("{head}{name}")), "{name} is not in {names}");
    }
    assert!(names.lines().all(|line| line.starts_with(&head)), "all of it is in one folder: {names}");
    printed(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(folder.path().join("out")));

    // The same again are the same bytes.
    let again = packages(&["archive"]);
    let read = |folder: &TempDir| fs::read_to_string(folder.path().join("out/SHA256SUMS")).expect("checksums");
    assert_eq!(read(&folder), read(&again));
}

#[test]
fn an_archive_for_windows_is_a_zip() {
    let mut notices = Command::new("python3");
    let notices = notices.arg(format!("{ROOT}/.ci/notices")).args(["--target", "x86_64-pc-windows-msvc"]).output().expect("python3");
    if String::from_utf8_lossy(&notices.stderr).contains("cargo fetch") {
        return println!("left out: the sources of what is linked on Windows are not here, which `cargo fetch --locked` gets");
    }
    let folder = directory();
    let mut package = Command::new("python3");
    package
        .arg(format!("{ROOT}/.ci/package"))
        .args(["all", "--level", "1", "--target", "x86_64-pc-windows-msvc", "--binary"])
        .arg(program(folder.path()));
    printed(package.arg("--out").arg(folder.path().join("out")).args(["--only", "archive"]));
    let names = printed(Command::new("python3").args(["-m", "zipfile", "--list"]).arg(file(&folder, "-x86_64-pc-windows-msvc.zip")));
    let head = format!("aaws-{}-x86_64-pc-windows-msvc/", env!("CARGO_PKG_VERSION"));
    for name in ["aaws.exe", "completions/_aaws.ps1", "THIRD-PARTY.md"] {
        let place = format!("{head}{name}");
        assert!(names.lines().any(|line| line.split(' ').next() == Some(place.as_str())), "{name} is not in {names}");
    }
    printed(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(folder.path().join("out")));
}

#[test]
fn an_image_and_a_wheel_run_where_nothing_else_is_installed() {
    // What .ci/try enters a root with: as root, and as anybody. Many containers let nobody do it, whatever is installed in them.
    let enters = |flags: &[&str]| Command::new("unshare").args(flags).arg("true").output().is_ok_and(|tried| tried.status.success());
    if !enters(&["--mount"]) && !enters(&["--mount", "--user", "--map-root-user"]) {
        return println!("left out: this machine lets nobody make namespaces");
    }
    let has_certificates = Path::new("/etc/ssl/certs/ca-certificates.crt").is_file();
    if !cfg!(target_arch = "x86_64") || !tools::is_there("strip") || !has_certificates {
        return tools::left_out(REQUIRED, "this is not x86-64, or has no strip or no ca-certificates");
    }
    let folder = directory();
    let out = folder.path().join("out");
    // The program itself: a script would need a shell.
    let binary = folder.path().join("aaws");
    printed(Command::new("strip").arg("-o").arg(&binary).arg(env!("CARGO_BIN_EXE_aaws")));
    let mut package = Command::new("python3");
    package.arg(format!("{ROOT}/.ci/package")).args(["all", "--level", "1", "--target", TARGET, "--binary"]).arg(&binary);
    printed(package.arg("--out").arg(&out).args(["--only", "container", "wheel"]));
    let mut attempt = Command::new("python3");
    let said = printed(attempt.arg(format!("{ROOT}/.ci/try")).arg(&out).args(["--only", "container", "wheel"]));
    assert_eq!(said.matches(" installed, and the sandbox ran").count(), 2, "{said}");
}

#[test]
fn every_crate_has_a_licence_that_is_allowed_and_one_that_is_not_is_named() {
    let script = format!("{ROOT}/.ci/licences");
    printed(Command::new("python3").arg(&script));

    let folder = directory();
    let config = folder.path().join("deny.toml");
    let text = fs::read_to_string(Path::new(ROOT).join("deny.toml")).expect("deny.toml");
    fs::write(&config, text.replace("\"ISC\",", "")).expect("a file");
    let output = Command::new("python3").arg(&script).arg("--config").arg(&config).output().expect("python3");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("rustls-webpki"), "a crate is under ISC alone: {said}");
    assert!(!said.contains("hyper-rustls"), "a crate that may be had under another is fine: {said}");
}

#[test]
fn a_wheel_puts_the_program_where_scripts_are() {
    let folder = packages(&["wheel"]);
    let venv = folder.path().join("venv");
    printed(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    let pip = venv.join("bin/pip");
    printed(
        Command::new(pip).args(["install", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]).arg(file(&folder, ".whl")),
    );
    let version = printed(Command::new(venv.join("bin/aaws")).arg("--version"));
    assert!(version.starts_with(&format!("aaws {}", env!("CARGO_PKG_VERSION"))), "{version}");
    assert!(venv.join("share/man/man1/aaws.1").is_file());
}

#[test]
fn a_deb_has_everything_where_debian_has_it() {
    if !tools::is_there("dpkg-deb") {
        return tools::left_out(REQUIRED, "dpkg-deb is not on this machine");
    }
    let folder = packages(&["deb"]);
    let deb = file(&folder, ".deb");
    let root = folder.path().join("root");
    printed(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(&root));
    for name in [
        "usr/bin/aaws",
        "usr/share/bash-completion/completions/aaws",
        "usr/share/zsh/vendor-completions/_aaws",
        "usr/share/fish/vendor_completions.d/aaws.fish",
        "usr/share/man/man1/aaws.1.gz",
        "usr/share/doc/aaws/copyright",
        "usr/share/doc/aaws/THIRD-PARTY.md.gz",
    ] {
        assert!(root.join(name).is_file(), "{name} is not in the package");
    }
    let control = printed(Command::new("dpkg-deb").arg("--field").arg(&deb));
    assert!(
        control.contains(&format!("Version: {}\n", env!("CARGO_PKG_VERSION"))) && control.contains("Architecture: amd64\n"),
        "{control}"
    );
    assert!(!control.contains("Depends:"), "it is linked with nothing of the system: {control}");
}

#[test]
fn the_notices_name_every_crate_that_is_linked() {
    let notices = printed(Command::new("python3").arg(format!("{ROOT}/.ci/notices")));
    let named: BTreeSet<&str> = notices.lines().filter_map(|line| line.strip_prefix("- ")?.split(':').next()).collect();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["tree", "--locked", "--offline", "--all-features", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let tree = printed(Command::new(cargo).args(arguments).current_dir(ROOT));
    // `name v1.2.3`, and what cargo adds: `(proc-macro)`, `(*)`, the folder of this crate.
    let linked =
        tree.lines().filter_map(|line| line.split_once(" v")).map(|(name, rest)| (name, rest.split(' ').next().unwrap_or_default()));
    let missing: BTreeSet<String> = linked
        .filter(|(name, _)| *name != "aaws")
        .map(|(name, version)| format!("{name} {version}"))
        .filter(|linked| !named.contains(linked.as_str()))
        .collect();
    assert!(missing.is_empty(), "these are not in the notices: {missing:?}");
    assert!(notices.contains("Permission is hereby granted, free of charge") && notices.contains("Apache License"), "texts of licences");
}

#[test]
fn a_formula_has_the_checksums_of_the_archives() {
    let folder = packages(&["archive"]);
    let out = folder.path().join("out");
    let archive = file(&folder, ".tar.xz");
    for target in ["aarch64-apple-darwin", "x86_64-apple-darwin", "aarch64-unknown-linux-musl"] {
        let name = archive.file_name().expect("a name").to_string_lossy().replace(TARGET, target);
        fs::copy(&archive, out.join(name)).expect("an archive that stands for another");
    }
    let mut formula = Command::new("python3");
    formula.arg(format!("{ROOT}/.ci/package")).args(["formula", "--url", "https://example.com/v1/", "--out"]).arg(&out);
    printed(&mut formula);
    let text = fs::read_to_string(out.join("aaws.rb")).expect("the formula");
    let sums = fs::read_to_string(out.join("SHA256SUMS")).expect("checksums");
    let sum = sums.split(' ').next().expect("a checksum");
    assert_eq!(text.matches(sum).count(), 4, "{text}");
    assert!(
        !text.contains('@') && text.contains(&format!("https://example.com/v1/aaws-{}-{TARGET}.tar.xz", env!("CARGO_PKG_VERSION"))),
        "{text}"
    );
}

#[test]
fn every_action_of_the_workflows_is_pinned_by_commit() {
    for file in fs::read_dir(Path::new(ROOT).join(".github/workflows")).expect("the workflows").flatten() {
        let text = fs::read_to_string(file.path()).expect("a workflow");
        for line in text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: ")) {
            let pin = line.split_once('@').and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_default();
            let is_commit = pin.len() == 40 && pin.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(
                is_commit && line.contains("# v"),
                "{}: `{line}` is not pinned by commit, its version behind it",
                file.path().display()
            );
        }
        assert!(text.contains("\npermissions:"), "{} says which permissions it needs", file.path().display());
    }
}
