use aaws::{Action, Call, Context, Effect, ErrorContext, Example, Grant, Meta, Result, async_trait};
use aws_sdk_ec2::types::Region;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What EC2 says of a region that is there and may not be used.
const NOT_ENABLED: &str = "not-opted-in";

/// List the regions that are enabled for the account.
///
/// These are the regions that need no opting in, and those that the account has opted in to, sorted by name. They are where resources may be: that
/// there are any is not said.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverActiveRegions {
    /// Print of each region how it came to be enabled, and where EC2 is reached there.
    #[serde(default)]
    pub details: bool,
}

/// An enabled region: its name, or with `details` what is known of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ActiveRegion {
    /// Name of the region.
    Name(String),
    /// The region.
    Details(Details),
}

/// What is known of a region.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Details {
    /// Name of the region.
    region: String,
    /// `opt-in-not-required` or `opted-in`.
    opt_in_status: Option<String>,
    /// Host name of EC2 there.
    endpoint: Option<String>,
}

#[async_trait]
impl Action for DiscoverActiveRegions {
    const META: Meta = Meta {
        path: "ec2/discover_active_regions",
        effect: Effect::Read,
        calls: &[Call::read("ec2:DescribeRegions", &[Grant::new("ec2:DescribeRegions", &["*"])])],
        rules: &[],
        examples: &[
            Example {
                title: "List the enabled regions",
                input: "{}",
                output: r#"["eu-west-1", "us-east-1"]"#,
                given: &["region us-east-1", "region eu-west-1"],
            },
            Example {
                title: "List the enabled regions, and how EC2 is reached there",
                input: r#"{"details": true}"#,
                output: r#"[{"Region": "us-east-1", "OptInStatus": "opt-in-not-required", "Endpoint": "ec2.us-east-1.amazonaws.com"}]"#,
                given: &["region us-east-1"],
            },
        ],
        notes: &["Which regions are enabled differs between accounts: with `--role_arn` those of the role's account are listed."],
    };

    const IDENTITY: &'static [&'static str] = &["Region"];

    type Output = Vec<ActiveRegion>;

    async fn run(self, cx: &Context) -> Result<Vec<ActiveRegion>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let answer = ec2.describe_regions().send().await.context(|| "list the regions")?;
        // AWS leaves out what is not enabled; what stands in for it may not.
        let enabled = answer.regions.unwrap_or_default().into_iter().filter(|r| r.opt_in_status() != Some(NOT_ENABLED));
        let mut regions: Vec<(String, Region)> = enabled.filter_map(|r| Some((r.region_name()?.to_owned(), r))).collect();
        regions.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(regions.into_iter().map(|(name, region)| self.told(name, region)).collect())
    }
}

aaws::register!(DiscoverActiveRegions);

impl DiscoverActiveRegions {
    fn told(&self, name: String, region: Region) -> ActiveRegion {
        if self.details {
            ActiveRegion::Details(Details { region: name, opt_in_status: region.opt_in_status, endpoint: region.endpoint })
        } else {
            ActiveRegion::Name(name)
        }
    }
}
