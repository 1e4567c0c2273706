use std::collections::{BTreeMap, HashMap, HashSet};

use aaws::{
    Action, Call, Change, Context, Doing, Effect, Error, Example, FailedItems, Failure, Grant, Items, Meta, Outcome, Result, Rule, When,
    async_trait,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Tag;
use futures::stream::{self, TryStreamExt};
use schemars::JsonSchema;
use serde::Deserialize;

use super::find;
use super::tags::{self, Wanted};

/// How many resources one request names. EC2 takes 1,000, and advises smaller ones (EC2 API reference, CreateTags).
const BATCH: usize = 200;

/// The longest key and value, in characters (EC2 user guide, "Tag restrictions").
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;

/// What stands for the id of each resource.
const PLACE: &str = "{resource_id}";

/// More resources than this that one answer names are not tried one by one.
const MOST_NAMED: usize = 8;

/// Add tags to EC2 resources, or remove them.
///
/// The tags that the resources have are looked at first: those that are as asked already are unchanged. Up to 200 resources go into a request. EC2
/// refuses a whole request for one id that does not exist; the others are then sent without it, so that one bad id never sinks them. The ids of the
/// resources that failed are printed, in the order given.
///
/// With `create` a tag `Key` gets the empty value. With `delete` the tag `Key` is removed whatever its value, `Key=Value` only if it has that value.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModifyTags {
    /// Resources to change, by their ids. An empty list changes nothing.
    resource_ids: Items<String>,
    /// Tags: `Key` or `Key=Value`, split at the first `=`.
    tags: Vec<Wanted>,
    /// Add the tags, or give them these values.
    #[serde(default)]
    create: bool,
    /// Remove the tags.
    #[serde(default)]
    delete: bool,
    /// Put each resource's own id in the place of `{resource_id}` in keys and values.
    #[serde(default)]
    dynamic_tags: bool,
}

/// What can be tagged here, of the kinds that `discover_tags` knows.
const RESOURCES: &[&str] = &[
    "arn:${Partition}:ec2:${Region}::image/${resource_ids}",
    "arn:${Partition}:ec2:${Region}::snapshot/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:instance/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:internet-gateway/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:key-pair/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:network-acl/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:route-table/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:security-group/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:subnet/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:volume/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:vpc/${resource_ids}",
];

#[async_trait]
impl Action for ModifyTags {
    const META: Meta = Meta {
        path: "ec2/modify_tags",
        effect: Effect::Modify,
        calls: &[
            Call::read("ec2:DescribeTags", &[Grant::new("ec2:DescribeTags", &["*"])]),
            Call::write("ec2:CreateTags", &[Grant::new("ec2:CreateTags", RESOURCES)]).when(When::With(&["create"])),
            Call::write("ec2:DeleteTags", &[Grant::new("ec2:DeleteTags", RESOURCES)]).when(When::With(&["delete"])),
        ],
        rules: &[Rule::AtMostOne(&["create", "delete"]), Rule::AtLeastOne(&["create", "delete"])],
        examples: &[
            Example {
                title: "Tag a volume and an instance",
                input: r#"{"resource_ids": ["vol-0123456789abcdef0", "i-0123456789abcdef0"], "tags": ["Env=prod", "Owner=me"], "create": true}"#,
                output: "[]",
                given: &["volume vol-0123456789abcdef0", "instance i-0123456789abcdef0"],
            },
            Example {
                title: "Name each volume after its id",
                input: r#"{"resource_ids": ["vol-0123456789abcdef0", "vol-0fedcba9876543210"], "tags": ["Name=data-{resource_id}"], "create": true, "dynamic_tags": true}"#,
                output: "[]",
                given: &["volume vol-0123456789abcdef0", "volume vol-0fedcba9876543210"],
            },
            Example {
                title: "Remove the tag `Env` where it is `test`",
                input: r#"{"resource_ids": ["vol-0123456789abcdef0", "vol-0fedcba9876543210"], "tags": ["Env=test"], "delete": true}"#,
                output: "[]",
                given: &["volume vol-0123456789abcdef0 Env=test", "volume vol-0fedcba9876543210 Env=prod"],
            },
        ],
        notes: &[
            "A resource has at most 50 tags; one that would get more fails, and the others do not.",
            "Keys that begin with `aws:` are AWS's own, in whatever case: they can be neither set nor removed.",
            "A resource that does not exist has no tags: to remove some from it changes nothing, and EC2 does not tell the two apart.",
            "Key pairs are named by their ids (`key-…`).",
        ],
    };

    type Output = FailedItems;

