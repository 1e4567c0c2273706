//! Settings: files of the user and of the folder, the environment and flags; which of them wins, what is wrong with one, and what none may say.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::aaws::Aaws;
use crate::support::proxy::Proxy;
use crate::support::{Bucket, aaws, directory, moto};

/// A home directory, and a folder in which the program runs.
struct Place {
    home: TempDir,
    folder: TempDir,
}

impl Place {
    /// With these files of settings; an empty text is no file.
    fn with(user: &str, folder: &str) -> Self {
        let place = Place { home: directory(), folder: directory() };
        if !user.is_empty() {
            fs::create_dir_all(place.home.path().join(".config/aaws")).expect("a folder");
            fs::write(place.home.path().join(".config/aaws/aaws.toml"), user).expect("the user's settings");
        }
        if !folder.is_empty() {
            fs::write(place.folder.path().join("aaws.toml"), folder).expect("the folder's settings");
        }
        place
    }

    /// A run there that reaches nothing.
    fn aaws(&self, line: &str) -> Aaws {
        aaws(line).endpoint("http://127.0.0.1:9").env("HOME", self.home.path()).within(self.folder.path())
    }

    /// Where a line of the user's file is.
    fn user(&self, line: usize) -> String {
        format!("{}:{line}", self.home.path().join(".config/aaws/aaws.toml").display())
    }
}

/// Value and source of a setting, as `config show` has them.
#[track_caller]
fn shown(run: Aaws, key: &str) -> (Value, String) {
    let all = run.run().ok().json();
    let row = all.as_array().expect("a list").iter().find(|row| row["key"] == key);
    let row = row.unwrap_or_else(|| panic!("no {key} in {all}"));
    (row["value"].clone(), row["source"].as_str().expect("a source").to_owned())
}

#[test]
fn flags_win_over_the_environment_that_over_the_folder_and_that_over_the_user() {
    let place = Place::with("max_items = 1\noutput = \"yaml\"\nconcurrency = 2\n", "# ours\nmax_items = 2\noutput = \"json\"\n");
    let show = || place.aaws("config show");
    assert_eq!(shown(show(), "concurrency"), (json!(2), place.user(3)));
    assert_eq!(shown(show(), "max_items"), (json!(2), "./aaws.toml:2".into()));
    assert_eq!(shown(show().env("AAWS_MAX_ITEMS", "3"), "max_items"), (json!(3), "AAWS_MAX_ITEMS".into()));
    let flag = show().env("AAWS_MAX_ITEMS", "3").args(["--max-items", "4"]);
    assert_eq!(shown(flag, "max_items"), (json!(4), "--max_items".into()));
    // What is set to nothing is not set.
    assert_eq!(shown(show().env("AAWS_MAX_ITEMS", ""), "max_items"), (json!(2), "./aaws.toml:2".into()));
    assert_eq!(shown(Place::with("", "").aaws("config show"), "max_items"), (Value::Null, "default".into()));
}

#[test]
fn every_key_is_shown_with_what_it_is_by_itself() {
    let all = Place::with("", "").aaws("config show").without("AWS_REGION").run().ok().json();
    let rows = all.as_array().expect("a list");
    let keys: Vec<&str> = rows.iter().filter_map(|row| row["key"].as_str()).collect();
    assert!(keys.is_sorted() && keys.len() == 20, "{keys:?}");
    for (key, value, source) in [
        ("concurrency", json!(16), "default"),
        ("endpoint_url", json!("http://127.0.0.1:9"), "AWS_ENDPOINT_URL"),
        ("no_cache", json!(false), "default"),
        ("output", json!("json"), "default"),
        ("protect_tag", json!(["aaws:protect", "aaws:protect_until"]), "default"),
        ("profile", Value::Null, "AWS_ACCESS_KEY_ID"),
        ("region", Value::Null, "default"),
        ("require_yes", json!(false), "default"),
        ("yes", json!(false), "default"),
    ] {
        assert!(rows.contains(&json!({"key": key, "value": value, "source": source})), "{key}: {all}");
    }
    let terminal = Place::with("", "").aaws("config show").on_terminal("").ok();
    assert!(terminal.stdout.contains("max_items") && !terminal.stdout.contains('{'), "a table: {terminal}");
}

#[test]
fn what_is_set_holds_for_a_run() {
    let bucket = Bucket::with(["a", "b", "c"]);
    let server = Proxy::to(moto::endpoint()).start();
    let place = Place::with("max_items = 5\nrequire_yes = true\n", "max_items = 1\n");
    let delete = |rest: &str| place.aaws(&format!("s3 delete_objects --bucket {bucket} {rest}")).endpoint(&server.url);
    delete("--objects a b --yes").run().exits(4).logs("more than 1 items");
    delete("--objects a").run().exits(4).logs("require_yes");
    assert_eq!(server.operations(), [""; 0]);
    delete("--objects a --yes").run().ok();
    delete("--objects b c").env("AAWS_MAX_ITEMS", "2").env("AAWS_REQUIRE_YES", "0").run().ok();
    assert_eq!(bucket.keys(), [""; 0]);
    // The account that a folder is for.
    let place = Place::with("", "account = \"999999999999\"\n");
    let list = |rest: &str| place.aaws(&format!("s3 discover_buckets {rest}")).endpoint(&server.url);
    list("").run().exits(4).logs("999999999999 only");
    list("--account 123456789012").run().ok();
}

