use aws_sdk_ec2::types::Tag;
use schemars::JsonSchema;
use serde::Serialize;

/// What EC2 tells of a resource of any kind.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct TaggedDetails {
    /// Id of the resource.
    pub resource_id: String,
    /// Value of its tag `Name`.
    pub name: Option<String>,
    /// Its kind, as the input has it: `volume`.
    pub resource_type: String,
    /// Those of the tags that it lacks, as they were asked for.
    pub missing: Vec<String>,
    /// Its tags, each as `Key=Value`, in the order of their keys.
    pub tags: Vec<String>,
}

impl TaggedDetails {
    /// Of a resource with these tags.
    pub fn of(id: String, kind: &str, missing: Vec<String>, tags: &[Tag]) -> Self {
        TaggedDetails { resource_id: id, name: super::name(tags), resource_type: kind.to_owned(), missing, tags: super::pairs(tags) }
    }
}
