//! What holds for every action that is registered: one loop over all, every failure collected, one assertion.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use aaws::Effect;
use aaws::Input;
use aaws::catalog::manifest::Manifest;
use aaws::catalog::registry;
use aaws::catalog::schema::{Param, ParamKind};
use aaws::{Access, When};
use serde_json::{Value, json};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The services, and whether this program was built with them.
const SERVICES: [(&str, bool); 7] = [
    ("backup", cfg!(feature = "backup")),
    ("cloudtrail", cfg!(feature = "cloudtrail")),
    ("ec2", cfg!(feature = "ec2")),
    ("general", cfg!(feature = "general")),
    ("iam", cfg!(feature = "iam")),
    ("s3", cfg!(feature = "s3")),
    ("sts", cfg!(feature = "sts")),
];

/// Collects what is wrong, to show all of it at once.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn when(&mut self, wrong: bool, path: &str, what: impl Into<String>) {
        if wrong {
            self.0.push(format!("{path}: {}", what.into()));
        }
    }

    #[track_caller]
    fn none(self) {
        assert!(self.0.is_empty(), "{} wrong:\n{}", self.0.len(), self.0.join("\n"));
    }
}

fn manifests() -> Vec<Manifest> {
    registry::actions().iter().map(|e| Manifest::of(e)).collect()
}

/// IAM's own list: access level, resource types and ARN patterns of each action.
fn iam_actions() -> BTreeMap<String, Value> {
    serde_json::from_str(include_str!("../data/iam_actions.json")).expect("the IAM actions are JSON")
}

#[test]
fn every_action_is_where_its_path_says_and_none_is_forgotten() {
    let mut wrong = Wrong::default();
    let sources: Vec<_> = registry::actions().iter().map(|e| e.source()).collect();
    for entry in registry::actions() {
        let path = entry.meta.path;
        wrong.when(entry.source() != format!("actions/{path}.rs"), path, format!("is in {}", entry.source()));
        let named = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        wrong.when(!named(entry.meta.service()) || !named(entry.meta.name()), path, "is not service/snake_case");
        wrong.when(path.len() > 64, path, "is longer than the 64 characters that tool names may have");
    }
    // A file that implements an action but is not listed in its service's mod.rs, or not registered, is an action nobody can run.
    for service in registry::services() {
        for file in fs::read_dir(Path::new(ROOT).join("actions").join(service)).expect("a service's folder").flatten() {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            let name = format!("actions/{service}/{}", file.file_name().to_string_lossy());
            wrong.when(text.contains("impl Action for") && !sources.contains(&name.as_str()), &name, "is not registered");
        }
    }
    let built = SERVICES.iter().filter(|(_, built)| *built).map(|(service, _)| *service);
    assert_eq!(registry::services(), built.collect::<Vec<_>>());
    assert_eq!(registry::duplicates(), [""; 0]);
    wrong.none();
}

#[test]
fn everything_is_described() {
    let mut wrong = Wrong::default();
    for m in manifests() {
        let first = m.summary.chars().next().unwrap_or(' ');
        wrong.when(
            !first.is_uppercase() || !m.summary.ends_with('.') || m.summary.contains(". "),
            m.path,
            "the summary is not one sentence",
        );
        described(&mut wrong, m.path, &m.params);
        described_output(&mut wrong, m.path, "output", &m.output);
        wrong.when(m.examples.is_empty(), m.path, "has no example");
        wrong.when(m.input.get("additionalProperties") != Some(&Value::Bool(false)), m.path, "takes unknown fields: deny_unknown_fields");
    }
    wrong.none();
}

fn described(wrong: &mut Wrong, path: &str, params: &[Param]) {
    for param in params {
        wrong.when(param.description.is_empty(), path, format!("`{}` is not described", param.name));
        let choices = param.kind.choices();
        let told = choices.iter().filter(|c| c.description.is_some()).count();
        wrong.when(told != 0 && told != choices.len(), path, format!("some choices of `{}` are described and some not", param.name));
        match &param.kind {
            ParamKind::Object(members) => described(wrong, path, members),
            ParamKind::List { of, .. } => {
                if let ParamKind::Object(members) = &**of {
                    described(wrong, path, members);
                }
            }
            _ => {}
        }
    }
}

