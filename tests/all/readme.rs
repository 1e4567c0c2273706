//! What the README shows is what happens: its tour is the demo's output, its example crate builds and runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn readme() -> String {
    fs::read_to_string(Path::new(ROOT).join("README.md")).expect("the README")
}

/// The text of the code block that follows a marker.
fn block(marker: &str) -> String {
    let readme = readme();
    let after = readme.split_once(&format!("<!-- {marker} -->\n")).unwrap_or_else(|| panic!("the README has the marker `{marker}`")).1;
    let (fence, after) = after.split_once('\n').expect("a code block");
    assert!(fence.starts_with("```"), "a code block follows `{marker}`");
    after.split_once("```").expect("the end of the code block").0.to_owned()
}

#[cfg(feature = "s3")]
#[test]
fn the_tour_is_what_the_demo_prints() {
    let demo = crate::support::aaws("demo").stranger().run().ok();
    assert_eq!(block("demo").trim(), demo.stdout.trim(), "the README's tour: paste what `aaws demo` prints");
}

/// Builds the README's crate in a folder of its own, with the versions that this repository is locked to.
fn example_crate() -> PathBuf {
    let target = Path::new(ROOT).join("target").join("example-crate");
    let source = target.join("source");
    fs::create_dir_all(source.join("src")).expect("a folder for the crate");
    let manifest = block("plugin Cargo.toml").replace("../aaws", ROOT);
    // Its own workspace: the folder is below ours.
    fs::write(source.join("Cargo.toml"), manifest + "\n[workspace]\n").expect("its Cargo.toml");
    fs::copy(Path::new(ROOT).join("Cargo.lock"), source.join("Cargo.lock")).expect("the locked versions");
    fs::write(source.join("src/main.rs"), block("plugin src/main.rs")).expect("its main.rs");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--manifest-path"])
        .arg(source.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .output();
    let built = built.expect("cargo runs");
    assert!(built.status.success(), "the README's crate does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    target.join("debug").join("acme")
}

#[test]
fn the_example_crate_is_a_program_with_its_own_actions_only() {
    let program = example_crate();
    let run = |args: &[&str]| {
        let output = Command::new(&program).args(args).env_clear().output().expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, stdout, stderr) = run(&["acme", "find-duplicates", "--names", "a", "B", "a", "b", "a", "--ignore_case"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "[\"a\",\"b\"]\n"), "{stderr}");

    let (code, stdout, _) = run(&["list"]);
    assert_eq!(code, Some(0));
    let listed: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(listed[0]["action"], json!("find_duplicates"));
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "no built-in action was asked for: {stdout}");

    let (code, stdout, stderr) = run(&["acme", "find_duplicates", "--input", r#"{"nmes": []}"#]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("there is no `nmes`"), "{stderr}");

    let (code, stdout, _) = run(&["describe", "acme", "find_duplicates"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("Names to look through."), "{stdout}");
}
