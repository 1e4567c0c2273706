//! What listings print of each thing goes into the lists of the actions that change such things: from the schemas of all that is registered.

use std::collections::BTreeSet;

use aaws::catalog::manifest::Manifest;
use aaws::catalog::registry;
use aaws::catalog::schema::{Param, ParamKind};
use aaws::{Entry, Error, Input};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Listings of what no action of their service changes by a list of it, and why.
const OF_THEIR_OWN: [(&str, &str); 10] = [
    ("cloudtrail/discover_access_key_events", "what has happened is not changed"),
    ("cloudtrail/discover_events", "what has happened is not changed"),
    ("cloudtrail/discover_resource_events", "what has happened is not changed"),
    ("cloudtrail/discover_user_events", "what has happened is not changed"),
    ("ec2/discover_active_regions", "a region is no resource"),
    ("iam/discover_admin_paths", "what to do about one is for a person to judge"),
    ("iam/discover_permissive_inline_policies", "what a policy should say is for a person to judge"),
    ("iam/discover_permissive_policies", "what a policy should say is for a person to judge"),
    ("iam/discover_trust_policies", "known by the finding, which is not what an action changes"),
    ("s3/discover_buckets", "no action changes buckets as such"),
];

/// The objects that a row may be.
fn objects(schema: &Value) -> Vec<&Map<String, Value>> {
    if let Some(members) = schema["properties"].as_object() {
        return vec![members];
    }
    ["anyOf", "oneOf"].into_iter().filter_map(|word| schema[word].as_array()).flatten().flat_map(objects).collect()
}

/// A value that fits a schema: nothing, where there may be nothing and that is wanted.
fn value(schema: &Value, nothing: bool) -> Value {
    let choices = ["anyOf", "oneOf"].into_iter().find_map(|word| schema[word].as_array());
    let kinds: Vec<&str> =
        schema["type"].as_str().into_iter().chain(schema["type"].as_array().into_iter().flatten().filter_map(Value::as_str)).collect();
    let is_null = |schema: &&Value| schema["type"] == "null";
    if nothing && (kinds.contains(&"null") || choices.is_some_and(|all| all.iter().any(|one| is_null(&one)))) {
        return Value::Null;
    }
    if let Some(only) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return only.clone();
    }
    if let Some(one) = choices.into_iter().flatten().find(|one| !is_null(one)) {
        return value(one, nothing);
    }
    match kinds.into_iter().find(|kind| *kind != "null") {
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!("x"),
    }
}

/// What an action says of a list of one row. That other inputs are missing is not asked.
fn said(entry: &Entry, list: &str, row: &Map<String, Value>) -> Vec<String> {
    let input = Input::from(Map::from_iter([(list.to_owned(), json!([row]))]));
    match entry.parse(input, Timestamp::UNIX_EPOCH) {
        Err(Error::Input(mistakes)) => {
            let of_list = |field: &str| field == list || field.strip_prefix(list).is_some_and(|rest| rest.starts_with(['.', '[']));
            let all = mistakes.into_all().into_iter();
            all.filter(|mistake| mistake.field.as_deref().is_some_and(of_list)).map(|mistake| mistake.message).collect()
        }
        Err(other) => vec![other.to_string()],
        Ok(_) => Vec::new(),
    }
}

#[test]
fn all_that_a_listing_prints_of_a_thing_goes_into_the_lists_that_take_its_name() {
    let (mut wrong, mut taken) = (Vec::new(), BTreeSet::new());
    let manifests: Vec<(&Entry, Manifest)> = registry::actions().iter().map(|entry| (*entry, Manifest::of(entry))).collect();
    for listing in registry::actions().iter().filter(|entry| entry.is_listing()) {
        let rows = listing.row_schema().unwrap_or_default();
        for members in objects(&rows) {
            let known: Vec<&str> = listing.identity.iter().copied().filter(|name| members.contains_key(*name)).collect();
            let row = |only: bool, nothing: bool| -> Map<String, Value> {
                let wanted = members.iter().filter(|(name, _)| !only || known.contains(&name.as_str()));
                wanted.map(|(name, schema)| (name.clone(), value(schema, nothing && !known.contains(&name.as_str())))).collect()
            };
            let others = manifests.iter().filter(|(entry, m)| m.effect.changes() && entry.meta.service() == listing.meta.service());
            let lists = others.flat_map(|(entry, m)| m.params.iter().map(move |param| (*entry, param)));
            let is_list = |param: &Param| matches!(param.kind, ParamKind::List { .. });
            for (entry, param) in lists.filter(|(_, param)| is_list(param)) {
                // A list that takes what a thing is known by is one of such things.
                if !said(entry, &param.name, &row(true, false)).is_empty() {
                    continue;
                }
                taken.insert(listing.meta.path);
                for nothing in [false, true] {
                    let said = said(entry, &param.name, &row(false, nothing));
                    wrong.extend(said.into_iter().map(|what| format!("{} into {}: {what}", listing.meta.path, entry.meta.path)));
                }
            }
        }
    }
    for listing in registry::actions().iter().filter(|entry| entry.is_listing()) {
        let path = listing.meta.path;
        let own = OF_THEIR_OWN.iter().any(|(name, _)| *name == path);
        if taken.contains(path) == own && !objects(&listing.row_schema().unwrap_or_default()).is_empty() {
            wrong.push(format!("{path}: goes into a list: {}, and is said here to go into none: {own}", taken.contains(path)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
