use aaws::{Action, Call, Context, Doing, Effect, Example, Grant, Meta, Result, async_trait};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// List the regions that are enabled for the account.
///
/// These are the regions that need no opting in and those that were opted in to, sorted by name: where something may be, not where something is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverActiveRegions {
    /// Print of each region how it came to be enabled, and its endpoint.
    #[serde(default)]
    details: bool,
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

    type Output = Vec<ActiveRegion>;

    async fn run(self, cx: &Context) -> Result<Vec<ActiveRegion>> {
        let ec2 = aaws::client!(cx, aws_sdk_ec2);
        let answer = ec2.describe_regions().send().await.doing(|| "list the regions")?;
        // AWS leaves out what is not opted in to; a stand-in for it may not.
        let enabled = answer.regions.unwrap_or_default().into_iter().filter(|r| r.opt_in_status() != Some("not-opted-in"));
        let mut regions: Vec<_> = enabled.filter_map(|r| r.region_name.clone().map(|name| (name, r))).collect();
        regions.sort_by(|a, b| a.0.cmp(&b.0));
        let told = |(region, r): (String, aws_sdk_ec2::types::Region)| match self.details {
            true => ActiveRegion::Details(Details { region, opt_in_status: r.opt_in_status, endpoint: r.endpoint }),
            false => ActiveRegion::Name(region),
        };
        Ok(regions.into_iter().map(told).collect())
    }
}

aaws::register!(DiscoverActiveRegions);
