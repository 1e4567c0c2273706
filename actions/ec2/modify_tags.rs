use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use aaws::{
    Action, Call, Change, Code, Context, Effect, Error, ErrorContext, Example, FailedItems, Failure, Grant, Items, Meta, Next, Noted,
    Outcome, Page, Result, Reversible, Rule, When, async_trait, paged,
};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Tag, TagDescription};
use futures::stream::{self, StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::coalesce::is_named;
use super::tags::{self, Wanted};
use super::{ids, lookup};

mod flaws;
mod step;
mod there;

use flaws::{flaw, has_place, misnamed, of_resource};
use step::TagStep;

/// How many resources one request names. EC2 takes 1,000, and advises fewer (EC2 API reference, CreateTags).
const BATCH: usize = 200;

/// Tags of one page (EC2 API reference, DescribeTags).
const PAGE: i32 = 1000;

/// The most tags of a resource, AWS's own not counted (EC2 user guide, "Tag restrictions").
const MOST_TAGS: usize = 50;

/// How many resources of one batch are told apart when EC2 refuses them for other reasons than their ids, permissions say: when it has refused so
/// many, one after the other, it will refuse the rest.
const MOST_REFUSED: usize = 8;

/// Add tags to EC2 resources, or remove them.
///
/// The tags that the resources have are looked at first. A resource that has all the tags that are to be added, or none of those that are to be
/// removed, is unchanged. With `create`, `Key=Value` adds the tag, or gives it this value, and `Key` gives it the empty value. With `delete`, `Key`
/// removes the tag whatever its value, `Key=Value` only if it has this value, and `Key=` only if its value is empty.
///
/// Up to 200 resources go into one request. EC2 refuses a whole request for one resource in it that does not exist; that one alone fails then, and
/// the others are sent again without it. When EC2 does not say which one it was, it is found by halves. The ids of the resources that failed are
/// printed, in the order given; the log and the report say why, and the report says of the others what their tags were before.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModifyTags {
    /// Resources to change, by their ids. An empty list changes nothing.
    pub resource_ids: Items<String>,
    /// Tags: `Key` or `Key=Value`, split at the first `=`. At least one, and each key once.
    pub tags: Vec<Wanted>,
    /// Add the tags, or give them these values.
    #[serde(default)]
    pub create: bool,
    /// Remove the tags.
    #[serde(default)]
    pub delete: bool,
    /// Put each resource's own id in the place of `{resource_id}` in keys and values. Each resource then takes a request of its own.
    #[serde(default)]
    pub dynamic_tags: bool,
    /// Take an id that does not exist for unchanged rather than for a failure.
    #[serde(default)]
    pub ignore_not_found: bool,
}

/// The kinds that `discover_tags` knows, but for key pairs.
const RESOURCES: &[&str] = &[
    "arn:${Partition}:ec2:${Region}::image/${resource_ids}",
    "arn:${Partition}:ec2:${Region}::snapshot/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:instance/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:internet-gateway/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:network-acl/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:route-table/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:security-group/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:subnet/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:volume/${resource_ids}",
    "arn:${Partition}:ec2:${Region}:${Account}:vpc/${resource_ids}",
];

/// ARNs of key pairs end in their names, which their ids do not tell.
const KEY_PAIRS: &[&str] = &["arn:${Partition}:ec2:${Region}:${Account}:key-pair/*"];
const OF_KEY_PAIRS: When = When::Rare("key pairs are among the resources");

/// EC2 shows no tags of what does not exist: a dry run looks whether it does.
const LOOKED_FOR: When = When::Rare("it is a dry run, and resources of this kind have no tags");