/// Every member of every object of an output.
fn described_output(wrong: &mut Wrong, path: &str, place: &str, schema: &Value) {
    for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        wrong.when(member.get("description").is_none(), path, format!("`{place}.{name}` is not described"));
        described_output(wrong, path, &format!("{place}.{name}"), member);
    }
    for inner in ["items", "anyOf", "oneOf"] {
        match schema.get(inner) {
            Some(Value::Array(all)) => all.iter().for_each(|s| described_output(wrong, path, place, s)),
            Some(one) => described_output(wrong, path, place, one),
            None => {}
        }
    }
}

#[test]
fn examples_fit_their_schemas_and_rules_name_inputs() {
    let mut wrong = Wrong::default();
    for (entry, m) in registry::actions().iter().zip(manifests()) {
        let names: Vec<_> = m.params.iter().map(|p| p.name.as_str()).collect();
        for name in m.rules.iter().flat_map(|r| r.inputs()) {
            wrong.when(!names.contains(&name), m.path, format!("a rule speaks of `{name}`, which is no input"));
        }
        for example in m.examples {
            wrong.when(example.title.ends_with('.'), m.path, "an example's title ends with a full stop");
            let parsed = Input::from_json(example.input).and_then(|input| entry.parse(input, jiff::Timestamp::now()).map(drop));
            wrong.when(parsed.is_err(), m.path, format!("{}: {:?}", example.title, parsed.err()));
            let input: Value = serde_json::from_str(example.input).unwrap_or_default();
            let output: Value =
                serde_json::from_str(example.output).unwrap_or_else(|e| panic!("{}: an output that is not JSON: {e}", m.path));
            for (what, schema, value) in [("input", &m.input, &input), ("output", &m.output, &output)] {
                let valid = jsonschema::validator_for(schema).expect("a schema");
                let problems: Vec<_> = valid.iter_errors(value).map(|e| e.to_string()).collect();
                wrong.when(!problems.is_empty(), m.path, format!("{}: the {what} breaks its schema: {problems:?}", example.title));
            }
        }
    }
    wrong.none();
}

/// The objects that a list may hold as its rows; what is printed in place of the list has none.
fn rows(output: &Value) -> Vec<&Value> {
    let lists = [output].into_iter().chain(output["anyOf"].as_array().into_iter().flatten());
    lists.filter_map(|list| list.get("items")).flat_map(objects).collect()
}

/// The objects that a value may be.
fn objects(schema: &Value) -> Vec<&Value> {
    if schema.get("properties").is_some() {
        return vec![schema];
    }
    let choices = ["anyOf", "oneOf"].into_iter().filter_map(|word| schema.get(word)?.as_array()).flatten();
    choices.flat_map(objects).collect()
}

#[test]
fn rows_with_details_are_known_again_by_members_that_they_have() {
    let mut wrong = Wrong::default();
    for (entry, m) in registry::actions().iter().zip(manifests()) {
        let rows = rows(&m.output);
        let has = |row: &Value, member: &str| row["properties"].get(member).is_some();
        for member in entry.identity {
            wrong.when(!rows.iter().any(|row| has(row, member)), m.path, format!("no row has the member `{member}` of its IDENTITY"));
        }
        // One that had none of them would be the same as every other.
        let known = |row: &&Value| entry.identity.iter().any(|member| has(row, member));
        let listed = m.effect == Effect::Read && m.action.starts_with("discover_");
        wrong.when(listed && !rows.iter().all(known), m.path, "has rows of objects, and no IDENTITY that knows each of them again");
    }
    wrong.none();
}

#[test]
fn what_an_overview_asks_can_be_asked_and_what_mends_it_can_read_it() {
    let mut wrong = Wrong::default();
    let manifests = manifests();
    for (entry, m) in registry::actions().iter().zip(&manifests) {
        for check in entry.overview {
            wrong.when(m.effect != Effect::Read, m.path, format!("an overview asks \"{}\" by what does not only look", check.title));
            wrong.when(
                check.title.is_empty() || check.title.ends_with('.'),
                m.path,
                "the title of a check is none, or ends with a full stop",
            );
            let parsed = Input::from_json(check.input).and_then(|input| entry.parse(input, jiff::Timestamp::now()).map(drop));
            wrong.when(parsed.is_err(), m.path, format!("{}: {:?}", check.title, parsed.err()));
            let is_there = |member: &str| rows(&m.output).iter().any(|row| row["properties"].get(member).is_some());
            let since = check.since.filter(|member| !is_there(member));
            wrong.when(since.is_some(), m.path, format!("{}: no row has `{}`", check.title, since.unwrap_or_default()));
            for why in check.mend.into_iter().flat_map(|mend| unlike_a_mend(mend, &manifests)) {
                wrong.when(true, m.path, format!("{}: {why}", check.title));
            }
        }
    }
    wrong.none();
}

