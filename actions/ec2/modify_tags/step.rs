//! What a change of tags was before it, and how it is put back.

use std::collections::BTreeMap;
use std::fmt;

use aaws::{Context, ErrorContext, Result, Step, async_trait};
use aws_sdk_ec2::types::Tag;
use serde::{Deserialize, Serialize};

use super::super::tags;

/// The tags of a resource that were to be changed, as they were before.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TagStep {
    resource: String,
    /// By key; without a value it did not have the tag.
    was: BTreeMap<String, Option<String>>,
}

impl TagStep {
    /// The tags of these keys, of all that a resource has.
    pub fn before<'a>(resource: &str, has: &BTreeMap<String, String>, keys: impl Iterator<Item = &'a str>) -> Self {
        TagStep { resource: resource.to_owned(), was: keys.map(|key| (key.to_owned(), has.get(key).cloned())).collect() }
    }
}

impl fmt::Display for TagStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.was.keys().map(String::as_str).collect();
        write!(f, "change the tags {} of {}", keys.join(", "), self.resource)
    }
}

#[async_trait]
impl Step for TagStep {
    async fn undo(&self, cx: &Context) -> Result<()> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let (had, new): (Vec<_>, Vec<_>) = self.was.iter().partition(|(_, value)| value.is_some());
        if !had.is_empty() {
            let tags = had.iter().map(|(key, value)| tags::tag(key, value.as_deref().unwrap_or_default())).collect();
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
}