#[async_trait]
impl Action for ModifyTags {
    const META: Meta = Meta {
        path: "ec2/modify_tags",
        effect: Effect::Modify,
        calls: &[
            Call::read("ec2:DescribeTags", &[Grant::new("ec2:DescribeTags", &["*"])]),
            Call::write(
                "ec2:CreateTags",
                &[Grant::new("ec2:CreateTags", RESOURCES), Grant::new("ec2:CreateTags", KEY_PAIRS).when(OF_KEY_PAIRS)],
            )
            .when(When::With(&["create"])),
            Call::write(
                "ec2:DeleteTags",
                &[Grant::new("ec2:DeleteTags", RESOURCES), Grant::new("ec2:DeleteTags", KEY_PAIRS).when(OF_KEY_PAIRS)],
            )
            .when(When::With(&["delete"])),
            lookup::DESCRIBE_VOLUMES.when(LOOKED_FOR),
            lookup::DESCRIBE_INSTANCES.when(LOOKED_FOR),
            lookup::DESCRIBE_SNAPSHOTS.when(LOOKED_FOR),
            lookup::DESCRIBE_IMAGES.when(LOOKED_FOR),
            lookup::DESCRIBE_SECURITY_GROUPS.when(LOOKED_FOR),
            lookup::DESCRIBE_NETWORK_INTERFACES.when(LOOKED_FOR),
            lookup::DESCRIBE_ADDRESSES.when(LOOKED_FOR),
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
            "An empty list of `tags` is an error: EC2 takes a request to remove no tags as one to remove all.",
            "A resource has at most 50 tags; one that would get more fails, and the others do not.",
            "Keys that begin with `aws:`, in whatever case, are AWS's own: they can be neither set nor removed.",
            "EC2 shows no tags of a resource that does not exist. With `delete` it is unchanged, as one that has none of the tags. A dry run of `create` looks for instances, volumes, snapshots, images, security groups, network interfaces and addresses that have no tags; what else does not exist it plans, and the run itself says so.",
            "Key pairs are named by their ids (`key-…`), as `discover_tags` prints them.",
            "The permissions name the kinds of resources that `discover_tags` knows. Other kinds can be tagged as well, with permissions on their ARNs. ARNs of key pairs end in their names and not in their ids: `aaws permissions` adds them with `--all`.",
        ],
    };

    const BINDS: &'static [&'static str] = &["the values of the tags that are set or removed"];
    const REVERSIBLE: Reversible = Reversible::Yes("`aaws undo` gives the resources the tags that they had.");

    type Output = FailedItems;

    async fn run(self, cx: &Context) -> Result<FailedItems> {
        self.check()?;
        // The rules leave exactly one of the two.
        let desired = if self.delete { Desired::Delete } else { Desired::Create };
        let dynamic = self.dynamic_tags && self.tags.iter().any(has_place);
        let ids = ids::checked_of_any_kind("resource_ids", self.resource_ids).await?;
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let mut present = lookup::cancellable(cx, present(cx, &ec2, &ids)).await?;
        let missing = if cx.dry_run() && desired == Desired::Create {
            let untagged: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !present.contains_key(*id)).collect();
            lookup::cancellable(cx, there::missing(&ec2, &untagged)).await?
        } else {
            HashSet::new()
        };
        let tags: Arc<[Wanted]> = self.tags.into();
        let mut seen = HashSet::new();
        let item = |id: String| {
            let tags = if dynamic { tags.iter().map(|t| of_resource(t, &id)).collect() } else { Arc::clone(&tags) };
            let repeated = !seen.insert(id.clone());
            Ok(Item { tags, has: present.remove(&id).unwrap_or_default(), repeated, is_missing: missing.contains(&id), id })
        };
        let items: Vec<Result<Item>> = ids.into_iter().map(item).collect();
        Ok(cx.change(stream::iter(items), Modify { ec2, desired, dynamic, ignore_not_found: self.ignore_not_found }).await?.failed())
    }
}

aaws::register!(ModifyTags, undo = TagStep);

impl ModifyTags {
    /// What EC2 would refuse, or worse: a request to remove no tags removes all.
    fn check(&self) -> Result<()> {
        let flaw = if self.tags.is_empty() {
            Some("an empty list names no tag: name at least one".into())
        } else if self.dynamic_tags {
            // How long they are depends on the resource.
            misnamed(&self.tags)
        } else {
            flaw(&self.tags)
        };
        flaw.map_or(Ok(()), |flaw| Err(Error::field("tags", format!("`tags`: {flaw}"))))
    }
}