    async fn run(self, cx: &Context) -> Result<FailedItems> {
        self.check()?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let ids: Vec<String> = self.resource_ids.stream().try_collect().await?;
        let present = find::unless_stopped(cx, present(&ec2, &ids)).await?;
        // The rules leave exactly one of them.
        let wish = if self.delete && !self.create { Wish::Delete } else { Wish::Create };
        let mut seen = HashSet::new();
        let item = |id: String| {
            let tags: Vec<Wanted> =
                if self.dynamic_tags { self.tags.iter().map(|t| of_resource(t, &id)).collect() } else { self.tags.clone() };
            let has = present.get(&id).cloned().unwrap_or_default();
            let repeated = !seen.insert(id.clone());
            Ok(Item { id, tags, has, repeated })
        };
        let items: Vec<Result<Item>> = ids.into_iter().map(item).collect();
        let modify = Modify { ec2, wish, dynamic: self.dynamic_tags };
        Ok(cx.change(stream::iter(items), modify).await?.failed())
    }
}

aaws::register!(ModifyTags);

impl ModifyTags {
    /// What EC2 would refuse, or worse: a request to remove no tags removes all.
    fn check(&self) -> Result<()> {
        let wrong = |why: String| Err(Error::field("tags", why));
        if self.tags.is_empty() {
            return wrong("`tags` is an empty list: name at least one tag".into());
        }
        let mut keys = HashSet::new();
        for tag in &self.tags {
            if tags::is_reserved(&tag.key) {
                return wrong(format!("`tags`: `{}` begins with `aws:`, which is AWS's own", tag.key));
            }
            if tag.key.chars().count() > LONGEST_KEY || tag.value.as_ref().is_some_and(|v| v.chars().count() > LONGEST_VALUE) {
                return wrong(format!(
                    "`tags`: `{tag}` is longer than the {LONGEST_KEY} characters of a key or the {LONGEST_VALUE} of a value"
                ));
            }
            if !keys.insert(tag.key.as_str()) {
                return wrong(format!("`tags` names the key `{}` twice", tag.key));
            }
        }
        Ok(())
    }
}

/// A tag with the resource's id in its places.
fn of_resource(tag: &Wanted, id: &str) -> Wanted {
    Wanted { key: tag.key.replace(PLACE, id), value: tag.value.as_ref().map(|v| v.replace(PLACE, id)) }
}

/// The tags that the resources have, by their ids.
async fn present(ec2: &Client, ids: &[String]) -> Result<HashMap<String, BTreeMap<String, String>>> {
    let mut present: HashMap<String, BTreeMap<String, String>> = HashMap::new();
    for some in ids.chunks(find::MOST_VALUES) {
        let items = ec2.describe_tags().filters(find::filter("resource-id", some)).into_paginator().items().send();
        let tags: Vec<_> = items.try_collect().await.doing(|| "list the tags of the resources")?;
        for tag in tags {
            if let (Some(id), Some(key)) = (tag.resource_id, tag.key) {
                present.entry(id).or_default().insert(key, tag.value.unwrap_or_default());
            }
        }
    }
    Ok(present)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Create,
    Delete,
}

struct Item {
    id: String,
    tags: Vec<Wanted>,
    /// The tags that it has.
    has: BTreeMap<String, String>,
    repeated: bool,
}

impl Item {
    /// Whether a tag is as wished already.
    fn is_so(&self, tag: &Wanted, wish: Wish) -> bool {
        let has = self.has.get(&tag.key);
        match wish {
            Wish::Create => has.map(String::as_str) == Some(tag.value.as_deref().unwrap_or_default()),
            Wish::Delete => has.is_none_or(|has| tag.value.as_ref().is_some_and(|v| v != has)),
        }
    }
}

struct Modify {
    ec2: Client,
    wish: Wish,
    dynamic: bool,
}

#[async_trait]
impl Change for Modify {
    type Item = Item;
    type Done = ();

    fn id(&self, item: &Item) -> String {
        item.id.clone()
    }

    fn summary(&self) -> String {
        match self.wish {
            Wish::Create => "tag".into(),
            Wish::Delete => "remove tags from".into(),
        }
    }

    fn plan(&self, item: &Item) -> Option<String> {
        let changed = item.tags.iter().filter(|t| !item.is_so(t, self.wish));
        let told = changed.map(|tag| match (self.wish, item.has.get(&tag.key)) {
            (Wish::Create, Some(now)) => format!("{} would be {} (now {now})", tag.key, tag.value.as_deref().unwrap_or("empty")),
            (Wish::Create, None) => format!("{} would be {}", tag.key, tag.value.as_deref().unwrap_or("empty")),
            (Wish::Delete, now) => format!("{} would be removed (now {})", tag.key, now.map_or("", String::as_str)),
        });
        Some(told.collect::<Vec<_>>().join("; "))
    }

