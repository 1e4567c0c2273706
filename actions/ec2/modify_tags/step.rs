//! What a change of tags was before it, and how it is put back.

use std::collections::BTreeMap;
use std::fmt;

use aaws::{Context, ErrorContext, Outcome, Result, Step, async_trait, left_alone};
use aws_sdk_ec2::types::Tag;
use serde::{Deserialize, Serialize};

use super::super::tags;

/// The tags of a resource that were to be changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TagStep {
    resource: String,
    /// By key.
    tags: BTreeMap<String, TagChange>,
}

/// A tag before and after; without a value there was, or is, no tag.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct TagChange {
    was: Option<String>,
    now: Option<String>,
}

impl TagStep {
    /// Of keys and their new values, and all tags that the resource has.
    pub fn of<'a>(resource: &str, has: &BTreeMap<String, String>, changed: impl Iterator<Item = (&'a str, Option<String>)>) -> Self {
        let change = |(key, now): (&str, Option<String>)| (key.to_owned(), TagChange { was: has.get(key).cloned(), now });
        TagStep { resource: resource.to_owned(), tags: changed.map(change).collect() }
    }
}

impl fmt::Display for TagStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.tags.keys().map(String::as_str).collect();
        write!(f, "change the tags {} of {}", keys.join(", "), self.resource)
    }
}

/// A tag as it is seen, in words.
fn told(value: Option<&String>) -> String {
    value.map_or_else(|| "not there".to_owned(), |value| format!("`{value}`"))
}

#[async_trait]
impl Step for TagStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let (had, new): (Vec<_>, Vec<_>) = self.tags.iter().partition(|(_, tag)| tag.was.is_some());
        if !had.is_empty() {
            let tags = had.iter().map(|(key, tag)| tags::tag(key, tag.was.as_deref().unwrap_or_default())).collect();
            let request = ec2.create_tags().resources(&self.resource).set_tags(Some(tags));
            request.send().await.context(|| format!("give `{}` its tags again", self.resource))?;
        }
        if !new.is_empty() {
            // Whatever the value is now: the key was not there.
            let tags = new.iter().map(|(key, _)| Tag::builder().key(*key).build()).collect();
            let request = ec2.delete_tags().resources(&self.resource).set_tags(Some(tags));
            request.send().await.context(|| format!("take the new tags from `{}`", self.resource))?;
        }
        Ok(())
    }

    async fn look(&self, cx: &Context) -> Result<Option<Outcome>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let seen = super::look(&ec2, std::slice::from_ref(&self.resource)).await?;
        let seen: BTreeMap<String, String> = seen.into_iter().filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect();
        if self.tags.iter().all(|(key, tag)| seen.get(key) == tag.was.as_ref()) {
            return Ok(Some(Outcome::Unchanged("its tags are as they were before".into())));
        }
        let other = self.tags.iter().find(|(key, tag)| seen.get(*key) != tag.now.as_ref() && seen.get(*key) != tag.was.as_ref());
        Ok(other.map(|(key, tag)| {
            let (is, made) = (told(seen.get(key)), told(tag.now.as_ref()));
            left_alone(format!("its tag `{key}` was changed since: it is {is}, and the run left it {made}"))
        }))
    }

    fn inverse(&self) -> Option<Self> {
        let turned = |(key, tag): (&String, &TagChange)| (key.clone(), TagChange { was: tag.now.clone(), now: tag.was.clone() });
        Some(TagStep { resource: self.resource.clone(), tags: self.tags.iter().map(turned).collect() })
    }
}