/// What keeps a line from mending what is piped into it: `ec2 delete_volumes --volume_ids - --snapshot`.
fn unlike_a_mend(line: &str, manifests: &[Manifest]) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [service, action, rest @ ..] = words.as_slice() else { return vec![format!("`{line}` names no action")] };
    // What a program was built without it cannot look at.
    if SERVICES.contains(&(*service, false)) {
        return Vec::new();
    }
    let Some(m) = manifests.iter().find(|m| m.service == *service && m.action == *action) else {
        return vec![format!("there is no action `{service} {action}`")];
    };
    let input = |flag: &str| m.params.iter().find(|param| flag.strip_prefix("--") == Some(param.name.as_str()));
    let unknown = rest.iter().filter(|word| word.starts_with("--") && input(word).is_none());
    let mut why: Vec<_> = unknown.map(|flag| format!("`{service} {action}` has no input `{flag}`")).collect();
    let piped: Vec<_> = rest.windows(2).filter(|pair| pair[1] == "-").map(|pair| input(pair[0])).collect();
    let reads = matches!(piped.as_slice(), [Some(param)] if matches!(param.kind, ParamKind::List { .. }));
    if !reads {
        why.push(format!("`{line}` does not read one list from the pipe: `--volume_ids -`"));
    }
    if !m.effect.changes() {
        why.push(format!("`{service} {action}` changes nothing"));
    }
    why
}

#[test]
fn an_input_that_need_not_be_given_shows_what_it_is_then() {
    let mut wrong = Wrong::default();
    manifests().iter().for_each(|m| shown_defaults(&mut wrong, m.path, "", &m.input));
    wrong.none();
}

/// What is neither required nor may be absent (`Option`) has a default, and schemars shows that only where its type is `Serialize`.
fn shown_defaults(wrong: &mut Wrong, path: &str, place: &str, schema: &Value) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let kinds = [&member["type"]].into_iter().chain(member["anyOf"].as_array().into_iter().flatten().map(|s| &s["type"]));
        let optional = kinds.into_iter().any(|kind| kind == "null" || kind.as_array().is_some_and(|all| all.contains(&json!("null"))));
        let shown = required.contains(&name.as_str()) || optional || member.get("default").is_some();
        wrong.when(!shown, path, format!("the default of `{place}{name}` shows nowhere: make its type `Serialize`"));
        shown_defaults(wrong, path, &format!("{place}{name}."), member);
        shown_defaults(wrong, path, &format!("{place}{name}."), &member["items"]);
    }
}

#[test]
fn an_input_that_is_written_in_rust_is_public_and_has_the_defaults_of_its_json() {
    let mut wrong = Wrong::default();
    for (entry, m) in registry::actions().iter().zip(manifests()).filter(|(entry, _)| entry.has_default()) {
        let text = fs::read_to_string(Path::new(ROOT).join(entry.source())).unwrap_or_default();
        let name = aaws::docs::rust::short(m.input_type);
        let Some((before, after)) = text.split_once(&format!("pub struct {name} {{")) else {
            wrong.when(!m.params.is_empty(), m.path, format!("`{name}` is not public"));
            continue;
        };
        let fields = after.split_once("\n}").map_or(after, |(fields, _)| fields);
        for param in &m.params {
            let field = [format!("pub {}:", param.name), format!("pub r#{}:", param.name)];
            wrong.when(!field.iter().any(|f| fields.contains(f)), m.path, format!("`{}` is not public", param.name));
        }
        let derived = before.rsplit("#[derive(").next().is_some_and(|list| list.split(")]").next().unwrap_or_default().contains("Default"));
        let other = fields.contains("#[serde(default = ");
        wrong.when(derived && other, m.path, "derives `Default`, and its JSON has other defaults: write `impl Default`");
    }
    wrong.none();
}