#[test]
fn how_things_are_written_can_be_set() {
    let place = Place::with("output = \"yaml\"\nerror_format = \"json\"\n", "");
    let yaml = place.aaws("s3 discover_objects --bucket example-bucket").sandbox(place.folder.path()).run().ok();
    assert_eq!(yaml.stdout, "- examples/object1\n- examples/object2\n- logs/2024/a.txt\n- logs/2024/b.txt\n");
    for line in ["s3 discover_objects", "s3 discover_objects --buket b", "describe s3 nothing"] {
        let error = place.aaws(line).run().exits(2).stderr;
        let error: Value = serde_json::from_str(error.trim()).unwrap_or_else(|e| panic!("{line}: {e}: {error}"));
        assert_eq!(error["error"]["exit_code"], 2, "{line}");
    }
    place.aaws("s3 discover_objects --error_format text").run().exits(2).logs("error: ");
}

#[test]
fn tags_that_protect_add_up() {
    let place = Place::with("protect_tag = [\"a\"]\n", "\nprotect_tag = [\n  \"b=1\"\n]\n");
    let run = place.aaws("config show --protect_tag d").env("AAWS_PROTECT_TAG", r#"["c", "c=2"]"#);
    let (tags, source) = shown(run, "protect_tag");
    assert_eq!(tags, json!(["aaws:protect", "aaws:protect_until", "a", "b=1", "c", "c=2", "d"]));
    assert_eq!(source, format!("default, {}, ./aaws.toml:2, AAWS_PROTECT_TAG, --protect_tag", place.user(1)));
    // One element as it stands.
    let place = Place::with("", "");
    let one = place.aaws("config show").env("AAWS_PROTECT_TAG", "Env=prod, test");
    assert_eq!(shown(one, "protect_tag").0, json!(["aaws:protect", "aaws:protect_until", "Env=prod, test"]));
}

#[test]
fn the_environment_of_the_sdks_wins_over_files() {
    let place = Place::with("region = \"eu-west-1\"\nprofile = \"prod\"\n", "");
    let show = || place.aaws("config show");
    assert_eq!(shown(show(), "region"), (json!("us-east-1"), "AWS_REGION".into()));
    assert_eq!(shown(show().without("AWS_REGION"), "region"), (json!("eu-west-1"), place.user(1)));
    assert_eq!(shown(show().env("AAWS_REGION", "eu-north-1"), "region"), (json!("eu-north-1"), "AAWS_REGION".into()));
    // Keys in the environment are what a shell was left with on purpose: no file sends its commands to another account.
    assert_eq!(shown(show(), "profile"), (Value::Null, "AWS_ACCESS_KEY_ID".into()));
    assert_eq!(shown(show().stranger(), "profile"), (json!("prod"), place.user(2)));
    assert_eq!(shown(show().stranger().env("AWS_PROFILE", "dev"), "profile"), (json!("dev"), "AWS_PROFILE".into()));
    // So it is for a run.
    let region = |run: Aaws| run.run().ok().json()["Region"].clone();
    let whoami = || place.aaws("sts whoami").endpoint(moto::endpoint());
    if cfg!(feature = "sts") {
        assert_eq!(region(whoami()), "us-east-1");
        assert_eq!(region(whoami().without("AWS_REGION")), "eu-west-1");
    }
}

#[test]
fn a_bad_setting_is_told_with_its_file_and_line() {
    for (text, line, words) in [
        ("# guards\nmax_itens = 5\n", 2, "there is no setting `max_itens`"),
        ("max_items = \"5\"\n", 1, "`max_items` takes a whole number, not text"),
        ("\n\nmax_items = -1\n", 3, "`max_items` takes a whole number"),
        ("account = 123456789012\n", 1, "`account` takes text in quotes"),
        ("account = \"12\"\n", 1, "twelve digits"),
        ("require_yes = \"yes\"\n", 1, "`require_yes` takes true or false, not text"),
        ("protect_tag = \"x\"\n", 1, "`protect_tag` takes a list of texts, not text"),
        ("protect_tag = [\"=x\"]\n", 1, "names no tag"),
        ("max_percent = 101\n", 1, "from 0 to 100"),
        ("concurrency = 0\n", 1, "from 1 to 256"),
        ("output = \"pdf\"\n", 1, "`pdf` is none of json"),
        ("timeout = \"soon\"\n", 1, "is not a length of time"),
        ("[s3]\nmax_items = 1\n", 1, "there is no setting `s3`"),
        ("max_items = 1\nmax_items = 2\n", 2, "this is no TOML"),
        ("max_items = 1\nrequire_yes true\n", 2, "this is no TOML"),
        ("dry_run = true\n", 1, "there is no setting `dry_run`"),
    ] {
        let (user, folder) = (Place::with(text, ""), Place::with("", text));
        for command in ["config show", "s3 discover_buckets", "list"] {
            let user_says = user.aaws(command).run().exits(2).silent();
            assert!(user_says.stderr.starts_with(&format!("error: {}: ", user.user(line))), "{user_says}");
            user_says.logs(words);
            let folder_says = folder.aaws(command).run().exits(2).silent();
            assert!(folder_says.stderr.starts_with(&format!("error: ./aaws.toml:{line}: ")), "{folder_says}");
            folder_says.logs(words);
        }
    }
    Place::with("max_itens = 5\n", "").aaws("config show").run().exits(2).logs("did you mean `max_items`?");
}

#[test]
fn a_bad_variable_is_told_by_its_name() {
    for (variable, value) in
        [("AAWS_MAX_ITEMS", "five"), ("AAWS_REQUIRE_YES", "maybe"), ("AAWS_ACCOUNT", "12"), ("AAWS_PROTECT_TAG", "[1]")]
    {
        for command in ["config show", "s3 discover_buckets"] {
            Place::with("", "").aaws(command).env(variable, value).run().exits(2).silent().logs(variable);
        }
    }
}

#[test]
fn help_needs_no_settings() {
    let place = Place::with("", "no settings");
    for command in ["--help", "s3 delete_objects --help", "completions bash"] {
        place.aaws(command).run().ok();
    }
    // What is called aaws.toml and is no file is not passed over.
    let place = Place::with("", "");
    fs::create_dir(place.folder.path().join("aaws.toml")).expect("a folder");
    place.aaws("config show").run().exits(2).logs("aaws.toml");
}

#[test]
fn a_folder_cannot_choose_credentials_or_where_they_go_and_no_file_agrees() {
    let server = Proxy::to(moto::endpoint()).start();
    for line in [
        "profile = \"prod\"",
        "endpoint_url = \"http://127.0.0.1:1\"",
        "role_arn = [\"arn:aws:iam::222222222222:role/x\"]",
        "mfa_serial = \"arn:aws:iam::123456789012:mfa/me\"",
        "session_name = \"somebody\"",
    ] {
        let key = line.split(' ').next().unwrap_or_default();
        let run = Place::with("", line).aaws("s3 discover_buckets").endpoint(&server.url).run().exits(2).silent();
        run.logs(&format!("./aaws.toml:1: `{key}` cannot be set by the folder"));
        Place::with(line, "").aaws("config show").run().ok();
    }
    for line in ["yes = true", "sandbox = \"x\""] {
        for place in [Place::with(line, ""), Place::with("", line)] {
            place.aaws("s3 discover_buckets").endpoint(&server.url).run().exits(2).silent().logs("cannot be set in a file");
        }
    }
    assert_eq!(server.operations(), [""; 0]);
    assert_eq!(shown(Place::with("", "").aaws("config show").env("AAWS_YES", "1"), "yes"), (json!(true), "AAWS_YES".into()));
}

#[test]
fn the_users_file_is_the_users_wherever_the_program_runs() {
    let place = Place::with("profile = \"prod\"\n", "");
    let config = place.home.path().join(".config/aaws");
    let run = place.aaws("config show").stranger().within(&config);
    assert_eq!(shown(run, "profile"), (json!("prod"), place.user(1)));
    // Another place for it.
    let elsewhere = directory();
    fs::create_dir(elsewhere.path().join("aaws")).expect("a folder");
    fs::write(elsewhere.path().join("aaws/aaws.toml"), "max_items = 7\n").expect("settings");
    let file = elsewhere.path().join("aaws/aaws.toml");
    let run = place.aaws("config show").env("XDG_CONFIG_HOME", elsewhere.path());
    assert_eq!(shown(run, "max_items"), (json!(7), format!("{}:1", file.display())));
}

#[test]
fn nothing_secret_of_an_address_is_shown() {
    let place = Place::with("endpoint_url = \"http://user:hunter2@host/\"\n", "");
    let refused = place.aaws("config show").without("AWS_ENDPOINT_URL").endpoint("").run().exits(2).silent();
    assert!(!refused.stderr.contains("hunter2"), "{refused}");
    let place = Place::with("endpoint_url = \"http://host/?token=hunter2\"\n", "");
    assert_eq!(shown(place.aaws("config show").endpoint(""), "endpoint_url"), (json!("http://host"), place.user(1)));
}
