//! The documentation site in a browser: found, read, switched, copied from; valid, and fit for everybody.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::site::{pages, path_of, site};
use crate::support::browser::{Browser, browser, tools};

/// One page of each kind, but the one for what is not there, which only a server shows.
const KINDS: [&str; 5] = [
    "index.html",
    "guides/input-and-output.html",
    "aws/actions.html",
    "aws/actions/s3/delete_objects.html",
    "aws/permissions/s3/delete_objects.html",
];

fn file(page: &str) -> String {
    format!("file://{}", path_of(page).display())
}

/// Nothing went wrong on the pages, and all of them came from the site.
#[track_caller]
fn quiet(browser: &Browser) {
    assert_eq!(browser.console(), [""; 0], "the console of {}", browser.run("return location.href;"));
    let home = format!("file://{}", site().display());
    // The browser's own pages are no business of the site.
    let own = |url: &str| ["chrome:", "chrome-untrusted:", "data:"].iter().any(|scheme| url.starts_with(scheme));
    let outside: Vec<_> = browser.requests().into_iter().filter(|url| !url.starts_with(&home) && !own(url)).collect();
    assert_eq!(outside, [""; 0], "requests that leave the site");
}

#[test]
fn an_action_is_found_read_switched_and_copied_from() {
    let Some(browser) = browser() else { return };
    browser.requests();
    browser.open(&file("index.html"));
    assert_eq!(browser.run("return document.querySelector('h1').textContent;"), json!("aaws"));

    // Search, from the keyboard.
    browser.press("/");
    browser.until("!document.getElementById('mdbook-search-wrapper').classList.contains('hidden')");
    browser.type_into("#mdbook-searchbar", "delete_objects");
    browser.until("document.querySelector('#mdbook-searchresults a[href*=\"s3/delete_objects\"]')");
    assert!(
        browser
            .run("return document.querySelector('#mdbook-searchresults a').textContent;")
            .as_str()
            .is_some_and(|t| t.contains("Delete Objects")),
        "the action itself comes first"
    );
    browser.click("#mdbook-searchresults a[href*=\"aws/actions/s3/delete_objects\"]");
    browser.until("document.querySelector('h1').textContent.includes('Delete Objects')");
    quiet(&browser);

    // Command line at first; JSON is chosen from the keyboard, and kept on the next page and after it.
    let forms = "[...new Set([...document.querySelectorAll('.form')].filter((f) => f.offsetParent).map((f) => f.dataset.form))]";
    browser.becomes(forms, &json!(["cli"]));
    browser.run("document.querySelector('.forms input[value=cli]').focus();");
    browser.press("\u{e014}");
    browser.becomes(forms, &json!(["json"]));
    browser.open(&file("aws/actions/s3/discover_objects.html"));
    browser.becomes(forms, &json!(["json"]));
    assert_eq!(browser.run("return document.querySelector('.forms input:checked').value;"), json!("json"));
    browser.click(".forms label:last-of-type");
    browser.becomes(forms, &json!(["rust"]));
    browser.open(&file("aws/actions/s3/delete_objects.html"));
    browser.becomes(forms, &json!(["rust"]));
    browser.click(".forms label:first-of-type");

    // An example is copied as it stands.
    let grant = json!({"permission": {"name": "clipboard-read"}, "setting": "granted"});
    browser.devtools("Browser.setPermission", &grant);
    let example = "document.querySelector('#examples ~ .form[data-form=cli] pre')";
    let line = "aaws s3 delete_objects --bucket example-bucket --objects examples/object1 examples/object2";
    assert_eq!(copied(&browser, example), json!(line));

    // From the action to its permissions, and to what is there of it as JSON.
    browser.run("window.scrollTo(0, 0);");
    browser.click("main a[href$=\"permissions/s3/delete_objects.html\"]");
    browser.until("document.querySelector('main').textContent.includes('s3:DeleteObject')");
    quiet(&browser);

    // Of a session what was typed, without the prompt and what was printed; a line that goes on is whole.
    browser.open(&file("guides/examples.html"));
    let session = "[...document.querySelectorAll('pre')].find((pre) => pre.textContent.includes('logs/2024/a.txt'))";
    let typed = copied(&browser, session).as_str().unwrap_or_default().to_owned();
    assert!(typed.contains(" \\\n    | aaws s3 delete_objects --bucket example-bucket --objects - "), "{typed}");
    assert!(typed.starts_with("aaws s3 discover_objects") && !typed.contains("logs/2024/a.txt"), "{typed}");
}

/// What the button of a block of code puts into the clipboard.
fn copied(browser: &Browser, block: &str) -> Value {
    browser.run(&format!("const block = {block}; block.scrollIntoView(); block.querySelector('.copy').id = 'wanted';"));
    browser.click("#wanted");
    browser.until("document.querySelector('#wanted').textContent === 'Copied'");
    browser.run("return navigator.clipboard.readText();")
}