#[test]
fn flags_are_unlike_each_other() {
    const COMMON: &[&str] = &["input", "output", "query", "debug", "silent", "error_format", "help"];
    let mut wrong = Wrong::default();
    for m in manifests() {
        let mut names: Vec<String> = Vec::new();
        for param in &m.params {
            names.push(param.name.clone());
            if let ParamKind::List { of, .. } = &param.kind
                && matches!(**of, ParamKind::Object(_))
            {
                names.extend(aaws::catalog::schema::singular(&param.name));
            }
        }
        for (index, name) in names.iter().enumerate() {
            wrong.when(names[..index].contains(name), m.path, format!("two flags are called `{name}`"));
            wrong.when(COMMON.contains(&name.as_str()), m.path, format!("`{name}` is a flag of all commands"));
        }
    }
    wrong.none();
}

/// IAM actions that are asked for of everything, though a policy may name what some calls of theirs are about: that is none of what is asked for here.
const OF_EVERYTHING: [&str; 1] = [
    // Datasets hold telemetry that an account brings. The metrics that AWS's services send are in none.
    "cloudwatch:GetMetricData",
];

#[test]
fn permissions_exist_and_fit_what_they_apply_to() {
    let known = iam_actions();
    let mut wrong = Wrong::default();
    for m in manifests() {
        let inputs: Vec<_> = m.params.iter().map(|p| p.name.as_str()).collect();
        let is_input = |name: &str| inputs.contains(&name.trim_end_matches('/').split('.').next().unwrap_or_default());
        for call in m.calls {
            let writes = call.access == Access::Write;
            wrong.when(writes && !m.effect.changes(), m.path, format!("only looks, and declares the write {}", call.name));
            wrong.when(call.name.split_once(':').is_none(), m.path, format!("{} names no service", call.name));
            for grant in call.grants {
                let Some(fact) = known.get(grant.action) else {
                    wrong.when(true, m.path, format!("{}: IAM knows no {}", call.name, grant.action));
                    continue;
                };
                let patterns: Vec<_> = fact["resources"].as_array().into_iter().flatten().filter_map(|r| r["arn"].as_str()).collect();
                for resource in grant.resources {
                    let fits = *resource == "*" || patterns.iter().any(|p| fits(p, resource));
                    wrong.when(!fits, m.path, format!("{} does not apply to {resource}; IAM says {patterns:?}", grant.action));
                    let could_be_scoped = *resource == "*" && !patterns.is_empty() && !OF_EVERYTHING.contains(&grant.action);
                    wrong.when(could_be_scoped, m.path, format!("{} could be scoped: {patterns:?}", grant.action));
                    for name in aaws::catalog::policy::names(resource) {
                        let context = ["Partition", "Region", "Account"].contains(&name);
                        wrong.when(!context && !is_input(name), m.path, format!("{resource} speaks of `{name}`, which is no input"));
                    }
                }
            }
            let conditions = [call.when].into_iter().chain(call.grants.iter().map(|g| g.when));
            for when in conditions {
                let names = match when {
                    When::With(names) | When::Without(names) => names.to_vec(),
                    When::Is(name, _) => vec![name],
                    When::Always | When::Likely(_) | When::Rare(_) => Vec::new(),
                };
                names.iter().for_each(|n| wrong.when(!is_input(n), m.path, format!("{}: `{n}` is no input", call.name)));
            }
        }
        wrong.when(m.effect == Effect::Read && m.calls.is_empty(), m.path, "looks at AWS and declares no call");
    }
    wrong.none();
}

