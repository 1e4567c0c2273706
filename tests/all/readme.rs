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
pub fn block(marker: &str) -> String {
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

/// The images that the README shows or links to.
fn images() -> Vec<String> {
    let readme = readme();
    let links = readme.split("](docs/images/").skip(1).filter_map(|rest| rest.split_once(')'));
    links.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn the_images_are_there_and_ask_for_nothing_from_elsewhere() {
    let images = images();
    assert!(images.iter().any(|name| name == "tour.svg"), "{images:?}");
    for name in images {
        let image = fs::read(Path::new(ROOT).join("docs/images").join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        if name.ends_with(".svg") {
            let image = String::from_utf8(image).expect("SVG is UTF-8");
            for word in ["url(", "href", "src=", "@import", "@font-face", "<script", "<foreignObject"] {
                assert!(!image.contains(word), "{name} has `{word}`");
            }
        }
    }
}

#[test]
fn the_recording_is_of_the_tour() {
    let image = fs::read_to_string(Path::new(ROOT).join("docs/images/tour.svg")).expect("the recording");
    // The text alone, as if lines that are broken for the terminal were not.
    let plain = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let shown: String = image.split('<').skip(1).filter_map(|tag| tag.split_once('>')).map(|(_, text)| text).collect();
    let shown = plain(&shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"));
    for command in block("demo").lines().filter(|line| line.starts_with("$ ")) {
        assert!(shown.contains(&plain(command)), "not in the recording, make it again with .ci/record tour: {command}");
    }
    assert!(image.contains("prefers-reduced-motion") && image.contains("prefers-color-scheme"));
}

#[cfg(all(unix, feature = "s3"))]
#[test]
fn the_readme_can_be_followed_line_by_line() {
    let followed = Command::new("python3")
        .arg(Path::new(ROOT).join(".ci/record"))
        .args(["--check", "--binary", env!("CARGO_BIN_EXE_aaws")])
        .output()
        .expect("the tests need python3");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(followed.status.success(), "{}{}", text(&followed.stdout), text(&followed.stderr));
}

#[test]
fn the_packages_that_the_readme_installs_are_those_of_this_version() {
    let (readme, version) = (readme(), env!("CARGO_PKG_VERSION"));
    for (begin, end) in [("aaws-", "-x86_64-unknown-linux-musl.tar.xz"), ("aaws-", "-*.whl"), ("aaws_", "_amd64.deb")] {
        assert!(readme.contains(&format!("{begin}{version}{end}")), "the README installs {begin}…{end} of another version");
    }
}

/// Builds the README's crate, with these features of `aaws`.
fn example_crate(features: &str) -> PathBuf {
    let wanted = format!("default-features = false, features = [{features:?}]").replace("[\"\"]", "[]");
    let manifest = block("plugin Cargo.toml").replace("default-features = false", &wanted);
    build_crate(&format!("source-{features}"), "acme", &manifest, &block("plugin src/main.rs"))
}

/// Builds a crate that is a program, in a folder of its own and with the versions that this repository is locked to. `manifest` has `aaws` beside it.
pub fn build_crate(folder: &str, name: &str, manifest: &str, main: &str) -> PathBuf {
    let target = Path::new(ROOT).join("target").join("example-crate");
    // One after another: they share what they are built of.
    let lock = fs::create_dir_all(&target).and_then(|()| fs::File::create(target.join("lock"))).expect("a folder for the crate");
    lock.lock().expect("a lock on the folder");
    let source = target.join(folder);
    fs::create_dir_all(source.join("src")).expect("a folder for the crate");
    // Its own workspace: the folder is below ours.
    // What is written anew is compiled and linked anew.
    let write = |name: &str, text: &str| {
        let file = source.join(name);
        if fs::read_to_string(&file).is_ok_and(|is| is == text) { Ok(()) } else { fs::write(file, text) }
    };
    write("Cargo.toml", &(manifest.replace("../aaws", ROOT) + "\n[workspace]\n")).expect("its Cargo.toml");
    fs::copy(Path::new(ROOT).join("Cargo.lock"), source.join("Cargo.lock")).expect("the locked versions");
    write("src/main.rs", main).expect("its main.rs");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Nobody debugs these: without what debuggers need, the folder and the memory to link in are a fraction.
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--manifest-path"])
        .arg(source.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_PROFILE_DEV_DEBUG", "none")
        .output();
    let built = built.expect("cargo runs");
    let said = String::from_utf8_lossy(&built.stderr);
    // What went wrong is at the end: a linker that fails is shown with its whole command before it.
    let end = said.char_indices().rev().nth(4000).map_or(0, |(place, _)| place);
    assert!(built.status.success(), "the crate `{folder}` does not build ({}):\n{}", built.status, &said[end..]);
    let program = source.join(name);
    let _ = fs::remove_file(&program);
    // Not a copy: a file that is open for writing while another test forks cannot be run.
    fs::hard_link(target.join("debug").join(name), &program).expect("the program");
    program
}

#[test]
fn the_example_crate_is_a_program_with_its_own_actions_only() {
    let program = example_crate("");
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

#[cfg(feature = "site")]
#[test]
fn the_example_crate_has_a_site_with_its_own_actions() {
    let program = example_crate("site");
    let folder = crate::support::directory();
    let site = folder.path().join("site");
    let output = Command::new(&program).args(["docs", "build", "--out"]).arg(&site).env_clear().output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |page: &str| fs::read_to_string(site.join(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
    let page = read("aws/actions/acme/find_duplicates.html");
    assert!(page.contains("Find the names that are given more than once.") && page.contains("ignore_case"), "{page}");
    assert!(read("aws/actions.html").contains("actions/acme/find_duplicates.html"));
    assert!(!read("llms.txt").contains("delete_objects"), "no built-in action was asked for");
}