    fn verdict(&self, item: &Item) -> Option<Outcome> {
        if item.repeated {
            return Some(Outcome::Unchanged("it was given before".into()));
        }
        if let Some(tag) = item.tags.iter().find(|t| tags::is_reserved(&t.key) || t.key.chars().count() > LONGEST_KEY) {
            return Some(Outcome::Failed(Failure::last("InvalidParameterValue", format!("`{}` can be no key of a tag", tag.key))));
        }
        item.tags.iter().all(|t| item.is_so(t, self.wish)).then(|| {
            Outcome::Unchanged(
                match self.wish {
                    Wish::Create => "it has these tags already",
                    Wish::Delete => "it has none of these tags, with these values",
                }
                .into(),
            )
        })
    }

    fn batch(&self) -> usize {
        if self.dynamic { 1 } else { BATCH }
    }

    async fn apply(&self, _: &Context, items: &[Item]) -> Result<Vec<Outcome>> {
        let Some(first) = items.first() else { return Ok(Vec::new()) };
        let mut outcomes: HashMap<&str, Outcome> = HashMap::new();
        let mut groups: Vec<Vec<&str>> = vec![items.iter().map(|i| i.id.as_str()).collect()];
        while let Some(group) = groups.pop() {
            match self.send(&group, &first.tags).await {
                Ok(()) => outcomes.extend(group.into_iter().map(|id| (id, Outcome::done(())))),
                // Nobody else will be heard either; what was done before stands in the outcomes of this batch.
                Err(e) if e.is_fatal() && outcomes.is_empty() => return Err(e),
                Err(e) if group.len() > 1 && is_of_one(&e) => groups.extend(split(group, &e)),
                Err(e) => {
                    let failure = Failure::from(&e);
                    outcomes.extend(group.into_iter().map(|id| (id, Outcome::Failed(failure.clone()))));
                }
            }
        }
        let unanswered = || Outcome::Failed(Failure::last("NoAnswer", "it was not sent"));
        Ok(items.iter().map(|i| outcomes.remove(i.id.as_str()).unwrap_or_else(unanswered)).collect())
    }
}

impl Modify {
    async fn send(&self, ids: &[&str], wanted: &[Wanted]) -> Result<()> {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let doing = || match ids.as_slice() {
            [one] => format!("change the tags of `{one}`"),
            many => format!("change the tags of {} resources", many.len()),
        };
        match self.wish {
            Wish::Create => {
                let tags = wanted.iter().map(|t| tags::tag(&t.key, t.value.as_deref().unwrap_or_default()));
                let request = self.ec2.create_tags().set_resources(Some(ids.clone())).set_tags(Some(tags.collect()));
                request.send().await.doing(doing).map(drop)
            }
            Wish::Delete => {
                let tags = wanted.iter().map(|t| Tag::builder().key(&t.key).set_value(t.value.clone()).build());
                let request = self.ec2.delete_tags().set_resources(Some(ids.clone())).set_tags(Some(tags.collect()));
                request.send().await.doing(doing).map(drop)
            }
        }
    }
}

/// Whether an error is about some of the resources, and the others may do without them.
fn is_of_one(error: &Error) -> bool {
    error.code().is_some_and(|code| code.starts_with("Invalid") || code == "TagLimitExceeded")
}

/// Smaller groups of the resources of a request that was refused: those that the answer names by themselves, and the rest; or two halves.
fn split<'a>(group: Vec<&'a str>, error: &Error) -> Vec<Vec<&'a str>> {
    let told = error.to_string();
    let (named, rest): (Vec<&str>, Vec<&str>) = group.iter().copied().partition(|id| told.contains(*id));
    if !named.is_empty() && named.len() <= MOST_NAMED && !rest.is_empty() {
        return named.into_iter().map(|id| vec![id]).chain([rest]).collect();
    }
    let (a, b) = group.split_at(group.len() / 2);
    vec![a.to_vec(), b.to_vec()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_names_is_tried_by_itself() {
        let group = vec!["vol-1", "vol-2", "vol-3", "vol-4"];
        let named = Error::Failed("The volume 'vol-3' does not exist".into());
        assert_eq!(split(group.clone(), &named), [vec!["vol-3"], vec!["vol-1", "vol-2", "vol-4"]]);
        let silent = Error::Failed("something is wrong".into());
        assert_eq!(split(group, &silent), [vec!["vol-1", "vol-2"], vec!["vol-3", "vol-4"]]);
    }
}