/// Whether our template is of IAM's pattern: the same service, and the same kind of resource.
fn fits(pattern: &str, template: &str) -> bool {
    // An input that is an ARN itself.
    if template.starts_with("${") && template.ends_with('}') && aaws::catalog::policy::names(template).len() == 1 {
        return true;
    }
    let split = |arn: &str| arn.splitn(6, ':').map(str::to_owned).collect::<Vec<_>>();
    let (pattern, template) = (split(pattern), split(template));
    if pattern.len() != 6 || template.len() != 6 || pattern[2] != template[2] {
        return false;
    }
    // A global service's ARN has no region, and some have no account: what IAM leaves out must be left out.
    let same_blank = |at: usize| pattern[at].is_empty() == template[at].is_empty();
    // `role/${Name}` is not `user/${Name}`: what stands before the first variable has to agree, as far as both say.
    let head = |resource: &str| resource.split("${").next().unwrap_or_default().trim_end_matches('*').to_owned();
    let (p, t) = (head(&pattern[5]), head(&template[5]));
    same_blank(3)
        && same_blank(4)
        && (t.starts_with(&p) || (p.starts_with(&t) && !t.is_empty()))
        && pattern[5].contains('/') == template[5].contains('/')
}

#[test]
fn policies_are_ready_to_use() {
    for entry in registry::actions().iter().filter(|e| !e.meta.calls.is_empty()) {
        let policy = |all: bool| {
            let scope = aaws::catalog::policy::Scope { all, ..Default::default() };
            serde_json::to_value(aaws::catalog::policy::Policy::of(&[entry], &scope)).expect("JSON")
        };
        for policy in [policy(false), policy(true)] {
            assert_eq!(policy["Version"], "2012-10-17");
            for statement in policy["Statement"].as_array().expect("statements") {
                assert_eq!(statement["Effect"], "Allow");
                for resource in statement["Resource"].as_array().expect("resources") {
                    let resource = resource.as_str().expect("text");
                    assert!(!resource.contains("${") || resource.contains("${*}"), "{}: {resource} is not filled", entry.meta.path);
                }
            }
        }
        // A policy of no statements is none that IAM takes: there is one only where the inputs tell what is needed.
        let special = entry.meta.calls.iter().any(|c| matches!(c.when, When::Rare(_)) && !c.grants.is_empty());
        assert!(policy(false)["Statement"] != json!([]) || !special, "{}", entry.meta.path);
    }
}

#[test]
fn the_pages_in_docs_are_those_of_this_program() {
    let stale = aaws::docs::compare(&Path::new(ROOT).join("docs")).expect("the pages are readable");
    let stale: Vec<_> = stale.iter().map(ToString::to_string).collect();
    assert!(stale.is_empty(), "{}\n`cargo run -- docs markdown` mends this", stale.join("\n"));
}

#[test]
fn the_pages_in_docs_are_of_the_services_that_there_are() {
    let folders = |path: &str| {
        let folders = fs::read_dir(Path::new(ROOT).join(path)).expect("a folder").flatten().filter(|entry| entry.path().is_dir());
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<BTreeSet<_>>()
    };
    let services = folders("actions");
    assert_eq!(services, SERVICES.iter().map(|(service, _)| (*service).to_owned()).collect::<BTreeSet<_>>());
    // A program leaves alone what it does not know, so the pages of a service that is gone have to be removed by hand.
    assert_eq!((folders("docs/actions"), folders("docs/permissions")), (services.clone(), services));
}

#[test]
fn pages_of_services_that_a_program_was_built_without_are_left_alone() {
    let folder = crate::support::directory();
    let docs = folder.path();
    let row = "| zebra | [`stripe`](zebra/stripe.md) | <span class=\"effect read\">read</span> | Find stripes. |";
    let gone = "| zebra | [`gone`](zebra/gone.md) | <span class=\"effect read\">read</span> | Its page is not there. |";
    for tree in ["actions", "permissions"] {
        fs::create_dir_all(docs.join(tree).join("zebra")).expect("a folder");
        for page in ["zebra/index.md", "zebra/stripe.md"] {
            fs::write(docs.join(tree).join(page), "kept").expect("a page");
        }
        fs::write(docs.join(tree).join("index.md"), format!("{row}\n{gone}\n")).expect("an index");
    }
    for service in registry::services() {
        fs::create_dir_all(docs.join("actions").join(service)).expect("a folder");
        fs::write(docs.join("actions").join(service).join("no_such_action.md"), "an action that is gone").expect("a page");
    }
    aaws::docs::write(docs).expect("the pages are written");
    let stale = aaws::docs::compare(docs).expect("the pages are readable");
    assert!(stale.is_empty(), "what was written is current: {stale:?}");
    for tree in ["actions", "permissions"] {
        let read = |page: &str| fs::read_to_string(docs.join(tree).join(page)).unwrap_or_default();
        assert_eq!((read("zebra/index.md"), read("zebra/stripe.md")), ("kept".into(), "kept".into()));
        let index = read("index.md");
        assert!(index.contains(row) && !index.contains(gone), "{index}");
        let missing: Vec<_> =
            registry::actions().iter().map(|e| e.meta.path).filter(|path| !index.contains(&format!("({path}.md)"))).collect();
        assert_eq!(missing, [""; 0]);
    }
    for service in registry::services() {
        assert!(!docs.join("actions").join(service).join("no_such_action.md").exists(), "the page of an action that is gone is removed");
    }
}