/// Tags by their keys.
type Tags = BTreeMap<String, String>;

/// The tags that the resources have, by the ids of those that have any.
async fn present(cx: &Context, ec2: &Client, ids: &[String]) -> Result<HashMap<String, Tags>> {
    let looks: Vec<_> = ids.chunks(lookup::MOST_VALUES).map(|some| look(ec2, some)).collect();
    let mut looks = stream::iter(looks).buffer_unordered(cx.concurrency());
    let mut present: HashMap<String, Tags> = HashMap::new();
    while let Some(tags) = looks.try_next().await? {
        for tag in tags {
            if let (Some(id), Some(key)) = (tag.resource_id, tag.key) {
                present.entry(id).or_default().insert(key, tag.value.unwrap_or_default());
            }
        }
    }
    Ok(present)
}

async fn look(ec2: &Client, ids: &[String]) -> Result<Vec<TagDescription>> {
    let page = |token: Option<String>| async move {
        let request = ec2.describe_tags().filters(lookup::filter("resource-id", ids)).max_results(PAGE).set_next_token(token);
        let answer = request.send().await.context(|| "list the tags that the resources have")?;
        Ok::<_, Error>(Page { items: answer.tags.unwrap_or_default(), next: Next::nonempty(answer.next_token) })
    };
    paged("the tags that the resources have", page).try_collect().await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Desired {
    Create,
    Delete,
}

/// A resource, and what is wished for it.
struct Item {
    id: String,
    tags: Arc<[Wanted]>,
    /// The tags that it has.
    has: Tags,
    /// Whether the id was given before.
    repeated: bool,
    /// Whether it stands for nothing, where that was looked at.
    is_missing: bool,
}

impl Item {
    /// Whether a tag is as wished already.
    fn is_so(&self, tag: &Wanted, desired: Desired) -> bool {
        let has = self.has.get(&tag.key);
        match desired {
            Desired::Create => has.map(String::as_str) == Some(tag.value.as_deref().unwrap_or_default()),
            Desired::Delete => has.is_none_or(|has| tag.value.as_ref().is_some_and(|v| v != has)),
        }
    }

    /// What becomes of each tag in words, and what it was before. `verb` is "would be" or "was".
    fn told(&self, desired: Desired, verb: &str) -> String {
        let told = self.tags.iter().filter_map(|tag| {
            let (key, value) = (&tag.key, tag.value.as_deref().unwrap_or_default());
            match (desired, self.has.get(key), self.is_so(tag, desired)) {
                (Desired::Create, _, true) | (Desired::Delete, None, _) => None,
                (Desired::Create, None, false) => Some(format!("{key}={value} {verb} added")),
                (Desired::Create, Some(has), false) => Some(format!("{key}={value} {verb} set in the place of {key}={has}")),
                (Desired::Delete, Some(has), false) => Some(format!("{key}={has} {verb} removed")),
                (Desired::Delete, Some(has), true) => Some(format!("{key}={has} stays: it is not {key}={value}")),
            }
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// What is about to be changed of it.
    fn step(&self, desired: Desired) -> TagStep {
        let changed = self.tags.iter().filter(|tag| !self.is_so(tag, desired));
        let after = |tag: &Wanted| match desired {
            Desired::Create => Some(tag.value.clone().unwrap_or_default()),
            Desired::Delete => None,
        };
        TagStep::of(&self.id, &self.has, changed.map(|tag| (tag.key.as_str(), after(tag))))
    }

    /// Why there is nothing to do, in words.
    fn unchanged(&self, desired: Desired) -> String {
        match (desired, self.told(desired, "")) {
            (Desired::Create, _) => "it has these tags already".into(),
            (Desired::Delete, stays) if stays.is_empty() => "it has none of these tags, or does not exist".into(),
            (Desired::Delete, stays) => stays,
        }
    }

    /// Why it cannot get all these tags beside those that it has.
    fn too_many(&self) -> Option<Failure> {
        let own = self.has.keys().filter(|key| !tags::is_reserved(key)).count();
        let new = self.tags.iter().filter(|tag| !self.has.contains_key(&tag.key)).count();
        let why = || format!("it has {own} tags, and with {new} more it would have more than the {MOST_TAGS} that a resource can have");
        (own + new > MOST_TAGS).then(|| Failure::permanent("TagLimitExceeded", why()))
    }
}

struct Modify {
    ec2: Client,
    desired: Desired,
    /// Whether each resource gets tags of its own.
    dynamic: bool,
    ignore_not_found: bool,
}

#[async_trait]
impl Change for Modify {
    type Item = Item;
    type Done = ();

    fn id(&self, item: &Item) -> String {
        item.id.clone()
    }

    fn summary(&self) -> String {
        match self.desired {
            Desired::Create => "tag".into(),
            Desired::Delete => "remove tags from".into(),
        }
    }

    fn plan(&self, item: &Item) -> Option<String> {
        Some(item.told(self.desired, "would be"))
    }

    fn precheck(&self, item: &Item) -> Option<Outcome> {
        if item.repeated {
            return Some(Outcome::Unchanged("duplicate id".into()));
        }
        if item.is_missing {
            return Some(Outcome::not_found(self.ignore_not_found, "it does not exist in this account and region"));
        }
        if self.dynamic
            && let Some(flaw) = flaw(&item.tags)
        {
            return Some(Outcome::Failed(Failure::permanent("InvalidTag", flaw)));
        }
        if item.tags.iter().all(|tag| item.is_so(tag, self.desired)) {
            return Some(Outcome::Unchanged(item.unchanged(self.desired)));
        }
        if self.desired == Desired::Create { item.too_many().map(Outcome::Failed) } else { None }
    }

    /// Of other tags nothing: they never matter.
    fn state(&self, item: &Item) -> Option<Value> {
        Some(item.tags.iter().map(|tag| (tag.key.as_str(), item.has.get(&tag.key).cloned())).collect())
    }

    fn batch(&self) -> usize {
        if self.dynamic { 1 } else { BATCH }
    }

    /// Sends the batch, and in smaller and smaller groups what was refused for some of its resources. Few requests are sent for few that are wrong:
    /// one more for each that EC2 names, and about twice the logarithm of the batch's size for each that has to be found.
    async fn apply(&self, cx: &Context, items: &[Item]) -> Result<Vec<Outcome>> {
        let steps: Vec<TagStep> = items.iter().map(|item| item.step(self.desired)).collect();
        let noted: Vec<(&str, &TagStep)> = items.iter().zip(&steps).map(|(item, step)| (item.id.as_str(), step)).collect();
        let notes = cx.note_all(&noted).await?;
        let notes: Vec<(&str, Noted)> = items.iter().map(|item| item.id.as_str()).zip(notes).collect();
        // Those whose tags were changed, as far as anybody can know.
        let mut may_be_changed: HashSet<&str> = HashSet::new();
        let mut outcomes: HashMap<&str, Outcome> = HashMap::new();
        let mut groups: Vec<Vec<&Item>> = vec![items.iter().collect()];
        let mut refusals_left = MOST_REFUSED;
        // What becomes of those that are not sent any more.
        let mut left: Option<Outcome> = None;
        while let Some(group) = groups.pop() {
            if let Some(outcome) = &left {
                outcomes.extend(group.iter().map(|item| (item.id.as_str(), outcome.clone())));
                continue;
            }
            let error = match self.send(&group).await {
                Ok(()) => {
                    may_be_changed.extend(group.iter().map(|item| item.id.as_str()));
                    outcomes.extend(group.iter().map(|item| (item.id.as_str(), Outcome::Done((), Some(item.told(self.desired, "was"))))));
                    continue;
                }
                Err(e) => e,
            };
            if error.is_ambiguous() {
                may_be_changed.extend(group.iter().map(|item| item.id.as_str()));
            }
            let failed = self.refused(&error);
            if error.is_fatal() {
                left = Some(failed.clone());
            } else if cx.cancellation().is_cancelled() {
                left = Some(Outcome::skipped_as(Code::NotStarted, "the run was stopped"));
            }
            let about_ids = is_about_ids(&error);
            if !about_ids {
                refusals_left = refusals_left.saturating_sub(1);
            }
            let Parts { blamed, again } =
                if about_ids || refusals_left > 0 { parts(group, &error) } else { Parts { blamed: group, again: Vec::new() } };
            outcomes.extend(blamed.iter().map(|item| (item.id.as_str(), failed.clone())));
            groups.extend(again);
        }
        // Who sets these tags later does not want them taken away.
        notes.into_iter().filter(|(id, _)| !may_be_changed.contains(id)).for_each(|(_, noted)| cx.forget(noted));
        let unanswered = || Outcome::Failed(Failure::permanent(Code::NoAnswer, "it was not sent"));
        Ok(items.iter().map(|item| outcomes.remove(item.id.as_str()).unwrap_or_else(unanswered)).collect())
    }
}

impl Modify {
    /// What becomes of a resource for which a request was refused.
    fn refused(&self, error: &Error) -> Outcome {
        let failure = Failure::from(error);
        if is_not_found(error) { Outcome::not_found(self.ignore_not_found, failure.message) } else { Outcome::Failed(failure) }
    }

    async fn send(&self, group: &[&Item]) -> Result<()> {
        let ids: Vec<String> = group.iter().map(|item| item.id.clone()).collect();
        let attempted = match group {
            [one] => format!("change the tags of `{}`", one.id),
            many => format!("change the tags of {} resources", many.len()),
        };
        // Those of one batch are to get the same tags. There is at least one: a list without any was refused.
        let wanted = group.first().map(|item| item.tags.iter()).unwrap_or_default();
        match self.desired {
            Desired::Create => {
                let tags = wanted.map(|t| tags::tag(&t.key, t.value.as_deref().unwrap_or_default())).collect();
                let request = self.ec2.create_tags().set_resources(Some(ids)).set_tags(Some(tags));
                request.send().await.context(|| attempted).map(drop)
            }
            Desired::Delete => {
                let tags = wanted.map(|t| Tag::builder().key(&t.key).set_value(t.value.clone()).build()).collect();
                let request = self.ec2.delete_tags().set_resources(Some(ids)).set_tags(Some(tags));
                request.send().await.context(|| attempted).map(drop)
            }
        }
    }
}

/// Whether an error is about some of the resources that a request names, whether or not it says which.
fn is_about_ids(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        let of_id = code.contains(".NotFound") || code.contains(".Malformed") || code.contains(".Unavailable");
        matches!(code, "InvalidID" | "TagLimitExceeded") || (of_id && code.starts_with("Invalid") && !code.starts_with("InvalidTag"))
    })
}

/// Whether an error is about resources that do not exist.
fn is_not_found(error: &Error) -> bool {
    error.code().is_some_and(|code| code.starts_with("Invalid") && code.ends_with(".NotFound"))
}

/// The parts of a group that was refused.
struct Parts<T> {
    /// Those that it was refused for.
    blamed: Vec<T>,
    /// Those that may do better by themselves.
    again: Vec<Vec<T>>,
}

/// Takes a group that was refused apart, as far as the answer tells. One that it names is to blame; several that it names are not trusted to be it, all
/// of them. When it names none, the group is halved, unless the answer is about something that holds for all.
fn parts<'a>(mut group: Vec<&'a Item>, error: &Error) -> Parts<&'a Item> {
    let (named, rest): (Vec<_>, Vec<_>) = group.iter().copied().partition(|item| is_named(error, &item.id));
    if !named.is_empty() && !rest.is_empty() {
        return match named.len() {
            1 => Parts { blamed: named, again: vec![rest] },
            _ => Parts { blamed: Vec::new(), again: vec![named, rest] },
        };
    }
    if group.len() > 1 && is_about_ids(error) {
        let half = group.split_off(group.len() / 2);
        return Parts { blamed: Vec::new(), again: vec![group, half] };
    }
    Parts { blamed: group, again: Vec::new() }
}