#[test]
fn parameters_and_iam_actions_are_found() {
    let Some(browser) = browser() else { return };
    for (words, page) in
        [("bypass_governance_retention", "s3/delete_objects"), ("s3:DeleteObjectVersion", "s3/delete_objects"), ("xyzzyplugh", "")]
    {
        browser.open(&file("aws/actions.html"));
        browser.click("#mdbook-search-toggle");
        browser.type_into("#mdbook-searchbar", words);
        if page.is_empty() {
            browser.until("document.getElementById('mdbook-searchresults-header').textContent.includes('No')");
        } else {
            browser.until(&format!("document.querySelector('#mdbook-searchresults a[href*=\"{page}\"]')"));
        }
    }
    quiet(&browser);
}

#[test]
fn the_catalogue_is_filtered() {
    let Some(browser) = browser() else { return };
    browser.open(&file("aws/actions.html"));
    let rows = "[...document.querySelectorAll('.catalogue tbody tr')].filter((r) => !r.hidden).map((r) => r.cells[1].textContent)";
    let all = aaws::catalog::registry::actions().len();
    browser.becomes(&format!("{rows}.length"), &json!(all));
    browser.type_into(".filter input", "s3 delete");
    browser.becomes(rows, &json!(["delete_incomplete_uploads", "delete_objects"]));
    browser.run("const i = document.querySelector('.filter input'); i.value = ''; i.dispatchEvent(new Event('input'));");
    browser.run("const s = document.querySelector('.filter select'); s.value = 'delete'; s.dispatchEvent(new Event('change'));");
    let deleting = aaws::catalog::registry::actions().iter().filter(|e| e.meta.effect == aaws::Effect::Delete).count();
    browser.becomes(&format!("{rows}.length"), &json!(deleting));
    quiet(&browser);
}

#[test]
fn colours_are_chosen_and_kept_and_phones_have_a_menu() {
    let Some(browser) = browser() else { return };
    let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    browser.open(&file("index.html"));
    let ground = "getComputedStyle(document.body).backgroundColor";
    let light = browser.run(&format!("return {ground};"));
    browser.devtools("Emulation.setEmulatedMedia", &dark);
    // Dark where the reader's system is.
    browser.until(&format!("{ground} !== {light}"));
    browser.click("#theme");
    browser.becomes(ground, &light);
    browser.open(&file("aws/actions.html"));
    // The choice is kept.
    browser.becomes(ground, &light);

    browser.devtools("Emulation.setDeviceMetricsOverride", &json!({"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": true}));
    for page in KINDS {
        browser.open(&file(page));
        // No page is wider than a phone.
        browser.until("document.documentElement.scrollWidth <= 390");
    }
    browser.open(&file("index.html"));
    browser.until("document.getElementById('pages').offsetParent === null");
    browser.click("#menu");
    browser.until("document.getElementById('pages').offsetParent !== null");
    quiet(&browser);
}

#[test]
fn without_scripts_everything_is_shown() {
    let Some(browser) = browser() else { return };
    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    browser.go(&file("aws/actions/s3/delete_objects.html"));
    // Scripts of the page do not run; what WebDriver asks would not either.
    browser.devtools("DOM.enable", &json!({}));
    let root = browser.devtools("DOM.getDocument", &json!({}));
    let forms = browser.devtools("DOM.querySelectorAll", &json!({"nodeId": root["root"]["nodeId"], "selector": ".form"}));
    let forms = forms["nodeIds"].as_array().cloned().unwrap_or_default();
    assert!(forms.len() >= 6, "{forms:?}");
    for node in forms {
        // An element that is not shown has no box: this command then fails.
        browser.devtools("DOM.getBoxModel", &json!({ "nodeId": node }));
    }
}

#[test]
fn pages_are_fit_for_everybody() {
    let Some(browser) = browser() else { return };
    let axe = std::fs::read_to_string(tools().join("node_modules/axe-core/axe.min.js")).expect("axe-core");
    let server = crate::support::aaws("docs serve --port 0").start();
    let address = server.first_line();
    let mut found = Vec::new();
    for scheme in ["light", "dark"] {
        browser.devtools("Emulation.setEmulatedMedia", &json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}));
        for page in KINDS.into_iter().map(file).chain([format!("{address}no/such/page")]) {
            browser.open(&page);
            browser.run(&format!("{axe}\nwindow.axe = axe;"));
            let violations = browser.run("return (await axe.run()).violations.map((v) => [v.impact, v.id, v.nodes[0].html]);");
            let serious = |v: &&Value| matches!(v[0].as_str(), Some("serious" | "critical"));
            found.extend(violations.as_array().expect("axe ran").iter().filter(serious).map(|v| format!("{page} ({scheme}): {v}")));
        }
    }
    server.signal("INT");
    server.wait().exits(0);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn pages_are_valid_html() {
    // It needs no browser, but npm: it is left out with the others.
    let Some(_browser) = browser() else { return };
    let tools = tools();
    let pages: Vec<_> = pages().into_keys().map(|page| path_of(&page)).collect();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/.htmlvalidate.json");
    let output = Command::new(tools.join("node_modules/.bin/html-validate"))
        .args(["--formatter", "text", "--config"])
        .arg(config)
        .args(pages)
        .current_dir(&tools)
        .output()
        .expect("html-validate runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}", told.lines().take(40).collect::<Vec<_>>().join("\n"));
}