#[test]
fn no_code_is_unsafe_and_what_builds_the_program_is_pinned() {
    let mut wrong = Wrong::default();
    let read = |path: &str| fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    for root in ["src/lib.rs", "src/main.rs"] {
        wrong.when(!read(root).lines().any(|line| line == "#![forbid(unsafe_code)]"), root, "does not forbid unsafe code");
    }
    // Commands that would otherwise take newer dependencies than those that were tested.
    let resolves = |line: &str| ["build", "clippy", "run", "test"].iter().any(|command| line.contains(&format!("cargo {command} ")));
    let scripts = [".ci/run".to_owned()].into_iter().chain(workflows());
    let scripts: Vec<String> = scripts.collect();
    for script in &scripts {
        let text = read(script);
        for line in text.lines().map(|line| format!("{} ", line.trim())).filter(|line| !line.starts_with('#') && resolves(line)) {
            wrong.when(!line.contains(" --locked "), script, format!("`{line}` goes without --locked"));
        }
        for action in text.lines().filter_map(|line| line.split_once("uses: ")).map(|(_, action)| action) {
            let commit = action.split_once('@').and_then(|(_, version)| version.split_whitespace().next()).unwrap_or_default();
            let pinned = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            wrong.when(!pinned, script, format!("`{action}` is not pinned by its commit"));
        }
    }
    assert!(scripts.len() > 1, "there is a workflow");
    wrong.none();
}

/// The workflows, by their paths in the repository.
fn workflows() -> Vec<String> {
    let files = fs::read_dir(Path::new(ROOT).join(".github/workflows")).expect("the workflows").flatten();
    files.map(|file| format!(".github/workflows/{}", file.file_name().to_string_lossy())).collect()
}

/// The Rust files below a folder of the repository, by their paths in it.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(Path::new(ROOT).join(folder)).expect("a folder").flatten() {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(sources(&path));
        } else if path.ends_with(".rs") {
            found.insert(path, fs::read_to_string(entry.path()).expect("a source file"));
        }
    }
    found
}

/// What makes a client, or is one's to make it of.
const MAKES_A_CLIENT: [&str; 6] = ["from_conf(", "Client::new(", "sdk_config(", "SdkConfig", "__private", "http_client("];

/// Who has the credentials in hand, and what for. None of them sends anything with them.
const HAVE_CREDENTIALS: [(&str, &str); 4] = [
    ("actions/ec2/presign.rs", "signs an address that EC2 itself fetches a snapshot from"),
    ("actions/iam/modify_access_keys.rs", "spares the key that it runs with, which it knows by its id"),
    ("actions/sts/create_session.rs", "prints them: that is what it is for"),
    ("actions/sts/whoami.rs", "says when they expire"),
];

#[test]
fn no_action_makes_a_client_behind_the_guards_back() {
    let mut wrong = Wrong::default();
    let sources = sources("actions");
    // Unit tests in files of their own talk to nothing but what they answer themselves.
    for (path, text) in sources.iter().filter(|(path, _)| !path.ends_with("/tests.rs")) {
        for made in MAKES_A_CLIENT.iter().filter(|made| text.contains(**made)) {
            wrong.when(true, path, format!("`{made}`: a client is made by aaws::client!"));
        }
        let known = HAVE_CREDENTIALS.iter().any(|(who, _)| who == path);
        let has = text.contains(".credentials(");
        wrong.when(has != known, path, format!("has credentials in hand: {has}, and is listed here: {known}"));
    }
    assert!(sources.contains_key("actions/s3/sandbox/service.rs"), "folders in a service's folder are looked through, too");
    wrong.none();
}