#[cfg(test)]
mod tests {
    use aaws::AwsError;

    use super::*;

    fn items(ids: &[&str]) -> Vec<Item> {
        let tags: Arc<[Wanted]> = vec![Wanted { key: "Env".into(), value: Some("prod".into()) }].into();
        ids.iter()
            .map(|id| Item { id: (*id).to_owned(), tags: Arc::clone(&tags), has: Tags::new(), repeated: false, is_missing: false })
            .collect()
    }

    fn refused(code: &str, message: &str) -> Error {
        let (attempted, code, message) = ("tag".into(), code.into(), message.into());
        Error::Aws(Box::new(AwsError { attempted, code, message, request_id: None, status: Some(400) }))
    }

    /// The ids to blame, and the groups that are sent again.
    fn told(ids: &[&str], code: &str, message: &str) -> (Vec<String>, Vec<Vec<String>>) {
        let items = items(ids);
        let Parts { blamed, again } = parts(items.iter().collect(), &refused(code, message));
        let ids = |items: Vec<&Item>| items.iter().map(|item| item.id.clone()).collect::<Vec<_>>();
        (ids(blamed), again.into_iter().map(ids).collect())
    }

    #[test]
    fn the_one_that_an_answer_names_is_to_blame() {
        let ids = ["i-3", "ami-3", "vol-3", "vol-33"];
        let (blamed, again) = told(&ids, "InvalidVolume.NotFound", "The volume 'vol-3' does not exist.");
        assert_eq!((blamed, again), (vec!["vol-3".into()], vec![vec!["i-3".into(), "ami-3".into(), "vol-33".into()]]));
        let denied = "You are not authorized to perform this operation on arn:aws:ec2:us-east-1:123456789012:volume/vol-33.";
        assert_eq!(told(&ids, "UnauthorizedOperation", denied).0, ["vol-33"]);
    }

