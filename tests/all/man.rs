//! The manual pages.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::aaws::Aaws;
use crate::support::{aaws, directory, tools};

/// `man` must be there where this variable is set.
const REQUIRED: &str = "AAWS_MAN_TESTS";

fn offline(run: Aaws) -> Aaws {
    run.stranger().endpoint("http://127.0.0.1:1")
}

/// The pages in a folder, by name.
fn pages(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder).expect("the folder of the pages").flatten();
    files.map(|file| (file.file_name().to_string_lossy().into_owned(), fs::read_to_string(file.path()).expect("a page"))).collect()
}

#[test]
fn every_action_is_on_the_page_of_its_service_with_its_flags() {
    let folder = directory();
    offline(aaws("man --out pages")).within(folder.path()).run().ok().silent();
    let pages = pages(&folder.path().join("pages"));
    let page = |name: &str| pages.iter().find(|(page, _)| page == name).map(|(_, text)| text.as_str()).unwrap_or_default();
    let list = offline(aaws("list")).run().ok().json();
    for action in list.as_array().expect("a list of actions") {
        let (service, name) = (action["service"].as_str().unwrap_or_default(), action["action"].as_str().unwrap_or_default());
        let text = page(&format!("aaws-{service}.1"));
        let of_action = text.split_once(&format!("\n.SH {name}\n")).unwrap_or_else(|| panic!("{service}/{name} has no section")).1;
        let of_action = of_action.split("\n.SH ").next().unwrap_or_default();
        assert!(of_action.contains("\n.SS INPUTS\n") && of_action.contains("\n.SS Examples\n"), "{service}/{name}: {of_action}");
        assert!(page("aaws.1").contains(&format!("aaws\\-{service}(1)")), "{service} is on the page of the program");
    }
    for words in ["doctor", "permissions", "\\-\\-dry_run", "EXIT STATUS", "aaws.toml"] {
        assert!(page("aaws.1").contains(words), "{words} is not in aaws.1");
    }
    assert_eq!(offline(aaws("man")).run().ok().stdout, page("aaws.1"));
}

#[test]
fn man_renders_every_page_without_a_warning() {
    if !tools::is_there("man") {
        return tools::left_out(REQUIRED, "man is not on this machine");
    }
    let folder = directory();
    offline(aaws("man --out pages")).within(folder.path()).run().ok();
    for file in fs::read_dir(folder.path().join("pages")).expect("the pages").flatten() {
        let rendered = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(file.path())
            .envs([("LC_ALL", "C.UTF-8"), ("MANWIDTH", "80"), ("MANPAGER", "cat")])
            .stdin(Stdio::null())
            .output()
            .expect("man runs");
        let warnings = String::from_utf8_lossy(&rendered.stderr);
        assert!(rendered.status.success() && warnings.is_empty() && !rendered.stdout.is_empty(), "{}: {warnings}", file.path().display());
    }
}

#[test]
fn pages_that_cannot_be_written_are_told() {
    let folder = directory();
    fs::write(folder.path().join("pages"), "").expect("a file in the way");
    offline(aaws("man --out pages")).within(folder.path()).run().exits(1).silent().logs("manual pages");
}