    #[test]
    fn several_that_are_named_are_tried_by_themselves() {
        let (blamed, again) = told(&["vol-1", "vol-2", "vol-3"], "InvalidVolume.NotFound", "The volumes 'vol-1, vol-3' do not exist.");
        assert_eq!((blamed.len(), again), (0, vec![vec!["vol-1".to_owned(), "vol-3".into()], vec!["vol-2".into()]]));
    }

    #[test]
    fn when_none_is_named_the_group_is_halved_unless_the_answer_holds_for_all() {
        let ids = ["vol-1", "vol-2", "vol-3"];
        let (blamed, again) = told(&ids, "TagLimitExceeded", "The maximum number of tags has been reached.");
        assert_eq!((blamed.len(), again), (0, vec![vec!["vol-1".to_owned()], vec!["vol-2".into(), "vol-3".into()]]));
        for code in ["UnauthorizedOperation", "InvalidParameterValue", "InvalidTagKey.Malformed", "RequestLimitExceeded", "Unreachable"] {
            assert_eq!(told(&ids, code, "No.").0, ids, "{code}");
        }
        assert_eq!(told(&["vol-1"], "TagLimitExceeded", "Too many.").0, ["vol-1"], "one is not halved");
    }

    #[test]
    fn what_becomes_of_a_tag_is_said_with_what_it_was() {
        let mut item = items(&["vol-1"]).remove(0);
        assert_eq!(item.told(Desired::Create, "was"), "Env=prod was added");
        item.has.insert("Env".into(), "dev".into());
        assert_eq!(item.told(Desired::Create, "would be"), "Env=prod would be set in the place of Env=dev");
        assert_eq!(item.unchanged(Desired::Delete), "Env=dev stays: it is not Env=prod");
        item.has.insert("Env".into(), "prod".into());
        assert_eq!(item.told(Desired::Delete, "was"), "Env=prod was removed");
        assert!(item.is_so(&item.tags[0], Desired::Create) && !item.is_so(&item.tags[0], Desired::Delete));
    }
}
